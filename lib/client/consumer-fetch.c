/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Fetches: what is asked for, and what an answer says (I5).
 */

#include "client/consumer-internal.h"

#include <inttypes.h>

#include "base/alloc.h"
#include "proto/table.h"

/* How far one partition is read ahead, in fetches. */
#define PREFETCH 2u

/* One batch of an answer (I5). Return: 0; -ENOMEM; -EPROTO what no node sends. */
static int source_take_batch(struct source *s, const struct fetch_slice *row, struct slice bytes) {
        struct consumer *k = s->subscription->consumer;
        struct batch_view v;
        struct chunk *c;

        if (batch_view_init(bytes.data, bytes.size, &v) != 0 || batch_verify(&v) < 0) {
                source_fail(s,
                            -EBADMSG,
                            s->fetch_offset,
                            "%s/%" PRIu32 ": the batch at offset %" PRIu64 " arrived damaged",
                            s->subscription->topic,
                            s->number,
                            s->fetch_offset);
                return 0;
        }
        if ((uint64_t) v.base_offset != le64_get(row->base_offset) ||
            (uint32_t) v.leader_epoch != (uint32_t) le64_get(row->term))
                return -EPROTO;
        if ((uint64_t) batch_next_offset(&v) <= s->fetch_offset)
                return 0; /* before what is wanted: a node may send too much, never too little */

        if (!batch_is_control(&v) && v.n_records > 0) {
                c = new0(struct chunk, 1);
                if (!c)
                        return -ENOMEM;
                c->source = s;
                c->bytes = slice_ref(bytes);
                c->view = v;
                c->expires_at_ms = (int64_t) le64_get(row->expires_at_ms);
                list_append(&s->chunks, &c->link);
                source_set_ready(s);
                k->buffered_bytes += bytes.size; /* I4 */
                s->buffered_bytes += bytes.size;
        }

        s->fetch_offset = (uint64_t) batch_next_offset(&v); /* I2 */
        /* What holds no messages has no one to be handed to. */
        if (list_is_empty(&s->chunks))
                source_pass(s, s->fetch_offset);
        return 0;
}

static void source_on_error(struct source *s, const Drmq__Proto__FetchPartition *p) {
        const uint64_t asked_offset = s->fetch_offset;
        uint32_t code = p->error->code;

        if (drmq_error_is_retriable(code)) {
                source_delay(s);
                return;
        }

        switch (code) {
        case DRMQ_ERROR_UNKNOWN_PARTITION:
                /* Was the topic deleted? Metadata will say. */
                source_delay(s);
                subscription_ask_metadata(s->subscription);
                break;

        case DRMQ_ERROR_OFFSET_OUT_OF_RANGE:
                if (s->fetch_offset == s->begin_offset && s->position == s->begin_offset &&
                    p->first_offset > s->begin_offset) {
                        /* The beginning was asked for, and went on before it was read. */
                        s->begin_offset = s->position_before = s->committed = p->first_offset;
                        source_start(s, p->first_offset);
                        break;
                }
                source_on_out_of_range(s, s->fetch_offset, p->first_offset, p->high_watermark);
                if (s->error == 0 && !s->has_ended && s->fetch_offset == asked_offset)
                        source_delay(s); /* it is said not to be there, and to be where to go on */
                break;

        case DRMQ_ERROR_DAMAGED:
                if (p->next_good_offset > s->fetch_offset)
                        source_fail(s,
                                    -EIO,
                                    p->next_good_offset,
                                    "%s/%" PRIu32 ": what is stored at offset %" PRIu64
                                    " is damaged; messages %" PRIu64 " to %" PRIu64
                                    " cannot be read",
                                    s->subscription->topic,
                                    s->number,
                                    s->fetch_offset,
                                    s->fetch_offset,
                                    p->next_good_offset - 1);
                else
                        source_fail(s,
                                    -EIO,
                                    UINT64_MAX,
                                    "%s/%" PRIu32 ": what is stored at offset %" PRIu64
                                    " is damaged, and where the next message is is not known",
                                    s->subscription->topic,
                                    s->number,
                                    s->fetch_offset);
                break;

        default:
                source_fail(s,
                            drmq_error_to_errno(code),
                            UINT64_MAX,
                            "%s/%" PRIu32 ": %s",
                            s->subscription->topic,
                            s->number,
                            p->error->text && p->error->text[0] ? p->error->text
                                                                : drmq_error_text(code));
        }
}

