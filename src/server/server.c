/* server/server.c - bind, start the workers, wait, drain. */
#include "server/server.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "io/io.h"
#include "neap/version.h"
#include "net/counters.h"
#include "net/reactor.h"
#include "script/source.h"
#include "script/version.h"
#include "server/commands.h"
#include "server/core.h"
#include "server/reload.h"
#include "server/reload_report.h"
#include "server/watch.h"

/* How long after its order to stop a worker may take to come to its end. */
#define ABANDON_MS 1000U

/* Signals so soon after the first are the same: timeout(1) signals the process and its group, a
 * wrapper passes on what the terminal has sent to both. Nobody presses Ctrl-C so fast twice. */
#define SAME_SIGNAL_MS 100U

uint64_t core_now_ms(const struct core *core)
{
    loop_update_now(core->loop);
    return loop_now_ms(core->loop);
}

/* ---- Log ---- */

static void apply_log(struct core *core)
{
    const struct app_settings *settings = &core->plan->version->settings;
    uint64_t level = core->config->log_level >= 0 ? (uint64_t)core->config->log_level
                                                  : settings->log_level;
    if (!core->log_level_is_set)
        log_set_level(core->log, (enum log_level)level);
}

static int open_log(struct core *core)
{
    const struct app_settings *settings = &core->plan->version->settings;
    bool terminal = isatty(STDERR_FILENO);
    enum log_format format = terminal ? LOG_TEXT : LOG_LOGFMT;
    if (settings->log_format != OPTION_UNSET)
        format = (enum log_format)settings->log_format;
    if (core->config->log_format >= 0)
        format = (enum log_format)core->config->log_format;
    const char *no_colour = getenv("NO_COLOR");
    bool colour = terminal && (!no_colour || !*no_colour);
    if (log_open(&core->log, STDERR_FILENO, format, colour)) {
        fprintf(stderr, "neap: cannot start the log: out of memory or threads\n");
        return EX_OSERR;
    }
    apply_log(core);
    return EX_OK;
}

/* ---- What people see ---- */

static int list_addresses(const struct core *core, struct buf *out)
{
    int failed = 0;
    LIST_FOREACH (&core->addresses.all, node) {
        const struct address *address = container_of(node, const struct address, node);
        if (!failed)
            failed = buf_printf(out, "%s%s", buf_len(out) ? " " : "", address->bound.text);
    }
    return failed ? failed : buf_append(out, "", 1);
}

/* On a terminal: where, what, and a line to try in another window. */
static void show_banner(const struct core *core)
{
    const struct version *version = core->plan->version;
    fprintf(stderr, "neap %s serves %s (version 1, %u worker%s)\n", NEAP_VERSION,
            source_path(core->plan->source), core->plan->workers,
            core->plan->workers == 1 ? "" : "s");
    LIST_FOREACH (&core->addresses.all, node) {
        const struct address *address = container_of(node, const struct address, node);
        fprintf(stderr, "  %s%s%s\n", address->bound.text, version->lone ? "" : "  ",
                version->lone ? "" : address->service);
    }
    if (core->config->watch)
        fprintf(stderr, "watch: each save is served at once\n");
    const struct list *first = list_first(&core->addresses.all);
    if (first)
        fprintf(stderr, "try:   neap send %s 'Hello...'\nstop:  Ctrl-C\n",
                container_of(first, const struct address, node)->bound.text);
}

static void say_ready(struct core *core)
{
    if (isatty(STDERR_FILENO)) {
        show_banner(core);
        return;
    }
    struct buf listen = {0};
    if (list_addresses(core, &listen) == 0) {
        const char *script = source_path(core->plan->source);
        struct log_field fields[] = {
            {.key = "listen",
             .key_len = 6,
             .as.string = {buf_bytes(&listen), buf_len(&listen) - 1}},
            {.key = "script", .key_len = 6, .as.string = {script, strlen(script)}},
            {.key = "workers",
             .key_len = 7,
             .kind = LOG_INTEGER,
             .as.integer = core->plan->workers},
            {.key = "version", .key_len = 7, .kind = LOG_INTEGER, .as.integer = 1},
        };
        struct log_record record = {.level = LOG_INFO,
                                    .time_s = io_system.ops->wall_s(&io_system),
                                    .message = "ready",
                                    .message_len = 5,
                                    .fields = fields,
                                    .field_count = 4};
        log_write(core->log, &record);
    }
    buf_fini(&listen);
}

static uint64_t total(const struct core *core, enum counter counter)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < core->started; i++)
        sum += core->workers.all[i].totals[counter];
    return sum;
}

