/* script/call.c - resume, pcall, traceback: in the one order that survives everything. */
#include "script/call.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/macros.h"
#include "net/conn.h"
#include "net/reactor.h"
#include "script/coroutine.h"
#include "script/fault.h"
#include "script/gc.h"
#include "script/lib_conn.h"
#include "script/run.h"
#include "script/version.h"
#include "script/wait.h"

/* More levels than this are a recursion: luaL_traceback counts them all, each time from the top,
 * which takes seconds where they are hundreds of thousands. */
#define TRACE_WHOLE 64
#define TRACE_SHOWN 12

static void add_level(lua_State *L, luaL_Buffer *text, lua_Debug *at)
{
    lua_getinfo(L, "Sln", at);
    if (at->currentline > 0)
        lua_pushfstring(L, "\n\t%s:%d: in ", at->short_src, at->currentline);
    else
        lua_pushfstring(L, "\n\t%s: in ", at->short_src);
    luaL_addvalue(text);
    if (*at->namewhat)
        lua_pushfstring(L, "%s '%s'", at->namewhat, at->name);
    else if (*at->what == 'm')
        lua_pushliteral(L, "main chunk");
    else if (*at->what != 'C')
        lua_pushfstring(L, "function <%s:%d>", at->short_src, at->linedefined);
    else
        lua_pushliteral(L, "?");
    luaL_addvalue(text);
}

static void push_traceback(lua_State *L)
{
    lua_Debug at;
    if (!lua_getstack(L, TRACE_WHOLE, &at)) {
        luaL_traceback(L, L, NULL, 1);
        return;
    }
    luaL_Buffer text;
    luaL_buffinit(L, &text);
    luaL_addstring(&text, "stack traceback:");
    for (int level = 1; level <= TRACE_SHOWN && lua_getstack(L, level, &at); level++)
        add_level(L, &text, &at);
    luaL_addstring(&text, "\n\t... (more levels)");
    luaL_pushresult(&text);
}

/* The message handler: turns any error value into a table { message, traceback, source, line }
 * while the stack that raised it still stands. */
static int on_raise(lua_State *L)
{
    /* luaL_traceback of 5.4.4 does not check the stack for its own slots. */
    luaL_checkstack(L, 20, NULL);
    if (!lua_isstring(L, 1) && luaL_callmeta(L, 1, "__tostring") == 0)
        lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, 1));
    if (!lua_tostring(L, -1)) /* makes a text of a number */
        lua_pushliteral(L, "(error object without a text)");
    lua_createtable(L, 0, 4);
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, "message");
    push_traceback(L);
    lua_setfield(L, -2, "traceback");
    lua_Debug at;
    for (int level = 1; lua_getstack(L, level, &at); level++) {
        lua_getinfo(L, "Sl", &at);
        if (at.currentline <= 0)
            continue;
        lua_pushstring(L, at.source);
        lua_setfield(L, -2, "source");
        lua_pushinteger(L, at.currentline);
        lua_setfield(L, -2, "line");
        break;
    }
    return 1;
}

const char call_raised[] = "raised";

/* The call's place changes when it waits, its run's does not. */
static struct call *call_of(lua_KContext context)
{
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): what a KContext is for */
    return ((struct run *)context)->call;
}

static void make_raised(lua_State *L)
{
    if (lua_type(L, -1) == LUA_TTABLE)
        return;
    /* No handler ran: out of memory, or an error in error handling. */
    const char *message =
        lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "unknown error";
    lua_createtable(L, 0, 4);
    lua_pushstring(L, message);
    lua_setfield(L, -2, "message");
}

static int finish_on_error(lua_State *L, int status, lua_KContext context)
{
    struct call *call = call_of(context);
    bool ok = status == LUA_OK || status == LUA_YIELD;
    if (ok && lua_type(L, -1) == LUA_TSTRING)
        call->keep = strcmp(lua_tostring(L, -1), "keep") == 0;
    if (!ok) {
        make_raised(L);
        fault_tell(L, call, "on_error");
    }
    return 0;
}

/* on_error(conn, { hook, message, traceback, version }), with the raised table at the top. */
static int run_on_error(lua_State *L, struct call *call, int function)
{
    int raised = lua_gettop(L);
    lua_pushstring(L, call->what);
    lua_setfield(L, raised, "hook");
    lua_pushinteger(L, call->version->number);
    lua_setfield(L, raised, "version");
    lua_pushcfunction(L, on_raise);
    lua_rawgeti(L, LUA_REGISTRYINDEX, function);
    lib_conn_push(L, call->conn);
    lua_pushvalue(L, raised);
    lua_KContext context = (lua_KContext)call->run;
    int status = lua_pcallk(L, 2, 1, raised + 1, context, finish_on_error);
    return finish_on_error(L, status, context);
}

