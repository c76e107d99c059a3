/* tests/fuzz/fuzz_codec.c - any framing, any stream, cut anywhere.
 *
 *     input    [ framing | limit | a | b | pieces: 4 bytes | stream ]
 *
 * What:   `a` and `b` are the framing's parameters; the stream comes in pieces of those lengths,
 *         over and over, and then once more as a whole.
 * Checks: both ways give the same messages and the same end; frames stay inside the bytes and
 *         the limit; the state is as codec.h promises; a message encoded again decodes to
 *         itself. Each decode gets a copy of exactly its bytes, so that a sanitizer sees a
 *         read past them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/require.h"
#include "codec/codec.h"

#define SETTINGS_LEN 8
#define PIECE_COUNT 4

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t len);

struct settings {
    struct codec codec;
    size_t max_message;
    const uint8_t *pieces;
};

/* What a stream was decoded to; equal outcomes mean equal messages. */
struct outcome {
    uint64_t messages; /* a hash of where each lay and how long it was */
    size_t consumed;
    int result;
};

/* Four bytes say total (two), head and tail; two values of the first mean other answers. */
static int four_bytes_decode(void *context, const char *bytes, size_t len,
                             struct codec_frame *frame)
{
    (void)context;
    if ((unsigned char)bytes[0] == 0xfe)
        return -ECANCELED;
    if (len < 4 || (unsigned char)bytes[0] == 0xff)
        return CODEC_MORE;
    frame->total = (size_t)(unsigned char)bytes[0] | (size_t)(unsigned char)bytes[1] << 8;
    frame->head = (unsigned char)bytes[2];
    frame->tail = (unsigned char)bytes[3];
    return CODEC_FRAME;
}

static int init_delimiter(struct codec *codec, uint8_t a, uint8_t b, const char **why)
{
    char delimiter[CODEC_DELIMITER_MAX];
    size_t len = 1 + a % sizeof(delimiter);
    for (size_t i = 0; i < len; i++)
        delimiter[i] = (char)('a' + (b >> (i % 8) & 1));
    return codec_init_delimiter(codec, delimiter, len, why);
}

static int init_length(struct codec *codec, uint8_t a, uint8_t b, const char **why)
{
    static const int64_t adjusts[] = {0, -1, -2, -4, 1, 4, INT64_MIN, INT64_MAX};
    struct codec_length_spec spec = {
        .bytes = a % 9,
        .endian = a & 0x80 ? CODEC_LITTLE : CODEC_BIG,
        .adjust = adjusts[b % ARRAY_LEN(adjusts)],
        .strip = b & 0x08 ? CODEC_STRIP_FIELD : 0,
    };
    if (b & 0x80) {
        spec.send_raw = true;
        spec.offset = b >> 4 & 7;
        spec.strip = b & 0x08 ? CODEC_STRIP_FIELD : (size_t)a >> 3 & 15;
    }
    return codec_init_length(codec, &spec, why);
}

static int init_codec(struct codec *codec, const uint8_t *input)
{
    const char *why = NULL;
    uint8_t a = input[2];
    uint8_t b = input[3];
    switch (input[0] % 7) {
    case 0:
        codec_init_raw(codec);
        return 0;
    case 1:
        return codec_init_line(codec, a % 2 ? "\n" : "\r\n", a % 2 ? 1 : 2, &why);
    case 2:
        return init_delimiter(codec, a, b, &why);
    case 3:
        return codec_init_fixed(codec, (size_t)a << 8 | b, &why);
    case 4:
        return init_length(codec, a, b, &why);
    case 5:
        codec_init_netstring(codec);
        return 0;
    default:
        return codec_init_custom(codec, four_bytes_decode, NULL, a, &why);
    }
}

static char *exact_copy(const char *bytes, size_t len)
{
    char *copy = malloc(len ? len : 1);
    REQUIRE(copy);
    memcpy(copy, bytes, len);
    return copy;
}

static bool is(const struct codec *codec, const char *name)
{
    return strcmp(codec->ops->name, name) == 0;
}

/* Is encoding the inverse of decoding for this message? */
static bool can_go_back(const struct codec *codec, const char *message, size_t len)
{
    if (codec->send_raw || is(codec, "custom"))
        return false;
    /* A '\r' that was followed by another becomes the one that is stripped. */
    if (is(codec, "line") && codec->as.line.eol_len == 1)
        return len == 0 || message[len - 1] != '\r';
    return len > 0 || !is(codec, "raw");
}

