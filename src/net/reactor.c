/* net/reactor.c - the end of a turn: hooks that became due, output, the dead. */
#include "net/reactor.h"

#include <errno.h>
#include <stdlib.h>

#include "base/require.h"
#include "io/io.h"
#include "net/conn.h"
#include "net/dgram.h"
#include "net/resolver.h"

/* How often a turn goes over its lists, and how many connections it flushes, before it looks
 * at the sockets again: a broadcast must not starve them. */
#define TURN_ROUNDS 4
#define TURN_MS 5U
#define TURN_FLUSHES 1024

#define STALL_MS 10U

/* More than this is given back when one large message has made the scratch grow. */
#define SCRATCH_KEEP_LEN (256U << 10)

static struct conn *take_first(struct list *list, size_t offset)
{
    struct list *node = list_first(list);
    if (!node)
        return NULL;
    list_remove(node);
    return (struct conn *)(void *)((char *)node - offset);
}

static void run_posted(struct reactor *reactor)
{
    struct list now, *node;
    list_take(&now, &reactor->posted);
    while ((node = list_first(&now))) {
        struct post *post = container_of(node, struct post, node);
        list_remove(node);
        post->run(post);
    }
}

static void run_ready(struct reactor *reactor)
{
    struct list now;
    list_take(&now, &reactor->ready);
    struct conn *conn;
    while ((conn = take_first(&now, offsetof(struct conn, ready_node))))
        conn_pump(conn);
}

static void flush_dirty(struct reactor *reactor)
{
    struct conn *conn;
    for (int count = 0; count < TURN_FLUSHES; count++) {
        conn = take_first(&reactor->dirty, offsetof(struct conn, dirty_node));
        if (!conn)
            return;
        conn->kind->flush(conn);
    }
}

static void free_dead(struct reactor *reactor)
{
    struct conn *conn;
    while ((conn = take_first(&reactor->dead, offsetof(struct conn, ready_node))))
        conn_free(conn);
}

static struct conn *holds_most(struct reactor *reactor)
{
    struct conn *most = NULL, *conn;
    uint32_t cursor = 0;
    while ((conn = slots_next(&reactor->conns, &cursor)))
        if (conn->state != CONN_CLOSED && conn->held && (!most || conn->held > most->held))
            most = conn;
    return most;
}

/* Over max_buffered, whoever holds most pays: the ones that keep up hold nothing, once what was
 * queued for them has been tried to send. */
static void enforce_max_buffered(struct reactor *reactor)
{
    struct conn *most;
    while (reactor->buffered > reactor->max_buffered && (most = holds_most(reactor))) {
        size_t held = most->held;
        most->kind->flush(most);
        if (most->state != CONN_CLOSED && most->held >= held)
            conn_abort(most, REASON_FULL, "max_buffered");
    }
}

static bool has_work(const struct reactor *reactor)
{
    return !list_is_empty(&reactor->posted) || !list_is_empty(&reactor->ready) ||
           !list_is_empty(&reactor->dirty);
}

static void set_alarm(struct reactor *reactor)
{
    uint64_t next_ms = wheel_next_ms(&reactor->wheel);
    if (next_ms == reactor->alarm_ms)
        return;
    reactor->alarm_ms = next_ms;
    loop_set_alarm(reactor->loop, next_ms);
}

static bool on_turn(void *owner)
{
    struct reactor *reactor = owner;
    uint64_t started_ms = reactor_now_ms(reactor);
    enforce_max_buffered(reactor);
    for (int round = 0; round < TURN_ROUNDS; round++) {
        if (!has_work(reactor))
            break;
        if (reactor_now_ms(reactor) - started_ms >= TURN_MS)
            break; /* hooks that wait: the sockets have waited too */
        run_posted(reactor);
        run_ready(reactor);
        flush_dirty(reactor);
    }
    enforce_max_buffered(reactor); /* also what those have queued */
    bool may_be_last = reactor->stopping || !list_is_empty(&reactor->dead);
    free_dead(reactor);
    if (may_be_last && reactor->conns.count == 0 && reactor->ops->on_empty)
        reactor->ops->on_empty(reactor);
    if (reactor->scratch.capacity > SCRATCH_KEEP_LEN)
        buf_fini(&reactor->scratch);
    set_alarm(reactor);
    return has_work(reactor);
}

static void on_alarm(void *owner)
{
    struct reactor *reactor = owner;
    reactor->alarm_ms = WHEEL_NEVER;
    wheel_advance(&reactor->wheel, loop_now_ms(reactor->loop));
}

