/* cli/cmd_help.c - `neap help`: of all commands, of one, or the manual page. */
#include <stdbool.h>
#include <stdio.h>
#include <sysexits.h>

#include "cli/command.h"
#include "cli/help.h"
#include "cli/man.h"
#include "cli/report.h"

static int set_man(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    (void)value;
    (void)why;
    *(bool *)options = true;
    return 0;
}

static const struct example help_examples[] = {
    {"neap help", "the commands"},
    {"neap help send", "one of them; also neap send --help"},
    {"neap help --man | man -l -", "the manual page"},
    {NULL, NULL},
};

static const struct flag help_flags[] = {
    {"man", 0, NULL, "print the manual page, in roff", NULL, false, set_man},
    {.name = NULL},
};

static int run(int argc, char **argv)
{
    bool man = false;
    struct flags_line line = {.argc = argc, .argv = argv};
    int status = command_parse(&cmd_help, &line, &man);
    if (status != COMMAND_GO_ON)
        return status;
    if (man) {
        man_print(stdout);
        return EX_OK;
    }
    if (line.operand_count == 0) {
        help_overview(stdout);
        return EX_OK;
    }
    const struct command *command = command_find(line.operands[0]);
    if (!command) {
        char suggestion[FLAGS_WHY_MAX];
        command_suggest(line.operands[0], suggestion);
        report_error("there is no command '%s'%s", line.operands[0], suggestion);
        return EX_USAGE;
    }
    help_command(stdout, command);
    return EX_OK;
}

const struct command cmd_help = {
    .name = "help",
    .summary = "explain neap or one of its commands",
    .usage = "help [COMMAND | --man]",
    .about = "Prints the list of commands, or the help of one of them.",
    .operand = "COMMAND",
    .operand_max = 1,
    .examples = help_examples,
    .flags = help_flags,
    .run = run,
};
