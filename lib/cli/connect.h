/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How every tool comes to its client: -b/--brokers and --timeout in, messages about both out. Knows
 * drmq.h alone. */

#include "base/macro.h"
#include "base/time.h"
#include "drmq.h"

#define CONNECT_TIMEOUT_USEC (30 * USEC_PER_SEC)

static inline _unused_ void drmq_client_freep(drmq_client **c) {
        drmq_client_free(*c);
}

/**
 * connect_new() - the client of a tool; nothing is connected yet
 * @brokers:      as drmq_client_new() takes it; NULL: the default
 * @timeout_usec: how long a call may take; USEC_INFINITY: for ever
 *
 * Return: 0; -EINVAL no list of addresses, or there are several sockets to choose from: wrong
 * usage, logged; else a negative errno, logged.
 */
int connect_new(const char *brokers, usec_t timeout_usec, drmq_client **ret);

/* Logs "what: why" for a call of @c that gave @r < 0. Returns @r. */
int connect_error(const drmq_client *c, int r, const char *format, ...) _printf_(3, 4);
