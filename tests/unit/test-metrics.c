/* SPDX-License-Identifier: Apache-2.0 */

/* Tests drmqd/core/metrics.h and what report.c makes of it: the figures are those of what was
 * done. */

#include "drmqd/core/metrics.h"

#include "drmqd/core/core.h"
#include "proto/message.h"
#include "tests/lib/broker-fixture.h"
#include "tests/lib/test.h"

#define PRODUCED(topic, partition)                                                                 \
        "drmq_messages_produced_total{topic=\"" topic "\",partition=\"" #partition "\"}"
#define CONSUMED(topic, partition)                                                                 \
        "drmq_messages_consumed_total{topic=\"" topic "\",partition=\"" #partition "\"}"
#define NONE UINT64_MAX

static void begin(struct broker_fixture *f, struct broker_client *c) {
        broker_fixture_init(f, 1);
        broker_fixture_start(f);
        broker_client_connect(c, f);
}

static void end(struct broker_fixture *f, struct broker_client *c) {
        broker_client_end(c);
        broker_fixture_done(f);
}

/* The value of a sample; NONE where there is no such series. */
static uint64_t metric(struct broker_fixture *f, const char *series) {
        _cleanup_(mem_freep) char *line = mem_asprintf("\n%s ", series);
        uint64_t v = NONE;
        struct byte_writer w;
        const char *p;

        ASSERT_NOT_NULL(line);
        byte_writer_init(&w, 0);
        ASSERT_OK(broker_report(f->broker, &w));
        byte_writer_u8(&w, 0);
        ASSERT_OK(byte_writer_result(&w));
        p = strstr((const char *) w.data, line);
        if (p)
                v = strtoull(p + strlen(line), NULL, 10);
        byte_writer_done(&w);
        return v;
}

/* Over all series of a family. */
static uint64_t sum(struct broker_fixture *f, const char *family) {
        struct byte_writer w;
        uint64_t v = 0;

        byte_writer_init(&w, 0);
        ASSERT_OK(broker_report(f->broker, &w));
        byte_writer_u8(&w, 0);
        ASSERT_OK(byte_writer_result(&w));
        for (const char *p = (const char *) w.data; p; p = strchr(p, '\n')) {
                p += *p == '\n';
                if (strncmp(p, family, strlen(family)) == 0 &&
                    (p[strlen(family)] == ' ' || p[strlen(family)] == '{'))
                        v += strtoull(strchr(p, ' '), NULL, 10);
        }
        byte_writer_done(&w);
        return v;
}

/* ---- Messages and bytes ---- */

TEST(messages_and_bytes_are_counted_for_their_partition) {
        struct slice batch = broker_batch(-1, -1, -1, 7, 100);
        const uint64_t n_bytes = batch.size;
        struct broker_fixture f;
        struct broker_client c;
        uint64_t id;

        begin(&f, &c);
        id = broker_client_topic(&c, "a", 2);
        ASSERT_EQ(metric(&f, PRODUCED("a", 0)), NONE); /* nothing yet */
        ASSERT_EQ(broker_client_try(&c, id, batch, NULL), DRMQ_ERROR_NONE);
        (void) broker_client_produce(&c, id + 1, 3, 100);
        (void) broker_client_produce(&c, id + 1, 2, 100);
        ASSERT_EQ(metric(&f, PRODUCED("a", 0)), 7);
        ASSERT_EQ(metric(&f, PRODUCED("a", 1)), 5);
        ASSERT_EQ(metric(&f, "drmq_bytes_produced_total{topic=\"a\",partition=\"0\"}"), n_bytes);
        ASSERT_EQ(sum(&f, "drmq_messages_produced_total"), 12);
        ASSERT_EQ(metric(&f, CONSUMED("a", 0)), 0);

        ASSERT_EQ(broker_client_read(&c, id, 0), 7);
        ASSERT_EQ(broker_client_read(&c, id, 0), 7);
        ASSERT_EQ(broker_client_read(&c, id + 1, 0), 5);
        ASSERT_EQ(metric(&f, CONSUMED("a", 0)), 14);
        ASSERT_EQ(metric(&f, CONSUMED("a", 1)), 5);
        ASSERT_EQ(metric(&f, "drmq_bytes_consumed_total{topic=\"a\",partition=\"0\"}"),
                  2 * n_bytes);
        ASSERT_EQ(metric(&f, "drmq_produce_seconds_count"), 3);
        end(&f, &c);
}

