/* tests/unit/test_addr.c - net/addr. */
#include "net/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

static char why[ADDR_WHY_MAX + 1];

static void setup(void)
{
    memset(why, 0, sizeof why);
    why[ADDR_WHY_MAX] = '!'; /* stays */
}

static void teardown(void)
{
    ck_assert_int_eq(why[ADDR_WHY_MAX], '!');
}

static struct addr parse(const char *text)
{
    struct addr addr = {0};
    int err = addr_parse(&addr, text, why);

    ck_assert_msg(err == 0, "'%s' was refused: %s", text, why);
    return addr;
}

static const struct {
    const char *text, *formatted;
} accepted[] = {
    {"tcp://127.0.0.1:4343", "tcp://127.0.0.1:4343"},
    {"udp://0.0.0.0:0", "udp://0.0.0.0:0"},
    {"tcp://[::]:65535", "tcp://[::]:65535"},
    {"tcp://[0:0:0:0:0:0:0:1]:0080", "tcp://[::1]:80"},
    {"udp://[2001:DB8::A]:53", "udp://[2001:db8::a]:53"},
    {"tcp://[::ffff:10.0.0.1]:1", "tcp://10.0.0.1:1"},
    {"tcp://localhost:1", "tcp://localhost:1"},
    {"8080", "tcp://127.0.0.1:8080"},
    {"0", "tcp://127.0.0.1:0"},
    {"8080?backlog=5", "tcp://127.0.0.1:8080"},
    {"unix:///run/neap.sock", "unix:///run/neap.sock"},
    {"unix:///a b:c&d", "unix:///a b:c&d"},
    {"unixgram:///tmp/x?mode=0600", "unixgram:///tmp/x"},
    {"fd://0", "fd://0"},
    {"fd://2147483647", "fd://2147483647"},
};

START_TEST(an_address_is_read_and_written_in_one_form)
{
    char text[ADDR_TEXT_MAX];
    struct addr addr = parse(accepted[_i].text);

    addr_format(&addr, text);
    ck_assert_str_eq(text, accepted[_i].formatted);
}
END_TEST

START_TEST(defaults_hold_without_options)
{
    struct addr addr = parse("tcp://[::1]:4343");

    ck_assert_int_eq(addr.transport, TRANSPORT_TCP);
    ck_assert_str_eq(addr.host, "::1");
    ck_assert_int_eq(addr.port, 4343);
    ck_assert_int_eq(addr.fd, -1);
    ck_assert_int_eq(addr.backlog, ADDR_BACKLOG);
    ck_assert_int_eq(addr.mode, -1);
    ck_assert_int_eq(addr.ipv6_only, 1);
    ck_assert_int_eq(addr.reuse_port, 0);
}
END_TEST

START_TEST(options_are_read)
{
    struct addr addr = parse("tcp://[::]:1?backlog=16&ipv6_only=0&reuse_port=1");

    ck_assert_int_eq(addr.backlog, 16);
    ck_assert_int_eq(addr.ipv6_only, 0);
    ck_assert_int_eq(addr.reuse_port, 1);
    ck_assert_int_eq(parse("unix:///x?mode=0660").mode, 0660);
    ck_assert_int_eq(parse("unix:///x?mode=777").mode, 0777);
    ck_assert_int_eq(parse("unix:///x?mode=0").mode, 0);
    ck_assert_int_eq(parse("fd://7?backlog=2147483647").backlog, 2147483647);
    ck_assert_int_eq(parse("fd://7").fd, 7);
}
END_TEST

