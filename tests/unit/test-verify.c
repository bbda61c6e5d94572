/* SPDX-License-Identifier: Apache-2.0 */
/* Verifying a directory: no byte of it can change without being found. */
#include "offline/verify.h"

#include "base/alloc.h"
#include "tests/lib/test.h"
#include "tests/sim/disk.h"
#include "tests/unit/test-node-samples.h"

static struct sim_disk *disk_of_sample(struct sample_node *n) {
        struct sim_disk *disk;

        ASSERT_OK(sim_disk_new(1, &disk));
        sample_node_make(sim_disk_io(disk), 1, n);
        return disk;
}

TEST(a_good_directory_has_nothing_to_tell) {
        static const struct verify_events events = { .on_finding = sample_on_finding };
        struct sample_node n;
        struct sim_disk *disk = disk_of_sample(&n);
        struct sample_findings found = {};
        struct verify_sums sums;
        uint64_t n_bytes, n_messages = 0;

        ASSERT_OK(verify_directory(sim_disk_io(disk), SAMPLE_NODE, &events, &found, &sums));
        if (found.n_damaged + found.n_notes > 0)
                ASSERT_STREQ(found.last, "");
        ASSERT_EQ(sums.n_entries, SAMPLE_LAST + 3u);
        for (unsigned i = 1; i <= SAMPLE_PARTITIONS; i++)
                n_messages += n.next_offset[i];
        ASSERT_EQ(sums.n_messages, n_messages);
        ASSERT_OK(verify_measure(sim_disk_io(disk), SAMPLE_NODE, &n_bytes));
        ASSERT_TRUE(n_bytes > 4 * 4096u);

        sample_node_done(&n);
        sim_disk_free(disk);
}

/* Every byte of every file, one after the other. */
static void flip_all_of(struct sim_disk *disk, const char *path) {
        struct io *io = sim_disk_io(disk);
        uint64_t size;

        ASSERT_OK(sim_disk_peek_size(disk, path, &size));
        for (uint64_t pos = 0; pos < size; pos++) {
                const unsigned bit = (unsigned) (pos * 5 + size) % 8;
                struct sample_findings found;
                int r;

                ASSERT_OK(sim_disk_flip_bit(disk, path, pos, bit));
                r = sample_verify(io, SAMPLE_NODE, &found);
                if (r != -EPROTONOSUPPORT) {
                        ASSERT_OK(r);
                        if (found.n_damaged + found.n_notes == 0) {
                                (void) printf("# %s, position %llu, bit %u\n",
                                              path,
                                              (unsigned long long) pos,
                                              bit);
                                ASSERT_TRUE(found.n_damaged + found.n_notes > 0);
                        }
                }
                ASSERT_OK(sim_disk_flip_bit(disk, path, pos, bit));
        }
}

TEST(no_byte_changes_unseen, .timeout_sec = 120) {
        static const char *const folders[] = { SAMPLE_NODE, SAMPLE_META, SAMPLE_SHARD };
        struct sample_node n;
        struct sim_disk *disk = disk_of_sample(&n);
        unsigned n_files = 0;

        for (size_t i = 0; i < ELEMENTSOF(folders); i++) {
                char **names;
                size_t n_names;

                ASSERT_OK(io_list(sim_disk_io(disk), folders[i], &names, &n_names));
                for (size_t k = 0; k < n_names; k++) {
                        _cleanup_(mem_freep) char *path =
                                mem_asprintf("%s/%s", folders[i], names[k]);
                        struct io_stat st;

                        ASSERT_OK(io_stat(sim_disk_io(disk), path, &st));
                        if (st.is_dir)
                                continue;
                        flip_all_of(disk, path);
                        n_files++;
                }
                io_names_free(names, n_names);
        }
        ASSERT_EQ(n_files,
                  10u); /* node, lock; hard state, log, checkpoint; and two logs, an index */

        sample_node_done(&n);
        sim_disk_free(disk);
}

TEST(a_damaged_batch_is_named_with_partition_and_offset) {
        struct sample_node n;
        struct sim_disk *disk = disk_of_sample(&n);
        struct sample_findings found;

        /* The last byte of the first batch of the second entry: behind the headers of the first
         * group and of two entries. */
        ASSERT_OK(sim_disk_flip_bit(disk,
                                    SAMPLE_SHARD "/00000000000000000001.log",
                                    SEGMENT_HEADER_BYTES + GROUP_HEADER_BYTES +
                                            2 * ENTRY_HEADER_BYTES + SLICE_HEADER_BYTES +
                                            SAMPLE_BATCH_BYTES - 1,
                                    0));
        ASSERT_OK(sample_verify(sim_disk_io(disk), SAMPLE_NODE, &found));
        ASSERT_EQ(found.n_damaged, 2u); /* and that its offsets are missing before the next one */
        sample_node_done(&n);
        sim_disk_free(disk);
}

