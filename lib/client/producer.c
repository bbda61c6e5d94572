/* SPDX-License-Identifier: Apache-2.0 */

/*
 * From messages to acknowledged batches. A topic is a `route` with a `lane` for each partition; a lane holds batches in
 * the order of their sequences, oldest first; a `transfer` is a produce request under way.
 *
 *  I1  lane->batches: ENDED, SENT and READY in any mixture as answers come, but what is READY goes out in order, and
 *      nothing goes out behind a batch that came back (is_rewinding) until everything that is out has come back.
 *  I2  lane->n_sent is the number of its batches that are SENT; each of them, and no other, has a transfer.
 *  I3  Deliveries of a lane happen in the order of its batches: only the first one ends.
 *  I4  A lane is in `delayed`, or in `ready` if and only if lane_has_work().
 *  I5  A batch that was in doubt is never sent under another id.
 *  I6  charged_bytes is the sum over all batches of what each holds; of open ones, of their builders' sizes.
 *  I7  Atomic: one transfer at a time, with all batches; they end together.
 */

#include "client/producer.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/crc32c.h"
#include "batch/builder.h"
#include "proto/table.h"

/* A batch fills a request with its own prelude, header and row. */
#define BATCH_BYTES_LIMIT ((size_t) REQUEST_BYTES_MAX - 4096)
#define TRANSFER_BATCHES_MAX 16384u
/* Batches up to this size are copied together, so that the socket is not given thousands of small pieces. */
#define SMALL_BATCH_BYTES 4096u
#define EXPIRY_PERIOD_USEC USEC_PER_SEC

enum batch_state {
        BATCH_OPEN,  /* its messages are in the lane's builder */
        BATCH_READY, /* to be sent, or sent again */
        BATCH_SENT,
        BATCH_ENDED, /* waits for those before it */
};

struct transfer;
struct lane;

struct pending_batch {
        struct list link; /* lane->batches, but not while OPEN */
        struct lane *lane;
        enum batch_state state;
        struct transfer *transfer;
        size_t slot;
        struct slice bytes;
        size_t charged_bytes;
        int32_t sequence;
        uint32_t n_messages;
        uint64_t n_bytes;
        uint64_t *tags;
        size_t n_tags_allocated;
        usec_t open_usec;
        usec_t deadline_usec;
        bool in_doubt; /* it went out, and what came of it is not known (I5) */
        bool was_sent;
        /* ENDED */
        int error;
        char *text;
        uint64_t base_offset;
};

/* What each message touches stands first, in as few cache lines as can be: with thousands of lanes that is what a
 * message costs. */
struct lane {
        struct route *route;
        struct pending_batch *open;
        struct builder builder;
        uint64_t open_bytes; /* keys, values and headers in it */
        bool is_due;         /* the open batch need not wait any longer */
        bool is_delayed;     /* in ->delayed */
        bool is_rewinding;   /* I1 */
        bool needs_id;       /* its sequence has a gap */
        bool is_introduced;  /* the node has a batch of this id */
        uint32_t number;
        uint64_t id;
        struct list all;      /* producer->lanes */
        struct list in_open;  /* producer->open, from the opening until it has lingered */
        struct list in_queue; /* producer->ready, or ->delayed where is_delayed */
        struct list batches;
        unsigned n_ready, n_sent, n_ended;
        int64_t producer_id;
        int32_t next_sequence;
        usec_t used_usec;
        int error; /* the last one that may pass */
        char *text;
};

enum route_state {
        ROUTE_UNKNOWN,
        ROUTE_KNOWN,
        ROUTE_FAILED, /* told once, then UNKNOWN again */
};

struct route {
        struct lane **lanes; /* &only_lane where there is one */
        struct lane *only_lane;
        uint32_t n_lanes;
        uint32_t turn; /* which lane takes what has no key */
        enum route_state state;
        int error;
        struct producer *producer;
        struct call *call; /* while it is being asked for */
        usec_t asked_usec;
        char name[];
};

/* Where to find a route; the hash comes along, so that others need not be looked at. */
struct route_slot {
        uint32_t hash;
        struct route *route; /* NULL: free */
};

struct transfer {
        struct list link;
        struct session_request request;
        struct producer *producer;
        size_t n;
        struct lane **touched;           /* room for n */
        struct pending_batch *batches[]; /* NULL: ended meanwhile */
};

struct producer {
        struct session *session;
        struct io *io;
        struct producer_config config;
        struct session_watch watch;
        struct route_slot *routes; /* open addressing; at most half full */
        size_t n_slots, n_routes;  /* n_slots: a power of two, or 0 */
        struct route *last_route;
        struct route *waiting_route; /* why producer_append() said -EAGAIN */
        struct list lanes;
        struct list open;
        struct list ready;
        struct list delayed;
        struct list transfers;
        size_t n_transfers, n_out; /* batches in them */
        struct io_timer linger_timer, retry_timer, expiry_timer;
        usec_t backoff_usec;
        unsigned in_flight_max;
        size_t charged_bytes;
        size_t builder_bytes_max;
        size_t n_open; /* open batches */
        bool is_blocked;
        bool is_flushing; /* atomic: what is there may go */
        int unit_error;   /* atomic: it failed before its flush */
        int64_t producer_id;
        struct codec_context *codec;
        struct producer_sums sums;
        char text[CALL_TEXT_MAX];
        /* Scratch of transfer_new(). */
        struct pending_batch **gathered;
        size_t n_gathered_allocated;
        struct produce_slice *rows;
        size_t n_rows_allocated;
        struct slice *slices;
        size_t n_slices_allocated;
};

static void producer_pump(struct producer *p);
static int route_ask(struct route *route, bool create);

