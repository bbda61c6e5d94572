/* SPDX-License-Identifier: Apache-2.0 */

/* What clients see of retention, and of a disk that is nearly full. How segments are dropped is in
 * test-retention.c. */

#include "drmqd/core/core.h"
#include "proto/message.h"
#include "tests/lib/broker-fixture.h"
#include "tests/lib/test.h"

#define VALUE_BYTES 100000u

static void begin(struct broker_fixture *f, struct broker_client *c, uint64_t seed) {
        broker_fixture_init(f, seed);
        f->config.segment_bytes = SEGMENT_BYTES_MIN;
        f->config.log_max_bytes = 4 * SEGMENT_BYTES_MIN;
        broker_fixture_start(f);
        broker_client_connect(c, f);
}

static void done(struct broker_fixture *f, struct broker_client *c) {
        broker_client_end(c);
        ASSERT_EQ(f->n_fatal, 0);
        ASSERT_EQ(f->n_damaged, 0);
        broker_fixture_done(f);
}

static void produce(struct broker_fixture *f, struct broker_client *c, uint64_t id, unsigned n) {
        for (unsigned i = 0; i < n; i++) {
                (void) broker_client_produce(c, id, 1, VALUE_BYTES);
                broker_fixture_run(f, 50 * USEC_PER_MSEC);
        }
}

static uint64_t first_offset(struct broker_client *c, uint64_t id) {
        enum drmq_error error;

        return broker_client_offset(c, id, DRMQ__PROTO__OFFSET_KIND__OFFSET_BEGINNING, 0, &error);
}

/* Fetches at @offset, which is gone, and holds what is said against @first and @next. */
static void
assert_gone(struct broker_client *c, uint64_t id, uint64_t offset, uint64_t first, uint64_t next) {
        _cleanup_(broker_reply_freep) struct broker_reply *r = broker_client_wait(
                c, broker_client_send_fetch(c, id, offset, /* wait_ms= */ 600000, 0));
        _cleanup_(message_freep) Drmq__Proto__FetchResponse *m =
                broker_reply_message(r, FRAME_FETCH, &drmq__proto__fetch_response__descriptor);

        ASSERT_EQ(m->n_partition, 1);
        ASSERT_NOT_NULL(m->partition[0]->error);
        ASSERT_EQ(m->partition[0]->error->code, DRMQ_ERROR_OFFSET_OUT_OF_RANGE);
        ASSERT_FALSE(m->partition[0]->error->retriable);
        ASSERT_EQ(m->partition[0]->first_offset, first);
        ASSERT_EQ(m->partition[0]->high_watermark, next);
        ASSERT_EQ(r->frame.table.size, 0);
}

TEST(what_is_gone_is_said_and_what_is_there_is_read) {
        struct broker_fixture f;
        struct broker_client c;
        uint64_t id, first;

        begin(&f, &c, 1);
        id = broker_client_topic(&c, "a", 1);
        produce(&f, &c, id, 100);
        first = first_offset(&c, id);
        ASSERT_GT(first, 50);
        ASSERT_LT(first, 80);
        ASSERT_EQ(broker_client_read(&c, id, first), 100 - first);
        assert_gone(&c, id, 0, first, 100);
        assert_gone(&c, id, first - 1, first, 100);

        /* And the same after a start, from a checkpoint or without. */
        broker_fixture_end(&f, /* power_cut= */ true);
        broker_client_end(&c);
        broker_fixture_start(&f);
        broker_client_connect(&c, &f);
        ASSERT_GE(first_offset(&c, id), first);
        first = first_offset(&c, id);
        assert_gone(&c, id, first - 1, first, 100);
        ASSERT_EQ(broker_client_read(&c, id, first), 100 - first);
        done(&f, &c);
}

