/* tests/unit/test_watch.c - server/watch: which changes of a file are told, when and how often. */
#include "server/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <check.h>

#include "watch_fixture.h"

/* ---- One file ---- */

START_TEST(a_file_that_is_written_is_told_once_when_it_is_quiet)
{
    file_write("a.lua", "1");
    watch_paths("a.lua", NULL);
    uint64_t before_ms = watch_now_ms();
    file_write("a.lua", "2");
    ck_assert(watch_is_pending());
    ck_assert_uint_le(wheel_next_ms(&seen.wheel), watch_now_ms() + WATCH_QUIET_MS);
    watch_await(1);
    ck_assert_uint_ge(seen.call_ms, before_ms + WATCH_QUIET_MS);
}
END_TEST

START_TEST(a_file_that_is_replaced_is_told_again_and_again)
{
    file_write("a.lua", "1");
    watch_paths("a.lua", NULL);
    for (unsigned i = 1; i <= 3; i++) {
        file_write("a.lua.tmp", "2");
        ck_assert(!watch_is_pending());
        file_move("a.lua.tmp", "a.lua");
        watch_await(i);
    }
}
END_TEST

START_TEST(an_editor_that_keeps_a_backup_is_told_once)
{
    file_write("a.lua", "1");
    watch_paths("a.lua", NULL);
    file_move("a.lua", "a.lua~");
    file_write("a.lua", "2");
    file_remove("a.lua~");
    watch_await(1);
}
END_TEST

START_TEST(a_file_that_goes_and_comes_back_is_told_twice)
{
    file_write("a.lua", "1");
    watch_paths("a.lua", NULL);
    file_remove("a.lua");
    watch_await(1);
    file_write("a.lua", "2");
    watch_await(2);
}
END_TEST

START_TEST(a_file_that_moves_away_is_told)
{
    file_write("a.lua", "1");
    watch_paths("a.lua", NULL);
    file_move("a.lua", "b.lua");
    watch_await(1);
    watch_check_unseen("b.lua", "a.lua");
}
END_TEST

START_TEST(a_file_that_becomes_readable_is_told)
{
    file_write("a.lua", "1");
    watch_paths("a.lua", NULL);
    file_mode("a.lua", 0400);
    watch_await(1);
}
END_TEST

START_TEST(to_be_read_is_no_change)
{
    file_write("a.lua", "1");
    watch_paths("a.lua", NULL);
    FILE *file = fopen("a.lua", "re");
    ck_assert_int_eq(fgetc(file), '1');
    fclose(file);
    ck_assert(!watch_is_pending());
    watch_check_seen("a.lua");
}
END_TEST

START_TEST(to_be_written_to_is_none_until_it_is_closed)
{
    watch_paths("a.lua", NULL);
    for (unsigned i = 1; i <= 3; i++) {
        watch_check_seen("a.lua");
        int fd = open("a.lua", O_WRONLY | O_CLOEXEC);
        ck_assert_int_eq(write(fd, "x", 1), 1);
        ck_assert(!watch_is_pending());
        close(fd);
        watch_await(2 * i);
    }
}
END_TEST

START_TEST(other_files_of_the_folder_are_nothing)
{
    file_write("a.lua", "1");
    watch_paths("a.lua", NULL);
    watch_check_unseen("b.lua", "a.lua");
    watch_check_unseen("a.luac", "a.lua");
    watch_check_unseen("a.lu", "a.lua");
    folder_make("sub");
    watch_check_unseen("sub/a.lua", "a.lua");
    file_mode(".", 0700);
    file_remove("b.lua");
    ck_assert(!watch_is_pending());
}
END_TEST

START_TEST(a_file_that_was_never_there_is_told_when_it_comes)
{
    watch_paths("a.lua", NULL);
    watch_check_seen("a.lua");
    watch_check_seen("a.lua");
}
END_TEST

START_TEST(an_absolute_path_is_as_good)
{
    char path[96];
    snprintf(path, sizeof path, "%s/a.lua", seen.folder);
    watch_paths(path, NULL);
    watch_check_seen("a.lua");
    watch_check_unseen("b.lua", path);
}
END_TEST

