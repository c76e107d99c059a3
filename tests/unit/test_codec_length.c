/* tests/unit/test_codec_length.c - framing "length". */
#include <check.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "codec/codec.h"
#include "codec_feed.h"

static struct codec length_codec(struct codec_length_spec spec)
{
    struct codec codec;
    const char *why = "";
    ck_assert_msg(codec_init_length(&codec, &spec, &why) == 0, "%s", why);
    return codec;
}

/* Asserts the refusal of a spec, and with which words. */
static void check_refused(struct codec_length_spec spec, const char *expected)
{
    struct codec codec;
    const char *why = "accepted";
    int result = codec_init_length(&codec, &spec, &why);
    ck_assert_str_eq(why, expected);
    ck_assert_int_eq(result, -EINVAL);
}

/* A field of 8 big-endian bytes with this value and adjust, under the largest limit. */
static void check_value(uint64_t value, int64_t adjust, const char *expected)
{
    struct codec codec =
        length_codec((struct codec_length_spec){.bytes = 8, .adjust = adjust, .strip = 8});
    char bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (char)(unsigned char)(value >> (56 - 8 * i));
    feed_check(&codec, CODEC_MESSAGE_MAX, bytes, sizeof(bytes), expected);
}

START_TEST(field_of_each_width_is_big_endian)
{
    const char stream[] = "\0\0\0\0\0\0\0\x02hi";
    for (unsigned bytes = 1; bytes <= 8; bytes++) {
        struct codec codec =
            length_codec((struct codec_length_spec){.bytes = bytes, .strip = bytes});
        const char *at = stream + 8 - bytes;
        feed_check(&codec, 100, at, bytes + 2, "[hi]more");
        feed_check_echo(&codec, 100, at, bytes + 2);
    }
}
END_TEST

START_TEST(field_of_each_width_is_little_endian)
{
    for (unsigned bytes = 1; bytes <= 8; bytes++) {
        struct codec codec = length_codec((struct codec_length_spec){
            .bytes = bytes, .endian = CODEC_LITTLE, .strip = CODEC_STRIP_FIELD});
        char stream[10] = {2};
        stream[bytes] = 'h';
        stream[bytes + 1] = 'i';
        feed_check(&codec, 100, stream, bytes + 2, "[hi]more");
        feed_check_echo(&codec, 100, stream, bytes + 2);
    }
}
END_TEST

START_TEST(every_byte_of_the_field_counts)
{
    struct codec big = length_codec((struct codec_length_spec){.bytes = 3, .strip = 3});
    struct codec little = length_codec((struct codec_length_spec){
        .bytes = 3, .endian = CODEC_LITTLE, .strip = CODEC_STRIP_FIELD});
    struct codec_state state = {0};
    struct codec_frame frame;
    ck_assert_int_eq(codec_decode(&big, &state, "\x01\x82\x03", 3, 1 << 20, &frame), 0);
    ck_assert_uint_eq(codec_missing(&state, 3), 0x018203);
    state = (struct codec_state){0};
    ck_assert_int_eq(codec_decode(&little, &state, "\x01\x82\x03", 3, 1 << 20, &frame), 0);
    ck_assert_uint_eq(codec_missing(&state, 3), 0x038201);
}
END_TEST

START_TEST(messages_may_be_empty_and_follow_each_other)
{
    struct codec codec = length_codec((struct codec_length_spec){.bytes = 2, .strip = 2});
    feed_check(&codec, 100,
               BYTES("\0\0\0\x01"
                     "a\0\0\0\x02"
                     "bc\0"),
               "[][a][][bc]more");
    feed_check_echo(&codec, 100,
                    BYTES("\0\0\0\x01"
                          "a\0\0"));
}
END_TEST

START_TEST(offset_goes_before_the_field)
{
    struct codec field_off = length_codec((struct codec_length_spec){
        .bytes = 1, .offset = 2, .strip = CODEC_STRIP_FIELD, .send_raw = true});
    struct codec nothing_off =
        length_codec((struct codec_length_spec){.bytes = 1, .offset = 2});
    feed_check(&field_off, 100,
               BYTES("xx\x03"
                     "abcyy\0"),
               "[abc][]more");
    feed_check(&nothing_off, 100,
               BYTES("xx\x03"
                     "abcyy\0"),
               "[xx\\x03abc][yy\\x00]more");
}
END_TEST

