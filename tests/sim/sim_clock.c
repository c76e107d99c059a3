/* tests/sim/sim_clock.c - deadlines and timers, as a watch beside the server's own.
 *
 * A deadline may pass by a few turns unnoticed: events of the same turn come in any order, and
 * an option may have been set just now. */
#include <string.h>

#include "sim.h"

#define SLACK_MS                                                                           \
    2 /* clocks are cut to milliseconds, the watch looks at the ends of turns */
#define LATE_TURNS 4

#define OPTION(conn, name) conn_option(conn, offsetof(struct conn_options, name))

/* ---- conn:after ---- */

static struct sim_timer *timer_of(struct entry *entry, const char *name, size_t len)
{
    struct sim_timer *unused = NULL;
    for (size_t i = 0; i < ARRAY_LEN(entry->timers); i++) {
        struct sim_timer *timer = &entry->timers[i];
        if (timer->is_set && strlen(timer->name) == len &&
            memcmp(timer->name, name, len) == 0)
            return timer;
        if (!timer->is_set)
            unused = timer;
    }
    SIM_CHECK(unused, "more names of timers than the actor has");
    memcpy(unused->name, name, len);
    unused->name[len] = '\0';
    return unused;
}

void clock_timer_set(struct sim *sim, struct entry *entry, double seconds, const char *name,
                     size_t len)
{
    struct sim_timer *timer = timer_of(entry, name, len);
    timer->is_set = true;
    timer->turn = sim->turn;
    timer->due_ms = reactor_now_ms(sim->reactor) + (uint64_t)(seconds * 1e3);
}

bool clock_timer_cancel(struct entry *entry, const char *name, size_t len)
{
    struct sim_timer *timer = timer_of(entry, name, len);
    bool was_set = timer->is_set;
    timer->is_set = false;
    return was_set;
}

void clock_timer_fired(struct sim *sim, struct entry *entry, const char *name, size_t len)
{
    struct sim_timer *timer = timer_of(entry, name, len);
    uint64_t now_ms = reactor_now_ms(sim->reactor);
    if (entry->meddled)
        return;
    SIM_CHECK(timer->is_set, "on_timer for \"%s\", which is not set", timer->name);
    SIM_CHECK(now_ms >= timer->due_ms, "P19: on_timer for \"%s\" %llu ms early",
              timer->name, (unsigned long long)(timer->due_ms - now_ms));
    timer->is_set = false;
}

static void check_timers(const struct sim *sim, struct entry *entry,
                         const struct conn *conn)
{
    for (size_t i = 0; i < ARRAY_LEN(entry->timers); i++) {
        struct sim_timer *timer = &entry->timers[i];
        if (conn->state != CONN_OPEN)
            timer->is_set = false;
        if (conn->waiter)
            timer->turn = sim->turn; /* after the hook that waits */
        bool missed = timer->is_set && timer->due_ms <= sim->turn_ms &&
                      timer->turn < sim->turn && list_is_empty(&conn->ready_node);
        SIM_CHECK(!missed || entry->meddled, "no on_timer for \"%s\" of %llu, due at %llu",
                  timer->name, (unsigned long long)entry->number,
                  (unsigned long long)timer->due_ms);
    }
}

/* ---- Deadlines ---- */

/* Since when it has stood still: the turn after which it could have moved and did not. */
static void touch(struct sim_watch *watch, const struct sim *sim, bool moved)
{
    if (moved || watch->moved) {
        watch->since_ms = sim->turn_ms;
        watch->late_turns = 0;
    }
    if (moved)
        watch->moved_ms = sim->turn_ms;
    watch->moved = moved;
}

static void check_watch(struct sim_watch *watch, const struct sim *sim, uint64_t timeout_ms,
                        const char *what, const struct entry *entry)
{
    if (timeout_ms == 0 || sim->turn_ms <= watch->since_ms + timeout_ms + SLACK_MS) {
        watch->late_turns = 0;
        return;
    }
    watch->late_turns++;
    SIM_CHECK(watch->late_turns < LATE_TURNS, "%s of %llu passed: %llu ms since %llu", what,
              (unsigned long long)entry->number, (unsigned long long)timeout_ms,
              (unsigned long long)watch->since_ms);
}

static void check_open(const struct sim *sim, struct entry *entry, const struct conn *conn,
                       bool sent)
{
    const struct sim_wire *wire = entry->peer->wire;
    bool received = wire->up_read != entry->watched_read;
    entry->watched_read = wire->up_read;
    touch(&entry->idle, sim, sent || received || entry->kept || conn->waiter);
    touch(&entry->stuck, sim, sent || conn_pending(conn) == 0);
    bool whole = wire->up_read == entry->consumed || !conn_may_deliver(conn) || conn->eof;
    touch(&entry->partial, sim, whole || entry->watched_consumed != entry->consumed);
    entry->watched_consumed = entry->consumed;
    if (entry->held_back)
        entry->partial.since_ms = sim->turn_ms;
    entry->kept = entry->held_back = false;
    /* At a shutdown a hook that waits has until drain_timeout. */
    if (!list_is_empty(&conn->ready_node) || (conn->waiter && conn->ending))
        return;
    uint64_t idle_ms = OPTION(conn, idle_timeout_ms);
    check_watch(&entry->idle, sim, idle_ms == CONN_IDLE_DEFAULT ? 0 : idle_ms,
                "idle_timeout", entry);
    check_watch(&entry->stuck, sim, OPTION(conn, send_timeout_ms), "send_timeout", entry);
    check_watch(&entry->partial, sim, OPTION(conn, message_timeout_ms), "message_timeout",
                entry);
}

void clock_check(struct sim *sim, struct entry *entry, const struct conn *conn)
{
    check_timers(sim, entry, conn);
    if (!entry->is_stream || conn->state == CONN_CLOSED)
        return;
    size_t down = buf_len(&entry->peer->wire->down);
    bool sent = down != entry->watched_down;
    entry->watched_down = down;
    if (conn->state == CONN_OPEN) {
        check_open(sim, entry, conn, sent);
        return;
    }
    touch(&entry->ending, sim, sent || entry->watched_state != conn->state);
    entry->watched_state = conn->state;
    check_watch(&entry->ending, sim, OPTION(conn, linger_ms), "linger", entry);
}

/* Neap says that it waited long enough; nothing may have moved meanwhile. */
void clock_closing(const struct sim *sim, const struct entry *entry,
                   const struct conn *conn, const char *detail)
{
    uint64_t now_ms = reactor_now_ms(sim->reactor), timeout_ms = 0;
    const struct sim_watch *watch = NULL;
    if (conn->reason == REASON_IDLE) {
        watch = &entry->idle;
        timeout_ms = OPTION(conn, idle_timeout_ms);
    } else if (detail && strcmp(detail, "send_timeout") == 0) {
        watch = &entry->stuck;
        timeout_ms = OPTION(conn, send_timeout_ms);
    } else if (detail && strcmp(detail, "message_timeout") == 0) {
        watch = &entry->partial;
        timeout_ms = OPTION(conn, message_timeout_ms);
    }
    /* The decision may be older than the options. */
    bool old = sim->turn <= sim->loaded_turn + 1 || entry->held_back || entry->idle_waited;
    if (watch && entry->is_stream && !old)
        SIM_CHECK(now_ms + SLACK_MS >= watch->moved_ms + timeout_ms,
                  "%s after %llu ms of %llu", conn_reason_names[conn->reason],
                  (unsigned long long)(now_ms - watch->moved_ms),
                  (unsigned long long)timeout_ms);
}
