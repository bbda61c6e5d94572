/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A binary heap in an array.
 *
 * I1: no node comes before its parent, by (priority, sequence).
 * I2: nodes[i]->place == i + 1.
 */

#include "base/heap.h"

#include "base/alloc.h"

static bool comes_before(const struct heap_node *a, const struct heap_node *b) {
        return a->priority != b->priority ? a->priority < b->priority : a->sequence < b->sequence;
}

static void put(struct heap *h, size_t i, struct heap_node *n) {
        h->nodes[i] = n;
        n->place = i + 1; /* I2 */
}

/* @n wants place @i, which is free: towards the root with it, while its parent comes later. */
static void sift_up(struct heap *h, size_t i, struct heap_node *n) {
        for (; i > 0; i = (i - 1) / 2) {
                struct heap_node *parent = h->nodes[(i - 1) / 2];

                if (!comes_before(n, parent))
                        break;
                put(h, i, parent);
        }
        put(h, i, n);
}

/* @n wants place @i, which is free: away from the root with it, while a child comes earlier. */
static void sift_down(struct heap *h, size_t i, struct heap_node *n) {
        for (;;) {
                size_t child = 2 * i + 1;

                if (child >= h->n_nodes)
                        break;
                if (child + 1 < h->n_nodes && comes_before(h->nodes[child + 1], h->nodes[child]))
                        child++;
                if (!comes_before(h->nodes[child], n))
                        break;
                put(h, i, h->nodes[child]);
                i = child;
        }
        put(h, i, n);
}

void heap_init(struct heap *h) {
        assert(h);

        *h = (struct heap){ 0 };
}

void heap_done(struct heap *h) {
        assert(h);

        for (size_t i = 0; i < h->n_nodes; i++)
                h->nodes[i]->place = 0;
        mem_free(h->nodes);
        *h = (struct heap){ 0 };
}

int heap_push(struct heap *h, struct heap_node *n, uint64_t priority) {
        assert(h);
        assert(n);
        assert(!heap_node_is_linked(n));

        if (!grow(h->nodes, h->n_allocated, h->n_nodes + 1))
                return -ENOMEM;

        n->priority = priority;
        n->sequence = h->next_sequence++;
        sift_up(h, h->n_nodes++, n);
        return 0;
}

struct heap_node *heap_peek(const struct heap *h) {
        assert(h);

        return h->n_nodes > 0 ? h->nodes[0] : NULL;
}

struct heap_node *heap_pop(struct heap *h) {
        struct heap_node *n = heap_peek(h);

        if (n)
                heap_remove(h, n);
        return n;
}

void heap_remove(struct heap *h, struct heap_node *n) {
        struct heap_node *last;
        size_t i;

        assert(h);
        assert(n);

        if (!heap_node_is_linked(n))
                return;

        i = n->place - 1;
        assert(i < h->n_nodes && h->nodes[i] == n); /* I2 */

        n->place = 0;
        last = h->nodes[--h->n_nodes];
        if (last == n)
                return;

        /* The last one fills the gap; it may belong on either side of it. */
        if (i > 0 && comes_before(last, h->nodes[(i - 1) / 2]))
                sift_up(h, i, last);
        else
                sift_down(h, i, last);
}
