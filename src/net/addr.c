/* net/addr.c - addresses as people write them, and as the kernel takes them.
 *
 *     tcp :// 127.0.0.1 : 4343 ? backlog=16 & reuse_port=1
 *     transport  host     port   options, a table below
 *
 * Whoever reads `why` sees one line on a terminal or in a log: what it quotes is cut to a bearable
 * length, and of bytes only printable ASCII is let through. */
#include "net/addr.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

#define QUOTED_MAX 60
#define PATH_MAX_LEN (sizeof((struct sockaddr_un *)0)->sun_path - 1)
#define PATH_OFFSET offsetof(struct sockaddr_un, sun_path)
#define TRANSPORT_COUNT (TRANSPORT_FD + 1)

_Static_assert(ADDR_HOST_MAX >= sizeof((struct sockaddr_un *)0)->sun_path, "holds a path");

const char *const transport_names[TRANSPORT_COUNT] = {"tcp", "udp", "unix", "unixgram",
                                                      "fd"};

/* Part of a text. */
struct span {
    const char *at;
    size_t len;
};

/* What is being read, and where to complain. */
struct source {
    const char *text;
    char *why;
    char *name; /* takes a host that is to be looked up; NULL: none may be */
};

enum {
    ON_TCP = 1U << TRANSPORT_TCP,
    ON_UDP = 1U << TRANSPORT_UDP,
    ON_UNIX = 1U << TRANSPORT_UNIX,
    ON_UNIXGRAM = 1U << TRANSPORT_UNIXGRAM,
    ON_FD = 1U << TRANSPORT_FD
};

static const struct option {
    const char *name;
    size_t offset; /* of an int in struct addr */
    unsigned on;   /* transports it makes sense for */
    unsigned base, min, max;
    const char *takes;
} options[] = {
    {"backlog", offsetof(struct addr, backlog), ON_TCP | ON_UNIX | ON_FD, 10, 1, INT_MAX,
     "a number from 1"},
    {"ipv6_only", offsetof(struct addr, ipv6_only), ON_TCP | ON_UDP, 10, 0, 1, "0 or 1"},
    {"mode", offsetof(struct addr, mode), ON_UNIX | ON_UNIXGRAM, 8, 0, 0777,
     "an octal number up to 0777"},
    {"reuse_port", offsetof(struct addr, reuse_port), ON_TCP | ON_UDP, 10, 0, 1, "0 or 1"},
};

static struct span span_of(const char *text)
{
    return (struct span){text, strlen(text)};
}

static struct span span_from(struct span span, size_t start)
{
    return (struct span){span.at + start, span.len - start};
}

static bool span_is(struct span span, const char *text)
{
    return span.len == strlen(text) && memcmp(span.at, text, span.len) == 0;
}

/* Where `byte` is, or span.len. */
static size_t span_find(struct span span, char byte)
{
    const char *found = memchr(span.at, byte, span.len);

    return found ? (size_t)(found - span.at) : span.len;
}

/* How many bytes at the front are of `set`. */
static size_t span_run(struct span span, const char *set)
{
    size_t run = 0;

    while (run < span.len && span.at[run] != '\0' && strchr(set, span.at[run]))
        run++;
    return run;
}

/* Arguments for "%.*s". */
#define SPAN(span) ((span).len < QUOTED_MAX ? (int)(span).len : QUOTED_MAX), (span).at

PRINTF_LIKE(2, 3)
static int refuse(const struct source *source, const char *format, ...)
{
    struct span text = span_of(source->text);
    const char *cut = text.len > QUOTED_MAX ? "..." : "";
    int len = snprintf(source->why, ADDR_WHY_MAX, "'%.*s%s': ", SPAN(text), cut);
    va_list args;

    va_start(args, format);
    if (len > 0 && len < ADDR_WHY_MAX)
        vsnprintf(source->why + len, ADDR_WHY_MAX - (size_t)len, format, args);
    va_end(args);
    for (char *at = source->why; *at; at++) {
        if (*at < 0x20 || *at > 0x7e)
            *at = '?';
    }
    return -EINVAL;
}

