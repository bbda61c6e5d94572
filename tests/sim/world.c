/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Virtual time and the processes in it.
 *
 * I1: no callback of a process is called once it is dead, or once its disk has crashed.
 * I2: time never goes back; an event never comes before its time.
 * I3: jobs of one log queue, and background jobs, end in the order in which they were submitted.
 */

#include "tests/sim/world.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/heap.h"
#include "base/list.h"
#include "tests/sim/image.h"

/* 2026-01-01 */
#define WALL_MS_FIRST INT64_C(1767225600000)

/* io_job.state: until it has run, one more than the time from its run() to its end. */
#define JOB_HAS_RUN 0u

/* When the jobs that are already in a queue end. */
struct job_queue {
        uint64_t number;
        usec_t free_usec;
};

struct sim_process {
        struct sim_io sio;
        struct sim_world *world;
        struct list link; /* in the world's */
        const char *name;
        struct sim_port port;
        struct random random;
        struct sim_disk_speed speed;
        int64_t wall_shift_ms;

        struct heap jobs, timers;
        struct job_queue *queues; /* of IO_LANE_LOG */
        size_t n_queues;
        usec_t background_free_usec;

        void (*on_crash)(void *userdata);
        void *userdata;
        bool has_crashed; /* on_crash() is called, or will be next */
};

struct sim_world {
        usec_t now_usec;
        struct random random;
        struct sim_trace *trace;
        struct sim_net net;
        struct list processes;
        struct io_ops ops;
};

const struct sim_disk_speed sim_disk_speed_default = {
        .log_min = 50,
        .log_max = 500,
        .read_min = 20,
        .read_max = 400,
        .background_min = 200,
        .background_max = 20000,
        .bytes_per_usec = 1000,
};

static struct sim_process *process_of(struct io *io) {
        return CONTAINER_OF(io, struct sim_process, sio.io);
}

static void push(struct heap *h, struct heap_node *n, usec_t at) {
        /* A fault meant for the code under test may hit the heap; it fires once. */
        if (heap_push(h, n, at) < 0 && heap_push(h, n, at) < 0)
                abort();
}

/* ---- Time and chance ---- */

static usec_t process_now(struct io *io) {
        return process_of(io)->world->now_usec;
}

static int64_t process_wall_ms(struct io *io) {
        struct sim_process *p = process_of(io);

        return WALL_MS_FIRST + (int64_t) (p->world->now_usec / USEC_PER_MSEC) + p->wall_shift_ms;
}

static void process_random(struct io *io, void *bytes, size_t n) {
        random_bytes(&process_of(io)->random, bytes, n);
}

/* ---- Jobs ---- */

static usec_t *queue_free_usec(struct sim_process *p, uint64_t number) {
        for (size_t i = 0; i < p->n_queues; i++)
                if (p->queues[i].number == number)
                        return &p->queues[i].free_usec;

        p->queues = must(realloc(p->queues, (p->n_queues + 1) * sizeof(*p->queues)));
        p->queues[p->n_queues] = (struct job_queue){ .number = number };
        return &p->queues[p->n_queues++].free_usec;
}

static void process_submit(struct io *io, enum io_lane lane, struct io_job *job) {
        struct sim_process *p = process_of(io);
        usec_t now = p->world->now_usec, start = now, end = 0, run;

        if (p->sio.is_dead)
                return; /* pending until it is cancelled */

        switch (lane) {
        case IO_LANE_LOG: {
                usec_t *free_usec = queue_free_usec(p, job->queue);

                start = MAX(now, *free_usec + 1);
                end = start + random_between(&p->random, p->speed.log_min, p->speed.log_max) +
                      job->n_bytes / p->speed.bytes_per_usec;
                *free_usec = end;
                break;
        }
        case IO_LANE_READ:
                end = start + random_between(&p->random, p->speed.read_min, p->speed.read_max) +
                      job->n_bytes / p->speed.bytes_per_usec;
                break;
        case IO_LANE_BACKGROUND:
                start = MAX(now, p->background_free_usec + 1);
                end = start +
                      random_between(&p->random, p->speed.background_min, p->speed.background_max);
                p->background_free_usec = end;
                break;
        case _IO_LANE_MAX:
                assert(false);
        }

        switch (random_below(&p->random, 3)) {
        case 0:
                run = start;
                break;
        case 1:
                run = end;
                break;
        default:
                run = random_between(&p->random, start, end);
        }

        job->state = (unsigned) (end - run) + 1;
        push(&p->jobs, &job->node, run);
}

