/* tests/unit/test_alloc.c - base/alloc, over a malloc that can be empty and that is counted.
 *
 * The code is included, not linked: only then can memory run out for it alone. */
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

static struct {
    long live, calls;
    bool is_empty;
} memory;

static void *counted_malloc(size_t len)
{
    memory.calls++;
    void *ptr = memory.is_empty ? NULL : malloc(len);
    memory.live += ptr != NULL;
    return ptr;
}

static void *counted_realloc(void *ptr, size_t len)
{
    memory.calls++;
    return memory.is_empty ? NULL : realloc(ptr, len);
}

static void counted_free(void *ptr)
{
    memory.live -= ptr != NULL;
    free(ptr);
}

#define malloc counted_malloc
#define realloc counted_realloc
#define free counted_free
#include "base/alloc.c" /* NOLINT(bugprone-suspicious-include) */
#undef malloc
#undef realloc
#undef free

#include <signal.h>
#include <string.h>

#include <check.h>

#include "base/macros.h"

static struct alloc alloc;

static void setup(void)
{
    memset(&memory, 0, sizeof memory);
    alloc_init(&alloc, SIZE_MAX);
}

static void teardown(void)
{
    memory.is_empty = false;
    alloc_fini(&alloc);
    ck_assert_int_eq(memory.live, 0);
}

static char *take_bytes(size_t len, char fill)
{
    char *ptr = alloc_realloc(&alloc, NULL, 0, len);

    ck_assert_ptr_nonnull(ptr);
    memset(ptr, fill, len);
    return ptr;
}

static void give_bytes(void *ptr, size_t len)
{
    ck_assert_ptr_null(alloc_realloc(&alloc, ptr, len, 0));
}

static void assert_filled(const char *ptr, size_t len, char fill)
{
    for (size_t i = 0; i < len; i++) {
        if (ptr[i] != fill)
            ck_abort_msg("byte %zu of %zu is %d, not %d", i, len, ptr[i], fill);
    }
}

START_TEST(bytes_asked_for_are_counted)
{
    char *a = take_bytes(1, 'a'), *b = take_bytes(100000, 'b');

    ck_assert_uint_eq(alloc.used, 100001);
    b = alloc_realloc(&alloc, b, 100000, 70);
    ck_assert_uint_eq(alloc.used, 71);
    a = alloc_realloc(&alloc, a, 1, 16);
    ck_assert_uint_eq(alloc.used, 86);
    give_bytes(a, 16);
    give_bytes(b, 70);
    ck_assert_uint_eq(alloc.used, 0);
}
END_TEST

START_TEST(without_a_block_the_old_length_is_a_type_tag)
{
    char *ptr = alloc_realloc(&alloc, NULL, 5, 24);

    ck_assert_uint_eq(alloc.used, 24);
    give_bytes(ptr, 24);
    ck_assert_ptr_null(alloc_realloc(&alloc, NULL, 8, 0));
    ck_assert_uint_eq(alloc.used, 0);
}
END_TEST

START_TEST(nothing_from_nothing_asks_for_no_memory)
{
    alloc.fail_after = 1;
    ck_assert_ptr_null(alloc_realloc(&alloc, NULL, 0, 0));
    ck_assert_int_eq(memory.calls, 0);
    ck_assert_uint_eq(alloc.fail_after, 1);
}
END_TEST

START_TEST(a_freed_block_is_given_out_again_to_its_class)
{
    char *a = take_bytes(40, 'a');
    take_bytes(40, 'b');
    give_bytes(a, 40);
    ck_assert_ptr_ne(take_bytes(49, 'c'), a);
    ck_assert_ptr_eq(take_bytes(33, 'd'), a);
}
END_TEST

START_TEST(a_block_stays_where_it_is_within_its_class)
{
    for (size_t from = 1; from <= 512; from++) {
        size_t low = (from - 1) / 16 * 16 + 1, high = low + 15;
        char *ptr = take_bytes(from, 'x');
        ck_assert_ptr_eq(alloc_realloc(&alloc, ptr, from, high), ptr);
        ck_assert_ptr_eq(alloc_realloc(&alloc, ptr, high, low), ptr);
        give_bytes(ptr, low);
    }
    ck_assert_uint_eq(alloc.used, 0);
}
END_TEST

