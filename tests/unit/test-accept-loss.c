/* SPDX-License-Identifier: Apache-2.0 */
/* Accepting a loss: the shard takes messages again, gives nothing twice, keeps all that is good,
 * whatever was damaged and whenever it crashes. */
#include "offline/accept-loss.h"

#include "base/alloc.h"
#include "base/random.h"
#include "drmqd/core/shard.h"
#include "offline/walk.h"
#include "tests/lib/broker-fixture.h"
#include "tests/lib/test.h"
#include "tests/sim/disk.h"
#include "tests/unit/test-node-samples.h"

#define OPEN_FILE SAMPLE_SHARD "/00000000000000000009.log"
#define CLOSED_FILE SAMPLE_SHARD "/00000000000000000001.log"

/* ---- A start ---- */

static void on_shard(void *userdata, struct shard *s) {
        (void) userdata;
        (void) s;
}

static void on_checkpoint(void *userdata, struct shard *s, int error) {
        (void) userdata;
        (void) s;
        (void) error;
}

static void on_fatal(void *userdata, int error, const char *what) {
        (void) userdata;
        (void) error;
        (void) what;
        ASSERT_TRUE(false);
}

static void on_event_done(void *userdata) {
        (void) userdata;
}

/* Starts the shard as a daemon does. Return: whether it takes messages; then @ret_next has the next
 * offsets by partition id. */
static bool start(struct sim_disk *disk, uint64_t ret_next[static SAMPLE_PARTITIONS + 1]) {
        static const struct shard_events events = {
                .on_ready = on_shard,
                .on_checkpoint = on_checkpoint,
                .on_fatal = on_fatal,
                .on_event_done = on_event_done,
        };
        struct shard *s;
        bool is_writable;
        int r;

        r = shard_new(sim_disk_io(disk),
                      &(struct shard_config){
                              .number = 1,
                              .node_id = 7,
                              .dir = SAMPLE_SHARD,
                              .segment_bytes = SEGMENT_BYTES_MIN,
                              .group_bytes = GROUP_BYTES_DEFAULT,
                              .append_budget_bytes = APPEND_BUDGET_BYTES_DEFAULT,
                              .checkpoint_bytes = UINT64_MAX,
                      },
                      &events,
                      NULL,
                      &s);
        if (r == -EBADMSG)
                return false; /* the log has lost its end */
        ASSERT_OK(r);
        shard_start(s);
        for (unsigned i = 0; i < 150; i++) {
                sim_disk_advance(disk, 20 * USEC_PER_MSEC);
                (void) sim_disk_run_jobs(disk);
        }
        is_writable = shard_is_writable(s);
        for (uint64_t id = 1; id <= SAMPLE_PARTITIONS; id++) {
                const struct partition *p = state_partition(s->state, id);

                ret_next[id] = p ? p->next_offset : 0;
        }
        shard_free(s);
        return is_writable;
}

/* ---- Accepting ---- */

/* Return: how many shards needed it; -ECANCELED the disk crashed. */
static int accept(struct sim_disk *disk) {
        _cleanup_(accept_loss_freep) struct accept_loss *a = NULL;
        int r;

        r = accept_loss_new(sim_disk_io(disk), SAMPLE_NODE, &a, NULL);
        return r < 0 ? r : accept_loss_run(a);
}

/* Every good entry of the sample that is still good is still there; and nothing that was given is
 * given again. */
static void check_accepted(struct sim_disk *disk, const struct sample_node *n) {
        uint64_t next[SAMPLE_PARTITIONS + 1], seen[SAMPLE_PARTITIONS + 1] = {};
        struct walk *walk;
        struct entry e;

        ASSERT_TRUE(start(disk, next));
        for (uint64_t id = 1; id <= SAMPLE_PARTITIONS; id++)
                ASSERT_TRUE(next[id] >= n->next_offset[id]);

        /* Offsets only rise, over all files. */
        ASSERT_OK(walk_new(sim_disk_io(disk), SAMPLE_SHARD, 1, 1, &walk));
        while (walk_next(walk, &e) > 0)
                for (unsigned i = 0; i < e.n_slices; i++) {
                        struct batch_view v;

                        if (batch_view_init(e.slices[i].batch, e.slices[i].batch_bytes, &v) != 0 ||
                            batch_verify(&v) < 0)
                                continue;
                        ASSERT_TRUE(e.slices[i].base_offset >= seen[e.slices[i].partition_id]);
                        seen[e.slices[i].partition_id] =
                                e.slices[i].base_offset + (uint64_t) v.last_offset_delta + 1;
                }
        walk_free(walk);
        for (uint64_t id = 1; id <= SAMPLE_PARTITIONS; id++)
                ASSERT_TRUE(seen[id] <= next[id]);
}

