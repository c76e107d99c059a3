/* cli/cmd_check.c - `neap check`: load a script and serve nothing. */
#include <stdio.h>
#include <sysexits.h>

#include "cli/command.h"
#include "cli/report.h"
#include "cli/settings.h"

static const struct example check_examples[] = {
    {"neap check chat.lua", "what it would serve, or what is wrong with it"},
    {"neap check --json chat.lua", "the same for a program"},
    {"neap check chat.lua --workers 8", "with the memory that eight workers may need"},
    {NULL, NULL},
};

static const struct flag check_flags[] = {
    {"eval", 'e', "CODE", "check this Lua code instead of a script", NULL, false,
     settings_set_code},
    {"listen", 'l', "[NAME=]ADDR", "as in neap run", "NEAP_LISTEN", true,
     settings_set_listen},
    {"workers", 0, "N|auto", "as in neap run", "NEAP_WORKERS", false, settings_set_workers},
    {"load-timeout", 0, "SECONDS", "as in neap run", "NEAP_LOAD_TIMEOUT", false,
     settings_set_load_timeout},
    {"json", 0, NULL, "print a JSON object", NULL, false, settings_set_json},
    {.name = NULL},
};

static int check(struct settings *settings, const struct flags_line *line)
{
    if (settings_finish(settings, line) < 0) {
        report_error("--eval and the script '%s': only one can be checked",
                     settings->config.script);
        return EX_USAGE;
    }
    /* Unlike `run`, not the default script: a CI job with an empty variable would pass. */
    if (!settings->config.script && !settings->config.code) {
        report_error("a SCRIPT to check is missing; try 'neap help check'");
        return EX_USAGE;
    }
    return server_check(&settings->config, settings->json, stdout);
}

static int run(int argc, char **argv)
{
    struct settings settings;
    struct flags_line line = {.argc = argc, .argv = argv};
    settings_init(&settings);
    int status = command_parse(&cmd_check, &line, &settings);
    if (status == COMMAND_GO_ON)
        status = check(&settings, &line);
    settings_fini(&settings);
    return status;
}

const struct command cmd_check = {
    .name = "check",
    .summary = "load a script and tell what it would serve",
    .usage = "check (SCRIPT | -e CODE) [FLAG]...",
    .about =
        "Loads the script in a scratch state and prints its services, hooks, addresses, "
        "the options that differ from their defaults and the bound on memory. Binds no "
        "address and serves nothing. Exits with 65 when the script does not load.",
    .operand = "SCRIPT",
    .operand_max = 1,
    .examples = check_examples,
    .flags = check_flags,
    .run = run,
};
