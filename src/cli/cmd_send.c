/* cli/cmd_send.c - `neap send`: a small client. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "cli/address.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/input.h"
#include "cli/report.h"
#include "cli/sink.h"

#define TIMEOUT_DEFAULT_MS 5000
#define TIMEOUT_MAX_S 1000000
#define REPLIES_MAX 1000000000

struct options {
    bool line;
    bool hex;
    bool keep_open;
    const char *file;
    int timeout_ms;
    int replies; /* -1: not given */
};

/* Everything one run of `send` holds. */
struct sending {
    struct options options;
    struct addr addr;
    char peer[ADDR_TEXT_MAX];
    int fd; /* input; -1: texts */
    struct input input;
    struct sink sink;
    struct client client;
};

static int set_line(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    (void)value;
    (void)why;
    ((struct options *)options)->line = true;
    return 0;
}

static int set_hex(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    (void)value;
    (void)why;
    ((struct options *)options)->hex = true;
    return 0;
}

static int set_keep_open(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    (void)value;
    (void)why;
    ((struct options *)options)->keep_open = true;
    return 0;
}

static int set_file(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    (void)why;
    ((struct options *)options)->file = value;
    return 0;
}

static int set_timeout(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    /* strtod alone would also take "inf", "0x1p3" and "-0". */
    size_t whole = strspn(value, "0123456789");
    size_t len = whole;
    if (value[len] == '.')
        len += 1 + strspn(value + len + 1, "0123456789");
    double seconds = strtod(value, NULL);
    if (whole == 0 || value[len] || seconds > TIMEOUT_MAX_S) {
        snprintf(why, FLAGS_WHY_MAX,
                 "must be a number of seconds, at most %d; 0 waits for ever",
                 TIMEOUT_MAX_S);
        return -EINVAL;
    }
    int ms = (int)(seconds * 1000 + 0.999);
    ((struct options *)options)->timeout_ms = ms == 0 ? -1 : ms;
    return 0;
}

static int set_replies(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    char *end;
    errno = 0;
    long number = strtol(value, &end, 10);
    if (*value < '0' || *value > '9' || *end || errno || number > REPLIES_MAX) {
        snprintf(why, FLAGS_WHY_MAX, "must be a number from 0 to %d", REPLIES_MAX);
        return -EINVAL;
    }
    ((struct options *)options)->replies = (int)number;
    return 0;
}

static const struct example send_examples[] = {
    {"neap send 4343 'Hello...'", "to tcp://127.0.0.1:4343; prints the reply"},
    {"neap send --line tcp://[::1]:7000 login bye", "two lines"},
    {"neap send udp://127.0.0.1:5353 --hex '00 01 ff'", "a datagram of three bytes"},
    {"neap send unix:///run/app.sock --file request.bin", "what is in a file"},
    {"neap send 4343", "a conversation; Ctrl-D ends it"},
    {NULL, NULL},
};

static const struct flag send_flags[] = {
    {"line", 0, NULL,
     "send each TEXT, or each line of the input, with a newline at its end; to udp and "
     "unixgram as a datagram each",
     NULL, false, set_line},
    {"hex", 0, NULL, "TEXT is hexadecimal, two digits a byte", NULL, false, set_hex},
    {"file", 0, "FILE", "send what is in FILE; - is standard input", NULL, false, set_file},
    {"keep-open", 0, NULL, "do not half-close the stream after the last byte", NULL, false,
     set_keep_open},
    {"timeout", 0, "SECONDS",
     "give up when nothing was sent or received for so long; 5 if nothing is said, 0 is "
     "never",
     NULL, false, set_timeout},
    {"replies", 0, "N", "wait for N replies to each datagram; 1 if nothing is said", NULL,
     false, set_replies},
    {.name = NULL},
};

static int check_options(const struct sending *sending, int texts)
{
    const struct options *options = &sending->options;
    bool streams = transport_is_stream(sending->addr.transport);
    const char *wrong = NULL;
    if (options->file && texts > 0)
        wrong = "--file and TEXT: only one can be sent";
    else if (options->hex && texts == 0)
        wrong = "--hex needs TEXT after the address";
    else if (options->replies >= 0 && streams)
        wrong = "--replies counts datagrams: a stream has none";
    else if (options->keep_open && !streams)
        wrong = "--keep-open is for streams: datagrams have no end";
    if (wrong)
        report_error("%s; try 'neap help send'", wrong);
    return wrong ? EX_USAGE : EX_OK;
}

static int open_texts(struct sending *sending, const struct flags_line *line)
{
    const char *bad = "";
    struct input_shape shape = {
        .is_datagrams = !transport_is_stream(sending->addr.transport),
        .adds_newline = sending->options.line,
        .is_hex = sending->options.hex,
    };
    int rc = input_init_texts(&sending->input, &shape, line->operands + 1,
                              line->operand_count - 1, &bad);
    if (rc == 0)
        return EX_OK;
    if (rc == -EINVAL) {
        report_error("--hex '%.200s': needs two hexadecimal digits for each byte", bad);
        return EX_USAGE;
    }
    report_error("%s", strerror(-rc));
    return EX_OSERR;
}

