/* SPDX-License-Identifier: Apache-2.0 */

/* Consumers: client/consumer.h, blocking. */

#include "api/api.h"
#include "base/alloc.h"
#include "base/parse.h"
#include "client/consumer.h"

struct drmq_consumer {
        drmq_client *client;
        struct consumer *consumer; /* NULL until the first subscription */
        struct consumer_config config;
        char *group;
};

/* drmq_message is struct consumer_message under its public name. */
struct drmq_message {
        struct consumer_message message;
};

static_assert((int) DRMQ_FROM_BEGINNING == CONSUMER_FROM_BEGINNING &&
                      (int) DRMQ_FROM_END == CONSUMER_FROM_END &&
                      (int) DRMQ_FROM_OFFSET == CONSUMER_FROM_OFFSET &&
                      (int) DRMQ_FROM_LAST == CONSUMER_FROM_LAST &&
                      (int) DRMQ_FROM_TIME == CONSUMER_FROM_TIME &&
                      (int) DRMQ_FROM_POSITION == CONSUMER_FROM_POSITION,
              "the same numbers");

_public_ int drmq_consumer_new(drmq_client *c, drmq_consumer **ret) {
        drmq_consumer *k;

        assert_return(c, -EINVAL);
        assert_return(ret, -EINVAL);

        k = new0(drmq_consumer, 1);
        if (!k)
                return -ENOMEM;

        k->client = c;
        k->config = CONSUMER_CONFIG_DEFAULT;
        *ret = k;
        return 0;
}

_public_ drmq_consumer *drmq_consumer_free(drmq_consumer *k) {
        if (!k)
                return NULL;

        consumer_free(k->consumer);
        mem_free(k->group);
        return mem_free(k);
}

/* ---- Settings ---- */

static int consumer_may_set(drmq_consumer *k, bool is_valid, const char *what) {
        if (k->consumer) {
                client_say(k->client, "%s cannot be changed after the first subscription", what);
                return -EBUSY;
        }
        if (!is_valid) {
                client_say(k->client, "%s is out of range", what);
                return -EINVAL;
        }
        return 0;
}

_public_ int drmq_consumer_set_group(drmq_consumer *k, const char *group) {
        char *copy;
        int r;

        assert_return(k, -EINVAL);
        assert_return(group, -EINVAL);

        r = consumer_may_set(k, true, "the group");
        if (r < 0)
                return r;
        if (!group_name_is_valid(group)) {
                client_say(k->client, "\"%.249s\" is not a valid group name", group);
                return -EINVAL;
        }
        copy = mem_strdup(group);
        if (!copy)
                return -ENOMEM;

        mem_free(k->group);
        k->group = copy;
        return 0;
}

_public_ int drmq_consumer_set_stop_at_end(drmq_consumer *k, bool on) {
        int r;

        assert_return(k, -EINVAL);

        r = consumer_may_set(k, true, "the end");
        if (r >= 0)
                k->config.stop_at_end = on;
        return r;
}

_public_ int drmq_consumer_set_fetch_bytes(drmq_consumer *k, size_t n_bytes) {
        int r;

        assert_return(k, -EINVAL);

        r = consumer_may_set(k, n_bytes >= 4096 && n_bytes <= REQUEST_BYTES_MAX, "the fetch size");
        if (r >= 0)
                k->config.fetch_bytes = n_bytes;
        return r;
}

_public_ int drmq_consumer_set_buffer_bytes(drmq_consumer *k, size_t n_bytes) {
        int r;

        assert_return(k, -EINVAL);

        r = consumer_may_set(k, n_bytes > 0, "the buffer size");
        if (r >= 0)
                k->config.buffer_bytes = n_bytes;
        return r;
}

_public_ int drmq_consumer_set_wait_for_topic(drmq_consumer *k, bool on) {
        int r;

        assert_return(k, -EINVAL);

        r = consumer_may_set(k, true, "waiting for topics");
        if (r >= 0)
                k->config.wait_for_topic = on;
        return r;
}

/* ---- Subscribing ---- */

