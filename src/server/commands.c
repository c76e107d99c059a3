/* server/commands.c - asking workers, and putting their answers together. */
#include "server/commands.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/log.h"
#include "base/require.h"
#include "io/io.h"
#include "neap/version.h"
#include "net/loop.h"
#include "net/reactor.h"
#include "script/source.h"
#include "script/version.h"
#include "server/canary.h"
#include "server/control.h"
#include "server/core.h"
#include "server/inspect.h"
#include "server/reload.h"

#define DEFAULT_NAME "default"
#define ROWS_DEFAULT 1000
#define ROWS_MAX 100000

static const char *text_at(json_t *arguments, const char *name)
{
    return json_string_value(json_object_get(arguments, name));
}

static double age_s(const struct core *core, uint64_t since_ms)
{
    return (double)(core_now_ms(core) - since_ms) / 1e3;
}

/* ---- Asking workers ---- */

static void on_part_done(struct job *job)
{
    struct inspect_part *part = container_of(job, struct inspect_part, job);
    struct inspection *inspection = part->of;
    if (--inspection->pending > 0)
        return;
    inspection->done(inspection);
    for (unsigned i = 0; i < inspection->count; i++)
        json_decref(inspection->parts[i].answer);
    free(inspection->text);
    free(inspection->error);
    free(inspection);
}

/* What is to be asked; NULL: memory is out, and the client is told. */
static struct inspection *new_inspection(struct core *core, struct control_request *request,
                                         void (*done)(struct inspection *inspection))
{
    struct inspection *inspection =
        calloc(1, sizeof *inspection + core->started * sizeof inspection->parts[0]);
    if (!inspection) {
        control_fail(request, EX_OSERR, "ENOMEM", "not enough memory");
        return NULL;
    }
    inspection->owner = core;
    inspection->request = request;
    inspection->done = done;
    inspection->limit = ROWS_DEFAULT;
    inspection->asked_ns = io_system.ops->monotonic_ns(&io_system);
    return inspection;
}

static void ask(struct inspection *inspection, unsigned first, unsigned count,
                bool (*run)(struct own *own, struct job *job))
{
    struct core *core = inspection->owner;
    REQUIRE(count > 0); /* the socket is served after the workers have started */
    inspection->pending = inspection->count = count;
    for (unsigned i = 0; i < count; i++)
        inspection->parts[i] = (struct inspect_part){
            .job = {.run = run, .done = on_part_done}, .of = inspection};
    for (unsigned i = 0; i < count; i++)
        worker_give(&core->workers.all[first + i], &inspection->parts[i].job);
}

static void ask_all(struct inspection *inspection,
                    bool (*run)(struct own *own, struct job *job))
{
    struct core *core = inspection->owner;
    ask(inspection, 0, core->started, run);
}

/* ---- status ---- */

static json_t *list_addresses(const struct core *core)
{
    json_t *rows = json_array();
    LIST_FOREACH (&core->addresses.all, node) {
        const struct address *address = container_of(node, const struct address, node);
        (void)json_array_append_new(
            rows, json_pack("{s:o,s:s}", "address",
                            control_text(address->bound.text, strlen(address->bound.text)),
                            "service", address->service));
    }
    return rows;
}

static json_t *list_counters(const struct core *core)
{
    json_t *counters = json_object();
    for (size_t i = 0; i < COUNTER_COUNT; i++) {
        uint64_t sum = 0;
        for (unsigned k = 0; k < core->started; k++) {
            struct reactor *reactor = atomic_load(&core->workers.all[k].reactor);
            sum += reactor ? counters_get(&reactor->counters, (enum counter)i) : 0;
        }
        (void)json_object_set_new(counters, counter_rows[i].name,
                                  json_integer((json_int_t)sum));
    }
    return counters;
}

static json_t *option_json(const struct option *option, uint64_t value)
{
    if (option->kind == OPTION_BOOL)
        return json_boolean(value != 0);
    if (option->kind == OPTION_CHOICE)
        return json_string(value == OPTION_UNSET ? option->shown : option->choices[value]);
    if (option->kind == OPTION_SECONDS)
        return value == CONN_IDLE_DEFAULT ? json_string(option->shown)
                                          : json_real((double)value / 1e3);
    if (value == OPTION_WORKERS_AUTO)
        return json_string("auto");
    return json_integer((json_int_t)value);
}

