/* SPDX-License-Identifier: Apache-2.0 */
#include "base/histogram.h"

static const usec_t bounds[HISTOGRAM_BOUNDS] = {
        50,
        100,
        250,
        500,
        USEC_PER_MSEC,
        2500,
        5 * USEC_PER_MSEC,
        10 * USEC_PER_MSEC,
        25 * USEC_PER_MSEC,
        50 * USEC_PER_MSEC,
        100 * USEC_PER_MSEC,
        250 * USEC_PER_MSEC,
        500 * USEC_PER_MSEC,
        USEC_PER_SEC,
        2500 * USEC_PER_MSEC,
        5 * USEC_PER_SEC,
        10 * USEC_PER_SEC,
};

void histogram_add(struct histogram *h, usec_t usec) {
        unsigned i = 0;

        assert(h);

        while (i < HISTOGRAM_BOUNDS && usec > bounds[i])
                i++;
        h->counts[i]++;
        h->sum_usec += usec;
}

uint64_t histogram_count(const struct histogram *h) {
        uint64_t n = 0;

        assert(h);

        for (unsigned i = 0; i <= HISTOGRAM_BOUNDS; i++)
                n += h->counts[i];
        return n;
}

usec_t histogram_bound_usec(unsigned i) {
        assert(i < HISTOGRAM_BOUNDS);

        return bounds[i];
}
