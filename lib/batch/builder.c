/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Writes record batches.
 *
 *  I1  Without a buf: no records, size 0. With one: at least one record, and size counts header and
 *      records.
 *  I2  size <= capacity of the buf and <= max_bytes; with more than one record it is <=
 *      batch_bytes.
 *  I3  A call that fails leaves the batch as it was.
 */

#include "batch/builder.h"

#include "base/crc32c.h"

#define BUILDER_FIRST_BYTES 512u

void builder_init(struct builder *b, size_t batch_bytes, size_t max_bytes) {
        assert(b);
        assert(batch_bytes >= BATCH_HEADER_BYTES);
        assert(batch_bytes <= max_bytes);
        assert(max_bytes <= BATCH_BYTES_MAX);

        *b = (struct builder){
                .batch_bytes = batch_bytes,
                .max_bytes = max_bytes,
                .expected_bytes = BUILDER_FIRST_BYTES,
        };
}

static void builder_clear(struct builder *b) {
        b->buf = buf_unref(b->buf);
        b->size = 0;
        b->n_records = 0;
}

void builder_done(struct builder *b) {
        if (b)
                builder_clear(b);
}

static inline uint64_t zigzag(int64_t v) {
        return (uint64_t) v << 1 ^ (uint64_t) (v >> 63);
}

/* Bytes of a varint: one for each 7 bits begun. 9/64 is near enough to 1/7 up to 64 bits. */
static inline size_t varint_size(int64_t v) {
        unsigned bits = 64u - (unsigned) __builtin_clzll(zigzag(v) | 1);

        return (bits * 9 + 64) / 64;
}

static inline uint8_t *varint_write(uint8_t *p, int64_t v) {
        uint64_t x = zigzag(v);

        while (x >= 0x80) {
                *p++ = (uint8_t) (x | 0x80);
                x >>= 7;
        }
        *p++ = (uint8_t) x;
        return p;
}

/* Size of a length with its bytes, of which there may be none at all (NULL). */
static inline size_t bytes_size(const void *data, size_t n) {
        return varint_size(data ? (int64_t) n : -1) + n;
}

static inline uint8_t *bytes_write(uint8_t *p, const void *data, size_t n) {
        if (!data)
                return varint_write(p, -1);

        p = varint_write(p, (int64_t) n);
        memcpy(p, data, n);
        return p + n;
}

/* Size of a record behind its length; max_bytes + 1 if it is more than that, without overflow on
 * the way. */
static size_t record_size(const struct builder *b,
                          int64_t timestamp_delta,
                          int32_t offset_delta,
                          const void *key,
                          size_t key_n,
                          const void *value,
                          size_t value_n,
                          const struct record_header *headers,
                          size_t n_headers) {
        size_t max = b->max_bytes, size;

        if (key_n > max || value_n > max || n_headers > max)
                return max + 1;

        size = 1 + varint_size(timestamp_delta) + varint_size(offset_delta) +
               bytes_size(key, key_n) + bytes_size(value, value_n) +
               varint_size((int64_t) n_headers);

        for (size_t i = 0; i < n_headers; i++) {
                if (headers[i].key_size > max || headers[i].value_size > max || size > max)
                        return max + 1;

                size += bytes_size(headers[i].key, headers[i].key_size) +
                        bytes_size(headers[i].value, headers[i].value_size);
        }

        return MIN(size, max + 1);
}

/* Makes the buf hold at least `needed` bytes, which batch_bytes allow or a single message asks
 * for. */
static int builder_reserve(struct builder *b, size_t needed) {
        size_t capacity = b->buf ? b->buf->capacity * 2 : b->expected_bytes;
        struct buf *buf;

        capacity = MAX(MIN(capacity, b->batch_bytes), needed);
        buf = buf_new(capacity);
        if (!buf)
                return -ENOMEM;

        if (b->buf)
                memcpy(buf->data, b->buf->data, b->size);
        buf_unref(b->buf);
        b->buf = buf;
        return 0;
}

