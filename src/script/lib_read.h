/* script/lib_read.h - conn:read, messages, skip and flush: what a hook waits for on its connection.
 *
 *     attempt: conn_read ─ there ─> returned at once
 *                 └ not yet ─> wait_begin ─> input, the end, time ─> attempt again
 *
 * Thread: the vm's. Raises: on wrong arguments, on memory, and where waiting is impossible. */
#ifndef NEAP_SCRIPT_LIB_READ_H
#define NEAP_SCRIPT_LIB_READ_H

#include <lua.h>

int l_conn_read(lua_State *L);
int l_conn_messages(lua_State *L);
int l_conn_skip(lua_State *L);
int l_conn_flush(lua_State *L);

#endif
