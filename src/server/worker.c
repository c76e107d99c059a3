/* server/worker.c - the life of a worker, and where a new connection goes. */
#include "server/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "io/io.h"
#include "net/conn.h"
#include "net/dgram.h"
#include "net/listener.h"
#include "net/reactor.h"
#include "net/stream.h"
#include "script/fault.h"
#include "script/lib_timer.h"
#include "script/record.h"
#include "script/services.h"
#include "script/version.h"
#include "script/vm.h"

/* A limit that is hit is told at once, then once in so long. */
#define NOTICE_MS 10000U

/* How far above the least loaded worker this one may be before it hands new connections on. */
#define SURPLUS_MIN 8
#define SURPLUS_PART 10

/* What the thread has for itself. */
struct notice {
    struct wheel_timer timer;
    struct own *own;
    uint64_t again;
};

struct gate { /* one listening socket in this worker */
    struct listener listener;
    struct dgram *dgram;
    struct own *own;
    size_t index; /* in shared->endpoints */
    struct service *service;
    enum transport transport;
};

struct own {
    struct worker *worker;
    struct reactor *reactor;
    struct vm *vm;
    struct version *version;
    struct gate *gates; /* by endpoint; those it does not watch are zeros */
    struct wheel_timer drain;
    bool draining;
    struct notice notices[COUNTER_COUNT];
};

static struct own *own_of(struct reactor *reactor)
{
    return reactor->owner;
}

/* ---- Telling of limits ---- */

static void tell_notice(struct own *own, enum counter counter, const struct conn *conn,
                        const char *detail)
{
    struct log_field fields[2];
    size_t count = 0;
    uint64_t again = own->notices[counter].again;
    if (detail)
        fields[count++] = record_string("detail", detail);
    if (again)
        fields[count++] = record_integer("count", (int64_t)again);
    const char *message = counter_rows[counter].notice;
    record_write(own->vm, &(struct record){.level = LOG_WARN,
                                           .message = message,
                                           .message_len = strlen(message),
                                           .conn = conn,
                                           .no_conn = !conn,
                                           .fields = fields,
                                           .field_count = count});
}

static void on_notice_due(struct wheel_timer *timer)
{
    struct notice *notice = container_of(timer, struct notice, timer);
    struct own *own = notice->own;
    if (notice->again == 0)
        return;
    tell_notice(own, (enum counter)(notice - own->notices), NULL, NULL);
    notice->again = 0;
    wheel_start(&own->reactor->wheel, timer, reactor_now_ms(own->reactor) + NOTICE_MS);
}

static void on_notice(struct reactor *reactor, enum counter counter,
                      const struct conn *conn, const char *detail)
{
    struct own *own = own_of(reactor);
    struct notice *notice = &own->notices[counter];
    if (!notice->own) {
        notice->own = own;
        wheel_timer_init(&notice->timer, on_notice_due);
    }
    if (wheel_timer_is_started(&notice->timer)) {
        notice->again++;
        return;
    }
    tell_notice(own, counter, conn, detail);
    wheel_start(&reactor->wheel, &notice->timer, reactor_now_ms(reactor) + NOTICE_MS);
}

static void stop_notices(struct own *own)
{
    for (size_t i = 0; i < COUNTER_COUNT; i++) {
        struct notice *notice = &own->notices[i];
        if (!notice->own)
            continue;
        wheel_stop(&own->reactor->wheel, &notice->timer);
        if (notice->again)
            tell_notice(own, (enum counter)i, NULL, NULL);
    }
}

/* ---- Connections ---- */

static uint64_t next_number(struct reactor *reactor)
{
    struct workers *shared = own_of(reactor)->worker->shared;
    uint64_t count =
        atomic_fetch_add_explicit(&shared->next_number, 1, memory_order_relaxed);
    /* A peer can make it come round, with a datagram a number, in some weeks at full speed; a
     * handle that old may as well name another. */
    return count % SLOTS_GENERATION_LAST + 1;
}

