/* net/pipe.c - who is read, who is closed. */
#include "net/pipe.h"

#include <errno.h>

#include "net/conn.h"
#include "net/reactor.h"

static void wake(struct conn *conn)
{
    if (conn->reactor->current != conn)
        reactor_make_ready(conn->reactor, conn);
}

int pipe_join(struct conn *a, struct conn *b)
{
    if (!a->kind->is_stream || !b->kind->is_stream)
        return -EOPNOTSUPP;
    if (!conn_is_open(a) || !conn_is_open(b) || a->ending || b->ending)
        return -EPIPE;
    bool is_read = a->reader || b->reader || a->reading || b->reading;
    if (a->pipe || b->pipe || is_read)
        return -EBUSY;
    a->pipe = b;
    b->pipe = a;
    /* Where on_eof was called, the other is still to be told. */
    a->eof_done = b->eof_done = false;
    a->message_ms = b->message_ms = 0; /* what is unfinished is no message any more */
    wake(a);
    wake(b);
    return 0;
}

void pipe_move(struct conn *conn)
{
    struct conn *other = conn->pipe;
    if (conn->state != CONN_OPEN || conn->paused || conn->eof_done)
        return;
    conn->held_up = conn_pending(other) > 0;
    if (conn->held_up)
        return;
    bool is_all = conn->kind->relay(conn, other);
    if (conn->pipe != other) /* one is gone, and so is the other */
        return;
    conn->held_up = conn_pending(other) > 0;
    if (!is_all || !conn->eof)
        return;
    conn->eof_done = true;
    conn->message_ms = reactor_now_ms(conn->reactor); /* see conn_clock.c */
    conn_arm(conn);
    if (conn_shutdown(other) && other->state == CONN_OPEN) /* which it had done already */
        reactor_make_dirty(other->reactor, other);
}

void pipe_drained(struct conn *conn)
{
    struct conn *other = conn->pipe;
    if (!other->held_up)
        return;
    other->held_up = false;
    wake(other);
}

void pipe_part(struct conn *conn)
{
    struct conn *other = conn->pipe;
    bool is_cut = conn->reset_wanted || conn->reason == REASON_RESET;
    conn->pipe = other->pipe = NULL;
    other->reset_wanted = is_cut;
    if (is_cut)
        conn_abort(other, conn->reason, "piped");
    else
        conn_close(other, conn->reason, NULL);
}
