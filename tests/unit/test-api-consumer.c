/* SPDX-License-Identifier: Apache-2.0 */

/* Consumers of drmq.h: what is committed when, seeking, pausing, unsubscribing; and what a restart
 * of the node does to all that. */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "drmq.h"
#include "tests/lib/server-fixture.h"
#include "tests/lib/test.h"

static drmq_client *client_of(const struct server *s) {
        drmq_client *c;

        ASSERT_OK(drmq_client_new(s->brokers, &c));
        return c;
}

static void send_numbers(drmq_client *c, const char *topic, uint32_t partition, unsigned n) {
        drmq_producer *p;

        ASSERT_OK(drmq_producer_new(c, &p));
        for (unsigned i = 0; i < n; i++) {
                struct drmq_outgoing m = { .topic = topic, .partition = partition };
                char text[16];

                m.value = text;
                m.value_size = (size_t) snprintf(text, sizeof(text), "%u", i);
                ASSERT_OK(drmq_producer_send(p, &m));
        }
        ASSERT_OK(drmq_producer_flush(p));
        ASSERT_NULL(drmq_producer_free(p));
}

static uint64_t number_of(const drmq_message *m) {
        size_t n;
        const void *value = drmq_message_value(m, &n);
        char text[16] = "";

        ASSERT_LT(n, sizeof(text));
        memcpy(text, value, n);
        return strtoull(text, NULL, 10);
}

/* A consumer of "t" for the group "me", from its position; it commits by itself as often as there
 * is something new. */
static drmq_consumer *automatic(drmq_client *c) {
        drmq_consumer *k;

        ASSERT_OK(drmq_consumer_new(c, &k));
        ASSERT_OK(drmq_consumer_set_group(k, "me"));
        ASSERT_OK(drmq_consumer_set_auto_commit(k, true));
        ASSERT_OK(drmq_consumer_set_commit_interval(k, 0));
        ASSERT_OK(drmq_consumer_subscribe(k, "t", NULL, 0, DRMQ_FROM_POSITION, 0));
        return k;
}

/* Exactly @n, by as many polls as it takes; the last message's number. */
static uint64_t take(drmq_consumer *k, int n) {
        uint64_t last = 0;

        while (n > 0) {
                int r = drmq_consumer_poll(k, (size_t) n, 10 * USEC_PER_SEC);

                ASSERT_GT(r, 0);
                n -= r;
                last = number_of(drmq_consumer_message(k, (size_t) r - 1));
        }
        return last;
}

/* What the group has committed, as another client sees it; -1: nothing. */
static int64_t committed(const struct server *s, const char *topic) {
        drmq_client *c = client_of(s);
        uint64_t offset = 0;
        drmq_consumer *k;
        int r;

        ASSERT_OK(drmq_consumer_new(c, &k));
        ASSERT_OK(drmq_consumer_set_group(k, "me"));
        ASSERT_OK(drmq_consumer_subscribe(k, topic, NULL, 0, DRMQ_FROM_END, 0));
        r = drmq_consumer_committed(k, topic, 0, &offset);
        if (r == -ENODATA)
                ASSERT_NOT_NULL(strstr(drmq_client_error(c), "committed nothing"));
        else
                ASSERT_OK(r);
        drmq_consumer_free(k);
        drmq_client_free(c);
        return r < 0 ? -1 : (int64_t) offset;
}