static void say_stopped(struct core *core)
{
    log_printf(core->log, LOG_INFO,
               "stopped: served %llu connections, %llu datagram peers, %llu messages",
               (unsigned long long)total(core, COUNTER_CONNECTIONS),
               (unsigned long long)total(core, COUNTER_PEERS),
               (unsigned long long)total(core, COUNTER_MESSAGES));
}

/* ---- Workers ---- */

/* Called by workers. */
static void notify(void *owner, const char *detail)
{
    struct core *core = owner;
    if (detail) {
        pthread_mutex_lock(&core->lock);
        if (!core->stop_asked)
            core->stop_detail = strdup(detail);
        core->stop_asked = true;
        pthread_mutex_unlock(&core->lock);
    }
    loop_wake(core->loop);
}

static void order_all(struct core *core, enum worker_order order)
{
    for (unsigned i = 0; i < core->started; i++)
        worker_order(&core->workers.all[i], order);
}

static bool all_at_least(const struct core *core, enum worker_state state)
{
    for (unsigned i = 0; i < core->started; i++) {
        int now = atomic_load(&core->workers.all[i].state);
        if (now != WORKER_FAILED && now < (int)state)
            return false;
    }
    return true;
}

static const char *first_error(const struct core *core)
{
    for (unsigned i = 0; i < core->started; i++)
        if (atomic_load(&core->workers.all[i].state) == WORKER_FAILED)
            return core->workers.all[i].error;
    return NULL;
}

static int start_workers(struct core *core)
{
    struct workers *workers = &core->workers;
    const struct app_settings *settings = &core->plan->version->settings;
    struct admission_limits limits = {.max_connections = settings->max_connections,
                                      .per_ip = settings->max_connections_per_ip,
                                      .accept_rate = settings->accept_rate};
    workers->source = core->plan->source;
    workers->log = core->log;
    workers->settings = settings;
    workers->addresses = &core->addresses.all;
    workers->notify = notify;
    workers->owner = core;
    atomic_init(&workers->next_number, 0);
    list_init(&workers->finished);
    pthread_mutex_init(&workers->lock, NULL);
    workers->all = calloc(core->plan->workers, sizeof *workers->all);
    if (!workers->all ||
        admission_init(&workers->admission, &limits, io_system.ops->random(&io_system)))
        return EX_OSERR;
    workers->count = core->plan->workers; /* before any of them looks at it */
    for (; core->started < workers->count; core->started++) {
        int failed = worker_start(&workers->all[core->started], workers, core->started);
        if (failed) {
            fprintf(stderr, "neap: cannot start worker %u: %s\n", core->started + 1,
                    strerror(-failed));
            return EX_OSERR;
        }
    }
    return EX_OK;
}

static void join_workers(struct core *core)
{
    if (!core->workers.all)
        return;
    for (unsigned i = 0; i < core->started; i++)
        worker_join(&core->workers.all[i]);
    /* What one job leads to may be given, and lost, in its turn. */
    while (workers_collect(&core->workers))
        ;
    for (unsigned i = 0; i < core->started; i++) {
        free(core->workers.all[i].error);
        worker_fini(&core->workers.all[i]);
    }
}

/* ---- Stopping ---- */

static void on_deadline(struct wheel_timer *timer)
{
    struct core *core = container_of(timer, struct core, deadline);
    if (core->status == EX_OK)
        log_printf(core->log, LOG_ERROR,
                   "a hook does not return: stopped without its worker");
    core->status = EXIT_FAILURE;
    core->abandoned = true;
    loop_stop(core->loop);
}

void core_stop(struct core *core, const char *by)
{
    if (core->draining)
        return;
    core->draining = true;
    reload_give_up(core);
    if (!core->ready) { /* somebody has had enough of waiting */
        order_all(core, ORDER_QUIT);
        return;
    }
    uint64_t timeout_ms = core->plan->version->settings.drain_timeout_ms;
    wheel_start(&core->wheel, &core->deadline, core_now_ms(core) + timeout_ms + ABANDON_MS);
    log_printf(core->log, LOG_INFO, "stopping%s%s: no new connections, %g s for the others",
               *by ? ": " : "", by, (double)timeout_ms / 1e3);
    order_all(core, ORDER_DRAIN);
}

static void end_at_once(struct core *core)
{
    log_printf(core->log, LOG_WARN, "stopped at once by a second signal");
    core->status = EXIT_FAILURE;
    order_all(core, ORDER_ABORT);
    wheel_start(&core->wheel, &core->deadline, core_now_ms(core) + ABANDON_MS);
}

/* ---- Reload by signal and by watch ---- */

