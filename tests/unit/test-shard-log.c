/* SPDX-License-Identifier: Apache-2.0 */
/* The log writer: what is reported as synced is on disk, and every promise of log/shard-log.h. */
#include "base/messages.h"
#include "base/alloc.h"
#include "io/io-posix.h"
#include "log/checkpoint.h"
#include "log/reader.h"
#include "log/recovery.h"
#include "log/segment.h"
#include "tests/lib/log-fixture.h"
#include "tests/lib/test.h"

#define MIB (UINT64_C(1) << 20)

static uint64_t file_size(struct log_fixture *f, const char *name) {
        _cleanup_(mem_freep) char *path = mem_asprintf("%s/%s", LOG_FIXTURE_DIR, name);
        uint64_t size = 0;

        ASSERT_OK(sim_disk_peek_size(f->disk, path, &size));
        return size;
}

static unsigned count_files(struct log_fixture *f, const char *suffix) {
        unsigned n_found = 0;
        char **names;
        size_t n;

        ASSERT_OK(sim_disk_peek_list(f->disk, LOG_FIXTURE_DIR, &names, &n));
        for (size_t i = 0; i < n; i++) {
                size_t k = strlen(names[i]), s = strlen(suffix);

                n_found += k >= s && streq(names[i] + k - s, suffix);
        }
        io_names_free(names, n);
        return n_found;
}

/* The header of the last good group write in the file that begins with an index, and where it
 * stands. */
static uint64_t last_group(struct log_fixture *f, uint64_t first_index, struct group_header *ret) {
        _cleanup_(segment_unrefp) struct segment *s = NULL;
        uint64_t pos = SEGMENT_HEADER_BYTES, found = 0;
        uint8_t p[GROUP_HEADER_BYTES];
        struct group_header g;

        ASSERT_OK(segment_open(
                f->io, LOG_FIXTURE_DIR, LOG_FIXTURE_SHARD, first_index, IO_OPEN_READ, &s));
        while (io_pread(s->file, p, sizeof(p), pos, 0) == (ssize_t) sizeof(p) &&
               group_header_decode(p, s->header.salt, &g) >= 0) {
                *ret = g;
                found = pos;
                pos += group_padded_bytes(g.length_bytes);
        }

        return found;
}

TEST(appended_and_synced_is_there_after_a_power_cut) {
        struct log_fixture f;

        log_fixture_init(&f, 1);
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_EQ(shard_log_first_index(f.log), 1);
        ASSERT_EQ(shard_log_last_index(f.log), 0);

        ASSERT_OK(log_fixture_write(&f, 100));
        ASSERT_EQ(f.synced_index, 100);
        ASSERT_EQ(shard_log_last_time_ms(f.log), 1100);
        log_fixture_check(&f, 1, 100, NULL);

        log_fixture_power_cut(&f);
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_EQ(f.report.n_damaged_regions, 0);
        ASSERT_EQ(f.report.cut_index, 0);
        ASSERT_EQ(shard_log_last_time_ms(f.log), 1100);
        log_fixture_check(&f, 1, 100, NULL);
        ASSERT_OK(log_fixture_write(&f, 5));
        log_fixture_check(&f, 1, 105, NULL);
        log_fixture_done(&f);
}

TEST(one_sync_per_group_write) {
        struct log_fixture f;
        struct shard_log_stats stats;
        uint64_t n_syncs;

        log_fixture_init(&f, 1);
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_OK(log_fixture_write(&f, 1)); /* zeroes ahead too */

        n_syncs = sim_disk_n_syncs(f.disk);
        for (unsigned i = 0; i < 20; i++)
                ASSERT_OK(log_fixture_write(&f, 3));
        ASSERT_EQ(sim_disk_n_syncs(f.disk) - n_syncs, 20);
        shard_log_stats(f.log, &stats);
        ASSERT_EQ(stats.n_groups, 21);
        ASSERT_EQ(stats.n_syncs, 21);
        ASSERT_EQ(stats.n_group_entries, 61);
        ASSERT_EQ(stats.pending_bytes, 0);
        log_fixture_done(&f);
}

TEST(while_one_group_is_written_the_next_gathers) {
        struct log_fixture f;
        struct shard_log_stats stats;

        log_fixture_init(&f, 1);
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_OK(log_fixture_append(&f, 1)); /* its job waits */
        for (unsigned i = 0; i < 50; i++)
                ASSERT_OK(log_fixture_append(&f, 1));
        ASSERT_EQ(f.n_synced, 0);

        sim_disk_run_jobs(f.disk);
        ASSERT_EQ(f.n_synced, 2);
        ASSERT_EQ(f.synced_index, 51);
        shard_log_stats(f.log, &stats);
        ASSERT_EQ(stats.n_groups, 2);
        log_fixture_check(&f, 1, 51, NULL);
        log_fixture_done(&f);
}

TEST(nothing_is_written_before_a_flush_or_a_full_group) {
        struct log_fixture f;
        struct entry e;
        unsigned n = 0;

        log_fixture_init(&f, 1);
        f.config.group_bytes = 64 * 1024;
        ASSERT_OK(log_fixture_open(&f));
        log_fixture_entry(1, 1, 1000, &e);
        ASSERT_OK(shard_log_append(f.log, &e));
        ASSERT_EQ(sim_disk_run_jobs(f.disk), 0);

        while (!sim_disk_run_job(f.disk)) {
                log_fixture_entry(shard_log_last_index(f.log) + 1, 1, 1000, &e);
                ASSERT_OK(shard_log_append(f.log, &e));
                n++;
        }
        ASSERT_GE(n, 50);
        ASSERT_LE(n, 66);
        sim_disk_run_jobs(f.disk);
        ASSERT_EQ(f.synced_index, n + 1);
        log_fixture_done(&f);
}

TEST(an_index_that_is_not_the_next_is_refused) {
        struct log_fixture f;
        struct entry e;

        log_fixture_init(&f, 1);
        ASSERT_OK(log_fixture_open(&f));
        f.term = 5;
        ASSERT_OK(log_fixture_append(&f, 3));
        log_fixture_entry(5, 5, 0, &e);
        ASSERT_ERROR(shard_log_append(f.log, &e), ESTALE);
        log_fixture_entry(3, 5, 0, &e);
        ASSERT_ERROR(shard_log_append(f.log, &e), ESTALE);
        log_fixture_entry(4, 4, 0, &e); /* a term never goes back */
        ASSERT_ERROR(shard_log_append(f.log, &e), ESTALE);
        log_fixture_entry(4, 5, ENTRY_BYTES_MAX, &e);
        ASSERT_ERROR(shard_log_append(f.log, &e), EMSGSIZE);
        ASSERT_EQ(shard_log_last_index(f.log), 3);
        log_fixture_done(&f);
}

TEST(past_the_budget_appends_wait_until_there_is_room) {
        struct log_fixture f;
        struct shard_log_stats stats;

        log_fixture_init(&f, 1);
        f.config.append_budget_bytes = 100 * 1000;
        f.entry_bytes = 10 * 1000;
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_ERROR(log_fixture_append(&f, 100), EAGAIN);
        shard_log_stats(f.log, &stats);
        ASSERT_LE(stats.pending_bytes, 100 * 1000);
        ASSERT_EQ(shard_log_last_index(f.log), 9);
        shard_log_flush(f.log);
        ASSERT_EQ(f.n_drained, 0);

        sim_disk_run_jobs(f.disk);
        ASSERT_EQ(f.n_drained, 1);
        ASSERT_OK(log_fixture_write(&f, 9));
        ASSERT_EQ(f.n_drained, 1); /* it is owed only after a refusal */
        log_fixture_check(&f, 1, 18, NULL);

        /* One entry is let in however large it is. */
        f.entry_bytes = 300 * 1000;
        ASSERT_OK(log_fixture_write(&f, 1));
        log_fixture_done(&f);
}

