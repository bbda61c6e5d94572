/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Topics: metadata for everybody, and their creation, growth and deletion as decisions of shard 0.
 *
 * Changes are judged against the applied state, one request at a time: the next waits until the one
 * before is applied. So an entry in the log always takes effect, and two clients that make one
 * topic at the same moment both find it made. A request may change thousands of topics in one
 * entry; what is slow is only the sync.
 *
 *  I1  At most one change is in flight; partition ids are given from the applied state, above all
 *      that any shard knows.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/messages.h"
#include "base/parse.h"
#include "drmqd/core/core.h"

#define TOPICS_PER_REQUEST_MAX 100000u
#define PARTITIONS_PER_REQUEST_MAX 100000u
/* A partition takes at least so many bytes of an answer: two for itself, and two each for its id
 * and its shard. */
#define PARTITION_ANSWER_BYTES_MIN 6u

/* How many topics of one request are named in the journal; the rest are counted. */
#define TRACED_MAX 10u

struct change {
        struct list link; /* broker.topic_changes */
        struct waiter waiter;
        struct request *request; /* NULL: the client is gone */
        struct broker *broker;
        void *message;           /* as its type says; message_free() */
        enum drmq_error *errors; /* per topic that is named */
        size_t n_errors;
        enum admin_op op;
        const char *names[TRACED_MAX]; /* the first topics that it concerns; of the message */
        size_t n_topics;
        uint64_t *dropped; /* partitions of deleted topics; mem_free() */
        size_t n_dropped;
        size_t n_dropped_allocated;
};

static void changes_go_on(struct broker *b);
static void metadata_answer(struct request *r, const Drmq__Proto__MetadataRequest *q);

static struct change *change_free(struct change *c) {
        if (!c)
                return NULL;

        list_remove(&c->link);
        message_free(c->message);
        mem_free(c->errors);
        mem_free(c->dropped);
        return mem_free(c);
}
DEFINE_CLEANUP(struct change *, change_free)

/* Metadata */

static void fill_partition(const struct broker *b,
                           const struct topic_partition *tp,
                           Drmq__Proto__Partition *p) {
        const struct shard *s = b->shards[SHARD_DATA];

        drmq__proto__partition__init(p);
        p->number = tp->number;
        p->id = tp->id;
        p->shard = s->number;
        p->leader_node_id = s->raft ? raft_leader(s->raft) : 0;
}

/* What a metadata answer is made of; one allocation each, freed together. */
struct metadata {
        Drmq__Proto__Topic *topics;
        Drmq__Proto__Topic **topic_pointers;
        Drmq__Proto__Partition *partitions;
        Drmq__Proto__Partition **partition_pointers;
        Drmq__Proto__Error *errors;
        size_t n_topics;
        size_t n_partitions;
        size_t n_errors;
};

static void metadata_done(struct metadata *m) {
        mem_free(m->topics);
        mem_free(m->topic_pointers);
        mem_free(m->partitions);
        mem_free(m->partition_pointers);
        mem_free(m->errors);
}

static int metadata_init(struct metadata *m, size_t n_topics, size_t n_partitions) {
        *m = (struct metadata){
                .topics = new (Drmq__Proto__Topic, n_topics + 1),
                .topic_pointers = new (Drmq__Proto__Topic *, n_topics + 1),
                .partitions = new (Drmq__Proto__Partition, n_partitions + 1),
                .partition_pointers = new (Drmq__Proto__Partition *, n_partitions + 1),
                .errors = new (Drmq__Proto__Error, n_topics + 1),
        };
        return m->topics && m->topic_pointers && m->partitions && m->partition_pointers && m->errors
                       ? 0
                       : -ENOMEM;
}

/* Whether so many partitions may be made (limits.partitions). */
static bool has_room(const struct broker *b, uint64_t n_new) {
        const struct state *metadata = b->shards[SHARD_METADATA]->state;

        return n_new == 0 || metadata->topic_partitions.n_nodes + n_new <= b->partitions_max;
}

/* What is refused for want of room for partitions says of what. */
static const char *error_words(enum drmq_error code) {
        return code == DRMQ_ERROR_TOO_MANY
                       ? "there are as many partitions as the node may have (limits.partitions)"
                       : drmq_error_text(code);
}

