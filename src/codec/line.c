/* codec/line.c - framing "line": a message ends at '\n', and a '\r' right before that is no
 * part of it.
 *
 *     bytes    [ message \r \n ]        state->scanned: no '\n' before here
 *
 * Decoding is on the path of every message: one memchr and nothing besides. */
#include <errno.h>
#include <string.h>

#include "codec/codec.h"

/* Without a '\n' in these bytes: may one that follows still end a message within the limit? */
static bool line_may_end(const char *bytes, size_t len, size_t max_message)
{
    return len <= max_message || (len == max_message + 1 && bytes[max_message] == '\r');
}

static int line_decode(const struct codec *codec, struct codec_state *state,
                       const char *bytes, size_t len, size_t max_message,
                       struct codec_frame *frame)
{
    (void)codec;
    const char *end = memchr(bytes + state->scanned, '\n', len - state->scanned);
    if (!end) {
        if (!line_may_end(bytes, len, max_message))
            return -EMSGSIZE;
        state->scanned = (uint32_t)len;
        return CODEC_MORE;
    }
    frame->total = (size_t)(end - bytes) + 1;
    frame->head = 0;
    frame->tail = end > bytes && end[-1] == '\r' ? 2 : 1;
    return CODEC_FRAME;
}

static int line_encode(const struct codec *codec, size_t message_len,
                       struct codec_envelope *out)
{
    (void)message_len;
    out->tail = codec->as.line.eol;
    out->tail_len = codec->as.line.eol_len;
    return 0;
}

static const struct codec_ops line_ops = {
    .name = "line",
    .decode = line_decode,
    .encode = line_encode,
};

int codec_init_line(struct codec *codec, const char *eol, size_t eol_len, const char **why)
{
    if (eol_len == 0 || eol_len > CODEC_DELIMITER_MAX) {
        *why = "line: eol must be 1 to 64 bytes";
        return -EINVAL;
    }
    *codec = (struct codec){.ops = &line_ops};
    memcpy(codec->as.line.eol, eol, eol_len);
    codec->as.line.eol_len = eol_len;
    return 0;
}
