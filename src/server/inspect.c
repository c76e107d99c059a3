/* server/inspect.c - looking at connections, versions and memory from the worker's own thread. */
#include "server/inspect.h"

#include <stdio.h>
#include <string.h>

#include "io/io.h"
#include "net/conn.h"
#include "net/reactor.h"
#include "script/eval.h"
#include "script/held.h"
#include "script/version.h"
#include "script/vm.h"
#include "script/wait.h"
#include "server/control.h"
#include "server/own.h"
#include "server/worker.h"

static struct inspect_part *part_of(struct job *job)
{
    return container_of(job, struct inspect_part, job);
}

static json_t *text_of(const char *text)
{
    return control_text(text, strlen(text));
}

bool inspect_worker(struct own *own, struct job *job)
{
    struct inspect_part *part = part_of(job);
    const struct reactor *reactor = own->reactor;
    uint64_t waited_ns = reactor->io->ops->monotonic_ns(reactor->io) - part->of->asked_ns;
    part->answer = json_pack(
        "{s:i,s:s,s:I,s:I,s:f,s:I,s:I,s:I}", "worker", (int)own->worker->index + 1, "state",
        own->draining ? "draining" : "serving", "connections",
        (json_int_t)(reactor->conns.count - reactor->peer_count), "peers",
        (json_int_t)reactor->peer_count, "loop_lag_ms", (double)waited_ns / 1e6,
        "lua_memory", (json_int_t)own->vm->alloc.used, "lua_limit",
        (json_int_t)own->vm->alloc.limit, "buffered", (json_int_t)reactor->buffered);
    return true;
}

#define HELD_LOOKS 10000 /* connections whose conn.data is looked at */

static json_t *object_in(json_t *object, const char *key)
{
    json_t *found = json_object_get(object, key);
    if (found)
        return found;
    (void)json_object_set_new(object, key, json_object());
    return json_object_get(object, key);
}

static void add_number(json_t *object, const char *key, uint64_t by)
{
    json_int_t before = json_integer_value(json_object_get(object, key));
    (void)json_object_set_new(object, key, json_integer(before + (json_int_t)by));
}

/* Adds to a number in the object of a version, all of which stand in one by their numbers. */
static void add_to(json_t *versions, unsigned number, const char *field, uint64_t by)
{
    char key[16];
    snprintf(key, sizeof key, "%u", number);
    add_number(object_in(versions, key), field, by);
}

#define PLACES_MAX 100 /* where hooks of a version wait; more are counted only */

static void add_place(void *owner, unsigned number, const char *place)
{
    char key[16];
    snprintf(key, sizeof key, "%u", number);
    json_t *places = object_in(object_in(owner, key), "places");
    json_t *text = text_of(place);
    if (json_object_get(places, json_string_value(text)) ||
        json_object_size(places) < PLACES_MAX)
        add_number(places, json_string_value(text), 1);
    json_decref(text);
}

/* Connections in runs: most were opened one after the other under the same version. */
static void count_opened(const struct own *own, json_t *versions)
{
    uint32_t cursor = 0;
    uint64_t run = 0;
    unsigned number = 0;
    const struct conn *conn;
    while ((conn = slots_next(&own->reactor->conns, &cursor))) {
        if (conn->version != number && run) {
            add_to(versions, number, "connections", run);
            run = 0;
        }
        number = conn->version;
        run++;
    }
    if (run)
        add_to(versions, number, "connections", run);
}

bool inspect_versions(struct own *own, struct job *job)
{
    json_t *versions = json_object();
    struct held held;
    count_opened(own, versions);
    held_look(own->vm, HELD_LOOKS, &held);
    for (size_t i = 0; i < held.count; i++)
        add_to(versions, held.number[i], "functions", held.functions[i]);
    LIST_FOREACH (&own->vm->versions, node) {
        const struct version *version = container_of(node, const struct version, node);
        add_to(versions, version->number, "holds", version->holds);
        add_to(versions, version->number, "waiting", version->waits);
    }
    wait_each(own->vm, add_place, versions);
    part_of(job)->answer = versions;
    return true;
}

static json_t *describe(const struct own *own, struct conn *conn)
{
    static const char *const states[] = {"open", "flushing", "lingering", "closed"};
    struct endpoint at;
    char peer[ADDR_TEXT_MAX];
    conn_peer(conn, &at);
    endpoint_format(&at, peer);
    uint64_t now_ms = reactor_now_ms(own->reactor);
    return json_pack("{s:I,s:o,s:s,s:s,s:i,s:i,s:f,s:f,s:I,s:I,s:I,s:s}", "id",
                     (json_int_t)conn_number(conn), "peer", text_of(peer), "service",
                     conn->service->name, "transport", transport_names[conn->transport],
                     "version", (int)conn->version, "worker", (int)own->worker->index + 1,
                     "age", (double)(now_ms - conn->opened_ms) / 1e3, "idle",
                     (double)(now_ms - conn->active_ms) / 1e3, "received",
                     (json_int_t)conn->received, "sent", (json_int_t)conn->sent, "pending",
                     (json_int_t)conn_pending(conn), "state", states[conn->state]);
}

bool inspect_connections(struct own *own, struct job *job)
{
    struct inspect_part *part = part_of(job);
    const char *service = part->of->text;
    json_t *rows = json_array();
    json_int_t total = 0;
    uint32_t cursor = 0;
    struct conn *conn;
    while ((conn = slots_next(&own->reactor->conns, &cursor))) {
        if (!conn->service || (service && strcmp(conn->service->name, service) != 0))
            continue;
        total++;
        if (json_array_size(rows) < part->of->limit)
            (void)json_array_append_new(rows, describe(own, conn));
    }
    part->answer = json_pack("{s:I,s:o}", "total", total, "rows", rows);
    return true;
}

bool inspect_kick(struct own *own, struct job *job)
{
    struct inspect_part *part = part_of(job);
    uint32_t cursor = 0;
    struct conn *conn;
    while ((conn = slots_next(&own->reactor->conns, &cursor)))
        if (conn_number(conn) == part->of->number && conn->state == CONN_OPEN)
            break;
    if (conn)
        conn_close(conn, REASON_KICKED, NULL);
    part->answer = conn ? json_true() : NULL;
    return true;
}

/* ---- eval ---- */

#define OUTPUT_MAX (4U << 20) /* bytes of results and output together */

struct collected {
    json_t *results, *output;
    size_t len;
};

static void collect(struct collected *collected, json_t *array, const char *text,
                    size_t len)
{
    collected->len += len;
    if (collected->len <= OUTPUT_MAX)
        (void)json_array_append_new(array, control_text(text, len));
}

static void on_result(void *owner, const char *text, size_t len)
{
    struct collected *collected = owner;
    collect(collected, collected->results, text, len);
}

static void on_output(void *owner, const char *text, size_t len)
{
    struct collected *collected = owner;
    collect(collected, collected->output, text, len);
}

bool inspect_eval(struct own *own, struct job *job)
{
    struct inspect_part *part = part_of(job);
    struct collected collected = {.results = json_array(), .output = json_array()};
    struct eval_ops ops = {
        .on_result = on_result, .on_output = on_output, .owner = &collected};
    bool ok =
        eval_run(own->vm, part->of->text, strlen(part->of->text), &ops, &part->of->error);
    if (collected.len > OUTPUT_MAX)
        (void)json_array_append_new(
            collected.output, json_string("... more than 4 MiB: the rest is left out"));
    part->answer =
        json_pack("{s:o,s:o}", "results", collected.results, "output", collected.output);
    if (ok)
        return true;
    json_decref(part->answer);
    part->answer = NULL;
    return true;
}
