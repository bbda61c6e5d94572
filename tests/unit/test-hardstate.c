/* SPDX-License-Identifier: Apache-2.0 */
/* Term and vote: what was answered for is never forgotten. */
#include "base/crc32c.h"
#include "log/hardstate.h"
#include "tests/lib/test.h"
#include "tests/sim/disk.h"

#define PATH "hardstate"

static struct sim_disk *make_disk(uint64_t seed) {
        struct sim_disk *d;

        ASSERT_OK(sim_disk_new(seed, &d));
        ASSERT_OK(hardstate_create(sim_disk_io(d), PATH, &(struct hardstate){ .sequence = 1 }));
        ASSERT_OK(io_sync_dir(sim_disk_io(d), "."));
        return d;
}

static int open_it(struct sim_disk *d, struct hardstate *ret) {
        _cleanup_(io_file_unrefp) struct io_file *file = NULL;

        return hardstate_open(sim_disk_io(d), PATH, &file, ret);
}

static int write_it(struct sim_disk *d, const struct hardstate *h) {
        _cleanup_(io_file_unrefp) struct io_file *file = NULL;
        struct hardstate before;
        int r;

        r = hardstate_open(sim_disk_io(d), PATH, &file, &before);
        return r < 0 ? r : hardstate_write(file, h);
}

TEST(all_that_is_written_is_read_again) {
        struct sim_disk *d = make_disk(1);
        const struct hardstate h = {
                .sequence = 2,
                .term = UINT64_MAX - 1,
                .vote = 3,
                .vote_incarnation = 0x1122334455667788,
                .intent = INTENT_TRUNCATE,
                .intent_index = 99,
                .intent_term = 98,
        };
        struct hardstate found = {};

        ASSERT_EQ(open_it(d, &found), 0);
        ASSERT_EQ(found.sequence, 1);
        ASSERT_EQ(found.term, 0);
        ASSERT_OK(write_it(d, &h));
        sim_disk_power_cut(d);
        sim_disk_restart(d);
        ASSERT_EQ(open_it(d, &found), 0);
        ASSERT_EQ(found.sequence, h.sequence);
        ASSERT_EQ(found.term, h.term);
        ASSERT_EQ(found.vote, h.vote);
        ASSERT_EQ(found.vote_incarnation, h.vote_incarnation);
        ASSERT_EQ(found.intent, h.intent);
        ASSERT_EQ(found.intent_index, h.intent_index);
        ASSERT_EQ(found.intent_term, h.intent_term);
        sim_disk_free(d);
}

TEST(either_copy_alone_is_enough_and_repairs_the_other) {
        for (unsigned copy = 0; copy < 2; copy++) {
                for (unsigned way = 0; way < 3; way++) {
                        const uint64_t pos = (uint64_t) copy * HARDSTATE_COPY_BYTES;
                        struct sim_disk *d = make_disk(1);
                        struct hardstate h;

                        ASSERT_OK(write_it(
                                d, &(struct hardstate){ .sequence = 2, .term = 7, .vote = 1 }));
                        if (way == 0)
                                ASSERT_OK(sim_disk_flip_bit(d, PATH, pos + 24, 1));
                        else if (way == 1)
                                ASSERT_OK(sim_disk_flip_bit(
                                        d, PATH, pos + HARDSTATE_COPY_BYTES - 1, 1));
                        else
                                ASSERT_OK(sim_disk_break_range(d, PATH, pos, 512));
                        ASSERT_EQ(open_it(d, &h), 1);
                        ASSERT_EQ(h.term, 7);
                        if (way == 2)
                                ASSERT_OK(sim_disk_break_range(d, PATH, 0, 0));
                        ASSERT_EQ(open_it(d, &h), 0); /* repaired */

                        ASSERT_OK(sim_disk_flip_bit(d, PATH, HARDSTATE_COPY_BYTES - pos + 24, 1));
                        ASSERT_EQ(open_it(d, &h), 1);
                        ASSERT_EQ(h.term, 7);
                        sim_disk_free(d);
                }
        }
}

TEST(two_bad_copies_or_no_file_stop_the_node) {
        struct sim_disk *d = make_disk(1);
        struct hardstate h;

        ASSERT_OK(sim_disk_flip_bit(d, PATH, 30, 1));
        ASSERT_OK(sim_disk_flip_bit(d, PATH, HARDSTATE_COPY_BYTES + 30, 1));
        ASSERT_ERROR(open_it(d, &h), EBADMSG);
        {
                _cleanup_(io_file_unrefp) struct io_file *file = NULL;

                ASSERT_OK(io_open(sim_disk_io(d), PATH, IO_OPEN_WRITE, &file));
                ASSERT_OK(io_truncate(file, 0));
        }
        ASSERT_ERROR(open_it(d, &h), EBADMSG);
        ASSERT_OK(io_unlink(sim_disk_io(d), PATH));
        ASSERT_ERROR(open_it(d, &h), EBADMSG);
        ASSERT_ERROR(io_stat(sim_disk_io(d), PATH, &(struct io_stat){}),
                     ENOENT); /* nothing is made again */
        sim_disk_free(d);
}