START_TEST(blocks_are_aligned_and_apart)
{
    static char *blocks[600];

    for (size_t len = 1; len < 600; len++) {
        blocks[len] = take_bytes(len, (char)len);
        ck_assert_uint_eq((uintptr_t)blocks[len] % 16, 0);
    }
    for (size_t len = 1; len < 600; len++) {
        assert_filled(blocks[len], len, (char)len);
        give_bytes(blocks[len], len);
    }
}
END_TEST

START_TEST(small_blocks_share_chunks_and_waste_no_end_of_one)
{
    size_t whole = (CHUNK_LEN - HEADER_LEN) / 512 * 512;

    for (size_t len = 0; len < whole; len += 512)
        take_bytes(512, 'x');
    ck_assert_int_eq(memory.calls, 1);
    take_bytes(512, 'y');
    ck_assert_int_eq(memory.calls, 2);
    size_t rest = CHUNK_LEN - HEADER_LEN - whole;
    ck_assert_uint_gt(rest, 0);
    ck_assert_ptr_nonnull(*class_of(&alloc, rest));
}
END_TEST

START_TEST(the_limit_is_exact)
{
    alloc.limit = 1000;
    char *a = take_bytes(900, 'a');
    ck_assert_ptr_null(alloc_realloc(&alloc, NULL, 0, 101));
    ck_assert_ptr_null(alloc_realloc(&alloc, NULL, 0, SIZE_MAX));
    ck_assert_uint_eq(alloc.used, 900);
    take_bytes(100, 'b');
    ck_assert_uint_eq(alloc.used, 1000);
    ck_assert_ptr_null(alloc_realloc(&alloc, NULL, 0, 1));
    ck_assert_ptr_null(alloc_realloc(&alloc, a, 900, 901));
    assert_filled(a, 900, 'a');
    give_bytes(a, 900);
    give_bytes(take_bytes(900, 'c'), 900);
    ck_assert_uint_eq(alloc.used, 100);
}
END_TEST

START_TEST(over_a_lowered_limit_blocks_can_still_shrink_and_go)
{
    char *a = take_bytes(600, 'a'), *b = take_bytes(600, 'b');

    alloc.limit = 100;
    ck_assert_ptr_null(alloc_realloc(&alloc, NULL, 0, 1));
    a = alloc_realloc(&alloc, a, 600, 50);
    ck_assert_ptr_nonnull(a);
    assert_filled(a, 50, 'a');
    give_bytes(b, 600);
    ck_assert_uint_eq(alloc.used, 50);
    take_bytes(50, 'c');
}
END_TEST

START_TEST(absurd_lengths_fail_without_a_limit)
{
    char *a = take_bytes(10, 'a');

    ck_assert_ptr_null(alloc_realloc(&alloc, NULL, 0, SIZE_MAX - 10));
    ck_assert_ptr_null(alloc_realloc(&alloc, a, 10, SIZE_MAX - 8));
    ck_assert_uint_eq(alloc.used, 10);
    assert_filled(a, 10, 'a');
    a = alloc_realloc(&alloc, a, 10, 1000);
    ck_assert_ptr_null(alloc_realloc(&alloc, a, 1000, SIZE_MAX - 8));
    give_bytes(a, 1000);
}
END_TEST

START_TEST(a_charge_counts_against_the_limit)
{
    alloc.limit = 1000;
    ck_assert_int_eq(alloc_charge(&alloc, 600), true);
    ck_assert_int_eq(alloc_charge(&alloc, 401), false);
    ck_assert_uint_eq(alloc.used, 600);
    ck_assert_ptr_null(alloc_realloc(&alloc, NULL, 0, 401));
    ck_assert_int_eq(alloc_charge(&alloc, 400), true);
    ck_assert_int_eq(alloc_charge(&alloc, 0), true);
    alloc_discharge(&alloc, 1000);
    ck_assert_uint_eq(alloc.used, 0);
}
END_TEST

START_TEST(discharging_more_than_was_charged_aborts)
{
    ck_assert_int_eq(alloc_charge(&alloc, 10), true);
    alloc_discharge(&alloc, 11);
}
END_TEST