static void reload_files(struct core *core, bool if_changed)
{
    struct reload_request request = {.if_changed = if_changed};
    if (!core->ready)
        core->reload_due = true;
    else if (!reload_start(core, &request))
        core->reload_again = !core->draining;
}

static void on_file_changed(void *owner, int failed)
{
    struct core *core = owner;
    if (failed)
        log_printf(core->log, LOG_WARN, "some files are not watched: %s",
                   strerror(-failed));
    reload_files(core, true);
}

/* A pipe or a terminal tells nothing by its folder. */
static bool is_watchable(const char *path)
{
    struct stat found;
    return stat(path, &found) < 0 || S_ISREG(found.st_mode);
}

static size_t add_paths(const struct source *source, const char **paths, size_t count)
{
    for (size_t i = 0; i < source->count; i++)
        if (is_watchable(source->files[i].chunk + 1))
            paths[count++] = source->files[i].chunk + 1;
    if (source->missing)
        paths[count++] = source->missing;
    return count;
}

void core_watch(struct core *core, const struct source *failed)
{
    const struct source *source = core->plan->source;
    if (!core->watch)
        return;
    size_t most = source->count + (failed ? failed->count : 0) + 2, count = 0;
    const char **paths = calloc(most, sizeof *paths);
    if (paths)
        count = add_paths(source, paths, count);
    if (paths && failed)
        count = add_paths(failed, paths, count);
    int result = paths ? watch_set(core->watch, paths, count) : -ENOMEM;
    if (result)
        log_printf(core->log, LOG_WARN, "the files of the script are not watched: %s",
                   strerror(-result));
    free(paths);
}

void core_serve(struct core *core, const struct past *past)
{
    const struct app_settings *settings = &core->plan->version->settings;
    struct admission_limits limits = {.max_connections = settings->max_connections,
                                      .per_ip = settings->max_connections_per_ip,
                                      .accept_rate = settings->accept_rate};
    history_add(&core->history, past);
    admission_set_limits(&core->workers.admission, &limits);
    apply_log(core);
    core_watch(core, NULL);
    if (core->watch)
        watch_look(core->watch);
}

/* ---- Signals ---- */

static void on_stop_signal(struct core *core)
{
    uint64_t now_ms = core_now_ms(core);
    if (core->signalled && now_ms - core->signalled_ms < SAME_SIGNAL_MS)
        return;
    if (core->signalled) {
        end_at_once(core);
        return;
    }
    core->signalled = true;
    core->signalled_ms = now_ms;
    core_stop(core, "");
}

static void on_signal(struct loop_io *io, unsigned events)
{
    (void)events;
    struct core *core = container_of(io, struct core, signal_io);
    struct signalfd_siginfo info;
    while (read(core->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGHUP)
            reload_files(core, false);
        else
            on_stop_signal(core);
    }
}

static int open_signals(struct core *core)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    signal(SIGPIPE, SIG_IGN);
    /* Blocked before any thread is started, so that all inherit it and main alone is told. */
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    core->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (core->signals < 0) {
        fprintf(stderr, "neap: cannot listen for signals: %s\n", strerror(errno));
        return EX_OSERR;
    }
    loop_io_init(&core->signal_io, core->signals, on_signal);
    loop_io_watch(core->loop, &core->signal_io, LOOP_READ);
    return EX_OK;
}

/* ---- The loop ---- */

/* All have loaded and run on_start, or none serves. */
static void look_at_start(struct core *core)
{
    if (!core->told && all_at_least(core, WORKER_READY)) {
        const char *error = first_error(core);
        core->told = true;
        if (error)
            fputs(error, stderr);
        core->status = error ? EX_DATAERR : EX_OK;
        order_all(core, error ? ORDER_QUIT : ORDER_SERVE);
    }
    if (core->told && core->status == EX_OK && all_at_least(core, WORKER_SERVING)) {
        core->ready = true;
        history_add(&core->history, &(struct past){.number = 1,
                                                   .source = core->plan->source,
                                                   .since_ms = core_now_ms(core)});
        say_ready(core);
    }
}

/* The detail with which a script asked for the end, "" for none; NULL: none has asked. */
static const char *stop_asked(struct core *core)
{
    pthread_mutex_lock(&core->lock);
    const char *detail = core->stop_detail ? core->stop_detail : "";
    bool asked = core->stop_asked; /* from then on the detail does not change */
    pthread_mutex_unlock(&core->lock);
    return asked ? detail : NULL;
}

