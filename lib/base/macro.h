/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The small words the rest of the code is written in. Nothing here allocates or can fail.
 *
 * assert() is for bugs and stays on in releases (NDEBUG is never set); assert_return() guards the
 * public border; what came from a socket, a file or a person is checked and refused, never
 * asserted.
 */

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _printf_(a, b) __attribute__((format(printf, a, b)))
#define _public_ __attribute__((visibility("default")))
#define _unused_ __attribute__((unused))
#define _pure_ __attribute__((pure))
#define _noreturn_ __attribute__((noreturn))

/* Defines f##p(), the form that _cleanup_() calls: frees what the variable holds when it goes out
 * of scope. */
#define DEFINE_CLEANUP(type, f)                                                                    \
        static inline _unused_ void f##p(type *p) {                                                \
                if (*p)                                                                            \
                        f(*p);                                                                     \
        }

/* Hands a pointer (descriptor) over: its value, and the variable is NULL (-EBADF) from then on. */
#define TAKE_PTR(p)                                                                                \
        ({                                                                                         \
                typeof(p) *_pp = &(p);                                                             \
                typeof(p) _taken = *_pp;                                                           \
                *_pp = NULL;                                                                       \
                _taken;                                                                            \
        })
#define TAKE_FD(fd)                                                                                \
        ({                                                                                         \
                int *_pfd = &(fd);                                                                 \
                int _taken = *_pfd;                                                                \
                *_pfd = -EBADF;                                                                    \
                _taken;                                                                            \
        })

#define ELEMENTSOF(x) (sizeof(x) / sizeof((x)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *) (((char *) (ptr)) - offsetof(type, member)))

/* Each evaluates its arguments once; may be nested. Both arguments want the same signedness. */
#define MIN(a, b) _MINMAX(a, <, b, __COUNTER__)
#define MAX(a, b) _MINMAX(a, >, b, __COUNTER__)
#define _MINMAX(a, operator, b, id) _MINMAX_NAMED(a, operator, b, _PASTE(_a, id), _PASTE(_b, id))
#define _MINMAX_NAMED(a, operator, b, name_a, name_b)                                              \
        ({                                                                                         \
                typeof(a) name_a = (a);                                                            \
                typeof(b) name_b = (b);                                                            \
                name_a operator name_b ? name_a : name_b;                                          \
        })
#define _PASTE(x, y) _PASTE_EXPANDED(x, y)
#define _PASTE_EXPANDED(x, y) x##y

/* Rounds up to a multiple of a, a power of two. The caller knows that n + a does not overflow. */
#define ALIGN_TO(n, a) (((n) + ((typeof(n)) (a)) - 1) & ~(((typeof(n)) (a)) - 1))

/* The guard of public functions: a caller's mistake is an error code, not a crash. */
#define assert_return(expr, r)                                                                     \
        do {                                                                                       \
                if (!(expr))                                                                       \
                        return (r);                                                                \
        } while (0)

#define static_assert _Static_assert

static inline bool streq(const char *a, const char *b) {
        return strcmp(a, b) == 0;
}
