/* SPDX-License-Identifier: Apache-2.0 */

/* Makes a record of a format and hands it to the tracer. No global state: who listens is the
 * caller's. */

#include "base/trace.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/logging.h"

void trace(const struct tracer *t,
           int level,
           const char *message_id,
           const struct field *fields,
           const char *format,
           ...) {

        struct field_strings strings;
        char text[TRACE_TEXT_MAX];
        va_list ap;

        assert(format);

        if (!t || !t->emit)
                return;

        va_start(ap, format);
        (void) vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        field_strings_make(&strings, fields);

        t->emit(t->userdata,
                &(struct log_record){ .level = level,
                                      .message_id = message_id,
                                      .fields = strings.strings,
                                      .text = text });
}

int trace_progress(
        const struct tracer *t, uint64_t shard, const char *what, uint64_t done, uint64_t all) {
        if (!t || !t->on_progress)
                return 0;

        return t->on_progress(
                t->userdata,
                &(struct trace_progress){ .shard = shard, .what = what, .done = done, .all = all });
}
