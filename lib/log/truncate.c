/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Truncation: finding the cut, and making it. The policy is in log/recovery.h.
 *
 *  I1  What stays is not written to, but for the header of the group that is cut in two, and the
 *      sector where it ends from now on.
 *  I2  Bad bytes that may belong to what stays stay.
 *  I3  Cut short anywhere and begun again, it ends at the same: the cut is found by the entries
 *      that stay.
 */
#include "log/recovery.h"

#include "base/alloc.h"
#include "log/entry.h"
#include "log/window.h"

#define COPY_BYTES (UINT64_C(1) << 20)

/* Where an index stands in a file, and what follows it there. */
struct cut {
        struct segment *segment;
        struct window window;
        bool is_found; /* the index is there, or right before the file: its term */
        uint64_t term;
        uint64_t end_pos;   /* what is behind this goes */
        uint64_t group_pos; /* the group write of which group_bytes stay; 0: none is cut in two */
        size_t group_bytes;
        struct group_header group;
};

static void cut_done(struct cut *c) {
        segment_unref(c->segment);
        window_done(&c->window);
}

/* Walks a group up to an entry of it. */
static int cut_group(struct cut *c, const struct group_header *g, uint64_t pos, uint64_t index) {
        _cleanup_(entry_room_done) struct entry_room room = {};
        const size_t n = g->length_bytes;
        size_t at = GROUP_HEADER_BYTES;
        const uint8_t *p;
        int r;

        r = window_get(&c->window, pos, n, &p);
        if (r < 0)
                return r;

        for (uint64_t i = g->first_index; i <= index; i++) {
                struct entry e;
                size_t n_bytes;

                r = entry_decode_into(p + at,
                                      n - at,
                                      c->segment->header.salt,
                                      ENTRY_VERIFY_HEADER,
                                      &room,
                                      &e,
                                      &n_bytes);
                if (r < 0)
                        return r == -ENOMEM ? r : -EBADMSG;
                if (e.index != i)
                        return -EBADMSG;

                c->term = e.term;
                at += n_bytes;
        }

        c->is_found = true;
        c->end_pos = pos + group_padded_bytes(at);
        if (index < g->last_index) {
                c->group = *g;
                c->group_pos = pos;
                c->group_bytes = at;
        }
        return 0;
}

/* Return: 0; -EBADMSG the header block is bad, or the group that holds the index is. */
static int cut_find(struct cut *c,
                    struct io *io,
                    const char *dir,
                    uint64_t shard,
                    uint64_t first_index,
                    uint64_t index) {
        uint64_t pos = SEGMENT_HEADER_BYTES;
        int r;

        r = segment_open(io, dir, shard, first_index, IO_OPEN_READ | IO_OPEN_WRITE, &c->segment);
        if (r < 0)
                return r;
        r = window_open(&c->window, io, c->segment->path);
        if (r < 0)
                return r;
        r = segment_read_footer(c->segment);
        if (r < 0)
                return r;
        c->segment->is_closed = r > 0;

        c->end_pos = pos;
        if (index + 1 == first_index) {
                c->is_found = true;
                c->term = c->segment->header.previous_term;
                return 0;
        }

        while (pos + LOG_SECTOR_BYTES <= c->window.size) {
                struct segment_footer footer;
                struct group_header g;
                enum place place;

                r = window_look_at(&c->window, pos, c->segment->header.salt, &place, &g, &footer);
                if (r < 0)
                        return r;
                if (place != PLACE_GROUP ||
                    group_padded_bytes(g.length_bytes) > c->window.size - pos) {
                        pos += LOG_SECTOR_BYTES;
                        continue;
                }
                if (g.first_index > index)
                        break;
                if (g.last_index >= index)
                        return cut_group(c, &g, pos, index);
                pos += group_padded_bytes(g.length_bytes);
        }

        c->end_pos = pos; /* I2 */
        return 0;
}

int recovery_find_term(
        struct io *io, const char *dir, uint64_t shard, uint64_t index, uint64_t *ret_term) {
        _cleanup_(cut_done) struct cut cut = {};
        _cleanup_(mem_freep) uint64_t *indices = NULL;
        size_t n;
        int r;

        if (index == 0) {
                *ret_term = 0;
                return 0;
        }

        r = segment_list(io, dir, &indices, &n);
        if (r < 0)
                return r;
        while (n > 1 && indices[n - 1] > index)
                n--;
        if (n == 0)
                return -ENOENT;

        r = cut_find(&cut, io, dir, shard, indices[n - 1], index);
        if (r < 0 && r != -EBADMSG)
                return r;
        if (r < 0 || !cut.is_found)
                return -ENOENT;

        *ret_term = cut.term;
        return 0;
}

