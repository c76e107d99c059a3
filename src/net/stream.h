/* net/stream.h - one stream connection: TCP or a Unix stream socket.
 *
 *     socket ─recv─> the reactor's read buffer ─codec─> on_message
 *                       └ what is left of a frame is kept in `in`
 *     hooks ─send─> the reactor's scratch ─one send at the end of the callback─> socket
 *                       └ what the socket did not take is kept in `out`
 *
 * What:   moves bytes between the socket and the codec, queues output, closes in order.
 * Owns:   the descriptor and both buffers, which are empty while it keeps up.
 * Thread: its reactor's. Life and errors: see conn.h. */
#ifndef NEAP_NET_STREAM_H
#define NEAP_NET_STREAM_H

#include "net/conn.h"

struct stream_origin {
    int fd; /* connected, non-blocking; taken over, also on failure */
    enum transport transport;
    const struct endpoint *peer;
    uint64_t number;
};

/* Opens a connection and runs its on_connect. 0, -ENOMEM or -ENFILE. Calls hooks. */
MUST_CHECK int stream_open(struct reactor *reactor, struct service *service,
                           const struct stream_origin *origin);

/* Takes up one that was opened from here: its on_connect is due, if it has hooks. NULL: out of
 * memory, and the descriptor is closed. Calls no hook. */
struct conn *stream_open_outbound(struct reactor *reactor, struct service *service,
                                  const struct stream_origin *origin);

#endif