static const struct {
    const char *text, *why;
} refused[] = {
    /* transports */
    {"tpc://1:2", "unknown transport 'tpc'; did you mean 'tcp'?"},
    {"TCP://1.2.3.4:5", "unknown transport 'TCP'; did you mean 'tcp'?"},
    {" tcp://1.2.3.4:5", "unknown transport ' tcp'; did you mean 'tcp'?"},
    {"http://127.0.0.1:80",
     "unknown transport 'http'; there are tcp, udp, unix, unixgram, fd"},
    {"://127.0.0.1:80", "unknown transport ''; there are tcp, udp, unix, unixgram, fd"},
    {"tls://127.0.0.1:443", "transport 'tls' is not supported yet"},
    {"systemd:web", "'systemd:' is not supported yet"},
    {"systemd://web", "'systemd:' is not supported yet"},
    {"", "no address; write a port, or one as in 'tcp://127.0.0.1:4343'"},
    {"127.0.0.1:80", "no transport; did you mean 'tcp://127.0.0.1:80'?"},
    {"-1", "a port is 0 to 65535"},
    {"65536", "port 65536 is out of range (0 to 65535)"},
    /* hosts */
    {"tcp://:80", "no host; write 127.0.0.1, or 0.0.0.0 or [::] for everyone"},
    {"tcp://", "no host; write 127.0.0.1, or 0.0.0.0 or [::] for everyone"},
    {"tcp://*:80", "'*' is not a host; spell 0.0.0.0 or [::]"},
    {"tcp://example.com:80",
     "names are not looked up; write a numeric address, not 'example.com'"},
    {"tcp://a-name-that-is-longer-than-any-address-can-be.example.com:80",
     "names are not looked up; write a numeric address, not "
     "'a-name-that-is-longer-than-any-address-can-be.example.com'"},
    {"tcp://256.0.0.1:80", "'256.0.0.1' is not an IPv4 address (four numbers up to 255)"},
    {"tcp://127.1:80", "'127.1' is not an IPv4 address (four numbers up to 255)"},
    {"tcp://1.2.3.4 :80",
     "names are not looked up; write a numeric address, not '1.2.3.4 '"},
    {"tcp://::1:80", "an IPv6 address stands in brackets, as in '[::1]:4343'"},
    {"tcp://2001:db8::1", "an IPv6 address stands in brackets, as in '[::1]:4343'"},
    {"tcp://[::1:80", "']' is missing after the IPv6 address"},
    {"tcp://[::1::2]:80", "'::1::2' is not an IPv6 address"},
    {"tcp://[127.0.0.1]:80", "only an IPv6 address stands in brackets"},
    {"tcp://[]:80", "only an IPv6 address stands in brackets"},
    {"tcp://[fe80::1%eth0]:80", "zone ids ('%' and an interface) are not supported"},
    /* ports */
    {"tcp://127.0.0.1", "no port; add one, as in '127.0.0.1:4343'"},
    {"tcp://[::1]", "no port; add one, as in '[::1]:4343'"},
    {"tcp://127.0.0.1:", "no port after ':'"},
    {"tcp://127.0.0.1:http", "port 'http' is not a number"},
    {"tcp://127.0.0.1:+80", "port '+80' is not a number"},
    {"tcp://127.0.0.1:65536", "port 65536 is out of range (0 to 65535)"},
    {"tcp://127.0.0.1:4294967296", "port 4294967296 is out of range (0 to 65535)"},
    {"tcp://127.0.0.1:80/", "unexpected '/' after the port"},
    {"tcp://127.0.0.1:80 ", "unexpected ' ' after the port"},
    {"tcp://[::1]80", "unexpected '80' after ']'"},
    {"tcp://[::1]:80x", "unexpected 'x' after the port"},
    /* paths */
    {"unix://", "no path; write one, as in 'unix:///run/neap.sock'"},
    {"unixgram://?mode=0600", "no path; write one, as in 'unixgram:///run/neap.sock'"},
    {"unix://tmp/x", "the path is not absolute; did you mean 'unix:///tmp/x'?"},
    /* descriptors */
    {"fd://", "'' is not a descriptor's number; write one, as in 'fd://3'"},
    {"fd://stdin", "'stdin' is not a descriptor's number; write one, as in 'fd://3'"},
    {"*:80", "no host; all interfaces are 'tcp://0.0.0.0:80' and 'tcp://[::]:80'"},
    {"fd://-1", "'-1' is not a descriptor's number; write one, as in 'fd://3'"},
    {"fd://3/", "'3/' is not a descriptor's number; write one, as in 'fd://3'"},
    {"fd://2147483648",
     "'2147483648' is not a descriptor's number; write one, as in 'fd://3'"},
    /* options */
    {"8080?baklog=1", "unknown option 'baklog'; did you mean 'backlog'?"},
    {"8080?x=1", "unknown option 'x'; there are backlog, ipv6_only, mode, reuse_port"},
    {"8080?", "an option is missing; write one, as in '?backlog=1024'"},
    {"8080?backlog=1&", "an option is missing; write one, as in '?backlog=1024'"},
    {"8080?=1", "an option is missing; write one, as in '?backlog=1024'"},
    {"8080?backlog", "option 'backlog' needs a value: a number from 1"},
    {"8080?backlog=", "option 'backlog' takes a number from 1, not ''"},
    {"8080?backlog=0", "option 'backlog' takes a number from 1, not '0'"},
    {"8080?backlog=2147483648", "option 'backlog' takes a number from 1, not '2147483648'"},
    {"8080?backlog=1?reuse_port=1",
     "option 'backlog' takes a number from 1, not '1?reuse_port=1'"},
    {"8080?ipv6_only=2", "option 'ipv6_only' takes 0 or 1, not '2'"},
    {"8080?ipv6_only=yes", "option 'ipv6_only' takes 0 or 1, not 'yes'"},
    {"unix:///x?mode=0888", "option 'mode' takes an octal number up to 0777, not '0888'"},
    {"unix:///x?mode=1000", "option 'mode' takes an octal number up to 0777, not '1000'"},
    {"8080?reuse_port=1&reuse_port=1", "option 'reuse_port' is there twice"},
    {"8080?mode=0600", "option 'mode' is not one of tcp addresses"},
    {"unix:///x?reuse_port=1", "option 'reuse_port' is not one of unix addresses"},
    {"udp://127.0.0.1:1?backlog=1", "option 'backlog' is not one of udp addresses"},
};