static int parse_number(struct span digits, unsigned base, unsigned max, unsigned *number)
{
    unsigned value = 0;

    if (digits.len == 0 ||
        span_run(digits, base == 8 ? "01234567" : "0123456789") < digits.len)
        return -EINVAL;
    for (size_t i = 0; i < digits.len; i++) {
        unsigned digit = (unsigned)(digits.at[i] - '0');
        if (digit > max || value > (max - digit) / base)
            return -ERANGE;
        value = value * base + digit;
    }
    *number = value;
    return 0;
}

/* The IPv4 address an IPv6 one stands for ("::ffff:127.0.0.1"). */
static struct in_addr mapped_address(const struct in6_addr *in6)
{
    struct in_addr in;

    memcpy(&in, &in6->s6_addr[12], sizeof in);
    return in;
}

/* A mapped address comes out as IPv4: it is what an IPv4 peer has on a socket for both, and a
 * socket for IPv6 only, the default, cannot be bound to it. */
static void print_in6(const struct in6_addr *in6, char host[ADDR_HOST_MAX])
{
    struct in_addr in = mapped_address(in6);

    if (IN6_IS_ADDR_V4MAPPED(in6))
        inet_ntop(AF_INET, &in, host, ADDR_HOST_MAX);
    else
        inet_ntop(AF_INET6, in6, host, ADDR_HOST_MAX);
}

static int refuse_host(struct span host, const struct source *source)
{
    if (host.len == 0)
        return refuse(source, "no host; write 127.0.0.1, or 0.0.0.0 or [::] for everyone");
    if (span_is(host, "*"))
        return refuse(source, "'*' is not a host; spell 0.0.0.0 or [::]");
    if (span_find(host, '%') < host.len)
        return refuse(source, "zone ids ('%%' and an interface) are not supported");
    if (span_find(host, ':') < host.len)
        return refuse(source, "'%.*s' is not an IPv6 address", SPAN(host));
    if (span_run(host, "0123456789.") == host.len)
        return refuse(source, "'%.*s' is not an IPv4 address (four numbers up to 255)",
                      SPAN(host));
    return refuse(source, "names are not looked up; write a numeric address, not '%.*s'",
                  SPAN(host));
}

/* Letters of a host's name, and '_', which names of services have. */
static bool is_name(struct span host)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789-_.";
    return host.len > 0 && host.len < ADDR_NAME_MAX && host.at[0] != '.' &&
           span_run(host, letters) == host.len && span_run(host, "0123456789.") < host.len;
}

/* A host that is no number: a name, where one may stand. */
static int set_name(struct span host, const struct source *source)
{
    if (!source->name || !is_name(host))
        return refuse_host(host, source);
    memcpy(source->name, host.at, host.len);
    source->name[host.len] = '\0';
    return 0;
}

/* Takes a numeric host, in the one form inet_ntop writes, or localhost. */
static int set_host(struct addr *addr, struct span host, const struct source *source)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr in6;
    struct in_addr in;

    if (host.len == 0 || host.len >= sizeof text)
        return set_name(host, source);
    memcpy(text, host.at, host.len);
    text[host.len] = '\0';
    if (strcmp(text, "localhost") == 0 || inet_pton(AF_INET, text, &in) == 1) {
        memcpy(addr->host, text, host.len + 1);
        return 0;
    }
    if (inet_pton(AF_INET6, text, &in6) != 1)
        return set_name(host, source);
    print_in6(&in6, addr->host);
    return 0;
}

