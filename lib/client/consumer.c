/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The face of the consumer. What is behind it: consumer-internal.h.
 */

#include "client/consumer.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/alloc.h"
#include "client/consumer-internal.h"

void consumer_say(struct consumer *k, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        (void) vsnprintf(k->text, sizeof(k->text), format, ap);
        va_end(ap);
}

static void on_delay(struct io_timer *t, void *userdata) {
        struct consumer *k = userdata;

        (void) t;
        for (struct source *s; (s = list_first(&k->delayed, struct source, in_state));)
                source_place(s);
        consumer_pump(k);
}

static void on_consumer_event(struct session_watch *w, enum session_event event, void *userdata) {
        struct consumer *k = userdata;

        (void) w;
        if (event != SESSION_UP)
                return;

        /* What was refused by a node that stopped is not by the one that came back. */
        io_timer_cancel(k->io, &k->delay_timer);
        on_delay(&k->delay_timer, k);
}

/* What the take before handed out may go now (I3), and counts as dealt with. */
static void consumer_release(struct consumer *k) {
        bool has_moved = !list_is_empty(&k->taken);

        for (struct source *s; (s = list_pop(&k->taken, struct source, in_taken));)
                s->position_before = s->position;
        LIST_FOREACH(&k->spent, c, struct chunk, link)
                chunk_free(c);
        for (struct subscription *s; (s = list_pop(&k->retired, struct subscription, link));) {
                mem_free(s->topic);
                mem_free(s);
        }
        k->n_messages = 0;
        k->has_released = false;
        if (has_moved)
                consumer_plan_commit(k);
}

int consumer_new(struct session *s, const struct consumer_config *config, struct consumer **ret) {
        struct consumer *k;

        assert(s);
        assert(config);
        assert(ret);

        if (config->fetch_bytes < 4096 || config->fetch_bytes > REQUEST_BYTES_MAX ||
            config->timeout_usec == 0 || (config->group && !group_name_is_valid(config->group)))
                return -EINVAL;

        k = new0(struct consumer, 1);
        if (!k)
                return -ENOMEM;
        k->codec = codec_context_new();
        k->group = config->group ? mem_strdup(config->group) : NULL;
        if (!k->codec || (config->group && !k->group)) {
                codec_context_free(k->codec);
                mem_free(k->group);
                mem_free(k);
                return -ENOMEM;
        }

        k->session = s;
        k->io = session_io(s);
        k->config = *config;
        k->config.group = k->group;
        list_init(&k->subscriptions);
        map_init(&k->topics, subscription_compare_topic);
        list_init(&k->sources);
        list_init(&k->idle);
        list_init(&k->delayed);
        list_init(&k->ready);
        list_init(&k->taken);
        list_init(&k->spent);
        list_init(&k->retired);
        list_init(&k->fetches);
        k->delay_timer = (struct io_timer){ .on_timer = on_delay, .userdata = k };
        consumer_init_commit(k);
        k->watch = (struct session_watch){ .on_event = on_consumer_event, .userdata = k };
        session_watch_add(s, &k->watch);

        *ret = k;
        return 0;
}

struct consumer *consumer_free(struct consumer *k) {
        if (!k)
                return NULL;

        call_done(&k->commit);
        consumer_drop_commit(k);
        io_timer_cancel(k->io, &k->commit_timer);
        consumer_drop_fetches(k);
        LIST_FOREACH(&k->subscriptions, s, struct subscription, link)
                subscription_free(s);
        consumer_release(k);
        assert(list_is_empty(&k->sources));
        assert(k->buffered_bytes == 0); /* I4 */

        io_timer_cancel(k->io, &k->delay_timer);
        session_watch_remove(&k->watch);
        codec_context_free(k->codec);
        mem_free(k->messages);
        mem_free(k->group);
        return mem_free(k);
}

int consumer_subscribe(struct consumer *k,
                       const char *topic,
                       const uint32_t *partitions,
                       size_t n,
                       enum consumer_from from,
                       int64_t value) {
        assert(k);
        assert(topic);
        assert(partitions || n == 0);

        if (!topic_name_is_valid(topic)) {
                consumer_say(k, "\"%.249s\" is not a valid topic name", topic);
                return -EINVAL;
        }
        if ((from == CONSUMER_FROM_OFFSET || from == CONSUMER_FROM_LAST) && value < 0) {
                consumer_say(k, "an offset is not negative");
                return -EINVAL;
        }
        if (from == CONSUMER_FROM_POSITION && !k->group) {
                consumer_say(k, "a committed position needs a group");
                return -EINVAL;
        }
        if (subscription_find(k, topic)) {
                consumer_say(k, "topic \"%s\" is subscribed to already", topic);
                return -EEXIST;
        }

        k->last_error = 0;
        k->is_end_told = false;
        return subscription_new(k, topic, partitions, n, from, value);
}

