/* SPDX-License-Identifier: Apache-2.0 */

/* Tests log/index.h: which slices get points, what searching finds in memory and in the file, and
 * that no damage to the file goes unseen. */

#include "base/alloc.h"
#include "io/io-posix.h"
#include "tests/sim/disk.h"
#include "tests/unit/test-log-samples.h"

#define N_POINTS_MAX 64u

/* Notes one batch of @n_records at @pos, without writing anything. */
static int note(struct index_builder *b,
                uint64_t partition_id,
                uint64_t offset,
                int32_t n_records,
                int64_t time_ms,
                uint64_t pos) {
        uint8_t batch[BATCH_HEADER_BYTES + 1000];
        struct entry_slice slice;
        struct entry e;

        sample_batch(
                batch, BATCH_HEADER_BYTES + (size_t) n_records * RECORD_BYTES_MIN, n_records, 1);
        e = sample_entry(1, partition_id, offset, &slice, batch, sizeof(batch));
        e.append_time_ms = time_ms;
        return index_builder_add(b, &e, pos);
}

/* A closed segment that has no file of its own. */
static struct segment *fake_segment(struct io *io, uint64_t end_pos) {
        _cleanup_(io_file_unrefp) struct io_file *file = NULL;
        struct segment *s;

        ASSERT_OK(io_open(io, "00000000000000000005.log", IO_OPEN_WRITE | IO_OPEN_CREATE, &file));
        ASSERT_OK(segment_new(file,
                              ".",
                              &(const struct segment_header){
                                      .shard = 3, .first_index = 5, .generation = 2, .salt = 99 },
                              &s));
        s->end_pos = end_pos;
        s->is_closed = true;
        return s;
}

static void write_index(struct io *io, const struct index_builder *b, const struct segment *s) {
        _cleanup_(mem_freep) uint8_t *bytes = NULL;
        size_t n;

        ASSERT_OK(index_builder_encode(b, s, &bytes, &n));
        ASSERT_OK(index_write(io, s, bytes, n));
}

/* What a file of its own gives must be what the builder gives, for every search. */
static void assert_same(struct io *io,
                        const struct segment *s,
                        const struct index_builder *b,
                        uint64_t partition_id,
                        enum index_key what,
                        uint64_t key,
                        size_t n_max) {
        _cleanup_(index_file_closep) struct index_file *f = NULL;
        struct index_point found[N_POINTS_MAX + 1], first;
        const struct index_point *expected = NULL, *from_start = NULL;
        size_t n;
        bool more;

        n = index_builder_points(b, partition_id, what, key, n_max + 1, &expected);
        ASSERT_OK(index_file_open(io, s, /* whole= */ false, &f));
        ASSERT_EQ(index_file_points(f, partition_id, what, key, n_max, found, &first, &more),
                  MIN(n, n_max));
        if (n == 0)
                return;

        ASSERT_MEM(found, expected, MIN(n, n_max) * sizeof(found[0]));
        ASSERT_EQ(more, n > n_max);
        ASSERT_EQ(index_builder_points(b, partition_id, INDEX_KEY_OFFSET, 0, 1, &from_start), 1);
        ASSERT_MEM(&first, from_start, sizeof(first));
}

TEST(first_slice_has_a_point_and_then_one_each_distance) {
        _cleanup_(index_builder_freep) struct index_builder *b = NULL;
        const struct index_point *points;

        ASSERT_OK(index_builder_new(&b));
        ASSERT_OK(note(b, 7, 0, 10, 1000, 5000));
        ASSERT_OK(note(b, 7, 10, 10, 1001, 5000 + INDEX_DISTANCE_BYTES - 8));
        ASSERT_OK(note(b, 8, 0, 5, 1002, 5000 + INDEX_DISTANCE_BYTES - 8));
        ASSERT_OK(note(b, 7, 20, 10, 1003, 5000 + INDEX_DISTANCE_BYTES));
        ASSERT_OK(note(b, 7, 30, 10, 1004, 5000 + 2 * INDEX_DISTANCE_BYTES - 8));

        ASSERT_EQ(index_builder_n_partitions(b), 2);
        ASSERT_EQ(index_builder_n_points(b), 3);
        ASSERT_EQ(index_builder_points(b, 7, INDEX_KEY_OFFSET, 0, 9, &points), 2);
        ASSERT_EQ(points[0].offset, 0);
        ASSERT_EQ(points[0].append_time_ms, 1000);
        ASSERT_EQ(points[0].pos, 5000);
        ASSERT_EQ(points[1].offset, 20);
        ASSERT_EQ(points[1].append_time_ms, 1003);
        ASSERT_EQ(points[1].pos, 5000 + INDEX_DISTANCE_BYTES);
}

