/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * All memory of DRMQ's own comes from here, so that it can be counted and so that a test can make the n-th
 * request fail (tests/lib/test.h, FAULT_SWEEP). Every result may be NULL and is checked.
 *
 * Safe from any thread.
 */

#include "base/macro.h"

/* Returns new memory, uninitialised (mem_alloc) or zeroed (mem_alloc0); free with mem_free(). NULL: no memory. */
void *mem_alloc(size_t n_bytes);
void *mem_alloc0(size_t n_bytes);
/* As realloc(): takes @p on success; after NULL it is still the caller's. */
void *mem_realloc(void *p, size_t n_bytes);
/* Takes NULL. Returns NULL, so that `p = mem_free(p)` forgets it. */
void *mem_free(void *p);

char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t n);
void *mem_dup(const void *p, size_t n_bytes);
/* Returns a new string, or NULL. */
char *mem_asprintf(const char *format, ...) _printf_(1, 2);

/* Bytes handed out and not yet freed, by the allocator's own measure. */
size_t mem_bytes(void);

/**
 * mem_fail_at() - let one request fail (tests only)
 * @n: which request from now on fails: 1 is the next; 0 switches it off
 *
 * Return: whether the fault of the call before has fired.
 */
bool mem_fail_at(uint64_t n);

void *mem_grow(void *p, size_t *n_allocated, size_t n_needed, size_t element_size);

static inline void mem_freep(void *p) {
        mem_free(*(void **) p);
}

/* new(struct x, n): n uninitialised elements; new0: zeroed. NULL on overflow of n * size or no memory. */
#define new(type, n)                                                                               \
        ((type *) (__builtin_mul_overflow_p((size_t) (n), sizeof(type), (size_t) 0)                \
                           ? NULL                                                                  \
                           : mem_alloc(sizeof(type) * (size_t) (n))))
#define new0(type, n)                                                                              \
        ((type *) (__builtin_mul_overflow_p((size_t) (n), sizeof(type), (size_t) 0)                \
                           ? NULL                                                                  \
                           : mem_alloc0(sizeof(type) * (size_t) (n))))

/* grow(array, n_allocated, n_needed): makes room for n_needed elements, doubling; true on success, else nothing
 * changed. */
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
