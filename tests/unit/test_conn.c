/* tests/unit/test_conn.c - net/conn over real sockets: the end of a connection, and its time. */
#include "net/conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <check.h>

#include "net_fixture.h"

static void never_take(void)
{
    net.send_fault = (struct net_fault){-EAGAIN, UINT32_MAX};
}

/* ---- Ends ---- */

static void reply_and_close(struct conn *conn, const char *bytes, size_t len)
{
    ck_assert_int_eq(net_send(conn, bytes, len), 0);
    conn_close(conn, REASON_CLOSED, "enough");
    ck_assert_int_eq(net_send(conn, bytes, len), -EPIPE);
    ck_assert(!conn_is_open(conn));
}

START_TEST(close_flushes_shuts_and_discards_until_the_peer_closes_P11)
{
    net_frame_lines();
    net.on_message = reply_and_close;
    int peer = net_open(TRANSPORT_TCP), error;

    net_put(peer, "a\nb\n");
    net_expect(peer, "a\n");
    ck_assert_uint_eq(net_read_all(peer, &error), 0);
    ck_assert_int_eq(error, 0); /* a FIN, no reset, though "b" was not read */
    net_put(peer, "more that nobody reads\n");
    net_turns(4);
    ck_assert_str_eq(net.trace, "connect message(a)");
    close(peer);
    net_await("gone");
    ck_assert(net_traced("connect message(a) disconnect(closed: enough) gone"));
}
END_TEST

START_TEST(linger_ends_a_peer_that_does_not_close)
{
    int peer = net_open(TRANSPORT_TCP);

    conn_close(net.last, REASON_CLOSED, NULL);
    net_turns(3);
    net_advance(4999);
    ck_assert(!net_traced("disconnect"));
    net_advance(1);
    ck_assert(net_traced("disconnect(closed) gone"));
    ck_assert_uint_eq(net_counter(COUNTER_LOST_OUTPUT), 0);
    close(peer);
}
END_TEST

START_TEST(output_that_linger_loses_is_told_in_bytes_P11)
{
    int peer = net_open(TRANSPORT_UNIX);

    never_take();
    ck_assert_int_eq(net_say(net.last, "twelve bytes"), 0);
    conn_close(net.last, REASON_CLOSED, "bye");
    net_advance(4999);
    ck_assert(!net_traced("disconnect"));
    net_advance(1);
    ck_assert(net_traced("disconnect(closed: bye; 12 bytes not delivered)"));
    ck_assert_uint_eq(net_counter(COUNTER_LOST_OUTPUT), 12);
    close(peer);
}
END_TEST

static void abort_it(struct conn *conn, const char *bytes, size_t len)
{
    ck_assert_int_eq(net_send(conn, bytes, len), 0);
    conn_abort(conn, REASON_CLOSED, "no");
    ck_assert_mem_eq(bytes, "go", len); /* it stands until the hook has returned */
}

START_TEST(abort_resets_and_drops_the_output)
{
    net.on_message = abort_it;
    int peer = net_open(TRANSPORT_TCP), error;

    net_put(peer, "go");
    net_await("gone");
    ck_assert_uint_eq(net_read_all(peer, &error), 0);
    ck_assert_int_eq(error, ECONNRESET);
    ck_assert(net_traced("disconnect(closed: no; 2 bytes not delivered)"));
    close(peer);
}
END_TEST

static uint64_t slot;
static struct conn *kept;

static void close_it(struct conn *conn, const char *bytes, size_t len)
{
    (void)bytes;
    (void)len;
    kept = conn;
    slot = conn->slot;
    conn_abort(conn, REASON_CLOSED, NULL);
    conn_abort(conn, REASON_CLOSED, NULL);
    conn_close(conn, REASON_CLOSED, NULL);
    ck_assert_int_eq(conn->state, CONN_CLOSED);
    ck_assert_ptr_eq(conn_find(net.reactor, slot), conn);
}

