/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fetches: the batches of one partition. Not here: walking entries (cursor.c), searching an index
 * (index.c), reading all entries (scan.c).
 *
 *  I1  Slices ascend by offset, each has its last offset at or behind the offset that was wanted
 *      next, and its batch's checksum is right.
 *  I2  A slice is given out only if it follows what was wanted without a gap in offsets: a gap is
 *      damage, also where the damage itself was not seen (an index that was made at a start leaves
 *      out what was bad then).
 *      What retention takes is no gap: nobody asks for it, a partition's first offset has risen.
 *      TODO: when a cleaner takes batches out of the middle, it has to leave word of the gaps.
 *  I3  Where offsets leave a gap, every index that was consulted has been verified whole before it
 *      is called damage.
 *  I4  Positions at or behind the end that a segment had when the fetch was made are never read.
 *  I5  Without leave to block, nothing is opened, and all reads are IO_READ_NOWAIT.
 *
 * A run walks "stretches" of a segment: a stretch begins at a point, at the hint, or at the
 * segment's start, and is INDEX_DISTANCE_BYTES longer than the position of the last point in it.
 * (Where the points are not known yet: than the end of the last batch found. That is further, so
 * nothing is missed, and large batches that follow each other need no index.) At its end the next
 * point is looked up.
 */
#include "log/reader.h"

#include "base/alloc.h"
#include "base/map.h"
#include "batch/batch.h"
#include "log/cursor.h"
#include "log/shard-log-internal.h"

/* Of one look into an index. As many batches, or this many times INDEX_DISTANCE_BYTES, come from
 * it. */
#define POINTS_MAX 256u
/* The first read of a run, a read in a stretch with few batches of the partition, the largest. */
#define READ_FIRST_BYTES (64u * 1024u)
#define READ_SPARSE_BYTES (INDEX_DISTANCE_BYTES + 4096u)
#define READ_BYTES_MAX (UINT64_C(4) << 20)
/* A run ends once it has read so much: on the loop, because a step must be short; in a job, if it
 * has something. */
#define STEP_BYTES_MAX (UINT64_C(4) << 20)
#define JOB_BYTES_MAX (UINT64_C(64) << 20)
#define GATHER_BYTES_MIN (32u * 1024u)

/* Of the functions below: what they found contradicts an index that has not been verified. */
#define SUSPICIOUS (-EUCLEAN)

struct held_segment {
        struct segment *segment; /* shares */
        uint64_t end_pos;
        /* What is in memory only is copied when the fetch is made. */
        bool is_known;
        bool known_more;
        uint32_t n_known;
        struct index_point *known;
        struct index_builder *built; /* its index file was missing or bad */
        /* What a look at the index file said. */
        bool is_probed;
        bool has_partition;
        struct index_point first;
};

struct log_read {
        struct io *io;
        uint64_t partition_id;
        enum index_key what;
        uint64_t key; /* offset or time, as asked for */
        uint64_t limit_offset;
        size_t max_bytes;
        struct log_position hint;
        struct held_segment *segments;
        size_t n_segments;

        /* A run. */
        bool may_block;
        bool is_careful;       /* indices are verified whole, the hint is not used */
        unsigned n_unverified; /* what was taken on trust so far */
        uint64_t next_offset;  /* what must come next; INDEX_KEY_TIME: unknown */
        size_t segment_i;
        struct segment_cursor cursor;
        uint64_t stretch_end;
        uint64_t n_bytes_before; /* read with cursors before this one */
        size_t hit_bytes;        /* entries with something for us, of what the cursor read */
        bool has_points;         /* of this segment */
        bool has_more_points;
        struct index_point *points; /* borrows: looked_up or known ones */
        size_t n_points;
        size_t point_i; /* the next one */
        struct index_point *looked_up;

        bool is_damaged; /* something was stepped over since the last good batch of ours */
        size_t damage_segment_i;
        uint64_t damage_pos;
        uint64_t damage_index;     /* 0: not known yet */
        uint64_t next_good_offset; /* 0: none found */

