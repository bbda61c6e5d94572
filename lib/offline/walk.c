/* SPDX-License-Identifier: Apache-2.0 */
/* See walk.h. */
#include "offline/walk.h"

#include "base/alloc.h"
#include "log/cursor.h"
#include "log/segment.h"

#define COUNT_BYTES (64u << 10)

struct walk {
        struct io *io;
        char *dir;
        uint64_t shard;
        uint64_t from_index;
        uint64_t next_index; /* no lower one is handed out */
        uint64_t *indices;
        size_t n_indices;
        size_t index_i;
        struct segment *segment; /* NULL: between files */
        struct segment_cursor cursor;
        bool has_guessed;
        bool is_bad;
        uint64_t n_bad_bytes;
        bool was_bad; /* of the last one given, or the end */
        uint64_t n_was_bad_bytes;
};

int walk_new(
        struct io *io, const char *dir, uint64_t shard, uint64_t from_index, struct walk **ret) {
        _cleanup_(walk_freep) struct walk *w = NULL;
        int r;

        assert(io);
        assert(dir);
        assert(ret);

        w = new0(struct walk, 1);
        if (!w)
                return -ENOMEM;
        w->io = io;
        w->shard = shard;
        w->from_index = w->next_index = from_index;
        w->dir = mem_strdup(dir);
        if (!w->dir)
                return -ENOMEM;
        r = segment_list(io, dir, &w->indices, &w->n_indices);
        if (r < 0)
                return r;
        /* Files that end before it are passed over. */
        while (w->index_i + 1 < w->n_indices && w->indices[w->index_i + 1] <= from_index)
                w->index_i++;

        *ret = TAKE_PTR(w);
        return 0;
}

static void walk_leave(struct walk *w) {
        segment_cursor_done(&w->cursor);
        w->segment = segment_unref(w->segment);
        w->index_i++;
}

struct walk *walk_free(struct walk *w) {
        if (!w)
                return NULL;

        if (w->segment)
                walk_leave(w);
        mem_free(w->indices);
        mem_free(w->dir);
        return mem_free(w);
}

/* A file whose header block is damaged: its salt may be right all the same; the first group write
 * shows it. Return: 0; -EBADMSG it does not. */
static int open_by_salt(struct walk *w, const char *path, uint64_t first_index) {
        _cleanup_(io_file_unrefp) struct io_file *file = NULL;
        struct segment_header header = { .shard = w->shard, .first_index = first_index };
        uint8_t p[GROUP_HEADER_BYTES];
        struct group_header g;
        int r;

        r = io_open(w->io, path, IO_OPEN_READ, &file);
        if (r < 0)
                return r;
        if (io_pread(file, p, 4, 40, /* flags= */ 0) != 4)
                return -EBADMSG;
        header.salt = le32_load(p);
        if (io_pread(file, p, sizeof(p), SEGMENT_HEADER_BYTES, /* flags= */ 0) !=
                    (ssize_t) sizeof(p) ||
            group_header_decode(p, header.salt, &g) < 0 || g.first_index != first_index)
                return -EBADMSG;
        return segment_new(file, w->dir, &header, &w->segment);
}

static int walk_open(struct walk *w) {
        const uint64_t first_index = w->indices[w->index_i];
        _cleanup_(mem_freep) char *path = segment_path(w->dir, first_index, ".log");
        uint64_t size;
        int r;

        if (!path)
                return -ENOMEM;

        r = segment_open(w->io, w->dir, w->shard, first_index, IO_OPEN_READ, &w->segment);
        if (r == -EBADMSG || r == -EIO) {
                struct io_stat st = {};

                (void) io_stat(w->io, path, &st);
                w->is_bad = true;
                r = open_by_salt(w, path, first_index);
                w->has_guessed = w->has_guessed || r >= 0;
                if (r == -EBADMSG || r == -EIO) {
                        w->n_bad_bytes += st.size_bytes;
                        w->index_i++;
                        return 0;
                }
        }
        if (r < 0)
                return r;

        r = io_file_size(w->segment->file, &size);
        if (r < 0)
                return r;
        segment_cursor_init(&w->cursor,
                            w->segment,
                            MAX(size - size % LOG_SECTOR_BYTES, (uint64_t) SEGMENT_HEADER_BYTES),
                            /* read_flags= */ 0);
        w->cursor.read_bytes = SEGMENT_CURSOR_READ_BYTES_MAX;
        w->cursor.skip_index = w->from_index;
        return 0;
}

