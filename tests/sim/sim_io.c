/* tests/sim/sim_io.c - the calls of struct io_ops, each with its faults. */
#include "sim_io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/loop.h"
#include "net/loop_sim.h"
#include "sim_trace.h"

#define NS_PER_CALL 700U /* what a look at the clock takes: time never stands still */
#define PORT_FIRST 20000
#define MUTATE_AGAIN 20 /* transfers, at most, between two that go wrong */

static struct sim_io *sim_of(struct io *io)
{
    return (struct sim_io *)(void *)io;
}

static bool chance(struct sim_io *sim, unsigned per_mille)
{
    return dice_chance(sim->dice, per_mille);
}

/* ---- Descriptors ---- */

static struct sim_socket *socket_of(struct sim_io *sim, int fd, enum sim_kind kind,
                                    const char *call)
{
    SIM_CHECK(fd >= SIM_FD_FIRST && fd < SIM_FD_FIRST + SIM_FD_COUNT,
              "%s of descriptor %d, which never was one", call, fd);
    struct sim_socket *socket = &sim->sockets[fd - SIM_FD_FIRST];
    SIM_CHECK(socket->kind == kind, "%s of descriptor %d, which is of kind %d, not %d",
              call, fd, (int)socket->kind, (int)kind);
    sim->calls++;
    return socket;
}

/* The lowest free number, as the kernel gives them: old numbers come back at once. */
static int open_fd(struct sim_io *sim, enum sim_kind kind)
{
    for (int i = 0; i < SIM_FD_COUNT; i++)
        if (sim->sockets[i].kind == SIM_CLOSED) {
            sim->sockets[i] = (struct sim_socket){.kind = kind};
            list_init(&sim->sockets[i].packets);
            sim->open_count++;
            return SIM_FD_FIRST + i;
        }
    return -EMFILE;
}

static void free_packets(struct list *packets)
{
    LIST_FOREACH (packets, node) {
        list_remove(node);
        free(container_of(node, struct sim_packet, node));
    }
}

void sim_close(struct sim_io *sim, int fd)
{
    struct sim_socket *socket = &sim->sockets[fd - SIM_FD_FIRST];
    free_packets(&socket->packets);
    socket->kind = SIM_CLOSED;
    sim->open_count--;
}

static void sim_io_close(struct io *io, int fd, int reset)
{
    struct sim_io *sim = sim_of(io);
    SIM_CHECK(fd >= SIM_FD_FIRST && fd < SIM_FD_FIRST + SIM_FD_COUNT,
              "close of descriptor %d", fd);
    struct sim_socket *socket = &sim->sockets[fd - SIM_FD_FIRST];
    SIM_CHECK(socket->kind == SIM_STREAM || socket->kind == SIM_SPARE,
              "close of descriptor %d of kind %d", fd, (int)socket->kind);
    SIM_CHECK(!sim->loop || loop_sim_watched(sim->loop, fd) == LOOP_NONE,
              "descriptor %d is closed while it is watched", fd);
    sim->calls++;
    trace("  close %d%s", fd, reset ? " with a reset" : "");
    if (socket->kind == SIM_STREAM) {
        struct sim_wire *wire = socket->wire;
        wire->server_closed = true;
        wire->server_reset = reset || wire->up_read < wire->up_arrived;
        wire->fd = -1;
    }
    sim_close(sim, fd);
}

static int sim_io_reserve(struct io *io)
{
    struct sim_io *sim = sim_of(io);
    sim->calls++;
    return sim->open_count >= sim->fd_limit ? -EMFILE : open_fd(sim, SIM_SPARE);
}

static int sim_io_refuse(struct io *io, int fd, int *spare)
{
    sim_io_close(io, *spare, 0);
    int client = io->ops->accept(io, fd, NULL, NULL);
    if (client >= 0)
        sim_io_close(io, client, 0);
    *spare = io->ops->reserve(io);
    return client < 0 ? client : 0;
}

/* ---- Streams ---- */

