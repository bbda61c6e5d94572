/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The group's positions: which are new, and whether they have been logged.
 */

#include "client/consumer-internal.h"

#include <inttypes.h>

#include "base/alloc.h"

/* Somebody waits for the result, or hears of it from consumer_take(). */
static void consumer_end_commit(struct consumer *k, int r, const char *text) {
        k->commit_result = r;
        if (r >= 0)
                return;

        consumer_say(k, "group \"%s\": %s", k->group, text);
        if (k->is_commit_told) {
                k->commit_error = r;
                memcpy(k->commit_text, k->text, sizeof(k->commit_text));
        }
}

static void
on_commit(struct call *c, int r, const char *text, const ProtobufCMessage *answer, void *userdata) {
        const Drmq__Proto__PositionCommitResponse *m = (const void *) answer;
        struct consumer *k = userdata;

        (void) c;
        for (size_t i = 0; r >= 0 && i < m->n_position; i++)
                if (m->position[i]->error && m->position[i]->error->code != DRMQ_ERROR_NONE) {
                        uint32_t code = m->position[i]->error->code;

                        r = drmq_error_to_errno(code);
                        text = drmq_error_text(code);
                }

        if (r >= 0)
                for (size_t i = 0; i < k->n_committing; i++)
                        if (k->committing[i])
                                k->committing[i]->committed = k->commit_offsets[i];
        consumer_drop_commit(k);
        consumer_end_commit(k, r, text);
        /* What has moved meanwhile, or could not be committed. */
        consumer_plan_commit(k);
}

void consumer_forget_commit_of(struct source *s) {
        struct consumer *k = s->subscription->consumer;

        for (size_t i = 0; i < k->n_committing; i++)
                if (k->committing[i] == s)
                        k->committing[i] = NULL;
}

static void on_commit_timer(struct io_timer *t, void *userdata) {
        struct consumer *k = userdata;
        int r;

        (void) t;
        if (call_is_pending(&k->commit)) /* its end plans anew */
                return;
        r = consumer_commit(k, /* all= */ false);
        consumer_commit_tell(k);
        if (r < 0) { /* no memory */
                k->committed_usec = io_now(k->io);
                consumer_end_commit(k, r, "out of memory");
                consumer_plan_commit(k);
        }
}

void consumer_plan_commit(struct consumer *k) {
        bool has_moved = false;

        if (!k->config.auto_commit || !k->group || call_is_pending(&k->commit) ||
            heap_node_is_linked(&k->commit_timer.node))
                return;

        LIST_FOREACH(&k->sources, s, struct source, link)
                if (s->is_resolved && s->committed != s->position_before) {
                        has_moved = true;
                        break;
                }
        if (!has_moved)
                return;

        k->commit_due_usec = usec_add(k->committed_usec, k->config.commit_usec);
        /* Without memory for the timer: with the next take. */
        (void) io_timer_set(k->io, &k->commit_timer, k->commit_due_usec);
}

void consumer_drop_commit(struct consumer *k) {
        k->committing = mem_free(k->committing);
        k->commit_offsets = mem_free(k->commit_offsets);
        k->n_committing = 0;
}

/* Sends what is in committing and commit_offsets. */
static int consumer_send_commit(struct consumer *k) {
        Drmq__Proto__PositionCommitRequest m = DRMQ__PROTO__POSITION_COMMIT_REQUEST__INIT;
        size_t n = k->n_committing;
        _cleanup_(mem_freep) Drmq__Proto__Position *positions = new (Drmq__Proto__Position, n);
        _cleanup_(mem_freep) Drmq__Proto__Position **pointers = new (Drmq__Proto__Position *, n);
        int r;

        if (!positions || !pointers)
                return -ENOMEM;

        for (size_t i = 0; i < n; i++) {
                drmq__proto__position__init(&positions[i]);
                positions[i].partition_id = k->committing[i]->id;
                positions[i].offset = k->commit_offsets[i];
                positions[i].is_set = true;
                pointers[i] = &positions[i];
        }
        m.group = k->group;
        m.position = pointers;
        m.n_position = n;
        r = call_start(&k->commit,
                       k->session,
                       FRAME_POSITION_COMMIT,
                       &m,
                       &drmq__proto__position_commit_response__descriptor,
                       usec_add(io_now(k->io), k->config.timeout_usec));
        if (r < 0)
                return r;
        k->commit_result = -EAGAIN;
        k->committed_usec = io_now(k->io);
        io_timer_cancel(k->io, &k->commit_timer); /* its end plans anew */
        return 1;
}

static int consumer_begin_commit(struct consumer *k) {
        if (!k->group) {
                consumer_say(k, "a position cannot be committed without a group");
                return -EINVAL;
        }
        if (call_is_pending(&k->commit)) {
                consumer_say(k, "the commit before has not ended");
                return -EBUSY;
        }
        k->is_commit_told = false;
        return 0;
}

static int consumer_reserve_commit(struct consumer *k, size_t n) {
        k->committing = new (struct source *, n);
        k->commit_offsets = new (uint64_t, n);
        if (k->committing && k->commit_offsets)
                return 0;

        consumer_drop_commit(k);
        return -ENOMEM;
}

int consumer_commit(struct consumer *k, bool all) {
        size_t n = 0;
        int r;

        r = consumer_begin_commit(k);
        if (r < 0)
                return r;

        LIST_FOREACH(&k->sources, s, struct source, link)
                n += s->is_resolved && s->committed != (all ? s->position : s->position_before);
        if (n == 0)
                return 0;

        r = consumer_reserve_commit(k, n);
        if (r < 0)
                return r;
        LIST_FOREACH(&k->sources, s, struct source, link) {
                uint64_t offset = all ? s->position : s->position_before;

                if (s->is_resolved && s->committed != offset) {
                        k->committing[k->n_committing] = s;
                        k->commit_offsets[k->n_committing++] = offset;
                }
        }

        r = consumer_send_commit(k);
        if (r < 0)
                consumer_drop_commit(k);
        return r;
}

int consumer_commit_offset(struct consumer *k,
                           const char *topic,
                           uint32_t partition,
                           uint64_t offset) {
        struct source *s;
        int r;

        r = consumer_begin_commit(k);
        if (r < 0)
                return r;
        s = source_find(k, topic, partition);
        if (!s || !s->is_resolved) {
                consumer_say(k, "%.249s/%" PRIu32 " is not subscribed to", topic, partition);
                return -ENOENT;
        }

        r = consumer_reserve_commit(k, 1);
        if (r < 0)
                return r;
        k->committing[0] = s;
        k->commit_offsets[0] = offset;
        k->n_committing = 1;
        r = consumer_send_commit(k);
        if (r < 0)
                consumer_drop_commit(k);
        return r;
}

int consumer_commit_result(struct consumer *k) {
        return k->commit_result;
}

void consumer_commit_tell(struct consumer *k) {
        k->is_commit_told = true;
}

void consumer_init_commit(struct consumer *k) {
        call_init(&k->commit, on_commit, k);
        k->commit_timer = (struct io_timer){ .on_timer = on_commit_timer, .userdata = k };
}
