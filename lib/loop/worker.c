/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The threads and locks of DRMQ: here, and nowhere else.
 *
 *  I1  p->mutex guards the pool and the state of its jobs; inbox->mutex guards the inbox's list,
 *      and is taken with p->mutex held or alone, never before it.
 *  I2  A thread does not touch a job after it has put it into the inbox: the loop may have freed
 *      it.
 *  I3  A job that was queued is seen by somebody: by a thread that is woken, or by one that is
 *      awake and looks at n_queued before it sleeps or ends.
 */
#include "loop/worker.h"

#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fs.h"

struct inbox {
        pthread_mutex_t mutex;
        struct list jobs;
        int event_fd;
};

/* A place for a thread. */
struct worker {
        struct worker_pool *pool;
        pthread_t thread;
        bool is_started; /* to be joined */
        bool has_ended;  /* … which will not wait */
};

struct worker_pool {
        struct worker_pool_config config;
        struct inbox *inbox;
        pthread_mutex_t mutex;
        pthread_cond_t work_cond; /* CLOCK_MONOTONIC */
        pthread_cond_t end_cond;  /* a job has ended while n_waiters > 0 */
        struct list queue;
        unsigned n_queued;
        unsigned n_threads;
        unsigned n_sleeping;
        unsigned n_waiters;
        bool is_stopping;
        struct worker workers[WORKER_THREADS_MAX];
};

int inbox_new(struct inbox **ret) {
        _cleanup_(mem_freep) struct inbox *inbox = NULL;

        assert(ret);

        inbox = new0(struct inbox, 1);
        if (!inbox)
                return -ENOMEM;

        inbox->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (inbox->event_fd < 0)
                return -errno;

        list_init(&inbox->jobs);
        pthread_mutex_init(&inbox->mutex, NULL);

        *ret = TAKE_PTR(inbox);
        return 0;
}

struct inbox *inbox_free(struct inbox *inbox) {
        if (!inbox)
                return NULL;

        for (struct io_job *job; (job = list_pop(&inbox->jobs, struct io_job, link));)
                job->io = NULL;
        pthread_mutex_destroy(&inbox->mutex);
        fd_close(inbox->event_fd);
        return mem_free(inbox);
}

int inbox_fd(const struct inbox *inbox) {
        return inbox->event_fd;
}

static void inbox_post(struct inbox *inbox, struct io_job *job) {
        const uint64_t one = 1;
        bool was_empty;

        pthread_mutex_lock(&inbox->mutex);
        was_empty = list_is_empty(&inbox->jobs);
        list_append(&inbox->jobs, &job->link);
        pthread_mutex_unlock(&inbox->mutex);

        if (was_empty) {
                ssize_t k = write(inbox->event_fd, &one, sizeof(one));

                assert(k == sizeof(one)); /* eventfd(2): it would have to count to 2^64 first */
        }
}

void inbox_take(struct inbox *inbox, struct list *list) {
        uint64_t count;

        /* Emptied before the list is: a post that comes between makes it readable again, for
         * nothing at worst. */
        (void) !read(inbox->event_fd, &count, sizeof(count));

        pthread_mutex_lock(&inbox->mutex);
        for (struct io_job *job; (job = list_pop(&inbox->jobs, struct io_job, link));)
                list_append(list, &job->link);
        pthread_mutex_unlock(&inbox->mutex);
}

void inbox_remove(struct inbox *inbox, struct io_job *job) {
        pthread_mutex_lock(&inbox->mutex);
        list_remove(&job->link);
        pthread_mutex_unlock(&inbox->mutex);
}

/* With the mutex held. Return: false when the time is over and there is still nothing. */
static bool sleep_for_work(struct worker_pool *p) {
        usec_t end = usec_add(now_monotonic_usec(), p->config.idle_usec);
        const struct timespec ts = {
                .tv_sec = (time_t) (end / USEC_PER_SEC),
                .tv_nsec = (long) (end % USEC_PER_SEC * 1000),
        };
        int r = 0;

        p->n_sleeping++;
        while (p->n_queued == 0 && !p->is_stopping && r == 0)
                r = end == USEC_INFINITY ? pthread_cond_wait(&p->work_cond, &p->mutex)
                                         : pthread_cond_timedwait(&p->work_cond, &p->mutex, &ts);
        p->n_sleeping--;

        return p->n_queued > 0 || p->is_stopping;
}

