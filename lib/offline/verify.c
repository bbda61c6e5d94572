/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verifying a directory: verify.h says what. A segment is walked group by group through one window
 * that moves forward; only where something is bad it is searched byte by byte for what is good
 * again.
 *
 *  I1  A finding names a place, and what it costs: entries by index, and where what follows tells,
 *      messages by offset.
 *  I2  The judgement of an open file's end is that of a start (log/recovery.h): unfinished is a
 *      note, what a start would not cut is damage.
 */
#include "offline/verify.h"

#include <inttypes.h>

#include "base/alloc.h"
#include "base/map.h"
#include "batch/batch.h"
#include "log/checkpoint.h"
#include "log/datadir.h"
#include "log/entry.h"
#include "log/hardstate.h"
#include "log/index.h"
#include "log/recovery.h"
#include "log/segment.h"
#include "state/state.h"

#define WINDOW_BYTES (UINT32_C(1) << 20)
#define ENTRY_ALIGN_BYTES 8u
/* What a daemon is just writing is looked at again so often. */
#define LOOKS_MAX 16u
/* How much a search may spend on checksums of what is no entry, in lengths of its group. */
#define SEARCH_FACTOR 8u

/* How far a partition has been followed. */
struct followed {
        struct map_node by_id;
        uint64_t id;
        uint64_t next_offset;
};

struct verify {
        struct io *io;
        const char *path;
        const struct verify_events *events;
        void *userdata;
        struct verify_sums sums;
        bool is_cancelled;
};

/* One shard, from its first file to its last. */
struct shard_verify {
        struct verify *v;
        uint64_t number;
        const char *dir;
        bool begins_late;    /* what was before the first file was dropped */
        uint64_t next_index; /* of the log, so far */
        uint64_t last_term;
        int64_t last_time_ms;
        uint64_t durable_index; /* the highest named */
        struct map followed;
        /* What the log says, from the oldest checkpoint on; NULL: not known (any more). */
        struct state *state;
        struct checkpoint *checkpoints;
        size_t n_checkpoints;
        uint64_t checkpoint_index; /* the newest */

        /* The file at hand. */
        struct segment *segment;
        struct index_builder *builder; /* NULL: damaged, the index file may be better */
        struct entry_room room;
        uint64_t size;
        uint8_t *window;
        size_t n_allocated;
        uint64_t window_pos;
        size_t n_window;
};

static int followed_compare(const void *key, const struct map_node *n) {
        return CMP(*(const uint64_t *) key, CONTAINER_OF(n, struct followed, by_id)->id);
}

static void tell(struct verify *v, struct verify_finding f) {
        *(f.is_damage ? &v->sums.n_damaged : &v->sums.n_notes) += 1;
        v->events->on_finding(v->userdata, &f);
}

static void tell_file(struct verify *v, const char *path, uint64_t pos, const char *what) {
        tell(v,
             (struct verify_finding){ .is_damage = true, .path = path, .pos = pos, .what = what });
}

static void tell_entries(struct shard_verify *s,
                         bool is_damage,
                         uint64_t pos,
                         uint64_t first,
                         uint64_t last,
                         const char *what) {
        tell(s->v,
             (struct verify_finding){
                     .is_damage = is_damage,
                     .path = s->segment ? s->segment->path : s->dir,
                     .pos = pos,
                     .shard = s->number,
                     .first_index = first,
                     .last_index = last,
                     .what = what,
             });
        if (is_damage) { /* what rests on it cannot be compared any more */
                s->state = state_free(s->state);
                s->builder = index_builder_free(s->builder);
        }
}

static int count_bytes(struct verify *v, uint64_t n) {
        v->sums.n_bytes += n;
        if (!v->events->on_progress || v->events->on_progress(v->userdata, v->sums.n_bytes))
                return 0;
        v->is_cancelled = true;
        return -ECANCELED;
}

