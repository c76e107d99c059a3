/* tests/unit/test_dgram.c - net/dgram: peers, batches and what bounds them. */
#include "net/dgram.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <check.h>

#include "net_fixture.h"

static struct dgram *dgram;
static struct endpoint at;
static int server;

static void serve(const char *address, enum transport transport)
{
    server = net_bind(address, &at);
    dgram = dgram_open(net.reactor, &net.service, server, transport, &net_dgram_ops);
    ck_assert_ptr_nonnull(dgram);
}

static void setup(void)
{
    net_setup();
    net.trace_numbers = true;
    dgram = NULL;
}

static void teardown(void)
{
    conn_abort_all(net.reactor);
    net_turns(3);
    ck_assert_uint_eq(net.reactor->peer_count, 0);
    dgram_close(dgram);
    if (dgram)
        close(server);
    net_teardown();
}

static void serve_udp(void)
{
    serve("udp://127.0.0.1:0", TRANSPORT_UDP);
}

static int client(void)
{
    return net_connect(&at, SOCK_DGRAM);
}

static void echo(struct conn *conn, const char *bytes, size_t len)
{
    ck_assert_int_eq(net_send(conn, bytes, len), 0);
}

static void put(int fd, const char *bytes, size_t len)
{
    ck_assert_int_eq(send(fd, bytes, len, 0), (ssize_t)len);
}

/* Nothing comes to `fd`. */
static void expect_nothing(int fd)
{
    char byte;
    net_turns(3);
    ck_assert_int_eq(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
    ck_assert_int_eq(errno, EAGAIN);
}

START_TEST(a_batch_is_read_in_one_call_and_answered_in_one)
{
    serve_udp();
    net.on_message = echo;
    int peer = client();
    char text[16], wanted[16];

    for (int i = 0; i < 10; i++) {
        snprintf(text, sizeof text, "n%d", i);
        net_put(peer, text);
    }
    net_await("message(n9)");
    ck_assert_uint_eq(net.recv_manys, 1);
    ck_assert_uint_eq(net.send_manys, 1);
    for (int i = 0; i < 10; i++) {
        snprintf(wanted, sizeof wanted, "n%d", i);
        net_expect(peer, wanted);
    }
    ck_assert_uint_eq(net_counter(COUNTER_PEERS), 1);
    close(peer);
}
END_TEST

START_TEST(each_address_is_a_connection)
{
    serve_udp();
    net.on_message = echo;
    int first = client(), second = client();

    net_put(first, "a");
    net_await("1:message(a)");
    net_put(second, "b");
    net_await("2:message(b)");
    net_put(first, "c");
    net_await("1:message(c)");
    ck_assert_str_eq(net.trace, "1:connect 1:message(a) 2:connect 2:message(b) "
                                "1:message(c)");
    net_expect(first, "a");
    net_expect(first, "c");
    net_expect(second, "b");
    close(first);
    close(second);
}
END_TEST

START_TEST(many_peers_are_found_again)
{
    enum { COUNT = 200 };
    serve_udp();
    net.on_message = echo;
    int peers[COUNT];
    char text[16];

    for (int i = 0; i < COUNT; i++)
        peers[i] = client();
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < COUNT; i++) {
            snprintf(text, sizeof text, "%d", i);
            net_put(peers[i], text);
            net_expect(peers[i], text);
            net.trace[0] = '\0';
        }
    ck_assert_uint_eq(net_counter(COUNTER_PEERS), COUNT);
    ck_assert_uint_eq(net.reactor->peer_count, COUNT);
    for (int i = 0; i < COUNT; i++)
        close(peers[i]);
}
END_TEST

START_TEST(an_empty_datagram_is_a_message_P18)
{
    serve_udp();
    net.on_message = echo;
    int peer = client();
    char byte;

    put(peer, "", 0);
    net_await("1:message()");
    ck_assert_int_eq(recv(peer, &byte, 1, MSG_DONTWAIT), 0);
    close(peer);
}
END_TEST

