/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Reading record batches (layout: batch/batch-format.h). Three steps, each of which trusts nothing
 * that the one before has not checked:
 *
 *     batch_view_init()     the header as numbers; lengths fit, so that the bytes may be touched
 *     batch_verify()        the bytes are those that were made, and the numbers agree with each
 *     other
 *     batch_iterator_…()    the records, one by one; decompressed first where there is a codec
 *
 * A broker stops at the second and never looks into records. Views and records are windows: they
 * borrow the bytes they were made from.
 *
 *     for (;;) {
 *             r = batch_iterator_next(&it, &record);
 *             if (r < 0)
 *                     return r;
 *             if (r == 0)
 *                     break;
 *             …
 *     }
 */

#include "base/buf.h"
#include "batch/batch-format.h"
#include "batch/compress.h"

struct batch_view {
        const uint8_t *data;
        size_t size; /* of this batch; others may follow it */

        int64_t base_offset; /* >= 0, and base_offset + last_offset_delta + 1 does not overflow */
        int32_t leader_epoch;
        uint32_t crc;
        uint16_t attributes;
        int32_t last_offset_delta; /* >= 0 */
        int64_t base_timestamp_ms;
        int64_t max_timestamp_ms;
        int64_t producer_id;
        int16_t producer_epoch;
        int32_t base_sequence;
        int32_t n_records; /* batch_verify(): >= 0, and no more than can be */
};

/**
 * batch_view_init() - the header of the first batch in a run
 * @p:   at least one batch; borrows until the view is no longer used
 * @n:   bytes at @p
 * @ret: the view
 *
 * Return: 0, the batch is all of @n bytes; 1, bytes follow it (at @p + ret->size); -EBADMSG this is
 * no whole batch of magic 2: refuse it.
 */
int batch_view_init(const void *p, size_t n, struct batch_view *ret);

/**
 * batch_verify() - are these the bytes that were made?
 *
 * The crc is right and the counts are possible. Any batch that may lie in a log passes: also an
 * empty one (a cleaner leaves it to keep the last sequence), one with gaps, a control batch, one of
 * a codec that is not known yet.
 *
 * Return: 0; -EBADMSG.
 */
int batch_verify(const struct batch_view *v);

enum batch_produced_flags {
        BATCH_ALLOW_TRANSACTIONAL = 1 << 0,
};

/**
 * batch_verify_produced() - may a producer send this?
 *
 * As batch_verify(), and: at least one record, offsets without gaps from 0 on (the broker gives the
 * next free offsets by counting them), a codec that is known, no attribute that only the broker
 * sets, times in order, and producer id, epoch and sequence there together or not at all.
 *
 * Return: 0; -EBADMSG damaged, the producer sends it again; -EOPNOTSUPP unknown codec; -EPROTO
 * whole, but not allowed: sending it again is of no use.
 */
int batch_verify_produced(const struct batch_view *v, unsigned flags);

/* Writes base offset (>= 0) and leader epoch into the batch at @p, a whole one. The crc stays
 * right. */
void batch_assign(void *p, int64_t base_offset, int32_t leader_epoch);

/* May be a number that is no codec: codec_is_known(). */
static inline enum codec batch_codec(const struct batch_view *v) {
        return (enum codec)(v->attributes & BATCH_CODEC_MASK);
}

static inline bool batch_is_control(const struct batch_view *v) {
        return v->attributes & BATCH_CONTROL;
}

static inline bool batch_is_transactional(const struct batch_view *v) {
        return v->attributes & BATCH_TRANSACTIONAL;
}

static inline bool batch_has_producer(const struct batch_view *v) {
        return v->producer_id >= 0;
}

static inline int64_t batch_last_offset(const struct batch_view *v) {
        return v->base_offset + v->last_offset_delta;
}

/* The offset after this batch, gaps included. */
static inline int64_t batch_next_offset(const struct batch_view *v) {
        return batch_last_offset(v) + 1;
}

/* Sequences count on from 2^31 - 1 to 0. */
static inline int32_t sequence_add(int32_t sequence, int32_t n) {
        return (int32_t) (((uint32_t) sequence + (uint32_t) n) & INT32_MAX);
}

/* Of the last record; only with batch_has_producer(). */
static inline int32_t batch_last_sequence(const struct batch_view *v) {
        return sequence_add(v->base_sequence, v->last_offset_delta);
}

/* A header of a record. */
struct record_header {
        const uint8_t *key;
        size_t key_size;
        const uint8_t *value; /* NULL: none, which is not the same as an empty one */
        size_t value_size;
};

/* A message. Borrows the bytes of its batch, or of its iterator where the batch is compressed. */
struct record {
        int64_t offset;
        int64_t timestamp_ms;
        const uint8_t *key; /* NULL: none */
        size_t key_size;
        const uint8_t *value; /* NULL: none (a tombstone) */
        size_t value_size;
        uint32_t n_headers;
        const uint8_t *headers; /* as they are encoded, for header_iterator_init() */
        size_t headers_size;
};

struct batch_iterator {
        const uint8_t *p;
        const uint8_t *end;
        int64_t base_offset;
        int64_t base_timestamp_ms;
        int64_t append_timestamp_ms; /* of all records, if has_append_time */
        int32_t last_offset_delta;
        int32_t offset_delta; /* of the record before; -1 */
        int32_t n_left;
        bool has_append_time;
        bool failed;
        struct slice decompressed;
};

/**
 * batch_iterator_init() - start at the first record
 * @it:        a new iterator; batch_iterator_done() when it is no longer used
 * @v:         the view, of which batch_verify() has said yes; its bytes are borrowed until
 *         batch_iterator_done()
 * @context:   for decompression; borrows until return; NULL: one is made for this call
 * @max_bytes: the most that the records may take up when decompressed
 *
 * Return: 0; -EMSGSIZE more than @max_bytes; -EOPNOTSUPP unknown codec; -EBADMSG not of its codec;
 * -ENOMEM. There is nothing to release after a failure.
 */
int batch_iterator_init(struct batch_iterator *it,
                        const struct batch_view *v,
                        struct codec_context *context,
                        size_t max_bytes);
void batch_iterator_done(struct batch_iterator *it);

/**
 * batch_iterator_next() - the next record
 *
 * Every length is checked, and that of the headers too; the offsets rise and stay within the
 * batch's, and the records are as many as the header says and end where the bytes end.
 *
 * Return: 1 and the record; 0 no more; -EBADMSG the batch lies, now and at every later call.
 */
int batch_iterator_next(struct batch_iterator *it, struct record *ret);

struct header_iterator {
        const uint8_t *p;
        const uint8_t *end;
        uint32_t n_left;
};

/* The headers of a record that batch_iterator_next() returned. false: no more. */
void header_iterator_init(struct header_iterator *it, const struct record *record);
bool header_iterator_next(struct header_iterator *it, struct record_header *ret);
