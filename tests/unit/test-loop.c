/* SPDX-License-Identifier: Apache-2.0 */
/* What lib/loop promises beyond the contract of struct io (test-io.c): order, threads, sockets, the
 * manager. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/parse.h"
#include "loop/io-loop.h"
#include "loop/journal.h"
#include "loop/listen.h"
#include "loop/log-writer.h"
#include "loop/notify.h"
#include "loop/stream.h"

#define WAIT_USEC (10 * USEC_PER_SEC)

struct world {
        sd_event *event;
        struct io_loop *loop;
        struct io *io;
};

static void begin(struct world *w) {
        ASSERT_OK(sd_event_new(&w->event));
        ASSERT_OK(io_loop_new(w->event, /* config= */ NULL, &w->loop));
        w->io = io_loop_io(w->loop);
}

static void end(struct world *w) {
        w->loop = io_loop_free(w->loop);
        w->event = sd_event_unref(w->event);
}

#define WAIT_FOR(condition)                                                                        \
        do {                                                                                       \
                usec_t _end = usec_add(io_now(w.io), WAIT_USEC);                                   \
                while (!(condition)) {                                                             \
                        ASSERT_LT(io_now(w.io), _end);                                             \
                        ASSERT_OK(sd_event_run(w.event, 10 * USEC_PER_MSEC));                      \
                }                                                                                  \
        } while (0)

/* ---- The order of things ---- */

struct watcher {
        struct io_stream *stream;
        struct io_timer timer;
        unsigned *n_calls; /* of all watchers */
        unsigned n_events;
        unsigned place; /* of the first call */
};

static void on_event(struct watcher *x) {
        if (x->n_events++ == 0)
                x->place = ++*x->n_calls;
}

static void on_stream(_unused_ struct io_stream *s, _unused_ unsigned events, void *userdata) {
        on_event(userdata);
}

static void on_timer(_unused_ struct io_timer *t, void *userdata) {
        on_event(userdata);
}

/* A stream with a byte to read, and the descriptor of its other end. */
static int make_readable(struct world *w, struct watcher *x) {
        int fds[2];

        ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
        ASSERT_EQ(write(fds[1], "x", 1), 1);
        ASSERT_OK(stream_adopt(w->loop, fds[0], on_stream, x, &x->stream));
        io_stream_want(x->stream, IO_STREAM_READABLE);
        return fds[1];
}

TEST(what_is_ready_to_read_comes_before_what_expires) {
        struct watcher streams[5] = {}, timer = { .timer = { on_timer, &timer, {} } };
        unsigned n_calls = 0;
        struct world w;
        int fds[5];

        begin(&w);
        timer.n_calls = &n_calls;
        ASSERT_OK(io_timer_set(w.io, &timer.timer, 0));
        for (unsigned k = 0; k < 5; k++) {
                streams[k].n_calls = &n_calls;
                fds[k] = make_readable(&w, &streams[k]);
        }
        WAIT_FOR(timer.n_events > 0);

        ASSERT_EQ(timer.place, 6);
        for (unsigned k = 0; k < 5; k++) {
                io_stream_close(streams[k].stream);
                fd_close(fds[k]);
        }
        end(&w);
}

TEST(streams_that_are_always_ready_do_not_keep_timers_waiting) {
        struct watcher stream = {}, timer = { .timer = { on_timer, &timer, {} } };
        unsigned n_calls = 0;
        struct world w;
        int fd;

        begin(&w);
        stream.n_calls = timer.n_calls = &n_calls;
        fd = make_readable(&w, &stream);
        WAIT_FOR(stream.n_events > 0);

        for (unsigned k = 1; k <= 10; k++) {
                stream.n_events = 0;
                ASSERT_OK(io_timer_set(w.io, &timer.timer, 0));
                WAIT_FOR(timer.n_events == k);
                ASSERT_LE(stream.n_events,
                          3); /* it was ready all the time, and was handled meanwhile */
                ASSERT_GE(stream.n_events, 1);
        }

        io_stream_close(stream.stream);
        fd_close(fd);
        end(&w);
}

/* ---- Streams that are ready together ---- */

