/* codec/netstring.c - framing "netstring": "5:hello,".
 *
 *     bytes    [ digits : | message | , ]
 *
 * The digits have no leading zero, so a value over the limit can only grow with more of them:
 * reading stops there, and a head is never longer than the limit has digits. */
#include <errno.h>

#include "codec/codec.h"

static int netstring_decode(const struct codec *codec, struct codec_state *state,
                            const char *bytes, size_t len, size_t max_message,
                            struct codec_frame *frame)
{
    (void)codec;
    (void)state;
    uint64_t value = 0;
    size_t digit_count = 0;
    while (digit_count < len && bytes[digit_count] >= '0' && bytes[digit_count] <= '9') {
        if (digit_count > 0 && bytes[0] == '0')
            return -EBADMSG;
        value = value * 10 + (uint64_t)(bytes[digit_count] - '0');
        if (value > max_message)
            return -EMSGSIZE;
        digit_count++;
    }
    if (digit_count == len)
        return CODEC_MORE;
    if (digit_count == 0 || bytes[digit_count] != ':')
        return -EBADMSG;

    frame->head = digit_count + 1;
    frame->tail = 1;
    frame->total = frame->head + (size_t)value + frame->tail;
    return CODEC_FRAME;
}

static int netstring_check(const char *bytes, const struct codec_frame *frame)
{
    return bytes[frame->total - 1] == ',' ? CODEC_FRAME : -EBADMSG;
}

static size_t write_decimal(char *out, size_t value)
{
    size_t count = 1;
    for (size_t rest = value / 10; rest > 0; rest /= 10)
        count++;
    for (size_t at = count; at > 0; at--) {
        out[at - 1] = (char)('0' + value % 10);
        value /= 10;
    }
    return count;
}

static int netstring_encode(const struct codec *codec, size_t message_len,
                            struct codec_envelope *out)
{
    (void)codec;
    out->head_len = write_decimal(out->head, message_len);
    out->head[out->head_len++] = ':';
    out->tail = ",";
    out->tail_len = 1;
    return 0;
}

static const struct codec_ops netstring_ops = {
    .name = "netstring",
    .decode = netstring_decode,
    .check = netstring_check,
    .encode = netstring_encode,
};

void codec_init_netstring(struct codec *codec)
{
    *codec = (struct codec){.ops = &netstring_ops};
}
