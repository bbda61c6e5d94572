/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index of one segment, in memory and as a file. Not here: reading the entries that it leads to
 * (log/reader.h).
 *
 *  I1  Of a partition, points ascend by offset and by position, INDEX_DISTANCE_BYTES or more apart;
 *      its first slice in the segment has one. A partition without points does not exist.
 *  I2  index_builder_add() notes all slices of an entry or none.
 *  I3  No number read from a file is used before it has been compared with the size of the file or
 *      of the segment.
 */
#include "log/index.h"

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/map.h"
#include "batch/batch-format.h"
#include "log/cursor.h"
#include "log/segment.h"

#define INDEX_MAGIC UINT32_C(0x58495244) /* "DRIX" */
#define INDEX_BLOCK_BYTES 8192u
#define LOG_SUFFIX ".log"
#define INDEX_SUFFIX ".idx"
#define INDEX_SUFFIX_UNFINISHED ".idx.new"

struct partition_points {
        struct map_node node;
        uint64_t id;
        struct index_point *points;
        uint32_t n_points;
        uint32_t n_allocated;
        uint64_t last_offset;
        int64_t last_time_ms;
};

struct index_builder {
        struct map partitions; /* by id */
        uint64_t n_points;
};

static int partition_compare(const void *key, const struct map_node *n) {
        return CMP(*(const uint64_t *) key, CONTAINER_OF(n, struct partition_points, node)->id);
}

static struct partition_points *partition_of(struct map_node *n) {
        return n ? CONTAINER_OF(n, struct partition_points, node) : NULL;
}

static void partition_remove(struct index_builder *b, struct partition_points *p) {
        map_remove(&b->partitions, &p->node);
        mem_free(p->points);
        mem_free(p);
}

int index_builder_new(struct index_builder **ret) {
        struct index_builder *b;

        assert(ret);

        b = new0(struct index_builder, 1);
        if (!b)
                return -ENOMEM;

        map_init(&b->partitions, partition_compare);
        *ret = b;
        return 0;
}

struct index_builder *index_builder_free(struct index_builder *b) {
        if (!b)
                return NULL;

        MAP_FOREACH(&b->partitions, n)
                partition_remove(b, partition_of(n));
        return mem_free(b);
}

/* Makes room for one more point. By a quarter, not by doubling: there may be ten thousand of
 * these. */
static int partition_reserve(struct partition_points *p) {
        uint32_t n = p->n_allocated + p->n_allocated / 4 + 2;
        struct index_point *points;

        if (p->n_points < p->n_allocated)
                return 0;

        points = mem_realloc(p->points, (size_t) n * sizeof(struct index_point));
        if (!points)
                return -ENOMEM;

        p->points = points;
        p->n_allocated = n;
        return 0;
}

/* The partition, made where it is missing, with room for one more point. */
static int partition_acquire(struct index_builder *b, uint64_t id, struct partition_points **ret) {
        struct partition_points *p = partition_of(map_find(&b->partitions, &id));
        int r;

        if (p) {
                *ret = p;
                return partition_reserve(p);
        }

        p = new0(struct partition_points, 1);
        if (!p)
                return -ENOMEM;
        p->id = id;
        r = partition_reserve(p);
        if (r < 0) {
                mem_free(p);
                return r;
        }

        r = map_insert(&b->partitions, &id, &p->node, NULL);
        assert(r >= 0);
        *ret = p;
        return 0;
}

/* Takes back partitions that were made for an entry that is not noted. */
static void forget_empty(struct index_builder *b, const struct entry *e, unsigned n_slices) {
        for (unsigned i = 0; i < n_slices; i++) {
                struct partition_points *p =
                        partition_of(map_find(&b->partitions, &e->slices[i].partition_id));

                if (p && p->n_points == 0)
                        partition_remove(b, p);
        }
}

