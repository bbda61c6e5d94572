/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The log of one shard: the face of lib/log. Appends go to a log writer that gathers them into
 * group writes: while one write and its sync are under way, the next group gathers. All calls are
 * from the loop; what blocks happens in jobs (io/io.h), but for shard_log_create(),
 * shard_log_open() and shard_log_replay(), which are for start-up.
 *
 * The file format, and which byte is checked where, is log/format.h. How a log is recovered and
 * truncated is log/recovery.h.
 *
 * Invariants
 *  I1  Indices are dense: an entry's index is the last index + 1.
 *  I2  on_synced() names an index only after a sync that began when the entry had been written, and
 *      that succeeded.
 *  I3  A group write never leaves space that is zeroed and synced; after it, zeroes again up to
 *      there.
 *  I4  A header of a new file is written only after the footer of the file before is synced.
 *  I5  Nothing at or below the commit index, or the highest index named durable, is ever cut.
 *  I6  After a failed write or sync nothing more is written: on_failed() once, then every call
 *      gives -EIO.
 */

#include "base/histogram.h"
#include "base/macro.h"
#include "base/trace.h"
#include "io/io.h"
#include "log/entry.h"

struct shard_log;
struct segment;

#define SEGMENT_BYTES_MIN (UINT64_C(1) << 20)
#define SEGMENT_BYTES_DEFAULT (UINT64_C(64) << 20)
#define SEGMENT_BYTES_METADATA (UINT64_C(8) << 20)
#define SEGMENT_BYTES_MAX (UINT64_C(1) << 30)
/* The log writer ends a group at this size and begins the next. */
#define GROUP_BYTES_DEFAULT (UINT32_C(1) << 20)
#define APPEND_BUDGET_BYTES_DEFAULT (UINT32_C(8) << 20)

struct shard_log_config {
        const char *dir; /* borrows until the log is freed */
        uint64_t shard;
        uint64_t segment_bytes;       /* a segment is closed when the next group would pass this */
        uint32_t group_bytes;         /* see GROUP_BYTES_DEFAULT */
        uint32_t append_budget_bytes; /* entries that wait for the log writer; past it -EAGAIN */
        const struct tracer *tracer;  /* borrows; may be NULL */
};

struct shard_log_events {
        /* All up to @durable_index is on disk. */
        void (*on_synced)(void *userdata, uint64_t durable_index);
        /* The hard state last given to shard_log_save_hardstate() is on disk, in both copies. */
        void (*on_hardstate_saved)(void *userdata);
        /* A truncation is done: the log ends at @last_index. */
        void (*on_truncated)(void *userdata, uint64_t last_index);
        /* There is room again after -EAGAIN or -ENOSPC. */
        void (*on_drained)(void *userdata);
        /* The disk lied, or there is no memory: what was being written may or may not be there. The
         * process must stop. Once; the only one that may be called from inside shard_log_append(),
         * _flush() and _truncate(). */
        void (*on_failed)(void *userdata, int error, const char *what);
};

/* What a start found; for the journal and for status. */
struct recovery_report {
        uint64_t first_index;
        uint64_t last_index;
        uint64_t n_entries_read; /* entries that the start itself read */
        uint64_t n_bytes_read;
        uint64_t
                /* an unfinished write was cut: the log ends before this index; 0: none */
                cut_index;
        uint64_t n_damaged_regions;   /* corruption that is kept, never served */
        uint64_t first_damaged_index; /* 0: none */
        uint64_t named_durable_index; /* the highest named durable by anything on disk */
        bool hardstate_repaired;
        bool intent_carried_out;
        bool tail_is_damaged; /* the next offset cannot be known: nothing may be appended */
};

/* Makes the files of a new, empty shard in the existing, empty folder @dir, all synced. For
 * log/datadir.h. */
int shard_log_create(struct io *io, const char *dir, uint64_t shard);

/**
 * shard_log_open() - recover and open
 * @config: borrows until return, but for what it says
 * @events: borrows until shard_log_free()
 *
 * Syncs the newest file and reads it past the page cache, carries out an intent, cuts what did not
 * finish (log/recovery.h). Blocks: start-up only.
 *
 * Return: 0; -EBADMSG own metadata is bad in both copies, or missing (the node stops, nothing is
 * deleted); -EPROTONOSUPPORT a newer format; -ENOSPC, -EIO, … of the disk.
 */
