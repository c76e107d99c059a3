/* script/sockopt.c - the names, and reading them. */
#include "script/sockopt.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include <lauxlib.h>

#include "base/macros.h"
#include "base/text.h"

struct constant {
    const char *name;
    int value;
};

#define ROW(constant)                                                                      \
    {                                                                                      \
#constant, constant                                                                \
    }

static const struct constant levels[] = {
    ROW(SOL_SOCKET), ROW(IPPROTO_IP), ROW(IPPROTO_IPV6), ROW(IPPROTO_TCP), ROW(IPPROTO_UDP),
};

static const struct constant names[] = {
    ROW(SO_BROADCAST),      ROW(SO_BUSY_POLL),     ROW(SO_DONTROUTE),
    ROW(SO_ERROR),          ROW(SO_INCOMING_CPU),  ROW(SO_KEEPALIVE),
    ROW(SO_LINGER),         ROW(SO_MARK),          ROW(SO_OOBINLINE),
    ROW(SO_PRIORITY),       ROW(SO_RCVBUF),        ROW(SO_RCVLOWAT),
    ROW(SO_REUSEADDR),      ROW(SO_REUSEPORT),     ROW(SO_SNDBUF),
    ROW(SO_TYPE),           ROW(IP_FREEBIND),      ROW(IP_MTU),
    ROW(IP_MULTICAST_LOOP), ROW(IP_MULTICAST_TTL), ROW(IP_TOS),
    ROW(IP_TRANSPARENT),    ROW(IP_TTL),           ROW(IPV6_TCLASS),
    ROW(IPV6_UNICAST_HOPS), ROW(IPV6_V6ONLY),      ROW(TCP_CONGESTION),
    ROW(TCP_CORK),          ROW(TCP_DEFER_ACCEPT), ROW(TCP_FASTOPEN),
    ROW(TCP_INFO),          ROW(TCP_KEEPCNT),      ROW(TCP_KEEPIDLE),
    ROW(TCP_KEEPINTVL),     ROW(TCP_MAXSEG),       ROW(TCP_NODELAY),
    ROW(TCP_NOTSENT_LOWAT), ROW(TCP_QUICKACK),     ROW(TCP_SYNCNT),
    ROW(TCP_USER_TIMEOUT),  ROW(TCP_WINDOW_CLAMP),
};

/* NULL, or what is wrong, at the top of the stack too. */
static const char *read_constant(lua_State *L, int index, const struct constant *rows,
                                 size_t count, int *value)
{
    if (lua_isinteger(L, index)) {
        *value = (int)lua_tointeger(L, index);
        return NULL;
    }
    if (lua_type(L, index) != LUA_TSTRING)
        return lua_pushfstring(L, "a name or a number expected, not a %s",
                               luaL_typename(L, index));
    const char *word = lua_tostring(L, index);
    const char *known[ARRAY_LEN(names)];
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rows[i].name, word) == 0) {
            *value = rows[i].value;
            return NULL;
        }
        known[i] = rows[i].name;
    }
    const char *near = text_nearest(word, known, count);
    if (near)
        return lua_pushfstring(L, "unknown name '%s'; did you mean '%s'?", word, near);
    return lua_pushfstring(L, "unknown name '%s'; its number will do too", word);
}

const char *sockopt_read_level(lua_State *L, int index, int *value)
{
    return read_constant(L, index, levels, ARRAY_LEN(levels), value);
}

const char *sockopt_read_name(lua_State *L, int index, int *value)
{
    return read_constant(L, index, names, ARRAY_LEN(names), value);
}

int sockopt_check_level(lua_State *L, int index)
{
    int value = 0;
    const char *why = sockopt_read_level(L, index, &value);
    return why ? luaL_argerror(L, index, why) : value;
}

int sockopt_check_name(lua_State *L, int index)
{
    int value = 0;
    const char *why = sockopt_read_name(L, index, &value);
    return why ? luaL_argerror(L, index, why) : value;
}

void sockopt_check_value(lua_State *L, int index, struct sockopt_value *value)
{
    size_t len;
    switch (lua_type(L, index)) {
    case LUA_TBOOLEAN:
        value->number = lua_toboolean(L, index);
        break;
    case LUA_TSTRING:
        value->bytes = lua_tolstring(L, index, &len);
        value->len = (socklen_t)len;
        return;
    default:
        value->number = (int)luaL_checkinteger(L, index);
    }
    value->bytes = &value->number;
    value->len = sizeof value->number;
}

void sockopt_push(lua_State *L, const void *bytes, socklen_t len)
{
    int number;
    if (len != sizeof number) {
        lua_pushlstring(L, bytes, len);
        return;
    }
    memcpy(&number, bytes, sizeof number);
    lua_pushinteger(L, number);
}
