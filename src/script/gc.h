/* script/gc.h - how much garbage may gather before the next collection.
 *
 *     live   |##|..................|       a small state: up to ten times what lives
 *            |##########|..........|       1 MiB and more:  twice, which is Lua's own rule
 *
 * What:   Lua begins a collection when memory has doubled. A small state doubles after a few long
 *         messages, and marking its tables once for each few of them costs more than they do.
 * Thread: the vm's. Life: gc_open() .. lua_close().
 * Raises: gc_open on memory; gc_pace no. */
#ifndef NEAP_SCRIPT_GC_H
#define NEAP_SCRIPT_GC_H

#include <lua.h>

struct vm;

/* Once for a state. */
void gc_open(lua_State *L);

/* A collection has ended (vm->collected): sets when the one after the next begins. */
void gc_pace(struct vm *vm);

#endif