struct crowd {
        struct io_stream *streams[20];
        int fds[20];
        unsigned n_calls;
};

static void on_crowd(struct io_stream *s, _unused_ unsigned events, void *userdata) {
        struct crowd *c = userdata;

        ASSERT_EQ(c->n_calls++, 0);
        for (unsigned k = 0; k < ELEMENTSOF(c->streams); k++)
                if (c->streams[k] != s)
                        c->streams[k] = io_stream_close(c->streams[k]);
        for (unsigned k = 0; k < ELEMENTSOF(c->streams); k++)
                if (c->streams[k])
                        c->streams[k] = io_stream_close(c->streams[k]); /* itself, last */
}

TEST(a_handler_may_close_all_that_are_ready_with_its_stream_and_itself) {
        static struct crowd c;
        struct world w;
        int fds[2];

        begin(&w);
        for (unsigned k = 0; k < ELEMENTSOF(c.streams); k++) {
                ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
                ASSERT_EQ(write(fds[1], "x", 1), 1);
                ASSERT_OK(stream_adopt(w.loop, fds[0], on_crowd, &c, &c.streams[k]));
                io_stream_want(c.streams[k], IO_STREAM_READABLE);
                c.fds[k] = fds[1];
        }
        WAIT_FOR(c.n_calls > 0);
        for (unsigned k = 0; k < 5; k++)
                ASSERT_OK(sd_event_run(w.event, 0));
        ASSERT_EQ(c.n_calls, 1);
        for (unsigned k = 0; k < ELEMENTSOF(c.streams); k++) {
                char byte;

                ASSERT_LE(read(c.fds[k], &byte, 1), 0); /* its end */
                fd_close(c.fds[k]);
        }
        end(&w);
}

TEST(nothing_wakes_up_an_idle_loop) {
        struct watcher stream = {}, timer = { .timer = { on_timer, &timer, {} } };
        unsigned n_calls = 0;
        struct world w;
        int fd;

        begin(&w);
        stream.n_calls = timer.n_calls = &n_calls;
        fd = make_readable(&w, &stream);
        ASSERT_OK(io_timer_set(w.io, &timer.timer, io_now(w.io) + USEC_PER_MSEC));
        WAIT_FOR(timer.n_events == 1 && stream.n_events > 0);

        io_stream_want(stream.stream, 0);
        fd_close(fd); /* what nobody asks for is not told, not even by the kernel to the loop */
        ASSERT_OK(io_timer_set(w.io, &timer.timer, io_now(w.io) + USEC_PER_HOUR));
        while (ASSERT_OK(sd_event_run(w.event, 0)) > 0)
                ;
        ASSERT_EQ(ASSERT_OK(sd_event_run(w.event, 300 * USEC_PER_MSEC)), 0);

        io_timer_cancel(w.io, &timer.timer);
        io_stream_close(stream.stream);
        end(&w);
}

/* ---- Threads ---- */

struct probe {
        struct io_job job;
        pthread_t thread; /* that ran it */
        bool signals_are_blocked;
        atomic_bool is_running, may_end;
        atomic_uint n_runs;
        bool waits; /* for may_end */
        usec_t takes_usec;
        unsigned n_done;
        struct world *w;
};

static int run_probe(struct io_job *job) {
        struct probe *p = CONTAINER_OF(job, struct probe, job);
        usec_t until = now_monotonic_usec() + p->takes_usec;
        sigset_t mask;

        p->thread = pthread_self();
        pthread_sigmask(SIG_SETMASK, NULL, &mask);
        p->signals_are_blocked = sigismember(&mask, SIGTERM) && sigismember(&mask, SIGINT) &&
                                 sigismember(&mask, SIGCHLD);

        atomic_fetch_add(&p->n_runs, 1);
        atomic_store(&p->is_running, true);
        while (now_monotonic_usec() < until || (p->waits && !atomic_load(&p->may_end)))
                sched_yield();
        atomic_store(&p->is_running, false);
        return 0;
}

static void on_probe(struct io_job *job, _unused_ int r) {
        CONTAINER_OF(job, struct probe, job)->n_done++;
}