static bool is_from_flag(const struct core *core, const struct option *option)
{
    const struct server_config *config = core->config;
    size_t offset = option->offset;
    return (offset == offsetof(struct app_settings, workers) && config->workers) ||
           (offset == offsetof(struct app_settings, load_timeout_ms) &&
            config->load_timeout_ms) ||
           (offset == offsetof(struct app_settings, log_level) && config->log_level >= 0) ||
           (offset == offsetof(struct app_settings, log_format) && config->log_format >= 0);
}

/* What holds, whoever says it. */
static uint64_t effective_value(const struct core *core, const struct option *option,
                                uint64_t value)
{
    const struct server_config *config = core->config;
    size_t offset = option->offset;
    if (offset == offsetof(struct app_settings, workers))
        return core->started;
    if (offset == offsetof(struct app_settings, log_level))
        return (uint64_t)log_level_of(core->log);
    if (offset == offsetof(struct app_settings, log_format) && config->log_format >= 0)
        return (uint64_t)config->log_format;
    return value;
}

static const char *origin_of(const struct core *core, const struct option *option,
                             uint64_t value)
{
    bool app = option->scope == OPTION_APP;
    bool is_max_connections =
        app && option->offset == offsetof(struct app_settings, max_connections);
    bool is_log_level = app && option->offset == offsetof(struct app_settings, log_level);
    if (is_log_level && core->log_level_is_set)
        return "log-level";
    if (app && is_from_flag(core, option))
        return "flag";
    if (value == option->initial ||
        (is_max_connections && core->plan->max_connections_is_default))
        return "default";
    return "script";
}

static void add_options(const struct core *core, const void *settings, const char *service,
                        json_t *rows)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_rows[i];
        bool app = option->scope == OPTION_APP;
        if (app != !service)
            continue;
        uint64_t value = option_value(option, settings);
        json_t *shown =
            option_json(option, app ? effective_value(core, option, value) : value);
        char name[SERVICE_NAME_MAX + 40];
        snprintf(name, sizeof name, "%s%s%s", service ? service : "", service ? "." : "",
                 option->name);
        (void)json_array_append_new(rows,
                                    json_pack("{s:s,s:o,s:s}", "name", name, "value", shown,
                                              "origin", origin_of(core, option, value)));
    }
}

static json_t *list_options(const struct core *core)
{
    const struct version *version = core->plan->version;
    json_t *rows = json_array();
    add_options(core, &version->settings, NULL, rows);
    for (size_t i = 0; i < version->service_count; i++)
        add_options(core, &version->services[i].settings, version->services[i].name, rows);
    return rows;
}

static void on_status(struct inspection *inspection)
{
    struct core *core = inspection->owner;
    json_t *workers = json_array();
    for (unsigned i = 0; i < inspection->count; i++)
        if (inspection->parts[i].answer)
            (void)json_array_append(workers, inspection->parts[i].answer);
    const char *path = source_path(core->plan->source);
    json_t *answer = json_pack(
        "{s:s,s:i,s:s,s:s,s:s,s:f,s:o,s:i,s:s,s:b,s:o,s:o,s:o}", "name",
        core->config->name ? core->config->name : DEFAULT_NAME, "pid", (int)getpid(),
        "neap", NEAP_VERSION, "lua", server_lua_release(), "libev", loop_release(),
        "uptime", age_s(core, core->started_ms), "script", control_text(path, strlen(path)),
        "version", (int)core->history.all[0].number, "hash", core->plan->source->hash,
        "watch", core->watch != NULL, "listen", list_addresses(core), "workers", workers,
        "counters", list_counters(core));
    if (answer && inspection->limit)
        (void)json_object_set_new(answer, "options", list_options(core));
    json_t *canary = reload_canary(core);
    if (answer && canary)
        (void)json_object_set(answer, "canary", canary);
    json_decref(canary);
    control_answer(inspection->request, answer);
}

static void run_status(void *owner, struct control_request *request, json_t *arguments)
{
    struct inspection *inspection = new_inspection(owner, request, on_status);
    if (!inspection)
        return;
    inspection->limit = json_is_true(json_object_get(arguments, "effective"));
    ask_all(inspection, inspect_worker);
}

/* ---- versions ---- */

static json_int_t sum_of(const struct inspection *inspection, unsigned number,
                         const char *field)
{
    json_int_t sum = 0;
    char key[16];
    snprintf(key, sizeof key, "%u", number);
    for (unsigned i = 0; i < inspection->count; i++)
        sum += json_integer_value(
            json_object_get(json_object_get(inspection->parts[i].answer, key), field));
    return sum;
}

