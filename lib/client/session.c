/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The life of a connection, and the pairing of answers with requests. Repeats nothing.
 *
 *  I1  A stream exists in CONNECTING, GREETING and UP, and in no other state.
 *  I2  Requests are under way in UP only; each is in `requests` (with answer) or in `unanswered`
 *      (without).
 *  I3  Callbacks are called from the stream's handler and the timers, last thing: after each,
 *      nothing of the session is relied on but that it exists.
 *  I4  in `unanswered`, end_pos rises.
 */

#include "client/session.h"

#include "base/alloc.h"

#define READ_CHUNK_BYTES ((size_t) 64 << 10)
/* One event reads so much, then others have their turn. */
#define READ_BYTES_MAX ((size_t) 4 << 20)
#define IOV_COUNT 64u

enum session_state {
        SESSION_IDLE, /* not wanted yet */
        SESSION_CONNECTING,
        SESSION_GREETING, /* the greeting is on its way */
        SESSION_STANDS,
        SESSION_WAITING, /* for the next attempt */
};

struct session {
        struct io *io;
        struct bootstrap bootstrap;
        enum session_state state;
        struct io_stream *stream;
        struct io_timer
                timer; /* WAITING: the next attempt; CONNECTING, GREETING: patience; UP: silence */
        struct frame_reader reader;
        struct frame_queue queue;
        unsigned wanted; /* of the stream */
        bool is_reading; /* inside on_stream(): it writes when it is done */
        bool is_full;
        struct map requests;
        struct list unanswered;
        uint64_t next_correlation;
        uint64_t written_pos, queued_pos; /* bytes of this connection */
        usec_t heard_usec;
        usec_t backoff_usec;
        usec_t tried_usec; /* first attempt of a session that was never up */
        uint64_t n_connections;
        struct list watches;
};

static int request_compare(const void *key, const struct map_node *n) {
        const struct session_request *q = CONTAINER_OF(n, struct session_request, by_correlation);

        return CMP(*(const uint64_t *) key, q->correlation);
}

static void on_session_timer(struct io_timer *t, void *userdata);

int session_new(struct io *io, const struct address *addresses, size_t n, struct session **ret) {
        struct session *s;
        int r;

        assert(io);
        assert(ret);

        s = new0(struct session, 1);
        if (!s)
                return -ENOMEM;

        s->io = io;
        s->timer.on_timer = on_session_timer;
        s->timer.userdata = s;
        list_init(&s->unanswered);
        list_init(&s->watches);
        map_init(&s->requests, request_compare);
        frame_reader_init(&s->reader, FRAME_BYTES_MAX, READ_CHUNK_BYTES);
        frame_queue_init(&s->queue);

        r = bootstrap_init(&s->bootstrap, io, addresses, n);
        if (r < 0) {
                mem_free(s);
                return r;
        }

        *ret = s;
        return 0;
}

struct session *session_free(struct session *s) {
        if (!s)
                return NULL;

        assert(!map_first(&s->requests));
        assert(list_is_empty(&s->unanswered));
        assert(list_is_empty(&s->watches));

        io_timer_cancel(s->io, &s->timer);
        io_stream_close(s->stream);
        frame_reader_done(&s->reader);
        frame_queue_done(&s->queue);
        bootstrap_done(&s->bootstrap);
        return mem_free(s);
}

void session_watch_add(struct session *s, struct session_watch *w) {
        assert(!w->link.next || list_is_empty(&w->link));

        list_append(&s->watches, &w->link);
}

void session_watch_remove(struct session_watch *w) {
        if (w->link.next)
                list_remove(&w->link);
}

/* Watchers may come and go meanwhile; who comes is not told of what was before. */
static void session_tell(struct session *s, enum session_event event) {
        struct list untold;

        list_init(&untold);
        for (struct session_watch *w; (w = list_pop(&s->watches, struct session_watch, link));)
                list_append(&untold, &w->link);

        for (struct session_watch *w; (w = list_pop(&untold, struct session_watch, link));) {
                list_append(&s->watches, &w->link);
                w->on_event(w, event, w->userdata);
        }
}

bool session_is_up(const struct session *s) {
        return s->state == SESSION_STANDS;
}

bool session_is_full(const struct session *s) {
        return s->is_full;
}

struct io *session_io(const struct session *s) {
        return s->io;
}

