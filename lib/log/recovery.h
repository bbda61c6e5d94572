/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a shard's folder holds, and how it is put in order: the start of a log, and truncation by
 * intent. All of it blocks: for start-up and for jobs of the shard's own queue, while no group
 * write is under way.
 *
 * What recovery_run() decides. Let D be the highest index that is named durable by any good group
 * header, footer or checkpoint, or by a later file's being there. A group header names all before it
 * where that was synced before it was written; a weak group (reported before it was synced:
 * shard_log_config.sync_usec) may be there without what stands before it, and its being there
 * proves nothing.
 *
 *   closed files       A good footer is trusted without reading the file. A missing or bad one, or
 *                      a missing file, is corruption.
 *   the newest file    is synced first: what a kill left readable but not on disk does not count
 *                      before. What its last header does not name as durable, itself too, is read
 *                      past the page cache: what a failed sync or write-back left marked as clean
 *                      is not on disk. What is before was synced, and is taken from the cache where
 *                      it is there.
 *   bad, at or below D is corruption: kept, reported, never cut.
 *   bad, above D       One group write at most can be unfinished, the last. Its header sector is
 *                      all zero, or more of its sectors are than its header counts: it is cut,
 *                      zeroed up to the end of the file, synced. Anything else was written whole,
 *                      so it may have been acknowledged: corruption.
 *   weak, above D      Of the groups that were not synced each sector may be there or not. The first
 *                      one that did not finish, as above, is cut with all that follows it, good or
 *                      not: what is left is what was synced, and more of the same without a hole.
 *                      The report and the journal say from where on, and as far as a header tells
 *                      up to where. What was written whole and is bad is corruption here too, and
 *                      does not end the log. A kill loses nothing: the page cache has it all, and
 *                      the start syncs it. Where a header that would go is the only one to name
 *                      bad bytes before it as durable, nothing is cut: they would be next.
 *   a hole             Behind bad bytes the next good group header is searched for on sector
 *                      boundaries. The salt and the rising index keep payload and old bytes from
 *                      passing for one.
 *
 * A tail that is damaged stays as it is, and nothing may be appended to it: what index and offsets
 * would come next is not known.
 *
 * A file that was closed last (a crash between its footer and the next header) gets its successor
 * here.
 *
 * Source: lib/README.md, "Recovery" and "Truncation"; tests/FAULTS.md.
 */

#include "base/macro.h"
#include "base/trace.h"
#include "io/io.h"
#include "log/index.h"
#include "log/segment.h"
#include "log/shard-log.h"

/* The first step of zeroing ahead: what a new file begins with. */
#define ZERO_STEP_BYTES_MIN (UINT64_C(1) << 20)
/* Names of files in the making; a start removes them. */
#define NEXT_FILE_NAME "next.new"
#define TRUNCATE_FILE_NAME "truncate.new"
#define HARDSTATE_FILE_NAME "hardstate"

struct recovered {
        struct segment **segments; /* ascending; a damaged file is missing among them */
        size_t n_segments;
        size_t n_allocated;
        struct index_builder *builder; /* of the newest */
        uint64_t first_index;
        uint64_t last_index; /* the last that any good header names: of a damaged tail too */
        uint64_t last_term;
        int64_t last_time_ms;
        uint64_t commit_index;        /* highest named, not above last_index */
        uint64_t named_durable_index; /* what the last header names */
        uint64_t named_commit_index;
        struct recovery_report report;
};

/**
 * recovery_run() - put the folder in order and find out what it holds
 * @tracer: may be NULL, and is in jobs
 *
 * Return: 0, corruption too: the report says so; -EBADMSG no segment is there at all;
 * -EPROTONOSUPPORT a newer format; -EIO, -ENOSPC, -ENOMEM, … and nothing was cut that may not be
 * cut again.
 */
int recovery_run(struct io *io,
                 const char *dir,
                 uint64_t shard,
                 const struct tracer *tracer,
                 struct recovered **ret);
struct recovered *recovered_free(struct recovered *r);
DEFINE_CLEANUP(struct recovered *, recovered_free)

/* Makes an open segment without entries, on disk with its name. A prepared file of another
 * beginning may be there. */
int recovery_create_segment(struct io *io,
                            const char *dir,
                            uint64_t shard,
                            uint64_t first_index,
                            uint64_t previous_term,
                            struct segment **ret);

/**
 * recovery_find_term() - the term of an entry
 * @index: 0: 0
 *
 * Return: 0; -ENOENT no good group holds it.
 */
int recovery_find_term(
        struct io *io, const char *dir, uint64_t shard, uint64_t index, uint64_t *ret_term);

/**
 * recovery_truncate() - drop all behind an index
 * @last_index: what stays; @term: its term
 *
 * Carries out an intent that is synced in hardstate; after a crash anywhere inside, calling it
 * again ends at the same. Files wholly behind the cut are unlinked, newest first. In an open file
 * the header of the group write that is cut is rewritten to what is left, and all behind is zeroed
 * and synced. A closed file, or one with other links, is replaced by a copy of its good front, of
 * the next generation, open again.
 *
 * Return: 0; -EIO, -ENOSPC, …: the intent stands.
 */
int recovery_truncate(
        struct io *io, const char *dir, uint64_t shard, uint64_t last_index, uint64_t term);
