/* SPDX-License-Identifier: Apache-2.0 */

/* Retention on a simulated disk: what is decided, what is logged, what goes when; and that after a
 * power cut at any moment all that was not dropped by decision is there. */

#include "drmqd/core/retention.h"

#include "base/alloc.h"
#include "drmqd/core/shard.h"
#include "log/checkpoint.h"
#include "log/ends.h"
#include "log/segment.h"
#include "tests/lib/broker-fixture.h"
#include "tests/lib/test.h"

/* ---- The decision ---- */

#define N_SEGMENTS 5u

/* Five closed segments of 100 bytes, the last entries 10, 20, … of the times 1000, 2000, … */
static uint64_t decide(uint64_t max_bytes,
                       int64_t max_age_ms,
                       int64_t now_ms,
                       uint64_t checkpoint_index,
                       bool *ret_wants) {
        struct retention_segment segments[N_SEGMENTS];

        for (unsigned i = 0; i < N_SEGMENTS; i++)
                segments[i] = (struct retention_segment){
                        .last_index = 10 * (i + 1),
                        .n_bytes = 100,
                        .last_time_ms = 1000 * ((int64_t) i + 1),
                };
        return retention_decide(segments,
                                N_SEGMENTS,
                                /* open_bytes= */ 50,
                                &(struct retention_limits){
                                        .max_bytes = max_bytes,
                                        .max_age_usec = (usec_t) max_age_ms * USEC_PER_MSEC,
                                },
                                now_ms,
                                checkpoint_index,
                                ret_wants);
}

TEST(nothing_goes_where_nothing_is_limited) {
        bool wants;

        ASSERT_EQ(decide(0, 0, INT64_MAX, 1000, &wants), 0);
        ASSERT_FALSE(wants);
        ASSERT_EQ(retention_decide(NULL,
                                   0,
                                   1000,
                                   &(struct retention_limits){ .max_bytes = 1, .max_age_usec = 1 },
                                   INT64_MAX,
                                   1000,
                                   &wants),
                  0); /* the open segment stays, whatever is in it */
        ASSERT_FALSE(wants);
}

TEST(what_is_too_much_goes_and_no_more) {
        bool wants;

        ASSERT_EQ(decide(550, 0, 0, 1000, &wants), 0);
        ASSERT_EQ(decide(549, 0, 0, 1000, &wants), 10);
        ASSERT_EQ(decide(450, 0, 0, 1000, &wants), 10);
        ASSERT_EQ(decide(449, 0, 0, 1000, &wants), 20);
        ASSERT_EQ(decide(1, 0, 0, 1000, &wants), 50);
        ASSERT_FALSE(wants);
}

TEST(what_is_too_old_goes_and_no_more) {
        bool wants;

        ASSERT_EQ(decide(0, 500, 1500, 1000, &wants), 0);
        ASSERT_EQ(decide(0, 500, 1501, 1000, &wants), 10);
        ASSERT_EQ(decide(0, 500, 3501, 1000, &wants), 30);
        ASSERT_EQ(decide(0, 500, 100000, 1000, &wants), 50);
        ASSERT_EQ(decide(0, 500, -100000, 1000, &wants), 0);
        ASSERT_FALSE(wants);

        /* Whichever limit is reached first. */
        ASSERT_EQ(decide(349, 500, 1501, 1000, &wants), 30);
        ASSERT_EQ(decide(549, 500, 3501, 1000, &wants), 30);
}

TEST(nothing_above_the_checkpoint_goes) {
        bool wants;

        ASSERT_EQ(decide(1, 0, 0, 30, &wants), 30);
        ASSERT_TRUE(wants);
        ASSERT_EQ(decide(1, 0, 0, 29, &wants), 20);
        ASSERT_TRUE(wants);
        ASSERT_EQ(decide(1, 0, 0, 0, &wants), 0);
        ASSERT_TRUE(wants);
        ASSERT_EQ(decide(350, 0, 0, 20, &wants), 20); /* it is enough */
        ASSERT_FALSE(wants);
}

