/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A window on a segment file that moves forward, for who judges what is in it: recovery.c and
 * truncate.c. Private to lib/log; all of it blocks.
 *
 * It reads past the page cache, but for what the last group header that the cache shows names as
 * durable: that was synced. A page that cannot be read is given as 0xff bytes: it counts as damaged,
 * never as zero.
 */

#include "base/macro.h"
#include "io/io.h"
#include "log/segment.h"

struct window {
        struct io_file *file;   /* past the page cache */
        struct io_file *cached; /* through it, below direct_pos */
        uint64_t direct_pos;    /* a whole page */
        uint64_t size;          /* of the file, in whole sectors */
        uint8_t *memory;
        uint8_t *data; /* in it, aligned; whole pages */
        size_t n_allocated;
        uint64_t pos;
        size_t n;
        uint64_t n_bytes_read;
};

/* @w: zero-initialised. All is read past the cache until window_find_synced(). */
int window_open(struct window *w, struct io *io, const char *path);
void window_done(struct window *w);
/* @file: open to be read through the cache; shares. Where nothing is cached all is read past it.
 *         Return: 0; -ENOMEM. */
int window_find_synced(struct window *w, struct io_file *file, uint32_t salt);
/* Borrows until the next call. The caller has checked that [pos, pos + n) lies in the file. */
int window_get(struct window *w, uint64_t pos, size_t n, const uint8_t **ret);

/* What stands in one sector where a group could begin. */
enum place {
        PLACE_ZERO,
        PLACE_GROUP,
        PLACE_FOOTER,
        PLACE_OTHER,
};

/* @ret_group, @ret_footer: written where it is one. */
int window_look_at(struct window *w,
                   uint64_t pos,
                   uint32_t salt,
                   enum place *ret_place,
                   struct group_header *ret_group,
                   struct segment_footer *ret_footer);

/* Where the last byte ends that the page cache holds of a range and that is not zero; @from_pos:
 * there is none. */
int window_find_cached_end(struct io_file *file,
                           uint64_t from_pos,
                           uint64_t to_pos,
                           uint64_t *ret_end);

/* Zeroes behind a cut and syncs: no old byte may come back when something shorter is written
 * there. */
int zero_behind(struct io_file *file, uint64_t from_pos, uint64_t to_pos);
