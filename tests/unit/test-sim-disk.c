/* SPDX-License-Identifier: Apache-2.0 */

/* The simulator's disk forgets what a real one may forget, and nothing else. */

#include "tests/lib/test.h"
#include "tests/sim/disk.h"

#define SEEDS 200u
#define SECTOR IO_SECTOR_BYTES

static struct io_file *open_file(struct sim_disk *d, const char *path, unsigned flags) {
        struct io_file *f;

        ASSERT_OK(io_open(sim_disk_io(d), path, flags, &f));
        return f;
}

static struct io_file *create_file(struct sim_disk *d, const char *path) {
        return open_file(d, path, IO_OPEN_READ | IO_OPEN_WRITE | IO_OPEN_CREATE);
}

/* A file whose name and first @n bytes, all @c, are on disk. */
static struct io_file *create_synced(struct sim_disk *d, const char *path, int c, size_t n) {
        struct io_file *f = create_file(d, path);
        char bytes[8 * SECTOR];

        memset(bytes, c, sizeof(bytes));
        ASSERT_OK(io_pwrite(f, bytes, n, 0));
        ASSERT_OK(io_fdatasync(f));
        ASSERT_OK(io_sync_dir(sim_disk_io(d), "/"));
        return f;
}

static void write_filled(struct io_file *f, int c, size_t n, uint64_t pos) {
        char bytes[8 * SECTOR];

        memset(bytes, c, sizeof(bytes));
        ASSERT_OK(io_pwrite(f, bytes, n, pos));
}

static char byte_at(struct io_file *f, uint64_t pos) {
        char c;

        ASSERT_EQ(io_pread(f, &c, 1, pos, 0), 1);
        return c;
}

static bool exists(struct sim_disk *d, const char *path) {
        struct io_stat st;
        int r = io_stat(sim_disk_io(d), path, &st);

        if (r != -ENOENT)
                ASSERT_OK(r);
        return r == 0;
}

TEST(reads_back_what_was_written) {
        _cleanup_(sim_disk_freep) struct sim_disk *d = NULL;
        _cleanup_(io_file_unrefp) struct io_file *f = NULL;
        char out[32] = "";
        uint64_t size;

        ASSERT_OK(sim_disk_new(1, &d));
        f = create_file(d, "/a");
        ASSERT_OK(io_pwrite(f, "hello", 5, 10000));
        ASSERT_EQ(io_pread(f, out, sizeof(out), 9998, 0), 7);
        ASSERT_MEM(out, "\0\0hello", 7);
        ASSERT_EQ(io_pread(f, out, sizeof(out), 10005, 0), 0);
        ASSERT_OK(io_file_size(f, &size));
        ASSERT_EQ(size, 10005);

        ASSERT_OK(io_truncate(f, 10002));
        ASSERT_OK(io_truncate(f, 10010));
        ASSERT_EQ(io_pread(f, out, sizeof(out), 10000, 0), 10);
        ASSERT_MEM(out, "he\0\0\0\0\0\0\0\0", 10);
}

