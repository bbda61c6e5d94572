/* SPDX-License-Identifier: Apache-2.0 */
/* Where the partitions end in the oldest segments. Not here: what is done about it
 * (drmqd/core/retention.h). */
#include "log/ends.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/map.h"
#include "log/index.h"
#include "log/shard-log-internal.h"

struct log_ends {
        struct io *io;
        struct segment **segments; /* share */
        size_t n_segments;
        struct log_end *ends;
        size_t n_ends;
        size_t n_allocated;
};

int shard_log_ends(struct shard_log *l, uint64_t to_index, struct log_ends **ret) {
        _cleanup_(log_ends_freep) struct log_ends *e = NULL;

        assert(l);
        assert(ret);

        e = new0(struct log_ends, 1);
        if (!e)
                return -ENOMEM;
        e->io = l->io;
        e->segments = new (struct segment *, MAX(l->n_segments, (size_t) 1));
        if (!e->segments)
                return -ENOMEM;

        for (size_t i = 0; i < l->n_segments; i++)
                if (l->segments[i]->is_closed && l->segments[i]->last_index <= to_index)
                        e->segments[e->n_segments++] = segment_ref(l->segments[i]);

        *ret = TAKE_PTR(e);
        return 0;
}

struct log_ends *log_ends_free(struct log_ends *e) {
        if (!e)
                return NULL;

        for (size_t i = 0; i < e->n_segments; i++)
                segment_unref(e->segments[i]);
        mem_free(e->segments);
        mem_free(e->ends);
        return mem_free(e);
}

static int take_index(struct log_ends *e, struct index_file *f) {
        const uint32_t n = index_file_n_partitions(f);

        if (!grow(e->ends, e->n_allocated, e->n_ends + n))
                return -ENOMEM;

        for (uint32_t i = 0; i < n; i++) {
                struct index_partition p;
                int r;

                r = index_file_partition(f, i, &p);
                if (r < 0)
                        return r;
                e->ends[e->n_ends + i] = (struct log_end){
                        .partition_id = p.id,
                        .next_offset = p.last_offset + 1,
                };
        }
        e->n_ends += n; /* all of them, or none */
        return 0;
}

/* The index is missing or bad: from the segment itself. */
static int take_segment(struct log_ends *e, const struct segment *s) {
        _cleanup_(index_builder_freep) struct index_builder *b = NULL;
        _cleanup_(index_file_closep) struct index_file *f = NULL;
        _cleanup_(mem_freep) uint8_t *bytes = NULL;
        size_t n;
        int r;

        r = index_build(s, &b);
        if (r < 0)
                return r;
        r = index_builder_encode(b, s, &bytes, &n);
        if (r < 0)
                return r;
        r = index_file_open_bytes(s, bytes, n, /* whole= */ false, &f);
        if (r < 0)
                return r;

        return take_index(e, f);
}

static int end_compare(const void *a, const void *b) {
        const struct log_end *x = a, *y = b;
        int r = CMP(x->partition_id, y->partition_id);

        return r != 0 ? r : CMP(x->next_offset, y->next_offset);
}

int log_ends_run(struct log_ends *e) {
        size_t n = 0;
        int r;

        assert(e);

        for (size_t i = 0; i < e->n_segments; i++) {
                _cleanup_(index_file_closep) struct index_file *f = NULL;

                r = index_file_open(e->io, e->segments[i], /* whole= */ true, &f);
                if (r >= 0)
                        r = take_index(e, f);
                if (r < 0 && r != -ENOMEM)
                        r = take_segment(e, e->segments[i]);
                if (r < 0)
                        return r;
        }

        /* Of each partition the last. */
        if (e->n_ends > 0)
                qsort(e->ends, e->n_ends, sizeof(e->ends[0]), end_compare);
        for (size_t i = 0; i < e->n_ends; i++)
                if (i + 1 == e->n_ends || e->ends[i + 1].partition_id != e->ends[i].partition_id)
                        e->ends[n++] = e->ends[i];
        e->n_ends = n;
        return 0;
}

const struct log_end *log_ends_all(const struct log_ends *e, size_t *ret_n) {
        assert(e);
        assert(ret_n);

        *ret_n = e->n_ends;
        return e->ends;
}
