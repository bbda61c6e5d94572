/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One replica of one shard: its Raft, its log, its state machine, and what is on the way from a
 * proposal to its outcome.
 *
 * A proposal gets a ticket at once, in the order in which it will be in the log; it is appended
 * (perhaps later, when the log writer has room), synced, committed, applied; then whoever waits for
 * its ticket is told. Answers rest on that alone.
 *
 * Invariants
 *  I1  Entries are applied in the order of their indices, each once, and only when committed.
 *  I2  Tickets are in log order: what has no index yet is behind all that has one.
 *  I3  A waiter is told once: applied, or with the error for which its proposal will never be in
 *      the log.
 *  I4  A checkpoint is of an index that is synced: it never outlives the log that it goes on from.
 *  I5  After on_fatal() nothing is appended, applied or answered.
 */

#include "base/list.h"
#include "base/trace.h"
#include "drmqd/core/head.h"
#include "drmqd/core/retention.h"
#include "io/io.h"
#include "log/reader.h"
#include "log/shard-log.h"
#include "raft/raft.h"
#include "state/state.h"

struct shard;

/* What the leader wants in the log. Allocated by proposal_new(); the shard's from shard_propose()
 * on. */
struct proposal {
        struct list link;
        uint64_t ticket;
        struct entry entry; /* index, term and time are the shard's to fill in */
        struct slice hold;  /* keeps the batches; shares */
        uint8_t *body;      /* other kinds; mem_free() */
        struct entry_slice slices[];
};

/* Told when a ticket is applied (error 0) or will never be (negative errno). Embedded in its
 * owner. */
struct waiter {
        struct list link;
        uint64_t ticket;
        void (*on_done)(struct waiter *w, int error);
};

/* Woken once when a partition's high watermark moves, or the partition is gone. Embedded in its
 * owner. */
struct watch {
        struct list link;
        struct watch_point *point; /* NULL: not watching */
        void (*on_change)(struct watch *w);
};

struct shard_events {
        /* Requests may be taken from now on: this replica leads and its no-op is applied (or it
         * found has_gap, and will not lead). */
        void (*on_ready)(void *userdata, struct shard *s);
        /* A checkpoint was written, or failed. */
        void (*on_checkpoint)(void *userdata, struct shard *s, int error);
        /* A segment has been closed, because of shard_log_roll() or because it was full. May be
         * NULL. */
        void (*on_rolled)(void *userdata, struct shard *s, uint64_t last_index);
        /* The process must stop. */
        void (*on_fatal)(void *userdata, int error, const char *what);
        /* The end of every event that came to the shard from the world: what follows from it has
         * been done. */
        void (*on_event_done)(void *userdata);
};

struct shard_config {
        uint64_t number;
        uint64_t node_id;
        const char *dir;
        uint64_t segment_bytes;
        uint32_t group_bytes; /* see struct shard_log_config */
        uint32_t append_budget_bytes;
        uint64_t checkpoint_bytes; /* a mark is logged after so much log */
        usec_t sync_usec;          /* see struct shard_log_config */
        uint64_t reserve_bytes;
        struct retention_limits retention;
        const struct tracer *tracer;
};

struct shard {
        struct io *io;
        uint64_t number;
        char *dir;
        uint64_t checkpoint_bytes;
        const struct tracer *tracer;
        const struct shard_events *events;
        void *userdata;

        struct shard_log *log;
        /* NULL: has_gap, or the log's tail is damaged: what is good is served, no more */
        struct raft *raft;
        struct state *state; /* applied */
        struct head head;
        struct recovery_report report;
        uint64_t n_replayed;
        /* what was to be replayed was not all there: nobody knows what the next offsets are */
        bool has_gap;

        uint64_t next_ticket;
        uint64_t applied_ticket;
        struct list in_flight;   /* proposals that have an index */
        struct list unappended;  /* and those that have none yet (I2) */
        struct list waiters;     /* by ticket */
        struct map watch_points; /* by partition */

        struct io_timer flush;
        struct io_timer election;
        bool is_ready;
        bool has_failed;

        uint64_t checkpoint_index;
        uint64_t marked_bytes; /* shard_log_stats.bytes_since_open at the last mark */
        bool mark_in_flight;
        uint64_t mark_index; /* applied, waits to be synced; 0: none does */
        struct checkpoint_job *checkpoint_job;
        struct histogram checkpoint_usec; /* of those that were written */
        uint64_t n_checkpoint_failures;

        uint64_t checkpoint_log_start_index; /* what the newest checkpoint says of it */
        struct retention *retention;
        bool is_stopping; /* decides nothing by itself any more */
};

/* Recovers the shard in config->dir. Blocks: start-up only. As shard_log_open(); -EBADMSG also for
 * a checkpoint and log that do not fit together. */
int shard_new(struct io *io,
              const struct shard_config *config,
              const struct shard_events *events,
              void *userdata,
              struct shard **ret);
/* Whoever still waits is told -ECANCELED. */
struct shard *shard_free(struct shard *s);
DEFINE_CLEANUP(struct shard *, shard_free)
/* From now on. */
void shard_set_retention(struct shard *s, const struct retention_limits *limits);
/* From now on it only does what it is asked for: so there is an end to what is in flight. */
void shard_prepare_stop(struct shard *s);
/* Begins to campaign. on_ready() follows, unless the tail is damaged. */
void shard_start(struct shard *s);

bool shard_is_writable(const struct shard *s);
/* False: damage hides what the last offsets are; what is good is served, "the end" is not known. */
bool shard_knows_its_end(const struct shard *s);

/* Returns new. @n_slices 0 for other kinds than produce. */
struct proposal *proposal_new(enum entry_kind kind, unsigned n_slices);
struct proposal *proposal_free(struct proposal *p);
DEFINE_CLEANUP(struct proposal *, proposal_free)

/* The ticket and the append time that the next proposal will get. */
uint64_t shard_next_ticket(const struct shard *s);
int64_t shard_append_time_ms(const struct shard *s);

/**
 * shard_propose() - order something
 * @p: takes, in any case
 * @time_ms: shard_append_time_ms() as the caller used it when it judged
 * @w: told of the outcome, perhaps within this call; NULL: nobody asks
 *
 * Return: its ticket.
 */
uint64_t shard_propose(struct shard *s,
                       struct proposal *p,
                       int64_t time_ms,
                       struct waiter *w,
                       void (*on_done)(struct waiter *w, int error));

/* Makes the head anew from what is in flight: a caller noted batches in it that it will not propose
 * after all. */
void shard_forget_head(struct shard *s);

/* Told at once (within this call) where the ticket is applied already. */
void shard_wait(struct shard *s,
                struct waiter *w,
                uint64_t ticket,
                void (*on_done)(struct waiter *w, int error));

/* Return: 0; -ENOMEM. */
int shard_watch(struct shard *s,
                struct watch *w,
                uint64_t partition_id,
                void (*on_change)(struct watch *w));
/* Nothing where it is not watching. */
void shard_watch_cancel(struct shard *s, struct watch *w);

/* Logs a mark and writes the checkpoint that belongs to it; on_checkpoint() follows. Return: 0; 1
 * the newest checkpoint has all there is; -EBUSY one is under way. */
int shard_checkpoint(struct shard *s);
/* Whether all that was acknowledged would outlive a power cut. Where not, a sync begins, and
 * on_event_done() follows it. */
bool shard_is_synced(struct shard *s);
/* Whether all that was proposed has been applied. */
bool shard_is_quiet(const struct shard *s);