TEST(search_begins_at_the_last_point_that_cannot_be_behind) {
        _cleanup_(index_builder_freep) struct index_builder *b = NULL;
        const struct index_point *points;

        ASSERT_OK(index_builder_new(&b));
        for (uint64_t i = 0; i < 10; i++)
                ASSERT_OK(note(b,
                               7,
                               100 + i * 10,
                               10,
                               (int64_t) (1000 + i / 2 * 100),
                               4160 + i * INDEX_DISTANCE_BYTES));

        ASSERT_EQ(index_builder_points(b, 7, INDEX_KEY_OFFSET, 0, 99, &points), 10);
        ASSERT_EQ(index_builder_points(b, 7, INDEX_KEY_OFFSET, 129, 99, &points), 8);
        ASSERT_EQ(points[0].offset, 120);
        ASSERT_EQ(index_builder_points(b, 7, INDEX_KEY_OFFSET, 130, 99, &points), 7);
        ASSERT_EQ(points[0].offset, 130);
        ASSERT_EQ(index_builder_points(b, 7, INDEX_KEY_OFFSET, 130, 2, &points), 2);
        ASSERT_EQ(index_builder_points(b, 7, INDEX_KEY_OFFSET, UINT64_MAX, 99, &points), 1);
        ASSERT_EQ(points[0].offset, 190);
        ASSERT_EQ(index_builder_points(b, 6, INDEX_KEY_OFFSET, 130, 99, &points), 0);

        /* Two points have the time 1100: what is before them may still hold more of it. */
        ASSERT_EQ(index_builder_points(b, 7, INDEX_KEY_TIME, 1100, 99, &points), 9);
        ASSERT_EQ(points[0].offset, 110);
        ASSERT_EQ(index_builder_points(b, 7, INDEX_KEY_TIME, (uint64_t) -5, 99, &points), 10);
        ASSERT_EQ(index_builder_points(b, 7, INDEX_KEY_TIME, 9999, 99, &points), 1);
}

TEST(slices_of_one_entry_are_noted_together) {
        _cleanup_(index_builder_freep) struct index_builder *b = NULL;
        uint8_t batch[BATCH_HEADER_BYTES + RECORD_BYTES_MIN];
        struct entry_slice slices[3];
        struct entry e;

        sample_batch(batch, sizeof(batch), 1, 1);
        for (unsigned i = 0; i < ELEMENTSOF(slices); i++)
                e = sample_entry(1, 5 + i % 2, 10 + i, slices + i, batch, sizeof(batch));
        e.slices = slices;
        e.n_slices = ELEMENTSOF(slices);

        FAULT_SWEEP {
                int r;

                b = index_builder_free(b);
                r = index_builder_new(&b);
                if (r >= 0)
                        r = note(b, 5, 0, 1, 1, 4160);
                if (r < 0) {
                        b = index_builder_free(b);
                        continue;
                }

                r = index_builder_add(b, &e, 4160 + INDEX_DISTANCE_BYTES);
                if (r < 0)
                        ASSERT_ERROR(r, ENOMEM);
                ASSERT_EQ(index_builder_n_points(b), r < 0 ? 1 : 3);
                ASSERT_EQ(index_builder_n_partitions(b), r < 0 ? 1 : 2);
                b = index_builder_free(b);
        }
}

TEST(entries_without_slices_leave_no_trace) {
        _cleanup_(index_builder_freep) struct index_builder *b = NULL;

        ASSERT_OK(index_builder_new(&b));
        ASSERT_OK(index_builder_add(
                b, &(const struct entry){ .index = 1, .kind = ENTRY_NOOP }, 4160));
        ASSERT_EQ(index_builder_n_partitions(b), 0);
}

