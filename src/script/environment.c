/* script/environment.c - copying libraries, and leaving out what would hurt. */
#include "script/environment.h"

#include <string.h>

#include <lauxlib.h>
#include <lualib.h>

#include "base/macros.h"
#include "script/call.h"
#include "script/coroutine.h"
#include "script/lib_conn.h"
#include "script/lib_neap.h"
#include "script/record.h"
#include "script/require.h"
#include "script/run.h"
#include "script/source.h"
#include "script/version.h"
#include "script/vm.h"

/* The state's own libraries, by name, in the registry. */
static const char libraries_key;

static const luaL_Reg libraries[] = {
    {LUA_GNAME, luaopen_base},       {LUA_COLIBNAME, luaopen_coroutine},
    {LUA_TABLIBNAME, luaopen_table}, {LUA_IOLIBNAME, luaopen_io},
    {LUA_OSLIBNAME, luaopen_os},     {LUA_STRLIBNAME, luaopen_string},
    {LUA_MATHLIBNAME, luaopen_math}, {LUA_UTF8LIBNAME, luaopen_utf8},
    {LUA_DBLIBNAME, luaopen_debug},  {LUA_LOADLIBNAME, luaopen_package},
};

struct refusal {
    const char *table, *function, *why;
};

static const struct refusal refusals[] = {
    {"os", "exit", "it would end the server for everybody; neap.stop() ends it in order"},
    {"os", "execute", "it would stop this worker until the command ends"},
    {"io", "popen", "it would stop this worker until the command ends"},
    {"os", "setlocale", "a locale holds for all threads of the server"},
    {"string", "dump", "precompiled Lua is not loaded, since a broken one crashes"},
    {"_G", "dofile", "a version is made of the files it requires; use require"},
    {"_G", "loadfile", "a version is made of the files it requires; use require"},
};

static int l_refused(lua_State *L)
{
    const struct refusal *refusal = lua_touserdata(L, lua_upvalueindex(1));
    bool global = strcmp(refusal->table, "_G") == 0;
    return luaL_error(L, "%s%s%s is not given to scripts: %s", global ? "" : refusal->table,
                      global ? "" : ".", refusal->function, refusal->why);
}

/* ---- Functions in place of Lua's ---- */

/* load(chunk, name, mode, env): text only, and the version's globals unless it says otherwise.
 * Upvalues: Lua's load, the globals. */
static int l_load(lua_State *L)
{
    bool has_env = lua_gettop(L) >= 4;
    const char *mode = luaL_optstring(L, 3, "t");
    if (!strchr(mode, 't'))
        return luaL_error(L, "precompiled Lua is not loaded, since a broken one crashes");
    lua_settop(L, 4);
    lua_pushliteral(L, "t");
    lua_replace(L, 3);
    if (!has_env) {
        lua_pushvalue(L, lua_upvalueindex(2));
        lua_replace(L, 4);
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 4, LUA_MULTRET);
    return lua_gettop(L);
}

static bool has_metafield(lua_State *L, int index, const char *name)
{
    lua_pushstring(L, name);
    bool has = lua_rawget(L, index) != LUA_TNIL;
    lua_pop(L, 1);
    return has;
}

/* Upvalue: Lua's setmetatable. */
static int l_setmetatable(lua_State *L)
{
    if (lua_type(L, 2) == LUA_TTABLE) {
        if (has_metafield(L, 2, "__gc"))
            return luaL_error(
                L, "a metatable with __gc is refused: a finalizer that loops could "
                   "not be stopped; use a <close> variable or on_disconnect");
        if (vm_lua_is_old() && has_metafield(L, 2, "__concat"))
            return luaL_error(L,
                              "a metatable with __concat is refused on %s, which can crash "
                              "in it (fixed in Lua 5.4.8)",
                              vm_lua_release());
    }
    int count = lua_gettop(L);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, count, 1);
    return 1;
}

