/* tests/sim/sim_check.c - what must hold between two callbacks, between two turns, at the end. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/loop_sim.h"
#include "script/version.h"
#include "sim.h"

/* Turns in a row that want another one and do nothing: moving a far timer down its levels takes
 * a few. */
#define IDLE_TURNS_MAX 24

#define OPTION(conn, name) conn_option(conn, offsetof(struct conn_options, name))

/* ---- Between two callbacks ---- */

void check_callback(struct sim *sim)
{
    const struct reactor *reactor = sim->reactor;
    SIM_CHECK(!reactor->current, "a current connection is left set");
    SIM_CHECK(buf_len(&reactor->scratch) == 0, "%zu bytes are left in the scratch",
              buf_len(&reactor->scratch));
    SIM_CHECK(sim->running.depth == 0, "a hook is left running");
}

/* ---- One connection ---- */

static const char *held_bytes(const struct entry *entry, size_t *len)
{
    const struct sim_wire *wire = entry->peer->wire;
    *len = wire->up_read - entry->consumed;
    return buf_bytes(&wire->up) + entry->consumed;
}

/* P8: a whole message does not lie about when it may be delivered. Over high_water it may wait
 * until the queue is below half of that. */
static void check_delivered(struct sim *sim, struct entry *entry, const struct conn *conn)
{
    const struct sim_wire *wire = entry->peer->wire;
    if (conn->state != CONN_OPEN || conn->ending || !conn_may_deliver(conn) ||
        !list_is_empty(&conn->ready_node) || conn_pending(conn) > 0 || conn->eof_done)
        return;
    SIM_CHECK(!conn->eof, "P8: nobody tells connection %llu of its end",
              (unsigned long long)entry->number);
    uint64_t max_message = OPTION(conn, max_message);
    uint64_t state =
        (uint64_t)(uintptr_t)conn->framing ^ max_message ^ entry->consumed << 20;
    if (entry->checked_read == wire->up_read && entry->checked_state == state)
        return;
    entry->checked_read = wire->up_read;
    entry->checked_state = state;
    size_t len;
    const char *bytes = held_bytes(entry, &len);
    struct codec_frame frame = {0};
    int found = frame_decode(&conn_framing(conn)->codec, bytes, len, max_message, &frame);
    /* A limit that came down holds for the next message, if this one has begun. */
    bool begun = found == -EMSGSIZE &&
                 sim_may_differ(conn, offsetof(struct conn_options, max_message));
    SIM_CHECK(found == CODEC_MORE || begun, "P8: connection %llu lets lie (%d): %s",
              (unsigned long long)entry->number, found, trace_bytes(bytes, len));
    (void)sim;
}

/* P10: what the network got is what the sends said yes to. */
static void check_wire(struct entry *entry)
{
    const struct sim_wire *wire = entry->peer->wire;
    size_t down = buf_len(&wire->down), accepted = buf_len(&entry->accepted);
    SIM_CHECK(down <= accepted, "P10: connection %llu sent %zu bytes, accepted were %zu",
              (unsigned long long)entry->number, down, accepted);
    size_t from = entry->compared, len = down - from;
    if (len == 0)
        return;
    const char *got = buf_bytes(&wire->down) + from;
    const char *wanted = buf_bytes(&entry->accepted) + from;
    for (size_t i = 0; i < len; i++)
        SIM_CHECK(got[i] == wanted[i],
                  "P10: connection %llu, byte %zu: sent %s, accepted %s",
                  (unsigned long long)entry->number, from + i,
                  trace_bytes(got + i, len - i), trace_bytes(wanted + i, len - i));
    entry->compared = down;
}

static void check_stream(struct sim *sim, struct entry *entry, const struct conn *conn)
{
    const struct sim_wire *wire = entry->peer->wire;
    size_t left = buf_len(&entry->accepted) - buf_len(&wire->down);
    if (conn->state != CONN_CLOSED) {
        SIM_CHECK(
            conn_pending(conn) == left,
            "P10: connection %llu has %zu bytes pending, %zu of the accepted are not sent",
            (unsigned long long)entry->number, conn_pending(conn), left);
        SIM_CHECK(conn->held >= conn_pending(conn), "held %zu, pending %zu", conn->held,
                  conn_pending(conn));
        SIM_CHECK(conn->kind->fd(conn) == wire->fd, "the descriptor changed");
    }
    SIM_CHECK(conn->sent == buf_len(&wire->down), "sent says %llu, it was %zu",
              (unsigned long long)conn->sent, buf_len(&wire->down));
    if (conn->state == CONN_OPEN)
        SIM_CHECK(conn->received == wire->up_read, "received says %llu, it was %zu",
                  (unsigned long long)conn->received, wire->up_read);
    check_delivered(sim, entry, conn);
}

