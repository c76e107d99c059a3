/* tests/bench/echo_libev.c - the same echo on libev, with nothing else: what the loop costs.
 *
 *     echo_libev PORT
 *
 * Listens on that port of 127.0.0.1 (0: any) and prints "port=N". */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ev.h>

#define INPUT_LEN 69632

struct client {
    struct ev_io io; /* first: what libev gives back */
    char *rest;
    size_t from, to;
};

static char input[INPUT_LEN];

static void end(struct ev_loop *loop, struct client *client)
{
    ev_io_stop(loop, &client->io);
    close(client->io.fd);
    free(client->rest);
    free(client);
}

static void turn(struct ev_loop *loop, struct client *client, int events)
{
    ev_io_stop(loop, &client->io);
    ev_io_modify(&client->io, events);
    ev_io_start(loop, &client->io);
}

static void on_writable(struct ev_loop *loop, struct client *client)
{
    ssize_t sent = send(client->io.fd, client->rest + client->from,
                        client->to - client->from, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        end(loop, client);
        return;
    }
    client->from += sent > 0 ? (size_t)sent : 0;
    if (client->from < client->to)
        return;
    free(client->rest);
    client->rest = NULL;
    turn(loop, client, EV_READ);
}

static void on_ready(struct ev_loop *loop, struct ev_io *io, int events)
{
    struct client *client = (struct client *)(void *)io;
    (void)events;
    if (client->rest) {
        on_writable(loop, client);
        return;
    }
    ssize_t got = recv(io->fd, input, sizeof input, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            end(loop, client);
        return;
    }
    ssize_t sent = send(io->fd, input, (size_t)got, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        end(loop, client);
    } else if (sent < got) {
        size_t taken = sent > 0 ? (size_t)sent : 0;
        client->from = 0;
        client->to = (size_t)got - taken;
        client->rest = malloc(client->to);
        if (!client->rest)
            exit(1);
        memcpy(client->rest, input + taken, client->to);
        turn(loop, client, EV_WRITE);
    }
}

static void on_accept(struct ev_loop *loop, struct ev_io *io, int events)
{
    (void)events;
    int on = 1, fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct client *client = fd < 0 ? NULL : calloc(1, sizeof *client);
    if (!client)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ev_io_init(&client->io, on_ready, fd, EV_READ);
    ev_io_start(loop, &client->io);
}

int main(int count, char **words)
{
    struct ev_loop *loop = ev_loop_new(EVBACKEND_EPOLL);
    struct ev_io listener;
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in at = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)strtoul(count > 1 ? words[1] : "0", NULL, 10)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&at, len) < 0 || listen(fd, 4096) < 0) {
        perror("echo_libev");
        return 1;
    }
    getsockname(fd, (struct sockaddr *)&at, &len);
    printf("port=%d\n", ntohs(at.sin_port));
    fflush(stdout);
    ev_io_init(&listener, on_accept, fd, EV_READ);
    ev_io_start(loop, &listener);
    ev_run(loop, 0);
}
