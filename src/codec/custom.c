/* codec/custom.c - framing "custom": a script says where a frame ends, from its first bytes.
 *
 *     bytes    [ peek                   ]         the most that is shown
 *              [ head | message | tail              ]
 *
 * The script is asked again only when there is something new to see. Its answer depends on
 * what a peer sent, so it is checked like input. */
#include <errno.h>

#include "base/require.h"
#include "codec/codec.h"

static bool shape_is_valid(const struct codec_frame *frame)
{
    return frame->total != 0 && frame->head <= frame->total &&
           frame->tail <= frame->total - frame->head;
}

static int custom_decode(const struct codec *codec, struct codec_state *state,
                         const char *bytes, size_t len, size_t max_message,
                         struct codec_frame *frame)
{
    (void)max_message;
    size_t peek = codec->as.custom.peek;
    size_t shown = len < peek ? len : peek;
    if (shown == state->scanned)
        return CODEC_MORE;

    struct codec_frame answer = {0};
    int result = codec->as.custom.decode(codec->context, bytes, shown, &answer);
    if (result < 0)
        return result;
    if (result == CODEC_MORE) {
        if (shown == peek)
            return -EBADMSG;
        state->scanned = (uint32_t)shown;
        return CODEC_MORE;
    }
    *frame = answer;
    return shape_is_valid(frame) ? CODEC_FRAME : -EBADMSG;
}

static int custom_encode(const struct codec *codec, size_t message_len,
                         struct codec_envelope *out)
{
    (void)codec;
    (void)message_len;
    (void)out;
    return 0;
}

static const struct codec_ops custom_ops = {
    .name = "custom",
    .decode = custom_decode,
    .encode = custom_encode,
};

int codec_init_custom(struct codec *codec, codec_custom_fn decode, void *context,
                      size_t peek, const char **why)
{
    REQUIRE(decode);
    if (peek == 0 || peek > CODEC_PEEK_MAX) {
        *why = "custom: peek must be 1 to 4096 bytes";
        return -EINVAL;
    }
    *codec = (struct codec){.ops = &custom_ops, .context = context};
    codec->as.custom.decode = decode;
    codec->as.custom.peek = peek;
    return 0;
}