/* "chat.lua:12" -> how many hooks wait there, in all workers. */
static json_t *sum_places(const struct inspection *inspection, unsigned number)
{
    json_t *sums = json_object(), *count;
    const char *place;
    char key[16];
    snprintf(key, sizeof key, "%u", number);
    for (unsigned i = 0; i < inspection->count; i++) {
        json_t *version = json_object_get(inspection->parts[i].answer, key);
        json_object_foreach(json_object_get(version, "places"), place, count)
        {
            json_int_t before = json_integer_value(json_object_get(sums, place));
            (void)json_object_set_new(sums, place,
                                      json_integer(before + json_integer_value(count)));
        }
    }
    return sums;
}

static json_t *list_files(const struct source *source)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < source->count; i++) {
        const char *path = source->files[i].chunk + 1;
        (void)json_array_append_new(
            rows, json_pack("{s:o,s:I}", "path", control_text(path, strlen(path)), "bytes",
                            (json_int_t)source->files[i].len));
    }
    return rows;
}

static void add_version(const struct inspection *inspection, const struct past *past,
                        const char *state, json_t *rows)
{
    const struct core *core = inspection->owner;
    json_t *row =
        json_pack("{s:i,s:s,s:f,s:s,s:o,s:I,s:I,s:o,s:I,s:I}", "version", (int)past->number,
                  "hash", past->source->hash, "age", age_s(core, past->since_ms), "state",
                  state, "files", list_files(past->source), "connections",
                  sum_of(inspection, past->number, "connections"), "waiting",
                  sum_of(inspection, past->number, "waiting"), "places",
                  sum_places(inspection, past->number), "functions",
                  sum_of(inspection, past->number, "functions"), "holds",
                  sum_of(inspection, past->number, "holds"));
    if (row && past->same_as)
        (void)json_object_set_new(row, "same_as", json_integer((json_int_t)past->same_as));
    (void)json_array_append_new(rows, row);
}

static void on_versions(struct inspection *inspection)
{
    const struct core *core = inspection->owner;
    json_t *rows = json_array();
    struct past candidate;
    if (reload_candidate(core, &candidate))
        add_version(inspection, &candidate, "canary", rows);
    for (size_t i = 0; i < core->history.count; i++) {
        const struct past *past = &core->history.all[i];
        bool held = sum_of(inspection, past->number, "holds") > 0 ||
                    sum_of(inspection, past->number, "waiting") > 0;
        add_version(inspection, past, i == 0 ? "serving" : held ? "held" : "kept", rows);
    }
    control_answer(inspection->request, json_pack("{s:o}", "versions", rows));
}

static void run_versions(void *owner, struct control_request *request, json_t *arguments)
{
    (void)arguments;
    struct inspection *inspection = new_inspection(owner, request, on_versions);
    if (inspection)
        ask_all(inspection, inspect_versions);
}

/* ---- reload, rollback ---- */

static void on_reloaded(void *owner, json_t *report, const char *error, int status)
{
    struct control_request *request = owner;
    if (report)
        control_answer(request, json_incref(report));
    else
        control_fail(request, status, status == EX_DATAERR ? "ELOAD" : "EFAILED", "%s",
                     error ? error : "nothing has changed");
}

static void reload(struct core *core, struct control_request *request,
                   struct reload_request what)
{
    what.done = on_reloaded;
    what.owner = request;
    if (!core->ready || core->draining)
        control_fail(request, EXIT_FAILURE, "EBUSY", "the server is %s",
                     core->draining ? "stopping" : "starting");
    else if (!reload_start(core, &what))
        control_fail(request, EXIT_FAILURE, "EBUSY", "another reload is under way");
}

static void run_reload(void *owner, struct control_request *request, json_t *arguments)
{
    const char *share = text_at(arguments, "canary"),
               *peer = text_at(arguments, "canary_peer");
    struct canary_terms terms = {.decide =
                                     json_is_true(json_object_get(arguments, "auto"))};
    struct reload_request what = {.canary = share || peer ? &terms : NULL};
    if (share && peer)
        control_fail(request, EX_USAGE, "EUSAGE", "canary or canary_peer, not both");
    else if (!share && !peer && terms.decide)
        control_fail(request, EX_USAGE, "EUSAGE",
                     "auto is about a canary: say which share");
    else if (share && canary_read_share(&terms, share))
        control_fail(
            request, EX_USAGE, "EUSAGE",
            "canary must be a share of new connections from 0.01%% to 100%%, like 10%%");
    else if (peer && canary_read_peer(&terms, peer))
        control_fail(request, EX_USAGE, "EUSAGE",
                     "canary_peer must be a network like 10.0.0.0/8 or fd00::/8");
    else
        reload(owner, request, what);
}