        struct log_read_slice *slices;
        size_t n_slices;
        size_t n_slices_allocated;
        size_t n_gathered_bytes;
        size_t n_held_bytes; /* bufs that settled slices share */
        size_t n_settled;    /* the slices behind these share window */
        struct buf *window;  /* borrows: the slices have the references */
        struct buf *gather;
        size_t n_gather_bytes;
        struct log_position position;
};

/* Whether a partition whose first point this is begins before what is looked for. */
static bool begins_before(const struct log_read *r, const struct index_point *p) {
        return r->what == INDEX_KEY_OFFSET ? p->offset <= r->key
                                           : p->append_time_ms < (int64_t) r->key;
}

/* ---- Made on the loop ---- */

static struct held_segment *hold(struct log_read *r, struct segment *s) {
        struct held_segment *h = r->segments + r->n_segments++;

        *h = (struct held_segment){
                .segment = segment_ref(s),
                .end_pos = s->end_pos,
        };
        return h;
}

static int hold_points(struct held_segment *h, const struct index_point *points, size_t n) {
        h->known_more = n > POINTS_MAX;
        h->n_known = (uint32_t) MIN(n, (size_t) POINTS_MAX);
        if (h->n_known > 0) {
                h->known = mem_dup(points, h->n_known * sizeof(struct index_point));
                if (!h->known)
                        return -ENOMEM;
        }
        h->is_known = true;
        return 0;
}

/* Copies the points of what has no index file yet: the open segment, and those whose file is being
 * written. */
static int hold_known(struct log_read *r, struct shard_log *l, struct held_segment *h) {
        const struct index_point *points = NULL;
        size_t n;

        if (h->segment == l->segments[l->n_segments - 1] && !h->segment->is_closed) {
                n = index_builder_points(
                        l->builder, r->partition_id, r->what, r->key, POINTS_MAX + 1, &points);
                return hold_points(h, points, n);
        }

        LIST_FOREACH(&l->index_jobs, j, struct index_job, link)
                if (j->segment == h->segment) {
                        n = index_builder_points(j->builder,
                                                 r->partition_id,
                                                 r->what,
                                                 r->key,
                                                 POINTS_MAX + 1,
                                                 &points);
                        return hold_points(h, points, n);
                }

        return 0;
}

static bool hint_fits(const struct log_position *hint, const struct segment *s, uint64_t offset) {
        return hint->segment_first_index == s->header.first_index &&
               hint->generation == s->header.generation && hint->offset == offset &&
               hint->pos >= SEGMENT_HEADER_BYTES && hint->pos <= s->end_pos && hint->pos % 8 == 0;
}

/* Which segments may be needed: from the hint's on; the newest, where its points show that the key
 * lies there; else all. Return: the first of them. */
static size_t
first_needed(struct log_read *r, const struct shard_log *l, const struct log_position *hint) {
        const struct index_point *first;

        for (size_t i = l->n_segments; hint && i > 0; i--)
                if (hint_fits(hint, l->segments[i - 1], r->key)) {
                        r->hint = *hint;
                        return i - 1;
                }

        if (l->n_segments > 0 && !l->segments[l->n_segments - 1]->is_closed &&
            index_builder_points(l->builder, r->partition_id, INDEX_KEY_OFFSET, 0, 1, &first) > 0 &&
            begins_before(r, first))
                return l->n_segments - 1;
        return 0;
}

static int hold_segments(struct log_read *r, struct shard_log *l, const struct log_position *hint) {
        size_t from = first_needed(r, l, hint);
        int k;

        r->segments = new0(struct held_segment, MAX(l->n_segments - from, (size_t) 1));
        if (!r->segments)
                return -ENOMEM;

        for (size_t i = from; i < l->n_segments; i++) {
                k = hold_known(r, l, hold(r, l->segments[i]));
                if (k < 0)
                        return k;
        }
        return 0;
}

