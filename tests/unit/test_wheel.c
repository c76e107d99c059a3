/* tests/unit/test_wheel.c - base/wheel. */
#include "base/wheel.h"

#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "base/macros.h"

#define YEAR_MS (UINT64_C(365) * 24 * 3600 * 1000)

/* A timer with a name, which it notes when it fires. */
struct named {
    struct wheel_timer timer;
    char name;
};

static struct wheel wheel;
static char fired[64];

static void on_fire(struct wheel_timer *timer)
{
    size_t len = strlen(fired);

    ck_assert_uint_lt(len, sizeof fired - 1);
    ck_assert_int_eq(wheel_timer_is_started(timer), false);
    ck_assert_uint_le(timer->deadline_ms, wheel.now_ms);
    fired[len] = container_of(timer, struct named, timer)->name;
    fired[len + 1] = '\0';
}

static void setup(void)
{
    fired[0] = '\0';
    memset(&wheel, 0xff, sizeof wheel);
    wheel_init(&wheel, 1000);
}

static void start(struct named *named, char name, uint64_t deadline_ms)
{
    wheel_timer_init(&named->timer, on_fire);
    named->name = name;
    wheel_start(&wheel, &named->timer, deadline_ms);
}

START_TEST(a_timer_fires_at_its_deadline_and_not_before)
{
    struct named a;

    start(&a, 'a', 5000);
    ck_assert_int_eq(wheel_timer_is_started(&a.timer), true);
    wheel_advance(&wheel, 4999);
    ck_assert_str_eq(fired, "");
    wheel_advance(&wheel, 5000);
    ck_assert_str_eq(fired, "a");
    wheel_advance(&wheel, 9000);
    ck_assert_str_eq(fired, "a");
}
END_TEST

START_TEST(one_jump_fires_in_order_of_deadlines)
{
    struct named a, b, c, d, e;

    start(&d, 'd', 1000 + YEAR_MS);
    start(&b, 'b', 1064);
    start(&e, 'e', 1000 + 3 * YEAR_MS);
    start(&a, 'a', 1001);
    start(&c, 'c', 700000);
    wheel_advance(&wheel, 10 * YEAR_MS);
    ck_assert_str_eq(fired, "abcde");
}
END_TEST

START_TEST(equal_deadlines_fire_in_order_of_starting)
{
    struct named a, b, c;

    start(&a, 'a', 300000);
    wheel_advance(&wheel, 290000);
    start(&b, 'b', 300000);
    wheel_advance(&wheel, 299999);
    start(&c, 'c', 300000);
    wheel_advance(&wheel, 300000);
    ck_assert_str_eq(fired, "abc");
}
END_TEST

START_TEST(a_past_deadline_is_due_at_the_next_advance_of_the_same_time)
{
    struct named a, b, c;

    start(&a, 'a', 1000);
    start(&b, 'b', 3);
    start(&c, 'c', 1001);
    ck_assert_str_eq(fired, "");
    ck_assert_uint_eq(wheel_next_ms(&wheel), 1000);
    wheel_advance(&wheel, 1000);
    ck_assert_str_eq(fired, "ab");
    ck_assert_uint_eq(wheel_next_ms(&wheel), 1001);
}
END_TEST

START_TEST(a_stopped_timer_does_not_fire)
{
    struct named a, b;

    start(&a, 'a', 2000);
    start(&b, 'b', 2000);
    wheel_stop(&wheel, &a.timer);
    wheel_stop(&wheel, &a.timer);
    wheel_advance(&wheel, 2000);
    ck_assert_str_eq(fired, "b");
    ck_assert_uint_eq(wheel_next_ms(&wheel), WHEEL_NEVER);
}
END_TEST

START_TEST(starting_again_moves_the_deadline)
{
    struct named a;

    start(&a, 'a', 2000);
    wheel_start(&wheel, &a.timer, 90000);
    wheel_advance(&wheel, 89999);
    ck_assert_str_eq(fired, "");
    wheel_advance(&wheel, 90000);
    ck_assert_str_eq(fired, "a");
}
END_TEST

