/* server/control_path.c - from the name of a server to its control socket. */
#include "server/control_path.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

_Static_assert(CONTROL_PATH_MAX == sizeof((struct sockaddr_un *)0)->sun_path,
               "a path that is built is a path that can be bound");

static bool is_name_byte(char byte)
{
    /* Not isalnum: what a name is does not depend on the locale. */
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || byte == '_' || byte == '-' || byte == '.';
}

bool control_name_is_valid(const char *name)
{
    size_t len = strnlen(name, CONTROL_NAME_MAX + 1);
    if (len == 0 || len > CONTROL_NAME_MAX || name[0] == '.')
        return false;
    for (size_t i = 0; i < len; i++)
        if (!is_name_byte(name[i]))
            return false;
    return true;
}

/* The value of a variable that names a folder, or NULL. A relative one would mean another
 * folder to the server than to the command that looks for it. */
static const char *folder_from(const char *variable)
{
    const char *value = getenv(variable);
    return value && value[0] == '/' ? value : NULL;
}

int control_path(const char *name, char *path, size_t size, char *why)
{
    if (!control_name_is_valid(name)) {
        snprintf(
            why, CONTROL_WHY_MAX,
            "'%.80s' cannot be the name of a server: 1 to %d letters, digits, '_', '-' "
            "and '.', and no '.' at its start",
            name, CONTROL_NAME_MAX);
        return -EINVAL;
    }
    const char *runtime = folder_from("XDG_RUNTIME_DIR");
    const char *temporary = folder_from("TMPDIR");
    uid_t self = geteuid();
    int len;
    if (runtime)
        len = snprintf(path, size, "%s/neap/%s.sock", runtime, name);
    else if (self == 0)
        len = snprintf(path, size, "/run/neap/%s.sock", name);
    else
        len = snprintf(path, size, "%s/neap-%ju/%s.sock", temporary ? temporary : "/tmp",
                       (uintmax_t)self, name);
    if (len > 0 && (size_t)len < size && len < CONTROL_PATH_MAX)
        return 0;
    snprintf(why, CONTROL_WHY_MAX,
             "the path of the control socket has %d bytes, and a socket's may have %d; "
             "choose a shorter --name or %s",
             len, CONTROL_PATH_MAX - 1, runtime ? "XDG_RUNTIME_DIR" : "TMPDIR");
    return -ENAMETOOLONG;
}
