/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Configuration files as systemd.syntax(7) has them: sections in brackets, key=value, comment lines
 * that begin with '#' or ';', a backslash at the end of a line that goes on. Values are taken as
 * they stand: no quotes, no comments behind them. What a section or key means is the caller's.
 *
 * An own reader of a page, and not libinih, because that one takes an indented line for more of the
 * value before, ends values at " ;", cuts lines at a length fixed when it was built, and tells no
 * line numbers.
 */

#include "base/macro.h"

/* Larger files are not configuration. */
#define INI_BYTES_MAX (UINT32_C(1) << 20)

enum ini_kind {
        INI_SECTION,    /* section */
        INI_ASSIGNMENT, /* section, or NULL before the first; key, not empty; value, maybe empty */
        INI_MALFORMED,  /* why */
};

struct ini_line {
        enum ini_kind kind;
        unsigned number; /* of the line, from 1; where it goes on, of the first */
        const char *section;
        const char *key;
        const char *value;
        const char *why; /* a few words */
};

/* @line and its strings are borrowed until return. A negative result ends the reading. */
typedef int (*ini_callback_t)(void *userdata, const struct ini_line *line);

/**
 * ini_parse() - each section, assignment and malformed line, in order
 * @text: borrows; @n bytes, which may be anything
 *
 * Return: 0; -ENOMEM; what @callback returned.
 */
int ini_parse(const char *text, size_t n, ini_callback_t callback, void *userdata);