TEST(a_segment_of_which_no_time_is_known_is_not_old) {
        struct retention_segment segments[] = {
                { .last_index = 1, .n_bytes = 1, .last_time_ms = 1000 },
                { .last_index = 2, .n_bytes = 1, .last_time_ms = 0 },
                { .last_index = 3, .n_bytes = 1, .last_time_ms = 1000 },
        };
        bool wants;

        ASSERT_EQ(retention_decide(segments,
                                   ELEMENTSOF(segments),
                                   0,
                                   &(struct retention_limits){ .max_age_usec = USEC_PER_SEC },
                                   INT64_MAX,
                                   1000,
                                   &wants),
                  1);
}

/* ---- On a disk ---- */

#define DIR "shard-1"
#define N_PARTITIONS 4u
#define VALUE_BYTES 100000u

struct fixture {
        struct sim_disk *disk;
        struct io *io;
        struct shard *shard;
        struct shard_config config;
        uint64_t acknowledged[N_PARTITIONS]; /* next offsets */
        bool is_fatal;
};

struct asker {
        struct waiter waiter;
        struct fixture *fixture;
        uint64_t partition_id, next_offset;
};

static void on_ready(void *userdata, struct shard *s) {
        (void) userdata;
        (void) s;
}

static void on_checkpoint(void *userdata, struct shard *s, int error) {
        (void) userdata;
        (void) s;
        (void) error;
}

static void on_fatal(void *userdata, int error, const char *what) {
        struct fixture *f = userdata;

        (void) error;
        (void) what;
        f->is_fatal = true;
}

static void on_event_done(void *userdata) {
        (void) userdata;
}

static const struct shard_events events = {
        .on_ready = on_ready,
        .on_checkpoint = on_checkpoint,
        .on_fatal = on_fatal,
        .on_event_done = on_event_done,
};

static void init(struct fixture *f, uint64_t seed) {
        *f = (struct fixture){
                .config = {
                        .number = 1,
                        .node_id = 1,
                        .dir = DIR,
                        .segment_bytes = SEGMENT_BYTES_MIN,
                        .group_bytes = GROUP_BYTES_DEFAULT,
                        .append_budget_bytes = APPEND_BUDGET_BYTES_DEFAULT,
                        .checkpoint_bytes = CHECKPOINT_BYTES_DEFAULT,
                },
        };
        ASSERT_OK(sim_disk_new(seed, &f->disk));
        f->io = sim_disk_io(f->disk);
        ASSERT_OK(io_mkdir(f->io, DIR));
        ASSERT_OK(shard_log_create(f->io, DIR, 1));
        ASSERT_OK(io_sync_dir(f->io, DIR));
        ASSERT_OK(io_sync_dir(f->io, "."));
}

/* All that is at hand, and what follows from it; @look after each step. */
static void run_looking(struct fixture *f, void (*look)(struct fixture *f)) {
        for (unsigned i = 0; i < 8; i++) {
                sim_disk_advance(f->disk, 20 * USEC_PER_MSEC);
                while (sim_disk_run_job(f->disk))
                        if (look)
                                look(f);
        }
}

static void run(struct fixture *f) {
        run_looking(f, NULL);
}

static void start(struct fixture *f) {
        f->is_fatal = false;
        ASSERT_OK(shard_new(f->io, &f->config, &events, f, &f->shard));
        ASSERT_EQ(f->shard->report.n_damaged_regions, 0);
        shard_start(f->shard);
        run(f);
        ASSERT_TRUE(shard_is_writable(f->shard));
}

static void power_cut(struct fixture *f) {
        sim_disk_power_cut(f->disk);
        f->shard = shard_free(f->shard);
        sim_disk_restart(f->disk);
}

static void done(struct fixture *f) {
        f->shard = shard_free(f->shard);
        f->disk = sim_disk_free(f->disk);
}

static void on_produced(struct waiter *w, int error) {
        struct asker *a = CONTAINER_OF(w, struct asker, waiter);

        if (error >= 0)
                a->fixture->acknowledged[a->partition_id] = a->next_offset;
        mem_free(a);
}

