/* SPDX-License-Identifier: Apache-2.0 */

/* The broker as its clients see it: every request, through frames that arrive in any pieces; starts
 * and stops. What misbehaving clients and disks do to it is in test-broker-limits.c. */

#include "base/crc32c.h"
#include "drmqd/core/core.h"
#include "proto/message.h"
#include "tests/lib/broker-fixture.h"
#include "tests/lib/test.h"

static void begin(struct broker_fixture *f, struct broker_client *c, uint64_t seed) {
        broker_fixture_init(f, seed);
        broker_fixture_start(f);
        broker_client_connect(c, f);
}

static void done(struct broker_fixture *f, struct broker_client *c) {
        broker_client_end(c);
        broker_fixture_done(f);
}

/* Kills the broker, or stops it in good order; starts it, and connects again. */
static void again(struct broker_fixture *f, struct broker_client *c, bool is_stopped) {
        if (is_stopped)
                broker_fixture_stop(f);
        else
                broker_fixture_end(f, /* power_cut= */ true);
        broker_client_end(c);
        broker_fixture_start(f);
        broker_client_connect(c, f);
}

static enum drmq_error
result(struct broker_client *c, uint64_t correlation, size_t i, uint64_t *ret_offset) {
        _cleanup_(broker_reply_freep) struct broker_reply *r = broker_client_wait(c, correlation);

        if (r->frame.type == FRAME_ERROR)
                return broker_reply_error(r);
        if (ret_offset)
                *ret_offset = le64_get(broker_reply_result(r, i)->base_offset);
        return (enum drmq_error) le32_get(broker_reply_result(r, i)->error);
}

/* ---- Topics ---- */

static Drmq__Proto__MetadataResponse *
metadata(struct broker_client *c, const char *const *names, size_t n, bool all, bool create) {
        Drmq__Proto__MetadataRequest q = DRMQ__PROTO__METADATA_REQUEST__INIT;
        _cleanup_(broker_reply_freep) struct broker_reply *r = NULL;

        q.topic = (char **) names;
        q.n_topic = n;
        q.all = all;
        q.create = create;
        r = broker_client_wait(c, broker_client_send(c, FRAME_METADATA, &q, NULL, 0, NULL, 0));
        return broker_reply_message(r, FRAME_METADATA, &drmq__proto__metadata_response__descriptor);
}

static uint64_t send_create(struct broker_client *c,
                            const char *const *names,
                            size_t n,
                            uint32_t n_partitions,
                            bool if_missing) {
        Drmq__Proto__TopicCreateRequest q = DRMQ__PROTO__TOPIC_CREATE_REQUEST__INIT;
        Drmq__Proto__NewTopic topics[4], *pointers[4];

        ASSERT_LE(n, ELEMENTSOF(topics));
        for (size_t i = 0; i < n; i++) {
                drmq__proto__new_topic__init(topics + i);
                topics[i].name = (char *) names[i];
                topics[i].partitions = n_partitions;
                topics[i].if_missing = if_missing;
                pointers[i] = topics + i;
        }
        q.topic = pointers;
        q.n_topic = n;
        return broker_client_send(c, FRAME_TOPIC_CREATE, &q, NULL, 0, NULL, 0);
}

/* Return: the error of the request, or of its topic @i. */
static enum drmq_error created(struct broker_client *c, uint64_t correlation, size_t i) {
        _cleanup_(broker_reply_freep) struct broker_reply *r = broker_client_wait(c, correlation);
        _cleanup_(message_freep) Drmq__Proto__TopicCreateResponse *m = NULL;

        if (r->frame.type == FRAME_ERROR)
                return broker_reply_error(r);
        m = broker_reply_message(
                r, FRAME_TOPIC_CREATE, &drmq__proto__topic_create_response__descriptor);
        ASSERT_LT(i, m->n_topic);
        return m->topic[i]->error ? (enum drmq_error) m->topic[i]->error->code : DRMQ_ERROR_NONE;
}

static enum drmq_error
create(struct broker_client *c, const char *name, uint32_t n_partitions, bool if_missing) {
        return created(c, send_create(c, &name, 1, n_partitions, if_missing), 0);
}

static enum drmq_error alter(struct broker_client *c, const char *name, uint32_t n_partitions) {
        Drmq__Proto__TopicAlterRequest q = DRMQ__PROTO__TOPIC_ALTER_REQUEST__INIT;
        _cleanup_(broker_reply_freep) struct broker_reply *r = NULL;

        q.name = (char *) name;
        q.partitions = n_partitions;
        r = broker_client_wait(c, broker_client_send(c, FRAME_TOPIC_ALTER, &q, NULL, 0, NULL, 0));
        return broker_reply_error(r);
}

TEST(metadata_names_the_node_and_what_is_asked_for) {
        static const char *const names[] = { "b", "missing", "bad name", "a" };
        Drmq__Proto__MetadataResponse *m;
        struct broker_fixture f;
        struct broker_client c;

        begin(&f, &c, 1);
        (void) broker_client_topic(&c, "b", 2);
        (void) broker_client_topic(&c, "a", 1);

        m = metadata(&c, NULL, 0, /* all= */ false, /* create= */ false);
        ASSERT_EQ(m->n_topic, 0);
        ASSERT_EQ(m->node_id, 1);
        ASSERT_EQ(m->cluster_id.len, 16);
        ASSERT_EQ(m->n_node, 1);
        ASSERT_STREQ(m->node[0]->address, f.config.advertise);
        message_free(m);

        m = metadata(&c, NULL, 0, /* all= */ true, /* create= */ false);
        ASSERT_EQ(m->n_topic, 2);
        ASSERT_STREQ(m->topic[0]->name, "a");
        ASSERT_STREQ(m->topic[1]->name, "b");
        ASSERT_GT(m->topic[0]->created_ms, 0);
        message_free(m);

        m = metadata(&c, names, ELEMENTSOF(names), /* all= */ false, /* create= */ false);
        ASSERT_EQ(m->n_topic, ELEMENTSOF(names));
        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                ASSERT_STREQ(m->topic[i]->name, names[i]);
        ASSERT_EQ(m->topic[0]->n_partition, 2);
        ASSERT_EQ(m->topic[0]->partition[1]->number, 1);
        ASSERT_EQ(m->topic[0]->partition[1]->shard, 1);
        ASSERT_EQ(m->topic[0]->partition[1]->leader_node_id, 1);
        ASSERT_EQ(m->topic[1]->error->code, DRMQ_ERROR_UNKNOWN_TOPIC);
        ASSERT_EQ(m->topic[2]->error->code, DRMQ_ERROR_INVALID_NAME);
        ASSERT_NULL(m->topic[3]->error);
        message_free(m);
        done(&f, &c);
}

