/* SPDX-License-Identifier: Apache-2.0 */

/* The simulator's checkers: silent on what is right, and each alarm goes off on what it is there
 * for. */

#include "tests/lib/test.h"

#include "base/bytes.h"
#include "base/crc32c.h"
#include "log/format.h"
#include "tests/sim/check-disk.h"
#include "tests/sim/check-messages.h"
#include "tests/sim/check-positions.h"
#include "tests/sim/check-topics.h"

#define SIZE 40u
#define DIR "/data"
#define SEGMENT DIR "/shard-1/00000000000000000001.log"
#define SALT 77u

struct messages {
        struct sim_verdict verdict;
        usec_t now_usec;
        struct sim_messages *m;
        uint8_t values[8][SIZE];
        uint64_t numbers[8];
};

/* Messages 0 to 7 of producer 1, given for topic 0. */
static void messages_begin(struct messages *t) {
        *t = (struct messages){};
        ASSERT_OK(sim_messages_new(&t->verdict, &t->now_usec, &t->m));
        for (unsigned i = 0; i < ELEMENTSOF(t->values); i++)
                t->numbers[i] = sim_messages_make(t->m,
                                                  /* producer= */ 1,
                                                  /* topic= */ 0,
                                                  /* is_hostile= */ false,
                                                  SIZE,
                                                  t->values[i]);
}

static void acknowledge(struct messages *t, unsigned i, uint64_t offset) {
        sim_messages_on_acknowledged(
                t->m, t->numbers[i], /* topic= */ 0, /* partition= */ 0, offset);
}

static void read_at(struct messages *t, unsigned i, uint64_t offset) {
        sim_messages_on_read(t->m, /* topic= */ 0, /* partition= */ 0, offset, t->values[i], SIZE);
}

static void messages_end(struct messages *t, const char *checker) {
        sim_messages_judge(t->m);
        ASSERT_STREQ(t->verdict.checker, checker);
        t->m = sim_messages_free(t->m);
}

/* What a broker says after a power cut: where the partition ends. */
static uint64_t ends_at(void *userdata, unsigned topic, unsigned partition) {
        (void) topic;
        (void) partition;
        return *(const uint64_t *) userdata;
}

TEST(a_power_cut_may_take_the_end_that_was_young) {
        struct messages t;
        uint64_t end = 2;

        messages_begin(&t);
        for (unsigned i = 0; i < 4; i++) {
                t.now_usec = 100 + i;
                acknowledge(&t, i, i);
        }
        sim_messages_on_power_lost(t.m, ends_at, &end, /* before_usec= */ 101);
        ASSERT_NULL(t.verdict.checker);
        ASSERT_EQ(sim_messages_n_lost(t.m), 2);
        acknowledge(&t, 4, 2); /* the places are free */
        read_at(&t, 0, 0);
        read_at(&t, 1, 1);
        read_at(&t, 4, 2);
        messages_end(&t, NULL);
}

TEST(a_power_cut_that_takes_what_was_old_is_found) {
        struct messages t;
        uint64_t end = 2;

        messages_begin(&t);
        for (unsigned i = 0; i < 4; i++) {
                t.now_usec = 100 + i;
                acknowledge(&t, i, i);
        }
        sim_messages_on_power_lost(t.m, ends_at, &end, /* before_usec= */ 102);
        messages_end(&t, "lost");
}

static uint64_t ends_elsewhere(void *userdata, unsigned topic, unsigned partition) {
        (void) userdata;
        (void) topic;
        return partition == 0 ? 0 : 1;
}

TEST(a_hole_that_a_power_cut_leaves_is_found) {
        uint8_t value[SIZE];
        struct messages t;
        uint64_t later;

        messages_begin(&t);
        t.now_usec = 100;
        acknowledge(&t, 0, 0);
        t.now_usec = 200;
        later = sim_messages_make(t.m, 1, 0, /* is_hostile= */ false, SIZE, value);
        sim_messages_on_acknowledged(t.m, later, 0, /* partition= */ 1, 0);
        sim_messages_on_power_lost(t.m, ends_elsewhere, NULL, /* before_usec= */ 0);
        messages_end(&t, "lost");
}

