/* net/connect.h - reaching somewhere else: attempts over all addresses of a name.
 *
 *     connect_start ─> lookups (IPv6, IPv4) ─> attempts, one more each 250 ms ─> the first that
 *                                                                  succeeds ─> done
 *
 * What:   a socket that is connected, by Happy Eyeballs (RFC 8305): families take turns, IPv6
 *         first; the next address is tried when one fails or has not answered yet. A Unix socket
 *         with a full backlog is tried until the time is over.
 * Owns:   its sockets, until connect_take. Thread: its reactor's.
 * Errors: connect->error, or the status of a lookup that failed; see connect_why. */
#ifndef NEAP_NET_CONNECT_H
#define NEAP_NET_CONNECT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/wheel.h"
#include "net/addr.h"
#include "net/bind.h"
#include "net/loop.h"
#include "net/resolver.h"

struct reactor;

struct attempt {
    struct loop_io io;
    struct connect *connect;
    const struct endpoint *at;
    int fd; /* -1: over */
};

/* The addresses of one family. */
struct candidates {
    struct lookup lookup;
    size_t next; /* to be tried */
};

enum { CONNECT_IPV6, CONNECT_IPV4, CONNECT_FAMILIES };

struct connect {
    struct reactor *reactor;
    void (*done)(struct connect *connect);
    void *owner; /* for it */
    struct remote remote;
    struct bind_options options; /* workers: unused */
    struct socket_option sockopts[SOCKOPT_MAX];
    struct wheel_timer deadline, delay;
    struct candidates of[CONNECT_FAMILIES];
    int turn; /* whose candidate is next */
    struct attempt attempts[CONNECT_FAMILIES * LOOKUP_MAX];
    size_t attempt_count;
    bool starting;

    bool over;
    int fd;             /* connected, or -1 */
    struct endpoint at; /* where to */
    int error;          /* errno */
    int status;         /* of a lookup; error is 0 then */
};

/* `options` apply to the socket; `servers` as in lookup_start. connect->over says whether it has
 * ended already; else `done` is called when it has. NULL: out of memory. */
struct connect *connect_start(struct reactor *reactor, const struct remote *remote,
                              const struct bind_options *options, const char *servers,
                              uint64_t timeout_ms, void (*done)(struct connect *connect));

/* Gives the socket away. */
int connect_take(struct connect *connect);

/* Ends it, over or not; NULL is allowed. */
void connect_free(struct connect *connect);

/* Why it failed, for people, and the code for scripts ("ECONNREFUSED"). */
const char *connect_why(const struct connect *connect);
const char *connect_code(const struct connect *connect);

#endif
