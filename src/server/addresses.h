/* server/addresses.h - the addresses that are listened on, over all versions of the script.
 *
 *     plan of the new version ─ addresses_prepare ─> kept | new (bound already) | dropped
 *                                 ├ addresses_commit: services as the new version has them
 *                                 └ addresses_abandon: as if nothing had been
 *
 * What:   binds what a version names, and tells which of those that are bound it still names. An
 *         address is known by what it says, but for options such as its backlog: those of one that
 *         is kept stay as they were.
 * Owns:   the bound sockets. Borrows: nothing.
 * Thread: main; workers read those they were told of.
 * Errors: an exit status, with what is wrong written to a stream. */
#ifndef NEAP_SERVER_ADDRESSES_H
#define NEAP_SERVER_ADDRESSES_H

#include <stdbool.h>
#include <stdio.h>

#include "base/list.h"
#include "base/macros.h"
#include "net/bind.h"
#include "script/version.h"

struct plan;

struct address {
    struct list
        node; /* in struct addresses, or in the list of those that are being dropped */
    struct addr spec;
    unsigned group; /* those that were bound for one spec at once: two for `localhost` */
    struct bound bound;
    char service[SERVICE_NAME_MAX];
    /* Between prepare and commit: */
    const struct script_service *next; /* whose it will be; NULL: nobody names it */
    bool is_new;
    bool
        other_options; /* it is named with another backlog, mode, ... than it was bound with */
};

struct addresses {
    struct list all; /* struct address, in the order in which they were bound */
    unsigned groups; /* numbers that were given */
};

void addresses_init(struct addresses *addresses);

/* EX_OK, EX_NOPERM or EX_OSERR; then nothing has changed. */
MUST_CHECK int addresses_prepare(struct addresses *addresses, const struct plan *plan,
                                 FILE *errors);
/* Moves those that are no longer named to `dropped`, an initialised list; socket options that
 * are another's now are set on those that are kept. */
void addresses_commit(struct addresses *addresses, const struct plan *plan,
                      struct list *dropped);
void addresses_abandon(struct addresses *addresses);

/* Closes the sockets of one, which no worker watches any more, and forgets it. */
void address_free(struct address *address);

/* Closes those that accept connections; datagram sockets stay for last words. */
void addresses_close_listeners(const struct list *addresses);
void addresses_fini(struct addresses *addresses);

#endif
