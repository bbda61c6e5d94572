/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections and requests.
 *
 *  I1  A request is answered once, and freed then; its charge goes back to the budget with it.
 *  I2  A conn is freed only by conn_settle() or broker_free(), never while a function of it is on
 *      the stack.
 *  I3  While a frame of known length arrives, its length is charged: what is begun can always be
 *      finished.
 *  I4  Answers that wait to be sent are charged. Past that budget no large answer is given to what
 *      can be asked again, and no request is taken from where answers wait already: who reads what
 *      he is told is served, however many do not.
 *  I5  A connection that speaks HTTP is answered once, and reads nothing but its end behind that.
 */
#include "drmqd/core/conn.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/alloc.h"
#include "drmqd/core/core.h"
#include "drmqd/core/http.h"

#define RECEIVE_CHUNK_BYTES (UINT32_C(64) << 10)
/* One connection reads so much before others have their turn. */
#define RECEIVE_TURN_BYTES (UINT32_C(1) << 20)
#define IOVECS_MAX 64u
/* What is charged as soon as its length is known is longer than this. */
#define SMALL_FRAME_BYTES (UINT32_C(4) << 10)
#define SMALL_ANSWER_BYTES (UINT32_C(64) << 10)
/* What an HTTP client may still send behind its request, and how long, until it hears its answer
 * and ends. */
#define HTTP_REST_BYTES_MAX (UINT32_C(1) << 20)
#define HTTP_REST_USEC (2 * USEC_PER_SEC)
/* Who takes nothing of what a fetch brought has so much less time while others wait for the budget. */
#define UNREAD_PATIENCE 10u

static void conn_close(struct conn *c, enum conn_end why) {
        if (!c->is_closing)
                c->end = why;
        c->is_closing = true;
}

/* Requests */

static void request_free(struct request *r) {
        struct conn *c = r->conn;

        if (c) {
                list_remove(&r->link);
                c->n_requests--;
                conn_touch(c);
        }
        frame_done(&r->frame);
        budget_release(r->budget, r->charged_bytes);
        mem_free(r);
}

void request_recharge(struct request *r, size_t n_bytes) {
        assert(r);

        budget_release(r->budget, r->charged_bytes);
        budget_charge_forced(r->budget, n_bytes);
        r->charged_bytes = n_bytes;
}

void request_drop(struct request *r) {
        request_free(r);
}

/* Nothing was done for it that an answer has to tell of. */
static bool request_only_asks(const struct request *r) {
        return r->type == FRAME_METADATA || r->type == FRAME_OFFSETS ||
               r->type == FRAME_POSITION_FETCH || r->type == FRAME_PARTITION ||
               r->type == FRAME_METRICS || r->type == FRAME_SNAPSHOT_LIST;
}

/* I4. Return: 0; -ENOBUFS too many answers wait. */
static int request_charge_answer(struct request *r, size_t n_bytes) {
        struct budget *answers = &r->broker->answers;

        if (n_bytes > SMALL_ANSWER_BYTES && request_only_asks(r)) {
                if (budget_charge(answers, n_bytes) < 0)
                        return -ENOBUFS;
        } else
                budget_charge_forced(answers, n_bytes);
        r->conn->answered_bytes += n_bytes;
        return 0;
}

static int request_send(struct request *r,
                        uint16_t type,
                        const void *message,
                        const void *table,
                        size_t table_bytes,
                        const struct slice *body,
                        size_t n_body) {
        struct byte_writer w;
        int k;

        byte_writer_init(&w, FRAME_HEADER_BYTES_MAX);
        k = message_pack(message, &w);
        if (k >= 0)
                k = request_charge_answer(r, FRAME_PRELUDE_BYTES + w.size + table_bytes);
        if (k >= 0)
                k = frame_queue_push(&r->conn->out,
                                     type,
                                     FRAME_ANSWER,
                                     r->correlation,
                                     w.data,
                                     w.size,
                                     table,
                                     table_bytes,
                                     body,
                                     n_body);
        byte_writer_done(&w);
        return k;
}