TEST(metadata_makes_what_is_missing_where_it_may) {
        static const char *const names[] = { "new", "bad/name", "other" };
        static const char *const twice[] = { "third", "third" };
        Drmq__Proto__MetadataResponse *m;
        struct broker_fixture f;
        struct broker_client c;
        struct broker_reply *r;
        Drmq__Proto__MetadataRequest q = DRMQ__PROTO__METADATA_REQUEST__INIT;

        broker_fixture_init(&f, 1);
        f.config.default_partitions = 3;
        f.config.auto_create = false;
        broker_fixture_start(&f);
        broker_client_connect(&c, &f);
        m = metadata(&c, names, ELEMENTSOF(names), /* all= */ false, /* create= */ true);
        ASSERT_EQ(m->topic[0]->error->code, DRMQ_ERROR_UNKNOWN_TOPIC);
        message_free(m);

        f.config.auto_create = true;
        again(&f, &c, /* is_stopped= */ true);
        m = metadata(&c, names, ELEMENTSOF(names), /* all= */ false, /* create= */ true);
        ASSERT_NULL(m->topic[0]->error);
        ASSERT_EQ(m->topic[0]->n_partition, 3);
        ASSERT_EQ(m->topic[1]->error->code, DRMQ_ERROR_INVALID_NAME);
        ASSERT_EQ(m->topic[2]->n_partition, 3);
        message_free(m);

        q.topic = (char **) twice;
        q.n_topic = 2;
        q.create = true;
        r = broker_client_wait(&c, broker_client_send(&c, FRAME_METADATA, &q, NULL, 0, NULL, 0));
        ASSERT_EQ(broker_reply_error(r), DRMQ_ERROR_INVALID_ARGUMENT);
        broker_reply_free(r);
        done(&f, &c);
}

TEST(two_that_make_one_topic_at_once_both_find_it_made) {
        Drmq__Proto__MetadataRequest q = DRMQ__PROTO__METADATA_REQUEST__INIT;
        struct broker_client clients[8];
        struct broker_fixture f;
        char *name = (char *) "a";
        uint64_t id = 0;

        broker_fixture_init(&f, 1);
        broker_fixture_start(&f);
        for (size_t i = 0; i < ELEMENTSOF(clients); i++)
                broker_client_connect(&clients[i], &f);
        q.topic = &name;
        q.n_topic = 1;
        q.create = true;
        for (size_t i = 0; i < ELEMENTSOF(clients); i++)
                broker_client_send(&clients[i], FRAME_METADATA, &q, NULL, 0, NULL, 0);
        for (size_t i = 0; i < ELEMENTSOF(clients); i++) {
                struct broker_reply *r = broker_client_wait(&clients[i], clients[i].correlation);
                Drmq__Proto__MetadataResponse *m = broker_reply_message(
                        r, FRAME_METADATA, &drmq__proto__metadata_response__descriptor);

                ASSERT_NULL(m->topic[0]->error);
                ASSERT_EQ(m->topic[0]->n_partition, 1);
                id = id ?: m->topic[0]->partition[0]->id;
                ASSERT_EQ(m->topic[0]->partition[0]->id, id);
                message_free(m);
                broker_reply_free(r);
                broker_client_end(&clients[i]);
        }
        broker_fixture_done(&f);
}

TEST(topics_are_created_once) {
        static const char *const mixed[] = { "a", "b", "no good", "c" }, *const twice[] = { "x",
                                                                                            "x" };
        static const enum drmq_error errors[] = {
                DRMQ_ERROR_TOPIC_EXISTS,
                DRMQ_ERROR_NONE,
                DRMQ_ERROR_INVALID_NAME,
                DRMQ_ERROR_NONE,
        };
        struct broker_fixture f;
        struct broker_client c;
        struct broker_summary summary;

        begin(&f, &c, 1);
        ASSERT_EQ(create(&c, "a", 0, false), DRMQ_ERROR_NONE); /* 0: the node's default */
        ASSERT_EQ(create(&c, "a", 1, false), DRMQ_ERROR_TOPIC_EXISTS);
        ASSERT_EQ(create(&c, "a", 1, true), DRMQ_ERROR_NONE);
        ASSERT_EQ(create(&c, "", 1, false), DRMQ_ERROR_INVALID_NAME);
        ASSERT_EQ(create(&c, "..", 1, false), DRMQ_ERROR_INVALID_NAME);
        ASSERT_EQ(create(&c, "many", 10000, false), DRMQ_ERROR_NONE);
        ASSERT_EQ(create(&c, "more", 10001, false), DRMQ_ERROR_INVALID_ARGUMENT);
        ASSERT_EQ(created(&c, send_create(&c, twice, 2, 1, false), 0), DRMQ_ERROR_INVALID_ARGUMENT);
        ASSERT_EQ(created(&c, send_create(&c, NULL, 0, 1, false), 0), DRMQ_ERROR_TOO_LARGE);

        /* Each by itself: one that is refused does not keep back the others. */
        for (size_t i = 0; i < ELEMENTSOF(mixed); i++) {
                ASSERT_EQ(created(&c, send_create(&c, mixed, ELEMENTSOF(mixed), 2, false), i),
                          i == 0 ? errors[i] : errors[i] ?: DRMQ_ERROR_NONE);
                (void) broker_client_delete(&c, "b");
                (void) broker_client_delete(&c, "c");
        }
        broker_summary(f.broker, &summary);
        ASSERT_EQ(summary.n_topics, 2);
        done(&f, &c);
}

TEST(many_topics_are_one_entry) {
        enum { N = 5000 };
        Drmq__Proto__TopicCreateRequest q = DRMQ__PROTO__TOPIC_CREATE_REQUEST__INIT;
        static Drmq__Proto__NewTopic topics[N], *pointers[N];
        static char names[N][16];
        Drmq__Proto__MetadataResponse *m;
        struct broker_fixture f;
        struct broker_client c;
        uint64_t before;

        begin(&f, &c, 1);
        before = f.broker->shards[SHARD_METADATA]->state->index;
        for (size_t i = 0; i < N; i++) {
                drmq__proto__new_topic__init(topics + i);
                (void) snprintf(names[i], sizeof(names[i]), "topic-%04zu", i);
                topics[i].name = names[i];
                pointers[i] = topics + i;
        }
        q.topic = pointers;
        q.n_topic = N;
        ASSERT_EQ(created(&c,
                          broker_client_send(&c, FRAME_TOPIC_CREATE, &q, NULL, 0, NULL, 0),
                          N - 1),
                  DRMQ_ERROR_NONE);
        ASSERT_EQ(f.broker->shards[SHARD_METADATA]->state->index, before + 1);

        m = metadata(&c, NULL, 0, /* all= */ true, /* create= */ false);
        ASSERT_EQ(m->n_topic, N);
        for (size_t i = 0; i < N; i++)
                ASSERT_EQ(m->topic[i]->partition[0]->id, 1 + i);
        message_free(m);
        done(&f, &c);
}

TEST(the_number_of_partitions_only_grows) {
        struct broker_fixture f;
        struct broker_client c;
        Drmq__Proto__MetadataResponse *m;
        const char *name = "a";
        uint64_t id;

        begin(&f, &c, 1);
        id = broker_client_topic(&c, "a", 2);
        (void) broker_client_topic(&c, "b", 1);
        ASSERT_EQ(alter(&c, "a", 4), DRMQ_ERROR_NONE);
        ASSERT_EQ(alter(&c, "a", 4), DRMQ_ERROR_NONE);
        ASSERT_EQ(alter(&c, "a", 3), DRMQ_ERROR_INVALID_ARGUMENT);
        ASSERT_EQ(alter(&c, "a", 0), DRMQ_ERROR_INVALID_ARGUMENT);
        ASSERT_EQ(alter(&c, "a", 10001), DRMQ_ERROR_INVALID_ARGUMENT);
        ASSERT_EQ(alter(&c, "z", 3), DRMQ_ERROR_UNKNOWN_TOPIC);

        again(&f, &c, /* is_stopped= */ false);
        m = metadata(&c, &name, 1, /* all= */ false, /* create= */ false);
        ASSERT_EQ(m->topic[0]->n_partition, 4);
        ASSERT_EQ(m->topic[0]->partition[1]->id, id + 1);
        ASSERT_EQ(m->topic[0]->partition[2]->id, id + 3);
        ASSERT_EQ(broker_client_produce(&c, m->topic[0]->partition[3]->id, 1, 10), 0);
        message_free(m);
        done(&f, &c);
}

