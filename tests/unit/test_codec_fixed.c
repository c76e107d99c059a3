/* tests/unit/test_codec_fixed.c - framings "fixed" and "raw". */
#include <check.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "codec/codec.h"
#include "codec_feed.h"

static struct codec fixed_codec(size_t len)
{
    struct codec codec;
    const char *why = NULL;
    ck_assert_int_eq(codec_init_fixed(&codec, len, &why), 0);
    return codec;
}

static struct codec raw_codec(void)
{
    struct codec codec;
    codec_init_raw(&codec);
    return codec;
}

START_TEST(fixed_messages_have_the_same_length)
{
    struct codec one = fixed_codec(1);
    struct codec four = fixed_codec(4);
    feed_check(&one, 100, BYTES("a\0"), "[a][\\x00]more");
    feed_check(&four, 100, BYTES("abcdefghi"), "[abcd][efgh]more");
}
END_TEST

START_TEST(fixed_shape_is_known_from_the_first_byte)
{
    struct codec codec = fixed_codec(1000);
    struct codec_state state = {0};
    struct codec_frame frame;
    ck_assert_int_eq(codec_decode(&codec, &state, "a", 1, 1000, &frame), CODEC_MORE);
    ck_assert_uint_eq(codec_missing(&state, 1), 999);
}
END_TEST

START_TEST(fixed_length_over_the_limit_is_oversize_at_the_first_byte)
{
    struct codec codec = fixed_codec(4);
    feed_check(&codec, 4, BYTES("abcd"), "[abcd]more");
    feed_check(&codec, 3, BYTES("a"), "EMSGSIZE");
}
END_TEST

START_TEST(fixed_echo_gives_the_same_bytes)
{
    struct codec codec = fixed_codec(3);
    feed_check_echo(&codec, 100, BYTES("abcdef\n\r\0"));
}
END_TEST

START_TEST(fixed_sends_only_its_length)
{
    struct codec codec = fixed_codec(4);
    struct codec_envelope envelope;
    feed_check_encode(&codec, BYTES("abcd"), BYTES("abcd"));
    ck_assert_int_eq(codec_encode(&codec, 3, &envelope), -EMSGSIZE);
    ck_assert_int_eq(codec_encode(&codec, 5, &envelope), -EMSGSIZE);
    ck_assert_int_eq(codec_encode(&codec, 0, &envelope), -EMSGSIZE);
}
END_TEST

START_TEST(fixed_length_is_1_byte_to_1_gib)
{
    struct codec codec;
    const char *why = NULL;
    ck_assert_int_eq(codec_init_fixed(&codec, 0, &why), -EINVAL);
    ck_assert_str_eq(why, "fixed: the length must be 1 byte to 1 GiB");
    ck_assert_int_eq(codec_init_fixed(&codec, CODEC_MESSAGE_MAX + (size_t)1, &why),
                     -EINVAL);
    ck_assert_int_eq(codec_init_fixed(&codec, SIZE_MAX, &why), -EINVAL);
    ck_assert_int_eq(codec_init_fixed(&codec, CODEC_MESSAGE_MAX, &why), 0);
}
END_TEST

START_TEST(raw_message_is_what_one_read_brought)
{
    struct codec codec = raw_codec();
    struct feed feed;
    feed_init(&feed, &codec, 100);
    feed_bytes(&feed, BYTES("hello\n"));
    feed_bytes(&feed, BYTES("\0"));
    feed_bytes(&feed, BYTES("wor"));
    ck_assert_str_eq(feed_text(&feed), "[hello\\x0a][\\x00][wor]more");
    feed_fini(&feed);
}
END_TEST

START_TEST(raw_read_over_the_limit_is_several_messages)
{
    struct codec codec = raw_codec();
    feed_check(&codec, 1, BYTES("abc"), "[a][b][c]more");

    struct feed feed;
    feed_init(&feed, &codec, 3);
    feed_bytes(&feed, BYTES("abcdefgh"));
    ck_assert_str_eq(feed_text(&feed), "[abc][def][gh]more");
    feed_fini(&feed);
}
END_TEST

START_TEST(raw_limit_of_zero_is_oversize_and_not_an_endless_run_of_nothing)
{
    struct codec codec = raw_codec();
    feed_check(&codec, 0, BYTES("a"), "EMSGSIZE");
}
END_TEST

START_TEST(raw_is_sent_as_it_is)
{
    struct codec codec = raw_codec();
    feed_check_echo(&codec, 100, BYTES("hello\n\0world"));
    feed_check_encode(&codec, BYTES("hi"), BYTES("hi"));
    feed_check_encode(&codec, BYTES(""), BYTES(""));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("codec_fixed");
    TCase *tcase = tcase_create("codec_fixed");
    tcase_add_test(tcase, fixed_messages_have_the_same_length);
    tcase_add_test(tcase, fixed_shape_is_known_from_the_first_byte);
    tcase_add_test(tcase, fixed_length_over_the_limit_is_oversize_at_the_first_byte);
    tcase_add_test(tcase, fixed_echo_gives_the_same_bytes);
    tcase_add_test(tcase, fixed_sends_only_its_length);
    tcase_add_test(tcase, fixed_length_is_1_byte_to_1_gib);
    tcase_add_test(tcase, raw_message_is_what_one_read_brought);
    tcase_add_test(tcase, raw_read_over_the_limit_is_several_messages);
    tcase_add_test(tcase, raw_limit_of_zero_is_oversize_and_not_an_endless_run_of_nothing);
    tcase_add_test(tcase, raw_is_sent_as_it_is);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
