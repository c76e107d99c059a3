/* script/services.c - filling services in, and letting go of those without a version. */
#include "script/services.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/list.h"
#include "base/require.h"
#include "net/reactor.h"
#include "script/framing.h"
#include "script/version.h"
#include "script/vm.h"

struct live_service {
    struct service net;
    struct list node; /* in vm->services, unless it stands aside */
    uint32_t sockets; /* of the users */
    bool gone;        /* the serving version does not have it */
    char name[SERVICE_NAME_MAX];
};

static struct live_service *live_of(struct service *service)
{
    return container_of(service, struct live_service, net);
}

static struct script_service *script_of(const struct live_service *live)
{
    return live->net.script;
}

static struct live_service *find(struct vm *vm, const char *name)
{
    LIST_FOREACH (&vm->services, node) {
        struct live_service *live = container_of(node, struct live_service, node);
        if (strcmp(live->name, name) == 0)
            return live;
    }
    return NULL;
}

struct service *services_find(struct vm *vm, const char *name)
{
    struct live_service *live = find(vm, name);
    return live ? &live->net : NULL;
}

int services_init(struct vm *vm)
{
    struct live_service *live = calloc(1, sizeof *live);
    struct script_service *service = calloc(1, sizeof *service);
    struct framing *framing = framing_raw(vm);
    if (!live || !service || !framing) {
        free(live);
        free(service);
        framing_unref(framing);
        return -ENOMEM;
    }
    list_init(&live->node);
    service->vm = vm;
    for (size_t i = 0; i < ON_COUNT; i++)
        service->hooks[i] = LUA_NOREF;
    live->net = (struct service){.name = live->name,
                                 .ops = &hook_ops,
                                 .script = service,
                                 .framing = framing,
                                 .options = conn_options_default,
                                 .pulled = true};
    vm->unserved = &live->net;
    return 0;
}

struct service *services_find_serving(struct vm *vm, const char *name)
{
    struct live_service *live = find(vm, name);
    return live && !live->gone ? &live->net : NULL;
}

/* True: with other options than before. */
static bool fill_in(struct live_service *live, struct script_service *from)
{
    uint32_t users = live->net.users;
    bool changes =
        memcmp(&live->net.options, &from->net.options, sizeof from->net.options) != 0;
    live->net = from->net;
    live->net.name = live->name;
    live->net.users = users;
    live->net.script = from;
    live->net.version = from->version->number;
    live->gone = false;
    return changes && users;
}

int services_prepare(struct version *version)
{
    for (size_t i = 0; i < version->service_count; i++) {
        struct live_service *live = calloc(1, sizeof *live);
        if (!live)
            return -ENOMEM;
        list_init(&live->node);
        memcpy(live->name, version->services[i].name, sizeof live->name);
        version->services[i].aside = &live->net;
    }
    return 0;
}

static void free_aside(struct script_service *service)
{
    if (!service->aside)
        return;
    REQUIRE(service->aside->users == 0);
    free(live_of(service->aside));
    service->aside = NULL;
}

void services_discard(struct version *version)
{
    for (size_t i = 0; i < version->service_count; i++)
        free_aside(&version->services[i]);
}

/* Nothing points at it and no version serves it. */
static void let_go(struct live_service *live)
{
    struct version *version = script_of(live)->version;
    list_remove(&live->node);
    free(live);
    version_unhold(version);
}

/* Gives the connections that point at `from` to `to`. */
static void move_users(struct reactor *reactor, struct service *from, struct service *to)
{
    struct conn *conn;
    uint32_t cursor = 0;
    while (from->users && (conn = slots_next(&reactor->conns, &cursor)))
        if (conn->service == from)
            conn_move(conn, to);
}

/* True: connections have other options than before. */
static bool serve(struct version *version, struct script_service *service)
{
    struct live_service *live = find(version->vm, service->name);
    bool was_gone = live && live->gone;
    struct version *before = was_gone ? script_of(live)->version : NULL;
    if (!live) {
        live = live_of(service->aside);
        service->aside = NULL;
        list_append(&version->vm->services, &live->node);
    }
    bool changes = fill_in(live, service);
    if (service->aside && version->vm->host.reactor) {
        changes |= service->aside->users > 0;
        move_users(version->vm->host.reactor, service->aside, &live->net);
    }
    free_aside(service);
    if (was_gone)
        version_unhold(before);
    return changes;
}

/* Marks and timeouts moved: who waits for them looks again. */
static void tell_all(struct reactor *reactor)
{
    struct conn *conn;
    uint32_t cursor = 0;
    while ((conn = slots_next(&reactor->conns, &cursor)))
        conn_options_changed(conn);
}

size_t services_switch(struct version *version)
{
    struct vm *vm = version->vm;
    size_t left = 0;
    bool changes = false;
    for (size_t i = 0; i < version->service_count; i++)
        changes |= serve(version, &version->services[i]);
    if (changes && vm->host.reactor)
        tell_all(vm->host.reactor);
    LIST_FOREACH (&vm->services, node) {
        struct live_service *live = container_of(node, struct live_service, node);
        if (script_of(live)->version == version || live->gone)
            continue;
        live->gone = true;
        script_of(live)->version->holds++;
        left += live->net.users > live->sockets;
        if (live->net.users == 0)
            let_go(live);
    }
    return left;
}

void services_stand_aside(struct version *candidate)
{
    for (size_t i = 0; i < candidate->service_count; i++)
        (void)fill_in(live_of(candidate->services[i].aside), &candidate->services[i]);
}

/* As a switch does with a service that the new version does not have. */
static void leave_behind(struct script_service *service)
{
    struct live_service *live = live_of(service->aside);
    list_append(&service->version->vm->services, &live->node);
    live->gone = true;
    service->version->holds++;
    service->aside = NULL;
}

void services_return(struct version *candidate)
{
    struct vm *vm = candidate->vm;
    for (size_t i = 0; i < candidate->service_count; i++) {
        struct script_service *service = &candidate->services[i];
        struct live_service *live = find(vm, service->name);
        if (live)
            move_users(vm->host.reactor, service->aside, &live->net);
        else if (service->aside->users)
            leave_behind(service);
    }
    tell_all(vm->host.reactor);
}

void services_hold(struct service *service)
{
    service->users++;
    live_of(service)->sockets++;
}

void services_left(struct service *service)
{
    struct live_service *live = live_of(service);
    if (live->gone && service->users == 0)
        let_go(live);
}

void services_release(struct service *service)
{
    REQUIRE(service->users > 0);
    service->users--;
    live_of(service)->sockets--;
    services_left(service);
}

void services_fini(struct vm *vm)
{
    if (vm->unserved) {
        framing_unref(vm->unserved->framing);
        free(vm->unserved->script);
        free(live_of(vm->unserved));
    }
    LIST_FOREACH (&vm->services, node) {
        list_remove(node);
        free(container_of(node, struct live_service, node));
    }
}
