/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* An intrusive, circular, doubly linked list. A head and an unlinked node point to themselves. */

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
#define list_first(head, type, member)                                                             \
        (list_is_empty(head) ? NULL : list_entry((head)->next, type, member))
#define list_last(head, type, member)                                                              \
        (list_is_empty(head) ? NULL : list_entry((head)->prev, type, member))
#define list_pop(head, type, member)                                                               \
        ({                                                                                         \
                type *_popped = list_first(head, type, member);                                    \
                if (_popped)                                                                       \
                        list_remove(&_popped->member);                                             \
                _popped;                                                                           \
        })

/* The body may remove the element at hand, nothing else. */
#define LIST_FOREACH(head, i, type, member)                                                        \
        for (type *i = list_entry((head)->next, type, member),                                     \
                  *_next_##i = list_entry(i->member.next, type, member);                           \
             &i->member != (head);                                                                 \
             i = _next_##i, _next_##i = list_entry(i->member.next, type, member))
