/* SPDX-License-Identifier: Apache-2.0 */

/* The simulated world: time, jobs, streams, and the deaths of processes. */

#include "tests/lib/test.h"
#include "tests/sim/world.h"

#include "base/parse.h"

#define ADDRESS "broker:9092"

static const struct address address = { .host = (char *) "broker", .port = 9092 };

struct peer {
        struct sim_process *process;
        struct io_stream *stream;
        uint8_t *to_send; /* borrows */
        size_t n_to_send, n_sent;
        uint8_t received[1 << 16];
        size_t n_received;
        unsigned n_reads;
        ssize_t result; /* of the last read */
        bool has_ended;
};

static void on_stream(struct io_stream *s, unsigned events, void *userdata) {
        struct peer *p = userdata;

        if (events & IO_STREAM_READABLE) {
                p->result = io_stream_read(
                        s, p->received + p->n_received, sizeof(p->received) - p->n_received);
                if (p->result > 0) {
                        p->n_received += (size_t) p->result;
                        p->n_reads++;
                } else if (p->result != -EAGAIN) {
                        p->has_ended = true;
                        p->stream = io_stream_close(s);
                        return;
                }
        }

        if (events & IO_STREAM_WRITABLE) {
                const struct iovec iov = { p->to_send + p->n_sent, p->n_to_send - p->n_sent };
                ssize_t n = io_stream_writev(s, &iov, 1);

                if (n > 0)
                        p->n_sent += (size_t) n;
        }
        io_stream_want(s, IO_STREAM_READABLE | (p->n_sent < p->n_to_send ? IO_STREAM_WRITABLE : 0));
}

static void on_accept(void *userdata, struct io_stream *s) {
        struct peer *p = userdata;

        p->stream = s;
        s->handler = on_stream;
        s->userdata = p;
        io_stream_want(s, IO_STREAM_READABLE);
}

static void peer_connect(struct peer *p) {
        ASSERT_OK(io_connect(sim_process_io(p->process), &address, on_stream, p, &p->stream));
        io_stream_want(p->stream, IO_STREAM_READABLE | IO_STREAM_WRITABLE);
}

static void peer_done(struct peer *p) {
        sim_process_kill(p->process, /* is_silent= */ false);
        p->stream = io_stream_close(p->stream);
        p->process = sim_process_free(p->process);
}

struct pair {
        struct sim_trace trace;
        struct sim_world *world;
        struct peer client, server;
        uint8_t bytes[40000];
};

static void pair_begin(struct pair *t, uint64_t seed) {
        memset(t, 0, sizeof(*t));
        for (size_t i = 0; i < sizeof(t->bytes); i++)
                t->bytes[i] = (uint8_t) (i * 7 + i / 251);
        sim_trace_init(&t->trace, /* is_printed= */ false);
        ASSERT_OK(sim_world_new(seed, &t->trace, &t->world));
        ASSERT_OK(sim_process_new(t->world, "server", NULL, NULL, NULL, &t->server.process));
        ASSERT_OK(sim_process_new(t->world, "client", NULL, NULL, NULL, &t->client.process));
        sim_port_listen(sim_process_port(t->server.process), ADDRESS, on_accept, &t->server);
        t->client.to_send = t->bytes;
        t->client.n_to_send = sizeof(t->bytes);
}

static void pair_end(struct pair *t) {
        peer_done(&t->client);
        peer_done(&t->server);
        t->world = sim_world_free(t->world);
}

TEST(bytes_arrive_whole_in_order_and_in_pieces) {
        unsigned n_reads = 0;

        for (uint64_t seed = 0; seed < 20; seed++) {
                struct pair t;

                pair_begin(&t, seed);
                sim_world_net(t.world)->config.crumbs_per_million = 300000;
                peer_connect(&t.client);
                sim_world_run_until(t.world, 60 * USEC_PER_SEC);
                ASSERT_EQ(t.server.n_received, sizeof(t.bytes));
                ASSERT_MEM(t.server.received, t.bytes, sizeof(t.bytes));
                n_reads += t.server.n_reads;
                ASSERT_FALSE(t.server.has_ended);
                ASSERT_EQ(sim_world_now(t.world), 60 * USEC_PER_SEC);
                pair_end(&t);
        }

        ASSERT_GT(n_reads, 500);
}