const struct address *session_address(const struct session *s) {
        return s->state == SESSION_IDLE ? NULL : bootstrap_current(&s->bootstrap);
}

int session_describe(const struct session *s, char *dest, size_t n_dest) {
        return bootstrap_describe(&s->bootstrap, dest, n_dest);
}

uint64_t session_n_connections(const struct session *s) {
        return s->n_connections;
}

/* ---- Down ---- */

static void session_drop_stream(struct session *s) {
        s->stream = io_stream_close(s->stream);
        frame_reader_done(&s->reader);
        frame_queue_done(&s->queue);
        s->wanted = 0;
        s->is_full = false;
        s->written_pos = s->queued_pos = 0;
}

/* Ends all requests that were under way. */
static void session_fail_requests(struct session *s) {
        struct map_node *n;
        struct list ended;

        /* Whoever is called may send anew only once the session is up again, so this ends. */
        list_init(&ended);
        while ((n = map_first(&s->requests))) {
                struct session_request *q = CONTAINER_OF(n, struct session_request, by_correlation);

                map_remove(&s->requests, n);
                list_append(&ended, &q->link);
        }
        for (struct session_request *q;
             (q = list_pop(&s->unanswered, struct session_request, link));)
                list_append(&ended, &q->link);

        for (struct session_request *q; (q = list_pop(&ended, struct session_request, link));) {
                q->session = NULL;
                q->on_done(q, -ECONNRESET, /* answer= */ NULL, q->userdata);
        }
}

/* The stream is gone or was never there: next address, at once or after a pause. */
static void session_fail(struct session *s, int error) {
        bool was_up = s->state == SESSION_STANDS;
        usec_t now = io_now(s->io), pause = 0;

        session_drop_stream(s);
        bootstrap_result(&s->bootstrap, error);
        s->state = SESSION_WAITING; /* I1 */

        if (was_up || bootstrap_is_exhausted(&s->bootstrap)) {
                /* Between half of it and all of it, so that clients do not come back all at
                 * once. */
                pause = s->backoff_usec / 2 + io_random_u64(s->io) % (s->backoff_usec / 2 + 1);
                s->backoff_usec = MIN(s->backoff_usec * 2, SESSION_BACKOFF_MAX_USEC);
        }
        /* Without memory for the timer there is nothing left to go on with but the next call of the
         * owner. */
        if (io_timer_set(s->io, &s->timer, usec_add(now, pause)) < 0)
                s->state = SESSION_IDLE;

        if (was_up) {
                session_fail_requests(s); /* I3 */
                session_tell(s, SESSION_DOWN);
                return;
        }
        if (s->n_connections == 0 && bootstrap_is_exhausted(&s->bootstrap) &&
            now >= usec_add(s->tried_usec, SESSION_PATIENCE_USEC)) {
                s->tried_usec = now;
                session_tell(s, SESSION_UNREACHABLE);
        }
}

/* ---- Up ---- */

static void session_set_wanted(struct session *s, unsigned wanted) {
        if (wanted == s->wanted)
                return;

        io_stream_want(s->stream, wanted);
        s->wanted = wanted;
}

/* Writes what the socket takes. Return: 0; negative: the stream is broken. */
static int session_write(struct session *s) {
        while (s->queue.n_bytes > 0) {
                struct iovec iov[IOV_COUNT];
                size_t n;
                ssize_t k;

                n = frame_queue_iovec(&s->queue, iov, ELEMENTSOF(iov));
                k = io_stream_writev(s->stream, iov, n);
                if (k == -EAGAIN)
                        break;
                if (k < 0)
                        return (int) k;
                frame_queue_consume(&s->queue, (size_t) k);
                s->written_pos += (uint64_t) k;
        }

        session_set_wanted(s, IO_STREAM_READABLE | (s->queue.n_bytes > 0 ? IO_STREAM_WRITABLE : 0));
        return 0;
}

/* What session_write() brought about. */
static void session_after_write(struct session *s) {
        for (;;) {
                struct session_request *q =
                        list_first(&s->unanswered, struct session_request, link);

                if (!q || q->end_pos > s->written_pos)
                        break;
                list_remove(&q->link);
                q->session = NULL;
                q->on_done(q, 0, /* answer= */ NULL, q->userdata);
        }

        if (s->is_full && s->queue.n_bytes <= SESSION_OUT_BYTES_MAX / 2) {
                s->is_full = false;
                session_tell(s, SESSION_DRAINED);
        }
}

