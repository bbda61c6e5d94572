/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Whatever stands in an index file, a search ends, and the points that it gives lie inside the
 * segment and ascend.
 *
 * The first byte of the input says what is made right, so that checksums do not keep the fuzzer
 * out: 1 the checksums and whose segment's it is; 2 also the number of points, and so many are
 * added that the file is not loaded whole. Then what is searched for: a partition (8 bytes) and a
 * key (8 bytes); then the file.
 */

#include "base/bytes.h"
#include "base/crc32c.h"
#include "log/index.h"
#include "log/segment.h"
#include "tests/fuzz/memory-file.h"

#define SELECTOR_BYTES 17u
#define FIX_CHECKSUMS 1u
#define FIX_LARGE 2u
#define FILE_BYTES_MAX (4u << 20)
#define POINTS_MAX 40u
#define END_POS (UINT64_C(1) << 30)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void fix(uint8_t *p, size_t n, size_t n_added, const struct segment *s) {
        if (n < INDEX_HEADER_BYTES)
                return;
        memcpy(p + 4, "DRIX", 4);
        le32_store(p + 8, LOG_FORMAT_VERSION);
        le64_store(p + 16, s->header.shard);
        le64_store(p + 24, s->header.first_index);
        le64_store(p + 32, s->header.generation);
        le32_store(p + 40, s->header.salt);
        le64_store(p + 56, s->end_pos);
        if (n_added > 0) {
                uint64_t n_points = le64_load(p + 48);

                for (size_t i = 0; i < n_added; i++) {
                        uint8_t *point = p + n - (n_added - i) * INDEX_POINT_BYTES;

                        le64_store(point, 1000 + i);
                        le64_store(point + 8, 2000 + i / 3);
                        le64_store(point + 16, SEGMENT_HEADER_BYTES + i * INDEX_DISTANCE_BYTES);
                }
                le64_store(p + 48, n_points + n_added);
        }
        le32_store(p + 12, crc32c(0, p + INDEX_HEADER_BYTES, n - INDEX_HEADER_BYTES));
        le32_store(p, crc32c(0, p + 4, INDEX_HEADER_BYTES - 4));
}

static void search(struct index_file *f,
                   uint64_t partition_id,
                   enum index_key what,
                   uint64_t key,
                   size_t n_max) {
        struct index_point points[POINTS_MAX], first;
        bool more;
        int n;

        n = index_file_points(f, partition_id, what, key, n_max, points, &first, &more);
        assert(n == -EBADMSG || (n >= 0 && (size_t) n <= n_max));
        for (int i = 0; i < n; i++) {
                assert(points[i].pos >= SEGMENT_HEADER_BYTES && points[i].pos < END_POS);
                assert(i == 0 || (points[i].pos >= points[i - 1].pos + INDEX_DISTANCE_BYTES &&
                                  points[i].offset > points[i - 1].offset));
        }
}

static void
look(struct io *io, const struct segment *s, bool whole, uint64_t partition_id, uint64_t key) {
        _cleanup_(index_file_closep) struct index_file *f = NULL;
        int r;

        r = index_file_open(io, s, whole, &f);
        assert(r == 0 || r == -EBADMSG);
        if (r < 0)
                return;

        assert(!whole || index_file_is_verified(f));
        search(f, partition_id, INDEX_KEY_OFFSET, key, POINTS_MAX);
        search(f, partition_id, INDEX_KEY_OFFSET, key, 1);
        search(f, partition_id, INDEX_KEY_TIME, key, POINTS_MAX);
        search(f, partition_id + 1, INDEX_KEY_OFFSET, UINT64_MAX, 3);
        search(f, 0, INDEX_KEY_OFFSET, 0, POINTS_MAX);
        search(f, UINT64_MAX, INDEX_KEY_TIME, 0, POINTS_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        char path[] = "./00000000000000000001.log";
        const struct segment s = {
                .path = path,
                .header = { .shard = 1, .first_index = 1, .generation = 1, .salt = 7 },
                .is_closed = true,
                .end_pos = END_POS,
        };
        _cleanup_(mem_freep) uint8_t *bytes = NULL;
        struct memory_io m;
        size_t n_added = 0, n_file;

        if (n < SELECTOR_BYTES || n > FILE_BYTES_MAX)
                return 0;
        n_file = n - SELECTOR_BYTES;
        if (data[0] & FIX_LARGE && n_file >= INDEX_HEADER_BYTES)
                n_added = INDEX_LOADED_BYTES_MAX / INDEX_POINT_BYTES + 1;
        bytes = mem_alloc(n_file + n_added * INDEX_POINT_BYTES + 1);
        if (!bytes)
                return 0;
        memcpy(bytes, data + SELECTOR_BYTES, n_file);
        n_file += n_added * INDEX_POINT_BYTES;
        if (data[0] & (FIX_CHECKSUMS | FIX_LARGE))
                fix(bytes, n_file, n_added, &s);

        m = memory_io("00000000000000000001.idx", bytes, n_file);
        look(&m.io, &s, /* whole= */ false, le64_load(data + 1), le64_load(data + 9));
        look(&m.io, &s, /* whole= */ true, le64_load(data + 1), le64_load(data + 9));
        return 0;
}
