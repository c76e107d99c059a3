/* server/reload.c - the steps of a reload, each begun when all workers have done the one before. */
#include "server/reload.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "base/log.h"
#include "io/io.h"
#include "script/source.h"
#include "server/core.h"
#include "server/reload_report.h"
#include "server/turnover.h"
#include "server/watch.h"

/* A worker that has not answered so long after load_timeout is in a hook that does not return. */
#define PATIENCE_MS 10000U

/* How often a canary is looked at. */
#define CANARY_LOOK_MS 200U

enum phase {
    LOADING,
    PREPARING,
    EXPOSING,
    WAITING, /* a canary: for somebody to decide, or for enough hooks */
    MEASURING,
    SWITCHING,
    CLOSING,
    FORGETTING,
    DROPPING
};

/* What is to become of a canary when its workers have answered. */
enum wish { NO_WISH, PROMOTE, WITHDRAW };

struct reload {
    struct core *core;
    struct reload_request request;
    struct plan plan;
    struct turnover_order order;
    struct turnover *turnovers; /* one for each worker */
    unsigned pending;           /* jobs that are on their way */
    enum phase phase;
    bool answered, told_before, is_canary;
    enum wish wish;
    uint64_t exposed_ms;         /* the candidate has had its share since then */
    struct canary_counts counts; /* over all workers */
    char *errors;                /* of plan_open or addresses_prepare, or of a worker */
    size_t errors_len;
    int status;
    pthread_t loader;
    _Atomic bool loaded;
    struct list left; /* in core->left_loaders, when it was given up while it loads */
    struct list dropped;
    json_t *report; /* to be told when what it says is so everywhere */
    struct wheel_timer patience, look;
    struct reload_facts facts;
};

static void step(struct reload *reload);

/* ---- The end ---- */

static void free_reload(struct reload *reload)
{
    struct core *core = reload->core;
    wheel_stop(&core->wheel, &reload->patience);
    wheel_stop(&core->wheel, &reload->look);
    for (unsigned i = 0; i < core->started; i++)
        free(reload->turnovers[i].error);
    plan_close(&reload->plan);
    source_unref(reload->request.source);
    reload_facts_fini(&reload->facts);
    json_decref(reload->report);
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
    if (!core->reload_again)
        return;
    core->reload_again = false;
    if (core->watch) { /* a file may be being written */
        watch_look(core->watch);
        return;
    }
    core->reload_due = true;
    loop_wake(core->loop);
}

static void strip(char *text)
{
    for (size_t len = text ? strlen(text) : 0; len > 0 && text[len - 1] == '\n';)
        text[--len] = '\0';
}

/* Whoever asked is told, once. */
static void tell(struct reload *reload, json_t *report, const char *error, int status)
{
    if (reload->answered)
        return;
    reload->answered = true;
    if (reload->request.done)
        reload->request.done(reload->request.owner, report, error, status);
}

static void log_error(const struct core *core, const char *error)
{
    unsigned serving = core->history.all[0].number;
    char *block = NULL;
    if (log_format_of(core->log) == LOG_TEXT && asprintf(&block, "%s\n", error) > 0) {
        log_printf(core->log, LOG_ERROR, "reload failed, version %u goes on:", serving);
        log_write_raw(core->log, block, strlen(block));
        free(block);
    } else {
        log_printf(core->log, LOG_ERROR, "reload failed, version %u goes on: %s", serving,
                   error);
    }
}

static void log_report(const struct core *core, const json_t *report)
{
    char line[1024];
    reload_line(report, line, sizeof line);
    log_printf(core->log, LOG_INFO, "%s", line);
}

/* The outcome: in the log, and told to whoever waits for it. */
static void answer(struct reload *reload, json_t *report)
{
    const char *error = reload->status == EX_OK ? NULL : reload->errors;
    if (reload->answered && !report)
        return;
    if (reload->status != EX_OK && !error && !reload->told_before)
        error = "error: not enough memory";
    if (report)
        log_report(reload->core, report);
    else if (error && !reload->core->draining)
        log_error(reload->core, error);
    tell(reload, report, error, reload->status);
}

/* `errors` is owned from here on. */
static void fail(struct reload *reload, int status, char *errors)
{
    strip(errors);
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
        strip(reload->errors);
    } else {
        reload->status = EX_OSERR;
    }
    atomic_store(&reload->loaded, true);
    loop_wake(reload->core->loop);
    return NULL;
}

/* From now on the files as they are must change before a look at them does something: what was
 * rolled back does not come again by itself. */
static void note_files(const struct reload *reload)
{
    struct core *core = reload->core;
    if (!reload->request.source)
        memcpy(core->files_hash, reload->plan.source->hash, sizeof core->files_hash);
}

