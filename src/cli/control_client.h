/* cli/control_client.h - one connection to the control socket of a running server.
 *
 *     a request, one line of JSON ──> server ──> its answer, one line of JSON
 *
 * What:    finds a server by its name, sends requests, waits for the answer to each.
 * Owns:    the socket, and what came through it.
 * Thread:  one; it blocks in poll(2).
 * Life:    control_client_open() .. control_client_close(), which is also due after an error.
 *          After an error of control_client_ask() only closing is left: an answer that comes
 *          late would be taken for that of the next request.
 * Errors:  0 or a negative errno with one line in `why`; nothing is printed here. */
#ifndef NEAP_CLI_CONTROL_CLIENT_H
#define NEAP_CLI_CONTROL_CLIENT_H

#include <jansson.h>

#include "base/buf.h"
#include "cli/flags.h"

#define CONTROL_REQUEST_MAX (1U << 20) /* bytes of a request with its newline */
#define CONTROL_ANSWER_MAX (16U << 20) /* bytes of an answer with its newline */

struct control_client {
    int fd;
    int timeout_ms; /* for connecting, and for each answer; -1: for ever */
    struct buf in;
};

/* Connects to the server called `name`. -EINVAL (no such name may be), -ENAMETOOLONG (the path of
 * its socket), -ENOENT or -ECONNREFUSED (nobody serves under it), -EACCES or -EPERM (somebody
 * else does), -ETIMEDOUT, or what else the system said. */
MUST_CHECK int control_client_open(struct control_client *client, const char *name,
                                   int timeout_ms, char why[FLAGS_WHY_MAX]);

void control_client_close(struct control_client *client);

/* Sends `request` and waits. `*answer` is an object with a boolean "ok", for the caller to
 * json_decref. -E2BIG (the request is too long, nothing was sent), -ECONNRESET (closed without
 * an answer), -EMSGSIZE (the answer is too long), -EBADMSG (it is no answer), -ETIMEDOUT,
 * -ENOMEM, or what else the socket said. */
MUST_CHECK int control_client_ask(struct control_client *client, const json_t *request,
                                  json_t **answer, char why[FLAGS_WHY_MAX]);

/* The exit status for an error of these functions. */
int control_client_status(int error);

#endif
