/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Topics: metadata, then positions or offsets where they are needed, then its partitions are read.
 * Once in a while, and when the node does not know a partition any more, metadata again.
 */

#include "client/consumer-internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/alloc.h"

static_assert(DRMQ__PROTO__OFFSET_KIND__OFFSET_BEGINNING == 0 &&
                      DRMQ__PROTO__OFFSET_KIND__OFFSET_END == 1 &&
                      DRMQ__PROTO__OFFSET_KIND__OFFSET_TIME == 2,
              "the order of the queries");

static void subscription_forget_call(struct subscription *s) {
        s->resolving = mem_free(s->resolving);
        s->positions = mem_free(s->positions);
        s->n_resolving = 0;
}

static void subscription_drop_sources(struct subscription *s) {
        LIST_FOREACH(&s->sources, source, struct source, of_topic)
                source_free(source);
}

void subscription_free(struct subscription *s) {
        struct consumer *k = s->consumer;

        call_done(&s->call);
        io_timer_cancel(k->io, &s->timer);
        subscription_drop_sources(s);
        subscription_forget_call(s);
        if (s->state == SUBSCRIPTION_FAILED && s->is_told)
                k->n_failed--;
        if (!list_is_empty(&s->link))
                map_remove(&k->topics, &s->by_topic);
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
                LIST_FOREACH(&s->sources, source, struct source, of_topic)
                        source_fail(source, error, UINT64_MAX, "%s", s->text);
                s->state = SUBSCRIPTION_READING;
                return;
        }

        subscription_drop_sources(s);
        s->state = SUBSCRIPTION_FAILED;
        s->error = error;
        k->n_failed += s->is_told;
}

/* In a while. */
static void subscription_wait(struct subscription *s, usec_t usec) {
        if (io_timer_set(s->consumer->io, &s->timer, usec_add(io_now(s->consumer->io), usec)) < 0)
                subscription_fail(s, -ENOMEM, "out of memory");
}

/* The more topics there are the more seldom each is looked at. */
static usec_t subscription_pause(const struct subscription *s, usec_t usec) {
        return MIN(usec * (1 + s->consumer->topics.n_nodes / CONSUMER_TOPICS_AT_ONCE),
                   CONSUMER_METADATA_MAX_USEC);
}

static void subscription_read(struct subscription *s) {
        s->state = SUBSCRIPTION_READING;
        s->was_read = true;
        if (!s->wanted && !s->consumer->config.stop_at_end)
                subscription_wait(s, subscription_pause(s, CONSUMER_METADATA_USEC));
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

void subscription_ask_metadata(struct subscription *s) {
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

static bool subscription_wants(const struct subscription *s, uint32_t number) {
        for (size_t i = 0; i < s->n_wanted; i++)
                if (s->wanted[i] == number)
                        return true;
        return !s->wanted;
}

/* What the topic's partitions are now, against what is read. Return: 0; the failure has been noted
 * otherwise. */
static int subscription_compare(struct subscription *s, const Drmq__Proto__Topic *topic) {
        size_t n = MAX(topic->n_partition, (size_t) 1);
        _cleanup_(mem_freep) struct source **by_number = new0(struct source *, n);

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

        s->resolving = new0(struct source *, n);
        if (!s->resolving || !by_number) {
                subscription_fail(s, -ENOMEM, "out of memory");
                return -ENOMEM;
        }
        LIST_FOREACH(&s->sources, source, struct source, of_topic)
                if (source->number < topic->n_partition)
                        by_number[source->number] = source;

        for (size_t i = 0; i < topic->n_partition; i++) {
                const Drmq__Proto__Partition *p = topic->partition[i];
                struct source *source;

                if (p->number != i) { /* they are told in order */
                        subscription_fail(s, -EPROTO, "the node's answer makes no sense");
                        return -EPROTO;
                }
                if (!subscription_wants(s, p->number))
                        continue;
                source = by_number[i];
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
                subscription_wait(s, subscription_pause(s, CONSUMER_TOPIC_WAIT_USEC));
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

/* Whether "the first there is" is what was asked for. */
static bool subscription_wants_begin(const struct subscription *s, size_t i) {
        return s->was_read || s->from == CONSUMER_FROM_BEGINNING ||
               (s->from == CONSUMER_FROM_POSITION && s->positions[i] == UINT64_MAX);
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

                if (code != DRMQ_ERROR_NONE && !(code == DRMQ_ERROR_DAMAGED && i % n_each == 1)) {
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
                /* Where the end is damaged nobody knows it. What can be read is read; the next
                 * fetch, of what is damaged, is refused: that is how the reader hears of it. */
                uint64_t begin = a[0]->offset, end = a[1]->offset + (a[1]->error ? 1 : 0);
                uint64_t first =
                        subscription_first_offset(s, i, begin, end, n_each > 2 ? a[2]->offset : 0);

                source->is_resolved = true;
                source->has_end = s->consumer->config.stop_at_end;
                source->end_offset = end;
                source->position_before = source->committed = first;
                if (subscription_wants_begin(s, i))
                        source->begin_offset = first;
                if (first < begin || first > end) {
                        source->position = source->fetch_offset = first;
                        source_on_out_of_range(source, first, begin, end);
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
                /* what is being read goes on; later partitions come with a later call */
                if (s->was_read) {
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

int subscription_compare_topic(const void *key, const struct map_node *n) {
        return strcmp(key, CONTAINER_OF(n, struct subscription, by_topic)->topic);
}

struct subscription *subscription_find(const struct consumer *k, const char *topic) {
        struct map_node *n = map_find(&k->topics, topic);

        return n ? CONTAINER_OF(n, struct subscription, by_topic) : NULL;
}

int subscription_new(struct consumer *k,
                     const char *topic,
                     const uint32_t *partitions,
                     size_t n,
                     enum consumer_from from,
                     int64_t value) {
        struct subscription *s;
        int r;

        s = new0(struct subscription, 1);
        if (!s)
                return -ENOMEM;
        s->consumer = k;
        list_init(&s->link);
        list_init(&s->sources);
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
        r = map_insert(&k->topics, s->topic, &s->by_topic, /* ret_existing= */ NULL);
        assert(r >= 0); /* the caller has looked */
        subscription_ask_metadata(s);
        if (s->state == SUBSCRIPTION_FAILED) {
                r = s->error;
                subscription_free(s);
                return r;
        }
        return 0;
}
