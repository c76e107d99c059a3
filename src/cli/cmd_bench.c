/* cli/cmd_bench.c - `neap bench`: load on a server, and what it made of it. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

#include <jansson.h>

#include "cli/address.h"
#include "cli/bench.h"
#include "cli/command.h"
#include "cli/report.h"

#define CONNECTIONS_MAX 1000000
#define PIPELINE_MAX 65536
#define SIZE_MAX_BYTES (64 << 20)
#define DATAGRAM_MAX 65507
#define SECONDS_MAX 1000000
#define RATE_MAX 1e9

struct options {
    struct bench_options bench;
    bool json;
};

/* Everything one run of `bench` holds. */
struct benching {
    struct options options;
    char peer[ADDR_TEXT_MAX];
    struct bench *bench;
    struct bench_result result;
    bool has_progress;
};

/* ---- Flags ---- */

static int read_number(const char *value, double least, double most, double *number,
                       char why[FLAGS_WHY_MAX])
{
    char *end;
    size_t len = strspn(value, "0123456789.");
    *number = strtod(value, &end);
    if (len > 0 && len == strlen(value) && !*end && *number >= least && *number <= most)
        return 0;
    snprintf(why, FLAGS_WHY_MAX, "must be a number from %.6g to %.10g", least, most);
    return -EINVAL;
}

static int read_count(const char *value, unsigned most, unsigned *count,
                      char why[FLAGS_WHY_MAX])
{
    double number;
    int failed = read_number(value, 1, most, &number, why);
    if (!failed && number != floor(number)) {
        snprintf(why, FLAGS_WHY_MAX, "must be a whole number");
        failed = -EINVAL;
    }
    if (!failed)
        *count = (unsigned)number;
    return failed;
}

static int set_connections(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    return read_count(value, CONNECTIONS_MAX,
                      &((struct options *)options)->bench.connections, why);
}

static int set_pipeline(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    return read_count(value, PIPELINE_MAX, &((struct options *)options)->bench.pipeline,
                      why);
}

static int set_reconnect(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    return read_count(value, UINT32_MAX, &((struct options *)options)->bench.reconnect,
                      why);
}

static int set_size(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    unsigned size;
    int failed = read_count(value, SIZE_MAX_BYTES, &size, why);
    if (!failed)
        ((struct options *)options)->bench.size = size;
    return failed;
}

static int set_framing(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    int framing = flags_choice(value, bench_framings, 3, why);
    if (framing < 0)
        return framing;
    ((struct options *)options)->bench.framing = (enum bench_framing)framing;
    return 0;
}

static int set_seconds(uint64_t *ns, const char *value, double least,
                       char why[FLAGS_WHY_MAX])
{
    double seconds;
    int failed = read_number(value, least, SECONDS_MAX, &seconds, why);
    if (!failed)
        *ns = (uint64_t)(seconds * 1e9);
    return failed;
}

static int set_duration(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    return set_seconds(&((struct options *)options)->bench.duration_ns, value, 0.01, why);
}

static int set_warmup(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    return set_seconds(&((struct options *)options)->bench.warmup_ns, value, 0, why);
}

static int set_rate(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    return read_number(value, 0.01, RATE_MAX, &((struct options *)options)->bench.rate,
                       why);
}

static int set_message(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    (void)why;
    struct bench_options *bench = &((struct options *)options)->bench;
    bench->message = value;
    bench->message_len = strlen(value);
    return 0;
}

static int set_expect(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    (void)why;
    struct bench_options *bench = &((struct options *)options)->bench;
    bench->expect = value;
    bench->expect_len = strlen(value);
    return 0;
}

static int set_json(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    (void)value;
    (void)why;
    ((struct options *)options)->json = true;
    return 0;
}

static const struct example bench_examples[] = {
    {"neap bench 4343",
     "50 connections to an echo of lines, as fast as it answers, for 10 s"},
    {"neap bench 4343 -c 1000 --rate 20000", "20,000 messages a second, come what may"},
    {"neap bench 4343 -p 16 --json", "16 in flight on each connection; for a program"},
    {"neap bench udp://127.0.0.1:4343 -c 8 -p 4", "datagrams"},
    {"neap bench 4343 --message time --expect noon", "a server that is no echo"},
    {NULL, NULL},
};

