/* cli/help.h - the table of commands as text to read.
 *
 * What:   writes to a stream that is only lent.
 * Errors: those of the stream, which report_close finds. */
#ifndef NEAP_CLI_HELP_H
#define NEAP_CLI_HELP_H

#include <stdio.h>

struct command;

/* What neap is, how to start, and the list of commands. */
void help_overview(FILE *out);

/* Everything about one command, examples first. */
void help_command(FILE *out, const struct command *command);

#endif