/* One message; what comes of it is waited for by the next run(). */
static void propose(struct fixture *f, uint64_t partition_id, size_t value_bytes) {
        struct proposal *p = proposal_new(ENTRY_PRODUCE, 1);
        int64_t time_ms = shard_append_time_ms(f->shard);
        uint64_t offset = head_next_offset(&f->shard->head, partition_id);
        struct slice batch = broker_batch(-1, -1, -1, 1, value_bytes);
        struct asker *a = new0(struct asker, 1);
        struct batch_view v;

        ASSERT_NOT_NULL(p);
        ASSERT_NOT_NULL(a);
        ASSERT_OK(batch_view_init(batch.data, batch.size, &v));
        ASSERT_OK(head_add(
                &f->shard->head, shard_next_ticket(f->shard), partition_id, &v, offset, time_ms));
        p->slices[0] = (struct entry_slice){
                .partition_id = partition_id,
                .base_offset = offset,
                .batch = batch.data,
                .batch_bytes = (uint32_t) batch.size,
        };
        p->hold = batch;
        *a = (struct asker){ .fixture = f,
                             .partition_id = partition_id,
                             .next_offset = offset + 1 };
        (void) shard_propose(f->shard, p, time_ms, &a->waiter, on_produced);
}

/* So many messages, one partition after the other; ten are about one segment. */
static void produce(struct fixture *f, unsigned n) {
        for (unsigned i = 0; i < n; i++) {
                propose(f, i % N_PARTITIONS, VALUE_BYTES);
                run(f);
        }
}

static uint64_t first_offset(const struct fixture *f, uint64_t partition_id) {
        const struct partition *p = state_partition(f->shard->state, partition_id);

        return p ? p->first_offset : 0;
}

static uint64_t next_offset(const struct fixture *f, uint64_t partition_id) {
        const struct partition *p = state_partition(f->shard->state, partition_id);

        return p ? p->next_offset : 0;
}

static void limit(struct fixture *f, uint64_t max_bytes, usec_t max_age_usec) {
        f->config.retention = (struct retention_limits){
                .max_bytes = max_bytes,
                .max_age_usec = max_age_usec,
        };
        if (f->shard)
                shard_set_retention(f->shard, &f->config.retention);
}

/* All from its first offset on can be read, to what was acknowledged and behind it. */
static void check_partition(const struct fixture *f, uint64_t id) {
        uint64_t offset = first_offset(f, id);

        ASSERT_GE(next_offset(f, id), f->acknowledged[id]);
        while (offset < next_offset(f, id)) {
                _cleanup_(log_read_freep) struct log_read *r = NULL;
                const struct log_read_slice *slices;
                size_t n;

                ASSERT_OK(shard_log_read(
                        f->shard->log, id, offset, next_offset(f, id), 1 << 20, NULL, &r));
                ASSERT_EQ(log_read_run(r, /* may_block= */ true), 1);
                slices = log_read_slices(r, &n);
                for (size_t i = 0; i < n; i++)
                        ASSERT_EQ(slices[i].base_offset, offset++);
        }
}

/* Nothing that was not dropped by decision is missing, or hidden. */
static void check(const struct fixture *f) {
        _cleanup_(log_scan_freep) struct log_scan *s = NULL;
        const uint64_t from_index = f->shard->state->log_start_index + 1;
        struct entry e;
        int r;

        ASSERT_EQ(f->shard->report.n_damaged_regions, 0);
        ASSERT_LE(shard_log_first_index(f->shard->log), from_index);
        ASSERT_LE(f->shard->checkpoint_log_start_index, f->shard->state->log_start_index);
        for (uint64_t id = 0; id < N_PARTITIONS; id++)
                check_partition(f, id);

        ASSERT_OK(shard_log_scan(f->shard->log,
                                 from_index,
                                 shard_log_durable_index(f->shard->log),
                                 ENTRY_VERIFY_BATCHES,
                                 &s));
        while ((r = log_scan_next(s, &e)) > 0)
                for (unsigned i = 0; i < e.n_slices; i++)
                        ASSERT_GE(e.slices[i].base_offset,
                                  first_offset(f, e.slices[i].partition_id));
        ASSERT_EQ(r, 0);
}

/* I1: what is on disk is enough for a start. */
static void check_checkpoint(struct fixture *f) {
        _cleanup_(checkpoint_done) struct checkpoint c = {};
        _cleanup_(state_freep) struct state *s = NULL;
        const uint64_t first_index = shard_log_first_index(f->shard->log);

        if (first_index == 1)
                return;

        ASSERT_OK(state_new(&s));
        ASSERT_EQ(checkpoint_load(f->io, DIR, 1, &c, NULL), 1);
        ASSERT_OK(state_decode(s, c.body, c.body_bytes));
        ASSERT_GE(s->log_start_index + 1, first_index);
        ASSERT_GE(c.index + 1, first_index);
}

