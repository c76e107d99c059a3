/* script/lib_neap.c - clocks, the list of connections, the end, and who we are. */
#include "script/lib_neap.h"

#include <string.h>

#include <lauxlib.h>

#include "io/io.h"
#include "neap/version.h"
#include "net/reactor.h"
#include "script/keep.h"
#include "script/lib_conn.h"
#include "script/lib_connect.h"
#include "script/lib_task.h"
#include "script/lib_timer.h"
#include "script/record.h"
#include "script/source.h"
#include "script/version.h"
#include "script/vm.h"
#include "script/wait.h"

static int l_now(lua_State *L)
{
    struct io *io = vm_of(L)->host.io;
    lua_pushnumber(L, (lua_Number)io->ops->monotonic_ns(io) / 1e9);
    return 1;
}

static int l_time(lua_State *L)
{
    struct io *io = vm_of(L)->host.io;
    lua_pushnumber(L, io->ops->wall_s(io));
    return 1;
}

static int l_stop(lua_State *L)
{
    struct vm *vm = vm_of(L);
    const struct version *version = lua_touserdata(L, lua_upvalueindex(1));
    const char *detail = luaL_optstring(L, 1, "");
    if (version->state == VERSION_LOADING)
        return luaL_error(L, "neap.stop while the script loads: use on_start");
    vm->host.stop(vm->host.owner, detail);
    return 0;
}

/* Upvalues: the service's name or nil, the cursor. */
static int l_next_connection(lua_State *L)
{
    struct reactor *reactor = vm_of(L)->host.reactor;
    const char *service = lua_tostring(L, lua_upvalueindex(1));
    uint32_t cursor = (uint32_t)lua_tointeger(L, lua_upvalueindex(2));
    struct conn *conn;
    while ((conn = slots_next(&reactor->conns, &cursor)))
        if (conn->connected && conn->state == CONN_OPEN && !conn->service->pulled &&
            (!service || strcmp(conn->service->name, service) == 0))
            break;
    lua_pushinteger(L, cursor);
    lua_replace(L, lua_upvalueindex(2));
    lib_conn_push(L, conn);
    return 1;
}

static int l_connections(lua_State *L)
{
    const struct version *version = lua_touserdata(L, lua_upvalueindex(1));
    if (!lua_isnoneornil(L, 1))
        luaL_checkstring(L, 1);
    if (version->state == VERSION_LOADING)
        return luaL_error(L,
                          "there are no connections while the script loads: use on_start");
    lua_settop(L, 1);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, l_next_connection, 2);
    return 1;
}

static const luaL_Reg functions[] = {
    {"now", l_now},         {"time", l_time},
    {"stop", l_stop},       {"connections", l_connections},
    {"after", l_after},     {"every", l_every},
    {"keep", l_keep},       {"sleep", l_sleep},
    {"spawn", l_spawn},     {"connect", l_connect},
    {"resolve", l_resolve}, {NULL, NULL},
};

void lib_neap_open_state(lua_State *L)
{
    lib_timer_open(L);
    lib_task_open(L);
}

static void push_script(lua_State *L, const struct version *version)
{
    lua_createtable(L, 0, 3);
    lua_pushstring(L, version->source->hash); /* "" in the scratch state: not all is read */
    lua_setfield(L, -2, "hash");
    lua_pushstring(L, source_path(version->source));
    lua_setfield(L, -2, "path");
    lua_pushinteger(L, version->number);
    lua_setfield(L, -2, "version");
}

void lib_neap_push(lua_State *L, struct version *version)
{
    const struct vm *vm = version->vm;
    luaL_newlibtable(L, functions);
    version_push(L, version);
    luaL_setfuncs(L, functions, 1);
    record_open(L);
    lua_setfield(L, -2, "log");
    push_script(L, version);
    lua_setfield(L, -2, "script");
    lua_pushinteger(L, vm->host.worker);
    lua_setfield(L, -2, "worker");
    lua_pushinteger(L, vm->host.workers);
    lua_setfield(L, -2, "workers");
    lua_pushliteral(L, NEAP_VERSION);
    lua_setfield(L, -2, "version");
}
