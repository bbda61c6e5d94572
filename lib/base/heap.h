/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A binary heap of deadlines. Equal deadlines come out in the order in which they went in, so that
 * a run does not depend on the heap's inner order. The heap borrows its nodes, which callers embed;
 * a node that is zeroed is in no heap.
 */

#include "base/macro.h"

struct heap_node {
        uint64_t priority; /* smallest first */
        uint64_t sequence; /* given by heap_push() */
        size_t place;      /* 1..n; 0: not in a heap */
};

struct heap {
        struct heap_node **nodes;
        size_t n_nodes;
        size_t n_allocated;
        uint64_t next_sequence;
};

void heap_init(struct heap *h);
/* Forgets the nodes, which are in no heap then. */
void heap_done(struct heap *h);
/* @n is in no heap. Return: 0; -ENOMEM, nothing changed. */
int heap_push(struct heap *h, struct heap_node *n, uint64_t priority);
/* The first node, which stays; NULL when empty. */
struct heap_node *heap_peek(const struct heap *h);
/* The first node, which is in no heap from then on; NULL when empty. */
struct heap_node *heap_pop(struct heap *h);
/* Nothing happens where @n is in no heap; it must not be in another one. Cannot fail. */
void heap_remove(struct heap *h, struct heap_node *n);

static inline bool heap_node_is_linked(const struct heap_node *n) {
        return n->place > 0;
}