TEST(the_window_bounds_what_is_on_the_way) {
        struct pair t;
        ssize_t n, sum = 0;

        pair_begin(&t, 1);
        sim_world_net(t.world)->config.window_bytes = 1000;
        t.client.n_to_send = 0;
        peer_connect(&t.client);
        sim_world_run_until(t.world, USEC_PER_SEC);
        io_stream_want(t.server.stream, 0);
        do {
                const struct iovec iov = { t.bytes, sizeof(t.bytes) };

                n = io_stream_writev(t.client.stream, &iov, 1);
                sum += n > 0 ? n : 0;
        } while (n > 0);
        ASSERT_EQ(n, -EAGAIN);
        ASSERT_EQ(sum, 1000);

        io_stream_want(t.server.stream, IO_STREAM_READABLE);
        sim_world_run_until(t.world, 2 * USEC_PER_SEC);
        ASSERT_EQ(t.server.n_received, 1000);
        pair_end(&t);
}

TEST(a_connection_to_nobody_is_refused) {
        struct pair t;

        pair_begin(&t, 1);
        sim_port_unlisten(sim_process_port(t.server.process));
        peer_connect(&t.client);
        sim_world_run_until(t.world, USEC_PER_SEC);
        ASSERT_TRUE(t.client.has_ended);
        ASSERT_EQ(t.client.result, -ECONNREFUSED);
        pair_end(&t);
}

TEST(a_closed_stream_ends_behind_its_bytes_or_is_reset) {
        unsigned n_ends = 0, n_resets = 0;

        for (uint64_t seed = 0; seed < 50; seed++) {
                struct pair t;

                pair_begin(&t, seed);
                t.client.n_to_send = 500;
                peer_connect(&t.client);
                while (t.client.n_sent < 500)
                        ASSERT_TRUE(sim_world_step(t.world, USEC_PER_SEC));
                t.client.stream = io_stream_close(t.client.stream);
                sim_world_run_until(t.world, 10 * USEC_PER_SEC);
                ASSERT_TRUE(t.server.has_ended);
                if (t.server.result == 0) {
                        ASSERT_EQ(t.server.n_received, 500);
                        n_ends++;
                } else {
                        ASSERT_EQ(t.server.result, -ECONNRESET);
                        n_resets++;
                }
                ASSERT_MEM(t.server.received, t.bytes, t.server.n_received);
                pair_end(&t);
        }

        ASSERT_GT(n_ends, 0);
        ASSERT_GT(n_resets, 0);
}

TEST(streams_break_at_any_byte) {
        unsigned n_partly = 0;

        for (uint64_t seed = 0; seed < 50; seed++) {
                struct pair t;

                pair_begin(&t, seed);
                sim_world_net(t.world)->config.break_per_million = 300000;
                peer_connect(&t.client);
                sim_world_run_until(t.world, 10 * USEC_PER_SEC);
                ASSERT_MEM(t.server.received, t.bytes, t.server.n_received);
                if (t.client.has_ended) {
                        ASSERT_TRUE(t.server.has_ended);
                        ASSERT_EQ(t.client.result, -ECONNRESET);
                        ASSERT_EQ(t.server.result, -ECONNRESET);
                        n_partly +=
                                t.server.n_received > 0 && t.server.n_received < sizeof(t.bytes);
                }
                pair_end(&t);
        }

        ASSERT_GT(n_partly, 0);
}

