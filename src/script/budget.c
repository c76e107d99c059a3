/* script/budget.c - a clock that only runs while the thread does. */
#include "script/budget.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lauxlib.h>

#include "script/vm.h"

#define TICK_MS 10
#define TICK_NS 10000000L
#define SLOW_TICKS 2     /* the first may come right after the start: more than 10 ms */
#define STUCK_TICKS 1000 /* 10 s */
#define SIGNAL SIGRTMIN

static const char over_text[] = "stopped: the hook used more CPU time than hook_timeout";

/* glibc of Debian 12 names the field, older ones do not. */
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

/* ---- Hooks that the handler arms ---- */

static void on_over(lua_State *L, lua_Debug *at)
{
    (void)at;
    struct budget *budget = &vm_of(L)->budget;
    if (!budget->over) {
        lua_sethook(L, NULL, 0, 0); /* left from a run that has ended */
        return;
    }
    luaL_error(L, over_text);
}

static void on_slow(lua_State *L, lua_Debug *at)
{
    struct budget *budget = &vm_of(L)->budget;
    lua_sethook(L, NULL, 0, 0);
    if (lua_getinfo(L, "Sl", at) && at->currentline > 0)
        snprintf(budget->place, sizeof budget->place, "%s:%d", at->short_src,
                 at->currentline);
}

/* ---- The handler ---- */

/* Only write, which a handler may call; the place is what the last look noted. */
static void abort_stuck(const struct budget *budget)
{
    static const char text[] =
        "neap: a hook has been stuck in a C function for 10 s of CPU time beyond "
        "hook_timeout, last seen at ";
    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    const char *place = *budget->place ? budget->place : "an unknown line";
    (void)!write(STDERR_FILENO, place, strlen(place));
    (void)!write(STDERR_FILENO, "\n", 1);
    abort();
}

static void on_tick(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    struct budget *budget = info->si_value.sival_ptr;
    lua_State *L = budget->running;
    if (!L || budget->unlimited)
        return;
    if (budget->ticked_run != budget->run) {
        budget->ticked_run = budget->run;
        budget->ticks = 0;
    }
    unsigned ticks = ++budget->ticks;
    /* lua_sethook is made to be called from a handler on the state's own thread. */
    if (ticks > budget->limit_ticks + STUCK_TICKS) {
        abort_stuck(budget);
    } else if (ticks > budget->limit_ticks) {
        unsigned excess = ticks - budget->limit_ticks;
        budget->over = 1;
        /* Ever more seldom: lua_sethook goes over all levels of the stack, and after a recursion
         * without end that takes longer than a tick. */
        if ((excess & (excess - 1)) == 0)
            lua_sethook(L, on_over, LUA_MASKCOUNT | LUA_MASKCALL, 1);
    } else if (ticks == SLOW_TICKS) {
        lua_sethook(L, on_slow, LUA_MASKCOUNT, 1);
    }
}

static void install_handler(void)
{
    struct sigaction action = {.sa_sigaction = on_tick,
                               .sa_flags = SA_SIGINFO | SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGNAL, &action, NULL);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* ---- Life ---- */

void budget_set_limit(struct budget *budget, uint64_t limit_ms)
{
    uint64_t ticks = (limit_ms + TICK_MS - 1) / TICK_MS;
    budget->limit_ticks = (unsigned)ticks; /* a year has less than 2^32 of them */
}

int budget_start(struct budget *budget, uint64_t limit_ms)
{
    budget_set_limit(budget, limit_ms);
    install_handler();
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID,
                             .sigev_signo = SIGNAL,
                             .sigev_value.sival_ptr = budget};
    event.sigev_notify_thread_id = gettid();
    if (timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &budget->timer) < 0)
        return -errno;
    budget->started = true;
    struct itimerspec every = {.it_interval.tv_nsec = TICK_NS, .it_value.tv_nsec = TICK_NS};
    return timer_settime(budget->timer, 0, &every, NULL) < 0 ? -errno : 0;
}

void budget_stop(struct budget *budget)
{
    if (!budget->started)
        return;
    timer_delete(budget->timer);
    budget->started = false;
}

void budget_enter(struct budget *budget, lua_State *L)
{
    budget->run++;
    budget->place[0] = '\0';
    budget->running = L;
}

void budget_leave(struct budget *budget, lua_State *L)
{
    budget->running = NULL;
    budget->over = 0;
    bool was_slow = budget->ticked_run == budget->run && budget->ticks >= SLOW_TICKS;
    if (!was_slow || *budget->place)
        return;
    /* It ended in the C function that took the time: no line came after it to note, and the next
     * run of this coroutine must not be taken for it. */
    lua_sethook(L, NULL, 0, 0);
    snprintf(budget->place, sizeof budget->place, "the last call of the hook");
}

