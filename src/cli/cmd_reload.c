/* cli/cmd_reload.c - `neap reload`: new code for a running server. */
#include "cli/answer.h"
#include "cli/control_command.h"

static int set_canary(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    return control_put_text(options, "canary", value, why);
}

static int set_canary_peer(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    return control_put_text(options, "canary_peer", value, why);
}

static int set_auto(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    (void)value;
    return control_put_true(options, "auto", why);
}

static const struct example reload_examples[] = {
    {"neap reload", "the next message runs the new code"},
    {"neap reload --canary 10%", "for a tenth of new connections"},
    {"neap reload --canary-peer 10.0.0.0/8", "for new connections from there"},
    {"neap reload --canary 10% --auto", "promoted, or rolled back, by what it does"},
    {NULL, NULL},
};

static const struct flag reload_flags[] = {
    {"canary", 0, "SHARE", "only for this share of new connections, such as 10%", NULL,
     false, set_canary},
    {"canary-peer", 0, "CIDR", "only for new connections from these addresses", NULL, false,
     set_canary_peer},
    {"auto", 0, NULL,
     "with a canary: roll back if its hooks fail more often than those of the old version, "
     "else promote it",
     NULL, false, set_auto},
    CONTROL_FLAGS(CONTROL_WAITS_FOR_EVER),
    {.name = NULL},
};

static const struct control_command control = {
    .command = &cmd_reload,
    .timeout_ms = CONTROL_NO_TIMEOUT,
    .print = answer_put_change,
};

static int run(int argc, char **argv)
{
    return control_run(&control, argc, argv);
}

const struct command cmd_reload = {
    .name = "reload",
    .summary = "load the script anew and switch to it",
    .usage = "reload [FLAG]...",
    .about =
        "Loads the script and what it requires, and switches all workers to it between "
        "two messages. Connections stay open and keep their data. Prints what changed, "
        "after the switch.\n"
        "When anything fails, the old version goes on serving, the error is printed, and "
        "the exit status is not 0.\n"
        "With --canary or --canary-peer some new connections get the new version and all "
        "others the old one, until neap promote or neap rollback.",
    .operand_max = 0,
    .examples = reload_examples,
    .flags = reload_flags,
    .run = run,
};
