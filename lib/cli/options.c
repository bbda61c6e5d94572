/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Command lines and help from a table; getopt_long(3) does the splitting.
 *
 * I1: no line of help is wider than OPTION_WIDTH, as long as no single word is.
 */

#include "cli/options.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/format.h"
#include "base/fs.h"
#include "base/logging.h"
#include "base/parse.h"
#include "cli/exit-code.h"
#include "cli/verbs.h"

#define HELP_INDENT 27u

static const struct option_spec *spec_by_id(const struct options *o, int id) {
        for (size_t i = 0; i < o->program->n_options; i++)
                if (o->program->options[i].id == id)
                        return &o->program->options[i];
        return NULL;
}

static bool spec_has_letter(const struct option_spec *s) {
        return s->id < OPTION_LONG(0);
}

void options_init(struct options *o, const struct program *p, int argc, char **argv) {
        char *s;

        assert(o);
        assert(p);
        assert(p->n_options <= OPTIONS_MAX);
        assert(argv);

        *o = (struct options){ .program = p, .argc = argc, .argv = argv };
        s = o->short_options;
        *s++ = ':'; /* a missing argument is told apart from an unknown option */
        for (size_t i = 0; i < p->n_options; i++) {
                const struct option_spec *spec = &p->options[i];

                o->long_options[i] = (struct option){
                        .name = spec->name,
                        .has_arg = spec->argument ? required_argument : no_argument,
                        .val = spec->id,
                };
                if (!spec_has_letter(spec))
                        continue;
                *s++ = (char) spec->id;
                if (spec->argument)
                        *s++ = ':';
        }
        *s = '\0';
        optind = 0; /* starts anew: getopt(3), "Notes" */
        opterr = 0;
}

int options_error(const struct options *o, const char *format, ...) {
        char text[LOG_TEXT_MAX / 2];
        va_list ap;

        assert(o);
        assert(format);

        va_start(ap, format);
        (void) vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);

        log_error("%s; see %s --help", text, o->program->name);
        return -EINVAL;
}

/* The name by which a message calls an option. */
static void spec_name(const struct option_spec *s, char dest[static 64]) {
        if (spec_has_letter(s))
                (void) snprintf(dest, 64, "-%c/--%s", s->id, s->name);
        else
                (void) snprintf(dest, 64, "--%s", s->name);
}

/* What getopt_long() did not like. */
static int bad_option(const struct options *o, bool is_argument_missing) {
        const struct option_spec *s = optopt ? spec_by_id(o, optopt) : NULL;
        char name[64];

        if (s) {
                spec_name(s, name);
                if (is_argument_missing)
                        return options_error(o, "Option %s needs %s", name, s->argument);
                return options_error(o, "Option %s takes no value", name);
        }
        if (optopt)
                return options_error(o, "Unknown option -%c", optopt);
        return options_error(o, "Unknown option %s", o->argv[optind - 1]);
}

static int print(const char *s) {
        int r;

        r = fd_write_full(STDOUT_FILENO, s, strlen(s));
        return r == -EPIPE ? 0 : r;
}

static int print_help(const struct program *p) {
        _cleanup_(mem_freep) char *help = options_help(p);

        if (!help)
                return log_oom();
        return print(help);
}

static int print_version(const struct program *p) {
        char line[128];

        (void) snprintf(line, sizeof(line), "%s %s\n", p->name, DRMQ_VERSION);
        return print(line);
}

int options_next(struct options *o, const char **ret_value) {
        int id, r;

        assert(o);
        assert(ret_value);

        id = getopt_long(o->argc, o->argv, o->short_options, o->long_options, NULL);
        if (id == '?' || id == ':')
                return bad_option(o, /* is_argument_missing= */ id == ':');

        if (id < 0) {
                o->args = o->argv + optind;
                o->n_args = (size_t) (o->argc - optind);
                o->current = NULL;
                return 0;
        }

        o->current = spec_by_id(o, id);
        assert(o->current);
        o->is_seen[o->current - o->program->options] = true;

        if (id == 'h' || id == OPTION_VERSION) {
                r = id == 'h' ? print_help(o->program) : print_version(o->program);
                return r < 0 ? -EIO : -ECANCELED;
        }

        *ret_value = optarg;
        return id;
}

int options_exit_code(int r) {
        switch (r) {
        case -ECANCELED:
                return EXIT_DONE;
        case -EINVAL:
                return EXIT_USAGE;
        default:
                return exit_code_of(r);
        }
}

bool options_has(const struct options *o, int id) {
        const struct option_spec *s = spec_by_id(o, id);

        return s && o->is_seen[s - o->program->options];
}

int options_exclude(const struct options *o, int a, int b) {
        char name_a[64], name_b[64];

        if (!options_has(o, a) || !options_has(o, b))
                return 0;

        spec_name(spec_by_id(o, a), name_a);
        spec_name(spec_by_id(o, b), name_b);
        return options_error(o, "%s and %s exclude each other", name_a, name_b);
}

static int bad_value(const struct options *o, const char *value, const char *what) {
        char name[64];

        spec_name(o->current, name);
        return options_error(o, "Option %s: '%s' is not %s", name, value, what);
}

