/* script/gc.c - a sentinel that tells the end of a collection, and the pause after it.
 *
 * The sentinel is garbage from the start: the collector finalizes it once in each cycle, and there
 * it leaves another one behind. Lua takes no orders from inside a finalizer, so that it only notes
 * what lives; who enters Lua next sets the pause. */
#include "script/gc.h"

#include "base/macros.h"
#include "script/vm.h"

#define SLACK_LEN ((size_t)1 << 20)
#define PAUSE_DEFAULT 200U /* percent of what lives: Lua's default */
#define PAUSE_MAX 1000U    /* Lua keeps a quarter of it in a byte */

static void leave_sentinel(lua_State *L)
{
    lua_newuserdatauv(L, 0, 0);
    lua_pushvalue(L, -2);
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
}

static int l_collected(lua_State *L)
{
    struct vm *vm = vm_of(L);
    vm->live = vm->alloc.used;
    vm->collected = true;
    lua_getmetatable(L, 1);
    leave_sentinel(L);
    return 0;
}

void gc_open(lua_State *L)
{
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, l_collected);
    lua_setfield(L, -2, "__gc");
    leave_sentinel(L);
    lua_pop(L, 1);
}

void gc_pace(struct vm *vm)
{
    size_t quarter = vm->alloc.limit / 4;
    size_t slack = quarter < SLACK_LEN ? quarter : SLACK_LEN;
    size_t pause = 100 + 100 * slack / (vm->live + 1);
    vm->collected = false;
    pause = pause < PAUSE_DEFAULT ? PAUSE_DEFAULT : pause < PAUSE_MAX ? pause : PAUSE_MAX;
    lua_gc(vm->L, LUA_GCINC, (int)pause, 0, 0);
}
