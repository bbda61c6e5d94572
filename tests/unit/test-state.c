/* SPDX-License-Identifier: Apache-2.0 */

/* The state machine of a shard: what entries mean, the rules of producers, and that its bytes say
 * all of it. */

#include "state/state.h"

#include "base/random.h"
#include "tests/lib/broker-fixture.h"
#include "tests/lib/test.h"

#define HOUR_MS (INT64_C(60) * 60 * 1000)

/* ---- Entries ---- */

struct writer {
        struct byte_writer body;
        uint64_t index;
        int64_t time_ms;
};

static void writer_init(struct writer *w) {
        *w = (struct writer){ .time_ms = 1000 };
        byte_writer_init(&w->body, 0);
}

static void
op_topic(struct writer *w, enum admin_op op, const char *name, uint64_t n, uint64_t first_id) {
        byte_writer_u8(&w->body, (uint8_t) op);
        byte_writer_string(&w->body, name);
        if (op == ADMIN_TOPIC_CREATE || op == ADMIN_TOPIC_EXTEND) {
                byte_writer_uleb(&w->body, n);
                byte_writer_uleb(&w->body, first_id);
        }
}

static void op_drop(struct writer *w, uint64_t id) {
        byte_writer_u8(&w->body, ADMIN_PARTITION_DROP);
        byte_writer_uleb(&w->body, id);
}

static void op_position(struct writer *w, const char *group, uint64_t id, uint64_t offset) {
        byte_writer_string(&w->body, group);
        byte_writer_uleb(&w->body, id);
        byte_writer_uleb(&w->body, offset);
}

/* Applies what was written as an entry of @kind. */
static int apply(struct state *s, struct writer *w, enum entry_kind kind) {
        int r = state_apply(s,
                            &(struct entry){
                                    .index = ++w->index,
                                    .term = 1,
                                    .append_time_ms = w->time_ms,
                                    .kind = kind,
                                    .body = w->body.data,
                                    .body_bytes = (uint32_t) w->body.size,
                            });

        byte_writer_done(&w->body);
        return r;
}

static int topic(struct state *s,
                 struct writer *w,
                 enum admin_op op,
                 const char *name,
                 uint64_t n,
                 uint64_t first_id) {
        op_topic(w, op, name, n, first_id);
        return apply(s, w, ENTRY_ADMIN);
}

static int produce(struct state *s,
                   struct writer *w,
                   uint64_t partition_id,
                   uint64_t base_offset,
                   int64_t producer_id,
                   int16_t epoch,
                   int32_t sequence,
                   unsigned n_records) {
        struct slice batch = broker_batch(producer_id, epoch, sequence, n_records, 5);
        struct entry_slice slice = {
                .partition_id = partition_id,
                .base_offset = base_offset,
                .batch = batch.data,
                .batch_bytes = (uint32_t) batch.size,
        };
        int r = state_apply(s,
                            &(struct entry){
                                    .index = ++w->index,
                                    .term = 1,
                                    .append_time_ms = w->time_ms,
                                    .kind = ENTRY_PRODUCE,
                                    .n_slices = 1,
                                    .slices = &slice,
                            });

        slice_done(&batch);
        return r;
}

static struct state *new_state(void) {
        struct state *s;

        ASSERT_OK(state_new(&s));
        return s;
}

static struct byte_writer bytes_of(const struct state *s) {
        struct byte_writer w;

        byte_writer_init(&w, 0);
        ASSERT_OK(state_encode(s, &w));
        return w;
}

static struct state *state_of(const struct byte_writer *w, const struct state *like) {
        struct state *s = new_state();

        s->n_producers_max = like->n_producers_max;
        ASSERT_OK(state_decode(s, w->data, w->size));
        s->index = like->index;
        s->term = like->term;
        s->time_ms = like->time_ms;
        return s;
}

static void assert_same(const struct state *a, const struct state *b) {
        struct byte_writer x = bytes_of(a), y = bytes_of(b);

        ASSERT_EQ(x.size, y.size);
        ASSERT_MEM(x.data, y.data, x.size);
        byte_writer_done(&x);
        byte_writer_done(&y);
}

/* ---- Topics ---- */

