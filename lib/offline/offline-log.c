/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two walkers. The tail goes from header to header of the newest file and finds out how far it is
 * whole and what is committed; the reader goes from entry to entry, behind it. Invariants I1 to I3
 * are those of offline-log.h.
 *
 *  I4  The tail passes a group write only if something good stands behind it, or all of it is
 *      right, or it is committed: one that is just being written is looked at again.
 */
#include "offline/offline-log.h"

#include "base/alloc.h"
#include "log/checkpoint.h"
#include "log/cursor.h"
#include "log/index.h"
#include "log/segment.h"

/* A file that is listed and not there is looked for again so often. */
#define LOOKS_MAX 100u
#define SEARCH_BYTES (1u << 20)

struct offline_log {
        struct io *io;
        char *dir;
        uint64_t shard;

        uint64_t *indices; /* of the files, as last listed */
        size_t n_indices;
        uint64_t commit_index;
        uint64_t last_index;

        struct {
                struct segment *segment; /* NULL: the newest file has no good header */
                uint64_t first_index;    /* of the newest file */
                uint64_t pos;            /* all before it is whole */
                uint64_t last_index;
                bool is_closed;   /* pos is at its footer */
                bool is_searched; /* nothing good is behind pos, but for what comes */
        } tail;

        /* The reader. */
        struct segment *segment; /* NULL: between files */
        struct segment_cursor cursor;
        bool reads_tail;
        uint64_t done_index; /* first index of the file that was left last; 0: none */
        uint64_t next_index;
        bool has_entry; /* was found, but is behind a gap or the limit */
        struct entry entry;
        uint64_t pos; /* of entry */

        char *bad_path; /* where the reader met damage since the last good entry; NULL: nowhere */
        uint64_t bad_pos;
        struct offline_damage damage;
};

/* ---- The tail ---- */

static bool is_group_there(struct io_file *file,
                           uint64_t pos,
                           uint64_t size,
                           uint32_t salt,
                           uint64_t last_index,
                           struct group_header *ret) {
        uint8_t p[GROUP_HEADER_BYTES];
        struct group_header g;

        if (pos >= size || size - pos < LOG_SECTOR_BYTES ||
            io_pread(file, p, sizeof(p), pos, /* flags= */ 0) != (ssize_t) sizeof(p) ||
            group_header_decode(p, salt, &g) < 0)
                return false;
        if (g.first_index <= last_index || group_padded_bytes(g.length_bytes) > size - pos)
                return false;

        *ret = g;
        return true;
}

static bool is_footer_there(struct io_file *file,
                            uint64_t pos,
                            uint64_t size,
                            uint32_t salt,
                            uint64_t last_index,
                            struct segment_footer *ret) {
        uint8_t p[SEGMENT_FOOTER_BYTES];
        struct segment_footer f;

        if (pos >= size || size - pos < sizeof(p) ||
            io_pread(file, p, sizeof(p), pos, /* flags= */ 0) != (ssize_t) sizeof(p) ||
            segment_footer_decode(p, salt, &f) < 0 || f.last_index < last_index || f.pos != pos)
                return false;

        *ret = f;
        return true;
}

/* Whether all of a group is right. Return: 1; 0; -ENOMEM. */
static int group_is_whole(const struct segment *s, uint64_t pos, const struct group_header *g) {
        _cleanup_(entry_room_done) struct entry_room room = {};
        _cleanup_(mem_freep) uint8_t *p = NULL;
        uint64_t index = g->first_index;
        size_t at = GROUP_HEADER_BYTES;

        p = mem_alloc(g->length_bytes);
        if (!p)
                return -ENOMEM;
        if (io_pread(s->file, p, g->length_bytes, pos, /* flags= */ 0) != (ssize_t) g->length_bytes)
                return 0;

        for (; at < g->length_bytes; index++) {
                struct entry e;
                size_t n;
                int r;

                r = entry_decode_into(p + at,
                                      g->length_bytes - at,
                                      s->header.salt,
                                      ENTRY_VERIFY_BATCHES,
                                      &room,
                                      &e,
                                      &n);
                if (r == -ENOMEM)
                        return r;
                if (r < 0 || e.index != index)
                        return 0;
                at += n;
        }

        return index == g->last_index + 1;
}

