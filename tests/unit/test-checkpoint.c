/* SPDX-License-Identifier: Apache-2.0 */

/* Tests log/checkpoint.h: what is written is read back, damage is passed over, a crash at any step
 * leaves a good one. */

#include <inttypes.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/random.h"
#include "io/io-posix.h"
#include "log/checkpoint.h"
#include "log/format.h"
#include "tests/lib/test.h"
#include "tests/sim/disk.h"

#define SHARD 7u
#define BODY_BYTES 3000u

static void body_fill(uint8_t *body, size_t n, uint64_t seed) {
        struct random random;

        random_init(&random, seed);
        random_bytes(&random, body, n);
}

static int write_one(struct io *io, const char *dir, uint64_t index) {
        uint8_t body[BODY_BYTES];

        body_fill(body, sizeof(body), index);
        return checkpoint_write(io,
                                dir,
                                SHARD,
                                &(const struct checkpoint){
                                        .index = index,
                                        .term = index / 10,
                                        .append_time_ms = (int64_t) index * 1000,
                                        .body = body,
                                        .body_bytes = sizeof(body),
                                });
}

/* The newest good one is @index (0: none), and all of it is right. */
static void assert_newest(struct io *io, const char *dir, uint64_t index, unsigned n_bad) {
        struct checkpoint c = {};
        unsigned found_bad = 99;
        uint8_t body[BODY_BYTES];
        int r;

        r = ASSERT_OK(checkpoint_load(io, dir, SHARD, &c, &found_bad));
        ASSERT_EQ(r, index > 0);
        ASSERT_EQ(found_bad, n_bad);
        if (index == 0)
                return;

        body_fill(body, sizeof(body), index);
        ASSERT_EQ(c.index, index);
        ASSERT_EQ(c.term, index / 10);
        ASSERT_EQ(c.append_time_ms, index * 1000);
        ASSERT_EQ(c.body_bytes, sizeof(body));
        ASSERT_MEM(c.body, body, sizeof(body));
        checkpoint_done(&c);
        ASSERT_NULL(c.body);
}

static char *path_of(const char *dir, uint64_t index, const char *suffix) {
        char *path = mem_asprintf("%s/checkpoint-%020" PRIu64 "%s", dir, index, suffix);

        ASSERT_NOT_NULL(path);
        return path;
}

TEST(there_may_be_none) {
        _cleanup_(io_posix_freep) struct io *io = NULL;
        uint64_t index = 99;

        ASSERT_OK(io_posix_new(test_tmpdir(), &io));
        assert_newest(io, ".", 0, 0);
        ASSERT_OK(checkpoint_newest(io, ".", SHARD, &index));
        ASSERT_EQ(index, 0);
        ASSERT_OK(checkpoint_prune(io, "."));
}

TEST(the_newest_is_read_back_whole) {
        _cleanup_(io_posix_freep) struct io *io = NULL;
        uint64_t index;

        ASSERT_OK(io_posix_new(test_tmpdir(), &io));
        ASSERT_OK(write_one(io, ".", 99));
        ASSERT_OK(write_one(io, ".", 4711));
        ASSERT_OK(write_one(io, ".", 100));
        assert_newest(io, ".", 4711, 0);
        ASSERT_OK(checkpoint_newest(io, ".", SHARD, &index));
        ASSERT_EQ(index, 4711);
}

TEST(the_file_is_what_the_table_says) {
        _cleanup_(io_posix_freep) struct io *io = NULL;
        _cleanup_(io_file_unrefp) struct io_file *file = NULL;
        _cleanup_(mem_freep) char *path = path_of(".", 4711, "");
        uint8_t p[CHECKPOINT_HEADER_BYTES + BODY_BYTES + 1], body[BODY_BYTES];

        ASSERT_OK(io_posix_new(test_tmpdir(), &io));
        ASSERT_OK(write_one(io, ".", 4711));
        ASSERT_OK(io_open(io, path, IO_OPEN_READ, &file));
        ASSERT_EQ(ASSERT_OK(io_pread(file, p, sizeof(p), 0, 0)), sizeof(p) - 1);

        body_fill(body, sizeof(body), 4711);
        ASSERT_EQ(le32_load(p), crc32c(0, p + 4, 60));
        ASSERT_MEM(p + 4, "DRCP", 4);
        ASSERT_EQ(le32_load(p + 8), 1);
        ASSERT_EQ(le32_load(p + 12), crc32c(0, body, sizeof(body)));
        ASSERT_EQ(le64_load(p + 16), SHARD);
        ASSERT_EQ(le64_load(p + 24), 4711);
        ASSERT_EQ(le64_load(p + 32), 471);
        ASSERT_EQ(le64_load(p + 40), 4711000);
        ASSERT_EQ(le64_load(p + 48), BODY_BYTES);
        ASSERT_EQ(le64_load(p + 56), 0);
        ASSERT_MEM(p + 64, body, sizeof(body));
}