START_TEST(close_inside_message_hook_frees_after_the_turn)
{
    net_frame_lines();
    net.on_message = close_it;
    int peer = net_open(TRANSPORT_UNIX);

    net_put(peer, "a\nb\n");
    net_await("gone");
    ck_assert(net_traced("connect message(a) disconnect(closed) gone empty"));
    ck_assert_ptr_null(conn_find(net.reactor, slot));
    close(peer);
}
END_TEST

START_TEST(a_reset_by_the_peer_is_the_reason)
{
    int peer = net_open(TRANSPORT_TCP);
    struct linger at_once = {1, 0};

    conn_pause(net.last); /* it is noticed all the same */
    ck_assert_int_eq(setsockopt(peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    close(peer);
    net_await("disconnect(reset: ECONNRESET)");
    ck_assert_uint_eq(net_counter(COUNTER_CLOSED_RESET), 1);
}
END_TEST

START_TEST(a_peer_that_is_gone_when_sending_is_a_reset)
{
    int peer = net_open(TRANSPORT_UNIX);

    close(peer);
    ck_assert_int_eq(net_say(net.last, "hello"), 0);
    net_await("disconnect(reset: EPIPE");
}
END_TEST

START_TEST(without_an_eof_hook_it_closes_after_its_output)
{
    net_frame_lines();
    int peer = net_open(TRANSPORT_TCP), error;

    net.send_max = 1;
    ck_assert_int_eq(net_say(net.last, "the whole output"), 0);
    net_put(peer, "last\nunfinished");
    shutdown(peer, SHUT_WR);
    net_expect(peer, "the whole output\n");
    ck_assert_uint_eq(net_read_all(peer, &error), 0);
    net_await("gone");
    ck_assert(net_traced("connect message(last) disconnect(eof) gone"));
    close(peer);
}
END_TEST

START_TEST(with_an_eof_hook_it_stays_half_open)
{
    net_frame_lines();
    net.service.hooks |= HOOK_EOF;
    int peer = net_open(TRANSPORT_TCP), error;

    net_put(peer, "last\nunfinished");
    shutdown(peer, SHUT_WR);
    net_await("eof(unfinished)");
    net_turns(4);
    ck_assert_int_eq(net_say(net.last, "later"), 0);
    net_expect(peer, "later\n");
    conn_close(net.last, REASON_CLOSED, NULL);
    ck_assert_uint_eq(net_read_all(peer, &error), 0);
    net_await("disconnect(closed) gone"); /* nothing to linger for */
    close(peer);
}
END_TEST

START_TEST(shutdown_closes_the_sending_half_once_flushed)
{
    net_frame_lines();
    int peer = net_open(TRANSPORT_TCP), error;

    net.send_max = 2;
    ck_assert_int_eq(net_say(net.last, "bye"), 0);
    ck_assert_int_eq(conn_shutdown(net.last), 0);
    ck_assert_int_eq(net_say(net.last, "more"), -EPIPE);
    ck_assert_int_eq(conn_shutdown(net.last), -EPIPE);
    net_expect(peer, "bye\n");
    ck_assert_uint_eq(net_read_all(peer, &error), 0);
    net_put(peer, "still read\n");
    net_await("message(still read)");
    ck_assert(!net_traced("disconnect"));
    close(peer);
    net_await("disconnect(eof) gone");
}
END_TEST

static void last_word(struct conn *conn)
{
    ck_assert_int_eq(net_say(conn, "we are closing"), 0);
}

START_TEST(the_end_of_the_server_lets_each_say_a_last_word)
{
    net.service.hooks |= HOOK_CLOSING;
    net.on_closing = last_word;
    int peer = net_open(TRANSPORT_TCP);

    conn_shutdown_all(net.reactor);
    net_await("gone"); /* what the socket took at once is not waited for */
    ck_assert(net_traced("connect closing(shutdown) disconnect(shutdown) gone"));
    net_expect(peer, "we are closing");
    close(peer);
}
END_TEST

/* ---- Time ---- */

START_TEST(a_message_has_a_time_from_its_first_byte)
{
    net_frame_lines();
    net.service.hooks |= HOOK_CLOSING;
    int peer = net_open(TRANSPORT_UNIX);

    net_advance(100000); /* silence is no message */
    net_put(peer, "a");
    net_turns(3);
    for (int i = 0; i < 29; i++) { /* a byte now and then does not help */
        net_advance(1000);
        net_put(peer, "a");
        net_turns(3);
    }
    net_advance(999);
    ck_assert(!net_traced("closing"));
    net_advance(1);
    ck_assert(net_traced("closing(timeout)"));
    close(peer);
    net_await("disconnect(timeout: message_timeout)");
    ck_assert_uint_eq(net_counter(COUNTER_CLOSED_TIMEOUT), 1);
}
END_TEST

START_TEST(a_message_that_is_whole_starts_no_clock)
{
    net_frame_lines();
    int peer = net_open(TRANSPORT_UNIX);

    net_put(peer, "par");
    net_turns(3);
    net_advance(20000);
    net_put(peer, "t\nnext");
    net_await("message(part)");
    net_advance(20000);
    ck_assert(!net_traced("disconnect"));
    net_put(peer, "\n");
    net_await("message(next)");
    net_advance(40000);
    ck_assert(!net_traced("disconnect"));
    close(peer);
}
END_TEST

START_TEST(output_without_progress_has_a_time)
{
    int peer = net_open(TRANSPORT_UNIX);

    never_take();
    ck_assert_int_eq(net_say(net.last, "hello"), 0);
    net_turns(3);
    net_advance(59999);
    ck_assert(conn_is_open(net.last));
    net_advance(1);
    ck_assert(!conn_is_open(net.last));
    net_advance(5000);
    ck_assert(net_traced("disconnect(timeout: send_timeout; 5 bytes not delivered)"));
    close(peer);
}
END_TEST

START_TEST(an_idle_connection_is_asked_and_closed)
{
    net.service.hooks |= HOOK_IDLE;
    net.service.options.idle_timeout_ms = 1000;
    net.keep_idle = true;
    int peer = net_open(TRANSPORT_UNIX);

    net_advance(600);
    net_put(peer, "x");
    net_await("message(x)");
    net_advance(999);
    ck_assert(!net_traced("idle"));
    net_advance(1);
    ck_assert(net_traced("idle(1)"));
    ck_assert(conn_is_open(net.last));
    net.keep_idle = false;
    net_advance(1000);
    close(peer);
    net_await("disconnect(idle)");
    ck_assert_uint_eq(net_counter(COUNTER_CLOSED_IDLE), 1);
}
END_TEST

START_TEST(a_stream_is_never_idle_by_default)
{
    int peer = net_open(TRANSPORT_UNIX);

    net_advance(1000000000);
    ck_assert_str_eq(net.trace, "connect");
    close(peer);
}
END_TEST

START_TEST(an_own_option_holds_for_one_connection)
{
    net.trace_numbers = true;
    net.service.options.linger_ms = 0;
    int first = net_open(TRANSPORT_UNIX);
    size_t idle = offsetof(struct conn_options, idle_timeout_ms);

    ck_assert_int_eq(conn_set_option(net.last, idle, 500), 0);
    ck_assert_uint_eq(conn_option(net.last, idle), 500);
    int second = net_open(TRANSPORT_UNIX);
    ck_assert_uint_eq(conn_option(net.last, idle), 0);
    net_advance(500);
    net_advance(1);
    ck_assert(net_traced("1:disconnect(idle)"));
    ck_assert(!net_traced("2:disconnect"));
    close(first);
    close(second);
}
END_TEST

START_TEST(a_timer_of_that_name_is_set_anew)
{
    int peer = net_open(TRANSPORT_UNIX);

    ck_assert_int_eq(conn_after(net.last, 100, "a", 1), 0);
    ck_assert_int_eq(conn_after(net.last, 100, "b", 1), 0);
    ck_assert_int_eq(conn_after(net.last, 300, "a", 1), 0);
    ck_assert_int_eq(conn_after(net.last, 100, "c", 1), 0);
    ck_assert(conn_cancel(net.last, "c", 1));
    ck_assert(!conn_cancel(net.last, "c", 1));
    net_advance(100);
    ck_assert_str_eq(net.trace, "connect timer(b)");
    net_advance(199);
    ck_assert_str_eq(net.trace, "connect timer(b)");
    net_advance(1);
    ck_assert_str_eq(net.trace, "connect timer(b) timer(a)");
    net_advance(1000);
    ck_assert_str_eq(net.trace, "connect timer(b) timer(a)");
    close(peer);
}
END_TEST

static void set_again(struct conn *conn)
{
    if (net.clock_ms < 1001000)
        ck_assert_int_eq(conn_after(conn, 400, "tick", 4), 0);
    else
        conn_close(conn, REASON_CLOSED, NULL);
}

START_TEST(a_timer_hook_may_set_its_name_again)
{
    net.on_timer = set_again;
    int peer = net_open(TRANSPORT_UNIX);

    ck_assert_int_eq(conn_after(net.last, 400, "tick", 4), 0);
    ck_assert_int_eq(conn_after(net.last, 99999, "never", 5), 0);
    for (int i = 0; i < 3; i++)
        net_advance(400);
    ck_assert_str_eq(net.trace, "connect timer(tick) timer(tick) timer(tick)");
    ck_assert_int_eq(conn_after(net.last, 1, "late", 4), -EPIPE);
    close(peer);
    net_await("disconnect(closed)");
}
END_TEST

static TCase *time_case(void)
{
    TCase *tcase = tcase_create("time");
    tcase_add_checked_fixture(tcase, net_setup, net_teardown);
    tcase_add_test(tcase, a_message_has_a_time_from_its_first_byte);
    tcase_add_test(tcase, a_message_that_is_whole_starts_no_clock);
    tcase_add_test(tcase, output_without_progress_has_a_time);
    tcase_add_test(tcase, an_idle_connection_is_asked_and_closed);
    tcase_add_test(tcase, a_stream_is_never_idle_by_default);
    tcase_add_test(tcase, an_own_option_holds_for_one_connection);
    tcase_add_test(tcase, a_timer_of_that_name_is_set_anew);
    tcase_add_test(tcase, a_timer_hook_may_set_its_name_again);
    return tcase;
}

int main(void)
{
    Suite *suite = suite_create("conn");
    TCase *tcase = tcase_create("ends");

    suite_add_tcase(suite, tcase);
    tcase_add_checked_fixture(tcase, net_setup, net_teardown);
    tcase_add_test(tcase, close_flushes_shuts_and_discards_until_the_peer_closes_P11);
    tcase_add_test(tcase, linger_ends_a_peer_that_does_not_close);
    tcase_add_test(tcase, output_that_linger_loses_is_told_in_bytes_P11);
    tcase_add_test(tcase, abort_resets_and_drops_the_output);
    tcase_add_test(tcase, close_inside_message_hook_frees_after_the_turn);
    tcase_add_test(tcase, a_reset_by_the_peer_is_the_reason);
    tcase_add_test(tcase, a_peer_that_is_gone_when_sending_is_a_reset);
    tcase_add_test(tcase, without_an_eof_hook_it_closes_after_its_output);
    tcase_add_test(tcase, with_an_eof_hook_it_stays_half_open);
    tcase_add_test(tcase, shutdown_closes_the_sending_half_once_flushed);
    tcase_add_test(tcase, the_end_of_the_server_lets_each_say_a_last_word);
    suite_add_tcase(suite, time_case());

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
