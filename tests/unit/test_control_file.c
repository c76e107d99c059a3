/* tests/unit/test_control_file.c - server/control_path and control_file: where the socket is,
 * and what is left alone. */
#include "server/control_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

static struct control_file file, other;
static char why[CONTROL_WHY_MAX];
static char root[64], folder[96], path[112], lock[112];

static void setup(void)
{
    strcpy(root, "/tmp/neap-control-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    ck_assert_int_eq(setenv("XDG_RUNTIME_DIR", root, 1), 0);
    snprintf(folder, sizeof folder, "%s/neap", root);
    snprintf(path, sizeof path, "%s/test.sock", folder);
    snprintf(lock, sizeof lock, "%s/test.lock", folder);
    file = other = (struct control_file){.fd = -1, .lock = -1};
    why[0] = '\0';
}

static void remove_any(const char *name)
{
    if (unlink(name) < 0 && errno == EISDIR)
        ck_assert_int_eq(rmdir(name), 0);
}

static void teardown(void)
{
    control_file_close(&file);
    control_file_close(&other);
    remove_any(path);
    remove_any(lock);
    remove_any(folder);
    ck_assert_int_eq(rmdir(root), 0);
}

static void check_open(void)
{
    int failed = control_file_open(&file, "test", why);
    ck_assert_msg(failed == 0, "%d: %s", failed, why);
    ck_assert_str_eq(file.path, path);
}

/* `wanted` and the path are in the sentence. */
static void check_refused(int error, const char *wanted, const char *named)
{
    int failed = control_file_open(&other, "test", why);
    ck_assert_msg(failed == -error, "%d: %s", failed, why);
    ck_assert_msg(strstr(why, wanted) && strstr(why, named), "%s", why);
    ck_assert_int_eq(other.fd, -1);
    ck_assert_int_eq(other.lock, -1);
}

static unsigned mode_of(const char *name)
{
    struct stat found;
    ck_assert_int_eq(lstat(name, &found), 0);
    return (unsigned)found.st_mode & 07777U;
}

static struct sockaddr_un address_of(const char *name)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "%s", name);
    return at;
}

static int connect_to(const char *name)
{
    struct sockaddr_un at = address_of(name);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int error = connect(fd, (struct sockaddr *)&at, sizeof at) < 0 ? errno : 0;
    close(fd);
    return error;
}