static int set_path(struct addr *addr, struct span path, const struct source *source)
{
    const char *name = transport_names[addr->transport];

    if (path.len == 0)
        return refuse(source, "no path; write one, as in '%s:///run/neap.sock'", name);
    if (path.at[0] != '/')
        return refuse(source, "the path is not absolute; did you mean '%s:///%.*s'?", name,
                      SPAN(path));
    if (path.len > PATH_MAX_LEN)
        return refuse(source, "the path has %zu bytes; a socket's has at most %zu",
                      path.len, PATH_MAX_LEN);
    if (span_find(path, '?') < path.len)
        return refuse(source, "a socket's path cannot have a '?'");
    memcpy(addr->host, path.at, path.len);
    addr->host[path.len] = '\0';
    return 0;
}

static int parse_port(struct addr *addr, struct span port, const struct source *source)
{
    size_t digits = span_run(port, "0123456789");
    unsigned number;

    if (port.len == 0)
        return refuse(source, "no port after ':'");
    if (digits == 0)
        return refuse(source, "port '%.*s' is not a number", SPAN(port));
    if (digits < port.len) {
        struct span junk = span_from(port, digits);
        return refuse(source, "unexpected '%.*s' after the port", SPAN(junk));
    }
    if (parse_number(port, 10, UINT16_MAX, &number) != 0)
        return refuse(source, "port %.*s is out of range (0 to 65535)", SPAN(port));
    addr->port = (uint16_t)number;
    return 0;
}

static int parse_bracketed(struct addr *addr, struct span rest, const struct source *source)
{
    size_t close = span_find(rest, ']');

    if (close == rest.len)
        return refuse(source, "']' is missing after the IPv6 address");
    struct span host = {rest.at + 1, close - 1}, port = span_from(rest, close + 1);
    if (span_find(host, ':') == host.len)
        return refuse(source, "only an IPv6 address stands in brackets");
    int err = set_host(addr, host, source);
    if (err)
        return err;
    if (port.len == 0)
        return refuse(source, "no port; add one, as in '[%.*s]:4343'", SPAN(host));
    if (port.at[0] != ':')
        return refuse(source, "unexpected '%.*s' after ']'", SPAN(port));
    return parse_port(addr, span_from(port, 1), source);
}

static int parse_host_port(struct addr *addr, struct span rest, const struct source *source)
{
    if (rest.len > 0 && rest.at[0] == '[')
        return parse_bracketed(addr, rest, source);
    size_t colon = span_find(rest, ':');
    struct span host = {rest.at, colon};
    if (colon < rest.len) {
        struct span port = span_from(rest, colon + 1);
        if (span_find(port, ':') < port.len)
            return refuse(source, "an IPv6 address stands in brackets, as in '[::1]:4343'");
        int err = set_host(addr, host, source);
        return err ? err : parse_port(addr, port, source);
    }
    int err = set_host(addr, host, source);
    return err ? err : refuse(source, "no port; add one, as in '%.*s:4343'", SPAN(host));
}

static int parse_fd(struct addr *addr, struct span rest, const struct source *source)
{
    unsigned number;

    if (parse_number(rest, 10, INT_MAX, &number) != 0)
        return refuse(source,
                      "'%.*s' is not a descriptor's number; write one, as in 'fd://3'",
                      SPAN(rest));
    addr->fd = (int)number;
    return 0;
}

static int refuse_transport(struct span name, const struct source *source)
{
    char word[QUOTED_MAX + 1];

    if (span_is(name, "tls"))
        return refuse(source, "transport 'tls' is not supported yet");
    size_t len = name.len < QUOTED_MAX ? name.len : QUOTED_MAX;
    for (size_t i = 0; i < len; i++)
        word[i] = (char)tolower((unsigned char)name.at[i]);
    word[len] = '\0';
    const char *nearest = text_nearest(word, transport_names, TRANSPORT_COUNT);
    if (nearest)
        return refuse(source, "unknown transport '%.*s'; did you mean '%s'?", SPAN(name),
                      nearest);
    return refuse(source,
                  "unknown transport '%.*s'; there are tcp, udp, unix, unixgram, fd",
                  SPAN(name));
}

