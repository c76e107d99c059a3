/* server/server.h - a whole server: from a script and settings to an exit status.
 *
 *     main thread: load and check the script -> bind -> start workers -> wait for signals
 *                  -> drain -> join -> exit status
 *
 * What:   server_run serves until SIGINT, SIGTERM or a script's neap.stop; server_check does
 *         all that needs no socket. Both tell people what happened on standard error.
 * Thread: the main one, before any other was started.
 * Errors: an exit status of sysexits(3): EX_OK, 1 (run-time failure), EX_USAGE (64: an address
 *         in a flag), EX_DATAERR (65: the script does not load), EX_NOINPUT (66: no such
 *         file), EX_OSERR (71: the system refused, for example a port taken), EX_NOPERM (77). */
#ifndef NEAP_SERVER_SERVER_H
#define NEAP_SERVER_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/log.h"
#include "net/addr.h"

#define SERVER_WORKERS_SCRIPT 0  /* as the script says, else 1 */
#define SERVER_WORKERS_AUTO (-1) /* one for each core this process may run on */
#define SERVER_WORKERS_MAX 256

/* One --listen: replaces what the script says for that service. */
struct server_listen {
    const char *service; /* NULL: the lone service */
    struct addr addr;
};

struct server_config {
    const char *script; /* a path; NULL: the default script that is part of neap */
    const char *code;   /* -e: the script itself; wins over `script` */
    const struct server_listen *listen;
    size_t listen_count;
    int workers;
    bool watch;       /* reload when a file of the script is saved */
    const char *name; /* of the control socket; NULL: "default", or none if that is taken */
    uint64_t load_timeout_ms; /* 0: as the script says, and 5 s until it has said so */
    int log_level;            /* enum log_level, or -1: as the script says, else info */
    int log_format; /* enum log_format, or -1: as the script says, else text on a terminal */
};

/* Serves; returns an exit status. */
int server_run(const struct server_config *config);

/* Loads the script in a scratch state and writes to `out` what it would serve: services, hooks,
 * addresses, options that differ from their defaults, the bound on memory. Binds nothing. */
int server_check(const struct server_config *config, bool json, FILE *out);

/* The default script's text, as `neap run` without a script serves it. */
const char *server_default_script(size_t *len);

/* "Lua 5.4.4", the release this process runs on, and libev's "4.33". */
const char *server_lua_release(void);
const char *server_libev_release(void);

#endif
