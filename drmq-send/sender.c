/* SPDX-License-Identifier: Apache-2.0 */

/* Drives the producer of drmq-send. */

#include "drmq-send/sender.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/logging.h"
#include "cli/connect.h"
#include "cli/exit-code.h"
#include "cli/interrupt.h"

#define OFFSETS_BYTES ((size_t) 64 << 10)
/* That a disk is full is said again when it had not been for so long. */
#define REFUSED_QUIET_USEC (10 * USEC_PER_SEC)

static void print_offsets(struct sender *s, const struct drmq_delivery *d) {
        for (uint32_t i = 0; i < d->n_messages; i++) {
                writer_put_string(&s->offsets, d->topic);
                writer_put_byte(&s->offsets, '\t');
                writer_put_uint(&s->offsets, d->partition);
                writer_put_byte(&s->offsets, '\t');
                writer_put_uint(&s->offsets, d->base_offset + i);
                writer_put_byte(&s->offsets, '\n');
        }
        (void) writer_flush(&s->offsets); /* the error stays: sender_is_well() */
}

static void on_delivery(void *userdata, const struct drmq_delivery *d) {
        struct sender *s = userdata;

        if (d->error == 0) {
                if (s->has_offsets)
                        print_offsets(s, d);
                return;
        }
        if (s->error < 0)
                return;
        s->error = d->error;
        s->error_text = mem_asprintf("Topic %s: %s", d->topic, d->text ?: strerror(-d->error));
}

static void on_refused(void *userdata, int error, const char *text) {
        struct sender *s = userdata;
        const usec_t now = now_monotonic_usec();

        if (error != -ENOSPC)
                return;

        if (s->refused_usec == 0 || usec_sub(now, s->refused_usec) >= REFUSED_QUIET_USEC) {
                progress_clear(&s->progress);
                log_warning("%s; trying again", text);
        }
        s->refused_usec = now;
}

static int configure(struct sender *s, const struct sender_config *config) {
        drmq_producer *p = s->producer;
        int r;

        r = drmq_producer_set_acks(p, config->acks);
        if (r >= 0 && config->acks == DRMQ_ACKS_NONE)
                r = drmq_producer_set_idempotence(p, false);
        if (r >= 0)
                r = drmq_producer_set_codec(p, config->codec, /* level= */ 0);
        if (r >= 0)
                r = drmq_producer_set_partitioner(p, config->partitioner);
        if (r >= 0 && config->linger_usec != USEC_INFINITY)
                r = drmq_producer_set_linger(p, config->linger_usec);
        if (r >= 0 && config->batch_bytes > 0)
                r = drmq_producer_set_batch_bytes(p, config->batch_bytes);
        if (r >= 0)
                r = drmq_producer_set_atomic(p, config->is_atomic);
        if (r >= 0)
                r = drmq_producer_set_delivery_callback(p, on_delivery, s);
        if (r >= 0)
                r = drmq_producer_set_refusal_callback(p, on_refused, s);
        return r;
}

int sender_init(struct sender *s, drmq_client *c, const struct sender_config *config) {
        int r;

        assert(s);
        assert(c);
        assert(config);

        *s = (struct sender){
                .client = c,
                .is_atomic = config->is_atomic,
                .has_offsets = config->has_offsets,
                .rate = config->rate,
        };
        r = writer_init(&s->offsets, STDOUT_FILENO, OFFSETS_BYTES);
        if (r < 0)
                return log_oom();
        r = drmq_producer_new(c, &s->producer);
        if (r < 0)
                return connect_error(c, r, "Cannot make a producer");
        r = configure(s, config);
        if (r < 0)
                return connect_error(c, r, "Cannot set up the producer");

        progress_init(&s->progress, config->progress, "messages", config->total);
        return 0;
}

void sender_done(struct sender *s) {
        s->producer = drmq_producer_free(s->producer);
        s->error_text = mem_free(s->error_text);
        writer_done(&s->offsets);
}

void sender_show(struct sender *s) {
        struct drmq_producer_sums sums;

        if (!s->progress.is_on)
                return;
        drmq_producer_sums(s->producer, &sums);
        progress_update(&s->progress,
                        &(struct progress_state){ .n = sums.n_acknowledged,
                                                  .n_bytes = sums.n_bytes_acknowledged,
                                                  .done = s->n_consumed });
}

