/* SPDX-License-Identifier: Apache-2.0 */

/* Tests base/heap.h: earliest first, equal ones in the order in which they went in. */

#include "base/heap.h"
#include "base/random.h"
#include "tests/lib/test.h"

TEST(earliest_comes_first) {
        static const uint64_t deadlines[] = { 50, 10, 30, UINT64_MAX, 20, 40, 0 };
        struct heap_node nodes[ELEMENTSOF(deadlines)] = { 0 };
        static const uint64_t expected[] = { 0, 10, 20, 30, 40, 50, UINT64_MAX };
        struct heap h;

        heap_init(&h);
        ASSERT_NULL(heap_peek(&h));
        ASSERT_NULL(heap_pop(&h));
        for (size_t i = 0; i < ELEMENTSOF(nodes); i++)
                ASSERT_OK(heap_push(&h, &nodes[i], deadlines[i]));
        for (size_t i = 0; i < ELEMENTSOF(nodes); i++) {
                struct heap_node *n = heap_peek(&h);

                ASSERT_EQ(n->priority, expected[i]);
                ASSERT_TRUE(heap_pop(&h) == n);
                ASSERT_FALSE(heap_node_is_linked(n));
        }
        ASSERT_NULL(heap_pop(&h));
        heap_done(&h);
}

TEST(equal_deadlines_keep_their_order) {
        struct heap_node nodes[100] = { 0 };
        struct heap h;

        heap_init(&h);
        for (size_t i = 0; i < ELEMENTSOF(nodes); i++)
                ASSERT_OK(heap_push(&h, &nodes[i], i % 3));
        for (size_t i = 0; i < ELEMENTSOF(nodes); i += 7) { /* whoever goes in again goes behind */
                heap_remove(&h, &nodes[i]);
                ASSERT_OK(heap_push(&h, &nodes[i], i % 3));
        }

        for (uint64_t before_priority = 0, before_sequence = 0, i = 0; i < ELEMENTSOF(nodes); i++) {
                struct heap_node *n = heap_pop(&h);

                ASSERT_GE(n->priority, before_priority);
                if (i > 0 && n->priority == before_priority)
                        ASSERT_GT(n->sequence, before_sequence);
                before_priority = n->priority;
                before_sequence = n->sequence;
        }
        heap_done(&h);
}

TEST(remove_takes_out_any_node) {
        enum { N = 200 };
        struct heap_node nodes[N] = { 0 };
        struct random random;
        struct heap h;
        size_t n_in = 0;

        random_init(&random, 5);
        heap_init(&h);
        for (unsigned step = 0; step < 20000; step++) {
                struct heap_node *n = &nodes[random_below(&random, N)], *first;

                if (heap_node_is_linked(n)) {
                        heap_remove(&h, n);
                        ASSERT_FALSE(heap_node_is_linked(n));
                        n_in--;
                } else {
                        ASSERT_OK(heap_push(&h, n, random_below(&random, 50)));
                        n_in++;
                }
                ASSERT_EQ(h.n_nodes, n_in);

                first = heap_peek(&h);
                for (size_t i = 0; i < N; i++)
                        if (heap_node_is_linked(&nodes[i]) && &nodes[i] != first)
                                ASSERT_TRUE(first->priority < nodes[i].priority ||
                                            (first->priority == nodes[i].priority &&
                                             first->sequence < nodes[i].sequence));
        }
        heap_remove(&h, &(struct heap_node){ 0 }); /* in no heap */
        ASSERT_EQ(h.n_nodes, n_in);
        heap_done(&h);
        for (size_t i = 0; i < N; i++)
                ASSERT_FALSE(heap_node_is_linked(&nodes[i]));
}

TEST(push_without_memory_changes_nothing) {
        FAULT_SWEEP {
                struct heap_node nodes[50] = { 0 };
                struct heap h;

                heap_init(&h);
                for (size_t i = 0; i < ELEMENTSOF(nodes); i++) {
                        size_t before = h.n_nodes;
                        int r = heap_push(&h, &nodes[i], i);

                        if (r < 0) {
                                ASSERT_ERROR(r, ENOMEM);
                                ASSERT_FALSE(heap_node_is_linked(&nodes[i]));
                                ASSERT_EQ(h.n_nodes, before);
                        }
                }
                heap_done(&h);
        }
}
