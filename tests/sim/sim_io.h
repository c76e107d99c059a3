/* tests/sim/sim_io.h - an in-memory network behind struct io_ops.
 *
 *     peer ─ up ──> [ written | arrived | read by the server ]
 *     peer <─ down ─ [ read by the peer | sent by the server ]      at most `window` unread
 *
 * What:   descriptors, stream connections with both ends, datagram sockets, listeners, a clock,
 *         and the faults that a kernel may answer with. Logs of all bytes stay for the checks.
 * Checks: a descriptor is used only while it is open and as what it is, is not watched when it
 *         is closed, and nothing is sent after its sending half was closed.
 * Owns:   everything in it. Thread: one. */
#ifndef NEAP_TESTS_SIM_IO_H
#define NEAP_TESTS_SIM_IO_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "io/io.h"
#include "net/addr.h"
#include "sim_random.h"

struct loop;

#define SIM_FD_FIRST 1000 /* the kernel never gave these to this process */
#define SIM_FD_COUNT 128
#define SIM_WIRES_MAX 96 /* stream connections of one seed */
#define SIM_PACKET_MAX 65507

/* One stream connection. */
struct sim_wire {
    int fd; /* the server's, while it has one */
    struct endpoint from;
    struct buf up;
    size_t up_arrived, up_read;
    bool up_fin; /* the peer has closed its sending half, behind all of `up` */
    struct buf down;
    size_t down_read, window;
    bool down_fin; /* the server has closed its sending half */
    bool gone;     /* the peer closed both: whatever is sent to it comes back as a reset */
    bool reset;    /* the server's kernel knows of a reset */
    bool reset_told;    /* and a call has told it */
    bool server_closed; /* the descriptor is closed */
    bool server_reset;  /* with a reset, asked for or because of unread input */
};

/* A datagram on its way. */
struct sim_packet {
    struct list node;
    struct endpoint remote; /* of the peer */
    struct in_addr local;   /* of the server; 0.0.0.0: not named */
    bool cut;               /* it was longer than what arrived */
    size_t len;
    char bytes[];
};

/* How often, per mille of the calls. */
struct sim_faults {
    unsigned again, interrupted, no_buffers, short_read, short_write, accept_error;
    unsigned datagram_error, batch_cut;
};

/* What the network does wrong when a test wants to see that somebody notices. */
enum sim_mutation {
    SIM_FAITHFUL,
    SIM_DROP_UP,
    SIM_DOUBLE_UP,
    SIM_FLIP_UP,
    SIM_DROP_DOWN,
    SIM_DOUBLE_DOWN,
    SIM_FLIP_DOWN,
    SIM_FLIP_PACKET_UP,
    SIM_FLIP_PACKET_DOWN,
    SIM_NEVER_WRITABLE,
    SIM_MUTATION_COUNT
};

enum sim_kind { SIM_CLOSED, SIM_STREAM, SIM_LISTENER, SIM_DGRAM, SIM_SPARE };

struct sim_socket {
    enum sim_kind kind;
    struct sim_wire *wire;
    struct list packets; /* of a datagram socket, to be received */
    size_t packet_count;
    struct sim_wire *waiting[16]; /* of a listener, to be accepted */
    size_t waiting_count;
    struct in_addr bound;
};

struct sim_io {
    struct io io; /* first: what the server is given */
    struct dice *dice;
    struct loop *loop; /* to ask what is watched; set once there is one */
    uint64_t now_ns;
    struct sim_faults faults;
    enum sim_mutation mutation;
    unsigned mutate_after; /* transfers until it happens next */
    bool mutated;
    size_t fd_limit, open_count;
    uint64_t calls;       /* of the server, all but the clock */
    uint64_t moved;       /* bytes, datagrams and connections that passed */
    struct list answered; /* datagrams sent by the server, in order */
    struct sim_socket sockets[SIM_FD_COUNT];
    struct sim_wire wires[SIM_WIRES_MAX];
    size_t wire_count;
};

void sim_io_init(struct sim_io *sim, struct dice *dice);
void sim_io_fini(struct sim_io *sim);

/* A connection that the listener's side has not seen yet, from a free address; NULL: none left. */
struct sim_wire *sim_wire_new(struct sim_io *sim);
/* Its descriptor at the server, or -EMFILE. */
int sim_wire_open(struct sim_io *sim, struct sim_wire *wire);
/* Puts it into the queue of a listener; false when that is full. */
bool sim_wire_wait(struct sim_io *sim, struct sim_wire *wire, int listener_fd);

int sim_listener_open(struct sim_io *sim);
int sim_dgram_open(struct sim_io *sim, struct in_addr bound);

/* A descriptor that belongs to the test, not to the server, is closed. */
void sim_close(struct sim_io *sim, int fd);

/* Sends a datagram to a socket of the server; its fields are those of struct sim_packet. */
struct sim_datagram {
    const struct endpoint *remote;
    struct in_addr local;
    const char *bytes;
    size_t len;
    bool cut;
};
void sim_packet_send(struct sim_io *sim, int fd, const struct sim_datagram *datagram);

/* Which of enum loop_events a descriptor has, without any lie. */
unsigned sim_ready(const struct sim_io *sim, int fd);

#endif
