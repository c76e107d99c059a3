/* tests/unit/test_stream.c - net/stream: bytes in, messages out, and the way back. */
#include "net/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <check.h>

#include "net_fixture.h"

static void echo(struct conn *conn, const char *bytes, size_t len)
{
    ck_assert_int_ge(net_send(conn, bytes, len), 0);
}

static void never_take(void)
{
    net.send_fault = (struct net_fault){-EAGAIN, UINT32_MAX};
}

static void take_again(void)
{
    net.send_fault.count = 0;
}

static char *letters(size_t len)
{
    char *text = malloc(len + 1);
    ck_assert_ptr_nonnull(text);
    for (size_t i = 0; i < len; i++)
        text[i] = (char)('a' + i % 26);
    text[len] = '\0';
    return text;
}

/* ---- Input ---- */

START_TEST(each_line_is_a_message_and_the_rest_is_kept)
{
    net_frame_lines();
    int peer = net_open(TRANSPORT_UNIX);

    net_put(peer, "one\ntwo\r\nth");
    net_await("message(two)");
    ck_assert_str_eq(net.trace, "connect message(one) message(two)");
    net_put(peer, "re");
    net_turns(4);
    net_put(peer, "e\n");
    net_await("message(three)");
    ck_assert_uint_eq(net.last->received, 15);
    close(peer);
}
END_TEST

START_TEST(a_connection_that_keeps_up_owns_no_buffer)
{
    net_frame_lines();
    net.on_message = echo;
    int peer = net_open(TRANSPORT_UNIX);

    net_put(peer, "part");
    net_turns(4);
    ck_assert_uint_gt(net.reactor->buffered, 0);
    net_put(peer, " and whole\n");
    net_expect(peer, "part and whole\n");
    net_turns(2);
    ck_assert_uint_eq(net.reactor->buffered, 0);
    close(peer);
}
END_TEST

static size_t longest;
static bool whole;

static void check_letters(struct conn *conn, const char *bytes, size_t len)
{
    (void)conn;
    longest = len;
    whole = true;
    for (size_t i = 0; i < len; i++)
        whole = whole && bytes[i] == (char)('a' + i % 26);
}

