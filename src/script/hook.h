/* script/hook.h - the hooks by name, and the functions that the net layer calls for them.
 *
 * Thread: the vm's. Raises: nothing. */
#ifndef NEAP_SCRIPT_HOOK_H
#define NEAP_SCRIPT_HOOK_H

#include <stdbool.h>
#include <stddef.h>

#include "net/conn.h"

struct version;

enum hook {
    ON_START,
    ON_STOP,
    ON_LOG,
    ON_ERROR,
    ON_ACCEPT,
    ON_CONNECT,
    ON_MESSAGE,
    ON_SESSION,
    ON_EOF,
    ON_IDLE,
    ON_TIMER,
    ON_DRAIN,
    ON_CLOSING,
    ON_DISCONNECT,
    ON_COUNT
};

struct hook_row {
    const char *name;
    bool of_app, of_service; /* where it may stand when there are several services */
    unsigned net;            /* enum conn_hook: the net layer asks whether it is there */
};

extern const struct hook_row hook_rows[ON_COUNT];

/* What a service's connections call. */
extern const struct conn_ops hook_ops;

/* on_start(previous): the number of the version that serves, 0 (nil) if none does. False: it
 * raised; *error is what, to be freed. */
bool hook_start(struct version *version, unsigned previous, char **error);
/* on_stop(reason). Errors are reported. */
void hook_stop(struct version *version, const char *reason);
/* on_accept(peer): false closes at once. An error refuses too. */
bool hook_accept(const struct service *live, const struct endpoint *peer,
                 enum transport transport);

#endif
