/* tests/sim/sim_world.c - one seed from its first throw to its last check.
 *
 *     make ─> steps: something happens outside, a turn, checks ─> faults stop: all settles
 *          ─> time passes: what waits for it is done ─> the peers end ─> nothing is left */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "net/dgram.h"
#include "net/loop_sim.h"
#include "net/stream.h"
#include "script/fault.h"
#include "script/lib_timer.h"
#include "script/record.h"
#include "script/services.h"
#include "script/source.h"
#include "script/version.h"
#include "script/vm.h"
#include "sim.h"

#define MS 1000000U /* nanoseconds */
#define LUA_MEMORY (64U << 20)
#define LOAD_TIMEOUT_MS 60000
#define RESTED_MS 200    /* by then the last ENOBUFS or EMFILE is forgotten */
#define TURNS_MAX 200000 /* to settle */

/* ---- Entries ---- */

struct entry *sim_entry_new(struct sim *sim)
{
    SIM_CHECK(sim->entry_count < SIM_ENTRIES_MAX, "too many connections for a seed");
    struct entry *entry = calloc(1, sizeof *entry);
    SIM_CHECK(entry, "out of memory");
    entry->number = sim->first_number + sim->entry_count;
    sim->entries[sim->entry_count++] = entry;
    entry->idle.moved = entry->stuck.moved = entry->partial.moved = true;
    entry->ending.moved = true;
    sim->live[sim->live_count++] = entry;
    return entry;
}

struct entry *sim_entry(struct sim *sim, uint64_t number)
{
    SIM_CHECK(number >= sim->first_number && number - sim->first_number < sim->entry_count,
              "a connection of number %llu", (unsigned long long)number);
    return sim->entries[number - sim->first_number];
}

struct entry *sim_entry_of_slot(struct sim *sim, uint64_t slot)
{
    struct entry *entry = sim_entry(sim, slots_generation(slot));
    return entry->seen && entry->slot == slot ? entry : NULL;
}

bool sim_sabotages(struct sim *sim, enum sim_sabotage sabotage)
{
    if (sim->sabotage != sabotage || sim->sabotaged || !dice_chance(&sim->dice, 100))
        return false;
    trace("  (sabotage)");
    return sim->sabotaged = true;
}

/* ---- What the server is made of ---- */

static void on_notice(struct reactor *reactor, enum counter counter,
                      const struct conn *conn, const char *detail)
{
    struct sim *sim = sim_of_reactor(reactor);
    struct log_field field = record_string("detail", detail ? detail : "");
    const char *message = counter_rows[counter].notice;
    trace("  notice: %s %s", message, detail ? detail : "");
    sim->may_miss +=
        counter == COUNTER_DATAGRAMS_TRUNCATED || counter == COUNTER_DATAGRAMS_OVERSIZE ||
        counter == COUNTER_DATAGRAMS_QUEUE_FULL ||
        counter == COUNTER_DATAGRAMS_MAX_WAITING || counter == COUNTER_REFUSED_MEMORY;
    record_write(sim->vm, &(struct record){.level = LOG_WARN,
                                           .message = message,
                                           .message_len = strlen(message),
                                           .conn = conn,
                                           .fields = &field,
                                           .field_count = detail != NULL});
}

static void on_stop(void *owner, const char *detail)
{
    (void)owner;
    (void)detail;
}

static uint64_t next_number(struct reactor *reactor)
{
    return sim_entry_new(sim_of_reactor(reactor))->number;
}

static struct service *choose(struct reactor *reactor, struct service *service,
                              const struct endpoint *peer)
{
    (void)reactor;
    (void)peer;
    return service;
}

static const struct dgram_ops dgram_ops = {.number = next_number, .choose = choose};

static struct service *service_of_peer(const struct sim *sim, const struct peer *peer)
{
    return sim->streams[(peer - sim->peers) & 1];
}

