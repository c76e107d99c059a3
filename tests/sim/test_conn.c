/* tests/sim/test_conn.c - connections, framings and hooks through a thousand unlucky days.
 *
 *     NEAP_SIM_SEED=N    one seed, with every line of its trace
 *     NEAP_SIM_SEEDS=N   how many seeds, from 1 on; 0: only the tests of the simulation itself
 *
 * A test runs SHARD seeds in a process of its own. That the checks can fail is a test too: with
 * a network, or a server, that goes wrong once, most seeds must. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim.h"

#define SEEDS 1000
#define SHARD 50
#define TIMEOUT_S 120 /* a shard, on a slow machine with sanitizers */

#define WRONG_SEEDS 16
#define EXIT_UNNOTICED 96 /* something went wrong, and the seed went well */

static unsigned seed_count = SEEDS;

START_TEST(promises_hold_whatever_the_network_and_the_script_do)
{
    for (unsigned i = 0; i < SHARD; i++) {
        bool happened;
        unsigned seed = 1 + (unsigned)_i * SHARD + i;
        if (seed <= seed_count)
            sim_run(&(struct sim_plan){.seed = seed}, &happened);
    }
}
END_TEST

START_TEST(a_seed_is_the_same_every_time)
{
    for (unsigned seed = 1; seed <= 10; seed++) {
        bool happened;
        uint64_t first = sim_run(&(struct sim_plan){.seed = seed}, &happened);
        uint64_t second = sim_run(&(struct sim_plan){.seed = seed}, &happened);
        ck_assert_msg(first == second, "seed %u: %016llx, then %016llx", seed,
                      (unsigned long long)first, (unsigned long long)second);
    }
}
END_TEST

/* In a process of its own: a failure ends it, and says why to nobody. */
static int run_aside(const struct sim_plan *plan)
{
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        bool happened;
        dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
        sim_run(plan, &happened);
        _exit(happened ? EXIT_UNNOTICED : EXIT_SUCCESS);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Something may go wrong where it does no harm: at a connection that is reset right after. */
static void check_noticed(struct sim_plan plan, int what)
{
    int noticed = 0, unnoticed = 0;
    for (plan.seed = 1; plan.seed <= WRONG_SEEDS; plan.seed++) {
        int status = run_aside(&plan);
        ck_assert_msg(
            status == EXIT_SUCCESS || status == EXIT_UNNOTICED || status == SIM_EXIT_FAILED,
            "fault %d, seed %llu: status %d", what, (unsigned long long)plan.seed, status);
        noticed += status == SIM_EXIT_FAILED;
        unnoticed += status == EXIT_UNNOTICED;
    }
    /* Of a socket that is never writable the server frees itself: send_timeout, linger. */
    bool curable = plan.mutation == SIM_NEVER_WRITABLE;
    ck_assert_msg(noticed >= WRONG_SEEDS / 8 && (curable || noticed > 2 * unnoticed),
                  "fault %d: noticed in %d seeds, not in %d", what, noticed, unnoticed);
}

START_TEST(a_wrong_network_is_noticed)
{
    check_noticed((struct sim_plan){.mutation = (enum sim_mutation)_i}, _i);
}
END_TEST

START_TEST(a_wrong_server_is_noticed)
{
    check_noticed((struct sim_plan){.sabotage = (enum sim_sabotage)_i}, _i);
}
END_TEST

static int run_one(const char *text)
{
    bool happened;
    struct sim_plan plan = {.seed = strtoull(text, NULL, 10), .loud = true};
    uint64_t hash = sim_run(&plan, &happened);
    printf("seed %llu: all well, trace %016llx\n", (unsigned long long)plan.seed,
           (unsigned long long)hash);
    return EXIT_SUCCESS;
}

int main(void)
{
    const char *one = getenv("NEAP_SIM_SEED"), *count = getenv("NEAP_SIM_SEEDS");
    if (one)
        return run_one(one);
    if (count)
        seed_count = (unsigned)strtoul(count, NULL, 10);

    Suite *suite = suite_create("sim");
    TCase *tcase = tcase_create("conn");
    tcase_set_timeout(tcase, TIMEOUT_S);
    tcase_add_loop_test(tcase, a_wrong_network_is_noticed, SIM_FAITHFUL + 1,
                        SIM_MUTATION_COUNT);
    tcase_add_loop_test(tcase, a_wrong_server_is_noticed, SABOTAGE_NONE + 1,
                        SABOTAGE_COUNT);
    tcase_add_test(tcase, a_seed_is_the_same_every_time);
    tcase_add_loop_test(tcase, promises_hold_whatever_the_network_and_the_script_do, 0,
                        (int)((seed_count + SHARD - 1) / SHARD));
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
