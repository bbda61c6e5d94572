/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Lines to assignments.
 *
 * I1: all lines that were handed out lie one behind the other in one copy, each with a NUL in the
 * place of its newline: the copy has @n + 1 bytes and is never outgrown.
 */

#include "base/ini.h"

#include "base/alloc.h"

struct ini_reader {
        const char *text; /* what is unread */
        size_t n;
        unsigned number;
        char *copy; /* where the next line goes */
};

static bool is_blank(char c) {
        return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

static char *skip_blanks(char *s) {
        while (is_blank(*s))
                s++;
        return s;
}

/* Cuts blanks at the end of the @n bytes at @s, and ends them. */
static void cut_blanks(char *s, size_t n) {
        while (n > 0 && is_blank(s[n - 1]))
                n--;
        s[n] = 0;
}

/* Moves past one line of the text, which is returned without blanks around it. */
static const char *next_physical_line(struct ini_reader *r, size_t *ret_n) {
        const char *line = r->text, *newline = memchr(line, '\n', r->n);
        size_t n = newline ? (size_t) (newline - line) : r->n;

        r->text += n + (newline != NULL);
        r->n -= n + (newline != NULL);
        r->number++;

        for (; n > 0 && is_blank(*line); n--)
                line++;
        while (n > 0 && is_blank(line[n - 1]))
                n--;

        *ret_n = n;
        return line;
}

/* Whether its last backslash is not itself escaped. */
static bool goes_on(const char *line, size_t n) {
        size_t n_backslashes = 0;

        while (n_backslashes < n && line[n - 1 - n_backslashes] == '\\')
                n_backslashes++;
        return n_backslashes % 2 != 0;
}

/* Puts a line together. Comments and empty lines are left out. Return: it, @ret_n bytes and a NUL;
 * NULL at the end. */
static char *next_line(struct ini_reader *r, size_t *ret_n, unsigned *ret_number) {
        char *line = r->copy;
        size_t n = 0;
        bool more = false;

        while (r->n > 0) {
                size_t k;
                const char *part = next_physical_line(r, &k);

                if (k > 0 && (part[0] == '#' || part[0] == ';'))
                        continue;
                if (k == 0 && !more)
                        continue;
                if (!more)
                        *ret_number = r->number;

                more = goes_on(part, k);
                memcpy(line + n, part, k);
                n += k;
                if (!more)
                        break;
                line[n - 1] = ' ';
        }
        if (n == 0)
                return NULL;

        line[n] = 0;
        r->copy += n + 1; /* I1 */
        *ret_n = n;
        return line;
}

/* What one line says. */
static struct ini_line parse_line(char *s, size_t n, const char **section) {
        struct ini_line line = { .kind = INI_MALFORMED };
        char *equals;

        if (memchr(s, 0, n)) {
                line.why = "a NUL byte";
                return line;
        }

        cut_blanks(s, n);
        s = skip_blanks(s);
        if (s[0] == '[') {
                char *end = strchr(s, ']');

                if (!end || end[1] != 0 || end == s + 1) {
                        line.why = "not a section: [name]";
                        return line;
                }
                *end = 0;
                *section = s + 1;
                return (struct ini_line){ .kind = INI_SECTION, .section = *section };
        }

        equals = strchr(s, '=');
        if (!equals || equals == s) {
                line.why = equals ? "no key before the \"=\"" : "neither [section] nor key=value";
                return line;
        }

        cut_blanks(s, (size_t) (equals - s));
        return (struct ini_line){ .kind = INI_ASSIGNMENT,
                                  .section = *section,
                                  .key = s,
                                  .value = skip_blanks(equals + 1) };
}

int ini_parse(const char *text, size_t n, ini_callback_t callback, void *userdata) {
        struct ini_reader reader = { .text = text, .n = n };
        _cleanup_(mem_freep) char *copy = NULL;
        const char *section = NULL;
        unsigned number = 0;
        size_t k;
        char *s;

        assert(text || n == 0);
        assert(callback);

        copy = reader.copy = mem_alloc(n + 1);
        if (!copy)
                return -ENOMEM;
        if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) { /* a byte order mark */
                reader.text += 3;
                reader.n -= 3;
        }

        while ((s = next_line(&reader, &k, &number))) {
                struct ini_line line = parse_line(s, k, &section);
                int r;

                line.number = number;
                r = callback(userdata, &line);
                if (r < 0)
                        return r;
        }

        return 0;
}
