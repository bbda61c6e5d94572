/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Snapshots that a running node holds. */

#include "drmq-snapshot/tool.h"

struct held_snapshot {
        const char *name;
        int64_t created_ms;
        uint64_t n_files;
        uint64_t n_bytes;
        const char *file; /* the archive */
        uint64_t n_file_bytes;
};

/* `create` without --to. */
int held_create(const struct tool *t);
/* What was made. Return: 0; negative errno, logged. */
int held_print_created(const struct held_snapshot *h, enum output_form form);
