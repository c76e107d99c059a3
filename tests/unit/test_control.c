/* tests/unit/test_control.c - server/control: lines in, answers out, and who may ask. */
#include "server/control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

#include "control_fixture.h"

/* Asks something wrong: `wanted` is somewhere in the error. */
static void check_wrong(const char *request, size_t len, const char *wanted)
{
    int fd = fixture_open();
    fixture_put_bytes(fd, request, len);
    const char *answer = fixture_get(fd);
    ck_assert_msg(strncmp(answer, "{\"ok\":false,\"error\":\"", 21) == 0, "%s", answer);
    ck_assert_msg(strstr(answer, "\"code\":\"EUSAGE\",\"status\":64"), "%s", answer);
    ck_assert_msg(strstr(answer, wanted), "%s\nhas no: %s", answer, wanted);
    fixture_put(fd, "{\"command\":\"echo\"}\n");
    fixture_expect(fd, "{\"ok\":true}");
    close(fd);
}

static void check_wrong_text(const char *request, const char *wanted)
{
    check_wrong(request, strlen(request), wanted);
}

/* ---- Lines ---- */

START_TEST(a_request_is_answered)
{
    fixture_ask("{\"command\":\"echo\",\"text\":\"hello\"}\n",
                "{\"ok\":true,\"got\":\"hello\"}");
}
END_TEST

START_TEST(an_id_of_any_kind_is_repeated)
{
    fixture_ask("{\"id\":7,\"command\":\"echo\"}\n", "{\"ok\":true,\"id\":7}");
    fixture_ask("{\"id\":null,\"command\":\"echo\"}\n", "{\"ok\":true,\"id\":null}");
    fixture_ask("{\"id\":[1,{\"a\":\"\\n\"}],\"command\":\"echo\",\"text\":\"x\"}\n",
                "{\"ok\":true,\"id\":[1,{\"a\":\"\\n\"}],\"got\":\"x\"}");
    check_wrong_text("{\"id\":\"me\",\"command\":\"eco\"}\n",
                     "\"status\":64,\"id\":\"me\"}");
}
END_TEST

START_TEST(several_requests_in_one_write_are_answered)
{
    int fd = fixture_open();
    fixture_put(fd, "{\"command\":\"echo\",\"id\":1}\n{\"command\":\"echo\",\"id\":2}\r\n"
                    "{\"command\":\"echo\",\"id\":3}\n");
    fixture_expect(fd, "{\"ok\":true,\"id\":1}");
    fixture_expect(fd, "{\"ok\":true,\"id\":2}");
    fixture_expect(fd, "{\"ok\":true,\"id\":3}");
    close(fd);
}
END_TEST

START_TEST(a_request_may_come_byte_by_byte)
{
    static const char request[] = "{\"command\":\"echo\",\"text\":\"\xc3\xa9\"}\n";
    int fd = fixture_open();
    for (size_t i = 0; i + 1 < sizeof request; i++) {
        fixture_put_bytes(fd, request + i, 1);
        fixture_rest(1);
    }
    fixture_expect(fd, "{\"ok\":true,\"got\":\"\xc3\xa9\"}");
    close(fd);
}
END_TEST

START_TEST(a_slow_reader_gets_thousands_of_answers)
{
    enum { COUNT = 20000 };
    static char requests[COUNT * 24];
    int fd = fixture_open();
    size_t len = 0, sent = 0;
    for (int i = 0; i < COUNT; i++)
        len += (size_t)sprintf(requests + len, "{\"command\":\"echo\"}\n");
    for (int i = 0; i < COUNT; i++) {
        ssize_t more = send(fd, requests + sent, len - sent, MSG_DONTWAIT);
        sent += more > 0 ? (size_t)more : 0;
        fixture_expect(fd, "{\"ok\":true}");
    }
    ck_assert_uint_eq(sent, len);
    ck_assert_uint_eq(fixture_rest(20), 1); /* nothing is left to do but to end */
    close(fd);
}
END_TEST

START_TEST(answers_come_in_the_order_in_which_they_are_ready)
{
    int fd = fixture_open();
    fixture_put(fd, "{\"command\":\"hold\",\"id\":1}\n{\"command\":\"hold\",\"id\":2}\n"
                    "{\"command\":\"echo\",\"id\":3}\n");
    fixture_expect(fd, "{\"ok\":true,\"id\":3}");
    ck_assert_uint_eq(fixture.held_count, 2);
    fixture_answer(1, "second");
    fixture_expect(fd, "{\"ok\":true,\"id\":2,\"got\":\"second\"}");
    fixture_answer(0, "first");
    fixture_expect(fd, "{\"ok\":true,\"id\":1,\"got\":\"first\"}");
    close(fd);
}
END_TEST