/* Upvalue: Lua's collectgarbage. */
static int l_collectgarbage(lua_State *L)
{
    static const char *const allowed[] = {"count", "step", NULL};
    const char *what = luaL_optstring(L, 1, "collect");
    bool ok = false;
    for (size_t i = 0; allowed[i]; i++)
        ok |= strcmp(allowed[i], what) == 0;
    if (!ok)
        return luaL_error(
            L,
            "collectgarbage('%s') is not given to scripts: a whole collection "
            "holds up every connection; 'count' and 'step' are",
            what);
    int count = lua_gettop(L);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, count, LUA_MULTRET);
    return lua_gettop(L);
}

/* Hooks run in a coroutine of neap's, which a script must not hand values out of. */
static int l_yield(lua_State *L)
{
    struct vm *vm = vm_of(L);
    if (vm->call && vm->call->run->L == L)
        return luaL_error(L, "attempt to yield from outside a coroutine");
    return lua_yield(L, lua_gettop(L));
}

static int l_isyieldable(lua_State *L)
{
    const struct vm *vm = vm_of(L);
    lua_State *co = lua_isnone(L, 1) ? L : lua_tothread(L, 1);
    luaL_argexpected(L, co, 1, "coroutine");
    bool is_hook = vm->call && vm->call->run->L == co;
    lua_pushboolean(L, !is_hook && lua_isyieldable(co));
    return 1;
}

/* ---- Putting it together ---- */

/* In the table at the top. */
static void refuse(lua_State *L, const char *library)
{
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        if (strcmp(refusals[i].table, library) != 0)
            continue;
        lua_pushlightuserdata(L, (void *)&refusals[i]);
        lua_pushcclosure(L, l_refused, 1);
        lua_setfield(L, -2, refusals[i].function);
    }
}

void environment_open_state(lua_State *L)
{
    lua_newtable(L);
    for (size_t i = 0; i < ARRAY_LEN(libraries); i++) {
        luaL_requiref(L, libraries[i].name, libraries[i].func, 0);
        lua_setfield(L, -2, libraries[i].name);
    }
    lua_rawsetp(L, LUA_REGISTRYINDEX, &libraries_key);
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1);
    lua_pushliteral(L, "the methods of strings cannot be changed");
    lua_setfield(L, -2, "__metatable");
    lua_getfield(L, -1, "__index");
    refuse(L, LUA_STRLIBNAME); /* as a method too: ("").dump */
    lua_pop(L, 1);
    lua_pop(L, 2);
    lib_conn_open(L);
    lib_neap_open_state(L);
}

/* Pushes a copy of the table at the top of a library. */
static void push_copy(lua_State *L, const char *library)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &libraries_key);
    lua_getfield(L, -1, library);
    lua_remove(L, -2);
    lua_newtable(L);
    for (lua_pushnil(L); lua_next(L, -3);) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4);
    }
    lua_remove(L, -2);
}

/* In the table at the top: the function there becomes the upvalue of the one in its place. */
static void wrap(lua_State *L, const char *name, lua_CFunction function)
{
    lua_getfield(L, -1, name);
    lua_pushcclosure(L, function, 1);
    lua_setfield(L, -2, name);
}

static void push_globals(lua_State *L)
{
    push_copy(L, LUA_GNAME);
    refuse(L, LUA_GNAME);
    wrap(L, "setmetatable", l_setmetatable);
    wrap(L, "collectgarbage", l_collectgarbage);
    lua_pushcfunction(L, l_print);
    lua_setfield(L, -2, "print");
    lua_getfield(L, -1, "load");
    lua_pushvalue(L, -2);
    lua_pushcclosure(L, l_load, 2);
    lua_setfield(L, -2, "load");
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "_G");
}

static void push_debug(lua_State *L)
{
    static const char *const given[] = {"traceback", "getinfo"};
    push_copy(L, LUA_DBLIBNAME);
    lua_newtable(L);
    for (size_t i = 0; i < ARRAY_LEN(given); i++) {
        lua_getfield(L, -2, given[i]);
        lua_setfield(L, -2, given[i]);
    }
    lua_remove(L, -2);
}