TEST(a_deleted_topic_is_gone_and_its_name_is_free) {
        for (unsigned how = 0; how < 3; how++) {
                struct broker_fixture f;
                struct broker_client c;
                uint64_t id, second, position;
                enum drmq_error e;

                begin(&f, &c, 1);
                id = broker_client_topic(&c, "a", 1);
                (void) broker_client_produce(&c, id, 10, 10);
                ASSERT_EQ(broker_client_commit(&c, "g", id, 5), DRMQ_ERROR_NONE);
                ASSERT_EQ(broker_client_delete(&c, "a"), DRMQ_ERROR_NONE);
                ASSERT_EQ(broker_client_delete(&c, "a"), DRMQ_ERROR_UNKNOWN_TOPIC);
                if (how > 0)
                        again(&f, &c, /* is_stopped= */ how == 1);
                ASSERT_EQ(broker_client_try(&c, id, broker_batch(-1, -1, -1, 1, 10), NULL),
                          DRMQ_ERROR_UNKNOWN_PARTITION);
                ASSERT_EQ(broker_client_commit(&c, "g", id, 1), DRMQ_ERROR_UNKNOWN_PARTITION);
                ASSERT_EQ(broker_client_offset(&c, id, DRMQ__PROTO__OFFSET_KIND__OFFSET_END, 0, &e),
                          UINT64_MAX);
                ASSERT_EQ(e, DRMQ_ERROR_UNKNOWN_PARTITION);

                second = broker_client_topic(&c, "a", 1);
                ASSERT_GT(second, id);
                ASSERT_EQ(broker_client_read(&c, second, 0), 0);
                ASSERT_EQ(broker_client_produce(&c, second, 1, 10), 0);
                ASSERT_FALSE(broker_client_position(&c, "g", second, &position));
                broker_fixture_run(&f, USEC_PER_SEC);
                ASSERT_NULL(state_partition(f.broker->shards[SHARD_DATA]->state, id));
                done(&f, &c);
        }
}

TEST(a_long_poll_of_a_topic_that_is_deleted_is_told_so) {
        struct broker_fixture f;
        struct broker_client c, other;
        Drmq__Proto__FetchResponse *m;
        struct broker_reply *r;
        uint64_t id, kept, waiting;

        begin(&f, &c, 1);
        broker_client_connect(&other, &f);
        id = broker_client_topic(&c, "a", 1);
        kept = broker_client_topic(&c, "b", 1);
        broker_client_send_fetch(&c, id, 0, 600000, 0);
        waiting = broker_client_send_fetch(&other, kept, 0, 600000, 0);
        broker_fixture_run(&f, USEC_PER_SEC);
        ASSERT_EQ(broker_client_delete(&other, "a"), DRMQ_ERROR_NONE);
        r = broker_client_wait(&c, 3 + 2);
        m = broker_reply_message(r, FRAME_FETCH, &drmq__proto__fetch_response__descriptor);
        ASSERT_EQ(m->n_partition, 1);
        ASSERT_EQ(m->partition[0]->error->code, DRMQ_ERROR_UNKNOWN_PARTITION);
        message_free(m);
        broker_reply_free(r);

        broker_fixture_run(&f, USEC_PER_SEC);
        ASSERT_NULL(broker_client_take(&other, waiting));
        (void) broker_client_produce(&c, kept, 2, 10);
        r = broker_client_wait(&other, waiting);
        ASSERT_EQ(broker_reply_count(r, kept, 0), 2);
        broker_reply_free(r);
        broker_client_end(&other);
        done(&f, &c);
}

/* A delete is two entries, on two shards. Whatever lies between them is finished by the next
 * start. */
TEST(a_delete_that_a_crash_interrupted_is_finished) {
        unsigned n_unfinished = 0;

        for (unsigned n_steps = 0; n_steps < 40; n_steps++) {
                struct broker_fixture f;
                struct broker_client c;
                const struct state *data;
                uint64_t id, never_sent;
                char *name = (char *) "a";
                Drmq__Proto__TopicDeleteRequest q = DRMQ__PROTO__TOPIC_DELETE_REQUEST__INIT;

                begin(&f, &c, n_steps);
                id = broker_client_topic(&c, "a", 2);
                never_sent = id + 1;
                (void) broker_client_produce(&c, id, 10, 10);
                ASSERT_EQ(broker_client_commit(&c, "g", id, 5), DRMQ_ERROR_NONE);
                ASSERT_EQ(broker_client_commit(&c, "g", never_sent, 0), DRMQ_ERROR_NONE);
                q.name = &name;
                q.n_name = 1;
                broker_client_send(&c, FRAME_TOPIC_DELETE, &q, NULL, 0, NULL, 0);
                for (unsigned i = 0; i < n_steps; i++)
                        (void) sim_world_step(f.world, sim_world_now(f.world) + USEC_PER_SEC);
                broker_fixture_end(&f, /* power_cut= */ true);
                broker_client_end(&c);

                ASSERT_OK(broker_fixture_open(&f));
                data = f.broker->shards[SHARD_DATA]->state;
                if (!state_topic(f.broker->shards[SHARD_METADATA]->state, "a") &&
                    state_partition(data, id))
                        n_unfinished++;
                broker_start(f.broker);
                broker_fixture_run(&f, USEC_PER_SEC);
                ASSERT_EQ(f.n_ready, 1);
                if (!state_topic(f.broker->shards[SHARD_METADATA]->state, "a")) {
                        ASSERT_NULL(state_partition(data, id));
                        ASSERT_EQ(data->positions.n_nodes, 0);
                } else
                        ASSERT_EQ(state_partition(data, id)->next_offset, 10);
                broker_fixture_done(&f);
        }
        ASSERT_GT(n_unfinished, 0);
}

/* ---- Produce ---- */

TEST(what_is_produced_is_read_back_whatever_the_pieces) {
        for (unsigned crumbs = 0; crumbs <= 1000000; crumbs += 250000) {
                struct broker_fixture f;
                struct broker_client c;
                uint64_t id;

                begin(&f, &c, crumbs);
                sim_world_net(f.world)->config.crumbs_per_million = crumbs;
                id = broker_client_topic(&c, "a", 1);
                ASSERT_EQ(broker_client_produce(&c, id, 10, 100), 0);
                ASSERT_EQ(broker_client_produce(&c, id, 1, 3000), 10);
                ASSERT_EQ(broker_client_produce(&c, id, 5, 0), 11);
                ASSERT_EQ(broker_client_read(&c, id, 0), 16);
                ASSERT_EQ(broker_client_read(&c, id, 12), 4);
                ASSERT_EQ(broker_client_read(&c, id, 16), 0);
                ASSERT_EQ(broker_client_commit(&c, "g", id, 12), DRMQ_ERROR_NONE);
                message_free(broker_client_status(&c));
                done(&f, &c);
        }
}

