/* SPDX-License-Identifier: Apache-2.0 */

/* Tests fetches of log/reader.h: what was appended is read back, from any offset, in any portions,
 * with and without hints and indices; damage is refused by name and hides nothing else. */

#include "base/alloc.h"
#include "base/random.h"
#include "log/reader.h"
#include "log/shard-log-internal.h"
#include "tests/lib/log-fixture.h"
#include "tests/unit/test-log-samples.h"

#define BATCH_BYTES_MIN (BATCH_HEADER_BYTES + RECORD_BYTES_MIN)

/* What was appended of one slice. */
struct sample {
        uint64_t index;
        uint64_t partition_id;
        uint64_t base_offset;
        uint64_t seed;
        int64_t time_ms;
        uint32_t size;
        int32_t n_records;
};

struct model {
        struct log_fixture f;
        struct sample *samples;
        size_t n_samples;
        size_t n_allocated;
        uint64_t *next_offsets; /* by partition id */
        size_t n_partitions;
        uint8_t *bytes;
        size_t n_bytes;
        int64_t time_ms;
};

static void model_init(struct model *m, uint64_t seed, size_t n_partitions) {
        *m = (struct model){ .n_partitions = n_partitions, .time_ms = 1000 };
        m->next_offsets = new0(uint64_t, n_partitions);
        ASSERT_NOT_NULL(m->next_offsets);
        log_fixture_init(&m->f, seed);
        ASSERT_OK(log_fixture_open(&m->f));
}

static void model_done(struct model *m) {
        log_fixture_done(&m->f);
        mem_free(m->samples);
        mem_free(m->next_offsets);
        mem_free(m->bytes);
}

/* Waits until all that was appended is on disk, index files too. */
static void model_flush(struct model *m) {
        shard_log_flush(m->f.log);
        sim_disk_run_jobs(m->f.disk);
        ASSERT_EQ(shard_log_durable_index(m->f.log), shard_log_last_index(m->f.log));
}

/* Appends an entry of @n slices, of the partitions given, each a batch of @size bytes. */
static void model_append(struct model *m,
                         unsigned n,
                         const uint64_t *partition_ids,
                         uint32_t size,
                         int32_t n_records) {
        struct entry_slice slices[16];
        struct entry e = {
                .index = shard_log_last_index(m->f.log) + 1,
                .term = 1,
                .append_time_ms = m->time_ms,
                .kind = ENTRY_PRODUCE,
                .n_slices = n,
                .slices = slices,
        };

        ASSERT_LE(n, ELEMENTSOF(slices));
        ASSERT_TRUE(grow(m->bytes, m->n_bytes, (size_t) n * size));
        ASSERT_TRUE(grow(m->samples, m->n_allocated, m->n_samples + n));
        for (unsigned i = 0; i < n; i++) {
                struct sample *s = m->samples + m->n_samples++;

                *s = (struct sample){
                        .index = e.index,
                        .partition_id = partition_ids[i],
                        .base_offset = m->next_offsets[partition_ids[i]],
                        .seed = m->n_samples,
                        .time_ms = m->time_ms,
                        .size = size,
                        .n_records = n_records,
                };
                m->next_offsets[partition_ids[i]] += (uint64_t) n_records;
                sample_batch(m->bytes + (size_t) i * size, size, n_records, s->seed);
                slices[i] = (struct entry_slice){
                        .partition_id = s->partition_id,
                        .base_offset = s->base_offset,
                        .not_before_ms = (int64_t) s->seed * 3,
                        .expires_at_ms = (int64_t) s->seed * 5,
                        .priority = (uint8_t) s->seed,
                        .batch = m->bytes + (size_t) i * size,
                        .batch_bytes = size,
                };
        }

        for (;;) {
                int r = shard_log_append(m->f.log, &e);

                if (r != -EAGAIN) {
                        ASSERT_OK(r);
                        return;
                }
                model_flush(m);
        }
}

static void
model_append_one(struct model *m, uint64_t partition_id, uint32_t size, int32_t n_records) {
        model_append(m, 1, &partition_id, size, n_records);
}

static const struct sample *
model_find(const struct model *m, uint64_t partition_id, uint64_t offset) {
        for (size_t i = 0; i < m->n_samples; i++) {
                const struct sample *s = m->samples + i;

                if (s->partition_id == partition_id &&
                    s->base_offset + (uint64_t) s->n_records > offset)
                        return s;
        }
        return NULL;
}

/* The slice is the sample, to the byte. */
static void assert_slice(const struct log_read_slice *found, const struct sample *s) {
        uint8_t *batch = malloc(s->size); /* past a FAULT_SWEEP */

        ASSERT_NOT_NULL(batch);
        ASSERT_EQ(found->base_offset, s->base_offset);
        ASSERT_EQ(found->index, s->index);
        ASSERT_EQ(found->term, 1);
        ASSERT_EQ(found->append_time_ms, s->time_ms);
        ASSERT_EQ(found->not_before_ms, s->seed * 3);
        ASSERT_EQ(found->expires_at_ms, s->seed * 5);
        ASSERT_EQ(found->priority, (uint8_t) s->seed);
        ASSERT_EQ(found->batch.size, s->size);
        sample_batch(batch, s->size, s->n_records, s->seed);
        batch_assign(batch, (int64_t) s->base_offset, 1);
        ASSERT_MEM(found->batch.data, batch, s->size);
        free(batch);
}

