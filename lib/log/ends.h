/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Where the partitions end in the oldest segments of a log: what retention must know before those
 * segments go. Made on the loop, run in a job, freed on the loop, as readers are (log/reader.h): it
 * holds the segments.
 *
 * It reads index files, whole and verified, and makes them anew from their segments where they are
 * missing or bad.
 */

#include "base/macro.h"
#include "io/io.h"

struct shard_log;
struct log_ends;

struct log_end {
        uint64_t partition_id;
        uint64_t next_offset; /* the last one in those segments + 1 */
};

/**
 * shard_log_ends() - prepare to look
 * @to_index: of the segments that are closed, those that end at or before it
 *
 * Return: 0; -ENOMEM.
 */
int shard_log_ends(struct shard_log *l, uint64_t to_index, struct log_ends **ret);
struct log_ends *log_ends_free(struct log_ends *e);
DEFINE_CLEANUP(struct log_ends *, log_ends_free)

/* Looks. Blocks. What is damaged in a segment is not seen: a partition may end later than is said.
 * Return: 0; -EIO; -ENOMEM; once. */
int log_ends_run(struct log_ends *e);
/* After it: each partition that has messages there, once, in the order of ids; borrows until
 * log_ends_free(). */
const struct log_end *log_ends_all(const struct log_ends *e, size_t *ret_n);