static bool is_zero(const uint8_t *p, size_t n) {
        return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

/* ---- Small files ---- */

/* All of a file. Return: 0; -EFBIG larger than @max; what the disk says. */
static int read_all(struct verify *v, const char *path, size_t max, uint8_t **ret, size_t *ret_n) {
        _cleanup_(io_file_unrefp) struct io_file *file = NULL;
        _cleanup_(mem_freep) uint8_t *p = NULL;
        uint64_t size;
        ssize_t n;
        int r;

        r = io_open(v->io, path, IO_OPEN_READ, &file);
        if (r >= 0)
                r = io_file_size(file, &size);
        if (r < 0)
                return r;
        if (size > max)
                return -EFBIG;

        p = mem_alloc(MAX((size_t) size, (size_t) 1));
        if (!p)
                return -ENOMEM;
        n = io_pread(file, p, (size_t) size, 0, /* flags= */ 0);
        if (n < 0)
                return (int) n;

        v->sums.n_files++;
        *ret = TAKE_PTR(p);
        *ret_n = (size_t) n;
        return count_bytes(v, (uint64_t) n);
}

/* Two copies in blocks of their own. Return: 0; -EPROTONOSUPPORT; -ENOMEM; -ECANCELED. */
static int verify_hardstate(struct verify *v, const char *dir) {
        _cleanup_(mem_freep) char *path = mem_asprintf("%s/" HARDSTATE_FILE_NAME, dir);
        int state[2] = { -EBADMSG, -EBADMSG };

        if (!path)
                return -ENOMEM;

        for (unsigned looks = 0; looks < LOOKS_MAX && (state[0] < 0 || state[1] < 0); looks++) {
                _cleanup_(mem_freep) uint8_t *p = NULL;
                size_t n;
                int r;

                r = read_all(v, path, 2 * HARDSTATE_COPY_BYTES, &p, &n);
                if (r == -ENOMEM || r == -ECANCELED)
                        return r;
                if (r < 0 || n != 2 * (size_t) HARDSTATE_COPY_BYTES) {
                        tell_file(v, path, 0, r < 0 ? strerrordesc_np(-r) : "it has another size");
                        return 0;
                }
                for (unsigned i = 0; i < ELEMENTSOF(state); i++) {
                        struct hardstate h;

                        state[i] = hardstate_decode(p + (size_t) i * HARDSTATE_COPY_BYTES, &h);
                        if (state[i] == -EPROTONOSUPPORT)
                                return state[i];
                }
        }

        for (unsigned i = 0; i < ELEMENTSOF(state); i++)
                if (state[i] < 0)
                        tell_file(v,
                                  path,
                                  (uint64_t) i * HARDSTATE_COPY_BYTES,
                                  state[!i] < 0 ? "both copies are damaged"
                                                : "one copy is damaged; the other is good");
        return 0;
}

/* ---- The window ---- */

/* Borrows @n bytes at @pos until the next call; the caller has checked that they lie in the file.
 * Return: 0; -EIO they cannot be read; -ENOMEM; -ECANCELED. */
static int view(struct shard_verify *s, uint64_t pos, size_t n, const uint8_t **ret) {
        size_t keep = 0, want;
        ssize_t k;
        int r;

        if (pos >= s->window_pos && pos - s->window_pos <= s->n_window &&
            n <= s->n_window - (size_t) (pos - s->window_pos)) {
                *ret = s->window + (pos - s->window_pos);
                return 0;
        }

        want = (size_t) MIN(MAX((uint64_t) n, (uint64_t) WINDOW_BYTES), s->size - pos);
        if (pos >= s->window_pos && pos - s->window_pos < s->n_window)
                keep = s->n_window - (size_t) (pos - s->window_pos);
        if (!grow(s->window, s->n_allocated, want))
                return -ENOMEM;
        if (keep > 0)
                memmove(s->window, s->window + (pos - s->window_pos), keep);
        s->window_pos = pos;
        s->n_window = keep;

        k = io_pread(s->segment->file, s->window + keep, want - keep, pos + keep, /* flags= */ 0);
        if (k < 0)
                return k == -ENOMEM ? -ENOMEM : -EIO;
        s->n_window += (size_t) k;
        r = count_bytes(s->v, (uint64_t) k);
        if (r < 0)
                return r;
        if (s->n_window < n)
                return -EIO;

        *ret = s->window;
        return 0;
}

/* What is read from here on is read anew. */
static void forget_window(struct shard_verify *s) {
        s->n_window = 0;
}

/* ---- Entries ---- */

static int
tell_offsets(struct shard_verify *s, uint64_t pos, uint64_t id, uint64_t first, uint64_t last) {
        tell(s->v,
             (struct verify_finding){
                     .is_damage = true,
                     .path = s->segment->path,
                     .pos = pos,
                     .shard = s->number,
                     .partition_id = id,
                     .first_offset = first,
                     .last_offset = last,
                     .what = last == UINT64_MAX ? "the batch is damaged"
                                                : "the offsets before this place are missing",
             });
        return 0;
}

static int follow(struct shard_verify *s, uint64_t id, uint64_t offset, struct followed **ret) {
        struct map_node *n = map_find(&s->followed, &id);
        struct followed *f;

        if (!n) {
                f = new0(struct followed, 1);
                if (!f)
                        return -ENOMEM;
                f->id = id;
                f->next_offset = s->begins_late ? offset : 0;
                (void) map_insert(&s->followed, &f->id, &f->by_id, NULL); /* looked above */
                n = &f->by_id;
        }

        *ret = CONTAINER_OF(n, struct followed, by_id);
        return 0;
}

/* The batches of a good entry, and whether their offsets go on. Return: 1 all is well; 0 not, and
 * it was told; -ENOMEM. */
static int check_slices(struct shard_verify *s, const struct entry *e, uint64_t pos) {
        bool is_good = true;

        for (unsigned i = 0; i < e->n_slices; i++) {
                const struct entry_slice *slice = e->slices + i;
                struct followed *f;
                struct batch_view b;
                int r;

                r = follow(s, slice->partition_id, slice->base_offset, &f);
                if (r < 0)
                        return r;
                if (slice->base_offset < f->next_offset) {
                        tell_entries(s, true, pos, e->index, e->index, "its offsets go back");
                        is_good = false;
                } else if (slice->base_offset > f->next_offset) {
                        (void) tell_offsets(s, pos, f->id, f->next_offset, slice->base_offset - 1);
                        is_good = false;
                }

                if (batch_view_init(slice->batch, slice->batch_bytes, &b) != 0 ||
                    (uint64_t) b.base_offset != slice->base_offset || batch_verify(&b) < 0) {
                        (void) tell_offsets(s, pos, f->id, slice->base_offset, UINT64_MAX);
                        f->next_offset = slice->base_offset;
                        is_good = false;
                        continue;
                }
                f->next_offset = (uint64_t) batch_next_offset(&b);
                s->v->sums.n_batches++;
                s->v->sums.n_messages += (uint64_t) b.n_records;
        }

        return is_good;
}

/* What the log says at a checkpoint's index must be what the checkpoint says, of whatever version
 * its bytes are. */
static int compare_checkpoint(struct shard_verify *s, const struct checkpoint *c) {
        _cleanup_(byte_writer_done) struct byte_writer have = {}, want = {};
        _cleanup_(state_freep) struct state *state = NULL;
        int r;

        r = state_new(&state);
        if (r >= 0)
                r = state_decode(state, c->body, c->body_bytes);
        if (r >= 0)
                r = state_encode(state, &have);
        if (r >= 0)
                r = state_encode(s->state, &want);
        if (r < 0)
                return r;
        if (have.size == want.size && memcmp(have.data, want.data, want.size) == 0)
                return 0;

        tell_entries(s,
                     true,
                     0,
                     c->index,
                     c->index,
                     "the checkpoint after this entry is not what the log says");
        return 0;
}

/* What the entry means, and what follows from it for the checkpoints. */
static int apply(struct shard_verify *s, const struct entry *e, uint64_t pos) {
        int r;

        if (!s->state || e->index <= s->state->index)
                return 0;
        if (e->index != s->state->index + 1) {
                s->state = state_free(s->state);
                return 0;
        }

        r = state_apply(s->state, e);
        if (r == -ENOMEM)
                return r;
        if (r < 0) {
                tell_entries(
                        s, true, pos, e->index, e->index, "it does not follow from the others");
                return 0;
        }
        for (size_t i = 0; s->state && i < s->n_checkpoints; i++)
                if (s->checkpoints[i].index == e->index) {
                        r = compare_checkpoint(s, &s->checkpoints[i]);
                        if (r < 0)
                                return r;
                }
        return 0;
}

/* An entry whose own checksum is right, and which may stand here. */
static int take_entry(struct shard_verify *s, const struct entry *e, uint64_t pos) {
        int r;

        if (e->append_time_ms < s->last_time_ms)
                tell_entries(s, true, pos, e->index, e->index, "its time goes back");
        s->last_time_ms = MAX(s->last_time_ms, e->append_time_ms);
        s->last_term = e->term;
        s->v->sums.n_entries++;

        r = check_slices(s, e, pos);
        if (r < 0)
                return r;
        if (r == 0) { /* it was told */
                s->state = state_free(s->state);
                s->builder = index_builder_free(s->builder);
                return 0;
        }
        if (s->builder) {
                r = index_builder_add(s->builder, e, pos);
                if (r < 0)
                        return r;
        }
        return apply(s, e, pos);
}

/* Whether an entry of the group may stand at @at. Return: as entry_decode_into(). */
static int decode_here(struct shard_verify *s,
                       const struct group_header *g,
                       const uint8_t *p,
                       size_t at,
                       uint64_t index,
                       struct entry *ret,
                       size_t *ret_bytes) {
        const size_t n = g->length_bytes;
        int r;

        if (n - at < ENTRY_HEADER_BYTES || le64_load(p + at + 8) < index ||
            le64_load(p + at + 8) > g->last_index)
                return -EBADMSG;
        r = entry_decode_into(p + at,
                              n - at,
                              s->segment->header.salt,
                              ENTRY_VERIFY_HEADER,
                              &s->room,
                              ret,
                              ret_bytes);
        if (r < 0)
                return r;
        if (!is_zero(p + at + le32_load(p + at + 4), *ret_bytes - le32_load(p + at + 4)))
                return -EBADMSG;
        return ret->term < s->last_term || ret->term > g->last_term ? -EBADMSG : 0;
}

/* The next good entry behind @at. Return: 1; 0 none; -ENOMEM. */
static int search_entry(struct shard_verify *s,
                        const struct group_header *g,
                        const uint8_t *p,
                        size_t at,
                        uint64_t index,
                        size_t *ret_at) {
        uint64_t budget = (uint64_t) g->length_bytes * SEARCH_FACTOR;

        for (at += ENTRY_ALIGN_BYTES; at + ENTRY_HEADER_BYTES <= g->length_bytes;
             at += ENTRY_ALIGN_BYTES) {
                struct entry e;
                size_t n = le32_load(p + at + 4);
                int r;

                if (n > g->length_bytes - at || n > budget)
                        continue;
                r = decode_here(s, g, p, at, index, &e, &n);
                if (r == -ENOMEM)
                        return r;
                if (r >= 0) {
                        *ret_at = at;
                        return 1;
                }
                budget -= MIN(budget, (uint64_t) le32_load(p + at + 4) / 64 + 1);
        }

        return 0;
}

/* All entries of a group whose header is good. */
static int check_entries(struct shard_verify *s, const struct group_header *g, uint64_t pos) {
        const size_t n_padded = (size_t) group_padded_bytes(g->length_bytes);
        uint64_t index = g->first_index;
        size_t at = GROUP_HEADER_BYTES;
        const uint8_t *p;
        int r;

        r = view(s, pos, n_padded, &p);
        if (r < 0)
                return r;

        while (at < g->length_bytes) {
                struct entry e;
                size_t n = 0;

                r = decode_here(s, g, p, at, index, &e, &n);
                if (r == -ENOMEM)
                        return r;
                if (r < 0) {
                        size_t next = 0;

                        r = search_entry(s, g, p, at, index, &next);
                        if (r < 0)
                                return r;
                        tell_entries(s,
                                     true,
                                     pos + at,
                                     index,
                                     r > 0 ? le64_load(p + next + 8) - 1 : g->last_index,
                                     "the bytes are bad");
                        if (r == 0)
                                return 0;
                        index = le64_load(p + next + 8);
                        at = next;
                        continue;
                }
                if (e.index != index)
                        tell_entries(s, true, pos + at, index, e.index - 1, "they are missing");

                r = take_entry(s, &e, pos + at);
                if (r < 0)
                        return r;
                index = e.index + 1;
                at += n;
        }

        if (index <= g->last_index)
                tell_entries(s, true, pos + at, index, g->last_index, "they are missing");
        else if (g->last_index >= g->first_index && s->last_term != g->last_term)
                tell_entries(
                        s, true, pos, g->first_index, g->last_index, "the term is another one");
        if (!is_zero(p + g->length_bytes, n_padded - g->length_bytes) ||
            count_zero_sectors(p, n_padded) != g->n_zero_sectors)
                tell_entries(s, true, pos, 0, 0, "what pads the group write is not zero");
        return 0;
}

/* ---- A segment ---- */

enum found {
        FOUND_ZERO,
        FOUND_GROUP,
        FOUND_FOOTER,
        FOUND_OTHER,
};

/* What stands at @pos, where a group write could begin. Return: 0; errors as view(). */
static int look(struct shard_verify *s,
                uint64_t pos,
                enum found *ret,
                struct group_header *ret_group,
                struct segment_footer *ret_footer) {
        const uint32_t salt = s->segment->header.salt;
        const uint8_t *p;
        int r;

        r = view(s, pos, LOG_SECTOR_BYTES, &p);
        if (r == -EIO) {
                *ret = FOUND_OTHER;
                return 0;
        }
        if (r < 0)
                return r;

        if (group_header_decode(p, salt, ret_group) >= 0 &&
            ret_group->first_index >= s->next_index &&
            group_padded_bytes(ret_group->length_bytes) <= s->size - pos)
                *ret = FOUND_GROUP;
        else if (segment_footer_decode(p, salt, ret_footer) >= 0 && ret_footer->pos == pos &&
                 ret_footer->last_index + 1 >= s->next_index)
                *ret = FOUND_FOOTER;
        else
                *ret = is_zero(p, LOG_SECTOR_BYTES) ? FOUND_ZERO : FOUND_OTHER;
        return 0;
}

/* Bytes that are nothing. */
struct bad {
        bool is_set;
        bool begins_zero;
        uint64_t pos;
        uint64_t nonzero_pos; /* behind the last sector that is not zero */
};

/* What stands between good places was there once. */
static void
settle_bad(struct shard_verify *s, struct bad *bad, uint64_t pos, uint64_t first_index) {
        if (bad->is_set)
                tell_entries(s,
                             true,
                             bad->pos,
                             first_index > s->next_index ? s->next_index : 0,
                             first_index > s->next_index ? first_index - 1 : 0,
                             "the bytes are bad, and what follows them is not");
        else if (first_index > s->next_index)
                tell_entries(s, true, pos, s->next_index, first_index - 1, "they are missing");
        bad->is_set = false;
        s->next_index = MAX(s->next_index, first_index);
}

static int
check_footer(struct shard_verify *s, const struct segment_footer *f, uint64_t pos, bool is_newest) {
        const struct segment *g = s->segment;
        const uint8_t *p;
        int r;

        if (f->last_index + 1 != s->next_index || f->last_term != s->last_term ||
            f->last_time_ms != s->last_time_ms ||
            f->n_entries != f->last_index + 1 - g->header.first_index) {
                if (s->builder) /* else what it speaks of is known to be damaged */
                        tell_file(s->v, g->path, pos, "the footer does not fit what is before it");
        }
        s->durable_index = MAX(s->durable_index, f->last_index);

        pos += SEGMENT_FOOTER_BYTES;
        if (pos == s->size)
                return 0;
        for (uint64_t at = pos; at < s->size; at += WINDOW_BYTES) {
                size_t n = (size_t) MIN(s->size - at, (uint64_t) WINDOW_BYTES);

                r = view(s, at, n, &p);
                if (r < 0 && r != -EIO)
                        return r;
                if (r == -EIO || !is_zero(p, n)) {
                        tell_file(s->v, g->path, at, "something stands behind the footer");
                        return 0;
                }
        }
        tell(s->v,
             (struct verify_finding){
                     .is_damage = !is_newest,
                     .path = g->path,
                     .pos = pos,
                     .what = "the file does not end behind its footer",
             });
        return 0;
}

/* The end of the newest file, as a start would judge it (I2). @g: the group at bad->pos, whose
 * header is good; NULL: there is none. */
static int judge_end(struct shard_verify *s, const struct bad *bad, const struct group_header *g) {
        const char *what;

        if (s->next_index <= s->durable_index) {
                tell_entries(s,
                             true,
                             bad->pos,
                             s->next_index,
                             s->durable_index,
                             bad->is_set && bad->nonzero_pos > bad->pos
                                     ? "the bytes are bad, and something names them as durable"
                                     : "they are missing, and something names them as durable");
                return 0;
        }
        if (!bad->is_set || bad->nonzero_pos == bad->pos)
                return 0;

        if (g) {
                const size_t n = (size_t) group_padded_bytes(g->length_bytes);
                const uint8_t *p;
                int r;

                r = view(s, bad->pos, n, &p);
                if (r < 0 && r != -EIO)
                        return r;
                what = r >= 0 && bad->nonzero_pos <= bad->pos + n &&
                                       count_zero_sectors(p, n) > g->n_zero_sectors
                               ? NULL
                               : "the group was written whole";
        } else
                what = bad->begins_zero ? NULL : "the bytes are not those of an unfinished write";

        tell_entries(s,
                     what != NULL,
                     bad->pos,
                     s->next_index,
                     g ? g->last_index : s->next_index,
                     what ?: "a write that did not finish; a start cuts it");
        return 0;
}

/* Whether all of a group is right: nothing is told. Return: 1; 0; errors as view(). */
static int group_is_right(struct shard_verify *s, const struct group_header *g, uint64_t pos) {
        uint64_t index = g->first_index;
        size_t at = GROUP_HEADER_BYTES;
        const uint8_t *p;
        int r;

        r = view(s, pos, (size_t) group_padded_bytes(g->length_bytes), &p);
        if (r < 0)
                return r == -EIO ? 0 : r;

        for (; at < g->length_bytes; index++) {
                struct entry e;
                size_t n;

                r = entry_decode_into(p + at,
                                      g->length_bytes - at,
                                      s->segment->header.salt,
                                      ENTRY_VERIFY_BATCHES,
                                      &s->room,
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

/* The last group of the newest file, with nothing good behind it: the one that may be unfinished,
 * or just being written. Return: 1 it is right; 0 not; errors as view(). */
static int last_group_is_right(struct shard_verify *s, struct group_header *g, uint64_t pos) {
        int r;

        for (unsigned looks = 1;; looks++) {
                struct segment_footer f;
                struct group_header next;
                enum found found;
                const uint64_t end = pos + group_padded_bytes(g->length_bytes);
                const uint8_t *p;

                if (s->size - end >= LOG_SECTOR_BYTES) {
                        const uint64_t next_index = s->next_index;

                        /* Both at once, so that nothing is read twice. */
                        r = view(s, pos, (size_t) (end - pos) + LOG_SECTOR_BYTES, &p);
                        if (r < 0 && r != -EIO)
                                return r;
                        s->next_index = g->last_index + 1;
                        r = look(s, end, &found, &next, &f);
                        s->next_index = next_index;
                        if (r < 0)
                                return r;
                        if (found == FOUND_GROUP || found == FOUND_FOOTER)
                                return 1; /* it was synced: what is bad in it is damage */
                }
                r = group_is_right(s, g, pos);
                if (r != 0 || looks == LOOKS_MAX)
                        return r;
                forget_window(s);
        }
}

/* Walks the file from its first group on. */
static int walk(struct shard_verify *s, bool is_newest) {
        uint64_t pos = SEGMENT_HEADER_BYTES;
        struct group_header g, unfinished;
        struct segment_footer f;
        bool has_unfinished = false;
        struct bad bad = {};
        int r;

        while (s->size - pos >= LOG_SECTOR_BYTES) {
                enum found found;

                r = look(s, pos, &found, &g, &f);
                if (r < 0)
                        return r;

                if (found == FOUND_GROUP && is_newest) {
                        r = last_group_is_right(s, &g, pos);
                        if (r < 0)
                                return r;
                        if (r == 0 && !bad.is_set && g.first_index == s->next_index) {
                                has_unfinished = true;
                                unfinished = g;
                                found = FOUND_OTHER;
                        }
                }
                if (found == FOUND_GROUP) {
                        settle_bad(s, &bad, pos, g.first_index);
                        s->durable_index = MAX(s->durable_index, g.durable_index);
                        r = check_entries(s, &g, pos);
                        if (r < 0 && r != -EIO)
                                return r;
                        if (r == -EIO)
                                tell_entries(s,
                                             true,
                                             pos,
                                             g.first_index,
                                             g.last_index,
                                             "they cannot be read");
                        s->next_index = g.last_index + 1;
                        s->last_term = g.last_term;
                        pos += group_padded_bytes(g.length_bytes);
                        continue;
                }
                if (found == FOUND_FOOTER) {
                        settle_bad(s, &bad, pos, f.last_index + 1);
                        s->segment->is_closed = true;
                        s->segment->footer = f;
                        s->segment->end_pos = pos;
                        return check_footer(s, &f, pos, is_newest);
                }

                if (!bad.is_set)
                        bad = (struct bad){
                                .is_set = true,
                                .begins_zero = found == FOUND_ZERO,
                                .pos = pos,
                                .nonzero_pos = pos,
                        };
                pos += LOG_SECTOR_BYTES;
                if (found != FOUND_ZERO)
                        bad.nonzero_pos = pos;
        }

        if (!is_newest) {
                tell_entries(
                        s, true, bad.is_set ? bad.pos : pos, 0, 0, "the footer is missing or bad");
                return 0;
        }
        if (!bad.is_set)
                bad.pos = pos;
        return judge_end(s, &bad, has_unfinished ? &unfinished : NULL);
}

/* A row or point of an index file differs from what the segment says: only the last offset and time
 * of a partition may, and be too high (a cut may leave that). */
static bool index_fits(const uint8_t *have, const uint8_t *want, size_t n) {
        const size_t n_rows = le32_load(want + 44);

        if (memcmp(have + 16, want + 16, INDEX_HEADER_BYTES - 16) != 0 ||
            n < INDEX_HEADER_BYTES + n_rows * INDEX_PARTITION_BYTES)
                return false;

        for (size_t i = 0; i < n_rows; i++) {
                const uint8_t *a = have + INDEX_HEADER_BYTES + i * INDEX_PARTITION_BYTES;
                const uint8_t *b = want + INDEX_HEADER_BYTES + i * INDEX_PARTITION_BYTES;

                if (memcmp(a, b, 32) != 0 || le64_load(a + 32) < le64_load(b + 32) ||
                    le64_load(a + 40) < le64_load(b + 40))
                        return false;
        }
        return memcmp(have + INDEX_HEADER_BYTES + n_rows * INDEX_PARTITION_BYTES,
                      want + INDEX_HEADER_BYTES + n_rows * INDEX_PARTITION_BYTES,
                      n - INDEX_HEADER_BYTES - n_rows * INDEX_PARTITION_BYTES) == 0;
}

static int verify_index(struct shard_verify *s) {
        _cleanup_(mem_freep) char *path = NULL;
        _cleanup_(mem_freep) uint8_t *have = NULL;
        _cleanup_(mem_freep) uint8_t *want = NULL;
        _cleanup_(index_file_closep) struct index_file *f = NULL;
        size_t n_have, n_want;
        const char *what = NULL;
        int r;

        path = segment_path(s->dir, s->segment->header.first_index, ".idx");
        if (!path)
                return -ENOMEM;

        r = read_all(s->v, path, SIZE_MAX, &have, &n_have);
        if (r == -ENOMEM || r == -ECANCELED)
                return r;
        if (r == -ENOENT) {
                tell(s->v,
                     (struct verify_finding){
                             .path = path,
                             .what = "it is not there; it is made again when it is needed",
                     });
                return 0;
        }
        if (r >= 0)
                r = index_file_open_bytes(s->segment, have, n_have, /* whole= */ true, &f);
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                what = "it is damaged; it is made again when it is needed";
        else if (s->builder) {
                r = index_builder_encode(s->builder, s->segment, &want, &n_want);
                if (r < 0)
                        return r;
                if (n_have != n_want || !index_fits(have, want, n_want))
                        what = "it is not what its segment says; it is to be removed";
        }

        if (what)
                tell_file(s->v, path, 0, what);
        return 0;
}

static int verify_segment(struct shard_verify *s, uint64_t first_index, bool is_newest) {
        int r;

        r = segment_open(s->v->io, s->dir, s->number, first_index, IO_OPEN_READ, &s->segment);
        if (r == -ENOENT) /* dropped since it was listed */
                return 0;
        if (r == -EBADMSG || r == -EIO) {
                _cleanup_(mem_freep) char *path = segment_path(s->dir, first_index, ".log");

                if (!path)
                        return -ENOMEM;
                tell(s->v,
                     (struct verify_finding){
                             .is_damage = true,
                             .path = path,
                             .shard = s->number,
                             .first_index = first_index,
                             .last_index = 0,
                             .what = "the header of the file is bad: nothing of it can be read",
                     });
                s->state = state_free(s->state);
                return 0;
        }
        if (r < 0)
                return r;

        if (s->segment->header.previous_term < s->last_term)
                tell_file(s->v, s->segment->path, 0, "it does not follow the file before it");
        s->last_term = MAX(s->last_term, s->segment->header.previous_term);
        r = index_builder_new(&s->builder);
        if (r >= 0)
                r = io_file_size(s->segment->file, &s->size);
        if (r < 0)
                return r;

        forget_window(s);
        s->v->sums.n_files++;
        if (s->size < SEGMENT_HEADER_BYTES)
                tell_file(s->v, s->segment->path, s->size, "it is too short");
        else
                r = walk(s, is_newest);
        if (r >= 0 && s->size % LOG_SECTOR_BYTES != 0)
                tell_file(s->v, s->segment->path, s->size, "its size is not whole sectors");
        if (r >= 0 && s->segment->is_closed && !is_newest)
                r = verify_index(s);

        s->builder = index_builder_free(s->builder);
        s->segment = segment_unref(s->segment);
        return r;
}

/* ---- A shard ---- */

/* All checkpoints, oldest first; those that are bad are told. */
static int load_checkpoints(struct shard_verify *s) {
        size_t n_names, n_allocated = 0;
        char **names;
        int r;

        r = io_list(s->v->io, s->dir, &names, &n_names);
        if (r < 0)
                return r;

        for (size_t i = 0; i < n_names && r >= 0; i++) {
                _cleanup_(mem_freep) char *path = NULL;
                uint64_t index;

                if (!checkpoint_name_parse(names[i], &index))
                        continue;
                path = mem_asprintf("%s/%s", s->dir, names[i]);
                if (!path || !grow(s->checkpoints, n_allocated, s->n_checkpoints + 1)) {
                        r = -ENOMEM;
                        break;
                }
                r = checkpoint_read(
                        s->v->io, path, s->number, index, &s->checkpoints[s->n_checkpoints]);
                if (r == -ENOENT) { /* pruned since */
                        r = 0;
                        continue;
                }
                s->v->sums.n_files++;
                if (r >= 0) {
                        struct checkpoint *c = &s->checkpoints[s->n_checkpoints++];
                        _cleanup_(state_freep) struct state *state = NULL;

                        r = state_new(&state);
                        if (r >= 0)
                                r = state_decode(state, c->body, c->body_bytes);
                        if (r == -EBADMSG)
                                checkpoint_done(&s->checkpoints[--s->n_checkpoints]);
                        else if (r >= 0) {
                                s->checkpoint_index = c->index;
                                r = count_bytes(s->v, CHECKPOINT_HEADER_BYTES + c->body_bytes);
                        }
                }
                if (r == -EBADMSG || r == -EIO) {
                        tell_file(s->v, path, 0, "it is damaged; the one before it is used");
                        r = 0;
                }
        }
        io_names_free(names, n_names);
        return r;
}

/* Where following the state begins: with nothing, or with the oldest checkpoint. */
static int begin_state(struct shard_verify *s, uint64_t first_index) {
        const struct checkpoint *c = s->n_checkpoints > 0 ? &s->checkpoints[0] : NULL;
        int r;

        r = state_new(&s->state);
        if (r < 0 || first_index == 1)
                return r;

        if (!c || c->index + 1 < first_index) {
                if (s->checkpoint_index + 1 < first_index)
                        tell_entries(s,
                                     true,
                                     0,
                                     s->checkpoint_index + 1,
                                     first_index - 1,
                                     "a file is missing");
                s->state = state_free(s->state);
                return 0;
        }
        r = state_decode(s->state, c->body, c->body_bytes);
        if (r < 0)
                return r;
        s->state->index = c->index;
        s->state->term = c->term;
        s->state->time_ms = c->append_time_ms;
        return 0;
}

static int verify_segments(struct shard_verify *s) {
        _cleanup_(mem_freep) uint64_t *indices = NULL;
        size_t n;
        int r;

        r = segment_list(s->v->io, s->dir, &indices, &n);
        if (r < 0)
                return r;
        if (n == 0) {
                tell_file(s->v, s->dir, 0, "it has no segment");
                return 0;
        }

        r = begin_state(s, indices[0]);
        if (r < 0)
                return r;
        s->next_index = indices[0];
        s->begins_late = indices[0] > 1;
        s->durable_index = MAX(s->checkpoint_index, indices[n - 1] - 1);
        for (size_t i = 0; i < n; i++) {
                if (indices[i] > s->next_index)
                        tell_entries(s, true, 0, s->next_index, indices[i] - 1, "no file has them");
                s->next_index = MAX(s->next_index, indices[i]);
                r = verify_segment(s, indices[i], i == n - 1);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int verify_shard(struct verify *v, uint64_t number) {
        _cleanup_(mem_freep) char *dir = datadir_path_of_shard(v->path, number);
        struct shard_verify s = { .v = v, .number = number, .dir = dir };
        struct io_stat st;
        int r;

        if (!dir)
                return -ENOMEM;
        r = io_stat(v->io, dir, &st);
        if (r == -ENOENT) {
                tell_file(v, dir, 0, "it is listed, and is not there");
                return 0;
        }
        if (r < 0)
                return r;

        map_init(&s.followed, followed_compare);
        r = verify_hardstate(v, dir);
        if (r >= 0)
                r = load_checkpoints(&s);
        if (r >= 0)
                r = verify_segments(&s);

        MAP_FOREACH(&s.followed, n) {
                map_remove(&s.followed, n);
                mem_free(CONTAINER_OF(n, struct followed, by_id));
        }
        for (size_t i = 0; i < s.n_checkpoints; i++)
                checkpoint_done(&s.checkpoints[i]);
        mem_free(s.checkpoints);
        segment_unref(s.segment);
        index_builder_free(s.builder);
        entry_room_done(&s.room);
        state_free(s.state);
        mem_free(s.window);
        return r;
}

/* ---- The directory ---- */

int verify_directory(struct io *io,
                     const char *path,
                     const struct verify_events *events,
                     void *userdata,
                     struct verify_sums *ret) {
        struct verify v = { .io = io, .path = path, .events = events, .userdata = userdata };
        _cleanup_(mem_freep) struct datadir_info *info = NULL;
        _cleanup_(mem_freep) char *node = NULL;
        int r;

        assert(io);
        assert(path);
        assert(events);
        assert(ret);

        info = new0(struct datadir_info, 1);
        node = mem_asprintf("%s/node", path);
        if (!info || !node)
                return -ENOMEM;
        r = datadir_read(io, path, info);
        if (r < 0)
                return r;

        v.sums.n_files++;
        v.sums.n_bytes += 2 * (uint64_t) NODE_COPY_BYTES;
        for (unsigned i = 0; i < ELEMENTSOF(info->copies); i++)
                if (info->copies[i] < 0)
                        tell_file(&v,
                                  node,
                                  (uint64_t) i * NODE_COPY_BYTES,
                                  info->is_guessed ? "both copies are damaged or missing"
                                                   : "one copy is damaged; the other is good");

        for (size_t i = 0; i < info->n_shards && r >= 0; i++)
                r = verify_shard(&v, info->shards[i]);
        if (r < 0)
                return r;

        *ret = v.sums;
        return 0;
}

int verify_measure(struct io *io, const char *path, uint64_t *ret_bytes) {
        _cleanup_(mem_freep) struct datadir_info *info = NULL;
        uint64_t n_bytes = 0;
        int r;

        assert(ret_bytes);

        info = new0(struct datadir_info, 1);
        if (!info)
                return -ENOMEM;
        r = datadir_read(io, path, info);

        for (size_t i = 0; r >= 0 && i < info->n_shards; i++) {
                _cleanup_(mem_freep) char *dir = datadir_path_of_shard(path, info->shards[i]);
                char **names;
                size_t n;

                r = dir ? io_list(io, dir, &names, &n) : -ENOMEM;
                if (r == -ENOENT) {
                        r = 0;
                        continue;
                }
                if (r < 0)
                        break;
                for (size_t k = 0; k < n; k++) {
                        _cleanup_(mem_freep) char *file = mem_asprintf("%s/%s", dir, names[k]);
                        struct io_stat st;

                        if (file && io_stat(io, file, &st) >= 0)
                                n_bytes += st.size_bytes;
                }
                io_names_free(names, n);
        }
        if (r < 0)
                return r;

        *ret_bytes = n_bytes;
        return 0;
}
