/* SPDX-License-Identifier: Apache-2.0 */

/* Tests base/alloc.h: what is handed out is counted, and the n-th request fails when asked to. */

#include <pthread.h>
#include <stdint.h>

#include "base/alloc.h"
#include "tests/lib/test.h"

TEST(counts_what_is_held) {
        size_t before = mem_bytes();
        void *a, *b;

        a = mem_alloc(1000);
        ASSERT_NOT_NULL(a);
        ASSERT_GE(mem_bytes(), before + 1000);
        b = mem_alloc0(5000);
        ASSERT_NOT_NULL(b);
        ASSERT_GE(mem_bytes(), before + 6000);
        a = mem_realloc(a, 100000);
        ASSERT_NOT_NULL(a);
        ASSERT_GE(mem_bytes(), before + 105000);
        a = mem_realloc(a, 10);
        ASSERT_LT(mem_bytes(), before + 100000);
        a = mem_free(a);
        b = mem_free(b);
        ASSERT_NULL(a);
        ASSERT_NULL(b);
        ASSERT_EQ(mem_bytes(), before);
}

TEST(zeroed_memory_is_zero) {
        static const uint8_t zeros[4096];

        for (unsigned i = 0; i < 10; i++) {
                _cleanup_(mem_freep) uint8_t *p = mem_alloc0(sizeof(zeros));

                ASSERT_NOT_NULL(p);
                ASSERT_MEM(p, zeros, sizeof(zeros));
                memset(p, 0xff, sizeof(zeros)); /* what the next one may get */
        }
}

TEST(size_zero_is_not_no_memory) {
        _cleanup_(mem_freep) void *a = mem_alloc(0), *b = mem_alloc0(0), *c = mem_realloc(NULL, 0);

        ASSERT_NOT_NULL(a);
        ASSERT_NOT_NULL(b);
        ASSERT_NOT_NULL(c);
        c = mem_realloc(c, 0);
        ASSERT_NOT_NULL(c);
        ASSERT_NULL(mem_free(NULL));
}

TEST(strings_are_copied) {
        _cleanup_(mem_freep) char *a = mem_strdup("hello"), *b = mem_strndup("hello", 3),
                                  *c = mem_strndup("hi", 99),
                                  *d = mem_asprintf("%s-%d", "topic", 42),
                                  *e = mem_strndup(NULL, 0);
        _cleanup_(mem_freep) void *f = mem_dup("x\0y", 3);

        ASSERT_STREQ(a, "hello");
        ASSERT_STREQ(b, "hel");
        ASSERT_STREQ(c, "hi");
        ASSERT_STREQ(d, "topic-42");
        ASSERT_STREQ(e, "");
        ASSERT_MEM(f, "x\0y", 3);
}

TEST(n_th_request_fails_once) {
        void *p;

        ASSERT_FALSE(mem_fail_at(2));
        p = mem_alloc(1);
        ASSERT_NOT_NULL(p);
        ASSERT_NULL(mem_alloc(1));
        mem_free(p);
        p = mem_alloc(1);
        ASSERT_NOT_NULL(p);
        mem_free(p);
        ASSERT_TRUE(mem_fail_at(1));
        ASSERT_FALSE(mem_fail_at(1));
        ASSERT_NULL(mem_alloc0(1));
        ASSERT_TRUE(mem_fail_at(0));
        ASSERT_FALSE(mem_fail_at(0));
}

TEST(failed_realloc_leaves_memory) {
        char *p = mem_strdup("kept"), *moved;
        size_t before = mem_bytes();

        mem_fail_at(1);
        moved = mem_realloc(p, 1000);
        ASSERT_NULL(moved);
        ASSERT_STREQ(p, "kept");
        ASSERT_EQ(mem_bytes(), before);
        mem_free(p);
}

TEST(new_refuses_overflow) {
        volatile size_t n = SIZE_MAX / sizeof(uint64_t) + 2; /* n * 8 is 8 again */

        ASSERT_NULL(new (uint64_t, n));
        ASSERT_NULL(new0(uint64_t, n));
}

TEST(grow_makes_room_and_keeps_content) {
        uint64_t *array = NULL;
        size_t n_allocated = 0, n_moves = 0;

        ASSERT_TRUE(grow(array, n_allocated, 0));
        ASSERT_NULL(array);

        for (size_t i = 0; i < 10000; i++) {
                size_t before = n_allocated;

                ASSERT_TRUE(grow(array, n_allocated, i + 1));
                ASSERT_GT(n_allocated, i);
                n_moves += n_allocated != before;
                array[i] = i;
        }
        ASSERT_LE(n_moves, 14); /* doubles */
        for (size_t i = 0; i < 10000; i++)
                ASSERT_EQ(array[i], i);

        mem_free(array);
}

TEST(grow_failure_changes_nothing) {
        uint32_t *array = NULL;
        size_t n_allocated = 0, before;
        volatile size_t too_many = SIZE_MAX / 2;

        ASSERT_TRUE(grow(array, n_allocated, 1));
        array[0] = 7;
        before = n_allocated;

        ASSERT_FALSE(grow(array, n_allocated, too_many));
        mem_fail_at(1);
        ASSERT_FALSE(grow(array, n_allocated, before + 1));
        ASSERT_EQ(n_allocated, before);
        ASSERT_EQ(array[0], 7);
        mem_free(array);
}

static void *churn(void *arg) {
        for (unsigned i = 0; i < 20000; i++)
                mem_free(mem_realloc(mem_alloc(1 + i % 100), 200));
        return arg;
}

TEST(count_is_right_with_threads) {
        size_t before = mem_bytes();
        pthread_t threads[4];

        for (unsigned i = 0; i < ELEMENTSOF(threads); i++)
                ASSERT_EQ(pthread_create(&threads[i], NULL, churn, NULL), 0);
        for (unsigned i = 0; i < ELEMENTSOF(threads); i++)
                ASSERT_EQ(pthread_join(threads[i], NULL), 0);
        ASSERT_EQ(mem_bytes(), before);
}

TEST(sweep_fails_each_request_in_turn) {
        unsigned n_runs = 0, n_failed[3] = { 0 };

        FAULT_SWEEP {
                _cleanup_(mem_freep) void *a = mem_alloc(1), *b = mem_alloc(2), *c = mem_alloc(3);

                n_runs++;
                n_failed[0] += !a;
                n_failed[1] += !b;
                n_failed[2] += !c;
                if (!a)
                        continue;
        }
        ASSERT_EQ(n_runs, 4);
        ASSERT_EQ(n_failed[0], 1);
        ASSERT_EQ(n_failed[1], 1);
        ASSERT_EQ(n_failed[2], 1);

        for (unsigned i = 0; i < 5; i++) { /* it is off afterwards */
                void *p = mem_alloc(1);

                ASSERT_NOT_NULL(p);
                mem_free(p);
        }
}
