/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Snapshots that the node holds: folders of hard links to closed segments, their index files and
 * checkpoints, with a table of contents (snapshot/manifest.h). For snapshot.c and snapshot-read.c.
 *
 *     DIR/snapshots/NAME/drmq-snapshot
 *     DIR/snapshots/NAME/shard-1/00000000000000000001.log …
 */

#include "base/buf.h"
#include "base/list.h"
#include "drmqd/core/core.h"
#include "snapshot/manifest.h"

#define SNAPSHOT_CHUNK_BYTES (UINT32_C(2) << 20)

struct snapshot {
        struct list link; /* by name */
        char *name;
        struct manifest *contents; /* NULL: it cannot be read */
        usec_t used_usec;          /* made, found or read last: for temporary ones */
        bool is_going;             /* is being deleted: nobody finds it any more */
};

struct snapshots {
        struct broker *broker;
        char *dir;     /* "DIR/snapshots" */
        bool has_home; /* dir is there, and its name synced */
        size_t n_held;
        struct list held;
        struct snapshot_making *making; /* one at a time */
        struct list removals;
        uint64_t n_removals; /* ever: names what is being removed */
        struct io_timer expiry;
        /* snapshot-read.c */
        struct list reads;   /* under way */
        struct list waiting; /* oldest first */
        size_t n_waiting;
};

/* NULL: there is none of that name. */
struct snapshot *snapshot_find(struct snapshots *s, const char *name);
/* Cancels what reads are under way. */
void snapshot_reads_free_all(struct snapshots *s);
