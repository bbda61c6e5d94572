/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Streams of the simulated network.
 *
 * I1: what an end may read is the front of its chunks whose time has come; chunks are in order of
 * time. I2: a stream is in its port's heap while its handler may have to be called, at the time
 * when that can be. I3: an end whose peer is gone has an end_usec: from then on it reads end_error
 * (0: the end) behind the last chunk.
 */

#include "tests/sim/net.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/parse.h"
#include "tests/sim/image.h"

#define MILLION 1000000u
#define SPIKE_ONE_IN 300u
/* So many pieces of a write are crumbs, where it begins with one. */
#define CRUMBS 200u
#define CRUMB_BYTES_MAX 7u
/* A peer without power is missed within this. */
#define SILENCE_USEC_MAX (5 * USEC_PER_SEC)
#define LOCAL_UID 1000u

const struct sim_net_config sim_net_config_default = {
        .latency_min_usec = 10,
        .latency_max_usec = 300,
        .spike_usec = 50 * USEC_PER_MSEC,
        .window_bytes = 128 * 1024,
        .crumbs_per_million = 2000,
};

struct chunk {
        struct list link;
        usec_t arrival_usec;
        size_t n, n_read;
        uint8_t bytes[];
};

struct listener {
        struct list link; /* in the net's */
        struct sim_port *port;
        char *address;
        sim_accept_t on_accept;
        void *userdata;
};

struct sim_stream {
        struct io_stream stream;
        uint64_t number;
        struct sim_port *port;
        struct list link; /* in the port's */
        struct heap_node ready;
        unsigned wanted;

        char *address; /* while it is connecting, else NULL */
        usec_t connect_usec;

        struct sim_stream *peer; /* NULL: gone, or not yet there */
        struct list chunks;      /* to be read here */
        size_t n_bytes;          /* in them, unread */
        usec_t latency_usec;
        usec_t end_usec; /* USEC_INFINITY: it stands */
        int end_error;
        bool has_finished;  /* it writes no more */
        bool peer_finished; /* the end is that of a peer who still reads */
};

static struct sim_stream *stream_of(struct io_stream *s) {
        return CONTAINER_OF(s, struct sim_stream, stream);
}

static bool by_chance(struct sim_net *n, unsigned per_million) {
        return per_million > 0 && random_chance(&n->random, per_million, MILLION);
}

/* A fault meant for the code under test may hit the heap; it fires once. */
static void push(struct heap *h, struct heap_node *n, usec_t at) {
        if (heap_push(h, n, at) < 0 && heap_push(h, n, at) < 0)
                abort();
}

/* ---- When a handler is to be called ---- */

static usec_t readable_usec(const struct sim_stream *s) {
        const struct chunk *c = list_first(&s->chunks, struct chunk, link);

        return c ? c->arrival_usec : s->end_usec;
}

/* An end whose peer is gone takes bytes until it notices; then writing says so. */
static bool has_room(const struct sim_stream *s) {
        return !s->peer || s->peer->n_bytes < s->port->net->config.window_bytes;
}

static void reschedule(struct sim_stream *s) {
        struct sim_net *n = s->port->net;
        usec_t at = USEC_INFINITY;

        heap_remove(&s->port->ready, &s->ready);
        if (s->port->is_dead)
                return;

        if (s->address)
                at = s->connect_usec;
        else {
                if (s->wanted & IO_STREAM_READABLE)
                        at = MIN(at, MAX(readable_usec(s), n->now_usec + 1));
                if ((s->wanted & IO_STREAM_WRITABLE) && has_room(s))
                        at = MIN(at, n->now_usec + 1);
        }
        if (at != USEC_INFINITY)
                push(&s->port->ready, &s->ready, at + random_below(&n->random, 10)); /* I2 */
}

static usec_t latency(struct sim_stream *s) {
        struct sim_net *n = s->port->net;
        usec_t spike = 0;

        if (n->config.spike_usec > 0 && random_chance(&n->random, 1, SPIKE_ONE_IN))
                spike = random_below(&n->random, n->config.spike_usec);
        return s->latency_usec + random_below(&n->random, s->latency_usec / 2 + 1) + spike;
}

/* ---- Life ---- */

static struct sim_stream *stream_new(struct sim_port *p, bool is_local) {
        struct sim_stream *s = must(calloc(1, sizeof(*s)));
        struct sim_net *n = p->net;

