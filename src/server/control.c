/* server/control.c - listening, clients, their lines.
 *
 *     on_ready:  flush ─> read ─> serve_lines ─> settle: what to wait for, or the end
 *
 * Answers only queue their line and ask for LOOP_WRITE: whoever answers, a command or something
 * much later, comes to no read, no other command and no close underneath it, and a client whose
 * lines waited for the answer goes on from on_ready. */
#include "server/control.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/require.h"
#include "io/io.h"
#include "net/loop.h"
#include "server/control_file.h"
#include "server/control_message.h"

#define INPUT_LEN 65536U   /* what one read may bring */
#define HIGH_WATER 65536U  /* with this much output queued no further line is looked at */
#define REST_MS 100        /* until accept is tried again when there were no descriptors */
#define CLOSE_FLUSH_MS 200 /* for the last answers */

/* A place for a client. It is used again for a next one, never freed: that spares the loop's
 * rule that a watcher must outlive its callback. */
struct client {
    struct loop_io io;
    struct control *control;
    int fd; /* -1: nobody is here */
    unsigned rights;
    bool ended; /* nothing more will be read */
    struct buf in, out;
    size_t searched; /* so much of `in` has no newline */
    struct list requests;
    unsigned unanswered;
};

struct control {
    struct loop *loop;
    struct io *io;
    struct control_config config;
    struct control_file file;
    struct loop_io listener, rested;
    int timer; /* wakes the listener up when it rests */
    int spare; /* given up when there is no other descriptor left, for the one who looks why */
    bool is_short; /* of descriptors; told once */
    struct client clients[CONTROL_CLIENTS_MAX];
    char input[INPUT_LEN]; /* used within one callback */
};

struct control_request {
    struct list node;
    struct client *client; /* NULL: has gone */
    json_t *id;            /* NULL: had none */
};

static void PRINTF_LIKE(3, 4)
    say(const struct control *control, enum log_level level, const char *format, ...)
{
    char text[256];
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof text, format, values);
    va_end(values);
    control->config.log(control->config.owner, level, text);
}

unsigned control_rights(uid_t peer, uid_t self)
{
    return peer == self || peer == 0 ? CONTROL_VIEW | CONTROL_OPERATE | CONTROL_SCRIPT : 0;
}

/* ---- Clients ---- */

/* A descriptor may have become free: have one to spare again, and go on accepting. */
static void accept_again(struct control *control)
{
    if (control->spare < 0)
        control->spare = control->io->ops->reserve(control->io);
    loop_io_watch(control->loop, &control->listener, LOOP_READ);
}

static void client_drop(struct client *client)
{
    struct control *control = client->control;
    loop_io_watch(control->loop, &client->io, LOOP_NONE);
    control->io->ops->close(control->io, client->fd, 0);
    client->fd = -1;
    LIST_FOREACH (&client->requests, node) {
        container_of(node, struct control_request, node)->client = NULL;
        list_remove(node);
    }
    buf_fini(&client->in);
    buf_fini(&client->out);
}

static void client_close(struct client *client)
{
    client_drop(client);
    accept_again(client->control);
}

static int flush(struct client *client)
{
    struct io *io = client->control->io;
    while (buf_len(&client->out)) {
        ssize_t sent =
            io->ops->send(io, client->fd, buf_bytes(&client->out), buf_len(&client->out));
        if (sent == -EAGAIN || sent == -EINTR)
            return 0;
        if (sent < 0)
            return (int)sent;
        buf_consume(&client->out, (size_t)sent);
    }
    buf_fini(&client->out); /* who is idle owns no memory */
    return 0;
}

static int read_some(struct client *client)
{
    struct control *control = client->control;
    ssize_t len =
        control->io->ops->recv(control->io, client->fd, control->input, INPUT_LEN);
    if (len == -EAGAIN || len == -EINTR)
        return 0;
    if (len < 0)
        return (int)len;
    client->ended = len == 0;
    return buf_append(&client->in, control->input, (size_t)len);
}

/* ---- Answers ---- */

/* After a line was queued, or could not be. */
static void queued(struct client *client, int failed)
{
    struct control *control = client->control;
    if (!failed && buf_len(&client->out) <= CONTROL_OUTPUT_MAX) {
        loop_io_watch(control->loop, &client->io, LOOP_WRITE);
        return;
    }
    say(control, LOG_WARN, "control socket: closed a client: %s",
        failed ? "no memory for its answer"
               : "it does not read, and too many answers are queued");
    client_close(client);
}

