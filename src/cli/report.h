/* cli/report.h - what a command says to people, and whether its output arrived.
 *
 * What:   messages on standard error, and care for the three standard descriptors.
 * Thread: the main one.
 * Life:   report_open() first in main(), report_close() last.
 * Errors: none; this is where they end. */
#ifndef NEAP_CLI_REPORT_H
#define NEAP_CLI_REPORT_H

#include "base/macros.h"

/* Prints "neap: ..." as one line on standard error. A control character comes out as '?': the
 * words may stem from an argument or a file name. */
void report_error(const char *format, ...) PRINTF_LIKE(1, 2);

/* Makes sure that descriptors 0, 1 and 2 are taken, so that no socket becomes one of them when
 * the caller closed it. */
void report_open(void);

/* Writes out what stdio still holds. Returns `status`, or 1 when it was 0 and not all of the
 * output could be written; says so. */
int report_close(int status);

#endif
