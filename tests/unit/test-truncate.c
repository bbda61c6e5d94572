/* SPDX-License-Identifier: Apache-2.0 */
/* Truncation by intent: what was cut never comes back, what stays is never touched, whenever it
 * crashes. */
#include "base/alloc.h"
#include "io/io-posix.h"
#include "log/index.h"
#include "log/recovery.h"
#include "log/segment.h"
#include "tests/lib/log-fixture.h"
#include "tests/lib/test.h"

#define FIRST_FILE LOG_FIXTURE_DIR "/00000000000000000001.log"
#define LINKED_FILE "held.log"

/* Entries up to here are of term 1, those behind it of term 2. */
static uint64_t old_terms;

static uint64_t term_of(uint64_t index) {
        return index <= old_terms ? 1 : 2;
}

static void truncate_to(struct log_fixture *f, uint64_t last_index) {
        unsigned n = f->n_truncated;

        ASSERT_OK(shard_log_truncate(f->log, last_index));
        sim_disk_run_jobs(f->disk);
        ASSERT_EQ(f->n_truncated, n + 1);
}

static bool exists(struct log_fixture *f, const char *path) {
        return io_stat(f->io, path, &(struct io_stat){}) >= 0;
}

TEST(the_log_ends_at_the_cut_and_goes_on_from_there) {
        /* Wherever the cut falls: before, in and behind group writes of 7 entries. */
        for (uint64_t cut = 0; cut <= 30; cut++) {
                struct log_fixture f;

                log_fixture_init(&f, 1);
                ASSERT_OK(log_fixture_open(&f));
                for (unsigned i = 0; i < 4; i++)
                        ASSERT_OK(log_fixture_write(&f, 7));
                sim_disk_advance(f.disk,
                                 USEC_PER_SEC); /* an empty group, which names 28 as durable */
                sim_disk_run_jobs(f.disk);
                if (cut > 28) {
                        ASSERT_ERROR(shard_log_truncate(f.log, cut), EINVAL);
                        log_fixture_done(&f);
                        continue;
                }

                truncate_to(&f, cut);
                ASSERT_EQ(shard_log_last_index(f.log), cut);
                ASSERT_EQ(shard_log_durable_index(f.log), cut);
                log_fixture_check(&f, 1, cut, NULL);

                f.term = 2;
                old_terms = cut;
                ASSERT_OK(log_fixture_write(&f, 2)); /* shorter than what was there */
                log_fixture_check(&f, 1, cut + 2, term_of);
                log_fixture_power_cut(&f);
                ASSERT_OK(log_fixture_open(&f));
                ASSERT_EQ(f.report.n_damaged_regions, 0);
                ASSERT_EQ(f.report.cut_index, 0);
                ASSERT_FALSE(f.report.intent_carried_out);
                log_fixture_check(&f, 1, cut + 2, term_of);
                log_fixture_done(&f);
        }
}

TEST(never_below_the_commit_index) {
        struct log_fixture f;

        log_fixture_init(&f, 1);
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_OK(log_fixture_write(&f, 20));
        shard_log_set_commit(f.log, 11);
        ASSERT_ERROR(shard_log_truncate(f.log, 10), EINVAL);
        truncate_to(&f, 11);
        ASSERT_ERROR(shard_log_truncate(f.log, 10), EINVAL);

        /* Nor below one that only the disk remembers. */
        ASSERT_OK(log_fixture_write(&f, 5));
        log_fixture_power_cut(&f);
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_EQ(shard_log_commit_index(f.log), 11);
        ASSERT_ERROR(shard_log_truncate(f.log, 10), EINVAL);
        log_fixture_done(&f);
}

TEST(it_waits_for_the_write_under_way_and_forgets_what_gathered) {
        struct log_fixture f;
        struct entry e;

        log_fixture_init(&f, 1);
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_OK(log_fixture_write(&f, 10));
        ASSERT_OK(log_fixture_append(&f, 5)); /* under way */
        ASSERT_OK(log_fixture_append(&f, 5)); /* gathering */
        ASSERT_OK(shard_log_truncate(f.log, 12));
        ASSERT_ERROR(shard_log_truncate(f.log, 12), EBUSY);
        log_fixture_entry(shard_log_last_index(f.log) + 1, 1, 0, &e);
        ASSERT_ERROR(shard_log_append(f.log, &e), EAGAIN);
        ASSERT_OK(shard_log_save_hardstate(f.log, 8, 3));
        sim_disk_run_jobs(f.disk);
        ASSERT_EQ(f.n_truncated, 1);
        ASSERT_EQ(f.n_saved, 1);
        log_fixture_check(&f, 1, 12, NULL);
        ASSERT_EQ(shard_log_term(f.log), 8);
        ASSERT_OK(log_fixture_write(&f, 3));
        log_fixture_power_cut(&f);
        ASSERT_OK(log_fixture_open(&f));
        log_fixture_check(&f, 1, 15, NULL);
        ASSERT_EQ(shard_log_term(f.log), 8);
        ASSERT_EQ(shard_log_vote(f.log), 3);
        log_fixture_done(&f);
}

