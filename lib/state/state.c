/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the entries of a shard's log mean.
 *
 *  I1  Nothing here depends on anything but the entries: no clock, no addresses, no order of
 *      hashes.
 *  I2  A partition id that was given is never given again: next_partition_id only grows.
 *  I3  A partition's next_offset only grows, and is at least first_offset, which only grows too.
 *  I4  producers_by_age is in the order of last_append_ms; what is older than PRODUCER_AGE_MS_MAX,
 *      or past n_producers_max, is gone after each entry.
 *  I5  log_start_index only grows, and is below the entry that says so.
 */
#include "state/state.h"

#include "base/alloc.h"
#include "base/bug.h"
#include "base/parse.h"

#define STATE_VERSION 2u
#define STATE_VERSION_MIN 1u

struct partition_key {
        uint64_t partition_id;
        int64_t producer_id;
        const char *group;
};

static int topic_compare(const void *key, const struct map_node *n) {
        return strcmp(key, CONTAINER_OF(n, struct topic, by_name)->name);
}

static int topic_partition_compare(const void *key, const struct map_node *n) {
        return CMP(*(const uint64_t *) key, CONTAINER_OF(n, struct topic_partition, by_id)->id);
}

static int partition_compare(const void *key, const struct map_node *n) {
        return CMP(*(const uint64_t *) key, CONTAINER_OF(n, struct partition, by_id)->id);
}

static int producer_compare(const void *key, const struct map_node *n) {
        const struct producer *p = CONTAINER_OF(n, struct producer, by_key);
        const struct partition_key *k = key;
        int r = CMP(k->partition_id, p->partition_id);

        return r != 0 ? r : CMP(k->producer_id, p->producer_id);
}

static int position_compare(const void *key, const struct map_node *n) {
        const struct position *p = CONTAINER_OF(n, struct position, by_key);
        const struct partition_key *k = key;
        int r = CMP(k->partition_id, p->partition_id);

        return r != 0 ? r : strcmp(k->group, p->group);
}

int state_new(struct state **ret) {
        struct state *s;

        assert(ret);

        s = new0(struct state, 1);
        if (!s)
                return -ENOMEM;

        s->next_partition_id = 1;
        s->n_producers_max = PRODUCERS_MAX_DEFAULT;
        map_init(&s->topics, topic_compare);
        map_init(&s->topic_partitions, topic_partition_compare);
        map_init(&s->partitions, partition_compare);
        map_init(&s->producers, producer_compare);
        map_init(&s->positions, position_compare);
        list_init(&s->producers_by_age);

        *ret = s;
        return 0;
}

/* Topics */

static void topic_free(struct state *s, struct topic *t) {
        for (uint32_t i = 0; i < t->n_partitions; i++) {
                map_remove(&s->topic_partitions, &t->partitions[i]->by_id);
                mem_free(t->partitions[i]);
        }
        map_remove(&s->topics, &t->by_name);
        mem_free(t->partitions);
        mem_free(t->name);
        mem_free(t);
}

static int topic_add_partition(struct state *s, struct topic *t, uint64_t id) {
        struct topic_partition *p;
        int r;

        if (!grow(t->partitions, t->n_allocated, t->n_partitions + 1))
                return -ENOMEM;

        p = new0(struct topic_partition, 1);
        if (!p)
                return -ENOMEM;

        p->id = id;
        p->number = t->n_partitions;
        p->topic = t;
        r = map_insert(&s->topic_partitions, &id, &p->by_id, NULL);
        if (r < 0) {
                mem_free(p);
                return -EBADMSG;
        }

        t->partitions[t->n_partitions++] = p;
        s->next_partition_id = MAX(s->next_partition_id, id + 1); /* I2 */
        return 0;
}

static int
topic_extend(struct state *s, struct topic *t, uint32_t n_partitions, uint64_t first_id) {
        int r;

        for (uint64_t id = first_id; t->n_partitions < n_partitions; id++) {
                r = topic_add_partition(s, t, id);
                if (r < 0)
                        return r;
        }

        return 0;
}

static int topic_new(struct state *s, const char *name, int64_t created_ms, struct topic **ret) {
        struct topic *t;

        t = new0(struct topic, 1);
        if (!t)
                return -ENOMEM;

        t->name = mem_strdup(name);
        if (!t->name) {
                mem_free(t);
                return -ENOMEM;
        }

        t->created_ms = created_ms;
        if (map_insert(&s->topics, t->name, &t->by_name, NULL) < 0) {
                mem_free(t->name);
                mem_free(t);
                return -EBADMSG;
        }

        *ret = t;
        return 0;
}

