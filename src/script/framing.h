/* script/framing.h - a framing as scripts write it, made into a codec.
 *
 * Thread: the vm's. A custom framing calls back into Lua, and keeps its functions by reference. */
#ifndef NEAP_SCRIPT_FRAMING_H
#define NEAP_SCRIPT_FRAMING_H

#include <lua.h>

#include "net/conn.h"

struct vm;

struct script_framing {
    struct framing net;
    struct vm *vm;
    int decode, encode; /* references, or LUA_NOREF */
};

/* Reads "line", { "length", bytes = 4 } and the like at `index`. A framing with one reference,
 * or NULL with what is wrong with it at the top of the stack. Raises: on memory. */
struct framing *framing_read(lua_State *L, int index);

/* The same, as the userdata `struct framing *` that is pushed and holds the reference. Raises. */
struct framing *framing_push_kept(lua_State *L, int argument);

/* "raw", which needs no script; NULL: no memory. */
struct framing *framing_raw(struct vm *vm);

/* The function that encodes messages of this connection, or LUA_NOREF. */
int framing_encode(const struct conn *conn);

#endif
