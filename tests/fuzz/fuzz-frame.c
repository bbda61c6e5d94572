/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A peer's bytes into the frame reader. The first byte says in which pieces they arrive; with its
 * lowest bit set, the checksum of the first frame is put right, so that the fuzzer gets past it.
 */

#include <stdlib.h>

#include "base/crc32c.h"
#include "proto/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void repair(uint8_t *p, size_t n) {
        uint32_t header, table;

        if (n < FRAME_PRELUDE_BYTES)
                return;
        header = le32_load(p + 4);
        table = le32_load(p + 8);
        if (header > n || table > n || FRAME_PRELUDE_BYTES + header + table > n)
                return;
        le32_store(p + 28, crc32c(crc32c(0, p, 28), p + FRAME_PRELUDE_BYTES, header + table));
}

static uint32_t frame_crc(const struct frame *f) {
        uint32_t crc = crc32c(0, f->header.data, f->header.size);

        crc = crc32c(crc, f->table.data, f->table.size);
        return crc32c(crc, f->body.data, f->body.size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        struct frame_reader r;
        struct frame kept = { 0 }, f;
        uint32_t kept_crc = frame_crc(&kept);
        uint8_t *copy;
        size_t at = 0, piece;
        int k = 0;

        if (n < 1)
                return 0;
        piece = (size_t) (data[0] >> 1) + 1;
        n--;
        copy = malloc(n + 1);
        if (!copy)
                return 0;
        memcpy(copy, data + 1, n);
        if (data[0] & 1)
                repair(copy, n);

        frame_reader_init(&r, /* max_bytes= */ 65536, /* chunk_bytes= */ 512);
        while (at < n && k >= 0) {
                uint8_t *to;
                size_t room;

                if (frame_reader_space(&r, &to, &room) < 0)
                        break;
                assert(room > 0);
                room = MIN(MIN(room, piece), n - at);
                memcpy(to, copy + at, room);
                frame_reader_commit(&r, room);
                at += room;

                while ((k = frame_reader_next(&r, &f)) > 0) {
                        assert(f.header.size + f.table.size + f.body.size + FRAME_PRELUDE_BYTES <=
                               65536);
                        frame_done(&kept);
                        kept = f;
                        kept_crc = frame_crc(&kept);
                }
        }
        /* What was handed out is not written to any more. */
        assert(frame_crc(&kept) == kept_crc);
        frame_done(&kept);
        frame_reader_done(&r);
        free(copy);
        return 0;
}
