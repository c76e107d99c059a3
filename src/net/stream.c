/* net/stream.c - bytes in, frames out, and the way back. */
#include "net/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/require.h"
#include "io/io.h"
#include "net/loop.h"
#include "net/reactor.h"

/* Reads of one readiness; more only if each filled the buffer, so that one sender does not keep
 * the others waiting. */
#define READ_ROUNDS 4

/* A rest up to this length is copied before the next read into the shared buffer, which costs
 * less than a buffer for each connection; a longer one grows where it is. */
#define REST_COPY_LEN (16U << 10)
#define REST_GROW_LEN (256U << 10)

/* While no message may be delivered so much is read ahead, so that an end is noticed. */
#define READ_AHEAD_LEN (64U << 10)

/* Output is sent before its callback ends when it is this long: one piece that would be dear to
 * copy, or as much in the scratch. */
#define DIRECT_LEN (16U << 10)
#define SCRATCH_LEN (64U << 10)

struct stream {
    struct conn conn;
    int fd;
    char *path;      /* of a Unix socket that it was opened to from here */
    uint8_t watched; /* enum loop_events, as last given to the loop */
    bool fin_sent;
    struct loop_io io;
    struct buf *in, *out; /* `nothing` as long as there is nothing in it */
    const char *view;     /* input in the reactor's read buffer, during a callback */
    size_t view_len;
    size_t frame_len; /* of the message that is being delivered */
    struct codec_state decode;
    const struct codec *decoding; /* what `decode` is of */
};

/* What all that keep up have for a buffer: never written, so that any thread may look at it. */
static struct buf nothing;

/* A buffer to write into; NULL: out of memory. */
static struct buf *own_buf(struct buf **buf)
{
    struct buf *own = *buf == &nothing ? calloc(1, sizeof *own) : *buf;
    if (own)
        *buf = own;
    return own;
}

static void drop_buf(struct buf **buf)
{
    if (*buf == &nothing)
        return;
    buf_fini(*buf);
    free(*buf);
    *buf = &nothing;
}

static size_t memory_of(const struct stream *stream)
{
    return stream->in->capacity + stream->out->capacity;
}

static struct stream *stream_of(struct conn *conn)
{
    return container_of(conn, struct stream, conn);
}

static struct io *io_of(struct stream *stream)
{
    return stream->conn.reactor->io;
}

/* ---- Input ---- */

static const char *input(const struct stream *stream, size_t *len)
{
    *len = stream->view_len ? stream->view_len : buf_len(stream->in);
    return stream->view_len ? stream->view : buf_bytes(stream->in);
}

static void consume(struct stream *stream, size_t len)
{
    if (stream->view_len) {
        stream->view += len;
        stream->view_len -= len;
    } else if (len) {
        buf_consume(stream->in, len);
    }
    stream->decode = (struct codec_state){0};
}

static void drop_input(struct stream *stream)
{
    stream->view_len = 0;
    drop_buf(&stream->in);
}

/* Input that outlives the callback moves out of the reactor's buffer. */
static int keep_input(struct stream *stream)
{
    if (stream->view_len) {
        struct buf *in = own_buf(&stream->in);
        int failed = in ? buf_append(in, stream->view, stream->view_len) : -ENOMEM;
        stream->view_len = 0;
        return failed;
    }
    if (stream->in != &nothing && buf_len(stream->in) == 0)
        drop_buf(&stream->in);
    return 0;
}

/* A custom framing may set another, pause, close. */
static int decode_by_script(struct stream *stream, const struct codec *codec,
                            const char *at, size_t len, uint64_t max,
                            struct codec_frame *frame)
{
    struct conn *conn = &stream->conn;
    struct framing *framing = conn->framing;
    struct conn *outer = conn->reactor->decoding;
    framing_ref(framing);
    conn->reactor->decoding = conn;
    int found = codec_decode(codec, &stream->decode, at, len, max, frame);
    conn->reactor->decoding = outer;
    framing_unref(framing);
    bool may_deliver = conn->state == CONN_OPEN && conn_may_deliver(conn);
    return may_deliver ? found : CODEC_MORE;
}