static const struct {
    const char *failure;
    enum conn_reason reason;
} ends[] = {
    {"eof", REASON_EOF},           {"timeout", REASON_TIMEOUT},
    {"idle", REASON_IDLE},         {"closed", REASON_CLOSED},
    {"oversize", REASON_OVERSIZE}, {"malformed", REASON_MALFORMED},
};

/* "eof", or with the place that assert puts before it: "chat.lua:12: eof". */
static bool is_message(const char *message, const char *failure)
{
    size_t len = strlen(message), end = strlen(failure);
    if (len < end || strcmp(message + len - end, failure) != 0)
        return false;
    const char *place = message + len - end;
    return len == end || (len > end + 3 && place[-1] == ' ' && place[-2] == ':' &&
                          isdigit((unsigned char)place[-3]));
}

/* assert(conn:read()): what was raised is what the last read failed with. */
static bool is_failed_read(lua_State *L, struct call *call)
{
    const char *failure = call->run->failure;
    if (!failure || lua_type(L, -1) != LUA_TTABLE)
        return false;
    bool is = lua_getfield(L, -1, "message") == LUA_TSTRING &&
              is_message(lua_tostring(L, -1), failure);
    lua_pop(L, 1);
    for (size_t i = 0; i < ARRAY_LEN(ends) && is; i++)
        if (strcmp(ends[i].failure, failure) == 0)
            call->reason = ends[i].reason;
    return is;
}

/* With what was raised at the top. */
static int fail(lua_State *L, struct call *call)
{
    call->failed = true;
    if (is_failed_read(L, call))
        return 0;
    call->version->errors++;
    bool over = call->vm->budget.over;
    if (over && !call->outer)
        budget_renew(&call->vm->budget, L);
    make_raised(L);
    call->error = fault_take(L, call);
    if (call->quiet)
        return 0;
    fault_tell(L, call, call->what);
    int function = version_on_error(call->version, call->service);
    /* The time of an outer hook is up too: what it called has none left. */
    if (function != LUA_NOREF && !(over && call->outer))
        return run_on_error(L, call, function);
    return 0;
}

static int finish(lua_State *L, int status, lua_KContext context)
{
    struct call *call = call_of(context);
    if (status != LUA_OK && status != LUA_YIELD)
        return fail(L, call);
    const char *wrong = call->take ? call->take(L, call) : NULL;
    if (wrong == call_raised)
        return fail(L, call);
    if (wrong) {
        lua_pushfstring(L, "%s %s", call->what, wrong);
        return fail(L, call);
    }
    return 0;
}

/* Each call has a budget of its own, and one that took long is told of before the next. */
static bool is_repeated(lua_State *L, struct call *call)
{
    bool may = call->next && !call->failed && !call->outer;
    if (!may || !budget_next(&call->vm->budget) || !call->next(call))
        return false;
    call->version->calls++;
    lua_settop(L, CALL_HANDLER);
    return true;
}

static int trampoline(lua_State *L)
{
    struct run *run = lua_touserdata(L, 1);
    struct call *call = run->call;
    lua_KContext context = (lua_KContext)run;
    lua_pushcfunction(L, on_raise);
    do {
        int arguments = call->push(L, call);
        int status = lua_pcallk(L, arguments, LUA_MULTRET, CALL_HANDLER, context, finish);
        finish(L, status, context);
    } while (is_repeated(L, call));
    return 0;
}

/* The trampoline itself failed, for want of memory as a rule; nothing of Lua is safe to call but
 * reading the message. */
static void fail_outside(struct call *call, const char *message)
{
    call->failed = true;
    if (call->version)
        call->version->errors++;
    free(call->error);
    call->error = strdup(message);
    if (!call->quiet)
        fault_tell_bare(call, message);
}

/* Past 10 ms: nobody else was served meanwhile. */
static void tell_slow(const struct call *call)
{
    struct vm *vm = call->vm;
    /* A copy: on_log, which is asked about the notice, is a run of its own. */
    char place[BUDGET_PLACE_MAX];
    memcpy(place, vm->budget.place, sizeof place);
    if (vm->host.reactor && call->version && call->version->state != VERSION_LOADING)
        reactor_count(vm->host.reactor, COUNTER_HOOK_SLOW, 1, call->conn, place);
}

