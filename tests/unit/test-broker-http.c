/* SPDX-License-Identifier: Apache-2.0 */

/*
 * HTTP on the broker's connections: what is answered, whole, however it is asked for and read; that
 * who misbehaves ends alone; and what health says in each state.
 */

#include "drmqd/core/core.h"
#include "drmqd/core/http.h"
#include "proto/message.h"
#include "tests/lib/broker-fixture.h"
#include "tests/lib/test.h"

#define GET_HEALTH "GET /health HTTP/1.1\r\nHost: broker\r\n\r\n"
#define GET_METRICS "GET /metrics HTTP/1.1\r\nHost: broker\r\n\r\n"
#define LOG_PATH "/data/shard-1/00000000000000000001.log"

static void begin(struct broker_fixture *f) {
        broker_fixture_init(f, 1);
        broker_fixture_start(f);
}

/* Nothing is left of who is gone. */
static void end(struct broker_fixture *f) {
        broker_fixture_run(f, 5 * USEC_PER_SEC);
        ASSERT_EQ(f->n_fatal, 0);
        ASSERT_EQ(f->broker->n_conns, 0);
        ASSERT_EQ(f->broker->answers.used_bytes, 0);
        ASSERT_EQ(f->broker->requests.used_bytes, 0);
        broker_fixture_done(f);
}

static void dial(struct broker_client *c, struct broker_fixture *f) {
        broker_client_dial(c, f);
        c->is_raw = true;
}

static void say(struct broker_client *c, const char *text) {
        broker_client_bytes(c, text, strlen(text));
}

/* Waits for the end of the connection. Return: all that came, free(). */
static char *hear(struct broker_client *c) {
        char *text;

        ASSERT_TRUE(broker_client_wait_end(c, BROKER_FIXTURE_WAIT_USEC));
        text = calloc(1, c->n_raw + 1);
        ASSERT_NOT_NULL(text);
        if (c->n_raw > 0)
                memcpy(text, c->raw, c->n_raw);
        return text;
}

/* That it is one whole answer of that status. Return: its body, in @text. */
static const char *check_answer(const char *text, unsigned status) {
        char first[64], length[64];
        const char *body;

        snprintf(first, sizeof(first), "HTTP/1.1 %u ", status);
        if (strncmp(text, first, strlen(first)) != 0)
                test_fail(__FILE__, __LINE__, "not %u: %s", status, text);
        body = strstr(text, "\r\n\r\n");
        ASSERT_NOT_NULL(body);
        body += 4;
        snprintf(length, sizeof(length), "\r\nContent-Length: %zu\r\n", strlen(body));
        ASSERT_NOT_NULL(strstr(text, length));
        return body;
}

/* Asks on a connection of its own. @body: what it must be, NULL: anything. */
static void
expect(struct broker_fixture *f, const char *request, unsigned status, const char *body) {
        const usec_t begun_usec = sim_world_now(f->world);
        struct broker_client c;
        char *text;

        dial(&c, f);
        say(&c, request);
        text = hear(&c);
        ASSERT_LT(sim_world_now(f->world), begun_usec + USEC_PER_SEC); /* the end comes with it */
        if (body)
                ASSERT_STREQ(check_answer(text, status), body);
        else
                (void) check_answer(text, status);
        free(text);
        broker_client_end(&c);
}

/* ---- Answers ---- */

TEST(two_pages_are_there_and_no_more) {
        struct broker_fixture f;

        begin(&f);
        expect(&f, GET_HEALTH, 200, "ok\n");
        expect(&f, "GET /health?verbose HTTP/1.0\r\n\r\n", 200, "ok\n");
        expect(&f, GET_METRICS, 200, NULL);
        expect(&f, "GET / HTTP/1.1\r\n\r\n", 404, "there are /metrics and /health\n");
        expect(&f, "GET /metrics/ HTTP/1.1\r\n\r\n", 404, NULL);
        expect(&f, "POST /metrics HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi", 405, NULL);
        expect(&f, "DELETE /metrics HTTP/1.1\r\n\r\n", 405, NULL);
        expect(&f, "GET /metrics HTTP/3.0\r\n\r\n", 505, NULL);
        expect(&f, "GET /metrics\r\n\r\n", 400, NULL);
        expect(&f, "GET /metrics HTTP/1.1\r\nno colon\r\n\r\n", 400, NULL);
        broker_fixture_run(&f, USEC_PER_SEC);
        ASSERT_EQ(f.broker->metrics.n_http_requests, 10);
        ASSERT_EQ(f.broker->metrics.n_ended[CONN_END_HTTP], 10);
        end(&f);
}

