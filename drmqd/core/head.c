/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in flight, laid over the applied state.
 *
 *  I1  An item is here as long as the last ticket that touched it is not applied; then the state
 *      says the same.
 *  I2  Both lists are in the order of tickets, oldest first.
 */
#include "drmqd/core/head.h"

#include "base/alloc.h"

struct head_partition {
        struct map_node by_id;
        struct list by_ticket;
        uint64_t id;
        uint64_t ticket;
        uint64_t next_offset;
};

struct head_key {
        uint64_t partition_id;
        int64_t producer_id;
};

struct head_producer {
        struct map_node by_key;
        struct list by_ticket;
        struct head_key key;
        uint64_t ticket;
        struct producer_window window;
};

static int head_partition_compare(const void *key, const struct map_node *n) {
        return CMP(*(const uint64_t *) key, CONTAINER_OF(n, struct head_partition, by_id)->id);
}

static int head_producer_compare(const void *key, const struct map_node *n) {
        const struct head_key *a = key, *b = &CONTAINER_OF(n, struct head_producer, by_key)->key;
        int r = CMP(a->partition_id, b->partition_id);

        return r != 0 ? r : CMP(a->producer_id, b->producer_id);
}

void head_init(struct head *h, const struct state *state) {
        h->state = state;
        map_init(&h->partitions, head_partition_compare);
        map_init(&h->producers, head_producer_compare);
        list_init(&h->partitions_by_ticket);
        list_init(&h->producers_by_ticket);
}

static void head_drop(struct head *h, uint64_t ticket) {
        for (;;) {
                struct head_partition *p =
                        list_first(&h->partitions_by_ticket, struct head_partition, by_ticket);

                if (!p || p->ticket > ticket)
                        break;
                map_remove(&h->partitions, &p->by_id);
                list_remove(&p->by_ticket);
                mem_free(p);
        }
        for (;;) {
                struct head_producer *p =
                        list_first(&h->producers_by_ticket, struct head_producer, by_ticket);

                if (!p || p->ticket > ticket)
                        break;
                map_remove(&h->producers, &p->by_key);
                list_remove(&p->by_ticket);
                mem_free(p);
        }
}

void head_clear(struct head *h) {
        head_drop(h, UINT64_MAX);
}

void head_applied(struct head *h, uint64_t ticket) {
        head_drop(h, ticket);
}

static struct head_partition *head_partition(const struct head *h, uint64_t id) {
        struct map_node *n = map_find(&h->partitions, &id);

        return n ? CONTAINER_OF(n, struct head_partition, by_id) : NULL;
}

static struct head_producer *head_producer(const struct head *h, const struct head_key *key) {
        struct map_node *n = map_find(&h->producers, key);

        return n ? CONTAINER_OF(n, struct head_producer, by_key) : NULL;
}

uint64_t head_next_offset(const struct head *h, uint64_t partition_id) {
        const struct head_partition *hp = head_partition(h, partition_id);
        const struct partition *p;

        if (hp)
                return hp->next_offset;

        p = state_partition(h->state, partition_id);
        return p ? p->next_offset : 0;
}

enum producer_verdict head_judge(const struct head *h,
                                 uint64_t partition_id,
                                 const struct batch_view *v,
                                 struct producer_batch *ret_duplicate,
                                 uint64_t *ret_ticket) {
        struct head_key key = { partition_id, v->producer_id };
        const struct head_producer *hp;
        const struct producer *p;

        assert(ret_ticket);

        if (!batch_has_producer(v))
                return PRODUCER_NEXT;

        hp = head_producer(h, &key);
        if (hp) {
                *ret_ticket = hp->ticket;
                return producer_judge(&hp->window, v, ret_duplicate);
        }

        *ret_ticket = 0;
        p = state_producer(h->state, partition_id, v->producer_id);
        return producer_judge(p ? &p->window : NULL, v, ret_duplicate);
}

static int head_add_partition(struct head *h, uint64_t ticket, uint64_t id, uint64_t next_offset) {
        struct head_partition *p = head_partition(h, id);

        if (!p) {
                p = new0(struct head_partition, 1);
                if (!p)
                        return -ENOMEM;
                p->id = id;
                list_init(&p->by_ticket);
                /* not there: looked above */
                (void) map_insert(&h->partitions, &id, &p->by_id, NULL);
        }

        p->ticket = ticket;
        p->next_offset = next_offset;
        list_remove(&p->by_ticket);
        list_append(&h->partitions_by_ticket, &p->by_ticket); /* I2 */
        return 0;
}

int head_add(struct head *h,
             uint64_t ticket,
             uint64_t partition_id,
             const struct batch_view *v,
             uint64_t base_offset,
             int64_t append_time_ms) {
        struct head_key key = { partition_id, v->producer_id };
        struct head_producer *hp = NULL;
        int r;

        if (batch_has_producer(v)) {
                hp = head_producer(h, &key);
                if (!hp) {
                        const struct producer *p =
                                state_producer(h->state, partition_id, v->producer_id);

                        hp = new0(struct head_producer, 1);
                        if (!hp)
                                return -ENOMEM;
                        hp->key = key;
                        list_init(&hp->by_ticket);
                        if (p)
                                hp->window = p->window;
                }
        }

        r = head_add_partition(
                h, ticket, partition_id, base_offset + (uint64_t) v->last_offset_delta + 1);
        if (r < 0) {
                if (hp && hp->ticket == 0)
                        mem_free(hp);
                return r;
        }
        if (!hp)
                return 0;

        if (hp->ticket == 0)
                /* not there: looked above */
                (void) map_insert(&h->producers, &key, &hp->by_key, NULL);
        hp->ticket = ticket;
        producer_window_add(&hp->window, v, base_offset, append_time_ms);
        list_remove(&hp->by_ticket);
        list_append(&h->producers_by_ticket, &hp->by_ticket); /* I2 */
        return 0;
}
