/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Whatever stands in a node's own records, "node" and "hardstate": reading them ends, and what is
 * given is in bounds.
 *
 * The first byte of the input: 1 the checksums of both copies are made right. The rest is the file,
 * as either.
 */

#include "base/crc32c.h"
#include "log/datadir.h"
#include "log/format.h"
#include "log/hardstate.h"
#include "tests/fuzz/memory-file.h"

#define FIX_CHECKSUMS 1u
#define COPIES 2u

static_assert(HARDSTATE_COPY_BYTES == NODE_COPY_BYTES, "one input is either");

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        _cleanup_(mem_freep) uint8_t *bytes = NULL;
        struct datadir_info info;
        struct hardstate h;
        struct memory_io m;
        int r;

        if (n < 1)
                return 0;
        bytes = mem_dup(data, n);
        if (!bytes)
                return 0;
        n--;
        for (size_t i = 0; i < COPIES && data[0] & FIX_CHECKSUMS; i++) {
                uint8_t *p = bytes + 1 + i * NODE_COPY_BYTES;

                if ((i + 1) * NODE_COPY_BYTES <= n)
                        le32_store(p, crc32c(0, p + 4, NODE_COPY_BYTES - 4));
        }

        m = memory_io("node", bytes + 1, n);
        r = datadir_read(&m.io, ".", &info);
        assert(r == 0 || r == -EPROTONOSUPPORT || r == -ENOTDIR);
        if (r == 0) {
                assert(info.n_shards <= ELEMENTSOF(info.shards));
                for (size_t i = 1; i < info.n_shards; i++)
                        assert(info.shards[i - 1] < info.shards[i]);
        }

        if (n < HARDSTATE_COPY_BYTES)
                return 0;
        r = hardstate_decode(bytes + 1, &h);
        assert(r == 0 || r == -EBADMSG || r == -EPROTONOSUPPORT);
        if (r == 0)
                assert(h.intent >= INTENT_NONE && h.intent <= INTENT_INSTALL);
        return 0;
}