static int log_read_new(struct shard_log *l,
                        uint64_t partition_id,
                        enum index_key what,
                        uint64_t key,
                        uint64_t limit_offset,
                        size_t max_bytes,
                        const struct log_position *hint,
                        struct log_read **ret) {
        _cleanup_(log_read_freep) struct log_read *r = NULL;
        int k;

        r = new0(struct log_read, 1);
        if (!r)
                return -ENOMEM;
        r->io = l->io;
        r->partition_id = partition_id;
        r->what = what;
        r->key = key;
        r->limit_offset = limit_offset;
        r->max_bytes = max_bytes;

        k = hold_segments(r, l, hint);
        if (k < 0)
                return k;

        *ret = TAKE_PTR(r);
        return 0;
}

int shard_log_read(struct shard_log *l,
                   uint64_t partition_id,
                   uint64_t offset,
                   uint64_t limit_offset,
                   size_t max_bytes,
                   const struct log_position *hint,
                   struct log_read **ret) {
        assert(l);
        assert(ret);

        return log_read_new(
                l, partition_id, INDEX_KEY_OFFSET, offset, limit_offset, max_bytes, hint, ret);
}

int shard_log_find_time(struct shard_log *l,
                        uint64_t partition_id,
                        int64_t time_ms,
                        uint64_t limit_offset,
                        struct log_read **ret) {
        assert(l);
        assert(ret);

        return log_read_new(l,
                            partition_id,
                            INDEX_KEY_TIME,
                            (uint64_t) time_ms,
                            limit_offset,
                            /* max_bytes= */ 1,
                            NULL,
                            ret);
}

static void drop_slices(struct log_read *r) {
        for (size_t i = 0; i < r->n_slices; i++)
                slice_done(&r->slices[i].batch);
        r->n_slices = r->n_settled = 0;
        r->gather = buf_unref(r->gather);
        r->n_gather_bytes = r->n_gathered_bytes = r->n_held_bytes = 0;
        r->window = NULL;
}

struct log_read *log_read_free(struct log_read *r) {
        if (!r)
                return NULL;

        segment_cursor_done(&r->cursor);
        drop_slices(r);
        for (size_t i = 0; i < r->n_segments; i++) {
                segment_unref(r->segments[i].segment);
                mem_free(r->segments[i].known);
                index_builder_free(r->segments[i].built);
        }
        mem_free(r->segments);
        mem_free(r->slices);
        mem_free(r->looked_up);
        return mem_free(r);
}

/* ---- Points ---- */

/* The index is missing or bad: from the segment itself. It is written too, for the next one; not
 * being able to is no reason not to read. */
static int build_index(struct log_read *r, struct held_segment *h) {
        _cleanup_(mem_freep) uint8_t *bytes = NULL;
        size_t n;
        int k;

        assert(r->may_block); /* I5 */

        k = index_build(h->segment, &h->built);
        if (k < 0)
                return k;

        k = index_builder_encode(h->built, h->segment, &bytes, &n);
        if (k < 0)
                return k;
        (void) index_write(r->io, h->segment, bytes, n);
        return 0;
}

/* Looks into a closed segment's index. @ret_first, @ret_more as index_file_points(). Return: how
 * many; 0 the partition is not there; -EAGAIN; -ENOMEM. */
static int look_up(struct log_read *r,
                   struct held_segment *h,
                   uint64_t key,
                   size_t n_max,
                   struct index_point *ret,
                   struct index_point *ret_first,
                   bool *ret_more) {
        const struct index_point *built = NULL;
        size_t n;
        int k;

        if (!h->built) {
                _cleanup_(index_file_closep) struct index_file *f = NULL;

                if (!r->may_block)
                        return -EAGAIN; /* I5 */

                k = index_file_open(r->io, h->segment, r->is_careful, &f);
                if (k >= 0) {
                        r->n_unverified += !index_file_is_verified(f);
                        k = index_file_points(
                                f, r->partition_id, r->what, key, n_max, ret, ret_first, ret_more);
                }
                if (k >= 0 || k == -ENOMEM)
                        return k;

                k = build_index(r, h);
                if (k < 0)
                        return k;
        }

        n = index_builder_points(h->built, r->partition_id, r->what, key, n_max + 1, &built);
        if (n == 0)
                return 0;
        *ret_more = n > n_max;
        n = MIN(n, n_max);
        memcpy(ret, built, n * sizeof(struct index_point));
        (void) index_builder_points(h->built, r->partition_id, INDEX_KEY_OFFSET, 0, 1, &built);
        *ret_first = built[0];
        return (int) n;
}

