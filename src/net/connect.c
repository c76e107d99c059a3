/* net/connect.c - who is tried next, and who was first. */
#include "net/connect.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "io/io.h"
#include "net/reactor.h"

/* RFC 8305, 5 and 3: how long one attempt has the field to itself, and how long addresses of IPv4
 * wait for those of IPv6. */
#define ATTEMPT_DELAY_MS 250U
#define RESOLUTION_DELAY_MS 50U

/* A Unix socket whose backlog is full cannot be waited for. */
#define BACKLOG_DELAY_MS 20U

static void start_timer(struct connect *connect, struct wheel_timer *timer,
                        uint64_t after_ms)
{
    struct reactor *reactor = connect->reactor;
    loop_update_now(reactor->loop);
    wheel_start(&reactor->wheel, timer, reactor_now_ms(reactor) + after_ms);
}

static void close_attempt(struct attempt *attempt)
{
    struct reactor *reactor = attempt->connect->reactor;
    if (attempt->fd < 0)
        return;
    loop_io_watch(reactor->loop, &attempt->io, LOOP_NONE);
    reactor->io->ops->close(reactor->io, attempt->fd, 0);
    attempt->fd = -1;
}

static void stop(struct connect *connect)
{
    wheel_stop(&connect->reactor->wheel, &connect->deadline);
    wheel_stop(&connect->reactor->wheel, &connect->delay);
    for (int family = 0; family < CONNECT_FAMILIES; family++)
        lookup_cancel(&connect->of[family].lookup);
    for (size_t i = 0; i < connect->attempt_count; i++)
        close_attempt(&connect->attempts[i]);
}

static void finish(struct connect *connect)
{
    stop(connect);
    connect->over = true;
    if (!connect->starting)
        connect->done(connect);
}

static void fail(struct connect *connect, int error)
{
    connect->error = error;
    finish(connect);
}

/* ---- Sockets ---- */

/* unix(7), autobind: without a name of its own nobody could answer it. */
static int name_socket(struct io *io, int fd)
{
    const struct sockaddr any = {.sa_family = AF_UNIX};
    return io->ops->bind(io, fd, &any, sizeof any.sa_family);
}

static int open_socket(const struct connect *connect, int family)
{
    struct io *io = connect->reactor->io;
    enum transport transport = connect->remote.addr.transport;
    int fd = io->ops->socket(io, family,
                             transport_is_stream(transport) ? SOCK_STREAM : SOCK_DGRAM);
    if (fd < 0)
        return fd;
    int failed = bind_set_options(io, fd, transport, &connect->options);
    if (!failed && transport == TRANSPORT_UNIXGRAM)
        failed = name_socket(io, fd);
    if (!failed)
        return fd;
    io->ops->close(io, fd, 0);
    return failed;
}

/* ---- Attempts ---- */

static void start_next(struct connect *connect);

/* Also to ask what became of it: connect(2) answers for a socket whose connection was begun. */
static void ask(struct attempt *attempt)
{
    struct connect *connect = attempt->connect;
    struct reactor *reactor = connect->reactor;
    int failed = reactor->io->ops->connect(reactor->io, attempt->fd, &attempt->at->at.sa,
                                           attempt->at->len);
    switch (-failed) {
    case 0:
    case EISCONN:
        loop_io_watch(reactor->loop, &attempt->io, LOOP_NONE);
        connect->fd = attempt->fd;
        connect->at = *attempt->at;
        attempt->fd = -1;
        connect->error = 0;
        finish(connect);
        return;
    case EINPROGRESS:
    case EALREADY:
    case EINTR:
        loop_io_watch(reactor->loop, &attempt->io, LOOP_WRITE);
        return;
    case EAGAIN:
        if (connect->remote.addr.transport == TRANSPORT_UNIX)
            return; /* see on_delay */
        break;
    default:
        break;
    }
    connect->error = -failed;
    close_attempt(attempt);
    start_next(connect);
}

static void on_ready(struct loop_io *io, unsigned events)
{
    (void)events;
    struct attempt *attempt = container_of(io, struct attempt, io);
    if (attempt->fd >= 0)
        ask(attempt);
}

/* The next address: the families take turns as long as both have one. NULL: there is none now. */
static const struct endpoint *pick(struct connect *connect)
{
    for (int i = 0; i < CONNECT_FAMILIES; i++) {
        struct candidates *from = &connect->of[(connect->turn + i) % CONNECT_FAMILIES];
        if (from->lookup.query || from->next >= from->lookup.count)
            continue;
        connect->turn = (connect->turn + i + 1) % CONNECT_FAMILIES;
        return &from->lookup.at[from->next++];
    }
    return NULL;
}

static bool is_under_way(const struct connect *connect)
{
    for (int family = 0; family < CONNECT_FAMILIES; family++)
        if (connect->of[family].lookup.query)
            return true;
    for (size_t i = 0; i < connect->attempt_count; i++)
        if (connect->attempts[i].fd >= 0)
            return true;
    return false;
}

static void give_up(struct connect *connect)
{
    for (int family = 0; family < CONNECT_FAMILIES && !connect->error; family++)
        if (connect->of[family].lookup.failed)
            connect->status = connect->of[family].lookup.status;
    finish(connect);
}