TEST(what_is_sent_again_is_counted_once) {
        struct broker_fixture f;
        struct broker_client c;
        uint64_t id;

        begin(&f, &c);
        id = broker_client_topic(&c, "a", 1);
        ASSERT_EQ(broker_client_try(&c, id, broker_batch(5, 0, 0, 4, 10), NULL), DRMQ_ERROR_NONE);
        for (unsigned i = 0; i < 3; i++)
                ASSERT_EQ(broker_client_try(&c, id, broker_batch(5, 0, 0, 4, 10), NULL),
                          DRMQ_ERROR_DUPLICATE);
        ASSERT_EQ(metric(&f, PRODUCED("a", 0)), 4);
        ASSERT_EQ(metric(&f, "drmq_duplicate_batches_total"), 3);
        ASSERT_EQ(sum(&f, "drmq_errors_total"), 0); /* it is no error */

        /* Sent twice before the first is answered. */
        for (unsigned i = 0; i < 2; i++)
                (void) broker_client_send_produce(
                        &c,
                        &(struct broker_produce){ id, broker_batch(5, 0, 4, 2, 10) },
                        1,
                        /* atomic= */ false);
        broker_fixture_run(&f, USEC_PER_SEC);
        ASSERT_EQ(metric(&f, PRODUCED("a", 0)), 6);
        ASSERT_EQ(metric(&f, "drmq_duplicate_batches_total"), 4);
        end(&f, &c);
}

TEST(what_a_client_did_not_wait_for_is_counted) {
        struct broker_fixture f;
        struct broker_client c;
        uint64_t id;

        begin(&f, &c);
        id = broker_client_topic(&c, "a", 1);
        (void) broker_client_send_produce(
                &c,
                &(struct broker_produce){ id, broker_batch(-1, -1, -1, 9, 1000) },
                1,
                /* atomic= */ false);
        while (list_is_empty(&f.broker->shards[SHARD_DATA]->in_flight))
                ASSERT_TRUE(sim_world_step(f.world, sim_world_now(f.world) + USEC_PER_SEC));
        broker_client_end(&c);
        broker_fixture_run(&f, USEC_PER_SEC);
        ASSERT_EQ(metric(&f, PRODUCED("a", 0)), 9);
        broker_fixture_done(&f);
}

TEST(refused_batches_are_not_counted_but_their_errors_are) {
        struct broker_produce two[2];
        struct broker_fixture f;
        struct broker_client c;
        uint64_t id, correlation;

        begin(&f, &c);
        id = broker_client_topic(&c, "a", 1);
        two[0] = (struct broker_produce){ id, broker_batch(-1, -1, -1, 3, 10) };
        two[1] = (struct broker_produce){ 4711, broker_batch(-1, -1, -1, 5, 10) };
        correlation = broker_client_send_produce(&c, two, 2, /* atomic= */ false);
        broker_reply_free(broker_client_wait(&c, correlation));
        ASSERT_EQ(sum(&f, "drmq_messages_produced_total"), 3);
        ASSERT_EQ(metric(&f, "drmq_errors_total{code=\"UNKNOWN_PARTITION\"}"), 1);

        ASSERT_EQ(broker_client_try(&c, id, broker_batch(5, 0, 9, 1, 10), NULL), DRMQ_ERROR_NONE);
        ASSERT_EQ(broker_client_try(&c, id, broker_batch(5, 0, 20, 1, 10), NULL),
                  DRMQ_ERROR_OUT_OF_SEQUENCE);
        ASSERT_EQ(metric(&f, "drmq_errors_total{code=\"OUT_OF_SEQUENCE\"}"), 1);

        /* of fetches, of whole requests, and of requests that it does not know */
        broker_reply_free(broker_client_wait(&c, broker_client_send_fetch(&c, id, 99, 0, 1000)));
        ASSERT_EQ(metric(&f, "drmq_errors_total{code=\"OFFSET_OUT_OF_RANGE\"}"), 1);
        broker_reply_free(broker_client_wait(
                &c, broker_client_send(&c, FRAME_PRODUCE, NULL, NULL, 0, NULL, 0)));
        ASSERT_EQ(metric(&f, "drmq_errors_total{code=\"MALFORMED\"}"), 1);
        broker_reply_free(
                broker_client_wait(&c, broker_client_send(&c, 999, NULL, NULL, 0, NULL, 0)));
        ASSERT_EQ(metric(&f, "drmq_errors_total{code=\"UNKNOWN_TYPE\"}"), 1);
        ASSERT_EQ(metric(&f, "drmq_requests_total{type=\"unknown\"}"), 1);
        ASSERT_EQ(broker_client_delete(&c, "nobody"), DRMQ_ERROR_UNKNOWN_TOPIC);
        ASSERT_EQ(metric(&f, "drmq_errors_total{code=\"UNKNOWN_TOPIC\"}"), 1);
        ASSERT_EQ(sum(&f, "drmq_errors_total"), 6);
        end(&f, &c);
}

