/* cli/bench.c - sending what is due, and comparing what comes. */
#include "cli/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/require.h"

#define SECOND_NS UINT64_C(1000000000)
#define BUFFER_LEN (256U << 10) /* what one send or recv may move */
#define EVENTS 256
#define PROGRESS_NS (SECOND_NS / 4)
#define GRACE_NS (2 * SECOND_NS) /* for replies that are under way at the end */
#define DATAGRAM_NS SECOND_NS    /* one without a reply for so long is lost */
#define CONNECT_MS 5000          /* for each connection */
#define DIGITS 8                 /* the number of a message, in hexadecimal, at its front */

const char *const bench_framings[] = {"line", "length", "raw"};

/* A message as it goes over the wire, and where its number stands. */
struct wire {
    char *bytes;
    size_t len, digits_at;
    bool is_numbered;
};

struct link {
    int fd; /* -1: the server has ended it */
    unsigned index;
    bool is_full;         /* the socket takes no more: wait for it */
    uint64_t due;         /* messages that were due so far */
    uint64_t last;        /* of this connection; then another takes its place */
    uint64_t sent_bytes;  /* of those, of a stream; of datagrams: messages */
    uint64_t replies;     /* or given up */
    uint64_t received_at; /* bytes of the reply that is coming */
    uint64_t heard_ns;    /* the last reply, for datagrams */
    uint64_t *begun_ns;   /* closed loop: of each message in flight, by its number */
};

struct bench {
    struct bench_options options;
    struct endpoint at; /* where to */
    struct wire question, answer;
    struct link *links;
    unsigned open_count;
    int epoll;
    char *buffer;
    bool is_stream, is_counting, is_over;
    uint64_t now_ns, begun_ns;
    uint64_t scheduled; /* open loop: messages that were due over all connections */
    struct bench_result *result;
};

static uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

/* ---- Messages ---- */

static int make_wire(struct wire *wire, const struct bench *bench, const char *text,
                     size_t len)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
    bool is_line = bench->is_stream && bench->options.framing == BENCH_LINE;
    size_t head = bench->is_stream && bench->options.framing == BENCH_LENGTH ? 4 : 0;
    size_t body = text ? len : bench->options.size;
    wire->len = head + body + is_line;
    wire->digits_at = head;
    wire->is_numbered = !text && body >= DIGITS;
    wire->bytes = malloc(wire->len ? wire->len : 1);
    if (!wire->bytes)
        return -ENOMEM;
    for (size_t i = 0; i < head; i++)
        wire->bytes[i] = (char)(body >> (8 * (head - 1 - i)));
    for (size_t i = 0; i < body; i++)
        wire->bytes[head + i] = (char)(text ? text[i] : letters[i % (sizeof letters - 1)]);
    if (is_line)
        wire->bytes[head + body] = '\n';
    return 0;
}

static void number(struct wire *wire, uint64_t message)
{
    static const char digits[] = "0123456789abcdef";
    if (!wire->is_numbered)
        return;
    char *at = wire->bytes + wire->digits_at + DIGITS;
    for (int i = 0; i < DIGITS; i++, message >>= 4)
        *--at = digits[message & 15];
}

/* ---- Times ---- */

/* When a message of a connection was due, or sent. */
static uint64_t begun_at(const struct bench *bench, const struct link *link,
                         uint64_t message)
{
    if (bench->options.rate <= 0)
        return link->begun_ns[message % bench->options.pipeline];
    double index =
        (double)message * (double)bench->options.connections + (double)link->index;
    return bench->begun_ns + (uint64_t)(index / bench->options.rate * (double)SECOND_NS);
}

static void count_reply(struct bench *bench, struct link *link)
{
    uint64_t begun_ns = begun_at(bench, link, link->replies);
    uint64_t measured_from = bench->begun_ns + bench->options.warmup_ns;
    link->replies++;
    link->heard_ns = bench->now_ns;
    if (!bench->is_counting || begun_ns < measured_from)
        return;
    bench->result->messages++;
    histogram_add(&bench->result->latency,
                  bench->now_ns > begun_ns ? bench->now_ns - begun_ns : 0);
}

