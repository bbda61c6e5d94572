/* SPDX-License-Identifier: Apache-2.0 */

/* Tests base/histogram.h: a duration is in the first bucket that is not below it. */

#include "base/histogram.h"
#include "tests/lib/test.h"

TEST(bounds_ascend) {
        for (unsigned i = 1; i < HISTOGRAM_BOUNDS; i++)
                ASSERT_GT(histogram_bound_usec(i), histogram_bound_usec(i - 1));
}

TEST(bound_belongs_to_its_bucket) {
        for (unsigned i = 0; i < HISTOGRAM_BOUNDS; i++) {
                struct histogram h = {};

                histogram_add(&h, histogram_bound_usec(i));
                histogram_add(&h, histogram_bound_usec(i) + 1);
                ASSERT_EQ(h.counts[i], 1);
                ASSERT_EQ(h.counts[i + 1], 1);
                ASSERT_EQ(histogram_count(&h), 2);
                ASSERT_EQ(h.sum_usec, 2 * histogram_bound_usec(i) + 1);
        }
}

TEST(what_is_above_all_bounds_counts_too) {
        struct histogram h = {};

        histogram_add(&h, 0);
        histogram_add(&h, USEC_PER_HOUR);
        ASSERT_EQ(h.counts[0], 1);
        ASSERT_EQ(h.counts[HISTOGRAM_BOUNDS], 1);
        ASSERT_EQ(histogram_count(&h), 2);
        ASSERT_EQ(h.sum_usec, USEC_PER_HOUR);
}
