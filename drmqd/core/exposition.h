/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The Prometheus text format 0.0.4, written: a family is its HELP and TYPE, then its samples.
 *
 *     exposition_family(&e, "drmq_raft_term", "gauge", "Term of the shard's Raft group.");
 *     exposition_number(&e, labels, 1, raft_term(raft));
 *
 * What goes wrong on the way (no memory, too long) stays in the byte_writer, and is told by
 * byte_writer_result().
 */

#include "base/bytes.h"
#include "base/histogram.h"

struct exposition {
        struct byte_writer *w; /* borrows */
        const char *family;    /* borrows until the next family */
};

struct label {
        const char *name;
        const char *value; /* any bytes but NUL: they are escaped */
};

/* Begins a family. @type: "counter", "gauge" or "histogram"; @help: escaped. All borrowed until the
 * next one. */
void exposition_family(struct exposition *e, const char *name, const char *type, const char *help);
/* One sample of the family. */
void exposition_number(struct exposition *e, const struct label *labels, size_t n, uint64_t value);
/* The same with labels that were made ready, @n bytes of exposition_labels(): for many families with
 * the same labels. */
void exposition_number_of(struct exposition *e, const void *labels, size_t n, uint64_t value);
void exposition_labels(struct byte_writer *w, const struct label *labels, size_t n);
/* The same of a duration, in seconds. */
void exposition_seconds(struct exposition *e, const struct label *labels, size_t n, usec_t usec);
/* All samples of a histogram: cumulative buckets, sum and count. */
void exposition_histogram(struct exposition *e,
                          const struct label *labels,
                          size_t n,
                          const struct histogram *h);
