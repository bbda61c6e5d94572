/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Files by descriptor: whole reads and writes, syncs, and the small things that POSIX makes long. Only
 * implementations of struct io, programs and tests call these; the core goes through io/io.h.
 */

#include "base/macro.h"

/* Takes -EBADF. Returns -EBADF, so that `fd = fd_close(fd)` forgets it. */
int fd_close(int fd);
static inline _unused_ void fd_closep(int *fd) {
        fd_close(*fd);
}

/* All of @n bytes at @pos (write); up to @n, fewer only at the end of the file (read). EINTR is tried again.
 * Return: bytes read, 0 for a write; negative errno. */
ssize_t fd_pread_full(int fd, void *p, size_t n, uint64_t pos);
int fd_pwrite_full(int fd, const void *p, size_t n, uint64_t pos);
int fd_write_full(int fd, const void *p, size_t n);

/* fsync(2) of a folder, by path. */
int fs_sync_dir(const char *path);
/* The whole of a small file: returns new bytes, a NUL follows them. -EFBIG past @max. */
int fs_read_file(const char *path, size_t max, char **ret, size_t *ret_n);
/* mkdir -p with @mode for what is missing; the parent of each made folder is synced. */
int fs_mkdir_parents(const char *path, unsigned mode);
/* Removes a tree. Tests and left-overs only. */
int fs_remove_tree(const char *path);
