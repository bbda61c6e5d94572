/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What it costs to have one small write synced by another hand: pwrite and fdatasync alone, the log
 * writer on the loop, and the log writer's thread; in turns, so that a disk that changes its mind
 * does so for all three.
 *
 *     build/bench/bench-log-writer [FOLDER [WRITES]]
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/parse.h"
#include "loop/io-loop.h"

#define WRITE_BYTES 4096u
#define FILE_BYTES (16u * 1024 * 1024)
#define TURN UINT64_C(50) /* writes of one kind before the next kind */
#define N_KINDS 3u

struct write_job {
        struct io_job job;
        struct io_file *file;
        uint64_t pos;
        bool is_done;
};

static uint8_t block[WRITE_BYTES];

static uint64_t now_nsec(void) {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * 1000000000 + (uint64_t) ts.tv_nsec;
}

static void check(int r, const char *what) {
        if (r >= 0)
                return;
        fprintf(stderr, "bench-log-writer: %s: %s\n", what, strerror(-r));
        exit(EXIT_FAILURE);
}

static int run_write(struct io_job *job) {
        struct write_job *w = CONTAINER_OF(job, struct write_job, job);
        int r;

        r = io_pwrite(w->file, block, sizeof(block), w->pos);
        return r < 0 ? r : io_fdatasync(w->file);
}

static void on_written(struct io_job *job, int r) {
        check(r, "write");
        CONTAINER_OF(job, struct write_job, job)->is_done = true;
}

static void write_by_loop(sd_event *event, struct io *io, struct write_job *w) {
        w->is_done = false;
        io_submit(io, IO_LANE_LOG, &w->job);
        while (!w->is_done)
                check(sd_event_run(event, UINT64_MAX), "sd_event_run");
}

static int compare(const void *a, const void *b) {
        uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

        return (x > y) - (x < y);
}

int main(int argc, char **argv) {
        static const char *const names[N_KINDS] = {
                "pwrite + fdatasync",
                "log writer, on the loop",
                "log writer, its thread",
        };
        const char *folder = argc > 1 ? argv[1] : "/tmp";
        uint64_t n_writes = 3000, *took[N_KINDS];
        struct io_loop *loops[N_KINDS] = {};
        sd_event *events[N_KINDS] = {};
        struct write_job w = {
                .job = { .run = run_write, .done = on_written, .n_bytes = WRITE_BYTES }
        };
        char *path;

        if (argc > 2)
                check(parse_uint64_range(argv[2], TURN, 1000000, &n_writes), argv[2]);

        path = mem_asprintf("%s/bench-log-writer.%d", folder, (int) getpid());
        for (unsigned k = 0; k < N_KINDS; k++) {
                const struct io_loop_config config = { .log_threads_only = k == 2 };

                took[k] = new0(uint64_t, n_writes);
                check(sd_event_new(&events[k]), "sd_event_new");
                check(io_loop_new(events[k], &config, &loops[k]), "io_loop_new");
        }
        check(io_open(io_loop_io(loops[0]), path, IO_OPEN_WRITE | IO_OPEN_CREATE, &w.file), path);
        unlink(path);
        for (uint64_t pos = 0; pos < FILE_BYTES; pos += sizeof(block))
                check(io_pwrite(w.file, block, sizeof(block), pos), "write");
        check(io_fdatasync(w.file), "fdatasync");
        memset(block, 'x', sizeof(block));

        for (uint64_t turn = 0; turn < n_writes; turn += TURN)
                for (unsigned k = 0; k < N_KINDS; k++)
                        for (uint64_t n = turn; n < MIN(turn + TURN, n_writes); n++) {
                                uint64_t begin;

                                w.pos = (w.pos + sizeof(block)) % FILE_BYTES;
                                begin = now_nsec();
                                if (k == 0)
                                        check(run_write(&w.job), "write");
                                else
                                        write_by_loop(events[k], io_loop_io(loops[k]), &w);
                                took[k][n] = now_nsec() - begin;
                        }

        printf("%llu writes of %u bytes over a file of %u MiB, each synced; microseconds\n\n",
               (unsigned long long) n_writes,
               WRITE_BYTES,
               FILE_BYTES >> 20);
        printf("%-26s %8s %8s %8s\n", "", "p50", "p90", "p99");
        for (unsigned k = 0; k < N_KINDS; k++) {
                qsort(took[k], n_writes, sizeof(took[k][0]), compare);
                printf("%-26s %8.1f %8.1f %8.1f\n",
                       names[k],
                       (double) took[k][n_writes / 2] / 1000,
                       (double) took[k][n_writes * 90 / 100] / 1000,
                       (double) took[k][n_writes * 99 / 100] / 1000);
                mem_free(took[k]);
        }

        io_file_unref(w.file);
        for (unsigned k = 0; k < N_KINDS; k++) {
                io_loop_free(loops[k]);
                sd_event_unref(events[k]);
        }
        mem_free(path);
        return EXIT_SUCCESS;
}