static void _printf_(2, 3) producer_say(struct producer *p, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        (void) vsnprintf(p->text, sizeof(p->text), format, ap);
        va_end(ap);
}

/* ---- Batches ---- */

static struct pending_batch *batch_free(struct pending_batch *b) {
        slice_done(&b->bytes);
        mem_free(b->tags);
        mem_free(b->text);
        return mem_free(b);
}

static void producer_recharge(struct producer *p, struct pending_batch *b, size_t n_bytes) {
        p->charged_bytes = p->charged_bytes - b->charged_bytes + n_bytes; /* I6 */
        b->charged_bytes = n_bytes;
}

static bool lane_has_work(const struct lane *lane) {
        const struct producer *p = lane->route->producer;
        unsigned in_flight_max = p->in_flight_max, n_out = lane->n_sent + lane->n_ended;

        if (lane->is_rewinding)
                return false;
        /* A node remembers the last PRODUCER_IN_FLIGHT_MAX batches of an id: what has ended out of order counts too, so
         * that the one which has not can be found there when it is sent again. */
        /* A node that knows nothing of an id takes any sequence: so it has to have the first batch before the second may
         * go, or a first one that was refused would end up behind it. */
        if (lane->producer_id >= 0 && !lane->is_introduced)
                in_flight_max = 1;
        if (lane->n_ready > 0)
                return n_out < in_flight_max;
        /* Without linger what comes while something is under way goes together, when that has come back. */
        return lane->open && lane->is_due && !p->config.is_atomic &&
               n_out < (p->config.linger_usec > 0 ? in_flight_max : 1u);
}

/* Puts the lane where it belongs (I4). */
static void lane_enqueue(struct lane *lane) {
        struct producer *p = lane->route->producer;

        if (lane->is_delayed)
                return;
        if (!lane_has_work(lane))
                list_remove(&lane->in_queue);
        else if (list_is_empty(&lane->in_queue))
                list_append(&p->ready, &lane->in_queue);
}

static void lane_delay(struct lane *lane) {
        struct producer *p = lane->route->producer;
        usec_t pause;

        list_remove(&lane->in_queue);
        list_append(&p->delayed, &lane->in_queue);
        lane->is_delayed = true;
        if (heap_node_is_linked(&p->retry_timer.node))
                return;

        pause = p->backoff_usec / 2 + io_random_u64(p->io) % (p->backoff_usec / 2 + 1);
        p->backoff_usec = MIN(p->backoff_usec * 2, SESSION_BACKOFF_MAX_USEC);
        /* Without memory for the timer the expiry's period serves. */
        (void) io_timer_set(p->io, &p->retry_timer, usec_add(io_now(p->io), pause));
}

/* Tells of the batches that have ended, as long as none before them has not (I3). */
static void lane_deliver(struct lane *lane) {
        struct producer *p = lane->route->producer;

        for (;;) {
                struct pending_batch *b = list_first(&lane->batches, struct pending_batch, link);
                struct producer_delivery d;

                if (!b || b->state != BATCH_ENDED)
                        return;

                list_remove(&b->link);
                lane->n_ended--;
                producer_recharge(p, b, 0);
                if (b->error < 0) {
                        p->sums.n_failed += b->n_messages;
                        producer_say(p, "%s", b->text ?: "out of memory");
                } else {
                        p->sums.n_acknowledged += b->n_messages;
                        p->sums.n_bytes_acknowledged += b->n_bytes;
                }

                d = (struct producer_delivery){
                        .topic = lane->route->name,
                        .partition = lane->number,
                        .base_offset = b->base_offset,
                        .n_messages = b->n_messages,
                        .n_bytes = b->n_bytes,
                        .tags = b->tags,
                        .error = b->error,
                        .text = b->error < 0 ? b->text ?: "out of memory" : "",
                };
                if (p->config.on_delivery)
                        p->config.on_delivery(&d, p->config.userdata);
                batch_free(b);
        }
}

/* What the lane kept for its open batch becomes the batch's own. */
static void batch_close(struct pending_batch *b) {
        struct lane *lane = b->lane;

        assert(lane->open == b);
        b->n_messages = (uint32_t) builder_n_records(&lane->builder);
        b->n_bytes = lane->open_bytes;
        b->charged_bytes = builder_size(&lane->builder);
        list_remove(&lane->in_open);
        list_append(&lane->batches, &b->link);
        lane->open = NULL;
        lane->open_bytes = 0;
        lane->is_due = false;
        lane->route->producer->n_open--;
}

static void batch_detach(struct pending_batch *b) {
        struct lane *lane = b->lane;

        switch (b->state) {
        case BATCH_OPEN:
                batch_close(b);
                builder_done(&lane->builder);
                break;
        case BATCH_READY:
                lane->n_ready--;
                break;
        case BATCH_SENT:
                lane->n_sent--; /* I2 */
                b->transfer->batches[b->slot] = NULL;
                b->transfer = NULL;
                break;
        case BATCH_ENDED:
                assert(false);
        }
}

/* To be followed by lane_settle(). */
static void batch_succeed(struct pending_batch *b, uint64_t base_offset) {
        struct lane *lane = b->lane;

        batch_detach(b);
        b->state = BATCH_ENDED;
        lane->n_ended++;
        b->base_offset = base_offset;
        slice_done(&b->bytes);
}

static void batch_fail_alone(struct pending_batch *b, int error, const char *text) {
        struct lane *lane = b->lane;
        bool was_in_doubt = b->in_doubt || b->state == BATCH_SENT;

        assert(error < 0);

        if (b->state != BATCH_OPEN && lane->producer_id >= 0)
                lane->needs_id = lane->is_rewinding = true;
        batch_detach(b);
        b->state = BATCH_ENDED;
        lane->n_ended++;
        b->error = error;
        slice_done(&b->bytes);
        b->text =
                mem_asprintf("%s/%" PRIu32 ": %s%s",
                             lane->route->name,
                             lane->number,
                             text,
                             was_in_doubt ? "; these messages may be in the log all the same" : "");
}

