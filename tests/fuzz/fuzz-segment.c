/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The decoders of what stands in a segment file, over any bytes: header block, group headers,
 * footers, entries and the indices and batches in them. What passes lies inside, and written again
 * it is the same. What a start makes of such a file is fuzz-recovery.c.
 *
 * The first byte of the input: 1 the checksums of header block, group headers and footers are made
 * right, so that they do not keep the fuzzer out. The rest is the file.
 */

#include "base/alloc.h"
#include "base/crc32c.h"
#include "log/entry.h"
#include "log/segment.h"

#define FIX_CHECKSUMS 1u
#define SALT UINT32_C(0xc0ffee)
#define FILE_BYTES_MAX (256u * 1024u)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void fix(uint8_t *p, size_t n) {
        if (n < SEGMENT_HEADER_BYTES)
                return;

        memcpy(p + 4, "DRSG", 4);
        le32_store(p + 40, SALT);
        le32_store(p, crc32c(0, p + 4, SEGMENT_HEADER_BYTES - 4));
        for (size_t pos = SEGMENT_HEADER_BYTES; pos + LOG_SECTOR_BYTES <= n;
             pos += LOG_SECTOR_BYTES) {
                uint8_t *q = p + pos;

                if (memcmp(q + 4, "DRGW", 4) == 0)
                        le32_store(q, crc32c(SALT, q + 4, GROUP_HEADER_BYTES - 4));
                else if (memcmp(q + 4, "DRSF", 4) == 0)
                        le32_store(q, crc32c(SALT, q + 4, SEGMENT_FOOTER_BYTES - 4));
        }
}

static void walk_entries(const uint8_t *p, size_t n, uint32_t salt, struct entry_room *room) {
        size_t pos = GROUP_HEADER_BYTES, n_entry;
        struct entry e;
        int r;

        while (pos < n) {
                r = entry_decode_into(
                        p + pos, n - pos, salt, ENTRY_VERIFY_BATCHES, room, &e, &n_entry);
                assert(r == 0 || r == -EBADMSG || r == -EMSGSIZE);
                if (r < 0)
                        return;
                assert(n_entry > 0 && n_entry % 8 == 0 && n_entry <= n - pos);
                pos += n_entry;
        }
}

static void look_at_sector(const uint8_t *p, size_t n, uint32_t salt, struct entry_room *room) {
        uint8_t again[SEGMENT_FOOTER_BYTES];
        struct segment_footer footer;
        struct group_header group;
        size_t n_group;

        if (group_header_decode(p, salt, &group) == 0) {
                group_header_encode(&group, salt, again);
                assert(memcmp(again, p, GROUP_HEADER_BYTES) == 0);
                assert(group.length_bytes <= GROUP_BYTES_MAX);
                assert(group.n_zero_sectors <
                       group_padded_bytes(group.length_bytes) / LOG_SECTOR_BYTES);
                n_group = MIN(n, group.length_bytes);
                walk_entries(p, n_group, salt, room);
                (void) count_zero_sectors(p, n_group - n_group % LOG_SECTOR_BYTES);
        }
        if (segment_footer_decode(p, salt, &footer) == 0)
                assert(footer.commit_index <= footer.last_index &&
                       footer.pos >= SEGMENT_HEADER_BYTES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        _cleanup_(mem_freep) uint8_t *p = NULL;
        struct segment_header header = {};
        struct entry_room room = {};

        if (n < 1 + SEGMENT_HEADER_BYTES || n > FILE_BYTES_MAX)
                return 0;

        n--;
        p = mem_dup(data + 1, n);
        if (!p)
                return 0;
        if (data[0] & FIX_CHECKSUMS)
                fix(p, n);

        if (segment_header_decode(p, &header) == 0)
                assert(header.salt != 0 && header.first_index > 0);
        for (size_t pos = SEGMENT_HEADER_BYTES; pos + LOG_SECTOR_BYTES <= n;
             pos += LOG_SECTOR_BYTES)
                look_at_sector(p + pos, n - pos, SALT, &room);
        entry_room_done(&room);
        return 0;
}
