/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * An archive on its way to a file: tar, zstd, and a name that it gets only when it is whole. Until
 * then it is FILE.partial, mode 0600, locked; what a kill leaves of it is overwritten by the next.
 * zstd compresses in threads of its own, as many as there are processors, while the caller reads.
 */

#include "base/macro.h"
#include "snapshot/manifest.h"

struct archive_out;

/* @path: "-" is stdout. Return: 0; -EEXIST it is there; -EBUSY it is being written; what open(2)
 * says; logged. */
int archive_out_new(const char *path, int level, struct archive_out **ret);
/* What is not whole is removed. Takes NULL, returns NULL. */
struct archive_out *archive_out_free(struct archive_out *o);
DEFINE_CLEANUP(struct archive_out *, archive_out_free)

/* A member: its header, then its bytes, as many as that says. Return: 0; what write(2) says,
 * logged, but for -EPIPE. */
int archive_out_member(struct archive_out *o, const char *name, uint64_t n_bytes, int64_t time_ms);
int archive_out_data(struct archive_out *o, const void *p, size_t n);
/* The end of the tar; then it is synced and gets its name. Return: as above; -EEXIST somebody made
 * a file of that name meanwhile. */
int archive_out_end(struct archive_out *o);
/* Compressed, so far. */
uint64_t archive_out_bytes(const struct archive_out *o);