START_TEST(fail_after_fails_the_nth_growing_call)
{
    char *a = take_bytes(100, 'a');

    alloc.fail_after = 3;
    a = alloc_realloc(&alloc, a, 100, 101);
    ck_assert_ptr_nonnull(a);
    a = alloc_realloc(&alloc, a, 101, 20);
    ck_assert_int_eq(alloc_charge(&alloc, 5), true);
    ck_assert_ptr_null(alloc_realloc(&alloc, a, 20, 21));
    assert_filled(a, 20, 'a');
    ck_assert_uint_eq(alloc.used, 25);
    ck_assert_uint_eq(alloc.fail_after, 0);
    ck_assert_ptr_nonnull(alloc_realloc(&alloc, a, 20, 21));
    alloc.fail_after = 1;
    ck_assert_int_eq(alloc_charge(&alloc, 5), false);
}
END_TEST

START_TEST(a_growth_without_memory_leaves_the_block)
{
    char *small = take_bytes(512, 's'), *large = take_bytes(4000, 'l');

    memory.is_empty = true;
    ck_assert_ptr_null(alloc_realloc(&alloc, small, 512, 513));
    ck_assert_ptr_null(alloc_realloc(&alloc, large, 4000, 4001));
    ck_assert_uint_eq(alloc.used, 4512);
    assert_filled(small, 512, 's');
    assert_filled(large, 4000, 'l');
    give_bytes(large, 4000);
}
END_TEST

/* Takes until neither a free block nor room in a chunk is left, then makes memory run out. */
static void exhaust(void)
{
    memory.is_empty = true;
    for (size_t len = 512; len > 0; len -= 16) {
        while (alloc_realloc(&alloc, NULL, 0, len)) {
        }
    }
}

START_TEST(a_small_block_shrinks_without_memory)
{
    for (size_t from = 17; from <= 512; from += 15) {
        for (size_t to = 1; to + 16 <= from; to += 13) {
            setup();
            char *ptr = take_bytes(from, 'x');
            exhaust();
            size_t used = alloc.used;
            char *shrunk = alloc_realloc(&alloc, ptr, from, to);
            ck_assert_ptr_nonnull(shrunk);
            assert_filled(shrunk, to, 'x');
            ck_assert_uint_eq(alloc.used, used - from + to);
            give_bytes(shrunk, to);
            memset(take_bytes(to, 'y'), 'z', to);
            teardown();
        }
    }
    setup();
}
END_TEST

START_TEST(the_end_that_a_shrunk_block_lost_is_used_again)
{
    char *ptr = take_bytes(500, 'x');

    exhaust();
    ptr = alloc_realloc(&alloc, ptr, 500, 100);
    take_bytes(400, 'y');
    assert_filled(ptr, 100, 'x');
}
END_TEST

START_TEST(a_large_block_shrinks_to_a_small_one_without_memory)
{
    char *a = take_bytes(3000, 'a'), *b = take_bytes(513, 'b');

    /* Once without any chunk to stand behind, once with one. */
    memory.is_empty = true;
    a = alloc_realloc(&alloc, a, 3000, 30);
    ck_assert_ptr_nonnull(a);
    b = alloc_realloc(&alloc, b, 513, 512);
    ck_assert_ptr_nonnull(b);
    assert_filled(a, 30, 'a');
    assert_filled(b, 512, 'b');
    ck_assert_uint_eq(alloc.used, 542);
    give_bytes(a, 30);
    give_bytes(b, 512);
    ck_assert_ptr_eq(take_bytes(30, 'c'), a);
    ck_assert_ptr_eq(take_bytes(512, 'd'), b);
}
END_TEST

START_TEST(an_adopted_block_does_not_hide_the_room_of_the_chunk)
{
    char *large = take_bytes(1000, 'l');

    /* Leaves the chunk room for 480 bytes, too little for 496. */
    take_bytes(16, 'x');
    for (int i = 0; i < 63; i++)
        take_bytes(512, 'x');
    memory.is_empty = true;
    large = alloc_realloc(&alloc, large, 1000, 496);
    ck_assert_ptr_nonnull(large);
    take_bytes(240, 'y');
    take_bytes(224, 'z');
    assert_filled(large, 496, 'l');
}
END_TEST

