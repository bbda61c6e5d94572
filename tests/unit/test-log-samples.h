/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the tests of reading a log share: batches of any size, and segments written group by group
 * without a log writer, so that a test decides where each byte goes.
 */

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/random.h"
#include "batch/batch.h"
#include "log/entry.h"
#include "log/index.h"
#include "log/segment.h"
#include "tests/lib/test.h"

/* Writes a batch of @size bytes to @p: whole and verifiable, its records are noise made of
 * @seed. */
static inline _unused_ void
sample_batch(uint8_t *p, size_t size, int32_t n_records, uint64_t seed) {
        struct batch_header *h = (struct batch_header *) p;
        struct random random;

        assert(size >= BATCH_HEADER_BYTES + (size_t) n_records * RECORD_BYTES_MIN && n_records > 0);

        random_init(&random, seed);
        random_bytes(&random, p + BATCH_HEADER_BYTES, size - BATCH_HEADER_BYTES);
        *h = (struct batch_header){
                .length = be32_of((uint32_t) (size - BATCH_LENGTH_FROM)),
                .magic = BATCH_MAGIC,
                .last_offset_delta = be32_of((uint32_t) n_records - 1),
                .producer_id = be64_of(UINT64_MAX),
                .producer_epoch = be16_of(UINT16_MAX),
                .base_sequence = be32_of(UINT32_MAX),
                .n_records = be32_of((uint32_t) n_records),
        };
        h->crc = be32_of(crc32c(0, p + BATCH_CHECKED_FROM, size - BATCH_CHECKED_FROM));
}

/* A produce entry of one slice. @slice and @batch are the caller's and must stay. */
static inline _unused_ struct entry sample_entry(uint64_t index,
                                                 uint64_t partition_id,
                                                 uint64_t base_offset,
                                                 struct entry_slice *slice,
                                                 const uint8_t *batch,
                                                 size_t size) {
        *slice = (struct entry_slice){
                .partition_id = partition_id,
                .base_offset = base_offset,
                .batch = batch,
                .batch_bytes = (uint32_t) size,
        };
        return (struct entry){
                .index = index,
                .term = 1,
                .append_time_ms = (int64_t) index * 10,
                .kind = ENTRY_PRODUCE,
                .n_slices = 1,
                .slices = slice,
        };
}

/* A segment under way. */
struct sample_segment {
        struct segment *segment;
        uint8_t *group;
        size_t n_allocated;
        size_t group_bytes;
        uint64_t group_first_index;
        uint64_t next_index;
};

static inline _unused_ void sample_segment_init_of(struct sample_segment *s,
                                                   struct io *io,
                                                   const char *dir,
                                                   uint64_t shard,
                                                   uint64_t first_index,
                                                   uint32_t salt) {
        const struct segment_header header = {
                .shard = shard,
                .first_index = first_index,
                .generation = 1,
                .previous_term = first_index > 1,
                .salt = salt,
        };
        _cleanup_(mem_freep) char *path = segment_path(dir, first_index, ".log");
        _cleanup_(io_file_unrefp) struct io_file *file = NULL;
        uint8_t block[SEGMENT_HEADER_BYTES];

        *s = (struct sample_segment){ .group_first_index = first_index, .next_index = first_index };
        ASSERT_OK(io_open(io, path, IO_OPEN_READ | IO_OPEN_WRITE | IO_OPEN_CREATE, &file));
        segment_header_encode(&header, block);
        ASSERT_OK(io_pwrite(file, block, sizeof(block), 0));
        ASSERT_OK(segment_new(file, dir, &header, &s->segment));
}

static inline _unused_ void sample_segment_init(struct sample_segment *s,
                                                struct io *io,
                                                const char *dir,
                                                uint64_t first_index,
                                                uint32_t salt) {
        sample_segment_init_of(s, io, dir, 1, first_index, salt);
}

static inline _unused_ void sample_segment_done(struct sample_segment *s) {
        s->segment = segment_unref(s->segment);
        s->group = mem_free(s->group);
}

/* Adds @e to the group under way. Returns where it will stand. */
static inline _unused_ uint64_t sample_segment_add(struct sample_segment *s,
                                                   const struct entry *e) {
        uint64_t pos;
        size_t n;

        ASSERT_EQ(e->index, s->next_index);
        if (s->group_bytes == 0)
                s->group_bytes = GROUP_HEADER_BYTES;
        ASSERT_OK(entry_size(e, &n));
        ASSERT_TRUE(grow(s->group, s->n_allocated, s->group_bytes + n + LOG_SECTOR_BYTES));
        entry_encode(e, s->segment->header.salt, s->group + s->group_bytes);
        pos = s->segment->end_pos + s->group_bytes;
        s->group_bytes += n;
        s->next_index++;
        return pos;
}

/* Writes the group under way; an empty one where nothing was added. */
static inline _unused_ void sample_segment_flush(struct sample_segment *s) {
        size_t n = MAX(s->group_bytes, (size_t) GROUP_HEADER_BYTES),
               n_padded = group_padded_bytes(n);
        struct group_header g = {
                .first_index = s->group_first_index,
                .last_index = s->next_index - 1,
                .last_term = 1,
                .length_bytes = (uint32_t) n,
        };

        ASSERT_TRUE(grow(s->group, s->n_allocated, n_padded));
        memset(s->group + n, 0, n_padded - n);
        memset(s->group, 0, GROUP_HEADER_BYTES);
        group_header_encode(&g, s->segment->header.salt, s->group);
        g.n_zero_sectors = count_zero_sectors(s->group, n_padded);
        group_header_encode(&g, s->segment->header.salt, s->group);
        ASSERT_OK(io_pwrite(s->segment->file, s->group, n_padded, s->segment->end_pos));

        s->segment->end_pos += n_padded;
        s->segment->last_index = s->next_index - 1;
        s->segment->n_entries += s->next_index - s->group_first_index;
        s->group_first_index = s->next_index;
        s->group_bytes = 0;
}

/* Flushes, ends the file with its footer. */
static inline _unused_ void sample_segment_close(struct sample_segment *s) {
        struct segment *g = s->segment;

        if (s->group_bytes > 0)
                sample_segment_flush(s);
        g->footer = (struct segment_footer){
                .last_index = g->last_index,
                .last_term = 1,
                .n_entries = g->n_entries,
                .pos = g->end_pos,
                .last_time_ms = g->last_time_ms,
        };
        ASSERT_OK(segment_close(g->file, &g->footer, g->header.salt));
        g->is_closed = true;
}
