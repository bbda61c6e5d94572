/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Retention: what makes a shard's log shorter at its beginning, whole segments at a time.
 *
 *     decide     (leader only) the oldest closed segments are too much, or too old, and the newest
 *                checkpoint has all that they mean
 *     find       where each of their partitions ends in them, from their index files, in a job
 *     log        the partitions' new first offsets and the last index that goes, as entries of kind
 *                ENTRY_ADMIN, one after the other; the last of them is the decision
 *     drop       (every replica) once a checkpoint has the decision, the files go
 *
 * A crash between any two of them leaves what is right: before the decision is logged nothing is
 * gone (a partition's first offset may have risen: nobody reads below it any more); after it, the
 * next start finds it in its state, and drops.
 *
 * Invariants
 *  I1  No file goes that a decision in the newest checkpoint does not name: so whatever a start
 *      reads, it never needs what was dropped. (A decision is made below a checkpoint, and logged
 *      behind it: the one before the newest has all that was dropped too.)
 *  I2  First offsets are logged before, or with, the index: what a reader may ask for is there.
 *  I3  One decision at a time; its entries are proposed one after the other, each when the one
 *      before has been applied.
 *  I4  While the wall clock has jumped, nothing is too old.
 */

#include "base/macro.h"
#include "base/time.h"

struct shard;
struct retention;

/* The wall clock is believed again so long after a jump. */
#define RETENTION_DOUBT_USEC (10 * USEC_PER_MINUTE)
/* What is no jump: clocks are slewed. */
#define RETENTION_JUMP_MS_MAX INT64_C(10000)
/* What failed is tried again after this; and as often, at least, is looked at what is too old. */
#define RETENTION_RETRY_USEC (10 * USEC_PER_SEC)
#define RETENTION_LOOK_USEC USEC_PER_MINUTE

struct retention_limits {
        uint64_t max_bytes;  /* of all entries, as files; 0: off */
        usec_t max_age_usec; /* since a segment's last append; 0: off */
};

/* What is looked at of a closed segment. */
struct retention_segment {
        uint64_t last_index;
        uint64_t n_bytes;
        int64_t last_time_ms; /* 0: not known, never too old */
};

/**
 * retention_decide() - which segments should go
 * @segments: the closed ones, oldest first
 * @open_bytes: what is written of the open one
 * @max_age_usec of @limits: 0 also while the clock is in doubt
 * @checkpoint_index: nothing above it goes
 * @ret_wants_checkpoint: more would go if there were a newer one
 *
 * Return: the last index that goes; 0: nothing does.
 */
uint64_t retention_decide(const struct retention_segment *segments,
                          size_t n,
                          uint64_t open_bytes,
                          const struct retention_limits *limits,
                          int64_t now_ms,
                          uint64_t checkpoint_index,
                          bool *ret_wants_checkpoint);

/* @s: borrows; outlives it. Return: 0; -ENOMEM. */
int retention_new(struct shard *s, const struct retention_limits *limits, struct retention **ret);
struct retention *retention_free(struct retention *r);

/* From now on; looks at once. */
void retention_set_limits(struct retention *r, const struct retention_limits *limits);
/* Something has changed: a segment was closed, a checkpoint was written, the shard leads. */
void retention_check(struct retention *r);
/* A checkpoint failed: it is not asked for again at once. */
void retention_on_checkpoint_failed(struct retention *r);