static size_t lesser(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* True for the transfer at which the network is to go wrong, and then for some of the next: one
 * of them alone may hit a connection that ends before anybody could see it. */
static bool mutates(struct sim_io *sim, enum sim_mutation mutation)
{
    if (sim->mutation != mutation || sim->mutate_after-- > 0)
        return false;
    sim->mutate_after = (unsigned)dice_below(sim->dice, MUTATE_AGAIN);
    sim->mutated = true;
    trace("  (the network goes wrong)");
    return true;
}

/* A call finds the connection reset: the first is told, the others find it dead. */
static ssize_t take_reset(struct sim_wire *wire, int error, ssize_t later)
{
    if (wire->reset_told)
        return later;
    wire->reset_told = true;
    return -error;
}

static void mutate_up(struct sim_io *sim, char *bytes, size_t *len, size_t room)
{
    if (mutates(sim, SIM_DROP_UP) && *len > 1) {
        memmove(bytes, bytes + 1, *len - 1);
        --*len;
    }
    if (*len < room && mutates(sim, SIM_DOUBLE_UP)) {
        memmove(bytes + 1, bytes, *len);
        ++*len;
    }
    if (mutates(sim, SIM_FLIP_UP))
        bytes[*len - 1] = (char)(bytes[*len - 1] ^ 1);
}

static ssize_t sim_io_recv(struct io *io, int fd, void *bytes, size_t len)
{
    struct sim_io *sim = sim_of(io);
    struct sim_wire *wire = socket_of(sim, fd, SIM_STREAM, "recv")->wire;
    static const int errors[] = {ECONNRESET, ETIMEDOUT, EHOSTUNREACH};
    if (chance(sim, sim->faults.interrupted))
        return -EINTR;
    if (chance(sim, sim->faults.again))
        return -EAGAIN;
    size_t left = wire->up_arrived - wire->up_read;
    if (wire->reset && (left == 0 || chance(sim, 500)))
        return take_reset(wire, errors[dice_below(sim->dice, 3)], 0);
    if (left == 0)
        return wire->up_fin && wire->up_arrived == buf_len(&wire->up) ? 0 : -EAGAIN;
    size_t count = lesser(left, len);
    if (chance(sim, sim->faults.short_read))
        count = 1 + dice_below(sim->dice, count);
    memcpy(bytes, buf_bytes(&wire->up) + wire->up_read, count);
    trace("  recv %d: %s", fd, trace_bytes(bytes, count));
    wire->up_read += count;
    sim->moved += count;
    mutate_up(sim, bytes, &count, len);
    return (ssize_t)count;
}

static void add_down(struct sim_wire *wire, const char *bytes, size_t len)
{
    SIM_CHECK(buf_append(&wire->down, bytes, len) == 0, "out of memory");
}

static void put_down(struct sim_io *sim, struct sim_wire *wire, const char *bytes,
                     size_t len)
{
    if (mutates(sim, SIM_DROP_DOWN)) {
        add_down(wire, bytes + 1, len - 1);
        return;
    }
    if (mutates(sim, SIM_DOUBLE_DOWN))
        add_down(wire, bytes, 1);
    bool flips = mutates(sim, SIM_FLIP_DOWN);
    add_down(wire, bytes, len);
    if (flips)
        buf_tail(&wire->down)[-1] = (char)(buf_tail(&wire->down)[-1] ^ 1);
}

/* How much the server's kernel takes now, or why it does not. */
static ssize_t room_down(struct sim_io *sim, struct sim_wire *wire, int fd, size_t len)
{
    SIM_CHECK(!wire->down_fin, "send on %d after its sending half was closed", fd);
    if (chance(sim, sim->faults.interrupted))
        return -EINTR;
    if (chance(sim, sim->faults.no_buffers))
        return chance(sim, 500) ? -ENOBUFS : -ENOMEM;
    if (wire->reset)
        return take_reset(wire, chance(sim, 500) ? ECONNRESET : EPIPE, -EPIPE);
    if (chance(sim, sim->faults.again))
        return -EAGAIN;
    size_t unread = buf_len(&wire->down) - wire->down_read;
    size_t room = wire->gone ? len : wire->window - lesser(unread, wire->window);
    size_t count = lesser(room, len);
    if (count && chance(sim, sim->faults.short_write))
        count = 1 + dice_below(sim->dice, count);
    if (count || len == 0)
        return (ssize_t)count;
    (void)mutates(sim, SIM_NEVER_WRITABLE);
    return -EAGAIN;
}

static ssize_t sim_io_sendv(struct io *io, int fd, const struct iovec *pieces, size_t count)
{
    struct sim_io *sim = sim_of(io);
    struct sim_wire *wire = socket_of(sim, fd, SIM_STREAM, "send")->wire;
    size_t len = 0;
    for (size_t i = 0; i < count; i++)
        len += pieces[i].iov_len;
    ssize_t room = room_down(sim, wire, fd, len);
    trace("  send %d: %zd of %zu", fd, room, len);
    if (room <= 0)
        return room;
    size_t left = (size_t)room;
    for (size_t i = 0; i < count && left > 0; i++) {
        size_t part = lesser(left, pieces[i].iov_len);
        if (part > 0)
            put_down(sim, wire, pieces[i].iov_base, part);
        left -= part;
    }
    sim->moved += (size_t)room;
    if (wire->gone)
        wire->reset = true; /* nobody was there: a reset came back */
    return room;
}

static ssize_t sim_io_send(struct io *io, int fd, const void *bytes, size_t len)
{
    struct iovec piece = {(void *)bytes, len};
    return sim_io_sendv(io, fd, &piece, 1);
}

static int sim_io_shutdown_write(struct io *io, int fd)
{
    struct sim_io *sim = sim_of(io);
    struct sim_wire *wire = socket_of(sim, fd, SIM_STREAM, "shutdown")->wire;
    SIM_CHECK(!wire->down_fin, "descriptor %d is shut twice", fd);
    trace("  shut %d", fd);
    wire->down_fin = true;
    return wire->reset ? -ENOTCONN : 0;
}

/* ---- Datagrams ---- */

static struct sim_packet *new_packet(const struct endpoint *remote, const char *bytes,
                                     size_t len)
{
    struct sim_packet *packet = calloc(1, sizeof *packet + len);
    SIM_CHECK(packet, "out of memory");
    packet->remote = *remote;
    packet->len = len;
    if (len)
        memcpy(packet->bytes, bytes, len);
    return packet;
}

void sim_packet_send(struct sim_io *sim, int fd, const struct sim_datagram *datagram)
{
    struct sim_socket *socket = socket_of(sim, fd, SIM_DGRAM, "a datagram");
    struct sim_packet *packet =
        new_packet(datagram->remote, datagram->bytes, datagram->len);
    packet->local = datagram->local;
    packet->cut = datagram->cut;
    list_append(&socket->packets, &packet->node);
    socket->packet_count++;
}

static void name_local(struct msghdr *header, struct in_addr local)
{
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(header);
    struct in_pktinfo info = {.ipi_addr = local, .ipi_spec_dst = local, .ipi_ifindex = 2};
    SIM_CHECK(cmsg, "no room for the local address");
    cmsg->cmsg_level = IPPROTO_IP;
    cmsg->cmsg_type = IP_PKTINFO;
    cmsg->cmsg_len = CMSG_LEN(sizeof info);
    memcpy(CMSG_DATA(cmsg), &info, sizeof info);
    header->msg_controllen = CMSG_SPACE(sizeof info);
}

static void receive_packet(struct sim_io *sim, struct sim_socket *socket,
                           struct mmsghdr *into)
{
    struct list *first = list_first(&socket->packets);
    struct sim_packet *packet = container_of(first, struct sim_packet, node);
    struct msghdr *header = &into->msg_hdr;
    size_t len = lesser(packet->len, header->msg_iov[0].iov_len);
    memcpy(header->msg_iov[0].iov_base, packet->bytes, len);
    if (len && mutates(sim, SIM_FLIP_PACKET_UP))
        *(char *)header->msg_iov[0].iov_base ^= 1;
    into->msg_len = (unsigned)len;
    header->msg_flags = packet->cut ? MSG_TRUNC : 0;
    memcpy(header->msg_name, &packet->remote.at, packet->remote.len);
    header->msg_namelen = packet->remote.len;
    bool asked = header->msg_control && socket->bound.s_addr == htonl(INADDR_ANY);
    header->msg_controllen = asked ? header->msg_controllen : 0;
    if (asked)
        name_local(header, packet->local);
    list_remove(first);
    free(packet);
    socket->packet_count--;
    sim->moved++;
}

static int sim_io_recv_many(struct io *io, int fd, struct mmsghdr *messages, unsigned count)
{
    struct sim_io *sim = sim_of(io);
    struct sim_socket *socket = socket_of(sim, fd, SIM_DGRAM, "recvmmsg");
    if (chance(sim, sim->faults.interrupted))
        return -EINTR;
    if (chance(sim, sim->faults.datagram_error))
        return chance(sim, 500) ? -ECONNREFUSED : -EHOSTUNREACH;
    if (socket->packet_count == 0 || chance(sim, sim->faults.again))
        return -EAGAIN;
    size_t most = lesser(count, socket->packet_count);
    if (chance(sim, sim->faults.batch_cut))
        most = 1 + dice_below(sim->dice, most);
    for (size_t i = 0; i < most; i++)
        receive_packet(sim, socket, &messages[i]);
    trace("  recvmmsg %d: %zu", fd, most);
    return (int)most;
}

static struct in_addr local_of(const struct msghdr *header)
{
    struct in_addr local = {0};
    if (!header->msg_control || header->msg_controllen == 0)
        return local;
    struct in_pktinfo info;
    const struct cmsghdr *cmsg = CMSG_FIRSTHDR(header);
    SIM_CHECK(cmsg && cmsg->cmsg_level == IPPROTO_IP && cmsg->cmsg_type == IP_PKTINFO,
              "a datagram with a strange control message");
    memcpy(&info, CMSG_DATA(cmsg), sizeof info);
    return info.ipi_spec_dst;
}

static int sim_io_send_many(struct io *io, int fd, struct mmsghdr *messages, unsigned count)
{
    static const int errors[] = {EAGAIN, ENOBUFS, EPERM, ECONNREFUSED};
    struct sim_io *sim = sim_of(io);
    socket_of(sim, fd, SIM_DGRAM, "sendmmsg");
    if (chance(sim, sim->faults.interrupted))
        return -EINTR;
    if (chance(sim, sim->faults.datagram_error))
        return -errors[dice_below(sim->dice, 4)];
    if (count > 1 && chance(sim, sim->faults.batch_cut))
        count = 1 + (unsigned)dice_below(sim->dice, count);
    for (unsigned i = 0; i < count; i++) {
        const struct msghdr *header = &messages[i].msg_hdr;
        struct endpoint to = {.len = header->msg_namelen};
        memcpy(&to.at, header->msg_name, to.len);
        const struct iovec *piece = header->msg_iov;
        struct sim_packet *packet = new_packet(&to, piece->iov_base, piece->iov_len);
        packet->local = local_of(header);
        if (packet->len && mutates(sim, SIM_FLIP_PACKET_DOWN))
            packet->bytes[0] ^= 1;
        list_append(&sim->answered, &packet->node);
        sim->moved++;
    }
    trace("  sendmmsg %d: %u", fd, count);
    return (int)count;
}

/* ---- Listening ---- */

static int accept_fault(struct sim_io *sim, struct sim_socket *socket)
{
    static const int errors[] = {EINTR, ECONNABORTED, ENOBUFS, ENOMEM, EPERM, EPROTO};
    int error = errors[dice_below(sim->dice, ARRAY_LEN(errors))];
    if (error == ECONNABORTED && socket->waiting_count > 0) {
        struct sim_wire *wire = socket->waiting[--socket->waiting_count];
        wire->server_closed = wire->server_reset = true;
    }
    return -error;
}

static int sim_io_accept(struct io *io, int fd, struct sockaddr *from, socklen_t *from_len)
{
    struct sim_io *sim = sim_of(io);
    struct sim_socket *socket = socket_of(sim, fd, SIM_LISTENER, "accept");
    if (chance(sim, sim->faults.accept_error))
        return accept_fault(sim, socket);
    /* Linux looks for a descriptor first, for a connection second. */
    if (sim->open_count >= sim->fd_limit)
        return chance(sim, 500) ? -EMFILE : -ENFILE;
    if (socket->waiting_count == 0)
        return -EAGAIN;
    struct sim_wire *wire = socket->waiting[0];
    int new_fd = sim_wire_open(sim, wire);
    if (new_fd < 0)
        return new_fd;
    socket->waiting_count--;
    for (size_t i = 0; i < socket->waiting_count; i++)
        socket->waiting[i] = socket->waiting[i + 1];
    if (from) {
        memcpy(from, &wire->from.at, wire->from.len);
        *from_len = wire->from.len;
    }
    sim->moved++;
    trace("  accept %d: %d", fd, new_fd);
    return new_fd;
}

/* ---- The rest of the table ---- */

static int sim_io_get_option(struct io *io, int fd, int level, int name, void *value,
                             socklen_t *len)
{
    struct sim_io *sim = sim_of(io);
    struct sim_wire *wire = socket_of(sim, fd, SIM_STREAM, "getsockopt")->wire;
    bool is_error = level == SOL_SOCKET && name == SO_ERROR;
    if (!is_error && chance(sim, 200))
        return -ENOPROTOOPT;
    int error = is_error && wire->reset ? -(int)take_reset(wire, ECONNRESET, 0) : 0;
    *len = sizeof error;
    memcpy(value, &error, sizeof error);
    return 0;
}

static int sim_io_set_option(struct io *io, int fd, int level, int name, const void *value,
                             socklen_t len)
{
    (void)name;
    (void)value;
    struct sim_io *sim = sim_of(io);
    SIM_CHECK(len > 0, "an option without a value");
    socket_of(sim, fd, level == IPPROTO_IP ? SIM_DGRAM : SIM_STREAM, "setsockopt");
    return chance(sim, 200) && level != IPPROTO_IP ? -ENOPROTOOPT : 0;
}

static int sim_io_local_address(struct io *io, int fd, struct sockaddr *at, socklen_t *len)
{
    struct sim_io *sim = sim_of(io);
    struct sim_socket *socket = &sim->sockets[fd - SIM_FD_FIRST];
    SIM_CHECK(socket->kind != SIM_CLOSED, "getsockname of %d, which is closed", fd);
    struct sockaddr_in local = {
        .sin_family = AF_INET, .sin_port = htons(4343), .sin_addr = socket->bound};
    memcpy(at, &local, sizeof local);
    *len = sizeof local;
    return 0;
}

static uint64_t sim_io_monotonic_ns(struct io *io)
{
    struct sim_io *sim = sim_of(io);
    return sim->now_ns += NS_PER_CALL;
}

static double sim_io_wall_s(struct io *io)
{
    return (double)sim_of(io)->now_ns / 1e9 + 1.7e9;
}

static uint64_t sim_io_random(struct io *io)
{
    return dice_roll(sim_of(io)->dice);
}

static const struct io_ops sim_ops = {
    .recv = sim_io_recv,
    .send = sim_io_send,
    .sendv = sim_io_sendv,
    .recv_many = sim_io_recv_many,
    .send_many = sim_io_send_many,
    .accept = sim_io_accept,
    .shutdown_write = sim_io_shutdown_write,
    .close = sim_io_close,
    .get_option = sim_io_get_option,
    .set_option = sim_io_set_option,
    .local_address = sim_io_local_address,
    .reserve = sim_io_reserve,
    .refuse = sim_io_refuse,
    .monotonic_ns = sim_io_monotonic_ns,
    .wall_s = sim_io_wall_s,
    .random = sim_io_random,
};

/* ---- For the test ---- */

void sim_io_init(struct sim_io *sim, struct dice *dice)
{
    memset(sim, 0, sizeof *sim);
    sim->io.ops = &sim_ops;
    sim->dice = dice;
    sim->now_ns = 1000000000U + dice_below(dice, 1000000000);
    sim->fd_limit = SIM_FD_COUNT - 1;
    list_init(&sim->answered);
    for (size_t i = 0; i < SIM_FD_COUNT; i++)
        list_init(&sim->sockets[i].packets);
}

void sim_io_fini(struct sim_io *sim)
{
    for (size_t i = 0; i < SIM_FD_COUNT; i++)
        free_packets(&sim->sockets[i].packets);
    free_packets(&sim->answered);
    for (size_t i = 0; i < sim->wire_count; i++) {
        buf_fini(&sim->wires[i].up);
        buf_fini(&sim->wires[i].down);
    }
}

struct sim_wire *sim_wire_new(struct sim_io *sim)
{
    if (sim->wire_count == SIM_WIRES_MAX)
        return NULL;
    struct sim_wire *wire = &sim->wires[sim->wire_count];
    *wire =
        (struct sim_wire){.fd = -1, .window = 65536, .from.len = sizeof wire->from.at.in};
    wire->from.at.in =
        (struct sockaddr_in){.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)(PORT_FIRST + sim->wire_count)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    sim->wire_count++;
    return wire;
}

int sim_wire_open(struct sim_io *sim, struct sim_wire *wire)
{
    int fd = open_fd(sim, SIM_STREAM);
    if (fd < 0)
        return fd;
    wire->fd = fd;
    sim->sockets[fd - SIM_FD_FIRST].wire = wire;
    sim->sockets[fd - SIM_FD_FIRST].bound.s_addr = htonl(INADDR_LOOPBACK);
    return fd;
}

bool sim_wire_wait(struct sim_io *sim, struct sim_wire *wire, int listener_fd)
{
    struct sim_socket *socket = &sim->sockets[listener_fd - SIM_FD_FIRST];
    if (socket->waiting_count == ARRAY_LEN(socket->waiting))
        return false;
    socket->waiting[socket->waiting_count++] = wire;
    return true;
}

int sim_listener_open(struct sim_io *sim)
{
    return open_fd(sim, SIM_LISTENER);
}

int sim_dgram_open(struct sim_io *sim, struct in_addr bound)
{
    int fd = open_fd(sim, SIM_DGRAM);
    if (fd >= 0)
        sim->sockets[fd - SIM_FD_FIRST].bound = bound;
    return fd;
}

static unsigned stream_ready(const struct sim_io *sim, const struct sim_wire *wire)
{
    unsigned events = LOOP_NONE;
    size_t unread = buf_len(&wire->down) - wire->down_read;
    bool ended = wire->up_fin && wire->up_arrived == buf_len(&wire->up);
    if (wire->up_read < wire->up_arrived || ended || wire->reset)
        events |= LOOP_READ;
    if (unread < wire->window || wire->gone || wire->reset || wire->down_fin)
        events |= LOOP_WRITE;
    if (sim->mutated && sim->mutation == SIM_NEVER_WRITABLE)
        events &= ~(unsigned)LOOP_WRITE;
    return events;
}

unsigned sim_ready(const struct sim_io *sim, int fd)
{
    const struct sim_socket *socket = &sim->sockets[fd - SIM_FD_FIRST];
    switch (socket->kind) {
    case SIM_STREAM:
        return stream_ready(sim, socket->wire);
    case SIM_LISTENER:
        return socket->waiting_count ? LOOP_READ : LOOP_NONE;
    case SIM_DGRAM:
        return LOOP_WRITE | (socket->packet_count ? LOOP_READ : LOOP_NONE);
    case SIM_CLOSED:
    case SIM_SPARE:
        break;
    }
    sim_fail("descriptor %d is watched and is none", fd);
}
