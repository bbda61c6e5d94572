/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A whole small node, written without a daemon: for the tests of what reads and repairs a directory
 * from outside. Shard 0: topics "one" (partition id 1) and "two" (ids 2 and 3). Shard 1: a closed
 * segment with its index, entries 1..SAMPLE_CLOSED, and an open one up to SAMPLE_LAST; a checkpoint
 * at SAMPLE_CHECKPOINT. Every entry but the first has a batch of each of one or two partitions.
 */

#include "log/checkpoint.h"
#include "log/datadir.h"
#include "log/index.h"
#include "offline/verify.h"
#include "state/state.h"
#include "tests/unit/test-log-samples.h"

#define SAMPLE_NODE "data"
#define SAMPLE_META SAMPLE_NODE "/shard-0"
#define SAMPLE_SHARD SAMPLE_NODE "/shard-1"
#define SAMPLE_CLOSED 8u
#define SAMPLE_LAST 16u
#define SAMPLE_CHECKPOINT 5u
#define SAMPLE_PARTITIONS 3u
#define SAMPLE_BATCH_BYTES 200u

struct sample_node {
        struct state *state;                         /* of shard 1 */
        uint64_t next_offset[SAMPLE_PARTITIONS + 1]; /* by id */
        uint64_t slices[SAMPLE_LAST + 1];            /* how many each entry has */
        uint64_t base[SAMPLE_LAST + 1][2];           /* their base offsets */
        uint64_t ids[SAMPLE_LAST + 1][2];
};

static inline _unused_ void sample_op(struct sample_segment *s,
                                      struct state *state,
                                      enum admin_op op,
                                      const char *name,
                                      uint64_t n,
                                      uint64_t id) {
        struct byte_writer w = {};
        struct entry e = { .index = s->next_index, .term = 1, .kind = ENTRY_ADMIN };

        byte_writer_u8(&w, (uint8_t) op);
        byte_writer_string(&w, name);
        byte_writer_uleb(&w, n);
        byte_writer_uleb(&w, id);
        e.append_time_ms = (int64_t) e.index * 10;
        e.body = w.data;
        e.body_bytes = (uint32_t) w.size;
        (void) sample_segment_add(s, &e);
        ASSERT_OK(state_apply(state, &e));
        byte_writer_done(&w);
}

static inline _unused_ void sample_noop(struct sample_segment *s, struct state *state) {
        struct entry e = { .index = s->next_index, .term = 1, .kind = ENTRY_NOOP };

        e.append_time_ms = (int64_t) e.index * 10;
        (void) sample_segment_add(s, &e);
        ASSERT_OK(state_apply(state, &e));
}

static inline _unused_ void
sample_messages(struct sample_node *n, struct sample_segment *s, uint64_t seed) {
        static uint8_t batches[2][SAMPLE_BATCH_BYTES];
        struct entry_slice slices[2];
        const uint64_t index = s->next_index;
        struct entry e = { .index = index, .term = 1, .kind = ENTRY_PRODUCE, .slices = slices };

        e.append_time_ms = (int64_t) index * 10;
        e.n_slices = 1 + (unsigned) (index % 2);
        n->slices[index] = e.n_slices;
        for (unsigned i = 0; i < e.n_slices; i++) {
                uint64_t id = 1 + (index + i) % SAMPLE_PARTITIONS;
                int32_t n_records = (int32_t) (1 + (index + seed) % 4);

                sample_batch(batches[i], SAMPLE_BATCH_BYTES, n_records, seed + index * 2 + i);
                slices[i] = (struct entry_slice){
                        .partition_id = id,
                        .base_offset = n->next_offset[id],
                        .batch = batches[i],
                        .batch_bytes = SAMPLE_BATCH_BYTES,
                };
                n->ids[index][i] = id;
                n->base[index][i] = n->next_offset[id];
                n->next_offset[id] += (uint64_t) n_records;
        }
        (void) sample_segment_add(s, &e);
        ASSERT_OK(state_apply(n->state, &e));
}

static inline _unused_ void
sample_checkpoint(struct io *io, const char *dir, uint64_t shard, const struct state *state) {
        struct byte_writer w = {};

        ASSERT_OK(state_encode(state, &w));
        ASSERT_OK(checkpoint_write(io,
                                   dir,
                                   shard,
                                   &(struct checkpoint){
                                           .index = state->index,
                                           .term = state->term,
                                           .append_time_ms = state->time_ms,
                                           .body = w.data,
                                           .body_bytes = w.size,
                                   }));
        byte_writer_done(&w);
}

