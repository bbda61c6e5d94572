/* SPDX-License-Identifier: Apache-2.0 */

/* Bootstrap, session and call: connections that come, go and lie. */

#include "client/call.h"

#include "tests/unit/test-client-node.h"

struct asked {
        struct call call;
        struct session_request request;
        struct session_watch watch;
        unsigned n_done, n_up, n_down, n_unreachable;
        int result;
        char text[CALL_TEXT_MAX];
        bool again; /* the call starts itself anew */
        struct scene *scene;
};

static void
on_call(struct call *c, int r, const char *text, const ProtobufCMessage *answer, void *userdata) {
        struct asked *a = userdata;

        ASSERT_TRUE(&a->call == c);
        ASSERT_FALSE(call_is_pending(c));
        ASSERT_TRUE(r < 0 || answer);
        a->n_done++;
        a->result = r;
        (void) snprintf(a->text, sizeof(a->text), "%s", text);
        if (a->again) {
                Drmq__Proto__StatusRequest m = DRMQ__PROTO__STATUS_REQUEST__INIT;

                a->again = false;
                ASSERT_OK(call_start(c,
                                     a->scene->session,
                                     FRAME_STATUS,
                                     &m,
                                     &drmq__proto__status_response__descriptor,
                                     USEC_INFINITY));
        }
}

static void on_event(struct session_watch *w, enum session_event event, void *userdata) {
        struct asked *a = userdata;

        (void) w;
        a->n_up += event == SESSION_UP;
        a->n_down += event == SESSION_DOWN;
        a->n_unreachable += event == SESSION_UNREACHABLE;
}

static void
on_request(struct session_request *q, int r, const struct frame *answer, void *userdata) {
        struct asked *a = userdata;

        ASSERT_FALSE(session_request_is_pending(q));
        ASSERT_TRUE(r < 0 || answer);
        a->n_done++;
        a->result = r;
}

static void asked_begin(struct asked *a, struct scene *s) {
        memset(a, 0, sizeof(*a));
        a->scene = s;
        call_init(&a->call, on_call, a);
        a->request = (struct session_request){ .on_done = on_request, .userdata = a };
        a->watch = (struct session_watch){ .on_event = on_event, .userdata = a };
        session_watch_add(s->session, &a->watch);
}

static void asked_end(struct asked *a) {
        call_done(&a->call);
        session_cancel(&a->request);
        session_watch_remove(&a->watch);
}

static int ask_status(struct asked *a, usec_t timeout_usec) {
        Drmq__Proto__StatusRequest m = DRMQ__PROTO__STATUS_REQUEST__INIT;

        return call_start(&a->call,
                          a->scene->session,
                          FRAME_STATUS,
                          &m,
                          &drmq__proto__status_response__descriptor,
                          timeout_usec == USEC_INFINITY ? USEC_INFINITY
                                                        : io_now(a->scene->io) + timeout_usec);
}

TEST(a_call_connects_and_is_answered) {
        struct scene s;
        struct asked a;

        scene_begin(&s, 1);
        asked_begin(&a, &s);
        ASSERT_NULL(session_address(s.session));
        ASSERT_ERROR(
                session_send(s.session, &a.request, FRAME_STATUS, 0, NULL, 0, NULL, 0, NULL, 0),
                ENOTCONN);
        ASSERT_OK(ask_status(&a, USEC_PER_SEC));
        ASSERT_EQ(a.n_done, 0); /* never from within the call */
        scene_run(&s, USEC_PER_SEC);
        ASSERT_EQ(a.n_done, 1);
        ASSERT_OK(a.result);
        ASSERT_TRUE(session_is_up(s.session));
        ASSERT_EQ(a.n_up, 1);
        ASSERT_STREQ(session_address(s.session)->host, "node");
        asked_end(&a);
        scene_end(&s);
}

