/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A node made for tests of the client: it keeps batches in memory, judges producers as a real one
 * does, and misbehaves by script. It runs in a process of the simulator's world, so that time is
 * virtual and every run is the same.
 *
 * Faults are asked for by the number of the request (from 1) that they hit, counted over produce or
 * fetch requests.
 */

#include <inttypes.h>

#include "base/alloc.h"
#include "base/parse.h"
#include "batch/batch.h"
#include "client/session.h"
#include "proto/error.h"
#include "proto/frame.h"
#include "proto/message.h"
#include "proto/table.h"
#include "tests/lib/test.h"
#include "tests/sim/world.h"

#define NODE_ADDRESS "node:9092"
#define NODE_TOPICS_MAX 4u
#define NODE_PARTITIONS_MAX 4u

enum node_fault {
        FAULT_NONE,
        FAULT_DROP_BEFORE, /* the connection breaks, nothing was done */
        FAULT_DROP_AFTER,  /* it was done, and then the connection breaks */
        FAULT_BUSY,        /* refused: BUSY for all */
        FAULT_BUSY_ONE,    /* refused: BUSY for the first batch, the others are judged */
        FAULT_TIMED_OUT,   /* it was done, and the answer is TIMED_OUT for all */
        FAULT_CORRUPT_ONE, /* refused for good: CORRUPT_BATCH for the first batch */
        FAULT_SILENT,      /* no answer at all */
        FAULT_NONSENSE,    /* an answer that makes no sense */
        _FAULT_MAX,
};

struct node_batch {
        struct list link;
        uint64_t base_offset;
        uint8_t *data;
        size_t size;
        int64_t producer_id;
        int32_t base_sequence, last_sequence;
        int64_t expires_at_ms;
};

struct node_partition {
        uint64_t id;
        struct list batches;
        uint64_t next_offset, first_offset;
        uint64_t damaged_offset,
                next_good_offset; /* a fetch of it is refused, where not both are 0 */
        uint64_t position;        /* of the one group there is */
        bool has_position;
};

struct node_topic {
        char name[64];
        unsigned n_partitions;
        struct node_partition partitions[NODE_PARTITIONS_MAX];
};

struct node_conn {
        struct list link;
        struct node *node;
        struct io_stream *stream;
        struct frame_reader reader;
        struct frame_queue queue;
        bool has_greeted;
        bool is_broken;
        /* One parked fetch is enough. */
        bool has_parked;
        uint64_t parked_correlation;
        uint8_t parked_table[24 * NODE_PARTITIONS_MAX * NODE_TOPICS_MAX];
        size_t parked_bytes;
};

/* An answer before it is sent. */
struct node_said {
        uint16_t type;
        uint16_t flags;
        uint64_t correlation;
        void *message; /* the node's own */
        const void *table;
        size_t table_bytes;
        const struct slice *body;
        size_t n_body;
};

struct node {
        struct sim_world *world;
        struct sim_process *process;
        struct list conns;
        struct node_topic topics[NODE_TOPICS_MAX];
        unsigned n_topics;
        uint64_t next_id;
        bool auto_create;
        enum node_fault produce_fault, fetch_fault;
        unsigned produce_fault_at, fetch_fault_at, n_faults; /* so many requests from there on */
        unsigned n_produce, n_fetch, n_metadata, n_accepted, n_batches_max;
        unsigned n_fetch_bytes_max; /* batches in one answer are bounded by this; 0: no bound */
        bool is_deaf;               /* takes connections and says nothing */
        void (*lie)(struct node_said *said); /* changes answers; NULL: the node says the truth */
        struct io_timer park_timer;
};

static inline struct node_topic *
node_topic_add(struct node *n, const char *name, unsigned n_partitions) {
        struct node_topic *t = &n->topics[n->n_topics++];

        ASSERT_LE(n->n_topics, NODE_TOPICS_MAX);
        ASSERT_LE(n_partitions, NODE_PARTITIONS_MAX);
        memset(t, 0, sizeof(*t));
        (void) snprintf(t->name, sizeof(t->name), "%s", name);
        t->n_partitions = n_partitions;
        for (unsigned i = 0; i < NODE_PARTITIONS_MAX; i++) {
                t->partitions[i].id = ++n->next_id;
                list_init(&t->partitions[i].batches);
        }
        return t;
}

