/* net/bind.c - socket, options, bind, listen: in the order that makes mistakes visible. */
#include "net/bind.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/macros.h"
#include "io/io.h"

#define KEEPALIVE_INTERVAL_S 10

/* Tries to find a port that is free on both addresses of `localhost`. */
#define FREE_PORT_TRIES 32

static bool is_inet(enum transport transport)
{
    return transport == TRANSPORT_TCP || transport == TRANSPORT_UDP;
}

/* What may help; "" where the error says it all. */
static const char *cure_of(int error, const struct addr *addr)
{
    bool local = !is_inet(addr->transport) && addr->transport != TRANSPORT_FD;
    switch (error) {
    case EADDRINUSE:
        return " (is another server running there, or is the address given twice?)";
    case EACCES:
    case EPERM:
        return local ? " (the folder, or a file in the way, belongs to somebody else)"
                     : " (a port below 1024 needs more rights: CAP_NET_BIND_SERVICE)";
    case EADDRNOTAVAIL:
        return " (no interface of this machine has that address)";
    case ENOENT:
        return " (its folder does not exist)";
    case EBADF:
        return " (the parent process must hand it down open)";
    case ENOTSOCK:
        return " (it must be a socket)";
    case EEXIST:
        return " (a file that is no socket)";
    default:
        return "";
    }
}

static int fail(char *why, int error, const struct addr *addr)
{
    char text[ADDR_TEXT_MAX];
    addr_format(addr, text);
    snprintf(why, BIND_WHY_MAX, "cannot listen on %s: %s%s", text, strerror(error),
             cure_of(error, addr));
    return -error;
}

static int set_option(struct io *io, int fd, const struct socket_option *option)
{
    return io->ops->set_option(io, fd, option->level, option->name, &option->value,
                               sizeof option->value);
}

static int set_int(int fd, int level, int name, int value)
{
    return set_option(&io_system, fd, &(struct socket_option){level, name, value});
}

int bind_set_options(struct io *io, int fd, enum transport transport,
                     const struct bind_options *options)
{
    const struct socket_option stream[] = {
        {IPPROTO_TCP, TCP_NODELAY, options->nodelay},
        {SOL_SOCKET, SO_KEEPALIVE, options->keepalive_s > 0},
        {IPPROTO_TCP, TCP_KEEPIDLE, (int)options->keepalive_s},
        {IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S},
    };
    size_t count = options->keepalive_s ? ARRAY_LEN(stream) : 2;
    for (size_t i = 0; transport == TRANSPORT_TCP && i < count; i++)
        (void)set_option(io, fd, &stream[i]);
    int failed = 0;
    for (size_t i = 0; i < options->sockopt_count && !failed; i++)
        failed = set_option(io, fd, &options->sockopts[i]);
    return failed;
}

/* SO_REUSEADDR on TCP only: on UDP it would let another process take our datagrams. */
static int set_options(int fd, const struct addr *addr, const struct endpoint *at,
                       const struct bind_options *options)
{
    int failed = 0;
    if (addr->transport == TRANSPORT_TCP)
        failed = set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (!failed && at->at.sa.sa_family == AF_INET6)
        failed = set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, addr->ipv6_only);
    if (!failed && addr->reuse_port)
        failed = set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    /* What accepted sockets inherit, so that accepting one costs no further call. */
    return failed ? failed : bind_set_options(&io_system, fd, addr->transport, options);
}

static int open_socket(const struct addr *addr, const struct endpoint *at,
                       const struct bind_options *options)
{
    int type = transport_is_stream(addr->transport) ? SOCK_STREAM : SOCK_DGRAM;
    int fd = socket(at->at.sa.sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int failed = set_options(fd, addr, at, options);
    if (failed) {
        close(fd);
        return failed;
    }
    return fd;
}

static int start_listening(const struct addr *addr, int fd)
{
    if (!transport_is_stream(addr->transport))
        return 0;
    return listen(fd, addr->backlog) < 0 ? -errno : 0;
}

/* The first socket of an address is bound without SO_REUSEPORT, so that a port in use is an
 * error even when the user is another neap; the option is set before listen, so that the
 * sockets of the other workers may join it. */
static int bind_first(struct bound *bound, const struct addr *addr,
                      const struct bind_options *options)
{
    int fd = open_socket(addr, &bound->at, options);
    if (fd < 0)
        return fd;
    bound->fds[0] = fd;
    bound->fd_count = 1;
    if (bind(fd, &bound->at.at.sa, bound->at.len) < 0)
        return -errno;
    bound->at.len = sizeof bound->at.at;
    if (getsockname(fd, &bound->at.at.sa, &bound->at.len) < 0)
        return -errno;
    int failed = options->workers > 1 ? set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1) : 0;
    return failed ? failed : start_listening(addr, fd);
}

