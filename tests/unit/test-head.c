/* SPDX-License-Identifier: Apache-2.0 */

/* What is in flight, laid over the applied state. */

#include "drmqd/core/head.h"

#include "base/random.h"
#include "tests/lib/broker-fixture.h"
#include "tests/lib/test.h"

#define PARTITION 7u
#define PRODUCER 99

static struct batch_view
view(int64_t producer_id, int16_t epoch, int32_t sequence, int32_t n_records) {
        return (struct batch_view){
                .producer_id = producer_id,
                .producer_epoch = producer_id < 0 ? -1 : epoch,
                .base_sequence = producer_id < 0 ? -1 : sequence,
                .last_offset_delta = n_records - 1,
        };
}

static enum producer_verdict judge(const struct head *h,
                                   int32_t sequence,
                                   int32_t n_records,
                                   uint64_t *ret_offset,
                                   uint64_t *ret_ticket) {
        struct batch_view v = view(PRODUCER, 0, sequence, n_records);
        struct producer_batch duplicate = {};
        enum producer_verdict verdict;

        *ret_ticket = UINT64_MAX;
        verdict = head_judge(h, PARTITION, &v, &duplicate, ret_ticket);
        *ret_offset = duplicate.base_offset;
        return verdict;
}

static void
add(struct head *h, uint64_t ticket, int64_t producer_id, int32_t sequence, int32_t n_records) {
        struct batch_view v = view(producer_id, 0, sequence, n_records);

        ASSERT_OK(head_add(h, ticket, PARTITION, &v, head_next_offset(h, PARTITION), 1000));
}

/* Puts the same into the state, as the entry does when it is applied. */
static void commit(struct state *s,
                   int64_t producer_id,
                   int32_t sequence,
                   unsigned n_records,
                   uint64_t base_offset) {
        struct slice batch = broker_batch(producer_id, 0, sequence, n_records, 1);
        struct entry_slice slice = {
                .partition_id = PARTITION,
                .base_offset = base_offset,
                .batch = batch.data,
                .batch_bytes = (uint32_t) batch.size,
        };

        ASSERT_OK(state_apply(s,
                              &(struct entry){
                                      .index = s->index + 1,
                                      .term = 1,
                                      .append_time_ms = 1000,
                                      .kind = ENTRY_PRODUCE,
                                      .n_slices = 1,
                                      .slices = &slice,
                              }));
        slice_done(&batch);
}

struct pair {
        struct state *state;
        struct head head;
};

static void pair_init(struct pair *p) {
        ASSERT_OK(state_new(&p->state));
        head_init(&p->head, p->state);
}

static void pair_done(struct pair *p) {
        head_clear(&p->head);
        p->state = state_free(p->state);
}

TEST(an_empty_head_says_what_the_state_says) {
        uint64_t offset, ticket;
        struct pair p;

        pair_init(&p);
        ASSERT_EQ(head_next_offset(&p.head, PARTITION), 0);
        ASSERT_EQ(judge(&p.head, 40, 10, &offset, &ticket), PRODUCER_NEXT);
        commit(p.state, PRODUCER, 40, 10, 0);
        ASSERT_EQ(head_next_offset(&p.head, PARTITION), 10);
        ASSERT_EQ(judge(&p.head, 40, 10, &offset, &ticket), PRODUCER_DUPLICATE);
        ASSERT_EQ(offset, 0);
        ASSERT_EQ(ticket, 0); /* it is applied: nothing is to be waited for */
        ASSERT_EQ(judge(&p.head, 50, 1, &offset, &ticket), PRODUCER_NEXT);
        ASSERT_EQ(judge(&p.head, 51, 1, &offset, &ticket), PRODUCER_OUT_OF_SEQUENCE);
        pair_done(&p);
}

TEST(what_is_in_flight_counts_and_rests_on_its_ticket) {
        uint64_t offset, ticket;
        struct pair p;

        pair_init(&p);
        commit(p.state, PRODUCER, 0, 10, 0);
        add(&p.head, 1, PRODUCER, 10, 5);
        add(&p.head, 2, PRODUCER, 15, 5);
        ASSERT_EQ(head_next_offset(&p.head, PARTITION), 20);
        ASSERT_EQ(judge(&p.head, 20, 1, &offset, &ticket), PRODUCER_NEXT);

        /* A retry of what is in flight is a duplicate, once it is committed and no sooner. */
        ASSERT_EQ(judge(&p.head, 10, 5, &offset, &ticket), PRODUCER_DUPLICATE);
        ASSERT_EQ(offset, 10);
        ASSERT_GE(ticket, 1);
        ASSERT_LE(ticket, 2);
        ASSERT_EQ(judge(&p.head, 15, 5, &offset, &ticket), PRODUCER_DUPLICATE);
        ASSERT_EQ(offset, 15);
        ASSERT_EQ(ticket, 2);
        /* and so is a retry of what was applied before */
        ASSERT_EQ(judge(&p.head, 0, 10, &offset, &ticket), PRODUCER_DUPLICATE);
        ASSERT_EQ(offset, 0);

        commit(p.state, PRODUCER, 10, 5, 10);
        head_applied(&p.head, 1);
        ASSERT_EQ(head_next_offset(&p.head, PARTITION), 20);
        ASSERT_EQ(judge(&p.head, 15, 5, &offset, &ticket), PRODUCER_DUPLICATE);
        ASSERT_EQ(ticket, 2);
        commit(p.state, PRODUCER, 15, 5, 15);
        head_applied(&p.head, 2);
        ASSERT_EQ(p.head.partitions.n_nodes, 0);
        ASSERT_EQ(p.head.producers.n_nodes, 0);
        ASSERT_EQ(head_next_offset(&p.head, PARTITION), 20);
        ASSERT_EQ(judge(&p.head, 15, 5, &offset, &ticket), PRODUCER_DUPLICATE);
        ASSERT_EQ(ticket, 0);
        pair_done(&p);
}