static bool is_unchanged(const struct reload *reload)
{
    const struct core *core = reload->core;
    const char *hash = reload->plan.source->hash;
    bool serves = strcmp(hash, core->plan->source->hash) == 0;
    bool was_seen = strcmp(hash, core->files_hash) == 0;
    if (serves)
        note_files(reload);
    return reload->request.if_changed && (serves || was_seen);
}

static void give_up(struct reload *reload, const char *prepare_error,
                    const char *load_error);

static void on_patience_over(struct wheel_timer *timer)
{
    give_up(
        container_of(timer, struct reload, patience),
        "error: a worker does not answer: a hook of the version that serves, or the new "
        "on_start, does not return",
        "error: the script does not come to the end of loading: it is in a call that "
        "does not return");
}

static void start_patience(struct reload *reload, uint64_t load_timeout_ms)
{
    struct core *core = reload->core;
    wheel_start(&core->wheel, &reload->patience,
                core_now_ms(core) + load_timeout_ms + PATIENCE_MS);
}

/* EX_OK, or it has been told. */
static int prepare_addresses(struct reload *reload)
{
    free(reload->errors);
    reload->errors = NULL;
    FILE *errors = open_memstream(&reload->errors, &reload->errors_len);
    if (!errors)
        return EX_OSERR;
    int status = addresses_prepare(&reload->core->addresses, &reload->plan, errors);
    fclose(errors);
    strip(reload->errors);
    return status;
}

static void begin_prepare(struct reload *reload)
{
    struct core *core = reload->core;
    reload_facts_files(&reload->facts, core->plan->source, reload->plan.source);
    reload->order.source = reload->plan.source;
    reload->order.number = core->history.last + 1;
    reload->order.settings = reload->plan.version->settings;
    reload->order.addresses = &core->addresses.all;
    reload->order.dropped = &reload->dropped;
    start_patience(reload, reload->order.settings.load_timeout_ms);
    give_all(reload, PREPARING, turnover_prepare);
}