TEST(an_empty_body_is_a_body) {
        _cleanup_(io_posix_freep) struct io *io = NULL;
        struct checkpoint c = { .index = 5 };

        ASSERT_OK(io_posix_new(test_tmpdir(), &io));
        ASSERT_OK(checkpoint_write(io, ".", SHARD, &c));
        ASSERT_EQ(checkpoint_load(io, ".", SHARD, &c, NULL), 1);
        ASSERT_EQ(c.index, 5);
        ASSERT_EQ(c.body_bytes, 0);
        checkpoint_done(&c);
}

TEST(any_flipped_bit_gives_the_one_before) {
        _cleanup_(sim_disk_freep) struct sim_disk *disk = NULL;
        _cleanup_(mem_freep) char *path = path_of("d", 20, "");
        uint64_t index;
        struct io *io;

        ASSERT_OK(sim_disk_new(1, &disk));
        io = sim_disk_io(disk);
        ASSERT_OK(io_mkdir(io, "d"));
        ASSERT_OK(write_one(io, "d", 10));
        ASSERT_OK(write_one(io, "d", 20));

        for (unsigned pos = 0; pos < CHECKPOINT_HEADER_BYTES + BODY_BYTES; pos++) {
                ASSERT_OK(sim_disk_flip_bit(disk, path, pos, pos % 8));
                assert_newest(io, "d", 10, 1);
                ASSERT_OK(checkpoint_newest(io, "d", SHARD, &index));
                ASSERT_EQ(index, pos < CHECKPOINT_HEADER_BYTES ? 10 : 20);
                ASSERT_OK(sim_disk_flip_bit(disk, path, pos, pos % 8));
        }
        assert_newest(io, "d", 20, 0);
}

TEST(another_length_gives_the_one_before) {
        _cleanup_(io_posix_freep) struct io *io = NULL;
        _cleanup_(io_file_unrefp) struct io_file *file = NULL;
        _cleanup_(mem_freep) char *path = path_of(".", 20, "");
        const uint64_t sizes[] = {
                0,
                1,
                CHECKPOINT_HEADER_BYTES - 1,
                CHECKPOINT_HEADER_BYTES,
                CHECKPOINT_HEADER_BYTES + BODY_BYTES - 1,
                CHECKPOINT_HEADER_BYTES + BODY_BYTES + 1,
        };

        ASSERT_OK(io_posix_new(test_tmpdir(), &io));
        ASSERT_OK(write_one(io, ".", 10));
        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                ASSERT_OK(write_one(io, ".", 20));
                file = io_file_unref(file);
                ASSERT_OK(io_open(io, path, IO_OPEN_READ | IO_OPEN_WRITE, &file));
                ASSERT_OK(io_truncate(file, sizes[i]));
                assert_newest(io, ".", 10, 1);
        }
}

TEST(a_renamed_one_or_another_shards_is_none) {
        _cleanup_(io_posix_freep) struct io *io = NULL;
        _cleanup_(mem_freep) char *from = path_of(".", 20, ""), *to = path_of(".", 21, "");
        struct checkpoint c = {};
        unsigned n_bad;

        ASSERT_OK(io_posix_new(test_tmpdir(), &io));
        ASSERT_OK(write_one(io, ".", 20));
        ASSERT_EQ(checkpoint_load(io, ".", SHARD + 1, &c, &n_bad), 0);
        ASSERT_EQ(n_bad, 1);
        ASSERT_OK(io_rename(io, from, to));
        assert_newest(io, ".", 0, 1);
}

