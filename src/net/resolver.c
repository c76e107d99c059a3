/* net/resolver.c - c-ares on the loop: its sockets, its clock. */
#include "net/resolver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <ares.h>

#include "base/macros.h"
#include "net/loop.h"
#include "net/reactor.h"

/* A name server that does not answer is asked again after 2 s, and given up 4 s later. */
#define TRY_MS 2000
#define TRIES 2

/* How often it is looked whether the system's configuration has changed. */
#define CONFIG_LOOK_MS 5000U
static const char config_path[] = "/etc/resolv.conf";

#define STATUS_TOO_MANY (-1) /* not of c-ares: RESOLVER_QUERIES are under way */

struct channel {
    struct list node; /* in resolver->retired, when another took its place */
    struct resolver *resolver;
    ares_channel ares;
    unsigned queries;
    struct list sockets; /* struct watched */
    struct wheel_timer clock;
    struct timespec config_changed;
    uint64_t looked_ms;
    char servers[RESOLVER_SERVERS_MAX];
};

struct watched {
    struct list node;
    struct channel *channel;
    struct loop_io io;
    int fd; /* -1: free to be used again; a watcher is not to be freed in its own callback */
};

struct query {
    struct channel *channel;
    struct lookup *lookup; /* NULL: nobody waits for it any more */
    uint16_t port;
    bool starting;
};

struct resolver {
    struct reactor *reactor;
    struct channel *channel; /* NULL: none has been needed yet */
    struct list retired;
    unsigned queries;   /* of all channels */
    unsigned abandoned; /* of these: nobody waits for them any more */
};

/* ---- Its sockets ---- */

static void set_clock(struct channel *channel)
{
    struct reactor *reactor = channel->resolver->reactor;
    struct timeval left;
    wheel_stop(&reactor->wheel, &channel->clock);
    if (!ares_timeout(channel->ares, NULL, &left))
        return;
    uint64_t after_ms = (uint64_t)left.tv_sec * 1000U + (uint64_t)left.tv_usec / 1000U + 1;
    wheel_start(&reactor->wheel, &channel->clock, reactor_now_ms(reactor) + after_ms);
}

static void process(struct channel *channel, int readable, int writable)
{
    ares_process_fd(channel->ares, readable, writable);
    set_clock(channel);
}

static void on_ready(struct loop_io *io, unsigned events)
{
    const struct watched *watched = container_of(io, struct watched, io);
    if (watched->fd < 0)
        return;
    process(watched->channel, events & LOOP_READ ? watched->fd : ARES_SOCKET_BAD,
            events & LOOP_WRITE ? watched->fd : ARES_SOCKET_BAD);
}

static void on_clock(struct wheel_timer *timer)
{
    process(container_of(timer, struct channel, clock), ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

static struct watched *find_watched(struct channel *channel, int fd)
{
    LIST_FOREACH (&channel->sockets, node) {
        struct watched *watched = container_of(node, struct watched, node);
        if (watched->fd == fd)
            return watched;
    }
    return NULL;
}

static struct watched *watch(struct channel *channel, int fd)
{
    struct watched *watched = find_watched(channel, -1);
    if (!watched) {
        watched = calloc(1, sizeof *watched);
        if (!watched)
            return NULL; /* as if no answer came */
        list_init(&watched->node);
        list_append(&channel->sockets, &watched->node);
        watched->channel = channel;
    }
    watched->fd = fd;
    loop_io_init(&watched->io, fd, on_ready);
    return watched;
}

static void on_socket(void *owner, ares_socket_t fd, int readable, int writable)
{
    struct channel *channel = owner;
    struct watched *watched = find_watched(channel, fd);
    unsigned events = (readable ? LOOP_READ : 0U) | (writable ? LOOP_WRITE : 0U);
    if (!watched && events)
        watched = watch(channel, fd);
    if (!watched)
        return;
    loop_io_watch(channel->resolver->reactor->loop, &watched->io, events);
    if (!events)
        watched->fd = -1;
}

/* ---- Channels ---- */

static void open_library(void)
{
    (void)ares_library_init(ARES_LIB_INIT_ALL);
}

static struct timespec config_change(void)
{
    struct stat at;
    return stat(config_path, &at) == 0 ? at.st_mtim : (struct timespec){0};
}

static struct channel *new_channel(struct resolver *resolver, const char *servers)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, open_library);
    struct channel *channel = calloc(1, sizeof *channel);
    if (!channel)
        return NULL;
    list_init(&channel->node);
    list_init(&channel->sockets);
    wheel_timer_init(&channel->clock, on_clock);
    channel->resolver = resolver;
    channel->looked_ms = reactor_now_ms(resolver->reactor);
    channel->config_changed = config_change();
    strncpy(channel->servers, servers, sizeof channel->servers - 1);
    struct ares_options options = {.timeout = TRY_MS,
                                   .tries = TRIES,
                                   .sock_state_cb = on_socket,
                                   .sock_state_cb_data = channel};
    int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB;
    if (ares_init_options(&channel->ares, &options, mask) != ARES_SUCCESS) {
        free(channel);
        return NULL;
    }
    if (!*servers || ares_set_servers_ports_csv(channel->ares, servers) == ARES_SUCCESS)
        return channel;
    ares_destroy(channel->ares);
    free(channel);
    return NULL;
}

