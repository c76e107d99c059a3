/* codec/fixed.c - framing "fixed": every message has the same length. */
#include <errno.h>

#include "codec/codec.h"

static int fixed_decode(const struct codec *codec, struct codec_state *state,
                        const char *bytes, size_t len, size_t max_message,
                        struct codec_frame *frame)
{
    (void)state;
    (void)bytes;
    (void)len;
    (void)max_message;
    *frame = (struct codec_frame){.total = codec->as.fixed.len};
    return CODEC_FRAME;
}

static int fixed_encode(const struct codec *codec, size_t message_len,
                        struct codec_envelope *out)
{
    (void)out;
    return message_len == codec->as.fixed.len ? 0 : -EMSGSIZE;
}

static const struct codec_ops fixed_ops = {
    .name = "fixed",
    .decode = fixed_decode,
    .encode = fixed_encode,
};

int codec_init_fixed(struct codec *codec, size_t len, const char **why)
{
    if (len == 0 || len > CODEC_MESSAGE_MAX) {
        *why = "fixed: the length must be 1 byte to 1 GiB";
        return -EINVAL;
    }
    *codec = (struct codec){.ops = &fixed_ops};
    codec->as.fixed.len = len;
    return 0;
}
