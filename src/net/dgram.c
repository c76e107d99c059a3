/* net/dgram.c - datagrams in batches, and a table of who sent them. */
#include "net/dgram.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/require.h"
#include "io/io.h"
#include "net/dgram_local.h"
#include "net/reactor.h"

#define BATCH 32
/* Batches of one readiness: streams must have their turn too. */
#define BATCH_ROUNDS 4
#define DATAGRAM_LEN 65536U /* longer than any UDP datagram */
#define PEER_QUEUE_MAX 16   /* datagrams kept for a peer that is paused */
#define TABLE_MIN 64

/* Amplification: what a peer that was heard once may be sent. */
#define REPLY_FACTOR 3
#define REPLY_EXTRA 1200

/* One batch each way, shared by all datagram sockets of a reactor. */
struct dgram_batch {
    struct mmsghdr in[BATCH], out[BATCH];
    struct iovec in_piece[BATCH], out_piece[BATCH];
    struct endpoint from[BATCH], to[BATCH];
    _Alignas(struct cmsghdr) char in_control[BATCH][DGRAM_CONTROL_LEN];
    _Alignas(struct cmsghdr) char out_control[BATCH][DGRAM_CONTROL_LEN];
    size_t out_at[BATCH]; /* where each lies in out_bytes */
    unsigned out_count;
    uint64_t not_sent; /* and not told of yet */
    int error;
    bool receiving;           /* the end of on_readable flushes */
    struct dgram *out_socket; /* whose the queued ones are */
    struct buf out_bytes;
    char *in_bytes; /* BATCH * DATAGRAM_LEN; pages that are not used cost nothing */
};

struct dgram {
    struct reactor *reactor;
    struct service *service;
    struct loop_io io;
    int fd;
    enum transport transport;
    bool closed;   /* to new peers */
    bool wildcard; /* bound to all local addresses: replies must name theirs */
    const struct dgram_ops *ops;
    uint64_t seed;
    struct list *table; /* buckets of struct peer */
    size_t bucket_count, peer_count, single_count;
    struct peer *only; /* whom it is connected to, from here; such a socket has no table */
    int failed;        /* its errno, when nobody is there */
};

/* A datagram of a paused peer. */
struct kept {
    struct list node;
    size_t len;
    char bytes[];
};

struct peer {
    struct conn conn;
    struct dgram *dgram;
    struct list bucket_node, age_node;
    uint64_t hash;
    struct local_info local;
    bool single;     /* lives for one datagram (sessions = false) */
    bool proven;     /* a second datagram came: its address is real */
    const char *now; /* the datagram to deliver, in the batch */
    size_t now_len;
    bool has_now;
    struct list kept;
    unsigned kept_count;
    struct endpoint remote; /* last: Unix paths make it long */
};

static struct peer *peer_of(struct conn *conn)
{
    return container_of(conn, struct peer, conn);
}

/* ---- The table ---- */

static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * 0xff51afd7ed558ccdU;
    return hash ^ (hash >> 32);
}

static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t len)
{
    const char *at = bytes;
    for (; len >= sizeof(uint64_t); at += sizeof(uint64_t), len -= sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        hash = mix(hash, word);
    }
    uint64_t last = len;
    memcpy(&last, at, len);
    return mix(hash, last);
}

static uint64_t hash_of(const struct dgram *dgram, const struct endpoint *remote,
                        const struct local_info *local)
{
    uint64_t hash = hash_bytes(dgram->seed, &remote->at, remote->len);
    return local->family ? hash_bytes(hash, &local->as, sizeof local->as) : hash;
}

static bool is_peer(const struct peer *peer, uint64_t hash, const struct endpoint *remote,
                    const struct local_info *local)
{
    return peer->hash == hash && peer->remote.len == remote->len &&
           memcmp(&peer->remote.at, &remote->at, remote->len) == 0 &&
           peer->local.family == local->family &&
           /* NOLINTNEXTLINE(*-memory-comparison,cert-exp42-c,cert-flp37-c): zeroed before use */
           memcmp(&peer->local.as, &local->as, sizeof local->as) == 0;
}

static struct list *bucket(struct dgram *dgram, uint64_t hash)
{
    return &dgram->table[hash & (dgram->bucket_count - 1)];
}

