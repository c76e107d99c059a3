/* tests/unit/test_text.c - base/text. */
#include "base/text.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

static const struct {
    const char *text;
    int err;
    uint64_t size;
} sizes[] = {
    {"0", 0, 0},
    {"1", 0, 1},
    {"007", 0, 7},
    {"4096", 0, 4096},
    {"1k", 0, 1024},
    {"16K", 0, 16384},
    {"16M", 0, 16777216},
    {"2m", 0, 2097152},
    {"3g", 0, UINT64_C(3) << 30},
    {"0G", 0, 0},
    {"18446744073709551615", 0, UINT64_MAX},
    {"18446744073709551616", -ERANGE, 0},
    {"18446744073709551610", 0, UINT64_MAX - 5},
    {"99999999999999999999999999", -ERANGE, 0},
    {"18014398509481983K", 0, UINT64_MAX - 1023},
    {"18014398509481984K", -ERANGE, 0},
    {"17179869183G", 0, UINT64_C(17179869183) << 30},
    {"17179869184G", -ERANGE, 0},
    {"", -EINVAL, 0},
    {"K", -EINVAL, 0},
    {"-1", -EINVAL, 0},
    {"+1", -EINVAL, 0},
    {" 1", -EINVAL, 0},
    {"1 ", -EINVAL, 0},
    {"1 K", -EINVAL, 0},
    {"1KB", -EINVAL, 0},
    {"1KiB", -EINVAL, 0},
    {"1.5M", -EINVAL, 0},
    {"1T", -EINVAL, 0},
    {"0x10", -EINVAL, 0},
    {"1e3", -EINVAL, 0},
    {"99999999999999999999999999x", -EINVAL, 0},
};

START_TEST(a_size_is_digits_and_a_power_of_1024)
{
    uint64_t size = 4711;
    int err = text_parse_size(sizes[_i].text, &size);

    ck_assert_msg(err == sizes[_i].err, "'%s': %d, not %d", sizes[_i].text, err,
                  sizes[_i].err);
    ck_assert_uint_eq(size, err ? 4711 : sizes[_i].size);
}
END_TEST

START_TEST(every_printed_number_is_a_size)
{
    unsigned short seed[3] = {1, 1, 1};
    char text[32];

    for (int i = 0; i < 10000; i++) {
        uint64_t number = (uint64_t)nrand48(seed) << 33 ^ (uint64_t)nrand48(seed) << 10;
        uint64_t size = 0;
        number >>= nrand48(seed) % 64;
        snprintf(text, sizeof text, "%llu", (unsigned long long)number);
        ck_assert_int_eq(text_parse_size(text, &size), 0);
        ck_assert_uint_eq(size, number);
    }
}
END_TEST

static const char *const names[] = {"tcp",     "udp",          "unix",    "unixgram",
                                    NULL,      "on_message",   "backlog", "ipv6_only",
                                    "on_idle", "max_buffered", "a",       ""};

static const struct {
    const char *word, *nearest;
} words[] = {
    {"tcp", "tcp"},
    {"tpc", "tcp"},
    {"ucp", "tcp"}, /* as near as udp, and first */
    {"upd", "udp"},
    {"tc", "tcp"},
    {"tcpx", "tcp"},
    {"unxi", "unix"},
    {"unixgarm", "unixgram"},
    {"on_mesage", "on_message"},
    {"on_mseasge", "on_message"},
    {"onmesage", "on_message"},
    {"bakclgo", "backlog"},
    {"ipv6only", "ipv6_only"},
    {"max_bufferde", "max_buffered"},
    {"b", "a"},
    {"xyz", NULL},
    {"tcpip", NULL},           /* two of five */
    {"pct", NULL},             /* two swaps of three */
    {"backlogxxx", "backlog"}, /* three of ten */
    {"backlogxxxx", NULL},     /* four of eleven */
    {"", NULL},
    {"on_on_on_on_on_on_on_on_on_on_on_on_on_on_on_on_on_on_on_on_on_on_on_message", NULL},
};

START_TEST(the_nearest_name_is_suggested_unless_it_is_far)
{
    const char *word = words[_i].word, *expected = words[_i].nearest;
    const char *nearest = text_nearest(word, names, sizeof names / sizeof names[0]);

    ck_assert_msg(
        nearest == expected || (nearest && expected && !strcmp(nearest, expected)),
        "'%s': %s, not %s", word, nearest ? nearest : "none", expected ? expected : "none");
}
END_TEST