START_TEST(the_least_recently_heard_goes_those_heard_once_first)
{
    serve_udp();
    net.reactor->max_peers = 2;
    int peers[5];
    for (int i = 0; i < 5; i++)
        peers[i] = client();

    net_put(peers[0], "a");
    net_put(peers[0], "a");
    net_put(peers[1], "b");
    net_await("2:message(b)");
    net_put(peers[2], "c"); /* 2 was heard once, 1 before it but twice */
    net_await("3:message(c)");
    ck_assert(net_traced("2:disconnect(limit: max_peers) 2:gone"));
    net_put(peers[2], "c");
    net_await("3:message(c) 3:message(c)");
    net_put(peers[0], "a");
    net_turns(3);
    net_put(peers[3], "d"); /* both proven: 3 was heard less recently */
    net_await("4:message(d)");
    ck_assert(net_traced("3:disconnect(limit: max_peers)"));
    ck_assert(!net_traced("1:disconnect"));
    ck_assert_uint_eq(net.reactor->peer_count, 2);
    ck_assert_uint_eq(net_counter(COUNTER_CLOSED_LIMIT), 2);
    for (int i = 0; i < 5; i++)
        close(peers[i]);
}
END_TEST

/* 10 bytes from a peer heard once allow 1230. */
static void reply_much(struct conn *conn, const char *bytes, size_t len)
{
    static char text[1231];
    (void)len;
    memset(text, *bytes, sizeof text);
    ck_assert_int_eq(net_send(conn, text, sizeof text), 0);
    ck_assert_int_eq(net_send(conn, text, 1230), 0);
}

START_TEST(a_peer_heard_once_is_sent_little_P18)
{
    serve_udp();
    net.on_message = reply_much;
    int peer = client();
    char bytes[2000];

    net_put(peer, "0123456789");
    net_await("1:message");
    ck_assert_int_eq(recv(peer, bytes, sizeof bytes, MSG_DONTWAIT), 1230);
    expect_nothing(peer);
    ck_assert_uint_eq(net_counter(COUNTER_DATAGRAMS_REPLY_LIMIT), 1);
    net_put(peer, "b");
    net_await("1:message(b)");
    ck_assert_int_eq(recv(peer, bytes, sizeof bytes, MSG_DONTWAIT), 1231);
    ck_assert_int_eq(recv(peer, bytes, sizeof bytes, MSG_DONTWAIT), 1230);
    close(peer);
}
END_TEST

START_TEST(the_reply_limit_can_be_lifted)
{
    serve_udp();
    net.service.reply_limit = false;
    net.on_message = reply_much;
    int peer = client();
    char bytes[2000];

    net_put(peer, "a");
    net_await("1:message(a)");
    ck_assert_int_eq(recv(peer, bytes, sizeof bytes, MSG_DONTWAIT), 1231);
    close(peer);
}
END_TEST

START_TEST(a_datagram_over_max_message_is_dropped)
{
    serve_udp();
    net.service.options.max_message = 100;
    int peer = client();
    char text[101];

    memset(text, 'x', sizeof text);
    put(peer, text, 101);
    put(peer, text, 100);
    net_await("1:message(xxx");
    ck_assert_uint_eq(net_counter(COUNTER_DATAGRAMS_OVERSIZE), 1);
    ck_assert_uint_eq(net_counter(COUNTER_MESSAGES), 1);
    close(peer);
}
END_TEST

START_TEST(a_truncated_datagram_is_dropped_P18)
{
    char address[64];
    static char text[70000];
    snprintf(address, sizeof address, "unixgram:///tmp/neap-test-%d.sock", getpid());
    serve(address, TRANSPORT_UNIXGRAM);
    int peer = client();

    put(peer, text, sizeof text);
    put(peer, "short", 5);
    net_await("1:message(short)");
    ck_assert_uint_eq(net_counter(COUNTER_DATAGRAMS_TRUNCATED), 1);
    unlink(at.at.un.sun_path);
    close(peer);
}
END_TEST

