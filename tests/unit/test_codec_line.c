/* tests/unit/test_codec_line.c - framing "line". */
#include <check.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "codec/codec.h"
#include "codec_feed.h"

static struct codec line_codec(const char *eol)
{
    struct codec codec;
    const char *why = NULL;
    ck_assert_int_eq(codec_init_line(&codec, eol, strlen(eol), &why), 0);
    return codec;
}

START_TEST(line_ends_at_newline)
{
    struct codec codec = line_codec("\n");
    feed_check(&codec, 100, BYTES("hello\nworld\n"), "[hello][world]more");
}
END_TEST

START_TEST(line_without_its_end_is_no_message)
{
    struct codec codec = line_codec("\n");
    feed_check(&codec, 100, BYTES("a\nrest"), "[a]more");
}
END_TEST

START_TEST(one_carriage_return_before_newline_is_stripped)
{
    struct codec codec = line_codec("\n");
    feed_check(&codec, 100, BYTES("a\r\nb\r\r\n\rc\n\r\n"), "[a][b\\x0d][\\x0dc][]more");
}
END_TEST

START_TEST(empty_lines_are_empty_messages)
{
    struct codec codec = line_codec("\n");
    feed_check(&codec, 100, BYTES("\n\r\n\n"), "[][][]more");
}
END_TEST

START_TEST(nul_bytes_are_like_any_other)
{
    struct codec codec = line_codec("\n");
    feed_check(&codec, 100, BYTES("\0a\0\n\0\n"), "[\\x00a\\x00][\\x00]more");
}
END_TEST

START_TEST(limit_counts_neither_newline_nor_carriage_return)
{
    struct codec codec = line_codec("\n");
    feed_check(&codec, 3, BYTES("abc\nabc\r\nab\n"), "[abc][abc][ab]more");
}
END_TEST

START_TEST(line_over_the_limit_is_oversize_before_its_end_is_seen)
{
    struct codec codec = line_codec("\n");
    feed_check(&codec, 3, BYTES("abc"), "more");
    feed_check(&codec, 3, BYTES("abcd"), "EMSGSIZE");
    feed_check(&codec, 3, BYTES("ab\nabcd\n"), "[ab]EMSGSIZE");
}
END_TEST

START_TEST(byte_after_the_limit_may_be_a_carriage_return_that_will_be_stripped)
{
    struct codec codec = line_codec("\n");
    feed_check(&codec, 3, BYTES("abc\r"), "more");
    feed_check(&codec, 3, BYTES("abc\r\n"), "[abc]more");
    feed_check(&codec, 3, BYTES("abc\rd"), "EMSGSIZE");
    feed_check(&codec, 3, BYTES("abc\r\r"), "EMSGSIZE");
    feed_check(&codec, 3, BYTES("abc\r\r\n"), "EMSGSIZE");
}
END_TEST

START_TEST(limit_of_zero_allows_empty_lines_only)
{
    struct codec codec = line_codec("\n");
    feed_check(&codec, 0, BYTES("\n\r\n"), "[][]more");
    feed_check(&codec, 0, BYTES("\na"), "[]EMSGSIZE");
}
END_TEST

START_TEST(echo_gives_the_same_bytes)
{
    struct codec lf = line_codec("\n");
    struct codec crlf = line_codec("\r\n");
    feed_check_echo(&lf, 100, BYTES("hello\n\nwor ld\n"));
    feed_check_echo(&crlf, 100, BYTES("hello\r\n\r\nw\r\r\n"));
}
END_TEST

START_TEST(message_is_sent_with_eol)
{
    struct codec lf = line_codec("\n");
    struct codec crlf = line_codec("\r\n");
    feed_check_encode(&lf, BYTES("hi"), BYTES("hi\n"));
    feed_check_encode(&crlf, BYTES("hi"), BYTES("hi\r\n"));
    feed_check_encode(&crlf, BYTES(""), BYTES("\r\n"));
}
END_TEST

START_TEST(eol_is_1_to_64_bytes)
{
    struct codec codec;
    char eol[65] = {0};
    const char *why = NULL;
    ck_assert_int_eq(codec_init_line(&codec, eol, 0, &why), -EINVAL);
    ck_assert_str_eq(why, "line: eol must be 1 to 64 bytes");
    ck_assert_int_eq(codec_init_line(&codec, eol, 65, &why), -EINVAL);
    ck_assert_int_eq(codec_init_line(&codec, eol, 64, &why), 0);
    ck_assert_uint_eq(codec.as.line.eol_len, 64);
}
END_TEST

START_TEST(long_line_byte_by_byte_is_scanned_once)
{
    enum { LEN = 1 << 20 };
    struct codec codec = line_codec("\n");
    struct codec_state state = {0};
    struct codec_frame frame;
    char *bytes = malloc(LEN);
    ck_assert_ptr_nonnull(bytes);
    memset(bytes, 'x', LEN);
    for (size_t len = 1; len < LEN; len++) {
        int result = codec_decode(&codec, &state, bytes, len, LEN, &frame);
        if (result != CODEC_MORE || state.scanned != len)
            ck_abort_msg("after %zu bytes: %d, scanned %u", len, result, state.scanned);
        /* Whoever looks at a byte again will take it for the end. */
        bytes[len - 1] = '\n';
    }
    bytes[LEN - 1] = '\n';
    ck_assert_int_eq(codec_decode(&codec, &state, bytes, LEN, LEN, &frame), CODEC_FRAME);
    ck_assert_uint_eq(frame.total, LEN);
    free(bytes);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("codec_line");
    TCase *tcase = tcase_create("codec_line");
    tcase_add_test(tcase, line_ends_at_newline);
    tcase_add_test(tcase, line_without_its_end_is_no_message);
    tcase_add_test(tcase, one_carriage_return_before_newline_is_stripped);
    tcase_add_test(tcase, empty_lines_are_empty_messages);
    tcase_add_test(tcase, nul_bytes_are_like_any_other);
    tcase_add_test(tcase, limit_counts_neither_newline_nor_carriage_return);
    tcase_add_test(tcase, line_over_the_limit_is_oversize_before_its_end_is_seen);
    tcase_add_test(tcase,
                   byte_after_the_limit_may_be_a_carriage_return_that_will_be_stripped);
    tcase_add_test(tcase, limit_of_zero_allows_empty_lines_only);
    tcase_add_test(tcase, echo_gives_the_same_bytes);
    tcase_add_test(tcase, message_is_sent_with_eol);
    tcase_add_test(tcase, eol_is_1_to_64_bytes);
    tcase_add_test(tcase, long_line_byte_by_byte_is_scanned_once);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
