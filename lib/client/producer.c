/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The face of the producer, and its timers. What is behind it: producer-internal.h.
 */

#include "client/producer.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/alloc.h"
#include "client/producer-internal.h"

void producer_say(struct producer *p, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        (void) vsnprintf(p->text, sizeof(p->text), format, ap);
        va_end(ap);
}

static void producer_set_all_due(struct producer *p) {
        LIST_FOREACH(&p->open, lane, struct lane, in_open)
                lane_set_due(lane);
}

static void on_linger(struct io_timer *t, void *userdata) {
        struct producer *p = userdata;
        usec_t now = io_now(p->io);
        struct lane *lane;

        (void) t;
        while ((lane = list_first(&p->open, struct lane, in_open))) {
                usec_t deadline = usec_add(lane->open->open_usec, p->config.linger_usec);

                if (deadline > now) {
                        if (io_timer_set(p->io, &p->linger_timer, deadline) >= 0)
                                break;
                        /* Without memory for a timer it goes early. */
                }
                lane_set_due(lane);
        }
        producer_pump(p);
}

static void producer_end_delay(struct producer *p) {
        for (struct lane *lane; (lane = list_pop(&p->delayed, struct lane, in_queue));) {
                lane->is_delayed = false;
                lane_enqueue(lane);
        }
}

static void on_retry(struct io_timer *t, void *userdata) {
        struct producer *p = userdata;

        (void) t;
        producer_end_delay(p);
        producer_pump(p);
}

static void batch_expire(struct pending_batch *b) {
        struct lane *lane = b->lane;
        struct producer *p = lane->route->producer;
        char text[CALL_TEXT_MAX];
        int r;

        if (!session_is_up(p->session)) {
                r = session_describe(p->session, text, sizeof(text));
                batch_fail(b, r, text);
        } else if (lane->error < 0)
                batch_fail(b, lane->error, lane->text ?: "out of memory");
        else
                batch_fail(b, -ETIMEDOUT, "no answer in time");
}

static void on_expiry(struct io_timer *t, void *userdata) {
        struct producer *p = userdata;
        usec_t now = io_now(p->io);

        (void) t;
        LIST_FOREACH(&p->lanes, lane, struct lane, all) {
                bool has_expired = false;

                LIST_FOREACH(&lane->batches, b, struct pending_batch, link)
                        if (b->state != BATCH_ENDED && now >= b->deadline_usec) {
                                batch_expire(b);
                                has_expired = true;
                        }
                if (lane->open && now >= lane->open->deadline_usec &&
                    (!p->config.is_atomic || p->is_flushing)) {
                        batch_expire(lane->open);
                        has_expired = true;
                }
                if (has_expired)
                        lane_settle(lane);
        }
        if (p->config.is_atomic)
                producer_settle_all(p);
        session_connect(p->session);
        if (!heap_node_is_linked(&p->retry_timer.node))
                producer_end_delay(p);

        if (producer_n_pending(p) > 0)
                /* Without memory: with the next batch. */
                (void) io_timer_set(
                        p->io,
                        &p->expiry_timer,
                        usec_add(now, MIN(PRODUCER_EXPIRY_USEC, p->config.timeout_usec)));
        producer_pump(p);
}

static void on_producer_event(struct session_watch *w, enum session_event event, void *userdata) {
        struct producer *p = userdata;

        (void) w;
        switch (event) {
        case SESSION_UP:
                /* What was refused by a node that stopped is not by the one that came back. */
                io_timer_cancel(p->io, &p->retry_timer);
                producer_end_delay(p);
                producer_pump(p);
                break;
        case SESSION_DRAINED:
                producer_pump(p);
                break;
        case SESSION_DOWN:
        case SESSION_UNREACHABLE:
                break;
        }
}

static bool config_is_valid(const struct producer_config *c) {
        return c->batch_bytes >= 1024 && c->batch_bytes <= MESSAGE_BYTES_MAX &&
               c->buffer_bytes > 0 && c->timeout_usec > 0 && codec_is_known(c->codec) &&
               (c->codec == CODEC_NONE || codec_level_is_valid(c->codec, c->level)) &&
               (c->partitioner != PRODUCER_CALLBACK || c->pick);
}

