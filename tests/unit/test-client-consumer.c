/* SPDX-License-Identifier: Apache-2.0 */

/* The consumer against a node that misbehaves: every message once, in order, or an error that says
 * which not. */

#include "client/consumer.h"

#include "batch/builder.h"
#include "tests/unit/test-client-node.h"

struct run {
        struct scene scene;
        struct consumer *consumer;
        struct consumer_config config;
        uint64_t next[NODE_PARTITIONS_MAX]; /* offset that comes next */
        uint64_t n;
        int error;
        char text[CALL_TEXT_MAX];
};

static void run_begin(struct run *t, uint64_t seed, const struct consumer_config *config) {
        memset(t, 0, sizeof(*t));
        scene_begin(&t->scene, seed);
        t->config = config ? *config : CONSUMER_CONFIG_DEFAULT;
        ASSERT_OK(consumer_new(t->scene.session, &t->config, &t->consumer));
}

static void run_end(struct run *t) {
        t->consumer = consumer_free(t->consumer);
        scene_end(&t->scene);
}

/* A batch of @n messages, whose values are their offsets. */
static struct node_batch *fill(struct node_partition *p, unsigned n, enum codec codec) {
        struct batch_seal seal = SEAL_INIT;
        struct node_batch *made;
        struct builder b;
        struct slice s;

        builder_init(&b, 1 << 16, 1 << 20);
        for (unsigned i = 0; i < n; i++) {
                char value[32];
                size_t size =
                        (size_t) snprintf(value, sizeof(value), "%" PRIu64, p->next_offset + i);

                ASSERT_OK(builder_append(&b, "key", 3, value, size, NULL, 0, 1000 + i));
        }
        seal.codec = codec;
        ASSERT_OK(builder_seal(&b, &seal, &s));
        builder_done(&b);
        made = node_append(p, s.data, s.size);
        slice_done(&s);
        return made;
}

static void fill_many(struct node_partition *p, unsigned n_batches) {
        for (unsigned i = 0; i < n_batches; i++)
                (void) fill(p, 1 + i * 7 % 13, CODEC_NONE);
}

static int run_subscribe(struct run *t,
                         const char *topic,
                         const uint32_t *partitions,
                         size_t n,
                         enum consumer_from from,
                         int64_t value) {
        usec_t limit = sim_world_now(t->scene.world) + 100 * USEC_PER_SEC;
        int r;

        r = consumer_subscribe(t->consumer, topic, partitions, n, from, value);
        if (r < 0)
                return r;
        while ((r = consumer_subscription_result(t->consumer, topic)) == -EAGAIN) {
                ASSERT_LT(sim_world_now(t->scene.world), limit);
                scene_run(&t->scene, USEC_PER_MSEC);
        }
        return r;
}

static void check_message(struct run *t, const struct consumer_message *m) {
        char text[32] = "";
        uint64_t number;

        ASSERT_EQ((uint64_t) m->record.offset, t->next[m->partition]);
        t->next[m->partition]++;
        ASSERT_LT(m->record.value_size, sizeof(text));
        memcpy(text, m->record.value, m->record.value_size);
        ASSERT_OK(parse_uint64(text, &number));
        ASSERT_EQ(number, (uint64_t) m->record.offset);
        t->n++;
}

/* Takes until nothing came for @usec, or the end. Return: the first error, which ends it. */
static int run_take(struct run *t, size_t n_max, usec_t usec) {
        usec_t last = sim_world_now(t->scene.world);

        for (;;) {
                int n = consumer_take(t->consumer, n_max);

                if (n < 0) {
                        (void) snprintf(
                                t->text, sizeof(t->text), "%s", consumer_error(t->consumer));
                        return n;
                }
                ASSERT_LE((size_t) n, n_max);
                for (int i = 0; i < n; i++)
                        check_message(t, consumer_message(t->consumer, (size_t) i));
                ASSERT_NULL(consumer_message(t->consumer, (size_t) n));
                if (n > 0) {
                        last = sim_world_now(t->scene.world);
                        continue;
                }
                if (consumer_is_at_end(t->consumer) || sim_world_now(t->scene.world) >= last + usec)
                        return 0;
                scene_run(&t->scene, USEC_PER_MSEC);
        }
}

