/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the Redis stream STREAM from end to end, by XRANGE in pages. (What writes one is
 * redis-benchmark.)
 *
 *     bench-redis [-c PAGE] PORT STREAM
 *
 * Prints the number of messages and the seconds that it took.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/macro.h"
#include "base/parse.h"

#define COMMAND_BYTES_MAX 256u
#define ANSWER_BYTES_MAX (64u << 20)
#define ID_BYTES_MAX 64u
#define STREAM_BYTES_MAX 64u

static uint64_t arg_page = 1000;

static int server = -1;
static char *answer;
static size_t n_answer; /* received, from the start of @answer */
static char last_id[ID_BYTES_MAX];

static void die(const char *what) {
        fprintf(stderr,
                "bench-redis: %s: %s\n",
                what,
                errno ? strerror(errno) : "unexpected answer");
        exit(1);
}

static double now(void) {
        struct timespec ts;

        (void) clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail */
        return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}

static void send_all(const char *bytes, size_t n) {
        while (n > 0) {
                ssize_t k = write(server, bytes, n);

                if (k < 0)
                        die("write");
                bytes += k;
                n -= (size_t) k;
        }
}

static void receive_some(void) {
        ssize_t k = read(server, answer + n_answer, ANSWER_BYTES_MAX - n_answer);

        if (k <= 0)
                die("read");
        n_answer += (size_t) k;
}

static char take_byte(size_t *pos) {
        while (*pos == n_answer)
                receive_some();
        return answer[(*pos)++];
}

/* The line at @pos: a type, a number, CR LF. Returns where it ends. */
static size_t take_line(size_t pos, char type, size_t *ret_number) {
        size_t number = 0;
        char c;

        if (take_byte(&pos) != type) {
                errno = 0;
                die("answer");
        }
        while ((c = take_byte(&pos)) >= '0' && c <= '9')
                number = number * 10 + (size_t) (c - '0');
        (void) take_byte(&pos); /* LF */
        *ret_number = number;
        return pos;
}

static size_t take_string(size_t pos, char **ret, size_t *ret_n) {
        pos = take_line(pos, '$', ret_n);
        while (n_answer < pos + *ret_n + 2)
                receive_some();
        *ret = answer + pos;
        return pos + *ret_n + 2;
}

/* One page; the answer is an array of pairs of an id and an array of fields. */
static size_t read_page(const char *stream) {
        char command[COMMAND_BYTES_MAX], from[ID_BYTES_MAX + 1], count[32];
        size_t n, pos, n_entries, n_parts, n_string;
        char *string;

        (void) snprintf(from, sizeof(from), "%s%s", last_id[0] ? "(" : "-", last_id);
        (void) snprintf(count, sizeof(count), "%" PRIu64, arg_page);
        n = (size_t) snprintf(
                command,
                sizeof(command),
                "*6\r\n$6\r\nXRANGE\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n$1\r\n+\r\n$5\r\nCOUNT\r\n$%zu\r\n%s\r\n",
                strlen(stream),
                stream,
                strlen(from),
                from,
                strlen(count),
                count);
        send_all(command, n);
        n_answer = 0;
        pos = take_line(0, '*', &n_entries);
        for (size_t i = 0; i < n_entries; i++) {
                pos = take_line(pos, '*', &n_parts);
                pos = take_string(pos, &string, &n_string);
                if (n_string < sizeof(last_id)) {
                        memcpy(last_id, string, n_string);
                        last_id[n_string] = '\0';
                }
                pos = take_line(pos, '*', &n_parts);
                for (size_t k = 0; k < n_parts; k++)
                        pos = take_string(pos, &string, &n_string);
        }
        return n_entries;
}

int main(int argc, char **argv) {
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        uint64_t port, n = 0;
        double begin;
        int o;

        while ((o = getopt(argc, argv, "c:")) >= 0)
                if (o == '?' || parse_uint64_range(optarg, 1, 100000, &arg_page) < 0)
                        return 2;
        if (optind + 2 != argc || parse_uint64_range(argv[optind], 1, UINT16_MAX, &port) < 0 ||
            strlen(argv[optind + 1]) > STREAM_BYTES_MAX) {
                fprintf(stderr, "usage: bench-redis [-c PAGE] PORT STREAM\n");
                return 2;
        }

        answer = malloc(ANSWER_BYTES_MAX);
        if (!answer)
                die("memory");
        a.sin_port = htons((uint16_t) port);
        server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (server < 0 || connect(server, (struct sockaddr *) &a, sizeof(a)) < 0)
                die("connect");
        (void) setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));

        begin = now();
        for (size_t k; (k = read_page(argv[optind + 1])) > 0;)
                n += k;
        printf("%" PRIu64 " %.6f\n", n, now() - begin);

        (void) close(server);
        free(answer);
        return 0;
}
