/* cli/cmd_promote.c - `neap promote`: give everybody the version that is tried out. */
#include "cli/answer.h"
#include "cli/control_command.h"

static const struct example promote_examples[] = {
    {"neap promote", "the canary's version serves all from now on"},
    {"neap promote --json", "the same for a program"},
    {NULL, NULL},
};

static const struct flag promote_flags[] = {
    CONTROL_FLAGS(CONTROL_WAITS_FOR_EVER),
    {.name = NULL},
};

static const struct control_command control = {
    .command = &cmd_promote,
    .timeout_ms = CONTROL_NO_TIMEOUT,
    .print = answer_put_change,
};

static int run(int argc, char **argv)
{
    return control_run(&control, argc, argv);
}

const struct command cmd_promote = {
    .name = "promote",
    .summary = "serve everybody with the version that is tried out",
    .usage = "promote [FLAG]...",
    .about =
        "Ends a roll-out begun by neap reload --canary or --canary-peer: the new version "
        "takes over for all connections, and its new listeners and options take effect. "
        "Prints what changed. neap rollback ends it the other way.",
    .operand_max = 0,
    .examples = promote_examples,
    .flags = promote_flags,
    .run = run,
};
