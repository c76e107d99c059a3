/* cli/cmd_log_level.c - `neap log-level`: what is logged from now on. */
#include <errno.h>

#include "base/log.h"
#include "cli/answer.h"
#include "cli/control_command.h"

static int set_level(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    if (flags_choice(value, log_level_names, LOG_LEVEL_COUNT, why) < 0)
        return -EINVAL;
    return control_put_text(options, "level", value, why);
}

static int print(FILE *out, const json_t *answer)
{
    fputs("log level ", out);
    answer_put_value(out, json_object_get(answer, "previous"));
    fputs(" -> ", out);
    answer_put_value(out, json_object_get(answer, "level"));
    fputc('\n', out);
    return 0;
}

static const struct example log_level_examples[] = {
    {"neap log-level debug", "everything"},
    {"neap log-level warn", "warnings and errors only"},
    {NULL, NULL},
};

static const struct flag log_level_flags[] = {
    CONTROL_FLAGS(CONTROL_WAITS_10_S),
    {.name = NULL},
};

static const struct control_command control = {
    .command = &cmd_log_level,
    .timeout_ms = CONTROL_TIMEOUT_MS,
    .missing = "log-level needs a level: debug, info, warn or error",
    .operand = set_level,
    .print = print,
};

static int run(int argc, char **argv)
{
    return control_run(&control, argc, argv);
}

const struct command cmd_log_level = {
    .name = "log-level",
    .summary = "change what the running server logs",
    .usage = "log-level debug|info|warn|error [FLAG]...",
    .about =
        "Sets the least that is logged, until the server ends or another level is set.",
    .operand = "debug|info|warn|error",
    .operand_max = 1,
    .examples = log_level_examples,
    .flags = log_level_flags,
    .run = run,
};
