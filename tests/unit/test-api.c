/* SPDX-License-Identifier: Apache-2.0 */

/* drmq.h, as a program uses it, against a whole broker in a process of its own. */

#include "drmq.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/parse.h"
#include "base/time.h"
#include "tests/lib/server-fixture.h"
#include "tests/lib/test.h"

static drmq_client *client_of(const struct server *s) {
        drmq_client *c;

        ASSERT_OK(drmq_client_new(s->brokers, &c));
        ASSERT_STREQ(drmq_client_error(c), "");
        ASSERT_STREQ(drmq_version(), DRMQ_VERSION);
        return c;
}

static int send_text(drmq_producer *p, const char *topic, const char *key, const char *text) {
        struct drmq_outgoing m = {
                .topic = topic,
                .partition = DRMQ_PARTITION_ANY,
                .key = key,
                .key_size = key ? strlen(key) : 0,
                .value = text,
                .value_size = strlen(text),
        };

        return drmq_producer_send(p, &m);
}

static void send_numbers(drmq_client *c, const char *topic, unsigned from, unsigned to) {
        drmq_producer *p;

        ASSERT_OK(drmq_producer_new(c, &p));
        for (unsigned i = from; i < to; i++) {
                char text[16];

                (void) snprintf(text, sizeof(text), "%u", i);
                ASSERT_OK(send_text(p, topic, NULL, text));
        }
        ASSERT_OK(drmq_producer_flush(p));
        drmq_producer_free(p);
}

/* Reads one partition's topic up to its end: the numbers from @from on, one by one. Return: how
 * many. */
static unsigned read_numbers(drmq_client *c, const char *topic, unsigned from) {
        drmq_consumer *k;
        unsigned n = 0;

        ASSERT_OK(drmq_consumer_new(c, &k));
        ASSERT_OK(drmq_consumer_set_stop_at_end(k, true));
        ASSERT_OK(drmq_consumer_subscribe(k, topic, NULL, 0, DRMQ_FROM_OFFSET, from));
        while (!drmq_consumer_is_at_end(k)) {
                int r = drmq_consumer_poll(k, 1000, 10 * USEC_PER_SEC);

                ASSERT_OK(r);
                for (int i = 0; i < r; i++) {
                        const drmq_message *m = drmq_consumer_message(k, (size_t) i);
                        char text[16] = "";
                        uint64_t number;
                        size_t size;
                        const void *value = drmq_message_value(m, &size);

                        ASSERT_LT(size, sizeof(text));
                        memcpy(text, value, size);
                        ASSERT_OK(parse_uint64(text, &number));
                        ASSERT_EQ(number, from + n);
                        ASSERT_EQ(drmq_message_offset(m), from + n);
                        n++;
                }
        }
        drmq_consumer_free(k);
        return n;
}