/* With the mutex held, which is given up while it runs. */
static void run_one(struct worker_pool *p) {
        struct io_job *job = list_pop(&p->queue, struct io_job, link);
        usec_t begin;

        p->n_queued--;
        job->state = JOB_RUNNING;
        pthread_mutex_unlock(&p->mutex);

        begin = now_monotonic_usec();
        job->result = job->run(job);
        if (p->config.on_run)
                p->config.on_run(p->config.userdata, job, usec_sub(now_monotonic_usec(), begin));

        pthread_mutex_lock(&p->mutex);
        job->state = JOB_COMPLETED;
        inbox_post(p->inbox, job); /* I1, I2 */
        if (p->n_waiters > 0)
                pthread_cond_broadcast(&p->end_cond);
}

static void *worker_main(void *userdata) {
        struct worker *w = userdata;
        struct worker_pool *p = w->pool;

        (void) pthread_setname_np(pthread_self(), p->config.name);

        pthread_mutex_lock(&p->mutex);
        while (!p->is_stopping)
                if (p->n_queued > 0)
                        run_one(p);
                else if (!sleep_for_work(p))
                        break;

        p->n_threads--;
        w->has_ended = true;
        pthread_mutex_unlock(&p->mutex);
        return NULL;
}

/* With the mutex held. Return: 0; -EAGAIN, as pthread_create(3) has it. */
static int start_thread(struct worker_pool *p) {
        sigset_t all, before;
        struct worker *w = NULL;
        int r;

        for (unsigned i = 0; i < p->config.n_threads_max && !w; i++)
                if (!p->workers[i].is_started || p->workers[i].has_ended)
                        w = &p->workers[i];
        assert(w);

        if (w->is_started) {
                pthread_join(w->thread, NULL); /* it holds nothing: has_ended is its last word */
                w->is_started = false;
        }

        w->pool = p;
        w->has_ended = false;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        r = pthread_create(&w->thread, NULL, worker_main, w);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (r > 0)
                return -r;

        w->is_started = true;
        p->n_threads++;
        return 0;
}

int worker_pool_new(const struct worker_pool_config *config,
                    struct inbox *inbox,
                    struct worker_pool **ret) {
        struct worker_pool *p;
        pthread_condattr_t attr;

        assert(config);
        assert(config->n_threads_max >= 1 && config->n_threads_max <= WORKER_THREADS_MAX);
        assert(inbox);
        assert(ret);

        p = new0(struct worker_pool, 1);
        if (!p)
                return -ENOMEM;

        p->config = *config;
        p->inbox = inbox;
        list_init(&p->queue);
        pthread_mutex_init(&p->mutex, NULL);
        pthread_cond_init(&p->end_cond, NULL);
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_cond_init(&p->work_cond, &attr);
        pthread_condattr_destroy(&attr);

        *ret = p;
        return 0;
}

struct worker_pool *worker_pool_free(struct worker_pool *p) {
        if (!p)
                return NULL;

        pthread_mutex_lock(&p->mutex);
        p->is_stopping = true;
        for (struct io_job *job; (job = list_pop(&p->queue, struct io_job, link));)
                job->io = NULL;
        pthread_cond_broadcast(&p->work_cond);
        pthread_mutex_unlock(&p->mutex);

        for (unsigned i = 0; i < WORKER_THREADS_MAX; i++)
                if (p->workers[i].is_started)
                        pthread_join(p->workers[i].thread, NULL);

        pthread_cond_destroy(&p->work_cond);
        pthread_cond_destroy(&p->end_cond);
        pthread_mutex_destroy(&p->mutex);
        return mem_free(p);
}

int worker_pool_submit(struct worker_pool *p, struct io_job *job) {
        bool wake;

        pthread_mutex_lock(&p->mutex);

        if (p->n_queued >= p->n_sleeping && p->n_threads < p->config.n_threads_max) {
                int r = start_thread(p);

                if (r < 0 && p->n_threads == 0) {
                        pthread_mutex_unlock(&p->mutex);
                        return r;
                }
        }

        job->state = JOB_QUEUED;
        list_append(&p->queue, &job->link);
        p->n_queued++;
        wake = p->n_sleeping > 0; /* I3 */
        pthread_mutex_unlock(&p->mutex);

        if (wake)
                pthread_cond_signal(&p->work_cond);
        return 0;
}

void worker_pool_cancel(struct worker_pool *p, struct io_job *job) {
        pthread_mutex_lock(&p->mutex);

        if (job->state == JOB_QUEUED) {
                list_remove(&job->link);
                p->n_queued--;
        } else {
                p->n_waiters++;
                while (job->state == JOB_RUNNING)
                        pthread_cond_wait(&p->end_cond, &p->mutex);
                p->n_waiters--;
                inbox_remove(p->inbox, job);
        }
        job->state = JOB_IDLE;

        pthread_mutex_unlock(&p->mutex);
}
