/* SPDX-License-Identifier: Apache-2.0 */

/* From a proposal to its outcome, on a disk alone: jobs run when the test says so. */

#include "drmqd/core/shard.h"

#include "base/alloc.h"
#include "base/logging.h"
#include "tests/lib/broker-fixture.h"
#include "tests/lib/test.h"

#define DIR "shard-1"
#define LOG "shard-1/00000000000000000001.log"
#define PARTITION 5u

struct fixture {
        struct sim_disk *disk;
        struct io *io;
        struct shard *shard;
        struct shard_config config;
        struct tracer tracer;
        unsigned n_ready, n_checkpoints, n_fatal, n_warnings;
        int checkpoint_error, fatal;
};

/* Who waits. */
struct asker {
        struct waiter waiter;
        unsigned n_told;
        int error;
        unsigned order; /* the how manieth of all */
};

static unsigned n_told;

static void on_done(struct waiter *w, int error) {
        struct asker *a = CONTAINER_OF(w, struct asker, waiter);

        a->n_told++;
        a->error = error;
        a->order = ++n_told;
}

static void on_ready(void *userdata, struct shard *s) {
        struct fixture *f = userdata;

        ASSERT_TRUE(s == f->shard);
        f->n_ready++;
}

static void on_checkpoint(void *userdata, struct shard *s, int error) {
        struct fixture *f = userdata;

        (void) s;
        f->n_checkpoints++;
        f->checkpoint_error = error;
}