/* The next message under that framing, where it lies: 1, 0 or -errno. */
static int find(struct stream *stream, const struct codec *codec, uint64_t max,
                const char **bytes, size_t *len)
{
    struct conn *conn = &stream->conn;
    size_t held;
    const char *at = input(stream, &held);
    if (held == 0 || !conn_may_deliver(conn))
        return 0;
    if (conn->framing_changed || stream->decoding != codec) {
        conn->framing_changed = false;
        stream->decoding = codec;
        stream->decode = (struct codec_state){0};
    }
    struct codec_frame frame;
    int found = codec->context
                    ? decode_by_script(stream, codec, at, held, max, &frame)
                    : codec_decode(codec, &stream->decode, at, held, max, &frame);
    if (found != CODEC_FRAME)
        return found == CODEC_MORE ? 0 : found;
    stream->frame_len = frame.total;
    *bytes = at + frame.head;
    *len = frame.total - frame.head - frame.tail;
    return 1;
}

static int find_message(struct stream *stream, const char **bytes, size_t *len)
{
    struct conn *conn = &stream->conn;
    const struct codec *codec = &conn->framing->codec;
    const char *name = codec->ops->name; /* a script may replace the framing */
    int found = find(stream, codec, conn->options->max_message, bytes, len);
    if (found < 0)
        conn_end(conn, found == -EMSGSIZE ? REASON_OVERSIZE : REASON_MALFORMED, name);
    return found;
}

/* Asked again behind each message: most often there is nothing. */
static bool stream_next_message(struct conn *conn, const char **bytes, size_t *len)
{
    struct stream *stream = stream_of(conn);
    bool has_input = stream->view_len || buf_len(stream->in);
    return has_input && find_message(stream, bytes, len) > 0;
}

static int stream_read(struct conn *conn, const struct conn_want *want, const char **bytes,
                       size_t *len)
{
    struct stream *stream = stream_of(conn);
    if (want->codec)
        return find(stream, want->codec, want->max, bytes, len);
    if (!want->all)
        return find_message(stream, bytes, len);
    *bytes = input(stream, len);
    if (*len > want->max)
        return -EMSGSIZE;
    stream->frame_len = *len;
    return conn->eof;
}

static void stream_message_done(struct conn *conn)
{
    struct stream *stream = stream_of(conn);
    consume(stream, stream->frame_len);
    stream->frame_len = 0;
}

static char *stream_give_input(struct conn *conn, const char *bytes, size_t len)
{
    const struct stream *stream = stream_of(conn);
    struct reactor *reactor = conn->reactor;
    bool is_alone = bytes == stream->view && len == stream->view_len;
    return is_alone && bytes == reactor->input ? reactor_give_input(reactor) : NULL;
}

static void stream_rest(struct conn *conn, const char **bytes, size_t *len)
{
    struct stream *stream = stream_of(conn);
    *bytes = input(stream, len);
    stream->frame_len = *len; /* so that message_done drops it */
}

/* ---- Output ---- */

static size_t stream_pending(const struct conn *conn)
{
    const struct stream *stream = container_of(conn, const struct stream, conn);
    const struct reactor *reactor = conn->reactor;
    size_t here = reactor->current == conn ? buf_len(&reactor->scratch) : 0;
    return buf_len(stream->out) + here;
}

/* What a send came to: bytes taken, or 0 when the socket takes none now. A peer that is gone
 * ends the connection. */
static size_t sent(struct stream *stream, ssize_t result)
{
    struct conn *conn = &stream->conn;
    if (result > 0) {
        conn->sent += (uint64_t)result;
        conn->active_ms = conn->progress_ms = reactor_now_ms(conn->reactor);
        counters_add(&conn->reactor->counters, COUNTER_SENT, (uint64_t)result);
        return (size_t)result;
    }
    if (result == -EAGAIN || result == -EINTR || result == 0)
        return 0;
    if (result == -ENOBUFS || result == -ENOMEM) {
        reactor_stall(conn->reactor, conn);
        return 0;
    }
    conn_abort(conn, REASON_RESET, strerrorname_np((int)-result));
    return 0;
}

static bool can_send(const struct stream *stream)
{
    return buf_len(stream->out) == 0 && !stream->conn.stalled &&
           stream->conn.state != CONN_CLOSED;
}

static int keep_output(struct stream *stream, const char *bytes, size_t len)
{
    struct conn *conn = &stream->conn;
    if (len == 0 || conn->state == CONN_CLOSED)
        return 0;
    if (buf_len(stream->out) == 0)
        conn->progress_ms = reactor_now_ms(conn->reactor);
    struct buf *out = own_buf(&stream->out);
    int failed = out ? buf_append(out, bytes, len) : -ENOMEM;
    reactor_hold(conn->reactor, &conn->held, memory_of(stream));
    conn_arm(conn);
    return failed;
}