START_TEST(dots_and_slashes_in_a_path_mean_nothing)
{
    folder_make("sub");
    watch_paths(".//sub/../sub/.//a.lua", NULL);
    watch_check_seen("sub/a.lua");
    watch_check_unseen("a.lua", "sub/a.lua");
}
END_TEST

/* ---- Time ---- */

START_TEST(many_saves_are_told_once)
{
    file_write("a.lua", "1");
    file_write("b.lua", "1");
    watch_paths("a.lua", "b.lua");
    for (int i = 0; i < 100; i++) {
        file_write(i % 2 ? "a.lua" : "b.lua", "2");
        if (i % 10 == 0)
            (void)watch_is_pending();
    }
    uint64_t last_ms = watch_now_ms();
    watch_await(1);
    ck_assert_uint_ge(seen.call_ms, last_ms + WATCH_QUIET_MS);
}
END_TEST

struct writer {
    struct wheel_timer timer;
    int fd, left;
    uint64_t last_ms;
};

static void on_write(struct wheel_timer *timer)
{
    struct writer *writer = container_of(timer, struct writer, timer);
    ck_assert_int_eq(write(writer->fd, "x", 1), 1);
    writer->last_ms = watch_now_ms();
    if (--writer->left > 0)
        wheel_start(&seen.wheel, timer, writer->last_ms + WATCH_QUIET_MS / 3);
    else
        close(writer->fd);
}

static void start_writer(struct writer *writer, const char *path, int times)
{
    writer->fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_ge(writer->fd, 0);
    writer->left = times;
    wheel_timer_init(&writer->timer, on_write);
    wheel_start(&seen.wheel, &writer->timer, watch_now_ms());
}

static void check_slow_writer(void)
{
    struct writer writer;
    start_writer(&writer, "a.lua", 10);
    watch_await(1);
    ck_assert_int_eq(writer.left, 0);
    ck_assert_uint_ge(seen.call_ms, writer.last_ms + WATCH_QUIET_MS);
}

START_TEST(a_slow_writer_is_told_once_at_its_end)
{
    file_write("a.lua", "1");
    watch_paths("a.lua", NULL);
    check_slow_writer();
}
END_TEST

START_TEST(so_is_one_that_makes_the_file)
{
    watch_paths("a.lua", NULL);
    check_slow_writer();
}
END_TEST

START_TEST(a_writer_without_end_is_told_when_patience_is_over)
{
    struct writer writer;
    watch_paths("a.lua", NULL);
    uint64_t before_ms = watch_now_ms();
    start_writer(&writer, "a.lua", 100000);
    watch_run(1);
    ck_assert_uint_ge(seen.call_ms, before_ms + WATCH_PATIENCE_MS);
    ck_assert_int_gt(writer.left, 1);
    wheel_stop(&seen.wheel, &writer.timer);
    close(writer.fd);
    watch_await(2);
}
END_TEST

START_TEST(a_loop_that_comes_late_finds_all_in_one)
{
    file_write("a.lua", "1");
    watch_paths("a.lua", NULL);
    file_write("a.lua", "2");
    ck_assert(watch_is_pending());
    file_write("a.lua", "3");
    /* It is due, and what has happened since is not read yet. */
    wheel_advance(&seen.wheel, watch_now_ms() + WATCH_QUIET_MS);
    ck_assert_uint_eq(seen.calls, 0);
    watch_await(1);
}
END_TEST

/* ---- The set ---- */

START_TEST(a_set_replaces_the_one_before)
{
    folder_make("sub");
    file_write("a.lua", "1");
    watch_paths("a.lua", "sub/b.lua");
    watch_check_seen("sub/b.lua");
    watch_paths("c.lua", "sub/b.lua");
    watch_check_unseen("a.lua", "c.lua");
    watch_check_seen("sub/b.lua");
    watch_paths("a.lua", NULL);
    watch_check_unseen("c.lua", "a.lua");
    watch_check_unseen("sub/b.lua", "a.lua");
    ck_assert_int_eq(watch_set(seen.watch, NULL, 0), 0);
    file_write("a.lua", "2");
    ck_assert(!watch_is_pending());
}
END_TEST