static void run_promote(void *owner, struct control_request *request, json_t *arguments)
{
    (void)arguments;
    struct reload_ender ender = {.done = on_reloaded, .owner = request};
    if (!reload_promote(owner, &ender))
        control_fail(request, EX_USAGE, "ENOENT",
                     "there is no canary; neap reload --canary begins one");
}

static void run_rollback(void *owner, struct control_request *request, json_t *arguments)
{
    struct core *core = owner;
    const struct history *history = &core->history;
    const json_t *number = json_object_get(arguments, "version");
    struct reload_ender ender = {.done = on_reloaded, .owner = request};
    if (!number && reload_withdraw(core, &ender))
        return;
    const struct past *past = history->count > 1 ? &history->all[1] : NULL;
    if (number)
        past = history_find(history, (unsigned)json_integer_value(number));
    if (!past && number) {
        control_fail(
            request, EX_USAGE, "ENOENT",
            "the bytes of version %lld are not kept; neap versions lists those that are",
            (long long)json_integer_value(number));
        return;
    }
    if (!past) {
        control_fail(request, EX_USAGE, "ENOENT", "there is no version before this one");
        return;
    }
    unsigned same_as = past->same_as ? past->same_as : past->number;
    reload(core, request,
           (struct reload_request){.source = past->source, .same_as = same_as});
}

/* ---- connections, kick ---- */

static void on_connections(struct inspection *inspection)
{
    json_t *rows = json_array();
    json_int_t total = 0;
    for (unsigned i = 0; i < inspection->count; i++) {
        json_t *answer = inspection->parts[i].answer,
               *part = json_object_get(answer, "rows");
        total += json_integer_value(json_object_get(answer, "total"));
        size_t index;
        json_t *row;
        json_array_foreach(part, index, row) if (json_array_size(rows) < inspection->limit)(
            void) json_array_append(rows, row);
    }
    control_answer(inspection->request,
                   json_pack("{s:o,s:I}", "connections", rows, "total", total));
}

static void run_connections(void *owner, struct control_request *request, json_t *arguments)
{
    const char *service = text_at(arguments, "service");
    const json_t *limit = json_object_get(arguments, "limit");
    json_int_t rows = limit ? json_integer_value(limit) : ROWS_DEFAULT;
    if (rows < 1 || rows > ROWS_MAX) {
        control_fail(request, EX_USAGE, "EUSAGE", "limit must be 1 to %d", ROWS_MAX);
        return;
    }
    struct inspection *inspection = new_inspection(owner, request, on_connections);
    if (!inspection)
        return;
    inspection->limit = (size_t)rows;
    inspection->text = service ? strdup(service) : NULL;
    ask_all(inspection, inspect_connections);
}

static void on_kicked(struct inspection *inspection)
{
    for (unsigned i = 0; i < inspection->count; i++)
        if (inspection->parts[i].answer) {
            control_answer(inspection->request,
                           json_pack("{s:I}", "id", (json_int_t)inspection->number));
            return;
        }
    control_fail(inspection->request, EXIT_FAILURE, "ENOENT",
                 "no connection %llu is open; neap connections lists them",
                 (unsigned long long)inspection->number);
}

static void run_kick(void *owner, struct control_request *request, json_t *arguments)
{
    struct inspection *inspection = new_inspection(owner, request, on_kicked);
    if (!inspection)
        return;
    inspection->number = (uint64_t)json_integer_value(json_object_get(arguments, "id"));
    ask_all(inspection, inspect_kick);
}

/* ---- eval ---- */

static void on_evaluated(struct inspection *inspection)
{
    json_t *answer = inspection->parts[0].answer;
    if (answer)
        control_answer(inspection->request, json_incref(answer));
    else
        control_fail(inspection->request, EX_DATAERR, "EEVAL", "%s",
                     inspection->error ? inspection->error : "the worker has ended");
}

static void run_eval(void *owner, struct control_request *request, json_t *arguments)
{
    struct core *core = owner;
    const char *code = text_at(arguments, "code");
    const json_t *worker = json_object_get(arguments, "worker");
    json_int_t index = worker ? json_integer_value(worker) : 1;
    if (index < 1 || index > (json_int_t)core->started || !core->ready) {
        control_fail(request, EX_USAGE, "EUSAGE", "there is no worker %lld: there are %u",
                     (long long)index, core->started);
        return;
    }
    struct inspection *inspection = new_inspection(core, request, on_evaluated);
    if (!inspection)
        return;
    inspection->text = strdup(code);
    ask(inspection, (unsigned)index - 1, 1, inspect_eval);
}

