/* net/counters.h - what one worker counts.
 *
 * What:   one row a counter; from the table come the names that people see and the text of the
 *         rate-limited log line for those that tell of a limit, a drop, a refusal or a kill.
 * Thread: written by the worker, read by any (relaxed: a figure, not a lock). */
#ifndef NEAP_NET_COUNTERS_H
#define NEAP_NET_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

/* X(CONSTANT, name, log line or NULL) */
#define COUNTER_TABLE(X)                                                                   \
    X(CONNECTIONS, "connections", NULL)                                                    \
    X(PEERS, "datagram_peers", NULL)                                                       \
    X(OUTBOUND, "outbound_connections", NULL)                                              \
    X(CONNECT_FAILED, "connect_failed", NULL)                                              \
    X(LOOKUPS, "lookups", NULL)                                                            \
    X(LOOKUPS_REFUSED, "lookups_refused",                                                  \
      "refused to look a name up: 4096 lookups are under way")                             \
    X(MESSAGES, "messages", NULL)                                                          \
    X(RECEIVED, "bytes_received", NULL)                                                    \
    X(SENT, "bytes_sent", NULL)                                                            \
    X(HANDED_OVER, "handed_over", NULL)                                                    \
    X(ACCEPT_ERRORS, "accept_errors", "accepting failed")                                  \
    X(REFUSED_DESCRIPTORS, "refused_descriptors",                                          \
      "refused a connection: out of file descriptors")                                     \
    X(REFUSED_MAX_CONNECTIONS, "refused_max_connections",                                  \
      "refused a connection: max_connections reached")                                     \
    X(REFUSED_PER_IP, "refused_max_connections_per_ip",                                    \
      "refused a connection: max_connections_per_ip reached")                              \
    X(REFUSED_RATE, "refused_accept_rate", "refused a connection: accept_rate reached")    \
    X(REFUSED_SCRIPT, "refused_on_accept", NULL)                                           \
    X(REFUSED_MEMORY, "refused_memory", "refused a connection: out of memory")             \
    X(CLOSED_IDLE, "closed_idle", NULL)                                                    \
    X(CLOSED_TIMEOUT, "closed_timeout",                                                    \
      "closed a connection: message_timeout, send_timeout or a read's ran out")            \
    X(CLOSED_MALFORMED, "closed_malformed", "closed a connection: malformed frame")        \
    X(CLOSED_OVERSIZE, "closed_oversize",                                                  \
      "closed a connection: message longer than max_message")                              \
    X(CLOSED_FULL, "closed_full",                                                          \
      "closed a connection: it does not read what is sent (max_output or max_buffered)")   \
    X(CLOSED_LIMIT, "closed_limit", "closed a datagram peer: max_peers reached")           \
    X(CLOSED_ERROR, "closed_error", NULL)                                                  \
    X(CLOSED_RESET, "closed_reset", NULL)                                                  \
    X(LOST_OUTPUT, "lost_output_bytes", "closed with output that was not delivered")       \
    X(DROPPED_OUTPUT, "dropped_output",                                                    \
      "dropped a message: max_output reached (overflow = \"drop\")")                       \
    X(DATAGRAMS_TRUNCATED, "datagrams_truncated", "dropped a truncated datagram")          \
    X(DATAGRAMS_OVERSIZE, "datagrams_oversize",                                            \
      "dropped a datagram longer than max_message")                                        \
    X(DATAGRAMS_QUEUE_FULL, "datagrams_queue_full",                                        \
      "dropped a datagram: its peer is paused or its hook waits, and 16 are queued")       \
    X(DATAGRAMS_MAX_WAITING, "datagrams_max_waiting",                                      \
      "dropped a datagram: max_waiting hooks wait (sessions = false)")                     \
    X(DATAGRAMS_NOT_SENT, "datagrams_not_sent",                                            \
      "dropped a datagram: the system did not take it")                                    \
    X(DATAGRAMS_REPLY_LIMIT, "datagrams_reply_limit",                                      \
      "dropped a reply: reply_limit for a peer of a single datagram")                      \
    X(HOOK_ERRORS, "hook_errors", NULL)                                                    \
    X(HOOK_SLOW, "hook_slow", "a hook was slow: more than 10 ms of CPU time")

enum counter {
#define X(constant, name, notice) COUNTER_##constant,
    COUNTER_TABLE(X)
#undef X
        COUNTER_COUNT
};

struct counter_row {
    const char *name;
    const char *notice; /* NULL: counted in silence */
};

extern const struct counter_row counter_rows[COUNTER_COUNT];

struct counters {
    _Atomic uint64_t of[COUNTER_COUNT];
};

static inline void counters_add(struct counters *counters, enum counter counter,
                                uint64_t by)
{
    /* One writer: a load and a store do, without the price of a locked instruction. */
    _Atomic uint64_t *of = &counters->of[counter];
    uint64_t value = atomic_load_explicit(of, memory_order_relaxed);
    atomic_store_explicit(of, value + by, memory_order_relaxed);
}

static inline uint64_t counters_get(struct counters *counters, enum counter counter)
{
    return atomic_load_explicit(&counters->of[counter], memory_order_relaxed);
}

#endif
