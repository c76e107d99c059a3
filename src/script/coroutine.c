/* script/coroutine.c - resuming so that the time limit and waits reach through. */
#include "script/coroutine.h"

#include <lauxlib.h>

#include "script/vm.h"

/* ---- Coroutines that were stopped ---- */

/* In the registry, by weak key. An error raised by a hook leaves a coroutine that it ends with
 * its hooks off, for good: a <close> variable that loops there could never be ended, so that
 * those of a stopped coroutine are not run. */
static const char stopped_key;

/* Those that wait inside another that waits; by weak key too. */
static const char waiting_key;

/* Pushes such a table, and the coroutine. */
static void push_noted(lua_State *L, const char *key, lua_State *co)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, key);
    luaL_checkstack(co, 1, NULL);
    lua_pushthread(co);
    lua_xmove(co, L, 1);
}

static void note_stopped(lua_State *L, lua_State *co)
{
    if (lua_status(co) == LUA_OK || lua_status(co) == LUA_YIELD)
        return;
    push_noted(L, &stopped_key, co);
    lua_pushboolean(L, 1);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

static bool was_stopped(lua_State *L, lua_State *co)
{
    if (lua_status(co) == LUA_OK || lua_status(co) == LUA_YIELD)
        return false;
    push_noted(L, &stopped_key, co);
    bool stopped = lua_rawget(L, -2) != LUA_TNIL;
    lua_pop(L, 2);
    return stopped;
}

static void open_noted(lua_State *L, const char *key)
{
    bool is_open = lua_rawgetp(L, LUA_REGISTRYINDEX, key) != LUA_TNIL;
    lua_pop(L, 1);
    if (is_open)
        return;
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, key);
}

/* ---- Resuming ---- */

enum { FAILED = -1, WAITS = -2 };

/* Moves results of `co` to L; how many, or FAILED with a message instead. */
static int move_results(lua_State *L, lua_State *co, int count)
{
    if (lua_checkstack(L, count + 1)) {
        lua_xmove(co, L, count);
        return count;
    }
    lua_pop(co, count);
    lua_pushliteral(L, "too many results to resume");
    return FAILED;
}

/* Resumes `co` with what is on top of L. How many results are there then, FAILED with what was
 * raised, or WAITS: it waits for something of neap's, and L has to wait with it. */
static int resume(lua_State *L, lua_State *co, int arguments)
{
    struct vm *vm = vm_of(L);
    bool is_outermost = !lua_isyieldable(L);
    int count;
    if (!lua_checkstack(co, arguments)) {
        lua_pop(L, arguments);
        lua_pushliteral(L, "too many arguments to resume");
        return FAILED;
    }
    lua_xmove(L, co, arguments);
    vm->blocked += is_outermost;
    vm->budget.running = co;
    int status = lua_resume(co, L, arguments, &count);
    vm->blocked -= is_outermost;
    budget_return(&vm->budget, L);
    if (vm->budget.over) {
        vm->wait_begun = false;
        note_stopped(L, co);
        return luaL_error(L, "%s", budget_over_text);
    }
    if (status == LUA_YIELD && vm->wait_begun)
        return WAITS;
    if (status == LUA_OK || status == LUA_YIELD)
        return move_results(L, co, count);
    lua_xmove(co, L, 1);
    return FAILED;
}

/* A coroutine inside a wait goes on with it, and not because somebody resumes it. */
static bool is_in_wait(lua_State *L, lua_State *co)
{
    if (!vm_of(L)->waits_inside || lua_status(co) != LUA_YIELD)
        return false;
    push_noted(L, &waiting_key, co);
    bool is = lua_rawget(L, -2) != LUA_TNIL;
    lua_pop(L, 2);
    return is;
}

/* The value is the coroutine that waits with it. */
static void note_wait(lua_State *L, lua_State *co, bool waits)
{
    struct vm *vm = vm_of(L);
    vm->waits_inside = true;
    vm->wait_begun = false; /* what follows may raise */
    push_noted(L, &waiting_key, co);
    if (waits)
        lua_pushthread(L);
    else
        lua_pushnil(L);
    lua_rawset(L, -3);
    lua_pop(L, 1);
    vm->wait_begun = waits;
}

bool coroutine_close_inside(lua_State *outermost, lua_State *innermost)
{
    lua_State *L = vm_of(outermost)->L, *next;
    bool ok = true;
    for (lua_State *co = innermost; co && co != outermost; co = next) {
        if (!lua_checkstack(L, 3) || !lua_checkstack(co, 1))
            return false;
        push_noted(L, &waiting_key, co);
        lua_rawget(L, -2);
        next = lua_tothread(L, -1);
        lua_pop(L, 2);
        ok &= lua_resetthread(co) == LUA_OK;
    }
    return ok;
}

static const char in_wait_text[] = "cannot resume a coroutine that waits";

/* The coroutine is at 1. */
static int finish_resume(lua_State *L, int count);

static int go_on_resuming(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    lua_State *co = lua_tothread(L, 1);
    note_wait(L, co, false);
    lua_settop(L, 1);
    return finish_resume(L, resume(L, co, 0));
}

static int finish_resume(lua_State *L, int count)
{
    if (count == WAITS) {
        note_wait(L, lua_tothread(L, 1), true);
        return lua_yieldk(L, 0, 0, go_on_resuming);
    }
    lua_pushboolean(L, count != FAILED);
    count = count == FAILED ? 1 : count;
    lua_insert(L, -(count + 1));
    return count + 1;
}

