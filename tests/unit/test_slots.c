/* tests/unit/test_slots.c - base/slots. */
#include "base/slots.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

#include <check.h>

/* An assertion of Check is slow even when it holds: what runs millions of times compares first. */

#define INDEX_COUNT (UINT32_C(1) << SLOTS_INDEX_BITS)
#define INDEX_MASK ((UINT64_C(1) << SLOTS_INDEX_BITS) - 1)
#define GENERATION_LAST ((UINT64_C(1) << SLOTS_GENERATION_BITS) - 1)

static struct slots slots;
static uint64_t generation;
static int objects[1000];

static void setup(void)
{
    generation = 0;
    slots_init(&slots);
}

static void teardown(void)
{
    slots_fini(&slots);
}

static uint64_t add(void *object)
{
    uint64_t id = SLOTS_NONE;

    int err = slots_add(&slots, object, ++generation, &id);
    if (err != 0 || slots_generation(id) != generation)
        ck_abort_msg("error %d, id %#lx of generation %lu", err, id, generation);
    return id;
}

START_TEST(an_id_finds_its_object)
{
    uint64_t a = add(&objects[0]), b = add(&objects[1]);

    ck_assert_uint_ne(a, b);
    ck_assert_ptr_eq(slots_get(&slots, a), &objects[0]);
    ck_assert_ptr_eq(slots_get(&slots, b), &objects[1]);
    ck_assert_uint_eq(slots.count, 2);
}
END_TEST

START_TEST(a_stale_id_is_never_a_new_object)
{
    uint64_t stale[500];

    for (size_t count = 0; count < ARRAY_LEN(stale); count++) {
        stale[count] = add(&objects[0]);
        slots_remove(&slots, stale[count]);
        uint64_t live = add(&objects[1]);
        for (size_t i = 0; i <= count; i++) {
            if (stale[i] == live || slots_get(&slots, stale[i]))
                ck_abort_msg("stale id %#lx finds an object; %#lx is live", stale[i], live);
        }
        slots_remove(&slots, live);
    }
}
END_TEST

START_TEST(the_generation_outlives_the_object)
{
    uint64_t id;

    ck_assert_int_eq(slots_add(&slots, &objects[0], GENERATION_LAST, &id), 0);
    ck_assert_ptr_eq(slots_get(&slots, id), &objects[0]);
    ck_assert_uint_eq(id >> 63, 0);
    slots_remove(&slots, id);
    ck_assert_ptr_null(slots_get(&slots, id));
    ck_assert_uint_eq(slots_generation(id), GENERATION_LAST);
}
END_TEST

START_TEST(any_number_may_be_asked_for)
{
    ck_assert_ptr_null(slots_get(&slots, 0));
    ck_assert_ptr_null(slots_get(&slots, SLOTS_NONE));
    for (size_t i = 0; i < 100; i++)
        add(&objects[i]);
    uint64_t id = add(&objects[100]);
    for (uint64_t number = 0; number < 10000; number++)
        ck_assert_ptr_null(slots_get(&slots, number));
    for (int bit = 0; bit < 64; bit++) {
        uint64_t other = id ^ UINT64_C(1) << bit;
        void *object = slots_get(&slots, other);
        ck_assert_msg(!object, "%#lx is not %#lx and found an object", other, id);
    }
    ck_assert_ptr_null(slots_get(&slots, SLOTS_NONE));
    ck_assert_ptr_eq(slots_get(&slots, id), &objects[100]);
}
END_TEST

START_TEST(a_full_table_refuses_until_one_is_removed)
{
    uint64_t middle = 0, id = 4711;

    for (uint32_t i = 0; i < INDEX_COUNT; i++) {
        uint64_t added = add(&objects[i % ARRAY_LEN(objects)]);
        if (i == INDEX_COUNT / 2)
            middle = added;
    }
    ck_assert_int_eq(slots_add(&slots, &objects[0], ++generation, &id), -ENFILE);
    ck_assert_uint_eq(id, 4711);
    ck_assert_uint_eq(slots.count, INDEX_COUNT);
    slots_remove(&slots, middle);
    id = add(&objects[7]);
    ck_assert_uint_eq(id & INDEX_MASK, middle & INDEX_MASK);
    ck_assert_ptr_eq(slots_get(&slots, id), &objects[7]);
}
END_TEST