/* How much of [from, to) is there: up to the last byte that is not zero, or that cannot be read. A
 * footer does not count. */
static int count_bad(struct walk *w, uint64_t from, uint64_t to, uint64_t *ret) {
        _cleanup_(mem_freep) uint8_t *p = mem_alloc(COUNT_BYTES);
        uint64_t end = from;

        if (!p)
                return -ENOMEM;

        for (uint64_t pos = from; pos < to;) {
                size_t n = (size_t) MIN(to - pos, (uint64_t) COUNT_BYTES);

                if (io_pread(w->segment->file, p, n, pos, /* flags= */ 0) != (ssize_t) n)
                        end = pos + n;
                else
                        for (size_t at = 0; at < n; at += LOG_SECTOR_BYTES) {
                                struct segment_footer f;

                                if (count_zero_sectors(p + at, LOG_SECTOR_BYTES) == 0 &&
                                    segment_footer_decode(p + at, w->segment->header.salt, &f) < 0)
                                        end = pos + at + LOG_SECTOR_BYTES;
                        }
                pos += n;
        }

        *ret = end - from;
        return 0;
}

int walk_next(struct walk *w, struct entry *ret) {
        uint64_t pos;
        int r;

        assert(w);
        assert(ret);

        for (;;) {
                uint64_t from, n;

                if (w->index_i == w->n_indices) {
                        w->was_bad = w->is_bad;
                        w->n_was_bad_bytes = w->n_bad_bytes;
                        return 0;
                }
                if (!w->segment) {
                        r = walk_open(w);
                        if (r < 0)
                                return r;
                        continue;
                }

                r = segment_cursor_next(&w->cursor, ENTRY_VERIFY_HEADER, ret, &pos);
                if (r > 0 && ret->index < w->next_index)
                        continue;
                if (r > 0) {
                        w->was_bad = w->is_bad;
                        w->n_was_bad_bytes = w->n_bad_bytes;
                        w->is_bad = false;
                        w->n_bad_bytes = 0;
                        w->next_index = ret->index + 1;
                        return 1;
                }
                if (r == 0) {
                        /* How far a closed file went, its footer says. */
                        if (segment_read_footer(w->segment) > 0)
                                w->is_bad = false;
                        walk_leave(w);
                        continue;
                }
                if (r != -EBADMSG)
                        return r;

                from = w->cursor.pos - w->cursor.pos % LOG_SECTOR_BYTES;
                r = segment_cursor_resync(&w->cursor);
                if (r >= 0)
                        r = count_bad(w,
                                      from,
                                      ALIGN_TO(w->cursor.pos, LOG_SECTOR_BYTES) > w->cursor.end_pos
                                              ? w->cursor.end_pos
                                              : ALIGN_TO(w->cursor.pos, LOG_SECTOR_BYTES),
                                      &n);
                if (r < 0)
                        return r;
                w->is_bad = w->is_bad || n > 0;
                w->n_bad_bytes += n;
        }
}

bool walk_follows_bad(const struct walk *w, uint64_t *ret_n_bytes) {
        *ret_n_bytes = w->n_was_bad_bytes;
        return w->was_bad;
}

bool walk_begins_at_first(const struct walk *w) {
        return w->n_indices > 0 && w->indices[0] == 1;
}

bool walk_has_guessed(const struct walk *w) {
        return w->has_guessed;
}
