/* server/core.h - what the main thread has: its loop, the version that serves, the workers.
 *
 * What:   the struct behind server.c and the files that change what is served: reload.c,
 *         commands.c. Nothing here runs a script.
 * Thread: main. */
#ifndef NEAP_SERVER_CORE_H
#define NEAP_SERVER_CORE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/wheel.h"
#include "net/loop.h"
#include "script/source.h"
#include "server/addresses.h"
#include "server/history.h"
#include "server/plan.h"
#include "server/worker.h"

struct control;
struct control_request;
struct log;
struct reload;
struct watch;

struct core {
    const struct server_config *config;
    struct plan *plan; /* of the version that serves */
    struct history history;
    struct addresses addresses;
    struct log *log;
    struct workers workers;
    unsigned started; /* of them */
    struct loop *loop;
    struct wheel wheel;
    uint64_t alarm_ms; /* what the loop's alarm is set to */
    uint64_t started_ms;
    struct loop_io signal_io;
    int signals; /* signalfd */
    struct control *control;
    struct watch *watch;
    char failed_hash[SOURCE_HASH_LEN + 1]; /* of files that did not load; "" */
    struct list left_loaders; /* struct reload: given up while they load, and still at it */
    struct reload *reload;    /* that is under way, or NULL */
    bool reload_again;        /* asked for while one was under way */
    bool reload_due;          /* asked for when none could begin */
    char files_hash[SOURCE_HASH_LEN + 1]; /* of the files when last served, or withdrawn */
    bool log_level_is_set;                /* by neap log-level, for good */

    bool signalled;        /* to stop, once already ... */
    uint64_t signalled_ms; /* ... then */
    bool told;             /* the workers, to serve or not */
    bool ready, draining;
    bool abandoned; /* a worker does not come to its end */
    int status;     /* to exit with */
    struct wheel_timer deadline;
    struct control_request *stop_request; /* who asked for the end, and waits for it */

    pthread_mutex_t lock;
    char *stop_detail; /* a script asked for the end; under the lock */
    bool stop_asked;
};

uint64_t core_now_ms(const struct core *core);

/* Begins to stop; `by` says who wants it, "" for a signal. */
void core_stop(struct core *core, const char *by);

/* Watches the files of the version that serves, and of one that did not load (NULL: none). */
void core_watch(struct core *core, const struct source *failed);

/* core->plan is what serves from now on. */
void core_serve(struct core *core, const struct past *past);

#endif
