/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A broker as a machine has it: a disk that stays, and processes on it that come and go. It is
 * started again by itself some time after it went down.
 */

#include "drmqd/core/broker.h"
#include "tests/sim/check-disk.h"
#include "tests/sim/check-retention.h"
#include "tests/sim/world.h"

#define SIM_SERVER_ADDRESS "broker:9092"
#define SIM_SERVER_DATA_DIR "/data"

struct sim_server {
        struct sim_world *world;
        struct sim_verdict *verdict;
        struct sim_disk *disk;
        struct sim_disk_check *check;
        struct sim_retention *retention;
        struct broker_config config;
        struct tracer tracer;
        struct sim_disk_speed speed;

        struct sim_process *process; /* NULL: it is down */
        struct broker *broker;
        bool is_ready;
        bool is_stopped;          /* on_stopped() came */
        int fatal;                /* on_fatal() came with this: it ends before its next event */
        bool has_crashed;         /* its disk did, in the middle of an operation */
        usec_t restart_usec;      /* while it is down; USEC_INFINITY: not by itself */
        unsigned n_starts_failed; /* in a row */

        /* Between two times that it was ready. */
        usec_t ended_usec; /* when it ended first; USEC_INFINITY: it has not */
        bool lost_power;   /* after that */
        bool had_stopped;  /* it ended in good order, and was not ready again */
        usec_t slow_usec;  /* the longest that a job of the log took */
        usec_t kept_usec;  /* has_lost_end: what was acknowledged at or before this is not lost */
        bool has_lost_end; /* to be cleared by who looks: it is ready again, after a power cut */

        /* What the nemesis has done to it, so that what follows from it is no violation. */
        bool may_find_damage; /* for good */
        bool has_disk_faults; /* at the moment: errors, or too little space */
        bool had_disk_faults; /* since it was started */
        bool is_wrecked;      /* it refused to start, for damage that was done */
};

/* Makes disk and checker. What config holds by default may be changed before the first start. */
void sim_server_init(struct sim_server *s,
                     struct sim_world *w,
                     struct sim_verdict *v,
                     uint64_t seed);
void sim_server_done(struct sim_server *s);

void sim_server_start(struct sim_server *s);
/* Ends it at once; @power_cut: and what its disk had not synced. It comes back after @down_usec. */
void sim_server_end(struct sim_server *s, bool power_cut, usec_t down_usec);
/* Asks it to stop in good order. */
void sim_server_stop(struct sim_server *s);
/* To be called after each event: ends it where it has to end, starts it where it is due. */
void sim_server_settle(struct sim_server *s);
/* When it wants to be settled without an event; USEC_INFINITY: not. */
usec_t sim_server_next_usec(const struct sim_server *s);
