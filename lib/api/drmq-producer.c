/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Producers: client/producer.h, blocking. What a message costs is decided in drmq_producer_send():
 * no system call, no allocation, and the loop is looked after once a clock tick, or when a batch
 * was sealed.
 */

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "api/api.h"
#include "base/alloc.h"
#include "client/producer.h"

/* Without linger answers are what the next batch waits for: looked for this often. */
#define EAGER_POLL_USEC 100u

struct drmq_producer {
        drmq_client *client;
        struct list link;          /* client->producers */
        struct producer *producer; /* NULL until the first message */
        struct producer_config config;
        drmq_delivery_callback on_delivery;
        drmq_refusal_callback on_refused;
        void *refusal_userdata;
        void *delivery_userdata;
        drmq_ready_callback on_ready;
        void *ready_userdata;
        bool wants_room; /* a send was refused, and on_ready is to say when it is worth trying */
        drmq_partition_callback pick;
        void *pick_userdata;
        struct record_header *headers;
        size_t n_headers_allocated;
        struct timespec tick; /* coarse wall clock at the last message */
        int64_t tick_ms;
        usec_t polled_usec;
        int error; /* the first since the last flush */
        char text[CALL_TEXT_MAX];
};

static_assert((int) DRMQ_ACKS_ALL == PRODUCER_ACKS_ALL &&
                      (int) DRMQ_ACKS_LEADER == PRODUCER_ACKS_LEADER &&
                      (int) DRMQ_ACKS_NONE == PRODUCER_ACKS_NONE,
              "the same numbers");
static_assert((int) DRMQ_CODEC_NONE == CODEC_NONE && (int) DRMQ_CODEC_GZIP == CODEC_GZIP &&
                      (int) DRMQ_CODEC_SNAPPY == CODEC_SNAPPY &&
                      (int) DRMQ_CODEC_LZ4 == CODEC_LZ4 && (int) DRMQ_CODEC_ZSTD == CODEC_ZSTD,
              "the same numbers");
static_assert((int) DRMQ_PARTITIONER_MURMUR2 == PRODUCER_MURMUR2 &&
                      (int) DRMQ_PARTITIONER_CRC32 == PRODUCER_CRC32 &&
                      (int) DRMQ_PARTITIONER_ROUND_ROBIN == PRODUCER_ROUND_ROBIN,
              "the same numbers");
static_assert(DRMQ_PARTITION_ANY == PRODUCER_PARTITION_ANY, "the same numbers");

_public_ int drmq_producer_new(drmq_client *c, drmq_producer **ret) {
        drmq_producer *p;

        assert_return(c, -EINVAL);
        assert_return(ret, -EINVAL);

        p = new0(drmq_producer, 1);
        if (!p)
                return -ENOMEM;

        p->client = client_ref(c);
        list_append(&c->producers, &p->link);
        p->config = PRODUCER_CONFIG_DEFAULT;
        *ret = p;
        return 0;
}

_public_ drmq_producer *drmq_producer_free(drmq_producer *p) {
        if (!p)
                return NULL;

        producer_free(p->producer);
        mem_free(p->headers);
        list_remove(&p->link);
        client_unref(p->client);
        return mem_free(p);
}

/* ---- Settings ---- */

static int producer_may_set(drmq_producer *p, bool is_valid, const char *what) {
        if (p->producer) {
                client_say(p->client, "%s cannot be changed after the first message", what);
                return -EBUSY;
        }
        if (!is_valid) {
                client_say(p->client, "%s is out of range", what);
                return -EINVAL;
        }
        return 0;
}

_public_ int drmq_producer_set_acks(drmq_producer *p, enum drmq_acks acks) {
        int r;

        assert_return(p, -EINVAL);

        r = producer_may_set(p, (unsigned) acks <= DRMQ_ACKS_NONE, "acks");
        if (r >= 0)
                p->config.acks = (enum producer_acks) acks;
        return r;
}

_public_ int drmq_producer_set_codec(drmq_producer *p, enum drmq_codec codec, int level) {
        int r;

        assert_return(p, -EINVAL);

        r = producer_may_set(p,
                             codec_is_known((enum codec) codec) &&
                                     ((codec == DRMQ_CODEC_NONE && level == 0) ||
                                      codec_level_is_valid((enum codec) codec, level)),
                             "the codec, or its level,");
        if (r >= 0) {
                p->config.codec = (enum codec) codec;
                p->config.level = level;
        }
        return r;
}

_public_ int drmq_producer_set_linger(drmq_producer *p, uint64_t usec) {
        int r;

        assert_return(p, -EINVAL);

        r = producer_may_set(p, usec < USEC_PER_DAY, "the linger");
        if (r >= 0)
                p->config.linger_usec = usec;
        return r;
}

