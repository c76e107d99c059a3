/* net/loop_sim.c - an event loop without a kernel: the order of events is drawn, time is given.
 *
 *     watchers   every watcher that watches something
 *     dealt      those of them that this turn still has to call, in the order that was drawn;
 *                the alarm and the wake-up are among them as watchers of no descriptor */
#include "net/loop_sim.h"

#include <stdlib.h>

#include "base/list.h"
#include "base/require.h"
#include "io/io.h"

struct watch {
    struct list node, dealt_node;
    int fd;
    unsigned events; /* what is watched */
    unsigned dealt;
};

_Static_assert(sizeof(struct watch) <= LOOP_IO_IMPL_LEN, "loop_io holds a watch");

struct loop {
    struct io *io;
    const struct loop_ops *ops;
    void *owner;
    const struct loop_sim_world *world;
    void *world_owner;
    uint64_t now_ms, alarm_ms;
    bool woken, stopped;
    struct list watchers, dealt;
    struct loop_io alarm, wake;
};

static struct watch *watch_of(struct loop_io *watcher)
{
    return (struct watch *)(void *)watcher->impl;
}

static struct loop_io *watcher_of(struct list *dealt_node)
{
    struct watch *watch = container_of(dealt_node, struct watch, dealt_node);
    return container_of((unsigned char *)(void *)watch, struct loop_io, impl);
}

static void on_alarm(struct loop_io *watcher, unsigned events)
{
    (void)events;
    struct loop *loop = container_of(watcher, struct loop, alarm);
    if (loop->alarm_ms > loop->now_ms)
        return; /* set anew by a callback of this turn */
    loop->alarm_ms = UINT64_MAX;
    loop->ops->on_alarm(loop->owner);
}

static void on_wake(struct loop_io *watcher, unsigned events)
{
    (void)events;
    struct loop *loop = container_of(watcher, struct loop, wake);
    loop->woken = false;
    loop->ops->on_wake(loop->owner);
}

struct loop *loop_new(struct io *io, const struct loop_ops *ops, void *owner)
{
    struct loop *loop = calloc(1, sizeof *loop);
    if (!loop)
        return NULL;
    loop->io = io;
    loop->ops = ops;
    loop->owner = owner;
    loop->alarm_ms = UINT64_MAX;
    list_init(&loop->watchers);
    list_init(&loop->dealt);
    loop_io_init(&loop->alarm, -1, on_alarm);
    loop_io_init(&loop->wake, -1, on_wake);
    loop_update_now(loop);
    return loop;
}

/* Every watcher must be stopped: libev would not notice, and the next epoll would. */
void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    REQUIRE(list_is_empty(&loop->watchers));
    free(loop);
}

void loop_sim_use(struct loop *loop, const struct loop_sim_world *world, void *owner)
{
    loop->world = world;
    loop->world_owner = owner;
}

static uint32_t below(struct loop *loop, size_t limit)
{
    return loop->world->below(loop->world_owner, (uint32_t)limit);
}

/* Puts it at a place that is drawn among the `count` that are dealt already. */
static void deal(struct loop *loop, struct watch *watch, size_t count)
{
    struct list *at = &loop->dealt;
    for (uint32_t skip = below(loop, count + 1); skip > 0; skip--)
        at = at->next;
    list_append(at->next, &watch->dealt_node);
}

static void deal_all(struct loop *loop)
{
    size_t count = 0;
    LIST_FOREACH (&loop->watchers, node) {
        struct watch *watch = container_of(node, struct watch, node);
        unsigned events = loop->world->ready(loop->world_owner, watch->fd, watch->events);
        watch->dealt = events & watch->events;
        if (watch->dealt)
            deal(loop, watch, count++);
    }
    if (loop->alarm_ms <= loop->now_ms)
        deal(loop, watch_of(&loop->alarm), count++);
    if (loop->woken)
        deal(loop, watch_of(&loop->wake), count++);
}

bool loop_sim_turn(struct loop *loop)
{
    REQUIRE(loop->world && list_is_empty(&loop->dealt));
    loop_update_now(loop);
    deal_all(loop);
    struct list *first;
    while ((first = list_first(&loop->dealt))) {
        struct loop_io *watcher = watcher_of(first);
        list_remove(first);
        watcher->fn(watcher, watch_of(watcher)->dealt);
        if (loop->world->after_callback)
            loop->world->after_callback(loop->world_owner);
    }
    return loop->ops->on_turn(loop->owner);
}

void loop_run(struct loop *loop)
{
    loop->stopped = false;
    /* As libev does, the end of a turn comes first. */
    bool busy = loop->ops->on_turn(loop->owner);
    while (!loop->stopped) {
        if (!busy && !loop->woken)
            loop->world->wait(loop->world_owner, loop->alarm_ms);
        busy = loop_sim_turn(loop);
    }
}

void loop_stop(struct loop *loop)
{
    loop->stopped = true;
}

void loop_wake(struct loop *loop)
{
    loop->woken = true;
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
    loop->alarm_ms = at_ms;
}

uint64_t loop_sim_alarm_ms(const struct loop *loop)
{
    return loop->alarm_ms;
}

void loop_io_init(struct loop_io *watcher, int fd, loop_io_fn fn)
{
    struct watch *watch = watch_of(watcher);
    *watch = (struct watch){.fd = fd};
    list_init(&watch->node);
    list_init(&watch->dealt_node);
    watcher->fn = fn;
}

void loop_io_watch(struct loop *loop, struct loop_io *watcher, unsigned events)
{
    struct watch *watch = watch_of(watcher);
    if (events == LOOP_NONE) {
        list_remove(&watch->node);
        list_remove(&watch->dealt_node);
    } else if (watch->events == LOOP_NONE) {
        list_append(&loop->watchers, &watch->node);
    }
    watch->events = events;
}

unsigned loop_sim_watched(const struct loop *loop, int fd)
{
    unsigned events = LOOP_NONE;
    LIST_FOREACH (&loop->watchers, node) {
        const struct watch *watch = container_of(node, const struct watch, node);
        if (watch->fd == fd)
            events |= watch->events;
    }
    return events;
}

const char *loop_release(void)
{
    return "simulated";
}
