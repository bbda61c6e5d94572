/* SPDX-License-Identifier: Apache-2.0 */

/*
 * From topics to messages. A `subscription` resolves a topic; a `source` is a partition that is read; a `chunk` is a batch
 * that has been fetched and verified; a `fetch` is a request under way.
 *
 *  I1  A source is in one of three places: `idle` (may be fetched), `delayed` (after a while), or in none, because it is
 *      being fetched, rests, or has ended. A fetch names each of its sources, and each of them names it.
 *  I2  position <= offset of what its chunks still hold < fetch_offset.
 *  I3  What was handed out by the last take stays: chunks that are done with wait in `spent` until the next one.
 *  I4  buffered_bytes is the sum of all chunks that are not spent.
 *  I5  Nothing of an answer is used that was not checked: sizes against the body, partitions against what was asked for,
 *      batches by their checksum, offsets against where the source stands.
 */

#include "client/consumer.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/parse.h"
#include "proto/table.h"

#define SOURCE_DELAY_USEC (200 * USEC_PER_MSEC)
/* How far one partition is read ahead, in fetches. */
#define PREFETCH 2u

struct source;
struct subscription;

struct chunk {
        struct list link;
        struct source *source;
        struct slice bytes;
        struct batch_view view;
        struct batch_iterator iterator;
        bool has_iterator;
        int64_t expires_at_ms;
};

struct fetch {
        struct list link;
        struct session_request request;
        struct consumer *consumer;
        size_t n;
        struct source *sources[]; /* NULL: it is not wanted for this one any more */
};

struct source {
        struct list link;     /* consumer->sources */
        struct list in_state; /* idle or delayed (I1) */
        struct list in_ready; /* it has chunks */
        struct list in_taken; /* the last take handed something of it out */
        struct subscription *subscription;
        uint32_t number;
        uint64_t id;
        uint64_t position;        /* next to be handed out */
        uint64_t position_before; /* the same before the last take */
        uint64_t committed;
        uint64_t fetch_offset;
        uint64_t end_offset;
        uint64_t
                resume_offset; /* where to go on after `error` has been told; UINT64_MAX: nowhere */
        struct fetch *fetch;
        size_t slot;
        struct list chunks;
        size_t buffered_bytes;
        bool is_resolved;
        bool has_end;
        bool has_ended;
        bool is_resting;
        int error; /* to be told */
        char *text;
};

enum subscription_state {
        SUBSCRIPTION_METADATA,
        SUBSCRIPTION_WAITING, /* for a topic that does not exist */
        SUBSCRIPTION_POSITIONS,
        SUBSCRIPTION_OFFSETS,
        SUBSCRIPTION_READING,
        SUBSCRIPTION_FAILED,
};

struct subscription {
        struct list link;
        struct consumer *consumer;
        char *topic;
        uint32_t *wanted; /* NULL: all */
        size_t n_wanted;
        enum consumer_from from;
        int64_t value;
        enum subscription_state state;
        bool was_read; /* has been READING: what comes now are later partitions */
        bool is_told;  /* its result was asked for, and was not an error */
        struct call call;
        struct io_timer timer;
        struct source **resolving; /* of the call under way */
        size_t n_resolving;
        uint64_t *positions; /* of those; UINT64_MAX: none */
        int error;
        char text[CALL_TEXT_MAX];
};

struct consumer {
        struct session *session;
        struct io *io;
        struct consumer_config config;
        char *group;
        struct session_watch watch;
        struct list subscriptions;
        struct list sources;
        struct list idle, delayed, ready, taken;
        struct list spent;
        struct list fetches;
        unsigned n_fetches;
        struct io_timer delay_timer;
        size_t buffered_bytes;
        struct consumer_message *messages;
        size_t n_messages, n_messages_allocated;
        bool has_released;
        struct codec_context *codec;
        struct call commit;
        struct source **committing; /* NULL with n > 0: one position, given by hand */
        uint64_t *commit_offsets;
        size_t n_committing;
        int commit_result;
        size_t n_errors; /* sources that have one to tell */
        int error;       /* of a subscription that was waited for: to be told */
        int last_error;  /* told; told again where nothing is left to be read */
        char text[CALL_TEXT_MAX];
};

static void consumer_pump(struct consumer *k);
static void subscription_ask_metadata(struct subscription *s);

static void _printf_(2, 3) consumer_say(struct consumer *k, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        (void) vsnprintf(k->text, sizeof(k->text), format, ap);
        va_end(ap);
}

/* ---- Chunks and sources ---- */

static void chunk_free(struct chunk *c) {
        list_remove(&c->link);
        if (c->has_iterator)
                batch_iterator_done(&c->iterator);
        slice_done(&c->bytes);
        mem_free(c);
}

/* Done with, but what it held may have been handed out (I3). */
static void chunk_spend(struct chunk *c) {
        struct source *s = c->source;
        struct consumer *k = s->subscription->consumer;

        k->buffered_bytes -= c->bytes.size; /* I4 */
        s->buffered_bytes -= c->bytes.size;
        list_remove(&c->link);
        list_append(&k->spent, &c->link);
        if (list_is_empty(&s->chunks))
                list_remove(&s->in_ready);
}

static void source_drop_chunks(struct source *s) {
        LIST_FOREACH(&s->chunks, c, struct chunk, link)
                chunk_spend(c);
}