TEST(a_message_that_was_lost_and_comes_back_is_found) {
        struct messages t;
        uint64_t end = 0;

        messages_begin(&t);
        t.now_usec = 100;
        acknowledge(&t, 0, 0);
        sim_messages_on_power_lost(t.m, ends_at, &end, /* before_usec= */ 0);
        read_at(&t, 0, 0);
        messages_end(&t, "lost");
}

TEST(what_is_right_is_no_violation) {
        struct messages t;

        messages_begin(&t);
        for (unsigned i = 0; i < 6; i++) {
                if (i != 2) /* an outcome that nobody learnt of */
                        acknowledge(&t, i, i);
                read_at(&t, i, i);
                read_at(&t, i, i);
        }
        sim_messages_on_failed(t.m, t.numbers[6]);
        sim_messages_unmake(t.m, t.numbers[7]);
        messages_end(&t, NULL);
}

TEST(an_acknowledged_message_that_is_never_read_is_lost) {
        struct messages t;

        messages_begin(&t);
        acknowledge(&t, 0, 0);
        acknowledge(&t, 1, 1);
        read_at(&t, 0, 0);
        messages_end(&t, "acknowledged");
}

TEST(a_refusal_is_not_a_loss) {
        struct messages t;

        messages_begin(&t);
        acknowledge(&t, 0, 0);
        acknowledge(&t, 1, 1);
        sim_messages_on_refused(t.m, /* topic= */ 0);
        read_at(&t, 1, 1);
        messages_end(&t, NULL);
}

TEST(bytes_that_nobody_sent_are_invented) {
        for (unsigned what = 0; what < 4; what++) {
                struct messages t;

                messages_begin(&t);
                switch (what) {
                case 0:
                        t.values[0][SIZE - 1] ^= 1;
                        read_at(&t, 0, 0);
                        break;
                case 1:
                        t.values[0][0] ^= 1;
                        read_at(&t, 0, 0);
                        break;
                case 2: /* not taken by its producer */
                        sim_messages_unmake(t.m, t.numbers[0]);
                        read_at(&t, 0, 0);
                        break;
                default: /* sent to another topic */
                        sim_messages_on_read(t.m, /* topic= */ 1, 0, 0, t.values[0], SIZE);
                }
                messages_end(&t, "invented");
        }
}

TEST(a_hole_is_not_dense) {
        struct messages t;

        messages_begin(&t);
        read_at(&t, 0, 0);
        read_at(&t, 1, 2);
        messages_end(&t, "dense");
}

TEST(a_producers_messages_are_in_the_order_in_which_they_were_given) {
        struct messages t;

        messages_begin(&t);
        read_at(&t, 1, 0);
        read_at(&t, 0, 1);
        messages_end(&t, "order");
}

TEST(a_message_at_two_offsets_was_doubled) {
        struct messages t;

        messages_begin(&t);
        read_at(&t, 0, 0);
        read_at(&t, 0, 1);
        messages_end(&t, "twice");
}

TEST(two_messages_at_one_offset_do_not_agree) {
        struct messages t;

        messages_begin(&t);
        acknowledge(&t, 0, 0);
        read_at(&t, 1, 0);
        messages_end(&t, "agree");
}

TEST(committed_positions_do_not_go_back) {
        struct sim_verdict verdict = {};
        struct sim_positions *p;

        ASSERT_OK(sim_positions_new(&verdict, &p));
        sim_positions_on_start(p, 1, 0, 0, 0);
        sim_positions_on_commit(p, 1, 0, 0, 10);
        sim_positions_on_committed(p, 1);
        sim_positions_on_commit(p, 1, 0, 0, 20); /* of which nothing is heard */
        sim_positions_on_leave(p, 1);
        sim_positions_on_start(p, 1, 0, 0, 10);
        sim_positions_on_start(p, 1, 0, 0, 20);
        sim_positions_on_committed(p, 1); /* not of that one */
        sim_positions_on_start(p, 1, 0, 0, 10);
        ASSERT_NULL(verdict.checker);

        sim_positions_on_start(p, 1, 0, 0, 9);
        ASSERT_STREQ(verdict.checker, "positions");
        verdict.checker = NULL;
        sim_positions_on_start(p, 1, 0, 0, 21);
        ASSERT_STREQ(verdict.checker, "positions");
        sim_positions_free(p);
}

