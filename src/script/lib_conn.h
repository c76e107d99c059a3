/* script/lib_conn.h - connections as scripts see them.
 *
 *     light userdata, 64 bits:   [ 1 | generation, 41 | index, 22 ]
 *
 * What:   a handle is a number, not an object: it costs nothing, can be kept for ever, and goes
 *         stale with its connection. The first bit keeps it apart from every pointer that a C
 *         module may push as light userdata, with which it shares one metatable.
 * Thread: the vm's. Raises: where it says so. */
#ifndef NEAP_SCRIPT_LIB_CONN_H
#define NEAP_SCRIPT_LIB_CONN_H

#include <stdbool.h>
#include <stddef.h>

#include <lua.h>

struct conn;

/* Pushes a handle; NULL pushes nil. Raises: no, given a free slot. */
void lib_conn_push(lua_State *L, const struct conn *conn);

/* The connection at 1, or NULL when it is gone. Raises when there is no handle at all. */
struct conn *lib_conn_check(lua_State *L);

/* Sets the metatable of light userdata. Raises: on memory. */
void lib_conn_open(lua_State *L);

/* Every method and field, for suggestions. */
const char *const *lib_conn_names(size_t *count);

/* Whether what is sent goes through a function of the script first. Raises: no. */
bool lib_conn_encodes(const struct conn *conn);

/* Sends what stands from `first` to `last` as one message, as conn:send does: 0, 1 or -errno.
 * Raises: on anything but strings and numbers, on memory. */
int lib_conn_send(lua_State *L, struct conn *conn, int first, int last);

/* Drops what a connection kept in Lua. Raises: no. */
void lib_conn_forget(lua_State *L, struct conn *conn);

#endif
