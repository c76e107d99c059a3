/* cli/client.h - one connection, or datagram socket, of `neap send`.
 *
 *     input ───peek, take──> socket ──> sink
 *        │                     │
 *     end of input        half-close (streams)
 *
 * What:    connects, sends all messages of an input, writes what comes back into a sink: a
 *          stream until the peer closes, datagrams until enough replies came.
 * Owns:    the socket. Borrows: the address, the input, the sink.
 * Thread:  one; it blocks in poll(2). Memory is bounded, whatever comes.
 * Life:    client_open() .. client_close(), which is also due after an error.
 * Errors:  0 or a negative errno, and an enum client_end; nothing is printed here. */
#ifndef NEAP_CLI_CLIENT_H
#define NEAP_CLI_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "net/addr.h"

struct sink;
struct input;

struct client_config {
    const struct addr *addr; /* of any transport but fd:// */
    struct input *input;
    struct sink *sink;
    int timeout_ms;    /* without anything sent or received; -1: for ever */
    uint64_t replies;  /* datagrams: to wait for after each one sent */
    bool is_kept_open; /* streams: no half-close after the last message */
};

struct client {
    struct client_config config;
    struct endpoint endpoints[2];
    int endpoint_count, endpoint_next;
    int fd;
    int error;      /* the negative errno behind an enum client_end */
    int send_error; /* a stream that takes no more; what it answers is still read */
    uint64_t sent;  /* datagrams */
    uint64_t received;
    bool is_half_closed;
    bool is_peer_closed;
};

enum client_end {
    CLIENT_DONE,     /* all was sent; the peer closed, or enough replies came */
    CLIENT_QUIET,    /* all was sent, something came back, then nothing for timeout_ms */
    CLIENT_SILENT,   /* all was sent, nothing came back */
    CLIENT_CUT,      /* the peer closed, or took no more bytes, before all was sent */
    CLIENT_LOST,     /* the socket failed; -ECONNREFUSED: nobody receives datagrams there */
    CLIENT_NO_INPUT, /* the input failed */
    CLIENT_NO_OUTPUT, /* the sink failed */
};

/* Connects to the first of the address' endpoints that answers. 0, -ETIMEDOUT after timeout_ms,
 * or what connect(2) said about the first one. */
MUST_CHECK int client_open(struct client *client, const struct client_config *config);

/* Sends and receives until it is over; client->error then says more. */
enum client_end client_run(struct client *client);

void client_close(struct client *client);

#endif