void check_lost(struct sim *sim, struct entry *entry, const struct conn *conn,
                const char *detail)
{
    const struct sim_wire *wire = entry->peer->wire;
    size_t lost = buf_len(&entry->accepted) - buf_len(&wire->down);
    static const char mark[] = " bytes not delivered";
    const char *at = detail ? strstr(detail, mark) : NULL;
    size_t told = 0;
    if (at) {
        while (at > detail && at[-1] >= '0' && at[-1] <= '9')
            at--;
        told = strtoull(at, NULL, 10);
    }
    SIM_CHECK(told >= lost && told <= lost + entry->refused,
              "P11: %zu accepted bytes were lost, told were %zu (%s, %s)", lost, told,
              conn_reason_names[conn->reason], detail ? detail : "-");
    (void)sim;
}

/* ---- All ---- */

static void check_memory(const struct sim *sim)
{
    const struct reactor *reactor = sim->reactor;
    size_t held = 0, peers = 0;
    uint32_t cursor = 0;
    const struct conn *conn;
    while ((conn = slots_next(&reactor->conns, &cursor))) {
        held += conn->held;
        peers +=
            !conn_is_stream(conn) && conn->state != CONN_CLOSED && conn->service->sessions;
    }
    SIM_CHECK(reactor->buffered == held, "P2: buffered says %zu, connections hold %zu",
              reactor->buffered, held);
    SIM_CHECK(reactor->peer_count == peers, "peer_count says %u, there are %zu",
              reactor->peer_count, peers);
    SIM_CHECK(reactor->peer_count <= reactor->max_peers, "P2: %u peers, max_peers is %u",
              reactor->peer_count, reactor->max_peers);
}

static void check_entry(struct sim *sim, struct entry *entry)
{
    if (entry->is_stream)
        check_wire(entry);
    if (!entry->seen || entry->stage == STAGE_GONE)
        return;
    const struct conn *conn = conn_find(sim->reactor, entry->slot);
    SIM_CHECK(conn, "connection %llu is gone without on_disconnect",
              (unsigned long long)entry->number);
    SIM_CHECK(conn_number(conn) == entry->number, "P9: the slot of %llu finds %llu",
              (unsigned long long)entry->number, (unsigned long long)conn_number(conn));
    entry->paused |= conn->paused;
    if (entry->is_stream)
        check_stream(sim, entry, conn);
    clock_check(sim, entry, conn);
}

static void check_entries(struct sim *sim)
{
    size_t kept = 0;
    for (size_t i = 0; i < sim->live_count; i++) {
        struct entry *entry = sim->live[i];
        check_entry(sim, entry);
        if (entry->stage != STAGE_GONE)
            sim->live[kept++] = entry;
    }
    sim->live_count = kept;
    SIM_CHECK(kept == sim->reactor->conns.count, "%zu connections are known, %u are there",
              kept, sim->reactor->conns.count);
}

/* A loop that comes back at once, again and again, and does nothing: a core for itself. */
static void check_spinning(struct sim *sim, bool busy)
{
    const struct reactor *reactor = sim->reactor;
    uint64_t progress = sim->hook_count + sim->io.moved;
    SIM_CHECK(progress != sim->progress || reactor->buffered <= reactor->max_buffered,
              "P2: %zu bytes buffered, max_buffered is %zu", reactor->buffered,
              reactor->max_buffered);
    uint64_t alarm_ms = loop_sim_alarm_ms(sim->reactor->loop);
    bool again = busy || alarm_ms <= reactor_now_ms(sim->reactor);
    if (!again || progress != sim->progress)
        sim->idle_turns = 0;
    else
        sim->idle_turns++;
    sim->progress = progress;
    SIM_CHECK(sim->idle_turns < IDLE_TURNS_MAX, "the loop spins: %s",
              busy ? "on_turn says that there is more to do" : "the alarm is always due");
}

void check_turn(struct sim *sim, bool busy)
{
    const struct reactor *reactor = sim->reactor;
    check_callback(sim);
    SIM_CHECK(list_is_empty(&reactor->dead), "the dead are not freed");
    SIM_CHECK(busy == (!list_is_empty(&reactor->ready) || !list_is_empty(&reactor->dirty)),
              "on_turn says %d", busy);
    uint64_t next_ms = wheel_next_ms(&reactor->wheel);
    SIM_CHECK(loop_sim_alarm_ms(reactor->loop) == next_ms,
              "the alarm is at %llu, the wheel's next at %llu",
              (unsigned long long)loop_sim_alarm_ms(reactor->loop),
              (unsigned long long)next_ms);
    hosts_take(sim);
    SIM_CHECK(sim->missed <= sim->may_miss, "%u datagrams are missing, told were %u",
              sim->missed, sim->may_miss);
    check_entries(sim);
    check_memory(sim);
    check_spinning(sim, busy);
}

