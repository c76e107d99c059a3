/* cli/input.h - what `neap send` sends, one message after the other.
 *
 *     the words of the command line ──> all of them in memory, with their ends
 *     a file, a pipe, a terminal ─────> at most INPUT_PIECE bytes at a time
 *
 * What:    for a stream a message is whatever bytes are there; for datagrams it is one datagram.
 * Owns:    its buffer. Borrows: the descriptor.
 * Thread:  one.
 * Life:    all zeros, input_init_*() .. input_fini(), also after an error.
 * Errors:  0 or a negative errno. */
#ifndef NEAP_CLI_INPUT_H
#define NEAP_CLI_INPUT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

#define INPUT_PIECE 65536

struct input_shape {
    bool is_datagrams; /* the bounds of messages matter */
    bool is_split;     /* input: every line is a message */
    bool adds_newline; /* a text, and a last line without one, get a newline */
    bool is_typed;     /* input: by someone at a terminal */
    bool is_hex;       /* texts only: two digits a byte, white space allowed */
};

struct input {
    struct input_shape shape;
    struct buf bytes;
    size_t taken;      /* of `bytes` */
    size_t last_taken; /* where the message taken last began, for input_again */
    size_t *ends;      /* of texts: where each message ends in `bytes` */
    size_t count;      /* of ends */
    size_t next;       /* text not taken yet */
    int fd;            /* -1: texts */
    bool has_ended;    /* fd: nothing more will come */
    bool is_done;
    int last_byte; /* read from fd; -1: none yet */
};

/* Takes `texts`: one message, joined with single spaces, or with shape.adds_newline each with a
 * newline as a message of its own. -EINVAL: not hexadecimal; `*bad` is the text. */
MUST_CHECK int input_init_texts(struct input *input, const struct input_shape *shape,
                                char **texts, int count, const char **bad);

/* Takes what `fd` gives until its end: one datagram, or with shape.is_split one for a line. */
void input_init_fd(struct input *input, const struct input_shape *shape, int fd);

void input_fini(struct input *input);

/* True when the descriptor should be watched and input_read called. */
bool input_wants_input(const struct input *input);

/* Reads once. -EMSGSIZE: a message is longer than INPUT_PIECE. */
MUST_CHECK int input_read(struct input *input);

/* Shows the message, or what is left of it; false when none is there yet or any more. */
bool input_peek(const struct input *input, const char **bytes, size_t *len);

/* Drops `len` bytes of it; the message is over when all of its bytes are. */
void input_take(struct input *input, size_t len);

/* Shows the message taken last once more; false when its bytes are gone. */
bool input_again(struct input *input);

/* Nothing is left and nothing will come. */
bool input_is_done(const struct input *input);

#endif
