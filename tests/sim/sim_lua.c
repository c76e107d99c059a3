/* tests/sim/sim_lua.c - the table `sim` of actor.lua.
 *
 *     sim.below(n)                     a number from 0 to n - 1
 *     sim.calm(), sim.flag(name)       what kind of seed this is
 *     sim.saw(hook, conn[, bytes])     the first thing a hook says
 *     sim.kept()                       on_error is about to say "keep"
 *     sim.begin(conn, method, ...)     a method is about to be called with these arguments
 *     sim.target(conn)                 the same handle
 *     sim.done(...)                    what the method returned
 *     sim.cancelled(conn, name, was)   what conn:cancel returned
 *     sim.forget()                     it raised
 *     sim.disturb(conn)                something is done to it out of turn
 *     sim.fail(text)
 *
 * None of these allocates: when memory fails, it fails in what is tested. */
#include <errno.h>
#include <string.h>

#include <lauxlib.h>

#include "script/framing.h"
#include "script/version.h"
#include "script/vm.h"
#include "sim.h"

#define HANDLE_TAG (UINT64_C(1) << 63)

static struct sim *sim_of_state(lua_State *L)
{
    return vm_of(L)->host.owner;
}

static uint64_t slot_at(lua_State *L, int index)
{
    uint64_t bits = (uint64_t)(uintptr_t)lua_touserdata(L, index);
    SIM_CHECK(lua_type(L, index) == LUA_TLIGHTUSERDATA && (bits & HANDLE_TAG),
              "not a handle: %s", luaL_typename(L, index));
    return bits & ~HANDLE_TAG;
}

static int l_below(lua_State *L)
{
    struct sim *sim = sim_of_state(L);
    lua_pushinteger(L, (lua_Integer)dice_below(&sim->dice, (size_t)lua_tointeger(L, 1)));
    return 1;
}

static int l_calm(lua_State *L)
{
    lua_pushboolean(L, sim_of_state(L)->calm);
    return 1;
}

static int l_saw(lua_State *L)
{
    struct sim *sim = sim_of_state(L);
    struct running *running = &sim->running;
    const char *hook = lua_tostring(L, 1);
    SIM_CHECK(running->depth == 1, "the script saw %s, which nobody called", hook);
    SIM_CHECK(strcmp(hook, hook_rows[running->hook].name) == 0,
              "the script saw %s, called was %s", hook, hook_rows[running->hook].name);
    SIM_CHECK(slot_at(L, 2) == running->conn->slot, "%s with the handle of another", hook);
    running->seen_count++;
    size_t len = 0;
    const char *bytes = lua_tolstring(L, 3, &len);
    SIM_CHECK(!running->bytes ||
                  (bytes && len == running->len && memcmp(bytes, running->bytes, len) == 0),
              "%s saw %s, given was %s", hook, bytes ? trace_bytes(bytes, len) : "nothing",
              trace_bytes(running->bytes, running->len));
    return 0;
}

static int l_kept(lua_State *L)
{
    sim_of_state(L)->running.kept = true;
    return 0;
}

/* ---- Methods ---- */

static bool is_send(const char *op)
{
    return strcmp(op, "send") == 0 || strcmp(op, "write") == 0;
}

/* What is sent, or the name of a timer. */
static void note_payload(lua_State *L, struct attempt *attempt)
{
    buf_clear(&attempt->payload);
    bool after = strcmp(attempt->op, "after") == 0;
    attempt->seconds = after ? lua_tonumber(L, 3) : 0;
    for (int i = after ? 4 : 3; i <= lua_gettop(L) && (after || is_send(attempt->op));
         i++) {
        size_t len;
        const char *bytes = lua_tolstring(L, i, &len);
        SIM_CHECK(buf_append(&attempt->payload, bytes, len) == 0, "out of memory");
    }
}

