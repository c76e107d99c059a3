/* net/conn.c - which event of a connection comes next, and what ends it. */
#include "net/conn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/require.h"
#include "io/io.h"
#include "net/conn_clock.h"
#include "net/loop.h"
#include "net/pipe.h"
#include "net/reactor.h"

/* Events that one connection may deliver before others have their turn, and for how long; the
 * clock is looked at after so many, or when a hook took long. */
#define PUMP_BUDGET 256
#define PUMP_LOOK 8
#define PUMP_MS 5U

const char *const conn_reason_names[REASON_COUNT] = {
    [REASON_NONE] = "none",         [REASON_EOF] = "eof",
    [REASON_CLOSED] = "closed",     [REASON_RESET] = "reset",
    [REASON_IDLE] = "idle",         [REASON_TIMEOUT] = "timeout",
    [REASON_ERROR] = "error",       [REASON_MALFORMED] = "malformed",
    [REASON_OVERSIZE] = "oversize", [REASON_FULL] = "full",
    [REASON_LIMIT] = "limit",       [REASON_SHUTDOWN] = "shutdown",
    [REASON_KICKED] = "kicked",
};

/* COUNTER_COUNT: this reason has no counter of its own. */
static const enum counter reason_counters[REASON_COUNT] = {
    [REASON_NONE] = COUNTER_COUNT,
    [REASON_EOF] = COUNTER_COUNT,
    [REASON_CLOSED] = COUNTER_COUNT,
    [REASON_RESET] = COUNTER_CLOSED_RESET,
    [REASON_IDLE] = COUNTER_CLOSED_IDLE,
    [REASON_TIMEOUT] = COUNTER_CLOSED_TIMEOUT,
    [REASON_ERROR] = COUNTER_CLOSED_ERROR,
    [REASON_MALFORMED] = COUNTER_CLOSED_MALFORMED,
    [REASON_OVERSIZE] = COUNTER_CLOSED_OVERSIZE,
    [REASON_FULL] = COUNTER_CLOSED_FULL,
    [REASON_LIMIT] = COUNTER_CLOSED_LIMIT,
    [REASON_SHUTDOWN] = COUNTER_COUNT,
    [REASON_KICKED] = COUNTER_COUNT,
};

/* ---- Framings ---- */

void framing_ref(struct framing *framing)
{
    framing->refs++;
}

void framing_unref(struct framing *framing)
{
    if (framing && --framing->refs == 0)
        framing->free(framing);
}

const struct framing *conn_framing(const struct conn *conn)
{
    return conn->framing;
}

/* ---- Delivering ---- */

static bool deliver_timer(struct conn *conn)
{
    struct conn_timer *timer = conn_due_timer(conn);
    if (!timer)
        return false;
    /* Out of the list first: the hook may set the same name again. */
    list_remove(&timer->node);
    conn->service->ops->on_timer(conn, timer->name, timer->len);
    free(timer);
    return true;
}

void conn_answer_idle(struct conn *conn, bool keep)
{
    if (keep)
        conn->active_ms = reactor_now_ms(conn->reactor);
    else
        conn_end(conn, REASON_IDLE, NULL);
}

static void deliver_idle(struct conn *conn)
{
    uint64_t idle_ms = reactor_now_ms(conn->reactor) - conn->active_ms;
    conn->idle_due = false;
    if (conn->service->hooks & HOOK_IDLE)
        conn->service->ops->on_idle(conn, (double)idle_ms / 1e3);
    else
        conn_answer_idle(conn, false);
}

static bool take_message(struct conn *conn, const char **bytes, size_t *len)
{
    if (!conn->kind->next_message(conn, bytes, len))
        return false;
    conn->has_message = true;
    conn->message_ms = 0;
    counters_add(&conn->reactor->counters, COUNTER_MESSAGES, 1);
    return true;
}

static void finish_message(struct conn *conn)
{
    if (conn->has_message)
        conn->kind->message_done(conn);
    conn->has_message = false;
}