static inline void node_partition_clear(struct node_partition *p) {
        LIST_FOREACH(&p->batches, b, struct node_batch, link) {
                list_remove(&b->link);
                free(b->data);
                free(b);
        }
        p->next_offset = 0;
}

static inline void node_topic_remove(struct node *n, const char *name) {
        for (unsigned i = 0; i < n->n_topics; i++)
                if (streq(n->topics[i].name, name)) {
                        for (unsigned k = 0; k < NODE_PARTITIONS_MAX; k++)
                                node_partition_clear(&n->topics[i].partitions[k]);
                        n->topics[i].name[0] = 0;
                        n->topics[i].n_partitions = 0;
                        return;
                }
        ASSERT_TRUE(false);
}

static inline struct node_topic *node_topic_find(struct node *n, const char *name) {
        for (unsigned i = 0; i < n->n_topics; i++)
                if (n->topics[i].n_partitions > 0 && streq(n->topics[i].name, name))
                        return &n->topics[i];
        return NULL;
}

static inline struct node_partition *node_partition_find(struct node *n, uint64_t id) {
        for (unsigned i = 0; i < n->n_topics; i++)
                for (unsigned k = 0; k < n->topics[i].n_partitions; k++)
                        if (n->topics[i].partitions[k].id == id)
                                return &n->topics[i].partitions[k];
        return NULL;
}

static inline struct node_batch *
node_append(struct node_partition *p, const uint8_t *data, size_t size) {
        struct node_batch *b = calloc(1, sizeof(*b));
        struct batch_view v;

        ASSERT_EQ(batch_view_init(data, size, &v), 0);
        b->data = malloc(size);
        memcpy(b->data, data, size);
        b->size = size;
        b->base_offset = p->next_offset;
        b->producer_id = v.producer_id;
        b->base_sequence = v.base_sequence;
        b->last_sequence = batch_last_sequence(&v);
        batch_assign(b->data, (int64_t) b->base_offset, 1);
        list_append(&p->batches, &b->link);
        p->next_offset += (uint64_t) v.last_offset_delta + 1;
        return b;
}

/* The last five of a producer, newest first. */
static inline enum drmq_error
node_judge(const struct node_partition *p, const struct batch_view *v, uint64_t *ret_duplicate) {
        const struct node_batch *newest = NULL;
        unsigned n = 0;

        if (v->producer_id < 0)
                return DRMQ_ERROR_NONE;
        for (const struct list *l = p->batches.prev; l != &p->batches; l = l->prev) {
                const struct node_batch *b = list_entry(l, struct node_batch, link);

                if (b->producer_id != v->producer_id)
                        continue;
                if (!newest)
                        newest = b;
                if (n++ < 5 && b->base_sequence == v->base_sequence &&
                    b->last_sequence == batch_last_sequence(v)) {
                        *ret_duplicate = b->base_offset;
                        return DRMQ_ERROR_DUPLICATE;
                }
        }
        return !newest || v->base_sequence == sequence_add(newest->last_sequence, 1)
                       ? DRMQ_ERROR_NONE
                       : DRMQ_ERROR_OUT_OF_SEQUENCE;
}

static inline void node_conn_write(struct node_conn *c) {
        while (c->queue.n_bytes > 0) {
                struct iovec iov[8];
                size_t n = frame_queue_iovec(&c->queue, iov, ELEMENTSOF(iov));
                ssize_t k = io_stream_writev(c->stream, iov, n);

                if (k < 0)
                        break;
                frame_queue_consume(&c->queue, (size_t) k);
        }
        io_stream_want(c->stream,
                       IO_STREAM_READABLE | (c->queue.n_bytes > 0 ? IO_STREAM_WRITABLE : 0));
}

static inline void node_answer(struct node_conn *c,
                               uint16_t type,
                               uint64_t correlation,
                               const void *message,
                               const void *table,
                               size_t table_bytes,
                               const struct slice *body,
                               size_t n_body) {
        struct node_said said = {
                .type = type,
                .flags = FRAME_ANSWER,
                .correlation = correlation,
                .message = (void *) message,
                .table = table,
                .table_bytes = table_bytes,
                .body = body,
                .n_body = n_body,
        };
        struct byte_writer w;

        if (c->node->lie)
                c->node->lie(&said);
        byte_writer_init(&w, 0);
        ASSERT_OK(message_pack(said.message, &w));
        ASSERT_OK(frame_queue_push(&c->queue,
                                   said.type,
                                   said.flags,
                                   said.correlation,
                                   w.data,
                                   w.size,
                                   said.table,
                                   said.table_bytes,
                                   said.body,
                                   said.n_body));
        byte_writer_done(&w);
}