TEST(all_is_read_once_in_order_up_to_the_end) {
        for (size_t n_max = 1; n_max <= 1000; n_max *= 10) {
                struct consumer_config config = CONSUMER_CONFIG_DEFAULT;
                struct node_topic *nt;
                struct run t;

                config.stop_at_end = true;
                run_begin(&t, n_max, &config);
                nt = node_topic_add(&t.scene.node, "t", 3);
                for (unsigned i = 0; i < 3; i++)
                        fill_many(&nt->partitions[i], 40 + i);
                ASSERT_EQ(run_subscribe(&t, "t", NULL, 0, CONSUMER_FROM_BEGINNING, 0), 1);
                fill_many(&nt->partitions[0], 1); /* behind the end as it was when asked */
                ASSERT_OK(run_take(&t, n_max, USEC_PER_SEC));
                ASSERT_TRUE(consumer_is_at_end(t.consumer));
                ASSERT_EQ(t.next[0], nt->partitions[0].next_offset - 1);
                ASSERT_EQ(t.next[1], nt->partitions[1].next_offset);
                ASSERT_EQ(t.next[2], nt->partitions[2].next_offset);
                run_end(&t);
        }
}

TEST(every_codec_is_read) {
        for (enum codec codec = CODEC_NONE; codec < _CODEC_MAX; codec++) {
                struct consumer_config config = CONSUMER_CONFIG_DEFAULT;
                struct node_topic *nt;
                struct run t;

                config.stop_at_end = true;
                run_begin(&t, 1, &config);
                nt = node_topic_add(&t.scene.node, "t", 1);
                for (unsigned i = 0; i < 20; i++)
                        (void) fill(&nt->partitions[0], 100, codec);
                ASSERT_EQ(run_subscribe(&t, "t", NULL, 0, CONSUMER_FROM_BEGINNING, 0), 1);
                ASSERT_OK(run_take(&t, 333, USEC_PER_SEC));
                ASSERT_EQ(t.n, 2000);
                run_end(&t);
        }
}

TEST(new_messages_are_waited_for) {
        struct node_topic *nt;
        struct run t;

        run_begin(&t, 1, NULL);
        nt = node_topic_add(&t.scene.node, "t", 2);
        ASSERT_EQ(run_subscribe(&t, "t", NULL, 0, CONSUMER_FROM_END, 0), 1);
        ASSERT_OK(run_take(&t, 100, 2 * USEC_PER_SEC));
        ASSERT_EQ(t.n, 0);
        for (unsigned i = 0; i < 5; i++) {
                (void) fill(&nt->partitions[i % 2], 3, CODEC_NONE);
                node_wake_parked(&t.scene.node);
                ASSERT_OK(run_take(&t, 100, 100 * USEC_PER_MSEC));
                ASSERT_EQ(t.n, (i + 1) * 3);
        }
        ASSERT_FALSE(consumer_is_at_end(t.consumer));
        run_end(&t);
}

TEST(where_to_begin) {
        static const struct {
                enum consumer_from from;
                int64_t value;
                uint64_t first;
        } cases[] = {
                { CONSUMER_FROM_BEGINNING, 0, 10 }, { CONSUMER_FROM_END, 0, 100 },
                { CONSUMER_FROM_OFFSET, 42, 42 },   { CONSUMER_FROM_OFFSET, 100, 100 },
                { CONSUMER_FROM_LAST, 7, 93 },      { CONSUMER_FROM_LAST, 1000, 10 },
                { CONSUMER_FROM_TIME, 12345, 50 },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                struct consumer_config config = CONSUMER_CONFIG_DEFAULT;
                struct node_topic *nt;
                struct run t;

                config.stop_at_end = true;
                run_begin(&t, 1, &config);
                nt = node_topic_add(&t.scene.node, "t", 1);
                for (unsigned k = 0; k < 4; k++)
                        (void) fill(&nt->partitions[0], 25, CODEC_NONE);
                nt->partitions[0].first_offset = 10;
                ASSERT_EQ(run_subscribe(&t, "t", NULL, 0, cases[i].from, cases[i].value), 1);
                t.next[0] = cases[i].first;
                ASSERT_OK(run_take(&t, 10, USEC_PER_SEC));
                ASSERT_EQ(t.next[0], 100);
                ASSERT_EQ(t.n, 100 - cases[i].first);
                run_end(&t);
        }
}