TEST(paths_and_their_errors) {
        _cleanup_(sim_disk_freep) struct sim_disk *d = NULL;
        _cleanup_(io_file_unrefp) struct io_file *f = NULL;
        struct io_file *none = NULL;
        struct io_stat st;
        struct io *io;
        char **names;
        size_t n;

        ASSERT_OK(sim_disk_new(1, &d));
        io = sim_disk_io(d);

        ASSERT_ERROR(io_open(io, "a", IO_OPEN_READ, &none), ENOENT);
        ASSERT_ERROR(io_open(io, "x/a", IO_OPEN_READ | IO_OPEN_CREATE, &none), ENOENT);
        ASSERT_OK(io_mkdir(io, "x"));
        ASSERT_ERROR(io_mkdir(io, "/x/"), EEXIST);
        f = create_file(d, "./x/b");
        ASSERT_ERROR(io_open(io, "x/b", IO_OPEN_WRITE | IO_OPEN_CREATE, &none), EEXIST);
        ASSERT_ERROR(io_rmdir(io, "x"), ENOTEMPTY);
        ASSERT_ERROR(io_unlink(io, "x"), EISDIR);
        ASSERT_ERROR(io_rmdir(io, "x/b"), ENOTDIR);
        ASSERT_ERROR(io_stat(io, "x/b/c", &st), ENOTDIR);

        ASSERT_OK(io_link(io, "x/b", "x/a"));
        ASSERT_ERROR(io_link(io, "x/b", "x/a"), EEXIST);
        ASSERT_OK(io_stat(io, "x/b", &st));
        ASSERT_EQ(st.n_links, 2);
        ASSERT_OK(io_list(io, "/x", &names, &n));
        ASSERT_EQ(n, 2);
        ASSERT_STREQ(names[0], "a");
        ASSERT_STREQ(names[1], "b");
        io_names_free(names, n);

        ASSERT_OK(io_rename(io, "x", "y"));
        ASSERT_OK(io_unlink(io, "y/b"));
        ASSERT_ERROR(io_unlink(io, "y/b"), ENOENT);
        ASSERT_OK(io_stat(io, "y/a", &st));
        ASSERT_EQ(st.n_links, 1);
}

TEST(lock_excludes_until_the_holder_is_gone) {
        _cleanup_(sim_disk_freep) struct sim_disk *d = NULL;
        struct io_file *a, *b;

        ASSERT_OK(sim_disk_new(1, &d));
        a = create_file(d, "lock");
        b = open_file(d, "lock", IO_OPEN_WRITE);
        ASSERT_OK(io_lock(a));
        ASSERT_OK(io_lock(a));
        ASSERT_ERROR(io_lock(b), EBUSY);
        a = io_file_unref(a);
        ASSERT_OK(io_lock(b));

        sim_disk_kill(d);
        ASSERT_ERROR(io_lock(b), ECANCELED);
        io_file_unref(b);
        sim_disk_restart(d);
        b = open_file(d, "lock", IO_OPEN_WRITE);
        ASSERT_OK(io_lock(b));
        io_file_unref(b);
}

TEST(synced_data_and_names_survive_every_power_cut) {
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
                _cleanup_(sim_disk_freep) struct sim_disk *d = NULL;
                struct io_file *f;

                ASSERT_OK(sim_disk_new(seed, &d));
                f = create_synced(d, "a", 'A', 2 * SECTOR);
                io_file_unref(f);
                sim_disk_power_cut(d);
                sim_disk_restart(d);

                f = open_file(d, "a", IO_OPEN_READ);
                for (size_t i = 0; i < 2 * SECTOR; i++)
                        ASSERT_EQ(byte_at(f, i), 'A');
                io_file_unref(f);
        }
}

TEST(a_synced_file_without_a_synced_name_may_be_lost) {
        unsigned n_lost = 0;

        for (uint64_t seed = 0; seed < SEEDS; seed++) {
                _cleanup_(sim_disk_freep) struct sim_disk *d = NULL;
                struct io_file *f;

                ASSERT_OK(sim_disk_new(seed, &d));
                f = create_file(d, "a");
                ASSERT_OK(io_pwrite(f, "x", 1, 0));
                ASSERT_OK(io_fdatasync(f));
                io_file_unref(f);
                sim_disk_power_cut(d);
                sim_disk_restart(d);
                n_lost += !exists(d, "a");
        }

        ASSERT_GT(n_lost, 0);
        ASSERT_LT(n_lost, SEEDS);
}

/* Three writes over the same sectors: each sector is as it was or as one of them left it, and all
 * outcomes happen. */