/* Space ahead of use, as a daemon leaves it. */
static inline _unused_ void sample_zero(struct sample_segment *s) {
        ASSERT_OK(segment_zero(s->segment->file, s->segment->end_pos, s->segment->end_pos + 4096));
        ASSERT_OK(io_fdatasync(s->segment->file));
}

static inline _unused_ void sample_node_make(struct io *io, uint64_t seed, struct sample_node *n) {
        struct sample_segment s;
        struct state *topics;
        struct datadir *d;

        *n = (struct sample_node){};
        ASSERT_OK(datadir_open(io, SAMPLE_NODE, 7, NULL, &d, NULL));
        for (uint64_t shard = 0; shard < 2; shard++) {
                ASSERT_OK(datadir_create_shard(d, shard));
                ASSERT_OK(io_unlink(io,
                                    shard == 0 ? SAMPLE_META "/00000000000000000001.log"
                                               : SAMPLE_SHARD "/00000000000000000001.log"));
        }
        datadir_free(d);

        ASSERT_OK(state_new(&topics));
        sample_segment_init_of(&s, io, SAMPLE_META, 0, 1, 4711);
        sample_noop(&s, topics);
        sample_op(&s, topics, ADMIN_TOPIC_CREATE, "one", 1, 1);
        sample_segment_flush(&s);
        sample_op(&s, topics, ADMIN_TOPIC_CREATE, "two", 2, 2);
        sample_segment_flush(&s);
        sample_zero(&s);
        sample_segment_done(&s);
        sample_checkpoint(io, SAMPLE_META, 0, topics);
        state_free(topics);

        ASSERT_OK(state_new(&n->state));
        sample_segment_init_of(&s, io, SAMPLE_SHARD, 1, 1, 815);
        sample_noop(&s, n->state);
        while (s.next_index <= SAMPLE_CLOSED) {
                sample_messages(n, &s, seed);
                if (s.next_index % 3 == 0)
                        sample_segment_flush(&s);
                if (s.next_index == SAMPLE_CHECKPOINT + 1)
                        sample_checkpoint(io, SAMPLE_SHARD, 1, n->state);
        }
        s.segment->last_time_ms = n->state->time_ms;
        sample_segment_close(&s);
        ASSERT_OK(index_rebuild(io, s.segment));
        sample_segment_done(&s);

        sample_segment_init_of(&s, io, SAMPLE_SHARD, 1, SAMPLE_CLOSED + 1, 99);
        while (s.next_index <= SAMPLE_LAST) {
                sample_messages(n, &s, seed);
                if (s.next_index % 3 == 0)
                        sample_segment_flush(&s);
        }
        if (s.group_bytes > 0)
                sample_segment_flush(&s);
        sample_zero(&s);
        sample_segment_done(&s);
        ASSERT_OK(io_sync_dir(io, SAMPLE_SHARD));
        ASSERT_OK(io_sync_dir(io, SAMPLE_META));
}

static inline _unused_ void sample_node_done(struct sample_node *n) {
        n->state = state_free(n->state);
}

/* What verify has to say. */
struct sample_findings {
        unsigned n_damaged;
        unsigned n_notes;
        char last[512];
};

static inline _unused_ void sample_on_finding(void *userdata, const struct verify_finding *f) {
        struct sample_findings *found = userdata;

        *(f->is_damage ? &found->n_damaged : &found->n_notes) += 1;
        (void) snprintf(found->last,
                        sizeof(found->last),
                        "%s@%llu: entries %llu..%llu, partition %llu: %s",
                        f->path,
                        (unsigned long long) f->pos,
                        (unsigned long long) f->first_index,
                        (unsigned long long) f->last_index,
                        (unsigned long long) f->partition_id,
                        f->what);
}

static inline _unused_ int
sample_verify(struct io *io, const char *path, struct sample_findings *ret) {
        static const struct verify_events events = { .on_finding = sample_on_finding };
        struct verify_sums sums;

        *ret = (struct sample_findings){};
        return verify_directory(io, path, &events, ret, &sums);
}
