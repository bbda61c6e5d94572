/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What output.c and the forms share. */

#include "cli/output.h"
#include "cli/writer.h"

struct cell {
        bool is_set;
        char *text;          /* OUTPUT_TEXT */
        int64_t number;      /* the bits of a uint64_t, or milliseconds */
        struct output *list; /* OUTPUT_LIST */
};

struct output {
        const struct output_column *columns;
        size_t n_columns;
        enum output_shape shape;
        struct cell *cells;
        size_t n_cells, n_allocated;
        int error;
};

static inline size_t output_n_rows(const struct output *o) {
        return o->n_cells / o->n_columns;
}

static inline const struct cell *output_cell(const struct output *o, size_t row, size_t column) {
        return &o->cells[row * o->n_columns + column];
}

/* output-table.c: a table, or plain columns. */
void output_write_table(const struct output *o, struct writer *w);
void output_write_plain(const struct output *o, struct writer *w);
/* output-json.c */
void output_write_json(const struct output *o, struct writer *w);