TEST(unsynced_sectors_are_old_or_new_and_never_mixed) {
        unsigned n_torn = 0, seen[256] = {};

        for (uint64_t seed = 0; seed < SEEDS; seed++) {
                _cleanup_(sim_disk_freep) struct sim_disk *d = NULL;
                char bytes[4 * SECTOR];
                struct io_file *f;

                ASSERT_OK(sim_disk_new(seed, &d));
                f = create_synced(d, "a", 'A', 4 * SECTOR);
                write_filled(f, 'B', 4 * SECTOR, 0);
                write_filled(f, 'C', 4 * SECTOR, 0);
                io_file_unref(f);
                sim_disk_power_cut(d);
                sim_disk_restart(d);

                f = open_file(d, "a", IO_OPEN_READ);
                ASSERT_EQ(io_pread(f, bytes, sizeof(bytes), 0, 0), sizeof(bytes));
                io_file_unref(f);
                for (size_t s = 0; s < 4; s++) {
                        char c = bytes[s * SECTOR];

                        ASSERT_TRUE(c == 'A' || c == 'B' || c == 'C');
                        seen[(unsigned char) c]++;
                        for (size_t i = 0; i < SECTOR; i++)
                                ASSERT_EQ(bytes[s * SECTOR + i], c);
                }
                n_torn += bytes[0] != bytes[3 * SECTOR];
        }

        ASSERT_GT(seen['A'], 0);
        ASSERT_GT(seen['B'], 0);
        ASSERT_GT(seen['C'], 0);
        ASSERT_GT(n_torn, 0);
}

/* Two writes into one sector: the second is not there without the first. */
TEST(a_sector_never_has_a_later_write_without_an_earlier_one) {
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
                _cleanup_(sim_disk_freep) struct sim_disk *d = NULL;
                struct io_file *f;

                ASSERT_OK(sim_disk_new(seed, &d));
                f = create_synced(d, "a", 'A', SECTOR);
                write_filled(f, 'B', 100, 0);
                write_filled(f, 'C', 100, 200);
                io_file_unref(f);
                sim_disk_power_cut(d);
                sim_disk_restart(d);

                f = open_file(d, "a", IO_OPEN_READ);
                if (byte_at(f, 200) == 'C')
                        ASSERT_EQ(byte_at(f, 0), 'B');
                ASSERT_EQ(byte_at(f, 150), 'A');
                io_file_unref(f);
        }
}

TEST(a_size_may_grow_without_its_data) {
        unsigned n_short = 0, n_zero = 0, n_whole = 0;

        for (uint64_t seed = 0; seed < SEEDS; seed++) {
                _cleanup_(sim_disk_freep) struct sim_disk *d = NULL;
                struct io_file *f;
                uint64_t size;

                ASSERT_OK(sim_disk_new(seed, &d));
                f = create_synced(d, "a", 'A', SECTOR);
                write_filled(f, 'B', SECTOR, SECTOR);
                io_file_unref(f);
                sim_disk_power_cut(d);
                sim_disk_restart(d);

                f = open_file(d, "a", IO_OPEN_READ);
                ASSERT_OK(io_file_size(f, &size));
                if (size == SECTOR)
                        n_short++;
                else {
                        ASSERT_EQ(size, 2 * SECTOR);
                        ASSERT_TRUE(byte_at(f, SECTOR) == 0 || byte_at(f, SECTOR) == 'B');
                        n_zero += byte_at(f, SECTOR) == 0;
                        n_whole += byte_at(f, SECTOR) == 'B';
                }
                ASSERT_EQ(byte_at(f, 0), 'A');
                io_file_unref(f);
        }

        ASSERT_GT(n_short, 0);
        ASSERT_GT(n_zero, 0);
        ASSERT_GT(n_whole, 0);
}

/* What a dead process wrote is readable, and lost all the same when the power goes before a
 * sync. */
