/* base/text.h - small questions about text: sizes, suggestions, escapes. */
#ifndef NEAP_BASE_TEXT_H
#define NEAP_BASE_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* Reads a size: digits with an optional K, M or G (powers of 1024, either case).
 * 0, -EINVAL (not a size) or -ERANGE (does not fit). */
MUST_CHECK int text_parse_size(const char *text, uint64_t *size);

/* The name nearest to `word`, for "did you mean": within an edit distance (adjacent swaps
 * count one) of a third of its length, at least 1; NULL when none is near. `names` has
 * `count` entries; NULL entries are passed over. */
const char *text_nearest(const char *word, const char *const *names, size_t count);

enum text_escape {
    TEXT_ESCAPE_LOG, /* printable ASCII but backslash; the rest as \n \r \t \\ \xNN */
    TEXT_ESCAPE_JSON, /* the inside of a JSON string (RFC 8259); valid UTF-8 passes, any other
                         byte becomes U+FFFD */
};

/* Appends `len` bytes of anything so that they are safe there: for TEXT_ESCAPE_LOG only bytes
 * 0x20..0x7e come out. 0 or -ENOMEM. */
MUST_CHECK int text_escape(struct buf *out, enum text_escape how, const char *bytes,
                           size_t len);

#endif