TEST(batches_without_a_producer_have_offsets_only) {
        struct producer_batch duplicate;
        struct batch_view v = view(-1, -1, -1, 3);
        struct pair p;
        uint64_t ticket;

        pair_init(&p);
        for (uint64_t i = 1; i <= 3; i++) {
                ASSERT_EQ(head_judge(&p.head, PARTITION, &v, &duplicate, &ticket), PRODUCER_NEXT);
                add(&p.head, i, -1, -1, 3);
        }
        ASSERT_EQ(head_next_offset(&p.head, PARTITION), 9);
        ASSERT_EQ(head_next_offset(&p.head, PARTITION + 1), 0);
        ASSERT_EQ(p.head.producers.n_nodes, 0);
        pair_done(&p);
}

TEST(what_is_forgotten_was_never_there) {
        uint64_t offset, ticket;
        struct pair p;

        pair_init(&p);
        commit(p.state, PRODUCER, 0, 10, 0);
        add(&p.head, 1, PRODUCER, 10, 5);
        head_clear(&p.head);
        ASSERT_EQ(head_next_offset(&p.head, PARTITION), 10);
        ASSERT_EQ(judge(&p.head, 10, 5, &offset, &ticket), PRODUCER_NEXT);
        pair_done(&p);
}

TEST(without_memory_nothing_is_noted) {
        struct pair p;
        struct batch_view v = view(PRODUCER, 0, 0, 5);

        pair_init(&p);
        FAULT_SWEEP {
                uint64_t offset, ticket;
                int r = head_add(&p.head, 1, PARTITION, &v, 0, 1000);

                if (r < 0) {
                        ASSERT_ERROR(r, ENOMEM);
                        ASSERT_EQ(head_next_offset(&p.head, PARTITION), 0);
                        ASSERT_EQ(judge(&p.head, 0, 5, &offset, &ticket), PRODUCER_NEXT);
                        ASSERT_EQ(p.head.producers.n_nodes, 0);
                        continue;
                }
                ASSERT_EQ(head_next_offset(&p.head, PARTITION), 5);
                head_clear(&p.head);
        }
        pair_done(&p);
}

/* Judging against state and head is judging against the state that there will be. */
TEST(the_head_foresees_the_state) {
        for (uint64_t seed = 0; seed < 50; seed++) {
                struct {
                        int32_t sequence;
                        unsigned n_records;
                        int64_t producer_id;
                        uint64_t base_offset;
                } sent[200];
                uint64_t n_sent = 0, n_applied = 0;
                int32_t next[4] = {};
                struct random random;
                struct pair p, future;

                pair_init(&p);
                pair_init(&future);
                random_init(&random, seed);
                for (unsigned step = 0; step < 200; step++) {
                        int64_t producer_id = (int64_t) random_between(&random, 1, 3);
                        int32_t sequence =
                                MAX(next[producer_id] - (int32_t) random_below(&random, 4), 0);
                        unsigned n_records = (unsigned) random_between(&random, 1, 3);
                        struct batch_view v = view(producer_id, 0, sequence, (int32_t) n_records);
                        struct producer_batch a = {}, b = {};
                        uint64_t ticket = 0, none;
                        enum producer_verdict verdict;

                        if (n_applied < n_sent && random_chance(&random, 1, 3)) {
                                commit(p.state,
                                       sent[n_applied].producer_id,
                                       sent[n_applied].sequence,
                                       sent[n_applied].n_records,
                                       sent[n_applied].base_offset);
                                head_applied(&p.head, ++n_applied);
                                continue;
                        }

                        verdict = head_judge(&p.head, PARTITION, &v, &a, &ticket);
                        ASSERT_EQ(verdict, head_judge(&future.head, PARTITION, &v, &b, &none));
                        ASSERT_EQ(head_next_offset(&p.head, PARTITION),
                                  head_next_offset(&future.head, PARTITION));
                        if (verdict == PRODUCER_DUPLICATE) {
                                ASSERT_EQ(a.base_offset, b.base_offset);
                                ASSERT_LE(ticket, n_sent);
                                /* What it rests on is not applied before its ticket is. */
                                for (uint64_t i = n_applied; i < n_sent; i++)
                                        if (sent[i].base_offset == a.base_offset)
                                                ASSERT_GE(ticket, i + 1);
                        }
                        if (verdict != PRODUCER_NEXT)
                                continue;

                        sent[n_sent].producer_id = producer_id;
                        sent[n_sent].sequence = sequence;
                        sent[n_sent].n_records = n_records;
                        sent[n_sent].base_offset = head_next_offset(&p.head, PARTITION);
                        ASSERT_OK(head_add(&p.head,
                                           n_sent + 1,
                                           PARTITION,
                                           &v,
                                           sent[n_sent].base_offset,
                                           1000));
                        commit(future.state,
                               producer_id,
                               sequence,
                               n_records,
                               sent[n_sent].base_offset);
                        next[producer_id] = sequence + (int32_t) n_records;
                        n_sent++;
                }
                ASSERT_GT(n_sent, 20);
                pair_done(&p);
                pair_done(&future);
        }
}