START_TEST(the_walk_sees_each_live_object_once_and_may_remove)
{
    uint64_t ids[100];
    uint32_t cursor = 0;
    size_t seen = 0;
    int *object;

    ck_assert_ptr_null(slots_next(&slots, &cursor));
    for (size_t i = 0; i < 100; i++)
        ids[i] = add(&objects[i]);
    for (size_t i = 0; i < 100; i += 3)
        slots_remove(&slots, ids[i]);
    while ((object = slots_next(&slots, &cursor)) != NULL) {
        size_t i = (size_t)(object - objects);
        ck_assert_uint_ne(i % 3, 0);
        slots_remove(&slots, ids[i]);
        seen++;
    }
    ck_assert_uint_eq(seen, 66);
    ck_assert_uint_eq(slots.count, 0);
}
END_TEST

START_TEST(removing_a_stale_id_aborts)
{
    uint64_t id = add(&objects[0]);

    slots_remove(&slots, id);
    slots_remove(&slots, id);
}
END_TEST

START_TEST(generation_zero_aborts)
{
    uint64_t id;

    ck_assert_int_eq(slots_add(&slots, &objects[0], 0, &id), 0);
}
END_TEST

START_TEST(a_generation_too_large_aborts)
{
    uint64_t id;

    ck_assert_int_eq(slots_add(&slots, &objects[0], GENERATION_LAST + 1, &id), 0);
}
END_TEST

/* Every id ever given out, with its object while it is live. */
static struct model {
    uint64_t ids[20000];
    void *objects[20000];
    size_t count, live;
} model;

static void assert_like_model(void)
{
    uint32_t cursor = 0;
    size_t walked = 0;

    for (size_t i = 0; i < model.count; i++) {
        void *object = slots_get(&slots, model.ids[i]);
        if (object != model.objects[i])
            ck_abort_msg("%#lx: %p, not %p", model.ids[i], object, model.objects[i]);
    }
    while (slots_next(&slots, &cursor))
        walked++;
    ck_assert_uint_eq(walked, model.live);
    ck_assert_uint_eq(slots.count, model.live);
}

START_TEST(random_operations_match_a_model)
{
    unsigned short seed[3] = {4, 5, 6};

    for (int step = 0; model.count < ARRAY_LEN(model.ids); step++) {
        size_t i = model.count ? (size_t)nrand48(seed) % model.count : 0;
        /* Waves: the table fills up and empties again. */
        bool grows = nrand48(seed) % 5 < (step / 2000 % 2 ? 1 : 4);
        if (grows) {
            void *object = &objects[(size_t)nrand48(seed) % ARRAY_LEN(objects)];
            model.ids[model.count] = add(object);
            model.objects[model.count++] = object;
            model.live++;
        } else if (model.count > 0 && model.objects[i]) {
            slots_remove(&slots, model.ids[i]);
            model.objects[i] = NULL;
            model.live--;
        }
        if (step % 128 == 0)
            assert_like_model();
    }
    assert_like_model();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("slots");
    TCase *tcase = tcase_create("slots");

    suite_add_tcase(suite, tcase);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, an_id_finds_its_object);
    tcase_add_test(tcase, a_stale_id_is_never_a_new_object);
    tcase_add_test(tcase, the_generation_outlives_the_object);
    tcase_add_test(tcase, any_number_may_be_asked_for);
    tcase_add_test(tcase, a_full_table_refuses_until_one_is_removed);
    tcase_add_test(tcase, the_walk_sees_each_live_object_once_and_may_remove);
    tcase_add_test_raise_signal(tcase, removing_a_stale_id_aborts, SIGABRT);
    tcase_add_test_raise_signal(tcase, generation_zero_aborts, SIGABRT);
    tcase_add_test_raise_signal(tcase, a_generation_too_large_aborts, SIGABRT);
    tcase_add_test(tcase, random_operations_match_a_model);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