/* The source that an answer names; @at: where the one before was found, as they come in the order
 * of the request. */
static struct source *fetch_source(const struct fetch *f, uint64_t partition_id, size_t *at) {
        for (size_t i = 0; i < f->n; i++) {
                struct source *s = f->sources[(*at + i) % f->n];

                if (s && s->id == partition_id) {
                        *at = (*at + i) % f->n;
                        return s;
                }
        }
        return NULL;
}

/* Return: 0; -EPROTO; -ENOMEM: the sources go on from where they are. */
static int fetch_take_batches(struct fetch *f, const struct frame *answer) {
        size_t n = answer->table.size / sizeof(struct fetch_slice), pos = 0, at = 0;
        const struct fetch_slice *rows = (const void *) answer->table.data;
        int r;

        if (answer->table.size % sizeof(struct fetch_slice) != 0)
                return -EPROTO;

        for (size_t i = 0; i < n; i++) {
                size_t n_bytes = le32_get(rows[i].batch_bytes);
                struct source *s;

                if (n_bytes > answer->body.size - pos)
                        return -EPROTO;
                s = fetch_source(f, le64_get(rows[i].partition_id), &at);
                if (s && s->error == 0 && !s->has_ended) {
                        r = source_take_batch(s,
                                              &rows[i],
                                              (struct slice){
                                                      .buf = answer->body.buf,
                                                      .data = answer->body.data + pos,
                                                      .size = n_bytes,
                                              });
                        if (r < 0)
                                return r;
                }
                pos += n_bytes;
        }
        return pos == answer->body.size ? 0 : -EPROTO;
}

static void fetch_take_answer(struct fetch *f, const struct frame *answer) {
        _cleanup_(message_freep) Drmq__Proto__FetchResponse *m = NULL;
        char text[CALL_TEXT_MAX];
        uint32_t code = 0;
        size_t at = 0;
        int r;

        r = answer_unpack(answer,
                          FRAME_FETCH,
                          &drmq__proto__fetch_response__descriptor,
                          (ProtobufCMessage **) &m,
                          &code,
                          text);
        if (r >= 0 && code == DRMQ_ERROR_NONE)
                r = fetch_take_batches(f, answer);
        else if (r >= 0 && !drmq_error_is_retriable(code))
                r = drmq_error_to_errno(code);
        else if (r >= 0)
                r = -EAGAIN;

        for (size_t i = 0; r < 0 && i < f->n; i++) {
                struct source *s = f->sources[i];

                if (!s)
                        continue;
                if (r == -EAGAIN || r == -ENOMEM) {
                        source_leave_fetch(s);
                        source_delay(s);
                } else
                        source_fail(s,
                                    r,
                                    UINT64_MAX,
                                    "%s/%" PRIu32 ": %s",
                                    s->subscription->topic,
                                    s->number,
                                    r == -EPROTO ? "the node's answer makes no sense" : text);
        }

        for (size_t i = 0; r >= 0 && i < m->n_partition; i++) {
                struct source *s = fetch_source(f, m->partition[i]->partition_id, &at);

                if (s && s->error == 0 && m->partition[i]->error &&
                    m->partition[i]->error->code != DRMQ_ERROR_NONE) {
                        source_leave_fetch(s);
                        source_on_error(s, m->partition[i]);
                }
        }
}

static void fetch_free(struct fetch *f) {
        f->consumer->n_fetches--;
        list_remove(&f->link);
        mem_free(f);
}

static void
on_fetch_done(struct session_request *q, int r, const struct frame *answer, void *userdata) {
        struct fetch *f = userdata;
        struct consumer *k = f->consumer;
        bool goes_on;

        (void) q;
        if (r >= 0)
                fetch_take_answer(f, answer);
        for (size_t i = 0; i < f->n; i++)
                if (f->sources[i]) {
                        struct source *s = f->sources[i];

                        source_leave_fetch(s);
                        source_place(s);
                }
        fetch_free(f);
        /* The others are about to come back too, or the connection is not there. */
        goes_on = k->n_fetches == 0 || io_now(k->io) < k->round_usec;
        if (r < 0 || answer->body.size > 0 || goes_on)
                consumer_pump(k);
}