/* One fetch; its result must be what was appended. Return: what log_read_run() gave; the offset
 * behind. */
static int fetch(const struct model *m,
                 uint64_t partition_id,
                 uint64_t offset,
                 uint64_t limit,
                 size_t max_bytes,
                 bool may_block,
                 struct log_position *position,
                 uint64_t *ret_next,
                 uint64_t *ret_bytes_read) {
        _cleanup_(log_read_freep) struct log_read *read = NULL;
        const struct log_read_slice *slices;
        size_t n, n_bytes = 0;
        int r;

        ASSERT_OK(
                shard_log_read(m->f.log, partition_id, offset, limit, max_bytes, position, &read));
        r = log_read_run(read, may_block);
        if (ret_bytes_read)
                *ret_bytes_read += log_read_bytes_read(read);
        if (r <= 0)
                return r;

        slices = log_read_slices(read, &n);
        ASSERT_GT(n, 0);
        for (size_t i = 0; i < n; i++) {
                const struct sample *s = model_find(m, partition_id, offset);

                ASSERT_NOT_NULL(s);
                ASSERT_LT(s->base_offset, limit);
                ASSERT_LT(n_bytes, max_bytes);
                assert_slice(slices + i, s);
                offset = s->base_offset + (uint64_t) s->n_records;
                n_bytes += s->size;
        }
        ASSERT_LE(log_read_bytes(read), 2 * n_bytes + slices[n - 1].batch.size + (256u << 10));

        if (position)
                log_read_position(read, position);
        *ret_next = offset;
        return r;
}

/* Reads a partition from an offset to its end. Returns how much was read from segments. */
static uint64_t read_all(const struct model *m,
                         uint64_t partition_id,
                         uint64_t offset,
                         size_t max_bytes,
                         bool with_hint) {
        struct log_position position = {};
        uint64_t limit = m->next_offsets[partition_id], n_bytes = 0;

        while (offset < limit) {
                struct log_position before = position;
                int r;

                r = fetch(m,
                          partition_id,
                          offset,
                          limit,
                          max_bytes,
                          /* may_block= */ true,
                          with_hint ? &position : NULL,
                          &offset,
                          &n_bytes);
                ASSERT_EQ(r, 1);
                if (with_hint && position.segment_first_index == before.segment_first_index)
                        ASSERT_GE(position.pos, before.pos);
        }
        ASSERT_EQ(offset, limit);
        ASSERT_EQ(fetch(m, partition_id, limit, limit + 1, max_bytes, true, NULL, &offset, NULL),
                  0);
        return n_bytes;
}

static char *index_path(const struct segment *s) {
        char *path = mem_asprintf("%.*s.idx", (int) strlen(s->path) - 4, s->path);

        ASSERT_NOT_NULL(path);
        return path;
}

/* Where the entry with an index stands, and in which file; and how long it is. */
static void find_entry(const struct model *m,
                       uint64_t index,
                       const char **ret_path,
                       uint64_t *ret_pos,
                       size_t *ret_n) {
        struct shard_log *l = m->f.log;

        for (size_t i = 0; i < l->n_segments; i++) {
                const struct segment *s = l->segments[i];
                _cleanup_(mem_freep) uint8_t *p = NULL;

                if (index < s->header.first_index || index > s->last_index)
                        continue;
                p = mem_alloc(s->end_pos);
                ASSERT_NOT_NULL(p);
                ASSERT_EQ(sim_disk_peek(m->f.disk, s->path, p, s->end_pos, 0), s->end_pos);
                for (uint64_t pos = SEGMENT_HEADER_BYTES; pos + ENTRY_HEADER_BYTES <= s->end_pos;
                     pos += 8) {
                        struct entry_slice slices[16];
                        struct entry e;

                        if (le64_load(p + pos + 8) == index && entry_decode(p + pos,
                                                                            s->end_pos - pos,
                                                                            s->header.salt,
                                                                            ENTRY_VERIFY_HEADER,
                                                                            slices,
                                                                            ELEMENTSOF(slices),
                                                                            &e,
                                                                            ret_n) == 0) {
                                *ret_path = s->path;
                                *ret_pos = pos;
                                return;
                        }
                }
        }
        test_fail(__FILE__, __LINE__, "no entry %llu", (unsigned long long) index);
}

static void flip_entry(const struct model *m, uint64_t index, size_t at) {
        const char *path;
        uint64_t pos;
        size_t n;

        find_entry(m, index, &path, &pos, &n);
        ASSERT_LT(at, n);
        ASSERT_OK(sim_disk_flip_bit(m->f.disk, path, pos + at, 1));
}

TEST(one_topic_is_read_back_in_any_portions) {
        const size_t max_bytes[] = { 1, 5000, 64u << 10, 1u << 20, SIZE_MAX };
        struct model m;

        model_init(&m, 1, 1);
        for (unsigned i = 0; i < 600; i++) {
                model_append_one(&m, 0, 100 + i * 13, 1 + (int32_t) i % 5);
                if (i % 7 == 0)
                        model_flush(&m);
        }
        model_flush(&m);
        ASSERT_GT(m.f.log->n_segments, 2);

        for (size_t i = 0; i < ELEMENTSOF(max_bytes); i++) {
                read_all(&m, 0, 0, max_bytes[i], /* with_hint= */ true);
                read_all(&m, 0, 0, max_bytes[i], /* with_hint= */ false);
        }
        model_done(&m);
}

