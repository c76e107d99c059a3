/* script/budget.h - the CPU time of a hook: a warning early, an end at hook_timeout.
 *
 *     thread's CPU clock ─ a tick every 10 ms ─> handler, on the worker's own thread
 *         2nd tick of one run   arms a hook that notes file and line for the warning
 *         past hook_timeout     arms a hook that raises at every instruction
 *         10 s past that        the run is stuck in C: the process aborts and says where
 *
 * What:   no count hook stands while scripts are quick, since one doubles the cost of all Lua
 *         code. An idle thread gets no ticks, and time in which it did not run is not charged.
 *         The end survives pcall and coroutines: it is raised again until the run is over.
 * Thread: the worker's. Life: budget_start() .. budget_stop().
 * Errors: budget_start: 0 or -errno. */
#ifndef NEAP_SCRIPT_BUDGET_H
#define NEAP_SCRIPT_BUDGET_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include <lua.h>

#include "base/macros.h"

#define BUDGET_PLACE_MAX 160

/* What is raised in a run that is over. */
extern const char budget_over_text[];

struct budget {
    timer_t timer;
    bool started;
    volatile unsigned limit_ticks;
    /* Shared with the handler, which runs on the same thread. */
    lua_State *volatile running;  /* the coroutine that runs; NULL: none */
    volatile uint64_t run;        /* counts runs */
    volatile sig_atomic_t over;   /* the run is to end */
    volatile uint64_t ticked_run; /* the run that `ticks` are of */
    volatile unsigned ticks;
    volatile sig_atomic_t unlimited; /* a script loads: load_timeout sees to that */
    char place
        [BUDGET_PLACE_MAX]; /* "chat.lua:12", where the slow run was seen; "" if none was */
};

/* Starts the clock of this thread. */
MUST_CHECK int budget_start(struct budget *budget, uint64_t limit_ms);
void budget_stop(struct budget *budget);
/* Of the runs that begin from now on. */
void budget_set_limit(struct budget *budget, uint64_t limit_ms);

/* Around the outermost entry into Lua. */
void budget_enter(struct budget *budget, lua_State *L);
void budget_leave(struct budget *budget, lua_State *L);

/* Of this run, or the one that has been left: it was long enough to be seen, so that the time
 * has changed. */
static inline bool budget_has_ticked(const struct budget *budget)
{
    return budget->ticked_run == budget->run;
}

/* Inside the outermost entry, a run ends here and another begins; false, and no other, if it was
 * long enough to be seen. */
static inline bool budget_next(struct budget *budget)
{
    if (budget_has_ticked(budget))
        return false;
    budget->run++;
    return true;
}

/* A run within the run has returned to `L`, which ends too if the time is up. */
void budget_return(struct budget *budget, lua_State *L);

/* The run has ended by force: what follows (on_error) has a budget of its own. */
void budget_renew(struct budget *budget, lua_State *L);

#endif
