/* cli/main.c - where neap starts and ends. */
#include <signal.h>
#include <stddef.h>

#include "cli/command.h"
#include "cli/report.h"

int main(int argc, char **argv)
{
    report_open();
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &ignore, NULL); /* a reader that went away is an error to report */
    return report_close(command_dispatch(argc, argv));
}