START_TEST(a_peer_without_an_address_cannot_be_answered)
{
    char address[64];
    snprintf(address, sizeof address, "unixgram:///tmp/neap-test-%d.sock", getpid());
    serve(address, TRANSPORT_UNIXGRAM);
    net.on_message = echo;
    int peer = client(); /* not bound */

    net_put(peer, "hello");
    net_await("1:message(hello)");
    ck_assert_uint_eq(net_counter(COUNTER_DATAGRAMS_NOT_SENT), 1);
    unlink(at.at.un.sun_path);
    close(peer);
}
END_TEST

static void pause_it(struct conn *conn, const char *bytes, size_t len)
{
    (void)bytes;
    (void)len;
    conn_pause(conn);
    net.on_message = NULL;
}

START_TEST(a_paused_peer_has_sixteen_queued)
{
    serve_udp();
    net.on_message = pause_it;
    int peer = client(), other = client();
    char text[16];

    net_put(peer, "first");
    net_await("1:message(first)");
    for (int i = 0; i < 20; i++) {
        snprintf(text, sizeof text, "n%d.", i);
        net_put(peer, text);
    }
    net_put(other, "others go on");
    net_await("2:message(others go on)");
    ck_assert(!net_traced("message(n"));
    ck_assert_uint_eq(net_counter(COUNTER_DATAGRAMS_QUEUE_FULL), 4);
    net.trace[0] = '\0';
    conn_resume(conn_find(net.reactor, (UINT64_C(1) << SLOTS_INDEX_BITS) | 0));
    net_await("message(n15.)");
    ck_assert(net_traced("1:message(n0.) 1:message(n1.)"));
    ck_assert(!net_traced("message(n16.)"));
    close(peer);
    close(other);
}
END_TEST

START_TEST(a_peer_that_is_silent_for_half_a_minute_goes)
{
    serve_udp();
    int peer = client();

    net_put(peer, "a");
    net_await("1:message(a)");
    net_advance(29999);
    ck_assert(!net_traced("disconnect"));
    net_advance(1);
    ck_assert(net_traced("1:disconnect(idle) 1:gone"));
    net_put(peer, "b");
    net_await("2:connect 2:message(b)");
    close(peer);
}
END_TEST

static void close_it(struct conn *conn, const char *bytes, size_t len)
{
    echo(conn, bytes, len);
    conn_close(conn, REASON_CLOSED, NULL);
    ck_assert_int_eq(net_send(conn, bytes, len), -EPIPE);
    ck_assert_int_eq(conn_shutdown(conn), -EPIPE);
}

START_TEST(a_closed_peer_gets_its_reply_and_opens_anew)
{
    serve_udp();
    net.on_message = close_it;
    int peer = client();

    net_put(peer, "a");
    net_put(peer, "b");
    net_await("2:disconnect(closed) 2:gone");
    ck_assert(net_traced("1:connect 1:message(a) 1:disconnect(closed) 1:gone 2:connect"));
    net_expect(peer, "a");
    net_expect(peer, "b");
    close(peer);
}
END_TEST

START_TEST(without_sessions_each_datagram_stands_alone)
{
    serve_udp();
    net.service.sessions = false;
    net.on_message = reply_much; /* there is no reply limit either */
    int peer = client();
    char bytes[2000];

    net_put(peer, "a");
    net_put(peer, "b");
    net_await("2:gone");
    ck_assert(net_traced("1:message(a) 1:gone 2:message(b) 2:gone"));
    ck_assert(!net_traced("connect"));
    ck_assert_int_eq(recv(peer, bytes, sizeof bytes, MSG_DONTWAIT), 1231);
    ck_assert_uint_eq(net.reactor->conns.count, 0);
    ck_assert_uint_eq(net.reactor->peer_count, 0);
    close(peer);
}
END_TEST

START_TEST(what_the_system_does_not_take_is_dropped_alone)
{
    serve_udp();
    net.on_message = echo;
    int peer = client();

    net.send_many_fault = (struct net_fault){-EPERM, 1};
    net_put(peer, "a");
    net_put(peer, "b");
    net_await("1:message(b)");
    net_expect(peer, "b");
    ck_assert_uint_eq(net_counter(COUNTER_DATAGRAMS_NOT_SENT), 1);
    close(peer);
}
END_TEST

