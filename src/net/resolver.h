/* net/resolver.h - addresses of names, asked for by c-ares on the worker's loop.
 *
 *     lookup_start ─> hosts file, or a question to the name servers ─> done, or lookup_cancel
 *
 * What:   the hosts file, search domains and name servers of the system (nsswitch.conf,
 *         resolv.conf, read anew when it has changed), or other name servers. Nothing blocks but
 *         the reading of those files. The only place that knows c-ares.
 * Owns:   its sockets and questions. A question whose lookup was cancelled ends by itself.
 * Thread: its reactor's.
 * Errors: a status of c-ares, see resolver_why. */
#ifndef NEAP_NET_RESOLVER_H
#define NEAP_NET_RESOLVER_H

#include <stdbool.h>
#include <stddef.h>

#include "net/addr.h"

#define LOOKUP_MAX 16 /* addresses of a name; more are left out */
#define RESOLVER_QUERIES                                                                   \
    4096 /* under way at once in a worker; as many that nobody waits for */
#define RESOLVER_SERVERS_MAX 256 /* bytes of a list of name servers, with its NUL */

struct query;
struct reactor;
struct resolver;

struct lookup {
    struct query *query; /* under way, or NULL */
    bool failed;
    int status; /* why, for resolver_why */
    struct endpoint at[LOOKUP_MAX];
    size_t count;
    /* Its query is over. Not called when that is so at once. */
    void (*done)(struct lookup *lookup);
};

/* Looks a name up. `family` is AF_UNSPEC, AF_INET or AF_INET6; the addresses come in the order of
 * RFC 6724, with that port. `servers` are those to ask, as "127.0.0.1:53,[::1]:53"; "": the
 * system's. lookup->query is NULL when it is over already. */
void lookup_start(struct lookup *lookup, struct reactor *reactor, const char *servers,
                  const char *name, int family, uint16_t port);

/* Also of one that is over. */
void lookup_cancel(struct lookup *lookup);

/* For people ("no such name"), and the code for scripts ("ENOTFOUND"). */
const char *resolver_why(int status);
const char *resolver_code(int status);

void resolver_free(struct resolver *resolver); /* NULL is allowed */

#endif
