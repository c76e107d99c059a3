/* script/bytes.h - received bytes as a Lua string; long ones without a copy.
 *
 *     the reactor's input     [ lead ............... | 64 KiB read | 0 ]
 *     a string of Lua's       [ allocator's | TString | contents    | 0 ]
 *
 * What:   Lua copies what it makes a string of. The input has room around it for all that a
 *         string has, and its memory can be given away: then the allocator hands just that
 *         memory out for the string, and Lua's copy is from a place to itself, which memcpy of
 *         glibc leaves at once. Only documented functions of Lua are used; where the contents
 *         stand in a block is found out by trying, and if they stand nowhere everything is copied.
 * Thread: the vm's. Raises: bytes_push, on memory. */
#ifndef NEAP_SCRIPT_BYTES_H
#define NEAP_SCRIPT_BYTES_H

#include <stddef.h>

#include <lua.h>

struct conn;
struct vm;

/* Once for a vm with a reactor. Without memory all is copied. Raises: no. */
void bytes_open(struct vm *vm);

/* Pushes what on_message of that connection was given. */
void bytes_push(lua_State *L, struct conn *conn, const char *bytes, size_t len);

#endif
