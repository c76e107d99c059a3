/* script/require.c - modules that belong to a version. */
#include "script/require.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>
#include <lualib.h>

#include "base/macros.h"
#include "script/record.h"
#include "script/source.h"
#include "script/version.h"
#include "script/vm.h"

/* Upvalues of require: the version, its package table, its globals. */
enum { UP_VERSION = 1, UP_PACKAGE, UP_GLOBALS };

static const char c_searcher_key;

static struct version *version_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(UP_VERSION));
}

/* Each of these pushes a loader and what goes with its name, or answers false and pushes
 * nothing. */
static bool push_lua_file(lua_State *L, const char *name)
{
    struct version *version = version_of(L);
    const struct source_file *file = source_find(version->source, name);
    int failed = 0;
    if (!file) {
        lua_getfield(L, lua_upvalueindex(UP_PACKAGE), "path");
        const char *path = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
        failed = source_require(version->source, name, path, &file);
        lua_pop(L, 1);
    }
    if (failed && failed != -ENOENT)
        luaL_error(L, "module '%s' cannot be read: %s", name, strerror(-failed));
    if (!file)
        return false;
    if (luaL_loadbufferx(L, file->bytes, file->len, file->chunk, "t") != LUA_OK)
        luaL_error(L, "module '%s' does not load: %s", name, lua_tostring(L, -1));
    lua_pushvalue(L, lua_upvalueindex(UP_GLOBALS));
    lua_setupvalue(L, -2, 1);
    lua_pushstring(L, file->chunk + 1);
    return true;
}

/* The state's own searcher for C modules, which knows package.cpath. */
static bool push_c_module(lua_State *L, const char *name)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &c_searcher_key);
    lua_pushstring(L, name);
    lua_call(L, 1, 2);
    if (lua_isfunction(L, -2))
        return true;
    lua_pop(L, 2);
    return false;
}

static bool push_preload(lua_State *L, const char *name)
{
    lua_getfield(L, lua_upvalueindex(UP_PACKAGE), "preload");
    if (!lua_istable(L, -1) || lua_getfield(L, -1, name) != LUA_TFUNCTION) {
        lua_settop(L, 2);
        return false;
    }
    lua_remove(L, -2);
    lua_pushliteral(L, ":preload:");
    return true;
}

/* Modules that hold up all connections of a worker: they wait in system calls, or in a loop of
 * their own. */
static const struct {
    const char *name, *what, *instead;
} strangers[] = {
    {"socket", "LuaSocket blocks the worker with all its connections",
     "neap.connect and conn:read"},
    {"ssl", "LuaSec blocks the worker with all its connections",
     "neap.connect and conn:read"},
    {"luasql", "LuaSQL blocks the worker with all its connections",
     "neap.connect to a pooler or a service"},
    {"cURL", "Lua-cURL blocks the worker with all its connections",
     "neap.connect and conn:read"},
    {"luv", "luv needs a loop of its own, which does not run here",
     "neap.connect, neap.sleep, neap.spawn"},
    {"copas", "Copas needs a loop of its own, which does not run here",
     "neap.connect, neap.sleep, neap.spawn"},
    {"cqueues", "cqueues needs a loop of its own, which does not run here",
     "neap.connect, neap.sleep, neap.spawn"},
    {"luaevent", "luaevent needs a loop of its own, which does not run here",
     "neap.connect, neap.sleep, neap.spawn"},
};

/* "socket" and "socket.http". */
static bool is_part_of(const char *name, const char *module)
{
    size_t len = strlen(module);
    return strncmp(name, module, len) == 0 && (name[len] == '\0' || name[len] == '.');
}

/* A file beside the script may have any name: "socket.lua", "socket/init.lua". */
static bool is_own(const struct version *version, const char *name, const char *path)
{
    const char *folder = version->source->folder ? version->source->folder : "";
    size_t len = strlen(folder), rest = strlen(name);
    if (strncmp(path, folder, len) != 0 || strlen(path) < len + rest)
        return false;
    const char *end = path + len + rest;
    return strcmp(end, ".lua") == 0 || strcmp(end, "/init.lua") == 0;
}

