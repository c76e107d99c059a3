/* server/gate.c - accepting, handing over, opening. */
#include "server/gate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io/io.h"
#include "net/conn.h"
#include "net/dgram.h"
#include "net/listener.h"
#include "net/stream.h"
#include "script/hook.h"
#include "script/services.h"
#include "script/version.h"
#include "server/addresses.h"
#include "server/canary.h"
#include "server/own.h"
#include "server/worker.h"

/* How far above the least loaded worker this one may be before it hands new connections on. */
#define SURPLUS_MIN 8
#define SURPLUS_PART 10

struct gate {
    struct list node; /* in own->gates */
    struct own *own;
    const struct address *address;
    struct service *service;
    struct listener listener; /* of a stream address, if this worker watches it */
    struct dgram *dgram;      /* of a datagram address, if this worker watches it */
    bool watches;
};

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

/* The service of a new connection: of the version that serves, or of a candidate. */
static struct service *choose(struct reactor *reactor, struct service *service,
                              const struct endpoint *peer)
{
    struct own_canary *canary = &own_of(reactor)->canary;
    if (!canary->version)
        return service;
    struct service *aside = version_aside(canary->version, service->name);
    if (!aside || !canary_takes(canary->terms, &canary->debt, peer))
        return service;
    canary->connections++;
    return aside;
}

static const struct dgram_ops dgram_ops = {.number = next_number, .choose = choose};

static void open_conn(struct own *own, const struct gate *gate, int fd,
                      const struct endpoint *peer)
{
    if (own->draining || !gate) {
        refuse(own, fd, peer);
        return;
    }
    enum transport transport = gate->address->bound.transport;
    struct service *service = choose(own->reactor, gate->service, peer);
    if (!hook_accept(service, peer, transport)) {
        reactor_count(own->reactor, COUNTER_REFUSED_SCRIPT, 1, NULL, NULL);
        refuse(own, fd, peer);
        return;
    }
    struct stream_origin origin = {.fd = fd,
                                   .transport = transport,
                                   .peer = peer,
                                   .number = next_number(own->reactor)};
    int failed = stream_open(own->reactor, service, &origin);
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
    /* One that has not switched yet may not know the address. */
    bool serves = atomic_load(&least->state) == WORKER_SERVING &&
                  atomic_load(&least->version) == own->version->number;
    if (least == worker || here < least_count + surplus || !serves)
        return false;
    struct mail mail = {.fd = fd, .address = gate->address, .peer = *peer};
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

/* What a script opens counts among max_connections; the limits of who may connect are for others. */
static const struct endpoint outbound = {.at.sa.sa_family = AF_UNIX,
                                         .len = sizeof(sa_family_t)};

uint64_t gate_admit(void *owner)
{
    struct own *own = owner;
    struct admission *admission = &own->worker->shared->admission;
    if (admission_enter(admission, &outbound, reactor_now_ms(own->reactor)) !=
        COUNTER_COUNT)
        return 0;
    count_conn(own->worker, 1);
    return next_number(own->reactor);
}

void gate_dismiss(void *owner)
{
    struct own *own = owner;
    admission_leave(&own->worker->shared->admission, &outbound);
    count_conn(own->worker, -1);
}

void gate_on_closed(struct reactor *reactor, const struct conn *conn)
{
    struct endpoint peer;
    if (conn->outbound) {
        gate_dismiss(own_of(reactor));
        return;
    }
    conn_peer(conn, &peer);
    admission_leave(&own_of(reactor)->worker->shared->admission, &peer);
    count_conn(own_of(reactor)->worker, -1);
}

/* ---- Gates ---- */

static struct gate *find(struct own *own, const struct address *address)
{
    LIST_FOREACH (&own->gates, node) {
        struct gate *gate = container_of(node, struct gate, node);
        if (gate->address == address)
            return gate;
    }
    return NULL;
}

bool gate_is_open(struct own *own, const struct address *address)
{
    return find(own, address) != NULL;
}

void gate_take_mail(struct own *own)
{
    struct mail mail;
    while (mailbox_take(&own->worker->mailbox, &mail))
        open_conn(own, find(own, mail.address), mail.fd, &mail.peer);
}

static void forget(struct gate *gate)
{
    list_remove(&gate->node);
    services_release(gate->service);
    free(gate);
}

int gate_open(struct own *own, const struct address *address)
{
    const struct bound *bound = &address->bound;
    unsigned index = own->worker->index;
    struct gate *gate = calloc(1, sizeof *gate);
    if (!gate)
        return -ENOMEM;
    gate->own = own;
    gate->address = address;
    gate->service = services_find(own->vm, address->service);
    services_hold(gate->service);
    list_append(&own->gates, &gate->node);
    gate->watches = index < bound->fd_count;
    if (!gate->watches)
        return 0;
    if (transport_is_stream(bound->transport)) {
        listener_start(&gate->listener, own->reactor, bound->fds[index], on_accepted);
        return 0;
    }
    gate->dgram = dgram_open(own->reactor, gate->service, bound->fds[index],
                             bound->transport, &dgram_ops);
    if (gate->dgram)
        return 0;
    forget(gate);
    return -ENOMEM;
}

void gate_update_all(struct own *own)
{
    LIST_FOREACH (&own->gates, node) {
        struct gate *gate = container_of(node, struct gate, node);
        struct service *service = services_find(own->vm, gate->address->service);
        if (service == gate->service)
            continue;
        services_hold(service);
        services_release(gate->service);
        gate->service = service;
        if (gate->dgram)
            dgram_set_service(gate->dgram, service);
    }
}

static void stop(struct gate *gate)
{
    listener_stop(&gate->listener);
    if (gate->dgram)
        dgram_stop(gate->dgram);
}

/* Here, not in main: while the loop may still be told of it, it would speak to the kernel of a
 * number that somebody else has by now. */
static void close_socket(struct gate *gate)
{
    struct io *io = gate->own->reactor->io;
    int *fds = gate->address->bound.fds; /* NULL: main has closed it */
    int *fd = gate->watches && fds ? &fds[gate->own->worker->index] : NULL;
    if (!fd || *fd < 0)
        return;
    io->ops->close(io, *fd, 0);
    *fd = -1;
}

void gate_stop(struct own *own, const struct address *address)
{
    struct gate *gate = find(own, address);
    if (gate && gate->dgram)
        dgram_close_door(gate->dgram);
    else if (gate && gate->watches) {
        listener_finish(&gate->listener);
        close_socket(gate);
    }
}

bool gate_close(struct own *own, const struct address *address)
{
    struct gate *gate = find(own, address);
    if (!gate)
        return true;
    if (gate->dgram && dgram_has_peers(gate->dgram))
        return false;
    dgram_close(gate->dgram);
    close_socket(gate);
    forget(gate);
    return true;
}

void gate_stop_all(struct own *own)
{
    LIST_FOREACH (&own->gates, node)
        stop(container_of(node, struct gate, node));
}

void gate_close_all(struct own *own)
{
    LIST_FOREACH (&own->gates, node) {
        struct gate *gate = container_of(node, struct gate, node);
        stop(gate);
        dgram_close(gate->dgram);
        forget(gate);
    }
}
