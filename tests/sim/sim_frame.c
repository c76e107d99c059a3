/* tests/sim/sim_frame.c - the framings of actor.lua from the other side.
 *
 * Decoding asks the reference of the codec's own tests, but for two framings that it does not
 * have: "raw", and "custom", which in actor.lua is [ length, one byte | message | '!' ]. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../unit/codec_reference.h"
#include "sim.h"

#define CUSTOM_MAX 200

static bool is(const struct codec *codec, const char *name)
{
    return strcmp(codec->ops->name, name) == 0;
}

static int decode_custom(const char *bytes, size_t len, size_t max_message,
                         struct codec_frame *frame)
{
    size_t message_len = (unsigned char)bytes[0];
    if (message_len > CUSTOM_MAX)
        return -EBADMSG;
    if (message_len > max_message)
        return -EMSGSIZE;
    *frame = (struct codec_frame){message_len + 2, 1, 1};
    return frame->total <= len ? CODEC_FRAME : CODEC_MORE;
}

int frame_decode(const struct codec *codec, const char *bytes, size_t len,
                 size_t max_message, struct codec_frame *frame)
{
    if (len == 0)
        return CODEC_MORE;
    if (is(codec, "custom"))
        return decode_custom(bytes, len, max_message, frame);
    if (!is(codec, "raw"))
        return reference_decode(codec, bytes, len, max_message, frame);
    *frame = (struct codec_frame){.total = len < max_message ? len : max_message};
    return CODEC_FRAME;
}

static void add(struct buf *out, const void *bytes, size_t len)
{
    SIM_CHECK(buf_append(out, bytes, len) == 0, "out of memory");
}

static void add_varint(struct buf *out, uint64_t value)
{
    for (; value > 127; value /= 128)
        add(out, &(unsigned char){(unsigned char)(128 + value % 128)}, 1);
    add(out, &(unsigned char){(unsigned char)value}, 1);
}

static bool add_field(const struct codec *codec, size_t len, struct buf *out)
{
    unsigned char field[8];
    unsigned count = codec->as.length.bytes;
    int64_t value = (int64_t)len - codec->as.length.adjust;
    if (value < 0)
        return false;
    if (count == CODEC_VARINT) {
        add_varint(out, (uint64_t)value);
        return true;
    }
    if (count < 8 && (uint64_t)value >= UINT64_C(1) << 8 * count)
        return false;
    for (unsigned i = 0; i < count; i++) {
        unsigned place = codec->as.length.endian == CODEC_BIG ? count - 1 - i : i;
        field[i] = (unsigned char)((uint64_t)value >> 8 * place);
    }
    add(out, field, count);
    return true;
}

bool frame_encode(const struct codec *codec, bool from_peer, const char *bytes, size_t len,
                  struct buf *out)
{
    char head[24];
    bool field = is(codec, "length") && (from_peer || codec->as.length.strip != 0);
    if (is(codec, "fixed") && len != codec->as.fixed.len)
        return false;
    if (is(codec, "custom")) {
        if (len > CUSTOM_MAX)
            return false;
        add(out, &(unsigned char){(unsigned char)len}, 1);
    } else if (is(codec, "netstring")) {
        add(out, head, (size_t)snprintf(head, sizeof head, "%zu:", len));
    } else if (field && !add_field(codec, len, out)) {
        return false;
    }
    add(out, bytes, len);
    if (is(codec, "custom"))
        add(out, "!", 1);
    else if (is(codec, "netstring"))
        add(out, ",", 1);
    else if (is(codec, "line") && from_peer)
        add(out, "\r\n" + len % 2, 2 - len % 2);
    else if (is(codec, "line"))
        add(out, codec->as.line.eol, codec->as.line.eol_len);
    else if (is(codec, "delimiter"))
        add(out, codec->as.delimiter.bytes, codec->as.delimiter.len);
    return true;
}

void frame_message(struct dice *dice, const struct codec *codec, size_t most,
                   struct buf *out)
{
    static const char letters[] = "cdefghijklmnopqrstuvwxyz0123456789.-";
    size_t len = dice_below(dice, 20) ? dice_len(dice, most) : 0;
    if (is(codec, "fixed"))
        len = codec->as.fixed.len;
    else if (is(codec, "raw") && len == 0)
        len = 1;
    else if (is(codec, "custom") && len > CUSTOM_MAX)
        len %= CUSTOM_MAX;
    SIM_CHECK(buf_reserve(out, len + 1) == 0, "out of memory");
    uint64_t bits = 0;
    for (size_t i = 0; i < len; i++) {
        if (i % 8 == 0)
            bits = dice_roll(dice);
        *buf_tail(out) = letters[bits % (sizeof letters - 1)];
        buf_commit(out, 1);
        bits >>= 8;
    }
}
