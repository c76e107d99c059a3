/* script/children.c - the lists of what ends with an owner. */
#include "script/children.h"

#include <errno.h>
#include <stdlib.h>

#include "base/macros.h"
#include "net/conn.h"
#include "net/reactor.h"
#include "script/lib_task.h"

void children_init(struct children *children)
{
    list_init(&children->tasks);
    list_init(&children->conns);
    list_init(&children->sibling);
    children->conn = NULL;
}

struct children *children_of(struct conn *conn)
{
    struct children *children = conn->children;
    if (children)
        return children;
    children = malloc(sizeof *children);
    if (!children)
        return NULL;
    children_init(children);
    children->conn = conn;
    conn->children = children;
    return children;
}

int children_add_conn(struct children *owner, struct conn *conn)
{
    struct children *children = children_of(conn);
    if (!children)
        return -ENOMEM;
    list_append(&owner->conns, &children->sibling);
    return 0;
}

void children_close_conns(struct children *children)
{
    struct list *first;
    while ((first = list_first(&children->conns))) {
        struct conn *conn = container_of(first, struct children, sibling)->conn;
        list_remove(first);
        conn_close(conn, conn->reactor->stopping ? REASON_SHUTDOWN : REASON_CLOSED, NULL);
    }
}

void children_forget(struct conn *conn)
{
    struct children *children = conn->children;
    if (!children)
        return;
    lib_task_end_all(&children->tasks);
    children_close_conns(children);
    list_remove(&children->sibling);
    conn->children = NULL;
    free(children);
}