TEST(a_cut_takes_back_what_is_at_or_behind_it) {
        _cleanup_(index_builder_freep) struct index_builder *b = NULL;
        const struct index_point *points;

        ASSERT_OK(index_builder_new(&b));
        for (uint64_t i = 0; i < 10; i++) {
                ASSERT_OK(note(b, 7, i, 1, 1000, 8192 + i * INDEX_DISTANCE_BYTES));
                if (i >= 5)
                        ASSERT_OK(note(b, 8, i, 1, 1000, 8192 + i * INDEX_DISTANCE_BYTES + 512));
        }

        index_builder_cut(b, 8192 + 5 * INDEX_DISTANCE_BYTES + 8);
        ASSERT_EQ(index_builder_n_partitions(b), 1);
        ASSERT_EQ(index_builder_n_points(b), 6);
        ASSERT_EQ(index_builder_points(b, 7, INDEX_KEY_OFFSET, UINT64_MAX, 9, &points), 1);
        ASSERT_EQ(points[0].offset, 5);

        /* And it goes on from there. */
        ASSERT_OK(note(b, 7, 6, 1, 1000, 8192 + 6 * INDEX_DISTANCE_BYTES));
        ASSERT_EQ(index_builder_n_points(b), 7);
        index_builder_cut(b, 0);
        ASSERT_EQ(index_builder_n_points(b), 0);
        ASSERT_EQ(index_builder_n_partitions(b), 0);
}

TEST(ten_thousand_partitions_take_little_more_than_their_points) {
        _cleanup_(index_builder_freep) struct index_builder *b = NULL;
        size_t before = mem_bytes();

        ASSERT_OK(index_builder_new(&b));
        for (uint64_t i = 0; i < 400000; i++)
                ASSERT_OK(note(b, i % 10000, i / 10000, 1, 1000, 4160 + i * 160));
        ASSERT_EQ(index_builder_n_points(b), 400000);
        ASSERT_LT(mem_bytes() - before, 400000 * sizeof(struct index_point) * 5 / 4 + 10000 * 128);
}

TEST(the_file_is_what_the_table_says) {
        _cleanup_(io_posix_freep) struct io *io = NULL;
        _cleanup_(segment_unrefp) struct segment *s = NULL;
        _cleanup_(index_builder_freep) struct index_builder *b = NULL;
        _cleanup_(mem_freep) uint8_t *p = NULL;
        size_t n;

        ASSERT_OK(io_posix_new(test_tmpdir(), &io));
        s = fake_segment(io, 100000);
        ASSERT_OK(index_builder_new(&b));
        ASSERT_OK(note(b, 9, 40, 4, 1000, 4160));
        ASSERT_OK(note(b, 7, 0, 10, 1001, 8000));
        ASSERT_OK(note(b, 7, 10, 10, 1002, 8000 + INDEX_DISTANCE_BYTES));
        ASSERT_OK(note(b, 7, 20, 10, 1003, 9000 + INDEX_DISTANCE_BYTES));
        ASSERT_OK(index_builder_encode(b, s, &p, &n));

        ASSERT_EQ(n, 64 + 2 * 48 + 3 * 24);
        ASSERT_EQ(le32_load(p), crc32c(0, p + 4, 60));
        ASSERT_MEM(p + 4, "DRIX", 4);
        ASSERT_EQ(le32_load(p + 8), 1);
        ASSERT_EQ(le32_load(p + 12), crc32c(0, p + 64, n - 64));
        ASSERT_EQ(le64_load(p + 16), 3);
        ASSERT_EQ(le64_load(p + 24), 5);
        ASSERT_EQ(le64_load(p + 32), 2);
        ASSERT_EQ(le32_load(p + 40), 99);
        ASSERT_EQ(le32_load(p + 44), 2);
        ASSERT_EQ(le64_load(p + 48), 3);
        ASSERT_EQ(le64_load(p + 56), 100000);

        ASSERT_EQ(le64_load(p + 64), 7);
        ASSERT_EQ(le64_load(p + 72), 0);
        ASSERT_EQ(le32_load(p + 80), 2);
        ASSERT_EQ(le32_load(p + 84), 0);
        ASSERT_EQ(le64_load(p + 88), 0);
        ASSERT_EQ(le64_load(p + 96), 29);
        ASSERT_EQ(le64_load(p + 104), 1003);
        ASSERT_EQ(le64_load(p + 112), 9);
        ASSERT_EQ(le64_load(p + 120), 2);
        ASSERT_EQ(le64_load(p + 144), 43);

        ASSERT_EQ(le64_load(p + 160 + 24), 10);
        ASSERT_EQ(le64_load(p + 160 + 32), 1002);
        ASSERT_EQ(le64_load(p + 160 + 40), 8000 + INDEX_DISTANCE_BYTES);
        ASSERT_EQ(le64_load(p + 160 + 48), 40);
}

