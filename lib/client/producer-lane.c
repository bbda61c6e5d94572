/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The life of a batch, from the first message to its delivery, and what one outcome means for the
 * batches behind it. Knows nothing of requests. The invariants are in producer-internal.h.
 */

#include "client/producer-internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/crc32c.h"

static struct pending_batch *batch_free(struct pending_batch *b) {
        struct producer *p = b->lane->route->producer;

        if (p->last == b)
                p->last = NULL;
        if (p->watched == b)
                p->watched = NULL;
        slice_done(&b->bytes);
        mem_free(b->tags);
        mem_free(b->text);
        return mem_free(b);
}

static void producer_recharge(struct producer *p, struct pending_batch *b, size_t n_bytes) {
        p->charged_bytes = p->charged_bytes - b->charged_bytes + n_bytes; /* I6 */
        b->charged_bytes = n_bytes;
}

bool lane_has_work(const struct lane *lane) {
        const struct producer *p = lane->route->producer;
        unsigned in_flight_max = p->in_flight_max, n_out = lane->n_sent + lane->n_ended;

        if (lane->is_rewinding)
                return false;
        /* A node remembers the last PRODUCER_IN_FLIGHT_MAX batches of an id: what has ended out of
         * order counts too, so that the one which has not can be found there when it is sent
         * again. */
        /* A node that knows nothing of an id takes any sequence: so it has to have the first batch
         * before the second may go, or a first one that was refused would end up behind it. */
        if (lane->producer_id >= 0 && !lane->is_introduced)
                in_flight_max = 1;
        if (lane->n_ready > 0)
                return n_out < in_flight_max;
        /* Without linger what comes while something is under way goes together, when that has come
         * back. */
        return lane->open && lane->is_due && !p->config.is_atomic &&
               n_out < (p->config.linger_usec > 0 ? in_flight_max : 1u);
}

/* Puts the lane where it belongs (I4). */
void lane_enqueue(struct lane *lane) {
        struct producer *p = lane->route->producer;

        if (lane->is_delayed)
                return;
        if (!lane_has_work(lane))
                list_remove(&lane->in_queue);
        else if (list_is_empty(&lane->in_queue))
                list_append(&p->ready, &lane->in_queue);
}

void lane_delay(struct lane *lane) {
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

static void producer_end_watch(struct producer *p, const struct producer_delivery *d) {
        struct producer_outcome *o = p->outcome;

        o->has_ended = true;
        o->error = d->error;
        o->offset = p->config.acks == PRODUCER_ACKS_NONE ? UINT64_MAX
                                                         : d->base_offset + p->watched_number;
        (void) snprintf(o->text, sizeof(o->text), "%s", d->text);
        p->watched = NULL;
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
                        .is_watched = p->watched == b,
                };
                if (d.is_watched)
                        producer_end_watch(p, &d);
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
void batch_succeed(struct pending_batch *b, uint64_t base_offset) {
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
void batch_fail(struct pending_batch *b, int error, const char *text) {
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
void batch_return(struct pending_batch *b, bool in_doubt) {
        batch_detach(b);
        b->state = BATCH_READY;
        b->in_doubt = b->in_doubt || in_doubt;
        b->lane->n_ready++;
        b->lane->is_rewinding = true; /* I1 */
}

bool batch_is_first(const struct pending_batch *b) {
        LIST_FOREACH(&b->lane->batches, other, struct pending_batch, link) {
                if (other == b)
                        return true;
                if (other->state != BATCH_ENDED)
                        return false;
        }
        return true;
}

int64_t producer_new_id(struct producer *p) {
        return (int64_t) (io_random_u64(p->io) & INT64_MAX);
}

static void lane_renew_id(struct lane *lane) {
        lane->producer_id = producer_new_id(lane->route->producer);
        lane->is_introduced = false;
        lane->next_sequence = 0;
}

/* The same records under another id. The bytes are ours alone: nothing of this lane is out, and the
 * session drops what it had queued before it ends a request. */
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
void lane_settle(struct lane *lane) {
        if (lane->is_rewinding && lane->n_sent == 0) {
                if (lane->needs_id)
                        lane_relabel(lane);
                lane->is_rewinding = false;
        }
        lane_deliver(lane);
        lane_enqueue(lane);
}

void producer_settle_all(struct producer *p) {
        LIST_FOREACH(&p->lanes, lane, struct lane, all)
                lane_settle(lane);
        if (producer_n_pending(p) == 0)
                p->is_flushing = false;
}

struct lane *lane_free(struct lane *lane) {
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

struct lane *lane_new(struct route *route, uint32_t number, uint64_t id) {
        struct producer *p = route->producer;
        struct lane *lane;

        lane = new0(struct lane, 1);
        if (!lane)
                return NULL;

        lane->route = route;
        lane->number = number;
        lane->id = id;
        builder_init(&lane->builder,
                     p->config.is_atomic ? PRODUCER_BATCH_BYTES_MAX : p->config.batch_bytes,
                     PRODUCER_BATCH_BYTES_MAX);
        list_init(&lane->in_open);
        list_init(&lane->in_queue);
        list_init(&lane->batches);
        list_append(&p->lanes, &lane->all);
        lane->producer_id = p->config.is_idempotent ? p->producer_id : -1;
        lane->used_usec = io_now(p->io);
        return lane;
}

/* Its partition is not there any more. */
struct lane *lane_dismiss(struct lane *lane, int error, const char *text) {
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

/* The open batch becomes READY. Return: 0; -ENOMEM, it stays open. */
int lane_seal(struct lane *lane) {
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
                                 usec_add(now, MIN(PRODUCER_EXPIRY_USEC, p->config.timeout_usec)));
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
void lane_set_due(struct lane *lane) {
        list_remove(&lane->in_open);
        lane->is_due = true;
        lane_enqueue(lane);
}

struct pending_batch *lane_next_batch(struct lane *lane) {
        LIST_FOREACH(&lane->batches, b, struct pending_batch, link)
                if (b->state == BATCH_READY)
                        return b;
        assert(false);
        return NULL;
}

int lane_append(struct lane *lane, const struct producer_message *m, uint64_t n_bytes) {
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
        p->last = b;
        p->last_number = n;
        p->sums.n_sent++;
        return 0;
}
