/* net/mailbox.h - a bounded queue of accepted connections on their way to another worker.
 *
 * What:   any worker posts, one takes. A full mailbox refuses, and the sender keeps what it has.
 * Owns:   the descriptors in it, until they are taken; mailbox_fini closes the rest.
 * Thread: mailbox_post from any, mailbox_take from the owner, who is woken by the poster. */
#ifndef NEAP_NET_MAILBOX_H
#define NEAP_NET_MAILBOX_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "net/addr.h"

#define MAILBOX_LEN 256

struct mail {
    int fd;
    const void *address; /* which of the server's it came to */
    struct endpoint peer;
};

struct mailbox {
    pthread_mutex_t lock;
    size_t first, count;
    struct mail ring[MAILBOX_LEN];
};

void mailbox_init(struct mailbox *mailbox);
void mailbox_fini(struct mailbox *mailbox);

/* False: full. */
bool mailbox_post(struct mailbox *mailbox, const struct mail *mail);

/* False: empty. */
bool mailbox_take(struct mailbox *mailbox, struct mail *mail);

#endif
