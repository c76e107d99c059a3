/* server/control_file.c - folder, lock, what a dead server left, bind, mode, listen: in the
 * order in which nobody else ever gets in between. */
#include "server/control_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 64

static const char socket_end[] = ".sock", lock_end[] = ".lock";

/* Answers -error, after the sentence that explains it. */
static int PRINTF_LIKE(3, 4) refuse(char *why, int error, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    vsnprintf(why, CONTROL_WHY_MAX, format, values);
    va_end(values);
    return -error;
}

static int fail(char *why, int error, const char *what, const char *path)
{
    return refuse(why, error, "cannot %s %s: %s", what, path, strerror(error));
}

static int refuse_taken(char *why, const char *name, const char *path)
{
    return refuse(why, EADDRINUSE,
                  "another neap serves under the name '%s' (%s); give this one another "
                  "with --name",
                  name, path);
}

/* ---- Folder ---- */

/* lstat, for a link would let whoever made it move the socket; and what others may write they
 * could replace under us. */
static int check_folder(const char *folder, char *why)
{
    struct stat found;
    if (lstat(folder, &found) < 0)
        return fail(why, errno, "look at the folder of the control socket,", folder);
    if (!S_ISDIR(found.st_mode))
        return refuse(why, ENOTDIR,
                      "the control socket needs the folder %s, and that is no folder; move "
                      "it away, or set XDG_RUNTIME_DIR to a folder of yours",
                      folder);
    if (found.st_uid != geteuid())
        return refuse(why, EPERM,
                      "the folder of the control socket, %s, belongs to user %ju; set "
                      "XDG_RUNTIME_DIR to a folder of yours",
                      folder, (uintmax_t)found.st_uid);
    if (found.st_mode & (S_IWGRP | S_IWOTH))
        return refuse(why, EPERM,
                      "others may write to the folder of the control socket (mode %04o): "
                      "chmod 700 %s",
                      (unsigned)found.st_mode & 07777U, folder);
    return 0;
}

static int make_folder(const char *path, char *why)
{
    char folder[CONTROL_PATH_MAX];
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
    if (mkdir(folder, 0700) == 0) {
        /* What the umask has taken away. */
        if (chmod(folder, 0700) < 0)
            return fail(why, errno, "set the mode of", folder);
    } else if (errno != EEXIST) {
        return refuse(why, errno,
                      "cannot make the folder of the control socket, %s: %s; set "
                      "XDG_RUNTIME_DIR to a folder of yours",
                      folder, strerror(errno));
    }
    return check_folder(folder, why);
}

/* ---- Lock ---- */

/* Two servers that start at the same moment would both find the socket of a dead one, and the
 * second would remove what the first has just made. The lock file is never removed: a third
 * could hold the lock of a file that has no name any more while a fourth makes it anew. */
static int take_lock(struct control_file *file, const char *name, char *why)
{
    char path[CONTROL_PATH_MAX];
    snprintf(path, sizeof path, "%.*s%s", (int)(strlen(file->path) - strlen(socket_end)),
             file->path, lock_end);
    /* O_NONBLOCK: a pipe there must not make us wait for whoever reads it. */
    file->lock =
        open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
    struct stat found;
    if (file->lock < 0 || fstat(file->lock, &found) < 0)
        return fail(why, errno, "open the lock of the control socket,", path);
    if (!S_ISREG(found.st_mode) || found.st_uid != geteuid())
        return refuse(why, EEXIST,
                      "the lock of the control socket, %s, is no file of ours; move it "
                      "away, or choose another --name",
                      path);
    if (fchmod(file->lock, 0600) < 0)
        return fail(why, errno, "set the mode of", path);
    if (flock(file->lock, LOCK_EX | LOCK_NB) == 0)
        return 0;
    if (errno == EWOULDBLOCK)
        return refuse_taken(why, name, file->path);
    return fail(why, errno, "lock", path);
}

/* ---- Socket ---- */

static struct sockaddr_un address_of(const struct control_file *file)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    memcpy(at.sun_path, file->path, sizeof at.sun_path);
    return at;
}