static void assert_refused(const char *text, const char *reason)
{
    char expected[ADDR_WHY_MAX];
    int len = snprintf(expected, sizeof expected, "'%.60s%s': %s", text,
                       strlen(text) > 60 ? "..." : "", reason);

    ck_assert_int_lt(len, ADDR_WHY_MAX);
    ck_assert_str_eq(why, expected);
}

START_TEST(a_wrong_address_is_refused_with_a_sentence)
{
    struct addr addr, before;

    memset(&addr, 0x55, sizeof addr);
    before = addr;
    ck_assert_int_eq(addr_parse(&addr, refused[_i].text, why), -EINVAL);
    assert_refused(refused[_i].text, refused[_i].why);
    ck_assert_mem_eq(&addr, &before, sizeof addr);
}
END_TEST

START_TEST(a_path_has_at_most_107_bytes)
{
    char text[ADDR_TEXT_MAX] = "unix:///", formatted[ADDR_TEXT_MAX];
    struct addr addr;

    memset(text + strlen(text), 'p', 106);
    addr = parse(text);
    ck_assert_uint_eq(strlen(addr.host), 107);
    addr_format(&addr, formatted);
    ck_assert_str_eq(formatted, text);
    text[strlen(text)] = 'p';
    ck_assert_int_eq(addr_parse(&addr, text, why), -EINVAL);
    ck_assert_str_eq(strchr(why, ' '),
                     " the path has 108 bytes; a socket's has at most 107");
    ck_assert_int_eq(addr_set(&addr, TRANSPORT_UNIX, text + 7, 0, why), -EINVAL);
}
END_TEST

START_TEST(a_sentence_is_one_printable_line_whatever_the_address)
{
    struct addr addr;
    char text[1000];

    ck_assert_int_eq(addr_parse(&addr, "tcp://\x1b[31m\n\xc3:80", why), -EINVAL);
    ck_assert_str_eq(why, "'tcp://?[31m?"
                          "?:80': names are not looked up; write a numeric "
                          "address, not '?[31m?"
                          "?'");
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    ck_assert_int_eq(addr_parse(&addr, text, why), -EINVAL);
    ck_assert_uint_lt(strlen(why), ADDR_WHY_MAX);
}
END_TEST

