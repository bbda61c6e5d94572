/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the broker counts: by batch or by request, never by message (a batch's header says how many
 * messages it has), and without memory but for one struct for each partition that has a series of
 * its own. What it can say of itself without counting, sizes and indices, is asked for when a
 * report is made (report.c).
 *
 * Messages and bytes are counted for each partition, up to a number of partitions that is
 * configured; those that come later share the series without labels. What was counted for a
 * partition that is deleted goes to a series of its own, deleted="yes".
 *
 * Invariants
 *  I1  The sum over all series of a family is all that was counted since the start: it never goes
 *      back, whatever is deleted.
 *  I2  Neither does any series but for a partition's, which ends with it.
 */

#include "base/histogram.h"
#include "base/map.h"
#include "proto/error.h"
#include "proto/frame.h"

struct traffic {
        uint64_t n_produced; /* messages that were committed, each once */
        uint64_t produced_bytes;
        uint64_t n_consumed; /* messages that were sent, in whole batches */
        uint64_t consumed_bytes;
};

struct partition_traffic {
        struct map_node by_id;
        uint64_t partition_id;
        struct traffic traffic;
};

/* Why a connection has ended. */
enum conn_end {
        CONN_END_MEMORY,   /* there is none for its answer */
        CONN_END_PEER,     /* the peer ended it, or it broke */
        CONN_END_PROTOCOL, /* it broke the rules of the protocol */
        CONN_END_IDLE,     /* half a request, or no greeting, for too long */
        CONN_END_UNREAD,   /* it did not take its answers */
        CONN_END_HTTP,     /* answered, as HTTP has it here */
        CONN_END_STOP,     /* the node stopped */
        _CONN_END_MAX,
};

struct metrics {
        struct map partitions;
        uint32_t n_partitions_max;
        struct traffic rest;
        struct traffic deleted;
        uint64_t n_duplicates; /* batches that were there already */

        uint64_t n_requests[_FRAME_TYPE_MAX]; /* [0]: of types that it does not know */
        uint64_t n_errors[_DRMQ_ERROR_MAX];
        struct histogram produce_usec;
        struct histogram fetch_usec;

        uint64_t n_accepted;
        uint64_t n_refused;
        uint64_t n_ended[_CONN_END_MAX];
        uint64_t n_http_requests;
};

void metrics_init(struct metrics *m, uint32_t n_partitions_max);
void metrics_done(struct metrics *m);

/* Adds to what was counted for a partition, or to the rest. @t: borrows. */
void metrics_add(struct metrics *m, uint64_t partition_id, const struct traffic *t);
/* The partition is no more; another one may have its series. Nothing where it had none. */
void metrics_forget(struct metrics *m, uint64_t partition_id);
/* An error was told to somebody. NONE and DUPLICATE are none. */
void metrics_count_error(struct metrics *m, enum drmq_error code);

/* "peer", "idle", …: never NULL for a @why below _CONN_END_MAX. */
const char *conn_end_name(enum conn_end why);
