/* tests/unit/test_watch_way.c - server/watch: links and folders on the way to a file. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <check.h>

#include "watch_fixture.h"

/* ---- Links ---- */

START_TEST(a_link_and_its_target_are_both_watched)
{
    folder_make("one");
    folder_make("two");
    file_write("one/a.lua", "1");
    file_write("two/a.lua", "2");
    file_link("one/a.lua", "a.lua");
    watch_paths("a.lua", NULL);
    watch_check_seen("one/a.lua");
    watch_check_unseen("two/a.lua", "one/a.lua");
    file_relink("two/a.lua", "a.lua");
    watch_await(3);
    watch_check_seen("two/a.lua");
    watch_check_unseen("one/a.lua", "two/a.lua");
}
END_TEST

START_TEST(every_link_of_a_chain_is_watched)
{
    char target[96];
    folder_make("one");
    folder_make("two");
    folder_make("three");
    file_write("three/c.lua", "1");
    file_link("../three/c.lua", "two/b.lua");
    snprintf(target, sizeof target, "%s/two/b.lua", seen.folder);
    file_link(target, "one/a.lua");
    watch_paths("one/a.lua", NULL);
    watch_check_seen("three/c.lua");
    file_write("three/d.lua", "2");
    file_relink("../three/d.lua", "two/b.lua");
    watch_await(2);
    watch_check_unseen("three/c.lua", "three/d.lua");
    file_relink("../three/c.lua", "one/a.lua");
    watch_await(4);
    watch_check_unseen("three/d.lua", "three/c.lua");
}
END_TEST

/* As a volume of Kubernetes is renewed. */
START_TEST(a_link_to_a_folder_on_the_way_is_watched)
{
    folder_make("v1");
    folder_make("v2");
    file_write("v1/a.lua", "1");
    file_write("v2/a.lua", "2");
    file_link("v1", "..data");
    file_link("..data/a.lua", "a.lua");
    watch_paths("a.lua", NULL);
    watch_check_seen("v1/a.lua");
    file_relink("v2", "..data");
    file_remove("v1/a.lua");
    file_remove("v1");
    watch_await(2);
    watch_check_seen("v2/a.lua");
    folder_make("v1");
    watch_check_unseen("v1/a.lua", "v2/a.lua");
}
END_TEST

START_TEST(a_link_to_nowhere_is_told_when_it_leads_somewhere)
{
    file_link("later/a.lua", "a.lua");
    watch_paths("a.lua", NULL);
    folder_make("later");
    watch_await(1);
    watch_check_seen("later/a.lua");
    watch_check_seen("later/a.lua");
}
END_TEST

START_TEST(a_link_in_a_circle_is_told_when_it_is_straight)
{
    file_link("b.lua", "a.lua");
    file_link("a.lua", "b.lua");
    watch_paths("a.lua", NULL);
    file_write("c.lua", "1");
    file_relink("c.lua", "b.lua");
    watch_await(1);
    watch_check_seen("c.lua");
}
END_TEST

/* ---- Folders ---- */

START_TEST(a_folder_that_goes_and_comes_back_is_followed)
{
    folder_make("sub");
    file_write("sub/a.lua", "1");
    watch_paths("sub/a.lua", NULL);
    file_remove("sub/a.lua");
    file_remove("sub");
    watch_await(1);
    folder_make("sub");
    watch_await(2);
    watch_check_seen("sub/a.lua");
    watch_check_seen("sub/a.lua");
    watch_check_unseen("sub/b.lua", "sub/a.lua");
}
END_TEST

START_TEST(so_is_one_that_somebody_holds_open)
{
    folder_make("sub");
    file_write("sub/a.lua", "1");
    watch_paths("sub/a.lua", NULL);
    int holding = open("sub", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(holding, 0);
    file_remove("sub/a.lua");
    watch_await(1);
    file_remove("sub");
    watch_await(2);
    folder_make("sub");
    watch_await(3);
    watch_check_seen("sub/a.lua");
    watch_check_seen("sub/a.lua");
    close(holding);
}
END_TEST

START_TEST(a_folder_that_is_swapped_for_another_is_told)
{
    folder_make("sub");
    folder_make("other");
    file_write("sub/a.lua", "1");
    file_write("other/a.lua", "2");
    watch_paths("sub/a.lua", NULL);
    file_move("sub", "old");
    file_move("other", "sub");
    watch_await(1);
    watch_check_unseen("old/a.lua", "sub/a.lua");
}
END_TEST

START_TEST(so_is_one_further_up)
{
    folder_make("up");
    folder_make("up/sub");
    file_write("up/sub/a.lua", "1");
    watch_paths("up/sub/a.lua", NULL);
    file_move("up", "old");
    watch_await(1);
    folder_make("up");
    watch_await(2);
    folder_make("up/sub");
    watch_await(3);
    watch_check_seen("up/sub/a.lua");
    watch_check_unseen("old/sub/a.lua", "up/sub/a.lua");
}
END_TEST

START_TEST(folders_that_were_never_there_are_followed_as_they_come)
{
    watch_paths("up/sub/a.lua", NULL);
    folder_make("up");
    folder_make("up/sub");
    watch_await(1);
    watch_check_seen("up/sub/a.lua");
    watch_check_seen("up/sub/a.lua");
}
END_TEST

START_TEST(a_file_in_place_of_a_folder_is_not_there)
{
    file_write("sub", "1");
    watch_paths("sub/a.lua", NULL);
    file_remove("sub");
    folder_make("sub");
    watch_await(1);
    watch_check_seen("sub/a.lua");
}
END_TEST

static void add_all(TCase *tcase)
{
    tcase_add_test(tcase, a_link_and_its_target_are_both_watched);
    tcase_add_test(tcase, every_link_of_a_chain_is_watched);
    tcase_add_test(tcase, a_link_to_a_folder_on_the_way_is_watched);
    tcase_add_test(tcase, a_link_to_nowhere_is_told_when_it_leads_somewhere);
    tcase_add_test(tcase, a_link_in_a_circle_is_told_when_it_is_straight);
    tcase_add_test(tcase, a_folder_that_goes_and_comes_back_is_followed);
    tcase_add_test(tcase, so_is_one_that_somebody_holds_open);
    tcase_add_test(tcase, a_folder_that_is_swapped_for_another_is_told);
    tcase_add_test(tcase, so_is_one_further_up);
    tcase_add_test(tcase, folders_that_were_never_there_are_followed_as_they_come);
    tcase_add_test(tcase, a_file_in_place_of_a_folder_is_not_there);
}

int main(void)
{
    Suite *suite = suite_create("watch_way");
    TCase *tcase = tcase_create("watch_way");

    suite_add_tcase(suite, tcase);
    tcase_add_checked_fixture(tcase, watch_setup, watch_teardown);
    add_all(tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