TEST(what_a_poll_handed_out_is_committed_by_the_next_one) {
        struct server s = { 0 };
        drmq_consumer *k;
        drmq_client *c;

        server_start(&s);
        c = client_of(&s);
        send_numbers(c, "t", 0, 100);
        k = automatic(c);

        ASSERT_EQ(drmq_consumer_poll(k, 10, 10 * USEC_PER_SEC), 10);
        ASSERT_EQ(committed(&s, "t"), -1);
        /* The second poll says that the first ten are done, and only those. */
        ASSERT_EQ(drmq_consumer_poll(k, 10, 10 * USEC_PER_SEC), 10);
        while (committed(&s, "t") == -1)
                ASSERT_OK(drmq_client_dispatch(c));
        ASSERT_EQ(committed(&s, "t"), 10);

        /* A consumer that is dropped commits nothing. */
        drmq_consumer_free(k);
        ASSERT_EQ(committed(&s, "t"), 10);
        k = automatic(c);
        ASSERT_EQ(take(k, 10), 19);
        /* One that is closed has dealt with all of it. */
        ASSERT_OK(drmq_consumer_close(k));
        ASSERT_EQ(committed(&s, "t"), 20);

        k = automatic(c);
        ASSERT_EQ(take(k, 1), 20);
        ASSERT_OK(drmq_consumer_close(k));
        ASSERT_ERROR(drmq_consumer_close(NULL), EINVAL);
        drmq_client_free(c);
        server_end(&s, SIGTERM);
}

TEST(a_poll_that_waits_commits_what_is_due) {
        struct server s = { 0 };
        usec_t begin;
        drmq_consumer *k;
        drmq_client *c;

        server_start(&s);
        c = client_of(&s);
        send_numbers(c, "t", 0, 10);
        ASSERT_OK(drmq_consumer_new(c, &k));
        ASSERT_OK(drmq_consumer_set_group(k, "me"));
        ASSERT_OK(drmq_consumer_set_auto_commit(k, true));
        ASSERT_OK(drmq_consumer_set_commit_interval(k, 300 * USEC_PER_MSEC));
        ASSERT_OK(drmq_consumer_subscribe(k, "t", NULL, 0, DRMQ_FROM_POSITION, 0));
        ASSERT_EQ(take(k, 5), 4);
        ASSERT_EQ(take(k, 5), 9); /* commits 5, at once: the interval is over */
        begin = now_monotonic_usec();
        while (committed(&s, "t") != 10 && now_monotonic_usec() - begin < 10 * USEC_PER_SEC)
                ASSERT_EQ(drmq_consumer_poll(k, 1, 400 * USEC_PER_MSEC), 0);
        ASSERT_EQ(committed(&s, "t"), 10);
        drmq_consumer_free(k);
        drmq_client_free(c);
        server_end(&s, SIGTERM);
}

TEST(without_auto_commit_nothing_is_committed_that_was_not_asked_for) {
        struct server s = { 0 };
        uint64_t offset;
        drmq_consumer *k;
        drmq_client *c;

        server_start(&s);
        c = client_of(&s);
        send_numbers(c, "t", 0, 100);
        ASSERT_OK(drmq_consumer_new(c, &k));
        ASSERT_OK(drmq_consumer_set_group(k, "me"));
        ASSERT_OK(drmq_consumer_set_commit_interval(k, 1)); /* what is automatic would be at once */
        ASSERT_OK(drmq_consumer_subscribe(k, "t", NULL, 0, DRMQ_FROM_POSITION, 0));
        ASSERT_ERROR(drmq_consumer_set_auto_commit(k, true), EBUSY);
        for (unsigned i = 0; i < 10; i++)
                ASSERT_EQ(drmq_consumer_poll(k, 10, 10 * USEC_PER_SEC), 10);
        ASSERT_EQ(drmq_consumer_poll(k, 10, 100 * USEC_PER_MSEC), 0);
        ASSERT_ERROR(drmq_consumer_committed(k, "t", 0, &offset), ENODATA);
        ASSERT_OK(drmq_consumer_commit_offset(k, "t", 0, 7));
        ASSERT_EQ(drmq_consumer_poll(k, 10, 100 * USEC_PER_MSEC), 0);
        ASSERT_OK(drmq_consumer_committed(k, "t", 0, &offset));
        ASSERT_EQ(offset, 7);
        ASSERT_OK(drmq_consumer_close(k));
        ASSERT_EQ(committed(&s, "t"), 7);

        ASSERT_OK(drmq_consumer_new(c, &k));
        ASSERT_OK(drmq_consumer_set_auto_commit(k, true));
        ASSERT_ERROR(drmq_consumer_subscribe(k, "t", NULL, 0, DRMQ_FROM_BEGINNING, 0), EINVAL);
        ASSERT_STREQ(drmq_client_error(c), "automatic commits need a group");
        drmq_consumer_free(k);
        drmq_client_free(c);
        server_end(&s, SIGTERM);
}

