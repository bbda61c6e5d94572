/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a crowd costs those who work: the time until one message is acknowledged, alone, beside
 * connections that do nothing, and beside as many long polls on a topic that gets nothing; in turns.
 *
 *     bench-crowd [-n MESSAGES] [-r ROUNDS] [-c CONNECTIONS] [-P PID-OF-THE-NODE] HOST:PORT
 *
 * Prints a line for each: its name, the medians of the rounds' medians and p99 in microseconds, and
 * the node's resident memory in MiB at that time (0 without -P).
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/parse.h"
#include "drmq.h"
#include "proto/frame.h"
#include "proto/message.h"
#include "proto/table.h"

#define VALUE_BYTES 100u
#define ROUNDS_MAX 100u
#define CONNECTIONS_MAX 15000u
#define CROWD_TOPIC "bench-crowd-quiet"
#define WAIT_MS 600000u

enum who {
        WHO_NOBODY,
        WHO_IDLE,
        WHO_POLLS,
        _WHO_MAX,
};

static const char *const who_names[_WHO_MAX] = { "alone", "idle", "polls" };

static uint64_t arg_n = 2000;
static uint64_t arg_rounds = 3;
static uint64_t arg_connections = 10000;
static uint64_t arg_pid;

static struct sockaddr_in address;
static int crowd[CONNECTIONS_MAX];
static drmq_client *client;
static drmq_producer *producer;
static uint8_t poll_frame[1024];
static size_t poll_frame_bytes;

static void die(const char *what) {
        fprintf(stderr, "bench-crowd: %s: %s\n", what, strerror(errno));
        exit(1);
}

static void check(int r, const char *what) {
        if (r >= 0)
                return;
        fprintf(stderr, "bench-crowd: %s: %s\n", what, drmq_client_error(client));
        exit(1);
}

static void push(struct frame_queue *q,
                 uint16_t type,
                 uint64_t correlation,
                 const void *message,
                 const void *table,
                 size_t table_bytes) {
        struct byte_writer w;

        byte_writer_init(&w, 0);
        if (message_pack(message, &w) < 0 ||
            frame_queue_push(q, type, 0, correlation, w.data, w.size, table, table_bytes, NULL, 0) <
                    0)
                die("memory");
        byte_writer_done(&w);
}

/* The bytes of one long poll, and of a request behind it that is answered at once: then the poll
 * waits. */
static void make_poll(void) {
        Drmq__Proto__PartitionRequest behind = DRMQ__PROTO__PARTITION_REQUEST__INIT;
        Drmq__Proto__FetchRequest fetch = DRMQ__PROTO__FETCH_REQUEST__INIT;
        const struct drmq_topic_info *topic;
        struct fetch_want want = {};
        struct frame_queue q;
        struct iovec iov[8];
        size_t n;

        check(drmq_topic_create(client, CROWD_TOPIC, 1, true), CROWD_TOPIC);
        check(drmq_topic_describe(client, CROWD_TOPIC, &topic), CROWD_TOPIC);
        le64_store(&want.partition_id, topic->partitions[0].id);
        le64_store(&want.offset, topic->partitions[0].next_offset);
        fetch.wait_ms = WAIT_MS;
        fetch.max_bytes = 65536;

        frame_queue_init(&q);
        push(&q, FRAME_FETCH, 1, &fetch, &want, sizeof(want));
        push(&q, FRAME_PARTITION, 2, &behind, NULL, 0);
        n = frame_queue_iovec(&q, iov, ELEMENTSOF(iov));
        for (size_t i = 0; i < n; i++) {
                memcpy(poll_frame + poll_frame_bytes, iov[i].iov_base, iov[i].iov_len);
                poll_frame_bytes += iov[i].iov_len;
        }
        frame_queue_done(&q);
}

static void begin_poll(int fd) {
        uint8_t answer[4096];
        size_t n;

        if (write(fd, poll_frame, poll_frame_bytes) != (ssize_t) poll_frame_bytes ||
            recv(fd, answer, FRAME_PRELUDE_BYTES, MSG_WAITALL) != FRAME_PRELUDE_BYTES)
                die("long poll");
        n = le32_load(answer) - FRAME_PRELUDE_BYTES;
        if (le64_load(answer + 16) != 2 || n > sizeof(answer) ||
            (n > 0 && recv(fd, answer, n, MSG_WAITALL) != (ssize_t) n))
                die("what is behind the long poll is not answered");
}

