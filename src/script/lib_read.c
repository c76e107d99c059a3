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

/* ---- What failed ---- */

/* nil, message, code. A hook that raises the message ends its own connection for that reason. */
static int push_failure(lua_State *L, const struct conn *conn, const char *message,
                        const char *code)
{
    struct run *run = wait_run(L);
    if (conn && conn == run->call->conn)
        run->failure = message;
    lua_pushnil(L);
    lua_pushstring(L, message);
    lua_pushstring(L, code);
    return 3;
}

static int push_error(lua_State *L, const struct conn *conn, int failed)
{
    switch (-failed) {
    case ENODATA:
        return push_failure(L, conn, "eof", "EOF");
    case EMSGSIZE:
        return push_failure(L, conn, "oversize", "EMSGSIZE");
    case EBADMSG:
        return push_failure(L, conn, "malformed", "EBADMSG");
    case EOPNOTSUPP:
        return push_failure(L, conn, "not for datagrams", "EOPNOTSUPP");
    default:
        return push_failure(L, conn, "closed", "ECLOSED");
    }
}

static int push_timeout(lua_State *L, const struct conn *conn)
{
    return push_failure(L, conn, "timeout", "ETIMEDOUT");
}

/* How a wait for something of that connection ended, but for WAIT_READY. NULL: it is gone. */
static int push_end(lua_State *L, const struct conn *conn, enum wait_end end)
{
    if (conn && end == WAIT_DUE)
        return push_timeout(L, conn);
    if (conn && end == WAIT_IDLE)
        return push_failure(L, conn, "idle", "ETIMEDOUT");
    return wait_push_closed(L);
}

/* ---- Arguments ---- */

/* The connection at 1; NULL: it is gone. */
static struct conn *check_conn(lua_State *L, const char *what)
{
    struct conn *conn = lib_conn_check(L);
    const struct call *call = vm_of(L)->call;
    if (!call || !call->done)
        luaL_error(L, "%s cannot wait in %s", what, call ? call->what : "this place");
    return conn;
}

static struct conn *check_reader(lua_State *L, const char *what)
{
    struct conn *conn = check_conn(L, what);
    if (conn && conn->reader)
        luaL_error(L, "%s: another hook or task reads from this connection already", what);
    if (conn && conn->pipe)
        luaL_error(L, "%s: this connection is piped: what comes goes to the other one",
                   what);
    return conn;
}

/* The codec stays on the stack as long as the read waits. */
static void want_count(lua_State *L, int index, const struct conn *conn,
                       struct conn_want *want)
{
    lua_Integer count = luaL_checkinteger(L, index);
    const char *why;
    luaL_argcheck(L, count >= 1, index, "at least 1 byte expected");
    luaL_argcheck(L, (uint64_t)count <= conn->options->max_read, index,
                  "more bytes than max_read");
    struct codec *codec = lua_newuserdatauv(L, sizeof *codec, 0);
    memset(codec, 0, sizeof *codec);
    if (codec_init_fixed(codec, (size_t)count, &why))
        luaL_argerror(L, index, why);
    *want = (struct conn_want){.codec = codec, .max = (uint64_t)count};
}

static void want_framing(lua_State *L, int index, const struct conn *conn,
                         struct conn_want *want)
{
    lua_pushvalue(L, index);
    const struct framing *framing = framing_push_kept(L, index);
    *want = (struct conn_want){.codec = &framing->codec, .max = conn->options->max_message};
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
        return push_error(L, conn, found);
    bytes_push(L, conn, len ? bytes : "", len);
    conn_take(conn);
    wait_run(L)->failure = NULL;
    return 1;
}

static bool is_readable(struct run *run)
{
    const char *bytes;
    size_t len;
    struct conn *conn = wait_target(run);
    return !conn || conn_read(conn, &run->wait.want, &bytes, &len) != 0;
}

static int wait_to_read(lua_State *L, struct conn *conn, const struct conn_want *want,
                        uint64_t timeout_ms, bool renews);

static int go_on_reading(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    struct run *run = wait_run(L);
    struct conn *conn = wait_target(run);
    if (!conn || run->wait.end != WAIT_READY)
        return push_end(L, conn, run->wait.end);
    bool renews = run->wait.renews;
    int results = attempt(L, conn, &run->wait.want);
    if (results != NOT_YET) /* else a framing of the script has thought better of it */
        return results;
    return run->wait.timeout_ms == WAIT_FOR_EVER
               ? wait_to_read(L, conn, &run->wait.want, WAIT_FOR_EVER, renews)
               : push_timeout(L, conn);
}

static struct run *prepare(lua_State *L, const struct conn *conn, uint64_t timeout_ms,
                           bool (*is_over)(struct run *run))
{
    struct run *run = wait_prepare(L, timeout_ms, is_over);
    run->wait.target = conn->slot;
    return run;
}

