/* tests/unit/codec_feed.c - feeds a stream to a codec, see the header. */
#include "codec_feed.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Check's own assertions write to a pipe also when they hold: too slow at every decode. */
#define MUST(left, relation, right)                                                        \
    do {                                                                                   \
        size_t left_value = (left);                                                        \
        size_t right_value = (right);                                                      \
        if (!(left_value relation right_value))                                            \
            ck_abort_msg("%s " #relation " %s: %zu and %zu", #left, #right, left_value,    \
                         right_value);                                                     \
    } while (0)

static char *exact_copy(const char *bytes, size_t len)
{
    char *copy = malloc(len ? len : 1);
    if (!copy)
        ck_abort_msg("out of memory");
    memcpy(copy, bytes, len);
    return copy;
}

void feed_init(struct feed *feed, const struct codec *codec, size_t max_message)
{
    *feed = (struct feed){.codec = codec, .max_message = max_message};
    feed->text_out = open_memstream(&feed->text, &feed->text_len);
    feed->echo_out = open_memstream(&feed->echo, &feed->echo_len);
    ck_assert_ptr_nonnull(feed->text_out);
    ck_assert_ptr_nonnull(feed->echo_out);
}

void feed_fini(struct feed *feed)
{
    fclose(feed->text_out);
    fclose(feed->echo_out);
    free(feed->text);
    free(feed->echo);
    free(feed->unread);
}

void feed_print_message(FILE *out, const char *bytes, size_t len)
{
    fputc('[', out);
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        if (byte >= ' ' && byte <= '~')
            fputc(byte, out);
        else
            fprintf(out, "\\x%02x", byte);
    }
    fputc(']', out);
}

void feed_print_result(FILE *out, int result)
{
    if (result == CODEC_MORE)
        fputs("more", out);
    else if (result == -EBADMSG)
        fputs("EBADMSG", out);
    else if (result == -EMSGSIZE)
        fputs("EMSGSIZE", out);
    else
        fprintf(out, "errno %d", -result);
}

static void echo_message(struct feed *feed, const char *message, size_t len)
{
    struct codec_envelope envelope;
    if (codec_encode(feed->codec, len, &envelope) < 0) {
        fputs("(cannot be encoded)", feed->echo_out);
        return;
    }
    fwrite(envelope.head, 1, envelope.head_len, feed->echo_out);
    fwrite(message, 1, len, feed->echo_out);
    fwrite(envelope.tail, 1, envelope.tail_len, feed->echo_out);
}

static void check_frame(const struct feed *feed, const struct codec_frame *frame)
{
    MUST(frame->total, >=, 1);
    MUST(frame->total, <=, feed->unread_len);
    MUST(frame->head, <=, frame->total);
    MUST(frame->tail, <=, frame->total - frame->head);
    MUST(frame->total - frame->head - frame->tail, <=, feed->max_message);
}

static void check_more(const struct feed *feed)
{
    size_t missing = codec_missing(&feed->state, feed->unread_len);
    MUST(feed->state.scanned, <=, feed->unread_len);
    if (feed->state.frame.total == 0)
        MUST(missing, ==, 0);
    else
        MUST(missing + feed->unread_len, ==, feed->state.frame.total);
    MUST(feed->unread_len, <, feed->max_message + CODEC_PEEK_MAX);
}

/* One decode at the front of the unread bytes. */
static int feed_one(struct feed *feed)
{
    struct codec_frame frame = {SIZE_MAX, SIZE_MAX, SIZE_MAX};
    char *bytes = exact_copy(feed->unread, feed->unread_len);
    int result = codec_decode(feed->codec, &feed->state, bytes, feed->unread_len,
                              feed->max_message, &frame);
    if (result > CODEC_FRAME)
        ck_abort_msg("decode returned %d", result);
    if (result == CODEC_FRAME) {
        check_frame(feed, &frame);
        size_t message_len = frame.total - frame.head - frame.tail;
        feed_print_message(feed->text_out, bytes + frame.head, message_len);
        echo_message(feed, bytes + frame.head, message_len);
        feed->unread_len -= frame.total;
        memmove(feed->unread, feed->unread + frame.total, feed->unread_len);
        feed->state = (struct codec_state){0};
    } else if (result == CODEC_MORE) {
        check_more(feed);
    }
    free(bytes);
    return result;
}