START_TEST(a_table_is_checked_like_a_text)
{
    struct addr addr;
    char text[ADDR_TEXT_MAX];

    ck_assert_int_eq(addr_set(&addr, TRANSPORT_UDP, "::1", 53, why), 0);
    addr_format(&addr, text);
    ck_assert_str_eq(text, "udp://[::1]:53");
    ck_assert_int_eq(addr.backlog, ADDR_BACKLOG);
    ck_assert_int_eq(addr_set(&addr, TRANSPORT_TCP, "[::2]", 1, why), 0);
    ck_assert_str_eq(addr.host, "::2");
    ck_assert_int_eq(addr_set(&addr, TRANSPORT_UNIX, "/run/x", 9, why), 0);
    addr_format(&addr, text);
    ck_assert_str_eq(text, "unix:///run/x");
    ck_assert_int_eq(addr.port, 0);
    ck_assert_int_eq(addr_set(&addr, TRANSPORT_TCP, NULL, 1, why), -EINVAL);
    ck_assert_str_eq(why, "'': no host; write 127.0.0.1, or 0.0.0.0 or [::] for everyone");
    ck_assert_int_eq(addr_set(&addr, TRANSPORT_TCP, "1.2.3.4:80", 1, why), -EINVAL);
    ck_assert_str_eq(why, "'1.2.3.4:80': '1.2.3.4:80' is not an IPv6 address");
    ck_assert_int_eq(addr_set(&addr, TRANSPORT_UNIX, "/a?mode=0777", 0, why), -EINVAL);
    ck_assert_str_eq(why, "'/a?mode=0777': a socket's path cannot have a '?'");
    ck_assert_int_eq(addr_set(&addr, TRANSPORT_UNIXGRAM, NULL, 0, why), -EINVAL);
    ck_assert_str_eq(why, "'': no path; write one, as in 'unixgram:///run/neap.sock'");
    ck_assert_int_eq(addr_set(&addr, TRANSPORT_FD, "3", 3, why), -EINVAL);
    ck_assert_str_eq(why, "'3': a descriptor has no host; write it as 'fd://3'");
}
END_TEST

START_TEST(streams_are_told_from_datagrams)
{
    ck_assert_int_eq(transport_is_stream(TRANSPORT_TCP), true);
    ck_assert_int_eq(transport_is_stream(TRANSPORT_UNIX), true);
    ck_assert_int_eq(transport_is_stream(TRANSPORT_UDP), false);
    ck_assert_int_eq(transport_is_stream(TRANSPORT_UNIXGRAM), false);
}
END_TEST

static void assert_endpoint(const struct endpoint *endpoint, const char *text)
{
    char formatted[ADDR_TEXT_MAX];

    endpoint_format(endpoint, formatted);
    ck_assert_str_eq(formatted, text);
}

START_TEST(an_address_stands_for_socket_addresses)
{
    struct endpoint out[2];
    struct addr addr = parse("tcp://[::1]:4343");

    ck_assert_int_eq(addr_endpoints(&addr, out), 1);
    ck_assert_uint_eq(out[0].len, sizeof(struct sockaddr_in6));
    ck_assert_int_eq(out[0].at.sa.sa_family, AF_INET6);
    ck_assert_int_eq(ntohs(out[0].at.in6.sin6_port), 4343);
    assert_endpoint(&out[0], "[::1]:4343");
    addr = parse("udp://10.1.2.3:53");
    ck_assert_int_eq(addr_endpoints(&addr, out), 1);
    ck_assert_uint_eq(out[0].len, sizeof(struct sockaddr_in));
    assert_endpoint(&out[0], "10.1.2.3:53");
    addr = parse("tcp://localhost:80");
    ck_assert_int_eq(addr_endpoints(&addr, out), 2);
    assert_endpoint(&out[0], "127.0.0.1:80");
    assert_endpoint(&out[1], "[::1]:80");
    addr = parse("unix:///run/x");
    ck_assert_int_eq(addr_endpoints(&addr, out), 1);
    ck_assert_uint_eq(out[0].len, offsetof(struct sockaddr_un, sun_path) + 7);
    assert_endpoint(&out[0], "/run/x");
    addr = parse("fd://3");
    ck_assert_int_eq(addr_endpoints(&addr, out), 0);
}
END_TEST

static struct endpoint unix_endpoint(const char *path, size_t len)
{
    struct endpoint endpoint = {.at.un.sun_family = AF_UNIX};

    memcpy(endpoint.at.un.sun_path, path, len);
    endpoint.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    return endpoint;
}

