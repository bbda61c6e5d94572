/* SPDX-License-Identifier: Apache-2.0 */

/* The producer against a node that misbehaves: what was acknowledged is there, once, in order. */

#include "client/producer.h"

#include "tests/unit/test-client-node.h"

#define N_MESSAGES 60u

struct run {
        struct scene scene;
        struct producer *producer;
        struct producer_config config;
        uint64_t n_delivered, n_failed, n_told;
        int last_error;
        char text[CALL_TEXT_MAX];
        /* By topic's first letter and partition: what the next delivery begins with, at least. */
        uint64_t next_tag[26][NODE_PARTITIONS_MAX];
        bool is_ordered;
        bool has_doubt; /* some text said so */
};

static void on_delivery(const struct producer_delivery *d, void *userdata) {
        struct run *t = userdata;
        uint64_t *next = &t->next_tag[d->topic[0] - 'a'][d->partition];

        t->n_told++;
        if (d->error < 0) {
                t->n_failed += d->n_messages;
                t->last_error = d->error;
                t->has_doubt = t->has_doubt || strstr(d->text, "may be in the log");
                (void) snprintf(t->text, sizeof(t->text), "%s", d->text);
        } else
                t->n_delivered += d->n_messages;
        for (uint32_t i = 0; d->tags && i < d->n_messages; i++) {
                t->is_ordered = t->is_ordered && d->tags[i] >= *next;
                *next = d->tags[i] + 1;
        }
}

static void run_begin(struct run *t, uint64_t seed, const struct producer_config *config) {
        memset(t, 0, sizeof(*t));
        scene_begin(&t->scene, seed);
        t->config = config ? *config : PRODUCER_CONFIG_DEFAULT;
        t->config.on_delivery = on_delivery;
        t->config.userdata = t;
        t->config.has_tags = true;
        t->is_ordered = true;
        ASSERT_OK(producer_new(t->scene.session, &t->config, &t->producer));
}

static void run_end(struct run *t) {
        t->producer = producer_free(t->producer);
        scene_end(&t->scene);
}

static int run_append(struct run *t, const char *topic, uint32_t partition, uint64_t number) {
        struct producer_message m = {
                .topic = topic, .partition = partition, .tag = number, .timestamp_ms = 1
        };
        char value[32];

        m.value = value;
        m.value_size = (size_t) snprintf(value, sizeof(value), "%" PRIu64, number);
        return producer_append(t->producer, &m);
}

/* Sends, waiting where it must. Return: 0, or what producer_append() said at last. */
static int run_send(struct run *t, const char *topic, uint32_t partition, uint64_t number) {
        usec_t limit = sim_world_now(t->scene.world) + 100 * USEC_PER_SEC;

        for (;;) {
                int r = run_append(t, topic, partition, number);

                if (r != -EAGAIN)
                        return r < 0 ? r : 0;
                while (!producer_is_ready(t->producer)) {
                        if (sim_world_now(t->scene.world) > limit)
                                return -ETIMEDOUT;
                        scene_run(&t->scene, USEC_PER_MSEC);
                }
        }
}

static void run_flush(struct run *t) {
        usec_t limit = sim_world_now(t->scene.world) + 100 * USEC_PER_SEC;

        producer_flush(t->producer);
        while (producer_n_pending(t->producer) > 0) {
                ASSERT_LT(sim_world_now(t->scene.world), limit);
                scene_run(&t->scene, USEC_PER_MSEC);
        }
}

/* The numbers that partition holds, in order, must rise; how many there are. */
static uint64_t partition_count(const struct node_partition *p, bool *ret_rises) {
        uint64_t n = 0, next = 0;

        *ret_rises = true;
        LIST_FOREACH(&p->batches, b, struct node_batch, link) {
                struct batch_iterator it;
                struct batch_view v;
                struct record record;
                int r;

                ASSERT_EQ(batch_view_init(b->data, b->size, &v), 0);
                ASSERT_OK(batch_iterator_init(&it, &v, NULL, 1 << 20));
                while ((r = batch_iterator_next(&it, &record)) > 0) {
                        char text[32] = "";
                        uint64_t number;

                        ASSERT_LT(record.value_size, sizeof(text));
                        memcpy(text, record.value, record.value_size);
                        ASSERT_OK(parse_uint64(text, &number));
                        if (number < next)
                                *ret_rises = false;
                        next = number + 1;
                        n++;
                }
                ASSERT_EQ(r, 0);
                batch_iterator_done(&it);
        }
        return n;
}

