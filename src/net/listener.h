/* net/listener.h - accepts connections from one listening stream socket.
 *
 * What:   accepts in bounded batches and hands each descriptor up. Errors of accept(2) never
 *         spin and never end it: at the descriptor limit a spare descriptor lets it refuse
 *         quickly, and without one it rests for 100 ms.
 * Owns:   the spare descriptor. Borrows: the listening one.
 * Thread: its reactor's. */
#ifndef NEAP_NET_LISTENER_H
#define NEAP_NET_LISTENER_H

#include "base/wheel.h"
#include "net/addr.h"
#include "net/loop.h"
#include "net/reactor.h"

struct listener;

/* Takes the descriptor over. */
typedef void (*listener_fn)(struct listener *listener, int fd, const struct endpoint *peer);

struct listener {
    struct reactor *reactor;
    struct loop_io io;
    struct wheel_timer rest;
    listener_fn fn;
    int fd;
    int spare;
};

/* Starts to accept. */
void listener_start(struct listener *listener, struct reactor *reactor, int fd,
                    listener_fn fn);

/* Accepts who waits already, then stops. */
void listener_finish(struct listener *listener);

/* Stops; does nothing to one that is stopped. */
void listener_stop(struct listener *listener);

#endif