TEST(a_vote_that_comes_while_it_runs_is_saved_behind_it) {
        struct log_fixture f;

        log_fixture_init(&f, 1);
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_OK(log_fixture_write(&f, 10));
        ASSERT_OK(shard_log_truncate(f.log, 5)); /* submitted at once */
        ASSERT_OK(shard_log_save_hardstate(f.log, 9, 2));
        ASSERT_ERROR(shard_log_save_hardstate(f.log, 9, 2), EBUSY);
        sim_disk_run_jobs(f.disk);
        ASSERT_EQ(f.n_truncated, 1);
        ASSERT_EQ(f.n_saved, 1);
        log_fixture_power_cut(&f);
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_EQ(shard_log_term(f.log), 9);
        ASSERT_EQ(shard_log_vote(f.log), 2);
        ASSERT_FALSE(f.report.intent_carried_out);
        log_fixture_check(&f, 1, 5, NULL);
        log_fixture_done(&f);
}

/* Segments 1..10, 11..20, 21..30, 31..33. */
static void make_segments(struct log_fixture *f, uint64_t seed) {
        log_fixture_init(f, seed);
        f->entry_bytes = 100 * 1000;
        ASSERT_OK(log_fixture_open(f));
        for (unsigned i = 0; i < 33; i++)
                ASSERT_OK(log_fixture_write(f, 1));
}

TEST(files_behind_the_cut_go_and_a_closed_one_is_replaced) {
        for (uint64_t cut = 9; cut <= 31; cut++) {
                struct log_fixture f;
                struct segment *s;
                uint64_t first = cut <= 9 ? 1 : cut < 20 ? 11 : cut < 30 ? 21 : 31;

                if (cut == 10)
                        first = 11; /* the first file stays closed, an empty one follows */

                make_segments(&f, cut);
                truncate_to(&f, cut);
                log_fixture_check(&f, 1, cut, NULL);
                ASSERT_EQ(exists(&f, LOG_FIXTURE_DIR "/00000000000000000031.log"), cut >= 30);
                ASSERT_EQ(exists(&f, LOG_FIXTURE_DIR "/00000000000000000021.log"), cut >= 20);
                ASSERT_EQ(exists(&f, LOG_FIXTURE_DIR "/00000000000000000021.idx"),
                          cut >= 30 || cut > 20);
                ASSERT_EQ(exists(&f, LOG_FIXTURE_DIR "/00000000000000000011.log"), cut >= 10);

                /* A copy has a higher generation; a file that only ended there has not. */
                if (cut != 10 && cut != 20 && cut != 30) {
                        ASSERT_OK(segment_open(
                                f.io, LOG_FIXTURE_DIR, LOG_FIXTURE_SHARD, first, IO_OPEN_READ, &s));
                        ASSERT_EQ(s->header.generation, cut == 31 ? 1 : 2);
                        s = segment_unref(s);
                }

                f.term = 2;
                old_terms = cut;
                for (unsigned i = 0; i < 12; i++)
                        ASSERT_OK(log_fixture_write(&f, 1));
                log_fixture_power_cut(&f);
                ASSERT_OK(log_fixture_open(&f));
                ASSERT_EQ(f.report.n_damaged_regions, 0);
                log_fixture_check(&f, 1, cut + 12, term_of);
                log_fixture_done(&f);
        }
}