TEST(an_offset_that_is_not_there_is_an_error_in_words) {
        static const int64_t offsets[] = { 9, 101 };

        for (size_t i = 0; i < ELEMENTSOF(offsets); i++) {
                struct node_topic *nt;
                struct run t;

                run_begin(&t, 1, NULL);
                nt = node_topic_add(&t.scene.node, "t", 1);
                (void) fill(&nt->partitions[0], 100, CODEC_NONE);
                nt->partitions[0].first_offset = 10;
                ASSERT_EQ(run_subscribe(&t, "t", NULL, 0, CONSUMER_FROM_OFFSET, offsets[i]), 1);
                ASSERT_ERROR(run_take(&t, 10, USEC_PER_SEC), ERANGE);
                ASSERT_NOT_NULL(strstr(t.text, "t/0"));
                ASSERT_NOT_NULL(strstr(
                        t.text, i == 0 ? "offset 9 is gone" : "offset 101 is not there yet"));
                ASSERT_NOT_NULL(strstr(t.text, "the first is 10 and the next to come 100"));
                ASSERT_ERROR(run_take(&t, 10, USEC_PER_SEC),
                             ERANGE); /* nothing else is there to read */

                ASSERT_OK(consumer_seek(t.consumer, "t", 0, 90));
                t.next[0] = 90;
                ASSERT_OK(run_take(&t, 10, USEC_PER_SEC));
                ASSERT_EQ(t.n, 10);
                run_end(&t);
        }
}

TEST(some_partitions_only) {
        static const uint32_t wanted[] = { 2, 0 };
        struct consumer_config config = CONSUMER_CONFIG_DEFAULT;
        struct node_topic *nt;
        struct run t;

        config.stop_at_end = true;
        run_begin(&t, 1, &config);
        nt = node_topic_add(&t.scene.node, "t", 3);
        for (unsigned i = 0; i < 3; i++)
                fill_many(&nt->partitions[i], 10);
        ASSERT_EQ(run_subscribe(&t, "t", wanted, 2, CONSUMER_FROM_BEGINNING, 0), 1);
        ASSERT_ERROR(consumer_subscribe(t.consumer, "t", NULL, 0, CONSUMER_FROM_END, 0), EEXIST);
        ASSERT_OK(run_take(&t, 10, USEC_PER_SEC));
        ASSERT_EQ(t.next[0], nt->partitions[0].next_offset);
        ASSERT_EQ(t.next[1], 0);
        ASSERT_EQ(t.next[2], nt->partitions[2].next_offset);
        run_end(&t);
}

TEST(what_cannot_be_subscribed_is_refused) {
        static const uint32_t third = 3;
        struct consumer_config config = CONSUMER_CONFIG_DEFAULT;
        struct run t;

        config.wait_for_topic = false;
        run_begin(&t, 1, &config);
        (void) node_topic_add(&t.scene.node, "t", 3);
        ASSERT_ERROR(run_subscribe(&t, "missing", NULL, 0, CONSUMER_FROM_BEGINNING, 0), ENOENT);
        ASSERT_NOT_NULL(strstr(consumer_error(t.consumer), "missing"));
        ASSERT_ERROR(run_subscribe(&t, "t", &third, 1, CONSUMER_FROM_BEGINNING, 0), ENXIO);
        ASSERT_NOT_NULL(strstr(consumer_error(t.consumer), "partition 3"));
        ASSERT_ERROR(run_subscribe(&t, "no/name", NULL, 0, CONSUMER_FROM_BEGINNING, 0), EINVAL);
        ASSERT_ERROR(run_subscribe(&t, "t", NULL, 0, CONSUMER_FROM_OFFSET, -1), EINVAL);
        ASSERT_ERROR(run_subscribe(&t, "t", NULL, 0, CONSUMER_FROM_POSITION, 0), EINVAL);
        ASSERT_EQ(run_subscribe(&t, "t", NULL, 0, CONSUMER_FROM_BEGINNING, 0), 1);
        run_end(&t);
}

