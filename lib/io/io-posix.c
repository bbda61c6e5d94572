/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files, clock and timers by system calls, and the blocking struct io made of them. Not here:
 * threads and sockets (lib/loop).
 *
 *  I1  File operations keep no state outside the file, so that jobs may call them from any thread.
 *  I2  A timer that is set while timers fire does not fire in the same pass: the pass ends at the
 *      first node that is younger than it, and b->pass_usec keeps the younger ones behind all older
 *      ones that are due.
 */
#include "io/io-posix.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fs.h"

#define FILE_MODE 0640
#define FOLDER_MODE 0750
/* Covers every block size that disks have today; STATX_DIOALIGN needs a newer kernel than Debian
 * 12's. */
#define DIRECT_ALIGN_BYTES 4096u
#define DIRECT_WINDOW_BYTES (1024u * 1024u)

struct posix_file {
        struct io_file file;
        int fd;
        int direct_fd; /* -EBADF: not asked for, or refused */
        bool is_direct;
};

struct io_posix {
        struct io_base base;
        struct list jobs;
};

static struct io_base *base_of(struct io *io) {
        return CONTAINER_OF(io, struct io_base, io);
}

static struct io_posix *posix_of(struct io *io) {
        return CONTAINER_OF(base_of(io), struct io_posix, base);
}

static struct posix_file *file_of(struct io_file *f) {
        return CONTAINER_OF(f, struct posix_file, file);
}

/* Time and chance. */

static usec_t posix_now(_unused_ struct io *io) {
        return now_monotonic_usec();
}

static int64_t posix_wall_ms(_unused_ struct io *io) {
        return now_wall_ms();
}

static void posix_random(_unused_ struct io *io, void *p, size_t n) {
        uint8_t *bytes = p;

        while (n > 0) {
                ssize_t k = getrandom(bytes, n, 0);

                /* getrandom(2) without flags fails for a signal only. */
                assert(k > 0 || errno == EINTR);
                if (k > 0) {
                        bytes += k;
                        n -= (size_t) k;
                }
        }
}

/* Files. */

static int open_flags(unsigned flags) {
        int f = O_CLOEXEC;

        if ((flags & (IO_OPEN_READ | IO_OPEN_WRITE)) == (IO_OPEN_READ | IO_OPEN_WRITE))
                f |= O_RDWR;
        else if (flags & IO_OPEN_WRITE)
                f |= O_WRONLY;
        else
                f |= O_RDONLY;

        return flags & IO_OPEN_CREATE ? f | O_CREAT | O_EXCL : f;
}

static int posix_open(struct io *io, const char *path, unsigned flags, struct io_file **ret) {
        struct io_base *b = base_of(io);
        _cleanup_(mem_freep) struct posix_file *f = NULL;

        assert(flags & (IO_OPEN_READ | IO_OPEN_WRITE));

        f = new0(struct posix_file, 1);
        if (!f)
                return -ENOMEM;

        f->direct_fd = -EBADF;
        f->is_direct = flags & IO_OPEN_DIRECT;
        f->fd = openat(b->root_fd, path, open_flags(flags), FILE_MODE);
        if (f->fd < 0)
                return -errno;

        if (f->is_direct && (flags & IO_OPEN_READ)) {
                f->direct_fd = openat(b->root_fd, path, O_RDONLY | O_CLOEXEC | O_DIRECT);
                if (f->direct_fd < 0 && errno != EINVAL) {
                        int r = -errno;

                        fd_close(f->fd);
                        return r;
                }
        }

        *ret = &TAKE_PTR(f)->file;
        return 0;
}

static void posix_close(struct io_file *file) {
        struct posix_file *f = file_of(file);

        fd_close(f->direct_fd);
        fd_close(f->fd);
        mem_free(f);
}

