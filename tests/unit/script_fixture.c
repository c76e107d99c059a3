/* tests/unit/script_fixture.c - vm, reactor and log of a worker that serves nothing. */
#include "script_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <check.h>

#include "base/log.h"
#include "io/io.h"
#include "script/fault.h"
#include "script/source.h"

#define LOAD_TIMEOUT_MS 5000

struct script script;

static int log_fd;

static void on_wake(struct reactor *reactor)
{
    (void)reactor;
}

static void on_notice(struct reactor *reactor, enum counter counter,
                      const struct conn *conn, const char *detail)
{
    (void)reactor;
    (void)counter;
    (void)conn;
    snprintf(script.notice, sizeof script.notice, "%s", detail ? detail : "");
}

static const struct reactor_ops ops = {.on_wake = on_wake, .on_notice = on_notice};

static void unload(void)
{
    version_free(script.version);
    source_unref(script.source);
    script.version = NULL;
    script.source = NULL;
}

void script_limit(size_t memory_limit)
{
    unload();
    vm_free(script.vm);
    struct vm_host host = {.io = &io_system,
                           .log = script.log,
                           .reactor = script.reactor,
                           .worker = 1,
                           .workers = 1};
    script.vm = vm_new(&host, memory_limit);
    ck_assert_ptr_nonnull(script.vm);
}

void script_setup(void)
{
    script = (struct script){0};
    log_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    ck_assert_int_eq(log_open(&script.log, log_fd, LOG_TEXT, false), 0);
    script.reactor = reactor_new(&io_system, &ops, NULL);
    ck_assert_ptr_nonnull(script.reactor);
    script_limit(64U << 20);
}

void script_teardown(void)
{
    fault_close(script.vm);
    unload();
    budget_stop(&script.vm->budget);
    vm_free(script.vm);
    reactor_free(script.reactor);
    log_close(script.log);
    close(log_fd);
    free(script.error);
}

static const char *take_error(char *error, bool failed)
{
    free(script.error);
    script.error = error;
    return failed ? error ? error : "not enough memory" : NULL;
}

const char *script_load(const char *text)
{
    char *error;
    unload();
    ck_assert_int_eq(source_from_bytes(&script.source, "test.lua", text, strlen(text)), 0);
    script.version = version_load(script.vm, script.source, 1, LOAD_TIMEOUT_MS, &error);
    return take_error(error, !script.version);
}

const char *script_start(void)
{
    char *error;
    bool ok = hook_start(script.version, 0, &error);
    return take_error(error, !ok);
}

const char *script_run(const char *body)
{
    char *text = NULL;
    if (asprintf(&text, "return { listen = {}, on_start = function()\n%s\nend }", body) < 0)
        ck_abort_msg("no memory");
    const char *error = script_load(text);
    free(text);
    ck_assert_msg(!error, "%s", error);
    return script_start();
}