TEST(messages_go_in_and_come_out) {
        static const struct drmq_header headers[] = { { "host", "a", 1 }, { "none", NULL, 0 } };
        struct drmq_outgoing out = {
                .topic = "t",
                .partition = 0,
                .key = "k",
                .key_size = 1,
                .headers = headers,
                .n_headers = 2,
                .timestamp_ms = 42,
        };
        struct drmq_producer_sums sums;
        struct server s = { 0 };
        const drmq_message *m;
        const char *name;
        const void *value;
        size_t n, size;
        drmq_producer *p;
        drmq_consumer *k;
        drmq_client *c;

        server_start(&s);
        c = client_of(&s);
        ASSERT_OK(drmq_producer_new(c, &p));
        ASSERT_OK(drmq_producer_send(p, &out));
        ASSERT_OK(send_text(p, "t", NULL, "second"));
        ASSERT_ERROR(drmq_producer_set_linger(p, 1), EBUSY);
        ASSERT_OK(drmq_producer_flush(p));
        drmq_producer_sums(p, &sums);
        ASSERT_EQ(sums.n_sent, 2);
        ASSERT_EQ(sums.n_acknowledged, 2);
        drmq_producer_free(p);

        ASSERT_OK(drmq_consumer_new(c, &k));
        ASSERT_OK(drmq_consumer_subscribe(k, "t", NULL, 0, DRMQ_FROM_BEGINNING, 0));
        for (int got = 0; got < 2;) {
                int r = drmq_consumer_poll(k, 1, 10 * USEC_PER_SEC);

                ASSERT_EQ(r, 1);
                m = drmq_consumer_message(k, 0);
                ASSERT_STREQ(drmq_message_topic(m), "t");
                ASSERT_EQ(drmq_message_partition(m), 0);
                ASSERT_EQ(drmq_message_offset(m), got);
                if (got++ == 0) {
                        ASSERT_MEM(drmq_message_key(m, &n), "k", 1);
                        ASSERT_EQ(n, 1);
                        ASSERT_NULL(drmq_message_value(m, &n));
                        ASSERT_EQ(drmq_message_timestamp_ms(m), 42);
                        ASSERT_EQ(drmq_message_n_headers(m), 2);
                        ASSERT_OK(drmq_message_header(m, 0, &name, &n, &value, &size));
                        ASSERT_MEM(name, "host", 4);
                        ASSERT_MEM(value, "a", 1);
                        ASSERT_OK(drmq_message_header(m, 1, &name, &n, &value, &size));
                        ASSERT_EQ(n, 4);
                        ASSERT_NULL(value);
                        ASSERT_ERROR(drmq_message_header(m, 2, &name, &n, &value, &size), ENOENT);
                } else {
                        ASSERT_NULL(drmq_message_key(m, &n));
                        ASSERT_MEM(drmq_message_value(m, &n), "second", 6);
                        ASSERT_GT(drmq_message_timestamp_ms(m), now_wall_ms() - 60000);
                }
        }
        ASSERT_EQ(drmq_consumer_poll(k, 1, 1), 0);
        ASSERT_FALSE(drmq_consumer_is_at_end(k));
        drmq_consumer_free(k);
        drmq_client_free(c);
        server_end(&s, SIGTERM);
}

struct deliveries {
        uint64_t n_messages, n_failed;
        uint64_t next_tag;
        unsigned n;
};

static void on_delivery(void *userdata, const struct drmq_delivery *d) {
        struct deliveries *all = userdata;

        all->n++;
        if (d->error < 0)
                all->n_failed += d->n_messages;
        else
                all->n_messages += d->n_messages;
        for (uint32_t i = 0; i < d->n_messages; i++)
                ASSERT_EQ(d->tags[i], all->next_tag++);
}

TEST(a_hundred_thousand_messages_with_every_codec, .timeout_sec = 120) {
        struct server s = { 0 };
        drmq_client *c;

        server_start(&s);
        c = client_of(&s);
        for (enum drmq_codec codec = DRMQ_CODEC_NONE; codec <= DRMQ_CODEC_ZSTD; codec++) {
                struct deliveries all = { 0 };
                drmq_producer *p;
                char topic[16];

                (void) snprintf(topic, sizeof(topic), "t%d", codec);
                ASSERT_OK(drmq_producer_new(c, &p));
                ASSERT_OK(drmq_producer_set_codec(p, codec, 0));
                ASSERT_OK(drmq_producer_set_batch_bytes(p, 16384));
                ASSERT_OK(drmq_producer_set_buffer_bytes(p, 200000));
                ASSERT_OK(drmq_producer_set_tags(p, true));
                ASSERT_OK(drmq_producer_set_delivery_callback(p, on_delivery, &all));
                for (unsigned i = 0; i < 100000; i++) {
                        char text[16];
                        struct drmq_outgoing m = { .topic = topic, .value = text, .tag = i };

                        m.value_size = (size_t) snprintf(text, sizeof(text), "%u", i);
                        ASSERT_OK(drmq_producer_send(p, &m));
                }
                ASSERT_OK(drmq_producer_flush(p));
                ASSERT_EQ(all.n_messages, 100000);
                ASSERT_GT(all.n, 10);
                drmq_producer_free(p);
                ASSERT_EQ(read_numbers(c, topic, 0), 100000);
        }
        drmq_client_free(c);
        server_end(&s, SIGTERM);
}

