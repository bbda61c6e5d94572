/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What retention took was to go, and nothing else went: first offsets never go back; all that the
 * log still holds behind its start lies at or above them; what is below them, and only that, is
 * no longer asked for (check-messages.h).
 */

#include "drmqd/core/broker.h"
#include "tests/sim/check-messages.h"

struct sim_retention;

int sim_retention_new(struct sim_verdict *verdict, struct sim_retention **ret);
struct sim_retention *sim_retention_free(struct sim_retention *c);
DEFINE_CLEANUP(struct sim_retention *, sim_retention_free)

/* What a broker that has just become ready says. @lost_end: a power cut may have taken decisions that
 * were not synced, as far as that is allowed. */
void sim_retention_on_ready(struct sim_retention *c, const struct broker *b, bool lost_end);

/**
 * sim_retention_judge() - when all has been read, and nothing is sent
 * @n_topics: as sim_topic_name() names them
 * @may_find_damage: then it only tells
 *
 * Tells @m what is gone. Return: how many messages that is.
 */
uint64_t sim_retention_judge(struct sim_retention *c,
                             struct sim_messages *m,
                             const struct broker *b,
                             unsigned n_topics,
                             bool may_find_damage);