static int l_begin(lua_State *L)
{
    struct sim *sim = sim_of_state(L);
    struct attempt *attempt = &sim->attempt;
    const char *op = lua_tostring(L, 2);
    attempt->active = true;
    attempt->slot = slot_at(L, 1);
    attempt->entry = sim_entry_of_slot(sim, attempt->slot);
    SIM_CHECK(attempt->entry, "a handle that was never given");
    strncpy(attempt->op, op, sizeof attempt->op - 1);
    struct conn *conn = conn_find(sim->reactor, attempt->slot);
    SIM_CHECK(!conn == (attempt->entry->stage == STAGE_GONE),
              "P9: the handle of %llu, stage %d, finds %s",
              (unsigned long long)attempt->entry->number, (int)attempt->entry->stage,
              conn ? "a connection" : "none");
    attempt->was_gone = !conn;
    attempt->was_closed = !conn || conn->state == CONN_CLOSED;
    attempt->was_open = conn && conn_is_open(conn);
    attempt->was_stream = attempt->entry->is_stream;
    attempt->pending_before = conn ? conn_pending(conn) : 0;
    attempt->queued = attempt->taken = attempt->disturbed = false;
    buf_clear(&attempt->wanted);
    note_payload(L, attempt);
    attempt->digest = attempt->was_gone ? check_digest(sim) : 0;
    return 0;
}

/* The handle itself, but in a seed that must fail: a live one in place of a stale one. */
static int l_target(lua_State *L)
{
    struct sim *sim = sim_of_state(L);
    uint32_t cursor = 0;
    const struct conn *other = slots_next(&sim->reactor->conns, &cursor);
    lua_settop(L, 1);
    if (sim->attempt.was_gone && other && sim_sabotages(sim, SABOTAGE_STALE_HANDLE))
        /* NOLINTNEXTLINE(performance-no-int-to-ptr): as lib_conn_push */
        lua_pushlightuserdata(L, (void *)(uintptr_t)(other->slot | HANDLE_TAG));
    return 1;
}

static void check_closed(lua_State *L, const struct attempt *attempt)
{
    const char *text = lua_tostring(L, 2), *code = lua_tostring(L, 3);
    SIM_CHECK(lua_isnil(L, 1) && text && code && strcmp(text, "closed") == 0 &&
                  strcmp(code, "ECLOSED") == 0,
              "P9: %s on a closed connection returned %s, %s, %s", attempt->op,
              luaL_typename(L, 1), text ? text : "-", code ? code : "-");
    SIM_CHECK(!attempt->taken, "P10: %s said closed and queued", attempt->op);
}

/* The bytes that a message must become. False: the framing cannot carry it. */
static bool expected_bytes(const struct attempt *attempt, const struct conn *conn,
                           struct buf *out)
{
    const char *bytes = buf_bytes(&attempt->payload);
    size_t len = buf_len(&attempt->payload);
    const struct codec *codec = attempt->was_stream ? &conn_framing(conn)->codec : NULL;
    bool custom = codec && framing_encode(conn) != LUA_NOREF;
    if (strcmp(attempt->op, "write") == 0 || !codec || (codec->send_raw && !custom)) {
        SIM_CHECK(buf_append(out, bytes, len) == 0, "out of memory");
        return true;
    }
    return frame_encode(codec, false, bytes ? bytes : "", len, out);
}

static void check_taken(lua_State *L, const struct attempt *attempt,
                        const struct conn *conn)
{
    struct buf expected = {0};
    bool carries = expected_bytes(attempt, conn, &expected);
    SIM_CHECK(attempt->taken, "P10: %s said true and queued nothing", attempt->op);
    SIM_CHECK(carries && buf_len(&expected) == buf_len(&attempt->wanted) &&
                  (buf_len(&expected) == 0 ||
                   memcmp(buf_bytes(&expected), buf_bytes(&attempt->wanted),
                          buf_len(&expected)) == 0),
              "P10: %s queued %s, not %s", attempt->op,
              trace_bytes(buf_bytes(&attempt->wanted), buf_len(&attempt->wanted)),
              trace_bytes(buf_bytes(&expected), buf_len(&expected)));
    buf_fini(&expected);
    const char *text = lua_tostring(L, 2);
    uint64_t high_water = conn_option(conn, offsetof(struct conn_options, high_water));
    bool full = text && strcmp(text, "full") == 0;
    SIM_CHECK(full == (conn_pending(conn) > high_water),
              "%s said %s with %zu bytes pending, high_water is %llu", attempt->op,
              text ? text : "true", conn_pending(conn), (unsigned long long)high_water);
}

