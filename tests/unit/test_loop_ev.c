/* tests/unit/test_loop_ev.c - net/loop on libev: turns, the alarm, watchers, waking. */
#include "net/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include <check.h>

#include "io/io.h"

static struct loop *loop;
static unsigned turns, turns_wanted, alarms, wakes;
static bool stop_on_alarm, stop_on_wake;
static uint64_t alarm_ms;

static uint64_t now_ms(void)
{
    return io_system.ops->monotonic_ns(&io_system) / 1000000U;
}

static bool on_turn(void *owner)
{
    ck_assert_ptr_eq(owner, &loop);
    turns++;
    if (turns_wanted && turns >= turns_wanted)
        loop_stop(loop);
    return turns_wanted > 0;
}

static void on_alarm(void *owner)
{
    (void)owner;
    alarms++;
    alarm_ms = loop_now_ms(loop);
    if (stop_on_alarm)
        loop_stop(loop);
}

static void on_wake(void *owner)
{
    (void)owner;
    wakes++;
    if (stop_on_wake)
        loop_stop(loop);
}

static const struct loop_ops ops = {
    .on_turn = on_turn, .on_alarm = on_alarm, .on_wake = on_wake};

static void setup(void)
{
    turns = turns_wanted = alarms = wakes = 0;
    stop_on_alarm = stop_on_wake = true;
    loop = loop_new(&io_system, &ops, &loop);
    ck_assert_ptr_nonnull(loop);
}

static void teardown(void)
{
    loop_free(loop);
}

static void run_turns(unsigned count)
{
    turns = 0;
    turns_wanted = count;
    loop_run(loop);
    turns_wanted = 0;
}

START_TEST(more_to_do_keeps_the_loop_from_blocking)
{
    run_turns(100);
    ck_assert_uint_eq(turns, 100);
}
END_TEST

START_TEST(the_alarm_is_not_early_and_comes_once)
{
    uint64_t at_ms = now_ms() + 20;
    loop_set_alarm(loop, at_ms);
    loop_run(loop);
    ck_assert_uint_eq(alarms, 1);
    ck_assert_uint_ge(alarm_ms, at_ms);
    ck_assert_uint_ge(now_ms(), at_ms);
    run_turns(10);
    ck_assert_uint_eq(alarms, 1);
}
END_TEST

START_TEST(an_alarm_in_the_past_comes_at_once)
{
    loop_set_alarm(loop, 0);
    loop_run(loop);
    ck_assert_uint_eq(alarms, 1);
}
END_TEST

START_TEST(an_alarm_can_be_moved_and_taken_back)
{
    stop_on_alarm = false;
    loop_set_alarm(loop, 0);
    loop_set_alarm(loop, UINT64_MAX);
    run_turns(10);
    ck_assert_uint_eq(alarms, 0);
    loop_set_alarm(loop, now_ms() + 3600000);
    loop_set_alarm(loop, 0);
    run_turns(10);
    ck_assert_uint_eq(alarms, 1);
}
END_TEST

START_TEST(many_wakes_are_at_least_one)
{
    for (int i = 0; i < 100; i++)
        loop_wake(loop);
    loop_run(loop);
    ck_assert_uint_ge(wakes, 1);
    ck_assert_uint_le(wakes, 100);
}
END_TEST

static void *wake_it(void *argument)
{
    (void)argument;
    loop_wake(loop);
    return NULL;
}

START_TEST(another_thread_wakes_a_loop_that_blocks)
{
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        ck_assert_int_eq(pthread_create(&thread, NULL, wake_it, NULL), 0);
        loop_run(loop);
        pthread_join(thread, NULL);
    }
    ck_assert_uint_eq(wakes, 20);
}
END_TEST

/* ---- Watchers ---- */

struct watched {
    struct loop_io io;
    struct watched *stops; /* another that this one stops */
    unsigned calls, events;
};

static void on_ready(struct loop_io *io, unsigned events)
{
    struct watched *watched = container_of(io, struct watched, io);
    watched->calls++;
    watched->events |= events;
    if (watched->stops)
        loop_io_watch(loop, &watched->stops->io, LOOP_NONE);
}

