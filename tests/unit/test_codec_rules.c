/* tests/unit/test_codec_rules.c - what all framings share. */
#include <check.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "codec/codec.h"
#include "codec_feed.h"

static struct codec length_codec(void)
{
    struct codec codec;
    const char *why = NULL;
    struct codec_length_spec spec = {.bytes = 4, .strip = 4};
    ck_assert_int_eq(codec_init_length(&codec, &spec, &why), 0);
    return codec;
}

START_TEST(state_stays_small)
{
    ck_assert_uint_le(sizeof(struct codec_state), 16);
}
END_TEST

START_TEST(shape_is_remembered_and_the_head_not_read_again)
{
    struct codec codec = length_codec();
    struct codec_state state = {0};
    struct codec_frame frame;
    char bytes[] = "\0\0\0\x05hello";
    ck_assert_int_eq(codec_decode(&codec, &state, bytes, 4, 100, &frame), CODEC_MORE);
    memset(bytes, 0xff, 4);
    ck_assert_int_eq(codec_decode(&codec, &state, bytes, 8, 100, &frame), CODEC_MORE);
    ck_assert_int_eq(codec_decode(&codec, &state, bytes, 9, 100, &frame), CODEC_FRAME);
    ck_assert_uint_eq(frame.total, 9);
    ck_assert_uint_eq(frame.head, 4);
    ck_assert_uint_eq(frame.tail, 0);
}
END_TEST

START_TEST(tail_is_checked_also_when_the_shape_is_remembered)
{
    struct codec codec;
    struct codec_state state = {0};
    struct codec_frame frame;
    codec_init_netstring(&codec);
    ck_assert_int_eq(codec_decode(&codec, &state, "1:", 2, 100, &frame), CODEC_MORE);
    ck_assert_int_eq(codec_decode(&codec, &state, "1:a;", 4, 100, &frame), -EBADMSG);
    ck_assert_int_eq(codec_decode(&codec, &state, "1:a,", 4, 100, &frame), CODEC_FRAME);
    ck_assert_uint_eq(frame.tail, 1);
}
END_TEST

START_TEST(missing_counts_down_to_the_end_of_a_known_frame)
{
    struct codec codec = length_codec();
    struct codec_state state = {0};
    struct codec_frame frame;
    const char *bytes = "\0\0\0\x05hello";
    ck_assert_uint_eq(codec_missing(&state, 0), 0);
    ck_assert_int_eq(codec_decode(&codec, &state, bytes, 3, 100, &frame), CODEC_MORE);
    ck_assert_uint_eq(codec_missing(&state, 3), 0);
    ck_assert_int_eq(codec_decode(&codec, &state, bytes, 4, 100, &frame), CODEC_MORE);
    ck_assert_uint_eq(codec_missing(&state, 4), 5);
    ck_assert_uint_eq(codec_missing(&state, 8), 1);
}
END_TEST

START_TEST(decoding_the_same_bytes_twice_gives_the_same_frame)
{
    struct codec codec;
    const char *why = NULL;
    struct codec_state state = {0};
    struct codec_frame frame;
    ck_assert_int_eq(codec_init_line(&codec, "\n", 1, &why), 0);
    ck_assert_int_eq(codec_decode(&codec, &state, "ab", 2, 100, &frame), CODEC_MORE);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(codec_decode(&codec, &state, "abc\nd", 5, 100, &frame), 1);
        ck_assert_uint_eq(frame.total, 4);
    }
}
END_TEST

START_TEST(limit_above_1_gib_counts_as_that)
{
    struct codec codec = length_codec();
    struct codec_state state = {0};
    struct codec_frame frame;
    const char *most = "\x40\0\0\0";
    const char *over = "\x40\0\0\x01";
    ck_assert_int_eq(codec_decode(&codec, &state, over, 4, SIZE_MAX, &frame), -EMSGSIZE);
    ck_assert_int_eq(codec_decode(&codec, &state, most, 4, SIZE_MAX, &frame), CODEC_MORE);
    ck_assert_uint_eq(codec_missing(&state, 4), CODEC_MESSAGE_MAX);
}
END_TEST

