/* tests/sim/sim_spy.c - sees every hook before the script does, and every send after it.
 *
 *     conn.c ── conn_ops ──> spy ──> hook.c ──> Lua ──> sim.saw(...)     the same call, twice seen
 *     lib_conn.c ──> conn_send ── conn_kind.queue ──> spy ──> stream.c   the bytes that were taken */
#include <errno.h>
#include <string.h>

#include <lauxlib.h>

#include "script/version.h"
#include "script/vm.h"
#include "sim.h"

#define DGRAM_BATCH 32

static struct sim *sim_of_conn(const struct conn *conn)
{
    return sim_of_reactor(conn->reactor);
}

static struct entry *entry_of(const struct conn *conn)
{
    return sim_entry(sim_of_conn(conn), conn_number(conn));
}

static const char *name_of(enum hook hook)
{
    return hook_rows[hook].name;
}

/* ---- Sends ---- */

static void note_queued(struct sim *sim, const struct conn *conn,
                        const struct iovec *pieces, size_t count, bool taken)
{
    struct attempt *attempt = &sim->attempt;
    if (!attempt->active || attempt->disturbed)
        return;
    SIM_CHECK(attempt->slot == conn->slot,
              "P9: %s on the handle of slot %llx queued at slot %llx", attempt->op,
              (unsigned long long)attempt->slot, (unsigned long long)conn->slot);
    SIM_CHECK(!attempt->queued, "%s queued twice", attempt->op);
    attempt->queued = true;
    attempt->taken = taken;
    for (size_t i = 0; i < count; i++)
        SIM_CHECK(buf_append(&attempt->wanted, pieces[i].iov_base, pieces[i].iov_len) == 0,
                  "out of memory");
}

static int spy_queue(struct conn *conn, const struct iovec *pieces, size_t count,
                     size_t len)
{
    struct sim *sim = sim_of_conn(conn);
    struct entry *entry = entry_of(conn);
    size_t sum = 0, before = buf_len(&entry->accepted);
    for (size_t i = 0; i < count; i++)
        sum += pieces[i].iov_len;
    SIM_CHECK(sum == len, "the queue is told %zu bytes and given %zu", len, sum);
    SIM_CHECK(conn->state == CONN_OPEN && !conn->write_shut,
              "P10: a message is queued behind the end");
    if (entry->host)
        host_promised(entry->host, pieces, count, len);
    /* Noted before they go: the network may see them at once. */
    for (size_t i = 0; i < count && entry->is_stream; i++)
        SIM_CHECK(buf_append(&entry->accepted, pieces[i].iov_base, pieces[i].iov_len) == 0,
                  "out of memory");
    int failed = sim->real_kinds[entry->is_stream]->queue(conn, pieces, count, len);
    bool taken = !failed && conn->state == CONN_OPEN;
    if (!taken && entry->is_stream) {
        entry->refused += len;
        entry->accepted.end = entry->accepted.start + before;
    }
    note_queued(sim, conn, pieces, count, taken);
    size_t pending = conn_pending(conn);
    uint64_t most = conn_option(conn, offsetof(struct conn_options, max_output));
    SIM_CHECK(!taken || pending <= most, "P10: %zu bytes pending, max_output is %llu",
              pending, (unsigned long long)most);
    if (taken && entry->is_stream && sim_sabotages(sim, SABOTAGE_SWAPPED_SEND))
        entry->accepted.end = entry->accepted.start + before;
    return failed;
}

/* ---- Hooks ---- */

static void get_acquainted(struct sim *sim, struct conn *conn, struct entry *entry)
{
    entry->seen = true;
    entry->slot = conn->slot;
    entry->is_stream = conn_is_stream(conn);
    SIM_CHECK(entry->is_stream == (entry->peer != NULL), "number %llu is of another kind",
              (unsigned long long)entry->number);
    if (entry->is_stream && conn->version != entry->peer->version)
        entry->peer->clean = false;
    if (!entry->is_stream) {
        entry->host = host_of(sim, conn);
        entry->single = !conn->service->sessions;
        entry->host->entry = entry;
    }
    int kind = entry->is_stream;
    if (!sim->real_kinds[kind]) {
        sim->real_kinds[kind] = conn->kind;
        sim->kinds[kind] = *conn->kind;
        sim->kinds[kind].queue = spy_queue;
    }
    conn->kind = &sim->kinds[kind];
}