static void on_fatal(void *userdata, int error, const char *what) {
        struct fixture *f = userdata;

        ASSERT_NOT_NULL(what);
        f->n_fatal++;
        f->fatal = error;
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

static void on_log(void *userdata, const struct log_record *record) {
        struct fixture *f = userdata;

        f->n_warnings += record->level <= LOG_WARNING;
}

static void init(struct fixture *f, uint64_t seed) {
        *f = (struct fixture){ .tracer = { .emit = on_log, .userdata = f } };
        ASSERT_OK(sim_disk_new(seed, &f->disk));
        f->io = sim_disk_io(f->disk);
        ASSERT_OK(io_mkdir(f->io, DIR));
        ASSERT_OK(shard_log_create(f->io, DIR, 1));
        ASSERT_OK(io_sync_dir(f->io, DIR));
        ASSERT_OK(io_sync_dir(f->io, "."));
        f->config = (struct shard_config){
                .number = 1,
                .node_id = 1,
                .dir = DIR,
                .segment_bytes = SEGMENT_BYTES_MIN,
                .group_bytes = GROUP_BYTES_DEFAULT,
                .append_budget_bytes = APPEND_BUDGET_BYTES_DEFAULT,
                .checkpoint_bytes = CHECKPOINT_BYTES_DEFAULT,
                .tracer = &f->tracer,
        };
}

/* All that is at hand, and what follows from it. */
static void run(struct fixture *f) {
        for (unsigned i = 0; i < 5; i++) {
                sim_disk_advance(f->disk, 20 * USEC_PER_MSEC);
                (void) sim_disk_run_jobs(f->disk);
        }
}

static int open_shard(struct fixture *f) {
        f->n_ready = f->n_checkpoints = f->n_fatal = 0;
        return shard_new(f->io, &f->config, &events, f, &f->shard);
}

static void start(struct fixture *f) {
        ASSERT_OK(open_shard(f));
        shard_start(f->shard);
        run(f);
        ASSERT_EQ(f->n_ready, 1);
}

static void end(struct fixture *f, bool power_cut) {
        if (power_cut)
                sim_disk_power_cut(f->disk);
        else
                sim_disk_kill(f->disk);
        f->shard = shard_free(f->shard);
        sim_disk_restart(f->disk);
}

static void done(struct fixture *f) {
        f->shard = shard_free(f->shard);
        f->disk = sim_disk_free(f->disk);
}

/* Proposes a batch as produce.c does. Return: its base offset. */
static uint64_t
produce(struct fixture *f, uint64_t partition_id, size_t value_bytes, struct asker *a) {
        struct proposal *p = proposal_new(ENTRY_PRODUCE, 1);
        int64_t time_ms = shard_append_time_ms(f->shard);
        uint64_t offset = head_next_offset(&f->shard->head, partition_id);
        struct slice batch = broker_batch(-1, -1, -1, 1, value_bytes);
        struct batch_view v;

        ASSERT_NOT_NULL(p);
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
        if (a)
                *a = (struct asker){};
        (void) shard_propose(f->shard, p, time_ms, a ? &a->waiter : NULL, a ? on_done : NULL);
        return offset;
}

static void admin(struct fixture *f, uint64_t dropped_id, struct asker *a) {
        struct proposal *p = proposal_new(ENTRY_ADMIN, 0);
        struct byte_writer w;

        ASSERT_NOT_NULL(p);
        byte_writer_init(&w, 0);
        byte_writer_u8(&w, ADMIN_PARTITION_DROP);
        byte_writer_uleb(&w, dropped_id);
        p->body = w.data;
        p->entry.body = p->body;
        p->entry.body_bytes = (uint32_t) w.size;
        if (a)
                *a = (struct asker){};
        (void) shard_propose(f->shard,
                             p,
                             shard_append_time_ms(f->shard),
                             a ? &a->waiter : NULL,
                             a ? on_done : NULL);
}

static uint64_t next_offset(const struct fixture *f, uint64_t partition_id) {
        const struct partition *p = state_partition(f->shard->state, partition_id);

        return p ? p->next_offset : 0;
}

/* ---- Starting ---- */

TEST(it_leads_when_its_noop_is_applied) {
        struct fixture f;

        init(&f, 1);
        ASSERT_OK(open_shard(&f));
        shard_start(f.shard);
        ASSERT_FALSE(shard_is_writable(f.shard));
        sim_disk_advance(f.disk, USEC_PER_MSEC); /* it campaigns; its vote is not on disk */
        ASSERT_EQ(raft_role(f.shard->raft), RAFT_CANDIDATE);
        ASSERT_EQ(f.n_ready, 0);
        run(&f);
        ASSERT_EQ(f.n_ready, 1);
        ASSERT_TRUE(shard_is_writable(f.shard));
        ASSERT_EQ(f.shard->state->index, 1);
        ASSERT_EQ(shard_log_term(f.shard->log), 1);
        ASSERT_EQ(shard_log_vote(f.shard->log), 1);
        ASSERT_TRUE(shard_is_quiet(f.shard));
        done(&f);
}

TEST(each_start_is_another_term) {
        struct fixture f;

        init(&f, 1);
        for (uint64_t term = 1; term <= 5; term++) {
                start(&f);
                ASSERT_EQ(raft_term(f.shard->raft), term);
                ASSERT_EQ(f.shard->state->term, term);
                ASSERT_EQ(f.shard->state->index, term);
                end(&f, /* power_cut= */ term % 2 == 0);
        }
        done(&f);
}

TEST(what_was_durable_and_never_named_committed_comes_back) {
        struct fixture f;
        struct asker a;

        for (unsigned i = 0; i < 20; i++) {
                init(&f, i);
                start(&f);
                for (unsigned k = 0; k < 5; k++)
                        (void) produce(&f, PARTITION, 100, k == 4 ? &a : NULL);
                sim_disk_advance(f.disk, 0); /* the flush */
                while (a.n_told == 0)
                        ASSERT_TRUE(sim_disk_run_job(f.disk));
                end(&f, /* power_cut= */ true); /* before any header could name it */
                start(&f);
                ASSERT_EQ(next_offset(&f, PARTITION), 5);
                ASSERT_EQ(f.shard->state->index, 1 + 5 + 1);
                ASSERT_EQ(f.n_warnings, 0);
                done(&f);
        }
}

/* ---- Outcomes ---- */

TEST(nobody_is_told_before_it_is_on_disk_and_everybody_in_order) {
        struct asker a[10];
        struct fixture f;
        unsigned first;

        init(&f, 1);
        start(&f);
        first = n_told;
        for (unsigned i = 0; i < ELEMENTSOF(a); i++)
                ASSERT_EQ(produce(&f, PARTITION, 1000, &a[i]), i);
        ASSERT_EQ(head_next_offset(&f.shard->head, PARTITION), 10);
        sim_disk_advance(f.disk, 0); /* the flush: a write begins, it is not done */
        for (unsigned i = 0; i < ELEMENTSOF(a); i++)
                ASSERT_EQ(a[i].n_told, 0);
        ASSERT_EQ(next_offset(&f, PARTITION), 0);
        ASSERT_FALSE(shard_is_quiet(f.shard));

        run(&f);
        for (unsigned i = 0; i < ELEMENTSOF(a); i++) {
                ASSERT_EQ(a[i].n_told, 1);
                ASSERT_EQ(a[i].error, 0);
                ASSERT_EQ(a[i].order, first + i + 1);
        }
        ASSERT_EQ(next_offset(&f, PARTITION), 10);
        ASSERT_TRUE(shard_is_quiet(f.shard));
        done(&f);
}

TEST(many_proposals_are_one_write) {
        struct shard_log_stats before, after;
        struct fixture f;

        init(&f, 1);
        start(&f);
        shard_log_stats(f.shard->log, &before);
        for (unsigned i = 0; i < 1000; i++)
                (void) produce(&f, i % 100, 10, NULL);
        sim_disk_advance(f.disk, 0);
        (void) sim_disk_run_jobs(f.disk);
        shard_log_stats(f.shard->log, &after);
        ASSERT_EQ(after.n_groups, before.n_groups + 1);
        ASSERT_EQ(after.n_syncs, before.n_syncs + 1);
        ASSERT_EQ(next_offset(&f, 7), 10);
        done(&f);
}

TEST(a_ticket_can_be_waited_for_by_others_too) {
        struct asker a, b = {}, c = {};
        struct fixture f;

        init(&f, 1);
        start(&f);
        (void) produce(&f, PARTITION, 10, &a);
        (void) produce(&f, PARTITION, 10, NULL);
        shard_wait(f.shard, &b.waiter, a.waiter.ticket, on_done);
        ASSERT_EQ(b.n_told, 0);
        run(&f);
        ASSERT_EQ(a.n_told, 1);
        ASSERT_EQ(b.n_told, 1);
        ASSERT_EQ(b.error, 0);
        /* What is applied is told within the call. */
        shard_wait(f.shard, &c.waiter, a.waiter.ticket, on_done);
        ASSERT_EQ(c.n_told, 1);
        shard_wait(f.shard, &c.waiter, 0, on_done);
        ASSERT_EQ(c.n_told, 2);
        done(&f);
}

TEST(append_time_never_goes_back) {
        struct fixture f;
        int64_t before;

        init(&f, 1);
        start(&f);
        sim_disk_set_wall_ms(f.disk, 5000000);
        (void) produce(&f, PARTITION, 10, NULL);
        run(&f);
        before = f.shard->state->time_ms;
        ASSERT_GE(before, 5000000);
        sim_disk_set_wall_ms(f.disk, 1000);
        (void) produce(&f, PARTITION, 10, NULL);
        run(&f);
        ASSERT_GE(f.shard->state->time_ms, before);

        /* Nor over a start. */
        end(&f, /* power_cut= */ true);
        sim_disk_set_wall_ms(f.disk, 1000);
        start(&f);
        ASSERT_GE(f.shard->state->time_ms, before);
        ASSERT_GE(shard_append_time_ms(f.shard), before);
        done(&f);
}

TEST(what_the_log_has_no_room_for_yet_waits_its_turn) {
        static struct asker a[40];
        struct fixture f;

        init(&f, 1);
        f.config.segment_bytes = 64 << 20;
        start(&f);
        for (unsigned i = 0; i < ELEMENTSOF(a); i++)
                ASSERT_EQ(produce(&f, PARTITION, 1 << 20, &a[i]), i);
        ASSERT_FALSE(list_is_empty(&f.shard->unappended));
        ASSERT_FALSE(list_is_empty(&f.shard->in_flight));
        for (unsigned i = 0; i < 20; i++)
                run(&f);
        for (unsigned i = 0; i < ELEMENTSOF(a); i++) {
                ASSERT_EQ(a[i].n_told, 1);
                ASSERT_EQ(a[i].error, 0);
        }
        ASSERT_EQ(next_offset(&f, PARTITION), ELEMENTSOF(a));
        done(&f);
}

/* Fills the disk, so that the log knows. Return: messages that are in. */
static uint64_t fill(struct fixture *f) {
        uint64_t n = 0;

        run(f);
        sim_disk_set_capacity(f->disk, sim_disk_used_bytes(f->disk) + 1);
        for (;;) {
                struct asker a;

                ASSERT_EQ(produce(f, PARTITION, 20000, &a), n);
                run(f);
                if (a.n_told == 0) { /* it was taken before the log knew, and waits for room */
                        (void) produce(f, PARTITION, 20000, &a);
                        ASSERT_EQ(a.n_told, 1);
                }
                if (a.error < 0) {
                        ASSERT_EQ(a.error, -ENOSPC);
                        return n;
                }
                ASSERT_LT(++n, 1000);
        }
}

TEST(what_a_full_disk_refuses_is_forgotten) {
        struct asker a, b;
        struct fixture f;
        uint64_t n, head;

        init(&f, 1);
        start(&f);
        n = fill(&f);
        head = head_next_offset(&f.shard->head, PARTITION);
        ASSERT_GE(head, n);
        for (unsigned i = 0; i < 3; i++) {
                ASSERT_EQ(produce(&f, PARTITION, 20000, &a), head);
                ASSERT_EQ(a.n_told, 1);
                ASSERT_EQ(a.error, -ENOSPC);
                ASSERT_EQ(head_next_offset(&f.shard->head, PARTITION), head);
        }
        ASSERT_EQ(f.n_fatal, 0);
        ASSERT_TRUE(shard_is_writable(f.shard));

        sim_disk_set_capacity(f.disk, 0);
        sim_disk_advance(f.disk, 2 * USEC_PER_SEC);
        run(&f);
        ASSERT_EQ(produce(&f, PARTITION, 20000, &b), head);
        run(&f);
        ASSERT_EQ(b.n_told, 1);
        ASSERT_EQ(b.error, 0);
        ASSERT_EQ(next_offset(&f, PARTITION), head + 1);
        end(&f, /* power_cut= */ true);
        start(&f);
        ASSERT_EQ(next_offset(&f, PARTITION), head + 1);
        done(&f);
}

TEST(after_a_failed_sync_nobody_is_told_of_success) {
        struct asker a[3];
        struct fixture f;

        init(&f, 1);
        start(&f);
        for (unsigned i = 0; i < ELEMENTSOF(a); i++)
                (void) produce(&f, PARTITION, 10, &a[i]);
        sim_disk_fail(f.disk, SIM_DISK_SYNC, NULL, 1, EIO);
        run(&f);
        ASSERT_EQ(f.n_fatal, 1);
        ASSERT_EQ(f.fatal, -EIO);
        ASSERT_FALSE(shard_is_writable(f.shard));
        for (unsigned i = 0; i < ELEMENTSOF(a); i++)
                ASSERT_EQ(a[i].n_told, 0);
        run(&f);
        ASSERT_EQ(f.n_fatal, 1);

        /* At the end they are, so that they can free what is theirs. */
        end(&f, /* power_cut= */ true);
        for (unsigned i = 0; i < ELEMENTSOF(a); i++) {
                ASSERT_EQ(a[i].n_told, 1);
                ASSERT_EQ(a[i].error, -ECANCELED);
        }
        start(&f);
        ASSERT_LE(next_offset(&f, PARTITION), 3);
        done(&f);
}

TEST(a_vote_that_cannot_be_saved_stops_it) {
        struct fixture f;

        init(&f, 1);
        ASSERT_OK(open_shard(&f));
        sim_disk_fail(f.disk, SIM_DISK_SYNC, "hardstate", 2, EIO); /* the second copy */
        shard_start(f.shard);
        run(&f);
        ASSERT_EQ(f.n_fatal, 1);
        ASSERT_EQ(f.n_ready, 0);
        end(&f, /* power_cut= */ true);
        start(&f);
        done(&f);
}

/* ---- Checkpoints ---- */

static void checkpoint(struct fixture *f) {
        unsigned before = f->n_checkpoints;

        ASSERT_EQ(shard_checkpoint(f->shard), 0);
        run(f);
        ASSERT_EQ(f->n_checkpoints, before + 1);
}

TEST(a_start_from_a_checkpoint_replays_what_follows_it) {
        struct fixture f;

        init(&f, 1);
        start(&f);
        for (unsigned i = 0; i < 10; i++)
                (void) produce(&f, PARTITION, 10, NULL);
        run(&f);
        checkpoint(&f);
        ASSERT_OK(f.checkpoint_error);
        ASSERT_EQ(f.shard->checkpoint_index, f.shard->state->index);
        ASSERT_EQ(shard_checkpoint(f.shard), 1); /* it has all there is */
        for (unsigned i = 0; i < 4; i++)
                (void) produce(&f, PARTITION, 10, NULL);
        run(&f);
        end(&f, /* power_cut= */ true);

        ASSERT_OK(open_shard(&f));
        ASSERT_EQ(f.shard->n_replayed, 4);
        ASSERT_EQ(next_offset(&f, PARTITION), 14);
        shard_start(f.shard);
        run(&f);
        checkpoint(&f);
        ASSERT_OK(f.checkpoint_error);
        end(&f, /* power_cut= */ true);
        ASSERT_OK(open_shard(&f));
        ASSERT_EQ(f.shard->n_replayed, 0);
        ASSERT_EQ(next_offset(&f, PARTITION), 14);
        done(&f);
}

TEST(one_checkpoint_at_a_time) {
        struct fixture f;

        init(&f, 1);
        start(&f);
        (void) produce(&f, PARTITION, 10, NULL);
        run(&f);
        ASSERT_EQ(shard_checkpoint(f.shard), 0);
        ASSERT_ERROR(shard_checkpoint(f.shard), EBUSY); /* the mark is not applied */
        sim_disk_advance(f.disk, 0);
        ASSERT_TRUE(sim_disk_run_job(f.disk));
        ASSERT_ERROR(shard_checkpoint(f.shard), EBUSY); /* it is being written */
        run(&f);
        ASSERT_EQ(f.n_checkpoints, 1);
        ASSERT_OK(f.checkpoint_error);
        done(&f);
}

TEST(checkpoints_come_by_themselves_as_the_log_grows) {
        struct fixture f;
        uint64_t before = 0;

        init(&f, 1);
        f.config.checkpoint_bytes = 100000;
        start(&f);
        for (unsigned i = 0; i < 40; i++) {
                (void) produce(&f, PARTITION, 10000, NULL);
                run(&f);
                ASSERT_GE(f.shard->checkpoint_index, before);
                before = f.shard->checkpoint_index;
        }
        ASSERT_GE(f.n_checkpoints, 3);
        ASSERT_LE(f.n_checkpoints, 5);
        end(&f, /* power_cut= */ true);
        ASSERT_OK(open_shard(&f));
        ASSERT_LT(f.shard->n_replayed, 15);
        ASSERT_EQ(next_offset(&f, PARTITION), 40);
        done(&f);
}

TEST(a_checkpoint_that_cannot_be_written_is_told_and_tried_again) {
        struct fixture f;

        init(&f, 1);
        start(&f);
        (void) produce(&f, PARTITION, 10, NULL);
        run(&f);
        sim_disk_fail(f.disk, SIM_DISK_OPEN | SIM_DISK_WRITE, "checkpoint", 1, ENOSPC);
        checkpoint(&f);
        ASSERT_ERROR(f.checkpoint_error, ENOSPC);
        ASSERT_EQ(f.n_fatal, 0);
        ASSERT_EQ(f.shard->checkpoint_index, 0);
        checkpoint(&f);
        ASSERT_OK(f.checkpoint_error);
        ASSERT_EQ(f.shard->checkpoint_index, f.shard->state->index);
        done(&f);
}

/* A mark that a full disk refuses ends the checkpoint too, so that who waits for it goes on. */
TEST(a_refused_mark_ends_its_checkpoint) {
        struct fixture f;

        init(&f, 1);
        start(&f);
        (void) fill(&f);
        for (size_t bytes = 10000; bytes > 0; bytes /= 2) /* to the last sector */
                for (;;) {
                        struct asker a;

                        (void) produce(&f, PARTITION, bytes, &a);
                        run(&f);
                        ASSERT_EQ(a.n_told, 1);
                        if (a.error < 0)
                                break;
                }
        for (unsigned i = 0;; i++) { /* and the room that messages leave to all else */
                struct asker a;

                ASSERT_LT(i, 10000);
                admin(&f, 99, &a);
                run(&f);
                if (a.error < 0)
                        break;
        }
        ASSERT_EQ(shard_checkpoint(f.shard), 0);
        ASSERT_EQ(f.n_checkpoints, 1);
        ASSERT_ERROR(f.checkpoint_error, ENOSPC);
        ASSERT_EQ(f.n_fatal, 0);

        sim_disk_set_capacity(f.disk, 0);
        sim_disk_advance(f.disk, 2 * USEC_PER_SEC);
        run(&f);
        checkpoint(&f);
        ASSERT_OK(f.checkpoint_error);
        ASSERT_EQ(shard_checkpoint(f.shard), 1);
        done(&f);
}

static void newest_checkpoint(const struct fixture *f, char path[static 128]) {
        char **names;
        size_t n;

        ASSERT_OK(sim_disk_peek_list(f->disk, DIR, &names, &n));
        path[0] = 0;
        for (size_t i = 0; i < n; i++)
                if (strncmp(names[i], "checkpoint-", 11) == 0)
                        ASSERT_LT(snprintf(path, 128, "%s/%s", DIR, names[i]), 128);
        names = io_names_free(names, n);
        ASSERT_GT(strlen(path), 0);
}

/* The next checkpoint goes on from the one before, and what lies between is not left out. */
TEST(a_checkpoint_that_went_bad_leaves_no_hole_in_the_next) {
        struct fixture f;
        char path[128];

        init(&f, 1);
        start(&f);
        (void) produce(&f, 1, 10, NULL);
        run(&f);
        checkpoint(&f);
        (void) produce(&f, 2, 10, NULL);
        run(&f);
        checkpoint(&f);
        newest_checkpoint(&f, path);
        ASSERT_OK(sim_disk_flip_bit(f.disk, path, 70, 1));
        (void) produce(&f, 3, 10, NULL);
        run(&f);
        for (unsigned i = 0; i < 3 && (f.n_checkpoints < 3 || f.checkpoint_error < 0); i++)
                checkpoint(&f);
        ASSERT_OK(f.checkpoint_error);
        end(&f, /* power_cut= */ true);

        ASSERT_OK(open_shard(&f));
        for (uint64_t id = 1; id <= 3; id++)
                ASSERT_EQ(next_offset(&f, id), 1);
        done(&f);
}

TEST(a_damaged_checkpoint_is_passed_over_for_the_one_before) {
        struct fixture f;
        char path[128];

        init(&f, 1);
        start(&f);
        for (unsigned i = 0; i < 3; i++) {
                (void) produce(&f, PARTITION, 10, NULL);
                run(&f);
                checkpoint(&f);
        }
        end(&f, /* power_cut= */ true);
        newest_checkpoint(&f, path);
        ASSERT_OK(sim_disk_flip_bit(f.disk, path, 70, 1));
        ASSERT_OK(open_shard(&f));
        ASSERT_GT(f.n_warnings, 0);
        ASSERT_EQ(f.shard->n_replayed, 2); /* a batch and a mark */
        ASSERT_EQ(next_offset(&f, PARTITION), 3);
        done(&f);
}

/* ---- Damage ---- */

/* Where the entry with this index begins in the first file. */
static uint64_t entry_pos(const struct fixture *f, uint64_t index) {
        static uint8_t bytes[SEGMENT_BYTES_MIN];
        ssize_t size = ASSERT_OK(sim_disk_peek(f->disk, LOG, bytes, sizeof(bytes), 0));

        for (size_t at = SEGMENT_HEADER_BYTES; at + ENTRY_HEADER_BYTES < (size_t) size; at += 8)
                if (le64_load(bytes + at + 8) == index && le64_load(bytes + at + 16) == 1 &&
                    bytes[at + 32] == ENTRY_PRODUCE && le16_load(bytes + at + 34) == 1)
                        return at;
        test_fail(__FILE__, __LINE__, "entry %lu is not there", (unsigned long) index);
}

/* Some entries in the middle; @what is flipped in one of them. */
static void damage(struct fixture *f, uint64_t offset_in_entry) {
        uint64_t pos;

        init(f, 1);
        start(f);
        for (unsigned i = 0; i < 10; i++) {
                (void) produce(f, PARTITION + i, 100, NULL);
                run(f);
        }
        end(f, /* power_cut= */ true);
        pos = entry_pos(f, 5);
        ASSERT_OK(sim_disk_flip_bit(f->disk, LOG, pos + offset_in_entry, 2));
}

TEST(a_damaged_batch_changes_nothing_for_the_state) {
        struct fixture f;

        damage(&f, ENTRY_HEADER_BYTES + SLICE_HEADER_BYTES + 70);
        start(&f);
        ASSERT_FALSE(f.shard->has_gap);
        ASSERT_TRUE(shard_is_writable(f.shard));
        for (unsigned i = 0; i < 10; i++)
                ASSERT_EQ(next_offset(&f, PARTITION + i), 1);
        done(&f);
}

/* The entry's own checksum leaves this out, and the next offset rests on it. */
TEST(a_batch_that_does_not_say_where_it_ends_forbids_appends) {
        struct fixture f;

        damage(&f, ENTRY_HEADER_BYTES + SLICE_HEADER_BYTES + 26); /* last offset delta */
        ASSERT_OK(open_shard(&f));
        shard_start(f.shard);
        run(&f);
        ASSERT_TRUE(f.shard->has_gap);
        ASSERT_FALSE(shard_is_writable(f.shard));
        ASSERT_EQ(shard_checkpoint(f.shard), 1);
        for (unsigned i = 0; i < 10; i++)
                ASSERT_LE(next_offset(&f, PARTITION + i), 1);
        done(&f);
}

/* What an entry did that cannot be read, nobody knows: an offset could be given twice. */
TEST(a_damaged_entry_forbids_appends) {
        struct fixture f;
        uint64_t n_known = 0;

        damage(&f, 9);
        ASSERT_OK(open_shard(&f));
        shard_start(f.shard);
        run(&f);
        ASSERT_TRUE(f.shard->has_gap || f.shard->report.tail_is_damaged);
        ASSERT_FALSE(shard_is_writable(f.shard));
        ASSERT_NULL(f.shard->raft);
        ASSERT_GT(f.n_warnings, 0);
        for (unsigned i = 0; i < 10; i++)
                n_known += next_offset(&f, PARTITION + i);
        ASSERT_EQ(n_known, 9);
        ASSERT_EQ(shard_checkpoint(f.shard), 1); /* none of what is not known */
        done(&f);
}

TEST(no_checkpoint_is_made_of_a_log_that_went_bad) {
        struct fixture f;

        init(&f, 1);
        start(&f);
        for (unsigned i = 0; i < 10; i++) {
                (void) produce(&f, PARTITION + i, 100, NULL);
                run(&f);
        }
        ASSERT_OK(sim_disk_flip_bit(f.disk, LOG, entry_pos(&f, 5) + 9, 2));
        checkpoint(&f);
        ASSERT_ERROR(f.checkpoint_error, EBADMSG);
        ASSERT_EQ(f.shard->checkpoint_index, 0);
        ASSERT_TRUE(shard_is_writable(f.shard)); /* this one knows what was there */
        done(&f);
}

/* ---- Watches ---- */

struct watcher {
        struct watch watch;
        struct fixture *fixture;
        uint64_t partition_id;
        unsigned n_woken;
        bool watches_on;
        struct watcher *cancels;
};

static void on_change(struct watch *w) {
        struct watcher *x = CONTAINER_OF(w, struct watcher, watch);

        x->n_woken++;
        ASSERT_NULL(x->watch.point);
        if (x->cancels)
                shard_watch_cancel(x->fixture->shard, &x->cancels->watch);
        if (x->watches_on)
                ASSERT_OK(shard_watch(x->fixture->shard, &x->watch, x->partition_id, on_change));
}

static void watch(struct watcher *x, struct fixture *f, uint64_t partition_id, bool watches_on) {
        *x = (struct watcher){ .fixture = f,
                               .partition_id = partition_id,
                               .watches_on = watches_on };
        ASSERT_OK(shard_watch(f->shard, &x->watch, partition_id, on_change));
}

TEST(who_watches_is_woken_once_when_there_is_more) {
        struct watcher once, on, other, cancelled, canceller;
        struct fixture f;

        init(&f, 1);
        start(&f);
        watch(&once, &f, PARTITION, false);
        watch(&on, &f, PARTITION, true);
        watch(&other, &f, PARTITION + 1, false);
        watch(&canceller, &f, PARTITION, false);
        watch(&cancelled, &f, PARTITION, false);
        canceller.cancels = &cancelled;

        (void) produce(&f, PARTITION, 10, NULL);
        ASSERT_EQ(once.n_woken, 0); /* not before it is committed */
        run(&f);
        (void) produce(&f, PARTITION, 10, NULL);
        run(&f);
        ASSERT_EQ(once.n_woken, 1);
        ASSERT_EQ(on.n_woken, 2);
        ASSERT_EQ(other.n_woken, 0);
        ASSERT_EQ(canceller.n_woken, 1);
        ASSERT_EQ(cancelled.n_woken, 0);

        shard_watch_cancel(f.shard, &on.watch);
        shard_watch_cancel(f.shard, &on.watch); /* nothing where it is not watching */
        shard_watch_cancel(f.shard, &other.watch);
        ASSERT_EQ(f.shard->watch_points.n_nodes, 0);
        done(&f);
}

TEST(who_watches_what_is_gone_is_woken) {
        struct watcher gone, other;
        struct fixture f;

        init(&f, 1);
        start(&f);
        watch(&gone, &f, PARTITION, false);
        watch(&other, &f, PARTITION + 1, true);
        admin(&f, PARTITION, NULL);
        run(&f);
        ASSERT_EQ(gone.n_woken, 1);
        ASSERT_LE(other.n_woken, 1);
        ASSERT_EQ(f.shard->watch_points.n_nodes, 1);
        done(&f); /* with somebody still watching */
        ASSERT_NULL(other.watch.point);
}

/* ---- Memory ---- */

TEST(without_memory_it_does_not_open_and_keeps_nothing) {
        struct fixture f;

        init(&f, 1);
        start(&f);
        for (unsigned i = 0; i < 3; i++)
                (void) produce(&f, PARTITION, 10, NULL);
        run(&f);
        checkpoint(&f);
        (void) produce(&f, PARTITION, 10, NULL);
        run(&f);
        end(&f, /* power_cut= */ false);
        f.shard = NULL;
        FAULT_SWEEP {
                int r = open_shard(&f);

                if (r < 0) {
                        ASSERT_ERROR(r, ENOMEM);
                        ASSERT_NULL(f.shard);
                        sim_disk_kill(f.disk);
                        sim_disk_restart(f.disk);
                        continue;
                }
                ASSERT_EQ(next_offset(&f, PARTITION), 4);
                end(&f, /* power_cut= */ false);
        }
        done(&f);
}

/* Whichever request for memory fails in the life of a shard: who waits is told, or the process is
 * to stop. */
TEST(without_memory_nobody_waits_in_vain, .timeout_sec = 60) {
        struct fixture base;

        init(&base, 1);
        FAULT_SWEEP {
                struct fixture f = base;
                struct asker a[3] = {};
                int r;

                f.tracer.userdata = &f;
                f.config.tracer = &f.tracer;
                f.n_fatal = 0;
                ASSERT_OK(sim_disk_clone(base.disk, 1, &f.disk));
                f.io = sim_disk_io(f.disk);
                r = open_shard(&f);
                if (r >= 0) {
                        shard_start(f.shard);
                        run(&f);
                }
                for (unsigned i = 0; i < ELEMENTSOF(a) && r >= 0 && shard_is_writable(f.shard);
                     i++) {
                        struct proposal *p = proposal_new(ENTRY_NOOP, 0);

                        if (!p)
                                break;
                        (void) shard_propose(
                                f.shard, p, shard_append_time_ms(f.shard), &a[i].waiter, on_done);
                        run(&f);
                        ASSERT_TRUE(a[i].n_told == 1 || f.n_fatal == 1);
                        if (a[i].n_told == 1 && a[i].error == 0)
                                ASSERT_GE(shard_log_durable_index(f.shard->log), 1 + i);
                }
                if (r >= 0 && shard_is_writable(f.shard)) {
                        (void) shard_checkpoint(f.shard);
                        run(&f);
                        ASSERT_TRUE(f.n_checkpoints > 0 || f.n_fatal == 1 ||
                                    shard_checkpoint(f.shard) != -EBUSY);
                }
                f.shard = shard_free(f.shard);
                f.disk = sim_disk_free(f.disk);
        }
        done(&base);
}