static struct sim_disk *sample_disk(struct sample_node *n, uint64_t seed) {
        struct sim_disk *disk;

        ASSERT_OK(sim_disk_new(seed, &disk));
        sample_node_make(sim_disk_io(disk), seed, n);
        return disk;
}

/* Overwrites a piece with noise, on the disk itself. */
static void
spoil(struct sim_disk *disk, const char *path, uint64_t pos, uint64_t n_bytes, uint64_t seed) {
        struct random random;

        random_init(&random, seed);
        for (uint64_t i = 0; i < n_bytes; i++)
                for (unsigned bit = 0; bit < 8; bit++)
                        if (random_u64(&random) % 2)
                                (void) sim_disk_flip_bit(disk, path, pos + i, bit);
}

static uint64_t size_of(struct sim_disk *disk, const char *path) {
        uint64_t size = 0;

        ASSERT_OK(sim_disk_peek_size(disk, path, &size));
        return size;
}

TEST(what_is_good_needs_nothing) {
        uint64_t next[SAMPLE_PARTITIONS + 1];
        struct sample_node n;
        struct sim_disk *disk = sample_disk(&n, 1);

        ASSERT_TRUE(start(disk, next));
        for (uint64_t id = 1; id <= SAMPLE_PARTITIONS; id++)
                ASSERT_EQ(next[id], n.next_offset[id]);
        ASSERT_EQ(accept(disk), 0);
        sample_node_done(&n);
        sim_disk_free(disk);
}

TEST(a_damaged_end_is_accepted_once) {
        uint64_t next[SAMPLE_PARTITIONS + 1];
        struct sample_node n;
        struct sim_disk *disk = sample_disk(&n, 1);

        spoil(disk, OPEN_FILE, size_of(disk, OPEN_FILE) - 4096 - 512, 512, 1);
        ASSERT_FALSE(start(disk, next));
        ASSERT_EQ(accept(disk), 1);
        check_accepted(disk, &n);
        ASSERT_EQ(accept(disk), 0);
        sample_node_done(&n);
        sim_disk_free(disk);
}

TEST(a_gap_behind_the_checkpoint_is_accepted) {
        uint64_t next[SAMPLE_PARTITIONS + 1];
        struct sample_node n;
        struct sim_disk *disk = sample_disk(&n, 1);

        ASSERT_OK(io_unlink(sim_disk_io(disk), CLOSED_FILE)); /* entries 6 to 8 with it */
        ASSERT_FALSE(start(disk, next));
        ASSERT_EQ(accept(disk), 1);
        check_accepted(disk, &n);
        sample_node_done(&n);
        sim_disk_free(disk);
}

/* What a start would make of the newest checkpoint. */
static struct state *load_newest(struct sim_disk *disk, const char *dir, uint64_t shard) {
        struct checkpoint c = {};
        struct state *state;

        ASSERT_OK(state_new(&state));
        ASSERT_EQ(checkpoint_load(sim_disk_io(disk), dir, shard, &c, NULL), 1);
        ASSERT_OK(state_decode(state, c.body, c.body_bytes));
        checkpoint_done(&c);
        return state;
}