/* Refused, and rightly? */
static void check_refused(lua_State *L, const struct attempt *attempt, struct conn *conn)
{
    const char *code = lua_tostring(L, 3);
    SIM_CHECK(lua_isnil(L, 1) && code, "%s returned %s", attempt->op, luaL_typename(L, 1));
    SIM_CHECK(!attempt->taken, "P10: %s said %s and queued", attempt->op, code);
    SIM_CHECK(conn, "the connection went while a script ran");
    if (strcmp(code, "ECLOSED") == 0) {
        SIM_CHECK(!conn_is_open(conn), "%s said closed; it is open", attempt->op);
    } else if (strcmp(code, "ENOBUFS") == 0) {
        size_t len = buf_len(&attempt->payload);
        uint64_t most = conn_option(conn, offsetof(struct conn_options, max_output));
        SIM_CHECK(attempt->pending_before + len + 64 > most,
                  "%s of %zu bytes said over limit with %zu pending, max_output is %llu",
                  attempt->op, len, attempt->pending_before, (unsigned long long)most);
        bool drops =
            conn_option(conn, offsetof(struct conn_options, overflow)) == OVERFLOW_DROP;
        SIM_CHECK((conn->state == CONN_OPEN) == drops, "over limit, and then state %d",
                  conn->state);
    } else {
        SIM_CHECK(strcmp(code, "EMSGSIZE") == 0, "%s said %s", attempt->op, code);
        struct buf expected = {0};
        SIM_CHECK(!expected_bytes(attempt, conn, &expected),
                  "%s refused %zu bytes, which the framing can carry", attempt->op,
                  buf_len(&attempt->payload));
        buf_fini(&expected);
    }
}

static void check_sent(lua_State *L, const struct attempt *attempt, struct conn *conn)
{
    if (!attempt->was_open)
        check_closed(L, attempt);
    else if (lua_toboolean(L, 1))
        check_taken(L, attempt, conn);
    else
        check_refused(L, attempt, conn);
}

static void check_end(lua_State *L, struct sim *sim, const struct conn *conn, bool said)
{
    const struct attempt *attempt = &sim->attempt;
    if (attempt->was_closed)
        check_closed(L, attempt);
    SIM_CHECK(said == !attempt->was_closed, "%s returned %d", attempt->op, said);
    SIM_CHECK(conn->state >= (attempt->op[0] == 'a' ? CONN_CLOSED : CONN_FLUSHING),
              "after %s in state %d", attempt->op, conn->state);
}

static void check_shutdown(const struct attempt *attempt, const struct conn *conn,
                           bool said)
{
    SIM_CHECK(said == (attempt->was_open && attempt->was_stream), "shutdown returned %d",
              said);
    SIM_CHECK(!said || conn->write_shut, "shutdown did nothing");
}

static void check_after(struct sim *sim, const struct conn *conn, bool said)
{
    struct attempt *attempt = &sim->attempt;
    const char *name = buf_bytes(&attempt->payload);
    SIM_CHECK(said == (conn->state == CONN_OPEN), "after returned %d in state %d", said,
              conn->state);
    if (said)
        clock_timer_set(sim, attempt->entry, attempt->seconds, name ? name : "",
                        buf_len(&attempt->payload));
}

/* Methods that do not send. */
static void check_other(lua_State *L, struct sim *sim, const struct conn *conn)
{
    const char *op = sim->attempt.op;
    bool said = lua_toboolean(L, 1);
    if (strcmp(op, "close") == 0 || strcmp(op, "abort") == 0)
        check_end(L, sim, conn, said);
    else if (strcmp(op, "shutdown") == 0)
        check_shutdown(&sim->attempt, conn, said);
    else if (strcmp(op, "after") == 0)
        check_after(sim, conn, said);
    else
        SIM_CHECK(said || lua_tostring(L, 3), "%s returned %s", op, luaL_typename(L, 1));
}

