/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks the entries of a segment. Not here: which segment, and what is done about damage.
 *
 *  I1  No byte at or behind end_pos is read.
 *  I2  pos only grows, but for segment_cursor_seek(); indices grow along with it.
 *  I3  A length is used only to read up to it, within its group or end_pos, until the checksum over
 *      it is right.
 *  I4  A place that cannot be read counts as damaged.
 */
#include "log/cursor.h"

#include "base/alloc.h"

#define ENTRY_ALIGN_BYTES 8u
/* How much a resync may spend on checksums of what looks like an entry and is none, in lengths of
 * what it searches: so that bytes made for it cannot make it quadratic. */
#define RESYNC_FACTOR 8u

void segment_cursor_init(struct segment_cursor *c,
                         const struct segment *s,
                         uint64_t end_pos,
                         unsigned read_flags) {
        assert(c);
        assert(s);
        assert(end_pos >= SEGMENT_HEADER_BYTES);

        *c = (struct segment_cursor){
                .segment = s,
                .end_pos = end_pos,
                .pos = SEGMENT_HEADER_BYTES,
                .next_index = s->header.first_index,
                .at_group = true,
                .read_bytes = 64u * 1024u,
                .read_flags = read_flags,
        };
}

void segment_cursor_done(struct segment_cursor *c) {
        assert(c);

        c->buf = buf_unref(c->buf);
        c->slices = mem_free(c->slices);
        c->n_slices_allocated = 0;
}

void segment_cursor_seek(struct segment_cursor *c, uint64_t pos) {
        assert(pos >= SEGMENT_HEADER_BYTES);

        if (pos < c->pos)
                c->next_index = c->segment->header.first_index;
        c->pos = pos;
        c->group_end = 0;
        c->at_group = pos == SEGMENT_HEADER_BYTES;
        c->is_damaged = false;
}

/* Reads the window anew from @pos on: @n bytes, and ahead up to @want, but sector by sector near a
 * place that cannot be read, and never twice there: a disk may take seconds to fail. Return: bytes;
 * -EIO; others as io_pread(). */
static ssize_t cursor_read(struct segment_cursor *c, uint64_t pos, size_t n, size_t want) {
        size_t least = (size_t) (MIN(ALIGN_TO(pos + n, LOG_SECTOR_BYTES), c->end_pos) - pos);
        ssize_t k;

        if (pos >= c->unreadable_from && pos < c->unreadable_to)
                return -EIO;
        if (pos < c->careful_pos)
                want = MIN(want, least);

        k = io_pread(c->segment->file, c->buf->data, want, pos, c->read_flags);
        if (k == -EIO && want > least) {
                c->careful_pos = pos + want;
                k = io_pread(c->segment->file, c->buf->data, least, pos, c->read_flags);
        }
        if (k == -EIO && n <= LOG_SECTOR_BYTES) {
                /* Where two sectors were to be read it may be the second; but nothing begins in the
                 * rest of the first. */
                c->unreadable_from = pos;
                c->unreadable_to = ALIGN_TO(pos + 1, LOG_SECTOR_BYTES);
        }
        return k;
}

/* Borrows @n bytes at @pos until the next call. Return: 0; -EBADMSG the file ends before, or cannot
 * be read there (I4); -EAGAIN, -ENODATA, -ENOMEM. */
static int cursor_view(struct segment_cursor *c, uint64_t pos, size_t n, const uint8_t **ret) {
        size_t want;
        ssize_t k;

        assert(pos <= c->end_pos && n <= c->end_pos - pos); /* I1 */

        if (c->buf && pos >= c->buf_pos && pos - c->buf_pos <= c->buf_bytes &&
            n <= c->buf_bytes - (size_t) (pos - c->buf_pos)) {
                *ret = c->buf->data + (pos - c->buf_pos);
                return 0;
        }
        if (c->stays)
                return -ENODATA;

        want = (size_t) MIN((uint64_t) MAX(n, c->read_bytes), c->end_pos - pos);
        if (!c->buf || c->buf->n_refs > 1 || c->buf->capacity < want) {
                struct buf *b = buf_new(want);

                if (!b)
                        return -ENOMEM;
                buf_unref(c->buf);
                c->buf = b;
        }

        c->buf_bytes = 0;
        k = cursor_read(c, pos, n, want);
        if (k == -EIO)
                return -EBADMSG; /* I4 */
        if (k < 0)
                return (int) k;
        c->buf_pos = pos;
        c->buf_bytes = (size_t) k;
        c->n_bytes_read += (uint64_t) k;
        if ((size_t) k < n)
                return -EBADMSG;

        *ret = c->buf->data;
        return 0;
}

