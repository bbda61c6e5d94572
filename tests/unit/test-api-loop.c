/* SPDX-License-Identifier: Apache-2.0 */

/*
 * drmq.h on the caller's loop. The loops here wait for what the library says and for nothing else:
 * a wake-up that is lost is a test that hangs.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/time.h"
#include "drmq.h"
#include "tests/lib/server-fixture.h"
#include "tests/lib/test.h"

#define N_LINES 20000u

static drmq_client *client_of(const struct server *s) {
        drmq_client *c;

        ASSERT_OK(drmq_client_new(s->brokers, &c));
        return c;
}

/* Lines through a pipe into a topic and back, all on one loop. */
struct relay {
        drmq_client *client;
        drmq_producer *producer;
        drmq_consumer *consumer;
        sd_event_source *input;
        sd_event *event;
        int fds[2];
        pid_t writer;
        char buffer[4096];
        size_t n_buffer;
        bool is_full; /* the producer takes nothing more */
        bool has_ended;
        uint64_t n_sent, n_got, n_polls_in_vain, n_refused, n_wakeups;
};

/* Another process writes the lines, at its own pace. */
static void relay_start(struct relay *r, const struct server *s) {
        ASSERT_OK(pipe2(r->fds, O_CLOEXEC));
        fflush(stdout);
        r->writer = fork();
        ASSERT_OK(r->writer);
        if (r->writer == 0) {
                for (unsigned i = 0; i < N_LINES; i++)
                        if (dprintf(r->fds[1], "%u\n", i) < 0)
                                _exit(EXIT_FAILURE);
                _exit(EXIT_SUCCESS);
        }
        close(r->fds[1]);
        ASSERT_OK(fcntl(r->fds[0], F_SETFL, O_NONBLOCK));

        r->client = client_of(s);
        ASSERT_OK(drmq_producer_new(r->client, &r->producer));
        ASSERT_OK(drmq_producer_set_batch_bytes(r->producer, 1024));
        ASSERT_OK(drmq_producer_set_buffer_bytes(r->producer, 4096));
        ASSERT_OK(drmq_consumer_new(r->client, &r->consumer));
        ASSERT_OK(drmq_consumer_set_fetch_bytes(r->consumer, 4096));
        ASSERT_OK(drmq_consumer_set_buffer_bytes(r->consumer, 8192));
}

static void relay_end(struct relay *r) {
        struct drmq_producer_sums sums;

        ASSERT_EQ(r->n_got, N_LINES);
        ASSERT_EQ(r->n_sent, N_LINES);
        ASSERT_GT(r->n_refused, 0); /* the buffer was full at times, or there is nothing to test */
        drmq_producer_sums(r->producer, &sums);
        ASSERT_EQ(sums.n_acknowledged, N_LINES);
        ASSERT_OK(drmq_producer_flush(r->producer));
        /* The client goes first: the others keep it. */
        drmq_client_free(r->client);
        drmq_producer_free(r->producer);
        drmq_consumer_free(r->consumer);
        close(r->fds[0]);
}

/* Sends what there is of the input, as far as the producer takes it. */
static void relay_send(struct relay *r) {
        r->is_full = false;
        for (;;) {
                const char *end;
                ssize_t n;

                while ((end = memchr(r->buffer, '\n', r->n_buffer))) {
                        size_t size = (size_t) (end - r->buffer);
                        int k;

                        k = drmq_producer_send(r->producer,
                                               &(struct drmq_outgoing){
                                                       .topic = "t",
                                                       .value = r->buffer,
                                                       .value_size = size,
                                               });
                        if (k == -EAGAIN) {
                                r->is_full = true;
                                r->n_refused++;
                                return;
                        }
                        ASSERT_OK(k);
                        r->n_sent++;
                        r->n_buffer -= size + 1;
                        memmove(r->buffer, end + 1, r->n_buffer);
                }
                n = read(r->fds[0], r->buffer + r->n_buffer, sizeof(r->buffer) - r->n_buffer);
                if (n < 0) {
                        ASSERT_EQ(errno, EAGAIN);
                        return;
                }
                if (n == 0) {
                        r->has_ended = true;
                        return;
                }
                r->n_buffer += (size_t) n;
        }
}