TEST(a_broker_that_is_killed_and_comes_back_loses_and_doubles_nothing, .timeout_sec = 120) {
        struct server s = { 0 };
        drmq_producer *p;
        drmq_client *c;

        server_start(&s);
        c = client_of(&s);
        ASSERT_OK(drmq_producer_new(c, &p));
        ASSERT_OK(drmq_producer_set_batch_bytes(p, 1024));
        for (unsigned i = 0; i < 20000; i++) {
                char text[16];

                if (i % 4000 == 3999) {
                        server_end(&s, SIGKILL);
                        server_start(&s);
                }
                (void) snprintf(text, sizeof(text), "%u", i);
                ASSERT_OK(send_text(p, "t", NULL, text));
        }
        ASSERT_OK(drmq_producer_flush(p));
        drmq_producer_free(p);
        ASSERT_EQ(read_numbers(c, "t", 0), 20000);
        drmq_client_free(c);
        server_end(&s, SIGTERM);
}

TEST(what_no_broker_can_do_is_said) {
        const struct drmq_topic_info *topic;
        struct drmq_outgoing m = { .topic = "t", .partition = 7 };
        struct server s = { 0 };
        drmq_producer *p;
        drmq_consumer *k;
        drmq_client *c;
        void *large = calloc(1, (8 << 20) + 1);

        server_start(&s);
        c = client_of(&s);
        ASSERT_ERROR(drmq_topic_describe(c, "missing", &topic), ENOENT);
        ASSERT_NOT_NULL(strstr(drmq_client_error(c), "missing"));
        ASSERT_ERROR(drmq_topic_create(c, "a/b", 1, false), EINVAL);
        ASSERT_ERROR(drmq_topic_delete(c, "missing"), ENOENT);

        ASSERT_OK(drmq_producer_new(c, &p));
        ASSERT_ERROR(drmq_producer_send(p, &m), ENXIO);
        ASSERT_NOT_NULL(strstr(drmq_client_error(c), "partition 7"));
        m.partition = 0;
        m.value = large;
        m.value_size = (8 << 20) + 1;
        ASSERT_ERROR(drmq_producer_send(p, &m), EMSGSIZE);
        ASSERT_NOT_NULL(strstr(drmq_client_error(c), "8388609"));
        m.value_size--;
        ASSERT_OK(drmq_producer_send(p, &m)); /* exactly the limit */
        ASSERT_OK(drmq_producer_flush(p));
        drmq_producer_free(p);

        ASSERT_OK(drmq_consumer_new(c, &k));
        ASSERT_OK(drmq_consumer_set_wait_for_topic(k, false));
        ASSERT_ERROR(drmq_consumer_poll(k, 1, 0), EINVAL);
        ASSERT_ERROR(drmq_consumer_subscribe(k, "missing", NULL, 0, DRMQ_FROM_BEGINNING, 0),
                     ENOENT);
        ASSERT_ERROR(
                drmq_consumer_subscribe(k, "t", (const uint32_t[]){ 9 }, 1, DRMQ_FROM_BEGINNING, 0),
                ENXIO);
        ASSERT_ERROR(drmq_consumer_commit(k, true), EINVAL);
        ASSERT_OK(drmq_consumer_subscribe(k, "t", NULL, 0, DRMQ_FROM_OFFSET, 100));
        ASSERT_ERROR(drmq_consumer_poll(k, 1, USEC_PER_SEC), ERANGE);
        ASSERT_OK(drmq_consumer_seek(k, "t", 0, 0));
        ASSERT_EQ(drmq_consumer_poll(k, 1, 10 * USEC_PER_SEC), 1);
        drmq_consumer_free(k);
        drmq_client_free(c);
        server_end(&s, SIGTERM);
        free(large);
}