int options_uint(
        const struct options *o, const char *value, uint64_t min, uint64_t max, uint64_t *ret) {

        char what[96];
        int r;

        r = parse_uint64_range(value, min, max, ret);
        if (r >= 0)
                return 0;

        if (max == UINT64_MAX)
                (void) snprintf(
                        what, sizeof(what), "a number from %llu on", (unsigned long long) min);
        else
                (void) snprintf(what,
                                sizeof(what),
                                "a number from %llu to %llu",
                                (unsigned long long) min,
                                (unsigned long long) max);
        return bad_value(o, value, what);
}

int options_size(const struct options *o,
                 const char *value,
                 uint64_t min,
                 uint64_t max,
                 uint64_t *ret_bytes) {

        char low[FORMAT_MAX], high[FORMAT_MAX], what[64 + 2 * FORMAT_MAX];
        uint64_t n;
        int r;

        r = parse_size(value, &n);
        if (r >= 0 && n >= min && n <= max) {
                *ret_bytes = n;
                return 0;
        }

        (void) snprintf(what,
                        sizeof(what),
                        "a size from %s to %s",
                        format_bytes(low, min),
                        format_bytes(high, max));
        return bad_value(o, value, what);
}

int options_duration(const struct options *o, const char *value, usec_t *ret_usec) {
        int r;

        r = parse_duration(value, ret_usec);
        return r < 0 ? bad_value(o, value, "a time such as 30s, 5min or 100ms") : 0;
}

int options_choice(const struct options *o,
                   const char *value,
                   const char *const *names,
                   unsigned *ret) {

        char what[256] = "one of";
        size_t n = strlen(what);

        for (unsigned i = 0; names[i]; i++) {
                if (streq(value, names[i])) {
                        *ret = i;
                        return 0;
                }
                n += (size_t) snprintf(
                        what + n, sizeof(what) - n, "%s %s", i > 0 ? "," : "", names[i]);
                assert(n < sizeof(what));
        }
        return bad_value(o, value, what);
}

/* ---- Help ---- */

/* Words of @text from column @indent on, the first line being at column @at already. */
static void print_wrapped(FILE *f, const char *text, size_t at, size_t indent) {
        bool is_first = true;

        while (*text) {
                size_t n = strcspn(text, " ");

                if (!is_first && at + 1 + n > OPTION_WIDTH) { /* I1 */
                        fprintf(f, "\n%*s", (int) indent, "");
                        at = indent;
                        is_first = true;
                }
                fprintf(f, "%s%.*s", is_first ? "" : " ", (int) n, text);
                at += n + !is_first;
                is_first = false;
                text += n;
                text += strspn(text, " ");
        }
        fputc('\n', f);
}

/* A term at the left, what it means at the right, on the next line where there is no room. */
static void print_item(FILE *f, const char *term, const char *text) {
        size_t n = 2 + strlen(term);

        fprintf(f, "  %s", term);
        if (n + 2 > HELP_INDENT) {
                fputc('\n', f);
                n = 0;
        }
        fprintf(f, "%*s", (int) (HELP_INDENT - n), "");
        print_wrapped(f, text, HELP_INDENT, HELP_INDENT);
}

static void print_usage(FILE *f, const struct program *p) {
        const char *line = p->usage;

        for (bool is_first = true; *line; is_first = false) {
                size_t n = strcspn(line, "\n");

                fprintf(f, "%s%s %.*s\n", is_first ? "Usage: " : "       ", p->name, (int) n, line);
                line += n + (line[n] == '\n');
        }
}

char *options_help(const struct program *p) {
        char *text = NULL, *ret;
        size_t n;
        FILE *f;

        assert(p);

        f = open_memstream(&text, &n);
        if (!f)
                return NULL;

        print_usage(f, p);
        fprintf(f, "%s\n", p->summary);

        if (p->n_verbs > 0)
                fputs("\nVerbs:\n", f);
        for (size_t i = 0; i < p->n_verbs; i++) {
                const struct verb *v = &p->verbs[i];
                char term[OPTION_WIDTH];

                (void) snprintf(term,
                                sizeof(term),
                                "%s%s%s",
                                v->name,
                                *v->arguments ? " " : "",
                                v->arguments);
                print_item(f, term, v->help);
        }

        fputs("\nOptions:\n", f);
        for (size_t i = 0; i < p->n_options; i++) {
                const struct option_spec *s = &p->options[i];
                char term[OPTION_WIDTH], letter[] = "-x, ";

                letter[1] = (char) s->id;
                (void) snprintf(term,
                                sizeof(term),
                                "%s--%s%s%s",
                                spec_has_letter(s) ? letter : "    ",
                                s->name,
                                s->argument ? "=" : "",
                                s->argument ? s->argument : "");
                print_item(f, term, s->help);
        }
        if (p->footer)
                fprintf(f, "\n%s\n", p->footer);

        if (fclose(f) != 0) {
                free(text);
                return NULL;
        }
        ret = mem_strdup(text);
        free(text);
        return ret;
}
