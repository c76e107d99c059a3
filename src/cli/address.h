/* cli/address.h - the address that a client command is given.
 *
 * What:   the one grammar of addresses, and HOST:PORT alone, which is clear enough here.
 * Thread: any. Errors: reported, and an exit status. */
#ifndef NEAP_CLI_ADDRESS_H
#define NEAP_CLI_ADDRESS_H

#include "net/addr.h"

/* EX_OK, or EX_USAGE when nothing can be sent there. `peer` is the address in full. */
int address_read(struct addr *addr, const char *text, char peer[ADDR_TEXT_MAX]);

/* Says why `peer` was not reached; `doing` is "connect to" or "reach". `error` is a negative errno. An
 * exit status. */
int address_report_unreached(const char *peer, const char *doing, int error);

#endif
