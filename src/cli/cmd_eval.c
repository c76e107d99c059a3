/* cli/cmd_eval.c - `neap eval`: run Lua in a worker. */
#include "cli/answer.h"
#include "cli/control_command.h"

static int set_code(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    return control_put_text(options, "code", value, why);
}

static int set_worker(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    return control_put_number(options, "worker", value, why);
}

static const struct example eval_examples[] = {
    {"neap eval 'neap.now()'", "an expression: prints its value"},
    {"neap eval 'print(1) print(2)'", "statements: prints what they print"},
    {"neap eval --worker 2 'collectgarbage(\"count\")'", "in the second worker"},
    {NULL, NULL},
};

static const struct flag eval_flags[] = {
    {"worker", 0, "N", "run it in this worker; 1 if nothing is said", NULL, false,
     set_worker},
    CONTROL_FLAGS(CONTROL_WAITS_10_S),
    {.name = NULL},
};

static const struct control_command control = {
    .command = &cmd_eval,
    .timeout_ms = CONTROL_TIMEOUT_MS,
    .missing = "eval needs CODE; neap console reads line after line",
    .operand = set_code,
    .print = answer_put_results,
};

static int run(int argc, char **argv)
{
    return control_run(&control, argc, argv);
}

const struct command cmd_eval = {
    .name = "eval",
    .summary = "run Lua code in the running server",
    .usage = "eval CODE [FLAG]...",
    .about =
        "Runs an expression or statements in a worker, among the globals of the script "
        "that serves. Prints what it prints and then each result on a line. Its time is "
        "bounded: it cannot block the worker for ever.",
    .operand = "CODE",
    .operand_max = 1,
    .examples = eval_examples,
    .flags = eval_flags,
    .run = run,
};