        s->stream = (struct io_stream){ .io = p->io, .is_local = is_local, .uid = LOCAL_UID };
        s->number = ++n->n_streams;
        s->port = p;
        s->end_usec = USEC_INFINITY;
        s->latency_usec =
                random_between(&n->random, n->config.latency_min_usec, n->config.latency_max_usec);
        list_init(&s->chunks);
        list_append(&p->streams, &s->link);
        return s;
}

/* Drops what has not arrived, from some byte on. */
static void cut_chunks(struct sim_stream *s) {
        size_t keep = random_below(&s->port->net->random, s->n_bytes + 1);

        LIST_FOREACH(&s->chunks, c, struct chunk, link) {
                size_t n = MIN(keep, c->n - c->n_read);

                keep -= n;
                s->n_bytes -= c->n - c->n_read - n;
                c->n = c->n_read + n;
                if (n == 0) {
                        list_remove(&c->link);
                        free(c);
                }
        }
}

/* The other end of @s is gone. @is_cut: not all of what it wrote arrives. */
static void end_stream(struct sim_stream *s, int error, bool is_cut, usec_t delay_usec) {
        const struct chunk *last;

        if (s->peer)
                s->peer->peer = NULL;
        s->peer = NULL;
        if (is_cut)
                cut_chunks(s);

        last = list_last(&s->chunks, struct chunk, link);
        if (!s->peer_finished || is_cut) {
                s->end_usec = MAX(s->port->net->now_usec + latency(s) + delay_usec,
                                  last ? last->arrival_usec : 0); /* I3 */
                s->end_error = error;
        }
        s->peer_finished = false;
        reschedule(s);
}

void sim_stream_finish(struct io_stream *stream) {
        struct sim_stream *s = stream_of(stream), *peer = s->peer;
        const struct chunk *last;

        if (!peer || s->has_finished || s->port->is_dead)
                return;

        sim_trace(s->port->net->trace, "%s: finish stream %" PRIu64, s->port->name, s->number);
        s->has_finished = peer->peer_finished = true;
        last = list_last(&peer->chunks, struct chunk, link);
        peer->end_usec = MAX(s->port->net->now_usec + latency(peer), last ? last->arrival_usec : 0);
        peer->end_error = 0;
        reschedule(peer);
}

void sim_stream_close(struct io_stream *stream) {
        struct sim_stream *s = stream_of(stream);
        struct sim_net *n = s->port->net;

        if (!s->port->is_dead)
                sim_trace(n->trace, "%s: close stream %" PRIu64, s->port->name, s->number);
        if (s->peer) {
                /* TCP resets what is closed with bytes unread. */
                bool is_cut = s->n_bytes > 0 || random_chance(&n->random, 1, 10);

                end_stream(s->peer, is_cut ? -ECONNRESET : 0, is_cut, 0);
        }

        if (s->port->in_handler == s)
                s->port->in_handler = NULL;
        heap_remove(&s->port->ready, &s->ready);
        list_remove(&s->link);
        LIST_FOREACH(&s->chunks, c, struct chunk, link)
                free(c);
        free(s->address);
        free(s);
}

/* ---- The operations ---- */

int sim_port_connect(struct sim_port *p,
                     const struct address *a,
                     io_stream_handler_t handler,
                     void *userdata,
                     struct io_stream **ret) {
        struct sim_net *n = p->net;
        struct sim_stream *s;
        char address[512];

        if (p->is_dead)
                return -ECANCELED;

        if (a->path)
                (void) snprintf(address, sizeof(address), "unix:%s", a->path);
        else
                (void) snprintf(address, sizeof(address), "%s:%u", a->host, a->port);

        s = stream_new(p, a->path);
        s->stream.handler = handler;
        s->stream.userdata = userdata;
        s->address = must(strdup(address));
        s->connect_usec = n->now_usec + latency(s);
        sim_trace(n->trace, "%s: connect stream %" PRIu64 " to %s", p->name, s->number, address);
        reschedule(s);

        *ret = &s->stream;
        return 0;
}

