/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tar and zstd, written.
 *
 *  I1  FILE is there only when all of it is synced: the partial file is renamed last, and replaces
 *      nothing.
 */
#include "drmq-snapshot/archive-out.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "base/alloc.h"
#include "base/fs.h"
#include "base/logging.h"
#include "snapshot/tar.h"

#define OUT_BYTES ((size_t) 1 << 20)
/* Writing to the disk begins so early, so that the sync at the end has little left. */
#define FLUSH_BYTES (UINT64_C(8) << 20)

struct archive_out {
        char *path; /* NULL: stdout */
        char *partial;
        int fd;
        bool is_ours; /* the partial file is: it goes with us */
        ZSTD_CCtx *zstd;
        uint8_t *out;
        uint64_t n_written;
        uint64_t n_flushed;
        uint64_t left_bytes; /* of the member */
        uint64_t padding_bytes;
};

struct archive_out *archive_out_free(struct archive_out *o) {
        if (!o)
                return NULL;

        if (o->is_ours)
                (void) unlink(o->partial);
        if (o->path)
                fd_close(o->fd);
        ZSTD_freeCCtx(o->zstd);
        mem_free(o->out);
        mem_free(o->path);
        mem_free(o->partial);
        return mem_free(o);
}

static int open_partial(struct archive_out *o) {
        struct stat st, named;
        int r;

        if (lstat(o->path, &st) >= 0)
                return log_error_errno(-EEXIST, "%s is there already", o->path);
        if (errno != ENOENT)
                return log_error_errno(-errno, "Cannot write %s: %m", o->path);

        o->fd = open(o->partial, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, 0600);
        if (o->fd < 0)
                return log_error_errno(-errno, "Cannot write %s: %m", o->partial);
        if (flock(o->fd, LOCK_EX | LOCK_NB) < 0)
                return log_error_errno(errno == EWOULDBLOCK ? -EBUSY : -errno,
                                       errno == EWOULDBLOCK
                                               ? "%s is being written by another process"
                                               : "Cannot lock %s: %m",
                                       o->partial);
        /* Who had the lock before may have renamed it away. */
        if (fstat(o->fd, &st) < 0 || lstat(o->partial, &named) < 0 || st.st_ino != named.st_ino ||
            st.st_dev != named.st_dev || !S_ISREG(st.st_mode))
                return log_error_errno(-EBUSY, "%s is not a file of ours", o->partial);
        o->is_ours = true;
        if (ftruncate(o->fd, 0) < 0 || fchmod(o->fd, 0600) < 0) {
                r = -errno;
                return log_error_errno(r, "Cannot write %s: %m", o->partial);
        }
        return 0;
}

static int start_zstd(struct archive_out *o, int level) {
        size_t k;

        o->zstd = ZSTD_createCCtx();
        o->out = mem_alloc(OUT_BYTES);
        if (!o->zstd || !o->out)
                return log_error_errno(-ENOMEM, "Cannot compress: %m");

        k = ZSTD_CCtx_setParameter(o->zstd, ZSTD_c_compressionLevel, level);
        if (!ZSTD_isError(k))
                k = ZSTD_CCtx_setParameter(o->zstd, ZSTD_c_checksumFlag, 1);
        if (ZSTD_isError(k))
                return log_error_errno(-EIO, "Cannot compress: %s", ZSTD_getErrorName(k));
        /* A library without threads refuses this, and does without. */
        (void) ZSTD_CCtx_setParameter(
                o->zstd, ZSTD_c_nbWorkers, (int) MAX(sysconf(_SC_NPROCESSORS_ONLN), 1L));
        return 0;
}

int archive_out_new(const char *path, int level, struct archive_out **ret) {
        _cleanup_(archive_out_freep) struct archive_out *o = NULL;
        int r;

        assert(path);
        assert(ret);

        o = new0(struct archive_out, 1);
        if (!o)
                return log_error_errno(-ENOMEM, "Cannot write %s: %m", path);
        o->fd = -EBADF;
        if (streq(path, "-")) {
                if (isatty(STDOUT_FILENO))
                        return log_error_errno(-EINVAL,
                                               "An archive is not for a terminal: redirect it");
                o->fd = STDOUT_FILENO;
        } else {
                o->path = mem_strdup(path);
                o->partial = mem_asprintf("%s.partial", path);
                if (!o->path || !o->partial)
                        return log_error_errno(-ENOMEM, "Cannot write %s: %m", path);
                r = open_partial(o);
                if (r < 0)
                        return r;
        }
        r = start_zstd(o, level);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(o);
        return 0;
}

