/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Checker topics.
 *
 * I1: a topic's life is what lies between two deletions; a partition id belongs to one place in one
 * life.
 */

#include "tests/sim/check-topics.h"

#include <inttypes.h>
#include <stdlib.h>

#include "tests/sim/image.h"

struct topic {
        unsigned number;
        enum {
                UNKNOWN,
                PRESENT,
                ABSENT,
        } state;
        unsigned n_partitions; /* PRESENT; 0: not known */
        unsigned life;
};

struct id {
        uint64_t id;
        unsigned topic, partition, life;
};

struct sim_topics {
        struct sim_verdict *verdict;
        struct topic *topics;
        size_t n_topics;
        struct id *ids;
        size_t n_ids;
};

int sim_topics_new(struct sim_verdict *verdict, struct sim_topics **ret) {
        struct sim_topics *t = must(calloc(1, sizeof(*t)));

        t->verdict = verdict;
        *ret = t;
        return 0;
}

struct sim_topics *sim_topics_free(struct sim_topics *t) {
        if (!t)
                return NULL;

        free(t->topics);
        free(t->ids);
        free(t);
        return NULL;
}

static struct topic *find(struct sim_topics *t, unsigned number) {
        for (size_t i = 0; i < t->n_topics; i++)
                if (t->topics[i].number == number)
                        return t->topics + i;

        t->topics = must(realloc(t->topics, (t->n_topics + 1) * sizeof(*t->topics)));
        t->topics[t->n_topics] = (struct topic){ .number = number };
        return t->topics + t->n_topics++;
}

void sim_topics_on_present(struct sim_topics *t, unsigned topic, unsigned n_partitions) {
        struct topic *x = find(t, topic);

        x->state = PRESENT;
        x->n_partitions = n_partitions;
}

void sim_topics_on_absent(struct sim_topics *t, unsigned topic) {
        struct topic *x = find(t, topic);

        x->state = ABSENT;
        x->life++;
}

void sim_topics_on_unknown(struct sim_topics *t, unsigned topic) {
        find(t, topic)->state = UNKNOWN;
}

static struct id *find_id(struct sim_topics *t, uint64_t id) {
        for (size_t i = 0; i < t->n_ids; i++)
                if (t->ids[i].id == id)
                        return t->ids + i;
        return NULL;
}

/* I1 */
static void check_id(struct sim_topics *t, struct topic *x, unsigned partition, uint64_t id) {
        const struct id *known = find_id(t, id);

        if (!known) {
                t->ids = must(realloc(t->ids, (t->n_ids + 1) * sizeof(*t->ids)));
                t->ids[t->n_ids++] = (struct id){
                        .id = id, .topic = x->number, .partition = partition, .life = x->life
                };
                return;
        }

        if (known->topic != x->number || known->partition != partition || known->life != x->life)
                sim_violation(t->verdict,
                              "topics",
                              "partition %u of topic %u, life %u, has id %" PRIu64
                              ", which partition %u of topic %u had in life %u",
                              partition,
                              x->number,
                              x->life,
                              id,
                              known->partition,
                              known->topic,
                              known->life);
}

void sim_topics_on_metadata(struct sim_topics *t, unsigned topic, const uint64_t *ids, size_t n) {
        struct topic *x = find(t, topic);

        if (n == 0) {
                if (x->state == PRESENT)
                        sim_violation(
                                t->verdict, "topics", "topic %u was made and is not there", topic);
                sim_topics_on_absent(t, topic);
                return;
        }

        if (x->state == ABSENT)
                sim_violation(t->verdict, "topics", "topic %u was deleted and is there", topic);
        if (x->state == PRESENT && x->n_partitions > 0 && x->n_partitions != n)
                sim_violation(t->verdict,
                              "topics",
                              "topic %u was given %u partitions and has %zu",
                              topic,
                              x->n_partitions,
                              n);

        /* Of what became unknown nobody said that it ended: a new first id says it now. */
        if (x->state == UNKNOWN && !find_id(t, ids[0]))
                x->life++;
        for (size_t i = 0; i < n; i++)
                check_id(t, x, (unsigned) i, ids[i]);
        sim_topics_on_present(t, topic, (unsigned) n);
}
