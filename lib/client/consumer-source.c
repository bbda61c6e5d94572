/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Partitions: where each stands, what it holds, and what is wrong with it. The invariants are in
 * consumer-internal.h.
 */

#include "client/consumer-internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/alloc.h"

#define SOURCE_DELAY_USEC (200 * USEC_PER_MSEC)

void chunk_free(struct chunk *c) {
        list_remove(&c->link);
        if (c->has_iterator)
                batch_iterator_done(&c->iterator);
        slice_done(&c->bytes);
        mem_free(c);
}

/* Done with, but what it held may have been handed out (I3). */
void chunk_spend(struct chunk *c) {
        struct source *s = c->source;
        struct consumer *k = s->subscription->consumer;

        k->buffered_bytes -= c->bytes.size; /* I4 */
        s->buffered_bytes -= c->bytes.size;
        list_remove(&c->link);
        list_append(&k->spent, &c->link);
        source_set_ready(s);
}

void source_set_ready(struct source *s) {
        if (s->is_paused || list_is_empty(&s->chunks))
                list_remove(&s->in_ready);
        else if (list_is_empty(&s->in_ready))
                list_append(&s->subscription->consumer->ready, &s->in_ready);
}

void source_drop_chunks(struct source *s) {
        LIST_FOREACH(&s->chunks, c, struct chunk, link)
                chunk_spend(c);
}

void source_leave_fetch(struct source *s) {
        if (!s->fetch)
                return;

        s->fetch->sources[s->slot] = NULL;
        s->fetch = NULL;
}

/* Puts it where it belongs (I1). */
void source_place(struct source *s) {
        struct consumer *k = s->subscription->consumer;

        list_remove(&s->in_state);
        if (s->is_resolved && !s->fetch && !s->is_resting && !s->has_ended && !s->is_paused)
                list_append(&k->idle, &s->in_state);
}

void source_delay(struct source *s) {
        struct consumer *k = s->subscription->consumer;

        list_remove(&s->in_state);
        list_append(&k->delayed, &s->in_state);
        if (!heap_node_is_linked(&k->delay_timer.node) &&
            io_timer_set(k->io, &k->delay_timer, usec_add(io_now(k->io), SOURCE_DELAY_USEC)) < 0)
                source_place(s); /* without memory for the timer at once */
}

void source_fail(struct source *s, int error, uint64_t resume_offset, const char *format, ...) {
        char text[CALL_TEXT_MAX];
        va_list ap;

        va_start(ap, format);
        (void) vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);

        s->subscription->consumer->n_errors += s->error == 0;
        mem_free(s->text);
        s->text = mem_strdup(text);
        s->error = error;
        s->resume_offset = resume_offset;
        s->is_resting = true;
        source_leave_fetch(s);
        source_place(s);
}

void source_clear_error(struct source *s) {
        s->subscription->consumer->n_errors -= s->error != 0;
        s->error = 0;
}

static void source_set_position(struct source *s, uint64_t position) {
        s->position = position;
        if (s->has_end && position >= s->end_offset) {
                s->has_ended = true;
                source_leave_fetch(s);
                source_drop_chunks(s);
                source_place(s);
        }
}

/* A batch that ends at @offset is done with. */
void source_pass(struct source *s, uint64_t offset) {
        source_set_position(s, s->has_end ? MIN(offset, s->end_offset) : offset);
}

/* From @offset on; what was fetched of it is of no use. */
void source_start(struct source *s, uint64_t offset) {
        source_leave_fetch(s);
        source_drop_chunks(s);
        s->is_resting = s->has_ended = false;
        source_clear_error(s);
        s->fetch_offset = offset;
        source_set_position(s, offset);
        source_place(s);
}

/* What is asked for is not there: below it retention took it, above it it is still to come. */
static void source_fail_range(struct source *s, uint64_t offset, uint64_t first, uint64_t next) {
        source_fail(s,
                    -ERANGE,
                    UINT64_MAX,
                    "%s/%" PRIu32 ": %s %" PRIu64 " is %s, the first is %" PRIu64
                    " and the next to come %" PRIu64,
                    s->subscription->topic,
                    s->number,
                    s->subscription->from == CONSUMER_FROM_POSITION && !s->subscription->was_read
                            ? "the group's position"
                            : "offset",
                    offset,
                    offset < first ? "gone" : "not there yet",
                    first,
                    next);
}

