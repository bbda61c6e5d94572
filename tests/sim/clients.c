/* SPDX-License-Identifier: Apache-2.0 */

/* Senders and readers; they tell the checkers what they did and saw. */

#include "tests/sim/clients.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/image.h"
#include "tests/sim/server.h"

#define TOPIC_PREFIX "topic-"
#define KEY_BYTES 8u

void sim_topic_name(char dest[static 32], unsigned topic) {
        (void) snprintf(dest, 32, TOPIC_PREFIX "%u", topic);
}

static unsigned topic_number(const char *name) {
        return (unsigned) atoi(name + strlen(TOPIC_PREFIX));
}

void sim_start_process(struct sim_clients *all,
                       const char *name,
                       struct sim_process **ret,
                       struct session **ret_session) {

        const struct address address = { .host = (char *) "broker", .port = 9092 };

        (void) sim_process_new(all->world, name, /* disk= */ NULL, NULL, NULL, ret);
        if (session_new(sim_process_io(*ret), &address, 1, ret_session) < 0)
                abort();
}

static void set_timer(struct sim_process *p, struct io_timer *t, usec_t in_usec) {
        if (io_timer_set(sim_process_io(p), t, io_now(sim_process_io(p)) + in_usec) < 0)
                abort();
}

/* ---- Senders ---- */

static void on_delivery(const struct producer_delivery *d, void *userdata) {
        struct sim_sender *s = userdata;
        unsigned topic = topic_number(d->topic);

        sim_trace(sim_world_trace(s->all->world),
                  "%s: delivery of %u to topic %u partition %u at %" PRIu64 ": %d %s",
                  s->name,
                  d->n_messages,
                  topic,
                  d->partition,
                  d->base_offset,
                  d->error,
                  d->text ?: "");
        for (uint32_t i = 0; i < d->n_messages; i++)
                if (d->error < 0)
                        sim_messages_on_failed(s->all->messages, d->tags[i]);
                else
                        sim_messages_on_acknowledged(s->all->messages,
                                                     d->tags[i],
                                                     topic,
                                                     d->partition,
                                                     d->base_offset + i);
}

/* Return: as producer_append(). */
static int send_one(struct sim_sender *s) {
        unsigned topic = (unsigned) random_below(&s->random, s->all->n_topics);
        bool is_large = random_chance(&s->random, 1, s->is_hostile ? 3 : 20);
        size_t size = random_between(
                &s->random,
                s->is_hostile && is_large ? s->value_bytes_max / 2 : SIM_VALUE_BYTES_MIN,
                is_large ? s->value_bytes_max : MIN(s->value_bytes_max, (size_t) 300));
        bool is_hostile = s->is_hostile && size >= SIM_VALUE_BYTES_HOSTILE;
        char name[32], key[KEY_BYTES];
        struct producer_message m;
        int r;

        sim_topic_name(name, topic);
        m = (struct producer_message){
                .topic = name,
                .partition = PRODUCER_PARTITION_ANY,
                .value = s->value,
                .value_size = size,
                .timestamp_ms = io_wall_ms(sim_process_io(s->process)),
                .tag = sim_messages_make(
                        s->all->messages, s->number, topic, is_hostile, size, s->value),
        };
        if (s->keys > 0 && random_chance(&s->random, 2, 3)) {
                (void) snprintf(
                        key, sizeof(key), "%u", (unsigned) random_below(&s->random, s->keys));
                m.key = key;
                m.key_size = strlen(key);
        }

        r = producer_append(s->producer, &m);
        if (r < 0)
                sim_messages_unmake(s->all->messages, m.tag);
        return r;
}

static void on_sender_timer(struct io_timer *t, void *userdata) {
        struct sim_sender *s = userdata;

        (void) t;
        if (s->is_stopping)
                producer_flush(s->producer);
        else if (producer_is_ready(s->producer)) {
                unsigned n = (unsigned) random_between(&s->random, 1, s->burst_max);

                for (unsigned i = 0; i < n; i++)
                        if (send_one(s) < 0)
                                break;
                if (random_chance(&s->random, 1, 8))
                        producer_flush(s->producer);
        }

        set_timer(s->process, &s->timer, random_between(&s->random, 1, s->pause_max_usec));
}