TEST(a_topic_that_does_not_exist_is_waited_for) {
        struct node_topic *nt;
        struct run t;

        run_begin(&t, 1, NULL);
        ASSERT_EQ(run_subscribe(&t, "t", NULL, 0, CONSUMER_FROM_BEGINNING, 0), 0);
        ASSERT_OK(run_take(&t, 10, 3 * USEC_PER_SEC));
        ASSERT_LE(t.scene.node.n_metadata, 5); /* not asked for without pause */
        nt = node_topic_add(&t.scene.node, "t", 1);
        (void) fill(&nt->partitions[0], 5, CODEC_NONE);
        ASSERT_OK(run_take(&t, 10, 3 * USEC_PER_SEC));
        ASSERT_EQ(t.n, 5);
        run_end(&t);
}

TEST(partitions_added_later_are_read_from_their_beginning) {
        struct node_topic *nt;
        struct run t;

        run_begin(&t, 1, NULL);
        nt = node_topic_add(&t.scene.node, "t", 1);
        ASSERT_EQ(run_subscribe(&t, "t", NULL, 0, CONSUMER_FROM_END, 0), 1);
        ASSERT_OK(run_take(&t, 10, USEC_PER_SEC));
        nt->n_partitions = 3;
        (void) fill(&nt->partitions[2], 5, CODEC_NONE);
        ASSERT_OK(run_take(&t, 10, CONSUMER_METADATA_USEC + USEC_PER_SEC));
        ASSERT_EQ(t.next[2], 5);
        run_end(&t);
}

TEST(a_topic_that_is_deleted_is_an_error_after_its_last_message) {
        for (unsigned is_anew = 0; is_anew < 2; is_anew++) {
                struct node_topic *nt;
                struct run t;

                run_begin(&t, 1, NULL);
                nt = node_topic_add(&t.scene.node, "t", 2);
                (void) fill(&nt->partitions[0], 50, CODEC_NONE);
                ASSERT_EQ(run_subscribe(&t, "t", NULL, 0, CONSUMER_FROM_BEGINNING, 0), 1);
                scene_run(&t.scene, USEC_PER_SEC);
                node_topic_remove(&t.scene.node, "t");
                if (is_anew)
                        (void) node_topic_add(&t.scene.node, "t", 2);
                scene_run(&t.scene, 2 * USEC_PER_SEC);
                ASSERT_ERROR(run_take(&t, 10, 5 * USEC_PER_SEC), ENOENT);
                ASSERT_NOT_NULL(strstr(t.text, "deleted"));
                if (t.n < 50) /* the other partition, which was empty, said it first */
                        ASSERT_ERROR(run_take(&t, 10, 5 * USEC_PER_SEC), ENOENT);
                ASSERT_EQ(t.n, 50);
                run_end(&t);
        }
}

TEST(broken_connections_and_busy_nodes_lose_and_double_nothing, .timeout_sec = 120) {
        static const enum node_fault faults[] = { FAULT_DROP_BEFORE, FAULT_BUSY, FAULT_SILENT };

        for (size_t i = 0; i < ELEMENTSOF(faults); i++)
                for (unsigned at = 1; at < 12; at++) {
                        struct consumer_config config = CONSUMER_CONFIG_DEFAULT;
                        struct node_topic *nt;
                        struct run t;

                        config.stop_at_end = true;
                        config.fetch_bytes = 4096;
                        run_begin(&t, at, &config);
                        nt = node_topic_add(&t.scene.node, "t", 2);
                        fill_many(&nt->partitions[0], 100);
                        fill_many(&nt->partitions[1], 100);
                        t.scene.node.n_fetch_bytes_max = 1000;
                        t.scene.node.fetch_fault = faults[i];
                        t.scene.node.fetch_fault_at = at;
                        ASSERT_EQ(run_subscribe(&t, "t", NULL, 0, CONSUMER_FROM_BEGINNING, 0), 1);
                        ASSERT_OK(run_take(&t, 7, 60 * USEC_PER_SEC));
                        ASSERT_TRUE(consumer_is_at_end(t.consumer));
                        ASSERT_GT(t.scene.node.n_fetch, at);
                        ASSERT_EQ(t.next[0], nt->partitions[0].next_offset);
                        ASSERT_EQ(t.next[1], nt->partitions[1].next_offset);
                        run_end(&t);
                }
}

