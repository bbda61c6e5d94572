/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a tool has to say, written once and shown in one of three ways: as a table on a terminal, as
 * plain columns with a tab between them in a pipe, as one JSON object a line where that was asked
 * for.
 *
 *     static const struct output_column columns[] = {
 *             { "TOPIC", "topic", OUTPUT_TEXT },
 *             { "SIZE", "bytes", OUTPUT_BYTES },
 *     };
 *     r = output_new(columns, ELEMENTSOF(columns), OUTPUT_ROWS, &o);
 *     …
 *     output_text(o, "numbers");
 *     output_number(o, 4711);
 *     …
 *     r = output_print(o, OUTPUT_AUTO, STDOUT_FILENO);
 *
 * Cells follow the columns, row by row. OUTPUT_RECORD has one row only, and is shown as "Title:
 * value" lines to people; its last cells may be lists, which are outputs of their own.
 *
 * What goes wrong on the way, no memory, stays and is told by output_print().
 */

#include "base/macro.h"
#include "base/time.h"

/* How a value looks. Plain columns and JSON have the number, a time and an id its text. */
enum output_kind {
        OUTPUT_TEXT,
        OUTPUT_NUMBER,
        OUTPUT_BYTES,    /* people: "1.5M" */
        OUTPUT_DURATION, /* microseconds; people: "1.5s" */
        OUTPUT_TIME,     /* milliseconds since 1970; all: "2026-11-20T10:00:00.000Z"; 0: none */
        OUTPUT_YES_NO,   /* JSON: true, false */
        OUTPUT_LIST,     /* in a record only, after all else */
};

struct output_column {
        const char *title; /* NULL: only in JSON */
        const char *name;  /* of the JSON member; never changes */
        enum output_kind kind;
};

enum output_shape {
        OUTPUT_ROWS,
        OUTPUT_RECORD,
};

enum output_form {
        OUTPUT_AUTO, /* table on a terminal, else plain */
        OUTPUT_TABLE,
        OUTPUT_PLAIN,
        OUTPUT_JSON,
};

struct output;

/* @columns: borrows for the life of the output. Return: 0; -ENOMEM. */
int output_new(const struct output_column *columns,
               size_t n_columns,
               enum output_shape shape,
               struct output **ret);
struct output *output_free(struct output *o);
DEFINE_CLEANUP(struct output *, output_free)

/* The next cell. @s: copied; NULL: none. */
void output_text(struct output *o, const char *s);
/* Of every kind but text and list. */
void output_number(struct output *o, uint64_t v);
void output_time(struct output *o, int64_t ms);
/* No value: "-", null. */
void output_none(struct output *o);
/* Takes @list, an OUTPUT_ROWS; NULL (no memory for it) is an error that stays. */
void output_list(struct output *o, struct output *list);

/* Return: 0, also where the reader has gone; -ENOMEM; what write(2) says. */
int output_print(const struct output *o, enum output_form form, int fd);