START_TEST(a_change_before_a_set_is_not_lost)
{
    folder_make("sub");
    file_write("sub/a.lua", "1");
    watch_paths("sub/a.lua", NULL);
    file_write("sub/a.lua", "2");
    file_remove("sub/a.lua");
    file_remove("sub");
    folder_make("sub");
    watch_paths("sub/a.lua", NULL);
    watch_await(1);
    watch_check_seen("sub/a.lua");
}
END_TEST

START_TEST(nor_is_one_among_more_than_is_read_at_once)
{
    folder_make("sub");
    file_write("sub/b.lua", "1");
    file_write("sub/a.lua", "1");
    watch_paths("sub/a.lua", NULL);
    for (int i = 0; i < 2000; i++) {
        file_move("sub/b.lua", "sub/c.lua");
        file_move("sub/c.lua", "sub/b.lua");
    }
    file_move("sub", "old");
    folder_make("sub");
    file_write("sub/a.lua", "2");
    watch_paths("sub/a.lua", NULL);
    watch_await(1);
    watch_check_seen("sub/a.lua");
}
END_TEST

START_TEST(the_folder_of_one_may_lie_on_the_way_of_another)
{
    folder_make("sub");
    folder_make("sub/low");
    file_write("sub/a.lua", "1");
    file_write("sub/low/b.lua", "1");
    watch_paths("sub/a.lua", "sub/low/b.lua");
    watch_check_seen("sub/a.lua");
    watch_check_seen("sub/low/b.lua");
    watch_paths("sub/low/b.lua", "sub/a.lua");
    watch_check_seen("sub/a.lua");
    watch_check_seen("sub/low/b.lua");
}
END_TEST

/* Folders that the kernel watches for this process. */
static unsigned count_watched(void)
{
    unsigned count = 0;
    for (int fd = 0; fd < 64; fd++) {
        char path[64], line[256];
        snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
        FILE *file = fopen(path, "re");
        while (file && fgets(line, sizeof line, file))
            count += strncmp(line, "inotify wd:", 11) == 0;
        if (file)
            fclose(file);
    }
    return count;
}

START_TEST(what_is_watched_no_more_is_let_go)
{
    char name[300] = "other/";
    const char *paths[] = {"sub/b.lua", name};
    memset(name + 6, 'x', sizeof name - 7);
    folder_make("sub");
    folder_make("other");
    watch_paths("a.lua", NULL);
    unsigned one = count_watched();
    watch_paths("a.lua", "sub/b.lua");
    ck_assert_uint_eq(count_watched(), one + 1);
    watch_paths("other/a.lua", "sub/b.lua");
    watch_paths("a.lua", NULL);
    ck_assert_uint_eq(count_watched(), one);
    ck_assert_int_eq(watch_set(seen.watch, paths, 2), -ENAMETOOLONG);
    ck_assert_uint_eq(count_watched(), one);
    ck_assert_int_eq(watch_set(seen.watch, NULL, 0), 0);
    ck_assert_uint_eq(count_watched(), 0);
}
END_TEST

START_TEST(a_working_directory_that_is_gone_is_no_harm)
{
    const char *paths[] = {"a.lua"};
    folder_make("sub");
    ck_assert_int_eq(chdir("sub"), 0);
    watch_paths("a.lua", NULL);
    ck_assert_int_eq(rmdir("../sub"), 0);
    int failed = watch_set(seen.watch, paths, 1);
    ck_assert_msg(failed == 0 || failed == -ENOENT, "%d", failed);
    ck_assert(!watch_is_pending());
}
END_TEST

START_TEST(a_set_that_fails_leaves_the_old_one)
{
    static const char *many[WATCH_PATHS_MAX + 1];
    char name[300];
    const char *paths[] = {"b.lua", name};
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    folder_make("sub");
    watch_paths("sub/a.lua", NULL);
    ck_assert_int_eq(watch_set(seen.watch, paths, 2), -ENAMETOOLONG);
    watch_check_unseen("b.lua", "sub/a.lua");
    for (size_t i = 0; i <= WATCH_PATHS_MAX; i++)
        many[i] = "b.lua";
    ck_assert_int_eq(watch_set(seen.watch, many, WATCH_PATHS_MAX + 1), -E2BIG);
    watch_check_unseen("b.lua", "sub/a.lua");
    ck_assert_int_eq(watch_set(seen.watch, many, WATCH_PATHS_MAX), 0);
    watch_check_unseen("sub/a.lua", "b.lua");
}
END_TEST