static void open_stream(struct sim *sim, int fd, struct peer *peer)
{
    struct service *service = service_of_peer(sim, peer);
    struct entry *entry = sim_entry_new(sim);
    entry->peer = peer;
    entry->is_stream = true;
    peer->entry = entry;
    trace("open %llu at %d", (unsigned long long)entry->number, fd);
    struct stream_origin origin = {.fd = fd,
                                   .transport = TRANSPORT_TCP,
                                   .peer = &peer->wire->from,
                                   .number = entry->number};
    SIM_CHECK(stream_open(sim->reactor, service, &origin) == 0, "stream_open");
}

static void on_accepted(struct listener *listener, int fd, const struct endpoint *from)
{
    struct sim *sim = container_of(listener, struct sim, listener);
    struct peer *peer = NULL;
    for (size_t i = 0; i < sim->io.wire_count; i++)
        if (sim->peers[i].wire->from.at.in.sin_port == from->at.in.sin_port)
            peer = &sim->peers[i];
    SIM_CHECK(peer, "a connection from nowhere");
    if (hook_accept(service_of_peer(sim, peer), from, TRANSPORT_TCP))
        open_stream(sim, fd, peer);
    else
        sim->io.io.ops->close(&sim->io.io, fd, 0);
}

/* Orders, and connections that another worker handed over. */
static void on_wake(struct reactor *reactor)
{
    struct sim *sim = sim_of_reactor(reactor);
    if (sim->order == ORDER_SHUTDOWN)
        conn_shutdown_all(reactor);
    else if (sim->order == ORDER_ABORT)
        conn_abort_all(reactor);
    sim->order = ORDER_NONE;
    for (size_t i = 0; i < sim->io.wire_count; i++) {
        struct peer *peer = &sim->peers[i];
        int fd = peer->mailed ? sim_wire_open(&sim->io, peer->wire) : -1;
        peer->mailed = false;
        if (fd >= 0)
            open_stream(sim, fd, peer);
    }
}

static const struct reactor_ops reactor_ops = {.on_wake = on_wake, .on_notice = on_notice};

/* Loads the script, and makes it serve in place of the version before. */
static void load_version(struct sim *sim)
{
    char *error = NULL;
    struct version *before = sim->version, *version;
    unsigned number = before ? before->number + 1 : 1;
    trace("version %u", number);
    version = version_load(sim->vm, sim->source, number, LOAD_TIMEOUT_MS, &error);
    SIM_CHECK(version, "%s", error ? error : "out of memory");
    SIM_CHECK(hook_start(version, before ? before->number : 0, &error), "on_start");
    spy_install(version);
    (void)version_switch(version);
    sim->version = version;
    sim->loaded_turn = sim->turn;
    if (!before)
        return;
    hook_stop(before, "reload");
    (void)version_retire(before);
}

static void load_script(struct sim *sim)
{
    static const char *const names[] = {"first", "second", "peers", "singles"};
    SIM_CHECK(source_open(&sim->source, SIM_ACTOR) == 0, "cannot read %s", SIM_ACTOR);
    source_seal(sim->source);
    load_version(sim);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct service *service = services_find(sim->vm, names[i]);
        *(i < 2 ? &sim->streams[i] : &sim->packets[i - 2]) = service;
        services_hold(service);
    }
}

static void open_gates(struct sim *sim)
{
    struct in_addr at = {htonl(sim->wildcard ? INADDR_ANY : 0xc0a80001)};
    for (size_t i = 0; i < 2; i++) {
        sim->dgram_fds[i] = sim_dgram_open(&sim->io, at);
        sim->dgrams[i] = dgram_open(sim->reactor, sim->packets[i], sim->dgram_fds[i],
                                    TRANSPORT_UDP, &dgram_ops);
        SIM_CHECK(sim->dgrams[i], "out of memory");
    }
    sim->listener_fd = sim_listener_open(&sim->io);
    listener_start(&sim->listener, sim->reactor, sim->listener_fd, on_accepted);
}

/* ---- The loop's world ---- */