START_TEST(a_client_that_shuts_its_side_still_gets_its_answers)
{
    int fd = fixture_open();
    fixture_put(
        fd,
        "{\"command\":\"hold\"}\n{\"command\":\"echo\"}\n{\"command\":\"echo\",\"id\":1}");
    shutdown(fd, SHUT_WR);
    fixture_expect(fd, "{\"ok\":true}");
    fixture_expect(fd, "{\"ok\":true,\"id\":1}"); /* its last line had no newline */
    ck_assert_uint_lt(fixture_rest(20), 5);
    fixture_answer(0, "late");
    fixture_expect(fd, "{\"ok\":true,\"got\":\"late\"}");
    fixture_expect(fd, "<end>");
    close(fd);
}
END_TEST

START_TEST(a_client_may_be_gone_before_its_answer)
{
    int fd = fixture_open(), other = fixture_open();
    fixture_put(fd, "{\"command\":\"hold\"}\n{\"command\":\"hold\"}\n");
    fixture_put(other, "{\"command\":\"hold\",\"id\":5}\n");
    fixture_await_held(3);
    close(fd);
    fixture_rest(20);
    fixture_answer(0, "nobody");
    fixture_rest(20);
    fixture_answer(0, "somebody"); /* the other's, which took the free place */
    fixture_expect(other, "{\"ok\":true,\"id\":5,\"got\":\"somebody\"}");
    control_fail(fixture_take(0), 1, "EGONE", "nobody");
    close(other);
}
END_TEST

/* ---- Mistakes ---- */

START_TEST(what_is_no_request_is_an_error_and_no_end)
{
    static const char nul_inside[] = "{\"command\":\"echo\",\0\"id\":1}\n";
    static const char nul_after[] = "{\"command\":\"echo\"}\0\n";
    check_wrong_text("hello\n", "this is no JSON: column 5: ");
    check_wrong_text("\n", "this is no JSON");
    check_wrong_text("{\"command\":\"echo\"\n", "this is no JSON");
    check_wrong_text("{\"command\":\"echo\"} {}\n", "this is no JSON");
    check_wrong_text("{\"command\":\"echo\",\"command\":\"hold\"}\n",
                     "duplicate object key");
    check_wrong_text("{\"command\":\"echo\",\"text\":\"\xff\"}\n",
                     "unable to decode byte 0xff");
    check_wrong_text("{\"command\":\"echo\",\"text\":\"\\u0000\"}\n", "\\\\u0000");
    check_wrong(nul_inside, sizeof nul_inside - 1, "this is no JSON");
    check_wrong(nul_after, sizeof nul_after - 1, "this is no JSON");
    check_wrong_text("[1]\n", "a request is an object, as {\\\"command\\\":\\\"echo\\\"}");
    check_wrong_text("{}\n", "a request needs \\\"command\\\", a string");
    check_wrong_text("{\"command\":7,\"id\":8}\n", "\"id\":8}");
}
END_TEST

START_TEST(a_deep_nest_is_an_error)
{
    static char deep[8000];
    memset(deep, '[', sizeof deep);
    deep[sizeof deep - 1] = '\n';
    check_wrong(deep, sizeof deep, "maximum parsing depth");
}
END_TEST

START_TEST(an_unknown_word_is_answered_with_a_suggestion)
{
    check_wrong_text("{\"command\":\"ehco\"}\n",
                     "\"unknown command 'ehco'; did you mean 'echo'?\"");
    check_wrong_text("{\"command\":\"sing\"}\n", "\"unknown command 'sing'\"");
    check_wrong_text("{\"command\":\"echo\",\"txet\":\"a\"}\n",
                     "\"unknown argument 'txet' of 'echo'; did you mean 'text'?\"");
    check_wrong_text("{\"command\":\"hold\",\"text\":\"a\"}\n",
                     "\"unknown argument 'text' of 'hold'\"");
}
END_TEST