static void on_wake(void *owner)
{
    struct core *core = owner;
    workers_collect(&core->workers);
    reload_look(core);
    if (!core->ready && !core->draining)
        look_at_start(core);
    if (core->reload_due && core->ready) {
        core->reload_due = false;
        reload_files(core, true);
    }
    const char *asked = stop_asked(core);
    if (asked && core->ready)
        core_stop(core, asked);
    /* New clients are to be refused, and another server may have the address. */
    if (core->draining && core->ready && all_at_least(core, WORKER_DRAINING))
        addresses_close_listeners(&core->addresses.all);
    if (all_at_least(core, WORKER_DONE))
        loop_stop(core->loop);
}

static void on_alarm(void *owner)
{
    struct core *core = owner;
    core->alarm_ms = WHEEL_NEVER;
    wheel_advance(&core->wheel, loop_now_ms(core->loop));
}

static bool on_turn(void *owner)
{
    struct core *core = owner;
    uint64_t next_ms = wheel_next_ms(&core->wheel);
    if (next_ms != core->alarm_ms)
        loop_set_alarm(core->loop, core->alarm_ms = next_ms);
    return false;
}

static const struct loop_ops loop_ops = {
    .on_turn = on_turn, .on_alarm = on_alarm, .on_wake = on_wake};

static int open_loop(struct core *core)
{
    core->loop = loop_new(&io_system, &loop_ops, core);
    if (!core->loop) {
        fprintf(stderr, "neap: cannot start: out of memory or descriptors\n");
        return EX_OSERR;
    }
    core->started_ms = core_now_ms(core);
    wheel_init(&core->wheel, core->started_ms);
    wheel_timer_init(&core->deadline, on_deadline);
    core->alarm_ms = WHEEL_NEVER;
    return EX_OK;
}

static int open_watch(struct core *core)
{
    if (!core->config->watch)
        return EX_OK;
    int failed = watch_open(&core->watch, core->loop, &core->wheel, on_file_changed, core);
    if (failed) {
        fprintf(stderr, "neap: --watch: %s\n", strerror(-failed));
        return EX_OSERR;
    }
    core_watch(core, NULL);
    watch_look(core->watch);
    return EX_OK;
}

/* ---- Life ---- */

static int bind_all(struct core *core)
{
    struct list dropped;
    list_init(&dropped);
    int status = addresses_prepare(&core->addresses, core->plan, stderr);
    if (status == EX_OK)
        addresses_commit(&core->addresses, core->plan, &dropped);
    return status;
}

static int open_all(struct core *core)
{
    int status = plan_open(core->plan, core->config, NULL, stderr);
    if (status == EX_OK)
        status = bind_all(core);
    if (status == EX_OK)
        status = open_loop(core);
    if (status == EX_OK)
        status = open_signals(core);
    if (status == EX_OK)
        status = open_log(core);
    if (status == EX_OK)
        status = open_watch(core);
    if (status == EX_OK)
        status = commands_open(core);
    return status;
}

static int run(struct core *core)
{
    int status = open_all(core);
    if (status != EX_OK)
        return status;
    status = start_workers(core);
    if (status != EX_OK) {
        order_all(core, ORDER_QUIT);
        return status;
    }
    loop_wake(core->loop);
    loop_run(core->loop);
    return core->status;
}

/* A worker is still in a hook, or a loader in a script, that may return, and log, at any moment:
 * nothing that it uses can be freed. */
static void abandon(struct core *core, int status)
{
    commands_close(core);
    log_leave(core->log);
    addresses_fini(&core->addresses); /* removes the files of Unix sockets */
    _exit(status);
}

static void close_core(struct core *core)
{
    if (core->abandoned)
        abandon(core, EXIT_FAILURE);
    join_workers(core);
    if (core->workers.all && core->draining)
        say_stopped(core);
    if (!reload_await_loaders(core, ABANDON_MS))
        abandon(core, core->status);
    commands_close(core);
    watch_close(core->watch);
    if (core->workers.settings)
        admission_fini(&core->workers.admission);
    free(core->workers.all);
    log_close(core->log);
    addresses_fini(&core->addresses);
    if (core->signals >= 0)
        close(core->signals);
    if (core->loop)
        loop_free(core->loop);
    history_fini(&core->history);
    plan_close(core->plan);
    free(core->stop_detail);
    pthread_mutex_destroy(&core->lock);
}

int server_run(const struct server_config *config)
{
    struct plan plan = {0};
    struct core core = {.config = config, .plan = &plan, .signals = -1};
    addresses_init(&core.addresses);
    list_init(&core.left_loaders);
    pthread_mutex_init(&core.lock, NULL);
    int status = run(&core);
    close_core(&core);
    return status;
}

const char *server_libev_release(void)
{
    return loop_release();
}