int producer_new(struct session *s, const struct producer_config *config, struct producer **ret) {
        struct producer *p;

        assert(s);
        assert(config);
        assert(ret);

        if (!config_is_valid(config))
                return -EINVAL;

        p = new0(struct producer, 1);
        if (!p)
                return -ENOMEM;

        p->session = s;
        p->io = session_io(s);
        p->config = *config;
        if (p->config.acks == PRODUCER_ACKS_NONE)
                p->config.is_idempotent = false;
        p->in_flight_max = p->config.acks == PRODUCER_ACKS_NONE ? UINT32_MAX
                           : p->config.is_idempotent            ? PRODUCER_IN_FLIGHT_MAX
                                                                : 1;
        p->watch = (struct session_watch){ .on_event = on_producer_event, .userdata = p };
        list_init(&p->lanes);
        list_init(&p->open);
        list_init(&p->ready);
        list_init(&p->delayed);
        list_init(&p->transfers);
        p->linger_timer = (struct io_timer){ .on_timer = on_linger, .userdata = p };
        p->retry_timer = (struct io_timer){ .on_timer = on_retry, .userdata = p };
        p->expiry_timer = (struct io_timer){ .on_timer = on_expiry, .userdata = p };
        p->backoff_usec = SESSION_BACKOFF_MIN_USEC;
        p->producer_id = producer_new_id(p);
        if (p->config.codec != CODEC_NONE) {
                p->codec = codec_context_new();
                if (!p->codec) {
                        mem_free(p);
                        return -ENOMEM;
                }
        }
        session_watch_add(s, &p->watch);

        *ret = p;
        return 0;
}

struct producer *producer_free(struct producer *p) {
        if (!p)
                return NULL;

        LIST_FOREACH(&p->transfers, t, struct transfer, link) {
                session_cancel(&t->request);
                transfer_free(t);
        }
        for (size_t i = 0; i < p->n_slots; i++)
                if (p->routes[i].route)
                        route_free(p->routes[i].route);
        mem_free(p->routes);
        assert(p->charged_bytes == 0); /* I6 */

        session_watch_remove(&p->watch);
        io_timer_cancel(p->io, &p->linger_timer);
        io_timer_cancel(p->io, &p->retry_timer);
        io_timer_cancel(p->io, &p->expiry_timer);
        codec_context_free(p->codec);
        mem_free(p->gathered);
        mem_free(p->rows);
        mem_free(p->slices);
        return mem_free(p);
}

static int producer_pick(struct route *route, const struct producer_message *m, struct lane **ret) {
        struct producer *p = route->producer;
        uint32_t i = m->partition;

        if (i != PRODUCER_PARTITION_ANY) {
                if (i >= route->n_lanes) {
                        producer_say(p,
                                     "topic \"%s\" has no partition %" PRIu32 " (it has %" PRIu32
                                     ")",
                                     route->name,
                                     i,
                                     route->n_lanes);
                        return -ENXIO;
                }
        } else if (p->config.partitioner == PRODUCER_CALLBACK) {
                i = p->config.pick(p->config.pick_userdata, m->key, m->key_size, route->n_lanes);
                if (i >= route->n_lanes) {
                        producer_say(p,
                                     "the partitioner gave partition %" PRIu32 " of %" PRIu32,
                                     i,
                                     route->n_lanes);
                        return -ENXIO;
                }
        } else if (!m->key || p->config.partitioner == PRODUCER_ROUND_ROBIN)
                i = route->turn;
        else
                i = partitioner_pick(p->config.partitioner == PRODUCER_CRC32 ? PARTITIONER_CRC32
                                                                             : PARTITIONER_MURMUR2,
                                     m->key,
                                     m->key_size,
                                     route->n_lanes);

        *ret = route->lanes[i];
        return 0;
}

static uint64_t add_bytes(uint64_t n, size_t n_more) {
        return __builtin_add_overflow(n, n_more, &n) ? UINT64_MAX : n;
}

/* UINT64_MAX where the sum is not to be had. */
static uint64_t message_bytes(const struct producer_message *m) {
        uint64_t n = add_bytes(m->key_size, m->value_size);

        for (size_t i = 0; i < m->n_headers; i++)
                n = add_bytes(add_bytes(n, m->headers[i].key_size), m->headers[i].value_size);
        return n;
}

/* Whether an atomic request has room for so much more. */
static bool
producer_fits_atomic(const struct producer *p, const struct producer_message *m, uint64_t n_bytes) {
        return p->charged_bytes + n_bytes + RECORD_OVERHEAD_BYTES_MAX + m->n_headers * 10 +
                       (p->n_open + 1) * (sizeof(struct produce_slice) + BATCH_HEADER_BYTES) <=
               PRODUCER_BATCH_BYTES_MAX;
}

