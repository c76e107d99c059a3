/* tests/unit/net_fixture.c - io that counts and fails, hooks that write down what they see. */
#include "net_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <check.h>

#include "net/stream.h"

#define PATIENCE_S 10
#define CLOCK_START_MS 1000000U

struct net net;

/* ---- io ---- */

static bool fails(struct net_fault *fault)
{
    if (fault->count == 0)
        return false;
    if (fault->count != UINT32_MAX)
        fault->count--;
    return true;
}

static ssize_t net_io_recv(struct io *io, int fd, void *bytes, size_t len)
{
    (void)io;
    net.recvs++;
    return io_system.ops->recv(&io_system, fd, bytes, len);
}

static size_t at_most(size_t len)
{
    return net.send_max && net.send_max < len ? net.send_max : len;
}

static ssize_t net_io_send(struct io *io, int fd, const void *bytes, size_t len)
{
    (void)io;
    net.sends++;
    if (fails(&net.send_fault))
        return net.send_fault.error;
    return io_system.ops->send(&io_system, fd, bytes, at_most(len));
}

static ssize_t net_io_sendv(struct io *io, int fd, const struct iovec *pieces, size_t count)
{
    (void)io;
    net.sends++;
    if (fails(&net.send_fault))
        return net.send_fault.error;
    if (net.send_max) /* the first piece, or a part of it */
        return io_system.ops->send(&io_system, fd, pieces[0].iov_base,
                                   at_most(pieces[0].iov_len));
    return io_system.ops->sendv(&io_system, fd, pieces, count);
}

static int net_io_recv_many(struct io *io, int fd, struct mmsghdr *messages, unsigned count)
{
    (void)io;
    net.recv_manys++;
    return io_system.ops->recv_many(&io_system, fd, messages, count);
}

static int net_io_send_many(struct io *io, int fd, struct mmsghdr *messages, unsigned count)
{
    (void)io;
    net.send_manys++;
    if (fails(&net.send_many_fault))
        return net.send_many_fault.error;
    return io_system.ops->send_many(&io_system, fd, messages, count);
}

static int net_io_accept(struct io *io, int fd, struct sockaddr *from, socklen_t *from_len)
{
    (void)io;
    net.accepts++;
    if (fails(&net.accept_fault))
        return net.accept_fault.error;
    return io_system.ops->accept(&io_system, fd, from, from_len);
}

static int net_io_reserve(struct io *io)
{
    (void)io;
    return fails(&net.reserve_fault) ? net.reserve_fault.error
                                     : io_system.ops->reserve(&io_system);
}

static uint64_t net_io_monotonic_ns(struct io *io)
{
    (void)io;
    return net.clock_ms * 1000000U;
}

static struct io_ops net_io_ops;

/* ---- What happens ---- */

/* "what", or with a text "what(text)". */
static void trace(const struct conn *conn, const char *what, const char *text, size_t len)
{
    char number[24] = "";
    if (conn && net.trace_numbers)
        snprintf(number, sizeof number, "%lu:", conn_number(conn));
    size_t at = strlen(net.trace), room = sizeof net.trace - at;
    if (strlen(what) + len + sizeof number + 4 > room)
        ck_abort_msg("the trace is full");
    snprintf(net.trace + at, room, "%s%s%s%s%.*s%s", at ? " " : "", number, what,
             text ? "(" : "", (int)len, text ? text : "", text ? ")" : "");
}

static void on_connect(struct conn *conn)
{
    net.last = conn;
    trace(conn, "connect", NULL, 0);
    if (net.on_connect)
        net.on_connect(conn);
}

static void on_message(struct conn *conn, const char *bytes, size_t len)
{
    trace(conn, "message", bytes, len < 32 ? len : 32);
    if (net.on_message)
        net.on_message(conn, bytes, len);
}

static void on_eof(struct conn *conn, const char *rest, size_t len)
{
    trace(conn, "eof", len ? rest : "", len);
    if (net.on_eof)
        net.on_eof(conn);
}

static void on_idle(struct conn *conn, double seconds)
{
    char text[24];
    snprintf(text, sizeof text, "%g", seconds);
    trace(conn, "idle", text, strlen(text));
    conn_answer_idle(conn, net.keep_idle);
}

static void on_timer(struct conn *conn, const char *name, size_t len)
{
    trace(conn, "timer", name, len);
    if (net.on_timer)
        net.on_timer(conn);
}

static void on_drain(struct conn *conn)
{
    trace(conn, "drain", NULL, 0);
    if (net.on_drain)
        net.on_drain(conn);
}

