/* tests/sim/sim_peer.c - the other ends: clients of streams, and hosts that send datagrams.
 *
 * A client writes whole messages into its log of bytes, cut at random by the network, and keeps
 * where each of them lies. A host numbers its datagrams, so that no two are the same. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "script/version.h"
#include "sim.h"

#define UP_MAX ((size_t)400000) /* bytes that one client writes */
#define HOST_PORT 30000

/* ---- Clients ---- */

struct peer *peer_new(struct sim *sim, const struct codec *as)
{
    static const size_t windows[] = {1, 100, 3000, 20000, 65536, 1000000};
    struct sim_wire *wire = sim_wire_new(&sim->io);
    if (!wire)
        return NULL;
    wire->window = windows[dice_below(&sim->dice, ARRAY_LEN(windows))];
    struct peer *peer = &sim->peers[wire - sim->io.wires];
    *peer = (struct peer){
        .wire = wire, .as = *as, .version = sim->version->number, .talk = 1000};
    peer->careful = dice_chance(&sim->dice, 300);
    peer->clean = strcmp(as->ops->name, "raw") != 0;
    if (dice_chance(&sim->dice, 200))
        peer->talk = (unsigned)dice_below(&sim->dice, 20);
    return peer;
}

static void write_message(struct sim *sim, struct peer *peer)
{
    struct sim_wire *wire = peer->wire;
    size_t most = dice_chance(&sim->dice, 20) ? 120000 : 600;
    struct buf message = {0};
    frame_message(&sim->dice, &peer->as, most, &message);
    size_t before = buf_len(&wire->up), len = buf_len(&message);
    if (frame_encode(&peer->as, true, buf_bytes(&message), len, &wire->up)) {
        struct codec_frame frame = {0};
        int found = frame_decode(&peer->as, buf_bytes(&wire->up) + before,
                                 buf_len(&wire->up) - before, CODEC_MESSAGE_MAX, &frame);
        SIM_CHECK(found == CODEC_FRAME && before + frame.total == buf_len(&wire->up),
                  "the peer's own message is none");
        struct part part = {before + frame.head, frame.total - frame.head - frame.tail};
        SIM_CHECK(buf_append(&peer->parts, &part, sizeof part) == 0, "out of memory");
    }
    buf_fini(&message);
    peer->talk--;
}

/* What no framing of ours would send: it must end in malformed, oversize or nothing. */
static void write_garbage(struct sim *sim, struct peer *peer)
{
    char bytes[40];
    size_t len = 1 + dice_below(&sim->dice, sizeof bytes);
    for (size_t i = 0; i < len; i++)
        bytes[i] = "\r\naab0123456789:,!\0\xff"[dice_below(&sim->dice, 21)];
    SIM_CHECK(buf_append(&peer->wire->up, bytes, len) == 0, "out of memory");
    peer->clean = false;
}

static void arrive(struct sim *sim, struct sim_wire *wire)
{
    size_t left = buf_len(&wire->up) - wire->up_arrived;
    if (left)
        wire->up_arrived +=
            dice_chance(&sim->dice, 300) ? left : dice_len(&sim->dice, left);
}

static void read_some(struct sim *sim, struct sim_wire *wire)
{
    size_t left = buf_len(&wire->down) - wire->down_read;
    if (left)
        wire->down_read += dice_chance(&sim->dice, 500) ? left : dice_len(&sim->dice, left);
}

static const struct conn *conn_of(const struct sim *sim, const struct peer *peer)
{
    if (!peer->entry || !peer->entry->seen)
        return NULL;
    return conn_find(sim->reactor, peer->entry->slot);
}

static bool all_is_consumed(const struct peer *peer)
{
    return peer->entry && peer->entry->consumed == buf_len(&peer->wire->up);
}

/* The framing may have been set in mid-stream; clients notice, sometimes too late. */
static void look_at_framing(struct sim *sim, struct peer *peer)
{
    const struct conn *conn = conn_of(sim, peer);
    if (conn && conn->framing != conn->service->framing &&
        (all_is_consumed(peer) || dice_chance(&sim->dice, 300))) {
        peer->as = conn_framing(conn)->codec;
        peer->clean = false;
    }
}

static bool may_write(const struct peer *peer)
{
    return peer->talk > 0 && !peer->wire->up_fin && buf_len(&peer->wire->up) < UP_MAX &&
           (!peer->careful || all_is_consumed(peer));
}

