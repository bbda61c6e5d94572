/* SPDX-License-Identifier: Apache-2.0 */

/* Pages that are shared until they are written, and left out where they are zero: zeroing ahead
 * costs nothing. */

#include "tests/sim/image.h"

#include <stdlib.h>

struct page {
        unsigned n_refs; /* images that have it; written only while that is one */
        uint8_t bytes[IMAGE_PAGE_BYTES];
};

void *must(void *p) {
        if (!p)
                abort();
        return p;
}

static struct page *page_unref(struct page *p) {
        if (p && --p->n_refs == 0)
                free(p);
        return NULL;
}

void image_done(struct image *i) {
        for (size_t n = 0; n < i->n_pages; n++)
                page_unref(i->pages[n]);
        free(i->pages);
        *i = (struct image){};
}

void image_copy(struct image *to, const struct image *from) {
        struct image copy = { .n_pages = from->n_pages, .size = from->size };

        copy.pages = must(calloc(MAX(copy.n_pages, (size_t) 1), sizeof(*copy.pages)));
        for (size_t n = 0; n < copy.n_pages; n++) {
                copy.pages[n] = from->pages[n];
                if (copy.pages[n])
                        copy.pages[n]->n_refs++;
        }

        image_done(to);
        *to = copy;
}

/* A page to write to. */
static struct page *image_page(struct image *i, size_t n) {
        struct page *p, *own;

        if (n >= i->n_pages) {
                size_t n_pages = MAX(n + 1, i->n_pages + i->n_pages / 2);

                i->pages = must(realloc(i->pages, n_pages * sizeof(*i->pages)));
                memset(i->pages + i->n_pages, 0, (n_pages - i->n_pages) * sizeof(*i->pages));
                i->n_pages = n_pages;
        }

        p = i->pages[n];
        if (p && p->n_refs == 1)
                return p;

        own = must(malloc(sizeof(*own)));
        own->n_refs = 1;
        if (p)
                memcpy(own->bytes, p->bytes, IMAGE_PAGE_BYTES);
        else
                memset(own->bytes, 0, IMAGE_PAGE_BYTES);
        page_unref(p);
        i->pages[n] = own;
        return own;
}

void image_put(struct image *i, const uint8_t *p, size_t n, uint64_t pos) {
        while (n > 0) {
                size_t number = pos / IMAGE_PAGE_BYTES, at = pos % IMAGE_PAGE_BYTES,
                       k = MIN(n, IMAGE_PAGE_BYTES - at);

                if (p) {
                        memcpy(image_page(i, number)->bytes + at, p, k);
                        p += k;
                } else if (number < i->n_pages && i->pages[number]) {
                        if (k == IMAGE_PAGE_BYTES)
                                i->pages[number] = page_unref(i->pages[number]);
                        else
                                memset(image_page(i, number)->bytes + at, 0, k);
                }
                pos += k;
                n -= k;
        }
}

size_t image_get(const struct image *i, uint8_t *p, size_t n, uint64_t pos) {
        size_t done = 0;

        if (pos >= i->size)
                return 0;

        n = MIN((uint64_t) n, i->size - pos);
        while (done < n) {
                size_t number = (pos + done) / IMAGE_PAGE_BYTES,
                       at = (pos + done) % IMAGE_PAGE_BYTES;
                size_t k = MIN(n - done, IMAGE_PAGE_BYTES - at);

                if (number < i->n_pages && i->pages[number])
                        memcpy(p + done, i->pages[number]->bytes + at, k);
                else
                        memset(p + done, 0, k);
                done += k;
        }
        return n;
}

void image_cut(struct image *i) {
        uint64_t end = (uint64_t) i->n_pages * IMAGE_PAGE_BYTES;

        if (end > i->size)
                image_put(i, NULL, (size_t) (end - i->size), i->size);
}

void image_resize(struct image *i, uint64_t size) {
        bool shrinks = size < i->size;

        i->size = size;
        if (shrinks)
                image_cut(i);
}

void image_flip(struct image *i, uint64_t pos, unsigned bit) {
        if (pos < i->size)
                image_page(i, pos / IMAGE_PAGE_BYTES)->bytes[pos % IMAGE_PAGE_BYTES] ^=
                        (uint8_t) (1u << bit);
}