static void trace_end(const struct conn *conn, const char *what, enum conn_reason reason,
                      const char *detail)
{
    char text[256];
    snprintf(text, sizeof text, "%s%s%s", conn_reason_names[reason], detail ? ": " : "",
             detail ? detail : "");
    trace(conn, what, text, strlen(text));
}

static void on_closing(struct conn *conn, enum conn_reason reason, const char *detail)
{
    (void)detail;
    trace_end(conn, "closing", reason, NULL);
    if (net.on_closing)
        net.on_closing(conn);
}

static void on_disconnect(struct conn *conn, enum conn_reason reason, const char *detail)
{
    trace_end(conn, "disconnect", reason, detail);
}

static void on_gone(struct conn *conn)
{
    if (net.last == conn)
        net.last = NULL;
    trace(conn, "gone", NULL, 0);
}

static const struct conn_ops conn_ops = {
    .on_connect = on_connect,
    .on_message = on_message,
    .on_eof = on_eof,
    .on_idle = on_idle,
    .on_timer = on_timer,
    .on_drain = on_drain,
    .on_closing = on_closing,
    .on_disconnect = on_disconnect,
    .on_gone = on_gone,
};

/* ---- Turns ---- */

static unsigned turns_left;
static const char *awaited;
static struct timespec patience;

static bool is_over(const struct timespec *end)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec > end->tv_sec;
}

static void on_wake(struct reactor *reactor)
{
    bool go_on =
        awaited ? !strstr(net.trace, awaited) && !is_over(&patience) : --turns_left > 0;
    if (go_on)
        loop_wake(reactor->loop);
    else
        loop_stop(reactor->loop);
}

static void on_notice(struct reactor *reactor, enum counter counter,
                      const struct conn *conn, const char *detail)
{
    (void)reactor;
    (void)counter;
    (void)conn;
    (void)detail;
}

static void on_empty(struct reactor *reactor)
{
    (void)reactor;
    trace(NULL, "empty", NULL, 0);
}

static const struct reactor_ops reactor_ops = {
    .on_wake = on_wake, .on_notice = on_notice, .on_empty = on_empty};

void net_turns(unsigned count)
{
    awaited = NULL;
    turns_left = count;
    loop_wake(net.reactor->loop);
    loop_run(net.reactor->loop);
}

void net_await(const char *text)
{
    awaited = text;
    clock_gettime(CLOCK_MONOTONIC, &patience);
    patience.tv_sec += PATIENCE_S;
    loop_wake(net.reactor->loop);
    loop_run(net.reactor->loop);
    if (!strstr(net.trace, text))
        ck_abort_msg("'%s' did not happen, but: %s", text, net.trace);
    net_turns(2); /* what belongs to the same event has happened too */
}

void net_advance(uint64_t ms)
{
    net.clock_ms += ms;
    loop_set_alarm(net.reactor->loop, 0);
    net_turns(4);
}

bool net_traced(const char *text)
{
    return strstr(net.trace, text) != NULL;
}

uint64_t net_counter(enum counter counter)
{
    return counters_get(&net.reactor->counters, counter);
}

uint64_t net_number(struct reactor *reactor)
{
    (void)reactor;
    return ++net.numbers;
}

static struct service *choose(struct reactor *reactor, struct service *service,
                              const struct endpoint *peer)
{
    (void)reactor;
    (void)peer;
    return service;
}

const struct dgram_ops net_dgram_ops = {.number = net_number, .choose = choose};

/* ---- Life ---- */

static void keep_framing(struct framing *framing)
{
    (void)framing;
}

void net_setup(void)
{
    net = (struct net){.clock_ms = CLOCK_START_MS};
    net_io_ops = *io_system.ops;
    net_io_ops.recv = net_io_recv;
    net_io_ops.send = net_io_send;
    net_io_ops.sendv = net_io_sendv;
    net_io_ops.recv_many = net_io_recv_many;
    net_io_ops.send_many = net_io_send_many;
    net_io_ops.accept = net_io_accept;
    net_io_ops.reserve = net_io_reserve;
    net_io_ops.monotonic_ns = net_io_monotonic_ns;
    net.io.ops = &net_io_ops;
    net.reactor = reactor_new(&net.io, &reactor_ops, NULL);
    ck_assert_ptr_nonnull(net.reactor);
    codec_init_raw(&net.framing.codec);
    net.framing.refs = 1;
    net.framing.free = keep_framing;
    net.service = (struct service){.name = "main",
                                   .hooks = HOOK_CONNECT | HOOK_MESSAGE,
                                   .ops = &conn_ops,
                                   .framing = &net.framing,
                                   .options = conn_options_default,
                                   .sessions = true,
                                   .max_waiting = 1024,
                                   .reply_limit = true};
}