static void end_early(struct reload *reload)
{
    answer(reload, NULL);
    detach(reload);
    free_reload(reload);
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
    core_watch(reload->core, source);
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
    wheel_stop(&reload->core->wheel, &reload->patience);
    reload->plan.workers = reload->core->started;
    note_failure(reload);
    bool goes_on = reload->status == EX_OK && !is_unchanged(reload);
    /* The addresses of a candidate wait for its promotion. */
    if (goes_on && !reload->is_canary)
        reload->status = prepare_addresses(reload);
    if (goes_on && reload->status == EX_OK)
        begin_prepare(reload);
    else
        end_early(reload);
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

/* ---- Canary ---- */

static void begin_switch(struct reload *reload);

static void sum_counts(struct reload *reload)
{
    struct canary_counts *sum = &reload->counts;
    *sum = (struct canary_counts){0};
    for (unsigned i = 0; i < reload->core->started; i++) {
        const struct canary_counts *one = &reload->turnovers[i].counts;
        sum->hooks += one->hooks;
        sum->errors += one->errors;
        sum->old_hooks += one->old_hooks;
        sum->old_errors += one->old_errors;
        sum->connections += one->connections;
    }
}

static json_t *describe(const struct reload *reload)
{
    const struct canary_counts *counts = &reload->counts;
    const struct canary_terms *terms = &reload->order.canary;
    return json_pack("{s:i,s:s,s:I,s:I,s:I,s:I,s:I}", "version", (int)reload->order.number,
                     terms->share ? "share" : "peer", terms->text, "connections",
                     (json_int_t)counts->connections, "hooks", (json_int_t)counts->hooks,
                     "errors", (json_int_t)counts->errors, "old_hooks",
                     (json_int_t)counts->old_hooks, "old_errors",
                     (json_int_t)counts->old_errors);
}

static bool has_canary(const struct core *core)
{
    const struct reload *reload = core->reload;
    return reload && (reload->phase == WAITING || reload->phase == MEASURING);
}

json_t *reload_canary(const struct core *core)
{
    return has_canary(core) ? describe(core->reload) : NULL;
}

bool reload_candidate(const struct core *core, struct past *past)
{
    const struct reload *reload = core->reload;
    if (!has_canary(core))
        return false;
    *past = (struct past){.number = reload->order.number,
                          .source = reload->plan.source,
                          .since_ms = reload->exposed_ms};
    return true;
}

static void on_look(struct wheel_timer *timer)
{
    struct reload *reload = container_of(timer, struct reload, look);
    if (reload->phase == WAITING)
        give_all(reload, MEASURING, turnover_measure);
}

/* All workers give the candidate its share. */
static void begin_waiting(struct reload *reload)
{
    struct core *core = reload->core;
    reload->phase = WAITING;
    wheel_start(&core->wheel, &reload->look, core_now_ms(core) + CANARY_LOOK_MS);
    if (reload->order.canary.decide || reload->answered)
        return; /* the answer is the decision */
    json_t *report = json_pack("{s:i,s:i,s:s,s:o}", "version", (int)reload->order.number,
                               "previous", (int)core->history.all[0].number, "hash",
                               reload->plan.source->hash, "canary", describe(reload));
    answer(reload, report);
    json_decref(report);
}

static void promote(struct reload *reload)
{
    reload_facts_begin(&reload->facts);
    reload->status = prepare_addresses(reload);
    if (reload->status == EX_OK) {
        begin_switch(reload);
        return;
    }
    /* It cannot take over now; the candidate goes on as before, and a person is to decide. */
    answer(reload, NULL);
    reload->order.canary.decide = false;
    reload->status = EX_OK;
    reload->wish = NO_WISH;
    begin_waiting(reload);
}

static json_t *report_withdrawal(const struct reload *reload)
{
    const struct core *core = reload->core;
    return json_pack("{s:i,s:i,s:s,s:o}", "version", (int)core->history.all[0].number,
                     "previous", (int)reload->order.number, "hash",
                     core->plan->source->hash, "canary", describe(reload));
}

/* --auto has judged. */
static char *say_why_withdrawn(const struct reload *reload)
{
    const struct canary_counts *counts = &reload->counts;
    char *why = NULL;
    if (asprintf(&why,
                 "error: version %u was withdrawn: %llu errors in %llu hooks, version %u "
                 "had %llu in %llu",
                 reload->order.number, (unsigned long long)counts->errors,
                 (unsigned long long)counts->hooks, reload->core->history.all[0].number,
                 (unsigned long long)counts->old_errors,
                 (unsigned long long)counts->old_hooks) < 0)
        return NULL;
    return why;
}

/* The answer follows when nobody has it any more. */
static void withdraw(struct reload *reload)
{
    reload->core->history.last = reload->order.number; /* it was seen: not given again */
    note_files(reload);
    if (reload->wish == WITHDRAW)
        reload->report = report_withdrawal(reload);
    else
        fail(reload, EXIT_FAILURE, say_why_withdrawn(reload));
    give_all(reload, DROPPING, turnover_drop);
}

/* What is to be done with what the workers have counted, or with what somebody wants. */
static void decide(struct reload *reload)
{
    enum canary_verdict verdict = CANARY_OPEN;
    reload->phase = WAITING;
    sum_counts(reload);
    if (reload->order.canary.decide)
        verdict = canary_judge(&reload->counts);
    if (reload->core->draining)
        drop(reload);
    else if (reload->wish == PROMOTE || (reload->wish == NO_WISH && verdict == CANARY_GOOD))
        promote(reload);
    else if (reload->wish == WITHDRAW || verdict == CANARY_BAD)
        withdraw(reload);
    else
        wheel_start(&reload->core->wheel, &reload->look,
                    core_now_ms(reload->core) + CANARY_LOOK_MS);
}

static bool end_canary(struct core *core, enum wish wish, const struct reload_ender *ender)
{
    struct reload *reload = core->reload;
    if (!has_canary(core) || reload->wish != NO_WISH)
        return false;
    /* Who began it with --auto may still wait. */
    tell(reload, NULL, "error: somebody has ended the canary by hand", EXIT_FAILURE);
    reload->order.canary.decide = false;
    reload->answered = false;
    reload->request.done = ender->done;
    reload->request.owner = ender->owner;
    reload->wish = wish;
    wheel_stop(&core->wheel, &reload->look);
    if (reload->phase == WAITING) /* with fresh figures */
        give_all(reload, MEASURING, turnover_measure);
    return true;
}

bool reload_promote(struct core *core, const struct reload_ender *ender)
{
    return end_canary(core, PROMOTE, ender);
}

bool reload_withdraw(struct core *core, const struct reload_ender *ender)
{
    return end_canary(core, WITHDRAW, ender);
}

/* ---- Taking over ---- */

static void begin_switch(struct reload *reload)
{
    struct core *core = reload->core;
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
    note_files(reload);
    for (unsigned i = 0; i < core->started; i++)
        reload_facts_worker(&reload->facts, &reload->turnovers[i]);
    struct plan before = *core->plan;
    *core->plan = reload->plan;
    reload->plan = before; /* is closed with the reload */
    core_serve(core, &past);
    reload->report = reload_report(&reload->facts, &past, &core->history);
    if (reload->report && reload->is_canary)
        (void)json_object_set_new(reload->report, "canary", describe(reload));
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
        wheel_stop(&reload->core->wheel, &reload->patience);
        if (reload->status != EX_OK || reload->core->draining)
            drop(reload);
        else if (reload->is_canary)
            give_all(reload, EXPOSING, turnover_expose);
        else
            begin_switch(reload);
        break;
    case EXPOSING:
        reload->exposed_ms = core_now_ms(reload->core);
        begin_waiting(reload);
        break;
    case WAITING:
        break;
    case MEASURING:
        decide(reload);
        break;
    case SWITCHING:
        take_over(reload);
        if (!list_is_empty(&reload->dropped)) {
            give_all(reload, CLOSING, turnover_stop_gates);
            break;
        }
        answer(reload, reload->report);
        free_dropped(reload);
        break;
    case CLOSING:
        addresses_close_listeners(&reload->dropped);
        answer(reload, reload->report);
        detach(reload); /* peers of a datagram socket may keep it for long */
        give_all(reload, FORGETTING, turnover_close_gates);
        break;
    case FORGETTING:
        free_dropped(reload);
        break;
    case DROPPING:
        answer(reload, reload->report);
        detach(reload);
        free_reload(reload);
        break;
    }
}