TEST(one_request_may_hold_batches_of_many_partitions) {
        struct broker_fixture f;
        struct broker_client c;
        struct broker_reply *r;
        uint64_t id;

        begin(&f, &c, 1);
        id = broker_client_topic(&c, "a", 3);
        r = broker_client_wait(
                &c,
                broker_client_send_produce(&c,
                                           (struct broker_produce[]){
                                                   { id, broker_batch(-1, -1, -1, 2, 10) },
                                                   { id + 2, broker_batch(-1, -1, -1, 3, 10) },
                                                   { 4711, broker_batch(-1, -1, -1, 3, 10) },
                                                   { id, broker_batch(-1, -1, -1, 4, 10) },
                                           },
                                           4,
                                           /* atomic= */ false));
        ASSERT_EQ(le32_get(broker_reply_result(r, 2)->error), DRMQ_ERROR_UNKNOWN_PARTITION);
        ASSERT_EQ(le64_get(broker_reply_result(r, 0)->base_offset), 0);
        ASSERT_EQ(le64_get(broker_reply_result(r, 1)->base_offset), 0);
        ASSERT_EQ(le64_get(broker_reply_result(r, 3)->base_offset), 2);
        ASSERT_GT(le64_get(broker_reply_result(r, 3)->append_time_ms), 0);
        broker_reply_free(r);
        ASSERT_EQ(broker_client_read(&c, id, 0), 6);
        ASSERT_EQ(broker_client_read(&c, id + 1, 0), 0);
        ASSERT_EQ(broker_client_read(&c, id + 2, 0), 3);
        done(&f, &c);
}

TEST(an_atomic_request_is_all_or_nothing) {
        struct broker_fixture f;
        struct broker_client c;
        struct broker_reply *r;
        uint64_t id, index;

        begin(&f, &c, 1);
        id = broker_client_topic(&c, "a", 3);
        index = f.broker->shards[SHARD_DATA]->state->index;
        for (unsigned i = 0; i < 3; i++) {
                struct broker_produce p[] = {
                        { id, broker_batch(7, 0, 0, 2, 10) },
                        { id + 1, broker_batch(7, 0, 0, 3, 10) },
                        { i == 0   ? 4711
                          : i == 1 ? id
                                   : id + 2,
                          broker_batch(7, 0, 0, 3, 10) },
                };

                r = broker_client_wait(
                        &c, broker_client_send_produce(&c, p, ELEMENTSOF(p), /* atomic= */ true));
                if (i < 2) {
                        ASSERT_EQ(le32_get(broker_reply_result(r, 0)->error),
                                  DRMQ_ERROR_INVALID_ARGUMENT);
                        ASSERT_EQ(le32_get(broker_reply_result(r, 1)->error),
                                  DRMQ_ERROR_INVALID_ARGUMENT);
                        ASSERT_EQ(le32_get(broker_reply_result(r, 2)->error),
                                  i == 0 ? DRMQ_ERROR_UNKNOWN_PARTITION
                                         : DRMQ_ERROR_INVALID_ARGUMENT);
                        ASSERT_EQ(f.broker->shards[SHARD_DATA]->state->index, index);
                } else {
                        for (size_t k = 0; k < 3; k++)
                                ASSERT_EQ(le32_get(broker_reply_result(r, k)->error),
                                          DRMQ_ERROR_NONE);
                        ASSERT_EQ(f.broker->shards[SHARD_DATA]->state->index, index + 1);
                }
                broker_reply_free(r);
        }

        /* Sent again it is there already, all of it; together with something new it is refused. */
        for (unsigned i = 0; i < 2; i++) {
                struct broker_produce p[] = {
                        { id, broker_batch(7, 0, 0, 2, 10) },
                        { id + 1, broker_batch(7, 0, i == 0 ? 0 : 3, 3, 10) },
                };

                r = broker_client_wait(
                        &c, broker_client_send_produce(&c, p, ELEMENTSOF(p), /* atomic= */ true));
                for (size_t k = 0; k < 2; k++)
                        ASSERT_EQ(le32_get(broker_reply_result(r, k)->error),
                                  i == 0 ? DRMQ_ERROR_DUPLICATE : DRMQ_ERROR_INVALID_ARGUMENT);
                broker_reply_free(r);
        }
        ASSERT_EQ(broker_client_read(&c, id + 1, 0), 3);
        done(&f, &c);
}

TEST(a_batch_that_is_not_allowed_is_refused_by_its_own_reason) {
        struct broker_fixture f;
        struct broker_client c;
        struct slice batch = broker_batch(-1, -1, -1, 2, 10), copy;
        uint64_t id;

        begin(&f, &c, 1);
        id = broker_client_topic(&c, "a", 1);
        for (unsigned codec = 5; codec <= 7; codec++) {
                struct buf *b = buf_new(batch.size);
                struct batch_view v;

                memcpy(b->data, batch.data, batch.size);
                b->data[22] = (uint8_t) codec;
                be32_store(b->data + 17, crc32c(0, b->data + 21, batch.size - 21));
                copy = slice_of(b, b->data, batch.size);
                buf_unref(b);
                ASSERT_OK(batch_view_init(copy.data, copy.size, &v));
                ASSERT_OK(batch_verify(&v));
                ASSERT_EQ(broker_client_try(&c, id, copy, NULL), DRMQ_ERROR_UNKNOWN_CODEC);
        }
        for (unsigned attribute = 3; attribute < 7;
             attribute++) { /* append time, transactional, control, horizon */
                struct buf *b = buf_new(batch.size);

                memcpy(b->data, batch.data, batch.size);
                b->data[22] = (uint8_t) (1u << attribute);
                be32_store(b->data + 17, crc32c(0, b->data + 21, batch.size - 21));
                copy = slice_of(b, b->data, batch.size);
                buf_unref(b);
                ASSERT_EQ(broker_client_try(&c, id, copy, NULL), DRMQ_ERROR_MALFORMED);
        }
        ASSERT_EQ(broker_client_produce(&c, id, 1, 1), 0);
        slice_done(&batch);
        done(&f, &c);
}

TEST(who_wants_no_answer_gets_none) {
        Drmq__Proto__ProduceRequest q = DRMQ__PROTO__PRODUCE_REQUEST__INIT;
        struct slice batch = broker_batch(-1, -1, -1, 2, 10);
        struct produce_slice row = {};
        struct broker_fixture f;
        struct broker_client c;
        uint64_t id;

        begin(&f, &c, 1);
        id = broker_client_topic(&c, "a", 1);
        row.partition_id = le64_of(id);
        row.batch_bytes = le32_of((uint32_t) batch.size);
        q.acks = DRMQ__PROTO__ACKS__ACKS_NONE;
        broker_client_send(&c, FRAME_PRODUCE, &q, &row, sizeof(row), &batch, 1);
        row.partition_id = le64_of(4711);
        broker_client_send(&c, FRAME_PRODUCE, &q, &row, sizeof(row), &batch, 1);
        broker_fixture_run(&f, USEC_PER_SEC);
        ASSERT_TRUE(list_is_empty(&c.replies));
        ASSERT_EQ(broker_client_read(&c, id, 0), 2);
        slice_done(&batch);
        done(&f, &c);
}

/* ---- Idempotence ---- */