/* ---- stop, log-level ---- */

static void run_stop(void *owner, struct control_request *request, json_t *arguments)
{
    (void)arguments;
    struct core *core = owner;
    if (core->stop_request) {
        control_fail(request, EXIT_FAILURE, "EBUSY", "the server is stopping");
        return;
    }
    core->stop_request = request;
    core_stop(core, "neap stop");
    loop_wake(core->loop);
}

static void run_log_level(void *owner, struct control_request *request, json_t *arguments)
{
    struct core *core = owner;
    const char *word = text_at(arguments, "level");
    for (int level = 0; level < LOG_LEVEL_COUNT; level++) {
        if (strcmp(log_level_names[level], word) != 0)
            continue;
        const char *previous = log_level_names[log_level_of(core->log)];
        log_set_level(core->log, (enum log_level)level);
        core->log_level_is_set = true;
        control_answer(request,
                       json_pack("{s:s,s:s}", "level", word, "previous", previous));
        return;
    }
    control_fail(request, EX_USAGE, "EUSAGE", "level must be debug, info, warn or error");
}

/* ---- The table ---- */

static const struct control_argument status_arguments[] = {
    {"effective", CONTROL_BOOLEAN, false}, {.name = NULL}};
static const struct control_argument reload_arguments[] = {
    {"canary", CONTROL_TEXT, false},
    {"canary_peer", CONTROL_TEXT, false},
    {"auto", CONTROL_BOOLEAN, false},
    {.name = NULL}};
static const struct control_argument rollback_arguments[] = {
    {"version", CONTROL_INTEGER, false}, {.name = NULL}};
static const struct control_argument connections_arguments[] = {
    {"service", CONTROL_TEXT, false}, {"limit", CONTROL_INTEGER, false}, {.name = NULL}};
static const struct control_argument kick_arguments[] = {{"id", CONTROL_INTEGER, true},
                                                         {.name = NULL}};
static const struct control_argument eval_arguments[] = {
    {"code", CONTROL_TEXT, true}, {"worker", CONTROL_INTEGER, false}, {.name = NULL}};
static const struct control_argument log_level_arguments[] = {{"level", CONTROL_TEXT, true},
                                                              {.name = NULL}};

static const struct control_command commands[] = {
    {"status", CONTROL_VIEW, run_status, status_arguments},
    {"versions", CONTROL_VIEW, run_versions, NULL},
    {"connections", CONTROL_VIEW, run_connections, connections_arguments},
    {"reload", CONTROL_OPERATE, run_reload, reload_arguments},
    {"promote", CONTROL_OPERATE, run_promote, NULL},
    {"rollback", CONTROL_OPERATE, run_rollback, rollback_arguments},
    {"kick", CONTROL_OPERATE, run_kick, kick_arguments},
    {"stop", CONTROL_OPERATE, run_stop, NULL},
    {"log-level", CONTROL_OPERATE, run_log_level, log_level_arguments},
    {"eval", CONTROL_SCRIPT, run_eval, eval_arguments},
    {.name = NULL},
};

/* ---- Life ---- */

static void on_log(void *owner, enum log_level level, const char *text)
{
    struct core *core = owner;
    log_printf(core->log, level, "%s", text);
}

int commands_open(struct core *core)
{
    const char *name = core->config->name;
    struct control_config config = {.name = name ? name : DEFAULT_NAME,
                                    .commands = commands,
                                    .owner = core,
                                    .log = on_log};
    char why[CONTROL_WHY_MAX];
    int failed = control_open(&core->control, core->loop, &config, why);
    if (!failed)
        return EX_OK;
    core->control = NULL;
    if (!name) {
        log_printf(core->log, LOG_WARN, "no control socket: %s", why);
        return EX_OK;
    }
    fprintf(stderr, "neap: %s\n", why);
    if (failed == -EPERM || failed == -EACCES)
        return EX_NOPERM;
    return failed == -EINVAL || failed == -ENAMETOOLONG ? EX_USAGE : EX_OSERR;
}

void commands_close(struct core *core)
{
    uint64_t served = 0;
    for (unsigned i = 0; i < core->started; i++)
        served += core->workers.all[i].totals[COUNTER_CONNECTIONS];
    if (core->stop_request)
        control_answer(core->stop_request,
                       json_pack("{s:I}", "connections", (json_int_t)served));
    core->stop_request = NULL;
    control_close(core->control);
    core->control = NULL;
}