static unsigned ready(void *owner, int fd, unsigned watched)
{
    struct sim *sim = owner;
    unsigned events = sim_ready(&sim->io, fd) & watched;
    if (dice_chance(&sim->dice, sim->stale_events))
        events |= watched;
    if (dice_chance(&sim->dice, sim->late_events))
        events = LOOP_NONE;
    return events;
}

static uint32_t below(void *owner, uint32_t limit)
{
    struct sim *sim = owner;
    return (uint32_t)dice_below(&sim->dice, limit);
}

static void after_callback(void *owner)
{
    check_callback(owner);
}

static const struct loop_sim_world world = {
    .ready = ready, .below = below, .after_callback = after_callback};

/* ---- Making ---- */

static unsigned some(struct dice *dice)
{
    static const unsigned often[] = {0, 0, 10, 50, 200, 500};
    return often[dice_below(dice, ARRAY_LEN(often))];
}

static void draw_faults(struct sim *sim)
{
    struct dice *dice = &sim->dice;
    sim->io.faults = (struct sim_faults){.again = some(dice),
                                         .interrupted = some(dice),
                                         .no_buffers = some(dice) / 2,
                                         .short_read = some(dice),
                                         .short_write = some(dice),
                                         .accept_error = some(dice),
                                         .datagram_error = some(dice) / 2,
                                         .batch_cut = some(dice)};
    sim->stale_events = some(dice) / 2;
    sim->late_events = some(dice);
    static const unsigned rough[] = {1, 1, 5, 20};
    sim->roughness = rough[dice_below(dice, ARRAY_LEN(rough))];
    sim->clients_wanted = 2 + (unsigned)dice_below(dice, 12);
    sim->memory_fails = dice_chance(dice, 250);
    sim->reloads = dice_chance(dice, 300) ? (unsigned)dice_below(dice, 40) : 0;
    sim->wildcard = dice_chance(dice, 500);
    sim->datagrams_left = (unsigned)dice_below(dice, 600);
}

static void draw_limits(struct sim *sim)
{
    static const size_t buffered[] = {SIZE_MAX, SIZE_MAX, 1000, 50000, 500000};
    sim->reactor->max_buffered = buffered[dice_below(&sim->dice, ARRAY_LEN(buffered))];
    if (dice_chance(&sim->dice, 300))
        sim->reactor->max_peers = 1 + (uint32_t)dice_below(&sim->dice, 6);
    static const uint64_t numbers[] = {1, 1, UINT64_C(1) << 32, (UINT64_C(1) << 41) - 5000};
    sim->first_number = numbers[dice_below(&sim->dice, ARRAY_LEN(numbers))];
}

static struct sim *make(const struct sim_plan *plan)
{
    struct sim *sim = calloc(1, sizeof *sim);
    SIM_CHECK(sim, "out of memory");
    sim->seed = plan->seed;
    sim->dice.state = plan->seed;
    sim->sabotage = plan->sabotage;
    sim_io_init(&sim->io, &sim->dice);
    sim->io.mutation = plan->mutation;
    /* A full window is rarer than a transfer. */
    size_t soon = plan->mutation == SIM_NEVER_WRITABLE ? 4 : 100;
    sim->io.mutate_after = (unsigned)(soon / 5 + dice_below(&sim->dice, soon));
    draw_faults(sim);
    sim->reactor = reactor_new(&sim->io.io, &reactor_ops, sim);
    SIM_CHECK(sim->reactor, "out of memory");
    draw_limits(sim);
    loop_sim_use(sim->reactor->loop, &world, sim);
    sim->io.loop = sim->reactor->loop;
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (dice_chance(&sim->dice, 500))
        SIM_CHECK(log_open(&sim->log, null, LOG_JSON, false) == 0, "log_open");
    close(null);
    struct vm_host host = {.io = &sim->io.io,
                           .log = sim->log,
                           .reactor = sim->reactor,
                           .worker = 1,
                           .workers = 1,
                           .stop = on_stop,
                           .owner = sim};
    sim->vm = vm_new(&host, LUA_MEMORY);
    SIM_CHECK(sim->vm, "out of memory");
    sim_lua_open(sim);
    load_script(sim);
    open_gates(sim);
    hosts_init(sim);
    return sim;
}

