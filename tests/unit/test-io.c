/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract of struct io (io/io.h), and each implementation held to it: CONTRACT(name) is one
 * case for every row of IMPLEMENTATIONS.
 */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <systemd/sd-event.h>

#include "base/parse.h"
#include "io/io-posix.h"
#include "loop/io-loop.h"
#include "loop/listen.h"
#include "tests/sim/disk.h"
#include "tests/sim/world.h"

#define WAIT_USEC (10 * USEC_PER_SEC)

/* One implementation at work. */
struct stage {
        struct io *io;

        sd_event *event;
        struct io_loop *loop;
        struct listener *listener;
        char *listener_path;
        struct sim_disk *disk;
        struct sim_world *world;
        struct sim_process *process;

        /* Of the stream that was accepted last. */
        struct io_stream *accepted;
        unsigned n_accepted;
};

struct implementation {
        void (*begin)(struct stage *w);
        void (*end)(struct stage *w);
        /* Lets callbacks be called: waits for the first for about a millisecond. */
        void (*step)(struct stage *w);
        /* Where w->accepted comes from; NULL: there are no streams. */
        void (*listen)(struct stage *w, struct address *ret);
        void (*unlisten)(struct stage *w);
};

/* ---- Implementations ---- */

static void begin_posix(struct stage *w) {
        ASSERT_OK(io_posix_new(test_tmpdir(), &w->io));
}

static void end_posix(struct stage *w) {
        w->io = io_posix_free(w->io);
}

static void step_posix(struct stage *w) {
        ASSERT_OK(io_posix_dispatch(w->io, USEC_PER_MSEC));
}

static void make_loop(struct stage *w, bool log_threads_only) {
        const struct io_loop_config config = {
                .root = test_tmpdir(),
                .log_threads_only = log_threads_only,
        };

        ASSERT_OK(sd_event_new(&w->event));
        ASSERT_OK(io_loop_new(w->event, &config, &w->loop));
        w->io = io_loop_io(w->loop);
}

static void begin_loop(struct stage *w) {
        make_loop(w, /* log_threads_only= */ false);
}

static void begin_loop_threads(struct stage *w) {
        make_loop(w, /* log_threads_only= */ true);
}

static void end_loop(struct stage *w) {
        w->listener = listener_free(w->listener);
        w->listener_path = mem_free(w->listener_path);
        w->loop = io_loop_free(w->loop);
        w->event = sd_event_unref(w->event);
}

static void step_loop(struct stage *w) {
        ASSERT_OK(sd_event_run(w->event, USEC_PER_MSEC));
}

static void on_accept(_unused_ struct listener *l, struct io_stream *s, void *userdata) {
        struct stage *w = userdata;

        w->accepted = s;
        w->n_accepted++;
}

static void listen_loop(struct stage *w, struct address *ret) {
        w->listener_path = mem_asprintf("%s/socket", test_tmpdir());
        ASSERT_NOT_NULL(w->listener_path);

        *ret = (struct address){ .path = w->listener_path };
        ASSERT_OK(listener_new(w->loop, ret, on_accept, w, &w->listener));
}

static void listen_loop_tcp(struct stage *w, struct address *ret) {
        *ret = (struct address){ .host = (char *) "127.0.0.1" };
        ASSERT_OK(listener_new(w->loop, ret, on_accept, w, &w->listener));
        ret->port = listener_port(w->listener);
}

static void unlisten_loop(struct stage *w) {
        w->listener = listener_free(w->listener);
}

static void begin_disk(struct stage *w) {
        ASSERT_OK(sim_disk_new(/* seed= */ 1, &w->disk));
        w->io = sim_disk_io(w->disk);
}

static void end_disk(struct stage *w) {
        w->disk = sim_disk_free(w->disk);
}

static void step_disk(struct stage *w) {
        sim_disk_run_job(w->disk);
        sim_disk_advance(w->disk, USEC_PER_MSEC);
}

static void begin_world(struct stage *w) {
        ASSERT_OK(sim_world_new(/* seed= */ 1, /* trace= */ NULL, &w->world));
        ASSERT_OK(sim_disk_new(/* seed= */ 2, &w->disk));
        ASSERT_OK(sim_process_new(w->world, "p", w->disk, /* on_crash= */ NULL, NULL, &w->process));
        w->io = sim_process_io(w->process);
}

static void end_world(struct stage *w) {
        w->process = sim_process_free(w->process);
        w->disk = sim_disk_free(w->disk);
        w->world = sim_world_free(w->world);
}

static void step_world(struct stage *w) {
        sim_world_run_until(w->world, sim_world_now(w->world) + USEC_PER_MSEC);
}

static void accept_world(void *userdata, struct io_stream *s) {
        struct stage *w = userdata;

        w->accepted = s;
        w->n_accepted++;
}

static void listen_world(struct stage *w, struct address *ret) {
        *ret = (struct address){ .host = (char *) "there", .port = 1 };
        sim_port_listen(sim_process_port(w->process), "there:1", accept_world, w);
}

static void unlisten_world(struct stage *w) {
        sim_port_unlisten(sim_process_port(w->process));
}

static const struct implementation posix = {
        .begin = begin_posix,
        .end = end_posix,
        .step = step_posix,
};
static const struct implementation loop = {
        .begin = begin_loop,
        .end = end_loop,
        .step = step_loop,
        .listen = listen_loop,
        .unlisten = unlisten_loop,
};
static const struct implementation loop_tcp = {
        .begin = begin_loop,
        .end = end_loop,
        .step = step_loop,
        .listen = listen_loop_tcp,
        .unlisten = unlisten_loop,
};
static const struct implementation loop_threads = {
        .begin = begin_loop_threads,
        .end = end_loop,
        .step = step_loop,
};
static const struct implementation disk = {
        .begin = begin_disk,
        .end = end_disk,
        .step = step_disk,
};
static const struct implementation world = {
        .begin = begin_world,
        .end = end_world,
        .step = step_world,
        .listen = listen_world,
        .unlisten = unlisten_world,
};

