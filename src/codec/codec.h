/* codec/codec.h - framing: where a message ends in a stream of bytes, and the way back.
 *
 *     bytes   [ head | message | tail ] [ head | message | tail ] [ he
 *              <------- total -------->
 *
 * What:   a codec is a description of a framing, shared and constant; a codec_state is what
 *         one connection remembers between two looks at a frame that is not whole yet.
 *         Decoding neither copies nor allocates: it says where the message lies.
 * Owns:   nothing but the bytes inside the struct. Pure: no I/O, no clock, no allocation.
 * Errors: decode: CODEC_MORE, CODEC_FRAME, -EBADMSG (malformed), -EMSGSIZE (oversize).
 *         encode: 0 or -EMSGSIZE (this framing cannot carry a message of that length).
 * Limits: max_message counts the bytes the script sees; above CODEC_MESSAGE_MAX it counts as
 *         that. No frame is longer than max_message + CODEC_PEEK_MAX, whatever its head says.
 * Growth: a framing is one file with one `struct codec_ops`. */
#ifndef NEAP_CODEC_CODEC_H
#define NEAP_CODEC_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

#define CODEC_DELIMITER_MAX 64
#define CODEC_HEAD_MAX 24 /* holds what encoding writes: netstring's 20 digits, colon */
#define CODEC_PEEK_MAX 4096
#define CODEC_MESSAGE_MAX (UINT32_C(1) << 30) /* keeps every frame within 32 bits */

enum codec_result { CODEC_MORE = 0, CODEC_FRAME = 1 };
enum codec_endian { CODEC_BIG, CODEC_LITTLE };
#define CODEC_VARINT 0 /* length.bytes: unsigned LEB128, at most 10 bytes */

/* A whole frame at the start of the bytes given; message_len = total - head - tail. */
struct codec_frame {
    size_t total, head, tail;
};

/* What one connection remembers of the frame at its front. All zeros at its start; set back
 * to zeros by whoever consumes the frame or changes the framing. It is in every connection,
 * hence the narrow numbers; CODEC_MESSAGE_MAX makes them wide enough. */
struct codec_state {
    uint32_t scanned; /* bytes not to look at again: no end in them (custom: shown) */
    struct {
        uint32_t total, head, tail;
    } frame; /* total != 0: the head was read, the frame has this shape */
};

/* What goes around a message that is sent. `tail` points into the codec or at a constant,
 * never NULL. */
struct codec_envelope {
    char head[CODEC_HEAD_MAX];
    size_t head_len;
    const char *tail;
    size_t tail_len;
};

/* Asks a script about the frame at the front (framing "custom"): sees at most `peek` bytes.
 * Returns CODEC_MORE, CODEC_FRAME with the shape in *frame (the frame may reach beyond what
 * was seen), or a negative errno, which decode passes on. What it says is checked here. */
typedef int (*codec_custom_fn)(void *context, const char *bytes, size_t len,
                               struct codec_frame *frame);

struct codec;

struct codec_ops {
    const char *name; /* as scripts write it: "line" */

    /* Looks for the shape of the frame at the front of `bytes` (len > 0), which starts where
     * it did at the last call with this state and is at least as long. CODEC_FRAME as soon as
     * the shape is known, also when the frame is not whole yet. codec_decode compares with
     * len and max_message; decode itself answers -EMSGSIZE where it looks for an end and the
     * message already is too long, or where the numbers would not fit a size_t. */
    int (*decode)(const struct codec *codec, struct codec_state *state, const char *bytes,
                  size_t len, size_t max_message, struct codec_frame *frame);

    /* Looks at a frame that is whole: CODEC_FRAME or -EBADMSG. NULL: any is good. */
    int (*check)(const char *bytes, const struct codec_frame *frame);

    /* What to put around a message of that length: the inverse of decode. *out comes as the
     * empty envelope. */
    int (*encode)(const struct codec *codec, size_t message_len,
                  struct codec_envelope *out);
};

struct codec {
    const struct codec_ops *ops;
    bool send_raw; /* messages are sent as they are; encode is not asked */
    union {
        struct {
            char bytes[CODEC_DELIMITER_MAX]; /* ends a message received; sent after one */
            size_t len;
        } delimiter;
        struct {
            char eol[CODEC_DELIMITER_MAX]; /* sent after a message: "\n" */
            size_t eol_len;
        } line;
        struct {
            size_t len;
        } fixed;
        struct {
            unsigned bytes; /* 1..8 or CODEC_VARINT */
            enum codec_endian endian;
            size_t offset;  /* of the length field from the start of the frame */
            int64_t adjust; /* value + adjust bytes follow the field */
            size_t strip; /* leading bytes not given to the script, or CODEC_STRIP_FIELD */
        } length;
        struct {
            codec_custom_fn decode;
            size_t peek;
        } custom;
    } as;
    void *context; /* handed to the decode of a custom one; NULL: it is no script */
};

#define CODEC_STRIP_FIELD SIZE_MAX /* everything through the length field */

/* One constructor a framing, each setting the whole codec; send_raw is set afterwards, for
 * length in its spec. 0, or -EINVAL when the numbers make no framing; then *why points at a
 * constant text for the script's author ("length: bytes must be 1 to 8 or \"varint\"") and
 * the codec is as before.
 * length: unless send_raw, sending must be able to restore what strip removed, so offset must
 * be 0 and strip the field, or strip 0 (a message then is a whole frame, and is sent as it
 * is). */
void codec_init_raw(struct codec *codec);
MUST_CHECK int codec_init_line(struct codec *codec, const char *eol, size_t eol_len,
                               const char **why);
MUST_CHECK int codec_init_delimiter(struct codec *codec, const char *bytes, size_t len,
                                    const char **why);
MUST_CHECK int codec_init_fixed(struct codec *codec, size_t len, const char **why);
void codec_init_netstring(struct codec *codec);

struct codec_length_spec {
    unsigned bytes;
    enum codec_endian endian;
    size_t offset;
    int64_t adjust;
    size_t strip;
    bool send_raw;
};
MUST_CHECK int codec_init_length(struct codec *codec, const struct codec_length_spec *spec,
                                 const char **why);
MUST_CHECK int codec_init_custom(struct codec *codec, codec_custom_fn decode, void *context,
                                 size_t peek, const char **why);

/* One frame at the front of `bytes` (len > 0), which starts where it did at the last call with
 * this state and is at least as long. CODEC_FRAME: it is whole and *frame is set; the state is
 * still the caller's to set back. CODEC_MORE: not whole; once the shape is known (state->frame)
 * later calls only compare lengths. -EMSGSIZE as soon as a message longer than max_message is
 * certain, -EBADMSG as soon as a malformed one is; after these the stream has no next frame. */
MUST_CHECK int codec_decode(const struct codec *codec, struct codec_state *state,
                            const char *bytes, size_t len, size_t max_message,
                            struct codec_frame *frame);

/* What goes around a message of that length; the empty envelope if send_raw. 0 or -EMSGSIZE. */
MUST_CHECK int codec_encode(const struct codec *codec, size_t message_len,
                            struct codec_envelope *out);

/* After CODEC_MORE: how many bytes are still missing from a frame whose shape is known, at
 * least 1; 0 when it is not known. Lets a reader make room once. */
size_t codec_missing(const struct codec_state *state, size_t len);

#endif
