/* tests/unit/script_fixture.h - a Lua state with a worker's surroundings, for tests of script.
 *
 * What:   loads a script from a text and runs its on_start, as a worker does, with a log that
 *         nobody reads and a reactor that never turns.
 * Thread: one. Life: script_setup() .. script_teardown(), as a checked fixture. */
#ifndef NEAP_TEST_SCRIPT_FIXTURE_H
#define NEAP_TEST_SCRIPT_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/reactor.h"
#include "script/version.h"
#include "script/vm.h"

struct script {
    struct reactor *reactor;
    struct log *log;
    struct vm *vm;
    struct version *version; /* that was loaded last */
    struct source *source;
    char *error;
    char notice[256]; /* the detail of the last notice */
};

extern struct script script;

void script_setup(void);
void script_teardown(void);

/* Another state, with that memory cap. */
void script_limit(size_t memory_limit);

/* Loads a script in place of the last; NULL, or the error report. */
const char *script_load(const char *text);

/* Runs `body` as the on_start of a script of its own: NULL, or the error. */
const char *script_run(const char *body);

/* Runs the on_start of what is loaded. */
const char *script_start(void);

#endif