static void process_cancel(struct io *io, struct io_job *job) {
        heap_remove(&process_of(io)->jobs, &job->node);
}

/* The first job in the heap: runs it, or completes it. */
static void take_job(struct sim_process *p) {
        struct io_job *job = CONTAINER_OF(heap_pop(&p->jobs), struct io_job, node);

        if (job->state != JOB_HAS_RUN) {
                usec_t end = p->world->now_usec + job->state - 1;

                job->result = job->run(job);
                job->state = JOB_HAS_RUN;
                push(&p->jobs, &job->node, end);
                return;
        }

        sim_trace(p->world->trace, "%s: job of lane %d done: %d", p->name, job->lane, job->result);
        io_job_complete(job);
}

/* ---- Timers ---- */

static int process_timer_set(struct io *io, struct io_timer *t, usec_t deadline_usec) {
        struct sim_process *p = process_of(io);

        heap_remove(&p->timers, &t->node);
        if (p->sio.is_dead)
                return 0;
        return heap_push(&p->timers, &t->node, deadline_usec);
}

static void process_timer_cancel(struct io *io, struct io_timer *t) {
        heap_remove(&process_of(io)->timers, &t->node);
}

static void take_timer(struct sim_process *p) {
        struct io_timer *t = CONTAINER_OF(heap_pop(&p->timers), struct io_timer, node);

        t->on_timer(t, t->userdata);
}

/* ---- Streams and crashes ---- */

static int process_connect(struct io *io,
                           const struct address *a,
                           io_stream_handler_t handler,
                           void *userdata,
                           struct io_stream **ret) {
        return sim_port_connect(&process_of(io)->port, a, handler, userdata, ret);
}

static void take_stream(struct sim_process *p) {
        sim_port_dispatch(&p->port);
}

/* Who used the disk may be any process: a callback of one may have called another one's code. */
static void notice_crashes(struct sim_world *w) {
        struct sim_process *crashed;

        do {
                crashed = NULL;
                LIST_FOREACH(&w->processes, p, struct sim_process, link)
                        if (!crashed && p->sio.disk && !p->sio.is_dead && !p->has_crashed &&
                            sim_disk_has_crashed(p->sio.disk))
                                crashed = p;

                if (crashed) {
                        crashed->has_crashed = true; /* I1 */
                        if (crashed->on_crash)
                                crashed->on_crash(crashed->userdata);
                }
        } while (crashed);
}

/* ---- Processes ---- */

/* Files are the disk's; the rest is here. */
static struct io_ops make_ops(void) {
        struct io_ops ops = sim_disk_file_ops;

        ops.now = process_now;
        ops.wall_ms = process_wall_ms;
        ops.random = process_random;
        ops.submit = process_submit;
        ops.cancel = process_cancel;
        ops.timer_set = process_timer_set;
        ops.timer_cancel = process_timer_cancel;
        ops.connect = process_connect;
        ops.read = sim_stream_read;
        ops.writev = sim_stream_writev;
        ops.want = sim_stream_want;
        ops.finish = sim_stream_finish;
        ops.close_stream = sim_stream_close;
        return ops;
}

int sim_process_new(struct sim_world *w,
                    const char *name,
                    struct sim_disk *disk,
                    void (*on_crash)(void *userdata),
                    void *userdata,
                    struct sim_process **ret) {
        struct sim_process *p = must(calloc(1, sizeof(*p)));

        p->sio = (struct sim_io){ .io.ops = &w->ops, .disk = disk };
        p->world = w;
        p->name = name;
        p->speed = sim_disk_speed_default;
        p->on_crash = on_crash;
        p->userdata = userdata;
        random_init(&p->random, random_u64(&w->random));
        heap_init(&p->jobs);
        heap_init(&p->timers);
        sim_port_init(&p->port, &w->net, &p->sio.io, name);
        list_append(&w->processes, &p->link);
        sim_trace(w->trace, "%s: start", name);

        *ret = p;
        return 0;
}

