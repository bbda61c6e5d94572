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
                if (percent + 1 == end || percent[1] == '\0' || !strchr("%tpokvTh", percent[1]))
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

static void print_headers(struct writer *w, const drmq_message *m) {
        const char *name;
        const void *value;
        size_t n_name, n_value;

        for (size_t i = 0; drmq_message_header(m, i, &name, &n_name, &value, &n_value) >= 0; i++) {
                if (i > 0)
                        writer_put_byte(w, ',');
                writer_put(w, name, n_name);
                writer_put_byte(w, '=');
                writer_put(w, value, n_value);
        }
}

static void print_custom(const struct format *f, struct writer *w, const drmq_message *m) {
        const void *p;
        size_t n;

        for (size_t i = 0; i < f->n_parts; i++) {
                const struct format_part *part = &f->parts[i];

                switch (part->directive) {
                case 't':
                        writer_put_string(w, drmq_message_topic(m));
                        break;
                case 'p':
                        writer_put_uint(w, drmq_message_partition(m));
                        break;
                case 'o':
                        writer_put_uint(w, drmq_message_offset(m));
                        break;
                case 'k':
                        p = drmq_message_key(m, &n);
                        writer_put(w, p, p ? n : 0);
                        break;
                case 'v':
                        p = drmq_message_value(m, &n);
                        writer_put(w, p, p ? n : 0);
                        break;
                case 'T':
                        writer_put_int(w, drmq_message_timestamp_ms(m));
                        break;
                case 'h':
                        print_headers(w, m);
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
static size_t next_of_name(const drmq_message *m,
                           size_t i,
                           const char *name,
                           size_t n_name,
                           const void **ret,
                           size_t *ret_n) {
        size_t n_headers = drmq_message_n_headers(m), n;
        const char *other;

        for (; i < n_headers; i++)
                if (drmq_message_header(m, i, &other, &n, ret, ret_n) >= 0 && n == n_name &&
                    memcmp(other, name, n) == 0)
                        break;
        return i;
}

/* A member a name; an array where a name repeats. A name that is not UTF-8 shows what it can. */
static void print_json_headers(struct writer *w, const drmq_message *m) {
        size_t n_headers = drmq_message_n_headers(m), n_name, n, n_members = 0;
        const void *value;
        const char *name;

        if (n_headers == 0)
                return;

        writer_put_string(w, ",\"headers\":{");
        for (size_t i = 0; i < n_headers; i++) {
                bool is_repeated;

                if (drmq_message_header(m, i, &name, &n_name, &value, &n) < 0 ||
                    next_of_name(m, 0, name, n_name, &value, &n) < i)
                        continue;

                if (n_members++ > 0)
                        writer_put_byte(w, ',');
                writer_put_json(w, name, utf8_is_valid(name, n_name) ? n_name : 0);
                writer_put_byte(w, ':');

                is_repeated = next_of_name(m, i + 1, name, n_name, &value, &n) < n_headers;
                if (is_repeated)
                        writer_put_byte(w, '[');
                for (size_t j = i;;) {
                        (void) next_of_name(m, j, name, n_name, &value, &n);
                        print_header_value(w, value, n);
                        j = next_of_name(m, j + 1, name, n_name, &value, &n);
                        if (j == n_headers)
                                break;
                        writer_put_byte(w, ',');
                }
                if (is_repeated)
                        writer_put_byte(w, ']');
        }
        writer_put_byte(w, '}');
}

static void print_json(struct writer *w, const drmq_message *m) {
        const void *p;
        size_t n;

        writer_put_string(w, "{\"topic\":\"");
        writer_put_string(w, drmq_message_topic(m)); /* names need no escapes */
        writer_put_string(w, "\",\"partition\":");
        writer_put_uint(w, drmq_message_partition(m));
        writer_put_string(w, ",\"offset\":");
        writer_put_uint(w, drmq_message_offset(m));
        writer_put_string(w, ",\"timestamp\":");
        writer_put_int(w, drmq_message_timestamp_ms(m));

        p = drmq_message_key(m, &n);
        if (p)
                print_member(w, "key", p, n);
        p = drmq_message_value(m, &n);
        print_member(w, "value", p, n);
        print_json_headers(w, m);
        writer_put_string(w, "}\n");
}

void format_print(const struct format *f, struct writer *w, const drmq_message *m) {
        const void *p;
        uint8_t length[4];
        size_t n;

        switch (f->form) {
        case FORMAT_VALUE:
                p = drmq_message_value(m, &n);
                writer_put(w, p, p ? n : 0);
                writer_put_byte(w, f->terminator);
                return;
        case FORMAT_CUSTOM:
                print_custom(f, w, m);
                return;
        case FORMAT_JSON:
                print_json(w, m);
                return;
        case FORMAT_FRAMED:
                p = drmq_message_value(m, &n);
                be32_store(length, (uint32_t) (p ? n : 0));
                writer_put(w, length, sizeof(length));
                writer_put(w, p, p ? n : 0);
                return;
        }
}
