/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What shard-log.c (the writer), zero-ahead.c, drop.c and reader.c share: nobody else includes this.
 *
 * All of it belongs to the loop. A reader takes a snapshot on the loop (references to segments,
 * copies of their last_index and end_pos, of the open segment's points) and works from that alone.
 *
 * What is written is exactly: for each segment all up to its last_index and end_pos; of that, all up
 * to durable_index is synced. Groups that are gathered or being written are not in these numbers, nor
 * in the builder.
 */

#include "base/list.h"
#include "base/trace.h"
#include "io/io.h"
#include "log/hardstate.h"
#include "log/index.h"
#include "log/segment.h"
#include "log/shard-log.h"

/* The end of what is planned: where the next group goes, once all that has gathered is written. */
struct log_plan {
        uint64_t pos;
        uint64_t first_index; /* of the segment there */
        uint32_t salt;
        bool is_used; /* it holds, or will hold, a group write */
};

/* One group write, from the first entry that gathers in it until it is synced. */
struct group {
        struct list link;
        uint8_t *memory;    /* what was allocated */
        uint8_t *data;      /* in it, aligned: GROUP_HEADER_BYTES of room, then the entries */
        size_t n_allocated; /* of data */
        size_t size;        /* header and entries so far */
        uint64_t first_index;
        uint64_t last_index; /* first_index - 1: no entry */
        uint64_t last_term;
        int64_t last_time_ms;
        uint64_t n_entries;
        uint64_t pos;                 /* where it goes */
        bool rolls;                   /* it is the first of a new segment … */
        struct segment_header header; /* … which begins with this */
};

/* The group write under way. run() touches nothing else. */
struct group_write {
        struct io_job job;
        struct io_file *file; /* borrows */
        const uint8_t *data;  /* borrows */
        size_t n_bytes;
        uint64_t pos;
        usec_t begun_usec;
        uint64_t named_durable_index;
        uint64_t named_commit_index;
        bool syncs; /* this file, once it is written */
        /* A roll comes first: close the old file, begin the new one. */
        struct segment *next; /* owns; NULL: no roll */
        struct index_builder *next_builder;
        struct io_file *old_file; /* borrows */
        bool syncs_old;           /* before its footer: not all that it names is synced */
        struct segment_footer footer;
        uint32_t old_salt;
        struct segment_header header;
        char *next_path; /* owns */
        const char *dir; /* borrows */
};

/* A sync without a write, where writes are reported before they are synced. */
struct sync_job {
        struct io_job job;
        struct io_file *file; /* borrows */
        uint64_t to_index;    /* all up to here was written before it was submitted */
        uint64_t to_term;
        usec_t begun_usec;
};

/* Zeroing ahead: of the open file, or of the next one, which it makes first. It opens the file for
 * itself: the kernel tells of a failed write-back once per open file, and the group writes must not
 * miss it because zeroing was told. */
struct zero_job {
        struct io_job job;
        const char *dir; /* borrows */
        char *path;      /* owns; NULL: idle */
        bool gives_back; /* it unlinks the next file, no more */
        bool is_next;
        bool makes;           /* the file is not there yet */
        struct io_file *made; /* what run() made */
        uint64_t from_pos;
        uint64_t to_pos;
        bool may_use_reserve;
        bool is_retry; /* space was short */
        uint64_t reserve_bytes;
        uint64_t wanted_bytes; /* of an entry that was refused */
        /* What run() found out. */
        bool is_refused;
        uint64_t free_bytes;
        uint64_t total_bytes; /* 0: nothing */
};

/* Unlinking the oldest segments (drop.c). */
struct drop_job {
        struct io_job job;
        const char *dir; /* borrows */
        uint64_t to_index;
};

struct hardstate_job {
        struct io_job job;
        struct io_file *file; /* borrows */
        struct hardstate hardstate;
};

struct index_job {
        struct list link;
        struct io_job job;
        struct shard_log *log;
        struct segment *segment;       /* shares */
        struct index_builder *builder; /* owns; neither the loop nor the job changes it any more */
};

struct recovered;

struct truncate_job {
        struct io_job job;
        struct io_file *hardstate_file; /* borrows */
        struct hardstate hardstate;
        struct io_file *unsynced_file; /* borrows; NULL: all is synced */
        const char *dir;               /* borrows */
        uint64_t shard;
        uint64_t last_index;
        struct recovered *recovered; /* what run() found afterwards; owns */
};

struct shard_log {
        struct io *io;
        struct shard_log_config config;
        const struct shard_log_events *events;
        void *userdata;

        /* Ascending; the newest is open, all before it are closed. A damaged file
         * may be missing in between: then indices are. Never empty. */
        struct segment **segments;
        size_t n_segments;
        size_t n_segments_allocated;
        struct index_builder *builder; /* of the newest segment, up to its end_pos */
        uint64_t first_index;
        uint64_t written_index; /* what readers see, and on_synced() told */
        uint64_t written_term;
        uint64_t durable_index; /* synced */
        uint64_t durable_term;
        uint64_t commit_index;
        bool tail_is_damaged;

        /* Appended, perhaps not on disk. */
        uint64_t last_index;
        uint64_t last_term;
        int64_t last_time_ms;
        struct log_plan plan;
        struct list groups; /* struct group: full ones, oldest first; the last one still gathers */
        struct group *writing; /* the one being written, taken off the list */
        struct group *spare;   /* memory for the next; NULL: none */
        unsigned n_rolls;      /* groups, the one being written too, that begin a segment */
        size_t pending_bytes;  /* of entries in groups and writing */
        bool is_over_budget;   /* an append got -EAGAIN: on_drained() is owed */
        uint64_t roll_index;   /* a roll was asked for when this was the last; 0: none was */

        struct group_write write;
        struct sync_job sync;
        bool sync_is_due;     /* by time, or asked for: with the next group write, or for itself */
        usec_t unsynced_usec; /* when the oldest write above durable_index began */
        uint64_t unsynced_bytes;
        struct io_timer sync_timer;

        struct zero_job zero;
        uint64_t zero_step_bytes;
        usec_t zero_usec;          /* when the last step began */
        struct io_file *next_file; /* prepared ahead under its own name; NULL: none */
        uint64_t next_zeroed_pos;
        bool is_below_reserve;  /* produce entries past the zeroed space get -ENOSPC */
        bool is_short_of_space; /* all do; is_below_reserve too */
        uint64_t wanted_bytes;  /* the largest entry that got it since there was space */
        uint64_t free_bytes;
        uint64_t total_bytes;        /* 0: never looked */
        struct io_timer space_timer; /* the next attempt to zero ahead, after -ENOSPC */
        bool space_is_set;

        struct list index_jobs;
        struct drop_job drop;
        uint64_t drop_index; /* drop up to here; 0: nothing is asked for */

        struct io_file *hardstate_file;
        struct hardstate hardstate; /* on disk */
        struct hardstate_job save;
        bool save_is_pending; /* waits for a truncation */

        struct truncate_job truncate;
        bool truncate_is_pending; /* waits for jobs under way, then runs; cleared by its end */

        uint64_t named_durable_index; /* what the last header on disk names */
        uint64_t named_commit_index;
        struct io_timer idle_timer; /* the group write that names what no header names yet */
        bool idle_is_set;
        bool has_failed;

        struct entry_room room; /* to decode what was written */

        struct shard_log_stats stats;
};

static inline uint64_t group_end(const struct group *g) {
        return g->pos + group_padded_bytes(g->size);
}

/* The newest segment; NULL: no file is good. */
static inline struct segment *shard_log_newest(const struct shard_log *l) {
        return l->n_segments > 0 ? l->segments[l->n_segments - 1] : NULL;
}

/* Ends all: on_failed(), once. */
void shard_log_fail(struct shard_log *l, int error, const char *what);
/* Starts whatever can be started: called whenever something ended or was asked for. */
void shard_log_try_start(struct shard_log *l);

/* zero-ahead.c */
void zero_init(struct shard_log *l);
void zero_done(struct zero_job *z);
void zero_ahead(struct shard_log *l);
/* Of the reserve that is set, what holds for a file system of this size. */
uint64_t zero_reserve(const struct shard_log *l);

/* drop.c: starts a drop that is asked for, where it can run. */
void drop_init(struct shard_log *l);
void drop_start(struct shard_log *l);