static bool is_zero(const uint8_t *p, size_t n) {
        return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

/* The group header at @pos. Return: 0; -EBADMSG none, or not one that can be here; others as
 * cursor_view(). */
static int cursor_group(struct segment_cursor *c, uint64_t pos, struct group_header *ret) {
        struct group_header g;
        const uint8_t *p;
        int r;

        if (c->end_pos - pos < GROUP_HEADER_BYTES)
                return -EBADMSG;
        r = cursor_view(c, pos, GROUP_HEADER_BYTES, &p);
        if (r < 0)
                return r;
        r = group_header_decode(p, c->segment->header.salt, &g);
        if (r < 0)
                return r;
        if (g.first_index < c->next_index || g.length_bytes < GROUP_HEADER_BYTES ||
            g.length_bytes > c->end_pos - pos)
                return -EBADMSG;

        *ret = g;
        return 0;
}

/* What looks like an entry at @pos, which ends at @limit at the latest; its checksum has not been
 * looked at. Return and errors as cursor_group(). */
static int cursor_entry_header(struct segment_cursor *c,
                               uint64_t pos,
                               uint64_t limit,
                               size_t *ret_bytes,
                               unsigned *ret_n_slices) {
        const uint8_t *p;
        unsigned n_slices;
        size_t length;
        int r;

        if (limit - pos < ENTRY_HEADER_BYTES)
                return -EBADMSG;
        r = cursor_view(c, pos, ENTRY_HEADER_BYTES, &p);
        if (r < 0)
                return r;

        length = le32_load(p + 4);
        n_slices = le16_load(p + 34);
        if (length < ENTRY_HEADER_BYTES + (size_t) n_slices * SLICE_HEADER_BYTES ||
            length > ENTRY_BYTES_MAX)
                return -EBADMSG;
        length = ALIGN_TO(length, ENTRY_ALIGN_BYTES);
        if (length > limit - pos || le64_load(p + 8) < c->next_index)
                return -EBADMSG; /* I3 */
        if (p[32] == 0 || p[32] >= _ENTRY_KIND_MAX || p[33] != 0 || le32_load(p + 36) != 0)
                return -EBADMSG;

        *ret_bytes = length;
        *ret_n_slices = n_slices;
        return 0;
}

/* The entry there. */
static int cursor_entry(struct segment_cursor *c,
                        uint64_t pos,
                        uint64_t limit,
                        struct entry *ret,
                        size_t *ret_bytes) {
        const uint8_t *p;
        unsigned n_slices;
        size_t length;
        int r;

        r = cursor_entry_header(c, pos, limit, &length, &n_slices);
        if (r < 0)
                return r;
        if (!grow(c->slices, c->n_slices_allocated, MAX(n_slices, 1u)))
                return -ENOMEM;

        r = cursor_view(c, pos, length, &p);
        if (r < 0)
                return r;
        r = entry_decode(p,
                         length,
                         c->segment->header.salt,
                         ENTRY_VERIFY_HEADER,
                         c->slices,
                         (unsigned) MIN(c->n_slices_allocated, (size_t) ENTRY_SLICES_MAX),
                         ret,
                         ret_bytes);
        return r < 0 ? -EBADMSG : 0;
}

static int damaged(struct segment_cursor *c) {
        c->is_damaged = true;
        return -EBADMSG;
}

static void enter_group(struct segment_cursor *c, const struct group_header *g) {
        c->group_end =
                MIN(c->pos + ALIGN_TO((uint64_t) g->length_bytes, ENTRY_ALIGN_BYTES), c->end_pos);
        c->pos += GROUP_HEADER_BYTES;
        c->next_index = g->first_index;
        c->at_group = false;
}

static void leave_group(struct segment_cursor *c, uint64_t end) {
        c->pos = ALIGN_TO(end, LOG_SECTOR_BYTES);
        c->group_end = 0;
        c->at_group = true;
}

/* Padding that ends a group whose header was not seen. Return: 1 it is; 0; others as
 * cursor_view(). */
static int at_padding(struct segment_cursor *c) {
        uint64_t boundary = MIN(ALIGN_TO(c->pos, LOG_SECTOR_BYTES), c->end_pos);
        const uint8_t *p;
        int r;

        if (c->group_end > 0 || boundary == c->pos)
                return 0;
        r = cursor_view(c, c->pos, (size_t) (boundary - c->pos), &p);
        return r < 0 ? r : is_zero(p, (size_t) (boundary - c->pos));
}

/* Passes over a group header, if one stands at pos. Return: 1 it did; 0 it is for an entry to stand
 * here; others as cursor_group(). */
static int pass_group(struct segment_cursor *c) {
        struct group_header g;
        int r;

        if (!c->at_group && (c->group_end > 0 || c->pos % LOG_SECTOR_BYTES != 0))
                return 0;

        r = cursor_group(c, c->pos, &g);
        if (r == -EBADMSG && !c->at_group)
                return 0;
        if (r < 0)
                return r;

        if (g.last_index < c->skip_index)
                leave_group(c, c->pos + g.length_bytes);
        else
                enter_group(c, &g);
        return 1;
}

/* The batches of an entry whose header is good. */
static int verify_batches(const struct segment_cursor *c, uint64_t pos, size_t n) {
        struct entry e;
        size_t k;

        return entry_decode(c->buf->data + (pos - c->buf_pos),
                            n,
                            c->segment->header.salt,
                            ENTRY_VERIFY_BATCHES,
                            c->slices,
                            (unsigned) MIN(c->n_slices_allocated, (size_t) ENTRY_SLICES_MAX),
                            &e,
                            &k);
}

int segment_cursor_next(struct segment_cursor *c,
                        enum entry_verify verify,
                        struct entry *ret,
                        uint64_t *ret_pos) {
        struct entry e;
        uint64_t pos;
        size_t n;
        int r;

        assert(c);
        assert(ret);
        assert(ret_pos);

        if (c->is_damaged)
                return -EBADMSG;

        for (;;) {
                if (c->group_end > 0 && c->pos >= c->group_end)
                        leave_group(c, c->group_end);
                if (c->pos >= c->end_pos)
                        return 0;

                r = pass_group(c);
                if (r > 0)
                        continue;
                if (r == 0)
                        r = at_padding(c);
                if (r > 0) {
                        leave_group(c, c->pos);
                        continue;
                }
                if (r == 0)
                        r = cursor_entry(
                                c, c->pos, c->group_end > 0 ? c->group_end : c->end_pos, &e, &n);
                if (r == -EBADMSG)
                        return damaged(c);
                if (r < 0)
                        return r;
                break;
        }

        pos = c->pos;
        c->pos += n;
        c->next_index = e.index + 1;
        if (verify == ENTRY_VERIFY_BATCHES) {
                r = verify_batches(c, pos, n);
                if (r < 0)
                        return r; /* pos is behind it: there is nothing to search */
        }

        *ret = e;
        *ret_pos = pos;
        return 1;
}

int segment_cursor_resync(struct segment_cursor *c) {
        uint64_t limit, budget;

        assert(c);

        if (!c->is_damaged)
                return 0;

        limit = c->group_end > 0 ? c->group_end : c->end_pos;
        budget = (limit - c->pos) * RESYNC_FACTOR;
        for (uint64_t pos = ALIGN_TO(c->pos + 1, ENTRY_ALIGN_BYTES); pos < limit;
             pos += ENTRY_ALIGN_BYTES) {
                struct group_header g;
                unsigned n_slices;
                struct entry e;
                size_t n;
                int r;

                if (c->group_end == 0 && pos % LOG_SECTOR_BYTES == 0) {
                        r = cursor_group(c, pos, &g);
                        if (r < 0 && r != -EBADMSG)
                                return r;
                        if (r >= 0) {
                                leave_group(c, pos);
                                c->is_damaged = false;
                                return 0;
                        }
                }

                r = cursor_entry_header(c, pos, limit, &n, &n_slices);
                if (r >= 0 && n > budget)
                        continue;
                if (r >= 0) {
                        budget -= n;
                        r = cursor_entry(c, pos, limit, &e, &n);
                }
                if (r < 0 && r != -EBADMSG)
                        return r;
                if (r >= 0) {
                        c->pos = pos;
                        c->at_group = false;
                        c->is_damaged = false;
                        return 0;
                }
        }

        if (c->group_end > 0)
                leave_group(c, c->group_end);
        else
                c->pos = c->end_pos;
        c->is_damaged = false;
        return 0;
}
