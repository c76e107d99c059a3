/* script/services.h - what connections point at: services stay while versions come and go.
 *
 *     conn ─> struct service "chat" ─ script ─> struct script_service of version 7
 *                                     (one turn later: of version 8)
 *
 * What:   a worker has one struct service for each name, filled in from the version that serves.
 *         A switch fills it in anew, whatever the number of connections. A name that the new
 *         version does not have keeps what it had until its last connection is gone. The services
 *         of a candidate (a canary) stand aside, and its connections point at those. Connections that
 *         scripts open for themselves point at one without hooks or version, vm->unserved.
 * Owns:   the services. Thread: the vm's.
 * Errors: services_prepare: 0 or -ENOMEM; after it, nothing can fail. */
#ifndef NEAP_SCRIPT_SERVICES_H
#define NEAP_SCRIPT_SERVICES_H

#include "base/macros.h"
#include "net/conn.h"

struct version;
struct vm;

/* Makes the one of connections that were opened from here for none. 0 or -ENOMEM. */
MUST_CHECK int services_init(struct vm *vm);

/* Makes the services of a version, without effect on those that serve. */
MUST_CHECK int services_prepare(struct version *version);
/* Takes them back: the version will never serve. Its connections, if it was a candidate, must
 * have been given to the version that serves. */
void services_discard(struct version *version);

/* Makes those of the version what all names of it stand for; the connections of a candidate move
 * over. Returns how many services the version before had and this one has not, and which still
 * have connections. */
size_t services_switch(struct version *version);

/* Fills in those of a candidate, which stand aside of the serving ones. */
void services_stand_aside(struct version *candidate);
/* Gives the connections of a candidate to the serving version's services. Those of a service that
 * this does not have, which the candidate has opened itself, keep theirs. */
void services_return(struct version *candidate);

/* By name, among those that serve or have connections; NULL. */
struct service *services_find(struct vm *vm, const char *name);
/* Among those that serve; NULL. */
struct service *services_find_serving(struct vm *vm, const char *name);

/* A socket points at it ... */
void services_hold(struct service *service);
/* ... or does no more. A connection counts itself, and then calls services_left. */
void services_release(struct service *service);
void services_left(struct service *service);

/* All of them; no connection is left. */
void services_fini(struct vm *vm);

#endif
