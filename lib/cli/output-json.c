/* SPDX-License-Identifier: Apache-2.0 */

/* For programs: an object a line, members in the order of the columns. What is not UTF-8 becomes
 * U+FFFD, byte by byte. */

#include "base/format.h"
#include "cli/output-internal.h"

static void put_string(struct writer *w, const char *s) {
        size_t n = strlen(s);

        if (utf8_is_valid(s, n)) {
                writer_put_json(w, s, n);
                return;
        }

        writer_put_byte(w, '"');
        for (; *s; s++)
                if ((unsigned char) *s < 0x80 && (unsigned char) *s >= ' ' && *s != '"' &&
                    *s != '\\')
                        writer_put_byte(w, *s);
                else
                        writer_put_string(w, "\\ufffd");
        writer_put_byte(w, '"');
}

static void put_object(struct writer *w, const struct output *o, size_t row);

static void put_cell(struct writer *w, const struct cell *c, enum output_kind kind) {
        char text[FORMAT_MAX];

        if (!c->is_set) {
                writer_put_string(w, "null");
                return;
        }

        switch (kind) {
        case OUTPUT_TEXT:
                put_string(w, c->text);
                break;
        case OUTPUT_TIME:
                put_string(w, format_time_ms(text, c->number));
                break;
        case OUTPUT_YES_NO:
                writer_put_string(w, c->number ? "true" : "false");
                break;
        case OUTPUT_LIST:
                writer_put_byte(w, '[');
                for (size_t i = 0; i < output_n_rows(c->list); i++) {
                        if (i > 0)
                                writer_put_byte(w, ',');
                        put_object(w, c->list, i);
                }
                writer_put_byte(w, ']');
                break;
        default:
                writer_put_uint(w, (uint64_t) c->number);
        }
}

static void put_object(struct writer *w, const struct output *o, size_t row) {
        writer_put_byte(w, '{');
        for (size_t j = 0; j < o->n_columns; j++) {
                if (j > 0)
                        writer_put_byte(w, ',');
                put_string(w, o->columns[j].name);
                writer_put_byte(w, ':');
                put_cell(w, output_cell(o, row, j), o->columns[j].kind);
        }
        writer_put_byte(w, '}');
}

void output_write_json(const struct output *o, struct writer *w) {
        for (size_t i = 0; i < output_n_rows(o); i++) {
                put_object(w, o, i);
                writer_put_byte(w, '\n');
        }
}
