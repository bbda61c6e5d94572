/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * All memory of DRMQ's own comes from here, so that it can be counted and so that a test can make
 * the n-th request fail (tests/lib/test.h, FAULT_SWEEP). Every result may be NULL and is checked.
 *
 * Safe from any thread.
 */

#include "base/macro.h"

/* Returns new memory, uninitialised (mem_alloc) or zeroed (mem_alloc0); free with mem_free(). NULL:
 * no memory. */
void *mem_alloc(size_t n_bytes);
void *mem_alloc0(size_t n_bytes);
/* As realloc(): takes @p on success; after NULL it is still the caller's. */
void *mem_realloc(void *p, size_t n_bytes);
/* Takes NULL. Returns NULL, so that `p = mem_free(p)` forgets it. */
void *mem_free(void *p);

/* Return new copies, or NULL: of a string, of its first @n bytes at most (a NUL is added), of
 * @n_bytes bytes. */
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t n);
void *mem_dup(const void *p, size_t n_bytes);
/* Returns a new string, or NULL. */
char *mem_asprintf(const char *format, ...) _printf_(1, 2);

/* Bytes handed out and not yet freed, by the allocator's own measure (malloc_usable_size(3): what
 * was asked for and what rounding added). */
size_t mem_bytes(void);

/**
 * mem_fail_at() - let one request fail (tests only)
 * @n: which request from now on fails: 1 is the next; 0 switches it off
 *
 * Return: whether the fault of the call before has fired.
 */
bool mem_fail_at(uint64_t n);

/**
 * mem_grow() - what grow() is made of
 * @p:            array, or NULL; takes on success
 * @n_allocated:  elements there is room for; updated on success
 * @n_needed:     elements that must fit
 * @element_size: size of one in bytes
 *
 * At least doubles, so that appending one by one costs linear time.
 *
 * Return: the array; NULL where there is no memory or the size overflows: @p is still the caller's,
 * nothing changed.
 */
void *mem_grow(void *p, size_t *n_allocated, size_t n_needed, size_t element_size);

/* @n elements of @size bytes. NULL on overflow of n * size or no memory. */
static inline void *mem_alloc_array(size_t n, size_t size) {
        size_t n_bytes;

        return __builtin_mul_overflow(n, size, &n_bytes) ? NULL : mem_alloc(n_bytes);
}
static inline void *mem_alloc0_array(size_t n, size_t size) {
        size_t n_bytes;

        return __builtin_mul_overflow(n, size, &n_bytes) ? NULL : mem_alloc0(n_bytes);
}

static inline _unused_ void mem_freep(void *p) {
        mem_free(*(void **) p);
}

/* new(struct x, n): n uninitialised elements; new0: zeroed. NULL on overflow of n * size or no
 * memory. */
/* The tool takes `new` for that of C++. */
/* clang-format off */
#define new(type, n) ((type *) mem_alloc_array((n), sizeof(type)))
#define new0(type, n) ((type *) mem_alloc0_array((n), sizeof(type)))
/* clang-format on */

/* grow(array, n_allocated, n_needed): makes room for n_needed elements, doubling; true on success,
 * else nothing changed. */
#define grow(array, n_allocated, n_needed)                                                         \
        ({                                                                                         \
                size_t _n_needed = (n_needed);                                                     \
                void *_grown = (array);                                                            \
                if (_n_needed > (n_allocated)) {                                                   \
                        _grown = mem_grow((array), &(n_allocated), _n_needed, sizeof((array)[0])); \
                        if (_grown)                                                                \
                                (array) = _grown;                                                  \
                }                                                                                  \
                _grown != NULL || _n_needed == 0;                                                  \
        })
