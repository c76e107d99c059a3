/* tests/unit/test_bind.c - net/bind: what becomes of an address, and what is refused. */
#include "net/bind.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

static struct bound bound[BOUND_MAX], other[BOUND_MAX];
static struct bind_options options;
static char why[BIND_WHY_MAX];
static char folder[64], path[96], address[128];

static void setup(void)
{
    options = (struct bind_options){.workers = 1, .nodelay = true, .keepalive_s = 60};
    strcpy(folder, "/tmp/neap-bind-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/s", folder);
    snprintf(address, sizeof address, "unix://%s", path);
    memset(bound, 0, sizeof bound);
    memset(other, 0, sizeof other);
}

static void teardown(void)
{
    for (int i = 0; i < BOUND_MAX; i++) {
        bound_close(&bound[i]);
        bound_close(&other[i]);
    }
    unlink(path);
    ck_assert_int_eq(rmdir(folder), 0);
}

static int open_at(const char *text, struct bound out[BOUND_MAX])
{
    struct addr addr;
    char wrong[ADDR_WHY_MAX];
    ck_assert_msg(addr_parse(&addr, text, wrong) == 0, "%s: %s", text, wrong);
    return bind_open(&addr, &options, out, why);
}

static int int_option(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof value;
    ck_assert_int_eq(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

START_TEST(port_zero_takes_a_free_one_and_names_it)
{
    ck_assert_int_eq(open_at("tcp://127.0.0.1:0", bound), 1);
    ck_assert_uint_eq(bound[0].fd_count, 1);
    int port = ntohs(bound[0].at.at.in.sin_port);
    ck_assert_int_gt(port, 0);
    char wanted[64];
    snprintf(wanted, sizeof wanted, "tcp://127.0.0.1:%d", port);
    ck_assert_str_eq(bound[0].text, wanted);
    int fd = bound[0].fds[0];
    ck_assert_int_eq(int_option(fd, SOL_SOCKET, SO_ACCEPTCONN), 1);
    ck_assert_int_eq(int_option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
    ck_assert_int_eq(int_option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    ck_assert_int_eq(int_option(fd, IPPROTO_TCP, TCP_KEEPIDLE), 60);
    ck_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
    ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}
END_TEST

static void check_taken(const char *any, unsigned workers, unsigned second_workers)
{
    options.workers = workers;
    ck_assert_int_eq(open_at(any, bound), 1);
    ck_assert_uint_eq(bound[0].fd_count, workers);
    options.workers = second_workers;
    ck_assert_int_eq(open_at(bound[0].text, other), -EADDRINUSE);
    ck_assert_msg(strstr(why, bound[0].text) && strstr(why, "is another server running"),
                  "%s", why);
}

START_TEST(a_port_that_is_taken_is_refused)
{
    check_taken("tcp://127.0.0.1:0", 1, 1);
}
END_TEST

START_TEST(so_it_is_among_several_workers)
{
    check_taken("tcp://127.0.0.1:0", 3, 3);
}
END_TEST

START_TEST(so_is_a_udp_port)
{
    check_taken("udp://127.0.0.1:0", 2, 2);
}
END_TEST

START_TEST(every_worker_has_its_own_socket_of_one_port)
{
    options.workers = 4;
    ck_assert_int_eq(open_at("udp://127.0.0.1:0", bound), 1);
    ck_assert_uint_eq(bound[0].fd_count, 4);
    for (int i = 0; i < 4; i++) {
        struct sockaddr_in at = {0};
        socklen_t len = sizeof at;
        ck_assert_int_eq(getsockname(bound[0].fds[i], (struct sockaddr *)&at, &len), 0);
        ck_assert_int_eq(at.sin_port, bound[0].at.at.in.sin_port);
    }
}
END_TEST

START_TEST(an_address_of_another_machine_is_explained)
{
    ck_assert_int_eq(open_at("tcp://192.0.2.1:0", bound), -EADDRNOTAVAIL);
    ck_assert_msg(strstr(why, "no interface of this machine"), "%s", why);
}
END_TEST

START_TEST(localhost_is_one_port_on_both_addresses)
{
    int count = open_at("tcp://localhost:0", bound);
    ck_assert_int_ge(count, 1);
    ck_assert_ptr_nonnull(strstr(bound[0].text, "127.0.0.1:"));
    if (count == 2) {
        ck_assert_ptr_nonnull(strstr(bound[1].text, "[::1]:"));
        ck_assert_int_eq(bound[0].at.at.in.sin_port, bound[1].at.at.in6.sin6_port);
    }
}
END_TEST

START_TEST(localhost_is_refused_when_one_of_its_addresses_is_taken)
{
    int count = open_at("tcp://localhost:0", bound);
    if (count < 2)
        return; /* this machine has one */
    char text[64];
    snprintf(text, sizeof text, "tcp://localhost:%d", ntohs(bound[0].at.at.in.sin_port));
    bound_close(&bound[0]);
    ck_assert_int_eq(open_at(text, other), -EADDRINUSE);
    ck_assert_uint_eq(other[0].fd_count, 0); /* nothing is left behind */
}
END_TEST

START_TEST(script_options_are_set_before_listening)
{
    struct socket_option buffer = {SOL_SOCKET, SO_RCVBUF, 32768};
    options.sockopts = &buffer;
    options.sockopt_count = 1;
    ck_assert_int_eq(open_at("tcp://127.0.0.1:0", bound), 1);
    ck_assert_int_eq(int_option(bound[0].fds[0], SOL_SOCKET, SO_RCVBUF), 65536);
    bound_close(&bound[0]);
    buffer.name = 9999;
    ck_assert_int_eq(open_at("tcp://127.0.0.1:0", bound), -ENOPROTOOPT);
}
END_TEST

/* ---- Unix ---- */

START_TEST(a_unix_socket_has_its_mode_and_goes_with_its_server)
{
    struct stat found;
    char text[160];
    snprintf(text, sizeof text, "%s?mode=0600", address);
    ck_assert_int_eq(open_at(text, bound), 1);
    ck_assert_int_eq(stat(path, &found), 0);
    ck_assert(S_ISSOCK(found.st_mode));
    ck_assert_int_eq(found.st_mode & 0777, 0600);
    ck_assert_str_eq(bound[0].text, address);
    bound_close(&bound[0]);
    ck_assert_int_eq(stat(path, &found), -1);
}
END_TEST

START_TEST(a_stale_unix_socket_is_replaced)
{
    ck_assert_int_eq(open_at(address, bound), 1);
    bound[0].unlink = false; /* as if it had died */
    bound_close(&bound[0]);
    ck_assert_int_eq(access(path, F_OK), 0);
    ck_assert_int_eq(open_at(address, other), 1);
}
END_TEST

START_TEST(so_is_a_stale_datagram_socket)
{
    snprintf(address, sizeof address, "unixgram://%s", path);
    ck_assert_int_eq(open_at(address, bound), 1);
    ck_assert_int_eq(open_at(address, other), -EADDRINUSE);
    bound[0].unlink = false;
    bound_close(&bound[0]);
    ck_assert_int_eq(open_at(address, other), 1);
}
END_TEST

START_TEST(a_unix_socket_that_lives_is_left_alone)
{
    ck_assert_int_eq(open_at(address, bound), 1);
    ck_assert_int_eq(open_at(address, other), -EADDRINUSE);
    bound_close(&other[0]);
    ck_assert_int_eq(access(path, F_OK), 0);
}
END_TEST

START_TEST(a_live_socket_of_the_other_kind_is_left_alone)
{
    char gram[128];
    snprintf(gram, sizeof gram, "unixgram://%s", path);
    ck_assert_int_eq(open_at(address, bound), 1);
    ck_assert_int_eq(open_at(gram, other), -EADDRINUSE);
    ck_assert_int_eq(access(path, F_OK), 0);
}
END_TEST

START_TEST(a_plain_file_is_not_removed)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert_int_eq(open_at(address, bound), -EEXIST);
    ck_assert_msg(strstr(why, "a file that is no socket"), "%s", why);
    ck_assert_int_eq(access(path, F_OK), 0);
}
END_TEST

START_TEST(a_folder_that_is_not_there_is_named)
{
    snprintf(address, sizeof address, "unix://%s/none/s", folder);
    ck_assert_int_eq(open_at(address, bound), -ENOENT);
    ck_assert_msg(strstr(why, "/none/s"), "%s", why);
}
END_TEST

/* ---- Descriptors ---- */

static int adopt(int fd, struct bound out[BOUND_MAX])
{
    char text[32];
    snprintf(text, sizeof text, "fd://%d", fd);
    return open_at(text, out);
}

START_TEST(a_descriptor_says_itself_what_it_is)
{
    ck_assert_int_eq(open_at("udp://127.0.0.1:0", bound), 1);
    ck_assert_int_eq(adopt(bound[0].fds[0], other), 1);
    ck_assert_int_eq(other[0].transport, TRANSPORT_UDP);
    ck_assert_str_eq(other[0].text, bound[0].text);
    ck_assert_int_ne(other[0].fds[0], bound[0].fds[0]);
}
END_TEST

START_TEST(a_bound_descriptor_is_made_to_listen_without_blocking)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    ck_assert_int_eq(adopt(fd, bound), 1);
    ck_assert_int_eq(bound[0].transport, TRANSPORT_TCP);
    ck_assert_int_eq(int_option(bound[0].fds[0], SOL_SOCKET, SO_ACCEPTCONN), 1);
    ck_assert(fcntl(bound[0].fds[0], F_GETFL) & O_NONBLOCK);
    ck_assert(fcntl(bound[0].fds[0], F_GETFD) & FD_CLOEXEC);
    close(fd);
}
END_TEST

START_TEST(what_is_no_socket_is_refused)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(adopt(fd, bound), -ENOTSOCK);
    close(fd);
    ck_assert_int_eq(adopt(fd, bound), -EBADF);
    ck_assert_msg(strstr(why, "fd://"), "%s", why);
}
END_TEST

START_TEST(the_file_of_an_adopted_unix_socket_stays)
{
    ck_assert_int_eq(open_at(address, bound), 1);
    ck_assert_int_eq(adopt(bound[0].fds[0], other), 1);
    ck_assert_int_eq(other[0].transport, TRANSPORT_UNIX);
    bound_close(&other[0]);
    ck_assert_int_eq(access(path, F_OK), 0);
}
END_TEST

static void add_all(TCase *tcase)
{
    tcase_add_test(tcase, port_zero_takes_a_free_one_and_names_it);
    tcase_add_test(tcase, a_port_that_is_taken_is_refused);
    tcase_add_test(tcase, so_it_is_among_several_workers);
    tcase_add_test(tcase, so_is_a_udp_port);
    tcase_add_test(tcase, every_worker_has_its_own_socket_of_one_port);
    tcase_add_test(tcase, an_address_of_another_machine_is_explained);
    tcase_add_test(tcase, localhost_is_one_port_on_both_addresses);
    tcase_add_test(tcase, localhost_is_refused_when_one_of_its_addresses_is_taken);
    tcase_add_test(tcase, script_options_are_set_before_listening);
    tcase_add_test(tcase, a_unix_socket_has_its_mode_and_goes_with_its_server);
    tcase_add_test(tcase, a_stale_unix_socket_is_replaced);
    tcase_add_test(tcase, so_is_a_stale_datagram_socket);
    tcase_add_test(tcase, a_unix_socket_that_lives_is_left_alone);
    tcase_add_test(tcase, a_live_socket_of_the_other_kind_is_left_alone);
    tcase_add_test(tcase, a_plain_file_is_not_removed);
    tcase_add_test(tcase, a_folder_that_is_not_there_is_named);
    tcase_add_test(tcase, a_descriptor_says_itself_what_it_is);
    tcase_add_test(tcase, a_bound_descriptor_is_made_to_listen_without_blocking);
    tcase_add_test(tcase, what_is_no_socket_is_refused);
    tcase_add_test(tcase, the_file_of_an_adopted_unix_socket_stays);
}

int main(void)
{
    Suite *suite = suite_create("bind");
    TCase *tcase = tcase_create("bind");

    suite_add_tcase(suite, tcase);
    tcase_add_checked_fixture(tcase, setup, teardown);
    add_all(tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
