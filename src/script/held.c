/* script/held.c - walking conn.data. */
#include "script/held.h"

#include <string.h>

#include <lauxlib.h>

#include "net/conn.h"
#include "net/reactor.h"
#include "script/environment.h"
#include "script/vm.h"

/* Of one connection: a table in a table in conn.data, so many values in all. */
#define DEPTH_MAX 3
#define VALUES_MAX 200

struct look {
    struct vm *vm;
    struct held *held;
    size_t most;
    size_t values; /* still to be looked at, of this connection */
};

static void note(struct held *held, unsigned number)
{
    size_t i = 0;
    while (i < held->count && held->number[i] != number)
        i++;
    if (i == HELD_VERSIONS_MAX)
        return;
    if (i == held->count) {
        held->number[held->count++] = number;
        held->functions[i] = 0;
    }
    held->functions[i]++;
}

#define SEEN 2 /* stack index of a table: what was looked at already */

/* True: the value at the top was looked at before; it is noted. */
static bool was_seen(lua_State *L)
{
    lua_pushvalue(L, -1);
    bool seen = lua_rawget(L, SEEN) != LUA_TNIL;
    lua_pop(L, 1);
    if (seen)
        return true;
    lua_pushvalue(L, -1);
    lua_pushboolean(L, 1);
    lua_rawset(L, SEEN);
    return false;
}

/* The function at the top. */
static void look_at_function(lua_State *L, struct look *look)
{
    const char *name;
    for (int i = 1; (name = lua_getupvalue(L, -1, i)); i++) {
        unsigned number = strcmp(name, "_ENV") == 0 ? environment_version(L) : 0;
        lua_pop(L, 1);
        if (number)
            note(look->held, number);
    }
}

static void look_at_table(lua_State *L, struct look *look, int depth)
{
    luaL_checkstack(L, 8, NULL);
    for (lua_pushnil(L); look->values > 0 && lua_next(L, -2); lua_pop(L, 1)) {
        look->values--;
        bool is_function = lua_isfunction(L, -1) && !lua_iscfunction(L, -1);
        if ((!is_function && !lua_istable(L, -1)) || was_seen(L))
            continue;
        if (is_function)
            look_at_function(L, look);
        else if (depth < DEPTH_MAX)
            look_at_table(L, look, depth + 1);
    }
}

static int look_at_all(lua_State *L)
{
    struct look *look = lua_touserdata(L, 1);
    const struct reactor *reactor = look->vm->host.reactor;
    uint32_t cursor = 0;
    const struct conn *conn;
    lua_newtable(L);
    while (look->held->connections < look->most &&
           (conn = slots_next(&reactor->conns, &cursor))) {
        look->held->connections++;
        if (!conn->data_ref)
            continue;
        lua_settop(L, SEEN);
        look->values = VALUES_MAX;
        if (lua_rawgeti(L, LUA_REGISTRYINDEX, conn->data_ref) == LUA_TTABLE && !was_seen(L))
            look_at_table(L, look, 1);
    }
    return 0;
}

void held_look(struct vm *vm, size_t most, struct held *held)
{
    struct look look = {.vm = vm, .held = held, .most = most};
    *held = (struct held){0};
    if (vm->host.reactor)
        (void)vm_protect(vm, look_at_all, &look);
}

size_t held_of(const struct held *held, unsigned number)
{
    for (size_t i = 0; i < held->count; i++)
        if (held->number[i] == number)
            return held->functions[i];
    return 0;
}

size_t held_of_others(const struct held *held, unsigned number)
{
    size_t sum = 0;
    for (size_t i = 0; i < held->count; i++)
        if (held->number[i] != number)
            sum += held->functions[i];
    return sum;
}