static void push_library(lua_State *L, int globals, const char *name)
{
    if (strcmp(name, LUA_DBLIBNAME) == 0) {
        push_debug(L);
        return;
    }
    push_copy(L, name);
    refuse(L, name);
    if (strcmp(name, LUA_COLIBNAME) != 0)
        return;
    lua_pushcfunction(L, l_yield);
    lua_setfield(L, -2, "yield");
    lua_pushcfunction(L, l_isyieldable);
    lua_setfield(L, -2, "isyieldable");
    coroutine_wrap(L, globals);
}

void environment_push(lua_State *L, struct version *version)
{
    push_globals(L);
    int globals = lua_gettop(L);
    require_open(L, version, globals);
    for (size_t i = 0; i < ARRAY_LEN(libraries); i++) {
        const char *name = libraries[i].name;
        if (strcmp(name, LUA_GNAME) == 0 || strcmp(name, LUA_LOADLIBNAME) == 0)
            continue;
        push_library(L, globals, name);
        require_provide(L, globals, name);
        lua_setfield(L, globals, name);
    }
    lib_neap_push(L, version);
    require_provide(L, globals, "neap");
    lua_settop(L, globals);
}

static int l_sealed(lua_State *L)
{
    const char *name = luaL_tolstring(L, 2, NULL);
    return luaL_error(L,
                      "global '%s' written outside the load: use a local, conn.data, or a "
                      "table made while the script loads",
                      name);
}

static bool is_standard(lua_State *L, int libraries_at, const char *name)
{
    bool is = strcmp(name, "require") == 0 || strcmp(name, LUA_GNAME) == 0;
    is |= lua_getfield(L, libraries_at, name) != LUA_TNIL;
    lua_getfield(L, libraries_at, LUA_GNAME);
    is |= lua_getfield(L, -1, name) != LUA_TNIL;
    lua_pop(L, 3);
    return is;
}

/* What the script made moves to a table behind the globals: read from there as before, but now
 * writing finds no such global, and so __newindex. Standard names stay, since they are on the
 * path of every message. */
static void move_own_globals(lua_State *L, int globals, int behind)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &libraries_key);
    int libraries_at = lua_gettop(L);
    for (lua_pushnil(L); lua_next(L, globals);) {
        bool standard = lua_type(L, -2) == LUA_TSTRING &&
                        is_standard(L, libraries_at, lua_tostring(L, -2));
        if (standard) {
            lua_pop(L, 1);
            continue;
        }
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, behind);
        lua_pushvalue(L, -1);
        lua_pushnil(L); /* clearing a field while walking is allowed */
        lua_rawset(L, globals);
    }
    lua_pop(L, 1);
}

/* In the metatable of sealed globals: their version's number. */
static const char number_key;

unsigned environment_version(lua_State *L)
{
    if (!lua_istable(L, -1) || !lua_getmetatable(L, -1))
        return 0;
    lua_rawgetp(L, -1, &number_key);
    unsigned number = (unsigned)lua_tointeger(L, -1);
    lua_pop(L, 2);
    return number;
}

void environment_push_own(lua_State *L)
{
    if (!lua_getmetatable(L, -1))
        lua_newtable(L);
    lua_getfield(L, -1, "__index");
    lua_remove(L, -2);
}

void environment_seal(lua_State *L, const struct version *version)
{
    int globals = lua_gettop(L);
    lua_newtable(L);
    move_own_globals(L, globals, globals + 1);
    lua_createtable(L, 0, 4);
    lua_pushinteger(L, (lua_Integer)version->number);
    lua_rawsetp(L, -2, &number_key);
    lua_insert(L, -2);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_sealed);
    lua_setfield(L, -2, "__newindex");
    lua_pushliteral(L, "the globals are sealed");
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
}
