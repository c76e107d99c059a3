/* net/pipe.h - two streams whose input is each other's output.
 *
 *     a ─recv─> the reactor's read buffer ─send─> b ─ not taken: b's `out` ─> a is read no further
 *     b ─recv─> ...................................> a
 *
 * What:   moves what comes without asking a hook: the next read waits until the last one has been
 *         taken, so that a pipe holds at most one read for each direction. The end of one side's
 *         input closes the other's output. When one closes so does the other; when one is reset,
 *         the other is too, so that nobody takes a part for the whole.
 * Owns:   nothing: each of the two has the other in conn->pipe.
 * Thread: their reactor's. */
#ifndef NEAP_NET_PIPE_H
#define NEAP_NET_PIPE_H

#include "base/macros.h"

struct conn;

/* What they have of input that is not delivered, and all that follows. 0; -EOPNOTSUPP (a datagram),
 * -EPIPE (one is closing), -EBUSY (one is piped or read already). Calls no hook. */
MUST_CHECK int pipe_join(struct conn *a, struct conn *b);

/* For conn.c. Moves what there is of its input. */
void pipe_move(struct conn *conn);
/* Its output is all sent: the other may be read again. */
void pipe_drained(struct conn *conn);
/* It closes or is closed, and its state says so already. */
void pipe_part(struct conn *conn);

#endif