/* The errno of connecting to what is at the path, 0 when somebody answers. */
static int try_connect(const struct control_file *file)
{
    struct sockaddr_un at = address_of(file);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    int error = connect(fd, (struct sockaddr *)&at, sizeof at) < 0 ? errno : 0;
    close(fd);
    return error == EAGAIN ? 0 : error; /* one that has no time yet for more */
}

/* A socket of ours that nobody answers behind is left from a server that died. */
static int remove_stale(const struct control_file *file, const char *name, char *why)
{
    struct stat found;
    if (lstat(file->path, &found) < 0)
        return errno == ENOENT ? 0 : fail(why, errno, "look at", file->path);
    if (!S_ISSOCK(found.st_mode))
        return refuse(why, EEXIST,
                      "where the control socket should be there is something else, %s; "
                      "move it away, or choose another --name",
                      file->path);
    if (found.st_uid != geteuid())
        return refuse(why, EPERM,
                      "the control socket %s belongs to user %ju; choose another --name",
                      file->path, (uintmax_t)found.st_uid);
    int error = try_connect(file);
    if (error == 0)
        return refuse_taken(why, name, file->path);
    if (error != ECONNREFUSED)
        return fail(why, error, "tell whether a server is behind", file->path);
    return unlink(file->path) < 0 ? fail(why, errno, "remove", file->path) : 0;
}

/* Remembers which file it is, so that at the end nobody else's is removed, and makes sure of
 * its mode: before listen nobody can connect. */
static int own_file(struct control_file *file, char *why)
{
    struct stat made;
    if (lstat(file->path, &made) < 0)
        return fail(why, errno, "look at", file->path);
    file->made = true;
    file->device = made.st_dev;
    file->number = made.st_ino;
    /* The umask may have taken away what fchmod asked for. */
    if (chmod(file->path, 0600) < 0 || lstat(file->path, &made) < 0)
        return fail(why, errno, "set the mode of", file->path);
    if (!S_ISSOCK(made.st_mode) || (made.st_mode & 07777) != 0600 ||
        made.st_uid != geteuid())
        return refuse(why, EPERM,
                      "the control socket %s does not keep to its owner and mode 0600; set "
                      "XDG_RUNTIME_DIR to a folder on another file system",
                      file->path);
    return 0;
}

static int bind_socket(struct control_file *file, char *why)
{
    struct sockaddr_un at = address_of(file);
    file->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (file->fd < 0)
        return fail(why, errno, "make the control socket", file->path);
    /* The mode is set before the file exists, so that it never has a wider one. */
    if (fchmod(file->fd, 0600) < 0 || bind(file->fd, (struct sockaddr *)&at, sizeof at) < 0)
        return fail(why, errno, "make the control socket", file->path);
    int failed = own_file(file, why);
    if (failed)
        return failed;
    return listen(file->fd, BACKLOG) < 0 ? fail(why, errno, "listen on", file->path) : 0;
}

int control_file_open(struct control_file *file, const char *name,
                      char why[CONTROL_WHY_MAX])
{
    *file = (struct control_file){.fd = -1, .lock = -1};
    int failed = control_path(name, file->path, sizeof file->path, why);
    if (!failed)
        failed = make_folder(file->path, why);
    if (!failed)
        failed = take_lock(file, name, why);
    if (!failed)
        failed = remove_stale(file, name, why);
    if (!failed)
        failed = bind_socket(file, why);
    if (failed)
        control_file_close(file);
    return failed;
}

void control_file_remove(struct control_file *file)
{
    struct stat now;
    if (file->made && lstat(file->path, &now) == 0 && now.st_dev == file->device &&
        now.st_ino == file->number)
        (void)unlink(file->path);
    file->made = false;
}

void control_file_close(struct control_file *file)
{
    /* First the file, then the socket: while that is open the kernel keeps the file's number
     * from being given to another. Last the lock, so that a next server finds neither. */
    control_file_remove(file);
    if (file->fd >= 0)
        close(file->fd);
    if (file->lock >= 0)
        close(file->lock);
    file->fd = file->lock = -1;
}
