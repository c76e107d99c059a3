/* script/lib_task.c - tasks. */
#include "script/lib_task.h"

#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "net/reactor.h"
#include "script/children.h"
#include "script/lib_conn.h"
#include "script/run.h"
#include "script/version.h"
#include "script/vm.h"
#include "script/wait.h"

static const char metatable[] = "neap.task";

enum task_state { TASK_NEW, TASK_RUNS, TASK_OVER };

struct task {
    struct list node; /* in the children of its owner, until it is over */
    struct version *version;
    uint64_t slot; /* of its connection; SLOTS_NONE: the version's */
    struct wheel_timer start;
    enum task_state state;
    struct run *run; /* once it has waited */
    int ref;         /* keeps the userdata until it is over */
    bool cancelled;
    bool awaited; /* somebody may wait for it: else nobody is looked for */
    char *error;  /* what it raised */
};

static bool is_of_conn(const struct task *task)
{
    return task->slot != SLOTS_NONE;
}

/* A task of a connection holds its version until it runs. */
static void release(struct version *version, bool of_conn)
{
    if (of_conn)
        version_unwait(version);
}

/* ---- Its life ---- */

static void finish(struct task *task)
{
    struct vm *vm = task->version->vm;
    task->state = TASK_OVER;
    task->run = NULL;
    list_remove(&task->node);
    if (vm->host.reactor)
        wheel_stop(&vm->host.reactor->wheel, &task->start);
    if (task->awaited)
        wait_wake_all(vm, task);
    luaL_unref(vm->L, LUA_REGISTRYINDEX, task->ref); /* it may be collected from here on */
}

static int push_task(lua_State *L, struct call *call)
{
    const struct task *task = call->argument;
    lua_rawgeti(L, LUA_REGISTRYINDEX, task->ref);
    lua_getiuservalue(L, -1, 1);
    lua_remove(L, -2);
    int packed = lua_gettop(L);
    lua_getfield(L, packed, "n");
    int count = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    luaL_checkstack(L, count, NULL);
    for (int i = 1; i <= count; i++)
        lua_rawgeti(L, packed, i);
    lua_remove(L, packed);
    return count - 1;
}

/* Leaves what stands from `first` to the top, as a table with their number as n. */
static void pack(lua_State *L, int first)
{
    int count = lua_gettop(L) - first + 1;
    lua_createtable(L, count, 1);
    lua_insert(L, first);
    for (int i = count; i >= 1; i--)
        lua_rawseti(L, first, i);
    lua_pushinteger(L, count);
    lua_setfield(L, first, "n");
}

static const char *take_results(lua_State *L, struct call *call)
{
    const struct task *task = call->argument;
    pack(L, CALL_RESULT);
    lua_rawgeti(L, LUA_REGISTRYINDEX, task->ref);
    lua_insert(L, -2);
    lua_setiuservalue(L, -2, 2);
    return NULL;
}

static void task_done(struct call *call)
{
    struct task *task = (struct task *)call->argument;
    task->cancelled = call->cancelled;
    task->error = call->error;
    if (call->failed && !call->cancelled && !task->error)
        task->error = strdup("not enough memory");
    finish(task);
}

static void on_start(struct wheel_timer *timer)
{
    struct task *task = container_of(timer, struct task, start);
    struct call call = {.vm = task->version->vm,
                        .version = task->version,
                        .what = "task",
                        .push = push_task,
                        .take = take_results,
                        .done = task_done,
                        .outlives = is_of_conn(task),
                        .argument = task};
    task->state = TASK_RUNS;
    if (call_run(&call) == CALL_WAITS)
        task->run = call.run;
    else
        task_done(&call);
    release(call.version, call.outlives); /* one that waits holds it by itself */
}

static void start(struct task *task)
{
    struct reactor *reactor = task->version->vm->host.reactor;
    wheel_start(&reactor->wheel, &task->start, reactor_now_ms(reactor));
}

/* False: it is what runs. */
static bool end(struct task *task)
{
    if (task->state == TASK_NEW) {
        struct version *version = task->version;
        bool of_conn = is_of_conn(task);
        task->cancelled = true;
        finish(task);
        release(version, of_conn);
        return true;
    }
    if (!task->run || list_is_empty(&task->run->wait.node) || task->run->wait.looking)
        return false;
    wait_cancel(task->run);
    return true;
}

/* ---- spawn ---- */

/* The function and its arguments stand from `first` on. Pushes the task. */
static struct task *new_task(lua_State *L, int first, struct version *version)
{
    luaL_checktype(L, first, LUA_TFUNCTION);
    pack(L, first);
    struct task *task = lua_newuserdatauv(L, sizeof *task, 2);
    *task = (struct task){.version = version, .slot = SLOTS_NONE};
    list_init(&task->node);
    wheel_timer_init(&task->start, on_start);
    luaL_setmetatable(L, metatable);
    lua_pushvalue(L, first);
    lua_setiuservalue(L, -2, 1);
    lua_pushvalue(L, -1);
    task->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return task;
}

