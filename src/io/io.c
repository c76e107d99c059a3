/* io/io.c - the kernel behind the table of io.h. */
#include "io/io.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

static ssize_t result(ssize_t value)
{
    return value < 0 ? -errno : value;
}

static ssize_t io_recv(struct io *io, int fd, void *bytes, size_t len)
{
    (void)io;
    return result(recv(fd, bytes, len, 0));
}

static ssize_t io_send(struct io *io, int fd, const void *bytes, size_t len)
{
    (void)io;
    return result(send(fd, bytes, len, MSG_NOSIGNAL));
}

static ssize_t io_sendv(struct io *io, int fd, const struct iovec *pieces, size_t count)
{
    (void)io;
    struct msghdr message = {.msg_iov = (struct iovec *)pieces, .msg_iovlen = count};
    return result(sendmsg(fd, &message, MSG_NOSIGNAL));
}

static int io_recv_many(struct io *io, int fd, struct mmsghdr *messages, unsigned count)
{
    (void)io;
    return (int)result(recvmmsg(fd, messages, count, MSG_DONTWAIT, NULL));
}

static int io_send_many(struct io *io, int fd, struct mmsghdr *messages, unsigned count)
{
    (void)io;
    return (int)result(sendmmsg(fd, messages, count, MSG_DONTWAIT | MSG_NOSIGNAL));
}

static int io_accept(struct io *io, int fd, struct sockaddr *from, socklen_t *from_len)
{
    (void)io;
    return (int)result(accept4(fd, from, from_len, SOCK_NONBLOCK | SOCK_CLOEXEC));
}

static int io_socket(struct io *io, int family, int type)
{
    (void)io;
    return (int)result(socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

static int io_bind(struct io *io, int fd, const struct sockaddr *at, socklen_t len)
{
    (void)io;
    return (int)result(bind(fd, at, len));
}

static int io_connect(struct io *io, int fd, const struct sockaddr *to, socklen_t len)
{
    (void)io;
    return (int)result(connect(fd, to, len));
}

static int io_shutdown_write(struct io *io, int fd)
{
    (void)io;
    return (int)result(shutdown(fd, SHUT_WR));
}

static void io_close(struct io *io, int fd, int reset)
{
    (void)io;
    if (reset) {
        struct linger at_once = {.l_onoff = 1, .l_linger = 0};
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }
    close(fd);
}

static int io_get_option(struct io *io, int fd, int level, int name, void *value,
                         socklen_t *len)
{
    (void)io;
    return (int)result(getsockopt(fd, level, name, value, len));
}

static int io_set_option(struct io *io, int fd, int level, int name, const void *value,
                         socklen_t len)
{
    (void)io;
    return (int)result(setsockopt(fd, level, name, value, len));
}

static int io_local_address(struct io *io, int fd, struct sockaddr *at, socklen_t *len)
{
    (void)io;
    return (int)result(getsockname(fd, at, len));
}

static int io_reserve(struct io *io)
{
    (void)io;
    return (int)result(open("/dev/null", O_RDONLY | O_CLOEXEC));
}

/* One thread at a time: another would take the descriptor that was given up for its own. An accept
 * that is not a refusal still may; the spare is gone then, for a connection that is served. */
static pthread_mutex_t refusing = PTHREAD_MUTEX_INITIALIZER;

static int io_refuse(struct io *io, int fd, int *spare)
{
    pthread_mutex_lock(&refusing);
    close(*spare);
    int client = io->ops->accept(io, fd, NULL, NULL);
    /* The number stays taken: in one step it is no longer the client but a spare again. */
    *spare = client < 0 ? io->ops->reserve(io) : client;
    if (client >= 0 && dup3(fd, client, O_CLOEXEC) < 0) {
        close(client);
        *spare = io->ops->reserve(io);
    }
    pthread_mutex_unlock(&refusing);
    return client < 0 ? client : 0;
}

static uint64_t io_monotonic_ns(struct io *io)
{
    (void)io;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static double io_wall_s(struct io *io)
{
    (void)io;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static uint64_t io_random(struct io *io)
{
    uint64_t number;
    /* Before the pool is ready the kernel may answer short; the clock still differs each start. */
    if (getrandom(&number, sizeof number, GRND_NONBLOCK) != (ssize_t)sizeof number)
        number = io_monotonic_ns(io) * 0x9e3779b97f4a7c15U;
    return number;
}

static const struct io_ops system_ops = {
    .recv = io_recv,
    .send = io_send,
    .sendv = io_sendv,
    .recv_many = io_recv_many,
    .send_many = io_send_many,
    .accept = io_accept,
    .socket = io_socket,
    .bind = io_bind,
    .connect = io_connect,
    .shutdown_write = io_shutdown_write,
    .close = io_close,
    .get_option = io_get_option,
    .set_option = io_set_option,
    .local_address = io_local_address,
    .reserve = io_reserve,
    .refuse = io_refuse,
    .monotonic_ns = io_monotonic_ns,
    .wall_s = io_wall_s,
    .random = io_random,
};

struct io io_system = {.ops = &system_ops};