/* The next good group header or footer behind @pos. Return: 1; 0 none; -ENOMEM. */
static int tail_search(const struct offline_log *l, uint64_t pos, uint64_t size, uint64_t *ret) {
        const struct segment *s = l->tail.segment;
        _cleanup_(mem_freep) uint8_t *p = NULL;

        p = mem_alloc(SEARCH_BYTES);
        if (!p)
                return -ENOMEM;

        for (pos += LOG_SECTOR_BYTES; pos < size;) {
                ssize_t n = io_pread(s->file, p, SEARCH_BYTES, pos, /* flags= */ 0);

                if (n < (ssize_t) LOG_SECTOR_BYTES) { /* a place that cannot be read is bad */
                        pos += LOG_SECTOR_BYTES;
                        continue;
                }
                for (size_t at = 0; at + LOG_SECTOR_BYTES <= (size_t) n; at += LOG_SECTOR_BYTES) {
                        struct segment_footer f;
                        struct group_header g;

                        if (le32_load(p + at) == 0)
                                continue;
                        if (is_group_there(s->file,
                                           pos + at,
                                           size,
                                           s->header.salt,
                                           l->tail.last_index,
                                           &g) ||
                            is_footer_there(s->file,
                                            pos + at,
                                            size,
                                            s->header.salt,
                                            l->tail.last_index,
                                            &f)) {
                                *ret = pos + at;
                                return 1;
                        }
                }
                pos += (uint64_t) n - (uint64_t) n % LOG_SECTOR_BYTES;
        }

        return 0;
}

/* Whether the group may be passed (I4). */
static int tail_may_pass(const struct offline_log *l, const struct group_header *g, uint64_t size) {
        const struct segment *s = l->tail.segment;
        uint64_t end = l->tail.pos + group_padded_bytes(g->length_bytes);
        struct segment_footer f;
        struct group_header next;

        if (g->last_index <= l->commit_index ||
            is_group_there(s->file, end, size, s->header.salt, g->last_index, &next) ||
            is_footer_there(s->file, end, size, s->header.salt, g->last_index, &f))
                return 1;

        return group_is_whole(s, l->tail.pos, g);
}

/* Goes as far as all is whole. */
static int tail_walk(struct offline_log *l) {
        const struct segment *s = l->tail.segment;
        uint64_t size;
        int r;

        if (!s || l->tail.is_closed)
                return 0;
        r = io_file_size(s->file, &size);
        if (r < 0)
                return r;

        for (;;) {
                struct segment_footer f;
                struct group_header g;

                if (is_group_there(
                            s->file, l->tail.pos, size, s->header.salt, l->tail.last_index, &g)) {
                        r = tail_may_pass(l, &g, size);
                        if (r < 0)
                                return r;
                        if (r > 0) {
                                l->tail.pos += group_padded_bytes(g.length_bytes);
                                l->tail.last_index = g.last_index;
                                l->commit_index = MAX(l->commit_index, g.commit_index);
                                continue;
                        }
                }
                if (is_footer_there(
                            s->file, l->tail.pos, size, s->header.salt, l->tail.last_index, &f)) {
                        l->tail.is_closed = true;
                        l->tail.last_index = f.last_index;
                        l->commit_index = MAX(l->commit_index, f.commit_index);
                        return 0;
                }

                if (l->tail.is_searched)
                        return 0;
                r = tail_search(l, l->tail.pos, size, &l->tail.pos);
                if (r < 0)
                        return r;
                l->tail.is_searched = r == 0;
                if (r == 0)
                        return 0;
        }
}

static void close_reader(struct offline_log *l) {
        segment_cursor_done(&l->cursor);
        l->segment = segment_unref(l->segment);
        l->reads_tail = false;
        l->has_entry = false;
}