static ssize_t pread_aligned(int fd, uint8_t *p, size_t n, uint64_t pos) {
        size_t n_done = 0;

        while (n_done < n) {
                ssize_t k = pread(fd, p + n_done, n - n_done, (off_t) (pos + n_done));

                if (k < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                n_done += (size_t) k;
                if (k == 0 || k % DIRECT_ALIGN_BYTES != 0) /* the end */
                        break;
        }

        return (ssize_t) n_done;
}

static ssize_t pread_direct(int fd, uint8_t *p, size_t n, uint64_t pos) {
        _cleanup_(mem_freep) uint8_t *raw = NULL;
        size_t window, n_done = 0;
        uint8_t *bounce;

        if (((uintptr_t) p | n | pos) % DIRECT_ALIGN_BYTES == 0)
                return pread_aligned(fd, p, n, pos);

        window = MIN(ALIGN_TO(MIN(n, DIRECT_WINDOW_BYTES) + pos % DIRECT_ALIGN_BYTES,
                              DIRECT_ALIGN_BYTES),
                     (size_t) DIRECT_WINDOW_BYTES);
        raw = mem_alloc(window + DIRECT_ALIGN_BYTES);
        if (!raw)
                return -ENOMEM;
        bounce = (uint8_t *) ALIGN_TO((uintptr_t) raw, DIRECT_ALIGN_BYTES);

        while (n_done < n) {
                size_t skip = (size_t) ((pos + n_done) % DIRECT_ALIGN_BYTES), n_took;
                size_t n_wanted = MIN(ALIGN_TO(skip + n - n_done, DIRECT_ALIGN_BYTES), window);
                ssize_t k;

                k = pread(fd, bounce, n_wanted, (off_t) (pos + n_done - skip));
                if (k < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                if ((size_t) k <= skip) /* the end */
                        break;

                n_took = MIN((size_t) k - skip, n - n_done);
                memcpy(p + n_done, bounce + skip, n_took);
                n_done += n_took;
        }

        return (ssize_t) n_done;
}

/* preadv2(2): what is cached may be less than what there is, so a short read is the end only if
 * nothing follows. */
static ssize_t pread_nowait(int fd, uint8_t *p, size_t n, uint64_t pos) {
        size_t n_done = 0;

        while (n_done < n) {
                struct iovec iov = { .iov_base = p + n_done, .iov_len = n - n_done };
                ssize_t k;

                k = preadv2(fd, &iov, 1, (off_t) (pos + n_done), RWF_NOWAIT);
                if (k == 0)
                        break;
                if (k > 0)
                        n_done += (size_t) k;
                else if (errno == EOPNOTSUPP || errno == ENOSYS) /* the file system cannot tell */
                        return -EAGAIN;
                else if (errno != EINTR)
                        return -errno;
        }

        return (ssize_t) n_done;
}

static ssize_t posix_pread(struct io_file *file, void *p, size_t n, uint64_t pos, unsigned flags) {
        struct posix_file *f = file_of(file);
        uint64_t begin;

        if (flags & IO_READ_NOWAIT)
                return f->is_direct ? -EAGAIN : pread_nowait(f->fd, p, n, pos);
        if (!f->is_direct)
                return fd_pread_full(f->fd, p, n, pos);

        if (f->direct_fd >= 0) {
                ssize_t k = pread_direct(f->direct_fd, p, n, pos);

                if (k != -EINVAL) /* some file systems refuse O_DIRECT only here */
                        return k;
        }

        /* Pages that are not wholly inside are not dropped. */
        begin = pos - pos % DIRECT_ALIGN_BYTES;
        (void) posix_fadvise(f->fd,
                             (off_t) begin,
                             (off_t) ALIGN_TO(pos - begin + n, DIRECT_ALIGN_BYTES),
                             POSIX_FADV_DONTNEED);
        return fd_pread_full(f->fd, p, n, pos);
}

static ssize_t posix_pwrite(struct io_file *file, const void *p, size_t n, uint64_t pos) {
        for (;;) {
                ssize_t k = pwrite(file_of(file)->fd, p, n, (off_t) pos);

                if (k >= 0)
                        return k;
                if (errno != EINTR)
                        return -errno;
        }
}

static int posix_fdatasync(struct io_file *file) {
        /* Never tried again, not even after EINTR: after a failure nothing is known (C4). */
        return fdatasync(file_of(file)->fd) < 0 ? -errno : 0;
}

static int posix_truncate(struct io_file *file, uint64_t size) {
        if (size > INT64_MAX)
                return -EFBIG;

        return ftruncate(file_of(file)->fd, (off_t) size) < 0 ? -errno : 0;
}

static int posix_size(struct io_file *file, uint64_t *ret) {
        struct stat st;

        if (fstat(file_of(file)->fd, &st) < 0)
                return -errno;

        *ret = (uint64_t) st.st_size;
        return 0;
}

static int posix_lock(struct io_file *file) {
        if (flock(file_of(file)->fd, LOCK_EX | LOCK_NB) < 0)
                return errno == EWOULDBLOCK ? -EBUSY : -errno;

        return 0;
}

static int posix_stat(struct io *io, const char *path, struct io_stat *ret) {
        struct stat st;

        if (fstatat(base_of(io)->root_fd, path, &st, 0) < 0)
                return -errno;

        *ret = (struct io_stat){
                .size_bytes = (uint64_t) st.st_size,
                .n_links = st.st_nlink,
                .is_dir = S_ISDIR(st.st_mode),
        };
        return 0;
}

static int posix_rename(struct io *io, const char *from, const char *to) {
        int root_fd = base_of(io)->root_fd;

        return renameat(root_fd, from, root_fd, to) < 0 ? -errno : 0;
}

static int posix_link(struct io *io, const char *from, const char *to) {
        int root_fd = base_of(io)->root_fd;

        return linkat(root_fd, from, root_fd, to, 0) < 0 ? -errno : 0;
}

static int posix_unlink(struct io *io, const char *path) {
        return unlinkat(base_of(io)->root_fd, path, 0) < 0 ? -errno : 0;
}

static int posix_mkdir(struct io *io, const char *path) {
        return mkdirat(base_of(io)->root_fd, path, FOLDER_MODE) < 0 ? -errno : 0;
}

static int posix_rmdir(struct io *io, const char *path) {
        return unlinkat(base_of(io)->root_fd, path, AT_REMOVEDIR) < 0 ? -errno : 0;
}

static int compare_names(const void *a, const void *b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* Names read so far; readdir(3) may fail in the middle. */
struct names {
        char **array;
        size_t n;
        size_t n_allocated;
};

static void names_done(struct names *names) {
        io_names_free(names->array, names->n);
}

static void close_folder(DIR **d) {
        if (*d)
                closedir(*d);
}

static int posix_list(struct io *io, const char *path, char ***ret_names, size_t *ret_n) {
        _cleanup_(names_done) struct names names = {};
        _cleanup_(close_folder) DIR *d = NULL;
        int fd;

        fd = openat(base_of(io)->root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;

        d = fdopendir(fd); /* takes fd */
        if (!d) {
                int r = -errno;

                fd_close(fd);
                return r;
        }

        if (!grow(names.array, names.n_allocated, 1))
                return -ENOMEM;

        for (;;) {
                const struct dirent *entry;

                errno = 0;
                entry = readdir(d);
                if (!entry) {
                        if (errno != 0)
                                return -errno;
                        break;
                }
                if (streq(entry->d_name, ".") || streq(entry->d_name, ".."))
                        continue;

                if (!grow(names.array, names.n_allocated, names.n + 1))
                        return -ENOMEM;
                names.array[names.n] = mem_strdup(entry->d_name);
                if (!names.array[names.n])
                        return -ENOMEM;
                names.n++;
        }

        qsort(names.array, names.n, sizeof(names.array[0]), compare_names);

        *ret_n = names.n;
        names.n = 0;
        *ret_names = TAKE_PTR(names.array);
        return 0;
}

static int posix_sync_dir(struct io *io, const char *path) {
        _cleanup_(fd_closep) int fd = -EBADF;

        fd = openat(base_of(io)->root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;

        return fsync(fd) < 0 ? -errno : 0;
}

static int posix_space(struct io *io, const char *path, uint64_t *ret_free, uint64_t *ret_total) {
        _cleanup_(fd_closep) int fd = -EBADF;
        struct statvfs st;

        fd = openat(base_of(io)->root_fd, path, O_PATH | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        if (fstatvfs(fd, &st) < 0)
                return -errno;

        *ret_free = (uint64_t) st.f_bavail * st.f_frsize;
        *ret_total = (uint64_t) st.f_blocks * st.f_frsize;
        return 0;
}

/* Timers. */

int io_base_timer_set(struct io *io, struct io_timer *t, usec_t deadline_usec) {
        struct io_base *b = base_of(io);

        heap_remove(&b->timers, &t->node);
        return heap_push(&b->timers, &t->node, MAX(deadline_usec, b->pass_usec)); /* I2 */
}

static void posix_timer_cancel(struct io *io, struct io_timer *t) {
        heap_remove(&base_of(io)->timers, &t->node);
}

usec_t io_base_next_deadline(const struct io_base *b) {
        const struct heap_node *n = heap_peek(&b->timers);

        return n ? n->priority : USEC_INFINITY;
}

unsigned io_base_fire_timers(struct io_base *b) {
        uint64_t end = b->timers.next_sequence;
        unsigned n_fired = 0;

        b->pass_usec = now_monotonic_usec();

        for (;;) {
                struct heap_node *n = heap_peek(&b->timers);
                struct io_timer *t;

                if (!n || n->priority > b->pass_usec || n->sequence >= end) /* I2 */
                        return n_fired;

                heap_pop(&b->timers);
                t = CONTAINER_OF(n, struct io_timer, node);
                t->on_timer(t, t->userdata);
                n_fired++;
        }
}

static const struct io_ops base_ops = {
        .now = posix_now,
        .wall_ms = posix_wall_ms,
        .random = posix_random,
        .open = posix_open,
        .close = posix_close,
        .pread = posix_pread,
        .pwrite = posix_pwrite,
        .fdatasync = posix_fdatasync,
        .truncate = posix_truncate,
        .size = posix_size,
        .lock = posix_lock,
        .stat = posix_stat,
        .rename = posix_rename,
        .link = posix_link,
        .unlink = posix_unlink,
        .mkdir = posix_mkdir,
        .rmdir = posix_rmdir,
        .list = posix_list,
        .sync_dir = posix_sync_dir,
        .space = posix_space,
        .timer_set = io_base_timer_set,
        .timer_cancel = posix_timer_cancel,
};

int io_base_init(struct io_base *b, const char *root) {
        int fd = AT_FDCWD;

        assert(b);

        if (root) {
                fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
                if (fd < 0)
                        return -errno;
        }

        b->ops = base_ops;
        b->io.ops = &b->ops;
        b->root_fd = fd;
        b->pass_usec = 0;
        heap_init(&b->timers);
        return 0;
}

void io_base_done(struct io_base *b) {
        heap_done(&b->timers);
        if (b->root_fd >= 0)
                b->root_fd = fd_close(b->root_fd);
}

/* The blocking implementation. */

static void blocking_submit(struct io *io, _unused_ enum io_lane lane, struct io_job *job) {
        list_append(&posix_of(io)->jobs, &job->link);
}

static void blocking_cancel(_unused_ struct io *io, struct io_job *job) {
        list_remove(&job->link);
}

static int blocking_connect(_unused_ struct io *io,
                            _unused_ const struct address *a,
                            _unused_ io_stream_handler_t handler,
                            _unused_ void *userdata,
                            _unused_ struct io_stream **ret) {
        return -EOPNOTSUPP;
}

int io_posix_new(const char *root, struct io **ret) {
        _cleanup_(mem_freep) struct io_posix *p = NULL;
        int r;

        assert(ret);

        p = new0(struct io_posix, 1);
        if (!p)
                return -ENOMEM;

        r = io_base_init(&p->base, root);
        if (r < 0)
                return r;

        p->base.ops.submit = blocking_submit;
        p->base.ops.cancel = blocking_cancel;
        p->base.ops.connect = blocking_connect;
        list_init(&p->jobs);

        *ret = &TAKE_PTR(p)->base.io;
        return 0;
}

struct io *io_posix_free(struct io *io) {
        struct io_posix *p;

        if (!io)
                return NULL;

        p = posix_of(io);
        for (struct io_job *job; (job = list_pop(&p->jobs, struct io_job, link));)
                job->io = NULL;
        io_base_done(&p->base);
        mem_free(p);
        return NULL;
}

static void sleep_until(usec_t deadline_usec) {
        struct timespec ts = {
                .tv_sec = (time_t) (deadline_usec / USEC_PER_SEC),
                .tv_nsec = (long) (deadline_usec % USEC_PER_SEC * 1000),
        };

        (void) clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL); /* a signal may end it */
}

int io_posix_dispatch(struct io *io, usec_t max_wait_usec) {
        struct io_posix *p = posix_of(io);
        struct list at_hand;
        int n_called = 0;

        list_init(&at_hand);
        if (list_is_empty(&p->jobs)) {
                usec_t now = now_monotonic_usec(), next = io_base_next_deadline(&p->base);
                usec_t until = MIN(next, usec_add(now, max_wait_usec));

                if (until > now && until != USEC_INFINITY)
                        sleep_until(until);
        } else {
                at_hand = p->jobs; /* the whole list moves: its ends point to the new head */
                at_hand.next->prev = at_hand.prev->next = &at_hand;
                list_init(&p->jobs);
        }

        for (struct io_job *job; (job = list_pop(&at_hand, struct io_job, link)); n_called++) {
                job->result = job->run(job);
                io_job_complete(job);
        }

        return n_called + (int) io_base_fire_timers(&p->base);
}
