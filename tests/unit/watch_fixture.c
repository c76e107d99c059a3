/* tests/unit/watch_fixture.c - a loop, a wheel and a watch that counts what it tells. */
#include "watch_fixture.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "io/io.h"

#define LIMIT_MS 20000
#define TURNS 5

struct seen seen;

static uint64_t limit_ms, alarm_ms;
static unsigned turns_left; /* > 0: neither block nor look at the clock */
static unsigned wanted;

/* ---- The loop ---- */

static bool on_turn(void *owner)
{
    (void)owner;
    uint64_t next_ms = wheel_next_ms(&seen.wheel);
    next_ms = next_ms < limit_ms ? next_ms : limit_ms;
    if (turns_left > 0)
        next_ms = WHEEL_NEVER;
    if (next_ms != alarm_ms) {
        alarm_ms = next_ms;
        loop_set_alarm(seen.loop, next_ms);
    }
    if (turns_left > 0 && --turns_left == 0)
        loop_stop(seen.loop);
    return turns_left > 0;
}

static void on_alarm(void *owner)
{
    (void)owner;
    alarm_ms = WHEEL_NEVER;
    wheel_advance(&seen.wheel, loop_now_ms(seen.loop));
    if (loop_now_ms(seen.loop) >= limit_ms)
        loop_stop(seen.loop);
}

static void on_wake(void *owner)
{
    (void)owner;
}

static const struct loop_ops ops = {
    .on_turn = on_turn, .on_alarm = on_alarm, .on_wake = on_wake};

static void on_change(void *owner, int failed)
{
    ck_assert_ptr_eq(owner, &seen);
    seen.calls++;
    seen.failed = failed;
    seen.call_ms = loop_now_ms(seen.loop);
    if (seen.in_call)
        seen.in_call();
    if (seen.calls == wanted)
        loop_stop(seen.loop);
}

uint64_t watch_now_ms(void)
{
    return io_system.ops->monotonic_ns(&io_system) / 1000000U;
}

void watch_setup(void)
{
    seen = (struct seen){.folder = "/tmp/neap-watch-XXXXXX"};
    limit_ms = alarm_ms = WHEEL_NEVER;
    turns_left = wanted = 0;
    ck_assert_ptr_nonnull(mkdtemp(seen.folder));
    ck_assert_int_eq(chdir(seen.folder), 0);
    seen.loop = loop_new(&io_system, &ops, NULL);
    ck_assert_ptr_nonnull(seen.loop);
    wheel_init(&seen.wheel, loop_now_ms(seen.loop));
    int failed = watch_open(&seen.watch, seen.loop, &seen.wheel, on_change, &seen);
    ck_assert_int_eq(failed, 0);
}

static int remove_found(const char *path, const struct stat *found, int kind,
                        struct FTW *place)
{
    (void)found;
    (void)kind;
    (void)place;
    return remove(path);
}

void watch_teardown(void)
{
    watch_close(seen.watch);
    ck_assert_uint_eq(wheel_next_ms(&seen.wheel), WHEEL_NEVER);
    loop_free(seen.loop);
    ck_assert_int_eq(chdir("/"), 0);
    ck_assert_int_eq(nftw(seen.folder, remove_found, 8, FTW_DEPTH | FTW_PHYS), 0);
}

/* ---- What is told ---- */

void watch_paths(const char *first, const char *second)
{
    const char *paths[] = {first, second};
    ck_assert_int_eq(watch_set(seen.watch, paths, second ? 2 : 1), 0);
}

bool watch_is_pending(void)
{
    turns_left = TURNS;
    loop_run(seen.loop);
    return wheel_next_ms(&seen.wheel) != WHEEL_NEVER;
}

void watch_run(unsigned calls)
{
    ck_assert_uint_lt(seen.calls, calls);
    wanted = calls;
    limit_ms = watch_now_ms() + LIMIT_MS;
    loop_run(seen.loop);
    limit_ms = WHEEL_NEVER;
    ck_assert_uint_eq(seen.calls, calls);
}

void watch_await(unsigned calls)
{
    watch_run(calls);
    ck_assert_int_eq(seen.failed, 0);
    ck_assert_msg(!watch_is_pending(), "another call is to come after call %u", calls);
}

void watch_check_seen(const char *path)
{
    unsigned before = seen.calls;
    file_write(path, "changed");
    watch_await(before + 1);
}

void watch_check_unseen(const char *path, const char *watched)
{
    file_write(path, "not watched");
    ck_assert_msg(!watch_is_pending(), "%s is watched", path);
    watch_check_seen(watched);
}

/* ---- Files ---- */

static void succeed(int failed, const char *what, const char *path)
{
    ck_assert_msg(failed == 0, "%s %s: %s", what, path, strerror(errno));
}

void file_write(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    succeed(!file, "open", path);
    ck_assert_int_ge(fputs(text, file), 0);
    succeed(fclose(file), "close", path);
}

void file_mode(const char *path, unsigned mode)
{
    succeed(chmod(path, mode), "chmod", path);
}

void file_move(const char *from, const char *to)
{
    succeed(rename(from, to), "move", from);
}

void file_remove(const char *path)
{
    succeed(remove(path), "remove", path);
}

void file_link(const char *target, const char *path)
{
    succeed(symlink(target, path), "link", path);
}

void file_relink(const char *target, const char *path)
{
    file_link(target, "new-link");
    file_move("new-link", path);
}

void folder_make(const char *path)
{
    succeed(mkdir(path, 0755), "make", path);
}