static void source_leave_fetch(struct source *s) {
        if (!s->fetch)
                return;

        s->fetch->sources[s->slot] = NULL;
        s->fetch = NULL;
}

/* Puts it where it belongs (I1). */
static void source_place(struct source *s) {
        struct consumer *k = s->subscription->consumer;

        list_remove(&s->in_state);
        if (s->is_resolved && !s->fetch && !s->is_resting && !s->has_ended)
                list_append(&k->idle, &s->in_state);
}

static void source_delay(struct source *s) {
        struct consumer *k = s->subscription->consumer;

        list_remove(&s->in_state);
        list_append(&k->delayed, &s->in_state);
        if (!heap_node_is_linked(&k->delay_timer.node) &&
            io_timer_set(k->io, &k->delay_timer, usec_add(io_now(k->io), SOURCE_DELAY_USEC)) < 0)
                source_place(s); /* without memory for the timer at once */
}

/* @resume_offset: where to go on when it has been told. */
static void
source_fail(struct source *s, int error, uint64_t resume_offset, const char *format, ...)
        _printf_(4, 5);
static void
source_fail(struct source *s, int error, uint64_t resume_offset, const char *format, ...) {
        char text[CALL_TEXT_MAX];
        va_list ap;

        va_start(ap, format);
        (void) vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);

        s->subscription->consumer->n_errors += s->error == 0;
        mem_free(s->text);
        s->text = mem_strdup(text);
        s->error = error;
        s->resume_offset = resume_offset;
        s->is_resting = true;
        source_leave_fetch(s);
        source_place(s);
}

static void source_clear_error(struct source *s) {
        s->subscription->consumer->n_errors -= s->error != 0;
        s->error = 0;
}

static void source_set_position(struct source *s, uint64_t position) {
        s->position = position;
        if (s->has_end && position >= s->end_offset) {
                s->has_ended = true;
                source_leave_fetch(s);
                source_drop_chunks(s);
                source_place(s);
        }
}

/* A batch that ends at @offset is done with. */
static void source_pass(struct source *s, uint64_t offset) {
        source_set_position(s, s->has_end ? MIN(offset, s->end_offset) : offset);
}

/* From @offset on; what was fetched of it is of no use. */
static void source_start(struct source *s, uint64_t offset) {
        source_leave_fetch(s);
        source_drop_chunks(s);
        s->is_resting = s->has_ended = false;
        source_clear_error(s);
        s->fetch_offset = offset;
        source_set_position(s, offset);
        source_place(s);
}

static void source_free(struct source *s) {
        source_leave_fetch(s);
        source_drop_chunks(s);
        source_clear_error(s);
        list_remove(&s->in_state);
        list_remove(&s->in_ready);
        list_remove(&s->in_taken);
        list_remove(&s->link);
        mem_free(s->text);
        mem_free(s);
}

static struct source *source_new(struct subscription *sub, uint32_t number, uint64_t id) {
        struct source *s = new0(struct source, 1);

        if (!s)
                return NULL;
        s->subscription = sub;
        s->number = number;
        s->id = id;
        list_init(&s->in_state);
        list_init(&s->in_ready);
        list_init(&s->in_taken);
        list_init(&s->chunks);
        list_append(&sub->consumer->sources, &s->link);
        return s;
}

static struct source *source_find(const struct consumer *k, const char *topic, uint32_t number) {
        LIST_FOREACH(&k->sources, s, struct source, link)
                if (s->number == number && streq(s->subscription->topic, topic))
                        return s;
        return NULL;
}

/* ---- Subscriptions ---- */

static void subscription_forget_call(struct subscription *s) {
        s->resolving = mem_free(s->resolving);
        s->positions = mem_free(s->positions);
        s->n_resolving = 0;
}

static void subscription_drop_sources(struct subscription *s) {
        LIST_FOREACH(&s->consumer->sources, source, struct source, link)
                if (source->subscription == s)
                        source_free(source);
}

static void subscription_free(struct subscription *s) {
        struct consumer *k = s->consumer;

        call_done(&s->call);
        io_timer_cancel(k->io, &s->timer);
        subscription_drop_sources(s);
        subscription_forget_call(s);
        list_remove(&s->link);
        mem_free(s->topic);
        mem_free(s->wanted);
        mem_free(s);
}

static void subscription_fail(struct subscription *s, int error, const char *text) {
        struct consumer *k = s->consumer;

        subscription_forget_call(s);
        (void) snprintf(s->text, sizeof(s->text), "topic \"%s\": %s", s->topic, text);

        if (s->was_read && error == -ENOMEM) { /* later partitions come with a later call */
                s->state = SUBSCRIPTION_READING;
                (void) io_timer_set(
                        k->io, &s->timer, usec_add(io_now(k->io), CONSUMER_METADATA_USEC));
                return;
        }
        if (s->was_read) {
                /* Each of its partitions says so, once it has handed out what it holds. */
                LIST_FOREACH(&k->sources, source, struct source, link)
                        if (source->subscription == s)
                                source_fail(source, error, UINT64_MAX, "%s", s->text);
                s->state = SUBSCRIPTION_READING;
                return;
        }

        subscription_drop_sources(s);
        s->state = SUBSCRIPTION_FAILED;
        s->error = error;
        if (s->is_told) {
                k->error = error;
                consumer_say(k, "%s", s->text);
        }
}

