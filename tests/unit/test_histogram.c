/* tests/unit/test_histogram.c - buckets, quantiles, and times as people read them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "cli/histogram.h"

static struct histogram histogram;

static void setup(void)
{
    histogram = (struct histogram){0};
}

START_TEST(an_empty_one_has_no_times)
{
    ck_assert_uint_eq(histogram_quantile(&histogram, 0.5), 0);
}
END_TEST

/* Alone in it, each time is its own quantile, within 1/32. */
START_TEST(every_time_is_found_within_three_percent)
{
    for (uint64_t ns = 0; ns < UINT64_C(1) << 40; ns = ns * 17 / 16 + 1) {
        setup();
        histogram_add(&histogram, ns);
        histogram_add(&histogram, ns * 4); /* so that the longest does not say it */
        uint64_t found = histogram_quantile(&histogram, 0.5);
        ck_assert_uint_ge(found, ns);
        ck_assert_uint_le(found, ns + ns / 32);
    }
}
END_TEST

START_TEST(quantiles_are_ranks)
{
    for (uint64_t ns = 1; ns <= 1000; ns++)
        histogram_add(&histogram, ns * 1000);
    static const struct {
        double share;
        uint64_t exact;
    } rows[] = {{0.001, 1000}, {0.5, 500000}, {0.9, 900000}, {0.99, 990000}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t found = histogram_quantile(&histogram, rows[i].share);
        ck_assert_uint_ge(found, rows[i].exact);
        ck_assert_uint_le(found, rows[i].exact + rows[i].exact / 32);
    }
    ck_assert_uint_eq(histogram_quantile(&histogram, 1), 1000000);
    ck_assert_uint_eq(histogram.longest_ns, 1000000);
}
END_TEST

START_TEST(what_is_too_long_is_still_counted)
{
    histogram_add(&histogram, UINT64_MAX);
    ck_assert_uint_eq(histogram.count, 1);
    ck_assert_uint_eq(histogram.longest_ns, UINT64_MAX);
    ck_assert_uint_gt(histogram_quantile(&histogram, 0.5), UINT64_C(1) << 40);
}
END_TEST

START_TEST(times_as_people_read_them)
{
    static const struct {
        uint64_t ns;
        const char *text;
    } rows[] = {{0, "0 ns"},
                {999, "999 ns"},
                {1000, "1 us"},
                {12345, "12.3 us"},
                {999499, "999 us"},
                {999500, "1 ms"},
                {4560000, "4.56 ms"},
                {1200000000, "1.2 s"},
                {UINT64_C(3600000000000), "3.6e+03 s"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[HISTOGRAM_TIME_MAX];
        histogram_format(rows[i].ns, text);
        ck_assert_str_eq(text, rows[i].text);
    }
}
END_TEST

START_TEST(a_bar_for_each_power_of_two)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    histogram_add(&histogram, 1100);
    for (int i = 0; i < 3; i++)
        histogram_add(&histogram, 5000);
    histogram_print(&histogram, out);
    fclose(out);
    ck_assert_str_eq(text,
                     "  <  2.05 us  #############                             25.0 %\n"
                     "  <   4.1 us                                             0.0 %\n"
                     "  <  8.19 us  ########################################  75.0 %\n");
    free(text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("histogram");
    TCase *tcase = tcase_create("histogram");
    suite_add_tcase(suite, tcase);
    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, an_empty_one_has_no_times);
    tcase_add_test(tcase, every_time_is_found_within_three_percent);
    tcase_add_test(tcase, quantiles_are_ranks);
    tcase_add_test(tcase, what_is_too_long_is_still_counted);
    tcase_add_test(tcase, times_as_people_read_them);
    tcase_add_test(tcase, a_bar_for_each_power_of_two);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