TEST(a_file_gives_what_the_memory_gave) {
        const unsigned n_partitions[] = { 1, 20, 3000 }; /* the last one is not loaded whole */

        for (size_t k = 0; k < ELEMENTSOF(n_partitions); k++) {
                _cleanup_(sim_disk_freep) struct sim_disk *disk = NULL;
                _cleanup_(segment_unrefp) struct segment *s = NULL;
                _cleanup_(index_builder_freep) struct index_builder *b = NULL;
                struct random random;
                uint64_t pos = 4160;
                struct io *io;

                ASSERT_OK(sim_disk_new(1, &disk));
                io = sim_disk_io(disk);
                random_init(&random, k);
                ASSERT_OK(index_builder_new(&b));
                for (unsigned i = 0; i < 10000; i++) {
                        uint64_t id = random_below(&random, n_partitions[k]) * 3;

                        ASSERT_OK(note(b, id, i * 10, 10, 1000 + i / 7, pos));
                        pos += random_below(&random, 4000) * 8;
                }
                s = fake_segment(io, pos);
                write_index(io, b, s);

                for (unsigned i = 0; i < 300; i++) {
                        uint64_t id = random_below(&random, n_partitions[k] * 3);

                        assert_same(
                                io, s, b, id, INDEX_KEY_OFFSET, random_below(&random, 110000), 1);
                        assert_same(io,
                                    s,
                                    b,
                                    id,
                                    INDEX_KEY_OFFSET,
                                    random_below(&random, 110000),
                                    N_POINTS_MAX);
                        assert_same(io, s, b, id, INDEX_KEY_TIME, random_below(&random, 3000), 5);
                }
                assert_same(io, s, b, 0, INDEX_KEY_OFFSET, 0, N_POINTS_MAX);
                assert_same(io, s, b, 0, INDEX_KEY_OFFSET, UINT64_MAX, N_POINTS_MAX);
        }
}

TEST(an_index_may_be_empty) {
        _cleanup_(io_posix_freep) struct io *io = NULL;
        _cleanup_(segment_unrefp) struct segment *s = NULL;
        _cleanup_(index_builder_freep) struct index_builder *b = NULL;

        ASSERT_OK(io_posix_new(test_tmpdir(), &io));
        s = fake_segment(io, 8192);
        ASSERT_OK(index_builder_new(&b));
        write_index(io, b, s);
        assert_same(io, s, b, 7, INDEX_KEY_OFFSET, 0, 1);
}

TEST(any_flipped_bit_of_a_file_is_seen) {
        _cleanup_(sim_disk_freep) struct sim_disk *disk = NULL;
        _cleanup_(segment_unrefp) struct segment *s = NULL;
        _cleanup_(index_builder_freep) struct index_builder *b = NULL;
        const char *path = "./00000000000000000005.idx";
        uint64_t size;
        struct io *io;

        ASSERT_OK(sim_disk_new(1, &disk));
        io = sim_disk_io(disk);
        s = fake_segment(io, 1000000);
        ASSERT_OK(index_builder_new(&b));
        for (uint64_t i = 0; i < 40; i++)
                ASSERT_OK(note(b, i % 8, i, 1, 1000, 4160 + i * 8000));
        write_index(io, b, s);

        ASSERT_OK(sim_disk_peek_size(disk, path, &size));
        for (uint64_t pos = 0; pos < size; pos++) {
                struct index_file *f = NULL;

                ASSERT_OK(sim_disk_flip_bit(disk, path, pos, pos % 8));
                ASSERT_ERROR(index_file_open(io, s, /* whole= */ false, &f), EBADMSG);
                ASSERT_NULL(f);
                ASSERT_OK(sim_disk_flip_bit(disk, path, pos, pos % 8));
        }
        assert_same(io, s, b, 3, INDEX_KEY_OFFSET, 0, 3);
}