TEST(a_network_that_breaks_at_random_loses_and_doubles_nothing) {
        for (uint64_t seed = 1; seed <= 20; seed++) {
                struct consumer_config config = CONSUMER_CONFIG_DEFAULT;
                struct node_topic *nt;
                struct run t;

                config.stop_at_end = true;
                config.fetch_bytes = 4096;
                run_begin(&t, seed, &config);
                nt = node_topic_add(&t.scene.node, "t", 2);
                fill_many(&nt->partitions[0], 200);
                fill_many(&nt->partitions[1], 50);
                t.scene.node.n_fetch_bytes_max = 1000;
                sim_world_net(t.scene.world)->config.break_per_million = 30000;
                ASSERT_EQ(run_subscribe(&t, "t", NULL, 0, CONSUMER_FROM_BEGINNING, 0), 1);
                ASSERT_OK(run_take(&t, 50, 60 * USEC_PER_SEC));
                ASSERT_EQ(t.next[0], nt->partitions[0].next_offset);
                ASSERT_EQ(t.next[1], nt->partitions[1].next_offset);
                run_end(&t);
        }
}

TEST(damage_is_told_once_and_read_behind) {
        struct consumer_config config = CONSUMER_CONFIG_DEFAULT;
        struct node_topic *nt;
        struct run t;

        config.stop_at_end = true;
        run_begin(&t, 1, &config);
        nt = node_topic_add(&t.scene.node, "t", 1);
        for (unsigned i = 0; i < 5; i++)
                (void) fill(&nt->partitions[0], 10, CODEC_NONE);
        nt->partitions[0].damaged_offset = 20;
        nt->partitions[0].next_good_offset = 30;
        ASSERT_EQ(run_subscribe(&t, "t", NULL, 0, CONSUMER_FROM_BEGINNING, 0), 1);
        ASSERT_ERROR(run_take(&t, 7, USEC_PER_SEC), EIO);
        ASSERT_EQ(t.n, 20);
        ASSERT_NOT_NULL(strstr(t.text, "20 to 29"));
        ASSERT_FALSE(consumer_is_at_end(t.consumer));
        t.next[0] = 30;
        ASSERT_OK(run_take(&t, 7, USEC_PER_SEC));
        ASSERT_EQ(t.n, 40);
        ASSERT_TRUE(consumer_is_at_end(t.consumer));
        run_end(&t);
}

/* Who follows learns when there is nothing left to follow. */
TEST(where_all_has_failed_it_is_at_its_end) {
        struct consumer_config config = CONSUMER_CONFIG_DEFAULT;
        struct node_topic *nt;
        struct run t;

        run_begin(&t, 1, &config);
        nt = node_topic_add(&t.scene.node, "t", 2);
        (void) fill(&nt->partitions[0], 10, CODEC_NONE);
        ASSERT_EQ(run_subscribe(&t, "t", NULL, 0, CONSUMER_FROM_OFFSET, 5), 1);
        t.next[0] = 5;
        ASSERT_ERROR(run_take(&t, 7, USEC_PER_SEC), ERANGE); /* the other one is empty */
        ASSERT_FALSE(consumer_is_at_end(t.consumer));
        run_end(&t);

        run_begin(&t, 1, &config);
        (void) node_topic_add(&t.scene.node, "t", 2);
        ASSERT_EQ(run_subscribe(&t, "t", NULL, 0, CONSUMER_FROM_OFFSET, 5), 1);
        ASSERT_ERROR(run_take(&t, 7, USEC_PER_SEC), ERANGE);
        ASSERT_FALSE(consumer_is_at_end(t.consumer)); /* the other one has not been told */
        ASSERT_ERROR(run_take(&t, 7, USEC_PER_SEC), ERANGE);
        ASSERT_TRUE(consumer_is_at_end(t.consumer));
        ASSERT_ERROR(run_take(&t, 7, USEC_PER_SEC), ERANGE); /* no silence for ever */
        run_end(&t);
}