void request_answer(struct request *r,
                    const void *message,
                    const void *table,
                    size_t table_bytes,
                    const struct slice *body,
                    size_t n_body) {
        int k;

        assert(r);

        if (r->conn) {
                k = request_send(r, r->type, message, table, table_bytes, body, n_body);
                if (k == -EMSGSIZE) {
                        request_fail(r, DRMQ_ERROR_TOO_LARGE, "The answer would be too large");
                        return;
                }
                if (k == -ENOBUFS) {
                        request_fail(r, DRMQ_ERROR_NO_MEMORY, "Too many answers wait to be read");
                        return;
                }
                if (k < 0)
                        /* no memory for an answer: the client asks again */
                        conn_close(r->conn, CONN_END_MEMORY);
        }
        request_free(r);
}

void request_fail(struct request *r, enum drmq_error code, const char *format, ...) {
        Drmq__Proto__ErrorResponse answer = DRMQ__PROTO__ERROR_RESPONSE__INIT;
        Drmq__Proto__Error error;
        char text[512];
        va_list ap;

        assert(r);

        va_start(ap, format);
        (void) vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);

        error_init(&error, r->broker, code, text);
        metrics_count_error(&r->broker->metrics, code);
        answer.error = &error;
        if (r->conn && request_send(r, FRAME_ERROR, &answer, NULL, 0, NULL, 0) < 0)
                conn_close(r->conn, CONN_END_MEMORY);
        request_free(r);
}

static void conn_dispatch(struct request *r) {
        static void (*const handlers[_FRAME_TYPE_MAX])(struct request *) = {
                [FRAME_METADATA] = handle_metadata,
                [FRAME_PRODUCE] = handle_produce,
                [FRAME_FETCH] = handle_fetch,
                [FRAME_OFFSETS] = handle_offsets,
                [FRAME_TOPIC_CREATE] = handle_topic_create,
                [FRAME_TOPIC_ALTER] = handle_topic_alter,
                [FRAME_TOPIC_DELETE] = handle_topic_delete,
                [FRAME_POSITION_COMMIT] = handle_position_commit,
                [FRAME_POSITION_FETCH] = handle_position_fetch,
                [FRAME_PARTITION] = handle_partition,
                [FRAME_STATUS] = handle_status,
                [FRAME_CONFIG] = handle_config,
                [FRAME_METRICS] = handle_metrics,
                [FRAME_SNAPSHOT_CREATE] = handle_snapshot_create,
                [FRAME_SNAPSHOT_LIST] = handle_snapshot_list,
                [FRAME_SNAPSHOT_READ] = handle_snapshot_read,
                [FRAME_SNAPSHOT_DELETE] = handle_snapshot_delete,
        };

        bool is_known = r->type < _FRAME_TYPE_MAX && handlers[r->type];

        r->broker->metrics.n_requests[is_known ? r->type : 0]++;
        if (!is_known) {
                request_fail(r,
                             DRMQ_ERROR_UNKNOWN_TYPE,
                             "This node does not know requests of type %u",
                             r->type);
                return;
        }
        if (r->broker->stage != BROKER_SERVING && r->type != FRAME_STATUS &&
            r->type != FRAME_METRICS) {
                request_fail(r, DRMQ_ERROR_STOPPING, "The node is stopping");
                return;
        }

        handlers[r->type](r);
}

/* Takes the frame. */
static int conn_request(struct conn *c, struct frame *f) {
        struct request *r;

        r = new0(struct request, 1);
        if (!r)
                return -ENOMEM;

        r->conn = c;
        r->broker = c->broker;
        r->correlation = f->correlation;
        r->type = f->type;
        r->begun_usec = io_now(c->broker->io);
        r->frame = *f;
        *f = (struct frame){};

        if (c->charged_bytes > 0) {
                r->budget = &c->broker->requests;
                r->charged_bytes = c->charged_bytes;
                c->charged_bytes = 0;
        } else {
                r->budget = &c->broker->small_requests;
                r->charged_bytes = FRAME_PRELUDE_BYTES + r->frame.header.size +
                                   r->frame.table.size + r->frame.body.size;
                budget_charge_forced(r->budget, r->charged_bytes);
        }

        c->begun_usec = 0;
        list_append(&c->requests, &r->link);
        c->n_requests++;
        conn_dispatch(r);
        return 0;
}

/* Reading */

