/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What shard-log.c (the writer) and reader.c share: nobody else includes this.
 *
 * All of it belongs to the loop. A reader takes a snapshot on the loop (references to segments,
 * copies of their last_index and end_pos, of the open segment's points) and works from that alone.
 *
 * What stands on disk, synced, is exactly: for each segment all up to its last_index and end_pos.
 * Groups that are gathered or being written are not in these numbers, nor in the builder.
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
        uint32_t salt;
        bool is_used; /* the segment there holds, or will hold, a group write */
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
        /* A roll comes first: close the old file, begin the new one. */
        struct segment *next; /* owns; NULL: no roll */
        struct index_builder *next_builder;
        struct io_file *old_file; /* borrows */
        struct segment_footer footer;
        uint32_t old_salt;
        struct segment_header header;
        char *next_path; /* owns */
        const char *dir; /* borrows */
};

/* Zeroing ahead: of the open file, or of the next one, which it makes first. It opens the file for
 * itself: the kernel tells of a failed write-back once per open file, and the group writes must not
 * miss it because zeroing was told. */
struct zero_job {
        struct io_job job;
        char *path; /* owns; NULL: idle */
        bool is_next;
        bool makes;           /* the file is not there yet */
        struct io_file *made; /* what run() made */
        uint64_t from_pos;
        uint64_t to_pos;
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
        struct segment *segment; /* shares */
        uint8_t *bytes;          /* owns */
        size_t n_bytes;
};

struct recovered;

struct truncate_job {
        struct io_job job;
        struct io_file *hardstate_file; /* borrows */
        struct hardstate hardstate;
        const char *dir; /* borrows */
        uint64_t shard;
        uint64_t last_index;
        struct recovered *recovered; /* what run() found afterwards; owns */
};

struct shard_log {
        struct io *io;
        struct shard_log_config config;
        const struct shard_log_events *events;
        void *userdata;

        /* On disk, synced. Ascending; the newest is open, all before it are closed. A damaged file
         * may be missing in between: then indices are. Never empty. */
        struct segment **segments;
        size_t n_segments;
        size_t n_segments_allocated;
        struct index_builder *builder; /* of the newest segment, up to its end_pos */
        uint64_t first_index;
        uint64_t durable_index;
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
        /* zeroing ahead got -ENOSPC: appends past the zeroed space get it too */
        bool is_short_of_space;
        bool is_space_wanted; /* an append got it since the last attempt */

        struct group_write write;
        struct zero_job zero;
        uint64_t zero_step_bytes;
        usec_t zero_usec;          /* when the last step began */
        struct io_file *next_file; /* prepared ahead under its own name; NULL: none */
        uint64_t next_zeroed_pos;
        struct list index_jobs;

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
        struct io_timer space_timer; /* the next attempt to zero ahead, after -ENOSPC */
        bool space_is_set;
        bool has_failed;

        struct entry_room room; /* to decode what was written */

        struct shard_log_stats stats;
};
