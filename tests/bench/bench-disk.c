/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the disk takes, in the ways a log may write: over what was written before, at the end of a
 * file that grows, into space that was allocated, and over space that it zeroed itself a step
 * ahead. Each write is synced (fdatasync).
 *
 *     bench-disk [-w WRITE-KIB] [-z ZERO-STEP-MIB] FOLDER MIB
 *
 * Prints a line for each way: its name, MB/s, microseconds a write. "zeroed" counts the bytes of
 * the messages only, and the time of both.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/parse.h"

#define BUFFER_BYTES_MAX (16u << 20)

static uint64_t arg_write_kib = 1024;
static uint64_t arg_zero_step_mib = 8;

static uint8_t zeroes[BUFFER_BYTES_MAX];
static uint8_t data[BUFFER_BYTES_MAX];
static char path[4096];

enum way {
        WAY_OVERWRITE,
        WAY_GROW,
        WAY_ALLOCATED,
        WAY_ZEROED,
        _WAY_MAX,
};

static const char *const way_names[_WAY_MAX] = { "overwrite", "grow", "allocated", "zeroed" };

static void die(void) {
        fprintf(stderr, "bench-disk: %s: %m\n", path);
        exit(1);
}

static double now(void) {
        struct timespec ts;

        (void) clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail */
        return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}

static void write_synced(int fd, const uint8_t *bytes, size_t n, uint64_t pos) {
        if (fd_pwrite_full(fd, bytes, n, pos) < 0 || fdatasync(fd) < 0)
                die();
}

static double run(enum way way, uint64_t n_bytes) {
        size_t n_write = (size_t) arg_write_kib << 10, n_zero = (size_t) arg_zero_step_mib << 20;
        double begin;
        int fd;

        fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (fd < 0)
                die();
        (void) unlink(path);
        if (way == WAY_OVERWRITE)
                for (uint64_t pos = 0; pos < n_bytes; pos += n_zero)
                        write_synced(fd, zeroes, n_zero, pos);

        begin = now();
        if (way == WAY_ALLOCATED && (posix_fallocate(fd, 0, (off_t) n_bytes) != 0 || fsync(fd) < 0))
                die();
        for (uint64_t pos = 0; pos < n_bytes; pos += n_write) {
                if (way == WAY_ZEROED && pos % n_zero == 0)
                        write_synced(fd, zeroes, n_zero, pos);
                write_synced(fd, data, n_write, pos);
        }
        begin = now() - begin;

        (void) close(fd);
        return begin;
}

int main(int argc, char **argv) {
        uint64_t n_mib;
        int o;

        while ((o = getopt(argc, argv, "w:z:")) >= 0)
                if ((o == 'w' &&
                     parse_uint64_range(optarg, 1, BUFFER_BYTES_MAX >> 10, &arg_write_kib) < 0) ||
                    (o == 'z' &&
                     parse_uint64_range(optarg, 1, BUFFER_BYTES_MAX >> 20, &arg_zero_step_mib) <
                             0) ||
                    o == '?')
                        return 2;
        if (optind + 2 != argc || parse_uint64_range(argv[optind + 1], 1, 1u << 20, &n_mib) < 0) {
                fprintf(stderr, "usage: bench-disk [-w WRITE-KIB] [-z ZERO-STEP-MIB] FOLDER MIB\n");
                return 2;
        }
        (void) snprintf(path, sizeof(path), "%s/bench-disk.tmp", argv[optind]);
        for (size_t i = 0; i < sizeof(data); i++)
                data[i] = (uint8_t) (i * 31 + 1);

        for (enum way w = 0; w < _WAY_MAX; w++) {
                double seconds = run(w, n_mib << 20);

                printf("%s %.1f %.1f\n",
                       way_names[w],
                       (double) (n_mib << 20) / 1e6 / seconds,
                       seconds * 1e6 / (double) ((n_mib << 10) / arg_write_kib));
        }
        return 0;
}
