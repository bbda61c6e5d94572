/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What every program under tests/unit is written in. The cases of a program register themselves,
 * main() is in test.c, the output is TAP:
 *
 *     #include "tests/lib/test.h"
 *
 *     TEST(append_refuses_gap) {
 *             ASSERT_ERROR(shard_log_append(l, e, 2), ESTALE);
 *     }
 *
 * Each case runs in a process (and process group) of its own, in the order in which the file has
 * them. It fails when
 *   - an ASSERT fails: both values and the place are printed as "# ..." and the case ends there;
 *   - memory of base/alloc.h or a descriptor that it opened is still held when it returns;
 *   - it is killed by a signal, or leaves with a status other than 0 (a sanitizer that found
 *     something);
 *   - it takes longer than its timeout: its whole process group is killed.
 *
 * `build/…/test-x NAME` runs that case only. DRMQ_TEST_TIMEOUT=SECONDS in the environment replaces
 * the timeout of all cases (0: none, for a debugger). The program exits 0 when all passed, 1 when
 * one failed, 2 when NAME is unknown.
 *
 * The body of a case that a failed ASSERT left is not cleaned up: its process is gone at once.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/macro.h"

#define TEST_TIMEOUT_SEC_DEFAULT 30u

struct test_case {
        const char *name;
        void (*run)(void);
        unsigned line;
        unsigned timeout_sec; /* 0: TEST_TIMEOUT_SEC_DEFAULT */
};

/* TEST(name) { … } or TEST(name, .timeout_sec = 60) { … }: the name says the behaviour. One file a
 * program. */
#define TEST(case_name, ...)                                                                       \
        static void test_run_##case_name(void);                                                    \
        static const struct test_case test_case_##case_name __attribute__((                        \
                used, section("drmq_test_cases"), aligned(sizeof(void *)))) = {                    \
                .name = #case_name, .run = test_run_##case_name, .line = __LINE__, __VA_ARGS__     \
        };                                                                                         \
        static void test_run_##case_name(void)

/* Ends the case as "ok … # SKIP reason": for what this machine cannot show (no such instruction,
 * not root). */
_noreturn_ void test_skip(const char *reason);

/* A fresh, empty folder under $TMPDIR (/tmp without it); it and all in it is removed when the case
 * has ended, in whatever way. The string lives as long as the case. */
const char *test_tmpdir(void);

/**
 * FAULT_SWEEP { … } - run the body again and again, making its 1st, 2nd, … request for memory fail
 *
 * It ends after the first run in which no request was left to fail, so the last run is the one
 * without a fault. After each run the same number of bytes must be allocated as before the first:
 * what a run makes it also frees. Leave a run early by `continue`. A typical body:
 *
 *     FAULT_SWEEP {
 *             _cleanup_(thing_freep) struct thing *t = NULL;
 *             int r = thing_new(&t);
 *
 *             if (r == -ENOMEM) {
 *                     ASSERT_NULL(t);
 *                     continue;
 *             }
 *             ASSERT_OK(r);
 *     }
 *
 * A body that hides -ENOMEM from the sweep passes, but is no test: assert what is left behind by a
 * failure.
 */
#define FAULT_SWEEP                                                                                \
        for (_cleanup_(fault_sweep_done) struct fault_sweep _sweep = { .file = __FILE__,           \
                                                                       .line = __LINE__ };         \
             fault_sweep_next(&_sweep);)

struct fault_sweep {
        const char *file;
        int line;
        uint64_t n;          /* the request that fails in this run, from 1 */
        size_t bytes_before; /* mem_bytes() at the first run */
};

bool fault_sweep_next(struct fault_sweep *s);
void fault_sweep_done(struct fault_sweep *s);

/* Prints "# file:line: …" and ends the case as failed. What the ASSERTs are made of; may be called
 * directly, also from a thread or a child of the case. */
_noreturn_ void test_fail(const char *file, int line, const char *format, ...) _printf_(3, 4);
_noreturn_ void
test_fail_int(const char *file, int line, const char *expression, __int128 a, __int128 b);
_noreturn_ void
test_fail_result(const char *file, int line, const char *expression, int64_t r, int expected);
void test_assert_streq(
        const char *file, int line, const char *expression, const char *a, const char *b);
void test_assert_mem(
        const char *file, int line, const char *expression, const void *a, const void *b, size_t n);

#define ASSERT_TRUE(expr)                                                                          \
        do {                                                                                       \
                if (!(expr))                                                                       \
                        test_fail(__FILE__, __LINE__, "%s is false", #expr);                       \
        } while (0)
#define ASSERT_FALSE(expr)                                                                         \
        do {                                                                                       \
                if (expr)                                                                          \
                        test_fail(__FILE__, __LINE__, "%s is true", #expr);                        \
        } while (0)

/* Integers, enumerations and bools of any width and sign, compared by value: -1 is never
 * UINT64_MAX. */
#define ASSERT_EQ(a, b) _ASSERT_INT(a, ==, b)
#define ASSERT_NE(a, b) _ASSERT_INT(a, !=, b)
#define ASSERT_LT(a, b) _ASSERT_INT(a, <, b)
#define ASSERT_LE(a, b) _ASSERT_INT(a, <=, b)
#define ASSERT_GT(a, b) _ASSERT_INT(a, >, b)
#define ASSERT_GE(a, b) _ASSERT_INT(a, >=, b)
#define _ASSERT_INT(a, operator, b)                                                                \
        do {                                                                                       \
                __int128 _test_a = (__int128) (a), _test_b = (__int128) (b);                       \
                if (!(_test_a operator _test_b))                                                   \
                        test_fail_int(                                                             \
                                __FILE__, __LINE__, #a " " #operator" " #b, _test_a, _test_b);     \
        } while (0)

/* A result: not negative; its value is the expression's, so `n = ASSERT_OK(read_all(…))` works. */
#define ASSERT_OK(expr)                                                                            \
        ({                                                                                         \
                typeof(expr) _test_r = (expr);                                                     \
                if (_test_r < 0)                                                                   \
                        test_fail_result(                                                          \
                                __FILE__, __LINE__, #expr, (int64_t) _test_r, /* expected= */ 0);  \
                _test_r;                                                                           \
        })

/* A result that is -@error, and no other: ASSERT_ERROR(f(), ENOENT). */
#define ASSERT_ERROR(expr, error)                                                                  \
        do {                                                                                       \
                int64_t _test_r = (expr);                                                          \
                if (_test_r != -(error))                                                           \
                        test_fail_result(__FILE__, __LINE__, #expr, _test_r, (error));             \
        } while (0)

/* Strings; NULL equals NULL only. */
#define ASSERT_STREQ(a, b) test_assert_streq(__FILE__, __LINE__, #a " == " #b, (a), (b))
/* @n bytes; the first that differs is shown with its neighbours. */
#define ASSERT_MEM(a, b, n) test_assert_mem(__FILE__, __LINE__, #a " == " #b, (a), (b), (n))

#define ASSERT_NULL(p)                                                                             \
        do {                                                                                       \
                const void *_test_p = (p);                                                         \
                if (_test_p)                                                                       \
                        test_fail(__FILE__, __LINE__, "%s is %p, not NULL", #p, _test_p);          \
        } while (0)
#define ASSERT_NOT_NULL(p)                                                                         \
        do {                                                                                       \
                if (!(p))                                                                          \
                        test_fail(__FILE__, __LINE__, "%s is NULL", #p);                           \
        } while (0)
