/* tests/unit/test_codec_random.c - every framing against a reference, on random streams.
 *
 * A stream is whole frames, as encode makes them, between stray bytes from an alphabet in which
 * everything that means something to the framing is frequent. It comes byte by byte, and after
 * each byte codec and reference must agree; then again in random pieces. The seed is fixed. */
#include <check.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "codec/codec.h"
#include "codec_feed.h"
#include "codec_reference.h"

#define ROUNDS 600
#define STREAM_MAX 96
#define ALPHABET(literal) ((struct alphabet){(literal), sizeof(literal) - 1})

static uint64_t random_state;

struct alphabet {
    const char *bytes;
    size_t len;
};

static void seed(uint64_t value)
{
    random_state = value;
}

/* xorshift64*, the upper bits: 0 .. limit - 1. */
static size_t below(size_t limit)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (size_t)((random_state * UINT64_C(0x2545f4914f6cdd1d)) >> 33) % limit;
}

static char any_of(struct alphabet alphabet)
{
    return alphabet.bytes[below(alphabet.len)];
}

struct stream {
    char bytes[STREAM_MAX];
    size_t len;
};

static void add(struct stream *stream, const char *bytes, size_t len)
{
    if (len > STREAM_MAX - stream->len)
        len = STREAM_MAX - stream->len;
    memcpy(stream->bytes + stream->len, bytes, len);
    stream->len += len;
}

static void add_frame(struct stream *stream, const struct codec *codec,
                      struct alphabet alphabet, size_t max_message)
{
    char message[STREAM_MAX];
    size_t len = below(max_message + 2);
    struct codec_envelope envelope;
    if (codec_encode(codec, len, &envelope) < 0)
        return;
    for (size_t i = 0; i < len; i++)
        message[i] = any_of(alphabet);
    add(stream, envelope.head, envelope.head_len);
    add(stream, message, len);
    add(stream, envelope.tail, envelope.tail_len);
}

static struct stream random_stream(const struct codec *codec, struct alphabet alphabet,
                                   size_t max_message)
{
    struct stream stream = {.len = 0};
    size_t want = 1 + below(STREAM_MAX);
    size_t stray = below(12);
    while (stream.len < want) {
        if (below(10) < stray)
            add(&stream, (char[]){any_of(alphabet)}, 1);
        else
            add_frame(&stream, codec, alphabet, max_message);
        if (stray == 0 && stream.len == 0)
            stray = 10;
    }
    return stream;
}

/* What the reference makes of the bytes from *at to `end`; moves *at past whole frames. */
static int reference_step(const struct codec *codec, size_t max_message,
                          const struct stream *stream, size_t *at, size_t end, FILE *text)
{
    while (*at < end) {
        struct codec_frame frame = {0};
        const char *bytes = stream->bytes + *at;
        int result = reference_decode(codec, bytes, end - *at, max_message, &frame);
        if (result != CODEC_FRAME)
            return result;
        feed_print_message(text, bytes + frame.head, frame.total - frame.head - frame.tail);
        *at += frame.total;
    }
    return CODEC_MORE;
}

static void check_pieces(const struct codec *codec, size_t max_message,
                         const struct stream *stream, const char *expected)
{
    struct feed feed;
    feed_init(&feed, codec, max_message);
    size_t longest = 1 + below(STREAM_MAX);
    for (size_t at = 0; at < stream->len;) {
        size_t piece = 1 + below(longest);
        if (piece > stream->len - at)
            piece = stream->len - at;
        feed_bytes(&feed, stream->bytes + at, piece);
        at += piece;
    }
    ck_assert_str_eq(feed_text(&feed), expected);
    feed_fini(&feed);
}

static void check_stream(const struct codec *codec, size_t max_message,
                         const struct stream *stream)
{
    char *text = NULL;
    size_t text_len = 0;
    FILE *out = open_memstream(&text, &text_len);
    ck_assert_ptr_nonnull(out);
    struct feed feed;
    feed_init(&feed, codec, max_message);

    size_t at = 0;
    int expected = CODEC_MORE;
    for (size_t end = 1; end <= stream->len && expected == CODEC_MORE; end++) {
        expected = reference_step(codec, max_message, stream, &at, end, out);
        int result = feed_bytes(&feed, stream->bytes + end - 1, 1);
        if (result != expected || feed.unread_len != end - at)
            ck_abort_msg("%s after %zu bytes, limit %zu: got %d with %zu bytes unread, "
                         "expected %d with %zu",
                         codec->ops->name, end, max_message, result, feed.unread_len,
                         expected, end - at);
    }
    feed_print_result(out, expected);
    fclose(out);
    ck_assert_str_eq(feed_text(&feed), text);
    feed_fini(&feed);
    check_pieces(codec, max_message, stream, text);
    free(text);
}