#define IMPLEMENTATIONS(X, name)                                                                   \
        X(posix, name) X(loop, name) X(loop_threads, name) X(disk, name) X(world, name)

/* Where time goes on by itself while callbacks run. */
#define IMPLEMENTATIONS_IN_REAL_TIME(X, name) X(posix, name) X(loop, name) X(loop_threads, name)

#define IMPLEMENTATIONS_WITH_STREAMS(X, name) X(loop, name) X(loop_tcp, name) X(world, name)

static void run_contract(const struct implementation *i,
                         void (*body)(struct stage *w, const struct implementation *i)) {
        struct stage w = {};

        i->begin(&w);
        body(&w, i);
        i->end(&w);
}

#define CONTRACT_CASE(implementation, name)                                                        \
        TEST(implementation##_##name) {                                                            \
                run_contract(&implementation, name);                                               \
        }
#define CONTRACT_OF(list, name)                                                                    \
        static void name(struct stage *w, const struct implementation *i);                         \
        list(CONTRACT_CASE, name) static void name(_unused_ struct stage *w,                       \
                                                   _unused_ const struct implementation *i)
#define CONTRACT(name) CONTRACT_OF(IMPLEMENTATIONS, name)
#define CONTRACT_IN_REAL_TIME(name) CONTRACT_OF(IMPLEMENTATIONS_IN_REAL_TIME, name)
#define CONTRACT_STREAMS(name) CONTRACT_OF(IMPLEMENTATIONS_WITH_STREAMS, name)

#define WAIT_FOR(condition)                                                                        \
        do {                                                                                       \
                usec_t _end = usec_add(io_now(w->io), WAIT_USEC);                                  \
                while (!(condition)) {                                                             \
                        ASSERT_LT(io_now(w->io), _end);                                            \
                        i->step(w);                                                                \
                }                                                                                  \
        } while (0)

/* ---- Time and chance ---- */

CONTRACT(clocks_go_on) {
        usec_t before = io_now(w->io);
        int64_t wall_before_ms = io_wall_ms(w->io);

        WAIT_FOR(io_now(w->io) > before + 2 * USEC_PER_MSEC);
        ASSERT_GT(io_wall_ms(w->io), wall_before_ms);
}

CONTRACT(random_fills_all_bytes) {
        uint8_t bytes[1000] = {}, seen = 0;

        ASSERT_NE(io_random_u64(w->io), io_random_u64(w->io));

        io_random(w->io, bytes, sizeof(bytes));
        for (size_t k = 0; k < sizeof(bytes); k += 100) {
                for (size_t m = 0; m < 100; m++)
                        seen |= bytes[k + m];
                ASSERT_NE(seen, 0);
                seen = 0;
        }
}

/* ---- Files ---- */

static struct io_file *create(struct stage *w, const char *path, const char *text) {
        struct io_file *f;

        ASSERT_OK(io_open(w->io, path, IO_OPEN_READ | IO_OPEN_WRITE | IO_OPEN_CREATE, &f));
        ASSERT_OK(io_pwrite(f, text, strlen(text), 0));
        return f;
}

static void assert_holds(struct stage *w, const char *path, const char *text) {
        _cleanup_(io_file_unrefp) struct io_file *f = NULL;
        char buffer[100] = {};

        ASSERT_OK(io_open(w->io, path, IO_OPEN_READ, &f));
        ASSERT_EQ(io_pread(f, buffer, sizeof(buffer), 0, 0), strlen(text));
        ASSERT_STREQ(buffer, text);
}

CONTRACT(open_makes_nothing_by_itself) {
        struct io_file *f;

        ASSERT_ERROR(io_open(w->io, "a", IO_OPEN_READ, &f), ENOENT);
        ASSERT_ERROR(io_open(w->io, "a", IO_OPEN_READ | IO_OPEN_WRITE, &f), ENOENT);
        ASSERT_ERROR(io_open(w->io, "none/a", IO_OPEN_WRITE | IO_OPEN_CREATE, &f), ENOENT);
}

CONTRACT(create_refuses_what_is_there) {
        struct io_file *f;

        io_file_unref(create(w, "a", "hello"));
        ASSERT_ERROR(io_open(w->io, "a", IO_OPEN_WRITE | IO_OPEN_CREATE, &f), EEXIST);
        assert_holds(w, "a", "hello");
}

CONTRACT(what_is_written_is_read) {
        _cleanup_(io_file_unrefp) struct io_file *f = create(w, "a", "hello");
        uint8_t buffer[3000], zeroes[3000] = {};
        uint64_t size;

        ASSERT_OK(io_pwrite(f, "world", 5, 2000)); /* what is between is a hole */
        ASSERT_OK(io_pwrite(f, "J", 1, 0));
        ASSERT_OK(io_file_size(f, &size));
        ASSERT_EQ(size, 2005);

        ASSERT_EQ(io_pread(f, buffer, sizeof(buffer), 0, 0), 2005);
        ASSERT_MEM(buffer, "Jello", 5);
        ASSERT_MEM(buffer + 5, zeroes, 1995);
        ASSERT_MEM(buffer + 2000, "world", 5);

        ASSERT_EQ(io_pread(f, buffer, 3, 2001, 0), 3);
        ASSERT_MEM(buffer, "orl", 3);
        ASSERT_EQ(io_pread(f, buffer, 100, 2005, 0), 0);
        ASSERT_EQ(io_pread(f, buffer, 100, 1 << 20, 0), 0);
        ASSERT_OK(io_fdatasync(f));
}

CONTRACT(read_only_files_are_not_written) {
        _cleanup_(io_file_unrefp) struct io_file *f = NULL;

        io_file_unref(create(w, "a", "hello"));
        ASSERT_OK(io_open(w->io, "a", IO_OPEN_READ, &f));
        ASSERT_LT(io_pwrite(f, "x", 1, 0), 0);
        assert_holds(w, "a", "hello");
}