/* ---- Ways in ---- */

/* With the trampoline and its argument on the stack. */
static int begin(lua_State *L)
{
    int count;
    return lua_resume(L, NULL, 1, &count);
}

static int go_on(lua_State *L)
{
    int count;
    return lua_resume(L, NULL, 0, &count);
}

/* With the call at 1; what was raised is on its coroutine. */
static int l_tell_raised(lua_State *L)
{
    struct call *call = lua_touserdata(L, 1);
    lua_xmove(call->run->L, L, 1);
    make_raised(L);
    fault_tell(L, call, call->what);
    return 0;
}

/* Its <close> variables run, and those of the coroutines inside it that wait. Not LUA_OK in any
 * case, so that nobody takes it for returned. */
static int end_thread(lua_State *L)
{
    struct call *call = vm_of(L)->call;
    bool ok = coroutine_close_inside(L, call->run->wait.L);
    if (lua_resetthread(L) != LUA_OK)
        (void)vm_protect(call->vm, l_tell_raised, call);
    else if (!ok)
        fault_tell_bare(call, "an error in a <close> variable of a coroutine");
    return LUA_ERRRUN;
}

/* The budget is that of the outermost: what it calls in between is its own affair. */
static int enter(struct run *run, int (*way)(lua_State *L))
{
    struct vm *vm = run->vm;
    struct call *call = run->call;
    lua_State *outer = vm->budget.running;
    if (outer)
        vm->budget.running = run->L;
    else
        budget_enter(&vm->budget, run->L);
    vm->budget.unlimited = call->version && call->version->state == VERSION_LOADING;
    call->outer = vm->call;
    vm->call = call;
    int status = way(run->L);
    vm->call = call->outer;
    if (outer) {
        budget_return(&vm->budget, outer);
        return status;
    }
    budget_leave(&vm->budget, run->L);
    if (vm->host.reactor && budget_has_ticked(&vm->budget))
        vm->host.reactor->slow = true;
    if (vm->budget.place[0])
        tell_slow(call);
    return status;
}

struct version *call_version(const struct vm *vm)
{
    return vm->call ? vm->call->version : vm->version;
}

/* The caller goes on without it; its version stays as long as it does. */
static void park(struct run *run)
{
    run->vm->wait_begun = false;
    if (run->call != &run->parked) {
        run->parked = *run->call;
        run->call = &run->parked;
        run->call->version->waits++;
        if (run->call->conn)
            conn_set_waiter(run->call->conn, run);
    }
    wait_enter(run);
}

/* What came of entering it. */
static enum call_result leave(struct run *run, int status)
{
    struct vm *vm = run->vm;
    struct call *call = run->call;
    if (status == LUA_YIELD) {
        park(run);
        return CALL_WAITS;
    }
    wait_drop_prepared(run);
    if (status != LUA_OK) {
        bool has_text = lua_type(run->L, -1) == LUA_TSTRING;
        fail_outside(call, has_text ? lua_tostring(run->L, -1) : "unknown error");
    }
    if (vm->collected)
        gc_pace(vm);
    return call->failed ? CALL_FAILED : CALL_OK;
}

static void give_back(struct run *run, int status)
{
    if (status == LUA_OK)
        run_give(run);
    else
        run_drop(run);
}

enum call_result call_run(struct call *call)
{
    struct vm *vm = call->vm;
    if (!call->version)
        call->version = call->service ? call->service->version : vm->version;
    struct run *run = run_take(vm);
    if (!run) {
        fail_outside(call, "not enough memory");
        return CALL_FAILED;
    }
    call->run = run;
    run->call = call;
    run->failure = NULL;
    if (call->version)
        call->version->calls++;
    lua_pushcfunction(run->L, trampoline);
    lua_pushlightuserdata(run->L, run);
    int status = enter(run, begin);
    enum call_result result = leave(run, status);
    if (result != CALL_WAITS)
        give_back(run, status);
    return result;
}

/* A call that has waited is over; its coroutine is as `status` says. */
static void finish_parked(struct run *run, int status)
{
    struct call call = run->parked;
    give_back(run, status);
    if (call.conn)
        conn_set_waiter(call.conn, NULL);
    call.done(&call);
    version_unwait(call.version);
}

void call_resume(struct run *run)
{
    int status = enter(run, go_on);
    if (leave(run, status) != CALL_WAITS)
        finish_parked(run, status);
}

void call_cancel(struct run *run)
{
    run->call->failed = run->call->cancelled = true;
    finish_parked(run, enter(run, end_thread));
}