TEST(places_are_told_among_what_is_there) {
        struct broker_fixture f;
        struct broker_client c;
        enum drmq_error error;
        uint64_t id, first, position;

        begin(&f, &c, 1);
        id = broker_client_topic(&c, "a", 1);
        ASSERT_EQ(broker_client_commit(&c, "g", id, 0), DRMQ_ERROR_NONE);
        produce(&f, &c, id, 100);
        first = first_offset(&c, id);

        ASSERT_EQ(broker_client_offset(&c, id, DRMQ__PROTO__OFFSET_KIND__OFFSET_TIME, 1, &error),
                  first);
        ASSERT_EQ(error, DRMQ_ERROR_NONE);
        ASSERT_EQ(broker_client_offset(&c, id, DRMQ__PROTO__OFFSET_KIND__OFFSET_END, 0, &error),
                  100);

        /* A position stays where it is: who reads from there is told that it is gone. */
        ASSERT_TRUE(broker_client_position(&c, "g", id, &position));
        ASSERT_EQ(position, 0);
        ASSERT_EQ(broker_client_commit(&c, "g", id, 1), DRMQ_ERROR_NONE);
        assert_gone(&c, id, 1, first, 100);
        done(&f, &c);
}

/* It reads on, slower than is sent: no answer ever leaves a gap, and in the end it is told. */
TEST(a_follower_that_falls_behind_is_told) {
        struct broker_fixture f;
        struct broker_client c;
        uint64_t id, at = 0, n = 0;

        begin(&f, &c, 1);
        id = broker_client_topic(&c, "a", 1);
        for (;;) {
                struct broker_reply *r;
                uint64_t first = first_offset(&c, id);

                ASSERT_LT(n, 1000);
                if (at < first) {
                        assert_gone(&c, id, at, first, n);
                        break;
                }
                produce(&f, &c, id, 3);
                n += 3;
                if (at < first_offset(&c, id))
                        continue;
                r = broker_client_wait(&c, broker_client_send_fetch(&c, id, at, 0, 1));
                ASSERT_EQ(broker_reply_count(r, id, at), 1);
                at++;
                broker_reply_free(r);
        }
        ASSERT_GT(at, 5);

        /* A long poll at the end sleeps through all of it, and goes on. */
        {
                uint64_t poll = broker_client_send_fetch(&c, id, n, 600000, 0);
                struct broker_client other;
                struct broker_reply *r;

                broker_client_connect(&other, &f);
                produce(&f, &other, id + 0, 1);
                r = broker_client_wait(&c, poll);
                ASSERT_EQ(broker_reply_count(r, id, n), 1);
                broker_reply_free(r);
                broker_client_end(&other);
        }
        done(&f, &c);
}

/* Partitions that are seldom sent to: their messages go with the segments that they are in. */
TEST(a_partition_of_which_all_is_gone_goes_on) {
        struct broker_fixture f;
        struct broker_client c;
        uint64_t id;

        begin(&f, &c, 1);
        id = broker_client_topic(&c, "a", 2);
        for (unsigned i = 0; i < 7; i++)
                ASSERT_EQ(broker_client_produce(&c, id + 1, 3, 10), 3 * i);
        produce(&f, &c, id, 100);
        ASSERT_EQ(first_offset(&c, id + 1), 21);
        ASSERT_EQ(broker_client_read(&c, id + 1, 21), 0);
        assert_gone(&c, id + 1, 20, 21, 21);
        ASSERT_EQ(broker_client_produce(&c, id + 1, 3, 10), 21);
        ASSERT_EQ(broker_client_read(&c, id + 1, 21), 3);
        done(&f, &c);
}

TEST(a_stop_in_good_order_leaves_nothing_to_be_replayed) {
        for (unsigned n = 20; n < 50; n++) {
                struct broker_summary summary;
                struct broker_fixture f;
                struct broker_client c;
                uint64_t id;

                begin(&f, &c, n);
                id = broker_client_topic(&c, "a", 1);
                for (unsigned i = 0; i < n; i++)
                        (void) broker_client_produce(&c, id, 1, VALUE_BYTES);
                broker_client_end(&c);
                broker_fixture_stop(&f);
                broker_fixture_start(&f);
                broker_summary(f.broker, &summary);
                ASSERT_EQ(summary.n_replayed, 0);
                broker_client_connect(&c, &f);
                done(&f, &c);
        }
}