TEST(segments_follow_each_other_closed_and_indexed) {
        struct log_fixture f;
        struct shard_log_stats stats;

        log_fixture_init(&f, 1);
        f.entry_bytes = 100 * 1000;
        ASSERT_OK(log_fixture_open(&f));
        for (unsigned i = 0; i < 35; i++)
                ASSERT_OK(log_fixture_write(&f, 1));
        shard_log_stats(f.log, &stats);
        ASSERT_EQ(stats.n_segments, 4);
        ASSERT_EQ(count_files(&f, ".log"), 4);
        ASSERT_EQ(count_files(&f, ".idx"), 3);
        log_fixture_check(&f, 1, 35, NULL);

        /* A closed file ends behind its footer, and no file is longer than a segment. */
        ASSERT_LE(file_size(&f, "00000000000000000001.log"), SEGMENT_BYTES_MIN);
        ASSERT_EQ(file_size(&f, "00000000000000000001.log"),
                  SEGMENT_HEADER_BYTES + 10 * UINT64_C(100352) + SEGMENT_FOOTER_BYTES);

        log_fixture_power_cut(&f);
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_EQ(f.report.n_damaged_regions, 0);
        log_fixture_check(&f, 1, 35, NULL);
        /* Only the newest file was read. */
        ASSERT_LE(f.report.n_bytes_read, SEGMENT_BYTES_MIN);
        ASSERT_EQ(f.report.n_entries_read, 5);
        log_fixture_done(&f);
}

/* While a roll is under way the next group waits, and needs more space in the new file than either
 * file has. */
TEST(what_gathers_during_a_roll_goes_into_the_new_file) {
        static const size_t sizes[] = { 4 * MIB, 5 * MIB, 2 * MIB + MIB / 2, 100, 7 * MIB,
                                        100,     3 * MIB };
        struct log_fixture f;
        struct entry e;

        log_fixture_init(&f, 1);
        f.config.segment_bytes = 8 * MIB;
        f.config.append_budget_bytes = 64 * MIB;
        ASSERT_OK(log_fixture_open(&f));
        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                log_fixture_entry(i + 1, 1, sizes[i], &e);
                ASSERT_OK(shard_log_append(f.log, &e));
                shard_log_flush(f.log);
        }
        sim_disk_run_jobs(f.disk);
        ASSERT_EQ(f.error, 0);
        ASSERT_EQ(f.synced_index, ELEMENTSOF(sizes));

        log_fixture_power_cut(&f);
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_EQ(f.report.n_damaged_regions, 0);
        ASSERT_EQ(shard_log_last_index(f.log), ELEMENTSOF(sizes));
        log_fixture_done(&f);
}

TEST(an_entry_of_any_size_fits_any_segment) {
        struct log_fixture f;

        log_fixture_init(&f, 1);
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_OK(log_fixture_write(&f, 3));
        f.entry_bytes = ENTRY_BYTES_MAX - 500;
        ASSERT_OK(log_fixture_write(&f, 1));
        ASSERT_OK(log_fixture_write(&f, 1));
        ASSERT_EQ(f.synced_index, 5);
        ASSERT_EQ(f.error, 0);

        log_fixture_power_cut(&f);
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_EQ(f.report.n_damaged_regions, 0);
        ASSERT_EQ(shard_log_last_index(f.log), 5);
        log_fixture_check(&f, 4, 5, NULL);
        f.entry_bytes = 0;
        ASSERT_OK(log_fixture_write(&f, 1));
        ASSERT_EQ(count_files(&f, ".log"), 4);
        log_fixture_done(&f);
}

TEST(a_group_may_hold_many_slices) {
        struct log_fixture f;
        struct entry one, e;
        struct entry_slice *slices = new (struct entry_slice, 5000);

        log_fixture_init(&f, 1);
        ASSERT_OK(log_fixture_open(&f));
        log_fixture_entry(1, 1, 0, &one);
        e = one;
        e.n_slices = 5000;
        e.slices = slices;
        for (unsigned i = 0; i < e.n_slices; i++) {
                slices[i] = one.slices[0];
                slices[i].partition_id = i + 1;
        }
        ASSERT_OK(shard_log_append(f.log, &e));
        shard_log_flush(f.log);
        sim_disk_run_jobs(f.disk);
        ASSERT_EQ(f.synced_index, 1);
        log_fixture_power_cut(&f);
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_EQ(f.report.last_index, 1);
        mem_free(slices);
        log_fixture_done(&f);
}

TEST(when_idle_one_empty_group_names_what_is_durable_then_nothing) {
        struct log_fixture f;
        struct group_header g;
        uint64_t n_ops, pos;

        log_fixture_init(&f, 1);
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_OK(log_fixture_write(&f, 10));
        pos = last_group(&f, 1, &g);
        ASSERT_EQ(g.last_index, 10);
        ASSERT_EQ(g.durable_index, 0);
        shard_log_set_commit(f.log, 10);

        sim_disk_advance(f.disk, 9 * USEC_PER_MSEC);
        sim_disk_run_jobs(f.disk);
        ASSERT_EQ(last_group(&f, 1, &g), pos);
        sim_disk_advance(f.disk, 2 * USEC_PER_MSEC);
        sim_disk_run_jobs(f.disk);
        ASSERT_GT(last_group(&f, 1, &g), pos);
        ASSERT_EQ(g.first_index, 11);
        ASSERT_EQ(g.last_index, 10);
        ASSERT_EQ(g.last_term, 1);
        ASSERT_EQ(g.durable_index, 10);
        ASSERT_EQ(g.durable_term, 1);
        ASSERT_EQ(g.commit_index, 10);
        ASSERT_EQ(g.length_bytes, GROUP_HEADER_BYTES);

        n_ops = sim_disk_n_ops(f.disk);
        for (unsigned i = 0; i < 100; i++) {
                sim_disk_advance(f.disk, USEC_PER_SEC);
                sim_disk_run_jobs(f.disk);
        }
        ASSERT_EQ(sim_disk_n_ops(f.disk), n_ops);

        /* A start finds both in it, and has nothing to add. */
        log_fixture_power_cut(&f);
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_EQ(f.report.named_durable_index, 10);
        ASSERT_EQ(shard_log_commit_index(f.log), 10);
        n_ops = sim_disk_n_ops(f.disk);
        sim_disk_advance(f.disk, USEC_PER_SEC);
        sim_disk_run_jobs(f.disk);
        ASSERT_EQ(sim_disk_n_ops(f.disk), n_ops);
        log_fixture_done(&f);
}

TEST(when_idle_it_holds_no_memory_for_groups) {
        struct log_fixture f;
        size_t n_bytes;

        log_fixture_init(&f, 1);
        f.config.segment_bytes = SEGMENT_BYTES_DEFAULT;
        f.entry_bytes = 500 * 1000;
        ASSERT_OK(log_fixture_open(&f));
        n_bytes = mem_bytes();
        for (unsigned i = 0; i < 4; i++)
                ASSERT_OK(log_fixture_write(&f, 4));
        sim_disk_advance(f.disk, USEC_PER_SEC);
        sim_disk_run_jobs(f.disk);
        sim_disk_advance(f.disk, USEC_PER_SEC);
        ASSERT_LE(mem_bytes(), n_bytes + 8192);
        log_fixture_done(&f);
}

