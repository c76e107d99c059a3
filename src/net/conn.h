/* net/conn.h - a connection, of whatever kind: the order of its life and of its events.
 *
 *     OPEN ──close──> FLUSHING ──sent──> LINGERING ──peer closed, linger over──> CLOSED
 *       └──abort, reset, send_timeout, full ────────────────────────────────────────┘
 *
 *     on_connect? ─> on_message, on_timer, on_drain, on_idle ... ─> on_eof? ─> on_closing?
 *                                                        ─> on_disconnect ─> freed after the turn
 *
 * What:   decides which hook is due next and calls it, one at a time: an event that a hook
 *         causes waits until that hook has returned. Streams (stream.h) and datagram peers
 *         (dgram.h) are the kinds behind struct conn_kind.
 * Owns:   its timers, its detail text. Borrows: the service, the reactor.
 * Thread: its reactor's.
 * Life:   stream_open() or the first datagram .. on_disconnect; memory goes at the end of that
 *         turn. Handles that scripts hold are ids of the reactor's slot table, never pointers.
 * Errors: 0 or a negative errno; nothing is logged here, limits go to reactor_count. */
#ifndef NEAP_NET_CONN_H
#define NEAP_NET_CONN_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/list.h"
#include "base/slots.h"
#include "base/wheel.h"
#include "codec/codec.h"
#include "net/addr.h"

struct conn;
struct conn_kind;
struct conn_want;
struct reactor;

enum conn_state { CONN_OPEN, CONN_FLUSHING, CONN_LINGERING, CONN_CLOSED };

enum conn_reason {
    REASON_NONE,
    REASON_EOF,
    REASON_CLOSED,
    REASON_RESET,
    REASON_IDLE,
    REASON_TIMEOUT,
    REASON_ERROR,
    REASON_MALFORMED,
    REASON_OVERSIZE,
    REASON_FULL,
    REASON_LIMIT,
    REASON_SHUTDOWN,
    REASON_KICKED,
    REASON_COUNT
};

extern const char *const conn_reason_names[REASON_COUNT];

enum conn_overflow { OVERFLOW_CLOSE, OVERFLOW_DROP };

#define CONN_IDLE_DEFAULT UINT64_MAX /* streams: none; datagram peers: 30 s */
#define CONN_DETAIL_MAX 512          /* bytes of a detail text that are kept */

/* Options of a service that a connection may set for itself. Times in ms, 0 is none. */
struct conn_options {
    uint64_t idle_timeout_ms, message_timeout_ms, send_timeout_ms, linger_ms;
    uint64_t max_message, max_read, high_water, max_output;
    uint64_t overflow; /* enum conn_overflow */
};

extern const struct conn_options conn_options_default;

/* A framing that a connection switched to, counted. */
struct framing {
    struct codec codec;
    unsigned refs;
    void (*free)(struct framing *framing);
};

void framing_ref(struct framing *framing);
void framing_unref(struct framing *framing); /* NULL is allowed */

/* Which optional hooks a service has. */
enum conn_hook {
    HOOK_EOF = 1 << 0,
    HOOK_IDLE = 1 << 1,
    HOOK_DRAIN = 1 << 2,
    HOOK_CLOSING = 1 << 3,
    HOOK_CONNECT = 1 << 4,
    HOOK_MESSAGE = 1 << 5,
    HOOK_SESSION = 1 << 6,
};

/* The hooks, as the layer above gives them. Each may send, close and abort any connection; none
 * may free one. They are called in the order shown above, never nested. One that wants to wait
 * sets conn->waiter: nothing else is called from then on but on_wake, until it is NULL again. */
struct conn_ops {
    void (*on_connect)(struct conn *conn);
    void (*on_message)(struct conn *conn, const char *bytes, size_t len);
    /* Instead of on_message, on_eof, on_idle and on_drain: it waits for what comes. Again whenever
     * it has returned and the connection is open. */
    void (*on_session)(struct conn *conn, bool resumed);
    void (*on_eof)(struct conn *conn, const char *rest, size_t len);
    void (*on_idle)(struct conn *conn, double seconds); /* conn_answer_idle follows */
    void (*on_timer)(struct conn *conn, const char *name, size_t len);
    void (*on_drain)(struct conn *conn);
    void (*on_closing)(struct conn *conn, enum conn_reason reason, const char *detail);
    /* Exactly once for each on_connect, or where there was none to call; last of all. */
    void (*on_disconnect)(struct conn *conn, enum conn_reason reason, const char *detail);
    /* No hook: something has happened while a hook waits. True: the hook went on. */
    bool (*on_wake)(struct conn *conn);
    /* No hook: the reader or flusher, which is not this connection's own hook, is to look. */
    void (*on_watched)(struct conn *conn);
    /* No hook: its handle has gone stale, what is kept for it can be dropped. Once for each. */
    void (*on_gone)(struct conn *conn);
};

