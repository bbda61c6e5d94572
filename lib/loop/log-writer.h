/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * IO_LANE_LOG: the jobs of a queue (a shard's group writes) run in order, one at a time, each queue
 * on a thread of its own, or on the loop where that is quicker.
 *
 * A hand-over costs two wake-ups. Measured by tests/bench/bench-log-writer.c, 4 KiB pwrite +
 * fdatasync over a file that is there, p50 (p99) in us, two cores, virtual disk, other work going
 * on:
 *
 *     pwrite + fdatasync alone        45.8   (89)
 *     on the loop                     47.5   (95)
 *     on its thread                   57.1  (162)     8 to 20 more from run to run; a thread that
 *                                                     spins for 30 us before it sleeps made no
 *                                                     difference, so it does not
 *
 * So a job of 1 to LOG_INLINE_BYTES_MAX bytes, by its hint, runs on the loop, once the events at
 * hand have been handled (more of them may join the group), as long as the last syncs of its queue
 * took less than LOG_INLINE_SYNC_USEC on average and nothing of the queue is with its thread. A
 * disk that turns slow is left to the thread after the first sync that takes long, until a row of
 * them was quick again; that first one does hold up the loop, which is what log_threads_only of
 * io-loop.h is for.
 */

#include "loop/worker.h"

#define LOG_INLINE_BYTES_MAX (64u * 1024u)
#define LOG_INLINE_SYNC_USEC UINT64_C(500)

struct log_writer;

/**
 * log_writer_new() - no queue yet
 * @inbox:        gets the completions of jobs that ran on a thread; borrows until log_writer_free()
 * @inline_small: whether anything may run on the loop while there are threads
 * @on_at_loop:   a job is there to be run on the loop: log_writer_run() is to be called soon, not
 *         from in here
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
/* Runs and hands back the jobs that are to be run on the loop now; what done() submits is left for
 * the next call. */
void log_writer_run(struct log_writer *w);
/* To be called for each job of this lane that is taken from the inbox, before it is handed back. */
void log_writer_on_completed(struct log_writer *w, const struct io_job *job);