static int bind_next(struct bound *bound, const struct addr *addr,
                     const struct bind_options *options)
{
    int fd = open_socket(addr, &bound->at, options);
    if (fd < 0)
        return fd;
    bound->fds[bound->fd_count++] = fd;
    int failed = set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (!failed && bind(fd, &bound->at.at.sa, bound->at.len) < 0)
        failed = -errno;
    return failed ? failed : start_listening(addr, fd);
}

static uint16_t *port_of(struct endpoint *at)
{
    return at->at.sa.sa_family == AF_INET ? &at->at.in.sin_port : &at->at.in6.sin6_port;
}

static void name_bound(struct bound *bound, const struct addr *addr)
{
    char host[ADDR_TEXT_MAX];
    endpoint_format(&bound->at, host);
    if (is_inet(bound->transport))
        snprintf(bound->text, sizeof bound->text, "%s://%.120s",
                 transport_names[bound->transport], host);
    else
        addr_format(addr, bound->text);
}

static int bind_inet(const struct addr *addr, const struct endpoint *at,
                     const struct bind_options *options, struct bound *bound)
{
    *bound = (struct bound){.transport = addr->transport, .at = *at};
    bound->fds = calloc(options->workers, sizeof *bound->fds);
    if (!bound->fds)
        return -ENOMEM;
    int failed = bind_first(bound, addr, options);
    while (!failed && bound->fd_count < options->workers)
        failed = bind_next(bound, addr, options);
    name_bound(bound, addr);
    if (failed)
        bound_close(bound);
    return failed;
}

static bool has_no_ipv6(int error)
{
    return error == -EAFNOSUPPORT || error == -EADDRNOTAVAIL;
}

/* Both addresses of `localhost`, or one where the machine has only one, on one port. */
static int bind_inet_all(const struct addr *addr, const struct bind_options *options,
                         struct bound *out)
{
    struct endpoint at[2];
    int count = addr_endpoints(addr, at);
    int failed = 0;
    for (int try = 0; try < FREE_PORT_TRIES; try++) {
        failed = bind_inet(addr, &at[0], options, &out[0]);
        if (failed || count == 1)
            return failed ? failed : 1;
        struct endpoint second = at[1];
        *port_of(&second) = *port_of(&out[0].at);
        failed = bind_inet(addr, &second, options, &out[1]);
        if (!failed)
            return 2;
        if (has_no_ipv6(failed))
            return 1;
        bound_close(&out[0]);
        if (failed != -EADDRINUSE || addr->port != 0)
            break;
    }
    return failed;
}

/* A socket file that nobody answers behind is left from a server that died. Anything else at
 * the path is not ours to remove. */
static int remove_stale(const struct endpoint *at, int type)
{
    struct stat found;
    if (lstat(at->at.un.sun_path, &found) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(found.st_mode))
        return -EEXIST;
    int fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int error = connect(fd, &at->at.sa, at->len) < 0 ? errno : 0;
    close(fd);
    if (error != ECONNREFUSED)
        return -EADDRINUSE;
    return unlink(at->at.un.sun_path) < 0 ? -errno : 0;
}

/* Remembers which file it is, so that at the end nobody else's is removed. */
static void own_file(struct bound *bound)
{
    struct stat made;
    if (lstat(bound->at.at.un.sun_path, &made) < 0)
        return;
    bound->unlink = true;
    bound->file_device = made.st_dev;
    bound->file_number = made.st_ino;
}

static void remove_own_file(struct bound *bound)
{
    struct stat now;
    const char *path = bound->at.at.un.sun_path;
    if (bound->unlink && lstat(path, &now) == 0 && now.st_dev == bound->file_device &&
        now.st_ino == bound->file_number)
        (void)unlink(path);
    bound->unlink = false;
}