TEST(files_that_are_missing_are_missed) {
        static const char *const paths[] = {
                SAMPLE_SHARD "/00000000000000000001.log",
                SAMPLE_SHARD "/hardstate",
                SAMPLE_NODE "/node",
        };

        for (size_t i = 0; i < ELEMENTSOF(paths); i++) {
                struct sample_node n;
                struct sim_disk *disk = disk_of_sample(&n);
                struct sample_findings found;

                ASSERT_OK(io_unlink(sim_disk_io(disk), paths[i]));
                ASSERT_OK(sample_verify(sim_disk_io(disk), SAMPLE_NODE, &found));
                ASSERT_TRUE(found.n_damaged > 0);
                sample_node_done(&n);
                sim_disk_free(disk);
        }
}

TEST(a_checkpoint_that_lies_is_found) {
        struct sample_node n;
        struct sim_disk *disk = disk_of_sample(&n);
        struct sample_findings found;
        struct state *state;
        struct checkpoint c;

        ASSERT_EQ(checkpoint_load(sim_disk_io(disk), SAMPLE_SHARD, 1, &c, NULL), 1);
        ASSERT_OK(state_new(&state));
        ASSERT_OK(state_decode(state, c.body, c.body_bytes));
        checkpoint_done(&c);
        state_partition(state, 1)->n_bytes++;
        state->index = SAMPLE_CHECKPOINT;
        state->term = 1;
        state->time_ms = SAMPLE_CHECKPOINT * 10;
        sample_checkpoint(sim_disk_io(disk), SAMPLE_SHARD, 1, state);
        state_free(state);

        ASSERT_OK(sample_verify(sim_disk_io(disk), SAMPLE_NODE, &found));
        ASSERT_EQ(found.n_damaged, 1u);
        sample_node_done(&n);
        sim_disk_free(disk);
}

TEST(an_interrupted_write_is_a_note_and_other_bytes_are_damage) {
        struct sample_node n;
        struct sim_disk *disk = disk_of_sample(&n);
        struct sample_findings found;
        struct sim_disk *copy;
        uint64_t size;

        /* In the second sector of what is zeroed ahead: the first of a write never came. */
        ASSERT_OK(sim_disk_peek_size(disk, SAMPLE_SHARD "/00000000000000000009.log", &size));
        ASSERT_OK(sim_disk_clone(disk, 2, &copy));
        ASSERT_OK(sim_disk_flip_bit(
                copy, SAMPLE_SHARD "/00000000000000000009.log", size - 4096 + 600, 1));
        ASSERT_OK(sample_verify(sim_disk_io(copy), SAMPLE_NODE, &found));
        ASSERT_EQ(found.n_damaged, 0u);
        ASSERT_EQ(found.n_notes, 1u);
        sim_disk_free(copy);

        ASSERT_OK(sim_disk_clone(disk, 2, &copy));
        ASSERT_OK(sim_disk_flip_bit(
                copy, SAMPLE_SHARD "/00000000000000000009.log", size - 4096 + 6, 1));
        ASSERT_OK(sample_verify(sim_disk_io(copy), SAMPLE_NODE, &found));
        ASSERT_EQ(found.n_damaged, 1u);
        sim_disk_free(copy);

        sample_node_done(&n);
        sim_disk_free(disk);
}

TEST(want_of_memory_is_told) {
        struct sample_node n;
        struct sim_disk *disk = disk_of_sample(&n);

        FAULT_SWEEP {
                struct sample_findings found;
                int r = sample_verify(sim_disk_io(disk), SAMPLE_NODE, &found);

                if (r != -ENOMEM)
                        ASSERT_OK(r);
                ASSERT_EQ(found.n_damaged, 0u);
        }
        sample_node_done(&n);
        sim_disk_free(disk);
}

TEST(what_is_no_node_is_refused) {
        struct sample_findings found;
        struct sim_disk *disk;

        ASSERT_OK(sim_disk_new(1, &disk));
        ASSERT_ERROR(sample_verify(sim_disk_io(disk), "nowhere", &found), ENOENT);
        ASSERT_OK(io_mkdir(sim_disk_io(disk), "empty"));
        ASSERT_ERROR(sample_verify(sim_disk_io(disk), "empty", &found), ENOTDIR);
        sim_disk_free(disk);
}
