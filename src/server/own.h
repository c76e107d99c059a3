/* server/own.h - what a worker's thread has for itself.
 *
 * What:   the struct behind worker.c and the files that carry out its orders: gate.c, notice.c,
 *         turnover.c, inspect.c.
 * Thread: its worker's, and nobody else's. */
#ifndef NEAP_SERVER_OWN_H
#define NEAP_SERVER_OWN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/wheel.h"
#include "net/counters.h"
#include "net/reactor.h"
#include "script/options.h"

struct canary_terms;
struct own;
struct turnover;
struct version;
struct vm;
struct worker;

/* The log line of a limit: told at once, then counted for a while. */
struct notice {
    struct wheel_timer timer;
    struct own *own;
    uint64_t again;
};

/* Some new connections go to another version. */
struct own_canary {
    struct version *version; /* NULL: there is none */
    const struct canary_terms *terms;
    uint32_t debt;
    uint64_t connections;           /* that it was given */
    uint64_t old_calls, old_errors; /* of the serving version, when it began */
};

struct own {
    struct worker *worker;
    struct reactor *reactor;
    struct vm *vm;
    struct version *version;
    struct app_settings settings;
    struct version *prepared;         /* loaded aside, to be switched to or dropped ... */
    const struct turnover *preparing; /* ... by that one */
    struct list gates;                /* struct gate */
    struct list closing;              /* struct job: of turnover_close_gates, unfinished */
    struct wheel_timer look;          /* for what they wait for */
    struct own_canary canary;
    struct wheel_timer drain;
    bool draining;
    bool aborting; /* whoever is still there is waited for no longer */
    struct notice notices[COUNTER_COUNT];
};

/* Makes the settings hold that can change while it serves. */
void own_limit(struct own *own);

static inline struct own *own_of(const struct reactor *reactor)
{
    return reactor->owner;
}

#endif