TEST(a_call_may_start_again_from_its_end) {
        struct scene s;
        struct asked a;

        scene_begin(&s, 1);
        asked_begin(&a, &s);
        a.again = true;
        ASSERT_OK(ask_status(&a, USEC_PER_SEC));
        scene_run(&s, USEC_PER_SEC);
        ASSERT_EQ(a.n_done, 2);

        /* Also when nobody can be reached. */
        sim_port_unlisten(sim_process_port(s.node.process));
        asked_end(&a);
        s.session = session_free(s.session);
        ASSERT_OK(session_new(s.io,
                              &(const struct address){ .host = (char *) "node", .port = 9092 },
                              1,
                              &s.session));
        asked_begin(&a, &s);
        a.again = true;
        ASSERT_OK(ask_status(&a, USEC_INFINITY));
        scene_run(&s, 4 * USEC_PER_SEC);
        ASSERT_EQ(a.n_done, 1);
        ASSERT_ERROR(a.result, ENOTCONN);
        ASSERT_TRUE(call_is_pending(&a.call));
        node_listen(&s.node);
        scene_run(&s, 4 * USEC_PER_SEC);
        ASSERT_EQ(a.n_done, 2);
        ASSERT_OK(a.result);
        asked_end(&a);
        scene_end(&s);
}

TEST(a_cancelled_call_is_silent) {
        struct scene s;
        struct asked a;

        scene_begin(&s, 1);
        asked_begin(&a, &s);
        ASSERT_OK(ask_status(&a, USEC_PER_SEC));
        call_cancel(&a.call);
        scene_run(&s, 2 * USEC_PER_SEC);
        ASSERT_EQ(a.n_done, 0);

        /* On its way: the answer finds nobody, and that is no fault. */
        ASSERT_OK(ask_status(&a, USEC_PER_SEC));
        call_cancel(&a.call);
        scene_run(&s, 2 * USEC_PER_SEC);
        ASSERT_EQ(a.n_done, 0);
        ASSERT_EQ(a.n_down, 0);
        asked_end(&a);
        scene_end(&s);
}

TEST(calls_outlive_broken_connections, .timeout_sec = 60) {
        for (uint64_t seed = 1; seed <= 30; seed++) {
                struct asked a[5];
                struct scene s;

                scene_begin(&s, seed);
                sim_world_net(s.world)->config.break_per_million = 200000;
                for (size_t i = 0; i < ELEMENTSOF(a); i++) {
                        asked_begin(&a[i], &s);
                        ASSERT_OK(ask_status(&a[i], USEC_INFINITY));
                }
                scene_run(&s, 60 * USEC_PER_SEC);
                for (size_t i = 0; i < ELEMENTSOF(a); i++) {
                        ASSERT_EQ(a[i].n_done, 1);
                        ASSERT_OK(a[i].result);
                        asked_end(&a[i]);
                }
                scene_end(&s);
        }
}

TEST(a_request_whose_connection_breaks_ends_once) {
        struct scene s;
        struct asked a;

        scene_begin(&s, 1);
        asked_begin(&a, &s);
        session_connect(s.session);
        scene_run(&s, USEC_PER_SEC);
        ASSERT_OK(session_send(s.session, &a.request, FRAME_STATUS, 0, NULL, 0, NULL, 0, NULL, 0));
        ASSERT_GT(sim_port_break(sim_process_port(s.process)), 0);
        scene_run(&s, USEC_PER_SEC);
        ASSERT_EQ(a.n_done, 1);
        ASSERT_EQ(a.n_down, 1);
        ASSERT_EQ(a.n_up, 2); /* it came back by itself */
        ASSERT_EQ(session_n_connections(s.session), 2);
        asked_end(&a);
        scene_end(&s);
}

TEST(reconnects_back_off_and_come_back) {
        struct scene s;
        struct asked a;
        uint64_t before;

        scene_begin(&s, 1);
        asked_begin(&a, &s);
        session_connect(s.session);
        scene_run(&s, USEC_PER_SEC);
        sim_port_unlisten(sim_process_port(s.node.process));
        (void) sim_port_break(sim_process_port(s.process));
        before = sim_world_net(s.world)->n_streams;
        scene_run(&s, 60 * USEC_PER_SEC);
        ASSERT_EQ(a.n_up, 1);
        ASSERT_EQ(a.n_unreachable, 0); /* it was reached once */
        ASSERT_LE(sim_world_net(s.world)->n_streams - before, 80);
        node_listen(&s.node);
        scene_run(&s, 3 * USEC_PER_SEC);
        ASSERT_EQ(a.n_up, 2);
        asked_end(&a);
        scene_end(&s);
}