/* Takes @n_polls times a few messages. Return: whether there may be more. */
static bool relay_take(struct relay *r, unsigned n_polls) {
        for (unsigned i = 0; i < n_polls; i++) {
                int n = ASSERT_OK(drmq_consumer_poll(r->consumer, 7, 10 * USEC_PER_SEC));

                if (n == 0) {
                        r->n_polls_in_vain++;
                        return false;
                }
                for (int k = 0; k < n; k++) {
                        const drmq_message *m = drmq_consumer_message(r->consumer, (size_t) k);
                        char expected[16];
                        size_t size;

                        (void) snprintf(expected, sizeof(expected), "%" PRIu64, r->n_got++);
                        ASSERT_MEM(drmq_message_value(m, &size), expected, strlen(expected));
                        ASSERT_EQ(size, strlen(expected));
                }
        }
        return true;
}

TEST(a_poll_loop_serves_a_producer_a_consumer_and_a_pipe, .timeout_sec = 60) {
        struct server s = { 0 };
        struct relay r = { 0 };

        server_start(&s);
        relay_start(&r, &s);
        ASSERT_OK(drmq_client_set_nonblocking(r.client, true));
        ASSERT_OK(drmq_consumer_subscribe(r.consumer, "t", NULL, 0, DRMQ_FROM_BEGINNING, 0));
        while (r.n_got < N_LINES) {
                uint64_t wait_usec = drmq_client_wait_usec(r.client);
                struct timespec ts = { .tv_sec = (time_t) (wait_usec / USEC_PER_SEC),
                                       .tv_nsec = (long) (wait_usec % USEC_PER_SEC * 1000) };
                struct pollfd fds[] = {
                        { .fd = drmq_client_fd(r.client), .events = POLLIN },
                        { .fd = r.has_ended || r.is_full ? -1 : r.fds[0], .events = POLLIN },
                };

                ASSERT_OK(ppoll(fds, 2, wait_usec == UINT64_MAX ? NULL : &ts, NULL));
                r.n_wakeups++;
                ASSERT_OK(drmq_client_dispatch(r.client));
                while (relay_take(&r, 1))
                        ;
                if (!r.has_ended || r.is_full || r.n_buffer > 0)
                        relay_send(&r);
        }
        printf("# %" PRIu64 " wake-ups, %" PRIu64 " refused\n", r.n_wakeups, r.n_refused);
        relay_end(&r);
        server_end(&s, SIGTERM);
}

static void on_producer_ready(void *userdata) {
        struct relay *r = userdata;

        ASSERT_TRUE(r->is_full);
        relay_send(r);
        ASSERT_OK(sd_event_source_set_enabled(
                r->input, r->is_full || r->has_ended ? SD_EVENT_OFF : SD_EVENT_ON));
}

static int on_input(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        struct relay *r = userdata;

        (void) fd;
        (void) revents;
        relay_send(r);
        return sd_event_source_set_enabled(source,
                                           r->is_full || r->has_ended ? SD_EVENT_OFF : SD_EVENT_ON);
}

static void on_consumer_ready(void *userdata) {
        struct relay *r = userdata;

        r->n_wakeups++;
        (void) relay_take(r, 1); /* the rest is told of anew */
        if (r->n_got == N_LINES)
                ASSERT_OK(sd_event_exit(r->event, 0));
}

TEST(an_sd_event_loop_serves_a_producer_a_consumer_and_a_pipe, .timeout_sec = 60) {
        struct server s = { 0 };
        struct relay r = { 0 };

        server_start(&s);
        relay_start(&r, &s);
        ASSERT_OK(sd_event_new(&r.event));
        ASSERT_ERROR(drmq_client_attach_event(r.client, NULL, 0), EINVAL);
        ASSERT_OK(drmq_client_attach_event(r.client, r.event, SD_EVENT_PRIORITY_NORMAL));
        ASSERT_ERROR(drmq_client_attach_event(r.client, r.event, 0), EBUSY);
        ASSERT_OK(drmq_producer_set_ready_callback(r.producer, on_producer_ready, &r));
        ASSERT_OK(drmq_consumer_set_ready_callback(r.consumer, on_consumer_ready, &r));
        ASSERT_OK(drmq_consumer_subscribe(r.consumer, "t", NULL, 0, DRMQ_FROM_BEGINNING, 0));
        ASSERT_OK(sd_event_add_io(r.event, &r.input, r.fds[0], EPOLLIN, on_input, &r));
        ASSERT_OK(sd_event_loop(r.event));
        printf("# %" PRIu64 " calls, %" PRIu64 " in vain, %" PRIu64 " refused\n",
               r.n_wakeups,
               r.n_polls_in_vain,
               r.n_refused);
        sd_event_source_disable_unref(r.input);
        drmq_client_detach_event(r.client);
        drmq_client_detach_event(r.client);
        relay_end(&r);
        sd_event_unref(r.event);
        server_end(&s, SIGTERM);
}