START_TEST(a_clock_that_goes_back_is_a_clock_that_stands)
{
    struct named a, b;

    start(&a, 'a', 1000);
    start(&b, 'b', 1500);
    wheel_advance(&wheel, 5);
    ck_assert_str_eq(fired, "a");
    ck_assert_uint_eq(wheel.now_ms, 1000);
    wheel_advance(&wheel, 1500);
    ck_assert_str_eq(fired, "ab");
}
END_TEST

START_TEST(deadlines_beyond_the_top_level_fire_in_time)
{
    struct named a, b, c;
    uint64_t turn = UINT64_C(1) << 42; /* of the top level */

    start(&c, 'c', 5 * turn + 17);
    start(&b, 'b', turn + 3);
    start(&a, 'a', turn - 1);
    wheel_advance(&wheel, turn - 2);
    ck_assert_str_eq(fired, "");
    wheel_advance(&wheel, turn + 2);
    ck_assert_str_eq(fired, "a");
    wheel_advance(&wheel, turn + 3);
    ck_assert_str_eq(fired, "ab");
    wheel_advance(&wheel, 5 * turn + 16);
    ck_assert_str_eq(fired, "ab");
    wheel_advance(&wheel, 5 * turn + 17);
    ck_assert_str_eq(fired, "abc");
}
END_TEST

START_TEST(a_timer_beyond_the_top_level_can_be_stopped)
{
    struct named a;

    start(&a, 'a', UINT64_MAX - 1);
    ck_assert_uint_ne(wheel_next_ms(&wheel), WHEEL_NEVER);
    wheel_stop(&wheel, &a.timer);
    ck_assert_uint_eq(wheel_next_ms(&wheel), WHEEL_NEVER);
}
END_TEST

START_TEST(a_wheel_at_the_end_of_time_still_turns)
{
    struct named a, b;

    wheel_init(&wheel, UINT64_MAX - 5000);
    start(&a, 'a', UINT64_MAX - 1);
    start(&b, 'b', UINT64_MAX - 4000);
    wheel_advance(&wheel, UINT64_MAX - 2);
    ck_assert_str_eq(fired, "b");
    wheel_advance(&wheel, UINT64_MAX);
    ck_assert_str_eq(fired, "ba");
}
END_TEST

/* What an event loop does: sleeps until wheel_next_ms, advances to it. Returns how often. */
static int follow_next_ms(uint64_t deadline_ms)
{
    int steps = 0;

    while (fired[0] == '\0') {
        uint64_t next_ms = wheel_next_ms(&wheel);
        ck_assert_uint_gt(next_ms, wheel.now_ms);
        ck_assert_uint_le(next_ms, deadline_ms);
        wheel_advance(&wheel, next_ms);
        steps++;
    }
    ck_assert_uint_eq(wheel.now_ms, deadline_ms);
    return steps;
}

START_TEST(following_next_ms_reaches_a_far_deadline_in_one_step_a_level)
{
    for (uint64_t after = 1; after < YEAR_MS; after = after * 3 + 1) {
        struct named a;
        setup();
        start(&a, 'a', 1000 + after);
        ck_assert_int_le(follow_next_ms(1000 + after), WHEEL_LEVELS);
    }
}
END_TEST

/* Callbacks that touch other timers. */

static struct named *victim;
static int runs;

static void on_fire_free_victim(struct wheel_timer *timer)
{
    on_fire(timer);
    wheel_stop(&wheel, &victim->timer);
    free(victim);
    free(timer);
}

START_TEST(a_callback_may_free_itself_and_another_due_timer)
{
    struct named *a = malloc(sizeof *a), last;

    victim = malloc(sizeof *victim);
    start(a, 'a', 2000);
    a->timer.fn = on_fire_free_victim;
    start(victim, 'v', 2001);
    start(&last, 'z', 2002);
    wheel_advance(&wheel, 3000);
    ck_assert_str_eq(fired, "az");
}
END_TEST