/* ---- Sending ---- */

static void watch(struct bench *bench, struct link *link, int how)
{
    struct epoll_event event = {.events = EPOLLIN | (link->is_full ? EPOLLOUT : 0U),
                                .data.ptr = link};
    epoll_ctl(bench->epoll, how, link->fd, &event);
}

static void end_link(struct bench *bench, struct link *link)
{
    close(link->fd);
    link->fd = -1;
    bench->open_count--;
    bench->result->closed++;
}

/* What a send came to: how much, or 0 when the socket is full or gone. */
static size_t took(struct bench *bench, struct link *link, ssize_t taken)
{
    bool was_full = link->is_full;
    if (taken < 0 && errno != EAGAIN && errno != EINTR && errno != ENOBUFS &&
        (bench->is_stream || errno != ECONNREFUSED)) {
        end_link(bench, link);
        return 0;
    }
    link->is_full = taken < 0;
    if (link->is_full != was_full)
        watch(bench, link, EPOLL_CTL_MOD);
    if (taken > 0 && bench->is_counting)
        bench->result->sent += (uint64_t)taken;
    return taken > 0 ? (size_t)taken : 0;
}

/* Renders what is due and not sent, from the middle of a message if need be. */
static size_t render(struct bench *bench, const struct link *link)
{
    struct wire *wire = &bench->question;
    REQUIRE(wire->len > 0);
    uint64_t message = link->sent_bytes / wire->len;
    size_t skip = (size_t)(link->sent_bytes % wire->len), len = 0;
    while (message < link->due && len < BUFFER_LEN) {
        number(wire, message++);
        size_t piece = wire->len - skip, room = BUFFER_LEN - len;
        piece = piece < room ? piece : room;
        memcpy(bench->buffer + len, wire->bytes + skip, piece);
        len += piece;
        skip = 0;
    }
    return len;
}

static void send_stream(struct bench *bench, struct link *link)
{
    size_t len;
    while (link->fd >= 0 && !link->is_full && (len = render(bench, link)))
        link->sent_bytes +=
            took(bench, link, send(link->fd, bench->buffer, len, MSG_NOSIGNAL));
}

static void send_datagrams(struct bench *bench, struct link *link)
{
    struct wire *wire = &bench->question;
    while (link->fd >= 0 && !link->is_full && link->sent_bytes < link->due) {
        number(wire, link->sent_bytes);
        (void)took(bench, link, send(link->fd, wire->bytes, wire->len, MSG_NOSIGNAL));
        link->sent_bytes += !link->is_full;
    }
}

static void send_due(struct bench *bench, struct link *link)
{
    if (bench->is_stream)
        send_stream(bench, link);
    else
        send_datagrams(bench, link);
}

/* Closed loop: as many as are missing from the pipeline. */
static void refill(struct bench *bench, struct link *link)
{
    if (bench->options.rate > 0 || bench->is_over)
        return;
    uint64_t now_ns = clock_ns();
    while (link->due - link->replies < bench->options.pipeline && link->due < link->last)
        link->begun_ns[link->due++ % bench->options.pipeline] = now_ns;
    send_due(bench, link);
}

/* Open loop: what has become due since it was last looked. */
static void send_scheduled(struct bench *bench)
{
    const struct bench_options *options = &bench->options;
    double seconds = (double)(bench->now_ns - bench->begun_ns) / (double)SECOND_NS;
    uint64_t until = (uint64_t)(seconds * options->rate) + 1;
    REQUIRE(options->connections > 0);
    for (; bench->scheduled < until && !bench->is_over; bench->scheduled++) {
        struct link *link = &bench->links[bench->scheduled % options->connections];
        link->due++;
        if (link->fd >= 0 && !link->is_full)
            send_due(bench, link);
    }
}

/* ---- Connecting ---- */