TEST(topics_are_made_listed_changed_and_removed) {
        const struct drmq_topic_info *topic, *topics;
        const struct drmq_offset_info *offsets;
        const struct drmq_node_info *node;
        static const char *const names[] = { "x", "y", "x2" };
        struct server s = { 0 };
        int results[3];
        drmq_client *c;
        size_t n;

        server_start(&s);
        c = client_of(&s);
        ASSERT_OK(drmq_topic_create(c, "t", 3, false));
        ASSERT_ERROR(drmq_topic_create(c, "t", 3, false), EEXIST);
        ASSERT_OK(drmq_topic_create(c, "t", 3, true));
        ASSERT_OK(drmq_topic_create(c, "y", 1, false));
        ASSERT_ERROR(drmq_topics_create(c, names, 3, 1, false, results), EEXIST);
        ASSERT_EQ(results[0], 0);
        ASSERT_ERROR(results[1], EEXIST);
        ASSERT_EQ(results[2], 0);

        ASSERT_OK(drmq_topics_list(c, &topics, &n));
        ASSERT_EQ(n, 4);
        ASSERT_STREQ(topics[0].name, "t");
        ASSERT_EQ(topics[0].n_partitions, 3);
        ASSERT_STREQ(topics[3].name, "y");

        ASSERT_OK(drmq_topic_set_partitions(c, "t", 5));
        ASSERT_ERROR(drmq_topic_set_partitions(c, "t", 4), EINVAL);
        send_numbers(c, "y", 0, 100);
        ASSERT_OK(drmq_topic_describe(c, "t", &topic));
        ASSERT_EQ(topic->n_partitions, 5);
        ASSERT_EQ(topic->partitions[4].number, 4);
        ASSERT_OK(drmq_topic_describe(c, "y", &topic));
        ASSERT_EQ(topic->partitions[0].next_offset, 100);
        ASSERT_GT(topic->partitions[0].n_bytes, 100);
        ASSERT_EQ(topic->partitions[0].n_producers, 1);
        ASSERT_EQ(topic->partitions[0].leader, 1);

        ASSERT_OK(drmq_topic_offsets(c, "y", DRMQ_FROM_END, 0, &offsets, &n));
        ASSERT_EQ(n, 1);
        ASSERT_EQ(offsets[0].offset, 100);
        ASSERT_OK(drmq_topic_offsets(c, "y", DRMQ_FROM_TIME, 1, &offsets, &n));
        ASSERT_EQ(offsets[0].offset, 0);
        ASSERT_GT(offsets[0].append_time_ms, 1);
        ASSERT_ERROR(drmq_topic_offsets(c, "y", DRMQ_FROM_LAST, 1, &offsets, &n), EINVAL);

        ASSERT_OK(drmq_topic_delete(c, "y"));
        ASSERT_ERROR(drmq_topic_describe(c, "y", &topic), ENOENT);

        ASSERT_OK(drmq_status(c, &node));
        ASSERT_EQ(node->node_id, 1);
        ASSERT_STREQ(node->address, s.brokers);
        ASSERT_EQ(node->n_topics, 3);
        ASSERT_GE(node->n_shards, 2);
        ASSERT_STREQ(node->shards[0].role, "leader");
        drmq_client_free(c);
        server_end(&s, SIGTERM);
}