static int bind_unix(const struct addr *addr, const struct bind_options *options,
                     struct bound *bound)
{
    struct endpoint at[2];
    addr_endpoints(addr, at);
    *bound = (struct bound){.transport = addr->transport, .at = at[0]};
    name_bound(bound, addr);
    int type = transport_is_stream(addr->transport) ? SOCK_STREAM : SOCK_DGRAM;
    int failed = remove_stale(&bound->at, type);
    int fd = failed ? failed : open_socket(addr, &bound->at, options);
    if (fd < 0)
        return fd;
    bound->fds = malloc(sizeof *bound->fds);
    if (!bound->fds) {
        close(fd);
        return -ENOMEM;
    }
    bound->fds[0] = fd;
    bound->fd_count = 1;
    /* The mode is set before the file exists, so that it never has a wider one. */
    if (addr->mode >= 0 && fchmod(fd, (mode_t)addr->mode) < 0)
        failed = -errno;
    if (!failed && bind(fd, &bound->at.at.sa, bound->at.len) < 0)
        failed = -errno;
    if (!failed)
        own_file(bound);
    /* Now what the umask has taken away; nobody can connect before listen. */
    if (!failed && addr->mode >= 0 &&
        chmod(bound->at.at.un.sun_path, (mode_t)addr->mode) < 0)
        failed = -errno;
    if (!failed)
        failed = start_listening(addr, fd);
    if (failed)
        bound_close(bound);
    return failed ? failed : 1;
}

static int int_option(int fd, int name)
{
    int value = -1;
    socklen_t len = sizeof value;
    return getsockopt(fd, SOL_SOCKET, name, &value, &len) < 0 ? -errno : value;
}

/* A descriptor that was handed down says itself what it is. */
static int adopt_transport(int fd, enum transport *transport)
{
    int domain = int_option(fd, SO_DOMAIN), type = int_option(fd, SO_TYPE);
    if (domain < 0 || type < 0)
        return domain < 0 ? domain : type;
    bool local = domain == AF_UNIX;
    if (type == SOCK_STREAM)
        *transport = local ? TRANSPORT_UNIX : TRANSPORT_TCP;
    else if (type == SOCK_DGRAM)
        *transport = local ? TRANSPORT_UNIXGRAM : TRANSPORT_UDP;
    else
        return -ESOCKTNOSUPPORT;
    return 0;
}

static int bind_fd(const struct addr *addr, const struct bind_options *options,
                   struct bound *bound)
{
    *bound = (struct bound){.at.len = sizeof bound->at.at};
    int failed = adopt_transport(addr->fd, &bound->transport);
    if (failed)
        return failed;
    if (getsockname(addr->fd, &bound->at.at.sa, &bound->at.len) < 0)
        return -errno;
    int fd = fcntl(addr->fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return -errno;
    struct addr as_is = *addr;
    as_is.transport = bound->transport;
    bound->fds = malloc(sizeof *bound->fds);
    if (!bound->fds) {
        close(fd);
        return -ENOMEM;
    }
    bound->fds[0] = fd;
    bound->fd_count = 1;
    name_bound(bound, addr);
    failed = fcntl(fd, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
    if (!failed && int_option(fd, SO_ACCEPTCONN) != 1)
        failed = start_listening(&as_is, fd);
    if (!failed)
        failed = bind_set_options(&io_system, fd, bound->transport, options);
    if (failed)
        bound_close(bound);
    return failed ? failed : 1;
}

int bind_open(const struct addr *addr, const struct bind_options *options,
              struct bound out[BOUND_MAX], char why[BIND_WHY_MAX])
{
    int count;
    if (addr->transport == TRANSPORT_FD)
        count = bind_fd(addr, options, out);
    else if (is_inet(addr->transport))
        count = bind_inet_all(addr, options, out);
    else
        count = bind_unix(addr, options, out);
    return count < 0 ? fail(why, -count, addr) : count;
}

void bound_set_options(struct bound *bound, const struct bind_options *options)
{
    for (size_t i = 0; i < bound->fd_count; i++)
        (void)bind_set_options(&io_system, bound->fds[i], bound->transport, options);
}

void bound_close(struct bound *bound)
{
    for (size_t i = 0; i < bound->fd_count; i++)
        if (bound->fds[i] >= 0)
            close(bound->fds[i]);
    free(bound->fds);
    bound->fds = NULL;
    bound->fd_count = 0;
    remove_own_file(bound);
}
