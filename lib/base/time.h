/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Durations and monotonic instants are usec_t; message timestamps are milliseconds since 1970
 * (int64_t, _ms). */

#include "base/macro.h"

typedef uint64_t usec_t;

#define USEC_PER_MSEC UINT64_C(1000)
#define USEC_PER_SEC UINT64_C(1000000)
#define USEC_PER_MINUTE (60 * USEC_PER_SEC)
#define USEC_PER_HOUR (60 * USEC_PER_MINUTE)
#define USEC_PER_DAY (24 * USEC_PER_HOUR)
#define USEC_INFINITY UINT64_MAX

/* a + b; USEC_INFINITY where that would overflow. */
usec_t usec_add(usec_t a, usec_t b);
/* a - b; 0 where b is later; USEC_INFINITY stays. */
usec_t usec_sub(usec_t a, usec_t b);

/* CLOCK_MONOTONIC and CLOCK_REALTIME. Not for code behind struct io, which asks io_now() and
 * io_wall_ms(). */
usec_t now_monotonic_usec(void);
int64_t now_wall_ms(void);
