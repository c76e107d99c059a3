/* script/call.h - the one way into Lua.
 *
 *     call_run ─ lua_resume ─> trampoline: push function and arguments
 *                                └ lua_pcallk(traceback) ─> hook, timer, chunk
 *                              take what it returned  |  on_error, report
 *                              next: again, or back
 *
 * What:   every entry runs on a coroutine of its own from the vm's pool, so that any may wait
 *         later without being started otherwise; errors are caught inside it, given to on_error
 *         and reported, so that they never reach the loop.
 * Thread: the vm's. Nests: a custom framer, on_log.
 * Raises: nothing here does, unless it says so. */
#ifndef NEAP_SCRIPT_CALL_H
#define NEAP_SCRIPT_CALL_H

#include <stdbool.h>
#include <stddef.h>

#include <lua.h>

#include "net/conn.h"
#include "script/vm.h"

struct run;
struct script_service;
struct version;

#define CALL_HANDLER 2 /* the stack index of the message handler, for a pcall in `take` */
#define CALL_RESULT 3  /* the stack index of the first result */

extern const char call_raised[];

struct call {
    struct vm *vm;
    const char *what; /* "on_message", "timer", for people */
    struct conn *conn;
    struct version *version; /* whose code it is; NULL: the service's, or the serving one */
    struct script_service *service; /* whose on_error is asked; NULL: the script's */

    /* Pushes the function and then its arguments; how many those are. May raise. */
    int (*push)(lua_State *L, struct call *call);
    /* Looks at the results, which stand from CALL_RESULT on; there may be none. NULL, or what
     * is wrong with them (a text that goes on after "on_message "), or call_raised, with what was
     * raised (by a function called under CALL_HANDLER) at the top. May raise for want of memory. */
    const char *(*take)(lua_State *L, struct call *call);

    /* After a call that went well: is there another one of the same kind? Fills in what push
     * needs, and it is made without leaving the coroutine. NULL: never. Does not raise. */
    bool (*next)(struct call *call);

    /* For push, take and next. */
    const char *bytes;
    size_t len;
    double number;
    const void *argument;
    void *result;
    int function; /* a registry reference */

    /* A call that has waited is over; failed and keep are set. What was on its caller's stack is
     * gone. NULL: it cannot wait. Frees call->error. */
    void (*done)(struct call *call);

    bool outlives; /* it may go on when its version has ended */
    bool quiet;    /* errors are the caller's to tell: see `error` */
    char *error;   /* quiet: message and traceback, to be freed by the caller */

    /* Set by call_run. */
    bool failed;
    bool keep;      /* on_error said "keep" */
    bool answer;    /* of on_idle: keep it; to on_session: resumed */
    bool cancelled; /* it runs its <close> variables, and waits for nothing any more */
    bool renewed;   /* a session that another version's takes the place of */
    enum conn_reason reason; /* failed with a read that had failed for that */
    struct run *run;
    struct call *outer;
};

enum call_result {
    CALL_OK,
    CALL_FAILED, /* it was reported; what follows (closing the connection) is the caller's, unless
                    call->keep */
    CALL_WAITS, /* call->done will be called with a copy of it, when it is over */
};

/* The version whose code runs now, or else the one that serves; NULL before the first. */
struct version *call_version(const struct vm *vm);

/* Runs it to its end, or to its first wait. */
enum call_result call_run(struct call *call);

/* Goes on with one that waited, to its end or its next wait. */
void call_resume(struct run *run);

/* Ends one that waits: its <close> variables run, nothing else of it. */
void call_cancel(struct run *run);

#endif