static void on_fire_start_again(struct wheel_timer *timer)
{
    ck_assert_int_lt(++runs, 10);
    wheel_start(&wheel, timer, timer->deadline_ms + 10);
}

START_TEST(a_timer_restarted_in_the_past_runs_once_an_advance)
{
    struct named a;

    runs = 0;
    start(&a, 'a', 1010);
    a.timer.fn = on_fire_start_again;
    wheel_advance(&wheel, 5000);
    ck_assert_int_eq(runs, 1);
    ck_assert_uint_eq(wheel_next_ms(&wheel), 5000);
    wheel_advance(&wheel, 5000);
    ck_assert_int_eq(runs, 2);
    ck_assert_uint_eq(wheel_next_ms(&wheel), 5010);
}
END_TEST

static void on_fire_postpone_victim(struct wheel_timer *timer)
{
    on_fire(timer);
    wheel_start(&wheel, &victim->timer, wheel.now_ms + 1);
}

START_TEST(a_callback_may_postpone_another_due_timer)
{
    struct named a, b;

    victim = &b;
    start(&a, 'a', 2000);
    a.timer.fn = on_fire_postpone_victim;
    start(&b, 'b', 2000);
    wheel_advance(&wheel, 2000);
    ck_assert_str_eq(fired, "a");
    wheel_advance(&wheel, 2001);
    ck_assert_str_eq(fired, "ab");
}
END_TEST

/* A naive model: an array that is searched. */

enum { MODEL_TIMERS = 60, MODEL_STEPS = 100000 };

struct model_timer {
    struct wheel_timer timer;
    uint64_t deadline_ms, order;
    bool is_started, is_due;
};

static struct model {
    struct model_timer timers[MODEL_TIMERS];
    uint64_t now_ms, order;
    unsigned short seed[3];
    long fired;
} model;

static uint64_t model_random(void)
{
    return (uint64_t)nrand48(model.seed);
}

/* Mostly near, sometimes far, rarely absurd. */
static uint64_t model_delay(void)
{
    static const unsigned bits[] = {1,  3,  5,  6,  6,  7,  8,  10, 12,
                                    13, 14, 18, 20, 24, 31, 37, 43, 45};
    uint64_t wide = model_random() << 31 ^ model_random();

    return wide & ((UINT64_C(1) << bits[model_random() % ARRAY_LEN(bits)]) - 1);
}

static void model_start(struct model_timer *timer)
{
    uint64_t deadline_ms = model.now_ms + model_delay();

    if (model_random() % 8 == 0)
        deadline_ms = model_random() % 2 ? model.now_ms : model_random() % model.now_ms;
    wheel_start(&wheel, &timer->timer, deadline_ms);
    timer->deadline_ms = deadline_ms < model.now_ms ? model.now_ms : deadline_ms;
    timer->order = model.order++;
    timer->is_started = true;
    timer->is_due = false;
}

static void model_stop(struct model_timer *timer)
{
    wheel_stop(&wheel, &timer->timer);
    timer->is_started = timer->is_due = false;
}

static void model_change_any(void)
{
    struct model_timer *timer = &model.timers[model_random() % MODEL_TIMERS];

    if (model_random() % 3 == 0)
        model_stop(timer);
    else
        model_start(timer);
}

/* The started (or due) timer that comes first. */
static struct model_timer *model_first(bool only_due)
{
    struct model_timer *first = NULL;

    for (size_t i = 0; i < MODEL_TIMERS; i++) {
        struct model_timer *timer = &model.timers[i];
        if (only_due ? !timer->is_due : !timer->is_started)
            continue;
        if (!first || timer->deadline_ms < first->deadline_ms ||
            (timer->deadline_ms == first->deadline_ms && timer->order < first->order))
            first = timer;
    }
    return first;
}

