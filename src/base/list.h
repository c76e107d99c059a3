/* base/list.h - intrusive doubly linked list.
 *
 * A `struct list` is both a head and a node: an empty head and an unlinked node point at
 * themselves. Nothing is allocated and nothing can fail.
 *
 *     struct list conns; list_init(&conns);
 *     list_append(&conns, &conn->node);
 *     LIST_FOREACH(&conns, node) { struct conn *c = container_of(node, struct conn, node); }
 */
#ifndef NEAP_BASE_LIST_H
#define NEAP_BASE_LIST_H

#include <stdbool.h>

struct list {
    struct list *prev, *next;
};

/* Walks the nodes in order; the body may remove the node it stands on, no other. */
#define LIST_FOREACH(head, node)                                                           \
    for (struct list *node = (head)->next, *node##_next = node->next; node != (head);      \
         node = node##_next, node##_next = node->next)

static inline void list_init(struct list *node)
{
    node->prev = node->next = node;
}

static inline bool list_is_empty(const struct list *node)
{
    return node->next == node;
}

/* Links `node`, which must be unlinked, as the last of `head`. */
static inline void list_append(struct list *head, struct list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

/* Unlinks; on an unlinked node it does nothing. */
static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* The first node, or NULL. */
static inline struct list *list_first(const struct list *head)
{
    return head->next == head ? (struct list *)0 : head->next;
}

/* Moves every node of `from` to the empty head `to`; `from` is empty afterwards. */
static inline void list_take(struct list *to, struct list *from)
{
    if (list_is_empty(from)) {
        list_init(to);
        return;
    }
    *to = *from;
    to->next->prev = to;
    to->prev->next = to;
    list_init(from);
}

#endif