/* Return: 1 a frame was dealt with; 0 none is whole; negative: the peer breaks the rules. */
static int session_take_frame(struct session *s) {
        struct session_request *q;
        struct map_node *n;
        struct frame f;
        int r;

        r = frame_reader_next(&s->reader, &f);
        if (r <= 0)
                return r;

        if (!(f.flags & FRAME_ANSWER)) {
                frame_done(&f);
                return -EPROTO;
        }

        /* An answer that nobody waits for any more is no fault. */
        n = map_find(&s->requests, &f.correlation);
        if (n) {
                q = CONTAINER_OF(n, struct session_request, by_correlation);
                if (f.type != q->type && f.type != FRAME_ERROR) {
                        frame_done(&f);
                        return -EPROTO;
                }
                map_remove(&s->requests, n);
                q->session = NULL;
                q->on_done(q, 0, &f, q->userdata);
        }

        frame_done(&f);
        return 1;
}

static int session_take_greeting(struct session *s) {
        uint8_t greeting[GREETING_BYTES];
        int r;

        if (frame_reader_take(&s->reader, greeting, sizeof(greeting)) == 0)
                return 0;
        r = greeting_check(greeting);
        if (r < 0)
                return r;

        s->state = SESSION_STANDS;
        s->n_connections++;
        s->backoff_usec = SESSION_BACKOFF_MIN_USEC;
        bootstrap_result(&s->bootstrap, 0);
        session_tell(s, SESSION_UP);
        return 1;
}

/* Return: 0; negative: the stream is broken, or the peer breaks the rules. */
static int session_read(struct session *s) {
        size_t n_read = 0;

        while (n_read < READ_BYTES_MAX) {
                bool is_short;
                size_t room;
                uint8_t *p;
                ssize_t k;
                int r;

                r = frame_reader_space(&s->reader, &p, &room);
                if (r < 0)
                        return r;
                k = io_stream_read(s->stream, p, room);
                if (k == -EAGAIN)
                        break;
                if (k <= 0)
                        return k < 0 ? (int) k : -ECONNRESET;
                frame_reader_commit(&s->reader, (size_t) k);
                s->heard_usec = io_now(s->io);
                n_read += (size_t) k;
                is_short = (size_t) k < room;

                if (s->state == SESSION_CONNECTING)
                        return -EPROTO; /* a node never speaks first */
                if (s->state == SESSION_GREETING) {
                        r = session_take_greeting(s);
                        if (r < 0)
                                return r;
                }
                while (s->state == SESSION_STANDS && (r = session_take_frame(s)) != 0)
                        if (r < 0)
                                return r;
                if (is_short)
                        break;
        }

        frame_reader_trim(&s->reader);
        return 0;
}

/* The connection stands: greet. */
static int session_greet(struct session *s) {
        uint8_t greeting[GREETING_BYTES];
        int r;

        greeting_encode_client(greeting);
        r = frame_queue_bytes(&s->queue, greeting, sizeof(greeting));
        if (r < 0)
                return r;

        frame_reader_expect(&s->reader, sizeof(greeting));
        s->queued_pos += sizeof(greeting);
        s->state = SESSION_GREETING;
        return 0;
}

static void on_stream(struct io_stream *stream, unsigned events, void *userdata) {
        struct session *s = userdata;
        int r = 0;

        assert(stream == s->stream);

        s->is_reading = true;
        if (s->state == SESSION_CONNECTING && events & IO_STREAM_WRITABLE)
                r = session_greet(s);
        if (r == 0 && events & IO_STREAM_READABLE)
                r = session_read(s);
        if (r == 0)
                r = session_write(s);
        s->is_reading = false;

        if (r < 0) {
                session_fail(s, r);
                return;
        }
        session_after_write(s);
}

static usec_t session_patience(const struct session *s) {
        return s->state == SESSION_STANDS ? usec_add(s->heard_usec, SESSION_SILENCE_USEC)
                                          : usec_add(s->heard_usec, SESSION_GREETING_USEC);
}

static void session_attempt(struct session *s) {
        int r;

        r = io_connect(s->io, bootstrap_next(&s->bootstrap), on_stream, s, &s->stream);
        if (r < 0) {
                s->stream = NULL;
                session_fail(s, r);
                return;
        }

        s->state = SESSION_CONNECTING;
        s->heard_usec = io_now(s->io);
        frame_reader_expect(&s->reader, GREETING_BYTES);
        session_set_wanted(s, IO_STREAM_READABLE | IO_STREAM_WRITABLE);
        r = io_timer_set(s->io, &s->timer, session_patience(s));
        if (r < 0)
                session_fail(s, r);
}