TEST(the_first_batch_holds_the_offset) {
        struct model m;
        uint64_t next;

        model_init(&m, 1, 1);
        for (unsigned i = 0; i < 50; i++)
                model_append_one(&m, 0, 3000, 10);
        model_flush(&m);
        for (uint64_t offset = 0; offset < 500; offset++) {
                ASSERT_EQ(fetch(&m, 0, offset, 500, 1, true, NULL, &next, NULL), 1);
                ASSERT_EQ(next, offset / 10 * 10 + 10);
        }
        model_done(&m);
}

TEST(nothing_from_the_limit_on_is_given) {
        struct log_position position = {};
        struct model m;
        uint64_t next = 99;

        model_init(&m, 1, 2);
        for (unsigned i = 0; i < 50; i++)
                model_append_one(&m, 0, 3000, 10);
        model_flush(&m);
        ASSERT_EQ(fetch(&m, 0, 0, 0, 1u << 20, true, NULL, &next, NULL), 0);
        ASSERT_EQ(next, 99);
        ASSERT_EQ(fetch(&m, 0, 7, 20, 1u << 20, true, &position, &next, NULL), 1);
        ASSERT_EQ(next, 20);
        ASSERT_EQ(fetch(&m, 0, 20, 20, 1u << 20, true, &position, &next, NULL), 0);
        ASSERT_EQ(fetch(&m, 0, 20, 30, 1u << 20, true, &position, &next, NULL), 1);
        ASSERT_EQ(next, 30);
        ASSERT_EQ(fetch(&m, 0, 500, 600, 1u << 20, true, NULL, &next, NULL), 0);
        ASSERT_EQ(fetch(&m, 1, 0, 600, 1u << 20, true, NULL, &next, NULL), 0);
        model_done(&m);
}

TEST(what_is_appended_later_is_not_seen_and_then_is) {
        _cleanup_(log_read_freep) struct log_read *read = NULL;
        struct log_position position = {};
        uint64_t next = 0;
        struct model m;

        model_init(&m, 1, 1);
        model_append_one(&m, 0, 3000, 10);
        model_flush(&m);
        ASSERT_OK(shard_log_read(m.f.log, 0, 10, 1000, 1000, NULL, &read));
        ASSERT_EQ(fetch(&m, 0, 0, 1000, 5000, true, &position, &next, NULL), 1);
        model_append_one(&m, 0, 3000, 10);
        ASSERT_EQ(fetch(&m, 0, 10, 1000, 5000, true, &position, &next, NULL),
                  0); /* not yet on disk */
        model_flush(&m);
        ASSERT_EQ(log_read_run(read, true), 0);
        ASSERT_EQ(fetch(&m, 0, 10, 1000, 5000, false, &position, &next, NULL), 1);
        ASSERT_EQ(next, 20);
        read = log_read_free(read);
        model_done(&m);
}

/* Topics at random, batches at random, groups at random, restarts in between. */
static void write_at_random(struct model *m, struct random *random, unsigned n, uint32_t size_max) {
        for (unsigned i = 0; i < n; i++) {
                uint64_t ids[16];
                unsigned n_slices =
                        random_chance(random, 1, 5) ? (unsigned) random_between(random, 2, 16) : 1;

                /* The first partitions get most, the last ones hardly anything. */
                for (unsigned j = 0; j < n_slices; j++) {
                        uint64_t span = random_between(random, 1, m->n_partitions);

                        ids[j] = random_below(random, span);
                }
                m->time_ms += (int64_t) random_below(random, 3);
                model_append(m,
                             n_slices,
                             ids,
                             (uint32_t) random_between(random,
                                                       BATCH_BYTES_MIN + 35,
                                                       random_chance(random, 1, 20) ? size_max * 10
                                                                                    : size_max),
                             (int32_t) random_between(random, 1, 6));
                if (random_chance(random, 1, 10))
                        model_flush(m);
                if (random_chance(random, 1, 200)) {
                        model_flush(m);
                        log_fixture_kill(&m->f);
                        ASSERT_OK(log_fixture_open(&m->f));
                }
        }
        model_flush(m);
}

TEST(random_topics_and_sizes_are_read_back_in_random_portions, .timeout_sec = 60) {
        for (uint64_t seed = 0; seed < 12; seed++) {
                struct random random;
                struct model m;

                random_init(&random, seed);
                model_init(&m, seed, (size_t) random_between(&random, 1, 40));
                write_at_random(&m, &random, 800, 4000);

                for (uint64_t id = 0; id < m.n_partitions; id++) {
                        struct log_position position = {}, stale = {};
                        uint64_t limit = m.next_offsets[id], offset;

                        if (limit == 0)
                                continue;
                        offset = random_chance(&random, 1, 2) ? 0 : random_below(&random, limit);
                        while (offset < limit) {
                                struct log_position hint = {};
                                unsigned which = (unsigned) random_below(&random, 4);
                                uint64_t next;
                                int r;

                                /* The hint of the fetch before, an older one, none, one that leads
                                 * nowhere. */
                                if (which == 0)
                                        hint = position;
                                else if (which == 1)
                                        hint = stale;
                                else if (which == 2) {
                                        hint = position;
                                        hint.offset = offset + 1;
                                }
                                r = fetch(&m,
                                          id,
                                          offset,
                                          limit,
                                          (size_t) random_between(&random, 1, 300000),
                                          true,
                                          &hint,
                                          &next,
                                          NULL);
                                ASSERT_EQ(r, 1);
                                stale = position;
                                position = hint;
                                offset = next;
                        }
                        ASSERT_EQ(offset, limit);
                }
                model_done(&m);
        }
}

