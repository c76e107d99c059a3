/* server/reload.c - the steps of a reload, each begun when all workers have done the one before. */
#include "server/reload.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/log.h"
#include "script/source.h"
#include "server/core.h"
#include "server/reload_report.h"
#include "server/turnover.h"

/* A worker that has not answered so long after load_timeout is in a hook that does not return. */
#define PATIENCE_MS 10000U

enum phase { LOADING, PREPARING, SWITCHING, CLOSING, FORGETTING, DROPPING };

struct reload {
    struct core *core;
    struct reload_request request;
    struct plan plan;
    struct turnover_order order;
    struct turnover *turnovers; /* one for each worker */
    unsigned pending;           /* jobs that are on their way */
    enum phase phase;
    bool answered, told_before;
    char *errors; /* of plan_open or addresses_prepare, or of a worker */
    size_t errors_len;
    int status;
    pthread_t loader;
    _Atomic bool loaded;
    struct list dropped;
    struct wheel_timer patience;
    struct reload_facts facts;
};

static void step(struct reload *reload);

/* ---- The end ---- */

static void free_reload(struct reload *reload)
{
    struct core *core = reload->core;
    wheel_stop(&core->wheel, &reload->patience);
    for (unsigned i = 0; i < core->started; i++)
        free(reload->turnovers[i].error);
    plan_close(&reload->plan);
    source_unref(reload->request.source);
    reload_facts_fini(&reload->facts);
    free(reload->turnovers);
    free(reload->errors);
    free(reload);
}

/* Others may begin from here on; this one may still have workers to hear from. */
static void detach(struct reload *reload)
{
    struct core *core = reload->core;
    if (core->reload != reload)
        return;
    core->reload = NULL;
}

static void answer(struct reload *reload, json_t *report)
{
    if (reload->answered)
        return;
    reload->answered = true;
    const char *error = reload->status == EX_OK ? NULL : reload->errors;
    if (reload->status != EX_OK && !error && !reload->told_before)
        error = "error: not enough memory\n";
    reload->request.done(reload->request.owner, report, error, reload->status);
}

static void fail(struct reload *reload, int status, char *errors)
{
    if (reload->status == EX_OK) {
        reload->status = status;
        free(reload->errors);
        reload->errors = errors;
    } else {
        free(errors);
    }
}

/* ---- Jobs ---- */

static void on_job_done(struct job *job)
{
    struct turnover *turnover = container_of(job, struct turnover, job);
    struct reload *reload = container_of(turnover->order, struct reload, order);
    if (turnover->error) {
        fail(reload, EX_DATAERR, turnover->error);
        turnover->error = NULL;
    }
    if (--reload->pending == 0)
        step(reload);
}

static void give_all(struct reload *reload, enum phase phase,
                     bool (*run)(struct own *own, struct job *job))
{
    struct core *core = reload->core;
    reload->phase = phase;
    reload->pending = core->started;
    for (unsigned i = 0; i < core->started; i++) {
        reload->turnovers[i].job = (struct job){.run = run, .done = on_job_done};
        worker_give(&core->workers.all[i], &reload->turnovers[i].job);
    }
}

/* ---- Loading ---- */

static void *load(void *argument)
{
    struct reload *reload = argument;
    FILE *errors = open_memstream(&reload->errors, &reload->errors_len);
    if (errors) {
        reload->status =
            plan_open(&reload->plan, reload->core->config, reload->request.source, errors);
        fclose(errors);
    } else {
        reload->status = EX_OSERR;
    }
    atomic_store(&reload->loaded, true);
    loop_wake(reload->core->loop);
    return NULL;
}

static bool is_unchanged(const struct reload *reload)
{
    return reload->request.if_changed &&
           strcmp(reload->plan.source->hash, reload->core->plan->source->hash) == 0;
}

static void on_patience_over(struct wheel_timer *timer)
{
    struct reload *reload = container_of(timer, struct reload, patience);
    reload_give_up(reload->core);
}

static void begin_prepare(struct reload *reload)
{
    struct core *core = reload->core;
    FILE *errors;
    free(reload->errors);
    reload->errors = NULL;
    reload_facts_files(&reload->facts, core->plan->source, reload->plan.source);
    errors = open_memstream(&reload->errors, &reload->errors_len);
    reload->status =
        errors ? addresses_prepare(&core->addresses, &reload->plan, errors) : EX_OSERR;
    if (errors)
        fclose(errors);
    if (reload->status != EX_OK) {
        answer(reload, NULL);
        detach(reload);
        free_reload(reload);
        return;
    }
    reload->order.source = reload->plan.source;
    reload->order.number = core->history.last + 1;
    reload->order.settings = reload->plan.version->settings;
    reload->order.addresses = &core->addresses.all;
    reload->order.dropped = &reload->dropped;
    wheel_timer_init(&reload->patience, on_patience_over);
    wheel_start(&core->wheel, &reload->patience,
                core_now_ms(core) + reload->order.settings.load_timeout_ms + PATIENCE_MS);
    give_all(reload, PREPARING, turnover_prepare);
}

