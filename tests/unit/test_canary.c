/* tests/unit/test_canary.c - server/canary: who is given to a candidate, and the verdict. */
#include "server/canary.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "net/addr.h"

static struct endpoint peer_at(const char *host)
{
    struct endpoint at = {.len = sizeof at.at.in};
    if (inet_pton(AF_INET, host, &at.at.in.sin_addr) == 1) {
        at.at.in.sin_family = AF_INET;
        return at;
    }
    at.at.in6 = (struct sockaddr_in6){.sin6_family = AF_INET6};
    ck_assert_int_eq(inet_pton(AF_INET6, host, &at.at.in6.sin6_addr), 1);
    return at;
}

static unsigned taken(const char *share, unsigned of)
{
    struct canary_terms terms = {0};
    struct endpoint peer = peer_at("10.0.0.1");
    uint32_t debt = 0;
    unsigned count = 0;
    ck_assert_int_eq(canary_read_share(&terms, share), 0);
    for (unsigned i = 0; i < of; i++)
        count += canary_takes(&terms, &debt, &peer);
    return count;
}

START_TEST(a_share_is_kept_exactly)
{
    ck_assert_uint_eq(taken("10%", 100), 10);
    ck_assert_uint_eq(taken("10%", 9), 0);
    ck_assert_uint_eq(taken("0.5%", 1000), 5);
    ck_assert_uint_eq(taken("33.33%", 10000), 3333);
    ck_assert_uint_eq(taken("100%", 7), 7);
    ck_assert_uint_eq(taken("0.01%", 10000), 1);
}
END_TEST

START_TEST(what_is_no_share_is_refused)
{
    static const char *const texts[] = {"",     "10",  "10%%", "%",  "0%",  "0.001%",
                                        "101%", "-1%", "nan%", "x%", "10 %"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct canary_terms terms = {0};
        ck_assert_msg(canary_read_share(&terms, texts[i]) == -EINVAL, "'%s' is taken",
                      texts[i]);
    }
}
END_TEST

static bool is_within(const char *network, const char *host)
{
    struct canary_terms terms = {0};
    struct endpoint peer = peer_at(host);
    uint32_t debt = 0;
    ck_assert_int_eq(canary_read_peer(&terms, network), 0);
    return canary_takes(&terms, &debt, &peer);
}

START_TEST(a_network_holds_its_peers_and_no_others)
{
    ck_assert(is_within("10.0.0.0/8", "10.255.1.2"));
    ck_assert(!is_within("10.0.0.0/8", "11.0.0.1"));
    ck_assert(is_within("10.0.0.0/8", "::ffff:10.1.2.3"));
    ck_assert(is_within("192.168.1.128/25", "192.168.1.200"));
    ck_assert(!is_within("192.168.1.128/25", "192.168.1.100"));
    ck_assert(is_within("192.0.2.7", "192.0.2.7"));
    ck_assert(!is_within("192.0.2.7", "192.0.2.6"));
    ck_assert(is_within("0.0.0.0/0", "8.8.8.8"));
    ck_assert(!is_within("0.0.0.0/0", "2001:db8::1"));
    ck_assert(is_within("fd00::/8", "fd12::1"));
    ck_assert(!is_within("fd00::/8", "fe80::1"));
    ck_assert(is_within("::/0", "1.2.3.4"));
    ck_assert(is_within("2001:db8::1/128", "2001:db8::1"));
}
END_TEST

START_TEST(a_unix_peer_is_in_no_network)
{
    struct canary_terms terms = {0};
    struct endpoint peer = {.at.sa.sa_family = AF_UNIX, .len = 2};
    uint32_t debt = 0;
    ck_assert_int_eq(canary_read_peer(&terms, "::/0"), 0);
    ck_assert(!canary_takes(&terms, &debt, &peer));
}
END_TEST

START_TEST(what_is_no_network_is_refused)
{
    static const char *const texts[] = {"",          "10",         "10.0.0.0/33", "::/129",
                                        "10.0.0.0/", "10.0.0.0/x", "host/8",      "/8",
                                        "10.0.0/8",  "10.0.0.0/-1"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct canary_terms terms = {0};
        ck_assert_msg(canary_read_peer(&terms, texts[i]) == -EINVAL, "'%s' is taken",
                      texts[i]);
    }
}
END_TEST

static enum canary_verdict judged(uint64_t hooks, uint64_t errors, uint64_t old_hooks,
                                  uint64_t old_errors)
{
    return canary_judge(&(struct canary_counts){.hooks = hooks,
                                                .errors = errors,
                                                .old_hooks = old_hooks,
                                                .old_errors = old_errors});
}

START_TEST(the_verdict_waits_for_enough_hooks_and_compares)
{
    ck_assert_int_eq(judged(999, 0, 5000, 0), CANARY_OPEN);
    ck_assert_int_eq(judged(1000, 0, 5000, 0), CANARY_GOOD);
    ck_assert_int_eq(judged(1000, 10, 5000, 0), CANARY_GOOD);
    ck_assert_int_eq(judged(1000, 11, 5000, 0), CANARY_BAD);
    ck_assert_int_eq(judged(1000, 60, 1000, 50), CANARY_GOOD);
    ck_assert_int_eq(judged(1000, 61, 1000, 50), CANARY_BAD);
    ck_assert_int_eq(judged(100000, 1000, 0, 0), CANARY_GOOD);
    ck_assert_int_eq(judged(100000, 1001, 0, 0), CANARY_BAD);
    /* As soon as nothing can change it. */
    ck_assert_int_eq(judged(11, 11, 5000, 0), CANARY_BAD);
    ck_assert_int_eq(judged(10, 10, 5000, 0), CANARY_OPEN);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("canary");
    TCase *tcase = tcase_create("canary");

    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, a_share_is_kept_exactly);
    tcase_add_test(tcase, what_is_no_share_is_refused);
    tcase_add_test(tcase, a_network_holds_its_peers_and_no_others);
    tcase_add_test(tcase, a_unix_peer_is_in_no_network);
    tcase_add_test(tcase, what_is_no_network_is_refused);
    tcase_add_test(tcase, the_verdict_waits_for_enough_hooks_and_compares);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