/* Moves the scratch to the socket, or behind what already waits. */
static void flush_scratch(struct stream *stream)
{
    struct conn *conn = &stream->conn;
    struct buf *scratch = &conn->reactor->scratch;
    if (buf_len(scratch) == 0)
        return;
    size_t taken = 0;
    if (can_send(stream)) {
        struct io *io = io_of(stream);
        taken = sent(stream,
                     io->ops->send(io, stream->fd, buf_bytes(scratch), buf_len(scratch)));
    }
    if (conn->state == CONN_CLOSED)
        return; /* release has cleared the scratch */
    buf_consume(scratch, taken);
    int failed = keep_output(stream, buf_bytes(scratch), buf_len(scratch));
    if (failed)
        conn_abort(conn, REASON_ERROR, "out of memory");
    buf_clear(scratch);
}

static void flush_out(struct stream *stream)
{
    struct io *io = io_of(stream);
    while (buf_len(stream->out) && !stream->conn.stalled) {
        size_t len = buf_len(stream->out);
        size_t taken =
            sent(stream, io->ops->send(io, stream->fd, buf_bytes(stream->out), len));
        if (taken == 0)
            return;
        buf_consume(stream->out, taken);
        if (taken < len)
            return;
    }
    if (stream->out != &nothing && buf_len(stream->out) == 0)
        drop_buf(&stream->out);
}

/* A long message of the running hook goes from where it is, behind what the scratch holds. */
static int send_direct(struct stream *stream, const struct iovec *pieces, size_t count,
                       size_t len)
{
    struct buf *scratch = &stream->conn.reactor->scratch;
    struct iovec all[1 + CONN_PIECES_MAX + 2];
    REQUIRE(count < ARRAY_LEN(all));
    size_t before = buf_len(scratch), from = before ? 0 : 1;
    all[0] = (struct iovec){buf_bytes(scratch), before};
    memcpy(all + 1, pieces, count * sizeof *pieces);
    struct io *io = io_of(stream);
    bool is_one = from && count == 1; /* for which the kernel has a shorter way */
    size_t taken =
        sent(stream, is_one ? io->ops->send(io, stream->fd, all[1].iov_base, len)
                            : io->ops->sendv(io, stream->fd, all + from, count + 1 - from));
    if (stream->conn.state == CONN_CLOSED || taken == before + len) {
        buf_clear(scratch);
        return 0;
    }
    int failed = 0;
    for (size_t i = from; i <= count && !failed; i++) {
        size_t skip = taken < all[i].iov_len ? taken : all[i].iov_len;
        taken -= skip;
        failed = keep_output(stream, (char *)all[i].iov_base + skip, all[i].iov_len - skip);
    }
    buf_clear(scratch);
    if (failed) /* a part of it is gone: what follows would be out of frame */
        conn_abort(&stream->conn, REASON_ERROR, "out of memory");
    return failed;
}

static int append_pieces(struct buf *buf, const struct iovec *pieces, size_t count,
                         size_t len)
{
    int failed = buf_reserve(buf, len);
    if (failed || len == 0)
        return failed;
    char *tail = buf_tail(buf);
    for (size_t i = 0; i < count; i++)
        tail = mempcpy(tail, pieces[i].iov_base, pieces[i].iov_len);
    buf_commit(buf, len);
    return 0;
}

static int stream_queue(struct conn *conn, const struct iovec *pieces, size_t count,
                        size_t len)
{
    struct stream *stream = stream_of(conn);
    struct reactor *reactor = conn->reactor;
    if (reactor->current == conn && can_send(stream)) {
        if (len >= DIRECT_LEN)
            return send_direct(stream, pieces, count, len);
        int failed = append_pieces(&reactor->scratch, pieces, count, len);
        if (!failed && buf_len(&reactor->scratch) >= SCRATCH_LEN)
            flush_scratch(stream);
        return failed;
    }
    if (reactor->current == conn && buf_len(&reactor->scratch))
        flush_scratch(stream);
    if (buf_len(stream->out) == 0)
        conn->progress_ms = reactor_now_ms(reactor);
    struct buf *out = own_buf(&stream->out);
    int failed = out ? append_pieces(out, pieces, count, len) : -ENOMEM;
    reactor_hold(reactor, &conn->held, memory_of(stream));
    conn_arm(conn);
    if (reactor->current != conn)
        reactor_make_dirty(reactor, conn);
    return failed;
}