TEST(the_log_stays_within_its_limit_and_what_goes_is_decided) {
        struct shard_log_stats stats;
        struct fixture f;

        init(&f, 1);
        limit(&f, 4 * SEGMENT_BYTES_MIN, 0);
        start(&f);
        for (unsigned i = 0; i < 120; i++) {
                propose(&f, i % N_PARTITIONS, VALUE_BYTES);
                run_looking(&f, check_checkpoint);
                check(&f);
                shard_log_stats(f.shard->log, &stats);
                ASSERT_LE(stats.n_segments, 5);
        }
        for (uint64_t id = 0; id < N_PARTITIONS; id++) {
                ASSERT_EQ(next_offset(&f, id), 30);
                ASSERT_GT(first_offset(&f, id), 18);
        }
        ASSERT_EQ(shard_log_first_index(f.shard->log), f.shard->state->log_start_index + 1);

        power_cut(&f);
        start(&f);
        check(&f);
        done(&f);
}

TEST(nothing_goes_that_is_not_limited) {
        struct fixture f;

        init(&f, 1);
        start(&f);
        produce(&f, 40);
        sim_disk_advance(f.disk, 100 * USEC_PER_DAY);
        run(&f);
        ASSERT_EQ(shard_log_first_index(f.shard->log), 1);
        ASSERT_EQ(f.shard->state->log_start_index, 0);
        ASSERT_EQ(f.shard->checkpoint_index, 0); /* nobody asked for one */
        check(&f);

        /* A limit that comes with a reload is as good as one of the start. */
        limit(&f, 2 * SEGMENT_BYTES_MIN, 0);
        run(&f);
        ASSERT_GT(shard_log_first_index(f.shard->log), 20);
        check(&f);
        done(&f);
}

TEST(what_is_old_goes_by_itself) {
        struct fixture f;
        uint64_t first_index;

        init(&f, 1);
        limit(&f, 0, USEC_PER_HOUR);
        start(&f);
        produce(&f, 20);
        sim_disk_advance(f.disk, 50 * USEC_PER_MINUTE);
        run(&f);
        ASSERT_EQ(shard_log_first_index(f.shard->log), 1);
        produce(&f, 20);

        sim_disk_advance(f.disk, 11 * USEC_PER_MINUTE);
        run(&f);
        first_index = shard_log_first_index(f.shard->log);
        ASSERT_GT(first_index, 8);
        ASSERT_LE(first_index, 22);
        check(&f);

        /* No message comes any more, and those behind them go too, but for the open segment. */
        for (unsigned i = 0; i < 60; i++) {
                sim_disk_advance(f.disk, USEC_PER_MINUTE);
                run(&f);
        }
        ASSERT_GT(shard_log_first_index(f.shard->log), 22);
        ASSERT_EQ(shard_log_n_segments(f.shard->log), 1);
        check(&f);
        done(&f);
}

TEST(a_clock_that_jumps_makes_nothing_old) {
        struct fixture f;
        int64_t wall_ms;

        init(&f, 1);
        limit(&f, 0, USEC_PER_HOUR);
        start(&f);
        produce(&f, 40);
        wall_ms = io_wall_ms(f.io);
        sim_disk_set_wall_ms(f.disk, wall_ms + 24 * 60 * 60 * 1000);
        for (unsigned i = 0; i < 5; i++) {
                sim_disk_advance(f.disk, USEC_PER_MINUTE);
                run(&f);
                ASSERT_EQ(shard_log_first_index(f.shard->log), 1);
        }

        /* It goes back where it was: that is another jump. */
        sim_disk_set_wall_ms(f.disk, wall_ms);
        for (unsigned i = 0; i < 20; i++) {
                sim_disk_advance(f.disk, USEC_PER_MINUTE);
                run(&f);
        }
        ASSERT_EQ(shard_log_first_index(f.shard->log), 1);

        /* It stays ahead: after a while it is believed. */
        sim_disk_set_wall_ms(f.disk, wall_ms + 24 * 60 * 60 * 1000);
        for (unsigned i = 0; i < 13; i++) {
                sim_disk_advance(f.disk, USEC_PER_MINUTE);
                run(&f);
        }
        ASSERT_GT(shard_log_first_index(f.shard->log), 1);
        check(&f);
        done(&f);
}

