/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What is around the producer in drmq-send: pace, progress, the offsets that are printed, and the
 * account at the end of how much is in the log.
 */

#include "cli/progress.h"
#include "cli/writer.h"
#include "drmq.h"

struct sender {
        drmq_client *client;     /* borrowed */
        drmq_producer *producer; /* owned */
        bool is_atomic;
        bool has_offsets;
        struct writer offsets;
        struct progress progress;
        uint64_t rate; /* messages a second; 0: as fast as it goes */
        uint64_t n_paced;
        usec_t paced_since_usec;
        uint64_t n_consumed; /* of the whole that the progress goes up to */
        bool is_cut;         /* not all of the input was taken, for want of sender_is_well() */
        usec_t refused_usec; /* a node last had no space; 0: never */
        int error;           /* of the first delivery that failed; 0: none */
        char *error_text;
};

struct sender_config {
        enum drmq_acks acks;
        enum drmq_codec codec;
        enum drmq_partitioner partitioner;
        usec_t linger_usec;   /* USEC_INFINITY: the library's default */
        uint64_t batch_bytes; /* 0: the library's default */
        uint64_t rate;
        bool is_atomic, has_offsets;
        enum progress_when progress;
        uint64_t total; /* progress_init() */
};

/* @c: borrows for the life of the sender. Return: 0; negative errno, logged. sender_done() in any
 *         case. */
int sender_init(struct sender *s, drmq_client *c, const struct sender_config *config);
void sender_done(struct sender *s);

/* The slow part of sender_send(). Return: 0; -ECANCELED a signal came; what drmq_producer_poll()
 * says. */
int sender_pace(struct sender *s);

/* As drmq_producer_send(), at the pace that was asked for; -ECANCELED a signal came while it was
 * waiting. */
static inline int sender_send(struct sender *s, const struct drmq_outgoing *m) {
        int r;

        if (s->rate > 0) {
                r = sender_pace(s);
                if (r < 0)
                        return r;
        }
        return drmq_producer_send(s->producer, m);
}

/* Whether it is of use to send more: no delivery has failed, and what is printed is read. */
static inline bool sender_is_well(const struct sender *s) {
        return s->error == 0 && s->offsets.error == 0;
}

/**
 * sender_wait() - wait until there is input, and move the producer along meanwhile
 *
 * Return: 1 @fd can be read; 0 a signal came, or the sender is not well any more; negative errno,
 * logged.
 */
int sender_wait(struct sender *s, int fd);

/* Draws progress, where it is time. */
void sender_show(struct sender *s);

/**
 * sender_finish() - send the rest, wait for all answers, and say what came of it
 * @r: 0 the input was taken, up to its end or to a signal; negative errno it was not, which was
 *         logged
 *
 * Return: a status of cli/exit-code.h.
 */
int sender_finish(struct sender *s, int r);