CONTRACT(direct_reads_take_any_place_and_length) {
        static const struct {
                uint64_t pos;
                size_t n;
                ssize_t expected;
        } reads[] = {
                { 0, 10000, 10000 },  { 0, 512, 512 },      { 1, 1, 1 },      { 511, 2, 2 },
                { 4095, 4098, 4098 }, { 4096, 4096, 4096 }, { 9999, 1, 1 },   { 9999, 500, 1 },
                { 10000, 1, 0 },      { 8000, 9000, 2000 }, { 20000, 10, 0 },
        };
        _cleanup_(io_file_unrefp) struct io_file *f = create(w, "a", ""), *direct = NULL;
        uint8_t written[10000], buffer[20000];

        for (size_t k = 0; k < sizeof(written); k++)
                written[k] = (uint8_t) (k % 251);
        ASSERT_OK(io_pwrite(f, written, sizeof(written), 0));
        ASSERT_OK(io_fdatasync(f));

        ASSERT_OK(io_open(w->io, "a", IO_OPEN_READ | IO_OPEN_WRITE | IO_OPEN_DIRECT, &direct));
        for (size_t k = 0; k < ELEMENTSOF(reads); k++) {
                memset(buffer, 0xee, sizeof(buffer));
                ASSERT_EQ(io_pread(direct, buffer, reads[k].n, reads[k].pos, 0), reads[k].expected);
                if (reads[k].expected > 0)
                        ASSERT_MEM(buffer, written + reads[k].pos, (size_t) reads[k].expected);
                ASSERT_EQ(buffer[reads[k].expected], 0xee);
        }

        /* Writes of such a file are ordinary ones. */
        ASSERT_OK(io_pwrite(direct, "xyz", 3, 777));
        ASSERT_OK(io_fdatasync(direct));
        ASSERT_EQ(io_pread(direct, buffer, 5, 776, 0), 5);
        ASSERT_MEM(buffer + 1, "xyz", 3);
}

CONTRACT(large_direct_reads_are_whole) {
        enum { SIZE = 3 * 1024 * 1024 + 700 };
        _cleanup_(io_file_unrefp) struct io_file *f = create(w, "a", ""), *direct = NULL;
        _cleanup_(mem_freep) uint8_t *written = new (uint8_t, SIZE), *buffer = new0(uint8_t, SIZE);

        for (size_t k = 0; k < SIZE; k++)
                written[k] = (uint8_t) (k >> 8 ^ k);
        ASSERT_OK(io_pwrite(f, written, SIZE, 0));
        ASSERT_OK(io_fdatasync(f));

        ASSERT_OK(io_open(w->io, "a", IO_OPEN_READ | IO_OPEN_DIRECT, &direct));
        ASSERT_EQ(io_pread(direct, buffer, SIZE - 300, 300, 0), SIZE - 300);
        ASSERT_MEM(buffer, written + 300, SIZE - 300);
}

CONTRACT(aligned_direct_reads_end_with_the_file) {
        enum { SIZE = 2 * 4096 + 700 };
        static _Alignas(4096) uint8_t buffer[4 * 4096];
        _cleanup_(io_file_unrefp) struct io_file *f = create(w, "a", ""), *direct = NULL;
        uint8_t written[SIZE];

        for (size_t k = 0; k < SIZE; k++)
                written[k] = (uint8_t) (k >> 8 ^ k);
        ASSERT_OK(io_pwrite(f, written, SIZE, 0));
        ASSERT_OK(io_fdatasync(f));

        ASSERT_OK(io_open(w->io, "a", IO_OPEN_READ | IO_OPEN_DIRECT, &direct));
        ASSERT_EQ(io_pread(direct, buffer, sizeof(buffer), 0, 0), SIZE);
        ASSERT_MEM(buffer, written, SIZE);
        ASSERT_EQ(io_pread(direct, buffer, sizeof(buffer), 2 * 4096, 0), 700);
        ASSERT_MEM(buffer, written + 2 * 4096, 700);
        ASSERT_EQ(io_pread(direct, buffer, 4096, 3 * 4096, 0), 0);
}

/* procfs(5) is one that does, on every machine. */
TEST(direct_reads_work_where_the_file_system_refuses_them) {
        _cleanup_(io_file_unrefp) struct io_file *plain = NULL, *direct = NULL;
        char expected[1000], buffer[1000];
        struct io *io;
        ssize_t n;

        ASSERT_ERROR(open("/proc/version", O_RDONLY | O_CLOEXEC | O_DIRECT) < 0 ? -errno : 0,
                     EINVAL);

        ASSERT_OK(io_posix_new(/* root= */ NULL, &io));
        ASSERT_OK(io_open(io, "/proc/version", IO_OPEN_READ, &plain));
        n = ASSERT_OK(io_pread(plain, expected, sizeof(expected), 0, 0));
        ASSERT_GT(n, 10);

        ASSERT_OK(io_open(io, "/proc/version", IO_OPEN_READ | IO_OPEN_DIRECT, &direct));
        ASSERT_EQ(io_pread(direct, buffer, sizeof(buffer), 3, 0), n - 3);
        ASSERT_MEM(buffer, expected + 3, (size_t) n - 3);

        plain = io_file_unref(plain);
        direct = io_file_unref(direct);
        io_posix_free(io);
}

CONTRACT(nowait_reads_all_or_says_later) {
        _cleanup_(io_file_unrefp) struct io_file *f = create(w, "a", "hello");
        char buffer[10] = {};
        ssize_t k;

        k = io_pread(f, buffer, 5, 0, IO_READ_NOWAIT);
        if (k != -EAGAIN) {
                ASSERT_EQ(k, 5);
                ASSERT_STREQ(buffer, "hello");
        }
        k = io_pread(f, buffer, 5, 100, IO_READ_NOWAIT);
        ASSERT_TRUE(k == 0 || k == -EAGAIN);
}