/* ---- Giving up ---- */

/* Its thread goes on, and nothing of it may be touched before that has come to its end. */
static void leave_loader(struct reload *reload, const char *error)
{
    struct core *core = reload->core;
    if (!core->draining)
        log_error(core, error);
    tell(reload, NULL, error, EXIT_FAILURE);
    wheel_stop(&core->wheel, &reload->patience);
    list_append(&core->left_loaders, &reload->left);
    detach(reload);
}

static void give_up(struct reload *reload, const char *prepare_error,
                    const char *load_error)
{
    struct core *core = reload->core;
    if (reload->phase == LOADING)
        leave_loader(reload, load_error);
    if (reload->phase != PREPARING || atomic_load(&reload->order.given_up))
        return;
    atomic_store(&reload->order.given_up, true);
    fail(reload, EXIT_FAILURE, strdup(prepare_error));
    addresses_abandon(&core->addresses);
    answer(reload, NULL);
    detach(reload); /* those who have prepared are told when the last one has answered */
}

void reload_give_up(struct core *core)
{
    static const char error[] = "error: the server is stopping";
    struct reload *reload = core->reload;
    if (reload && reload->phase == WAITING) /* nobody decides any more */
        give_all(reload, MEASURING, turnover_measure);
    else if (reload)
        give_up(reload, error, error);
}

static void join_left(struct reload *reload)
{
    list_remove(&reload->left);
    pthread_join(reload->loader, NULL);
    free_reload(reload);
}

void reload_look(struct core *core)
{
    struct reload *reload = core->reload;
    if (reload && reload->phase == LOADING && atomic_load(&reload->loaded))
        on_loaded(reload);
    LIST_FOREACH (&core->left_loaders, node) {
        reload = container_of(node, struct reload, left);
        if (atomic_load(&reload->loaded))
            join_left(reload);
    }
}

bool reload_await_loaders(struct core *core, unsigned timeout_ms)
{
    double until_s = io_system.ops->wall_s(&io_system) + (double)timeout_ms / 1e3;
    struct timespec until = {.tv_sec = (time_t)until_s};
    until.tv_nsec = (long)((until_s - (double)until.tv_sec) * 1e9);
    LIST_FOREACH (&core->left_loaders, node) {
        struct reload *reload = container_of(node, struct reload, left);
        if (pthread_timedjoin_np(reload->loader, NULL, &until))
            return false;
        list_remove(&reload->left);
        free_reload(reload);
    }
    return true;
}

/* ---- The beginning ---- */

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
        if (request->done)
            request->done(request->owner, NULL, "error: not enough memory", EX_OSERR);
        return true;
    }
    reload->core = core;
    reload->request = *request;
    if (request->source)
        source_ref(request->source);
    for (unsigned i = 0; i < core->started; i++)
        reload->turnovers[i].order = &reload->order;
    list_init(&reload->dropped);
    list_init(&reload->left);
    wheel_timer_init(&reload->patience, on_patience_over);
    wheel_timer_init(&reload->look, on_look);
    if (request->canary) {
        reload->is_canary = true;
        reload->order.canary = *request->canary;
    }
    reload_facts_init(&reload->facts);
    core->reload = reload;
    start_patience(reload, plan_load_timeout_ms(core->config));
    int failed = pthread_create(&reload->loader, NULL, load, reload);
    if (!failed)
        return true;
    fail(reload, EX_OSERR, strdup("error: cannot start the loader's thread"));
    answer(reload, NULL);
    detach(reload);
    free_reload(reload);
    return true;
}
