/* base/buf.h - a growing run of bytes, filled at its end and consumed at its start.
 *
 *     data          start            end          capacity
 *      |  consumed   |  the contents  |  free room  |
 *
 * What:   input not yet decoded, output not yet sent, text being put together.
 * Owns:   its memory (malloc). All zeros is a valid empty buffer without memory.
 * Errors: 0 or -ENOMEM; after -ENOMEM the contents are as before. */
#ifndef NEAP_BASE_BUF_H
#define NEAP_BASE_BUF_H

#include <stddef.h>

#include "base/macros.h"

struct buf {
    char *data;
    size_t start, end, capacity;
};

static inline size_t buf_len(const struct buf *buf)
{
    return buf->end - buf->start;
}

/* The contents; valid until the buffer changes. NULL only when nothing was ever held. */
static inline char *buf_bytes(const struct buf *buf)
{
    return buf->data ? buf->data + buf->start : NULL;
}

/* Where buf_reserve made room. */
static inline char *buf_tail(const struct buf *buf)
{
    return buf->data + buf->end;
}

/* For buf_reserve, when there is no room. */
MUST_CHECK int buf_make_room(struct buf *buf, size_t extra);

/* Makes room for `extra` bytes at the tail, moving the contents down or growing by doubling. */
MUST_CHECK static inline int buf_reserve(struct buf *buf, size_t extra)
{
    return extra <= buf->capacity - buf->end ? 0 : buf_make_room(buf, extra);
}

/* Counts `len` bytes written at the tail as contents; they must have been reserved. */
void buf_commit(struct buf *buf, size_t len);

/* Appends a copy of `len` bytes. */
MUST_CHECK int buf_append(struct buf *buf, const void *bytes, size_t len);

/* Appends formatted text, without its NUL. */
MUST_CHECK int buf_printf(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);

/* Drops `len` bytes from the start; at most buf_len. */
void buf_consume(struct buf *buf, size_t len);

/* Drops the contents and keeps the memory. */
void buf_clear(struct buf *buf);

/* Gives the memory back; the buffer is empty and usable again. */
void buf_fini(struct buf *buf);

#endif