static bool deliver_message(struct conn *conn)
{
    const char *bytes;
    size_t len;
    if (!take_message(conn, &bytes, &len))
        return conn->ending || conn->state != CONN_OPEN;
    if (conn->service->hooks & HOOK_MESSAGE)
        conn->service->ops->on_message(conn, bytes, len);
    finish_message(conn);
    return true;
}

static bool deliver_eof(struct conn *conn)
{
    if (!conn->eof || conn->eof_done || !conn_may_deliver(conn))
        return false;
    conn->eof_done = true;
    if (!(conn->service->hooks & HOOK_EOF)) {
        conn_close(conn, REASON_EOF, NULL);
        return true;
    }
    const char *rest;
    size_t len;
    conn->kind->rest(conn, &rest, &len);
    conn->message_ms = 0;
    conn->service->ops->on_eof(conn, rest, len);
    conn->kind->message_done(conn); /* the rest, which will never be a message */
    return true;
}

static void deliver_closing(struct conn *conn)
{
    enum conn_reason reason = conn->reason;
    /* Cleared first, so that a close() inside the hook is the end of it and send still works. */
    conn->ending = false;
    /* Without sessions there is no connection, and so no end of one. */
    if ((conn->service->hooks & HOOK_CLOSING) && conn->connected && !conn->closing_told) {
        conn->closing_told = true;
        conn->service->ops->on_closing(conn, reason, conn->detail);
    }
    if (!conn->waiter) /* else it is closed when the hook has returned */
        conn_close(conn, reason, NULL);
}

static void deliver_disconnect(struct conn *conn)
{
    if (conn->connected && !conn->disconnected) {
        conn->disconnected = true;
        conn->service->ops->on_disconnect(conn, conn->reason, conn->detail);
    }
    slots_remove(&conn->reactor->conns, conn->slot);
    conn->service->users--;
    conn->service->ops->on_gone(conn); /* the service may go too */
    conn->service = NULL;
    conn->options = NULL;
    reactor_bury(conn->reactor, conn);
}

char *conn_give_input(struct conn *conn, const char *bytes, size_t len)
{
    return conn->kind->give_input ? conn->kind->give_input(conn, bytes, len) : NULL;
}

static void deliver_session(struct conn *conn)
{
    bool resumed = conn->session_begun;
    conn->session_begun = true;
    conn->service->ops->on_session(conn, resumed);
}

/* Calls at most one hook, but on_message for more than one message where nothing else is due
 * between them; false when nothing is due. */
static bool deliver_next(struct conn *conn)
{
    if (conn->waiter)
        return conn->service->ops->on_wake(conn);
    if (conn->state != CONN_OPEN)
        return false;
    if (conn->connect_due) {
        conn->connect_due = false;
        conn->connected = true;
        if (conn->service->hooks & HOOK_CONNECT)
            conn->service->ops->on_connect(conn);
        return true;
    }
    if (conn->ending) {
        deliver_closing(conn);
        return true;
    }
    if ((conn->service->hooks & HOOK_SESSION) && !conn->pipe) {
        deliver_session(conn);
        return true;
    }
    if (deliver_timer(conn))
        return true;
    if (conn->drain_due) {
        conn->drain_due = false;
        conn->service->ops->on_drain(conn);
        return true;
    }
    if (conn->idle_due && !conn->reader) {
        deliver_idle(conn);
        return true;
    }
    if (conn->reader || conn->pipe || conn->service->pulled)
        return false;
    /* on_eof was given the rest: under a framing set since, it might be a message. */
    return (!conn->eof_done && deliver_message(conn)) || deliver_eof(conn);
}

/* An event was delivered. False: others are to have their turn. */
static bool keeps_its_turn(struct reactor *reactor)
{
    struct turn *turn = &reactor->turn;
    if (turn->left == 0)
        return false;
    turn->left--;
    if (!reactor->slow && turn->left % PUMP_LOOK)
        return true;
    reactor->slow = false;
    loop_update_now(reactor->loop);
    if (reactor_now_ms(reactor) - turn->started_ms >= PUMP_MS)
        turn->left = 0;
    return turn->left > 0;
}

/* True: more may be due. */
static bool deliver_some(struct conn *conn)
{
    struct reactor *reactor = conn->reactor;
    reactor->turn = (struct turn){PUMP_BUDGET, reactor_now_ms(reactor)};
    while (deliver_next(conn))
        if (!keeps_its_turn(reactor))
            return true;
    return false;
}