TEST(of_a_large_file_the_whole_is_verified_on_demand) {
        _cleanup_(sim_disk_freep) struct sim_disk *disk = NULL;
        _cleanup_(segment_unrefp) struct segment *s = NULL;
        _cleanup_(index_builder_freep) struct index_builder *b = NULL;
        const char *path = "./00000000000000000005.idx";
        struct index_file *f = NULL;
        struct random random;
        uint64_t size;
        struct io *io;

        ASSERT_OK(sim_disk_new(1, &disk));
        io = sim_disk_io(disk);
        s = fake_segment(io, UINT64_C(1) << 30);
        ASSERT_OK(index_builder_new(&b));
        for (uint64_t i = 0; i < 5000; i++)
                ASSERT_OK(note(b, i % 1000, i, 1, 1000, 4160 + i * 800));
        write_index(io, b, s);
        ASSERT_OK(sim_disk_peek_size(disk, path, &size));
        ASSERT_GT(size, INDEX_LOADED_BYTES_MAX);

        ASSERT_OK(index_file_open(io, s, /* whole= */ false, &f));
        ASSERT_FALSE(index_file_is_verified(f));
        f = index_file_close(f);
        ASSERT_OK(index_file_open(io, s, /* whole= */ true, &f));
        ASSERT_TRUE(index_file_is_verified(f));
        f = index_file_close(f);

        random_init(&random, 1);
        for (unsigned i = 0; i < 500; i++) {
                uint64_t pos = random_below(&random, size);
                struct index_point points[8];
                int r;

                ASSERT_OK(sim_disk_flip_bit(disk, path, pos, pos % 8));
                ASSERT_ERROR(index_file_open(io, s, /* whole= */ true, &f), EBADMSG);

                /* Otherwise what is found may be wrong, but it lies inside. */
                r = index_file_open(io, s, /* whole= */ false, &f);
                ASSERT_TRUE(r == 0 || (r == -EBADMSG && pos < INDEX_HEADER_BYTES));
                for (uint64_t id = 0; r >= 0 && id < 1000; id += 97) {
                        int n = index_file_points(
                                f, id, INDEX_KEY_OFFSET, 2500, 8, points, NULL, NULL);

                        ASSERT_TRUE(n >= 0 || n == -EBADMSG);
                        for (int j = 0; j < n; j++)
                                ASSERT_TRUE(points[j].pos >= SEGMENT_HEADER_BYTES &&
                                            points[j].pos < s->end_pos);
                }
                f = index_file_close(f);
                ASSERT_OK(sim_disk_flip_bit(disk, path, pos, pos % 8));
        }
}

TEST(another_segments_file_is_bad) {
        _cleanup_(io_posix_freep) struct io *io = NULL;
        _cleanup_(segment_unrefp) struct segment *s = NULL;
        _cleanup_(index_builder_freep) struct index_builder *b = NULL;
        struct index_file *f = NULL;
        struct segment other;

        ASSERT_OK(io_posix_new(test_tmpdir(), &io));
        s = fake_segment(io, 100000);
        ASSERT_OK(index_builder_new(&b));
        ASSERT_ERROR(index_file_open(io, s, false, &f), ENOENT);
        ASSERT_OK(note(b, 9, 40, 4, 1000, 4160));
        write_index(io, b, s);

        other = *s;
        other.header.generation++;
        ASSERT_ERROR(index_file_open(io, &other, false, &f), EBADMSG);
        other = *s;
        other.header.salt++;
        ASSERT_ERROR(index_file_open(io, &other, false, &f), EBADMSG);
        other = *s;
        other.header.shard++;
        ASSERT_ERROR(index_file_open(io, &other, false, &f), EBADMSG);
        other = *s;
        other.end_pos += 512;
        ASSERT_ERROR(index_file_open(io, &other, false, &f), EBADMSG);
        ASSERT_NULL(f);
}

/* Writes a segment of @n_groups groups of some entries, noting them too. */
static void
write_segment(struct sample_segment *s, struct index_builder *b, struct io *io, unsigned n_groups) {
        uint8_t batch[3000];
        struct entry_slice slice;
        struct random random;

        random_init(&random, n_groups);
        sample_segment_init(s, io, ".", 1, 12345);
        for (unsigned i = 0; i < n_groups; i++) {
                for (uint64_t j = random_below(&random, 6); j > 0; j--) {
                        size_t n = random_between(
                                &random, BATCH_HEADER_BYTES + RECORD_BYTES_MIN, sizeof(batch));
                        uint64_t pos;
                        struct entry e;

                        sample_batch(batch, n, 1, s->next_index);
                        e = sample_entry(s->next_index,
                                         random_below(&random, 5),
                                         s->next_index,
                                         &slice,
                                         batch,
                                         n);
                        pos = sample_segment_add(s, &e);
                        ASSERT_OK(index_builder_add(b, &e, pos));
                }
                sample_segment_flush(s);
        }
        sample_segment_close(s);
}

