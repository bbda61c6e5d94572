/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Clients of the simulated broker, each in a process of its own, on lib/client: senders and readers
 * that do something every few milliseconds, and may be killed and begin again.
 *
 * Topics are numbers here; their names are "topic-N".
 */

#include "client/consumer.h"
#include "client/producer.h"
#include "tests/sim/check-messages.h"
#include "tests/sim/check-positions.h"
#include "tests/sim/world.h"

/* What all clients of a run share; all borrowed. */
struct sim_clients {
        struct sim_world *world;
        struct sim_verdict *verdict;
        struct sim_messages *messages;
        struct sim_positions *positions;
        unsigned n_topics;
        unsigned next_producer; /* a sender that begins again is another producer */
        bool may_find_damage;   /* readers may be refused */
        bool has_retention;     /* readers may find less than there was, at the beginning */
};

void sim_topic_name(char dest[static 32], unsigned topic);
/* A process without a disk, and a session with the broker's address. */
void sim_start_process(struct sim_clients *all,
                       const char *name,
                       struct sim_process **ret,
                       struct session **ret_session);

struct sim_sender {
        struct sim_clients *all;
        struct random random;
        struct producer_config config;
        size_t value_bytes_max;
        unsigned burst_max;    /* messages at a time */
        usec_t pause_max_usec; /* between two times */
        unsigned keys;         /* so many different ones; 0: none */
        bool is_hostile;       /* large values may be: SIM_VALUE_BYTES_HOSTILE */

        char name[32];
        unsigned number; /* as producer */
        struct sim_process *process;
        struct session *session;
        struct producer *producer;
        struct io_timer timer;
        bool is_stopping;
        uint8_t *value;
};

/* Set up the members above the empty line, then start. */
void sim_sender_start(struct sim_sender *s);
void sim_sender_kill(struct sim_sender *s);
/* Nothing new from now on. */
void sim_sender_stop(struct sim_sender *s);
bool sim_sender_is_done(const struct sim_sender *s);

struct sim_reader {
        struct sim_clients *all;
        struct random random;
        struct consumer_config config;
        unsigned group; /* number; 0: none, it begins at the beginning each time */
        usec_t pause_max_usec;
        unsigned take_max;

        char name[32], group_name[32];
        struct sim_process *process;
        struct session *session;
        struct consumer *consumer;
        struct io_timer timer;
        bool is_committing;
        bool is_at_end;  /* with config.stop_at_end: all has been taken */
        bool has_failed; /* begins again at the next tick */
        struct sim_place {
                unsigned topic, partition;
                uint64_t next_offset;
        } * places; /* partitions it has read from */
        size_t n_places;
};

void sim_reader_start(struct sim_reader *r);
void sim_reader_kill(struct sim_reader *r);
/* With config.stop_at_end. */
bool sim_reader_is_done(const struct sim_reader *r);
