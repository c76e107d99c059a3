/* script/version.c - loading a version, and letting go of it. */
#include "script/version.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "io/io.h"
#include "script/app.h"
#include "script/call.h"
#include "script/environment.h"
#include "script/fault.h"
#include "script/keep.h"
#include "script/lib_task.h"
#include "script/lib_timer.h"
#include "script/services.h"
#include "script/source.h"
#include "script/vm.h"
#include "script/wait.h"

/* How many instructions pass between two looks at the clock while a script loads. */
#define LOAD_HOOK_COUNT 10000

/* What a version may take beside one that serves. */
#define LOAD_MEMORY (64U << 20)

static uint64_t now_ms(const struct vm *vm)
{
    return vm->host.io->ops->monotonic_ns(vm->host.io) / 1000000U;
}

/* A script that loads for ever: here a plain count hook will do, no connection waits for it. */
static void on_load_count(lua_State *L, lua_Debug *at)
{
    (void)at;
    const struct vm *vm = vm_of(L);
    const struct version *version = vm->call ? vm->call->version : NULL;
    if (!version || version->state != VERSION_LOADING)
        lua_sethook(L, NULL, 0, 0); /* a coroutine made while loading inherited it */
    else if (now_ms(vm) > version->load_deadline_ms) {
        lua_sethook(L, on_load_count, LUA_MASKCOUNT | LUA_MASKCALL, 1); /* pcall or not */
        luaL_error(L, "the script takes longer to load than load_timeout");
    }
}

/* "#!/usr/bin/env neap" stays a line, so that the others keep their numbers. */
static size_t shebang_len(const struct source_file *file)
{
    if (file->len < 2 || memcmp(file->bytes, "#!", 2) != 0)
        return 0;
    const char *newline = memchr(file->bytes, '\n', file->len);
    return newline ? (size_t)(newline - file->bytes) : file->len;
}

static int push_chunk(lua_State *L, struct call *call)
{
    struct version *version = call->result;
    const struct source_file *file = &version->source->files[0];
    lua_sethook(L, on_load_count, LUA_MASKCOUNT, LOAD_HOOK_COUNT);
    environment_push(L, version);
    lua_pushvalue(L, -1);
    version->environment = luaL_ref(L, LUA_REGISTRYINDEX);
    size_t skip = shebang_len(file);
    if (file->len > skip && file->bytes[skip] == LUA_SIGNATURE[0])
        luaL_error(L, "%s:1: precompiled Lua is not loaded, since a broken one crashes",
                   file->chunk + 1);
    if (luaL_loadbufferx(L, file->bytes + skip, file->len - skip, file->chunk, "t") !=
        LUA_OK)
        lua_error(L);
    lua_insert(L, -2);
    lua_setupvalue(L, -2, 1);
    return 0;
}

static const char *take_app(lua_State *L, struct call *call)
{
    struct version *version = call->result;
    if (lua_gettop(L) < CALL_RESULT)
        lua_pushnil(L);
    lua_settop(L, CALL_RESULT);
    app_read(L, CALL_RESULT, version);
    lua_rawgeti(L, LUA_REGISTRYINDEX, version->environment);
    environment_seal(L, version);
    return NULL;
}

/* ---- Memory ---- */

static const char metatable[] = "neap.version";

static void free_services(struct version *version)
{
    for (size_t i = 0; i < version->service_count; i++) {
        free(version->services[i].listen);
        free(version->services[i].sockopts);
    }
    free(version->services);
    version->services = NULL;
    version->service_count = 0;
}

/* __gc: none of its functions is left, so nobody can ask for it. */
static int l_version_gc(lua_State *L)
{
    struct version *version = lua_touserdata(L, 1);
    list_remove(&version->node); /* the state is closed, and it was not let go of */
    free_services(version);
    source_unref(version->source);
    return 0;
}

struct making {
    struct version *version;
    struct source *source;
    unsigned number;
};

