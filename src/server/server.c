/* server/server.c - bind, start the workers, wait, drain. */
#include "server/server.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

#include "io/io.h"
#include "neap/version.h"
#include "net/loop.h"
#include "script/source.h"
#include "script/version.h"
#include "server/plan.h"
#include "server/worker.h"

/* Signals so soon after the first are the same: timeout(1) signals the process and its group, a
 * wrapper passes on what the terminal has sent to both. Nobody presses Ctrl-C so fast twice. */
#define SAME_SIGNAL_MS 100U

/* How long after its order to stop a worker may take to come to its end. */
#define ABANDON_MS 1000U

struct server {
    struct plan plan;
    struct log *log;
    struct workers workers;
    unsigned started; /* of them */
    struct endpoint_plan *endpoints;
    size_t endpoint_count;
    int signals, events;   /* signalfd, eventfd */
    bool signalled;        /* once already ... */
    uint64_t signalled_ms; /* ... then */
    bool draining;
    bool abandoned;       /* a worker does not come to its end */
    uint64_t deadline_ms; /* of draining; 0: none */
    pthread_mutex_t lock;
    char *stop_detail; /* a script asked for the end; under the lock */
    bool stop_asked;
};

/* ---- Sockets ---- */

static int bind_status(int failed)
{
    return failed == -EACCES || failed == -EPERM ? EX_NOPERM : EX_OSERR;
}

static int bind_address(struct server *server, const struct script_service *service,
                        const struct addr *addr)
{
    struct bind_options options = {.workers = server->plan.workers,
                                   .nodelay = service->settings.nodelay,
                                   .keepalive_s =
                                       (unsigned)(service->settings.keepalive_ms / 1000),
                                   .sockopts = service->sockopts,
                                   .sockopt_count = service->sockopt_count};
    struct bound bound[BOUND_MAX];
    char why[BIND_WHY_MAX];
    struct endpoint_plan *more =
        realloc(server->endpoints, (server->endpoint_count + BOUND_MAX) * sizeof *more);
    if (!more)
        return EX_OSERR;
    server->endpoints = more;
    int count = bind_open(addr, &options, bound, why);
    if (count < 0) {
        fprintf(stderr, "neap: %s\n", why);
        return bind_status(count);
    }
    for (int i = 0; i < count; i++)
        server->endpoints[server->endpoint_count++] =
            (struct endpoint_plan){.bound = bound[i], .service = service->name};
    return EX_OK;
}

static int bind_all(struct server *server)
{
    const struct version *version = server->plan.version;
    for (size_t i = 0; i < version->service_count; i++) {
        const struct script_service *service = &version->services[i];
        for (size_t k = 0; k < service->listen_count; k++) {
            int status = bind_address(server, service, &service->listen[k]);
            if (status != EX_OK)
                return status;
        }
    }
    return EX_OK;
}

/* New clients are to be refused, and another server may have the address. Datagram sockets stay for
 * the last words to their peers. */
static void close_listeners(struct server *server)
{
    for (size_t i = 0; i < server->endpoint_count; i++)
        if (transport_is_stream(server->endpoints[i].bound.transport))
            bound_close(&server->endpoints[i].bound);
}

static void close_sockets(struct server *server)
{
    for (size_t i = 0; i < server->endpoint_count; i++)
        bound_close(&server->endpoints[i].bound);
    free(server->endpoints);
}

/* ---- Log ---- */

static int open_log(struct server *server, const struct server_config *config)
{
    const struct app_settings *settings = &server->plan.version->settings;
    bool terminal = isatty(STDERR_FILENO);
    enum log_format format = terminal ? LOG_TEXT : LOG_LOGFMT;
    if (settings->log_format != OPTION_UNSET)
        format = (enum log_format)settings->log_format;
    if (config->log_format >= 0)
        format = (enum log_format)config->log_format;
    const char *no_colour = getenv("NO_COLOR");
    bool colour = terminal && (!no_colour || !*no_colour);
    if (log_open(&server->log, STDERR_FILENO, format, colour)) {
        fprintf(stderr, "neap: cannot start the log: out of memory or threads\n");
        return EX_OSERR;
    }
    uint64_t level =
        config->log_level >= 0 ? (uint64_t)config->log_level : settings->log_level;
    log_set_level(server->log, (enum log_level)level);
    return EX_OK;
}