/* Producers */

static void producer_free(struct state *s, struct producer *p) {
        struct partition *partition = state_partition(s, p->partition_id);

        if (partition)
                partition->n_producers--;
        map_remove(&s->producers, &p->by_key);
        list_remove(&p->by_age);
        mem_free(p);
}

static int
producer_new(struct state *s, uint64_t partition_id, int64_t producer_id, struct producer **ret) {
        struct partition_key key = { .partition_id = partition_id, .producer_id = producer_id };
        struct partition *partition = state_partition(s, partition_id);
        struct producer *p;

        p = new0(struct producer, 1);
        if (!p)
                return -ENOMEM;

        p->partition_id = partition_id;
        p->producer_id = producer_id;
        list_init(&p->by_age);
        if (map_insert(&s->producers, &key, &p->by_key, NULL) < 0) {
                mem_free(p);
                return -EBADMSG;
        }

        list_append(&s->producers_by_age, &p->by_age);
        if (partition)
                partition->n_producers++;
        *ret = p;
        return 0;
}

void state_forget_producers(struct state *s) {
        struct producer *p;

        while ((p = list_first(&s->producers_by_age, struct producer, by_age)))
                producer_free(s, p);
}

/* I4 */
static void state_expire_producers(struct state *s) {
        for (;;) {
                struct producer *p = list_first(&s->producers_by_age, struct producer, by_age);

                if (!p || (s->producers.n_nodes <= s->n_producers_max &&
                           p->last_append_ms >= s->time_ms - PRODUCER_AGE_MS_MAX))
                        return;
                producer_free(s, p);
        }
}

enum producer_verdict producer_judge(const struct producer_window *w,
                                     const struct batch_view *v,
                                     struct producer_batch *ret_duplicate) {
        assert(v);
        assert(ret_duplicate);

        if (!w || w->n_batches == 0)
                return PRODUCER_NEXT;
        if (v->producer_epoch < w->epoch)
                return PRODUCER_FENCED;
        if (v->producer_epoch > w->epoch)
                return v->base_sequence == 0 ? PRODUCER_NEXT : PRODUCER_OUT_OF_SEQUENCE;

        for (unsigned i = 0; i < w->n_batches; i++)
                if (w->batches[i].base_sequence == v->base_sequence &&
                    w->batches[i].last_sequence == batch_last_sequence(v)) {
                        *ret_duplicate = w->batches[i];
                        return PRODUCER_DUPLICATE;
                }

        return v->base_sequence == sequence_add(w->batches[w->n_batches - 1].last_sequence, 1)
                       ? PRODUCER_NEXT
                       : PRODUCER_OUT_OF_SEQUENCE;
}

void producer_window_add(struct producer_window *w,
                         const struct batch_view *v,
                         uint64_t base_offset,
                         int64_t append_time_ms) {
        if (w->n_batches > 0 && w->epoch != v->producer_epoch)
                w->n_batches = 0;
        if (w->n_batches == PRODUCER_BATCHES) {
                memmove(w->batches, w->batches + 1, sizeof(w->batches[0]) * (PRODUCER_BATCHES - 1));
                w->n_batches--;
        }

        w->epoch = v->producer_epoch;
        w->batches[w->n_batches++] = (struct producer_batch){
                .base_sequence = v->base_sequence,
                .last_sequence = batch_last_sequence(v),
                .base_offset = base_offset,
                .append_time_ms = append_time_ms,
        };
}

/* Positions */

static void position_free(struct state *s, struct position *p) {
        map_remove(&s->positions, &p->by_key);
        mem_free(p->group);
        mem_free(p);
}

static int
position_set(struct state *s, const char *group, uint64_t partition_id, uint64_t offset) {
        struct partition_key key = { .partition_id = partition_id, .group = group };
        struct map_node *n = map_find(&s->positions, &key);
        struct position *p;

        if (n) {
                CONTAINER_OF(n, struct position, by_key)->offset = offset;
                return 0;
        }

        p = new0(struct position, 1);
        if (!p)
                return -ENOMEM;

        p->group = mem_strdup(group);
        if (!p->group) {
                mem_free(p);
                return -ENOMEM;
        }

        p->partition_id = partition_id;
        p->offset = offset;
        (void) map_insert(&s->positions, &key, &p->by_key, NULL); /* not there: looked above */
        return 0;
}

