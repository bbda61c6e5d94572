/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Checkpoints of a shard's state machine: "the state at this very index", as bytes that drmqd/core makes and reads.
 * Written whole under a temporary name, synced, renamed in, the folder synced. A damaged one is passed over for the one
 * before it: so two are kept. Jobs and start-up only.
 */

#include "base/macro.h"
#include "io/io.h"

struct checkpoint {
        uint64_t index;
        uint64_t term;
        int64_t append_time_ms;
        uint8_t *body; /* mem_free() */
        size_t body_bytes;
};

void checkpoint_done(struct checkpoint *c);

/* Return: 0; -EIO, -ENOSPC, …: the checkpoint before is still there. */
int checkpoint_write(struct io *io, const char *dir, uint64_t shard, const struct checkpoint *c);
/* The newest good one. Return: 1; 0 there is none; -EPROTONOSUPPORT a newer format; -ENOMEM, -EIO. @ret_n_bad counts
 * damaged ones that were passed over. */
int checkpoint_load(struct io *io, const char *dir, uint64_t shard, struct checkpoint *ret, unsigned *ret_n_bad);
/* Only headers: the index of the newest good one, 0 where there is none. */
int checkpoint_newest(struct io *io, const char *dir, uint64_t shard, uint64_t *ret_index);
/* Removes all but the newest two, and what was left unfinished. */
int checkpoint_prune(struct io *io, const char *dir);
