/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Term, vote and an intent under way, in two checksummed copies in blocks of their own. A change
 * goes to the first copy, sync, the second, sync; only then may anything be answered that rests on
 * it. A start that finds them different takes the newer good one and repairs the other; two bad
 * ones stop the node (thesis 3.8: persistent state on all servers; tests/FAULTS.md: a vote that was
 * lost).
 */

#include "base/macro.h"
#include "io/io.h"
#include "log/format.h"

struct hardstate {
        uint64_t sequence;
        uint64_t term;
        uint64_t vote;
        uint64_t vote_incarnation;
        enum intent_kind intent;
        uint64_t intent_index;
        uint64_t intent_term;
};

/* Makes the file at @path with both copies and syncs it (not the folder). */
int hardstate_create(struct io *io, const char *path, const struct hardstate *h);
/* Opens, takes the newer good copy, repairs the other. Return: 1 one was repaired; 0; -EBADMSG both
 * bad or the file is missing or short; -EPROTONOSUPPORT. */
int hardstate_open(struct io *io,
                   const char *path,
                   struct io_file **ret_file,
                   struct hardstate *ret);
/* In a job: writes both copies in turn, each synced. @h->sequence must be higher than what is
 * there. */
int hardstate_write(struct io_file *file, const struct hardstate *h);

/* One copy. Return: 0; -EBADMSG; -EPROTONOSUPPORT a newer format. */
int hardstate_decode(const uint8_t p[static HARDSTATE_COPY_BYTES], struct hardstate *ret);