/* Partitions */

static int partition_get(struct state *s, uint64_t id, struct partition **ret) {
        struct partition *p = state_partition(s, id);

        if (!p) {
                p = new0(struct partition, 1);
                if (!p)
                        return -ENOMEM;
                p->id = id;
                /* not there: looked above */
                (void) map_insert(&s->partitions, &id, &p->by_id, NULL);
        }

        *ret = p;
        return 0;
}

static void partition_drop(struct state *s, uint64_t id) {
        struct partition_key key = { .partition_id = id, .producer_id = INT64_MIN, .group = "" };
        struct partition *p = state_partition(s, id);

        for (;;) {
                struct map_node *n = map_find_ge(&s->producers, &key);

                if (!n || CONTAINER_OF(n, struct producer, by_key)->partition_id != id)
                        break;
                producer_free(s, CONTAINER_OF(n, struct producer, by_key));
        }
        for (;;) {
                struct map_node *n = map_find_ge(&s->positions, &key);

                if (!n || CONTAINER_OF(n, struct position, by_key)->partition_id != id)
                        break;
                position_free(s, CONTAINER_OF(n, struct position, by_key));
        }
        if (p) {
                map_remove(&s->partitions, &p->by_id);
                mem_free(p);
        }
}

/* Entries */

/* A damaged batch keeps its place, as long as it says which offsets it takes: the two numbers that
 * say it agree, or its checksum is right (one with gaps, or left empty). */
static bool batch_is_placed(const struct entry_slice *slice) {
        struct batch_view v;

        return batch_view_init(slice->batch, slice->batch_bytes, &v) == 0 &&
               (v.last_offset_delta == v.n_records - 1 || batch_verify(&v) == 0);
}

static int apply_produce(struct state *s, const struct entry *e) {
        int r;

        for (unsigned i = 0; i < e->n_slices; i++)
                if (!batch_is_placed(e->slices + i))
                        return -EBADMSG;

        for (unsigned i = 0; i < e->n_slices; i++) {
                const struct entry_slice *slice = e->slices + i;
                struct partition *partition;
                struct batch_view v;

                r = batch_view_init(slice->batch, slice->batch_bytes, &v);
                assert(r == 0); /* looked at above */
                r = partition_get(s, slice->partition_id, &partition);
                if (r < 0)
                        return r;

                if (slice->base_offset < partition->next_offset || slice->base_offset > OFFSET_MAX)
                        return -EBADMSG; /* I3 */
                partition->next_offset = slice->base_offset + (uint64_t) v.last_offset_delta + 1;
                partition->n_batches++;
                partition->n_bytes += slice->batch_bytes;
                partition->last_append_ms = e->append_time_ms;

                if (batch_has_producer(&v)) {
                        struct producer *p = state_producer(s, slice->partition_id, v.producer_id);

                        if (!p) {
                                r = producer_new(s, slice->partition_id, v.producer_id, &p);
                                if (r < 0)
                                        return r;
                        }
                        producer_window_add(&p->window, &v, slice->base_offset, e->append_time_ms);
                        p->last_append_ms = e->append_time_ms;
                        list_remove(&p->by_age);
                        list_append(&s->producers_by_age, &p->by_age);
                }
        }

        return 0;
}

static int apply_log_start(struct state *s, struct byte_reader *b) {
        uint64_t last_index = byte_reader_uleb(b);
        uint64_t n = byte_reader_uleb(b);

        if (b->failed || last_index >= s->index)
                return -EBADMSG; /* I5 */

        for (uint64_t i = 0; i < n; i++) {
                uint64_t id = byte_reader_uleb(b);
                uint64_t first_offset = byte_reader_uleb(b);
                struct partition *p;

                if (b->failed)
                        return -EBADMSG;
                p = state_partition(s, id); /* NULL: it was deleted since */
                if (p)
                        p->first_offset =
                                MAX(p->first_offset, MIN(first_offset, p->next_offset)); /* I3 */
        }

        s->log_start_index = MAX(s->log_start_index, last_index);
        return 0;
}