TEST(topics_are_made_grow_and_go) {
        struct state *s = new_state();
        struct writer w;
        const struct topic *t;

        writer_init(&w);
        ASSERT_OK(topic(s, &w, ADMIN_TOPIC_CREATE, "b", 2, s->next_partition_id));
        ASSERT_OK(topic(s, &w, ADMIN_TOPIC_CREATE, "a", 1, s->next_partition_id));
        w.time_ms = 2000;
        ASSERT_OK(topic(s, &w, ADMIN_TOPIC_EXTEND, "b", 4, s->next_partition_id));

        t = state_topic(s, "b");
        ASSERT_NOT_NULL(t);
        ASSERT_EQ(t->created_ms, 1000);
        ASSERT_EQ(t->n_partitions, 4);
        ASSERT_EQ(t->partitions[0]->id, 1);
        ASSERT_EQ(t->partitions[1]->id, 2);
        ASSERT_EQ(t->partitions[2]->id, 4);
        ASSERT_EQ(t->partitions[3]->id, 5);
        for (uint32_t i = 0; i < 4; i++) {
                ASSERT_EQ(t->partitions[i]->number, i);
                ASSERT_TRUE(state_topic_partition(s, t->partitions[i]->id)->topic == t);
        }
        ASSERT_EQ(s->next_partition_id, 6);
        ASSERT_EQ(s->index, 3);

        ASSERT_OK(topic(s, &w, ADMIN_TOPIC_DELETE, "b", 0, 0));
        ASSERT_NULL(state_topic(s, "b"));
        ASSERT_NULL(state_topic_partition(s, 5));
        ASSERT_EQ(state_topic_partition(s, 3)->topic->n_partitions, 1);
        s = state_free(s);
}

TEST(a_topic_that_comes_back_is_another_one) {
        struct state *s = new_state();
        struct writer w;

        writer_init(&w);
        for (uint64_t i = 0; i < 10; i++) {
                struct byte_writer bytes;
                struct state *again;

                ASSERT_EQ(s->next_partition_id, 1 + 3 * i);
                ASSERT_OK(topic(s, &w, ADMIN_TOPIC_CREATE, "a", 3, s->next_partition_id));
                ASSERT_EQ(state_topic(s, "a")->partitions[0]->id, 1 + 3 * i);
                ASSERT_OK(topic(s, &w, ADMIN_TOPIC_DELETE, "a", 0, 0));

                /* Also where a checkpoint lies between, which has no topic at all. */
                bytes = bytes_of(s);
                again = state_of(&bytes, s);
                byte_writer_done(&bytes);
                s = state_free(s);
                s = again;
        }
        s = state_free(s);
}

TEST(several_operations_of_one_entry_take_effect_in_order) {
        struct state *s = new_state();
        struct writer w;

        writer_init(&w);
        op_topic(&w, ADMIN_TOPIC_CREATE, "a", 1, 1);
        op_topic(&w, ADMIN_TOPIC_CREATE, "b", 1, 2);
        op_topic(&w, ADMIN_TOPIC_DELETE, "a", 0, 0);
        op_topic(&w, ADMIN_TOPIC_CREATE, "a", 2, 3);
        ASSERT_OK(apply(s, &w, ENTRY_ADMIN));
        ASSERT_EQ(s->topics.n_nodes, 2);
        ASSERT_EQ(s->topic_partitions.n_nodes, 3);
        ASSERT_EQ(state_topic(s, "a")->partitions[1]->id, 4);
        s = state_free(s);
}

TEST(operations_that_cannot_be_are_refused) {
        static const struct {
                enum admin_op op;
                const char *name;
                uint64_t n, id;
        } bad[] = {
                { ADMIN_TOPIC_CREATE, "a", 1, 50 }, /* there */
                { ADMIN_TOPIC_CREATE, "new", 0, 50 },
                { ADMIN_TOPIC_CREATE, "new", PARTITIONS_PER_TOPIC_MAX + 1, 50 },
                { ADMIN_TOPIC_CREATE, "new", 1, OFFSET_MAX + 1 },
                { ADMIN_TOPIC_CREATE, "new", 1, 1 }, /* a's */
                { ADMIN_TOPIC_EXTEND, "new", 3, 50 },
                { ADMIN_TOPIC_DELETE, "new", 0, 0 },
                { (enum admin_op) 99, "new", 0, 0 },
        };

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                struct state *s = new_state();
                struct writer w;

                writer_init(&w);
                ASSERT_OK(topic(s, &w, ADMIN_TOPIC_CREATE, "a", 2, 1));
                ASSERT_ERROR(topic(s, &w, bad[i].op, bad[i].name, bad[i].n, bad[i].id), EBADMSG);
                s = state_free(s);
        }
}

