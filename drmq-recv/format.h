/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a message looks like on stdout: the forms that drmq-send reads, and -f FORMAT.
 */

#include "base/macro.h"
#include "cli/writer.h"

struct shown_header {
        const char *name;
        size_t n_name;
        const void *value; /* NULL: none */
        size_t n_value;
};

/* A message as it is shown, wherever it comes from. Borrows all. */
struct shown {
        const char *topic;
        uint32_t partition;
        uint64_t offset;
        int64_t timestamp_ms;
        const void *key; /* NULL: none */
        size_t n_key;
        const void *value; /* NULL: none */
        size_t n_value;
        const struct shown_header *headers; /* where format_wants_headers() */
        size_t n_headers;
        bool is_uncommitted;
};

enum format_form {
        FORMAT_VALUE,  /* value and terminator */
        FORMAT_CUSTOM, /* -f */
        FORMAT_JSON,   /* an object a line; members as in drmq-send/json.h, and "offset" */
        FORMAT_FRAMED, /* the value's length in four bytes, the highest first, and the value */
};

/* A part of a -f: bytes as they are, or what stands for a %. */
struct format_part {
        char directive; /* 0: literal */
        const char *literal;
        size_t n_literal;
};

struct format {
        enum format_form form;
        char terminator;
        char *text; /* owned: what literals point into */
        struct format_part *parts;
        size_t n_parts, n_allocated;
};

/**
 * format_parse() - take a -f apart
 * @s: literals with C escapes, %t topic, %p partition, %o offset, %k key, %v value, %T timestamp
 *     (ms since 1970), %h headers (name=value,…), %u "uncommitted" or nothing, %%
 *
 * Return: 0, f->form is FORMAT_CUSTOM; -EINVAL an escape or a % is not known; -ENOMEM. @f is
 * unchanged then.
 */
int format_parse(struct format *f, const char *s);
void format_done(struct format *f);

/* Whether headers are shown at all. */
bool format_wants_headers(const struct format *f);
void format_print(const struct format *f, struct writer *w, const struct shown *m);