CONTRACT(truncate_cuts_and_grows_with_zeroes) {
        _cleanup_(io_file_unrefp) struct io_file *f = create(w, "a", "hello");
        char buffer[10];
        uint64_t size;

        ASSERT_OK(io_truncate(f, 2));
        ASSERT_OK(io_truncate(f, 4));
        ASSERT_OK(io_file_size(f, &size));
        ASSERT_EQ(size, 4);
        ASSERT_EQ(io_pread(f, buffer, 10, 0, 0), 4);
        ASSERT_MEM(buffer, "he\0\0", 4);
}

CONTRACT(lock_is_exclusive_and_ends_with_the_file) {
        struct io_file *first = create(w, "a", ""), *second;

        ASSERT_OK(io_open(w->io, "a", IO_OPEN_READ | IO_OPEN_WRITE, &second));
        ASSERT_OK(io_lock(first));
        ASSERT_ERROR(io_lock(second), EBUSY);
        io_file_unref(first);
        ASSERT_OK(io_lock(second));
        io_file_unref(second);
}

CONTRACT(rename_replaces) {
        io_file_unref(create(w, "a", "new"));
        io_file_unref(create(w, "b", "old"));

        ASSERT_OK(io_rename(w->io, "a", "b"));
        assert_holds(w, "b", "new");
        ASSERT_ERROR(io_stat(w->io, "a", &(struct io_stat){}), ENOENT);
        ASSERT_ERROR(io_rename(w->io, "a", "b"), ENOENT);
        assert_holds(w, "b", "new");
        ASSERT_OK(io_sync_dir(w->io, "."));
}

CONTRACT(link_is_the_same_file_and_replaces_nothing) {
        _cleanup_(io_file_unrefp) struct io_file *f = create(w, "a", "hello");
        struct io_stat st;

        ASSERT_OK(io_link(w->io, "a", "b"));
        ASSERT_OK(io_pwrite(f, "J", 1, 0));
        assert_holds(w, "b", "Jello");
        ASSERT_OK(io_stat(w->io, "b", &st));
        ASSERT_EQ(st.n_links, 2);
        ASSERT_ERROR(io_link(w->io, "a", "b"), EEXIST);
        ASSERT_ERROR(io_link(w->io, "none", "c"), ENOENT);

        ASSERT_OK(io_unlink(w->io, "a"));
        ASSERT_OK(io_stat(w->io, "b", &st));
        ASSERT_EQ(st.n_links, 1);
}

CONTRACT(unlinked_files_live_until_closed) {
        _cleanup_(io_file_unrefp) struct io_file *f = create(w, "a", "hello");
        char buffer[5];

        ASSERT_OK(io_unlink(w->io, "a"));
        ASSERT_ERROR(io_unlink(w->io, "a"), ENOENT);
        ASSERT_EQ(io_pread(f, buffer, 5, 0, 0), 5);
        ASSERT_MEM(buffer, "hello", 5);
        io_file_unref(create(w, "a", "another"));
        ASSERT_EQ(io_pread(f, buffer, 5, 0, 0), 5);
        ASSERT_MEM(buffer, "hello", 5);
}

CONTRACT(folders_are_made_listed_and_removed) {
        struct io_stat st;
        char **names;
        size_t n;

        ASSERT_OK(io_mkdir(w->io, "d"));
        ASSERT_ERROR(io_mkdir(w->io, "d"), EEXIST);
        ASSERT_ERROR(io_mkdir(w->io, "none/d"), ENOENT);
        ASSERT_OK(io_stat(w->io, "d", &st));
        ASSERT_TRUE(st.is_dir);

        ASSERT_OK(io_list(w->io, "d", &names, &n));
        ASSERT_EQ(n, 0);
        io_names_free(names, n);

        io_file_unref(create(w, "d/b", ""));
        io_file_unref(create(w, "d/\xc3\xa4", ""));
        io_file_unref(create(w, "d/B", "12345"));
        io_file_unref(create(w, "d/.hidden", ""));
        ASSERT_OK(io_mkdir(w->io, "d/a"));
        ASSERT_OK(io_sync_dir(w->io, "d"));

        ASSERT_OK(io_list(w->io, "d", &names, &n));
        ASSERT_EQ(n, 5);
        ASSERT_STREQ(names[0], ".hidden");
        ASSERT_STREQ(names[1], "B");
        ASSERT_STREQ(names[2], "a");
        ASSERT_STREQ(names[3], "b");
        ASSERT_STREQ(names[4], "\xc3\xa4");
        io_names_free(names, n);

        ASSERT_OK(io_stat(w->io, "d/B", &st));
        ASSERT_FALSE(st.is_dir);
        ASSERT_EQ(st.size_bytes, 5);
        ASSERT_EQ(st.n_links, 1);

        ASSERT_ERROR(io_rmdir(w->io, "d"), ENOTEMPTY);
        ASSERT_OK(io_rmdir(w->io, "d/a"));
        ASSERT_ERROR(io_rmdir(w->io, "d/a"), ENOENT);
        ASSERT_ERROR(io_list(w->io, "d/a", &names, &n), ENOENT);
        ASSERT_ERROR(io_sync_dir(w->io, "d/a"), ENOENT);
}

CONTRACT(space_is_told) {
        uint64_t n_free, n_total;

        ASSERT_OK(io_space(w->io, ".", &n_free, &n_total));
        ASSERT_GT(n_total, 0);
        ASSERT_LE(n_free, n_total);
}

CONTRACT(files_survive_a_lack_of_memory) {
        io_file_unref(create(w, "a", "hello"));
        io_file_unref(create(w, "b", ""));

        FAULT_SWEEP {
                _cleanup_(io_file_unrefp) struct io_file *f = NULL;
                char **names = NULL, buffer[5];
                ssize_t k;
                size_t n;
                int r;

                r = io_list(w->io, ".", &names, &n);
                if (r < 0) {
                        ASSERT_ERROR(r, ENOMEM);
                        ASSERT_NULL(names);
                        continue;
                }
                io_names_free(names, n);

                r = io_open(w->io, "a", IO_OPEN_READ | IO_OPEN_DIRECT, &f);
                if (r < 0) {
                        ASSERT_ERROR(r, ENOMEM);
                        ASSERT_NULL(f);
                        continue;
                }
                k = io_pread(f, buffer, 5, 0, 0);
                if (k < 0) {
                        ASSERT_ERROR(k, ENOMEM);
                        continue;
                }
                ASSERT_MEM(buffer, "hello", 5);
        }
}

