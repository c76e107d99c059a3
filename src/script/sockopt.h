/* script/sockopt.h - socket options by the names of <sys/socket.h>, from a script.
 *
 * What:   conn:setsockopt("IPPROTO_TCP", "TCP_NODELAY", 1) is setsockopt(2) with those
 *         constants. Names that are not in the table may be given as numbers. Values: an
 *         integer or a boolean is an int, a string its bytes.
 * Raises: on an unknown name and a wrong type, as luaL_check functions do. */
#ifndef NEAP_SCRIPT_SOCKOPT_H
#define NEAP_SCRIPT_SOCKOPT_H

#include <sys/socket.h>

#include <lua.h>

struct sockopt_value {
    const void *bytes; /* into the struct, or a Lua string that stays on the stack */
    socklen_t len;
    int number;
};

/* Without raising: NULL, or what is wrong, at the top of the stack too. */
const char *sockopt_read_level(lua_State *L, int index, int *value);
const char *sockopt_read_name(lua_State *L, int index, int *value);

int sockopt_check_level(lua_State *L, int index);
int sockopt_check_name(lua_State *L, int index);
void sockopt_check_value(lua_State *L, int index, struct sockopt_value *value);

/* An int as a number, anything else as a string of bytes. */
void sockopt_push(lua_State *L, const void *bytes, socklen_t len);

#endif