static inline void node_conn_free(struct node_conn *c) {
        io_stream_close(c->stream);
        frame_reader_done(&c->reader);
        frame_queue_done(&c->queue);
        list_remove(&c->link);
        free(c);
}

static inline void node_on_metadata(struct node_conn *c, const struct frame *f) {
        _cleanup_(message_freep) Drmq__Proto__MetadataRequest *q = NULL;
        Drmq__Proto__MetadataResponse m = DRMQ__PROTO__METADATA_RESPONSE__INIT;
        Drmq__Proto__Topic topic = DRMQ__PROTO__TOPIC__INIT, *topics[] = { &topic };
        Drmq__Proto__Partition partitions[NODE_PARTITIONS_MAX], *pointers[NODE_PARTITIONS_MAX];
        Drmq__Proto__Error error = DRMQ__PROTO__ERROR__INIT;
        struct node_topic *t;

        c->node->n_metadata++;
        ASSERT_OK(message_unpack(
                &drmq__proto__metadata_request__descriptor, f->header, (void **) &q));
        ASSERT_EQ(q->n_topic, 1);
        t = node_topic_find(c->node, q->topic[0]);
        if (!t && q->create && c->node->auto_create)
                t = node_topic_add(c->node, q->topic[0], 1);
        topic.name = q->topic[0];
        if (!t) {
                error.code = DRMQ_ERROR_UNKNOWN_TOPIC;
                topic.error = &error;
        }
        for (unsigned i = 0; t && i < t->n_partitions; i++) {
                drmq__proto__partition__init(&partitions[i]);
                partitions[i].number = i;
                partitions[i].id = t->partitions[i].id;
                pointers[i] = &partitions[i];
        }
        topic.n_partition = t ? t->n_partitions : 0;
        topic.partition = pointers;
        m.topic = topics;
        m.n_topic = 1;
        node_answer(c, FRAME_METADATA, f->correlation, &m, NULL, 0, NULL, 0);
}

static inline bool node_fault_is_due(unsigned at, unsigned n_faults, unsigned n) {
        return at > 0 && n >= at && n < at + n_faults;
}

static inline void node_wake_parked(struct node *n);

