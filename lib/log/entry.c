/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries as bytes (the table is in log/format.h) and back.
 *
 *  I1  entry_encode() writes exactly entry_size() bytes, whatever lay there before.
 *  I2  entry_decode() touches no byte behind the @n it was given, and gives out nothing before the
 *      checksum is right.
 *  I3  Every byte of an entry is covered by its checksum or by a batch's own; padding by neither.
 */
#include "log/entry.h"

#include "base/alloc.h"
#include "base/crc32c.h"
#include "batch/batch.h"

#define ENTRY_ALIGN 8u

/* The offsets of format.h, named by how far they are used here. */
static_assert(ENTRY_HEADER_BYTES % ENTRY_ALIGN == 0, "slice headers begin on a boundary");
static_assert(SLICE_HEADER_BYTES % ENTRY_ALIGN == 0, "slice headers stay on a boundary");

/* What the checksum covers: the header behind it and the slice headers or the body, then the
 * batches' first bytes. */
static uint32_t entry_checksum(const uint8_t *p,
                               uint32_t salt,
                               size_t n_front,
                               const uint8_t *slice_headers,
                               unsigned n_slices) {
        uint32_t crc = crc32c(salt, p + 4, n_front - 4);
        const uint8_t *batch = p + n_front;

        for (unsigned i = 0; i < n_slices; i++) {
                crc = crc32c(crc, batch, BATCH_CHECKED_FROM);
                batch += le32_load(slice_headers + (size_t) i * SLICE_HEADER_BYTES + 32);
        }

        return crc;
}

int entry_size(const struct entry *e, size_t *ret_bytes) {
        size_t n = ENTRY_HEADER_BYTES;

        assert(e);
        assert(ret_bytes);
        assert(e->kind > 0 && e->kind < _ENTRY_KIND_MAX);
        assert((e->kind == ENTRY_PRODUCE) == (e->n_slices > 0));

        if (e->n_slices > ENTRY_SLICES_MAX)
                return -EMSGSIZE;

        n += (size_t) e->n_slices * SLICE_HEADER_BYTES;
        for (unsigned i = 0; i < e->n_slices; i++) {
                assert(e->slices[i].batch_bytes >= BATCH_HEADER_BYTES);
                n += e->slices[i].batch_bytes; /* cannot overflow: 65535 times 4 GiB */
        }
        if (e->n_slices == 0)
                n += e->body_bytes;
        if (n > ENTRY_BYTES_MAX)
                return -EMSGSIZE;

        *ret_bytes = ALIGN_TO(n, ENTRY_ALIGN);
        return 0;
}

void entry_encode(const struct entry *e, uint32_t salt, uint8_t *p) {
        uint8_t *const slice_headers = p + ENTRY_HEADER_BYTES;
        size_t n_front, n, n_padded;
        uint8_t *q;
        int r;

        r = entry_size(e, &n_padded);
        assert(r >= 0);

        memset(p, 0, ENTRY_HEADER_BYTES);
        le64_store(p + 8, e->index);
        le64_store(p + 16, e->term);
        le64_store(p + 24, (uint64_t) e->append_time_ms);
        p[32] = (uint8_t) e->kind;
        le16_store(p + 34, (uint16_t) e->n_slices);

        if (e->n_slices > 0) {
                n_front = ENTRY_HEADER_BYTES + (size_t) e->n_slices * SLICE_HEADER_BYTES;
                q = p + n_front;
                for (unsigned i = 0; i < e->n_slices; i++) {
                        const struct entry_slice *s = e->slices + i;
                        uint8_t *h = slice_headers + (size_t) i * SLICE_HEADER_BYTES;

                        le64_store(h, s->partition_id);
                        le64_store(h + 8, s->base_offset);
                        le64_store(h + 16, (uint64_t) s->not_before_ms);
                        le64_store(h + 24, (uint64_t) s->expires_at_ms);
                        le32_store(h + 32, s->batch_bytes);
                        h[36] = s->priority;
                        memset(h + 37, 0, 3);

                        memcpy(q, s->batch, s->batch_bytes);
                        batch_assign(q, (int64_t) s->base_offset, (int32_t) (e->term & INT32_MAX));
                        q += s->batch_bytes;
                }
        } else {
                n_front = ENTRY_HEADER_BYTES + e->body_bytes;
                q = p + n_front;
                if (e->body_bytes > 0)
                        memcpy(p + ENTRY_HEADER_BYTES, e->body, e->body_bytes);
        }

        n = (size_t) (q - p);
        memset(q, 0, n_padded - n);
        le32_store(p + 4, (uint32_t) n);
        le32_store(p, entry_checksum(p, salt, n_front, slice_headers, e->n_slices)); /* I3 */
}