/* @creates: what is missing was to be made. */
static void metadata_add(struct metadata *m,
                         struct broker *b,
                         const char *name,
                         const struct topic *t,
                         bool creates) {
        Drmq__Proto__Topic *answer = m->topics + m->n_topics;
        enum drmq_error code;

        drmq__proto__topic__init(answer);
        answer->name = (char *) name;
        m->topic_pointers[m->n_topics++] = answer;
        if (!t) {
                code = !topic_name_is_valid(name)                        ? DRMQ_ERROR_INVALID_NAME
                       : !shard_knows_its_end(b->shards[SHARD_METADATA]) ? DRMQ_ERROR_DAMAGED
                       : creates && !has_room(b, b->default_partitions)  ? DRMQ_ERROR_TOO_MANY
                                                                         : DRMQ_ERROR_UNKNOWN_TOPIC;
                answer->error = m->errors + m->n_errors++;
                error_init(answer->error, b, code, (char *) error_words(code));
                metrics_count_error(&b->metrics, code);
                return;
        }

        answer->created_ms = (uint64_t) t->created_ms;
        answer->partition = m->partition_pointers + m->n_partitions;
        answer->n_partition = t->n_partitions;
        for (uint32_t i = 0; i < t->n_partitions; i++) {
                fill_partition(b, t->partitions[i], m->partitions + m->n_partitions);
                m->partition_pointers[m->n_partitions] = m->partitions + m->n_partitions;
                m->n_partitions++;
        }
}

static void metadata_answer(struct request *r, const Drmq__Proto__MetadataRequest *q) {
        struct broker *b = r->broker;
        const struct state *state = b->shards[SHARD_METADATA]->state;
        const struct node_identity *id = datadir_identity(b->datadir);
        Drmq__Proto__MetadataResponse answer = DRMQ__PROTO__METADATA_RESPONSE__INIT;
        Drmq__Proto__Node node = DRMQ__PROTO__NODE__INIT, *nodes = &node;
        _cleanup_(metadata_done) struct metadata m = {};
        size_t n_topics = q->all ? state->topics.n_nodes : q->n_topic, n_partitions = 0;

        if (q->all)
                n_partitions = state->topic_partitions.n_nodes;
        else
                for (size_t i = 0; i < q->n_topic; i++) {
                        const struct topic *t = state_topic(state, q->topic[i]);

                        n_partitions += t ? t->n_partitions : 0;
                }
        if (n_partitions > FRAME_HEADER_BYTES_MAX / PARTITION_ANSWER_BYTES_MIN) {
                /* before it takes memory */
                request_fail(r, DRMQ_ERROR_TOO_LARGE, "The answer would be too large");
                return;
        }
        if (metadata_init(&m, n_topics, n_partitions) < 0) {
                request_fail(r, DRMQ_ERROR_NO_MEMORY, "The node is out of memory");
                return;
        }

        if (q->all)
                MAP_FOREACH(&state->topics, n) {
                        const struct topic *t = CONTAINER_OF(n, struct topic, by_name);

                        metadata_add(&m, b, t->name, t, false);
                }
        else
                for (size_t i = 0; i < q->n_topic; i++)
                        metadata_add(&m,
                                     b,
                                     q->topic[i],
                                     state_topic(state, q->topic[i]),
                                     q->create && b->auto_create);

        node.id = id->node_id;
        node.address = b->advertise;
        answer.cluster_id.data = (uint8_t *) id->cluster_id;
        answer.cluster_id.len = sizeof(id->cluster_id);
        answer.node_id = id->node_id;
        answer.node = &nodes;
        answer.n_node = 1;
        answer.topic = m.topic_pointers;
        answer.n_topic = m.n_topics;
        request_answer(r, &answer, NULL, 0, NULL, 0);
}

/* Changes: what each request means, written as operations of one entry */

static uint32_t partitions_asked(const struct broker *b, uint32_t n) {
        return n == 0 ? b->default_partitions : n;
}

