/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The daemon's shell: owns the event loop, struct io, the listeners and the broker, and wires them.
 * It listens before it recovers, so that an address in use is told at once and early clients wait
 * in the kernel's queue; they are let in when the broker serves.
 */

#include "drmqd/config-load.h"

/**
 * shell_run() - be a daemon until SIGTERM or SIGINT
 * @c:       borrows; a reload changes it
 * @sources: where SIGHUP reads it anew; borrows
 *
 * Return: an exit status as in sysexits(3): 0; EX_UNAVAILABLE an address is in use or the directory
 * is locked; EX_DATAERR the directory is damaged; EX_CONFIG it is another node's, or of a newer
 * format; EX_NOPERM; EX_CANTCREAT; EX_IOERR the disk failed; EX_OSERR. What happened has been
 * logged.
 */
int shell_run(struct config *c, const struct config_sources *sources);

/* Logs what there is to say of a configuration; nothing that is less than @max_level. */
void shell_log_notes(const struct config_notes *notes, int max_level);
