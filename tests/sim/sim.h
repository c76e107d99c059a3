/* tests/sim/sim.h - one seed: the server's real code, the world around it, what must be true.
 *
 *     sim_world.c   makes both, deals steps, stops the faults, asks that everything settles
 *     sim_peer.c    clients and datagram hosts; what they sent is what must arrive
 *     sim_spy.c     stands between net and script: order and bytes of hooks, bytes of sends
 *     sim_lua.c     the table `sim` of actor.lua: dice, and what the script saw and was told
 *     sim_check.c   what holds between two turns; sim_clock.c: what must not take longer
 *     sim_frame.c   framings, written once more
 *     sim_io.c      the kernel; sim_trace.c: the last steps */
#ifndef NEAP_TESTS_SIM_SIM_H
#define NEAP_TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lua.h>

#include "base/buf.h"
#include "base/list.h"
#include "net/conn.h"
#include "net/listener.h"
#include "net/reactor.h"
#include "script/hook.h"
#include "sim_io.h"
#include "sim_random.h"
#include "sim_trace.h"

struct dgram;
struct log;
struct script_service;
struct source;
struct version;
struct vm;

#define SIM_ENTRIES_MAX 4096 /* connections of one seed, datagram peers included */
#define SIM_HOSTS_MAX 100

/* What a test makes go wrong on purpose, beside enum sim_mutation. */
enum sim_sabotage {
    SABOTAGE_NONE,
    SABOTAGE_DOUBLE_MESSAGE,    /* a message is delivered twice */
    SABOTAGE_NO_DISCONNECT,     /* on_disconnect is not called */
    SABOTAGE_DOUBLE_DISCONNECT, /* ... or twice */
    SABOTAGE_HELD,              /* the sum of buffers is off by one */
    SABOTAGE_SWAPPED_SEND,      /* a send goes out although the answer was no */
    SABOTAGE_STALE_HANDLE,      /* an old handle finds the next one with its slot */
    SABOTAGE_COUNT
};

enum sim_order { ORDER_NONE, ORDER_SHUTDOWN, ORDER_ABORT };

/* Where a connection is in its life, as its hooks tell it. */
enum stage { STAGE_NEW, STAGE_CONNECTED, STAGE_DISCONNECTED, STAGE_GONE };

/* A part of sim_wire.up that the peer wrote as one message. */
struct part {
    size_t at, len;
};

/* What one client of a stream does. */
struct peer {
    struct entry *entry; /* NULL until the server opened it */
    struct sim_wire *wire;
    struct buf parts; /* struct part: its messages, in order */
    struct codec as;  /* what it thinks the framing is */
    unsigned version; /* that served then */
    bool clean;       /* its messages are those that the framing will find */
    bool careful;     /* it writes only when all before was delivered */
    bool stuck;       /* it does not read for now */
    bool mailed;      /* accepted by another worker */
    unsigned talk;    /* messages still to write */
};

/* A conn:after. */
struct sim_timer {
    char name[8];
    bool is_set;
    uint64_t due_ms, turn;
};

/* Something that must not stand still for too long. */
struct sim_watch {
    uint64_t moved_ms,
        since_ms; /* the turn in which it moved; the next, in which it did not */
    bool moved;
    unsigned late_turns;
};

#define DGRAM_KEPT_MAX 16

/* The hook that runs. */
struct running {
    unsigned depth;
    enum hook hook;
    struct conn *conn;
    const char *bytes;
    size_t len;
    unsigned seen_count;
    uint64_t errors_before;
    bool kept;
};