static int parse_bare(struct addr *addr, struct span body, const struct source *source)
{
    if (body.len > 0 && span_run(body, "0123456789") == body.len) {
        addr->transport = TRANSPORT_TCP;
        memcpy(addr->host, "127.0.0.1", sizeof "127.0.0.1");
        return parse_port(addr, body, source);
    }
    if (body.len == 0)
        return refuse(source,
                      "no address; write a port, or one as in 'tcp://127.0.0.1:4343'");
    if (body.len >= 8 && memcmp(body.at, "systemd:", 8) == 0)
        return refuse(source, "'systemd:' is not supported yet");
    if (body.at[0] == '*')
        return refuse(
            source, "no host; all interfaces are 'tcp://0.0.0.0%.*s' and 'tcp://[::]%.*s'",
            SPAN(span_from(body, 1)), SPAN(span_from(body, 1)));
    if (body.at[0] == '-')
        return refuse(source, "a port is 0 to 65535");
    return refuse(source, "no transport; did you mean 'tcp://%.*s'?", SPAN(body));
}

static int parse_body(struct addr *addr, struct span body, const struct source *source)
{
    const char *found = memmem(body.at, body.len, "://", 3);
    if (!found || (body.len >= 8 && memcmp(body.at, "systemd:", 8) == 0))
        return parse_bare(addr, body, source);
    struct span name = {body.at, (size_t)(found - body.at)};
    struct span rest = span_from(body, name.len + 3);
    int transport = 0;
    while (transport < TRANSPORT_COUNT && !span_is(name, transport_names[transport]))
        transport++;
    if (transport == TRANSPORT_COUNT)
        return refuse_transport(name, source);
    addr->transport = (enum transport)transport;
    switch (addr->transport) {
    case TRANSPORT_TCP:
    case TRANSPORT_UDP:
        return parse_host_port(addr, rest, source);
    case TRANSPORT_UNIX:
    case TRANSPORT_UNIXGRAM:
        return set_path(addr, rest, source);
    case TRANSPORT_FD:
        return parse_fd(addr, rest, source);
    }
    return -EINVAL;
}

static int refuse_option(struct span name, const struct source *source)
{
    const char *names[ARRAY_LEN(options)];
    char word[QUOTED_MAX + 1];

    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        names[i] = options[i].name;
    snprintf(word, sizeof word, "%.*s", SPAN(name));
    const char *nearest = text_nearest(word, names, ARRAY_LEN(names));
    if (nearest)
        return refuse(source, "unknown option '%.*s'; did you mean '%s'?", SPAN(name),
                      nearest);
    return refuse(source,
                  "unknown option '%.*s'; there are backlog, ipv6_only, mode, reuse_port",
                  SPAN(name));
}

/* Reads "name=value"; `seen` has a bit for each option that was there already. */
static int parse_option(struct addr *addr, struct span pair, unsigned *seen,
                        const struct source *source)
{
    size_t equals = span_find(pair, '='), i = 0;
    struct span name = {pair.at, equals};
    unsigned number;

    while (i < ARRAY_LEN(options) && !span_is(name, options[i].name))
        i++;
    if (name.len == 0)
        return refuse(source, "an option is missing; write one, as in '?backlog=1024'");
    if (i == ARRAY_LEN(options))
        return refuse_option(name, source);
    const struct option *option = &options[i];
    if (!(option->on & 1U << addr->transport))
        return refuse(source, "option '%s' is not one of %s addresses", option->name,
                      transport_names[addr->transport]);
    if (*seen & 1U << i)
        return refuse(source, "option '%s' is there twice", option->name);
    *seen |= 1U << i;
    if (equals == pair.len)
        return refuse(source, "option '%s' needs a value: %s", option->name, option->takes);
    struct span value = span_from(pair, equals + 1);
    if (parse_number(value, option->base, option->max, &number) != 0 ||
        number < option->min)
        return refuse(source, "option '%s' takes %s, not '%.*s'", option->name,
                      option->takes, SPAN(value));
    *(int *)(void *)((char *)addr + option->offset) = (int)number;
    return 0;
}

