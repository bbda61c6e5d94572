/* SPDX-License-Identifier: Apache-2.0 */

/* Majorities, against their definition. */

#include "raft/quorum.h"

#include "tests/lib/test.h"

#define VOTERS_MAX 5u
#define VALUES 4u

TEST(no_voters_agree_on_nothing) {
        ASSERT_EQ(quorum_index(NULL, 0), 0);
}

TEST(two_majorities_always_meet) {
        for (unsigned n = 1; n < 100; n++) {
                ASSERT_GT(2 * quorum_size(n), n);
                /* and no smaller number would do */
                ASSERT_LE(2 * (quorum_size(n) - 1), n);
        }
}

/* Every assignment of a few values to a few voters: the index is the highest that quorum_size() of
 * them hold. */
TEST(the_index_is_the_highest_that_a_majority_holds) {
        for (unsigned n = 1; n <= VOTERS_MAX; n++) {
                unsigned n_cases = 1;

                for (unsigned i = 0; i < n; i++)
                        n_cases *= VALUES;
                for (unsigned c = 0; c < n_cases; c++) {
                        uint64_t match[VOTERS_MAX], highest = 0;
                        unsigned k = c, seen[VALUES] = {};

                        for (unsigned i = 0; i < n; i++, k /= VALUES) {
                                match[i] = k % VALUES;
                                seen[match[i]]++;
                        }
                        for (uint64_t index = 0; index < VALUES; index++) {
                                unsigned n_holding = 0;

                                for (unsigned i = 0; i < n; i++)
                                        n_holding += match[i] >= index;
                                if (n_holding >= quorum_size(n))
                                        highest = index;
                        }

                        ASSERT_EQ(quorum_index(match, n), highest);
                        for (unsigned i = 0; i < n; i++) {
                                ASSERT_GT(seen[match[i]],
                                          0); /* the same values, in another order */
                                seen[match[i]]--;
                        }
                }
        }
}

TEST(large_indices_are_compared_as_they_are) {
        uint64_t match[] = { UINT64_MAX, 1, UINT64_MAX - 1 };

        ASSERT_EQ(quorum_index(match, ELEMENTSOF(match)), UINT64_MAX - 1);
}