/* ---- Jobs ---- */

#define N_JOBS 100

struct test_job {
        struct io_job job;
        struct stage *w;
        unsigned number;
        unsigned n_done;
        int result;
        struct io_file *file;       /* written to, if set */
        unsigned *n_all_done;       /* counts, and gives the order */
        unsigned place;             /* in that order, from 1 */
        struct test_job *to_cancel; /* by done() */
        bool again;                 /* submits itself once more */
};

static int run_job(struct io_job *job) {
        struct test_job *t = CONTAINER_OF(job, struct test_job, job);
        int r;

        if (!t->file)
                return (int) t->number;

        r = io_pwrite(t->file, "0123456789", 10, 10 * t->number);
        if (r < 0)
                return r;
        return io_fdatasync(t->file);
}

static void on_done(struct io_job *job, int r) {
        struct test_job *t = CONTAINER_OF(job, struct test_job, job);

        ASSERT_FALSE(io_job_is_pending(job));
        t->n_done++;
        t->result = r;
        t->place = ++*t->n_all_done;
        if (t->to_cancel)
                io_cancel(t->w->io, &t->to_cancel->job);
        if (t->again) {
                t->again = false;
                io_submit(t->w->io, job->lane, job);
        }
}

static void make_jobs(struct stage *w, struct test_job *jobs, unsigned n, unsigned *n_done) {
        for (unsigned k = 0; k < n; k++)
                jobs[k] = (struct test_job){
                        .job = { .run = run_job, .done = on_done, .n_bytes = 10 },
                        .w = w,
                        .number = k,
                        .n_all_done = n_done,
                };
}

CONTRACT(jobs_complete_later_with_their_result) {
        struct test_job jobs[_IO_LANE_MAX * N_JOBS];
        unsigned n_done = 0;

        make_jobs(w, jobs, ELEMENTSOF(jobs), &n_done);
        for (unsigned k = 0; k < ELEMENTSOF(jobs); k++) {
                io_submit(w->io, k % _IO_LANE_MAX, &jobs[k].job);
                ASSERT_TRUE(io_job_is_pending(&jobs[k].job));
                ASSERT_EQ(n_done, 0); /* C1 */
        }
        WAIT_FOR(n_done == ELEMENTSOF(jobs));

        for (unsigned k = 0; k < ELEMENTSOF(jobs); k++) {
                ASSERT_EQ(jobs[k].n_done, 1);
                ASSERT_EQ(jobs[k].result, k);
        }
}

CONTRACT(log_jobs_of_a_queue_keep_their_order) {
        _cleanup_(io_file_unrefp) struct io_file *f = create(w, "log", "");
        struct test_job jobs[N_JOBS];
        unsigned n_done = 0, last[3] = {};

        make_jobs(w, jobs, N_JOBS, &n_done);
        for (unsigned k = 0; k < N_JOBS; k++) {
                jobs[k].file = f;
                jobs[k].job.queue = k % 3;
                jobs[k].job.n_bytes =
                        k % 7 == 3 ? 1 << 20 : 10; /* small ones and large ones go different ways */
                io_submit(w->io, IO_LANE_LOG, &jobs[k].job);
                if (k % 10 == 9)
                        WAIT_FOR(n_done > k / 2);
        }
        WAIT_FOR(n_done == N_JOBS);

        for (unsigned k = 0; k < N_JOBS; k++) {
                ASSERT_EQ(jobs[k].result, 0);
                ASSERT_GT(jobs[k].place, last[k % 3]);
                last[k % 3] = jobs[k].place;
        }
        for (unsigned k = 0; k < N_JOBS; k++) {
                char buffer[10];

                ASSERT_EQ(io_pread(f, buffer, 10, 10 * k, 0), 10);
                ASSERT_MEM(buffer, "0123456789", 10);
        }
}

CONTRACT(a_job_may_be_submitted_again_when_it_is_done) {
        unsigned n_done = 0;

        for (enum io_lane lane = 0; lane < _IO_LANE_MAX; lane++) {
                struct test_job t;

                make_jobs(w, &t, 1, &n_done);
                t.again = true;
                n_done = 0;
                io_submit(w->io, lane, &t.job);
                WAIT_FOR(n_done == 2);
                ASSERT_FALSE(io_job_is_pending(&t.job));
        }
}

CONTRACT(a_cancelled_job_is_never_done) {
        struct test_job jobs[N_JOBS];
        unsigned n_done = 0;

        for (enum io_lane lane = 0; lane < _IO_LANE_MAX; lane++) {
                n_done = 0;
                make_jobs(w, jobs, N_JOBS, &n_done);
                io_cancel(w->io, &jobs[0].job); /* nothing: it is not submitted */

                for (unsigned k = 0; k < N_JOBS; k++)
                        io_submit(w->io, lane, &jobs[k].job);
                for (unsigned k = 0; k < N_JOBS; k += 2) {
                        io_cancel(w->io, &jobs[k].job);
                        ASSERT_FALSE(io_job_is_pending(&jobs[k].job));
                }
                WAIT_FOR(n_done == N_JOBS / 2);

                for (unsigned k = 0; k < N_JOBS; k++)
                        ASSERT_EQ(jobs[k].n_done, k % 2);
        }
}