static int verify_batch(const struct entry_slice *s) {
        struct batch_view view;
        int r;

        r = batch_view_init(s->batch, s->batch_bytes, &view);
        if (r < 0)
                return r;
        if (r > 0 || (uint64_t) view.base_offset != s->base_offset)
                return -EBADMSG;

        return batch_verify(&view);
}

int entry_decode(const uint8_t *p,
                 size_t n,
                 uint32_t salt,
                 enum entry_verify verify,
                 struct entry_slice *slices,
                 unsigned n_slices_max,
                 struct entry *ret,
                 size_t *ret_bytes) {
        const uint8_t *const slice_headers = p + ENTRY_HEADER_BYTES;
        size_t length, n_front;
        unsigned n_slices, kind;
        int r;

        assert(p);
        assert(ret);
        assert(ret_bytes);

        if (n < ENTRY_HEADER_BYTES)
                return -EMSGSIZE;

        length = le32_load(p + 4);
        kind = p[32];
        n_slices = le16_load(p + 34);
        if (length < ENTRY_HEADER_BYTES || length > ENTRY_BYTES_MAX)
                return -EBADMSG;
        if (kind == 0 || kind >= _ENTRY_KIND_MAX || (kind == ENTRY_PRODUCE) != (n_slices > 0))
                return -EBADMSG;
        if (ALIGN_TO(length, ENTRY_ALIGN) > n)
                return -EMSGSIZE; /* I2 */

        n_front = length;
        if (n_slices > 0) {
                size_t n_batches = 0;

                n_front = ENTRY_HEADER_BYTES + (size_t) n_slices * SLICE_HEADER_BYTES;
                if (n_front > length)
                        return -EBADMSG;

                for (unsigned i = 0; i < n_slices; i++) {
                        size_t k = le32_load(slice_headers + (size_t) i * SLICE_HEADER_BYTES + 32);

                        if (k < BATCH_HEADER_BYTES || k > length - n_front - n_batches)
                                return -EBADMSG;
                        n_batches += k;
                }
                if (n_batches != length - n_front)
                        return -EBADMSG;
                if (n_slices > n_slices_max)
                        return -ENOBUFS;
        }

        if (entry_checksum(p, salt, n_front, slice_headers, n_slices) != le32_load(p))
                return -EBADMSG;
        if (p[33] != 0 || le32_load(p + 36) != 0)
                return -EBADMSG;

        for (unsigned i = 0, pos = (unsigned) n_front; i < n_slices; i++) {
                const uint8_t *h = slice_headers + (size_t) i * SLICE_HEADER_BYTES;

                slices[i] = (struct entry_slice){
                        .partition_id = le64_load(h),
                        .base_offset = le64_load(h + 8),
                        .not_before_ms = (int64_t) le64_load(h + 16),
                        .expires_at_ms = (int64_t) le64_load(h + 24),
                        .batch_bytes = le32_load(h + 32),
                        .priority = h[36],
                        .batch = p + pos,
                };
                pos += slices[i].batch_bytes;

                if (verify == ENTRY_VERIFY_BATCHES) {
                        r = verify_batch(slices + i);
                        if (r < 0)
                                return r;
                }
        }

        *ret = (struct entry){
                .index = le64_load(p + 8),
                .term = le64_load(p + 16),
                .append_time_ms = (int64_t) le64_load(p + 24),
                .kind = (enum entry_kind) kind,
                .n_slices = n_slices,
                .slices = n_slices > 0 ? slices : NULL,
                .body = n_slices > 0 ? NULL : p + ENTRY_HEADER_BYTES,
                .body_bytes = n_slices > 0 ? 0 : (uint32_t) (length - ENTRY_HEADER_BYTES),
        };
        *ret_bytes = ALIGN_TO(length, ENTRY_ALIGN);
        return 0;
}

void entry_room_done(struct entry_room *room) {
        room->slices = mem_free(room->slices);
        room->n_allocated = 0;
}

int entry_decode_into(const uint8_t *p,
                      size_t n,
                      uint32_t salt,
                      enum entry_verify verify,
                      struct entry_room *room,
                      struct entry *ret,
                      size_t *ret_bytes) {
        int r;

        r = entry_decode(
                p, n, salt, verify, room->slices, (unsigned) room->n_allocated, ret, ret_bytes);
        if (r != -ENOBUFS)
                return r;

        if (!grow(room->slices, room->n_allocated, le16_load(p + 34)))
                return -ENOMEM;
        return entry_decode(
                p, n, salt, verify, room->slices, (unsigned) room->n_allocated, ret, ret_bytes);
}