/* ---- Bounded labels ---- */

TEST(partitions_past_the_limit_share_a_series) {
        struct broker_fixture f;
        struct broker_client c;
        uint64_t id;

        broker_fixture_init(&f, 1);
        f.config.metrics_partitions = 2;
        broker_fixture_start(&f);
        broker_client_connect(&c, &f);
        id = broker_client_topic(&c, "a", 4);
        for (unsigned i = 0; i < 4; i++)
                (void) broker_client_produce(&c, id + i, i + 1, 10);
        (void) broker_client_produce(&c, id, 1, 10);
        (void) broker_client_produce(&c, id + 3, 1, 10);
        ASSERT_EQ(metric(&f, PRODUCED("a", 0)), 2);
        ASSERT_EQ(metric(&f, PRODUCED("a", 1)), 2);
        ASSERT_EQ(metric(&f, PRODUCED("a", 2)), NONE);
        ASSERT_EQ(metric(&f, PRODUCED("a", 3)), NONE);
        ASSERT_EQ(metric(&f, "drmq_messages_produced_total"), 3 + 4 + 1);
        ASSERT_EQ(sum(&f, "drmq_messages_produced_total"), 12);
        end(&f, &c);

        broker_fixture_init(&f, 1);
        f.config.metrics_partitions = 0;
        broker_fixture_start(&f);
        broker_client_connect(&c, &f);
        id = broker_client_topic(&c, "a", 1);
        (void) broker_client_produce(&c, id, 5, 10);
        ASSERT_EQ(metric(&f, PRODUCED("a", 0)), NONE);
        ASSERT_EQ(metric(&f, "drmq_messages_produced_total"), 5);
        end(&f, &c);
}

TEST(a_deleted_topic_stays_in_the_sum_and_gives_its_place_away) {
        struct broker_fixture f;
        struct broker_client c;
        uint64_t id, other;

        broker_fixture_init(&f, 1);
        f.config.metrics_partitions = 1;
        broker_fixture_start(&f);
        broker_client_connect(&c, &f);
        id = broker_client_topic(&c, "a", 1);
        other = broker_client_topic(&c, "b", 1);
        (void) broker_client_produce(&c, id, 5, 10);
        (void) broker_client_produce(&c, other, 3, 10);
        ASSERT_EQ(broker_client_read(&c, id, 0), 5);
        ASSERT_EQ(metric(&f, "drmq_messages_produced_total{deleted=\"yes\"}"), 0);

        /* Nobody asks for a report in between. What it has from now on is its own; what it had
         * stays where it was. */
        ASSERT_EQ(broker_client_delete(&c, "a"), DRMQ_ERROR_NONE);
        (void) broker_client_produce(&c, other, 2, 10);
        ASSERT_EQ(metric(&f, PRODUCED("a", 0)), NONE);
        ASSERT_EQ(metric(&f, "drmq_messages_produced_total{deleted=\"yes\"}"), 5);
        ASSERT_EQ(metric(&f, "drmq_messages_consumed_total{deleted=\"yes\"}"), 5);
        ASSERT_EQ(metric(&f, PRODUCED("b", 0)), 2);
        ASSERT_EQ(metric(&f, "drmq_messages_produced_total"), 3);
        ASSERT_EQ(sum(&f, "drmq_messages_produced_total"), 10);
        end(&f, &c);
}

