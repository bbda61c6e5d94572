/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A shard that has lost what its next index and offsets would be takes no messages (recovery.h,
 * "A tail that is damaged"). Where there is nobody to ask, a person accepts the loss; then this
 * finds next numbers that were certainly never given, and writes down that they count from there.
 * Nothing is cut and nothing is overwritten: what is good stays and is served, what is bad stays
 * and is refused.
 *
 * Each step is synced before the next, and a start after a crash between two of them finds the
 * shard either as before or done; doing it again ends at the same:
 *
 *  1. The damaged newest file gets a footer behind all that is in it: it names, as last index, one
 *     above all that can have been given.
 *  2. A new file follows it. (Where only the state is not known, and the end is good, nothing of
 *     both.)
 *  3. A record of the loss is appended (ADMIN_LOSS of state/state.h), and for each partition whose
 *     end is not known empty batches over the offsets that can have been given, so that readers
 *     find no gap.
 *  4. A checkpoint of all that is good, up to the index in front of that record. Only it lets a
 *     start pass the gap.
 *
 * How far numbers can have been given: no lower than any good header, footer, index file,
 * checkpoint or batch names; for bytes that nobody can read, as many entries as would fit, and as
 * many messages as batches that would fit can hold (ACCEPT_MESSAGES_MAX each).
 *
 * Producers are known on as far as their batches are good: one that had later ones is told that its
 * sequence is not the next, and goes on under a new id. Where even what the checkpoint knew is
 * lost, all are forgotten, so that none is told that a lost batch is there.
 */

#include "io/io.h"

/* More than a batch of 8 MiB, however compressed, can hold (7 bytes a message). */
#define ACCEPT_MESSAGES_MAX (UINT64_C(1) << 21)

struct accept_loss;

/* A partition whose end is not known. */
struct accept_partition {
        uint64_t id;
        uint64_t first_lost_offset; /* behind the last one that is good, or that anything names */
        uint64_t next_offset;       /* what the next message gets */
};

struct accept_shard {
        uint64_t number;
        bool is_needed;            /* else nothing is lost that hides the next numbers */
        uint64_t first_lost_index; /* the first that is not good */
        uint64_t last_lost_index;
        uint64_t n_lost_entries; /* of those known to have been there: at least */
        uint64_t n_bad_bytes;
        bool forgets_producers;
        struct accept_partition *partitions;
        size_t n_partitions;
};

/**
 * accept_loss_new() - take the directory and find out what is lost
 * @path: of a node that is stopped
 *
 * As a start does: takes the lock, carries out what was begun, cuts what did not finish.
 *
 * Return: 0; -EBUSY a daemon has it; -EBADMSG what no loss can be accepted of (node, hard state);
 * and the other errors of datadir_open() and shard_log_open(). @reterr_what (mem_free) says it in
 * words, where there is more to say.
 */
int accept_loss_new(struct io *io, const char *path, struct accept_loss **ret, char **reterr_what);
struct accept_loss *accept_loss_free(struct accept_loss *a);
DEFINE_CLEANUP(struct accept_loss *, accept_loss_free)

/* Borrows. */
const struct accept_shard *accept_loss_shards(const struct accept_loss *a, size_t *ret_n);

/* Carries it out for all shards that need it. Return: how many; -EIO, -ENOSPC, -ENOMEM, …: it may
 * be begun again. */
int accept_loss_run(struct accept_loss *a);