static int consumer_fail(drmq_consumer *k, int r) {
        client_say(k->client, "%s", r == -ENOMEM ? "out of memory" : consumer_error(k->consumer));
        return r;
}

_public_ int drmq_consumer_subscribe(drmq_consumer *k,
                                     const char *topic,
                                     const uint32_t *partitions,
                                     size_t n_partitions,
                                     enum drmq_from from,
                                     int64_t value) {
        int r;

        assert_return(k, -EINVAL);
        assert_return(topic, -EINVAL);
        assert_return(partitions || n_partitions == 0, -EINVAL);
        assert_return((unsigned) from <= DRMQ_FROM_POSITION, -EINVAL);

        if (!k->consumer) {
                k->config.group = k->group;
                k->config.timeout_usec = k->client->timeout_usec;
                r = consumer_new(k->client->session, &k->config, &k->consumer);
                if (r < 0) {
                        client_say(k->client, "out of memory");
                        return r;
                }
        }

        r = consumer_subscribe(
                k->consumer, topic, partitions, n_partitions, (enum consumer_from) from, value);
        if (r < 0)
                return consumer_fail(k, r);

        /* What it asks for has deadlines. */
        while ((r = consumer_subscription_result(k->consumer, topic)) == -EAGAIN) {
                r = client_run(k->client, USEC_INFINITY);
                if (r < 0)
                        return r;
        }
        return r < 0 ? consumer_fail(k, r) : 0;
}

_public_ int
drmq_consumer_seek(drmq_consumer *k, const char *topic, uint32_t partition, uint64_t offset) {
        int r;

        assert_return(k, -EINVAL);
        assert_return(topic, -EINVAL);

        if (!k->consumer)
                return -ENOENT;
        r = consumer_seek(k->consumer, topic, partition, offset);
        return r < 0 ? consumer_fail(k, r) : 0;
}

/* ---- Polling ---- */

/* Silence because nobody is there is not the same as silence because there is nothing. */
static int consumer_check_session(drmq_consumer *k) {
        drmq_client *c = k->client;
        usec_t now = now_monotonic_usec();

        if (session_is_up(c->session) || c->up_usec == 0) {
                c->up_usec = now;
                return 0;
        }
        if (now < usec_add(c->up_usec, c->timeout_usec))
                return 0;

        c->up_usec = now;
        return session_describe(c->session, c->text, sizeof(c->text));
}

/* Waits for something to happen, but not past @deadline_usec nor the client's time limit without a
 * connection. */
static int consumer_wait(drmq_consumer *k, usec_t deadline_usec) {
        drmq_client *c = k->client;
        usec_t limit = deadline_usec;
        int r;

        r = consumer_check_session(k);
        if (r < 0)
                return r;
        if (!session_is_up(c->session))
                limit = MIN(limit, usec_add(c->up_usec, c->timeout_usec));
        r = client_run(c, limit);
        return r == -ETIMEDOUT && limit < deadline_usec ? 0 : r;
}

_public_ int drmq_consumer_poll(drmq_consumer *k, size_t n_max, uint64_t timeout_usec) {
        usec_t deadline_usec = 0;
        bool has_polled = false;
        int n, r;

        assert_return(k, -EINVAL);
        assert_return(n_max > 0, -EINVAL);

        if (!k->consumer) {
                client_say(k->client, "nothing is subscribed to");
                return -EINVAL;
        }
        n_max = MIN(n_max, (size_t) INT32_MAX);

        for (;;) {
                n = consumer_take(k->consumer, n_max);
                if (n > 0) {
                        /* A batch was used up: answers may have come that make room for the next
                         * request. */
                        if (consumer_has_released(k->consumer))
                                (void) client_poll(
                                        k->client); /* an interruption shows in the next call */
                        return n;
                }
                if (n < 0)
                        return consumer_fail(k, n);
                if (consumer_is_at_end(k->consumer))
                        return 0;

                if (timeout_usec == 0) {
                        if (has_polled)
                                return 0;
                        has_polled = true;
                        r = client_poll(k->client);
                } else {
                        if (deadline_usec == 0)
                                deadline_usec = usec_add(now_monotonic_usec(), timeout_usec);
                        r = consumer_wait(k, deadline_usec);
                        if (r == -ETIMEDOUT)
                                return 0;
                }
                if (r < 0)
                        return r;
        }
}