static int conn_greet(struct conn *c) {
        uint8_t greeting[GREETING_BYTES], reply[GREETING_BYTES];
        int r;

        r = frame_reader_take(&c->in, greeting, sizeof(greeting));
        if (r <= 0)
                return r;

        r = greeting_answer(greeting, reply);
        if (r == -EPROTO)
                return r;

        c->is_greeted = true;
        if (frame_queue_bytes(&c->out, reply, sizeof(reply)) < 0)
                return -ENOMEM;
        return r < 0 ? r : 1;
}

/* HTTP (I5). What a connection says first tells whether it speaks it. */

static bool conn_speaks_http(struct conn *c) {
        const uint8_t *p;
        size_t n;

        if (c->http != HTTP_NONE)
                return true;

        p = frame_reader_peek(&c->in, &n);
        if (c->is_greeted || n < HTTP_MAGIC_BYTES || !http_is_request(p))
                return false;

        c->http = HTTP_ASKING;
        frame_reader_expect(&c->in, SIZE_MAX); /* nothing of it is a frame */
        return true;
}

/* Puts an answer into the queue and charges it (I4). @text: takes what was written. Return: 0;
 * -ENOBUFS too many answers wait; -ENOMEM. */
static int conn_http_send(struct conn *c,
                          const struct http_request *q,
                          unsigned status,
                          struct byte_writer *text) {
        struct budget *answers = &c->broker->answers;
        char head[HTTP_ANSWER_HEAD_BYTES_MAX];
        size_t n_head, n_body = q->method == HTTP_HEAD ? 0 : text->size;

        n_head = http_answer_head(head,
                                  status,
                                  status == 200 ? "text/plain; version=0.0.4; charset=utf-8"
                                                : "text/plain; charset=utf-8",
                                  text->size);
        if (n_body > SMALL_ANSWER_BYTES) {
                if (budget_charge(answers, n_head + n_body) < 0)
                        return -ENOBUFS;
        } else
                budget_charge_forced(answers, n_head + n_body);
        c->answered_bytes += n_head + n_body;
        if (frame_queue_bytes(&c->out, head, n_head) < 0)
                return -ENOMEM;
        return n_body > 0 ? frame_queue_bytes(&c->out, text->data, n_body) : 0;
}

static int
conn_http_fail(struct conn *c, const struct http_request *q, unsigned status, const char *why) {
        struct byte_writer text;
        int r;

        byte_writer_init(&text, 0);
        byte_writer_bytes(&text, why, strlen(why));
        byte_writer_u8(&text, '\n');
        r = byte_writer_result(&text);
        if (r >= 0)
                r = conn_http_send(c, q, status, &text);
        byte_writer_done(&text);
        return r;
}

static int conn_http_metrics(struct conn *c, const struct http_request *q) {
        struct byte_writer text;
        int r;

        byte_writer_init(&text, FRAME_HEADER_BYTES_MAX);
        r = broker_report(c->broker, &text);
        if (r >= 0)
                r = conn_http_send(c, q, 200, &text);
        byte_writer_done(&text);
        return r == -ENOBUFS ? conn_http_fail(c, q, 503, "too many answers wait to be read") : r;
}

static int conn_http_answer(struct conn *c, const struct http_request *q) {
        char why[256];

        c->broker->metrics.n_http_requests++;
        if (q->status != 0)
                return conn_http_fail(c, q, q->status, http_reason(q->status));
        if (http_path_is(q, "/metrics"))
                return conn_http_metrics(c, q);
        if (http_path_is(q, "/health")) {
                bool is_well = broker_health(c->broker, why, sizeof(why));

                return conn_http_fail(c, q, is_well ? 200 : 503, why);
        }
        return conn_http_fail(c, q, 404, "there are /metrics and /health");
}

/* Return: as conn_next(). */
static int conn_http_next(struct conn *c) {
        struct http_request q;
        const uint8_t *p;
        size_t n;
        int r;

        p = frame_reader_peek(&c->in, &n);
        if (c->http == HTTP_ASKING) {
                r = http_parse(p, n, &q);
                if (r <= 0)
                        return r;
                c->http = HTTP_ANSWERED;
                io_timer_cancel(c->broker->io, &c->idle);
                r = conn_http_answer(c, &q);
                if (r < 0)
                        return r;
        }

        c->n_rest += n;
        frame_reader_skip(&c->in, n);
        return c->n_rest > HTTP_HEAD_BYTES_MAX + HTTP_REST_BYTES_MAX ? -EMSGSIZE : 0;
}