void budget_return(struct budget *budget, lua_State *L)
{
    budget->running = L;
    if (budget->over)
        lua_sethook(L, on_over, LUA_MASKCOUNT | LUA_MASKCALL, 1);
}

void budget_renew(struct budget *budget, lua_State *L)
{
    budget->over = 0;
    budget->run++;
    budget->running = L;
    lua_sethook(L, NULL, 0, 0);
}

/* ---- Coroutines that were stopped ---- */

/* In the registry, by weak key. An error raised by a hook leaves a coroutine that it ends with
 * its hooks off, for good: a <close> variable that loops there could never be ended, so that
 * those of a stopped coroutine are not run. */
static const char stopped_key;

static void push_stopped(lua_State *L, lua_State *co)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &stopped_key);
    luaL_checkstack(co, 1, NULL);
    lua_pushthread(co);
    lua_xmove(co, L, 1);
}

static void note_stopped(lua_State *L, lua_State *co)
{
    if (lua_status(co) == LUA_OK || lua_status(co) == LUA_YIELD)
        return;
    push_stopped(L, co);
    lua_pushboolean(L, 1);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

static bool was_stopped(lua_State *L, lua_State *co)
{
    if (lua_status(co) == LUA_OK || lua_status(co) == LUA_YIELD)
        return false;
    push_stopped(L, co);
    bool stopped = lua_rawget(L, -2) != LUA_TNIL;
    lua_pop(L, 2);
    return stopped;
}

static void open_stopped(lua_State *L)
{
    bool is_open = lua_rawgetp(L, LUA_REGISTRYINDEX, &stopped_key) != LUA_TNIL;
    lua_pop(L, 1);
    if (is_open)
        return;
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &stopped_key);
}

/* ---- Wrappers ---- */

/* lua_call while `L` is not the coroutine that runs, but `other` is (NULL: L is); then goes on
 * ending the run if it is over. Protected: an error must not leave the wrong one noted, whose
 * hook would never run. */
static void call_while(lua_State *L, lua_State *other, int arguments, int results)
{
    struct budget *budget = &vm_of(L)->budget;
    if (other)
        budget->running = other;
    int status = lua_pcall(L, arguments, results, 0);
    budget_return(budget, L);
    if (budget->over) {
        if (other)
            note_stopped(L, other);
        luaL_error(L, over_text);
    }
    if (status != LUA_OK)
        lua_error(L);
}

/* Calls upvalue 1 with what is on the stack. */
static int call_as(lua_State *L, lua_State *other)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    call_while(L, other, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

static int l_resume(lua_State *L)
{
    return call_as(L, lua_tothread(L, 1));
}

static int l_close(lua_State *L)
{
    lua_State *co = lua_tothread(L, 1);
    if (!co || !was_stopped(L, co))
        return call_as(L, co);
    lua_pushboolean(L, 0);
    lua_pushstring(L, over_text);
    return 2;
}

/* Upvalues: resume, the coroutine, close. */
static int l_wrapped(lua_State *L)
{
    lua_State *co = lua_tothread(L, lua_upvalueindex(2));
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_insert(L, 1);
    int count = call_as(L, co);
    if (lua_toboolean(L, 1)) {
        lua_remove(L, 1);
        return count - 1;
    }
    lua_settop(L, 2);
    bool failed = lua_status(co) != LUA_OK && lua_status(co) != LUA_YIELD;
    if (failed && !was_stopped(L, co)) {
        lua_pushvalue(L, lua_upvalueindex(3)); /* its <close> variables run now */
        lua_pushvalue(L, lua_upvalueindex(2));
        call_while(L, co, 1, 2);
        lua_remove(L, -2);
        if (lua_isnil(L, -1))
            lua_settop(L, 2);
    }
    if (lua_type(L, -1) == LUA_TSTRING) {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

/* Upvalues: Lua's create, resume and close. */
static int l_wrap(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 1, 1);
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_insert(L, 1);
    lua_pushvalue(L, lua_upvalueindex(3));
    lua_pushcclosure(L, l_wrapped, 3);
    return 1;
}

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

static void wrap_field(lua_State *L, const char *name, lua_CFunction function)
{
    lua_getfield(L, -1, name);
    lua_pushcclosure(L, function, 1);
    lua_setfield(L, -2, name);
}

void budget_wrap(lua_State *L, int globals)
{
    open_stopped(L);
    lua_getfield(L, -1, "create");
    lua_getfield(L, -2, "resume");
    lua_getfield(L, -3, "close");
    lua_pushcclosure(L, l_wrap, 3);
    lua_setfield(L, -2, "wrap");
    wrap_field(L, "resume", l_resume);
    wrap_field(L, "close", l_close);
    lua_pushcfunction(L, l_xpcall);
    lua_setfield(L, globals, "xpcall");
}