static void free_channel(struct channel *channel)
{
    ares_destroy(channel->ares); /* which ends its queries */
    wheel_stop(&channel->resolver->reactor->wheel, &channel->clock);
    LIST_FOREACH (&channel->sockets, node)
        free(container_of(node, struct watched, node));
    list_remove(&channel->node);
    free(channel);
}

static void free_retired(struct resolver *resolver)
{
    LIST_FOREACH (&resolver->retired, node) {
        struct channel *channel = container_of(node, struct channel, node);
        if (channel->queries == 0)
            free_channel(channel);
    }
}

static bool is_current(struct channel *channel, const char *servers, uint64_t now_ms)
{
    if (strcmp(channel->servers, servers) != 0)
        return false;
    if (now_ms - channel->looked_ms < CONFIG_LOOK_MS)
        return true;
    channel->looked_ms = now_ms;
    struct timespec changed = config_change();
    return changed.tv_sec == channel->config_changed.tv_sec &&
           changed.tv_nsec == channel->config_changed.tv_nsec;
}

/* One that asks those servers, as the system is configured now. */
static struct channel *channel_for(struct resolver *resolver, const char *servers)
{
    struct channel *channel = resolver->channel;
    free_retired(resolver);
    if (channel && is_current(channel, servers, reactor_now_ms(resolver->reactor)))
        return channel;
    if (channel) /* its queries go on */
        list_append(&resolver->retired, &channel->node);
    resolver->channel = new_channel(resolver, servers);
    return resolver->channel;
}

static struct resolver *resolver_of(struct reactor *reactor)
{
    if (reactor->resolver)
        return reactor->resolver;
    struct resolver *resolver = calloc(1, sizeof *resolver);
    if (!resolver)
        return NULL;
    resolver->reactor = reactor;
    list_init(&resolver->retired);
    reactor->resolver = resolver;
    return resolver;
}

void resolver_free(struct resolver *resolver)
{
    if (!resolver)
        return;
    LIST_FOREACH (&resolver->retired, node)
        free_channel(container_of(node, struct channel, node));
    if (resolver->channel)
        free_channel(resolver->channel);
    free(resolver);
}

/* ---- Lookups ---- */

static void fail(struct lookup *lookup, int status)
{
    lookup->failed = true;
    lookup->status = status;
}

static void add(struct lookup *lookup, const struct ares_addrinfo_node *node, uint16_t port)
{
    struct endpoint *at = &lookup->at[lookup->count];
    if (node->ai_addrlen > sizeof at->at)
        return;
    *at = (struct endpoint){.len = node->ai_addrlen};
    memcpy(&at->at, node->ai_addr, node->ai_addrlen);
    if (node->ai_family == AF_INET)
        at->at.in.sin_port = htons(port);
    else if (node->ai_family == AF_INET6)
        at->at.in6.sin6_port = htons(port);
    else
        return;
    lookup->count++;
}