static int write_out(struct archive_out *o, size_t n) {
        int r;

        r = fd_write_full(o->fd, o->out, n);
        if (r == -EPIPE)
                return r; /* the reader has gone */
        if (r < 0)
                return log_error_errno(r, "Cannot write %s: %m", o->path ?: "to stdout");

        o->n_written += n;
        if (o->path && o->n_written - o->n_flushed >= FLUSH_BYTES) {
                (void) sync_file_range(o->fd,
                                       (off_t) o->n_flushed,
                                       (off_t) (o->n_written - o->n_flushed),
                                       SYNC_FILE_RANGE_WRITE);
                o->n_flushed = o->n_written;
        }
        return 0;
}

static int compress(struct archive_out *o, const void *p, size_t n, ZSTD_EndDirective end) {
        ZSTD_inBuffer in = { .src = p, .size = n };
        size_t left;

        do {
                ZSTD_outBuffer out = { .dst = o->out, .size = OUT_BYTES };
                int r;

                left = ZSTD_compressStream2(o->zstd, &out, &in, end);
                if (ZSTD_isError(left))
                        return log_error_errno(
                                -EIO, "Cannot compress: %s", ZSTD_getErrorName(left));
                if (out.pos > 0) {
                        r = write_out(o, out.pos);
                        if (r < 0)
                                return r;
                }
        } while (end == ZSTD_e_end ? left > 0 : in.pos < in.size);
        return 0;
}

static int pad(struct archive_out *o) {
        static const uint8_t zeroes[TAR_BLOCK_BYTES];
        uint64_t n = o->padding_bytes;

        o->padding_bytes = 0;
        return n > 0 ? compress(o, zeroes, (size_t) n, ZSTD_e_continue) : 0;
}

int archive_out_member(struct archive_out *o, const char *name, uint64_t n_bytes, int64_t time_ms) {
        struct tar_member m = { .n_bytes = n_bytes, .modified_s = time_ms / 1000 };
        uint8_t block[TAR_BLOCK_BYTES];
        int r;

        assert(o->left_bytes == 0);
        assert(strlen(name) <= TAR_NAME_MAX);

        r = pad(o);
        if (r < 0)
                return r;
        if (n_bytes > TAR_FILE_BYTES_MAX)
                return log_error_errno(-EFBIG, "%s is too large for an archive", name);
        memcpy(m.name, name, strlen(name) + 1);
        tar_header_encode(&m, block);
        o->left_bytes = n_bytes;
        o->padding_bytes = tar_padded_bytes(n_bytes) - n_bytes;
        return compress(o, block, sizeof(block), ZSTD_e_continue);
}

int archive_out_data(struct archive_out *o, const void *p, size_t n) {
        assert(n <= o->left_bytes);

        o->left_bytes -= n;
        return compress(o, p, n, ZSTD_e_continue);
}

/* I1 */
static int name_it(struct archive_out *o) {
        _cleanup_(mem_freep) char *dir = NULL;
        const char *slash = strrchr(o->path, '/');
        int r;

        if (fsync(o->fd) < 0)
                return log_error_errno(-errno, "Cannot sync %s: %m", o->partial);
        r = renameat2(AT_FDCWD, o->partial, AT_FDCWD, o->path, RENAME_NOREPLACE) < 0 ? -errno : 0;
        if (r == -EINVAL) { /* a file system that cannot do that */
                r = link(o->partial, o->path) < 0 ? -errno : 0;
                if (r >= 0)
                        (void) unlink(o->partial);
        }
        if (r == -EEXIST)
                return log_error_errno(r, "%s is there already", o->path);
        if (r < 0)
                return log_error_errno(r, "Cannot rename %s: %m", o->partial);

        o->is_ours = false;
        dir = slash == o->path ? mem_strdup("/")
              : slash          ? mem_strndup(o->path, (size_t) (slash - o->path))
                               : mem_strdup(".");
        r = dir ? fs_sync_dir(dir) : -ENOMEM;
        if (r < 0)
                return log_error_errno(r, "Cannot sync the folder of %s: %m", o->path);
        return 0;
}

int archive_out_end(struct archive_out *o) {
        static const uint8_t zeroes[2 * TAR_BLOCK_BYTES];
        int r;

        assert(o->left_bytes == 0);

        r = pad(o);
        if (r >= 0)
                r = compress(o, zeroes, sizeof(zeroes), ZSTD_e_end);
        if (r < 0)
                return r;
        return o->path ? name_it(o) : 0;
}

uint64_t archive_out_bytes(const struct archive_out *o) {
        return o->n_written;
}
