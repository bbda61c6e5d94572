/* SPDX-License-Identifier: Apache-2.0 */

/* Prints messages. What a pipe takes at full speed is the plain form: two copies into the writer's
 * buffer. */

#include "drmq-recv/format.h"

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/parse.h"

static int add_part(struct format *f, struct format_part part) {
        if (!part.directive && part.n_literal == 0)
                return 0;
        if (!grow(f->parts, f->n_allocated, f->n_parts + 1))
                return -ENOMEM;
        f->parts[f->n_parts++] = part;
        return 0;
}

/* All of f->text into parts. */
static int split(struct format *f, size_t n) {
        const char *p = f->text, *end = p + n;
        int r;

        while (p < end) {
                const char *percent = memchr(p, '%', (size_t) (end - p));
                const char *stop = percent ?: end;

                r = add_part(
                        f, (struct format_part){ .literal = p, .n_literal = (size_t) (stop - p) });
                if (r < 0 || !percent)
                        return r;
                if (percent + 1 == end || percent[1] == '\0' || !strchr("%tpokvThu", percent[1]))
                        return -EINVAL;

                if (percent[1] == '%')
                        r = add_part(f, (struct format_part){ .literal = percent, .n_literal = 1 });
                else
                        r = add_part(f, (struct format_part){ .directive = percent[1] });
                if (r < 0)
                        return r;
                p = percent + 2;
        }
        return 0;
}

int format_parse(struct format *f, const char *s) {
        struct format custom = { .form = FORMAT_CUSTOM };
        size_t n;
        int r;

        assert(f);
        assert(s);

        r = parse_escapes(s, &custom.text, &n);
        if (r < 0)
                return r == -ENOMEM ? r : -EINVAL;

        r = split(&custom, n);
        if (r < 0) {
                format_done(&custom);
                return r;
        }

        format_done(f);
        *f = custom;
        return 0;
}

void format_done(struct format *f) {
        f->text = mem_free(f->text);
        f->parts = mem_free(f->parts);
        f->n_parts = f->n_allocated = 0;
}

bool format_wants_headers(const struct format *f) {
        if (f->form == FORMAT_JSON)
                return true;
        for (size_t i = 0; i < f->n_parts; i++)
                if (f->parts[i].directive == 'h')
                        return true;
        return false;
}

static void print_headers(struct writer *w, const struct shown *m) {
        for (size_t i = 0; i < m->n_headers; i++) {
                const struct shown_header *h = &m->headers[i];

                if (i > 0)
                        writer_put_byte(w, ',');
                writer_put(w, h->name, h->n_name);
                writer_put_byte(w, '=');
                writer_put(w, h->value, h->n_value);
        }
}

static void print_custom(const struct format *f, struct writer *w, const struct shown *m) {
        for (size_t i = 0; i < f->n_parts; i++) {
                const struct format_part *part = &f->parts[i];

                switch (part->directive) {
                case 't':
                        writer_put_string(w, m->topic);
                        break;
                case 'p':
                        writer_put_uint(w, m->partition);
                        break;
                case 'o':
                        writer_put_uint(w, m->offset);
                        break;
                case 'k':
                        writer_put(w, m->key, m->n_key);
                        break;
                case 'v':
                        writer_put(w, m->value, m->n_value);
                        break;
                case 'T':
                        writer_put_int(w, m->timestamp_ms);
                        break;
                case 'h':
                        print_headers(w, m);
                        break;
                case 'u':
                        if (m->is_uncommitted)
                                writer_put_string(w, "uncommitted");
                        break;
                default:
                        writer_put(w, part->literal, part->n_literal);
                }
        }
}

/* ,"name":"text" or ,"name_base64":"…" or ,"name":null */
static void print_member(struct writer *w, const char *name, const void *p, size_t n) {
        bool is_text = !p || utf8_is_valid(p, n);

        writer_put_string(w, ",\"");
        writer_put_string(w, name);
        writer_put_string(w, is_text ? "\":" : "_base64\":\"");
        if (!p)
                writer_put_string(w, "null");
        else if (is_text)
                writer_put_json(w, p, n);
        else {
                writer_put_base64(w, p, n);
                writer_put_byte(w, '"');
        }
}

static void print_header_value(struct writer *w, const void *p, size_t n) {
        if (!p)
                writer_put_string(w, "null");
        else if (utf8_is_valid(p, n))
                writer_put_json(w, p, n);
        else {
                writer_put_string(w, "{\"base64\":\"");
                writer_put_base64(w, p, n);
                writer_put_string(w, "\"}");
        }
}

/* The next header from @i on that is called so; the number of headers where there is none. */
static size_t next_of_name(const struct shown *m, size_t i, const struct shown_header *h) {
        for (; i < m->n_headers; i++)
                if (m->headers[i].n_name == h->n_name &&
                    memcmp(m->headers[i].name, h->name, h->n_name) == 0)
                        break;
        return i;
}

/* A member a name; an array where a name repeats. A name that is not UTF-8 shows what it can. */
static void print_json_headers(struct writer *w, const struct shown *m) {
        size_t n_members = 0;

        if (m->n_headers == 0)
                return;

        writer_put_string(w, ",\"headers\":{");
        for (size_t i = 0; i < m->n_headers; i++) {
                const struct shown_header *h = &m->headers[i];
                bool is_repeated;

                if (next_of_name(m, 0, h) < i)
                        continue;

                if (n_members++ > 0)
                        writer_put_byte(w, ',');
                writer_put_json(w, h->name, utf8_is_valid(h->name, h->n_name) ? h->n_name : 0);
                writer_put_byte(w, ':');

                is_repeated = next_of_name(m, i + 1, h) < m->n_headers;
                if (is_repeated)
                        writer_put_byte(w, '[');
                for (size_t j = i; j < m->n_headers; j = next_of_name(m, j + 1, h)) {
                        if (j > i)
                                writer_put_byte(w, ',');
                        print_header_value(w, m->headers[j].value, m->headers[j].n_value);
                }
                if (is_repeated)
                        writer_put_byte(w, ']');
        }
        writer_put_byte(w, '}');
}

static void print_json(struct writer *w, const struct shown *m) {
        writer_put_string(w, "{\"topic\":\"");
        writer_put_string(w, m->topic); /* names need no escapes */
        writer_put_string(w, "\",\"partition\":");
        writer_put_uint(w, m->partition);
        writer_put_string(w, ",\"offset\":");
        writer_put_uint(w, m->offset);
        writer_put_string(w, ",\"timestamp\":");
        writer_put_int(w, m->timestamp_ms);

        if (m->key)
                print_member(w, "key", m->key, m->n_key);
        print_member(w, "value", m->value, m->n_value);
        print_json_headers(w, m);
        if (m->is_uncommitted)
                writer_put_string(w, ",\"uncommitted\":true");
        writer_put_string(w, "}\n");
}

void format_print(const struct format *f, struct writer *w, const struct shown *m) {
        uint8_t length[4];

        switch (f->form) {
        case FORMAT_VALUE:
                writer_put(w, m->value, m->n_value);
                writer_put_byte(w, f->terminator);
                return;
        case FORMAT_CUSTOM:
                print_custom(f, w, m);
                return;
        case FORMAT_JSON:
                print_json(w, m);
                return;
        case FORMAT_FRAMED:
                be32_store(length, (uint32_t) m->n_value);
                writer_put(w, length, sizeof(length));
                writer_put(w, m->value, m->n_value);
                return;
        }
}