/* ---- The reserve ---- */

static enum drmq_error
try_one(struct broker_fixture *f, struct broker_client *c, uint64_t id, int32_t sequence) {
        enum drmq_error error =
                broker_client_try(c, id, broker_batch(4711, 0, sequence, 1, VALUE_BYTES), NULL);

        broker_fixture_run(f, 50 * USEC_PER_MSEC);
        return error;
}

static const Drmq__Proto__ShardStatus *data_shard(const Drmq__Proto__StatusResponse *m) {
        ASSERT_EQ(m->n_shard, N_SHARDS);
        return m->shard[SHARD_DATA];
}

TEST(in_the_reserve_all_goes_on_but_messages) {
        struct broker_fixture f;
        struct broker_client c;
        Drmq__Proto__StatusResponse *m;
        uint64_t id, position, n_gone = 0;
        int32_t n = 0;
        char words[200];

        broker_fixture_init(&f, 1);
        f.config.segment_bytes = SEGMENT_BYTES_MIN;
        f.config.reserve_bytes = 4 << 20;
        sim_disk_set_capacity(f.disk, 64 << 20);
        broker_fixture_start(&f);
        broker_client_connect(&c, &f);
        id = broker_client_topic(&c, "a", 1);
        (void) broker_client_topic(&c, "gone", 1);
        while (try_one(&f, &c, id, n) == DRMQ_ERROR_NONE)
                ASSERT_LT(++n, 1000);
        ASSERT_GT(n, 300);
        for (unsigned i = 0; i < 3; i++)
                ASSERT_EQ(try_one(&f, &c, id, n), DRMQ_ERROR_DISK_FULL);

        m = broker_client_status(&c);
        ASSERT_TRUE(data_shard(m)->is_short_of_space);
        ASSERT_FALSE(data_shard(m)->is_writable);
        ASSERT_GT(m->disk_free_bytes, 2 << 20);
        message_free(m);
        ASSERT_FALSE(broker_health(f.broker, words, sizeof(words)));
        ASSERT_NOT_NULL(strstr(words, "takes no messages"));

        ASSERT_EQ(broker_client_read(&c, id, 0), (uint64_t) n);
        for (unsigned i = 0; i < 100; i++)
                ASSERT_EQ(broker_client_commit(&c, "g", id, i), DRMQ_ERROR_NONE);
        ASSERT_TRUE(broker_client_position(&c, "g", id, &position));
        ASSERT_EQ(position, 99);
        ASSERT_EQ(broker_client_delete(&c, "gone"), DRMQ_ERROR_NONE);
        (void) broker_client_topic(&c, "new", 1);

        /* Retention makes room; what is refused all the while is taken as it is, once. */
        f.config.log_max_bytes = 10 << 20;
        broker_reconfigure(f.broker, &f.config);
        for (unsigned i = 0; i < 20 && try_one(&f, &c, id, n) != DRMQ_ERROR_NONE; i++)
                broker_fixture_run(&f, USEC_PER_SEC);
        n_gone = first_offset(&c, id);
        ASSERT_GT(n_gone, 200);
        ASSERT_EQ(try_one(&f, &c, id, n), DRMQ_ERROR_DUPLICATE);
        ASSERT_EQ(broker_client_read(&c, id, n_gone), (uint64_t) n + 1 - n_gone);
        broker_fixture_run(&f, 2 * USEC_PER_SEC); /* the log looks again */
        m = broker_client_status(&c);
        ASSERT_FALSE(data_shard(m)->is_short_of_space);
        ASSERT_TRUE(data_shard(m)->is_writable);
        ASSERT_GT(data_shard(m)->log_start_index, 0);
        message_free(m);
        ASSERT_TRUE(broker_health(f.broker, words, sizeof(words)));
        done(&f, &c);
}