static void queue_failure(struct client *client, const json_t *id, int status,
                          const char *code, const char *text)
{
    queued(client, message_write_failure(&client->out, id, status, code, text));
}

static void request_free(struct control_request *request)
{
    if (request->client)
        request->client->unanswered--;
    list_remove(&request->node);
    json_decref(request->id);
    free(request);
}

void control_answer(struct control_request *request, json_t *answer)
{
    struct client *client = request->client;
    if (!answer) {
        control_fail(request, EX_OSERR, "ENOMEM",
                     "no memory for the answer, or it has text that is not UTF-8");
        return;
    }
    REQUIRE(json_is_object(answer));
    int failed = 0;
    if (client) {
        /* These are ours; twice in one line they would mean whatever the reader makes of it. */
        json_object_del(answer, "ok");
        if (request->id)
            json_object_del(answer, "id");
        failed = message_write_answer(&client->out, request->id, answer);
    }
    json_decref(answer);
    if (failed == -EMSGSIZE) {
        control_fail(request, EXIT_FAILURE, "EMSGSIZE",
                     "the answer is longer than %u MiB; ask for less",
                     CONTROL_ANSWER_MAX >> 20);
        return;
    }
    request_free(request);
    if (client)
        queued(client, failed);
}

void control_fail(struct control_request *request, int status, const char *code,
                  const char *format, ...)
{
    struct client *client = request->client;
    char *text = NULL;
    va_list values;
    va_start(values, format);
    if (vasprintf(&text, format, values) < 0)
        text = NULL;
    va_end(values);
    int failed = 0;
    if (client)
        failed = message_write_failure(&client->out, request->id, status, code,
                                       text ? text : "out of memory");
    free(text);
    request_free(request);
    if (client)
        queued(client, failed);
}

/* ---- Requests ---- */

static bool takes_more(const struct client *client)
{
    return client->fd >= 0 && client->unanswered < CONTROL_UNANSWERED_MAX &&
           buf_len(&client->out) < HIGH_WATER;
}

static void run_command(struct client *client, const struct control_command *command,
                        json_t *object)
{
    json_t *id = json_object_get(object, "id");
    struct control_request *request = calloc(1, sizeof *request);
    if (!request) {
        queue_failure(client, id, EX_OSERR, "ENOMEM", "out of memory");
        return;
    }
    request->client = client;
    request->id = json_incref(id);
    list_append(&client->requests, &request->node);
    client->unanswered++;
    command->run(client->control->config.owner, request, object);
}

static void serve_object(struct client *client, json_t *object)
{
    char why[MESSAGE_WHY_MAX];
    const struct control_command *command =
        message_find(client->control->config.commands, object, why);
    json_t *id = json_is_object(object) ? json_object_get(object, "id") : NULL;
    if (!command) {
        queue_failure(client, id, EX_USAGE, "EUSAGE", why);
    } else if (!(client->rights & command->right)) {
        snprintf(why, sizeof why, "you may not use '%s' on this server", command->name);
        queue_failure(client, id, EX_NOPERM, "EPERM", why);
    } else {
        run_command(client, command, object);
    }
}

static void serve_line(struct client *client, const char *line, size_t len, size_t taken)
{
    json_error_t error;
    json_t *object = json_loadb(line, len, JSON_REJECT_DUPLICATES, &error);
    /* Before the command runs: the client may be gone after it, and its input with it. */
    buf_consume(&client->in, taken);
    client->searched = 0;
    if (object) {
        serve_object(client, object);
        json_decref(object);
        return;
    }
    char why[MESSAGE_WHY_MAX];
    snprintf(why, sizeof why, "this is no JSON: column %d: %s", error.column, error.text);
    queue_failure(client, NULL, EX_USAGE, "EUSAGE", why);
}

/* The next line without its newline, NULL when there is no whole one; `taken`: with it. The
 * last line of a client needs none, for no part of an object is an object. */
