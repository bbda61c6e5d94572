/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Whatever bytes stand where an entry is expected: decoding touches none behind them, and what it
 * accepts lies within them and is encoded to the same bytes again.
 *
 * The first byte of the input says whether the checksum is made right (1), so that it does not keep
 * the fuzzer out.
 */

#include "base/alloc.h"
#include "base/crc32c.h"
#include "batch/batch-format.h"
#include "log/entry.h"

#define SALT UINT32_C(0xc0ffee)
#define SLICES_MAX 64u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Where the lengths fit each other, gives the entry at @p the checksum that format.h asks for. */
static void fix(uint8_t *p, size_t n) {
        size_t length, n_front, pos;
        unsigned n_slices;
        uint32_t crc;

        if (n < ENTRY_HEADER_BYTES)
                return;
        length = le32_load(p + 4);
        n_slices = le16_load(p + 34);
        if (length < ENTRY_HEADER_BYTES || length > n)
                return;
        n_front = n_slices == 0 ? length
                                : ENTRY_HEADER_BYTES + (size_t) n_slices * SLICE_HEADER_BYTES;
        if (n_front > length)
                return;

        crc = crc32c(SALT, p + 4, n_front - 4);
        pos = n_front;
        for (unsigned i = 0; i < n_slices; i++) {
                size_t k = le32_load(p + ENTRY_HEADER_BYTES + (size_t) i * SLICE_HEADER_BYTES + 32);

                if (k < BATCH_CHECKED_FROM || k > length - pos)
                        return;
                crc = crc32c(crc, p + pos, BATCH_CHECKED_FROM);
                pos += k;
        }
        le32_store(p, crc);
}

static void decode(const uint8_t *p, size_t n, enum entry_verify verify) {
        struct entry_slice slices[SLICES_MAX];
        uint8_t *again;
        struct entry e;
        size_t n_bytes, n_again;
        int r;

        r = entry_decode(p, n, SALT, verify, slices, SLICES_MAX, &e, &n_bytes);
        assert(r == 0 || r == -EBADMSG || r == -EMSGSIZE || r == -ENOBUFS);
        if (r < 0)
                return;

        assert(n_bytes <= n && n_bytes % 8 == 0);
        assert(e.kind > 0 && e.kind < _ENTRY_KIND_MAX);
        assert(e.n_slices <= SLICES_MAX);
        for (unsigned i = 0; i < e.n_slices; i++) {
                assert(e.slices[i].batch >= p + ENTRY_HEADER_BYTES);
                assert(e.slices[i].batch + e.slices[i].batch_bytes <= p + n_bytes);
        }
        assert(entry_size(&e, &n_again) >= 0 && n_again == n_bytes);

        for (unsigned i = 0; i < e.n_slices; i++) {
                /* The leader's fields are written anew: only where they are the leader's own it is
                 * the same again. */
                if (e.slices[i].base_offset > INT64_MAX ||
                    be64_load(e.slices[i].batch) != e.slices[i].base_offset ||
                    be32_load(e.slices[i].batch + 12) != (uint32_t) (e.term & INT32_MAX) ||
                    p[ENTRY_HEADER_BYTES + i * SLICE_HEADER_BYTES + 37] != 0 ||
                    le16_load(p + ENTRY_HEADER_BYTES + i * SLICE_HEADER_BYTES + 38) != 0)
                        return;
        }
        again = mem_alloc(n_again);
        assert(again);
        entry_encode(&e, SALT, again);
        assert(memcmp(again, p, le32_load(p + 4)) == 0);
        mem_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        uint8_t *p;

        if (n < 1)
                return 0;

        p = mem_dup(data + 1, n - 1);
        if (!p)
                return 0;
        if (data[0] & 1)
                fix(p, n - 1);
        decode(p, n - 1, ENTRY_VERIFY_HEADER);
        decode(p, n - 1, ENTRY_VERIFY_BATCHES);
        mem_free(p);
        return 0;
}