TEST(bodies_that_end_too_early_are_refused) {
        struct byte_writer whole;
        struct writer w;

        writer_init(&w);
        op_topic(&w, ADMIN_TOPIC_CREATE, "abc", 200, 300);
        op_drop(&w, 4711);
        whole = w.body;
        for (size_t n = 1; n < whole.size; n++) {
                struct state *s = new_state();
                struct entry e = { .index = 1,
                                   .term = 1,
                                   .kind = ENTRY_ADMIN,
                                   .body = whole.data,
                                   .body_bytes = (uint32_t) n };
                int r = state_apply(s, &e);

                /* the first operation is whole */
                if (n == whole.size - 3)
                        ASSERT_OK(r);
                else
                        ASSERT_ERROR(r, EBADMSG);
                s = state_free(s);
        }
        byte_writer_done(&whole);
}

/* ---- Offsets ---- */

TEST(offsets_and_sums_follow_the_batches) {
        struct state *s = new_state();
        const struct partition *p;
        struct writer w;
        uint64_t n_bytes;

        writer_init(&w);
        ASSERT_OK(produce(s, &w, 7, 0, -1, -1, -1, 10));
        p = state_partition(s, 7);
        n_bytes = p->n_bytes;
        ASSERT_GT(n_bytes, 61);
        w.time_ms = 5000;
        ASSERT_OK(produce(s, &w, 7, 10, -1, -1, -1, 10));
        ASSERT_EQ(p->next_offset, 20);
        ASSERT_EQ(p->first_offset, 0);
        ASSERT_EQ(p->n_batches, 2);
        ASSERT_EQ(p->n_bytes, 2 * n_bytes);
        ASSERT_EQ(p->last_append_ms, 5000);
        ASSERT_EQ(s->time_ms, 5000);

        /* What damage left out leaves a gap; what is there already can not come again. */
        ASSERT_OK(produce(s, &w, 7, 30, -1, -1, -1, 1));
        ASSERT_EQ(p->next_offset, 31);
        ASSERT_ERROR(produce(s, &w, 7, 30, -1, -1, -1, 1), EBADMSG);
        s = state_free(s);
}

/* ---- The log's start ---- */

static void op_log_start(struct writer *w, uint64_t last_index, uint64_t n) {
        byte_writer_u8(&w->body, ADMIN_LOG_START);
        byte_writer_uleb(&w->body, last_index);
        byte_writer_uleb(&w->body, n);
}

static void op_first_offset(struct writer *w, uint64_t id, uint64_t first_offset) {
        byte_writer_uleb(&w->body, id);
        byte_writer_uleb(&w->body, first_offset);
}

TEST(the_start_of_the_log_and_first_offsets_only_rise) {
        struct state *s = new_state();
        struct writer w;

        writer_init(&w);
        ASSERT_OK(produce(s, &w, 7, 0, -1, -1, -1, 10));
        ASSERT_OK(produce(s, &w, 8, 0, -1, -1, -1, 20));
        ASSERT_OK(produce(s, &w, 9, 0, -1, -1, -1, 30));
        ASSERT_EQ(s->log_start_index, 0);

        op_log_start(&w, 2, 3);
        op_first_offset(&w, 7, 10);
        op_first_offset(&w, 8, 5);
        op_first_offset(&w, 99, 5); /* deleted since */
        ASSERT_OK(apply(s, &w, ENTRY_ADMIN));
        ASSERT_EQ(s->log_start_index, 2);
        ASSERT_EQ(state_partition(s, 7)->first_offset, 10);
        ASSERT_EQ(state_partition(s, 8)->first_offset, 5);
        ASSERT_EQ(state_partition(s, 9)->first_offset, 0);
        ASSERT_NULL(state_partition(s, 99));
        /* what was appended has been, whatever went */
        ASSERT_EQ(state_partition(s, 7)->n_batches, 1);

        op_log_start(&w, 1, 2);
        op_first_offset(&w, 8, 4);
        op_first_offset(&w, 9, 1000); /* never above what there is */
        ASSERT_OK(apply(s, &w, ENTRY_ADMIN));
        ASSERT_EQ(s->log_start_index, 2);
        ASSERT_EQ(state_partition(s, 8)->first_offset, 5);
        ASSERT_EQ(state_partition(s, 9)->first_offset, 30);
        ASSERT_EQ(state_partition(s, 9)->next_offset, 30);

        /* The entry that says so does not go. */
        op_log_start(&w, 4, 0);
        ASSERT_OK(apply(s, &w, ENTRY_ADMIN));
        ASSERT_EQ(s->log_start_index, 4);
        op_log_start(&w, 7, 0);
        ASSERT_ERROR(apply(s, &w, ENTRY_ADMIN), EBADMSG);
        s = state_free(s);
}

