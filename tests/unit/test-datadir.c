/* SPDX-License-Identifier: Apache-2.0 */
/* A node's directory: identity, lock, shards, and what a crash, damage or a stranger does to
 * them. */
#include "base/alloc.h"
#include "base/crc32c.h"
#include "log/datadir.h"
#include "log/format.h"
#include "io/io-posix.h"
#include "tests/lib/test.h"
#include "tests/sim/disk.h"

struct fixture {
        struct sim_disk *disk;
        struct io *io;
        struct datadir *dir;
        char *what;
};

static void fixture_init(struct fixture *f, uint64_t seed) {
        *f = (struct fixture){};
        ASSERT_OK(sim_disk_new(seed, &f->disk));
        f->io = sim_disk_io(f->disk);
}

static int open_dir(struct fixture *f, uint64_t node_id) {
        f->what = mem_free(f->what);
        f->dir = datadir_free(f->dir);
        return datadir_open(f->io, "node1", node_id, /* tracer= */ NULL, &f->dir, &f->what);
}

static void fixture_done(struct fixture *f) {
        f->dir = datadir_free(f->dir);
        f->what = mem_free(f->what);
        f->disk = sim_disk_free(f->disk);
}

static void power_cut(struct fixture *f) {
        sim_disk_power_cut(f->disk);
        f->dir = datadir_free(f->dir);
        sim_disk_restart(f->disk);
}

static bool exists(struct fixture *f, const char *path) {
        struct io_stat st;

        return io_stat(f->io, path, &st) >= 0;
}

static void put_file(struct fixture *f, const char *path) {
        _cleanup_(io_file_unrefp) struct io_file *file = NULL;

        ASSERT_OK(io_open(f->io, path, IO_OPEN_WRITE | IO_OPEN_CREATE, &file));
        ASSERT_OK(io_pwrite(file, "x", 1, 0));
        ASSERT_OK(io_fdatasync(file));
}

TEST(first_start_makes_the_directory_and_later_ones_find_it) {
        struct node_identity identity;
        struct fixture f;
        const uint64_t *shards;
        size_t n;

        fixture_init(&f, 1);
        ASSERT_OK(open_dir(&f, 7));
        identity = *datadir_identity(f.dir);
        ASSERT_EQ(identity.node_id, 7);
        ASSERT_STREQ(datadir_path(f.dir), "node1");

        /* Given in any order, listed in rising order. */
        ASSERT_OK(datadir_create_shard(f.dir, 2));
        ASSERT_OK(datadir_create_shard(f.dir, 0));
        ASSERT_OK(datadir_create_shard(f.dir, 1));
        ASSERT_ERROR(datadir_create_shard(f.dir, 1), EEXIST);

        power_cut(&f);
        ASSERT_OK(open_dir(&f, 0));
        ASSERT_MEM(datadir_identity(f.dir), &identity, sizeof(identity));
        shards = datadir_shards(f.dir, &n);
        ASSERT_EQ(n, 3);
        for (uint64_t i = 0; i < 3; i++)
                ASSERT_EQ(shards[i], i);
        ASSERT_TRUE(datadir_has_shard(f.dir, 2));
        ASSERT_FALSE(datadir_has_shard(f.dir, 3));
        fixture_done(&f);
}

TEST(two_directories_are_two_incarnations) {
        struct node_identity first;
        struct datadir *other;
        struct fixture f;

        fixture_init(&f, 1);
        ASSERT_OK(open_dir(&f, 0));
        first = *datadir_identity(f.dir);
        ASSERT_EQ(first.node_id, 1);
        ASSERT_OK(datadir_open(f.io, "node2", 0, NULL, &other, NULL));
        ASSERT_NE(memcmp(first.incarnation, datadir_identity(other)->incarnation, 16), 0);
        ASSERT_NE(memcmp(first.cluster_id, datadir_identity(other)->cluster_id, 16), 0);
        datadir_free(other);
        fixture_done(&f);
}