/* What was under way when the topic was deleted is counted behind it. */
TEST(what_comes_after_a_deletion_is_in_the_sum_and_takes_no_place) {
        const struct traffic late = { .n_produced = 7 };
        struct broker_fixture f;
        struct broker_client c;
        uint64_t id, other;

        broker_fixture_init(&f, 1);
        f.config.metrics_partitions = 1;
        broker_fixture_start(&f);
        broker_client_connect(&c, &f);
        id = broker_client_topic(&c, "a", 1);
        other = broker_client_topic(&c, "b", 1);
        (void) broker_client_produce(&c, id, 5, 10);
        ASSERT_EQ(broker_client_delete(&c, "a"), DRMQ_ERROR_NONE);
        metrics_add(&f.broker->metrics, id, &late);
        ASSERT_EQ(sum(&f, "drmq_messages_produced_total"), 12);
        ASSERT_EQ(metric(&f, "drmq_messages_produced_total{deleted=\"yes\"}"), 12);
        (void) broker_client_produce(&c, other, 2, 10);
        ASSERT_EQ(metric(&f, PRODUCED("b", 0)), 2);
        end(&f, &c);
}

TEST(a_topic_that_is_made_again_begins_anew) {
        struct broker_fixture f;
        struct broker_client c;
        uint64_t id;

        begin(&f, &c);
        id = broker_client_topic(&c, "a", 1);
        (void) broker_client_produce(&c, id, 5, 10);
        ASSERT_EQ(broker_client_delete(&c, "a"), DRMQ_ERROR_NONE);
        id = broker_client_topic(&c, "a", 1);
        (void) broker_client_produce(&c, id, 2, 10);
        ASSERT_EQ(metric(&f, PRODUCED("a", 0)), 2);
        ASSERT_EQ(sum(&f, "drmq_messages_produced_total"), 7);
        end(&f, &c);
}

/* Nothing is lost, and no series of a partition that is gone is left, whatever comes when. */
TEST(counting_alone) {
        struct metrics m;
        struct traffic t = { 1, 10, 2, 20 };

        metrics_init(&m, 2);
        for (uint64_t id = 1; id <= 3; id++)
                metrics_add(&m, id, &t);
        ASSERT_EQ(m.partitions.n_nodes, 2);
        ASSERT_EQ(m.rest.n_produced, 1);
        metrics_forget(&m, 3); /* had none */
        metrics_forget(&m, 1);
        metrics_forget(&m, 1);
        ASSERT_EQ(m.deleted.n_produced, 1);
        ASSERT_EQ(m.deleted.produced_bytes, 10);
        ASSERT_EQ(m.deleted.n_consumed, 2);
        ASSERT_EQ(m.deleted.consumed_bytes, 20);
        metrics_add(&m, 3, &t);
        ASSERT_EQ(m.partitions.n_nodes, 2);

        metrics_count_error(&m, DRMQ_ERROR_NONE);
        metrics_count_error(&m, DRMQ_ERROR_DUPLICATE);
        metrics_count_error(&m, _DRMQ_ERROR_MAX);
        for (size_t i = 0; i < _DRMQ_ERROR_MAX; i++)
                ASSERT_EQ(m.n_errors[i], 0);
        metrics_done(&m);
        metrics_done(NULL);
}

TEST(without_memory_for_a_series_the_rest_counts_it) {
        struct metrics m;
        struct traffic t = { .n_produced = 1 };

        metrics_init(&m, 2);
        (void) mem_fail_at(1);
        metrics_add(&m, 1, &t);
        ASSERT_TRUE(mem_fail_at(0));
        ASSERT_EQ(m.rest.n_produced, 1);
        metrics_done(&m);
}

