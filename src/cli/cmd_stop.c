/* cli/cmd_stop.c - `neap stop`: end a running server. */
#include "cli/answer.h"
#include "cli/control_command.h"

static int print(FILE *out, const json_t *answer)
{
    fputs("stopped, ", out);
    answer_put_count(out, answer_number(answer, "connections"), "connection");
    fputs(" served\n", out);
    return 0;
}

static const struct example stop_examples[] = {
    {"neap stop", "as SIGTERM does, and waits until it is done"},
    {"neap stop --name chat", "the server started with --name chat"},
    {NULL, NULL},
};

static const struct flag stop_flags[] = {
    CONTROL_FLAGS(CONTROL_WAITS_FOR_EVER),
    {.name = NULL},
};

static const struct control_command control = {
    .command = &cmd_stop,
    .timeout_ms = CONTROL_NO_TIMEOUT,
    .print = print,
};

static int run(int argc, char **argv)
{
    return control_run(&control, argc, argv);
}

const struct command cmd_stop = {
    .name = "stop",
    .summary = "end the running server",
    .usage = "stop [FLAG]...",
    .about =
        "Closes the listeners, then every connection; what is still to be sent has the "
        "script's drain_timeout. Answers when all are gone.",
    .operand_max = 0,
    .examples = stop_examples,
    .flags = stop_flags,
    .run = run,
};