static const char *next_line(struct client *client, size_t *len, size_t *taken)
{
    const char *bytes = buf_bytes(&client->in);
    size_t held = buf_len(&client->in);
    if (!held)
        return NULL;
    const char *end = memchr(bytes + client->searched, '\n', held - client->searched);
    client->searched = end ? (size_t)(end - bytes) : held;
    *len = client->searched;
    *taken = end ? *len + 1 : *len;
    return end || client->ended || held > CONTROL_LINE_MAX ? bytes : NULL;
}

static void serve_lines(struct client *client)
{
    const char *line;
    size_t len, taken;
    while (takes_more(client) && (line = next_line(client, &len, &taken))) {
        if (len <= CONTROL_LINE_MAX) {
            serve_line(client, line, len, taken);
            continue;
        }
        /* Where a next request begins cannot be known without reading on for ever. */
        client->ended = true;
        buf_fini(&client->in);
        client->searched = 0;
        queue_failure(client, NULL, EX_USAGE, "EMSGSIZE",
                      "the line is longer than 1 MiB; this connection ends");
    }
}

/* Sets what to wait for; closes a client that is served and will ask no more. While lines are
 * left unserved there is an answer to come or output to be sent, and that leads here again. */
static void settle(struct client *client)
{
    bool is_reading = !client->ended && takes_more(client);
    bool is_writing = buf_len(&client->out) > 0;
    if (client->ended && !client->unanswered && !is_writing) {
        client_close(client);
        return;
    }
    if (!buf_len(&client->in))
        buf_fini(&client->in);
    loop_io_watch(client->control->loop, &client->io,
                  (is_reading ? LOOP_READ : 0U) | (is_writing ? LOOP_WRITE : 0U));
}

static void on_ready(struct loop_io *watcher, unsigned events)
{
    struct client *client = container_of(watcher, struct client, io);
    if (client->fd < 0)
        return;
    int failed = flush(client);
    if (!failed && (events & LOOP_READ) && !client->ended && takes_more(client))
        failed = read_some(client);
    if (failed) {
        client_close(client);
        return;
    }
    serve_lines(client);
    if (client->fd >= 0)
        settle(client);
}

/* ---- Listening ---- */

/* Tells a client that it is not served, and closes. */
static void turn_away(struct control *control, int fd, int status, const char *code,
                      const char *text)
{
    struct io *io = control->io;
    struct buf line = {0};
    /* The socket is fresh: there is room for a line, or it has gone. */
    if (message_write_failure(&line, NULL, status, code, text) == 0)
        (void)io->ops->send(io, fd, buf_bytes(&line), buf_len(&line));
    buf_fini(&line);
    io->ops->close(io, fd, 0);
    accept_again(control);
}

static struct client *find_place(struct control *control)
{
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
        if (control->clients[i].fd < 0)
            return &control->clients[i];
    return NULL;
}

static void admit(struct control *control, int fd)
{
    /* Of the moment in which it connected: what it has become since does not matter. */
    struct ucred peer = {.uid = (uid_t)-1};
    socklen_t len = sizeof peer;
    int failed =
        control->io->ops->get_option(control->io, fd, SOL_SOCKET, SO_PEERCRED, &peer, &len);
    unsigned rights = failed ? 0 : control_rights(peer.uid, geteuid());
    if (!rights) {
        say(control, LOG_WARN, "control socket: refused process %ld of user %ju",
            (long)peer.pid, (uintmax_t)peer.uid);
        turn_away(control, fd, EX_NOPERM, "EPERM",
                  "this server listens to its owner and to root only");
        return;
    }
    struct client *client = find_place(control);
    if (!client) {
        say(control, LOG_WARN, "control socket: refused a client: %d are connected",
            CONTROL_CLIENTS_MAX);
        turn_away(control, fd, EX_UNAVAILABLE, "EBUSY",
                  "too many clients are connected to the control socket; close one");
        return;
    }
    *client = (struct client){.control = control, .fd = fd, .rights = rights};
    list_init(&client->requests);
    loop_io_init(&client->io, fd, on_ready);
    loop_io_watch(control->loop, &client->io, LOOP_READ);
}

static void rest(struct control *control)
{
    struct itimerspec after = {.it_value.tv_nsec = REST_MS * 1000000L};
    loop_io_watch(control->loop, &control->listener, LOOP_NONE);
    (void)timerfd_settime(control->timer, 0, &after, NULL);
}