/* More partitions than one entry takes. */
/* The log's start moves with the last of them. */
static void all_are_told_once_it_moves(struct fixture *f) {
        if (f->shard->state->log_start_index == 0)
                return;
        for (unsigned i = 0; i < 9000; i++)
                ASSERT_EQ(first_offset(f, 100 + i), 3);
}

TEST(partitions_without_number_are_told_entry_by_entry) {
        const unsigned n = 9000;
        struct slice batch = broker_batch(-1, -1, -1, 3, 1);
        uint64_t n_entries;
        struct fixture f;

        init(&f, 1);
        start(&f);
        for (unsigned from = 0; from < n; from += 1000) {
                struct proposal *p = proposal_new(ENTRY_PRODUCE, 1000);

                ASSERT_NOT_NULL(p);
                for (unsigned i = 0; i < 1000; i++)
                        p->slices[i] = (struct entry_slice){
                                .partition_id = 100 + from + i,
                                .batch = batch.data,
                                .batch_bytes = (uint32_t) batch.size,
                        };
                p->hold = slice_ref(batch);
                (void) shard_propose(f.shard, p, shard_append_time_ms(f.shard), NULL, NULL);
                run(&f);
        }
        slice_done(&batch);
        produce(&f, 30);
        n_entries = f.shard->state->index;
        limit(&f, 2 * SEGMENT_BYTES_MIN, 0);
        run_looking(&f, all_are_told_once_it_moves);
        run(&f);

        ASSERT_GT(f.shard->state->log_start_index, 10);
        ASSERT_GE(f.shard->state->index, n_entries + 2 + 2); /* two to say it, two marks */
        for (unsigned i = 0; i < n; i++) {
                ASSERT_EQ(first_offset(&f, 100 + i), 3);
                ASSERT_EQ(next_offset(&f, 100 + i), 3);
        }
        check(&f);
        done(&f);
}

TEST(a_fetch_in_flight_reads_what_is_being_dropped) {
        _cleanup_(log_read_freep) struct log_read *r = NULL;
        const struct log_read_slice *slices;
        struct fixture f;
        size_t n;

        init(&f, 1);
        start(&f);
        produce(&f, 40);
        ASSERT_OK(shard_log_read(f.shard->log, 0, 0, next_offset(&f, 0), 1, NULL, &r));
        limit(&f, 2 * SEGMENT_BYTES_MIN, 0);
        run(&f);
        ASSERT_GT(first_offset(&f, 0), 0);
        ASSERT_GT(shard_log_first_index(f.shard->log), 20);
        ASSERT_EQ(log_read_run(r, /* may_block= */ true), 1);
        slices = log_read_slices(r, &n);
        ASSERT_EQ(slices[0].base_offset, 0);
        r = log_read_free(r);
        done(&f);
}

/* Where partitions end is found whether or not there are index files, and without memory it is said
 * that there is none. */
TEST(the_ends_of_partitions_are_found_by_index_or_without) {
        struct fixture f;
        uint64_t to_index;

        init(&f, 1);
        start(&f);
        produce(&f, 30);
        to_index = shard_log_last_index(f.shard->log);
        for (unsigned pass = 0; pass < 3; pass++) {
                FAULT_SWEEP {
                        _cleanup_(log_ends_freep) struct log_ends *e = NULL;
                        const struct log_end *ends;
                        size_t n;
                        int r = shard_log_ends(f.shard->log, to_index, &e);

                        if (r >= 0)
                                r = log_ends_run(e);
                        if (r < 0) {
                                ASSERT_ERROR(r, ENOMEM);
                                continue;
                        }
                        ends = log_ends_all(e, &n);
                        ASSERT_EQ(n, N_PARTITIONS);
                        for (size_t i = 0; i < n; i++) {
                                ASSERT_EQ(ends[i].partition_id, i);
                                ASSERT_GT(ends[i].next_offset,
                                          2); /* of 7 or 8, without the open segment */
                                ASSERT_LE(ends[i].next_offset, next_offset(&f, i));
                        }
                        ASSERT_GE(ends[0].next_offset, ends[N_PARTITIONS - 1].next_offset);
                }
                /* Damaged, then missing. */
                if (pass == 0)
                        ASSERT_OK(
                                sim_disk_flip_bit(f.disk, DIR "/00000000000000000001.idx", 100, 1));
                if (pass == 1)
                        ASSERT_OK(io_unlink(f.io, DIR "/00000000000000000001.idx"));
        }
        done(&f);
}

