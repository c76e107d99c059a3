/* codec/raw.c - framing "raw": a message is whatever one read brought, cut at max_message. */
#include <errno.h>

#include "codec/codec.h"

static int raw_decode(const struct codec *codec, struct codec_state *state,
                      const char *bytes, size_t len, size_t max_message,
                      struct codec_frame *frame)
{
    (void)codec;
    (void)state;
    (void)bytes;
    /* A limit of 0 would make frames of no bytes, which a reader would find for ever. */
    if (max_message == 0)
        return -EMSGSIZE;
    *frame = (struct codec_frame){.total = len < max_message ? len : max_message};
    return CODEC_FRAME;
}

static int raw_encode(const struct codec *codec, size_t message_len,
                      struct codec_envelope *out)
{
    (void)codec;
    (void)message_len;
    (void)out;
    return 0;
}

static const struct codec_ops raw_ops = {
    .name = "raw",
    .decode = raw_decode,
    .encode = raw_encode,
};

void codec_init_raw(struct codec *codec)
{
    *codec = (struct codec){.ops = &raw_ops};
}
