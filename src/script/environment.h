/* script/environment.h - the globals of one version: its own copies of the libraries.
 *
 * What:   what a script may use of Lua. Tables are copied from the state's own, so that what a
 *         version changes in them is its own affair; what could end, block or crash the server
 *         is replaced by a function that says why it is not there.
 * Thread: the vm's. Raises: all of it, on memory. */
#ifndef NEAP_SCRIPT_ENVIRONMENT_H
#define NEAP_SCRIPT_ENVIRONMENT_H

#include <lua.h>

struct version;

/* Opens the libraries once for a state, out of scripts' reach. */
void environment_open_state(lua_State *L);

/* Pushes the globals for a version. */
void environment_push(lua_State *L, struct version *version);

/* From now on writing a global raises. The globals are at the top. */
void environment_seal(lua_State *L, const struct version *version);

/* The number of the version whose sealed globals the table at the top is; 0: it is no such table.
 * Raises: no. */
unsigned environment_version(lua_State *L);

/* Pushes the table of the globals that a script has made; the sealed globals are at the top. */
void environment_push_own(lua_State *L);

#endif