static int make(lua_State *L)
{
    struct making *making = lua_touserdata(L, 1);
    struct version *version = lua_newuserdatauv(L, sizeof *version, 0);
    *version = (struct version){.vm = vm_of(L),
                                .number = making->number,
                                .self = LUA_NOREF,
                                .environment = LUA_NOREF,
                                .kept = LUA_NOREF};
    for (size_t i = 0; i < ON_COUNT; i++)
        version->hooks[i] = LUA_NOREF;
    options_init_app(&version->settings);
    list_init(&version->timers);
    children_init(&version->children);
    list_init(&version->node);
    if (luaL_newmetatable(L, metatable)) {
        lua_pushcfunction(L, l_version_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    version->source = making->source; /* not before the collector would let go of it */
    source_ref(version->source);
    version->self = luaL_ref(L, LUA_REGISTRYINDEX);
    list_append(&version->vm->versions, &version->node);
    making->version = version;
    return 0;
}

static struct version *new_version(struct vm *vm, struct source *source, unsigned number)
{
    struct making making = {.source = source, .number = number};
    return vm_protect(vm, make, &making) == LUA_OK ? making.version : NULL;
}

/* ---- Loading ---- */

/* The report of a chunk that raised is whole; an error of ours is a bare sentence. */
static char *as_report(const struct source *source, char *error)
{
    if (!error || strncmp(error, "error: ", 7) == 0)
        return error;
    char *report = fault_text(source, error);
    free(error);
    return report;
}

struct version *version_load(struct vm *vm, struct source *source, unsigned number,
                             uint64_t load_timeout_ms, char **error)
{
    *error = NULL;
    struct version *version = new_version(vm, source, number);
    if (!version)
        return NULL;
    version->load_deadline_ms = now_ms(vm) + load_timeout_ms;
    size_t limit = vm->alloc.limit;
    if (vm->version && limit > vm->alloc.used + LOAD_MEMORY)
        vm->alloc.limit = vm->alloc.used + LOAD_MEMORY;
    struct call call = {.vm = vm,
                        .version = version,
                        .what = "the script",
                        .push = push_chunk,
                        .take = take_app,
                        .result = version,
                        .quiet = true};
    bool ok = call_run(&call) == CALL_OK;
    vm->alloc.limit = limit;
    version->state = VERSION_STARTING;
    if (ok && services_prepare(version) == 0)
        return version;
    version_free(version);
    *error = ok ? NULL : as_report(source, call.error);
    return NULL;
}

static void start_all(struct version *version)
{
    lib_timer_start_all(version);
    lib_task_start_all(version);
}

size_t version_switch(struct version *version)
{
    bool was_exposed = version->exposed;
    version->exposed = false;
    version->state = VERSION_SERVING;
    size_t left = services_switch(version);
    version->vm->version = version;
    keep_commit(version);
    if (!was_exposed)
        start_all(version);
    wait_wake_version(version);
    wait_renew_all(version->vm);
    return left;
}

void version_expose(struct version *candidate)
{
    candidate->state = VERSION_SERVING;
    candidate->exposed = true;
    candidate->calls = candidate->errors = 0;
    services_stand_aside(candidate);
    start_all(candidate);
    wait_wake_version(candidate);
}

void version_withdraw(struct version *candidate)
{
    candidate->exposed = false;
    services_return(candidate);
    wait_renew_all(candidate->vm);
    hook_stop(candidate, "reload");
    (void)version_retire(candidate);
}

struct service *version_aside(struct version *candidate, const char *name)
{
    struct script_service *service = version_service(candidate, name);
    return service ? service->aside : NULL;
}

/* ---- The end ---- */

static void unref(lua_State *L, int *ref)
{
    luaL_unref(L, LUA_REGISTRYINDEX, *ref);
    *ref = LUA_NOREF;
}

static void unref_hooks(lua_State *L, int hooks[ON_COUNT])
{
    for (size_t i = 0; i < ON_COUNT; i++)
        unref(L, &hooks[i]);
}

/* From here on it belongs to the collector. */
static void let_go(struct version *version)
{
    lua_State *L = version->vm->L;
    children_close_conns(&version->children); /* what its on_stop has opened */
    services_discard(version);
    for (size_t i = 0; i < version->service_count; i++) {
        unref_hooks(L, version->services[i].hooks);
        framing_unref(version->services[i].net.framing);
        version->services[i].net.framing = NULL;
    }
    unref_hooks(L, version->hooks);
    unref(L, &version->environment);
    unref(L, &version->kept);
    list_remove(&version->node);
    unref(L, &version->self);
}

static void let_go_if_free(struct version *version)
{
    if (version->state == VERSION_RETIRED && !version->holds && !version->waits)
        let_go(version);
}

/* Returns how many timers there were. */
static size_t stop_all(struct version *version)
{
    lib_task_stop_all(version);
    wait_end_all(version);
    children_close_conns(&version->children);
    return lib_timer_stop_all(version);
}

size_t version_retire(struct version *version)
{
    size_t ended = stop_all(version);
    version->state = VERSION_RETIRED;
    let_go_if_free(version);
    return ended;
}

void version_free(struct version *version)
{
    if (!version)
        return;
    if (version->vm->version == version)
        version->vm->version = NULL;
    (void)stop_all(version);
    version->state = VERSION_RETIRED;
    let_go(version);
}

void version_unhold(struct version *version)
{
    version->holds--;
    let_go_if_free(version);
}

void version_unwait(struct version *version)
{
    version->waits--;
    let_go_if_free(version);
}

void version_push(lua_State *L, const struct version *version)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, version->self);
}

struct script_service *version_service(struct version *version, const char *name)
{
    for (size_t i = 0; i < version->service_count; i++)
        if (strcmp(version->services[i].name, name) == 0)
            return &version->services[i];
    return NULL;
}

struct naming {
    struct version *version;
    char *text;
    size_t size;
};

static int name_globals(lua_State *L)
{
    struct naming *naming = lua_touserdata(L, 1);
    size_t len = 0;
    lua_rawgeti(L, LUA_REGISTRYINDEX, naming->version->environment);
    environment_push_own(L);
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING || len >= naming->size)
            continue;
        int more = snprintf(naming->text + len, naming->size - len, "%s%s", len ? ", " : "",
                            lua_tostring(L, -2));
        len += more > 0 ? (size_t)more : 0;
    }
    return 0;
}

void version_globals(struct version *version, char *text, size_t size)
{
    struct naming naming = {version, text, size};
    text[0] = '\0';
    (void)vm_protect(version->vm, name_globals, &naming);
}

size_t version_lost_hooks(const struct version *before, struct version *after)
{
    size_t bits = 0;
    for (size_t i = 0; i < before->service_count; i++) {
        const struct script_service *old = &before->services[i];
        const struct script_service *new = version_service(after, old->name);
        for (size_t hook = 0; new &&hook < ON_COUNT; hook++)
            if (old->hooks[hook] != LUA_NOREF && new->hooks[hook] == LUA_NOREF)
                bits |= (size_t)1 << hook;
    }
    return bits;
}

int version_on_error(const struct version *version, const struct script_service *service)
{
    if (service && service->hooks[ON_ERROR] != LUA_NOREF)
        return service->hooks[ON_ERROR];
    return version ? version->hooks[ON_ERROR] : LUA_NOREF;
}