void sim_sender_start(struct sim_sender *s) {
        assert(!s->process);

        s->number = s->all->next_producer++;
        (void) snprintf(s->name, sizeof(s->name), "sender-%u", s->number);
        s->is_stopping = false;
        s->value = must(malloc(MAX(s->value_bytes_max, (size_t) 512)));
        s->config.has_tags = true;
        s->config.on_delivery = on_delivery;
        s->config.userdata = s;
        sim_start_process(s->all, s->name, &s->process, &s->session);
        if (producer_new(s->session, &s->config, &s->producer) < 0)
                abort();

        s->timer = (struct io_timer){ .on_timer = on_sender_timer, .userdata = s };
        session_connect(s->session);
        set_timer(s->process, &s->timer, 1);
}

void sim_sender_kill(struct sim_sender *s) {
        if (!s->process)
                return;

        sim_process_kill(s->process, /* is_silent= */ false);
        s->producer = producer_free(s->producer);
        s->session = session_free(s->session);
        s->process = sim_process_free(s->process);
        free(s->value);
        s->value = NULL;
}

void sim_sender_stop(struct sim_sender *s) {
        s->is_stopping = true;
}

bool sim_sender_is_done(const struct sim_sender *s) {
        return !s->process || (s->is_stopping && producer_n_pending(s->producer) == 0);
}

/* ---- Readers ---- */

static struct sim_place *find_place(struct sim_reader *r, unsigned topic, unsigned partition) {
        for (size_t i = 0; i < r->n_places; i++)
                if (r->places[i].topic == topic && r->places[i].partition == partition)
                        return r->places + i;

        return NULL;
}

static void on_message(struct sim_reader *r, const struct consumer_message *m) {
        unsigned topic = topic_number(m->topic);
        uint64_t offset = (uint64_t) m->record.offset;
        struct sim_place *place = find_place(r, topic, m->partition);

        if (!place) {
                r->places = must(realloc(r->places, (r->n_places + 1) * sizeof(*r->places)));
                place = r->places + r->n_places++;
                *place = (struct sim_place){ .topic = topic,
                                             .partition = m->partition,
                                             .next_offset = offset };
                /* Where damage is, a commit may be lost in it, and a position lie behind it. */
                if (r->all->may_find_damage)
                        ;
                else if (r->all->has_retention)
                        sim_messages_on_passed(
                                r->all->messages, topic, m->partition, r->group > 0 ? 0 : offset);
                else if (r->group > 0)
                        sim_positions_on_start(
                                r->all->positions, r->group, topic, m->partition, offset);
                else if (offset > 0)
                        sim_violation(r->all->verdict,
                                      "dense",
                                      "%s begins topic %u partition %u at offset %" PRIu64,
                                      r->name,
                                      topic,
                                      m->partition,
                                      offset);
        }
        if (offset > place->next_offset)
                sim_trace(sim_world_trace(r->all->world),
                          "%s: topic %u partition %u goes on at %" PRIu64 " instead of %" PRIu64,
                          r->name,
                          topic,
                          m->partition,
                          offset,
                          place->next_offset);
        if (offset > place->next_offset && r->all->has_retention)
                sim_messages_on_passed(r->all->messages, topic, m->partition, offset);
        else if (offset != place->next_offset &&
                 (offset < place->next_offset || !r->all->may_find_damage))
                sim_violation(r->all->verdict,
                              "dense",
                              "%s was given offset %" PRIu64
                              " of topic %u partition %u, and expected %" PRIu64,
                              r->name,
                              offset,
                              topic,
                              m->partition,
                              place->next_offset);

        place->next_offset = offset + 1;
        sim_messages_on_read(r->all->messages,
                             topic,
                             m->partition,
                             offset,
                             m->record.value,
                             m->record.value_size);
}

/* What a reader is told instead of messages. */
static void on_read_error(struct sim_reader *r, int error) {
        const char *text = consumer_error(r->consumer);

        sim_trace(sim_world_trace(r->all->world), "%s: error %d, %s", r->name, error, text);
        if (r->all->may_find_damage) {
                for (unsigned i = 0; i < r->all->n_topics; i++) {
                        char name[32];

                        sim_topic_name(name, i);
                        if (strstr(text, name))
                                sim_messages_on_refused(r->all->messages, i);
                }
                return;
        }

        if (error == -EBADMSG || error == -EIO)
                sim_violation(r->all->verdict,
                              "damage",
                              "nothing was damaged, and %s is told: %s",
                              r->name,
                              text);
        if (error == -ERANGE)
                sim_violation(
                        r->all->verdict, "agree", "what %s has read is gone: %s", r->name, text);
        r->has_failed = true;
}

