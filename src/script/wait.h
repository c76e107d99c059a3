/* script/wait.h - stopping in the middle of a hook, and going on later.
 *
 *     hook ─ neap.sleep ─ wait_prepare, lua_yieldk ─> call_run answers CALL_WAITS ─> the loop
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
struct vm;

#define WAIT_FOR_EVER UINT64_MAX

/* False: the connection whose hook runs is closed, and nothing is to be waited for. Raises where
 * waiting is impossible, with `what` ("neap.sleep") and where. */
bool wait_may_begin(lua_State *L, const char *what);

/* The lua_yieldk that follows at once is a wait; its continuation is called when that is over. Only
 * after wait_may_begin. The run's wait is to be filled in, where it is for more than time. Raises:
 * no. */
struct run *wait_prepare(lua_State *L, uint64_t timeout_ms,
                         bool (*is_over)(struct run *run));

/* For call.c: what was prepared came to nothing, for want of memory. */
void wait_drop_prepared(struct run *run);

/* For call.c: it has come out of Lua. Until here it may still fail, for want of memory. */
void wait_enter(struct run *run);

/* Seconds at that index as milliseconds: none is for ever, less than 0 is 0. Raises. */
uint64_t wait_check_timeout(lua_State *L, int index);

/* It looks whether it is over, before the loop blocks. Raises: no. */
void wait_wake(struct run *run);
/* Those that wait for `subject` (run->wait.subject). Raises: no. */
void wait_wake_all(struct vm *vm, const void *subject);
/* Those of a version. Raises: no. */
void wait_wake_version(struct version *version);
/* Those of others that read or flush the connection. Raises: no. */
void wait_wake_watchers(struct conn *conn);

/* The connection that it reads or flushes; NULL: none, or it is gone. Raises: no. */
struct conn *wait_target(const struct run *run);

/* Ends a hook that waits, with its <close> variables. Raises: no. */
void wait_cancel(struct run *run);

/* The run that makes the call; in a continuation its wait.end says how the wait ended. Raises:
 * no. */
struct run *wait_run(lua_State *L);

/* Something has happened to the connection that a hook waits for. True: the hook went on.
 * Raises: no. */
bool wait_look(struct conn *conn);

/* Calls `see` for each hook that waits, with its version and where: "chat.lua:12". Raises: no. */
void wait_each(struct vm *vm, void (*see)(void *owner, unsigned version, const char *place),
               void *owner);

/* A version has taken over: sessions that wait in messages() make room. Raises: no. */
void wait_renew_all(struct vm *vm);

/* Ends the waits of a version's timers and on_start, with their <close> variables. Those of
 * connections go on. Raises: no. */
void wait_end_all(struct version *version);

/* Pushes nil, "closed", "ECLOSED"; 3. */
int wait_push_closed(lua_State *L);

/* neap.sleep(seconds) */
int l_sleep(lua_State *L);

#endif
