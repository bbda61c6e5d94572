/* SPDX-License-Identifier: Apache-2.0 */

/* Tests base/time.h: sums that do not wrap, clocks that go on. */

#include <time.h>

#include "base/time.h"
#include "tests/lib/test.h"

TEST(sums_stay_in_range) {
        ASSERT_EQ(usec_add(1, 2), 3);
        ASSERT_EQ(usec_add(USEC_INFINITY - 1, 1), USEC_INFINITY);
        ASSERT_EQ(usec_add(USEC_INFINITY, 1), USEC_INFINITY);
        ASSERT_EQ(usec_add(USEC_INFINITY / 2 + 1, USEC_INFINITY / 2 + 1), USEC_INFINITY);
        ASSERT_EQ(usec_sub(5, 2), 3);
        ASSERT_EQ(usec_sub(2, 5), 0);
        ASSERT_EQ(usec_sub(5, 5), 0);
        ASSERT_EQ(usec_sub(USEC_INFINITY, 5), USEC_INFINITY);
        ASSERT_EQ(usec_sub(5, USEC_INFINITY), 0);
}

TEST(units) {
        ASSERT_EQ(USEC_PER_DAY, UINT64_C(86400000000));
}

TEST(clocks_are_those_of_the_kernel) {
        usec_t first = now_monotonic_usec(), second = now_monotonic_usec();
        struct timespec monotonic;
        int64_t wall_ms;
        time_t sec;

        clock_gettime(CLOCK_MONOTONIC, &monotonic);
        ASSERT_LE(first, second);
        ASSERT_LE(second,
                  (usec_t) monotonic.tv_sec * USEC_PER_SEC + (usec_t) monotonic.tv_nsec / 1000);
        ASSERT_GT(second + USEC_PER_MINUTE, (usec_t) monotonic.tv_sec * USEC_PER_SEC);

        wall_ms = now_wall_ms();
        sec = time(NULL);
        ASSERT_GE(wall_ms, ((int64_t) sec - 60) * 1000);
        ASSERT_LT(wall_ms, ((int64_t) sec + 60) * 1000);
}
