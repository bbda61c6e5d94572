/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Requests that may be made twice.
 *
 *  I1  Under way (session set): watches the session, and its request is under way, or the session
 *      is not up, or it waits until retry_usec.
 *  I2  on_done() is called last, when nothing of the call is under way.
 */

#include "client/call.h"

#include <stdio.h>

#include "base/alloc.h"

/* What all answers begin with. */
struct answer {
        ProtobufCMessage base;
        Drmq__Proto__Error *error;
};
static_assert(offsetof(Drmq__Proto__ErrorResponse, error) == offsetof(struct answer, error),
              "layout");
static_assert(offsetof(Drmq__Proto__MetadataResponse, error) == offsetof(struct answer, error),
              "layout");
static_assert(offsetof(Drmq__Proto__ProduceResponse, error) == offsetof(struct answer, error),
              "layout");
static_assert(offsetof(Drmq__Proto__FetchResponse, error) == offsetof(struct answer, error),
              "layout");
static_assert(offsetof(Drmq__Proto__OffsetsResponse, error) == offsetof(struct answer, error),
              "layout");
static_assert(offsetof(Drmq__Proto__TopicCreateResponse, error) == offsetof(struct answer, error),
              "layout");
static_assert(offsetof(Drmq__Proto__TopicAlterResponse, error) == offsetof(struct answer, error),
              "layout");
static_assert(offsetof(Drmq__Proto__TopicDeleteResponse, error) == offsetof(struct answer, error),
              "layout");
static_assert(offsetof(Drmq__Proto__PositionCommitResponse, error) ==
                      offsetof(struct answer, error),
              "layout");
static_assert(offsetof(Drmq__Proto__PositionFetchResponse, error) == offsetof(struct answer, error),
              "layout");
static_assert(offsetof(Drmq__Proto__PartitionResponse, error) == offsetof(struct answer, error),
              "layout");
static_assert(offsetof(Drmq__Proto__StatusResponse, error) == offsetof(struct answer, error),
              "layout");
static_assert(offsetof(Drmq__Proto__SnapshotDeleteResponse, error) ==
                      offsetof(struct answer, error),
              "layout");
static_assert(offsetof(Drmq__Proto__SnapshotReadResponse, error) == offsetof(struct answer, error),
              "layout");
static_assert(offsetof(Drmq__Proto__SnapshotListResponse, error) == offsetof(struct answer, error),
              "layout");
static_assert(offsetof(Drmq__Proto__SnapshotCreateResponse, error) ==
                      offsetof(struct answer, error),
              "layout");

int answer_unpack(const struct frame *f,
                  enum frame_type type,
                  const ProtobufCMessageDescriptor *descriptor,
                  ProtobufCMessage **ret,
                  uint32_t *ret_code,
                  char text[static CALL_TEXT_MAX]) {
        _cleanup_(message_freep) void *m = NULL;
        bool is_error = f->type == FRAME_ERROR;
        const Drmq__Proto__Error *e;
        int r;

        if (!is_error && f->type != type)
                return -EPROTO;

        r = message_unpack(
                is_error ? &drmq__proto__error_response__descriptor : descriptor, f->header, &m);
        if (r < 0)
                return r == -EBADMSG ? -EPROTO : r;

        e = ((struct answer *) m)->error;
        if (is_error && (!e || e->code == DRMQ_ERROR_NONE))
                return -EPROTO;

        *ret_code = e ? e->code : DRMQ_ERROR_NONE;
        if (*ret_code != DRMQ_ERROR_NONE)
                (void) snprintf(text,
                                CALL_TEXT_MAX,
                                "%s",
                                e->text && e->text[0] ? e->text : drmq_error_text(e->code));
        *ret = is_error ? NULL : TAKE_PTR(m);
        return 0;
}

static void call_end(struct call *c, int r, const char *text, const ProtobufCMessage *answer) {
        call_cancel(c);
        c->on_done(c, r, text, answer, c->userdata); /* I2 */
}

static int call_set_timer(struct call *c) {
        usec_t next = c->deadline_usec;

        if (c->retry_usec > 0)
                next = MIN(next, c->retry_usec);
        if (next == USEC_INFINITY) {
                io_timer_cancel(session_io(c->session), &c->timer);
                return 0;
        }
        return io_timer_set(session_io(c->session), &c->timer, next);
}

static void call_retry_later(struct call *c, int error) {
        struct io *io = session_io(c->session);

        c->error = error;
        c->retry_usec = usec_add(
                io_now(io), c->backoff_usec / 2 + io_random_u64(io) % (c->backoff_usec / 2 + 1));
        c->backoff_usec = MIN(c->backoff_usec * 2, SESSION_BACKOFF_MAX_USEC);
        if (call_set_timer(c) < 0)
                call_end(c, -ENOMEM, "out of memory", /* answer= */ NULL);
}

