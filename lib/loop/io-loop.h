/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * struct io over sd-event: what the daemon and the client library run on. Files are io-posix's;
 * jobs run on threads (worker.h, log-writer.h); streams are non-blocking sockets (stream.h).
 *
 * The order of things: a socket that is ready, a connection to accept and a job that has completed
 * are handled in the order in which they were noticed. Deadlines and small log writes come when
 * each of those that are at hand has been handled once; so after a pause what others have said
 * meanwhile is read before anything expires, a group write gathers what is there, and no socket,
 * however busy, keeps either waiting for ever.
 *
 * Idle means idle: nothing here wakes up without a deadline, a byte or a completion.
 */

#include <systemd/sd-event.h>

#include "io/io.h"

struct io_loop;

struct io_loop_config {
        const char *root;      /* where relative paths begin; NULL: the working folder */
        bool log_threads_only; /* no log write on the loop, however small and quick */
};

/**
 * io_loop_new() - make a struct io of an event loop
 * @event:  shares; more than one struct io on it is fine
 * @config: borrows until return; NULL: all as it is by default
 *
 * Return: 0; -ENOMEM; -EMFILE; -ENOENT, -ENOTDIR … root cannot be used.
 */
int io_loop_new(sd_event *event, const struct io_loop_config *config, struct io_loop **ret);
/* Waits for jobs that run; forgets those that do not, and timers. Streams, listeners and files must
 * be closed before. Takes NULL, returns NULL. */
struct io_loop *io_loop_free(struct io_loop *l);
DEFINE_CLEANUP(struct io_loop *, io_loop_free)

/* Borrows. */
struct io *io_loop_io(struct io_loop *l);
/* When the loop has something to do though no descriptor of the event loop becomes readable: 0 at
 * once; USEC_INFINITY never. For who waits for the event loop's descriptor by other means. */
usec_t io_loop_deadline(const struct io_loop *l);
