/* SPDX-License-Identifier: Apache-2.0 */
/* Majorities. */
#include "raft/quorum.h"

unsigned quorum_size(unsigned n_voters) {
        return n_voters / 2 + 1;
}

uint64_t quorum_index(uint64_t *match, unsigned n_voters) {
        assert(match || n_voters == 0);

        if (n_voters == 0)
                return 0;

        /* Descending; voters are few. */
        for (unsigned i = 1; i < n_voters; i++)
                for (unsigned j = i; j > 0 && match[j - 1] < match[j]; j--) {
                        uint64_t t = match[j];

                        match[j] = match[j - 1];
                        match[j - 1] = t;
                }

        return match[quorum_size(n_voters) - 1];
}