static int stream_shutdown(struct conn *conn)
{
    conn->write_shut = true;
    if (conn->reactor->current != conn)
        reactor_make_dirty(conn->reactor, conn);
    return 0;
}

static void watch(struct stream *stream);

static bool stream_relay(struct conn *conn, struct conn *to)
{
    struct stream *from = stream_of(conn), *out = stream_of(to);
    struct io *io = io_of(from);
    size_t len;
    const char *bytes = input(from, &len);
    if (len == 0)
        return true;
    size_t taken = can_send(out) ? sent(out, io->ops->send(io, out->fd, bytes, len)) : 0;
    if (to->state == CONN_CLOSED)
        return false;
    int failed = keep_output(out, bytes + taken, len - taken);
    consume(from, len);
    if (failed) /* a part of it is gone */
        conn_abort(to, REASON_ERROR, "out of memory");
    else
        watch(out);
    return !failed;
}

/* ---- Closing, watching ---- */

/* Reads what the peer still sent and forgets it: closing with unread input would make the
 * kernel reset the connection, and the peer lose the last bytes sent to it. True: its end. */
static bool discard(struct stream *stream)
{
    struct reactor *reactor = stream->conn.reactor;
    for (int round = 0; round < READ_ROUNDS; round++) {
        ssize_t got = reactor->io->ops->recv(reactor->io, stream->fd, reactor->input,
                                             REACTOR_INPUT_LEN);
        if (got == -EAGAIN || got == -EINTR)
            return false;
        if (got <= 0)
            return true;
    }
    return false;
}

static void finish_sending(struct stream *stream)
{
    if (stream->fin_sent)
        return;
    stream->fin_sent = true;
    struct io *io = io_of(stream);
    io->ops->shutdown_write(io,
                            stream->fd); /* fails only when the peer is gone: read tells */
}

/* Goes on with closing as far as it can without waiting. `owed`: output had to wait for the peer
 * until now. */
static void step(struct stream *stream, bool owed)
{
    struct conn *conn = &stream->conn;
    if (conn->state == CONN_CLOSED || stream_pending(conn) > 0)
        return;
    if (conn->state == CONN_OPEN) {
        if (conn->write_shut)
            finish_sending(stream);
        if (!conn->write_shut || !conn->eof_done)
            return;
        conn_close(conn, REASON_EOF, NULL); /* both halves are closed */
    }
    if (conn->state == CONN_LINGERING && !conn->reactor->stopping)
        return;
    /* At a shutdown nobody waits for the peer, unless it was still owed something. */
    bool gone = conn->eof || conn->state == CONN_LINGERING ||
                (conn->reason == REASON_SHUTDOWN && !owed);
    if (!conn->eof && gone)
        discard(stream);
    if (gone) {
        conn_set_state(conn, CONN_CLOSED);
        return;
    }
    finish_sending(stream);
    conn->progress_ms = reactor_now_ms(conn->reactor);
    conn_set_state(conn, CONN_LINGERING);
    conn_arm(conn);
}

static bool wants_input(struct stream *stream)
{
    const struct conn *conn = &stream->conn;
    if (conn->eof || conn->state == CONN_CLOSED)
        return false;
    if (conn->pipe)
        return !conn->held_up && !conn->paused;
    if (conn->state != CONN_OPEN || conn_may_deliver(conn))
        return true;
    return !conn_is_wanted(conn) && !buf_len(stream->out) &&
           buf_len(stream->in) < READ_AHEAD_LEN;
}

static void watch(struct stream *stream)
{
    unsigned events = wants_input(stream) ? LOOP_READ : LOOP_NONE;
    if (buf_len(stream->out) && !stream->conn.stalled)
        events |= LOOP_WRITE;
    if (events == stream->watched)
        return;
    stream->watched = (uint8_t)events;
    loop_io_watch(stream->conn.reactor->loop, &stream->io, events);
}

static void stream_flush(struct conn *conn)
{
    struct stream *stream = stream_of(conn);
    if (conn->state == CONN_CLOSED)
        return;
    bool owed = buf_len(stream->out) > 0;
    flush_out(stream);
    step(stream, owed);
    if (conn->state == CONN_CLOSED)
        return;
    reactor_hold(conn->reactor, &conn->held, memory_of(stream));
    conn_check_drain(conn);
    watch(stream);
}

