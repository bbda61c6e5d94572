/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The index of one segment: partition -> (offset, append time, position of the entry). While a segment is open its
 * index is in memory (struct index_builder, on the loop); when it is closed the index is written beside it, sorted, and
 * searched there by reading (struct index_file). It can always be rebuilt from the segment: missing or bad is never
 * an error to a user, only work.
 */

#include "base/macro.h"
#include "io/io.h"
#include "log/entry.h"

struct segment;

struct index_point {
        uint64_t offset;
        int64_t append_time_ms;
        uint64_t pos;
};

struct index_builder;

int index_builder_new(struct index_builder **ret);
struct index_builder *index_builder_free(struct index_builder *b);
DEFINE_CLEANUP(struct index_builder *, index_builder_free)
/* Notes the slices of @e, which stands at @pos. Return: 0; -ENOMEM (nothing noted: the index is incomplete and must be
 * rebuilt before use). */
int index_builder_add(struct index_builder *b, const struct entry *e, uint64_t pos);
/* The points of a partition: the last at or before @offset and those behind it, at most @n_max. Borrows until the next
 * add. Return: how many. */
size_t index_builder_points(const struct index_builder *b,
                            uint64_t partition_id,
                            uint64_t offset,
                            size_t n_max,
                            const struct index_point **ret);
/* The points from the last one appended before @time_ms on. */
size_t index_builder_points_by_time(const struct index_builder *b,
                                    uint64_t partition_id,
                                    int64_t time_ms,
                                    size_t n_max,
                                    const struct index_point **ret);
/* Takes back all at or behind @pos (a truncation). */
void index_builder_cut(struct index_builder *b, uint64_t pos);
/* Encodes the file's bytes; returns new memory (mem_free). @end_pos: of the segment. */
int index_builder_encode(const struct index_builder *b,
                         const struct segment *s,
                         uint8_t **ret,
                         size_t *ret_n);

/* In a job: writes the index beside a closed segment (temporary name, sync, rename). */
int index_write(struct io *io, const struct segment *s, const uint8_t *bytes, size_t n);
/* In a job: reads the whole segment and writes its index anew. */
int index_rebuild(struct io *io, const struct segment *s);

/* In a job or with IO_READ_NOWAIT on the loop: looks points up in the file beside a closed segment. @by_time: @key is a
 * time, else an offset. Return: how many points (new array in @ret, mem_free; @ret_last: no batch of the partition
 * follows the last of them in this segment); 0 the partition is not in it, or ends before; -EBADMSG, -ENOENT rebuild it;
 * -EAGAIN. */
int index_lookup(struct io *io,
                 const struct segment *s,
                 uint64_t partition_id,
                 bool by_time,
                 uint64_t key,
                 size_t n_max,
                 unsigned read_flags,
                 struct index_point **ret);
