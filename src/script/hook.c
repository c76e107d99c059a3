/* script/hook.c - each hook: what it is given, what its result means. */
#include "script/hook.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "net/reactor.h"
#include "script/bytes.h"
#include "script/call.h"
#include "script/children.h"
#include "script/lib_conn.h"
#include "script/run.h"
#include "script/services.h"
#include "script/version.h"
#include "script/vm.h"
#include "script/wait.h"

const struct hook_row hook_rows[ON_COUNT] = {
    [ON_START] = {"on_start", true, false, 0},
    [ON_STOP] = {"on_stop", true, false, 0},
    [ON_LOG] = {"on_log", true, false, 0},
    [ON_ERROR] = {"on_error", true, true, 0},
    [ON_ACCEPT] = {"on_accept", false, true, 0},
    [ON_CONNECT] = {"on_connect", false, true, HOOK_CONNECT},
    [ON_MESSAGE] = {"on_message", false, true, HOOK_MESSAGE},
    [ON_SESSION] = {"on_session", false, true, HOOK_SESSION},
    [ON_EOF] = {"on_eof", false, true, HOOK_EOF},
    [ON_IDLE] = {"on_idle", false, true, HOOK_IDLE},
    [ON_TIMER] = {"on_timer", false, true, 0},
    [ON_DRAIN] = {"on_drain", false, true, HOOK_DRAIN},
    [ON_CLOSING] = {"on_closing", false, true, HOOK_CLOSING},
    [ON_DISCONNECT] = {"on_disconnect", false, true, 0},
};

/* ---- Arguments ---- */

static int push_conn(lua_State *L, struct call *call)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, call->function);
    lib_conn_push(L, call->conn);
    return 1;
}

static int push_conn_bytes(lua_State *L, struct call *call)
{
    push_conn(L, call);
    lua_pushlstring(L, call->bytes, call->len);
    return 2;
}

static int push_message(lua_State *L, struct call *call)
{
    push_conn(L, call);
    bytes_push(L, call->conn, call->bytes, call->len);
    return 2;
}

static int push_conn_number(lua_State *L, struct call *call)
{
    push_conn(L, call);
    lua_pushnumber(L, call->number);
    return 2;
}

/* conn, reason, detail */
static int push_conn_reason(lua_State *L, struct call *call)
{
    push_conn(L, call);
    lua_pushstring(L, conn_reason_names[(int)call->number]);
    lua_pushstring(L, call->bytes); /* NULL is nil */
    return 3;
}

static int push_text(lua_State *L, struct call *call)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, call->function);
    lua_pushstring(L, call->bytes);
    return 1;
}

/* ---- Results ---- */

/* With the call at 1 and the string at 2; returns what sending came to. */
static int l_send_reply(lua_State *L)
{
    const struct call *call = lua_touserdata(L, 1);
    lua_pushinteger(L, lib_conn_send(L, call->conn, 2, 2));
    return 1;
}

/* The string at CALL_RESULT. A framing's encode is a script: its errors are the hook's. */
static const char *send_reply(lua_State *L, struct call *call, int *sent)
{
    if (!lib_conn_encodes(call->conn)) {
        size_t len;
        const char *reply = lua_tolstring(L, CALL_RESULT, &len);
        *sent = conn_send_one(call->conn, reply, len);
        return NULL;
    }
    lua_settop(L, CALL_RESULT);
    lua_pushcfunction(L, l_send_reply);
    lua_pushlightuserdata(L, call);
    lua_rotate(L, CALL_RESULT, 2);
    if (lua_pcall(L, 2, 1, CALL_HANDLER) != LUA_OK)
        return call_raised;
    *sent = (int)lua_tointeger(L, -1);
    return NULL;
}

/* A returned string is sent; nil, true and false say nothing. */
static const char *take_reply(lua_State *L, struct call *call)
{
    const char *wrong;
    int sent;
    switch (lua_type(L, CALL_RESULT)) {
    case LUA_TNONE:
    case LUA_TNIL:
    case LUA_TBOOLEAN:
        return NULL;
    case LUA_TSTRING:
        wrong = send_reply(L, call, &sent);
        if (wrong)
            return wrong;
        if (sent == -EMSGSIZE)
            return "returned a string of a length that the framing cannot carry";
        return NULL; /* what else can be wrong has its own counter and reason */
    default:
        return lua_pushfstring(L,
                               "returned a %s; a hook returns a string to send, or nothing",
                               luaL_typename(L, CALL_RESULT));
    }
}