static int wait_to_read(lua_State *L, struct conn *conn, const struct conn_want *want,
                        uint64_t timeout_ms, bool renews)
{
    struct conn_want kept = *want; /* it may be the run's own */
    struct run *run = prepare(L, conn, timeout_ms, is_readable);
    run->wait.reads = true;
    run->wait.want = kept;
    run->wait.renews = renews;
    return lua_yieldk(L, 0, 0, go_on_reading);
}

/* conn, what, timeout at 1, 2, 3. */
static int read_message(lua_State *L, const char *what, bool renews)
{
    lua_settop(L, 3);
    struct conn *conn = check_reader(L, what);
    uint64_t timeout_ms = wait_check_timeout(L, 3);
    if (!conn)
        return wait_push_closed(L);
    struct conn_want want;
    check_want(L, 2, conn, &want);
    conn_begin_read(conn);
    bool replaced = renews && service_of(conn) != wait_run(L)->call->service;
    int results = replaced ? NOT_YET : attempt(L, conn, &want);
    if (results != NOT_YET)
        return results;
    if (timeout_ms == 0)
        return push_timeout(L, conn);
    if (!wait_may_begin(L, what))
        return wait_push_closed(L);
    return wait_to_read(L, conn, &want, replaced ? 0 : timeout_ms, renews);
}

int l_conn_read(lua_State *L)
{
    return read_message(L, "conn:read", false);
}

/* The session changes version at the messages of its own connection. */
static bool may_renew(lua_State *L)
{
    const struct call *call = vm_of(L)->call;
    return call && call->conn && call->conn == lib_conn_check(L) && !call->failed &&
           strcmp(call->what, "on_session") == 0;
}

/* Upvalues: conn, what, timeout. */
static int l_next_message(lua_State *L)
{
    lua_settop(L, 0);
    for (int i = 1; i <= 3; i++)
        lua_pushvalue(L, lua_upvalueindex(i));
    return read_message(L, "conn:messages", may_renew(L));
}

int l_conn_messages(lua_State *L)
{
    lua_settop(L, 3);
    struct conn *conn = check_reader(L, "conn:messages");
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
    struct conn *conn = wait_target(run);
    if (!conn || run->wait.end != WAIT_READY)
        return push_end(L, conn, run->wait.end);
    return skip_some(L, conn, left);
}

/* Anything that there is; nothing is taken. */
static bool has_input(struct run *run)
{
    struct codec raw;
    codec_init_raw(&raw);
    const char *bytes;
    size_t len;
    struct conn_want want = {.codec = &raw, .max = 1};
    struct conn *conn = wait_target(run);
    if (!conn)
        return true;
    conn_begin_read(conn);
    return conn_read(conn, &want, &bytes, &len) != 0;
}

/* The timeout is for each wait: for any progress. */
static int skip_some(lua_State *L, struct conn *conn, lua_Integer left)
{
    left = pass_over(conn, left);
    if (left < 0)
        return push_error(L, conn, (int)left);
    if (left == 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    uint64_t timeout_ms = wait_check_timeout(L, 3);
    if (timeout_ms == 0)
        return push_timeout(L, conn);
    if (!wait_may_begin(L, "conn:skip"))
        return wait_push_closed(L);
    prepare(L, conn, timeout_ms, has_input)->wait.reads = true;
    return lua_yieldk(L, 0, left, go_on_skipping);
}

int l_conn_skip(lua_State *L)
{
    lua_settop(L, 3);
    struct conn *conn = check_reader(L, "conn:skip");
    lua_Integer count = luaL_checkinteger(L, 2);
    luaL_argcheck(L, count >= 0, 2, "a count of bytes expected");
    return conn ? skip_some(L, conn, count) : wait_push_closed(L);
}

/* ---- Flushing ---- */

static bool is_flushed(struct run *run)
{
    const struct conn *conn = wait_target(run);
    return !conn || conn->state == CONN_CLOSED || conn_pending(conn) == 0;
}

static int go_on_flushed(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    struct run *run = wait_run(L);
    struct conn *conn = wait_target(run);
    if (!conn || run->wait.end != WAIT_READY)
        return push_end(L, conn, run->wait.end);
    if (conn->state == CONN_CLOSED)
        return push_error(L, conn, -EPIPE);
    lua_pushboolean(L, 1);
    return 1;
}

int l_conn_flush(lua_State *L)
{
    lua_settop(L, 2);
    struct conn *conn = check_conn(L, "conn:flush");
    uint64_t timeout_ms = wait_check_timeout(L, 2);
    if (!conn)
        return wait_push_closed(L);
    if (conn->state == CONN_CLOSED)
        return push_error(L, conn, -EPIPE);
    if (conn->flusher)
        return luaL_error(
            L, "conn:flush: another hook or task waits for the same connection already");
    if (conn_pending(conn) == 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    if (timeout_ms == 0)
        return push_timeout(L, conn);
    if (!wait_may_begin(L, "conn:flush"))
        return wait_push_closed(L);
    prepare(L, conn, timeout_ms, is_flushed)->wait.flushes = true;
    return lua_yieldk(L, 0, 0, go_on_flushed);
}