TEST(a_commit_that_comes_while_idle_is_named_too) {
        struct log_fixture f;
        struct group_header g;

        log_fixture_init(&f, 1);
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_OK(log_fixture_write(&f, 10));
        sim_disk_advance(f.disk, USEC_PER_SEC);
        sim_disk_run_jobs(f.disk);
        last_group(&f, 1, &g);
        ASSERT_EQ(g.commit_index, 0);

        shard_log_set_commit(f.log, 7);
        shard_log_set_commit(f.log, 3); /* never goes back */
        sim_disk_advance(f.disk, USEC_PER_SEC);
        sim_disk_run_jobs(f.disk);
        last_group(&f, 1, &g);
        ASSERT_EQ(g.commit_index, 7);
        log_fixture_check(&f, 1, 10, NULL);
        log_fixture_done(&f);
}

TEST(a_header_names_no_more_than_was_durable_when_it_was_written) {
        struct log_fixture f;
        struct group_header g;

        log_fixture_init(&f, 1);
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_OK(log_fixture_write(&f, 4));
        shard_log_set_commit(f.log, 100); /* a leader may be far ahead */
        ASSERT_OK(log_fixture_write(&f, 3));
        last_group(&f, 1, &g);
        ASSERT_EQ(g.durable_index, 4);
        ASSERT_EQ(g.commit_index, 4);
        log_fixture_done(&f);
}

TEST(a_small_log_is_small_on_disk) {
        struct log_fixture f;

        log_fixture_init(&f, 1);
        f.config.segment_bytes = SEGMENT_BYTES_DEFAULT;
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_LE(sim_disk_used_bytes(f.disk), MIB + 16384);
        for (unsigned i = 0; i < 10; i++) {
                ASSERT_OK(log_fixture_write(&f, 1));
                sim_disk_advance(f.disk, USEC_PER_SEC);
        }
        sim_disk_advance(f.disk, USEC_PER_MINUTE);
        sim_disk_run_jobs(f.disk);
        ASSERT_LE(sim_disk_used_bytes(f.disk), MIB + 16384);
        log_fixture_done(&f);
}

TEST(steps_of_zeroing_grow_under_load_and_stay_within_the_segment) {
        struct log_fixture f;
        uint64_t largest = 0;

        log_fixture_init(&f, 1);
        f.config.segment_bytes = SEGMENT_BYTES_DEFAULT;
        f.entry_bytes = 500 * 1000;
        ASSERT_OK(log_fixture_open(&f));
        for (unsigned i = 0; i < 120; i++) {
                uint64_t before = file_size(&f, "00000000000000000001.log");

                ASSERT_OK(log_fixture_write(&f, 1));
                largest = MAX(largest, file_size(&f, "00000000000000000001.log") - before);
        }
        ASSERT_EQ(f.error, 0);
        ASSERT_EQ(largest, 16 * MIB);
        ASSERT_LE(file_size(&f, "00000000000000000001.log"), SEGMENT_BYTES_DEFAULT);
        /* The next file is there before it is needed. */
        ASSERT_EQ(count_files(&f, NEXT_FILE_NAME), 1);
        log_fixture_check(&f, 1, 120, NULL);
        log_fixture_done(&f);
}

TEST(a_group_waits_for_space_that_is_zeroed_and_synced) {
        struct log_fixture f;

        log_fixture_init(&f, 1);
        f.config.segment_bytes = 8 * MIB;
        ASSERT_OK(log_fixture_open(&f));
        f.entry_bytes = 2 * MIB;
        ASSERT_OK(log_fixture_append(&f, 1));
        ASSERT_TRUE(sim_disk_run_job(f.disk)); /* zeroing */
        ASSERT_EQ(f.n_synced, 0);
        ASSERT_GE(file_size(&f, "00000000000000000001.log"), 2 * MIB);
        ASSERT_TRUE(sim_disk_run_job(f.disk));
        sim_disk_run_jobs(f.disk);
        ASSERT_EQ(f.synced_index, 1);

        /* And when zeroing fails to sync, nothing more is written. */
        sim_disk_fail(f.disk, SIM_DISK_SYNC, ".log", 1, EIO);
        ASSERT_OK(log_fixture_append(&f, 2));
        sim_disk_run_jobs(f.disk);
        ASSERT_EQ(f.error, -EIO);
        log_fixture_done(&f);
}

TEST(a_crash_while_a_group_waits_for_space_leaves_no_damage) {
        for (uint64_t seed = 0; seed < 10; seed++) {
                for (uint64_t n = 1;; n++) {
                        struct log_fixture f;
                        bool has_crashed;

                        log_fixture_init(&f, seed * 100 + n);
                        f.config.segment_bytes = 8 * MIB;
                        f.entry_bytes = 2 * MIB;
                        ASSERT_OK(log_fixture_open(&f));
                        sim_disk_crash_at(f.disk, n);
                        (void) log_fixture_write(&f, 1);
                        has_crashed = sim_disk_has_crashed(f.disk);
                        log_fixture_power_cut(&f);
                        ASSERT_OK(log_fixture_open(&f));
                        ASSERT_EQ(f.report.n_damaged_regions, 0);
                        ASSERT_GE(shard_log_last_index(f.log), f.n_synced > 0);
                        log_fixture_done(&f);
                        if (!has_crashed)
                                break;
                }
        }
}

TEST(without_space_appends_are_refused_and_go_on_when_there_is_some) {
        for (unsigned shrink = 0; shrink < 2; shrink++) {
                struct log_fixture f;
                uint64_t last;
                int r;

                log_fixture_init(&f, 1);
                f.entry_bytes = 50 * 1000;
                f.config.segment_bytes = 4 * MIB;
                ASSERT_OK(log_fixture_open(&f));
                /* Short of space within a segment, or at its end. */
                sim_disk_set_capacity(f.disk, shrink == 0 ? 3 * MIB : 4 * MIB + 100 * 1024);
                for (unsigned i = 0; i < 10; i++) {
                        do
                                r = log_fixture_write(&f, 1);
                        while (r >= 0);
                        ASSERT_ERROR(r, ENOSPC);
                        sim_disk_advance(f.disk,
                                         2 * USEC_PER_SEC); /* a smaller step may find room */
                        sim_disk_run_jobs(f.disk);
                }
                ASSERT_EQ(f.error, 0);
                last = shard_log_last_index(f.log);
                f.n_drained = 0;
                ASSERT_GE(last, 18);

                /* It keeps asking, once a second, and stays usable. */
                for (unsigned i = 0; i < 5; i++) {
                        sim_disk_advance(f.disk, USEC_PER_SEC);
                        sim_disk_run_jobs(f.disk);
                }
                ASSERT_ERROR(log_fixture_write(&f, 1), ENOSPC);
                ASSERT_STREQ(f.said,
                             "There is no space for shard 1 to grow, new entries are refused");
                ASSERT_NOT_NULL(
                        strstr(f.fields, DRMQ_MESSAGE_DISK_FULL " DRMQ_SHARD=1 DRMQ_FILE="));
                ASSERT_NOT_NULL(strstr(f.fields, " DRMQ_ERROR=ENOSPC"));
                ASSERT_EQ(shard_log_last_index(f.log), last);
                ASSERT_EQ(f.n_drained, 0);
                ASSERT_EQ(f.error, 0);

                sim_disk_set_capacity(f.disk, 64 * MIB);
                sim_disk_advance(f.disk, 2 * USEC_PER_SEC);
                sim_disk_run_jobs(f.disk);
                ASSERT_GE(f.n_drained, 1);
                for (unsigned i = 0; i < 100; i++)
                        ASSERT_OK(log_fixture_write(&f, 1));
                sim_disk_run_jobs(f.disk);
                log_fixture_check(&f, 1, last + 100, NULL);

                log_fixture_power_cut(&f);
                ASSERT_OK(log_fixture_open(&f));
                ASSERT_EQ(f.report.n_damaged_regions, 0);
                log_fixture_check(&f, 1, last + 100, NULL);
                log_fixture_done(&f);
        }
}