TEST(a_duplicate_in_flight_is_answered_with_what_it_repeats_and_no_sooner) {
        struct sim_disk_speed slow = sim_disk_speed_default;
        struct broker_fixture f;
        struct broker_client c, other;
        uint64_t id, offset, correlations[4];

        begin(&f, &c, 1);
        broker_client_connect(&other, &f);
        id = broker_client_topic(&c, "a", 1);
        ASSERT_EQ(broker_client_produce(&c, id, 10, 10), 0);
        broker_fixture_run(&f, USEC_PER_SEC);
        slow.log_min = slow.log_max = 2 * USEC_PER_SEC;
        sim_process_set_speed(f.process, &slow);

        correlations[0] = broker_client_send_produce(
                &c,
                &(struct broker_produce){ id, broker_batch(9, 0, 0, 5, 10) },
                1,
                /* atomic= */ false);
        correlations[1] = broker_client_send_produce(
                &c,
                &(struct broker_produce){ id, broker_batch(9, 0, 0, 5, 10) },
                1,
                /* atomic= */ false);
        broker_fixture_run(&f, USEC_PER_SEC / 2);
        correlations[2] = broker_client_send_produce(
                &other,
                &(struct broker_produce){ id, broker_batch(9, 0, 0, 5, 10) },
                1,
                /* atomic= */ false);
        /* with something new behind it */
        correlations[3] = broker_client_send_produce(&other,
                                                     (struct broker_produce[]){
                                                             { id, broker_batch(9, 0, 0, 5, 10) },
                                                             { id, broker_batch(9, 0, 5, 5, 10) },
                                                     },
                                                     2,
                                                     /* atomic= */ false);
        broker_fixture_run(&f, USEC_PER_SEC);
        ASSERT_EQ(f.broker->shards[SHARD_DATA]->state->partitions.n_nodes, 1);
        ASSERT_EQ(state_partition(f.broker->shards[SHARD_DATA]->state, id)->next_offset, 10);
        ASSERT_TRUE(list_is_empty(&c.replies));
        ASSERT_TRUE(list_is_empty(&other.replies));

        ASSERT_EQ(result(&c, correlations[0], 0, &offset), DRMQ_ERROR_NONE);
        ASSERT_EQ(offset, 10);
        ASSERT_EQ(result(&c, correlations[1], 0, &offset), DRMQ_ERROR_DUPLICATE);
        ASSERT_EQ(offset, 10);
        ASSERT_EQ(result(&other, correlations[2], 0, &offset), DRMQ_ERROR_DUPLICATE);
        ASSERT_EQ(offset, 10);
        ASSERT_EQ(result(&other, correlations[3], 1, &offset), DRMQ_ERROR_NONE);
        ASSERT_EQ(offset, 15);
        ASSERT_EQ(broker_client_read(&c, id, 0), 20);
        broker_client_end(&other);
        done(&f, &c);
}

TEST(a_retry_is_known_after_any_kind_of_restart) {
        for (unsigned how = 0; how < 3; how++) {
                struct broker_fixture f;
                struct broker_client c;
                uint64_t id, offset;

                begin(&f, &c, 1);
                id = broker_client_topic(&c, "a", 1);
                for (int i = 0; i < 7; i++)
                        ASSERT_EQ(broker_client_try(
                                          &c, id, broker_batch(9, 1, 10 * i, 10, 10), &offset),
                                  DRMQ_ERROR_NONE);
                again(&f, &c, /* is_stopped= */ how == 1);
                if (how == 2)
                        again(&f, &c, /* is_stopped= */ true);
                for (int i = 2; i < 7; i++) {
                        ASSERT_EQ(broker_client_try(
                                          &c, id, broker_batch(9, 1, 10 * i, 10, 10), &offset),
                                  DRMQ_ERROR_DUPLICATE);
                        ASSERT_EQ(offset, 10 * i);
                }
                ASSERT_EQ(broker_client_try(&c, id, broker_batch(9, 1, 80, 10, 10), NULL),
                          DRMQ_ERROR_OUT_OF_SEQUENCE);
                ASSERT_EQ(broker_client_try(&c, id, broker_batch(9, 0, 70, 10, 10), NULL),
                          DRMQ_ERROR_FENCED);
                ASSERT_EQ(broker_client_try(&c, id, broker_batch(9, 2, 0, 10, 10), &offset),
                          DRMQ_ERROR_NONE);
                ASSERT_EQ(offset, 70);
                ASSERT_EQ(broker_client_try(&c, id, broker_batch(9, 1, 70, 10, 10), NULL),
                          DRMQ_ERROR_FENCED);
                ASSERT_EQ(broker_client_read(&c, id, 0), 80);
                done(&f, &c);
        }
}

/* ---- Fetch ---- */

static Drmq__Proto__FetchResponse *fetch(struct broker_client *c,
                                         const struct fetch_want *wants,
                                         size_t n,
                                         uint32_t max_bytes,
                                         struct broker_reply **ret) {
        Drmq__Proto__FetchRequest q = DRMQ__PROTO__FETCH_REQUEST__INIT;

        q.max_bytes = max_bytes;
        *ret = broker_client_wait(
                c, broker_client_send(c, FRAME_FETCH, &q, wants, n * sizeof(wants[0]), NULL, 0));
        return broker_reply_message(*ret, FRAME_FETCH, &drmq__proto__fetch_response__descriptor);
}

/* The same with reads that go to jobs, and with those that need none. */
TEST(a_fetch_is_bounded_and_the_first_batch_comes_whole) {
        for (unsigned again_per_million = 0; again_per_million <= 1000000;
             again_per_million += 500000) {
                struct fetch_want wants[3] = {};
                Drmq__Proto__FetchResponse *m;
                struct broker_fixture f;
                struct broker_client c;
                struct broker_reply *r;
                uint64_t id;

                begin(&f, &c, again_per_million);
                id = broker_client_topic(&c, "a", 3);
                for (unsigned i = 0; i < 20; i++)
                        (void) broker_client_produce(&c, id + i % 2, 1, 10000);
                sim_disk_set_faults(f.disk,
                                    &(struct sim_disk_faults){ .read_again = again_per_million });
                for (size_t i = 0; i < ELEMENTSOF(wants); i++)
                        wants[i].partition_id = le64_of(id + i);

                m = fetch(&c, wants, 1, 1, &r);
                ASSERT_EQ(broker_reply_count(r, id, 0), 1);
                ASSERT_EQ(m->n_partition, 1);
                ASSERT_EQ(m->partition[0]->high_watermark, 10);
                message_free(m);
                broker_reply_free(r);

                m = fetch(&c, wants, 1, 45000, &r);
                ASSERT_GE(broker_reply_count(r, id, 0), 2);
                ASSERT_LE(r->frame.body.size, 55000);
                message_free(m);
                broker_reply_free(r);

                m = fetch(&c, wants, 3, 1 << 20, &r);
                ASSERT_GE(r->frame.body.size, 2 * 10000);
                ASSERT_GE(m->n_partition, 2);
                message_free(m);
                broker_reply_free(r);

                /* so much of the first one, and the rest of the other */
                wants[0].max_bytes = le32_of(1);
                wants[0].offset = le64_of(9);
                wants[1].offset = le64_of(5);
                m = fetch(&c, wants, 3, 1 << 20, &r);
                ASSERT_GE(r->frame.table.size, 2 * sizeof(struct fetch_slice));
                ASSERT_EQ(
                        le64_get(
                                ((const struct fetch_slice *) (const void *) r->frame.table.data)[0]
                                        .base_offset),
                        9);
                ASSERT_EQ(
                        le64_get(
                                ((const struct fetch_slice *) (const void *) r->frame.table.data)[1]
                                        .base_offset),
                        5);
                message_free(m);
                broker_reply_free(r);
                ASSERT_EQ(broker_client_read(&c, id, 0), 10);
                ASSERT_EQ(f.broker->fetches.used_bytes, 0);
                done(&f, &c);
        }
}