static void check_stage(const struct entry *entry, const struct conn *conn, enum hook hook)
{
    enum stage wanted = hook == ON_CONNECT || entry->single ? STAGE_NEW : STAGE_CONNECTED;
    SIM_CHECK(entry->stage == wanted, "P8: %s of %llu in stage %d", name_of(hook),
              (unsigned long long)entry->number, (int)entry->stage);
    SIM_CHECK(conn_find(conn->reactor, conn->slot) == conn,
              "P8: %s of a conn without a slot", name_of(hook));
    if (hook == ON_DISCONNECT)
        SIM_CHECK(conn->state == CONN_CLOSED, "P8: on_disconnect in state %d", conn->state);
    else
        SIM_CHECK(conn->state == CONN_OPEN, "P8: %s in state %d", name_of(hook),
                  conn->state);
}

static void enter(struct conn *conn, enum hook hook, const char *bytes, size_t len)
{
    struct sim *sim = sim_of_conn(conn);
    struct entry *entry = entry_of(conn);
    struct running *running = &sim->running;
    SIM_CHECK(running->depth == 0, "P8: %s of %llu inside %s", name_of(hook),
              (unsigned long long)conn_number(conn), name_of(running->hook));
    SIM_CHECK(sim->reactor->current == conn, "P8: %s, but it is not current",
              name_of(hook));
    SIM_CHECK(!entry->waits, "P8: %s of %llu while its %s waits", name_of(hook),
              (unsigned long long)entry->number, name_of(entry->running.hook));
    if (!entry->seen)
        get_acquainted(sim, conn, entry);
    check_stage(entry, conn, hook);
    sim->hook_count++;
    sim->attempt.active = false;
    *running = (struct running){
        .depth = 1,
        .hook = hook,
        .conn = conn,
        .bytes = bytes,
        .len = len,
        .errors_before = counters_get(&sim->reactor->counters, COUNTER_HOOK_ERRORS)};
    trace(" %s %llu %s", name_of(hook), (unsigned long long)entry->number,
          bytes ? trace_bytes(bytes, len) : "");
}

static void leave(struct conn *conn)
{
    struct sim *sim = sim_of_conn(conn);
    struct running *running = &sim->running;
    const struct script_service *service = service_of(conn);
    uint64_t errors = counters_get(&sim->reactor->counters, COUNTER_HOOK_ERRORS);
    bool failed = errors != running->errors_before;
    bool there = service->hooks[running->hook] != LUA_NOREF;
    running->depth = 0;
    sim->attempt.active = false;
    SIM_CHECK(running->seen_count <= 1, "the script saw one %s %u times",
              name_of(running->hook), running->seen_count);
    SIM_CHECK(!there || failed || running->seen_count == 1,
              "P8: the script did not see %s of %llu", name_of(running->hook),
              (unsigned long long)conn_number(conn));
    SIM_CHECK(!failed || running->kept || sim->memory_fails || conn->ending ||
                  conn->state != CONN_OPEN,
              "P3: %s raised and connection %llu goes on", name_of(running->hook),
              (unsigned long long)conn_number(conn));
    if (failed)
        trace("  raised");
}

/* The hook has ended, or waits: then what is known of it is put aside. */
static void returned(struct conn *conn)
{
    struct sim *sim = sim_of_conn(conn);
    struct entry *entry = entry_of(conn);
    entry->waits = conn->waiter != NULL;
    if (!entry->waits) {
        leave(conn);
        return;
    }
    entry->running = sim->running;
    entry->idle_waited |= sim->running.hook == ON_IDLE;
    entry->paused = true; /* as good as: datagrams are kept meanwhile */
    sim->running.depth = 0;
    sim->attempt.active = false;
    sim->wait_count++;
    trace("  waits");
}

static void spy_on_connect(struct conn *conn)
{
    enter(conn, ON_CONNECT, NULL, 0);
    entry_of(conn)->stage = STAGE_CONNECTED;
    hook_ops.on_connect(conn);
    returned(conn);
}

/* The frame at the front of all that arrived and was not delivered. */
static int find_frame(const struct conn *conn, const struct codec *codec, const char *front,
                      size_t held, struct codec_frame *frame)
{
    uint64_t most = conn_option(conn, offsetof(struct conn_options, max_message));
    int found = frame_decode(codec, front, held, most, frame);
    /* A limit that came down holds for the next message, if this one has begun. */
    if (found == -EMSGSIZE &&
        sim_may_differ(conn, offsetof(struct conn_options, max_message)))
        found = frame_decode(codec, front, held, CODEC_MESSAGE_MAX, frame);
    return found;
}

