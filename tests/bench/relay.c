/* tests/bench/relay.c - what conn:pipe is measured against: a relay in C and epoll, without limits.
 *
 *     relay PORT UPSTREAM_PORT
 *
 * Listens on a port of 127.0.0.1 (0: any, which it prints) and joins each connection to one of
 * its own to the other port: read, write, a buffer of 64 KiB for each direction that holds what was
 * not taken, half-close. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER_LEN (64U << 10)

struct side {
    int fd;
    uint32_t watched;
    struct side *other;
    bool eof, shut;  /* its input, its output is over */
    size_t from, to; /* what came from it and the other has not taken */
    char buffer[BUFFER_LEN];
};

static int epoll;

static void watch(struct side *side)
{
    bool reads = !side->eof && side->from == side->to;
    bool writes = side->other->from < side->other->to;
    uint32_t events = (reads ? EPOLLIN : 0U) | (writes ? EPOLLOUT : 0U);
    if (events == side->watched)
        return;
    struct epoll_event event = {.events = events, .data.ptr = side};
    int what = side->watched == UINT32_MAX ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    side->watched = events;
    epoll_ctl(epoll, what, side->fd, &event);
}

/* False: it is gone. */
static bool move(struct side *from)
{
    struct side *to = from->other;
    if (!from->eof && from->from == from->to) {
        ssize_t got = recv(from->fd, from->buffer, BUFFER_LEN, 0);
        if (got < 0)
            return errno == EAGAIN;
        from->eof = got == 0;
        from->from = 0;
        from->to = (size_t)got;
    }
    if (from->from < from->to) {
        ssize_t sent =
            send(to->fd, from->buffer + from->from, from->to - from->from, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            return false;
        from->from += sent > 0 ? (size_t)sent : 0;
    }
    if (from->eof && from->from == from->to && !to->shut) {
        to->shut = true;
        shutdown(to->fd, SHUT_WR);
    }
    return true;
}

static void end(struct side *side)
{
    close(side->fd);
    close(side->other->fd);
    free(side->other);
    free(side);
}

static void on_ready(struct side *side, uint32_t events)
{
    bool ok = !(events & (EPOLLIN | EPOLLHUP | EPOLLERR)) || move(side);
    if (ok && (events & EPOLLOUT))
        ok = move(side->other);
    if (!ok || (side->shut && side->other->shut)) {
        end(side);
        return;
    }
    watch(side);
    watch(side->other);
}

static struct sockaddr_in loopback(const char *port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static struct side *new_side(int fd)
{
    struct side *side = malloc(sizeof *side);
    if (!side)
        exit(1);
    side->fd = fd;
    side->watched = UINT32_MAX;
    side->eof = side->shut = false;
    side->from = side->to = 0;
    return side;
}

static void on_client(int listener, const char *upstream)
{
    struct sockaddr_in at = loopback(upstream);
    int client = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (client < 0 ||
        (connect(fd, (struct sockaddr *)&at, sizeof at) < 0 && errno != EINPROGRESS)) {
        close(client);
        close(fd);
        return;
    }
    struct side *a = new_side(client), *b = new_side(fd);
    a->other = b;
    b->other = a;
    watch(a);
    watch(b);
}

int main(int count, char **words)
{
    if (count != 3) {
        fprintf(stderr, "usage: relay PORT UPSTREAM_PORT\n");
        return 2;
    }
    struct sockaddr_in at = loopback(words[1]);
    socklen_t len = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&at, len) < 0 || listen(listener, 128) < 0) {
        perror("relay");
        return 1;
    }
    getsockname(listener, (struct sockaddr *)&at, &len);
    printf("port=%d\n", ntohs(at.sin_port));
    fflush(stdout);
    epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, ready[64];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int events = epoll_wait(epoll, ready, 64, -1);
        for (int i = 0; i < events; i++) {
            if (ready[i].data.ptr)
                on_ready(ready[i].data.ptr, ready[i].events);
            else
                on_client(listener, words[2]);
        }
    }
}