static const char *take_keep(lua_State *L, struct call *call)
{
    if (lua_type(L, CALL_RESULT) == LUA_TSTRING)
        call->answer = strcmp(lua_tostring(L, CALL_RESULT), "keep") == 0;
    return NULL;
}

static const char *take_accept(lua_State *L, struct call *call)
{
    bool refused =
        lua_type(L, CALL_RESULT) == LUA_TBOOLEAN && !lua_toboolean(L, CALL_RESULT);
    *(bool *)call->result = !refused;
    return NULL;
}

/* ---- Calling ---- */

/* An error concerns this connection alone: it is closed, unless on_error keeps it. */
static void hook_done(struct call *call)
{
    bool ends = call->failed && !call->keep;
    if (ends && (call->reason == REASON_EOF || call->reason == REASON_CLOSED))
        conn_close(call->conn, call->reason, NULL);
    else if (ends && call->reason)
        conn_end(call->conn, call->reason, "conn:read");
    else if (ends)
        conn_end(call->conn, REASON_ERROR, call->error);
    free(call->error);
}

static void idle_done(struct call *call)
{
    if (!call->failed || call->keep)
        conn_answer_idle(call->conn, call->answer);
    hook_done(call);
}

/* It has waited: who called it has gone on without closing. */
static void closing_done(struct call *call)
{
    enum conn_reason reason = call->conn->reason;
    hook_done(call);
    conn_close(call->conn, reason, NULL);
}

static void run(struct call *call, enum hook hook)
{
    struct script_service *service = service_of(call->conn);
    call->function = service->hooks[hook];
    if (call->function == LUA_NOREF)
        return;
    call->vm = service->vm;
    call->what = hook_rows[hook].name;
    call->service = service;
    if (!call->done)
        call->done = hook_done;
    if (call_run(call) != CALL_WAITS)
        call->done(call);
}

static void on_connect(struct conn *conn)
{
    run(&(struct call){.conn = conn, .push = push_conn, .take = take_reply}, ON_CONNECT);
}

static bool next_message(struct call *call)
{
    return conn_next_message(call->conn, &call->bytes, &call->len);
}

static void on_message(struct conn *conn, const char *bytes, size_t len)
{
    run(&(struct call){.conn = conn,
                       .push = push_message,
                       .take = take_reply,
                       .next = next_message,
                       .bytes = bytes,
                       .len = len},
        ON_MESSAGE);
}

static int push_session(lua_State *L, struct call *call)
{
    push_conn(L, call);
    lua_pushboolean(L, call->answer);
    return 2;
}

/* One that made room for its successor is followed by it; else the end of the session is that of
 * the connection. */
static void session_done(struct call *call)
{
    struct conn *conn = call->conn;
    if (call->renewed) {
        free(call->error);
        return;
    }
    call->keep = false;
    hook_done(call);
    if (!conn->ending && !conn->pipe)
        conn_close(conn, conn->eof ? REASON_EOF : REASON_CLOSED, NULL);
}

static void on_session(struct conn *conn, bool resumed)
{
    run(
        &(struct call){
            .conn = conn, .push = push_session, .done = session_done, .answer = resumed},
        ON_SESSION);
}

static void on_eof(struct conn *conn, const char *rest, size_t len)
{
    run(&(struct call){.conn = conn,
                       .push = push_conn_bytes,
                       .take = take_reply,
                       .bytes = len ? rest : "",
                       .len = len},
        ON_EOF);
}

static void on_idle(struct conn *conn, double seconds)
{
    run(&(struct call){.conn = conn,
                       .push = push_conn_number,
                       .take = take_keep,
                       .done = idle_done,
                       .number = seconds},
        ON_IDLE);
}

static void on_timer(struct conn *conn, const char *name, size_t len)
{
    run(&(struct call){.conn = conn,
                       .push = push_conn_bytes,
                       .take = take_reply,
                       .bytes = name,
                       .len = len},
        ON_TIMER);
}

static void on_drain(struct conn *conn)
{
    run(&(struct call){.conn = conn, .push = push_conn}, ON_DRAIN);
}

