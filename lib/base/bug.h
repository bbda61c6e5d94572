/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Bugs planted on purpose, so that we know the alarm works. Each stands in its natural place as
 * BUG(NAME): it removes one call or changes one condition. In a release BUG() is the constant false
 * and nothing of it is left; only objects built with -DDRMQ_PLANTED_BUGS (build/planted/: the
 * simulator and a daemon for the crash tests; the fuzz targets) can switch one on, by name, with bug_plant(), one at
 * a time.
 */

#include "base/macro.h"

#define BUG_TABLE(X)                                                                               \
        X(SKIP_FSYNC, "skip-fsync")             /* a group write is not synced */                  \
        X(ACK_BEFORE_FSYNC, "ack-before-fsync") /* durable is reported before the sync */          \
        X(SKIP_ZEROING, "skip-zeroing")         /* nothing is zeroed behind a cut */               \
        X(TRUST_LENGTH, "trust-length")         /* a group's length is used before its checksum */ \
        X(ONE_HARDSTATE, "one-hardstate")       /* the second copy is not written */               \
        X(NAME_UNSYNCED, "name-unsynced")       /* a header names as durable what is written */    \
        X(TRUST_LATER, "trust-later")           /* a group's being there proves what is before */  \
        X(SKIP_INTERVAL, "skip-interval")       /* what is not synced stays so when its time is */ \
        X(FORGET_PRODUCERS, "forget-producers") /* a checkpoint leaves producers out */            \
        X(DROP_EARLY, "drop-early")             /* segments go before a checkpoint has all */      \
        X(DROP_SILENTLY, "drop-silently")       /* first offsets are not logged */                 \
        X(FRAME_LENGTHS, "frame-lengths")       /* a frame's lengths are not held against its own */

enum bug {
        BUG_NONE,
#define BUG_ENUM(id, name) BUG_##id,
        BUG_TABLE(BUG_ENUM)
#undef BUG_ENUM
                _BUG_MAX,
};

#ifdef DRMQ_PLANTED_BUGS
extern enum bug bug_planted;
#define BUG(id) (bug_planted == BUG_##id)
#else
#define BUG(id) false
#endif

/* Return: 0; -EINVAL no bug of that name; -EOPNOTSUPP this build has none. */
int bug_plant(const char *name);
/* NULL past the last. */
const char *bug_name(enum bug b);