static void begin_commit(struct sim_reader *r) {
        for (size_t i = 0; i < r->n_places; i++)
                sim_positions_on_commit(r->all->positions,
                                        r->group,
                                        r->places[i].topic,
                                        r->places[i].partition,
                                        r->places[i].next_offset);
        r->is_committing = consumer_commit(r->consumer, /* all= */ true) > 0;
}

static void end_commit(struct sim_reader *r) {
        int result = consumer_commit_result(r->consumer);

        if (result == -EAGAIN)
                return;

        sim_trace(sim_world_trace(r->all->world), "%s: commit ends: %d", r->name, result);
        r->is_committing = false;
        if (result == 0)
                sim_positions_on_committed(r->all->positions, r->group);
        else
                sim_positions_on_leave(r->all->positions, r->group);
}

static void subscribe(struct sim_reader *r) {
        for (unsigned i = 0; i < r->all->n_topics; i++) {
                char name[32];

                sim_topic_name(name, i);
                if (consumer_subscribe(r->consumer,
                                       name,
                                       /* partitions= */ NULL,
                                       0,
                                       r->group > 0 ? CONSUMER_FROM_POSITION
                                                    : CONSUMER_FROM_BEGINNING,
                                       0) < 0)
                        abort();
        }
}

static void check_subscriptions(struct sim_reader *r) {
        for (unsigned i = 0; i < r->all->n_topics; i++) {
                char name[32];
                int result;

                sim_topic_name(name, i);
                result = consumer_subscription_result(r->consumer, name);
                if (result < 0 && result != -EAGAIN) {
                        sim_trace(sim_world_trace(r->all->world),
                                  "%s: subscription to %s fails: %d, %s",
                                  r->name,
                                  name,
                                  result,
                                  consumer_error(r->consumer));
                        r->has_failed = true;
                }
        }
}

static void begin(struct sim_reader *r) {
        sim_start_process(r->all, r->name, &r->process, &r->session);
        if (consumer_new(r->session, &r->config, &r->consumer) < 0)
                abort();
        session_connect(r->session);
        subscribe(r);
}

static void on_reader_timer(struct io_timer *t, void *userdata) {
        struct sim_reader *r = userdata;
        unsigned n_left = r->take_max;
        int n;

        (void) t;
        check_subscriptions(r);
        do {
                n = consumer_take(r->consumer, random_between(&r->random, 1, 100));
                for (int i = 0; i < n; i++)
                        on_message(r, consumer_message(r->consumer, (size_t) i));
                n_left -= MIN(n_left, n > 0 ? (unsigned) n : n_left);
        } while (n_left > 0);
        if (n < 0)
                on_read_error(r, n);
        r->is_at_end =
                n == 0 && consumer_is_at_end(r->consumer); /* nothing is left to be told either */

        if (r->is_committing)
                end_commit(r);
        else if (r->group > 0 && random_chance(&r->random, 1, 20))
                begin_commit(r);

        set_timer(r->process, &r->timer, random_between(&r->random, 1, r->pause_max_usec));
}

void sim_reader_start(struct sim_reader *r) {
        assert(!r->process);

        (void) snprintf(r->group_name, sizeof(r->group_name), "group-%u", r->group);
        r->config.group = r->group > 0 ? r->group_name : NULL;
        r->has_failed = false;
        r->is_at_end = false;
        r->is_committing = false;
        r->timer = (struct io_timer){ .on_timer = on_reader_timer, .userdata = r };
        begin(r);
        set_timer(r->process, &r->timer, 1);
}

void sim_reader_kill(struct sim_reader *r) {
        if (!r->process)
                return;

        sim_process_kill(r->process, /* is_silent= */ false);
        r->consumer = consumer_free(r->consumer);
        r->session = session_free(r->session);
        r->process = sim_process_free(r->process);
        free(r->places);
        r->places = NULL;
        r->n_places = 0;
        if (r->group > 0)
                sim_positions_on_leave(r->all->positions, r->group);
}

bool sim_reader_is_done(const struct sim_reader *r) {
        return r->process && r->is_at_end;
}