static void submit_probe(struct world *w, enum io_lane lane, struct probe *p) {
        p->job.run = run_probe;
        p->job.done = on_probe;
        io_submit(w->io, lane, &p->job);
}

/* Whether a job of that size runs on the loop's own thread. */
static bool runs_on_loop(struct world *w_, struct probe *p, size_t n_bytes) {
        struct world w = *w_;

        p->n_done = 0;
        p->job.n_bytes = n_bytes;
        submit_probe(&w, IO_LANE_LOG, p);
        WAIT_FOR(p->n_done > 0);
        return pthread_equal(p->thread, pthread_self());
}

TEST(quick_small_log_writes_run_on_the_loop_and_others_do_not) {
        struct probe p = {};
        struct world w;

        begin(&w);
        ASSERT_FALSE(runs_on_loop(&w, &p, 512)); /* nothing is known yet */
        ASSERT_TRUE(p.signals_are_blocked);
        WAIT_FOR(runs_on_loop(&w, &p, 512)); /* at once, where nothing disturbs the first ones */
        WAIT_FOR(runs_on_loop(&w, &p, LOG_INLINE_BYTES_MAX));
        ASSERT_FALSE(runs_on_loop(&w, &p, LOG_INLINE_BYTES_MAX + 1));
        ASSERT_FALSE(runs_on_loop(&w, &p, 0)); /* who knows how long it takes */

        p.takes_usec = 20 * LOG_INLINE_SYNC_USEC;
        runs_on_loop(&w, &p, 512); /* one slow write is enough */
        ASSERT_FALSE(runs_on_loop(&w, &p, 512));
        p.takes_usec = 0;
        ASSERT_FALSE(runs_on_loop(&w, &p, 512));
        WAIT_FOR(runs_on_loop(&w, &p, 512)); /* after some quick ones */
        end(&w);
}

TEST(a_large_log_write_does_not_overtake_a_small_one_that_waits_for_the_loop) {
        struct probe small = {}, large = { .job.n_bytes = LOG_INLINE_BYTES_MAX + 1 };
        struct world w;
        usec_t until;

        begin(&w);
        WAIT_FOR(runs_on_loop(&w, &small, 512));

        small.n_runs = small.n_done = 0;
        submit_probe(&w, IO_LANE_LOG, &small);
        submit_probe(&w, IO_LANE_LOG, &large);
        for (until = now_monotonic_usec() + 20 * USEC_PER_MSEC; now_monotonic_usec() < until;)
                sched_yield(); /* a thread that had it would run it now */
        ASSERT_EQ(atomic_load(&small.n_runs) + atomic_load(&large.n_runs), 0);

        WAIT_FOR(large.n_done == 1);
        ASSERT_EQ(small.n_done, 1);
        end(&w);
}

TEST(each_log_queue_has_a_thread_of_its_own) {
        struct probe a = { .waits = true, .job.queue = 1 }, b = { .waits = true, .job.queue = 2 };
        struct world w;

        begin(&w);
        submit_probe(&w, IO_LANE_LOG, &a);
        submit_probe(&w, IO_LANE_LOG, &b);
        WAIT_FOR(atomic_load(&a.is_running) && atomic_load(&b.is_running));
        atomic_store(&b.may_end, true);
        WAIT_FOR(b.n_done == 1);
        ASSERT_EQ(a.n_done, 0);
        atomic_store(&a.may_end, true);
        WAIT_FOR(a.n_done == 1);
        end(&w);
}

TEST(two_slow_reads_run_at_once_and_a_third_waits) {
        struct probe p[3] = { { .waits = true }, { .waits = true }, { .waits = true } };
        struct world w;

        begin(&w);
        for (unsigned k = 0; k < 3; k++)
                submit_probe(&w, IO_LANE_READ, &p[k]);
        WAIT_FOR(atomic_load(&p[0].is_running) && atomic_load(&p[1].is_running));
        ASSERT_FALSE(atomic_load(&p[2].is_running));
        atomic_store(&p[0].may_end, true);
        WAIT_FOR(atomic_load(&p[2].is_running));
        ASSERT_EQ(p[0].n_done + p[1].n_done, p[0].n_done);
        atomic_store(&p[1].may_end, true);
        atomic_store(&p[2].may_end, true);
        WAIT_FOR(p[0].n_done == 1 && p[1].n_done == 1 && p[2].n_done == 1);
        end(&w);
}

