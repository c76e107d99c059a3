/* tests/unit/test_list.c - base/list. */
#include "base/list.h"

#include <stdlib.h>

#include <check.h>

#include "base/macros.h"

struct item {
    int number;
    struct list node;
};

static void fill(struct list *head, struct item *items, int count)
{
    list_init(head);
    for (int i = 0; i < count; i++) {
        items[i].number = i;
        list_append(head, &items[i].node);
    }
}

/* The numbers in order, as digits; checks the links back on the way. */
static int digits(const struct list *head)
{
    int value = 0;

    LIST_FOREACH (head, node) {
        ck_assert_ptr_eq(node->prev->next, node);
        ck_assert_ptr_eq(node->next->prev, node);
        value = value * 10 + container_of(node, struct item, node)->number;
    }
    return value;
}

START_TEST(an_empty_head_has_no_first)
{
    struct list head;

    list_init(&head);
    ck_assert_int_eq(list_is_empty(&head), true);
    ck_assert_ptr_null(list_first(&head));
    LIST_FOREACH (&head, node) {
        ck_abort_msg("node %p in an empty list", (void *)node);
    }
}
END_TEST

START_TEST(nodes_are_walked_in_the_order_of_appending)
{
    struct item items[4];
    struct list head;

    fill(&head, items, 4);
    ck_assert_int_eq(digits(&head), 123);
    ck_assert_ptr_eq(list_first(&head), &items[0].node);
    ck_assert_int_eq(list_is_empty(&head), false);
}
END_TEST

START_TEST(a_removed_node_is_unlinked_and_can_be_removed_again)
{
    struct item items[4];
    struct list head;

    fill(&head, items, 4);
    list_remove(&items[2].node);
    list_remove(&items[2].node);
    ck_assert_int_eq(list_is_empty(&items[2].node), true);
    ck_assert_int_eq(digits(&head), 13);
    list_append(&head, &items[2].node);
    ck_assert_int_eq(digits(&head), 132);
}
END_TEST

START_TEST(the_walk_may_remove_the_node_it_stands_on)
{
    struct item items[6];
    struct list head;
    int seen = 0;

    fill(&head, items, 6);
    LIST_FOREACH (&head, node) {
        if (container_of(node, struct item, node)->number % 2 == 0)
            list_remove(node);
        seen++;
    }
    ck_assert_int_eq(seen, 6);
    ck_assert_int_eq(digits(&head), 135);
}
END_TEST

START_TEST(taking_moves_every_node_and_leaves_an_empty_list)
{
    struct item items[4];
    struct list from, to;

    fill(&from, items, 4);
    list_take(&to, &from);
    ck_assert_int_eq(digits(&to), 123);
    ck_assert_int_eq(list_is_empty(&from), true);
    list_remove(&items[0].node);
    list_remove(&items[3].node);
    ck_assert_int_eq(digits(&to), 12);
}
END_TEST

START_TEST(taking_from_an_empty_list_gives_an_empty_list)
{
    struct list from, to;

    list_init(&from);
    list_take(&to, &from);
    ck_assert_int_eq(list_is_empty(&to), true);
    ck_assert_int_eq(list_is_empty(&from), true);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("list");
    TCase *tcase = tcase_create("list");

    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, an_empty_head_has_no_first);
    tcase_add_test(tcase, nodes_are_walked_in_the_order_of_appending);
    tcase_add_test(tcase, a_removed_node_is_unlinked_and_can_be_removed_again);
    tcase_add_test(tcase, the_walk_may_remove_the_node_it_stands_on);
    tcase_add_test(tcase, taking_moves_every_node_and_leaves_an_empty_list);
    tcase_add_test(tcase, taking_from_an_empty_list_gives_an_empty_list);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
