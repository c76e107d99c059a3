/* script/vm.h - one Lua state with its limits, and the threads that hooks run on.
 *
 * What:   a state whose memory is counted and capped, a pool of coroutines, and what functions
 *         given to scripts need to know of the world around them (struct vm_host).
 * Owns:   the state and its memory. Borrows: everything in the host.
 * Thread: its worker's, or the main thread's for a scratch state.
 * Life:   vm_new() .. vm_free(), after every connection and timer that it made is gone.
 * Errors: vm_new answers NULL when memory is out. */
#ifndef NEAP_SCRIPT_VM_H
#define NEAP_SCRIPT_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lua.h>

#include "base/alloc.h"
#include "base/list.h"
#include "base/wheel.h"
#include "script/budget.h"

struct call;
struct eval_ops;
struct io;
struct log;
struct reactor;
struct run;
struct service;
struct source;
struct version;

/* What a state is part of. */
struct vm_host {
    struct io *io;
    struct log *log;
    struct reactor *reactor; /* NULL: a scratch state, in which nothing serves */
    unsigned worker, workers;
    /* A script asked for the end of the server. */
    void (*stop)(void *owner, const char *detail);
    /* It is about to open a connection: the number of that, or 0, max_connections is reached. The
     * reactor's on_closed gives its place back, or dismiss, when it was not opened. */
    uint64_t (*admit)(void *owner);
    void (*dismiss)(void *owner);
    void *owner;
};

#define VM_POOL_MAX 256 /* coroutines kept for the next hooks */

/* An error that keeps coming is told once, then counted. */
struct vm_fold {
    uint64_t hash, count;
    struct wheel_timer timer;
};

struct vm {
    struct vm_host host;
    struct alloc alloc;
    lua_State *L;
    struct version *version;     /* that serves; NULL before the first */
    struct list services;        /* struct live_service, of all versions: see services.h */
    struct service *unserved;    /* of connections that scripts open for themselves */
    struct list versions;        /* struct version that are not let go of yet */
    struct call *call;           /* the innermost that runs */
    struct budget budget;        /* CPU time; not started in a scratch state */
    size_t string_lead;          /* see bytes.h; 0: everything is copied */
    size_t live;                 /* bytes that the last collection left */
    bool collected;              /* it has ended: gc_pace is due */
    bool wait_begun;             /* what yields now waits for something of neap's */
    bool waits_inside;           /* coroutines of scripts have waited */
    unsigned stopping;           /* on_stop that wait */
    unsigned blocked;            /* resumes under way that a wait cannot pass through */
    bool logging;                /* inside on_log */
    const struct eval_ops *eval; /* who gets what is printed; NULL: the log */
    struct run *pool[VM_POOL_MAX];
    size_t pool_count;
    struct list waits; /* struct run that wait */
    struct vm_fold fold;
};

struct vm *vm_new(const struct vm_host *host, size_t memory_limit);
void vm_free(struct vm *vm);

/* The vm of any of its states. Raises: no. */
static inline struct vm *vm_of(lua_State *L)
{
    return *(struct vm **)lua_getextraspace(L);
}

/* Runs a C function on the main state, protected, with one light userdata argument. 0, or a
 * Lua status and then nothing is left on the stack. For opening libraries. Raises: no. */
int vm_protect(struct vm *vm, lua_CFunction function, void *argument);

/* "Lua 5.4.4", and whether that release lacks fixes that neap works around. */
const char *vm_lua_release(void);
bool vm_lua_is_old(void);

#endif