TEST(a_client_that_waits_wakes_up_less_than_once_a_second) {
        enum { SECONDS = 8 };
        unsigned n_polled = 0, n_attached = 0;
        drmq_client *polled, *attached;
        drmq_producer *producers[2];
        drmq_consumer *consumers[2];
        struct server s = { 0 };
        sd_event *event;
        usec_t end;

        server_start(&s);
        polled = client_of(&s);
        attached = client_of(&s);
        for (unsigned i = 0; i < 2; i++) {
                drmq_client *c = i == 0 ? polled : attached;

                ASSERT_OK(drmq_producer_new(c, &producers[i]));
                ASSERT_OK(drmq_consumer_new(c, &consumers[i]));
                for (unsigned k = 0; k < 3; k++) {
                        char topic[16];

                        (void) snprintf(topic, sizeof(topic), "t%u", k);
                        ASSERT_OK(drmq_producer_send_sync(
                                producers[i], &(struct drmq_outgoing){ .topic = topic }, NULL));
                        ASSERT_OK(drmq_consumer_subscribe(
                                consumers[i], topic, NULL, 0, DRMQ_FROM_END, 0));
                }
        }
        ASSERT_OK(sd_event_new(&event));
        ASSERT_OK(drmq_client_attach_event(attached, event, 0));
        ASSERT_OK(drmq_client_set_nonblocking(polled, true));

        end = now_monotonic_usec() + SECONDS * USEC_PER_SEC;
        for (usec_t now; (now = now_monotonic_usec()) < end;) {
                usec_t wait_usec = MIN(end - now, drmq_client_wait_usec(polled));
                struct timespec ts = { .tv_sec = (time_t) (wait_usec / USEC_PER_SEC),
                                       .tv_nsec = (long) (wait_usec % USEC_PER_SEC * 1000) };
                struct pollfd fds[] = {
                        { .fd = drmq_client_fd(polled), .events = POLLIN },
                        { .fd = sd_event_get_fd(event), .events = POLLIN },
                };
                int r = sd_event_prepare(event);

                ASSERT_OK(r);
                if (r == 0) {
                        ASSERT_OK(ppoll(fds, 2, &ts, NULL));
                        r = ASSERT_OK(sd_event_wait(event, 0));
                }
                if (r > 0) {
                        n_attached++;
                        ASSERT_OK(sd_event_dispatch(event));
                }
                if (fds[0].revents || drmq_client_wait_usec(polled) == 0) {
                        n_polled++;
                        ASSERT_OK(drmq_client_dispatch(polled));
                }
        }
        printf("# in %u s %u wake-ups polled, %u attached\n",
               (unsigned) SECONDS,
               n_polled,
               n_attached);
        ASSERT_LT(n_polled, SECONDS);
        ASSERT_LT(n_attached, SECONDS);
        /* And awake it is, when there is something. */
        ASSERT_OK(drmq_producer_send_sync(
                producers[0], &(struct drmq_outgoing){ .topic = "t2" }, NULL));
        drmq_client_detach_event(attached);
        ASSERT_EQ(drmq_consumer_poll(consumers[1], 1, 10 * USEC_PER_SEC), 1);
        for (unsigned i = 0; i < 2; i++) {
                drmq_consumer_free(consumers[i]);
                drmq_producer_free(producers[i]);
        }
        drmq_client_free(polled);
        drmq_client_free(attached);
        sd_event_unref(event);
        server_end(&s, SIGTERM);
}