static inline void node_on_produce(struct node_conn *c, const struct frame *f) {
        _cleanup_(message_freep) Drmq__Proto__ProduceRequest *q = NULL;
        Drmq__Proto__ProduceResponse m = DRMQ__PROTO__PRODUCE_RESPONSE__INIT;
        const struct produce_slice *rows = (const void *) f->table.data;
        size_t n = f->table.size / sizeof(rows[0]), pos = 0;
        struct produce_result *results = calloc(n, sizeof(*results));
        struct node *node = c->node;
        enum node_fault fault = FAULT_NONE;
        bool is_refused = false;

        ASSERT_GT(n, 0);
        ASSERT_OK(
                message_unpack(&drmq__proto__produce_request__descriptor, f->header, (void **) &q));
        node->n_produce++;
        node->n_batches_max = MAX(node->n_batches_max, (unsigned) n);
        if (node_fault_is_due(node->produce_fault_at, node->n_faults, node->n_produce))
                fault = node->produce_fault;
        if (fault == FAULT_DROP_BEFORE) {
                c->is_broken = true;
                free(results);
                return;
        }

        /* First what would be refused, as an atomic request is all or nothing. */
        for (unsigned round = q->atomic ? 0 : 1; round < 2; round++) {
                pos = 0;
                for (size_t i = 0; i < n; i++) {
                        const uint8_t *data = f->body.data + pos;
                        size_t size = le32_get(rows[i].batch_bytes);
                        struct node_partition *p =
                                node_partition_find(node, le64_get(rows[i].partition_id));
                        uint32_t code = DRMQ_ERROR_NONE;
                        struct batch_view v;
                        uint64_t offset = 0;

                        pos += size;
                        ASSERT_LE(pos, f->body.size);
                        ASSERT_EQ(batch_view_init(data, size, &v), 0);
                        ASSERT_OK(batch_verify_produced(&v, 0));
                        if (!p)
                                code = DRMQ_ERROR_UNKNOWN_PARTITION;
                        else if (fault == FAULT_BUSY || (fault == FAULT_BUSY_ONE && i == 0))
                                code = DRMQ_ERROR_BUSY;
                        else if (fault == FAULT_CORRUPT_ONE && i == 0)
                                code = DRMQ_ERROR_CORRUPT_BATCH;
                        else
                                code = node_judge(p, &v, &offset);
                        if (round == 0) {
                                is_refused = is_refused || code != DRMQ_ERROR_NONE;
                                le32_store(&results[i].error, code);
                                continue;
                        }
                        if (q->atomic && is_refused) {
                                bool all_there = true;

                                for (size_t k = 0; k < n; k++)
                                        all_there = all_there && le32_get(results[k].error) ==
                                                                         DRMQ_ERROR_DUPLICATE;
                                if (!all_there &&
                                    (code == DRMQ_ERROR_NONE || code == DRMQ_ERROR_DUPLICATE))
                                        code = DRMQ_ERROR_INVALID_ARGUMENT;
                        } else if (code == DRMQ_ERROR_NONE) {
                                offset = node_append(p, data, size)->base_offset;
                                node->n_accepted++;
                        }
                        results[i] = (struct produce_result){
                                .partition_id = rows[i].partition_id,
                                .base_offset = le64_of(offset),
                                .error = le32_of(fault == FAULT_TIMED_OUT ? DRMQ_ERROR_TIMED_OUT
                                                                          : code),
                        };
                }
        }
        ASSERT_EQ(pos, f->body.size);

        if (fault == FAULT_NONSENSE)
                results[0].partition_id = le64_of(999999);
        if (fault == FAULT_DROP_AFTER)
                c->is_broken = true;
        else if (fault != FAULT_SILENT && q->acks != DRMQ__PROTO__ACKS__ACKS_NONE)
                node_answer(c,
                            FRAME_PRODUCE,
                            f->correlation,
                            &m,
                            results,
                            n * sizeof(results[0]),
                            NULL,
                            0);
        free(results);
        node_wake_parked(node);
}

/* Return: whether there was anything to say. */
static inline bool node_try_fetch(struct node_conn *c,
                                  uint64_t correlation,
                                  const uint8_t *table,
                                  size_t table_bytes,
                                  bool is_due) {
        const struct fetch_want *wants = (const void *) table;
        size_t n = table_bytes / sizeof(wants[0]), n_slices = 0, n_partitions = 0;
        Drmq__Proto__FetchResponse m = DRMQ__PROTO__FETCH_RESPONSE__INIT;
        Drmq__Proto__FetchPartition partitions[32], *pointers[32];
        Drmq__Proto__Error errors[32];
        struct fetch_slice rows[256];
        struct slice body[256];
        struct node *node = c->node;
        size_t n_bytes = 0;

        ASSERT_LE(n, 32);
        for (size_t i = 0; i < n; i++) {
                struct node_partition *p =
                        node_partition_find(node, le64_get(wants[i].partition_id));
                uint64_t offset = le64_get(wants[i].offset);
                uint32_t code = DRMQ_ERROR_NONE;

                drmq__proto__fetch_partition__init(&partitions[n_partitions]);
                partitions[n_partitions].partition_id = le64_get(wants[i].partition_id);
                if (!p)
                        code = DRMQ_ERROR_UNKNOWN_PARTITION;
                else {
                        partitions[n_partitions].first_offset = p->first_offset;
                        partitions[n_partitions].high_watermark = p->next_offset;
                        if (offset < p->first_offset || offset > p->next_offset)
                                code = DRMQ_ERROR_OFFSET_OUT_OF_RANGE;
                        else if (p->next_good_offset > 0 && offset == p->damaged_offset) {
                                code = DRMQ_ERROR_DAMAGED;
                                partitions[n_partitions].next_good_offset = p->next_good_offset;
                        }
                }
                if (code != DRMQ_ERROR_NONE) {
                        drmq__proto__error__init(&errors[n_partitions]);
                        errors[n_partitions].code = code;
                        partitions[n_partitions].error = &errors[n_partitions];
                        pointers[n_partitions] = &partitions[n_partitions];
                        n_partitions++;
                        continue;
                }

                LIST_FOREACH(&p->batches, b, struct node_batch, link) {
                        struct batch_view v;
                        struct buf *copy;

                        ASSERT_EQ(batch_view_init(b->data, b->size, &v), 0);
                        if ((uint64_t) batch_next_offset(&v) <= offset)
                                continue;
                        if (p->next_good_offset > 0 && offset <= p->damaged_offset &&
                            b->base_offset >= p->damaged_offset)
                                break;
                        if (n_slices == ELEMENTSOF(rows) ||
                            (node->n_fetch_bytes_max > 0 && n_bytes > 0 &&
                             n_bytes + b->size > node->n_fetch_bytes_max))
                                break;
                        rows[n_slices] = (struct fetch_slice){
                                .partition_id = wants[i].partition_id,
                                .base_offset = le64_of(b->base_offset),
                                .term = le64_of(1),
                                .expires_at_ms = le64_of((uint64_t) b->expires_at_ms),
                                .batch_bytes = le32_of((uint32_t) b->size),
                        };
                        copy = buf_new(b->size);
                        memcpy(copy->data, b->data, b->size);
                        body[n_slices++] = slice_of(copy, copy->data, b->size);
                        buf_unref(copy);
                        n_bytes += b->size;
                }
        }
        if (n_slices == 0 && n_partitions == 0 && !is_due)
                return false;

        m.partition = pointers;
        m.n_partition = n_partitions;
        node_answer(
                c, FRAME_FETCH, correlation, &m, rows, n_slices * sizeof(rows[0]), body, n_slices);
        for (size_t i = 0; i < n_slices; i++)
                slice_done(&body[i]);
        return true;
}

