/* server/control_message.h - one request checked, one answer written; no sockets.
 *
 * What:   what control.c does with the text of lines. Thread: any.
 * Errors: 0 or a negative errno; after one of writing, the buffer is as before. */
#ifndef NEAP_SERVER_CONTROL_MESSAGE_H
#define NEAP_SERVER_CONTROL_MESSAGE_H

#include <stddef.h>

#include <jansson.h>

#include "base/buf.h"
#include "base/macros.h"
#include "server/control.h"

#define MESSAGE_WHY_MAX 512

/* Every row has a name of its own, one right and a function; both tables are of a size that
 * suggestions look through. Breaks off the program otherwise. */
void message_require_commands(const struct control_command *commands);

/* The row that a request means, its arguments checked; NULL with a sentence in `why`. */
const struct control_command *message_find(const struct control_command *commands,
                                           const json_t *request,
                                           char why[MESSAGE_WHY_MAX]);

/* Appends the line of an answer. -ENOMEM, or -EMSGSIZE: over CONTROL_ANSWER_MAX. `id` may be
 * NULL. */
MUST_CHECK int message_write_answer(struct buf *out, const json_t *id,
                                    const json_t *answer);

/* Appends the line of a failure; of `text` at most its first 64 KiB. */
MUST_CHECK int message_write_failure(struct buf *out, const json_t *id, int status,
                                     const char *code, const char *text);

#endif
