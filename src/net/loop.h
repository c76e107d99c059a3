/* net/loop.h - the second seam: an event loop, as little of one as neap needs.
 *
 *     one turn:   wait -> readiness callbacks -> alarm, wake -> on_turn -> wait ...
 *
 * What:   watches descriptors, holds one alarm and can be woken from another thread. loop_ev.c
 *         is libev; a test links a simulated one instead, which deals events in a seeded order.
 * Owns:   the backend. Borrows: watchers, which their owner embeds and stops before it goes.
 * Thread: its own; only loop_wake may be called from another.
 * Errors: loop_new answers NULL; nothing else can fail. */
#ifndef NEAP_NET_LOOP_H
#define NEAP_NET_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"

struct io;
struct loop;
struct loop_io;

enum loop_events { LOOP_NONE = 0, LOOP_READ = 1, LOOP_WRITE = 2 };

/* May be told of an event that is not there any more. May stop and free any watcher but must
 * not free its own (that waits for on_turn). */
typedef void (*loop_io_fn)(struct loop_io *watcher, unsigned events);

#define LOOP_IO_IMPL_LEN 48

struct loop_io {
    loop_io_fn fn;
    _Alignas(void *) unsigned char impl[LOOP_IO_IMPL_LEN]; /* the backend's */
};

/* What the loop tells its owner. */
struct loop_ops {
    /* After the callbacks of a turn, before the loop blocks. True: there is more to do, come
     * back without blocking. */
    bool (*on_turn)(void *owner);
    void (*on_alarm)(void *owner);
    /* After one or many loop_wake. */
    void (*on_wake)(void *owner);
};

struct loop *loop_new(struct io *io, const struct loop_ops *ops, void *owner);
void loop_free(struct loop *loop);

/* Runs until loop_stop. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

/* Makes on_wake run soon. Any thread. */
void loop_wake(struct loop *loop);

/* Milliseconds of the monotonic clock: read once a turn, and again by loop_update_now. */
uint64_t loop_now_ms(const struct loop *loop);
void loop_update_now(struct loop *loop);

/* Sets the one alarm, in loop milliseconds; UINT64_MAX sets none. */
void loop_set_alarm(struct loop *loop, uint64_t at_ms);

/* Prepares a watcher that watches nothing yet. */
void loop_io_init(struct loop_io *watcher, int fd, loop_io_fn fn);

/* Sets what is watched: LOOP_READ, LOOP_WRITE, both, or LOOP_NONE, which must be set before the
 * descriptor is closed. */
void loop_io_watch(struct loop *loop, struct loop_io *watcher, unsigned events);

/* The backend's release: "4.33" of libev. */
const char *loop_release(void);

#endif
