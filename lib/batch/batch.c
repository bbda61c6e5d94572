/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Reads record batches: header, checks, records. Writes nothing but the 21 bytes that are the
 * leader's.
 *
 *  I1  No byte is read before a comparison with what is left has allowed it.
 *  I2  An iterator's p never moves past end; a record's fields lie inside the record's own length.
 *  I3  An iterator that has found a lie gives no more records.
 */

#include "batch/batch.h"

#include "base/crc32c.h"

int batch_view_init(const void *p, size_t n, struct batch_view *ret) {
        const struct batch_header *h = p;
        struct batch_view v;
        uint32_t length;

        assert(p || n == 0);
        assert(ret);

        if (n < BATCH_HEADER_BYTES)
                return -EBADMSG;

        /* The magic first: another format's length may mean something else. */
        if (h->magic != BATCH_MAGIC)
                return -EBADMSG;

        length = be32_get(h->length);
        if (length < BATCH_HEADER_BYTES - BATCH_LENGTH_FROM || length > n - BATCH_LENGTH_FROM ||
            length > BATCH_BYTES_MAX - BATCH_LENGTH_FROM)
                return -EBADMSG;

        v = (struct batch_view){
                .data = p,
                .size = (size_t) length + BATCH_LENGTH_FROM,
                .base_offset = (int64_t) be64_get(h->base_offset),
                .leader_epoch = (int32_t) be32_get(h->leader_epoch),
                .crc = be32_get(h->crc),
                .attributes = be16_get(h->attributes),
                .last_offset_delta = (int32_t) be32_get(h->last_offset_delta),
                .base_timestamp_ms = (int64_t) be64_get(h->base_timestamp_ms),
                .max_timestamp_ms = (int64_t) be64_get(h->max_timestamp_ms),
                .producer_id = (int64_t) be64_get(h->producer_id),
                .producer_epoch = (int16_t) be16_get(h->producer_epoch),
                .base_sequence = (int32_t) be32_get(h->base_sequence),
                .n_records = (int32_t) be32_get(h->n_records),
        };

        /* So that the accessors need no checks of their own. */
        if (v.base_offset < 0 || v.last_offset_delta < 0 ||
            v.base_offset > INT64_MAX - 1 - v.last_offset_delta)
                return -EBADMSG;

        *ret = v;
        return v.size < n;
}

int batch_verify(const struct batch_view *v) {
        size_t records_size;

        assert(v);

        if (crc32c(0, v->data + BATCH_CHECKED_FROM, v->size - BATCH_CHECKED_FROM) != v->crc)
                return -EBADMSG;

        if (v->n_records < 0 || v->last_offset_delta < v->n_records - 1)
                return -EBADMSG;

        records_size = v->size - BATCH_HEADER_BYTES;
        if ((v->n_records == 0) != (records_size == 0))
                return -EBADMSG;
        if (batch_codec(v) == CODEC_NONE && (size_t) v->n_records > records_size / RECORD_BYTES_MIN)
                return -EBADMSG;

        return 0;
}

int batch_verify_produced(const struct batch_view *v, unsigned flags) {
        uint16_t allowed = BATCH_CODEC_MASK;
        int r;

        r = batch_verify(v);
        if (r < 0)
                return r;

        if (flags & BATCH_ALLOW_TRANSACTIONAL)
                allowed |= BATCH_TRANSACTIONAL;
        if (v->attributes & ~allowed)
                return -EPROTO;
        if (!codec_is_known(batch_codec(v)))
                return -EOPNOTSUPP;

        if (v->base_offset != 0 || v->n_records == 0 || v->last_offset_delta != v->n_records - 1)
                return -EPROTO;
        if (v->max_timestamp_ms < v->base_timestamp_ms)
                return -EPROTO;

        if (v->producer_id == -1) {
                if (v->producer_epoch != -1 || v->base_sequence != -1 || batch_is_transactional(v))
                        return -EPROTO;
        } else if (v->producer_id < 0 || v->producer_epoch < 0 || v->base_sequence < 0)
                return -EPROTO;

        return 0;
}

void batch_assign(void *p, int64_t base_offset, int32_t leader_epoch) {
        struct batch_header *h = p;

        assert(h);
        assert(base_offset >= 0);
        assert(leader_epoch >= 0);

        h->base_offset = be64_of((uint64_t) base_offset);
        h->leader_epoch = be32_of((uint32_t) leader_epoch);
}

/* Moves *p behind a varint. false, and nothing moved, where the bytes end or it has more than so
 * many bits. */
static inline bool
varint_read(const uint8_t **p, const uint8_t *end, unsigned bits, uint64_t *ret) {
        const uint8_t *q = *p;
        uint64_t x;

        if (q == end)
                return false;

        x = *q++;
        if (x >= 0x80) {
                x &= 0x7f;
                for (unsigned shift = 7;; shift += 7) {
                        uint8_t b;

                        if (q == end || shift >= bits)
                                return false;
                        b = *q++;
                        if (shift + 7 > bits && b >> (bits - shift))
                                return false; /* more bits than there are */
                        x |= (uint64_t) (b & 0x7f) << shift;
                        if (b < 0x80)
                                break;
                }
        }

        *p = q;
        *ret = (x >> 1) ^ -(x & 1);
        return true;
}