/* ---- Signals and workers ---- */

static int open_events(struct server *server)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    signal(SIGPIPE, SIG_IGN);
    /* Blocked before any thread is started, so that all inherit it and main alone is told. */
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    server->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    server->events = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (server->signals >= 0 && server->events >= 0)
        return EX_OK;
    fprintf(stderr, "neap: cannot listen for signals: %s\n", strerror(errno));
    return EX_OSERR;
}

/* Called by workers. */
static void notify(void *owner, const char *detail)
{
    struct server *server = owner;
    if (detail) {
        pthread_mutex_lock(&server->lock);
        if (!server->stop_asked)
            server->stop_detail = strdup(detail);
        server->stop_asked = true;
        pthread_mutex_unlock(&server->lock);
    }
    uint64_t one = 1;
    (void)!write(server->events, &one,
                 sizeof one); /* full means that main is told already */
}

static void order_all(struct server *server, enum worker_order order)
{
    for (unsigned i = 0; i < server->started; i++)
        worker_order(&server->workers.all[i], order);
}

static bool all_at_least(const struct server *server, enum worker_state state)
{
    for (unsigned i = 0; i < server->started; i++) {
        int now = atomic_load(&server->workers.all[i].state);
        if (now != WORKER_FAILED && now < (int)state)
            return false;
    }
    return true;
}

static const char *first_error(const struct server *server)
{
    for (unsigned i = 0; i < server->started; i++)
        if (atomic_load(&server->workers.all[i].state) == WORKER_FAILED)
            return server->workers.all[i].error;
    return NULL;
}

static uint64_t now_ms(void)
{
    return io_system.ops->monotonic_ns(&io_system) / 1000000U;
}

/* Milliseconds until the deadline, as poll(2) wants them. */
static int time_left(const struct server *server)
{
    uint64_t at_ms = server->deadline_ms, from_ms = now_ms();
    if (at_ms == 0)
        return -1;
    uint64_t left_ms = at_ms > from_ms ? at_ms - from_ms : 0;
    return left_ms < INT_MAX ? (int)left_ms : INT_MAX;
}

/* Waits for a signal, a worker or the deadline; true when a signal came. */
static bool wait_event(struct server *server)
{
    struct pollfd ready[] = {{.fd = server->signals, .events = POLLIN},
                             {.fd = server->events, .events = POLLIN}};
    poll(ready, 2, time_left(server));
    uint64_t count;
    (void)!read(server->events, &count, sizeof count);
    struct signalfd_siginfo info;
    return read(server->signals, &info, sizeof info) == (ssize_t)sizeof info;
}

/* As wait_event, but a signal that comes with another is that one. */
static bool wait_signal(struct server *server)
{
    if (!wait_event(server) ||
        (server->signalled && now_ms() - server->signalled_ms < SAME_SIGNAL_MS))
        return false;
    server->signalled = true;
    server->signalled_ms = now_ms();
    return true;
}

static int start_workers(struct server *server)
{
    struct workers *workers = &server->workers;
    const struct app_settings *settings = &server->plan.version->settings;
    struct admission_limits limits = {.max_connections = settings->max_connections,
                                      .per_ip = settings->max_connections_per_ip,
                                      .accept_rate = settings->accept_rate};
    workers->source = server->plan.source;
    workers->log = server->log;
    workers->settings = settings;
    workers->endpoints = server->endpoints;
    workers->endpoint_count = server->endpoint_count;
    workers->notify = notify;
    workers->owner = server;
    atomic_init(&workers->next_number, 0);
    workers->all = calloc(server->plan.workers, sizeof *workers->all);
    if (!workers->all ||
        admission_init(&workers->admission, &limits, io_system.ops->random(&io_system)))
        return EX_OSERR;
    workers->count = server->plan.workers; /* before any of them looks at it */
    for (; server->started < workers->count; server->started++) {
        int failed = worker_start(&workers->all[server->started], workers, server->started);
        if (failed) {
            fprintf(stderr, "neap: cannot start worker %u: %s\n", server->started + 1,
                    strerror(-failed));
            return EX_OSERR;
        }
    }
    return EX_OK;
}

