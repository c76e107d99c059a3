/* cli/cmd_console.c - `neap console`: `neap eval`, line after line. */
#include <errno.h>
#include <string.h>
#include <sysexits.h>

#include "cli/answer.h"
#include "cli/control_client.h"
#include "cli/control_command.h"
#include "cli/editor.h"
#include "cli/report.h"

struct console {
    struct control_options options;
    struct editor editor;
    struct control_client client; /* fd -1: to be opened for the next line */
};

static int set_worker(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    return control_put_number(options, "worker", value, why);
}

static const struct control_command control = {
    .command = &cmd_console,
    .request = "eval",
    .timeout_ms = CONTROL_TIMEOUT_MS,
    .print = answer_put_results,
};

static int connect_again(struct console *console, char why[FLAGS_WHY_MAX])
{
    if (console->client.fd >= 0)
        return 0;
    return control_client_open(&console->client, console->options.name,
                               console->options.timeout_ms, why);
}

/* Returns the exit status that `neap eval` would have. */
static int eval(struct console *console, const char *code)
{
    char why[FLAGS_WHY_MAX];
    json_t *answer = NULL;
    int rc = control_put_text(&console->options, "code", code, why);
    if (rc < 0) {
        report_error("line: %s", why);
        return rc == -EINVAL ? EX_USAGE : EX_OSERR;
    }
    rc = connect_again(console, why);
    if (rc == 0)
        rc = control_client_ask(&console->client, console->options.request, &answer, why);
    if (rc < 0) {
        control_client_close(&console->client);
        report_error("%s", why);
        return control_client_status(rc);
    }
    int status = control_print(&control, &console->options, answer);
    json_decref(answer);
    return status;
}

/* Reads and does until the end. Someone who types has seen what failed; a program that pipes
 * learns it from the exit status. */
static int converse(struct console *console)
{
    const char *line;
    int status = EX_OK;
    int rc;
    while ((rc = editor_read(&console->editor, &line)) == 1 && strcmp(line, "exit") != 0) {
        int failed = *line ? eval(console, line) : EX_OK;
        if (failed != EX_OK && !editor_is_interactive(&console->editor))
            status = failed;
        fflush(stdout);
        /* Without a server the rest of a pipe would be as many errors. */
        if (console->client.fd < 0 && !editor_is_interactive(&console->editor))
            return status;
    }
    if (rc >= 0)
        return status;
    report_error("standard input: %s", strerror(-rc));
    return EX_IOERR;
}

/* That there is no server is said before a line is typed. COMMAND_GO_ON or an exit status. */
static int open_console(struct console *console)
{
    char why[FLAGS_WHY_MAX];
    int rc = control_client_open(&console->client, console->options.name,
                                 console->options.timeout_ms, why);
    if (rc < 0) {
        report_error("%s", why);
        return control_client_status(rc);
    }
    if (editor_open(&console->editor) == 0)
        return COMMAND_GO_ON;
    report_error("out of memory");
    return EX_OSERR;
}

static const struct example console_examples[] = {
    {"neap console", "type Lua; Ctrl-D or exit ends it"},
    {"neap console --worker 2", "in the second worker"},
    {"neap console < check.txt", "each line of a file"},
    {NULL, NULL},
};

static const struct flag console_flags[] = {
    {"worker", 0, "N", "run lines in this worker; 1 if nothing is said", NULL, false,
     set_worker},
    CONTROL_FLAGS(CONTROL_WAITS_10_S),
    {.name = NULL},
};

static int run(int argc, char **argv)
{
    struct console console = {.client = {.fd = -1}};
    int status = control_parse(&control, &console.options, argc, argv);
    if (status == COMMAND_GO_ON)
        status = open_console(&console);
    if (status == COMMAND_GO_ON)
        status = converse(&console);
    editor_close(&console.editor);
    control_client_close(&console.client);
    control_options_fini(&console.options);
    return status;
}

const struct command cmd_console = {
    .name = "console",
    .summary = "type Lua for the running server",
    .usage = "console [FLAG]...",
    .about =
        "Reads lines and runs each as neap eval does: an expression or statements, in a "
        "worker, among the globals of the script that serves; a local variable ends with "
        "its line. On a terminal lines can be edited, and the arrow keys bring earlier "
        "ones back; they are kept nowhere else. exit or Ctrl-D ends it, an error does "
        "not.\n"
        "When the lines come from elsewhere, the exit status is that of the last line "
        "that failed.",
    .operand_max = 0,
    .examples = console_examples,
    .flags = console_flags,
    .run = run,
};