static void on_answer(void *owner, int status, int timeouts, struct ares_addrinfo *answer)
{
    (void)timeouts;
    struct query *query = owner;
    struct lookup *lookup = query->lookup;
    query->channel->queries--;
    query->channel->resolver->queries--;
    query->channel->resolver->abandoned -= !lookup;
    if (lookup && status != ARES_SUCCESS)
        fail(lookup, status);
    else if (lookup)
        for (const struct ares_addrinfo_node *node = answer->nodes;
             node && lookup->count < LOOKUP_MAX; node = node->ai_next)
            add(lookup, node, query->port);
    if (answer)
        ares_freeaddrinfo(answer);
    bool starting = query->starting;
    free(query);
    if (!lookup)
        return;
    if (!lookup->failed && lookup->count == 0)
        fail(lookup, ARES_ENODATA);
    lookup->query = NULL;
    if (!starting)
        lookup->done(lookup);
}

/* What was given up ends by itself, later. */
static bool is_full(const struct resolver *resolver)
{
    return resolver->queries - resolver->abandoned >= RESOLVER_QUERIES ||
           resolver->queries >= 2 * RESOLVER_QUERIES;
}

/* An address stands for itself. */
static bool is_address(struct lookup *lookup, const char *name, int family, uint16_t port)
{
    struct endpoint *at = &lookup->at[0];
    *at = (struct endpoint){.len = sizeof at->at.in};
    if (inet_pton(AF_INET, name, &at->at.in.sin_addr) == 1) {
        at->at.in.sin_family = AF_INET;
        at->at.in.sin_port = htons(port);
    } else if (inet_pton(AF_INET6, name, &at->at.in6.sin6_addr) == 1) {
        at->at.in6.sin6_family = AF_INET6;
        at->at.in6.sin6_port = htons(port);
        at->len = sizeof at->at.in6;
    } else {
        return false;
    }
    bool is_wanted = family == AF_UNSPEC || family == at->at.sa.sa_family;
    lookup->count = is_wanted;
    if (!is_wanted)
        fail(lookup, ARES_ENODATA);
    return true;
}

void lookup_start(struct lookup *lookup, struct reactor *reactor, const char *servers,
                  const char *name, int family, uint16_t port)
{
    lookup->query = NULL;
    lookup->failed = false;
    lookup->count = 0;
    if (is_address(lookup, name, family, port))
        return;
    struct resolver *resolver = resolver_of(reactor);
    struct channel *channel = resolver ? channel_for(resolver, servers) : NULL;
    struct query *query = channel ? calloc(1, sizeof *query) : NULL;
    if (!query) {
        fail(lookup, ARES_ENOMEM);
        return;
    }
    if (is_full(resolver)) {
        free(query);
        reactor_count(reactor, COUNTER_LOOKUPS_REFUSED, 1, NULL, name);
        fail(lookup, STATUS_TOO_MANY);
        return;
    }
    *query = (struct query){channel, lookup, port, true};
    lookup->query = query;
    channel->queries++;
    resolver->queries++;
    counters_add(&reactor->counters, COUNTER_LOOKUPS, 1);
    const struct ares_addrinfo_hints hints = {.ai_family = family,
                                              .ai_socktype = SOCK_STREAM};
    ares_getaddrinfo(channel->ares, name, NULL, &hints, on_answer, query);
    if (!lookup->query) /* the hosts file knew it, or it is no name */
        return;
    query->starting = false;
    set_clock(channel);
}

void lookup_cancel(struct lookup *lookup)
{
    if (lookup->query) {
        lookup->query->lookup = NULL;
        lookup->query->channel->resolver->abandoned++;
    }
    lookup->query = NULL;
}

static const struct {
    int status;
    const char *code, *why;
} statuses[] = {
    {ARES_ENOTFOUND, "ENOTFOUND", "no such name"},
    {ARES_ENODATA, "ENOTFOUND", "the name has no address"},
    {ARES_EBADNAME, "ENOTFOUND", "not a name"},
    {ARES_ETIMEOUT, "ETIMEDOUT", "timeout"},
    /* Also when all have failed or refused: c-ares asks the next one then. */
    {ARES_ECONNREFUSED, "EAGAIN", "no name server gives an answer"},
    {ARES_ENOMEM, "ENOMEM", "out of memory"},
    {STATUS_TOO_MANY, "ENOBUFS", "too many lookups are under way"},
};

const char *resolver_why(int status)
{
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++)
        if (statuses[i].status == status)
            return statuses[i].why;
    return ares_strerror(status);
}

const char *resolver_code(int status)
{
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++)
        if (statuses[i].status == status)
            return statuses[i].code;
    return "EAGAIN";
}
