/* script/keep.c - two tables by name: what is kept, and what will be with the version. */
#include "script/keep.h"

#include <lauxlib.h>

#include "script/version.h"
#include "script/vm.h"

#define NAME_MAX_LEN 255

/* In the registry: name -> table. */
static const char kept_key;

/* Pushes the table of those that are kept for good. */
static void push_kept(lua_State *L)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &kept_key) == LUA_TTABLE)
        return;
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &kept_key);
}

/* Pushes the table of those that wait for the version to take over. */
static void push_waiting(lua_State *L, struct version *version)
{
    if (version->kept == LUA_NOREF) {
        lua_newtable(L);
        version->kept = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, version->kept);
}

int l_keep(lua_State *L)
{
    struct version *version = lua_touserdata(L, lua_upvalueindex(1));
    size_t len;
    luaL_checklstring(L, 1, &len);
    luaL_argcheck(L, len <= NAME_MAX_LEN, 1, "a name of at most 255 bytes expected");
    lua_settop(L, 2);
    if (lua_isnil(L, 2)) {
        lua_newtable(L);
        lua_replace(L, 2);
    }
    luaL_checktype(L, 2, LUA_TTABLE);
    push_kept(L); /* 3 */
    lua_pushvalue(L, 1);
    if (lua_rawget(L, 3) != LUA_TNIL)
        return 1;
    bool may_fail = version != version->vm->version && version->state != VERSION_RETIRED;
    if (!may_fail)
        lua_settop(L, 3);
    else
        push_waiting(L, version);
    lua_pushvalue(L, 1);
    if (lua_rawget(L, -2) != LUA_TNIL)
        return 1;
    lua_pop(L, 1);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    lua_rawset(L, -3);
    lua_pushvalue(L, 2);
    return 1;
}

static int commit(lua_State *L)
{
    struct version *version = lua_touserdata(L, 1);
    push_kept(L);
    push_waiting(L, version);
    for (lua_pushnil(L); lua_next(L, -2);) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -5);
    }
    return 0;
}

void keep_commit(struct version *version)
{
    if (version->kept == LUA_NOREF)
        return;
    /* Without memory for it the tables are the version's alone: as if nothing had been kept. */
    (void)vm_protect(version->vm, commit, version);
    luaL_unref(version->vm->L, LUA_REGISTRYINDEX, version->kept);
    version->kept = LUA_NOREF;
}
