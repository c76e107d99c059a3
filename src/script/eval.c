/* script/eval.c - as an expression first, then as statements. */
#include "script/eval.h"

#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/macros.h"
#include "script/call.h"
#include "script/version.h"
#include "script/vm.h"

/* In the registry: what pieces have assigned. */
static const char globals_key;

/* Pushes what require "neap" gives in the version whose globals are at the top, or nil. */
static void push_module(lua_State *L)
{
    static const char *const path[] = {"package", "loaded", "neap"};
    lua_pushvalue(L, -1);
    for (size_t i = 0; i < ARRAY_LEN(path); i++) {
        lua_pushstring(L, path[i]);
        if (lua_istable(L, -2))
            lua_rawget(L, -2);
        else
            lua_pushnil(L);
        lua_remove(L, -2);
    }
}

/* Pushes a table with neap in it that reads from the version's globals what was not assigned here. */
static void push_globals(lua_State *L, const struct version *version)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &globals_key) != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_createtable(L, 0, 1);
        lua_setmetatable(L, -2);
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &globals_key);
    }
    lua_getmetatable(L, -1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, version->environment);
    push_module(L);
    lua_setfield(L, -4, "neap");
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}

static int load(lua_State *L, const char *code, size_t len)
{
    lua_pushliteral(L, "return ");
    lua_pushlstring(L, code, len);
    lua_concat(L, 2);
    size_t as_expression_len;
    const char *as_expression = lua_tolstring(L, -1, &as_expression_len);
    if (luaL_loadbufferx(L, as_expression, as_expression_len, "=eval", "t") == LUA_OK)
        return LUA_OK;
    lua_pop(L, 1);
    return luaL_loadbufferx(L, code, len, "=eval", "t");
}

static int push_piece(lua_State *L, struct call *call)
{
    int top = lua_gettop(L);
    if (load(L, call->bytes, call->len) != LUA_OK)
        return lua_error(L);
    push_globals(L, call->version);
    lua_setupvalue(L, -2, 1);
    lua_replace(L, top + 1);
    lua_settop(L, top + 1);
    return 0;
}

static const char *take_results(lua_State *L, struct call *call)
{
    const struct eval_ops *ops = call->argument;
    int top = lua_gettop(L);
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    for (int i = CALL_RESULT; i <= top; i++) {
        size_t len;
        const char *text = luaL_tolstring(L, i, &len);
        ops->on_result(ops->owner, text, len);
        lua_pop(L, 1);
    }
    return NULL;
}

bool eval_run(struct vm *vm, const char *code, size_t len, const struct eval_ops *ops,
              char **error)
{
    struct call call = {.vm = vm,
                        .version = vm->version,
                        .what = "eval",
                        .push = push_piece,
                        .take = take_results,
                        .bytes = code,
                        .len = len,
                        .argument = ops,
                        .quiet = true};
    vm->eval = ops;
    bool ok = call_run(&call) == CALL_OK;
    vm->eval = NULL;
    *error = call.error;
    return ok;
}
