/* tests/unit/test_source.c - script/source: files, modules and their lines. */
#include "script/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

static char folder[64];
static struct source *source;

static const char *in_folder(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(in_folder(name), "we");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    fclose(file);
}

static void setup(void)
{
    strcpy(folder, "/tmp/neap-source-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(mkdir(in_folder("parts"), 0700), 0);
    ck_assert_int_eq(mkdir(in_folder("lib"), 0700), 0);
    source = NULL;
}

static void teardown(void)
{
    static const char *const names[] = {"main.lua",      "own.lua",       "both.lua",
                                        "huge.lua",      "dir.lua",       "lib/own.lua",
                                        "lib/both.lua",  "lib/other.lua", "parts/init.lua",
                                        "parts/one.lua", "lib",           "parts"};
    source_unref(source);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        (void)remove(in_folder(names[i]));
    ck_assert_int_eq(rmdir(folder), 0);
}

static void open_main(const char *text)
{
    write_file("main.lua", text);
    ck_assert_int_eq(source_open(&source, in_folder("main.lua")), 0);
}

/* "CHUNK: TEXT" of what a module is, or NULL with errno. */
static const char *module(const char *name)
{
    static char found[512];
    char path[256];
    const struct source_file *file;
    snprintf(path, sizeof path, "%s/lib/?.lua;;/no/such/folder/?.lua", folder);
    int failed = source_require(source, name, path, &file);
    errno = -failed;
    if (failed)
        return NULL;
    ck_assert_ptr_eq(source_find(source, name), file);
    ck_assert_str_eq(file->module, name);
    ck_assert_int_eq(strncmp(file->chunk + 1, folder, strlen(folder)), 0);
    snprintf(found, sizeof found, "%s: %.*s", file->chunk + 2 + strlen(folder),
             (int)file->len, file->bytes);
    return found;
}

START_TEST(a_script_is_its_bytes)
{
    open_main("return {}\n");
    ck_assert_str_eq(source_path(source), in_folder("main.lua"));
    ck_assert_uint_eq(source->count, 1);
    ck_assert_ptr_null(source->files[0].module);
    ck_assert_uint_eq(source->files[0].len, 10);
    ck_assert_mem_eq(source->files[0].bytes, "return {}\n", 10);
}
END_TEST

START_TEST(what_is_no_script_is_refused)
{
    ck_assert_int_eq(source_open(&source, in_folder("none.lua")), -ENOENT);
    ck_assert_int_eq(source_open(&source, folder), -EISDIR);
    write_file("main.lua", "");
    ck_assert_int_eq(source_open(&source, in_folder("main.lua/x")), -ENOTDIR);
    if (geteuid() != 0) {
        ck_assert_int_eq(chmod(in_folder("main.lua"), 0), 0);
        ck_assert_int_eq(source_open(&source, in_folder("main.lua")), -EACCES);
    }
    source = NULL;
}
END_TEST

START_TEST(a_file_that_is_too_big_is_refused)
{
    write_file("huge.lua", "");
    ck_assert_int_eq(truncate(in_folder("huge.lua"), SOURCE_FILE_MAX), 0);
    ck_assert_int_eq(source_open(&source, in_folder("huge.lua")), 0);
    ck_assert_uint_eq(source->files[0].len, SOURCE_FILE_MAX);
    source_unref(source);
    ck_assert_int_eq(truncate(in_folder("huge.lua"), SOURCE_FILE_MAX + 1), 0);
    ck_assert_int_eq(source_open(&source, in_folder("huge.lua")), -EFBIG);
    ck_assert_int_eq(source_open(&source, "/dev/zero"), -EFBIG);
    source = NULL;
}
END_TEST

START_TEST(a_script_may_be_a_pipe)
{
    int fds[2];
    char path[32];
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    snprintf(path, sizeof path, "/dev/fd/%d", fds[0]);
    ck_assert_int_eq(write(fds[1], "return {}", 9), 9);
    close(fds[1]);
    ck_assert_int_eq(source_open(&source, path), 0);
    ck_assert_uint_eq(source->files[0].len, 9);
    close(fds[0]);
}
END_TEST

START_TEST(modules_are_found_along_the_paths_in_order)
{
    open_main("");
    write_file("own.lua", "own");
    write_file("lib/own.lua", "not this");
    write_file("parts/init.lua", "folder");
    write_file("parts/one.lua", "part");
    write_file("lib/other.lua", "other");
    ck_assert_str_eq(module("own"), "own.lua: own");
    ck_assert_str_eq(module("parts"), "parts/init.lua: folder");
    ck_assert_str_eq(module("parts.one"), "parts/one.lua: part");
    ck_assert_str_eq(module("other"), "lib/other.lua: other");
    ck_assert_ptr_null(module("none"));
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_ptr_null(module("own.none"));
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_ptr_null(source_find(source, "none"));
    ck_assert_uint_eq(source->count, 5);
}
END_TEST

START_TEST(a_module_that_cannot_be_read_is_not_passed_over)
{
    open_main("");
    ck_assert_int_eq(mkdir(in_folder("dir.lua"), 0700), 0);
    ck_assert_ptr_null(module("dir"));
    ck_assert_int_eq(errno, EISDIR);
}
END_TEST

START_TEST(a_sealed_source_reads_no_file)
{
    open_main("");
    write_file("own.lua", "own");
    source_seal(source);
    ck_assert_ptr_null(module("own"));
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_uint_eq(source->count, 1);
}
END_TEST

START_TEST(a_text_has_no_folder)
{
    ck_assert_int_eq(source_from_bytes(&source, "-e", "a\0b", 3), 0);
    ck_assert_str_eq(source_path(source), "-e");
    ck_assert_uint_eq(source->files[0].len, 3);
    ck_assert_ptr_null(source->folder);
    write_file("lib/other.lua", "other");
    ck_assert_str_eq(module("other"), "lib/other.lua: other");
    ck_assert_ptr_null(module("main"));
}
END_TEST

START_TEST(a_script_beside_us_has_this_folder)
{
    char before[256];
    ck_assert_ptr_nonnull(getcwd(before, sizeof before));
    write_file("main.lua", "x");
    ck_assert_int_eq(chdir(folder), 0);
    ck_assert_int_eq(source_open(&source, "main.lua"), 0);
    ck_assert_str_eq(source->folder, "./");
    ck_assert_str_eq(source->files[0].chunk, "@main.lua");
    ck_assert_int_eq(chdir(before), 0);
}
END_TEST

/* ---- Lines ---- */

static void line_is(int number, const char *wanted)
{
    size_t len = 0;
    const char *line = source_line(source, "@test.lua", number, &len);
    if (!wanted) {
        ck_assert_msg(!line, "line %d: '%.*s'", number, (int)len, line);
        return;
    }
    ck_assert_msg(line && len == strlen(wanted) && memcmp(line, wanted, len) == 0,
                  "line %d: '%.*s'", number, (int)len, line ? line : "");
}

static void from_text(const char *text)
{
    ck_assert_int_eq(source_from_bytes(&source, "test.lua", text, strlen(text)), 0);
}

START_TEST(lines_are_counted_from_one)
{
    from_text("first\r\n\n  third\nlast");
    line_is(0, NULL);
    line_is(-1, NULL);
    line_is(1, "first");
    line_is(2, "");
    line_is(3, "  third");
    line_is(4, "last");
    line_is(5, NULL);
    line_is(1000000000, NULL);
    size_t len;
    ck_assert_ptr_null(source_line(source, "@other.lua", 1, &len));
}
END_TEST

START_TEST(an_empty_script_has_no_line)
{
    from_text("");
    line_is(1, NULL);
    ck_assert_int_eq(source_line_of_key(source, "x"), 0);
}
END_TEST

START_TEST(keys_are_found_where_they_are_set)
{
    from_text("local listen = 1 == listen\n"
              "return {\n"
              "  my_framing = 1, framings = 2,\n"
              "  framing == 3,\n"
              "  framing = 'line',\n"
              "  [\"quoted\"] = 1,\n"
              "  spaced   = 1, on_message=f }\n"
              "framing = 'again'");
    ck_assert_int_eq(source_line_of_key(source, "framing"), 5);
    ck_assert_int_eq(source_line_of_key(source, "quoted"), 6);
    ck_assert_int_eq(source_line_of_key(source, "spaced"), 7);
    ck_assert_int_eq(source_line_of_key(source, "on_message"), 7);
    ck_assert_int_eq(source_line_of_key(source, "my_framing"), 3);
    ck_assert_int_eq(source_line_of_key(source, "none"), 0);
    ck_assert_int_eq(source_line_of_key(source, "message"), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("source");
    TCase *tcase = tcase_create("source");

    suite_add_tcase(suite, tcase);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_script_is_its_bytes);
    tcase_add_test(tcase, what_is_no_script_is_refused);
    tcase_add_test(tcase, a_file_that_is_too_big_is_refused);
    tcase_add_test(tcase, a_script_may_be_a_pipe);
    tcase_add_test(tcase, modules_are_found_along_the_paths_in_order);
    tcase_add_test(tcase, a_module_that_cannot_be_read_is_not_passed_over);
    tcase_add_test(tcase, a_sealed_source_reads_no_file);
    tcase_add_test(tcase, a_text_has_no_folder);
    tcase_add_test(tcase, a_script_beside_us_has_this_folder);
    tcase_add_test(tcase, lines_are_counted_from_one);
    tcase_add_test(tcase, an_empty_script_has_no_line);
    tcase_add_test(tcase, keys_are_found_where_they_are_set);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
