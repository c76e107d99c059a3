/* net/listener.c - accept, and what to do when it cannot. */
#include "net/listener.h"

#include <errno.h>
#include <string.h>

#include "io/io.h"

/* Connections taken in one go; those already open must have their turn too. */
#define ACCEPT_BATCH 64
#define REST_MS 100U

static void rest(struct listener *listener)
{
    struct reactor *reactor = listener->reactor;
    loop_io_watch(reactor->loop, &listener->io, LOOP_NONE);
    wheel_start(&reactor->wheel, &listener->rest, reactor_now_ms(reactor) + REST_MS);
}

static void on_rested(struct wheel_timer *timer)
{
    struct listener *listener = container_of(timer, struct listener, rest);
    struct io *io = listener->reactor->io;
    if (listener->spare < 0)
        listener->spare = io->ops->reserve(io);
    loop_io_watch(listener->reactor->loop, &listener->io, LOOP_READ);
}

/* Out of descriptors: gives up the spare one for a moment, so that a waiting client is told
 * instead of left waiting. False: there is none, or nobody waits. */
static bool refuse_one(struct listener *listener, int error)
{
    struct io *io = listener->reactor->io;
    if (listener->spare < 0)
        return false;
    /* The kernel says so at the limit also when nobody waits: that is no refusal. */
    int failed = io->ops->refuse(io, listener->fd, &listener->spare);
    if (!failed)
        reactor_count(listener->reactor, COUNTER_REFUSED_DESCRIPTORS, 1, NULL,
                      strerrorname_np(error));
    return !failed && listener->spare >= 0;
}

/* True: accept may be called again at once. */
static bool on_accept_error(struct listener *listener, int error)
{
    switch (error) {
    case EAGAIN:
        return false;
    case EINTR:
    case ECONNABORTED:
        return true;
    case EMFILE:
    case ENFILE:
        if (refuse_one(listener, error))
            return true;
        rest(listener);
        return false;
    default:
        /* Out of buffers, or an error of the network that belongs to one connection (accept(2)
         * names them): all may pass, so none ends the listener. */
        reactor_count(listener->reactor, COUNTER_ACCEPT_ERRORS, 1, NULL,
                      strerrorname_np(error));
        rest(listener);
        return false;
    }
}

/* True: there may be more. */
static bool accept_batch(struct listener *listener)
{
    struct io *io = listener->reactor->io;
    loop_update_now(listener->reactor->loop); /* their idle time begins now */
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        struct endpoint peer = {.len = sizeof peer.at};
        int fd = io->ops->accept(io, listener->fd, &peer.at.sa, &peer.len);
        if (fd >= 0)
            listener->fn(listener, fd, &peer);
        else if (!on_accept_error(listener, -fd))
            return false;
    }
    return true;
}

static void on_readable(struct loop_io *watcher, unsigned events)
{
    (void)events;
    (void)accept_batch(container_of(watcher, struct listener, io));
}

void listener_start(struct listener *listener, struct reactor *reactor, int fd,
                    listener_fn fn)
{
    struct io *io = reactor->io;
    listener->reactor = reactor;
    listener->fd = fd;
    listener->fn = fn;
    listener->spare = io->ops->reserve(io);
    wheel_timer_init(&listener->rest, on_rested);
    loop_io_init(&listener->io, fd, on_readable);
    loop_io_watch(reactor->loop, &listener->io, LOOP_READ);
}

/* More than any backlog: whoever connects meanwhile belongs to those who waited. */
#define FINISH_BATCHES 128

void listener_finish(struct listener *listener)
{
    if (!listener->fn)
        return;
    for (int i = 0; i < FINISH_BATCHES && accept_batch(listener); i++)
        ;
    listener_stop(listener);
}

void listener_stop(struct listener *listener)
{
    if (!listener->fn)
        return;
    struct io *io = listener->reactor->io;
    loop_io_watch(listener->reactor->loop, &listener->io, LOOP_NONE);
    wheel_stop(&listener->reactor->wheel, &listener->rest);
    if (listener->spare >= 0)
        io->ops->close(io, listener->spare, 0);
    listener->fn = NULL;
}
