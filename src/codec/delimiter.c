/* codec/delimiter.c - framing "delimiter": a message ends at a given run of 1 to 64 bytes.
 *
 *     bytes    [ message | \r \n ]      state->scanned: no delimiter ends before here
 *                             ^ searched for
 *
 * The search goes for the last byte of the delimiter and then looks back. So a delimiter that
 * is cut by a read needs no memory of the half seen, one that overlaps itself ("aab" in
 * "aaab") is found like any other, and no byte is searched twice. */
#include <errno.h>
#include <string.h>

#include "codec/codec.h"

static const char *find_end(const char *delimiter, size_t delimiter_len, const char *bytes,
                            size_t from, size_t len)
{
    const char last = delimiter[delimiter_len - 1];
    size_t before = delimiter_len - 1;
    size_t at = from > before ? from : before;

    while (at < len) {
        const char *end = memchr(bytes + at, last, len - at);
        if (!end)
            return NULL;
        if (memcmp(end - before, delimiter, before) == 0)
            return end + 1;
        at = (size_t)(end - bytes) + 1;
    }
    return NULL;
}

/* Without a whole delimiter in these bytes: may what follows still complete one that begins
 * within the limit? */
static bool delimiter_may_end(const char *delimiter, size_t delimiter_len,
                              const char *bytes, size_t len, size_t max_message)
{
    if (len <= max_message)
        return true;
    size_t start = len >= delimiter_len ? len - delimiter_len + 1 : 0;
    for (; start <= max_message; start++) {
        if (memcmp(bytes + start, delimiter, len - start) == 0)
            return true;
    }
    return false;
}

static int delimiter_decode(const struct codec *codec, struct codec_state *state,
                            const char *bytes, size_t len, size_t max_message,
                            struct codec_frame *frame)
{
    const char *delimiter = codec->as.delimiter.bytes;
    size_t delimiter_len = codec->as.delimiter.len;

    const char *end = find_end(delimiter, delimiter_len, bytes, state->scanned, len);
    if (!end) {
        if (!delimiter_may_end(delimiter, delimiter_len, bytes, len, max_message))
            return -EMSGSIZE;
        state->scanned = (uint32_t)len;
        return CODEC_MORE;
    }
    frame->total = (size_t)(end - bytes);
    frame->head = 0;
    frame->tail = delimiter_len;
    return CODEC_FRAME;
}

static int delimiter_encode(const struct codec *codec, size_t message_len,
                            struct codec_envelope *out)
{
    (void)message_len;
    out->tail = codec->as.delimiter.bytes;
    out->tail_len = codec->as.delimiter.len;
    return 0;
}

static const struct codec_ops delimiter_ops = {
    .name = "delimiter",
    .decode = delimiter_decode,
    .encode = delimiter_encode,
};

int codec_init_delimiter(struct codec *codec, const char *bytes, size_t len,
                         const char **why)
{
    if (len == 0 || len > CODEC_DELIMITER_MAX) {
        *why = "delimiter: must be 1 to 64 bytes";
        return -EINVAL;
    }
    *codec = (struct codec){.ops = &delimiter_ops};
    memcpy(codec->as.delimiter.bytes, bytes, len);
    codec->as.delimiter.len = len;
    return 0;
}