/* In a while. */
static void subscription_wait(struct subscription *s, usec_t usec) {
        if (io_timer_set(s->consumer->io, &s->timer, usec_add(io_now(s->consumer->io), usec)) < 0)
                subscription_fail(s, -ENOMEM, "out of memory");
}

static void subscription_read(struct subscription *s) {
        s->state = SUBSCRIPTION_READING;
        s->was_read = true;
        if (!s->wanted && !s->consumer->config.stop_at_end)
                subscription_wait(s, CONSUMER_METADATA_USEC);
        consumer_pump(s->consumer);
}

static void subscription_call(struct subscription *s,
                              enum subscription_state state,
                              enum frame_type type,
                              const void *message,
                              const ProtobufCMessageDescriptor *answer_descriptor) {
        struct consumer *k = s->consumer;
        int r;

        s->state = state;
        r = call_start(&s->call,
                       k->session,
                       type,
                       message,
                       answer_descriptor,
                       usec_add(io_now(k->io), k->config.timeout_usec));
        if (r < 0)
                subscription_fail(
                        s, r, r == -ENOMEM ? "out of memory" : "the request is too large");
}

static void subscription_ask_metadata(struct subscription *s) {
        Drmq__Proto__MetadataRequest m = DRMQ__PROTO__METADATA_REQUEST__INIT;

        if (call_is_pending(&s->call))
                return;

        m.topic = &s->topic;
        m.n_topic = 1;
        subscription_call(s,
                          SUBSCRIPTION_METADATA,
                          FRAME_METADATA,
                          &m,
                          &drmq__proto__metadata_response__descriptor);
}

static void subscription_ask_positions(struct subscription *s) {
        Drmq__Proto__PositionFetchRequest m = DRMQ__PROTO__POSITION_FETCH_REQUEST__INIT;
        _cleanup_(mem_freep) uint64_t *ids = new (uint64_t, s->n_resolving);

        if (!ids) {
                subscription_fail(s, -ENOMEM, "out of memory");
                return;
        }

        for (size_t i = 0; i < s->n_resolving; i++)
                ids[i] = s->resolving[i]->id;
        m.group = s->consumer->group;
        m.partition_id = ids;
        m.n_partition_id = s->n_resolving;
        subscription_call(s,
                          SUBSCRIPTION_POSITIONS,
                          FRAME_POSITION_FETCH,
                          &m,
                          &drmq__proto__position_fetch_response__descriptor);
}

/* For each partition: beginning, end, and the time where that is asked for. */
static size_t subscription_n_queries(const struct subscription *s) {
        return s->from == CONSUMER_FROM_TIME && !s->was_read ? 3 : 2;
}

static void subscription_ask_offsets(struct subscription *s) {
        Drmq__Proto__OffsetsRequest m = DRMQ__PROTO__OFFSETS_REQUEST__INIT;
        size_t n_each = subscription_n_queries(s), n = n_each * s->n_resolving;
        _cleanup_(mem_freep) Drmq__Proto__OffsetQuery *queries = new (Drmq__Proto__OffsetQuery, n);
        _cleanup_(mem_freep) Drmq__Proto__OffsetQuery **pointers =
                new (Drmq__Proto__OffsetQuery *, n);

        if (!queries || !pointers) {
                subscription_fail(s, -ENOMEM, "out of memory");
                return;
        }

        for (size_t i = 0; i < n; i++) {
                drmq__proto__offset_query__init(&queries[i]);
                queries[i].partition_id = s->resolving[i / n_each]->id;
                queries[i].kind = (Drmq__Proto__OffsetKind) (i % n_each);
                queries[i].time_ms = s->value;
                pointers[i] = &queries[i];
        }
        m.query = pointers;
        m.n_query = n;
        subscription_call(s,
                          SUBSCRIPTION_OFFSETS,
                          FRAME_OFFSETS,
                          &m,
                          &drmq__proto__offsets_response__descriptor);
}

static_assert(DRMQ__PROTO__OFFSET_KIND__OFFSET_BEGINNING == 0 &&
                      DRMQ__PROTO__OFFSET_KIND__OFFSET_END == 1 &&
                      DRMQ__PROTO__OFFSET_KIND__OFFSET_TIME == 2,
              "the order of the queries");

static bool subscription_wants(const struct subscription *s, uint32_t number) {
        for (size_t i = 0; i < s->n_wanted; i++)
                if (s->wanted[i] == number)
                        return true;
        return !s->wanted;
}

