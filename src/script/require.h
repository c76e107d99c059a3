/* script/require.h - `require` and `package` of one version.
 *
 * What:   looks in package.loaded, package.preload, Lua files of the script's folder and of the
 *         Lua path (while the script loads in the scratch state, which notes their bytes; any
 *         other state finds just those), and C modules along package.cpath.
 * Thread: the vm's. Raises: all of it. */
#ifndef NEAP_SCRIPT_REQUIRE_H
#define NEAP_SCRIPT_REQUIRE_H

#include <lua.h>

struct version;

/* Puts `require` and `package` into the globals at that index. */
void require_open(lua_State *L, struct version *version, int globals);

/* Makes the value at the top, which stays, what require(name) answers. */
void require_provide(lua_State *L, int globals, const char *name);

#endif
