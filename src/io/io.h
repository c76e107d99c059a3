/* io/io.h - the first seam to the world: socket calls, clocks and random numbers.
 *
 * What:   one table of functions; everything above reaches the system through it, so that a
 *         simulation can stand in for the kernel.
 * Owns:   nothing. Thread: any (io_system has no state of its own).
 * Errors: every call answers with its result or a negative errno, never -1 and errno. EINTR
 *         is not retried here: the caller comes back when the loop says so. */
#ifndef NEAP_IO_IO_H
#define NEAP_IO_IO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

struct io;

struct io_ops {
    /* recv(2). 0 is the end of a stream, or an empty datagram. */
    ssize_t (*recv)(struct io *io, int fd, void *bytes, size_t len);
    /* send(2) and sendmsg(2) with MSG_NOSIGNAL. */
    ssize_t (*send)(struct io *io, int fd, const void *bytes, size_t len);
    ssize_t (*sendv)(struct io *io, int fd, const struct iovec *pieces, size_t count);
    /* recvmmsg(2) and sendmmsg(2), never blocking; how many were received or sent. */
    int (*recv_many)(struct io *io, int fd, struct mmsghdr *messages, unsigned count);
    int (*send_many)(struct io *io, int fd, struct mmsghdr *messages, unsigned count);
    /* accept4(2), non-blocking and close-on-exec. */
    int (*accept)(struct io *io, int fd, struct sockaddr *from, socklen_t *from_len);
    /* socket(2), non-blocking and close-on-exec; bind(2); connect(2). */
    int (*socket)(struct io *io, int family, int type);
    int (*bind)(struct io *io, int fd, const struct sockaddr *at, socklen_t len);
    int (*connect)(struct io *io, int fd, const struct sockaddr *to, socklen_t len);
    int (*shutdown_write)(struct io *io, int fd);
    /* close(2); with `reset` a TCP connection is reset, not finished (SO_LINGER 0). */
    void (*close)(struct io *io, int fd, int reset);
    int (*get_option)(struct io *io, int fd, int level, int name, void *value,
                      socklen_t *len);
    int (*set_option)(struct io *io, int fd, int level, int name, const void *value,
                      socklen_t len);
    int (*local_address)(struct io *io, int fd, struct sockaddr *at, socklen_t *len);
    /* A descriptor to hold for the day when there is no other left. */
    int (*reserve)(struct io *io);
    /* That day: accepts one connection in place of the spare and closes it. 0; -EAGAIN when nobody
     * waits, or what accept4(2) answers; *spare may be lost (-1) to another thread. */
    int (*refuse)(struct io *io, int fd, int *spare);
    /* Nanoseconds of CLOCK_MONOTONIC; seconds since the epoch. */
    uint64_t (*monotonic_ns)(struct io *io);
    double (*wall_s)(struct io *io);
    /* Unpredictable, for hash seeds. */
    uint64_t (*random)(struct io *io);
};

struct io {
    const struct io_ops *ops;
};

/* The kernel. */
extern struct io io_system;

#endif