TEST(a_consumer_seeks_to_the_beginning_the_end_and_a_time) {
        struct server s = { 0 };
        const drmq_message *m;
        int64_t between_ms;
        uint64_t offset;
        drmq_consumer *k;
        drmq_client *c;

        server_start(&s);
        c = client_of(&s);
        send_numbers(c, "t", 0, 10);
        between_ms = now_wall_ms();
        while (now_wall_ms() <= between_ms + 1) /* the log's clock counts milliseconds */
                ;
        send_numbers(c, "t", 0, 10);

        ASSERT_OK(drmq_consumer_new(c, &k));
        ASSERT_ERROR(drmq_consumer_seek_to(k, "t", 0, DRMQ_FROM_END, 0), ENOENT);
        ASSERT_OK(drmq_consumer_subscribe(k, "t", NULL, 0, DRMQ_FROM_END, 0));
        ASSERT_EQ(drmq_consumer_poll(k, 1, 1), 0);
        ASSERT_OK(drmq_consumer_seek_to(k, "t", 0, DRMQ_FROM_BEGINNING, 0));
        ASSERT_EQ(take(k, 20), 9);
        ASSERT_OK(drmq_consumer_seek_to(k, "t", DRMQ_PARTITION_ANY, DRMQ_FROM_LAST, 3));
        ASSERT_OK(drmq_consumer_position(k, "t", 0, &offset));
        ASSERT_EQ(offset, 17);
        ASSERT_OK(drmq_consumer_seek_to(k, "t", 0, DRMQ_FROM_TIME, between_ms + 1));
        ASSERT_EQ(drmq_consumer_poll(k, 1, 10 * USEC_PER_SEC), 1);
        m = drmq_consumer_message(k, 0);
        ASSERT_EQ(drmq_message_offset(m), 10);
        ASSERT_OK(drmq_consumer_seek_to(k, "t", 0, DRMQ_FROM_END, 0));
        ASSERT_EQ(drmq_consumer_poll(k, 1, 1), 0);
        ASSERT_OK(drmq_consumer_seek(k, "t", 0, 15));
        ASSERT_EQ(take(k, 1), 5);

        ASSERT_ERROR(drmq_consumer_seek_to(k, "t", 1, DRMQ_FROM_END, 0), ENOENT);
        ASSERT_STREQ(drmq_client_error(c), "t/1 is not subscribed to");
        ASSERT_ERROR(drmq_consumer_seek_to(k, "u", DRMQ_PARTITION_ANY, DRMQ_FROM_END, 0), ENOENT);
        ASSERT_ERROR(drmq_consumer_seek_to(k, "t", 0, DRMQ_FROM_POSITION, 0), EINVAL);
        ASSERT_OK(drmq_consumer_seek(k, "t", 0, 1000));
        ASSERT_ERROR(drmq_consumer_poll(k, 1, 10 * USEC_PER_SEC), ERANGE);
        ASSERT_STREQ(drmq_client_error(c),
                     "t/0: offset 1000 is not there yet, the first is 0 and the next to come 20");
        drmq_consumer_free(k);
        drmq_client_free(c);
        server_end(&s, SIGTERM);
}

