/* server/plan.h - what is to be served: the script, read in a scratch state, and what the command
 * line says about it.
 *
 * What:   the first half of a start and of a reload, which needs no socket and no worker: `neap
 *         check` is this and no more.
 * Owns:   the source and the scratch state. Thread: any, one at a time.
 * Errors: an exit status, with what is wrong written to a stream. */
#ifndef NEAP_SERVER_PLAN_H
#define NEAP_SERVER_PLAN_H

#include "server/server.h"

struct source;
struct version;
struct vm;

struct plan {
    struct source *source;
    struct vm *scratch;
    struct version *version; /* services as the script has them, addresses as overridden */
    unsigned workers;
    unsigned workers_wanted;         /* of a reload, which keeps those that run */
    bool max_connections_is_default; /* the script says nothing */
    uint64_t descriptor_limit;
};

/* Reads the script that the configuration names, or takes a reference to `source`, which was
 * read before (NULL: it was not). EX_OK, or an exit status; plan_close in any case. */
MUST_CHECK int plan_open(struct plan *plan, const struct server_config *config,
                         struct source *source, FILE *errors);
void plan_close(struct plan *plan);

/* How long the script may take to load in the scratch state. */
uint64_t plan_load_timeout_ms(const struct server_config *config);

#endif
