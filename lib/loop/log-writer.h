/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * IO_LANE_LOG: the jobs of a queue (a shard's group writes) run in order, one at a time, each queue on a thread of
 * its own, or on the loop where that is quicker.
 *
 * A small synced write to a good disk takes about 100 us; two wake-ups to hand it to a thread and back cost half of
 * that again. So a job of 1 to LOG_INLINE_BYTES_MAX bytes, by its hint, runs on the loop, once the events at hand have been handled
 * (more of them may join the group), as long as the last syncs of its queue took less than LOG_INLINE_SYNC_USEC on
 * average and nothing of the queue is with its thread. A slow disk thus moves to the thread after one slow sync, and
 * comes back after a row of fast ones: the loop never waits for it for long.
 */

#include "loop/worker.h"

#define LOG_INLINE_BYTES_MAX (64u * 1024u)
#define LOG_INLINE_SYNC_USEC UINT64_C(500)

struct log_writer;

/**
 * log_writer_new() - no queue yet
 * @inbox:        gets the completions of jobs that ran on a thread; borrows until log_writer_free()
 * @inline_small: whether anything may run on the loop while there are threads
 * @on_at_loop:   a job is there to be run on the loop: log_writer_run() is to be called soon, not from in here
 */
int log_writer_new(struct inbox *inbox,
                   bool inline_small,
                   void (*on_at_loop)(void *userdata),
                   void *userdata,
                   struct log_writer **ret);
/* Waits for what runs; forgets what does not. Takes NULL, returns NULL. */
struct log_writer *log_writer_free(struct log_writer *w);
DEFINE_CLEANUP(struct log_writer *, log_writer_free)
/* Cannot fail: where there is neither memory nor a thread, the job runs on the loop. */
void log_writer_submit(struct log_writer *w, struct io_job *job);
void log_writer_cancel(struct log_writer *w, struct io_job *job);
/* Runs and hands back the jobs that are to be run on the loop now; what done() submits is left for the next call. */
void log_writer_run(struct log_writer *w);
/* To be called for each job of this lane that is taken from the inbox, before it is handed back. */
void log_writer_on_completed(struct log_writer *w, const struct io_job *job);
