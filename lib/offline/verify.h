/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Reads every byte of a node's directory and says what is wrong: the checksums of node, hard state,
 * segments (headers, group writes, entries, batches, footers), checkpoints and index files; that
 * what must be zero is; and that they agree with each other: indices, terms, times and offsets go
 * on without a gap, an index file is that of its segment, a checkpoint says what the log says.
 *
 * Nothing is written, no lock is taken; a daemon may be at work. What it is just writing is looked
 * at again, and at the end is a note, as what an interrupted write left: a start cuts it.
 *
 * Fast because each byte is read once and checked once.
 */

#include "io/io.h"

struct verify_finding {
        bool is_damage; /* false: worth a word, nothing is lost */
        const char *path;
        uint64_t pos;
        uint64_t shard;
        uint64_t first_index; /* entries concerned; 0: none */
        uint64_t last_index;
        uint64_t partition_id; /* 0: none */
        uint64_t first_offset; /* messages concerned, where there is a partition */
        uint64_t last_offset;  /* UINT64_MAX: not known */
        const char *what;
};

/* Both borrow until return. */
struct verify_events {
        void (*on_finding)(void *userdata, const struct verify_finding *f);
        /* Now and then; return: whether to go on. May be NULL. */
        bool (*on_progress)(void *userdata, uint64_t n_bytes);
};

struct verify_sums {
        uint64_t n_files;
        uint64_t n_bytes;
        uint64_t n_entries;
        uint64_t n_batches;
        uint64_t n_messages;
        uint64_t n_damaged; /* findings that are damage */
        uint64_t n_notes;   /* and that are not */
};

/**
 * verify_directory() - read and check all of it
 *
 * Return: 0, also where there is damage: the findings and @ret say so; -ENOENT, -ENOTDIR it is not
 * a node's directory; -EPROTONOSUPPORT a newer format; -ECANCELED on_progress() said so; -ENOMEM;
 * -EACCES, … of the system.
 */
int verify_directory(struct io *io,
                     const char *path,
                     const struct verify_events *events,
                     void *userdata,
                     struct verify_sums *ret);

/* How many bytes there are to read, for on_progress(). Errors as above. */
int verify_measure(struct io *io, const char *path, uint64_t *ret_bytes);