static bool is_message_due(struct conn *conn)
{
    bool other =
        conn->ending || conn->drain_due || conn->idle_due || conn_due_timer(conn) != NULL;
    return conn->state == CONN_OPEN && !conn->eof_done && !conn->reader && !conn->pipe &&
           !other;
}

bool conn_next_message(struct conn *conn, const char **bytes, size_t *len)
{
    REQUIRE(conn->reactor->current == conn);
    finish_message(conn);
    /* A custom framing, which has a context, is a script and has a run of its own. */
    return is_message_due(conn) && !conn->framing->codec.context &&
           keeps_its_turn(conn->reactor) && take_message(conn, bytes, len);
}

void conn_set_waiter(struct conn *conn, void *waiter)
{
    conn->waiter = waiter;
    if (conn->state != CONN_OPEN)
        return;
    conn->message_ms = 0; /* as in conn_hold_back */
    if (!waiter) {        /* a hook that waits is no idle connection */
        conn->active_ms = reactor_now_ms(conn->reactor);
        conn->idle_due = false;
    }
    conn_arm(conn);
}

void conn_set_reader(struct conn *conn, void *reader)
{
    conn->reader = reader;
    if (conn->state == CONN_OPEN)
        conn_arm(conn);
    /* Whether it is to be read has changed, and what a reader has left is the hooks'. */
    if (conn->reactor->current != conn)
        reactor_make_ready(conn->reactor, conn);
}

void conn_set_flusher(struct conn *conn, void *flusher)
{
    conn->flusher = flusher;
}

void conn_begin_read(struct conn *conn)
{
    conn->framing_changed = true; /* what was found out of a frame is of another read */
}

static int find_wanted(struct conn *conn, const struct conn_want *want, const char **bytes,
                       size_t *len)
{
    bool is_usual = !want->codec && !want->all;
    if (conn->kind->read)
        return conn->kind->read(conn, want, bytes, len);
    return is_usual ? conn->kind->next_message(conn, bytes, len) : -EOPNOTSUPP;
}

int conn_read(struct conn *conn, const struct conn_want *want, const char **bytes,
              size_t *len)
{
    bool was_reading = conn->reading;
    finish_message(conn);
    if (conn->state != CONN_OPEN || conn->ending)
        return -EPIPE;
    conn->reading = true;
    int found = conn->eof_done ? -ENODATA : find_wanted(conn, want, bytes, len);
    bool may_deliver = conn_may_deliver(conn); /* over high_water there may be whole ones */
    conn->reading = was_reading;
    if (found == 0 && conn->eof && may_deliver)
        return -ENODATA;
    return found;
}

void conn_take(struct conn *conn)
{
    conn->kind->message_done(conn);
    conn->message_ms = 0;
    counters_add(&conn->reactor->counters, COUNTER_MESSAGES, 1);
    if (conn->reactor->current != conn)
        reactor_make_ready(conn->reactor, conn); /* to settle */
}

static void tell_watchers(struct conn *conn)
{
    bool by_others = (conn->reader && conn->reader != conn->waiter) ||
                     (conn->flusher && conn->flusher != conn->waiter);
    if (by_others)
        conn->service->ops->on_watched(conn);
}

void conn_pump(struct conn *conn)
{
    struct reactor *reactor = conn->reactor;
    REQUIRE(!reactor->current);
    if (!slots_get(&reactor->conns, conn->slot))
        return; /* it died earlier in this turn */
    reactor->current = conn;
    tell_watchers(conn);
    conn->backlog = deliver_some(conn);
    if (conn->pipe)
        pipe_move(conn);
    if (conn->state != CONN_CLOSED)
        conn->kind->settle(conn);
    bool is_due = conn->drain_due || conn->ending || conn->state == CONN_CLOSED;
    if (conn->state == CONN_CLOSED && !conn->waiter)
        deliver_disconnect(conn);
    else if (conn->backlog || (is_due && !conn->waiter))
        reactor_make_ready(reactor, conn);
    reactor->current = NULL;
}