/* ---- Time ---- */

TEST(the_wait_of_a_long_poll_is_not_its_time) {
        struct broker_fixture f;
        struct broker_client c, other;
        uint64_t id, correlation;

        begin(&f, &c);
        broker_client_connect(&other, &f);
        id = broker_client_topic(&c, "a", 1);
        correlation = broker_client_send_fetch(&c, id, 0, /* wait_ms= */ 60000, 1000000);
        broker_fixture_run(&f, 5 * USEC_PER_SEC);
        ASSERT_GT(metric(&f, "drmq_polls_used_bytes"), 0);
        (void) broker_client_produce(&other, id, 1, 10);
        broker_reply_free(broker_client_wait(&c, correlation));
        ASSERT_EQ(metric(&f, "drmq_fetch_seconds_count"), 1);
        ASSERT_LT(f.broker->metrics.fetch_usec.sum_usec, USEC_PER_SEC);

        /* one that ends with nothing neither */
        correlation = broker_client_send_fetch(&c, id, 1, /* wait_ms= */ 5000, 1000000);
        broker_reply_free(broker_client_wait(&c, correlation));
        ASSERT_EQ(metric(&f, "drmq_fetch_seconds_count"), 2);
        ASSERT_LT(f.broker->metrics.fetch_usec.sum_usec, USEC_PER_SEC);
        broker_client_end(&other);
        end(&f, &c);
}

TEST(syncs_and_checkpoints_are_timed) {
        struct broker_fixture f;
        struct broker_client c;
        uint64_t id, n_syncs;

        broker_fixture_init(&f, 1);
        f.config.checkpoint_bytes = 16384;
        broker_fixture_start(&f);
        broker_client_connect(&c, &f);
        id = broker_client_topic(&c, "a", 1);
        for (unsigned i = 0; i < 20; i++)
                (void) broker_client_produce(&c, id, 1, 5000);
        broker_fixture_run(&f, USEC_PER_SEC);
        n_syncs = metric(&f, "drmq_log_syncs_total{shard=\"1\"}");
        ASSERT_GE(n_syncs, 20);
        ASSERT_EQ(metric(&f, "drmq_fsync_seconds_count{shard=\"1\"}"), n_syncs);
        ASSERT_GT(f.broker->shards[SHARD_DATA]->checkpoint_index, 0);
        ASSERT_GE(metric(&f, "drmq_checkpoint_seconds_count{shard=\"1\"}"), 1);
        ASSERT_EQ(metric(&f, "drmq_checkpoint_failures_total{shard=\"1\"}"), 0);
        end(&f, &c);
}

/* ---- The node ---- */

TEST(the_report_is_of_the_state_at_hand) {
        struct broker_fixture f;
        struct broker_client c;
        uint64_t id;

        begin(&f, &c);
        id = broker_client_topic(&c, "a", 3);
        (void) broker_client_produce(&c, id, 1, 10);
        ASSERT_EQ(broker_client_commit(&c, "g", id, 1), DRMQ_ERROR_NONE);
        ASSERT_EQ(broker_client_try(&c, id, broker_batch(5, 0, 0, 4, 10), NULL), DRMQ_ERROR_NONE);
        ASSERT_EQ(metric(&f, "drmq_topics"), 1);
        ASSERT_EQ(metric(&f, "drmq_partitions"), 3);
        ASSERT_EQ(metric(&f, "drmq_producers{shard=\"1\"}"), 1);
        ASSERT_EQ(metric(&f, "drmq_positions{shard=\"1\"}"), 1);
        ASSERT_EQ(metric(&f, "drmq_raft_state{shard=\"1\",state=\"leader\"}"), 1);
        ASSERT_EQ(metric(&f, "drmq_raft_state{shard=\"1\",state=\"follower\"}"), 0);
        ASSERT_EQ(metric(&f, "drmq_raft_leader{shard=\"0\"}"), 1);
        ASSERT_EQ(metric(&f, "drmq_raft_term{shard=\"1\"}"),
                  raft_term(f.broker->shards[SHARD_DATA]->raft));
        ASSERT_EQ(metric(&f, "drmq_raft_applied_index{shard=\"1\"}"),
                  f.broker->shards[SHARD_DATA]->state->index);
        ASSERT_GT(metric(&f, "drmq_log_size_bytes{shard=\"1\"}"), 0);
        ASSERT_EQ(metric(&f, "drmq_healthy"), 1);
        ASSERT_EQ(metric(&f, "drmq_requests_total{type=\"produce\"}"), 2);
        ASSERT_EQ(metric(&f, "drmq_requests_limit_bytes"), f.config.request_budget_bytes);
        ASSERT_EQ(metric(&f, "drmq_process_resident_memory_bytes"), 4096);
        ASSERT_EQ(metric(&f, "drmq_process_open_files"), 7);
        ASSERT_EQ(metric(&f, "drmq_build_info{version=\"0\"}"), 1);
        end(&f, &c);
}