ssize_t sim_stream_read(struct io_stream *stream, void *p, size_t n) {
        struct sim_stream *s = stream_of(stream);
        struct sim_net *net = s->port->net;
        size_t done = 0;

        if (s->port->is_dead)
                return -ECANCELED;
        if (s->address)
                return -EAGAIN;
        if (n > 0 && by_chance(net, net->config.crumbs_per_million))
                n = random_between(&net->random, 1, MIN(n, (size_t) CRUMB_BYTES_MAX));

        LIST_FOREACH(&s->chunks, c, struct chunk, link) {
                size_t k = MIN(n - done, c->n - c->n_read);

                if (c->arrival_usec > net->now_usec || k == 0) /* I1 */
                        break;
                memcpy((uint8_t *) p + done, c->bytes + c->n_read, k);
                c->n_read += k;
                done += k;
                if (c->n_read == c->n) {
                        list_remove(&c->link);
                        free(c);
                }
        }

        if (done > 0) {
                s->n_bytes -= done;
                if (s->peer)
                        reschedule(s->peer);
                return (ssize_t) done;
        }
        return readable_usec(s) <= net->now_usec && list_is_empty(&s->chunks) ? s->end_error
                                                                              : -EAGAIN;
}

/* Gives one piece of @n bytes to the other end. */
static void deliver(struct sim_stream *to, const uint8_t *p, size_t n) {
        const struct chunk *last = list_last(&to->chunks, struct chunk, link);
        struct chunk *c = must(malloc(sizeof(*c) + n));

        c->arrival_usec = to->port->net->now_usec + latency(to);
        if (last) /* I1 */
                c->arrival_usec =
                        MAX(c->arrival_usec,
                            last->arrival_usec + random_below(&to->port->net->random, 20));
        c->n = n;
        c->n_read = 0;
        memcpy(c->bytes, p, n);
        list_append(&to->chunks, &c->link);
        to->n_bytes += n;
}

static void break_stream(struct sim_stream *s) {
        struct sim_stream *peer = s->peer;

        if (!peer)
                return;

        sim_trace(s->port->net->trace,
                  "break streams %" PRIu64 " and %" PRIu64,
                  s->number,
                  peer->number);
        end_stream(s, -ECONNRESET, /* is_cut= */ true, 0);
        end_stream(peer, -ECONNRESET, /* is_cut= */ true, 0);
}

ssize_t sim_stream_writev(struct io_stream *stream, const struct iovec *iov, size_t n_iov) {
        struct sim_stream *s = stream_of(stream);
        struct sim_net *net = s->port->net;
        uint64_t hash = SIM_HASH_INIT;
        size_t room, n_crumbs = 0, done = 0;

        if (s->port->is_dead)
                return -ECANCELED;
        if (s->address)
                return -EAGAIN;
        if (s->has_finished)
                return -EPIPE;
        if (s->end_usec <= net->now_usec && !s->peer_finished)
                return s->end_error ?: -EPIPE;
        if (!has_room(s))
                return -EAGAIN;

        room = s->peer ? net->config.window_bytes - s->peer->n_bytes : net->config.window_bytes;
        if (random_chance(&net->random, 1, 8))
                room = random_between(&net->random, 1, room);
        if (by_chance(net, net->config.crumbs_per_million))
                n_crumbs = CRUMBS;

        for (size_t i = 0; i < n_iov && done < room; i++) {
                const uint8_t *p = iov[i].iov_base;
                size_t n = MIN(iov[i].iov_len, room - done);

                hash = sim_hash(hash, p, MIN(n, (size_t) 64));
                for (size_t at = 0, k; at < n; at += k) {
                        k = n - at;
                        if (n_crumbs > 0) {
                                k = random_between(
                                        &net->random, 1, MIN(k, (size_t) CRUMB_BYTES_MAX));
                                n_crumbs--;
                        } else if (random_chance(&net->random, 1, 8))
                                k = random_between(&net->random, 1, k);
                        if (s->peer)
                                deliver(s->peer, p + at, k);
                }
                done += n;
        }

        sim_trace(net->trace,
                  "%s: stream %" PRIu64 " writes %zu, %016" PRIx64,
                  s->port->name,
                  s->number,
                  done,
                  hash);
        if (s->peer)
                reschedule(s->peer);
        if (by_chance(net, net->config.break_per_million))
                break_stream(s);
        return (ssize_t) done;
}

