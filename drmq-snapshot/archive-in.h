/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * An archive out of a file: a thread reads and decompresses it, the caller's takes what comes, so
 * that checking and writing go on meanwhile.
 */

#include "base/macro.h"
#include "cli/progress.h"
#include "snapshot/archive.h"

/**
 * archive_in_read() - all of an archive
 * @path:     "-" is stdin
 * @events:   told of what comes
 * @progress: NULL: not shown
 * @ret:      returns new, with checksums; may be NULL
 *
 * Return: 0 it is whole, and as its manifest says; -EBADMSG it is not, -ECANCELED a signal came,
 * and other errors, logged; but what an event says is the event's to log.
 */
int archive_in_read(const char *path,
                    const struct archive_events *events,
                    void *userdata,
                    struct progress *progress,
                    struct archive_reader **ret);