/* Once the answer is out, the client is told that no more comes; who would be cut off with bytes of
 * his unread might lose it (RFC 9112 9.6). He ends the connection then, or time does. */
static void conn_http_settle(struct conn *c) {
        if (c->http != HTTP_ANSWERED || c->out.n_bytes > 0 || c->is_closing)
                return;

        if (c->has_ended) {
                conn_close(c, CONN_END_HTTP);
                return;
        }
        c->http = HTTP_FINISHED;
        io_stream_finish(c->stream);
        if (io_timer_set(
                    c->broker->io,
                    &c->idle,
                    usec_add(io_now(c->broker->io), MIN(HTTP_REST_USEC, c->broker->idle_usec))) < 0)
                conn_close(c, CONN_END_HTTP);
}

/* Return: 1 a request was taken; 0 nothing whole is there; negative: the connection ends. */
static int conn_next(struct conn *c) {
        struct frame f = {};
        int r;

        if (conn_speaks_http(c))
                return conn_http_next(c);
        if (!c->is_greeted)
                return conn_greet(c);

        r = frame_reader_next(&c->in, &f);
        if (r <= 0)
                return r;
        if (f.flags & FRAME_ANSWER) {
                frame_done(&f);
                return -EPROTO;
        }

        r = conn_request(c, &f);
        frame_done(&f);
        return r < 0 ? r : 1;
}

static bool conn_may_take(const struct conn *c) {
        return !c->is_closing && !c->has_ended &&
               c->n_requests < c->broker->requests_per_connection &&
               c->out.n_bytes < c->broker->connection_out_bytes &&
               (c->out.n_bytes == 0 || !budget_is_full(&c->broker->answers)); /* I4 */
}

/* I3. Return: whether the frame that is arriving may be received. */
static bool conn_charge(struct conn *c) {
        size_t wanted_bytes = frame_reader_wanted_bytes(&c->in);
        struct broker *b = c->broker;

        if (c->charged_bytes > 0)
                return true;
        if (!list_is_empty(&c->paused))
                return false;

        if (wanted_bytes <= SMALL_FRAME_BYTES) {
                if (!budget_is_full(&b->small_requests))
                        return true;
                list_append(&b->paused_small_conns, &c->paused);
                return false;
        }
        if (list_is_empty(&b->paused_conns) && budget_charge(&b->requests, wanted_bytes) >= 0) {
                c->charged_bytes = wanted_bytes;
                return true;
        }
        list_append(&b->paused_conns, &c->paused); /* behind who was there first */
        return false;
}

/* Takes what requests are there, as far as limits allow. */
static void conn_take(struct conn *c) {
        while (conn_may_take(c) &&
               (c->charged_bytes > 0 || !budget_is_full(&c->broker->small_requests))) {
                int r = conn_next(c);

                if (r < 0)
                        conn_close(c,
                                   r == -ENOMEM           ? CONN_END_MEMORY
                                   : c->http != HTTP_NONE ? CONN_END_HTTP
                                                          : CONN_END_PROTOCOL);
                if (r <= 0)
                        return;
        }
}

/* Something has arrived: more is due within the idle time, and the frame as a whole within that and
 * what its length takes. A greeting and an HTTP request are short: they are due as a whole. */
static void conn_watch_progress(struct conn *c) {
        const usec_t now = io_now(c->broker->io);
        usec_t due_usec = usec_add(now, c->broker->idle_usec);

        if (c->is_greeted) {
                if (c->begun_usec == 0)
                        c->begun_usec = now;
                due_usec = MIN(due_usec,
                               c->begun_usec + c->broker->idle_usec +
                                       frame_reader_wanted_bytes(&c->in) * USEC_PER_SEC /
                                               FRAME_BYTES_PER_SEC);
        }
        if (io_timer_set(c->broker->io, &c->idle, due_usec) < 0)
                conn_close(c, CONN_END_MEMORY);
}

/* Nothing is due where nothing has begun. An idle connection holds no memory either, and where many
 * hold parts of small frames, those hold no more than the parts. */
