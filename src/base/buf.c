/* base/buf.c - a growing run of bytes.
 *
 * Appending and consuming are O(1) amortised: the contents are moved down only when what was
 * consumed is at least as long as they are (each byte moved was paid for by one consumed);
 * otherwise the memory doubles. */
#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/require.h"

#define CAPACITY_MIN 64

static void move_down(struct buf *buf)
{
    size_t len = buf_len(buf);

    memmove(buf->data, buf->data + buf->start, len);
    buf->start = 0;
    buf->end = len;
}

static int grow(struct buf *buf, size_t needed)
{
    size_t capacity = buf->capacity < CAPACITY_MIN ? CAPACITY_MIN : buf->capacity * 2;
    if (capacity < needed)
        capacity = needed;
    char *data = realloc(buf->data, capacity);
    if (!data)
        return -ENOMEM;
    buf->data = data;
    buf->capacity = capacity;
    return 0;
}

int buf_make_room(struct buf *buf, size_t extra)
{
    size_t len = buf_len(buf);

    /* Half of the address space: no sum or doubling below can wrap. */
    if (extra > PTRDIFF_MAX - len)
        return -ENOMEM;
    bool fits_below = len + extra <= buf->capacity;
    if (fits_below && buf->start >= len) {
        move_down(buf);
        return 0;
    }
    if (buf->start > 0)
        move_down(buf);
    if (grow(buf, len + extra) == 0 || fits_below)
        return 0;
    return -ENOMEM;
}

void buf_commit(struct buf *buf, size_t len)
{
    REQUIRE(len <= buf->capacity - buf->end);
    buf->end += len;
}

int buf_append(struct buf *buf, const void *bytes, size_t len)
{
    if (len == 0)
        return 0;
    int err = buf_reserve(buf, len);
    if (err)
        return err;
    memcpy(buf->data + buf->end, bytes, len);
    buf->end += len;
    return 0;
}

/* Formats into the free room, which includes a place for the NUL; returns the length that the
 * whole text has, or negative. */
PRINTF_LIKE(2, 0)
static int print_at_tail(struct buf *buf, const char *format, va_list args)
{
    size_t room = buf->capacity - buf->end;

    return vsnprintf(room > 0 ? buf->data + buf->end : NULL, room, format, args);
}

int buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args;

    for (int attempt = 0; attempt < 2; attempt++) {
        va_start(args, format);
        int len = print_at_tail(buf, format, args);
        va_end(args);
        if (len < 0)
            return -ENOMEM;
        if ((size_t)len < buf->capacity - buf->end) {
            buf->end += (size_t)len;
            return 0;
        }
        if (buf_reserve(buf, (size_t)len + 1) != 0)
            return -ENOMEM;
    }
    /* The arguments were longer the second time: someone changes them meanwhile. */
    return -ENOMEM;
}

void buf_consume(struct buf *buf, size_t len)
{
    REQUIRE(len <= buf_len(buf));
    buf->start += len;
    if (buf->start == buf->end)
        buf_clear(buf);
}

void buf_clear(struct buf *buf)
{
    buf->start = buf->end = 0;
}

void buf_fini(struct buf *buf)
{
    free(buf->data);
    *buf = (struct buf){0};
}