TEST(a_log_that_lost_its_end_is_accepted_and_producers_are_forgotten) {
        uint64_t next[SAMPLE_PARTITIONS + 1];
        struct sample_node n;
        struct sim_disk *disk = sample_disk(&n, 1);
        struct accept_loss *a;
        const struct accept_shard *shards;
        size_t n_shards;
        struct slice batch = broker_batch(/* producer_id= */ 4711, 0, 0, 1, 10);
        struct entry_slice slice = {
                .partition_id = 1,
                .base_offset = n.next_offset[1]++,
                .batch = batch.data,
                .batch_bytes = (uint32_t) batch.size,
        };
        struct state *state;

        ASSERT_OK(state_apply(n.state,
                              &(struct entry){
                                      .index = n.state->index + 1,
                                      .term = 1,
                                      .kind = ENTRY_PRODUCE,
                                      .slices = &slice,
                                      .n_slices = 1,
                              }));
        slice_done(&batch);
        ASSERT_EQ(n.state->producers.n_nodes, 1);
        sample_checkpoint(sim_disk_io(disk), SAMPLE_SHARD, 1, n.state);
        ASSERT_OK(io_unlink(sim_disk_io(disk), OPEN_FILE));
        ASSERT_FALSE(start(disk, next));
        ASSERT_OK(accept_loss_new(sim_disk_io(disk), SAMPLE_NODE, &a, NULL));
        shards = accept_loss_shards(a, &n_shards);
        ASSERT_EQ(n_shards, 2u);
        ASSERT_FALSE(shards[0].is_needed);
        ASSERT_TRUE(shards[1].is_needed);
        ASSERT_TRUE(shards[1].forgets_producers);
        ASSERT_EQ(accept_loss_run(a), 1);
        accept_loss_free(a);
        state = load_newest(disk, SAMPLE_SHARD, 1);
        ASSERT_EQ(state->producers.n_nodes, 0);
        state_free(state);
        check_accepted(disk, &n);
        sample_node_done(&n);
        sim_disk_free(disk);
}

TEST(of_a_partition_of_which_nothing_is_left_no_offset_is_given_again) {
        uint64_t next[SAMPLE_PARTITIONS + 1];
        struct sample_node n;
        struct sim_disk *disk = sample_disk(&n, 1);
        char **names;
        size_t n_names;

        ASSERT_OK(sim_disk_peek_list(disk, SAMPLE_SHARD, &names, &n_names));
        for (size_t i = 0; i < n_names; i++)
                if (strncmp(names[i], "checkpoint-", 11) == 0 || strstr(names[i], ".idx")) {
                        _cleanup_(mem_freep) char *path =
                                mem_asprintf(SAMPLE_SHARD "/%s", names[i]);

                        ASSERT_OK(io_unlink(sim_disk_io(disk), path));
                }
        io_names_free(names, n_names);
        spoil(disk, CLOSED_FILE, 4096, size_of(disk, CLOSED_FILE) - 4096, 1);
        spoil(disk, OPEN_FILE, 4096, size_of(disk, OPEN_FILE) - 4096, 2);

        ASSERT_FALSE(start(disk, next));
        ASSERT_EQ(accept(disk), 1);
        check_accepted(disk, &n);
        sample_node_done(&n);
        sim_disk_free(disk);
}

TEST(ids_that_lost_topics_may_have_had_are_not_given_again) {
        const char *const file = SAMPLE_META "/00000000000000000001.log";
        struct sample_node n;
        struct sim_disk *disk = sample_disk(&n, 1);
        struct state *state;

        /* Topic "two", with ids 2 and 3, is in the last group, and nowhere else. */
        ASSERT_OK(io_unlink(sim_disk_io(disk), SAMPLE_META "/checkpoint-00000000000000000003"));
        spoil(disk, file, size_of(disk, file) - 4096 - 512, 512, 1);
        ASSERT_EQ(accept(disk), 1);
        state = load_newest(disk, SAMPLE_META, 0);
        ASSERT_NULL(state_topic(state, "two"));
        ASSERT_GE(state->next_partition_id, 4);
        state_free(state);
        ASSERT_EQ(accept(disk), 0);
        sample_node_done(&n);
        sim_disk_free(disk);
}

