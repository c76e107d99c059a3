/* script/run.h - a coroutine of the pool with the call that it makes, which may wait.
 *
 *     pool ─ run_take ─> call_run ─ returned ─> run_give ─> pool
 *                          └ waits ─> vm->waits ─ something happens ─> call_resume ─ ...
 *
 * What:   while a call does not wait it is its caller's, on the C stack; the first wait copies it
 *         here, so that calls which never wait pay nothing for those that do.
 * Owns:   its coroutine, by a reference in the registry. Thread: the vm's.
 * Raises: nothing. */
#ifndef NEAP_SCRIPT_RUN_H
#define NEAP_SCRIPT_RUN_H

#include "base/wheel.h"
#include "net/reactor.h"
#include "script/call.h"

enum wait_end {
    WAIT_DUE,    /* its time is over */
    WAIT_READY,  /* what it waited for is there */
    WAIT_CLOSED, /* its connection is gone, or is to go */
    WAIT_IDLE,   /* it read, and idle_timeout of what it read is over */
};

struct wait {
    struct list node; /* in vm->waits */
    lua_State *L; /* the coroutine that waits: run->L, or one of the script's inside it */
    struct wheel_timer timer;
    struct post post;
    /* Whether it is over by what has happened; NULL: only by time. */
    bool (*is_over)(struct run *run);
    /* It ends without going on; `subject` is to be let go of. NULL: nothing is. */
    void (*abandon)(struct run *run);
    uint64_t target;       /* the connection that it reads or flushes, or SLOTS_NONE */
    struct conn_want want; /* what it reads */
    void *subject;         /* what it waits for otherwise: a task, a name, an attempt */
    uint64_t timeout_ms;
    bool reads, flushes; /* the target's input, its output */
    bool timed_out;
    bool
        looking; /* is_over runs, and a framing of the script in it: it cannot be cancelled */
    bool prepared;     /* and not entered yet */
    bool renews;       /* at messages(): the place where a session changes version */
    enum wait_end end; /* how it ended, for its continuation */
};

struct run {
    struct vm *vm;
    lua_State *L;
    int ref;
    struct call *call; /* its caller's, or `parked` */
    struct call parked;
    struct wait wait;
    const char *failure; /* what its last read or flush failed with, or NULL */
};

/* One with an empty stack; NULL when memory is out. */
struct run *run_take(struct vm *vm);
/* Gives back one that has returned. */
void run_give(struct run *run);
/* Forgets one that ended with an error. */
void run_drop(struct run *run);

/* The end of the vm: frees the pool, and every run that waits. */
void run_free_all(struct vm *vm);

#endif