/* Waits until the client has something to do, and does it. */
static void turn(drmq_client *c) {
        struct pollfd p = { .fd = drmq_client_fd(c), .events = POLLIN };
        uint64_t wait_usec = MIN(drmq_client_wait_usec(c), 10 * USEC_PER_SEC);

        ASSERT_OK(poll(&p, 1, (int) ((wait_usec + 999) / 1000)));
        ASSERT_OK(drmq_client_dispatch(c));
}

TEST(flush_and_commit_do_not_wait_where_nothing_may) {
        struct drmq_outgoing m = { .topic = "t", .value = "x", .value_size = 1 };
        struct server s = { 0 };
        uint64_t offset = 0;
        drmq_producer *p;
        drmq_consumer *k;
        drmq_client *c;
        int r;

        server_start(&s);
        c = client_of(&s);
        ASSERT_OK(drmq_client_set_nonblocking(c, true));
        ASSERT_OK(drmq_producer_new(c, &p));
        while ((r = drmq_producer_send(p, &m)) == -EAGAIN)
                turn(c); /* its partitions are being asked for */
        ASSERT_OK(r);
        while ((r = drmq_producer_flush(p)) == -EINPROGRESS)
                turn(c);
        ASSERT_OK(r);
        ASSERT_OK(kill(s.pid, SIGSTOP)); /* nothing is answered */
        ASSERT_OK(drmq_producer_send(p, &m));
        ASSERT_LE(drmq_client_wait_usec(c), USEC_PER_SEC); /* it lingers */
        ASSERT_ERROR(drmq_producer_flush(p), EINPROGRESS);
        ASSERT_STREQ(drmq_client_error(c), "1 messages are on their way");
        ASSERT_OK(kill(s.pid, SIGCONT));
        while ((r = drmq_producer_flush(p)) == -EINPROGRESS)
                turn(c);
        ASSERT_OK(r);

        ASSERT_OK(drmq_consumer_new(c, &k));
        ASSERT_OK(drmq_consumer_set_group(k, "me"));
        ASSERT_OK(drmq_consumer_subscribe(k, "t", NULL, 0, DRMQ_FROM_POSITION, 0));
        while ((r = drmq_consumer_poll(k, 1, UINT64_MAX)) == 0)
                turn(c);
        ASSERT_EQ(r, 1);
        ASSERT_OK(drmq_consumer_commit(k, true));
        ASSERT_ERROR(drmq_consumer_commit_offset(k, "t", 0, 0), EAGAIN);
        while (drmq_consumer_commit(k, true) == -EAGAIN)
                turn(c);
        ASSERT_OK(drmq_consumer_committed(k, "t", 0, &offset)); /* this one waits */
        ASSERT_EQ(offset, 1);
        drmq_consumer_free(k);
        drmq_producer_free(p);
        drmq_client_free(c);
        server_end(&s, SIGTERM);
}

