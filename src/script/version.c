/* script/version.c - loading a version, and letting go of it. */
#include "script/version.h"

#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "io/io.h"
#include "script/app.h"
#include "script/call.h"
#include "script/environment.h"
#include "script/fault.h"
#include "script/lib_timer.h"
#include "script/source.h"
#include "script/vm.h"

/* How many instructions pass between two looks at the clock while a script loads. */
#define LOAD_HOOK_COUNT 10000

static uint64_t now_ms(const struct vm *vm)
{
    return vm->host.io->ops->monotonic_ns(vm->host.io) / 1000000U;
}

/* A script that loads for ever: here a plain count hook will do, no connection waits for it. */
static void on_load_count(lua_State *L, lua_Debug *at)
{
    (void)at;
    struct vm *vm = vm_of(L);
    if (!vm->version || !vm->version->loading)
        lua_sethook(L, NULL, 0, 0); /* a coroutine made while loading inherited it */
    else if (now_ms(vm) > vm->version->load_deadline_ms) {
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
    environment_seal(L);
    return NULL;
}

static struct version *new_version(struct vm *vm, struct source *source, int number)
{
    struct version *version = calloc(1, sizeof *version);
    if (!version)
        return NULL;
    version->vm = vm;
    version->source = source;
    version->number = number;
    version->environment = LUA_NOREF;
    for (size_t i = 0; i < ON_COUNT; i++)
        version->hooks[i] = LUA_NOREF;
    options_init_app(&version->settings);
    list_init(&version->timers);
    return version;
}

/* The report of a chunk that raised is whole; an error of ours is a bare sentence. */
static char *as_report(const struct source *source, char *error)
{
    if (!error || strncmp(error, "error: ", 7) == 0)
        return error;
    char *report = fault_text(source, error);
    free(error);
    return report;
}

struct version *version_load(struct vm *vm, struct source *source, int number,
                             uint64_t load_timeout_ms, char **error)
{
    *error = NULL;
    struct version *version = new_version(vm, source, number);
    if (!version)
        return NULL;
    struct version *before = vm->version;
    vm->version = version;
    version->loading = true;
    version->load_deadline_ms = now_ms(vm) + load_timeout_ms;
    struct call call = {.vm = vm,
                        .what = "the script",
                        .push = push_chunk,
                        .take = take_app,
                        .result = version,
                        .quiet = true};
    bool ok = call_run(&call);
    if (ok && call.thread)
        lua_sethook(call.thread, NULL, 0, 0);
    version->loading = false;
    if (ok)
        return version;
    vm->version = before;
    version_free(version);
    *error = as_report(source, call.error);
    return NULL;
}

static void unref_hooks(lua_State *L, int hooks[ON_COUNT])
{
    for (size_t i = 0; i < ON_COUNT; i++)
        luaL_unref(L, LUA_REGISTRYINDEX, hooks[i]);
}

void version_free(struct version *version)
{
    if (!version)
        return;
    lua_State *L = version->vm->L;
    lib_timer_stop_all(version);
    for (size_t i = 0; i < version->service_count; i++) {
        struct script_service *service = &version->services[i];
        unref_hooks(L, service->hooks);
        framing_unref(service->net.framing);
        free(service->listen);
        free(service->sockopts);
    }
    unref_hooks(L, version->hooks);
    luaL_unref(L, LUA_REGISTRYINDEX, version->environment);
    free(version->services);
    if (version->vm->version == version)
        version->vm->version = NULL;
    free(version);
}

struct script_service *version_service(struct version *version, const char *name)
{
    for (size_t i = 0; i < version->service_count; i++)
        if (strcmp(version->services[i].name, name) == 0)
            return &version->services[i];
    return NULL;
}

int version_on_error(const struct version *version, const struct script_service *service)
{
    if (service && service->hooks[ON_ERROR] != LUA_NOREF)
        return service->hooks[ON_ERROR];
    return version ? version->hooks[ON_ERROR] : LUA_NOREF;
}