static void finish_writing(struct sim *sim, struct peer *peer)
{
    if (!peer->wire->up_fin && dice_chance(&sim->dice, 300))
        write_garbage(sim, peer);
    peer->wire->up_fin = true;
}

/* What ends a connection or spoils it; how often is a matter of the seed. */
static void be_rough(struct sim *sim, struct peer *peer)
{
    struct sim_wire *wire = peer->wire;
    switch (dice_below(&sim->dice, 4)) {
    case 0:
        if (!wire->up_fin)
            write_garbage(sim, peer);
        break;
    case 1:
        finish_writing(sim, peer);
        break;
    case 2:
        finish_writing(sim, peer);
        wire->gone = true;
        break;
    default:
        wire->reset = true;
    }
}

void peer_act(struct sim *sim, struct peer *peer)
{
    struct dice *dice = &sim->dice;
    look_at_framing(sim, peer);
    size_t roll = dice_below(dice, 100);
    if (roll < 35) {
        for (size_t count = dice_below(dice, 6); count > 0 && may_write(peer); count--)
            write_message(sim, peer);
    } else if (roll < 70) {
        arrive(sim, peer->wire);
    } else if (roll < 96) {
        if (!peer->stuck)
            read_some(sim, peer->wire);
    } else {
        peer->stuck = dice_chance(dice, 400);
    }
    if (dice_chance(dice, sim->roughness))
        be_rough(sim, peer);
}

bool peer_calm(struct sim *sim, struct peer *peer)
{
    struct sim_wire *wire = peer->wire;
    bool moved =
        wire->up_arrived < buf_len(&wire->up) || wire->down_read < buf_len(&wire->down);
    peer->stuck = false;
    if (wire->up_arrived < buf_len(&wire->up))
        arrive(sim, wire);
    wire->down_read = buf_len(&wire->down);
    return moved;
}

void peer_end(struct sim *sim, struct peer *peer, bool reset)
{
    (void)sim;
    peer->wire->up_arrived = buf_len(&peer->wire->up);
    peer->wire->up_fin = true;
    peer->wire->reset |= reset;
}

void peer_fini(struct peer *peer)
{
    buf_fini(&peer->parts);
}

/* ---- Hosts ---- */

void hosts_init(struct sim *sim)
{
    sim->host_count = 2 + dice_len(&sim->dice, SIM_HOSTS_MAX - 2);
    for (size_t i = 0; i < sim->host_count; i++) {
        struct host *host = &sim->hosts[i];
        host->socket = (int)(i % 4 == 3);
        /* Two that differ in the local address only, where the server can tell. */
        size_t port = sim->wildcard ? i / 8 * 4 + i % 4 : i;
        host->remote.len = sizeof host->remote.at.in;
        host->remote.at.in =
            (struct sockaddr_in){.sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)(HOST_PORT + port)),
                                 .sin_addr.s_addr = htonl(0x0a000001)};
        host->local.s_addr = htonl(0xc0a80001 + (i / 4) % 2);
        list_init(&host->asked);
        list_init(&host->answers);
    }
}

static void remember(struct list *list, const char *bytes, size_t len)
{
    struct sent *sent = calloc(1, sizeof *sent + len);
    SIM_CHECK(sent, "out of memory");
    sent->len = len;
    if (len)
        memcpy(sent->bytes, bytes, len);
    list_append(list, &sent->node);
}

void host_act(struct sim *sim, struct host *host)
{
    char bytes[2000];
    if (sim->datagrams_left == 0)
        return;
    sim->datagrams_left--;
    size_t len = 0;
    if (!dice_chance(&sim->dice, 30))
        len = (size_t)snprintf(bytes, sizeof bytes,
                               "%u.%u:", ntohs(host->remote.at.in.sin_port),
                               host->sent_count);
    for (size_t more = len ? dice_len(&sim->dice, 1500) : 0; more > 0; more--)
        bytes[len++] = "0123456789abcdef"[dice_below(&sim->dice, 16)];
    bool cut = dice_chance(&sim->dice, 20);
    remember(&host->asked, bytes, len);
    host->sent_count++;
    host->sent_len += len;
    trace("datagram %s%s", trace_bytes(bytes, len), cut ? " cut" : "");
    struct sim_datagram datagram = {&host->remote, host->local, bytes, len, cut};
    sim_packet_send(&sim->io, sim->dgram_fds[host->socket], &datagram);
}