TEST(a_file_with_another_link_is_not_written_to) {
        struct log_fixture f;
        uint8_t *before, *now;
        uint64_t size = 0;

        log_fixture_init(&f, 1);
        ASSERT_OK(log_fixture_open(&f));
        for (unsigned i = 0; i < 4; i++)
                ASSERT_OK(log_fixture_write(&f, 7));
        ASSERT_OK(io_link(f.io, FIRST_FILE, LINKED_FILE));
        ASSERT_OK(sim_disk_peek_size(f.disk, LINKED_FILE, &size));
        before = mem_alloc(size);
        now = mem_alloc(size);
        ASSERT_EQ(sim_disk_peek(f.disk, LINKED_FILE, before, size, 0), (ssize_t) size);

        truncate_to(&f, 17);
        old_terms = 17;
        f.term = 2;
        ASSERT_OK(log_fixture_write(&f, 9));
        log_fixture_check(&f, 1, 26, term_of);
        ASSERT_EQ(sim_disk_peek(f.disk, LINKED_FILE, now, size, 0), (ssize_t) size);
        ASSERT_MEM(now, before, size);
        log_fixture_power_cut(&f);
        ASSERT_OK(log_fixture_open(&f));
        log_fixture_check(&f, 1, 26, term_of);
        mem_free(before);
        mem_free(now);
        log_fixture_done(&f);
}

TEST(readers_that_began_before_keep_what_they_read) {
        struct log_fixture f;
        struct segment *s = NULL;
        uint8_t block[SEGMENT_HEADER_BYTES];
        struct segment_header header;

        make_segments(&f, 1);
        ASSERT_OK(segment_open(f.io, LOG_FIXTURE_DIR, LOG_FIXTURE_SHARD, 21, IO_OPEN_READ, &s));
        truncate_to(&f, 25);
        ASSERT_EQ(io_pread(s->file, block, sizeof(block), 0, 0), (ssize_t) sizeof(block));
        ASSERT_OK(segment_header_decode(block, &header));
        ASSERT_EQ(header.generation, 1);
        segment_unref(s);
        log_fixture_done(&f);
}

enum shape {
        OPEN_FILE,
        LINKED,
        CLOSED_FILE,
        MANY_FILES,
        WHOLE_FILES,
        ALL,
        _SHAPE_MAX,
};

static const uint64_t cuts[_SHAPE_MAX] = { 17, 17, 5, 15, 10, 0 };

/* Made once, closed; each run works on a copy of its disk. Return: where it ends. */
static uint64_t make_shape(struct log_fixture *f, enum shape shape) {
        uint64_t end;

        log_fixture_init(f, shape);
        if (shape >= CLOSED_FILE)
                f->entry_bytes = 100 * 1000;
        ASSERT_OK(log_fixture_open(f));
        if (shape < CLOSED_FILE) {
                for (unsigned i = 0; i < 4; i++)
                        ASSERT_OK(log_fixture_write(f, 7));
        } else {
                for (unsigned i = 0; i < (shape == CLOSED_FILE ? 6u : 11u); i++)
                        ASSERT_OK(log_fixture_write(f, 2));
        }
        if (shape == LINKED) {
                ASSERT_OK(io_link(f->io, FIRST_FILE, LINKED_FILE));
                ASSERT_OK(io_sync_dir(f->io, "."));
        }
        end = shard_log_last_index(f->log);
        log_fixture_close(f);
        return end;
}

static void copy_shape(struct log_fixture *f, const struct log_fixture *base, uint64_t seed) {
        *f = *base;
        ASSERT_OK(sim_disk_clone(base->disk, seed, &f->disk));
        f->io = sim_disk_io(f->disk);
        ASSERT_OK(log_fixture_open(f));
}

/* Truncates with a crash in the n-th operation, and another one in the start that carries it out.
 * Afterwards the log ends at the cut, or (where the intent had not been written) where it ended
 * before; once reported, at the cut. And what is written then is all there is. Return: whether the
 * first crash came. */
