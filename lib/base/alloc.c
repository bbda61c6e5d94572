/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Counts and, for tests, refuses what libc's allocator does.
 *
 * I1: n_bytes_held is the sum of malloc_usable_size() of all that was handed out and not freed.
 * I2: a request that is to fail fails once: the countdown reaches 0 in one thread only.
 */

#include "base/alloc.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* An array that grows starts with at least so many bytes. */
#define GROW_BYTES_MIN 64u

static atomic_size_t n_bytes_held;
static atomic_uint_fast64_t fail_countdown; /* 1: the next request fails; 0: off */
static atomic_bool fail_fired;

static bool must_fail(void) {
        uint_fast64_t n = atomic_load_explicit(&fail_countdown, memory_order_relaxed);

        while (n > 0)
                if (atomic_compare_exchange_weak(&fail_countdown, &n, n - 1)) {
                        if (n > 1)
                                return false;
                        atomic_store(&fail_fired, true); /* I2 */
                        return true;
                }

        return false;
}

static void *count(void *p) {
        if (p)
                atomic_fetch_add_explicit(
                        &n_bytes_held, malloc_usable_size(p), memory_order_relaxed);
        return p;
}

static void discount(size_t n_bytes) {
        size_t before = atomic_fetch_sub_explicit(&n_bytes_held, n_bytes, memory_order_relaxed);

        assert(before >= n_bytes); /* I1 */
}

void *mem_alloc(size_t n_bytes) {
        return must_fail() ? NULL : count(malloc(MAX(n_bytes, (size_t) 1)));
}

void *mem_alloc0(size_t n_bytes) {
        return must_fail() ? NULL : count(calloc(1, MAX(n_bytes, (size_t) 1)));
}

void *mem_realloc(void *p, size_t n_bytes) {
        size_t before = p ? malloc_usable_size(p) : 0;
        void *moved;

        if (must_fail())
                return NULL;

        moved = realloc(p, MAX(n_bytes, (size_t) 1));
        if (!moved)
                return NULL;

        count(moved);
        discount(before);
        return moved;
}

void *mem_free(void *p) {
        if (!p)
                return NULL;

        discount(malloc_usable_size(p));
        free(p);
        return NULL;
}

char *mem_strdup(const char *s) {
        assert(s);

        return mem_dup(s, strlen(s) + 1);
}

char *mem_strndup(const char *s, size_t n) {
        size_t length;
        char *copy;

        assert(s || n == 0);

        length = n > 0 ? strnlen(s, n) : 0;
        copy = mem_alloc(length + 1);
        if (!copy)
                return NULL;

        if (length > 0)
                memcpy(copy, s, length);
        copy[length] = 0;
        return copy;
}

void *mem_dup(const void *p, size_t n_bytes) {
        void *copy;

        assert(p || n_bytes == 0);

        copy = mem_alloc(n_bytes);
        if (copy && n_bytes > 0)
                memcpy(copy, p, n_bytes);
        return copy;
}

char *mem_asprintf(const char *format, ...) {
        va_list ap;
        char *s;
        int n;

        assert(format);

        va_start(ap, format);
        n = vsnprintf(NULL, 0, format, ap);
        va_end(ap);
        if (n < 0)
                return NULL;

        s = mem_alloc((size_t) n + 1);
        if (!s)
                return NULL;

        va_start(ap, format);
        (void) vsnprintf(s, (size_t) n + 1, format, ap);
        va_end(ap);
        return s;
}

size_t mem_bytes(void) {
        return atomic_load_explicit(&n_bytes_held, memory_order_relaxed);
}

bool mem_fail_at(uint64_t n) {
        bool fired = atomic_exchange(&fail_fired, false);

        atomic_store(&fail_countdown, n);
        return fired;
}

void *mem_grow(void *p, size_t *n_allocated, size_t n_needed, size_t element_size) {
        size_t n, n_bytes;
        void *moved;

        assert(n_allocated);
        assert(element_size > 0);
        assert(p || *n_allocated == 0);

        if (__builtin_mul_overflow(*n_allocated, (size_t) 2, &n))
                n = n_needed;
        n = MAX(MAX(n, n_needed), GROW_BYTES_MIN / element_size);
        if (__builtin_mul_overflow(n, element_size, &n_bytes))
                return NULL;

        moved = mem_realloc(p, n_bytes);
        if (!moved)
                return NULL;

        *n_allocated = n;
        return moved;
}
