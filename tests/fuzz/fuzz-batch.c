/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Whatever stands in the bytes, reading them as a run of batches touches nothing else and ends.
 * Each batch is read as it is, and as if its crc were right, so that damage does not keep the
 * fuzzer out of the records; what passes as a whole batch is built again and must come back the
 * same.
 */

#include "base/alloc.h"
#include "base/crc32c.h"
#include "batch/builder.h"

#define DECOMPRESSED_MAX ((size_t) 1 << 20)
#define BATCH_MAX (DECOMPRESSED_MAX * 4)
#define HEADERS_MAX 64u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static size_t n_touched; /* keeps the reads */

static void touch(const uint8_t *p, size_t n) {
        for (size_t i = 0; i < n; i++)
                n_touched += p[i];
}

/* Appends what was read; false where the builder is not meant for it. */
static bool copy(struct builder *b, const struct record *record) {
        struct record_header headers[HEADERS_MAX];
        struct header_iterator it;
        size_t n = 0;
        int r;

        header_iterator_init(&it, record);
        if (record->n_headers > HEADERS_MAX)
                return false;
        while (header_iterator_next(&it, &headers[n])) {
                touch(headers[n].key, headers[n].key_size);
                touch(headers[n].value, headers[n].value_size);
                n++;
        }
        assert(n == record->n_headers);

        r = builder_append(b,
                           record->key,
                           record->key_size,
                           record->value,
                           record->value_size,
                           headers,
                           n,
                           record->timestamp_ms);
        assert(r == 0 || r == -ERANGE || r == -ENOBUFS);
        return r == 0;
}

/* The batch at hand and the one built of its records hold the same. */
static void compare(const struct batch_view *a, const struct batch_view *b) {
        _cleanup_(batch_iterator_done) struct batch_iterator i = {}, j = {};
        struct record x, y;
        int r, q;

        r = batch_iterator_init(&i, a, NULL, DECOMPRESSED_MAX);
        assert(r == 0);
        r = batch_iterator_init(&j, b, NULL, BATCH_MAX);
        assert(r == 0);

        for (;;) {
                r = batch_iterator_next(&i, &x);
                q = batch_iterator_next(&j, &y);
                assert(r == q);
                if (r == 0)
                        return;

                assert(x.timestamp_ms == y.timestamp_ms);
                assert(!x.key == !y.key && x.key_size == y.key_size);
                assert(x.key_size == 0 || memcmp(x.key, y.key, x.key_size) == 0);
                assert(!x.value == !y.value && x.value_size == y.value_size);
                assert(x.value_size == 0 || memcmp(x.value, y.value, x.value_size) == 0);
                assert(x.n_headers == y.n_headers);
        }
}

static void read_batch(const struct batch_view *v) {
        _cleanup_(batch_iterator_done) struct batch_iterator it = {};
        _cleanup_(builder_done) struct builder b = {};
        _cleanup_(slice_done) struct slice batch = {};
        struct batch_seal seal = SEAL_INIT;
        struct record record;
        struct batch_view built;
        bool whole = true;
        int32_t n = 0;
        int r;

        if (batch_iterator_init(&it, v, NULL, DECOMPRESSED_MAX) < 0)
                return;

        builder_init(&b, BATCH_MAX, BATCH_MAX);
        while ((r = batch_iterator_next(&it, &record)) > 0) {
                assert(record.offset >= v->base_offset && record.offset <= batch_last_offset(v));
                touch(record.key, record.key_size);
                touch(record.value, record.value_size);
                whole = whole && copy(&b, &record);
                n++;
        }
        if (r < 0 || !whole || n == 0)
                return;
        assert(n == v->n_records);

        /* Compressing is slow beside all the rest: one batch in 64. */
        seal.codec = v->crc % 64 == 0 ? (enum codec)(n % _CODEC_MAX) : CODEC_NONE;
        r = builder_seal(&b, &seal, &batch);
        assert(r == 0);
        r = batch_view_init(batch.data, batch.size, &built);
        assert(r == 0);
        r = batch_verify_produced(&built, 0);
        assert(r == 0);
        compare(v, &built);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        while (n > 0) {
                _cleanup_(mem_freep) uint8_t *sealed = NULL;
                struct batch_view v;
                uint32_t crc;

                if (batch_view_init(data, n, &v) < 0)
                        return 0;
                if (batch_verify(&v) == 0)
                        read_batch(&v);

                sealed = mem_dup(v.data, v.size);
                assert(sealed);
                crc = crc32c(0, sealed + BATCH_CHECKED_FROM, v.size - BATCH_CHECKED_FROM);
                be32_store(sealed + offsetof(struct batch_header, crc), crc);
                (void) batch_verify_produced(&v, BATCH_ALLOW_TRANSACTIONAL);

                data += v.size;
                n -= v.size;
                if (batch_view_init(sealed, v.size, &v) == 0 && batch_verify(&v) == 0)
                        read_batch(&v);
        }

        return 0;
}
