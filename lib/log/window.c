/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a segment file in order, past the page cache where it matters.
 *
 *  I1  What the last group header does not name as durable is read past the page cache, itself
 *      too: a failed sync, or a failed write-back before one, leaves pages that look clean and are
 *      not on disk, and nothing is written after it.
 *  I2  A place that cannot be read counts as damaged, never as zero.
 */
#include "log/window.h"

#include "base/alloc.h"
#include "base/bug.h"

#define PAGE_BYTES 4096u
#define WINDOW_BYTES (UINT64_C(1) << 20)
#define CACHED_PIECE_BYTES 65536u

void window_done(struct window *w) {
        io_file_unref(w->file);
        io_file_unref(w->cached);
        mem_free(w->memory);
}

int window_open(struct window *w, struct io *io, const char *path) {
        int r;

        r = io_open(io, path, IO_OPEN_READ | IO_OPEN_DIRECT, &w->file);
        if (r < 0)
                return r;
        r = io_file_size(w->file, &w->size);
        if (r < 0)
                return r;

        w->size -= w->size % LOG_SECTOR_BYTES;
        return 0;
}

static int window_fill(struct window *w, struct io_file *file) {
        ssize_t n;

        n = io_pread(file, w->data, w->n, w->pos, /* flags= */ 0);
        if (n >= 0)
                return n < (ssize_t) w->n && w->pos + (uint64_t) n < w->size ? -EIO : 0;
        if (n != -EIO)
                return (int) n;

        /* I2: page by page, so that no more is lost than cannot be read. */
        for (size_t i = 0; i < w->n; i += PAGE_BYTES) {
                n = io_pread(file, w->data + i, PAGE_BYTES, w->pos + i, /* flags= */ 0);
                if (n == -EIO)
                        memset(w->data + i, 0xff, PAGE_BYTES);
                else if (n < 0)
                        return (int) n;
        }

        return 0;
}

int window_get(struct window *w, uint64_t pos, size_t n, const uint8_t **ret) {
        int r;

        assert(n <= w->size && pos <= w->size - n);

        if (!w->data || pos < w->pos || pos + n > w->pos + w->n) {
                const uint64_t from = pos - pos % PAGE_BYTES;
                const bool is_direct = pos + n > w->direct_pos;
                uint64_t to = MAX(pos + n, from + WINDOW_BYTES);
                size_t want;

                to = MIN(to, is_direct ? w->size : w->direct_pos);
                want = (size_t) (ALIGN_TO(to, PAGE_BYTES) - from);
                if (want > w->n_allocated) {
                        w->memory = mem_free(w->memory);
                        w->data = NULL;
                        w->n_allocated = 0;
                        w->memory = mem_alloc(want + PAGE_BYTES);
                        if (!w->memory)
                                return -ENOMEM;
                        w->data = (uint8_t *) ALIGN_TO((uintptr_t) w->memory, PAGE_BYTES);
                        w->n_allocated = want;
                }

                w->pos = from;
                w->n = want;
                r = window_fill(w, is_direct ? w->file : w->cached);
                if (r < 0) {
                        w->n = 0;
                        return r;
                }
                w->n_bytes_read += want;
        }

        *ret = w->data + (pos - w->pos);
        return 0;
}

/* A piece of what the page cache holds, and it alone. */
struct cached_piece {
        struct io_file *file;
        uint8_t *data;
        uint64_t pos;
        size_t n;
};

/* Return: how many bytes from @pos on there are at .data + (pos - .pos), at most as many as the
 * piece holds; 0: none are cached, or they cannot be read. */
static size_t cached_at(struct cached_piece *c, uint64_t pos, size_t n_wanted) {
        if (c->n == 0 || pos < c->pos || pos + n_wanted > c->pos + c->n) {
                ssize_t n = io_pread(c->file, c->data, CACHED_PIECE_BYTES, pos, IO_READ_NOWAIT);

                c->pos = pos;
                c->n = n > 0 ? (size_t) n : 0;
        }

        return c->n - (size_t) (pos - c->pos);
}

int window_find_synced(struct window *w, struct io_file *file, uint32_t salt) {
        _cleanup_(mem_freep) uint8_t *data = mem_alloc(CACHED_PIECE_BYTES);
        struct cached_piece c = { .file = file, .data = data };
        uint64_t pos = SEGMENT_HEADER_BYTES, durable_index = 0, end_pos;
        struct group_header g;

        if (!data)
                return -ENOMEM;

        while (pos + LOG_SECTOR_BYTES <= w->size &&
               cached_at(&c, pos, GROUP_HEADER_BYTES) >= GROUP_HEADER_BYTES &&
               group_header_decode(data + (pos - c.pos), salt, &g) >= 0) {
                durable_index = g.durable_index;
                pos += group_padded_bytes(g.length_bytes);
        }

        /* Once more, up to what the last of them does not name. */
        end_pos = pos;
        pos = SEGMENT_HEADER_BYTES;
        while (pos < end_pos && cached_at(&c, pos, GROUP_HEADER_BYTES) >= GROUP_HEADER_BYTES &&
               group_header_decode(data + (pos - c.pos), salt, &g) >= 0 &&
               g.last_index <= durable_index)
                pos += group_padded_bytes(g.length_bytes);

        w->cached = io_file_ref(file);
        w->direct_pos = pos - pos % PAGE_BYTES; /* I1 */
        return 0;
}

int window_find_cached_end(struct io_file *file,
                           uint64_t from_pos,
                           uint64_t to_pos,
                           uint64_t *ret_end) {
        _cleanup_(mem_freep) uint8_t *data = mem_alloc(CACHED_PIECE_BYTES);
        struct cached_piece c = { .file = file, .data = data };
        uint64_t end = from_pos;

        if (!data)
                return -ENOMEM;

        for (uint64_t pos = from_pos; pos + LOG_SECTOR_BYTES <= to_pos;) {
                size_t n =
                        cached_at(&c, pos, LOG_SECTOR_BYTES) / LOG_SECTOR_BYTES * LOG_SECTOR_BYTES;

                for (size_t i = 0; i < n; i += LOG_SECTOR_BYTES) {
                        if (count_zero_sectors(data + (pos - c.pos) + i, LOG_SECTOR_BYTES) == 0)
                                end = pos + i + LOG_SECTOR_BYTES;
                }
                pos += n > 0 ? n : PAGE_BYTES - pos % PAGE_BYTES;
        }

        *ret_end = MIN(end, to_pos);
        return 0;
}

int window_look_at(struct window *w,
                   uint64_t pos,
                   uint32_t salt,
                   enum place *ret_place,
                   struct group_header *ret_group,
                   struct segment_footer *ret_footer) {
        const uint8_t *p;
        int r;

        r = window_get(w, pos, LOG_SECTOR_BYTES, &p);
        if (r < 0)
                return r;

        if (group_header_decode(p, salt, ret_group) >= 0)
                *ret_place = PLACE_GROUP;
        else if (segment_footer_decode(p, salt, ret_footer) >= 0 && ret_footer->pos == pos)
                *ret_place = PLACE_FOOTER;
        else
                *ret_place =
                        count_zero_sectors(p, LOG_SECTOR_BYTES) == 1 ? PLACE_ZERO : PLACE_OTHER;
        return 0;
}

int zero_behind(struct io_file *file, uint64_t from_pos, uint64_t to_pos) {
        int r = 0;

        if (!BUG(SKIP_ZEROING))
                r = segment_zero(file, from_pos, to_pos);
        if (r < 0)
                return r;

        return io_fdatasync(file);
}
