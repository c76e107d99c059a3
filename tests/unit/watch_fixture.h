/* tests/unit/watch_fixture.h - a watch over the real loop and the kernel, in a folder of its own.
 *
 *     test ─ writes, moves, removes ─> kernel ─> watch, on a loop with a wheel ─> seen.calls
 *
 * What:   the working directory is a new folder; a test changes files there and waits for the
 *         call, and never sleeps. The kernel queues an event before the call that caused it
 *         returns: so a few turns without blocking show that something is not told.
 * Thread: one. Life: watch_setup() .. watch_teardown(), as a checked fixture. */
#ifndef NEAP_TEST_WATCH_FIXTURE_H
#define NEAP_TEST_WATCH_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/wheel.h"
#include "net/loop.h"
#include "server/watch.h"

struct seen {
    struct loop *loop;
    struct wheel wheel;
    struct watch *watch;
    char folder[64];
    unsigned calls;
    int failed; /* as the last call had it */
    uint64_t call_ms;
    void (*in_call)(void);
};

extern struct seen seen;

void watch_setup(void);
void watch_teardown(void);

/* Now, by the clock of the loop. */
uint64_t watch_now_ms(void);

/* One path, or two. */
void watch_paths(const char *first, const char *second);

/* Reads what the kernel has queued, while time stands still for the wheel: is a call to come? */
bool watch_is_pending(void);

/* Runs until so many calls were made in all; fails the test after a while. */
void watch_run(unsigned calls);

/* The same, and they did not fail, and no other call is to come. */
void watch_await(unsigned calls);

/* Writes to a file: it is told, once; it is not, while another that is written then is. */
void watch_check_seen(const char *path);
void watch_check_unseen(const char *path, const char *watched);

/* What must succeed. file_relink puts a link in the place of another, at once. */
void file_write(const char *path, const char *text);
void file_mode(const char *path, unsigned mode);
void file_move(const char *from, const char *to);
void file_remove(const char *path);
void file_link(const char *target, const char *path);
void file_relink(const char *target, const char *path);
void folder_make(const char *path);

#endif
