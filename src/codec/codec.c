/* codec/codec.c - the rules that all framings share.
 *
 * A framing's own decode answers "what shape", this file answers "is it allowed, is it whole":
 *
 *     shape unknown ──ops->decode──> shape known ──len >= total──> ops->check ──> CODEC_FRAME
 *          ^  more bytes |               ^  more bytes |
 *          └─────────────┘               └─────────────┘  only lengths are compared */
#include "codec/codec.h"

#include <assert.h>
#include <errno.h>

static_assert(CODEC_MESSAGE_MAX <= UINT32_MAX - CODEC_PEEK_MAX,
              "codec_state keeps the numbers of a frame in 32 bits");
static_assert(CODEC_DELIMITER_MAX <= CODEC_PEEK_MAX, "a tail is within the frame limit");

static int find_shape(const struct codec *codec, struct codec_state *state,
                      const char *bytes, size_t len, size_t max_message,
                      struct codec_frame *frame)
{
    if (max_message > CODEC_MESSAGE_MAX)
        max_message = CODEC_MESSAGE_MAX;

    int result = codec->ops->decode(codec, state, bytes, len, max_message, frame);
    if (result != CODEC_FRAME)
        return result;
    if (frame->total - frame->head - frame->tail > max_message)
        return -EMSGSIZE;
    /* A message of allowed length can still come in a frame that is not: a script may leave
     * out a head whose length the peer chose. */
    if (frame->total > max_message + CODEC_PEEK_MAX)
        return -EMSGSIZE;
    return CODEC_FRAME;
}

int codec_decode(const struct codec *codec, struct codec_state *state, const char *bytes,
                 size_t len, size_t max_message, struct codec_frame *frame)
{
    if (state->frame.total == 0) {
        int result = find_shape(codec, state, bytes, len, max_message, frame);
        if (result != CODEC_FRAME)
            return result;
        if (frame->total > len) {
            state->frame.total = (uint32_t)frame->total;
            state->frame.head = (uint32_t)frame->head;
            state->frame.tail = (uint32_t)frame->tail;
            return CODEC_MORE;
        }
    } else {
        if (state->frame.total > len)
            return CODEC_MORE;
        frame->total = state->frame.total;
        frame->head = state->frame.head;
        frame->tail = state->frame.tail;
    }
    return codec->ops->check ? codec->ops->check(bytes, frame) : CODEC_FRAME;
}

int codec_encode(const struct codec *codec, size_t message_len, struct codec_envelope *out)
{
    out->head_len = 0;
    out->tail = "";
    out->tail_len = 0;
    return codec->send_raw ? 0 : codec->ops->encode(codec, message_len, out);
}

size_t codec_missing(const struct codec_state *state, size_t len)
{
    return state->frame.total > len ? state->frame.total - len : 0;
}