TEST(a_kill_leaves_unsynced_writes_readable_and_unsynced) {
        unsigned n_lost = 0;

        for (uint64_t seed = 0; seed < SEEDS; seed++) {
                _cleanup_(sim_disk_freep) struct sim_disk *d = NULL;
                struct io_file *f;

                ASSERT_OK(sim_disk_new(seed, &d));
                f = create_synced(d, "a", 'A', SECTOR);
                write_filled(f, 'B', SECTOR, 0);
                sim_disk_kill(d);
                ASSERT_ERROR(io_fdatasync(f), ECANCELED);
                io_file_unref(f);
                sim_disk_restart(d);

                f = open_file(d, "a", IO_OPEN_READ | IO_OPEN_DIRECT);
                ASSERT_EQ(byte_at(f, 0), 'B');
                io_file_unref(f);
                sim_disk_power_cut(d);
                sim_disk_restart(d);

                f = open_file(d, "a", IO_OPEN_READ);
                n_lost += byte_at(f, 0) == 'A';
                io_file_unref(f);
        }

        ASSERT_GT(n_lost, 0);
        ASSERT_LT(n_lost, SEEDS);
}

/* ext4, XFS, btrfs: the pages are clean after the failed sync, the next sync says 0, and the data
 * is not on disk. */
TEST(a_failed_sync_leaves_a_page_cache_that_lies) {
        unsigned n_lost = 0;

        for (uint64_t seed = 0; seed < SEEDS; seed++) {
                _cleanup_(sim_disk_freep) struct sim_disk *d = NULL;
                struct io_file *f, *direct;
                char on_disk;

                ASSERT_OK(sim_disk_new(seed, &d));
                f = create_synced(d, "a", 'A', SECTOR);
                write_filled(f, 'B', SECTOR, 0);
                sim_disk_fail(d, SIM_DISK_SYNC, "a", 1, EIO);
                ASSERT_ERROR(io_fdatasync(f), EIO);
                ASSERT_EQ(byte_at(f, 0), 'B');
                ASSERT_OK(io_fdatasync(f));

                direct = open_file(d, "a", IO_OPEN_READ | IO_OPEN_DIRECT);
                on_disk = byte_at(direct, 0);
                ASSERT_TRUE(on_disk == 'A' || on_disk == 'B');
                n_lost += on_disk == 'A';
                io_file_unref(direct);
                io_file_unref(f);

                sim_disk_power_cut(d);
                sim_disk_restart(d);
                f = open_file(d, "a", IO_OPEN_READ);
                ASSERT_EQ(byte_at(f, 0), on_disk);
                io_file_unref(f);
        }

        ASSERT_GT(n_lost, 0);
        ASSERT_LT(n_lost, SEEDS);
}

TEST(a_rename_is_done_or_not_done) {
        unsigned n_done = 0;

        for (uint64_t seed = 0; seed < SEEDS; seed++) {
                _cleanup_(sim_disk_freep) struct sim_disk *d = NULL;
                struct io_file *f;
                char c;

                ASSERT_OK(sim_disk_new(seed, &d));
                ASSERT_OK(io_mkdir(sim_disk_io(d), "in"));
                io_file_unref(create_synced(d, "a", 'A', 1));
                f = create_synced(d, "in/a", 'B', 1);
                io_file_unref(f);
                ASSERT_OK(io_sync_dir(sim_disk_io(d), "in"));
                ASSERT_OK(io_rename(sim_disk_io(d), "in/a", "a"));
                sim_disk_power_cut(d);
                sim_disk_restart(d);

                f = open_file(d, "a", IO_OPEN_READ);
                c = byte_at(f, 0);
                io_file_unref(f);
                ASSERT_EQ(c, exists(d, "in/a") ? 'A' : 'B');
                n_done += c == 'B';
        }

        ASSERT_GT(n_done, 0);
        ASSERT_LT(n_done, SEEDS);
}

