/* tests/unit/codec_reference.c - framings once more, see the header. */
#include "codec_reference.h"

#include <check.h>
#include <errno.h>
#include <string.h>

/* Wide enough for any sum of 64-bit numbers. */
typedef __int128 wide;

static int frame_of(wide total, wide head, wide tail, size_t len, size_t max_message,
                    struct codec_frame *frame)
{
    if (total <= 0 || head + tail > total)
        return -EBADMSG;
    if (total - head - tail > (wide)max_message)
        return -EMSGSIZE;
    if (total > (wide)max_message + CODEC_PEEK_MAX)
        return -EMSGSIZE;
    if (total > (wide)len)
        return CODEC_MORE;
    *frame = (struct codec_frame){(size_t)total, (size_t)head, (size_t)tail};
    return CODEC_FRAME;
}

static int reference_line(const char *bytes, size_t len, size_t max_message,
                          struct codec_frame *frame)
{
    size_t end = 0;
    while (end < len && bytes[end] != '\n')
        end++;
    size_t shortest = end > 0 && bytes[end - 1] == '\r' ? end - 1 : end;
    if (shortest > max_message)
        return -EMSGSIZE;
    if (end == len)
        return CODEC_MORE;
    *frame = (struct codec_frame){end + 1, 0, end + 1 - shortest};
    return CODEC_FRAME;
}

static int reference_delimiter(const struct codec *codec, const char *bytes, size_t len,
                               size_t max_message, struct codec_frame *frame)
{
    const char *delimiter = codec->as.delimiter.bytes;
    size_t delimiter_len = codec->as.delimiter.len;
    for (size_t start = 0; start < len; start++) {
        size_t seen = len - start < delimiter_len ? len - start : delimiter_len;
        if (memcmp(bytes + start, delimiter, seen) != 0)
            continue;
        if (start > max_message)
            return -EMSGSIZE;
        if (seen < delimiter_len)
            return CODEC_MORE;
        *frame = (struct codec_frame){start + delimiter_len, 0, delimiter_len};
        return CODEC_FRAME;
    }
    return len > max_message ? -EMSGSIZE : CODEC_MORE;
}

static int reference_varint(const char *bytes, size_t len, wide *value)
{
    *value = 0;
    for (int i = 0; i < 10; i++) {
        if ((size_t)i == len)
            return 0;
        wide digit = (unsigned char)bytes[i] & 0x7f;
        *value += digit << (7 * i);
        if (*value > (wide)UINT64_MAX)
            return -EBADMSG;
        if ((unsigned char)bytes[i] < 0x80)
            return i + 1;
    }
    return -EBADMSG;
}

static int reference_length(const struct codec *codec, const char *bytes, size_t len,
                            size_t max_message, struct codec_frame *frame)
{
    size_t offset = codec->as.length.offset;
    int field_len = (int)codec->as.length.bytes;
    wide value = 0;
    if (len < offset)
        return CODEC_MORE;
    if (field_len == CODEC_VARINT) {
        field_len = reference_varint(bytes + offset, len - offset, &value);
        if (field_len <= 0)
            return field_len;
    } else if (len < offset + (size_t)field_len) {
        return CODEC_MORE;
    } else if (codec->as.length.endian == CODEC_BIG) {
        for (int i = 0; i < field_len; i++)
            value = value * 256 + (unsigned char)bytes[offset + (size_t)i];
    } else {
        for (int i = field_len; i > 0; i--)
            value = value * 256 + (unsigned char)bytes[offset + (size_t)i - 1];
    }
    wide follow = value + codec->as.length.adjust;
    if (follow < 0)
        return -EBADMSG;
    wide field_end = (wide)offset + field_len;
    size_t strip = codec->as.length.strip;
    return frame_of(field_end + follow,
                    strip == CODEC_STRIP_FIELD ? field_end : (wide)strip, 0, len,
                    max_message, frame);
}

static int reference_netstring(const char *bytes, size_t len, size_t max_message,
                               struct codec_frame *frame)
{
    wide value = 0;
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] == ':' && i > 0) {
            wide head = (wide)i + 1;
            int result = frame_of(head + value + 1, head, 1, len, max_message, frame);
            if (result == CODEC_FRAME && bytes[head + value] != ',')
                return -EBADMSG;
            return result;
        }
        if (!strchr("0123456789", bytes[i]) || bytes[i] == '\0' || (i > 0 && value == 0))
            return -EBADMSG;
        value = value * 10 + (bytes[i] - '0');
        if (value > (wide)max_message)
            return -EMSGSIZE;
    }
    return CODEC_MORE;
}

static int reference_custom(const struct codec *codec, const char *bytes, size_t len,
                            size_t max_message, struct codec_frame *frame)
{
    size_t peek = codec->as.custom.peek;
    struct codec_frame said = {0};
    size_t shown = len < peek ? len : peek;
    int result = codec->as.custom.decode(codec->context, bytes, shown, &said);
    if (result < 0)
        return result;
    if (result == CODEC_MORE)
        return len < peek ? CODEC_MORE : -EBADMSG;
    return frame_of((wide)said.total, (wide)said.head, (wide)said.tail, len, max_message,
                    frame);
}

int reference_decode(const struct codec *codec, const char *bytes, size_t len,
                     size_t max_message, struct codec_frame *frame)
{
    const char *name = codec->ops->name;
    if (strcmp(name, "line") == 0)
        return reference_line(bytes, len, max_message, frame);
    if (strcmp(name, "delimiter") == 0)
        return reference_delimiter(codec, bytes, len, max_message, frame);
    if (strcmp(name, "fixed") == 0)
        return frame_of((wide)codec->as.fixed.len, 0, 0, len, max_message, frame);
    if (strcmp(name, "length") == 0)
        return reference_length(codec, bytes, len, max_message, frame);
    if (strcmp(name, "netstring") == 0)
        return reference_netstring(bytes, len, max_message, frame);
    ck_assert_str_eq(name, "custom");
    return reference_custom(codec, bytes, len, max_message, frame);
}
