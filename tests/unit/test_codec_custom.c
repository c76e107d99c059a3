/* tests/unit/test_codec_custom.c - framing "custom". */
#include <check.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "codec/codec.h"
#include "codec_feed.h"

/* A script's answer that does not look at the bytes, and what it was asked. */
struct answer {
    int result;
    struct codec_frame frame;
    size_t needs; /* says "more" below that many bytes */
    int calls;
    size_t most_shown;
};

static int answer_decode(void *context, const char *bytes, size_t len,
                         struct codec_frame *frame)
{
    struct answer *answer = context;
    (void)bytes;
    answer->calls++;
    if (len > answer->most_shown)
        answer->most_shown = len;
    if (len < answer->needs)
        return CODEC_MORE;
    *frame = answer->frame;
    return answer->result;
}

/* Frames that begin with their total, head and tail, each one byte. */
static int three_bytes_decode(void *context, const char *bytes, size_t len,
                              struct codec_frame *frame)
{
    (void)context;
    if (len < 3)
        return CODEC_MORE;
    frame->total = (unsigned char)bytes[0];
    frame->head = (unsigned char)bytes[1];
    frame->tail = (unsigned char)bytes[2];
    return CODEC_FRAME;
}

static struct codec custom_codec(codec_custom_fn decode, void *context, size_t peek)
{
    struct codec codec;
    const char *why = NULL;
    ck_assert_int_eq(codec_init_custom(&codec, decode, context, peek, &why), 0);
    return codec;
}

START_TEST(script_says_where_the_message_is)
{
    struct codec codec = custom_codec(three_bytes_decode, NULL, 64);
    feed_check(&codec, 100, BYTES("\x09\x03\x01hello;\x03\x03\0\x03\0\0"),
               "[hello][][\\x03\\x00\\x00]more");
}
END_TEST

START_TEST(total_of_zero_is_malformed)
{
    struct codec codec = custom_codec(three_bytes_decode, NULL, 64);
    feed_check(&codec, 100, BYTES("\x03\x03\0\0\0\0"), "[]EBADMSG");
}
END_TEST

START_TEST(head_and_tail_beyond_the_total_are_malformed)
{
    struct codec codec = custom_codec(three_bytes_decode, NULL, 64);
    feed_check(&codec, 100, BYTES("\x05\x03\x02"), "more");
    feed_check(&codec, 100, BYTES("\x05\x03\x03"), "EBADMSG");
    feed_check(&codec, 100, BYTES("\x05\x06\x00"), "EBADMSG");
    feed_check(&codec, 100, BYTES("\x05\x00\x06"), "EBADMSG");

    struct answer wrap = {.result = CODEC_FRAME, .frame = {8, SIZE_MAX, 2}};
    struct codec wrapping = custom_codec(answer_decode, &wrap, 64);
    feed_check(&wrapping, 100, BYTES("abcdefgh"), "EBADMSG");
    wrap.frame = (struct codec_frame){8, 2, SIZE_MAX};
    feed_check(&wrapping, 100, BYTES("abcdefgh"), "EBADMSG");
}
END_TEST

START_TEST(message_over_the_limit_is_oversize_when_the_script_says_so)
{
    struct codec codec = custom_codec(three_bytes_decode, NULL, 64);
    feed_check(&codec, 5, BYTES("\x09\x03\x01hello;"), "[hello]more");
    feed_check(&codec, 4, BYTES("\x09\x03\x01"), "EMSGSIZE");

    struct answer huge = {.result = CODEC_FRAME, .frame = {SIZE_MAX, 0, 0}};
    struct codec lying = custom_codec(answer_decode, &huge, 64);
    feed_check(&lying, CODEC_MESSAGE_MAX, BYTES("a"), "EMSGSIZE");
}
END_TEST

START_TEST(head_that_is_left_out_cannot_make_a_frame_endless)
{
    struct answer answer = {.result = CODEC_FRAME, .frame = {SIZE_MAX, SIZE_MAX - 5, 0}};
    struct codec codec = custom_codec(answer_decode, &answer, 64);
    feed_check(&codec, 100, BYTES("a"), "EMSGSIZE");

    answer.frame = (struct codec_frame){101 + CODEC_PEEK_MAX, 101 + CODEC_PEEK_MAX, 0};
    feed_check(&codec, 100, BYTES("a"), "EMSGSIZE");
    answer.frame = (struct codec_frame){100 + CODEC_PEEK_MAX, 100 + CODEC_PEEK_MAX, 0};
    feed_check(&codec, 100, BYTES("a"), "more");
}
END_TEST

