/* SPDX-License-Identifier: Apache-2.0 */

/*
 * xoshiro256**. Not for secrets.
 *
 * I1: the state is never all zero (splitmix64 gives four different values).
 *
 * Source: D. Blackman, S. Vigna, "Scrambled linear pseudorandom number generators", ACM TOMS 47
 * (2021); G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number generators",
 * OOPSLA 2014.
 */

#include "base/random.h"

#include "base/bytes.h"

static uint64_t rotate(uint64_t v, unsigned n) {
        return v << n | v >> (64 - n);
}

void random_init(struct random *r, uint64_t seed) {
        assert(r);

        for (unsigned i = 0; i < ELEMENTSOF(r->state); i++) {
                uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);

                z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
                z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
                r->state[i] = z ^ z >> 31;
        }
}

uint64_t random_u64(struct random *r) {
        uint64_t *s, result, shifted;

        assert(r);

        s = r->state;
        result = rotate(s[1] * 5, 7) * 9;
        shifted = s[1] << 17;

        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= shifted;
        s[3] = rotate(s[3], 45);

        return result;
}

uint64_t random_below(struct random *r, uint64_t n) {
        uint64_t v, n_uneven;

        assert(n > 0);

        /* The lowest 2^64 mod n values would make some results likelier: draw again. */
        n_uneven = -n % n;
        do
                v = random_u64(r);
        while (v < n_uneven);

        return v % n;
}

uint64_t random_between(struct random *r, uint64_t low, uint64_t high) {
        assert(low <= high);

        if (high - low == UINT64_MAX)
                return random_u64(r);
        return low + random_below(r, high - low + 1);
}

bool random_chance(struct random *r, uint64_t numerator, uint64_t denominator) {
        return random_below(r, denominator) < numerator;
}

void random_bytes(struct random *r, void *p, size_t n) {
        uint8_t *bytes = p, last[8];

        assert(p || n == 0);

        for (; n >= 8; n -= 8, bytes += 8)
                le64_store(bytes, random_u64(r));
        if (n > 0) {
                le64_store(last, random_u64(r));
                memcpy(bytes, last, n);
        }
}