static void assert_once_in_order(struct run *t, const char *topic, uint64_t n_expected) {
        struct node_topic *nt = node_topic_find(&t->scene.node, topic);
        uint64_t n = 0;
        bool rises;

        ASSERT_NOT_NULL(nt);
        for (unsigned i = 0; i < nt->n_partitions; i++) {
                n += partition_count(&nt->partitions[i], &rises);
                ASSERT_TRUE(rises);
        }
        ASSERT_EQ(n, n_expected);
        ASSERT_TRUE(t->is_ordered);
}

TEST(messages_arrive_once_in_order_and_are_told) {
        struct run t;

        run_begin(&t, 1, NULL);
        for (uint64_t i = 0; i < N_MESSAGES; i++)
                ASSERT_OK(run_send(&t, "t", PRODUCER_PARTITION_ANY, i));
        run_flush(&t);
        ASSERT_EQ(t.n_delivered, N_MESSAGES);
        ASSERT_EQ(t.n_told, 1); /* one batch */
        assert_once_in_order(&t, "t", N_MESSAGES);
        ASSERT_EQ(producer_sums(t.producer)->n_acknowledged, N_MESSAGES);
        ASSERT_EQ(producer_sums(t.producer)->n_retries, 0);
        run_end(&t);
}

/* Small batches, so that many are under way, over several partitions, with one fault at every
 * point. */
static void run_with_fault(struct run *t, enum node_fault fault, unsigned at, unsigned n_faults) {
        struct producer_config config = PRODUCER_CONFIG_DEFAULT;

        config.batch_bytes = 1024;
        config.linger_usec = USEC_PER_MSEC;
        run_begin(t, 1, &config);
        (void) node_topic_add(&t->scene.node, "t", 2);
        t->scene.node.produce_fault = fault;
        t->scene.node.produce_fault_at = at;
        t->scene.node.n_faults = n_faults;
        for (uint64_t i = 0; i < 2000; i++) {
                ASSERT_OK(run_send(t, "t", (uint32_t) (i % 2), i));
                if (i % 40 == 39)
                        scene_run(&t->scene, 300);
        }
        run_flush(t);
}

/* So many requests there are when nothing goes wrong: each of them is hit in turn. */
static unsigned n_requests(void) {
        struct run t;
        unsigned n;

        run_with_fault(&t, FAULT_NONE, 0, 0);
        n = t.scene.node.n_produce;
        ASSERT_GE(n, 10);
        run_end(&t);
        return n;
}

TEST(broken_connections_lose_and_double_nothing, .timeout_sec = 120) {
        unsigned n = n_requests();

        for (enum node_fault fault = FAULT_DROP_BEFORE; fault <= FAULT_DROP_AFTER; fault++)
                for (unsigned at = 1; at < n; at++)
                        for (unsigned n_faults = 1; n_faults <= 4; n_faults += 3) {
                                struct run t;

                                run_with_fault(&t, fault, at, n_faults);
                                ASSERT_EQ(t.n_delivered, 2000);
                                ASSERT_GT(t.scene.node.n_produce, at);
                                ASSERT_GT(producer_sums(t.producer)->n_retries, 0);
                                ASSERT_GT(session_n_connections(t.scene.session), 1);
                                assert_once_in_order(&t, "t", 2000);
                                run_end(&t);
                        }
}

TEST(errors_that_pass_lose_and_double_nothing, .timeout_sec = 120) {
        unsigned n = n_requests();

        for (enum node_fault fault = FAULT_BUSY; fault <= FAULT_TIMED_OUT; fault++)
                for (unsigned at = 1; at < n; at++)
                        for (unsigned n_faults = 1; n_faults <= 4; n_faults += 3) {
                                struct run t;

                                run_with_fault(&t, fault, at, n_faults);
                                ASSERT_EQ(t.n_delivered, 2000);
                                ASSERT_GT(producer_sums(t.producer)->n_retries, 0);
                                assert_once_in_order(&t, "t", 2000);
                                run_end(&t);
                        }
}