TEST(positions_of_a_group_last) {
        struct server s = { 0 };
        drmq_consumer *k;
        drmq_client *c;
        uint64_t offset;
        int n = 0;

        server_start(&s);
        c = client_of(&s);
        send_numbers(c, "t", 0, 100);
        ASSERT_OK(drmq_consumer_new(c, &k));
        ASSERT_OK(drmq_consumer_set_group(k, "me"));
        ASSERT_ERROR(drmq_consumer_set_group(k, "not.me"), EINVAL);
        ASSERT_OK(drmq_consumer_subscribe(k, "t", NULL, 0, DRMQ_FROM_POSITION, 0));
        while (n < 42) {
                int r = drmq_consumer_poll(k, (size_t) (42 - n), 10 * USEC_PER_SEC);

                ASSERT_GT(r, 0);
                n += r;
        }
        ASSERT_OK(drmq_consumer_commit(k, true));
        drmq_consumer_free(k);
        drmq_client_free(c);
        server_end(&s, SIGKILL); /* synced is what was committed */

        server_start(&s);
        c = client_of(&s);
        ASSERT_OK(drmq_consumer_new(c, &k));
        ASSERT_OK(drmq_consumer_set_group(k, "me"));
        ASSERT_OK(drmq_consumer_subscribe(k, "t", NULL, 0, DRMQ_FROM_POSITION, 0));
        ASSERT_GT(drmq_consumer_poll(k, 1, 10 * USEC_PER_SEC), 0);
        ASSERT_EQ(drmq_message_offset(drmq_consumer_message(k, 0)), 42);
        ASSERT_OK(drmq_consumer_position(k, "t", 0, &offset));
        ASSERT_EQ(offset, 43);
        drmq_consumer_free(k);
        drmq_client_free(c);
        server_end(&s, SIGTERM);
}

TEST(a_position_may_be_committed_by_its_number) {
        struct server s = { 0 };
        drmq_consumer *k;
        drmq_client *c;

        server_start(&s);
        c = client_of(&s);
        send_numbers(c, "t", 0, 20);
        ASSERT_OK(drmq_consumer_new(c, &k));
        ASSERT_ERROR(drmq_consumer_commit_offset(k, "t", 0, 7), ENOENT);
        ASSERT_OK(drmq_consumer_set_group(k, "me"));
        ASSERT_OK(drmq_consumer_subscribe(k, "t", NULL, 0, DRMQ_FROM_BEGINNING, 0));
        ASSERT_GT(drmq_consumer_poll(k, 1, 10 * USEC_PER_SEC), 0);
        ASSERT_OK(drmq_consumer_commit_offset(k, "t", 0, 7));
        ASSERT_ERROR(drmq_consumer_commit_offset(k, "other", 0, 7), ENOENT);
        drmq_consumer_free(k);

        ASSERT_OK(drmq_consumer_new(c, &k));
        ASSERT_OK(drmq_consumer_set_group(k, "me"));
        ASSERT_OK(drmq_consumer_subscribe(k, "t", NULL, 0, DRMQ_FROM_POSITION, 0));
        ASSERT_GT(drmq_consumer_poll(k, 1, 10 * USEC_PER_SEC), 0);
        ASSERT_EQ(drmq_message_offset(drmq_consumer_message(k, 0)), 7);
        drmq_consumer_free(k);
        drmq_client_free(c);
        server_end(&s, SIGTERM);
}

static uint32_t
pick_by_length(void *userdata, const void *key, size_t key_size, uint32_t n_partitions) {
        unsigned *n_calls = userdata;

        ASSERT_EQ(key == NULL, key_size == 0);
        ASSERT_EQ(n_partitions, 4);
        (*n_calls)++;
        return (uint32_t) key_size % n_partitions;
}