static inline void node_wake_parked(struct node *n) {
        LIST_FOREACH(&n->conns, c, struct node_conn, link)
                if (c->has_parked && !c->is_broken &&
                    node_try_fetch(
                            c, c->parked_correlation, c->parked_table, c->parked_bytes, false)) {
                        c->has_parked = false;
                        node_conn_write(c);
                }
}

static inline void node_on_park_timer(struct io_timer *t, void *userdata) {
        struct node *n = userdata;

        (void) t;
        LIST_FOREACH(&n->conns, c, struct node_conn, link)
                if (c->has_parked && !c->is_broken) {
                        (void) node_try_fetch(
                                c, c->parked_correlation, c->parked_table, c->parked_bytes, true);
                        c->has_parked = false;
                        node_conn_write(c);
                }
}

static inline void node_on_fetch(struct node_conn *c, const struct frame *f) {
        struct node *node = c->node;
        enum node_fault fault = FAULT_NONE;

        node->n_fetch++;
        if (node_fault_is_due(node->fetch_fault_at, node->n_faults, node->n_fetch))
                fault = node->fetch_fault;
        if (fault == FAULT_SILENT)
                return;
        if (fault == FAULT_DROP_BEFORE) {
                c->is_broken = true;
                return;
        }
        if (fault == FAULT_BUSY) {
                Drmq__Proto__ErrorResponse m = DRMQ__PROTO__ERROR_RESPONSE__INIT;
                Drmq__Proto__Error e = DRMQ__PROTO__ERROR__INIT;

                e.code = DRMQ_ERROR_BUSY;
                m.error = &e;
                node_answer(c, FRAME_ERROR, f->correlation, &m, NULL, 0, NULL, 0);
                return;
        }
        if (node_try_fetch(c, f->correlation, f->table.data, f->table.size, false))
                return;
        ASSERT_LE(f->table.size, sizeof(c->parked_table));
        if (c->has_parked) /* the one before is answered empty: there is only one place */
                (void) node_try_fetch(
                        c, c->parked_correlation, c->parked_table, c->parked_bytes, true);
        memcpy(c->parked_table, f->table.data, f->table.size);
        c->parked_bytes = f->table.size;
        c->parked_correlation = f->correlation;
        c->has_parked = true;
        ASSERT_OK(io_timer_set(sim_process_io(node->process),
                               &node->park_timer,
                               io_now(sim_process_io(node->process)) + 500 * USEC_PER_MSEC));
}