START_TEST(adjust_is_added_to_the_value)
{
    struct codec inclusive = length_codec(
        (struct codec_length_spec){.bytes = 2, .adjust = -2, .strip = CODEC_STRIP_FIELD});
    struct codec checksum = length_codec(
        (struct codec_length_spec){.bytes = 1, .adjust = 4, .strip = CODEC_STRIP_FIELD});
    feed_check(&inclusive, 100, BYTES("\0\x04hi\0\x02"), "[hi][]more");
    feed_check(&checksum, 100, BYTES("\x02hisums\0sums"), "[hisums][sums]more");
    feed_check_echo(&inclusive, 100, BYTES("\0\x04hi\0\x02"));
    feed_check_echo(&checksum, 100, BYTES("\x02hisums\0sums"));
}
END_TEST

START_TEST(less_than_nothing_after_the_field_is_malformed)
{
    struct codec codec = length_codec(
        (struct codec_length_spec){.bytes = 2, .adjust = -2, .strip = CODEC_STRIP_FIELD});
    feed_check(&codec, 100, BYTES("\0\x01"), "EBADMSG");
    feed_check(&codec, 100, BYTES("\0\x02\0\0"), "[]EBADMSG");
}
END_TEST

START_TEST(strip_is_left_out)
{
    struct codec_length_spec spec = {.bytes = 1, .send_raw = true};
    const char stream[] = "\x03"
                          "abc";
    spec.strip = 0;
    struct codec none = length_codec(spec);
    feed_check(&none, 100, stream, 4, "[\\x03abc]more");
    spec.strip = 3;
    struct codec three = length_codec(spec);
    feed_check(&three, 100, stream, 4, "[c]more");
    spec.strip = 4;
    struct codec all = length_codec(spec);
    feed_check(&all, 100, stream, 4, "[]more");
}
END_TEST

START_TEST(strip_beyond_the_frame_is_malformed_at_the_field)
{
    struct codec codec =
        length_codec((struct codec_length_spec){.bytes = 1, .strip = 5, .send_raw = true});
    feed_check(&codec, 100, BYTES("\x04"), "more");
    feed_check(&codec, 100, BYTES("\x03"), "EBADMSG");
    feed_check(&codec, 100, BYTES("\x00"), "EBADMSG");
}
END_TEST

START_TEST(limit_counts_what_the_script_sees)
{
    struct codec stripped =
        length_codec((struct codec_length_spec){.bytes = 2, .strip = 2});
    struct codec whole = length_codec((struct codec_length_spec){.bytes = 2});
    feed_check(&stripped, 3, BYTES("\0\x03"), "more");
    feed_check(&stripped, 3, BYTES("\0\x04"), "EMSGSIZE");
    feed_check(&whole, 5, BYTES("\0\x03"), "more");
    feed_check(&whole, 4, BYTES("\0\x03"), "EMSGSIZE");
}
END_TEST

START_TEST(lying_lengths_are_refused_from_the_field_alone)
{
    check_value(0, 0, "[]more");
    check_value(CODEC_MESSAGE_MAX, 0, "more");
    check_value(CODEC_MESSAGE_MAX + UINT64_C(1), 0, "EMSGSIZE");
    check_value(INT32_MAX, 0, "EMSGSIZE");
    check_value(UINT64_C(1) << 32, 0, "EMSGSIZE");
    check_value(UINT64_C(1) << 63, 0, "EMSGSIZE");
    check_value(UINT64_MAX - 7, 0, "EMSGSIZE");
    check_value(UINT64_MAX, 0, "EMSGSIZE");
}
END_TEST

START_TEST(lying_lengths_do_not_wrap_with_adjust)
{
    check_value(0, -1, "EBADMSG");
    check_value(0, INT64_MIN, "EBADMSG");
    check_value(INT64_MAX, INT64_MIN, "EBADMSG");
    check_value(UINT64_C(1) << 63, INT64_MIN, "[]more");
    check_value((UINT64_C(1) << 63) + 1, INT64_MIN, "more");
    check_value(UINT64_MAX, INT64_MIN, "EMSGSIZE");
    check_value(INT64_MAX, -INT64_MAX, "[]more");
    check_value(UINT64_MAX, -1, "EMSGSIZE");
    check_value(UINT64_MAX, 1, "EMSGSIZE");
    check_value(UINT64_MAX, INT64_MAX, "EMSGSIZE");
    check_value(UINT64_C(1) << 63, INT64_MAX, "EMSGSIZE");
    check_value((UINT64_C(1) << 63) + 1, INT64_MAX, "EMSGSIZE");
    check_value(0, INT64_MAX, "EMSGSIZE");
}
END_TEST