TEST(without_space_nothing_that_was_acknowledged_is_lost) {
        struct log_fixture f;
        uint64_t acknowledged;

        log_fixture_init(&f, 3);
        f.entry_bytes = 50 * 1000;
        ASSERT_OK(log_fixture_open(&f));
        sim_disk_set_capacity(f.disk, 5 * MIB);
        for (unsigned i = 0; i < 300; i++) {
                (void) log_fixture_append(&f, 2); /* many at once: some wait while space runs out */
                sim_disk_run_job(f.disk);
        }
        sim_disk_run_jobs(f.disk);
        ASSERT_EQ(f.error, 0);
        acknowledged = f.synced_index;
        ASSERT_GE(acknowledged, 40);

        log_fixture_power_cut(&f);
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_EQ(f.report.n_damaged_regions, 0);
        ASSERT_EQ(shard_log_last_index(f.log), acknowledged);
        log_fixture_check(&f, 1, acknowledged, NULL);
        log_fixture_done(&f);
}

TEST(after_a_failed_write_or_sync_nothing_more_is_written) {
        for (unsigned i = 0; i < 2; i++) {
                struct log_fixture f;
                uint64_t n_ops;

                log_fixture_init(&f, 1);
                ASSERT_OK(log_fixture_open(&f));
                ASSERT_OK(log_fixture_write(&f, 5));
                ASSERT_OK(log_fixture_append(&f, 5));
                sim_disk_fail(f.disk, i == 0 ? SIM_DISK_WRITE : SIM_DISK_SYNC, ".log", 1, EIO);
                ASSERT_OK(log_fixture_append(&f, 5));
                sim_disk_run_jobs(f.disk);
                ASSERT_EQ(f.error, -EIO);
                ASSERT_EQ(f.synced_index, 5);
                ASSERT_EQ(shard_log_durable_index(f.log), 5);

                n_ops = sim_disk_n_ops(f.disk);
                ASSERT_ERROR(log_fixture_append(&f, 1), EIO);
                ASSERT_ERROR(shard_log_save_hardstate(f.log, 9, 1), EIO);
                ASSERT_ERROR(shard_log_truncate(f.log, 5), EIO);
                shard_log_flush(f.log);
                shard_log_set_commit(f.log, 5);
                sim_disk_advance(f.disk, 10 * USEC_PER_SEC);
                ASSERT_EQ(sim_disk_run_jobs(f.disk), 0);
                ASSERT_EQ(sim_disk_n_ops(f.disk), n_ops);

                /* A new start takes what the disk has, not what the page cache says. */
                log_fixture_kill(&f);
                ASSERT_OK(log_fixture_open(&f));
                ASSERT_GE(shard_log_last_index(f.log), 5);
                ASSERT_EQ(f.report.n_damaged_regions, 0);
                {
                        uint64_t last = shard_log_last_index(f.log);

                        log_fixture_power_cut(&f);
                        ASSERT_OK(log_fixture_open(&f));
                        log_fixture_check(&f, 1, last, NULL);
                }
                log_fixture_done(&f);
        }
}

TEST(term_and_vote_are_kept) {
        struct log_fixture f;

        log_fixture_init(&f, 1);
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_EQ(shard_log_term(f.log), 0);
        ASSERT_OK(shard_log_save_hardstate(f.log, 3, 1));
        ASSERT_ERROR(shard_log_save_hardstate(f.log, 4, 1), EBUSY);
        ASSERT_EQ(f.n_saved, 0);
        sim_disk_run_jobs(f.disk);
        ASSERT_EQ(f.n_saved, 1);
        ASSERT_OK(shard_log_save_hardstate(f.log, 4, 2));
        sim_disk_run_jobs(f.disk);
        log_fixture_power_cut(&f);
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_EQ(shard_log_term(f.log), 4);
        ASSERT_EQ(shard_log_vote(f.log), 2);
        log_fixture_done(&f);
}

TEST(freed_at_any_moment_nothing_is_left_behind) {
        for (unsigned n = 0; n < 20; n++) {
                struct log_fixture f;

                log_fixture_init(&f, n);
                f.entry_bytes = 200 * 1000;
                ASSERT_OK(log_fixture_open(&f));
                ASSERT_OK(log_fixture_append(&f, 12));
                ASSERT_OK(shard_log_save_hardstate(f.log, 2, 1));
                for (unsigned i = 0; i < n; i++)
                        sim_disk_run_job(f.disk);
                if (n % 2 == 0)
                        ASSERT_OK(shard_log_truncate(f.log, 1));
                log_fixture_close(&f);

                ASSERT_OK(log_fixture_open(&f));
                ASSERT_GE(shard_log_last_index(f.log), f.synced_index);
                ASSERT_EQ(f.report.n_damaged_regions, 0);
                log_fixture_done(&f);
        }
}

/* Appends, group after group, over several segments, until the disk crashes at its n-th
 * operation. */
static void write_until_crash(struct log_fixture *f) {
        f->entry_bytes = 90 * 1000;
        for (unsigned i = 0; i < 14 && !sim_disk_has_crashed(f->disk) && f->error == 0; i++) {
                shard_log_set_commit(f->log, f->synced_index);
                if (log_fixture_append(f, 1 + i % 3) < 0)
                        break;
                sim_disk_run_jobs(f->disk);
                sim_disk_advance(f->disk, i % 4 == 0 ? USEC_PER_SEC : 1); /* idle now and then */
                sim_disk_run_jobs(f->disk);
        }
}

TEST(a_crash_at_any_step_loses_nothing_that_was_reported_synced, .timeout_sec = 120) {
        unsigned n_cut = 0, n_runs = 0;

        for (uint64_t seed = 1; seed <= 4; seed++) {
                for (uint64_t n = 1;; n++) {
                        struct log_fixture f;
                        uint64_t acknowledged, last;
                        bool has_crashed;

                        log_fixture_init(&f, seed * 10000 + n);
                        ASSERT_OK(log_fixture_open(&f));
                        sim_disk_crash_at(f.disk, n);
                        write_until_crash(&f);
                        has_crashed = sim_disk_has_crashed(f.disk);
                        acknowledged = f.synced_index;

                        if (seed % 4 == 0)
                                log_fixture_kill(&f);
                        else
                                log_fixture_power_cut(&f);
                        ASSERT_OK(log_fixture_open(&f));
                        last = shard_log_last_index(f.log);
                        ASSERT_GE(last, acknowledged);
                        ASSERT_EQ(f.report.n_damaged_regions, 0);
                        ASSERT_FALSE(f.report.tail_is_damaged);
                        ASSERT_LE(shard_log_commit_index(f.log), acknowledged);
                        log_fixture_check(&f, 1, last, NULL);
                        n_cut += f.report.cut_index > 0;
                        n_runs++;

                        /* It goes on, and what a start found stays, whatever comes. */
                        ASSERT_OK(log_fixture_write(&f, 2));
                        log_fixture_power_cut(&f);
                        ASSERT_OK(log_fixture_open(&f));
                        ASSERT_EQ(f.report.n_damaged_regions, 0);
                        log_fixture_check(&f, 1, last + 2, NULL);
                        log_fixture_done(&f);
                        if (!has_crashed)
                                break;
                }
        }
        ASSERT_GE(n_runs, 4 * 40);
        ASSERT_GE(n_cut, 10); /* the interesting case does come up */
}

/* Small groups behind each other, then a cut of the power with one of them under way, again and
 * again on one log. */
