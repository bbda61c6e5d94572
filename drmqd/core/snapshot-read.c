/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading what a snapshot holds, a piece of a file at a time: in jobs, charged to the budget of
 * fetches until the answer is sent.
 *
 *  I1  A connection has one read under way, and none while an answer waits to be sent to it: who
 *      does not take what was read holds up nobody else.
 *  I2  A file is found by its number in the table of contents; nothing else of the request is part
 *      of a path.
 */
#include "base/alloc.h"
#include "base/crc32c.h"
#include "drmqd/core/snapshot.h"

#define READS_MAX 2u
#define WAITING_MAX 64u

struct snapshot_read {
        struct io_job job;
        struct list link;
        struct snapshots *snapshots;
        struct io *io;
        struct request *request;
        char *path;
        uint64_t pos;
        uint32_t n_max;
        struct buf *buf;
        size_t n_bytes;
        uint32_t crc;
        bool is_charged;
};

static struct snapshot_read *read_free(struct snapshot_read *d) {
        if (!d)
                return NULL;

        if (d->is_charged)
                budget_release(&d->snapshots->broker->fetches, d->n_max);
        list_remove(&d->link);
        buf_unref(d->buf);
        mem_free(d->path);
        return mem_free(d);
}
DEFINE_CLEANUP(struct snapshot_read *, read_free)

static int read_run(struct io_job *job) {
        struct snapshot_read *d = CONTAINER_OF(job, struct snapshot_read, job);
        _cleanup_(io_file_unrefp) struct io_file *file = NULL;
        ssize_t n;
        int r;

        r = io_open(d->io, d->path, IO_OPEN_READ, &file);
        if (r < 0)
                return r;
        n = io_pread(file, d->buf->data, d->n_max, d->pos, /* flags= */ 0);
        if (n < 0)
                return (int) n;

        d->n_bytes = (size_t) n;
        d->crc = crc32c(0, d->buf->data, d->n_bytes);
        return 0;
}

static void read_answer(struct snapshot_read *d, int error) {
        Drmq__Proto__SnapshotReadResponse answer = DRMQ__PROTO__SNAPSHOT_READ_RESPONSE__INIT;
        struct request *r = TAKE_PTR(d->request);
        struct slice body;

        r->on_gone = NULL;
        if (error < 0) {
                request_fail(r,
                             error == -ENOENT ? DRMQ_ERROR_UNKNOWN_SNAPSHOT
                                              : drmq_error_from_errno(error),
                             "The snapshot cannot be read: %s",
                             strerrordesc_np(-error));
                return;
        }

        answer.crc32c = d->crc;
        body = slice_of(d->buf, d->buf->data, d->n_bytes);
        if (r->conn) {
                budget_charge_forced(&d->snapshots->broker->fetches, d->n_bytes);
                r->conn->fetched_bytes += d->n_bytes; /* until it is sent */
        }
        request_answer(r, &answer, NULL, 0, &body, 1);
        slice_done(&body);
}

static void read_done(struct io_job *job, int r) {
        struct snapshot_read *d = CONTAINER_OF(job, struct snapshot_read, job);
        struct broker *b = d->snapshots->broker;

        if (d->request)
                read_answer(d, r);
        read_free(d);
        broker_settle(b);
}

/* Of one that waits only. */
static void read_on_gone(struct request *r) {
        struct snapshot_read *d = r->userdata;

        d->snapshots->n_waiting--;
        read_free(d);
        request_drop(r);
}

/* I1. */
static bool read_has_turn(const struct snapshot_read *d) {
        const struct conn *c = d->request->conn;
        size_t n = 0;

        if (c->out.n_bytes > 0)
                return false;
        LIST_FOREACH(&d->snapshots->reads, i, struct snapshot_read, link) {
                n++;
                if (i->request && i->request->conn == c)
                        return false;
        }
        return n < READS_MAX;
}

