/* SPDX-License-Identifier: Apache-2.0 */

/*
 * producer.c - the lines of standard input go to a topic, as a service would send them
 *
 *     cc -o producer producer.c $(pkg-config --cflags --libs libdrmq)
 *     tail -F some.log | ./producer logs
 *
 * What the library does by itself: it connects, and connects again; it packs messages into batches;
 * what a broken connection or a busy node left undone is sent again, in order and once. What is left
 * to decide is what happens after the time limit, to a message that cannot be sent at all, and at
 * the end.
 */

#define _POSIX_C_SOURCE 200809L

#include <drmq.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SECOND UINT64_C(1000000)

struct service {
        drmq_client *client;
        drmq_producer *producer;
        const char *topic;
        char buffer[65536]; /* what was read and not sent */
        size_t n_buffer;
        uint64_t n_lost;
};

static drmq_client *to_interrupt;
static volatile sig_atomic_t is_stopped;

static void on_signal(int number) {
        (void) number;
        is_stopped = 1;
        drmq_client_interrupt(to_interrupt); /* ends a call that waits, and wakes up poll(2) */
}

/* Called for each batch, once it is in the log or known not to be. */
static void on_delivery(void *userdata, const struct drmq_delivery *d) {
        struct service *s = userdata;

        if (d->error == 0)
                return;
        fprintf(stderr,
                "producer: %" PRIu32 " messages were not sent: %s\n",
                d->n_messages,
                d->text);
        s->n_lost += d->n_messages;
}

/* Return: 0 the message is on its way, or left out; negative: it is neither, and the program ends. */
static int send_line(struct service *s, const char *line, size_t n) {
        struct drmq_outgoing message = {
                .topic = s->topic,
                .partition = DRMQ_PARTITION_ANY,
                .value = line,
                .value_size = n,
        };

        for (;;) {
                int r = drmq_producer_send(s->producer, &message);

                switch (r) {
                case -ENOTCONN:  /* nobody is there */
                case -EAGAIN:    /* there is no leader */
                case -ETIMEDOUT: /* the buffer is full, and nothing was acknowledged for so long */
                        fprintf(stderr, "producer: %s\n", drmq_client_error(s->client));
                        break;  /* a service goes on trying: its input waits meanwhile */
                case -EMSGSIZE: /* this one cannot be sent, others can */
                        fprintf(stderr, "producer: %s\n", drmq_client_error(s->client));
                        s->n_lost++;
                        return 0;
                default:
                        if (r < 0 && r != -ECANCELED)
                                fprintf(stderr, "producer: %s\n", drmq_client_error(s->client));
                        return r;
                }
        }
}

/* Return: 1; 0 the end of the input; negative: an error. */
static int send_input(struct service *s) {
        const char *line = s->buffer, *end;
        ssize_t n;
        int r = 0;

        n = read(STDIN_FILENO, s->buffer + s->n_buffer, sizeof(s->buffer) - s->n_buffer);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
                return 1;
        if (n < 0) {
                perror("producer: standard input");
                return -EIO;
        }

        s->n_buffer += (size_t) n;
        while (r >= 0 && (end = memchr(line, '\n', s->n_buffer))) {
                r = send_line(s, line, (size_t) (end - line));
                s->n_buffer -= (size_t) (end - line) + 1;
                line = end + 1;
        }
        /* A line without an end, or one that is too long for this program. */
        if (r >= 0 && s->n_buffer > 0 && (n == 0 || s->n_buffer == sizeof(s->buffer))) {
                r = send_line(s, line, s->n_buffer);
                s->n_buffer = 0;
        }
        memmove(s->buffer, line, s->n_buffer);
        return r < 0 ? r : n > 0;
}

/* Waits for input, and meanwhile for the producer: what lingers has to go, answers have to be
 * taken. Return: 0 the end, or stopped; negative: an error. */
static int run(struct service *s) {
        int r = 1;

        while (r > 0 && !is_stopped) {
                struct pollfd fds[] = {
                        { .fd = STDIN_FILENO, .events = POLLIN },
                        { .fd = drmq_producer_fd(s->producer), .events = POLLIN },
                };
                uint64_t wait_usec = drmq_producer_wait_usec(s->producer);
                int timeout_ms = wait_usec < 3600 * SECOND ? (int) ((wait_usec + 999) / 1000) : -1;

                if (poll(fds, 2, timeout_ms) < 0)
                        continue; /* a signal */
                r = drmq_producer_poll(s->producer);
                if (r < 0 && r != -ECANCELED)
                        fprintf(stderr, "producer: %s\n", drmq_client_error(s->client));
                if (r >= 0)
                        r = fds[0].revents ? send_input(s) : 1;
        }
        return r == -ECANCELED ? 0 : r; /* we are stopped */
}

int main(int argc, char **argv) {
        static struct service s;
        struct sigaction action = { .sa_handler = on_signal };
        struct drmq_producer_sums sums;
        int r;

        if (argc != 2) {
                fprintf(stderr, "usage: producer TOPIC\n");
                return 2;
        }
        s.topic = argv[1];

        r = drmq_client_new(NULL, &s.client);
        if (r < 0) {
                fprintf(stderr, "producer: $DRMQ_BROKERS is not a list of addresses\n");
                return 1;
        }
        to_interrupt = s.client;
        sigaction(SIGINT, &action, NULL);
        sigaction(SIGTERM, &action, NULL);

        r = drmq_producer_new(s.client, &s.producer);
        if (r >= 0)
                r = drmq_producer_set_codec(s.producer, DRMQ_CODEC_ZSTD, 0);
        if (r >= 0)
                r = drmq_producer_set_linger(s.producer, 20000);
        if (r >= 0)
                r = drmq_producer_set_delivery_callback(s.producer, on_delivery, &s);
        if (r < 0)
                fprintf(stderr, "producer: %s\n", drmq_client_error(s.client));
        else
                r = run(&s);

        /* What was taken is brought to its end, but not for ever: who stops a service waits. */
        drmq_client_resume(s.client);
        if (r >= 0) {
                r = drmq_producer_flush_timeout(s.producer, 10 * SECOND);
                if (r < 0)
                        fprintf(stderr, "producer: %s\n", drmq_client_error(s.client));
        }
        drmq_producer_sums(s.producer, &sums);
        fprintf(stderr,
                "producer: %" PRIu64 " sent, %" PRIu64 " in the log, %" PRIu64 " lost\n",
                sums.n_sent,
                sums.n_acknowledged,
                s.n_lost);

        drmq_producer_free(s.producer);
        drmq_client_free(s.client);
        return r < 0 || s.n_lost > 0;
}
