/* cli/report.c - standard output and standard error of a command. */
#include "cli/report.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_LEN 2048

void report_error(const char *format, ...)
{
    char line[LINE_MAX_LEN];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (len < 0)
        return;
    for (char *at = line; *at; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = '?';
    }
    fprintf(stderr, "neap: %s\n", line);
}

void report_open(void)
{
    /* Each is opened the wrong way round: using one that was closed still fails. */
    static const int modes[] = {O_WRONLY, O_RDONLY, O_RDONLY};
    for (int fd = 0; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            (void)open("/dev/null", modes[fd]); /* takes the lowest free one: this */
    }
}

int report_close(int status)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    if (errno)
        report_error("standard output: %s", strerror(errno));
    else
        report_error("standard output: not all of it could be written");
    return status ? status : 1;
}
