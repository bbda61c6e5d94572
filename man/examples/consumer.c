/* SPDX-License-Identifier: Apache-2.0 */

/*
 * consumer.c - prints the messages of a topic, and goes on where it was when it is started again
 *
 *     cc -o consumer consumer.c $(pkg-config --cflags --libs libdrmq)
 *     ./consumer logs my-group
 *
 * Each message is dealt with before its position is committed: after a crash the last few come
 * again, none is left out. Where that is not wanted, store the offset together with what you make of
 * the message, and begin there with drmq_consumer_seek().
 */

#define _POSIX_C_SOURCE 200809L

#include <drmq.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

static drmq_client *client;
static volatile sig_atomic_t is_stopped;

static void on_signal(int number) {
        (void) number;
        is_stopped = 1;
        drmq_client_interrupt(client); /* the poll that waits returns -ECANCELED */
}

/* Return: 0; negative: what is to be done with messages cannot be done now. */
static int deal_with(const drmq_message *m) {
        size_t n;
        const char *value = drmq_message_value(m, &n);

        printf("%" PRIu64 " ", drmq_message_offset(m));
        fwrite(value, 1, n, stdout);
        putchar('\n');
        return ferror(stdout) ? -EIO : 0;
}

/* Return: 0 stopped; negative: an error that was told. */
static int run(drmq_consumer *consumer) {
        int n, r = 0;

        while (!is_stopped) {
                n = drmq_consumer_poll(consumer, /* n_max= */ 500, /* timeout_usec= */ UINT64_MAX);
                switch (n) {
                case -ECANCELED:
                        continue; /* we are stopped */
                case -ENOTCONN:   /* nobody is there: the library goes on trying, and so do we */
                case -EAGAIN:
                case -ETIMEDOUT:
                case -EIO: /* the node's disk lost these messages, which are named; the rest follows */
                        fprintf(stderr, "consumer: %s\n", drmq_client_error(client));
                        if (drmq_consumer_is_at_end(consumer))
                                return n; /* nothing else can come */
                        continue;
                default:
                        if (n < 0) {
                                fprintf(stderr, "consumer: %s\n", drmq_client_error(client));
                                return n;
                        }
                }

                for (int i = 0; i < n && r >= 0; i++)
                        r = deal_with(drmq_consumer_message(consumer, (size_t) i));
                if (r < 0 || fflush(stdout) != 0) {
                        perror("consumer: standard output");
                        return -EIO; /* not committed: they come again */
                }

                r = drmq_consumer_commit(consumer, /* all= */ true);
                if (r < 0 && r != -ECANCELED) /* the next commit says it too */
                        fprintf(stderr, "consumer: %s\n", drmq_client_error(client));
                r = 0;
        }
        return 0;
}

int main(int argc, char **argv) {
        struct sigaction action = { .sa_handler = on_signal };
        drmq_consumer *consumer = NULL;
        int k, r;

        if (argc != 3) {
                fprintf(stderr, "usage: consumer TOPIC GROUP\n");
                return 2;
        }

        r = drmq_client_new(NULL, &client);
        if (r < 0) {
                fprintf(stderr, "consumer: $DRMQ_BROKERS is not a list of addresses\n");
                return 1;
        }
        sigaction(SIGINT, &action, NULL);
        sigaction(SIGTERM, &action, NULL);

        r = drmq_consumer_new(client, &consumer);
        if (r >= 0)
                r = drmq_consumer_set_group(consumer, argv[2]);
        if (r >= 0) /* what retention took while we were away cannot be read any more */
                r = drmq_consumer_set_out_of_range(consumer, DRMQ_OUT_OF_RANGE_BEGINNING);
        if (r >= 0)
                r = drmq_consumer_subscribe(consumer, argv[1], NULL, 0, DRMQ_FROM_POSITION, 0);
        if (r < 0)
                fprintf(stderr, "consumer: %s\n", drmq_client_error(client));
        else
                r = run(consumer);

        /* The last commit may have been interrupted. All that was printed is dealt with. */
        drmq_client_resume(client);
        if (r >= 0) {
                k = drmq_consumer_commit(consumer, /* all= */ true);
                if (k < 0)
                        fprintf(stderr, "consumer: %s\n", drmq_client_error(client));
        }
        drmq_consumer_free(consumer);
        drmq_client_free(client);
        return r < 0;
}
