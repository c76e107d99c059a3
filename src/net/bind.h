/* net/bind.h - listening sockets, opened once by the main thread for all workers.
 *
 * What:   turns an address into bound sockets: one for each worker where the kernel can spread
 *         the load (TCP, UDP), one for all where the address exists once (Unix, fd://).
 * Owns:   the descriptors and the file of a Unix socket, until bound_close.
 * Thread: main. Life: bind_open() .. bound_close().
 * Errors: 0 or a negative errno with a sentence in `why`, which names the address. */
#ifndef NEAP_NET_BIND_H
#define NEAP_NET_BIND_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "net/addr.h"

struct io;

#define BIND_WHY_MAX 320
#define SOCKOPT_MAX 32 /* socket options of one service */
#define BOUND_MAX 2    /* sockets of one address: `localhost` has two */

struct socket_option {
    int level, name;
    int value;
};

struct bind_options {
    unsigned workers;
    bool nodelay;
    unsigned keepalive_s; /* 0: none */
    const struct socket_option *sockopts;
    size_t sockopt_count;
};

/* What the options say, on a socket that listens or is to be connected: those of TCP as far as the
 * system lets; 0, or -errno of one that the script named. */
int bind_set_options(struct io *io, int fd, enum transport transport,
                     const struct bind_options *options);

/* One local address, bound. */
struct bound {
    enum transport transport; /* never TRANSPORT_FD: the descriptor says what it is */
    struct endpoint at;
    char text[ADDR_TEXT_MAX]; /* as addr_parse reads it, with the port it got */
    int *fds;                 /* one for each worker, or a single one; -1: closed already */
    size_t fd_count;
    bool unlink;       /* at.at.un is a file of ours ... */
    dev_t file_device; /* ... as long as it is still this one */
    ino_t file_number;
};

/* Binds and listens. Fills out[0 .. returned count), at most BOUND_MAX; or -errno. */
MUST_CHECK int bind_open(const struct addr *addr, const struct bind_options *options,
                         struct bound out[BOUND_MAX], char why[BIND_WHY_MAX]);

/* Sets the options that connections inherit anew, as far as the system lets. */
void bound_set_options(struct bound *bound, const struct bind_options *options);

void bound_close(struct bound *bound);

#endif
