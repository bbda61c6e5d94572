/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Walks the entries of one segment in the order in which they stand: what fetches, scans and the
 * building of an index have in common. Private to lib/log.
 *
 * A walk begins at the segment's first group write or at any entry. In the second case the group's
 * header has not been seen; where the group ends is then known by its padding: zeroes up to a
 * 512-byte boundary, where a group header must stand. An entry that stands on such a boundary
 * cannot be taken for a header: its length would be past ENTRY_BYTES_MAX.
 *
 * What is damaged, or cannot be read (-EIO), is reported, and stepped over on demand:
 * segment_cursor_resync() looks for the next good entry or group header. Both are checksummed with
 * the segment's salt, so nothing else passes for one.
 *
 * A cursor borrows the segment and looks only at what never changes in it.
 */

#include "base/buf.h"
#include "base/macro.h"
#include "log/entry.h"
#include "log/segment.h"

#define SEGMENT_CURSOR_READ_BYTES_MAX (UINT32_C(1) << 20)

struct segment_cursor {
        const struct segment *segment;
        uint64_t end_pos; /* nothing from here on is read */
        uint64_t
                /* what comes next: a group header, an entry or padding; after -EBADMSG: the
                 * damage */
                pos;
        uint64_t group_end;  /* of the group that pos is in: where its entries end; 0: not known */
        uint64_t next_index; /* no lower one can follow */
        uint64_t
                /* groups whose last index is below this are passed over by their headers; 0:
                 * none */
                skip_index;
        bool at_group;   /* a group header must stand at pos */
        bool is_damaged; /* at pos */

        struct buf *
                /* the window: a slice of it may be shared, then the next read takes another one */
                buf;
        uint64_t buf_pos;
        size_t buf_bytes;
        size_t read_bytes;     /* how much the next read takes; may be changed at any time */
        unsigned read_flags;   /* enum io_read_flags */
        bool stays;            /* -ENODATA instead of another read */
        uint64_t n_bytes_read; /* so far */
        uint64_t careful_pos;  /* a place that cannot be read lies before this */
        uint64_t unreadable_from, unreadable_to;

        struct entry_slice *slices;
        size_t n_slices_allocated;
};

/* At the first group write. @end_pos: up to here all is on disk, whole. */
void segment_cursor_init(struct segment_cursor *c,
                         const struct segment *s,
                         uint64_t end_pos,
                         unsigned read_flags);
void segment_cursor_done(struct segment_cursor *c);
/* Goes to a group header or entry at @pos; there may be none. */
void segment_cursor_seek(struct segment_cursor *c, uint64_t pos);

/**
 * segment_cursor_next() - the next entry
 * @ret: borrows until the next call, its batches as long as .buf is shared
 * @ret_pos: where it stands
 *
 * Return: 1; 0 the end; -EBADMSG damaged: segment_cursor_resync() steps over it; -EAGAIN with
 * IO_READ_NOWAIT; -ENODATA with .stays; -ENOMEM. After an error other than -EBADMSG the same call
 * may be made again.
 */
int segment_cursor_next(struct segment_cursor *c,
                        enum entry_verify verify,
                        struct entry *ret,
                        uint64_t *ret_pos);

/* After -EBADMSG: goes to the next good entry or group header, or to the end. Return: 0; errors as
 * above. */
int segment_cursor_resync(struct segment_cursor *c);