static void on_wake(void *owner)
{
    struct reactor *reactor = owner;
    reactor->ops->on_wake(reactor);
}

static const struct loop_ops loop_ops = {
    .on_turn = on_turn,
    .on_alarm = on_alarm,
    .on_wake = on_wake,
};

static void on_stall_over(struct wheel_timer *timer)
{
    struct reactor *reactor = container_of(timer, struct reactor, stall);
    struct conn *conn;
    while ((conn = take_first(&reactor->stalled, offsetof(struct conn, dirty_node)))) {
        conn->stalled = false;
        reactor_make_dirty(reactor, conn);
    }
}

static char *new_input(size_t lead)
{
    char *memory = malloc(lead + REACTOR_INPUT_LEN + 1);
    return memory ? memory + lead : NULL;
}

int reactor_set_lead(struct reactor *reactor, size_t lead)
{
    char *input = new_input(lead);
    if (!input)
        return -ENOMEM;
    free(reactor->input - reactor->lead);
    reactor->input = input;
    reactor->lead = lead;
    return 0;
}

char *reactor_give_input(struct reactor *reactor)
{
    char *input = new_input(reactor->lead), *memory = reactor->input - reactor->lead;
    if (!input)
        return NULL;
    reactor->input = input;
    return memory;
}

struct reactor *reactor_new(struct io *io, const struct reactor_ops *ops, void *owner)
{
    struct reactor *reactor = calloc(1, sizeof *reactor);
    if (!reactor)
        return NULL;
    reactor->ops = ops;
    reactor->owner = owner;
    reactor->io = io;
    reactor->alarm_ms = WHEEL_NEVER;
    reactor->max_buffered = SIZE_MAX;
    reactor->max_peers = UINT32_MAX;
    list_init(&reactor->posted);
    list_init(&reactor->ready);
    list_init(&reactor->dirty);
    list_init(&reactor->stalled);
    list_init(&reactor->dead);
    wheel_timer_init(&reactor->stall, on_stall_over);
    list_init(&reactor->peers_once);
    list_init(&reactor->peers_heard);
    slots_init(&reactor->conns);
    reactor->input = new_input(0);
    reactor->loop = loop_new(io, &loop_ops, reactor);
    if (!reactor->input || !reactor->loop) {
        reactor_free(reactor);
        return NULL;
    }
    wheel_init(&reactor->wheel, loop_now_ms(reactor->loop));
    return reactor;
}

void reactor_free(struct reactor *reactor)
{
    if (!reactor)
        return;
    free_dead(reactor);
    REQUIRE(reactor->conns.count == 0);
    resolver_free(reactor->resolver);
    dgram_batch_free(reactor->datagrams);
    loop_free(reactor->loop);
    slots_fini(&reactor->conns);
    buf_fini(&reactor->scratch);
    free(reactor->input - reactor->lead);
    free(reactor);
}

uint64_t reactor_now_ms(const struct reactor *reactor)
{
    return loop_now_ms(reactor->loop);
}

void reactor_count(struct reactor *reactor, enum counter counter, uint64_t by,
                   const struct conn *conn, const char *detail)
{
    counters_add(&reactor->counters, counter, by);
    if (counter_rows[counter].notice)
        reactor->ops->on_notice(reactor, counter, conn, detail);
}

void reactor_post(struct reactor *reactor, struct post *post)
{
    if (list_is_empty(&post->node))
        list_append(&reactor->posted, &post->node);
}

void reactor_make_ready(struct reactor *reactor, struct conn *conn)
{
    if (list_is_empty(&conn->ready_node))
        list_append(&reactor->ready, &conn->ready_node);
}

void reactor_make_dirty(struct reactor *reactor, struct conn *conn)
{
    if (list_is_empty(&conn->dirty_node))
        list_append(&reactor->dirty, &conn->dirty_node);
}

void reactor_stall(struct reactor *reactor, struct conn *conn)
{
    conn->stalled = true;
    list_remove(&conn->dirty_node);
    list_append(&reactor->stalled, &conn->dirty_node);
    if (!wheel_timer_is_started(&reactor->stall))
        wheel_start(&reactor->wheel, &reactor->stall, reactor_now_ms(reactor) + STALL_MS);
}

void reactor_bury(struct reactor *reactor, struct conn *conn)
{
    list_remove(&conn->dirty_node);
    list_remove(&conn->ready_node);
    list_append(&reactor->dead, &conn->ready_node);
}

void reactor_hold(struct reactor *reactor, size_t *held, size_t now_held)
{
    reactor->buffered += now_held - *held;
    *held = now_held;
}
