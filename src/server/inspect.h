/* server/inspect.h - a worker's part in answering questions about it.
 *
 * What:   jobs that look at what a worker has, or do something small to it, and answer in JSON.
 * Owns:   the answer, until main takes it. Thread: run in the worker's, the rest is main's. */
#ifndef NEAP_SERVER_INSPECT_H
#define NEAP_SERVER_INSPECT_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "server/job.h"

struct inspection;

/* What is asked of one worker. */
struct inspect_part {
    struct job job; /* first */
    struct inspection *of;
    json_t *answer; /* NULL: none */
};

/* What is asked of one or all of them. */
struct inspection {
    uint64_t asked_ns;
    uint64_t number; /* a connection's */
    size_t limit;    /* rows */
    char *text;      /* a service's name, code */
    char *error;     /* what eval raised */
    /* Main, when all have answered; frees what belongs to it. */
    void (*done)(struct inspection *inspection);
    void *owner, *request;
    unsigned pending, count;
    struct inspect_part parts[];
};

/* An object: worker, state, connections, peers, loop_lag_ms, lua_memory, lua_limit, buffered. */
bool inspect_worker(struct own *own, struct job *job);
/* By number: { connections (opened under it), holds (services that only it has), functions (in
 * conn.data) }. */
bool inspect_versions(struct own *own, struct job *job);
/* { total, rows: [...] }: connections, at most `limit` rows, of the service `text` if it is set. */
bool inspect_connections(struct own *own, struct job *job);
/* true if the connection was there; it ends with the reason "kicked". */
bool inspect_kick(struct own *own, struct job *job);
/* { results, output }; or none, and `error` of the inspection. */
bool inspect_eval(struct own *own, struct job *job);

#endif