static void conn_rest(struct conn *c) {
        struct broker *b = c->broker;
        size_t held_bytes;

        frame_reader_trim(&c->in);
        if (b->held_bytes > HELD_BYTES_MAX)
                frame_reader_shrink(&c->in);
        held_bytes = frame_reader_held_bytes(&c->in);
        b->held_bytes += held_bytes - c->held_bytes;
        c->held_bytes = held_bytes;
        if (c->is_greeted && held_bytes == 0) {
                io_timer_cancel(b->io, &c->idle);
                c->begun_usec = 0;
        }
}

static void conn_on_idle(struct io_timer *t, void *userdata) {
        struct conn *c = userdata;

        (void) t;
        if (c->wanted & IO_STREAM_READABLE)
                conn_close(c, c->http == HTTP_FINISHED ? CONN_END_HTTP : CONN_END_IDLE);
        else {
                c->begun_usec = 0; /* it waits for us */
                conn_watch_progress(c);
        }
        conn_touch(c);
        broker_settle(c->broker);
}

static void conn_read(struct conn *c) {
        size_t n_read = 0;

        while (conn_may_take(c) && n_read < RECEIVE_TURN_BYTES && conn_charge(c)) {
                uint8_t *p;
                size_t n_space;
                ssize_t n;

                if (frame_reader_space(&c->in, &p, &n_space) < 0) {
                        conn_close(c, CONN_END_MEMORY);
                        return;
                }
                n = io_stream_read(c->stream, p, n_space);
                if (n == -EAGAIN)
                        break;
                if (n == 0 && c->http == HTTP_ANSWERED) {
                        c->has_ended = true; /* its answer is still on the way */
                        return;
                }
                if (n <= 0) {
                        /* the end, or an error: what is unanswered goes on without it */
                        conn_close(c, c->http == HTTP_FINISHED ? CONN_END_HTTP : CONN_END_PEER);
                        return;
                }

                frame_reader_commit(&c->in, (size_t) n);
                n_read += (size_t) n;
                conn_take(c);
                if ((size_t) n < n_space)
                        break;
        }

        if (n_read > 0 && !c->is_closing && c->is_greeted)
                conn_watch_progress(c);
}

/* Answers wait, and nothing of them has been taken since @c->unread_usec: looks again before the
 * idle time is up, whether others wait for what they hold. */
static void conn_watch_taking(struct conn *c) {
        const usec_t idle_usec = c->broker->idle_usec;
        usec_t due_usec = usec_add(c->unread_usec, idle_usec);

        if (c->fetched_bytes > 0)
                due_usec =
                        MIN(due_usec, usec_add(io_now(c->broker->io), idle_usec / UNREAD_PATIENCE));
        if (io_timer_set(c->broker->io, &c->unread, due_usec) < 0)
                conn_close(c, CONN_END_MEMORY);
}

static void conn_on_unread(struct io_timer *t, void *userdata) {
        struct conn *c = userdata;
        struct broker *b = c->broker;

        (void) t;
        if (usec_sub(io_now(b->io), c->unread_usec) >= b->idle_usec ||
            (c->fetched_bytes > 0 && fetches_wait(b)))
                conn_close(c, CONN_END_UNREAD);
        else
                conn_watch_taking(c);
        conn_touch(c);
        broker_settle(b);
}

static void conn_write(struct conn *c) {
        struct iovec iov[IOVECS_MAX];
        bool has_moved = !c->has_unread;

        while (c->out.n_bytes > 0) {
                size_t n_iov = frame_queue_iovec(&c->out, iov, IOVECS_MAX);
                ssize_t n = io_stream_writev(c->stream, iov, n_iov);

                if (n == -EAGAIN) {
                        c->is_blocked = true;
                        c->has_unread = true;
                        if (has_moved) {
                                c->unread_usec = io_now(c->broker->io);
                                conn_watch_taking(c);
                        }
                        return;
                }
                if (n <= 0) {
                        conn_close(c, CONN_END_PEER);
                        return;
                }
                frame_queue_consume(&c->out, (size_t) n);
                has_moved = true;
        }

        if (c->has_unread) {
                c->has_unread = false;
                io_timer_cancel(c->broker->io, &c->unread);
        }
        budget_release(&c->broker->fetches, c->fetched_bytes);
        budget_release(&c->broker->answers, c->answered_bytes);
        c->fetched_bytes = c->answered_bytes = 0;
        fetch_on_conn_drained(c);
}