int consumer_subscription_result(struct consumer *k, const char *topic) {
        struct subscription *s = subscription_find(k, topic);
        int r;

        if (!s) {
                consumer_say(k, "topic \"%.249s\" is not subscribed to", topic);
                return -ENOENT;
        }

        if (s->was_read)
                return 1;
        switch (s->state) {
        case SUBSCRIPTION_FAILED:
                consumer_say(k, "%s", s->text);
                r = s->error;
                subscription_free(s);
                return r;
        case SUBSCRIPTION_WAITING:
                s->is_told = true;
                return 0;
        default:
                return s->is_told ? 0 : -EAGAIN;
        }
}

void consumer_subscription_tell(struct consumer *k, const char *topic) {
        struct subscription *s = subscription_find(k, topic);

        if (s)
                s->is_told = true;
}

int consumer_unsubscribe(struct consumer *k, const char *topic) {
        struct subscription *s = subscription_find(k, topic), *name;

        if (!s) {
                consumer_say(k, "topic \"%.249s\" is not subscribed to", topic);
                return -ENOENT;
        }

        /* The name alone stays: messages that were handed out have it. */
        name = new0(struct subscription, 1);
        if (!name)
                return -ENOMEM;
        k->last_error = 0;
        map_remove(&k->topics, &s->by_topic);
        list_remove(&s->link);
        name->topic = TAKE_PTR(s->topic);
        list_append(&k->retired, &name->link);
        subscription_free(s);
        return 0;
}

static struct source *consumer_find(struct consumer *k, const char *topic, uint32_t partition) {
        struct source *s = source_find(k, topic, partition);

        if (s && s->is_resolved)
                return s;
        consumer_say(k, "%.249s/%" PRIu32 " is not subscribed to", topic, partition);
        return NULL;
}

int consumer_next_partition(const struct consumer *k,
                            const char *topic,
                            uint32_t from,
                            uint32_t *ret_number,
                            uint64_t *ret_id) {
        const struct subscription *sub = subscription_find(k, topic);
        const struct source *found = NULL;

        if (!sub)
                return -ENOENT;
        LIST_FOREACH(&sub->sources, s, struct source, of_topic)
                if (s->is_resolved && s->number >= from && (!found || s->number < found->number))
                        found = s;
        if (!found)
                return -ENOENT;

        *ret_number = found->number;
        *ret_id = found->id;
        return 0;
}

int consumer_pause(struct consumer *k, const char *topic, uint32_t partition, bool on) {
        struct source *s = consumer_find(k, topic, partition);

        if (!s)
                return -ENOENT;
        if (s->is_paused == on)
                return 0;

        s->is_paused = on;
        source_set_ready(s);
        source_place(s);
        consumer_pump(k);
        return 0;
}

int consumer_seek(struct consumer *k, const char *topic, uint32_t partition, uint64_t offset) {
        struct source *s = consumer_find(k, topic, partition);

        if (!s)
                return -ENOENT;

        list_remove(&s->in_taken);
        source_start(s, offset);
        s->position_before = offset;
        s->begin_offset = UINT64_MAX;
        k->is_end_told = false;
        consumer_plan_commit(k);
        consumer_pump(k);
        return 0;
}

/* One that has something to tell, and has handed out what was before it. */
static struct source *consumer_failed_source(const struct consumer *k) {
        if (k->n_errors > 0)
                LIST_FOREACH(&k->sources, s, struct source, link)
                        if (s->error < 0 && list_is_empty(&s->chunks))
                                return s;
        return NULL;
}

static struct subscription *consumer_failed_subscription(const struct consumer *k) {
        if (k->n_failed > 0)
                LIST_FOREACH(&k->subscriptions, s, struct subscription, link)
                        if (s->state == SUBSCRIPTION_FAILED && s->is_told)
                                return s;
        return NULL;
}

/* Return: 0 nothing is wrong; the error of a source that has handed out what was before it, of a
 * subscription, or of an automatic commit. */
static int consumer_tell_error(struct consumer *k) {
        struct subscription *sub;
        struct source *s;

        if (k->commit_error < 0) {
                int r = k->commit_error;

                k->commit_error = 0;
                consumer_say(k, "%s", k->commit_text);
                return r;
        }
        sub = consumer_failed_subscription(k);
        if (sub) {
                k->last_error = sub->error;
                consumer_say(k, "%s", sub->text);
                subscription_free(sub);
                return k->last_error;
        }

        s = consumer_failed_source(k);
        if (!s)
                return 0;

        k->last_error = s->error;
        consumer_say(k, "%s", s->text ?: "out of memory");
        source_clear_error(s);
        if (s->resume_offset != UINT64_MAX)
                source_start(s, s->resume_offset);
        return k->last_error;
}