/* ---- Steps ---- */

static void turn(struct sim *sim)
{
    sim->turn++;
    sim->turn_ms = sim->io.now_ns / MS;
    bool busy = loop_sim_turn(sim->reactor->loop);
    check_turn(sim, busy);
    sim->busy = busy;
}

static void new_client(struct sim *sim)
{
    struct peer *peer;
    size_t index = sim->io.wire_count & 1;
    peer = peer_new(sim, &sim->streams[index]->framing->codec);
    if (!peer)
        return;
    if (dice_chance(&sim->dice, 700) &&
        sim_wire_wait(&sim->io, peer->wire, sim->listener_fd))
        return;
    peer->mailed = true;
    loop_wake(sim->reactor->loop);
}

static void pass_time(struct sim *sim)
{
    static const uint64_t ms[] = {0, 0, 0, 1, 2, 10, 100, 1000, 5000, 30000, 120000};
    size_t most = dice_chance(&sim->dice, 30) ? ARRAY_LEN(ms) : 6;
    uint64_t by_ms = ms[dice_below(&sim->dice, most)];
    if (by_ms)
        sim->io.now_ns += dice_below(&sim->dice, by_ms * MS);
}

static void order(struct sim *sim, enum sim_order what)
{
    sim->order = what;
    loop_wake(sim->reactor->loop);
}

static void something_else(struct sim *sim)
{
    size_t roll = dice_below(&sim->dice, 1000);
    if (roll < 40 && sim->memory_fails)
        sim->vm->alloc.fail_after = 1 + dice_len(&sim->dice, 2000);
    else if (roll < 60)
        loop_wake(sim->reactor->loop);
    else if (roll < 70)
        sim->io.fd_limit = sim->io.open_count + dice_below(&sim->dice, 4);
    else if (roll < 90)
        sim->io.fd_limit = SIM_FD_COUNT - 1;
    else if (roll < 92)
        order(sim, ORDER_SHUTDOWN);
    else if (roll < 93)
        order(sim, ORDER_ABORT);
    else if (roll < 93 + sim->reloads && sim->vm->alloc.fail_after == 0)
        load_version(sim);
    if (sim_sabotages(sim, SABOTAGE_HELD))
        sim->reactor->buffered++;
}

static void step(struct sim *sim)
{
    pass_time(sim);
    size_t clients = 0;
    for (size_t i = 0; i < sim->io.wire_count; i++)
        clients += !sim->peers[i].wire->server_closed;
    if (dice_chance(&sim->dice, clients < sim->clients_wanted ? 300 : 20))
        new_client(sim);
    for (size_t i = 0; i < sim->io.wire_count; i++)
        for (size_t acts = dice_below(&sim->dice, 6); acts > 0; acts--)
            if (!sim->peers[i].wire->server_closed)
                peer_act(sim, &sim->peers[i]);
    for (size_t acts = dice_below(&sim->dice, 4); acts > 1; acts--)
        host_act(sim, &sim->hosts[dice_below(&sim->dice, sim->host_count)]);
    something_else(sim);
    turn(sim);
}

/* ---- The end ---- */

static bool calm_world(struct sim *sim)
{
    bool moved = false;
    for (size_t i = 0; i < sim->io.wire_count; i++)
        if (!sim->peers[i].wire->server_closed)
            moved |= peer_calm(sim, &sim->peers[i]);
    return moved;
}

/* Until nothing moves: no readiness, nothing due, nothing on its way. */
static void settle(struct sim *sim)
{
    for (unsigned quiet = 0, count = 0; quiet < 3; count++) {
        SIM_CHECK(count < TURNS_MAX, "it does not settle");
        uint64_t before = sim->hook_count + sim->io.moved + sim->io.calls;
        bool moved = calm_world(sim);
        turn(sim);
        moved |= sim->busy || sim->hook_count + sim->io.moved + sim->io.calls != before;
        quiet = moved ? 0 : quiet + 1;
    }
}

