/* codec/length.c - framing "length": a field near the start says how many bytes follow it.
 *
 *     bytes    [ offset | field | value + adjust bytes ]
 *              <-- strip ------>  <- the message, when strip is the field's end
 *
 * The field is 1 to 8 bytes of either order, or an unsigned LEB128 of at most 10. Its value is
 * the peer's word: it is compared with limits before anything is added to it. */
#include <errno.h>

#include "base/require.h"
#include "codec/codec.h"

#define VARINT_MAX 10

/* `adjust` without its sign; right for INT64_MIN too. */
static uint64_t magnitude(int64_t adjust)
{
    return adjust < 0 ? 0 - (uint64_t)adjust : (uint64_t)adjust;
}

static uint64_t read_number(const char *bytes, unsigned count, enum codec_endian endian)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < count; i++) {
        unsigned at = endian == CODEC_BIG ? i : count - 1 - i;
        value = value << 8 | (unsigned char)bytes[at];
    }
    return value;
}

static void write_number(char *bytes, unsigned count, enum codec_endian endian,
                         uint64_t value)
{
    for (unsigned i = 0; i < count; i++) {
        unsigned at = endian == CODEC_LITTLE ? i : count - 1 - i;
        bytes[at] = (char)(unsigned char)value;
        value >>= 8;
    }
}

/* The bytes of the varint at the start, 0 if it is not whole, -EBADMSG if it cannot become a
 * number of 64 bits. */
static int read_varint(const char *bytes, size_t len, uint64_t *value)
{
    uint64_t sum = 0;
    for (int i = 0; i < VARINT_MAX && (size_t)i < len; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        /* Nine bytes carry 63 bits: the tenth has room for one, and none may follow. */
        if (i == VARINT_MAX - 1 && byte > 1)
            return -EBADMSG;
        sum |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (!(byte & 0x80)) {
            *value = sum;
            return i + 1;
        }
    }
    return 0;
}

static size_t write_varint(char *bytes, uint64_t value)
{
    size_t count = 0;
    while (value >= 0x80) {
        bytes[count++] = (char)(unsigned char)(value | 0x80);
        value >>= 7;
    }
    bytes[count++] = (char)value;
    return count;
}

/* Reads the field; as read_varint does. */
static int read_field(const struct codec *codec, const char *bytes, size_t len,
                      uint64_t *value)
{
    size_t offset = codec->as.length.offset;
    unsigned count = codec->as.length.bytes;
    if (len <= offset)
        return 0;
    if (count == CODEC_VARINT)
        return read_varint(bytes + offset, len - offset, value);
    if (len - offset < count)
        return 0;
    *value = read_number(bytes + offset, count, codec->as.length.endian);
    return (int)count;
}

static int length_decode(const struct codec *codec, struct codec_state *state,
                         const char *bytes, size_t len, size_t max_message,
                         struct codec_frame *frame)
{
    (void)state;
    (void)max_message;
    uint64_t value = 0;
    int field_len = read_field(codec, bytes, len, &value);
    if (field_len <= 0)
        return field_len < 0 ? field_len : CODEC_MORE;

    uint64_t distance = magnitude(codec->as.length.adjust);
    if (codec->as.length.adjust < 0) {
        if (value < distance)
            return -EBADMSG;
        value -= distance;
    } else {
        if (value > UINT64_MAX - distance)
            return -EMSGSIZE;
        value += distance;
    }
    /* Before adding: what strip takes is at most CODEC_PEEK_MAX, so this is too long in any
     * case, and what passes cannot overflow. */
    if (value > (uint64_t)CODEC_MESSAGE_MAX + CODEC_PEEK_MAX)
        return -EMSGSIZE;

    size_t strip = codec->as.length.strip;
    size_t field_end = codec->as.length.offset + (size_t)field_len;
    frame->total = field_end + (size_t)value;
    frame->head = strip == CODEC_STRIP_FIELD ? field_end : strip;
    frame->tail = 0;
    return frame->head > frame->total ? -EBADMSG : CODEC_FRAME;
}

static int length_encode(const struct codec *codec, size_t message_len,
                         struct codec_envelope *out)
{
    if (codec->as.length.strip == 0)
        return 0;

    uint64_t value = message_len;
    uint64_t distance = magnitude(codec->as.length.adjust);
    if (codec->as.length.adjust < 0) {
        if (value > UINT64_MAX - distance)
            return -EMSGSIZE;
        value += distance;
    } else {
        if (value < distance)
            return -EMSGSIZE;
        value -= distance;
    }

    unsigned count = codec->as.length.bytes;
    if (count == CODEC_VARINT) {
        out->head_len = write_varint(out->head, value);
        return 0;
    }
    if (count < 8 && value >> (8 * count) != 0)
        return -EMSGSIZE;
    write_number(out->head, count, codec->as.length.endian, value);
    out->head_len = count;
    return 0;
}

static const struct codec_ops length_ops = {
    .name = "length",
    .decode = length_decode,
    .encode = length_encode,
};

/* The field's end, where that is the same in every frame; 0 for a varint. */
static size_t fixed_field_end(const struct codec_length_spec *spec)
{
    return spec->bytes == CODEC_VARINT ? 0 : spec->offset + spec->bytes;
}

static const char *spec_fault(const struct codec_length_spec *spec, size_t strip)
{
    if (spec->bytes > 8)
        return "length: bytes must be 1 to 8 or \"varint\"";
    if (spec->offset > CODEC_PEEK_MAX - VARINT_MAX)
        return "length: offset must be at most 4086";
    if (strip != CODEC_STRIP_FIELD && strip > CODEC_PEEK_MAX)
        return "length: strip must be at most 4096";
    if (spec->send_raw || strip == 0)
        return NULL;
    if (spec->offset != 0)
        return "length: with an offset, strip must be 0 or send = \"raw\"";
    if (strip != CODEC_STRIP_FIELD)
        return "length: strip must be 0 or the length field, or send = \"raw\"";
    return NULL;
}

int codec_init_length(struct codec *codec, const struct codec_length_spec *spec,
                      const char **why)
{
    REQUIRE(spec->endian == CODEC_BIG || spec->endian == CODEC_LITTLE);
    size_t strip = spec->strip;
    if (strip != 0 && strip == fixed_field_end(spec))
        strip = CODEC_STRIP_FIELD;

    const char *fault = spec_fault(spec, strip);
    if (fault) {
        *why = fault;
        return -EINVAL;
    }
    *codec = (struct codec){.ops = &length_ops, .send_raw = spec->send_raw};
    codec->as.length.bytes = spec->bytes;
    codec->as.length.endian = spec->endian;
    codec->as.length.offset = spec->offset;
    codec->as.length.adjust = spec->adjust;
    codec->as.length.strip = strip;
    return 0;
}