TEST(many_crashes_of_one_log, .timeout_sec = 120) {
        struct log_fixture f;
        uint64_t last = 0;
        unsigned n_cut = 0;

        log_fixture_init(&f, 77);
        for (unsigned round = 0; round < 300; round++) {
                ASSERT_OK(log_fixture_open(&f));
                ASSERT_GE(shard_log_last_index(f.log), last);
                ASSERT_EQ(f.report.n_damaged_regions, 0);
                n_cut += f.report.cut_index > 0;
                if (round % 10 == 0)
                        log_fixture_check(&f, 1, shard_log_last_index(f.log), NULL);

                sim_disk_crash_at(f.disk, 1 + round % 7);
                for (unsigned i = 0; i < 6 && !sim_disk_has_crashed(f.disk); i++) {
                        if (log_fixture_append(&f, 1 + (round + i) % 20) < 0)
                                break;
                        sim_disk_run_jobs(f.disk);
                }
                last = f.synced_index;
                if (round % 3 == 0)
                        log_fixture_kill(&f);
                else
                        log_fixture_power_cut(&f);
        }
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_GE(shard_log_last_index(f.log), 500);
        log_fixture_check(&f, 1, shard_log_last_index(f.log), NULL);
        ASSERT_GE(n_cut, 10);
        log_fixture_done(&f);
}

static uint64_t second_term_from; /* entries from here on are of term 2 */

static uint64_t one_or_two(uint64_t index) {
        return index < second_term_from ? 1 : 2;
}

/* Reported when written: a power cut takes the end that was not synced, and nothing else; a kill
 * takes nothing. */
TEST(a_crash_at_any_step_of_a_weak_log_takes_only_the_end_that_was_not_synced, .timeout_sec = 240) {
        static const usec_t intervals[] = { USEC_INFINITY, USEC_PER_MSEC, 500 * USEC_PER_MSEC };
        unsigned n_lost = 0, n_told = 0, n_runs = 0;

        for (uint64_t seed = 1; seed <= 6; seed++) {
                for (uint64_t n = 1;; n++) {
                        struct log_fixture f;
                        uint64_t reported, durable, last;
                        bool has_crashed;

                        log_fixture_init(&f, seed * 10000 + n);
                        f.config.sync_usec = intervals[seed % ELEMENTSOF(intervals)];
                        ASSERT_OK(log_fixture_open(&f));
                        sim_disk_crash_at(f.disk, n);
                        write_until_crash(&f);
                        has_crashed = sim_disk_has_crashed(f.disk);
                        reported = f.synced_index;
                        durable = f.durable_index;

                        if (seed == 6)
                                log_fixture_kill(&f);
                        else
                                log_fixture_power_cut(&f);
                        ASSERT_OK(log_fixture_open(&f));
                        last = shard_log_last_index(f.log);
                        ASSERT_GE(last, seed == 6 ? reported : durable);
                        ASSERT_EQ(f.report.n_damaged_regions, 0);
                        ASSERT_FALSE(f.report.tail_is_damaged);
                        log_fixture_check(&f, 1, last, NULL);
                        n_lost += last < reported;
                        n_told += f.report.lost_index > 0;
                        if (f.report.lost_index > 0)
                                ASSERT_EQ(f.report.cut_index, last + 1);
                        n_runs++;

                        /* It goes on, and nothing comes back. */
                        second_term_from = last + 1;
                        f.term = 2;
                        ASSERT_OK(log_fixture_write(&f, 20));
                        (void) shard_log_sync(f.log);
                        sim_disk_run_jobs(f.disk);
                        log_fixture_power_cut(&f);
                        ASSERT_OK(log_fixture_open(&f));
                        ASSERT_EQ(f.report.n_damaged_regions, 0);
                        log_fixture_check(&f, 1, last + 20, one_or_two);
                        log_fixture_done(&f);
                        if (!has_crashed)
                                break;
                }
        }
        ASSERT_GE(n_runs, 6 * 40);
        ASSERT_GE(n_lost, 20); /* the interesting cases do come up */
        ASSERT_GE(n_told, 10);
}

static uint64_t term_of_entry[400 * 12 * 20];

static uint64_t noted_term(uint64_t index) {
        return term_of_entry[index];
}

TEST(many_crashes_of_one_log_whose_mode_changes, .timeout_sec = 240) {
        static const usec_t intervals[] = { 0, USEC_PER_MSEC, USEC_INFINITY };
        struct log_fixture f;
        uint64_t least = 0, last;
        unsigned n_cut = 0, n_lost = 0;

        log_fixture_init(&f, 78);
        for (unsigned round = 0; round < 400; round++) {
                f.config.sync_usec = intervals[round % ELEMENTSOF(intervals)];
                ASSERT_OK(log_fixture_open(&f));
                last = shard_log_last_index(f.log);
                ASSERT_GE(last, least);
                ASSERT_EQ(f.report.n_damaged_regions, 0);
                ASSERT_FALSE(f.report.tail_is_damaged);
                n_cut += f.report.cut_index > 0;
                n_lost += f.report.lost_index > 0;
                if (round % 10 == 0)
                        log_fixture_check(&f, 1, last, noted_term);

                f.term = round + 1;
                if (round % 2 == 0)
                        sim_disk_crash_at(f.disk, 1 + round % 23);
                for (unsigned i = 0; i < 12 && !sim_disk_has_crashed(f.disk); i++) {
                        const unsigned n = 1 + (round + i) % 20;

                        if (round % 7 == 0 && i == 6)
                                shard_log_set_sync(f.log, intervals[(round + 1) % 3]);
                        for (unsigned k = 1; k <= n; k++)
                                term_of_entry[shard_log_last_index(f.log) + k] = f.term;
                        if (log_fixture_append(&f, n) < 0)
                                break;
                        sim_disk_run_jobs(f.disk);
                        sim_disk_advance(f.disk, i % 5 == 0 ? 2 * USEC_PER_MSEC : 1);
                        sim_disk_run_jobs(f.disk);
                }
                if (round % 3 == 0) {
                        least = f.synced_index;
                        log_fixture_kill(&f);
                } else {
                        least = f.durable_index;
                        log_fixture_power_cut(&f);
                }
        }
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_GE(shard_log_last_index(f.log), 500);
        log_fixture_check(&f, 1, shard_log_last_index(f.log), noted_term);
        ASSERT_GE(n_cut, 10);
        ASSERT_GE(n_lost, 10);
        log_fixture_done(&f);
}

TEST(any_error_of_the_disk_is_survived, .timeout_sec = 120) {
        static const int errors[] = { EIO, ENOSPC };

        for (unsigned k = 0; k < ELEMENTSOF(errors); k++) {
                for (uint64_t n = 1;; n++) {
                        struct log_fixture f;
                        uint64_t acknowledged;
                        unsigned n_left;

                        log_fixture_init(&f, n);
                        ASSERT_OK(log_fixture_open(&f));
                        sim_disk_fail(f.disk,
                                      SIM_DISK_OPEN | SIM_DISK_WRITE | SIM_DISK_SYNC |
                                              SIM_DISK_TRUNCATE | SIM_DISK_RENAME |
                                              SIM_DISK_SYNC_DIR,
                                      NULL,
                                      n,
                                      errors[k]);
                        write_until_crash(&f);
                        n_left = sim_disk_fail_clear(f.disk);
                        acknowledged = f.synced_index;

                        log_fixture_power_cut(&f);
                        ASSERT_OK(log_fixture_open(&f));
                        ASSERT_GE(shard_log_last_index(f.log), acknowledged);
                        ASSERT_EQ(f.report.n_damaged_regions, 0);
                        log_fixture_check(&f, 1, shard_log_last_index(f.log), NULL);
                        log_fixture_done(&f);
                        if (n_left > 0)
                                break;
                }
        }
}

TEST(short_writes_are_continued) {
        struct log_fixture f;

        log_fixture_init(&f, 5);
        sim_disk_set_faults(f.disk, &(struct sim_disk_faults){ .short_write = 500 * 1000 });
        ASSERT_OK(log_fixture_open(&f));
        write_until_crash(&f);
        ASSERT_EQ(f.error, 0);
        log_fixture_check(&f, 1, f.synced_index, NULL);
        log_fixture_done(&f);
}

