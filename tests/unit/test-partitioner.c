/* SPDX-License-Identifier: Apache-2.0 */

/* Keys go where other clients put them. */

#include "batch/partitioner.h"

#include "tests/lib/test.h"

TEST(murmur2_is_that_of_the_java_client) {
        static const struct {
                const char *key;
                uint32_t hash;
        } table[] = {
                { "", 275646681 },
                { "a", UINT32_C(2731586172) },
                { "abc", 479470107 },
                { "21", UINT32_C(3321034988) },
                { "user-123", UINT32_C(2826711316) },
                { "foobar", UINT32_C(3504634814) },
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                ASSERT_EQ(murmur2(table[i].key, strlen(table[i].key)), table[i].hash);
                ASSERT_EQ(partitioner_pick(
                                  PARTITIONER_MURMUR2, table[i].key, strlen(table[i].key), 7),
                          (table[i].hash & 0x7fffffff) % 7);
        }
}

TEST(crc32_is_that_of_zlib) {
        ASSERT_EQ(partitioner_pick(PARTITIONER_CRC32, "123456789", 9, UINT32_MAX),
                  UINT32_C(0xcbf43926));
        ASSERT_EQ(partitioner_pick(PARTITIONER_CRC32, "123456789", 9, 10),
                  UINT32_C(0xcbf43926) % 10);
}

TEST(an_empty_key_is_a_key) {
        for (enum partitioner p = 0; p < _PARTITIONER_MAX; p++)
                ASSERT_EQ(partitioner_pick(p, NULL, 0, 1000), partitioner_pick(p, "", 0, 1000));
        ASSERT_EQ(partitioner_pick(PARTITIONER_MURMUR2, NULL, 0, 1000), 275646681 % 1000);
        ASSERT_EQ(partitioner_pick(PARTITIONER_CRC32, NULL, 0, 1000), 0);
}

TEST(one_partition_takes_all) {
        for (enum partitioner p = 0; p < _PARTITIONER_MAX; p++)
                ASSERT_EQ(partitioner_pick(p, "key", 3, 1), 0);
}