START_TEST(a_block_can_keep_its_length_without_memory)
{
    char *a = take_bytes(9000, 'a'), *b = take_bytes(90, 'b');

    memory.is_empty = true;
    alloc.limit = alloc.used;
    ck_assert_ptr_eq(alloc_realloc(&alloc, a, 9000, 9000), a);
    ck_assert_ptr_eq(alloc_realloc(&alloc, b, 90, 90), b);
    give_bytes(a, 9000);
}
END_TEST

START_TEST(a_large_block_shrinks_to_a_large_one_without_memory)
{
    char *a = take_bytes(9000, 'a');

    memory.is_empty = true;
    a = alloc_realloc(&alloc, a, 9000, 600);
    ck_assert_ptr_nonnull(a);
    assert_filled(a, 600, 'a');
    ck_assert_uint_eq(alloc.used, 600);
    give_bytes(a, 600);
    ck_assert_int_eq(memory.live, 0);
}
END_TEST

#ifdef ALLOC_ASAN
START_TEST(the_sanitizer_sees_freed_blocks_and_their_ends)
{
    char *ptr = take_bytes(20, 'a');

    ck_assert_int_eq(__asan_address_is_poisoned(ptr + 19), 0);
    ck_assert_int_ne(__asan_address_is_poisoned(ptr + 20), 0);
    ptr = alloc_realloc(&alloc, ptr, 20, 30);
    ck_assert_int_eq(__asan_address_is_poisoned(ptr + 29), 0);
    give_bytes(ptr, 30);
    ck_assert_int_ne(__asan_address_is_poisoned(ptr), 0);
}
END_TEST
#endif

/* Blocks with their lengths, each filled with a byte of its own. */
static struct model {
    struct {
        char *ptr;
        size_t len;
        char fill;
    } blocks[400];
    size_t used;
    unsigned short seed[3];
} model;

static size_t random_below(size_t bound)
{
    return (size_t)nrand48(model.seed) % bound;
}

static size_t random_len(void)
{
    static const size_t bounds[] = {1, 17, 64, 200, 513, 530, 3000, 40000};

    return random_below(bounds[random_below(ARRAY_LEN(bounds))]);
}

static void resize_any(void)
{
    size_t i = random_below(ARRAY_LEN(model.blocks)), old_len = model.blocks[i].len;
    size_t new_len = random_len();
    char *old = model.blocks[i].ptr, fill = model.blocks[i].fill;

    memory.is_empty = random_below(4) == 0;
    alloc.fail_after = random_below(20) == 0 ? 1 : 0;
    bool must_fail = alloc.fail_after > 0 && new_len > old_len;
    char *ptr = alloc_realloc(&alloc, old, old ? old_len : random_below(10), new_len);
    if (!ptr && new_len > 0) {
        if (new_len <= old_len || !(must_fail || memory.is_empty))
            ck_abort_msg("%zu to %zu bytes failed", old_len, new_len);
        assert_filled(old, old_len, fill);
        return;
    }
    if (must_fail || (new_len == 0 && ptr))
        ck_abort_msg("%zu to %zu bytes did not fail", old_len, new_len);
    assert_filled(ptr, old_len < new_len ? old_len : new_len, fill);
    model.blocks[i].ptr = ptr;
    model.blocks[i].len = new_len;
    model.blocks[i].fill = (char)random_below(256);
    if (ptr)
        memset(ptr, model.blocks[i].fill, new_len);
    model.used = model.used - old_len + new_len;
}

START_TEST(random_reallocs_keep_contents_and_count)
{
    model.seed[0] = (unsigned short)(_i + 7);
    for (int step = 0; step < 100000; step++) {
        resize_any();
        if (alloc.used != model.used)
            ck_assert_uint_eq(alloc.used, model.used);
    }
    alloc.fail_after = 0;
    for (size_t i = 0; i < ARRAY_LEN(model.blocks); i++) {
        assert_filled(model.blocks[i].ptr, model.blocks[i].len, model.blocks[i].fill);
        give_bytes(model.blocks[i].ptr, model.blocks[i].len);
    }
    ck_assert_uint_eq(alloc.used, 0);
}
END_TEST