static int apply_admin_op(struct state *s, struct byte_reader *b, int64_t time_ms) {
        _cleanup_(mem_freep) char *name = NULL;
        uint8_t op = byte_reader_u8(b);
        uint64_t n_partitions, id;
        struct topic *t;
        int r;

        if (op == ADMIN_PARTITION_DROP) {
                id = byte_reader_uleb(b);
                if (b->failed)
                        return -EBADMSG;
                partition_drop(s, id);
                return 0;
        }
        if (op == ADMIN_LOG_START)
                return apply_log_start(s, b);

        if (op == ADMIN_LOSS) {
                (void) byte_reader_uleb(b);
                (void) byte_reader_uleb(b);
                return byte_reader_result(b);
        }

        name = byte_reader_string(b, TOPIC_NAME_MAX);
        if (b->failed)
                return byte_reader_result(b);

        switch (op) {
        case ADMIN_TOPIC_CREATE:
        case ADMIN_TOPIC_EXTEND:
                n_partitions = byte_reader_uleb(b);
                id = byte_reader_uleb(b);
                if (b->failed || n_partitions == 0 || n_partitions > PARTITIONS_PER_TOPIC_MAX ||
                    id > OFFSET_MAX)
                        return -EBADMSG;

                if (op == ADMIN_TOPIC_CREATE) {
                        r = topic_new(s, name, time_ms, &t);
                        if (r < 0)
                                return r;
                } else {
                        t = state_topic(s, name);
                        if (!t)
                                return -EBADMSG;
                }
                return topic_extend(s, t, (uint32_t) n_partitions, id);

        case ADMIN_TOPIC_DELETE:
                t = state_topic(s, name);
                if (!t)
                        return -EBADMSG;
                topic_free(s, t);
                return 0;

        default:
                return -EBADMSG;
        }
}

bool entry_is_loss(const struct entry *e, uint64_t *ret_first_index, uint64_t *ret_last_index) {
        struct byte_reader b;
        uint64_t first, last;

        if (e->kind != ENTRY_ADMIN)
                return false;

        byte_reader_init(&b, e->body, e->body_bytes);
        if (byte_reader_u8(&b) != ADMIN_LOSS)
                return false;
        first = byte_reader_uleb(&b);
        last = byte_reader_uleb(&b);
        if (b.failed)
                return false;

        *ret_first_index = first;
        *ret_last_index = last;
        return true;
}

static int apply_admin(struct state *s, const struct entry *e) {
        struct byte_reader b;
        int r;

        byte_reader_init(&b, e->body, e->body_bytes);
        while (byte_reader_left(&b) > 0) {
                r = apply_admin_op(s, &b, e->append_time_ms);
                if (r < 0)
                        return r;
        }

        return 0;
}

static int apply_group(struct state *s, const struct entry *e) {
        struct byte_reader b;
        int r;

        byte_reader_init(&b, e->body, e->body_bytes);
        while (byte_reader_left(&b) > 0) {
                _cleanup_(mem_freep) char *group = byte_reader_string(&b, TOPIC_NAME_MAX);
                uint64_t id = byte_reader_uleb(&b);
                uint64_t offset = byte_reader_uleb(&b);

                if (b.failed)
                        return byte_reader_result(&b);
                r = position_set(s, group, id, offset);
                if (r < 0)
                        return r;
        }

        return 0;
}

int state_apply(struct state *s, const struct entry *e) {
        int r = 0;

        assert(s);
        assert(e);
        assert(e->index > s->index);

        s->index = e->index;
        s->term = e->term;
        s->time_ms = MAX(s->time_ms, e->append_time_ms);

        switch (e->kind) {
        case ENTRY_PRODUCE:
                r = apply_produce(s, e);
                break;
        case ENTRY_ADMIN:
                r = apply_admin(s, e);
                break;
        case ENTRY_GROUP:
                r = apply_group(s, e);
                break;
        case ENTRY_NOOP:
        case ENTRY_MEMBERSHIP:
        case ENTRY_CHECKPOINT_MARK:
        default:
                break;
        }
        if (r < 0)
                return r;

        state_expire_producers(s);
        return 0;
}

/* Bytes */