TEST(a_batch_that_is_refused_fails_alone, .timeout_sec = 120) {
        unsigned n = n_requests();

        for (unsigned at = 1; at < n; at++) {
                struct run t;

                run_with_fault(&t, FAULT_CORRUPT_ONE, at, 1);
                ASSERT_GT(t.n_failed, 0);
                ASSERT_ERROR(t.last_error, EBADMSG);
                ASSERT_EQ(t.n_delivered + t.n_failed, 2000);
                assert_once_in_order(&t, "t", t.n_delivered);
                ASSERT_FALSE(t.has_doubt);
                run_end(&t);
        }
}

TEST(an_answer_without_sense_leaves_doubt_and_says_so) {
        struct run t;

        run_with_fault(&t, FAULT_NONSENSE, 3, 1);
        ASSERT_GT(t.n_failed, 0);
        ASSERT_ERROR(t.last_error, EPROTO);
        ASSERT_TRUE(t.has_doubt);
        ASSERT_EQ(t.n_delivered + t.n_failed, 2000);
        ASSERT_TRUE(t.is_ordered);
        run_end(&t);
}

TEST(a_node_that_falls_silent_is_left_for_another_connection) {
        struct run t;

        run_with_fault(&t, FAULT_SILENT, 4, 1);
        ASSERT_EQ(t.n_delivered, 2000);
        ASSERT_EQ(session_n_connections(t.scene.session), 2);
        assert_once_in_order(&t, "t", 2000);
        run_end(&t);
}

TEST(a_network_that_breaks_at_random_loses_and_doubles_nothing, .timeout_sec = 120) {
        for (uint64_t seed = 1; seed <= 40; seed++) {
                struct producer_config config = PRODUCER_CONFIG_DEFAULT;
                struct run t;

                config.batch_bytes = 1024;
                config.linger_usec = USEC_PER_MSEC;
                run_begin(&t, seed, &config);
                (void) node_topic_add(&t.scene.node, "t", 3);
                sim_world_net(t.scene.world)->config.break_per_million = 20000;
                for (uint64_t i = 0; i < 3000; i++) {
                        ASSERT_OK(run_send(&t, "t", (uint32_t) (i % 3), i));
                        if (i % 30 == 29)
                                scene_run(&t.scene, 200);
                }
                run_flush(&t);
                ASSERT_EQ(t.n_delivered, 3000);
                assert_once_in_order(&t, "t", 3000);
                run_end(&t);
        }
}

TEST(without_linger_a_message_goes_at_once) {
        struct producer_config config = PRODUCER_CONFIG_DEFAULT;
        struct run t;

        config.linger_usec = 0;
        run_begin(&t, 1, &config);
        ASSERT_OK(run_send(&t, "t", 0, 0));
        scene_run(&t.scene, 500 * USEC_PER_MSEC);
        ASSERT_EQ(t.n_delivered, 1);

        /* What comes while one is under way goes together. */
        for (uint64_t i = 1; i < 11; i++)
                ASSERT_OK(run_append(&t, "t", 0, i));
        scene_run(&t.scene, 500 * USEC_PER_MSEC);
        ASSERT_EQ(t.n_delivered, 11);
        ASSERT_EQ(t.scene.node.n_produce, 3);
        run_end(&t);
}

TEST(a_lingering_batch_goes_by_itself) {
        struct run t;

        run_begin(&t, 1, NULL);
        ASSERT_OK(run_send(&t, "t", 0, 0));
        ASSERT_NE(producer_linger_deadline(t.producer), USEC_INFINITY);
        scene_run(&t.scene, 500 * USEC_PER_MSEC);
        ASSERT_EQ(t.n_delivered, 1);
        ASSERT_EQ(producer_linger_deadline(t.producer), USEC_INFINITY);
        run_end(&t);
}

TEST(batches_of_many_partitions_share_a_request) {
        struct run t;

        run_begin(&t, 1, NULL);
        (void) node_topic_add(&t.scene.node, "a", 4);
        (void) node_topic_add(&t.scene.node, "b", 4);
        for (uint64_t i = 0; i < 80; i++)
                ASSERT_OK(run_send(&t, i % 2 ? "a" : "b", (uint32_t) (i / 2 % 4), i));
        scene_run(&t.scene, 500 * USEC_PER_MSEC);
        t.scene.node.n_produce = t.scene.node.n_batches_max = 0;
        for (uint64_t i = 80; i < 160; i++)
                ASSERT_OK(run_send(&t, i % 2 ? "a" : "b", (uint32_t) (i / 2 % 4), i));
        run_flush(&t);
        ASSERT_EQ(t.scene.node.n_produce, 1);
        ASSERT_EQ(t.scene.node.n_batches_max, 8);
        ASSERT_EQ(t.n_delivered, 160);
        run_end(&t);
}