static void count_conn(struct worker *worker, int by)
{
    atomic_fetch_add_explicit(&worker->conn_count, (uint32_t)by, memory_order_relaxed);
}

static void refuse(struct own *own, int fd, const struct endpoint *peer)
{
    own->reactor->io->ops->close(own->reactor->io, fd, 0);
    admission_leave(&own->worker->shared->admission, peer);
    count_conn(own->worker, -1);
}

static void open_conn(struct own *own, const struct gate *gate, int fd,
                      const struct endpoint *peer)
{
    if (own->draining) {
        refuse(own, fd, peer);
        return;
    }
    if (!hook_accept(gate->service, peer, gate->transport)) {
        reactor_count(own->reactor, COUNTER_REFUSED_SCRIPT, 1, NULL, NULL);
        refuse(own, fd, peer);
        return;
    }
    struct stream_origin origin = {.fd = fd,
                                   .transport = gate->transport,
                                   .peer = peer,
                                   .number = next_number(own->reactor)};
    int failed = stream_open(own->reactor, gate->service, &origin);
    if (!failed)
        return;
    reactor_count(own->reactor, COUNTER_REFUSED_MEMORY, 1, NULL, strerrorname_np(-failed));
    admission_leave(&own->worker->shared->admission, peer);
    count_conn(own->worker, -1);
}

static struct worker *least_loaded(struct workers *shared, uint32_t *count)
{
    struct worker *least = &shared->all[0];
    *count = UINT32_MAX;
    for (unsigned i = 0; i < shared->count; i++) {
        uint32_t here =
            atomic_load_explicit(&shared->all[i].conn_count, memory_order_relaxed);
        if (here < *count) {
            least = &shared->all[i];
            *count = here;
        }
    }
    return least;
}

/* Clearly more connections here than elsewhere: before any hook has run, it goes there. */
static bool hand_over(struct own *own, const struct gate *gate, int fd,
                      const struct endpoint *peer)
{
    struct worker *worker = own->worker;
    if (worker->shared->count == 1)
        return false;
    uint32_t least_count,
        here = atomic_load_explicit(&worker->conn_count, memory_order_relaxed);
    struct worker *least = least_loaded(worker->shared, &least_count);
    uint32_t surplus =
        here / SURPLUS_PART > SURPLUS_MIN ? here / SURPLUS_PART : SURPLUS_MIN;
    struct reactor *reactor = atomic_load(&least->reactor);
    bool serves = atomic_load(&least->state) == WORKER_SERVING;
    if (least == worker || here < least_count + surplus || !serves)
        return false;
    struct mail mail = {.fd = fd, .listener = gate->index, .peer = *peer};
    if (!mailbox_post(&least->mailbox, &mail))
        return false;
    count_conn(least, 1);
    loop_wake(reactor->loop);
    counters_add(&own->reactor->counters, COUNTER_HANDED_OVER, 1);
    return true;
}

static void on_accepted(struct listener *listener, int fd, const struct endpoint *peer)
{
    struct gate *gate = container_of(listener, struct gate, listener);
    struct own *own = gate->own;
    struct workers *shared = own->worker->shared;
    enum counter refused =
        admission_enter(&shared->admission, peer, reactor_now_ms(own->reactor));
    if (refused != COUNTER_COUNT) {
        own->reactor->io->ops->close(own->reactor->io, fd, 0);
        reactor_count(own->reactor, refused, 1, NULL, NULL);
        return;
    }
    if (hand_over(own, gate, fd, peer))
        return;
    count_conn(own->worker, 1);
    open_conn(own, gate, fd, peer);
}

static void on_closed(struct reactor *reactor, const struct conn *conn)
{
    struct endpoint peer;
    conn_peer(conn, &peer);
    admission_leave(&own_of(reactor)->worker->shared->admission, &peer);
    count_conn(own_of(reactor)->worker, -1);
}

/* ---- Orders ---- */

