/* SPDX-License-Identifier: Apache-2.0 */

/* drmqctl metrics: what a node counts, as it says it, or one JSON object a sample. */

#include <unistd.h>

#include "base/alloc.h"
#include "base/logging.h"
#include "cli/connect.h"
#include "cli/exit-code.h"
#include "cli/writer.h"
#include "drmqctl/view.h"

#define WRITE_BYTES 65536u

/* A part of the text. */
struct part {
        const char *p;
        size_t n;
};

static bool part_is(struct part a, struct part b) {
        return a.n == b.n && memcmp(a.p, b.p, a.n) == 0;
}

/* Takes up to the first @c off the front, and @c. Return: whether it is there. */
static bool take_until(struct part *text, char c, struct part *ret) {
        const char *end = text->n > 0 ? memchr(text->p, c, text->n) : NULL;

        if (!end)
                return false;

        *ret = (struct part){ text->p, (size_t) (end - text->p) };
        text->n -= ret->n + 1;
        text->p = end + 1;
        return true;
}

/* Takes a label's value, behind its first quote, and the last one. @buffer: as long as the text.
 * Return: whether it is whole. */
static bool take_value(struct part *text, char *buffer, size_t *ret_n) {
        size_t n = 0;

        for (size_t i = 0; i < text->n; i++) {
                char c = text->p[i];

                if (c == '"') {
                        text->p += i + 1;
                        text->n -= i + 1;
                        *ret_n = n;
                        return true;
                }
                if (c == '\\') {
                        if (++i == text->n)
                                return false;
                        c = text->p[i] == 'n' ? '\n' : text->p[i];
                }
                buffer[n++] = c;
        }
        return false;
}

/* "a="b",c="d"}" becomes members. Return: whether they are of that form. */
static bool put_labels(struct writer *w, struct part *text, char *buffer) {
        bool is_first = true;
        struct part name;
        size_t n;

        do {
                if (!take_until(text, '=', &name) || text->n == 0 || *text->p != '"')
                        return false;
                text->p++;
                text->n--;
                if (!take_value(text, buffer, &n) || text->n == 0)
                        return false;

                if (!is_first)
                        writer_put_byte(w, ',');
                is_first = false;
                writer_put_json(w, name.p, name.n);
                writer_put_byte(w, ':');
                writer_put_json(w, buffer, n);
                text->p++;
                text->n--;
        } while (text->p[-1] == ',');
        return text->p[-1] == '}' && text->n > 0 && *text->p == ' ';
}

/* What the TYPE line of a family says, for its samples. */
struct family {
        struct part name;
        struct part type;
};

/* "# TYPE name type". Other comments are passed over. */
static bool read_comment(struct part line, struct family *f) {
        struct part hash, word;

        if (!take_until(&line, ' ', &hash) || !take_until(&line, ' ', &word) ||
            !part_is(word, (struct part){ "TYPE", 4 }))
                return true;
        if (!take_until(&line, ' ', &f->name))
                return false;
        f->type = line;
        return true;
}

static bool put_sample(struct writer *w, struct part line, const struct family *f, char *buffer) {
        size_t n_name = 0;

        while (n_name < line.n && line.p[n_name] != '{' && line.p[n_name] != ' ')
                n_name++;
        if (n_name == line.n || n_name < f->name.n || memcmp(line.p, f->name.p, f->name.n) != 0)
                return false;

        writer_put_string(w, "{\"name\":");
        writer_put_json(w, line.p, n_name);
        writer_put_string(w, ",\"type\":");
        writer_put_json(w, f->type.p, f->type.n);
        writer_put_string(w, ",\"labels\":{");
        line.p += n_name;
        line.n -= n_name;
        if (*line.p == '{') {
                line.p++;
                line.n--;
                if (!put_labels(w, &line, buffer))
                        return false;
        }
        writer_put_string(w, "},\"value\":");
        /* digits and a point: a number of JSON as it is */
        for (size_t i = 1; i < line.n; i++)
                if ((line.p[i] < '0' || line.p[i] > '9') && line.p[i] != '.')
                        return false;
        if (line.n < 2)
                return false;
        writer_put(w, line.p + 1, line.n - 1);
        writer_put_string(w, "}\n");
        return true;
}

/* Return: 0; -EPROTO it is not of that format; -ENOMEM. */
static int put_json(struct writer *w, const char *s) {
        struct part text = { s, strlen(s) }, line;
        _cleanup_(mem_freep) char *buffer = mem_alloc(text.n + 1);
        struct family f = {};

        if (!buffer)
                return -ENOMEM;

        while (take_until(&text, '\n', &line)) {
                bool is_good = line.n > 0 && (*line.p == '#' ? read_comment(line, &f)
                                                             : put_sample(w, line, &f, buffer));

                if (!is_good)
                        return -EPROTO;
        }
        return text.n == 0 ? 0 : -EPROTO;
}

int metrics_show(char **args, size_t n_args, void *userdata) {
        const struct view *v = userdata;
        struct writer w;
        const char *text;
        int r;

        (void) args;
        (void) n_args;

        r = drmq_metrics(v->client, &text);
        if (r < 0)
                return connect_error(v->client, r, "Cannot ask for the metrics");
        r = writer_init(&w, STDOUT_FILENO, WRITE_BYTES);
        if (r < 0)
                return log_oom();

        if (v->form == OUTPUT_JSON)
                r = put_json(&w, text);
        else
                writer_put_string(&w, text);
        if (r < 0)
                (void) log_error_errno(r, "Cannot show the metrics: %m");
        else {
                r = writer_flush(&w);
                if (r == -EPIPE)
                        r = 0; /* who read has seen enough */
                else if (r < 0)
                        (void) log_error_errno(r, "Cannot write to stdout: %m");
        }
        writer_done(&w);
        return r < 0 ? r : EXIT_DONE;
}
