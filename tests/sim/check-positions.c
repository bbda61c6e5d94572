/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Checker positions: who reads on for a group begins neither before what it was told is committed,
 * nor behind what it ever asked to commit.
 */

#include "tests/sim/check-positions.h"

#include <inttypes.h>
#include <stdlib.h>

#include "tests/sim/image.h"

struct position {
        unsigned group, topic, partition;
        uint64_t asked;     /* the highest by any reader */
        uint64_t under_way; /* what the reader now waits for */
        uint64_t committed; /* the highest that was confirmed */
};

struct sim_positions {
        struct sim_verdict *verdict;
        struct position *positions;
        size_t n;
};

int sim_positions_new(struct sim_verdict *verdict, struct sim_positions **ret) {
        struct sim_positions *p = must(calloc(1, sizeof(*p)));

        p->verdict = verdict;
        *ret = p;
        return 0;
}

struct sim_positions *sim_positions_free(struct sim_positions *p) {
        if (!p)
                return NULL;

        free(p->positions);
        free(p);
        return NULL;
}

static struct position *
find(struct sim_positions *p, unsigned group, unsigned topic, unsigned partition) {
        for (size_t i = 0; i < p->n; i++) {
                struct position *x = p->positions + i;

                if (x->group == group && x->topic == topic && x->partition == partition)
                        return x;
        }

        p->positions = must(realloc(p->positions, (p->n + 1) * sizeof(*p->positions)));
        p->positions[p->n] =
                (struct position){ .group = group, .topic = topic, .partition = partition };
        return p->positions + p->n++;
}

void sim_positions_on_commit(struct sim_positions *p,
                             unsigned group,
                             unsigned topic,
                             unsigned partition,
                             uint64_t offset) {

        struct position *x = find(p, group, topic, partition);

        x->asked = MAX(x->asked, offset);
        x->under_way = offset;
}

void sim_positions_on_committed(struct sim_positions *p, unsigned group) {
        for (size_t i = 0; i < p->n; i++)
                if (p->positions[i].group == group)
                        p->positions[i].committed =
                                MAX(p->positions[i].committed, p->positions[i].under_way);
}

void sim_positions_on_power_lost(struct sim_positions *p) {
        for (size_t i = 0; i < p->n; i++)
                p->positions[i].committed = p->positions[i].under_way = 0;
}

void sim_positions_on_leave(struct sim_positions *p, unsigned group) {
        for (size_t i = 0; i < p->n; i++)
                if (p->positions[i].group == group)
                        p->positions[i].under_way = 0;
}

void sim_positions_on_start(struct sim_positions *p,
                            unsigned group,
                            unsigned topic,
                            unsigned partition,
                            uint64_t offset) {

        const struct position *x = find(p, group, topic, partition);

        if (offset < x->committed)
                sim_violation(p->verdict,
                              "positions",
                              "group %u begins topic %u partition %u at %" PRIu64
                              ", and had committed %" PRIu64,
                              group,
                              topic,
                              partition,
                              offset,
                              x->committed);
        if (offset > x->asked)
                sim_violation(p->verdict,
                              "positions",
                              "group %u begins topic %u partition %u at %" PRIu64
                              ", and had asked for %" PRIu64 " at most",
                              group,
                              topic,
                              partition,
                              offset,
                              x->asked);
}
