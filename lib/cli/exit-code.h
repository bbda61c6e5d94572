/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The exit statuses of the tools, the same in each: their pages list them. The daemon's are those
 * of sysexits(3). */

#include "base/macro.h"

enum exit_code {
        EXIT_DONE = 0,
        EXIT_FAILED = 1,
        EXIT_USAGE = 2,   /* the command line is wrong; nothing was done */
        EXIT_NOTHING = 3, /* nothing there, where that was asked for */
        EXIT_TIMED_OUT = 4,
        EXIT_UNREACHABLE = 5, /* no leader, or nobody answers */
        EXIT_NOT_PERMITTED = 6,
        EXIT_PARTLY = 7, /* a part was done; stderr says how much */
};

/* What a result of drmq.h or of run() comes to: a negative errno, or a status already. */
static inline int exit_code_of(int r) {
        switch (r) {
        case -ETIMEDOUT:
                return EXIT_TIMED_OUT;
        case -ENOTCONN:
        case -EAGAIN:
                return EXIT_UNREACHABLE;
        case -EPERM:
                return EXIT_NOT_PERMITTED;
        default:
                return r < 0 ? EXIT_FAILED : r;
        }
}