static void on_rested(struct loop_io *watcher, unsigned events)
{
    (void)events;
    struct control *control = container_of(watcher, struct control, rested);
    uint64_t count;
    if (read(control->timer, &count, sizeof count) == (ssize_t)sizeof count)
        accept_again(control);
}

/* A server that is out of descriptors is the one that people want to look into: the spare one
 * is for them. Once that is used up too, accept rests until a client goes or a while is over,
 * for the loop would come back at once. */
static void on_accept_error(struct control *control, int error)
{
    if (error == EAGAIN || error == EINTR || error == ECONNABORTED)
        return;
    bool is_short = error == EMFILE || error == ENFILE;
    if (is_short && control->spare >= 0) {
        control->io->ops->close(control->io, control->spare, 0);
        control->spare = -1;
        return; /* the loop comes back at once */
    }
    if (!control->is_short)
        say(control, LOG_WARN, "control socket: cannot accept clients: %s",
            strerror(error));
    control->is_short = true;
    rest(control);
}

static void on_connection(struct loop_io *watcher, unsigned events)
{
    (void)events;
    struct control *control = container_of(watcher, struct control, listener);
    int fd = control->io->ops->accept(control->io, control->file.fd, NULL, NULL);
    if (fd < 0) {
        on_accept_error(control, -fd);
        return;
    }
    control->is_short = false;
    admit(control, fd);
}

/* ---- Life ---- */

static int start(struct control *control, char *why)
{
    control->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (control->timer < 0) {
        int error = errno;
        snprintf(why, CONTROL_WHY_MAX, "cannot make a timer for the control socket: %s",
                 strerror(error));
        return -error;
    }
    /* Keys of objects are hashed with a random number, which is drawn now: later there may be
     * no descriptor to read it from. */
    json_object_seed(0);
    loop_io_init(&control->listener, control->file.fd, on_connection);
    loop_io_init(&control->rested, control->timer, on_rested);
    loop_io_watch(control->loop, &control->rested, LOOP_READ);
    accept_again(control);
    return 0;
}

int control_open(struct control **control, struct loop *loop,
                 const struct control_config *config, char why[CONTROL_WHY_MAX])
{
    message_require_commands(config->commands);
    struct control *made = calloc(1, sizeof *made);
    if (!made) {
        snprintf(why, CONTROL_WHY_MAX, "no memory for the control socket");
        return -ENOMEM;
    }
    made->loop = loop;
    made->io = &io_system;
    made->config = *config;
    made->spare = -1;
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
        made->clients[i].fd = -1;
    int failed = control_file_open(&made->file, config->name, why);
    if (!failed) {
        failed = start(made, why);
        if (failed)
            control_file_close(&made->file);
    }
    if (failed)
        free(made);
    else
        *control = made;
    return failed;
}

static uint64_t now_ms(const struct control *control)
{
    return control->io->ops->monotonic_ns(control->io) / 1000000U;
}

/* Sends to all what takes it; fills `waiting` with those who have more to come. */
static nfds_t flush_all(struct control *control, struct pollfd *waiting)
{
    nfds_t count = 0;
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        struct client *client = &control->clients[i];
        if (client->fd >= 0 && flush(client) == 0 && buf_len(&client->out))
            waiting[count++] = (struct pollfd){.fd = client->fd, .events = POLLOUT};
    }
    return count;
}

static void flush_last(struct control *control)
{
    struct pollfd waiting[CONTROL_CLIENTS_MAX];
    uint64_t now = now_ms(control), end = now + CLOSE_FLUSH_MS;
    nfds_t count;
    while ((count = flush_all(control, waiting)) && now < end) {
        (void)poll(waiting, count, (int)(end - now));
        now = now_ms(control);
    }
}

void control_close(struct control *control)
{
    if (!control)
        return;
    loop_io_watch(control->loop, &control->listener, LOOP_NONE);
    loop_io_watch(control->loop, &control->rested, LOOP_NONE);
    control_file_remove(&control->file);
    flush_last(control);
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
        if (control->clients[i].fd >= 0)
            client_drop(&control->clients[i]);
    if (control->spare >= 0)
        close(control->spare);
    close(control->timer);
    control_file_close(&control->file);
    free(control);
}

const char *control_socket_path(const struct control *control)
{
    return control->file.path;
}
