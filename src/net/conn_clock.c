/* net/conn_clock.c - the earliest deadline of a connection, and what follows when it has passed. */
#include "net/conn_clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "net/reactor.h"

/* How often a connection whose peer has closed its sending half is looked at: nothing else would
 * tell that the peer is gone. */
#define HALF_OPEN_LOOK_MS 30000U

/* ---- Deadlines ---- */

static void earlier(uint64_t *at_ms, uint64_t since_ms, uint64_t timeout_ms)
{
    if (timeout_ms && since_ms + timeout_ms < *at_ms)
        *at_ms = since_ms + timeout_ms;
}

/* It stands while a hook waits for something else than input. */
static bool idle_clock_runs(const struct conn *conn)
{
    return !conn->waiter || conn->reader;
}

static uint64_t next_deadline(const struct conn *conn)
{
    uint64_t at_ms = WHEEL_NEVER;
    if (conn->state == CONN_CLOSED)
        return at_ms;
    if (conn->state != CONN_OPEN) {
        /* A peer that takes a little now and then must not hold it for ever. */
        if (conn->state == CONN_FLUSHING)
            earlier(&at_ms, conn->message_ms, conn->options->send_timeout_ms);
        uint64_t linger_at_ms = conn->progress_ms + conn->options->linger_ms;
        return linger_at_ms < at_ms ? linger_at_ms : at_ms;
    }
    if (conn->ending) /* it ends now, or a hook that waits has until drain_timeout */
        return at_ms;
    if (idle_clock_runs(conn))
        earlier(&at_ms, conn->active_ms, conn_idle_timeout_ms(conn));
    if (conn->eof_done)
        earlier(&at_ms, conn->message_ms, HALF_OPEN_LOOK_MS);
    else if (conn->message_ms)
        earlier(&at_ms, conn->message_ms, conn->options->message_timeout_ms);
    if (conn->kind->pending(conn))
        earlier(&at_ms, conn->progress_ms, conn->options->send_timeout_ms);
    return at_ms;
}

void conn_arm(struct conn *conn)
{
    uint64_t at_ms = next_deadline(conn);
    if (at_ms == WHEEL_NEVER)
        return;
    /* A clock that is set too early looks again when it fires: so activity costs nothing. */
    if (!wheel_timer_is_started(&conn->clock) || at_ms < conn->clock.deadline_ms)
        wheel_start(&conn->reactor->wheel, &conn->clock, at_ms);
}

static bool has_passed(uint64_t now_ms, uint64_t since_ms, uint64_t timeout_ms)
{
    return timeout_ms && since_ms + timeout_ms <= now_ms;
}

/* Half open: a reset is told to nobody, since nothing is read any more. */
static void look_for_reset(struct conn *conn, uint64_t now_ms)
{
    int error = 0;
    socklen_t len = sizeof error;
    conn->message_ms = now_ms;
    if (conn_get_socket_option(conn, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error)
        conn_abort(conn, REASON_RESET, strerrorname_np(error));
}

static void check_open_deadlines(struct conn *conn, uint64_t now_ms)
{
    if (conn->eof_done && has_passed(now_ms, conn->message_ms, HALF_OPEN_LOOK_MS))
        look_for_reset(conn, now_ms);
    if (conn->state != CONN_OPEN)
        return;
    if (!conn->eof_done && conn->message_ms &&
        has_passed(now_ms, conn->message_ms, conn->options->message_timeout_ms))
        conn_end(conn, REASON_TIMEOUT, "message_timeout");
    else if (conn->kind->pending(conn) &&
             has_passed(now_ms, conn->progress_ms, conn->options->send_timeout_ms))
        conn_end(conn, REASON_TIMEOUT, "send_timeout");
    else if (idle_clock_runs(conn) &&
             has_passed(now_ms, conn->active_ms, conn_idle_timeout_ms(conn)))
        conn->idle_due = true;
}

static void on_clock(struct wheel_timer *timer)
{
    struct conn *conn = container_of(timer, struct conn, clock);
    uint64_t now_ms = reactor_now_ms(conn->reactor);
    if (next_deadline(conn) <= now_ms) {
        if (conn->state == CONN_OPEN) {
            check_open_deadlines(conn, now_ms);
        } else if (conn->state != CONN_CLOSED) {
            conn_die(conn);
        }
        conn_pump(conn);
    }
    conn_arm(conn);
}

void conn_clock_init(struct conn *conn)
{
    list_init(&conn->timers);
    wheel_timer_init(&conn->clock, on_clock);
}

/* ---- Timers of the script ---- */

static struct conn_timer *find_timer(struct conn *conn, const char *name, size_t len)
{
    LIST_FOREACH (&conn->timers, node) {
        struct conn_timer *timer = container_of(node, struct conn_timer, node);
        if (timer->len == len && memcmp(timer->name, name, len) == 0)
            return timer;
    }
    return NULL;
}

static void free_timer(struct conn_timer *timer)
{
    wheel_stop(&timer->conn->reactor->wheel, &timer->wheel);
    list_remove(&timer->node);
    free(timer);
}

void conn_free_timers(struct conn *conn)
{
    LIST_FOREACH (&conn->timers, node)
        free_timer(container_of(node, struct conn_timer, node));
}

static void on_timer(struct wheel_timer *wheel)
{
    struct conn_timer *timer = container_of(wheel, struct conn_timer, wheel);
    timer->due = true;
    conn_pump(timer->conn);
}

int conn_after(struct conn *conn, uint64_t after_ms, const char *name, size_t len)
{
    if (conn->state != CONN_OPEN)
        return -EPIPE;
    struct conn_timer *timer = find_timer(conn, name, len);
    if (!timer) {
        timer = calloc(1, sizeof *timer + len);
        if (!timer)
            return -ENOMEM;
        timer->conn = conn;
        timer->len = len;
        memcpy(timer->name, name, len);
        wheel_timer_init(&timer->wheel, on_timer);
        list_append(&conn->timers, &timer->node);
    }
    timer->due = false;
    wheel_start(&conn->reactor->wheel, &timer->wheel,
                reactor_now_ms(conn->reactor) + after_ms);
    return 0;
}

bool conn_cancel(struct conn *conn, const char *name, size_t len)
{
    struct conn_timer *timer = find_timer(conn, name, len);
    if (timer)
        free_timer(timer);
    return timer != NULL;
}

struct conn_timer *conn_due_timer(struct conn *conn)
{
    LIST_FOREACH (&conn->timers, node) {
        struct conn_timer *timer = container_of(node, struct conn_timer, node);
        if (timer->due)
            return timer;
    }
    return NULL;
}
