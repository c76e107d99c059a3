/* script/wait.h - stopping in the middle of a hook, and going on later.
 *
 *     hook ─ neap.sleep ─ wait_begin: lua_yieldk ─> call_run answers CALL_WAITS ─> the loop
 *     timer, or the connection was pumped ─> wait_look: over? ─> call_resume ─> the continuation
 *
 * What:   a wait holds back the next event of its own connection and nothing else. It ends by its
 *         time, by what it waits for, or with its connection, and then each further one of that
 *         hook is over before it begins.
 * Thread: the vm's. */
#ifndef NEAP_SCRIPT_WAIT_H
#define NEAP_SCRIPT_WAIT_H

#include <stdbool.h>
#include <stdint.h>

#include <lua.h>

struct conn;
struct run;
struct version;

#define WAIT_FOR_EVER UINT64_MAX

/* False: the connection whose hook runs is closed, and nothing is to be waited for. Raises where
 * waiting is impossible, with `what` ("neap.sleep") and where. */
bool wait_may_begin(lua_State *L, const char *what);

/* Ends the C function that calls it, as lua_yieldk does: `go_on` is called when the wait is over,
 * with the same stack. Only after wait_may_begin. */
int wait_begin(lua_State *L, uint64_t timeout_ms, bool (*is_over)(struct run *run),
               lua_KFunction go_on);

/* For `go_on`: the run, whose wait.end says how it ended. Raises: no. */
struct run *wait_run(lua_State *L);

/* Something has happened to the connection that a hook waits for. True: the hook went on.
 * Raises: no. */
bool wait_look(struct conn *conn);

/* Ends the waits of a version's timers and on_start, with their <close> variables. Those of
 * connections go on. Raises: no. */
void wait_end_all(struct version *version);

/* neap.sleep(seconds) */
int l_sleep(lua_State *L);

#endif
