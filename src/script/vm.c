/* script/vm.c - making a state, and taking coroutines from a pool. */
#include "script/vm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lualib.h>

#include "base/log.h"
#include "base/require.h"
#include "script/bytes.h"
#include "script/environment.h"
#include "script/gc.h"
#include "script/run.h"
#include "script/services.h"

/* The first release without the crash bugs of concatenation and of emergency collection that
 * legal scripts can reach. */
#define SAFE_RELEASE 8

static void *allocate(void *owner, void *ptr, size_t old_len, size_t new_len)
{
    return alloc_realloc(owner, ptr, old_len, new_len);
}

/* Only an error outside every protected call comes here, which is a bug of neap's: Lua would
 * abort anyway, and a message helps to find it. */
static int on_panic(lua_State *L)
{
    const char *message = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "?";
    fprintf(stderr, "neap: unprotected error in Lua: %s\n", message);
    REQUIRE(!"unprotected error in Lua");
    return 0;
}

static void on_warning(void *owner, const char *message, int to_be_continued)
{
    (void)to_be_continued;
    struct vm *vm = owner;
    if (vm->host.log && message[0] != '@') /* '@': control messages of warn() */
        log_printf(vm->host.log, LOG_WARN, "Lua: %s", message);
}

static int open_state(lua_State *L)
{
    gc_open(L);
    environment_open_state(L);
    return 0;
}

struct vm *vm_new(const struct vm_host *host, size_t memory_limit)
{
    struct vm *vm = calloc(1, sizeof *vm);
    if (!vm)
        return NULL;
    vm->host = *host;
    list_init(&vm->services);
    list_init(&vm->versions);
    list_init(&vm->waits);
    alloc_init(&vm->alloc, memory_limit);
    vm->L = lua_newstate(allocate, &vm->alloc);
    if (!vm->L) {
        vm_free(vm);
        return NULL;
    }
    *(struct vm **)lua_getextraspace(vm->L) = vm;
    lua_atpanic(vm->L, on_panic);
    lua_setwarnf(vm->L, on_warning, vm);
    if (vm_protect(vm, open_state, NULL) != LUA_OK || services_init(vm)) {
        vm_free(vm);
        return NULL;
    }
    if (host->reactor)
        bytes_open(vm);
    return vm;
}

void vm_free(struct vm *vm)
{
    if (!vm)
        return;
    services_fini(vm);
    if (vm->L)
        lua_close(vm->L);
    run_free_all(vm);
    alloc_fini(&vm->alloc);
    free(vm);
}

int vm_protect(struct vm *vm, lua_CFunction function, void *argument)
{
    lua_pushcfunction(vm->L, function);
    lua_pushlightuserdata(vm->L, argument);
    int status = lua_pcall(vm->L, 1, 0, 0);
    if (status != LUA_OK)
        lua_pop(vm->L, 1);
    return status;
}

/* lua_ident is "$LuaVersion: Lua 5.4.4  Copyright ...": of the library that runs, not of the
 * header that was compiled with. */
const char *vm_lua_release(void)
{
    static _Thread_local char release[16];
    const char *at = strstr(lua_ident, "Lua 5");
    size_t len = at ? strcspn(at + 4, " ") + 4 : 0;
    if (len == 0 || len >= sizeof release)
        return LUA_RELEASE;
    memcpy(release, at, len);
    release[len] = '\0';
    return release;
}

bool vm_lua_is_old(void)
{
    const char *release = vm_lua_release();
    return strncmp(release, "Lua 5.4.", 8) == 0 &&
           strtol(release + 8, NULL, 10) < SAFE_RELEASE;
}
