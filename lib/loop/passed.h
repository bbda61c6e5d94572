/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Descriptors that a service manager passes to a program at its start: sockets of a socket unit, and
 * what the program stored with it in an earlier life (sd_listen_fds(3), notify_store()).
 */

#include "base/macro.h"

struct passed_fd {
        int fd;     /* close-on-exec */
        char *name; /* FileDescriptorName= of the unit, or the name that it was stored by */
};

/**
 * passed_fds_take() - all of them, once
 * @ret: new array; passed_fds_free() closes what is still there (take one by setting fd to -EBADF)
 *
 * $LISTEN_FDS and its kin are gone from the environment afterwards.
 *
 * Return: 0; -ENOMEM; -EINVAL, -EBADF … they are not what the environment says.
 */
int passed_fds_take(struct passed_fd **ret, size_t *ret_n);
struct passed_fd *passed_fds_free(struct passed_fd *fds, size_t n);