TEST(an_offset_outside_is_told_the_bounds) {
        struct fetch_want wants[3] = {};
        Drmq__Proto__FetchResponse *m;
        struct broker_fixture f;
        struct broker_client c;
        struct broker_reply *r;
        uint64_t id;

        begin(&f, &c, 1);
        id = broker_client_topic(&c, "a", 2);
        (void) broker_client_produce(&c, id, 5, 10);
        wants[0] = (struct fetch_want){ .partition_id = le64_of(id), .offset = le64_of(6) };
        wants[1] = (struct fetch_want){ .partition_id = le64_of(4711) };
        wants[2] =
                (struct fetch_want){ .partition_id = le64_of(id), .offset = le64_of(UINT64_MAX) };
        m = fetch(&c, wants, 3, 0, &r);
        ASSERT_EQ(m->n_partition, 3);
        ASSERT_EQ(m->partition[0]->error->code, DRMQ_ERROR_OFFSET_OUT_OF_RANGE);
        ASSERT_EQ(m->partition[0]->first_offset, 0);
        ASSERT_EQ(m->partition[0]->high_watermark, 5);
        ASSERT_EQ(m->partition[1]->error->code, DRMQ_ERROR_UNKNOWN_PARTITION);
        ASSERT_EQ(m->partition[2]->error->code, DRMQ_ERROR_OFFSET_OUT_OF_RANGE);
        message_free(m);
        broker_reply_free(r);

        /* At the end there is nothing, and that is said too. */
        wants[0].offset = le64_of(5);
        m = fetch(&c, wants, 1, 0, &r);
        ASSERT_EQ(m->n_partition, 1);
        ASSERT_NULL(m->partition[0]->error);
        ASSERT_EQ(m->partition[0]->high_watermark, 5);
        ASSERT_EQ(r->frame.table.size, 0);
        message_free(m);
        broker_reply_free(r);
        done(&f, &c);
}

TEST(a_long_poll_waits_as_long_as_asked_and_blocks_nobody) {
        struct broker_fixture f;
        struct broker_client c;
        struct broker_reply *r;
        uint64_t id, poll;
        usec_t before;

        begin(&f, &c, 1);
        id = broker_client_topic(&c, "a", 2);
        before = sim_world_now(f.world);
        poll = broker_client_send_fetch(&c, id, 0, 5000, 0);
        /* What is behind it on the same connection goes on, another fetch too. */
        ASSERT_EQ(broker_client_produce(&c, id + 1, 3, 10), 0);
        ASSERT_EQ(broker_client_read(&c, id + 1, 0), 3);
        ASSERT_LT(sim_world_now(f.world) - before, USEC_PER_SEC);
        ASSERT_NULL(broker_client_take(&c, poll));

        r = broker_client_wait(&c, poll);
        ASSERT_EQ(broker_reply_count(r, id, 0), 0);
        ASSERT_GE(sim_world_now(f.world) - before, 5 * USEC_PER_SEC);
        ASSERT_LT(sim_world_now(f.world) - before, 6 * USEC_PER_SEC);
        broker_reply_free(r);
        done(&f, &c);
}

/* A partition twice in one fetch, and as many long polls of one connection as there are: each is
 * answered once. */
TEST(a_long_poll_may_name_a_partition_twice) {
        Drmq__Proto__FetchRequest q = DRMQ__PROTO__FETCH_REQUEST__INIT;
        struct fetch_want wants[2] = {};
        struct broker_fixture f;
        struct broker_client c;
        uint64_t id, polls[5];

        begin(&f, &c, 1);
        id = broker_client_topic(&c, "a", 1);
        wants[0].partition_id = wants[1].partition_id = le64_of(id);
        q.wait_ms = 600000;
        for (size_t i = 0; i < ELEMENTSOF(polls); i++)
                polls[i] = broker_client_send(&c, FRAME_FETCH, &q, wants, sizeof(wants), NULL, 0);
        broker_fixture_run(&f, USEC_PER_SEC);
        (void) broker_client_produce(&c, id, 1, 10);
        for (size_t i = 0; i < ELEMENTSOF(polls); i++) {
                struct broker_reply *r = broker_client_wait(&c, polls[i]);

                ASSERT_EQ(r->frame.table.size, 2 * sizeof(struct fetch_slice));
                broker_reply_free(r);
        }
        broker_fixture_run(&f, USEC_PER_SEC);
        ASSERT_TRUE(list_is_empty(&f.broker->all_fetches));
        ASSERT_EQ(f.broker->shards[SHARD_DATA]->watch_points.n_nodes, 0);
        done(&f, &c);
}

TEST(what_is_not_committed_is_not_seen) {
        struct sim_disk_speed slow = sim_disk_speed_default;
        struct broker_fixture f;
        struct broker_client c, reader;
        uint64_t id, correlation;
        enum drmq_error e;

        begin(&f, &c, 1);
        broker_client_connect(&reader, &f);
        id = broker_client_topic(&c, "a", 1);
        broker_fixture_run(&f, USEC_PER_SEC);
        slow.log_min = slow.log_max = 2 * USEC_PER_SEC;
        sim_process_set_speed(f.process, &slow);
        correlation = broker_client_send_produce(
                &c,
                &(struct broker_produce){ id, broker_batch(-1, -1, -1, 5, 10) },
                1,
                /* atomic= */ false);
        broker_fixture_run(&f, USEC_PER_SEC);
        ASSERT_EQ(broker_client_read(&reader, id, 0), 0);
        ASSERT_EQ(broker_client_offset(&reader, id, DRMQ__PROTO__OFFSET_KIND__OFFSET_END, 0, &e),
                  0);
        ASSERT_EQ(result(&c, correlation, 0, NULL), DRMQ_ERROR_NONE);
        ASSERT_EQ(broker_client_read(&reader, id, 0), 5);
        broker_client_end(&reader);
        done(&f, &c);
}

TEST(malformed_fetches_are_refused) {
        Drmq__Proto__FetchRequest q = DRMQ__PROTO__FETCH_REQUEST__INIT;
        static const size_t sizes[] = { 0, 1, 23, 25 };
        static const uint8_t zeroes[32];
        struct slice body = broker_batch(-1, -1, -1, 1, 1);
        struct broker_fixture f;
        struct broker_client c;
        struct broker_reply *r;

        begin(&f, &c, 1);
        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                r = broker_client_wait(
                        &c, broker_client_send(&c, FRAME_FETCH, &q, zeroes, sizes[i], NULL, 0));
                ASSERT_EQ(broker_reply_error(r), DRMQ_ERROR_MALFORMED);
                broker_reply_free(r);
        }
        r = broker_client_wait(&c, broker_client_send(&c, FRAME_FETCH, &q, zeroes, 24, &body, 1));
        ASSERT_EQ(broker_reply_error(r), DRMQ_ERROR_MALFORMED);
        broker_reply_free(r);
        slice_done(&body);
        done(&f, &c);
}

/* ---- Offsets and positions ---- */

