/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One segment file and the coding of what stands in it (log/format.h).
 *
 * A struct segment is shared: the log and every reader hold a reference, so that a file that is
 * replaced or unlinked stays readable to who began before. All that changes in it (end_pos while it
 * is open) is changed on the loop; what jobs need they copy when they are made.
 */

#include "base/macro.h"
#include "io/io.h"
#include "log/format.h"

struct segment_header {
        uint64_t shard;
        uint64_t first_index;
        uint64_t generation;
        uint64_t previous_term;
        int64_t created_ms;
        uint32_t salt;
};

struct segment_footer {
        uint64_t last_index;
        uint64_t last_term;
        uint64_t commit_index;
        uint64_t n_entries;
        uint64_t pos;
        int64_t last_time_ms;
};

struct group_header {
        uint64_t first_index;
        uint64_t last_index; /* first_index - 1: an empty group */
        uint64_t last_term;
        uint64_t durable_index;
        uint64_t durable_term;
        uint64_t commit_index;
        uint32_t length_bytes;
        uint32_t n_zero_sectors;
        bool is_weak; /* reported before it was synced; what follows may be on disk without it */
};

struct segment {
        unsigned n_refs;
        struct io_file *file; /* shares */
        char *path;
        struct segment_header header;
        struct segment_footer footer; /* where is_closed */
        bool is_closed;
        uint64_t last_index; /* first_index - 1: no entry yet */
        uint64_t last_term;
        int64_t last_time_ms; /* append time of the last entry, here or before; 0: unknown */
        uint64_t n_entries;
        uint64_t end_pos; /* behind the last group write that is on disk whole */
        uint64_t
                /* up to here space is zeroed and synced: the size of the file (open only) */
                zeroed_pos;
};

/* "DIR/00000000000000000001" and @suffix (".log"); returns new string, NULL: no memory. */
char *segment_path(const char *dir, uint64_t first_index, const char *suffix);
/* Whether @name is that of a segment file, and of which first index. */
bool segment_name_parse(const char *name, uint64_t *ret_first_index);
/* The same of an index file, finished or not. */
bool index_name_parse(const char *name, uint64_t *ret_first_index);

/* The first indices of the segment files in a folder, ascending. Returns new array (mem_free); 0
 * elements too. */
int segment_list(struct io *io, const char *dir, uint64_t **ret, size_t *ret_n);

/* Random, never 0. */
uint32_t segment_new_salt(struct io *io);

/* Unlinks the file that begins with an index and the index beside it, as far as they are there; the
 * folder is not synced. Blocking. */
int segment_unlink(struct io *io, const char *dir, uint64_t first_index);

/* Returns new: shares @file, takes nothing else; open, without entries, ending behind its
 * header. */
int segment_new(struct io_file *file,
                const char *dir,
                const struct segment_header *header,
                struct segment **ret);

/**
 * segment_open() - open the file that begins with an index, and check its header block
 * @flags: IO_OPEN_…
 *
 * Blocking. Nothing behind the header block is read: what the file holds is not known yet.
 *
 * Return: 0; -EBADMSG the header is damaged, or is not that of this shard and index;
 * -EPROTONOSUPPORT a newer format; -ENOENT, -EIO, … of the system.
 */
int segment_open(struct io *io,
                 const char *dir,
                 uint64_t shard,
                 uint64_t first_index,
                 unsigned flags,
                 struct segment **ret);

/**
 * segment_read_footer() - what the last sector of the file says
 *
 * Blocking. Makes @s closed, with the footer's numbers where it is good; where it is not, it ends
 * with the file.
 * Return: 1 it is good; 0 it is missing, or bad; -EIO the size cannot be had.
 */
int segment_read_footer(struct segment *s);

/**
 * segment_make_file() - make a file whose header block and space up to a position are zeroes
 *
 * Blocking. Synced, its name not. A file of that name that is there (what a crash left) is removed
 * first. After a failure there is none.
 */
int segment_make_file(struct io *io, const char *path, uint64_t zeroed_pos, struct io_file **ret);

/* Writes zeroes from one position up to another; not synced. Blocking. */
int segment_zero(struct io_file *file, uint64_t from_pos, uint64_t to_pos);

/**
 * segment_begin() - make a prepared file the segment that follows: header, sync, final name, sync
 * of the folder
 * @from: its name so far
 * @to: its final name
 *
 * Blocking. Only once the footer of the segment before is synced (I4 of shard-log.h).
 */
int segment_begin(struct io *io,
                  struct io_file *file,
                  const struct segment_header *header,
                  const char *dir,
                  const char *from,
                  const char *to);

/* Writes the footer at footer->pos, ends the file behind it, syncs. Blocking. All that it names is
 * synced. */
int segment_close(struct io_file *file, const struct segment_footer *footer, uint32_t salt);

/* A group write of so many bytes (header and entries) takes this much space. */
static inline uint64_t group_padded_bytes(uint64_t length_bytes) {
        return ALIGN_TO(length_bytes, LOG_SECTOR_BYTES);
}

struct segment *segment_ref(struct segment *s);
struct segment *segment_unref(struct segment *s);
DEFINE_CLEANUP(struct segment *, segment_unref)

void segment_header_encode(const struct segment_header *h, uint8_t p[static SEGMENT_HEADER_BYTES]);
/* Return: 0; -EBADMSG damaged or not a segment; -EPROTONOSUPPORT a newer format. */
int segment_header_decode(const uint8_t p[static SEGMENT_HEADER_BYTES], struct segment_header *ret);
void segment_footer_encode(const struct segment_footer *f,
                           uint32_t salt,
                           uint8_t p[static SEGMENT_FOOTER_BYTES]);
int segment_footer_decode(const uint8_t p[static SEGMENT_FOOTER_BYTES],
                          uint32_t salt,
                          struct segment_footer *ret);
void group_header_encode(const struct group_header *g,
                         uint32_t salt,
                         uint8_t p[static GROUP_HEADER_BYTES]);
/* Return: 0; -EBADMSG damaged, or its numbers contradict each other. */
int group_header_decode(const uint8_t p[static GROUP_HEADER_BYTES],
                        uint32_t salt,
                        struct group_header *ret);

/* Whole sectors of @n bytes at @p (a multiple of LOG_SECTOR_BYTES) that are all zero. */
uint32_t count_zero_sectors(const uint8_t *p, size_t n);
