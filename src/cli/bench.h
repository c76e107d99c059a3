/* cli/bench.h - load on a server: many connections, every reply checked, every one timed.
 *
 *     closed loop:  a message ─> its reply ─> the next one        as fast as the server answers
 *     open loop:    a message each 1/rate s, whatever comes back  timed from when it was due
 *
 * What:   connects, sends messages and compares what comes back with what is expected, byte by
 *         byte on streams. In an open loop a server that stops for a second is charged with all
 *         that was due in it (coordinated omission is what the closed loop has).
 * Owns:   its sockets. Thread: one; it blocks in epoll_pwait2(2).
 * Life:   bench_open() .. bench_close(), which is also due after an error.
 * Errors: 0 or a negative errno; what went wrong with single replies is counted. */
#ifndef NEAP_CLI_BENCH_H
#define NEAP_CLI_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "cli/histogram.h"
#include "net/addr.h"

enum bench_framing { BENCH_LINE, BENCH_LENGTH, BENCH_RAW };

extern const char *const bench_framings[]; /* "line" "length" "raw" */

struct bench_options {
    struct addr addr;
    unsigned connections, pipeline; /* in flight on each */
    size_t size;                    /* of a message, without its framing */
    enum bench_framing framing;     /* of streams */
    uint64_t duration_ns, warmup_ns;
    unsigned
        reconnect; /* messages on a connection before another takes its place; 0: none does */
    double rate;   /* messages a second over all connections; 0: closed loop */
    /* Instead of numbered messages of `size`: these bytes, and what is expected back. */
    const char *message, *expect;
    size_t message_len, expect_len;
    /* Called some times a second while it runs; may be NULL. */
    void (*on_progress)(void *owner, double seconds, uint64_t messages,
                        const struct histogram *latency);
    void *owner;
};

#define BENCH_SAMPLE_MAX 48 /* bytes of a wrong reply that are kept */

struct bench_result {
    uint64_t messages;       /* replies, after the warm-up */
    uint64_t wrong;          /* replies that were not what was expected */
    uint64_t lost;           /* messages without a reply */
    uint64_t closed;         /* connections that the server ended */
    uint64_t reconnected;    /* connections that took the place of one */
    uint64_t sent, received; /* bytes */
    double seconds;
    struct histogram latency;
    /* The first that was wrong, from its first wrong byte on, and what should have stood there. */
    char got[BENCH_SAMPLE_MAX], expected[BENCH_SAMPLE_MAX];
    size_t got_len, expected_len;
};

struct bench;

/* Connects all. NULL: *failed is a negative errno, from connect(2) as a rule. */
struct bench *bench_open(const struct bench_options *options, int *failed);

/* Sends and receives for warm-up and duration, then waits a little for what is under way. 0, or
 * -ECONNRESET: the server has ended all connections. */
MUST_CHECK int bench_run(struct bench *bench, struct bench_result *result);

void bench_close(struct bench *bench);

#endif