TEST(one_of_thousands_of_topics_costs_little) {
        const uint64_t n_topics = 2000;
        uint64_t n_bytes, n_log = 0;
        struct model m;

        model_init(&m, 1, n_topics);
        for (unsigned round = 0; round < 8; round++) {
                for (uint64_t id = 0; id < n_topics; id++)
                        model_append_one(&m, id, 400, 1);
                model_flush(&m);
        }
        for (size_t i = 0; i < m.f.log->n_segments; i++)
                n_log += m.f.log->segments[i]->end_pos;
        ASSERT_GT(m.f.log->n_segments, 4);

        for (uint64_t id = 0; id < n_topics; id += 397) {
                n_bytes = read_all(&m, id, 0, 1u << 20, /* with_hint= */ true);
                ASSERT_LT(n_bytes, n_log / 10);
                n_bytes = read_all(&m, id, 0, 1, /* with_hint= */ false);
                ASSERT_LT(n_bytes, n_log / 10);
        }
        model_done(&m);
}

TEST(one_topic_alone_is_read_nearly_once) {
        uint64_t n_bytes, n_log = 0;
        struct model m;

        model_init(&m, 1, 1);
        for (unsigned i = 0; i < 100; i++)
                model_append_one(&m, 0, 100000, 1);
        model_flush(&m);
        for (size_t i = 0; i < m.f.log->n_segments; i++)
                n_log += m.f.log->segments[i]->end_pos;
        n_bytes = read_all(&m, 0, 0, 1u << 20, /* with_hint= */ true);
        ASSERT_LT(n_bytes, n_log * 13 / 10);
        model_done(&m);
}

TEST(small_batches_far_apart_hold_little_memory) {
        _cleanup_(log_read_freep) struct log_read *read = NULL;
        struct model m;
        size_t n;

        model_init(&m, 1, 2);
        for (unsigned i = 0; i < 200; i++) {
                model_append_one(&m, 0, 200, 1);
                model_append_one(&m, 1, 20000, 1);
        }
        model_flush(&m);
        ASSERT_OK(shard_log_read(m.f.log, 0, 0, 200, 1u << 20, NULL, &read));
        ASSERT_EQ(log_read_run(read, true), 1);
        (void) log_read_slices(read, &n);
        ASSERT_GT(n, 100);
        ASSERT_LT(log_read_bytes(read), 200u << 10);
        read = log_read_free(read);
        model_done(&m);
}

TEST(on_the_loop_it_opens_nothing_and_waits_for_nothing) {
        struct sim_disk_faults never_cached = { .read_again = 1000000 };
        struct log_position position = {};
        uint64_t offset = 0, limit, n_tries = 0;
        struct model m;

        model_init(&m, 1, 2);
        for (unsigned i = 0; i < 300; i++) {
                model_append_one(&m, 0, 10000, 1);
                if (i % 50 == 0)
                        model_append_one(&m, 1, 1000, 1);
        }
        model_flush(&m);
        ASSERT_GT(m.f.log->n_segments, 2);
        limit = m.next_offsets[0];

        /* Without a hint a closed segment's index must be searched; from then on it goes by
         * itself. */
        sim_disk_fail(m.f.disk, SIM_DISK_OPEN, NULL, 1, EIO);
        ASSERT_ERROR(fetch(&m, 0, 0, limit, 50000, false, NULL, &offset, NULL), EAGAIN);
        ASSERT_EQ(sim_disk_fail_clear(m.f.disk), 1);
        ASSERT_EQ(fetch(&m, 0, 0, limit, 50000, true, &position, &offset, NULL), 1);
        sim_disk_fail(m.f.disk, SIM_DISK_OPEN, NULL, 1, EIO);
        while (offset < limit)
                ASSERT_EQ(fetch(&m, 0, offset, limit, 50000, false, &position, &offset, NULL), 1);
        /* The newest segment needs no hint. */
        offset = limit - 3;
        ASSERT_EQ(fetch(&m, 0, offset, limit, 50000, false, NULL, &offset, NULL), 1);
        ASSERT_EQ(offset, limit);
        ASSERT_EQ(sim_disk_fail_clear(m.f.disk), 1);

        /* A topic with gaps goes to a job where it must search, and never gets stuck. */
        memset(&position, 0, sizeof(position));
        for (offset = 0; offset < m.next_offsets[1]; n_tries++) {
                int r = fetch(&m,
                              1,
                              offset,
                              m.next_offsets[1],
                              1500,
                              n_tries % 2,
                              &position,
                              &offset,
                              NULL);

                ASSERT_TRUE(r == 1 || (r == -EAGAIN && n_tries % 2 == 0));
        }

        sim_disk_set_faults(m.f.disk, &never_cached);
        ASSERT_ERROR(fetch(&m, 0, limit - 1, limit, 50000, false, NULL, &offset, NULL), EAGAIN);
        ASSERT_EQ(fetch(&m, 0, limit - 1, limit, 50000, true, NULL, &offset, NULL), 1);
        model_done(&m);
}