static int open_input(struct sending *sending)
{
    const struct options *options = &sending->options;
    sending->fd = STDIN_FILENO;
    if (options->file && strcmp(options->file, "-") != 0) {
        sending->fd = open(options->file, O_RDONLY | O_CLOEXEC);
        if (sending->fd < 0) {
            int error = errno;
            report_error("--file '%s': %s", options->file, strerror(error));
            return error == EACCES ? EX_NOPERM : EX_NOINPUT;
        }
    }
    bool is_typed = !options->file && isatty(STDIN_FILENO);
    struct input_shape shape = {
        .is_datagrams = !transport_is_stream(sending->addr.transport),
        .is_split = options->line || is_typed,
        .adds_newline = options->line,
        .is_typed = is_typed,
    };
    input_init_fd(&sending->input, &shape, sending->fd);
    return EX_OK;
}

static int report_silence(const struct sending *sending)
{
    if (sending->input.shape.is_typed)
        return EX_OK;
    report_error("no reply from %s within %g s", sending->peer,
                 (double)sending->options.timeout_ms / 1000);
    return 1;
}

static int report_cut(const struct sending *sending)
{
    if (sending->client.error == -ETIMEDOUT)
        report_error("%s took no more bytes for %g s", sending->peer,
                     (double)sending->options.timeout_ms / 1000);
    else
        report_error("%s closed before all was sent", sending->peer);
    return 1;
}

static int report_lost(const struct sending *sending)
{
    int error = sending->client.error;
    if (error == -ECONNREFUSED)
        return address_report_unreached(sending->peer, "reach", error);
    report_error("%s: %s", sending->peer, strerror(-error));
    return 1;
}

static int report_input(const struct sending *sending)
{
    int error = sending->client.error;
    const char *name = sending->options.file ? sending->options.file : "standard input";
    if (error == -EMSGSIZE)
        report_error("%s: more than %d bytes do not fit into a datagram", name,
                     INPUT_PIECE);
    else
        report_error("%s: %s", name, strerror(-error));
    return 1;
}

static int report_end(const struct sending *sending, enum client_end end)
{
    switch (end) {
    case CLIENT_DONE:
    case CLIENT_QUIET:
        return EX_OK;
    case CLIENT_SILENT:
        return report_silence(sending);
    case CLIENT_CUT:
        return report_cut(sending);
    case CLIENT_LOST:
        return report_lost(sending);
    case CLIENT_NO_INPUT:
        return report_input(sending);
    case CLIENT_NO_OUTPUT:
        report_error("standard output: %s", strerror(-sending->client.error));
        return 1;
    }
    return 1;
}

static int converse(struct sending *sending)
{
    const struct options *options = &sending->options;
    bool is_typed = sending->input.shape.is_typed;
    struct client_config config = {
        .addr = &sending->addr,
        .input = &sending->input,
        .sink = &sending->sink,
        .timeout_ms = options->timeout_ms,
        .replies = options->replies < 0 ? 1 : (uint64_t)options->replies,
        .is_kept_open = options->keep_open,
    };
    int rc = client_open(&sending->client, &config);
    if (rc < 0)
        return address_report_unreached(sending->peer, "connect to", rc);
    if (is_typed)
        fprintf(stderr, "%s: type lines to send; Ctrl-D ends\n", sending->peer);
    enum client_end end = client_run(&sending->client);
    rc = end == CLIENT_NO_OUTPUT ? 0 : sink_end_line(&sending->sink);
    if (rc < 0) {
        end = CLIENT_NO_OUTPUT;
        sending->client.error = rc;
    }
    if (is_typed && sending->client.is_peer_closed)
        fprintf(stderr, "%s: closed\n", sending->peer);
    return report_end(sending, end);
}

static int send_all(struct sending *sending, const struct flags_line *line)
{
    if (line->operand_count == 0) {
        report_error("an ADDR to send to is missing; try 'neap help send'");
        return EX_USAGE;
    }
    int texts = line->operand_count - 1;
    int status = address_read(&sending->addr, line->operands[0], sending->peer);
    if (status == EX_OK)
        status = check_options(sending, texts);
    if (status == EX_OK)
        status = texts > 0 ? open_texts(sending, line) : open_input(sending);
    return status == EX_OK ? converse(sending) : status;
}

static int run(int argc, char **argv)
{
    struct flags_line line = {.argc = argc, .argv = argv};
    struct sending sending = {
        .options = {.timeout_ms = TIMEOUT_DEFAULT_MS, .replies = -1},
        .fd = -1,
        .client = {.fd = -1},
    };
    sink_init(&sending.sink, STDOUT_FILENO);
    int status = command_parse(&cmd_send, &line, &sending.options);
    if (status == COMMAND_GO_ON)
        status = send_all(&sending, &line);
    client_close(&sending.client);
    input_fini(&sending.input);
    sink_fini(&sending.sink);
    if (sending.fd > STDERR_FILENO)
        close(sending.fd);
    return status;
}

const struct command cmd_send = {
    .name = "send",
    .summary = "send to a server and print what comes back",
    .usage = "send ADDR [TEXT]... [FLAG]...",
    .about =
        "Sends the TEXTs, joined with single spaces and without a newline, or without TEXT "
        "what is in a file or on standard input. A stream is then half-closed, and what "
        "comes back is printed until the server closes; of datagrams, the first reply. On "
        "a terminal each line is sent as it is typed, and bytes that could drive the "
        "terminal are printed as \\xNN.\n"
        "ADDR is as in neap run, or HOST:PORT for TCP. A TEXT that begins with a dash "
        "stands behind --.",
    .operand = "ADDR",
    .operand_max = COMMAND_ANY,
    .examples = send_examples,
    .flags = send_flags,
    .run = run,
};
