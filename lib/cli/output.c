/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Keeps the cells until they are printed: a table needs the widths of all.
 *
 * I1: cells are in the order of the columns, row by row; when it is printed the last row is whole.
 * I2: after an error nothing is added.
 */

#include "cli/output.h"

#include <unistd.h>

#include "base/alloc.h"
#include "cli/output-internal.h"

#define PRINT_BYTES ((size_t) 64 << 10)

int output_new(const struct output_column *columns,
               size_t n_columns,
               enum output_shape shape,
               struct output **ret) {

        struct output *o;

        assert(columns);
        assert(n_columns > 0);
        assert(ret);

        o = new0(struct output, 1);
        if (!o)
                return -ENOMEM;

        o->columns = columns;
        o->n_columns = n_columns;
        o->shape = shape;
        *ret = o;
        return 0;
}

struct output *output_free(struct output *o) {
        if (!o)
                return NULL;

        for (size_t i = 0; i < o->n_cells; i++) {
                mem_free(o->cells[i].text);
                output_free(o->cells[i].list);
        }
        mem_free(o->cells);
        return mem_free(o);
}

static const struct output_column *next_column(const struct output *o) {
        return &o->columns[o->n_cells % o->n_columns];
}

/* The next cell, empty; NULL after an error. */
static struct cell *add(struct output *o) {
        assert(o->shape == OUTPUT_ROWS || o->n_cells < o->n_columns);

        if (o->error < 0) /* I2 */
                return NULL;
        if (!grow(o->cells, o->n_allocated, o->n_cells + 1)) {
                o->error = -ENOMEM;
                return NULL;
        }

        o->cells[o->n_cells] = (struct cell){ 0 };
        return &o->cells[o->n_cells++];
}

void output_text(struct output *o, const char *s) {
        _cleanup_(mem_freep) char *copy = NULL;
        struct cell *c;

        assert(o);
        assert(next_column(o)->kind == OUTPUT_TEXT || o->error < 0);

        if (!s) {
                output_none(o);
                return;
        }

        copy = mem_strdup(s);
        if (!copy && o->error == 0)
                o->error = -ENOMEM;
        c = add(o);
        if (!c)
                return;
        c->is_set = true;
        c->text = TAKE_PTR(copy);
}

void output_number(struct output *o, uint64_t v) {
        struct cell *c;

        assert(o);
        assert(o->error < 0 ||
               (next_column(o)->kind != OUTPUT_TEXT && next_column(o)->kind != OUTPUT_LIST));

        c = add(o);
        if (!c)
                return;
        c->is_set = true;
        c->number = (int64_t) v;
}

void output_time(struct output *o, int64_t ms) {
        assert(o);
        assert(o->error < 0 || next_column(o)->kind == OUTPUT_TIME);

        if (ms == 0)
                output_none(o);
        else
                output_number(o, (uint64_t) ms);
}

void output_none(struct output *o) {
        assert(o);

        (void) add(o); /* the error stays */
}

void output_list(struct output *o, struct output *list) {
        struct cell *c;

        assert(o);
        assert(o->shape == OUTPUT_RECORD);
        assert(o->error < 0 || next_column(o)->kind == OUTPUT_LIST);

        if (o->error == 0 && !list)
                o->error = -ENOMEM;
        if (o->error == 0 && list->error < 0)
                o->error = list->error;
        c = add(o);
        if (!c) {
                output_free(list);
                return;
        }
        c->is_set = true;
        c->list = list;
}

int output_print(const struct output *o, enum output_form form, int fd) {
        struct writer w;
        int r;

        assert(o);

        if (o->error < 0)
                return o->error;
        assert(o->n_cells % o->n_columns == 0); /* I1 */

        r = writer_init(&w, fd, PRINT_BYTES);
        if (r < 0)
                return r;

        if (form == OUTPUT_AUTO)
                form = isatty(fd) ? OUTPUT_TABLE : OUTPUT_PLAIN;
        if (form == OUTPUT_JSON)
                output_write_json(o, &w);
        else if (form == OUTPUT_TABLE)
                output_write_table(o, &w);
        else
                output_write_plain(o, &w);

        r = writer_flush(&w);
        writer_done(&w);
        return r == -EPIPE ? 0 : r;
}