TEST(large_batches_that_follow_each_other_need_no_index) {
        struct log_position position = {};
        uint64_t offset = 0, limit;
        struct model m;

        model_init(&m, 1, 1);
        for (unsigned i = 0; i < 100; i++)
                model_append_one(&m, 0, (uint32_t) (3 * INDEX_DISTANCE_BYTES), 1);
        model_flush(&m);
        ASSERT_GT(m.f.log->n_segments, 3);
        limit = m.next_offsets[0];
        ASSERT_EQ(fetch(&m, 0, 0, limit, 1, true, &position, &offset, NULL), 1);
        while (offset < limit) {
                uint64_t before = offset;

                ASSERT_EQ(fetch(&m, 0, offset, limit, 200000, false, &position, &offset, NULL), 1);
                ASSERT_TRUE(offset - before >= 2 || offset == limit ||
                            position.pos == SEGMENT_HEADER_BYTES);
        }
        model_done(&m);
}

TEST(a_segment_whose_index_is_being_written_is_read_from_memory) {
        struct log_position position = {};
        uint64_t offset = 0, limit;
        struct model m;

        model_init(&m, 1, 2);
        log_fixture_close(&m.f);
        m.f.config.segment_bytes = 8u << 20; /* more points than a fetch takes along */
        ASSERT_OK(log_fixture_open(&m.f));
        while (m.f.log->n_segments == 1) {
                model_append_one(&m, 0, 200, 1);
                model_append_one(&m, 1, 20000, 1);
                shard_log_flush(m.f.log);
                while (shard_log_durable_index(m.f.log) < shard_log_last_index(m.f.log))
                        ASSERT_TRUE(sim_disk_run_job(m.f.disk));
        }
        ASSERT_FALSE(list_is_empty(&m.f.log->index_jobs));

        limit = m.next_offsets[0];
        ASSERT_GT(limit, 300);
        sim_disk_fail(m.f.disk, SIM_DISK_OPEN, NULL, 1, EIO);
        while (offset < limit)
                ASSERT_EQ(fetch(&m, 0, offset, limit, 4u << 20, false, &position, &offset, NULL),
                          1);
        ASSERT_EQ(sim_disk_fail_clear(m.f.disk), 1);
        model_done(&m);
}

TEST(the_same_read_runs_again_in_a_job) {
        struct sim_disk_faults never_cached = { .read_again = 1000000 };
        _cleanup_(log_read_freep) struct log_read *read = NULL;
        const struct log_read_slice *slices;
        struct model m;
        size_t n;

        model_init(&m, 1, 1);
        for (unsigned i = 0; i < 300; i++)
                model_append_one(&m, 0, 10000, 1);
        model_flush(&m);
        sim_disk_set_faults(m.f.disk, &never_cached);
        ASSERT_OK(shard_log_read(m.f.log, 0, 5, 300, 20000, NULL, &read));
        ASSERT_ERROR(log_read_run(read, false), EAGAIN);
        ASSERT_EQ(log_read_run(read, true), 1);
        slices = log_read_slices(read, &n);
        ASSERT_EQ(n, 2);
        assert_slice(slices, m.samples + 5);
        assert_slice(slices + 1, m.samples + 6);
        read = log_read_free(read);
        model_done(&m);
}

TEST(missing_indices_are_built_anew) {
        struct model m;
        uint64_t next;

        model_init(&m, 1, 3);
        for (unsigned i = 0; i < 900; i++)
                model_append_one(&m, i % 3, 4000, 1);
        model_flush(&m);
        for (size_t i = 0; i + 1 < m.f.log->n_segments; i++) {
                _cleanup_(mem_freep) char *path = index_path(m.f.log->segments[i]);

                ASSERT_OK(io_unlink(m.f.io, path));
        }
        ASSERT_ERROR(fetch(&m, 1, 0, 300, 50000, false, NULL, &next, NULL), EAGAIN);
        read_all(&m, 1, 0, 100000, /* with_hint= */ true);
        for (size_t i = 0; i + 1 < m.f.log->n_segments; i++) {
                _cleanup_(mem_freep) char *path = index_path(m.f.log->segments[i]);
                struct io_stat st;

                ASSERT_OK(io_stat(m.f.io, path, &st)); /* for the next one */
        }
        read_all(&m, 2, 0, 100000, /* with_hint= */ false);
        model_done(&m);
}

TEST(where_no_index_can_be_written_it_is_read_all_the_same) {
        struct model m;

        model_init(&m, 1, 3);
        for (unsigned i = 0; i < 900; i++)
                model_append_one(&m, i % 3, 4000, 1);
        model_flush(&m);
        for (size_t i = 0; i + 1 < m.f.log->n_segments; i++) {
                _cleanup_(mem_freep) char *path = index_path(m.f.log->segments[i]);

                ASSERT_OK(io_unlink(m.f.io, path));
        }
        sim_disk_set_capacity(m.f.disk, 1);
        read_all(&m, 1, 0, 100000, /* with_hint= */ true);
        model_done(&m);
}

