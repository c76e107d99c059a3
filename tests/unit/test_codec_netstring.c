/* tests/unit/test_codec_netstring.c - framing "netstring". */
#include <check.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "codec/codec.h"
#include "codec_feed.h"

static struct codec netstring_codec(void)
{
    struct codec codec;
    codec_init_netstring(&codec);
    return codec;
}

START_TEST(netstring_says_its_length_first)
{
    struct codec codec = netstring_codec();
    feed_check(&codec, 100, BYTES("5:hello,12:hello world!,"), "[hello][hello world!]more");
    feed_check(&codec, 100, BYTES("3:a,b,1:"), "[a,b]more");
    feed_check(&codec, 100, BYTES("1"), "more");
}
END_TEST

START_TEST(netstring_may_be_empty)
{
    struct codec codec = netstring_codec();
    feed_check(&codec, 100, BYTES("0:,0:,"), "[][]more");
    feed_check(&codec, 0, BYTES("0:,1"), "[]EMSGSIZE");
}
END_TEST

START_TEST(leading_zero_is_malformed)
{
    struct codec codec = netstring_codec();
    feed_check(&codec, 100, BYTES("0"), "more");
    feed_check(&codec, 100, BYTES("00"), "EBADMSG");
    feed_check(&codec, 100, BYTES("01"), "EBADMSG");
    feed_check(&codec, 100, BYTES("05:hello,"), "EBADMSG");
}
END_TEST

START_TEST(anything_but_digits_and_colon_is_malformed_at_once)
{
    struct codec codec = netstring_codec();
    feed_check(&codec, 100, BYTES(":"), "EBADMSG");
    feed_check(&codec, 100, BYTES("-"), "EBADMSG");
    feed_check(&codec, 100, BYTES(" 5"), "EBADMSG");
    feed_check(&codec, 100, BYTES("5,"), "EBADMSG");
    feed_check(&codec, 100, BYTES("5\0"), "EBADMSG");
    feed_check(&codec, 100, BYTES("/"), "EBADMSG");
    feed_check(&codec, 100, BYTES("\xb5"), "EBADMSG");
    feed_check(&codec, 100, BYTES("0:,x"), "[]EBADMSG");
}
END_TEST

START_TEST(missing_comma_is_malformed)
{
    struct codec codec = netstring_codec();
    feed_check(&codec, 100, BYTES("5:hello"), "more");
    feed_check(&codec, 100, BYTES("5:hello;"), "EBADMSG");
    feed_check(&codec, 100, BYTES("0:0"), "EBADMSG");
    feed_check(&codec, 100, BYTES("1:a,4:hello,"), "[a]EBADMSG");
}
END_TEST

START_TEST(length_over_the_limit_is_oversize_at_its_digit)
{
    struct codec codec = netstring_codec();
    feed_check(&codec, 99, BYTES("99:"), "more");
    feed_check(&codec, 99, BYTES("100"), "EMSGSIZE");
    feed_check(&codec, 98, BYTES("99"), "EMSGSIZE");
    feed_check(&codec, 100, BYTES("1000"), "EMSGSIZE");
}
END_TEST

START_TEST(lying_lengths_are_oversize)
{
    struct codec codec = netstring_codec();
    feed_check(&codec, CODEC_MESSAGE_MAX, BYTES("2147483647:"), "EMSGSIZE");
    feed_check(&codec, CODEC_MESSAGE_MAX, BYTES("9223372036854775808:"), "EMSGSIZE");
    feed_check(&codec, CODEC_MESSAGE_MAX, BYTES("18446744073709551615:"), "EMSGSIZE");
    feed_check(&codec, CODEC_MESSAGE_MAX, BYTES("18446744073709551621:hello,"), "EMSGSIZE");
    feed_check(&codec, CODEC_MESSAGE_MAX, BYTES("99999999999999999999999999"), "EMSGSIZE");
}
END_TEST

START_TEST(longest_message_is_awaited)
{
    struct codec codec = netstring_codec();
    struct codec_state state = {0};
    struct codec_frame frame;
    const char *head = "1073741824:";
    int result = codec_decode(&codec, &state, head, 11, CODEC_MESSAGE_MAX, &frame);
    ck_assert_int_eq(result, CODEC_MORE);
    ck_assert_uint_eq(codec_missing(&state, 11), CODEC_MESSAGE_MAX + (size_t)1);
}
END_TEST

START_TEST(echo_gives_the_same_bytes)
{
    struct codec codec = netstring_codec();
    feed_check_echo(&codec, 100, BYTES("5:hello,0:,10:0123456789,1:\n,"));
}
END_TEST

START_TEST(message_is_sent_with_its_length)
{
    struct codec codec = netstring_codec();
    struct codec_envelope envelope;
    feed_check_encode(&codec, BYTES("hello"), BYTES("5:hello,"));
    feed_check_encode(&codec, BYTES("0123456789"), BYTES("10:0123456789,"));
    feed_check_encode(&codec, BYTES(""), BYTES("0:,"));
    ck_assert_int_eq(codec_encode(&codec, SIZE_MAX, &envelope), 0);
    ck_assert_uint_eq(envelope.head_len, 21);
    ck_assert_mem_eq(envelope.head, "18446744073709551615:", 21);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("codec_netstring");
    TCase *tcase = tcase_create("codec_netstring");
    tcase_add_test(tcase, netstring_says_its_length_first);
    tcase_add_test(tcase, netstring_may_be_empty);
    tcase_add_test(tcase, leading_zero_is_malformed);
    tcase_add_test(tcase, anything_but_digits_and_colon_is_malformed_at_once);
    tcase_add_test(tcase, missing_comma_is_malformed);
    tcase_add_test(tcase, length_over_the_limit_is_oversize_at_its_digit);
    tcase_add_test(tcase, lying_lengths_are_oversize);
    tcase_add_test(tcase, longest_message_is_awaited);
    tcase_add_test(tcase, echo_gives_the_same_bytes);
    tcase_add_test(tcase, message_is_sent_with_its_length);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
