/* script/lib_conn.c - the methods and fields of a connection. */
#include "script/lib_conn.h"

#include <errno.h>
#include <string.h>

#include <lauxlib.h>

#include "base/macros.h"
#include "net/pipe.h"
#include "net/reactor.h"
#include "script/framing.h"
#include "script/lib_read.h"
#include "script/lib_task.h"
#include "script/options.h"
#include "script/sockopt.h"
#include "script/version.h"
#include "script/vm.h"

#define HANDLE_TAG (UINT64_C(1) << 63)

/* ---- Handles ---- */

void lib_conn_push(lua_State *L, const struct conn *conn)
{
    if (conn)
        /* NOLINTNEXTLINE(performance-no-int-to-ptr): a number in a pointer's clothes */
        lua_pushlightuserdata(L, (void *)(uintptr_t)(conn->slot | HANDLE_TAG));
    else
        lua_pushnil(L);
}

static bool is_handle(lua_State *L, int index, uint64_t *slot)
{
    if (lua_type(L, index) != LUA_TLIGHTUSERDATA)
        return false;
    uint64_t bits = (uint64_t)(uintptr_t)lua_touserdata(L, index);
    *slot = bits & ~HANDLE_TAG;
    return (bits & HANDLE_TAG) != 0;
}

struct conn *lib_conn_check(lua_State *L)
{
    uint64_t slot = 0;
    if (!is_handle(L, 1, &slot))
        luaL_error(L,
                   "bad self: a connection expected, got %s (call it as conn:method(...))",
                   luaL_typename(L, 1));
    struct reactor *reactor = vm_of(L)->host.reactor;
    return reactor ? conn_find(reactor, slot) : NULL;
}

static int push_failure(lua_State *L, int failed)
{
    lua_pushnil(L);
    switch (-failed) {
    case EPIPE:
        lua_pushliteral(L, "closed");
        lua_pushliteral(L, "ECLOSED");
        break;
    case ENOBUFS:
        lua_pushliteral(L, "over limit");
        lua_pushliteral(L, "ENOBUFS");
        break;
    case EMSGSIZE:
        lua_pushliteral(L, "the framing cannot carry a message of that length");
        lua_pushliteral(L, "EMSGSIZE");
        break;
    case EOPNOTSUPP:
        lua_pushliteral(L, "not for datagrams");
        lua_pushliteral(L, "EOPNOTSUPP");
        break;
    default:
        lua_pushstring(L, strerror(-failed));
        lua_pushstring(L, strerrorname_np(-failed));
    }
    return 3;
}

static int push_closed(lua_State *L)
{
    return push_failure(L, -EPIPE);
}

static int push_result(lua_State *L, int failed)
{
    if (failed < 0)
        return push_failure(L, failed);
    lua_pushboolean(L, 1);
    if (failed == 0)
        return 1;
    lua_pushliteral(L, "full");
    return 2;
}

/* ---- Sending ---- */

/* More pieces than a message holds become one, at the top. */
static int join(lua_State *L, int first, int last)
{
    luaL_Buffer all;
    luaL_buffinit(L, &all);
    for (int i = first; i <= last; i++) {
        size_t piece_len;
        const char *piece = luaL_checklstring(L, i, &piece_len);
        luaL_addlstring(&all, piece, piece_len);
    }
    luaL_pushresult(&all);
    return lua_gettop(L);
}

static void read_pieces(lua_State *L, int first, int last, struct conn_message *message)
{
    if (last - first >= CONN_PIECES_MAX)
        first = last = join(L, first, last);
    message->count = message->len = 0;
    for (int i = first; i <= last; i++) {
        size_t piece_len;
        const char *piece = luaL_checklstring(L, i, &piece_len);
        message->pieces[++message->count] = (struct iovec){(void *)piece, piece_len};
        message->len += piece_len;
    }
}

/* framing = { "custom", decode, encode = fn }: one message as one string, given to fn. */
static void encode(lua_State *L, int function, int first, int last)
{
    lua_settop(L, last);
    lua_concat(L, last - first + 1);
    lua_tostring(L, -1); /* a lone number is still one */
    lua_rawgeti(L, LUA_REGISTRYINDEX, function);
    lua_insert(L, -2);
    lua_call(L, 1, 1);
    if (lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "the framing's encode must return a string, not a %s",
                   luaL_typename(L, -1));
}

bool lib_conn_encodes(const struct conn *conn)
{
    return conn_is_stream(conn) && framing_encode(conn) != LUA_NOREF;
}

int lib_conn_send(lua_State *L, struct conn *conn, int first, int last)
{
    struct conn_message message;
    if (!lib_conn_encodes(conn)) {
        read_pieces(L, first, last, &message);
        return conn_send(conn, &message);
    }
    uint64_t slot = conn->slot;
    encode(L, framing_encode(conn), first, last);
    if (!conn_find(vm_of(L)->host.reactor, slot))
        return -EPIPE; /* the encoder is a script too */
    read_pieces(L, first, first, &message);
    return conn_write(conn, &message);
}

