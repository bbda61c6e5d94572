/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What goes wrong, and when: kills, power cuts and crashes in the middle of an operation, stops in
 * good order; syncs and writes that fail, a full disk, short writes, a slow disk; flipped bits in
 * what has a second copy or can be rebuilt, and, in runs that allow damage, in settled parts of the
 * log; connections that break; clients that die; a wall clock that jumps. Each run has its own
 * taste: which acts it is given to, how often, and whether they come in bursts.
 */

#include "tests/sim/clients.h"
#include "tests/sim/server.h"

#define SIM_SENDERS_MAX 4u
#define SIM_READERS_MAX 3u

enum sim_act {
        SIM_ACT_KILL,
        SIM_ACT_POWER_CUT,
        SIM_ACT_CRASH_IN_OPERATION,
        SIM_ACT_STOP,
        SIM_ACT_SYNC_FAILS,
        SIM_ACT_WRITE_FAILS,
        SIM_ACT_DISK_FULL,
        SIM_ACT_SHORT_WRITES,
        SIM_ACT_SLOW_DISK,
        SIM_ACT_FLIP_COPY,
        SIM_ACT_FLIP_REBUILDABLE,
        SIM_ACT_FLIP_LOG,
        SIM_ACT_BREAK,
        SIM_ACT_BAD_NETWORK,
        SIM_ACT_KILL_CLIENT,
        SIM_ACT_WALL_JUMPS,
        _SIM_ACT_MAX,
};

struct sim_nemesis {
        struct sim_world *world;
        struct sim_server *server;
        struct sim_sender *senders;
        unsigned n_senders;
        struct sim_reader *readers;
        unsigned n_readers;

        struct random random;
        bool allows_damage;
        unsigned weights[_SIM_ACT_MAX];
        usec_t pause_max_usec;
        usec_t next_usec;
        usec_t heal_usec; /* when what lasts has an end; USEC_INFINITY: nothing lasts */
        unsigned n_burst; /* acts that are left of a burst */
        unsigned
                n_more_crashes; /* crashes in log writes that are to follow, one after each start */
        unsigned n_acts[_SIM_ACT_MAX];
        char bad_checkpoints[2][64]; /* by shard: the last in which a bit was flipped */
};

/* Set up world, server, clients and allows_damage before. */
void sim_nemesis_init(struct sim_nemesis *n, uint64_t seed);
/* Acts where something is due. */
void sim_nemesis_settle(struct sim_nemesis *n);
usec_t sim_nemesis_next_usec(const struct sim_nemesis *n);
/* Ends all that lasts; what is broken for good stays so. */
void sim_nemesis_heal(struct sim_nemesis *n);