TEST(the_report_is_the_body) {
        struct broker_fixture f;
        struct broker_client c;
        const char *body;
        char *text;

        begin(&f);
        dial(&c, &f);
        say(&c, GET_METRICS);
        text = hear(&c);
        body = check_answer(text, 200);
        ASSERT_NOT_NULL(strstr(text, "\r\nContent-Type: text/plain; version=0.0.4"));
        ASSERT_EQ(strncmp(body, "# HELP drmq_", 12), 0);
        ASSERT_NOT_NULL(strstr(body, "\ndrmq_http_requests_total 1\n"));
        ASSERT_NOT_NULL(strstr(body, "\ndrmq_connections 1\n"));
        free(text);
        broker_client_end(&c);
        end(&f);
}

TEST(head_has_a_length_and_no_body) {
        struct broker_fixture f;
        struct broker_client c;
        char *text;

        begin(&f);
        dial(&c, &f);
        say(&c, "HEAD /health HTTP/1.1\r\n\r\n");
        text = hear(&c);
        ASSERT_EQ(strncmp(text, "HTTP/1.1 200 OK\r\n", 17), 0);
        ASSERT_NOT_NULL(strstr(text, "\r\nContent-Length: 3\r\n"));
        ASSERT_STREQ(text + strlen(text) - 4, "\r\n\r\n");
        ASSERT_TRUE(strstr(text, "\r\n\r\n") == text + strlen(text) - 4);
        free(text);
        broker_client_end(&c);
        end(&f);
}

/* ---- However it is asked ---- */

TEST(a_request_may_come_in_single_bytes) {
        struct broker_fixture f;
        struct broker_client c;
        char *text;

        begin(&f);
        dial(&c, &f);
        for (const char *p = GET_HEALTH; *p; p++) {
                ASSERT_FALSE(c.has_ended);
                broker_client_bytes(&c, p, 1);
                broker_fixture_run(&f, 100 * USEC_PER_MSEC);
        }
        text = hear(&c);
        ASSERT_STREQ(check_answer(text, 200), "ok\n");
        free(text);
        broker_client_end(&c);
        end(&f);
}

TEST(what_follows_a_request_is_not_answered_and_harms_nobody) {
        static char rest[300000];
        struct broker_fixture f;
        struct broker_client c, other;
        uint64_t id;
        char *text;

        memset(rest, 'x', sizeof(rest));
        begin(&f);
        broker_client_connect(&other, &f);
        id = broker_client_topic(&other, "a", 1);

        /* a second request, and far more than a request may have */
        dial(&c, &f);
        say(&c, GET_HEALTH GET_METRICS);
        broker_client_bytes(&c, rest, sizeof(rest));
        text = hear(&c);
        ASSERT_STREQ(check_answer(text, 200), "ok\n");
        free(text);
        broker_client_end(&c);

        ASSERT_EQ(broker_client_produce(&other, id, 1, 10), 0);
        broker_client_end(&other);
        end(&f);
}

TEST(who_says_more_than_is_listened_to_is_hung_up_on) {
        static char rest[1 << 21];
        struct broker_fixture f;
        struct broker_client c;

        begin(&f);
        sim_world_net(f.world)->config.window_bytes = 4096; /* its answer stays on the way */
        dial(&c, &f);
        c.is_deaf = true;
        say(&c, GET_METRICS);
        broker_client_bytes(&c, rest, sizeof(rest));
        broker_fixture_run(&f, f.config.idle_usec / 2);
        ASSERT_EQ(f.broker->metrics.n_ended[CONN_END_HTTP], 1);
        ASSERT_LT(c.n_sent, 3 << 19);
        broker_client_end(&c);
        end(&f);
}