void source_on_out_of_range(struct source *s, uint64_t offset, uint64_t begin, uint64_t end) {
        enum consumer_out_of_range what = s->subscription->consumer->config.out_of_range;
        uint64_t target = what == CONSUMER_OUT_OF_RANGE_BEGINNING ? begin : end;

        if (what == CONSUMER_OUT_OF_RANGE_ERROR) {
                source_fail_range(s, offset, begin, end);
                return;
        }
        if (target < s->fetch_offset)
                source_start(s, target);
        else { /* what it holds was there when it was fetched, and is handed out */
                s->fetch_offset = target;
                if (list_is_empty(&s->chunks))
                        source_pass(s, target);
                source_place(s);
        }
        if (list_is_empty(&s->in_taken))
                s->position_before = s->position;
}

void source_free(struct source *s) {
        consumer_forget_commit_of(s);
        source_leave_fetch(s);
        source_drop_chunks(s);
        source_clear_error(s);
        list_remove(&s->in_state);
        list_remove(&s->in_ready);
        list_remove(&s->in_taken);
        list_remove(&s->link);
        list_remove(&s->of_topic);
        mem_free(s->text);
        mem_free(s);
}

struct source *source_new(struct subscription *sub, uint32_t number, uint64_t id) {
        struct source *s = new0(struct source, 1);

        if (!s)
                return NULL;
        s->subscription = sub;
        s->number = number;
        s->id = id;
        s->begin_offset = UINT64_MAX;
        list_init(&s->in_state);
        list_init(&s->in_ready);
        list_init(&s->in_taken);
        list_init(&s->chunks);
        list_append(&sub->consumer->sources, &s->link);
        list_append(&sub->sources, &s->of_topic);
        return s;
}

struct source *source_find(const struct consumer *k, const char *topic, uint32_t number) {
        const struct subscription *sub = subscription_find(k, topic);

        if (!sub)
                return NULL;
        LIST_FOREACH(&sub->sources, s, struct source, of_topic)
                if (s->number == number)
                        return s;
        return NULL;
}

/* The chunk at hand can be iterated. Return: 1; 0 there is nothing in it; negative: it cannot be
 * read. */
static int chunk_begin(struct chunk *c) {
        struct consumer *k = c->source->subscription->consumer;
        int r;

        if (c->has_iterator)
                return 1;
        if (c->expires_at_ms > 0 && io_wall_ms(k->io) >= c->expires_at_ms)
                return 0;

        r = batch_iterator_init(&c->iterator, &c->view, k->codec, CONSUMER_DECOMPRESSED_BYTES_MAX);
        if (r < 0)
                return r;
        c->has_iterator = true;
        return 1;
}

/* Hands out of one chunk, up to @n_max messages in all. Return: 1 it is used up; 0 more is in it;
 * negative: it is bad. */
int chunk_take(struct chunk *c, size_t n_max) {
        struct source *s = c->source;
        struct consumer *k = s->subscription->consumer;
        const char *topic = s->subscription->topic;
        uint64_t position = s->position;
        size_t n = k->n_messages;
        int r;

        r = chunk_begin(c);
        if (r <= 0)
                return r < 0 ? r : 1;

        n_max = MIN(n_max, n + (size_t) c->iterator.n_left);
        if (!grow(k->messages, k->n_messages_allocated, n_max))
                return -ENOMEM;

        r = 1;
        while (n < n_max) {
                struct consumer_message *m = &k->messages[n];

                r = batch_iterator_next(&c->iterator, &m->record);
                if (r <= 0)
                        break;
                if ((uint64_t) m->record.offset < position)
                        continue;
                if (s->has_end && (uint64_t) m->record.offset >= s->end_offset) {
                        r = 0;
                        break;
                }
                m->topic = topic;
                m->partition = s->number;
                position = (uint64_t) m->record.offset + 1;
                n++;
        }
        if (r > 0 && c->iterator.n_left == 0)
                r = batch_iterator_next(&c->iterator, &(struct record){ 0 });

        s->position = position;
        k->n_messages = n;
        return r < 0 ? r : r == 0;
}
