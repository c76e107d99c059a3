/* base/require.c - how a broken invariant ends the process.
 *
 * stdio is avoided: its locks and buffers may be what is broken. */
#include "base/require.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Noreturn void require_failed(const char *condition, const char *file, int line)
{
    char text[512];
    int len = snprintf(text, sizeof text, "neap: broken invariant: %s (%s:%d)\n", condition,
                       file, line);
    if (len >= (int)sizeof text)
        len = (int)sizeof text - 1;
    if (len > 0 && write(STDERR_FILENO, text, (size_t)len) < 0)
        abort();
    abort();
}