TEST(out_of_range_may_mean_to_begin_anew) {
        struct server s = { 0 };
        drmq_client *c;

        server_start(&s);
        c = client_of(&s);
        send_numbers(c, "t", 0, 10);
        for (enum drmq_out_of_range what = DRMQ_OUT_OF_RANGE_BEGINNING;
             what <= DRMQ_OUT_OF_RANGE_END;
             what++) {
                drmq_consumer *k;
                uint64_t offset;

                ASSERT_OK(drmq_consumer_new(c, &k));
                ASSERT_ERROR(drmq_consumer_set_out_of_range(k, (enum drmq_out_of_range) 3), EINVAL);
                ASSERT_OK(drmq_consumer_set_out_of_range(k, what));
                ASSERT_OK(drmq_consumer_subscribe(k, "t", NULL, 0, DRMQ_FROM_OFFSET, 1000));
                ASSERT_OK(drmq_consumer_position(k, "t", 0, &offset));
                ASSERT_EQ(offset, what == DRMQ_OUT_OF_RANGE_BEGINNING ? 0 : 10);
                ASSERT_OK(drmq_consumer_seek(k, "t", 0, 2000));
                if (what == DRMQ_OUT_OF_RANGE_BEGINNING)
                        ASSERT_EQ(take(k, 10), 9);
                else {
                        while (offset != 10 || drmq_consumer_poll(k, 1, 1000) != 0)
                                ASSERT_OK(drmq_consumer_position(k, "t", 0, &offset));
                        send_numbers(c, "t", 0, 1);
                        ASSERT_EQ(take(k, 1), 0);
                }
                drmq_consumer_free(k);
        }
        drmq_client_free(c);
        server_end(&s, SIGTERM);
}

TEST(a_partition_that_is_paused_gives_nothing_and_loses_nothing) {
        struct server s = { 0 };
        unsigned n_of[2] = { 0 };
        drmq_consumer *k;
        drmq_client *c;

        server_start(&s);
        c = client_of(&s);
        ASSERT_OK(drmq_topic_create(c, "t", 2, false));
        send_numbers(c, "t", 0, 1000);
        send_numbers(c, "t", 1, 1000);
        ASSERT_OK(drmq_consumer_new(c, &k));
        ASSERT_ERROR(drmq_consumer_pause(k, "t", 0), ENOENT);
        ASSERT_OK(drmq_consumer_subscribe(k, "t", NULL, 0, DRMQ_FROM_BEGINNING, 0));
        ASSERT_OK(drmq_consumer_pause(k, "t", 0));
        ASSERT_ERROR(drmq_consumer_pause(k, "t", 2), ENOENT);
        while (n_of[1] < 1000) {
                int r = drmq_consumer_poll(k, 100, 10 * USEC_PER_SEC);

                ASSERT_GT(r, 0);
                for (int i = 0; i < r; i++)
                        ASSERT_EQ(drmq_message_partition(drmq_consumer_message(k, (size_t) i)), 1);
                n_of[1] += (unsigned) r;
        }
        ASSERT_EQ(drmq_consumer_poll(k, 1, 1000), 0);
        ASSERT_OK(drmq_consumer_pause(k, "t", 0)); /* it is already */
        ASSERT_OK(drmq_consumer_resume(k, "t", DRMQ_PARTITION_ANY));
        /* Paused again with something of it fetched, and half of a batch handed out. */
        while (n_of[0] < 1000) {
                int r = drmq_consumer_poll(k, 77, 10 * USEC_PER_SEC);

                ASSERT_GT(r, 0);
                for (int i = 0; i < r; i++)
                        ASSERT_EQ(number_of(drmq_consumer_message(k, (size_t) i)), n_of[0]++);
                ASSERT_OK(drmq_consumer_pause(k, "t", DRMQ_PARTITION_ANY));
                ASSERT_EQ(drmq_consumer_poll(k, 77, 0), 0);
                ASSERT_OK(drmq_consumer_resume(k, "t", 0));
        }
        drmq_consumer_free(k);
        drmq_client_free(c);
        server_end(&s, SIGTERM);
}

