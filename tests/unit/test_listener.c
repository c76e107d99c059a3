/* tests/unit/test_listener.c - net/listener: accepting, and failing to. */
#include "net/listener.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <check.h>

#include "net_fixture.h"

static struct listener listener;
static struct endpoint at;
static int fd, taken[512];
static size_t taken_count;

static void take(struct listener *from, int accepted, const struct endpoint *peer)
{
    ck_assert_ptr_eq(from, &listener);
    ck_assert_int_eq(peer->at.sa.sa_family, AF_INET);
    ck_assert_uint_lt(taken_count, ARRAY_LEN(taken));
    taken[taken_count++] = accepted;
}

static void setup(void)
{
    net_setup();
    taken_count = 0;
    listener = (struct listener){0};
    fd = net_bind("tcp://127.0.0.1:0", &at);
    listener_start(&listener, net.reactor, fd, take);
}

static void teardown(void)
{
    listener_stop(&listener);
    listener_stop(&listener); /* does nothing */
    for (size_t i = 0; i < taken_count; i++)
        close(taken[i]);
    close(fd);
    net_teardown();
}

static void await_taken(size_t count)
{
    for (int i = 0; i < 1000 && taken_count < count; i++)
        net_turns(1);
    ck_assert_uint_eq(taken_count, count);
}

static void fail_accept(int error)
{
    net.accept_fault = (struct net_fault){-error, 1};
}

START_TEST(connections_are_handed_over)
{
    enum { COUNT = 100 };
    int peers[COUNT];

    for (size_t i = 0; i < COUNT; i++)
        peers[i] = net_connect(&at, SOCK_STREAM);
    await_taken(COUNT);
    for (size_t i = 0; i < COUNT; i++)
        close(peers[i]);
}
END_TEST

START_TEST(a_connection_that_is_aborted_early_is_passed_over)
{
    int peer = net_connect(&at, SOCK_STREAM);

    fail_accept(ECONNABORTED);
    await_taken(1);
    ck_assert_uint_eq(net_counter(COUNTER_ACCEPT_ERRORS), 0);
    close(peer);
}
END_TEST

START_TEST(at_the_limit_the_spare_descriptor_refuses_P12)
{
    int refused = net_connect(&at, SOCK_STREAM), error;

    fail_accept(EMFILE);
    ck_assert_uint_eq(net_read_all(refused, &error), 0);
    ck_assert_int_eq(error, 0);
    ck_assert_uint_eq(taken_count, 0);
    ck_assert_uint_eq(net_counter(COUNTER_REFUSED_DESCRIPTORS), 1);
    ck_assert_int_ge(listener.spare, 0);
    int peer = net_connect(&at, SOCK_STREAM);
    await_taken(1);
    close(refused);
    close(peer);
}
END_TEST

START_TEST(without_a_spare_descriptor_it_rests_and_comes_back_P12)
{
    net.accept_fault = (struct net_fault){-EMFILE, UINT32_MAX};
    net.reserve_fault = (struct net_fault){-EMFILE, UINT32_MAX};
    int peer = net_connect(&at, SOCK_STREAM);

    net_turns(5);
    ck_assert_uint_ge(net.accepts, 1);
    uint32_t before = net.accepts;
    net_turns(10);
    ck_assert_uint_eq(net.accepts, before); /* no busy loop */
    ck_assert_int_lt(listener.spare, 0);
    net_advance(100);
    ck_assert_uint_gt(net.accepts, before);
    net.accept_fault.count = net.reserve_fault.count = 0;
    ck_assert_uint_eq(taken_count, 0);
    net_advance(100);
    await_taken(1);
    ck_assert_int_ge(listener.spare, 0);
    close(peer);
}
END_TEST

START_TEST(a_system_out_of_buffers_makes_it_rest)
{
    int peer = net_connect(&at, SOCK_STREAM);

    fail_accept(ENOBUFS);
    net_turns(10);
    ck_assert_uint_eq(net.accepts, 1);
    ck_assert_uint_eq(net_counter(COUNTER_ACCEPT_ERRORS), 1);
    net_advance(99);
    ck_assert_uint_eq(taken_count, 0);
    net_advance(1);
    await_taken(1);
    close(peer);
}
END_TEST

START_TEST(the_real_limit_refuses_everybody_and_then_serves_again_P12)
{
    int peers[4], error;
    for (int i = 0; i < 4; i++)
        peers[i] = net_connect(&at, SOCK_STREAM);
    int top = dup(0);
    close(top);
    struct rlimit before, limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    limit = before;
    limit.rlim_cur = (rlim_t)top;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);

    for (int i = 0; i < 4; i++)
        ck_assert_uint_eq(net_read_all(peers[i], &error), 0);
    ck_assert_uint_eq(taken_count, 0);
    ck_assert_uint_eq(net_counter(COUNTER_REFUSED_DESCRIPTORS), 4);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    int peer = net_connect(&at, SOCK_STREAM);
    net_turns(2);
    net_advance(100);
    await_taken(1);
    close(peer);
    for (int i = 0; i < 4; i++)
        close(peers[i]);
}
END_TEST

START_TEST(a_stopped_listener_accepts_nothing)
{
    listener_stop(&listener);
    int peer = net_connect(&at, SOCK_STREAM);
    net_turns(5);
    ck_assert_uint_eq(net.accepts, 0);
    close(peer);
}
END_TEST

START_TEST(a_listener_that_rests_can_be_stopped)
{
    int peer = net_connect(&at, SOCK_STREAM);
    fail_accept(ENOBUFS);
    net_turns(3);
    listener_stop(&listener);
    net_advance(1000);
    ck_assert_uint_eq(net.accepts, 1);
    close(peer);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("listener");
    TCase *tcase = tcase_create("listener");

    suite_add_tcase(suite, tcase);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, connections_are_handed_over);
    tcase_add_test(tcase, a_connection_that_is_aborted_early_is_passed_over);
    tcase_add_test(tcase, at_the_limit_the_spare_descriptor_refuses_P12);
    tcase_add_test(tcase, without_a_spare_descriptor_it_rests_and_comes_back_P12);
    tcase_add_test(tcase, a_system_out_of_buffers_makes_it_rest);
    tcase_add_test(tcase, the_real_limit_refuses_everybody_and_then_serves_again_P12);
    tcase_add_test(tcase, a_stopped_listener_accepts_nothing);
    tcase_add_test(tcase, a_listener_that_rests_can_be_stopped);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
