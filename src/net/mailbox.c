/* net/mailbox.c - a ring under a lock that is held for one copy. */
#include "net/mailbox.h"

#include <unistd.h>

void mailbox_init(struct mailbox *mailbox)
{
    pthread_mutex_init(&mailbox->lock, NULL);
    mailbox->first = mailbox->count = 0;
}

void mailbox_fini(struct mailbox *mailbox)
{
    struct mail mail;
    while (mailbox_take(mailbox, &mail))
        close(mail.fd);
    pthread_mutex_destroy(&mailbox->lock);
}

bool mailbox_post(struct mailbox *mailbox, const struct mail *mail)
{
    pthread_mutex_lock(&mailbox->lock);
    bool fits = mailbox->count < MAILBOX_LEN;
    if (fits)
        mailbox->ring[(mailbox->first + mailbox->count++) % MAILBOX_LEN] = *mail;
    pthread_mutex_unlock(&mailbox->lock);
    return fits;
}

bool mailbox_take(struct mailbox *mailbox, struct mail *mail)
{
    pthread_mutex_lock(&mailbox->lock);
    bool any = mailbox->count > 0;
    if (any) {
        *mail = mailbox->ring[mailbox->first];
        mailbox->first = (mailbox->first + 1) % MAILBOX_LEN;
        mailbox->count--;
    }
    pthread_mutex_unlock(&mailbox->lock);
    return any;
}
