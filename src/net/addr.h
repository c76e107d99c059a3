/* net/addr.h - addresses as people write them, and as the kernel takes them.
 *
 *     tcp://HOST:PORT   udp://HOST:PORT   unix:///path   unixgram:///path   fd://N   PORT
 *     ...?backlog=1024&ipv6_only=0&mode=0660&reuse_port=1
 *
 * What:   one grammar for scripts, flags and environment. A bare port is tcp://127.0.0.1:PORT;
 *         `localhost` stands for 127.0.0.1 and ::1. Hosts are literal, but those of a remote.
 * Errors: 0 or -EINVAL with a sentence in `why` that names what is wrong and what would do. */
#ifndef NEAP_NET_ADDR_H
#define NEAP_NET_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/macros.h"

enum transport {
    TRANSPORT_TCP,
    TRANSPORT_UDP,
    TRANSPORT_UNIX,
    TRANSPORT_UNIXGRAM,
    TRANSPORT_FD
};

#define ADDR_TEXT_MAX 160 /* the longest text addr_format writes, with its NUL */
#define ADDR_HOST_MAX                                                                      \
    108 /* a numeric host, or a path as sockaddr_un holds it, with its NUL */
#define ADDR_NAME_MAX 254 /* the name of a host, with its NUL */
#define ADDR_WHY_MAX 192
#define ADDR_BACKLOG                                                                       \
    4096 /* default; the kernel takes the lesser of it and net.core.somaxconn */

/* What an address names before it is resolved to sockets. */
struct addr {
    enum transport transport;
    char host[ADDR_HOST_MAX]; /* numeric, "localhost", or the path of a Unix socket */
    uint16_t port;
    int fd; /* fd:// only, else -1 */
    int backlog;
    int mode;       /* of a Unix socket's file; -1: as umask has it */
    int ipv6_only;  /* 1 but for "?ipv6_only=0" */
    int reuse_port; /* 0 but for "?reuse_port=1": other processes may bind it too */
};

/* What an address to connect to names: its host may be a name that is to be looked up. */
struct remote {
    struct addr addr; /* without a host, if there is a name */
    char name[ADDR_NAME_MAX];
};

/* A socket address of any family neap speaks. */
union sockaddr_any {
    struct sockaddr sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_un un;
    struct sockaddr_storage storage;
};

struct endpoint {
    union sockaddr_any at;
    socklen_t len;
};

extern const char *const transport_names[]; /* "tcp" "udp" "unix" "unixgram" "fd" */

bool transport_is_stream(enum transport transport);

/* Reads an address. `why` holds ADDR_WHY_MAX bytes, written on error only. */
MUST_CHECK int addr_parse(struct addr *addr, const char *text, char *why);

/* Reads an address to connect to, the same way; it has no options. */
MUST_CHECK int remote_parse(struct remote *remote, const char *text, char *why);

/* A plain address without options, as a script's table gives it. `host` is the path of a Unix
 * socket, which has no port. Checked like addr_parse; a descriptor has no such form. */
MUST_CHECK int addr_set(struct addr *addr, enum transport transport, const char *host,
                        uint16_t port, char *why);

/* Writes it as addr_parse reads it, without options ("tcp://[::1]:4343"). */
void addr_format(const struct addr *addr, char text[ADDR_TEXT_MAX]);

/* The socket addresses it stands for: two for `localhost` (IPv4 first), else one; none for
 * fd://. Returns how many. */
int addr_endpoints(const struct addr *addr, struct endpoint out[2]);

/* Splits a socket address: host as text ("::1", a path, "" for an unnamed Unix socket) and
 * port (0 for Unix). An IPv4-mapped IPv6 address comes out as IPv4. */
void endpoint_split(const struct endpoint *endpoint, char host[ADDR_HOST_MAX],
                    uint16_t *port);

/* "127.0.0.1:51512", "[::1]:51512", or the path ("" for an unnamed Unix socket). */
void endpoint_format(const struct endpoint *endpoint, char text[ADDR_TEXT_MAX]);

/* True for 127.0.0.0/8, ::1, mapped loopback and Unix sockets. */
bool endpoint_is_loopback(const struct endpoint *endpoint);

#endif