static void on_closing(struct conn *conn, enum conn_reason reason, const char *detail)
{
    run(&(struct call){.conn = conn,
                       .push = push_conn_reason,
                       .take = take_reply,
                       .done = closing_done,
                       .number = reason,
                       .bytes = detail},
        ON_CLOSING);
}

static void on_disconnect(struct conn *conn, enum conn_reason reason, const char *detail)
{
    run(
        &(struct call){
            .conn = conn, .push = push_conn_reason, .number = reason, .bytes = detail},
        ON_DISCONNECT);
}

static void on_gone(struct conn *conn)
{
    children_forget(conn);
    lib_conn_forget(service_of(conn)->vm->L, conn);
    services_left(conn->service);
}

const struct conn_ops hook_ops = {
    .on_connect = on_connect,
    .on_message = on_message,
    .on_session = on_session,
    .on_eof = on_eof,
    .on_idle = on_idle,
    .on_timer = on_timer,
    .on_drain = on_drain,
    .on_closing = on_closing,
    .on_disconnect = on_disconnect,
    .on_wake = wait_look,
    .on_watched = wait_wake_watchers,
    .on_gone = on_gone,
};

/* ---- Hooks without a connection ---- */

static int push_start(lua_State *L, struct call *call)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, call->function);
    if (call->number > 0)
        lua_pushinteger(L, (lua_Integer)call->number);
    else
        lua_pushnil(L);
    return 1;
}

static void free_error(struct call *call)
{
    free(call->error);
}

bool hook_start(struct version *version, unsigned previous, char **error)
{
    *error = NULL;
    if (version->hooks[ON_START] == LUA_NOREF)
        return true;
    struct call call = {.vm = version->vm,
                        .version = version,
                        .what = "on_start",
                        .push = push_start,
                        .number = previous,
                        .function = version->hooks[ON_START],
                        .done = free_error,
                        .quiet = true};
    enum call_result result = call_run(&call);
    if (result == CALL_WAITS) /* what goes wrong from here on is for the log */
        call.run->call->quiet = false;
    else
        *error = call.error;
    return result != CALL_FAILED;
}

/* It has waited: a server that stops has waited for it. */
static void stop_done(struct call *call)
{
    call->vm->stopping--;
    children_close_conns(&call->version->children);
    free_error(call);
}

void hook_stop(struct version *version, const char *reason)
{
    if (version->hooks[ON_STOP] == LUA_NOREF)
        return;
    struct call call = {.vm = version->vm,
                        .version = version,
                        .what = "on_stop",
                        .push = push_text,
                        .function = version->hooks[ON_STOP],
                        .done = stop_done,
                        .outlives = true,
                        .bytes = reason};
    if (call_run(&call) == CALL_WAITS)
        version->vm->stopping++;
    else
        free_error(&call);
}

struct accept_peer {
    const struct endpoint *at;
    enum transport transport;
    const char *service;
};

static int push_accept(lua_State *L, struct call *call)
{
    const struct accept_peer *peer = call->argument;
    char host[ADDR_HOST_MAX], text[ADDR_TEXT_MAX];
    uint16_t port;
    endpoint_split(peer->at, host, &port);
    endpoint_format(peer->at, text);
    lua_rawgeti(L, LUA_REGISTRYINDEX, call->function);
    lua_createtable(L, 0, 5);
    lua_pushstring(L, host);
    lua_setfield(L, -2, "host");
    lua_pushinteger(L, port);
    lua_setfield(L, -2, "port");
    lua_pushstring(L, text);
    lua_setfield(L, -2, "address");
    lua_pushstring(L, transport_names[peer->transport]);
    lua_setfield(L, -2, "transport");
    lua_pushstring(L, peer->service);
    lua_setfield(L, -2, "service");
    return 1;
}

bool hook_accept(const struct service *live, const struct endpoint *peer,
                 enum transport transport)
{
    struct script_service *service = live->script;
    if (service->hooks[ON_ACCEPT] == LUA_NOREF)
        return true;
    bool accepted = false;
    struct accept_peer argument = {peer, transport, service->name};
    struct call call = {.vm = service->version->vm,
                        .what = "on_accept",
                        .service = service,
                        .push = push_accept,
                        .take = take_accept,
                        .argument = &argument,
                        .result = &accepted,
                        .function = service->hooks[ON_ACCEPT]};
    call_run(&call);
    free(call.error);
    return accepted;
}
