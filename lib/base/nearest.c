/* SPDX-License-Identifier: Apache-2.0 */
/* The distance of two names: optimal string alignment, with three rows of its table. */
#include "base/nearest.h"

#include <limits.h>

static char fold(char c) {
        if (c >= 'A' && c <= 'Z')
                return (char) (c | 0x20);
        return c == '-' || c == '.' ? '_' : c;
}

bool nearest_is_same(const char *a, const char *b) {
        assert(a);
        assert(b);

        while (*a && fold(*a) == fold(*b)) {
                a++;
                b++;
        }
        return *a == *b;
}

/* The letters and signs of a name, one bit each (or for several: then less is known). */
static uint64_t letters(const char *s) {
        uint64_t set = 0;

        for (; *s; s++)
                set |= UINT64_C(1) << ((unsigned char) fold(*s) & 63);
        return set;
}

static unsigned count(uint64_t set) {
        return (unsigned) __builtin_popcountll(set);
}

unsigned nearest_distance(const char *a, const char *b, unsigned max) {
        unsigned rows[3][NEAREST_NAME_MAX + 1];
        unsigned *before = rows[0], *above = rows[1], *row = rows[2];
        uint64_t in_a, in_b;
        size_t n_a, n_b;

        assert(a);
        assert(b);

        n_a = strlen(a);
        n_b = strlen(b);
        if (n_a > NEAREST_NAME_MAX || n_b > NEAREST_NAME_MAX)
                return UINT_MAX;
        if (MAX(n_a, n_b) - MIN(n_a, n_b) > max)
                return UINT_MAX; /* so many letters are missing at least */
        in_a = letters(a);
        in_b = letters(b);
        if (MAX(count(in_a & ~in_b), count(in_b & ~in_a)) > max)
                return UINT_MAX; /* a change brings one that is missing, and takes one away */

        for (size_t j = 0; j <= n_b; j++)
                row[j] = (unsigned) j;

        for (size_t i = 1; i <= n_a; i++) {
                unsigned *recycled = before, least = (unsigned) i;

                before = above;
                above = row;
                row = recycled;
                row[0] = (unsigned) i;
                for (size_t j = 1; j <= n_b; j++) {
                        bool is_same = fold(a[i - 1]) == fold(b[j - 1]);

                        row[j] = MIN(MIN(above[j], row[j - 1]) + 1, above[j - 1] + !is_same);
                        if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) &&
                            fold(a[i - 2]) == fold(b[j - 1]))
                                row[j] = MIN(row[j], before[j - 2] + 1);
                        least = MIN(least, row[j]);
                }
                if (least > 0 && least - 1 > max)
                        return UINT_MAX; /* rows below begin from this one, or one above it */
        }

        return row[n_b] <= max ? row[n_b] : UINT_MAX;
}

unsigned nearest_distance_max(const char *typed) {
        assert(typed);

        return (unsigned) (strlen(typed) + 2) / 3;
}
