/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Files by descriptor: whole reads and writes, syncs, and the small things that POSIX makes long.
 * Only implementations of struct io, programs and tests call these; the core goes through io/io.h.
 */

#include "base/macro.h"

/* Takes -EBADF. Returns -EBADF, so that `fd = fd_close(fd)` forgets it. */
int fd_close(int fd);
static inline _unused_ void fd_closep(int *fd) {
        fd_close(*fd);
}

/* Where stdin, stdout or stderr is closed, takes its number: no file or socket that is opened later
 * gets what is meant for it. Using it fails as before (-EBADF); only what goes to stderr is
 * swallowed. Return: 0; what open(2) says. */
int fd_hold_standard(void);

/* All of @n bytes at @pos, a byte in the file (write); up to @n, fewer only at the end of the file
 * (read). EINTR is tried again. fd_write_full() writes where the descriptor stands. Return: bytes
 * read, 0 for a write; negative errno, after which a part may have been written. */
ssize_t fd_pread_full(int fd, void *p, size_t n, uint64_t pos);
int fd_pwrite_full(int fd, const void *p, size_t n, uint64_t pos);
int fd_write_full(int fd, const void *p, size_t n);

/* fsync(2) of a folder, by path: makes names that were created, renamed or removed in it last. */
int fs_sync_dir(const char *path);

/**
 * fs_read_file() - the whole of a small file
 * @path:  file
 * @max:   most bytes it may have
 * @ret:   returns new bytes, free with mem_free(); a NUL follows them
 * @ret_n: how many, without that NUL; may be NULL
 *
 * Return: 0; -EFBIG it has more than @max; -ENOMEM; what open(2) and read(2) say.
 */
int fs_read_file(const char *path, size_t max, char **ret, size_t *ret_n);

/* mkdir -p: makes what is missing with @mode (less the umask) and syncs the parent of each made
 * folder, so that they outlive a power cut. Return: 0, also where all was there; -ENOTDIR a part is
 * something else; what mkdir(2) says. */
int fs_mkdir_parents(const char *path, unsigned mode);

/* Removes a file, or a folder with all in it; symbolic links are removed, not followed. For tests
 * and left-overs only.
 * Return: 0; -ENOENT; what unlink(2) says: the rest of the tree is still there. */
int fs_remove_tree(const char *path);
