/* cli/command.c - the table of commands, and the way to one of them. */
#include "cli/command.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/help.h"
#include "cli/report.h"

const struct command *const command_table[] = {
    &cmd_run,      &cmd_check,     &cmd_reload,      &cmd_status, &cmd_versions,
    &cmd_rollback, &cmd_promote,   &cmd_connections, &cmd_kick,   &cmd_eval,
    &cmd_console,  &cmd_log_level, &cmd_stop,        &cmd_send,   &cmd_bench,
    &cmd_version,  &cmd_help,      &cmd_completion,  NULL,
};

const struct command *command_find(const char *name)
{
    for (const struct command *const *at = command_table; *at; at++) {
        if (strcmp((*at)->name, name) == 0)
            return *at;
    }
    return NULL;
}

void command_suggest(const char *name, char text[FLAGS_WHY_MAX])
{
    const char *names[ARRAY_LEN(command_table)];
    size_t count = 0;
    for (; command_table[count]; count++)
        names[count] = command_table[count]->name;
    const char *near = text_nearest(name, names, count);
    if (near)
        snprintf(text, FLAGS_WHY_MAX, "; did you mean '%s'?", near);
    else
        snprintf(text, FLAGS_WHY_MAX, "; try 'neap help'");
}

/* `neap SCRIPT` is short for `neap run SCRIPT`; a plain word that names no file is more likely
 * a misspelt command. */
static bool is_script(const char *word)
{
    return strpbrk(word, "/.") || access(word, F_OK) == 0;
}

int command_dispatch(int argc, char **argv)
{
    const char *first = argc > 1 ? argv[1] : NULL;
    if (!first)
        return cmd_run.run(argc, argv);
    if (strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0)
        return cmd_help.run(argc - 1, argv + 1);
    if (strcmp(first, "--version") == 0)
        return cmd_version.run(argc - 1, argv + 1);
    const struct command *command = command_find(first);
    if (command)
        return command->run(argc - 1, argv + 1);
    if (first[0] == '-' || is_script(first))
        return cmd_run.run(argc, argv);

    char suggestion[FLAGS_WHY_MAX];
    command_suggest(first, suggestion);
    report_error("'%s' is neither a command nor a file%s", first, suggestion);
    return EX_USAGE;
}

static int complain_operand(const struct command *command, const struct flags_line *line)
{
    /* `neap --workers 2 run chat.lua`: the flag made it a `run` already. */
    if (command == &cmd_run && command_find(line->operands[0]))
        report_error("the command '%s' must stand before the flags", line->operands[0]);
    else
        report_error("unexpected argument '%s'; try 'neap help %s'",
                     line->operands[command->operand_max], command->name);
    return EX_USAGE;
}

int command_parse(const struct command *command, struct flags_line *line, void *options)
{
    char why[FLAGS_WHY_MAX];
    int rc = flags_parse(command->flags, line, options, why);
    if (rc == -ECANCELED) {
        help_command(stdout, command);
        return EX_OK;
    }
    if (rc == -ENOMEM) {
        report_error("%s", why);
        return EX_OSERR;
    }
    if (rc < 0) {
        if (rc == -ENOENT && why[strlen(why) - 1] != '?')
            report_error("%s; try 'neap help %s'", why, command->name);
        else
            report_error("%s", why);
        return EX_USAGE;
    }
    if (line->operand_count > command->operand_max)
        return complain_operand(command, line);
    return COMMAND_GO_ON;
}