static void start_next(struct connect *connect)
{
    wheel_stop(&connect->reactor->wheel, &connect->delay);
    const struct endpoint *at = pick(connect);
    if (!at) {
        if (!is_under_way(connect))
            give_up(connect);
        return;
    }
    int fd = open_socket(connect, at->at.sa.sa_family);
    if (fd < 0) {
        connect->error = -fd;
        start_next(connect);
        return;
    }
    struct attempt *attempt = &connect->attempts[connect->attempt_count++];
    *attempt = (struct attempt){.connect = connect, .at = at, .fd = fd};
    loop_io_init(&attempt->io, fd, on_ready);
    bool is_unix = connect->remote.addr.transport == TRANSPORT_UNIX;
    start_timer(connect, &connect->delay, is_unix ? BACKLOG_DELAY_MS : ATTEMPT_DELAY_MS);
    ask(attempt);
}

/* ---- What it waits for ---- */

static void on_delay(struct wheel_timer *timer)
{
    struct connect *connect = container_of(timer, struct connect, delay);
    if (connect->remote.addr.transport != TRANSPORT_UNIX || !connect->attempt_count) {
        start_next(connect);
        return;
    }
    start_timer(connect, &connect->delay, BACKLOG_DELAY_MS);
    ask(&connect->attempts[0]);
}

static void on_deadline(struct wheel_timer *timer)
{
    fail(container_of(timer, struct connect, deadline), ETIMEDOUT);
}

static void on_addresses(struct connect *connect, int family)
{
    const struct lookup *lookup = &connect->of[family].lookup;
    if (lookup->failed && is_under_way(connect))
        return;
    bool is_early = family == CONNECT_IPV4 && connect->of[CONNECT_IPV6].lookup.query;
    if (connect->attempt_count && wheel_timer_is_started(&connect->delay))
        return; /* the attempt under way has its time to itself */
    if (is_early)
        start_timer(connect, &connect->delay, RESOLUTION_DELAY_MS);
    else
        start_next(connect);
}

static void on_ipv6(struct lookup *lookup)
{
    on_addresses(container_of(lookup, struct connect, of[CONNECT_IPV6].lookup),
                 CONNECT_IPV6);
}

static void on_ipv4(struct lookup *lookup)
{
    on_addresses(container_of(lookup, struct connect, of[CONNECT_IPV4].lookup),
                 CONNECT_IPV4);
}

static void look_up(struct connect *connect, const char *servers)
{
    static const int families[CONNECT_FAMILIES] = {AF_INET6, AF_INET};
    connect->of[CONNECT_IPV6].lookup.done = on_ipv6;
    connect->of[CONNECT_IPV4].lookup.done = on_ipv4;
    for (int family = 0; family < CONNECT_FAMILIES; family++)
        lookup_start(&connect->of[family].lookup, connect->reactor, servers,
                     connect->remote.name, families[family], connect->remote.addr.port);
}

/* ---- Its life ---- */

/* What needs no lookup: a number, a path, or localhost, which is IPv4 first. */
static void add_literal(struct connect *connect)
{
    struct endpoint at[2];
    int count = addr_endpoints(&connect->remote.addr, at);
    connect->turn = CONNECT_IPV4;
    for (int i = 0; i < count; i++) {
        int family = at[i].at.sa.sa_family == AF_INET6 ? CONNECT_IPV6 : CONNECT_IPV4;
        struct lookup *lookup = &connect->of[family].lookup;
        lookup->at[lookup->count++] = at[i];
    }
}

static void begin(struct connect *connect, const char *servers)
{
    if (!*connect->remote.name) {
        add_literal(connect);
        start_next(connect);
        return;
    }
    look_up(connect, servers);
    for (int family = 0; family < CONNECT_FAMILIES && !connect->over; family++)
        if (!connect->of[family].lookup.query) /* the hosts file knew */
            on_addresses(connect, family);
}

struct connect *connect_start(struct reactor *reactor, const struct remote *remote,
                              const struct bind_options *options, const char *servers,
                              uint64_t timeout_ms, void (*done)(struct connect *connect))
{
    struct connect *connect = calloc(1, sizeof *connect);
    if (!connect)
        return NULL;
    connect->reactor = reactor;
    connect->done = done;
    connect->remote = *remote;
    connect->options = *options;
    connect->options.sockopts = connect->sockopts; /* the version's may go before it */
    if (options->sockopt_count)
        memcpy(connect->sockopts, options->sockopts,
               options->sockopt_count * sizeof *options->sockopts);
    connect->fd = -1;
    wheel_timer_init(&connect->deadline, on_deadline);
    wheel_timer_init(&connect->delay, on_delay);
    connect->starting = true;
    start_timer(connect, &connect->deadline, timeout_ms);
    begin(connect, servers);
    connect->starting = false;
    return connect;
}

int connect_take(struct connect *connect)
{
    int fd = connect->fd;
    connect->fd = -1;
    return fd;
}

void connect_free(struct connect *connect)
{
    if (!connect)
        return;
    stop(connect);
    if (connect->fd >= 0)
        connect->reactor->io->ops->close(connect->reactor->io, connect->fd, 0);
    free(connect);
}

const char *connect_why(const struct connect *connect)
{
    if (connect->error == ETIMEDOUT)
        return "timeout";
    return connect->error ? strerror(connect->error) : resolver_why(connect->status);
}

const char *connect_code(const struct connect *connect)
{
    return connect->error ? strerrorname_np(connect->error)
                          : resolver_code(connect->status);
}
