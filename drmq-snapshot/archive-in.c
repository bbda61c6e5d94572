/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two threads and a ring of pieces between them: the one that reads and decompresses fills, the
 * caller's empties. lock guards n_full and the three flags; a piece belongs to the one whose turn
 * it is.
 */
#include "drmq-snapshot/archive-in.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "base/alloc.h"
#include "base/fs.h"
#include "base/logging.h"
#include "cli/interrupt.h"

#define PIECE_BYTES ((size_t) 1 << 20)
#define N_PIECES 8u

struct piece {
        uint8_t *data;
        size_t n;
};

struct archive_in {
        const char *path;
        int fd;
        int wake_fd; /* readable once is_done */
        pthread_mutex_t lock;
        pthread_cond_t changed;
        struct piece pieces[N_PIECES];
        unsigned n_full;
        unsigned first; /* of the full ones; the caller's */
        unsigned next;  /* to be filled; the thread's */
        bool has_ended; /* nothing more comes */
        bool is_done;   /* nothing more is taken */
        int error;      /* why it ended */
        const char *text;
};

/* A piece to fill; NULL: nobody takes it. */
static struct piece *wait_free(struct archive_in *a) {
        struct piece *p;

        pthread_mutex_lock(&a->lock);
        while (a->n_full == N_PIECES && !a->is_done)
                pthread_cond_wait(&a->changed, &a->lock);
        p = a->is_done ? NULL : a->pieces + a->next;
        pthread_mutex_unlock(&a->lock);
        return p;
}

static void put_full(struct archive_in *a) {
        pthread_mutex_lock(&a->lock);
        a->next = (a->next + 1) % N_PIECES;
        a->n_full++;
        pthread_cond_broadcast(&a->changed);
        pthread_mutex_unlock(&a->lock);
}

static void put_end(struct archive_in *a, int error, const char *text) {
        pthread_mutex_lock(&a->lock);
        a->error = error;
        a->text = text;
        a->has_ended = true;
        pthread_cond_broadcast(&a->changed);
        pthread_mutex_unlock(&a->lock);
}

/* Return: a full piece; NULL there is none any more. */
static struct piece *wait_full(struct archive_in *a) {
        struct piece *p;

        pthread_mutex_lock(&a->lock);
        while (a->n_full == 0 && !a->has_ended)
                pthread_cond_wait(&a->changed, &a->lock);
        p = a->n_full > 0 ? a->pieces + a->first : NULL;
        pthread_mutex_unlock(&a->lock);
        return p;
}

static void put_free(struct archive_in *a) {
        pthread_mutex_lock(&a->lock);
        a->first = (a->first + 1) % N_PIECES;
        a->n_full--;
        pthread_cond_broadcast(&a->changed);
        pthread_mutex_unlock(&a->lock);
}

/* What read(2) gives; -ECANCELED a signal came, or nobody takes anything any more: an input that
 * neither goes on nor ends holds nobody up. */
static ssize_t read_some(struct archive_in *a, void *p, size_t n) {
        for (;;) {
                struct pollfd fds[] = {
                        { .fd = a->fd, .events = POLLIN },
                        { .fd = a->wake_fd, .events = POLLIN },
                        { .fd = interrupt_fd(), .events = POLLIN },
                };
                ssize_t k;

                if (poll(fds, ELEMENTSOF(fds), -1) < 0 && errno != EINTR)
                        return -errno;
                if (fds[1].revents || fds[2].revents)
                        return -ECANCELED;
                k = read(a->fd, p, n);
                if (k >= 0 || errno != EINTR)
                        return k < 0 ? -errno : k;
        }
}

/* Fills pieces until the input ends. Return: 0; else what it ends with, and why. */
static int
decompress(struct archive_in *a, ZSTD_DCtx *zstd, uint8_t *in_data, const char **ret_text) {
        ZSTD_inBuffer in = { .src = in_data };
        struct piece *p = NULL;
        bool has_more = false; /* zstd holds bytes back */
        size_t k = 1;          /* 0: between two frames */
        size_t n_read = 0;

        for (;;) {
                ZSTD_outBuffer out;

                if (in.pos == in.size && !has_more) {
                        ssize_t n = read_some(a, in_data, PIECE_BYTES);

                        if (n < 0)
                                return (int) n;
                        if (n == 0)
                                break;
                        in.size = (size_t) n;
                        in.pos = 0;
                        n_read += (size_t) n;
                }
                if (!p) {
                        p = wait_free(a);
                        if (!p)
                                return 0;
                        p->n = 0;
                }

                out = (ZSTD_outBuffer){ .dst = p->data, .size = PIECE_BYTES, .pos = p->n };
                k = ZSTD_decompressStream(zstd, &out, &in);
                if (ZSTD_isError(k)) {
                        *ret_text = ZSTD_getErrorName(k);
                        return -EBADMSG;
                }
                has_more = out.pos == PIECE_BYTES && k != 0;
                p->n = out.pos;
                if (p->n == PIECE_BYTES) {
                        put_full(a);
                        p = NULL;
                }
        }

        if (p && p->n > 0)
                put_full(a);
        if (n_read == 0 || k != 0) {
                *ret_text = n_read == 0 ? "it is empty" : "it ends too early";
                return -EBADMSG;
        }
        return 0;
}