TEST(a_log_start_that_ends_too_early_is_refused) {
        struct byte_writer whole;
        struct writer w;

        writer_init(&w);
        op_log_start(&w, 300, 2);
        op_first_offset(&w, 7, 1000);
        op_first_offset(&w, 8, 1000);
        whole = w.body;
        for (size_t n = 1; n <= whole.size; n++) {
                struct state *s = new_state();
                struct entry e = { .index = 301,
                                   .term = 1,
                                   .kind = ENTRY_ADMIN,
                                   .body = whole.data,
                                   .body_bytes = (uint32_t) n };
                int r = state_apply(s, &e);

                if (n == whole.size)
                        ASSERT_OK(r);
                else
                        ASSERT_ERROR(r, EBADMSG);
                s = state_free(s);
        }
        byte_writer_done(&whole);
}

/* What the first version wrote: one topic of one partition with ten messages, one producer, one
 * position. */
static const uint8_t version_1[] = {
        1,    2,                                               /* version, next partition id */
        1,    1, 'a', 0xe8, 3, 0,    0, 0,    0, 0, 0, 1,   1, /* topics */
        1,    1, 0,   10,   1, 0xc8, 1, 0xd0, 7, 0, 0, 0,   0, 0,  0,          /* partitions */
        1,    1, 9,   0,    0, 0,    0, 0,    0, 0, 3, 0,                      /* producers */
        0xd0, 7, 0,   0,    0, 0,    0, 0,    1, 5, 0, 0,   0, 14, 0, 0, 0, 0, /* … its batch */
        0xd0, 7, 0,   0,    0, 0,    0, 0,    1, 1, 1, 'g', 4,                 /* positions */
};

TEST(the_first_version_of_a_checkpoint_is_read) {
        struct state *s = new_state(), *again;
        struct byte_writer bytes;
        uint64_t offset;

        ASSERT_OK(state_decode(s, version_1, sizeof(version_1)));
        ASSERT_EQ(s->log_start_index, 0);
        ASSERT_EQ(s->next_partition_id, 2);
        ASSERT_EQ(state_topic(s, "a")->created_ms, 1000);
        ASSERT_EQ(state_partition(s, 1)->first_offset, 0);
        ASSERT_EQ(state_partition(s, 1)->next_offset, 10);
        ASSERT_EQ(state_partition(s, 1)->n_bytes, 200);
        ASSERT_EQ(state_partition(s, 1)->last_append_ms, 2000);
        ASSERT_EQ(state_producer(s, 1, 9)->window.epoch, 3);
        ASSERT_EQ(state_producer(s, 1, 9)->window.batches[0].last_sequence, 14);
        ASSERT_TRUE(state_position(s, "g", 1, &offset));
        ASSERT_EQ(offset, 4);

        /* It is written as the newest one, and says the same. */
        s->log_start_index = 4711;
        bytes = bytes_of(s);
        ASSERT_EQ(bytes.data[0], 2);
        again = state_of(&bytes, s);
        ASSERT_EQ(again->log_start_index, 4711);
        assert_same(s, again);
        byte_writer_done(&bytes);
        again = state_free(again);
        s = state_free(s);

        /* No version is taken for another. */
        for (uint8_t version = 0; version < 5; version++) {
                uint8_t other[sizeof(version_1)];

                memcpy(other, version_1, sizeof(other));
                other[0] = version;
                s = new_state();
                if (version == 0 || version > 2)
                        ASSERT_ERROR(state_decode(s, other, sizeof(other)), EPROTONOSUPPORT);
                else if (version == 2)
                        ASSERT_ERROR(state_decode(s, other, sizeof(other)), EBADMSG);
                else
                        ASSERT_OK(state_decode(s, other, sizeof(other)));
                s = state_free(s);
        }
}