uint64_t check_digest(const struct sim *sim)
{
    uint64_t hash = sim->reactor->conns.count;
    uint32_t cursor = 0;
    const struct conn *conn;
    while ((conn = slots_next(&sim->reactor->conns, &cursor))) {
        const uint64_t parts[] = {
            conn->slot,
            conn->state,
            conn->reason,
            (uint64_t)conn->paused << 4 | (uint64_t)conn->write_shut << 3 |
                (uint64_t)conn->ending << 2 | (uint64_t)conn->reset_wanted << 1 |
                (uint64_t)conn->want_drain,
            conn_pending(conn),
            conn->own_mask,
            (uint64_t)(uintptr_t)conn->framing,
            (uint64_t)(uintptr_t)conn->timers.prev,
            (uint64_t)conn->data_ref,
        };
        for (size_t i = 0; i < ARRAY_LEN(parts); i++)
            hash = (hash ^ parts[i]) * 0x100000001b3U;
    }
    return hash;
}

/* ---- The end ---- */

/* Nothing hinders anybody: so everything that was accepted has gone out, and what waits for the
 * peer waits for its end only. */
void check_settled(struct sim *sim)
{
    for (uint64_t i = 0; i < sim->entry_count; i++) {
        const struct entry *entry = sim->entries[i];
        if (!entry->is_stream || entry->stage == STAGE_GONE)
            continue;
        const struct conn *conn = conn_find(sim->reactor, entry->slot);
        const struct sim_wire *wire = entry->peer->wire;
        SIM_CHECK(conn->state == CONN_OPEN || conn->state == CONN_LINGERING,
                  "connection %llu settles in state %d", (unsigned long long)entry->number,
                  conn->state);
        SIM_CHECK(conn_pending(conn) == 0,
                  "connection %llu keeps %zu bytes for a peer that reads",
                  (unsigned long long)entry->number, conn_pending(conn));
        SIM_CHECK(conn->state != CONN_LINGERING || wire->down_fin,
                  "connection %llu lingers, but did not shut",
                  (unsigned long long)entry->number);
        if (conn->waiter)
            continue;
        SIM_CHECK(conn->state != CONN_OPEN || conn->paused ||
                      wire->up_read == wire->up_arrived,
                  "connection %llu does not read", (unsigned long long)entry->number);
        SIM_CHECK(!conn->drain_due && !conn->idle_due && !conn->ending &&
                      !conn->connect_due,
                  "connection %llu has an event that nobody delivers",
                  (unsigned long long)entry->number);
    }
}

void check_fed(struct sim *sim)
{
    unsigned waiting = sim_ready(&sim->io, sim->listener_fd);
    SIM_CHECK(waiting == LOOP_NONE, "nobody accepts those who wait");
    for (size_t i = 0; i < ARRAY_LEN(sim->dgram_fds); i++)
        SIM_CHECK(!(sim_ready(&sim->io, sim->dgram_fds[i]) & LOOP_READ),
                  "nobody receives datagrams");
    size_t missing = sim->missed + hosts_missing(sim), kept = 0;
    uint32_t cursor = 0;
    const struct conn *conn;
    while ((conn = slots_next(&sim->reactor->conns, &cursor)))
        kept += !conn_is_stream(conn) && conn->waiter ? DGRAM_KEPT_MAX : 0;
    SIM_CHECK(missing <= sim->may_miss + kept, "%zu datagrams are missing, told were %u",
              missing, sim->may_miss);
}

void check_empty(struct sim *sim)
{
    const struct reactor *reactor = sim->reactor;
    for (uint64_t i = 0; i < sim->entry_count; i++) {
        const struct entry *entry = sim->entries[i];
        SIM_CHECK(entry->stage == STAGE_GONE || !entry->seen,
                  "connection %llu is still there, in stage %d",
                  (unsigned long long)entry->number, (int)entry->stage);
        SIM_CHECK(entry->seen || !entry->peer, "connection %llu never had a hook",
                  (unsigned long long)entry->number);
    }
    SIM_CHECK(reactor->conns.count == 0, "%u connections are left", reactor->conns.count);
    SIM_CHECK(reactor->buffered == 0, "%zu bytes are left buffered", reactor->buffered);
    SIM_CHECK(reactor->peer_count == 0, "%u peers are left", reactor->peer_count);
    SIM_CHECK(list_is_empty(&reactor->ready) && list_is_empty(&reactor->dirty) &&
                  list_is_empty(&reactor->dead),
              "a list of the reactor is not empty");
}