static bool crash_in_truncation(const struct log_fixture *base,
                                uint64_t cut,
                                uint64_t end,
                                uint64_t seed,
                                uint64_t n,
                                unsigned *n_carried_out) {
        struct log_fixture f;
        bool has_crashed;
        uint64_t last;

        copy_shape(&f, base, seed * 1000 + n);
        sim_disk_crash_at(f.disk, n);
        ASSERT_OK(shard_log_truncate(f.log, cut));
        sim_disk_run_jobs(f.disk);
        has_crashed = sim_disk_has_crashed(f.disk);
        if (seed == 0)
                log_fixture_kill(&f);
        else
                log_fixture_power_cut(&f);

        sim_disk_crash_at(f.disk, 1 + (n * 7 + seed) % 11);
        (void) log_fixture_open(&f);
        log_fixture_power_cut(&f);

        ASSERT_OK(log_fixture_open(&f));
        ASSERT_EQ(f.report.n_damaged_regions, 0);
        ASSERT_EQ(f.report.cut_index, 0);
        *n_carried_out += f.report.intent_carried_out;
        last = shard_log_last_index(f.log);
        ASSERT_TRUE(last == cut || (last == end && f.n_truncated == 0));
        log_fixture_check(&f, 1, last, NULL);

        old_terms = last;
        f.term = 2;
        ASSERT_OK(log_fixture_write(&f, 1));
        ASSERT_OK(log_fixture_write(&f, 1));
        log_fixture_power_cut(&f);
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_EQ(f.report.n_damaged_regions, 0);
        log_fixture_check(&f, 1, last + 2, term_of);
        ASSERT_FALSE(exists(&f, LOG_FIXTURE_DIR "/" TRUNCATE_FILE_NAME));
        log_fixture_done(&f);
        return has_crashed;
}

TEST(a_crash_at_any_step_ends_at_the_cut_or_before_it_began, .timeout_sec = 120) {
        unsigned n_carried_out = 0;

        for (enum shape shape = 0; shape < _SHAPE_MAX; shape++) {
                struct log_fixture base;
                const uint64_t end = make_shape(&base, shape);

                for (uint64_t seed = 0; seed < 3; seed++) {
                        uint64_t n = 1;

                        while (crash_in_truncation(
                                &base, cuts[shape], end, seed, n, &n_carried_out))
                                n++;
                        ASSERT_GE(n, 8);
                }
                log_fixture_done(&base);
        }
        ASSERT_GE(n_carried_out, 15);
}

/* The intent names an entry that was not synced: it is before the intent is. */
TEST(what_was_not_synced_can_be_truncated_and_a_crash_costs_no_more_than_the_end,
     .timeout_sec = 120) {
        for (uint64_t seed = 0; seed < 20; seed++) {
                bool has_crashed = true;

                for (uint64_t n = 1; has_crashed; n++) {
                        struct log_fixture f;
                        uint64_t last;

                        log_fixture_init(&f, seed * 1000 + n);
                        f.config.sync_usec = USEC_INFINITY;
                        f.entry_bytes = 2000;
                        ASSERT_OK(log_fixture_open(&f));
                        for (unsigned i = 0; i < 4; i++)
                                ASSERT_OK(log_fixture_write(&f, 7));
                        ASSERT_EQ(shard_log_durable_index(f.log), 0);

                        sim_disk_crash_at(f.disk, n);
                        ASSERT_OK(shard_log_truncate(f.log, 17));
                        sim_disk_run_jobs(f.disk);
                        has_crashed = sim_disk_has_crashed(f.disk);
                        log_fixture_power_cut(&f);

                        ASSERT_OK(log_fixture_open(&f));
                        ASSERT_EQ(f.report.n_damaged_regions, 0);
                        last = shard_log_last_index(f.log);
                        ASSERT_LE(last, 28);
                        ASSERT_TRUE(has_crashed || last == 17);
                        log_fixture_check(&f, 1, last, NULL);
                        log_fixture_done(&f);
                }
        }
}

TEST(a_roll_that_was_asked_for_is_forgotten) {
        struct log_fixture f;

        log_fixture_init(&f, 1);
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_OK(log_fixture_write(&f, 10));
        ASSERT_EQ(shard_log_roll(f.log), 0);
        truncate_to(&f, 5);
        ASSERT_EQ(f.n_rolled, 0);
        ASSERT_OK(log_fixture_write(&f, 3));
        ASSERT_EQ(f.n_rolled, 0);
        ASSERT_EQ(shard_log_n_segments(f.log), 1);
        ASSERT_EQ(shard_log_roll(f.log), 0);
        sim_disk_run_jobs(f.disk);
        ASSERT_EQ(f.n_rolled, 1);
        ASSERT_EQ(f.rolled_index, 8);
        log_fixture_done(&f);
}