static int bind_at(const char *name)
{
    struct sockaddr_un at = address_of(name);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

static void make_file(const char *name)
{
    int fd = open(name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    close(fd);
}

/* ---- Names and paths ---- */

static const struct {
    const char *name;
    bool valid;
} names[] = {
    {"default", true}, {"a", true},    {"A-b_c.9", true},   {"-", true},    {"a..", true},
    {"", false},       {".", false},   {"..", false},       {".a", false},  {"a/b", false},
    {"a b", false},    {"a\n", false}, {"\xc3\xa9", false}, {"a%s", false},
};

START_TEST(a_name_has_letters_digits_and_three_signs)
{
    ck_assert_msg(control_name_is_valid(names[_i].name) == names[_i].valid, "'%s'",
                  names[_i].name);
    char got[CONTROL_PATH_MAX];
    int failed = control_path(names[_i].name, got, sizeof got, why);
    ck_assert_int_eq(failed, names[_i].valid ? 0 : -EINVAL);
    if (failed)
        ck_assert_msg(strstr(why, "cannot be the name of a server"), "%s", why);
}
END_TEST

START_TEST(a_name_has_64_bytes_at_most)
{
    char name[CONTROL_NAME_MAX + 2];
    memset(name, 'n', sizeof name);
    name[CONTROL_NAME_MAX + 1] = '\0';
    ck_assert(!control_name_is_valid(name));
    name[CONTROL_NAME_MAX] = '\0';
    ck_assert(control_name_is_valid(name));
}
END_TEST

static void check_path(const char *wanted)
{
    char got[CONTROL_PATH_MAX];
    int failed = control_path("x", got, sizeof got, why);
    ck_assert_msg(failed == 0, "%s", why);
    ck_assert_str_eq(got, wanted);
}

START_TEST(the_runtime_folder_comes_first)
{
    setenv("TMPDIR", "/tmp/none", 1);
    setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
    check_path("/run/user/7/neap/x.sock");
}
END_TEST

/* Becomes another user in the process of this test, which is forked. */
START_TEST(without_one_root_has_run_and_others_the_temporary_folder)
{
    static const char *const unusable[] = {NULL, "", "run", "./run"};
    const char *value = unusable[_i];
    unsetenv("XDG_RUNTIME_DIR");
    if (value)
        setenv("XDG_RUNTIME_DIR", value, 1);
    setenv("TMPDIR", "/var/tmp", 1);
    if (geteuid() == 0) {
        check_path("/run/neap/x.sock");
        ck_assert_int_eq(seteuid(65534), 0);
    }
    char wanted[64];
    snprintf(wanted, sizeof wanted, "/var/tmp/neap-%u/x.sock", (unsigned)geteuid());
    check_path(wanted);
    setenv("TMPDIR", "tmp", 1);
    snprintf(wanted, sizeof wanted, "/tmp/neap-%u/x.sock", (unsigned)geteuid());
    check_path(wanted);
    unsetenv("TMPDIR");
    check_path(wanted);
    if (getuid() == 0)
        ck_assert_int_eq(seteuid(0), 0);
}
END_TEST

START_TEST(a_path_that_cannot_be_bound_is_refused)
{
    char got[200], deep[CONTROL_PATH_MAX];
    memset(deep, 'd', sizeof deep);
    deep[0] = '/';
    deep[107 - 12] = '\0'; /* strlen("/neap/x.sock") */
    setenv("XDG_RUNTIME_DIR", deep, 1);
    ck_assert_int_eq(control_path("x", got, sizeof got, why), 0);
    ck_assert_uint_eq(strlen(got), 107);
    ck_assert_int_eq(control_path("xx", got, sizeof got, why), -ENAMETOOLONG);
    ck_assert_msg(strstr(why, "has 108 bytes, and a socket's may have 107"), "%s", why);
    ck_assert_msg(strstr(why, "a shorter --name or XDG_RUNTIME_DIR"), "%s", why);
    ck_assert_int_eq(control_path("x", got, 107, why), -ENAMETOOLONG);
}
END_TEST

/* ---- Folder ---- */

START_TEST(folder_socket_and_lock_are_the_owners_alone)
{
    mode_t masks[] = {0, 0077, 0777};
    mode_t before = umask(masks[_i]);
    check_open();
    umask(before);
    ck_assert_uint_eq(mode_of(folder), 0700);
    ck_assert_uint_eq(mode_of(path), 0600);
    ck_assert_uint_eq(mode_of(lock), 0600);
    ck_assert_int_eq(connect_to(path), 0);
    control_file_close(&file);
    ck_assert_int_eq(access(path, F_OK), -1);
    ck_assert_int_eq(access(lock, F_OK), 0); /* stays */
    check_open();
}
END_TEST

START_TEST(a_folder_that_others_may_write_is_refused)
{
    static const mode_t modes[] = {0777, 0720, 0702, 01777};
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    ck_assert_int_eq(chmod(folder, modes[_i]), 0);
    check_refused(EPERM, "others may write", folder);
    ck_assert_msg(strstr(why, "chmod 700 "), "%s", why);
    ck_assert_uint_eq(mode_of(folder), modes[_i]);
    ck_assert_int_eq(access(lock, F_OK), -1);
    ck_assert_int_eq(chmod(folder, 0755), 0); /* to read is allowed */
    check_open();
}
END_TEST

START_TEST(a_folder_that_is_a_link_is_refused)
{
    char real[96];
    snprintf(real, sizeof real, "%s/real", root);
    ck_assert_int_eq(mkdir(real, 0700), 0);
    ck_assert_int_eq(symlink(real, folder), 0);
    check_refused(ENOTDIR, "that is no folder", folder);
    ck_assert_int_eq(rmdir(real), 0); /* nothing was made in it */
}
END_TEST

START_TEST(a_folder_of_another_is_refused)
{
    if (geteuid() != 0)
        return; /* it takes root to give it away */
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    ck_assert_int_eq(chown(folder, 65534, (gid_t)-1), 0);
    check_refused(EPERM, "belongs to user 65534", folder);
}
END_TEST

START_TEST(a_folder_that_cannot_be_made_is_named)
{
    char none[96];
    snprintf(none, sizeof none, "%s/none", root);
    setenv("XDG_RUNTIME_DIR", none, 1);
    check_refused(ENOENT, "set XDG_RUNTIME_DIR", none);
}
END_TEST

/* ---- What is there already ---- */

START_TEST(a_second_server_of_the_name_is_refused)
{
    struct stat before, after;
    check_open();
    ck_assert_int_eq(lstat(path, &before), 0);
    check_refused(EADDRINUSE, "another neap serves under the name 'test' (", path);
    ck_assert_msg(strstr(why, "give this one another with --name"), "%s", why);
    ck_assert_int_eq(lstat(path, &after), 0);
    ck_assert_uint_eq(before.st_ino, after.st_ino);
    ck_assert_int_eq(connect_to(path), 0);
    ck_assert_int_eq(control_file_open(&other, "test2", why), 0);
    snprintf(lock, sizeof lock, "%s/test2.lock", folder);
    ck_assert_int_eq(unlink(lock), 0);
    snprintf(lock, sizeof lock, "%s/test.lock", folder);
}
END_TEST

/* A server whose lock file somebody removed is still there. */
START_TEST(so_it_is_when_only_the_socket_tells)
{
    check_open();
    ck_assert_int_eq(unlink(lock), 0);
    check_refused(EADDRINUSE, "another neap serves under the name 'test' (", path);
    ck_assert_int_eq(connect_to(path), 0);
}
END_TEST

START_TEST(so_it_is_when_the_first_is_just_starting)
{
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    make_file(lock);
    int fd = open(lock, O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(flock(fd, LOCK_EX), 0);
    check_refused(EADDRINUSE, "another neap serves under the name 'test' (", path);
    ck_assert_int_eq(access(path, F_OK), -1);
    close(fd);
    check_open();
}
END_TEST

START_TEST(so_it_is_when_it_is_too_busy_to_answer)
{
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    int fd = bind_at(path), waiting[8], count = 0;
    ck_assert_int_eq(listen(fd, 0), 0);
    struct sockaddr_un at = address_of(path);
    do
        waiting[count] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    while (connect(waiting[count++], (struct sockaddr *)&at, sizeof at) == 0 && count < 8);
    ck_assert_int_eq(errno, EAGAIN);
    check_refused(EADDRINUSE, "another neap serves", path);
    while (count)
        close(waiting[--count]);
    close(fd);
}
END_TEST

START_TEST(the_lock_goes_with_a_server_that_is_killed)
{
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        _exit(control_file_open(&file, "test", why) == 0 ? 7 : 1);
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(WEXITSTATUS(status), 7);
    ck_assert_int_eq(connect_to(path), ECONNREFUSED); /* stale */
    check_open();
    ck_assert_int_eq(connect_to(path), 0);
}
END_TEST

START_TEST(a_socket_that_is_none_of_ours_is_not_deleted)
{
    if (geteuid() != 0)
        return; /* it takes root to give it away */
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    close(bind_at(path));
    ck_assert_int_eq(chown(path, 65534, (gid_t)-1), 0);
    check_refused(EPERM, "belongs to user 65534", path);
    ck_assert_int_eq(access(path, F_OK), 0);
}
END_TEST

static void check_kept(mode_t type)
{
    struct stat before, after;
    ck_assert_int_eq(lstat(path, &before), 0);
    check_refused(EEXIST, "there is something else", path);
    ck_assert_int_eq(lstat(path, &after), 0);
    ck_assert_uint_eq(before.st_ino, after.st_ino);
    ck_assert_uint_eq(after.st_mode & S_IFMT, type);
}

START_TEST(a_plain_file_at_the_path_is_not_deleted)
{
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    make_file(path);
    check_kept(S_IFREG);
}
END_TEST

START_TEST(nor_is_a_link_even_to_a_dead_socket)
{
    char dead[112];
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    snprintf(dead, sizeof dead, "%s/dead", folder);
    close(bind_at(dead));
    ck_assert_int_eq(symlink(dead, path), 0);
    check_kept(S_IFLNK);
    ck_assert_int_eq(unlink(dead), 0);
    check_kept(S_IFLNK);
}
END_TEST

START_TEST(nor_is_a_folder)
{
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    check_kept(S_IFDIR);
}
END_TEST

START_TEST(a_lock_that_is_a_link_or_a_pipe_is_refused)
{
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    ck_assert_int_eq(symlink("elsewhere", lock), 0);
    check_refused(ELOOP, "cannot open the lock", lock);
    ck_assert_int_eq(unlink(lock), 0);
    ck_assert_int_eq(mkfifo(lock, 0600), 0);
    check_refused(EEXIST, "is no file of ours", lock);
}
END_TEST

/* ---- The end ---- */

START_TEST(a_file_that_another_put_there_is_not_removed)
{
    check_open();
    ck_assert_int_eq(unlink(path), 0);
    int fd = bind_at(path);
    control_file_close(&file);
    ck_assert_int_eq(access(path, F_OK), 0);
    close(fd);
}
END_TEST

static void add_paths(TCase *tcase)
{
    tcase_add_loop_test(tcase, a_name_has_letters_digits_and_three_signs, 0,
                        ARRAY_LEN(names));
    tcase_add_test(tcase, a_name_has_64_bytes_at_most);
    tcase_add_test(tcase, the_runtime_folder_comes_first);
    tcase_add_loop_test(tcase, without_one_root_has_run_and_others_the_temporary_folder, 0,
                        4);
    tcase_add_test(tcase, a_path_that_cannot_be_bound_is_refused);
}

static void add_files(TCase *tcase)
{
    tcase_add_loop_test(tcase, folder_socket_and_lock_are_the_owners_alone, 0, 3);
    tcase_add_loop_test(tcase, a_folder_that_others_may_write_is_refused, 0, 4);
    tcase_add_test(tcase, a_folder_that_is_a_link_is_refused);
    tcase_add_test(tcase, a_folder_of_another_is_refused);
    tcase_add_test(tcase, a_folder_that_cannot_be_made_is_named);
    tcase_add_test(tcase, a_second_server_of_the_name_is_refused);
    tcase_add_test(tcase, so_it_is_when_only_the_socket_tells);
    tcase_add_test(tcase, so_it_is_when_the_first_is_just_starting);
    tcase_add_test(tcase, so_it_is_when_it_is_too_busy_to_answer);
    tcase_add_test(tcase, the_lock_goes_with_a_server_that_is_killed);
    tcase_add_test(tcase, a_socket_that_is_none_of_ours_is_not_deleted);
    tcase_add_test(tcase, a_plain_file_at_the_path_is_not_deleted);
    tcase_add_test(tcase, nor_is_a_link_even_to_a_dead_socket);
    tcase_add_test(tcase, nor_is_a_folder);
    tcase_add_test(tcase, a_lock_that_is_a_link_or_a_pipe_is_refused);
    tcase_add_test(tcase, a_file_that_another_put_there_is_not_removed);
}

int main(void)
{
    Suite *suite = suite_create("control_file");
    TCase *paths = tcase_create("paths"), *files = tcase_create("files");

    suite_add_tcase(suite, paths);
    tcase_add_checked_fixture(paths, setup, teardown);
    add_paths(paths);
    suite_add_tcase(suite, files);
    tcase_add_checked_fixture(files, setup, teardown);
    add_files(files);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