/* One connection by its number: everything that is known about it from outside. */
struct entry {
    uint64_t number, slot;
    enum stage stage;
    bool is_stream, single;
    bool seen;           /* a hook was called, `slot` is known */
    struct peer *peer;   /* of a stream */
    struct host *host;   /* of a datagram peer */
    struct buf accepted; /* all that sends said yes to */
    size_t compared;     /* of it, with what the network took */
    size_t consumed;     /* of sim_wire.up, delivered in messages */
    size_t message_count;
    size_t checked_read; /* up to where it was looked for messages left lying */
    uint64_t checked_state;
    size_t refused; /* bytes of sends that found the peer gone */
    bool switched;  /* its framing was set in mid-stream */
    bool eof_told;
    struct sim_timer timers[5];
    struct sim_watch idle, stuck, partial, ending;
    size_t watched_read, watched_down, watched_consumed;
    int watched_state;
    bool kept;        /* on_idle said "keep" */
    bool held_back;   /* for a moment no message could be delivered */
    bool paused;      /* it once was */
    bool meddled;     /* things were done to it that nobody noted */
    bool waits;       /* one of its hooks does */
    bool idle_waited; /* on_idle did, before it answered */
    struct running running;
    bool framing_meddled; /* the framing may have changed since it was looked for a frame */
    struct codec codec_before;
};

/* A datagram that was sent and is to arrive, either way. */
struct sent {
    struct list node;
    size_t len;
    char bytes[];
};

/* A datagram peer: an address and the local address that it speaks to. */
struct host {
    struct endpoint remote;
    struct in_addr local;
    int socket; /* index in struct sim */
    struct entry *entry;
    struct list asked, answers; /* struct sent */
    unsigned sent_count;
    size_t sent_len, answered_len;
};

/* A method that the script calls: begin .. done. */
struct attempt {
    bool active;
    uint64_t slot;
    struct entry *entry;
    char op[16];
    struct buf payload;
    double seconds; /* of after */
    bool was_gone, was_closed, was_open, was_stream;
    bool queued, taken; /* the queue was asked; it said yes */
    bool disturbed;     /* on_log or a framing did more than it was asked for */
    struct buf wanted;  /* what the queue was given */
    size_t pending_before;
    uint64_t digest;
};

struct sim {
    uint64_t seed;
    struct dice dice;
    struct sim_io io;
    struct reactor *reactor;
    struct vm *vm;
    struct source *source;
    struct version *version;
    struct log *log;
    struct service *streams[2], *packets[2]; /* the second of packets: no sessions */
    struct listener listener;
    bool listening;
    int listener_fd, dgram_fds[2];
    struct dgram *dgrams[2];
    enum sim_order order; /* for the next wake-up */
    bool calm;            /* the faults have stopped */
    bool busy;            /* the last turn wanted another at once */
    bool wildcard;
    bool memory_fails;     /* in this seed allocations of Lua fail */
    unsigned roughness;    /* per mille: peers that end, reset or send rubbish */
    unsigned reloads;      /* per mille */
    unsigned stale_events; /* per mille: readiness that is not there */
    unsigned late_events;  /* per mille: readiness that is dealt in a later turn */
    unsigned clients_wanted, datagrams_left;
    unsigned may_miss; /* datagrams that the server said it dropped, or closed on */
    unsigned missed;
    unsigned max_peers;
    enum sim_sabotage sabotage;
    bool sabotaged;

    uint64_t first_number, entry_count;
    struct entry *entries[SIM_ENTRIES_MAX]; /* by number */
    struct entry *live[SIM_ENTRIES_MAX];    /* those that are not known to be gone */
    size_t live_count;
    struct peer peers[SIM_WIRES_MAX];
    struct host hosts[SIM_HOSTS_MAX];
    size_t host_count;

    struct running running;
    struct attempt attempt;
    struct conn_kind kinds[2]; /* by is_stream: the real one with another queue */
    const struct conn_kind *real_kinds[2];
    uint64_t loaded_turn;   /* in which the version that serves took over */
    uint64_t turn, turn_ms; /* how many turns; when the last one began */
    uint64_t hook_count;    /* calls of hooks */
    size_t wait_count;
    uint64_t progress;   /* what the last turn had come to */
    unsigned idle_turns; /* turns in a row that did nothing and wanted another */
};

static inline struct sim *sim_of_reactor(const struct reactor *reactor)
{
    return reactor->owner;
}

/* True if that option may have changed since it was opened: it has set it for itself, or a later
 * version of the script has. */
static inline bool sim_may_differ(const struct conn *conn, size_t offset)
{
    return conn->own_mask & 1U << offset / sizeof(uint64_t) ||
           conn->version != conn->service->version;
}

/* ---- sim_world.c ---- */

