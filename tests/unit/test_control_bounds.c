/* tests/unit/test_control_bounds.c - server/control: what a client cannot use up. */
#include "server/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <check.h>

#include "control_fixture.h"

START_TEST(at_most_16_requests_wait_for_their_answers)
{
    int fd = fixture_open();
    for (int i = 0; i < 20; i++)
        fixture_put(fd, "{\"command\":\"hold\"}\n");
    fixture_await_held(16);
    ck_assert_uint_lt(fixture_rest(20), 5);
    ck_assert_uint_eq(fixture.held_count, 16);
    fixture_answer(3, "one");
    fixture_expect(fd, "{\"ok\":true,\"got\":\"one\"}");
    fixture_await_held(16);
    while (fixture.held_count)
        fixture_answer(0, "all");
    fixture_await_held(3);
    while (fixture.held_count)
        fixture_answer(0, "last");
    for (int i = 0; i < 16; i++)
        fixture_expect(fd, "{\"ok\":true,\"got\":\"all\"}");
    for (int i = 0; i < 3; i++)
        fixture_expect(fd, "{\"ok\":true,\"got\":\"last\"}");
    close(fd);
}
END_TEST

#define TWO_LINES (2 * (size_t)CONTROL_LINE_MAX)

/* Spaces at the end of a request; gives up when the server has closed. */
static void put_long(int fd, size_t len)
{
    static char bytes[TWO_LINES];
    int head = snprintf(bytes, sizeof bytes, "{\"command\":\"echo\"}");
    memset(bytes + head, ' ', len - (size_t)head);
    for (size_t sent = 0; sent < len;) {
        ssize_t more = send(fd, bytes + sent, len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (more < 0 && errno == EPIPE)
            return;
        sent += more > 0 ? (size_t)more : 0;
        fixture_rest(1);
    }
}

START_TEST(a_line_of_a_mebibyte_is_served_and_a_longer_one_ends_the_connection)
{
    int fd = fixture_open();
    put_long(fd, CONTROL_LINE_MAX);
    fixture_put(fd, "\n");
    fixture_expect(fd, "{\"ok\":true}");
    put_long(fd, CONTROL_LINE_MAX + 1);
    const char *answer = fixture_get(fd);
    ck_assert_msg(strstr(answer, "longer than 1 MiB") && strstr(answer, "EMSGSIZE"), "%s",
                  answer);
    fixture_expect(fd, "<end>");
    close(fd);
}
END_TEST

START_TEST(a_line_without_an_end_is_not_waited_for)
{
    int fd = fixture_open();
    put_long(fd, TWO_LINES);
    ck_assert_ptr_nonnull(strstr(fixture_get(fd), "longer than 1 MiB"));
    fixture_expect(fd, "<end>");
    close(fd);
}
END_TEST

START_TEST(an_answer_that_is_too_long_becomes_a_failure)
{
    int fd = fixture_open();
    fixture_put(fd, "{\"command\":\"hold\",\"id\":1}\n");
    fixture_await_held(1);
    control_answer(fixture_take(0), fixture_long(CONTROL_ANSWER_MAX));
    fixture_expect(fd,
                   "{\"ok\":false,\"error\":\"the answer is longer than 16 MiB; ask for "
                   "less\",\"code\":\"EMSGSIZE\",\"status\":1,\"id\":1}");
    close(fd);
}
END_TEST

START_TEST(a_client_that_does_not_read_is_closed_when_too_much_is_queued)
{
    int fd = fixture_open();
    for (int i = 0; i < 3; i++)
        fixture_put(fd, "{\"command\":\"hold\"}\n");
    fixture_await_held(3);
    control_answer(fixture_take(0), fixture_long(CONTROL_ANSWER_MAX - 100));
    fixture_rest(5);
    control_answer(fixture_take(0), fixture_long(CONTROL_ANSWER_MAX - 100));
    fixture_rest(5);
    ck_assert_str_eq(fixture.logged, "");
    control_answer(fixture_take(0), fixture_long(CONTROL_ANSWER_MAX - 100));
    ck_assert_ptr_nonnull(strstr(fixture.logged, "closed a client: it does not read"));
    ck_assert_int_lt(send(fd, "\n", 1, MSG_NOSIGNAL), 0);
    close(fd);
    fixture_ask("{\"command\":\"echo\"}\n", "{\"ok\":true}");
}
END_TEST

/* Sends requests until the server takes no more, and at most so many bytes; how many it took. */
static size_t flood(int fd, size_t max)
{
    static const char request[] = "{\"command\":\"echo\"}\n";
    size_t taken = 0, last = 1;
    while (taken < max && taken != last) {
        last = taken;
        while (taken < max && send(fd, request, 19, MSG_NOSIGNAL | MSG_DONTWAIT) == 19)
            taken += 19;
        fixture_rest(20);
    }
    return taken;
}

START_TEST(a_client_that_does_not_read_is_not_read_from)
{
    enum { MAX = 4 << 20 };
    int fd = fixture_open();
    size_t taken = flood(fd, MAX);
    ck_assert_uint_lt(taken, MAX);
    ck_assert_uint_lt(fixture_rest(20), 5);
    ck_assert_str_eq(fixture.logged, "");
    for (; taken >= 19; taken -= 19)
        fixture_expect(fd, "{\"ok\":true}");
    close(fd);
}
END_TEST

START_TEST(a_65th_client_is_refused_until_one_goes)
{
    int fds[CONTROL_CLIENTS_MAX];
    for (int i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        fds[i] = fixture_open();
        fixture_put(fds[i], "{\"command\":\"echo\"}\n");
        fixture_expect(fds[i], "{\"ok\":true}");
    }
    int fd = fixture_open();
    const char *answer = fixture_get(fd);
    ck_assert_msg(strstr(answer, "too many clients") &&
                      strstr(answer, "\"code\":\"EBUSY\",\"status\":69"),
                  "%s", answer);
    fixture_expect(fd, "<end>");
    close(fd);
    close(fds[20]);
    fixture_rest(20);
    fixture_ask("{\"command\":\"echo\"}\n", "{\"ok\":true}");
    for (int i = 0; i < CONTROL_CLIENTS_MAX; i++)
        if (i != 20)
            close(fds[i]);
}
END_TEST

/* Connects a socket and sends an echo with that id. */
static void ask_echo(int fd, const char *id)
{
    ck_assert_int_eq(fixture_connect(fd), 0);
    fixture_put(fd, "{\"command\":\"echo\",\"id\":");
    fixture_put(fd, id);
    fixture_put(fd, "}\n");
}

static void expect_echo(int fd, const char *id)
{
    char wanted[64];
    snprintf(wanted, sizeof wanted, "{\"ok\":true,\"id\":%s}", id);
    fixture_expect(fd, wanted);
}

static void check_logged(const char *wanted)
{
    ck_assert_str_eq(fixture.logged, wanted);
}

#define LIMIT 256

static int taken[LIMIT], taken_count;

/* From now on this process can open no descriptor. */
static void use_up_descriptors(void)
{
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = LIMIT;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    while (taken_count < LIMIT && (taken[taken_count] = dup(STDERR_FILENO)) >= 0)
        taken_count++;
    ck_assert_int_eq(errno, EMFILE);
}

START_TEST(out_of_descriptors_one_client_is_served_and_the_next_one_soon)
{
    int first = fixture_socket(), second = fixture_socket(), third = fixture_socket();
    use_up_descriptors();
    ask_echo(first, "1");
    expect_echo(first, "1");
    check_logged("");

    ask_echo(second, "2");
    ck_assert_uint_lt(fixture_rest(350), 20); /* it does not try again and again */
    check_logged("control socket: cannot accept clients: Too many open files\n");
    shutdown(first, SHUT_RDWR); /* a client goes; our own descriptor stays taken */
    expect_echo(second, "2");

    ask_echo(third, "3");
    fixture_rest(20);
    while (taken_count) /* none goes, but there are descriptors again */
        close(taken[--taken_count]);
    expect_echo(third, "3");
    close(first);
    close(second);
    close(third);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("control_bounds");
    TCase *tcase = tcase_create("control_bounds");

    suite_add_tcase(suite, tcase);
    tcase_add_checked_fixture(tcase, fixture_setup, fixture_teardown);
    tcase_add_test(tcase, at_most_16_requests_wait_for_their_answers);
    tcase_add_test(tcase,
                   a_line_of_a_mebibyte_is_served_and_a_longer_one_ends_the_connection);
    tcase_add_test(tcase, a_line_without_an_end_is_not_waited_for);
    tcase_add_test(tcase, an_answer_that_is_too_long_becomes_a_failure);
    tcase_add_test(tcase, a_client_that_does_not_read_is_closed_when_too_much_is_queued);
    tcase_add_test(tcase, a_client_that_does_not_read_is_not_read_from);
    tcase_add_test(tcase, a_65th_client_is_refused_until_one_goes);
    tcase_add_test(tcase, out_of_descriptors_one_client_is_served_and_the_next_one_soon);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