TEST(acts_on_a_folder_are_lost_from_some_point_on) {
        static const char *const names[] = { "0", "1", "2", "3" };

        for (uint64_t seed = 0; seed < SEEDS; seed++) {
                _cleanup_(sim_disk_freep) struct sim_disk *d = NULL;
                bool gone = false;

                ASSERT_OK(sim_disk_new(seed, &d));
                for (size_t i = 0; i < ELEMENTSOF(names); i++)
                        io_file_unref(create_file(d, names[i]));
                sim_disk_power_cut(d);
                sim_disk_restart(d);

                for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                        gone = gone || !exists(d, names[i]);
                        ASSERT_EQ(exists(d, names[i]), !gone);
                }
        }
}

/* Moved from a to b, b synced: what had come into a before must not be behind what left it. */
TEST(syncing_a_folder_takes_what_its_state_rests_on_and_no_more) {
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
                _cleanup_(sim_disk_freep) struct sim_disk *d = NULL;
                struct io *io;

                ASSERT_OK(sim_disk_new(seed, &d));
                io = sim_disk_io(d);
                ASSERT_OK(io_mkdir(io, "a"));
                ASSERT_OK(io_mkdir(io, "b"));
                ASSERT_OK(io_sync_dir(io, "/"));
                io_file_unref(create_file(d, "a/before"));
                io_file_unref(create_file(d, "a/moved"));
                ASSERT_OK(io_rename(io, "a/moved", "b/moved"));
                io_file_unref(create_file(d, "a/after"));
                ASSERT_OK(io_sync_dir(io, "b"));
                sim_disk_power_cut(d);
                sim_disk_restart(d);

                ASSERT_TRUE(exists(d, "b/moved"));
                ASSERT_TRUE(exists(d, "a/before"));
                ASSERT_FALSE(exists(d, "a/moved"));
        }
}

TEST(an_unlinked_file_is_readable_until_it_is_closed) {
        _cleanup_(sim_disk_freep) struct sim_disk *d = NULL;
        struct io_file *f;

        ASSERT_OK(sim_disk_new(3, &d));
        f = create_synced(d, "a", 'A', 8 * SECTOR);
        write_filled(f, 'A', SECTOR, 8 * SECTOR);
        ASSERT_OK(io_unlink(sim_disk_io(d), "a"));
        ASSERT_OK(io_sync_dir(sim_disk_io(d), "/"));
        ASSERT_EQ(byte_at(f, 9 * SECTOR - 1), 'A');
        ASSERT_EQ(sim_disk_used_bytes(d), 8192);
        io_file_unref(f);
        ASSERT_EQ(sim_disk_used_bytes(d), 0);
}

TEST(a_full_disk_takes_what_fits_and_then_refuses) {
        _cleanup_(sim_disk_freep) struct sim_disk *d = NULL;
        _cleanup_(io_file_unrefp) struct io_file *f = NULL;
        struct io_file *none = NULL;
        uint64_t size, space, total;
        char bytes[4096] = "";

        ASSERT_OK(sim_disk_new(1, &d));
        sim_disk_set_capacity(d, 8192);
        f = create_file(d, "a");
        ASSERT_OK(io_pwrite(f, bytes, 4096, 0));
        ASSERT_OK(io_pwrite(f, bytes, 3000, 4096));
        ASSERT_ERROR(io_pwrite(f, bytes, 4096, 7096), ENOSPC);
        ASSERT_OK(io_file_size(f, &size));
        ASSERT_EQ(size, 8192);
        ASSERT_ERROR(io_open(sim_disk_io(d), "b", IO_OPEN_WRITE | IO_OPEN_CREATE, &none), ENOSPC);
        ASSERT_OK(io_pwrite(f, "x", 1, 0)); /* an overwrite needs none */
        ASSERT_OK(io_space(sim_disk_io(d), "a", &space, &total));
        ASSERT_EQ(space, 0);
        ASSERT_EQ(total, 8192);

        sim_disk_set_capacity(d, 0);
        ASSERT_OK(io_pwrite(f, bytes, 4096, 8192));
}