/* Flips a bit of the second batch, and reads that. */
static int read_flipped(size_t at) {
        struct consumer_config config = CONSUMER_CONFIG_DEFAULT;
        struct node_batch *b;
        struct node_topic *nt;
        struct run t;
        int r = 0;

        config.stop_at_end = true;
        run_begin(&t, 1, &config);
        nt = node_topic_add(&t.scene.node, "t", 1);
        (void) fill(&nt->partitions[0], 3, CODEC_NONE);
        b = fill(&nt->partitions[0], 3, CODEC_NONE);
        if (at < b->size) {
                b->data[at] ^= 0x10;
                ASSERT_EQ(run_subscribe(&t, "t", NULL, 0, CONSUMER_FROM_OFFSET, 3), 1);
                t.next[0] = 3;
                r = run_take(&t, 7, USEC_PER_SEC);
                ASSERT_EQ(t.n, 0);
                ASSERT_NOT_NULL(strstr(t.text, "t/0"));
        }
        run_end(&t);
        return r;
}

TEST(a_batch_that_arrives_damaged_is_not_handed_out) {
        int r;

        /* The leader's epoch, which stands in the table too; then all that the batch's own checksum
         * covers, and that. Where the node of this test looks itself (offsets, length, magic, last
         * delta), it cannot be made to lie. */
        for (size_t at = 12; at < 16; at++)
                ASSERT_ERROR(read_flipped(at), EPROTO);
        for (size_t at = 17; at < 23; at++)
                ASSERT_ERROR(read_flipped(at), EBADMSG);
        for (size_t at = 27; (r = read_flipped(at)) != 0; at++)
                ASSERT_ERROR(r, EBADMSG);
}

TEST(expired_messages_are_passed_over) {
        struct consumer_config config = CONSUMER_CONFIG_DEFAULT;
        struct node_topic *nt;
        struct run t;

        config.stop_at_end = true;
        run_begin(&t, 1, &config);
        nt = node_topic_add(&t.scene.node, "t", 1);
        (void) fill(&nt->partitions[0], 10, CODEC_NONE);
        fill(&nt->partitions[0], 10, CODEC_NONE)->expires_at_ms = 1;
        fill(&nt->partitions[0], 10, CODEC_NONE)->expires_at_ms = INT64_MAX;
        ASSERT_EQ(run_subscribe(&t, "t", NULL, 0, CONSUMER_FROM_BEGINNING, 0), 1);
        ASSERT_EQ(consumer_take(t.consumer, 100), 0);
        scene_run(&t.scene, USEC_PER_SEC);
        ASSERT_EQ(consumer_take(t.consumer, 100), 20);
        ASSERT_EQ(consumer_message(t.consumer, 9)->record.offset, 9);
        ASSERT_EQ(consumer_message(t.consumer, 10)->record.offset, 20);
        ASSERT_TRUE(consumer_is_at_end(t.consumer));
        run_end(&t);
}

static int run_commit(struct run *t, bool all) {
        int r = consumer_commit(t->consumer, all);

        if (r <= 0)
                return r;
        while ((r = consumer_commit_result(t->consumer)) == -EAGAIN)
                scene_run(&t->scene, USEC_PER_MSEC);
        return r < 0 ? r : 1;
}

