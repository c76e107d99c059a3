/* tests/sim/sim_trace.h - what a seed did last, for the day when it fails.
 *
 * What:   keeps the last lines of the running seed; a failure, an abort and a report of the
 *         address sanitizer print them with the seed, so that one run of
 *         NEAP_SIM_SEED=N shows it again.
 * Thread: one. */
#ifndef NEAP_TESTS_SIM_TRACE_H
#define NEAP_TESTS_SIM_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

#define SIM_EXIT_FAILED 97 /* the status of a process in which a seed failed */

/* Begins a seed; `loud` prints every line at once. */
void trace_start(uint64_t seed, bool loud);
/* It went well. */
void trace_end(void);

void trace(const char *format, ...) PRINTF_LIKE(1, 2);

/* A number that depends on every line of this seed so far. */
uint64_t trace_hash(void);

/* "ab\x0ac" of the first bytes, for a line; valid until the fourth next call. */
const char *trace_bytes(const char *bytes, size_t len);

/* Prints what is wrong, the seed and the last lines, and ends the process. */
_Noreturn void sim_fail(const char *format, ...) PRINTF_LIKE(1, 2);

/* Unless the condition holds, the seed has failed; a text must follow. */
#define SIM_CHECK(condition, ...) ((condition) ? (void)0 : sim_fail(__VA_ARGS__))

#endif