static int parse_options(struct addr *addr, struct span query, const struct source *source)
{
    unsigned seen = 0;

    for (;;) {
        size_t len = span_find(query, '&');
        struct span pair = {query.at, len};
        int err = parse_option(addr, pair, &seen, source);
        if (err || len == query.len)
            return err;
        query = span_from(query, len + 1);
    }
}

static struct addr addr_blank(enum transport transport)
{
    return (struct addr){.transport = transport,
                         .fd = -1,
                         .backlog = ADDR_BACKLOG,
                         .mode = -1,
                         .ipv6_only = 1};
}

int addr_parse(struct addr *addr, const char *text, char *why)
{
    struct source source = {text, why, NULL};
    struct addr parsed = addr_blank(TRANSPORT_TCP);
    struct span all = span_of(text);
    size_t body_len = span_find(all, '?');

    int err = parse_body(&parsed, (struct span){text, body_len}, &source);
    if (!err && body_len < all.len)
        err = parse_options(&parsed, span_from(all, body_len + 1), &source);
    if (!err)
        *addr = parsed;
    return err;
}

int remote_parse(struct remote *remote, const char *text, char *why)
{
    struct remote parsed = {.addr = addr_blank(TRANSPORT_TCP)};
    struct source source = {text, why, parsed.name};
    struct span all = span_of(text);

    if (span_find(all, '?') < all.len)
        return refuse(&source, "options ('?') are for addresses to listen on");
    int err = parse_body(&parsed.addr, all, &source);
    if (err)
        return err;
    if (parsed.addr.transport == TRANSPORT_FD)
        return refuse(&source, "a descriptor is no address to connect to");
    bool has_port =
        parsed.addr.transport == TRANSPORT_TCP || parsed.addr.transport == TRANSPORT_UDP;
    if (has_port && parsed.addr.port == 0)
        return refuse(&source, "port 0 is none to connect to");
    *remote = parsed;
    return 0;
}

int addr_set(struct addr *addr, enum transport transport, const char *host, uint16_t port,
             char *why)
{
    struct span span = span_of(host ? host : "");
    struct source source = {span.at, why, NULL};
    struct addr parsed = addr_blank(transport);
    int err = -EINVAL;

    parsed.port = port;
    if (span.len > 2 && span.at[0] == '[' && span.at[span.len - 1] == ']')
        span = (struct span){span.at + 1, span.len - 2};
    switch (transport) {
    case TRANSPORT_TCP:
    case TRANSPORT_UDP:
        err = set_host(&parsed, span, &source);
        break;
    case TRANSPORT_UNIX:
    case TRANSPORT_UNIXGRAM:
        parsed.port = 0;
        err = set_path(&parsed, span, &source);
        break;
    case TRANSPORT_FD:
        err = refuse(&source, "a descriptor has no host; write it as 'fd://3'");
        break;
    }
    if (!err)
        *addr = parsed;
    return err;
}

bool transport_is_stream(enum transport transport)
{
    return transport == TRANSPORT_TCP || transport == TRANSPORT_UNIX;
}

void addr_format(const struct addr *addr, char text[ADDR_TEXT_MAX])
{
    const char *name = transport_names[addr->transport];

    switch (addr->transport) {
    case TRANSPORT_TCP:
    case TRANSPORT_UDP:
        snprintf(text, ADDR_TEXT_MAX,
                 strchr(addr->host, ':') ? "%s://[%s]:%u" : "%s://%s:%u", name, addr->host,
                 (unsigned)addr->port);
        break;
    case TRANSPORT_UNIX:
    case TRANSPORT_UNIXGRAM:
        snprintf(text, ADDR_TEXT_MAX, "%s://%s", name, addr->host);
        break;
    case TRANSPORT_FD:
        snprintf(text, ADDR_TEXT_MAX, "%s://%d", name, addr->fd);
        break;
    }
}