START_TEST(a_path_may_be_as_long_as_a_path_may_be)
{
    static char path[5000];
    const char *paths[] = {path};
    memset(path, '/', sizeof path);
    memcpy(path + 4090, "a.lua", 6); /* and its NUL: PATH_MAX */
    ck_assert_int_eq(watch_set(seen.watch, paths, 1), 0);
    memcpy(path + 4091, "a.lua", 6);
    ck_assert_int_eq(watch_set(seen.watch, paths, 1), -ENAMETOOLONG);
}
END_TEST

static void set_another(void)
{
    watch_paths("b.lua", NULL);
}

START_TEST(it_may_be_set_while_it_tells)
{
    watch_paths("a.lua", NULL);
    seen.in_call = set_another;
    watch_check_seen("a.lua");
    watch_check_unseen("a.lua", "b.lua");
}
END_TEST

static void close_it(void)
{
    watch_close(seen.watch);
    seen.watch = NULL;
}

START_TEST(it_may_be_closed_while_it_tells)
{
    watch_paths("a.lua", NULL);
    seen.in_call = close_it;
    watch_check_seen("a.lua");
    file_write("a.lua", "2");
    ck_assert(!watch_is_pending());
}
END_TEST

START_TEST(closed_it_tells_nothing_more)
{
    watch_paths("a.lua", NULL);
    file_write("a.lua", "1");
    ck_assert(watch_is_pending());
    close_it();
    ck_assert(!watch_is_pending());
    ck_assert_uint_eq(seen.calls, 0);
    watch_close(NULL);
}
END_TEST

/* ---- Limits ---- */

/* 0: not known. */
static unsigned long max_queued(void)
{
    char text[32] = "";
    FILE *file = fopen("/proc/sys/fs/inotify/max_queued_events", "re");
    if (!file)
        return 0;
    bool known = fgets(text, sizeof text, file) != NULL;
    fclose(file);
    return known ? strtoul(text, NULL, 10) : 0;
}

START_TEST(when_too_much_happened_to_know_it_is_told)
{
    unsigned long count = max_queued();
    if (count == 0 || count > 1000000)
        return; /* it would take long */
    watch_paths("a.lua", NULL);
    file_write("b.lua", "1");
    for (unsigned long i = 0; i <= count / 4 + 1; i++) {
        file_move("b.lua", "c.lua"); /* two events each */
        file_move("c.lua", "b.lua");
    }
    watch_await(1);
    watch_check_seen("a.lua");
    watch_check_unseen("b.lua", "a.lua");
}
END_TEST

static void tell_nobody(void *owner, int failed)
{
    (void)owner;
    (void)failed;
}

START_TEST(no_descriptor_left_is_told)
{
    struct rlimit limit, none;
    struct watch *other;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = 0;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    int failed = watch_open(&other, seen.loop, &seen.wheel, tell_nobody, NULL);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_int_eq(failed, -EMFILE);
}
END_TEST

/* Root may list any folder. */
static void drop_rights(void)
{
    if (geteuid() == 0)
        ck_assert_int_eq(seteuid(65534), 0);
}

static void regain_rights(void)
{
    ck_assert_int_eq(seteuid(getuid()), 0);
}

START_TEST(a_folder_that_may_not_be_listed_is_told)
{
    const char *paths[] = {"closed/a.lua"};
    folder_make("closed");
    file_mode(".", 0755);
    watch_paths("a.lua", NULL);
    file_mode("closed", 0311);
    drop_rights();
    int failed = watch_set(seen.watch, paths, 1);
    regain_rights();
    ck_assert_int_eq(failed, -EACCES);
    watch_check_seen("a.lua");
    file_mode("closed", 0755);
}
END_TEST

