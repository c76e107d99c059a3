/* script/coroutine.h - the coroutine library of scripts, and xpcall.
 *
 *     hook ─ resume ─> a coroutine of the script's ─ neap.sleep ─> yields to resume
 *     loop <─ yields ────────────────────────────────────────────────┘
 *     loop ─ resumes ─> hook ─ resume goes on ─> the coroutine goes on behind neap.sleep
 *
 * What:   which coroutine runs is noted for the time limit (budget.h), and a run that is over is
 *         ended in each of them. One that waits for neap takes its hook along.
 * Thread: the vm's. */
#ifndef NEAP_SCRIPT_COROUTINE_H
#define NEAP_SCRIPT_COROUTINE_H

#include <stdbool.h>

#include <lua.h>

/* Puts resume, wrap and close into the coroutine table at the top, and xpcall into the globals at
 * `globals`. Raises: on memory. */
void coroutine_wrap(lua_State *L, int globals);

/* Of a hook that is ended while it waits: closes the coroutines inside it that wait with it, from
 * the innermost on. False: a <close> variable raised. Raises: no. */
bool coroutine_close_inside(lua_State *outermost, lua_State *innermost);

#endif
