/* server/worker.c - the life of a worker: load, wait for the word, serve, drain. */
#include "server/worker.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "io/io.h"
#include "net/conn.h"
#include "net/reactor.h"
#include "script/fault.h"
#include "script/lib_task.h"
#include "script/lib_timer.h"
#include "script/version.h"
#include "script/vm.h"
#include "server/addresses.h"
#include "server/gate.h"
#include "server/notice.h"
#include "server/own.h"
#include "server/turnover.h"

/* ---- Orders ---- */

static void set_state(struct worker *worker, enum worker_state state)
{
    atomic_store(&worker->state, state);
    worker->shared->notify(worker->shared->owner, NULL);
}

static void abort_all(struct own *own)
{
    own->aborting = true;
    conn_abort_all(own->reactor);
}

static void on_drain_timeout(struct wheel_timer *timer)
{
    abort_all(container_of(timer, struct own, drain));
}

static void stop_version(struct version *version)
{
    if (!version)
        return;
    hook_stop(version, "shutdown");
    lib_task_stop_all(version);
    (void)lib_timer_stop_all(version);
}

static void drain(struct own *own)
{
    if (own->draining)
        return;
    own->draining = true;
    gate_stop_all(own);
    set_state(own->worker, WORKER_DRAINING);
    stop_version(own->version);
    stop_version(own->canary.version);
    conn_shutdown_all(own->reactor);
    uint64_t timeout_ms = own->settings.drain_timeout_ms;
    wheel_start(&own->reactor->wheel, &own->drain,
                reactor_now_ms(own->reactor) + timeout_ms);
}

static void on_empty(struct reactor *reactor)
{
    const struct own *own = own_of(reactor);
    bool may_end = own->aborting || own->vm->stopping == 0;
    if (own->draining && may_end)
        loop_stop(reactor->loop);
}

void job_finish(struct own *own, struct job *job)
{
    struct workers *shared = own->worker->shared;
    pthread_mutex_lock(&shared->lock);
    list_append(&shared->finished, &job->node);
    pthread_mutex_unlock(&shared->lock);
    shared->notify(shared->owner, NULL);
}

static struct job *take_job(struct worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    struct list *node = list_first(&worker->jobs);
    if (node)
        list_remove(node);
    pthread_mutex_unlock(&worker->lock);
    return node ? container_of(node, struct job, node) : NULL;
}

/* Nobody will run what is still there. */
static void lose_jobs(struct own *own)
{
    struct worker *worker = own->worker;
    pthread_mutex_lock(&worker->lock);
    worker->ended = true;
    pthread_mutex_unlock(&worker->lock);
    struct job *job;
    while ((job = take_job(worker))) {
        job->lost = true;
        job_finish(own, job);
    }
}

static void obey(struct own *own)
{
    unsigned orders = atomic_load(&own->worker->orders);
    if (orders & (ORDER_DRAIN | ORDER_QUIT))
        drain(own);
    if (orders & ORDER_ABORT)
        abort_all(own);
}

static void run_jobs(struct own *own)
{
    struct job *job;
    while ((job = take_job(own->worker))) {
        obey(own); /* what was ordered before the job was given comes first */
        if (job->run(own, job))
            job_finish(own, job);
    }
}

static void on_wake(struct reactor *reactor)
{
    struct own *own = own_of(reactor);
    gate_take_mail(own);
    obey(own);
    run_jobs(own);
}

static const struct reactor_ops reactor_ops = {
    .on_wake = on_wake,
    .on_notice = notice_on_count,
    .on_closed = gate_on_closed,
    .on_empty = on_empty,
};

/* ---- Life ---- */

static void on_stop_asked(void *owner, const char *detail)
{
    struct workers *shared = ((struct own *)owner)->worker->shared;
    shared->notify(shared->owner, detail);
}

void own_limit(struct own *own)
{
    const struct app_settings *settings = &own->settings;
    uint64_t peers = settings->max_peers / own->worker->shared->count;
    own->reactor->max_buffered = settings->max_buffered;
    own->reactor->max_peers = peers ? (uint32_t)peers : 1;
    if (!own->vm)
        return;
    own->vm->alloc.limit = settings->lua_memory;
    budget_set_limit(&own->vm->budget, settings->hook_timeout_ms);
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
    const struct app_settings *settings = &own->settings;
    own->settings = *shared->settings;
    own->reactor = reactor_new(&io_system, &reactor_ops, own);
    atomic_store(&worker->reactor, own->reactor);
    if (!own->reactor)
        return fail(own, NULL);
    own_limit(own);
    wheel_timer_init(&own->drain, on_drain_timeout);
    struct vm_host host = {.io = &io_system,
                           .log = shared->log,
                           .reactor = own->reactor,
                           .worker = worker->index + 1,
                           .workers = shared->count,
                           .stop = on_stop_asked,
                           .admit = gate_admit,
                           .dismiss = gate_dismiss,
                           .owner = own};
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

static void serve(struct own *own)
{
    (void)version_switch(own->version);
    atomic_store(&own->worker->version, own->version->number);
    LIST_FOREACH (own->worker->shared->addresses, node) {
        const struct address *address = container_of(node, struct address, node);
        if (gate_open(own, address))
            log_printf(own->worker->shared->log, LOG_ERROR,
                       "cannot serve %s: out of memory", address->bound.text);
    }
    set_state(own->worker, WORKER_SERVING);
    loop_wake(own->reactor->loop); /* orders may have come before anybody could be woken */
    loop_run(own->reactor->loop);
}

/* All but the reactor, which others may still wake: worker_fini frees it. */
static void unload(struct own *own)
{
    lose_jobs(own);
    gate_close_all(own);
    turnover_look(own);
    if (own->reactor)
        wheel_stop(&own->reactor->wheel, &own->drain);
    if (own->vm) {
        notice_stop(own);
        fault_close(own->vm);
    }
    for (size_t i = 0; own->reactor && i < COUNTER_COUNT; i++)
        own->worker->totals[i] = counters_get(&own->reactor->counters, (enum counter)i);
    version_free(own->prepared);
    version_free(own->version);
    if (own->vm)
        budget_stop(&own->vm->budget);
    vm_free(own->vm);
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
    list_init(&own.gates);
    list_init(&own.closing);
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
    list_init(&worker->jobs);
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

void worker_give(struct worker *worker, struct job *job)
{
    job->worker = worker;
    list_init(&job->node);
    pthread_mutex_lock(&worker->lock);
    bool ended = worker->ended;
    job->lost = ended;
    if (!ended)
        list_append(&worker->jobs, &job->node); /* the worker's from here on */
    struct reactor *reactor = atomic_load(&worker->reactor);
    if (reactor && !ended)
        loop_wake(reactor->loop);
    pthread_mutex_unlock(&worker->lock);
    if (!ended)
        return;
    struct workers *shared = worker->shared;
    pthread_mutex_lock(&shared->lock);
    list_append(&shared->finished, &job->node);
    pthread_mutex_unlock(&shared->lock);
    shared->notify(shared->owner, NULL);
}

bool workers_collect(struct workers *workers)
{
    struct list finished;
    pthread_mutex_lock(&workers->lock);
    list_take(&finished, &workers->finished);
    pthread_mutex_unlock(&workers->lock);
    struct list *node;
    bool any = !list_is_empty(&finished);
    while ((node = list_first(&finished))) {
        struct job *job = container_of(node, struct job, node);
        list_remove(node);
        job->done(job);
    }
    return any;
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
