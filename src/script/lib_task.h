/* script/lib_task.h - neap.spawn and conn:spawn: functions that run beside the hooks and may wait.
 *
 *     spawn ─> NEW ─ at the end of the turn, or when the version takes over ─> RUNS ─> OVER
 *                                                        cancel, the end of its owner ──^
 *     task userdata ─ user values: the function with its arguments; the results
 *
 * What:   a task of neap.spawn ends with its version, one of conn:spawn with its connection,
 *         also over reloads.
 * Thread: the vm's. Raises: where it says so. */
#ifndef NEAP_SCRIPT_LIB_TASK_H
#define NEAP_SCRIPT_LIB_TASK_H

#include <stdbool.h>
#include <stdint.h>

#include <lua.h>

#include "base/list.h"

struct call;
struct version;

/* spawn(fn, ...) -> task. Upvalue 1: the version. Raises. */
int l_spawn(lua_State *L);
/* conn:spawn(fn, ...) -> task, or nil, "closed", "ECLOSED". Raises. */
int l_conn_spawn(lua_State *L);

/* Makes the metatable. Raises: on memory. */
void lib_task_open(lua_State *L);

/* Starts what was noted while the version loaded. Raises: no. */
void lib_task_start_all(struct version *version);
/* Drops the tasks of a version that have not begun. Raises: no. */
void lib_task_stop_all(struct version *version);

/* Ends those of a connection that is gone. Raises: no. */
void lib_task_end_all(struct list *tasks);

/* True: the call is a task of that connection. Raises: no. */
bool lib_task_owner(const struct call *call, uint64_t *slot);

#endif
