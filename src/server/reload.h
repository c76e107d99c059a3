/* server/reload.h - changing what is served, in all workers or in none.
 *
 *     load (loader thread) ─> bind ─> prepare (workers) ─> switch (workers) ─> close addresses
 *       └────────┴───────────────────┴─ any failure: drop, and the old version goes on
 *
 *     canary:  load ─> prepare ─> expose: a share of new connections ─┬ promote ─> bind ─> switch
 *                                                                     └ withdraw ─> drop
 *
 * What:   one reload at a time. The old version serves until the switch, which cannot fail. The
 *         answer tells what happened: numbers for programs, text for people.
 * Owns:   the new plan, until it is the one that serves. Borrows: the core.
 * Thread: main, but for the loader's. */
#ifndef NEAP_SERVER_RELOAD_H
#define NEAP_SERVER_RELOAD_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "base/macros.h"

struct canary_terms;
struct core;
struct past;
struct source;

struct reload_request {
    struct source *source;             /* to be served; NULL: read the files */
    unsigned same_as;                  /* the number it had, for `source` */
    bool if_changed;                   /* not if the bytes are those that serve */
    const struct canary_terms *canary; /* NULL: all connections at once */
    /* Called once: `report` (borrowed) tells what happened; or it is NULL, and `error` why
     * nothing did, with the status to exit with. Both NULL: there was no change. `done` may be
     * NULL: the log tells it in any case. */
    void (*done)(void *owner, json_t *report, const char *error, int status);
    void *owner;
};

/* Who is told of the end of a canary, instead of the one who began it. */
struct reload_ender {
    void (*done)(void *owner, json_t *report, const char *error, int status);
    void *owner;
};

/* Ends a canary: the candidate takes over, or is withdrawn. False: there is none. */
bool reload_promote(struct core *core, const struct reload_ender *ender);
bool reload_withdraw(struct core *core, const struct reload_ender *ender);
/* A new object that describes it; NULL: there is none. */
json_t *reload_canary(const struct core *core);
/* What it would be in the history (borrowed). False: there is none. */
bool reload_candidate(const struct core *core, struct past *past);

/* Begins. False: one is under way. */
bool reload_start(struct core *core, const struct reload_request *request);

/* Goes on with one whose script has been loaded; to be called when the loop was woken. */
void reload_look(struct core *core);

/* Makes one that is under way fail, since the server stops. */
void reload_give_up(struct core *core);

/* Waits for the ends of loaders that were given up. False: one does not come to its end in time. */
MUST_CHECK bool reload_await_loaders(struct core *core, unsigned timeout_ms);

#endif