void sim_process_kill(struct sim_process *p, bool is_silent) {
        if (p->sio.is_dead)
                return;

        sim_trace(p->world->trace, "%s: end", p->name);
        p->sio.is_dead = true;
        sim_port_kill(&p->port, is_silent);
        heap_done(&p->jobs); /* I1 */
        heap_done(&p->timers);
}

struct sim_process *sim_process_free(struct sim_process *p) {
        if (!p)
                return NULL;

        sim_process_kill(p, /* is_silent= */ false);
        sim_port_done(&p->port);
        list_remove(&p->link);
        free(p->queues);
        free(p);
        return NULL;
}

struct io *sim_process_io(struct sim_process *p) {
        return &p->sio.io;
}

struct sim_port *sim_process_port(struct sim_process *p) {
        return &p->port;
}

void sim_process_set_speed(struct sim_process *p, const struct sim_disk_speed *speed) {
        p->speed = *speed;
}

void sim_process_shift_wall(struct sim_process *p, int64_t ms) {
        p->wall_shift_ms += ms;
}

/* ---- The world ---- */

int sim_world_new(uint64_t seed, struct sim_trace *trace, struct sim_world **ret) {
        struct sim_world *w = must(calloc(1, sizeof(*w)));

        w->ops = make_ops();
        w->trace = trace;
        random_init(&w->random, seed);
        list_init(&w->processes);
        sim_net_init(&w->net, random_u64(&w->random), trace);
        if (trace)
                trace->now_usec = 0;

        *ret = w;
        return 0;
}

struct sim_world *sim_world_free(struct sim_world *w) {
        if (!w)
                return NULL;

        assert(list_is_empty(&w->processes));
        free(w);
        return NULL;
}

usec_t sim_world_now(const struct sim_world *w) {
        return w->now_usec;
}

struct random *sim_world_random(struct sim_world *w) {
        return &w->random;
}

struct sim_net *sim_world_net(struct sim_world *w) {
        return &w->net;
}

struct sim_trace *sim_world_trace(struct sim_world *w) {
        return w->trace;
}

static usec_t first_usec(const struct heap *h) {
        const struct heap_node *n = heap_peek(h);

        return n ? n->priority : USEC_INFINITY;
}

static void set_now(struct sim_world *w, usec_t now) {
        assert(now >= w->now_usec); /* I2 */

        w->now_usec = now;
        w->net.now_usec = now;
        if (w->trace)
                w->trace->now_usec = now;
}

bool sim_world_step(struct sim_world *w, usec_t until) {
        void (*take)(struct sim_process * p) = NULL;
        struct sim_process *next = NULL;
        usec_t at = USEC_INFINITY;

        LIST_FOREACH(&w->processes, p, struct sim_process, link) {
                const struct {
                        usec_t at;
                        void (*take)(struct sim_process *p);
                } candidates[] = {
                        { sim_port_next_usec(&p->port), take_stream },
                        { first_usec(&p->jobs), take_job },
                        { first_usec(&p->timers), take_timer },
                };

                if (p->sio.is_dead || p->has_crashed)
                        continue;
                for (size_t i = 0; i < ELEMENTSOF(candidates); i++)
                        if (candidates[i].at < at) {
                                at = candidates[i].at;
                                take = candidates[i].take;
                                next = p;
                        }
        }

        if (!next || at > until) {
                if (until != USEC_INFINITY)
                        set_now(w, MAX(w->now_usec, until));
                return false;
        }

        set_now(w, MAX(w->now_usec, at));
        take(next);
        notice_crashes(w);
        return true;
}

void sim_world_run_until(struct sim_world *w, usec_t until) {
        while (sim_world_step(w, until))
                ;
}