static enum drmq_error
judge_create(const struct state *state, const char *name, uint32_t n_partitions, bool if_missing) {
        if (!topic_name_is_valid(name))
                return DRMQ_ERROR_INVALID_NAME;
        if (n_partitions == 0 || n_partitions > PARTITIONS_PER_TOPIC_MAX)
                return DRMQ_ERROR_INVALID_ARGUMENT;
        if (state_topic(state, name))
                return if_missing ? DRMQ_ERROR_NONE : DRMQ_ERROR_TOPIC_EXISTS;
        return DRMQ_ERROR_NONE;
}

static void write_op(struct change *c, struct byte_writer *w, enum admin_op op, const char *name) {
        c->op = op;
        if (c->n_topics < TRACED_MAX)
                c->names[c->n_topics] = name;
        c->n_topics++;
        byte_writer_u8(w, (uint8_t) op);
        byte_writer_string(w, name);
}

static void write_create(struct change *c,
                         struct byte_writer *w,
                         const char *name,
                         uint32_t n_partitions,
                         uint64_t *next_id) {
        write_op(c, w, ADMIN_TOPIC_CREATE, name);
        byte_writer_uleb(w, n_partitions);
        byte_writer_uleb(w, *next_id);
        *next_id += n_partitions;
}

static int name_pointer_compare(const void *a, const void *b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* Whether a name occurs twice: one entry may make a topic only once. */
static int names_repeat(char *const *names, size_t n) {
        _cleanup_(mem_freep) const char **sorted = new (const char *, n + 1);

        if (!sorted)
                return -ENOMEM;

        for (size_t i = 0; i < n; i++)
                sorted[i] = names[i];
        qsort(sorted, n, sizeof(sorted[0]), name_pointer_compare);
        for (size_t i = 1; i < n; i++)
                if (streq(sorted[i - 1], sorted[i]))
                        return 1;
        return 0;
}

/* I1. Where shard 0's log has lost its end, ids that it had given may be known to the data shard
 * only: they are never given again. */
static uint64_t next_partition_id(const struct broker *b) {
        const struct state *data = b->shards[SHARD_DATA]->state;
        uint64_t next_id = b->shards[SHARD_METADATA]->state->next_partition_id;
        const struct map_node *p = map_last(&data->partitions), *q = map_last(&data->positions);

        if (p)
                next_id = MAX(next_id, CONTAINER_OF(p, struct partition, by_id)->id + 1);
        if (q)
                next_id = MAX(next_id, CONTAINER_OF(q, struct position, by_key)->partition_id + 1);
        return next_id;
}

static void change_create(struct change *c, struct byte_writer *w) {
        const Drmq__Proto__TopicCreateRequest *q = c->message;
        const struct state *state = c->broker->shards[SHARD_METADATA]->state;
        uint64_t next_id = next_partition_id(c->broker), n_new = 0;

        for (size_t i = 0; i < q->n_topic; i++) {
                uint32_t n = partitions_asked(c->broker, q->topic[i]->partitions);

                c->errors[i] = judge_create(state, q->topic[i]->name, n, q->topic[i]->if_missing);
                if (c->errors[i] != DRMQ_ERROR_NONE || state_topic(state, q->topic[i]->name))
                        continue;
                if (n_new + n > PARTITIONS_PER_REQUEST_MAX)
                        c->errors[i] = DRMQ_ERROR_TOO_LARGE;
                else if (!has_room(c->broker, n_new + n))
                        c->errors[i] = DRMQ_ERROR_TOO_MANY;
                else {
                        write_create(c, w, q->topic[i]->name, n, &next_id);
                        n_new += n;
                }
        }
}

static void change_create_missing(struct change *c, struct byte_writer *w) {
        const Drmq__Proto__MetadataRequest *q = c->message;
        const struct state *state = c->broker->shards[SHARD_METADATA]->state;
        uint64_t next_id = next_partition_id(c->broker), n_new = 0;
        const uint32_t n = c->broker->default_partitions;

        for (size_t i = 0; i < q->n_topic; i++)
                if (topic_name_is_valid(q->topic[i]) && !state_topic(state, q->topic[i]) &&
                    has_room(c->broker, n_new + n)) {
                        write_create(c, w, q->topic[i], n, &next_id);
                        n_new += n;
                }
}

static void change_alter(struct change *c, struct byte_writer *w) {
        const Drmq__Proto__TopicAlterRequest *q = c->message;
        const struct state *state = c->broker->shards[SHARD_METADATA]->state;
        const struct topic *t = state_topic(state, q->name);

        if (!t)
                c->errors[0] = DRMQ_ERROR_UNKNOWN_TOPIC;
        else if (q->partitions < t->n_partitions || q->partitions > PARTITIONS_PER_TOPIC_MAX)
                c->errors[0] = DRMQ_ERROR_INVALID_ARGUMENT;
        else if (!has_room(c->broker, q->partitions - t->n_partitions))
                c->errors[0] = DRMQ_ERROR_TOO_MANY;
        else if (q->partitions > t->n_partitions) {
                write_op(c, w, ADMIN_TOPIC_EXTEND, q->name);
                byte_writer_uleb(w, q->partitions);
                byte_writer_uleb(w, next_partition_id(c->broker));
        }
}

static void change_delete(struct change *c, struct byte_writer *w) {
        const Drmq__Proto__TopicDeleteRequest *q = c->message;
        const struct state *state = c->broker->shards[SHARD_METADATA]->state;

        for (size_t i = 0; i < q->n_name; i++) {
                const struct topic *t = state_topic(state, q->name[i]);

                if (!t) {
                        c->errors[i] = DRMQ_ERROR_UNKNOWN_TOPIC;
                        continue;
                }
                if (!grow(c->dropped, c->n_dropped_allocated, c->n_dropped + t->n_partitions)) {
                        c->errors[i] = DRMQ_ERROR_NO_MEMORY;
                        continue;
                }
                for (uint32_t k = 0; k < t->n_partitions; k++)
                        c->dropped[c->n_dropped++] = t->partitions[k]->id;
                write_op(c, w, ADMIN_TOPIC_DELETE, q->name[i]);
        }
}

/* Answers */

static void fill_result(struct change *c,
                        size_t i,
                        const char *name,
                        Drmq__Proto__TopicResult *result,
                        Drmq__Proto__Error *e) {
        drmq__proto__topic_result__init(result);
        result->name = (char *) name;
        if (c->errors[i] != DRMQ_ERROR_NONE) {
                error_init(e, c->broker, c->errors[i], (char *) error_words(c->errors[i]));
                metrics_count_error(&c->broker->metrics, c->errors[i]);
                result->error = e;
        }
}

static void answer_results(struct change *c) {
        _cleanup_(mem_freep) Drmq__Proto__TopicResult *results =
                new (Drmq__Proto__TopicResult, c->n_errors + 1);
        _cleanup_(mem_freep) Drmq__Proto__TopicResult **pointers =
                new (Drmq__Proto__TopicResult *, c->n_errors + 1);
        _cleanup_(mem_freep) Drmq__Proto__Error *errors = new (Drmq__Proto__Error, c->n_errors + 1);
        struct request *r = TAKE_PTR(c->request);

        if (!results || !pointers || !errors) {
                request_fail(r, DRMQ_ERROR_NO_MEMORY, "The node is out of memory");
                return;
        }

        for (size_t i = 0; i < c->n_errors; i++) {
                const char *name =
                        r->type == FRAME_TOPIC_CREATE
                                ? ((Drmq__Proto__TopicCreateRequest *) c->message)->topic[i]->name
                                : ((Drmq__Proto__TopicDeleteRequest *) c->message)->name[i];

                fill_result(c, i, name, results + i, errors + i);
                pointers[i] = results + i;
        }
        if (r->type == FRAME_TOPIC_CREATE) {
                Drmq__Proto__TopicCreateResponse answer = DRMQ__PROTO__TOPIC_CREATE_RESPONSE__INIT;

                answer.topic = pointers;
                answer.n_topic = c->n_errors;
                request_answer(r, &answer, NULL, 0, NULL, 0);
        } else {
                Drmq__Proto__TopicDeleteResponse answer = DRMQ__PROTO__TOPIC_DELETE_RESPONSE__INIT;

                answer.topic = pointers;
                answer.n_topic = c->n_errors;
                request_answer(r, &answer, NULL, 0, NULL, 0);
        }
}

static void answer_alter(struct change *c) {
        Drmq__Proto__TopicAlterResponse answer = DRMQ__PROTO__TOPIC_ALTER_RESPONSE__INIT;
        const Drmq__Proto__TopicAlterRequest *q = c->message;
        struct request *r = TAKE_PTR(c->request);

        if (c->errors[0] == DRMQ_ERROR_NONE)
                request_answer(r, &answer, NULL, 0, NULL, 0);
        else
                request_fail(r,
                             c->errors[0],
                             "Cannot give topic \"%.249s\" %" PRIu32 " partitions: %s",
                             q->name,
                             q->partitions,
                             c->errors[0] == DRMQ_ERROR_INVALID_ARGUMENT
                                     ? "their number can only grow, up to 10000"
                                     : error_words(c->errors[0]));
}

/* @error: why nothing of it is in the log. */
static void change_answer(struct change *c, int error) {
        enum drmq_error code;

        if (!c->request)
                return;
        if (error < 0) {
                code = drmq_error_from_errno(error);
                request_fail(TAKE_PTR(c->request),
                             code,
                             "Topics were not changed: %s",
                             drmq_error_text(code));
                return;
        }

        switch (c->request->type) {
        case FRAME_METADATA:
                metadata_answer(TAKE_PTR(c->request), c->message);
                return;
        case FRAME_TOPIC_ALTER:
                answer_alter(c);
                return;
        default:
                answer_results(c);
        }
}

/* One after the other */

/* A topic that is gone takes its partitions with it, on their shard. Where that cannot be proposed
 * now the next start does it (topics_reconcile()). */
static int drop_partitions(struct broker *b, const uint64_t *ids, size_t n) {
        _cleanup_(proposal_freep) struct proposal *p = NULL;
        struct shard *s = b->shards[SHARD_DATA];
        struct byte_writer w;

        if (n == 0 || !shard_is_writable(s))
                return 0;

        p = proposal_new(ENTRY_ADMIN, 0);
        if (!p)
                return -ENOMEM;

        byte_writer_init(&w, ENTRY_BYTES_MAX / 2);
        for (size_t i = 0; i < n; i++) {
                byte_writer_u8(&w, ADMIN_PARTITION_DROP);
                byte_writer_uleb(&w, ids[i]);
        }
        if (w.failed) {
                byte_writer_done(&w);
                return -ENOMEM;
        }

        p->body = w.data;
        p->entry.body = p->body;
        p->entry.body_bytes = (uint32_t) w.size;
        shard_propose(s, TAKE_PTR(p), shard_append_time_ms(s), NULL, NULL);
        return 0;
}

int topics_reconcile(struct broker *b) {
        const struct state *metadata = b->shards[SHARD_METADATA]->state;
        const struct state *data = b->shards[SHARD_DATA]->state;
        _cleanup_(mem_freep) uint64_t *ids = NULL;
        size_t n = 0, n_allocated = 0;

        if (!shard_is_writable(b->shards[SHARD_METADATA]))
                /* it does not know what it has lost: nothing is gone for not being named */
                return 0;

        if (next_partition_id(b) > metadata->next_partition_id) {
                trace(b->tracer,
                      LOG_ERR,
                      DRMQ_MESSAGE_CORRUPTION_FOUND,
                      FIELDS(FIELD_SHARD(SHARD_DATA)),
                      "Shard %u holds partitions that shard %u does not know to have given: its log has lost "
                      "its end; they are kept",
                      SHARD_DATA,
                      SHARD_METADATA);
                return 0;
        }

        MAP_FOREACH(&data->partitions, i) {
                uint64_t id = CONTAINER_OF(i, struct partition, by_id)->id;

                if (state_topic_partition(metadata, id))
                        continue;
                if (!grow(ids, n_allocated, n + 1))
                        return -ENOMEM;
                ids[n++] = id;
        }
        /* A group may have a position where nothing was ever sent. */
        MAP_FOREACH(&data->positions, i) {
                uint64_t id = CONTAINER_OF(i, struct position, by_key)->partition_id;

                if (state_topic_partition(metadata, id) || state_partition(data, id) ||
                    (n > 0 && ids[n - 1] == id))
                        continue;
                if (!grow(ids, n_allocated, n + 1))
                        return -ENOMEM;
                ids[n++] = id;
        }

        return drop_partitions(b, ids, n);
}

static void change_trace(const struct change *c) {
        const struct state *state = c->broker->shards[SHARD_METADATA]->state;
        const char *id = c->op == ADMIN_TOPIC_DELETE   ? DRMQ_MESSAGE_TOPIC_DELETED
                         : c->op == ADMIN_TOPIC_EXTEND ? DRMQ_MESSAGE_TOPIC_EXTENDED
                                                       : DRMQ_MESSAGE_TOPIC_CREATED;

        for (size_t i = 0; i < MIN(c->n_topics, TRACED_MAX); i++) {
                const struct topic *t = state_topic(state, c->names[i]);

                if (!t)
                        trace(c->broker->tracer,
                              LOG_INFO,
                              id,
                              FIELDS(FIELD_TOPIC(c->names[i])),
                              "Topic %s was deleted",
                              c->names[i]);
                else
                        trace(c->broker->tracer,
                              LOG_INFO,
                              id,
                              FIELDS(FIELD_TOPIC(c->names[i])),
                              "Topic %s was %s: partitions 0 to %" PRIu32,
                              c->names[i],
                              c->op == ADMIN_TOPIC_EXTEND ? "extended" : "created",
                              t->n_partitions - 1);
        }
        if (c->n_topics > TRACED_MAX)
                trace(c->broker->tracer,
                      LOG_INFO,
                      id,
                      NULL,
                      "The same happened to %zu more topics by one request",
                      c->n_topics - TRACED_MAX);
}

static void change_on_done(struct waiter *w, int error) {
        struct change *c = CONTAINER_OF(w, struct change, waiter);
        struct broker *b = c->broker;

        if (error >= 0) {
                change_trace(c);
                for (size_t i = 0; i < c->n_dropped; i++)
                        metrics_forget(&b->metrics, c->dropped[i]);
                (void) drop_partitions(b, c->dropped, c->n_dropped); /* or the next start */
        }
        change_answer(c, error);
        change_free(c);
        b->topics_are_changing = false;
        changes_go_on(b);
}

static void change_go(struct change *c) {
        _cleanup_(proposal_freep) struct proposal *p = NULL;
        struct broker *b = c->broker;
        struct shard *s = b->shards[SHARD_METADATA];
        struct byte_writer w;

        p = proposal_new(ENTRY_ADMIN, 0);
        byte_writer_init(&w, ENTRY_BYTES_MAX / 2);
        switch (c->request->type) {
        case FRAME_METADATA:
                change_create_missing(c, &w);
                break;
        case FRAME_TOPIC_CREATE:
                change_create(c, &w);
                break;
        case FRAME_TOPIC_ALTER:
                change_alter(c, &w);
                break;
        default:
                change_delete(c, &w);
        }

        if (!p || w.failed || w.size == 0) {
                change_answer(c, !p || w.failed ? -ENOMEM : 0);
                byte_writer_done(&w);
                change_free(c);
                return;
        }

        p->body = w.data;
        p->entry.body = p->body;
        p->entry.body_bytes = (uint32_t) w.size;
        b->topics_are_changing = true; /* I1 */
        shard_propose(s, TAKE_PTR(p), shard_append_time_ms(s), &c->waiter, change_on_done);
}

static void changes_go_on(struct broker *b) {
        while (!b->topics_are_changing) {
                struct change *c = list_pop(&b->topic_changes, struct change, link);

                if (!c)
                        return;
                change_go(c);
        }
}

static void change_begin(struct request *r, void *message, size_t n_topics, char *const *names) {
        _cleanup_(change_freep) struct change *c = NULL;
        enum drmq_error refusal = broker_refusal(r->broker, r->broker->shards[SHARD_METADATA]);
        struct broker *b = r->broker;
        int k;

        if (refusal != DRMQ_ERROR_NONE) {
                message_free(message);
                request_fail(r, refusal, "Cannot change topics: %s", drmq_error_text(refusal));
                return;
        }
        if (n_topics == 0 || n_topics > TOPICS_PER_REQUEST_MAX) {
                message_free(message);
                request_fail(r,
                             DRMQ_ERROR_TOO_LARGE,
                             "A request may name 1 to %u topics",
                             TOPICS_PER_REQUEST_MAX);
                return;
        }

        k = names ? names_repeat(names, n_topics) : 0;
        if (k > 0) {
                message_free(message);
                request_fail(
                        r, DRMQ_ERROR_INVALID_ARGUMENT, "A topic is named twice in one request");
                return;
        }

        c = new0(struct change, 1);
        if (c) {
                list_init(&c->link);
                c->errors = new0(enum drmq_error, n_topics);
        }
        if (k < 0 || !c || !c->errors) {
                message_free(message);
                request_fail(r, DRMQ_ERROR_NO_MEMORY, "The node is out of memory");
                return;
        }

        c->request = r;
        c->broker = b;
        c->message = message;
        c->n_errors = n_topics;
        list_append(&b->topic_changes, &c->link);
        TAKE_PTR(c);
        changes_go_on(b);
}

void handle_metadata(struct request *r) {
        _cleanup_(message_freep) Drmq__Proto__MetadataRequest *q = NULL;
        const struct state *state = r->broker->shards[SHARD_METADATA]->state;
        bool is_missing = false;

        if (message_unpack(&drmq__proto__metadata_request__descriptor,
                           r->frame.header,
                           (void **) &q) < 0) {
                request_fail(r, DRMQ_ERROR_MALFORMED, "The metadata request is malformed");
                return;
        }

        for (size_t i = 0; i < q->n_topic; i++)
                is_missing = is_missing ||
                             (topic_name_is_valid(q->topic[i]) && !state_topic(state, q->topic[i]));
        if (q->create && is_missing && r->broker->auto_create) {
                char *const *names = q->topic;
                size_t n = q->n_topic;

                change_begin(r, TAKE_PTR(q), n, names);
        } else
                metadata_answer(r, q);
}

void handle_topic_create(struct request *r) {
        _cleanup_(message_freep) Drmq__Proto__TopicCreateRequest *q = NULL;
        _cleanup_(mem_freep) char **names = NULL;
        size_t n;

        if (message_unpack(&drmq__proto__topic_create_request__descriptor,
                           r->frame.header,
                           (void **) &q) < 0) {
                request_fail(r, DRMQ_ERROR_MALFORMED, "The request is malformed");
                return;
        }

        n = q->n_topic;
        names = new (char *, n + 1);
        if (!names) {
                request_fail(r, DRMQ_ERROR_NO_MEMORY, "The node is out of memory");
                return;
        }
        for (size_t i = 0; i < n; i++)
                names[i] = q->topic[i]->name;
        change_begin(r, TAKE_PTR(q), n, names);
}

void handle_topic_alter(struct request *r) {
        _cleanup_(message_freep) Drmq__Proto__TopicAlterRequest *q = NULL;

        if (message_unpack(&drmq__proto__topic_alter_request__descriptor,
                           r->frame.header,
                           (void **) &q) < 0) {
                request_fail(r, DRMQ_ERROR_MALFORMED, "The request is malformed");
                return;
        }

        change_begin(r, TAKE_PTR(q), 1, NULL);
}

void handle_topic_delete(struct request *r) {
        _cleanup_(message_freep) Drmq__Proto__TopicDeleteRequest *q = NULL;
        char *const *names;
        size_t n;

        if (message_unpack(&drmq__proto__topic_delete_request__descriptor,
                           r->frame.header,
                           (void **) &q) < 0) {
                request_fail(r, DRMQ_ERROR_MALFORMED, "The request is malformed");
                return;
        }

        names = q->name;
        n = q->n_name;
        change_begin(r, TAKE_PTR(q), n, names);
}

void topics_free_all(struct broker *b) {
        LIST_FOREACH(&b->topic_changes, c, struct change, link) {
                request_drop(c->request);
                change_free(c);
        }
}