static inline void node_on_offsets(struct node_conn *c, const struct frame *f) {
        _cleanup_(message_freep) Drmq__Proto__OffsetsRequest *q = NULL;
        Drmq__Proto__OffsetsResponse m = DRMQ__PROTO__OFFSETS_RESPONSE__INIT;
        Drmq__Proto__OffsetAnswer answers[32], *pointers[32];

        ASSERT_OK(
                message_unpack(&drmq__proto__offsets_request__descriptor, f->header, (void **) &q));
        ASSERT_LE(q->n_query, 32);
        for (size_t i = 0; i < q->n_query; i++) {
                struct node_partition *p = node_partition_find(c->node, q->query[i]->partition_id);

                ASSERT_NOT_NULL(p);
                drmq__proto__offset_answer__init(&answers[i]);
                answers[i].partition_id = p->id;
                answers[i].offset = q->query[i]->kind == DRMQ__PROTO__OFFSET_KIND__OFFSET_BEGINNING
                                            ? p->first_offset
                                    : q->query[i]->kind == DRMQ__PROTO__OFFSET_KIND__OFFSET_END
                                            ? p->next_offset
                                            : p->next_offset / 2;
                pointers[i] = &answers[i];
        }
        m.answer = pointers;
        m.n_answer = q->n_query;
        node_answer(c, FRAME_OFFSETS, f->correlation, &m, NULL, 0, NULL, 0);
}

static inline void node_on_position(struct node_conn *c, const struct frame *f) {
        Drmq__Proto__PositionCommitResponse done = DRMQ__PROTO__POSITION_COMMIT_RESPONSE__INIT;
        Drmq__Proto__PositionFetchResponse m = DRMQ__PROTO__POSITION_FETCH_RESPONSE__INIT;
        Drmq__Proto__Position answers[32], *pointers[32];

        if (f->type == FRAME_POSITION_COMMIT) {
                _cleanup_(message_freep) Drmq__Proto__PositionCommitRequest *q = NULL;

                ASSERT_OK(message_unpack(&drmq__proto__position_commit_request__descriptor,
                                         f->header,
                                         (void **) &q));
                for (size_t i = 0; i < q->n_position; i++) {
                        struct node_partition *p =
                                node_partition_find(c->node, q->position[i]->partition_id);

                        ASSERT_NOT_NULL(p);
                        p->position = q->position[i]->offset;
                        p->has_position = true;
                }
                node_answer(c, f->type, f->correlation, &done, NULL, 0, NULL, 0);
        } else {
                _cleanup_(message_freep) Drmq__Proto__PositionFetchRequest *q = NULL;

                ASSERT_OK(message_unpack(
                        &drmq__proto__position_fetch_request__descriptor, f->header, (void **) &q));
                for (size_t i = 0; i < q->n_partition_id; i++) {
                        struct node_partition *p = node_partition_find(c->node, q->partition_id[i]);

                        ASSERT_NOT_NULL(p);
                        drmq__proto__position__init(&answers[i]);
                        answers[i].partition_id = p->id;
                        answers[i].is_set = p->has_position;
                        answers[i].offset = p->position;
                        pointers[i] = &answers[i];
                }
                m.position = pointers;
                m.n_position = q->n_partition_id;
                node_answer(c, f->type, f->correlation, &m, NULL, 0, NULL, 0);
        }
}

static inline void node_on_frame(struct node_conn *c, const struct frame *f) {
        Drmq__Proto__StatusResponse status = DRMQ__PROTO__STATUS_RESPONSE__INIT;

        ASSERT_EQ(f->flags, 0);
        switch (f->type) {
        case FRAME_METADATA:
                node_on_metadata(c, f);
                break;
        case FRAME_PRODUCE:
                node_on_produce(c, f);
                break;
        case FRAME_FETCH:
                node_on_fetch(c, f);
                break;
        case FRAME_OFFSETS:
                node_on_offsets(c, f);
                break;
        case FRAME_POSITION_COMMIT:
        case FRAME_POSITION_FETCH:
                node_on_position(c, f);
                break;
        case FRAME_STATUS:
                node_answer(c, f->type, f->correlation, &status, NULL, 0, NULL, 0);
                break;
        default:
                ASSERT_TRUE(false);
        }
}