static void check_way_back(const struct settings *settings, const char *message, size_t len)
{
    struct codec_envelope envelope;
    if (!can_go_back(&settings->codec, message, len))
        return;
    REQUIRE(codec_encode(&settings->codec, len, &envelope) == 0);
    REQUIRE(envelope.head_len <= sizeof(envelope.head));

    size_t total = envelope.head_len + len + envelope.tail_len;
    char *bytes = malloc(total);
    REQUIRE(bytes);
    memcpy(bytes, envelope.head, envelope.head_len);
    memcpy(bytes + envelope.head_len, message, len);
    memcpy(bytes + envelope.head_len + len, envelope.tail, envelope.tail_len);

    struct codec_state state = {0};
    struct codec_frame frame;
    REQUIRE(codec_decode(&settings->codec, &state, bytes, total, settings->max_message,
                         &frame) == CODEC_FRAME);
    REQUIRE(frame.total == total);
    REQUIRE(frame.total - frame.head - frame.tail == len);
    REQUIRE(memcmp(bytes + frame.head, message, len) == 0);
    free(bytes);
}

static void check_more(const struct settings *settings, const struct codec_state *state,
                       size_t len)
{
    size_t missing = codec_missing(state, len);
    REQUIRE(state->scanned <= len);
    REQUIRE(missing == (state->frame.total ? state->frame.total - len : 0));
    REQUIRE(state->frame.total == 0 || missing >= 1);
    REQUIRE(len < settings->max_message + CODEC_PEEK_MAX);
}

static size_t check_frame(const struct settings *settings, const struct codec_frame *frame,
                          size_t len)
{
    REQUIRE(frame->total >= 1 && frame->total <= len);
    REQUIRE(frame->head <= frame->total && frame->tail <= frame->total - frame->head);
    REQUIRE(frame->total - frame->head - frame->tail <= settings->max_message);
    return frame->total - frame->head - frame->tail;
}

/* Decodes what is whole in the bytes that have come. */
static void decode_some(const struct settings *settings, struct codec_state *state,
                        struct outcome *outcome, const char *stream, size_t come)
{
    outcome->result = CODEC_MORE;
    while (outcome->consumed < come) {
        struct codec_frame frame = {SIZE_MAX, SIZE_MAX, SIZE_MAX};
        size_t len = come - outcome->consumed;
        char *bytes = exact_copy(stream + outcome->consumed, len);
        outcome->result = codec_decode(&settings->codec, state, bytes, len,
                                       settings->max_message, &frame);
        if (outcome->result == CODEC_FRAME) {
            size_t message_len = check_frame(settings, &frame, len);
            check_way_back(settings, bytes + frame.head, message_len);
            uint64_t at = outcome->consumed + frame.head;
            outcome->messages = outcome->messages * 1000003 + at;
            outcome->messages = outcome->messages * 1000003 + message_len;
            outcome->consumed += frame.total;
            *state = (struct codec_state){0};
        }
        free(bytes);
        if (outcome->result == CODEC_MORE)
            check_more(settings, state, len);
        if (outcome->result != CODEC_FRAME)
            return;
    }
    outcome->result = CODEC_MORE;
}

static struct outcome decode_pieces(const struct settings *settings, const char *stream,
                                    size_t len)
{
    struct codec_state state = {0};
    struct outcome outcome = {.result = CODEC_MORE};
    size_t come = 0;
    for (size_t i = 0; come < len && outcome.result == CODEC_MORE; i++) {
        size_t piece = 1 + (size_t)settings->pieces[i % PIECE_COUNT];
        come += piece < len - come ? piece : len - come;
        decode_some(settings, &state, &outcome, stream, come);
    }
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t len)
{
    static const size_t limits[] = {0, 1, 2, 5, 16, 100, 1000, 65536, CODEC_MESSAGE_MAX};
    if (len < SETTINGS_LEN)
        return 0;
    struct settings settings = {.max_message = limits[input[1] % ARRAY_LEN(limits)],
                                .pieces = input + SETTINGS_LEN - PIECE_COUNT};
    if (init_codec(&settings.codec, input) < 0)
        return 0;

    const char *stream = (const char *)input + SETTINGS_LEN;
    size_t stream_len = len - SETTINGS_LEN;
    struct outcome pieces = decode_pieces(&settings, stream, stream_len);
    struct outcome whole = {.result = CODEC_MORE};
    struct codec_state state = {0};
    decode_some(&settings, &state, &whole, stream, stream_len);
    REQUIRE(pieces.consumed == whole.consumed);
    REQUIRE(pieces.result == whole.result);
    /* A raw message is what one piece brought: they differ, all else does not. */
    REQUIRE(pieces.messages == whole.messages || is(&settings.codec, "raw"));
    return 0;
}