static void tail_begin(struct offline_log *l, struct segment *s, uint64_t first_index) {
        segment_unref(l->tail.segment);
        l->tail.segment = s;
        l->tail.first_index = first_index;
        l->tail.pos = SEGMENT_HEADER_BYTES;
        l->tail.last_index = first_index - 1;
        l->tail.is_closed = false;
        l->tail.is_searched = false;
}

/* The footer of a file that is not the newest may name what the newest does not yet. */
static int note_footer(struct offline_log *l, uint64_t first_index) {
        _cleanup_(segment_unrefp) struct segment *s = NULL;
        int r;

        r = segment_open(l->io, l->dir, l->shard, first_index, IO_OPEN_READ, &s);
        if (r >= 0)
                r = segment_read_footer(s);
        if (r > 0)
                l->commit_index = MAX(l->commit_index, s->footer.commit_index);
        return r == -ENOMEM ? r : 0; /* what is wrong with it the reader will tell */
}

/* Opens the newest file, where it is not the one that is open already. Return: 0; -ENOENT it has
 * gone: list again. */
static int tail_open(struct offline_log *l) {
        _cleanup_(segment_unrefp) struct segment *s = NULL;
        const uint64_t first_index = l->indices[l->n_indices - 1];
        int r;

        r = segment_open(l->io, l->dir, l->shard, first_index, IO_OPEN_READ, &s);
        if (r == -EBADMSG || r == -EIO) {
                if (first_index != l->tail.first_index)
                        tail_begin(l, NULL, first_index);
                return 0;
        }
        if (r < 0)
                return r;

        if (l->tail.segment && l->tail.first_index == first_index &&
            l->tail.segment->header.generation == s->header.generation)
                return 0;

        if (l->reads_tail && l->tail.first_index == first_index) /* it was replaced */
                close_reader(l);
        if (l->n_indices > 1) {
                r = note_footer(l, l->indices[l->n_indices - 2]);
                if (r < 0)
                        return r;
        }
        tail_begin(l, TAKE_PTR(s), first_index);
        return 0;
}

static int list_files(struct offline_log *l) {
        uint64_t *indices = NULL;
        size_t n;
        int r;

        r = segment_list(l->io, l->dir, &indices, &n);
        if (r < 0)
                return r;
        if (n == 0) {
                mem_free(indices);
                return -ENOENT;
        }

        mem_free(l->indices);
        l->indices = indices;
        l->n_indices = n;
        return 0;
}

int offline_log_refresh(struct offline_log *l) {
        const uint64_t commit_index = l->commit_index, last_index = l->last_index;
        uint64_t checkpoint_index;
        int r = -ENOENT;

        assert(l);

        for (unsigned i = 0; i < LOOKS_MAX && r == -ENOENT; i++) {
                r = checkpoint_newest(l->io, l->dir, l->shard, &checkpoint_index);
                if (r >= 0)
                        r = list_files(l);
                if (r >= 0)
                        r = tail_open(l);
        }
        if (r < 0)
                return r;
        l->commit_index = MAX(l->commit_index, checkpoint_index);

        r = tail_walk(l);
        if (r < 0)
                return r;
        /* What is named as committed was there: names are read first, what is there afterwards. */
        l->last_index = MAX(l->last_index, MAX(l->tail.last_index, l->commit_index));

        if (l->segment && l->reads_tail) {
                if (l->segment->header.first_index == l->tail.first_index && l->tail.segment)
                        l->cursor.end_pos = l->tail.pos;
                else { /* it was closed, and others follow */
                        l->reads_tail = false;
                        r = segment_read_footer(l->segment);
                        if (r < 0)
                                return r;
                        l->cursor.end_pos = l->segment->end_pos;
                }
        }

        return l->commit_index > commit_index || l->last_index > last_index;
}

int offline_log_open(struct io *io, const char *dir, uint64_t shard, struct offline_log **ret) {
        _cleanup_(offline_log_freep) struct offline_log *l = NULL;
        int r;

        assert(io);
        assert(dir);
        assert(ret);

        l = new0(struct offline_log, 1);
        if (!l)
                return -ENOMEM;
        l->io = io;
        l->shard = shard;
        l->dir = mem_strdup(dir);
        if (!l->dir)
                return -ENOMEM;

        r = offline_log_refresh(l);
        if (r < 0)
                return r;
        l->next_index = l->indices[0];

        *ret = TAKE_PTR(l);
        return 0;
}

