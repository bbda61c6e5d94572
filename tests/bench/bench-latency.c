/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One message at a time, synced: how long until it is acknowledged. DRMQ, Redis (appendfsync always) and the disk itself (an
 * overwrite of 4 KiB and fdatasync) in turns, so that what disturbs one disturbs the others.
 *
 *     bench-latency [-n MESSAGES] [-r ROUNDS] [-d FOLDER] [DRMQ-BROKER|-] [REDIS-PORT|-]
 *
 * Prints, per round and over all, the median, p99 and the ratios of the medians.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/macro.h"
#include "base/parse.h"
#include "base/time.h"
#include "drmq.h"

#define VALUE_BYTES 100u
#define OVERWRITE_BYTES 4096u
#define OVERWRITE_SPAN (16u << 20)

static uint64_t arg_n = 2000;
static uint64_t arg_rounds = 5;
static const char *arg_folder = ".";
static const char *arg_broker;
static uint64_t arg_redis_port;

static char value[VALUE_BYTES];

enum who {
        WHO_DISK,
        WHO_REDIS,
        WHO_DRMQ,
        _WHO_MAX,
};

static const char *const who_names[_WHO_MAX] = { "disk", "redis", "drmq" };

struct peers {
        int file;
        uint64_t pos;
        int redis;
        drmq_client *client;
        drmq_producer *producer;
};

static void die(const char *what) {
        fprintf(stderr, "bench-latency: %s: %s\n", what, strerror(errno));
        exit(1);
}

static void open_disk(struct peers *p) {
        static const uint8_t zeroes[1u << 20];
        char path[4096];

        (void) snprintf(path, sizeof(path), "%s/bench-latency.tmp", arg_folder);
        p->file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (p->file < 0)
                die(path);
        (void) unlink(path);
        for (uint64_t pos = 0; pos < OVERWRITE_SPAN; pos += sizeof(zeroes))
                if (fd_pwrite_full(p->file, zeroes, sizeof(zeroes), pos) < 0)
                        die(path);
        if (fdatasync(p->file) < 0)
                die(path);
}

static void open_redis(struct peers *p) {
        struct sockaddr_in a = {
                .sin_family = AF_INET,
                .sin_port = htons((uint16_t) arg_redis_port),
                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        };

        p->redis = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (p->redis < 0 || connect(p->redis, (struct sockaddr *) &a, sizeof(a)) < 0)
                die("redis");
        (void) setsockopt(p->redis, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
}

static void open_drmq(struct peers *p) {
        if (drmq_client_new(arg_broker, &p->client) < 0 || drmq_producer_new(p->client, &p->producer) < 0 ||
            drmq_producer_set_linger(p->producer, 0) < 0)
                die("drmq");
}

static void once_disk(struct peers *p) {
        static uint8_t block[OVERWRITE_BYTES];

        block[0]++;
        if (fd_pwrite_full(p->file, block, sizeof(block), p->pos) < 0 || fdatasync(p->file) < 0)
                die("disk");
        p->pos = (p->pos + sizeof(block)) % OVERWRITE_SPAN;
}

static void once_redis(struct peers *p) {
        char command[256], answer[256];
        int n;

        n = snprintf(command,
                     sizeof(command),
                     "*5\r\n$4\r\nXADD\r\n$5\r\nbench\r\n$1\r\n*\r\n$1\r\nv\r\n$%zu\r\n%.*s\r\n",
                     sizeof(value),
                     (int) sizeof(value),
                     value);
        if (write(p->redis, command, (size_t) n) != n || read(p->redis, answer, sizeof(answer)) <= 0 ||
            answer[0] != '$')
                die("redis");
}

static void once_drmq(struct peers *p) {
        const struct drmq_outgoing m = {
                .topic = "bench-latency",
                .partition = DRMQ_PARTITION_ANY,
                .value = value,
                .value_size = sizeof(value),
                .timestamp_ms = 1,
        };

        if (drmq_producer_send(p->producer, &m) < 0 || drmq_producer_flush(p->producer) < 0) {
                fprintf(stderr, "bench-latency: %s\n", drmq_client_error(p->client));
                exit(1);
        }
}

static int compare(const void *a, const void *b) {
        const uint64_t *x = a, *y = b;

        return (*x > *y) - (*x < *y);
}

static uint64_t now_nsec(void) {
        struct timespec ts;

        (void) clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail */
        return (uint64_t) ts.tv_sec * 1000000000u + (uint64_t) ts.tv_nsec;
}

static double run_round(struct peers *p, enum who who, uint64_t *nsec) {
        static void (*const once[_WHO_MAX])(struct peers *) = { once_disk, once_redis, once_drmq };

        for (uint64_t i = 0; i < arg_n; i++) {
                uint64_t begin = now_nsec();

                once[who](p);
                nsec[i] = now_nsec() - begin;
        }
        qsort(nsec, arg_n, sizeof(nsec[0]), compare);
        printf("%-6s median %7.1f us   p99 %8.1f us\n",
               who_names[who],
               (double) nsec[arg_n / 2] / 1000,
               (double) nsec[arg_n * 99 / 100] / 1000);
        return (double) nsec[arg_n / 2] / 1000;
}

int main(int argc, char **argv) {
        double sum[_WHO_MAX] = {};
        struct peers p = {};
        uint64_t *nsec;
        int o;

        while ((o = getopt(argc, argv, "n:r:d:")) >= 0)
                if ((o == 'n' && parse_uint64_range(optarg, 100, 10000000, &arg_n) < 0) ||
                    (o == 'r' && parse_uint64_range(optarg, 1, 1000, &arg_rounds) < 0) || o == '?')
                        return 2;
                else if (o == 'd')
                        arg_folder = optarg;
        if (optind < argc && !streq(argv[optind], "-"))
                arg_broker = argv[optind];
        if (optind + 1 < argc && !streq(argv[optind + 1], "-") &&
            parse_uint64_range(argv[optind + 1], 1, UINT16_MAX, &arg_redis_port) < 0)
                return 2;

        nsec = calloc(arg_n, sizeof(*nsec));
        if (!nsec)
                die("memory");
        memset(value, 'x', sizeof(value));
        open_disk(&p);
        if (arg_redis_port > 0)
                open_redis(&p);
        if (arg_broker)
                open_drmq(&p);

        for (uint64_t i = 0; i < arg_rounds; i++) {
                sum[WHO_DISK] += run_round(&p, WHO_DISK, nsec);
                if (arg_redis_port > 0)
                        sum[WHO_REDIS] += run_round(&p, WHO_REDIS, nsec);
                if (arg_broker)
                        sum[WHO_DRMQ] += run_round(&p, WHO_DRMQ, nsec);
        }
        for (unsigned w = 0; w < _WHO_MAX; w++)
                if (sum[w] > 0)
                        printf("mean of medians: %-6s %7.1f us\n", who_names[w], sum[w] / (double) arg_rounds);
        if (sum[WHO_DRMQ] > 0 && sum[WHO_REDIS] > 0)
                printf("drmq / redis: %.2f\n", sum[WHO_DRMQ] / sum[WHO_REDIS]);
        if (sum[WHO_DRMQ] > 0)
                printf("drmq / disk:  %.2f\n", sum[WHO_DRMQ] / sum[WHO_DISK]);

        drmq_producer_free(p.producer);
        drmq_client_free(p.client);
        free(nsec);
        return 0;
}