int l_spawn(lua_State *L)
{
    struct version *version = lua_touserdata(L, lua_upvalueindex(1));
    if (version->state == VERSION_RETIRED)
        return luaL_error(L,
                          "a task of version %d, which was replaced: its tasks have ended",
                          (int)version->number);
    struct task *task = new_task(L, 1, version);
    list_append(&version->children.tasks, &task->node);
    if (version->state == VERSION_SERVING)
        start(task);
    return 1;
}

int l_conn_spawn(lua_State *L)
{
    struct conn *conn = lib_conn_check(L);
    struct vm *vm = vm_of(L);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    if (!conn || conn->state == CONN_CLOSED)
        return wait_push_closed(L);
    struct children *children = children_of(conn);
    if (!children)
        return luaL_error(L, "not enough memory");
    struct task *task = new_task(L, 2, call_version(vm));
    task->slot = conn->slot;
    task->version->waits++; /* until release */
    list_append(&children->tasks, &task->node);
    start(task);
    return 1;
}

/* ---- A task's methods ---- */

static int push_outcome(lua_State *L, const struct task *task)
{
    if (!task->cancelled && !task->error) {
        lua_settop(L, 1);
        lua_getiuservalue(L, 1, 2);
        lua_getfield(L, 2, "n");
        int count = (int)lua_tointeger(L, -1);
        luaL_checkstack(L, count + 1, NULL);
        lua_pushboolean(L, 1);
        for (int i = 1; i <= count; i++)
            lua_rawgeti(L, 2, i);
        return count + 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, task->cancelled ? "cancelled" : task->error);
    lua_pushstring(L, task->cancelled ? "ECANCELED" : "ERAISED");
    return 3;
}

static bool is_over(struct run *run)
{
    const struct task *task = run->wait.subject;
    return task->state == TASK_OVER;
}

static int has_waited(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    const struct task *task = lua_touserdata(L, 1);
    if (task->state == TASK_OVER)
        return push_outcome(L, task);
    if (wait_run(L)->wait.end != WAIT_DUE)
        return wait_push_closed(L);
    lua_pushnil(L);
    lua_pushliteral(L, "timeout");
    lua_pushliteral(L, "ETIMEDOUT");
    return 3;
}

static int l_task_wait(lua_State *L)
{
    struct task *task = luaL_checkudata(L, 1, metatable);
    uint64_t timeout_ms = wait_check_timeout(L, 2);
    if (task->state == TASK_OVER)
        return push_outcome(L, task);
    const struct call *call = vm_of(L)->call;
    if (call && call->argument == task)
        return luaL_error(L, "a task cannot wait for itself");
    if (!wait_may_begin(L, "task:wait"))
        return wait_push_closed(L);
    task->awaited = true;
    wait_prepare(L, timeout_ms, is_over)->wait.subject = task;
    return lua_yieldk(L, 0, 0, has_waited);
}

static int l_task_cancel(lua_State *L)
{
    struct task *task = luaL_checkudata(L, 1, metatable);
    bool was_to_end = task->state != TASK_OVER;
    if (was_to_end && !end(task))
        return luaL_error(L, "a task that runs cannot be cancelled: it returns by itself");
    lua_pushboolean(L, was_to_end);
    return 1;
}

static int l_task_gc(lua_State *L)
{
    struct task *task = luaL_checkudata(L, 1, metatable);
    free(task->error);
    task->error = NULL;
    return 0;
}

void lib_task_open(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"wait", l_task_wait}, {"cancel", l_task_cancel}, {NULL, NULL}};
    luaL_newmetatable(L, metatable);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_task_gc);
    lua_setfield(L, -2, "__gc");
    lua_pushliteral(L, "a task's methods cannot be changed");
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

/* ---- Their owners ---- */

void lib_task_start_all(struct version *version)
{
    LIST_FOREACH (&version->children.tasks, node)
        start(container_of(node, struct task, node));
}

void lib_task_stop_all(struct version *version)
{
    LIST_FOREACH (&version->children.tasks, node) {
        struct task *task = container_of(node, struct task, node);
        if (task->state == TASK_NEW)
            (void)end(task); /* runs nothing */
    }
}

void lib_task_end_all(struct list *tasks)
{
    struct list *first;
    while ((first = list_first(tasks))) /* ending one may end others */
        if (!end(container_of(first, struct task, node)))
            list_remove(first);
}

bool lib_task_owner(const struct call *call, uint64_t *slot)
{
    if (call->push != push_task)
        return false;
    *slot = ((const struct task *)call->argument)->slot;
    return *slot != SLOTS_NONE;
}