int builder_append(struct builder *b,
                   const void *key,
                   size_t key_n,
                   const void *value,
                   size_t value_n,
                   const struct record_header *headers,
                   size_t n_headers,
                   int64_t timestamp_ms) {
        size_t body, size, old_size;
        int64_t timestamp_delta = 0;
        uint8_t *p;
        int r;

        assert(b);
        assert(key || key_n == 0);
        assert(value || value_n == 0);
        assert(headers || n_headers == 0);

        if (b->buf && __builtin_sub_overflow(timestamp_ms, b->base_timestamp_ms, &timestamp_delta))
                return -ERANGE;

        old_size = b->buf ? b->size : BATCH_HEADER_BYTES;
        body = record_size(
                b, timestamp_delta, b->n_records, key, key_n, value, value_n, headers, n_headers);
        size = old_size + varint_size((int64_t) body) + body;

        if (size > (b->buf ? b->batch_bytes : b->max_bytes)) {
                if (!b->buf)
                        return -EMSGSIZE;

                /* Would it go alone? */
                body = record_size(b, 0, 0, key, key_n, value, value_n, headers, n_headers);
                size = BATCH_HEADER_BYTES + varint_size((int64_t) body) + body;
                return size > b->max_bytes ? -EMSGSIZE : -ENOBUFS;
        }

        if (!b->buf || size > b->buf->capacity) {
                r = builder_reserve(b, size);
                if (r < 0)
                        return r; /* I3 */
        }

        p = b->buf->data + old_size;
        p = varint_write(p, (int64_t) body);
        *p++ = 0; /* attributes */
        p = varint_write(p, timestamp_delta);
        p = varint_write(p, b->n_records);
        p = bytes_write(p, key, key_n);
        p = bytes_write(p, value, value_n);
        p = varint_write(p, (int64_t) n_headers);
        for (size_t i = 0; i < n_headers; i++) {
                p = bytes_write(p, headers[i].key, headers[i].key_size);
                p = bytes_write(p, headers[i].value, headers[i].value_size);
        }
        assert(p == b->buf->data + size);

        if (b->n_records == 0)
                b->base_timestamp_ms = b->max_timestamp_ms = timestamp_ms;
        else
                b->max_timestamp_ms = MAX(b->max_timestamp_ms, timestamp_ms);
        b->n_records++;
        b->size = size;
        return 0;
}

static void header_write(const struct builder *b,
                         const struct batch_seal *seal,
                         enum codec codec,
                         uint8_t *batch,
                         size_t size) {
        uint16_t attributes = (uint16_t) codec;
        struct batch_header h;

        if (seal->is_transactional)
                attributes |= BATCH_TRANSACTIONAL;

        h = (struct batch_header){
                .length = be32_of((uint32_t) (size - BATCH_LENGTH_FROM)),
                .magic = BATCH_MAGIC,
                .attributes = be16_of(attributes),
                .last_offset_delta = be32_of((uint32_t) b->n_records - 1),
                .base_timestamp_ms = be64_of((uint64_t) b->base_timestamp_ms),
                .max_timestamp_ms = be64_of((uint64_t) b->max_timestamp_ms),
                .producer_id = be64_of((uint64_t) seal->producer_id),
                .producer_epoch = be16_of((uint16_t) seal->producer_epoch),
                .base_sequence = be32_of((uint32_t) seal->base_sequence),
                .n_records = be32_of((uint32_t) b->n_records),
        };
        memcpy(batch, &h, sizeof(h));

        h.crc = be32_of(crc32c(0, batch + BATCH_CHECKED_FROM, size - BATCH_CHECKED_FROM));
        memcpy(batch + offsetof(struct batch_header, crc), &h.crc, sizeof(h.crc));
}

int builder_seal(struct builder *b, const struct batch_seal *seal, struct slice *ret) {
        _cleanup_(buf_unrefp) struct buf *compressed = NULL;
        size_t records_size, compressed_size;
        enum codec codec;
        size_t size;
        int r;

        assert(b);
        assert(b->buf);
        assert(seal);
        assert(ret);

        codec = seal->codec;
        size = b->size;
        if (!codec_is_known(codec) || !codec_level_is_valid(codec, seal->level))
                return -EINVAL;

        if (codec != CODEC_NONE) {
                records_size = size - BATCH_HEADER_BYTES;
                r = codec_compress(seal->context,
                                   codec,
                                   seal->level,
                                   b->buf->data + BATCH_HEADER_BYTES,
                                   records_size,
                                   BATCH_HEADER_BYTES,
                                   &compressed,
                                   &compressed_size);
                if (r < 0)
                        return r;

                if (compressed_size <= records_size)
                        size = BATCH_HEADER_BYTES + compressed_size;
                else {
                        codec = CODEC_NONE;
                        compressed = buf_unref(compressed);
                }
        }

        if (!compressed)
                compressed = TAKE_PTR(b->buf);
        header_write(b, seal, codec, compressed->data, size);

        b->expected_bytes = MAX(b->size, BUILDER_FIRST_BYTES);
        builder_clear(b);

        *ret = (struct slice){ .data = compressed->data, .size = size };
        ret->buf = TAKE_PTR(compressed);
        return 0;
}
