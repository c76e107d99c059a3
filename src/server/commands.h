/* server/commands.h - what can be asked of a running server through its control socket.
 *
 * What:   the table of commands, with the right that each needs; docs/control.md describes them.
 * Thread: main. */
#ifndef NEAP_SERVER_COMMANDS_H
#define NEAP_SERVER_COMMANDS_H

#include "base/macros.h"

struct core;

/* Opens the control socket. Without --name a name that is taken is no error: the server serves and
 * says that it cannot be controlled. EX_OK or an exit status, with what is wrong said. */
MUST_CHECK int commands_open(struct core *core);
/* Answers those who wait for the end, and closes it. */
void commands_close(struct core *core);

#endif