/* To be followed by lane_settle(); for an atomic producer by producer_settle_all(). */
static void batch_fail(struct pending_batch *b, int error, const char *text) {
        struct producer *p = b->lane->route->producer;

        if (!p->config.is_atomic) {
                batch_fail_alone(b, error, text);
                return;
        }

        if (!p->is_flushing)
                p->unit_error = error; /* what comes until the flush belongs to it */
        LIST_FOREACH(&p->lanes, lane, struct lane, all) { /* I7 */
                LIST_FOREACH(&lane->batches, other, struct pending_batch, link)
                        if (other->state != BATCH_ENDED)
                                batch_fail_alone(other, error, text);
                if (lane->open)
                        batch_fail_alone(lane->open, error, text);
        }
}

/* It has to go out again. */
static void batch_return(struct pending_batch *b, bool in_doubt) {
        batch_detach(b);
        b->state = BATCH_READY;
        b->in_doubt = b->in_doubt || in_doubt;
        b->lane->n_ready++;
        b->lane->is_rewinding = true; /* I1 */
}

static bool batch_is_first(const struct pending_batch *b) {
        LIST_FOREACH(&b->lane->batches, other, struct pending_batch, link) {
                if (other == b)
                        return true;
                if (other->state != BATCH_ENDED)
                        return false;
        }
        return true;
}

static int64_t producer_new_id(struct producer *p) {
        return (int64_t) (io_random_u64(p->io) & INT64_MAX);
}

static void lane_renew_id(struct lane *lane) {
        lane->producer_id = producer_new_id(lane->route->producer);
        lane->is_introduced = false;
        lane->next_sequence = 0;
}

/* The same records under another id. The bytes are ours alone: nothing of this lane is out, and the session drops what
 * it had queued before it ends a request. */
static void batch_relabel(struct pending_batch *b, int64_t producer_id, int32_t sequence) {
        struct batch_header *h = (void *) b->bytes.buf->data;

        assert(!b->in_doubt); /* I5 */
        assert(b->bytes.buf->n_refs == 1);
        assert(b->bytes.data == b->bytes.buf->data);

        b->sequence = sequence;
        h->producer_id = be64_of((uint64_t) producer_id);
        h->producer_epoch = be16_of(0);
        h->base_sequence = be32_of((uint32_t) sequence);
        h->crc = be32_of(
                crc32c(0, b->bytes.data + BATCH_CHECKED_FROM, b->bytes.size - BATCH_CHECKED_FROM));
}

/* Everything is back: the id that is of no use any more makes way for a new one. */
static void lane_relabel(struct lane *lane) {
        LIST_FOREACH(&lane->batches, b, struct pending_batch, link)
                if (b->state == BATCH_READY && b->in_doubt)
                        batch_fail(
                                b,
                                -EILSEQ,
                                "a batch before it failed, and it cannot be sent under another id");

        lane->needs_id = false;
        lane_renew_id(lane);
        LIST_FOREACH(&lane->batches, b, struct pending_batch, link)
                if (b->state == BATCH_READY) {
                        batch_relabel(b, lane->producer_id, lane->next_sequence);
                        lane->next_sequence =
                                sequence_add(lane->next_sequence, (int32_t) b->n_messages);
                }
}

/* What follows from outcomes. */
static void lane_settle(struct lane *lane) {
        if (lane->is_rewinding && lane->n_sent == 0) {
                if (lane->needs_id)
                        lane_relabel(lane);
                lane->is_rewinding = false;
        }
        lane_deliver(lane);
        lane_enqueue(lane);
}

static void producer_settle_all(struct producer *p) {
        LIST_FOREACH(&p->lanes, lane, struct lane, all)
                lane_settle(lane);
        if (producer_n_pending(p) == 0)
                p->is_flushing = false;
}

/* ---- Lanes and routes ---- */

static struct lane *lane_free(struct lane *lane) {
        if (!lane)
                return NULL;

        if (lane->open)
                batch_detach(lane->open);
        LIST_FOREACH(&lane->batches, b, struct pending_batch, link) {
                producer_recharge(lane->route->producer, b, 0);
                list_remove(&b->link);
                batch_free(b);
        }
        builder_done(&lane->builder);
        list_remove(&lane->in_open);
        list_remove(&lane->in_queue);
        list_remove(&lane->all);
        mem_free(lane->text);
        return mem_free(lane);
}

static struct lane *lane_new(struct route *route, uint32_t number, uint64_t id) {
        struct producer *p = route->producer;
        struct lane *lane;

        lane = new0(struct lane, 1);
        if (!lane)
                return NULL;

        lane->route = route;
        lane->number = number;
        lane->id = id;
        builder_init(&lane->builder,
                     p->config.is_atomic ? BATCH_BYTES_LIMIT : p->config.batch_bytes,
                     BATCH_BYTES_LIMIT);
        list_init(&lane->in_open);
        list_init(&lane->in_queue);
        list_init(&lane->batches);
        list_append(&p->lanes, &lane->all);
        lane->producer_id = p->config.is_idempotent ? p->producer_id : -1;
        lane->used_usec = io_now(p->io);
        return lane;
}

/* Its partition is not there any more. */
static struct lane *lane_dismiss(struct lane *lane, int error, const char *text) {
        struct producer *p = lane->route->producer;

