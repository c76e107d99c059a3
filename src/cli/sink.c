/* cli/sink.c - bytes of a peer, made safe where they reach a terminal. */
#include "cli/sink.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "base/text.h"

void sink_init(struct sink *sink, int fd)
{
    *sink = (struct sink){.fd = fd, .is_terminal = isatty(fd), .last_byte = '\n'};
}

void sink_fini(struct sink *sink)
{
    buf_fini(&sink->text);
}

static int write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t count = write(fd, bytes, len);
        if (count >= 0) {
            bytes += count;
            len -= (size_t)count;
        } else if (errno == EAGAIN) {
            /* Someone who shares the descriptor made it non-blocking. */
            (void)poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

static int escape(struct buf *text, const char *bytes, size_t len)
{
    size_t begin = 0;
    int rc = 0;
    for (size_t at = 0; at <= len && rc == 0; at++) {
        if (at < len && bytes[at] != '\n' && bytes[at] != '\t')
            continue;
        rc = text_escape(text, TEXT_ESCAPE_LOG, bytes + begin, at - begin);
        if (rc == 0 && at < len)
            rc = buf_append(text, bytes + at, 1);
        begin = at + 1;
    }
    return rc;
}

int sink_write(struct sink *sink, const char *bytes, size_t len)
{
    if (len == 0)
        return 0;
    sink->last_byte = bytes[len - 1];
    if (!sink->is_terminal)
        return write_all(sink->fd, bytes, len);
    buf_clear(&sink->text);
    int rc = escape(&sink->text, bytes, len);
    return rc < 0 ? rc : write_all(sink->fd, buf_bytes(&sink->text), buf_len(&sink->text));
}

int sink_end_line(struct sink *sink)
{
    if (!sink->is_terminal || sink->last_byte == '\n')
        return 0;
    sink->last_byte = '\n';
    return write_all(sink->fd, "\n", 1);
}
