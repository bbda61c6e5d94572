/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Whatever stands in the only segment file of a shard: a start ends, what it finds it finds again
 * (so what it cut is cut for good), and a truncation to the middle of that does what it says or
 * refuses.
 *
 * The first byte of the input: 1 the checksums of header block, group headers and footers are made
 * right, so that they do not keep the fuzzer out; 2 the lengths of group headers are left as they
 * are, else they are made to fit. The rest is the file.
 */

#include <stdlib.h>

#include "base/alloc.h"
#include "base/crc32c.h"
#include "log/recovery.h"
#include "log/segment.h"
#include "tests/sim/disk.h"

#define FIX_CHECKSUMS 1u
#define KEEP_LENGTHS 2u
#define SALT UINT32_C(0xc0ffee)
#define SHARD 1u
#define DIR "shard-1"
#define FILE_NAME DIR "/00000000000000000001.log"
#define FILE_BYTES_MAX (256u * 1024u)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void fix(uint8_t *p, size_t n, bool keep_lengths) {
        if (n < SEGMENT_HEADER_BYTES)
                return;

        memcpy(p + 4, "DRSG", 4);
        le32_store(p + 8, LOG_FORMAT_VERSION);
        le64_store(p + 16, SHARD);
        le64_store(p + 24, 1);
        le32_store(p + 40, SALT);
        le32_store(p, crc32c(0, p + 4, SEGMENT_HEADER_BYTES - 4));

        for (size_t pos = SEGMENT_HEADER_BYTES; pos + LOG_SECTOR_BYTES <= n;
             pos += LOG_SECTOR_BYTES) {
                uint8_t *q = p + pos;

                if (memcmp(q + 4, "DRGW", 4) == 0) {
                        if (!keep_lengths)
                                le32_store(q + 32, (uint32_t) (le32_load(q + 32) % (n - pos + 1)));
                        le32_store(q, crc32c(SALT, q + 4, GROUP_HEADER_BYTES - 4));
                } else if (memcmp(q + 4, "DRSF", 4) == 0) {
                        le32_store(q, crc32c(SALT, q + 4, SEGMENT_FOOTER_BYTES - 4));
                }
        }
}

static void put_file(struct io *io, const uint8_t *p, size_t n) {
        _cleanup_(io_file_unrefp) struct io_file *file = NULL;
        int r;

        r = io_mkdir(io, DIR);
        assert(r >= 0);
        r = io_open(io, FILE_NAME, IO_OPEN_WRITE | IO_OPEN_CREATE, &file);
        assert(r >= 0);
        r = io_pwrite(file, p, n, 0);
        assert(r >= 0);
}

static struct recovered *start(struct io *io) {
        struct recovered *found = NULL;
        int r;

        r = recovery_run(io, DIR, SHARD, /* tracer= */ NULL, &found);
        assert(r >= 0 || (r == -EPROTONOSUPPORT && !found));
        if (r < 0)
                return NULL;

        assert(found->report.tail_is_damaged || found->n_segments > 0);
        assert(found->commit_index <= found->last_index);
        for (size_t i = 0; i < found->n_segments; i++) {
                const struct segment *s = found->segments[i];

                assert(s->last_index >= s->header.first_index - 1);
                assert(s->end_pos >= SEGMENT_HEADER_BYTES);
                assert(s->is_closed || i == found->n_segments - 1);
        }
        return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        struct recovered *first, *second;
        struct sim_disk *disk;
        uint8_t *p;
        int r;

        if (n < 2 || n > FILE_BYTES_MAX)
                return 0;

        p = mem_dup(data + 1, n - 1);
        if (!p || sim_disk_new(1, &disk) < 0)
                abort();
        if (data[0] & FIX_CHECKSUMS)
                fix(p, n - 1, data[0] & KEEP_LENGTHS);
        put_file(sim_disk_io(disk), p, n - 1);
        mem_free(p);

        first = start(sim_disk_io(disk));
        if (first) {
                uint64_t last_index = first->last_index;
                bool is_damaged = first->report.n_damaged_regions > 0;
                bool is_closed =
                        first->n_segments > 1; /* then the second start trusts the footer */

                recovered_free(first);
                second = start(sim_disk_io(disk));
                assert(second);
                assert(second->report.cut_index == 0);
                assert(second->last_index == last_index);
                assert(is_closed || (second->report.n_damaged_regions > 0) == is_damaged);
                recovered_free(second);

                r = recovery_truncate(sim_disk_io(disk), DIR, SHARD, last_index / 2, /* term= */ 0);
                if (r >= 0 && !is_damaged) {
                        second = start(sim_disk_io(disk));
                        assert(second && second->last_index == last_index / 2);
                        recovered_free(second);
                }
        }
        sim_disk_free(disk);
        return 0;
}