static void partition_note(struct index_builder *b,
                           struct partition_points *p,
                           const struct entry *e,
                           const struct entry_slice *s,
                           uint64_t pos) {
        const struct batch_header *h = (const struct batch_header *) s->batch;

        if (p->n_points == 0 ||
            pos - p->points[p->n_points - 1].pos >= INDEX_DISTANCE_BYTES) { /* I1 */
                assert(p->n_points < p->n_allocated);
                p->points[p->n_points++] = (struct index_point){
                        .offset = s->base_offset,
                        .append_time_ms = e->append_time_ms,
                        .pos = pos,
                };
                b->n_points++;
        }

        p->last_offset = s->base_offset + be32_get(h->last_offset_delta);
        p->last_time_ms = e->append_time_ms;
}

int index_builder_add(struct index_builder *b, const struct entry *e, uint64_t pos) {
        struct partition_points *p;
        int r;

        assert(b);
        assert(e);

        /* Nearly always one slice; with more, all memory first (I2). */
        for (unsigned i = 0; i < e->n_slices; i++) {
                r = partition_acquire(b, e->slices[i].partition_id, &p);
                if (r < 0) {
                        forget_empty(b, e, i);
                        return r;
                }
                if (e->n_slices == 1) {
                        partition_note(b, p, e, e->slices, pos);
                        return 0;
                }
        }

        for (unsigned i = 0; i < e->n_slices; i++) {
                p = partition_of(map_find(&b->partitions, &e->slices[i].partition_id));
                partition_note(b, p, e, e->slices + i, pos);
        }
        return 0;
}

/* Whether a point may still stand before what is looked for. */
static bool point_is_before(const struct index_point *p, enum index_key what, uint64_t key) {
        return what == INDEX_KEY_OFFSET ? p->offset <= key : p->append_time_ms < (int64_t) key;
}

size_t index_builder_points(const struct index_builder *b,
                            uint64_t partition_id,
                            enum index_key what,
                            uint64_t key,
                            size_t n_max,
                            const struct index_point **ret) {
        const struct partition_points *p;
        size_t low = 0, high;

        assert(b);
        assert(ret);

        p = partition_of(map_find(&b->partitions, &partition_id));
        if (!p)
                return 0;

        /* The first point that is not before the key; then one back. */
        high = p->n_points;
        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (point_is_before(p->points + middle, what, key))
                        low = middle + 1;
                else
                        high = middle;
        }
        low -= low > 0;

        *ret = p->points + low;
        return MIN((size_t) p->n_points - low, n_max);
}

void index_builder_cut(struct index_builder *b, uint64_t pos) {
        assert(b);

        MAP_FOREACH(&b->partitions, n) {
                struct partition_points *p = partition_of(n);

                while (p->n_points > 0 && p->points[p->n_points - 1].pos >= pos) {
                        p->n_points--;
                        b->n_points--;
                }
                if (p->n_points == 0)
                        partition_remove(b, p);
        }
}

uint64_t index_builder_n_points(const struct index_builder *b) {
        return b->n_points;
}

uint32_t index_builder_n_partitions(const struct index_builder *b) {
        return (uint32_t) b->partitions.n_nodes;
}

static void partition_encode(uint8_t *to, uint64_t first_number, const struct partition_points *p) {
        le64_store(to, p->id);
        le64_store(to + 8, first_number);
        le32_store(to + 16, p->n_points);
        le32_store(to + 20, 0);
        le64_store(to + 24, p->points[0].offset);
        le64_store(to + 32, p->last_offset);
        le64_store(to + 40, (uint64_t) p->last_time_ms);
}

static void point_encode(uint8_t *to, const struct index_point *p) {
        le64_store(to, p->offset);
        le64_store(to + 8, (uint64_t) p->append_time_ms);
        le64_store(to + 16, p->pos);
}

static void point_decode(const uint8_t *from, struct index_point *ret) {
        ret->offset = le64_load(from);
        ret->append_time_ms = (int64_t) le64_load(from + 8);
        ret->pos = le64_load(from + 16);
}