TEST(a_newer_format_is_refused_though_the_other_copy_is_old) {
        struct sim_disk *d = make_disk(1);
        struct hardstate h;
        uint8_t block[HARDSTATE_COPY_BYTES];
        {
                _cleanup_(io_file_unrefp) struct io_file *file = NULL;

                ASSERT_OK(io_open(sim_disk_io(d), PATH, IO_OPEN_READ | IO_OPEN_WRITE, &file));
                ASSERT_EQ(io_pread(file, block, sizeof(block), 0, 0), (ssize_t) sizeof(block));
                le32_store(block + 8, LOG_FORMAT_VERSION + 1);
                le32_store(block, crc32c(0, block + 4, sizeof(block) - 4));
                ASSERT_OK(io_pwrite(file, block, sizeof(block), 0));
        }
        ASSERT_ERROR(open_it(d, &h), EPROTONOSUPPORT);
        sim_disk_free(d);
}

TEST(an_intent_of_no_known_kind_is_damage) {
        struct sim_disk *d = make_disk(1);
        struct hardstate h;

        ASSERT_OK(write_it(d, &(struct hardstate){ .sequence = 2, .intent = INTENT_INSTALL }));
        ASSERT_EQ(open_it(d, &h), 0);
        ASSERT_EQ(h.intent, INTENT_INSTALL);
        ASSERT_OK(
                write_it(d, &(struct hardstate){ .sequence = 3, .intent = (enum intent_kind) 3 }));
        ASSERT_ERROR(open_it(d, &h), EBADMSG);
        sim_disk_free(d);
}

/* After a crash it is the old state or the new one; once written it is the new one; once read it
 * stays. */
TEST(a_crash_at_any_step_leaves_old_or_new) {
        for (uint64_t seed = 0; seed < 50; seed++) {
                for (uint64_t n = 1;; n++) {
                        struct sim_disk *d = make_disk(seed * 100 + n);
                        struct hardstate h, again;
                        bool was_written, has_crashed;

                        ASSERT_OK(write_it(
                                d, &(struct hardstate){ .sequence = 2, .term = 5, .vote = 2 }));
                        sim_disk_crash_at(d, n);
                        was_written = write_it(d,
                                               &(struct hardstate){
                                                       .sequence = 3, .term = 6, .vote = 1 }) >= 0;
                        has_crashed = sim_disk_has_crashed(d);
                        if (seed % 3 == 0)
                                sim_disk_kill(d);
                        else
                                sim_disk_power_cut(d);
                        sim_disk_restart(d);

                        ASSERT_OK(open_it(d, &h));
                        ASSERT_EQ(h.vote, h.term == 6 ? 1 : 2);
                        ASSERT_TRUE(h.term == 6 || (h.term == 5 && !was_written));

                        /* What a start answered with is on disk: a kill may have left more in the
                         * page cache. */
                        sim_disk_power_cut(d);
                        sim_disk_restart(d);
                        ASSERT_EQ(open_it(d, &again), 0);
                        ASSERT_EQ(again.term, h.term);

                        /* And in both copies. */
                        ASSERT_OK(
                                sim_disk_flip_bit(d, PATH, (n % 2) * HARDSTATE_COPY_BYTES + 30, 0));
                        ASSERT_EQ(open_it(d, &again), 1);
                        ASSERT_EQ(again.term, h.term);
                        sim_disk_free(d);
                        if (!has_crashed)
                                break;
                }
        }
}

TEST(a_failed_write_or_sync_is_said) {
        struct sim_disk *d = make_disk(1);

        for (uint64_t n = 1; n <= 2; n++) {
                sim_disk_fail(d, SIM_DISK_WRITE, PATH, n, ENOSPC);
                ASSERT_ERROR(write_it(d, &(struct hardstate){ .sequence = 2 }), ENOSPC);
        }
        for (uint64_t n = 2; n <= 3; n++) { /* the first is the one of opening */
                sim_disk_fail(d, SIM_DISK_SYNC, PATH, n, EIO);
                ASSERT_ERROR(write_it(d, &(struct hardstate){ .sequence = 2 }), EIO);
        }
        sim_disk_free(d);
}

TEST(no_memory_is_said) {
        struct sim_disk *d = make_disk(1);

        FAULT_SWEEP {
                struct hardstate h;
                int r = open_it(d, &h);

                if (r >= 0)
                        r = write_it(d, &h);
                if (r < 0)
                        ASSERT_ERROR(r, ENOMEM);
        }
        sim_disk_free(d);
}