CONTRACT(done_may_cancel_another_job) {
        struct test_job jobs[4];
        unsigned n_done;

        for (enum io_lane lane = 0; lane < _IO_LANE_MAX; lane++) {
                n_done = 0;
                make_jobs(w, jobs, 4, &n_done);
                jobs[0].to_cancel = &jobs[1];
                jobs[1].to_cancel = &jobs[0]; /* whichever comes first */
                for (unsigned k = 0; k < 4; k++)
                        io_submit(w->io, lane, &jobs[k].job);
                WAIT_FOR(jobs[2].n_done == 1 && jobs[3].n_done == 1 && n_done == 3);

                ASSERT_EQ(jobs[0].n_done + jobs[1].n_done, 1);
        }
}

/* ---- Timers ---- */

struct test_timer {
        struct io_timer timer;
        struct stage *w;
        unsigned n_fired;
        usec_t fired_usec;
        unsigned *n_all_fired;
        unsigned place;
        unsigned n_again; /* so often it is set to 0 anew */
};

static void on_timer(struct io_timer *timer, void *userdata) {
        struct test_timer *t = userdata;

        ASSERT_TRUE(timer == &t->timer);
        t->n_fired++;
        t->fired_usec = io_now(t->w->io);
        t->place = ++*t->n_all_fired;
        if (t->n_again > 0) {
                t->n_again--;
                ASSERT_OK(io_timer_set(t->w->io, timer, 0));
        }
}

static void make_timers(struct stage *w, struct test_timer *timers, unsigned n, unsigned *n_fired) {
        for (unsigned k = 0; k < n; k++)
                timers[k] = (struct test_timer){
                        .timer = { .on_timer = on_timer, .userdata = &timers[k] },
                        .w = w,
                        .n_all_fired = n_fired,
                };
}

CONTRACT(timers_fire_once_and_not_before_their_deadline) {
        usec_t begin = io_now(w->io);
        struct test_timer timers[4];
        unsigned n_fired = 0;

        make_timers(w, timers, 4, &n_fired);
        ASSERT_OK(io_timer_set(w->io, &timers[0].timer, begin + 30 * USEC_PER_MSEC));
        ASSERT_OK(io_timer_set(w->io, &timers[1].timer, begin + 10 * USEC_PER_MSEC));
        ASSERT_OK(io_timer_set(w->io, &timers[2].timer, begin + 20 * USEC_PER_MSEC));
        ASSERT_OK(io_timer_set(w->io, &timers[3].timer, USEC_INFINITY));
        WAIT_FOR(io_now(w->io) > begin + 50 * USEC_PER_MSEC);

        ASSERT_EQ(n_fired, 3);
        ASSERT_EQ(timers[1].place, 1);
        ASSERT_EQ(timers[2].place, 2);
        ASSERT_EQ(timers[0].place, 3);
        ASSERT_GE(timers[1].fired_usec, begin + 10 * USEC_PER_MSEC);
        ASSERT_GE(timers[2].fired_usec, begin + 20 * USEC_PER_MSEC);
        ASSERT_GE(timers[0].fired_usec, begin + 30 * USEC_PER_MSEC);
        io_timer_cancel(w->io, &timers[3].timer);
}

CONTRACT(timers_of_one_moment_fire_in_the_order_of_setting) {
        usec_t deadline = io_now(w->io) + 5 * USEC_PER_MSEC;
        struct test_timer timers[50];
        unsigned n_fired = 0;

        make_timers(w, timers, 50, &n_fired);
        for (unsigned k = 0; k < 50; k++)
                ASSERT_OK(io_timer_set(w->io, &timers[(k * 7) % 50].timer, deadline));
        WAIT_FOR(n_fired == 50);

        for (unsigned k = 0; k < 50; k++)
                ASSERT_EQ(timers[(k * 7) % 50].place, k + 1);
}

CONTRACT(a_deadline_that_has_passed_fires_later_not_at_once) {
        struct test_timer timers[2];
        unsigned n_fired = 0;

        make_timers(w, timers, 2, &n_fired);
        ASSERT_OK(io_timer_set(w->io, &timers[0].timer, 0));
        ASSERT_OK(io_timer_set(w->io, &timers[1].timer, io_now(w->io)));
        ASSERT_EQ(n_fired, 0); /* C1 */
        WAIT_FOR(n_fired == 2);
}

CONTRACT(a_timer_may_be_moved_and_cancelled) {
        usec_t begin = io_now(w->io);
        struct test_timer timers[3];
        unsigned n_fired = 0;

        make_timers(w, timers, 3, &n_fired);
        io_timer_cancel(w->io, &timers[0].timer); /* nothing: it is idle */

        ASSERT_OK(io_timer_set(w->io, &timers[0].timer, begin + 5 * USEC_PER_MSEC));
        ASSERT_OK(io_timer_set(w->io, &timers[1].timer, begin + 5 * USEC_PER_MSEC));
        ASSERT_OK(io_timer_set(w->io, &timers[2].timer, begin + USEC_PER_HOUR));
        ASSERT_OK(io_timer_set(w->io, &timers[0].timer, begin + 20 * USEC_PER_MSEC));
        ASSERT_OK(io_timer_set(w->io, &timers[2].timer, begin + 10 * USEC_PER_MSEC));
        io_timer_cancel(w->io, &timers[1].timer);
        WAIT_FOR(io_now(w->io) > begin + 40 * USEC_PER_MSEC);

        ASSERT_EQ(n_fired, 2);
        ASSERT_EQ(timers[2].place, 1);
        ASSERT_EQ(timers[0].place, 2);
        ASSERT_GE(timers[0].fired_usec, begin + 20 * USEC_PER_MSEC);
}

CONTRACT_IN_REAL_TIME(a_timer_that_is_always_due_keeps_nothing_else_waiting) {
        struct test_timer timers[2];
        struct test_job job;
        unsigned n_fired = 0, n_done = 0;

        make_timers(w, timers, 2, &n_fired);
        make_jobs(w, &job, 1, &n_done);
        timers[0].n_again = UINT32_MAX;
        ASSERT_OK(io_timer_set(w->io, &timers[0].timer, 0));
        ASSERT_OK(io_timer_set(w->io, &timers[1].timer, io_now(w->io) + 3 * USEC_PER_MSEC));
        io_submit(w->io, IO_LANE_READ, &job.job);
        WAIT_FOR(timers[0].n_fired > 1 && timers[1].n_fired == 1 && n_done == 1);

        io_timer_cancel(w->io, &timers[0].timer);
}