int state_encode(const struct state *s, struct byte_writer *w) {
        assert(s);
        assert(w);

        byte_writer_uleb(w, STATE_VERSION);
        byte_writer_uleb(w, s->next_partition_id);
        byte_writer_uleb(w, s->log_start_index);

        byte_writer_uleb(w, s->topics.n_nodes);
        MAP_FOREACH(&s->topics, n) {
                const struct topic *t = CONTAINER_OF(n, struct topic, by_name);

                byte_writer_string(w, t->name);
                byte_writer_le64(w, (uint64_t) t->created_ms);
                byte_writer_uleb(w, t->n_partitions);
                for (uint32_t i = 0; i < t->n_partitions; i++)
                        byte_writer_uleb(w, t->partitions[i]->id);
        }

        byte_writer_uleb(w, s->partitions.n_nodes);
        MAP_FOREACH(&s->partitions, n) {
                const struct partition *p = CONTAINER_OF(n, struct partition, by_id);

                byte_writer_uleb(w, p->id);
                byte_writer_uleb(w, p->first_offset);
                byte_writer_uleb(w, p->next_offset);
                byte_writer_uleb(w, p->n_batches);
                byte_writer_uleb(w, p->n_bytes);
                byte_writer_le64(w, (uint64_t) p->last_append_ms);
        }

        byte_writer_uleb(w, BUG(FORGET_PRODUCERS) ? 0 : s->producers.n_nodes);
        LIST_FOREACH(&s->producers_by_age, p, struct producer, by_age) {
                if (BUG(FORGET_PRODUCERS))
                        break;
                byte_writer_uleb(w, p->partition_id);
                byte_writer_le64(w, (uint64_t) p->producer_id);
                byte_writer_le16(w, (uint16_t) p->window.epoch);
                byte_writer_le64(w, (uint64_t) p->last_append_ms);
                byte_writer_u8(w, (uint8_t) p->window.n_batches);
                for (unsigned i = 0; i < p->window.n_batches; i++) {
                        const struct producer_batch *b = p->window.batches + i;

                        byte_writer_le32(w, (uint32_t) b->base_sequence);
                        byte_writer_le32(w, (uint32_t) b->last_sequence);
                        byte_writer_uleb(w, b->base_offset);
                        byte_writer_le64(w, (uint64_t) b->append_time_ms);
                }
        }

        byte_writer_uleb(w, s->positions.n_nodes);
        MAP_FOREACH(&s->positions, n) {
                const struct position *p = CONTAINER_OF(n, struct position, by_key);

                byte_writer_uleb(w, p->partition_id);
                byte_writer_string(w, p->group);
                byte_writer_uleb(w, p->offset);
        }

        return w->failed ? -ENOMEM : 0;
}

static int decode_topics(struct state *s, struct byte_reader *b) {
        uint64_t n = byte_reader_uleb(b);
        int r;

        for (uint64_t i = 0; i < n && !b->failed; i++) {
                _cleanup_(mem_freep) char *name = byte_reader_string(b, TOPIC_NAME_MAX);
                int64_t created_ms = (int64_t) byte_reader_le64(b);
                uint64_t n_partitions = byte_reader_uleb(b);
                struct topic *t;

                if (b->failed)
                        return byte_reader_result(b);
                if (n_partitions > PARTITIONS_PER_TOPIC_MAX)
                        return -EBADMSG;
                r = topic_new(s, name, created_ms, &t);
                if (r < 0)
                        return r;
                for (uint64_t k = 0; k < n_partitions; k++) {
                        uint64_t id = byte_reader_uleb(b);

                        if (b->failed || id >= s->next_partition_id)
                                return -EBADMSG;
                        r = topic_add_partition(s, t, id);
                        if (r < 0)
                                return r;
                }
        }

        return b->failed ? -EBADMSG : 0;
}

static int decode_partitions(struct state *s, struct byte_reader *b) {
        uint64_t n = byte_reader_uleb(b);
        int r;

        for (uint64_t i = 0; i < n && !b->failed; i++) {
                uint64_t id = byte_reader_uleb(b);
                struct partition *p;

                r = partition_get(s, id, &p);
                if (r < 0)
                        return r;
                p->first_offset = byte_reader_uleb(b);
                p->next_offset = byte_reader_uleb(b);
                p->n_batches = byte_reader_uleb(b);
                p->n_bytes = byte_reader_uleb(b);
                p->last_append_ms = (int64_t) byte_reader_le64(b);
                if (p->first_offset > p->next_offset || p->next_offset > 2 * OFFSET_MAX)
                        return -EBADMSG;
        }

        return b->failed ? -EBADMSG : 0;
}