static bool is_frame(const struct codec_frame *frame, const char *front, const char *bytes,
                     size_t len)
{
    return len == frame->total - frame->head - frame->tail &&
           memcmp(bytes, front + frame->head, len) == 0;
}

/* What the peer framed is what the framing finds at the front of all that arrived. */
static void check_message(struct entry *entry, const struct conn *conn, const char *bytes,
                          size_t len)
{
    const struct sim_wire *wire = entry->peer->wire;
    const char *front = buf_bytes(&wire->up) + entry->consumed;
    size_t held = wire->up_read - entry->consumed;
    struct codec_frame frame = {0};
    int found = find_frame(conn, &conn_framing(conn)->codec, front, held, &frame);
    bool right = found == CODEC_FRAME && is_frame(&frame, front, bytes, len);
    /* A custom framing that sets another while it decodes has still found this message. */
    if (!right && entry->framing_meddled)
        right =
            find_frame(conn, &entry->codec_before, front, held, &frame) == CODEC_FRAME &&
            is_frame(&frame, front, bytes, len);
    SIM_CHECK(right, "P8: message %s; the peer's bytes are (%d) %s",
              trace_bytes(bytes, len), found, trace_bytes(front, held));
    entry->switched |= conn->framing != conn->service->framing;
    entry->framing_meddled = false;
    const struct part *parts = (const struct part *)(void *)buf_bytes(&entry->peer->parts);
    if (entry->peer->clean && !entry->switched) {
        const struct part *part = &parts[entry->message_count];
        SIM_CHECK(part->at == entry->consumed + frame.head && part->len == len,
                  "P8: message %zu is not the one that the peer sent as such",
                  entry->message_count);
    }
    entry->consumed += frame.total;
    entry->message_count++;
}

static void enter_message(struct conn *conn, const char *bytes, size_t len)
{
    struct sim *sim = sim_of_conn(conn);
    enter(conn, ON_MESSAGE, bytes, len);
    struct entry *entry = entry_of(conn);
    SIM_CHECK(!conn->paused, "P8: a message while paused");
    SIM_CHECK(!entry->eof_told, "P8: a message after on_eof");
    SIM_CHECK(conn_pending(conn) <=
                  conn_option(conn, offsetof(struct conn_options, high_water)),
              "a message while the queue is over high_water");
    SIM_CHECK(!conn->ending, "a message after the end was decided");
    if (entry->is_stream)
        check_message(entry, conn, bytes, len);
    else
        host_delivered(sim, entry->host, bytes, len);
}

static void spy_on_message(struct conn *conn, const char *bytes, size_t len)
{
    struct sim *sim = sim_of_conn(conn);
    const struct entry *entry = entry_of(conn);
    enter_message(conn, bytes, len);
    hook_ops.on_message(conn, bytes, len);
    if (entry->is_stream && entry->stage == STAGE_CONNECTED &&
        sim_sabotages(sim, SABOTAGE_DOUBLE_MESSAGE))
        hook_ops.on_message(conn, bytes, len);
    if (sim->running.depth)
        returned(conn);
}

/* The linker puts it before conn_next_message: see CMakeLists.txt. */
bool __real_conn_next_message(struct conn *conn, const char **bytes, size_t *len);
bool __wrap_conn_next_message(struct conn *conn, const char **bytes, size_t *len);

bool __wrap_conn_next_message(struct conn *conn, const char **bytes, size_t *len)
{
    leave(conn);
    bool is_there = __real_conn_next_message(conn, bytes, len);
    if (is_there)
        enter_message(conn, *bytes, *len);
    return is_there;
}

static void spy_on_eof(struct conn *conn, const char *rest, size_t len)
{
    enter(conn, ON_EOF, len ? rest : "", len);
    struct entry *entry = entry_of(conn);
    const struct sim_wire *wire = entry->peer->wire;
    SIM_CHECK(!entry->eof_told, "P8: on_eof twice");
    entry->eof_told = true;
    SIM_CHECK(
        len == wire->up_read - entry->consumed &&
            (len == 0 || memcmp(rest, buf_bytes(&wire->up) + entry->consumed, len) == 0),
        "P8: on_eof with %zu bytes, %zu are not delivered", len,
        wire->up_read - entry->consumed);
    hook_ops.on_eof(conn, rest, len);
    returned(conn);
}

static void spy_on_idle(struct conn *conn, double seconds)
{
    enter(conn, ON_IDLE, NULL, 0);
    struct entry *entry = entry_of(conn);
    hook_ops.on_idle(conn, seconds);
    entry->kept |= !conn->ending && conn->state == CONN_OPEN;
    returned(conn);
}