TEST(a_deadline_that_passes_says_why) {
        struct scene s;
        struct asked a;

        /* Connected, but no answer comes. */
        scene_begin(&s, 1);
        asked_begin(&a, &s);
        session_connect(s.session);
        scene_run(&s, USEC_PER_SEC);
        s.node.is_deaf = true;
        ASSERT_OK(ask_status(&a, 3 * USEC_PER_SEC));
        scene_run(&s, 4 * USEC_PER_SEC);
        ASSERT_EQ(a.n_done, 1);
        ASSERT_ERROR(a.result, ETIMEDOUT);
        ASSERT_STREQ(a.text, "no answer in time");

        /* Not connected any more. */
        sim_port_unlisten(sim_process_port(s.node.process));
        (void) sim_port_break(sim_process_port(s.process));
        ASSERT_OK(ask_status(&a, 3 * USEC_PER_SEC));
        scene_run(&s, 4 * USEC_PER_SEC);
        ASSERT_EQ(a.n_done, 2);
        ASSERT_ERROR(a.result, ENOTCONN);
        ASSERT_NOT_NULL(strstr(a.text, "cannot reach any broker (tried node:9092: "));
        asked_end(&a);
        scene_end(&s);
}

TEST(a_node_that_never_greets_is_left) {
        struct scene s;
        struct asked a;

        scene_begin(&s, 1);
        asked_begin(&a, &s);
        s.node.is_deaf = true;
        ASSERT_OK(ask_status(&a, USEC_INFINITY));
        scene_run(&s, SESSION_GREETING_USEC * 3);
        ASSERT_EQ(a.n_done, 1);
        ASSERT_ERROR(a.result, ENOTCONN);
        ASSERT_NOT_NULL(strstr(a.text, "timed out"));
        asked_end(&a);
        scene_end(&s);
}

/* A peer that answers any greeting with bytes of its own. */
struct liar {
        struct sim_process *process;
        struct io_stream *stream;
        const void *bytes;
        size_t n;
};

static void on_liar_stream(struct io_stream *stream, unsigned events, void *userdata) {
        struct liar *l = userdata;
        uint8_t buffer[256];
        ssize_t k;

        (void) events;
        k = io_stream_read(stream, buffer, sizeof(buffer));
        if (k == -EAGAIN)
                return;
        if (k <= 0) {
                l->stream = io_stream_close(stream);
                return;
        }
        (void) io_stream_writev(stream, &(struct iovec){ (void *) l->bytes, l->n }, 1);
}

static void on_liar_accept(void *userdata, struct io_stream *stream) {
        struct liar *l = userdata;

        io_stream_close(l->stream);
        l->stream = stream;
        stream->handler = on_liar_stream;
        stream->userdata = l;
        io_stream_want(stream, IO_STREAM_READABLE);
}

static int ask_liar(const void *bytes, size_t n, char text[static CALL_TEXT_MAX]) {
        static const struct address address = { .host = (char *) "liar", .port = 1 };
        struct liar l = { .bytes = bytes, .n = n };
        struct scene s;
        struct asked a;
        int r;

        scene_begin(&s, 1);
        ASSERT_OK(sim_process_new(s.world, "liar", NULL, NULL, NULL, &l.process));
        sim_port_listen(sim_process_port(l.process), "liar:1", on_liar_accept, &l);
        s.session = session_free(s.session);
        ASSERT_OK(session_new(s.io, &address, 1, &s.session));
        asked_begin(&a, &s);
        ASSERT_OK(ask_status(&a, 60 * USEC_PER_SEC));
        scene_run(&s, 70 * USEC_PER_SEC);
        ASSERT_EQ(a.n_done, 1);
        r = a.result;
        memcpy(text, a.text, CALL_TEXT_MAX);
        asked_end(&a);
        sim_process_kill(l.process, false);
        l.stream = io_stream_close(l.stream);
        sim_process_free(l.process);
        scene_end(&s);
        return r;
}

TEST(a_peer_that_speaks_something_else_is_named) {
        char text[CALL_TEXT_MAX];

        ASSERT_ERROR(ask_liar("HTTP/1.1 400 Bad Request\r\n\r\n", 28, text), EPROTO);
        ASSERT_NOT_NULL(strstr(text, "liar:1: does not speak DRMQ"));
        ASSERT_ERROR(ask_liar("DRMQ\0\0\0\0", 8, text), EPROTO);
        ASSERT_NOT_NULL(strstr(text, "liar:1: speaks another version"));
}

