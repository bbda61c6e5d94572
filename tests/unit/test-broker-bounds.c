/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Bounds that are set by a key of their own: each is reached, what is past it is refused or waits,
 * what was there stays, and a reload with more room lets it in. Budgets, and what broken clients
 * can hold, are in test-broker-limits.c.
 */

#include "drmqd/core/core.h"
#include "proto/message.h"
#include "tests/lib/broker-fixture.h"
#include "tests/lib/test.h"

static enum drmq_error
create(struct broker_client *c, const char *name, uint32_t n_partitions, bool by_metadata) {
        Drmq__Proto__TopicCreateRequest q = DRMQ__PROTO__TOPIC_CREATE_REQUEST__INIT;
        Drmq__Proto__MetadataRequest m = DRMQ__PROTO__METADATA_REQUEST__INIT;
        Drmq__Proto__NewTopic topic = DRMQ__PROTO__NEW_TOPIC__INIT, *topics = &topic;
        _cleanup_(broker_reply_freep) struct broker_reply *r = NULL;
        char *names[] = { (char *) name };
        enum drmq_error error;

        if (by_metadata) {
                Drmq__Proto__MetadataResponse *answer;

                m.create = true;
                m.topic = names;
                m.n_topic = 1;
                broker_client_send(c, FRAME_METADATA, &m, NULL, 0, NULL, 0);
                r = broker_client_wait(c, c->correlation);
                answer = broker_reply_message(
                        r, FRAME_METADATA, &drmq__proto__metadata_response__descriptor);
                ASSERT_EQ(answer->n_topic, 1);
                error = answer->topic[0]->error ? answer->topic[0]->error->code : DRMQ_ERROR_NONE;
                message_free(answer);
        } else {
                Drmq__Proto__TopicCreateResponse *answer;

                topic.name = names[0];
                topic.partitions = n_partitions;
                q.topic = &topics;
                q.n_topic = 1;
                broker_client_send(c, FRAME_TOPIC_CREATE, &q, NULL, 0, NULL, 0);
                r = broker_client_wait(c, c->correlation);
                answer = broker_reply_message(
                        r, FRAME_TOPIC_CREATE, &drmq__proto__topic_create_response__descriptor);
                ASSERT_EQ(answer->n_topic, 1);
                error = answer->topic[0]->error ? answer->topic[0]->error->code : DRMQ_ERROR_NONE;
                message_free(answer);
        }
        return error;
}

static enum drmq_error extend(struct broker_client *c, const char *name, uint32_t n_partitions) {
        Drmq__Proto__TopicAlterRequest q = DRMQ__PROTO__TOPIC_ALTER_REQUEST__INIT;
        _cleanup_(broker_reply_freep) struct broker_reply *r = NULL;

        q.name = (char *) name;
        q.partitions = n_partitions;
        broker_client_send(c, FRAME_TOPIC_ALTER, &q, NULL, 0, NULL, 0);
        r = broker_client_wait(c, c->correlation);
        return broker_reply_error(r);
}

TEST(no_more_partitions_are_made_than_may_be) {
        struct broker_fixture f;
        struct broker_client c;
        uint64_t id;

        broker_fixture_init(&f, 1);
        f.config.partitions_max = 5;
        broker_fixture_start(&f);
        broker_client_connect(&c, &f);
        id = broker_client_topic(&c, "a", 4);
        ASSERT_EQ(create(&c, "b", 2, /* by_metadata= */ false), DRMQ_ERROR_TOO_MANY);
        ASSERT_EQ(extend(&c, "a", 6), DRMQ_ERROR_TOO_MANY);
        ASSERT_EQ(create(&c, "b", 1, /* by_metadata= */ true), DRMQ_ERROR_NONE);
        ASSERT_EQ(create(&c, "c", 1, /* by_metadata= */ true), DRMQ_ERROR_TOO_MANY);
        ASSERT_EQ(create(&c, "c", 1, /* by_metadata= */ false), DRMQ_ERROR_TOO_MANY);

        /* What is there works, what is deleted makes room, and so does a reload. */
        ASSERT_EQ(broker_client_produce(&c, id, 3, 10), 0);
        ASSERT_EQ(broker_client_delete(&c, "b"), DRMQ_ERROR_NONE);
        ASSERT_EQ(extend(&c, "a", 5), DRMQ_ERROR_NONE);
        f.config.partitions_max = 6;
        broker_reconfigure(f.broker, &f.config);
        ASSERT_EQ(create(&c, "c", 1, /* by_metadata= */ false), DRMQ_ERROR_NONE);
        broker_client_end(&c);
        broker_fixture_done(&f);
}