TEST(what_is_not_acknowledged_or_not_polled_is_bounded) {
        enum { BUFFER_BYTES = 1 << 20, FETCH_BYTES = 64 << 10, SLACK_BYTES = 1 << 20 };
        static const char value[1000];
        struct drmq_outgoing m = { .topic = "t", .value = value, .value_size = sizeof(value) };
        struct server s = { 0 };
        size_t n_before, n_sent = 0;
        drmq_producer *p;
        drmq_consumer *k;
        drmq_client *c;
        int r;

        server_start(&s);
        c = client_of(&s);
        ASSERT_OK(drmq_producer_new(c, &p));
        ASSERT_OK(drmq_producer_set_buffer_bytes(p, BUFFER_BYTES));
        ASSERT_OK(drmq_producer_set_batch_bytes(p, 16 << 10));
        ASSERT_OK(drmq_producer_send_sync(p, &m, NULL));
        ASSERT_OK(drmq_client_set_nonblocking(c, true));
        n_before = mem_bytes();
        ASSERT_OK(kill(s.pid, SIGSTOP)); /* nothing is acknowledged */
        while ((r = drmq_producer_send(p, &m)) >= 0)
                n_sent++;
        ASSERT_ERROR(r, EAGAIN);
        ASSERT_GT(n_sent * sizeof(value), BUFFER_BYTES * 9 / 10);
        ASSERT_LT(n_sent * sizeof(value), BUFFER_BYTES + SLACK_BYTES);
        ASSERT_LT(mem_bytes(), n_before + BUFFER_BYTES + SLACK_BYTES);
        ASSERT_OK(kill(s.pid, SIGCONT));
        ASSERT_OK(drmq_client_set_nonblocking(c, false));
        for (unsigned i = 0; i < 8000; i++)
                ASSERT_OK(drmq_producer_send(p, &m));
        ASSERT_OK(drmq_producer_flush(p));
        drmq_producer_free(p);

        /* 8 MB are there, and nobody polls: what is fetched stays. */
        n_before = mem_bytes();
        ASSERT_OK(drmq_consumer_new(c, &k));
        ASSERT_OK(drmq_consumer_set_fetch_bytes(k, FETCH_BYTES));
        ASSERT_OK(drmq_consumer_set_buffer_bytes(k, 2 * FETCH_BYTES));
        ASSERT_OK(drmq_consumer_subscribe(k, "t", NULL, 0, DRMQ_FROM_BEGINNING, 0));
        ASSERT_EQ(drmq_consumer_poll(k, 1, 10 * USEC_PER_SEC), 1);
        for (unsigned i = 0; i < 100; i++)
                ASSERT_EQ(drmq_consumer_poll(k, 1, 10 * USEC_PER_SEC), 1);
        ASSERT_LT(mem_bytes(), n_before + 4 * FETCH_BYTES + SLACK_BYTES);
        drmq_consumer_free(k);
        drmq_client_free(c);
        server_end(&s, SIGTERM);
}

TEST(a_flush_waits_no_longer_than_it_is_told) {
        struct server s = { 0 };
        drmq_producer *p;
        drmq_client *c;

        server_start(&s);
        c = client_of(&s);
        ASSERT_OK(drmq_producer_new(c, &p));
        ASSERT_OK(drmq_producer_flush_timeout(p, 0));
        ASSERT_OK(drmq_producer_send_sync(p, &(struct drmq_outgoing){ .topic = "t" }, NULL));
        ASSERT_OK(kill(s.pid, SIGSTOP));
        ASSERT_OK(drmq_producer_send(p, &(struct drmq_outgoing){ .topic = "t" }));
        ASSERT_ERROR(drmq_producer_flush_timeout(p, 10 * USEC_PER_MSEC), EINPROGRESS);
        ASSERT_ERROR(drmq_producer_flush_timeout(p, 0), EINPROGRESS);
        ASSERT_OK(kill(s.pid, SIGCONT));
        ASSERT_OK(drmq_producer_flush_timeout(p, UINT64_MAX));
        drmq_producer_free(p);
        drmq_client_free(c);
        server_end(&s, SIGTERM);
}

TEST(a_message_that_is_waited_for_has_its_offset_or_its_error) {
        struct drmq_outgoing m = { .topic = "t", .partition = 1, .value = "x", .value_size = 1 };
        struct server s = { 0 };
        uint64_t offset;
        drmq_producer *p;
        drmq_client *c;

        server_start(&s);
        c = client_of(&s);
        ASSERT_OK(drmq_topic_create(c, "t", 2, false));
        ASSERT_OK(drmq_producer_new(c, &p));
        ASSERT_OK(drmq_producer_set_linger(p, 10 * USEC_PER_SEC));
        for (unsigned i = 0; i < 3; i++) {
                ASSERT_OK(drmq_producer_send_sync(p, &m, &offset));
                ASSERT_EQ(offset, 4 * i);
                for (unsigned k = 0; k < 3; k++) /* these linger, and go with the next */
                        ASSERT_OK(drmq_producer_send(p, &m));
        }
        m.partition = 2;
        ASSERT_ERROR(drmq_producer_send_sync(p, &m, &offset), ENXIO);
        ASSERT_EQ(offset, 8);
        m.partition = 1;
        ASSERT_OK(drmq_producer_flush(p));

        /* What one message was told is not told again by a flush. */
        server_end(&s, SIGKILL);
        ASSERT_OK(drmq_client_set_timeout(c, 200 * USEC_PER_MSEC));
        drmq_producer_free(p);
        server_start(&s);
        ASSERT_OK(drmq_producer_new(c, &p));
        ASSERT_OK(drmq_producer_send_sync(p, &m, NULL));
        server_end(&s, SIGKILL);
        ASSERT_ERROR(drmq_producer_send_sync(p, &m, NULL), ENOTCONN);
        ASSERT_NOT_NULL(strstr(drmq_client_error(c), "t/1: cannot reach any broker"));
        ASSERT_OK(drmq_producer_flush(p));
        drmq_producer_free(p);

        ASSERT_OK(drmq_producer_new(c, &p));
        ASSERT_OK(drmq_producer_set_atomic(p, true));
        ASSERT_ERROR(drmq_producer_send_sync(p, &m, NULL), EINVAL);
        drmq_producer_free(p);
        drmq_client_free(c);
}