static void spy_on_timer(struct conn *conn, const char *name, size_t len)
{
    enter(conn, ON_TIMER, name, len);
    clock_timer_fired(sim_of_conn(conn), entry_of(conn), name, len);
    hook_ops.on_timer(conn, name, len);
    returned(conn);
}

static void spy_on_drain(struct conn *conn)
{
    enter(conn, ON_DRAIN, NULL, 0);
    hook_ops.on_drain(conn);
    returned(conn);
}

static void spy_on_closing(struct conn *conn, enum conn_reason reason, const char *detail)
{
    const char *name = conn_reason_names[reason];
    enter(conn, ON_CLOSING, name, strlen(name));
    SIM_CHECK(reason != REASON_EOF && reason != REASON_CLOSED && reason != REASON_RESET,
              "on_closing for %s, which was not neap's will", name);
    clock_closing(sim_of_conn(conn), entry_of(conn), conn, detail);
    hook_ops.on_closing(conn, reason, detail);
    returned(conn);
}

static void spy_on_disconnect(struct conn *conn, enum conn_reason reason,
                              const char *detail)
{
    struct sim *sim = sim_of_conn(conn);
    const char *name = conn_reason_names[reason];
    enter(conn, ON_DISCONNECT, name, strlen(name));
    struct entry *entry = entry_of(conn);
    SIM_CHECK(reason != REASON_NONE, "on_disconnect without a reason");
    if (entry->is_stream)
        check_lost(sim, entry, conn, detail);
    /* What was kept for it, and what a batch still brings between its end and its going. */
    if (entry->host && (entry->paused || conn->paused))
        sim->may_miss += DGRAM_KEPT_MAX;
    if (entry->host && reason != REASON_IDLE && reason != REASON_LIMIT)
        sim->may_miss += DGRAM_BATCH;
    if (!sim_sabotages(sim, SABOTAGE_NO_DISCONNECT))
        hook_ops.on_disconnect(conn, reason, detail);
    if (sim_sabotages(sim, SABOTAGE_DOUBLE_DISCONNECT))
        hook_ops.on_disconnect(conn, reason, detail);
    entry->stage = STAGE_DISCONNECTED;
    returned(conn);
}

static bool spy_on_wake(struct conn *conn)
{
    struct sim *sim = sim_of_conn(conn);
    struct entry *entry = entry_of(conn);
    SIM_CHECK(entry->waits, "%llu has a waiter, and no hook of it waits",
              (unsigned long long)entry->number);
    SIM_CHECK(sim->running.depth == 0 && sim->reactor->current == conn,
              "P8: woken inside another hook");
    sim->attempt.active = false; /* of a timer that raised */
    sim->running = entry->running;
    sim->running.errors_before = counters_get(&sim->reactor->counters, COUNTER_HOOK_ERRORS);
    trace(" wake %llu?", (unsigned long long)entry->number);
    if (hook_ops.on_wake(conn)) {
        entry->kept = true; /* the idle clock begins anew */
        returned(conn);
        return true;
    }
    sim->running.depth = 0;
    return false;
}

static void spy_on_gone(struct conn *conn)
{
    struct entry *entry = entry_of(conn);
    bool never =
        entry->stage == STAGE_NEW; /* a single datagram, or closed before its hook */
    SIM_CHECK(entry->stage == STAGE_DISCONNECTED || never, "P8: on_gone in stage %d",
              (int)entry->stage);
    SIM_CHECK(!conn_find(conn->reactor, conn->slot), "P9: gone, and its slot finds it");
    entry->stage = STAGE_GONE;
    if (entry->host && entry->host->entry == entry)
        entry->host->entry = NULL;
    trace(" gone %llu", (unsigned long long)entry->number);
    hook_ops.on_gone(conn);
}

static const struct conn_ops spy_ops = {
    .on_connect = spy_on_connect,
    .on_message = spy_on_message,
    .on_eof = spy_on_eof,
    .on_idle = spy_on_idle,
    .on_timer = spy_on_timer,
    .on_drain = spy_on_drain,
    .on_closing = spy_on_closing,
    .on_disconnect = spy_on_disconnect,
    .on_wake = spy_on_wake,
    .on_gone = spy_on_gone,
};

void spy_install(struct version *version)
{
    for (size_t i = 0; i < version->service_count; i++)
        version->services[i].net.ops = &spy_ops;
}
