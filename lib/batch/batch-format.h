/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A record batch, byte by byte: Apache Kafka's RecordBatch, magic 2. Integers are big-endian.
 * Batches pass through DRMQ as they were made: what a producer packed is what lies on disk, what
 * followers hold and what a consumer checks; only the first 21 bytes are written to, once, by the
 * leader (batch_assign()).
 *
 *     offset size  field              meaning                                             who
 *     checks it
 *     0      8     base offset        0 from a producer; the leader assigns               view: >=
 *     0
 *     8      4     length             bytes behind this field: size of the batch - 12     view:
 *     against what is there
 *     12     4     leader epoch       the leader's Raft term                              (entry's
 *     checksum)
 *     16     1     magic              2                                                   view
 *     17     4     crc                CRC-32C of bytes 21 to the end                      verify
 *     21     2     attributes         bits, below
 *     verify_produced
 *     23     4     last offset delta  offset of the last record - base offset; a          view: >=
 *                                     0; verify: >=
 *                                     cleaner keeps it, so gaps may follow                records -
 *                                     1
 *     27     8     base timestamp     ms since 1970 of the first record, -1 if empty      iterator:
 *     no overflow
 *     35     8     max timestamp      ms; every record's, with BATCH_APPEND_TIME
 *     verify_produced: >= base
 *     43     8     producer id        -1: not idempotent
 *     verify_produced
 *     51     2     producer epoch     -1 with producer id -1
 *     verify_produced
 *     53     4     base sequence      of the first record, -1 with producer id -1
 *     verify_produced
 *     57     4     records            how many                                            verify:
 *     >= 0, plausible
 *     61     ..    the records        one after the other; one compressed blob, if        iterator
 *                                     there is a codec
 *
 * Bytes 0 to 20 are outside the crc: where a batch is stored or sent, the checksum of the entry or
 * frame around it covers them.
 *
 * A record; varints are zigzag and then LEB128 (7 bits a byte, low ones first, the high bit says
 * that more follow), at most 5 bytes (varint) or 10 (varlong):
 *
 *     length           varint   bytes behind this field
 *     attributes       1        0; ignored
 *     timestamp delta  varlong  to the base timestamp; may be negative
 *     offset delta     varint   to the base offset; rises from record to record
 *     key length       varint   -1: no key
 *     key
 *     value length     varint   -1: no value (a tombstone)
 *     value
 *     headers          varint   how many; then for each: key length varint, key, value length
 *                               varint (-1: no value), value
 *
 * Snappy has two framings. Xerial's: 82 53 4e 41 50 50 59 00, then version 1 and least compatible
 * version 1 (4 bytes each), then for each 32 KiB of input the length of a block (4 bytes) and the
 * block. Or one block by itself.
 */

#include "base/bytes.h"

struct batch_header {
        be64_t base_offset;
        be32_t length;
        be32_t leader_epoch;
        uint8_t magic;
        be32_t crc;
        be16_t attributes;
        be32_t last_offset_delta;
        be64_t base_timestamp_ms;
        be64_t max_timestamp_ms;
        be64_t producer_id;
        be16_t producer_epoch;
        be32_t base_sequence;
        be32_t n_records;
};

#define BATCH_MAGIC 2u
#define BATCH_HEADER_BYTES 61u
#define BATCH_LENGTH_FROM 12u  /* what the length field does not count */
#define BATCH_CHECKED_FROM 21u /* where the crc begins; the bytes before are the leader's */
#define BATCH_BYTES_MAX ((size_t) INT32_MAX)

static_assert(sizeof(struct batch_header) == BATCH_HEADER_BYTES, "the struct is the layout");
static_assert(offsetof(struct batch_header, leader_epoch) == BATCH_LENGTH_FROM,
              "length counts from the epoch");
static_assert(offsetof(struct batch_header, attributes) == BATCH_CHECKED_FROM,
              "crc counts from the attributes");

enum batch_attributes {
        BATCH_CODEC_MASK = 7,       /* enum codec (batch/compress.h) */
        BATCH_APPEND_TIME = 1 << 3, /* records have the max timestamp; else each its own */
        BATCH_TRANSACTIONAL = 1 << 4,
        BATCH_CONTROL = 1 << 5,        /* one record for machines, never shown to applications */
        BATCH_DELETE_HORIZON = 1 << 6, /* the base timestamp is when tombstones may go */
};

/* The smallest record: length and six fields of one byte. The largest overhead: the same at their
 * widest, without headers. */
#define RECORD_BYTES_MIN 7u
#define RECORD_OVERHEAD_BYTES_MAX (5u + 1u + 10u + 5u + 5u + 5u + 5u)

#define SNAPPY_XERIAL_MAGIC "\x82SNAPPY"
#define SNAPPY_XERIAL_MAGIC_BYTES 8u /* the NUL belongs to it */
#define SNAPPY_XERIAL_HEADER_BYTES 16u
#define SNAPPY_XERIAL_BLOCK_BYTES (32u * 1024u)