static inline void node_on_stream(struct io_stream *s, unsigned events, void *userdata) {
        struct node_conn *c = userdata;

        while (events & IO_STREAM_READABLE && !c->is_broken) {
                uint8_t greeting[GREETING_BYTES], reply[GREETING_BYTES], *p;
                size_t room;
                ssize_t k;
                int r;

                ASSERT_OK(frame_reader_space(&c->reader, &p, &room));
                k = io_stream_read(s, p, room);
                if (k == -EAGAIN)
                        break;
                if (k <= 0) {
                        c->is_broken = true;
                        break;
                }
                frame_reader_commit(&c->reader, (size_t) k);
                if (c->node->is_deaf)
                        continue;
                if (!c->has_greeted &&
                    frame_reader_take(&c->reader, greeting, sizeof(greeting)) > 0) {
                        ASSERT_EQ(greeting_answer(greeting, reply), PROTOCOL_VERSION);
                        ASSERT_OK(frame_queue_bytes(&c->queue, reply, sizeof(reply)));
                        c->has_greeted = true;
                }
                for (struct frame f; c->has_greeted && !c->is_broken;) {
                        r = frame_reader_next(&c->reader, &f);
                        ASSERT_OK(r);
                        if (r == 0)
                                break;
                        node_on_frame(c, &f);
                        frame_done(&f);
                }
        }

        if (c->is_broken)
                node_conn_free(c);
        else
                node_conn_write(c);
}

static inline void node_on_accept(void *userdata, struct io_stream *s) {
        struct node_conn *c = calloc(1, sizeof(*c));

        c->node = userdata;
        c->stream = s;
        frame_reader_init(&c->reader, REQUEST_BYTES_MAX, 4096);
        frame_queue_init(&c->queue);
        list_append(&c->node->conns, &c->link);
        s->handler = node_on_stream;
        s->userdata = c;
        io_stream_want(s, IO_STREAM_READABLE);
}

static inline void node_listen(struct node *n) {
        sim_port_listen(sim_process_port(n->process), NODE_ADDRESS, node_on_accept, n);
}

static inline void node_begin(struct node *n, struct sim_world *w) {
        memset(n, 0, sizeof(*n));
        n->world = w;
        n->n_faults = 1;
        n->auto_create = true;
        list_init(&n->conns);
        n->park_timer = (struct io_timer){ .on_timer = node_on_park_timer, .userdata = n };
        ASSERT_OK(sim_process_new(w, "node", /* disk= */ NULL, NULL, NULL, &n->process));
        node_listen(n);
}

static inline void node_end(struct node *n) {
        sim_process_kill(n->process, /* is_silent= */ false);
        LIST_FOREACH(&n->conns, c, struct node_conn, link)
                node_conn_free(c);
        for (unsigned i = 0; i < n->n_topics; i++)
                for (unsigned k = 0; k < NODE_PARTITIONS_MAX; k++)
                        node_partition_clear(&n->topics[i].partitions[k]);
        sim_process_free(n->process);
}

/* A world with a node and a client's session. */
struct scene {
        struct sim_world *world;
        struct sim_process *process;
        struct io *io;
        struct session *session;
        struct node node;
};

static inline void scene_begin(struct scene *s, uint64_t seed) {
        static const struct address address = { .host = (char *) "node", .port = 9092 };

        memset(s, 0, sizeof(*s));
        ASSERT_OK(sim_world_new(seed, /* trace= */ NULL, &s->world));
        sim_world_net(s->world)->config.break_per_million = 0;
        node_begin(&s->node, s->world);
        ASSERT_OK(sim_process_new(s->world, "client", /* disk= */ NULL, NULL, NULL, &s->process));
        s->io = sim_process_io(s->process);
        ASSERT_OK(session_new(s->io, &address, 1, &s->session));
}

static inline void scene_end(struct scene *s) {
        s->session = session_free(s->session);
        sim_process_kill(s->process, /* is_silent= */ false);
        s->process = sim_process_free(s->process);
        node_end(&s->node);
        s->world = sim_world_free(s->world);
}

static inline void scene_run(struct scene *s, usec_t usec) {
        sim_world_run_until(s->world, usec_add(sim_world_now(s->world), usec));
}