bool conn_is_wanted(const struct conn *conn)
{
    bool by_hooks = !conn->paused && !conn->waiter && !conn->pipe && !conn->service->pulled;
    return by_hooks || conn->reading || conn->reader;
}

bool conn_may_deliver(const struct conn *conn)
{
    return conn_is_wanted(conn) && conn_pending(conn) <= conn->options->high_water;
}

void conn_check_drain(struct conn *conn)
{
    if (conn->pipe && conn_pending(conn) == 0)
        pipe_drained(conn);
    if (conn->flusher && conn_pending(conn) == 0)
        reactor_make_ready(conn->reactor, conn);
    /* Half of a mark of 1 is 1: an empty queue must be below it. */
    if (!conn->want_drain || conn_pending(conn) >= (conn->options->high_water + 1) / 2)
        return;
    conn->want_drain = false;
    conn->drain_due = (conn->service->hooks & HOOK_DRAIN) != 0;
    /* Nobody else may come by: what was held back behind the mark goes on from here. */
    reactor_make_ready(conn->reactor, conn);
}

/* ---- Sending ---- */

/* Nor is the rest of a message read until on_drain: its time does not run. */
void conn_hold_back(struct conn *conn)
{
    conn->want_drain = true;
    conn->message_ms = 0;
}

static int over_limit(struct conn *conn)
{
    if (conn->options->overflow == OVERFLOW_DROP) {
        reactor_count(conn->reactor, COUNTER_DROPPED_OUTPUT, 1, conn, NULL);
        return -ENOBUFS;
    }
    conn_abort(conn, REASON_FULL, "max_output");
    return -ENOBUFS;
}

static bool fits(const struct conn *conn, size_t pending, size_t len)
{
    uint64_t max_output = conn->options->max_output;
    return len <= max_output && pending <= max_output - len;
}

static int queue(struct conn *conn, const struct iovec *pieces, size_t count, size_t len)
{
    size_t queued = conn_pending(conn);
    if (!fits(conn, queued, len) && conn->reactor->current != conn) {
        /* What other hooks queued may just not have been sent yet. */
        conn->kind->flush(conn);
        queued = conn_pending(conn);
    }
    if (conn->state != CONN_OPEN)
        return -EPIPE;
    if (!fits(conn, queued, len))
        return over_limit(conn);
    int failed = conn->kind->queue(conn, pieces, count, len);
    if (failed)
        return failed;
    if (conn->state != CONN_OPEN)
        return -EPIPE; /* the attempt to send found the peer gone */
    uint64_t high_water = conn->options->high_water;
    if (queued + len <= high_water || conn_pending(conn) <= high_water)
        return 0;
    conn_hold_back(conn);
    return 1;
}

/* What the framing puts around a message of that length; nothing around a datagram. */
static int envelope(const struct conn *conn, size_t len, struct codec_envelope *out)
{
    if (conn->kind->is_stream)
        return codec_encode(&conn->framing->codec, len, out);
    out->head_len = out->tail_len = 0;
    return 0;
}

int conn_write(struct conn *conn, const struct conn_message *message)
{
    if (!conn_is_open(conn))
        return -EPIPE;
    return queue(conn, message->pieces + 1, message->count, message->len);
}

int conn_send(struct conn *conn, struct conn_message *message)
{
    if (!conn_is_open(conn))
        return -EPIPE;
    struct codec_envelope around;
    int failed = envelope(conn, message->len, &around);
    if (failed)
        return failed;
    struct iovec *pieces = message->pieces + 1;
    size_t count = message->count;
    REQUIRE(count <= CONN_PIECES_MAX);
    if (around.tail_len)
        pieces[count++] = (struct iovec){(void *)around.tail, around.tail_len};
    if (around.head_len) {
        *--pieces = (struct iovec){around.head, around.head_len};
        count++;
    }
    return queue(conn, pieces, count, around.head_len + message->len + around.tail_len);
}

