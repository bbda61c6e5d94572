/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Reference-counted bytes.
 *
 * I1: n_refs > 0 as long as the buf exists.
 * I2: a slice that is not empty lies inside its buf.
 */

#include "base/buf.h"

#include <limits.h>

#include "base/alloc.h"

struct buf *buf_new(size_t capacity) {
        struct buf *b;
        size_t n_bytes;

        if (__builtin_add_overflow(sizeof(struct buf), capacity, &n_bytes))
                return NULL;

        b = mem_alloc(n_bytes);
        if (!b)
                return NULL;

        b->n_refs = 1;
        b->capacity = capacity;
        return b;
}

struct buf *buf_ref(struct buf *b) {
        assert(b);
        assert(b->n_refs > 0 && b->n_refs < UINT_MAX); /* I1 */

        b->n_refs++;
        return b;
}

struct buf *buf_unref(struct buf *b) {
        if (!b)
                return NULL;

        assert(b->n_refs > 0); /* I1 */

        if (--b->n_refs == 0)
                mem_free(b);
        return NULL;
}

struct slice slice_of(struct buf *b, const uint8_t *data, size_t size) {
        assert(b);
        assert(data >= b->data && data <= b->data + b->capacity); /* I2 */
        assert(size <= (size_t) (b->data + b->capacity - data));  /* I2 */

        return (struct slice){ .buf = buf_ref(b), .data = data, .size = size };
}

struct slice slice_ref(struct slice s) {
        if (s.buf)
                buf_ref(s.buf);
        return s;
}

void slice_done(struct slice *s) {
        assert(s);

        buf_unref(s->buf);
        *s = (struct slice){ 0 };
}