TEST(a_bit_flipped_anywhere_in_an_index_hides_no_message, .timeout_sec = 60) {
        const uint64_t n_topics = 1500;
        struct random random;
        struct model m;
        uint64_t size;

        /* More than is loaded whole: the checksum is not looked at before something is odd. */
        model_init(&m, 1, n_topics);
        for (unsigned i = 0; i < 9000; i++)
                model_append_one(&m, i % n_topics, 150, 1);
        model_flush(&m);
        random_init(&random, 1);
        for (unsigned i = 0; i < 150; i++) {
                _cleanup_(mem_freep) char *path = index_path(m.f.log->segments[0]);
                uint64_t pos, id;

                ASSERT_OK(sim_disk_peek_size(m.f.disk, path, &size));
                ASSERT_GT(size, INDEX_LOADED_BYTES_MAX);
                pos = random_below(&random, size);
                ASSERT_OK(sim_disk_flip_bit(
                        m.f.disk, path, pos, (unsigned) random_below(&random, 8)));
                /* The partition that it hits, if it is one of the table, and another one. */
                id = pos >= 64 && pos < 64 + n_topics * 48 ? (pos - 64) / 48
                                                           : random_below(&random, n_topics);
                read_all(&m, id, 0, 1000, /* with_hint= */ i % 2);
                read_all(&m, random_below(&random, n_topics), 3, 1000, /* with_hint= */ i % 2);
                ASSERT_OK(index_rebuild(m.f.io, m.f.log->segments[0]));
        }
        model_done(&m);
}

/* Reads past damage of partition 0 as a consumer that is told to go on would. Returns how many
 * batches were given; @ret_n_damage counts refusals. */
static unsigned read_past_damage(const struct model *m,
                                 bool with_hint,
                                 unsigned *ret_n_damage,
                                 uint64_t *ret_index) {
        struct log_position position = {};
        uint64_t offset = 0, limit = m->next_offsets[0];
        unsigned n_given = 0;

        *ret_n_damage = 0;
        while (offset < limit) {
                _cleanup_(log_read_freep) struct log_read *read = NULL;
                const struct log_read_slice *slices;
                size_t n;
                int r;

                ASSERT_OK(shard_log_read(
                        m->f.log, 0, offset, limit, 20000, with_hint ? &position : NULL, &read));
                r = log_read_run(read, true);
                if (r == -EBADMSG) {
                        uint64_t next;

                        log_read_damage(read, ret_index, &next);
                        (*ret_n_damage)++;
                        if (next == 0)
                                break;
                        ASSERT_GT(next, offset);
                        offset = next;
                        continue;
                }
                ASSERT_EQ(r, 1);
                slices = log_read_slices(read, &n);
                for (size_t i = 0; i < n; i++) {
                        const struct sample *s = model_find(m, 0, offset);

                        assert_slice(slices + i,
                                     s); /* dense: what is missing has been refused by name */
                        offset = s->base_offset + (uint64_t) s->n_records;
                        n_given++;
                }
                log_read_position(read, &position);
        }
        return n_given;
}

TEST(a_damaged_batch_is_refused_by_name_and_nothing_else_is) {
        /* The checksum, the kind, a slice's partition, the batch's offset, its length, its crc, its
         * last offset delta, its records. */
        const size_t places[] = { 0,      5,       9,       32,      41,       80 + 3,
                                  80 + 8, 80 + 18, 80 + 24, 80 + 61, 80 + 1500 };

        for (size_t i = 0; i < ELEMENTSOF(places) * 2; i++) {
                size_t at = places[i / 2];
                unsigned n_damage;
                uint64_t index = 0;
                struct model m;

                model_init(&m, i, 2);
                for (unsigned j = 0; j < 300; j++) {
                        model_append_one(&m, 0, 3000, 10);
                        model_append_one(&m, 1, 3000, 10);
                        if (j % 3 == 0)
                                model_flush(&m);
                }
                model_flush(&m);
                flip_entry(&m, 201, at);

                ASSERT_EQ(read_past_damage(&m, i % 2, &n_damage, &index), 299);
                ASSERT_EQ(n_damage, 1);
                ASSERT_EQ(index, 201);
                read_all(&m, 1, 0, 50000, i % 2); /* the other topic does not notice */
                model_done(&m);
        }
}

/* The index that is made at a start leaves out what is bad then: the gap in offsets tells. */
TEST(what_went_bad_before_a_start_is_refused_too) {
        for (unsigned at = 0; at < 200; at += 13) {
                unsigned n_damage;
                uint64_t index;
                struct model m;

                model_init(&m, at, 2);
                for (unsigned j = 0; j < 60; j++)
                        model_append_one(&m, j % 2, 3000, 10);
                model_flush(&m);
                flip_entry(&m, 31, at); /* the sixteenth of topic 0 */
                log_fixture_close(&m.f);
                ASSERT_OK(log_fixture_open(&m.f));

                ASSERT_EQ(read_past_damage(&m, at % 2, &n_damage, &index), 29);
                ASSERT_EQ(n_damage, 1);
                read_all(&m, 1, 0, 50000, at % 2);
                model_done(&m);
        }
}

