/* SPDX-License-Identifier: Apache-2.0 */
/* The face of struct io: checks arguments, continues short writes, counts references. */
#include "io/io.h"

#include "base/alloc.h"

usec_t io_now(struct io *io) {
        return io->ops->now(io);
}

int64_t io_wall_ms(struct io *io) {
        return io->ops->wall_ms(io);
}

void io_random(struct io *io, void *p, size_t n) {
        io->ops->random(io, p, n);
}

uint64_t io_random_u64(struct io *io) {
        uint64_t v;

        io_random(io, &v, sizeof(v));
        return v;
}

int io_open(struct io *io, const char *path, unsigned flags, struct io_file **ret) {
        struct io_file *f;
        int r;

        assert(path);
        assert(ret);

        r = io->ops->open(io, path, flags, &f);
        if (r < 0)
                return r;

        f->io = io;
        f->n_refs = 1;
        *ret = f;
        return 0;
}

struct io_file *io_file_ref(struct io_file *f) {
        assert(f->n_refs > 0);
        f->n_refs++;
        return f;
}

struct io_file *io_file_unref(struct io_file *f) {
        if (!f)
                return NULL;

        assert(f->n_refs > 0);
        if (--f->n_refs == 0)
                f->io->ops->close(f);
        return NULL;
}

ssize_t io_pread(struct io_file *f, void *p, size_t n, uint64_t pos, unsigned flags) {
        return f->io->ops->pread(f, p, n, pos, flags);
}

int io_pwrite(struct io_file *f, const void *p, size_t n, uint64_t pos) {
        const uint8_t *bytes = p;

        while (n > 0) {
                ssize_t k = f->io->ops->pwrite(f, bytes, n, pos);

                if (k < 0)
                        return (int) k;
                if (k == 0)
                        return -EIO;
                bytes += k;
                pos += (uint64_t) k;
                n -= (size_t) k;
        }

        return 0;
}

int io_fdatasync(struct io_file *f) {
        return f->io->ops->fdatasync(f);
}

int io_truncate(struct io_file *f, uint64_t size) {
        return f->io->ops->truncate(f, size);
}

int io_file_size(struct io_file *f, uint64_t *ret) {
        return f->io->ops->size(f, ret);
}

int io_lock(struct io_file *f) {
        return f->io->ops->lock(f);
}

int io_stat(struct io *io, const char *path, struct io_stat *ret) {
        return io->ops->stat(io, path, ret);
}

int io_rename(struct io *io, const char *from, const char *to) {
        return io->ops->rename(io, from, to);
}

int io_link(struct io *io, const char *from, const char *to) {
        return io->ops->link(io, from, to);
}

int io_unlink(struct io *io, const char *path) {
        return io->ops->unlink(io, path);
}

int io_mkdir(struct io *io, const char *path) {
        return io->ops->mkdir(io, path);
}

int io_rmdir(struct io *io, const char *path) {
        return io->ops->rmdir(io, path);
}

int io_list(struct io *io, const char *path, char ***ret_names, size_t *ret_n) {
        return io->ops->list(io, path, ret_names, ret_n);
}

char **io_names_free(char **names, size_t n) {
        for (size_t i = 0; names && i < n; i++)
                mem_free(names[i]);
        return mem_free(names);
}

int io_sync_dir(struct io *io, const char *path) {
        return io->ops->sync_dir(io, path);
}

int io_space(struct io *io, const char *path, uint64_t *ret_free, uint64_t *ret_total) {
        return io->ops->space(io, path, ret_free, ret_total);
}

void io_submit(struct io *io, enum io_lane lane, struct io_job *job) {
        assert(job->run);
        assert(job->done);
        assert(!io_job_is_pending(job));

        job->io = io;
        job->lane = lane;
        io->ops->submit(io, lane, job);
}

void io_cancel(struct io *io, struct io_job *job) {
        if (io_job_is_pending(job))
                io->ops->cancel(io, job);
        job->io = NULL;
}

bool io_job_is_pending(const struct io_job *job) {
        return job->io;
}

int io_timer_set(struct io *io, struct io_timer *t, usec_t deadline_usec) {
        assert(t->on_timer);
        return io->ops->timer_set(io, t, deadline_usec);
}

void io_timer_cancel(struct io *io, struct io_timer *t) {
        io->ops->timer_cancel(io, t);
}

int io_connect(struct io *io,
               const struct address *a,
               io_stream_handler_t handler,
               void *userdata,
               struct io_stream **ret) {
        assert(handler);
        return io->ops->connect(io, a, handler, userdata, ret);
}

ssize_t io_stream_read(struct io_stream *s, void *p, size_t n) {
        return s->io->ops->read(s, p, n);
}

ssize_t io_stream_writev(struct io_stream *s, const struct iovec *iov, size_t n_iov) {
        return s->io->ops->writev(s, iov, n_iov);
}

void io_stream_want(struct io_stream *s, unsigned events) {
        s->io->ops->want(s, events);
}

void io_stream_finish(struct io_stream *s) {
        s->io->ops->finish(s);
}

struct io_stream *io_stream_close(struct io_stream *s) {
        if (s)
                s->io->ops->close_stream(s);
        return NULL;
}

void io_job_complete(struct io_job *job) {
        assert(io_job_is_pending(job));

        job->io = NULL;
        job->done(job, job->result);
}
