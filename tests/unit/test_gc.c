/* tests/unit/test_gc.c - script/gc: how far memory grows before it is collected. */
#include "script/gc.h"

#include <stdlib.h>

#include <check.h>

#include "script_fixture.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

/* What on_start of the script makes garbage of, again and again: the most that was in use, after
 * some collections that the pace follows from. */
static size_t peak(const char *script_text)
{
    const char *error = script_load(script_text);
    ck_assert_msg(!error, "%s", error);
    size_t most = 0;
    for (int run = 0; run < 4000; run++) {
        ck_assert_ptr_null(script_start());
        if (run >= 2000 && script.vm->alloc.used > most)
            most = script.vm->alloc.used;
    }
    return most;
}

START_TEST(a_small_state_gathers_ten_times_what_lives)
{
    size_t most = peak("local i = 0 return { on_start = function() i = i + 1 "
                       "local s = ('x'):rep(20000) .. i end }");
    ck_assert_uint_gt(script.vm->live, 0);
    ck_assert_uint_gt(most, 4 * script.vm->live);
    ck_assert_uint_lt(most, 12 * script.vm->live);
}
END_TEST

START_TEST(a_large_state_gathers_as_much_as_lives)
{
    size_t most =
        peak("local i, held = 0, {} for k = 1, 40 do held[k] = ('x'):rep(99000 + k) "
             "end return { on_start = function() i = i + 1 + #held "
             "local s = ('x'):rep(20000) .. i end }");
    ck_assert_uint_gt(script.vm->live, 3 * MIB);
    ck_assert_uint_gt(most, script.vm->live * 3 / 2);
    ck_assert_uint_lt(most, script.vm->live * 9 / 4);
}
END_TEST

START_TEST(a_low_cap_is_not_filled_with_garbage)
{
    script_limit(400 * KIB);
    size_t most = peak("local i = 0 return { on_start = function() i = i + 1 "
                       "local s = ('x'):rep(2000) .. i end }");
    ck_assert_uint_lt(most, 300 * KIB);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gc");
    TCase *tcase = tcase_create("gc");
    suite_add_tcase(suite, tcase);
    tcase_add_checked_fixture(tcase, script_setup, script_teardown);
    tcase_add_test(tcase, a_small_state_gathers_ten_times_what_lives);
    tcase_add_test(tcase, a_large_state_gathers_as_much_as_lives);
    tcase_add_test(tcase, a_low_cap_is_not_filled_with_garbage);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