static void looked(struct sim_topics *t, uint64_t first_id, size_t n) {
        uint64_t ids[8];

        for (size_t i = 0; i < n; i++)
                ids[i] = first_id + i;
        sim_topics_on_metadata(t, /* topic= */ 7, ids, n);
}

TEST(topics_come_and_go_as_they_were_told_to) {
        static const char *const wrong[] = { NULL, "topics" };

        for (unsigned what = 0; what < 6; what++) {
                struct sim_verdict verdict = {};
                struct sim_topics *t;

                ASSERT_OK(sim_topics_new(&verdict, &t));
                sim_topics_on_present(t, 7, 2);
                looked(t, 10, 2);
                sim_topics_on_present(t, 7, 3);
                looked(t, 10, 3);
                switch (what) {
                case 0: /* deleted, and made again: another one */
                        sim_topics_on_absent(t, 7);
                        looked(t, 0, 0);
                        sim_topics_on_present(t, 7, 1);
                        looked(t, 20, 1);
                        sim_topics_on_unknown(t, 7);
                        looked(t, 20, 1);
                        sim_topics_on_unknown(t, 7);
                        looked(t, 30, 2);
                        break;
                case 1: /* lost */
                        looked(t, 0, 0);
                        break;
                case 2: /* not deleted */
                        sim_topics_on_absent(t, 7);
                        looked(t, 10, 3);
                        break;
                case 3: /* fewer partitions */
                        looked(t, 10, 2);
                        break;
                case 4: /* an id again */
                        sim_topics_on_absent(t, 7);
                        sim_topics_on_present(t, 7, 1);
                        looked(t, 10, 1);
                        break;
                default: /* another one under the name */
                        looked(t, 11, 3);
                }
                ASSERT_STREQ(verdict.checker, wrong[what > 0]);
                sim_topics_free(t);
        }
}

/* ---- The disk's ---- */

static void
put_group(struct sim_disk *d, uint64_t pos, uint64_t first, uint64_t last, uint64_t durable) {
        uint8_t p[LOG_SECTOR_BYTES] = {};
        struct io_file *f;

        memcpy(p + 4, "DRGW", 4);
        le64_store(p + 8, first);
        le64_store(p + 16, last);
        le32_store(p + 32, 100);
        le64_store(p + 40, durable);
        le32_store(p, crc32c(SALT, p + 4, GROUP_HEADER_BYTES - 4));
        ASSERT_OK(io_open(sim_disk_io(d), SEGMENT, IO_OPEN_WRITE, &f));
        ASSERT_OK(io_pwrite(f, p, sizeof(p), pos));
        io_file_unref(f);
}

static void put_copy(struct sim_disk *d, unsigned i, uint64_t sequence, uint64_t term) {
        uint8_t p[HARDSTATE_COPY_BYTES] = {};
        struct io_file *f;

        le64_store(p + 16, sequence);
        le64_store(p + 24, term);
        le32_store(p, crc32c(0, p + 4, sizeof(p) - 4));
        ASSERT_OK(io_open(sim_disk_io(d), DIR "/shard-1/hardstate", IO_OPEN_WRITE, &f));
        ASSERT_OK(io_pwrite(f, p, sizeof(p), i * sizeof(p)));
        ASSERT_OK(io_fdatasync(f));
        io_file_unref(f);
}

/* A segment with a header and nothing else, and an empty hardstate. */
static struct sim_disk *make_shard(void) {
        uint8_t p[SEGMENT_HEADER_BYTES] = {};
        struct io_file *f;
        struct sim_disk *d;

