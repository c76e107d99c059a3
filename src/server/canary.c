/* server/canary.c - shares, networks, error rates. */
#include "server/canary.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/addr.h"

#define WHOLE 10000U
#define MAPPED_BITS 96U

static void note(struct canary_terms *terms, const char *text)
{
    strncpy(terms->text, text, sizeof terms->text - 1);
}

int canary_read_share(struct canary_terms *terms, const char *text)
{
    char *end;
    double percent = strtod(text, &end);
    if (end == text || strcmp(end, "%") != 0 || !(percent > 0) || percent > 100)
        return -EINVAL;
    terms->share = (uint32_t)(percent * (WHOLE / 100.) + 0.5);
    note(terms, text);
    return terms->share ? 0 : -EINVAL;
}

static void map_v4(struct in6_addr *to, const struct in_addr *from)
{
    *to = (struct in6_addr){0};
    to->s6_addr[10] = to->s6_addr[11] = 0xff;
    memcpy(&to->s6_addr[12], from, sizeof *from);
}

int canary_read_peer(struct canary_terms *terms, const char *text)
{
    char host[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    if (len >= sizeof host)
        return -EINVAL;
    memcpy(host, text, len);
    host[len] = '\0';
    struct in_addr v4;
    bool is_v4 = inet_pton(AF_INET, host, &v4) == 1;
    if (is_v4)
        map_v4(&terms->network, &v4);
    else if (inet_pton(AF_INET6, host, &terms->network) != 1)
        return -EINVAL;
    unsigned most = is_v4 ? 32 : 128;
    unsigned long bits = most;
    char *end = NULL;
    if (slash)
        bits = strtoul(slash + 1, &end, 10);
    if (bits > most || (slash && (end == slash + 1 || *end)))
        return -EINVAL;
    terms->prefix = (unsigned)bits + (is_v4 ? MAPPED_BITS : 0);
    note(terms, text);
    return 0;
}

static bool is_within(const struct canary_terms *terms, const struct endpoint *peer)
{
    struct in6_addr address;
    if (peer->at.sa.sa_family == AF_INET6)
        address = peer->at.in6.sin6_addr;
    else if (peer->at.sa.sa_family == AF_INET)
        map_v4(&address, &peer->at.in.sin_addr);
    else
        return false;
    size_t whole = terms->prefix / 8;
    unsigned rest = terms->prefix % 8;
    if (memcmp(&address, &terms->network, whole) != 0)
        return false;
    uint8_t mask = (uint8_t)(0xff00 >> rest);
    return rest == 0 ||
           ((address.s6_addr[whole] ^ terms->network.s6_addr[whole]) & mask) == 0;
}

bool canary_takes(const struct canary_terms *terms, uint32_t *debt,
                  const struct endpoint *peer)
{
    if (terms->share == 0)
        return is_within(terms, peer);
    *debt += terms->share;
    if (*debt < WHOLE)
        return false;
    *debt -= WHOLE;
    return true;
}

enum canary_verdict canary_judge(const struct canary_counts *counts)
{
    double old_rate = counts->old_hooks
                          ? 1e3 * (double)counts->old_errors / (double)counts->old_hooks
                          : 0;
    bool enough = counts->hooks >= CANARY_AFTER;
    double least = enough ? (double)counts->hooks : (double)CANARY_AFTER;
    double rate = 1e3 * (double)counts->errors / least; /* even if no more came */
    if (rate > old_rate + CANARY_MARGIN)
        return CANARY_BAD;
    return enough ? CANARY_GOOD : CANARY_OPEN;
}
