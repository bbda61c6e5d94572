/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/trace.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define LINE_MAX_BYTES 1024u

void sim_trace_init(struct sim_trace *t, bool is_printed) {
        *t = (struct sim_trace){ .hash = SIM_HASH_INIT, .is_printed = is_printed };
}

uint64_t sim_hash(uint64_t hash, const void *p, size_t n) {
        const uint8_t *bytes = p;

        for (size_t i = 0; i < n; i++)
                hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
        return hash;
}

void sim_trace(struct sim_trace *t, const char *format, ...) {
        char line[LINE_MAX_BYTES];
        va_list ap;
        int n;

        if (!t)
                return;

        va_start(ap, format);
        n = vsnprintf(line, sizeof(line), format, ap);
        va_end(ap);
        assert(n >= 0);

        t->n_lines++;
        t->hash = sim_hash(t->hash, &t->now_usec, sizeof(t->now_usec));
        t->hash = sim_hash(t->hash, line, MIN((size_t) n, sizeof(line) - 1));
        if (t->is_printed)
                printf("%10" PRIu64 ".%06" PRIu64 " %s\n",
                       t->now_usec / USEC_PER_SEC,
                       t->now_usec % USEC_PER_SEC,
                       line);
}