START_TEST(limit_may_change_within_a_line)
{
    struct codec codec;
    const char *why = NULL;
    struct codec_state state = {0};
    struct codec_frame frame;
    ck_assert_int_eq(codec_init_line(&codec, "\n", 1, &why), 0);
    ck_assert_int_eq(codec_decode(&codec, &state, "abcdef", 6, 10, &frame), CODEC_MORE);
    ck_assert_int_eq(codec_decode(&codec, &state, "abcdef\n", 7, 3, &frame), -EMSGSIZE);
    ck_assert_int_eq(codec_decode(&codec, &state, "abcdef\n", 7, 10, &frame), CODEC_FRAME);
    ck_assert_uint_eq(frame.total, 7);
}
END_TEST

START_TEST(send_raw_puts_nothing_around_a_message)
{
    struct codec codec;
    const char *why = NULL;
    ck_assert_int_eq(codec_init_line(&codec, "\n", 1, &why), 0);
    codec.send_raw = true;
    feed_check_encode(&codec, BYTES("hi"), BYTES("hi"));

    ck_assert_int_eq(codec_init_fixed(&codec, 4, &why), 0);
    codec.send_raw = true;
    feed_check_encode(&codec, BYTES("hi"), BYTES("hi"));

    struct codec_length_spec spec = {.bytes = 4, .strip = 4, .send_raw = true};
    ck_assert_int_eq(codec_init_length(&codec, &spec, &why), 0);
    feed_check_encode(&codec, BYTES("hi"), BYTES("hi"));
}
END_TEST

START_TEST(empty_envelope_has_a_tail_that_can_be_copied)
{
    struct codec codec;
    struct codec_envelope envelope;
    memset(&envelope, 0xff, sizeof(envelope));
    codec_init_raw(&codec);
    ck_assert_int_eq(codec_encode(&codec, 5, &envelope), 0);
    ck_assert_uint_eq(envelope.head_len, 0);
    ck_assert_uint_eq(envelope.tail_len, 0);
    ck_assert_ptr_nonnull(envelope.tail);
}
END_TEST

START_TEST(framings_have_the_names_that_scripts_write)
{
    struct codec codec;
    const char *why = NULL;
    struct codec_length_spec spec = {.bytes = 4, .strip = 4};
    codec_init_raw(&codec);
    ck_assert_str_eq(codec.ops->name, "raw");
    ck_assert_int_eq(codec_init_line(&codec, "\n", 1, &why), 0);
    ck_assert_str_eq(codec.ops->name, "line");
    ck_assert_int_eq(codec_init_delimiter(&codec, ";", 1, &why), 0);
    ck_assert_str_eq(codec.ops->name, "delimiter");
    ck_assert_int_eq(codec_init_fixed(&codec, 1, &why), 0);
    ck_assert_str_eq(codec.ops->name, "fixed");
    ck_assert_int_eq(codec_init_length(&codec, &spec, &why), 0);
    ck_assert_str_eq(codec.ops->name, "length");
    codec_init_netstring(&codec);
    ck_assert_str_eq(codec.ops->name, "netstring");
}
END_TEST

START_TEST(refused_numbers_leave_the_codec_as_it_was)
{
    struct codec codec;
    const char *why = NULL;
    codec_init_raw(&codec);
    const struct codec_ops *before = codec.ops;
    ck_assert_int_eq(codec_init_fixed(&codec, 0, &why), -EINVAL);
    ck_assert_ptr_eq(codec.ops, before);
    ck_assert_int_eq(codec_init_line(&codec, "", 0, &why), -EINVAL);
    ck_assert_ptr_eq(codec.ops, before);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("codec_rules");
    TCase *tcase = tcase_create("codec_rules");
    tcase_add_test(tcase, state_stays_small);
    tcase_add_test(tcase, shape_is_remembered_and_the_head_not_read_again);
    tcase_add_test(tcase, tail_is_checked_also_when_the_shape_is_remembered);
    tcase_add_test(tcase, missing_counts_down_to_the_end_of_a_known_frame);
    tcase_add_test(tcase, decoding_the_same_bytes_twice_gives_the_same_frame);
    tcase_add_test(tcase, limit_above_1_gib_counts_as_that);
    tcase_add_test(tcase, limit_may_change_within_a_line);
    tcase_add_test(tcase, send_raw_puts_nothing_around_a_message);
    tcase_add_test(tcase, empty_envelope_has_a_tail_that_can_be_copied);
    tcase_add_test(tcase, framings_have_the_names_that_scripts_write);
    tcase_add_test(tcase, refused_numbers_leave_the_codec_as_it_was);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