TEST(an_error_at_any_step_stops_the_log_and_the_next_start_finishes, .timeout_sec = 60) {
        for (enum shape shape = 0; shape < _SHAPE_MAX; shape++) {
                struct log_fixture base;
                const uint64_t end = make_shape(&base, shape);

                for (uint64_t n = 1, n_left = 0; n_left == 0; n++) {
                        struct log_fixture f;
                        uint64_t last;

                        copy_shape(&f, &base, n);
                        sim_disk_fail(f.disk,
                                      SIM_DISK_OPEN | SIM_DISK_READ | SIM_DISK_WRITE |
                                              SIM_DISK_SYNC | SIM_DISK_RENAME | SIM_DISK_UNLINK |
                                              SIM_DISK_SYNC_DIR | SIM_DISK_LIST,
                                      NULL,
                                      n,
                                      EIO);
                        ASSERT_OK(shard_log_truncate(f.log, cuts[shape]));
                        sim_disk_run_jobs(f.disk);
                        n_left = sim_disk_fail_clear(f.disk);
                        if (f.n_truncated == 0)
                                ASSERT_LT(f.error, 0);

                        log_fixture_power_cut(&f);
                        ASSERT_OK(log_fixture_open(&f));
                        ASSERT_EQ(f.report.n_damaged_regions, 0);
                        last = shard_log_last_index(f.log);
                        ASSERT_TRUE(last == cuts[shape] || last == end);
                        log_fixture_check(&f, 1, last, NULL);
                        log_fixture_done(&f);
                }
                log_fixture_done(&base);
        }
}

/* Bad bytes at or below the cut are kept: they may be repaired. */
TEST(what_is_damaged_and_stays_is_not_touched) {
        struct log_fixture f;
        uint8_t before[4096], now[4096];

        log_fixture_init(&f, 1);
        ASSERT_OK(log_fixture_open(&f));
        for (unsigned i = 0; i < 4; i++)
                ASSERT_OK(log_fixture_write(&f, 7));
        log_fixture_close(&f);
        ASSERT_OK(sim_disk_flip_bit(f.disk, FIRST_FILE, SEGMENT_HEADER_BYTES + 100, 2));
        ASSERT_OK(sim_disk_flip_bit(
                f.disk, FIRST_FILE, SEGMENT_HEADER_BYTES + 10, 2)); /* the first group's header */
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_EQ(f.report.n_damaged_regions, 1);
        ASSERT_EQ(sim_disk_peek(f.disk, FIRST_FILE, before, sizeof(before), SEGMENT_HEADER_BYTES),
                  4096);
        truncate_to(&f, 17);
        ASSERT_EQ(shard_log_last_index(f.log), 17);
        ASSERT_EQ(sim_disk_peek(f.disk, FIRST_FILE, now, sizeof(now), SEGMENT_HEADER_BYTES), 4096);
        ASSERT_MEM(now, before, sizeof(now));
        log_fixture_done(&f);
}

/* Where the entry at the cut cannot be read there is no telling where it ends: nothing is cut, and
 * no intent left that no start could carry out. */
TEST(a_cut_that_cannot_be_found_is_refused_before_anything_is_done) {
        struct log_fixture f;

        log_fixture_init(&f, 1);
        ASSERT_OK(log_fixture_open(&f));
        for (unsigned i = 0; i < 4; i++)
                ASSERT_OK(log_fixture_write(&f, 7));
        log_fixture_close(&f);
        ASSERT_OK(sim_disk_flip_bit(
                f.disk, FIRST_FILE, SEGMENT_HEADER_BYTES + GROUP_HEADER_BYTES + 10, 2));
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_OK(shard_log_truncate(f.log, 5));
        sim_disk_run_jobs(f.disk);
        ASSERT_EQ(f.error, -EBADMSG);
        ASSERT_EQ(f.n_truncated, 0);
        log_fixture_kill(&f);
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_FALSE(f.report.intent_carried_out);
        ASSERT_EQ(shard_log_last_index(f.log), 28);
        log_fixture_done(&f);
}

TEST(the_index_of_the_open_segment_forgets_what_was_cut) {
        struct log_fixture f;
        struct recovered *found = NULL;

        log_fixture_init(&f, 1);
        ASSERT_OK(log_fixture_open(&f));
        for (unsigned i = 0; i < 40; i++)
                ASSERT_OK(log_fixture_write(&f, 7));
        ASSERT_OK(recovery_run(f.io, LOG_FIXTURE_DIR, LOG_FIXTURE_SHARD, NULL, &found));
        ASSERT_GE(index_builder_n_points(found->builder), 8);
        found = recovered_free(found);

        truncate_to(&f, 10);
        ASSERT_OK(recovery_run(f.io, LOG_FIXTURE_DIR, LOG_FIXTURE_SHARD, NULL, &found));
        ASSERT_EQ(index_builder_n_points(found->builder), 2);
        truncate_to(&f, 0);
        found = recovered_free(found);
        ASSERT_OK(recovery_run(f.io, LOG_FIXTURE_DIR, LOG_FIXTURE_SHARD, NULL, &found));
        ASSERT_EQ(index_builder_n_points(found->builder), 0);
        recovered_free(found);
        log_fixture_done(&f);
}

