/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * struct io by plain system calls. Two things are here:
 *
 *  - `struct io_posix`: the blocking implementation, for tools and tests that only want files. Jobs
 *    and timers run when io_posix_dispatch() is called, on the caller's thread; there are no
 *    streams (-EOPNOTSUPP).
 *  - `struct io_base`: what every implementation on a real system shares (clock, random numbers,
 *    files, timers). lib/loop embeds it too, so that there is one implementation of the file
 *    operations.
 *
 * File operations may be called from any thread, each on a file that its caller holds; all else
 * belongs to one. New files get mode 0640, new folders 0750, less the umask.
 *
 * IO_OPEN_DIRECT opens the file twice: reads go past the page cache (O_DIRECT, through an aligned
 * bounce buffer), writes go through it. Where the file system refuses O_DIRECT, cached pages are
 * dropped before each read (posix_fadvise(2), POSIX_FADV_DONTNEED); what is dirty is not dropped
 * then, so a caller who wants the truth about the disk syncs first.
 */

#include "io/io.h"

/* Clock, random numbers, files and timers of a real system; implementations embed it. */
struct io_base {
        struct io io;
        struct io_ops ops;  /* io.ops points here: jobs and streams are the implementation's */
        int root_fd;        /* where relative paths begin; AT_FDCWD: the working folder */
        struct heap timers; /* by deadline */
        /* when timers last fired; no deadline is earlier, so that none is overtaken for ever */
        usec_t pass_usec;
};

/* @root may be NULL: the working folder. Sets all operations but jobs and streams; those are the
 *         caller's to set.
 * Return: 0; -ENOENT, -ENOTDIR … @root cannot be used. */
int io_base_init(struct io_base *b, const char *root);
void io_base_done(struct io_base *b);

/* The operation itself, for an implementation that has to do more than that. */
int io_base_timer_set(struct io *io, struct io_timer *t, usec_t deadline_usec);
/* The earliest deadline; USEC_INFINITY: none. */
usec_t io_base_next_deadline(const struct io_base *b);
/* Fires what is due now; what the callbacks set is left for the next call, however early. Return:
 * how many. */
unsigned io_base_fire_timers(struct io_base *b);

/* Returns new; io_posix_free() frees. @root as above. Return: 0; -ENOMEM; what io_base_init()
 * returns. */
int io_posix_new(const char *root, struct io **ret);
/* Takes NULL, returns NULL. Jobs that did not run are forgotten. Files must be closed before. */
struct io *io_posix_free(struct io *io);
DEFINE_CLEANUP(struct io *, io_posix_free)

/**
 * io_posix_dispatch() - run the jobs at hand, then the timers that are due
 * @max_wait_usec: how long to sleep for a timer where there is nothing to do
 *
 * Jobs of all lanes run one after the other, in the order of submission; what is submitted
 * meanwhile waits for the next call.
 *
 * Return: how many callbacks were called; 0: nothing was due within @max_wait_usec, or there is
 * nothing to wait for.
 */
int io_posix_dispatch(struct io *io, usec_t max_wait_usec);