static void set_endpoint(struct endpoint *out, const char *host, uint16_t port)
{
    memset(out, 0, sizeof *out);
    if (host[0] == '/') {
        out->at.un.sun_family = AF_UNIX;
        memcpy(out->at.un.sun_path, host, strlen(host) + 1);
        out->len = (socklen_t)(PATH_OFFSET + strlen(host) + 1);
    } else if (inet_pton(AF_INET6, host, &out->at.in6.sin6_addr) == 1) {
        out->at.in6.sin6_family = AF_INET6;
        out->at.in6.sin6_port = htons(port);
        out->len = sizeof out->at.in6;
    } else {
        inet_pton(AF_INET, host, &out->at.in.sin_addr);
        out->at.in.sin_family = AF_INET;
        out->at.in.sin_port = htons(port);
        out->len = sizeof out->at.in;
    }
}

int addr_endpoints(const struct addr *addr, struct endpoint out[2])
{
    if (addr->transport == TRANSPORT_FD)
        return 0;
    if (strcmp(addr->host, "localhost") == 0) {
        set_endpoint(&out[0], "127.0.0.1", addr->port);
        set_endpoint(&out[1], "::1", addr->port);
        return 2;
    }
    set_endpoint(&out[0], addr->host, addr->port);
    return 1;
}

static void split_path(const struct endpoint *endpoint, char host[ADDR_HOST_MAX])
{
    size_t room = endpoint->len > PATH_OFFSET ? endpoint->len - PATH_OFFSET : 0;
    const char *path = endpoint->at.un.sun_path;

    if (room > ADDR_HOST_MAX - 1)
        room = ADDR_HOST_MAX - 1;
    /* An abstract name starts with a NUL and may hold others; each is shown as '@', as in
     * /proc/net/unix. A path ends at its NUL, if the kernel found room for one. */
    size_t len = room > 0 && path[0] == '\0' ? room : strnlen(path, room);
    memcpy(host, path, len);
    host[len] = '\0';
    char *nul;
    while ((nul = memchr(host, '\0', len)) != NULL)
        *nul = '@';
}

void endpoint_split(const struct endpoint *endpoint, char host[ADDR_HOST_MAX],
                    uint16_t *port)
{
    const union sockaddr_any *at = &endpoint->at;

    host[0] = '\0';
    *port = 0;
    if (endpoint->len < sizeof at->sa.sa_family)
        return;
    if (at->sa.sa_family == AF_UNIX) {
        split_path(endpoint, host);
    } else if (at->sa.sa_family == AF_INET) {
        inet_ntop(AF_INET, &at->in.sin_addr, host, ADDR_HOST_MAX);
        *port = ntohs(at->in.sin_port);
    } else if (at->sa.sa_family == AF_INET6) {
        print_in6(&at->in6.sin6_addr, host);
        *port = ntohs(at->in6.sin6_port);
    }
}

void endpoint_format(const struct endpoint *endpoint, char text[ADDR_TEXT_MAX])
{
    char host[ADDR_HOST_MAX];
    uint16_t port;

    endpoint_split(endpoint, host, &port);
    if (endpoint->at.sa.sa_family == AF_UNIX || host[0] == '\0')
        memcpy(text, host, strlen(host) + 1);
    else
        snprintf(text, ADDR_TEXT_MAX, strchr(host, ':') ? "[%s]:%u" : "%s:%u", host,
                 (unsigned)port);
}

bool endpoint_is_loopback(const struct endpoint *endpoint)
{
    const union sockaddr_any *at = &endpoint->at;
    struct in_addr in;

    switch (at->sa.sa_family) {
    case AF_UNIX:
        return true;
    case AF_INET:
        in = at->in.sin_addr;
        break;
    case AF_INET6:
        if (!IN6_IS_ADDR_V4MAPPED(&at->in6.sin6_addr))
            return IN6_IS_ADDR_LOOPBACK(&at->in6.sin6_addr);
        in = mapped_address(&at->in6.sin6_addr);
        break;
    default:
        return false;
    }
    return ntohl(in.s_addr) >> 24 == 127;
}
