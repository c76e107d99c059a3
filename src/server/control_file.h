/* server/control_file.h - the file of the control socket, and that it is ours alone.
 *
 *     FOLDER             0700, a real folder of ours that nobody else may write
 *     FOLDER/NAME.lock   0600, locked while the server lives; stays behind
 *     FOLDER/NAME.sock   0600, the socket; goes with the server
 *
 * What:   makes the folder, takes the lock, replaces what a dead server left, binds and
 *         listens. Nothing at the path that could be another's is deleted.
 * Owns:   the two descriptors and the socket's file.
 * Thread: main. Life: control_file_open() .. control_file_close().
 * Errors: 0 or a negative errno with a sentence in `why`, which names the path and a cure. */
#ifndef NEAP_SERVER_CONTROL_FILE_H
#define NEAP_SERVER_CONTROL_FILE_H

#include <stdbool.h>
#include <sys/types.h>

#include "server/control_path.h"

struct control_file {
    char path[CONTROL_PATH_MAX];
    int fd;       /* listening, not blocking */
    int lock;     /* the lock lasts as long as this descriptor */
    bool made;    /* the file at `path` is ours ... */
    dev_t device; /* ... as long as it is still this one */
    ino_t number;
};

/* On failure there is nothing to be closed. */
MUST_CHECK int control_file_open(struct control_file *file, const char *name,
                                 char why[CONTROL_WHY_MAX]);

/* Removes the socket's file if it is still the one that was made. The socket goes on
 * listening, but nobody finds it any more. */
void control_file_remove(struct control_file *file);

/* Removes the file too, and gives the name free. */
void control_file_close(struct control_file *file);

#endif
