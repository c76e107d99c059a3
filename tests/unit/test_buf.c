/* tests/unit/test_buf.c - base/buf. */
#include "base/buf.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

static void append_text(struct buf *buf, const char *text)
{
    ck_assert_int_eq(buf_append(buf, text, strlen(text)), 0);
}

static void assert_contents(const struct buf *buf, const char *text)
{
    ck_assert_uint_eq(buf_len(buf), strlen(text));
    ck_assert_mem_eq(buf_bytes(buf), text, strlen(text));
}

START_TEST(all_zeros_is_an_empty_buffer_without_memory)
{
    struct buf buf = {0};

    ck_assert_uint_eq(buf_len(&buf), 0);
    ck_assert_ptr_null(buf_bytes(&buf));
    ck_assert_int_eq(buf_append(&buf, NULL, 0), 0);
    ck_assert_ptr_null(buf_bytes(&buf));
    buf_fini(&buf);
}
END_TEST

START_TEST(appended_bytes_come_out_in_order)
{
    struct buf buf = {0};

    append_text(&buf, "ebb");
    append_text(&buf, " and ");
    append_text(&buf, "flow");
    assert_contents(&buf, "ebb and flow");
    buf_consume(&buf, 4);
    assert_contents(&buf, "and flow");
    buf_fini(&buf);
    ck_assert_uint_eq(buf.capacity, 0);
}
END_TEST

START_TEST(reserved_room_is_written_in_place)
{
    struct buf buf = {0};

    ck_assert_int_eq(buf_reserve(&buf, 1000), 0);
    memset(buf_tail(&buf), 'x', 1000);
    buf_commit(&buf, 3);
    assert_contents(&buf, "xxx");
    buf_fini(&buf);
}
END_TEST

START_TEST(printf_appends_without_the_nul_and_grows_to_fit)
{
    char digits[301];
    struct buf buf = {0};

    ck_assert_int_eq(buf_printf(&buf, "%s", ""), 0);
    ck_assert_uint_eq(buf_len(&buf), 0);
    memset(digits, '7', 300);
    digits[300] = '\0';
    for (int width = 0; width < 300; width++)
        ck_assert_int_eq(buf_printf(&buf, "%.*s", width, digits), 0);
    ck_assert_uint_eq(buf_len(&buf), 299 * 300 / 2);
    for (size_t i = 0; i < buf_len(&buf); i++)
        ck_assert_int_eq(buf_bytes(&buf)[i], '7');
    buf_fini(&buf);
}
END_TEST

START_TEST(printf_keeps_the_last_byte_when_only_the_nul_does_not_fit)
{
    struct buf buf = {0};

    ck_assert_int_eq(buf_reserve(&buf, 10), 0);
    while (buf.capacity - buf.end > 3)
        append_text(&buf, "x");
    ck_assert_int_eq(buf_printf(&buf, "%d", 123), 0);
    ck_assert_mem_eq(buf_tail(&buf) - 4, "x123", 4);
    buf_fini(&buf);
}
END_TEST

START_TEST(a_large_piece_fits_behind_consumed_bytes)
{
    static char piece[100000];
    struct buf buf = {0};

    append_text(&buf, "consumed, kept");
    buf_consume(&buf, 10);
    memset(piece, 'p', sizeof piece);
    ck_assert_int_eq(buf_append(&buf, piece, sizeof piece), 0);
    ck_assert_uint_eq(buf_len(&buf), 4 + sizeof piece);
    ck_assert_mem_eq(buf_bytes(&buf), "kept", 4);
    ck_assert_mem_eq(buf_bytes(&buf) + 4, piece, sizeof piece);
    buf_fini(&buf);
}
END_TEST

START_TEST(consuming_all_makes_the_whole_memory_free_room)
{
    struct buf buf = {0};

    append_text(&buf, "all of this");
    size_t capacity = buf.capacity;
    buf_consume(&buf, buf_len(&buf));
    ck_assert_uint_eq(buf.end, 0);
    ck_assert_int_eq(buf_reserve(&buf, capacity), 0);
    ck_assert_uint_eq(buf.capacity, capacity);
    buf_fini(&buf);
}
END_TEST

START_TEST(clearing_keeps_the_memory)
{
    struct buf buf = {0};

    append_text(&buf, "gone");
    char *data = buf.data;
    buf_clear(&buf);
    ck_assert_uint_eq(buf_len(&buf), 0);
    ck_assert_ptr_eq(buf.data, data);
    buf_fini(&buf);
}
END_TEST

