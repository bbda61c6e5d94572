/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The index of one segment: partition -> points (offset, append time, position of the entry). While
 * a segment is open its index is in memory (struct index_builder, on the loop); when it is closed
 * the index is written beside it, sorted, and searched there by reading (struct index_file). It can
 * always be rebuilt from the segment: missing or bad is never an error to a user, only work.
 *
 * A slice has a point if its entry begins INDEX_DISTANCE_BYTES or more behind the partition's last
 * point in this segment; so the first one of each partition always has. What follows from that for
 * who reads:
 *
 *  - a partition without points is not in the segment;
 *  - a slice without a point of its own begins less than INDEX_DISTANCE_BYTES behind the last point
 *    at or before it.
 *
 * Points are hints: the reader verifies the entry that it finds, and a point that leads to no entry
 * with that very slice means that the index is bad.
 */

#include "base/macro.h"
#include "io/io.h"
#include "log/entry.h"

struct segment;

#define INDEX_DISTANCE_BYTES (UINT64_C(16) << 10)
/* A file up to this size is read whole, and its checksum verified, at each look. */
#define INDEX_LOADED_BYTES_MAX (UINT64_C(64) << 10)

struct index_point {
        uint64_t offset; /* base offset of the batch */
        int64_t append_time_ms;
        uint64_t pos; /* of the entry, in the segment */
};

/* What a search is for. Of the points it wants the last one that cannot be behind what is looked
 * for, and those that follow. */
enum index_key {
        INDEX_KEY_OFFSET, /* the batch that holds an offset: from the last point at or before it */
        /* the first batch appended at or after a time: from the last point before it */
        INDEX_KEY_TIME,
};

/* ---- In memory, growing ---- */

struct index_builder;

int index_builder_new(struct index_builder **ret);
struct index_builder *index_builder_free(struct index_builder *b);
DEFINE_CLEANUP(struct index_builder *, index_builder_free)

/**
 * index_builder_add() - note the slices of an entry
 * @e: borrows until return; entries without slices are fine
 * @pos: where it stands; not before the entry added last
 *
 * Return: 0; -ENOMEM nothing is noted: the index is incomplete and must be rebuilt before use, or
 * the entry added again.
 */
int index_builder_add(struct index_builder *b, const struct entry *e, uint64_t pos);

/**
 * index_builder_points() - the points of a partition from a key on
 * @key: an offset, or a time as uint64_t
 * @n_max: no more than these
 * @ret: borrows until the next change; untouched after 0
 *
 * Where no point is at or before the key: from the partition's first on. Return: how many; 0 the
 * partition is not here.
 */
size_t index_builder_points(const struct index_builder *b,
                            uint64_t partition_id,
                            enum index_key what,
                            uint64_t key,
                            size_t n_max,
                            const struct index_point **ret);
/* Takes back all at or behind @pos (a truncation). What the encoded file says of a partition's last
 * offset and time may be too high from then on, until the next add. */
void index_builder_cut(struct index_builder *b, uint64_t pos);
/* Return: how many. */
uint64_t index_builder_n_points(const struct index_builder *b);
uint32_t index_builder_n_partitions(const struct index_builder *b);
/* The file's bytes for @s, which is closed; returns new memory (mem_free). Return: 0; -ENOMEM. */
int index_builder_encode(const struct index_builder *b,
                         const struct segment *s,
                         uint8_t **ret,
                         size_t *ret_n);

/* ---- Beside a closed segment ---- */

/**
 * index_write() - put an index beside its segment
 * @s: borrows; only what never changes in it is looked at
 *
 * Blocks: jobs and start-up. Temporary name (".idx.new"), sync, rename; the folder is not synced,
 * as the file can be rebuilt. A temporary name that is there is what a crash left, and goes, or
 * somebody else's who is writing the same bytes: then one of the two succeeds.
 *
 * Return: 0; -EEXIST somebody else was at it and came first; -ENOENT the segment was dropped; -ENOSPC, -EIO, …: there is none, or
 * the one before; -ENOMEM.
 */
int index_write(struct io *io, const struct segment *s, const uint8_t *bytes, size_t n);

/* Reads all of a closed segment. Damaged entries are stepped over. Blocks. Return: 0 and a new
 * builder; -ENOMEM. */
int index_build(const struct segment *s, struct index_builder **ret);

/* index_build() and index_write(). Blocks. */
int index_rebuild(struct io *io, const struct segment *s);

struct index_file;

/**
 * index_file_open() - the index beside a closed segment
 * @s: borrows until index_file_close(); only what never changes in it is looked at
 * @whole: verify the checksum of all of it, however large it is
 *
 * Blocks.
 *
 * Return: 0; -ENOENT, -EBADMSG rebuild it (a newer format, or an older file's index, counts as
 * bad); -ENOMEM; -EIO.
 */
int index_file_open(struct io *io, const struct segment *s, bool whole, struct index_file **ret);
/* The same over the file's bytes, of any size; borrows them until index_file_close(). Return: 0;
 * -EBADMSG; -ENOMEM. */
int index_file_open_bytes(const struct segment *s,
                          const uint8_t *bytes,
                          size_t n,
                          bool whole,
                          struct index_file **ret);
struct index_file *index_file_close(struct index_file *f);
DEFINE_CLEANUP(struct index_file *, index_file_close)
/* Whether the checksum of all of it has been verified: then nothing can be missing from it. */
bool index_file_is_verified(const struct index_file *f);

/* What the index says of one partition as a whole. */
struct index_partition {
        uint64_t id;
        uint64_t first_offset;
        uint64_t last_offset; /* of the last message */
        int64_t last_time_ms;
};

/* Return: how many. */
uint32_t index_file_n_partitions(const struct index_file *f);
/* Partition number @i of them, in the order of ids. To be trusted where the index is verified.
 * Return: 0; -EBADMSG rebuild it; -EIO. */
int index_file_partition(struct index_file *f, uint32_t i, struct index_partition *ret);

/**
 * index_file_points() - the points of a partition from a key on
 * @what, @key: as index_builder_points()
 * @n_max: room in @ret, > 0; the caller's array
 * @ret_first: the partition's first point, after a positive result; may be NULL
 * @ret_more: whether points follow the last of them; may be NULL
 *
 * Each point's place lies inside the segment, and they ascend; more is not promised. A few reads of
 * the file.
 *
 * Return: how many; 0 the partition is not in the segment; -EBADMSG rebuild it; -EIO.
 */
int index_file_points(struct index_file *f,
                      uint64_t partition_id,
                      enum index_key what,
                      uint64_t key,
                      size_t n_max,
                      struct index_point *ret,
                      struct index_point *ret_first,
                      bool *ret_more);