/* Lets a probe end a while after it is known that somebody waits for it. */
static void *release_later(void *userdata) {
        struct probe *p = userdata;
        usec_t until = now_monotonic_usec() + 20 * USEC_PER_MSEC;

        while (now_monotonic_usec() < until)
                sched_yield();
        atomic_store(&p->may_end, true);
        return NULL;
}

TEST(cancel_waits_for_a_job_that_runs) {
        for (enum io_lane lane = 0; lane < _IO_LANE_MAX; lane++) {
                struct probe p = { .waits = true };
                struct world w;
                pthread_t helper;

                begin(&w);
                submit_probe(&w, lane, &p);
                WAIT_FOR(atomic_load(&p.is_running));
                ASSERT_EQ(pthread_create(&helper, NULL, release_later, &p), 0);
                io_cancel(w.io, &p.job);
                ASSERT_FALSE(atomic_load(&p.is_running));
                ASSERT_TRUE(atomic_load(&p.may_end));
                ASSERT_FALSE(io_job_is_pending(&p.job));
                pthread_join(helper, NULL);

                while (ASSERT_OK(sd_event_run(w.event, 0)) > 0)
                        ;
                ASSERT_EQ(p.n_done, 0);
                end(&w);
        }
}

TEST(free_waits_for_jobs_that_run_and_forgets_those_that_do_not) {
        struct probe running = { .waits = true }, waiting = {};
        struct world w;
        pthread_t helper;

        begin(&w);
        submit_probe(&w, IO_LANE_LOG, &running);
        submit_probe(&w, IO_LANE_LOG, &waiting);
        WAIT_FOR(atomic_load(&running.is_running));
        ASSERT_EQ(pthread_create(&helper, NULL, release_later, &running), 0);
        end(&w);
        ASSERT_FALSE(atomic_load(&running.is_running));
        pthread_join(helper, NULL);
        ASSERT_EQ(running.n_done + waiting.n_done, 0);
        ASSERT_FALSE(io_job_is_pending(&running.job));
        ASSERT_FALSE(io_job_is_pending(&waiting.job));
}

TEST(without_threads_jobs_run_on_the_loop) {
        struct probe p[_IO_LANE_MAX] = {};
        struct rlimit before, none;
        struct world w;

        if (getuid() == 0 && setresuid(65534, 65534, 65534) < 0) /* the limit does not bind root */
                test_skip("cannot give up root");
        ASSERT_OK(prctl(PR_SET_DUMPABLE, 1)); /* LeakSanitizer looks at its own process */
        ASSERT_OK(getrlimit(RLIMIT_NPROC, &before));
        none = (struct rlimit){ .rlim_cur = 0, .rlim_max = before.rlim_max };
        ASSERT_OK(setrlimit(RLIMIT_NPROC, &none));

        begin(&w);
        for (enum io_lane lane = 0; lane < _IO_LANE_MAX; lane++) {
                submit_probe(&w, lane, &p[lane]);
                ASSERT_EQ(p[lane].n_done, 0); /* C1 */
        }
        for (enum io_lane lane = 0; lane < _IO_LANE_MAX; lane++) {
                WAIT_FOR(p[lane].n_done == 1);
                ASSERT_TRUE(pthread_equal(p[lane].thread, pthread_self()));
        }
        end(&w);
        ASSERT_OK(setrlimit(RLIMIT_NPROC, &before));
}

/* ---- Listeners ---- */

struct visitors {
        struct io_stream *streams[8];
        unsigned n;
};

static void on_accept(_unused_ struct listener *l, struct io_stream *s, void *userdata) {
        struct visitors *v = userdata;

        ASSERT_LT(v->n, ELEMENTSOF(v->streams));
        v->streams[v->n++] = s;
}