        LIST_FOREACH(&lane->batches, b, struct pending_batch, link)
                if (b->state != BATCH_ENDED)
                        batch_fail(b, error, text);
        if (lane->open)
                batch_fail(lane->open, error, text);
        if (p->config.is_atomic)
                producer_settle_all(p);
        else
                lane_settle(lane);
        assert(list_is_empty(&lane->batches));
        return lane_free(lane);
}

static void route_drop_call(struct route *route) {
        call_done(route->call);
        route->call = mem_free(route->call);
}

static void route_drop_lanes(struct route *route) {
        if (route->lanes != &route->only_lane)
                mem_free(route->lanes);
        route->lanes = NULL;
        route->n_lanes = 0;
}

static struct route *route_free(struct route *route) {
        for (uint32_t i = 0; i < route->n_lanes; i++)
                lane_free(route->lanes[i]);
        route_drop_lanes(route);
        route_drop_call(route);
        return mem_free(route);
}

static void route_fail(struct route *route, int error, const char *text) {
        struct producer *p = route->producer;

        for (uint32_t i = 0; i < route->n_lanes; i++)
                lane_dismiss(route->lanes[i], error, text);
        route_drop_lanes(route);
        route->state = ROUTE_FAILED;
        route->error = error;
        producer_say(p, "topic \"%s\": %s", route->name, text);
}

static int route_set_lanes(struct route *route, const Drmq__Proto__Topic *topic) {
        struct lane **lanes;
        uint32_t n = (uint32_t) topic->n_partition;
        bool is_new = route->n_lanes == 0;

        /* Partitions are numbered 0.. and told in that order. */
        for (uint32_t i = 0; i < n; i++)
                if (topic->partition[i]->number != i)
                        return -EPROTO;

        lanes = new0(struct lane *, n);
        if (!lanes)
                return -ENOMEM;
        for (uint32_t i = 0; i < n; i++) {
                if (i < route->n_lanes && route->lanes[i]->id == topic->partition[i]->id)
                        continue;
                lanes[i] = lane_new(route, i, topic->partition[i]->id);
                if (!lanes[i]) {
                        for (uint32_t k = 0; k < i; k++)
                                lane_free(lanes[k]);
                        mem_free(lanes);
                        return -ENOMEM;
                }
        }

        for (uint32_t i = 0; i < route->n_lanes; i++)
                if (i < n && !lanes[i])
                        lanes[i] = route->lanes[i];
                else
                        lane_dismiss(
                                route->lanes[i], -ENOENT, "the topic was deleted, and made anew");
        route_drop_lanes(route);
        route->only_lane = lanes[0];
        if (n == 1)
                mem_free(lanes);
        route->lanes = n == 1 ? &route->only_lane : lanes;
        route->n_lanes = n;
        /* So that many producers do not all begin at the same one. */
        if (is_new)
                route->turn = (uint32_t) (io_random_u64(route->producer->io) % n);
        route->turn %= n;
        route->state = ROUTE_KNOWN;
        return 0;
}

static void on_metadata(
        struct call *c, int r, const char *text, const ProtobufCMessage *answer, void *userdata) {
        const Drmq__Proto__MetadataResponse *m = (const void *) answer;
        struct route *route = userdata;
        struct producer *p = route->producer;
        const Drmq__Proto__Topic *topic;
        char words[CALL_TEXT_MAX];
        bool is_fresh = route->state != ROUTE_KNOWN;

        (void) c;
        if (r < 0) {
                (void) snprintf(words, sizeof(words), "%s", text);
                route_drop_call(route);
                /* Lanes that are there go on, until their batches' own deadlines. */
                if (is_fresh)
                        route_fail(route, r, words);
                return;
        }

        topic = m->n_topic == 1 ? m->topic[0] : NULL;
        if (!topic || !streq(topic->name, route->name))
                route_fail(route, -EPROTO, "the node's answer makes no sense");
        else if (topic->error && topic->error->code != DRMQ_ERROR_NONE) {
                uint32_t code = topic->error->code;

                /* A node that is busy, or where the topic is being made, will know soon. */
                if (!drmq_error_is_retriable(code) || is_fresh)
                        route_fail(route,
                                   drmq_error_to_errno(code),
                                   !is_fresh && code == DRMQ_ERROR_UNKNOWN_TOPIC ? "it was deleted"
                                   : topic->error->text && topic->error->text[0]
                                           ? topic->error->text
                                           : drmq_error_text(code));
        } else if (topic->n_partition == 0 || topic->n_partition > UINT32_MAX / 2)
                route_fail(route, -EPROTO, "the node's answer makes no sense");
        else {
                r = route_set_lanes(route, topic);
                if (r < 0 && is_fresh)
                        route_fail(route,
                                   r,
                                   r == -ENOMEM ? "out of memory"
                                                : "the node's answer makes no sense");
        }
        route_drop_call(route);
        producer_pump(p);
}

static int route_ask(struct route *route, bool create) {
        Drmq__Proto__MetadataRequest m = DRMQ__PROTO__METADATA_REQUEST__INIT;
        struct producer *p = route->producer;
        usec_t now = io_now(p->io);
        char *name = route->name;
        int r;

        if (route->call)
                return 0;

        route->call = new (struct call, 1);
        if (!route->call)
                return -ENOMEM;

        m.topic = &name;
        m.n_topic = 1;
        m.create = create;
        call_init(route->call, on_metadata, route);
        route->asked_usec = now;
        r = call_start(route->call,
                       p->session,
                       FRAME_METADATA,
                       &m,
                       &drmq__proto__metadata_response__descriptor,
                       usec_add(now, p->config.timeout_usec));
        if (r < 0)
                route->call = mem_free(route->call);
        return r;
}

