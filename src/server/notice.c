/* server/notice.c - a timer for each counter that has told something. */
#include "server/notice.h"

#include <string.h>

#include "net/reactor.h"
#include "script/record.h"
#include "server/own.h"

/* A limit that is hit is told at once, then once in so long. */
#define NOTICE_MS 10000U

static void tell_notice(struct own *own, enum counter counter, const struct conn *conn,
                        const char *detail)
{
    struct log_field fields[2];
    size_t count = 0;
    uint64_t again = own->notices[counter].again;
    if (detail)
        fields[count++] = record_string("detail", detail);
    if (again)
        fields[count++] = record_integer("count", (int64_t)again);
    const char *message = counter_rows[counter].notice;
    record_write(own->vm, &(struct record){.level = LOG_WARN,
                                           .message = message,
                                           .message_len = strlen(message),
                                           .conn = conn,
                                           .no_conn = !conn,
                                           .fields = fields,
                                           .field_count = count});
}

static void on_notice_due(struct wheel_timer *timer)
{
    struct notice *notice = container_of(timer, struct notice, timer);
    struct own *own = notice->own;
    if (notice->again == 0)
        return;
    tell_notice(own, (enum counter)(notice - own->notices), NULL, NULL);
    notice->again = 0;
    wheel_start(&own->reactor->wheel, timer, reactor_now_ms(own->reactor) + NOTICE_MS);
}

void notice_on_count(struct reactor *reactor, enum counter counter, const struct conn *conn,
                     const char *detail)
{
    struct own *own = own_of(reactor);
    struct notice *notice = &own->notices[counter];
    if (!notice->own) {
        notice->own = own;
        wheel_timer_init(&notice->timer, on_notice_due);
    }
    if (wheel_timer_is_started(&notice->timer)) {
        notice->again++;
        return;
    }
    tell_notice(own, counter, conn, detail);
    wheel_start(&reactor->wheel, &notice->timer, reactor_now_ms(reactor) + NOTICE_MS);
}

void notice_stop(struct own *own)
{
    for (size_t i = 0; i < COUNTER_COUNT; i++) {
        struct notice *notice = &own->notices[i];
        if (!notice->own)
            continue;
        wheel_stop(&own->reactor->wheel, &notice->timer);
        if (notice->again)
            tell_notice(own, (enum counter)i, NULL, NULL);
    }
}