static int l_conn_send(lua_State *L)
{
    struct conn *conn = lib_conn_check(L);
    luaL_checkany(L, 2);
    return conn ? push_result(L, lib_conn_send(L, conn, 2, lua_gettop(L))) : push_closed(L);
}

static int l_conn_write(lua_State *L)
{
    struct conn *conn = lib_conn_check(L);
    luaL_checkany(L, 2);
    struct conn_message message;
    read_pieces(L, 2, lua_gettop(L), &message);
    return conn ? push_result(L, conn_write(conn, &message)) : push_closed(L);
}

/* ---- Ending ---- */

static int l_conn_close(lua_State *L)
{
    struct conn *conn = lib_conn_check(L);
    const char *detail = luaL_optstring(L, 2, NULL);
    if (!conn || conn->state == CONN_CLOSED)
        return push_closed(L);
    conn_close(conn, REASON_CLOSED, detail);
    return push_result(L, 0);
}

static int l_conn_abort(lua_State *L)
{
    struct conn *conn = lib_conn_check(L);
    const char *detail = luaL_optstring(L, 2, NULL);
    if (!conn || conn->state == CONN_CLOSED)
        return push_closed(L);
    conn_abort(conn, REASON_CLOSED, detail);
    return push_result(L, 0);
}

/* local c <close> = ... calls it with the handle and an error, if any. */
static int l_conn_at_close(lua_State *L)
{
    uint64_t slot;
    struct reactor *reactor = vm_of(L)->host.reactor;
    struct conn *conn = is_handle(L, 1, &slot) && reactor ? conn_find(reactor, slot) : NULL;
    if (conn)
        conn_close(conn, REASON_CLOSED, NULL);
    return 0;
}

static int l_conn_shutdown(lua_State *L)
{
    struct conn *conn = lib_conn_check(L);
    if (conn && conn->pipe)
        return luaL_error(L, "conn:shutdown: this connection is piped, and ends with the "
                             "input of the other one");
    return push_result(L, conn ? conn_shutdown(conn) : -EPIPE);
}

/* ---- Piping ---- */

static int l_conn_pipe(lua_State *L)
{
    struct conn *conn = lib_conn_check(L);
    uint64_t slot = 0;
    luaL_argcheck(L, is_handle(L, 2, &slot), 2, "a connection expected");
    struct conn *other = conn ? conn_find(conn->reactor, slot) : NULL;
    luaL_argcheck(L, !conn || conn != other, 2, "another connection expected");
    int failed = conn && other ? pipe_join(conn, other) : -EPIPE;
    if (failed == -EBUSY)
        return luaL_error(L, "conn:pipe: one of the two is piped, or read, already");
    return push_result(L, failed);
}

/* ---- Holding back, timers ---- */

static int l_conn_pause(lua_State *L)
{
    struct conn *conn = lib_conn_check(L);
    if (!conn)
        return push_closed(L);
    conn_pause(conn);
    return push_result(L, 0);
}

static int l_conn_resume(lua_State *L)
{
    struct conn *conn = lib_conn_check(L);
    if (!conn)
        return push_closed(L);
    conn_resume(conn);
    return push_result(L, 0);
}

static int l_conn_after(lua_State *L)
{
    struct conn *conn = lib_conn_check(L);
    lua_Number seconds = luaL_checknumber(L, 2);
    size_t len;
    const char *name = luaL_checklstring(L, 3, &len);
    luaL_argcheck(L, seconds >= 0 && seconds < 1e9, 2, "seconds from 0 to 1e9 expected");
    luaL_argcheck(L, len <= 255, 3, "a name of at most 255 bytes expected");
    if (!conn)
        return push_closed(L);
    loop_update_now(conn->reactor->loop);
    return push_result(L, conn_after(conn, (uint64_t)(seconds * 1e3), name, len));
}

static int l_conn_cancel(lua_State *L)
{
    struct conn *conn = lib_conn_check(L);
    size_t len;
    const char *name = luaL_checklstring(L, 2, &len);
    if (!conn)
        return push_closed(L);
    lua_pushboolean(L, conn_cancel(conn, name, len));
    return 1;
}

/* ---- Asking and setting ---- */

static int l_conn_pending(lua_State *L)
{
    struct conn *conn = lib_conn_check(L);
    lua_pushinteger(L, conn ? (lua_Integer)conn_pending(conn) : 0);
    return 1;
}

static int l_conn_is_open(lua_State *L)
{
    struct conn *conn = lib_conn_check(L);
    lua_pushboolean(L, conn && conn_is_open(conn));
    return 1;
}