int producer_append(struct producer *p, const struct producer_message *m) {
        struct route *route = p->last_route;
        struct lane *lane;
        uint64_t n_bytes;
        bool is_sealed = false;
        int r;

        if (!route || !streq(route->name, m->topic)) {
                r = route_get(p, m->topic, &route);
                if (r < 0)
                        return r;
                p->last_route = route;
        }
        if (route->state != ROUTE_KNOWN)
                return route_refuse(route);

        n_bytes = message_bytes(m);
        if (n_bytes > MESSAGE_BYTES_MAX) {
                producer_say(p,
                             "a message of %" PRIu64 " bytes is larger than the limit (%u bytes)",
                             n_bytes,
                             (unsigned) MESSAGE_BYTES_MAX);
                return -EMSGSIZE;
        }
        if (p->config.is_atomic) {
                if (p->is_flushing) {
                        p->is_blocked = true;
                        return -EAGAIN;
                }
                if (p->unit_error < 0)
                        return p->unit_error;
                if (!producer_fits_atomic(p, m, n_bytes)) {
                        producer_say(p,
                                     "more than an atomic request can hold (%u bytes)",
                                     (unsigned) REQUEST_BYTES_MAX);
                        return -EMSGSIZE;
                }
        } else if (p->charged_bytes >= p->config.buffer_bytes) {
                if (!p->is_blocked) {
                        p->is_blocked = true;
                        producer_set_all_due(p);
                        producer_pump(p);
                }
                return -EAGAIN;
        }

        p->is_blocked = false;
        p->waiting_route = NULL;

        r = producer_pick(route, m, &lane);
        if (r < 0)
                return r;

        r = lane_append(lane, m, n_bytes);
        if ((r == -ENOBUFS || r == -ERANGE) && lane->open && !p->config.is_atomic) {
                r = lane_seal(lane);
                if (r < 0)
                        return r;
                is_sealed = true;
                producer_pump(p);
                r = producer_pick(route, m, &lane);
                if (r >= 0)
                        r = lane_append(lane, m, n_bytes);
        }
        if (r < 0) {
                if (r == -EMSGSIZE || r == -ENOBUFS) {
                        producer_say(p,
                                     "a message of %" PRIu64 " bytes does not fit into a request",
                                     n_bytes);
                        r = -EMSGSIZE;
                } else
                        producer_say(p,
                                     "%s",
                                     r == -ENOMEM ? "out of memory"
                                                  : "the message cannot be encoded");
                return r;
        }

        if (p->config.linger_usec == 0 && !lane->is_due && !p->config.is_atomic) {
                lane_set_due(lane);
                is_sealed = true;
                producer_pump(p);
        }
        return is_sealed;
}

void producer_watch_last(struct producer *p, struct producer_outcome *o) {
        struct pending_batch *b = p->last;

        assert(b);
        assert(!p->watched);

        *o = (struct producer_outcome){ 0 };
        p->watched = b;
        p->watched_number = p->last_number;
        p->outcome = o;
        if (b->state != BATCH_OPEN || p->config.is_atomic)
                return;

        lane_set_due(b->lane);
        producer_pump(p);
}

void producer_unwatch(struct producer *p) {
        p->watched = NULL;
}

bool producer_is_ready(const struct producer *p) {
        if (p->waiting_route && p->waiting_route->state == ROUTE_UNKNOWN)
                return !p->waiting_route->call;
        if (!p->is_blocked)
                return true;
        if (p->config.is_atomic)
                return !p->is_flushing;
        return p->charged_bytes <= p->config.buffer_bytes / 4 * 3;
}

void producer_flush(struct producer *p) {
        p->is_flushing = p->config.is_atomic && producer_n_pending(p) > 0;
        p->unit_error = 0;
        LIST_FOREACH(&p->lanes, lane, struct lane, all) {
                if (!lane->open || lane_seal(lane) >= 0)
                        continue;

                /* Without memory it goes when the next transfer is gathered. */
                if (!p->config.is_atomic) {
                        lane_set_due(lane);
                        continue;
                }
                batch_fail(lane->open, -ENOMEM, "out of memory");
                producer_settle_all(p);
                return;
        }
        producer_pump(p);
}

uint64_t producer_n_pending(const struct producer *p) {
        return p->sums.n_sent - p->sums.n_acknowledged - p->sums.n_failed;
}

const char *producer_error(const struct producer *p) {
        return p->text;
}

usec_t producer_linger_deadline(const struct producer *p) {
        const struct lane *lane = list_first(&p->open, struct lane, in_open);

        if (!lane || p->config.is_atomic)
                return USEC_INFINITY;
        return usec_add(lane->open->open_usec, p->config.linger_usec);
}

const struct producer_sums *producer_sums(const struct producer *p) {
        return &p->sums;
}