TEST(a_killed_process_is_missed_soon_and_one_without_power_later) {
        usec_t missed_usec[2] = {};

        for (unsigned is_silent = 0; is_silent < 2; is_silent++) {
                struct pair t;

                pair_begin(&t, 3);
                t.client.n_to_send = 10;
                peer_connect(&t.client);
                sim_world_run_until(t.world, USEC_PER_SEC);
                sim_process_kill(t.server.process, is_silent);
                ASSERT_ERROR(io_stream_read(t.server.stream, t.bytes, 1), ECANCELED);
                while (!t.client.has_ended && sim_world_step(t.world, USEC_PER_MINUTE))
                        ;
                ASSERT_EQ(t.client.result, -ECONNRESET);
                missed_usec[is_silent] = sim_world_now(t.world) - USEC_PER_SEC;
                pair_end(&t);
        }

        ASSERT_LT(missed_usec[0], 60 * USEC_PER_MSEC);
        ASSERT_GT(missed_usec[1], 60 * USEC_PER_MSEC);
}

TEST(the_same_seed_makes_the_same_run) {
        uint64_t hashes[3];

        for (unsigned i = 0; i < 3; i++) {
                struct pair t;

                pair_begin(&t, i < 2 ? 11 : 12);
                sim_world_net(t.world)->config.crumbs_per_million = 100000;
                peer_connect(&t.client);
                sim_world_run_until(t.world, USEC_PER_SEC);
                hashes[i] = t.trace.hash;
                pair_end(&t);
        }

        ASSERT_EQ(hashes[0], hashes[1]);
        ASSERT_NE(hashes[0], hashes[2]);
}

/* ---- Jobs, timers, crashes ---- */

struct writer {
        struct io_job job;
        struct sim_process *process;
        struct io_file *file;
        struct io_timer timer;
        unsigned n_to_do, n_run, n_done, n_timers, n_crashes;
        usec_t submitted_usec, took_min, took_max;
        int result;
};

static int writer_run(struct io_job *job) {
        struct writer *w = CONTAINER_OF(job, struct writer, job);

        w->n_run++;
        return io_pwrite(w->file, "x", 1, 0) ?: io_fdatasync(w->file);
}

static void writer_submit(struct writer *w) {
        w->submitted_usec = io_now(sim_process_io(w->process));
        io_submit(sim_process_io(w->process), IO_LANE_LOG, &w->job);
}

static void writer_done(struct io_job *job, int r) {
        struct writer *w = CONTAINER_OF(job, struct writer, job);
        usec_t took = io_now(sim_process_io(w->process)) - w->submitted_usec;

        w->result = r;
        w->n_done++;
        w->took_min = MIN(w->took_min, took);
        w->took_max = MAX(w->took_max, took);
        if (w->n_done < w->n_to_do)
                writer_submit(w);
}

static void writer_timer(struct io_timer *t, void *userdata) {
        struct writer *w = userdata;

        w->n_timers++;
        ASSERT_OK(io_timer_set(
                sim_process_io(w->process), t, io_now(sim_process_io(w->process)) + 1000));
}

static void writer_crash(void *userdata) {
        struct writer *w = userdata;

        w->n_crashes++;
        sim_process_kill(w->process, /* is_silent= */ false);
}

static void writer_begin(struct writer *w, struct sim_world *world, struct sim_disk *d) {
        *w = (struct writer){
                .job = { .run = writer_run, .done = writer_done, .queue = 1 },
                .timer = { .on_timer = writer_timer, .userdata = w },
                .n_to_do = 1,
                .took_min = USEC_INFINITY,
        };
        ASSERT_OK(sim_process_new(world, "writer", d, writer_crash, w, &w->process));
        ASSERT_OK(
                io_open(sim_process_io(w->process), "a", IO_OPEN_WRITE | IO_OPEN_CREATE, &w->file));
}

static void writer_end(struct writer *w) {
        sim_process_kill(w->process, /* is_silent= */ false);
        io_cancel(sim_process_io(w->process), &w->job);
        io_timer_cancel(sim_process_io(w->process), &w->timer);
        w->file = io_file_unref(w->file);
        w->process = sim_process_free(w->process);
}