TEST(damage_of_the_first_and_of_the_last_batch_is_refused) {
        unsigned n_damage;
        uint64_t index;
        struct model m;

        model_init(&m, 1, 1);
        for (unsigned j = 0; j < 100; j++)
                model_append_one(&m, 0, 3000, 10);
        model_flush(&m);
        flip_entry(&m, 1, 200);
        ASSERT_EQ(read_past_damage(&m, true, &n_damage, &index), 99);
        ASSERT_EQ(n_damage, 1);
        ASSERT_EQ(index, 1);

        flip_entry(&m, 100, 3);
        ASSERT_EQ(read_past_damage(&m, true, &n_damage, &index), 98);
        ASSERT_EQ(n_damage, 2);
        ASSERT_EQ(index, 100);
        model_done(&m);
}

TEST(a_damaged_group_header_hides_nothing) {
        const uint8_t *magic = (const uint8_t *) "DRGW";
        struct model m;
        unsigned n_flipped = 0;

        model_init(&m, 1, 2);
        for (unsigned j = 0; j < 300; j++) {
                model_append_one(&m, j % 2, 3000, 10);
                if (j % 5 == 0)
                        model_flush(&m);
        }
        model_flush(&m);
        for (uint64_t pos = SEGMENT_HEADER_BYTES; pos < m.f.log->segments[0]->end_pos;
             pos += LOG_SECTOR_BYTES) {
                uint8_t p[8];

                ASSERT_EQ(sim_disk_peek(m.f.disk, m.f.log->segments[0]->path, p, 8, pos), 8);
                if (memcmp(p + 4, magic, 4) == 0 && n_flipped++ % 3 == 0)
                        ASSERT_OK(sim_disk_flip_bit(
                                m.f.disk, m.f.log->segments[0]->path, pos + 34, 2));
        }
        ASSERT_GT(n_flipped, 10);
        read_all(&m, 0, 0, 10000, true);
        read_all(&m, 1, 0, 100000, false);
        model_done(&m);
}

TEST(damage_all_over_never_gives_a_wrong_byte, .timeout_sec = 60) {
        for (uint64_t seed = 0; seed < 30; seed++) {
                struct random random;
                unsigned n_damage;
                uint64_t index;
                struct model m;

                random_init(&random, seed);
                model_init(&m, seed, 3);
                for (unsigned j = 0; j < 600; j++) {
                        model_append_one(&m,
                                         random_below(&random, 3),
                                         (uint32_t) random_between(&random, 200, 5000),
                                         10);
                        if (random_chance(&random, 1, 8))
                                model_flush(&m);
                }
                model_flush(&m);
                for (unsigned i = 0; i < 20; i++) {
                        const struct segment *s =
                                m.f.log->segments[random_below(&random, m.f.log->n_segments)];

                        ASSERT_OK(sim_disk_flip_bit(
                                m.f.disk,
                                s->path,
                                random_between(&random, SEGMENT_HEADER_BYTES, s->end_pos - 1),
                                (unsigned) random_below(&random, 8)));
                }
                /* Each flip costs at most the batch that it hits. */
                ASSERT_GE(read_past_damage(&m, seed % 2, &n_damage, &index) + 20,
                          m.next_offsets[0] / 10);
                ASSERT_LE(n_damage, 20);
                model_done(&m);
        }
}

TEST(on_the_loop_damage_is_left_to_a_job) {
        uint64_t next;
        struct model m;

        model_init(&m, 1, 1);
        for (unsigned j = 0; j < 10; j++)
                model_append_one(&m, 0, 3000, 10);
        model_flush(&m);
        flip_entry(&m, 4, 3);
        ASSERT_EQ(fetch(&m, 0, 0, 100, 50000, false, NULL, &next, NULL), 1);
        ASSERT_EQ(next, 30);
        ASSERT_ERROR(fetch(&m, 0, 30, 100, 50000, false, NULL, &next, NULL), EAGAIN);
        ASSERT_ERROR(fetch(&m, 0, 30, 100, 50000, true, NULL, &next, NULL), EBADMSG);
        model_done(&m);
}

TEST(a_time_finds_the_first_batch_at_or_after_it) {
        struct model m;
        struct random random;

        random_init(&random, 1);
        model_init(&m, 1, 5);
        write_at_random(&m, &random, 1500, 4000);
        ASSERT_GT(m.f.log->n_segments, 3);

        for (unsigned i = 0; i < 400; i++) {
                uint64_t id = random_below(&random, 5);
                int64_t time_ms = (int64_t) random_between(&random, 990, (uint64_t) m.time_ms + 5);
                const struct sample *expected = NULL;
                _cleanup_(log_read_freep) struct log_read *read = NULL;
                const struct log_read_slice *slices;
                size_t n;
                int r;

                for (size_t j = 0; j < m.n_samples && !expected; j++)
                        if (m.samples[j].partition_id == id && m.samples[j].time_ms >= time_ms)
                                expected = m.samples + j;

                ASSERT_OK(shard_log_find_time(m.f.log, id, time_ms, m.next_offsets[id], &read));
                r = ASSERT_OK(log_read_run(read, true));
                ASSERT_EQ(r, expected != NULL);
                if (!expected)
                        continue;
                slices = log_read_slices(read, &n);
                ASSERT_EQ(n, 1);
                assert_slice(slices, expected);
        }
        model_done(&m);
}

