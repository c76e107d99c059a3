/* server/gate.h - a listening socket in one worker, and where a new connection goes.
 *
 *     accept ─> admission_enter ─> to a worker with clearly fewer? ─mail─> gate_take_mail
 *                                    └ no ─> on_accept? ─> stream_open
 *
 * What:   watches this worker's socket of each address; of an address that exists once, the
 *         first worker has it, but all have the gate, which says whose its connections are.
 * Owns:   the watchers. Borrows: the sockets, which main closes after no gate is left.
 * Thread: the worker's. */
#ifndef NEAP_SERVER_GATE_H
#define NEAP_SERVER_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"

struct address;
struct conn;
struct own;
struct reactor;

bool gate_is_open(struct own *own, const struct address *address);
/* 0 or -ENOMEM. The address's service must serve. */
MUST_CHECK int gate_open(struct own *own, const struct address *address);
/* After a switch: the services as the addresses have them now. */
void gate_update_all(struct own *own);

/* Accepts who waits, then watches no more; new datagram peers are not let in. */
void gate_stop(struct own *own, const struct address *address);
/* The last of it: false while peers of a datagram socket live, who still use it. */
bool gate_close(struct own *own, const struct address *address);

/* Ends watching on all. */
void gate_stop_all(struct own *own);
/* Forgets all; no connection is left. */
void gate_close_all(struct own *own);

/* Opens connections that other workers have sent. */
void gate_take_mail(struct own *own);

/* As vm_host has them, for what scripts open; the owner is struct own. */
uint64_t gate_admit(void *owner);
void gate_dismiss(void *owner);

/* As reactor_ops has it: a connection gave its descriptor back. */
void gate_on_closed(struct reactor *reactor, const struct conn *conn);

#endif