/* Waits at most so long, and does what became due. Return: as interrupt_wait(). */
static int wait_step(struct sender *s, int fd, usec_t timeout_usec) {
        usec_t linger_usec = drmq_producer_wait_usec(s->producer);
        int r, k;

        timeout_usec = MIN(timeout_usec, linger_usec);
        timeout_usec = MIN(timeout_usec, progress_wait_usec(&s->progress));
        r = interrupt_wait(fd, drmq_producer_fd(s->producer), timeout_usec);
        if (r < 0)
                return r;

        /* Input that never pauses must not keep what has lingered. */
        if (!(r & WAIT_INPUT) || r & WAIT_OTHER || linger_usec == 0) {
                k = drmq_producer_poll(s->producer);
                if (k < 0)
                        return k;
        }
        sender_show(s);
        return r;
}

int sender_wait(struct sender *s, int fd) {
        int r;

        assert(s);

        for (;;) {
                if (interrupt_count() > 0 || !sender_is_well(s))
                        return 0;
                r = wait_step(s, fd, USEC_INFINITY);
                if (r < 0)
                        return connect_error(s->client, r, "Cannot send");
                if (r & WAIT_INPUT)
                        return 1;
        }
}

int sender_pace(struct sender *s) {
        usec_t now = now_monotonic_usec(), due;
        int r;

        if (s->n_paced == 0)
                s->paced_since_usec = now;
        due = s->paced_since_usec +
              (usec_t) ((double) s->n_paced * (double) USEC_PER_SEC / (double) s->rate);
        s->n_paced++;

        while (now < due) {
                if (interrupt_count() > 0)
                        return -ECANCELED;
                r = wait_step(s, /* fd= */ -EBADF, due - now);
                if (r < 0)
                        return r;
                now = now_monotonic_usec();
        }
        return 0;
}

/* The account: how many of what was taken are in the log. */
static int say_how_many(const struct drmq_producer_sums *sums, int r) {
        uint64_t n_unknown = sums->n_sent - sums->n_acknowledged;

        if (sums->n_acknowledged == 0) {
                if (n_unknown > 0)
                        log_error("None of %" PRIu64 " messages is known to be in the log",
                                  n_unknown);
                return exit_code_of(r);
        }

        if (n_unknown == 0)
                log_error("%" PRIu64 " messages that came before are in the log",
                          sums->n_acknowledged);
        else
                log_error("%" PRIu64 " of %" PRIu64 " messages are in the log, %" PRIu64
                          " are not known to be",
                          sums->n_acknowledged,
                          sums->n_sent,
                          n_unknown);
        return EXIT_PARTLY;
}

int sender_finish(struct sender *s, int r) {
        struct drmq_producer_sums sums;
        int k = 0;

        assert(s);

        /* All or nothing: what an input that failed left is dropped with the producer. */
        if (r < 0 && s->is_atomic) {
                progress_clear(&s->progress);
                log_error("Nothing was sent");
                return exit_code_of(r);
        }

        k = drmq_producer_flush(s->producer);
        drmq_producer_sums(s->producer, &sums);
        progress_finish(&s->progress,
                        &(struct progress_state){ .n = sums.n_acknowledged,
                                                  .n_bytes = sums.n_bytes_acknowledged,
                                                  .done = s->n_consumed });

        if (s->error < 0)
                log_error("%s", s->error_text ?: strerror(-s->error));
        else if (k < 0 && r >= 0)
                (void) connect_error(s->client, k, "Cannot send");
        if (s->offsets.error < 0 && s->offsets.error != -EPIPE)
                (void) log_error_errno(s->offsets.error, "Cannot write to stdout: %m");

        if (r < 0 || k < 0 || s->error < 0)
                return say_how_many(&sums, r < 0 ? r : k < 0 ? k : s->error);
        if (s->offsets.error < 0 && s->offsets.error != -EPIPE)
                return say_how_many(&sums, s->offsets.error);
        /* Who read the offsets has gone: quietly, but not all was sent. */
        return s->is_cut ? EXIT_FAILED : EXIT_DONE;
}