int index_builder_encode(const struct index_builder *b,
                         const struct segment *s,
                         uint8_t **ret,
                         size_t *ret_n) {
        size_t n_partitions, n;
        uint64_t number = 0;
        uint8_t *bytes, *to;

        assert(b);
        assert(s);
        assert(ret);
        assert(ret_n);

        n_partitions = b->partitions.n_nodes;
        n = INDEX_HEADER_BYTES + n_partitions * INDEX_PARTITION_BYTES +
            b->n_points * INDEX_POINT_BYTES;
        bytes = mem_alloc(n);
        if (!bytes)
                return -ENOMEM;

        to = bytes + INDEX_HEADER_BYTES;
        MAP_FOREACH(&b->partitions, node) {
                const struct partition_points *p = partition_of(node);

                partition_encode(to, number, p);
                to += INDEX_PARTITION_BYTES;
                number += p->n_points;
        }
        MAP_FOREACH(&b->partitions, node) {
                const struct partition_points *p = partition_of(node);

                for (uint32_t i = 0; i < p->n_points; i++, to += INDEX_POINT_BYTES)
                        point_encode(to, p->points + i);
        }
        assert(to == bytes + n);
        assert(number == b->n_points);

        le32_store(bytes + 4, INDEX_MAGIC);
        le32_store(bytes + 8, LOG_FORMAT_VERSION);
        le32_store(bytes + 12, crc32c(0, bytes + INDEX_HEADER_BYTES, n - INDEX_HEADER_BYTES));
        le64_store(bytes + 16, s->header.shard);
        le64_store(bytes + 24, s->header.first_index);
        le64_store(bytes + 32, s->header.generation);
        le32_store(bytes + 40, s->header.salt);
        le32_store(bytes + 44, (uint32_t) n_partitions);
        le64_store(bytes + 48, b->n_points);
        le64_store(bytes + 56, s->end_pos);
        le32_store(bytes, crc32c(0, bytes + 4, INDEX_HEADER_BYTES - 4));

        *ret = bytes;
        *ret_n = n;
        return 0;
}

/* The segment's path with another ending; returns new. NULL: no memory. */
static char *path_beside(const struct segment *s, const char *suffix) {
        size_t n = strlen(s->path);

        if (n >= strlen(LOG_SUFFIX) && streq(s->path + n - strlen(LOG_SUFFIX), LOG_SUFFIX))
                n -= strlen(LOG_SUFFIX);
        return mem_asprintf("%.*s%s", (int) n, s->path, suffix);
}

int index_write(struct io *io, const struct segment *s, const uint8_t *bytes, size_t n) {
        _cleanup_(io_file_unrefp) struct io_file *file = NULL;
        _cleanup_(mem_freep) char *path = NULL, *unfinished = NULL;
        struct io_stat st;
        int r;

        assert(io);
        assert(s);
        assert(bytes);

        path = path_beside(s, INDEX_SUFFIX);
        unfinished = path_beside(s, INDEX_SUFFIX_UNFINISHED);
        if (!path || !unfinished)
                return -ENOMEM;

        /* Not beside a segment that was dropped while somebody read it. */
        r = io_stat(io, s->path, &st);
        if (r < 0)
                return r;
        r = io_open(io, unfinished, IO_OPEN_WRITE | IO_OPEN_CREATE, &file);
        if (r == -EEXIST) {
                (void) io_unlink(io, unfinished); /* where it cannot go, the next step says so */
                r = io_open(io, unfinished, IO_OPEN_WRITE | IO_OPEN_CREATE, &file);
        }
        if (r < 0)
                return r;

        r = io_pwrite(file, bytes, n, 0);
        if (r >= 0)
                r = io_fdatasync(file);
        if (r >= 0)
                r = io_rename(io, unfinished, path);
        if (r == -ENOENT)
                return -EEXIST;
        if (r < 0)
                (void) io_unlink(io, unfinished); /* else the next one does */
        return r;
}