_public_ int drmq_producer_set_batch_bytes(drmq_producer *p, size_t n_bytes) {
        int r;

        assert_return(p, -EINVAL);

        r = producer_may_set(p, n_bytes >= 1024 && n_bytes <= MESSAGE_BYTES_MAX, "the batch size");
        if (r >= 0)
                p->config.batch_bytes = n_bytes;
        return r;
}

_public_ int drmq_producer_set_buffer_bytes(drmq_producer *p, size_t n_bytes) {
        int r;

        assert_return(p, -EINVAL);

        r = producer_may_set(p, n_bytes > 0, "the buffer size");
        if (r >= 0)
                p->config.buffer_bytes = n_bytes;
        return r;
}

_public_ int drmq_producer_set_idempotence(drmq_producer *p, bool on) {
        int r;

        assert_return(p, -EINVAL);

        r = producer_may_set(p, true, "idempotence");
        if (r >= 0)
                p->config.is_idempotent = on;
        return r;
}

_public_ int drmq_producer_set_partitioner(drmq_producer *p, enum drmq_partitioner which) {
        int r;

        assert_return(p, -EINVAL);

        r = producer_may_set(
                p, (unsigned) which <= DRMQ_PARTITIONER_ROUND_ROBIN, "the partitioner");
        if (r >= 0)
                p->config.partitioner = (enum producer_partitioner) which;
        return r;
}

static uint32_t on_pick(void *userdata, const void *key, size_t key_size, uint32_t n_partitions) {
        drmq_producer *p = userdata;

        return p->pick(p->pick_userdata, key, key_size, n_partitions);
}

_public_ int drmq_producer_set_partition_callback(drmq_producer *p,
                                                  drmq_partition_callback callback,
                                                  void *userdata) {
        int r;

        assert_return(p, -EINVAL);

        r = producer_may_set(p, callback, "the partition callback");
        if (r < 0)
                return r;

        p->pick = callback;
        p->pick_userdata = userdata;
        p->config.partitioner = PRODUCER_CALLBACK;
        p->config.pick = on_pick;
        p->config.pick_userdata = p;
        return 0;
}

_public_ int drmq_producer_set_atomic(drmq_producer *p, bool on) {
        int r;

        assert_return(p, -EINVAL);

        r = producer_may_set(p, true, "the atomic mode");
        if (r >= 0)
                p->config.is_atomic = on;
        return r;
}

_public_ int drmq_producer_set_tags(drmq_producer *p, bool on) {
        int r;

        assert_return(p, -EINVAL);

        r = producer_may_set(p, true, "tags");
        if (r >= 0)
                p->config.has_tags = on;
        return r;
}

_public_ int drmq_producer_set_delivery_callback(drmq_producer *p,
                                                 drmq_delivery_callback callback,
                                                 void *userdata) {
        int r;

        assert_return(p, -EINVAL);

        r = producer_may_set(p, true, "the delivery callback");
        if (r >= 0) {
                p->on_delivery = callback;
                p->delivery_userdata = userdata;
        }
        return r;
}

_public_ int
drmq_producer_set_ready_callback(drmq_producer *p, drmq_ready_callback callback, void *userdata) {
        assert_return(p, -EINVAL);

        p->on_ready = callback;
        p->ready_userdata = userdata;
        return 0;
}

static drmq_producer *producer_to_call(const drmq_client *c) {
        LIST_FOREACH(&c->producers, p, struct drmq_producer, link)
                if (p->on_ready && p->wants_room && producer_is_ready(p->producer))
                        return p;
        return NULL;
}

bool producers_have_call(const drmq_client *c) {
        return producer_to_call(c);
}

bool producers_call(drmq_client *c) {
        drmq_producer *p = producer_to_call(c);

        if (!p)
                return false;
        p->wants_room = false;
        p->on_ready(p->ready_userdata);
        return true;
}

_public_ int drmq_producer_set_refusal_callback(drmq_producer *p,
                                                drmq_refusal_callback callback,
                                                void *userdata) {
        int r;

        assert_return(p, -EINVAL);

        r = producer_may_set(p, true, "the refusal callback");
        if (r >= 0) {
                p->on_refused = callback;
                p->refusal_userdata = userdata;
        }
        return r;
}

/* ---- Sending ---- */

static void on_refused(int error, const char *text, void *userdata) {
        drmq_producer *p = userdata;

        if (p->on_refused)
                p->on_refused(p->refusal_userdata, error, text);
}

