/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Reads a snapshot's archive, a tar that has been decompressed, as its bytes come: pure, in pieces
 * of any size. An archive is
 *
 *     drmq-snapshot | the files, in the order of the table of contents | manifest | zeroes
 *
 * and whole only when archive_reader_end() says so: each file there once, as long as it is said to
 * be and with the checksum of the manifest, nothing else. Until then what on_data() was given is
 * not to be trusted.
 */

#include "snapshot/manifest.h"
#include "snapshot/tar.h"

#define ARCHIVE_TEXT_MAX 256u

/* Each may be NULL; a negative result ends the reading with it. @m: borrowed, for the life of the
 * reader; @i: number in m->files. */
struct archive_events {
        int (*on_contents)(void *userdata, const struct manifest *m);
        int (*on_file)(void *userdata, size_t i);
        int (*on_data)(void *userdata, size_t i, const void *p, size_t n);
        int (*on_file_end)(void *userdata, size_t i);
};

struct archive_reader;

int archive_reader_new(const struct archive_events *events,
                       void *userdata,
                       struct archive_reader **ret);
struct archive_reader *archive_reader_free(struct archive_reader *a);
DEFINE_CLEANUP(struct archive_reader *, archive_reader_free)

/* The next bytes; borrows until return. Return: 0; -EBADMSG the archive is damaged or is none;
 * -EPROTONOSUPPORT of a newer version; -ENOMEM; what an event said. After an error it is of no
 * further use. */
int archive_reader_feed(struct archive_reader *a, const void *p, size_t n);
/* There are no more. Return: 0 the archive is whole; -EBADMSG it is not. */
int archive_reader_end(struct archive_reader *a);
/* What is wrong and where, after -EBADMSG or -EPROTONOSUPPORT. Never NULL. */
const char *archive_reader_error(const struct archive_reader *a);
/* How many files have been read whole. */
size_t archive_reader_n_files(const struct archive_reader *a);
/* With checksums, after archive_reader_end() gave 0; else NULL. Borrows. */
const struct manifest *archive_reader_manifest(const struct archive_reader *a);
