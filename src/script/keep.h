/* script/keep.h - neap.keep: tables that outlive versions.
 *
 * What:   keep(name, initial) returns the table kept under that name in this worker; the first
 *         time that is `initial`, or a new one. What a version keeps for the first time while it
 *         loads or starts is kept only if it takes over.
 * Thread: the vm's. */
#ifndef NEAP_SCRIPT_KEEP_H
#define NEAP_SCRIPT_KEEP_H

#include <lua.h>

struct version;

/* keep(name[, initial]); upvalue 1: the version. Raises: on misuse, on memory. */
int l_keep(lua_State *L);

/* The version has taken over, and so what it wanted to keep. Raises: no. */
void keep_commit(struct version *version);

#endif