/* What is left now is the beginning of a message, if messages may be delivered at all; behind the
 * peer's end the same clock looks whether it is still there. */
static void time_message(struct stream *stream)
{
    struct conn *conn = &stream->conn;
    bool waits = conn->eof_done || (buf_len(stream->in) && conn_may_deliver(conn));
    if (!waits) {
        conn->message_ms = 0;
    } else if (conn->message_ms == 0) {
        conn->message_ms = reactor_now_ms(conn->reactor);
        conn_arm(conn);
    }
}

static void stream_settle(struct conn *conn)
{
    struct stream *stream = stream_of(conn);
    flush_scratch(stream);
    if (conn->state == CONN_CLOSED)
        return;
    /* on_eof was given what was left: it is no beginning of a message. */
    if (conn->state != CONN_OPEN || conn->eof_done)
        drop_input(stream);
    else if (keep_input(stream))
        conn_abort(conn, REASON_ERROR, "out of memory");
    if (conn->state == CONN_OPEN)
        time_message(stream);
    step(stream, false);
    if (conn->state == CONN_CLOSED)
        return;
    size_t held = memory_of(stream);
    if (held != conn->held)
        reactor_hold(conn->reactor, &conn->held, held);
    conn_check_drain(conn);
    watch(stream);
}

/* ---- Reading ---- */

/* One read. Bytes, 0 at the end, or -errno; *full says that there may be more. */
static ssize_t receive(struct stream *stream, bool *full)
{
    struct reactor *reactor = stream->conn.reactor;
    struct io *io = reactor->io;
    size_t rest = buf_len(stream->in);
    *full = false;
    if (rest > REST_COPY_LEN) {
        size_t room = codec_missing(&stream->decode, rest);
        room = room < REST_COPY_LEN   ? REST_COPY_LEN
               : room > REST_GROW_LEN ? REST_GROW_LEN
                                      : room;
        if (buf_reserve(stream->in, room)) /* its own: there is something in it */
            return -ENOMEM;
        ssize_t got = io->ops->recv(io, stream->fd, buf_tail(stream->in), room);
        if (got > 0)
            buf_commit(stream->in, (size_t)got);
        *full = got == (ssize_t)room;
        return got;
    }
    if (rest)
        memcpy(reactor->input, buf_bytes(stream->in), rest);
    size_t room = REACTOR_INPUT_LEN - rest;
    ssize_t got = io->ops->recv(io, stream->fd, reactor->input + rest, room);
    if (got > 0) {
        if (rest)
            drop_buf(&stream->in);
        stream->view = reactor->input;
        stream->view_len = rest + (size_t)got;
    }
    *full = got == (ssize_t)room;
    return got;
}

/* False: nothing more to read now. */
static bool read_once(struct stream *stream)
{
    struct conn *conn = &stream->conn;
    bool full;
    ssize_t got = receive(stream, &full);
    if (got == -EAGAIN || got == -EINTR)
        return false;
    if (got < 0) {
        bool memory = got == -ENOMEM;
        conn_abort(conn, memory ? REASON_ERROR : REASON_RESET, strerrorname_np((int)-got));
    } else if (got == 0) {
        conn->eof = true;
    } else {
        conn->received += (uint64_t)got;
        conn->active_ms = reactor_now_ms(conn->reactor);
        counters_add(&conn->reactor->counters, COUNTER_RECEIVED, (uint64_t)got);
    }
    conn_pump(conn);
    return full && got > 0;
}

static void on_readable(struct stream *stream)
{
    struct conn *conn = &stream->conn;
    for (int round = 0; round < READ_ROUNDS && wants_input(stream); round++) {
        if (conn->backlog)
            return; /* faster than hooks take it; the reactor comes back to it */
        if (conn->state != CONN_OPEN) {
            if (discard(stream))
                conn->eof = true;
            break;
        }
        if (!read_once(stream))
            return;
    }
    if (conn->state == CONN_LINGERING && conn->eof)
        conn_set_state(conn, CONN_CLOSED);
    if (conn->state != CONN_OPEN)
        conn_pump(conn);
}

static void on_ready(struct loop_io *io, unsigned events)
{
    struct stream *stream = container_of(io, struct stream, io);
    if (stream->conn.state == CONN_CLOSED)
        return;
    if (events & LOOP_WRITE)
        stream_flush(&stream->conn);
    if (events & LOOP_READ)
        on_readable(stream);
}

