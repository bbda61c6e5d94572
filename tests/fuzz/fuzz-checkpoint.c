/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Whatever stands in a checkpoint file, loading it ends, and what is given is what stands there.
 *
 * The first byte of the input says what is made right, so that checksums do not keep the fuzzer
 * out: 1 the header's checksum, 2 the body's and its length, before that. Then the file.
 */

#include "base/bytes.h"
#include "base/crc32c.h"
#include "log/checkpoint.h"
#include "log/format.h"
#include "tests/fuzz/memory-file.h"

#define FIX_HEADER 1u
#define FIX_BODY 2u
#define SHARD 1u
#define INDEX 5u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void fix(uint8_t *p, size_t n, uint8_t what) {
        if (n < CHECKPOINT_HEADER_BYTES)
                return;
        if (what & FIX_BODY) {
                le32_store(p + 12,
                           crc32c(0, p + CHECKPOINT_HEADER_BYTES, n - CHECKPOINT_HEADER_BYTES));
                le64_store(p + 48, n - CHECKPOINT_HEADER_BYTES);
        }
        if (what & FIX_HEADER)
                le32_store(p, crc32c(0, p + 4, CHECKPOINT_HEADER_BYTES - 4));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        _cleanup_(mem_freep) uint8_t *bytes = NULL;
        struct checkpoint c = {};
        struct memory_io m;
        unsigned n_bad = 0;
        uint64_t newest = 99;
        int r, q;

        if (n < 1)
                return 0;
        bytes = mem_dup(data, n);
        if (!bytes)
                return 0;
        fix(bytes + 1, n - 1, data[0]);
        m = memory_io("checkpoint-00000000000000000005", bytes + 1, n - 1);

        r = checkpoint_load(&m.io, ".", SHARD, &c, &n_bad);
        q = checkpoint_newest(&m.io, ".", SHARD, &newest);
        assert(r == 0 || r == 1 || r == -EPROTONOSUPPORT);
        assert((r == -EPROTONOSUPPORT) == (q == -EPROTONOSUPPORT));
        if (r < 0)
                return 0;

        assert(n_bad == (r == 0));
        assert(q == 0);
        assert(newest == 0 || newest == INDEX);
        if (r > 0) {
                assert(newest == INDEX);
                assert(c.index == INDEX);
                assert(c.body_bytes == n - 1 - CHECKPOINT_HEADER_BYTES);
                assert(memcmp(c.body, bytes + 1 + CHECKPOINT_HEADER_BYTES, c.body_bytes) == 0);
        }
        checkpoint_done(&c);
        return 0;
}