TEST(keyless_batches_take_partitions_in_turn_and_keys_stay) {
        struct producer_config config = PRODUCER_CONFIG_DEFAULT;
        struct node_topic *nt;
        struct run t;
        bool rises;

        config.batch_bytes = 1024;
        run_begin(&t, 1, &config);
        nt = node_topic_add(&t.scene.node, "t", 4);
        for (uint64_t i = 0; i < 2000; i++)
                ASSERT_OK(run_send(&t, "t", PRODUCER_PARTITION_ANY, i));
        run_flush(&t);
        for (unsigned i = 0; i < 4; i++) {
                ASSERT_GT(partition_count(&nt->partitions[i], &rises), 300);
                ASSERT_TRUE(rises);
                node_partition_clear(&nt->partitions[i]);
        }

        for (uint64_t i = 0; i < 100; i++) {
                struct producer_message m = {
                        .topic = "t",
                        .partition = PRODUCER_PARTITION_ANY,
                        .key = "user-123",
                        .key_size = 8,
                        .value = "1",
                        .value_size = 1,
                };

                ASSERT_OK(producer_append(t.producer, &m));
        }
        run_flush(&t);
        for (unsigned i = 0; i < 4; i++)
                ASSERT_EQ(nt->partitions[i].next_offset,
                          i == (2826711316u & 0x7fffffff) % 4 ? 100 : 0);
        run_end(&t);
}

TEST(a_full_buffer_says_so_and_drains) {
        struct producer_config config = PRODUCER_CONFIG_DEFAULT;
        unsigned n_full = 0;
        struct run t;
        uint64_t i = 0;

        config.buffer_bytes = 4096;
        config.linger_usec = 60 * USEC_PER_SEC; /* no reason to linger when nothing fits any more */
        run_begin(&t, 1, &config);
        ASSERT_OK(run_send(&t, "t", 0, i++));
        while (i < 2000) {
                int r = run_append(&t, "t", 0, i);

                if (r >= 0) {
                        i++;
                        continue;
                }
                ASSERT_ERROR(r, EAGAIN);
                n_full++;
                while (!producer_is_ready(t.producer))
                        scene_run(&t.scene, USEC_PER_MSEC);
                ASSERT_LT(n_full, 100);
        }
        ASSERT_GT(n_full, 2);
        run_flush(&t);
        ASSERT_EQ(t.n_delivered, 2000);
        run_end(&t);
}

TEST(a_topic_that_is_deleted_fails_its_messages_in_words) {
        struct run t;

        run_begin(&t, 1, NULL);
        (void) node_topic_add(&t.scene.node, "t", 1);
        ASSERT_OK(run_send(&t, "t", 0, 0));
        run_flush(&t);
        node_topic_remove(&t.scene.node, "t");
        ASSERT_OK(run_send(&t, "t", 0, 1));
        run_flush(&t);
        ASSERT_EQ(t.n_failed, 1);
        ASSERT_ERROR(t.last_error, ENOENT);
        ASSERT_NOT_NULL(strstr(t.text, "deleted"));

        /* And made anew: another partition id, other messages; nothing of the old goes there. */
        (void) node_topic_add(&t.scene.node, "t", 1);
        ASSERT_ERROR(run_append(&t, "t", 0, 2), ENOENT); /* told once */
        ASSERT_OK(run_send(&t, "t", 0, 3));
        run_flush(&t);
        ASSERT_EQ(t.n_delivered, 2);
        assert_once_in_order(&t, "t", 1);
        run_end(&t);
}