TEST(offsets_are_found_by_place_and_by_time) {
        for (unsigned again_per_million = 0; again_per_million <= 1000000;
             again_per_million += 1000000) {
                struct broker_fixture f;
                struct broker_client c;
                int64_t times[10];
                uint64_t id;
                enum drmq_error e;

                begin(&f, &c, 1);
                id = broker_client_topic(&c, "a", 2);
                sim_disk_set_faults(f.disk,
                                    &(struct sim_disk_faults){ .read_again = again_per_million });
                for (unsigned i = 0; i < ELEMENTSOF(times); i++) {
                        broker_fixture_run(&f, USEC_PER_SEC);
                        (void) broker_client_produce(&c, id, 3, 10);
                        times[i] = state_partition(f.broker->shards[SHARD_DATA]->state, id)
                                           ->last_append_ms;
                }

                ASSERT_EQ(broker_client_offset(
                                  &c, id, DRMQ__PROTO__OFFSET_KIND__OFFSET_BEGINNING, 0, &e),
                          0);
                ASSERT_EQ(broker_client_offset(&c, id, DRMQ__PROTO__OFFSET_KIND__OFFSET_END, 0, &e),
                          30);
                ASSERT_EQ(broker_client_offset(
                                  &c, id + 1, DRMQ__PROTO__OFFSET_KIND__OFFSET_END, 0, &e),
                          0);
                ASSERT_EQ(broker_client_offset(
                                  &c, id + 1, DRMQ__PROTO__OFFSET_KIND__OFFSET_TIME, 0, &e),
                          0);
                for (unsigned i = 0; i < ELEMENTSOF(times); i++) {
                        ASSERT_EQ(broker_client_offset(&c,
                                                       id,
                                                       DRMQ__PROTO__OFFSET_KIND__OFFSET_TIME,
                                                       times[i],
                                                       &e),
                                  3 * i);
                        ASSERT_EQ(broker_client_offset(&c,
                                                       id,
                                                       DRMQ__PROTO__OFFSET_KIND__OFFSET_TIME,
                                                       times[i] + 1,
                                                       &e),
                                  3 * i + 3);
                }
                ASSERT_EQ(broker_client_offset(
                                  &c, id, DRMQ__PROTO__OFFSET_KIND__OFFSET_TIME, INT64_MIN, &e),
                          0);
                ASSERT_EQ(broker_client_offset(
                                  &c, id, DRMQ__PROTO__OFFSET_KIND__OFFSET_TIME, INT64_MAX, &e),
                          30);
                ASSERT_EQ(
                        broker_client_offset(&c, 4711, DRMQ__PROTO__OFFSET_KIND__OFFSET_END, 0, &e),
                        UINT64_MAX);
                ASSERT_EQ(e, DRMQ_ERROR_UNKNOWN_PARTITION);
                ASSERT_EQ(broker_client_offset(&c, id, (Drmq__Proto__OffsetKind) 99, 0, &e),
                          UINT64_MAX);
                ASSERT_EQ(e, DRMQ_ERROR_INVALID_ARGUMENT);
                done(&f, &c);
        }
}

TEST(positions_are_kept_by_group_and_partition) {
        for (unsigned how = 0; how < 3; how++) {
                struct broker_fixture f;
                struct broker_client c;
                uint64_t id, offset;

                begin(&f, &c, 1);
                id = broker_client_topic(&c, "a", 2);
                (void) broker_client_produce(&c, id, 10, 10);
                ASSERT_FALSE(broker_client_position(&c, "g", id, &offset));
                ASSERT_EQ(broker_client_commit(&c, "g", id, 3), DRMQ_ERROR_NONE);
                ASSERT_EQ(broker_client_commit(&c, "g", id, 10), DRMQ_ERROR_NONE);
                ASSERT_EQ(broker_client_commit(&c, "h", id, 4), DRMQ_ERROR_NONE);
                ASSERT_EQ(broker_client_commit(&c, "g", id, 11), DRMQ_ERROR_OFFSET_OUT_OF_RANGE);
                ASSERT_EQ(broker_client_commit(&c, "g", id + 1, 1), DRMQ_ERROR_OFFSET_OUT_OF_RANGE);
                ASSERT_EQ(broker_client_commit(&c, "g", 4711, 0), DRMQ_ERROR_UNKNOWN_PARTITION);
                ASSERT_EQ(broker_client_commit(&c, "", id, 0), DRMQ_ERROR_INVALID_NAME);
                ASSERT_EQ(broker_client_commit(&c, "with.dot", id, 0), DRMQ_ERROR_INVALID_NAME);
                if (how > 0)
                        again(&f, &c, /* is_stopped= */ how == 1);

                ASSERT_TRUE(broker_client_position(&c, "g", id, &offset));
                ASSERT_EQ(offset, 10);
                ASSERT_TRUE(broker_client_position(&c, "h", id, &offset));
                ASSERT_EQ(offset, 4);
                ASSERT_FALSE(broker_client_position(&c, "g", id + 1, &offset));
                done(&f, &c);
        }
}

/* ---- What it says of itself ---- */

TEST(status_and_partitions_say_what_there_is) {
        Drmq__Proto__PartitionRequest q = DRMQ__PROTO__PARTITION_REQUEST__INIT;
        Drmq__Proto__PartitionResponse *p;
        Drmq__Proto__StatusResponse *m;
        struct broker_fixture f;
        struct broker_client c;
        struct broker_reply *r;
        uint64_t ids[3];

        begin(&f, &c, 1);
        ids[0] = broker_client_topic(&c, "a", 2);
        ids[1] = ids[0] + 1;
        ids[2] = 4711;
        ASSERT_EQ(broker_client_try(&c, ids[0], broker_batch(9, 0, 0, 5, 10), NULL),
                  DRMQ_ERROR_NONE);
        m = broker_client_status(&c);
        ASSERT_EQ(m->node_id, 1);
        ASSERT_STREQ(m->node_name, f.config.node_name);
        ASSERT_STREQ(m->data_dir, BROKER_FIXTURE_DIR);
        ASSERT_EQ(m->n_connections, 1);
        ASSERT_EQ(m->n_topics, 1);
        ASSERT_EQ(m->n_partitions, 2);
        ASSERT_EQ(m->n_shard, 2);
        for (size_t i = 0; i < 2; i++) {
                ASSERT_EQ(m->shard[i]->shard, i);
                ASSERT_STREQ(m->shard[i]->role, "leader");
                ASSERT_TRUE(m->shard[i]->is_writable);
                ASSERT_EQ(m->shard[i]->term, 1);
                ASSERT_EQ(m->shard[i]->applied_index, 2); /* its no-op, and one entry */
                ASSERT_EQ(m->shard[i]->commit_index, 2);
                ASSERT_EQ(m->shard[i]->durable_index, 2);
        }
        ASSERT_EQ(m->shard[1]->n_producers, 1);
        ASSERT_GT(m->request_bytes_limit, 0);
        message_free(m);

        q.partition_id = ids;
        q.n_partition_id = 3;
        r = broker_client_wait(&c, broker_client_send(&c, FRAME_PARTITION, &q, NULL, 0, NULL, 0));
        p = broker_reply_message(r, FRAME_PARTITION, &drmq__proto__partition_response__descriptor);
        ASSERT_EQ(p->n_partition, 3);
        ASSERT_EQ(p->partition[0]->next_offset, 5);
        ASSERT_EQ(p->partition[0]->n_batches, 1);
        ASSERT_EQ(p->partition[0]->n_producers, 1);
        ASSERT_GT(p->partition[0]->n_bytes, 61);
        ASSERT_EQ(p->partition[1]->next_offset, 0);
        ASSERT_NULL(p->partition[1]->error);
        ASSERT_EQ(p->partition[2]->error->code, DRMQ_ERROR_UNKNOWN_PARTITION);
        message_free(p);
        broker_reply_free(r);
        done(&f, &c);
}