START_TEST(a_socket_address_is_split_into_host_and_port)
{
    char host[ADDR_HOST_MAX], longest[108];
    struct endpoint endpoint, out[2];
    uint16_t port = 1;
    struct addr addr = parse("tcp://192.0.2.7:99");

    addr_endpoints(&addr, out);
    endpoint_split(&out[0], host, &port);
    ck_assert_str_eq(host, "192.0.2.7");
    ck_assert_int_eq(port, 99);
    endpoint = unix_endpoint("", 0);
    endpoint_split(&endpoint, host, &port);
    ck_assert_str_eq(host, "");
    ck_assert_int_eq(port, 0);
    assert_endpoint(&endpoint, "");
    endpoint = unix_endpoint("\0ab\0c", 5);
    assert_endpoint(&endpoint, "@ab@c");
    endpoint = unix_endpoint("/x", 2);
    assert_endpoint(&endpoint, "/x");
    memset(longest, 'p', sizeof longest);
    endpoint = unix_endpoint(longest, sizeof longest);
    endpoint_split(&endpoint, host, &port);
    ck_assert_uint_eq(strlen(host), 107);
    memset(&endpoint, 0, sizeof endpoint);
    assert_endpoint(&endpoint, "");
}
END_TEST

static struct endpoint in6_endpoint(const char *host, uint16_t port)
{
    struct endpoint endpoint = {.at.in6.sin6_family = AF_INET6,
                                .len = sizeof endpoint.at.in6};

    ck_assert_int_eq(inet_pton(AF_INET6, host, &endpoint.at.in6.sin6_addr), 1);
    endpoint.at.in6.sin6_port = htons(port);
    return endpoint;
}

START_TEST(a_mapped_address_comes_out_as_ipv4)
{
    char host[ADDR_HOST_MAX];
    uint16_t port;
    struct endpoint endpoint = in6_endpoint("::ffff:192.0.2.1", 51512);

    endpoint_split(&endpoint, host, &port);
    ck_assert_str_eq(host, "192.0.2.1");
    ck_assert_int_eq(port, 51512);
    assert_endpoint(&endpoint, "192.0.2.1:51512");
}
END_TEST

START_TEST(loopback_is_known_in_every_family)
{
    static const struct {
        const char *host;
        bool is_loopback;
    } hosts[] = {
        {"::1", true},
        {"::2", false},
        {"::", false},
        {"::ffff:127.0.0.1", true},
        {"::ffff:127.255.255.255", true},
        {"::ffff:128.0.0.1", false},
        {"::ffff:10.0.0.127", false},
    };
    struct endpoint out[2], endpoint = unix_endpoint("", 0);
    struct addr addr = parse("tcp://127.9.9.9:1");

    ck_assert_int_eq(endpoint_is_loopback(&endpoint), true);
    ck_assert_int_eq(addr_endpoints(&addr, out), 1);
    ck_assert_int_eq(endpoint_is_loopback(&out[0]), true);
    addr = parse("tcp://126.0.0.1:1");
    ck_assert_int_eq(addr_endpoints(&addr, out), 1);
    ck_assert_int_eq(endpoint_is_loopback(&out[0]), false);
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        endpoint = in6_endpoint(hosts[i].host, 1);
        ck_assert_msg(endpoint_is_loopback(&endpoint) == hosts[i].is_loopback, "%s: not %d",
                      hosts[i].host, hosts[i].is_loopback);
    }
}
END_TEST

/* A random address, its host in the form that inet_ntop writes. */
static void make_text(unsigned short seed[3], char text[ADDR_TEXT_MAX])
{
    const char *name = nrand48(seed) % 2 ? "tcp" : "udp";
    char host[INET6_ADDRSTRLEN];
    unsigned char bytes[16];

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(nrand48(seed) % 3 ? 0 : nrand48(seed) % 256);
    bytes[0] |= 1; /* neither unspecified nor mapped */
    switch (nrand48(seed) % 4) {
    case 0:
        inet_ntop(AF_INET, bytes, host, sizeof host);
        snprintf(text, ADDR_TEXT_MAX, "%s://%s:%ld", name, host, nrand48(seed) % 65536);
        break;
    case 1:
        inet_ntop(AF_INET6, bytes, host, sizeof host);
        snprintf(text, ADDR_TEXT_MAX, "%s://[%s]:%ld", name, host, nrand48(seed) % 65536);
        break;
    case 2:
        snprintf(text, ADDR_TEXT_MAX, "unix:///tmp/%lx", nrand48(seed));
        break;
    default:
        snprintf(text, ADDR_TEXT_MAX, "fd://%ld", nrand48(seed));
        break;
    }
}