TEST(a_directory_in_use_is_refused) {
        struct datadir *second = NULL;
        char *what = NULL;
        struct fixture f;

        fixture_init(&f, 1);
        ASSERT_OK(open_dir(&f, 0));
        ASSERT_ERROR(datadir_open(f.io, "node1", 0, NULL, &second, &what), EBUSY);
        ASSERT_NULL(second);
        ASSERT_STREQ(what, "node1 is in use by another process");
        mem_free(what);
        fixture_done(&f);
}

TEST(the_directory_of_another_node_is_refused) {
        struct fixture f;

        fixture_init(&f, 1);
        ASSERT_OK(open_dir(&f, 3));
        ASSERT_ERROR(open_dir(&f, 4), EXDEV);
        ASSERT_STREQ(f.what, "node1 belongs to node 3, not to node 4");
        ASSERT_OK(open_dir(&f, 3));
        fixture_done(&f);
}

TEST(foreign_files_are_refused_and_left_alone) {
        struct fixture f;

        fixture_init(&f, 1);
        ASSERT_OK(io_mkdir(f.io, "node1"));
        put_file(&f, "node1/letter.txt");
        ASSERT_ERROR(open_dir(&f, 0), ENOTEMPTY);
        ASSERT_STREQ(f.what, "node1 is not a node's directory: it holds \"letter.txt\"");
        ASSERT_FALSE(exists(&f, "node1/lock"));
        ASSERT_TRUE(exists(&f, "node1/letter.txt"));
        fixture_done(&f);
}

TEST(a_missing_parent_is_not_made) {
        struct datadir *d = NULL;
        struct fixture f;

        fixture_init(&f, 1);
        ASSERT_ERROR(datadir_open(f.io, "no/node1", 0, NULL, &d, NULL), ENOENT);
        fixture_done(&f);
}

TEST(one_damaged_copy_is_repaired_two_stop_the_node) {
        for (unsigned copy = 0; copy < 2; copy++) {
                struct node_identity identity;
                struct fixture f;

                fixture_init(&f, 1);
                ASSERT_OK(open_dir(&f, 0));
                ASSERT_OK(datadir_create_shard(f.dir, 0));
                identity = *datadir_identity(f.dir);
                f.dir = datadir_free(f.dir);

                ASSERT_OK(sim_disk_flip_bit(f.disk, "node1/node", copy * NODE_COPY_BYTES + 40, 3));
                ASSERT_OK(open_dir(&f, 0));
                ASSERT_MEM(datadir_identity(f.dir), &identity, sizeof(identity));
                f.dir = datadir_free(f.dir);

                /* It was repaired: the other one may go now. */
                ASSERT_OK(sim_disk_flip_bit(f.disk, "node1/node", !copy * NODE_COPY_BYTES + 40, 3));
                ASSERT_OK(open_dir(&f, 0));
                ASSERT_TRUE(datadir_has_shard(f.dir, 0));
                f.dir = datadir_free(f.dir);

                ASSERT_OK(sim_disk_flip_bit(f.disk, "node1/node", 40, 3));
                ASSERT_OK(sim_disk_flip_bit(f.disk, "node1/node", NODE_COPY_BYTES + 9, 3));
                ASSERT_ERROR(open_dir(&f, 0), EBADMSG);
                ASSERT_STREQ(f.what, "node1/node: both copies are damaged; nothing was changed");
                ASSERT_TRUE(exists(&f, "node1/shard-0/hardstate"));
                fixture_done(&f);
        }
}

TEST(a_copy_that_cannot_be_read_counts_as_damaged) {
        struct fixture f;

        fixture_init(&f, 1);
        ASSERT_OK(open_dir(&f, 5));
        f.dir = datadir_free(f.dir);
        ASSERT_OK(sim_disk_break_range(f.disk, "node1/node", 0, NODE_COPY_BYTES));
        ASSERT_OK(open_dir(&f, 5));
        fixture_done(&f);
}