START_TEST(one_on_the_way_need_not_be_listed)
{
    folder_make("closed");
    folder_make("closed/sub");
    file_mode(".", 0755);
    file_mode("closed", 0311);
    drop_rights();
    watch_paths("closed/sub/a.lua", NULL);
    regain_rights();
    watch_check_seen("closed/sub/a.lua");
    file_mode("closed", 0755);
}
END_TEST

START_TEST(a_change_after_which_it_cannot_be_watched_says_so)
{
    folder_make("open");
    folder_make("closed");
    file_mode(".", 0755);
    file_mode("closed", 0311);
    file_link("open/a.lua", "a.lua");
    watch_paths("a.lua", NULL);
    file_relink("closed/a.lua", "a.lua");
    drop_rights();
    watch_run(1);
    regain_rights();
    ck_assert_int_eq(seen.failed, -EACCES);
    file_relink("open/a.lua", "a.lua"); /* still watched */
    watch_await(2);
    watch_check_seen("open/a.lua");
    file_mode("closed", 0755);
}
END_TEST

static void add_changes(TCase *tcase)
{
    tcase_add_test(tcase, a_file_that_is_written_is_told_once_when_it_is_quiet);
    tcase_add_test(tcase, a_file_that_is_replaced_is_told_again_and_again);
    tcase_add_test(tcase, an_editor_that_keeps_a_backup_is_told_once);
    tcase_add_test(tcase, a_file_that_goes_and_comes_back_is_told_twice);
    tcase_add_test(tcase, a_file_that_moves_away_is_told);
    tcase_add_test(tcase, a_file_that_becomes_readable_is_told);
    tcase_add_test(tcase, to_be_read_is_no_change);
    tcase_add_test(tcase, to_be_written_to_is_none_until_it_is_closed);
    tcase_add_test(tcase, other_files_of_the_folder_are_nothing);
    tcase_add_test(tcase, a_file_that_was_never_there_is_told_when_it_comes);
    tcase_add_test(tcase, an_absolute_path_is_as_good);
    tcase_add_test(tcase, dots_and_slashes_in_a_path_mean_nothing);
    tcase_add_test(tcase, many_saves_are_told_once);
    tcase_add_test(tcase, a_slow_writer_is_told_once_at_its_end);
    tcase_add_test(tcase, so_is_one_that_makes_the_file);
    tcase_add_test(tcase, a_writer_without_end_is_told_when_patience_is_over);
    tcase_add_test(tcase, a_loop_that_comes_late_finds_all_in_one);
}

static void add_sets(TCase *tcase)
{
    tcase_add_test(tcase, a_set_replaces_the_one_before);
    tcase_add_test(tcase, a_change_before_a_set_is_not_lost);
    tcase_add_test(tcase, nor_is_one_among_more_than_is_read_at_once);
    tcase_add_test(tcase, the_folder_of_one_may_lie_on_the_way_of_another);
    tcase_add_test(tcase, what_is_watched_no_more_is_let_go);
    tcase_add_test(tcase, a_working_directory_that_is_gone_is_no_harm);
    tcase_add_test(tcase, a_set_that_fails_leaves_the_old_one);
    tcase_add_test(tcase, a_path_may_be_as_long_as_a_path_may_be);
    tcase_add_test(tcase, it_may_be_set_while_it_tells);
    tcase_add_test(tcase, it_may_be_closed_while_it_tells);
    tcase_add_test(tcase, closed_it_tells_nothing_more);
    tcase_add_test(tcase, when_too_much_happened_to_know_it_is_told);
    tcase_add_test(tcase, no_descriptor_left_is_told);
    tcase_add_test(tcase, a_folder_that_may_not_be_listed_is_told);
    tcase_add_test(tcase, one_on_the_way_need_not_be_listed);
    tcase_add_test(tcase, a_change_after_which_it_cannot_be_watched_says_so);
}

int main(void)
{
    Suite *suite = suite_create("watch");
    TCase *tcase = tcase_create("watch");

    suite_add_tcase(suite, tcase);
    tcase_add_checked_fixture(tcase, watch_setup, watch_teardown);
    add_changes(tcase);
    add_sets(tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