START_TEST(an_argument_has_the_type_of_its_row)
{
    check_wrong_text("{\"command\":\"echo\",\"text\":1}\n",
                     "argument 'text' of 'echo' must be a string, not a number");
    check_wrong_text("{\"command\":\"echo\",\"number\":\"1\"}\n",
                     "argument 'number' of 'echo' must be a whole number, not a string");
    check_wrong_text("{\"command\":\"echo\",\"number\":1.5}\n", "must be a whole number\"");
    check_wrong_text("{\"command\":\"echo\",\"flag\":null}\n",
                     "must be true or false, not null");
    check_wrong_text("{\"command\":\"fail\"}\n", "'fail' needs the argument 'text'");
    fixture_ask("{\"command\":\"echo\",\"text\":\"\",\"number\":-1,\"flag\":false}\n",
                "{\"ok\":true,\"got\":\"\"}");
}
END_TEST

START_TEST(an_id_may_be_an_argument)
{
    fixture_ask("{\"command\":\"kick\",\"id\":17}\n", "{\"ok\":true,\"id\":17}");
    check_wrong_text("{\"command\":\"kick\",\"id\":\"17\"}\n",
                     "argument 'id' of 'kick' must be a whole number");
    check_wrong_text("{\"command\":\"kick\"}\n", "'kick' needs the argument 'id'");
}
END_TEST

START_TEST(a_failure_has_any_text_and_a_status)
{
    fixture_ask("{\"command\":\"fail\",\"text\":\"oh\",\"id\":1}\n",
                "{\"ok\":false,\"error\":\"chat.lua:1:\\noh\xef\xbf\xbd\","
                "\"code\":\"ESCRIPT\",\"status\":65,\"id\":1}");
    fixture_ask(
        "{\"command\":\"none\"}\n",
        "{\"ok\":false,\"error\":\"no memory for the answer, or it has text that is "
        "not UTF-8\",\"code\":\"ENOMEM\",\"status\":71}");
}
END_TEST

static void check_text(const char *bytes, size_t len, const char *wanted)
{
    json_t *text = control_text(bytes, len);
    ck_assert_ptr_nonnull(text);
    char *dumped = json_dumps(text, JSON_ENCODE_ANY);
    ck_assert_str_eq(dumped, wanted);
    free(dumped);
    json_decref(text);
}

START_TEST(any_bytes_become_a_string)
{
    check_text("plain \"\xc3\xa9\"", 10, "\"plain \\\"\xc3\xa9\\\"\"");
    check_text("a\xff\n\0b", 5, "\"a\xef\xbf\xbd\\n\\u0000b\"");
    check_text("", 0, "\"\"");
}
END_TEST

/* ---- Rights ---- */

START_TEST(the_owner_and_root_may_do_all_and_others_nothing)
{
    unsigned all = CONTROL_VIEW | CONTROL_OPERATE | CONTROL_SCRIPT;
    ck_assert_uint_eq(control_rights(1000, 1000), all);
    ck_assert_uint_eq(control_rights(0, 1000), all);
    ck_assert_uint_eq(control_rights(0, 0), all);
    ck_assert_uint_eq(control_rights(1001, 1000), 0);
    ck_assert_uint_eq(control_rights(1000, 0), 0);
    ck_assert_uint_eq(control_rights((uid_t)-1, 0), 0);
}
END_TEST

/* Aborts. */
static void open_table(const struct control_command *table)
{
    char why[CONTROL_WHY_MAX];
    struct control *none = NULL;
    struct control_config config = {.name = "none", .commands = table};
    (void)!control_open(&none, NULL, &config, why);
}

START_TEST(a_command_without_a_right_is_a_broken_program)
{
    struct control_command table[] = {fixture_commands[0], {.name = NULL}};
    table[0].right = 0;
    open_table(table);
}
END_TEST

START_TEST(so_is_one_with_two_rows)
{
    struct control_command table[] = {
        fixture_commands[0], fixture_commands[1], fixture_commands[0], {.name = NULL}};
    open_table(table);
}
END_TEST

/* In a child of another user: connects and writes what it gets to `out`. */
static void be_foreign(int out)
{
    char got[512];
    int fd = fixture_socket();
    if (setgid(65534) < 0 || setuid(65534) < 0 || fixture_connect(fd) < 0)
        _exit(1);
    ssize_t len, written = -1;
    while ((len = recv(fd, got, sizeof got, 0)) > 0)
        written = write(out, got, (size_t)len);
    _exit(written > 0 ? 0 : 2);
}

static int child_says;

static pid_t start_foreign(void)
{
    int out[2];
    ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        be_foreign(out[1]);
    close(out[1]);
    child_says = out[0];
    return child;
}

static bool child_has_ended(void)
{
    struct pollfd ready = {.fd = child_says, .events = POLLIN};
    return poll(&ready, 1, 0) == 1 && (ready.revents & POLLHUP);
}