struct offline_log *offline_log_free(struct offline_log *l) {
        if (!l)
                return NULL;

        close_reader(l);
        segment_unref(l->tail.segment);
        mem_free(l->indices);
        mem_free(l->bad_path);
        mem_free(l->dir);
        return mem_free(l);
}

uint64_t offline_log_first_index(const struct offline_log *l) {
        return l->indices[0];
}

uint64_t offline_log_last_index(const struct offline_log *l) {
        return l->last_index;
}

uint64_t offline_log_commit_index(const struct offline_log *l) {
        return l->commit_index;
}

/* ---- Finding a place ---- */

void offline_log_seek(struct offline_log *l, uint64_t index) {
        assert(l);

        close_reader(l);
        l->done_index = 0;
        l->next_index = index;
        l->bad_path = mem_free(l->bad_path);
}

int offline_log_find_time(struct offline_log *l, int64_t time_ms, uint64_t *ret_index) {
        size_t i = l->n_indices - 1;

        /* Times never go back: what ends before it can be left out. */
        for (; i > 0; i--) {
                _cleanup_(segment_unrefp) struct segment *s = NULL;
                int r;

                r = segment_open(l->io, l->dir, l->shard, l->indices[i - 1], IO_OPEN_READ, &s);
                if (r >= 0)
                        r = segment_read_footer(s);
                if (r == -ENOMEM)
                        return r;
                if (r > 0 && s->footer.last_time_ms < time_ms)
                        break;
        }

        *ret_index = l->indices[i];
        return 0;
}

/* Whether the partition begins at or before @offset in this file. Return: 1; 0 it does not, or
 * nobody knows; -ENOMEM. */
static int file_has_before(struct offline_log *l,
                           uint64_t first_index,
                           uint64_t partition_id,
                           uint64_t offset) {
        _cleanup_(index_file_closep) struct index_file *f = NULL;
        _cleanup_(segment_unrefp) struct segment *s = NULL;
        struct index_point point, first;
        int r;

        r = segment_open(l->io, l->dir, l->shard, first_index, IO_OPEN_READ, &s);
        if (r >= 0)
                r = segment_read_footer(s);
        if (r > 0)
                r = index_file_open(l->io, s, /* whole= */ true, &f);
        if (f)
                r = index_file_points(
                        f, partition_id, INDEX_KEY_OFFSET, offset, 1, &point, &first, NULL);
        if (r == -ENOMEM)
                return r;
        return f && r > 0 && first.offset <= offset;
}

int offline_log_find_offset(struct offline_log *l,
                            uint64_t partition_id,
                            uint64_t offset,
                            uint64_t *ret_index) {
        size_t i = l->n_indices - 1;

        /* The newest file has no index. */
        for (; i > 0; i--) {
                int r;

                r = file_has_before(l, l->indices[i - 1], partition_id, offset);
                if (r < 0)
                        return r;
                if (r > 0) {
                        i--;
                        break;
                }
        }

        *ret_index = l->indices[i];
        return 0;
}

/* ---- Reading ---- */

static int note_bad(struct offline_log *l, uint64_t first_index, uint64_t pos) {
        if (l->bad_path)
                return 0;

        l->bad_path = segment_path(l->dir, first_index, ".log");
        l->bad_pos = pos;
        return l->bad_path ? 0 : -ENOMEM;
}

/* The file that has next_index, or the next there is behind the one that was left. Return: 1; 0
 * none. */
static int next_file(const struct offline_log *l, uint64_t *ret) {
        bool found = false;

        for (size_t i = 0; i < l->n_indices; i++) {
                if (l->indices[i] <= l->done_index || (found && l->indices[i] > l->next_index))
                        continue;
                *ret = l->indices[i];
                found = true;
        }

        return found;
}

