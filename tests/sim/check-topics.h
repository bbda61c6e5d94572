/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Which topics there are, by number, and the ids of their partitions. A topic that was made is
 * there until it is deleted, with the partitions it was given; an id is never given twice, so that
 * a topic that is deleted and made again is another one.
 */

#include "tests/sim/check.h"

struct sim_topics;

int sim_topics_new(struct sim_verdict *verdict, struct sim_topics **ret);
struct sim_topics *sim_topics_free(struct sim_topics *t);
DEFINE_CLEANUP(struct sim_topics *, sim_topics_free)

/* It was said to be made, or to have so many partitions from now on (0: not said). */
void sim_topics_on_present(struct sim_topics *t, unsigned topic, unsigned n_partitions);
/* It was said to be deleted, or not to exist. */
void sim_topics_on_absent(struct sim_topics *t, unsigned topic);
/* Something was asked of it, and what became of that is not known. */
void sim_topics_on_unknown(struct sim_topics *t, unsigned topic);
/* What metadata say: the ids of its @n partitions; 0: it does not exist. */
void sim_topics_on_metadata(struct sim_topics *t, unsigned topic, const uint64_t *ids, size_t n);
