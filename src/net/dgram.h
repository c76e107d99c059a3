/* net/dgram.h - datagram sockets (UDP, Unix) and their peers as connections.
 *
 *     socket ─recvmmsg, a batch─> peer table ─> on_message ─> replies ─sendmmsg, one batch─> socket
 *
 * What:   with sessions, an address that sends is a connection from its first datagram until
 *         its idle end; without, each datagram has a connection that lasts as long as its hook.
 *         Replies leave from the local address that was contacted. The table is bounded: the
 *         least recently heard peer goes, those of a single datagram first.
 * Owns:   the peers. Borrows: the descriptor, the service.
 * Thread: its reactor's.
 * Errors: what cannot be sent, is truncated or too long is dropped and counted; nothing that
 *         comes from the network closes the socket. */
#ifndef NEAP_NET_DGRAM_H
#define NEAP_NET_DGRAM_H

#include "net/conn.h"
#include "net/loop.h"

struct dgram;
struct dgram_batch;

/* What the layer above decides for a new peer. */
struct dgram_ops {
    uint64_t (*number)(struct reactor *reactor); /* of the connection */
    /* Its service, given that of the socket. */
    struct service *(*choose)(struct reactor *reactor, struct service *service,
                              const struct endpoint *peer);
};

/* Starts to serve a bound, non-blocking descriptor, which stays the caller's. NULL: no memory. */
struct dgram *dgram_open(struct reactor *reactor, struct service *service, int fd,
                         enum transport transport, const struct dgram_ops *ops);

/* Takes up a connected descriptor, also on failure, as a connection to its one peer. NULL: out of
 * memory. Calls no hook. */
struct conn *dgram_open_outbound(struct reactor *reactor, struct service *service, int fd,
                                 enum transport transport, const struct endpoint *remote,
                                 uint64_t number);

/* Its new peers are of another service from now on; those that live stay where they are. */
void dgram_set_service(struct dgram *dgram, struct service *service);

/* Lets no new peer in. */
void dgram_close_door(struct dgram *dgram);
bool dgram_has_peers(const struct dgram *dgram);

/* Stops reading; peers that live go on sending. */
void dgram_stop(struct dgram *dgram);

/* All of its peers must be gone. NULL is allowed. */
void dgram_close(struct dgram *dgram);

void dgram_batch_free(struct dgram_batch *batch);

#endif
