/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One message at a time, synced: how long until it is acknowledged. DRMQ by its Unix socket and by
 * TCP, Redis (appendfsync always) and the disk itself (an overwrite of 4 KiB and fdatasync) in
 * turns, so that what disturbs one disturbs the others.
 *
 *     bench-latency [-n MESSAGES] [-r ROUNDS] [-d FOLDER] [-u DRMQ-UNIX-ADDRESS] [-t
 *     DRMQ-TCP-ADDRESS] [-p REDIS-PORT]
 *
 * Prints a line for each: its name, the median of the rounds' medians and of their p99, in
 * microseconds.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/macro.h"
#include "base/parse.h"
#include "base/time.h"
#include "drmq.h"

#define VALUE_BYTES 100u
#define OVERWRITE_BYTES 4096u
#define OVERWRITE_SPAN (16u << 20)
#define ROUNDS_MAX 1000u

static uint64_t arg_n = 2000;
static uint64_t arg_rounds = 5;
static const char *arg_folder = ".";
static const char *arg_unix;
static const char *arg_tcp;
static uint64_t arg_redis_port;

static char value[VALUE_BYTES];

enum who {
        WHO_DISK,
        WHO_REDIS,
        WHO_UNIX,
        WHO_TCP,
        _WHO_MAX,
};

static const char *const who_names[_WHO_MAX] = { "disk", "redis", "drmq-unix", "drmq-tcp" };

struct peers {
        int file;
        uint64_t pos;
        int redis;
        drmq_client *client[_WHO_MAX]; /* of WHO_UNIX and WHO_TCP */
        drmq_producer *producer[_WHO_MAX];
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

static void open_drmq(struct peers *p, enum who who, const char *address) {
        if (drmq_client_new(address, &p->client[who]) < 0 ||
            drmq_producer_new(p->client[who], &p->producer[who]) < 0 ||
            drmq_producer_set_linger(p->producer[who], 0) < 0)
                die(address);
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
        if (write(p->redis, command, (size_t) n) != n ||
            read(p->redis, answer, sizeof(answer)) <= 0 || answer[0] != '$')
                die("redis");
}

static void once_drmq(struct peers *p, enum who who) {
        const struct drmq_outgoing m = {
                .topic = "bench-latency",
                .partition = DRMQ_PARTITION_ANY,
                .value = value,
                .value_size = sizeof(value),
                .timestamp_ms = 1,
        };

        if (drmq_producer_send(p->producer[who], &m) < 0 ||
            drmq_producer_flush(p->producer[who]) < 0) {
                fprintf(stderr, "bench-latency: %s\n", drmq_client_error(p->client[who]));
                exit(1);
        }
}

static void once(struct peers *p, enum who who) {
        switch (who) {
        case WHO_DISK:
                return once_disk(p);
        case WHO_REDIS:
                return once_redis(p);
        default:
                return once_drmq(p, who);
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

static void
run_round(struct peers *p, enum who who, uint64_t *nsec, uint64_t *ret_median, uint64_t *ret_p99) {
        for (uint64_t i = 0; i < arg_n; i++) {
                uint64_t begin = now_nsec();

                once(p, who);
                nsec[i] = now_nsec() - begin;
        }
        qsort(nsec, arg_n, sizeof(nsec[0]), compare);
        *ret_median = nsec[arg_n / 2];
        *ret_p99 = nsec[arg_n * 99 / 100];
}

static double median_usec(uint64_t *nsec) {
        qsort(nsec, arg_rounds, sizeof(nsec[0]), compare);
        return (double) nsec[arg_rounds / 2] / 1000;
}

int main(int argc, char **argv) {
        uint64_t medians[_WHO_MAX][ROUNDS_MAX], p99s[_WHO_MAX][ROUNDS_MAX], *nsec;
        bool is_asked[_WHO_MAX] = { [WHO_DISK] = true };
        struct peers p = {};
        int o;

        while ((o = getopt(argc, argv, "n:r:d:u:t:p:")) >= 0)
                if ((o == 'n' && parse_uint64_range(optarg, 100, 10000000, &arg_n) < 0) ||
                    (o == 'r' && parse_uint64_range(optarg, 1, ROUNDS_MAX, &arg_rounds) < 0) ||
                    (o == 'p' && parse_uint64_range(optarg, 1, UINT16_MAX, &arg_redis_port) < 0) ||
                    o == '?')
                        return 2;
                else if (o == 'd')
                        arg_folder = optarg;
                else if (o == 'u')
                        arg_unix = optarg;
                else if (o == 't')
                        arg_tcp = optarg;

        nsec = calloc(arg_n, sizeof(*nsec));
        if (!nsec)
                die("memory");
        memset(value, 'x', sizeof(value));
        open_disk(&p);
        is_asked[WHO_REDIS] = arg_redis_port > 0;
        if (is_asked[WHO_REDIS])
                open_redis(&p);
        is_asked[WHO_UNIX] = arg_unix;
        if (is_asked[WHO_UNIX])
                open_drmq(&p, WHO_UNIX, arg_unix);
        is_asked[WHO_TCP] = arg_tcp;
        if (is_asked[WHO_TCP])
                open_drmq(&p, WHO_TCP, arg_tcp);

        for (uint64_t i = 0; i < arg_rounds; i++)
                for (enum who w = 0; w < _WHO_MAX; w++)
                        if (is_asked[w])
                                run_round(&p, w, nsec, &medians[w][i], &p99s[w][i]);
        for (enum who w = 0; w < _WHO_MAX; w++)
                if (is_asked[w])
                        printf("%s %.1f %.1f\n",
                               who_names[w],
                               median_usec(medians[w]),
                               median_usec(p99s[w]));

        for (enum who w = 0; w < _WHO_MAX; w++) {
                drmq_producer_free(p.producer[w]);
                drmq_client_free(p.client[w]);
        }
        free(nsec);
        return 0;
}
