/* An intrusive, circular, doubly linked list: a head and its members are the same struct. A node is
 * on at most one list. Not thread-safe. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/check.h"

#define CONTAINER_OF(ptr, type, field) ((type *)(void *)((char *)(ptr)-offsetof(type, field)))

struct list {
    struct list *next, *prev;
};

/* NOLINTBEGIN(bugprone-macro-parentheses): `node` is a name to declare */
#define LIST_FOR_EACH(node, head) \
    for (struct list *node = (head)->next; node != (head); node = node->next)

/* The body may remove `node`. */
#define LIST_FOR_EACH_SAFE(node, head)                                                \
    for (struct list *node = (head)->next, *node##_next = node->next; node != (head); \
         node = node##_next, node##_next = node->next)
/* NOLINTEND(bugprone-macro-parentheses) */

static inline void list_init(struct list *list)
{
    list->next = list->prev = list;
}

static inline bool list_empty(const struct list *list)
{
    return list->next == list;
}

/* At the tail. */
static inline void list_push(struct list *head, struct list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

/* The node is left as an empty list, so removing it again is harmless. */
static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* From the front; the list must not be empty. */
static inline struct list *list_pop(struct list *head)
{
    struct list *node = head->next;
    CHECK(node != head);
    list_remove(node);
    return node;
}

/* Moves all members of `from` to the (empty) list `to`. */
static inline void list_move(struct list *to, struct list *from)
{
    list_init(to);
    if (!list_empty(from)) {
        *to = *from;
        to->next->prev = to;
        to->prev->next = to;
        list_init(from);
    }
}