TEST(a_newer_format_is_refused_not_passed_over) {
        _cleanup_(io_posix_freep) struct io *io = NULL;
        _cleanup_(io_file_unrefp) struct io_file *file = NULL;
        _cleanup_(mem_freep) char *path = path_of(".", 20, "");
        struct checkpoint c = {};
        uint8_t p[CHECKPOINT_HEADER_BYTES];
        uint64_t index = 99;

        ASSERT_OK(io_posix_new(test_tmpdir(), &io));
        ASSERT_OK(write_one(io, ".", 10));
        ASSERT_OK(write_one(io, ".", 20));
        ASSERT_OK(io_open(io, path, IO_OPEN_READ | IO_OPEN_WRITE, &file));
        ASSERT_OK(io_pread(file, p, sizeof(p), 0, 0));
        le32_store(p + 8, LOG_FORMAT_VERSION + 1);
        le32_store(p, crc32c(0, p + 4, sizeof(p) - 4));
        ASSERT_OK(io_pwrite(file, p, sizeof(p), 0));

        ASSERT_ERROR(checkpoint_load(io, ".", SHARD, &c, NULL), EPROTONOSUPPORT);
        ASSERT_ERROR(checkpoint_newest(io, ".", SHARD, &index), EPROTONOSUPPORT);
        ASSERT_EQ(index, 99);
        ASSERT_NULL(c.body);
}

TEST(prune_keeps_the_newest_two_with_a_good_header) {
        _cleanup_(sim_disk_freep) struct sim_disk *disk = NULL;
        _cleanup_(mem_freep) char *bad = path_of("d", 40, ""),
                                  *unfinished = path_of("d", 60, ".new");
        const uint64_t kept[] = { 30, 40, 50 };
        struct io_file *file;
        size_t n, n_found = 0;
        struct io *io;
        char **names;

        ASSERT_OK(sim_disk_new(1, &disk));
        io = sim_disk_io(disk);
        ASSERT_OK(io_mkdir(io, "d"));
        for (uint64_t index = 10; index <= 50; index += 10)
                ASSERT_OK(write_one(io, "d", index));
        ASSERT_OK(sim_disk_flip_bit(disk, bad, 30, 0));
        ASSERT_OK(io_open(io, unfinished, IO_OPEN_WRITE | IO_OPEN_CREATE, &file));
        io_file_unref(file);
        ASSERT_OK(io_open(io, "d/hardstate", IO_OPEN_WRITE | IO_OPEN_CREATE, &file));
        io_file_unref(file);

        ASSERT_OK(checkpoint_prune(io, "d"));
        ASSERT_OK(io_list(io, "d", &names, &n));
        ASSERT_EQ(n, ELEMENTSOF(kept) + 1);
        for (size_t i = 0; i < n; i++) {
                for (size_t j = 0; j < ELEMENTSOF(kept); j++) {
                        char name[64];

                        (void) snprintf(name, sizeof(name), "checkpoint-%020" PRIu64, kept[j]);
                        n_found += streq(names[i], name);
                }
                n_found += streq(names[i], "hardstate");
        }
        ASSERT_EQ(n_found, n);
        io_names_free(names, n);
        assert_newest(io, "d", 50, 0);
}

/* Cuts the power at each step of a write that follows a first one, and says how many steps there
 * were. */
static uint64_t crash_at_every_step(uint64_t seed) {
        for (uint64_t step = 1;; step++) {
                _cleanup_(sim_disk_freep) struct sim_disk *disk = NULL;
                struct checkpoint c = {};
                unsigned n_bad = 0;
                bool has_crashed;
                struct io *io;
                int r;

                ASSERT_OK(sim_disk_new(seed * 1000 + step, &disk));
                io = sim_disk_io(disk);
                ASSERT_OK(io_mkdir(io, "d"));
                ASSERT_OK(io_sync_dir(io, "."));
                ASSERT_OK(write_one(io, "d", 10));

                sim_disk_crash_at(disk, step);
                r = write_one(io, "d", 20);
                has_crashed = sim_disk_has_crashed(disk);
                ASSERT_EQ(has_crashed, r < 0);
                sim_disk_power_cut(disk);
                sim_disk_restart(disk);

                ASSERT_EQ(checkpoint_load(io, "d", SHARD, &c, &n_bad), 1);
                ASSERT_EQ(n_bad, 0);
                ASSERT_TRUE(c.index == 20 || (has_crashed && c.index == 10));
                checkpoint_done(&c);

                /* And it goes on as if nothing had been. */
                ASSERT_OK(write_one(io, "d", 20));
                ASSERT_OK(checkpoint_prune(io, "d"));
                assert_newest(io, "d", 20, 0);
                if (!has_crashed)
                        return step;
        }
}