static struct peer *find_peer(struct dgram *dgram, uint64_t hash,
                              const struct endpoint *remote, const struct local_info *local)
{
    struct list *head = bucket(dgram, hash);
    LIST_FOREACH (head, node) {
        struct peer *peer = container_of(node, struct peer, bucket_node);
        if (is_peer(peer, hash, remote, local))
            return peer;
    }
    return NULL;
}

static struct list *new_table(size_t count)
{
    struct list *table = malloc(count * sizeof *table);
    for (size_t i = 0; table && i < count; i++)
        list_init(&table[i]);
    return table;
}

/* Without memory the table stays as it is: slower, not wrong. */
static void grow_table(struct dgram *dgram)
{
    size_t old_count = dgram->bucket_count;
    struct list *old = dgram->table, *table = new_table(old_count * 2);
    if (!table)
        return;
    dgram->table = table;
    dgram->bucket_count = old_count * 2;
    for (size_t i = 0; i < old_count; i++)
        LIST_FOREACH (&old[i], node) {
            list_remove(node);
            struct peer *peer = container_of(node, struct peer, bucket_node);
            list_append(bucket(dgram, peer->hash), node);
        }
    free(old);
}

/* Room for one more: the least recently heard goes, those heard once before all others, whichever
 * socket of the worker they speak to. */
static void evict(struct reactor *reactor)
{
    struct list *oldest = list_first(&reactor->peers_once);
    if (!oldest)
        oldest = list_first(&reactor->peers_heard);
    REQUIRE(oldest);
    struct conn *conn = &container_of(oldest, struct peer, age_node)->conn;
    conn_end(conn, REASON_LIMIT, "max_peers");
    conn_pump(conn);
    if (conn->state == CONN_CLOSED)
        return;
    conn_abort(conn, REASON_LIMIT, NULL); /* its last hook wanted to wait */
    conn_pump(conn);
}

/* ---- Sending ---- */

static struct dgram_batch *batch_of(struct reactor *reactor)
{
    return reactor->datagrams;
}

/* An ICMP message: none of a socket's business that many send to, but all there is to tell about
 * the one that it is connected to. That ends in its own turn. */
static void note_failure(struct dgram *dgram, int failed)
{
    bool is_gone = failed == ECONNREFUSED || failed == ECONNRESET || failed == ENOTCONN ||
                   failed == EHOSTUNREACH || failed == ENETUNREACH;
    if (!dgram->only || !is_gone || dgram->only->conn.state == CONN_CLOSED)
        return;
    dgram->failed = failed;
    reactor_make_ready(dgram->reactor, &dgram->only->conn);
}

/* Sends what is queued; what the system does not take is dropped, as datagrams are. Tells nobody
 * yet: a notice may run on_log, which may queue more. */
static void flush_batch(struct reactor *reactor)
{
    struct dgram_batch *batch = batch_of(reactor);
    for (unsigned i = 0; i < batch->out_count; i++)
        batch->out_piece[i].iov_base = buf_bytes(&batch->out_bytes) + batch->out_at[i];
    for (unsigned done = 0; done < batch->out_count;) {
        int taken = reactor->io->ops->send_many(reactor->io, batch->out_socket->fd,
                                                batch->out + done, batch->out_count - done);
        if (taken == -EINTR)
            continue;
        if (taken <= 0) {
            note_failure(batch->out_socket, -taken);
            batch->not_sent++;
            batch->error = -taken;
            taken = 1;
        }
        done += (unsigned)taken;
    }
    batch->out_count = 0;
    buf_clear(&batch->out_bytes);
}

static void flush_and_tell(struct reactor *reactor)
{
    struct dgram_batch *batch = batch_of(reactor);
    if (batch->out_count)
        flush_batch(reactor);
    uint64_t not_sent = batch->not_sent;
    batch->not_sent = 0;
    if (not_sent)
        reactor_count(reactor, COUNTER_DATAGRAMS_NOT_SENT, not_sent, NULL,
                      strerrorname_np(batch->error));
}

static bool within_reply_limit(const struct peer *peer, size_t len)
{
    const struct conn *conn = &peer->conn;
    return peer->single || peer->proven || !conn->service->reply_limit ||
           conn->sent + len <= conn->received * REPLY_FACTOR + REPLY_EXTRA;
}