static void on_session_timer(struct io_timer *t, void *userdata) {
        struct session *s = userdata;

        (void) t;
        switch (s->state) {
        case SESSION_IDLE:
                return;

        case SESSION_WAITING:
                session_attempt(s);
                return;

        case SESSION_CONNECTING:
        case SESSION_GREETING:
        case SESSION_STANDS:
                /* The timer is not moved with each byte: it looks again. Where no answer is
                 * outstanding it rests until the next request. */
                if (io_now(s->io) >= session_patience(s)) {
                        if (s->state != SESSION_STANDS || map_first(&s->requests))
                                session_fail(s, -ETIMEDOUT);
                        return;
                }
                if (s->state != SESSION_STANDS || map_first(&s->requests))
                        if (io_timer_set(s->io, &s->timer, session_patience(s)) < 0)
                                session_fail(s, -ENOMEM);
                return;
        }
}

void session_connect(struct session *s) {
        if (s->state != SESSION_IDLE)
                return;

        s->tried_usec = io_now(s->io);
        if (s->backoff_usec == 0)
                s->backoff_usec = SESSION_BACKOFF_MIN_USEC;
        s->state = SESSION_WAITING;
        /* From the loop, so that no callback comes from within this call (I3). */
        if (io_timer_set(s->io, &s->timer, s->tried_usec) < 0)
                s->state = SESSION_IDLE;
}

/* ---- Requests ---- */

int session_send(struct session *s,
                 struct session_request *q,
                 enum frame_type type,
                 unsigned flags,
                 const void *header,
                 size_t header_bytes,
                 const void *table,
                 size_t table_bytes,
                 const struct slice *body,
                 size_t n_body) {
        size_t before, length;
        int r;

        assert(s);
        assert(q && !q->session && q->on_done);

        if (s->state != SESSION_STANDS)
                return -ENOTCONN;

        length = FRAME_PRELUDE_BYTES + header_bytes + table_bytes;
        for (size_t i = 0; i < n_body; i++)
                length += body[i].size;
        if (length > REQUEST_BYTES_MAX)
                return -EMSGSIZE;

        before = s->queue.n_bytes;
        r = frame_queue_push(&s->queue,
                             type,
                             /* flags= */ 0,
                             s->next_correlation,
                             header,
                             header_bytes,
                             table,
                             table_bytes,
                             body,
                             n_body);
        if (r < 0)
                return r;

        assert(s->queue.n_bytes == before + length);
        s->queued_pos += length;
        q->session = s;
        q->correlation = s->next_correlation++;
        q->type = type;
        q->has_answer = !(flags & SESSION_NO_ANSWER);
        if (q->has_answer) {
                if (!map_first(&s->requests)) {
                        s->heard_usec = io_now(s->io); /* silence counts from here */
                        if (!heap_node_is_linked(&s->timer.node))
                                (void) io_timer_set(s->io,
                                                    &s->timer,
                                                    session_patience(s)); /* else deadlines tell */
                }
                r = map_insert(&s->requests,
                               &q->correlation,
                               &q->by_correlation,
                               /* ret_existing= */ NULL);
                assert(r == 0);
        } else {
                q->end_pos = s->queued_pos;
                list_append(&s->unanswered, &q->link); /* I4 */
        }

        if (s->queue.n_bytes > SESSION_OUT_BYTES_MAX)
                s->is_full = true;

        /* At once, for the latency; while reading, one write for all that reading brings about.
         * What goes wrong is found again by the stream's handler, which is not this call (I3). */
        if (!s->is_reading && session_write(s) < 0)
                session_set_wanted(s, IO_STREAM_READABLE | IO_STREAM_WRITABLE);
        else if (!q->has_answer && q->end_pos <= s->written_pos)
                session_set_wanted(
                        s,
                        IO_STREAM_READABLE |
                                IO_STREAM_WRITABLE); /* completes it soon, from the loop */
        return 0;
}

void session_cancel(struct session_request *q) {
        if (!q->session)
                return;

        if (q->has_answer)
                map_remove(&q->session->requests, &q->by_correlation);
        else
                list_remove(&q->link);
        q->session = NULL;
}