/* A connected socket takes datagrams only from the address that it contacted. */
static void check_contacted(const char *bound, const char *contacted)
{
    serve(bound, TRANSPORT_UDP);
    net.on_message = echo;
    struct addr addr;
    struct endpoint to[2];
    char why[ADDR_WHY_MAX];
    ck_assert_int_eq(addr_parse(&addr, contacted, why), 0);
    addr_endpoints(&addr, to);
    if (to[0].at.sa.sa_family == AF_INET)
        to[0].at.in.sin_port = at.at.in.sin_port;
    else
        to[0].at.in6.sin6_port = at.at.in6.sin6_port;
    int peer = net_connect(&to[0], SOCK_DGRAM);
    net_put(peer, "hello");
    net_expect(peer, "hello");
    struct endpoint local;
    char text[ADDR_TEXT_MAX];
    conn_local(net.last, &local);
    endpoint_format(&local, text);
    ck_assert_msg(strstr(contacted + 6, "127.0.0.2") ? strstr(text, "127.0.0.2:") == text
                                                     : strstr(text, "[::1]:") == text,
                  "%s", text);
    close(peer);
}

START_TEST(a_reply_leaves_from_the_address_that_was_contacted_P18)
{
    check_contacted("udp://0.0.0.0:0", "udp://127.0.0.2:1");
}
END_TEST

START_TEST(so_it_does_over_ipv6)
{
    int fd = socket(AF_INET6, SOCK_DGRAM, 0);
    struct sockaddr_in6 one = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    bool has_ipv6 = fd >= 0 && bind(fd, (struct sockaddr *)&one, sizeof one) == 0;
    close(fd);
    if (has_ipv6)
        check_contacted("udp://[::]:0", "udp://[::1]:1");
}
END_TEST

START_TEST(one_address_contacted_at_two_is_two_peers)
{
    serve("udp://0.0.0.0:0", TRANSPORT_UDP);
    struct sockaddr_in to = at.at.in;
    int peer = socket(AF_INET, SOCK_DGRAM, 0);

    for (uint32_t i = 1; i <= 2; i++) {
        to.sin_addr.s_addr = htonl(0x7f000000U + i);
        ck_assert_int_eq(sendto(peer, "x", 1, 0, (struct sockaddr *)&to, sizeof to), 1);
    }
    net_await("2:message(x)");
    close(peer);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("dgram");
    TCase *tcase = tcase_create("dgram");

    suite_add_tcase(suite, tcase);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_batch_is_read_in_one_call_and_answered_in_one);
    tcase_add_test(tcase, each_address_is_a_connection);
    tcase_add_test(tcase, many_peers_are_found_again);
    tcase_add_test(tcase, an_empty_datagram_is_a_message_P18);
    tcase_add_test(tcase, the_least_recently_heard_goes_those_heard_once_first);
    tcase_add_test(tcase, a_peer_heard_once_is_sent_little_P18);
    tcase_add_test(tcase, the_reply_limit_can_be_lifted);
    tcase_add_test(tcase, a_datagram_over_max_message_is_dropped);
    tcase_add_test(tcase, a_truncated_datagram_is_dropped_P18);
    tcase_add_test(tcase, a_peer_without_an_address_cannot_be_answered);
    tcase_add_test(tcase, a_paused_peer_has_sixteen_queued);
    tcase_add_test(tcase, a_peer_that_is_silent_for_half_a_minute_goes);
    tcase_add_test(tcase, a_closed_peer_gets_its_reply_and_opens_anew);
    tcase_add_test(tcase, without_sessions_each_datagram_stands_alone);
    tcase_add_test(tcase, what_the_system_does_not_take_is_dropped_alone);
    tcase_add_test(tcase, a_reply_leaves_from_the_address_that_was_contacted_P18);
    tcase_add_test(tcase, so_it_does_over_ipv6);
    tcase_add_test(tcase, one_address_contacted_at_two_is_two_peers);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