static void assert_read_back(const char *text)
{
    char formatted[ADDR_TEXT_MAX], at[ADDR_TEXT_MAX];
    struct endpoint out[2];
    struct addr addr = parse(text);

    addr_format(&addr, formatted);
    ck_assert_str_eq(formatted, text);
    if (addr_endpoints(&addr, out) == 0)
        return;
    endpoint_format(&out[0], at);
    if (strcmp(at, strstr(text, "://") + 3) != 0)
        ck_abort_msg("'%s' stands for '%s'", text, at);
}

START_TEST(what_is_written_is_read_back)
{
    unsigned short seed[3] = {3, 1, 4};
    char text[ADDR_TEXT_MAX];

    for (int i = 0; i < 20000; i++) {
        make_text(seed, text);
        assert_read_back(text);
    }
}
END_TEST

/* Replaces, inserts and cuts off up to three bytes. */
static void damage(unsigned short seed[3], char *text)
{
    static const char bytes[] = "tcpudnixfgram:/?&=[]*.%0123456789 \t\x80";

    for (long left = 1 + nrand48(seed) % 3; left > 0; left--) {
        size_t at = (size_t)nrand48(seed) % (strlen(text) + 1);
        if (nrand48(seed) % 2)
            memmove(text + at + 1, text + at, strlen(text + at) + 1);
        if (text[at])
            text[at] = bytes[(size_t)nrand48(seed) % sizeof bytes];
    }
}

/* Refused with a sentence, or accepted as something that reads back as the same. */
static void assert_refused_or_sound(const char *text)
{
    char formatted[ADDR_TEXT_MAX];
    struct addr addr;

    setup();
    int err = addr_parse(&addr, text, why);
    teardown();
    if (err) {
        ck_assert_uint_ge(strlen(why), 10);
        return;
    }
    addr_format(&addr, formatted);
    struct addr again = parse(formatted);
    if (again.transport != addr.transport || strcmp(again.host, addr.host) != 0 ||
        again.port != addr.port || again.fd != addr.fd)
        ck_abort_msg("'%s' was read as '%s', and that as another", text, formatted);
}

START_TEST(random_damage_is_refused_or_read_as_something_sound)
{
    unsigned short seed[3] = {2, 7, 1};
    char text[2 * ADDR_TEXT_MAX];

    for (int i = 0; i < 50000; i++) {
        make_text(seed, text);
        damage(seed, text);
        assert_refused_or_sound(text);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("addr");
    TCase *tcase = tcase_create("addr");

    suite_add_tcase(suite, tcase);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, an_address_is_read_and_written_in_one_form, 0,
                        ARRAY_LEN(accepted));
    tcase_add_test(tcase, defaults_hold_without_options);
    tcase_add_test(tcase, options_are_read);
    tcase_add_loop_test(tcase, a_wrong_address_is_refused_with_a_sentence, 0,
                        ARRAY_LEN(refused));
    tcase_add_test(tcase, a_path_has_at_most_107_bytes);
    tcase_add_test(tcase, a_sentence_is_one_printable_line_whatever_the_address);
    tcase_add_test(tcase, a_table_is_checked_like_a_text);
    tcase_add_test(tcase, streams_are_told_from_datagrams);
    tcase_add_test(tcase, an_address_stands_for_socket_addresses);
    tcase_add_test(tcase, a_socket_address_is_split_into_host_and_port);
    tcase_add_test(tcase, a_mapped_address_comes_out_as_ipv4);
    tcase_add_test(tcase, loopback_is_known_in_every_family);
    tcase_add_test(tcase, what_is_written_is_read_back);
    tcase_add_test(tcase, random_damage_is_refused_or_read_as_something_sound);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