/* Whether nothing can come any more: all that there was to read has failed, and been told. */
static bool consumer_is_stuck(const struct consumer *k) {
        if (k->last_error >= 0 || k->n_failed > 0)
                return false;

        LIST_FOREACH(&k->sources, s, struct source, link)
                if (!s->is_resting || s->error < 0 || !list_is_empty(&s->chunks))
                        return false;
        LIST_FOREACH(&k->subscriptions, s, struct subscription, link)
                if (s->state != SUBSCRIPTION_READING && s->state != SUBSCRIPTION_FAILED)
                        return false;
        return true;
}

int consumer_take(struct consumer *k, size_t n_max) {
        int r;

        consumer_release(k);
        k->is_end_told = false;
        r = consumer_tell_error(k);
        if (r < 0) {
                consumer_pump(k);
                return r;
        }

        while (k->n_messages < n_max) {
                struct source *s = list_first(&k->ready, struct source, in_ready);
                size_t n_before = k->n_messages;
                struct chunk *c;

                if (!s)
                        break;
                c = list_first(&s->chunks, struct chunk, link);
                r = chunk_take(c, n_max);
                if (r == -ENOMEM && k->n_messages == 0)
                        return r;
                if (r == -ENOMEM)
                        break;
                if (k->n_messages > n_before && list_is_empty(&s->in_taken))
                        list_append(&k->taken, &s->in_taken);
                if (r == 0)
                        break; /* n_max */

                if (r < 0) {
                        uint64_t next = (uint64_t) batch_next_offset(&c->view);

                        source_drop_chunks(s);
                        source_fail(s,
                                    r == -EOPNOTSUPP ? r : -EIO,
                                    next,
                                    "%s/%" PRIu32 ": the batch with messages %" PRIu64
                                    " to %" PRIu64 " %s",
                                    s->subscription->topic,
                                    s->number,
                                    (uint64_t) c->view.base_offset,
                                    next - 1,
                                    r == -EOPNOTSUPP ? "uses a compression that is not known here"
                                    : r == -EMSGSIZE ? "is too large when decompressed"
                                                     : "cannot be decoded");
                        continue;
                }

                k->has_released = true;
                chunk_spend(c);
                /* behind the last of them may lie what is gone, or holds no messages */
                source_pass(s,
                            list_is_empty(&s->chunks) ? s->fetch_offset
                                                      : (uint64_t) batch_next_offset(&c->view));
                if (!list_is_empty(&s->in_ready)) { /* others have their turn (I6) */
                        list_remove(&s->in_ready);
                        list_append(&k->ready, &s->in_ready);
                }
        }

        consumer_pump(k);
        if (k->n_messages > 0)
                return (int) MIN(k->n_messages, (size_t) INT32_MAX);

        r = consumer_tell_error(k);
        if (r < 0)
                return r;
        k->is_end_told = consumer_is_at_end(k);
        if (!k->config.stop_at_end && consumer_is_stuck(k))
                return k->last_error; /* silence would be for ever */
        return 0;
}

const struct consumer_message *consumer_message(const struct consumer *k, size_t i) {
        return i < k->n_messages ? &k->messages[i] : NULL;
}

bool consumer_has_released(const struct consumer *k) {
        return k->has_released ||
               (heap_node_is_linked(&k->commit_timer.node) && io_now(k->io) >= k->commit_due_usec);
}

bool consumer_is_ready(const struct consumer *k) {
        return !list_is_empty(&k->ready) || k->n_failed > 0 || k->commit_error < 0 ||
               consumer_failed_source(k) || (!k->is_end_told && consumer_is_at_end(k));
}

bool consumer_is_at_end(const struct consumer *k) {
        if (k->n_failed > 0)
                return false;
        if (!k->config.stop_at_end)
                return consumer_is_stuck(k);

        LIST_FOREACH(&k->subscriptions, s, struct subscription, link)
                if (!s->was_read && s->state != SUBSCRIPTION_FAILED)
                        return false;
        LIST_FOREACH(&k->sources, s, struct source, link)
                if (s->error < 0 || !(s->has_ended || (s->is_resting && list_is_empty(&s->chunks))))
                        return false;
        return true;
}

int consumer_position(const struct consumer *k,
                      const char *topic,
                      uint32_t partition,
                      uint64_t *ret) {
        const struct source *s = source_find(k, topic, partition);

        if (!s || !s->is_resolved)
                return -ENOENT;

        *ret = s->position;
        return 0;
}

const char *consumer_error(const struct consumer *k) {
        return k->text;
}
