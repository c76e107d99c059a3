/* tests/unit/control_fixture.c - a control socket, its commands and its clients. */
#include "control_fixture.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <check.h>

#include "io/io.h"
#include "net/loop.h"

#define DEADLINE_MS 30000

struct fixture fixture;

static bool (*awaited)(void); /* NULL: resting */
static unsigned turns, wanted_held;
static int reader;
static char line[8192];
static size_t line_len;

/* ---- Commands ---- */

static void run_echo(void *owner, struct control_request *request, json_t *arguments)
{
    ck_assert_ptr_eq(owner, &fixture);
    json_t *answer = json_object();
    json_object_set(answer, "got", json_object_get(arguments, "text"));
    control_answer(request, answer);
}

static void run_hold(void *owner, struct control_request *request, json_t *arguments)
{
    (void)owner;
    (void)arguments;
    ck_assert_uint_lt(fixture.held_count, FIXTURE_HELD_MAX);
    fixture.held[fixture.held_count++] = request;
}

static void run_fail(void *owner, struct control_request *request, json_t *arguments)
{
    (void)owner;
    const char *text = json_string_value(json_object_get(arguments, "text"));
    control_fail(request, 65, "ESCRIPT", "chat.lua:1:\n%s\xff", text);
}

static void run_kick(void *owner, struct control_request *request, json_t *arguments)
{
    (void)owner;
    json_t *id = json_object_get(arguments, "id");
    control_answer(request, json_pack("{s:O,s:b}", "id", id, "ok", 0));
}

static void run_none(void *owner, struct control_request *request, json_t *arguments)
{
    (void)owner;
    (void)arguments;
    control_answer(request, NULL);
}

static const struct control_argument echo_arguments[] = {{"text", CONTROL_TEXT, false},
                                                         {"number", CONTROL_INTEGER, false},
                                                         {"flag", CONTROL_BOOLEAN, false},
                                                         {.name = NULL}};
static const struct control_argument fail_arguments[] = {{"text", CONTROL_TEXT, true},
                                                         {.name = NULL}};
static const struct control_argument kick_arguments[] = {{"id", CONTROL_INTEGER, true},
                                                         {.name = NULL}};

const struct control_command fixture_commands[] = {
    {"echo", CONTROL_VIEW, run_echo, echo_arguments},
    {"hold", CONTROL_OPERATE, run_hold, NULL},
    {"fail", CONTROL_SCRIPT, run_fail, fail_arguments},
    {"kick", CONTROL_OPERATE, run_kick, kick_arguments},
    {"none", CONTROL_VIEW, run_none, NULL},
    {.name = NULL}};

/* ---- The loop ---- */

static bool on_turn(void *owner)
{
    (void)owner;
    turns++;
    if (awaited && awaited())
        loop_stop(fixture.loop);
    return awaited != NULL;
}

static void on_alarm(void *owner)
{
    (void)owner;
    ck_assert_msg(!awaited, "it does not come; logged: %s", fixture.logged);
    loop_stop(fixture.loop);
}

static void on_wake(void *owner)
{
    (void)owner;
}

static const struct loop_ops ops = {
    .on_turn = on_turn, .on_alarm = on_alarm, .on_wake = on_wake};

static void run_for(unsigned ms)
{
    turns = 0;
    loop_update_now(fixture.loop);
    loop_set_alarm(fixture.loop, loop_now_ms(fixture.loop) + ms);
    loop_run(fixture.loop);
}

void fixture_await(bool (*is_so)(void))
{
    awaited = is_so;
    run_for(DEADLINE_MS);
}

unsigned fixture_rest(unsigned ms)
{
    awaited = NULL;
    run_for(ms);
    return turns;
}

static bool enough_is_held(void)
{
    return fixture.held_count >= wanted_held;
}

void fixture_await_held(unsigned count)
{
    wanted_held = count;
    fixture_await(enough_is_held);
    ck_assert_uint_eq(fixture.held_count, count);
}

/* ---- Life ---- */

