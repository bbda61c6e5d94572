/* SPDX-License-Identifier: Apache-2.0 */

/* Tests base/random.h: same seed, same numbers, for ever; and evenly spread. */

#include "base/random.h"
#include "tests/lib/test.h"

TEST(reference_sequence) {
        /* splitmix64 of seed 0 begins e220a8397b1dcdaf 6e789e6aa1b965f4 06c45d188009454f
         * f88bb8a8724c81ec: what its authors publish. The first number of xoshiro256** is rotl(s1 *
         * 5, 7) * 9. */
        struct random r;

        random_init(&r, 0);
        ASSERT_EQ(r.state[0], UINT64_C(0xe220a8397b1dcdaf));
        ASSERT_EQ(r.state[1], UINT64_C(0x6e789e6aa1b965f4));
        ASSERT_EQ(r.state[2], UINT64_C(0x06c45d188009454f));
        ASSERT_EQ(r.state[3], UINT64_C(0xf88bb8a8724c81ec));

        /* What the authors' program gives from the state 1, 2, 3, 4. */
        r = (struct random){ .state = { 1, 2, 3, 4 } };
        ASSERT_EQ(random_u64(&r), 11520);
        ASSERT_EQ(random_u64(&r), 0);
        ASSERT_EQ(random_u64(&r), 1509978240);
        ASSERT_EQ(random_u64(&r), UINT64_C(1215971899390074240));
}

TEST(same_seed_same_run) {
        struct random a, b, c;
        uint8_t x[37], y[37];
        bool differs = false;

        random_init(&a, 42);
        random_init(&b, 42);
        random_init(&c, 43);
        for (unsigned i = 0; i < 100; i++) {
                uint64_t v = random_u64(&a);

                ASSERT_EQ(v, random_u64(&b));
                differs = differs || v != random_u64(&c);
        }
        ASSERT_TRUE(differs);
        random_bytes(&a, x, sizeof(x));
        random_bytes(&b, y, sizeof(y));
        ASSERT_MEM(x, y, sizeof(x));
}

TEST(ranges_are_kept_and_reached) {
        struct random r;
        unsigned seen[10] = { 0 };

        random_init(&r, 6);
        for (unsigned i = 0; i < 10000; i++)
                seen[random_below(&r, 10)]++;
        for (unsigned i = 0; i < 10; i++) { /* 1000 each; 5 deviations */
                ASSERT_GT(seen[i], 850);
                ASSERT_LT(seen[i], 1150);
        }

        for (unsigned i = 0; i < 1000; i++) {
                uint64_t v = random_between(&r, 5, 7);

                ASSERT_TRUE(v >= 5 && v <= 7);
                ASSERT_EQ(random_between(&r, 9, 9), 9);
                ASSERT_EQ(random_below(&r, 1), 0);
                ASSERT_GE(random_between(&r, UINT64_MAX - 1, UINT64_MAX), UINT64_MAX - 1);
        }
}

TEST(whole_range_does_not_overflow) {
        struct random r;
        uint64_t all = 0;

        random_init(&r, 7);
        for (unsigned i = 0; i < 100; i++)
                all |= random_between(&r, 0, UINT64_MAX);
        ASSERT_EQ(all, UINT64_MAX);
}

TEST(uneven_range_is_not_biased) {
        /* With a plain modulus the lower half of 3 * 2^62 would come twice as often as the upper
         * one. */
        struct random r;
        unsigned n_low = 0;

        random_init(&r, 8);
        for (unsigned i = 0; i < 9000; i++)
                n_low += random_below(&r, UINT64_C(3) << 62) < UINT64_C(1) << 62;
        ASSERT_GT(n_low, 2800); /* a third is 3000; with the bias it would be 4500 */
        ASSERT_LT(n_low, 3200);
}

TEST(chance_is_as_asked) {
        struct random r;
        unsigned n = 0;

        random_init(&r, 9);
        for (unsigned i = 0; i < 10000; i++) {
                n += random_chance(&r, 1, 4);
                ASSERT_FALSE(random_chance(&r, 0, 4));
                ASSERT_TRUE(random_chance(&r, 4, 4));
        }
        ASSERT_GT(n, 2250);
        ASSERT_LT(n, 2750);
}

TEST(bytes_fill_exactly_what_is_asked) {
        struct random r;

        random_init(&r, 10);
        for (size_t n = 0; n < 33; n++) {
                uint8_t bytes[40], zero[40] = { 0 };

                memset(bytes, 0, sizeof(bytes));
                random_bytes(&r, bytes + 2, n);
                ASSERT_EQ(bytes[0] + bytes[1], 0);
                ASSERT_MEM(bytes + 2 + n, zero, 38 - n);
                if (n >= 16)
                        ASSERT_NE(memcmp(bytes + n - 6, zero, 8), 0); /* the last ones too */
        }
}
