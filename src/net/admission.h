/* net/admission.h - who may connect: limits that hold for all workers together.
 *
 * What:   max_connections, max_connections_per_ip and accept_rate. Loopback and Unix peers are
 *         exempt from the last two.
 * Owns:   the table of addresses (only while max_connections_per_ip is set).
 * Thread: any; a lock is taken only when an option that needs it is set.
 * Errors: the counter of the limit that refuses. */
#ifndef NEAP_NET_ADMISSION_H
#define NEAP_NET_ADMISSION_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/list.h"
#include "net/addr.h"
#include "net/counters.h"

struct admission_limits {
    _Atomic uint64_t max_connections;
    _Atomic uint64_t per_ip;      /* 0: none */
    _Atomic uint64_t accept_rate; /* connections a second, from all addresses; 0: none */
};

struct admission {
    struct admission_limits limits;
    _Atomic uint64_t count;
    pthread_mutex_t lock;
    double tokens;
    uint64_t filled_ms;
    struct list *buckets; /* of addresses that are connected; while per_ip is set */
    uint64_t seed;
};

/* 0 or -ENOMEM. `seed` keeps peers from choosing addresses that share a bucket. */
MUST_CHECK int admission_init(struct admission *admission,
                              const struct admission_limits *limits, uint64_t seed);
/* From now on; any thread. Connections that are there already are not counted by a per_ip where
 * there was none. Without memory for that, there is none. */
void admission_set_limits(struct admission *admission,
                          const struct admission_limits *limits);
void admission_fini(struct admission *admission);

/* COUNTER_COUNT: admitted, and admission_leave must follow; else what refuses it. */
enum counter admission_enter(struct admission *admission, const struct endpoint *peer,
                             uint64_t now_ms);
void admission_leave(struct admission *admission, const struct endpoint *peer);

#endif
