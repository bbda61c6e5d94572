/* SPDX-License-Identifier: Apache-2.0 */

/* Tests base/buf.h: bytes live as long as the last slice of them. */

#include "base/buf.h"
#include "tests/lib/test.h"

TEST(bytes_live_until_last_slice_is_done) {
        struct buf *b = buf_new(100);
        struct slice first, second;
        size_t held;

        ASSERT_NOT_NULL(b);
        ASSERT_EQ(b->capacity, 100);
        ASSERT_EQ((uintptr_t) b->data % 8, 0);
        memcpy(b->data, "hello world", 11);
        held = mem_bytes();

        first = slice_of(b, b->data + 6, 5);
        second = slice_ref(first);
        ASSERT_EQ(b->n_refs, 3);
        b = buf_unref(b);
        ASSERT_NULL(b);
        slice_done(&first);
        ASSERT_NULL(first.buf);
        ASSERT_EQ(first.size, 0);
        ASSERT_EQ(mem_bytes(), held);
        ASSERT_EQ(second.size, 5);
        ASSERT_MEM(second.data, "world", 5);
        slice_done(&second);
        ASSERT_LT(mem_bytes(), held);
}

TEST(empty_slices_cost_nothing) {
        struct slice none = { 0 }, again = slice_ref(none);

        ASSERT_NULL(again.buf);
        slice_done(&none);
        slice_done(&again);
        ASSERT_NULL(buf_unref(NULL));
}

TEST(slice_may_cover_all_or_end) {
        _cleanup_(buf_unrefp) struct buf *b = buf_new(16), *empty = buf_new(0);
        struct slice all = slice_of(b, b->data, 16), end = slice_of(b, b->data + 16, 0),
                     nothing = slice_of(empty, empty->data, 0);

        ASSERT_EQ(all.size, 16);
        ASSERT_EQ(end.size, 0);
        ASSERT_EQ(b->n_refs, 3);
        slice_done(&all);
        slice_done(&end);
        slice_done(&nothing);
        ASSERT_EQ(b->n_refs, 1);
}

TEST(new_reports_no_memory) {
        volatile size_t too_much = SIZE_MAX - 8;

        ASSERT_NULL(buf_new(too_much));
        FAULT_SWEEP {
                _cleanup_(buf_unrefp) struct buf *b = buf_new(10);

                ASSERT_EQ(b == NULL, _sweep.n == 1);
        }
}