struct calls {
        drmq_client *client;
        drmq_producer *producer;
        drmq_consumer *consumer;
        unsigned n;
        int result;
};

static void count(void *userdata) {
        struct calls *calls = userdata;

        calls->n++;
        calls->result = drmq_consumer_poll(calls->consumer, 1, 0);
}

TEST(a_topic_that_is_missing_and_a_node_that_is_gone_are_told_by_the_loop) {
        struct server s = { 0 };
        struct calls calls = { 0 };
        drmq_consumer *k;
        drmq_client *c;

        server_start(&s);
        c = client_of(&s);
        ASSERT_OK(drmq_client_set_timeout(c, USEC_PER_SEC));
        ASSERT_OK(drmq_client_set_nonblocking(c, true));
        ASSERT_OK(drmq_consumer_new(c, &k));
        calls.consumer = k;
        ASSERT_OK(drmq_consumer_set_wait_for_topic(k, false));
        ASSERT_OK(drmq_consumer_set_ready_callback(k, count, &calls));
        ASSERT_OK(drmq_consumer_subscribe(k, "missing", NULL, 0, DRMQ_FROM_BEGINNING, 0));
        while (calls.n == 0)
                turn(c);
        ASSERT_ERROR(calls.result, ENOENT);
        ASSERT_NOT_NULL(strstr(drmq_client_error(c), "missing"));
        ASSERT_OK(drmq_consumer_subscribe(k, "missing", NULL, 0, DRMQ_FROM_BEGINNING, 0));
        ASSERT_OK(drmq_consumer_subscribe(k, "gone", NULL, 0, DRMQ_FROM_BEGINNING, 0));
        for (calls.n = 0; calls.n < 2;) {
                turn(c);
                ASSERT_TRUE(calls.n == 0 || calls.result == -ENOENT);
        }
        ASSERT_OK(drmq_client_set_nonblocking(c, false));
        ASSERT_OK(drmq_topic_create(c, "t", 1, false));
        ASSERT_OK(drmq_consumer_subscribe(k, "t", NULL, 0, DRMQ_FROM_BEGINNING, 0));
        ASSERT_OK(drmq_client_set_nonblocking(c, true));

        ASSERT_EQ(drmq_consumer_poll(k, 1, 0), 0);
        server_end(&s, SIGKILL);
        calls.n = 0;
        while (calls.n == 0)
                turn(c);
        ASSERT_ERROR(calls.result, ENOTCONN);
        ASSERT_NOT_NULL(strstr(drmq_client_error(c), "cannot reach any broker"));
        drmq_client_free(c);
        drmq_consumer_free(k);
}

static void on_delivery(void *userdata, const struct drmq_delivery *d) {
        struct calls *calls = userdata;
        const struct drmq_topic_info *topic;
        struct drmq_outgoing m = { .topic = "t" };

        ASSERT_OK(d->error);
        ASSERT_ERROR(drmq_producer_send(calls->producer, &m), EDEADLK);
        ASSERT_ERROR(drmq_producer_flush(calls->producer), EDEADLK);
        ASSERT_ERROR(drmq_consumer_poll(calls->consumer, 1, 0), EDEADLK);
        ASSERT_ERROR(drmq_topic_describe(calls->client, "t", &topic), EDEADLK);
        ASSERT_NOT_NULL(strstr(drmq_client_error(calls->client), "callback"));
        calls->n++;
}

static void free_all(void *userdata) {
        struct calls *calls = userdata;

        drmq_client_free(calls->client);
        drmq_consumer_free(calls->consumer);
        drmq_producer_free(calls->producer);
        calls->n = 1000;
}

