/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The daemon's shell: owns the event loop, struct io, the listeners and the broker, and wires them.
 * It listens before it recovers, so that an address in use is told at once and early clients wait
 * in the kernel's queue; they are let in when the broker serves.
 */

#include "drmqd/config.h"

/**
 * shell_run() - be a daemon until SIGTERM or SIGINT
 * @c: borrows; names that are NULL are filled in
 *
 * Return: an exit status as in sysexits(3): 0; EX_UNAVAILABLE an address is in use or the directory
 * is locked; EX_DATAERR the directory is damaged; EX_CONFIG it is another node's, or of a newer
 * format; EX_NOPERM; EX_CANTCREAT; EX_IOERR the disk failed; EX_OSERR. What happened has been
 * logged.
 */
int shell_run(struct config *c);