TEST(who_ends_his_side_behind_the_request_is_still_answered) {
        struct broker_fixture f;
        struct broker_client c;
        char *text;

        begin(&f);
        broker_client_connect(&c, &f); /* more to be told */
        (void) broker_client_topic(&c, "a", 1);
        for (unsigned i = 0; i < 200; i++) {
                char name[32];

                snprintf(name, sizeof(name), "topic-%u", i);
                (void) broker_client_produce(&c, broker_client_topic(&c, name, 1), 1, 1);
        }
        broker_client_end(&c);
        broker_fixture_run(&f, USEC_PER_SEC);

        sim_world_net(f.world)->config.window_bytes = 4096;
        dial(&c, &f);
        say(&c, GET_METRICS);
        while (c.n_sent < c.n_bytes)
                ASSERT_TRUE(sim_world_step(f.world, sim_world_now(f.world) + USEC_PER_SEC));
        io_stream_finish(c.stream);
        text = hear(&c);
        ASSERT_NOT_NULL(strstr(check_answer(text, 200), "topic=\"topic-199\""));
        free(text);
        broker_client_end(&c);
        end(&f);
}

TEST(a_head_of_ten_thousand_bytes_is_431) {
        static char text[10000];
        struct broker_fixture f;
        struct broker_client c;
        char *answer;

        begin(&f);
        memset(text, 'a', sizeof(text));
        memcpy(text, "GET /metrics HTTP/1.1\r\nX: ", 26);
        dial(&c, &f);
        broker_client_bytes(&c, text, sizeof(text));
        answer = hear(&c);
        (void) check_answer(answer, 431);
        free(answer);
        broker_client_end(&c);
        end(&f);
}

TEST(a_nul_in_a_head_is_400) {
        static const char text[] = "GET /\0 HTTP/1.1\r\n\r\n";
        struct broker_fixture f;
        struct broker_client c;
        char *answer;

        begin(&f);
        dial(&c, &f);
        broker_client_bytes(&c, text, sizeof(text) - 1);
        answer = hear(&c);
        (void) check_answer(answer, 400);
        free(answer);
        broker_client_end(&c);
        end(&f);
}

/* ---- Time ---- */

TEST(half_a_request_ends_after_the_idle_time) {
        struct broker_fixture f;
        struct broker_client c;

        begin(&f);
        dial(&c, &f);
        say(&c, "GET /metr");
        broker_fixture_run(&f, f.config.idle_usec - USEC_PER_SEC);
        ASSERT_FALSE(c.has_ended);
        broker_fixture_run(&f, 2 * USEC_PER_SEC);
        ASSERT_TRUE(c.has_ended);
        ASSERT_EQ(c.n_raw, 0);
        ASSERT_EQ(f.broker->metrics.n_ended[CONN_END_IDLE], 1);
        broker_client_end(&c);
        end(&f);
}

TEST(a_byte_now_and_then_does_not_hold_a_connection) {
        struct broker_fixture f;
        struct broker_client c;
        unsigned n = 0;

        begin(&f);
        dial(&c, &f);
        say(&c, "GET /metrics HTTP/1.1\r\nX: ");
        while (!c.has_ended) {
                ASSERT_LT(n++, 40);
                say(&c, "x");
                broker_fixture_run(&f, USEC_PER_SEC);
        }
        ASSERT_EQ(f.broker->metrics.n_ended[CONN_END_IDLE], 1);
        broker_client_end(&c);
        end(&f);
}

TEST(who_has_his_answer_and_stays_is_hung_up_on) {
        struct broker_fixture f;
        struct broker_client c;

        begin(&f);
        dial(&c, &f);
        c.is_deaf = true; /* it is on its way to him, and he does not even see the end */
        say(&c, "GET /health HTTP/1.1\r\n\r\n");
        broker_fixture_run(&f, USEC_PER_SEC);
        ASSERT_EQ(f.broker->metrics.n_http_requests, 1);
        ASSERT_EQ(f.broker->answers.used_bytes, 0);
        ASSERT_EQ(f.broker->n_conns, 1);
        broker_fixture_run(&f, 2 * USEC_PER_SEC);
        ASSERT_EQ(f.broker->n_conns, 0);
        ASSERT_EQ(f.broker->metrics.n_ended[CONN_END_HTTP], 1);
        broker_client_end(&c);
        end(&f);
}

TEST(who_does_not_take_his_answer_is_hung_up_on) {
        struct broker_fixture f;
        struct broker_client c;

        begin(&f);
        sim_world_net(f.world)->config.window_bytes = 1024; /* no report fits */
        dial(&c, &f);
        c.is_deaf = true;
        say(&c, GET_METRICS);
        broker_fixture_run(&f, USEC_PER_SEC);
        ASSERT_GT(f.broker->answers.used_bytes, 0);
        broker_fixture_run(&f, f.config.idle_usec + USEC_PER_SEC);
        ASSERT_EQ(f.broker->metrics.n_ended[CONN_END_UNREAD], 1);
        ASSERT_EQ(f.broker->answers.used_bytes, 0);
        broker_client_end(&c);
        end(&f);
}

