/* script/run.c - taking coroutines from a pool. */
#include "script/run.h"

#include <stdlib.h>

#include <lauxlib.h>

#include "base/macros.h"
#include "net/reactor.h"
#include "script/vm.h"

static int new_thread(lua_State *L)
{
    struct run *run = lua_touserdata(L, 1);
    run->L = lua_newthread(L);
    run->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static struct run *new_run(struct vm *vm)
{
    struct run *run = calloc(1, sizeof *run);
    if (!run)
        return NULL;
    run->vm = vm;
    list_init(&run->wait.node);
    list_init(&run->wait.post.node);
    if (vm_protect(vm, new_thread, run) == LUA_OK)
        return run;
    free(run);
    return NULL;
}

struct run *run_take(struct vm *vm)
{
    return vm->pool_count ? vm->pool[--vm->pool_count] : new_run(vm);
}

void run_give(struct run *run)
{
    struct vm *vm = run->vm;
    lua_settop(run->L, 0);
    if (vm->pool_count < VM_POOL_MAX)
        vm->pool[vm->pool_count++] = run;
    else
        run_drop(run);
}

void run_drop(struct run *run)
{
    luaL_unref(run->vm->L, LUA_REGISTRYINDEX, run->ref);
    free(run);
}

void run_free_all(struct vm *vm)
{
    while (vm->pool_count)
        free(vm->pool[--vm->pool_count]);
    LIST_FOREACH (&vm->waits, node) {
        struct run *run = container_of(node, struct run, wait.node);
        wheel_stop(&vm->host.reactor->wheel, &run->wait.timer);
        list_remove(&run->wait.node);
        list_remove(&run->wait.post.node);
        if (run->wait.abandon)
            run->wait.abandon(run);
        free(run->parked.error);
        free(run);
    }
}
