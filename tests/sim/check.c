/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/check.h"

#include <stdarg.h>
#include <stdio.h>

void sim_violation(struct sim_verdict *v, const char *checker, const char *format, ...) {
        va_list ap;

        if (v->checker)
                return;

        v->checker = checker;
        va_start(ap, format);
        (void) vsnprintf(v->text, sizeof(v->text), format, ap);
        va_end(ap);
        sim_trace(v->trace, "VIOLATION %s: %s", checker, v->text);
}