int feed_bytes(struct feed *feed, const char *bytes, size_t len)
{
    if (feed->result < 0)
        return feed->result;
    feed->unread = realloc(feed->unread, feed->unread_len + len + 1);
    if (!feed->unread)
        ck_abort_msg("out of memory");
    memcpy(feed->unread + feed->unread_len, bytes, len);
    feed->unread_len += len;

    feed->result = CODEC_MORE;
    while (feed->unread_len > 0) {
        feed->result = feed_one(feed);
        if (feed->result != CODEC_FRAME)
            return feed->result;
    }
    feed->result = CODEC_MORE;
    return feed->result;
}

const char *feed_text(struct feed *feed)
{
    feed_print_result(feed->text_out, feed->result);
    fflush(feed->text_out);
    return feed->text;
}

/* Into which pieces a stream is cut: the first may have a length of its own, 0 for none. */
struct cuts {
    size_t first, step;
};

static void feed_cut(struct feed *feed, struct cuts cuts, const char *bytes, size_t len)
{
    for (size_t at = 0; at < len;) {
        size_t piece = at == 0 && cuts.first > 0 ? cuts.first : cuts.step;
        if (piece > len - at)
            piece = len - at;
        feed_bytes(feed, bytes + at, piece);
        at += piece;
    }
}

struct expectation {
    const struct codec *codec;
    size_t max_message;
    const char *bytes;
    size_t len;
    const char *text;
};

static void check_cut(const struct expectation *expected, struct cuts cuts)
{
    struct feed feed;
    feed_init(&feed, expected->codec, expected->max_message);
    feed_cut(&feed, cuts, expected->bytes, expected->len);
    const char *text = feed_text(&feed);
    ck_assert_msg(strcmp(text, expected->text) == 0,
                  "%s, first piece %zu, then pieces of %zu: got %s, expected %s",
                  expected->codec->ops->name, cuts.first, cuts.step, text, expected->text);
    feed_fini(&feed);
}

void feed_check(const struct codec *codec, size_t max_message, const char *bytes,
                size_t len, const char *expected)
{
    struct expectation expectation = {codec, max_message, bytes, len, expected};
    check_cut(&expectation, (struct cuts){.step = len});
    check_cut(&expectation, (struct cuts){.step = 1});
    check_cut(&expectation, (struct cuts){.step = 3});
    for (size_t first = 1; first < len; first++)
        check_cut(&expectation, (struct cuts){.first = first, .step = len});
}

void feed_check_echo(const struct codec *codec, size_t max_message, const char *bytes,
                     size_t len)
{
    struct feed feed;
    feed_init(&feed, codec, max_message);
    ck_assert_int_eq(feed_bytes(&feed, bytes, len), CODEC_MORE);
    ck_assert_uint_eq(feed.unread_len, 0);
    fflush(feed.echo_out);
    ck_assert_uint_eq(feed.echo_len, len);
    ck_assert_mem_eq(feed.echo, bytes, len);
    feed_fini(&feed);
}

void feed_check_encode(const struct codec *codec, const char *message, size_t len,
                       const char *expected, size_t expected_len)
{
    struct feed feed;
    feed_init(&feed, codec, len);
    echo_message(&feed, message, len);
    fflush(feed.echo_out);
    ck_assert_uint_eq(feed.echo_len, expected_len);
    ck_assert_mem_eq(feed.echo, expected, expected_len);
    feed_fini(&feed);
}
