/* server/job.h - what main has a worker do between two turns of its loop, and is told of.
 *
 *     main: worker_give ─> worker: run ─(true: at once, false: later job_finish)─> main: done
 *
 * What:   the one way in which main asks for anything that touches a worker's Lua state or
 *         connections. Jobs of a worker run in the order in which they were given, and between
 *         hooks, never inside one.
 * Owns:   nothing: a job is embedded in what it is about, and lives until `done`.
 * Thread: run in the worker's, done in main's. */
#ifndef NEAP_SERVER_JOB_H
#define NEAP_SERVER_JOB_H

#include <stdbool.h>

#include "base/list.h"

struct job;
struct own;
struct worker;

struct job {
    struct list node;
    struct worker *worker; /* set by worker_give */
    /* True: it is over; false: job_finish will be called. */
    bool (*run)(struct own *own, struct job *job);
    void (*done)(struct job *job);
    bool lost; /* the worker has ended, and it did not run */
};

/* Worker: tells main that it is over. */
void job_finish(struct own *own, struct job *job);

#endif