TEST(no_memory_stops_the_log_and_loses_nothing) {
        struct log_fixture base;

        log_fixture_init(&base, 1);
        base.entry_bytes = 250 * 1000;
        ASSERT_OK(log_fixture_open(&base));
        for (unsigned i = 0; i < 3; i++)
                ASSERT_OK(log_fixture_write(&base, 1)); /* the next but one begins a segment */
        log_fixture_close(&base);

        /* Not a FAULT_SWEEP: each run looks, without faults, at what it left. */
        for (uint64_t n = 1, fired = 1; fired; n++) {
                struct log_fixture f = base;
                uint64_t acknowledged;
                int r;

                ASSERT_OK(sim_disk_clone(base.disk, 1, &f.disk));
                f.io = sim_disk_io(f.disk);
                mem_fail_at(n);
                r = log_fixture_open(&f);
                if (r < 0)
                        ASSERT_ERROR(r, ENOMEM);
                for (unsigned i = 0; i < 4 && r >= 0; i++)
                        r = log_fixture_write(&f, 1);
                if (r < 0)
                        ASSERT_TRUE(r == -ENOMEM || (r == -EIO && f.error == -ENOMEM));
                acknowledged = f.synced_index;
                log_fixture_close(&f);

                fired = mem_fail_at(0);
                ASSERT_OK(log_fixture_open(&f));
                ASSERT_GE(shard_log_last_index(f.log), acknowledged);
                ASSERT_EQ(f.report.n_damaged_regions, 0);
                log_fixture_done(&f);
        }
        log_fixture_done(&base);
}

static void on_synced(void *userdata, uint64_t durable_index) {
        *(uint64_t *) userdata = durable_index;
}

static void on_failed(void *userdata, int error, const char *what) {
        (void) userdata;
        test_fail(__FILE__, __LINE__, "%s: %d", what, error);
}

TEST(on_a_real_disk_too) {
        static const struct shard_log_events events = { .on_synced = on_synced,
                                                        .on_failed = on_failed };
        _cleanup_(io_posix_freep) struct io *io = NULL;
        struct shard_log_config config = {
                .dir = "shard-3",
                .shard = 3,
                .segment_bytes = SEGMENT_BYTES_MIN,
                .group_bytes = GROUP_BYTES_DEFAULT,
                .append_budget_bytes = APPEND_BUDGET_BYTES_DEFAULT,
        };
        struct recovery_report report;
        uint64_t synced = 0;

        ASSERT_OK(io_posix_new(test_tmpdir(), &io));
        ASSERT_OK(io_mkdir(io, config.dir));
        ASSERT_OK(shard_log_create(io, config.dir, config.shard));

        for (unsigned round = 0; round < 3; round++) {
                struct shard_log *l = NULL;
                struct entry e;

                ASSERT_OK(shard_log_open(io, &config, &events, &synced, &l, &report));
                ASSERT_EQ(report.n_damaged_regions, 0);
                ASSERT_EQ(shard_log_last_index(l), round * 100);
                for (unsigned i = 0; i < 100; i++) {
                        log_fixture_entry(shard_log_last_index(l) + 1, 1, 15000, &e);
                        ASSERT_OK(shard_log_append(l, &e));
                        if (i % 10 == 9)
                                shard_log_flush(l);
                }
                while (synced < (round + 1) * 100)
                        ASSERT_GT(io_posix_dispatch(io, USEC_PER_SEC), 0);
                l = shard_log_free(l);
        }
}

/* ---- Asked for: sync, roll, drop ---- */

TEST(a_weak_log_reports_what_is_written_and_syncs_when_asked) {
        struct log_fixture f;

        log_fixture_init(&f, 1);
        f.config.sync_usec = USEC_INFINITY;
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_EQ(shard_log_sync(f.log), 1);
        ASSERT_OK(log_fixture_write(&f, 10));
        ASSERT_EQ(f.synced_index, 10);
        ASSERT_EQ(shard_log_written_index(f.log), 10);
        ASSERT_EQ(shard_log_durable_index(f.log), 0);
        ASSERT_EQ(f.durable_index, 0);

        ASSERT_OK(shard_log_sync(f.log));
        sim_disk_run_jobs(f.disk);
        ASSERT_EQ(f.durable_index, 10);
        ASSERT_EQ(shard_log_durable_index(f.log), 10);
        ASSERT_EQ(shard_log_sync(f.log), 1);

        log_fixture_power_cut(&f);
        ASSERT_OK(log_fixture_open(&f));
        log_fixture_check(&f, 1, 10, NULL);
        log_fixture_done(&f);
}

TEST(a_roll_closes_the_open_segment) {
        struct shard_log_segment segment;
        struct log_fixture f;

        log_fixture_init(&f, 1);
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_EQ(shard_log_roll(f.log), 1); /* it is empty */

        ASSERT_OK(log_fixture_write(&f, 10));
        ASSERT_OK(shard_log_roll(f.log));
        ASSERT_ERROR(shard_log_roll(f.log), EBUSY);
        sim_disk_run_jobs(f.disk);
        ASSERT_EQ(f.n_rolled, 1);
        ASSERT_EQ(f.rolled_index, 10);
        ASSERT_EQ(shard_log_roll(f.log), 1);

        ASSERT_EQ(shard_log_n_segments(f.log), 2);
        shard_log_segment(f.log, 0, &segment);
        ASSERT_STREQ(segment.path, LOG_FIXTURE_DIR "/00000000000000000001.log");
        ASSERT_EQ(segment.first_index, 1);
        ASSERT_EQ(segment.last_index, 10);
        ASSERT_EQ(segment.n_bytes, file_size(&f, "00000000000000000001.log"));
        ASSERT_EQ(segment.last_time_ms, 1010);
        ASSERT_EQ(segment.generation, 1);
        ASSERT_TRUE(segment.is_closed);
        shard_log_segment(f.log, 1, &segment);
        ASSERT_EQ(segment.first_index, 11);
        ASSERT_EQ(segment.last_index, 10);
        ASSERT_FALSE(segment.is_closed);

        ASSERT_OK(log_fixture_write(&f, 10));
        log_fixture_power_cut(&f);
        ASSERT_OK(log_fixture_open(&f));
        log_fixture_check(&f, 1, 20, NULL);
        log_fixture_done(&f);
}

TEST(who_asks_for_a_roll_waits_for_a_small_file) {
        struct log_fixture f;
        uint64_t last_index;

        log_fixture_init(&f, 1);
        f.config.segment_bytes = SEGMENT_BYTES_DEFAULT;
        f.entry_bytes = 500 * 1000;
        ASSERT_OK(log_fixture_open(&f));
        for (unsigned i = 0; i < 40; i++) /* steps of zeroing grow */
                ASSERT_OK(log_fixture_write(&f, 1));
        ASSERT_EQ(count_files(&f, NEXT_FILE_NAME), 0);
        last_index = shard_log_last_index(f.log);

        ASSERT_OK(shard_log_roll(f.log));
        ASSERT_TRUE(sim_disk_run_job(f.disk));
        ASSERT_EQ(file_size(&f, NEXT_FILE_NAME), MIB);
        ASSERT_TRUE(sim_disk_run_job(f.disk)); /* nothing is between the two */
        ASSERT_EQ(f.n_rolled, 1);
        ASSERT_EQ(f.rolled_index, last_index);
        log_fixture_done(&f);
}