static void conn_on_stream(struct io_stream *s, unsigned events, void *userdata) {
        struct conn *c = userdata;

        assert(s == c->stream);

        if (events & IO_STREAM_WRITABLE)
                c->is_blocked = false;
        if (events & IO_STREAM_READABLE)
                conn_read(c);
        conn_touch(c);
        broker_settle(c->broker);
}

bool conn_resume(struct conn *c) {
        size_t wanted_bytes = frame_reader_wanted_bytes(&c->in);

        if (!c->is_closing) {
                if (budget_charge(&c->broker->requests, wanted_bytes) < 0)
                        return false;
                c->charged_bytes = wanted_bytes;
        }
        conn_resume_small(c);
        return true;
}

void conn_resume_small(struct conn *c) {
        list_remove(&c->paused);
        conn_touch(c);
}

void conn_touch(struct conn *c) {
        if (list_is_empty(&c->dirty))
                list_append(&c->broker->dirty_conns, &c->dirty);
}

void conn_settle(struct conn *c) {
        unsigned wanted = 0;
        bool could_take;

        if (!c->is_closing) {
                /* A limit may have been what stopped these. */
                conn_take(c);
                could_take = conn_may_take(c);
                if (!c->is_blocked)
                        conn_write(c);
                if (!could_take && conn_may_take(c))
                        conn_touch(c); /* it was the answers that were in the way */
                conn_http_settle(c);
        }
        if (c->is_closing) {
                if (!c->is_blocked)
                        conn_write(c); /* the last words, as far as they go */
                conn_free(c);          /* I2 */
                return;
        }

        conn_rest(c);
        if (conn_may_take(c) && conn_charge(c))
                wanted |= IO_STREAM_READABLE;
        if (c->is_blocked)
                wanted |= IO_STREAM_WRITABLE;
        if (wanted != c->wanted) {
                c->wanted = wanted;
                io_stream_want(c->stream, wanted);
        }
}

int conn_new(struct broker *b, struct io_stream *stream, struct conn **ret) {
        struct conn *c;

        c = new0(struct conn, 1);
        if (!c)
                return -ENOMEM;

        c->broker = b;
        c->stream = stream;
        c->idle = (struct io_timer){ .on_timer = conn_on_idle, .userdata = c };
        c->unread = (struct io_timer){ .on_timer = conn_on_unread, .userdata = c };
        list_init(&c->dirty);
        list_init(&c->paused);
        list_init(&c->requests);
        fetch_conn_init(c);
        frame_reader_init(&c->in, REQUEST_BYTES_MAX + FRAME_PRELUDE_BYTES, RECEIVE_CHUNK_BYTES);
        frame_reader_expect(&c->in, GREETING_BYTES);
        frame_queue_init(&c->out);
        list_append(&b->conns, &c->link);
        b->n_conns++;

        stream->handler = conn_on_stream;
        stream->userdata = c;
        conn_watch_progress(c);
        conn_touch(c);
        *ret = c;
        return 0;
}

struct conn *conn_free(struct conn *c) {
        struct request *r;
        struct broker *b;

        if (!c)
                return NULL;

        b = c->broker;
        while ((r = list_pop(&c->requests, struct request, link))) {
                r->conn = NULL;
                c->n_requests--;
                if (r->on_gone)
                        r->on_gone(r);
        }
        fetch_conn_done(c);
        b->metrics.n_ended[c->is_closing ? c->end : CONN_END_STOP]++;

        io_timer_cancel(b->io, &c->idle);
        io_timer_cancel(b->io, &c->unread);
        b->held_bytes -= c->held_bytes;
        budget_release(&b->requests, c->charged_bytes);
        budget_release(&b->fetches, c->fetched_bytes);
        budget_release(&b->answers, c->answered_bytes);
        list_remove(&c->dirty);
        list_remove(&c->paused);
        list_remove(&c->link);
        b->n_conns--;
        frame_reader_done(&c->in);
        frame_queue_done(&c->out);
        io_stream_close(c->stream);
        return mem_free(c);
}