static void on_model_fire(struct wheel_timer *fired_timer)
{
    struct model_timer *timer = container_of(fired_timer, struct model_timer, timer);
    struct model_timer *first = model_first(true);

    if (timer != first)
        ck_abort_msg("timer %td fired, not %td", timer - model.timers,
                     first - model.timers);
    if (wheel_timer_is_started(&timer->timer))
        ck_abort_msg("timer %td fires and is started", timer - model.timers);
    timer->is_started = timer->is_due = false;
    model.fired++;
    while (model_random() % 3 == 0)
        model_change_any();
}

static void model_advance(void)
{
    uint64_t next_ms = wheel_next_ms(&wheel);

    if (model_random() % 4 == 0 && next_ms != WHEEL_NEVER)
        model.now_ms = next_ms;
    else
        model.now_ms += model_delay();
    for (size_t i = 0; i < MODEL_TIMERS; i++) {
        struct model_timer *timer = &model.timers[i];
        timer->is_due = timer->is_started && timer->deadline_ms <= model.now_ms;
    }
    wheel_advance(&wheel, model.now_ms);
    ck_assert_ptr_null(model_first(true));
}

static void assert_like_model(void)
{
    const struct model_timer *first = model_first(false);
    uint64_t next_ms = wheel_next_ms(&wheel);

    ck_assert_uint_eq(wheel.now_ms, model.now_ms);
    for (size_t i = 0; i < MODEL_TIMERS; i++) {
        bool is_started = wheel_timer_is_started(&model.timers[i].timer);
        if (is_started != model.timers[i].is_started)
            ck_abort_msg("timer %zu: started %d, not %d", i, is_started, !is_started);
    }
    if (!first) {
        ck_assert_uint_eq(next_ms, WHEEL_NEVER);
        return;
    }
    ck_assert_uint_le(next_ms, first->deadline_ms);
    if (first->deadline_ms > model.now_ms)
        ck_assert_uint_gt(next_ms, model.now_ms);
    if (first->deadline_ms >> 6 == model.now_ms >> 6)
        ck_assert_uint_eq(next_ms, first->deadline_ms);
}

START_TEST(random_operations_match_a_naive_model)
{
    model.now_ms = 1000;
    model.seed[0] = (unsigned short)(_i + 1);
    for (size_t i = 0; i < MODEL_TIMERS; i++)
        wheel_timer_init(&model.timers[i].timer, on_model_fire);
    for (int step = 0; step < MODEL_STEPS; step++) {
        if (model_random() % 5 == 0)
            model_advance();
        else
            model_change_any();
        if (step % 8 == 0)
            assert_like_model();
    }
    ck_assert_int_gt(model.fired, MODEL_STEPS / 10);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("wheel");
    TCase *tcase = tcase_create("wheel");

    suite_add_tcase(suite, tcase);
    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, a_timer_fires_at_its_deadline_and_not_before);
    tcase_add_test(tcase, one_jump_fires_in_order_of_deadlines);
    tcase_add_test(tcase, equal_deadlines_fire_in_order_of_starting);
    tcase_add_test(tcase, a_past_deadline_is_due_at_the_next_advance_of_the_same_time);
    tcase_add_test(tcase, a_stopped_timer_does_not_fire);
    tcase_add_test(tcase, starting_again_moves_the_deadline);
    tcase_add_test(tcase, a_clock_that_goes_back_is_a_clock_that_stands);
    tcase_add_test(tcase, deadlines_beyond_the_top_level_fire_in_time);
    tcase_add_test(tcase, a_timer_beyond_the_top_level_can_be_stopped);
    tcase_add_test(tcase, a_wheel_at_the_end_of_time_still_turns);
    tcase_add_test(tcase, following_next_ms_reaches_a_far_deadline_in_one_step_a_level);
    tcase_add_test(tcase, a_callback_may_free_itself_and_another_due_timer);
    tcase_add_test(tcase, a_timer_restarted_in_the_past_runs_once_an_advance);
    tcase_add_test(tcase, a_callback_may_postpone_another_due_timer);
    tcase_add_loop_test(tcase, random_operations_match_a_naive_model, 0, 4);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