int conn_send_one(struct conn *conn, const char *bytes, size_t len)
{
    if (!conn_is_open(conn))
        return -EPIPE;
    struct codec_envelope around;
    int failed = envelope(conn, len, &around);
    if (failed)
        return failed;
    struct iovec pieces[] = {{around.head, around.head_len},
                             {(void *)bytes, len},
                             {(void *)around.tail, around.tail_len}};
    size_t from = around.head_len ? 0 : 1, count = around.tail_len ? 3 : 2;
    return queue(conn, pieces + from, count - from,
                 around.head_len + len + around.tail_len);
}

size_t conn_pending(const struct conn *conn)
{
    return conn->kind->pending(conn);
}

/* ---- Ending ---- */

static void release(struct conn *conn)
{
    struct reactor *reactor = conn->reactor;
    wheel_stop(&reactor->wheel, &conn->clock);
    conn->kind->release(conn, conn->reset_wanted);
    reactor_hold(reactor, &conn->held, 0);
    if ((conn->kind->is_stream || conn->outbound) && reactor->ops->on_closed)
        reactor->ops->on_closed(reactor, conn);
    reactor_make_ready(reactor, conn);
}

void conn_set_state(struct conn *conn, enum conn_state state)
{
    REQUIRE(state > conn->state);
    conn->state = (uint8_t)state;
    conn_free_timers(conn);
    conn->message_ms = 0;
    /* Never delivered from here on; left due, it would keep the loop from blocking. */
    conn->want_drain = conn->drain_due = false;
    if (conn->waiter || conn->reader || conn->flusher)
        reactor_make_ready(conn->reactor, conn);
    if (state == CONN_CLOSED)
        release(conn);
    if (conn->pipe)
        pipe_part(conn);
    /* Last: a notice may run on_log, and that may do anything to any connection. */
    enum counter counter = reason_counters[conn->reason];
    if (state == CONN_CLOSED && counter != COUNTER_COUNT)
        reactor_count(conn->reactor, counter, 1, conn, conn->detail);
}

/* Says in the detail what nobody took. */
static void tell_lost(struct conn *conn, size_t lost)
{
    char *detail = NULL;
    if (asprintf(&detail, "%s%s%zu bytes not delivered", conn->detail ? conn->detail : "",
                 conn->detail ? "; " : "", lost) < 0)
        return;
    free(conn->detail);
    conn->detail = detail;
}

/* Closed, with whatever is queued. It is counted when it is over, see conn_set_state. */
void conn_die(struct conn *conn)
{
    size_t lost = conn_pending(conn);
    if (lost)
        tell_lost(conn, lost);
    conn_set_state(conn, CONN_CLOSED);
    if (lost)
        reactor_count(conn->reactor, COUNTER_LOST_OUTPUT, lost, conn, NULL);
}

static void set_reason(struct conn *conn, enum conn_reason reason, const char *detail)
{
    if (conn->reason == REASON_NONE)
        conn->reason = (uint8_t)reason;
    if (detail && !conn->detail)
        conn->detail = strndup(detail, CONN_DETAIL_MAX);
}

void conn_close(struct conn *conn, enum conn_reason reason, const char *detail)
{
    if (conn->state != CONN_OPEN)
        return;
    set_reason(conn, reason, detail);
    conn->ending = false;
    conn_set_state(conn, CONN_FLUSHING);
    conn->progress_ms = conn->message_ms = reactor_now_ms(conn->reactor);
    conn_arm(conn);
    if (conn->reactor->current != conn)
        reactor_make_dirty(conn->reactor, conn);
}

void conn_end(struct conn *conn, enum conn_reason reason, const char *detail)
{
    if (conn->state != CONN_OPEN || conn->ending)
        return;
    set_reason(conn, reason, detail);
    conn->ending = true;
    reactor_make_ready(conn->reactor, conn);
}

void conn_abort(struct conn *conn, enum conn_reason reason, const char *detail)
{
    if (conn->state == CONN_CLOSED)
        return;
    set_reason(conn, reason, detail);
    conn->ending = false;
    if (reason != REASON_RESET)
        conn->reset_wanted = true;
    conn_die(conn);
}

int conn_shutdown(struct conn *conn)
{
    return conn_is_open(conn) ? conn->kind->shutdown(conn) : -EPIPE;
}