TEST(a_drop_unlinks_the_oldest_closed_segments) {
        struct log_fixture f;

        log_fixture_init(&f, 1);
        ASSERT_OK(log_fixture_open(&f));
        for (unsigned i = 0; i < 4; i++) {
                ASSERT_OK(log_fixture_write(&f, 10));
                ASSERT_OK(shard_log_roll(f.log));
                sim_disk_run_jobs(f.disk);
        }
        ASSERT_EQ(count_files(&f, ".log"), 5);
        ASSERT_EQ(count_files(&f, ".idx"), 4);

        ASSERT_OK(shard_log_drop(f.log, 25)); /* nothing is committed */
        sim_disk_run_jobs(f.disk);
        ASSERT_EQ(shard_log_first_index(f.log), 1);

        shard_log_set_commit(f.log, 40);
        ASSERT_OK(shard_log_drop(f.log, 25));
        ASSERT_EQ(shard_log_first_index(f.log), 21);
        sim_disk_run_jobs(f.disk);
        ASSERT_EQ(count_files(&f, ".log"), 3);
        ASSERT_EQ(count_files(&f, ".idx"), 2);
        log_fixture_check(&f, 21, 40, NULL);

        ASSERT_OK(shard_log_drop(f.log, UINT64_MAX)); /* the newest stays */
        sim_disk_run_jobs(f.disk);
        ASSERT_EQ(shard_log_first_index(f.log), 41);
        ASSERT_EQ(count_files(&f, ".log"), 1);
        ASSERT_OK(log_fixture_write(&f, 10));
        log_fixture_check(&f, 41, 50, NULL);
        log_fixture_done(&f);
}

TEST(a_roll_is_crash_safe_at_every_step, .timeout_sec = 120) {
        for (uint64_t n = 1;; n++) {
                struct log_fixture f;
                bool has_crashed;

                log_fixture_init(&f, n);
                f.config.sync_usec = n % 2 == 0 ? USEC_INFINITY : 0;
                ASSERT_OK(log_fixture_open(&f));
                sim_disk_crash_at(f.disk, n);
                for (unsigned i = 0; i < 3 && f.error == 0; i++) {
                        (void) log_fixture_append(&f, 3);
                        (void) shard_log_roll(f.log);
                        (void) log_fixture_append(&f, 3); /* goes where there is room first */
                        sim_disk_run_jobs(f.disk);
                }
                has_crashed = sim_disk_has_crashed(f.disk);
                if (!has_crashed) {
                        ASSERT_EQ(f.n_rolled, 3);
                        ASSERT_EQ(shard_log_n_segments(f.log), 4);
                }

                log_fixture_power_cut(&f);
                ASSERT_OK(log_fixture_open(&f));
                ASSERT_GE(shard_log_last_index(f.log),
                          f.config.sync_usec == 0 ? f.synced_index : 0);
                ASSERT_EQ(f.report.n_damaged_regions, 0);
                log_fixture_check(&f, 1, shard_log_last_index(f.log), NULL);
                log_fixture_done(&f);
                if (!has_crashed)
                        break;
        }
}

/* Five closed segments of ten entries, of which a checkpoint has the first thirty. */
static void make_segments(struct log_fixture *f, uint64_t seed) {
        log_fixture_init(f, seed);
        ASSERT_OK(log_fixture_open(f));
        for (unsigned i = 0; i < 5; i++) {
                ASSERT_OK(log_fixture_write(f, 10));
                ASSERT_OK(shard_log_roll(f->log));
                sim_disk_run_jobs(f->disk);
        }
        shard_log_set_commit(f->log, 50);
        ASSERT_OK(checkpoint_write(f->io,
                                   LOG_FIXTURE_DIR,
                                   LOG_FIXTURE_SHARD,
                                   &(struct checkpoint){
                                           .index = 30,
                                           .term = 1,
                                           .append_time_ms = 1030,
                                           .body = (uint8_t *) "state",
                                           .body_bytes = 5,
                                   }));
}

TEST(a_drop_is_crash_safe_at_every_step, .timeout_sec = 120) {
        unsigned n_partly = 0;

        for (uint64_t n = 1;; n++) {
                struct log_fixture f;
                bool has_crashed;
                uint64_t first;

                make_segments(&f, n);
                sim_disk_crash_at(f.disk, n);
                ASSERT_OK(shard_log_drop(f.log, 30));
                ASSERT_EQ(shard_log_first_index(f.log), 31);
                sim_disk_run_jobs(f.disk);
                has_crashed = sim_disk_has_crashed(f.disk);
                if (n % 3 == 0)
                        log_fixture_kill(&f);
                else
                        log_fixture_power_cut(&f);

                ASSERT_OK(log_fixture_open(&f));
                first = shard_log_first_index(f.log);
                ASSERT_EQ(first % 10, 1);
                ASSERT_LE(first, 31);
                if (!has_crashed)
                        ASSERT_EQ(first, 31);
                n_partly += first > 1 && first < 31;
                ASSERT_EQ(f.report.n_damaged_regions, 0);
                log_fixture_check(&f, first, 50, NULL);
                ASSERT_LE(count_files(&f, ".idx"), count_files(&f, ".log")); /* none is left over */

                shard_log_set_commit(f.log, 50);
                ASSERT_OK(shard_log_drop(f.log, 30)); /* once more */
                sim_disk_run_jobs(f.disk);
                ASSERT_EQ(count_files(&f, ".log"), 3);
                ASSERT_OK(log_fixture_write(&f, 5));
                log_fixture_check(&f, 31, 55, NULL);
                log_fixture_done(&f);
                if (!has_crashed)
                        break;
        }
        ASSERT_GE(n_partly, 1);
}

TEST(who_reads_when_segments_are_dropped_reads_on) {
        _cleanup_(log_scan_freep) struct log_scan *scan = NULL;
        struct log_fixture f;
        struct entry e;

        make_segments(&f, 1);
        ASSERT_OK(shard_log_scan(f.log, 1, 50, ENTRY_VERIFY_BATCHES, &scan));
        ASSERT_EQ(log_scan_next(scan, &e), 1);
        ASSERT_OK(shard_log_drop(f.log, 30));
        sim_disk_run_jobs(f.disk);
        for (uint64_t i = 2; i <= 50; i++) {
                ASSERT_EQ(log_scan_next(scan, &e), 1);
                ASSERT_EQ(e.index, i);
        }
        scan = log_scan_free(scan);

        /* Who begins now is told of the gap, once. */
        ASSERT_OK(shard_log_scan(f.log, 1, 50, ENTRY_VERIFY_BATCHES, &scan));
        ASSERT_ERROR(log_scan_next(scan, &e), EBADMSG);
        ASSERT_EQ(log_scan_next(scan, &e), 1);
        ASSERT_EQ(e.index, 31);
        scan = log_scan_free(scan);
        log_fixture_done(&f);
}

TEST(an_interval_is_kept_and_an_idle_weak_log_makes_no_wake_ups) {
        struct log_fixture f;
        uint64_t n_ops;

        log_fixture_init(&f, 1);
        f.config.sync_usec = 100 * USEC_PER_MSEC;
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_OK(log_fixture_write(&f, 1));
        for (unsigned i = 0; i < 9; i++) { /* of writes behind each other the first counts */
                sim_disk_advance(f.disk, 10 * USEC_PER_MSEC);
                ASSERT_OK(log_fixture_write(&f, 1));
                ASSERT_EQ(f.durable_index, 0);
        }
        sim_disk_advance(f.disk, 10 * USEC_PER_MSEC);
        sim_disk_run_jobs(f.disk);
        ASSERT_EQ(f.durable_index, 10);

        sim_disk_advance(f.disk, USEC_PER_SEC); /* the header that names it */
        sim_disk_run_jobs(f.disk);
        n_ops = sim_disk_n_ops(f.disk);
        for (unsigned i = 0; i < 20; i++) {
                sim_disk_advance(f.disk, USEC_PER_SEC);
                sim_disk_run_jobs(f.disk);
        }
        ASSERT_EQ(sim_disk_n_ops(f.disk), n_ops);
        log_fixture_done(&f);
}

