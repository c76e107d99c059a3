/* cli/cmd_rollback.c - `neap rollback`: back to an earlier version. */
#include "cli/answer.h"
#include "cli/control_command.h"

static int set_version(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    return control_put_number(options, "version", value, why);
}

static const struct example rollback_examples[] = {
    {"neap rollback", "back to the version before this one, or the end of a canary"},
    {"neap rollback 6", "to one that neap versions lists"},
    {NULL, NULL},
};

static const struct flag rollback_flags[] = {
    CONTROL_FLAGS(CONTROL_WAITS_FOR_EVER),
    {.name = NULL},
};

static const struct control_command control = {
    .command = &cmd_rollback,
    .timeout_ms = CONTROL_NO_TIMEOUT,
    .operand = set_version,
    .print = answer_put_change,
};

static int run(int argc, char **argv)
{
    return control_run(&control, argc, argv);
}

const struct command cmd_rollback = {
    .name = "rollback",
    .summary = "serve an earlier version of the script",
    .usage = "rollback [N] [FLAG]...",
    .about =
        "Reloads the script from the bytes that the server has kept of version N, or of "
        "the one before that which serves; no file is read. It gets a number of its own. "
        "Prints what changed. While a version is tried out, ends that instead.\n"
        "The last five good versions are kept.",
    .operand = "N",
    .operand_max = 1,
    .examples = rollback_examples,
    .flags = rollback_flags,
    .run = run,
};
