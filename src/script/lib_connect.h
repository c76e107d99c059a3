/* script/lib_connect.h - neap.connect and neap.resolve: the way out.
 *
 *     neap.connect ─> connect_start ─ waits ─> a connection of the service "name", or of no service
 *                                              │ whose input is read, and given to no hook
 *                       owner ── children ─────┘ the connection whose hook it is, or the version
 *
 * Thread: the vm's. Raises: where it says so. */
#ifndef NEAP_SCRIPT_LIB_CONNECT_H
#define NEAP_SCRIPT_LIB_CONNECT_H

#include <lua.h>

/* connect(address[, options]) -> connection, or nil, message, code. Upvalue 1: the version.
 * Raises. */
int l_connect(lua_State *L);

/* resolve(name[, timeout]) -> list of addresses, or nil, message, code. Raises. */
int l_resolve(lua_State *L);

#endif