TEST(short_writes_are_continued_by_io_pwrite) {
        _cleanup_(sim_disk_freep) struct sim_disk *d = NULL;
        _cleanup_(io_file_unrefp) struct io_file *f = NULL;
        uint64_t n_ops;

        ASSERT_OK(sim_disk_new(1, &d));
        sim_disk_set_faults(d, &(struct sim_disk_faults){ .short_write = 900000 });
        f = create_file(d, "a");
        n_ops = sim_disk_n_ops(d);
        write_filled(f, 'A', 4 * SECTOR, 0);
        ASSERT_GT(sim_disk_n_ops(d), n_ops + 1);
        for (size_t i = 0; i < 4 * SECTOR; i++)
                ASSERT_EQ(byte_at(f, i), 'A');
}

TEST(ordered_faults_hit_the_operation_they_name_once) {
        _cleanup_(sim_disk_freep) struct sim_disk *d = NULL;
        _cleanup_(io_file_unrefp) struct io_file *a = NULL, *b = NULL;
        char c;

        ASSERT_OK(sim_disk_new(1, &d));
        a = create_synced(d, "a", 'A', SECTOR);
        b = create_synced(d, "b", 'B', SECTOR);
        sim_disk_fail(d, SIM_DISK_READ, "a", 2, EIO);
        sim_disk_fail(d, SIM_DISK_RENAME | SIM_DISK_LINK, NULL, 1, ENOSPC);
        ASSERT_EQ(byte_at(a, 0), 'A');
        ASSERT_EQ(byte_at(b, 0), 'B');
        ASSERT_ERROR(io_pread(a, &c, 1, 0, 0), EIO);
        ASSERT_EQ(byte_at(a, 0), 'A');
        ASSERT_ERROR(io_link(sim_disk_io(d), "a", "c"), ENOSPC);
        ASSERT_OK(io_link(sim_disk_io(d), "a", "c"));
        ASSERT_EQ(sim_disk_fail_clear(d), 0);

        ASSERT_OK(sim_disk_break_range(d, "a", 100, 10));
        ASSERT_EQ(byte_at(a, 99), 'A');
        ASSERT_ERROR(io_pread(a, &c, 1, 105, 0), EIO);
        ASSERT_EQ(byte_at(a, 110), 'A');
}

TEST(a_flipped_bit_is_seen_by_all_readers_and_stays) {
        _cleanup_(sim_disk_freep) struct sim_disk *d = NULL;
        struct io_file *f, *direct;

        ASSERT_OK(sim_disk_new(1, &d));
        f = create_synced(d, "a", 'A', SECTOR);
        direct = open_file(d, "a", IO_OPEN_READ | IO_OPEN_DIRECT);
        ASSERT_OK(sim_disk_flip_bit(d, "a", 7, 0));
        ASSERT_EQ(byte_at(f, 7), 'A' ^ 1);
        ASSERT_EQ(byte_at(direct, 7), 'A' ^ 1);
        ASSERT_ERROR(sim_disk_flip_bit(d, "a", SECTOR, 0), EINVAL);
        io_file_unref(f);
        io_file_unref(direct);
        sim_disk_power_cut(d);
        sim_disk_restart(d);
        f = open_file(d, "a", IO_OPEN_READ);
        ASSERT_EQ(byte_at(f, 7), 'A' ^ 1);
        io_file_unref(f);
}

/* A file replaced as it should be: at every crash the name holds the old content or the new,
 * whole. */
