/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Bytes on their way to a descriptor, gathered so that one write(2) takes many. The first error
 * stays: what is put after it is dropped, writer_flush() reports it. A reader that has gone is such
 * an error, -EPIPE: programs ignore SIGPIPE (cli/interrupt.h) and end quietly.
 */

#include "base/macro.h"

struct writer {
        int fd; /* borrowed */
        char *data;
        size_t n, n_max;
        int error; /* 0, or the first negative errno */
};

/* @n_max: bytes that are gathered before they are written. Return: 0; -ENOMEM. */
int writer_init(struct writer *w, int fd, size_t n_max);
/* What was not flushed is dropped. */
void writer_done(struct writer *w);

/* Writes what was gathered. Return: 0; the first error of all, then and ever after. */
int writer_flush(struct writer *w);

/* Whether who reads has gone, though nothing is written: then writer_flush() gives -EPIPE from now
 * on. */
bool writer_has_lost_reader(struct writer *w);

/* What does not fit: the slow part of writer_put(). */
void writer_put_large(struct writer *w, const void *p, size_t n);

static inline void writer_put(struct writer *w, const void *p, size_t n) {
        if (n > w->n_max - w->n) {
                writer_put_large(w, p, n);
                return;
        }
        if (n > 0)
                memcpy(w->data + w->n, p, n);
        w->n += n;
}

static inline void writer_put_byte(struct writer *w, char c) {
        writer_put(w, &c, 1);
}

void writer_put_string(struct writer *w, const char *s);
void writer_put_uint(struct writer *w, uint64_t v);
void writer_put_int(struct writer *w, int64_t v);
/* A JSON string with its quotes: @n bytes of UTF-8. */
void writer_put_json(struct writer *w, const char *s, size_t n);
/* Base64 with padding. */
void writer_put_base64(struct writer *w, const void *p, size_t n);

/* Whether all of it is UTF-8 (RFC 3629: no surrogates, nothing overlong). */
bool utf8_is_valid(const void *p, size_t n);