static const struct flag bench_flags[] = {
    {"connections", 'c', "N", "that many at once; 50 if nothing is said", NULL, false,
     set_connections},
    {"pipeline", 'p', "N", "messages in flight on each; 1 if nothing is said", NULL, false,
     set_pipeline},
    {"size", 's', "BYTES",
     "of each message, without its framing; 64 if nothing is said. From 8 bytes on it "
     "bears "
     "a number, so that a reply out of order is found",
     NULL, false, set_size},
    {"framing", 'f', "line|length|raw",
     "of streams: a newline behind each message, 4 bytes of length before it, or nothing; "
     "line if nothing is said",
     NULL, false, set_framing},
    {"duration", 'd', "SECONDS", "how long is measured; 10 if nothing is said", NULL, false,
     set_duration},
    {"warmup", 'w', "SECONDS", "before that, not measured; 1 if nothing is said", NULL,
     false, set_warmup},
    {"rate", 'r', "N",
     "messages a second over all connections, each timed from when it was due, answered or "
     "not; without it each connection waits for its replies",
     NULL, false, set_rate},
    {"reconnect", 0, "N",
     "after N messages on a connection another one takes its place; not with --rate", NULL,
     false, set_reconnect},
    {"message", 0, "TEXT", "send this instead", NULL, false, set_message},
    {"expect", 0, "TEXT", "the reply that is right, if the server is no echo", NULL, false,
     set_expect},
    {"json", 0, NULL, "print a JSON object", NULL, false, set_json},
    {.name = NULL},
};

/* ---- Progress ---- */

static void on_progress(void *owner, double seconds, uint64_t messages,
                        const struct histogram *latency)
{
    struct benching *benching = owner;
    const struct bench_options *options = &benching->options.bench;
    char text[HISTOGRAM_TIME_MAX];
    double warmup = (double)options->warmup_ns / 1e9;
    benching->has_progress = true;
    if (seconds <= warmup) {
        fprintf(stderr, "\r\033[K%.1f s warming up", seconds);
        return;
    }
    histogram_format(histogram_quantile(latency, 0.99), text);
    fprintf(stderr, "\r\033[K%.1f of %g s  %.0f messages/s  p99 %s", seconds - warmup,
            (double)options->duration_ns / 1e9, (double)messages / (seconds - warmup),
            text);
}

static void end_progress(const struct benching *benching)
{
    if (benching->has_progress)
        fputs("\r\033[K", stderr);
}

/* ---- Results ---- */

static const struct {
    const char *name;
    double share;
} quantiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}};

static double rate_of(const struct bench_result *result, uint64_t count)
{
    return result->seconds > 0 ? (double)count / result->seconds : 0;
}

static void print_text(const struct benching *benching)
{
    const struct bench_options *options = &benching->options.bench;
    const struct bench_result *result = &benching->result;
    char text[HISTOGRAM_TIME_MAX];
    printf("%s: %u connection%s, ", benching->peer, options->connections,
           options->connections == 1 ? "" : "s");
    if (options->rate > 0)
        printf("%g messages/s due\n", options->rate);
    else
        printf("%u in flight on each\n", options->pipeline);
    printf("messages  %llu in %.2f s, %.0f/s\n", (unsigned long long)result->messages,
           result->seconds, rate_of(result, result->messages));
    if (options->reconnect)
        printf("connects  %llu, %.0f/s\n", (unsigned long long)result->reconnected,
               rate_of(result, result->reconnected));
    printf("bytes     %.1f MB/s sent, %.1f MB/s received\n",
           rate_of(result, result->sent) / 1e6, rate_of(result, result->received) / 1e6);
    printf("errors    %llu wrong, %llu lost, %llu connections closed\n",
           (unsigned long long)result->wrong, (unsigned long long)result->lost,
           (unsigned long long)result->closed);
    printf("latency   ");
    for (size_t i = 0; i < ARRAY_LEN(quantiles); i++) {
        histogram_format(histogram_quantile(&result->latency, quantiles[i].share), text);
        printf("%s %s  ", quantiles[i].name, text);
    }
    histogram_format(result->latency.longest_ns, text);
    printf("max %s\n", text);
    histogram_print(&result->latency, stdout);
}