static void stop_faults(struct sim *sim)
{
    trace("the faults stop");
    sim->calm = true;
    sim->io.faults = (struct sim_faults){0};
    sim->stale_events = sim->late_events = 0;
    sim->io.fd_limit = SIM_FD_COUNT - 1;
    sim->vm->alloc.fail_after = 0;
    for (size_t i = 0; i < sim->io.wire_count; i++)
        sim->peers[i].wire->window = 1000000;
}

/* From alarm to alarm. */
static void let_time_pass(struct sim *sim, uint64_t ms)
{
    uint64_t end_ms = reactor_now_ms(sim->reactor) + ms;
    for (unsigned count = 0; reactor_now_ms(sim->reactor) < end_ms; count++) {
        SIM_CHECK(count < TURNS_MAX, "too many alarms");
        uint64_t at_ms = loop_sim_alarm_ms(sim->reactor->loop);
        at_ms = at_ms < end_ms ? at_ms : end_ms;
        if (sim->io.now_ns < at_ms * MS)
            sim->io.now_ns = at_ms * MS;
        settle(sim);
    }
}

static void end_peers(struct sim *sim)
{
    size_t how = dice_below(&sim->dice, 4);
    trace("the end: %zu", how);
    for (size_t i = 0; i < sim->io.wire_count && how < 2; i++)
        if (!sim->peers[i].wire->server_closed)
            peer_end(sim, &sim->peers[i], how == 1);
    settle(sim);
    /* Half open ones, whose peer has ended long ago, and datagram peers. */
    order(sim, how == 3 ? ORDER_ABORT : ORDER_SHUTDOWN);
    settle(sim);
    let_time_pass(sim, 1000000);
}

static void release(struct sim *sim)
{
    lib_timer_stop_all(sim->version);
    listener_stop(&sim->listener);
    for (size_t i = 0; i < 2; i++) {
        dgram_close(sim->dgrams[i]);
        sim_close(&sim->io, sim->dgram_fds[i]);
    }
    sim_close(&sim->io, sim->listener_fd);
    SIM_CHECK(sim->io.open_count == 0, "%zu descriptors are left open", sim->io.open_count);
    for (size_t i = 0; i < 2; i++) {
        services_release(sim->streams[i]);
        services_release(sim->packets[i]);
    }
    fault_close(sim->vm);
    hook_stop(sim->version, "shutdown");
    version_free(sim->version);
    SIM_CHECK(loop_sim_alarm_ms(sim->reactor->loop) == UINT64_MAX ||
                  wheel_next_ms(&sim->reactor->wheel) == WHEEL_NEVER,
              "a timer is left");
    vm_free(sim->vm);
    source_unref(sim->source);
    reactor_free(sim->reactor);
    log_close(sim->log);
    for (size_t i = 0; i < sim->io.wire_count; i++)
        peer_fini(&sim->peers[i]);
    hosts_fini(sim);
    sim_io_fini(&sim->io);
    for (uint64_t i = 0; i < sim->entry_count; i++) {
        buf_fini(&sim->entries[i]->accepted);
        free(sim->entries[i]);
    }
    buf_fini(&sim->attempt.payload);
    buf_fini(&sim->attempt.wanted);
    free(sim);
}

uint64_t sim_run(const struct sim_plan *plan, bool *happened)
{
    trace_start(plan->seed, plan->loud);
    struct sim *sim = make(plan);
    size_t steps = 50 + dice_below(&sim->dice, 400);
    for (size_t i = 0; i < steps; i++) {
        trace("step %zu", i);
        step(sim);
    }
    stop_faults(sim);
    let_time_pass(sim, RESTED_MS);
    check_settled(sim);
    let_time_pass(sim, 20000);
    check_settled(sim);
    check_fed(sim);
    end_peers(sim);
    check_empty(sim);
    *happened = sim->io.mutated || sim->sabotaged;
    release(sim);
    trace_end();
    return trace_hash();
}
