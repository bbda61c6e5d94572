/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Calls on files that go on until they are done.
 *
 * I1: a descriptor that a function here opened is closed when it returns.
 */

#include "base/fs.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"

int fd_close(int fd) {
        /* What was written is synced, and checked, before: nothing is left to report. */
        if (fd >= 0)
                (void) close(fd);

        return -EBADF;
}

int fd_hold_standard(void) {
        /* What a stream is not for: reading stdin and writing stdout are refused. */
        static const int flags[] = {
                [STDIN_FILENO] = O_WRONLY, [STDOUT_FILENO] = O_RDONLY, [STDERR_FILENO] = O_WRONLY
        };

        for (int fd = 0; fd < (int) ELEMENTSOF(flags); fd++)
                if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", flags[fd]) < 0)
                        /* the lowest free number is taken: @fd, for those below it are */
                        return -errno;

        return 0;
}

ssize_t fd_pread_full(int fd, void *p, size_t n, uint64_t pos) {
        size_t n_read = 0;

        assert(fd >= 0);
        assert(p || n == 0);
        assert(n <= SSIZE_MAX);

        while (n_read < n) {
                ssize_t k = pread(fd, (uint8_t *) p + n_read, n - n_read, (off_t) (pos + n_read));

                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                if (k == 0)
                        break;
                n_read += (size_t) k;
        }

        return (ssize_t) n_read;
}

int fd_pwrite_full(int fd, const void *p, size_t n, uint64_t pos) {
        assert(fd >= 0);
        assert(p || n == 0);

        for (size_t done = 0; done < n;) {
                ssize_t k = pwrite(fd, (const uint8_t *) p + done, n - done, (off_t) (pos + done));

                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                if (k == 0)
                        return -EIO; /* the kernel takes nothing and does not say why */
                done += (size_t) k;
        }

        return 0;
}

int fd_write_full(int fd, const void *p, size_t n) {
        assert(fd >= 0);
        assert(p || n == 0);

        for (size_t done = 0; done < n;) {
                ssize_t k = write(fd, (const uint8_t *) p + done, n - done);

                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                if (k == 0)
                        return -EIO;
                done += (size_t) k;
        }

        return 0;
}

int fs_sync_dir(const char *path) {
        _cleanup_(fd_closep) int fd = -EBADF;

        assert(path);

        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;

        return fsync(fd) < 0 ? -errno : 0;
}

int fs_read_file(const char *path, size_t max, char **ret, size_t *ret_n) {
        _cleanup_(mem_freep) char *content = NULL;
        _cleanup_(fd_closep) int fd = -EBADF;
        size_t n_allocated = 0, n = 0;
        struct stat st;

        assert(path);
        assert(ret);

        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;

        /* The size is a hint only: files of /proc have none. A byte more than @max shows that there
         * is more. */
        if (fstat(fd, &st) < 0)
                return -errno;
        if (S_ISREG(st.st_mode) && (uint64_t) st.st_size > max)
                return -EFBIG;

        for (;;) {
                ssize_t k;

                if (!grow(content, n_allocated, n + 2))
                        return -ENOMEM;

                k = read(fd, content + n, MIN(n_allocated - n - 1, max - n + 1));
                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                if (k == 0)
                        break;
                n += (size_t) k;
                if (n > max)
                        return -EFBIG;
        }

        content[n] = 0;
        *ret = TAKE_PTR(content);
        if (ret_n)
                *ret_n = n;
        return 0;
}

/* Makes one folder and syncs its parent, which holds its name. */
static int make_one(const char *path, unsigned mode) {
        char parent[PATH_MAX];
        const char *slash;
        size_t n;

        if (mkdir(path, mode) < 0)
                return -errno;

        slash = strrchr(path, '/');
        if (!slash)
                return fs_sync_dir(".");

        n = slash == path ? 1 : (size_t) (slash - path);
        memcpy(parent, path, n);
        parent[n] = 0;
        return fs_sync_dir(parent);
}

int fs_mkdir_parents(const char *path, unsigned mode) {
        char partial[PATH_MAX];
        struct stat st;
        size_t n;
        int r;

        assert(path);

        n = strlen(path);
        if (n == 0)
                return -ENOENT;
        if (n >= sizeof(partial))
                return -ENAMETOOLONG;

        for (size_t i = 1; i <= n; i++) {
                if ((path[i] != '/' && path[i] != 0) || path[i - 1] == '/')
                        continue;

                memcpy(partial, path, i);
                partial[i] = 0;
                r = make_one(partial, mode);
                if (r < 0 && r != -EEXIST)
                        return r;
        }

        if (stat(path, &st) < 0)
                return -errno;
        return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

static int remove_at(int parent_fd, const char *name) {
        DIR *d;
        int fd, r = 0;

        if (unlinkat(parent_fd, name, 0) >= 0)
                return 0;
        if (errno != EISDIR && errno != EPERM)
                return -errno;

        fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return -errno;

        d = fdopendir(fd);
        if (!d) {
                r = -errno;
                (void) fd_close(fd);
                return r;
        }

        for (;;) {
                struct dirent *e;

                errno = 0;
                e = readdir(d);
                if (!e) {
                        r = -errno;
                        break;
                }
                if (streq(e->d_name, ".") || streq(e->d_name, ".."))
                        continue;

                r = remove_at(dirfd(d), e->d_name);
                if (r < 0)
                        break;
        }

        closedir(d);
        if (r < 0)
                return r;

        return unlinkat(parent_fd, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

int fs_remove_tree(const char *path) {
        assert(path);

        return remove_at(AT_FDCWD, path);
}
