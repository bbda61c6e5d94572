/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Reference-counted bytes and slices of them: how payload moves without being copied. Bytes that
 * more than one slice can see are not written any more.
 *
 * The count is not atomic: a buf belongs to one thread at a time. A job that fills one owns it
 * alone until its completion hands it back.
 */

#include "base/macro.h"

struct buf {
        unsigned n_refs;
        size_t capacity; /* bytes of data[] */
        uint8_t data[] __attribute__((aligned(8)));
};

/* A part of a buf; shares it. An empty slice has .buf == NULL. */
struct slice {
        struct buf *buf;
        const uint8_t *data;
        size_t size; /* bytes */
};

/* Returns a new buf with one reference, of @capacity bytes (0 is allowed), contents uninitialised;
 * NULL: no memory. */
struct buf *buf_new(size_t capacity);
/* Shares: adds a reference, returns @b. */
struct buf *buf_ref(struct buf *b);
/* Drops a reference, the last one frees; takes NULL, returns NULL. */
struct buf *buf_unref(struct buf *b);
DEFINE_CLEANUP(struct buf *, buf_unref)

/* A slice of @b that shares it; @size bytes at @data, which lie inside @b. Release with
 * slice_done(). */
struct slice slice_of(struct buf *b, const uint8_t *data, size_t size);
/* The same slice once more, with a reference of its own. */
struct slice slice_ref(struct slice s);
/* Drops the slice's reference; @s is empty then. */
void slice_done(struct slice *s);