/* Slowly, but without a pause of the idle time: it takes longer than that in all. */
TEST(an_answer_that_is_read_slowly_comes_whole) {
        struct broker_fixture f;
        struct broker_client c;
        char *text;

        broker_fixture_init(&f, 1);
        f.config.idle_usec = USEC_PER_SEC;
        broker_fixture_start(&f);
        sim_world_net(f.world)->config.window_bytes = 1024;
        dial(&c, &f);
        say(&c, GET_METRICS);
        c.is_deaf = true;
        for (unsigned i = 0; i < 10; i++) {
                const size_t n_before = c.n_raw;

                broker_fixture_run(&f, 500 * USEC_PER_MSEC);
                c.is_deaf = false;
                io_stream_want(c.stream, IO_STREAM_READABLE);
                while (c.n_raw == n_before)
                        ASSERT_TRUE(sim_world_step(f.world, sim_world_now(f.world) + USEC_PER_SEC));
                ASSERT_FALSE(c.has_ended);
                c.is_deaf = true;
                io_stream_want(c.stream, 0);
        }
        c.is_deaf = false;
        io_stream_want(c.stream, IO_STREAM_READABLE);
        text = hear(&c);
        (void) check_answer(text, 200);
        free(text);
        broker_client_end(&c);
        end(&f);
}

/* ---- Bounds ---- */

TEST(where_too_many_answers_wait_a_large_report_is_not_made) {
        struct broker_fixture f;
        struct broker_client c;

        begin(&f);
        broker_client_connect(&c, &f);
        for (unsigned i = 0; i < 300; i++) {
                char name[128];

                snprintf(name, sizeof(name), "topic-with-a-name-that-takes-some-bytes-%u", i);
                (void) broker_client_produce(&c, broker_client_topic(&c, name, 1), 1, 1);
        }
        budget_charge_forced(&f.broker->answers, f.config.request_budget_bytes);
        expect(&f, GET_METRICS, 503, "too many answers wait to be read\n");
        expect(&f, GET_HEALTH, 200, "ok\n"); /* it is small */
        budget_release(&f.broker->answers, f.config.request_budget_bytes);
        expect(&f, GET_METRICS, 200, NULL);
        broker_client_end(&c);
        end(&f);
}

TEST(an_http_connection_counts_as_one) {
        struct broker_fixture f;
        struct broker_client c, other;

        broker_fixture_init(&f, 1);
        f.config.connections_max = 1;
        broker_fixture_start(&f);
        dial(&c, &f);
        say(&c, "GET /hea");
        broker_fixture_run(&f, USEC_PER_SEC);
        dial(&other, &f);
        say(&other, GET_HEALTH);
        ASSERT_TRUE(broker_client_wait_end(&other, USEC_PER_SEC));
        ASSERT_EQ(other.n_raw, 0);
        broker_client_end(&other);
        broker_client_end(&c);
        broker_fixture_run(&f, USEC_PER_SEC);
        expect(&f, GET_HEALTH, 200, "ok\n");
        end(&f);
}

/* Whichever request for memory fails: an answer is whole, or cut and its connection ended; and all
 * is well afterwards. */
TEST(without_memory_nobody_waits_in_vain) {
        unsigned n_fired = 0;
        bool has_fired = true;

        for (uint64_t n = 1; has_fired; n++) {
                struct broker_fixture f;
                struct broker_client c;

                begin(&f);
                dial(&c, &f);
                say(&c, GET_METRICS);
                (void) mem_fail_at(n);
                broker_fixture_run(&f, 5 * USEC_PER_SEC);
                has_fired = mem_fail_at(0);
                n_fired += has_fired;
                ASSERT_TRUE(c.has_ended);
                broker_client_end(&c);
                if (f.n_fatal == 0)
                        expect(&f, GET_HEALTH, 200, "ok\n");
                broker_fixture_done(&f);
        }
        ASSERT_GT(n_fired, 3);
}

/* ---- Health ---- */