static inline bool varint_decode(const uint8_t **p, const uint8_t *end, int32_t *ret) {
        uint64_t x;

        if (!varint_read(p, end, 32, &x))
                return false;
        *ret = (int32_t) x;
        return true;
}

static inline bool varlong_decode(const uint8_t **p, const uint8_t *end, int64_t *ret) {
        uint64_t x;

        if (!varint_read(p, end, 64, &x))
                return false;
        *ret = (int64_t) x;
        return true;
}

/* A length, -1 for none, and that many bytes. */
static inline bool
bytes_decode(const uint8_t **p, const uint8_t *end, const uint8_t **ret, size_t *ret_n) {
        int32_t n;

        if (!varint_decode(p, end, &n) || n < -1 || n > end - *p)
                return false;

        if (n < 0) {
                *ret = NULL;
                *ret_n = 0;
                return true;
        }

        *ret = *p;
        *ret_n = (size_t) n;
        *p += n;
        return true;
}

static bool header_decode(const uint8_t **p, const uint8_t *end, struct record_header *ret) {
        return bytes_decode(p, end, &ret->key, &ret->key_size) && ret->key &&
               bytes_decode(p, end, &ret->value, &ret->value_size);
}

/* Whether n headers fill the bytes exactly. */
static bool headers_are_valid(const uint8_t *p, const uint8_t *end, uint32_t n) {
        struct record_header h;

        for (uint32_t i = 0; i < n; i++)
                if (!header_decode(&p, end, &h))
                        return false;
        return p == end;
}

int batch_iterator_init(struct batch_iterator *it,
                        const struct batch_view *v,
                        struct codec_context *context,
                        size_t max_bytes) {
        struct batch_iterator i;
        int r;

        assert(it);
        assert(v);

        i = (struct batch_iterator){
                .p = v->data + BATCH_HEADER_BYTES,
                .end = v->data + v->size,
                .base_offset = v->base_offset,
                .base_timestamp_ms = v->base_timestamp_ms,
                .append_timestamp_ms = v->max_timestamp_ms,
                .last_offset_delta = v->last_offset_delta,
                .offset_delta = -1,
                .n_left = v->n_records,
                .has_append_time = v->attributes & BATCH_APPEND_TIME,
        };

        if (batch_codec(v) != CODEC_NONE && v->n_records > 0) {
                r = codec_decompress(context,
                                     batch_codec(v),
                                     i.p,
                                     (size_t) (i.end - i.p),
                                     max_bytes,
                                     &i.decompressed);
                if (r < 0)
                        return r;

                i.p = i.decompressed.data;
                i.end = i.p + i.decompressed.size;
        }

        *it = i;
        return 0;
}

void batch_iterator_done(struct batch_iterator *it) {
        if (!it)
                return;

        slice_done(&it->decompressed);
        *it = (struct batch_iterator){};
}

static bool record_decode(struct batch_iterator *it, struct record *ret) {
        const uint8_t *p = it->p, *end;
        int32_t length, offset_delta, n_headers;
        int64_t timestamp_delta;

        if (!varint_decode(&p, it->end, &length) || length < 0 || length > it->end - p)
                return false;
        end = p + length;

        if (p == end)
                return false;
        p++; /* attributes: none has a meaning */

        if (!varlong_decode(&p, end, &timestamp_delta) || !varint_decode(&p, end, &offset_delta) ||
            !bytes_decode(&p, end, &ret->key, &ret->key_size) ||
            !bytes_decode(&p, end, &ret->value, &ret->value_size) ||
            !varint_decode(&p, end, &n_headers))
                return false;

        if (offset_delta <= it->offset_delta || offset_delta > it->last_offset_delta)
                return false;
        if (__builtin_add_overflow(it->base_timestamp_ms, timestamp_delta, &ret->timestamp_ms))
                return false;
        if (n_headers < 0 || !headers_are_valid(p, end, (uint32_t) n_headers))
                return false;

        if (it->has_append_time)
                ret->timestamp_ms = it->append_timestamp_ms;
        ret->offset = it->base_offset + offset_delta;
        ret->n_headers = (uint32_t) n_headers;
        ret->headers = p;
        ret->headers_size = (size_t) (end - p);

        it->offset_delta = offset_delta;
        it->p = end; /* I2 */
        return true;
}

int batch_iterator_next(struct batch_iterator *it, struct record *ret) {
        struct record record;

        assert(it);
        assert(ret);

        if (it->failed) /* I3 */
                return -EBADMSG;

        if (it->n_left > 0 && record_decode(it, &record)) {
                it->n_left--;
                *ret = record;
                return 1;
        }

        if (it->n_left == 0 && it->p == it->end)
                return 0;

        it->failed = true;
        return -EBADMSG;
}

void header_iterator_init(struct header_iterator *it, const struct record *record) {
        assert(it);
        assert(record);

        *it = (struct header_iterator){
                .p = record->headers,
                .end = record->headers + record->headers_size,
                .n_left = record->n_headers,
        };
}

bool header_iterator_next(struct header_iterator *it, struct record_header *ret) {
        bool valid;

        assert(it);
        assert(ret);

        if (it->n_left == 0)
                return false;

        it->n_left--;
        valid = header_decode(&it->p, it->end, ret);
        assert(valid); /* record_decode() has been here */
        return true;
}
