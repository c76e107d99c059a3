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

const char budget_over_text[] = "stopped: the hook used more CPU time than hook_timeout";

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
    luaL_error(L, budget_over_text);
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
