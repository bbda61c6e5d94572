/* SPDX-License-Identifier: Apache-2.0 */

/* Checker retention. It looks into the broker's state for what was decided, and into its log for
 * what is there. */

#include "tests/sim/check-retention.h"

#include <inttypes.h>
#include <stdlib.h>

#include "drmqd/core/core.h"
#include "tests/sim/clients.h"
#include "tests/sim/image.h"

struct first {
        uint64_t partition_id;
        uint64_t offset;
};

struct sim_retention {
        struct sim_verdict *verdict;
        struct first *firsts;
        size_t n;
        uint64_t log_start_index;
};

int sim_retention_new(struct sim_verdict *verdict, struct sim_retention **ret) {
        struct sim_retention *c = must(calloc(1, sizeof(*c)));

        c->verdict = verdict;
        *ret = c;
        return 0;
}

struct sim_retention *sim_retention_free(struct sim_retention *c) {
        if (!c)
                return NULL;

        free(c->firsts);
        free(c);
        return NULL;
}

static struct first *find(struct sim_retention *c, uint64_t partition_id) {
        for (size_t i = 0; i < c->n; i++)
                if (c->firsts[i].partition_id == partition_id)
                        return c->firsts + i;

        c->firsts = must(realloc(c->firsts, (c->n + 1) * sizeof(*c->firsts)));
        c->firsts[c->n] = (struct first){ .partition_id = partition_id };
        return c->firsts + c->n++;
}

void sim_retention_on_ready(struct sim_retention *c, const struct broker *b, bool lost_end) {
        const struct shard *s = b->shards[SHARD_DATA];

        if (!lost_end && s->state->log_start_index < c->log_start_index)
                sim_violation(c->verdict,
                              "retention",
                              "the log was to begin behind entry %" PRIu64
                              ", and after a start behind entry %" PRIu64,
                              c->log_start_index,
                              s->state->log_start_index);
        c->log_start_index = s->state->log_start_index;

        MAP_FOREACH(&s->state->partitions, n) {
                const struct partition *p = CONTAINER_OF(n, struct partition, by_id);
                struct first *first = find(c, p->id);

                if (!lost_end && p->first_offset < first->offset)
                        sim_violation(c->verdict,
                                      "retention",
                                      "partition %" PRIu64 " began at %" PRIu64
                                      ", and after a start begins at %" PRIu64,
                                      p->id,
                                      first->offset,
                                      p->first_offset);
                first->offset = p->first_offset;
        }
}

/* What the log holds behind its start can be asked for. */
static void check_log(struct sim_retention *c, const struct shard *s) {
        const uint64_t from_index =
                MAX(s->state->log_start_index + 1, shard_log_first_index(s->log));
        struct log_scan *scan;
        struct entry e;
        int r;

        if (shard_log_first_index(s->log) > s->state->log_start_index + 1)
                sim_violation(c->verdict,
                              "retention",
                              "the log begins at entry %" PRIu64
                              ", and only the entries up to %" PRIu64 " were to go",
                              shard_log_first_index(s->log),
                              s->state->log_start_index);

        if (shard_log_scan(s->log,
                           from_index,
                           shard_log_durable_index(s->log),
                           ENTRY_VERIFY_HEADER,
                           &scan) < 0)
                abort();
        while ((r = log_scan_next(scan, &e)) > 0)
                for (unsigned i = 0; i < e.n_slices; i++) {
                        const struct partition *p =
                                state_partition(s->state, e.slices[i].partition_id);

                        if (p && e.slices[i].base_offset < p->first_offset)
                                sim_violation(c->verdict,
                                              "retention",
                                              "entry %" PRIu64 " holds offset %" PRIu64
                                              " of partition %" PRIu64
                                              ", which is said to begin at %" PRIu64,
                                              e.index,
                                              e.slices[i].base_offset,
                                              p->id,
                                              p->first_offset);
                }
        if (r < 0)
                sim_violation(c->verdict, "retention", "the log cannot be read: %d", r);
        log_scan_free(scan);
}

uint64_t sim_retention_judge(struct sim_retention *c,
                             struct sim_messages *m,
                             const struct broker *b,
                             unsigned n_topics,
                             bool may_find_damage) {
        uint64_t n_gone = 0;

        if (!may_find_damage) {
                sim_retention_on_ready(c, b, /* lost_end= */ false);
                check_log(c, b->shards[SHARD_DATA]);
        }

        for (unsigned i = 0; i < n_topics; i++) {
                const struct topic *t;
                char name[32];

                sim_topic_name(name, i);
                t = state_topic(b->shards[SHARD_METADATA]->state, name);
                for (uint32_t k = 0; t && k < t->n_partitions; k++) {
                        uint64_t first, next;

                        partition_bounds(b, t->partitions[k]->id, &first, &next);
                        sim_messages_on_gone(m, i, k, first);
                        n_gone += first;
                }
        }
        return n_gone;
}