/* Return: whether it is under way, or over. */
static bool read_try(struct snapshot_read *d) {
        if (!read_has_turn(d) || !fetch_charge(d->snapshots->broker, d->n_max))
                return false;

        d->is_charged = true;
        d->request->on_gone = NULL; /* it goes on, and is answered to nobody */
        d->buf = buf_new(d->n_max);
        if (!d->buf) {
                read_answer(d, -ENOMEM);
                read_free(d);
                return true;
        }
        list_remove(&d->link);
        list_append(&d->snapshots->reads, &d->link);
        io_submit(d->io, IO_LANE_READ, &d->job);
        return true;
}

void snapshots_resume(struct broker *b) {
        struct snapshots *s = b->snapshots;

        if (!s || s->n_waiting == 0)
                return;
        LIST_FOREACH(&s->waiting, d, struct snapshot_read, link)
                if (read_try(d))
                        s->n_waiting--;
}

void snapshot_reads_free_all(struct snapshots *s) {
        struct list *const lists[] = { &s->reads, &s->waiting };

        for (size_t i = 0; i < ELEMENTSOF(lists); i++)
                LIST_FOREACH(lists[i], d, struct snapshot_read, link) {
                        io_cancel(d->io, &d->job);
                        if (d->request) {
                                d->request->on_gone = NULL;
                                request_drop(d->request);
                        }
                        read_free(d);
                }
        s->n_waiting = 0;
}

static char *read_path(const struct snapshots *s, const struct snapshot *snapshot, uint32_t file) {
        if (file == 0)
                return mem_asprintf("%s/%s/" MANIFEST_CONTENTS_NAME, s->dir, snapshot->name);
        return mem_asprintf("%s/%s/%s", /* I2 */
                            s->dir,
                            snapshot->name,
                            snapshot->contents->files[file - 1].path);
}

void handle_snapshot_read(struct request *r) {
        _cleanup_(message_freep) Drmq__Proto__SnapshotReadRequest *q = NULL;
        _cleanup_(read_freep) struct snapshot_read *d = NULL;
        struct snapshots *s = r->broker->snapshots;
        struct snapshot *snapshot;

        if (message_unpack(&drmq__proto__snapshot_read_request__descriptor,
                           r->frame.header,
                           (void **) &q) < 0 ||
            q->position > INT64_MAX) {
                request_fail(r, DRMQ_ERROR_MALFORMED, "The request is malformed");
                return;
        }
        snapshot = snapshot_find(s, q->name);
        if (!snapshot) {
                request_fail(
                        r, DRMQ_ERROR_UNKNOWN_SNAPSHOT, "There is no snapshot \"%.100s\"", q->name);
                return;
        }
        if (!snapshot->contents) {
                request_fail(r,
                             DRMQ_ERROR_DAMAGED,
                             "The table of contents of %s cannot be read",
                             snapshot->name);
                return;
        }
        if (q->file > snapshot->contents->n_files) {
                request_fail(r,
                             DRMQ_ERROR_INVALID_ARGUMENT,
                             "%s has no file %u",
                             snapshot->name,
                             q->file);
                return;
        }
        if (s->n_waiting >= WAITING_MAX) {
                request_fail(r, DRMQ_ERROR_BUSY, "Too many wait to read snapshots; try again");
                return;
        }

        snapshot->used_usec = io_now(r->broker->io);
        d = new0(struct snapshot_read, 1);
        if (d)
                list_init(&d->link);
        if (d)
                d->path = read_path(s, snapshot, q->file);
        if (!d || !d->path) {
                request_fail(r, DRMQ_ERROR_NO_MEMORY, "The node is out of memory");
                return;
        }

        d->snapshots = s;
        d->io = r->broker->io;
        d->request = r;
        d->pos = q->position;
        d->n_max =
                q->max_bytes == 0 ? SNAPSHOT_CHUNK_BYTES : MIN(q->max_bytes, SNAPSHOT_CHUNK_BYTES);
        d->job.run = read_run;
        d->job.done = read_done;
        r->userdata = d;
        r->on_gone = read_on_gone;
        list_append(&s->waiting, &d->link);
        s->n_waiting++;
        TAKE_PTR(d); /* snapshots_resume() begins it, at the end of this event */
}