/* What does not load is told once, until it changes: editors save twice. */
static void note_failure(struct reload *reload)
{
    char *failed_hash = reload->core->failed_hash;
    const struct source *source = reload->plan.source;
    if (reload->status == EX_OK || !source || !source->sealed) {
        failed_hash[0] = '\0';
        return;
    }
    bool told = strcmp(failed_hash, source->hash) == 0;
    memcpy(failed_hash, source->hash, sizeof reload->core->failed_hash);
    if (!told || !reload->request.if_changed)
        return;
    reload->told_before = true;
    free(reload->errors);
    reload->errors = NULL;
}

/* The loader has come to its end. */
static void on_loaded(struct reload *reload)
{
    pthread_join(reload->loader, NULL);
    note_failure(reload);
    if (reload->status == EX_OK && !is_unchanged(reload) && !reload->core->draining) {
        begin_prepare(reload);
        return;
    }
    answer(reload, NULL);
    detach(reload);
    free_reload(reload);
}

/* ---- Steps ---- */

static void drop(struct reload *reload)
{
    if (reload->core->reload == reload) /* given up, and another one may be under way */
        addresses_abandon(&reload->core->addresses);
    answer(reload, NULL);
    detach(reload);
    give_all(reload, DROPPING, turnover_drop);
}

static void begin_switch(struct reload *reload)
{
    struct core *core = reload->core;
    wheel_stop(&core->wheel, &reload->patience);
    reload_facts_addresses(&reload->facts, &core->addresses);
    reload_facts_ignored(&reload->facts, core->plan, &reload->plan);
    addresses_commit(&core->addresses, &reload->plan, &reload->dropped);
    give_all(reload, SWITCHING, turnover_switch);
}

/* All workers serve it now. */
static void take_over(struct reload *reload)
{
    struct core *core = reload->core;
    struct past past = {.number = reload->order.number,
                        .same_as = reload->request.same_as,
                        .source = reload->plan.source,
                        .since_ms = core_now_ms(core)};
    reload_facts_over(&reload->facts);
    for (unsigned i = 0; i < core->started; i++)
        reload_facts_worker(&reload->facts, &reload->turnovers[i]);
    struct plan before = *core->plan;
    *core->plan = reload->plan;
    reload->plan = before; /* is closed with the reload */
    core_serve(core, &past);
    json_t *report = reload_report(&reload->facts, &past, &core->history);
    answer(reload, report);
    json_decref(report);
}

static void free_dropped(struct reload *reload)
{
    LIST_FOREACH (&reload->dropped, node)
        address_free(container_of(node, struct address, node));
    detach(reload);
    free_reload(reload);
}

/* Every worker has done what it was given. */
static void step(struct reload *reload)
{
    switch (reload->phase) {
    case LOADING:
        break;
    case PREPARING:
        if (reload->status == EX_OK && !reload->core->draining)
            begin_switch(reload);
        else
            drop(reload);
        break;
    case SWITCHING:
        take_over(reload);
        if (list_is_empty(&reload->dropped))
            free_dropped(reload);
        else
            give_all(reload, CLOSING, turnover_stop_gates);
        break;
    case CLOSING:
        detach(reload); /* peers of a datagram socket may keep it for long */
        give_all(reload, FORGETTING, turnover_close_gates);
        break;
    case FORGETTING:
        free_dropped(reload);
        break;
    case DROPPING:
        free_reload(reload);
        break;
    }
}

void reload_look(struct core *core)
{
    struct reload *reload = core->reload;
    if (reload && reload->phase == LOADING && atomic_load(&reload->loaded))
        on_loaded(reload);
}

void reload_give_up(struct core *core)
{
    struct reload *reload = core->reload;
    if (!reload || reload->phase != PREPARING)
        return;
    atomic_store(&reload->order.given_up, true);
    fail(reload, EXIT_FAILURE,
         strdup(
             "error: a worker does not answer: a hook of the version that serves does not "
             "return\n"));
    addresses_abandon(&core->addresses);
    answer(reload, NULL);
    detach(reload); /* those who have prepared are told when the last one has answered */
}

bool reload_start(struct core *core, const struct reload_request *request)
{
    struct reload *reload;
    if (core->reload || core->draining)
        return false;
    reload = calloc(1, sizeof *reload);
    if (reload)
        reload->turnovers = calloc(core->started, sizeof *reload->turnovers);
    if (!reload || !reload->turnovers) {
        free(reload);
        request->done(request->owner, NULL, "error: not enough memory\n", EX_OSERR);
        return true;
    }
    reload->core = core;
    reload->request = *request;
    if (request->source)
        source_ref(request->source);
    for (unsigned i = 0; i < core->started; i++)
        reload->turnovers[i].order = &reload->order;
    list_init(&reload->dropped);
    wheel_timer_init(&reload->patience, on_patience_over);
    reload_facts_init(&reload->facts);
    core->reload = reload;
    int failed = pthread_create(&reload->loader, NULL, load, reload);
    if (!failed)
        return true;
    fail(reload, EX_OSERR, strdup("error: cannot start the loader's thread\n"));
    answer(reload, NULL);
    detach(reload);
    free_reload(reload);
    return true;
}