int index_build(const struct segment *s, struct index_builder **ret) {
        _cleanup_(index_builder_freep) struct index_builder *b = NULL;
        _cleanup_(segment_cursor_done) struct segment_cursor c = {};
        struct entry e;
        uint64_t pos;
        int r;

        assert(s);
        assert(ret);

        r = index_builder_new(&b);
        if (r < 0)
                return r;

        segment_cursor_init(&c, s, s->end_pos, /* read_flags= */ 0);
        c.read_bytes = SEGMENT_CURSOR_READ_BYTES_MAX;
        for (;;) {
                r = segment_cursor_next(&c, ENTRY_VERIFY_HEADER, &e, &pos);
                if (r == 0)
                        break;
                if (r > 0)
                        r = index_builder_add(b, &e, pos);
                else if (r == -EBADMSG)
                        r = segment_cursor_resync(&c);
                if (r < 0)
                        return r;
        }

        *ret = TAKE_PTR(b);
        return 0;
}

int index_rebuild(struct io *io, const struct segment *s) {
        _cleanup_(index_builder_freep) struct index_builder *b = NULL;
        _cleanup_(mem_freep) uint8_t *bytes = NULL;
        size_t n;
        int r;

        r = index_build(s, &b);
        if (r < 0)
                return r;
        r = index_builder_encode(b, s, &bytes, &n);
        if (r < 0)
                return r;

        return index_write(io, s, bytes, n);
}

/* ---- The file ---- */

struct index_file {
        const struct segment *segment; /* borrows */
        struct io_file *file;          /* NULL: all is in bytes */
        const uint8_t *bytes;
        uint8_t *loaded; /* what bytes points to, where it is ours */
        uint64_t n_bytes;
        uint32_t n_partitions;
        uint64_t n_points;
        bool is_verified;
        /* The part of the file read last. */
        uint8_t *block;
        uint64_t block_pos;
        size_t block_bytes;
};

struct index_file *index_file_close(struct index_file *f) {
        if (!f)
                return NULL;

        io_file_unref(f->file);
        mem_free(f->loaded);
        mem_free(f->block);
        return mem_free(f);
}

bool index_file_is_verified(const struct index_file *f) {
        return f->is_verified;
}

/* Borrows @n bytes (few) at @pos until the next call. Return: 0; -EBADMSG past the end; -EIO. */
static int index_file_view(struct index_file *f, uint64_t pos, size_t n, const uint8_t **ret) {
        uint64_t from = pos & ~(uint64_t) (INDEX_BLOCK_BYTES / 2 - 1);
        ssize_t k;

        assert(n <= INDEX_BLOCK_BYTES / 2);

        if (pos > f->n_bytes || n > f->n_bytes - pos)
                return -EBADMSG; /* I3 */
        if (f->bytes) {
                *ret = f->bytes + pos;
                return 0;
        }

        if (pos < f->block_pos || pos + n > f->block_pos + f->block_bytes) {
                f->block_bytes = 0;
                k = io_pread(f->file, f->block, INDEX_BLOCK_BYTES, from, /* flags= */ 0);
                if (k < 0)
                        return (int) k;
                if (pos + n > from + (uint64_t) k)
                        return -EBADMSG;
                f->block_pos = from;
                f->block_bytes = (size_t) k;
        }

        *ret = f->block + (pos - f->block_pos);
        return 0;
}

/* Checks the header against segment and size. Return: 0; -EBADMSG. */
static int index_file_begin(struct index_file *f, const uint8_t *p) {
        const struct segment *s = f->segment;

        if (le32_load(p) != crc32c(0, p + 4, INDEX_HEADER_BYTES - 4) ||
            le32_load(p + 4) != INDEX_MAGIC || le32_load(p + 8) != LOG_FORMAT_VERSION)
                return -EBADMSG;
        if (le64_load(p + 16) != s->header.shard || le64_load(p + 24) != s->header.first_index ||
            le64_load(p + 32) != s->header.generation || le32_load(p + 40) != s->header.salt ||
            le64_load(p + 56) != s->end_pos)
                return -EBADMSG;

        f->n_partitions = le32_load(p + 44);
        f->n_points = le64_load(p + 48);
        if (f->n_points > f->n_bytes / INDEX_POINT_BYTES ||
            f->n_bytes != INDEX_HEADER_BYTES + (uint64_t) f->n_partitions * INDEX_PARTITION_BYTES +
                                  f->n_points * INDEX_POINT_BYTES)
                return -EBADMSG; /* I3 */

        return 0;
}