TEST(a_missing_node_file_is_never_made_again) {
        struct fixture f;

        fixture_init(&f, 1);
        ASSERT_OK(open_dir(&f, 0));
        ASSERT_OK(datadir_create_shard(f.dir, 1));
        f.dir = datadir_free(f.dir);
        ASSERT_OK(io_unlink(f.io, "node1/node"));

        ASSERT_ERROR(open_dir(&f, 0), EBADMSG);
        ASSERT_TRUE(strstr(f.what, "missing") != NULL);
        ASSERT_FALSE(exists(&f, "node1/node"));
        ASSERT_TRUE(exists(&f, "node1/shard-1/hardstate"));
        fixture_done(&f);
}

TEST(a_listed_shard_that_is_missing_stops_the_node) {
        struct fixture f;

        fixture_init(&f, 1);
        ASSERT_OK(open_dir(&f, 0));
        ASSERT_OK(datadir_create_shard(f.dir, 0));
        ASSERT_OK(datadir_create_shard(f.dir, 1));
        f.dir = datadir_free(f.dir);
        ASSERT_OK(io_rename(f.io, "node1/shard-1", "gone"));

        ASSERT_ERROR(open_dir(&f, 0), EBADMSG);
        ASSERT_STREQ(f.what, "node1/shard-1 is missing; nothing was changed");
        ASSERT_FALSE(exists(&f, "node1/shard-1"));
        fixture_done(&f);
}

TEST(unlisted_shards_and_what_is_incoming_are_removed) {
        struct fixture f;

        fixture_init(&f, 1);
        ASSERT_OK(open_dir(&f, 0));
        ASSERT_OK(datadir_create_shard(f.dir, 0));
        f.dir = datadir_free(f.dir);
        ASSERT_OK(io_mkdir(f.io, "node1/shard-4"));
        put_file(&f, "node1/shard-4/hardstate");
        ASSERT_OK(io_mkdir(f.io, "node1/incoming/shard-5"));
        put_file(&f, "node1/incoming/shard-5/hardstate");
        put_file(&f, "node1/notes"); /* not ours, not in the way */

        ASSERT_OK(open_dir(&f, 0));
        ASSERT_FALSE(exists(&f, "node1/shard-4"));
        ASSERT_FALSE(exists(&f, "node1/incoming/shard-5"));
        ASSERT_TRUE(exists(&f, "node1/incoming"));
        ASSERT_TRUE(exists(&f, "node1/shard-0"));
        ASSERT_TRUE(exists(&f, "node1/notes"));
        fixture_done(&f);
}

TEST(a_newer_format_is_refused) {
        struct fixture f;

        fixture_init(&f, 1);
        ASSERT_OK(open_dir(&f, 0));
        f.dir = datadir_free(f.dir);
        {
                _cleanup_(io_file_unrefp) struct io_file *file = NULL;
                uint8_t block[NODE_COPY_BYTES];

                ASSERT_OK(io_open(f.io, "node1/node", IO_OPEN_READ | IO_OPEN_WRITE, &file));
                ASSERT_EQ(io_pread(file, block, sizeof(block), 0, 0), (ssize_t) sizeof(block));
                le32_store(block + 8, LOG_FORMAT_VERSION + 1);
                le32_store(block, crc32c(0, block + 4, sizeof(block) - 4));
                ASSERT_OK(io_pwrite(file, block, sizeof(block), 0));
                ASSERT_OK(io_fdatasync(file));
        }
        ASSERT_ERROR(open_dir(&f, 0), EPROTONOSUPPORT);
        ASSERT_STREQ(f.what, "node1/node is of a newer format");
        fixture_done(&f);
}

/* Every changing operation of a first start and of making two shards fails in the middle, with the
 * power. */
