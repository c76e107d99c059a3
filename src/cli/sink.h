/* cli/sink.h - where `neap send` puts what a peer says.
 *
 * What:    bytes as they are, or on a terminal printable ASCII, newlines and tabs as they are
 *          and everything else escaped (\xNN): no peer moves the cursor or sets the title.
 * Owns:    a buffer. Borrows: the descriptor, which may block.
 * Thread:  one.
 * Life:    sink_init() .. sink_fini().
 * Errors:  0 or a negative errno. */
#ifndef NEAP_CLI_SINK_H
#define NEAP_CLI_SINK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

struct sink {
    int fd;
    bool is_terminal;
    char last_byte;
    struct buf text;
};

void sink_init(struct sink *sink, int fd);
void sink_fini(struct sink *sink);

MUST_CHECK int sink_write(struct sink *sink, const char *bytes, size_t len);

/* On a terminal, ends the line that was begun; what comes next is not glued to it. */
MUST_CHECK int sink_end_line(struct sink *sink);

#endif