/* What connections of one service have in common. The layer above may fill in another content
 * between two turns: it holds for all of them at once, but for the framing, which a connection
 * takes along from when it was opened. */
struct service {
    const char *name;
    unsigned hooks; /* enum conn_hook */
    const struct conn_ops *ops;
    void *script;     /* the layer above's */
    unsigned version; /* its number, which connections are opened under */
    struct framing *framing;
    struct conn_options options;
    bool sessions, reply_limit;
    bool pulled;          /* nothing that comes is given to a hook: it is read */
    uint32_t max_waiting; /* without sessions: hooks that wait at once, in a worker */
    uint32_t users;       /* connections and sockets that point at it */
};

struct conn {
    uint64_t slot; /* its id in reactor->conns, what handles carry; see conn_number */
    const struct conn_kind *kind;
    struct reactor *reactor;
    struct service *service;
    const struct conn_options *options; /* that hold for it: its service's, or `own` */
    struct conn_options *own; /* all of them, when it has set some for itself; else NULL */
    uint32_t own_mask;        /* which it has set, by position in struct conn_options */
    int data_ref;             /* the layer above's: conn.data */
    void *waiter;             /* the layer above's: the hook that waits, or NULL */
    void *reader;             /* who waits for its input: the same hook, or another's */
    void *flusher;            /* who waits for its output to be sent */
    void *children;           /* the layer above's: what ends with it, or NULL */
    struct conn *pipe;        /* where its input goes, and whose input comes here */
    struct framing *framing;  /* the service's when it was opened, or set since */
    unsigned version;         /* of the service, when it was opened */

    struct list ready_node, dirty_node;
    struct list timers; /* struct conn_timer */
    struct wheel_timer clock;
    uint64_t active_ms; /* last byte received, or taken by the peer */
    uint64_t
        message_ms; /* when the unfinished message began; 0: there is none. After the peer's
                             end: when it was last looked at; after close: when that was */
    uint64_t progress_ms; /* when the peer last took output, or the queue or linger began */

    uint64_t opened_ms;
    uint64_t received, sent;
    char *detail;
    size_t held; /* memory in its buffers, as counted by reactor_hold */

    uint8_t state;  /* enum conn_state */
    uint8_t reason; /* enum conn_reason; set once, by what ends it first */
    uint8_t transport;
    bool connect_due, connected; /* on_connect is still to be called; was called */
    bool ending;                 /* neap is about to close it: on_closing is due */
    bool closing_told;           /* on_closing was called */
    bool idle_due, drain_due;
    bool want_drain; /* send said "full" */
    bool eof, eof_done;
    bool paused;
    bool disconnected; /* on_disconnect was called */
    bool write_shut;   /* the sending half is closed, or will be once all is flushed */
    bool reset_wanted; /* closing it resets it */
    bool stalled;      /* the system has no buffers: see reactor_stall */
    bool framing_changed;
    bool has_message; /* one is being delivered */
    bool reading;     /* somebody looks into its input right now */
    bool session_begun;
    bool outbound; /* opened from here */
    bool follows;  /* it ends with the connection that it was opened for */
    bool held_up;  /* piped, and not read until the other has sent */
    bool backlog;  /* it had its turn, and more is due: nothing is read meanwhile */

    struct sockaddr_in6 peer; /* or a sockaddr_in; family 0 for Unix sockets */
};

/* The running number over all workers, never reused: what people see. */
static inline uint64_t conn_number(const struct conn *conn)
{
    return slots_generation(conn->slot);
}

#define CONN_PIECES_MAX 16

struct conn_message {
    /* From 1 on; the first and the one behind the last are for what the framing adds. */
    struct iovec pieces[1 + CONN_PIECES_MAX + 1];
    size_t count;
    size_t len; /* of all pieces */
};

