/* net/conn_clock.h - what a connection does for the time that has passed.
 *
 *     deadlines   idle_timeout, message_timeout, send_timeout, linger ─ the earliest ─> conn->clock
 *     timers      conn:after ─ one each ─> conn->timers ─ due ─> on_timer
 *
 * What:   one timer in the wheel serves all deadlines. Activity stores a time and moves no timer:
 *         one that fires too early is set again.
 * Owns:   the timers. Thread: its reactor's.
 * Errors: none; what a script may ask for is in conn.h (conn_after, conn_cancel). */
#ifndef NEAP_NET_CONN_CLOCK_H
#define NEAP_NET_CONN_CLOCK_H

#include "net/conn.h"

struct conn_timer {
    struct list node; /* in conn->timers */
    struct wheel_timer wheel;
    struct conn *conn;
    bool due;
    size_t len;
    char name[];
};

void conn_clock_init(struct conn *conn);

/* The first that is due, or NULL. Who takes it out of the list frees it. */
struct conn_timer *conn_due_timer(struct conn *conn);

void conn_free_timers(struct conn *conn);

#endif