/* Once for a version, in one worker. */
static void warn(struct version *version, size_t stranger)
{
    struct vm *vm = version->vm;
    unsigned bit = 1U << stranger;
    char text[160];
    if (vm->host.worker != 1 || (version->strangers & bit))
        return;
    version->strangers |= bit;
    int len = snprintf(text, sizeof text, "%s: use %s", strangers[stranger].what,
                       strangers[stranger].instead);
    struct log_field module = record_string("module", strangers[stranger].name);
    record_write(vm, &(struct record){.level = LOG_WARN,
                                      .message = text,
                                      .message_len = (size_t)len,
                                      .no_conn = true,
                                      .fields = &module,
                                      .field_count = 1});
}

static void look_for_strangers(struct version *version, const char *name, const char *path)
{
    for (size_t i = 0; i < ARRAY_LEN(strangers); i++)
        if (is_part_of(name, strangers[i].name) && !is_own(version, name, path))
            warn(version, i);
}

static int not_found(lua_State *L, const char *name)
{
    const struct version *version = version_of(L);
    if (version->source->sealed && version->state != VERSION_LOADING)
        return luaL_error(
            L,
            "module '%s' was not loaded with the script: require it while the "
            "script loads",
            name);
    const char *folder = version->source->folder ? version->source->folder : "";
    return luaL_error(L,
                      "module '%s' not found: no '%s%s.lua', nothing along package.path or "
                      "package.cpath",
                      name, folder, luaL_gsub(L, name, ".", "/"));
}

static int l_require(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    lua_settop(L, 1);
    lua_getfield(L, lua_upvalueindex(UP_PACKAGE), "loaded"); /* 2 */
    if (lua_getfield(L, 2, name) != LUA_TNIL)
        return 1;
    lua_settop(L, 2);
    if (!push_preload(L, name) && !push_lua_file(L, name) && !push_c_module(L, name))
        return not_found(L, name);
    look_for_strangers(version_of(L), name, luaL_optstring(L, 4, ""));
    lua_pushvalue(L, 3); /* the loader, called with the name and what the searcher said */
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 4);
    lua_call(L, 2, 1);
    if (lua_isnil(L, -1) && lua_getfield(L, 2, name) == LUA_TNIL)
        lua_pushboolean(L, 1); /* a module that returns nothing */
    lua_pushvalue(L, -1);
    lua_setfield(L, 2, name);
    lua_pushvalue(L, 4);
    return 2;
}

/* Lua's own package table, from the state's libraries: its third searcher is for C modules. */
static void copy_package(lua_State *L)
{
    static const char *const fields[] = {"path", "cpath", "config"};
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_getfield(L, -1, LUA_LOADLIBNAME);
    lua_remove(L, -2);
    lua_getfield(L, -1, "searchers");
    lua_rawgeti(L, -1, 3);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &c_searcher_key);
    lua_pop(L, 1);
    lua_newtable(L);
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        lua_getfield(L, -2, fields[i]);
        lua_setfield(L, -2, fields[i]);
    }
    lua_newtable(L);
    lua_setfield(L, -2, "loaded");
    lua_newtable(L);
    lua_setfield(L, -2, "preload");
    lua_remove(L, -2);
}

void require_open(lua_State *L, struct version *version, int globals)
{
    copy_package(L);
    version_push(L, version);
    lua_pushvalue(L, -2);
    lua_pushvalue(L, globals);
    lua_pushcclosure(L, l_require, 3);
    lua_setfield(L, globals, "require");
    lua_setfield(L, globals, LUA_LOADLIBNAME);
    lua_pushvalue(L, globals);
    require_provide(L, globals, LUA_GNAME);
    lua_pop(L, 1);
}

void require_provide(lua_State *L, int globals, const char *name)
{
    lua_getfield(L, globals, LUA_LOADLIBNAME);
    lua_getfield(L, -1, "loaded");
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, name);
    lua_pop(L, 2);
}
