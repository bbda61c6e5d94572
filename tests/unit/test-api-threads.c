/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Several threads, each with a client of its own: `make check-threads` builds this with the thread
 * sanitizer. What one thread may do to the client of another is to interrupt it.
 */

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/time.h"
#include "drmq.h"
#include "tests/lib/server-fixture.h"
#include "tests/lib/test.h"

#define N_THREADS 6u
#define N_MESSAGES 2000u

struct worker {
        const struct server *server;
        pthread_t thread;
        unsigned number;
        int result;
        unsigned n_got;
};

static int worker_send(drmq_client *c, const char *topic) {
        drmq_producer *p;
        int r;

        r = drmq_producer_new(c, &p);
        if (r < 0)
                return r;
        r = drmq_producer_set_codec(p, DRMQ_CODEC_ZSTD, 0);
        for (unsigned i = 0; r >= 0 && i < N_MESSAGES; i++)
                r = drmq_producer_send(
                        p, &(struct drmq_outgoing){ .topic = topic, .value = &i, .value_size = 4 });
        if (r >= 0)
                r = drmq_producer_flush(p);
        drmq_producer_free(p);
        return r;
}

static int worker_receive(drmq_client *c, const char *topic, unsigned *ret_n) {
        drmq_consumer *k;
        unsigned n = 0;
        int r;

        r = drmq_consumer_new(c, &k);
        if (r < 0)
                return r;
        r = drmq_consumer_subscribe(k, topic, NULL, 0, DRMQ_FROM_BEGINNING, 0);
        while (r >= 0 && n < N_MESSAGES) {
                r = drmq_consumer_poll(k, 100, 20 * USEC_PER_SEC);
                if (r == 0)
                        r = -ETIMEDOUT;
                for (int i = 0; i < r; i++, n++)
                        if (memcmp(drmq_message_value(drmq_consumer_message(k, (size_t) i), NULL),
                                   &n,
                                   4) != 0)
                                r = -EBADMSG;
        }
        drmq_consumer_free(k);
        *ret_n = n;
        return r;
}

static void *work(void *userdata) {
        struct worker *w = userdata;
        char topic[16];
        drmq_client *c;

        (void) snprintf(topic, sizeof(topic), "t%u", w->number);
        w->result = drmq_client_new(w->server->brokers, &c);
        if (w->result < 0)
                return NULL;
        w->result = worker_send(c, topic);
        if (w->result >= 0)
                w->result = worker_receive(c, topic, &w->n_got);
        drmq_client_free(c);
        return NULL;
}

TEST(threads_with_a_client_each_do_not_meet, .timeout_sec = 120) {
        struct worker workers[N_THREADS];
        struct server s = { 0 };

        server_start(&s);
        for (unsigned i = 0; i < N_THREADS; i++) {
                workers[i] = (struct worker){ .server = &s, .number = i };
                ASSERT_EQ(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
        }
        for (unsigned i = 0; i < N_THREADS; i++) {
                ASSERT_EQ(pthread_join(workers[i].thread, NULL), 0);
                ASSERT_OK(workers[i].result);
                ASSERT_EQ(workers[i].n_got, N_MESSAGES);
        }
        server_end(&s, SIGTERM);
}

struct waiter {
        drmq_client *client;
        drmq_consumer *consumer;
        int result;
        atomic_bool is_polling;
};

static void *wait_for_ever(void *userdata) {
        struct waiter *w = userdata;

        atomic_store(&w->is_polling, true);
        w->result = drmq_consumer_poll(w->consumer, 1, UINT64_MAX);
        return NULL;
}

TEST(a_thread_interrupts_the_call_of_another, .timeout_sec = 60) {
        struct server s = { 0 };
        struct waiter w = { 0 };
        pthread_t thread;

        server_start(&s);
        ASSERT_OK(drmq_client_new(s.brokers, &w.client));
        ASSERT_OK(drmq_consumer_new(w.client, &w.consumer));
        ASSERT_OK(drmq_consumer_subscribe(w.consumer, "t", NULL, 0, DRMQ_FROM_END, 0));
        for (unsigned i = 0; i < 20; i++) {
                atomic_store(&w.is_polling, false);
                ASSERT_EQ(pthread_create(&thread, NULL, wait_for_ever, &w), 0);
                while (!atomic_load(&w.is_polling))
                        ;
                drmq_client_interrupt(w.client);
                ASSERT_EQ(pthread_join(thread, NULL), 0);
                ASSERT_ERROR(w.result, ECANCELED);
                drmq_client_resume(w.client);
        }
        drmq_consumer_free(w.consumer);
        drmq_client_free(w.client);
        server_end(&s, SIGTERM);
}