/* ---- Life ---- */

static void stream_release(struct conn *conn, bool reset)
{
    struct stream *stream = stream_of(conn);
    struct reactor *reactor = conn->reactor;
    if (reactor->current == conn)
        buf_clear(&reactor->scratch);
    loop_io_watch(reactor->loop, &stream->io, LOOP_NONE);
    reactor->io->ops->close(reactor->io, stream->fd, reset);
    stream->fd = -1;
    drop_buf(&stream->out);
    /* A hook may be looking at the input right now; it goes with the connection. */
}

static int stream_fd(const struct conn *conn)
{
    return container_of(conn, const struct stream, conn)->fd;
}

static void stream_local(struct conn *conn, struct endpoint *out)
{
    *out = (struct endpoint){.len = sizeof out->at};
    struct io *io = conn->reactor->io;
    int fd = stream_fd(conn);
    if (fd < 0 || io->ops->local_address(io, fd, &out->at.sa, &out->len) < 0)
        out->len = 0;
}

static void stream_peer(const struct conn *conn, struct endpoint *out)
{
    const struct stream *stream = container_of(conn, const struct stream, conn);
    *out = (struct endpoint){.len = 0};
    if (stream->path) {
        out->at.un.sun_family = AF_UNIX;
        strncpy(out->at.un.sun_path, stream->path, sizeof out->at.un.sun_path - 1);
        out->len = sizeof out->at.un;
        return;
    }
    if (conn->peer.sin6_family == AF_INET)
        out->len = sizeof out->at.in;
    else if (conn->peer.sin6_family == AF_INET6)
        out->len = sizeof out->at.in6;
    memcpy(&out->at, &conn->peer, out->len);
}

static void stream_free(struct conn *conn)
{
    struct stream *stream = stream_of(conn);
    drop_buf(&stream->in);
    free(stream->path);
    free(stream);
}

static const struct conn_kind stream_kind = {
    .is_stream = true,
    .next_message = stream_next_message,
    .read = stream_read,
    .message_done = stream_message_done,
    .give_input = stream_give_input,
    .relay = stream_relay,
    .rest = stream_rest,
    .queue = stream_queue,
    .flush = stream_flush,
    .settle = stream_settle,
    .pending = stream_pending,
    .shutdown = stream_shutdown,
    .release = stream_release,
    .local = stream_local,
    .peer = stream_peer,
    .fd = stream_fd,
    .free = stream_free,
};

static int new_stream(struct reactor *reactor, struct service *service,
                      const struct stream_origin *origin, struct stream **out)
{
    /* malloc and not calloc, which in glibc passes by what the thread has just freed. */
    struct stream *stream = malloc(sizeof *stream);
    if (stream)
        *stream = (struct stream){.in = &nothing, .out = &nothing};
    int failed =
        stream ? conn_init(&stream->conn, &stream_kind, reactor, service, origin->number)
               : -ENOMEM;
    if (failed) {
        free(stream);
        reactor->io->ops->close(reactor->io, origin->fd, 0);
        return failed;
    }
    struct conn *conn = &stream->conn;
    conn->transport = (uint8_t)origin->transport;
    if (origin->transport == TRANSPORT_TCP && origin->peer->len <= sizeof conn->peer)
        memcpy(&conn->peer, &origin->peer->at, origin->peer->len);
    stream->fd = origin->fd;
    loop_io_init(&stream->io, stream->fd, on_ready);
    *out = stream;
    return 0;
}

int stream_open(struct reactor *reactor, struct service *service,
                const struct stream_origin *origin)
{
    struct stream *stream;
    int failed = new_stream(reactor, service, origin, &stream);
    if (failed)
        return failed;
    counters_add(&reactor->counters, COUNTER_CONNECTIONS, 1);
    conn_arm(&stream->conn);
    conn_pump(&stream->conn);
    return 0;
}

struct conn *stream_open_outbound(struct reactor *reactor, struct service *service,
                                  const struct stream_origin *origin)
{
    struct stream *stream;
    if (new_stream(reactor, service, origin, &stream))
        return NULL;
    if (origin->transport == TRANSPORT_UNIX)
        stream->path = strdup(origin->peer->at.un.sun_path); /* NULL: it has no name then */
    conn_set_outbound(&stream->conn);
    return &stream->conn;
}