TEST(built_from_the_segment_it_is_the_same_to_the_byte) {
        _cleanup_(io_posix_freep) struct io *io = NULL;
        _cleanup_(index_builder_freep) struct index_builder *b = NULL, *built = NULL;
        _cleanup_(sample_segment_done) struct sample_segment s;
        _cleanup_(mem_freep) uint8_t *p = NULL, *q = NULL;
        size_t n, k;

        ASSERT_OK(io_posix_new(test_tmpdir(), &io));
        ASSERT_OK(index_builder_new(&b));
        write_segment(&s, b, io, 2000);
        ASSERT_OK(index_build(s.segment, &built));
        ASSERT_OK(index_builder_encode(b, s.segment, &p, &n));
        ASSERT_OK(index_builder_encode(built, s.segment, &q, &k));
        ASSERT_EQ(n, k);
        ASSERT_MEM(p, q, n);

        ASSERT_OK(index_rebuild(io, s.segment));
        assert_same(io, s.segment, b, 3, INDEX_KEY_OFFSET, 1000, N_POINTS_MAX);
}

TEST(built_from_a_damaged_segment_it_leads_to_what_is_good) {
        _cleanup_(sim_disk_freep) struct sim_disk *disk = NULL;
        _cleanup_(index_builder_freep) struct index_builder *b = NULL, *built = NULL;
        _cleanup_(sample_segment_done) struct sample_segment s;
        struct io *io;

        ASSERT_OK(sim_disk_new(1, &disk));
        io = sim_disk_io(disk);
        ASSERT_OK(index_builder_new(&b));
        write_segment(&s, b, io, 500);
        for (uint64_t pos = 20000; pos < s.segment->end_pos; pos += 20000)
                ASSERT_OK(sim_disk_flip_bit(disk, s.segment->path, pos, 3));

        ASSERT_OK(index_build(s.segment, &built));
        ASSERT_EQ(index_builder_n_partitions(built), index_builder_n_partitions(b));
        ASSERT_GT(index_builder_n_points(built), index_builder_n_points(b) * 9 / 10);
}

TEST(writing_fails_whole_and_what_a_crash_left_is_no_hindrance) {
        _cleanup_(sim_disk_freep) struct sim_disk *disk = NULL;
        _cleanup_(segment_unrefp) struct segment *s = NULL;
        _cleanup_(index_builder_freep) struct index_builder *b = NULL;
        _cleanup_(mem_freep) uint8_t *bytes = NULL;
        const unsigned ops[] = { SIM_DISK_WRITE, SIM_DISK_SYNC, SIM_DISK_RENAME };
        struct index_file *f = NULL;
        struct io_file *file;
        struct io *io;
        size_t n;

        ASSERT_OK(sim_disk_new(1, &disk));
        io = sim_disk_io(disk);
        s = fake_segment(io, 100000);
        ASSERT_OK(index_builder_new(&b));
        ASSERT_OK(note(b, 9, 40, 4, 1000, 4160));
        ASSERT_OK(index_builder_encode(b, s, &bytes, &n));

        for (size_t i = 0; i < ELEMENTSOF(ops); i++) {
                sim_disk_fail(disk, ops[i], ".idx.new", 1, ENOSPC);
                ASSERT_ERROR(index_write(io, s, bytes, n), ENOSPC);
                ASSERT_ERROR(index_file_open(io, s, false, &f), ENOENT);
        }

        ASSERT_OK(io_open(
                io, "./00000000000000000005.idx.new", IO_OPEN_WRITE | IO_OPEN_CREATE, &file));
        io_file_unref(file);
        ASSERT_OK(index_write(io, s, bytes, n));
        assert_same(io, s, b, 9, INDEX_KEY_OFFSET, 0, 1);
        ASSERT_ERROR(io_unlink(io, "./00000000000000000005.idx.new"), ENOENT);
}

TEST(without_memory_nothing_is_half_done) {
        _cleanup_(sim_disk_freep) struct sim_disk *disk = NULL;
        _cleanup_(index_builder_freep) struct index_builder *b = NULL;
        _cleanup_(sample_segment_done) struct sample_segment s;
        struct io *io;

        ASSERT_OK(sim_disk_new(1, &disk));
        io = sim_disk_io(disk);
        ASSERT_OK(index_builder_new(&b));
        write_segment(&s, b, io, 100);

        FAULT_SWEEP {
                int r = index_rebuild(io, s.segment);

                if (r < 0)
                        ASSERT_ERROR(r, ENOMEM);
        }
        FAULT_SWEEP {
                _cleanup_(index_file_closep) struct index_file *f = NULL;
                int r = index_file_open(io, s.segment, false, &f);

                if (r < 0) {
                        ASSERT_ERROR(r, ENOMEM);
                        ASSERT_NULL(f);
                }
        }
        assert_same(io, s.segment, b, 2, INDEX_KEY_OFFSET, 50, 10);
}
