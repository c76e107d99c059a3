/* server/control_path.h - where the control socket of a server is.
 *
 *     $XDG_RUNTIME_DIR/neap/NAME.sock     if that is set and absolute, else
 *     /run/neap/NAME.sock                 for root, else
 *     $TMPDIR/neap-UID/NAME.sock          /tmp unless that is set and absolute
 *
 * What:   from a name and the environment to a path. The server and the commands that talk to
 *         it both ask here, so that they meet. Touches no file.
 * Errors: 0 or a negative errno with a sentence in `why`. */
#ifndef NEAP_SERVER_CONTROL_PATH_H
#define NEAP_SERVER_CONTROL_PATH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"

#define CONTROL_NAME_MAX 64  /* bytes of a server's name */
#define CONTROL_PATH_MAX 108 /* what the kernel takes, with the NUL */
#define CONTROL_WHY_MAX 400

/* 1 .. CONTROL_NAME_MAX letters, digits, '_', '-' and '.', the first no '.'. */
bool control_name_is_valid(const char *name);

/* Writes the path into `path`, which holds `size` bytes: CONTROL_PATH_MAX is always enough. 0,
 * -EINVAL (not a name) or -ENAMETOOLONG; then `why`, of CONTROL_WHY_MAX bytes, says so. */
MUST_CHECK int control_path(const char *name, char *path, size_t size, char *why);

#endif