static void await_state(struct server *server, enum worker_state state)
{
    while (!server->signalled && !all_at_least(server, state))
        (void)wait_signal(server);
}

/* All have loaded and run on_start, or none serves. */
static int await_ready(struct server *server)
{
    await_state(server, WORKER_READY);
    if (server->signalled) { /* somebody has had enough of waiting */
        server->draining = true;
        order_all(server, ORDER_QUIT);
        return EX_OK;
    }
    const char *error = first_error(server);
    if (!error) {
        order_all(server, ORDER_SERVE);
        await_state(server, WORKER_SERVING);
        return EX_OK;
    }
    fputs(error, stderr);
    order_all(server, ORDER_QUIT);
    return EX_DATAERR;
}

static void join_workers(struct server *server)
{
    for (unsigned i = 0; i < server->started; i++)
        worker_join(&server->workers.all[i]);
    for (unsigned i = 0; i < server->started; i++) {
        free(server->workers.all[i].error);
        worker_fini(&server->workers.all[i]);
    }
}

/* ---- What people see ---- */

static int list_endpoints(const struct server *server, struct buf *out)
{
    int failed = 0;
    for (size_t i = 0; i < server->endpoint_count && !failed; i++)
        failed = buf_printf(out, "%s%s", i ? " " : "", server->endpoints[i].bound.text);
    return failed ? failed : buf_append(out, "", 1);
}

/* On a terminal: where, what, and a line to try in another window. */
static void show_banner(const struct server *server)
{
    const struct version *version = server->plan.version;
    fprintf(stderr, "neap %s serves %s (version 1, %u worker%s)\n", NEAP_VERSION,
            source_path(server->plan.source), server->plan.workers,
            server->plan.workers == 1 ? "" : "s");
    for (size_t i = 0; i < server->endpoint_count; i++)
        fprintf(stderr, "  %s%s%s\n", server->endpoints[i].bound.text,
                version->lone ? "" : "  ",
                version->lone ? "" : server->endpoints[i].service);
    if (server->endpoint_count)
        fprintf(stderr, "try:   neap send %s 'Hello...'\nstop:  Ctrl-C\n",
                server->endpoints[0].bound.text);
}

static void say_ready(struct server *server)
{
    if (isatty(STDERR_FILENO)) {
        show_banner(server);
        return;
    }
    struct buf listen = {0};
    if (list_endpoints(server, &listen) == 0) {
        const char *script = source_path(server->plan.source);
        struct log_field fields[] = {
            {.key = "listen",
             .key_len = 6,
             .as.string = {buf_bytes(&listen), buf_len(&listen) - 1}},
            {.key = "script", .key_len = 6, .as.string = {script, strlen(script)}},
            {.key = "workers",
             .key_len = 7,
             .kind = LOG_INTEGER,
             .as.integer = server->plan.workers},
            {.key = "version", .key_len = 7, .kind = LOG_INTEGER, .as.integer = 1},
        };
        struct log_record record = {.level = LOG_INFO,
                                    .time_s = io_system.ops->wall_s(&io_system),
                                    .message = "ready",
                                    .message_len = 5,
                                    .fields = fields,
                                    .field_count = 4};
        log_write(server->log, &record);
    }
    buf_fini(&listen);
}

static uint64_t total(const struct server *server, enum counter counter)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < server->started; i++)
        sum += server->workers.all[i].totals[counter];
    return sum;
}

