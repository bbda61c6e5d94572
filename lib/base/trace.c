/* SPDX-License-Identifier: Apache-2.0 */

/* Makes a record of a format and hands it to the tracer. No global state: who listens is the
 * caller's. */

#include "base/trace.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/logging.h"

void trace(const struct tracer *t, int level, const char *message_id, const char *format, ...) {
        char text[TRACE_TEXT_MAX];
        va_list ap;

        assert(format);

        if (!t || !t->emit)
                return;

        va_start(ap, format);
        (void) vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);

        t->emit(t->userdata,
                &(struct log_record){ .level = level, .message_id = message_id, .text = text });
}