TEST(a_peer_that_greets_and_then_lies_gives_an_error_at_the_deadline) {
        static const char huge[] = "DRMQ\1\1\0\0\xff\xff\xff\xff";
        char text[CALL_TEXT_MAX];

        ASSERT_LT(ask_liar(huge, sizeof(huge) - 1, text), 0);
        ASSERT_NE(text[0], 0);
}

TEST(addresses_are_tried_one_after_the_other) {
        static const struct address addresses[] = {
                { .host = (char *) "nobody", .port = 1 },
                { .host = (char *) "node", .port = 9092 },
                { .path = (char *) "/nowhere" },
        };

        for (uint64_t seed = 1; seed < 10; seed++) {
                struct scene s;
                struct asked a;

                scene_begin(&s, seed);
                s.session = session_free(s.session);
                ASSERT_OK(session_new(s.io, addresses, ELEMENTSOF(addresses), &s.session));
                asked_begin(&a, &s);
                ASSERT_OK(ask_status(&a, USEC_INFINITY));
                scene_run(&s, SESSION_GREETING_USEC * 3);
                ASSERT_EQ(a.n_done, 1);
                ASSERT_OK(a.result);
                asked_end(&a);
                scene_end(&s);
        }
}

TEST(a_list_is_shuffled_and_goes_round) {
        static const struct address addresses[] = {
                { .host = (char *) "a", .port = 1 },
                { .host = (char *) "b", .port = 2 },
                { .path = (char *) "/c" },
        };
        unsigned first[3] = { 0 };

        for (uint64_t seed = 1; seed <= 60; seed++) {
                struct bootstrap b;
                struct scene s;
                unsigned seen = 0;
                char text[256];

                scene_begin(&s, seed);
                ASSERT_OK(bootstrap_init(&b, s.io, addresses, 3));
                for (unsigned round = 0; round < 2; round++)
                        for (unsigned i = 0; i < 3; i++) {
                                const struct address *a = bootstrap_next(&b);
                                unsigned which = a->path ? 2 : (unsigned) a->port - 1;

                                if (round == 0 && i == 0)
                                        first[which]++;
                                ASSERT_EQ(seen >> which & 1, round);
                                if (round == 0)
                                        seen |= 1u << which;
                                ASSERT_FALSE(bootstrap_is_exhausted(&b) && (round == 0 && i < 2));
                                bootstrap_result(&b, -ECONNREFUSED);
                                ASSERT_EQ(bootstrap_is_exhausted(&b), i == 2);
                                if (round == 0 && i == 2)
                                        seen = 7;
                        }
                ASSERT_ERROR(bootstrap_describe(&b, text, sizeof(text)), ENOTCONN);
                ASSERT_NOT_NULL(strstr(text, "a:1: Connection refused"));
                ASSERT_NOT_NULL(strstr(text, "unix:/c: Connection refused"));
                ASSERT_ERROR(bootstrap_describe(&b, text, 10), ENOTCONN);
                ASSERT_EQ(strlen(text), 9);
                bootstrap_done(&b);
                scene_end(&s);
        }
        for (unsigned i = 0; i < 3; i++)
                ASSERT_GT(first[i], 8);
}

TEST(session_and_call_survive_lack_of_memory) {
        static const struct address address = { .host = (char *) "node", .port = 9092 };
        struct scene s;

        scene_begin(&s, 1);
        FAULT_SWEEP {
                struct session *session = NULL;
                int r = session_new(s.io, &address, 1, &session);

                if (r < 0) {
                        ASSERT_ERROR(r, ENOMEM);
                        ASSERT_NULL(session);
                }
                session_free(session);
        }

        /* A call that cannot be begun leaves nothing behind; one that was begun ends. */
        for (unsigned n = 1; n < 8; n++) {
                struct asked a;
                int r;

                asked_begin(&a, &s);
                (void) mem_fail_at(n);
                r = ask_status(&a, 10 * USEC_PER_SEC);
                (void) mem_fail_at(0);
                if (r < 0)
                        ASSERT_ERROR(r, ENOMEM);
                else {
                        scene_run(&s, 11 * USEC_PER_SEC);
                        ASSERT_EQ(a.n_done, 1);
                }
                ASSERT_FALSE(call_is_pending(&a.call));
                asked_end(&a);
        }
        scene_end(&s);
}
