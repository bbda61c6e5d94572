/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a run did, as lines of text: hashed always, printed where asked for. Two runs of one seed
 * have the same hash exactly when they did the same in the same order, so nothing that depends on
 * addresses may be in a line.
 */

#include "base/macro.h"
#include "base/time.h"

struct sim_trace {
        usec_t now_usec; /* stands before each line; who owns the clock sets it */
        uint64_t hash;
        uint64_t n_lines;
        bool is_printed; /* to stdout */
};

void sim_trace_init(struct sim_trace *t, bool is_printed);
/* A line, without newline. @t may be NULL: nothing is said. */
void sim_trace(struct sim_trace *t, const char *format, ...) _printf_(2, 3);

/* FNV-1a, to fold bytes that do not fit a line into one number. */
#define SIM_HASH_INIT UINT64_C(0xcbf29ce484222325)
uint64_t sim_hash(uint64_t hash, const void *p, size_t n);