TEST(a_partition_that_is_dropped_takes_producers_and_positions_along) {
        struct state *s = new_state(), *without = new_state();
        struct writer w, v;
        uint64_t offset;

        writer_init(&w);
        writer_init(&v);
        for (uint64_t id = 1; id <= 3; id++) {
                if (id != 2) {
                        ASSERT_OK(produce(without, &v, id, 0, 100, 0, 0, 5));
                        ASSERT_OK(produce(without, &v, id, 5, 101, 0, 0, 5));
                        op_position(&v, "g", id, 3);
                        op_position(&v, "h", id, 4);
                        ASSERT_OK(apply(without, &v, ENTRY_GROUP));
                }
                ASSERT_OK(produce(s, &w, id, 0, 100, 0, 0, 5));
                ASSERT_OK(produce(s, &w, id, 5, 101, 0, 0, 5));
                op_position(&w, "g", id, 3);
                op_position(&w, "h", id, 4);
                ASSERT_OK(apply(s, &w, ENTRY_GROUP));
        }
        ASSERT_EQ(state_partition(s, 2)->n_producers, 2);
        op_drop(&w, 2);
        op_drop(&w, 99); /* was never sent to */
        ASSERT_OK(apply(s, &w, ENTRY_ADMIN));

        ASSERT_NULL(state_partition(s, 2));
        ASSERT_NULL(state_producer(s, 2, 100));
        ASSERT_FALSE(state_position(s, "g", 2, &offset));
        ASSERT_TRUE(state_position(s, "h", 3, &offset));
        ASSERT_EQ(offset, 4);
        assert_same(s, without);
        s = state_free(s);
        without = state_free(without);
}

TEST(positions_are_replaced_and_may_go_back) {
        struct state *s = new_state();
        struct writer w;
        uint64_t offset;

        writer_init(&w);
        ASSERT_FALSE(state_position(s, "g", 1, &offset));
        for (uint64_t i = 10; i > 0; i--) {
                op_position(&w, "g", 1, i);
                ASSERT_OK(apply(s, &w, ENTRY_GROUP));
                ASSERT_TRUE(state_position(s, "g", 1, &offset));
                ASSERT_EQ(offset, i);
        }
        ASSERT_EQ(s->positions.n_nodes, 1);
        s = state_free(s);
}

/* ---- Producers ---- */

static enum producer_verdict judge(const struct producer_window *w,
                                   int16_t epoch,
                                   int32_t sequence,
                                   int32_t n_records,
                                   uint64_t *ret_offset) {
        struct batch_view v = {
                .producer_id = 9,
                .producer_epoch = epoch,
                .base_sequence = sequence,
                .last_offset_delta = n_records - 1,
        };
        struct producer_batch duplicate = {};
        enum producer_verdict verdict = producer_judge(w, &v, &duplicate);

        *ret_offset = duplicate.base_offset;
        return verdict;
}

static void add(struct producer_window *w,
                int16_t epoch,
                int32_t sequence,
                int32_t n_records,
                uint64_t base_offset) {
        producer_window_add(w,
                            &(struct batch_view){
                                    .producer_id = 9,
                                    .producer_epoch = epoch,
                                    .base_sequence = sequence,
                                    .last_offset_delta = n_records - 1,
                            },
                            base_offset,
                            /* append_time_ms= */ (int64_t) base_offset + 1);
}

TEST(a_producer_is_judged_by_the_five_rules) {
        struct producer_window w = {};
        uint64_t offset;

        /* 5: nothing is known */
        ASSERT_EQ(judge(NULL, 3, 4711, 2, &offset), PRODUCER_NEXT);
        ASSERT_EQ(judge(&w, 3, 4711, 2, &offset), PRODUCER_NEXT);

        for (int i = 0; i < 8; i++)
                add(&w, 3, 10 * i, 10, (uint64_t) i * 100);
        ASSERT_EQ(w.n_batches, PRODUCER_BATCHES);

        /* 1 and 2: epochs */
        ASSERT_EQ(judge(&w, 2, 80, 10, &offset), PRODUCER_FENCED);
        ASSERT_EQ(judge(&w, 2, 0, 10, &offset), PRODUCER_FENCED);
        ASSERT_EQ(judge(&w, 4, 80, 10, &offset), PRODUCER_OUT_OF_SEQUENCE);
        ASSERT_EQ(judge(&w, 4, 0, 10, &offset), PRODUCER_NEXT);

        /* 3: one of the last five, by its first and last sequence */
        for (int i = 3; i < 8; i++) {
                ASSERT_EQ(judge(&w, 3, 10 * i, 10, &offset), PRODUCER_DUPLICATE);
                ASSERT_EQ(offset, (uint64_t) i * 100);
        }
        ASSERT_EQ(judge(&w, 3, 20, 10, &offset), PRODUCER_OUT_OF_SEQUENCE);
        ASSERT_EQ(judge(&w, 3, 70, 9, &offset), PRODUCER_OUT_OF_SEQUENCE);
        ASSERT_EQ(judge(&w, 3, 71, 9, &offset), PRODUCER_OUT_OF_SEQUENCE);

        /* 4: the next one, and no other */
        ASSERT_EQ(judge(&w, 3, 80, 1, &offset), PRODUCER_NEXT);
        ASSERT_EQ(judge(&w, 3, 79, 1, &offset), PRODUCER_OUT_OF_SEQUENCE);
        ASSERT_EQ(judge(&w, 3, 81, 1, &offset), PRODUCER_OUT_OF_SEQUENCE);

        /* A new epoch forgets the batches of the one before. */
        add(&w, 4, 0, 10, 5000);
        ASSERT_EQ(w.n_batches, 1);
        ASSERT_EQ(judge(&w, 3, 80, 10, &offset), PRODUCER_FENCED);
        ASSERT_EQ(judge(&w, 4, 0, 10, &offset), PRODUCER_DUPLICATE);
        ASSERT_EQ(offset, 5000);
        ASSERT_EQ(judge(&w, 4, 10, 10, &offset), PRODUCER_NEXT);
}

