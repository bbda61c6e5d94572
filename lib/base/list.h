/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * An intrusive, circular, doubly linked list. A head and an unlinked node point to themselves.
 * Nothing is allocated; the list borrows its nodes.
 *
 *     struct waiter { struct list in_queue; … };
 *     LIST_FOREACH(&queue, w, struct waiter, in_queue)
 *             …
 */

#include "base/macro.h"

struct list {
        struct list *prev;
        struct list *next;
};

static inline void list_init(struct list *l) {
        l->prev = l->next = l;
}

static inline bool list_is_empty(const struct list *l) {
        return l->next == l;
}

static inline void list_append(struct list *head, struct list *node) {
        node->prev = head->prev;
        node->next = head;
        head->prev->next = node;
        head->prev = node;
}

static inline void list_prepend(struct list *head, struct list *node) {
        list_append(head->next, node);
}

/* Safe on a node that is not in a list, as long as it was initialised. */
static inline void list_remove(struct list *node) {
        node->prev->next = node->next;
        node->next->prev = node->prev;
        list_init(node);
}

#define list_entry(node, type, member) CONTAINER_OF(node, type, member)
/* The first (last) element; NULL where the list is empty. @head is evaluated more than once. */
#define list_first(head, type, member)                                                             \
        (list_is_empty(head) ? NULL : list_entry((head)->next, type, member))
#define list_last(head, type, member)                                                              \
        (list_is_empty(head) ? NULL : list_entry((head)->prev, type, member))
/* Takes the first element out of the list and returns it; NULL where it is empty. */
#define list_pop(head, type, member)                                                               \
        ({                                                                                         \
                type *_popped = list_first(head, type, member);                                    \
                if (_popped)                                                                       \
                        list_remove(&_popped->member);                                             \
                _popped;                                                                           \
        })

/* The node inside an element. Not &i->member: at the end of a walk there is no element around the
 * head. */
#define _list_node(i, type, member)                                                                \
        ((struct list *) (void *) ((char *) (i) + offsetof(type, member)))

/* The body may remove (and free) the element at hand, nothing else. */
#define LIST_FOREACH(head, i, type, member)                                                        \
        for (type *i = list_entry((head)->next, type, member),                                     \
                  *_next_##i = list_entry(_list_node(i, type, member)->next, type, member);        \
             _list_node(i, type, member) != (head);                                                \
             i = _next_##i,                                                                        \
                  _next_##i = list_entry(_list_node(i, type, member)->next, type, member))