struct sim_plan {
    uint64_t seed;
    bool loud;
    enum sim_mutation mutation;
    enum sim_sabotage sabotage;
};

/* Runs a seed to its end; returns the hash of its trace, and whether what the plan wanted to go
 * wrong has happened (a failure does not return). */
uint64_t sim_run(const struct sim_plan *plan, bool *happened);

struct entry *sim_entry_new(struct sim *sim);
struct entry *sim_entry(struct sim *sim, uint64_t number);
/* By a slot id, live or stale; NULL: never was one. */
struct entry *sim_entry_of_slot(struct sim *sim, uint64_t slot);

/* Once, when something of that kind is to go wrong. */
bool sim_sabotages(struct sim *sim, enum sim_sabotage sabotage);

/* ---- sim_peer.c ---- */

/* A new client, which may already have written something. NULL: none left. */
struct peer *peer_new(struct sim *sim, const struct codec *as);
void peer_act(struct sim *sim, struct peer *peer);
/* It reads all, writes to the end what it began, and its bytes arrive. True: something moved. */
bool peer_calm(struct sim *sim, struct peer *peer);
/* It ends its connection: with a reset, or by closing its sending half. */
void peer_end(struct sim *sim, struct peer *peer, bool reset);
void peer_fini(struct peer *peer);

void hosts_init(struct sim *sim);
void host_act(struct sim *sim, struct host *host);
/* The datagrams that the server has sent reach their hosts and are compared. */
void hosts_take(struct sim *sim);
struct host *host_of(struct sim *sim, struct conn *conn);
/* The server delivers a datagram of that host. */
void host_delivered(struct sim *sim, struct host *host, const char *bytes, size_t len);
/* The server accepts an answer to that host. */
void host_promised(struct host *host, const struct iovec *pieces, size_t count, size_t len);
/* Datagrams that were sent and not delivered. */
size_t hosts_missing(const struct sim *sim);
void hosts_fini(struct sim *sim);

/* ---- sim_spy.c ---- */

/* Puts itself between the services and their hooks. */
void spy_install(struct version *version);

/* ---- sim_lua.c ---- */

/* Makes the global `sim` for scripts that are loaded afterwards. */
void sim_lua_open(struct sim *sim);

/* ---- sim_check.c ---- */

/* Between two callbacks of a turn. */
void check_callback(struct sim *sim);
/* Between two turns; `busy`: the loop wants another one at once. */
void check_turn(struct sim *sim, bool busy);
/* Faults have stopped and nothing moves any more. */
void check_settled(struct sim *sim);
/* And nobody waits to be accepted or received. */
void check_fed(struct sim *sim);
/* All peers have ended. */
void check_empty(struct sim *sim);
/* One stream has ended. */
void check_lost(struct sim *sim, struct entry *entry, const struct conn *conn,
                const char *detail);
/* A number that changes with anything that a method could do to any connection but one. */
uint64_t check_digest(const struct sim *sim);

/* ---- sim_clock.c ---- */

/* The script set a timer, cancelled one (true: it was set), was called by one. */
void clock_timer_set(struct sim *sim, struct entry *entry, double seconds, const char *name,
                     size_t len);
bool clock_timer_cancel(struct entry *entry, const char *name, size_t len);
void clock_timer_fired(struct sim *sim, struct entry *entry, const char *name, size_t len);
/* After a turn: nothing is overdue. */
void clock_check(struct sim *sim, struct entry *entry, const struct conn *conn);
/* on_closing: it was not too early. */
void clock_closing(const struct sim *sim, const struct entry *entry,
                   const struct conn *conn, const char *detail);

/* ---- sim_frame.c ---- */

/* What the framing makes of these bytes: as codec_decode, for every framing. */
int frame_decode(const struct codec *codec, const char *bytes, size_t len,
                 size_t max_message, struct codec_frame *frame);
/* Appends a message as that framing has it, when a peer sends it or the server does; false when
 * it cannot carry that length. */
bool frame_encode(const struct codec *codec, bool from_peer, const char *bytes, size_t len,
                  struct buf *out);
/* A message that the framing can carry and does not cut. */
void frame_message(struct dice *dice, const struct codec *codec, size_t most,
                   struct buf *out);

#endif