TEST(sequences_wrap_from_their_highest_to_0) {
        struct producer_window w = {};
        uint64_t offset;

        /* The last record has the highest sequence there is. */
        add(&w, 0, INT32_MAX - 9, 10, 0);
        ASSERT_EQ(judge(&w, 0, 0, 1, &offset), PRODUCER_NEXT);
        ASSERT_EQ(judge(&w, 0, INT32_MAX, 1, &offset), PRODUCER_OUT_OF_SEQUENCE);

        /* A batch goes across: 10 records, 5 of them behind the wrap. */
        add(&w, 0, 0, INT32_MAX - 4, 10);
        ASSERT_EQ(judge(&w, 0, INT32_MAX - 4, 10, &offset), PRODUCER_NEXT);
        add(&w, 0, INT32_MAX - 4, 10, 20);
        ASSERT_EQ(w.batches[w.n_batches - 1].last_sequence, 4);
        ASSERT_EQ(judge(&w, 0, 5, 1, &offset), PRODUCER_NEXT);
        ASSERT_EQ(judge(&w, 0, INT32_MAX - 4, 10, &offset), PRODUCER_DUPLICATE);
        ASSERT_EQ(offset, 20);
}

TEST(who_is_silent_for_24_hours_of_log_time_is_forgotten) {
        struct state *s = new_state();
        struct writer w;

        writer_init(&w);
        ASSERT_OK(produce(s, &w, 1, 0, 100, 0, 0, 1));
        w.time_ms += HOUR_MS;
        ASSERT_OK(produce(s, &w, 1, 1, 101, 0, 0, 1));
        ASSERT_EQ(state_partition(s, 1)->n_producers, 2);
        w.time_ms += 23 * HOUR_MS;
        ASSERT_OK(apply(s, &w, ENTRY_NOOP)); /* to the very millisecond */
        ASSERT_NOT_NULL(state_producer(s, 1, 100));
        w.time_ms += 1;
        ASSERT_OK(apply(s, &w, ENTRY_NOOP));
        ASSERT_NULL(state_producer(s, 1, 100));
        ASSERT_NOT_NULL(state_producer(s, 1, 101));
        ASSERT_EQ(state_partition(s, 1)->n_producers, 1);

        /* Who sends again lives on. */
        ASSERT_OK(produce(s, &w, 1, 2, 101, 0, 1, 1));
        w.time_ms += 24 * HOUR_MS;
        ASSERT_OK(apply(s, &w, ENTRY_NOOP));
        ASSERT_NOT_NULL(state_producer(s, 1, 101));
        s = state_free(s);
}

TEST(past_the_count_the_longest_silent_goes) {
        struct state *s = new_state();
        struct writer w;

        writer_init(&w);
        s->n_producers_max = 3;
        for (int i = 0; i < 3; i++)
                ASSERT_OK(produce(s, &w, 1, (uint64_t) i, 100 + i, 0, 0, 1));
        ASSERT_OK(produce(s, &w, 1, 3, 100, 0, 1, 1)); /* 101 is the longest silent now */
        ASSERT_OK(produce(s, &w, 2, 0, 100, 0, 0, 1));
        ASSERT_EQ(s->producers.n_nodes, 3);
        ASSERT_NULL(state_producer(s, 1, 101));
        ASSERT_NOT_NULL(state_producer(s, 1, 102));
        ASSERT_NOT_NULL(state_producer(s, 1, 100));
        ASSERT_NOT_NULL(state_producer(s, 2, 100));
        s = state_free(s);
}

