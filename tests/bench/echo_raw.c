/* tests/bench/echo_raw.c - the yardstick: an echo on epoll in C, without a limit, a check or a hook.
 *
 *     echo_raw PORT [udp]
 *
 * Listens on that port of 127.0.0.1 (0: any) and prints "port=N". */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define INPUT_LEN 69632
#define BATCH 32
#define DATAGRAM_LEN 65536

struct client {
    int fd;
    char *rest; /* what the socket did not take */
    size_t from, to;
};

static int epoll;
static char input[INPUT_LEN];

static void watch(struct client *client, int how, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = client};
    epoll_ctl(epoll, how, client->fd, &event);
}

static void end(struct client *client)
{
    close(client->fd);
    free(client->rest);
    free(client);
}

static void keep(struct client *client, const char *bytes, size_t len)
{
    client->rest = malloc(len);
    if (!client->rest)
        exit(1);
    memcpy(client->rest, bytes, len);
    client->from = 0;
    client->to = len;
    watch(client, EPOLL_CTL_MOD, EPOLLOUT);
}

static void on_writable(struct client *client)
{
    ssize_t sent = send(client->fd, client->rest + client->from, client->to - client->from,
                        MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        end(client);
        return;
    }
    client->from += sent > 0 ? (size_t)sent : 0;
    if (client->from < client->to)
        return;
    free(client->rest);
    client->rest = NULL;
    watch(client, EPOLL_CTL_MOD, EPOLLIN);
}

static void on_readable(struct client *client)
{
    ssize_t got = recv(client->fd, input, sizeof input, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            end(client);
        return;
    }
    ssize_t sent = send(client->fd, input, (size_t)got, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        end(client);
    else if (sent < got)
        keep(client, input + (sent > 0 ? sent : 0), (size_t)(got - (sent > 0 ? sent : 0)));
}

static void accept_one(int listener)
{
    struct client *client = calloc(1, sizeof *client);
    int on = 1;
    if (!client)
        exit(1);
    client->fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (client->fd < 0) {
        free(client);
        return;
    }
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    watch(client, EPOLL_CTL_ADD, EPOLLIN);
} /* NOLINT(clang-analyzer-unix.Malloc): epoll holds the client until its end */

static void serve_streams(int listener)
{
    struct epoll_event ready[256], event = {.events = EPOLLIN};
    listen(listener, 4096);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(epoll, ready, 256, -1);
        for (int i = 0; i < count; i++) {
            struct client *client = ready[i].data.ptr;
            if (!client)
                accept_one(listener);
            else if (client->rest)
                on_writable(client);
            else
                on_readable(client);
        }
    }
}

static void serve_datagrams(int fd)
{
    static char bytes[BATCH][DATAGRAM_LEN];
    struct mmsghdr messages[BATCH] = {0};
    struct sockaddr_storage from[BATCH];
    struct iovec pieces[BATCH];
    for (;;) {
        for (int i = 0; i < BATCH; i++) {
            pieces[i] = (struct iovec){bytes[i], DATAGRAM_LEN};
            messages[i].msg_hdr = (struct msghdr){.msg_name = &from[i],
                                                  .msg_namelen = sizeof from[i],
                                                  .msg_iov = &pieces[i],
                                                  .msg_iovlen = 1};
        }
        int count = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
        for (int i = 0; i < count; i++)
            pieces[i].iov_len = messages[i].msg_len;
        for (int done = 0, sent; done < count; done += sent) {
            sent = sendmmsg(fd, messages + done, (unsigned)(count - done), 0);
            if (sent <= 0)
                break;
        }
    }
}

int main(int count, char **words)
{
    if (count < 2) {
        fprintf(stderr, "usage: echo_raw PORT [udp]\n");
        return 2;
    }
    int kind = count > 2 ? SOCK_DGRAM : SOCK_STREAM, on = 1;
    int fd =
        socket(AF_INET, kind | SOCK_CLOEXEC | (kind == SOCK_STREAM ? SOCK_NONBLOCK : 0), 0);
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)strtoul(words[1], NULL, 10)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&at, len) < 0) {
        perror("echo_raw");
        return 1;
    }
    getsockname(fd, (struct sockaddr *)&at, &len);
    printf("port=%d\n", ntohs(at.sin_port));
    fflush(stdout);
    if (kind == SOCK_STREAM)
        serve_streams(fd);
    else
        serve_datagrams(fd);
}