TEST(connections_are_counted_with_the_cause_of_their_end) {
        struct broker_fixture f;
        struct broker_client c, other;

        begin(&f, &c);
        ASSERT_EQ(metric(&f, "drmq_connections"), 1);
        broker_client_dial(&other, &f);
        broker_client_bytes(&other, "garbage garbage", 15);
        ASSERT_TRUE(broker_client_wait_end(&other, USEC_PER_SEC));
        broker_client_end(&other);
        ASSERT_EQ(metric(&f, "drmq_connections_ended_total{cause=\"protocol\"}"), 1);

        broker_client_dial(&other, &f);
        broker_client_bytes(&other, "DR", 2);
        ASSERT_TRUE(broker_client_wait_end(&other, f.config.idle_usec + USEC_PER_SEC));
        broker_client_end(&other);
        ASSERT_EQ(metric(&f, "drmq_connections_ended_total{cause=\"idle\"}"), 1);

        broker_client_connect(&other, &f);
        ASSERT_EQ(metric(&f, "drmq_connections"), 2);
        broker_client_end(&other);
        broker_fixture_run(&f, USEC_PER_SEC);
        ASSERT_EQ(metric(&f, "drmq_connections_ended_total{cause=\"peer\"}"), 1);
        ASSERT_EQ(metric(&f, "drmq_connections"), 1);
        ASSERT_EQ(metric(&f, "drmq_connections_accepted_total"), 4);
        ASSERT_EQ(sum(&f, "drmq_connections_ended_total"), 3);
        end(&f, &c);
}

TEST(who_is_refused_is_counted) {
        struct broker_fixture f;
        struct broker_client c, other;

        broker_fixture_init(&f, 1);
        f.config.connections_max = 1;
        broker_fixture_start(&f);
        broker_client_connect(&c, &f);
        broker_client_dial(&other, &f);
        ASSERT_TRUE(broker_client_wait_end(&other, USEC_PER_SEC));
        broker_client_end(&other);
        ASSERT_EQ(metric(&f, "drmq_connections_refused_total"), 1);
        ASSERT_EQ(metric(&f, "drmq_connections_limit"), 1);
        end(&f, &c);
}

/* The frame METRICS gives the same text. */
TEST(a_client_gets_the_report_by_frame) {
        const Drmq__Proto__MetricsRequest request = DRMQ__PROTO__METRICS_REQUEST__INIT;
        _cleanup_(message_freep) Drmq__Proto__MetricsResponse *answer = NULL;
        _cleanup_(broker_reply_freep) struct broker_reply *r = NULL;
        struct broker_fixture f;
        struct broker_client c;

        begin(&f, &c);
        r = broker_client_wait(&c,
                               broker_client_send(&c, FRAME_METRICS, &request, NULL, 0, NULL, 0));
        answer = broker_reply_message(r, FRAME_METRICS, &drmq__proto__metrics_response__descriptor);
        ASSERT_EQ(strncmp(answer->text, "# HELP drmq_", 12), 0);
        ASSERT_NOT_NULL(strstr(answer->text, "\ndrmq_requests_total{type=\"metrics\"} 1\n"));
        end(&f, &c);
}