static int index_file_begin_loaded(struct index_file *f, bool whole) {
        int r;

        if (f->n_bytes < INDEX_HEADER_BYTES)
                return -EBADMSG;
        r = index_file_begin(f, f->bytes);
        if (r < 0 || !whole)
                return r;
        if (crc32c(0, f->bytes + INDEX_HEADER_BYTES, f->n_bytes - INDEX_HEADER_BYTES) !=
            le32_load(f->bytes + 12))
                return -EBADMSG;

        f->is_verified = true;
        return 0;
}

static int index_file_load(struct index_file *f) {
        ssize_t n;

        f->loaded = new (uint8_t, MAX(f->n_bytes, UINT64_C(1)));
        if (!f->loaded)
                return -ENOMEM;
        n = io_pread(f->file, f->loaded, f->n_bytes, 0, /* flags= */ 0);
        if (n < 0)
                return (int) n;
        if ((uint64_t) n != f->n_bytes)
                return -EBADMSG;

        f->bytes = f->loaded;
        return index_file_begin_loaded(f, /* whole= */ true);
}

static int index_file_verify_body(struct index_file *f, uint32_t expected) {
        uint32_t crc = 0;

        for (uint64_t pos = INDEX_HEADER_BYTES; pos < f->n_bytes;) {
                size_t n = MIN(f->n_bytes - pos, (uint64_t) INDEX_BLOCK_BYTES / 2);
                const uint8_t *p;
                int r;

                r = index_file_view(f, pos, n, &p);
                if (r < 0)
                        return r;
                crc = crc32c(crc, p, n);
                pos += n;
        }

        if (crc != expected)
                return -EBADMSG;
        f->is_verified = true;
        return 0;
}

static int index_file_begin_large(struct index_file *f, bool whole) {
        const uint8_t *p;
        uint32_t crc;
        int r;

        f->block = new (uint8_t, INDEX_BLOCK_BYTES);
        if (!f->block)
                return -ENOMEM;
        r = index_file_view(f, 0, INDEX_HEADER_BYTES, &p);
        if (r < 0)
                return r;
        crc = le32_load(p + 12);
        r = index_file_begin(f, p);
        if (r < 0)
                return r;

        return whole ? index_file_verify_body(f, crc) : 0;
}

int index_file_open(struct io *io, const struct segment *s, bool whole, struct index_file **ret) {
        _cleanup_(index_file_closep) struct index_file *f = NULL;
        _cleanup_(mem_freep) char *path = NULL;
        int r;

        assert(io);
        assert(s);
        assert(ret);

        path = path_beside(s, INDEX_SUFFIX);
        f = new0(struct index_file, 1);
        if (!path || !f)
                return -ENOMEM;
        f->segment = s;

        r = io_open(io, path, IO_OPEN_READ, &f->file);
        if (r < 0)
                return r;
        r = io_file_size(f->file, &f->n_bytes);
        if (r < 0)
                return r;

        r = f->n_bytes <= INDEX_LOADED_BYTES_MAX ? index_file_load(f)
                                                 : index_file_begin_large(f, whole);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(f);
        return 0;
}

int index_file_open_bytes(const struct segment *s,
                          const uint8_t *bytes,
                          size_t n,
                          bool whole,
                          struct index_file **ret) {
        _cleanup_(index_file_closep) struct index_file *f = NULL;
        int r;

        assert(s);
        assert(bytes || n == 0);
        assert(ret);

        f = new0(struct index_file, 1);
        if (!f)
                return -ENOMEM;
        f->segment = s;
        f->bytes = bytes;
        f->n_bytes = n;

        r = index_file_begin_loaded(f, whole);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(f);
        return 0;
}

uint32_t index_file_n_partitions(const struct index_file *f) {
        assert(f);
        return f->n_partitions;
}

