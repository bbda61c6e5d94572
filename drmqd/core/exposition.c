/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Digits and quotes. Written by hand rather than with snprintf(): a node with thousands of
 * partitions writes tens of thousands of samples in one step of the event loop.
 */
#include "drmqd/core/exposition.h"

#define DIGITS_MAX 20u /* of UINT64_MAX */

static void put_text(struct exposition *e, const char *s) {
        byte_writer_bytes(e->w, s, strlen(s));
}

/* A backslash and a line feed are escaped everywhere, a quote in label values. */
static void put_escaped(struct exposition *e, const char *s, bool is_label) {
        const char *special = is_label ? "\\\n\"" : "\\\n";

        for (;;) {
                size_t n = strcspn(s, special);

                byte_writer_bytes(e->w, s, n);
                if (s[n] == 0)
                        return;
                byte_writer_u8(e->w, '\\');
                byte_writer_u8(e->w, s[n] == '\n' ? 'n' : (uint8_t) s[n]);
                s += n + 1;
        }
}

/* The decimal digits of @v, at least @n_min of them, to the end of @dest. Return: the first. */
static char *digits(char dest[static DIGITS_MAX], uint64_t v, unsigned n_min) {
        char *p = dest + DIGITS_MAX;

        do {
                *--p = (char) ('0' + v % 10);
                v /= 10;
        } while (v > 0 || dest + DIGITS_MAX - p < (ptrdiff_t) n_min);
        return p;
}

static void put_number(struct exposition *e, uint64_t v) {
        char d[DIGITS_MAX], *p = digits(d, v, 1);

        byte_writer_bytes(e->w, p, (size_t) (d + DIGITS_MAX - p));
}

/* "0.00025", "10": seconds, without zeroes at the end. */
static void put_seconds(struct exposition *e, usec_t usec) {
        char d[DIGITS_MAX], *p;
        size_t n = 6;

        put_number(e, usec / USEC_PER_SEC);
        p = digits(d, usec % USEC_PER_SEC, 6);
        while (n > 0 && p[n - 1] == '0')
                n--;
        if (n == 0)
                return;
        byte_writer_u8(e->w, '.');
        byte_writer_bytes(e->w, p, n);
}

static void put_label(struct exposition *e, bool is_first, const struct label *label) {
        byte_writer_u8(e->w, is_first ? '{' : ',');
        put_text(e, label->name);
        put_text(e, "=\"");
        put_escaped(e, label->value, /* is_label= */ true);
        byte_writer_u8(e->w, '"');
}

static void
begin_sample(struct exposition *e, const char *suffix, const struct label *labels, size_t n) {
        put_text(e, e->family);
        put_text(e, suffix);
        for (size_t i = 0; i < n; i++)
                put_label(e, i == 0, labels + i);
        if (n > 0)
                byte_writer_u8(e->w, '}');
        byte_writer_u8(e->w, ' ');
}

static void end_sample(struct exposition *e) {
        byte_writer_u8(e->w, '\n');
}

void exposition_family(struct exposition *e, const char *name, const char *type, const char *help) {
        assert(e);
        assert(name);
        assert(type);
        assert(help);

        e->family = name;
        put_text(e, "# HELP ");
        put_text(e, name);
        byte_writer_u8(e->w, ' ');
        put_escaped(e, help, /* is_label= */ false);
        put_text(e, "\n# TYPE ");
        put_text(e, name);
        byte_writer_u8(e->w, ' ');
        put_text(e, type);
        byte_writer_u8(e->w, '\n');
}

void exposition_number(struct exposition *e, const struct label *labels, size_t n, uint64_t value) {
        assert(e);
        assert(labels || n == 0);

        begin_sample(e, "", labels, n);
        put_number(e, value);
        end_sample(e);
}

void exposition_number_of(struct exposition *e, const void *labels, size_t n, uint64_t value) {
        char d[DIGITS_MAX], *first = digits(d, value, 1);
        size_t n_family, n_digits = (size_t) (d + DIGITS_MAX - first);
        uint8_t *p;

        assert(e);
        assert(labels);

        n_family = strlen(e->family);
        p = byte_writer_put(e->w, n_family + n + 1 + n_digits + 1);
        if (!p)
                return;
        memcpy(p, e->family, n_family);
        p += n_family;
        memcpy(p, labels, n);
        p += n;
        *p++ = ' ';
        memcpy(p, first, n_digits);
        p[n_digits] = '\n';
}

void exposition_labels(struct byte_writer *w, const struct label *labels, size_t n) {
        struct exposition e = { .w = w };

        assert(w);
        assert(labels);
        assert(n > 0);

        for (size_t i = 0; i < n; i++)
                put_label(&e, i == 0, labels + i);
        byte_writer_u8(w, '}');
}

void exposition_seconds(struct exposition *e, const struct label *labels, size_t n, usec_t usec) {
        assert(e);
        assert(labels || n == 0);

        begin_sample(e, "", labels, n);
        put_seconds(e, usec);
        end_sample(e);
}

static void put_bucket(struct exposition *e,
                       const struct label *labels,
                       size_t n,
                       unsigned bucket,
                       uint64_t n_below) {
        put_text(e, e->family);
        put_text(e, "_bucket");
        for (size_t i = 0; i < n; i++)
                put_label(e, i == 0, labels + i);
        put_text(e, n > 0 ? ",le=\"" : "{le=\"");
        if (bucket < HISTOGRAM_BOUNDS)
                put_seconds(e, histogram_bound_usec(bucket));
        else
                put_text(e, "+Inf");
        put_text(e, "\"} ");
        put_number(e, n_below);
        end_sample(e);
}

void exposition_histogram(struct exposition *e,
                          const struct label *labels,
                          size_t n,
                          const struct histogram *h) {
        uint64_t n_below = 0;

        assert(e);
        assert(labels || n == 0);
        assert(h);

        for (unsigned i = 0; i <= HISTOGRAM_BOUNDS; i++) {
                n_below += h->counts[i];
                put_bucket(e, labels, n, i, n_below);
        }
        begin_sample(e, "_sum", labels, n);
        put_seconds(e, h->sum_usec);
        end_sample(e);
        begin_sample(e, "_count", labels, n);
        put_number(e, n_below);
        end_sample(e);
}
