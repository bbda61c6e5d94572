/* SPDX-License-Identifier: Apache-2.0 */

/*
 * For people, tables; for pipes, columns. A table has a line of titles, numbers stand at the right
 * of their column. Plain columns have no titles and a tab between them, so that cut(1) and awk(1)
 * take them as they are.
 *
 * Texts may come from a stranger: control characters do not reach a terminal, nor break a line in
 * two.
 */

#include <inttypes.h>
#include <stdio.h>

#include "base/format.h"
#include "cli/output-internal.h"

#define GAP "  "

/* Microseconds and what is below a thousandth are noise to people. */
static usec_t rounded(usec_t usec) {
        if (usec >= USEC_PER_MINUTE)
                return usec - usec % USEC_PER_SEC;
        if (usec >= USEC_PER_SEC)
                return usec - usec % (USEC_PER_SEC / 10);
        if (usec >= USEC_PER_MSEC)
                return usec - usec % 10;
        return usec;
}

/* The value as text; @dest is used where it has none of its own. */
static const char *
cell_text(const struct cell *c, enum output_kind kind, bool is_for_people, char dest[FORMAT_MAX]) {
        uint64_t v = (uint64_t) c->number;

        if (!c->is_set)
                return "-";

        switch (kind) {
        case OUTPUT_TEXT:
                return c->text;
        case OUTPUT_BYTES:
                if (is_for_people)
                        return format_bytes(dest, v);
                break;
        case OUTPUT_DURATION:
                if (is_for_people)
                        return format_duration(dest, rounded(v));
                break;
        case OUTPUT_TIME:
                return format_time_ms(dest, c->number);
        case OUTPUT_YES_NO:
                return v ? "yes" : "no";
        default:
                break;
        }
        (void) snprintf(dest, FORMAT_MAX, "%" PRIu64, v);
        return dest;
}

static void put_text(struct writer *w, const char *s) {
        for (; *s; s++)
                writer_put_byte(w, (unsigned char) *s < ' ' || *s == 0x7f ? ' ' : *s);
}

static void put_blanks(struct writer *w, size_t n) {
        while (n-- > 0)
                writer_put_byte(w, ' ');
}

static bool is_at_right(enum output_kind kind) {
        return kind == OUTPUT_NUMBER || kind == OUTPUT_BYTES || kind == OUTPUT_DURATION;
}

/* @is_last: nothing follows in the line, so no blanks either. */
static void
put_padded(struct writer *w, const char *s, size_t width, enum output_kind kind, bool is_last) {
        size_t n = strlen(s), n_blanks = n < width ? width - n : 0;

        if (is_at_right(kind))
                put_blanks(w, n_blanks);
        put_text(w, s);
        if (!is_at_right(kind) && !is_last)
                put_blanks(w, n_blanks);
}

static size_t column_width(const struct output *o, size_t column) {
        const struct output_column *k = &o->columns[column];
        size_t width = strlen(k->title);
        char text[FORMAT_MAX];

        for (size_t i = 0; i < output_n_rows(o); i++)
                width = MAX(width,
                            strlen(cell_text(output_cell(o, i, column),
                                             k->kind,
                                             /* is_for_people= */ true,
                                             text)));
        return width;
}

static size_t last_shown(const struct output *o) {
        size_t n = o->n_columns;

        while (n > 0 && !o->columns[n - 1].title)
                n--;
        return n - 1;
}

static void write_rows(const struct output *o, struct writer *w) {
        size_t last = last_shown(o), widths[32];
        char text[FORMAT_MAX];

        assert(o->n_columns <= ELEMENTSOF(widths));

        for (size_t j = 0; j <= last; j++) {
                if (!o->columns[j].title)
                        continue;
                widths[j] = column_width(o, j);
                put_padded(w, o->columns[j].title, widths[j], o->columns[j].kind, j == last);
                writer_put_string(w, j == last ? "\n" : GAP);
        }

        for (size_t i = 0; i < output_n_rows(o); i++)
                for (size_t j = 0; j <= last; j++) {
                        const struct output_column *k = &o->columns[j];

                        if (!k->title)
                                continue;
                        put_padded(w,
                                   cell_text(output_cell(o, i, j), k->kind, true, text),
                                   widths[j],
                                   k->kind,
                                   j == last);
                        writer_put_string(w, j == last ? "\n" : GAP);
                }
}

/* Titles end in one column, so that the values begin in one. */
static void write_record(const struct output *o, struct writer *w, bool is_for_people) {
        size_t width = 0;
        char text[FORMAT_MAX];

        for (size_t j = 0; j < o->n_columns; j++)
                if (o->columns[j].title && o->columns[j].kind != OUTPUT_LIST)
                        width = MAX(width, strlen(o->columns[j].title));

        for (size_t j = 0; j < o->n_columns; j++) {
                const struct output_column *k = &o->columns[j];
                const struct cell *c = output_cell(o, 0, j);

                if (!k->title)
                        continue;
                if (k->kind == OUTPUT_LIST) {
                        writer_put_byte(w, '\n');
                        if (is_for_people)
                                output_write_table(c->list, w);
                        else
                                output_write_plain(c->list, w);
                        continue;
                }
                if (is_for_people)
                        put_blanks(w, width - strlen(k->title));
                writer_put_string(w, k->title);
                writer_put_string(w, is_for_people ? ": " : "\t");
                put_text(w, cell_text(c, k->kind, is_for_people, text));
                writer_put_byte(w, '\n');
        }
}

void output_write_table(const struct output *o, struct writer *w) {
        if (o->shape == OUTPUT_RECORD)
                write_record(o, w, /* is_for_people= */ true);
        else if (output_n_rows(o) > 0)
                write_rows(o, w);
}

void output_write_plain(const struct output *o, struct writer *w) {
        size_t last = last_shown(o);
        char text[FORMAT_MAX];

        if (o->shape == OUTPUT_RECORD) {
                write_record(o, w, /* is_for_people= */ false);
                return;
        }

        for (size_t i = 0; i < output_n_rows(o); i++)
                for (size_t j = 0; j <= last; j++) {
                        const struct output_column *k = &o->columns[j];

                        if (!k->title)
                                continue;
                        put_text(w, cell_text(output_cell(o, i, j), k->kind, false, text));
                        writer_put_byte(w, j == last ? '\n' : '\t');
                }
}