/* ---- Streams ---- */

struct end {
        struct io_stream *s;
        unsigned n_called;
        unsigned events; /* of the last call */
        uint8_t *received;
        size_t n_received;
        ssize_t last_read; /* if n_reads > 0 */
        unsigned n_reads;
        bool reads;  /* else it only counts */
        bool closes; /* itself, at the first call */
};

static void on_stream(struct io_stream *s, unsigned events, void *userdata) {
        struct end *e = userdata;

        ASSERT_TRUE(s == e->s);
        e->n_called++;
        e->events = events;
        if (e->closes) {
                e->s = io_stream_close(e->s);
                return;
        }
        if (e->reads && (events & IO_STREAM_READABLE)) {
                e->last_read = io_stream_read(s, e->received + e->n_received, 1000);
                e->n_reads++;
                if (e->last_read > 0)
                        e->n_received += (size_t) e->last_read;
                else if (e->last_read != -EAGAIN)
                        io_stream_want(s, 0);
        }
}

/* How a stream ends that the other end has closed. */
static bool has_ended(const struct end *e) {
        return e->n_reads > 0 && (e->last_read == 0 || e->last_read == -ECONNRESET);
}

static void connect_ends(struct stage *w,
                         const struct implementation *i,
                         const struct address *a,
                         struct end *client,
                         struct end *server) {
        ASSERT_OK(io_connect(w->io, a, on_stream, client, &client->s));
        ASSERT_EQ(client->n_called, 0); /* C1 */
        io_stream_want(client->s, IO_STREAM_WRITABLE);
        WAIT_FOR(client->n_called > 0 && w->accepted);
        ASSERT_EQ(client->events, IO_STREAM_WRITABLE);
        io_stream_want(client->s, 0);

        server->s = TAKE_PTR(w->accepted);
        server->s->handler = on_stream;
        server->s->userdata = server;
}

/* All of it: a write may take less than it is given. */
static void
send_text(struct stage *w, const struct implementation *i, struct io_stream *s, const char *text) {
        while (*text) {
                const struct iovec iov = { .iov_base = (char *) text, .iov_len = strlen(text) };
                ssize_t k = io_stream_writev(s, &iov, 1);

                if (k == -EAGAIN) {
                        i->step(w);
                        continue;
                }
                ASSERT_GT(k, 0);
                text += k;
        }
}

CONTRACT_STREAMS(streams_carry_bytes_both_ways) {
        uint8_t to_server[2000], to_client[2000];
        struct end client = { .received = to_client, .reads = true },
                   server = { .received = to_server, .reads = true };
        struct address a;
        char c;

        i->listen(w, &a);
        connect_ends(w, i, &a, &client, &server);
        ASSERT_ERROR(io_stream_read(client.s, &c, 1), EAGAIN);
        io_stream_want(client.s, IO_STREAM_READABLE);
        io_stream_want(server.s, IO_STREAM_READABLE);

        send_text(w, i, client.s, "question");
        WAIT_FOR(server.n_received == 8);
        ASSERT_MEM(to_server, "question", 8);
        send_text(w, i, server.s, "answer");
        WAIT_FOR(client.n_received == 6);
        ASSERT_MEM(to_client, "answer", 6);

        ASSERT_EQ(server.s->is_local, a.path != NULL);
        ASSERT_EQ(client.s->is_local, a.path != NULL);

        io_stream_close(client.s);
        WAIT_FOR(has_ended(&server));
        io_stream_close(server.s);
}

CONTRACT_STREAMS(a_full_stream_says_so_and_when_there_is_room_again) {
        enum { SIZE = 16 * 1024 * 1024 };
        _cleanup_(mem_freep) uint8_t *sent = new (uint8_t, SIZE),
                                     *received = new0(uint8_t, SIZE + 1000);
        struct end client = {}, server = { .received = received, .reads = true };
        struct address a;
        size_t n_sent = 0;
        bool was_full = false;

        for (size_t k = 0; k < SIZE; k++)
                sent[k] = (uint8_t) (k * 7 >> 3);
        i->listen(w, &a);
        connect_ends(w, i, &a, &client, &server);

        while (n_sent < SIZE) {
                struct iovec iov[2] = {
                        { .iov_base = sent + n_sent, .iov_len = 1 },
                        { .iov_base = sent + n_sent + 1, .iov_len = SIZE - n_sent - 1 },
                };
                ssize_t k = io_stream_writev(client.s, iov, 2);

                if (k == -EAGAIN) {
                        was_full = true;
                        client.events = 0;
                        io_stream_want(client.s, IO_STREAM_WRITABLE);
                        io_stream_want(server.s, IO_STREAM_READABLE); /* not before */
                        WAIT_FOR(client.events == IO_STREAM_WRITABLE);
                        io_stream_want(client.s, 0);
                        continue;
                }
                ASSERT_GT(k, 0);
                n_sent += (size_t) k;
        }
        ASSERT_TRUE(was_full);
        io_stream_want(server.s, IO_STREAM_READABLE);
        WAIT_FOR(server.n_received == SIZE);
        ASSERT_MEM(received, sent, SIZE);

        io_stream_close(client.s);
        io_stream_close(server.s);
}