void conn_pause(struct conn *conn)
{
    conn->paused = true;
    conn->message_ms = 0; /* as in conn_hold_back */
}

void conn_resume(struct conn *conn)
{
    if (!conn->paused)
        return;
    conn->paused = false;
    reactor_make_ready(conn->reactor, conn);
}

int conn_set_framing(struct conn *conn, struct framing *framing)
{
    if (!conn->kind->is_stream)
        return -EOPNOTSUPP;
    if (conn->state == CONN_CLOSED)
        return -EPIPE;
    framing_unref(conn->framing);
    conn->framing = framing;
    conn->framing_changed = true;
    reactor_make_ready(conn->reactor, conn);
    return 0;
}

bool conn_is_open(const struct conn *conn)
{
    return conn->state == CONN_OPEN && !conn->write_shut;
}

bool conn_is_stream(const struct conn *conn)
{
    return conn->kind->is_stream;
}

/* A descriptor to ask for an option, or -errno. */
static int own_fd(const struct conn *conn)
{
    if (!conn->kind->is_stream)
        return -EOPNOTSUPP;
    return conn->state == CONN_CLOSED ? -EPIPE : conn->kind->fd(conn);
}

int conn_get_socket_option(struct conn *conn, int level, int name, void *value,
                           socklen_t *len)
{
    int fd = own_fd(conn);
    struct io *io = conn->reactor->io;
    return fd < 0 ? fd : io->ops->get_option(io, fd, level, name, value, len);
}

int conn_set_socket_option(struct conn *conn, int level, int name, const void *value,
                           socklen_t len)
{
    int fd = own_fd(conn);
    struct io *io = conn->reactor->io;
    return fd < 0 ? fd : io->ops->set_option(io, fd, level, name, value, len);
}

void conn_peer(const struct conn *conn, struct endpoint *out)
{
    conn->kind->peer(conn, out);
}

void conn_local(struct conn *conn, struct endpoint *out)
{
    conn->kind->local(conn, out);
}

/* ---- All of them ---- */

struct conn *conn_find(struct reactor *reactor, uint64_t slot)
{
    return slots_get(&reactor->conns, slot);
}

void conn_shutdown_all(struct reactor *reactor)
{
    struct conn *conn;
    uint32_t cursor = 0;
    reactor->stopping = true;
    while ((conn = slots_next(&reactor->conns, &cursor))) {
        if (conn->state == CONN_LINGERING)
            reactor_make_dirty(reactor, conn);
        if (conn->follows) /* its owner's hook, which has until drain_timeout, may need it */
            continue;
        conn_end(conn, REASON_SHUTDOWN, NULL);
    }
}

void conn_abort_all(struct reactor *reactor)
{
    struct conn *conn;
    uint32_t cursor = 0;
    reactor->aborted = true;
    while ((conn = slots_next(&reactor->conns, &cursor)))
        conn_abort(conn, REASON_SHUTDOWN, "drain_timeout");
}

int conn_init(struct conn *conn, const struct conn_kind *kind, struct reactor *reactor,
              struct service *service, uint64_t number)
{
    conn->kind = kind;
    conn->reactor = reactor;
    conn->service = service;
    conn->options = &service->options;
    conn->opened_ms = conn->active_ms = conn->progress_ms = reactor_now_ms(reactor);
    conn->connect_due = true;
    list_init(&conn->ready_node);
    list_init(&conn->dirty_node);
    conn_clock_init(conn);
    int failed = slots_add(&reactor->conns, conn, number, &conn->slot);
    if (failed)
        return failed;
    service->users++;
    conn->version = service->version;
    conn->framing = service->framing;
    framing_ref(conn->framing);
    return 0;
}

void conn_set_outbound(struct conn *conn)
{
    conn->outbound = true;
    if (conn->service->pulled) {
        conn->connect_due = false;
        conn->connected = true;
    }
    counters_add(&conn->reactor->counters, COUNTER_OUTBOUND, 1);
    conn_arm(conn);
    reactor_make_ready(conn->reactor, conn);
}

void conn_free(struct conn *conn)
{
    free(conn->own);
    free(conn->detail);
    framing_unref(conn->framing);
    conn->kind->free(conn);
}
