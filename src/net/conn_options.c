/* net/conn_options.c - the options that hold for a connection: its service's, or its own. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/conn.h"
#include "net/reactor.h"

#define PEER_IDLE_TIMEOUT_MS 30000U

const struct conn_options conn_options_default = {
    .idle_timeout_ms = CONN_IDLE_DEFAULT,
    .message_timeout_ms = 30000,
    .send_timeout_ms = 60000,
    .linger_ms = 5000,
    .max_message = 1U << 20,
    .max_read = 16U << 20,
    .high_water = 1U << 20,
    .max_output = 8U << 20,
    .overflow = OVERFLOW_CLOSE,
};

uint64_t conn_idle_timeout_ms(const struct conn *conn)
{
    uint64_t timeout_ms = conn->options->idle_timeout_ms;
    if (timeout_ms == CONN_IDLE_DEFAULT)
        return conn->kind->is_stream || conn->outbound ? 0 : PEER_IDLE_TIMEOUT_MS;
    return timeout_ms;
}

uint64_t conn_option(const struct conn *conn, size_t offset)
{
    if (offset == offsetof(struct conn_options, idle_timeout_ms))
        return conn_idle_timeout_ms(conn);
    uint64_t value;
    memcpy(&value, (const char *)conn->options + offset, sizeof value);
    return value;
}

/* What it has not set for itself is its service's. */
static void follow_options(struct conn *conn)
{
    const struct conn_options *theirs = &conn->service->options;
    conn->options = conn->own ? conn->own : theirs;
    for (size_t at = 0; conn->own && at < sizeof *theirs; at += sizeof(uint64_t))
        if (!(conn->own_mask & (1U << (at / sizeof(uint64_t)))))
            memcpy((char *)conn->own + at, (const char *)theirs + at, sizeof(uint64_t));
}

void conn_options_changed(struct conn *conn)
{
    follow_options(conn);
    /* Over a mark that came down messages wait too, and somebody must wake them; below one that
     * went up they need not wait for on_drain. */
    if (conn->state == CONN_OPEN && conn_pending(conn) > conn->options->high_water)
        conn_hold_back(conn);
    else if (conn->want_drain)
        reactor_make_ready(conn->reactor, conn);
    conn_arm(conn);
}

int conn_set_option(struct conn *conn, size_t offset, uint64_t value)
{
    if (!conn->own && !(conn->own = calloc(1, sizeof *conn->own)))
        return -ENOMEM;
    memcpy((char *)conn->own + offset, &value, sizeof value);
    conn->own_mask |= 1U << (offset / sizeof(uint64_t));
    conn_options_changed(conn);
    return 0;
}

void conn_move(struct conn *conn, struct service *service)
{
    conn->service->users--;
    service->users++;
    conn->service = service;
    follow_options(conn);
}