START_TEST(words_at_the_bound_of_length_are_compared_and_longer_ones_not)
{
    char word[66], name[66];
    const char *list[] = {name};

    memset(word, 'w', 65);
    memset(name, 'w', 65);
    word[65] = name[65] = '\0';
    ck_assert_ptr_null(text_nearest(word, list, 1));
    word[64] = '\0';
    ck_assert_ptr_null(text_nearest(word, list, 1));
    name[64] = '\0';
    ck_assert_ptr_eq(text_nearest(word, list, 1), name);
    memset(word, 'v', 21);
    ck_assert_ptr_eq(text_nearest(word, list, 1), name);
    memset(word, 'v', 22);
    ck_assert_ptr_null(text_nearest(word, list, 1));
    ck_assert_ptr_null(text_nearest("w", list, 0));
}
END_TEST

/* The bytes stand at the end of their memory, for the sanitizer to see who reads on. */
static void assert_escaped(enum text_escape how, const char *bytes, size_t len,
                           const char *expected)
{
    struct buf out = {0};
    char *exact = malloc(len + 1);

    memcpy(exact + 1, bytes, len);
    ck_assert_int_eq(buf_append(&out, ">", 1), 0);
    ck_assert_int_eq(text_escape(&out, how, exact + 1, len), 0);
    ck_assert_int_eq(buf_append(&out, "", 1), 0);
    ck_assert_str_eq(buf_bytes(&out) + 1, expected);
    buf_fini(&out);
    free(exact);
}