static int l_resume(lua_State *L)
{
    lua_State *co = lua_tothread(L, 1);
    luaL_argexpected(L, co, 1, "coroutine");
    if (!is_in_wait(L, co))
        return finish_resume(L, resume(L, co, lua_gettop(L) - 1));
    lua_pushboolean(L, 0);
    lua_pushstring(L, in_wait_text);
    return 2;
}

/* ---- Closing ---- */

/* Replaces the coroutine at the top with what Lua's close (an upvalue) says to it, for which it
 * runs; then goes on ending the run if it is over. Protected: an error must not leave the wrong
 * one noted, whose hook would never run. */
static void close_it(lua_State *L, lua_State *co, int close)
{
    struct budget *budget = &vm_of(L)->budget;
    lua_pushvalue(L, close);
    lua_insert(L, -2);
    budget->running = co;
    int status = lua_pcall(L, 1, 2, 0);
    budget_return(budget, L);
    if (budget->over) {
        note_stopped(L, co);
        luaL_error(L, "%s", budget_over_text);
    }
    if (status != LUA_OK)
        lua_error(L);
}

/* Upvalue: Lua's close. */
static int l_close(lua_State *L)
{
    lua_State *co = lua_tothread(L, 1);
    luaL_argexpected(L, co, 1, "coroutine");
    if (is_in_wait(L, co))
        return luaL_error(L, "cannot close a coroutine that waits");
    if (was_stopped(L, co)) {
        lua_pushboolean(L, 0);
        lua_pushstring(L, budget_over_text);
        return 2;
    }
    lua_settop(L, 1);
    close_it(L, co, lua_upvalueindex(1));
    if (lua_toboolean(L, 1))
        lua_settop(L, 1);
    return lua_gettop(L);
}

/* ---- Wrapping ---- */

/* What was raised is at the top. Upvalues: the coroutine, Lua's close. */
static int raise_again(lua_State *L)
{
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    bool failed = lua_status(co) != LUA_OK && lua_status(co) != LUA_YIELD;
    if (failed && !was_stopped(L, co)) {
        lua_pushvalue(L, lua_upvalueindex(1)); /* its <close> variables run now */
        close_it(L, co, lua_upvalueindex(2));
        if (lua_isnil(L, -1))
            lua_pop(L, 2);
    }
    if (lua_type(L, -1) == LUA_TSTRING) {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

static int finish_wrapped(lua_State *L, int count);

static int go_on_wrapped(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    note_wait(L, co, false);
    lua_settop(L, 0);
    return finish_wrapped(L, resume(L, co, 0));
}

static int finish_wrapped(lua_State *L, int count)
{
    if (count == WAITS) {
        note_wait(L, lua_tothread(L, lua_upvalueindex(1)), true);
        return lua_yieldk(L, 0, 0, go_on_wrapped);
    }
    return count == FAILED ? raise_again(L) : count;
}

static int l_wrapped(lua_State *L)
{
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    if (is_in_wait(L, co))
        return luaL_error(L, "%s", in_wait_text);
    return finish_wrapped(L, resume(L, co, lua_gettop(L)));
}

/* Upvalues: Lua's create and close. */
static int l_wrap(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 1, 1);
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_pushcclosure(L, l_wrapped, 2);
    return 1;
}

/* ---- xpcall ---- */

/* The message handler of xpcall runs inside the hook that raises, where no other hook runs: one
 * that loops could not be ended, so that it is not called any more. Upvalue: the handler. */
static int l_handler(lua_State *L)
{
    if (vm_of(L)->budget.over)
        return 1;
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    return 1;
}

static int finish_xpcall(lua_State *L, int status, lua_KContext context)
{
    if (status != LUA_OK && status != LUA_YIELD) {
        lua_pushboolean(L, 0);
        lua_pushvalue(L, -2);
        return 2;
    }
    return lua_gettop(L) - (int)context;
}

static int l_xpcall(lua_State *L)
{
    int count = lua_gettop(L);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_pushvalue(L, 2);
    lua_pushcclosure(L, l_handler, 1);
    lua_replace(L, 2);
    lua_pushboolean(L, 1);
    lua_pushvalue(L, 1);
    lua_rotate(L, 3, 2); /* f, handler, true, f, arguments */
    int status = lua_pcallk(L, count - 2, LUA_MULTRET, 2, 2, finish_xpcall);
    return finish_xpcall(L, status, 2);
}

/* ---- Putting them in place ---- */

static void wrap_field(lua_State *L, const char *name, lua_CFunction function)
{
    lua_getfield(L, -1, name);
    lua_pushcclosure(L, function, 1);
    lua_setfield(L, -2, name);
}

void coroutine_wrap(lua_State *L, int globals)
{
    open_noted(L, &stopped_key);
    open_noted(L, &waiting_key);
    lua_getfield(L, -1, "create");
    lua_getfield(L, -2, "close");
    lua_pushcclosure(L, l_wrap, 2);
    lua_setfield(L, -2, "wrap");
    lua_pushcfunction(L, l_resume);
    lua_setfield(L, -2, "resume");
    wrap_field(L, "close", l_close);
    lua_pushcfunction(L, l_xpcall);
    lua_setfield(L, globals, "xpcall");
}
