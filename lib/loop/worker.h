/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Threads that run jobs (struct io_job) away from the loop. A pool takes jobs in order and has up
 * to n_threads_max threads, each started when a job is there that nobody idle would take; with one
 * thread its jobs run in order, one at a time. Completions of all pools go to one inbox, whose
 * descriptor the loop polls.
 *
 * All functions are the loop's; threads run nothing but job->run() and on_run(), and block all
 * signals. No thread ever wakes up without work, but for one that ends after idle_usec.
 */

#include "io/io.h"

#define WORKER_THREADS_MAX 4u

/* What io_job.state says; guarded by the mutex of the pool that has the job. */
enum job_state {
        JOB_IDLE,
        JOB_QUEUED,
        JOB_RUNNING,
        JOB_COMPLETED, /* in the inbox, or taken from it and not yet handed back */
};

struct inbox;
struct worker_pool;

int inbox_new(struct inbox **ret);
struct inbox *inbox_free(struct inbox *inbox);
DEFINE_CLEANUP(struct inbox *, inbox_free)
/* Readable when there are completions. Borrows. */
int inbox_fd(const struct inbox *inbox);
/* Moves all completions, oldest first, to the end of @list. */
void inbox_take(struct inbox *inbox, struct list *list);
/* The list that a job is in is the inbox's, or one that inbox_take() filled. */
void inbox_remove(struct inbox *inbox, struct io_job *job);

struct worker_pool_config {
        const char *name;       /* of the threads: up to 15 letters; borrows for ever */
        unsigned n_threads_max; /* 1..WORKER_THREADS_MAX */
        usec_t idle_usec; /* how long a sleeping thread stays; USEC_INFINITY: until the pool ends */
        /* If set: called on the thread after each run. */
        void (*on_run)(void *userdata, const struct io_job *job, usec_t took_usec);
        void *userdata;
};

/* Returns new; starts nothing. Borrows @inbox until worker_pool_free(). Return: 0; -ENOMEM. */
int worker_pool_new(const struct worker_pool_config *config,
                    struct inbox *inbox,
                    struct worker_pool **ret);
/* Waits for jobs that run; forgets those that do not. Takes NULL, returns NULL. */
struct worker_pool *worker_pool_free(struct worker_pool *p);
DEFINE_CLEANUP(struct worker_pool *, worker_pool_free)
/* Return: 0; negative: not taken, since there is no thread and none could be started. */
int worker_pool_submit(struct worker_pool *p, struct io_job *job);
/* The job is the caller's again; waits for its end where it is running. */
void worker_pool_cancel(struct worker_pool *p, struct io_job *job);
