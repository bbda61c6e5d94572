/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Polls, prints, commits.
 *
 * I1: when a position is committed, all before it has been written to stdout.
 * I2: nothing is waited for while output is held back.
 */

#include "drmq-recv/receiver.h"

#include <inttypes.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/logging.h"
#include "cli/connect.h"
#include "cli/exit-code.h"
#include "cli/interrupt.h"

#define OUTPUT_BYTES ((size_t) 256 << 10)
#define POLL_MESSAGES_MAX 4096u
/* How often it is looked whether somebody still reads, while there is nothing to write. */
#define READER_USEC (1 * USEC_PER_SEC)

struct receiver {
        const struct receiver_config *config;
        drmq_client *client;
        drmq_consumer *consumer;
        struct writer output;
        struct progress progress;
        uint64_t n, n_bytes;
        uint64_t n_committed; /* of n */
        uint64_t n_damaged;
        struct shown_header *headers; /* of the message at hand */
        size_t n_allocated;
        usec_t last_usec;      /* the last message came */
        usec_t committed_usec; /* of the last commit, or of the first message behind it */
};

static struct progress_state state_of(const struct receiver *rc) {
        return (struct progress_state){ .n = rc->n, .n_bytes = rc->n_bytes, .done = rc->n };
}

static void show(struct receiver *rc) {
        struct progress_state s = state_of(rc);

        progress_update(&rc->progress, &s);
}

static int write_out(struct receiver *rc) {
        int r;

        r = writer_flush(&rc->output);
        if (r < 0 && r != -EPIPE)
                (void) log_error_errno(r, "Cannot write to stdout: %m");
        return r;
}

static bool has_uncommitted(const struct receiver *rc) {
        return rc->config->group && rc->n > rc->n_committed;
}

/* Return: 0; negative errno, logged unless it is -EPIPE. */
static int commit(struct receiver *rc) {
        int r;

        if (!has_uncommitted(rc))
                return 0;

        r = write_out(rc); /* I1 */
        if (r < 0)
                return r;

        /* A signal, this one or one just before, ends the waiting for messages, not this. */
        interrupt_hold(true);
        if (interrupt_count() < 2)
                drmq_client_resume(rc->client);
        r = drmq_consumer_commit(rc->consumer, /* all= */ true);
        interrupt_hold(false);
        if (r < 0)
                return connect_error(
                        rc->client, r, "Cannot commit the position of %s", rc->config->group);
        rc->n_committed = rc->n;
        rc->committed_usec = now_monotonic_usec();
        return 0;
}

/* How long the next poll may wait. */
static usec_t wait_usec(const struct receiver *rc, usec_t now) {
        usec_t wait = MIN(progress_wait_usec(&rc->progress), READER_USEC);

        if (rc->config->idle_usec != USEC_INFINITY)
                wait = MIN(wait, usec_sub(usec_add(rc->last_usec, rc->config->idle_usec), now));
        if (has_uncommitted(rc))
                wait = MIN(wait,
                           usec_sub(usec_add(rc->committed_usec, rc->config->commit_usec), now));
        return wait;
}

/* Return: messages; 0 none in time, or the end; negative errno. */
static int poll_messages(struct receiver *rc) {
        size_t n = (size_t) MIN(rc->config->n_max - rc->n, (uint64_t) POLL_MESSAGES_MAX);
        int r;

        r = drmq_consumer_poll(rc->consumer, n, /* timeout_usec= */ 0);
        if (r != 0 || drmq_consumer_is_at_end(rc->consumer))
                return r;

        r = write_out(rc); /* I2 */
        if (r < 0 || writer_has_lost_reader(&rc->output))
                return rc->output.error;
        return drmq_consumer_poll(rc->consumer, n, wait_usec(rc, now_monotonic_usec()));
}

static int collect_headers(struct receiver *rc, const drmq_message *m) {
        size_t n = drmq_message_n_headers(m);

        if (!grow(rc->headers, rc->n_allocated, n))
                return log_oom();

        for (size_t i = 0; i < n; i++) {
                struct shown_header *h = &rc->headers[i];

                (void) drmq_message_header(m, i, &h->name, &h->n_name, &h->value, &h->n_value);
        }
        return 0;
}