TEST(from_weak_to_group_what_is_written_is_synced) {
        struct log_fixture f;

        log_fixture_init(&f, 1);
        f.config.sync_usec = USEC_INFINITY;
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_OK(log_fixture_write(&f, 10));
        ASSERT_EQ(f.durable_index, 0);
        shard_log_set_sync(f.log, 0);
        sim_disk_run_jobs(f.disk);
        ASSERT_EQ(f.durable_index, 10);
        ASSERT_OK(log_fixture_write(&f, 10));
        ASSERT_EQ(f.durable_index, 20);

        shard_log_set_sync(f.log, USEC_INFINITY);
        ASSERT_OK(log_fixture_write(&f, 10));
        ASSERT_EQ(f.durable_index, 20);
        shard_log_set_sync(f.log, USEC_PER_SEC); /* counted from the write */
        sim_disk_advance(f.disk, USEC_PER_SEC);
        sim_disk_run_jobs(f.disk);
        ASSERT_EQ(f.durable_index, 30);
        log_fixture_done(&f);
}

TEST(what_is_being_written_while_the_mode_becomes_group_is_synced_too) {
        struct log_fixture f;

        log_fixture_init(&f, 1);
        f.config.sync_usec = USEC_INFINITY;
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_OK(log_fixture_append(&f, 10));
        shard_log_flush(f.log);
        ASSERT_EQ(shard_log_written_index(f.log), 0);
        shard_log_set_sync(f.log, 0);
        sim_disk_run_jobs(f.disk);
        ASSERT_EQ(shard_log_written_index(f.log), 10);
        ASSERT_EQ(f.durable_index, 10);
        log_fixture_done(&f);
}

/* ---- Space ---- */

/* Writes entries of 50 kB until one is refused. Return: what it was refused with. */
static int fill(struct log_fixture *f) {
        f->entry_bytes = 50 * 1000;
        for (unsigned i = 0; i < 10000; i++) {
                int r = log_fixture_write(f, 1);

                if (r < 0)
                        return r;
        }

        return 0;
}

static int append_admin(struct log_fixture *f, size_t n_bytes) {
        static const uint8_t body[100 * 1000];
        const struct entry e = {
                .index = shard_log_last_index(f->log) + 1,
                .term = 1,
                .append_time_ms = 2000,
                .kind = ENTRY_ADMIN,
                .body = body,
                .body_bytes = (uint32_t) n_bytes,
        };
        int r;

        r = shard_log_append(f->log, &e);
        shard_log_flush(f->log);
        sim_disk_run_jobs(f->disk);
        return r;
}

TEST(messages_leave_the_reserve_to_all_else_and_go_on_when_there_is_more) {
        const uint64_t capacity = 24 * MIB, reserve = 2 * MIB;
        struct shard_log_stats stats;
        struct log_fixture f;
        uint64_t last;

        log_fixture_init(&f, 1);
        f.config.reserve_bytes = reserve;
        sim_disk_set_capacity(f.disk, capacity);
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_ERROR(fill(&f), ENOSPC);
        shard_log_stats(f.log, &stats);
        ASSERT_TRUE(stats.is_below_reserve);
        ASSERT_FALSE(stats.is_short_of_space);
        ASSERT_EQ(stats.reserve_bytes, reserve);
        ASSERT_GE(capacity - sim_disk_used_bytes(f.disk), reserve - 256 * 1024);
        ASSERT_LE(capacity - sim_disk_used_bytes(f.disk), reserve + 2 * MIB);

        /* A file that is closed early would be followed by one that takes from the reserve. */
        ASSERT_ERROR(shard_log_roll(f.log), ENOSPC);

        /* What is not a message goes on, into the reserve. */
        last = shard_log_last_index(f.log);
        for (unsigned i = 0; i < 15; i++)
                ASSERT_OK(append_admin(&f, 100 * 1000));
        ASSERT_EQ(f.synced_index, last + 15);
        ASSERT_LT(capacity - sim_disk_used_bytes(f.disk), reserve);

        /* A little more is not enough: it would flap. */
        f.n_drained = 0;
        sim_disk_set_capacity(f.disk, sim_disk_used_bytes(f.disk) + reserve + 16 * 1024);
        for (unsigned i = 0; i < 5; i++) {
                sim_disk_advance(f.disk, USEC_PER_SEC);
                sim_disk_run_jobs(f.disk);
        }
        ASSERT_EQ(f.n_drained, 0);

        sim_disk_set_capacity(f.disk, sim_disk_used_bytes(f.disk) + reserve + 4 * MIB);
        sim_disk_advance(f.disk, USEC_PER_SEC); /* by itself */
        sim_disk_run_jobs(f.disk);
        ASSERT_EQ(f.n_drained, 1);
        shard_log_stats(f.log, &stats);
        ASSERT_FALSE(stats.is_below_reserve);
        ASSERT_OK(log_fixture_write(&f, 3));
        log_fixture_done(&f);
}

TEST(the_reserve_is_an_eighth_of_a_small_file_system_at_most) {
        struct shard_log_stats stats;
        struct log_fixture f;

        log_fixture_init(&f, 1);
        f.config.reserve_bytes = 64 * MIB;
        sim_disk_set_capacity(f.disk, 16 * MIB);
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_ERROR(fill(&f), ENOSPC);
        shard_log_stats(f.log, &stats);
        ASSERT_EQ(stats.reserve_bytes, 2 * MIB);
        ASSERT_GE(sim_disk_used_bytes(f.disk), 12 * MIB);
        log_fixture_done(&f);
}

TEST(what_is_prepared_of_the_next_file_is_given_back_when_the_open_one_cannot_grow) {
        struct log_fixture f;
        uint64_t size, used, last;

        log_fixture_init(&f, 1);
        f.config.segment_bytes = 16 * MIB;
        f.entry_bytes = 50 * 1000;
        ASSERT_OK(log_fixture_open(&f));
        while (sim_disk_peek_size(f.disk, LOG_FIXTURE_DIR "/next.new", &size) < 0 ||
               size < 4 * MIB) {
                ASSERT_OK(log_fixture_write(&f, 1));
                sim_disk_advance(f.disk, USEC_PER_SEC);
        }
        used = sim_disk_used_bytes(f.disk);
        last = shard_log_last_index(f.log);

        sim_disk_set_capacity(f.disk, used);
        ASSERT_ERROR(fill(&f), ENOSPC);
        ASSERT_ERROR(sim_disk_peek_size(f.disk, LOG_FIXTURE_DIR "/next.new", &size), ENOENT);
        ASSERT_GT(shard_log_last_index(f.log), last + 60); /* into what was given back */
        ASSERT_EQ(f.error, 0);
        log_fixture_done(&f);
}

TEST(a_disk_that_is_full_leaves_room_for_many_starts) {
        struct log_fixture f;

        log_fixture_init(&f, 1);
        sim_disk_set_capacity(f.disk, 8 * MIB);
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_ERROR(fill(&f), ENOSPC);
        sim_disk_set_capacity(f.disk, sim_disk_used_bytes(f.disk));
        for (unsigned i = 0; i < 50; i++) {
                const uint64_t last = shard_log_last_index(f.log);

                log_fixture_power_cut(&f);
                ASSERT_OK(log_fixture_open(&f));
                ASSERT_OK(append_admin(&f, 20)); /* as the entry that begins a term */
                ASSERT_EQ(f.synced_index, last + 1);
                sim_disk_advance(f.disk, USEC_PER_SEC);
                sim_disk_run_jobs(f.disk);
        }
        ASSERT_ERROR(log_fixture_write(&f, 3), ENOSPC);
        log_fixture_done(&f);
}