/* Finds the points of the segment at hand from @key on. Return: 0; errors as look_up(). */
static int find_points(struct log_read *r, uint64_t key) {
        struct held_segment *h = r->segments + r->segment_i;
        struct index_point first;
        int n;

        r->point_i = 0;
        if (h->is_known) {
                assert(!r->has_points);
                r->points = h->known;
                r->n_points = h->n_known;
                r->has_more_points = h->known_more;
                r->has_points = true;
                return 0;
        }
        if (h->is_probed && !h->has_partition) {
                r->n_points = 0;
                r->has_points = true;
                return 0;
        }

        if (!r->looked_up) {
                r->looked_up = new (struct index_point, POINTS_MAX);
                if (!r->looked_up)
                        return -ENOMEM;
        }
        r->has_more_points = false;
        n = look_up(r, h, key, POINTS_MAX, r->looked_up, &first, &r->has_more_points);
        if (n < 0)
                return n;
        r->points = r->looked_up;
        r->n_points = (size_t) n;
        r->has_points = true;
        return 0;
}

/* Whether the partition is in a segment, and with which first point. Return: 1; 0 it is not; errors
 * as look_up(). */
static int probe(struct log_read *r, struct held_segment *h) {
        struct index_point point;
        bool more;
        int n;

        if (h->is_known) {
                h->has_partition = h->n_known > 0;
                if (h->has_partition)
                        h->first = h->known[0]; /* nothing before it is of interest */
                return h->has_partition;
        }

        if (!h->is_probed) {
                n = look_up(r, h, r->key, 1, &point, &h->first, &more);
                if (n < 0)
                        return n;
                h->is_probed = true;
                h->has_partition = n > 0;
        }
        return h->has_partition;
}

/* The last segment in which the partition begins before the key, else the first one: what is looked
 * for lies there, or is the first that follows. By halves; a segment without the partition says
 * nothing, then the next one is asked. */
static int find_segment(struct log_read *r, size_t *ret) {
        size_t low = 0, high = r->n_segments, found = 0;

        /* What is in memory first: most who come without a hint want the newest. */
        while (high > 0 && r->segments[high - 1].is_known) {
                struct held_segment *h = r->segments + high - 1;

                if (probe(r, h) > 0 && begins_before(r, &h->first)) {
                        *ret = high - 1;
                        return 0;
                }
                high--;
        }

        while (low < high) {
                size_t middle = low + (high - low) / 2, i;
                int k = 0;

                for (i = middle; i < high; i++) {
                        k = probe(r, r->segments + i);
                        if (k != 0)
                                break;
                }
                if (k < 0)
                        return k;

                if (k > 0 && begins_before(r, &r->segments[i].first)) {
                        found = i;
                        low = i + 1;
                } else
                        high = middle;
        }

        *ret = found;
        return 0;
}

/* ---- Slices ---- */

/* The window is left: where little of it is shared, the batches move into memory of their own, so
 * that small batches far apart do not hold all that lies between them. Return: 0; -ENOMEM. */
static int settle(struct log_read *r) {
        size_t n_bytes = 0;

        if (!r->window)
                return 0;

        for (size_t i = r->n_settled; i < r->n_slices; i++)
                n_bytes += r->slices[i].batch.size;

        if (n_bytes >= r->window->capacity / 2) {
                r->n_held_bytes += r->window->capacity;
                r->n_settled = r->n_slices;
                r->window = NULL;
                return 0;
        }

        if (!r->gather || n_bytes > r->gather->capacity - r->n_gather_bytes) {
                struct buf *b = buf_new(MAX(n_bytes, GATHER_BYTES_MIN));

                if (!b)
                        return -ENOMEM;
                buf_unref(r->gather);
                r->gather = b;
                r->n_gather_bytes = 0;
                r->n_held_bytes += b->capacity;
        }
        for (; r->n_settled < r->n_slices; r->n_settled++) {
                struct slice *s = &r->slices[r->n_settled].batch;
                uint8_t *to = r->gather->data + r->n_gather_bytes;
                size_t n = s->size;

                memcpy(to, s->data, n);
                slice_done(s);
                *s = slice_of(r->gather, to, n);
                r->n_gather_bytes += n;
        }
        r->window = NULL;
        return 0;
}