TEST(a_topic_that_was_made_anew_does_not_get_the_old_ones_messages) {
        struct run t;

        run_begin(&t, 1, NULL);
        (void) node_topic_add(&t.scene.node, "t", 1);
        ASSERT_OK(run_send(&t, "t", 0, 0));
        run_flush(&t);
        node_topic_remove(&t.scene.node, "t");
        (void) node_topic_add(&t.scene.node, "t", 1);
        ASSERT_OK(run_send(&t, "t", 0, 1));
        run_flush(&t);
        ASSERT_EQ(t.n_failed, 1);
        ASSERT_ERROR(t.last_error, ENOENT);
        ASSERT_OK(run_send(&t, "t", 0, 2));
        run_flush(&t);
        assert_once_in_order(&t, "t", 1);
        run_end(&t);
}

TEST(what_cannot_be_sent_is_refused_at_once) {
        struct run t;
        struct producer_message m = { .topic = "t", .value_size = MESSAGE_BYTES_MAX + 1 };
        void *value = calloc(1, MESSAGE_BYTES_MAX + 1);

        run_begin(&t, 1, NULL);
        t.scene.node.auto_create = false;
        ASSERT_ERROR(run_send(&t, "no/name", 0, 0), EINVAL);
        ASSERT_ERROR(run_send(&t, "missing", 0, 0), ENOENT);
        ASSERT_NOT_NULL(strstr(producer_error(t.producer), "missing"));
        (void) node_topic_add(&t.scene.node, "t", 2);
        ASSERT_ERROR(run_send(&t, "t", 2, 0), ENXIO);
        m.value = value;
        ASSERT_ERROR(producer_append(t.producer, &m), EMSGSIZE);
        m.value_size--;
        ASSERT_OK(producer_append(t.producer, &m));
        /* Sums that go round are no small sizes. */
        m.value_size = 1;
        m.key = value;
        m.key_size = SIZE_MAX;
        ASSERT_ERROR(producer_append(t.producer, &m), EMSGSIZE);
        m.key_size = 0;
        m.headers = &(struct record_header){
                .key = value,
                .key_size = 1,
                .value = value,
                .value_size = SIZE_MAX - 1,
        };
        m.n_headers = 1;
        ASSERT_ERROR(producer_append(t.producer, &m), EMSGSIZE);
        ASSERT_OK(run_send(&t, "t", 0, 1));
        run_flush(&t);
        ASSERT_EQ(t.n_delivered, 2);
        run_end(&t);
        free(value);
}

TEST(nobody_there_is_said_with_what_was_tried) {
        struct run t;

        run_begin(&t, 1, NULL);
        sim_port_unlisten(sim_process_port(t.scene.node.process));
        ASSERT_ERROR(run_send(&t, "t", 0, 0), ENOTCONN);
        ASSERT_LE(sim_world_now(t.scene.world), 5 * USEC_PER_SEC);
        ASSERT_NOT_NULL(strstr(producer_error(t.producer), "node:9092"));
        ASSERT_NOT_NULL(strstr(producer_error(t.producer), "is drmqd running?"));

        /* It comes back by itself. */
        node_listen(&t.scene.node);
        ASSERT_OK(run_send(&t, "t", 0, 0));
        run_flush(&t);
        ASSERT_EQ(t.n_delivered, 1);
        run_end(&t);
}

TEST(a_node_that_goes_away_for_good_fails_what_waits_at_its_deadline) {
        struct run t;
        usec_t begin;

        run_begin(&t, 1, NULL);
        ASSERT_OK(run_send(&t, "t", 0, 0));
        run_flush(&t);
        sim_port_unlisten(sim_process_port(t.scene.node.process));
        (void) sim_port_break(sim_process_port(t.scene.process));
        begin = sim_world_now(t.scene.world);
        for (uint64_t i = 1; i < 10; i++)
                ASSERT_OK(run_send(&t, "t", 0, i));
        run_flush(&t);
        ASSERT_EQ(t.n_failed, 9);
        ASSERT_ERROR(t.last_error, ENOTCONN);
        ASSERT_GE(sim_world_now(t.scene.world) - begin, 30 * USEC_PER_SEC);
        ASSERT_LE(sim_world_now(t.scene.world) - begin, 35 * USEC_PER_SEC);
        run_end(&t);
}