static int connect_one(bool polls) {
        uint8_t greeting[GREETING_BYTES];
        int fd;

        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
                die("connect");
        (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
        greeting_encode_client(greeting);
        if (write(fd, greeting, sizeof(greeting)) != sizeof(greeting) ||
            recv(fd, greeting, sizeof(greeting), MSG_WAITALL) != sizeof(greeting))
                die("greeting");
        if (polls)
                begin_poll(fd);
        return fd;
}

static void crowd_come(enum who who) {
        const struct drmq_node_info *info;

        for (uint64_t i = 0; i < arg_connections; i++)
                crowd[i] = connect_one(who == WHO_POLLS);
        check(drmq_status(client, &info), "status");
        if (info->n_connections < arg_connections) {
                fprintf(stderr,
                        "bench-crowd: the node has only %ju of them\n",
                        (uintmax_t) info->n_connections);
                exit(1);
        }
}

static void crowd_go(void) {
        const struct drmq_node_info *info;

        for (uint64_t i = 0; i < arg_connections; i++) {
                /* Answered meanwhile, or closed by the node, it would not have been a crowd. */
                uint8_t byte;

                if (recv(crowd[i], &byte, 1, MSG_DONTWAIT) >= 0 || errno != EAGAIN)
                        die("a connection of the crowd did not stay quiet");
                (void) close(crowd[i]);
        }
        do
                check(drmq_status(client, &info), "status");
        while (info->n_connections > 2);
}

static uint64_t now_nsec(void) {
        struct timespec ts;

        (void) clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail */
        return (uint64_t) ts.tv_sec * 1000000000u + (uint64_t) ts.tv_nsec;
}

static int compare(const void *a, const void *b) {
        const uint64_t *x = a, *y = b;

        return (*x > *y) - (*x < *y);
}

static void run_round(uint64_t *nsec, uint64_t *ret_median, uint64_t *ret_p99) {
        static const char value[VALUE_BYTES];
        const struct drmq_outgoing m = {
                .topic = "bench-crowd",
                .partition = DRMQ_PARTITION_ANY,
                .value = value,
                .value_size = sizeof(value),
                .timestamp_ms = 1,
        };

        for (uint64_t i = 0; i < arg_n; i++) {
                uint64_t begin = now_nsec();

                check(drmq_producer_send(producer, &m), "send");
                check(drmq_producer_flush(producer), "flush");
                nsec[i] = now_nsec() - begin;
        }
        qsort(nsec, arg_n, sizeof(nsec[0]), compare);
        *ret_median = nsec[arg_n / 2];
        *ret_p99 = nsec[arg_n * 99 / 100];
}

static uint64_t resident_kib(void) {
        unsigned long kib = 0;
        char path[64], line[256];
        FILE *f;

        if (arg_pid == 0)
                return 0;
        (void) snprintf(path, sizeof(path), "/proc/%ju/status", (uintmax_t) arg_pid);
        f = fopen(path, "re");
        if (!f)
                die(path);
        while (fgets(line, sizeof(line), f))
                if (strncmp(line, "VmRSS:", 6) == 0)
                        kib = strtoul(line + 6, NULL, 10);
        (void) fclose(f);
        return kib;
}

static double median(uint64_t *v) {
        qsort(v, arg_rounds, sizeof(v[0]), compare);
        return (double) v[arg_rounds / 2];
}

int main(int argc, char **argv) {
        uint64_t medians[_WHO_MAX][ROUNDS_MAX], p99s[_WHO_MAX][ROUNDS_MAX];
        uint64_t resident[_WHO_MAX][ROUNDS_MAX], *nsec;
        struct address a;
        struct rlimit limit;
        int o;

        while ((o = getopt(argc, argv, "n:r:c:P:")) >= 0)
                if ((o == 'n' && parse_uint64_range(optarg, 100, 10000000, &arg_n) < 0) ||
                    (o == 'r' && parse_uint64_range(optarg, 1, ROUNDS_MAX, &arg_rounds) < 0) ||
                    (o == 'c' &&
                     parse_uint64_range(optarg, 1, CONNECTIONS_MAX, &arg_connections) < 0) ||
                    (o == 'P' && parse_uint64_range(optarg, 1, INT32_MAX, &arg_pid) < 0) ||
                    o == '?')
                        return 2;
        if (optind + 1 != argc || parse_address(argv[optind], 0, &a) < 0 || !a.host ||
            inet_pton(AF_INET, a.host, &address.sin_addr) != 1)
                return 2;
        address.sin_family = AF_INET;
        address.sin_port = htons(a.port);
        address_done(&a);

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                die("limits");
        limit.rlim_cur = limit.rlim_max;
        (void) setrlimit(RLIMIT_NOFILE, &limit); /* within the hard limit: allowed */
        nsec = calloc(arg_n, sizeof(*nsec));
        if (!nsec)
                die("memory");
        if (drmq_client_new(argv[optind], &client) < 0 ||
            drmq_producer_new(client, &producer) < 0 || drmq_producer_set_linger(producer, 0) < 0)
                die(argv[optind]);
        make_poll();

        for (uint64_t i = 0; i < arg_rounds; i++)
                for (enum who w = 0; w < _WHO_MAX; w++) {
                        if (w != WHO_NOBODY)
                                crowd_come(w);
                        run_round(nsec, &medians[w][i], &p99s[w][i]);
                        resident[w][i] = resident_kib();
                        if (w != WHO_NOBODY)
                                crowd_go();
                }
        for (enum who w = 0; w < _WHO_MAX; w++)
                printf("%s %.1f %.1f %.1f\n",
                       who_names[w],
                       median(medians[w]) / 1000,
                       median(p99s[w]) / 1000,
                       median(resident[w]) / 1024);

        drmq_producer_free(producer);
        drmq_client_free(client);
        free(nsec);
        return 0;
}
