/* script/lib_neap.h - the `neap` module that scripts require.
 *
 * Thread: the vm's. Raises: on memory. */
#ifndef NEAP_SCRIPT_LIB_NEAP_H
#define NEAP_SCRIPT_LIB_NEAP_H

#include <lua.h>

struct version;

/* Makes the metatables that all versions of a state share. */
void lib_neap_open_state(lua_State *L);

/* Pushes the module for a version, whose functions know it. */
void lib_neap_push(lua_State *L, struct version *version);

#endif
