/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the verbs of drmq-snapshot get. */

#include "base/time.h"
#include "cli/output.h"

struct tool {
        const char *brokers;
        usec_t timeout_usec;
        enum output_form form;
        const char *to;       /* --to; NULL: not given */
        const char *dir;      /* --dir */
        const char *name;     /* --name */
        const char *data_dir; /* --data-dir */
        int level;            /* --level; 0: the default */
        bool progress;        /* --progress */
};

/* The verbs (cli/verbs.h): @userdata is the struct tool. Return: a status of cli/exit-code.h, or a
 * negative errno, logged. */
int create_run(char **args, size_t n_args, void *userdata);
int list_run(char **args, size_t n_args, void *userdata);
int delete_run(char **args, size_t n_args, void *userdata);
int inspect_run(char **args, size_t n_args, void *userdata);
int verify_run(char **args, size_t n_args, void *userdata);
int restore_run(char **args, size_t n_args, void *userdata);

/* For the signal handler: what is under way ends soon. */
void create_interrupt(void);
