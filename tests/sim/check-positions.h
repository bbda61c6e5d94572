/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where the readers of groups have committed to. One reader a group at a time. */

#include "tests/sim/check.h"

struct sim_positions;

int sim_positions_new(struct sim_verdict *verdict, struct sim_positions **ret);
struct sim_positions *sim_positions_free(struct sim_positions *p);
DEFINE_CLEANUP(struct sim_positions *, sim_positions_free)

/* A commit of this offset begins: it may take effect from now on. */
void sim_positions_on_commit(struct sim_positions *p,
                             unsigned group,
                             unsigned topic,
                             unsigned partition,
                             uint64_t offset);
/* All commits of the group that had begun were said to be done. */
void sim_positions_on_committed(struct sim_positions *p, unsigned group);
/* The reader is gone: it will not hear of what is under way. */
/* What was committed last may be lost, in a power cut. */
void sim_positions_on_power_lost(struct sim_positions *p);
void sim_positions_on_leave(struct sim_positions *p, unsigned group);
/* A new reader of the group is given this offset first. */
void sim_positions_on_start(struct sim_positions *p,
                            unsigned group,
                            unsigned topic,
                            unsigned partition,
                            uint64_t offset);
