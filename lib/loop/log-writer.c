/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the jobs of a log run.
 *
 *  I1  A queue has jobs in at_loop or with its thread; a job joins at_loop only while none is with
 *      the thread, and is taken to the thread, or run, in the order of at_loop. So the jobs of a
 *      queue run in order, one at a time.
 *  I2  q->sync_usec is written by whoever runs a job of the queue: one at a time (I1).
 */
#include "loop/log-writer.h"

#include <stdatomic.h>

#include "base/alloc.h"
#include "base/map.h"

/* The newest sync counts an eighth. */
#define SYNC_WEIGHT 8u

struct log_queue {
        struct map_node by_number;
        uint64_t number;
        struct worker_pool *pool;
        unsigned n_with_thread;   /* submitted to the pool and not yet handed back */
        _Atomic usec_t sync_usec; /* mean of small jobs; 0: nothing measured yet */
};

struct log_writer {
        struct inbox *inbox;
        struct map queues;
        struct list at_loop;
        bool inline_small;
        void (*on_at_loop)(void *userdata);
        void *userdata;
};

static int compare_queue(const void *key, const struct map_node *n) {
        return CMP(*(const uint64_t *) key, CONTAINER_OF(n, struct log_queue, by_number)->number);
}

static struct log_queue *find_queue(const struct log_writer *w, uint64_t number) {
        struct map_node *n = map_find(&w->queues, &number);

        return n ? CONTAINER_OF(n, struct log_queue, by_number) : NULL;
}

static bool is_small(const struct io_job *job) {
        return job->n_bytes > 0 && job->n_bytes <= LOG_INLINE_BYTES_MAX;
}

/* On the thread, or on the loop (I2). */
static void note_run(void *userdata, const struct io_job *job, usec_t took_usec) {
        struct log_queue *q = userdata;
        usec_t mean = atomic_load_explicit(&q->sync_usec, memory_order_relaxed);

        if (!is_small(job))
                return;

        mean = mean == 0 ? took_usec : (mean * (SYNC_WEIGHT - 1) + took_usec) / SYNC_WEIGHT;
        atomic_store_explicit(&q->sync_usec, MAX(mean, UINT64_C(1)), memory_order_relaxed);
}

static int make_queue(struct log_writer *w, uint64_t number, struct log_queue **ret) {
        _cleanup_(mem_freep) struct log_queue *q = NULL;
        int r;

        q = new0(struct log_queue, 1);
        if (!q)
                return -ENOMEM;

        q->number = number;
        r = worker_pool_new(
                &(struct worker_pool_config){
                        .name = "drmq-log",
                        .n_threads_max = 1,
                        .idle_usec = USEC_INFINITY,
                        .on_run = note_run,
                        .userdata = q,
                },
                w->inbox,
                &q->pool);
        if (r < 0)
                return r;

        r = map_insert(&w->queues, &number, &q->by_number, /* ret_existing= */ NULL);
        assert(r >= 0);

        *ret = TAKE_PTR(q);
        return 0;
}

static bool is_at_loop(const struct log_writer *w, uint64_t number) {
        LIST_FOREACH(&w->at_loop, job, struct io_job, link)
                if (job->queue == number)
                        return true;
        return false;
}

static bool
may_run_on_loop(const struct log_writer *w, const struct log_queue *q, const struct io_job *job) {
        usec_t mean = atomic_load_explicit(&q->sync_usec, memory_order_relaxed);

        return w->inline_small && q->n_with_thread == 0 && is_small(job) && mean > 0 &&
               mean < LOG_INLINE_SYNC_USEC;
}

static bool give_to_thread(struct log_queue *q, struct io_job *job) {
        if (worker_pool_submit(q->pool, job) < 0)
                return false;

        q->n_with_thread++;
        return true;
}

int log_writer_new(struct inbox *inbox,
                   bool inline_small,
                   void (*on_at_loop)(void *userdata),
                   void *userdata,
                   struct log_writer **ret) {
        struct log_writer *w;

        assert(inbox);
        assert(on_at_loop);
        assert(ret);

        w = new0(struct log_writer, 1);
        if (!w)
                return -ENOMEM;

        w->inbox = inbox;
        w->inline_small = inline_small;
        w->on_at_loop = on_at_loop;
        w->userdata = userdata;
        map_init(&w->queues, compare_queue);
        list_init(&w->at_loop);

        *ret = w;
        return 0;
}

struct log_writer *log_writer_free(struct log_writer *w) {
        if (!w)
                return NULL;

        for (struct io_job *job; (job = list_pop(&w->at_loop, struct io_job, link));)
                job->io = NULL;

        MAP_FOREACH(&w->queues, n) {
                struct log_queue *q = CONTAINER_OF(n, struct log_queue, by_number);

                map_remove(&w->queues, n);
                worker_pool_free(q->pool);
                mem_free(q);
        }

        return mem_free(w);
}

void log_writer_submit(struct log_writer *w, struct io_job *job) {
        struct log_queue *q = find_queue(w, job->queue);

        if (!q && make_queue(w, job->queue, &q) < 0)
                q = NULL; /* no memory: the loop runs it */

        if (q && !is_at_loop(w, job->queue) && !may_run_on_loop(w, q, job) &&
            give_to_thread(q, job))
                return;

        list_append(&w->at_loop, &job->link); /* I1 */
        w->on_at_loop(w->userdata);
}

void log_writer_run(struct log_writer *w) {
        unsigned n = 0;

        LIST_FOREACH(&w->at_loop, job, struct io_job, link)
                n++;

        for (; n > 0; n--) {
                struct io_job *job = list_pop(&w->at_loop, struct io_job, link);
                struct log_queue *q;
                usec_t begin;

                if (!job) /* done() cancelled it */
                        return;

                q = find_queue(w, job->queue);
                if (q && !may_run_on_loop(w, q, job) && give_to_thread(q, job))
                        continue;

                begin = now_monotonic_usec();
                job->result = job->run(job);
                if (q)
                        note_run(q, job, usec_sub(now_monotonic_usec(), begin));
                io_job_complete(job);
        }
}

void log_writer_on_completed(struct log_writer *w, const struct io_job *job) {
        struct log_queue *q = find_queue(w, job->queue);

        assert(q);
        assert(q->n_with_thread > 0);
        q->n_with_thread--;
}

void log_writer_cancel(struct log_writer *w, struct io_job *job) {
        struct log_queue *q;

        LIST_FOREACH(&w->at_loop, other, struct io_job, link)
                if (other == job) {
                        list_remove(&job->link);
                        return;
                }

        q = find_queue(w, job->queue);
        assert(q);
        worker_pool_cancel(q->pool, job);
        log_writer_on_completed(w, job);
}
