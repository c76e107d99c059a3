/* script/lib_timer.h - neap.after and neap.every.
 *
 *     timer userdata ─ user value: the function        while it is started, the registry
 *       └ struct script_timer, in its version's list    refers to it
 *
 * Thread: the vm's. A timer that is made while its script loads or starts begins to run when
 *         the version takes over. */
#ifndef NEAP_SCRIPT_LIB_TIMER_H
#define NEAP_SCRIPT_LIB_TIMER_H

#include <stddef.h>

#include <lua.h>

struct version;

/* after(seconds, fn) -> timer; every(seconds, fn) -> timer. Upvalue 1: the version. */
int l_after(lua_State *L);
int l_every(lua_State *L);

/* Makes the metatable. Raises: on memory. */
void lib_timer_open(lua_State *L);

/* Starts what was noted while the version loaded. Raises: no. */
void lib_timer_start_all(struct version *version);

/* Stops every timer of a version; how many there were. Raises: no. */
size_t lib_timer_stop_all(struct version *version);

#endif