START_TEST(offered_memory_is_taken_by_the_first_block_of_its_length)
{
    char *offered = counted_malloc(ALLOC_LEAD + 1000);
    alloc_offer(&alloc, offered, 1000);
    char *shorter = take_bytes(999, 'a'), *taken = take_bytes(1000, 'b');
    char *next = take_bytes(1000, 'c');
    ck_assert_ptr_ne(shorter, offered + ALLOC_LEAD);
    ck_assert_ptr_eq(taken, offered + ALLOC_LEAD);
    ck_assert_ptr_ne(next, taken);
    alloc_withdraw(&alloc);
    assert_filled(taken, 1000, 'b');
    ck_assert_uint_eq(alloc.used, 2999);
    taken = alloc_realloc(&alloc, taken, 1000, 5000); /* it is a block like any other */
    assert_filled(taken, 1000, 'b');
    give_bytes(taken, 5000);
    give_bytes(shorter, 999);
    give_bytes(next, 1000);
}
END_TEST

START_TEST(offered_memory_that_nobody_takes_is_freed)
{
    alloc_offer(&alloc, counted_malloc(ALLOC_LEAD + 1000), 1000);
    alloc_withdraw(&alloc);
    ck_assert_int_eq(memory.live, 0);
    alloc_offer(&alloc, counted_malloc(ALLOC_LEAD + 1000), 1000);
    alloc_offer(&alloc, counted_malloc(ALLOC_LEAD + 2000), 2000);
    ck_assert_int_eq(memory.live, 1);
    alloc_offer(&alloc, NULL, 3000);
    ck_assert_int_eq(memory.live, 0);
    alloc_offer(&alloc, counted_malloc(ALLOC_LEAD + 1000),
                1000); /* teardown looks for it */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("alloc");
    TCase *tcase = tcase_create("alloc");

    suite_add_tcase(suite, tcase);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, bytes_asked_for_are_counted);
    tcase_add_test(tcase, without_a_block_the_old_length_is_a_type_tag);
    tcase_add_test(tcase, nothing_from_nothing_asks_for_no_memory);
    tcase_add_test(tcase, a_freed_block_is_given_out_again_to_its_class);
    tcase_add_test(tcase, a_block_stays_where_it_is_within_its_class);
    tcase_add_test(tcase, blocks_are_aligned_and_apart);
    tcase_add_test(tcase, small_blocks_share_chunks_and_waste_no_end_of_one);
    tcase_add_test(tcase, the_limit_is_exact);
    tcase_add_test(tcase, over_a_lowered_limit_blocks_can_still_shrink_and_go);
    tcase_add_test(tcase, absurd_lengths_fail_without_a_limit);
    tcase_add_test(tcase, a_charge_counts_against_the_limit);
    tcase_add_test_raise_signal(tcase, discharging_more_than_was_charged_aborts, SIGABRT);
    tcase_add_test(tcase, fail_after_fails_the_nth_growing_call);
    tcase_add_test(tcase, a_growth_without_memory_leaves_the_block);
    tcase_add_test(tcase, a_small_block_shrinks_without_memory);
    tcase_add_test(tcase, the_end_that_a_shrunk_block_lost_is_used_again);
    tcase_add_test(tcase, a_large_block_shrinks_to_a_small_one_without_memory);
    tcase_add_test(tcase, an_adopted_block_does_not_hide_the_room_of_the_chunk);
    tcase_add_test(tcase, a_block_can_keep_its_length_without_memory);
    tcase_add_test(tcase, offered_memory_is_taken_by_the_first_block_of_its_length);
    tcase_add_test(tcase, offered_memory_that_nobody_takes_is_freed);
    tcase_add_test(tcase, a_large_block_shrinks_to_a_large_one_without_memory);
#ifdef ALLOC_ASAN
    tcase_add_test(tcase, the_sanitizer_sees_freed_blocks_and_their_ends);
#endif
    tcase_add_loop_test(tcase, random_reallocs_keep_contents_and_count, 0, 4);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