TEST(jobs_take_time_and_complete_from_the_loop) {
        _cleanup_(sim_disk_freep) struct sim_disk *d = NULL;
        _cleanup_(sim_world_freep) struct sim_world *world = NULL;
        struct writer w;

        ASSERT_OK(sim_disk_new(1, &d));
        ASSERT_OK(sim_world_new(1, NULL, &world));
        writer_begin(&w, world, d);
        w.n_to_do = 100;
        writer_submit(&w);
        ASSERT_EQ(w.n_run, 0);
        sim_world_run_until(world, USEC_PER_SEC);
        ASSERT_EQ(w.n_done, 100);
        ASSERT_EQ(w.result, 0);
        ASSERT_GE(w.took_min, sim_disk_speed_default.log_min);
        ASSERT_LE(w.took_max, sim_disk_speed_default.log_max + 1);
        ASSERT_GT(w.took_max, w.took_min + 100);
        writer_end(&w);
}

/* What a job did may be there long before it completes, or only just. */
TEST(a_kill_finds_jobs_not_begun_and_jobs_run_but_not_completed) {
        unsigned n_not_run = 0, n_run = 0;

        for (uint64_t seed = 0; seed < 50; seed++) {
                _cleanup_(sim_disk_freep) struct sim_disk *d = NULL;
                _cleanup_(sim_world_freep) struct sim_world *world = NULL;
                struct writer w;

                ASSERT_OK(sim_disk_new(seed, &d));
                ASSERT_OK(sim_world_new(seed, NULL, &world));
                writer_begin(&w, world, d);
                writer_submit(&w);
                sim_world_run_until(world, 100);
                sim_process_kill(w.process, /* is_silent= */ false);
                sim_world_run_until(world, USEC_PER_SEC);
                ASSERT_EQ(w.n_done * (w.took_max > 100), 0);
                n_run += w.n_run == 1 && w.n_done == 0;
                n_not_run += w.n_run == 0;
                ASSERT_TRUE(w.n_done == 1 || io_job_is_pending(&w.job));
                writer_end(&w);
        }

        ASSERT_GT(n_not_run, 0);
        ASSERT_GT(n_run, 0);
}

TEST(a_disk_that_crashes_in_a_job_ends_the_process_without_a_completion) {
        _cleanup_(sim_disk_freep) struct sim_disk *d = NULL;
        _cleanup_(sim_world_freep) struct sim_world *world = NULL;
        struct writer w;

        ASSERT_OK(sim_disk_new(1, &d));
        ASSERT_OK(sim_world_new(1, NULL, &world));
        writer_begin(&w, world, d);
        w.n_to_do = 100;
        writer_submit(&w);
        ASSERT_OK(io_timer_set(sim_process_io(w.process), &w.timer, 0));
        sim_disk_crash_at(d, 6); /* a write and a sync each */
        sim_world_run_until(world, USEC_PER_SEC);
        ASSERT_EQ(w.n_run, 3);
        ASSERT_EQ(w.n_done, 2);
        ASSERT_EQ(w.n_crashes, 1);
        ASSERT_LT(w.n_timers, 4);
        writer_end(&w);
}

TEST(timers_fire_at_their_time_until_the_process_ends) {
        _cleanup_(sim_disk_freep) struct sim_disk *d = NULL;
        _cleanup_(sim_world_freep) struct sim_world *world = NULL;
        struct writer w;

        ASSERT_OK(sim_disk_new(1, &d));
        ASSERT_OK(sim_world_new(1, NULL, &world));
        writer_begin(&w, world, d);
        ASSERT_OK(io_timer_set(sim_process_io(w.process), &w.timer, 500));
        sim_world_run_until(world, 499);
        ASSERT_EQ(w.n_timers, 0);
        sim_world_run_until(world, 2500);
        ASSERT_EQ(w.n_timers, 3);
        sim_process_kill(w.process, /* is_silent= */ true);
        sim_world_run_until(world, USEC_PER_SEC);
        ASSERT_EQ(w.n_timers, 3);
        writer_end(&w);
}