static int add_slice(struct log_read *r, const struct entry *e, const struct entry_slice *s) {
        int k;

        if (r->window != r->cursor.buf) {
                k = settle(r);
                if (k < 0)
                        return k;
        }
        if (!grow(r->slices, r->n_slices_allocated, r->n_slices + 1))
                return -ENOMEM;

        r->window = r->cursor.buf;
        r->slices[r->n_slices++] = (struct log_read_slice){
                .index = e->index,
                .term = e->term,
                .base_offset = s->base_offset,
                .append_time_ms = e->append_time_ms,
                .not_before_ms = s->not_before_ms,
                .expires_at_ms = s->expires_at_ms,
                .priority = s->priority,
                .batch = slice_of(r->cursor.buf, s->batch, s->batch_bytes),
        };
        r->n_gathered_bytes += s->batch_bytes;
        return 0;
}

static void note_position(struct log_read *r, uint64_t pos) {
        const struct segment *s = r->segments[r->segment_i].segment;

        r->position = (struct log_position){
                .segment_first_index = s->header.first_index,
                .generation = s->header.generation,
                .pos = pos,
                .offset = r->next_offset,
        };
}

static void note_damage(struct log_read *r, uint64_t pos, uint64_t index) {
        if (r->is_damaged)
                return;

        r->is_damaged = true;
        r->damage_segment_i = r->segment_i;
        r->damage_pos = pos;
        r->damage_index = index;
}

enum take {
        TAKE_GOES_ON,
        TAKE_ENOUGH, /* what is gathered is all for this run */
};

/* A good batch of ours. Return: enum take; SUSPICIOUS; -EBADMSG; -ENOMEM. */
static int take_batch(struct log_read *r,
                      const struct entry *e,
                      const struct entry_slice *s,
                      const struct batch_view *view) {
        bool by_offset = r->what == INDEX_KEY_OFFSET;
        uint64_t last_offset = s->base_offset + (uint64_t) view->last_offset_delta;
        int k;

        if (by_offset ? last_offset < r->next_offset : e->append_time_ms < (int64_t) r->key) {
                r->is_damaged = false; /* I2: what is wanted is behind this */
                return TAKE_GOES_ON;
        }

        if (by_offset && s->base_offset > r->next_offset) {
                if (r->n_slices > 0)
                        return TAKE_ENOUGH; /* the next run looks into it */
                if (r->n_unverified > 0)
                        return SUSPICIOUS; /* I3 */
                /* it was not seen itself: it is before this */
                note_damage(r, r->cursor.pos, e->index);
                r->next_good_offset = s->base_offset;
                return -EBADMSG; /* I2 */
        }
        r->is_damaged = false;
        if (s->base_offset >= r->limit_offset)
                return TAKE_ENOUGH;

        k = add_slice(r, e, s);
        if (k < 0)
                return k;
        r->next_offset = last_offset + 1;
        return r->n_gathered_bytes >= r->max_bytes ? TAKE_ENOUGH : TAKE_GOES_ON;
}

/* Return: 1 and the view; 0 its bytes are bad. */
static int verify_batch(const struct entry_slice *s, struct batch_view *ret) {
        return batch_view_init(s->batch, s->batch_bytes, ret) == 0 &&
               (uint64_t) ret->base_offset == s->base_offset && batch_verify(ret) >= 0;
}

