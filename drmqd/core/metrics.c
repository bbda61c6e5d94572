/* SPDX-License-Identifier: Apache-2.0 */
/* Counting; invariants I1 and I2 are those of metrics.h. */
#include "drmqd/core/metrics.h"

#include "base/alloc.h"

static int traffic_compare(const void *key, const struct map_node *n) {
        return CMP(*(const uint64_t *) key,
                   CONTAINER_OF(n, struct partition_traffic, by_id)->partition_id);
}

static void traffic_add(struct traffic *to, const struct traffic *t) {
        to->n_produced += t->n_produced;
        to->produced_bytes += t->produced_bytes;
        to->n_consumed += t->n_consumed;
        to->consumed_bytes += t->consumed_bytes;
}

void metrics_init(struct metrics *m, uint32_t n_partitions_max) {
        assert(m);

        *m = (struct metrics){ .n_partitions_max = n_partitions_max };
        map_init(&m->partitions, traffic_compare);
}

void metrics_done(struct metrics *m) {
        if (!m)
                return;

        MAP_FOREACH(&m->partitions, n) {
                map_remove(&m->partitions, n);
                mem_free(CONTAINER_OF(n, struct partition_traffic, by_id));
        }
}

/* NULL: it has no series of its own. */
static struct partition_traffic *traffic_get(struct metrics *m, uint64_t partition_id) {
        struct map_node *n = map_find(&m->partitions, &partition_id);
        struct partition_traffic *p;

        if (n)
                return CONTAINER_OF(n, struct partition_traffic, by_id);
        if (m->partitions.n_nodes >= m->n_partitions_max)
                return NULL;

        p = new0(struct partition_traffic, 1);
        if (!p)
                return NULL;
        p->partition_id = partition_id;
        (void) map_insert(&m->partitions, &partition_id, &p->by_id, NULL); /* looked above */
        return p;
}

void metrics_add(struct metrics *m, uint64_t partition_id, const struct traffic *t) {
        struct partition_traffic *p;

        assert(m);
        assert(t);

        p = traffic_get(m, partition_id);
        traffic_add(p ? &p->traffic : &m->rest, t); /* I1 */
}

void metrics_forget(struct metrics *m, uint64_t partition_id) {
        struct partition_traffic *p;
        struct map_node *n;

        assert(m);

        n = map_find(&m->partitions, &partition_id);
        if (!n)
                return;

        p = CONTAINER_OF(n, struct partition_traffic, by_id);
        traffic_add(&m->deleted, &p->traffic); /* I1 */
        map_remove(&m->partitions, n);
        mem_free(p);
}

void metrics_count_error(struct metrics *m, enum drmq_error code) {
        assert(m);

        if (code != DRMQ_ERROR_NONE && code != DRMQ_ERROR_DUPLICATE && code < _DRMQ_ERROR_MAX)
                m->n_errors[code]++;
}

const char *conn_end_name(enum conn_end why) {
        static const char *const names[_CONN_END_MAX] = {
                [CONN_END_MEMORY] = "memory",     [CONN_END_PEER] = "peer",
                [CONN_END_PROTOCOL] = "protocol", [CONN_END_IDLE] = "idle",
                [CONN_END_UNREAD] = "unread",     [CONN_END_HTTP] = "http",
                [CONN_END_STOP] = "stop",
        };

        assert(why < _CONN_END_MAX);

        return names[why];
}