TEST(a_time_behind_the_limit_finds_nothing) {
        _cleanup_(log_read_freep) struct log_read *read = NULL;
        struct model m;

        model_init(&m, 1, 1);
        model_append_one(&m, 0, 3000, 10);
        m.time_ms += 100;
        model_append_one(&m, 0, 3000, 10);
        model_flush(&m);
        ASSERT_OK(shard_log_find_time(m.f.log, 0, 1050, 10, &read));
        ASSERT_EQ(log_read_run(read, true), 0);
        read = log_read_free(read);
        ASSERT_OK(shard_log_find_time(m.f.log, 0, 1050, 20, &read));
        ASSERT_EQ(log_read_run(read, false), 1);
        read = log_read_free(read);
        model_done(&m);
}

TEST(a_reader_outlives_what_a_truncation_replaces) {
        _cleanup_(log_read_freep) struct log_read *read = NULL;
        const struct log_read_slice *slices;
        struct model m;
        size_t n;

        model_init(&m, 1, 1);
        for (unsigned i = 0; i < 600; i++)
                model_append_one(&m, 0, 4000, 1);
        model_flush(&m);
        ASSERT_GT(m.f.log->n_segments, 2);
        ASSERT_OK(shard_log_read(m.f.log, 0, 5, 600, 20000, NULL, &read));
        ASSERT_OK(shard_log_truncate(m.f.log, 50));
        sim_disk_run_jobs(m.f.disk);
        ASSERT_EQ(shard_log_last_index(m.f.log), 50);

        ASSERT_EQ(log_read_run(read, true), 1);
        slices = log_read_slices(read, &n);
        ASSERT_GE(n, 3);
        for (size_t i = 0; i < n; i++)
                assert_slice(slices + i, m.samples + 5 + i);
        read = log_read_free(read);

        /* And what follows the cut is found behind it. */
        m.n_samples = m.next_offsets[0] = 50;
        for (unsigned i = 0; i < 600; i++)
                model_append_one(&m, 0, 5000, 1);
        model_flush(&m);
        read_all(&m, 0, 0, 30000, true);
        read_all(&m, 0, 0, 30000, false);
        model_done(&m);
}

TEST(a_place_that_cannot_be_read_is_damage) {
        struct model m;
        const char *path;
        unsigned n_damage;
        uint64_t pos, index = 0;
        size_t n;

        model_init(&m, 1, 2);
        for (unsigned j = 0; j < 300; j++) {
                model_append_one(&m, 0, 3000, 10);
                model_append_one(&m, 1, 3000, 10);
        }
        model_flush(&m);
        log_fixture_kill(&m.f);
        ASSERT_OK(log_fixture_open(&m.f));
        find_entry(&m, 201, &path, &pos, &n);
        ASSERT_STREQ(path, m.f.log->segments[0]->path);
        ASSERT_GT(m.f.log->n_segments, 1);
        ASSERT_OK(sim_disk_break_range(m.f.disk, path, pos + 1000, 1000));
        for (unsigned i = 0; i < 2; i++) {
                ASSERT_EQ(read_past_damage(&m, i, &n_damage, &index), 299);
                ASSERT_EQ(n_damage, 1);
                ASSERT_EQ(index, 201);
                read_all(&m, 1, 0, 50000, i);
        }

        /* Once is not for ever. */
        ASSERT_OK(sim_disk_break_range(m.f.disk, path, 0, 0));
        sim_disk_fail(m.f.disk, SIM_DISK_READ, ".log", 1, EIO);
        read_all(&m, 0, 0, 50000, true);
        ASSERT_EQ(sim_disk_fail_clear(m.f.disk), 0);
        model_done(&m);
}

TEST(without_memory_nothing_is_given) {
        struct model m;

        model_init(&m, 1, 2);
        for (unsigned i = 0; i < 700; i++)
                model_append_one(&m, i % 2, 4000, 1);
        model_flush(&m);

        for (unsigned k = 0; k < 3; k++) {
                if (k == 1) {
                        _cleanup_(mem_freep) char *path = index_path(m.f.log->segments[0]);

                        ASSERT_OK(io_unlink(m.f.io, path));
                }
                FAULT_SWEEP {
                        _cleanup_(log_read_freep) struct log_read *read = NULL;
                        const struct log_read_slice *slices;
                        size_t n;
                        int r;

                        r = k == 2 ? shard_log_find_time(m.f.log, 1, 1000, 350, &read)
                                   : shard_log_read(m.f.log, 1, 20, 350, 30000, NULL, &read);
                        if (r >= 0)
                                r = log_read_run(read, true);
                        if (r < 0) {
                                ASSERT_ERROR(r, ENOMEM);
                                continue;
                        }
                        ASSERT_EQ(r, 1);
                        slices = log_read_slices(read, &n);
                        assert_slice(slices, m.samples + (k == 2 ? 1 : 41));
                }
        }
        model_done(&m);
}
