/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * How far long work has come, on stderr: on a terminal one line that is drawn anew at most ten
 * times a second, with a bar where the whole is known; elsewhere, where it was asked for, a line a
 * second. At the end the sums stay.
 */

#include "base/macro.h"
#include "base/time.h"

#define PROGRESS_USEC (100 * USEC_PER_MSEC)
#define PROGRESS_LINE_USEC (1 * USEC_PER_SEC)
#define PROGRESS_WIDTH 79u

enum progress_when {
        PROGRESS_NEVER,
        PROGRESS_ON_TERMINAL, /* where stderr is one */
        PROGRESS_ALWAYS,
};

struct progress {
        bool is_on, is_terminal, is_drawn;
        const char *what; /* "messages"; borrowed */
        uint64_t total;   /* what `done` goes up to; 0: not known */
        usec_t started_usec, drawn_usec;
};

/* How far it is. */
struct progress_state {
        uint64_t n;       /* so many of what is counted */
        uint64_t n_bytes; /* 0: not shown */
        uint64_t done;    /* part of the total, in its unit */
};

/* @total: 0 unknown. */
void progress_init(struct progress *p, enum progress_when when, const char *what, uint64_t total);
/* Draws, where it is on and time for it. Cheap enough for every chunk of input, not for every
 * message. */
void progress_update(struct progress *p, const struct progress_state *s);
/* Until the next drawing is due; USEC_INFINITY where nothing is drawn. */
usec_t progress_wait_usec(const struct progress *p);
/* Removes the line, so that something else can be printed. */
void progress_clear(struct progress *p);
/* The sums. Nothing where it is off. */
void progress_finish(struct progress *p, const struct progress_state *s);

/* A line without its end: what progress_update() draws after @elapsed_usec. @total as in
 * progress_init(). */
void progress_format(char dest[static PROGRESS_WIDTH + 1],
                     const char *what,
                     uint64_t total,
                     const struct progress_state *s,
                     usec_t elapsed_usec);