static int peer_queue(struct conn *conn, const struct iovec *pieces, size_t count,
                      size_t len)
{
    struct peer *peer = peer_of(conn);
    struct reactor *reactor = conn->reactor;
    struct dgram_batch *batch = batch_of(reactor);
    if (!within_reply_limit(peer, len)) {
        reactor_count(reactor, COUNTER_DATAGRAMS_REPLY_LIMIT, 1, conn, NULL);
        return 0;
    }
    if (batch->out_count == BATCH || (batch->out_count && batch->out_socket != peer->dgram))
        flush_batch(reactor);
    unsigned i = batch->out_count;
    batch->out_at[i] = buf_len(&batch->out_bytes);
    if (buf_reserve(&batch->out_bytes, len))
        return -ENOMEM;
    for (size_t piece = 0; piece < count; piece++)
        if (buf_append(&batch->out_bytes, pieces[piece].iov_base, pieces[piece].iov_len))
            return -ENOMEM; /* never: there is room */
    memcpy(&batch->to[i].at, &peer->remote.at, peer->remote.len);
    batch->out_piece[i].iov_len = len;
    batch->out[i].msg_hdr = (struct msghdr){.msg_name = &batch->to[i].at,
                                            .msg_namelen = peer->remote.len,
                                            .msg_iov = &batch->out_piece[i],
                                            .msg_iovlen = 1};
    dgram_write_local(&batch->out[i].msg_hdr, batch->out_control[i], &peer->local);
    batch->out_socket = peer->dgram;
    batch->out_count++;
    conn->sent += len;
    counters_add(&reactor->counters, COUNTER_SENT, len);
    if (!batch->receiving)
        reactor_make_dirty(reactor, conn);
    return 0;
}

static void peer_flush(struct conn *conn)
{
    flush_and_tell(conn->reactor);
    if (conn->state == CONN_FLUSHING)
        conn_set_state(conn, CONN_CLOSED);
}

/* ---- Receiving ---- */

static bool peer_next_message(struct conn *conn, const char **bytes, size_t *len)
{
    struct peer *peer = peer_of(conn);
    if (!conn_is_wanted(conn))
        return false;
    struct list *first = list_first(&peer->kept);
    if (first) {
        struct kept *kept = container_of(first, struct kept, node);
        *bytes = kept->bytes;
        *len = kept->len;
        return true;
    }
    if (!peer->has_now)
        return false;
    *bytes = peer->now;
    *len = peer->now_len;
    return true;
}

static void peer_message_done(struct conn *conn)
{
    struct peer *peer = peer_of(conn);
    struct list *first = list_first(&peer->kept);
    if (!first) {
        peer->has_now = false;
        return;
    }
    struct kept *kept = container_of(first, struct kept, node);
    list_remove(first);
    peer->kept_count--;
    if (conn->state != CONN_CLOSED)
        reactor_hold(conn->reactor, &conn->held, conn->held - sizeof *kept - kept->len);
    free(kept);
}

/* A datagram that could not be delivered now waits, up to a point. */
static void keep_now(struct peer *peer)
{
    peer->has_now = false;
    struct kept *kept =
        peer->kept_count < PEER_QUEUE_MAX ? malloc(sizeof *kept + peer->now_len) : NULL;
    if (!kept) {
        reactor_count(peer->conn.reactor, COUNTER_DATAGRAMS_QUEUE_FULL, 1, &peer->conn,
                      NULL);
        return;
    }
    kept->len = peer->now_len;
    memcpy(kept->bytes, peer->now, peer->now_len);
    list_append(&peer->kept, &kept->node);
    peer->kept_count++;
    struct conn *conn = &peer->conn;
    reactor_hold(conn->reactor, &conn->held, conn->held + sizeof *kept + kept->len);
}

static void peer_settle(struct conn *conn)
{
    struct peer *peer = peer_of(conn);
    if (peer->single && !conn->waiter)
        conn_close(conn, REASON_CLOSED, NULL);
    if (peer->has_now && conn->state == CONN_OPEN)
        keep_now(peer);
    if (peer->dgram->failed)
        conn_abort(conn, REASON_RESET, strerrorname_np(peer->dgram->failed));
    else if (conn->state == CONN_FLUSHING)
        conn_set_state(conn, CONN_CLOSED);
    else
        conn_arm(conn);
}

static void peer_rest(struct conn *conn, const char **bytes, size_t *len)
{
    (void)conn;
    *bytes = "";
    *len = 0;
}

static size_t peer_pending(const struct conn *conn)
{
    (void)conn;
    return 0;
}

static int peer_shutdown(struct conn *conn)
{
    (void)conn;
    return -EOPNOTSUPP;
}