static const struct option *check_option(lua_State *L)
{
    const char *name = luaL_checkstring(L, 2);
    const struct option *option = option_find(name, 1U << OPTION_CONN);
    if (!option)
        luaL_error(L, "unknown option '%s' of a connection", name);
    return option;
}

static int set_framing(lua_State *L, struct conn *conn)
{
    struct framing *framing = framing_read(L, 3);
    if (!framing)
        return luaL_argerror(L, 3, lua_tostring(L, -1));
    int failed = conn ? conn_set_framing(conn, framing) : -EPIPE;
    if (failed)
        framing_unref(framing);
    return push_result(L, failed);
}

static int l_conn_set(lua_State *L)
{
    struct conn *conn = lib_conn_check(L);
    const char *name = luaL_checkstring(L, 2);
    luaL_checkany(L, 3);
    if (strcmp(name, "framing") == 0)
        return set_framing(L, conn);
    const struct option *option = check_option(L);
    uint64_t value;
    const char *why = option_read(L, 3, option, &value);
    if (why)
        return luaL_argerror(L, 3, why);
    return push_result(L, conn ? conn_set_option(conn, option->offset, value) : -EPIPE);
}

static int l_conn_get(lua_State *L)
{
    struct conn *conn = lib_conn_check(L);
    const char *name = luaL_checkstring(L, 2);
    if (strcmp(name, "framing") == 0) {
        if (!conn || !conn_is_stream(conn))
            return push_failure(L, conn ? -EOPNOTSUPP : -EPIPE);
        lua_pushstring(L, conn_framing(conn)->codec.ops->name);
        return 1;
    }
    const struct option *option = check_option(L);
    if (!conn)
        return push_closed(L);
    option_push(L, option, conn_option(conn, option->offset));
    return 1;
}

static int l_conn_setsockopt(lua_State *L)
{
    struct conn *conn = lib_conn_check(L);
    struct sockopt_value value;
    int level = sockopt_check_level(L, 2), name = sockopt_check_name(L, 3);
    sockopt_check_value(L, 4, &value);
    if (!conn)
        return push_closed(L);
    return push_result(L,
                       conn_set_socket_option(conn, level, name, value.bytes, value.len));
}

static int l_conn_getsockopt(lua_State *L)
{
    struct conn *conn = lib_conn_check(L);
    int level = sockopt_check_level(L, 2), name = sockopt_check_name(L, 3);
    char value[256];
    socklen_t len = sizeof value;
    int failed = conn ? conn_get_socket_option(conn, level, name, value, &len) : -EPIPE;
    if (failed)
        return push_failure(L, failed);
    sockopt_push(L, value, len);
    return 1;
}

/* ---- Fields ---- */

enum field {
    FIELD_ID = 1,
    FIELD_PEER,
    FIELD_HOST,
    FIELD_PORT,
    FIELD_LOCAL_ADDRESS,
    FIELD_TRANSPORT,
    FIELD_SERVICE,
    FIELD_VERSION,
    FIELD_RECEIVED,
    FIELD_SENT,
    FIELD_DATA,
};

static int push_data(lua_State *L, struct conn *conn)
{
    if (conn->data_ref) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, conn->data_ref);
        return 1;
    }
    lua_newtable(L);
    lua_pushvalue(L, -1);
    conn->data_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 1;
}

static int push_address(lua_State *L, struct conn *conn, enum field field)
{
    struct endpoint at;
    char text[ADDR_TEXT_MAX], host[ADDR_HOST_MAX];
    uint16_t port;
    if (field == FIELD_LOCAL_ADDRESS)
        conn_local(conn, &at);
    else
        conn_peer(conn, &at);
    if (field == FIELD_LOCAL_ADDRESS || field == FIELD_PEER) {
        endpoint_format(&at, text);
        lua_pushstring(L, text);
        return 1;
    }
    endpoint_split(&at, host, &port);
    if (field == FIELD_HOST)
        lua_pushstring(L, host);
    else
        lua_pushinteger(L, port);
    return 1;
}

static int push_field(lua_State *L, struct conn *conn, enum field field)
{
    switch (field) {
    case FIELD_ID:
        break; /* answered without a connection */
    case FIELD_PEER:
    case FIELD_HOST:
    case FIELD_PORT:
    case FIELD_LOCAL_ADDRESS:
        return push_address(L, conn, field);
    case FIELD_TRANSPORT:
        lua_pushstring(L, transport_names[conn->transport]);
        return 1;
    case FIELD_SERVICE:
        if (!*conn->service->name)
            return 0; /* opened from here for none */
        lua_pushstring(L, conn->service->name);
        return 1;
    case FIELD_VERSION:
        lua_pushinteger(L, conn->version);
        return 1;
    case FIELD_RECEIVED:
        lua_pushinteger(L, (lua_Integer)conn->received);
        return 1;
    case FIELD_SENT:
        lua_pushinteger(L, (lua_Integer)conn->sent);
        return 1;
    case FIELD_DATA:
        return push_data(L, conn);
    }
    return 0;
}