/* Looks for our slices in the entry at @pos. Return: as take_batch(). */
static int take_entry(struct log_read *r, const struct entry *e, uint64_t pos) {
        bool is_ours = false;
        size_t n_slices_before = r->n_slices, n_slices;
        int k;

        for (unsigned i = 0; i < e->n_slices; i++) {
                const struct entry_slice *s = e->slices + i;
                struct batch_view view;

                if (s->partition_id != r->partition_id)
                        continue;
                is_ours = true;

                if (!verify_batch(s, &view)) {
                        note_damage(r, pos, e->index);
                        continue;
                }
                n_slices = r->n_slices;
                k = take_batch(r, e, s, &view);
                if (k < 0)
                        return k;
                if (k == TAKE_ENOUGH) {
                        /* In the middle of the entry, or behind it. */
                        if (r->n_slices > n_slices_before)
                                note_position(r,
                                              r->n_slices > n_slices && i + 1 == e->n_slices
                                                      ? r->cursor.pos
                                                      : pos);
                        return k;
                }
        }

        if (!is_ours)
                return TAKE_GOES_ON;

        r->hit_bytes += (size_t) (r->cursor.pos - pos);
        if (!r->has_points)
                r->stretch_end = r->cursor.pos + INDEX_DISTANCE_BYTES;
        if (r->n_slices > 0)
                note_position(r, r->cursor.pos);
        return TAKE_GOES_ON;
}

/* ---- Walking ---- */

static void begin_segment(struct log_read *r, size_t i, uint64_t pos) {
        struct held_segment *h = r->segments + i;

        r->n_bytes_before += r->cursor.n_bytes_read;
        segment_cursor_done(&r->cursor);
        segment_cursor_init(
                &r->cursor, h->segment, h->end_pos, r->may_block ? 0 : IO_READ_NOWAIT); /* I4, I5 */
        if (pos > SEGMENT_HEADER_BYTES)
                segment_cursor_seek(&r->cursor, pos);

        r->segment_i = i;
        r->stretch_end = pos + INDEX_DISTANCE_BYTES;
        r->hit_bytes = 0;
        r->has_points = false;
        r->has_more_points = false;
        r->n_points = r->point_i = 0;
}

/* Goes to the next point at or behind the cursor. Return: 1; 0 there is none in this segment;
 * -ENODATA there are more than are at hand, and something is gathered; errors as look_up(). */
static int next_stretch(struct log_read *r) {
        struct segment_cursor *c = &r->cursor;
        int k;

        if (!r->has_points) {
                k = find_points(r, r->what == INDEX_KEY_OFFSET ? r->next_offset : r->key);
                if (k < 0)
                        return k;
        }

        for (;;) {
                for (; r->point_i < r->n_points; r->point_i++) {
                        const struct index_point *p = r->points + r->point_i;

                        if (p->pos < c->pos && p->pos + INDEX_DISTANCE_BYTES <= c->pos)
                                continue;

                        /* At or before the cursor: its batch has been read, but not all that
                         * belongs to it. */
                        if (p->pos > c->pos)
                                segment_cursor_seek(c, p->pos);
                        r->stretch_end = p->pos + INDEX_DISTANCE_BYTES;
                        r->point_i++;
                        return 1;
                }
                if (!r->has_more_points)
                        return 0;
                if (r->n_slices > 0)
                        return -ENODATA;
                if (r->segments[r->segment_i].is_known || r->what == INDEX_KEY_TIME) {
                        /* So many, and all damaged: there is nothing quicker left. */
                        r->has_more_points = false;
                        r->stretch_end = c->end_pos;
                        return 1;
                }

                k = find_points(r, MAX(r->next_offset, r->points[r->n_points - 1].offset + 1));
                if (k < 0)
                        return k;
        }
}

/* How much the next read takes: much where most of what was read was ours. */
static size_t read_bytes(const struct log_read *r) {
        const struct segment_cursor *c = &r->cursor;
        uint64_t left = r->max_bytes > r->n_gathered_bytes ? r->max_bytes - r->n_gathered_bytes : 0;

        if (c->n_bytes_read == 0)
                return r->has_points ? READ_SPARSE_BYTES * 2 : READ_FIRST_BYTES;
        if (r->hit_bytes < c->n_bytes_read / 4)
                return READ_SPARSE_BYTES;
        return (size_t) MAX(MIN(left + left / 16 + 4096, READ_BYTES_MAX),
                            (uint64_t) READ_SPARSE_BYTES);
}