static void peer_release(struct conn *conn, bool reset)
{
    (void)reset;
    struct peer *peer = peer_of(conn);
    struct dgram_batch *batch = batch_of(conn->reactor);
    /* Its last words may be in the batch, and it is dirty no more. */
    if (batch->out_count && (!batch->receiving || peer->dgram->only))
        flush_batch(conn->reactor);
    if (peer->dgram->only) {
        struct io *io = conn->reactor->io;
        dgram_stop(peer->dgram);
        io->ops->close(io, peer->dgram->fd, 0);
        peer->dgram->fd = -1;
        return;
    }
    list_remove(&peer->age_node);
    conn->reactor->single_count -= peer->single;
    peer->dgram->single_count -= peer->single;
    if (list_is_empty(&peer->bucket_node))
        return;
    list_remove(&peer->bucket_node);
    peer->dgram->peer_count--;
    conn->reactor->peer_count--;
}

static void peer_local(struct conn *conn, struct endpoint *out)
{
    struct peer *peer = peer_of(conn);
    *out = (struct endpoint){.len = sizeof out->at};
    struct io *io = conn->reactor->io;
    if (peer->dgram->fd < 0 ||
        io->ops->local_address(io, peer->dgram->fd, &out->at.sa, &out->len) < 0)
        out->len = 0;
    else if (peer->local.family == AF_INET)
        out->at.in.sin_addr = peer->local.as.v4.ipi_spec_dst;
    else if (peer->local.family == AF_INET6)
        out->at.in6.sin6_addr = peer->local.as.v6.ipi6_addr;
}

static void peer_remote(const struct conn *conn, struct endpoint *out)
{
    *out = container_of(conn, const struct peer, conn)->remote;
}

static int peer_fd(const struct conn *conn)
{
    (void)conn;
    return -1;
}

static void peer_free(struct conn *conn)
{
    struct peer *peer = peer_of(conn);
    LIST_FOREACH (&peer->kept, node)
        free(container_of(node, struct kept, node));
    if (peer->dgram->only)
        free(peer->dgram);
    free(peer);
}

static const struct conn_kind peer_kind = {
    .is_stream = false,
    .next_message = peer_next_message,
    .message_done = peer_message_done,
    .rest = peer_rest,
    .queue = peer_queue,
    .flush = peer_flush,
    .settle = peer_settle,
    .pending = peer_pending,
    .shutdown = peer_shutdown,
    .release = peer_release,
    .local = peer_local,
    .peer = peer_remote,
    .fd = peer_fd,
    .free = peer_free,
};

static struct peer *new_peer(struct dgram *dgram, struct service *service, uint64_t number,
                             const struct endpoint *remote, const struct local_info *local)
{
    struct peer *peer = calloc(1, sizeof *peer);
    if (!peer)
        return NULL;
    list_init(&peer->bucket_node);
    list_init(&peer->age_node);
    list_init(&peer->kept);
    peer->dgram = dgram;
    peer->remote = *remote;
    peer->local = *local;
    if (conn_init(&peer->conn, &peer_kind, dgram->reactor, service, number)) {
        free(peer);
        return NULL;
    }
    peer->conn.transport = (uint8_t)dgram->transport;
    return peer;
}

static struct peer *new_sender(struct dgram *dgram, const struct endpoint *remote,
                               const struct local_info *local)
{
    struct reactor *reactor = dgram->reactor;
    return new_peer(dgram, dgram->ops->choose(reactor, dgram->service, remote),
                    dgram->ops->number(reactor), remote, local);
}

static struct peer *open_peer(struct dgram *dgram, uint64_t hash,
                              const struct endpoint *remote, const struct local_info *local)
{
    struct reactor *reactor = dgram->reactor;
    if (reactor->peer_count >= reactor->max_peers)
        evict(reactor);
    struct peer *peer = new_sender(dgram, remote, local);
    if (!peer)
        return NULL;
    if (dgram->peer_count >= dgram->bucket_count)
        grow_table(dgram);
    peer->hash = hash;
    list_append(bucket(dgram, hash), &peer->bucket_node);
    list_append(&reactor->peers_once, &peer->age_node);
    dgram->peer_count++;
    reactor->peer_count++;
    counters_add(&reactor->counters, COUNTER_PEERS, 1);
    return peer;
}

static void hear_again(struct peer *peer)
{
    peer->proven = true;
    list_remove(&peer->age_node);
    list_append(&peer->conn.reactor->peers_heard, &peer->age_node);
}