/* Upvalue 1: names -> methods, or numbers of fields. */
static int l_conn_index(lua_State *L)
{
    uint64_t slot;
    if (!is_handle(L, 1, &slot))
        return luaL_error(L, "attempt to index a light userdata that is no connection");
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNUMBER)
        return 1; /* a method, or nil */
    enum field field = (enum field)lua_tointeger(L, -1);
    if (field == FIELD_ID) {
        lua_pushinteger(L, (lua_Integer)slots_generation(slot));
        return 1;
    }
    struct reactor *reactor = vm_of(L)->host.reactor;
    struct conn *conn = reactor ? conn_find(reactor, slot) : NULL;
    return conn ? push_field(L, conn, field) : 0;
}

static int l_conn_newindex(lua_State *L)
{
    struct conn *conn = lib_conn_check(L);
    const char *key = luaL_tolstring(L, 2, NULL);
    if (strcmp(key, "data") != 0)
        return luaL_error(
            L, "a connection has no field '%s' to write: keep it in conn.data", key);
    luaL_checktype(L, 3, LUA_TTABLE);
    if (!conn)
        return 0;
    lua_pushvalue(L, 3);
    if (conn->data_ref)
        lua_rawseti(L, LUA_REGISTRYINDEX, conn->data_ref);
    else
        conn->data_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static int l_conn_tostring(lua_State *L)
{
    uint64_t slot;
    if (is_handle(L, 1, &slot))
        lua_pushfstring(L, "connection %I", (lua_Integer)slots_generation(slot));
    else
        lua_pushfstring(L, "light userdata: %p", lua_touserdata(L, 1));
    return 1;
}

void lib_conn_forget(lua_State *L, struct conn *conn)
{
    if (!conn->data_ref)
        return;
    luaL_unref(L, LUA_REGISTRYINDEX, conn->data_ref);
    conn->data_ref = 0;
}

static const luaL_Reg methods[] = {
    {"send", l_conn_send},
    {"write", l_conn_write},
    {"close", l_conn_close},
    {"abort", l_conn_abort},
    {"shutdown", l_conn_shutdown},
    {"pause", l_conn_pause},
    {"resume", l_conn_resume},
    {"after", l_conn_after},
    {"cancel", l_conn_cancel},
    {"spawn", l_conn_spawn},
    {"read", l_conn_read},
    {"messages", l_conn_messages},
    {"skip", l_conn_skip},
    {"flush", l_conn_flush},
    {"pipe", l_conn_pipe},
    {"pending", l_conn_pending},
    {"is_open", l_conn_is_open},
    {"set", l_conn_set},
    {"get", l_conn_get},
    {"setsockopt", l_conn_setsockopt},
    {"getsockopt", l_conn_getsockopt},
};

static const struct {
    const char *name;
    enum field field;
} fields[] = {
    {"id", FIELD_ID},
    {"peer", FIELD_PEER},
    {"host", FIELD_HOST},
    {"port", FIELD_PORT},
    {"local_address", FIELD_LOCAL_ADDRESS},
    {"transport", FIELD_TRANSPORT},
    {"service", FIELD_SERVICE},
    {"version", FIELD_VERSION},
    {"received", FIELD_RECEIVED},
    {"sent", FIELD_SENT},
    {"data", FIELD_DATA},
};

const char *const *lib_conn_names(size_t *count)
{
    static _Thread_local const char *names[ARRAY_LEN(methods) + ARRAY_LEN(fields)];
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        names[i] = methods[i].name;
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        names[ARRAY_LEN(methods) + i] = fields[i].name;
    *count = ARRAY_LEN(names);
    return names;
}

static const luaL_Reg metamethods[] = {
    {"__newindex", l_conn_newindex},
    {"__tostring", l_conn_tostring},
    {"__close", l_conn_at_close},
};

void lib_conn_open(lua_State *L)
{
    lua_pushlightuserdata(L, NULL);
    lua_newtable(L);
    lua_newtable(L);
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        lua_pushcfunction(L, methods[i].func);
        lua_setfield(L, -2, methods[i].name);
    }
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        lua_pushinteger(L, fields[i].field);
        lua_setfield(L, -2, fields[i].name);
    }
    lua_pushcclosure(L, l_conn_index, 1);
    lua_setfield(L, -2, "__index");
    for (size_t i = 0; i < ARRAY_LEN(metamethods); i++) {
        lua_pushcfunction(L, metamethods[i].func);
        lua_setfield(L, -2, metamethods[i].name);
    }
    lua_pushliteral(L, "connection");
    lua_setfield(L, -2, "__name");
    lua_pushliteral(L, "a connection's methods cannot be changed");
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
}