/* Waits for its end; what it was told is written to `got`. */
static void end_foreign(pid_t child, char *got, size_t size)
{
    int status = -1;
    fixture_await(child_has_ended);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_int_gt(read(child_says, got, size), 0);
    close(child_says);
}

static void check_same(const char *got, const char *wanted)
{
    ck_assert_str_eq(got, wanted);
}

static void open_to_all(const char *path, mode_t mode)
{
    ck_assert_int_eq(chmod(path, mode), 0);
}

START_TEST(another_user_is_refused_even_where_files_would_let_it_in)
{
    if (geteuid() != 0)
        return; /* it takes root to be another */
    char path[128], got[512] = "";
    snprintf(path, sizeof path, "%s/neap", fixture.folder);
    open_to_all(fixture.folder, 0711);
    open_to_all(path, 0711);
    open_to_all(control_socket_path(fixture.control), 0666);
    pid_t child = start_foreign();
    end_foreign(child, got, sizeof got - 1);
    check_same(got, "{\"ok\":false,\"error\":\"this server listens to its owner and to "
                    "root only\",\"code\":\"EPERM\",\"status\":77}\n");
    snprintf(got, sizeof got, "control socket: refused process %d of user 65534\n",
             (int)child);
    check_same(fixture.logged, got);
}
END_TEST

/* ---- The end ---- */

START_TEST(answers_already_given_are_sent_at_the_end)
{
    int fd = fixture_open(), other = fixture_open();
    fixture_put(fd, "{\"command\":\"hold\"}\n{\"command\":\"hold\"}\n");
    fixture_put(other, "{\"command\":\"hold\"}\n");
    fixture_await_held(3);
    fixture_answer(0, "bye");
    control_answer(fixture_take(0),
                   fixture_long(CONTROL_ANSWER_MAX - 100)); /* is not read */
    fixture_close();
    char got[64] = "";
    ck_assert_int_gt(recv(fd, got, 27, MSG_DONTWAIT), 0);
    ck_assert_msg(strstr(got, "\"ok\":true"), "%s", got);
    ck_assert_uint_eq(fixture.held_count, 1);
    close(fd);
    close(other);
}
END_TEST

START_TEST(nobody_finds_it_after_the_end)
{
    int fd = fixture_socket();
    fixture_close();
    ck_assert_int_eq(fixture_connect(fd), -ENOENT);
    close(fd);
}
END_TEST

static void add_lines(TCase *tcase)
{
    tcase_add_test(tcase, a_request_is_answered);
    tcase_add_test(tcase, an_id_of_any_kind_is_repeated);
    tcase_add_test(tcase, several_requests_in_one_write_are_answered);
    tcase_add_test(tcase, a_request_may_come_byte_by_byte);
    tcase_add_test(tcase, a_slow_reader_gets_thousands_of_answers);
    tcase_add_test(tcase, answers_come_in_the_order_in_which_they_are_ready);
    tcase_add_test(tcase, a_client_that_shuts_its_side_still_gets_its_answers);
    tcase_add_test(tcase, a_client_may_be_gone_before_its_answer);
    tcase_add_test(tcase, what_is_no_request_is_an_error_and_no_end);
    tcase_add_test(tcase, a_deep_nest_is_an_error);
    tcase_add_test(tcase, an_unknown_word_is_answered_with_a_suggestion);
    tcase_add_test(tcase, an_argument_has_the_type_of_its_row);
    tcase_add_test(tcase, an_id_may_be_an_argument);
    tcase_add_test(tcase, a_failure_has_any_text_and_a_status);
    tcase_add_test(tcase, any_bytes_become_a_string);
}

static void add_rights(TCase *tcase)
{
    tcase_add_test(tcase, the_owner_and_root_may_do_all_and_others_nothing);
    tcase_add_test(tcase, another_user_is_refused_even_where_files_would_let_it_in);
    tcase_add_test(tcase, answers_already_given_are_sent_at_the_end);
    tcase_add_test(tcase, nobody_finds_it_after_the_end);
}

int main(void)
{
    Suite *suite = suite_create("control");
    TCase *tcase = tcase_create("control"), *tables = tcase_create("tables");

    suite_add_tcase(suite, tcase);
    tcase_add_checked_fixture(tcase, fixture_setup, fixture_teardown);
    add_lines(tcase);
    add_rights(tcase);
    suite_add_tcase(suite, tables);
    tcase_add_test_raise_signal(tables, a_command_without_a_right_is_a_broken_program,
                                SIGABRT);
    tcase_add_test_raise_signal(tables, so_is_one_with_two_rows, SIGABRT);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