static struct peer *open_single(struct dgram *dgram, const struct endpoint *remote,
                                const struct local_info *local)
{
    struct peer *peer = new_sender(dgram, remote, local);
    if (peer) {
        peer->single = true;
        dgram->reactor->single_count++;
        dgram->single_count++;
        peer->conn.connect_due = false;
    }
    return peer;
}

static struct peer *known_sender(struct dgram *dgram, uint64_t hash,
                                 const struct endpoint *remote,
                                 const struct local_info *local)
{
    struct peer *peer = find_peer(dgram, hash, remote, local);
    if (!peer || peer->conn.state == CONN_OPEN)
        return peer;
    peer->conn.kind->flush(&peer->conn); /* closed by a hook earlier in this batch */
    return NULL;
}

static bool fits(struct reactor *reactor, const struct conn_options *options,
                 const struct peer *peer, size_t len)
{
    if (len <= options->max_message)
        return true;
    reactor_count(reactor, COUNTER_DATAGRAMS_OVERSIZE, 1, peer ? &peer->conn : NULL, NULL);
    return false;
}

/* From whom a socket is connected to. */
static struct peer *only_sender(struct dgram *dgram, size_t len)
{
    struct peer *peer = dgram->only;
    bool takes = peer->conn.state == CONN_OPEN &&
                 fits(dgram->reactor, peer->conn.options, peer, len);
    return takes ? peer : NULL;
}

/* The peer that a datagram of that length is for, NULL when it is dropped, with the reason told. */
static struct peer *sender(struct dgram *dgram, const struct endpoint *remote,
                           const struct local_info *local, size_t len)
{
    struct reactor *reactor = dgram->reactor;
    bool sessions = dgram->service->sessions;
    uint64_t hash = sessions ? hash_of(dgram, remote, local) : 0;
    struct peer *peer = sessions ? known_sender(dgram, hash, remote, local) : NULL;
    if (!peer && dgram->closed)
        return NULL;
    const struct conn_options *options =
        peer ? peer->conn.options : &dgram->service->options;
    if (!sessions && reactor->single_count >= dgram->service->max_waiting) {
        reactor_count(reactor, COUNTER_DATAGRAMS_MAX_WAITING, 1, NULL, NULL);
        return NULL;
    }
    if (!fits(reactor, options, peer, len))
        return NULL;
    if (peer)
        hear_again(peer);
    else
        peer = sessions ? open_peer(dgram, hash, remote, local)
                        : open_single(dgram, remote, local);
    if (!peer)
        reactor_count(reactor, COUNTER_REFUSED_MEMORY, 1, NULL, NULL);
    return peer;
}

static void take_datagram(struct dgram *dgram, unsigned i, size_t len)
{
    struct reactor *reactor = dgram->reactor;
    struct dgram_batch *batch = batch_of(reactor);
    struct msghdr *header = &batch->in[i].msg_hdr;
    counters_add(&reactor->counters, COUNTER_RECEIVED, len);
    if (header->msg_flags & MSG_TRUNC) {
        reactor_count(reactor, COUNTER_DATAGRAMS_TRUNCATED, 1, NULL, NULL);
        return;
    }
    struct local_info local = {0};
    if (dgram->wildcard)
        dgram_read_local(header, &local);
    batch->from[i].len = header->msg_namelen;
    struct peer *peer =
        dgram->only ? only_sender(dgram, len) : sender(dgram, &batch->from[i], &local, len);
    if (!peer)
        return;
    struct conn *conn = &peer->conn;
    peer->now = batch->in_piece[i].iov_base;
    peer->now_len = len;
    peer->has_now = true;
    conn->received += len;
    conn->active_ms = reactor_now_ms(reactor);
    conn_pump(conn);
}

static struct dgram_batch *new_batch(void)
{
    struct dgram_batch *batch = calloc(1, sizeof *batch);
    if (batch)
        batch->in_bytes = malloc((size_t)BATCH * DATAGRAM_LEN);
    if (!batch || !batch->in_bytes) {
        free(batch);
        return NULL;
    }
    for (unsigned i = 0; i < BATCH; i++) {
        batch->in_piece[i] =
            (struct iovec){batch->in_bytes + (size_t)i * DATAGRAM_LEN, DATAGRAM_LEN};
        batch->in[i].msg_hdr = (struct msghdr){.msg_name = &batch->from[i].at,
                                               .msg_iov = &batch->in_piece[i],
                                               .msg_iovlen = 1};
    }
    return batch;
}