/* Opens the next file. Return: 1; 0 there is none yet. */
static int reader_open(struct offline_log *l) {
        for (unsigned looks = 0;;) {
                _cleanup_(segment_unrefp) struct segment *s = NULL;
                uint64_t first_index = 0;
                int r;

                if (!next_file(l, &first_index))
                        return 0;

                r = segment_open(l->io, l->dir, l->shard, first_index, IO_OPEN_READ, &s);
                if (r == -ENOENT && ++looks < LOOKS_MAX) { /* dropped since: look again */
                        r = offline_log_refresh(l);
                        if (r < 0)
                                return r;
                        continue;
                }
                if (r == -EBADMSG || r == -EIO || r == -ENOENT) {
                        r = note_bad(l, first_index, 0);
                        if (r < 0)
                                return r;
                        l->done_index = first_index;
                        continue;
                }
                if (r < 0)
                        return r;

                l->reads_tail = l->tail.segment && first_index == l->tail.first_index;
                if (!l->reads_tail) {
                        r = segment_read_footer(s);
                        if (r < 0)
                                return r;
                }
                segment_cursor_init(&l->cursor,
                                    s,
                                    l->reads_tail ? l->tail.pos : s->end_pos,
                                    /* read_flags= */ 0);
                l->cursor.read_bytes = SEGMENT_CURSOR_READ_BYTES_MAX;
                l->cursor.skip_index = l->next_index;
                l->segment = TAKE_PTR(s);
                return 1;
        }
}

/* Finds the next entry at or behind next_index, whatever lies between. Return: 1; 0 none for now. */
static int find_entry(struct offline_log *l) {
        int r;

        for (;;) {
                if (!l->segment) {
                        r = reader_open(l);
                        if (r <= 0)
                                return r;
                }

                r = segment_cursor_next(&l->cursor, ENTRY_VERIFY_HEADER, &l->entry, &l->pos);
                if (r > 0 && l->entry.index >= l->next_index)
                        return 1;
                if (r > 0)
                        continue;
                if (r == 0 && l->reads_tail)
                        return 0;
                if (r == 0) {
                        l->done_index = l->segment->header.first_index;
                        close_reader(l);
                        continue;
                }
                if (r != -EBADMSG)
                        return r;

                r = note_bad(l, l->segment->header.first_index, l->cursor.pos);
                if (r >= 0)
                        r = segment_cursor_resync(&l->cursor);
                if (r < 0)
                        return r;
        }
}

/* Says that all before @index is not there (I2). */
static int tell_gap(struct offline_log *l, uint64_t index) {
        l->damage = (struct offline_damage){
                .first_index = l->next_index,
                .last_index = index - 1,
                .path = l->bad_path,
                .pos = l->bad_pos,
                .is_dropped = !l->bad_path && index == l->indices[0],
        };
        l->next_index = index;
        return -EBADMSG;
}

int offline_log_next(struct offline_log *l, uint64_t limit_index, struct entry *ret) {
        int r;

        assert(l);
        assert(ret);

        if (l->next_index > limit_index)
                return 0;
        if (!l->has_entry) {
                r = find_entry(l);
                if (r < 0)
                        return r;
                l->has_entry = r > 0;
        }

        /* All that is known to be there and does not come is lost. */
        if (!l->has_entry || l->entry.index > limit_index) {
                uint64_t end = MIN(limit_index, l->has_entry ? l->entry.index - 1 : l->last_index);

                return end >= l->next_index ? tell_gap(l, end + 1) : 0;
        }
        if (l->entry.index > l->next_index)
                return tell_gap(l, l->entry.index);

        l->has_entry = false;
        l->bad_path = mem_free(l->bad_path);
        l->next_index = l->entry.index + 1;
        *ret = l->entry;
        return 1;
}

void offline_log_damage(const struct offline_log *l, struct offline_damage *ret) {
        *ret = l->damage;
}

const char *offline_log_path(const struct offline_log *l) {
        return l->segment ? l->segment->path : "";
}

uint64_t offline_log_pos(const struct offline_log *l) {
        return l->pos;
}
