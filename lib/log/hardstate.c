/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Term, vote and intent in two copies (the table is in log/format.h).
 *
 *  I1  The second copy is touched only when the first is synced: at any moment one of them is
 *      whole.
 *  I2  Nothing that was read counts before it is synced: a kill may have left a copy that is
 *      readable and not on disk.
 */
#include "log/hardstate.h"

#include "base/alloc.h"
#include "base/bug.h"
#include "base/crc32c.h"

#define HARDSTATE_MAGIC UINT32_C(0x53485244) /* "DRHS" */
#define N_COPIES 2u

static void hardstate_encode(const struct hardstate *h, uint8_t p[static HARDSTATE_COPY_BYTES]) {
        memset(p, 0, HARDSTATE_COPY_BYTES);
        le32_store(p + 4, HARDSTATE_MAGIC);
        le32_store(p + 8, LOG_FORMAT_VERSION);
        le64_store(p + 16, h->sequence);
        le64_store(p + 24, h->term);
        le64_store(p + 32, h->vote);
        le64_store(p + 40, h->vote_incarnation);
        le32_store(p + 48, (uint32_t) h->intent);
        le64_store(p + 56, h->intent_index);
        le64_store(p + 64, h->intent_term);
        le32_store(p, crc32c(0, p + 4, HARDSTATE_COPY_BYTES - 4));
}

int hardstate_decode(const uint8_t p[static HARDSTATE_COPY_BYTES], struct hardstate *ret) {
        if (le32_load(p + 4) != HARDSTATE_MAGIC ||
            crc32c(0, p + 4, HARDSTATE_COPY_BYTES - 4) != le32_load(p))
                return -EBADMSG;
        if (le32_load(p + 8) > LOG_FORMAT_VERSION)
                return -EPROTONOSUPPORT;
        if (le32_load(p + 48) > INTENT_INSTALL)
                return -EBADMSG;

        *ret = (struct hardstate){
                .sequence = le64_load(p + 16),
                .term = le64_load(p + 24),
                .vote = le64_load(p + 32),
                .vote_incarnation = le64_load(p + 40),
                .intent = (enum intent_kind) le32_load(p + 48),
                .intent_index = le64_load(p + 56),
                .intent_term = le64_load(p + 64),
        };
        return 0;
}

static int write_copy(struct io_file *file, const uint8_t *block, unsigned copy) {
        int r;

        r = io_pwrite(file, block, HARDSTATE_COPY_BYTES, (uint64_t) copy * HARDSTATE_COPY_BYTES);
        if (r < 0)
                return r;

        return io_fdatasync(file);
}

int hardstate_create(struct io *io, const char *path, const struct hardstate *h) {
        _cleanup_(io_file_unrefp) struct io_file *file = NULL;
        _cleanup_(mem_freep) uint8_t *block = NULL;
        int r;

        block = mem_alloc(HARDSTATE_COPY_BYTES);
        if (!block)
                return -ENOMEM;

        r = io_open(io, path, IO_OPEN_READ | IO_OPEN_WRITE | IO_OPEN_CREATE, &file);
        if (r < 0)
                return r;

        hardstate_encode(h, block);
        for (unsigned i = 0; i < N_COPIES; i++) {
                r = write_copy(file, block, i);
                if (r < 0)
                        return r;
        }

        return 0;
}

int hardstate_open(struct io *io,
                   const char *path,
                   struct io_file **ret_file,
                   struct hardstate *ret) {
        _cleanup_(io_file_unrefp) struct io_file *file = NULL;
        _cleanup_(mem_freep) uint8_t *blocks = NULL;
        struct hardstate h[N_COPIES];
        int state[N_COPIES];
        unsigned newer;
        int r;

        blocks = mem_alloc0(N_COPIES * HARDSTATE_COPY_BYTES);
        if (!blocks)
                return -ENOMEM;

        r = io_open(io, path, IO_OPEN_READ | IO_OPEN_WRITE | IO_OPEN_DIRECT, &file);
        if (r < 0)
                return r == -ENOENT ? -EBADMSG : r;

        r = io_fdatasync(file); /* I2 */
        if (r < 0)
                return r;

        for (unsigned i = 0; i < N_COPIES; i++) {
                uint8_t *block = blocks + (size_t) i * HARDSTATE_COPY_BYTES;
                ssize_t n;

                n = io_pread(file,
                             block,
                             HARDSTATE_COPY_BYTES,
                             (uint64_t) i * HARDSTATE_COPY_BYTES,
                             /* flags= */ 0);
                if (n < 0 && n != -EIO) /* a sector that cannot be read is as good as damaged */
                        return (int) n;

                state[i] = n == HARDSTATE_COPY_BYTES ? hardstate_decode(block, h + i) : -EBADMSG;
                if (state[i] == -EPROTONOSUPPORT)
                        return state[i];
        }
        if (state[0] < 0 && state[1] < 0)
                return -EBADMSG;

        newer = state[0] < 0 || (state[1] >= 0 && h[1].sequence > h[0].sequence);
        r = memcmp(blocks, blocks + HARDSTATE_COPY_BYTES, HARDSTATE_COPY_BYTES);
        if (r != 0) {
                r = write_copy(file, blocks + (size_t) newer * HARDSTATE_COPY_BYTES, !newer);
                if (r < 0)
                        return r;
                r = 1;
        }

        *ret_file = TAKE_PTR(file);
        *ret = h[newer];
        return r;
}

int hardstate_write(struct io_file *file, const struct hardstate *h) {
        _cleanup_(mem_freep) uint8_t *block = NULL;
        int r;

        block = mem_alloc(HARDSTATE_COPY_BYTES);
        if (!block)
                return -ENOMEM;

        hardstate_encode(h, block);
        r = write_copy(file, block, 0);
        if (r < 0 || BUG(ONE_HARDSTATE))
                return r;

        return write_copy(file, block, 1); /* I1 */
}