TEST(behind_a_batch_that_failed_in_doubt_nothing_is_doubled) {
        for (unsigned at = 2; at < 12; at++) {
                struct producer_config config = PRODUCER_CONFIG_DEFAULT;
                struct run t;

                /* Every answer from there on is lost, though the batches are appended; then the
                 * node speaks again. */
                config.batch_bytes = 1024;
                config.timeout_usec = 3 * USEC_PER_SEC;
                run_begin(&t, at, &config);
                (void) node_topic_add(&t.scene.node, "t", 1);
                t.scene.node.produce_fault = FAULT_TIMED_OUT;
                t.scene.node.produce_fault_at = at;
                t.scene.node.n_faults = 1000;
                for (uint64_t i = 0; i < 1500; i++)
                        ASSERT_OK(run_send(&t, "t", 0, i));
                run_flush(&t);
                ASSERT_GT(t.n_failed, 0);
                ASSERT_ERROR(t.last_error, ETIMEDOUT);
                ASSERT_TRUE(t.has_doubt);

                t.scene.node.produce_fault_at = 0;
                for (uint64_t i = 1500; i < 2000; i++)
                        ASSERT_OK(run_send(&t, "t", 0, i));
                run_flush(&t);
                ASSERT_TRUE(t.is_ordered);
                {
                        struct node_topic *nt = node_topic_find(&t.scene.node, "t");
                        bool rises;
                        uint64_t n = partition_count(&nt->partitions[0], &rises);

                        ASSERT_TRUE(rises); /* so none is there twice either */
                        ASSERT_GE(n, t.n_delivered);
                        ASSERT_LE(n, 2000);
                }
                run_end(&t);
        }
}

/* @breaks: the connection does, when the first one has failed. */
static void send_in_doubt(enum node_fault fault, bool breaks) {
        struct producer_config config = PRODUCER_CONFIG_DEFAULT;
        struct run t;

        /* The second batch is in doubt (and in the log) when the first one's time is up: its id is
         * of no use any more. */
        config.timeout_usec = 3 * USEC_PER_SEC;
        run_begin(&t, 1, &config);
        (void) node_topic_add(&t.scene.node, "t", 1);
        ASSERT_OK(run_send(&t, "t", 0, 0));
        run_flush(&t);
        t.scene.node.produce_fault = fault;
        t.scene.node.produce_fault_at = 1;
        t.scene.node.n_faults = 1000;
        ASSERT_OK(run_send(&t, "t", 0, 1));
        scene_run(&t.scene, 1500 * USEC_PER_MSEC);
        ASSERT_OK(run_send(&t, "t", 0, 2));
        scene_run(&t.scene, 2600 * USEC_PER_MSEC);
        if (breaks)
                LIST_FOREACH(&t.scene.node.conns, c, struct node_conn, link)
                        node_conn_free(c);
        t.scene.node.produce_fault_at = 0;
        run_flush(&t);
        ASSERT_EQ(t.n_failed, 2);
        ASSERT_TRUE(t.has_doubt);
        assert_once_in_order(&t, "t", 3);

        /* What comes now has a new one. */
        ASSERT_OK(run_send(&t, "t", 0, 3));
        run_flush(&t);
        ASSERT_EQ(t.n_delivered, 2);
        assert_once_in_order(&t, "t", 4);
        run_end(&t);
}

TEST(what_is_in_doubt_never_goes_under_another_id) {
        send_in_doubt(FAULT_TIMED_OUT, /* breaks= */ false);
        send_in_doubt(FAULT_SILENT, /* breaks= */ true);
}

TEST(without_acks_messages_count_when_they_are_handed_over) {
        struct producer_config config = PRODUCER_CONFIG_DEFAULT;
        struct run t;

        config.acks = PRODUCER_ACKS_NONE;
        config.batch_bytes = 1024;
        run_begin(&t, 1, &config);
        for (uint64_t i = 0; i < 1000; i++)
                ASSERT_OK(run_send(&t, "t", 0, i));
        run_flush(&t);
        ASSERT_EQ(t.n_delivered, 1000);
        scene_run(&t.scene, USEC_PER_SEC);
        assert_once_in_order(&t, "t", 1000);
        run_end(&t);
}

TEST(without_idempotence_order_holds_while_nothing_breaks) {
        struct producer_config config = PRODUCER_CONFIG_DEFAULT;
        struct run t;

        config.is_idempotent = false;
        config.batch_bytes = 1024;
        run_begin(&t, 1, &config);
        t.scene.node.produce_fault = FAULT_BUSY;
        t.scene.node.produce_fault_at = 3;
        for (uint64_t i = 0; i < 1000; i++)
                ASSERT_OK(run_send(&t, "t", 0, i));
        run_flush(&t);
        ASSERT_EQ(t.n_delivered, 1000);
        assert_once_in_order(&t, "t", 1000);
        run_end(&t);
}

