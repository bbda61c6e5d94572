/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct io over sd-event: the order of events, timers, and which thread a job goes to. Sockets are
 * in stream.c.
 *
 *  I1  "late" has a lower priority than all other sources here, so it runs when none of them is
 *      pending; each of them, and each socket, tells when it is handled (loop_note_event()).
 *      sd-event handles sources of one priority in the order in which they became pending, epoll
 *      the sockets that are ready in turn: so when one is handled for the second time since late
 *      was armed, all others that were ready then have had theirs, and late is promoted to be next.
 *  I2  wake_usec is never later than the first deadline, unless late is armed (which sets it anew).
 */
#include "loop/io-loop.h"

#include <time.h>

#include "base/alloc.h"
#include "loop/loop.h"
#include "loop/stream.h"

#define PRIORITY_LATE (SD_EVENT_PRIORITY_NORMAL + 1)
#define N_READERS 2u
#define N_BACKGROUND 2u
#define N_RESOLVERS 2u
#define THREAD_IDLE_USEC (10 * USEC_PER_SEC)

void loop_arm_late(struct io_loop *l) {
        if (l->is_late_armed)
                return;

        loop_assert_set(sd_event_source_set_enabled(l->late, SD_EVENT_ONESHOT));

        l->is_late_armed = true;
        l->late_round++;
}

static void set_late_priority(struct io_loop *l, int64_t priority) {
        loop_assert_set(sd_event_source_set_priority(l->late, priority));
        l->is_late_promoted = priority != PRIORITY_LATE;
}

void loop_note_event(struct io_loop *l, uint64_t *round) {
        if (!l->is_late_armed || l->is_late_promoted)
                return;

        if (*round == l->late_round)
                set_late_priority(l, SD_EVENT_PRIORITY_NORMAL); /* I1 */
        *round = l->late_round;
}

/* Timers. */

static void set_wake(struct io_loop *l, usec_t deadline_usec) {
        if (deadline_usec <= now_monotonic_usec()) {
                loop_arm_late(l);
                return;
        }
        if (deadline_usec >= l->wake_usec) /* I2: it is set anew then */
                return;

        loop_assert_set(sd_event_source_set_time(l->wake, deadline_usec));
        loop_assert_set(sd_event_source_set_enabled(l->wake, SD_EVENT_ONESHOT));
        l->wake_usec = deadline_usec;
}

static int on_wake(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata) {
        struct io_loop *l = userdata;

        l->wake_usec = USEC_INFINITY;
        loop_arm_late(l);
        return 0;
}

static int loop_timer_set(struct io *io, struct io_timer *t, usec_t deadline_usec) {
        int r;

        r = io_base_timer_set(io, t, deadline_usec);
        if (r < 0)
                return r;

        set_wake(loop_of(io), deadline_usec);
        return 0;
}

static int on_late(_unused_ sd_event_source *source, void *userdata) {
        struct io_loop *l = userdata;

        l->is_late_armed = false;
        if (l->is_late_promoted)
                set_late_priority(l, PRIORITY_LATE);

        log_writer_run(l->log_writer);
        stream_tell_broken(l);
        io_base_fire_timers(&l->base);
        set_wake(l, io_base_next_deadline(&l->base));
        return 0;
}

/* Jobs. */

static void on_log_at_loop(void *userdata) {
        loop_arm_late(userdata);
}

static struct worker_pool *pool_of(struct io_loop *l, enum io_lane lane) {
        return lane == IO_LANE_READ ? l->readers : l->background;
}

static void loop_submit(struct io *io, enum io_lane lane, struct io_job *job) {
        struct io_loop *l = loop_of(io);

        /* Where no thread can be had, the log writer runs it on the loop. */
        if (lane == IO_LANE_LOG || worker_pool_submit(pool_of(l, lane), job) < 0) {
                job->lane = IO_LANE_LOG;
                log_writer_submit(l->log_writer, job);
        }
}

static void loop_cancel(struct io *io, struct io_job *job) {
        struct io_loop *l = loop_of(io);

        if (job->lane == IO_LANE_LOG)
                log_writer_cancel(l->log_writer, job);
        else
                worker_pool_cancel(pool_of(l, job->lane), job);
}

static int on_inbox(_unused_ sd_event_source *source,
                    _unused_ int fd,
                    _unused_ uint32_t revents,
                    void *userdata) {
        struct io_loop *l = userdata;

        loop_note_event(l, &l->inbox_round);

        inbox_take(l->inbox, &l->completed);
        for (struct io_job *job; (job = list_pop(&l->completed, struct io_job, link));) {
                if (job->lane == IO_LANE_LOG)
                        log_writer_on_completed(l->log_writer, job);
                io_job_complete(job);
        }

        return 0;
}