/* The slot of that name, or the free one where it would be. */
static struct route_slot *route_slot(const struct producer *p, const char *name, uint32_t hash) {
        for (size_t i = hash;; i++) {
                struct route_slot *slot = &p->routes[i & (p->n_slots - 1)];

                if (!slot->route || (slot->hash == hash && streq(slot->route->name, name)))
                        return slot;
        }
}

static int producer_grow_routes(struct producer *p) {
        struct route_slot *old = p->routes;
        size_t n_old = p->n_slots;

        if ((p->n_routes + 1) * 2 <= n_old)
                return 0;

        p->routes = new0(struct route_slot, MAX(n_old * 2, (size_t) 16));
        if (!p->routes) {
                p->routes = old;
                return -ENOMEM;
        }
        p->n_slots = MAX(n_old * 2, (size_t) 16);
        for (size_t i = 0; i < n_old; i++)
                if (old[i].route)
                        *route_slot(p, old[i].route->name, old[i].hash) = old[i];
        mem_free(old);
        return 0;
}

static int route_get(struct producer *p, const char *name, struct route **ret) {
        uint32_t hash = murmur2(name, strlen(name));
        struct route_slot *slot;
        struct route *route;
        int r;

        r = producer_grow_routes(p);
        if (r < 0)
                return r;

        slot = route_slot(p, name, hash);
        if (slot->route) {
                *ret = slot->route;
                return 0;
        }

        if (!topic_name_is_valid(name)) {
                producer_say(p, "\"%.249s\" is not a valid topic name", name);
                return -EINVAL;
        }

        route = mem_alloc0(sizeof(struct route) + strlen(name) + 1);
        if (!route)
                return -ENOMEM;
        route->producer = p;
        memcpy(route->name, name, strlen(name) + 1);
        *slot = (struct route_slot){ .hash = hash, .route = route };
        p->n_routes++;
        *ret = route;
        return 0;
}

/* Why a route takes no messages now. */
static int route_refuse(struct route *route) {
        struct producer *p = route->producer;
        int r;

        if (route->state == ROUTE_FAILED) {
                route->state = ROUTE_UNKNOWN;
                return route->error;
        }

        r = route_ask(route, /* create= */ true);
        if (r < 0)
                return r;
        p->waiting_route = route;
        return -EAGAIN;
}

/* ---- Sealing ---- */

/* The open batch becomes READY. Return: 0; -ENOMEM, it stays open. */
static int lane_seal(struct lane *lane) {
        struct producer *p = lane->route->producer;
        struct batch_seal seal = SEAL_INIT;
        struct pending_batch *b = lane->open;
        int32_t n_messages;
        struct slice bytes;
        size_t n_bytes;
        int r;

        assert(b);

        seal.codec = p->config.codec;
        seal.level = p->config.level;
        seal.context = p->codec;
        if (lane->producer_id >= 0) {
                seal.producer_id = lane->producer_id;
                seal.producer_epoch = 0;
                seal.base_sequence = lane->next_sequence;
        }
        n_messages = builder_n_records(&lane->builder);
        n_bytes = builder_size(&lane->builder);
        r = builder_seal(&lane->builder, &seal, &bytes);
        if (r < 0)
                return r;

        batch_close(b);
        b->n_messages = (uint32_t) n_messages;
        b->charged_bytes = n_bytes;
        b->bytes = bytes;
        b->sequence = lane->next_sequence;
        if (lane->producer_id >= 0)
                lane->next_sequence = sequence_add(lane->next_sequence, n_messages);
        producer_recharge(p, b, b->bytes.size);
        b->state = BATCH_READY;
        lane->n_ready++;

        if (lane->number == lane->route->turn && ++lane->route->turn == lane->route->n_lanes)
                lane->route->turn = 0;
        lane_enqueue(lane);
        return 0;
}

static int lane_open(struct lane *lane) {
        struct producer *p = lane->route->producer;
        struct pending_batch *b;
        usec_t now;
        int r;

        b = new0(struct pending_batch, 1);
        if (!b)
                return -ENOMEM;

        now = io_now(p->io);
        if (list_is_empty(&p->open) && p->config.linger_usec > 0 && !p->config.is_atomic) {
                r = io_timer_set(p->io, &p->linger_timer, usec_add(now, p->config.linger_usec));
                if (r < 0) {
                        mem_free(b);
                        return r;
                }
        }
        if (!heap_node_is_linked(&p->expiry_timer.node) &&
            p->config.timeout_usec != USEC_INFINITY) {
                r = io_timer_set(p->io,
                                 &p->expiry_timer,
                                 usec_add(now, MIN(EXPIRY_PERIOD_USEC, p->config.timeout_usec)));
                if (r < 0) {
                        mem_free(b);
                        return r;
                }
        }

        if (lane->producer_id >= 0 && list_is_empty(&lane->batches) &&
            usec_sub(now, lane->used_usec) > PRODUCER_IDLE_USEC)
                lane_renew_id(lane);
        if (usec_sub(now, lane->route->asked_usec) > PRODUCER_METADATA_USEC)
                (void) route_ask(lane->route, /* create= */ false); /* else with the next batch */

        b->lane = lane;
        b->state = BATCH_OPEN;
        b->open_usec = now;
        b->deadline_usec = usec_add(now, p->config.timeout_usec);
        list_init(&b->link);
        lane->open = b;
        lane->used_usec = now;
        p->n_open++;
        list_append(&p->open, &lane->in_open);
        return 0;
}

