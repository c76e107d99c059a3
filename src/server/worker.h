/* server/worker.h - one thread: a reactor, a Lua state, its share of the listening sockets.
 *
 *     main ─ orders (bits), jobs, wake ─> worker ─ state, finished jobs ─> main
 *     worker ─ mail: an accepted connection ─> a less loaded worker
 *
 * What:   loads the version, runs on_start, waits for the word to serve, serves, drains.
 * Owns:   everything in its thread. Borrows: the server's sockets, source, log, admission.
 * Thread: main calls all of this; the rest is the worker's own, see own.h.
 * Life:   worker_start() .. worker_fini(). */
#ifndef NEAP_SERVER_WORKER_H
#define NEAP_SERVER_WORKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "net/admission.h"
#include "net/counters.h"
#include "net/mailbox.h"
#include "script/options.h"
#include "server/job.h"

struct log;
struct source;
struct worker;

/* What workers share: constant while they run, but for what is atomic or has a lock. */
struct workers {
    struct worker *all;
    unsigned count;
    struct source *source; /* of the first version */
    struct log *log;
    const struct app_settings *settings; /* to begin with */
    const struct list *addresses;        /* struct address: those to begin with */
    struct admission admission;
    _Atomic uint64_t next_number; /* of connections */
    pthread_mutex_t lock;
    struct list finished; /* struct job; under the lock */
    /* Tells main that something happened; any thread. `detail`: a script asked to stop. */
    void (*notify)(void *owner, const char *detail);
    void *owner;
};

enum worker_state {
    WORKER_LOADING,
    WORKER_READY,  /* loaded, on_start has run; waits for the word */
    WORKER_FAILED, /* see `error`; nothing was served */
    WORKER_SERVING,
    WORKER_DRAINING, /* it accepts no more */
    WORKER_DONE,
};

enum worker_order {
    ORDER_NONE = 0,
    ORDER_SERVE = 1,
    ORDER_DRAIN = 2,
    ORDER_ABORT = 4,
    ORDER_QUIT = 8
};

struct worker {
    struct workers *shared;
    unsigned index; /* from 0; people count from 1 */
    pthread_t thread;
    _Atomic unsigned orders;
    _Atomic int state;           /* enum worker_state */
    _Atomic uint32_t conn_count; /* streams, with those on their way */
    _Atomic unsigned version;    /* that it serves */
    char *error;                 /* of WORKER_FAILED; main frees it after joining */
    pthread_mutex_t lock;
    struct list jobs; /* struct job, to run; under the lock */
    bool ended;       /* none will run any more; under the lock */
    pthread_cond_t ordered;
    struct mailbox mailbox;
    struct reactor *_Atomic reactor;
    uint64_t totals[COUNTER_COUNT]; /* once it is WORKER_DONE */
};

/* Starts the thread. 0 or -errno. */
MUST_CHECK int worker_start(struct worker *worker, struct workers *shared, unsigned index);

/* Adds an order. Any thread. */
void worker_order(struct worker *worker, enum worker_order order);

/* Has it do something; job->done follows in workers_collect. Main. */
void worker_give(struct worker *worker, struct job *job);
/* Calls `done` of what is over; true if there was any. Main, after `notify`. */
bool workers_collect(struct workers *workers);

/* Waits for the end of the thread. */
void worker_join(struct worker *worker);

/* Frees the rest, once all workers are joined: until then any may wake any. */
void worker_fini(struct worker *worker);

#endif