/* Steps over what is damaged at the cursor. Return: 0; -EAGAIN; others as
 * segment_cursor_resync(). */
static int step_over(struct log_read *r) {
        struct segment_cursor *c = &r->cursor;
        uint64_t pos = c->pos;
        int k;

        if (!r->may_block)
                return -EAGAIN;

        note_damage(r, pos, /* index= */ 0);
        k = segment_cursor_resync(c);
        if (k < 0)
                return k;

        /* A point may lead to what the search passed over. */
        if (r->has_points)
                while (r->point_i < r->n_points && r->points[r->point_i].pos <= pos)
                        r->point_i++;
        if (r->has_points && r->point_i < r->n_points && r->points[r->point_i].pos < c->pos)
                segment_cursor_seek(c, r->points[r->point_i].pos);
        return 0;
}

/* Walks on to the next entry of a stretch and looks at it. Return: as take_batch(). */
static int walk(struct log_read *r) {
        struct segment_cursor *c = &r->cursor;
        struct entry e;
        uint64_t pos;
        int k;

        c->read_bytes = read_bytes(r);
        /* Half of what was asked for is enough where more would cost another read. */
        c->stays = r->n_slices > 0 && r->n_gathered_bytes >= r->max_bytes / 2;
        k = segment_cursor_next(c, ENTRY_VERIFY_HEADER, &e, &pos);
        if (k == -EBADMSG) {
                k = step_over(r);
                if (k >= 0)
                        return TAKE_GOES_ON;
        }
        if (k == -ENODATA)
                return TAKE_ENOUGH;
        if (k < 0)
                return k;
        if (k == 0) {
                /* The end of the segment; what was walked up to here needs no index. */
                r->stretch_end = c->pos;
                if (!r->has_points && !r->is_damaged) {
                        r->has_points = true;
                        r->n_points = r->point_i = 0;
                }
                return TAKE_GOES_ON;
        }

        /* Points that lie inside a stretch make it longer. */
        while (r->has_points && r->point_i < r->n_points && r->points[r->point_i].pos <= pos) {
                r->stretch_end = r->points[r->point_i].pos + INDEX_DISTANCE_BYTES;
                r->point_i++;
        }

        return take_entry(r, &e, pos);
}

static uint64_t n_bytes_read(const struct log_read *r) {
        return r->n_bytes_before + r->cursor.n_bytes_read;
}

/* One stretch after the other, to the end. Return: 0; errors as take_batch(). */
static int run_stretches(struct log_read *r) {
        for (;;) {
                int k;

                if (r->cursor.pos < r->stretch_end && r->cursor.pos < r->cursor.end_pos)
                        k = walk(r);
                else {
                        k = next_stretch(r);
                        if (k == -ENODATA)
                                return 0;
                        if (k < 0)
                                return k;
                        if (k == 0 && r->segment_i + 1 == r->n_segments)
                                return 0;
                        if (k == 0) {
                                begin_segment(r, r->segment_i + 1, SEGMENT_HEADER_BYTES);
                                if (r->may_block || r->segments[r->segment_i].is_known)
                                        r->stretch_end = SEGMENT_HEADER_BYTES; /* points first */
                                if (r->n_slices > 0)
                                        note_position(r, SEGMENT_HEADER_BYTES);
                        } else if (r->n_slices > 0)
                                note_position(r, r->cursor.pos);
                        k = TAKE_GOES_ON;
                }
                if (k < 0)
                        return k;
                if (k == TAKE_ENOUGH)
                        return 0;

                if (!r->may_block && n_bytes_read(r) > STEP_BYTES_MAX + r->max_bytes)
                        return -EAGAIN;
                if (r->n_slices > 0 && n_bytes_read(r) > JOB_BYTES_MAX)
                        return 0;
        }
}

/* Which index is damaged, where the walk does not know because it began behind the start of the
 * segment. */