TEST(a_topic_that_was_made_anew_is_subscribed_to_anew) {
        struct server s = { 0 };
        const drmq_message *m;
        drmq_producer *p;
        drmq_consumer *k;
        drmq_client *c;
        int r;

        server_start(&s);
        c = client_of(&s);
        send_numbers(c, "t", 0, 10);
        ASSERT_OK(drmq_producer_new(c, &p));
        ASSERT_OK(drmq_producer_send_sync(
                p, &(struct drmq_outgoing){ .topic = "t", .value = "10", .value_size = 2 }, NULL));
        ASSERT_OK(drmq_consumer_new(c, &k));
        ASSERT_ERROR(drmq_consumer_unsubscribe(k, "t"), ENOENT);
        ASSERT_OK(drmq_consumer_subscribe(k, "t", NULL, 0, DRMQ_FROM_BEGINNING, 0));
        ASSERT_EQ(take(k, 11), 10);

        ASSERT_OK(drmq_topic_delete(c, "t"));
        ASSERT_OK(drmq_topic_create(c, "t", 1, false));
        ASSERT_ERROR(drmq_consumer_poll(k, 1, 20 * USEC_PER_SEC), ENOENT);
        ASSERT_NOT_NULL(strstr(drmq_client_error(c), "topic \"t\": it was deleted"));
        /* A producer goes on: its messages go to the topic of that name. */
        ASSERT_OK(drmq_producer_send(
                p, &(struct drmq_outgoing){ .topic = "t", .value = "0", .value_size = 1 }));
        r = drmq_producer_flush(p);
        if (r < 0) { /* what was on its way to the one that was deleted failed, and is said */
                ASSERT_ERROR(r, ENOENT);
                ASSERT_NOT_NULL(strstr(drmq_client_error(c), "deleted"));
                ASSERT_OK(drmq_producer_send_sync(
                        p,
                        &(struct drmq_outgoing){ .topic = "t", .value = "0", .value_size = 1 },
                        NULL));
        }

        ASSERT_OK(drmq_consumer_unsubscribe(k, "t"));
        ASSERT_ERROR(drmq_consumer_unsubscribe(k, "t"), ENOENT);
        ASSERT_OK(drmq_consumer_subscribe(k, "t", NULL, 0, DRMQ_FROM_BEGINNING, 0));
        ASSERT_EQ(take(k, 1), 0);
        /* What was handed out outlives the subscription, until the next poll. */
        m = drmq_consumer_message(k, 0);
        ASSERT_OK(drmq_consumer_unsubscribe(k, "t"));
        ASSERT_STREQ(drmq_message_topic(m), "t");
        ASSERT_EQ(number_of(m), 0);
        ASSERT_EQ(drmq_consumer_poll(k, 1, 1000), 0);
        ASSERT_NULL(drmq_consumer_message(k, 0));
        drmq_consumer_free(k);
        drmq_producer_free(p);
        drmq_client_free(c);
        server_end(&s, SIGTERM);
}

TEST(who_unsubscribes_has_committed) {
        struct server s = { 0 };
        drmq_consumer *k;
        drmq_client *c;

        server_start(&s);
        c = client_of(&s);
        send_numbers(c, "t", 0, 100);
        k = automatic(c);
        ASSERT_EQ(drmq_consumer_poll(k, 10, 10 * USEC_PER_SEC), 10);
        ASSERT_EQ(drmq_consumer_poll(k, 10, 10 * USEC_PER_SEC), 10);
        ASSERT_OK(drmq_consumer_unsubscribe(k, "t"));
        ASSERT_EQ(committed(&s, "t"), 10);
        drmq_consumer_free(k);
        drmq_client_free(c);
        server_end(&s, SIGTERM);
}