static void on_delivery(const struct producer_delivery *d, void *userdata) {
        drmq_producer *p = userdata;

        /* What concerns one message alone is told to who waits for it. */
        if (d->error < 0 && p->error == 0 && !(d->is_watched && d->n_messages == 1)) {
                p->error = d->error;
                (void) snprintf(p->text, sizeof(p->text), "%s", d->text);
        }
        if (p->on_delivery)
                p->on_delivery(p->delivery_userdata,
                               &(const struct drmq_delivery){
                                       .topic = d->topic,
                                       .partition = d->partition,
                                       .base_offset = d->base_offset,
                                       .n_messages = d->n_messages,
                                       .n_bytes = d->n_bytes,
                                       .tags = d->tags,
                                       .error = d->error,
                                       .text = d->text,
                               });
}

static int producer_begin(drmq_producer *p) {
        int r;

        p->config.timeout_usec = p->client->timeout_usec;
        p->config.on_delivery = on_delivery;
        p->config.on_refused = on_refused;
        p->config.userdata = p;
        if (p->config.is_atomic && p->config.acks == PRODUCER_ACKS_NONE) {
                client_say(p->client, "what nobody answers cannot be atomic: choose other acks");
                return -EINVAL;
        }
        r = producer_new(p->client->session, &p->config, &p->producer);
        if (r < 0)
                client_say(p->client,
                           r == -ENOMEM ? "out of memory"
                                        : "the producer's settings do not go together");
        return r;
}

static int producer_take_headers(drmq_producer *p, const struct drmq_outgoing *m) {
        if (!grow(p->headers, p->n_headers_allocated, m->n_headers))
                return -ENOMEM;

        for (size_t i = 0; i < m->n_headers; i++) {
                const struct drmq_header *h = &m->headers[i];

                assert_return(h->name, -EINVAL);
                assert_return(h->value || h->value_size == 0, -EINVAL);
                p->headers[i] = (struct record_header){
                        .key = (const uint8_t *) h->name,
                        .key_size = strlen(h->name),
                        .value = h->value,
                        .value_size = h->value_size,
                };
        }
        return 0;
}

/* Sees to answers and what has lingered, where it is time. @is_due: a batch was sealed, or the
 * clock has ticked. */
static int producer_look_after(drmq_producer *p, bool is_due) {
        usec_t now;

        if (p->config.linger_usec == 0) { /* every message seals one */
                now = now_monotonic_usec();
                is_due = now >= p->polled_usec + EAGER_POLL_USEC;
                if (is_due)
                        p->polled_usec = now;
        }
        return is_due ? client_poll(p->client) : 0;
}

