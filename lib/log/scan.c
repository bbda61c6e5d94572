/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads all entries of a shard's log in order. Not here: fetches (reader.c), and what is done about
 * damage.
 *
 *  I1  Entries are handed out in ascending order, each once, none below from_index or above
 *      to_index.
 *  I2  Where indices are left out, -EBADMSG has been returned once before the entry behind the gap.
 */
#include "log/reader.h"

#include "base/alloc.h"
#include "log/cursor.h"
#include "log/shard-log-internal.h"

/* Small while groups are passed over by their headers, large once entries are read. */
#define SEEK_BYTES (64u * 1024u)

struct scan_segment {
        struct segment *segment; /* shares */
        uint64_t end_pos;
};

struct log_scan {
        uint64_t next_index; /* what must come next */
        uint64_t to_index;
        enum entry_verify verify;
        struct scan_segment *segments;
        size_t n_segments;
        size_t segment_i;
        bool is_open; /* the cursor is in segments[segment_i] */
        struct segment_cursor cursor;
        uint64_t n_bytes_before; /* read with cursors before this one */
        /* Found, but behind a gap that has just been reported. */
        bool has_entry;
        struct entry entry;
};

int shard_log_scan(struct shard_log *l,
                   uint64_t from_index,
                   uint64_t to_index,
                   enum entry_verify verify,
                   struct log_scan **ret) {
        _cleanup_(log_scan_freep) struct log_scan *s = NULL;

        assert(l);
        assert(from_index > 0);
        assert(to_index <= l->written_index);
        assert(ret);

        s = new0(struct log_scan, 1);
        if (!s)
                return -ENOMEM;
        s->next_index = from_index;
        s->to_index = to_index;
        s->verify = verify;

        s->segments = new0(struct scan_segment, MAX(l->n_segments, (size_t) 1));
        if (!s->segments)
                return -ENOMEM;
        for (size_t i = 0; i < l->n_segments; i++) {
                struct segment *g = l->segments[i];

                if (g->last_index < from_index || g->header.first_index > to_index)
                        continue;
                s->segments[s->n_segments++] = (struct scan_segment){
                        .segment = segment_ref(g),
                        .end_pos = g->end_pos,
                };
        }

        *ret = TAKE_PTR(s);
        return 0;
}

struct log_scan *log_scan_free(struct log_scan *s) {
        if (!s)
                return NULL;

        segment_cursor_done(&s->cursor);
        for (size_t i = 0; i < s->n_segments; i++)
                segment_unref(s->segments[i].segment);
        mem_free(s->segments);
        return mem_free(s);
}

static void close_segment(struct log_scan *s) {
        s->n_bytes_before += s->cursor.n_bytes_read;
        s->cursor.n_bytes_read = 0;
        segment_cursor_done(&s->cursor);
        s->is_open = false;
        s->segment_i++;
}

/* The next entry at or behind next_index, whatever lies between. Return: 1; 0 the end; -EBADMSG the
 * batches of that entry are damaged; -ENOMEM. */
static int find_entry(struct log_scan *s, struct entry *ret) {
        while (s->segment_i < s->n_segments) {
                const struct scan_segment *g = s->segments + s->segment_i;
                uint64_t pos;
                int r;

                if (!s->is_open) {
                        segment_cursor_init(
                                &s->cursor, g->segment, g->end_pos, /* read_flags= */ 0);
                        s->cursor.read_bytes = SEEK_BYTES;
                        s->cursor.skip_index = s->next_index;
                        s->is_open = true;
                }

                r = segment_cursor_next(&s->cursor, s->verify, ret, &pos);
                if (r == 0) {
                        close_segment(s);
                        continue;
                }
                if (r == -EBADMSG && s->cursor.is_damaged) {
                        r = segment_cursor_resync(&s->cursor);
                        if (r < 0)
                                return r;
                        continue;
                }
                if (r == -EBADMSG) {
                        /* Its header was good: the cursor is behind it. */
                        if (s->cursor.next_index <= s->next_index)
                                continue;
                        return r;
                }
                if (r < 0)
                        return r;
                if (ret->index < s->next_index)
                        continue;

                s->cursor.read_bytes = SEGMENT_CURSOR_READ_BYTES_MAX;
                return 1;
        }

        return 0;
}

int log_scan_next(struct log_scan *s, struct entry *ret) {
        struct entry e;
        int r;

        assert(s);
        assert(ret);

        if (s->has_entry) {
                s->has_entry = false;
                s->next_index = s->entry.index + 1;
                *ret = s->entry;
                return 1;
        }
        if (s->next_index > s->to_index)
                return 0;

        r = find_entry(s, &e);
        if (r == -EBADMSG) {
                s->next_index =
                        s->cursor.next_index; /* what is left out before it is said with it (I2) */
                return r;
        }
        if (r < 0)
                return r;
        if (r == 0 || e.index > s->to_index) {
                s->next_index = s->to_index + 1;
                return -EBADMSG; /* I2: there was to be one more */
        }
        if (e.index > s->next_index) {
                s->has_entry = true;
                s->entry = e;
                return -EBADMSG; /* I2 */
        }

        s->next_index = e.index + 1;
        *ret = e;
        return 1;
}

uint64_t log_scan_bytes_read(const struct log_scan *s) {
        return s->n_bytes_before + s->cursor.n_bytes_read;
}