TEST(the_term_of_an_entry_is_found) {
        struct log_fixture f;
        uint64_t term = 0;

        make_segments(&f, 1);
        f.term = 4;
        ASSERT_OK(log_fixture_write(&f, 3));
        ASSERT_OK(recovery_find_term(f.io, LOG_FIXTURE_DIR, LOG_FIXTURE_SHARD, 0, &term));
        ASSERT_EQ(term, 0);
        ASSERT_OK(recovery_find_term(f.io, LOG_FIXTURE_DIR, LOG_FIXTURE_SHARD, 20, &term));
        ASSERT_EQ(term, 1);
        ASSERT_OK(recovery_find_term(f.io, LOG_FIXTURE_DIR, LOG_FIXTURE_SHARD, 33, &term));
        ASSERT_EQ(term, 1);
        ASSERT_OK(recovery_find_term(f.io, LOG_FIXTURE_DIR, LOG_FIXTURE_SHARD, 34, &term));
        ASSERT_EQ(term, 4);
        ASSERT_ERROR(recovery_find_term(f.io, LOG_FIXTURE_DIR, LOG_FIXTURE_SHARD, 37, &term),
                     ENOENT);
        log_fixture_done(&f);
}

static void on_synced(void *userdata, uint64_t durable_index) {
        (void) userdata;
        (void) durable_index;
}

static void on_truncated(void *userdata, uint64_t last_index) {
        *(uint64_t *) userdata = last_index;
}

static void on_failed(void *userdata, int error, const char *what) {
        (void) userdata;
        test_fail(__FILE__, __LINE__, "%s: %d", what, error);
}

/* Within the open file, in a closed one, in a linked one, and at a file's end. */
TEST(on_a_real_disk_too) {
        static const struct shard_log_events events = {
                .on_synced = on_synced,
                .on_truncated = on_truncated,
                .on_failed = on_failed,
        };
        static const uint64_t to[] = { 33, 15, 12, 10, 0 };
        _cleanup_(io_posix_freep) struct io *io = NULL;
        struct shard_log_config config = {
                .dir = "shard-3",
                .shard = 3,
                .segment_bytes = SEGMENT_BYTES_MIN,
                .group_bytes = GROUP_BYTES_DEFAULT,
                .append_budget_bytes = APPEND_BUDGET_BYTES_DEFAULT,
        };
        struct recovery_report report;

        ASSERT_OK(io_posix_new(test_tmpdir(), &io));
        ASSERT_OK(io_mkdir(io, config.dir));
        ASSERT_OK(shard_log_create(io, config.dir, config.shard));

        for (size_t i = 0; i < ELEMENTSOF(to); i++) {
                struct shard_log *l = NULL;
                uint64_t truncated = UINT64_MAX;

                ASSERT_OK(shard_log_open(io, &config, &events, &truncated, &l, &report));
                ASSERT_EQ(report.n_damaged_regions, 0);
                ASSERT_EQ(shard_log_last_index(l), i == 0 ? 0 : to[i - 1]);
                while (shard_log_last_index(l) < 35) {
                        struct entry e;

                        log_fixture_entry(shard_log_last_index(l) + 1, i + 1, 100 * 1000, &e);
                        ASSERT_OK(shard_log_append(l, &e));
                        shard_log_flush(l);
                        while (shard_log_durable_index(l) < shard_log_last_index(l))
                                ASSERT_GT(io_posix_dispatch(io, USEC_PER_SEC), 0);
                }
                if (i == 2)
                        ASSERT_OK(io_link(io, "shard-3/00000000000000000011.log", "held.log"));

                ASSERT_OK(shard_log_truncate(l, to[i]));
                while (truncated == UINT64_MAX)
                        ASSERT_GT(io_posix_dispatch(io, USEC_PER_SEC), 0);
                ASSERT_EQ(truncated, to[i]);
                ASSERT_EQ(shard_log_last_index(l), to[i]);
                l = shard_log_free(l);
        }
}
