/* tests/unit/net_fixture.h - a reactor over the real loop and the kernel, for tests of net.
 *
 *     test ─ peer's descriptor ─> kernel ─> net.io (counts, can fail) ─> reactor ─> net.trace
 *
 * What:   what happens to connections is written to net.trace, "connect message(hi) eof()";
 *         a test waits for a piece of it and never sleeps. The clock stands still but for
 *         net_advance.
 * Thread: one. Life: net_setup() .. net_teardown(), as a checked fixture. */
#ifndef NEAP_TEST_NET_FIXTURE_H
#define NEAP_TEST_NET_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/io.h"
#include "net/conn.h"
#include "net/dgram.h"
#include "net/reactor.h"

/* The next `count` calls answer with `error` (negative); UINT32_MAX: all of them. */
struct net_fault {
    int error;
    uint32_t count;
};

struct net {
    struct io io;
    struct reactor *reactor;
    struct service service;
    struct framing framing;
    uint64_t clock_ms;
    uint64_t numbers;   /* given to connections so far */
    struct conn *last;  /* that connected last */
    char trace[16384];  /* what happened */
    bool trace_numbers; /* "1:message(hi)" */

    uint32_t recvs, sends, recv_manys, send_manys, accepts;
    size_t send_max; /* what one send takes at most; 0: as the kernel */
    struct net_fault send_fault, accept_fault, reserve_fault, send_many_fault;

    void (*on_connect)(struct conn *conn);
    void (*on_message)(struct conn *conn, const char *bytes, size_t len);
    void (*on_eof)(struct conn *conn);
    void (*on_drain)(struct conn *conn);
    void (*on_timer)(struct conn *conn);
    void (*on_closing)(struct conn *conn);
    bool keep_idle;
};

extern struct net net;

void net_setup(void);
/* Aborts what still lives, and lets it go. */
void net_teardown(void);

/* A framing for all connections that are opened afterwards. */
void net_frame_lines(void);

/* So many turns of the loop. */
void net_turns(unsigned count);

/* Turns until the trace has that text; fails the test after a while. */
void net_await(const char *text);

/* Lets so much time pass, and the timers that are due run. */
void net_advance(uint64_t ms);

bool net_traced(const char *text);
uint64_t net_counter(enum counter counter);
uint64_t net_number(struct reactor *reactor);
extern const struct dgram_ops net_dgram_ops;

/* Connected stream sockets; the first, of the kind asked for, becomes a connection and the other
 * is returned: it does not block. */
int net_open(enum transport transport);

/* Sends to, and reads from, a descriptor of the test's; reading turns the loop until so many
 * bytes have come. */
void net_put(int fd, const char *text);
void net_expect(int fd, const char *text);
/* Reads until the end; how many bytes came. *error is 0, or the errno that ended it. */
size_t net_read_all(int fd, int *error);

/* conn_send and conn_write of one piece. */
int net_send(struct conn *conn, const char *bytes, size_t len);
int net_say(struct conn *conn, const char *text);

/* A descriptor bound to an address as addr_parse reads it, and listening if it can; where it
 * ended up in *at. */
int net_bind(const char *address, struct endpoint *at);
/* A non-blocking socket connected to it, and a connection in progress counts. */
int net_connect(const struct endpoint *at, int type);

#endif