TEST(a_callback_chooses_the_partition) {
        static const char *const keys[] = { "a", "bb", "ccc", "dddd", "eeeee", NULL };
        struct server s = { 0 };
        unsigned n_calls = 0, n = 0;
        drmq_producer *p;
        drmq_consumer *k;
        drmq_client *c;

        server_start(&s);
        c = client_of(&s);
        ASSERT_OK(drmq_topic_create(c, "t", 4, false));
        ASSERT_OK(drmq_producer_new(c, &p));
        ASSERT_ERROR(drmq_producer_set_partition_callback(p, NULL, NULL), EINVAL);
        ASSERT_OK(drmq_producer_set_partition_callback(p, pick_by_length, &n_calls));
        for (size_t i = 0; i < ELEMENTSOF(keys); i++)
                ASSERT_OK(send_text(p, "t", keys[i], "x"));
        ASSERT_OK(drmq_producer_flush(p));
        ASSERT_GE(n_calls, ELEMENTSOF(keys));
        drmq_producer_free(p);

        ASSERT_OK(drmq_consumer_new(c, &k));
        ASSERT_OK(drmq_consumer_set_stop_at_end(k, true));
        ASSERT_OK(drmq_consumer_subscribe(k, "t", NULL, 0, DRMQ_FROM_BEGINNING, 0));
        while (!drmq_consumer_is_at_end(k)) {
                int r = ASSERT_OK(drmq_consumer_poll(k, 100, 10 * USEC_PER_SEC));

                for (int i = 0; i < r; i++, n++) {
                        const drmq_message *m = drmq_consumer_message(k, (size_t) i);
                        size_t size;

                        (void) drmq_message_key(m, &size);
                        ASSERT_EQ(drmq_message_partition(m), size % 4);
                }
        }
        ASSERT_EQ(n, ELEMENTSOF(keys));
        drmq_consumer_free(k);
        drmq_client_free(c);
        server_end(&s, SIGTERM);
}

TEST(a_consumer_of_little_memory_reads_all_the_same) {
        struct server s = { 0 };
        unsigned n = 0;
        drmq_consumer *k;
        drmq_client *c;

        server_start(&s);
        c = client_of(&s);
        send_numbers(c, "t", 0, 50000);
        ASSERT_OK(drmq_consumer_new(c, &k));
        ASSERT_ERROR(drmq_consumer_set_fetch_bytes(k, 4095), EINVAL);
        ASSERT_ERROR(drmq_consumer_set_fetch_bytes(k, (size_t) 17 << 20), EINVAL);
        ASSERT_ERROR(drmq_consumer_set_buffer_bytes(k, 0), EINVAL);
        ASSERT_OK(drmq_consumer_set_fetch_bytes(k, 4096));
        ASSERT_OK(drmq_consumer_set_buffer_bytes(k, 4096));
        ASSERT_OK(drmq_consumer_set_stop_at_end(k, true));
        ASSERT_OK(drmq_consumer_subscribe(k, "t", NULL, 0, DRMQ_FROM_BEGINNING, 0));
        ASSERT_ERROR(drmq_consumer_set_fetch_bytes(k, 8192), EBUSY);
        while (!drmq_consumer_is_at_end(k)) {
                int r = ASSERT_OK(drmq_consumer_poll(k, 1000, 10 * USEC_PER_SEC));

                for (int i = 0; i < r; i++)
                        ASSERT_EQ(drmq_message_offset(drmq_consumer_message(k, (size_t) i)), n++);
        }
        ASSERT_EQ(n, 50000);
        drmq_consumer_free(k);
        drmq_client_free(c);
        server_end(&s, SIGTERM);
}

TEST(nobody_there_is_said_soon) {
        const struct drmq_node_info *node;
        drmq_client *c;
        usec_t begin = now_monotonic_usec();
        char brokers[300];

        (void) snprintf(brokers, sizeof(brokers), "unix:%s/none", test_tmpdir());
        ASSERT_OK(drmq_client_new(brokers, &c));
        ASSERT_ERROR(drmq_status(c, &node), ENOTCONN);
        ASSERT_NOT_NULL(strstr(drmq_client_error(c), "/none"));
        ASSERT_NOT_NULL(strstr(drmq_client_error(c), "is drmqd running?"));
        ASSERT_LE(now_monotonic_usec() - begin, 10 * USEC_PER_SEC);
        drmq_client_free(c);
}

