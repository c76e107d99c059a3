/* cli/control_client.c - connecting, and one line there and one line back. */
#include "cli/control_client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "server/control_path.h"

#define RECEIVE_SIZE 65536

static int explain_connect(int rc, const char *name, const char *path,
                           char why[FLAGS_WHY_MAX])
{
    if (rc == -ENOENT || rc == -ECONNREFUSED)
        snprintf(why, FLAGS_WHY_MAX,
                 "no neap serves under the name '%s' (%s: %s); start one with neap run, "
                 "or name it with --name",
                 name, path, strerror(-rc));
    else
        snprintf(why, FLAGS_WHY_MAX, "cannot reach the neap named '%s' (%s: %s)", name,
                 path, strerror(-rc));
    return rc;
}

static int connect_to(struct control_client *client, const struct sockaddr_un *address)
{
    client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0)
        return -errno;
    if (client->timeout_ms > 0) {
        /* Bounds connect(2), which waits while the queue of a stuck server is full. */
        struct timeval wait = {.tv_sec = client->timeout_ms / 1000,
                               .tv_usec = client->timeout_ms % 1000 * 1000L};
        (void)setsockopt(client->fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    }
    if (connect(client->fd, (const struct sockaddr *)address, sizeof *address) < 0)
        return errno == EAGAIN ? -ETIMEDOUT : -errno;
    return fcntl(client->fd, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

/* In a folder of temporary files somebody else may have been there first; what is sent here is
 * not theirs to read. Root may talk to anybody's server. */
static int check_peer(const struct control_client *client, const char *path,
                      char why[FLAGS_WHY_MAX])
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    if (getsockopt(client->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0) {
        int rc = -errno;
        snprintf(why, FLAGS_WHY_MAX, "%s: %s", path, strerror(-rc));
        return rc;
    }
    uid_t self = geteuid();
    if (self == 0 || peer.uid == 0 || peer.uid == self)
        return 0;
    snprintf(why, FLAGS_WHY_MAX, "%s: the server there is of user %ju, not yours", path,
             (uintmax_t)peer.uid);
    return -EPERM;
}

int control_client_open(struct control_client *client, const char *name, int timeout_ms,
                        char why[FLAGS_WHY_MAX])
{
    *client = (struct control_client){.fd = -1, .timeout_ms = timeout_ms};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(why, FLAGS_WHY_MAX, "the name '%s' has no control socket", name);
    int rc = control_path(name, address.sun_path, sizeof address.sun_path, why);
    if (rc < 0)
        return rc;
    rc = connect_to(client, &address);
    if (rc < 0)
        return explain_connect(rc, name, address.sun_path, why);
    return check_peer(client, address.sun_path, why);
}

void control_client_close(struct control_client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
    buf_fini(&client->in);
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The first `searched` bytes of the input have no newline in them. The length of the answer's
 * line with its newline, 0 when it is not whole yet, or -EMSGSIZE. */
static int find_line(const struct control_client *client, size_t searched)
{
    size_t len = buf_len(&client->in);
    const char *bytes = buf_bytes(&client->in);
    const char *newline = memchr(bytes + searched, '\n', len - searched);
    size_t line_len = newline ? (size_t)(newline - bytes) + 1 : len + 1;
    if (line_len > CONTROL_ANSWER_MAX)
        return -EMSGSIZE;
    return newline ? (int)line_len : 0;
}

/* Receives once. As find_line, or -ECONNRESET at the end, -ENOMEM or what recv(2) said. */
static int receive(struct control_client *client)
{
    size_t before = buf_len(&client->in);
    if (buf_reserve(&client->in, RECEIVE_SIZE) < 0)
        return -ENOMEM;
    ssize_t count = recv(client->fd, buf_tail(&client->in), RECEIVE_SIZE, 0);
    if (count < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    if (count == 0)
        return -ECONNRESET;
    buf_commit(&client->in, (size_t)count);
    return find_line(client, before);
}

static int send_some(struct control_client *client, struct buf *out)
{
    ssize_t count = send(client->fd, buf_bytes(out), buf_len(out), MSG_NOSIGNAL);
    if (count >= 0) {
        buf_consume(out, (size_t)count);
        return 0;
    }
    if (errno == EAGAIN || errno == EINTR)
        return 0;
    if (errno != EPIPE && errno != ECONNRESET)
        return -errno;
    /* It closed: that it does not serve us may wait to be read. */
    buf_clear(out);
    return 0;
}

/* Waits once and does what can be done. As receive, or -ETIMEDOUT. */
static int turn(struct control_client *client, struct buf *out, int64_t deadline)
{
    struct pollfd polled = {.fd = client->fd,
                            .events = (short)(POLLIN | (buf_len(out) > 0 ? POLLOUT : 0))};
    int64_t rest = client->timeout_ms < 0 ? -1 : deadline - now_ms();
    if (client->timeout_ms >= 0 && rest <= 0)
        return -ETIMEDOUT;
    int count = poll(&polled, 1, (int)rest);
    if (count < 0)
        return errno == EINTR ? 0 : -errno;
    if (count == 0)
        return -ETIMEDOUT;
    int rc = polled.revents & ~POLLOUT ? receive(client) : 0;
    if (rc == 0 && polled.revents & POLLOUT && buf_len(out) > 0)
        rc = send_some(client, out);
    return rc;
}

static int append(const char *bytes, size_t len, void *out)
{
    return buf_append(out, bytes, len);
}

static int encode(const json_t *request, struct buf *out)
{
    if (json_dump_callback(request, append, out, JSON_COMPACT) < 0 ||
        buf_append(out, "\n", 1) < 0)
        return -ENOMEM;
    return buf_len(out) > CONTROL_REQUEST_MAX ? -E2BIG : 0;
}

/* Reads the line of `len` bytes. */
static int decode(const struct control_client *client, size_t len, json_t **answer)
{
    json_error_t error;
    json_t *object = json_loadb(buf_bytes(&client->in), len, JSON_ALLOW_NUL, &error);
    if (json_is_object(object) && json_is_boolean(json_object_get(object, "ok"))) {
        *answer = object;
        return 0;
    }
    json_decref(object);
    return !object && json_error_code(&error) == json_error_out_of_memory ? -ENOMEM
                                                                          : -EBADMSG;
}

static void explain_ask(int rc, const struct control_client *client,
                        char why[FLAGS_WHY_MAX])
{
    if (rc == -E2BIG)
        snprintf(why, FLAGS_WHY_MAX, "a request may have no more than 1 MiB");
    else if (rc == -ECONNRESET)
        snprintf(why, FLAGS_WHY_MAX, "the server closed the connection without an answer");
    else if (rc == -EMSGSIZE)
        snprintf(why, FLAGS_WHY_MAX, "the server's answer is longer than 16 MiB");
    else if (rc == -EBADMSG)
        snprintf(why, FLAGS_WHY_MAX,
                 "the server's answer is not a JSON object that says whether it is ok");
    else if (rc == -ETIMEDOUT)
        snprintf(why, FLAGS_WHY_MAX,
                 "no answer in %g s; it may still be done (--timeout waits longer)",
                 client->timeout_ms / 1000.0);
    else if (rc == -ENOMEM)
        snprintf(why, FLAGS_WHY_MAX, "out of memory");
    else
        snprintf(why, FLAGS_WHY_MAX, "control socket: %s", strerror(-rc));
}

int control_client_ask(struct control_client *client, const json_t *request,
                       json_t **answer, char why[FLAGS_WHY_MAX])
{
    struct buf out = {.data = NULL};
    int64_t deadline = now_ms() + client->timeout_ms;
    buf_clear(&client->in); /* nothing that nobody asked for is taken for an answer */
    int rc = encode(request, &out);
    while (rc == 0)
        rc = turn(client, &out, deadline);
    if (rc > 0)
        rc = decode(client, (size_t)rc, answer);
    if (rc < 0)
        explain_ask(rc, client, why);
    buf_fini(&out);
    return rc;
}

int control_client_status(int error)
{
    switch (-error) {
    case EINVAL:
    case ENAMETOOLONG:
    case E2BIG:
        return EX_USAGE;
    case ENOENT:
    case ECONNREFUSED:
        return EX_UNAVAILABLE;
    case ECONNRESET:
    case EMSGSIZE:
    case EBADMSG:
        return EX_IOERR;
    case EACCES:
    case EPERM:
        return EX_NOPERM;
    case ETIMEDOUT:
        return 1;
    default:
        return EX_OSERR;
    }
}
