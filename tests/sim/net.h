/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The simulator's network: ordered streams of bytes between the ports of processes. Bytes arrive
 * late, in pieces of any size down to one, and as much of them as a window allows; a stream breaks
 * at any byte. All of it by the seed.
 *
 * What may happen to a stream
 *   - a write takes only a part of what it is given, or nothing (-EAGAIN) while the window is full;
 *   - what one write took arrives in several pieces, what several took in one;
 *   - a piece is late by anything between config.latency_min_usec and a spike of spike_usec; order
 *     is kept;
 *   - it breaks (by chance, by order, because its other end was killed): any front of what was on
 *     the way arrives, then -ECONNRESET; a peer whose machine lost power just falls silent for some
 *     time first;
 *   - an end that is closed by its owner: all that was written arrives, or a front of it, then the
 *     end (0).
 * Never: bytes changed, doubled, or out of order.
 */

#include "base/heap.h"
#include "base/list.h"
#include "base/random.h"
#include "base/time.h"
#include "io/io.h"
#include "tests/sim/trace.h"

struct sim_net_config {
        usec_t latency_min_usec, latency_max_usec;
        usec_t spike_usec;          /* one in a few hundred pieces is late by up to this */
        size_t window_bytes;        /* on the way and unread, in one direction */
        unsigned break_per_million; /* writes after which the stream breaks */
        unsigned
                /* writes that arrive, and reads that get, a few bytes at a time */
                crumbs_per_million;
};

/* A decent local network. */
extern const struct sim_net_config sim_net_config_default;

struct sim_net {
        usec_t now_usec; /* the world's: who runs the net moves it */
        struct random random;
        struct sim_trace *trace; /* may be NULL */
        struct sim_net_config config;
        struct list listeners;
        uint64_t n_streams; /* so far: gives streams their numbers */
};

/* One process's end of the network; embedded. */
struct sim_port {
        struct sim_net *net;
        struct io *io;    /* what streams of this port belong to */
        const char *name; /* borrows */
        struct list streams;
        struct heap ready; /* streams whose handler may have to be called, by time */
        struct sim_stream *in_handler;
        bool is_dead;
};

void sim_net_init(struct sim_net *n, uint64_t seed, struct sim_trace *trace);
void sim_port_init(struct sim_port *p, struct sim_net *n, struct io *io, const char *name);
/* All streams are closed. */
void sim_port_done(struct sim_port *p);
/* The process died: listeners are gone, streams break at the other end (@is_silent: only after a
 * while); no handler is called again, and what the owner does to them has no effect; it still has
 * to close them. */
void sim_port_kill(struct sim_port *p, bool is_silent);

/* Takes @s: sets its handler and userdata. */
typedef void (*sim_accept_t)(void *userdata, struct io_stream *s);
/* From now on connections to @address ("host:port" or "unix:/path") come to this port. Until
 * sim_port_kill() or sim_port_unlisten(). */
void sim_port_listen(struct sim_port *p,
                     const char *address,
                     sim_accept_t on_accept,
                     void *userdata);
void sim_port_unlisten(struct sim_port *p);
/* Breaks every stream of the port, at any byte. Return: how many. */
unsigned sim_port_break(struct sim_port *p);

/* When sim_port_dispatch() has something to do; USEC_INFINITY: nothing. */
usec_t sim_port_next_usec(const struct sim_port *p);
/* Calls one handler, or makes one connection. */
void sim_port_dispatch(struct sim_port *p);

/* The operations, for a table of struct io; a struct io finds its port by itself and calls
 * sim_port_connect(). */
int sim_port_connect(struct sim_port *p,
                     const struct address *a,
                     io_stream_handler_t handler,
                     void *userdata,
                     struct io_stream **ret);
ssize_t sim_stream_read(struct io_stream *s, void *p, size_t n);
ssize_t sim_stream_writev(struct io_stream *s, const struct iovec *iov, size_t n_iov);
void sim_stream_want(struct io_stream *s, unsigned events);
void sim_stream_finish(struct io_stream *s);
void sim_stream_close(struct io_stream *s);
