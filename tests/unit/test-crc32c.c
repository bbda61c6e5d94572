/* SPDX-License-Identifier: Apache-2.0 */

/* Tests base/crc32c.h: both ways against the vectors of RFC 3720 and against a bit-by-bit one. */

#include "base/crc32c.h"
#include "base/random.h"
#include "tests/lib/test.h"

/* The definition, a bit at a time. */
static uint32_t crc32c_by_bits(uint32_t crc, const uint8_t *p, size_t n) {
        uint32_t c = ~crc;

        for (size_t i = 0; i < n; i++) {
                c ^= p[i];
                for (unsigned bit = 0; bit < 8; bit++)
                        c = c & 1 ? c >> 1 ^ UINT32_C(0x82f63b78) : c >> 1;
        }
        return ~c;
}

typedef uint32_t (*way_t)(uint32_t crc, const void *p, size_t n);

static void check_vectors(way_t way) {
        uint8_t block[32];

        ASSERT_EQ(way(0, "123456789", 9), 0xe3069283);
        ASSERT_EQ(way(0, NULL, 0), 0);
        ASSERT_EQ(way(0x12345678, "", 0), 0x12345678);
        memset(block, 0, sizeof(block));
        ASSERT_EQ(way(0, block, sizeof(block)), 0x8a9136aa);
        memset(block, 0xff, sizeof(block));
        ASSERT_EQ(way(0, block, sizeof(block)), 0x62a8ab43);
        for (uint8_t i = 0; i < 32; i++)
                block[i] = i;
        ASSERT_EQ(way(0, block, sizeof(block)), 0x46dd794e);
        for (uint8_t i = 0; i < 32; i++)
                block[i] = 31 - i;
        ASSERT_EQ(way(0, block, sizeof(block)), 0x113fdb5c);
}

static void check_against_bits(way_t way) {
        enum { SIZE = 40000 };
        _cleanup_(mem_freep) uint8_t *p = mem_alloc(SIZE);
        struct random random;

        random_init(&random, 1);
        random_bytes(&random, p, SIZE);

        /* Every length round the short stretches, and every alignment. */
        for (size_t n = 0; n < 900; n++)
                ASSERT_EQ(way((uint32_t) n, p + n % 16, n),
                          crc32c_by_bits((uint32_t) n, p + n % 16, n));
        /* Long stretches, then short ones, then the rest. */
        for (unsigned i = 0; i < 60; i++) {
                size_t from = random_below(&random, 16), n = random_below(&random, SIZE - 16);
                uint32_t seed = (uint32_t) random_u64(&random);

                ASSERT_EQ(way(seed, p + from, n), crc32c_by_bits(seed, p + from, n));
        }
}

/* A checksum can be continued anywhere. */
static void check_pieces(way_t way) {
        enum { SIZE = 20000 };
        _cleanup_(mem_freep) uint8_t *p = mem_alloc(SIZE);
        struct random random;
        uint32_t whole;

        random_init(&random, 2);
        random_bytes(&random, p, SIZE);
        whole = way(0, p, SIZE);

        for (unsigned i = 0; i < 50; i++) {
                uint32_t crc = 0;

                for (size_t pos = 0, n; pos < SIZE; pos += n) {
                        n = MIN(random_below(&random, 9000), (uint64_t) (SIZE - pos));
                        crc = way(crc, p + pos, n);
                }
                ASSERT_EQ(crc, whole);
        }
}

static void check(way_t way) {
        check_vectors(way);
        check_against_bits(way);
        check_pieces(way);
}

TEST(tables_are_right) {
        check(crc32c_portable);
}

TEST(hardware_is_right) {
        if (!crc32c_has_hardware())
                test_skip("no SSE4.2 and PCLMULQDQ");
        check(crc32c_hardware);
}

TEST(chosen_way_is_right) {
        check(crc32c);
}