TEST(positions_are_committed_and_gone_on_from) {
        struct consumer_config config = CONSUMER_CONFIG_DEFAULT;
        struct node_topic *nt;
        struct run t;
        uint64_t offset;

        config.stop_at_end = true;
        config.group = "g";
        run_begin(&t, 1, &config);
        nt = node_topic_add(&t.scene.node, "t", 1);
        for (unsigned i = 0; i < 10; i++)
                (void) fill(&nt->partitions[0], 10, CODEC_NONE);
        ASSERT_EQ(run_subscribe(&t, "t", NULL, 0, CONSUMER_FROM_POSITION, 0), 1);
        scene_run(&t.scene, USEC_PER_SEC);
        ASSERT_EQ(run_commit(&t, true), 0); /* nothing new */
        ASSERT_EQ(consumer_take(t.consumer, 15), 15);
        ASSERT_EQ(run_commit(&t, false), 0);
        ASSERT_EQ(consumer_take(t.consumer, 15), 15);
        ASSERT_EQ(run_commit(&t, false), 1);
        ASSERT_EQ(nt->partitions[0].position, 15);
        ASSERT_EQ(run_commit(&t, true), 1);
        ASSERT_EQ(nt->partitions[0].position, 30);
        ASSERT_EQ(run_commit(&t, true), 0);
        ASSERT_OK(consumer_position(t.consumer, "t", 0, &offset));
        ASSERT_EQ(offset, 30);
        ASSERT_EQ(consumer_commit_offset(t.consumer, "t", 0, 42), 1);
        while (consumer_commit_result(t.consumer) == -EAGAIN)
                scene_run(&t.scene, USEC_PER_MSEC);
        ASSERT_EQ(nt->partitions[0].position, 42);
        t.consumer = consumer_free(t.consumer);

        ASSERT_OK(consumer_new(t.scene.session, &t.config, &t.consumer));
        ASSERT_EQ(run_subscribe(&t, "t", NULL, 0, CONSUMER_FROM_POSITION, 0), 1);
        t.next[0] = 42;
        ASSERT_OK(run_take(&t, 100, USEC_PER_SEC));
        ASSERT_EQ(t.n, 58);
        run_end(&t);
}

TEST(a_commit_needs_a_group) {
        struct run t;

        run_begin(&t, 1, NULL);
        ASSERT_ERROR(consumer_commit(t.consumer, true), EINVAL);
        run_end(&t);
}

TEST(what_is_read_ahead_is_bounded) {
        struct consumer_config config = CONSUMER_CONFIG_DEFAULT;
        struct node_topic *nt;
        struct run t;
        unsigned n_fetch;

        config.fetch_bytes = 4096;
        config.buffer_bytes = 16384;
        config.stop_at_end = true;
        run_begin(&t, 1, &config);
        t.scene.node.n_fetch_bytes_max = 4096;
        nt = node_topic_add(&t.scene.node, "t", 4);
        for (unsigned i = 0; i < 4; i++)
                for (unsigned k = 0; k < 50; k++)
                        (void) fill(&nt->partitions[i], 100, CODEC_NONE);
        ASSERT_EQ(run_subscribe(&t, "t", NULL, 0, CONSUMER_FROM_BEGINNING, 0), 1);
        scene_run(&t.scene, 5 * USEC_PER_SEC);
        n_fetch = t.scene.node.n_fetch;
        ASSERT_LE(n_fetch, 16);
        scene_run(&t.scene, 5 * USEC_PER_SEC);
        ASSERT_EQ(t.scene.node.n_fetch, n_fetch); /* it rests */
        ASSERT_OK(run_take(&t, 100, USEC_PER_SEC));
        ASSERT_EQ(t.n, 20000);
        run_end(&t);
}

TEST(consumer_survives_lack_of_memory_at_every_point, .timeout_sec = 120) {
        /* What fails is whatever comes n-th of the consumer's own calls. */
        for (unsigned n = 1; n < 60; n++) {
                struct consumer_config config = CONSUMER_CONFIG_DEFAULT;
                struct node_topic *nt;
                struct run t;
                int taken;

                config.stop_at_end = true;
                run_begin(&t, n, &config);
                nt = node_topic_add(&t.scene.node, "t", 2);
                for (unsigned i = 0; i < 10; i++)
                        (void) fill(&nt->partitions[i % 2], 30, CODEC_ZSTD);
                ASSERT_EQ(run_subscribe(&t, "t", NULL, 0, CONSUMER_FROM_BEGINNING, 0), 1);
                scene_run(&t.scene, USEC_PER_SEC);
                (void) mem_fail_at(n);
                for (unsigned i = 0; i < 10; i++) {
                        taken = consumer_take(t.consumer, 17);
                        if (taken < 0)
                                ASSERT_TRUE(taken == -ENOMEM);
                        for (int k = 0; k < taken; k++)
                                check_message(&t, consumer_message(t.consumer, (size_t) k));
                }
                (void) mem_fail_at(0);
                ASSERT_OK(run_take(&t, 17, USEC_PER_SEC));
                ASSERT_EQ(t.n, 300);
                run_end(&t);
        }
}
