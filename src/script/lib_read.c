/* script/lib_read.c - reading and flushing in the middle of a hook. */
#include "script/lib_read.h"

#include <errno.h>
#include <string.h>

#include <lauxlib.h>

#include "net/reactor.h"
#include "script/bytes.h"
#include "script/framing.h"
#include "script/lib_conn.h"
#include "script/run.h"
#include "script/version.h"
#include "script/vm.h"
#include "script/wait.h"

static const char metatable[] = "neap.reading";

/* ---- What failed ---- */

/* nil, message, code. A hook that raises the message ends its connection for that reason. */
static int push_failure(lua_State *L, const char *message, const char *code)
{
    wait_run(L)->failure = message;
    lua_pushnil(L);
    lua_pushstring(L, message);
    lua_pushstring(L, code);
    return 3;
}

static int push_error(lua_State *L, int failed)
{
    switch (-failed) {
    case ENODATA:
        return push_failure(L, "eof", "EOF");
    case EMSGSIZE:
        return push_failure(L, "oversize", "EMSGSIZE");
    case EBADMSG:
        return push_failure(L, "malformed", "EBADMSG");
    case EOPNOTSUPP:
        return push_failure(L, "not for datagrams", "EOPNOTSUPP");
    default:
        return push_failure(L, "closed", "ECLOSED");
    }
}

static int push_end(lua_State *L, enum wait_end end)
{
    switch (end) {
    case WAIT_DUE:
        return push_failure(L, "timeout", "ETIMEDOUT");
    case WAIT_IDLE:
        return push_failure(L, "idle", "ETIMEDOUT");
    case WAIT_CLOSED:
    case WAIT_READY:
        break;
    }
    return push_failure(L, "closed", "ECLOSED");
}

/* ---- Arguments ---- */

/* The connection at 1, which must be the one whose hook runs; NULL: it is gone. */
static struct conn *check_own(lua_State *L, const char *what)
{
    struct conn *conn = lib_conn_check(L);
    const struct call *call = vm_of(L)->call;
    if (conn && (!call || !call->done || call->conn != conn))
        luaL_error(L, "%s reads in a hook of that connection only", what);
    return conn;
}

/* A framing that is only for this read; it stays on the stack as long as that waits. */
struct reading {
    struct codec count;      /* so many bytes */
    struct framing *framing; /* any other; NULL: count */
};

static int l_reading_gc(lua_State *L)
{
    struct reading *reading = luaL_checkudata(L, 1, metatable);
    framing_unref(reading->framing);
    reading->framing = NULL;
    return 0;
}

static struct reading *push_reading(lua_State *L)
{
    struct reading *reading = lua_newuserdatauv(L, sizeof *reading, 0);
    memset(reading, 0, sizeof *reading);
    luaL_setmetatable(L, metatable);
    return reading;
}

static void want_count(lua_State *L, int index, const struct conn *conn,
                       struct conn_want *want)
{
    lua_Integer count = luaL_checkinteger(L, index);
    const char *why;
    luaL_argcheck(L, count >= 1, index, "at least 1 byte expected");
    luaL_argcheck(L, (uint64_t)count <= conn->options->max_read, index,
                  "more bytes than max_read");
    struct reading *reading = push_reading(L);
    if (codec_init_fixed(&reading->count, (size_t)count, &why))
        luaL_argerror(L, index, why);
    *want = (struct conn_want){.codec = &reading->count, .max = (uint64_t)count};
}

static void want_framing(lua_State *L, int index, const struct conn *conn,
                         struct conn_want *want)
{
    struct reading *reading = push_reading(L);
    reading->framing = framing_read(L, index);
    if (!reading->framing)
        luaL_argerror(L, index, lua_tostring(L, -1));
    *want = (struct conn_want){.codec = &reading->framing->codec,
                               .max = conn->options->max_message};
}

/* nil: a message under the framing; a number: so many bytes; "all"; a framing. */
static void check_want(lua_State *L, int index, const struct conn *conn,
                       struct conn_want *want)
{
    *want = (struct conn_want){0};
    if (lua_isnoneornil(L, index))
        return;
    if (lua_type(L, index) == LUA_TNUMBER)
        want_count(L, index, conn, want);
    else if (lua_type(L, index) == LUA_TSTRING &&
             strcmp(lua_tostring(L, index), "all") == 0)
        *want = (struct conn_want){.all = true, .max = conn->options->max_message};
    else
        want_framing(L, index, conn, want);
}

/* ---- Reading ---- */

#define NOT_YET (-1)

/* How many results, or NOT_YET. */
static int attempt(lua_State *L, struct conn *conn, const struct conn_want *want)
{
    const char *bytes;
    size_t len;
    int found = conn_read(conn, want, &bytes, &len);
    if (found == 0)
        return NOT_YET;
    if (found < 0)
        return push_error(L, found);
    bytes_push(L, conn, len ? bytes : "", len);
    conn_take(conn);
    wait_run(L)->failure = NULL;
    return 1;
}

static bool is_readable(struct run *run)
{
    const char *bytes;
    size_t len;
    struct conn *conn = run->call->conn;
    return conn_read(conn, &run->wait.want, &bytes, &len) != 0;
}

static int go_on_reading(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    struct run *run = wait_run(L);
    struct conn *conn = run->call->conn;
    if (run->wait.end != WAIT_READY)
        return push_end(L, run->wait.end);
    int results = attempt(L, conn, &run->wait.want);
    return results == NOT_YET ? push_failure(L, "timeout", "ETIMEDOUT") : results;
}