/* Enough is there: the rest of its partition waits. */
static bool source_has_room(const struct source *s) {
        const struct consumer *k = s->subscription->consumer;

        return list_is_empty(&s->chunks) || (s->buffered_bytes < PREFETCH * k->config.fetch_bytes &&
                                             k->buffered_bytes < k->config.buffer_bytes);
}

/* All fetches that find nothing come back at the same time, so that what they held goes together in
 * the next one. */
static uint32_t consumer_wait_ms(struct consumer *k) {
        usec_t now = io_now(k->io);
        uint32_t ms;

        if (k->n_fetches == 0 || k->round_usec <= now)
                k->round_usec = usec_add(now, CONSUMER_WAIT_MS * USEC_PER_MSEC);
        ms = (uint32_t) ((k->round_usec - now) / USEC_PER_MSEC) + 1;
        return k->n_fetches + 1 == CONSUMER_REQUESTS_MAX ? MIN(ms, CONSUMER_LAST_WAIT_MS) : ms;
}

static int fetch_send(struct fetch *f) {
        Drmq__Proto__FetchRequest m = DRMQ__PROTO__FETCH_REQUEST__INIT;
        _cleanup_(mem_freep) struct fetch_want *wants = new0(struct fetch_want, f->n);
        struct consumer *k = f->consumer;
        struct byte_writer w;
        int r;

        if (!wants)
                return -ENOMEM;

        for (size_t i = 0; i < f->n; i++)
                wants[i] = (struct fetch_want){
                        .partition_id = le64_of(f->sources[i]->id),
                        .offset = le64_of(f->sources[i]->fetch_offset),
                };
        m.wait_ms = consumer_wait_ms(k);
        m.max_bytes = (uint32_t) k->config.fetch_bytes;
        byte_writer_init(&w, 0);
        r = message_pack(&m, &w);
        if (r >= 0)
                r = session_send(k->session,
                                 &f->request,
                                 FRAME_FETCH,
                                 /* flags= */ 0,
                                 w.data,
                                 w.size,
                                 wants,
                                 f->n * sizeof(wants[0]),
                                 /* body= */ NULL,
                                 0);
        byte_writer_done(&w);
        return r;
}

/* Asks for all that may be asked for, in one request. */
void consumer_pump(struct consumer *k) {
        struct fetch *f;
        size_t n = 0;

        if (!session_is_up(k->session) || k->n_fetches >= CONSUMER_REQUESTS_MAX)
                return;

        LIST_FOREACH(&k->idle, s, struct source, in_state)
                n += source_has_room(s);
        if (n == 0)
                return;

        f = mem_alloc(sizeof(struct fetch) + n * sizeof(f->sources[0]));
        if (f) {
                *f = (struct fetch){
                        .request = { .on_done = on_fetch_done, .userdata = f },
                        .consumer = k,
                };
                LIST_FOREACH(&k->idle, s, struct source, in_state)
                        if (source_has_room(s))
                                f->sources[f->n++] = s;
        }
        if (!f || fetch_send(f) < 0) {
                mem_free(f);
                /* Out of memory: in a while. */
                LIST_FOREACH(&k->idle, s, struct source, in_state)
                        if (source_has_room(s)) {
                                source_delay(s);
                                break;
                        }
                return;
        }

        list_append(&k->fetches, &f->link);
        k->n_fetches++;
        for (size_t i = 0; i < f->n; i++) {
                f->sources[i]->fetch = f; /* I1 */
                f->sources[i]->slot = i;
                list_remove(&f->sources[i]->in_state);
        }
}

void consumer_drop_fetches(struct consumer *k) {
        LIST_FOREACH(&k->fetches, f, struct fetch, link) {
                for (size_t i = 0; i < f->n; i++)
                        if (f->sources[i])
                                f->sources[i]->fetch = NULL;
                session_cancel(&f->request);
                fetch_free(f);
        }
}
