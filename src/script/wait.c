/* script/wait.c - the yield, and who may end it. */
#include "script/wait.h"

#include <stdio.h>

#include <lauxlib.h>

#include "net/reactor.h"
#include "script/lib_conn.h"
#include "script/run.h"
#include "script/version.h"
#include "script/vm.h"

/* Kicked, idle, reset. What the script itself has closed is its own affair, and at a shutdown
 * hooks have until drain_timeout. */
static bool is_closing(const struct conn *conn)
{
    bool may_go_on = conn->reason == REASON_CLOSED || conn->reason == REASON_SHUTDOWN;
    return conn->state == CONN_CLOSED ||
           ((conn->ending || conn->state != CONN_OPEN) && !may_go_on);
}

struct run *wait_run(lua_State *L)
{
    return vm_of(L)->call->run;
}

bool wait_may_begin(lua_State *L, const char *what)
{
    const struct vm *vm = vm_of(L);
    const struct call *call = vm->call;
    if (!call)
        return luaL_error(L, "%s cannot wait here", what);
    if (call->cancelled)
        return false;
    if (!call->done || call->outer)
        return luaL_error(L, "%s cannot wait in %s", what, call->what);
    if (vm->blocked || !lua_isyieldable(L))
        return luaL_error(L,
                          "%s cannot wait in a function that C code calls (of string.gsub, "
                          "table.sort, load, require, __tostring, __gc), here in %s",
                          what, call->what);
    return !call->conn || !is_closing(call->conn);
}

struct conn *wait_target(const struct run *run)
{
    return run->wait.target == SLOTS_NONE
               ? NULL
               : conn_find(run->vm->host.reactor, run->wait.target);
}

/* Nobody is to come back to it. */
static void leave(struct run *run)
{
    wheel_stop(&run->vm->host.reactor->wheel, &run->wait.timer);
    list_remove(&run->wait.post.node);
    list_remove(&run->wait.node);
    struct conn *target = wait_target(run);
    if (target && target->reader == run)
        conn_set_reader(target, NULL);
    if (target && target->flusher == run)
        conn_set_flusher(target, NULL);
}

static void go_on(struct run *run, enum wait_end end)
{
    leave(run);
    run->wait.end = end;
    call_resume(run);
}

void wait_cancel(struct run *run)
{
    leave(run);
    if (run->wait.abandon)
        run->wait.abandon(run);
    call_cancel(run);
}

static bool is_replaced(const struct run *run)
{
    const struct call *call = run->call;
    return run->wait.renews && call->conn && service_of(call->conn) != call->service;
}

static bool is_idle(const struct run *run)
{
    const struct conn *target = run->wait.reads ? wait_target(run) : NULL;
    return target && target->idle_due;
}

static void end_idle(struct run *run)
{
    struct conn *target = wait_target(run);
    target->idle_due = false;
    target->active_ms = reactor_now_ms(target->reactor);
    go_on(run, WAIT_IDLE);
}

static bool is_over(struct run *run)
{
    if (!run->wait.is_over)
        return false;
    run->wait.looking = true;
    bool over = run->wait.is_over(run);
    run->wait.looking = false;
    return over;
}

/* True: it went on. */
static bool look(struct run *run)
{
    struct conn *conn = run->call->conn;
    if (conn && is_closing(conn)) {
        go_on(run, WAIT_CLOSED);
    } else if (is_replaced(run)) {
        run->call->renewed = true;
        wait_cancel(run);
    } else if (is_idle(run)) {
        end_idle(run);
    } else if (is_over(run)) {
        go_on(run, WAIT_READY);
    } else if (run->wait.timed_out) {
        go_on(run, WAIT_DUE);
    } else {
        return false;
    }
    return true;
}

bool wait_look(struct conn *conn)
{
    return look(conn->waiter);
}

static void on_posted(struct post *post)
{
    (void)look(container_of(post, struct run, wait.post));
}

void wait_wake(struct run *run)
{
    struct reactor *reactor = run->vm->host.reactor;
    if (run->call->conn)
        reactor_make_ready(reactor, run->call->conn); /* whose turn it goes on in */
    else
        reactor_post(reactor, &run->wait.post);
}

static void on_timeout(struct wheel_timer *timer)
{
    struct run *run = container_of(timer, struct run, wait.timer);
    run->wait.timed_out = true;
    wait_wake(run);
}

void wait_wake_watchers(struct conn *conn)
{
    if (conn->reader && conn->reader != conn->waiter)
        wait_wake(conn->reader);
    if (conn->flusher && conn->flusher != conn->waiter)
        wait_wake(conn->flusher);
}

/* The innermost line of the script; false if there is none. */
static bool find_place(lua_State *L, char *text, size_t size)
{
    lua_Debug at;
    for (int level = 0; lua_getstack(L, level, &at); level++) {
        if (!lua_getinfo(L, "Sl", &at) || at.currentline <= 0)
            continue;
        snprintf(text, size, "%s:%d", at.short_src, at.currentline);
        return true;
    }
    return false;
}

