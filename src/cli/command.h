/* cli/command.h - what neap can be asked to do: one table.
 *
 *     argv -> command_dispatch -> a row's run() -> command_parse -> flags.h -> an exit status
 *
 * What:   a new command is its cmd_NAME.c with one row, and a line in the table of command.c;
 *         help, the manual page, completions and suggestions follow from the row.
 * Thread: the main one.
 * Errors: exit statuses of sysexits(3); what went wrong is on standard error by then. */
#ifndef NEAP_CLI_COMMAND_H
#define NEAP_CLI_COMMAND_H

#include "cli/flags.h"

#define COMMAND_ANY 0x7fffffff /* operand_max: as many as there are */
#define COMMAND_GO_ON (-1)     /* not an exit status */

struct example {
    const char *line;
    const char *what;
};

struct command {
    const char *name;
    const char *summary; /* without a full stop: a row of a list */
    const char *usage;   /* after "neap " */
    const char *about;   /* sentences; paragraphs are parted by "\n" */
    /* What the first operand is, for completion: SCRIPT, COMMAND, or the words ("bash|zsh"). */
    const char *operand;
    int operand_max;
    const struct example *examples; /* ends with a line of NULL */
    const struct flag *flags;
    /* argv[0] is passed over. Returns an exit status. */
    int (*run)(int argc, char **argv);
};

extern const struct command cmd_run, cmd_check, cmd_reload, cmd_status, cmd_versions,
    cmd_rollback, cmd_promote, cmd_connections, cmd_kick, cmd_eval, cmd_console,
    cmd_log_level, cmd_stop, cmd_send, cmd_bench, cmd_version, cmd_help, cmd_completion;

/* In the order in which they are listed; ends with NULL. */
extern const struct command *const command_table[];

/* NULL when there is none of that name. */
const struct command *command_find(const char *name);

/* "; did you mean 'run'?" or "; try 'neap help'", to end a message about `name`. */
void command_suggest(const char *name, char text[FLAGS_WHY_MAX]);

/* Runs what the arguments of the program ask for; without a command's name that is `run`. */
int command_dispatch(int argc, char **argv);

/* Reads the flags of `command` into `options` and counts its operands. COMMAND_GO_ON, or the
 * exit status to leave with: help was asked for and given, or something was wrong and said. */
MUST_CHECK int command_parse(const struct command *command, struct flags_line *line,
                             void *options);

#endif