static int print(struct receiver *rc, size_t n) {
        const bool wants_headers = format_wants_headers(rc->config->format);
        int r;

        for (size_t i = 0; i < n; i++) {
                const drmq_message *m = drmq_consumer_message(rc->consumer, i);
                struct shown shown = {
                        .topic = drmq_message_topic(m),
                        .partition = drmq_message_partition(m),
                        .offset = drmq_message_offset(m),
                        .timestamp_ms = drmq_message_timestamp_ms(m),
                };

                shown.key = drmq_message_key(m, &shown.n_key);
                shown.value = drmq_message_value(m, &shown.n_value);
                if (wants_headers) {
                        r = collect_headers(rc, m);
                        if (r < 0)
                                return r;
                        shown.headers = rc->headers;
                        shown.n_headers = drmq_message_n_headers(m);
                }
                format_print(rc->config->format, &rc->output, &shown);
                rc->n_bytes += shown.n_value;
        }
        if (!has_uncommitted(rc))
                rc->committed_usec = now_monotonic_usec();
        rc->n += n;
        return 0;
}

/* Return: 1 go on; 0 done; negative errno, logged unless it is -EPIPE. */
static int step(struct receiver *rc) {
        usec_t now;
        int r;

        if (interrupt_count() > 0 || rc->n == rc->config->n_max)
                return 0;

        r = poll_messages(rc);
        if (r == -ECANCELED && interrupt_count() > 0)
                return 0;
        if (rc->output.error < 0)
                return rc->output.error;
        if (r == -EIO) { /* the next poll goes on behind it, where it is known what that is */
                rc->n_damaged++;
                progress_clear(&rc->progress);
                (void) connect_error(rc->client, r, "Damaged");
                return !drmq_consumer_is_at_end(rc->consumer);
        }
        if (r < 0) {
                progress_clear(&rc->progress);
                (void) connect_error(rc->client, r, "Cannot receive");
                if (r == -ERANGE && rc->config->group)
                        log_error("To go on with what there is, name a place: --from beginning");
                return r;
        }

        now = now_monotonic_usec();
        if (r > 0) {
                r = print(rc, (size_t) r);
                if (r < 0)
                        return r;
                rc->last_usec = now;
        } else if (drmq_consumer_is_at_end(rc->consumer))
                return 0;
        else if (usec_sub(now, rc->last_usec) >= rc->config->idle_usec)
                return 0;
        show(rc);

        if (rc->output.error < 0)
                return write_out(rc);
        if (has_uncommitted(rc) &&
            usec_sub(now_monotonic_usec(), rc->committed_usec) >= rc->config->commit_usec) {
                r = commit(rc);
                if (r < 0)
                        return r;
        }
        return 1;
}

/* What is left to do when no more is to be received. */
static int finish(struct receiver *rc) {
        int r;

        r = write_out(rc);
        if (r < 0)
                return r;
        return commit(rc);
}

static int status(const struct receiver *rc, int r) {
        if (r == -EPIPE) /* who reads has enough */
                return EXIT_DONE;
        if (r < 0) {
                int code = exit_code_of(r);

                return rc->n > 0 && code == EXIT_FAILED ? EXIT_PARTLY : code;
        }
        if (rc->n_damaged > 0) {
                log_error("%" PRIu64 " messages were received, %" PRIu64
                          " damaged places were passed over",
                          rc->n,
                          rc->n_damaged);
                return EXIT_PARTLY;
        }
        return rc->n == 0 && rc->config->fail_if_empty ? EXIT_NOTHING : EXIT_DONE;
}

int receiver_run(drmq_client *c, drmq_consumer *k, const struct receiver_config *config) {
        struct receiver rc = { .config = config, .client = c, .consumer = k };
        struct progress_state s;
        int r;

        assert(c);
        assert(k);
        assert(config);

        r = writer_init(&rc.output, STDOUT_FILENO, OUTPUT_BYTES);
        if (r < 0)
                return exit_code_of(log_oom());
        progress_init(&rc.progress,
                      config->progress,
                      "messages",
                      config->n_max == UINT64_MAX ? 0 : config->n_max);
        rc.last_usec = rc.committed_usec = now_monotonic_usec();

        do
                r = step(&rc);
        while (r > 0);
        if (r == 0)
                r = finish(&rc);
        else
                (void) writer_flush(&rc.output); /* what was received is printed all the same */

        s = state_of(&rc);
        progress_finish(&rc.progress, &s);
        writer_done(&rc.output);
        mem_free(rc.headers);
        return status(&rc, r);
}