        ASSERT_OK(sim_disk_new(1, &d));
        ASSERT_OK(io_mkdir(sim_disk_io(d), DIR));
        ASSERT_OK(io_mkdir(sim_disk_io(d), DIR "/shard-1"));
        memcpy(p + 4, "DRSG", 4);
        le32_store(p + 40, SALT);
        le32_store(p, crc32c(0, p + 4, sizeof(p) - 4));
        ASSERT_OK(io_open(sim_disk_io(d), SEGMENT, IO_OPEN_WRITE | IO_OPEN_CREATE, &f));
        ASSERT_OK(io_pwrite(f, p, sizeof(p), 0));
        io_file_unref(f);
        ASSERT_OK(io_open(
                sim_disk_io(d), DIR "/shard-1/hardstate", IO_OPEN_WRITE | IO_OPEN_CREATE, &f));
        io_file_unref(f);
        return d;
}

TEST(a_cut_below_what_was_named_durable_is_found_and_one_above_is_not) {
        _cleanup_(sim_disk_freep) struct sim_disk *d = make_shard();
        _cleanup_(sim_disk_check_freep) struct sim_disk_check *c = NULL;
        struct sim_verdict verdict = {};
        struct random random;
        struct io_file *f;
        uint64_t pos;
        char *path;

        put_group(d, 4096, 1, 1, 0);
        put_group(d, 4608, 2, 3, 1);
        put_group(d, 5120, 4, 4, 3);
        ASSERT_OK(sim_disk_check_new(&verdict, d, DIR, &c));
        ASSERT_OK(io_open(sim_disk_io(d), SEGMENT, IO_OPEN_WRITE, &f));

        sim_disk_check_before_start(c);
        ASSERT_OK(io_truncate(f, 5120));
        sim_disk_check_after_start(c);
        ASSERT_NULL(verdict.checker);

        put_group(d, 5120, 4, 4, 3);
        sim_disk_check_before_start(c);
        ASSERT_OK(io_truncate(f, 4608));
        sim_disk_check_after_start(c);
        ASSERT_STREQ(verdict.checker, "durable");
        io_file_unref(f);

        /* What may be flipped is what is settled. */
        put_group(d, 4608, 2, 3, 1);
        random_init(&random, 1);
        ASSERT_FALSE(
                sim_disk_check_pick(c, &random, "/shard-0/", /* anywhere= */ true, &path, &pos));
        for (unsigned i = 0; i < 100; i++) {
                ASSERT_TRUE(sim_disk_check_pick(
                        c, &random, "/shard-1/", /* anywhere= */ i % 2, &path, &pos));
                ASSERT_STREQ(path, SEGMENT);
                ASSERT_GE(pos, 4096);
                ASSERT_LT(pos, 4608);
                free(path);
        }
}

TEST(hard_state_that_was_forgotten_is_found) {
        _cleanup_(sim_disk_freep) struct sim_disk *d = make_shard();
        _cleanup_(sim_disk_check_freep) struct sim_disk_check *c = NULL;
        struct sim_verdict verdict = {};

        ASSERT_OK(sim_disk_check_new(&verdict, d, DIR, &c));
        put_copy(d, 0, 5, 7);
        put_copy(d, 1, 4, 6);
        ASSERT_EQ(sim_disk_check_copies(d, DIR "/shard-1/hardstate"), 2);
        sim_disk_check_on_ready(c, /* must_rise= */ true);
        ASSERT_NULL(verdict.checker);

        ASSERT_OK(sim_disk_flip_bit(d, DIR "/shard-1/hardstate", 30, 0));
        ASSERT_EQ(sim_disk_check_copies(d, DIR "/shard-1/hardstate"), 1);
        put_copy(d, 1, 6, 8);
        sim_disk_check_on_ready(c, /* must_rise= */ true);
        ASSERT_NULL(verdict.checker);
        sim_disk_check_on_ready(c, /* must_rise= */ false);
        ASSERT_NULL(verdict.checker);
        sim_disk_check_on_ready(c, /* must_rise= */ true);
        ASSERT_STREQ(verdict.checker, "hardstate");

        /* The copy that said 6 is gone, the other one is from before. */
        verdict.checker = NULL;
        put_copy(d, 0, 5, 9);
        put_copy(d, 1, 4, 6);
        sim_disk_check_on_ready(c, /* must_rise= */ false);
        ASSERT_STREQ(verdict.checker, "hardstate");
}
