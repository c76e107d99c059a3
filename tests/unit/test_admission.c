/* tests/unit/test_admission.c - net/admission. */
#include "net/admission.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include <check.h>

#include "base/macros.h"

static struct admission admission;

static void limit(uint64_t max_connections, uint64_t per_ip, uint64_t accept_rate)
{
    struct admission_limits limits = {max_connections, per_ip, accept_rate};
    ck_assert_int_eq(admission_init(&admission, &limits, 42), 0);
}

static void teardown(void)
{
    admission_fini(&admission);
}

static struct endpoint peer_at(const char *host)
{
    struct endpoint peer = {.len = sizeof peer.at.in};
    peer.at.in.sin_family = AF_INET;
    if (inet_pton(AF_INET, host, &peer.at.in.sin_addr) == 1)
        return peer;
    peer = (struct endpoint){.len = sizeof peer.at.in6};
    peer.at.in6.sin6_family = AF_INET6;
    ck_assert_int_eq(inet_pton(AF_INET6, host, &peer.at.in6.sin6_addr), 1);
    return peer;
}

static enum counter enter(const char *host, uint64_t now_ms)
{
    struct endpoint peer = peer_at(host);
    return admission_enter(&admission, &peer, now_ms);
}

static void leave(const char *host)
{
    struct endpoint peer = peer_at(host);
    admission_leave(&admission, &peer);
}

START_TEST(so_many_connections_in_all)
{
    limit(2, 0, 0);
    ck_assert_int_eq(enter("192.0.2.1", 0), COUNTER_COUNT);
    ck_assert_int_eq(enter("127.0.0.1", 0), COUNTER_COUNT);
    ck_assert_int_eq(enter("192.0.2.1", 0), COUNTER_REFUSED_MAX_CONNECTIONS);
    ck_assert_int_eq(enter("127.0.0.1", 0), COUNTER_REFUSED_MAX_CONNECTIONS);
    ck_assert_uint_eq(admission.count, 2);
    leave("127.0.0.1");
    ck_assert_int_eq(enter("192.0.2.1", 0), COUNTER_COUNT);
}
END_TEST

START_TEST(so_many_from_one_address)
{
    limit(100, 2, 0);
    ck_assert_int_eq(enter("192.0.2.1", 0), COUNTER_COUNT);
    ck_assert_int_eq(enter("192.0.2.1", 0), COUNTER_COUNT);
    ck_assert_int_eq(enter("192.0.2.1", 0), COUNTER_REFUSED_PER_IP);
    ck_assert_int_eq(enter("192.0.2.2", 0), COUNTER_COUNT);
    ck_assert_int_eq(enter("2001:db8::1", 0), COUNTER_COUNT);
    ck_assert_uint_eq(admission.count, 4); /* the refused one is not counted */
    leave("192.0.2.1");
    ck_assert_int_eq(enter("192.0.2.1", 0), COUNTER_COUNT);
    ck_assert_int_eq(enter("192.0.2.1", 0), COUNTER_REFUSED_PER_IP);
}
END_TEST

START_TEST(a_mapped_address_is_the_same_address)
{
    limit(100, 1, 0);
    ck_assert_int_eq(enter("192.0.2.1", 0), COUNTER_COUNT);
    ck_assert_int_eq(enter("::ffff:192.0.2.1", 0), COUNTER_REFUSED_PER_IP);
    leave("::ffff:192.0.2.1");
    ck_assert_int_eq(enter("192.0.2.1", 0), COUNTER_COUNT);
}
END_TEST

START_TEST(loopback_and_unix_are_exempt)
{
    static const char *const hosts[] = {"127.0.0.1", "127.8.9.1", "::1",
                                        "::ffff:127.0.0.1"};
    struct endpoint local = {.len = sizeof(sa_family_t)};
    local.at.sa.sa_family = AF_UNIX;
    limit(100, 1, 1);
    for (size_t i = 0; i < 10 * ARRAY_LEN(hosts); i++)
        ck_assert_int_eq(enter(hosts[i % ARRAY_LEN(hosts)], 0), COUNTER_COUNT);
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(admission_enter(&admission, &local, 0), COUNTER_COUNT);
    ck_assert_uint_eq(admission.count, 50);
    for (int i = 0; i < 10; i++) {
        leave("127.0.0.1");
        admission_leave(&admission, &local);
    }
    ck_assert_uint_eq(admission.count, 30);
}
END_TEST

START_TEST(so_many_a_second)
{
    limit(1000, 0, 10);
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(enter("192.0.2.1", 5000), COUNTER_COUNT);
    ck_assert_int_eq(enter("192.0.2.2", 5000), COUNTER_REFUSED_RATE);
    ck_assert_int_eq(enter("192.0.2.2", 5099), COUNTER_REFUSED_RATE);
    ck_assert_int_eq(enter("192.0.2.2", 5101), COUNTER_COUNT);
    ck_assert_int_eq(enter("192.0.2.2", 5101), COUNTER_REFUSED_RATE);
    leave("192.0.2.1"); /* frees a place, no token */
    ck_assert_int_eq(enter("192.0.2.2", 5101), COUNTER_REFUSED_RATE);
}
END_TEST

START_TEST(a_quiet_time_saves_one_second_at_most)
{
    limit(1000, 0, 10);
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(enter("192.0.2.1", 1000), COUNTER_COUNT);
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(enter("192.0.2.1", 100000), COUNTER_COUNT);
    ck_assert_int_eq(enter("192.0.2.1", 100000), COUNTER_REFUSED_RATE);
}
END_TEST

START_TEST(a_clock_of_another_worker_may_be_behind)
{
    limit(1000, 0, 2);
    ck_assert_int_eq(enter("192.0.2.1", 5000), COUNTER_COUNT);
    ck_assert_int_eq(enter("192.0.2.1", 4990), COUNTER_COUNT);
    ck_assert_int_eq(enter("192.0.2.1", 4990), COUNTER_REFUSED_RATE);
    ck_assert_int_eq(enter("192.0.2.1", 5499), COUNTER_REFUSED_RATE);
    ck_assert_int_eq(enter("192.0.2.1", 5501), COUNTER_COUNT);
}
END_TEST

START_TEST(addresses_that_are_gone_are_forgotten)
{
    limit(1U << 20, 1, 0);
    char host[32];
    for (unsigned i = 0; i < 20000; i++) {
        snprintf(host, sizeof host, "10.%u.%u.%u", i / 65536, i / 256 % 256, i % 256);
        ck_assert_int_eq(enter(host, 0), COUNTER_COUNT);
        leave(host);
    }
    for (unsigned i = 0; i < 4096; i++)
        ck_assert(list_is_empty(&admission.buckets[i]));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("admission");
    TCase *tcase = tcase_create("admission");

    suite_add_tcase(suite, tcase);
    tcase_add_checked_fixture(tcase, NULL, teardown);
    tcase_add_test(tcase, so_many_connections_in_all);
    tcase_add_test(tcase, so_many_from_one_address);
    tcase_add_test(tcase, a_mapped_address_is_the_same_address);
    tcase_add_test(tcase, loopback_and_unix_are_exempt);
    tcase_add_test(tcase, so_many_a_second);
    tcase_add_test(tcase, a_quiet_time_saves_one_second_at_most);
    tcase_add_test(tcase, a_clock_of_another_worker_may_be_behind);
    tcase_add_test(tcase, addresses_that_are_gone_are_forgotten);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