/* ---- Bytes ---- */

/* One step of a history that follows from @r alone; every kind of entry, topics, partitions and
 * producers that come, come back and go. */
static void random_step(struct random *r, struct state *s, struct writer *w) {
        char name[] = { 't', (char) ('a' + random_below(r, 6)), 0 };
        char group[] = { 'g', (char) ('a' + random_below(r, 3)), 0 };
        uint64_t id = random_between(r, 1, 12);
        const struct partition *p = state_partition(s, id);
        int64_t producer_id = random_chance(r, 1, 4) ? -1 : (int64_t) random_between(r, 100, 110);
        const struct producer *known = state_producer(s, id, producer_id);
        const struct topic *t = state_topic(s, name);

        w->time_ms +=
                random_chance(r, 1, 20) ? (int64_t) random_below(r, 12 * (uint64_t) HOUR_MS) : 10;
        switch (random_below(r, 12)) {
        case 0:
                if (!t)
                        ASSERT_OK(topic(s,
                                        w,
                                        ADMIN_TOPIC_CREATE,
                                        name,
                                        random_between(r, 1, 4),
                                        s->next_partition_id));
                else if (random_chance(r, 1, 2))
                        ASSERT_OK(topic(s,
                                        w,
                                        ADMIN_TOPIC_EXTEND,
                                        name,
                                        t->n_partitions + 1,
                                        s->next_partition_id));
                else
                        ASSERT_OK(topic(s, w, ADMIN_TOPIC_DELETE, name, 0, 0));
                break;
        case 1:
                op_drop(w, id);
                ASSERT_OK(apply(s, w, ENTRY_ADMIN));
                break;
        case 2:
        case 3:
                op_position(w, group, id, random_below(r, 1000));
                ASSERT_OK(apply(s, w, ENTRY_GROUP));
                break;
        case 4:
                ASSERT_OK(apply(s, w, random_chance(r, 1, 2) ? ENTRY_NOOP : ENTRY_CHECKPOINT_MARK));
                break;
        default:
                ASSERT_OK(produce(
                        s,
                        w,
                        id,
                        (p ? p->next_offset : 0) + random_below(r, 2),
                        producer_id,
                        (int16_t) (known ? known->window.epoch + (int16_t) random_below(r, 2) : 0),
                        (int32_t) random_below(r, 1000),
                        (unsigned) random_between(r, 1, 5)));
        }
}

/* However a history is cut in two by a checkpoint, the state is the same afterwards, to the
 * byte. */
TEST(a_checkpoint_in_the_middle_changes_nothing) {
        for (uint64_t seed = 0; seed < 40; seed++) {
                struct state *straight = new_state(), *cut = new_state();
                struct random choice, first, second;
                struct writer w, v;

                writer_init(&w);
                writer_init(&v);
                random_init(&choice, seed + 1000);
                random_init(&first, seed);
                random_init(&second, seed);
                straight->n_producers_max = cut->n_producers_max = 20;
                for (unsigned step = 0; step < 150; step++) {
                        random_step(&first, straight, &w);
                        random_step(&second, cut, &v);
                        if (random_chance(&choice, 1, 10)) {
                                struct byte_writer bytes = bytes_of(cut);
                                struct state *again = state_of(&bytes, cut);

                                byte_writer_done(&bytes);
                                cut = state_free(cut);
                                cut = again;
                        }
                }
                assert_same(straight, cut);

                /* What bytes do not say: sums over others. */
                MAP_FOREACH(&straight->partitions, n) {
                        const struct partition *p = CONTAINER_OF(n, struct partition, by_id);

                        ASSERT_EQ(state_partition(cut, p->id)->n_producers, p->n_producers);
                }
                ASSERT_EQ(straight->topic_partitions.n_nodes, cut->topic_partitions.n_nodes);
                ASSERT_LE(straight->producers.n_nodes, 20);
                straight = state_free(straight);
                cut = state_free(cut);
        }
}

static struct state *some_state(void) {
        struct state *s = new_state();
        struct random r;
        struct writer w;

        writer_init(&w);
        random_init(&r, 5);
        for (unsigned step = 0; step < 60; step++)
                random_step(&r, s, &w);
        ASSERT_GT(s->topics.n_nodes, 0);
        ASSERT_GT(s->producers.n_nodes, 3);
        ASSERT_GT(s->positions.n_nodes, 3);
        return s;
}

