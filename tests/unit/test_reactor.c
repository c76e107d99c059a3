/* tests/unit/test_reactor.c - net/reactor: what a turn ends with. */
#include "net/reactor.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <check.h>

#include "net_fixture.h"

static void say_to_all(struct conn *conn, const char *bytes, size_t len)
{
    (void)conn;
    struct conn *each;
    uint32_t cursor = 0;
    while ((each = slots_next(&net.reactor->conns, &cursor)))
        ck_assert_int_eq(net_send(each, bytes, len), 0);
}

START_TEST(a_broadcast_leaves_in_the_turn_it_was_made)
{
    enum { COUNT = 50 };
    int peers[COUNT];
    for (int i = 0; i < COUNT; i++)
        peers[i] = net_open(TRANSPORT_UNIX);
    net.on_message = say_to_all;

    net_put(peers[7], "to all");
    net_await("message(to all)");
    char text[8];
    for (int i = 0; i < COUNT; i++) {
        ck_assert_int_eq(recv(peers[i], text, sizeof text, MSG_DONTWAIT), 6);
        close(peers[i]);
    }
    ck_assert_uint_eq(net.sends, COUNT);
}
END_TEST

/* Each connection aborts the other: whoever comes first. */
static void abort_others(struct conn *conn, const char *bytes, size_t len)
{
    (void)bytes;
    (void)len;
    struct conn *each;
    uint32_t cursor = 0;
    while ((each = slots_next(&net.reactor->conns, &cursor)))
        if (each != conn)
            conn_abort(each, REASON_CLOSED, NULL);
}

START_TEST(a_connection_aborted_by_another_gets_nothing_more_P8)
{
    net.trace_numbers = true;
    net.on_message = abort_others;
    int first = net_open(TRANSPORT_UNIX), second = net_open(TRANSPORT_UNIX);

    net_put(first, "x");
    net_put(second, "x");
    net_await("gone");
    bool first_won = net_traced("1:message(x)");
    ck_assert(first_won != net_traced("2:message(x)"));
    ck_assert(net_traced(first_won ? "2:disconnect(closed) 2:gone"
                                   : "1:disconnect(closed) 1:gone"));
    ck_assert_uint_eq(net.reactor->conns.count, 1);
    close(first);
    close(second);
}
END_TEST

START_TEST(the_last_connection_leaves_it_empty)
{
    int first = net_open(TRANSPORT_UNIX), second = net_open(TRANSPORT_UNIX);

    close(first);
    net_await("gone");
    ck_assert(!net_traced("empty"));
    close(second);
    net_await("empty");
}
END_TEST

START_TEST(a_connection_may_close_as_it_opens)
{
    net.on_connect = NULL;
    int peer = net_open(TRANSPORT_UNIX);
    uint64_t slot = net.last->slot;

    conn_abort(net.last, REASON_LIMIT, NULL);
    ck_assert_ptr_nonnull(conn_find(net.reactor, slot)); /* until on_disconnect has run */
    net_turns(2);
    ck_assert_ptr_null(conn_find(net.reactor, slot));
    ck_assert_str_eq(net.trace, "connect disconnect(limit) gone empty");
    close(peer);
}
END_TEST

static bool gave_up_scratch(void)
{
    return net.reactor->scratch.capacity <= 256U << 10;
}

static void reply_much(struct conn *conn, const char *bytes, size_t len)
{
    (void)bytes;
    (void)len;
    static char text[15000];
    memset(text, 'x', sizeof text);
    for (int i = 0; i < 100; i++)
        ck_assert_int_ge(net_send(conn, text, sizeof text), 0);
}

START_TEST(the_scratch_does_not_stay_large)
{
    net.on_message = reply_much;
    int peer = net_open(TRANSPORT_UNIX);

    net_put(peer, "x");
    net_await("message(x)");
    ck_assert(gave_up_scratch());
    ck_assert_uint_ge(conn_pending(net.last) + net.last->sent, 1500000);
    close(peer);
}
END_TEST

START_TEST(what_connections_hold_is_summed)
{
    struct reactor *reactor = net.reactor;
    size_t a = 0, b = 0;
    reactor_hold(reactor, &a, 100);
    reactor_hold(reactor, &b, 50);
    ck_assert_uint_eq(reactor->buffered, 150);
    reactor_hold(reactor, &a, 10);
    ck_assert_uint_eq(reactor->buffered, 60);
    reactor_hold(reactor, &a, 0);
    reactor_hold(reactor, &b, 0);
    ck_assert_uint_eq(reactor->buffered, 0);
}
END_TEST

START_TEST(every_counter_has_a_name_of_its_own)
{
    for (int i = 0; i < COUNTER_COUNT; i++)
        for (int k = 0; k < i; k++)
            if (strcmp(counter_rows[i].name, counter_rows[k].name) == 0)
                ck_abort_msg("%s twice", counter_rows[i].name);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reactor");
    TCase *tcase = tcase_create("reactor");

    suite_add_tcase(suite, tcase);
    tcase_add_checked_fixture(tcase, net_setup, net_teardown);
    tcase_add_test(tcase, a_broadcast_leaves_in_the_turn_it_was_made);
    tcase_add_test(tcase, a_connection_aborted_by_another_gets_nothing_more_P8);
    tcase_add_test(tcase, the_last_connection_leaves_it_empty);
    tcase_add_test(tcase, a_connection_may_close_as_it_opens);
    tcase_add_test(tcase, the_scratch_does_not_stay_large);
    tcase_add_test(tcase, what_connections_hold_is_summed);
    tcase_add_test(tcase, every_counter_has_a_name_of_its_own);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