static void print_json(const struct benching *benching)
{
    const struct bench_options *options = &benching->options.bench;
    const struct bench_result *result = &benching->result;
    json_t *latency = json_object();
    for (size_t i = 0; i < ARRAY_LEN(quantiles); i++)
        json_object_set_new(
            latency, quantiles[i].name,
            json_real((double)histogram_quantile(&result->latency, quantiles[i].share) /
                      1e3));
    json_object_set_new(latency, "max",
                        json_real((double)result->latency.longest_ns / 1e3));
    json_t *answer = json_pack(
        "{s:s,s:i,s:i,s:f,s:f,s:I,s:f,s:I,s:I,s:I,s:I,s:I,s:I,s:o}", "address",
        benching->peer, "connections", (int)options->connections, "pipeline",
        (int)options->pipeline, "rate", options->rate, "seconds", result->seconds,
        "messages", (json_int_t)result->messages, "messages_per_second",
        rate_of(result, result->messages), "bytes_sent", (json_int_t)result->sent,
        "bytes_received", (json_int_t)result->received, "wrong", (json_int_t)result->wrong,
        "lost", (json_int_t)result->lost, "closed", (json_int_t)result->closed,
        "reconnected", (json_int_t)result->reconnected, "latency_us", latency);
    if (answer)
        json_dumpf(answer, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(answer);
}

/* ---- Running ---- */

static int check_options(struct benching *benching)
{
    struct bench_options *options = &benching->options.bench;
    bool is_stream = transport_is_stream(options->addr.transport);
    if (options->message && !options->expect) {
        options->expect = options->message;
        options->expect_len = options->message_len;
    }
    bool is_empty = options->message && (!options->message_len || !options->expect_len);
    size_t longest = options->message ? options->message_len : options->size;
    const char *wrong = NULL;
    if (options->expect && !options->message)
        wrong = "--expect is the reply to a --message";
    else if (!is_stream && longest > DATAGRAM_MAX)
        wrong = "--size: a datagram has at most 65507 bytes";
    else if (options->reconnect && (options->rate > 0 || !is_stream))
        wrong = "--reconnect is for streams without --rate";
    else if (is_stream && options->framing == BENCH_RAW && is_empty)
        wrong = "without framing --message and --expect cannot be empty";
    if (wrong)
        report_error("%s; try 'neap help bench'", wrong);
    return wrong ? EX_USAGE : EX_OK;
}

static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int measure(struct benching *benching)
{
    int failed;
    raise_descriptors();
    benching->options.bench.owner = benching;
    if (!benching->options.json && isatty(STDERR_FILENO))
        benching->options.bench.on_progress = on_progress;
    benching->bench = bench_open(&benching->options.bench, &failed);
    if (!benching->bench)
        return address_report_unreached(benching->peer, "connect to", failed);
    failed = bench_run(benching->bench, &benching->result);
    end_progress(benching);
    if (benching->options.json)
        print_json(benching);
    else
        print_text(benching);
    const struct bench_result *result = &benching->result;
    if (result->wrong)
        report_error("a wrong reply: '%.*s' instead of '%.*s'", (int)result->got_len,
                     result->got, (int)result->expected_len, result->expected);
    else if (failed)
        report_error("%s has ended all connections", benching->peer);
    bool ok = !failed && result->messages > 0 &&
              result->wrong + result->lost + result->closed == 0;
    return ok ? EX_OK : 1;
}

static int run(int argc, char **argv)
{
    struct flags_line line = {.argc = argc, .argv = argv};
    struct benching benching = {.options.bench = {.connections = 50,
                                                  .pipeline = 1,
                                                  .size = 64,
                                                  .duration_ns = UINT64_C(10000000000),
                                                  .warmup_ns = UINT64_C(1000000000)}};
    int status = command_parse(&cmd_bench, &line, &benching.options);
    if (status != COMMAND_GO_ON)
        return status;
    if (line.operand_count != 1) {
        report_error("an ADDR to send to is missing; try 'neap help bench'");
        return EX_USAGE;
    }
    status = address_read(&benching.options.bench.addr, line.operands[0], benching.peer);
    if (status == EX_OK)
        status = check_options(&benching);
    if (status == EX_OK)
        status = measure(&benching);
    bench_close(benching.bench);
    return status;
}

const struct command cmd_bench = {
    .name = "bench",
    .summary = "put load on a server and measure it",
    .usage = "bench ADDR [FLAG]...",
    .about =
        "Opens connections, sends messages, compares every reply with what was sent, and "
        "prints how many there were and how long they took. Without --rate each connection "
        "sends its next message when a reply has come (closed loop); with it messages are "
        "sent when they are due, and timed from then, so that a server that stalls is "
        "charged with all that had to wait (open loop).\n"
        "ADDR is as in neap run, or HOST:PORT for TCP. Quantiles are exact to 3 %. Exit "
        "status 1: a reply was wrong or lost, or the server closed a connection.",
    .operand = "ADDR",
    .operand_max = 1,
    .examples = bench_examples,
    .flags = bench_flags,
    .run = run,
};