TEST(whatever_is_damaged_what_was_given_is_not_given_again, .timeout_sec = 120) {
        unsigned n_accepted = 0;

        for (uint64_t seed = 1; seed <= 300; seed++) {
                uint64_t next[SAMPLE_PARTITIONS + 1];
                struct sample_node n;
                struct sim_disk *disk = sample_disk(&n, seed);
                struct random random;

                random_init(&random, seed);
                for (unsigned i = 0; i < 1 + seed % 3; i++) {
                        const char *path = random_u64(&random) % 3 == 0 ? CLOSED_FILE : OPEN_FILE;
                        uint64_t size = size_of(disk, path);

                        spoil(disk,
                              path,
                              random_u64(&random) % size,
                              1 + random_u64(&random) % 1500,
                              seed + i);
                }
                if (!start(disk, next)) {
                        ASSERT_EQ(accept(disk), 1);
                        n_accepted++;
                        check_accepted(disk, &n);
                }
                sample_node_done(&n);
                sim_disk_free(disk);
        }
        ASSERT_TRUE(n_accepted > 50);
}

/* A crash at every step, a start in between, and all of it again. */
static void crash_everywhere(struct sim_disk *base, const struct sample_node *n) {
        bool has_crashed = true;

        for (uint64_t step = 1; has_crashed; step++) {
                uint64_t next[SAMPLE_PARTITIONS + 1];
                struct sim_disk *disk;
                int r;

                ASSERT_OK(sim_disk_clone(base, step, &disk));
                sim_disk_crash_at(disk, step);
                r = accept(disk);
                has_crashed = sim_disk_has_crashed(disk);
                ASSERT_TRUE(has_crashed || r == 1);
                sim_disk_power_cut(disk);
                sim_disk_restart(disk);

                /* Either as before, or done: never open with numbers that were given. */
                if (start(disk, next))
                        for (uint64_t id = 1; id <= SAMPLE_PARTITIONS; id++)
                                ASSERT_TRUE(next[id] >= n->next_offset[id]);
                r = accept(disk);
                ASSERT_TRUE(r == 0 || r == 1);
                check_accepted(disk, n);
                sim_disk_free(disk);
                ASSERT_TRUE(step < 200);
        }
}

TEST(a_crash_at_any_step_leaves_it_as_it_was_or_done, .timeout_sec = 120) {
        struct sample_node n;
        struct sim_disk *disk = sample_disk(&n, 3);
        struct sim_disk *base;

        /* A new file is made; */
        ASSERT_OK(sim_disk_clone(disk, 1, &base));
        spoil(base, OPEN_FILE, size_of(base, OPEN_FILE) - 4096 - 512, 512, 1);
        crash_everywhere(base, &n);
        sim_disk_free(base);

        /* the one that is there goes on; */
        ASSERT_OK(sim_disk_clone(disk, 1, &base));
        ASSERT_OK(io_unlink(sim_disk_io(base), CLOSED_FILE));
        crash_everywhere(base, &n);
        sim_disk_free(base);

        /* nothing of the newest file can be read. */
        ASSERT_OK(sim_disk_clone(disk, 1, &base));
        spoil(base, OPEN_FILE, 0, 4096, 1);
        crash_everywhere(base, &n);
        sim_disk_free(base);

        sample_node_done(&n);
        sim_disk_free(disk);
}

TEST(want_of_memory_changes_nothing_that_cannot_be_tried_again) {
        struct sample_node n;
        struct sim_disk *base = sample_disk(&n, 1);
        struct sim_disk *disk;

        spoil(base, OPEN_FILE, size_of(base, OPEN_FILE) - 4096 - 512, 512, 1);
        FAULT_SWEEP {
                int r;

                ASSERT_OK(sim_disk_clone(base, 1, &disk));
                r = accept(disk);
                if (r == -ENOMEM) {
                        sim_disk_free(disk);
                        continue;
                }
                ASSERT_EQ(r, 1);
                sim_disk_free(disk);
        }
        sample_node_done(&n);
        sim_disk_free(base);
}

TEST(a_directory_in_use_is_left_alone) {
        struct sample_node n;
        struct sim_disk *disk = sample_disk(&n, 1);
        struct accept_loss *a;
        struct datadir *d;

        ASSERT_OK(datadir_open(sim_disk_io(disk), SAMPLE_NODE, 0, NULL, &d, NULL));
        ASSERT_ERROR(accept_loss_new(sim_disk_io(disk), SAMPLE_NODE, &a, NULL), EBUSY);
        datadir_free(d);
        ASSERT_ERROR(accept_loss_new(sim_disk_io(disk), "nowhere", &a, NULL), ENOENT);
        sample_node_done(&n);
        sim_disk_free(disk);
}
