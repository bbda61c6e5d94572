/* SPDX-License-Identifier: Apache-2.0 */

/* Keys to partitions. The hashes are other systems' and can never change here. */

#include "batch/partitioner.h"

#include <zlib.h>

#include "base/bytes.h"

#define MURMUR2_SEED UINT32_C(0x9747b28c)
#define MURMUR2_FACTOR UINT32_C(0x5bd1e995)

uint32_t murmur2(const void *p, size_t n) {
        const uint8_t *bytes = p;
        uint32_t h = MURMUR2_SEED ^ (uint32_t) n;

        assert(p || n == 0);

        for (; n >= 4; n -= 4, bytes += 4) {
                uint32_t k = le32_load(bytes) * MURMUR2_FACTOR;

                k = (k ^ k >> 24) * MURMUR2_FACTOR;
                h = h * MURMUR2_FACTOR ^ k;
        }

        /* What is left, as one little-endian number of up to three bytes. */
        if (n > 0) {
                uint32_t tail = 0;

                while (n-- > 0)
                        tail = tail << 8 | bytes[n];
                h = (h ^ tail) * MURMUR2_FACTOR;
        }

        h = (h ^ h >> 13) * MURMUR2_FACTOR;
        return h ^ h >> 15;
}

uint32_t partitioner_pick(enum partitioner p, const void *key, size_t n, uint32_t n_partitions) {
        assert((unsigned) p < _PARTITIONER_MAX);
        assert(key || n == 0);
        assert(n_partitions > 0);

        if (p == PARTITIONER_MURMUR2)
                return (murmur2(key, n) & INT32_MAX) % n_partitions;

        /* Without a pointer zlib gives its first value, and that is the CRC of no bytes. */
        return (uint32_t) crc32_z(0, key, n) % n_partitions;
}
