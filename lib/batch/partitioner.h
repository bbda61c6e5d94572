/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * From a message's key to its partition: the same key goes to the same one, as long as the topic
 * has as many. Two rules, so that DRMQ's producers agree with those that came before:
 *
 *     murmur2  Kafka's Java producer: (murmur2(key) & 0x7fffffff) % partitions
 *     crc32    librdkafka's "consistent": crc32(key) % partitions, the CRC of zlib
 *
 * A message without a key is no business of this file.
 */

#include "base/macro.h"

enum partitioner {
        PARTITIONER_MURMUR2,
        PARTITIONER_CRC32,
        _PARTITIONER_MAX,
        _PARTITIONER_INVALID = -EINVAL,
};

/* In 0 to n_partitions - 1; n_partitions > 0. @key may be NULL if @n is 0. */
uint32_t partitioner_pick(enum partitioner p, const void *key, size_t n, uint32_t n_partitions);

/* MurmurHash2, 32 bits, with the Java producer's seed. */
uint32_t murmur2(const void *p, size_t n);