static int decode_producers(struct state *s, struct byte_reader *b) {
        uint64_t n = byte_reader_uleb(b);
        int r;

        for (uint64_t i = 0; i < n && !b->failed; i++) {
                uint64_t partition_id = byte_reader_uleb(b);
                int64_t producer_id = (int64_t) byte_reader_le64(b);
                int16_t epoch = (int16_t) byte_reader_le16(b);
                int64_t last_append_ms = (int64_t) byte_reader_le64(b);
                unsigned n_batches = byte_reader_u8(b);
                struct producer *p;

                if (b->failed || n_batches > PRODUCER_BATCHES)
                        return -EBADMSG;
                r = producer_new(s, partition_id, producer_id, &p);
                if (r < 0)
                        return r;
                p->last_append_ms = last_append_ms;
                p->window.epoch = epoch;
                p->window.n_batches = n_batches;
                for (unsigned k = 0; k < n_batches; k++) {
                        p->window.batches[k].base_sequence = (int32_t) byte_reader_le32(b);
                        p->window.batches[k].last_sequence = (int32_t) byte_reader_le32(b);
                        p->window.batches[k].base_offset = byte_reader_uleb(b);
                        p->window.batches[k].append_time_ms = (int64_t) byte_reader_le64(b);
                }
        }

        return b->failed ? -EBADMSG : 0;
}

static int decode_positions(struct state *s, struct byte_reader *b) {
        uint64_t n = byte_reader_uleb(b);
        int r;

        for (uint64_t i = 0; i < n && !b->failed; i++) {
                uint64_t partition_id = byte_reader_uleb(b);
                _cleanup_(mem_freep) char *group = byte_reader_string(b, TOPIC_NAME_MAX);
                uint64_t offset = byte_reader_uleb(b);

                if (b->failed)
                        return byte_reader_result(b);
                r = position_set(s, group, partition_id, offset);
                if (r < 0)
                        return r;
        }

        return b->failed ? -EBADMSG : 0;
}

int state_decode(struct state *s, const uint8_t *p, size_t n) {
        struct byte_reader b;
        uint64_t version;
        int r;

        assert(s);
        assert(s->index == 0);

        byte_reader_init(&b, p, n);
        version = byte_reader_uleb(&b);
        if (b.failed)
                return -EBADMSG;
        if (version < STATE_VERSION_MIN || version > STATE_VERSION)
                return -EPROTONOSUPPORT;
        s->next_partition_id = byte_reader_uleb(&b);
        if (version >= 2)
                s->log_start_index = byte_reader_uleb(&b);
        if (b.failed || s->next_partition_id == 0)
                return -EBADMSG;

        r = decode_topics(s, &b);
        if (r < 0)
                return r;
        r = decode_partitions(s, &b);
        if (r < 0)
                return r;
        r = decode_producers(s, &b);
        if (r < 0)
                return r;
        r = decode_positions(s, &b);
        if (r < 0)
                return r;

        return byte_reader_left(&b) > 0 ? -EBADMSG : 0;
}

/* Look-ups */

struct topic *state_topic(const struct state *s, const char *name) {
        struct map_node *n = map_find(&s->topics, name);

        return n ? CONTAINER_OF(n, struct topic, by_name) : NULL;
}

struct topic_partition *state_topic_partition(const struct state *s, uint64_t id) {
        struct map_node *n = map_find(&s->topic_partitions, &id);

        return n ? CONTAINER_OF(n, struct topic_partition, by_id) : NULL;
}

struct partition *state_partition(const struct state *s, uint64_t id) {
        struct map_node *n = map_find(&s->partitions, &id);

        return n ? CONTAINER_OF(n, struct partition, by_id) : NULL;
}

struct producer *state_producer(const struct state *s, uint64_t partition_id, int64_t producer_id) {
        struct partition_key key = { .partition_id = partition_id, .producer_id = producer_id };
        struct map_node *n = map_find(&s->producers, &key);

        return n ? CONTAINER_OF(n, struct producer, by_key) : NULL;
}

bool state_position(const struct state *s,
                    const char *group,
                    uint64_t partition_id,
                    uint64_t *ret_offset) {
        struct partition_key key = { .partition_id = partition_id, .group = group };
        struct map_node *n = map_find(&s->positions, &key);

        if (!n)
                return false;

        *ret_offset = CONTAINER_OF(n, struct position, by_key)->offset;
        return true;
}

struct state *state_free(struct state *s) {
        if (!s)
                return NULL;

        MAP_FOREACH(&s->topics, n)
                topic_free(s, CONTAINER_OF(n, struct topic, by_name));
        MAP_FOREACH(&s->producers, n)
                producer_free(s, CONTAINER_OF(n, struct producer, by_key));
        MAP_FOREACH(&s->positions, n)
                position_free(s, CONTAINER_OF(n, struct position, by_key));
        MAP_FOREACH(&s->partitions, n) {
                map_remove(&s->partitions, n);
                mem_free(CONTAINER_OF(n, struct partition, by_id));
        }

        return mem_free(s);
}
