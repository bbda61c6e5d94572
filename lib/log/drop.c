/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dropping the oldest segments: what retention does to a log. Which ones may go is decided elsewhere.
 *
 *  D1  Oldest first, the folder synced after each: after a crash what is left is dense.
 *  D2  What goes is off the log's list before its file is unlinked: who reads it already has its own
 *      reference, nobody else finds it any more.
 *  D3  By the names in the folder: a file that is too damaged to be on the list goes too, and what an
 *      earlier drop did not come to.
 *  D4  Not while an index file is being written, or a truncation is under way.
 */
#include "base/alloc.h"
#include "log/shard-log-internal.h"

static int run_drop(struct io_job *job) {
        struct drop_job *d = CONTAINER_OF(job, struct drop_job, job);
        _cleanup_(mem_freep) uint64_t *indices = NULL;
        size_t n;
        int r;

        r = segment_list(job->io, d->dir, &indices, &n);
        if (r < 0)
                return r;

        for (size_t i = 0; i + 1 < n && indices[i + 1] - 1 <= d->to_index; i++) {
                r = segment_unlink(job->io, d->dir, indices[i]);
                if (r < 0)
                        return r;
                r = io_sync_dir(job->io, d->dir); /* D1 */
                if (r < 0)
                        return r;
        }

        return 0;
}

static void on_drop_done(struct io_job *job, int r) {
        struct shard_log *l = CONTAINER_OF(job, struct shard_log, drop.job);

        if (r < 0)
                shard_log_fail(l, r, "unlinking old segments");
        else
                shard_log_try_start(l);
}

void drop_init(struct shard_log *l) {
        l->drop.dir = l->config.dir;
        l->drop.job = (struct io_job){ .run = run_drop, .done = on_drop_done };
}

void drop_start(struct shard_log *l) {
        const uint64_t to_index = MIN(l->drop_index, MIN(l->commit_index, l->durable_index));
        size_t n = 0;

        if (l->drop_index == 0 || io_job_is_pending(&l->drop.job) || !list_is_empty(&l->index_jobs))
                return; /* D4 */

        l->drop_index = 0;
        while (n + 1 < l->n_segments && l->segments[n]->is_closed &&
               l->segments[n]->last_index <= to_index)
                n++;
        if (n > 0) { /* D2 */
                l->first_index = l->segments[n - 1]->last_index + 1;
                for (size_t i = 0; i < n; i++)
                        segment_unref(l->segments[i]);
                l->n_segments -= n;
                memmove(l->segments, l->segments + n, l->n_segments * sizeof(l->segments[0]));
        }

        l->drop.to_index = to_index;
        io_submit(l->io, IO_LANE_BACKGROUND, &l->drop.job);
}

int shard_log_drop(struct shard_log *l, uint64_t to_index) {
        assert(l);

        if (l->has_failed)
                return -EIO;

        l->drop_index = MAX(l->drop_index, to_index);
        shard_log_try_start(l);
        return 0;
}