static int make_pool(struct io_loop *l,
                     const char *name,
                     unsigned n_threads_max,
                     usec_t idle_usec,
                     struct worker_pool **ret) {
        return worker_pool_new(
                &(struct worker_pool_config){
                        .name = name,
                        .n_threads_max = n_threads_max,
                        .idle_usec = idle_usec,
                },
                l->inbox,
                ret);
}

static int make_jobs(struct io_loop *l, const struct io_loop_config *config) {
        int r;

        r = inbox_new(&l->inbox);
        if (r < 0)
                return r;
        r = sd_event_add_io(l->event, &l->inbox_source, inbox_fd(l->inbox), EPOLLIN, on_inbox, l);
        if (r < 0)
                return r;

        r = make_pool(l, "drmq-read", N_READERS, USEC_INFINITY, &l->readers);
        if (r < 0)
                return r;
        r = make_pool(l, "drmq-background", N_BACKGROUND, THREAD_IDLE_USEC, &l->background);
        if (r < 0)
                return r;
        r = make_pool(l, "drmq-resolve", N_RESOLVERS, THREAD_IDLE_USEC, &l->resolvers);
        if (r < 0)
                return r;

        return log_writer_new(
                l->inbox, !config->log_threads_only, on_log_at_loop, l, &l->log_writer);
}

static int make_sources(struct io_loop *l) {
        int r;

        r = sd_event_add_defer(l->event, &l->late, on_late, l);
        if (r < 0)
                return r;
        r = sd_event_source_set_enabled(l->late, SD_EVENT_OFF);
        if (r < 0)
                return r;
        r = sd_event_source_set_priority(l->late, PRIORITY_LATE);
        if (r < 0)
                return r;

        r = sd_event_add_time(
                l->event, &l->wake, CLOCK_MONOTONIC, USEC_INFINITY, /* accuracy= */ 1, on_wake, l);
        if (r < 0)
                return r;
        l->wake_usec = USEC_INFINITY;

        return sd_event_source_set_enabled(l->wake, SD_EVENT_OFF);
}

int io_loop_new(sd_event *event, const struct io_loop_config *config, struct io_loop **ret) {
        static const struct io_loop_config by_default = {};
        _cleanup_(io_loop_freep) struct io_loop *l = NULL;
        int r;

        assert(event);
        assert(ret);

        if (!config)
                config = &by_default;

        l = new0(struct io_loop, 1);
        if (!l)
                return -ENOMEM;

        list_init(&l->completed);
        list_init(&l->streams);
        list_init(&l->broken);
        list_init(&l->lookups);
        l->event = sd_event_ref(event);
        l->base.root_fd = -EBADF;
        l->epoll_fd = -EBADF;

        r = io_base_init(&l->base, config->root);
        if (r < 0)
                return r;
        l->base.ops.submit = loop_submit;
        l->base.ops.cancel = loop_cancel;
        l->base.ops.timer_set = loop_timer_set;
        l->base.ops.connect = stream_connect;
        l->base.ops.read = stream_read;
        l->base.ops.writev = stream_writev;
        l->base.ops.want = stream_want;
        l->base.ops.finish = stream_finish;
        l->base.ops.close_stream = stream_close;

        r = make_sources(l);
        if (r < 0)
                return r;
        r = stream_loop_init(l);
        if (r < 0)
                return r;
        r = make_jobs(l, config);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(l);
        return 0;
}

struct io_loop *io_loop_free(struct io_loop *l) {
        if (!l)
                return NULL;

        assert(list_is_empty(&l->streams));

        log_writer_free(l->log_writer);
        worker_pool_free(l->readers);
        worker_pool_free(l->background);
        worker_pool_free(l->resolvers);
        for (struct io_job *job; (job = list_pop(&l->completed, struct io_job, link));)
                job->io = NULL;
        sd_event_source_disable_unref(l->inbox_source);
        inbox_free(l->inbox);
        stream_loop_done(l);

        sd_event_source_disable_unref(l->wake);
        sd_event_source_disable_unref(l->late);
        sd_event_unref(l->event);
        io_base_done(&l->base);
        return mem_free(l);
}

struct io *io_loop_io(struct io_loop *l) {
        return &l->base.io;
}

usec_t io_loop_deadline(const struct io_loop *l) {
        return l->is_late_armed ? 0 : l->wake_usec; /* I2 */
}
