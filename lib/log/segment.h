/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One segment file and the coding of what stands in it (log/format.h).
 *
 * A struct segment is shared: the log and every reader hold a reference, so that a file that is replaced or
 * unlinked stays readable to who began before. All that changes in it (end_pos while it is open) is changed on the
 * loop; what jobs need they copy when they are made.
 */

#include "base/macro.h"
#include "io/io.h"
#include "log/format.h"

struct segment_header {
        uint64_t shard;
        uint64_t first_index;
        uint64_t generation;
        uint64_t previous_term;
        int64_t created_ms;
        uint32_t salt;
};

struct segment_footer {
        uint64_t last_index;
        uint64_t last_term;
        uint64_t commit_index;
        uint64_t n_entries;
        uint64_t pos;
};

struct group_header {
        uint64_t first_index;
        uint64_t last_index; /* first_index - 1: an empty group */
        uint64_t last_term;
        uint64_t durable_index;
        uint64_t durable_term;
        uint64_t commit_index;
        uint32_t length_bytes;
        uint32_t n_zero_sectors;
};

struct segment {
        unsigned n_refs;
        struct io_file *file; /* shares */
        char *path;
        struct segment_header header;
        struct segment_footer footer; /* where is_closed */
        bool is_closed;
        uint64_t last_index;   /* first_index - 1: no entry yet */
        uint64_t last_term;
        uint64_t n_entries;
        uint64_t end_pos;      /* behind the last group write that is on disk whole */
        uint64_t zeroed_pos;   /* up to here space is zeroed and synced (open only) */
};

struct segment *segment_ref(struct segment *s);
struct segment *segment_unref(struct segment *s);
DEFINE_CLEANUP(struct segment *, segment_unref)

void segment_header_encode(const struct segment_header *h, uint8_t p[static SEGMENT_HEADER_BYTES]);
/* Return: 0; -EBADMSG damaged or not a segment; -EPROTONOSUPPORT a newer format. */
int segment_header_decode(const uint8_t p[static SEGMENT_HEADER_BYTES], struct segment_header *ret);
void segment_footer_encode(const struct segment_footer *f,
                           uint32_t salt,
                           uint8_t p[static SEGMENT_FOOTER_BYTES]);
int segment_footer_decode(const uint8_t p[static SEGMENT_FOOTER_BYTES],
                          uint32_t salt,
                          struct segment_footer *ret);
void group_header_encode(const struct group_header *g, uint32_t salt, uint8_t p[static GROUP_HEADER_BYTES]);
/* Return: 0; -EBADMSG damaged, or its numbers contradict each other. */
int group_header_decode(const uint8_t p[static GROUP_HEADER_BYTES], uint32_t salt, struct group_header *ret);

/* Whole sectors of @n bytes at @p (a multiple of LOG_SECTOR_BYTES) that are all zero. */
uint32_t count_zero_sectors(const uint8_t *p, size_t n);
