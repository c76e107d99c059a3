/* server/turnover.h - a worker's part in a reload: prepare aside, then switch or let go.
 *
 *     turnover_prepare ──(canary: turnover_expose, turnover_measure ...)──> turnover_switch
 *              └──────> turnover_drop                      ─> turnover_stop_gates
 *                                                          ─> turnover_close_gates
 *
 * What:   the jobs that reload.c gives to each worker, one struct for all of them.
 * Thread: fields are main's while no job of it is on its way, the worker's meanwhile. */
#ifndef NEAP_SERVER_TURNOVER_H
#define NEAP_SERVER_TURNOVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "script/options.h"
#include "server/canary.h"
#include "server/job.h"

struct source;

/* What all workers are told. */
struct turnover_order {
    struct source *source;
    unsigned number;
    struct app_settings settings;
    struct canary_terms canary; /* of turnover_expose */
    _Atomic bool given_up;      /* whoever has not begun yet need not */
    struct list
        *addresses; /* struct address: all that are listened on, from the switch on */
    const struct list *dropped; /* struct address: those that no longer are */
};

struct turnover {
    struct job job; /* first */
    const struct turnover_order *order;
    /* What came of it: */
    char *error; /* of prepare, to be freed; NULL: it went well */
    size_t connections, timers_ended, orphans; /* of the switch */
    struct canary_counts counts;               /* of turnover_measure */
    size_t held;     /* functions of older versions found in conn.data */
    size_t vanished; /* bits of hooks that the version before had, by enum hook */
};

bool turnover_prepare(struct own *own, struct job *job);
bool turnover_drop(struct own *own, struct job *job);
/* Gives the prepared version its share of new connections. */
bool turnover_expose(struct own *own, struct job *job);
bool turnover_measure(struct own *own, struct job *job);
bool turnover_switch(struct own *own, struct job *job);
/* Accept who waits at dropped addresses, then no more ... */
bool turnover_stop_gates(struct own *own, struct job *job);
/* ... and forget them, when other workers' mail has been opened and no peer uses them. */
bool turnover_close_gates(struct own *own, struct job *job);

/* Finishes those of turnover_close_gates that nothing keeps any more. */
void turnover_look(struct own *own);

#endif
