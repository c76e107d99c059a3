/* cli/man.h - the table of commands as a manual page.
 *
 * What:   writes to a stream that is only lent.
 * Errors: those of the stream, which report_close finds. */
#ifndef NEAP_CLI_MAN_H
#define NEAP_CLI_MAN_H

#include <stdio.h>

/* Writes neap(1) in roff with the macros of man(7). */
void man_print(FILE *out);

#endif
