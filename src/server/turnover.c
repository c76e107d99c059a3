/* server/turnover.c - loading aside, switching between two turns. */
#include "server/turnover.h"

#include <stdlib.h>
#include <string.h>

#include "net/reactor.h"
#include "script/held.h"
#include "script/hook.h"
#include "script/version.h"
#include "script/vm.h"
#include "server/addresses.h"
#include "server/gate.h"
#include "server/own.h"
#include "server/worker.h"

/* Connections whose conn.data is looked at for old functions: enough to find a habit, and quick. */
#define HELD_LOOKS 500

static struct turnover *turnover_of(struct job *job)
{
    return container_of(job, struct turnover, job);
}

bool turnover_prepare(struct own *own, struct job *job)
{
    struct turnover *turnover = turnover_of(job);
    const struct turnover_order *order = turnover->order;
    if (atomic_load(&order->given_up) || own->draining) {
        turnover->error = strdup("error: the reload was given up\n");
        return true;
    }
    struct version *version =
        version_load(own->vm, order->source, order->number, order->settings.load_timeout_ms,
                     &turnover->error);
    if (!version && !turnover->error)
        turnover->error = strdup("error: not enough memory\n");
    budget_set_limit(&own->vm->budget, order->settings.hook_timeout_ms);
    if (version && !hook_start(version, own->version->number, &turnover->error)) {
        version_free(version);
        version = NULL;
    }
    budget_set_limit(&own->vm->budget, own->settings.hook_timeout_ms);
    version_free(own->prepared); /* of a reload that was given up */
    own->prepared = version;
    own->preparing = turnover;
    own->reactor->slow = true; /* loading took time that nobody counted */
    return true;
}

bool turnover_drop(struct own *own, struct job *job)
{
    if (own->preparing != turnover_of(job))
        return true; /* given up, and a later reload has prepared since */
    own->preparing = NULL;
    if (own->draining)
        return true; /* it has been told to stop, and its connections are closing */
    if (own->canary.version)
        version_withdraw(own->canary.version);
    else
        version_free(own->prepared);
    own->canary.version = own->prepared = NULL;
    return true;
}

bool turnover_expose(struct own *own, struct job *job)
{
    const struct turnover *turnover = turnover_of(job);
    const struct version *serving = own->version;
    version_expose(own->prepared);
    own->canary = (struct own_canary){.version = own->prepared,
                                      .terms = &turnover->order->canary,
                                      .old_calls = serving->calls,
                                      .old_errors = serving->errors};
    return true;
}

bool turnover_measure(struct own *own, struct job *job)
{
    const struct own_canary *canary = &own->canary;
    if (canary->version)
        turnover_of(job)->counts =
            (struct canary_counts){.hooks = canary->version->calls,
                                   .errors = canary->version->errors,
                                   .old_hooks = own->version->calls - canary->old_calls,
                                   .old_errors = own->version->errors - canary->old_errors,
                                   .connections = canary->connections};
    return true;
}

static void open_gates(struct own *own, struct list *addresses)
{
    LIST_FOREACH (addresses, node) {
        const struct address *address = container_of(node, struct address, node);
        if (!gate_is_open(own, address) && gate_open(own, address))
            reactor_count(own->reactor, COUNTER_REFUSED_MEMORY, 1, NULL,
                          address->bound.text);
    }
}

bool turnover_switch(struct own *own, struct job *job)
{
    struct turnover *turnover = turnover_of(job);
    struct version *before = own->version, *version = own->prepared;
    own->canary.version = own->prepared = NULL;
    own->preparing = NULL;
    turnover->connections = own->reactor->conns.count;
    turnover->vanished = version_lost_hooks(before, version);
    turnover->orphans = version_switch(version);
    own->version = version;
    atomic_store(&own->worker->version, version->number);
    own->settings = turnover->order->settings;
    own_limit(own);
    gate_update_all(own);
    open_gates(own, turnover->order->addresses);
    hook_stop(before, "reload");
    turnover->timers_ended = version_retire(before);
    struct held held;
    held_look(own->vm, HELD_LOOKS, &held);
    turnover->held = held_of_others(&held, version->number);
    return true;
}

bool turnover_stop_gates(struct own *own, struct job *job)
{
    LIST_FOREACH (turnover_of(job)->order->dropped, node)
        gate_stop(own, container_of(node, struct address, node));
    return true;
}

#define LOOK_MS 500U

static void on_look(struct wheel_timer *timer)
{
    turnover_look(container_of(timer, struct own, look));
}

static void look_later(struct own *own)
{
    if (!own->look.fn)
        wheel_timer_init(&own->look, on_look);
    wheel_start(&own->reactor->wheel, &own->look, reactor_now_ms(own->reactor) + LOOK_MS);
}

static bool close_gates(struct own *own, const struct list *dropped)
{
    bool all = true;
    LIST_FOREACH (dropped, node)
        all &= gate_close(own, container_of(node, struct address, node));
    return all;
}

bool turnover_close_gates(struct own *own, struct job *job)
{
    struct turnover *turnover = turnover_of(job);
    if (close_gates(own, turnover->order->dropped))
        return true;
    list_append(&own->closing, &job->node);
    look_later(own);
    return false;
}

void turnover_look(struct own *own)
{
    LIST_FOREACH (&own->closing, node) {
        struct job *job = container_of(node, struct job, node);
        if (!close_gates(own, turnover_of(job)->order->dropped))
            continue;
        list_remove(node);
        job_finish(own, job);
    }
    if (!list_is_empty(&own->closing))
        look_later(own);
}
