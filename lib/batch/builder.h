/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Packs messages into a record batch. Records are written straight behind room for the header, in
 * their final form; builder_seal() fills in the header, so that without a codec nothing is copied
 * twice.
 *
 * One builder makes one batch after the other. It holds no memory until the first message; then at
 * first as much as the batch before took, doubling up to batch_bytes.
 *
 *     r = builder_append(&b, …);
 *     if (r == -ENOBUFS) {
 *             r = builder_seal(&b, &seal, &batch);
 *             …
 *             r = builder_append(&b, …);
 *     }
 */

#include "base/buf.h"
#include "batch/batch.h"

struct builder {
        struct buf *buf; /* NULL: empty, and nothing held */
        size_t size;     /* bytes of .buf in use, header included; 0 without */
        size_t batch_bytes;
        size_t max_bytes;
        size_t expected_bytes; /* size of the batch before */
        int32_t n_records;
        int64_t base_timestamp_ms;
        int64_t max_timestamp_ms;
};

/**
 * builder_init() - an empty builder
 * @batch_bytes: size of a batch before compression past which no message is added to others
 * @max_bytes:   the largest batch: a message alone may go up to this; batch_bytes..BATCH_BYTES_MAX
 */
void builder_init(struct builder *b, size_t batch_bytes, size_t max_bytes);
/* Releases the messages too. */
void builder_done(struct builder *b);

/**
 * builder_append() - add a message
 * @key:          borrows; NULL: none (@key_n is 0 then)
 * @value:        borrows; NULL: none (@value_n is 0 then)
 * @headers:      @n_headers of them; borrows; a header's key is not NULL
 * @timestamp_ms: since 1970
 *
 * Return: 0; -ENOBUFS there are messages and no room for this one: seal and append again; -EMSGSIZE
 * it alone is larger than max_bytes allow; -ERANGE its timestamp is 2^63 ms or more from the first
 * one's: seal and append again; -ENOMEM.
 */
int builder_append(struct builder *b,
                   const void *key,
                   size_t key_n,
                   const void *value,
                   size_t value_n,
                   const struct record_header *headers,
                   size_t n_headers,
                   int64_t timestamp_ms);

/* What is true of a whole batch. SEAL_INIT: no codec, no producer. */
struct batch_seal {
        enum codec codec;
        int level;                     /* CODEC_LEVEL_DEFAULT or a valid one of the codec */
        struct codec_context *context; /* borrows; NULL: one is made for this batch */
        int64_t producer_id;           /* -1: none, and so epoch and sequence */
        int16_t producer_epoch;
        int32_t base_sequence; /* of the first record */
        bool is_transactional;
};

#define SEAL_INIT                                                                                  \
        ((struct batch_seal){ .producer_id = -1, .producer_epoch = -1, .base_sequence = -1 })

/**
 * builder_seal() - make the batch
 * @b:    with at least one message; empty afterwards. After a failure as before
 * @seal: borrows
 * @ret:  returns new; base offset 0, leader epoch as producers write it (0)
 *
 * A batch that its codec would make larger is left plain.
 *
 * Return: 0; -EINVAL no such codec or level; -ENOMEM.
 */
int builder_seal(struct builder *b, const struct batch_seal *seal, struct slice *ret);

/* Messages so far, and the size of the batch if it were sealed without a codec now. */
static inline int32_t builder_n_records(const struct builder *b) {
        return b->n_records;
}

static inline size_t builder_size(const struct builder *b) {
        return b->size;
}