/* Waits until it is connected. 0, or a negative errno. */
static int open_link(struct bench *bench, struct link *link, const struct endpoint *at)
{
    int on = 1;
    int kind = bench->is_stream ? SOCK_STREAM : SOCK_DGRAM;
    int family = at->at.sa.sa_family;
    struct timeval limit = {.tv_sec = CONNECT_MS / 1000};
    link->fd = socket(family, kind | SOCK_CLOEXEC, 0);
    if (link->fd < 0)
        return -errno;
    (void)setsockopt(link->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (bench->options.addr.transport == TRANSPORT_TCP)
        (void)setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct sockaddr any = {.sa_family = AF_UNIX}; /* unix(7), autobind: for the replies */
    if (!bench->is_stream && family == AF_UNIX &&
        bind(link->fd, &any, sizeof any.sa_family) < 0)
        return -errno;
    if (connect(link->fd, &at->at.sa, at->len) < 0)
        return errno == EINPROGRESS || errno == EAGAIN ? -ETIMEDOUT : -errno;
    (void)fcntl(link->fd, F_SETFL, O_NONBLOCK);
    watch(bench, link, EPOLL_CTL_ADD);
    return 0;
}

/* All that was due on it has been answered. */
static void reconnect(struct bench *bench, struct link *link)
{
    close(link->fd);
    if (open_link(bench, link, &bench->at)) {
        end_link(bench, link);
        return;
    }
    link->is_full = false;
    link->last += bench->options.reconnect;
    bench->result->reconnected += bench->is_counting;
}

/* ---- Receiving ---- */

static size_t sample(char to[BENCH_SAMPLE_MAX], const char *bytes, size_t len)
{
    len = len < BENCH_SAMPLE_MAX ? len : BENCH_SAMPLE_MAX;
    memcpy(to, bytes, len);
    return len;
}

static void count_wrong(struct bench *bench, const char *got, size_t got_len,
                        const char *expected, size_t expected_len)
{
    struct bench_result *result = bench->result;
    size_t at = 0;
    if (result->wrong++)
        return;
    while (at < got_len && at < expected_len && got[at] == expected[at])
        at++;
    result->got_len = sample(result->got, got + at, got_len - at);
    result->expected_len = sample(result->expected, expected + at, expected_len - at);
}

/* Compares a piece of a stream with the replies that are to come. */
static void check_stream(struct bench *bench, struct link *link, const char *bytes,
                         size_t len)
{
    struct wire *wire = &bench->answer;
    REQUIRE(wire->len > 0);
    while (len) {
        number(wire, link->replies);
        size_t at = (size_t)link->received_at, piece = wire->len - at;
        piece = piece < len ? piece : len;
        bool is_more = link->replies >= link->due;
        if (is_more || memcmp(bytes, wire->bytes + at, piece) != 0) {
            count_wrong(bench, bytes, len, wire->bytes + at, is_more ? 0 : wire->len - at);
            end_link(bench, link); /* it is out of step */
            return;
        }
        bytes += piece;
        len -= piece;
        link->received_at = at + piece == wire->len ? 0 : at + piece;
        if (link->received_at == 0)
            count_reply(bench, link);
    }
}

static void receive_stream(struct bench *bench, struct link *link)
{
    ssize_t got = recv(link->fd, bench->buffer, BUFFER_LEN, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        end_link(bench, link);
        return;
    }
    bench->now_ns = clock_ns();
    if (bench->is_counting)
        bench->result->received += (uint64_t)got;
    check_stream(bench, link, bench->buffer, (size_t)got);
    if (link->fd >= 0 && link->replies == link->last)
        reconnect(bench, link);
    if (link->fd >= 0)
        refill(bench, link);
}

/* The number in a datagram; what has none is the next one. */
static bool read_number(const struct bench *bench, const struct link *link, uint64_t *found)
{
    const struct wire *wire = &bench->answer;
    *found = link->replies;
    if (!wire->is_numbered)
        return true;
    uint64_t low = 0;
    for (int i = 0; i < DIGITS; i++) {
        char digit = bench->buffer[wire->digits_at + (size_t)i];
        bool is_digit = digit >= '0' && digit <= '9',
             is_letter = digit >= 'a' && digit <= 'f';
        if (!is_digit && !is_letter)
            return false;
        low = low << 4 | (uint64_t)(is_digit ? digit - '0' : digit - 'a' + 10);
    }
    *found = (link->due & ~UINT64_C(0xffffffff)) | low;
    return true;
}

/* Datagrams before it are lost; one that was given up before is passed over. */
static void check_datagram(struct bench *bench, struct link *link, size_t len)
{
    struct wire *wire = &bench->answer;
    uint64_t message;
    bool ok = len == wire->len && read_number(bench, link, &message) && message < link->due;
    if (ok && message < link->replies)
        return;
    if (ok) {
        number(wire, message);
        ok = memcmp(bench->buffer, wire->bytes, len) == 0;
    }
    if (!ok) {
        count_wrong(bench, bench->buffer, len, wire->bytes, wire->len);
        return;
    }
    bench->result->lost += bench->is_counting ? message - link->replies : 0;
    link->replies = message;
    count_reply(bench, link);
}

static void receive_datagrams(struct bench *bench, struct link *link)
{
    for (unsigned i = 0; i < EVENTS; i++) {
        ssize_t got = recv(link->fd, bench->buffer, BUFFER_LEN, 0);
        if (got < 0)
            break; /* also ECONNREFUSED: nobody is there; it is lost, as any other */
        bench->now_ns = clock_ns();
        if (bench->is_counting)
            bench->result->received += (uint64_t)got;
        check_datagram(bench, link, (size_t)got);
    }
    refill(bench, link);
}

static void give_up_datagrams(struct bench *bench)
{
    for (unsigned i = 0; i < bench->options.connections; i++) {
        struct link *link = &bench->links[i];
        bool is_late = link->replies < link->due && link->sent_bytes == link->due &&
                       link->heard_ns + DATAGRAM_NS < bench->now_ns;
        if (link->fd < 0 || !is_late)
            continue;
        bench->result->lost += bench->is_counting ? link->due - link->replies : 0;
        link->replies = link->due;
        link->heard_ns = bench->now_ns;
        refill(bench, link);
    }
}

/* ---- Running ---- */

static void on_ready(struct bench *bench, struct link *link, uint32_t events)
{
    if (link->fd < 0)
        return;
    if (events & EPOLLOUT) {
        link->is_full = false;
        watch(bench, link, EPOLL_CTL_MOD);
        send_due(bench, link);
    }
    if (link->fd < 0 || !(events & ~(uint32_t)EPOLLOUT))
        return;
    if (bench->is_stream)
        receive_stream(bench, link);
    else
        receive_datagrams(bench, link);
}

/* Until something is ready or that time has come. */
static void wait_until(struct bench *bench, uint64_t at_ns)
{
    struct epoll_event events[EVENTS];
    uint64_t left_ns = at_ns > bench->now_ns ? at_ns - bench->now_ns : 0;
    struct timespec left = {.tv_sec = (time_t)(left_ns / SECOND_NS),
                            .tv_nsec = (long)(left_ns % SECOND_NS)};
    int count = epoll_pwait2(bench->epoll, events, EVENTS, &left, NULL);
    bench->now_ns = clock_ns();
    for (int i = 0; i < count; i++)
        on_ready(bench, events[i].data.ptr, events[i].events);
}

static uint64_t next_scheduled(const struct bench *bench)
{
    return bench->begun_ns +
           (uint64_t)((double)bench->scheduled / bench->options.rate * (double)SECOND_NS);
}

static void drive(struct bench *bench, uint64_t until_ns)
{
    uint64_t progress_ns = bench->now_ns + PROGRESS_NS;
    while (bench->now_ns < until_ns && bench->open_count) {
        uint64_t at_ns = progress_ns < until_ns ? progress_ns : until_ns;
        if (bench->options.rate > 0) {
            send_scheduled(bench);
            uint64_t next_ns = next_scheduled(bench);
            at_ns = next_ns < at_ns ? next_ns : at_ns;
        }
        wait_until(bench, at_ns);
        if (bench->now_ns < progress_ns)
            continue;
        progress_ns = bench->now_ns + PROGRESS_NS;
        if (!bench->is_stream)
            give_up_datagrams(bench);
        if (bench->options.on_progress)
            bench->options.on_progress(bench->options.owner,
                                       (double)(bench->now_ns - bench->begun_ns) /
                                           (double)SECOND_NS,
                                       bench->result->messages, &bench->result->latency);
    }
}

static bool is_answered(const struct bench *bench)
{
    for (unsigned i = 0; i < bench->options.connections; i++)
        if (bench->links[i].fd >= 0 && bench->links[i].replies < bench->links[i].due)
            return false;
    return true;
}

/* Open loop: what was due in the time and is answered late counts, with how late it is. */
static void wait_for_the_last(struct bench *bench)
{
    uint64_t until_ns = bench->now_ns + GRACE_NS;
    bench->is_over = true;
    if (bench->options.rate <= 0)
        return;
    while (!is_answered(bench) && bench->now_ns < until_ns)
        wait_until(bench, until_ns);
    for (unsigned i = 0; i < bench->options.connections; i++)
        bench->result->lost += bench->links[i].due - bench->links[i].replies;
}

int bench_run(struct bench *bench, struct bench_result *result)
{
    const struct bench_options *options = &bench->options;
    *result = (struct bench_result){0};
    bench->result = result;
    bench->begun_ns = bench->now_ns = clock_ns();
    for (unsigned i = 0; i < options->connections; i++) {
        bench->links[i].heard_ns = bench->now_ns;
        refill(bench, &bench->links[i]);
    }
    drive(bench, bench->begun_ns + options->warmup_ns);
    bench->is_counting = true;
    uint64_t counted_ns = bench->now_ns;
    drive(bench, bench->begun_ns + options->warmup_ns + options->duration_ns);
    result->seconds = (double)(bench->now_ns - counted_ns) / (double)SECOND_NS;
    wait_for_the_last(bench);
    return bench->open_count ? 0 : -ECONNRESET;
}

/* ---- Its life ---- */

static int connect_links(struct bench *bench)
{
    struct endpoint at[2];
    int count = addr_endpoints(&bench->options.addr, at), use = 0;
    for (unsigned i = 0; i < bench->options.connections; i++) {
        struct link *link = &bench->links[i];
        int failed = open_link(bench, link, &at[use]);
        if (failed && i == 0 && use + 1 < count) { /* localhost: the other one */
            close(link->fd);
            failed = open_link(bench, link, &at[++use]);
        }
        if (failed)
            return failed;
        link->index = i;
        if (bench->options.rate <= 0 &&
            !(link->begun_ns = calloc(bench->options.pipeline, sizeof *link->begun_ns)))
            return -ENOMEM;
        link->last = bench->options.reconnect ? bench->options.reconnect : UINT64_MAX;
        bench->open_count++;
    }
    bench->at = at[use];
    return 0;
}

struct bench *bench_open(const struct bench_options *options, int *failed)
{
    struct bench *bench = calloc(1, sizeof *bench);
    *failed = -ENOMEM;
    if (!bench)
        return NULL;
    bench->options = *options;
    bench->epoll = -1;
    bench->is_stream = transport_is_stream(options->addr.transport);
    bench->links = calloc(options->connections, sizeof *bench->links);
    bench->buffer = malloc(BUFFER_LEN);
    for (unsigned i = 0; bench->links && i < options->connections; i++)
        bench->links[i].fd = -1;
    if (bench->links && bench->buffer &&
        make_wire(&bench->question, bench, options->message, options->message_len) == 0 &&
        make_wire(&bench->answer, bench, options->expect, options->expect_len) == 0) {
        bench->epoll = epoll_create1(EPOLL_CLOEXEC);
        *failed = bench->epoll < 0 ? -errno : connect_links(bench);
    }
    if (*failed) {
        bench_close(bench);
        return NULL;
    }
    return bench;
}

void bench_close(struct bench *bench)
{
    if (!bench)
        return;
    for (unsigned i = 0; bench->links && i < bench->options.connections; i++) {
        if (bench->links[i].fd >= 0)
            close(bench->links[i].fd);
        free(bench->links[i].begun_ns);
    }
    if (bench->epoll >= 0)
        close(bench->epoll);
    free(bench->question.bytes);
    free(bench->answer.bytes);
    free(bench->buffer);
    free(bench->links);
    free(bench);
}
