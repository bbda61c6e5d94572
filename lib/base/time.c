/* SPDX-License-Identifier: Apache-2.0 */

/* Sums of times that do not wrap, and the clocks. Not for the core, which asks struct io. */

#include "base/time.h"

#include <time.h>

usec_t usec_add(usec_t a, usec_t b) {
        usec_t sum;

        return __builtin_add_overflow(a, b, &sum) ? USEC_INFINITY : sum;
}

usec_t usec_sub(usec_t a, usec_t b) {
        if (a == USEC_INFINITY)
                return USEC_INFINITY;
        return a > b ? a - b : 0;
}

usec_t now_monotonic_usec(void) {
        struct timespec ts;
        int r;

        r = clock_gettime(CLOCK_MONOTONIC, &ts);
        assert(r == 0); /* clock_gettime(2) fails for a bad clock or address only */

        return (usec_t) ts.tv_sec * USEC_PER_SEC + (usec_t) ts.tv_nsec / 1000;
}

int64_t now_wall_ms(void) {
        struct timespec ts;
        int r;

        r = clock_gettime(CLOCK_REALTIME, &ts);
        assert(r == 0);

        return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}
