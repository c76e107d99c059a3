/* server/notice.h - log lines of limits: at once, then once in a while with how often.
 *
 * Thread: the worker's. */
#ifndef NEAP_SERVER_NOTICE_H
#define NEAP_SERVER_NOTICE_H

#include "net/counters.h"

struct conn;
struct own;
struct reactor;

/* As reactor_ops has it. */
void notice_on_count(struct reactor *reactor, enum counter counter, const struct conn *conn,
                     const char *detail);

/* Tells what was only counted yet. */
void notice_stop(struct own *own);

#endif