/* Queue one message under the connection's framing (send) or bytes as they are (write); copied.
 * 0; 1 when the queue is over high_water now (on_drain follows); -EPIPE (closing or gone),
 * -ENOBUFS (over max_output, nothing queued; with OVERFLOW_CLOSE the connection ends),
 * -EMSGSIZE (the framing cannot carry that length), -ENOMEM. Calls no hook. */
MUST_CHECK int conn_send(struct conn *conn, struct conn_message *message);
MUST_CHECK int conn_send_one(struct conn *conn, const char *bytes, size_t len);
MUST_CHECK int conn_write(struct conn *conn, const struct conn_message *message);

/* Flush, close the sending side, discard what still comes, at most for `linger`. The first
 * reason stays; detail may be NULL. Calls no hook. */
void conn_close(struct conn *conn, enum conn_reason reason, const char *detail);

/* The same, by neap's own will: on_closing comes first and may send a last message. */
void conn_end(struct conn *conn, enum conn_reason reason, const char *detail);

/* Now, with a reset where the transport has one; queued output is dropped. Calls no hook. */
void conn_abort(struct conn *conn, enum conn_reason reason, const char *detail);

/* Close the sending half once all is flushed; -EOPNOTSUPP for datagrams. */
MUST_CHECK int conn_shutdown(struct conn *conn);

void conn_pause(struct conn *conn);
void conn_resume(struct conn *conn);

/* on_timer(name) once, after so many milliseconds; the same name sets it anew. */
MUST_CHECK int conn_after(struct conn *conn, uint64_t after_ms, const char *name,
                          size_t len);
/* True if there was such a timer. */
bool conn_cancel(struct conn *conn, const char *name, size_t len);

/* Bytes queued and not yet taken by the kernel. */
size_t conn_pending(const struct conn *conn);

bool conn_is_open(const struct conn *conn);
bool conn_is_stream(const struct conn *conn);

/* The value of an option (a position in struct conn_options, as offsetof gives it) for this
 * connection, and setting it for this connection alone. Setting: 0 or -ENOMEM. */
uint64_t conn_option(const struct conn *conn, size_t offset);
MUST_CHECK int conn_set_option(struct conn *conn, size_t offset, uint64_t value);
/* Its service's options are others now. Calls no hook. */
void conn_options_changed(struct conn *conn);
/* It is of another service from now on, whose hooks and options hold; conn_options_changed is
 * still to be called. */
void conn_move(struct conn *conn, struct service *service);

/* Takes effect with the byte after the current message; takes over one reference. 0 or
 * -EOPNOTSUPP for datagrams (the reference is then not taken). */
MUST_CHECK int conn_set_framing(struct conn *conn, struct framing *framing);
const struct framing *conn_framing(const struct conn *conn);

/* Socket options of its descriptor; -EOPNOTSUPP for datagram peers, which share one. */
MUST_CHECK int conn_get_socket_option(struct conn *conn, int level, int name, void *value,
                                      socklen_t *len);
MUST_CHECK int conn_set_socket_option(struct conn *conn, int level, int name,
                                      const void *value, socklen_t len);

/* "127.0.0.1:51512"; the path of a Unix peer or "". */
void conn_peer(const struct conn *conn, struct endpoint *out);
void conn_local(struct conn *conn, struct endpoint *out);

/* A connection of that slot id, or NULL when it is gone. */
struct conn *conn_find(struct reactor *reactor, uint64_t slot);

/* Ends every connection (reason shutdown): what has no output is gone at once. */
void conn_shutdown_all(struct reactor *reactor);
/* Aborts every connection; output that is lost is counted. */
void conn_abort_all(struct reactor *reactor);

/* ---- For the kinds and the reactor ---- */