/* ---- Crashes ---- */

/* A shard of some segments, stopped; @f has what is acknowledged. */
static void make_base(struct fixture *f) {
        init(f, 7);
        start(f);
        produce(f, 45);
        ASSERT_GE(shard_log_n_segments(f->shard->log), 4);
        power_cut(f);
}

static void copy(struct fixture *f, const struct fixture *base, uint64_t seed) {
        *f = *base;
        ASSERT_OK(sim_disk_clone(base->disk, seed, &f->disk));
        f->io = sim_disk_io(f->disk);
}

/* Limits a copy of @base and crashes it at the @n-th step. Return: whether there was one. */
static bool crash_in_retention(const struct fixture *base, uint64_t n, unsigned *n_decided) {
        struct fixture f;
        bool has_crashed;

        copy(&f, base, n);
        start(&f);
        sim_disk_crash_at(f.disk, n);
        limit(&f, 2 * SEGMENT_BYTES_MIN, 0);
        run(&f);
        run(&f);
        has_crashed = sim_disk_has_crashed(f.disk);
        power_cut(&f);

        /* What is there is whole, whether or not anything has been decided … */
        limit(&f, 0, 0);
        start(&f);
        check(&f);
        if (f.shard->state->log_start_index > 0)
                (*n_decided)++;
        /* … and what was decided is carried out. */
        run(&f);
        ASSERT_EQ(shard_log_first_index(f.shard->log), f.shard->state->log_start_index + 1);
        check(&f);

        produce(&f, 4);
        power_cut(&f);
        limit(&f, 2 * SEGMENT_BYTES_MIN, 0);
        start(&f);
        run(&f);
        run(&f);
        ASSERT_GT(shard_log_first_index(f.shard->log), 20);
        check(&f);
        done(&f);
        return has_crashed;
}

TEST(a_crash_at_any_step_loses_only_what_was_to_go, .timeout_sec = 120) {
        struct fixture base;
        unsigned n_decided = 0;
        uint64_t n = 1;

        make_base(&base);
        while (crash_in_retention(&base, n, &n_decided))
                n++;
        ASSERT_GE(n, 15);
        ASSERT_GE(n_decided, 5);
        ASSERT_LT(n_decided, n);
        done(&base);
}

/* An error is no crash: it stops the shard, or is tried again; nothing goes wrong for good. */
TEST(an_error_at_any_step_costs_nothing, .timeout_sec = 120) {
        struct fixture base;

        make_base(&base);
        for (uint64_t n = 1, n_left = 0; n_left == 0; n++) {
                struct fixture f;

                copy(&f, &base, n);
                start(&f);
                sim_disk_fail(f.disk,
                              SIM_DISK_OPEN | SIM_DISK_WRITE | SIM_DISK_SYNC | SIM_DISK_RENAME |
                                      SIM_DISK_UNLINK | SIM_DISK_SYNC_DIR | SIM_DISK_READ,
                              NULL,
                              n,
                              n % 2 == 0 ? EIO : ENOSPC);
                limit(&f, 2 * SEGMENT_BYTES_MIN, 0);
                for (unsigned i = 0; i < 4; i++) {
                        run(&f);
                        sim_disk_advance(f.disk, RETENTION_RETRY_USEC);
                }
                n_left = sim_disk_fail_clear(f.disk);
                if (!f.is_fatal) {
                        run(&f);
                        ASSERT_GT(shard_log_first_index(f.shard->log), 20);
                        check(&f);
                }

                power_cut(&f);
                start(&f);
                run(&f);
                run(&f);
                ASSERT_GT(shard_log_first_index(f.shard->log), 20);
                check(&f);
                done(&f);
        }
        done(&base);
}