TEST(lists_of_brokers_are_checked) {
        char *list = NULL;
        drmq_client *c;

        ASSERT_ERROR(drmq_client_new("", &c), EINVAL);
        ASSERT_ERROR(drmq_client_new("host:70000", &c), EINVAL);
        ASSERT_OK(drmq_client_new("a:1,unix:/b,[::1]:3", &c));
        drmq_client_free(c);

        ASSERT_OK(setenv("DRMQ_BROKERS", "some:1", 1));
        ASSERT_OK(drmq_default_brokers(&list));
        ASSERT_STREQ(list, "some:1");
        free(list);
}

static drmq_client *to_interrupt;

static void on_alarm(int sig) {
        (void) sig;
        drmq_client_interrupt(to_interrupt);
}

TEST(a_call_that_blocks_can_be_interrupted) {
        struct sigaction action = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
        struct server s = { 0 };
        drmq_consumer *k;
        drmq_client *c;

        server_start(&s);
        c = client_of(&s);
        ASSERT_OK(drmq_consumer_new(c, &k));
        ASSERT_OK(drmq_consumer_subscribe(k, "later", NULL, 0, DRMQ_FROM_BEGINNING, 0));
        to_interrupt = c;
        ASSERT_OK(sigaction(SIGALRM, &action, NULL));
        ualarm(50000, 0);
        ASSERT_ERROR(drmq_consumer_poll(k, 1, UINT64_MAX), ECANCELED);
        ASSERT_ERROR(drmq_consumer_poll(k, 1, UINT64_MAX), ECANCELED);
        drmq_client_resume(c);
        ASSERT_EQ(drmq_consumer_poll(k, 1, 1000), 0);
        drmq_consumer_free(k);
        drmq_client_free(c);
        server_end(&s, SIGTERM);
}

TEST(an_atomic_request_is_seen_whole) {
        struct drmq_producer_sums sums;
        struct server s = { 0 };
        drmq_producer *p;
        drmq_client *c;
        const struct drmq_offset_info *offsets;
        size_t n;

        server_start(&s);
        c = client_of(&s);
        ASSERT_OK(drmq_producer_new(c, &p));
        ASSERT_OK(drmq_producer_set_atomic(p, true));
        for (unsigned i = 0; i < 1000; i++)
                ASSERT_OK(send_text(p, i % 2 ? "a" : "b", NULL, "x"));
        ASSERT_OK(drmq_producer_poll(p));
        ASSERT_OK(drmq_topic_offsets(c, "a", DRMQ_FROM_END, 0, &offsets, &n));
        ASSERT_EQ(offsets[0].offset, 0);
        ASSERT_OK(drmq_producer_flush(p));
        ASSERT_OK(drmq_topic_offsets(c, "a", DRMQ_FROM_END, 0, &offsets, &n));
        ASSERT_EQ(offsets[0].offset, 500);
        drmq_producer_sums(p, &sums);
        ASSERT_EQ(sums.n_acknowledged, 1000);
        drmq_producer_free(p);
        drmq_client_free(c);
        server_end(&s, SIGTERM);
}

TEST(a_client_frees_what_it_did_not_finish) {
        struct server s = { 0 };
        drmq_producer *p;
        drmq_consumer *k;
        drmq_client *c;

        server_start(&s);
        c = client_of(&s);
        ASSERT_OK(drmq_producer_new(c, &p));
        ASSERT_OK(drmq_producer_set_linger(p, 10 * USEC_PER_SEC));
        ASSERT_OK(drmq_consumer_new(c, &k));
        ASSERT_OK(drmq_consumer_subscribe(k, "t", NULL, 0, DRMQ_FROM_BEGINNING, 0));
        for (unsigned i = 0; i < 10000; i++)
                ASSERT_OK(send_text(p, "t", "key", "never flushed"));
        ASSERT_LE(drmq_producer_wait_usec(p), 10 * USEC_PER_SEC);
        ASSERT_GE(drmq_producer_fd(p), 0);
        drmq_producer_free(p);
        drmq_consumer_free(k);
        drmq_client_free(c);
        server_end(&s, SIGTERM);
}
