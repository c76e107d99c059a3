/* net/reactor.h - one worker's loop and all that its connections share.
 *
 *     a turn:  readiness, alarm, wake ─> on_turn: ┌ posted, ready: something is due        ┐ until
 *                                                 └ dirty: connections to be flushed       ┘ empty
 *                                                   dead:  connections to be freed
 *
 * What:   the read buffer and the scratch for output, the timer wheel, the slot table of
 *         connections and the lists that a turn ends with. A connection that is idle or keeps
 *         up owns no buffer of its own: it borrows these.
 * Owns:   the loop, the buffers, every connection. Borrows: the io and the ops.
 * Thread: its worker's; reactor_wake from any.
 * Errors: reactor_new answers NULL when memory or descriptors are out. */
#ifndef NEAP_NET_REACTOR_H
#define NEAP_NET_REACTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/slots.h"
#include "base/wheel.h"
#include "net/counters.h"
#include "net/loop.h"

struct conn;
struct dgram_batch;
struct io;
struct reactor;
struct resolver;

/* What one read may bring: a little more than the 64 KiB that many send at once, so that such a
 * read shows by its length that there is no more. */
#define REACTOR_INPUT_LEN 69632U

/* What a reactor tells its worker. */
struct reactor_ops {
    /* After loop_wake. */
    void (*on_wake)(struct reactor *reactor);
    /* Something with a line in counter_rows happened; conn and detail may be NULL. */
    void (*on_notice)(struct reactor *reactor, enum counter counter,
                      const struct conn *conn, const char *detail);
    /* A stream, or what was opened from here, gave its descriptor back (its on_disconnect is still
     * to come). May be NULL. */
    void (*on_closed)(struct reactor *reactor, const struct conn *conn);
    /* The last connection is gone, or there is none when all are to go; at the end of the turn,
     * when its memory is free. May be NULL. */
    void (*on_empty)(struct reactor *reactor);
};

/* Something to do before the loop blocks, outside of every hook. */
struct post {
    struct list node;
    void (*run)(struct post *post);
};

/* What one connection may do before others have their turn. */
struct turn {
    unsigned left; /* events that it may still deliver */
    uint64_t started_ms;
};

struct reactor {
    const struct reactor_ops *ops;
    void *owner;
    struct io *io;
    struct loop *loop;
    struct wheel wheel;
    uint64_t alarm_ms; /* what the loop's alarm is set to */
    struct slots conns;
    struct list posted, ready, dirty, stalled, dead;
    struct wheel_timer stall;
    struct conn *current;  /* whose hook runs now; its output gathers in scratch */
    struct conn *decoding; /* whose input a framing of the layer above looks at */
    struct turn turn;      /* of `current` */
    bool slow;     /* a hook took long: others are to have their turn, the clock is old */
    bool stopping; /* conn_shutdown_all was called */
    bool aborted;  /* conn_abort_all was */
    char *input;   /* REACTOR_INPUT_LEN bytes, used within one callback */
    size_t lead;   /* bytes that come before them in their memory; one follows */
    struct buf scratch;
    struct dgram_batch *datagrams; /* made at the first datagram socket */
    struct resolver *resolver;     /* made at the first lookup */
    size_t buffered;               /* bytes of memory that connections hold in buffers */
    size_t max_buffered;
    uint32_t peer_count, max_peers;
    uint32_t single_count; /* datagrams without sessions whose hooks have not returned */
    struct list peers_once, peers_heard; /* datagram peers, least recently heard first */
    struct counters counters;
};

struct reactor *reactor_new(struct io *io, const struct reactor_ops *ops, void *owner);
/* All connections must be gone. */
void reactor_free(struct reactor *reactor);

uint64_t reactor_now_ms(const struct reactor *reactor);

/* Counts `by` more, and tells the worker when the counter has a log line. */
void reactor_count(struct reactor *reactor, enum counter counter, uint64_t by,
                   const struct conn *conn, const char *detail);

/* Makes room before the input, for who will have its memory. 0 or -ENOMEM. Between callbacks. */
MUST_CHECK int reactor_set_lead(struct reactor *reactor, size_t lead);

/* Has it run before the loop blocks; once, however often it is asked. list_remove takes it back. */
void reactor_post(struct reactor *reactor, struct post *post);

/* Has conn_pump called for it before the loop blocks; once, however often it is asked. */
void reactor_make_ready(struct reactor *reactor, struct conn *conn);

/* The rest is for conn.c, stream.c and dgram.c. */

/* Has its output flushed before the loop blocks. */
void reactor_make_dirty(struct reactor *reactor, struct conn *conn);
/* The system is out of buffers, and poll would say writable at once: it is dirty again after 10 ms,
 * and conn->stalled until then. */
void reactor_stall(struct reactor *reactor, struct conn *conn);
/* Frees it at the end of the turn. */
void reactor_bury(struct reactor *reactor, struct conn *conn);
/* Gives the memory of the input away, as malloc gave it: another takes its place. NULL: out of
 * memory, nothing has changed. */
char *reactor_give_input(struct reactor *reactor);
/* Counts a change of the memory held by a connection's buffers. */
void reactor_hold(struct reactor *reactor, size_t *held, size_t now_held);

#endif