static void forget_visitors(struct visitors *v) {
        while (v->n > 0)
                io_stream_close(v->streams[--v->n]);
}

static struct address path_address(char path[static 256]) {
        snprintf(path, 256, "%s/socket", test_tmpdir());
        return (struct address){ .path = path };
}

static int connect_path(const char *path) {
        struct sockaddr_un sun = { .sun_family = AF_UNIX };
        int fd;

        snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
        fd = ASSERT_OK(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        ASSERT_OK(connect(fd, (struct sockaddr *) &sun, sizeof(sun)));
        return fd;
}

TEST(a_unix_listener_has_a_mode_a_name_and_takes_its_file_away) {
        struct visitors v = {};
        struct listener *l;
        char path[256], name[300];
        struct address a = path_address(path);
        struct stat st;
        struct world w;
        int fd;

        begin(&w);
        umask(0077);
        ASSERT_OK(listener_new(w.loop, &a, on_accept, &v, &l));
        ASSERT_OK(stat(path, &st));
        ASSERT_TRUE(S_ISSOCK(st.st_mode));
        ASSERT_EQ(st.st_mode & 07777, 0660);
        snprintf(name, sizeof(name), "unix:%s", path);
        ASSERT_STREQ(listener_name(l), name);
        ASSERT_EQ(listener_port(l), 0);

        fd = connect_path(path);
        WAIT_FOR(v.n == 1);
        ASSERT_TRUE(v.streams[0]->is_local);
        ASSERT_EQ(v.streams[0]->uid, getuid());

        forget_visitors(&v);
        listener_free(l);
        ASSERT_EQ(access(path, F_OK), -1);
        fd_close(fd);
        end(&w);
}

TEST(a_unix_listener_replaces_a_stale_file_and_nothing_else) {
        struct visitors v = {};
        struct listener *first, *second;
        char path[256], moved[300];
        struct address a = path_address(path);
        struct stat st;
        struct world w;
        int fd;

        begin(&w);
        ASSERT_OK(listener_new(w.loop, &a, on_accept, &v, &first));
        ASSERT_ERROR(listener_new(w.loop, &a, on_accept, &v, &second), EADDRINUSE);
        fd_close(connect_path(path)); /* still there */

        /* What a listener leaves that was killed: a file that nobody listens on. */
        snprintf(moved, sizeof(moved), "%s.moved", path);
        ASSERT_OK(rename(path, moved));
        listener_free(first); /* does not find its file */
        ASSERT_OK(rename(moved, path));
        ASSERT_OK(listener_new(w.loop, &a, on_accept, &v, &first));
        fd_close(connect_path(path));

        /* Another one has taken the path meanwhile: its file stays. */
        ASSERT_OK(unlink(path));
        ASSERT_OK(listener_new(w.loop, &a, on_accept, &v, &second));
        listener_free(first);
        fd_close(connect_path(path));
        listener_free(second);

        fd = ASSERT_OK(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        ASSERT_EQ(write(fd, "precious", 8), 8);
        fd_close(fd);
        ASSERT_ERROR(listener_new(w.loop, &a, on_accept, &v, &second), EEXIST);
        ASSERT_OK(stat(path, &st));
        ASSERT_EQ(st.st_size, 8);

        forget_visitors(&v);
        end(&w);
}

TEST(a_tcp_listener_tells_its_port_and_refuses_one_in_use) {
        struct address a = { .host = (char *) "127.0.0.1" };
        struct listener *l, *second;
        struct visitors v = {};
        struct world w;
        char name[100];

        begin(&w);
        ASSERT_OK(listener_new(w.loop, &a, on_accept, &v, &l));
        ASSERT_GT(listener_port(l), 0);
        snprintf(name, sizeof(name), "127.0.0.1:%u", listener_port(l));
        ASSERT_STREQ(listener_name(l), name);

        a.port = listener_port(l);
        ASSERT_ERROR(listener_new(w.loop, &a, on_accept, &v, &second), EADDRINUSE);
        listener_free(l);

        a = (struct address){ .host = (char *) "192.0.2.1" }; /* nobody's: RFC 5737 */
        ASSERT_ERROR(listener_new(w.loop, &a, on_accept, &v, &second), EADDRNOTAVAIL);
        end(&w);
}

TEST(without_descriptors_connections_wait_and_the_loop_rests) {
        struct visitors v = {};
        struct rlimit before, now;
        struct listener *l;
        char path[256];
        struct address a = path_address(path);
        struct world w;
        unsigned n_turns = 0;
        usec_t until;
        int fd;

        if (strstr(getenv("LD_PRELOAD") ?: "", "vgpreload"))
                test_skip("valgrind accepts, then closes what is past the limit");

        begin(&w);
        ASSERT_OK(listener_new(w.loop, &a, on_accept, &v, &l));
        fd = connect_path(path);

        ASSERT_OK(getrlimit(RLIMIT_NOFILE, &before));
        now = before;
        now.rlim_cur = (rlim_t) fd; /* all below are taken */
        ASSERT_OK(setrlimit(RLIMIT_NOFILE, &now));
        for (until = io_now(w.io) + 250 * USEC_PER_MSEC; io_now(w.io) < until; n_turns++)
                ASSERT_OK(sd_event_run(w.event, 50 * USEC_PER_MSEC));
        ASSERT_EQ(v.n, 0);
        ASSERT_LT(n_turns, 30);

        ASSERT_OK(setrlimit(RLIMIT_NOFILE, &before));
        WAIT_FOR(v.n == 1);
        forget_visitors(&v);
        listener_free(l);
        fd_close(fd);
        end(&w);
}

TEST(a_listener_that_cannot_have_memory_leaves_nothing) {
        char path[256];
        struct address a = path_address(path);
        struct world w;

        begin(&w);
        FAULT_SWEEP {
                _cleanup_(listener_freep) struct listener *l = NULL;
                int r = listener_new(w.loop, &a, on_accept, NULL, &l);

                if (r < 0) {
                        ASSERT_ERROR(r, ENOMEM);
                        ASSERT_NULL(l);
                        ASSERT_EQ(access(path, F_OK), -1);
                }
        }
        end(&w);
}

/* ---- Connections ---- */

struct caller {
        struct io_stream *s;
        unsigned n_calls;
        unsigned events;
        ssize_t read;
};

static void on_caller(struct io_stream *s, unsigned events, void *userdata) {
        struct caller *c = userdata;
        char byte;

        c->n_calls++;
        c->events |= events;
        if (events & IO_STREAM_READABLE)
                c->read = io_stream_read(s, &byte, 1);
        io_stream_want(s, 0);
}

TEST(a_host_name_is_looked_up_and_its_addresses_are_tried) {
        struct address a = { .host = (char *) "127.0.0.1" };
        struct visitors v = {};
        struct caller c = {};
        struct listener *l;
        struct world w;

        begin(&w);
        ASSERT_OK(listener_new(w.loop, &a, on_accept, &v, &l));

        /* On most machines ::1 comes first, where nobody listens. */
        a = (struct address){ .host = (char *) "localhost", .port = listener_port(l) };
        ASSERT_OK(io_connect(w.io, &a, on_caller, &c, &c.s));
        io_stream_want(c.s, IO_STREAM_WRITABLE);
        WAIT_FOR(c.n_calls == 1 && v.n == 1);
        ASSERT_EQ(c.events, IO_STREAM_WRITABLE);
        ASSERT_FALSE(c.s->is_local);

        forget_visitors(&v);
        io_stream_close(c.s);
        listener_free(l);
        end(&w);
}

TEST(a_name_that_means_nothing_breaks_the_stream) {
        char name[400];
        struct address a = { .host = name, .port = 9 };
        struct caller c = {};
        struct world w;

        memset(name, 'x', sizeof(name)); /* longer than a name can be: nobody has to be asked */
        name[sizeof(name) - 1] = '\0';

        begin(&w);
        ASSERT_OK(io_connect(w.io, &a, on_caller, &c, &c.s));
        io_stream_want(c.s, IO_STREAM_READABLE);
        WAIT_FOR(c.n_calls == 1);
        ASSERT_ERROR(c.read, ENXIO);
        io_stream_close(c.s);
        end(&w);
}

TEST(a_stream_may_be_closed_while_its_name_is_looked_up) {
        struct address a = { .host = (char *) "localhost", .port = 9 };
        struct caller c = {}, last = {};
        struct world w;

        for (unsigned k = 0; k < 20; k++) {
                begin(&w);
                for (unsigned m = 0; m < 4; m++) {
                        ASSERT_OK(io_connect(w.io, &a, on_caller, &c, &c.s));
                        io_stream_want(c.s, IO_STREAM_READABLE);
                        if (k % 2 == 0)
                                ASSERT_OK(sd_event_run(w.event, 0));
                        io_stream_close(c.s);
                }
                if (k % 3 == 0) { /* the lookups come to their end, and find nobody */
                        ASSERT_OK(io_connect(w.io, &a, on_caller, &last, &last.s));
                        io_stream_want(last.s, IO_STREAM_READABLE);
                        WAIT_FOR(last.n_calls > 0);
                        last.n_calls = 0;
                        io_stream_close(last.s);
                }
                end(&w); /* whether they have come to their end or not */
        }
        ASSERT_EQ(c.n_calls, 0);
}

TEST(a_socket_path_that_is_too_long_breaks_the_stream) {
        char path[300];
        struct address a = { .path = path };
        struct caller c = {};
        struct world w;

        memset(path, 'x', sizeof(path));
        path[sizeof(path) - 1] = '\0';

        begin(&w);
        ASSERT_OK(io_connect(w.io, &a, on_caller, &c, &c.s));
        io_stream_want(c.s, IO_STREAM_WRITABLE); /* also to those who only want to write */
        WAIT_FOR(c.n_calls == 1);
        ASSERT_EQ(c.events, IO_STREAM_WRITABLE);
        ASSERT_ERROR(io_stream_writev(c.s, &(struct iovec){ path, 1 }, 1), ENAMETOOLONG);
        io_stream_close(c.s);
        end(&w);
}

/* unix(7): connect(2) says EAGAIN where the queue is full. A stream that is not open yet says so too,
 * and would be waited for. */
TEST(a_unix_socket_that_takes_nobody_breaks_the_stream) {
        _cleanup_(mem_freep) char *path = mem_asprintf("%s/full", test_tmpdir());
        struct sockaddr_un full = { .sun_family = AF_UNIX };
        struct address a = { .path = path };
        int listening, fds[16], n = 0;
        struct caller c = {};
        struct world w;
        char byte;

        begin(&w);
        ASSERT_LT(strlen(path), sizeof(full.sun_path));
        memcpy(full.sun_path, path, strlen(path));
        listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ASSERT_OK(bind(listening, (struct sockaddr *) &full, sizeof(full)));
        ASSERT_OK(listen(listening, 0));
        for (;;) {
                ASSERT_LT(n, (int) ELEMENTSOF(fds));
                fds[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
                if (connect(fds[n++], (struct sockaddr *) &full, sizeof(full)) < 0)
                        break;
        }
        ASSERT_EQ(errno, EAGAIN);

        ASSERT_OK(io_connect(w.io, &a, on_caller, &c, &c.s));
        io_stream_want(c.s, IO_STREAM_READABLE);
        WAIT_FOR(c.n_calls == 1);
        ASSERT_ERROR(io_stream_read(c.s, &byte, 1), ECONNREFUSED);
        io_stream_close(c.s);
        while (n > 0)
                fd_close(fds[--n]);
        fd_close(listening);
        end(&w);
}

TEST(a_connection_that_cannot_have_memory_leaves_nothing) {
        struct address a = { .host = (char *) "127.0.0.1" };
        struct visitors v = {};
        struct listener *l;
        struct world w;

        begin(&w);
        ASSERT_OK(listener_new(w.loop, &a, on_accept, &v, &l));
        a.port = listener_port(l);
        FAULT_SWEEP {
                struct io_stream *s = NULL;
                int r = io_connect(w.io, &a, on_caller, NULL, &s);

                if (r < 0) {
                        ASSERT_ERROR(r, ENOMEM);
                        ASSERT_NULL(s);
                } else
                        io_stream_close(s);
        }
        listener_free(l);
        end(&w);
}

TEST(a_loop_that_cannot_have_memory_leaves_nothing) {
        sd_event *event;

        ASSERT_OK(sd_event_new(&event));
        FAULT_SWEEP {
                _cleanup_(io_loop_freep) struct io_loop *l = NULL;
                int r = io_loop_new(event, /* config= */ NULL, &l);

                if (r < 0) {
                        ASSERT_ERROR(r, ENOMEM);
                        ASSERT_NULL(l);
                }
        }
        sd_event_unref(event);
}

TEST(a_loop_may_be_used_until_it_is_freed_also_when_it_is_over) {
        struct watcher stream = {}, timer = { .timer = { on_timer, &timer, {} } };
        struct probe p = {};
        unsigned n_calls = 0;
        struct world w;
        int fd;

        begin(&w);
        stream.n_calls = timer.n_calls = &n_calls;
        fd = make_readable(&w, &stream);
        ASSERT_OK(sd_event_exit(w.event, 0));
        ASSERT_OK(sd_event_loop(w.event));

        ASSERT_OK(io_timer_set(w.io, &timer.timer, 0));
        ASSERT_OK(io_timer_set(w.io, &timer.timer, io_now(w.io) + USEC_PER_SEC));
        io_timer_cancel(w.io, &timer.timer);
        submit_probe(&w, IO_LANE_LOG, &p);
        io_cancel(w.io, &p.job);
        io_stream_want(stream.stream, IO_STREAM_WRITABLE);
        io_stream_want(stream.stream, 0);
        io_stream_close(stream.stream);
        fd_close(fd);
        end(&w);
}

/* ---- The manager and the journal ---- */

static void assert_notified(int fd, const char *expected) {
        char buffer[600] = {};

        ASSERT_GT(recv(fd, buffer, sizeof(buffer) - 1, MSG_DONTWAIT), 0);
        ASSERT_STREQ(buffer, expected);
}

TEST(the_manager_is_told) {
        struct sockaddr_un sun = { .sun_family = AF_UNIX };
        int fd;

        snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/notify", test_tmpdir());
        fd = ASSERT_OK(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        ASSERT_OK(bind(fd, (struct sockaddr *) &sun, sizeof(sun)));
        ASSERT_OK(setenv("NOTIFY_SOCKET", sun.sun_path, /* replace= */ 1));

        notify_ready();
        assert_notified(fd, "READY=1");
        notify_status("Leads %d shards\nREADY=0", 3);
        assert_notified(fd, "STATUS=Leads 3 shards READY=0");
        notify_stopping();
        assert_notified(fd, "STOPPING=1");

        ASSERT_OK(unsetenv("NOTIFY_SOCKET"));
        notify_ready(); /* nobody is there */
        fd_close(fd);
}

TEST(the_journal_is_the_sink_only_if_stderr_goes_there) {
        char stream[64];
        struct stat st;

        ASSERT_OK(unsetenv("JOURNAL_STREAM"));
        ASSERT_FALSE(journal_is_stderr());

        ASSERT_OK(fstat(STDERR_FILENO, &st));
        snprintf(stream,
                 sizeof(stream),
                 "%llu:%llu",
                 (unsigned long long) st.st_dev,
                 (unsigned long long) st.st_ino);
        ASSERT_OK(setenv("JOURNAL_STREAM", stream, /* replace= */ 1));
        ASSERT_TRUE(journal_is_stderr());

        snprintf(stream,
                 sizeof(stream),
                 "%llu:%llu",
                 (unsigned long long) st.st_dev,
                 (unsigned long long) st.st_ino + 1);
        ASSERT_OK(setenv("JOURNAL_STREAM", stream, /* replace= */ 1));
        ASSERT_FALSE(journal_is_stderr());
        ASSERT_EQ(journal_set_sink(), 0);
        ASSERT_OK(setenv("JOURNAL_STREAM", "nonsense", /* replace= */ 1));
        ASSERT_FALSE(journal_is_stderr());
}
