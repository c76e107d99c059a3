/* cli/address.c - reading the address of a server. */
#include "cli/address.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "cli/report.h"

int address_read(struct addr *addr, const char *text, char peer[ADDR_TEXT_MAX])
{
    char why[ADDR_WHY_MAX];
    char full[ADDR_TEXT_MAX];
    const char *port = strrchr(text, ':');
    bool is_bare = port && !strchr(text, '/') && port[1] >= '0' && port[1] <= '9' &&
                   strlen(text) + sizeof "tcp://" <= sizeof full;
    if (is_bare)
        snprintf(full, sizeof full, "tcp://%s", text);
    if (addr_parse(addr, is_bare ? full : text, why) < 0) {
        report_error("ADDR %s", why);
        return EX_USAGE;
    }
    bool has_port = addr->transport == TRANSPORT_TCP || addr->transport == TRANSPORT_UDP;
    if (addr->transport == TRANSPORT_FD || (has_port && addr->port == 0)) {
        report_error("ADDR '%s': nothing can be sent to %s", text,
                     has_port ? "port 0" : "a descriptor");
        return EX_USAGE;
    }
    addr_format(addr, peer);
    return EX_OK;
}

static const char *cure_of(int error)
{
    switch (error) {
    case ECONNREFUSED:
    case ENOENT:
        return " (is the server running?)";
    case EMFILE:
        return " (raise the limit with ulimit -n)";
    case EADDRNOTAVAIL:
        return " (no port is left for more connections to one address)";
    default:
        return "";
    }
}

int address_report_unreached(const char *peer, const char *doing, int error)
{
    report_error("cannot %s %s: %s%s", doing, peer, strerror(-error), cure_of(-error));
    return error == -EACCES || error == -EPERM ? EX_NOPERM : EX_UNAVAILABLE;
}