static void set_state(struct worker *worker, enum worker_state state)
{
    atomic_store(&worker->state, state);
    worker->shared->notify(worker->shared->owner, NULL);
}

static void stop_gates(struct own *own)
{
    for (size_t i = 0; i < own->worker->shared->endpoint_count; i++) {
        listener_stop(&own->gates[i].listener);
        if (own->gates[i].dgram)
            dgram_stop(own->gates[i].dgram);
    }
}

static void on_drain_timeout(struct wheel_timer *timer)
{
    struct own *own = container_of(timer, struct own, drain);
    conn_abort_all(own->reactor);
}

static void drain(struct own *own)
{
    if (own->draining)
        return;
    own->draining = true;
    stop_gates(own);
    set_state(own->worker, WORKER_DRAINING);
    hook_stop(own->version, "shutdown");
    lib_timer_stop_all(own->version);
    conn_shutdown_all(own->reactor);
    uint64_t timeout_ms = own->worker->shared->settings->drain_timeout_ms;
    wheel_start(&own->reactor->wheel, &own->drain,
                reactor_now_ms(own->reactor) + timeout_ms);
}

static void on_empty(struct reactor *reactor)
{
    if (own_of(reactor)->draining)
        loop_stop(reactor->loop);
}

static void take_mail(struct own *own)
{
    struct mail mail;
    while (mailbox_take(&own->worker->mailbox, &mail))
        open_conn(own, &own->gates[mail.listener], mail.fd, &mail.peer);
}

static void on_wake(struct reactor *reactor)
{
    struct own *own = own_of(reactor);
    unsigned orders = atomic_load(&own->worker->orders);
    take_mail(own);
    if (orders & (ORDER_DRAIN | ORDER_QUIT))
        drain(own);
    if (orders & ORDER_ABORT)
        conn_abort_all(reactor);
}

static const struct reactor_ops reactor_ops = {
    .on_wake = on_wake,
    .on_notice = on_notice,
    .on_closed = on_closed,
    .on_empty = on_empty,
};

/* ---- Life ---- */

static void on_stop_asked(void *owner, const char *detail)
{
    struct workers *shared = owner;
    shared->notify(shared->owner, detail);
}

static bool fail(struct own *own, char *error)
{
    own->worker->error = error ? error : strdup("error: not enough memory\n");
    return false;
}

static bool load(struct own *own)
{
    struct worker *worker = own->worker;
    struct workers *shared = worker->shared;
    const struct app_settings *settings = shared->settings;
    own->reactor = reactor_new(&io_system, &reactor_ops, own);
    atomic_store(&worker->reactor, own->reactor);
    own->gates = calloc(shared->endpoint_count + 1, sizeof *own->gates);
    if (!own->reactor || !own->gates)
        return fail(own, NULL);
    own->reactor->max_buffered = settings->max_buffered;
    uint64_t peers = settings->max_peers / shared->count;
    own->reactor->max_peers = peers ? (uint32_t)peers : 1;
    wheel_timer_init(&own->drain, on_drain_timeout);
    struct vm_host host = {.io = &io_system,
                           .log = shared->log,
                           .reactor = own->reactor,
                           .worker = worker->index + 1,
                           .workers = shared->count,
                           .stop = on_stop_asked,
                           .owner = shared};
    own->vm = vm_new(&host, settings->lua_memory);
    if (!own->vm)
        return fail(own, NULL);
    int failed = budget_start(&own->vm->budget, settings->hook_timeout_ms);
    if (failed)
        log_printf(shared->log, LOG_WARN, "hook_timeout is not enforced: %s",
                   strerror(-failed));
    char *error;
    own->version =
        version_load(own->vm, shared->source, 1, settings->load_timeout_ms, &error);
    if (!own->version || !hook_start(own->version, 0, &error))
        return fail(own, error);
    return true;
}

