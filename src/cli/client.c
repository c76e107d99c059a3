/* cli/client.c - sending and receiving at the same time.
 *
 * Reading never waits for sending to end: a server that echoes would stop reading once its
 * output filled up, and both sides would wait for ever. */
#include "cli/client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "cli/input.h"
#include "cli/sink.h"
#include "io/io.h"

#define RECEIVE_MAX 65536

static bool is_stream(const struct client *client)
{
    return transport_is_stream(client->config.addr->transport);
}

/* An unnamed Unix socket has no address to reply to; the kernel makes one up, in the abstract
 * namespace, when it is bound with nothing but a family. */
static int bind_for_replies(int fd)
{
    struct sockaddr unnamed = {.sa_family = AF_UNIX};
    return bind(fd, &unnamed, sizeof unnamed.sa_family);
}

static int connect_to(struct client *client, const struct endpoint *endpoint)
{
    int type = is_stream(client) ? SOCK_STREAM : SOCK_DGRAM;
    int fd = socket(endpoint->at.sa.sa_family, type | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int wait_ms = client->config.timeout_ms;
    if (wait_ms > 0) {
        /* Bounds connect(2) too, also on a Unix socket whose queue is full. */
        struct timeval wait = {.tv_sec = wait_ms / 1000, .tv_usec = wait_ms % 1000 * 1000L};
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    }
    if ((client->config.addr->transport == TRANSPORT_UNIXGRAM &&
         bind_for_replies(fd) < 0) ||
        connect(fd, &endpoint->at.sa, endpoint->len) < 0 ||
        fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
        int rc = errno == EINPROGRESS || errno == EAGAIN ? -ETIMEDOUT : -errno;
        close(fd);
        return rc;
    }
    client->fd = fd;
    return 0;
}

/* The error of the first endpoint that fails is the answer: the second one of "localhost" may
 * only fail because this machine has no IPv6. */
static int connect_next(struct client *client)
{
    int first = -EADDRNOTAVAIL;
    for (bool is_first = true; client->endpoint_next < client->endpoint_count;
         is_first = false) {
        int rc = connect_to(client, &client->endpoints[client->endpoint_next++]);
        if (rc == 0)
            return 0;
        if (is_first)
            first = rc;
    }
    return first;
}

int client_open(struct client *client, const struct client_config *config)
{
    *client = (struct client){.config = *config, .fd = -1};
    client->endpoint_count = addr_endpoints(config->addr, client->endpoints);
    return connect_next(client);
}

void client_close(struct client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
}

/* "localhost" stands for two addresses, and that nobody receives datagrams at the first one
 * shows only after sending: the datagram is sent once more, to the second. */
static bool try_other_endpoint(struct client *client)
{
    if (is_stream(client) || client->sent > 1 || client->received > 0 ||
        client->endpoint_next == client->endpoint_count)
        return false;
    if (client->sent == 1 && !input_again(client->config.input))
        return false;
    client->sent = 0;
    client_close(client);
    return connect_next(client) == 0;
}

static bool fail(struct client *client, enum client_end *end, enum client_end what,
                 int error)
{
    *end = what;
    client->error = error;
    return false;
}

static bool fail_socket(struct client *client, enum client_end *end, int error)
{
    if (error == -EAGAIN || error == -EINTR)
        return true;
    if (error == -ECONNREFUSED && try_other_endpoint(client))
        return true;
    return fail(client, end, CLIENT_LOST, error);
}

/* Sends one message, or a part of it. False when it is over. */
static bool send_next(struct client *client, enum client_end *end)
{
    const char *bytes;
    size_t len;
    if (!input_peek(client->config.input, &bytes, &len))
        return true;
    ssize_t count = io_system.ops->send(&io_system, client->fd, bytes, len);
    if (count < 0 && is_stream(client) && (count == -EPIPE || count == -ECONNRESET)) {
        /* A server may say why it closes, and that may wait to be read. */
        client->send_error = (int)count;
        return true;
    }
    if (count < 0)
        return fail_socket(client, end, (int)count);
    input_take(client->config.input, (size_t)count);
    if (!is_stream(client))
        client->sent++;
    return true;
}

static ssize_t receive_datagram(int fd, char *bytes)
{
    struct iovec piece = {.iov_base = bytes, .iov_len = RECEIVE_MAX};
    struct mmsghdr message = {.msg_hdr = {.msg_iov = &piece, .msg_iovlen = 1}};
    int count = io_system.ops->recv_many(&io_system, fd, &message, 1);
    if (count <= 0)
        return count < 0 ? count : -EAGAIN;
    return message.msg_hdr.msg_flags & MSG_TRUNC ? -EMSGSIZE : (ssize_t)message.msg_len;
}

static bool receive_next(struct client *client, enum client_end *end)
{
    char bytes[RECEIVE_MAX];
    ssize_t count = is_stream(client)
                        ? io_system.ops->recv(&io_system, client->fd, bytes, sizeof bytes)
                        : receive_datagram(client->fd, bytes);
    if (count < 0)
        return fail_socket(client, end, (int)count);
    if (count == 0 && is_stream(client)) {
        client->is_peer_closed = true;
        return true;
    }
    client->received++;
    int rc = sink_write(client->config.sink, bytes, (size_t)count);
    if (rc == 0 && !is_stream(client))
        rc = sink_end_line(client->config.sink);
    return rc == 0 || fail(client, end, CLIENT_NO_OUTPUT, rc);
}

static bool has_sent_all(const struct client *client)
{
    return client->send_error == 0 && input_is_done(client->config.input);
}

/* What someone might have typed later is not missed. */
static bool has_unsent(const struct client *client)
{
    const struct input *input = client->config.input;
    return !has_sent_all(client) && !(input->shape.is_typed && input_wants_input(input));
}

static void half_close(struct client *client)
{
    if (!is_stream(client) || client->config.is_kept_open || client->is_half_closed ||
        !has_sent_all(client))
        return;
    client->is_half_closed = true;
    (void)io_system.ops->shutdown_write(&io_system, client->fd);
}

static bool is_over(const struct client *client)
{
    if (is_stream(client))
        return client->is_peer_closed;
    return has_sent_all(client) &&
           client->received >= client->sent * client->config.replies;
}

/* Waits for the socket and the input. Returns poll(2)'s answer. */
static int wait_for_news(struct client *client, struct pollfd polled[2])
{
    struct input *input = client->config.input;
    const char *bytes;
    size_t len;
    bool sends = client->send_error == 0 && input_peek(input, &bytes, &len);
    bool reads = client->send_error == 0 && input_wants_input(input);
    polled[0] = (struct pollfd){.fd = client->fd,
                                .events = (short)(POLLIN | (sends ? POLLOUT : 0))};
    polled[1] = (struct pollfd){.fd = reads ? input->fd : -1, .events = POLLIN};
    /* While someone may type, the peer is not late. */
    return poll(polled, 2, reads ? -1 : client->config.timeout_ms);
}

static enum client_end time_out(struct client *client)
{
    if (has_sent_all(client))
        return client->received > 0 ? CLIENT_QUIET : CLIENT_SILENT;
    client->error = client->send_error ? client->send_error : -ETIMEDOUT;
    return CLIENT_CUT;
}

/* One round. False when it is over. */
static bool turn(struct client *client, enum client_end *end)
{
    struct pollfd polled[2];
    half_close(client);
    if (is_over(client))
        return fail(client, end, has_unsent(client) ? CLIENT_CUT : CLIENT_DONE,
                    client->send_error);
    int count = wait_for_news(client, polled);
    if (count < 0)
        return errno == EINTR || fail(client, end, CLIENT_LOST, -errno);
    if (count == 0) {
        *end = time_out(client);
        return false;
    }
    if (polled[0].revents & ~POLLOUT && !receive_next(client, end))
        return false;
    if (polled[0].revents & POLLOUT && !send_next(client, end))
        return false;
    int rc = polled[1].revents ? input_read(client->config.input) : 0;
    return rc == 0 || fail(client, end, CLIENT_NO_INPUT, rc);
}

enum client_end client_run(struct client *client)
{
    enum client_end end = CLIENT_DONE;
    while (turn(client, &end))
        continue;
    return end;
}