/* Writes what stays of the group that is cut in two, under a header that says so. Its sectors
 * between the first and the last stay as they are. */
static int rewrite_group(struct cut *c, struct io_file *file, uint64_t last_index) {
        const size_t n = (size_t) group_padded_bytes(c->group_bytes);
        _cleanup_(mem_freep) uint8_t *bytes = NULL;
        const uint8_t *p;
        int r;

        if (c->group_pos == 0)
                return 0;

        bytes = mem_alloc(n);
        if (!bytes)
                return -ENOMEM;
        r = window_get(&c->window, c->group_pos, c->group_bytes, &p);
        if (r < 0)
                return r;

        memcpy(bytes, p, c->group_bytes);
        memset(bytes + c->group_bytes, 0, n - c->group_bytes);
        c->group.last_index = last_index;
        c->group.last_term = c->term;
        c->group.length_bytes = (uint32_t) c->group_bytes;
        c->group.is_weak = false; /* it is synced before anything follows it */
        c->group.commit_index = MIN(c->group.commit_index, last_index);
        c->group.n_zero_sectors = count_zero_sectors(bytes, n);
        group_header_encode(&c->group, c->segment->header.salt, bytes);

        return io_pwrite(file, bytes, n, c->group_pos);
}

/* A copy of what stays takes the file's place, open again. */
static int replace_file(struct cut *c, struct io *io, const char *dir, uint64_t last_index) {
        _cleanup_(io_file_unrefp) struct io_file *file = NULL;
        _cleanup_(mem_freep) char *path = NULL;
        struct segment_header header = c->segment->header;
        int r;

        path = mem_asprintf("%s/%s", dir, TRUNCATE_FILE_NAME);
        if (!path)
                return -ENOMEM;

        r = segment_make_file(io, path, c->end_pos + ZERO_STEP_BYTES_MIN, &file);
        if (r < 0)
                return r;

        for (uint64_t pos = SEGMENT_HEADER_BYTES; pos < c->end_pos;) {
                size_t n = (size_t) MIN(c->end_pos - pos, COPY_BYTES);
                const uint8_t *p;

                r = window_get(&c->window, pos, n, &p);
                if (r < 0)
                        return r;
                r = io_pwrite(file, p, n, pos);
                if (r < 0)
                        return r;
                pos += n;
        }

        r = rewrite_group(c, file, last_index);
        if (r < 0)
                return r;

        header.generation++;
        return segment_begin(io, file, &header, dir, path, c->segment->path);
}

int recovery_truncate(
        struct io *io, const char *dir, uint64_t shard, uint64_t last_index, uint64_t term) {
        _cleanup_(cut_done) struct cut cut = {};
        _cleanup_(mem_freep) uint64_t *indices = NULL;
        _cleanup_(segment_unrefp) struct segment *first = NULL;
        struct io_stat st;
        size_t n;
        int r;

        r = segment_list(io, dir, &indices, &n);
        if (r < 0)
                return r;

        for (; n > 0 && indices[n - 1] > last_index; n--) {
                r = segment_unlink(io, dir, indices[n - 1]);
                if (r < 0)
                        return r;
        }
        r = io_sync_dir(io, dir);
        if (r < 0)
                return r;
        if (n == 0)
                return recovery_create_segment(io, dir, shard, last_index + 1, term, &first);

        r = cut_find(&cut, io, dir, shard, indices[n - 1], last_index);
        if (r < 0)
                return r;
        if (cut.segment->is_closed && cut.segment->footer.last_index <= last_index)
                return 0; /* all of it stays; recovery_run() makes its successor */

        r = io_stat(io, cut.segment->path, &st);
        if (r < 0)
                return r;
        if (cut.segment->is_closed || st.n_links > 1)
                return replace_file(&cut, io, dir, last_index);

        r = rewrite_group(&cut, cut.segment->file, last_index);
        if (r < 0)
                return r;

        return zero_behind(cut.segment->file, cut.end_pos, cut.window.size);
}
