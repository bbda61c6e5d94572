/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The head of a shard's log: what the leader has appended, or is about to, and has not applied yet,
 * laid over the applied state. The leader judges against both (next offsets, producers' sequences),
 * so that base offsets can be written before the commit and an entry in the log always takes
 * effect.
 *
 * A ticket numbers the leader's proposals in the order in which they will be in the log. What a
 * ticket touched leaves the head when the ticket is applied, since the state has it then.
 */

#include "base/map.h"
#include "state/state.h"

struct head {
        const struct state *state; /* borrows */
        struct map partitions;
        struct map producers;
        struct list partitions_by_ticket;
        struct list producers_by_ticket;
};

void head_init(struct head *h, const struct state *state);
/* Forgets everything: what was in flight will not be in the log. */
void head_clear(struct head *h);

/* The offset that the next message of a partition gets. */
uint64_t head_next_offset(const struct head *h, uint64_t partition_id);

/**
 * head_judge() - what becomes of a batch
 * @ret_duplicate: where it is already, for PRODUCER_DUPLICATE
 * @ret_ticket: the proposal that this rests on, 0: it is applied; for PRODUCER_DUPLICATE
 */
enum producer_verdict head_judge(const struct head *h,
                                 uint64_t partition_id,
                                 const struct batch_view *v,
                                 struct producer_batch *ret_duplicate,
                                 uint64_t *ret_ticket);
/* Notes that proposal @ticket appends this batch. Return: 0; -ENOMEM, nothing noted. */
int head_add(struct head *h,
             uint64_t ticket,
             uint64_t partition_id,
             const struct batch_view *v,
             uint64_t base_offset,
             int64_t append_time_ms);
/* All up to @ticket is in the state now. */
void head_applied(struct head *h, uint64_t ticket);