TEST(restarts_lose_nothing_double_nothing_and_are_no_error, .timeout_sec = 120) {
        enum { N = 40000, N_RESTARTS = 10 };
        unsigned n_sent = 0, n_got = 0, n_restarts = 0;
        struct drmq_producer_sums sums;
        struct server s = { 0 };
        drmq_client *cp, *ck;
        drmq_producer *p;
        drmq_consumer *k;

        server_start(&s);
        cp = client_of(&s);
        ck = client_of(&s);
        ASSERT_OK(drmq_producer_new(cp, &p));
        ASSERT_OK(drmq_producer_set_batch_bytes(p, 2048));
        k = automatic(ck);
        while (n_got < N) {
                int r;

                for (unsigned i = 0; i < 500 && n_sent < N; i++, n_sent++) {
                        struct drmq_outgoing m = { .topic = "t" };
                        char text[16];

                        m.value = text;
                        m.value_size = (size_t) snprintf(text, sizeof(text), "%u", n_sent);
                        ASSERT_OK(drmq_producer_send(p, &m));
                }
                ASSERT_OK(drmq_producer_poll(p));
                if (n_sent >= (n_restarts + 1) * (N / (N_RESTARTS + 1)) &&
                    n_restarts < N_RESTARTS) {
                        server_end(&s, n_restarts++ % 2 ? SIGKILL : SIGTERM);
                        server_start(&s);
                }
                r = ASSERT_OK(drmq_consumer_poll(k, 1000, n_sent < N ? 0 : 10 * USEC_PER_SEC));
                for (int i = 0; i < r; i++)
                        ASSERT_EQ(number_of(drmq_consumer_message(k, (size_t) i)), n_got++);
                if (n_sent == N)
                        ASSERT_OK(drmq_producer_flush(p));
        }
        ASSERT_EQ(n_restarts, N_RESTARTS);
        drmq_producer_sums(p, &sums);
        ASSERT_EQ(sums.n_acknowledged, N);
        ASSERT_EQ(sums.n_failed, 0);
        ASSERT_OK(drmq_consumer_close(k));
        ASSERT_EQ(committed(&s, "t"), N);
        drmq_producer_free(p);
        drmq_client_free(cp);
        drmq_client_free(ck);
        server_end(&s, SIGTERM);
}

TEST(ten_thousand_topics_are_written_and_read, .timeout_sec = 120) {
        enum { N = 10000 };
        static char names[N][16];
        static const char *pointers[N];
        static bool seen[N];
        struct server s = { 0 };
        unsigned n = 0;
        drmq_producer *p;
        drmq_consumer *k;
        drmq_client *c;

        server_start(&s);
        c = client_of(&s);
        for (unsigned i = 0; i < N; i++) {
                (void) snprintf(names[i], sizeof(names[i]), "t%u", i);
                pointers[i] = names[i];
        }
        ASSERT_OK(drmq_topics_create(c, pointers, N, 1, false, NULL));
        ASSERT_OK(drmq_producer_new(c, &p));
        for (unsigned i = 0; i < N; i++)
                ASSERT_OK(drmq_producer_send(p,
                                             &(struct drmq_outgoing){ .topic = names[i],
                                                                      .value = "x",
                                                                      .value_size = 1 }));
        ASSERT_OK(drmq_producer_flush(p));
        drmq_producer_free(p);

        ASSERT_OK(drmq_client_set_nonblocking(c, true));
        ASSERT_OK(drmq_consumer_new(c, &k));
        for (unsigned i = 0; i < N; i++)
                ASSERT_OK(drmq_consumer_subscribe(k, names[i], NULL, 0, DRMQ_FROM_BEGINNING, 0));
        ASSERT_OK(drmq_client_set_nonblocking(c, false));
        while (n < N) {
                int r = drmq_consumer_poll(k, N, 30 * USEC_PER_SEC);

                ASSERT_GT(r, 0);
                for (int i = 0; i < r; i++, n++) {
                        const drmq_message *m = drmq_consumer_message(k, (size_t) i);
                        unsigned long which = strtoul(drmq_message_topic(m) + 1, NULL, 10);

                        ASSERT_LT(which, N);
                        ASSERT_FALSE(seen[which]);
                        seen[which] = true;
                }
        }
        drmq_consumer_free(k);
        drmq_client_free(c);
        server_end(&s, SIGTERM);
}