TEST(a_crash_at_any_step_of_creation_is_survived) {
        for (uint64_t seed = 0; seed < 8; seed++) {
                for (uint64_t n = 1;; n++) {
                        struct node_identity identity = {};
                        bool was_open, has_0 = false, has_1 = false;
                        struct fixture f;

                        fixture_init(&f, seed * 1000 + n);
                        sim_disk_crash_at(f.disk, n);
                        was_open = open_dir(&f, 2) >= 0;
                        if (was_open) {
                                identity = *datadir_identity(f.dir);
                                has_0 = datadir_create_shard(f.dir, 0) >= 0;
                                has_1 = datadir_create_shard(f.dir, 1) >= 0;
                        }
                        if (!sim_disk_has_crashed(f.disk)) {
                                ASSERT_TRUE(has_1);
                                fixture_done(&f);
                                break;
                        }
                        if (seed % 4 == 0) {
                                sim_disk_kill(f.disk);
                                f.dir = datadir_free(f.dir);
                                sim_disk_restart(f.disk);
                        } else
                                power_cut(&f);

                        ASSERT_OK(open_dir(&f, 2));
                        if (was_open)
                                ASSERT_MEM(datadir_identity(f.dir), &identity, sizeof(identity));
                        if (has_0)
                                ASSERT_TRUE(datadir_has_shard(f.dir, 0));
                        if (has_1)
                                ASSERT_TRUE(datadir_has_shard(f.dir, 1));
                        for (uint64_t shard = 0; shard < 2; shard++) {
                                if (!datadir_has_shard(f.dir, shard))
                                        ASSERT_OK(datadir_create_shard(f.dir, shard));
                        }

                        power_cut(&f);
                        ASSERT_OK(open_dir(&f, 2));
                        ASSERT_TRUE(datadir_has_shard(f.dir, 0));
                        ASSERT_TRUE(datadir_has_shard(f.dir, 1));
                        fixture_done(&f);
                }
        }
}

TEST(a_failure_at_any_call_leaves_a_directory_that_opens) {
        for (uint64_t n = 1;; n++) {
                struct fixture f;
                unsigned n_left;
                int r;

                fixture_init(&f, n);
                sim_disk_fail(f.disk,
                              SIM_DISK_OPEN | SIM_DISK_WRITE | SIM_DISK_RENAME | SIM_DISK_MKDIR |
                                      SIM_DISK_SYNC_DIR | SIM_DISK_LIST,
                              NULL,
                              n,
                              ENOSPC);
                r = open_dir(&f, 0);
                if (r >= 0)
                        r = datadir_create_shard(f.dir, 0);
                n_left = sim_disk_fail_clear(f.disk);
                if (n_left == 0)
                        ASSERT_ERROR(r, ENOSPC);

                ASSERT_OK(open_dir(&f, 0));
                if (!datadir_has_shard(f.dir, 0))
                        ASSERT_OK(datadir_create_shard(f.dir, 0));
                fixture_done(&f);
                if (n_left > 0)
                        break;
        }
}

TEST(no_memory_is_said_and_leaves_nothing_half_done) {
        struct fixture f;

        fixture_init(&f, 1);
        FAULT_SWEEP {
                int r = open_dir(&f, 0);

                if (r >= 0 && !datadir_has_shard(f.dir, 0))
                        r = datadir_create_shard(f.dir, 0);
                f.dir = datadir_free(f.dir);
                f.what = mem_free(f.what);
                if (r < 0)
                        ASSERT_ERROR(r, ENOMEM);
        }
        ASSERT_OK(open_dir(&f, 0));
        ASSERT_TRUE(datadir_has_shard(f.dir, 0));
        fixture_done(&f);
}

TEST(on_a_real_disk_too) {
        struct datadir *d = NULL, *second = NULL;
        _cleanup_(io_posix_freep) struct io *io = NULL;

        ASSERT_OK(io_posix_new(test_tmpdir(), &io));
        ASSERT_OK(datadir_open(io, "node1", 1, NULL, &d, NULL));
        ASSERT_OK(datadir_create_shard(d, 0));
        ASSERT_ERROR(datadir_open(io, "node1", 1, NULL, &second, NULL), EBUSY);
        d = datadir_free(d);
        ASSERT_OK(datadir_open(io, "node1", 1, NULL, &d, NULL));
        ASSERT_TRUE(datadir_has_shard(d, 0));
        d = datadir_free(d);
}
