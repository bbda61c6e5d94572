/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Where the files of an archive come from: a snapshot that a running node holds, read through the
 * protocol, or the directory of one that is stopped.
 */

#include "drmq-snapshot/tool.h"
#include "snapshot/manifest.h"

struct snapshot_source {
        const struct snapshot_source_ops *ops;
        struct manifest *contents;
};

struct snapshot_source_ops {
        /* @i: number in contents->files. Return: 0, and how many bytes there are: fewer than @n at
         * the end; negative errno, logged. */
        int (*read)(struct snapshot_source *s,
                    size_t i,
                    uint64_t pos,
                    void *p,
                    size_t n,
                    size_t *ret_n);
        /* Also gives back what is held. */
        void (*free)(struct snapshot_source *s);
};

struct snapshot_source *snapshot_source_free(struct snapshot_source *s);
DEFINE_CLEANUP(struct snapshot_source *, snapshot_source_free)

/* Return: 0; EXIT_USAGE or a negative errno, logged. */
int snapshot_source_of_node(const struct tool *t, struct snapshot_source **ret);
int snapshot_source_of_directory(const struct tool *t, struct snapshot_source **ret);