/* ---- Start and stop ---- */

TEST(a_stop_answers_what_is_in_flight_and_refuses_what_is_new) {
        struct sim_disk_speed slow = sim_disk_speed_default;
        struct broker_fixture f;
        struct broker_client c;
        struct broker_summary summary;
        struct broker_reply *r;
        uint64_t id, poll, first, late, offset;

        begin(&f, &c, 1);
        id = broker_client_topic(&c, "a", 1);
        broker_fixture_run(&f, USEC_PER_SEC);
        slow.log_min = slow.log_max = USEC_PER_SEC;
        sim_process_set_speed(f.process, &slow);
        poll = broker_client_send_fetch(&c, id, 0, 600000, 0);
        first = broker_client_send_produce(
                &c,
                &(struct broker_produce){ id, broker_batch(-1, -1, -1, 5, 10) },
                1,
                /* atomic= */ false);
        broker_fixture_run(&f, USEC_PER_SEC / 2);
        ASSERT_NULL(broker_client_take(&c, first));

        broker_stop(f.broker);
        broker_stop(f.broker); /* nothing more happens */
        late = broker_client_send_produce(
                &c,
                &(struct broker_produce){ id, broker_batch(-1, -1, -1, 5, 10) },
                1,
                /* atomic= */ false);
        r = broker_client_wait(&c, poll);
        ASSERT_EQ(broker_reply_error(r), DRMQ_ERROR_STOPPING);
        broker_reply_free(r);
        ASSERT_EQ(result(&c, late, 0, NULL), DRMQ_ERROR_STOPPING);
        r = broker_client_wait(
                &c,
                broker_client_send(
                        &c,
                        FRAME_METADATA,
                        &(Drmq__Proto__MetadataRequest) DRMQ__PROTO__METADATA_REQUEST__INIT,
                        NULL,
                        0,
                        NULL,
                        0));
        ASSERT_EQ(broker_reply_error(r), DRMQ_ERROR_STOPPING);
        broker_reply_free(r);
        message_free(broker_client_status(&c)); /* this it still says */
        ASSERT_EQ(result(&c, first, 0, &offset), DRMQ_ERROR_NONE);
        ASSERT_EQ(offset, 0);
        ASSERT_TRUE(broker_client_wait_end(&c, BROKER_FIXTURE_WAIT_USEC));
        ASSERT_EQ(f.n_stopped, 1);
        broker_fixture_end(&f, /* power_cut= */ true);
        broker_client_end(&c);

        broker_fixture_start(&f);
        broker_summary(f.broker, &summary);
        ASSERT_EQ(summary.n_replayed, 0);
        broker_client_connect(&c, &f);
        ASSERT_EQ(broker_client_read(&c, id, 0), 5);
        done(&f, &c);
}

TEST(who_comes_while_it_stops_is_refused) {
        struct broker_fixture f;
        struct broker_client c;

        broker_fixture_init(&f, 1);
        broker_fixture_start(&f);
        broker_stop(f.broker);
        broker_client_dial(&c, &f);
        ASSERT_TRUE(broker_client_wait_end(&c, USEC_PER_SEC));
        ASSERT_EQ(f.accepted, -ECANCELED);
        broker_fixture_run(&f, 5 * USEC_PER_SEC);
        ASSERT_EQ(f.n_stopped, 1);
        done(&f, &c);
}

TEST(it_may_be_told_to_stop_before_it_is_ready) {
        for (unsigned n_steps = 0; n_steps < 30; n_steps++) {
                struct broker_fixture f;

                broker_fixture_init(&f, n_steps);
                ASSERT_OK(broker_fixture_open(&f));
                broker_start(f.broker);
                for (unsigned i = 0; i < n_steps; i++)
                        (void) sim_world_step(f.world, sim_world_now(f.world) + USEC_PER_SEC);
                broker_stop(f.broker);
                broker_fixture_run(&f, 30 * USEC_PER_SEC);
                ASSERT_EQ(f.n_stopped, 1);
                ASSERT_LE(f.n_ready, 1);
                ASSERT_EQ(f.n_fatal, 0);
                broker_fixture_end(&f, /* power_cut= */ true);
                broker_fixture_start(&f);
                broker_fixture_done(&f);
        }
}

TEST(it_starts_again_and_again_from_what_is_there) {
        struct broker_fixture f;
        struct broker_client c;
        uint64_t id, n = 0;

        broker_fixture_init(&f, 1);
        f.config.checkpoint_bytes = 32768;
        broker_fixture_start(&f);
        broker_client_connect(&c, &f);
        id = broker_client_topic(&c, "a", 1);
        for (unsigned i = 0; i < 20; i++) {
                for (unsigned k = 0; k < 10; k++)
                        ASSERT_EQ(broker_client_produce(&c, id, 3, 2000), n += (k + i > 0) * 3);
                again(&f, &c, /* is_stopped= */ i % 3 == 0);
                ASSERT_EQ(broker_client_read(&c, id, 0), n + 3);
                ASSERT_EQ(f.n_damaged, 0);
        }
        done(&f, &c);
}

TEST(another_process_or_another_node_is_told_so) {
        struct broker_fixture f;
        struct broker_client c;
        struct sim_process *process;
        struct broker *other = NULL;
        _cleanup_(mem_freep) char *what = NULL;
        static const struct broker_events none = {};

        begin(&f, &c, 1);
        ASSERT_OK(sim_process_new(f.world, "other", f.disk, NULL, NULL, &process));
        ASSERT_ERROR(broker_new(sim_process_io(process), &f.config, &none, NULL, &other, &what),
                     EBUSY);
        ASSERT_NULL(other);
        process = sim_process_free(process);
        broker_fixture_end(&f, /* power_cut= */ false);
        f.config.node_id = 2;
        ASSERT_ERROR(broker_fixture_open(&f), EXDEV);
        f.config.node_id = 1;
        broker_client_end(&c);
        broker_fixture_start(&f);
        broker_fixture_done(&f);
}

TEST(without_memory_it_does_not_open_and_keeps_nothing, .timeout_sec = 60) {
        static const struct broker_events none = {};
        struct broker_fixture f;
        struct broker_client c;

        begin(&f, &c, 1);
        (void) broker_client_produce(&c, broker_client_topic(&c, "a", 1), 1, 10);
        broker_client_end(&c);
        broker_fixture_stop(&f);
        sim_disk_restart(f.disk);
        FAULT_SWEEP {
                struct sim_process *process;
                struct broker *b = NULL;
                char *what = NULL;
                int r;

                ASSERT_OK(sim_process_new(f.world, "broker", f.disk, NULL, NULL, &process));
                r = broker_new(sim_process_io(process), &f.config, &none, NULL, &b, &what);
                what = mem_free(what);
                if (r < 0) {
                        ASSERT_ERROR(r, ENOMEM);
                        ASSERT_NULL(b);
                }
                sim_process_kill(process, /* is_silent= */ false);
                b = broker_free(b);
                process = sim_process_free(process);
                sim_disk_kill(f.disk);
                sim_disk_restart(f.disk);
        }
        broker_fixture_start(&f);
        broker_fixture_done(&f);
}