TEST(what_callbacks_may_not_do_is_refused_and_what_they_may_works) {
        struct server s = { 0 };
        struct calls calls = { 0 };
        drmq_client *c;

        server_start(&s);
        calls.client = c = client_of(&s);
        ASSERT_OK(drmq_consumer_new(c, &calls.consumer));
        ASSERT_OK(drmq_consumer_subscribe(calls.consumer, "t", NULL, 0, DRMQ_FROM_BEGINNING, 0));
        ASSERT_OK(drmq_producer_new(c, &calls.producer));
        ASSERT_OK(drmq_producer_set_delivery_callback(calls.producer, on_delivery, &calls));
        ASSERT_OK(drmq_producer_send_sync(
                calls.producer, &(struct drmq_outgoing){ .topic = "t" }, NULL));
        ASSERT_EQ(calls.n, 1);

        ASSERT_OK(drmq_consumer_set_ready_callback(calls.consumer, free_all, &calls));
        while (calls.n < 1000)
                turn(c);
        server_end(&s, SIGTERM);
}

TEST(a_childs_client_is_its_own) {
        struct server s = { 0 };
        const struct drmq_node_info *node;
        drmq_client *c;
        int status;
        pid_t pid;

        server_start(&s);
        c = client_of(&s);
        ASSERT_OK(drmq_status(c, &node));
        fflush(stdout);
        pid = fork();
        ASSERT_OK(pid);
        if (pid == 0) {
                drmq_client *own;

                if (drmq_status(c, &node) != -ECHILD || !strstr(drmq_client_error(c), "fork"))
                        _exit(1);
                if (drmq_client_new(s.brokers, &own) < 0 || drmq_status(own, &node) < 0)
                        _exit(2);
                drmq_client_free(own);
                _exit(0);
        }
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        ASSERT_EQ(status, 0);
        ASSERT_OK(drmq_status(c, &node));
        drmq_client_free(c);
        server_end(&s, SIGTERM);
}