/* What the topic's partitions are now, against what is read. Return: 0; the failure has been noted otherwise. */
static int subscription_compare(struct subscription *s, const Drmq__Proto__Topic *topic) {
        struct consumer *k = s->consumer;

        for (size_t i = 0; i < s->n_wanted; i++)
                if (s->wanted[i] >= topic->n_partition) {
                        char text[128];

                        (void) snprintf(text,
                                        sizeof(text),
                                        "there is no partition %" PRIu32 " (it has %zu)",
                                        s->wanted[i],
                                        topic->n_partition);
                        subscription_fail(s, -ENXIO, text);
                        return -ENXIO;
                }

        s->resolving = new0(struct source *, MAX(topic->n_partition, (size_t) 1));
        if (!s->resolving) {
                subscription_fail(s, -ENOMEM, "out of memory");
                return -ENOMEM;
        }

        for (size_t i = 0; i < topic->n_partition; i++) {
                const Drmq__Proto__Partition *p = topic->partition[i];
                struct source *source;

                if (!subscription_wants(s, p->number))
                        continue;
                source = source_find(k, s->topic, p->number);
                if (source && source->id != p->id) {
                        subscription_fail(s, -ENOENT, "it was deleted, and made anew");
                        return -ENOENT;
                }
                if (!source)
                        source = source_new(s, p->number, p->id);
                if (!source) {
                        subscription_fail(s, -ENOMEM, "out of memory");
                        return -ENOMEM;
                }
                if (!source->is_resolved)
                        s->resolving[s->n_resolving++] = source;
        }
        return 0;
}

static void subscription_on_metadata(struct subscription *s,
                                     const Drmq__Proto__MetadataResponse *m) {
        const Drmq__Proto__Topic *topic = m->n_topic == 1 ? m->topic[0] : NULL;
        uint32_t code;

        if (!topic || !streq(topic->name, s->topic)) {
                subscription_fail(s, -EPROTO, "the node's answer makes no sense");
                return;
        }

        code = topic->error ? topic->error->code : DRMQ_ERROR_NONE;
        if (code == DRMQ_ERROR_UNKNOWN_TOPIC && !s->was_read &&
            s->consumer->config.wait_for_topic) {
                s->state = SUBSCRIPTION_WAITING;
                subscription_wait(s, CONSUMER_TOPIC_WAIT_USEC);
                return;
        }
        if (drmq_error_is_retriable(code)) {
                subscription_wait(s, CONSUMER_TOPIC_WAIT_USEC);
                return;
        }
        if (code != DRMQ_ERROR_NONE) {
                const char *text = topic->error->text && topic->error->text[0]
                                           ? topic->error->text
                                           : drmq_error_text(code);

                subscription_fail(s,
                                  drmq_error_to_errno(code),
                                  s->was_read && code == DRMQ_ERROR_UNKNOWN_TOPIC ? "it was deleted"
                                                                                  : text);
                return;
        }

        if (subscription_compare(s, topic) < 0)
                return;
        if (s->n_resolving == 0) {
                subscription_forget_call(s);
                subscription_read(s);
        } else if (s->from == CONSUMER_FROM_POSITION && !s->was_read)
                subscription_ask_positions(s);
        else
                subscription_ask_offsets(s);
}

static void subscription_on_positions(struct subscription *s,
                                      const Drmq__Proto__PositionFetchResponse *m) {
        if (m->n_position != s->n_resolving) {
                subscription_fail(s, -EPROTO, "the node's answer makes no sense");
                return;
        }

        s->positions = new (uint64_t, s->n_resolving);
        if (!s->positions) {
                subscription_fail(s, -ENOMEM, "out of memory");
                return;
        }
        for (size_t i = 0; i < s->n_resolving; i++) {
                const Drmq__Proto__Position *p = m->position[i];

                if (p->partition_id != s->resolving[i]->id) {
                        subscription_fail(s, -EPROTO, "the node's answer makes no sense");
                        return;
                }
                s->positions[i] = p->is_set ? p->offset : UINT64_MAX;
        }
        subscription_ask_offsets(s);
}

static uint64_t subscription_first_offset(
        const struct subscription *s, size_t i, uint64_t begin, uint64_t end, uint64_t at_time) {
        if (s->was_read) /* added later: nothing of it is missed */
                return begin;

        switch (s->from) {
        case CONSUMER_FROM_END:
                return end;
        case CONSUMER_FROM_OFFSET:
                return (uint64_t) s->value;
        case CONSUMER_FROM_LAST:
                return end - begin > (uint64_t) s->value ? end - (uint64_t) s->value : begin;
        case CONSUMER_FROM_TIME:
                return at_time;
        case CONSUMER_FROM_POSITION:
                return s->positions[i] == UINT64_MAX ? begin : s->positions[i];
        case CONSUMER_FROM_BEGINNING:
        default:
                return begin;
        }
}

static void subscription_on_offsets(struct subscription *s, const Drmq__Proto__OffsetsResponse *m) {
        size_t n_each = subscription_n_queries(s);

        if (m->n_answer != s->n_resolving * n_each) {
                subscription_fail(s, -EPROTO, "the node's answer makes no sense");
                return;
        }
        for (size_t i = 0; i < m->n_answer; i++) {
                const Drmq__Proto__OffsetAnswer *a = m->answer[i];
                uint32_t code = a->error ? a->error->code : DRMQ_ERROR_NONE;

                if (code != DRMQ_ERROR_NONE) {
                        subscription_fail(s,
                                          drmq_error_to_errno(code),
                                          a->error->text && a->error->text[0]
                                                  ? a->error->text
                                                  : drmq_error_text(code));
                        return;
                }
                if (a->partition_id != s->resolving[i / n_each]->id ||
                    (i % n_each == 1 && a->offset < m->answer[i - 1]->offset)) {
                        subscription_fail(s, -EPROTO, "the node's answer makes no sense");
                        return;
                }
        }

        for (size_t i = 0; i < s->n_resolving; i++) {
                Drmq__Proto__OffsetAnswer *const *a = m->answer + i * n_each;
                struct source *source = s->resolving[i];
                uint64_t begin = a[0]->offset, end = a[1]->offset;
                uint64_t first =
                        subscription_first_offset(s, i, begin, end, n_each > 2 ? a[2]->offset : 0);

                source->is_resolved = true;
                source->has_end = s->consumer->config.stop_at_end;
                source->end_offset = end;
                source->position_before = source->committed = first;
                if (first < begin || first > end) {
                        source->position = source->fetch_offset = first;
                        source_fail(source,
                                    -ERANGE,
                                    UINT64_MAX,
                                    "%s/%" PRIu32 ": offset %" PRIu64
                                    " is outside of what is there (%" PRIu64 " to %" PRIu64 ")",
                                    s->topic,
                                    source->number,
                                    first,
                                    begin,
                                    end);
                } else
                        source_start(source, first);
        }

        subscription_forget_call(s);
        subscription_read(s);
}