void wait_each(struct vm *vm, void (*see)(void *owner, unsigned version, const char *place),
               void *owner)
{
    LIST_FOREACH (&vm->waits, node) {
        const struct run *run = container_of(node, const struct run, wait.node);
        char place[LUA_IDSIZE + 16];
        if (!find_place(run->wait.L, place, sizeof place) &&
            !find_place(run->L, place, sizeof place))
            snprintf(place, sizeof place, "%s", run->call->what);
        see(owner, run->call->version->number, place);
    }
}

void wait_renew_all(struct vm *vm)
{
    LIST_FOREACH (&vm->waits, node) {
        struct run *run = container_of(node, struct run, wait.node);
        if (run->wait.renews)
            reactor_make_ready(vm->host.reactor, run->call->conn);
    }
}

void wait_drop_prepared(struct run *run)
{
    if (!run->wait.prepared)
        return;
    run->wait.prepared = false;
    if (run->wait.abandon)
        run->wait.abandon(run);
}

struct run *wait_prepare(lua_State *L, uint64_t timeout_ms, bool (*over)(struct run *run))
{
    struct vm *vm = vm_of(L);
    struct run *run = vm->call->run;
    struct wait *wait = &run->wait;
    wait_drop_prepared(run);
    wait->prepared = true;
    wait->L = L;
    wait->is_over = over;
    wait->abandon = NULL;
    wait->target = SLOTS_NONE;
    wait->subject = NULL;
    wait->timed_out = false;
    wait->renews = wait->reads = wait->flushes = false;
    wait->timeout_ms = timeout_ms;
    wheel_timer_init(&wait->timer, on_timeout);
    wait->post.run = on_posted;
    vm->wait_begun = true;
    return run;
}

void wait_enter(struct run *run)
{
    struct reactor *reactor = run->vm->host.reactor;
    run->wait.prepared = false;
    if (run->wait.timeout_ms != WAIT_FOR_EVER) {
        loop_update_now(reactor->loop);
        wheel_start(&reactor->wheel, &run->wait.timer,
                    reactor_now_ms(reactor) + run->wait.timeout_ms);
    }
    list_append(&run->vm->waits, &run->wait.node);
    struct conn *target = wait_target(run);
    if (target && run->wait.reads)
        conn_set_reader(target, run);
    if (target && run->wait.flushes)
        conn_set_flusher(target, run);
}

void wait_wake_all(struct vm *vm, const void *subject)
{
    LIST_FOREACH (&vm->waits, node) {
        struct run *run = container_of(node, struct run, wait.node);
        if (run->wait.subject == subject)
            wait_wake(run);
    }
}

void wait_wake_version(struct version *version)
{
    LIST_FOREACH (&version->vm->waits, node) {
        struct run *run = container_of(node, struct run, wait.node);
        if (run->call->version == version)
            wait_wake(run);
    }
}

static struct run *find_own(struct version *version)
{
    LIST_FOREACH (&version->vm->waits, node) {
        struct run *run = container_of(node, struct run, wait.node);
        const struct call *call = run->call;
        if (call->version == version && !call->conn && !call->outlives)
            return run;
    }
    return NULL;
}

void wait_end_all(struct version *version)
{
    struct run *run;
    while ((run = find_own(version))) /* ending one may end others */
        wait_cancel(run);
}

uint64_t wait_check_timeout(lua_State *L, int index)
{
    if (lua_isnoneornil(L, index))
        return WAIT_FOR_EVER;
    lua_Number seconds = luaL_checknumber(L, index);
    luaL_argcheck(L, seconds < 1e9, index, "seconds up to 1e9 expected");
    return seconds > 0 ? (uint64_t)(seconds * 1e3) : 0;
}

/* ---- neap.sleep ---- */

int wait_push_closed(lua_State *L)
{
    const struct call *call = vm_of(L)->call;
    if (call && call->conn && is_closing(call->conn)) /* and not another that is gone */
        call->run->failure = "closed";
    lua_pushnil(L);
    lua_pushliteral(L, "closed");
    lua_pushliteral(L, "ECLOSED");
    return 3;
}

static int has_slept(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    if (wait_run(L)->wait.end == WAIT_CLOSED)
        return wait_push_closed(L);
    lua_pushboolean(L, 1);
    return 1;
}

int l_sleep(lua_State *L)
{
    lua_Number seconds = luaL_checknumber(L, 1);
    luaL_argcheck(L, seconds >= 0 && seconds < 1e9, 1, "seconds from 0 to 1e9 expected");
    if (!wait_may_begin(L, "neap.sleep"))
        return wait_push_closed(L);
    (void)wait_prepare(L, (uint64_t)(seconds * 1e3), NULL);
    return lua_yieldk(L, 0, 0, has_slept);
}