static void on_log(void *owner, enum log_level level, const char *text)
{
    ck_assert_ptr_eq(owner, &fixture);
    ck_assert_int_eq(level, LOG_WARN);
    size_t len = strlen(fixture.logged);
    snprintf(fixture.logged + len, sizeof fixture.logged - len, "%s\n", text);
}

void fixture_setup(void)
{
    char why[CONTROL_WHY_MAX] = "";
    struct control_config config = {
        .name = "test", .commands = fixture_commands, .owner = &fixture, .log = on_log};
    fixture = (struct fixture){.folder = "/tmp/neap-control-XXXXXX"};
    ck_assert_ptr_nonnull(mkdtemp(fixture.folder));
    ck_assert_int_eq(setenv("XDG_RUNTIME_DIR", fixture.folder, 1), 0);
    signal(SIGPIPE, SIG_IGN);
    fixture.loop = loop_new(&io_system, &ops, &fixture);
    ck_assert_ptr_nonnull(fixture.loop);
    int failed = control_open(&fixture.control, fixture.loop, &config, why);
    ck_assert_msg(failed == 0, "%d: %s", failed, why);
}

void fixture_close(void)
{
    control_close(fixture.control);
    fixture.control = NULL;
}

void fixture_teardown(void)
{
    char path[128];
    fixture_close();
    while (fixture.held_count) /* a request may outlive the socket */
        fixture_answer(0, "too late");
    loop_free(fixture.loop);
    snprintf(path, sizeof path, "%s/neap/test.lock", fixture.folder);
    ck_assert_int_eq(unlink(path), 0);
    snprintf(path, sizeof path, "%s/neap", fixture.folder);
    ck_assert_int_eq(rmdir(path), 0);
    ck_assert_int_eq(rmdir(fixture.folder), 0);
}

/* ---- Clients ---- */

int fixture_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    return fd;
}

int fixture_connect(int fd)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "%s/neap/test.sock", fixture.folder);
    return connect(fd, (struct sockaddr *)&at, sizeof at) < 0 ? -errno : 0;
}

int fixture_open(void)
{
    int fd = fixture_socket();
    ck_assert_int_eq(fixture_connect(fd), 0);
    return fd;
}

void fixture_put_bytes(int fd, const char *bytes, size_t len)
{
    ck_assert_int_eq(send(fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
}

void fixture_put(int fd, const char *text)
{
    fixture_put_bytes(fd, text, strlen(text));
}

static bool line_has_come(void)
{
    ssize_t got;
    while ((got = recv(reader, line + line_len, 1, MSG_DONTWAIT)) > 0) {
        if (line[line_len] == '\n')
            return true;
        ck_assert_uint_lt(++line_len, sizeof line);
    }
    if (got == 0 || errno == ECONNRESET) {
        line_len = (size_t)snprintf(line, sizeof line, "<end>");
        return true;
    }
    ck_assert_int_eq(errno, EAGAIN);
    return false;
}

const char *fixture_get(int fd)
{
    reader = fd;
    line_len = 0;
    fixture_await(line_has_come);
    line[line_len] = '\0';
    return line;
}

void fixture_expect(int fd, const char *wanted)
{
    ck_assert_str_eq(fixture_get(fd), wanted);
}

void fixture_ask(const char *request, const char *answer)
{
    int fd = fixture_open();
    fixture_put(fd, request);
    fixture_expect(fd, answer);
    fixture_put(fd, "{\"command\":\"echo\"}\n");
    fixture_expect(fd, "{\"ok\":true}");
    close(fd);
}

/* ---- Held requests ---- */

struct control_request *fixture_take(unsigned index)
{
    ck_assert_uint_lt(index, fixture.held_count);
    struct control_request *request = fixture.held[index];
    fixture.held[index] = fixture.held[--fixture.held_count];
    return request;
}

void fixture_answer(unsigned index, const char *text)
{
    control_answer(fixture_take(index), json_pack("{s:s}", "got", text));
}

json_t *fixture_long(size_t len)
{
    char *bytes = malloc(len);
    ck_assert_ptr_nonnull(bytes);
    memset(bytes, 'x', len);
    json_t *text = json_stringn(bytes, len);
    free(bytes);
    return json_pack("{s:o}", "text", text);
}