/* An address that exists once is watched by the first worker. */
static bool open_gate(struct own *own, size_t index)
{
    const struct endpoint_plan *plan = &own->worker->shared->endpoints[index];
    unsigned worker = own->worker->index;
    if (worker >= plan->bound.fd_count)
        worker = 0;
    struct gate *gate = &own->gates[index];
    gate->own = own;
    gate->index = index;
    gate->transport = plan->bound.transport;
    gate->service = services_find(own->vm, plan->service);
    if (!gate->service || own->worker->index >= plan->bound.fd_count)
        return gate->service != NULL;
    int fd = plan->bound.fds[worker];
    if (transport_is_stream(gate->transport)) {
        listener_start(&gate->listener, own->reactor, fd, on_accepted);
        return true;
    }
    gate->dgram = dgram_open(own->reactor, gate->service, fd, gate->transport, next_number);
    return gate->dgram != NULL;
}

static void serve(struct own *own)
{
    (void)version_switch(own->version);
    for (size_t i = 0; i < own->worker->shared->endpoint_count; i++)
        if (!open_gate(own, i))
            log_printf(own->worker->shared->log, LOG_ERROR,
                       "cannot serve %s: out of memory",
                       own->worker->shared->endpoints[i].bound.text);
    set_state(own->worker, WORKER_SERVING);
    loop_wake(own->reactor->loop); /* orders may have come before anybody could be woken */
    loop_run(own->reactor->loop);
}

/* All but the reactor, which others may still wake: worker_fini frees it. */
static void unload(struct own *own)
{
    for (size_t i = 0; own->gates && i < own->worker->shared->endpoint_count; i++)
        dgram_close(own->gates[i].dgram);
    if (own->reactor)
        wheel_stop(&own->reactor->wheel, &own->drain);
    if (own->vm) {
        stop_notices(own);
        fault_close(own->vm);
    }
    for (size_t i = 0; own->reactor && i < COUNTER_COUNT; i++)
        own->worker->totals[i] = counters_get(&own->reactor->counters, (enum counter)i);
    version_free(own->version);
    if (own->vm)
        budget_stop(&own->vm->budget);
    vm_free(own->vm);
    free(own->gates);
}

static unsigned await_word(struct worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    while (!(atomic_load(&worker->orders) & (ORDER_SERVE | ORDER_QUIT)))
        pthread_cond_wait(&worker->ordered, &worker->lock);
    pthread_mutex_unlock(&worker->lock);
    return atomic_load(&worker->orders);
}

static void *worker_main(void *argument)
{
    struct own own = {.worker = argument};
    bool loaded = load(&own);
    if (loaded) {
        set_state(own.worker, WORKER_READY);
        if (await_word(own.worker) & ORDER_SERVE)
            serve(&own);
    }
    unload(&own);
    set_state(own.worker, loaded ? WORKER_DONE : WORKER_FAILED);
    return NULL;
}

int worker_start(struct worker *worker, struct workers *shared, unsigned index)
{
    worker->shared = shared;
    worker->index = index;
    atomic_init(&worker->state, WORKER_LOADING);
    pthread_mutex_init(&worker->lock, NULL);
    pthread_cond_init(&worker->ordered, NULL);
    mailbox_init(&worker->mailbox);
    return -pthread_create(&worker->thread, NULL, worker_main, worker);
}

void worker_order(struct worker *worker, enum worker_order order)
{
    pthread_mutex_lock(&worker->lock);
    atomic_fetch_or(&worker->orders, (unsigned)order);
    pthread_cond_signal(&worker->ordered);
    struct reactor *reactor = atomic_load(&worker->reactor);
    if (reactor)
        loop_wake(reactor->loop);
    pthread_mutex_unlock(&worker->lock);
}

void worker_join(struct worker *worker)
{
    pthread_join(worker->thread, NULL);
}

void worker_fini(struct worker *worker)
{
    reactor_free(atomic_load(&worker->reactor));
    mailbox_fini(&worker->mailbox);
    pthread_cond_destroy(&worker->ordered);
    pthread_mutex_destroy(&worker->lock);
}
