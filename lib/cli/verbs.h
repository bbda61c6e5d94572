/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The verbs of a program: a table of name, arguments, options, a line of help and a function. Names
 * are one word or two ("topics list").
 */

#include "cli/options.h"

#define VERB_ANY UINT32_MAX

struct verb {
        const char *name;
        const char *arguments;           /* as help shows them; "" for none */
        unsigned n_args_min, n_args_max; /* VERB_ANY: no limit */
        const int *options; /* ids of the options of verbs that it takes, ends in 0; NULL: none */
        const char *help;
        int (*run)(char **args, size_t n_args, void *userdata);
};

/**
 * verbs_find() - the verb that the arguments begin with
 * @o:          after options_next() gave 0
 * @ret_args:   behind its name; borrows from argv
 *
 * Checks the number of arguments, and that no option of other verbs was given.
 *
 * Return: 0; -EINVAL, logged.
 */
int verbs_find(const struct options *o,
               const struct verb **ret,
               char ***ret_args,
               size_t *ret_n_args);
