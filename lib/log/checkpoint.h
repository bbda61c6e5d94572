/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Checkpoints of a shard's state machine: "the state at this very index", as bytes that lib/state
 * makes and reads. The format is in log/format.h, "Checkpoint".
 *
 * One is written whole under a temporary name, synced, renamed in, the folder synced: so a name
 * that looks like a checkpoint's is one, unless the disk damaged it. One that is damaged, or cannot
 * be read, is passed over for the one before it, therefore two are kept; what follows it is
 * replayed from the log.
 *
 * One writer at a time; readers may run beside it. All of it blocks: jobs and start-up only.
 */

#include "base/macro.h"
#include "io/io.h"

struct checkpoint {
        uint64_t index; /* the state after this entry; > 0 */
        uint64_t term;
        int64_t append_time_ms;
        uint8_t *body; /* mem_free() */
        size_t body_bytes;
};

/* Frees the body; @c may be used again. */
void checkpoint_done(struct checkpoint *c);

/**
 * checkpoint_write() - write and sync a checkpoint
 * @dir: the shard's folder; borrows
 * @c: borrows
 *
 * A checkpoint of the same index is replaced. Nothing is pruned.
 *
 * Return: 0; -EIO, -ENOSPC, …: those before are still there; what is unfinished goes with the next
 * checkpoint_write() of this index or checkpoint_prune(). -ENOMEM.
 */
int checkpoint_write(struct io *io, const char *dir, uint64_t shard, const struct checkpoint *c);

/* Whether @name is that of a checkpoint, and of which index. */
bool checkpoint_name_parse(const char *name, uint64_t *ret_index);
/* The one in that file. Return: 0, new body; -EBADMSG; -EPROTONOSUPPORT; -ENOMEM; what the disk
 * says. */
int checkpoint_read(
        struct io *io, const char *path, uint64_t shard, uint64_t index, struct checkpoint *ret);

/**
 * checkpoint_load() - the newest good one
 * @ret: new body: checkpoint_done(); untouched unless 1 is returned
 * @ret_n_bad: how many damaged ones were passed over, newer than what is returned (all of them,
 *         after 0); may be NULL
 *
 * Return: 1; 0 there is none; -EPROTONOSUPPORT a newer format: the node must not start from an
 * older one; -ENOMEM; what else the disk says.
 */
int checkpoint_load(struct io *io,
                    const char *dir,
                    uint64_t shard,
                    struct checkpoint *ret,
                    unsigned *ret_n_bad);

/* The index of the newest one, going by headers and sizes alone; 0: there is none. Errors as
 * checkpoint_load(). */
int checkpoint_newest(struct io *io, const char *dir, uint64_t shard, uint64_t *ret_index);

/* Removes all that are older than the newest two with a good header, and what was left unfinished.
 * Syncs nothing: what comes back after a crash goes with the next call. Errors as
 * checkpoint_load(). */
int checkpoint_prune(struct io *io, const char *dir);