static int find_damaged_index(struct log_read *r) {
        const struct held_segment *h = r->segments + r->damage_segment_i;
        _cleanup_(segment_cursor_done) struct segment_cursor c = {};
        struct entry e;
        uint64_t pos;
        int k;

        segment_cursor_init(&c, h->segment, h->end_pos, /* read_flags= */ 0);
        c.read_bytes = SEGMENT_CURSOR_READ_BYTES_MAX;
        while (c.pos < r->damage_pos) {
                k = segment_cursor_next(&c, ENTRY_VERIFY_HEADER, &e, &pos);
                if (k == 0)
                        break;
                if (k == -EBADMSG && c.pos >= r->damage_pos)
                        break;
                if (k == -EBADMSG)
                        k = segment_cursor_resync(&c);
                if (k < 0)
                        return k;
        }

        r->damage_index = c.next_index;
        return 0;
}

static int run_once(struct log_read *r) {
        size_t i;
        int k;

        drop_slices(r);
        r->n_unverified = 0;
        r->n_bytes_before = r->cursor.n_bytes_read = 0;
        r->is_damaged = false;
        r->next_good_offset = 0;
        r->next_offset = r->what == INDEX_KEY_OFFSET ? r->key : 0;
        if (r->n_segments == 0)
                return 0;

        if (r->hint.pos > 0 && !r->is_careful) {
                r->n_unverified++;
                begin_segment(r, 0, r->hint.pos);
        } else {
                k = find_segment(r, &i);
                if (k < 0)
                        return k;
                begin_segment(r, i, SEGMENT_HEADER_BYTES);
                r->stretch_end = SEGMENT_HEADER_BYTES; /* points first */
        }

        k = run_stretches(r);
        if (k == -EAGAIN || k == SUSPICIOUS)
                if (r->n_slices > 0)
                        k = 0; /* the next run meets it again */
        if (k < 0 && k != -EBADMSG)
                return k;

        if (r->n_slices > 0)
                return settle(r) < 0 ? -ENOMEM : 1;
        if (r->n_unverified > 0)
                return SUSPICIOUS; /* I3: there was to be something, and whole */
        if (k == 0 && !r->is_damaged)
                return 0;
        if (r->damage_index == 0) {
                k = find_damaged_index(r);
                if (k < 0)
                        return k;
        }
        return -EBADMSG;
}

int log_read_run(struct log_read *r, bool may_block) {
        int k;

        assert(r);

        if (r->what == INDEX_KEY_OFFSET && r->key >= r->limit_offset)
                return 0;

        r->may_block = may_block;
        r->is_careful = r->what == INDEX_KEY_TIME;
        k = run_once(r);
        if (k == SUSPICIOUS && !may_block)
                k = -EAGAIN;
        if (k == SUSPICIOUS) {
                r->is_careful = true;
                for (size_t i = 0; i < r->n_segments; i++)
                        r->segments[i].is_probed = false;
                k = run_once(r);
                assert(k != SUSPICIOUS);
        }

        /* What was read ahead and is not shared is of no use to anybody. */
        segment_cursor_done(&r->cursor);
        return k;
}

const struct log_read_slice *log_read_slices(const struct log_read *r, size_t *ret_n) {
        assert(r);
        assert(ret_n);

        *ret_n = r->n_slices;
        return r->slices;
}

void log_read_position(const struct log_read *r, struct log_position *ret) {
        assert(r);
        assert(r->n_slices > 0);
        assert(ret);

        *ret = r->position;
}

void log_read_damage(const struct log_read *r,
                     uint64_t *ret_index,
                     uint64_t *ret_next_good_offset) {
        assert(r);
        assert(ret_index);
        assert(ret_next_good_offset);

        *ret_index = r->damage_index;
        *ret_next_good_offset = r->next_good_offset;
}

size_t log_read_bytes(const struct log_read *r) {
        assert(r);

        return r->n_held_bytes + r->n_slices_allocated * sizeof(struct log_read_slice);
}

uint64_t log_read_bytes_read(const struct log_read *r) {
        assert(r);

        return n_bytes_read(r);
}