/* conn, what, timeout at 1, 2, 3. */
static int read_message(lua_State *L, const char *what, bool renews)
{
    lua_settop(L, 3);
    struct conn *conn = check_own(L, what);
    uint64_t timeout_ms = wait_check_timeout(L, 3);
    if (!conn)
        return wait_push_closed(L);
    struct conn_want want;
    check_want(L, 2, conn, &want);
    struct run *run = wait_run(L);
    conn_begin_read(conn);
    bool replaced = renews && service_of(conn) != run->call->service;
    int results = replaced ? NOT_YET : attempt(L, conn, &want);
    if (results != NOT_YET)
        return results;
    if (timeout_ms == 0)
        return push_failure(L, "timeout", "ETIMEDOUT");
    if (!wait_may_begin(L, what))
        return push_failure(L, "closed", "ECLOSED");
    wait_prepare(L, replaced ? 0 : timeout_ms, is_readable);
    run->wait.reads = true;
    run->wait.want = want;
    run->wait.renews = renews;
    return lua_yieldk(L, 0, 0, go_on_reading);
}

int l_conn_read(lua_State *L)
{
    return read_message(L, "conn:read", false);
}

/* Upvalues: conn, what, timeout. */
static int l_next_message(lua_State *L)
{
    lua_settop(L, 0);
    for (int i = 1; i <= 3; i++)
        lua_pushvalue(L, lua_upvalueindex(i));
    const struct call *call = vm_of(L)->call;
    bool is_session = call && !call->failed && strcmp(call->what, "on_session") == 0;
    return read_message(L, "conn:messages", is_session);
}

int l_conn_messages(lua_State *L)
{
    lua_settop(L, 3);
    struct conn *conn = check_own(L, "conn:messages");
    wait_check_timeout(L, 3);
    struct conn_want want;
    if (conn) /* wrong arguments are told here and not in the loop */
        check_want(L, 2, conn, &want);
    lua_settop(L, 3);
    lua_pushcclosure(L, l_next_message, 3);
    return 1;
}

/* ---- Skipping ---- */

/* Passes over what is there of `left` bytes: how many are still left, or -errno. */
static lua_Integer pass_over(struct conn *conn, lua_Integer left)
{
    struct codec raw;
    codec_init_raw(&raw);
    while (left > 0) {
        const char *bytes;
        size_t len;
        struct conn_want want = {.codec = &raw, .max = (uint64_t)left};
        conn_begin_read(conn);
        int found = conn_read(conn, &want, &bytes, &len);
        if (found <= 0)
            return found ? found : left;
        conn_take(conn);
        left -= (lua_Integer)len;
    }
    return 0;
}

static int skip_some(lua_State *L, struct conn *conn, lua_Integer left);

static int go_on_skipping(lua_State *L, int status, lua_KContext left)
{
    (void)status;
    struct run *run = wait_run(L);
    if (run->wait.end != WAIT_READY)
        return push_end(L, run->wait.end);
    return skip_some(L, run->call->conn, left);
}

/* Anything that there is; nothing is taken. */
static bool has_input(struct run *run)
{
    struct codec raw;
    codec_init_raw(&raw);
    const char *bytes;
    size_t len;
    struct conn_want want = {.codec = &raw, .max = 1};
    conn_begin_read(run->call->conn);
    return conn_read(run->call->conn, &want, &bytes, &len) != 0;
}

/* The timeout is for each wait: for any progress. */
static int skip_some(lua_State *L, struct conn *conn, lua_Integer left)
{
    left = pass_over(conn, left);
    if (left < 0)
        return push_error(L, (int)left);
    if (left == 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    uint64_t timeout_ms = wait_check_timeout(L, 3);
    if (timeout_ms == 0)
        return push_failure(L, "timeout", "ETIMEDOUT");
    if (!wait_may_begin(L, "conn:skip"))
        return push_failure(L, "closed", "ECLOSED");
    wait_prepare(L, timeout_ms, has_input);
    wait_run(L)->wait.reads = true;
    return lua_yieldk(L, 0, left, go_on_skipping);
}

int l_conn_skip(lua_State *L)
{
    lua_settop(L, 3);
    struct conn *conn = check_own(L, "conn:skip");
    lua_Integer count = luaL_checkinteger(L, 2);
    luaL_argcheck(L, count >= 0, 2, "a count of bytes expected");
    return conn ? skip_some(L, conn, count) : wait_push_closed(L);
}

/* ---- Flushing ---- */

static bool is_flushed(struct run *run)
{
    return conn_pending(run->call->conn) == 0;
}

static int go_on_flushed(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    struct run *run = wait_run(L);
    if (run->wait.end != WAIT_READY)
        return push_end(L, run->wait.end);
    lua_pushboolean(L, 1);
    return 1;
}

int l_conn_flush(lua_State *L)
{
    lua_settop(L, 2);
    struct conn *conn = check_own(L, "conn:flush");
    uint64_t timeout_ms = wait_check_timeout(L, 2);
    if (!conn)
        return wait_push_closed(L);
    if (conn_pending(conn) == 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    if (timeout_ms == 0)
        return push_failure(L, "timeout", "ETIMEDOUT");
    if (!wait_may_begin(L, "conn:flush"))
        return push_failure(L, "closed", "ECLOSED");
    wait_prepare(L, timeout_ms, is_flushed);
    wait_run(L)->wait.flushes = true;
    return lua_yieldk(L, 0, 0, go_on_flushed);
}

void lib_read_open(lua_State *L)
{
    luaL_newmetatable(L, metatable);
    lua_pushcfunction(L, l_reading_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}