#define ESCAPED(how, bytes, expected)                                                      \
    assert_escaped(TEXT_ESCAPE_##how, bytes, sizeof(bytes) - 1, expected)

START_TEST(for_a_log_only_printable_ascii_comes_out)
{
    ESCAPED(LOG, "", "");
    ESCAPED(LOG, "plain \"text\"", "plain \"text\"");
    ESCAPED(LOG, "a\nb\rc\td\\e", "a\\nb\\rc\\td\\\\e");
    ESCAPED(LOG, "\0\x1b[31m\x7f\x80\xff", "\\x00\\x1b[31m\\x7f\\x80\\xff");
    ESCAPED(LOG, "Priel\xc3\xa9", "Priel\\xc3\\xa9");
}
END_TEST

START_TEST(for_json_valid_utf8_passes_and_controls_do_not)
{
    ESCAPED(JSON, "", "");
    ESCAPED(JSON, "a\"b\\c/d", "a\\\"b\\\\c/d");
    ESCAPED(JSON, "\b\f\n\r\t", "\\b\\f\\n\\r\\t");
    ESCAPED(JSON, "\0\x01\x1f\x7f", "\\u0000\\u0001\\u001f\\u007f");
    ESCAPED(JSON, "\xc3\xa9\xe2\x82\xac\xf0\x9f\x8c\x8a",
            "\xc3\xa9\xe2\x82\xac\xf0\x9f\x8c\x8a");
    ESCAPED(JSON,
            "\xc2\x9b"
            "31m",
            "\\u009b31m");
    ESCAPED(JSON, "\xe2\x80\xa8\xe2\x80\xa9", "\\u2028\\u2029");
}
END_TEST

#define FFFD "\xef\xbf\xbd"

START_TEST(for_json_each_byte_that_is_not_utf8_is_replaced)
{
    ESCAPED(JSON, "\x80", FFFD);
    ESCAPED(JSON,
            "a\xff"
            "b",
            "a" FFFD "b");
    ESCAPED(JSON, "\xc0\xaf", FFFD FFFD);                   /* not the shortest form */
    ESCAPED(JSON, "\xe0\x9f\xbf", FFFD FFFD FFFD);          /* not the shortest form */
    ESCAPED(JSON, "\xf0\x8f\xbf\xbf", FFFD FFFD FFFD FFFD); /* not the shortest form */
    ESCAPED(JSON, "\xed\xa0\x80", FFFD FFFD FFFD);          /* a surrogate */
    ESCAPED(JSON, "\xf4\x90\x80\x80", FFFD FFFD FFFD FFFD); /* beyond U+10FFFF */
    ESCAPED(JSON, "\xf5\x80\x80\x80", FFFD FFFD FFFD FFFD);
    ESCAPED(JSON, "\xf9\x80\x80\x80", FFFD FFFD FFFD FFFD);
    ESCAPED(JSON, "\xfe\xff", FFFD FFFD);
    ESCAPED(JSON, "\xe2\x82", FFFD FFFD); /* cut off */
    ESCAPED(JSON,
            "\xe2\x82"
            "A",
            FFFD FFFD "A");
    ESCAPED(JSON, "\xf0\x9f\x8c\xc3\xa9", FFFD FFFD FFFD "\xc3\xa9");
}
END_TEST

/* An encoder that knows nothing of the decoder. */
static size_t encode(uint32_t point, char out[4])
{
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    if (point < 0x800) {
        out[0] = (char)(0xc0 + point / 64);
        out[1] = (char)(0x80 + point % 64);
        return 2;
    }
    if (point < 0x10000) {
        out[0] = (char)(0xe0 + point / 4096);
        out[1] = (char)(0x80 + point / 64 % 64);
        out[2] = (char)(0x80 + point % 64);
        return 3;
    }
    out[0] = (char)(0xf0 + point / 262144);
    out[1] = (char)(0x80 + point / 4096 % 64);
    out[2] = (char)(0x80 + point / 64 % 64);
    out[3] = (char)(0x80 + point % 64);
    return 4;
}

START_TEST(for_json_every_code_point_is_itself_escaped_or_replaced)
{
    struct buf out = {0};
    char bytes[4], escaped[16];

    for (uint32_t point = 0; point < 0x120000; point++) {
        size_t len = encode(point, bytes);
        const char *expected = bytes;
        size_t expected_len = len;
        snprintf(escaped, sizeof escaped, "\\u%04x", (unsigned)point);
        if (point >= 0x110000 || (point >= 0xd800 && point < 0xe000)) {
            expected = FFFD FFFD FFFD FFFD;
            expected_len = 3 * len;
        } else if ((point >= 0x7f && point < 0xa0) || (point & ~1U) == 0x2028) {
            expected = escaped;
            expected_len = 6;
        } else if (point < 0x20 || point == '"' || point == '\\') {
            continue; /* by name above */
        }
        buf_clear(&out);
        if (text_escape(&out, TEXT_ESCAPE_JSON, bytes, len) != 0 ||
            buf_len(&out) != expected_len ||
            memcmp(buf_bytes(&out), expected, expected_len) != 0)
            ck_abort_msg("U+%04X became %zu other bytes", (unsigned)point, buf_len(&out));
    }
    buf_fini(&out);
}
END_TEST

/* Undoes TEXT_ESCAPE_LOG; returns the length. */
static size_t unescape(const char *text, size_t len, char *out)
{
    static const char kinds[] = "nrt";
    size_t count = 0;

    for (size_t i = 0; i < len; i++) {
        if (text[i] < 0x20 || text[i] > 0x7e)
            ck_abort_msg("byte %d is not printable", text[i]);
        if (text[i] != '\\') {
            out[count++] = text[i];
            continue;
        }
        char kind = text[++i], hex[3] = {0};
        const char *control = strchr(kinds, kind);
        if (kind == 'x') {
            memcpy(hex, text + i + 1, 2);
            i += 2;
            kind = (char)strtol(hex, NULL, 16);
        } else if (control) {
            kind = "\n\r\t"[control - kinds];
        }
        out[count++] = kind;
    }
    return count;
}

static void assert_can_be_read_back(const char *bytes, size_t len)
{
    struct buf out = {0};
    char back[200];

    ck_assert_int_eq(text_escape(&out, TEXT_ESCAPE_LOG, bytes, len), 0);
    ck_assert_uint_le(buf_len(&out), 4 * len);
    ck_assert_uint_eq(unescape(buf_bytes(&out), buf_len(&out), back), len);
    ck_assert_mem_eq(back, bytes, len);
    buf_fini(&out);
}

START_TEST(for_a_log_random_bytes_can_be_read_back)
{
    unsigned short seed[3] = {7, 7, 7};
    char bytes[200];

    for (int round = 0; round < 3000; round++) {
        size_t len = (size_t)nrand48(seed) % sizeof bytes;
        for (size_t i = 0; i < len; i++)
            bytes[i] = (char)(nrand48(seed) % 256);
        assert_can_be_read_back(bytes, len);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("text");
    TCase *tcase = tcase_create("text");

    suite_add_tcase(suite, tcase);
    tcase_add_loop_test(tcase, a_size_is_digits_and_a_power_of_1024, 0, ARRAY_LEN(sizes));
    tcase_add_test(tcase, every_printed_number_is_a_size);
    tcase_add_loop_test(tcase, the_nearest_name_is_suggested_unless_it_is_far, 0,
                        ARRAY_LEN(words));
    tcase_add_test(tcase, words_at_the_bound_of_length_are_compared_and_longer_ones_not);
    tcase_add_test(tcase, for_a_log_only_printable_ascii_comes_out);
    tcase_add_test(tcase, for_json_valid_utf8_passes_and_controls_do_not);
    tcase_add_test(tcase, for_json_each_byte_that_is_not_utf8_is_replaced);
    tcase_add_test(tcase, for_json_every_code_point_is_itself_escaped_or_replaced);
    tcase_add_test(tcase, for_a_log_random_bytes_can_be_read_back);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