int shard_log_open(struct io *io,
                   const struct shard_log_config *config,
                   const struct shard_log_events *events,
                   void *userdata,
                   struct shard_log **ret,
                   struct recovery_report *ret_report);
/* Ends jobs under way (waits for them) and frees; entries not yet synced may or may not be on disk.
 * NULL is fine. */
struct shard_log *shard_log_free(struct shard_log *l);
DEFINE_CLEANUP(struct shard_log *, shard_log_free)

uint64_t shard_log_first_index(const struct shard_log *l);
uint64_t shard_log_last_index(const struct shard_log *l); /* appended, perhaps not on disk */
uint64_t shard_log_last_term(const struct shard_log *l);
int64_t shard_log_last_time_ms(const struct shard_log *l); /* append time of the last entry */
uint64_t shard_log_durable_index(const struct shard_log *l);
uint64_t
shard_log_commit_index(const struct shard_log *l);  /* last given, or at the start found on disk */
uint64_t shard_log_term(const struct shard_log *l); /* of the hard state */
uint64_t shard_log_vote(const struct shard_log *l);

/**
 * shard_log_append() - hand one entry to the log writer
 * @e: index is the last index + 1; borrows until return: its bytes are copied
 *
 * Returns before anything is on disk: durable once on_synced() reports its index or a later one.
 * Nothing is written before shard_log_flush() or until a group is full.
 *
 * Return: 0; -EAGAIN over budget, or a truncation is under way: wait for on_drained() or
 * on_truncated(); -EMSGSIZE larger than ENTRY_BYTES_MAX; -ESTALE the index is not the next, or the
 * term is older than the last; -ENOSPC the disk is full: it is tried again every second until
 * on_drained(), what was appended before waits; -EBADMSG the log's tail is damaged; -EIO the log
 * has failed; -ENOMEM.
 */
int shard_log_append(struct shard_log *l, const struct entry *e);
/* Starts a group write of what has gathered, unless one is under way (then it follows that one). */
void shard_log_flush(struct shard_log *l);
/* What is known to be committed; goes into the next group's header. Never goes back. */
void shard_log_set_commit(struct shard_log *l, uint64_t commit_index);

/* Writes term and vote, both copies, each synced, then on_hardstate_saved(); behind a truncation
 * under way. One at a time.
 * Return: 0; -EBUSY; -EIO. */
int shard_log_save_hardstate(struct shard_log *l, uint64_t term, uint64_t vote);

/**
 * shard_log_truncate() - drop all behind an index, by intent (log/recovery.h)
 * @last_index: stays; not below the commit index
 *
 * Waits for the group write under way, forgets what gathered, then on_truncated(). Appends give
 * -EAGAIN meanwhile.
 * Return: 0; -EINVAL below the commit index, or behind the last; -EBUSY one is under way; -EIO.
 */
int shard_log_truncate(struct shard_log *l, uint64_t last_index);

/* For status and metrics. */
struct shard_log_stats {
        uint64_t n_segments;
        uint64_t n_bytes;  /* of all files, as long as they are */
        uint64_t n_groups; /* group writes since the start */
        uint64_t n_syncs;  /* of group writes */
        uint64_t n_group_entries;
        uint64_t bytes_since_open; /* of group writes, padding included */
        usec_t last_sync_usec;
        struct histogram sync_usec; /* of each group write: from its start until it is synced */
        size_t pending_bytes;
        /* Appends that do not fit what is zeroed already are refused with -ENOSPC. */
        bool is_short_of_space;
};
void shard_log_stats(const struct shard_log *l, struct shard_log_stats *ret);

/**
 * shard_log_replay() - read entries in order, at start-up
 * @from_index: first; @to_index: last, not behind the durable index
 * @apply: called for each entry, which it borrows; a negative result ends the replay and is
 *         returned
 *
 * Damaged entries are handed over as far as their headers are good; where they are not, the replay
 * steps over them and @apply sees a gap in the indices.
 */
int shard_log_replay(struct shard_log *l,
                     uint64_t from_index,
                     uint64_t to_index,
                     int (*apply)(void *userdata, const struct entry *e),
                     void *userdata);
