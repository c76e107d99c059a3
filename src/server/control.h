/* server/control.h - the control socket: who may talk to a running server, and how.
 *
 *     client ──{"command":"reload","id":1}\n──> line ─> JSON ─> rights ─> arguments ─> run
 *     client <──{"ok":true,"id":1,...}\n─────── control_answer, at once or much later
 *
 * What:   a Unix socket on which each line is a JSON object. It checks what can be checked from
 *         a table (commands, rights, arguments) and hands the rest to the table's functions.
 * Owns:   the socket and its file, clients, their lines. Borrows: the loop and the table.
 * Thread: main; commands run on it and must not block.
 * Life:   control_open() .. control_close(), neither from within a command.
 * Bounds: clients, the length of a line, unanswered requests and queued output of a client;
 *         one that does not read its answers is not read from either.
 * Errors: a client's mistake is an answer with "ok":false, and the connection stays open. */
#ifndef NEAP_SERVER_CONTROL_H
#define NEAP_SERVER_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <jansson.h>

#include "base/log.h"
#include "base/macros.h"
#include "server/control_path.h"

struct control;
struct control_request; /* one that was received and is not answered */
struct loop;

#define CONTROL_CLIENTS_MAX 64
#define CONTROL_UNANSWERED_MAX 16      /* of one client; then it is not read from */
#define CONTROL_LINE_MAX (1U << 20)    /* bytes of a request */
#define CONTROL_ANSWER_MAX (16U << 20) /* of an answer */
#define CONTROL_OUTPUT_MAX (32U << 20) /* queued for one client; then it is closed */
#define CONTROL_COMMANDS_MAX 32        /* rows of a table */

/* Bits, and none of them 0: a row that forgot its right has none that can be granted. */
enum control_right {
    CONTROL_VIEW = 1,    /* read what is */
    CONTROL_OPERATE = 2, /* change what is served */
    CONTROL_SCRIPT = 4,  /* run code */
};

enum control_type { CONTROL_TEXT, CONTROL_INTEGER, CONTROL_BOOLEAN };

struct control_argument {
    const char *name;
    enum control_type type;
    bool required;
};

/* `arguments` is the whole request, checked against the command's row, and borrowed for the
 * call. Every request must be answered exactly once, by control_answer or control_fail: within
 * the call or later, also when the control socket has been closed meanwhile. */
typedef void (*control_fn)(void *owner, struct control_request *request, json_t *arguments);

struct control_command {
    const char *name;
    enum control_right right;
    control_fn run;
    const struct control_argument *arguments; /* ends with a NULL name; NULL: none */
};

struct control_config {
    const char *name;                       /* of the server */
    const struct control_command *commands; /* ends with a NULL name; outlives the socket */
    void *owner;
    /* What the people who run the server should know of. */
    void (*log)(void *owner, enum log_level level, const char *text);
};

/* Makes the socket and watches it. 0, or a negative errno with a sentence in `why`. */
MUST_CHECK int control_open(struct control **control, struct loop *loop,
                            const struct control_config *config, char why[CONTROL_WHY_MAX]);

/* Removes the socket's file if it is still ours, sends what there is of answers already given,
 * for at most 200 ms, and closes all. NULL is allowed. */
void control_close(struct control *control);

/* Where it listens. */
const char *control_socket_path(const struct control *control);

/* Answers with `answer`, an object whose reference is taken; "ok" and the request's "id" are
 * added. NULL (no memory to make one, or text that is not UTF-8) is answered as a failure.
 * Sends nothing yet; runs no command; may log. A client that has gone is no error. */
void control_answer(struct control_request *request, json_t *answer);

/* Answers that it failed: the exit status for the command line, a word for programs
 * ("EUSAGE"), and text for people, of any bytes, which may have several lines. */
void control_fail(struct control_request *request, int status, const char *code,
                  const char *format, ...) PRINTF_LIKE(4, 5);

/* A JSON string of any bytes: what is not UTF-8 becomes U+FFFD. NULL: out of memory. */
json_t *control_text(const char *bytes, size_t len);

/* The rights (bits of enum control_right) that a peer of this user has with a server of user
 * `self`: the owner and root have all, nobody else any. */
unsigned control_rights(uid_t peer, uid_t self);

#endif
