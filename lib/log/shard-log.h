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
 *  I2  shard_log_durable_index(), on_durable() and whatever stands on disk name an index only after a
 *      sync that began when the entry had been written, and that succeeded. on_synced() does so too
 *      where sync_usec is 0; else it tells what is written.
 *  I3  A group write never leaves space that is zeroed and synced; after it, zeroes again up to
 *      there.
 *  I4  A header of a new file is written only after the footer of the file before is synced.
 *  I5  Nothing at or below the commit index, or the highest index named durable, is ever cut.
 *  I6  Segments are dropped oldest first, the folder synced after each, never the newest, and nothing
 *      above the commit index: what is left is dense.
 *  I7  After a failed write or sync nothing more is written: on_failed() once, then every call
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
        /* 0: a group write is reported once it is synced. Else it is reported when it is written, and
         * synced at the latest so long after; USEC_INFINITY: only when a segment is closed, or when
         * asked. A power cut may then take the end of the log that is not synced yet; a kill takes
         * nothing. */
        usec_t sync_usec;
        /* Produce entries do not take the free space of the file system below this, or below an
         * eighth of the file system where that is less; 0: they may take all of it. */
        uint64_t reserve_bytes;
        const struct tracer *tracer; /* borrows; may be NULL */
};

struct shard_log_events {
        /* All up to @index is on disk as far as sync_usec demands: it may be acknowledged. */
        void (*on_synced)(void *userdata, uint64_t index);
        /* All up to @durable_index is synced: a power cut does not take it. May be NULL. */
        void (*on_durable)(void *userdata, uint64_t durable_index);
        /* A segment was closed, its index file not yet written: whether it was asked for or full. May
         * be NULL. */
        void (*on_rolled)(void *userdata, uint64_t last_index);
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
        /* Of a log that is reported before it is synced: the last entry behind the cut that is known
         * to have been there, and may have been acknowledged; 0: none is. */
        uint64_t lost_index;
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
int64_t shard_log_last_time_ms(const struct shard_log *l);   /* append time of the last entry */
uint64_t shard_log_written_index(const struct shard_log *l); /* what on_synced() told last */
uint64_t shard_log_durable_index(const struct shard_log *l); /* truly synced */
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
 * term is older than the last; -ENOSPC the disk is full, or for a produce entry the reserve is
 * reached: it is tried again every second until on_drained(), what was appended before waits;
 * -EBADMSG the log's tail is damaged; -EIO the log has failed; -ENOMEM.
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

/**
 * shard_log_sync() - ask for a sync of all that on_synced() has told
 *
 * on_durable() follows; at once behind the group write that is under way.
 *
 * Return: 0; 1 it is synced already; -EIO the log has failed.
 */
int shard_log_sync(struct shard_log *l);
/* Takes effect from the next group write on. Where @sync_usec is 0, what is written and not synced is
 * synced now; on_durable() follows then. */
void shard_log_set_sync(struct shard_log *l, usec_t sync_usec);
/* See shard_log_config. Takes effect with the next step of zeroing ahead. */
void shard_log_set_reserve(struct shard_log *l, uint64_t reserve_bytes);

/**
 * shard_log_roll() - close the open segment once all that was appended so far is written
 *
 * on_rolled() follows with an index not below what is shard_log_last_index() now. A roll waits until
 * the next file is prepared; a truncation forgets it.
 *
 * Return: 0; 1 the open segment holds no entry, all are in closed ones; -EBUSY one was asked for and
 * is not done, or a truncation is under way; -ENOSPC there is no room for another file, or only in
 * the reserve; -EBADMSG the log's tail is damaged; -EIO the log has failed.
 */
int shard_log_roll(struct shard_log *l);

/* The files of the log, ascending; the last one is open. A damaged file may be missing among them. */
struct shard_log_segment {
        const char *path; /* borrows until the next event of the log */
        uint64_t first_index;
        uint64_t last_index;  /* first_index - 1: no entry */
        uint64_t n_bytes;     /* of the file */
        int64_t last_time_ms; /* append time of the last entry, here or before; 0: unknown */
        uint64_t generation;
        bool is_closed;
};
size_t shard_log_n_segments(const struct shard_log *l);
/* @i: below shard_log_n_segments(). */
void shard_log_segment(const struct shard_log *l, size_t i, struct shard_log_segment *ret);

/**
 * shard_log_drop() - unlink the oldest segments
 * @to_index: closed segments that end at or below this and at or below the commit index go. A
 *            checkpoint at or above it is synced; as the newest may turn out bad, better two are
 *
 * In the background, oldest first. shard_log_first_index() moves when it begins, mostly within this
 * call; readers that were made before go on. After a crash what was not unlinked yet is there again:
 * drop again. A drop that is under way is followed by this one.
 *
 * Return: 0; -EIO the log has failed.
 */
int shard_log_drop(struct shard_log *l, uint64_t to_index);

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
        uint32_t append_budget_bytes; /* what they may be */
        /* Produce entries that do not fit what is zeroed already are refused with -ENOSPC: only the
         * reserve is left … */
        bool is_below_reserve;
        /* … and all entries: the disk is full. */
        bool is_short_of_space;
        uint64_t free_bytes;       /* of the file system, when last looked; 0: not yet */
        uint64_t reserve_bytes;    /* that hold: see shard_log_config */
        usec_t sync_interval_usec; /* sync_usec as set */
        uint64_t unsynced_bytes;   /* of group writes that are written and not synced */
};
void shard_log_stats(const struct shard_log *l, struct shard_log_stats *ret);

/**
 * shard_log_replay() - read entries in order, at start-up
 * @from_index: first; @to_index: last, not behind the written index
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
