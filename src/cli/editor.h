/* cli/editor.h - lines from a terminal, with editing and history; or from anything else.
 *
 * What:    with a terminal at both standard input and output, lines are edited by libedit as
 *          ~/.editrc says, and remembered as long as the program runs. Otherwise there is no
 *          prompt.
 * Owns:    what libedit holds, and the line. Borrows: the streams.
 * Thread:  the main one.
 * Life:    editor_open() .. editor_close().
 * Errors:  0 or a negative errno. */
#ifndef NEAP_CLI_EDITOR_H
#define NEAP_CLI_EDITOR_H

#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"

struct editor {
    void *edit;    /* NULL: no terminal */
    void *history; /* likewise */
    char *line;
    size_t capacity;
};

/* 0 or -ENOMEM. */
MUST_CHECK int editor_open(struct editor *editor);

void editor_close(struct editor *editor);

bool editor_is_interactive(const struct editor *editor);

/* Reads a line. 1: `*line` is it, without white space around it, until the next call; 0 at the
 * end; or -errno. */
MUST_CHECK int editor_read(struct editor *editor, const char **line);

#endif
