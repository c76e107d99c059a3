/* script/bytes.c - handing the input's memory over to Lua. */
#include "script/bytes.h"

#include <stdlib.h>

#include "net/conn.h"
#include "net/reactor.h"
#include "script/vm.h"

/* Shorter ones would leave too much of the memory unused, which nobody counts. */
#define GIVE_LEN ((size_t)REACTOR_INPUT_LEN * 3 / 4)

#define PROBE_LEN                                                                          \
    1000U /* a long string, and more than the allocator has size classes for */

struct probe {
    struct vm *vm;
    size_t lead; /* from the start of a string's block to its contents; 0: not found */
};

/* Lua puts the contents last in one block with the head; that is tried, not believed. */
static int l_probe(lua_State *L)
{
    struct probe *probe = lua_touserdata(L, 1);
    struct alloc *alloc = &probe->vm->alloc;
    static const char text[PROBE_LEN];
    size_t before = alloc->used;
    lua_pushlstring(L, text, sizeof text);
    size_t len = alloc->used - before;
    if (len <= sizeof text)
        return 0;
    char *memory = malloc(ALLOC_LEAD + len);
    alloc_offer(alloc, memory, len);
    const char *contents = lua_pushlstring(L, text, sizeof text);
    size_t lead = len - sizeof text - 1;
    if (memory && contents == memory + ALLOC_LEAD + lead)
        probe->lead = lead;
    alloc_withdraw(alloc);
    return 0;
}

void bytes_open(struct vm *vm)
{
    struct probe probe = {.vm = vm};
    lua_gc(vm->L, LUA_GCSTOP);
    int status = vm_protect(vm, l_probe, &probe);
    lua_gc(vm->L, LUA_GCRESTART);
    if (status == LUA_OK && probe.lead &&
        reactor_set_lead(vm->host.reactor, ALLOC_LEAD + probe.lead) == 0)
        vm->string_lead = probe.lead;
}

void bytes_push(lua_State *L, struct conn *conn, const char *bytes, size_t len)
{
    struct vm *vm = vm_of(L);
    void *memory = NULL;
    if (len >= GIVE_LEN && vm->string_lead)
        memory = conn_give_input(conn, bytes, len);
    if (!memory) {
        lua_pushlstring(L, bytes, len);
        return;
    }
    alloc_offer(&vm->alloc, memory, vm->string_lead + len + 1);
    lua_pushlstring(L, bytes, len);
    alloc_withdraw(&vm->alloc);
}
