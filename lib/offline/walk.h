/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * All good entries of a shard's files, wherever they stand: behind damage, behind the end, in a
 * file whose header is bad as long as its salt can be guessed. For who rescues or counts what is
 * lost, not for who reads a log that is in order; nobody else writes to the files meanwhile.
 *
 * Only the entries' own checksums are looked at, not their batches'.
 */

#include "io/io.h"
#include "log/entry.h"

struct walk;

int walk_new(
        struct io *io, const char *dir, uint64_t shard, uint64_t from_index, struct walk **ret);
struct walk *walk_free(struct walk *w);
DEFINE_CLEANUP(struct walk *, walk_free)

/* Return: 1 @ret, which borrows until the next call; 0 the end; -ENOMEM, … of the system. */
int walk_next(struct walk *w, struct entry *ret);
/* Of the entry that was given last (of the end, after 0): whether something that is not zero and not good stands before
 * it, behind the one before it; and how many bytes at most. */
bool walk_follows_bad(const struct walk *w, uint64_t *ret_n_bytes);
/* Whether the files go back to the very first entry. */
bool walk_begins_at_first(const struct walk *w);
/* Whether entries were given of a file that others cannot read, for its header is bad. */
bool walk_has_guessed(const struct walk *w);
