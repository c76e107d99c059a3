/* script/lib_timer.c - functions that run later. */
#include "script/lib_timer.h"

#include <stdlib.h>

#include <lauxlib.h>

#include "net/reactor.h"
#include "script/call.h"
#include "script/version.h"
#include "script/vm.h"

static const char metatable[] = "neap.timer";

struct script_timer {
    struct wheel_timer wheel;
    struct list node; /* in version->timers while it is to fire */
    struct version *version;
    uint64_t delay_ms, every_ms; /* every_ms 0: once */
    uint64_t due_ms, last_ms;
    int ref; /* keeps the userdata while it is started */
    bool running;
};

static struct reactor *reactor_of(const struct script_timer *timer)
{
    return timer->version->vm->host.reactor;
}

static void forget(struct script_timer *timer)
{
    if (timer->ref == LUA_NOREF)
        return;
    list_remove(&timer->node);
    if (reactor_of(timer))
        wheel_stop(&reactor_of(timer)->wheel, &timer->wheel);
    luaL_unref(timer->version->vm->L, LUA_REGISTRYINDEX, timer->ref);
    timer->ref = LUA_NOREF;
}

static int push_timer(lua_State *L, struct call *call)
{
    const struct script_timer *timer = call->argument;
    lua_rawgeti(L, LUA_REGISTRYINDEX, timer->ref);
    lua_getiuservalue(L, -1, 1);
    lua_remove(L, -2);
    if (!timer->every_ms)
        return 0;
    lua_pushnumber(L, call->number);
    return 1;
}

/* The rate is kept: the next tick counts from the one that was due, and those that were missed
 * are passed over. */
static void set_next(struct script_timer *timer, uint64_t now_ms)
{
    timer->due_ms += timer->every_ms;
    if (timer->due_ms <= now_ms)
        timer->due_ms +=
            (now_ms - timer->due_ms) / timer->every_ms * timer->every_ms + timer->every_ms;
    wheel_start(&reactor_of(timer)->wheel, &timer->wheel, timer->due_ms);
}

static void timer_done(struct call *call)
{
    struct script_timer *timer = (struct script_timer *)call->argument;
    free(call->error);
    timer->running = false;
    if (timer->every_ms)
        set_next(timer, reactor_now_ms(reactor_of(timer)));
    else
        forget(timer);
}

static void on_due(struct wheel_timer *wheel)
{
    struct script_timer *timer = container_of(wheel, struct script_timer, wheel);
    struct vm *vm = timer->version->vm;
    uint64_t now_ms = reactor_now_ms(reactor_of(timer));
    struct call call = {.vm = vm,
                        .version = timer->version,
                        .what = "timer",
                        .push = push_timer,
                        .done = timer_done,
                        .argument = timer,
                        .number = (double)(now_ms - timer->last_ms) / 1e3};
    timer->last_ms = now_ms;
    timer->running = true;
    if (call_run(&call) != CALL_WAITS)
        timer_done(&call);
}

static void start(struct script_timer *timer)
{
    struct reactor *reactor = reactor_of(timer);
    timer->last_ms = reactor_now_ms(reactor);
    timer->due_ms = timer->last_ms + timer->delay_ms;
    wheel_start(&reactor->wheel, &timer->wheel, timer->due_ms);
}

static int new_timer(lua_State *L, bool repeats)
{
    struct version *version = lua_touserdata(L, lua_upvalueindex(1));
    if (version->state == VERSION_RETIRED)
        return luaL_error(
            L, "a timer of version %d, which was replaced: its timers have ended",
            (int)version->number);
    lua_Number seconds = luaL_checknumber(L, 1);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    luaL_argcheck(L, seconds >= 0 && seconds < 1e9, 1, "seconds from 0 to 1e9 expected");
    luaL_argcheck(L, !repeats || seconds >= 0.001, 1, "at least 0.001 seconds expected");
    lua_settop(L, 2);
    struct script_timer *timer = lua_newuserdatauv(L, sizeof *timer, 1);
    *timer = (struct script_timer){.version = version, .ref = LUA_NOREF};
    list_init(&timer->node);
    wheel_timer_init(&timer->wheel, on_due);
    timer->delay_ms = (uint64_t)(seconds * 1e3);
    timer->every_ms = repeats ? timer->delay_ms : 0;
    luaL_setmetatable(L, metatable);
    lua_pushvalue(L, 2);
    lua_setiuservalue(L, -2, 1);
    lua_pushvalue(L, -1);
    timer->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    list_append(&version->timers, &timer->node);
    if (version->state != VERSION_SERVING)
        return 1; /* it starts with the version */
    loop_update_now(reactor_of(timer)->loop);
    start(timer);
    return 1;
}

int l_after(lua_State *L)
{
    return new_timer(L, false);
}

int l_every(lua_State *L)
{
    return new_timer(L, true);
}

/* cancel() -> true if it was still to fire. */
static int l_cancel(lua_State *L)
{
    struct script_timer *timer = luaL_checkudata(L, 1, metatable);
    lua_pushboolean(L, timer->ref != LUA_NOREF);
    if (timer->running)
        timer->every_ms = 0; /* on_due forgets it when the function has returned */
    else
        forget(timer);
    return 1;
}

void lib_timer_open(lua_State *L)
{
    luaL_newmetatable(L, metatable);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, l_cancel);
    lua_setfield(L, -2, "cancel");
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, "a timer's methods cannot be changed");
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

void lib_timer_start_all(struct version *version)
{
    LIST_FOREACH (&version->timers, node)
        start(container_of(node, struct script_timer, node));
}

size_t lib_timer_stop_all(struct version *version)
{
    size_t count = 0;
    LIST_FOREACH (&version->timers, node) {
        struct script_timer *timer = container_of(node, struct script_timer, node);
        if (timer->running)
            timer->every_ms = 0; /* its function waits: timer_done forgets it */
        else
            forget(timer);
        count++;
    }
    return count;
}
