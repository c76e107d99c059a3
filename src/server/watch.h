/* server/watch.h - tells the main thread when a file of the script has changed on disk.
 *
 *     app/main.lua, where main.lua -> ../live/main.lua and live -> v1
 *
 *     names that are watched:      main.lua in app/, live in app/../, main.lua in v1/
 *     folders that are watched:    app/, v1/ (whether they move or go away)
 *
 * What:   watches the folders of the files, not the files: an editor that saves by renaming
 *         leaves another file under the name. Every symbolic link on the way is watched too,
 *         and what is not there is seen when it comes. A change is told when it is over: after
 *         WATCH_QUIET_MS without another one, or WATCH_PATIENCE_MS after the first.
 * Owns:   an inotify descriptor, copies of the paths. Borrows: loop and wheel, which outlive it.
 * Thread: the loop's, whose owner advances the wheel.
 * Life:   watch_open() .. watch_close().
 * Errors: 0 or a negative errno. Changes made by other machines on a network file system are
 *         not told, since their kernel knows of them and ours does not. */
#ifndef NEAP_SERVER_WATCH_H
#define NEAP_SERVER_WATCH_H

#include <stddef.h>

#include "base/macros.h"

struct loop;
struct watch;
struct wheel;

#define WATCH_QUIET_MS 50
#define WATCH_PATIENCE_MS 2000
#define WATCH_PATHS_MAX 4096

/* Something that was watched may have changed: written, replaced, removed, come back, made
 * readable, or too much happened to know. Whether its bytes differ is for the caller to see.
 * Links are followed to where they lead now before this is called. `failed`: 0, or the -errno
 * with which that went wrong: then further changes may stay unseen until a watch_set succeeds.
 * Called from wheel_advance only; may call watch_set and watch_close. */
typedef void (*watch_fn)(void *owner, int failed);

/* Watches nothing yet. 0, -EMFILE (out of descriptors, or of inotify instances of this user),
 * -ENOMEM or -ENOSYS. */
MUST_CHECK int watch_open(struct watch **watch, struct loop *loop, struct wheel *wheel,
                          watch_fn fn, void *owner);

/* Replaces what is watched. Paths are copied; relative ones are from the working directory;
 * none needs to exist. What changed before while it was watched is still told. To miss nothing,
 * call it before a file that was not watched is read, or read that file again after.
 * 0, -E2BIG (more than WATCH_PATHS_MAX, or spread over too many folders), -ENAMETOOLONG, -EACCES
 * (a folder that may not be listed), -ENOENT or -ENOTDIR (the working directory is gone, or
 * folders do not stop moving), -ENOSPC (out of inotify watches), -ENOMEM; on failure the old set
 * stays. */
MUST_CHECK int watch_set(struct watch *watch, const char *const *paths, size_t count);

/* Tells as if something had changed now: what changed before it was watched. */
void watch_look(struct watch *watch);

/* Nothing is told any more. NULL is allowed. */
void watch_close(struct watch *watch);

#endif