TEST(crash_at_walks_through_every_operation) {
        unsigned n_old = 0, n_new = 0;
        bool crashed = true;

        for (uint64_t n = 1; crashed; n++)
                for (uint64_t seed = 0; seed < 20; seed++) {
                        _cleanup_(sim_disk_freep) struct sim_disk *d = NULL;
                        struct io_file *f = NULL;
                        struct io *io;
                        char c;
                        int r;

                        ASSERT_OK(sim_disk_new(seed, &d));
                        io = sim_disk_io(d);
                        io_file_unref(create_synced(d, "a", 'A', SECTOR));

                        sim_disk_crash_at(d, n);
                        r = io_open(io, "a.tmp", IO_OPEN_WRITE | IO_OPEN_CREATE, &f);
                        if (r >= 0)
                                r = io_pwrite(f, "B", 1, 0) ?: io_fdatasync(f) ?: io_rename(io, "a.tmp", "a") ?:
                                    io_sync_dir(io, "/");
                        crashed = sim_disk_has_crashed(d);
                        ASSERT_EQ(r, crashed ? -ECANCELED : 0);
                        if (f)
                                io_file_unref(f);
                        if (seed % 2)
                                sim_disk_power_cut(d);
                        else
                                sim_disk_kill(d);
                        sim_disk_restart(d);

                        f = open_file(d, "a", IO_OPEN_READ);
                        c = byte_at(f, 0);
                        ASSERT_TRUE(c == 'A' || c == 'B');
                        n_old += c == 'A';
                        n_new += c == 'B';
                        if (!crashed)
                                ASSERT_EQ(c, 'B');
                        io_file_unref(f);
                }

        ASSERT_GT(n_old, 0);
        ASSERT_GT(n_new, 0);
}

TEST(crash_in_waits_for_an_operation_of_its_kind) {
        _cleanup_(sim_disk_freep) struct sim_disk *d = NULL;
        struct io_file *a, *b;

        ASSERT_OK(sim_disk_new(1, &d));
        a = create_synced(d, "a", 'A', SECTOR);
        b = create_synced(d, "b", 'B', SECTOR);
        sim_disk_crash_in(d, SIM_DISK_SYNC, "b", 2);
        ASSERT_TRUE(sim_disk_will_crash(d));
        write_filled(b, 'B', SECTOR, 0);
        ASSERT_OK(io_fdatasync(a));
        ASSERT_OK(io_fdatasync(b));
        ASSERT_OK(io_fdatasync(a));
        ASSERT_FALSE(sim_disk_has_crashed(d));
        ASSERT_ERROR(io_fdatasync(b), ECANCELED);
        ASSERT_TRUE(sim_disk_has_crashed(d));
        ASSERT_FALSE(sim_disk_will_crash(d));
        io_file_unref(a);
        io_file_unref(b);
}

/* 64 unsynced writes over one synced sector, and a power cut. */
static void power_cut_outcome(uint64_t seed, bool in_clone, char ret[static 64 * SECTOR]) {
        _cleanup_(sim_disk_freep) struct sim_disk *d = NULL, *clone = NULL;
        struct io_file *f;

        ASSERT_OK(sim_disk_new(seed, &d));
        f = create_synced(d, "a", 'A', SECTOR);
        for (unsigned k = 0; k < 64; k++)
                write_filled(f, 'a' + (int) k % 26, SECTOR, k * SECTOR);
        io_file_unref(f);

        if (in_clone) {
                ASSERT_OK(sim_disk_clone(d, seed, &clone));
                ASSERT_EQ(sim_disk_used_bytes(clone), sim_disk_used_bytes(d));
        }
        sim_disk_power_cut(clone ?: d);
        memset(ret, 0, 64 * SECTOR);
        ASSERT_OK(sim_disk_peek(clone ?: d, "a", ret, 64 * SECTOR, 0));

        if (clone) {
                /* The one it was made from knows nothing of it. */
                ASSERT_EQ(sim_disk_peek(d, "a", ret, 64 * SECTOR, 0), 64 * SECTOR);
                ASSERT_EQ(ret[0], 'a');
                ASSERT_EQ(sim_disk_peek_durable(d, "a", ret, 64 * SECTOR, 0), SECTOR);
                ASSERT_EQ(ret[0], 'A');
                ASSERT_OK(sim_disk_peek(clone, "a", ret, 64 * SECTOR, 0));
        }
}

