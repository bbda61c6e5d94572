/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the daemon listens on: the addresses of its configuration; sockets that a service manager
 * passed to it, of a socket unit or from the life before; and a Unix socket that is named after the
 * node.
 *
 * A passed socket at a configured address is used instead of one of our own; others that were passed
 * are served too. TCP sockets of ours are stored with the manager, so that between two lives of the
 * daemon the kernel takes connections for it.
 */

#include "drmqd/config.h"
#include "loop/listen.h"
#include "loop/passed.h"

/* Configured, passed, and by name. */
#define PASSED_MAX 32u
#define SOCKETS_MAX (LISTEN_MAX + PASSED_MAX + 1u)

struct sockets {
        struct listener *listeners[SOCKETS_MAX];
        size_t n;
};

/**
 * sockets_open() - listen on all of them
 * @c:      borrows; no address to listen on is the default one, and what is advertised is set
 * @passed: borrows; the descriptors of those that are used are taken
 * @ret:    sockets_close() after a failure too
 *
 * Return: an exit status as in sysexits(3): 0; EX_UNAVAILABLE an address is in use; EX_NOPERM;
 * EX_OSERR. What happened has been logged.
 */
int sockets_open(struct io_loop *loop,
                 struct config *c,
                 struct passed_fd *passed,
                 size_t n_passed,
                 listener_accept_t on_accept,
                 void *userdata,
                 struct sockets *ret);
/* Clients that connect to what somebody else holds too wait from now on. */
void sockets_close(struct sockets *s);