CONTRACT_STREAMS(the_handler_is_called_for_what_is_wanted_as_long_as_it_is_there) {
        struct end client = {}, server = {};
        usec_t begin;
        struct address a;

        i->listen(w, &a);
        connect_ends(w, i, &a, &client, &server);

        send_text(w, i, client.s, "x");
        begin = io_now(w->io);
        WAIT_FOR(io_now(w->io) > begin + 5 * USEC_PER_MSEC);
        ASSERT_EQ(server.n_called, 0);

        io_stream_want(server.s, IO_STREAM_READABLE);
        WAIT_FOR(server.n_called >= 3); /* it reads nothing */
        ASSERT_EQ(server.events, IO_STREAM_READABLE);

        io_stream_want(server.s, 0);
        server.n_called = 0;
        io_stream_close(client.s); /* nor is the end told to those who do not ask */
        begin = io_now(w->io);
        WAIT_FOR(io_now(w->io) > begin + 5 * USEC_PER_MSEC);
        ASSERT_EQ(server.n_called, 0);

        server.reads = true;
        server.received = (uint8_t[1001]){};
        io_stream_want(server.s, IO_STREAM_READABLE);
        WAIT_FOR(has_ended(&server));
        ASSERT_LE(server.n_received, 1); /* may be lost by the close */
        io_stream_close(server.s);
}

CONTRACT_STREAMS(who_has_finished_is_read_to_the_end_and_still_answered) {
        uint8_t received[2][1001] = {};
        struct end client = { .received = received[0], .reads = true };
        struct end server = { .received = received[1], .reads = true };
        const struct iovec iov = { .iov_base = (char *) "more", .iov_len = 4 };
        struct address a;

        i->listen(w, &a);
        connect_ends(w, i, &a, &client, &server);
        io_stream_want(server.s, IO_STREAM_READABLE);
        io_stream_want(client.s, IO_STREAM_READABLE);

        send_text(w, i, client.s, "question");
        io_stream_finish(client.s);
        WAIT_FOR(has_ended(&server));
        ASSERT_EQ(server.last_read, 0);
        ASSERT_EQ(server.n_received, strlen("question"));
        ASSERT_MEM(server.received, "question", strlen("question"));

        ASSERT_ERROR(io_stream_writev(client.s, &iov, 1), EPIPE);
        send_text(w, i, server.s, "answer");
        WAIT_FOR(client.n_received == strlen("answer"));
        ASSERT_MEM(client.received, "answer", strlen("answer"));
        ASSERT_FALSE(has_ended(&client));

        io_stream_finish(server.s);
        WAIT_FOR(has_ended(&client));
        ASSERT_EQ(client.last_read, 0);
        io_stream_close(client.s);
        io_stream_close(server.s);
}

CONTRACT_STREAMS(a_handler_may_close_its_stream) {
        struct end client = {}, server = { .closes = true };
        struct address a;

        i->listen(w, &a);
        connect_ends(w, i, &a, &client, &server);
        io_stream_want(server.s, IO_STREAM_READABLE | IO_STREAM_WRITABLE);
        WAIT_FOR(!server.s);
        ASSERT_EQ(server.n_called, 1);

        client.reads = true;
        client.received = (uint8_t[1001]){};
        io_stream_want(client.s, IO_STREAM_READABLE);
        WAIT_FOR(has_ended(&client));
        ASSERT_EQ(client.n_received, 0);
        io_stream_close(client.s);
}

CONTRACT_STREAMS(a_connection_that_fails_becomes_readable_and_says_why) {
        struct end client = {};
        struct address a;
        char c;

        i->listen(w, &a);
        i->unlisten(w); /* nobody is there any more */

        ASSERT_OK(io_connect(w->io, &a, on_stream, &client, &client.s));
        ASSERT_EQ(client.n_called, 0); /* C1 */
        io_stream_want(client.s, IO_STREAM_READABLE);
        WAIT_FOR(client.n_called >= 2); /* again and again */
        ASSERT_EQ(client.events, IO_STREAM_READABLE);
        ASSERT_ERROR(io_stream_read(client.s, &c, 1), a.path ? ENOENT : ECONNREFUSED);
        ASSERT_ERROR(io_stream_read(client.s, &c, 1),
                     a.path ? ENOENT : ECONNREFUSED); /* for good */
        io_stream_close(client.s);
}

CONTRACT_STREAMS(writing_to_one_who_has_gone_is_an_error_and_no_signal) {
        struct end client = {}, server = {};
        struct iovec iov = { .iov_base = (char *) "x", .iov_len = 1 };
        struct address a;
        ssize_t k;

        i->listen(w, &a);
        connect_ends(w, i, &a, &client, &server);
        io_stream_close(server.s);

        WAIT_FOR((k = io_stream_writev(client.s, &iov, 1)) < 0 && k != -EAGAIN);
        ASSERT_TRUE(k == -EPIPE || k == -ECONNRESET);
        io_stream_close(client.s);
}

CONTRACT_STREAMS(the_end_and_an_error_stay) {
        uint8_t received[1001];
        struct end client = { .received = received, .reads = true }, server = {};
        struct address a;
        char c;

        i->listen(w, &a);
        connect_ends(w, i, &a, &client, &server);
        send_text(w, i, client.s, "nobody reads this");
        io_stream_want(server.s, IO_STREAM_READABLE);
        WAIT_FOR(server.n_called > 0);
        io_stream_close(server.s); /* with bytes unread: tcp(7) resets, unix(7) too */

        io_stream_want(client.s, IO_STREAM_READABLE);
        WAIT_FOR(has_ended(&client));
        for (unsigned k = 0; k < 3; k++)
                ASSERT_EQ(io_stream_read(client.s, &c, 1), client.last_read);
        io_stream_close(client.s);
}

CONTRACT_STREAMS(a_stream_may_be_closed_before_it_stands) {
        struct end client = {};
        usec_t begin;
        struct address a;

        i->listen(w, &a);
        ASSERT_OK(io_connect(w->io, &a, on_stream, &client, &client.s));
        io_stream_want(client.s, IO_STREAM_READABLE | IO_STREAM_WRITABLE);
        io_stream_close(client.s);
        ASSERT_EQ(client.n_called, 0);

        begin = io_now(w->io);
        WAIT_FOR(io_now(w->io) > begin + 20 * USEC_PER_MSEC);
        io_stream_close(w->accepted); /* if it came so far */
        ASSERT_EQ(client.n_called, 0);
}