TEST(a_node_that_stops_says_so_on_connections_that_are_open) {
        const Drmq__Proto__MetricsRequest request = DRMQ__PROTO__METRICS_REQUEST__INIT;
        struct broker_fixture f;
        struct broker_client c, other;
        struct broker_reply *r;
        char *text;
        uint64_t id;

        begin(&f);
        broker_client_connect(&other, &f);
        id = broker_client_topic(&other, "a", 1);
        broker_fixture_run(&f, USEC_PER_SEC);

        /* What is in flight and finds no room holds the stop up. */
        sim_disk_set_capacity(f.disk, sim_disk_used_bytes(f.disk) + 1);
        for (unsigned i = 0; i < 4; i++)
                (void) broker_client_send_produce(
                        &other,
                        &(struct broker_produce){ id, broker_batch(-1, -1, -1, 1, 600000) },
                        1,
                        /* atomic= */ false);
        broker_fixture_run(&f, 3 * USEC_PER_SEC);
        dial(&c, &f);
        broker_fixture_run(&f, USEC_PER_SEC);
        broker_stop(f.broker);
        broker_fixture_run(&f, USEC_PER_SEC);
        ASSERT_EQ(f.broker->stage, BROKER_DRAINING);
        say(&c, GET_HEALTH);
        text = hear(&c);
        ASSERT_STREQ(check_answer(text, 503), "the node is stopping\n");
        free(text);

        r = broker_client_wait(
                &other, broker_client_send(&other, FRAME_METRICS, &request, NULL, 0, NULL, 0));
        ASSERT_EQ(broker_reply_error(r), DRMQ_ERROR_NONE);
        broker_reply_free(r);
        broker_client_end(&other);
        broker_client_end(&c);
        broker_fixture_done(&f);
}

TEST(a_full_disk_is_no_health_until_there_is_room) {
        struct broker_fixture f;
        struct broker_client c;
        uint64_t id;

        begin(&f);
        broker_client_connect(&c, &f);
        id = broker_client_topic(&c, "a", 1);
        broker_fixture_run(&f, USEC_PER_SEC);
        sim_disk_set_capacity(f.disk, sim_disk_used_bytes(f.disk) + 1);
        for (unsigned i = 0; i < 4; i++)
                (void) broker_client_send_produce(
                        &c,
                        &(struct broker_produce){ id, broker_batch(-1, -1, -1, 1, 600000) },
                        1,
                        /* atomic= */ false);
        broker_fixture_run(&f, 5 * USEC_PER_SEC);
        expect(&f, GET_HEALTH, 503, "shard 1 takes no messages: the disk is full\n");

        sim_disk_set_capacity(f.disk, 0);
        broker_fixture_run(&f, 5 * USEC_PER_SEC);
        expect(&f, GET_HEALTH, 200, "ok\n");
        broker_client_end(&c);
        end(&f);
}

/* Flips a bit of the first, or the last, place in the log that holds the needle. */
static void damage(struct broker_fixture *f, const char *needle, bool is_last) {
        static uint8_t bytes[2 << 20];
        ssize_t size = ASSERT_OK(sim_disk_peek(f->disk, LOG_PATH, bytes, sizeof(bytes), 0));
        uint8_t *found = NULL;

        for (uint8_t *p = bytes;
             (p = memmem(p, (size_t) (bytes + size - p), needle, strlen(needle)));
             p++)
                if (!found || is_last)
                        found = p;
        ASSERT_NOT_NULL(found);
        ASSERT_OK(sim_disk_flip_bit(f->disk, LOG_PATH, (uint64_t) (found - bytes), 3));
}

static void write_and_kill(struct broker_fixture *f, unsigned n_batches) {
        struct broker_client c;
        uint64_t id;

        begin(f);
        broker_client_connect(&c, f);
        id = broker_client_topic(&c, "a", 1);
        for (unsigned i = 0; i < n_batches; i++)
                (void) broker_client_produce(&c, id, 1, 1000);
        broker_fixture_run(f, USEC_PER_SEC);
        broker_fixture_end(f, /* power_cut= */ false);
        broker_client_end(&c);
}

/* A damaged header of a group: what came behind the last good one is not known. */
TEST(a_damaged_end_is_no_health) {
        struct broker_fixture f;

        write_and_kill(&f, 5);
        damage(&f, "DRGW", /* is_last= */ true);
        broker_fixture_start(&f);
        if (f.broker->shards[SHARD_DATA]->raft)
                test_fail(__FILE__, __LINE__, "its end is not damaged");
        expect(&f, GET_HEALTH, 503, "shard 1 takes no messages: its end is damaged\n");
        expect(&f, GET_METRICS, 200, NULL);
        broker_fixture_done(&f);
}