static void say_stopped(struct server *server)
{
    log_printf(server->log, LOG_INFO,
               "stopped: served %llu connections, %llu datagram peers, %llu messages",
               (unsigned long long)total(server, COUNTER_CONNECTIONS),
               (unsigned long long)total(server, COUNTER_PEERS),
               (unsigned long long)total(server, COUNTER_MESSAGES));
}

/* ---- Serving ---- */

/* The detail with which a script asked for the end, "" for none; NULL: none has asked. */
static const char *stop_asked(struct server *server)
{
    pthread_mutex_lock(&server->lock);
    const char *detail = server->stop_detail ? server->stop_detail : "";
    bool asked = server->stop_asked; /* from then on the detail does not change */
    pthread_mutex_unlock(&server->lock);
    return asked ? detail : NULL;
}

static void start_draining(struct server *server, const char *by)
{
    uint64_t timeout_ms = server->plan.version->settings.drain_timeout_ms;
    server->draining = true;
    server->deadline_ms = now_ms() + timeout_ms + ABANDON_MS;
    log_printf(server->log, LOG_INFO,
               "stopping%s%s: no new connections, %g s for the others", *by ? ": " : "", by,
               (double)timeout_ms / 1e3);
    order_all(server, ORDER_DRAIN);
}

static void end_at_once(struct server *server)
{
    log_printf(server->log, LOG_WARN, "stopped at once by a second signal");
    order_all(server, ORDER_ABORT);
    uint64_t end_ms = now_ms() + ABANDON_MS;
    server->deadline_ms = end_ms;
    while (!all_at_least(server, WORKER_DONE) && now_ms() < end_ms)
        (void)wait_event(server);
    server->abandoned = !all_at_least(server, WORKER_DONE);
}

static int serve(struct server *server)
{
    while (!all_at_least(server, WORKER_DONE)) {
        const char *asked = stop_asked(server);
        if (!server->draining && (server->signalled || asked))
            start_draining(server, asked ? asked : "");
        if (server->draining && all_at_least(server, WORKER_DRAINING))
            close_listeners(server);
        bool was_signalled = server->signalled;
        if (wait_signal(server) && was_signalled) {
            end_at_once(server);
            return EXIT_FAILURE;
        }
        if (server->deadline_ms && time_left(server) == 0) {
            log_printf(server->log, LOG_ERROR,
                       "a hook does not return: stopped without its worker");
            server->abandoned = true;
            return EXIT_FAILURE;
        }
    }
    return EX_OK;
}

static int run(struct server *server, const struct server_config *config)
{
    int status = plan_open(&server->plan, config);
    if (status == EX_OK)
        status = bind_all(server);
    if (status == EX_OK)
        status = open_events(server);
    if (status == EX_OK)
        status = open_log(server, config);
    if (status == EX_OK)
        status = start_workers(server);
    if (status == EX_OK)
        status = await_ready(server);
    else
        order_all(server, ORDER_QUIT);
    if (status == EX_OK && !server->draining) {
        say_ready(server);
        status = serve(server);
    }
    return status;
}

/* A worker is stuck in a hook, so nothing that it may use can be freed. */
static void abandon(struct server *server)
{
    log_close(server->log);
    close_sockets(server); /* removes the files of Unix sockets */
    _exit(EXIT_FAILURE);
}

static void close_server(struct server *server)
{
    if (server->abandoned)
        abandon(server);
    join_workers(server);
    if (server->workers.all && server->draining)
        say_stopped(server);
    if (server->workers.settings)
        admission_fini(&server->workers.admission);
    free(server->workers.all);
    log_close(server->log);
    close_sockets(server);
    if (server->signals >= 0)
        close(server->signals);
    if (server->events >= 0)
        close(server->events);
    plan_close(&server->plan);
    free(server->stop_detail);
    pthread_mutex_destroy(&server->lock);
}

int server_run(const struct server_config *config)
{
    struct server server = {.signals = -1, .events = -1};
    pthread_mutex_init(&server.lock, NULL);
    int status = run(&server, config);
    close_server(&server);
    return status;
}

const char *server_libev_release(void)
{
    return loop_release();
}