static void check_random(const struct codec *codec, struct alphabet alphabet)
{
    size_t max_message = below(12);
    struct stream stream = random_stream(codec, alphabet, max_message);
    check_stream(codec, max_message, &stream);
}

START_TEST(lines_agree_with_the_reference)
{
    seed(1);
    for (int i = 0; i < ROUNDS; i++) {
        struct codec codec;
        const char *why = NULL;
        const char *eol = below(2) ? "\r\n" : "\n";
        ck_assert_int_eq(codec_init_line(&codec, eol, strlen(eol), &why), 0);
        check_random(&codec, ALPHABET("abc\n\r\r"));
    }
}
END_TEST

START_TEST(delimiters_agree_with_the_reference)
{
    seed(2);
    for (int i = 0; i < ROUNDS; i++) {
        struct codec codec;
        const char *why = NULL;
        char delimiter[5];
        size_t len = 1 + below(sizeof(delimiter));
        for (size_t j = 0; j < len; j++)
            delimiter[j] = any_of(ALPHABET("ab"));
        ck_assert_int_eq(codec_init_delimiter(&codec, delimiter, len, &why), 0);
        check_random(&codec, below(2) ? ALPHABET("ab") : ALPHABET("abcdefgh"));
    }
}
END_TEST

START_TEST(fixed_lengths_agree_with_the_reference)
{
    seed(3);
    for (int i = 0; i < ROUNDS; i++) {
        struct codec codec;
        const char *why = NULL;
        ck_assert_int_eq(codec_init_fixed(&codec, 1 + below(12), &why), 0);
        check_random(&codec, ALPHABET("abc"));
    }
}
END_TEST

static struct codec random_length_codec(void)
{
    static const int64_t adjusts[] = {0, 0, 0, -1, -2, -4, 1, 3, INT64_MIN, INT64_MAX};
    struct codec codec;
    const char *why = "";
    struct codec_length_spec spec = {
        .bytes = (unsigned)below(9),
        .endian = below(2) ? CODEC_BIG : CODEC_LITTLE,
        .adjust = adjusts[below(ARRAY_LEN(adjusts))],
        .strip = below(3) ? CODEC_STRIP_FIELD : 0,
    };
    if (below(3) == 0) {
        spec.send_raw = true;
        spec.offset = below(5);
        spec.strip = below(2) ? CODEC_STRIP_FIELD : below(12);
    }
    ck_assert_msg(codec_init_length(&codec, &spec, &why) == 0, "%s", why);
    return codec;
}

START_TEST(length_fields_agree_with_the_reference)
{
    seed(4);
    for (int i = 0; i < 4 * ROUNDS; i++) {
        struct codec codec = random_length_codec();
        if (below(3))
            check_random(&codec, ALPHABET("\0\0\0\0\0\0\1\2\3\4"));
        else
            check_random(&codec, ALPHABET("\0\0\1\2\4\x7f\x80\x80\x80\x80\x81\x83\xff"));
    }
}
END_TEST

START_TEST(netstrings_agree_with_the_reference)
{
    seed(5);
    for (int i = 0; i < ROUNDS; i++) {
        struct codec codec;
        codec_init_netstring(&codec);
        check_random(&codec, ALPHABET("0123456789:::,,,,a/;\0"));
    }
}
END_TEST

/* Frames of two bytes of head that say total and trailer; '!' gives up, '?' waits for ever. */
static int two_bytes_decode(void *context, const char *bytes, size_t len,
                            struct codec_frame *frame)
{
    (void)context;
    if (bytes[0] == '!')
        return -ECANCELED;
    if (len < 2 || bytes[0] == '?')
        return CODEC_MORE;
    *frame = (struct codec_frame){(unsigned char)bytes[0], 2, (unsigned char)bytes[1]};
    return CODEC_FRAME;
}

START_TEST(custom_framings_agree_with_the_reference)
{
    seed(6);
    for (int i = 0; i < ROUNDS; i++) {
        struct codec codec;
        const char *why = NULL;
        size_t peek = 1 + below(6);
        ck_assert_int_eq(codec_init_custom(&codec, two_bytes_decode, NULL, peek, &why), 0);
        check_random(&codec, ALPHABET("\0\0\0\1\2\2\3\4\5\6\7!?"));
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("codec_random");
    TCase *tcase = tcase_create("codec_random");
    tcase_add_test(tcase, lines_agree_with_the_reference);
    tcase_add_test(tcase, delimiters_agree_with_the_reference);
    tcase_add_test(tcase, fixed_lengths_agree_with_the_reference);
    tcase_add_test(tcase, length_fields_agree_with_the_reference);
    tcase_add_test(tcase, netstrings_agree_with_the_reference);
    tcase_add_test(tcase, custom_framings_agree_with_the_reference);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
