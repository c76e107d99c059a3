/* tests/unit/codec_feed.h - feeds a stream to a codec as a connection would, and writes down
 * what came out.
 *
 *     feed_check(&codec, 100, BYTES("a\nb\nc"), "[a][b]more");
 *
 * What:   a transcript is text: each message in brackets, control bytes as \xHH, then what the
 *         last decode answered: "more", "EBADMSG", "EMSGSIZE", "errno N".
 * Checks: at each decode, that the frame is inside the bytes and the limit, and that the state
 *         is as codec.h promises. Each decode sees a copy of exactly the unread bytes, so that
 *         the address sanitizer finds any look beyond them. */
#ifndef NEAP_TESTS_CODEC_FEED_H
#define NEAP_TESTS_CODEC_FEED_H

#include <stddef.h>
#include <stdio.h>

#include "codec/codec.h"

/* A literal that may hold NULs, as the two arguments `bytes, len`. */
#define BYTES(literal) (literal), sizeof(literal) - 1

struct feed {
    const struct codec *codec;
    size_t max_message;
    struct codec_state state;
    char *unread; /* from the front of the current frame */
    size_t unread_len;
    int result; /* of the last decode; negative: the stream has ended */
    FILE *text_out, *echo_out;
    char *text, *echo; /* what they hold, after feed_text or feed_echo */
    size_t text_len, echo_len;
};

void feed_init(struct feed *feed, const struct codec *codec, size_t max_message);
void feed_fini(struct feed *feed);

/* Appends bytes and decodes all that is whole. Returns the last answer of decode. */
int feed_bytes(struct feed *feed, const char *bytes, size_t len);

/* The transcript so far. Valid until the next feed_bytes. */
const char *feed_text(struct feed *feed);

/* The parts of a transcript. */
void feed_print_message(FILE *out, const char *bytes, size_t len);
void feed_print_result(FILE *out, int result);

/* Feeds the stream whole, byte by byte and cut in two at every place, and asserts that the
 * transcript is `expected` each time. */
void feed_check(const struct codec *codec, size_t max_message, const char *bytes,
                size_t len, const char *expected);

/* Asserts that encoding each message of the stream gives the stream again. */
void feed_check_echo(const struct codec *codec, size_t max_message, const char *bytes,
                     size_t len);

/* Asserts what an encoded message looks like. */
void feed_check_encode(const struct codec *codec, const char *message, size_t len,
                       const char *expected, size_t expected_len);

#endif