static void open_pipe(int fds[2])
{
    ck_assert_int_eq(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
}

static void close_pipe(int fds[2])
{
    close(fds[0]);
    close(fds[1]);
}

START_TEST(a_watcher_is_told_what_it_asked_for)
{
    struct watched reader = {0}, writer = {0};
    int fds[2];
    open_pipe(fds);
    loop_io_init(&reader.io, fds[0], on_ready);
    loop_io_init(&writer.io, fds[1], on_ready);
    loop_io_watch(loop, &reader.io, LOOP_READ);
    run_turns(5);
    ck_assert_uint_eq(reader.calls, 0);
    loop_io_watch(loop, &writer.io, LOOP_WRITE);
    run_turns(5);
    ck_assert_uint_gt(writer.calls, 0);
    ck_assert_uint_eq(writer.events, LOOP_WRITE);
    loop_io_watch(loop, &writer.io, LOOP_NONE);
    writer.calls = 0;
    ck_assert_int_eq(write(fds[1], "x", 1), 1);
    run_turns(5);
    ck_assert_uint_gt(reader.calls, 1); /* as long as there is something */
    ck_assert_uint_eq(reader.events, LOOP_READ);
    ck_assert_uint_eq(writer.calls, 0);
    loop_io_watch(loop, &reader.io, LOOP_NONE);
    close_pipe(fds);
}
END_TEST

START_TEST(a_watcher_that_was_stopped_in_the_turn_is_not_called)
{
    struct watched a = {0}, b = {.stops = &a};
    a.stops = &b;
    int first[2], second[2];
    open_pipe(first);
    open_pipe(second);
    loop_io_init(&a.io, first[0], on_ready);
    loop_io_init(&b.io, second[0], on_ready);
    loop_io_watch(loop, &a.io, LOOP_READ);
    loop_io_watch(loop, &b.io, LOOP_READ);
    ck_assert_int_eq(write(first[1], "x", 1), 1);
    ck_assert_int_eq(write(second[1], "x", 1), 1);
    run_turns(3);
    ck_assert((a.calls == 0) != (b.calls == 0));
    loop_io_watch(loop, &a.io, LOOP_NONE);
    loop_io_watch(loop, &b.io, LOOP_NONE);
    close_pipe(first);
    close_pipe(second);
}
END_TEST

START_TEST(a_descriptor_that_is_used_again_is_watched_anew)
{
    struct watched old = {0}, new = {0};
    int fds[2], again[2];
    open_pipe(fds);
    loop_io_init(&old.io, fds[0], on_ready);
    loop_io_watch(loop, &old.io, LOOP_READ);
    run_turns(2);
    loop_io_watch(loop, &old.io, LOOP_NONE);
    close_pipe(fds);
    open_pipe(again);
    ck_assert_int_eq(again[0], fds[0]);
    loop_io_init(&new.io, again[0], on_ready);
    loop_io_watch(loop, &new.io, LOOP_READ);
    ck_assert_int_eq(write(again[1], "x", 1), 1);
    run_turns(3);
    ck_assert_uint_gt(new.calls, 0);
    ck_assert_uint_eq(old.calls, 0);
    loop_io_watch(loop, &new.io, LOOP_NONE);
    close_pipe(again);
}
END_TEST

START_TEST(what_is_watched_may_change)
{
    struct watched end = {0};
    int pair[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    loop_io_init(&end.io, pair[0], on_ready);
    loop_io_watch(loop, &end.io, LOOP_READ | LOOP_WRITE);
    run_turns(3);
    ck_assert_uint_eq(end.events, LOOP_WRITE);
    loop_io_watch(loop, &end.io, LOOP_READ);
    end.calls = 0;
    run_turns(3);
    ck_assert_uint_eq(end.calls, 0);
    end.events = 0;
    ck_assert_int_eq(write(pair[1], "x", 1), 1);
    loop_io_watch(loop, &end.io, LOOP_WRITE);
    run_turns(3);
    ck_assert_uint_eq(end.events, LOOP_WRITE);
    loop_io_watch(loop, &end.io, LOOP_READ | LOOP_WRITE);
    run_turns(3);
    ck_assert_uint_eq(end.events, LOOP_READ | LOOP_WRITE);
    loop_io_watch(loop, &end.io, LOOP_NONE);
    close_pipe(pair);
}
END_TEST

START_TEST(the_clock_is_read_each_turn)
{
    uint64_t before_ms = loop_now_ms(loop);
    loop_set_alarm(loop, before_ms + 5);
    loop_run(loop);
    ck_assert_uint_ge(loop_now_ms(loop), before_ms + 5);
    loop_update_now(loop);
    ck_assert_uint_le(loop_now_ms(loop), now_ms());
}
END_TEST

START_TEST(libev_has_a_release)
{
    ck_assert_int_eq(loop_release()[0], '4');
    ck_assert_int_eq(loop_release()[1], '.');
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("loop_ev");
    TCase *tcase = tcase_create("loop_ev");

    suite_add_tcase(suite, tcase);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, more_to_do_keeps_the_loop_from_blocking);
    tcase_add_test(tcase, the_alarm_is_not_early_and_comes_once);
    tcase_add_test(tcase, an_alarm_in_the_past_comes_at_once);
    tcase_add_test(tcase, an_alarm_can_be_moved_and_taken_back);
    tcase_add_test(tcase, many_wakes_are_at_least_one);
    tcase_add_test(tcase, another_thread_wakes_a_loop_that_blocks);
    tcase_add_test(tcase, a_watcher_is_told_what_it_asked_for);
    tcase_add_test(tcase, a_watcher_that_was_stopped_in_the_turn_is_not_called);
    tcase_add_test(tcase, a_descriptor_that_is_used_again_is_watched_anew);
    tcase_add_test(tcase, what_is_watched_may_change);
    tcase_add_test(tcase, the_clock_is_read_each_turn);
    tcase_add_test(tcase, libev_has_a_release);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
