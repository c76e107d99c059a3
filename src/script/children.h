/* script/children.h - what ends with a connection or with a version.
 *
 *     connection, version ──┬─> tasks that it has spawned
 *                           └─> connections that it has opened, which have children of their own
 *
 * What:   the lists by which an owner finds what is to end with it.
 * Owns:   a connection's lists, from its first child on until it is gone. A version has its own.
 * Thread: the vm's.
 * Errors: children_of answers NULL when memory is out. */
#ifndef NEAP_SCRIPT_CHILDREN_H
#define NEAP_SCRIPT_CHILDREN_H

#include <stdbool.h>

#include "base/list.h"

struct conn;

struct children {
    struct list tasks;   /* struct task that are not over */
    struct list conns;   /* by `sibling`: struct children of connections */
    struct list sibling; /* in the owner's conns; a version has none */
    struct conn *conn;   /* whose these are; NULL: a version's */
};

void children_init(struct children *children);

/* A connection's, made when it has none. */
struct children *children_of(struct conn *conn);

/* The connection ends with that owner from now on. 0 or -ENOMEM. */
int children_add_conn(struct children *owner, struct conn *conn);

/* Closes the connections. Calls no hook. */
void children_close_conns(struct children *children);

/* The connection is gone: so are its tasks, and what it has opened closes. */
void children_forget(struct conn *conn);

#endif