START_TEST(error_of_the_script_is_passed_on)
{
    struct answer answer = {.result = -EBADMSG, .needs = 2};
    struct codec codec = custom_codec(answer_decode, &answer, 64);
    feed_check(&codec, 100, BYTES("ab"), "EBADMSG");
    answer.result = -ECANCELED;
    char expected[32];
    snprintf(expected, sizeof(expected), "errno %d", ECANCELED);
    feed_check(&codec, 100, BYTES("ab"), expected);
}
END_TEST

START_TEST(script_sees_at_most_peek_bytes)
{
    struct answer answer = {.result = CODEC_FRAME, .frame = {10, 0, 0}};
    struct codec codec = custom_codec(answer_decode, &answer, 4);
    feed_check(&codec, 100, BYTES("0123456789"), "[0123456789]more");
    ck_assert_uint_eq(answer.most_shown, 4);
}
END_TEST

START_TEST(still_more_after_the_whole_peek_is_malformed)
{
    struct answer answer = {.result = CODEC_FRAME, .frame = {10, 0, 0}, .needs = 5};
    struct codec codec = custom_codec(answer_decode, &answer, 4);
    feed_check(&codec, 100, BYTES("012"), "more");
    feed_check(&codec, 100, BYTES("0123"), "EBADMSG");
    feed_check(&codec, 100, BYTES("0123456789"), "EBADMSG");
}
END_TEST

START_TEST(malformed_stays_malformed_when_asked_again)
{
    struct answer answer = {.result = CODEC_FRAME, .frame = {10, 0, 0}, .needs = 5};
    struct codec codec = custom_codec(answer_decode, &answer, 4);
    struct codec_state state = {0};
    struct codec_frame frame;
    ck_assert_int_eq(codec_decode(&codec, &state, "0123", 4, 100, &frame), -EBADMSG);
    ck_assert_int_eq(codec_decode(&codec, &state, "0123", 4, 100, &frame), -EBADMSG);
}
END_TEST

START_TEST(script_is_asked_only_when_there_is_something_new_to_see)
{
    struct answer answer = {.result = CODEC_FRAME, .frame = {10, 0, 0}, .needs = 3};
    struct codec codec = custom_codec(answer_decode, &answer, 64);
    struct codec_state state = {0};
    struct codec_frame frame;
    const char *bytes = "0123456789";
    ck_assert_int_eq(codec_decode(&codec, &state, bytes, 2, 100, &frame), CODEC_MORE);
    ck_assert_int_eq(codec_decode(&codec, &state, bytes, 2, 100, &frame), CODEC_MORE);
    ck_assert_int_eq(answer.calls, 1);
    ck_assert_int_eq(codec_decode(&codec, &state, bytes, 3, 100, &frame), CODEC_MORE);
    ck_assert_int_eq(answer.calls, 2);
    ck_assert_uint_eq(codec_missing(&state, 3), 7);
    ck_assert_int_eq(codec_decode(&codec, &state, bytes, 10, 100, &frame), CODEC_FRAME);
    ck_assert_int_eq(answer.calls, 2);
}
END_TEST

START_TEST(message_is_sent_as_it_is)
{
    struct codec codec = custom_codec(three_bytes_decode, NULL, 64);
    feed_check_encode(&codec, BYTES("hi"), BYTES("hi"));
    feed_check_echo(&codec, 100, BYTES("\x03\0\0\x05\0\0ab"));
}
END_TEST

START_TEST(peek_is_1_to_4096_bytes)
{
    struct codec codec;
    const char *why = NULL;
    ck_assert_int_eq(codec_init_custom(&codec, answer_decode, NULL, 0, &why), -EINVAL);
    ck_assert_str_eq(why, "custom: peek must be 1 to 4096 bytes");
    ck_assert_int_eq(codec_init_custom(&codec, answer_decode, NULL, 4097, &why), -EINVAL);
    ck_assert_int_eq(codec_init_custom(&codec, answer_decode, NULL, 4096, &why), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("codec_custom");
    TCase *tcase = tcase_create("codec_custom");
    tcase_add_test(tcase, script_says_where_the_message_is);
    tcase_add_test(tcase, total_of_zero_is_malformed);
    tcase_add_test(tcase, head_and_tail_beyond_the_total_are_malformed);
    tcase_add_test(tcase, message_over_the_limit_is_oversize_when_the_script_says_so);
    tcase_add_test(tcase, head_that_is_left_out_cannot_make_a_frame_endless);
    tcase_add_test(tcase, error_of_the_script_is_passed_on);
    tcase_add_test(tcase, script_sees_at_most_peek_bytes);
    tcase_add_test(tcase, still_more_after_the_whole_peek_is_malformed);
    tcase_add_test(tcase, malformed_stays_malformed_when_asked_again);
    tcase_add_test(tcase, script_is_asked_only_when_there_is_something_new_to_see);
    tcase_add_test(tcase, message_is_sent_as_it_is);
    tcase_add_test(tcase, peek_is_1_to_4096_bytes);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