struct conn_kind {
    bool is_stream;
    /* The next message to deliver, in place; false when there is none now. May end the
     * connection (malformed, oversize). */
    bool (*next_message)(struct conn *conn, const char **bytes, size_t *len);
    /* The same for conn_read, except for what conn_read itself knows. NULL: only messages. */
    int (*read)(struct conn *conn, const struct conn_want *want, const char **bytes,
                size_t *len);
    /* The message has been delivered; forget it. */
    void (*message_done)(struct conn *conn);
    /* See conn_give_input. NULL: never. */
    char *(*give_input)(struct conn *conn, const char *bytes, size_t len);
    /* Sends its input to another, as it is; what that does not take now is queued there. True: all
     * of it. NULL: never. */
    bool (*relay)(struct conn *conn, struct conn *to);
    /* What is left of the input at its end, as the next message that is done. */
    void (*rest)(struct conn *conn, const char **bytes, size_t *len);
    /* Queues `len` bytes in pieces; 0 or -errno. The limits were checked. */
    int (*queue)(struct conn *conn, const struct iovec *pieces, size_t count, size_t len);
    /* Sends what is queued as far as it goes, and steps on with closing. */
    void (*flush)(struct conn *conn);
    /* After hooks ran: flush, keep what was not consumed, watch what is wanted. */
    void (*settle)(struct conn *conn);
    size_t (*pending)(const struct conn *conn);
    int (*shutdown)(struct conn *conn);
    /* Gives the descriptor or the place in a table back; called once, at CLOSED. */
    void (*release)(struct conn *conn, bool reset);
    void (*local)(struct conn *conn, struct endpoint *out);
    void (*peer)(const struct conn *conn, struct endpoint *out);
    int (*fd)(const struct conn *conn); /* -1: it has none of its own */
    void (*free)(struct conn *conn);
};

/* Fills in the common part and gives it a slot. 0, -ENOMEM or -ENFILE. */
MUST_CHECK int conn_init(struct conn *conn, const struct conn_kind *kind,
                         struct reactor *reactor, struct service *service, uint64_t number);

/* It was opened from here: on_connect is due, if it has hooks. */
void conn_set_outbound(struct conn *conn);

/* For on_message: done with the message it was given. True: here is the next, as if on_message
 * had been called again; false: on_message is to return. */
bool conn_next_message(struct conn *conn, const char **bytes, size_t *len);

/* For on_message: gives away the memory that its bytes have to themselves, as malloc gave it: they
 * are its content from reactor->lead on, and one byte follows. NULL: there is no such memory. */
char *conn_give_input(struct conn *conn, const char *bytes, size_t len);

/* A hook begins to wait, or has returned (NULL). */
void conn_set_waiter(struct conn *conn, void *waiter);
/* Who waits for its input, one at a time, and then the connection may be idle; or for its output
 * to be sent. NULL: nobody does any more. */
void conn_set_reader(struct conn *conn, void *reader);
void conn_set_flusher(struct conn *conn, void *flusher);

/* What a hook wants to read. */
struct conn_want {
    const struct codec *codec; /* under this framing; NULL: the connection's */
    uint64_t max;              /* of a message under `codec`, or of all */
    bool all;                  /* until the peer's end */
};

/* The next conn_read is for something new. */
void conn_begin_read(struct conn *conn);

/* For a hook: looks for the next message in the input itself. 1: here it is, until the next event
 * or read; 0: not yet; -ENODATA: nothing whole comes any more; -EPIPE: the connection is closed, or
 * about to be; -EMSGSIZE, -EBADMSG: there is no such message (under its own framing the connection
 * is ended for it); -EOPNOTSUPP: a datagram is always whole. */
int conn_read(struct conn *conn, const struct conn_want *want, const char **bytes,
              size_t *len);

/* What conn_read has found is taken, and its bytes are gone. */
void conn_take(struct conn *conn);

/* What on_idle came to: keep it open, or end it. */
void conn_answer_idle(struct conn *conn, bool keep);

/* Calls every hook that is due, then settles. Not from inside a hook. */
void conn_pump(struct conn *conn);

/* The only place where the state changes. */
void conn_set_state(struct conn *conn, enum conn_state state);

/* True when somebody wants its input: a reader, or the hooks, if it is not paused and none waits. */
bool conn_is_wanted(const struct conn *conn);
/* True when a message may be delivered: it is wanted, and the output not over high_water. */
bool conn_may_deliver(const struct conn *conn);

/* Over high_water: no message until on_drain. */
void conn_hold_back(struct conn *conn);

/* Notes that the queue fell below the low mark, if somebody waits for that. */
void conn_check_drain(struct conn *conn);

/* Closed, with whatever is queued: that is counted as lost, and said in the detail. */
void conn_die(struct conn *conn);

/* 0: none. */
uint64_t conn_idle_timeout_ms(const struct conn *conn);

/* Sets the clock to the earliest deadline that runs. Cheap when that only moved on. */
void conn_arm(struct conn *conn);

/* Its memory, at the end of the turn. */
void conn_free(struct conn *conn);

#endif