TEST(the_same_seed_gives_the_same_disk) {
        char a[64 * SECTOR], b[64 * SECTOR];

        power_cut_outcome(42, /* in_clone= */ false, a);
        power_cut_outcome(42, /* in_clone= */ false, b);
        ASSERT_MEM(a, b, sizeof(a));
        power_cut_outcome(43, /* in_clone= */ false, b);
        ASSERT_NE(memcmp(a, b, sizeof(a)), 0);
}

TEST(a_clone_starts_from_the_same_state_and_goes_its_own_way) {
        char a[64 * SECTOR], b[64 * SECTOR];

        power_cut_outcome(42, /* in_clone= */ true, a);
        power_cut_outcome(42, /* in_clone= */ true, b);
        ASSERT_MEM(a, b, sizeof(a));
}

struct counting_job {
        struct io_job job;
        struct sim_disk *disk;
        unsigned *order;
        unsigned n_ran, n_done;
        int result;
};

static int count_run(struct io_job *job) {
        struct counting_job *c = CONTAINER_OF(job, struct counting_job, job);

        c->n_ran = ++*c->order;
        return 7;
}

static void count_done(struct io_job *job, int r) {
        struct counting_job *c = CONTAINER_OF(job, struct counting_job, job);

        c->n_done++;
        c->result = r;
        if (c->n_done == 1)
                io_submit(sim_disk_io(c->disk), IO_LANE_LOG, job);
}

TEST(jobs_run_in_order_when_the_test_says_so) {
        _cleanup_(sim_disk_freep) struct sim_disk *d = NULL;
        struct counting_job a = { .job = { .run = count_run, .done = count_done } }, b, c;
        unsigned order = 0;

        ASSERT_OK(sim_disk_new(1, &d));
        a.disk = d;
        a.order = &order;
        b = c = a;
        io_submit(sim_disk_io(d), IO_LANE_LOG, &a.job);
        io_submit(sim_disk_io(d), IO_LANE_LOG, &b.job);
        io_submit(sim_disk_io(d), IO_LANE_BACKGROUND, &c.job);
        ASSERT_EQ(order, 0);
        io_cancel(sim_disk_io(d), &c.job);
        ASSERT_EQ(sim_disk_run_jobs(d), 4);
        ASSERT_EQ(a.n_ran, 3);
        ASSERT_EQ(b.n_ran, 4);
        ASSERT_EQ(a.n_done, 2);
        ASSERT_EQ(b.result, 7);
        ASSERT_EQ(c.n_ran, 0);
        ASSERT_FALSE(io_job_is_pending(&a.job));
}

static void note_timer(struct io_timer *t, void *userdata) {
        (void) t;
        *(usec_t *) userdata += 1;
}

TEST(time_moves_only_when_told) {
        _cleanup_(sim_disk_freep) struct sim_disk *d = NULL;
        usec_t n_early = 0, n_late = 0;
        struct io_timer early = { .on_timer = note_timer, .userdata = &n_early };
        struct io_timer late = { .on_timer = note_timer, .userdata = &n_late };
        int64_t wall;

        ASSERT_OK(sim_disk_new(1, &d));
        ASSERT_EQ(io_now(sim_disk_io(d)), 0);
        wall = io_wall_ms(sim_disk_io(d));
        ASSERT_OK(io_timer_set(sim_disk_io(d), &late, 300));
        ASSERT_OK(io_timer_set(sim_disk_io(d), &early, 100));
        sim_disk_advance(d, 200);
        ASSERT_EQ(n_early, 1);
        ASSERT_EQ(n_late, 0);
        io_timer_cancel(sim_disk_io(d), &late);
        sim_disk_advance(d, 9800);
        ASSERT_EQ(n_late, 0);
        ASSERT_EQ(io_now(sim_disk_io(d)), 10000);
        ASSERT_EQ(io_wall_ms(sim_disk_io(d)), wall + 10);
        sim_disk_set_wall_ms(d, 1000);
        ASSERT_EQ(io_wall_ms(sim_disk_io(d)), 1000);
}