void sim_stream_want(struct io_stream *stream, unsigned events) {
        struct sim_stream *s = stream_of(stream);

        if (s->wanted == events)
                return;
        s->wanted = events;
        if (s->port->in_handler != s)
                reschedule(s);
}

/* ---- Ports ---- */

void sim_net_init(struct sim_net *n, uint64_t seed, struct sim_trace *trace) {
        *n = (struct sim_net){
                .trace = trace,
                .config = sim_net_config_default,
        };
        random_init(&n->random, seed);
        list_init(&n->listeners);
}

void sim_port_init(struct sim_port *p, struct sim_net *n, struct io *io, const char *name) {
        *p = (struct sim_port){ .net = n, .io = io, .name = name };
        list_init(&p->streams);
        heap_init(&p->ready);
}

void sim_port_unlisten(struct sim_port *p) {
        LIST_FOREACH(&p->net->listeners, l, struct listener, link)
                if (l->port == p) {
                        list_remove(&l->link);
                        free(l->address);
                        free(l);
                }
}

void sim_port_done(struct sim_port *p) {
        assert(list_is_empty(&p->streams));

        sim_port_unlisten(p);
        heap_done(&p->ready);
}

void sim_port_kill(struct sim_port *p, bool is_silent) {
        p->is_dead = true;
        sim_port_unlisten(p);

        LIST_FOREACH(&p->streams, s, struct sim_stream, link) {
                heap_remove(&p->ready, &s->ready);
                if (s->peer)
                        end_stream(s->peer,
                                   -ECONNRESET,
                                   /* is_cut= */ true,
                                   is_silent ? random_below(&p->net->random, SILENCE_USEC_MAX) : 0);
        }
}

void sim_port_listen(struct sim_port *p,
                     const char *address,
                     sim_accept_t on_accept,
                     void *userdata) {
        struct listener *l = must(calloc(1, sizeof(*l)));

        l->port = p;
        l->address = must(strdup(address));
        l->on_accept = on_accept;
        l->userdata = userdata;
        list_append(&p->net->listeners, &l->link);
}

unsigned sim_port_break(struct sim_port *p) {
        unsigned n = 0;

        LIST_FOREACH(&p->streams, s, struct sim_stream, link) {
                n += s->peer != NULL;
                break_stream(s);
        }
        return n;
}

usec_t sim_port_next_usec(const struct sim_port *p) {
        const struct heap_node *n = heap_peek(&p->ready);

        return n ? n->priority : USEC_INFINITY;
}

/* Connects @s to whoever listens, or refuses. */
static void connect_stream(struct sim_stream *s) {
        struct sim_net *n = s->port->net;
        struct listener *listener = NULL;
        struct sim_stream *peer;

        LIST_FOREACH(&n->listeners, l, struct listener, link)
                if (!listener && streq(l->address, s->address))
                        listener = l;

        free(s->address);
        s->address = NULL;
        if (!listener) {
                sim_trace(n->trace, "%s: stream %" PRIu64 " is refused", s->port->name, s->number);
                s->end_usec = n->now_usec;
                s->end_error = -ECONNREFUSED;
                reschedule(s);
                return;
        }

        peer = stream_new(listener->port, s->stream.is_local);
        peer->peer = s;
        s->peer = peer;
        sim_trace(n->trace,
                  "%s: accept stream %" PRIu64 " of stream %" PRIu64 " from %s",
                  listener->port->name,
                  peer->number,
                  s->number,
                  s->port->name);
        reschedule(s);
        listener->on_accept(listener->userdata, &peer->stream);
}

void sim_port_dispatch(struct sim_port *p) {
        struct heap_node *node = heap_pop(&p->ready);
        struct sim_stream *s;
        unsigned events = 0;

        if (!node)
                return;

        s = CONTAINER_OF(node, struct sim_stream, ready);
        if (s->address) {
                connect_stream(s);
                return;
        }

        if (readable_usec(s) <= p->net->now_usec)
                events |= IO_STREAM_READABLE;
        if (has_room(s))
                events |= IO_STREAM_WRITABLE;
        events &= s->wanted;

        if (events) {
                p->in_handler = s;
                s->stream.handler(&s->stream, events, s->stream.userdata);
                if (p->in_handler != s)
                        return; /* closed; or the process died */
                p->in_handler = NULL;
        }
        reschedule(s);
}