TEST(a_power_cut_at_any_step_leaves_the_old_or_the_new) {
        for (uint64_t seed = 0; seed < 50; seed++)
                ASSERT_GE(crash_at_every_step(seed), 5);
}

TEST(a_failure_at_any_step_leaves_the_one_before) {
        const unsigned ops[] = { SIM_DISK_OPEN, SIM_DISK_WRITE, SIM_DISK_SYNC, SIM_DISK_RENAME };

        for (size_t i = 0; i < ELEMENTSOF(ops); i++) {
                _cleanup_(sim_disk_freep) struct sim_disk *disk = NULL;
                struct io *io;
                size_t n;
                char **names;

                ASSERT_OK(sim_disk_new(i, &disk));
                io = sim_disk_io(disk);
                ASSERT_OK(io_mkdir(io, "d"));
                ASSERT_OK(write_one(io, "d", 10));
                sim_disk_fail(disk, ops[i], "checkpoint-", 1, EIO);
                ASSERT_ERROR(write_one(io, "d", 20), EIO);
                assert_newest(io, "d", 10, 0);
                ASSERT_OK(io_list(io, "d", &names, &n));
                ASSERT_EQ(n, 1); /* nothing is left behind */
                io_names_free(names, n);
                ASSERT_OK(write_one(io, "d", 20));
                assert_newest(io, "d", 20, 0);
        }
}

TEST(one_that_cannot_be_read_is_passed_over) {
        const uint64_t bad_pos[] = { 0, CHECKPOINT_HEADER_BYTES + BODY_BYTES / 2 };

        for (size_t i = 0; i < ELEMENTSOF(bad_pos); i++) {
                _cleanup_(sim_disk_freep) struct sim_disk *disk = NULL;
                _cleanup_(mem_freep) char *path = path_of("d", 20, "");
                struct io *io;

                ASSERT_OK(sim_disk_new(1, &disk));
                io = sim_disk_io(disk);
                ASSERT_OK(io_mkdir(io, "d"));
                ASSERT_OK(write_one(io, "d", 10));
                ASSERT_OK(write_one(io, "d", 20));
                ASSERT_OK(sim_disk_break_range(disk, path, bad_pos[i], 1));
                assert_newest(io, "d", 10, 1);
                ASSERT_OK(checkpoint_prune(io, "d"));
                assert_newest(io, "d", 10, 1);
                ASSERT_OK(write_one(io, "d", 30));
                assert_newest(io, "d", 30, 0);
        }
}

TEST(another_error_of_the_disk_is_not_damage) {
        _cleanup_(sim_disk_freep) struct sim_disk *disk = NULL;
        struct checkpoint c = {};
        struct io *io;

        ASSERT_OK(sim_disk_new(1, &disk));
        io = sim_disk_io(disk);
        ASSERT_OK(io_mkdir(io, "d"));
        ASSERT_OK(write_one(io, "d", 10));
        ASSERT_OK(write_one(io, "d", 20));
        sim_disk_fail(disk, SIM_DISK_READ, NULL, 2, ENOMEM);
        ASSERT_ERROR(checkpoint_load(io, "d", SHARD, &c, NULL), ENOMEM);
        ASSERT_NULL(c.body);
}

TEST(without_memory_nothing_changes) {
        _cleanup_(sim_disk_freep) struct sim_disk *disk = NULL;
        struct io *io;

        ASSERT_OK(sim_disk_new(1, &disk));
        io = sim_disk_io(disk);
        ASSERT_OK(io_mkdir(io, "d"));
        ASSERT_OK(write_one(io, "d", 10));

        FAULT_SWEEP {
                int r = write_one(io, "d", 20);

                if (r < 0)
                        ASSERT_ERROR(r, ENOMEM);
        }
        FAULT_SWEEP {
                struct checkpoint c = {};
                int r;

                r = checkpoint_load(io, "d", SHARD, &c, NULL);
                if (r < 0) {
                        ASSERT_ERROR(r, ENOMEM);
                        ASSERT_NULL(c.body);
                        continue;
                }
                ASSERT_EQ(c.index, 20);
                checkpoint_done(&c);
        }
        FAULT_SWEEP {
                int r = checkpoint_prune(io, "d");

                if (r < 0)
                        ASSERT_ERROR(r, ENOMEM);
        }
        assert_newest(io, "d", 20, 0);
}