static void on_subscription_call(
        struct call *c, int r, const char *text, const ProtobufCMessage *answer, void *userdata) {
        struct subscription *s = userdata;

        (void) c;
        if (r < 0) {
                char words[CALL_TEXT_MAX];

                (void) snprintf(words, sizeof(words), "%s", text);
                if (s->was_read) { /* what is being read goes on; later partitions come with a later call */
                        subscription_forget_call(s);
                        s->state = SUBSCRIPTION_READING;
                        subscription_wait(s, CONSUMER_METADATA_USEC);
                } else
                        subscription_fail(s, r, words);
                return;
        }

        switch (s->state) {
        case SUBSCRIPTION_METADATA:
                subscription_on_metadata(s, (const void *) answer);
                break;
        case SUBSCRIPTION_POSITIONS:
                subscription_on_positions(s, (const void *) answer);
                break;
        case SUBSCRIPTION_OFFSETS:
                subscription_on_offsets(s, (const void *) answer);
                break;
        case SUBSCRIPTION_WAITING:
        case SUBSCRIPTION_READING:
        case SUBSCRIPTION_FAILED:
                assert(false);
        }
}

static void on_subscription_timer(struct io_timer *t, void *userdata) {
        (void) t;
        subscription_ask_metadata(userdata);
}

/* ---- Fetching ---- */

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
                if (list_is_empty(&s->chunks))
                        list_append(&k->ready, &s->in_ready);
                list_append(&s->chunks, &c->link);
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
                source_fail(s,
                            -ERANGE,
                            UINT64_MAX,
                            "%s/%" PRIu32 ": offset %" PRIu64
                            " is outside of what is there (%" PRIu64 " to %" PRIu64 ")",
                            s->subscription->topic,
                            s->number,
                            s->fetch_offset,
                            p->first_offset,
                            p->high_watermark);
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

/* The source that an answer names; @at: where the one before was found, as they come in the order of the request. */
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
        consumer_pump(k);
}

