/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The log of one shard, read by who does not own it: without the lock, while a daemon may append,
 * roll, cut, drop and rename. Nothing is written.
 *
 *     r = offline_log_open(io, "data/shard-1", 1, &l);
 *     for (;;) {
 *             while ((r = offline_log_next(l, offline_log_commit_index(l), &e)) != 0) …
 *             …wait…
 *             r = offline_log_refresh(l);
 *     }
 *
 * What is there was found by the last refresh: group writes of the newest file that are whole, and
 * all of the files before it. The commit index is the highest that a header, footer or checkpoint
 * names; a live log names it at the latest 10 ms after the last write.
 *
 * Files are opened one at a time and held, so one that is dropped or replaced meanwhile is read to
 * its end. One that has gone between being listed and being opened is looked for again.
 *
 * Invariants
 *  I1  Entries are handed out in ascending order, each once.
 *  I2  Where indices are left out, -EBADMSG has been returned before the entry behind them.
 *  I3  No entry is handed out whose checksum is wrong, and none of a group write that is not whole
 *      and has nothing behind it.
 *
 * Everything blocks.
 */

#include "io/io.h"
#include "log/entry.h"

struct offline_log;

/* What is not there: entries @first_index..@last_index. */
struct offline_damage {
        uint64_t first_index;
        uint64_t last_index;
        const char *path; /* of the file that has it; NULL: there is none any more. Borrows until
                           * the next call */
        uint64_t pos;     /* in the file; 0: its header */
        bool is_dropped;  /* no damage: the log begins behind it */
};

/* Return: 0; -ENOENT there is no such folder, or no segment in it; -EPROTONOSUPPORT a newer format;
 * -EACCES, -ENOMEM, … of the system. */
int offline_log_open(struct io *io, const char *dir, uint64_t shard, struct offline_log **ret);
struct offline_log *offline_log_free(struct offline_log *l);
DEFINE_CLEANUP(struct offline_log *, offline_log_free)

/* Looks for what was written since. Return: 1 there is more, or the commit index moved; 0; errors
 * as above. */
int offline_log_refresh(struct offline_log *l);

uint64_t offline_log_first_index(const struct offline_log *l); /* of the first file that is there */
/* The last in a group write that is whole, or named as committed. */
uint64_t offline_log_last_index(const struct offline_log *l);
uint64_t offline_log_commit_index(const struct offline_log *l);

/* Goes to an entry: the next one handed out is @index or behind it. */
void offline_log_seek(struct offline_log *l, uint64_t index);
/* The lowest index from which on nothing can be missed of what was appended at or behind a time, or
 * of a partition from an offset on; goes by footers and index files alone. Return: 0; -ENOMEM. */
int offline_log_find_time(struct offline_log *l, int64_t time_ms, uint64_t *ret_index);
int offline_log_find_offset(struct offline_log *l,
                            uint64_t partition_id,
                            uint64_t offset,
                            uint64_t *ret_index);

/**
 * offline_log_next() - the next entry
 * @limit_index: nothing behind it is handed out
 * @ret: borrows until the next call; its own checksum is right, its batches' have not been looked
 *         at
 *
 * Return: 1; 0 no more for now; -EBADMSG entries are damaged or gone: offline_log_damage() tells
 * which, the next call goes on behind them; -ENOMEM, -EIO, … of the system.
 */
int offline_log_next(struct offline_log *l, uint64_t limit_index, struct entry *ret);
void offline_log_damage(const struct offline_log *l, struct offline_damage *ret);
/* Where the last entry handed out stands. */
const char *offline_log_path(const struct offline_log *l);
uint64_t offline_log_pos(const struct offline_log *l);
