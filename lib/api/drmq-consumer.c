/* SPDX-License-Identifier: Apache-2.0 */

/* Consumers: client/consumer.h, blocking. */

#include <inttypes.h>

#include "api/api.h"
#include "base/alloc.h"
#include "base/parse.h"
#include "client/consumer.h"

struct drmq_consumer {
        drmq_client *client;
        struct list link; /* client->consumers */
        drmq_ready_callback on_ready;
        void *ready_userdata;
        bool is_told;              /* on_ready was called, and nobody has polled since */
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
static_assert((int) DRMQ_OUT_OF_RANGE_ERROR == CONSUMER_OUT_OF_RANGE_ERROR &&
                      (int) DRMQ_OUT_OF_RANGE_BEGINNING == CONSUMER_OUT_OF_RANGE_BEGINNING &&
                      (int) DRMQ_OUT_OF_RANGE_END == CONSUMER_OUT_OF_RANGE_END,
              "the same numbers");

_public_ int drmq_consumer_new(drmq_client *c, drmq_consumer **ret) {
        drmq_consumer *k;

        assert_return(c, -EINVAL);
        assert_return(ret, -EINVAL);

        k = new0(drmq_consumer, 1);
        if (!k)
                return -ENOMEM;

        k->client = client_ref(c);
        list_append(&c->consumers, &k->link);
        k->config = CONSUMER_CONFIG_DEFAULT;
        *ret = k;
        return 0;
}

_public_ drmq_consumer *drmq_consumer_free(drmq_consumer *k) {
        if (!k)
                return NULL;

        consumer_free(k->consumer);
        mem_free(k->group);
        list_remove(&k->link);
        client_unref(k->client);
        return mem_free(k);
}

static int consumer_fail(drmq_consumer *k, int r) {
        client_say(k->client, "%s", r == -ENOMEM ? "out of memory" : consumer_error(k->consumer));
        return r;
}

/* Nothing is subscribed to: "TOPIC/N is not subscribed to". */
static int consumer_no_topic(drmq_consumer *k, const char *topic) {
        client_say(k->client, "topic \"%.249s\" is not subscribed to", topic);
        return -ENOENT;
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

_public_ int drmq_consumer_set_out_of_range(drmq_consumer *k, enum drmq_out_of_range what) {
        int r;

        assert_return(k, -EINVAL);

        r = consumer_may_set(
                k, (unsigned) what <= DRMQ_OUT_OF_RANGE_END, "what is done out of range");
        if (r >= 0)
                k->config.out_of_range = (enum consumer_out_of_range) what;
        return r;
}

_public_ int drmq_consumer_set_auto_commit(drmq_consumer *k, bool on) {
        int r;

        assert_return(k, -EINVAL);

        r = consumer_may_set(k, true, "the automatic commit");
        if (r >= 0)
                k->config.auto_commit = on;
        return r;
}

_public_ int drmq_consumer_set_commit_interval(drmq_consumer *k, uint64_t usec) {
        int r;

        assert_return(k, -EINVAL);

        r = consumer_may_set(k, usec <= USEC_PER_DAY, "the interval of automatic commits");
        if (r >= 0)
                k->config.commit_usec = usec;
        return r;
}

_public_ int
drmq_consumer_set_ready_callback(drmq_consumer *k, drmq_ready_callback callback, void *userdata) {
        assert_return(k, -EINVAL);

        k->on_ready = callback;
        k->ready_userdata = userdata;
        k->is_told = false;
        return 0;
}

static drmq_consumer *consumer_to_call(const drmq_client *c) {
        LIST_FOREACH(&c->consumers, k, struct drmq_consumer, link)
                if (k->on_ready && !k->is_told && k->consumer &&
                    (consumer_is_ready(k->consumer) || client_is_unreachable(c)))
                        return k;
        return NULL;
}

bool consumers_have_call(const drmq_client *c) {
        return consumer_to_call(c);
}

bool consumers_call(drmq_client *c) {
        drmq_consumer *k = consumer_to_call(c);

        if (!k)
                return false;
        k->is_told = true;
        k->on_ready(k->ready_userdata);
        return true;
}

/* ---- Subscribing ---- */

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

        r = client_check_idle(k->client);
        if (r < 0)
                return r;
        if (!k->consumer && k->config.auto_commit && !k->group) {
                client_say(k->client, "automatic commits need a group");
                return -EINVAL;
        }
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

        if (k->client->is_nonblocking) {
                consumer_subscription_tell(k->consumer, topic);
                return 0;
        }
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
                return consumer_no_topic(k, topic);
        r = client_check_idle(k->client);
        if (r < 0)
                return r;
        r = consumer_seek(k->consumer, topic, partition, offset);
        return r < 0 ? consumer_fail(k, r) : 0;
}

/* Calls @each for the partitions that are meant: one, or with DRMQ_PARTITION_ANY all that are
 * read. */
static int consumer_each(drmq_consumer *k,
                         const char *topic,
                         uint32_t partition,
                         int (*each)(drmq_consumer *k,
                                     const char *topic,
                                     uint32_t number,
                                     uint64_t id,
                                     void *userdata),
                         void *userdata) {
        uint32_t from = partition == DRMQ_PARTITION_ANY ? 0 : partition, number;
        bool is_any = false;
        uint64_t id;
        int r;

        if (!k->consumer)
                return consumer_no_topic(k, topic);
        r = client_check_idle(k->client);
        if (r < 0)
                return r;

        while (consumer_next_partition(k->consumer, topic, from, &number, &id) >= 0 &&
               (partition == DRMQ_PARTITION_ANY || number == partition)) {
                r = each(k, topic, number, id, userdata);
                if (r < 0)
                        return r;
                is_any = true;
                if (number == partition || number == UINT32_MAX)
                        break;
                from = number + 1;
        }
        if (is_any)
                return 0;
        if (partition == DRMQ_PARTITION_ANY)
                return consumer_no_topic(k, topic);
        client_say(k->client, "%.249s/%" PRIu32 " is not subscribed to", topic, partition);
        return -ENOENT;
}

struct target {
        enum drmq_from from;
        int64_t value;
        uint64_t offsets[3]; /* beginning, end, time */
        drmq_client *client;
};

static int on_target(int r, const ProtobufCMessage *answer, void *userdata) {
        const Drmq__Proto__OffsetsResponse *m = (const void *) answer;
        struct target *t = userdata;

        if (r < 0)
                return r;
        if (m->n_answer != ELEMENTSOF(t->offsets))
                return -EPROTO;
        for (size_t i = 0; i < m->n_answer; i++) {
                const Drmq__Proto__Error *e = m->answer[i]->error;

                if (e && e->code != DRMQ_ERROR_NONE) {
                        client_say(t->client,
                                   "%s",
                                   e->text && e->text[0] ? e->text : drmq_error_text(e->code));
                        return drmq_error_to_errno(e->code);
                }
                t->offsets[i] = m->answer[i]->offset;
        }
        return 0;
}

static int
seek_each(drmq_consumer *k, const char *topic, uint32_t number, uint64_t id, void *userdata) {
        Drmq__Proto__OffsetsRequest m = DRMQ__PROTO__OFFSETS_REQUEST__INIT;
        Drmq__Proto__OffsetQuery queries[3], *pointers[3];
        struct target *t = userdata;
        uint64_t begin, end, offset;
        int r;

        for (size_t i = 0; i < ELEMENTSOF(queries); i++) {
                drmq__proto__offset_query__init(&queries[i]);
                queries[i].partition_id = id;
                queries[i].kind = (Drmq__Proto__OffsetKind) i;
                queries[i].time_ms = t->value;
                pointers[i] = &queries[i];
        }
        m.query = pointers;
        m.n_query = ELEMENTSOF(queries);
        r = client_call(k->client,
                        FRAME_OFFSETS,
                        &m,
                        &drmq__proto__offsets_response__descriptor,
                        on_target,
                        t);
        if (r < 0)
                return r;

        begin = t->offsets[0];
        end = t->offsets[1];
        offset = t->from == DRMQ_FROM_END    ? end
                 : t->from == DRMQ_FROM_TIME ? t->offsets[2]
                 : t->from == DRMQ_FROM_LAST
                         ? (end - begin > (uint64_t) t->value ? end - (uint64_t) t->value : begin)
                         : begin;
        r = consumer_seek(k->consumer, topic, number, offset);
        return r < 0 ? consumer_fail(k, r) : 0;
}

_public_ int drmq_consumer_seek_to(drmq_consumer *k,
                                   const char *topic,
                                   uint32_t partition,
                                   enum drmq_from from,
                                   int64_t value) {
        struct target t = { .from = from, .value = value };

        assert_return(k, -EINVAL);
        assert_return(topic, -EINVAL);
        assert_return(from == DRMQ_FROM_BEGINNING || from == DRMQ_FROM_END ||
                              from == DRMQ_FROM_TIME || from == DRMQ_FROM_LAST,
                      -EINVAL);
        assert_return(from != DRMQ_FROM_LAST || value >= 0, -EINVAL);

        t.client = k->client;
        return consumer_each(k, topic, partition, seek_each, &t);
}

static int
pause_each(drmq_consumer *k, const char *topic, uint32_t number, uint64_t id, void *userdata) {
        int r;

        (void) id;
        r = consumer_pause(k->consumer, topic, number, *(const bool *) userdata);
        return r < 0 ? consumer_fail(k, r) : 0;
}

_public_ int drmq_consumer_pause(drmq_consumer *k, const char *topic, uint32_t partition) {
        bool on = true;

        assert_return(k, -EINVAL);
        assert_return(topic, -EINVAL);

        return consumer_each(k, topic, partition, pause_each, &on);
}

_public_ int drmq_consumer_resume(drmq_consumer *k, const char *topic, uint32_t partition) {
        bool on = false;

        assert_return(k, -EINVAL);
        assert_return(topic, -EINVAL);

        return consumer_each(k, topic, partition, pause_each, &on);
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
        if (!client_is_unreachable(c))
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
        r = client_check_idle(k->client);
        if (r < 0)
                return r;
        k->is_told = false;
        if (k->client->is_nonblocking)
                timeout_usec = 0;

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
                                return consumer_check_session(k);
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

/* Waits for the commit under way, if there is one. It has its deadline. Return: how it ended. */
static int consumer_wait_commit(drmq_consumer *k) {
        int r, result;

        while ((result = consumer_commit_result(k->consumer)) == -EAGAIN) {
                r = client_run(k->client, USEC_INFINITY);
                if (r < 0)
                        return r;
        }
        return result < 0 ? consumer_fail(k, result) : 0;
}

/* What is under way goes first. Return: 0; -EAGAIN it is, and this may not wait. */
static int consumer_before_commit(drmq_consumer *k) {
        int r;

        r = client_check_idle(k->client);
        if (r < 0 || consumer_commit_result(k->consumer) != -EAGAIN)
                return r;
        if (k->client->is_nonblocking) {
                client_say(k->client, "the commit before has not ended");
                return -EAGAIN;
        }
        r = consumer_wait_commit(k); /* what became of it is told to who asked for it */
        return r == -ECANCELED || r == -EDEADLK ? r : 0;
}

/* @r: of the commit that was begun. */
static int consumer_after_commit(drmq_consumer *k, int r) {
        if (r < 0)
                return consumer_fail(k, r);
        if (r == 0)
                return 0;
        if (k->client->is_nonblocking) {
                consumer_commit_tell(k->consumer);
                return 0;
        }
        return consumer_wait_commit(k);
}

static int consumer_commit_all(drmq_consumer *k, bool all) {
        int r;

        r = consumer_before_commit(k);
        return r < 0 ? r : consumer_after_commit(k, consumer_commit(k->consumer, all));
}

/* As consumer_commit_all(), on a client that does not block otherwise too. */
static int consumer_commit_last(drmq_consumer *k, bool all) {
        bool is_nonblocking = k->client->is_nonblocking;
        int r;

        if (!k->consumer || !k->config.auto_commit)
                return 0;

        k->client->is_nonblocking = false;
        r = consumer_commit_all(k, all);
        k->client->is_nonblocking = is_nonblocking;
        return r;
}

_public_ int drmq_consumer_unsubscribe(drmq_consumer *k, const char *topic) {
        int r;

        assert_return(k, -EINVAL);
        assert_return(topic, -EINVAL);

        if (!k->consumer)
                return consumer_no_topic(k, topic);
        r = client_check_idle(k->client);
        if (r >= 0)
                r = consumer_commit_last(k, /* all= */ false);
        if (r < 0)
                return r;
        r = consumer_unsubscribe(k->consumer, topic);
        return r < 0 ? consumer_fail(k, r) : 0;
}

_public_ int drmq_consumer_close(drmq_consumer *k) {
        int r;

        assert_return(k, -EINVAL);

        r = client_check_idle(k->client);
        if (r < 0)
                return r;
        r = consumer_commit_last(k, /* all= */ true);
        drmq_consumer_free(k);
        return r;
}

_public_ int drmq_consumer_commit(drmq_consumer *k, bool all) {
        assert_return(k, -EINVAL);

        if (!k->group) {
                client_say(k->client, "a position cannot be committed without a group");
                return -EINVAL;
        }
        return k->consumer ? consumer_commit_all(k, all) : 0;
}

_public_ int drmq_consumer_commit_offset(drmq_consumer *k,
                                         const char *topic,
                                         uint32_t partition,
                                         uint64_t offset) {
        int r;

        assert_return(k, -EINVAL);
        assert_return(topic, -EINVAL);

        if (!k->consumer)
                return consumer_no_topic(k, topic);
        r = consumer_before_commit(k);
        return r < 0 ? r
                     : consumer_after_commit(
                               k, consumer_commit_offset(k->consumer, topic, partition, offset));
}

struct committed {
        drmq_client *client;
        uint64_t id;
        uint64_t offset;
};

static int on_committed(int r, const ProtobufCMessage *answer, void *userdata) {
        const Drmq__Proto__PositionFetchResponse *m = (const void *) answer;
        struct committed *c = userdata;

        if (r < 0)
                return r;
        if (m->n_position != 1 || m->position[0]->partition_id != c->id) {
                client_say(c->client, "the node's answer makes no sense");
                return -EPROTO;
        }
        if (!m->position[0]->is_set) {
                client_say(c->client, "the group has committed nothing there");
                return -ENODATA;
        }
        c->offset = m->position[0]->offset;
        return 0;
}

static int
committed_each(drmq_consumer *k, const char *topic, uint32_t number, uint64_t id, void *userdata) {
        Drmq__Proto__PositionFetchRequest m = DRMQ__PROTO__POSITION_FETCH_REQUEST__INIT;
        struct committed *c = userdata;

        (void) topic;
        (void) number;
        c->id = id;
        m.group = k->group;
        m.partition_id = &id;
        m.n_partition_id = 1;
        return client_call(k->client,
                           FRAME_POSITION_FETCH,
                           &m,
                           &drmq__proto__position_fetch_response__descriptor,
                           on_committed,
                           c);
}

_public_ int drmq_consumer_committed(drmq_consumer *k,
                                     const char *topic,
                                     uint32_t partition,
                                     uint64_t *ret_offset) {
        struct committed c = { 0 };
        int r;

        assert_return(k, -EINVAL);
        assert_return(topic && partition != DRMQ_PARTITION_ANY, -EINVAL);
        assert_return(ret_offset, -EINVAL);

        if (!k->group) {
                client_say(k->client, "a committed position needs a group");
                return -EINVAL;
        }
        c.client = k->client;
        r = consumer_each(k, topic, partition, committed_each, &c);
        if (r >= 0)
                *ret_offset = c.offset;
        return r;
}

_public_ int drmq_consumer_position(drmq_consumer *k,
                                    const char *topic,
                                    uint32_t partition,
                                    uint64_t *ret_offset) {
        int r;

        assert_return(k, -EINVAL);
        assert_return(topic, -EINVAL);
        assert_return(ret_offset, -EINVAL);

        if (!k->consumer)
                return consumer_no_topic(k, topic);
        r = consumer_position(k->consumer, topic, partition, ret_offset);
        if (r < 0)
                client_say(k->client, "%.249s/%" PRIu32 " is not subscribed to", topic, partition);
        return r;
}

/* ---- Messages ---- */

_public_ const char *drmq_message_topic(const drmq_message *m) {
        return m ? m->message.topic : NULL;
}

_public_ uint32_t drmq_message_partition(const drmq_message *m) {
        return m ? m->message.partition : 0;
}

_public_ uint64_t drmq_message_offset(const drmq_message *m) {
        return m ? (uint64_t) m->message.record.offset : 0;
}

_public_ int64_t drmq_message_timestamp_ms(const drmq_message *m) {
        return m ? m->message.record.timestamp_ms : 0;
}

_public_ const void *drmq_message_key(const drmq_message *m, size_t *ret_size) {
        if (ret_size)
                *ret_size = m ? m->message.record.key_size : 0;
        return m ? m->message.record.key : NULL;
}

_public_ const void *drmq_message_value(const drmq_message *m, size_t *ret_size) {
        if (ret_size)
                *ret_size = m ? m->message.record.value_size : 0;
        return m ? m->message.record.value : NULL;
}

_public_ size_t drmq_message_n_headers(const drmq_message *m) {
        return m ? m->message.record.n_headers : 0;
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