TEST(bytes_that_end_too_early_or_too_late_are_refused) {
        struct state *s = some_state();
        struct byte_writer bytes = bytes_of(s);
        size_t size = bytes.size;

        byte_writer_u8(&bytes, 0);
        for (size_t n = 0; n <= size + 1; n++) {
                struct state *d = new_state();

                if (n == size)
                        ASSERT_OK(state_decode(d, bytes.data, n));
                else
                        ASSERT_ERROR(state_decode(d, bytes.data, n), EBADMSG);
                d = state_free(d);
        }
        byte_writer_done(&bytes);
        s = state_free(s);
}

/* A checkpoint has a checksum; should bytes pass it all the same, they may be refused or be another
 * state, no more. */
TEST(any_damaged_byte_is_survived) {
        struct state *s = some_state();
        struct byte_writer bytes = bytes_of(s);
        unsigned n_refused = 0;

        for (size_t at = 0; at < bytes.size; at++)
                for (unsigned k = 0; k < 10; k++) {
                        uint8_t before = bytes.data[at];
                        struct state *d = new_state();
                        int r;

                        bytes.data[at] = k < 8 ? (uint8_t) (before ^ (1u << k)) : k == 8 ? 0xff : 0;
                        r = state_decode(d, bytes.data, bytes.size);
                        if (r < 0) {
                                ASSERT_TRUE(r == -EBADMSG || (at == 0 && r == -EPROTONOSUPPORT));
                                n_refused++;
                        } else {
                                struct byte_writer again = bytes_of(d);
                                struct state *e = state_of(&again, d);

                                assert_same(d, e); /* a state like any other */
                                e = state_free(e);
                                byte_writer_done(&again);
                        }
                        bytes.data[at] = before;
                        d = state_free(d);
                }
        ASSERT_GT(n_refused, bytes.size / 2);
        byte_writer_done(&bytes);
        s = state_free(s);
}

TEST(a_newer_format_is_told_from_damage) {
        static const uint8_t newer[] = { 3, 1 };
        struct state *s = new_state();

        ASSERT_ERROR(state_decode(s, newer, sizeof(newer)), EPROTONOSUPPORT);
        s = state_free(s);
}

TEST(want_of_memory_is_told_from_damage) {
        struct state *like = some_state();
        struct byte_writer bytes = bytes_of(like), body;
        struct writer w;

        FAULT_SWEEP {
                struct state *s = NULL;
                int r = state_new(&s);

                if (r >= 0)
                        r = state_decode(s, bytes.data, bytes.size);
                s = state_free(s);
                if (r < 0)
                        ASSERT_ERROR(r, ENOMEM);
        }

        writer_init(&w);
        op_topic(&w, ADMIN_TOPIC_CREATE, "one", 3, 1);
        op_topic(&w, ADMIN_TOPIC_EXTEND, "one", 20, 4);
        op_topic(&w, ADMIN_TOPIC_CREATE, "two", 1, 21);
        op_drop(&w, 2);
        op_topic(&w, ADMIN_TOPIC_DELETE, "one", 0, 0);
        body = w.body;
        FAULT_SWEEP {
                struct state *s = NULL;
                int r = state_new(&s);

                if (r >= 0)
                        r = state_apply(s,
                                        &(struct entry){
                                                .index = 1,
                                                .kind = ENTRY_ADMIN,
                                                .body = body.data,
                                                .body_bytes = (uint32_t) body.size,
                                        });
                if (r >= 0)
                        ASSERT_EQ(s->topics.n_nodes, 1);
                s = state_free(s);
                if (r < 0)
                        ASSERT_ERROR(r, ENOMEM);
        }
        byte_writer_done(&body);

        writer_init(&w);
        op_position(&w, "g", 1, 5);
        op_position(&w, "h", 1, 5);
        body = w.body;
        FAULT_SWEEP {
                struct state *s = NULL;
                int r = state_new(&s);

                if (r >= 0)
                        r = state_apply(s,
                                        &(struct entry){
                                                .index = 1,
                                                .kind = ENTRY_GROUP,
                                                .body = body.data,
                                                .body_bytes = (uint32_t) body.size,
                                        });
                s = state_free(s);
                if (r < 0)
                        ASSERT_ERROR(r, ENOMEM);
        }
        byte_writer_done(&body);
        byte_writer_done(&bytes);
        like = state_free(like);
}
