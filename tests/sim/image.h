/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The bytes of a file at some moment. Copies share their pages, so that "on disk" and "in the page
 * cache" cost little where they agree. Zero-initialised is empty. Behind the size all is zero.
 */

#include "base/macro.h"

#define IMAGE_PAGE_BYTES 4096u

struct page;

struct image {
        struct page **pages; /* NULL: all zero */
        size_t n_pages;
        uint64_t size; /* bytes */
};

/* Empty and usable again. */
void image_done(struct image *i);
/* Makes @to the same as @from; the pages are shared. */
void image_copy(struct image *to, const struct image *from);
/* Writes @n bytes (@p NULL: zeroes) at @pos. The size is the caller's. */
void image_put(struct image *i, const uint8_t *p, size_t n, uint64_t pos);
/* Return: bytes read, fewer than @n at the end. */
size_t image_get(const struct image *i, uint8_t *p, size_t n, uint64_t pos);
void image_resize(struct image *i, uint64_t size);
/* Zeroes what was put behind the size. */
void image_cut(struct image *i);
/* Nothing past the size. */
void image_flip(struct image *i, uint64_t pos, unsigned bit);

/* Memory of the simulator itself: it ends the process where there is none, since a disk or a
 * network does not fail for want of memory, and the allocations that a FAULT_SWEEP lets fail must
 * be those of the code under test. */
void *must(void *p);