START_TEST(a_consumed_half_is_used_again_before_growing)
{
    struct buf buf = {0};

    ck_assert_int_eq(buf_reserve(&buf, 1024), 0);
    size_t capacity = buf.capacity;
    memset(buf_tail(&buf), 'a', capacity);
    buf_commit(&buf, capacity);
    buf_consume(&buf, capacity / 2);
    ck_assert_int_eq(buf_reserve(&buf, capacity / 2), 0);
    ck_assert_uint_eq(buf.capacity, capacity);
    ck_assert_uint_eq(buf_len(&buf), capacity / 2);
    buf_fini(&buf);
}
END_TEST

/* A queue that stays almost full: moving it down for every byte would be quadratic. */
START_TEST(a_full_queue_is_not_moved_for_every_byte)
{
    struct buf buf = {0};
    size_t len = (size_t)64 * 1024, moves = 0;

    ck_assert_int_eq(buf_reserve(&buf, len), 0);
    memset(buf_tail(&buf), 'q', len);
    buf_commit(&buf, len);
    for (size_t i = 0; i < 4 * len; i++) {
        size_t start = buf.start;
        buf_consume(&buf, 1);
        append_text(&buf, "r");
        moves += buf.start < start;
    }
    ck_assert_uint_eq(buf_len(&buf), len);
    ck_assert_uint_le(moves, 5);
    ck_assert_uint_le(buf.capacity, 2 * len);
    buf_fini(&buf);
}
END_TEST

START_TEST(an_impossible_size_is_refused_and_the_contents_stay)
{
    struct buf buf = {0};

    append_text(&buf, "before");
    ck_assert_int_eq(buf_reserve(&buf, SIZE_MAX), -ENOMEM);
    ck_assert_int_eq(buf_reserve(&buf, SIZE_MAX - 3), -ENOMEM);
    ck_assert_int_eq(buf_reserve(&buf, PTRDIFF_MAX), -ENOMEM);
    assert_contents(&buf, "before");
    buf_fini(&buf);
}
END_TEST

START_TEST(consuming_more_than_there_is_aborts)
{
    struct buf buf = {0};

    append_text(&buf, "abc");
    buf_consume(&buf, 4);
}
END_TEST

START_TEST(committing_more_than_was_reserved_aborts)
{
    struct buf buf = {0};

    append_text(&buf, "abc");
    buf_commit(&buf, buf.capacity);
}
END_TEST

enum { MODEL_MAX = 1 << 20 };

/* The bytes that were ever appended; those before `from` are consumed. */
static struct model {
    char bytes[MODEL_MAX];
    size_t from, to;
} model;

static void assert_like_model(const struct buf *buf)
{
    size_t len = model.to - model.from;

    if (buf_len(buf) != len)
        ck_assert_uint_eq(buf_len(buf), len);
    if (len > 0 && memcmp(buf_bytes(buf), model.bytes + model.from, len) != 0)
        ck_abort_msg("%zu bytes after %zu differ", len, model.from);
}

START_TEST(random_operations_match_a_plain_array)
{
    unsigned short seed[3] = {1, 2, 3};
    struct buf buf = {0};

    while (model.to < MODEL_MAX - 700) {
        size_t len = (size_t)nrand48(seed) % 700;
        if (nrand48(seed) % 2 == 0) {
            memset(model.bytes + model.to, 'a' + (int)(nrand48(seed) % 26), len);
            int err = buf_append(&buf, model.bytes + model.to, len);
            ck_assert_int_eq(err, 0);
            model.to += len;
        } else {
            len = len < buf_len(&buf) ? len : buf_len(&buf);
            buf_consume(&buf, len);
            model.from += len;
        }
        assert_like_model(&buf);
    }
    buf_fini(&buf);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("buf");
    TCase *tcase = tcase_create("buf");

    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, all_zeros_is_an_empty_buffer_without_memory);
    tcase_add_test(tcase, appended_bytes_come_out_in_order);
    tcase_add_test(tcase, reserved_room_is_written_in_place);
    tcase_add_test(tcase, printf_appends_without_the_nul_and_grows_to_fit);
    tcase_add_test(tcase, printf_keeps_the_last_byte_when_only_the_nul_does_not_fit);
    tcase_add_test(tcase, a_large_piece_fits_behind_consumed_bytes);
    tcase_add_test(tcase, consuming_all_makes_the_whole_memory_free_room);
    tcase_add_test(tcase, clearing_keeps_the_memory);
    tcase_add_test(tcase, a_consumed_half_is_used_again_before_growing);
    tcase_add_test(tcase, a_full_queue_is_not_moved_for_every_byte);
    tcase_add_test(tcase, an_impossible_size_is_refused_and_the_contents_stay);
    tcase_add_test_raise_signal(tcase, consuming_more_than_there_is_aborts, SIGABRT);
    tcase_add_test_raise_signal(tcase, committing_more_than_was_reserved_aborts, SIGABRT);
    tcase_add_test(tcase, random_operations_match_a_plain_array);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
