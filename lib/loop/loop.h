/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The inside of struct io_loop, for the files of this folder only. */

#include <sys/epoll.h>
#include <systemd/sd-event.h>

#include "io/io-posix.h"
#include "loop/io-loop.h"
#include "loop/log-writer.h"
#include "loop/worker.h"

/* Sockets that are handled one after the other before other sources have their turn. */
#define LOOP_READY_MAX 32u

struct io_loop {
        struct io_base base;
        sd_event *event;

        /* What comes after the events at hand: log writes, handlers of broken streams, timers. */
        sd_event_source *late;
        bool is_late_armed;
        bool is_late_promoted;
        uint64_t late_round; /* counts the times it was armed, from 1 */

        sd_event_source *wake; /* for the next deadline; may be earlier than that, never later */
        usec_t wake_usec;      /* USEC_INFINITY: off */

        struct inbox *inbox;
        sd_event_source *inbox_source;
        uint64_t inbox_round;
        struct list completed; /* taken from the inbox, not yet handed back */
        struct log_writer *log_writer;
        struct worker_pool *readers, *background, *resolvers;

        int epoll_fd; /* of the streams' sockets (stream.c) */
        sd_event_source *sockets;
        struct epoll_event ready[LOOP_READY_MAX]; /* taken from epoll … */
        size_t n_ready, n_handled;                /* … and of those, handled */
        struct list streams;                      /* all of them */
        struct list broken;  /* connections that failed, and whose handler may have to be told */
        struct list lookups; /* all of them (stream.c) */
};

static inline struct io_loop *loop_of(struct io *io) {
        return CONTAINER_OF(io, struct io_loop, base.io);
}

/* What sd-event answers when a source that is there is set: it can fail only because the event loop
 * is over (-ESTALE), and then it does not matter. */
static inline void loop_assert_set(int r) {
        assert(r >= 0 || r == -ESTALE);
}

/* Lets what is late run once the events at hand have been handled. */
void loop_arm_late(struct io_loop *l);
/* To be called at the begin of each handler of an event source. @round is the source's own, 0 at
 * first. */
void loop_note_event(struct io_loop *l, uint64_t *round);