static void call_send(struct call *c) {
        int r;

        if (!session_is_up(c->session) || session_request_is_pending(&c->request) ||
            c->retry_usec > 0)
                return; /* I1 */

        r = session_send(c->session,
                         &c->request,
                         c->type,
                         /* flags= */ 0,
                         c->header,
                         c->header_bytes,
                         /* table= */ NULL,
                         0,
                         /* body= */ NULL,
                         0);
        if (r == -ENOMEM) {
                (void) snprintf(c->text, sizeof(c->text), "out of memory");
                call_retry_later(c, r);
        } else if (r < 0)
                call_end(c, r, "the request is larger than the limit", /* answer= */ NULL);
}

static void
on_request_done(struct session_request *q, int r, const struct frame *answer, void *userdata) {
        _cleanup_(message_freep) void *m = NULL;
        char text[CALL_TEXT_MAX];
        struct call *c = userdata;
        uint32_t code = 0;

        (void) q;
        if (r < 0) /* the session will be up again: SESSION_UP */
                return;

        r = answer_unpack(
                answer, c->type, c->answer_descriptor, (ProtobufCMessage **) &m, &code, text);
        if (r < 0) {
                call_end(c,
                         r,
                         r == -ENOMEM ? "out of memory" : "the node's answer makes no sense",
                         NULL);
                return;
        }
        if (code == DRMQ_ERROR_NONE) {
                c->body = answer->body;
                call_end(c, 0, "", m);
                return;
        }
        if (drmq_error_is_retriable(code)) {
                memcpy(c->text, text, sizeof(text));
                call_retry_later(c, drmq_error_to_errno(code));
                return;
        }
        call_end(c, drmq_error_to_errno(code), text, m);
}

static void on_call_event(struct session_watch *w, enum session_event event, void *userdata) {
        struct call *c = userdata;
        char text[CALL_TEXT_MAX];
        int r;

        (void) w;
        switch (event) {
        case SESSION_UP:
                call_send(c);
                break;
        case SESSION_UNREACHABLE:
                r = session_describe(c->session, text, sizeof(text));
                call_end(c, r, text, /* answer= */ NULL);
                break;
        case SESSION_DOWN:
        case SESSION_DRAINED:
                break;
        }
}

static void on_call_timer(struct io_timer *t, void *userdata) {
        struct call *c = userdata;
        usec_t now = io_now(session_io(c->session));
        char text[CALL_TEXT_MAX];
        int r;

        (void) t;
        if (now >= c->deadline_usec) {
                if (!session_is_up(c->session))
                        r = session_describe(c->session, text, sizeof(text));
                else if (c->error < 0) {
                        memcpy(text, c->text, sizeof(text));
                        r = c->error;
                } else {
                        (void) snprintf(text, sizeof(text), "no answer in time");
                        r = -ETIMEDOUT;
                }
                call_end(c, r, text, /* answer= */ NULL);
                return;
        }

        if (c->retry_usec > 0 && now >= c->retry_usec)
                c->retry_usec = 0;
        if (call_set_timer(c) < 0)
                call_end(c, -ENOMEM, "out of memory", /* answer= */ NULL);
        else
                call_send(c);
}

void call_init(struct call *c, call_done_t on_done, void *userdata) {
        assert(on_done);

        *c = (struct call){
                .request = { .on_done = on_request_done, .userdata = c },
                .watch = { .on_event = on_call_event, .userdata = c },
                .timer = { .on_timer = on_call_timer, .userdata = c },
                .on_done = on_done,
                .userdata = userdata,
        };
}

void call_done(struct call *c) {
        if (c)
                call_cancel(c);
}

bool call_is_pending(const struct call *c) {
        return c->session;
}

int call_start(struct call *c,
               struct session *s,
               enum frame_type type,
               const void *message,
               const ProtobufCMessageDescriptor *answer_descriptor,
               usec_t deadline_usec) {
        struct byte_writer w;
        int r;

        assert(!c->session);

        byte_writer_init(&w, 0);
        r = message_pack(message, &w);
        if (r < 0) {
                byte_writer_done(&w);
                return r;
        }
        if (deadline_usec != USEC_INFINITY) {
                r = io_timer_set(session_io(s), &c->timer, deadline_usec);
                if (r < 0) {
                        byte_writer_done(&w);
                        return r;
                }
        }

        c->session = s;
        c->type = type;
        c->answer_descriptor = answer_descriptor;
        c->header_bytes = w.size;
        c->header = TAKE_PTR(w.data);
        c->deadline_usec = deadline_usec;
        c->retry_usec = 0;
        c->backoff_usec = SESSION_BACKOFF_MIN_USEC;
        c->error = 0;
        c->text[0] = 0;
        session_watch_add(s, &c->watch);
        session_connect(s);

        /* A failure to send may not be told from within this call: then the timer tries again. */
        if (session_is_up(s)) {
                r = session_send(
                        s, &c->request, type, 0, c->header, c->header_bytes, NULL, 0, NULL, 0);
                if (r < 0) {
                        call_cancel(c);
                        return r;
                }
        }
        return 0;
}

void call_cancel(struct call *c) {
        if (!c->session)
                return;

        session_cancel(&c->request);
        session_watch_remove(&c->watch);
        io_timer_cancel(session_io(c->session), &c->timer);
        c->header = mem_free(c->header);
        c->session = NULL;
}