START_TEST(varint_is_unsigned_leb128)
{
    struct codec codec = length_codec(
        (struct codec_length_spec){.bytes = CODEC_VARINT, .strip = CODEC_STRIP_FIELD});
    feed_check(&codec, 100, BYTES("\0\x02hi\x01!"), "[][hi][!]more");
    feed_check(&codec, 100, BYTES("\x80"), "more");

    char stream[2 + 300] = {(char)0xac, 2};
    struct codec_state state = {0};
    struct codec_frame frame;
    ck_assert_int_eq(codec_decode(&codec, &state, stream, 2, 300, &frame), CODEC_MORE);
    ck_assert_uint_eq(codec_missing(&state, 2), 300);
    feed_check_echo(&codec, 300, stream, sizeof(stream));
}
END_TEST

START_TEST(varint_is_sent_in_as_few_bytes_as_hold_it)
{
    struct codec_envelope envelope;
    struct codec codec = length_codec(
        (struct codec_length_spec){.bytes = CODEC_VARINT, .strip = CODEC_STRIP_FIELD});
    ck_assert_int_eq(codec_encode(&codec, 127, &envelope), 0);
    ck_assert_uint_eq(envelope.head_len, 1);
    ck_assert_mem_eq(envelope.head, "\x7f", 1);
    ck_assert_int_eq(codec_encode(&codec, 128, &envelope), 0);
    ck_assert_uint_eq(envelope.head_len, 2);
    ck_assert_mem_eq(envelope.head, "\x80\x01", 2);
}
END_TEST

START_TEST(varint_may_be_padded_up_to_ten_bytes)
{
    struct codec codec = length_codec(
        (struct codec_length_spec){.bytes = CODEC_VARINT, .strip = CODEC_STRIP_FIELD});
    feed_check(&codec, 100, BYTES("\x82\x00hi"), "[hi]more");
    feed_check(&codec, 100, BYTES("\x82\x80\x80\x80\x80\x80\x80\x80\x80\x00hi"),
               "[hi]more");
    feed_check(&codec, 100, BYTES("\x80\x80\x80\x80\x80\x80\x80\x80\x80"), "more");
}
END_TEST

