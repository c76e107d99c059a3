/* net/loop_ev.c - the event loop on libev's epoll backend. The only file that includes ev.h. */
#include "net/loop.h"

#include <stdio.h>
#include <stdlib.h>

#include <ev.h>

#include "base/require.h"
#include "io/io.h"

_Static_assert(sizeof(struct ev_io) <= LOOP_IO_IMPL_LEN, "loop_io holds an ev_io");

struct loop {
    struct ev_loop *ev;
    struct io *io;
    const struct loop_ops *ops;
    void *owner;
    uint64_t now_ms;
    struct ev_prepare before_block;
    struct ev_check after_block;
    struct ev_idle busy; /* while started, libev does not block */
    struct ev_timer alarm;
    struct ev_async wake;
    struct ev_periodic
        far; /* without one libev wakes up every minute to look at the clock */
};

static struct ev_io *impl(struct loop_io *watcher)
{
    return (struct ev_io *)(void *)watcher->impl;
}

static void on_ready(struct ev_loop *ev, struct ev_io *io, int revents)
{
    (void)ev;
    struct loop_io *watcher = container_of(io, struct loop_io, impl);
    unsigned events =
        (revents & EV_READ ? LOOP_READ : 0U) | (revents & EV_WRITE ? LOOP_WRITE : 0U);
    watcher->fn(watcher, events);
}

static void on_before_block(struct ev_loop *ev, struct ev_prepare *prepare, int revents)
{
    (void)revents;
    struct loop *loop = container_of(prepare, struct loop, before_block);
    if (loop->ops->on_turn(loop->owner))
        ev_idle_start(ev, &loop->busy);
    else
        ev_idle_stop(ev, &loop->busy);
}

static void on_after_block(struct ev_loop *ev, struct ev_check *check, int revents)
{
    (void)ev;
    (void)revents;
    loop_update_now(container_of(check, struct loop, after_block));
}

static void on_busy(struct ev_loop *ev, struct ev_idle *idle, int revents)
{
    (void)ev;
    (void)idle;
    (void)revents;
}

static void on_alarm(struct ev_loop *ev, struct ev_timer *timer, int revents)
{
    (void)ev;
    (void)revents;
    struct loop *loop = container_of(timer, struct loop, alarm);
    loop->ops->on_alarm(loop->owner);
}

static void on_wake(struct ev_loop *ev, struct ev_async *async, int revents)
{
    (void)ev;
    (void)revents;
    struct loop *loop = container_of(async, struct loop, wake);
    loop->ops->on_wake(loop->owner);
}

static void on_far(struct ev_loop *ev, struct ev_periodic *periodic, int revents)
{
    (void)ev;
    (void)periodic;
    (void)revents;
}

static void start_watchers(struct loop *loop)
{
    ev_prepare_init(&loop->before_block, on_before_block);
    ev_prepare_start(loop->ev, &loop->before_block);
    /* The clock is read before any other callback of the turn looks at it. */
    ev_check_init(&loop->after_block, on_after_block);
    ev_set_priority(&loop->after_block, EV_MAXPRI);
    ev_check_start(loop->ev, &loop->after_block);
    ev_idle_init(&loop->busy, on_busy);
    /* After all readiness: what waits in a socket is no reason to find its connection idle. */
    ev_timer_init(&loop->alarm, on_alarm, 0., 0.);
    ev_set_priority(&loop->alarm, EV_MINPRI);
    ev_async_init(&loop->wake, on_wake);
    ev_set_priority(&loop->wake, EV_MINPRI);
    ev_async_start(loop->ev, &loop->wake);
    ev_periodic_init(&loop->far, on_far, 4e9, 0., NULL);
    ev_periodic_start(loop->ev, &loop->far);
}

struct loop *loop_new(struct io *io, const struct loop_ops *ops, void *owner)
{
    struct loop *loop = calloc(1, sizeof *loop);
    if (!loop)
        return NULL;
    /* EVFLAG_NOENV: LIBEV_FLAGS in the environment could choose another backend. */
    loop->ev = ev_loop_new(EVFLAG_NOENV | EVBACKEND_EPOLL);
    if (!loop->ev) {
        free(loop);
        return NULL;
    }
    loop->io = io;
    loop->ops = ops;
    loop->owner = owner;
    loop_update_now(loop);
    start_watchers(loop);
    return loop;
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    ev_loop_destroy(loop->ev);
    free(loop);
}

void loop_run(struct loop *loop)
{
    ev_run(loop->ev, 0);
}

void loop_stop(struct loop *loop)
{
    ev_break(loop->ev, EVBREAK_ALL);
}

void loop_wake(struct loop *loop)
{
    ev_async_send(loop->ev, &loop->wake);
}

uint64_t loop_now_ms(const struct loop *loop)
{
    return loop->now_ms;
}

void loop_update_now(struct loop *loop)
{
    loop->now_ms = loop->io->ops->monotonic_ns(loop->io) / 1000000U;
}

void loop_set_alarm(struct loop *loop, uint64_t at_ms)
{
    ev_timer_stop(loop->ev, &loop->alarm);
    if (at_ms == UINT64_MAX)
        return;
    /* libev counts from its own idea of now, which a long hook leaves behind. One millisecond
     * more: our clock is cut to whole ones, and to come early would be to come twice. */
    ev_now_update(loop->ev);
    uint64_t now_ms = loop->io->ops->monotonic_ns(loop->io) / 1000000U;
    double after_s = at_ms > now_ms ? (double)(at_ms - now_ms) / 1e3 : 0.;
    ev_timer_set(&loop->alarm, after_s, 0.);
    ev_timer_start(loop->ev, &loop->alarm);
}

void loop_io_init(struct loop_io *watcher, int fd, loop_io_fn fn)
{
    watcher->fn = fn;
    ev_io_init(impl(watcher), on_ready, fd, EV_READ);
}

void loop_io_watch(struct loop *loop, struct loop_io *watcher, unsigned events)
{
    struct ev_io *io = impl(watcher);
    int wanted = (events & LOOP_READ ? EV_READ : 0) | (events & LOOP_WRITE ? EV_WRITE : 0);
    if (!wanted) {
        ev_io_stop(loop->ev, io);
        return;
    }
    if (ev_is_active(io)) {
        if ((io->events & (EV_READ | EV_WRITE)) == wanted)
            return;
        ev_io_stop(loop->ev, io);
    }
    /* ev_io_init marked the descriptor as new, so that a number used before is registered;
     * ev_io_modify keeps that mark if it is still there and does not set it again, which would
     * cost one epoll_ctl more. */
    ev_io_modify(io, wanted);
    ev_io_start(loop->ev, io);
}

const char *loop_release(void)
{
    static _Thread_local char release[16];
    snprintf(release, sizeof release, "%d.%d", ev_version_major(), ev_version_minor());
    return release;
}