/* Enough is there: the rest of its partition waits. */
static bool source_has_room(const struct source *s) {
        const struct consumer *k = s->subscription->consumer;

        return list_is_empty(&s->chunks) || (s->buffered_bytes < PREFETCH * k->config.fetch_bytes &&
                                             k->buffered_bytes < k->config.buffer_bytes);
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
        m.wait_ms = CONSUMER_WAIT_MS;
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
static void consumer_pump(struct consumer *k) {
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

static void on_delay(struct io_timer *t, void *userdata) {
        struct consumer *k = userdata;

        (void) t;
        for (struct source *s; (s = list_first(&k->delayed, struct source, in_state));)
                source_place(s);
        consumer_pump(k);
}

static void on_consumer_event(struct session_watch *w, enum session_event event, void *userdata) {
        (void) w;
        if (event == SESSION_UP)
                consumer_pump(userdata);
}

/* ---- The face ---- */

static void
on_commit(struct call *c, int r, const char *text, const ProtobufCMessage *answer, void *userdata);

int consumer_new(struct session *s, const struct consumer_config *config, struct consumer **ret) {
        struct consumer *k;

        assert(s);
        assert(config);
        assert(ret);

        if (config->fetch_bytes < 4096 || config->fetch_bytes > REQUEST_BYTES_MAX ||
            config->timeout_usec == 0 || (config->group && !group_name_is_valid(config->group)))
                return -EINVAL;

        k = new0(struct consumer, 1);
        if (!k)
                return -ENOMEM;
        k->codec = codec_context_new();
        k->group = config->group ? mem_strdup(config->group) : NULL;
        if (!k->codec || (config->group && !k->group)) {
                codec_context_free(k->codec);
                mem_free(k->group);
                mem_free(k);
                return -ENOMEM;
        }

        k->session = s;
        k->io = session_io(s);
        k->config = *config;
        k->config.group = k->group;
        list_init(&k->subscriptions);
        list_init(&k->sources);
        list_init(&k->idle);
        list_init(&k->delayed);
        list_init(&k->ready);
        list_init(&k->taken);
        list_init(&k->spent);
        list_init(&k->fetches);
        k->delay_timer = (struct io_timer){ .on_timer = on_delay, .userdata = k };
        call_init(&k->commit, on_commit, k);
        k->watch = (struct session_watch){ .on_event = on_consumer_event, .userdata = k };
        session_watch_add(s, &k->watch);

        *ret = k;
        return 0;
}

static void consumer_forget_commit(struct consumer *k) {
        k->committing = mem_free(k->committing);
        k->commit_offsets = mem_free(k->commit_offsets);
        k->n_committing = 0;
}

struct consumer *consumer_free(struct consumer *k) {
        if (!k)
                return NULL;

        call_done(&k->commit);
        consumer_forget_commit(k);
        LIST_FOREACH(&k->fetches, f, struct fetch, link) {
                for (size_t i = 0; i < f->n; i++)
                        if (f->sources[i])
                                f->sources[i]->fetch = NULL;
                session_cancel(&f->request);
                fetch_free(f);
        }
        LIST_FOREACH(&k->subscriptions, s, struct subscription, link)
                subscription_free(s);
        LIST_FOREACH(&k->spent, c, struct chunk, link)
                chunk_free(c);
        assert(list_is_empty(&k->sources));
        assert(k->buffered_bytes == 0); /* I4 */

        io_timer_cancel(k->io, &k->delay_timer);
        session_watch_remove(&k->watch);
        codec_context_free(k->codec);
        mem_free(k->messages);
        mem_free(k->group);
        return mem_free(k);
}

static struct subscription *subscription_find(const struct consumer *k, const char *topic) {
        LIST_FOREACH(&k->subscriptions, s, struct subscription, link)
                if (streq(s->topic, topic))
                        return s;
        return NULL;
}

int consumer_subscribe(struct consumer *k,
                       const char *topic,
                       const uint32_t *partitions,
                       size_t n,
                       enum consumer_from from,
                       int64_t value) {
        struct subscription *s;

        assert(k);
        assert(topic);
        assert(partitions || n == 0);

        if (!topic_name_is_valid(topic)) {
                consumer_say(k, "\"%.249s\" is not a valid topic name", topic);
                return -EINVAL;
        }
        if ((from == CONSUMER_FROM_OFFSET || from == CONSUMER_FROM_LAST) && value < 0) {
                consumer_say(k, "an offset is not negative");
                return -EINVAL;
        }
        if (from == CONSUMER_FROM_POSITION && !k->group) {
                consumer_say(k, "a committed position needs a group");
                return -EINVAL;
        }
        if (subscription_find(k, topic)) {
                consumer_say(k, "topic \"%s\" is subscribed to already", topic);
                return -EEXIST;
        }

        s = new0(struct subscription, 1);
        if (!s)
                return -ENOMEM;
        s->consumer = k;
        list_init(&s->link);
        call_init(&s->call, on_subscription_call, s);
        s->timer = (struct io_timer){ .on_timer = on_subscription_timer, .userdata = s };
        s->from = from;
        s->value = value;
        s->n_wanted = n;
        s->topic = mem_strdup(topic);
        s->wanted = n > 0 ? mem_dup(partitions, n * sizeof(partitions[0])) : NULL;
        if (!s->topic || (n > 0 && !s->wanted)) {
                subscription_free(s);
                return -ENOMEM;
        }

        list_append(&k->subscriptions, &s->link);
        subscription_ask_metadata(s);
        if (s->state == SUBSCRIPTION_FAILED) {
                int r = s->error;

                subscription_free(s);
                return r;
        }
        return 0;
}

int consumer_subscription_result(struct consumer *k, const char *topic) {
        struct subscription *s = subscription_find(k, topic);
        int r;

        if (!s) {
                consumer_say(k, "topic \"%.249s\" is not subscribed to", topic);
                return -ENOENT;
        }

        if (s->was_read)
                return 1;
        switch (s->state) {
        case SUBSCRIPTION_FAILED:
                consumer_say(k, "%s", s->text);
                r = s->error;
                subscription_free(s);
                return r;
        case SUBSCRIPTION_WAITING:
                s->is_told = true;
                return 0;
        default:
                return s->is_told ? 0 : -EAGAIN;
        }
}

int consumer_seek(struct consumer *k, const char *topic, uint32_t partition, uint64_t offset) {
        struct source *s = source_find(k, topic, partition);

        if (!s || !s->is_resolved) {
                consumer_say(k, "%.249s/%" PRIu32 " is not subscribed to", topic, partition);
                return -ENOENT;
        }

        list_remove(&s->in_taken);
        source_start(s, offset);
        s->position_before = offset;
        consumer_pump(k);
        return 0;
}

/* What the take before handed out may go now (I3). */
static void consumer_release(struct consumer *k) {
        for (struct source *s; (s = list_pop(&k->taken, struct source, in_taken));)
                s->position_before = s->position;
        LIST_FOREACH(&k->spent, c, struct chunk, link)
                chunk_free(c);
        k->n_messages = 0;
        k->has_released = false;
}

/* Return: 0 nothing is wrong; the error of a source that has handed out what was before it, or of a subscription. */
static int consumer_tell_error(struct consumer *k) {
        if (k->error < 0) {
                k->last_error = k->error;
                k->error = 0;
                return k->last_error; /* its words are there already */
        }

        if (k->n_errors == 0)
                return 0;
        LIST_FOREACH(&k->sources, s, struct source, link) {
                if (s->error == 0 || !list_is_empty(&s->chunks))
                        continue;

                k->last_error = s->error;
                consumer_say(k, "%s", s->text ?: "out of memory");
                source_clear_error(s);
                if (s->resume_offset != UINT64_MAX)
                        source_start(s, s->resume_offset);
                return k->last_error;
        }
        return 0;
}

/* The chunk at hand can be iterated. Return: 1; 0 there is nothing in it; negative: it cannot be read. */
static int chunk_begin(struct chunk *c) {
        struct consumer *k = c->source->subscription->consumer;
        int r;

        if (c->has_iterator)
                return 1;
        if (c->expires_at_ms > 0 && io_wall_ms(k->io) >= c->expires_at_ms)
                return 0;

        r = batch_iterator_init(&c->iterator, &c->view, k->codec, CONSUMER_DECOMPRESSED_BYTES_MAX);
        if (r < 0)
                return r;
        c->has_iterator = true;
        return 1;
}

/* Hands out of one chunk, up to @n_max messages in all. Return: 1 it is used up; 0 more is in it; negative: it is bad. */
static int chunk_take(struct chunk *c, size_t n_max) {
        struct source *s = c->source;
        struct consumer *k = s->subscription->consumer;
        const char *topic = s->subscription->topic;
        uint64_t position = s->position;
        size_t n = k->n_messages;
        int r;

        r = chunk_begin(c);
        if (r <= 0)
                return r < 0 ? r : 1;

        n_max = MIN(n_max, n + (size_t) c->iterator.n_left);
        if (!grow(k->messages, k->n_messages_allocated, n_max))
                return -ENOMEM;

        r = 1;
        while (n < n_max) {
                struct consumer_message *m = &k->messages[n];

                r = batch_iterator_next(&c->iterator, &m->record);
                if (r <= 0)
                        break;
                if ((uint64_t) m->record.offset < position)
                        continue;
                if (s->has_end && (uint64_t) m->record.offset >= s->end_offset) {
                        r = 0;
                        break;
                }
                m->topic = topic;
                m->partition = s->number;
                position = (uint64_t) m->record.offset + 1;
                n++;
        }
        if (r > 0 && c->iterator.n_left == 0)
                r = batch_iterator_next(&c->iterator, &(struct record){ 0 });

        s->position = position;
        k->n_messages = n;
        return r < 0 ? r : r == 0;
}

int consumer_take(struct consumer *k, size_t n_max) {
        int r;

        consumer_release(k);
        r = consumer_tell_error(k);
        if (r < 0) {
                consumer_pump(k);
                return r;
        }

        while (k->n_messages < n_max) {
                struct source *s = list_first(&k->ready, struct source, in_ready);
                size_t n_before = k->n_messages;
                struct chunk *c;

                if (!s)
                        break;
                c = list_first(&s->chunks, struct chunk, link);
                r = chunk_take(c, n_max);
                if (r == -ENOMEM && k->n_messages == 0)
                        return r;
                if (r == -ENOMEM)
                        break;
                if (k->n_messages > n_before && list_is_empty(&s->in_taken))
                        list_append(&k->taken, &s->in_taken);
                if (r == 0)
                        break; /* n_max */

                if (r < 0) {
                        uint64_t next = (uint64_t) batch_next_offset(&c->view);

                        source_drop_chunks(s);
                        source_fail(s,
                                    r == -EOPNOTSUPP ? r : -EIO,
                                    next,
                                    "%s/%" PRIu32 ": the batch with messages %" PRIu64
                                    " to %" PRIu64 " %s",
                                    s->subscription->topic,
                                    s->number,
                                    (uint64_t) c->view.base_offset,
                                    next - 1,
                                    r == -EOPNOTSUPP ? "uses a compression that is not known here"
                                    : r == -EMSGSIZE ? "is too large when decompressed"
                                                     : "cannot be decoded");
                        continue;
                }

                k->has_released = true;
                chunk_spend(c);
                source_pass(s, (uint64_t) batch_next_offset(&c->view));
                if (!list_is_empty(&s->in_ready)) { /* others have their turn */
                        list_remove(&s->in_ready);
                        list_append(&k->ready, &s->in_ready);
                }
        }

        consumer_pump(k);
        if (k->n_messages > 0)
                return (int) MIN(k->n_messages, (size_t) INT32_MAX);

        r = consumer_tell_error(k);
        if (r < 0)
                return r;
        /* Where nothing can come any more, silence would be for ever. */
        if (k->last_error < 0 && !k->config.stop_at_end && !list_is_empty(&k->subscriptions)) {
                LIST_FOREACH(&k->sources, s, struct source, link)
                        if (!s->is_resting)
                                return 0;
                LIST_FOREACH(&k->subscriptions, s, struct subscription, link)
                        if (s->state != SUBSCRIPTION_READING && s->state != SUBSCRIPTION_FAILED)
                                return 0;
                return k->last_error;
        }
        return 0;
}

const struct consumer_message *consumer_message(const struct consumer *k, size_t i) {
        return i < k->n_messages ? &k->messages[i] : NULL;
}

bool consumer_has_released(const struct consumer *k) {
        return k->has_released;
}

bool consumer_is_at_end(const struct consumer *k) {
        if (!k->config.stop_at_end || k->error < 0)
                return false;

        LIST_FOREACH(&k->subscriptions, s, struct subscription, link)
                if (!s->was_read && s->state != SUBSCRIPTION_FAILED)
                        return false;
        LIST_FOREACH(&k->sources, s, struct source, link)
                if (s->error < 0 || !(s->has_ended || (s->is_resting && list_is_empty(&s->chunks))))
                        return false;
        return true;
}

int consumer_position(const struct consumer *k,
                      const char *topic,
                      uint32_t partition,
                      uint64_t *ret) {
        const struct source *s = source_find(k, topic, partition);

        if (!s || !s->is_resolved)
                return -ENOENT;

        *ret = s->position;
        return 0;
}

const char *consumer_error(const struct consumer *k) {
        return k->text;
}

/* ---- Commit ---- */

static void
on_commit(struct call *c, int r, const char *text, const ProtobufCMessage *answer, void *userdata) {
        const Drmq__Proto__PositionCommitResponse *m = (const void *) answer;
        struct consumer *k = userdata;

        (void) c;
        if (r < 0)
                consumer_say(k, "group \"%s\": %s", k->group, text);
        for (size_t i = 0; r >= 0 && i < m->n_position; i++)
                if (m->position[i]->error && m->position[i]->error->code != DRMQ_ERROR_NONE) {
                        uint32_t code = m->position[i]->error->code;

                        r = drmq_error_to_errno(code);
                        consumer_say(k, "group \"%s\": %s", k->group, drmq_error_text(code));
                }

        if (r >= 0)
                for (size_t i = 0; i < k->n_committing; i++)
                        k->committing[i]->committed = k->commit_offsets[i];
        k->commit_result = r;
        consumer_forget_commit(k);
}

/* Sends what is in committing and commit_offsets. */
static int consumer_send_commit(struct consumer *k) {
        Drmq__Proto__PositionCommitRequest m = DRMQ__PROTO__POSITION_COMMIT_REQUEST__INIT;
        size_t n = k->n_committing;
        _cleanup_(mem_freep) Drmq__Proto__Position *positions = new (Drmq__Proto__Position, n);
        _cleanup_(mem_freep) Drmq__Proto__Position **pointers = new (Drmq__Proto__Position *, n);
        int r;

        if (!positions || !pointers)
                return -ENOMEM;

        for (size_t i = 0; i < n; i++) {
                drmq__proto__position__init(&positions[i]);
                positions[i].partition_id = k->committing[i]->id;
                positions[i].offset = k->commit_offsets[i];
                positions[i].is_set = true;
                pointers[i] = &positions[i];
        }
        m.group = k->group;
        m.position = pointers;
        m.n_position = n;
        r = call_start(&k->commit,
                       k->session,
                       FRAME_POSITION_COMMIT,
                       &m,
                       &drmq__proto__position_commit_response__descriptor,
                       usec_add(io_now(k->io), k->config.timeout_usec));
        if (r < 0)
                return r;
        k->commit_result = -EAGAIN;
        return 1;
}

static int consumer_begin_commit(struct consumer *k) {
        if (!k->group) {
                consumer_say(k, "a position cannot be committed without a group");
                return -EINVAL;
        }
        if (call_is_pending(&k->commit)) {
                consumer_say(k, "the commit before has not ended");
                return -EBUSY;
        }
        return 0;
}

static int consumer_reserve_commit(struct consumer *k, size_t n) {
        k->committing = new (struct source *, n);
        k->commit_offsets = new (uint64_t, n);
        if (k->committing && k->commit_offsets)
                return 0;

        consumer_forget_commit(k);
        return -ENOMEM;
}

int consumer_commit(struct consumer *k, bool all) {
        size_t n = 0;
        int r;

        r = consumer_begin_commit(k);
        if (r < 0)
                return r;

        LIST_FOREACH(&k->sources, s, struct source, link)
                n += s->is_resolved && s->committed != (all ? s->position : s->position_before);
        if (n == 0)
                return 0;

        r = consumer_reserve_commit(k, n);
        if (r < 0)
                return r;
        LIST_FOREACH(&k->sources, s, struct source, link) {
                uint64_t offset = all ? s->position : s->position_before;

                if (s->is_resolved && s->committed != offset) {
                        k->committing[k->n_committing] = s;
                        k->commit_offsets[k->n_committing++] = offset;
                }
        }

        r = consumer_send_commit(k);
        if (r < 0)
                consumer_forget_commit(k);
        return r;
}

int consumer_commit_offset(struct consumer *k,
                           const char *topic,
                           uint32_t partition,
                           uint64_t offset) {
        struct source *s;
        int r;

        r = consumer_begin_commit(k);
        if (r < 0)
                return r;
        s = source_find(k, topic, partition);
        if (!s || !s->is_resolved) {
                consumer_say(k, "%.249s/%" PRIu32 " is not subscribed to", topic, partition);
                return -ENOENT;
        }

        r = consumer_reserve_commit(k, 1);
        if (r < 0)
                return r;
        k->committing[0] = s;
        k->commit_offsets[0] = offset;
        k->n_committing = 1;
        r = consumer_send_commit(k);
        if (r < 0)
                consumer_forget_commit(k);
        return r;
}

int consumer_commit_result(struct consumer *k) {
        return k->commit_result;
}