TEST(atomic_is_one_request_or_nothing) {
        for (enum node_fault fault = FAULT_NONE; fault <= FAULT_CORRUPT_ONE; fault++) {
                struct producer_config config = PRODUCER_CONFIG_DEFAULT;
                struct node_topic *a, *b;
                struct run t;

                config.is_atomic = true;
                run_begin(&t, fault + 1, &config);
                a = node_topic_add(&t.scene.node, "a", 2);
                b = node_topic_add(&t.scene.node, "b", 2);
                t.scene.node.produce_fault = fault;
                t.scene.node.produce_fault_at = 1;
                for (uint64_t i = 0; i < 400; i++)
                        ASSERT_OK(run_send(&t, i % 2 ? "a" : "b", (uint32_t) (i / 2 % 2), i));
                scene_run(&t.scene, USEC_PER_SEC);
                ASSERT_EQ(t.scene.node.n_produce, 0); /* nothing goes before the flush */
                run_flush(&t);
                if (fault == FAULT_CORRUPT_ONE) {
                        ASSERT_EQ(t.n_failed, 400);
                        ASSERT_ERROR(t.last_error, EBADMSG);
                        ASSERT_EQ(a->partitions[0].next_offset + b->partitions[0].next_offset, 0);
                } else {
                        ASSERT_EQ(t.n_delivered, 400);
                        ASSERT_EQ(a->partitions[0].next_offset, 100);
                        ASSERT_EQ(b->partitions[1].next_offset, 100);
                }

                /* The next one is not touched by it. */
                for (uint64_t i = 400; i < 420; i++)
                        ASSERT_OK(run_send(&t, "a", 0, i));
                run_flush(&t);
                assert_once_in_order(
                        &t, "a", a->partitions[0].next_offset + a->partitions[1].next_offset);
                ASSERT_EQ(t.n_delivered, fault == FAULT_CORRUPT_ONE ? 20 : 420);
                run_end(&t);
        }
}

TEST(an_atomic_request_has_a_limit) {
        struct producer_config config = PRODUCER_CONFIG_DEFAULT;
        struct producer_message m = { .topic = "t", .value_size = 6 << 20 };
        void *value = calloc(1, 6 << 20);
        struct run t;

        config.is_atomic = true;
        m.value = value;
        run_begin(&t, 1, &config);
        ASSERT_OK(run_send(&t, "t", 0, 0));
        ASSERT_OK(producer_append(t.producer, &m));
        ASSERT_OK(producer_append(t.producer, &m));
        ASSERT_ERROR(producer_append(t.producer, &m), EMSGSIZE);
        run_flush(&t);
        ASSERT_EQ(t.n_delivered, 3);
        run_end(&t);
        free(value);
}

TEST(producer_survives_lack_of_memory_at_every_point, .timeout_sec = 120) {
        /* The node and the world of the test are not made for it, so only the client's own requests
         * fail: those of producer_append() and producer_flush(). What was taken is told of, one way
         * or the other. */
        for (unsigned n = 1; n < 40; n++) {
                struct producer_config config = PRODUCER_CONFIG_DEFAULT;
                uint64_t n_taken = 0;
                struct run t;

                config.batch_bytes = 1024;
                run_begin(&t, n, &config);
                (void) node_topic_add(&t.scene.node, "t", 1);
                ASSERT_OK(run_send(&t, "t", 0, n_taken++));
                scene_run(&t.scene, 100 * USEC_PER_MSEC);
                (void) mem_fail_at(n);
                for (uint64_t i = 0; i < 400; i++) {
                        int r = run_append(&t, "t", 0, n_taken);

                        if (r >= 0)
                                n_taken++;
                        else
                                ASSERT_ERROR(r, ENOMEM);
                }
                (void) mem_fail_at(0);
                run_flush(&t);
                ASSERT_EQ(t.n_delivered, n_taken);
                assert_once_in_order(&t, "t", n_taken);
                run_end(&t);
        }
}
