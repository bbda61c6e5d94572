/* SPDX-License-Identifier: Apache-2.0 */

/* Fields as text. Nothing here allocates: a record that says "Out of memory" has fields too. */

#include "base/field.h"

#include <inttypes.h>
#include <stdio.h>

static int field_format(const struct field *f, char *buffer, size_t n) {
        const char *name;

        switch (f->kind) {
        case FIELD_TEXT:
                return f->text ? snprintf(buffer, n, "%s=%s", f->name, f->text) : -ENODATA;
        case FIELD_NUMBER:
                return snprintf(buffer, n, "%s=%" PRIu64, f->name, f->number);
        case FIELD_ERRNO:
        default:
                name = strerrorname_np(f->error < 0 ? -f->error : f->error);
                return name ? snprintf(buffer, n, "%s=%s", f->name, name)
                            : snprintf(buffer, n, "%s=%d", f->name, f->error);
        }
}

void field_strings_make(struct field_strings *s, const struct field *fields) {
        size_t n_strings = 0, used = 0;

        assert(s);

        for (const struct field *f = fields; f && f->name && n_strings < FIELDS_MAX; f++) {
                const size_t room = sizeof(s->bytes) - used;
                int k;

                k = field_format(f, s->bytes + used, room);
                if (k < 0)
                        continue;
                s->strings[n_strings++] = s->bytes + used;
                if ((size_t) k >= room)
                        break; /* that one is cut */
                used += (size_t) k + 1;
                if (used == sizeof(s->bytes))
                        break;
        }
        s->strings[n_strings] = NULL;
}
