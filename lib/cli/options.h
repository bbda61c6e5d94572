/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The command line of a program, from one table: parsing, --help and the messages about what is
 * wrong all come from it.
 *
 *     static const struct option_spec options[] = {
 *             { 'b', "brokers", "LIST", "where the brokers are" },
 *             { OPTION_LONG(0), "linger", "TIME", "wait so long for more" },
 *             OPTIONS_COMMON,
 *     };
 *     static const struct program program = { .name = "drmq-send", …, .options = options, … };
 *
 *     options_init(&o, &program, argc, argv);
 *     while ((id = options_next(&o, &value)) > 0)
 *             switch (id) { … }
 *     if (id < 0)
 *             return id;
 *     // o.args, o.n_args: what is no option
 *
 * Options and arguments may be mixed; "--" ends the options. Unlike other libraries this one speaks
 * to the person: what is wrong with the command line is logged here, once, and names the option.
 *
 * getopt_long(3) keeps its state per process: one struct options at a time.
 */

#include <getopt.h>

#include "base/macro.h"
#include "base/time.h"

#define OPTIONS_MAX 64u
#define OPTION_WIDTH 80u

/* Identities of options without a letter. */
#define OPTION_LONG(n) (256 + (n))
#define OPTION_VERSION OPTION_LONG(4096)

struct option_spec {
        int id;               /* the letter, or OPTION_LONG(n) */
        const char *name;     /* without the "--" */
        const char *argument; /* what help calls it; NULL: takes none */
        const char *help;     /* one sentence, small, wrapped where needed */
        bool is_of_verbs;     /* only with the verbs that name it (cli/verbs.h) */
};

/* The last lines of every table. options_next() deals with them itself. */
#define OPTIONS_COMMON                                                                             \
        { 'h', "help", NULL, "show this help", false }, {                                          \
                OPTION_VERSION, "version", NULL, "show the version", false                         \
        }

struct verb;

/* A program as its help shows it. */
struct program {
        const char *name;
        const char *usage;   /* what stands behind the name, a line for each form */
        const char *summary; /* a sentence or a few lines, broken by hand */
        const struct option_spec *options;
        size_t n_options; /* up to OPTIONS_MAX */
        const struct verb *verbs;
        size_t n_verbs;
        const char *footer; /* lines below; NULL: none */
};

struct options {
        const struct program *program;
        int argc;
        char **argv;
        char short_options[2 * OPTIONS_MAX + 2];
        struct option long_options[OPTIONS_MAX + 1];
        bool is_seen[OPTIONS_MAX];         /* by place in the table */
        const struct option_spec *current; /* what options_next() gave last */
        char **args; /* set at the end: what is no option; borrows from argv */
        size_t n_args;
};

/* @p, @argv: borrows for the life of @o. */
void options_init(struct options *o, const struct program *p, int argc, char **argv);

/**
 * options_next() - the next option of the command line
 * @ret_value: its argument, borrowed from argv; NULL where it takes none
 *
 * Return: its id; 0 there are no more, o->args is set; -EINVAL wrong usage, which was logged (leave
 * with EXIT_USAGE); -ECANCELED --help or --version was printed (leave with EXIT_DONE); -EIO it
 * could not be printed.
 */
int options_next(struct options *o, const char **ret_value);

/* What main() leaves with when options_next(), or its own checks with options_error(), gave @r <
 * 0. */
int options_exit_code(int r);

/* Logs what is wrong and where to read on. Returns -EINVAL. */
int options_error(const struct options *o, const char *format, ...) _printf_(2, 3);

/* Whether an option was given. */
bool options_has(const struct options *o, int id);
/* Logs and returns -EINVAL where both were given; else 0. */
int options_exclude(const struct options *o, int a, int b);

/* The value of the current option in a form; what does not have it is logged and names the option.
 * Return: 0; -EINVAL. */
int options_uint(
        const struct options *o, const char *value, uint64_t min, uint64_t max, uint64_t *ret);
int options_size(const struct options *o,
                 const char *value,
                 uint64_t min,
                 uint64_t max,
                 uint64_t *ret_bytes);
int options_duration(const struct options *o, const char *value, usec_t *ret_usec);
/* Which of @names (ends in NULL) it is. */
int options_choice(const struct options *o,
                   const char *value,
                   const char *const *names,
                   unsigned *ret);

/* The whole help as a new string (mem_free()); at most OPTION_WIDTH columns. NULL: no memory. */
char *options_help(const struct program *p);
