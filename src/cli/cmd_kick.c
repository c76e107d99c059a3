/* cli/cmd_kick.c - `neap kick`: close a connection. */
#include "cli/answer.h"
#include "cli/control_command.h"

static int set_id(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    return control_put_number(options, "id", value, why);
}

static int print(FILE *out, const json_t *answer)
{
    fputs("connection ", out);
    answer_put_value(out, json_object_get(answer, "id"));
    fputs(" closed\n", out);
    return 0;
}

static const struct example kick_examples[] = {
    {"neap connections", "shows the ID of each"},
    {"neap kick 17", "close that one"},
    {NULL, NULL},
};

static const struct flag kick_flags[] = {
    CONTROL_FLAGS(CONTROL_WAITS_10_S),
    {.name = NULL},
};

static const struct control_command control = {
    .command = &cmd_kick,
    .timeout_ms = CONTROL_TIMEOUT_MS,
    .missing = "kick needs the ID of a connection; neap connections lists them",
    .operand = set_id,
    .print = print,
};

static int run(int argc, char **argv)
{
    return control_run(&control, argc, argv);
}

const struct command cmd_kick = {
    .name = "kick",
    .summary = "close a connection",
    .usage = "kick ID [FLAG]...",
    .about = "Closes the connection with this ID, as neap connections and the log show it.",
    .operand = "ID",
    .operand_max = 1,
    .examples = kick_examples,
    .flags = kick_flags,
    .run = run,
};