void net_teardown(void)
{
    conn_abort_all(net.reactor);
    net_turns(4);
    ck_assert_uint_eq(net.reactor->conns.count, 0);
    ck_assert_uint_eq(net.reactor->buffered, 0);
    reactor_free(net.reactor);
}

void net_frame_lines(void)
{
    const char *why;
    ck_assert_int_eq(codec_init_line(&net.framing.codec, "\n", 1, &why), 0);
}

/* ---- Sockets ---- */

int net_bind(const char *address, struct endpoint *at)
{
    struct addr addr;
    char why[ADDR_WHY_MAX];
    ck_assert_msg(addr_parse(&addr, address, why) == 0, "%s", address);
    struct endpoint endpoints[2];
    ck_assert_int_ge(addr_endpoints(&addr, endpoints), 1);
    *at = endpoints[0];
    bool stream = transport_is_stream(addr.transport);
    int fd =
        socket(at->at.sa.sa_family, (stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_msg(bind(fd, &at->at.sa, at->len) == 0, "%s: %s", address, strerror(errno));
    at->len = sizeof at->at;
    ck_assert_int_eq(getsockname(fd, &at->at.sa, &at->len), 0);
    ck_assert(!stream || listen(fd, 128) == 0);
    return fd;
}

int net_connect(const struct endpoint *at, int type)
{
    int fd = socket(at->at.sa.sa_family, type | SOCK_NONBLOCK, 0);
    ck_assert_int_ge(fd, 0);
    if (connect(fd, &at->at.sa, at->len) < 0)
        ck_assert_int_eq(errno, EINPROGRESS);
    return fd;
}

static void tcp_pair(int pair[2])
{
    struct endpoint at;
    int listening = net_bind("tcp://127.0.0.1:0", &at);
    pair[1] = net_connect(&at, SOCK_STREAM);
    struct endpoint peer = {.len = sizeof peer.at};
    do
        pair[0] = accept4(listening, &peer.at.sa, &peer.len, SOCK_NONBLOCK);
    while (pair[0] < 0 && errno == EAGAIN);
    ck_assert_int_ge(pair[0], 0);
    close(listening);
}

int net_open(enum transport transport)
{
    int pair[2];
    if (transport == TRANSPORT_TCP)
        tcp_pair(pair);
    else
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    struct endpoint peer = {.len = sizeof peer.at};
    ck_assert_int_eq(getpeername(pair[0], &peer.at.sa, &peer.len), 0);
    struct stream_origin origin = {
        .fd = pair[0], .transport = transport, .peer = &peer, .number = net_number(NULL)};
    ck_assert_int_eq(stream_open(net.reactor, &net.service, &origin), 0);
    return pair[1];
}

void net_put(int fd, const char *text)
{
    size_t len = strlen(text);
    ssize_t put = send(fd, text, len, MSG_NOSIGNAL);
    ck_assert_msg(put == (ssize_t)len, "%zd of %zu: %s", put, len, strerror(errno));
}

/* One read; 0 at the end, -errno. Turns the loop while there is nothing. */
static ssize_t read_some(int fd, char *bytes, size_t len)
{
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += PATIENCE_S;
    for (;;) {
        ssize_t got = recv(fd, bytes, len, MSG_DONTWAIT);
        if (got >= 0 || errno != EAGAIN)
            return got >= 0 ? got : -errno;
        if (is_over(&end))
            ck_abort_msg("nothing to read; what happened: %s", net.trace);
        net_turns(1);
    }
}

void net_expect(int fd, const char *text)
{
    size_t len = strlen(text), have = 0;
    char *bytes = calloc(1, len + 1);
    ck_assert_ptr_nonnull(bytes);
    while (have < len) {
        ssize_t got = read_some(fd, bytes + have, len - have);
        ck_assert_msg(got > 0, "%zd after '%s' of '%s'", got, bytes, text);
        have += (size_t)got;
    }
    ck_assert_str_eq(bytes, text);
    free(bytes);
}

size_t net_read_all(int fd, int *error)
{
    char bytes[4096];
    size_t all = 0;
    ssize_t got;
    while ((got = read_some(fd, bytes, sizeof bytes)) > 0)
        all += (size_t)got;
    *error = (int)-got;
    return all;
}

int net_send(struct conn *conn, const char *bytes, size_t len)
{
    union {
        const char *in;
        char *out;
    } text = {bytes}; /* an iovec knows no const */
    struct conn_message message = {
        .pieces = {[1] = {text.out, len}}, .count = 1, .len = len};
    return conn_send(conn, &message);
}

int net_say(struct conn *conn, const char *text)
{
    return net_send(conn, text, strlen(text));
}
