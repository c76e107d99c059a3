/* net/dgram_local.h - the local address that a datagram came to, and that its reply leaves from.
 *
 *     recvmmsg ─ control bytes ─> dgram_read_local ─> the peer ─> dgram_write_local ─> sendmmsg
 *
 * What:   on a socket that is bound to all addresses, a reply without it may leave from another
 *         one, which the peer would not know. See ip(7) and ipv6(7).
 * Owns:   nothing. Thread: any. Errors: none; what is not known stays 0. */
#ifndef NEAP_NET_DGRAM_LOCAL_H
#define NEAP_NET_DGRAM_LOCAL_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

struct io;

#define DGRAM_CONTROL_LEN 64 /* one IP_PKTINFO or IPV6_PKTINFO */

/* The local address that a datagram came to, or none that matters. */
struct local_info {
    int family; /* 0: not known, or not needed */
    union {
        struct in_pktinfo v4;
        struct in6_pktinfo v6;
    } as;
};

/* Has the kernel tell it; true for a socket that is bound to all addresses, where it matters. */
bool dgram_ask_local(struct io *io, int fd);

void dgram_read_local(struct msghdr *header, struct local_info *local);

/* `control` is of DGRAM_CONTROL_LEN bytes, and the header's from then on. */
void dgram_write_local(struct msghdr *header, char *control,
                       const struct local_info *local);

#endif
