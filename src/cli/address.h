/* cli/address.h - the address that a client command is given.
 *
 * What:   the one grammar of addresses, and HOST:PORT alone, which is clear enough here.
 * Thread: any. Errors: reported, and an exit status. */
#ifndef NEAP_CLI_ADDRESS_H
#define NEAP_CLI_ADDRESS_H

#include "net/addr.h"

/* EX_OK, or EX_USAGE when nothing can be sent there. `peer` is the address in full. */
int address_read(struct addr *addr, const char *text, char peer[ADDR_TEXT_MAX]);

#endif
