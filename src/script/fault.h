/* script/fault.h - an error of a script as people want to read it.
 *
 *     error: on_message raised: attempt to call a nil value (method 'sned')
 *       --> chat.lua:42 in on_message (connection 17 from 127.0.0.1:51512, version 7)
 *        41 |     local reply = format(message)
 *        42 |     conn:sned(reply)
 *           |
 *       help: a connection has 'send'; did you mean that?
 *     stack traceback: ...
 *
 * What:   that block in a text log, one record with the same facts otherwise. The same error
 *         again within ten seconds is counted, not told.
 * Thread: the vm's. Raises: what takes a lua_State may, on memory; it is called protected. */
#ifndef NEAP_SCRIPT_FAULT_H
#define NEAP_SCRIPT_FAULT_H

#include <lua.h>

struct call;
struct source;
struct vm;

/* The raised table at the top: as one text, to be freed. For a quiet call the whole block, else
 * the message alone. NULL: no memory. */
char *fault_take(lua_State *L, struct call *call);

/* Tells the log of the raised table at the top, which stays. `what` raised it. */
void fault_tell(lua_State *L, struct call *call, const char *what);

/* Tells the log of an error that left no more than a message. */
void fault_tell_bare(struct call *call, const char *message);

/* Tells what was only counted so far, and stops counting. */
void fault_close(struct vm *vm);

/* The block for an error that has no more than Lua's own "file:line: message" text (a syntax
 * error, a wrong option), to be freed. NULL: no memory. */
char *fault_text(const struct source *source, const char *message);

#endif
