/* tests/unit/test_mailbox.c - net/mailbox: bounded, in order, between threads. */
#include "net/mailbox.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include <check.h>

static struct mailbox mailbox;

static void setup(void)
{
    mailbox_init(&mailbox);
}

static void teardown(void)
{
    mailbox_fini(&mailbox);
}

static char places[20000]; /* addresses of addresses */

static bool post(int fd, size_t listener)
{
    struct mail mail = {.fd = fd, .address = &places[listener]};
    return mailbox_post(&mailbox, &mail);
}

START_TEST(mail_comes_in_order)
{
    struct mail mail;
    ck_assert(!mailbox_take(&mailbox, &mail));
    for (size_t round = 0; round < 1000; round++) {
        ck_assert(post(-1, round));
        ck_assert(post(-1, round + 1000));
        ck_assert(mailbox_take(&mailbox, &mail));
        ck_assert_uint_eq((size_t)((const char *)mail.address - places), round);
        ck_assert(mailbox_take(&mailbox, &mail));
        ck_assert_uint_eq((size_t)((const char *)mail.address - places), round + 1000);
        ck_assert(!mailbox_take(&mailbox, &mail));
    }
}
END_TEST

START_TEST(a_full_mailbox_refuses)
{
    struct mail mail;
    for (size_t i = 0; i < MAILBOX_LEN; i++)
        ck_assert(post(-1, i));
    ck_assert(!post(-1, 999));
    ck_assert(mailbox_take(&mailbox, &mail));
    ck_assert_uint_eq((size_t)((const char *)mail.address - places), 0);
    ck_assert(post(-1, 1000));
    ck_assert(!post(-1, 1001));
    for (size_t i = 1; i < MAILBOX_LEN; i++) {
        ck_assert(mailbox_take(&mailbox, &mail));
        ck_assert_uint_eq((size_t)((const char *)mail.address - places), i);
    }
    ck_assert(mailbox_take(&mailbox, &mail));
    ck_assert_uint_eq((size_t)((const char *)mail.address - places), 1000);
    ck_assert(!mailbox_take(&mailbox, &mail));
}
END_TEST

START_TEST(what_nobody_took_is_closed)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert(post(fd, 1));
    mailbox_fini(&mailbox);
    ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
    mailbox_init(&mailbox);
}
END_TEST

#define POSTERS 2
#define MAILS 20000

/* Posts 1 .. MAILS, each again until it fits. */
static void *post_all(void *argument)
{
    const size_t *poster = argument;
    for (int i = 1; i <= MAILS; i++)
        while (!post(i, *poster))
            sched_yield();
    return NULL;
}

START_TEST(nothing_is_lost_between_threads)
{
    pthread_t threads[POSTERS];
    size_t posters[POSTERS];
    int last[POSTERS] = {0};
    for (size_t i = 0; i < POSTERS; i++) {
        posters[i] = i;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, post_all, &posters[i]), 0);
    }
    for (int count = 0; count < POSTERS * MAILS;) {
        struct mail mail;
        if (!mailbox_take(&mailbox, &mail)) {
            sched_yield();
            continue;
        }
        count++;
        if ((size_t)((const char *)mail.address - places) >= POSTERS ||
            mail.fd != last[(size_t)((const char *)mail.address - places)] + 1)
            ck_abort_msg("%d from %zu", mail.fd,
                         (size_t)((const char *)mail.address - places));
        last[(size_t)((const char *)mail.address - places)] = mail.fd;
    }
    for (size_t i = 0; i < POSTERS; i++)
        pthread_join(threads[i], NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("mailbox");
    TCase *tcase = tcase_create("mailbox");

    suite_add_tcase(suite, tcase);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, mail_comes_in_order);
    tcase_add_test(tcase, a_full_mailbox_refuses);
    tcase_add_test(tcase, what_nobody_took_is_closed);
    tcase_add_test(tcase, nothing_is_lost_between_threads);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