_public_ const drmq_message *drmq_consumer_message(const drmq_consumer *k, size_t i) {
        return k && k->consumer ? (const drmq_message *) consumer_message(k->consumer, i) : NULL;
}

_public_ bool drmq_consumer_is_at_end(const drmq_consumer *k) {
        return k && k->consumer && consumer_is_at_end(k->consumer);
}

/* ---- Positions ---- */

static int consumer_wait_commit(drmq_consumer *k, int r) {
        if (r < 0)
                return consumer_fail(k, r);
        if (r == 0)
                return 0;

        /* The call has its deadline. */
        while ((r = consumer_commit_result(k->consumer)) == -EAGAIN) {
                r = client_run(k->client, USEC_INFINITY);
                if (r < 0)
                        return r;
        }
        return r < 0 ? consumer_fail(k, r) : 0;
}

_public_ int drmq_consumer_commit(drmq_consumer *k, bool all) {
        assert_return(k, -EINVAL);

        if (!k->consumer)
                return k->group ? 0 : -EINVAL;
        return consumer_wait_commit(k, consumer_commit(k->consumer, all));
}

_public_ int drmq_consumer_commit_offset(drmq_consumer *k,
                                         const char *topic,
                                         uint32_t partition,
                                         uint64_t offset) {
        assert_return(k, -EINVAL);
        assert_return(topic, -EINVAL);

        if (!k->consumer)
                return -ENOENT;
        return consumer_wait_commit(k,
                                    consumer_commit_offset(k->consumer, topic, partition, offset));
}

_public_ int drmq_consumer_position(drmq_consumer *k,
                                    const char *topic,
                                    uint32_t partition,
                                    uint64_t *ret_offset) {
        assert_return(k, -EINVAL);
        assert_return(topic, -EINVAL);
        assert_return(ret_offset, -EINVAL);

        if (!k->consumer)
                return -ENOENT;
        return consumer_position(k->consumer, topic, partition, ret_offset);
}

/* ---- Messages ---- */

_public_ const char *drmq_message_topic(const drmq_message *m) {
        return m->message.topic;
}

_public_ uint32_t drmq_message_partition(const drmq_message *m) {
        return m->message.partition;
}

_public_ uint64_t drmq_message_offset(const drmq_message *m) {
        return (uint64_t) m->message.record.offset;
}

_public_ int64_t drmq_message_timestamp_ms(const drmq_message *m) {
        return m->message.record.timestamp_ms;
}

_public_ const void *drmq_message_key(const drmq_message *m, size_t *ret_size) {
        if (ret_size)
                *ret_size = m->message.record.key_size;
        return m->message.record.key;
}

_public_ const void *drmq_message_value(const drmq_message *m, size_t *ret_size) {
        if (ret_size)
                *ret_size = m->message.record.value_size;
        return m->message.record.value;
}

_public_ size_t drmq_message_n_headers(const drmq_message *m) {
        return m->message.record.n_headers;
}

_public_ int drmq_message_header(const drmq_message *m,
                                 size_t i,
                                 const char **ret_name,
                                 size_t *ret_name_size,
                                 const void **ret_value,
                                 size_t *ret_value_size) {
        struct header_iterator it;
        struct record_header h;

        assert_return(m, -EINVAL);

        header_iterator_init(&it, &m->message.record);
        do
                if (!header_iterator_next(&it, &h))
                        return -ENOENT;
        while (i-- > 0);

        if (ret_name)
                *ret_name = (const char *) h.key;
        if (ret_name_size)
                *ret_name_size = h.key_size;
        if (ret_value)
                *ret_value = h.value;
        if (ret_value_size)
                *ret_value_size = h.value_size;
        return 0;
}