START_TEST(varint_over_64_bits_is_malformed_at_its_tenth_byte)
{
    struct codec codec = length_codec(
        (struct codec_length_spec){.bytes = CODEC_VARINT, .strip = CODEC_STRIP_FIELD});
    feed_check(&codec, 100, BYTES("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "EMSGSIZE");
    feed_check(&codec, 100, BYTES("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), "EBADMSG");
    feed_check(&codec, 100, BYTES("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80"), "EBADMSG");
    feed_check(&codec, 100, BYTES("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x7f"), "EBADMSG");
}
END_TEST

START_TEST(varint_after_an_offset_with_everything_given_to_the_script)
{
    struct codec codec =
        length_codec((struct codec_length_spec){.bytes = CODEC_VARINT, .offset = 1});
    feed_check(&codec, 100, BYTES("\x30\x02hi\xe0\x00"), "[0\\x02hi][\\xe0\\x00]more");
    feed_check_echo(&codec, 100, BYTES("\x30\x02hi\xe0\x00"));
}
END_TEST

START_TEST(message_that_the_field_cannot_say_is_not_sent)
{
    struct codec_envelope envelope;
    struct codec one = length_codec((struct codec_length_spec){.bytes = 1, .strip = 1});
    ck_assert_int_eq(codec_encode(&one, 255, &envelope), 0);
    ck_assert_int_eq(codec_encode(&one, 256, &envelope), -EMSGSIZE);

    struct codec trailer =
        length_codec((struct codec_length_spec){.bytes = 1, .adjust = 4, .strip = 1});
    ck_assert_int_eq(codec_encode(&trailer, 3, &envelope), -EMSGSIZE);
    ck_assert_int_eq(codec_encode(&trailer, 4, &envelope), 0);
    ck_assert_int_eq(codec_encode(&trailer, 259, &envelope), 0);
    ck_assert_int_eq(codec_encode(&trailer, 260, &envelope), -EMSGSIZE);

    struct codec wide =
        length_codec((struct codec_length_spec){.bytes = 8, .adjust = 4, .strip = 8});
    ck_assert_int_eq(codec_encode(&wide, 3, &envelope), -EMSGSIZE);
    ck_assert_int_eq(codec_encode(&wide, 4, &envelope), 0);

    struct codec lowest = length_codec(
        (struct codec_length_spec){.bytes = 8, .adjust = INT64_MIN, .strip = 8});
    ck_assert_int_eq(codec_encode(&lowest, 0, &envelope), 0);
    ck_assert_mem_eq(envelope.head, "\x80\0\0\0\0\0\0\0", 8);
    ck_assert_int_eq(codec_encode(&lowest, SIZE_MAX, &envelope), -EMSGSIZE);
}
END_TEST

START_TEST(longest_head_fits_the_envelope)
{
    struct codec_envelope envelope;
    struct codec codec = length_codec(
        (struct codec_length_spec){.bytes = CODEC_VARINT, .strip = CODEC_STRIP_FIELD});
    ck_assert_int_eq(codec_encode(&codec, SIZE_MAX, &envelope), 0);
    ck_assert_uint_eq(envelope.head_len, 10);
    ck_assert_mem_eq(envelope.head, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10);
}
END_TEST

START_TEST(numbers_that_make_no_framing_are_refused_with_a_reason)
{
    check_refused((struct codec_length_spec){.bytes = 9},
                  "length: bytes must be 1 to 8 or \"varint\"");
    check_refused((struct codec_length_spec){.bytes = 1, .offset = 4087},
                  "length: offset must be at most 4086");
    check_refused((struct codec_length_spec){.bytes = 1, .offset = SIZE_MAX},
                  "length: offset must be at most 4086");
    check_refused((struct codec_length_spec){.bytes = 1, .strip = 4097, .send_raw = true},
                  "length: strip must be at most 4096");
    check_refused((struct codec_length_spec){.bytes = 2, .offset = 1, .strip = 3},
                  "length: with an offset, strip must be 0 or send = \"raw\"");
    check_refused((struct codec_length_spec){.bytes = 2, .strip = 3},
                  "length: strip must be 0 or the length field, or send = \"raw\"");
    check_refused((struct codec_length_spec){.bytes = CODEC_VARINT, .strip = 1},
                  "length: strip must be 0 or the length field, or send = \"raw\"");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("codec_length");
    TCase *tcase = tcase_create("codec_length");
    tcase_add_test(tcase, field_of_each_width_is_big_endian);
    tcase_add_test(tcase, field_of_each_width_is_little_endian);
    tcase_add_test(tcase, every_byte_of_the_field_counts);
    tcase_add_test(tcase, messages_may_be_empty_and_follow_each_other);
    tcase_add_test(tcase, offset_goes_before_the_field);
    tcase_add_test(tcase, adjust_is_added_to_the_value);
    tcase_add_test(tcase, less_than_nothing_after_the_field_is_malformed);
    tcase_add_test(tcase, strip_is_left_out);
    tcase_add_test(tcase, strip_beyond_the_frame_is_malformed_at_the_field);
    tcase_add_test(tcase, limit_counts_what_the_script_sees);
    tcase_add_test(tcase, lying_lengths_are_refused_from_the_field_alone);
    tcase_add_test(tcase, lying_lengths_do_not_wrap_with_adjust);
    tcase_add_test(tcase, varint_is_unsigned_leb128);
    tcase_add_test(tcase, varint_is_sent_in_as_few_bytes_as_hold_it);
    tcase_add_test(tcase, varint_may_be_padded_up_to_ten_bytes);
    tcase_add_test(tcase, varint_over_64_bits_is_malformed_at_its_tenth_byte);
    tcase_add_test(tcase, varint_after_an_offset_with_everything_given_to_the_script);
    tcase_add_test(tcase, message_that_the_field_cannot_say_is_not_sent);
    tcase_add_test(tcase, longest_head_fits_the_envelope);
    tcase_add_test(tcase, numbers_that_make_no_framing_are_refused_with_a_reason);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