static int l_done(lua_State *L)
{
    struct sim *sim = sim_of_state(L);
    struct attempt *attempt = &sim->attempt;
    lua_settop(L, 3);
    SIM_CHECK(attempt->active, "done without begin");
    attempt->active = false;
    struct conn *conn = conn_find(sim->reactor, attempt->slot);
    trace("  %s %llu: %s %s", attempt->op, (unsigned long long)attempt->entry->number,
          lua_toboolean(L, 1) ? "true" : "no",
          lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "");
    /* A mark that is passed within a turn, and no more at its end, holds messages back as well. */
    attempt->entry->held_back |= lua_type(L, 2) == LUA_TSTRING || !is_send(attempt->op);
    if (attempt->disturbed)
        return 0;
    if (attempt->was_gone) {
        check_closed(L, attempt);
        SIM_CHECK(attempt->digest == check_digest(sim),
                  "P9: %s on a stale handle changed another connection", attempt->op);
    } else if (is_send(attempt->op)) {
        check_sent(L, attempt, conn);
    } else {
        check_other(L, sim, conn);
    }
    return 0;
}

/* conn:cancel(name) returned so. */
static int l_cancelled(lua_State *L)
{
    struct sim *sim = sim_of_state(L);
    struct entry *entry = sim_entry_of_slot(sim, slot_at(L, 1));
    const struct conn *conn = conn_find(sim->reactor, entry->slot);
    size_t len;
    const char *name = lua_tolstring(L, 2, &len);
    bool was_set = clock_timer_cancel(entry, name, len) && conn && conn->state == CONN_OPEN;
    SIM_CHECK(lua_toboolean(L, 3) == was_set || entry->meddled,
              "cancel of \"%s\" returned %d", name, lua_toboolean(L, 3));
    return 0;
}

static int l_forget(lua_State *L)
{
    sim_of_state(L)->attempt.active = false;
    return 0;
}

/* A field other than id of a connection that is gone. */
static int l_field(lua_State *L)
{
    struct sim *sim = sim_of_state(L);
    uint64_t slot = slot_at(L, 1);
    const struct entry *entry = sim_entry_of_slot(sim, slot);
    SIM_CHECK(entry && (lua_Integer)entry->number == lua_tointeger(L, 2), "conn.id is %lld",
              (long long)lua_tointeger(L, 2));
    SIM_CHECK(lua_isnil(L, 3) == (entry->stage == STAGE_GONE),
              "P9: in stage %d a field is %s", (int)entry->stage, luaL_typename(L, 3));
    return 0;
}

static int l_log(lua_State *L)
{
    trace("  log: %s", lua_tostring(L, 1));
    return 0;
}

static int l_disturb(lua_State *L)
{
    struct sim *sim = sim_of_state(L);
    sim->attempt.disturbed = true;
    struct entry *entry = sim_entry_of_slot(sim, slot_at(L, 1));
    const struct conn *conn = conn_find(sim->reactor, entry->slot);
    entry->meddled = true;
    if (conn && entry->is_stream && !entry->framing_meddled) {
        entry->framing_meddled = true;
        entry->codec_before = conn_framing(conn)->codec;
    }
    return 0;
}

static int l_fail(lua_State *L)
{
    sim_fail("the script: %s", lua_tostring(L, 1));
    return 0;
}

static int l_memory_fails(lua_State *L)
{
    lua_pushboolean(L, sim_of_state(L)->memory_fails);
    return 1;
}

static const luaL_Reg functions[] = {
    {"below", l_below},   {"calm", l_calm},
    {"saw", l_saw},       {"kept", l_kept},
    {"begin", l_begin},   {"target", l_target},
    {"done", l_done},     {"cancelled", l_cancelled},
    {"forget", l_forget}, {"disturb", l_disturb},
    {"fail", l_fail},     {"field", l_field},
    {"log", l_log},       {"memory_fails", l_memory_fails},
    {NULL, NULL},
};

static int open_functions(lua_State *L)
{
    luaL_newlib(L, functions);
    lua_setglobal(L, "sim");
    return 0;
}

void sim_lua_open(struct sim *sim)
{
    SIM_CHECK(vm_protect(sim->vm, open_functions, NULL) == LUA_OK, "out of memory");
}