/* It need not linger: it goes with the next transfer that has room. */
static void lane_set_due(struct lane *lane) {
        list_remove(&lane->in_open);
        lane->is_due = true;
        lane_enqueue(lane);
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

/* ---- Transfers ---- */

static bool code_is_success(uint32_t code) {
        return code == DRMQ_ERROR_NONE || code == DRMQ_ERROR_DUPLICATE;
}

/* Whether a batch may come to be appended after an error that may pass. What is refused as a whole was refused before
 * anything was done; a row of its own has an outcome of the log. */
static bool code_leaves_doubt(uint32_t code, bool is_whole) {
        return code == DRMQ_ERROR_TIMED_OUT || (!is_whole && code != DRMQ_ERROR_BUSY);
}

/* It was refused, and would be again. What was refused is not in the log, unless an earlier attempt put it there. */
static void batch_on_refusal(struct pending_batch *b, uint32_t code, const char *text) {
        struct transfer *t = b->transfer;
        bool in_doubt = (b->in_doubt && code == DRMQ_ERROR_OUT_OF_SEQUENCE) ||
                        code == DRMQ_ERROR_INTERNAL || code >= _DRMQ_ERROR_MAX;

        if (b->lane->route->producer->config.is_atomic) {
                for (size_t i = 0; i < t->n; i++)
                        if (t->batches[i])
                                batch_return(t->batches[i],
                                             /* in_doubt= */ false); /* refused with it */
        } else
                batch_return(b, /* in_doubt= */ false);
        b->in_doubt = in_doubt;
        batch_fail(b, drmq_error_to_errno(code), text);
}

/* What the node says of a batch. @text may be empty. To be followed by lane_settle(). */
static void
batch_on_answer(struct pending_batch *b, uint32_t code, bool is_whole, uint64_t base_offset, const char *text) {
        struct lane *lane = b->lane;
        struct producer *p = lane->route->producer;

        if (code_is_success(code)) {
                lane->used_usec = io_now(p->io);
                lane->is_introduced = true;
                p->backoff_usec = SESSION_BACKOFF_MIN_USEC;
                batch_succeed(b, base_offset);
                return;
        }

        if (!text[0])
                text = drmq_error_text(code);

        if (code == DRMQ_ERROR_OUT_OF_SEQUENCE && lane->producer_id >= 0) {
                bool is_first = batch_is_first(b);

                if (!is_first || !b->in_doubt) {
                        batch_return(b, /* in_doubt= */ false);
                        lane->needs_id = lane->needs_id ||
                                         is_first; /* else the one before it came back too */
                        return;
                }
        }

        if (drmq_error_is_retriable(code) || code == DRMQ_ERROR_UNKNOWN_PARTITION) {
                lane->error = drmq_error_to_errno(code);
                mem_free(lane->text);
                lane->text = mem_strdup(text);
                batch_return(b, code_leaves_doubt(code, is_whole));
                lane_delay(lane);
                if (code == DRMQ_ERROR_UNKNOWN_PARTITION)
                        (void) route_ask(lane->route,
                                         /* create= */ false); /* else after the next answer */
                return;
        }

        batch_on_refusal(b, code, text);
}

static void transfer_free(struct transfer *t) {
        t->producer->n_transfers--;
        t->producer->n_out -= t->n;
        list_remove(&t->link);
        mem_free(t);
}

/* An atomic request that was refused says for most of its batches only that another one was the cause. */
static uint32_t transfer_cause(const struct transfer *t, const struct produce_result *rows) {
        uint32_t cause = DRMQ_ERROR_NONE;

        for (size_t i = 0; i < t->n; i++) {
                uint32_t code = le32_get(rows[i].error);

                if (!code_is_success(code) &&
                    (cause == DRMQ_ERROR_NONE || cause == DRMQ_ERROR_INVALID_ARGUMENT))
                        cause = code;
        }
        return cause;
}

static void transfer_on_rows(struct transfer *t, const struct produce_result *rows) {
        uint32_t cause = DRMQ_ERROR_NONE;

        if (t->producer->config.is_atomic)
                cause = transfer_cause(t, rows);
        for (size_t i = 0; i < t->n; i++)
                if (t->batches[i])
                        batch_on_answer(t->batches[i],
                                        cause != DRMQ_ERROR_NONE ? cause : le32_get(rows[i].error),
                                        /* is_whole= */ false,
                                        le64_get(rows[i].base_offset),
                                        /* text= */ "");
}

static bool transfer_rows_fit(const struct transfer *t, const struct slice *table) {
        const struct produce_result *rows = (const void *) table->data;

        if (table->size != t->n * sizeof(struct produce_result))
                return false;
        for (size_t i = 0; i < t->n; i++)
                if (t->batches[i] && le64_get(rows[i].partition_id) != t->batches[i]->lane->id)
                        return false;
        return true;
}

static void transfer_end(struct transfer *t, int r, const struct frame *answer) {
        _cleanup_(message_freep) void *m = NULL;
        char text[CALL_TEXT_MAX] = "";
        uint32_t code = DRMQ_ERROR_NONE;

        if (r < 0) {
                for (size_t i = 0; i < t->n; i++)
                        if (t->batches[i])
                                batch_return(t->batches[i], /* in_doubt= */ true);
                return;
        }

        if (!answer) { /* acks none */
                for (size_t i = 0; i < t->n; i++)
                        if (t->batches[i])
                                batch_succeed(t->batches[i], /* base_offset= */ 0);
                return;
        }

        r = answer_unpack(answer,
                          FRAME_PRODUCE,
                          &drmq__proto__produce_response__descriptor,
                          (ProtobufCMessage **) &m,
                          &code,
                          text);
        if (r == -ENOMEM) {
                code = DRMQ_ERROR_TIMED_OUT; /* it was answered, but we could not read it */
                (void) snprintf(text, sizeof(text), "out of memory");
        } else if (r < 0 || (code == DRMQ_ERROR_NONE && !transfer_rows_fit(t, &answer->table))) {
                for (size_t i = 0; i < t->n; i++)
                        if (t->batches[i])
                                batch_fail(
                                        t->batches[i], -EPROTO, "the node's answer makes no sense");
                return;
        }

        if (code == DRMQ_ERROR_NONE) {
                transfer_on_rows(t, (const void *) answer->table.data);
                return;
        }
        for (size_t i = 0; i < t->n; i++)
                if (t->batches[i])
                        batch_on_answer(t->batches[i], code, /* is_whole= */ true, /* base_offset= */ 0, text);
}

static void
on_transfer_done(struct session_request *q, int r, const struct frame *answer, void *userdata) {
        struct transfer *t = userdata;
        struct producer *p = t->producer;
        size_t n_touched = 0;

        (void) q;
        /* While the transfer still names them. None of them goes meanwhile: only lane_dismiss() ends a lane, and that is
         * not called from here. */
        for (size_t i = 0; i < t->n; i++)
                if (t->batches[i])
                        t->touched[n_touched++] = t->batches[i]->lane;

        transfer_end(t, r, answer);
        if (p->config.is_atomic) /* what fails, fails in all lanes */
                producer_settle_all(p);
        else
                for (size_t i = 0; i < n_touched; i++)
                        lane_settle(t->touched[i]);
        transfer_free(t);
        producer_pump(p);
}

static struct pending_batch *lane_next_batch(struct lane *lane) {
        LIST_FOREACH(&lane->batches, b, struct pending_batch, link)
                if (b->state == BATCH_READY)
                        return b;
        assert(false);
        return NULL;
}

/* Takes what goes into one request, one batch a lane. Return: how many; -ENOMEM. */
static int producer_gather(struct producer *p) {
        size_t n = 0, n_bytes = 0;
        struct list later;
        int r = 0;

        list_init(&later);
        while (n < TRANSFER_BATCHES_MAX &&
               (n_bytes < PRODUCER_REQUEST_BYTES || p->config.is_atomic)) {
                struct lane *lane = list_first(&p->ready, struct lane, in_queue);
                struct pending_batch *b;

                if (!lane)
                        break;
                assert(lane_has_work(lane)); /* I4 */
                if (lane->n_ready == 0) {
                        r = lane_seal(lane);
                        if (r < 0)
                                break;
                }
                b = lane_next_batch(lane);
                if (n > 0 && n_bytes + b->bytes.size + (n + 1) * sizeof(struct produce_slice) >
                                     BATCH_BYTES_LIMIT)
                        break;
                if (!grow(p->gathered, p->n_gathered_allocated, n + 1)) {
                        r = -ENOMEM;
                        break;
                }
                p->gathered[n++] = b;
                n_bytes += b->bytes.size;
                list_remove(&lane->in_queue);
                list_append(&later, &lane->in_queue);
        }

        /* Where they belong is seen when their batches are out. */
        for (struct lane *lane; (lane = list_pop(&later, struct lane, in_queue));)
                list_append(&p->ready, &lane->in_queue);
        return n > 0 ? (int) n : r;
}

/* Fills p->rows and p->slices for the gathered batches; small ones are copied together, into *ret_small, which the
 * slices borrow. Return: how many slices; -ENOMEM. */
static int producer_fill(struct producer *p, size_t n, struct slice *ret_small) {
        size_t small_bytes = 0, n_slices = 0, at = 0, run = 0;
        _cleanup_(buf_unrefp) struct buf *small = NULL;

        if (!grow(p->rows, p->n_rows_allocated, n) || !grow(p->slices, p->n_slices_allocated, n))
                return -ENOMEM;

        for (size_t i = 0; i < n; i++)
                if (p->gathered[i]->bytes.size <= SMALL_BATCH_BYTES)
                        small_bytes += p->gathered[i]->bytes.size;
        if (n > 1 && small_bytes > 0) {
                small = buf_new(small_bytes);
                if (!small)
                        return -ENOMEM;
        }

        for (size_t i = 0; i < n; i++) {
                const struct pending_batch *b = p->gathered[i];

                p->rows[i] = (struct produce_slice){
                        .partition_id = le64_of(b->lane->id),
                        .batch_bytes = le32_of((uint32_t) b->bytes.size),
                };
                if (!small || b->bytes.size > SMALL_BATCH_BYTES) {
                        p->slices[n_slices++] = b->bytes;
                        run = 0;
                        continue;
                }
                /* A run of small ones is one slice. */
                memcpy(small->data + at, b->bytes.data, b->bytes.size);
                if (run == 0)
                        p->slices[n_slices++] =
                                (struct slice){ .buf = small, .data = small->data + at };
                run += b->bytes.size;
                p->slices[n_slices - 1].size = run;
                at += b->bytes.size;
        }

        *ret_small = (struct slice){ 0 };
        if (small)
                *ret_small = slice_of(small, small->data, small_bytes);
        return (int) n_slices;
}

static void produce_header(const struct producer *p, uint8_t dest[static 16], size_t *ret_n) {
        Drmq__Proto__ProduceRequest m = DRMQ__PROTO__PRODUCE_REQUEST__INIT;

        m.acks = (Drmq__Proto__Acks) p->config.acks;
        m.atomic = p->config.is_atomic;
        if (p->config.timeout_usec / USEC_PER_MSEC < UINT32_MAX)
                m.timeout_ms = (uint32_t) (p->config.timeout_usec / USEC_PER_MSEC);
        assert(drmq__proto__produce_request__get_packed_size(&m) <= 16);
        *ret_n = drmq__proto__produce_request__pack(&m, dest);
}

static_assert((int) PRODUCER_ACKS_ALL == DRMQ__PROTO__ACKS__ACKS_ALL, "the same numbers");
static_assert((int) PRODUCER_ACKS_LEADER == DRMQ__PROTO__ACKS__ACKS_LEADER, "the same numbers");
static_assert((int) PRODUCER_ACKS_NONE == DRMQ__PROTO__ACKS__ACKS_NONE, "the same numbers");

/* Sends one request. Return: 1; 0 nothing is ready; negative: not now. */
static int producer_send_one(struct producer *p) {
        struct slice small = { 0 };
        struct transfer *t = NULL;
        uint8_t header[16];
        bool is_repeated = false;
        int n, n_slices, r;
        size_t n_header;

        n = producer_gather(p);
        if (n <= 0)
                return n;

        t = mem_alloc(sizeof(struct transfer) +
                      (size_t) n * (sizeof(t->batches[0]) + sizeof(t->touched[0])));
        if (!t)
                return -ENOMEM;
        n_slices = producer_fill(p, (size_t) n, &small);
        if (n_slices < 0) {
                mem_free(t);
                return n_slices;
        }

        *t = (struct transfer){
                .request = { .on_done = on_transfer_done, .userdata = t },
                .producer = p,
                .n = (size_t) n,
                .touched = (struct lane **) (t->batches + n),
        };
        produce_header(p, header, &n_header);
        r = session_send(p->session,
                         &t->request,
                         FRAME_PRODUCE,
                         p->config.acks == PRODUCER_ACKS_NONE ? SESSION_NO_ANSWER : 0,
                         header,
                         n_header,
                         p->rows,
                         (size_t) n * sizeof(p->rows[0]),
                         p->slices,
                         (size_t) n_slices);
        slice_done(&small);
        if (r < 0) {
                mem_free(t);
                return r;
        }

        list_append(&p->transfers, &t->link);
        p->n_transfers++;
        p->n_out += (size_t) n;
        for (int i = 0; i < n; i++) {
                struct pending_batch *b = p->gathered[i];
                struct lane *lane = b->lane;

                t->batches[i] = b;
                is_repeated = is_repeated || b->was_sent;
                b->state = BATCH_SENT;
                b->transfer = t;
                b->slot = (size_t) i;
                b->was_sent = true;
                lane->n_ready--;
                lane->n_sent++; /* I2 */
                lane_enqueue(lane);
        }
        p->sums.n_retries += is_repeated;
        return 1;
}

/* More requests would not be answered sooner; what waits instead fills its batches. */
static bool producer_has_window(const struct producer *p) {
        return p->config.acks == PRODUCER_ACKS_NONE ||
               (p->n_transfers < PRODUCER_REQUESTS_MAX && p->n_out < PRODUCER_BATCHES_MAX);
}

/* Sends what may be sent. */
static void producer_pump(struct producer *p) {
        int r = 1;

        if (p->config.is_atomic && (!p->is_flushing || !list_is_empty(&p->transfers)))
                return; /* I7 */

        while (r > 0 && session_is_up(p->session) && !session_is_full(p->session) &&
               producer_has_window(p))
                r = producer_send_one(p);

        if (r < 0 && !heap_node_is_linked(&p->retry_timer.node))
                (void) io_timer_set(
                        p->io, &p->retry_timer, usec_add(io_now(p->io), SESSION_BACKOFF_MIN_USEC));
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

/* ---- Deadlines ---- */

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
                (void) io_timer_set(p->io,
                                    &p->expiry_timer,
                                    usec_add(now, MIN(EXPIRY_PERIOD_USEC, p->config.timeout_usec)));
        producer_pump(p);
}

/* ---- The face ---- */

static void on_producer_event(struct session_watch *w, enum session_event event, void *userdata) {
        struct producer *p = userdata;

        (void) w;
        switch (event) {
        case SESSION_UP:
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

static uint64_t message_bytes(const struct producer_message *m) {
        uint64_t n = (uint64_t) m->key_size + m->value_size;

        for (size_t i = 0; i < m->n_headers; i++)
                n += (uint64_t) m->headers[i].key_size + m->headers[i].value_size;
        return n;
}

/* Whether an atomic request has room for so much more. */
static bool
producer_fits_atomic(const struct producer *p, const struct producer_message *m, uint64_t n_bytes) {
        return p->charged_bytes + n_bytes + RECORD_OVERHEAD_BYTES_MAX + m->n_headers * 10 +
                       (p->n_open + 1) * (sizeof(struct produce_slice) + BATCH_HEADER_BYTES) <=
               BATCH_BYTES_LIMIT;
}

static int lane_append(struct lane *lane, const struct producer_message *m, uint64_t n_bytes) {
        struct producer *p = lane->route->producer;
        size_t n_before = builder_size(&lane->builder);
        struct pending_batch *b = lane->open;
        uint32_t n = (uint32_t) builder_n_records(&lane->builder);
        int r;

        if (!b) {
                r = lane_open(lane);
                if (r < 0)
                        return r;
                b = lane->open;
        }
        r = p->config.has_tags && !grow(b->tags, b->n_tags_allocated, (size_t) n + 1)
                    ? -ENOMEM
                    : builder_append(&lane->builder,
                                     m->key,
                                     m->key_size,
                                     m->value,
                                     m->value_size,
                                     m->headers,
                                     m->n_headers,
                                     m->timestamp_ms);
        if (r < 0) {
                if (n == 0) {
                        batch_close(b);
                        list_remove(&b->link);
                        batch_free(b);
                }
                return r;
        }

        if (p->config.has_tags)
                b->tags[n] = m->tag;
        lane->open_bytes += n_bytes;
        p->charged_bytes += builder_size(&lane->builder) - n_before; /* I6 */
        p->sums.n_sent++;
        return 0;
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