TEST(no_more_positions_are_kept_than_may_be) {
        struct broker_fixture f;
        struct broker_client c;
        uint64_t id, offset;

        broker_fixture_init(&f, 1);
        f.config.positions_max = 2;
        broker_fixture_start(&f);
        broker_client_connect(&c, &f);
        id = broker_client_topic(&c, "a", 1);
        broker_client_produce(&c, id, 3, 10);
        ASSERT_EQ(broker_client_commit(&c, "g1", id, 1), DRMQ_ERROR_NONE);
        ASSERT_EQ(broker_client_commit(&c, "g2", id, 1), DRMQ_ERROR_NONE);
        ASSERT_EQ(broker_client_commit(&c, "g3", id, 1), DRMQ_ERROR_TOO_MANY);
        ASSERT_FALSE(broker_client_position(&c, "g3", id, &offset));

        /* Those that are there move on. */
        ASSERT_EQ(broker_client_commit(&c, "g1", id, 3), DRMQ_ERROR_NONE);
        ASSERT_TRUE(broker_client_position(&c, "g1", id, &offset));
        ASSERT_EQ(offset, 3);
        f.config.positions_max = 3;
        broker_reconfigure(f.broker, &f.config);
        ASSERT_EQ(broker_client_commit(&c, "g3", id, 1), DRMQ_ERROR_NONE);
        broker_client_end(&c);
        broker_fixture_done(&f);
}

TEST(a_batch_that_is_too_large_is_refused_alone) {
        struct broker_fixture f;
        struct broker_client c;
        uint64_t id;

        broker_fixture_init(&f, 1);
        f.config.batch_bytes_max = 4096;
        broker_fixture_start(&f);
        broker_client_connect(&c, &f);
        id = broker_client_topic(&c, "a", 1);
        ASSERT_EQ(broker_client_try(&c, id, broker_batch(-1, -1, -1, 1, 5000), NULL),
                  DRMQ_ERROR_TOO_LARGE);
        ASSERT_EQ(broker_client_try(&c, id, broker_batch(-1, -1, -1, 1, 3000), NULL),
                  DRMQ_ERROR_NONE);
        f.config.batch_bytes_max = 8192;
        broker_reconfigure(f.broker, &f.config);
        ASSERT_EQ(broker_client_try(&c, id, broker_batch(-1, -1, -1, 1, 5000), NULL),
                  DRMQ_ERROR_NONE);
        ASSERT_EQ(broker_client_read(&c, id, 0), 2);
        broker_client_end(&c);
        broker_fixture_done(&f);
}

TEST(a_long_poll_is_answered_after_the_time_that_the_node_allows) {
        struct broker_fixture f;
        struct broker_client c;
        uint64_t id, correlation;

        broker_fixture_init(&f, 1);
        f.config.poll_usec_max = 5 * USEC_PER_SEC;
        broker_fixture_start(&f);
        broker_client_connect(&c, &f);
        id = broker_client_topic(&c, "a", 1);
        correlation = broker_client_send_fetch(&c, id, 0, /* wait_ms= */ UINT32_MAX, 0);
        broker_fixture_run(&f, 4 * USEC_PER_SEC);
        ASSERT_NULL(broker_client_take(&c, correlation));
        broker_fixture_run(&f, 2 * USEC_PER_SEC);
        broker_reply_free(broker_client_wait(&c, correlation));
        broker_client_end(&c);
        broker_fixture_done(&f);
}

TEST(a_connection_has_no_more_requests_under_way_than_it_may) {
        struct broker_fixture f;
        struct broker_client c;
        uint64_t id, first;
        struct conn *conn;

        broker_fixture_init(&f, 1);
        f.config.requests_per_connection = 3;
        broker_fixture_start(&f);
        broker_client_connect(&c, &f);
        id = broker_client_topic(&c, "a", 1);
        first = broker_client_send_fetch(&c, id, 0, 60000, 0);
        for (unsigned i = 0; i < 9; i++)
                broker_client_send_fetch(&c, id, 0, 60000, 0);
        broker_fixture_run(&f, USEC_PER_SEC);
        conn = list_first(&f.broker->conns, struct conn, link);
        ASSERT_EQ(conn->n_requests, 3);
        f.config.requests_per_connection = 20;
        broker_reconfigure(f.broker, &f.config);
        broker_fixture_run(&f, 70 * USEC_PER_SEC);
        for (uint64_t i = first; i < first + 10; i++)
                broker_reply_free(broker_client_wait(&c, i));
        broker_client_end(&c);
        broker_fixture_done(&f);
}
