/* server/canary.h - which new connections a candidate version is given, and when it has proved
 * itself.
 *
 * What:   terms that a person gives ("10%", "10.0.0.0/8"), the choice for one peer, and the
 *         decision of --auto.
 * Thread: terms are constant once made; a share is drawn by each worker for itself. */
#ifndef NEAP_SERVER_CANARY_H
#define NEAP_SERVER_CANARY_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

struct endpoint;

#define CANARY_TEXT_MAX 64
#define CANARY_MARGIN 10 /* errors per 1,000 hooks more than the old version's: too many */
#define CANARY_AFTER 1000U /* hooks of the new version, before which nothing is decided */

struct canary_terms {
    uint32_t share;             /* of new connections, per 10,000 */
    struct in6_addr network;    /* or those from here; IPv4 as mapped */
    unsigned prefix;            /* bits of it; with share 0 */
    char text[CANARY_TEXT_MAX]; /* as it was given */
    bool decide;                /* --auto */
};

/* "10%", "0.5%". -EINVAL. */
MUST_CHECK int canary_read_share(struct canary_terms *terms, const char *text);
/* "10.0.0.0/8", "fd00::/8", a lone address. -EINVAL. */
MUST_CHECK int canary_read_peer(struct canary_terms *terms, const char *text);

/* True: this one is given to the candidate. `debt` is the caller's, 0 at first: the share is kept
 * exactly, not in the mean. */
bool canary_takes(const struct canary_terms *terms, uint32_t *debt,
                  const struct endpoint *peer);

/* What hooks of both versions have come to since the candidate was given connections. */
struct canary_counts {
    uint64_t hooks, errors;         /* of the candidate */
    uint64_t old_hooks, old_errors; /* of the version that serves */
    uint64_t connections;           /* that the candidate was given */
};

enum canary_verdict { CANARY_OPEN, CANARY_GOOD, CANARY_BAD };

/* Bad as soon as it is certain, good when there were enough hooks. */
enum canary_verdict canary_judge(const struct canary_counts *counts);

#endif
