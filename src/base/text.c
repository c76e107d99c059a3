/* base/text.c - small questions about text. */
#include "base/text.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/macros.h"

#define NEAREST_WORD_MAX 64 /* longer words have no suggestion: the work is their square */

static int size_shift(char suffix)
{
    switch (suffix) {
    case 'K':
    case 'k':
        return 10;
    case 'M':
    case 'm':
        return 20;
    case 'G':
    case 'g':
        return 30;
    default:
        return -1;
    }
}

int text_parse_size(const char *text, uint64_t *size)
{
    const char *at = text;
    uint64_t value = 0;
    bool fits = true;
    int shift = 0;

    for (; *at >= '0' && *at <= '9'; at++) {
        fits = fits && !__builtin_mul_overflow(value, UINT64_C(10), &value) &&
               !__builtin_add_overflow(value, (uint64_t)(*at - '0'), &value);
    }
    if (at == text)
        return -EINVAL;
    if (*at) {
        shift = size_shift(*at++);
        if (shift < 0 || *at)
            return -EINVAL;
    }
    if (!fits || value > UINT64_MAX >> shift)
        return -ERANGE;
    *size = value << shift;
    return 0;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Edit distance in which a swap of neighbours costs one (optimal string alignment). Only three
 * rows of the matrix are held: a swap looks back two. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t rows[3][NEAREST_WORD_MAX + 1];

    for (size_t j = 0; j <= b_len; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t replaced = above[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = least(replaced, least(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], above2[j - 2] + 1);
        }
    }
    return rows[a_len % 3][b_len];
}

const char *text_nearest(const char *word, const char *const *names, size_t count)
{
    const char *nearest = NULL;
    size_t len = strnlen(word, NEAREST_WORD_MAX + 1);

    if (len == 0 || len > NEAREST_WORD_MAX)
        return NULL;
    size_t bound = (len < 6 ? 1 : len / 3) + 1;
    for (size_t i = 0; i < count; i++) {
        size_t name_len = names[i] ? strnlen(names[i], NEAREST_WORD_MAX + 1) : 0;
        if (name_len == 0 || name_len > NEAREST_WORD_MAX)
            continue;
        size_t found = distance(word, len, names[i], name_len);
        if (found < bound) {
            bound = found;
            nearest = names[i];
        }
    }
    return nearest;
}

static int escape_byte(struct buf *out, unsigned char byte)
{
    switch (byte) {
    case '\n':
        return buf_append(out, "\\n", 2);
    case '\r':
        return buf_append(out, "\\r", 2);
    case '\t':
        return buf_append(out, "\\t", 2);
    case '\\':
        return buf_append(out, "\\\\", 2);
    default:
        return buf_printf(out, "\\x%02x", byte);
    }
}

static int escape_log(struct buf *out, const char *bytes, size_t len)
{
    int err = 0;

    for (size_t i = 0, plain; i < len && !err;) {
        for (plain = i;
             i < len && bytes[i] >= 0x20 && bytes[i] <= 0x7e && bytes[i] != '\\';)
            i++;
        err = buf_append(out, bytes + plain, i - plain);
        if (!err && i < len)
            err = escape_byte(out, (unsigned char)bytes[i++]);
    }
    return err;
}

static bool is_continuation(unsigned char byte)
{
    return (byte & 0xc0) == 0x80;
}

/* How many bytes the well-formed UTF-8 sequence at the front has (RFC 3629: shortest form, no
 * surrogates, at most U+10FFFF), and its code point; 0 when there is none. */
static size_t utf8_decode(const unsigned char *at, size_t len, uint32_t *point)
{
    if (at[0] < 0x80) {
        *point = at[0];
        return 1;
    }
    size_t need = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    if (at[0] < 0xc2 || at[0] > 0xf4 || need > len)
        return 0;
    *point = at[0] & (0x7fU >> need);
    for (size_t i = 1; i < need; i++) {
        if (!is_continuation(at[i]))
            return 0;
        *point = *point << 6 | (at[i] & 0x3fU);
    }
    bool is_shortest = need == 2 || (need == 3 ? *point >= 0x800 : *point >= 0x10000);
    bool is_surrogate = *point >= 0xd800 && *point <= 0xdfff;
    return is_shortest && !is_surrogate && *point <= 0x10ffff ? need : 0;
}

/* More than RFC 8259 asks for: DEL and C1 can steer a terminal, U+2028 and U+2029 end a line
 * for some readers. */
static bool is_json_plain(uint32_t point)
{
    return point >= 0x20 && point != '"' && point != '\\' &&
           !(point >= 0x7f && point <= 0x9f) && point != 0x2028 && point != 0x2029;
}

static int escape_point(struct buf *out, uint32_t point)
{
    static const char controls[] = "\bb\ff\nn\rr\tt\"\"\\\\";

    for (size_t i = 0; i + 1 < sizeof controls; i += 2) {
        if (point == (unsigned char)controls[i])
            return buf_printf(out, "\\%c", controls[i + 1]);
    }
    return buf_printf(out, "\\u%04x", (unsigned)point);
}

static int escape_json(struct buf *out, const char *bytes, size_t len)
{
    const unsigned char *at = (const unsigned char *)bytes;
    int err = 0;

    for (size_t i = 0; i < len && !err;) {
        size_t plain = i, size = 1;
        uint32_t point = 0;
        for (; i < len; i += size) {
            size = utf8_decode(at + i, len - i, &point);
            if (size == 0 || !is_json_plain(point))
                break;
        }
        err = buf_append(out, bytes + plain, i - plain);
        if (err || i == len)
            break;
        err = size > 0 ? escape_point(out, point) : buf_append(out, "\xef\xbf\xbd", 3);
        i += size > 0 ? size : 1;
    }
    return err;
}

int text_escape(struct buf *out, enum text_escape how, const char *bytes, size_t len)
{
    size_t before = buf_len(out);
    int err =
        how == TEXT_ESCAPE_LOG ? escape_log(out, bytes, len) : escape_json(out, bytes, len);
    if (err)
        out->end = out->start + before;
    return err;
}