void dgram_batch_free(struct dgram_batch *batch)
{
    if (!batch)
        return;
    buf_fini(&batch->out_bytes);
    free(batch->in_bytes);
    free(batch);
}

static int receive_batch(struct dgram *dgram)
{
    struct reactor *reactor = dgram->reactor;
    struct dgram_batch *batch = batch_of(reactor);
    for (unsigned i = 0; i < BATCH; i++) { /* the kernel writes the lengths over */
        struct msghdr *header = &batch->in[i].msg_hdr;
        header->msg_namelen = sizeof batch->from[i].at;
        header->msg_control = dgram->wildcard ? batch->in_control[i] : NULL;
        header->msg_controllen = dgram->wildcard ? DGRAM_CONTROL_LEN : 0;
    }
    return reactor->io->ops->recv_many(reactor->io, dgram->fd, batch->in, BATCH);
}

static bool is_closed(const struct dgram *dgram)
{
    return dgram->only && dgram->only->conn.state == CONN_CLOSED;
}

static void on_readable(struct loop_io *io, unsigned events)
{
    (void)events;
    struct dgram *dgram = container_of(io, struct dgram, io);
    struct dgram_batch *batch = batch_of(dgram->reactor);
    for (int round = 0; round < BATCH_ROUNDS && !is_closed(dgram); round++) {
        int count = receive_batch(dgram);
        if (count < 0)
            note_failure(dgram, -count);
        batch->receiving = true;
        for (int i = 0; i < count; i++)
            take_datagram(dgram, (unsigned)i, batch->in[i].msg_len);
        batch->receiving = false;
        flush_and_tell(dgram->reactor);
        if (count < BATCH)
            return;
    }
}

/* ---- Life ---- */

static struct dgram *new_dgram(struct reactor *reactor, int fd, enum transport transport)
{
    if (!reactor->datagrams && !(reactor->datagrams = new_batch()))
        return NULL;
    struct dgram *dgram = calloc(1, sizeof *dgram);
    if (!dgram)
        return NULL;
    dgram->reactor = reactor;
    dgram->fd = fd;
    dgram->transport = transport;
    loop_io_init(&dgram->io, fd, on_readable);
    return dgram;
}

struct dgram *dgram_open(struct reactor *reactor, struct service *service, int fd,
                         enum transport transport, const struct dgram_ops *ops)
{
    struct dgram *dgram = new_dgram(reactor, fd, transport);
    if (dgram)
        dgram->table = new_table(TABLE_MIN);
    if (!dgram || !dgram->table) {
        free(dgram);
        return NULL;
    }
    dgram->service = service;
    dgram->ops = ops;
    dgram->bucket_count = TABLE_MIN;
    dgram->seed = reactor->io->ops->random(reactor->io);
    dgram->wildcard = dgram_ask_local(reactor->io, fd);
    loop_io_watch(reactor->loop, &dgram->io, LOOP_READ);
    return dgram;
}

struct conn *dgram_open_outbound(struct reactor *reactor, struct service *service, int fd,
                                 enum transport transport, const struct endpoint *remote,
                                 uint64_t number)
{
    static const struct local_info any;
    struct dgram *dgram = new_dgram(reactor, fd, transport);
    struct peer *peer = dgram ? new_peer(dgram, service, number, remote, &any) : NULL;
    if (!peer) {
        free(dgram);
        reactor->io->ops->close(reactor->io, fd, 0);
        return NULL;
    }
    dgram->only = peer;
    peer->proven = true; /* its address is ours to say */
    loop_io_watch(reactor->loop, &dgram->io, LOOP_READ);
    conn_set_outbound(&peer->conn);
    return &peer->conn;
}

void dgram_set_service(struct dgram *dgram, struct service *service)
{
    dgram->service = service;
}

void dgram_close_door(struct dgram *dgram)
{
    dgram->closed = true;
}

bool dgram_has_peers(const struct dgram *dgram)
{
    return dgram->peer_count > 0 || dgram->single_count > 0;
}

void dgram_stop(struct dgram *dgram)
{
    loop_io_watch(dgram->reactor->loop, &dgram->io, LOOP_NONE);
}

void dgram_close(struct dgram *dgram)
{
    if (!dgram)
        return;
    REQUIRE(dgram->peer_count == 0);
    dgram_stop(dgram);
    free(dgram->table);
    free(dgram);
}