/* What a write that did not finish had added to an index must not count: it would hide messages. */
TEST(a_cut_does_not_hide_what_comes_after_it) {
        unsigned n_cut = 0;

        for (uint64_t seed = 0; seed < 60; seed++) {
                struct fixture f;

                init(&f, seed);
                start(&f);
                propose(&f, 1, 100);
                run(&f);
                /* One group of messages of two partitions, of which a power cut takes the end. */
                for (unsigned i = 0; i < 20; i++)
                        propose(&f, 1 + i % 2, 3000);
                sim_disk_crash_in(f.disk, SIM_DISK_SYNC, ".log", 1);
                sim_disk_advance(f.disk, 20 * USEC_PER_MSEC);
                while (sim_disk_run_job(f.disk))
                        ;
                power_cut(&f);

                ASSERT_OK(shard_new(f.io, &f.config, &events, &f, &f.shard));
                n_cut += f.shard->report.cut_index > 0;
                shard_start(f.shard);
                run(&f);

                /* The segment closes without another message of partition 1. */
                while (shard_log_n_segments(f.shard->log) < 2) {
                        propose(&f, 3, VALUE_BYTES);
                        run(&f);
                }
                for (unsigned i = 0; i < 40; i++)
                        propose(&f, 1, 3000);
                run(&f);
                for (unsigned i = 0; i < 20; i++) {
                        propose(&f, 3, VALUE_BYTES);
                        run(&f);
                }
                limit(&f, 3 * SEGMENT_BYTES_MIN, 0);
                run(&f);
                run(&f);
                ASSERT_GT(f.shard->state->log_start_index, 0);
                check(&f);
                done(&f);
        }
        ASSERT_GE(n_cut, 10);
}

/* ---- A beginning that is missing ---- */

/* Whatever is left, be it nothing: what the next offsets are is not known where it was not all
 * replayed. */
TEST(a_log_that_begins_behind_the_state_is_not_written_to) {
        struct fixture f;
        uint64_t first_index;

        init(&f, 1);
        start(&f);
        produce(&f, 8);
        ASSERT_EQ(shard_log_roll(f.shard->log), 0);
        run(&f);
        first_index = shard_log_last_index(f.shard->log) + 1;
        ASSERT_EQ(shard_log_n_segments(f.shard->log), 2);
        power_cut(&f);

        ASSERT_OK(io_unlink(f.io, DIR "/00000000000000000001.log"));
        ASSERT_OK(io_sync_dir(f.io, DIR));
        ASSERT_OK(shard_new(f.io, &f.config, &events, &f, &f.shard));
        ASSERT_EQ(shard_log_first_index(f.shard->log), first_index);
        ASSERT_EQ(f.shard->report.n_damaged_regions, 1);
        shard_start(f.shard);
        run(&f);
        ASSERT_FALSE(shard_is_writable(f.shard));
        ASSERT_FALSE(shard_knows_its_end(f.shard));
        done(&f);
}

TEST(a_file_that_is_missing_at_the_beginning_is_damage) {
        struct fixture f;
        _cleanup_(mem_freep) char *path = NULL;

        init(&f, 1);
        limit(&f, 5 * SEGMENT_BYTES_MIN, 0);
        start(&f);
        produce(&f, 80);
        run(&f);
        ASSERT_GT(shard_log_first_index(f.shard->log), 1);
        ASSERT_OK(shard_checkpoint(f.shard));
        run(&f);
        path = segment_path(DIR, shard_log_first_index(f.shard->log), ".log");
        ASSERT_NOT_NULL(path);
        power_cut(&f);

        ASSERT_OK(io_unlink(f.io, path));
        ASSERT_OK(io_sync_dir(f.io, DIR));
        ASSERT_OK(shard_new(f.io, &f.config, &events, &f, &f.shard));
        ASSERT_EQ(f.shard->report.n_damaged_regions, 1);
        ASSERT_EQ(f.shard->report.first_damaged_index, f.shard->state->log_start_index + 1);
        shard_start(f.shard);
        run(&f);
        ASSERT_TRUE(shard_is_writable(f.shard)); /* what comes next is known all the same */
        done(&f);
}