static void *run_thread(void *userdata) {
        struct archive_in *a = userdata;
        uint8_t *in = mem_alloc(PIECE_BYTES);
        ZSTD_DCtx *zstd = ZSTD_createDCtx();
        const char *text = NULL;
        int r;

        r = in && zstd ? decompress(a, zstd, in, &text) : -ENOMEM;
        put_end(a, r, text);
        ZSTD_freeDCtx(zstd);
        mem_free(in);
        return NULL;
}

static int
take_all(struct archive_in *a, struct archive_reader *reader, struct progress *progress) {
        struct progress_state state = {};
        struct piece *p;
        int r;

        while ((p = wait_full(a))) {
                if (interrupt_count() > 0)
                        return log_error_errno(-ECANCELED, "Interrupted");
                r = archive_reader_feed(reader, p->data, p->n);
                if (r < 0)
                        return r;
                state.n_bytes += p->n;
                state.done = state.n_bytes;
                state.n = archive_reader_n_files(reader);
                if (progress)
                        progress_update(progress, &state);
                put_free(a);
        }
        if (a->error == -ECANCELED)
                return log_error_errno(-ECANCELED, "Interrupted");
        if (a->error == -EBADMSG)
                return log_error_errno(a->error,
                                       "%s is not whole, or not an archive of drmq-snapshot: %s",
                                       a->path,
                                       a->text);
        if (a->error < 0)
                return log_error_errno(a->error, "Cannot read %s: %m", a->path);
        if (progress)
                progress_finish(progress, &state);
        return archive_reader_end(reader);
}

static int
run_both(struct archive_in *a, struct archive_reader *reader, struct progress *progress) {
        pthread_t thread;
        int r;

        r = -pthread_create(&thread, NULL, run_thread, a);
        if (r < 0)
                return log_error_errno(r, "Cannot start a thread: %m");

        r = take_all(a, reader, progress);
        if (progress && r < 0)
                progress_clear(progress);
        pthread_mutex_lock(&a->lock);
        a->is_done = true;
        pthread_cond_broadcast(&a->changed);
        pthread_mutex_unlock(&a->lock);
        (void) eventfd_write(a->wake_fd, 1);
        pthread_join(thread, NULL);

        if ((r == -EBADMSG || r == -EPROTONOSUPPORT) && archive_reader_error(reader)[0])
                return log_error_errno(r, "%s: %s", a->path, archive_reader_error(reader));
        return r;
}

int archive_in_read(const char *path,
                    const struct archive_events *events,
                    void *userdata,
                    struct progress *progress,
                    struct archive_reader **ret) {
        _cleanup_(archive_reader_freep) struct archive_reader *reader = NULL;
        struct archive_in a = { .path = path, .fd = STDIN_FILENO };
        struct stat st;
        int r;

        if (!streq(path, "-")) {
                a.fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
                if (a.fd < 0)
                        return log_error_errno(-errno, "Cannot open %s: %m", path);
                if (fstat(a.fd, &st) >= 0 && S_ISDIR(st.st_mode)) {
                        fd_close(a.fd);
                        return log_error_errno(-EISDIR, "Cannot read %s: %m", path);
                }
                (void) posix_fadvise(a.fd, 0, 0, POSIX_FADV_SEQUENTIAL);
        } else
                a.path = "stdin";

        pthread_mutex_init(&a.lock, NULL);
        pthread_cond_init(&a.changed, NULL);
        a.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        r = a.wake_fd < 0 ? -errno : archive_reader_new(events, userdata, &reader);
        for (size_t i = 0; r >= 0 && i < N_PIECES; i++) {
                a.pieces[i].data = mem_alloc(PIECE_BYTES);
                if (!a.pieces[i].data)
                        r = -ENOMEM;
        }
        r = r < 0 ? log_error_errno(r, "Cannot read %s: %m", path) : run_both(&a, reader, progress);

        for (size_t i = 0; i < N_PIECES; i++)
                mem_free(a.pieces[i].data);
        pthread_cond_destroy(&a.changed);
        pthread_mutex_destroy(&a.lock);
        fd_close(a.wake_fd);
        if (a.fd != STDIN_FILENO)
                fd_close(a.fd);
        if (r >= 0 && ret)
                *ret = TAKE_PTR(reader);
        return r;
}