TEST(a_connection_that_breaks_sends_no_sigpipe_and_prints_nothing) {
        struct server s = { 0 };
        drmq_producer *p;
        drmq_client *c;
        int out[2], saved_out = dup(STDOUT_FILENO), saved_err = dup(STDERR_FILENO);
        int results[4];
        char byte;

        server_start(&s);
        ASSERT_TRUE(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
        ASSERT_OK(pipe2(out, O_NONBLOCK));
        fflush(stdout);
        dup2(out[1], STDOUT_FILENO);
        dup2(out[1], STDERR_FILENO);

        c = client_of(&s);
        results[0] = drmq_producer_new(c, &p);
        results[1] = drmq_producer_send_sync(p, &(struct drmq_outgoing){ .topic = "t" }, NULL);
        server_end(&s, SIGKILL);
        results[2] = drmq_client_set_timeout(c, 300 * USEC_PER_MSEC);
        for (unsigned i = 0; i < 1000; i++)
                results[3] = drmq_producer_send(p, &(struct drmq_outgoing){ .topic = "t" });
        (void) drmq_producer_flush_timeout(p, 300 * USEC_PER_MSEC);
        drmq_producer_free(p);
        drmq_client_free(c);

        dup2(saved_out, STDOUT_FILENO);
        dup2(saved_err, STDERR_FILENO);
        for (unsigned i = 0; i < 4; i++)
                ASSERT_OK(results[i]);
        ASSERT_EQ(read(out[0], &byte, 1), -1); /* nothing was written */
        ASSERT_EQ(errno, EAGAIN);
        close(out[0]);
        close(out[1]);
        close(saved_out);
        close(saved_err);
}

TEST(arguments_that_cannot_be_are_refused) {
        const struct drmq_topic_info *topic;
        const struct drmq_offset_info *offsets;
        const struct drmq_node_info *node;
        struct drmq_outgoing m = { 0 };
        struct drmq_producer_sums sums = { .n_sent = 1 };
        uint64_t offset;
        const char *name;
        size_t n;

        ASSERT_ERROR(drmq_client_new("x", NULL), EINVAL);
        ASSERT_NULL(drmq_client_free(NULL));
        ASSERT_STREQ(drmq_client_error(NULL), "");
        ASSERT_ERROR(drmq_client_set_timeout(NULL, 1), EINVAL);
        drmq_client_interrupt(NULL);
        drmq_client_resume(NULL);
        drmq_client_detach_event(NULL);
        ASSERT_ERROR(drmq_default_brokers(NULL), EINVAL);
        ASSERT_ERROR(drmq_client_fd(NULL), EINVAL);
        ASSERT_EQ(drmq_client_wait_usec(NULL), UINT64_MAX);
        ASSERT_ERROR(drmq_client_dispatch(NULL), EINVAL);
        ASSERT_ERROR(drmq_client_set_nonblocking(NULL, true), EINVAL);
        ASSERT_ERROR(drmq_producer_new(NULL, NULL), EINVAL);
        ASSERT_NULL(drmq_producer_free(NULL));
        ASSERT_ERROR(drmq_producer_send(NULL, &m), EINVAL);
        ASSERT_ERROR(drmq_producer_send_sync(NULL, &m, NULL), EINVAL);
        ASSERT_ERROR(drmq_producer_flush(NULL), EINVAL);
        ASSERT_ERROR(drmq_producer_flush_timeout(NULL, 0), EINVAL);
        ASSERT_ERROR(drmq_producer_poll(NULL), EINVAL);
        ASSERT_ERROR(drmq_producer_fd(NULL), EINVAL);
        ASSERT_EQ(drmq_producer_wait_usec(NULL), UINT64_MAX);
        ASSERT_ERROR(drmq_producer_set_ready_callback(NULL, NULL, NULL), EINVAL);
        drmq_producer_sums(NULL, &sums);
        ASSERT_EQ(sums.n_sent, 0);
        ASSERT_ERROR(drmq_consumer_new(NULL, NULL), EINVAL);
        ASSERT_NULL(drmq_consumer_free(NULL));
        ASSERT_ERROR(drmq_consumer_subscribe(NULL, "t", NULL, 0, DRMQ_FROM_END, 0), EINVAL);
        ASSERT_ERROR(drmq_consumer_unsubscribe(NULL, "t"), EINVAL);
        ASSERT_ERROR(drmq_consumer_seek(NULL, "t", 0, 0), EINVAL);
        ASSERT_ERROR(drmq_consumer_seek_to(NULL, "t", 0, DRMQ_FROM_END, 0), EINVAL);
        ASSERT_ERROR(drmq_consumer_poll(NULL, 1, 0), EINVAL);
        ASSERT_NULL(drmq_consumer_message(NULL, 0));
        ASSERT_FALSE(drmq_consumer_is_at_end(NULL));
        ASSERT_ERROR(drmq_consumer_commit(NULL, true), EINVAL);
        ASSERT_ERROR(drmq_consumer_commit_offset(NULL, "t", 0, 0), EINVAL);
        ASSERT_ERROR(drmq_consumer_committed(NULL, "t", 0, &offset), EINVAL);
        ASSERT_ERROR(drmq_consumer_position(NULL, "t", 0, &offset), EINVAL);
        ASSERT_NULL(drmq_message_topic(NULL));
        ASSERT_NULL(drmq_message_key(NULL, &n));
        ASSERT_NULL(drmq_message_value(NULL, &n));
        ASSERT_EQ(n, 0);
        ASSERT_EQ(drmq_message_offset(NULL), 0);
        ASSERT_EQ(drmq_message_n_headers(NULL), 0);
        ASSERT_ERROR(drmq_message_header(NULL, 0, &name, &n, NULL, NULL), EINVAL);
        ASSERT_ERROR(drmq_topic_create(NULL, "t", 1, true), EINVAL);
        ASSERT_ERROR(drmq_topic_delete(NULL, "t"), EINVAL);
        ASSERT_ERROR(drmq_topics_list(NULL, &topic, &n), EINVAL);
        ASSERT_ERROR(drmq_topic_describe(NULL, "t", &topic), EINVAL);
        ASSERT_ERROR(drmq_topic_offsets(NULL, "t", DRMQ_FROM_END, 0, &offsets, &n), EINVAL);
        ASSERT_ERROR(drmq_status(NULL, &node), EINVAL);
}
