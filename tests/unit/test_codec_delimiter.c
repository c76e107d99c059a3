/* tests/unit/test_codec_delimiter.c - framing "delimiter". */
#include <check.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "codec/codec.h"
#include "codec_feed.h"

static struct codec delimiter_codec(const char *bytes)
{
    struct codec codec;
    const char *why = NULL;
    ck_assert_int_eq(codec_init_delimiter(&codec, bytes, strlen(bytes), &why), 0);
    return codec;
}

START_TEST(message_ends_at_the_delimiter)
{
    struct codec one = delimiter_codec(";");
    struct codec two = delimiter_codec("\r\n");
    struct codec five = delimiter_codec("<end>");
    feed_check(&one, 100, BYTES("a;bc;d"), "[a][bc]more");
    feed_check(&two, 100, BYTES("a\r\nb\n\r\nc\r"), "[a][b\\x0a]more");
    feed_check(&five, 100, BYTES("a<end><en<end>b<end"), "[a][<en]more");
}
END_TEST

START_TEST(nothing_between_delimiters_is_an_empty_message)
{
    struct codec codec = delimiter_codec("\r\n");
    feed_check(&codec, 100, BYTES("\r\n\r\n\r\n"), "[][][]more");
}
END_TEST

START_TEST(delimiter_may_overlap_itself)
{
    struct codec aab = delimiter_codec("aab");
    struct codec aba = delimiter_codec("aba");
    struct codec aa = delimiter_codec("aa");
    feed_check(&aab, 100, BYTES("aaabaaaaab"), "[a][aaa]more");
    feed_check(&aba, 100, BYTES("abababa"), "[][b]more");
    feed_check(&aa, 100, BYTES("aaaaa"), "[][]more");
    feed_check(&aa, 100, BYTES("xaaaxaa"), "[x][ax]more");
}
END_TEST

START_TEST(delimiter_of_nul_bytes_and_of_64_bytes_works)
{
    struct codec nul;
    struct codec longest;
    const char *why = NULL;
    char bytes[68];
    ck_assert_int_eq(codec_init_delimiter(&nul, BYTES("\0\0"), &why), 0);
    feed_check(&nul, 100, BYTES("a\0b\0\0"), "[a\\x00b]more");

    memset(bytes, 'a', sizeof(bytes));
    bytes[66] = 'b';
    ck_assert_int_eq(codec_init_delimiter(&longest, bytes + 3, 64, &why), 0);
    feed_check(&longest, 100, bytes, 67, "[aaa]more");
    feed_check(&longest, 2, bytes, 67, "EMSGSIZE");
}
END_TEST

START_TEST(limit_does_not_count_the_delimiter)
{
    struct codec codec = delimiter_codec("<end>");
    feed_check(&codec, 3, BYTES("abc<end>ab<end>"), "[abc][ab]more");
    feed_check(&codec, 3, BYTES("abcd<end>"), "EMSGSIZE");
}
END_TEST

START_TEST(message_is_oversize_unless_a_delimiter_may_have_begun_within_the_limit)
{
    struct codec codec = delimiter_codec("aab");
    feed_check(&codec, 3, BYTES("xyz"), "more");
    feed_check(&codec, 3, BYTES("xyza"), "more");
    feed_check(&codec, 3, BYTES("xyzaa"), "more");
    feed_check(&codec, 3, BYTES("xyaaa"), "more");
    feed_check(&codec, 3, BYTES("xyzb"), "EMSGSIZE");
    feed_check(&codec, 3, BYTES("xyzaaa"), "EMSGSIZE");
    feed_check(&codec, 3, BYTES("xyzaab"), "[xyz]more");
    feed_check(&codec, 3, BYTES("xyaaab"), "[xya]more");
}
END_TEST

START_TEST(limit_below_the_delimiter_works)
{
    struct codec codec = delimiter_codec("<end>");
    feed_check(&codec, 0, BYTES("<end><end>"), "[][]more");
    feed_check(&codec, 0, BYTES("<en"), "more");
    feed_check(&codec, 0, BYTES("<ex"), "EMSGSIZE");
    feed_check(&codec, 1, BYTES("a<end><<end>"), "[a][<]more");
    feed_check(&codec, 1, BYTES("<<<"), "EMSGSIZE");
}
END_TEST

START_TEST(echo_gives_the_same_bytes)
{
    struct codec codec = delimiter_codec("aab");
    feed_check_echo(&codec, 100, BYTES("aaabxaabaab"));
}
END_TEST

START_TEST(message_is_sent_with_the_delimiter)
{
    struct codec codec = delimiter_codec("<end>");
    feed_check_encode(&codec, BYTES("hi"), BYTES("hi<end>"));
    feed_check_encode(&codec, BYTES(""), BYTES("<end>"));
}
END_TEST

START_TEST(delimiter_is_1_to_64_bytes)
{
    struct codec codec;
    char bytes[65] = {0};
    const char *why = NULL;
    ck_assert_int_eq(codec_init_delimiter(&codec, bytes, 0, &why), -EINVAL);
    ck_assert_str_eq(why, "delimiter: must be 1 to 64 bytes");
    ck_assert_int_eq(codec_init_delimiter(&codec, bytes, 65, &why), -EINVAL);
    ck_assert_int_eq(codec_init_delimiter(&codec, bytes, 64, &why), 0);
    ck_assert_uint_eq(codec.as.delimiter.len, 64);
}
END_TEST

START_TEST(long_message_byte_by_byte_is_scanned_once)
{
    enum { LEN = 1 << 20 };
    struct codec codec = delimiter_codec("\r\n");
    struct codec_state state = {0};
    struct codec_frame frame;
    char *bytes = malloc(LEN);
    ck_assert_ptr_nonnull(bytes);
    memset(bytes, 'x', LEN);
    for (size_t len = 1; len < LEN; len++) {
        int result = codec_decode(&codec, &state, bytes, len, LEN, &frame);
        if (result != CODEC_MORE || state.scanned != len)
            ck_abort_msg("after %zu bytes: %d, scanned %u", len, result, state.scanned);
        /* Whoever searches bytes again will find a delimiter there. */
        if (len >= 4)
            memcpy(bytes + len - 4, codec.as.delimiter.bytes, 2);
    }
    memcpy(bytes + LEN - 2, codec.as.delimiter.bytes, 2);
    ck_assert_int_eq(codec_decode(&codec, &state, bytes, LEN, LEN, &frame), CODEC_FRAME);
    ck_assert_uint_eq(frame.total, LEN);
    free(bytes);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("codec_delimiter");
    TCase *tcase = tcase_create("codec_delimiter");
    tcase_add_test(tcase, message_ends_at_the_delimiter);
    tcase_add_test(tcase, nothing_between_delimiters_is_an_empty_message);
    tcase_add_test(tcase, delimiter_may_overlap_itself);
    tcase_add_test(tcase, delimiter_of_nul_bytes_and_of_64_bytes_works);
    tcase_add_test(tcase, limit_does_not_count_the_delimiter);
    tcase_add_test(tcase,
                   message_is_oversize_unless_a_delimiter_may_have_begun_within_the_limit);
    tcase_add_test(tcase, limit_below_the_delimiter_works);
    tcase_add_test(tcase, echo_gives_the_same_bytes);
    tcase_add_test(tcase, message_is_sent_with_the_delimiter);
    tcase_add_test(tcase, delimiter_is_1_to_64_bytes);
    tcase_add_test(tcase, long_message_byte_by_byte_is_scanned_once);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