static int producer_wait_ready(drmq_producer *p, usec_t deadline_usec) {
        int r;

        if (p->client->is_nonblocking) { /* it may have room, if only somebody looks */
                r = client_poll(p->client);
                if (r < 0)
                        return r;
                p->wants_room = !producer_is_ready(p->producer);
                if (p->wants_room)
                        client_say(p->client,
                                   "not now: the buffer is full, or the topic's partitions are "
                                   "being asked for");
                return p->wants_room ? -EAGAIN : 0;
        }
        while (!producer_is_ready(p->producer)) {
                r = client_run(p->client, deadline_usec);
                if (r == -ETIMEDOUT)
                        return client_timed_out(p->client,
                                                "the buffer is full, and nothing is acknowledged");
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Return: 1 there is something to be looked after; 0; negative: it was not taken. */
static int producer_put(drmq_producer *p, const struct drmq_outgoing *m) {
        struct producer_message message;
        usec_t deadline_usec = 0;
        struct timespec now;
        bool is_tick;
        int r;

        assert_return(p, -EINVAL);
        assert_return(m && m->topic, -EINVAL);
        assert_return(m->key || m->key_size == 0, -EINVAL);
        assert_return(m->value || m->value_size == 0, -EINVAL);
        assert_return(m->headers || m->n_headers == 0, -EINVAL);

        r = client_check_idle(p->client);
        if (r < 0)
                return r;
        if (!p->producer) {
                r = producer_begin(p);
                if (r < 0)
                        return r;
        }
        if (m->n_headers > 0) {
                r = producer_take_headers(p, m);
                if (r < 0)
                        return r;
        }

        /* Some milliseconds' precision is what a timestamp has anyway, and it is much cheaper than
         * the exact clock. */
        (void) clock_gettime(CLOCK_REALTIME_COARSE, &now);
        is_tick = now.tv_nsec != p->tick.tv_nsec || now.tv_sec != p->tick.tv_sec;
        if (is_tick) {
                p->tick = now;
                p->tick_ms = (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
        }

        message = (struct producer_message){
                .topic = m->topic,
                .partition = m->partition,
                .key = m->key,
                .key_size = m->key_size,
                .value = m->value,
                .value_size = m->value_size,
                .headers = p->headers,
                .n_headers = m->n_headers,
                .timestamp_ms = m->timestamp_ms != 0 ? m->timestamp_ms : p->tick_ms,
                .tag = m->tag,
        };
        for (;;) {
                r = producer_append(p->producer, &message);
                if (r >= 0)
                        return r > 0 || is_tick;
                if (r != -EAGAIN) {
                        client_say(p->client,
                                   "%s",
                                   r == -ENOMEM ? "out of memory" : producer_error(p->producer));
                        return r;
                }
                if (deadline_usec == 0)
                        deadline_usec = client_deadline(p->client);
                r = producer_wait_ready(p, deadline_usec);
                if (r < 0)
                        return r;
        }
}

_public_ int drmq_producer_send(drmq_producer *p, const struct drmq_outgoing *m) {
        int r;

        r = producer_put(p, m);
        if (r < 0)
                return r;

        (void) producer_look_after(p,
                                   r > 0); /* taken it is; an interruption shows in the next call */
        return 0;
}

_public_ int
drmq_producer_send_sync(drmq_producer *p, const struct drmq_outgoing *m, uint64_t *ret_offset) {
        struct producer_outcome o;
        bool is_nonblocking;
        int r;

        assert_return(p, -EINVAL);

        if (p->config.is_atomic) {
                client_say(p->client,
                           "messages of an atomic producer are acknowledged together, by a flush");
                return -EINVAL;
        }
        is_nonblocking = p->client->is_nonblocking;
        p->client->is_nonblocking = false; /* for this call */
        r = producer_put(p, m);
        p->client->is_nonblocking = is_nonblocking;
        if (r < 0)
                return r;

        producer_watch_last(p->producer, &o);
        while (!o.has_ended) {
                r = client_run(p->client, USEC_INFINITY); /* its batch has a deadline */
                if (r < 0) {
                        producer_unwatch(p->producer);
                        return r;
                }
        }
        if (o.error < 0) {
                client_say(p->client, "%s", o.text);
                return o.error;
        }
        if (ret_offset)
                *ret_offset = o.offset;
        return 0;
}

_public_ int drmq_producer_poll(drmq_producer *p) {
        assert_return(p, -EINVAL);

        return client_poll(p->client);
}

/* Batches have their own deadlines: @deadline_usec is for who does not want to wait for them. */
static int producer_flush_until(drmq_producer *p, usec_t deadline_usec) {
        int r;

        if (!p->producer)
                return 0;
        r = client_check_idle(p->client);
        if (r < 0)
                return r;

        producer_flush(p->producer);
        r = deadline_usec == 0 ? client_poll(p->client) : 0;
        if (r < 0)
                return r;
        while (producer_n_pending(p->producer) > 0) {
                r = deadline_usec == 0 ? -ETIMEDOUT : client_run(p->client, deadline_usec);
                if (r == -ETIMEDOUT) {
                        client_say(p->client,
                                   "%" PRIu64 " messages are on their way",
                                   producer_n_pending(p->producer));
                        return -EINPROGRESS;
                }
                if (r < 0)
                        return r;
        }

        r = p->error;
        p->error = 0;
        if (r < 0)
                client_say(p->client, "%s", p->text);
        return r;
}

_public_ int drmq_producer_flush(drmq_producer *p) {
        assert_return(p, -EINVAL);

        return producer_flush_until(p, p->client->is_nonblocking ? 0 : USEC_INFINITY);
}

_public_ int drmq_producer_flush_timeout(drmq_producer *p, uint64_t timeout_usec) {
        assert_return(p, -EINVAL);

        return producer_flush_until(
                p, timeout_usec == 0 ? 0 : usec_add(now_monotonic_usec(), timeout_usec));
}

_public_ int drmq_producer_fd(drmq_producer *p) {
        assert_return(p, -EINVAL);

        return sd_event_get_fd(p->client->event);
}

_public_ uint64_t drmq_producer_wait_usec(drmq_producer *p) {
        assert_return(p, UINT64_MAX);

        if (!p->producer || producer_n_pending(p->producer) == 0)
                return UINT64_MAX;
        return drmq_client_wait_usec(p->client);
}

_public_ void drmq_producer_sums(const drmq_producer *p, struct drmq_producer_sums *ret) {
        const struct producer_sums *s;

        if (!ret)
                return;

        *ret = (struct drmq_producer_sums){ 0 };
        if (!p || !p->producer)
                return;
        s = producer_sums(p->producer);
        *ret = (struct drmq_producer_sums){
                .n_sent = s->n_sent,
                .n_acknowledged = s->n_acknowledged,
                .n_failed = s->n_failed,
                .n_bytes_acknowledged = s->n_bytes_acknowledged,
                .n_retries = s->n_retries,
        };
}
