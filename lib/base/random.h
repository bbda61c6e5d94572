/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The only generator of random numbers (xoshiro256**, seeded through splitmix64). Inside the core
 * it is reached through struct io, so that the same seed gives the same run.
 */

#include "base/macro.h"

struct random {
        uint64_t state[4];
};

void random_init(struct random *r, uint64_t seed);
uint64_t random_u64(struct random *r);
/* Evenly in 0..n-1; n > 0. */
uint64_t random_below(struct random *r, uint64_t n);
/* In low..high, both included. */
uint64_t random_between(struct random *r, uint64_t low, uint64_t high);
/* True in @numerator of @denominator cases. */
bool random_chance(struct random *r, uint64_t numerator, uint64_t denominator);
void random_bytes(struct random *r, void *p, size_t n);
