/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Somebody who makes topics of his own ("scratch-N"), gives them more partitions, deletes them, and
 * looks what is there; makes snapshots and deletes them: one thing after the other.
 */

#include "client/call.h"
#include "tests/sim/check-snapshots.h"
#include "tests/sim/check-topics.h"
#include "tests/sim/clients.h"

#define SIM_SCRATCH_TOPICS 4u

struct sim_admin {
        struct sim_clients *all;
        struct sim_topics *topics;       /* borrows */
        struct sim_snapshots *snapshots; /* borrows; NULL: makes none */
        struct random random;
        usec_t pause_max_usec;

        struct sim_process *process; /* NULL: not started */
        struct session *session;
        struct io_timer timer;
        struct call call;
        unsigned subject;      /* of the call under way: a topic's number, or a snapshot's */
        unsigned n_partitions; /* that it asks for */
        usec_t rest_until_usec
                [SIM_SCRATCH_TOPICS]; /* what was asked of it last may still come to pass */
        uint64_t n_looks;             /* that were answered */
};

/* Set up the members above the empty line, then start. */
void sim_admin_start(struct sim_admin *a);
void sim_admin_kill(struct sim_admin *a);