static bool same_host(const struct sim *sim, const struct host *host,
                      const struct endpoint *remote, struct in_addr local)
{
    return host->remote.at.in.sin_port == remote->at.in.sin_port &&
           (!sim->wildcard || host->local.s_addr == local.s_addr);
}

static struct host *find_host(struct sim *sim, const struct endpoint *remote,
                              struct in_addr local)
{
    for (size_t i = 0; i < sim->host_count; i++)
        if (same_host(sim, &sim->hosts[i], remote, local))
            return &sim->hosts[i];
    sim_fail("no host at port %u with local address %08x", ntohs(remote->at.in.sin_port),
             ntohl(local.s_addr));
}

struct host *host_of(struct sim *sim, struct conn *conn)
{
    struct endpoint remote, local;
    conn_peer(conn, &remote);
    conn_local(conn, &local);
    struct host *host = find_host(sim, &remote, local.at.in.sin_addr);
    SIM_CHECK(conn->service == sim->packets[host->socket],
              "a datagram came to another service");
    return host;
}

static struct sent *find_sent(struct list *list, const char *bytes, size_t len)
{
    LIST_FOREACH (list, node) {
        struct sent *sent = container_of(node, struct sent, node);
        if (sent->len == len && memcmp(sent->bytes, bytes, len) == 0)
            return sent;
    }
    return NULL;
}

/* Takes the first that is the same out of the list, and those before it, which were dropped. */
static bool take(struct list *list, const char *bytes, size_t len, unsigned *passed)
{
    struct sent *found = find_sent(list, bytes, len);
    *passed = 0;
    if (!found)
        return false;
    LIST_FOREACH (list, node) {
        struct sent *sent = container_of(node, struct sent, node);
        bool last = sent == found;
        list_remove(node);
        free(sent);
        if (last)
            break;
        ++*passed;
    }
    return true;
}

void host_delivered(struct sim *sim, struct host *host, const char *bytes, size_t len)
{
    unsigned passed;
    SIM_CHECK(take(&host->asked, bytes, len, &passed),
              "P8: a datagram that was not sent, or delivered already: %s",
              trace_bytes(bytes, len));
    if (passed)
        trace("  %u before are missing", passed);
    sim->missed += passed;
}

void host_promised(struct host *host, const struct iovec *pieces, size_t count, size_t len)
{
    struct sent *sent = calloc(1, sizeof *sent + len);
    SIM_CHECK(sent, "out of memory");
    sent->len = len;
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        memcpy(sent->bytes + at, pieces[i].iov_base, pieces[i].iov_len);
        at += pieces[i].iov_len;
    }
    list_append(&host->answers, &sent->node);
}

/* P18: reply bytes to a peer that sent one datagram are bounded. */
static void check_reply_limit(const struct sim *sim, const struct host *host)
{
    const struct service *service = sim->packets[host->socket];
    if (!service->reply_limit || !service->sessions || host->sent_count > 1)
        return;
    SIM_CHECK(host->answered_len <= 3 * host->sent_len + 1200,
              "P18: %zu bytes to a peer that sent %zu", host->answered_len, host->sent_len);
}

void hosts_take(struct sim *sim)
{
    LIST_FOREACH (&sim->io.answered, node) {
        struct sim_packet *packet = container_of(node, struct sim_packet, node);
        struct host *host = find_host(sim, &packet->remote, packet->local);
        unsigned passed;
        SIM_CHECK(take(&host->answers, packet->bytes, packet->len, &passed),
                  "P10: a datagram that no send queued: %s",
                  trace_bytes(packet->bytes, packet->len));
        host->answered_len += packet->len;
        check_reply_limit(sim, host);
        list_remove(node);
        free(packet);
    }
}

static size_t length(const struct list *list)
{
    size_t count = 0;
    LIST_FOREACH (list, node)
        count++;
    return count;
}

size_t hosts_missing(const struct sim *sim)
{
    size_t count = 0;
    for (size_t i = 0; i < sim->host_count; i++)
        count += length(&sim->hosts[i].asked);
    return count;
}

void hosts_fini(struct sim *sim)
{
    for (size_t i = 0; i < sim->host_count; i++) {
        LIST_FOREACH (&sim->hosts[i].asked, node)
            free(container_of(node, struct sent, node));
        LIST_FOREACH (&sim->hosts[i].answers, node)
            free(container_of(node, struct sent, node));
    }
}
