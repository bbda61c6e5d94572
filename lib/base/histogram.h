/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * How long things took: durations counted into fixed buckets, from 50 microseconds (a sync of a
 * good disk) to 10 seconds. Adding one costs a few comparisons and no memory.
 */

#include "base/time.h"

#define HISTOGRAM_BOUNDS 17u

/* Zero-initialised it is empty. */
struct histogram {
        uint64_t
                counts[HISTOGRAM_BOUNDS + 1]; /* of each bucket alone; the last: above all bounds */
        usec_t sum_usec;
};

void histogram_add(struct histogram *h, usec_t usec);
/* How many there are in all. */
uint64_t histogram_count(const struct histogram *h);
/* The highest duration that bucket @i holds. @i < HISTOGRAM_BOUNDS. */
usec_t histogram_bound_usec(unsigned i);