int index_file_partition(struct index_file *f, uint32_t i, struct index_partition *ret) {
        const uint8_t *p;
        int r;

        assert(f);
        assert(i < f->n_partitions);
        assert(ret);

        r = index_file_view(f,
                            INDEX_HEADER_BYTES + (uint64_t) i * INDEX_PARTITION_BYTES,
                            INDEX_PARTITION_BYTES,
                            &p);
        if (r < 0)
                return r;
        if (le64_load(p + 24) > le64_load(p + 32))
                return -EBADMSG;

        *ret = (struct index_partition){
                .id = le64_load(p),
                .first_offset = le64_load(p + 24),
                .last_offset = le64_load(p + 32),
                .last_time_ms = (int64_t) le64_load(p + 40),
        };
        return 0;
}

/* Where a partition's points are: numbers @ret_first to @ret_first + @ret_n - 1. Return: 1; 0 it
 * has none; -EBADMSG; -EIO. */
static int find_partition(struct index_file *f, uint64_t id, uint64_t *ret_first, uint32_t *ret_n) {
        uint32_t low = 0, high = f->n_partitions;
        uint64_t low_id = 0, high_id = UINT64_MAX;

        while (low < high) {
                uint32_t middle = low + (high - low) / 2, n;
                const uint8_t *p;
                uint64_t found, first;
                int r;

                r = index_file_view(f,
                                    INDEX_HEADER_BYTES + (uint64_t) middle * INDEX_PARTITION_BYTES,
                                    INDEX_PARTITION_BYTES,
                                    &p);
                if (r < 0)
                        return r;

                found = le64_load(p);
                if (found < low_id || found > high_id)
                        return -EBADMSG; /* out of order */
                if (found < id) {
                        low = middle + 1;
                        low_id = found + 1;
                        continue;
                }
                if (found > id) {
                        high = middle;
                        high_id = found - 1;
                        continue;
                }

                first = le64_load(p + 8);
                n = le32_load(p + 16);
                if (n == 0 || n > f->n_points || first > f->n_points - n || le32_load(p + 20) != 0)
                        return -EBADMSG; /* I3 */
                *ret_first = first;
                *ret_n = n;
                return 1;
        }

        return 0;
}

static int read_point(struct index_file *f, uint64_t number, struct index_point *ret) {
        const uint8_t *p;
        int r;

        r = index_file_view(f,
                            INDEX_HEADER_BYTES +
                                    (uint64_t) f->n_partitions * INDEX_PARTITION_BYTES +
                                    number * INDEX_POINT_BYTES,
                            INDEX_POINT_BYTES,
                            &p);
        if (r < 0)
                return r;
        point_decode(p, ret);

        if (ret->pos < SEGMENT_HEADER_BYTES || ret->pos >= f->segment->end_pos || ret->pos % 8 != 0)
                return -EBADMSG; /* I3 */
        return 0;
}

int index_file_points(struct index_file *f,
                      uint64_t partition_id,
                      enum index_key what,
                      uint64_t key,
                      size_t n_max,
                      struct index_point *ret,
                      struct index_point *ret_first,
                      bool *ret_more) {
        struct index_point first_point, point;
        uint64_t first, low = 0, high, n;
        uint32_t n_points;
        int r;

        assert(f);
        assert(n_max > 0);
        assert(ret);

        r = find_partition(f, partition_id, &first, &n_points);
        if (r <= 0)
                return r;
        r = read_point(f, first, &first_point);
        if (r < 0)
                return r;

        high = n_points;
        while (low < high) {
                uint64_t middle = low + (high - low) / 2;

                r = read_point(f, first + middle, &point);
                if (r < 0)
                        return r;
                if (point_is_before(&point, what, key))
                        low = middle + 1;
                else
                        high = middle;
        }
        low -= low > 0;

        n = MIN((uint64_t) n_points - low, MIN((uint64_t) n_max, (uint64_t) INT32_MAX));
        for (uint64_t i = 0; i < n; i++) {
                r = read_point(f, first + low + i, ret + i);
                if (r < 0)
                        return r;
                if (i > 0 && (ret[i].offset <= ret[i - 1].offset ||
                              ret[i].pos < ret[i - 1].pos + INDEX_DISTANCE_BYTES))
                        return -EBADMSG; /* I1 */
        }

        if (ret_first)
                *ret_first = first_point;
        if (ret_more)
                *ret_more = low + n < n_points;
        return (int) n;
}