START_TEST(a_message_longer_than_the_read_buffer_arrives_whole)
{
    const size_t len = (size_t)5 * REACTOR_INPUT_LEN + 17;
    net_frame_lines();
    net.on_message = check_letters;
    int peer = net_open(TRANSPORT_UNIX);
    char *text = letters(len);

    for (size_t sent = 0; sent < len;) {
        ssize_t put = send(peer, text + sent, len - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        sent += put > 0 ? (size_t)put : 0;
        net_turns(2);
    }
    net_put(peer, "\nafter\n");
    net_await("message(after)");
    ck_assert_uint_eq(longest, 5); /* the last of them */
    ck_assert(net_traced("message(abcdefghijklmnopqrstuvwxyzabcdef)"));
    ck_assert(!whole);
    net_turns(2);
    ck_assert_uint_eq(net.reactor->buffered, 0);
    free(text);
    close(peer);
}
END_TEST

START_TEST(a_long_message_is_not_changed)
{
    const size_t len = (size_t)3 * REACTOR_INPUT_LEN;
    net_frame_lines();
    net.on_message = check_letters;
    int peer = net_open(TRANSPORT_UNIX);
    char *text = letters(len);

    for (size_t sent = 0; sent < len;) {
        size_t part = len - sent < 10007 ? len - sent : 10007;
        ssize_t put = send(peer, text + sent, part, MSG_DONTWAIT | MSG_NOSIGNAL);
        sent += put > 0 ? (size_t)put : 0;
        net_turns(2);
    }
    net_put(peer, "\n");
    net_await("message(");
    ck_assert_uint_eq(longest, len);
    ck_assert(whole);
    free(text);
    close(peer);
}
END_TEST

START_TEST(a_framing_that_is_set_takes_the_byte_after_the_message)
{
    static struct framing lines = {.refs = 1};
    const char *why;
    ck_assert_int_eq(codec_init_line(&lines.codec, "\n", 1, &why), 0);
    lines.free = net.framing.free;
    ck_assert_int_eq(codec_init_fixed(&net.framing.codec, 3, &why), 0);
    int peer = net_open(TRANSPORT_UNIX);

    net_put(peer, "one");
    net_await("message(one)");
    framing_ref(&lines);
    ck_assert_int_eq(conn_set_framing(net.last, &lines), 0);
    net_put(peer, "a\nbcdef\n");
    net_await("message(bcdef)");
    ck_assert(net_traced("message(one) message(a) message(bcdef)"));
    close(peer);
}
END_TEST

START_TEST(a_message_over_the_limit_ends_the_connection)
{
    net_frame_lines();
    net.service.hooks |= HOOK_CLOSING;
    net.service.options.max_message = 10;
    int peer = net_open(TRANSPORT_UNIX), error;

    net_put(peer, "short\n01234567890");
    net_await("closing(oversize)");
    ck_assert_uint_eq(net_read_all(peer, &error), 0);
    close(peer);
    net_await("disconnect(oversize: line)");
    ck_assert_uint_eq(net_counter(COUNTER_CLOSED_OVERSIZE), 1);
}
END_TEST

START_TEST(a_malformed_frame_ends_the_connection)
{
    codec_init_netstring(&net.framing.codec);
    int peer = net_open(TRANSPORT_UNIX);

    net_put(peer, "2:ab,x");
    close(peer);
    net_await("disconnect(malformed: netstring)");
    ck_assert(net_traced("message(ab)"));
    ck_assert_uint_eq(net_counter(COUNTER_CLOSED_MALFORMED), 1);
}
END_TEST

static int other_peer;
static size_t seen, seen_at_other;

/* The first line of the busy connection makes another one readable. */
static void count_and_poke(struct conn *conn, const char *bytes, size_t len)
{
    (void)bytes;
    net.trace[0] = '\0';
    if (len == 5) {
        seen_at_other = seen;
        return;
    }
    if (seen++ == 0)
        net_put(other_peer, "other\n");
    ck_assert_uint_eq(conn_number(conn), 2);
}

START_TEST(many_small_frames_let_others_have_their_turn)
{
    const size_t count = 20000;
    net_frame_lines();
    net.on_message = count_and_poke;
    seen = seen_at_other = 0;
    other_peer = net_open(TRANSPORT_UNIX);
    int peer = net_open(TRANSPORT_UNIX);
    char *text = calloc(1, count + 1);
    ck_assert_ptr_nonnull(text);
    memset(text, '\n', count);

    net_put(peer, text);
    for (int i = 0; i < 100 && seen < count; i++)
        net_turns(1);
    ck_assert_uint_eq(seen, count);
    ck_assert_uint_gt(seen_at_other, 0);
    ck_assert_uint_lt(seen_at_other, count / 2);
    free(text);
    close(peer);
    close(other_peer);
}
END_TEST

/* ---- Pausing ---- */

START_TEST(a_paused_connection_reads_ahead_a_little)
{
    net_frame_lines();
    int peer = net_open(TRANSPORT_UNIX);
    char *text = letters(8000);
    text[7999] = '\n';

    conn_pause(net.last);
    size_t put = 0;
    for (int i = 0; i < 100; i++) {
        ssize_t part = send(peer, text, 8000, MSG_DONTWAIT | MSG_NOSIGNAL);
        put += part > 0 ? (size_t)part : 0;
        net_turns(2);
    }
    ck_assert_uint_ge(net.last->received, 64U << 10);
    ck_assert_uint_le(net.last->received, (size_t)4 * REACTOR_INPUT_LEN);
    ck_assert_uint_gt(put, net.last->received);
    ck_assert(!net_traced("message"));
    conn_resume(net.last);
    net_await("message(abcdefghijklmnopqrstuvwxyzabcdef)");
    ck_assert_uint_gt(net.last->received, 64U << 10);
    free(text);
    close(peer);
}
END_TEST

START_TEST(a_paused_connection_delivers_in_order_and_then_the_end)
{
    net_frame_lines();
    net.service.hooks |= HOOK_EOF;
    int peer = net_open(TRANSPORT_UNIX);

    conn_pause(net.last);
    net_put(peer, "a\nb\nrest");
    net_turns(3);
    shutdown(peer, SHUT_WR);
    net_turns(3);
    ck_assert_str_eq(net.trace, "connect");
    ck_assert(net.last->eof);
    conn_resume(net.last);
    net_await("eof");
    ck_assert_str_eq(net.trace, "connect message(a) message(b) eof(rest)");
    close(peer);
}
END_TEST

static void pause_it(struct conn *conn, const char *bytes, size_t len)
{
    (void)bytes;
    (void)len;
    conn_pause(conn);
}

START_TEST(pause_inside_the_hook_holds_the_next_message)
{
    net_frame_lines();
    net.on_message = pause_it;
    int peer = net_open(TRANSPORT_UNIX);

    net_put(peer, "a\nb\n");
    net_await("message(a)");
    ck_assert(!net_traced("message(b)"));
    conn_resume(net.last);
    net_await("message(b)");
    close(peer);
}
END_TEST

/* ---- Output ---- */

START_TEST(the_replies_of_one_callback_leave_in_one_send)
{
    net_frame_lines();
    net.on_message = echo;
    int peer = net_open(TRANSPORT_UNIX);

    net_put(peer, "a\nbc\n\ndef\n");
    net_expect(peer, "a\nbc\n\ndef\n");
    ck_assert_uint_eq(net.sends, 1);
    ck_assert_uint_eq(net.last->sent, 10);
    ck_assert_uint_eq(net_counter(COUNTER_SENT), 10);
    close(peer);
}
END_TEST

static char *long_text;

static void reply_long(struct conn *conn, const char *bytes, size_t len)
{
    echo(conn, bytes, len);
    ck_assert_int_eq(net_say(conn, long_text), 0);
    echo(conn, bytes, len);
}

START_TEST(a_long_piece_goes_directly_behind_what_waits)
{
    net_frame_lines();
    net.on_message = reply_long;
    long_text = letters(40000);
    int peer = net_open(TRANSPORT_UNIX);

    net_put(peer, "x\n");
    net_expect(peer, "x\n");
    net_expect(peer, long_text);
    net_expect(peer, "\nx\n");
    ck_assert_uint_eq(net.sends, 2); /* "x" with the long one, then the last "x" */
    free(long_text);
    close(peer);
}
END_TEST

START_TEST(what_the_socket_does_not_take_is_sent_later_in_order)
{
    net_frame_lines();
    net.on_message = reply_long;
    net.send_max = 7;
    long_text = letters(20000);
    int peer = net_open(TRANSPORT_UNIX);

    net_put(peer, "x\n");
    net_await("message(x)");
    ck_assert_uint_gt(conn_pending(net.last), 19000);
    net.send_max = 3001;
    net_expect(peer, "x\n");
    net_expect(peer, long_text);
    net_expect(peer, "\nx\n");
    net_turns(2);
    ck_assert_uint_eq(conn_pending(net.last), 0);
    ck_assert_uint_eq(net.reactor->buffered, 0);
    free(long_text);
    close(peer);
}
END_TEST

START_TEST(a_send_from_elsewhere_leaves_before_the_loop_blocks)
{
    int peer = net_open(TRANSPORT_UNIX);

    ck_assert_int_eq(net_say(net.last, "a"), 0);
    ck_assert_int_eq(net_say(net.last, "b"), 0);
    ck_assert_uint_eq(net.sends, 0);
    ck_assert_uint_eq(conn_pending(net.last), 2);
    net_turns(1);
    ck_assert_uint_eq(net.sends, 1);
    net_expect(peer, "ab");
    close(peer);
}
END_TEST

START_TEST(a_system_out_of_buffers_is_asked_again_after_a_while)
{
    int peer = net_open(TRANSPORT_UNIX);

    net.send_fault = (struct net_fault){-ENOBUFS, 1};
    ck_assert_int_eq(net_say(net.last, "hello"), 0);
    net_turns(5);
    ck_assert_uint_eq(net.sends, 1); /* no busy loop */
    net_advance(10);
    net_expect(peer, "hello");
    ck_assert_uint_eq(net.sends, 2);
    close(peer);
}
END_TEST

START_TEST(over_high_water_send_says_so_and_drain_comes_once)
{
    net.service.hooks |= HOOK_DRAIN;
    net.service.options.high_water = 100;
    int peer = net_open(TRANSPORT_UNIX);
    char *text = letters(101);

    never_take();
    ck_assert_int_eq(net_send(net.last, text, 100), 0);
    ck_assert_int_eq(net_send(net.last, text, 1), 1);
    net_turns(3);
    ck_assert(!net_traced("drain"));
    net.send_max = 51;
    net.send_fault.count = 0;
    net_turns(1);
    ck_assert_uint_eq(conn_pending(net.last), 50); /* low water is not passed yet */
    ck_assert(!net_traced("drain"));
    net_await("drain");
    net_turns(3);
    ck_assert_str_eq(net.trace, "connect drain");
    free(text);
    close(peer);
}
END_TEST

START_TEST(over_high_water_no_message_is_delivered)
{
    net_frame_lines();
    net.service.options.high_water = 4;
    net.on_message = echo;
    int peer = net_open(TRANSPORT_UNIX);

    never_take();
    net_put(peer, "one\ntwo\nthree\n");
    net_await("message(two)");
    ck_assert_str_eq(net.trace, "connect message(one) message(two)");
    take_again();
    net_expect(peer, "one\ntwo\nthree\n");
    close(peer);
}
END_TEST

static void echo_and_lower(struct conn *conn, const char *bytes, size_t len)
{
    size_t high_water = offsetof(struct conn_options, high_water);
    echo(conn, bytes, len);
    ck_assert_int_eq(conn_set_option(conn, high_water, 2), 0);
}

START_TEST(a_high_water_that_is_lowered_holds_no_message_for_ever)
{
    net_frame_lines();
    net.on_message = echo_and_lower;
    int peer = net_open(TRANSPORT_UNIX);

    never_take();
    net_put(peer, "one\ntwo\n");
    net_await("message(one)");
    ck_assert(!net_traced("message(two)"));
    take_again();
    net_expect(peer, "one\ntwo\n");
    close(peer);
}
END_TEST

START_TEST(over_the_hard_limit_nothing_is_queued_and_it_closes_P10)
{
    net.service.options.max_output = 100;
    int peer = net_open(TRANSPORT_UNIX), error;
    char *text = letters(101);

    never_take();
    ck_assert_int_eq(net_send(net.last, text, 60), 0);
    ck_assert_int_eq(net_send(net.last, text, 41), -ENOBUFS);
    ck_assert_int_eq(net_send(net.last, text, 1), -EPIPE);
    net_await("disconnect(full: max_output; 60 bytes not delivered)");
    ck_assert_uint_eq(net_counter(COUNTER_CLOSED_FULL), 1);
    ck_assert_uint_eq(net_counter(COUNTER_LOST_OUTPUT), 60);
    ck_assert_uint_eq(net_read_all(peer, &error), 0);
    free(text);
    close(peer);
}
END_TEST

START_TEST(with_drop_it_lives_on_over_the_hard_limit)
{
    net.service.options.max_output = 100;
    net.service.options.overflow = OVERFLOW_DROP;
    int peer = net_open(TRANSPORT_UNIX);
    char *text = letters(101);

    never_take();
    ck_assert_int_eq(net_send(net.last, text, 101), -ENOBUFS);
    ck_assert_int_eq(net_say(net.last, "still here"), 0);
    take_again();
    net_expect(peer, "still here");
    ck_assert_uint_eq(net_counter(COUNTER_DROPPED_OUTPUT), 1);
    free(text);
    close(peer);
}
END_TEST

START_TEST(over_max_buffered_whoever_holds_most_is_closed_P2)
{
    net.trace_numbers = true;
    int small = net_open(TRANSPORT_UNIX);
    struct conn *keeps_little = net.last;
    int large = net_open(TRANSPORT_UNIX);
    char *text = letters(300000);

    net.reactor->max_buffered = 200000;
    never_take();
    ck_assert_int_eq(net_send(keeps_little, text, 1000), 0);
    ck_assert_int_eq(net_send(net.last, text, 300000), 0);
    net_await("2:disconnect(full: max_buffered; 300000 bytes not delivered)");
    take_again();
    ck_assert(!net_traced("1:disconnect"));
    ck_assert_uint_le(net.reactor->buffered, 200000);
    free(text);
    close(small);
    close(large);
}
END_TEST

static TCase *output_case(void)
{
    TCase *tcase = tcase_create("output");
    tcase_add_checked_fixture(tcase, net_setup, net_teardown);
    tcase_add_test(tcase, the_replies_of_one_callback_leave_in_one_send);
    tcase_add_test(tcase, a_long_piece_goes_directly_behind_what_waits);
    tcase_add_test(tcase, what_the_socket_does_not_take_is_sent_later_in_order);
    tcase_add_test(tcase, a_send_from_elsewhere_leaves_before_the_loop_blocks);
    tcase_add_test(tcase, a_system_out_of_buffers_is_asked_again_after_a_while);
    tcase_add_test(tcase, over_high_water_send_says_so_and_drain_comes_once);
    tcase_add_test(tcase, over_high_water_no_message_is_delivered);
    tcase_add_test(tcase, a_high_water_that_is_lowered_holds_no_message_for_ever);
    tcase_add_test(tcase, over_the_hard_limit_nothing_is_queued_and_it_closes_P10);
    tcase_add_test(tcase, with_drop_it_lives_on_over_the_hard_limit);
    tcase_add_test(tcase, over_max_buffered_whoever_holds_most_is_closed_P2);
    return tcase;
}

int main(void)
{
    Suite *suite = suite_create("stream");
    TCase *tcase = tcase_create("input");

    suite_add_tcase(suite, tcase);
    tcase_add_checked_fixture(tcase, net_setup, net_teardown);
    tcase_add_test(tcase, each_line_is_a_message_and_the_rest_is_kept);
    tcase_add_test(tcase, a_connection_that_keeps_up_owns_no_buffer);
    tcase_add_test(tcase, a_message_longer_than_the_read_buffer_arrives_whole);
    tcase_add_test(tcase, a_long_message_is_not_changed);
    tcase_add_test(tcase, a_framing_that_is_set_takes_the_byte_after_the_message);
    tcase_add_test(tcase, a_message_over_the_limit_ends_the_connection);
    tcase_add_test(tcase, a_malformed_frame_ends_the_connection);
    tcase_add_test(tcase, many_small_frames_let_others_have_their_turn);
    tcase_add_test(tcase, a_paused_connection_reads_ahead_a_little);
    tcase_add_test(tcase, a_paused_connection_delivers_in_order_and_then_the_end);
    tcase_add_test(tcase, pause_inside_the_hook_holds_the_next_message);
    suite_add_tcase(suite, output_case());

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
