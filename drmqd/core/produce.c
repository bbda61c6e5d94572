/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Produce: the leader checks each batch (never the messages in it), judges it against the head of
 * the log, gives offsets, and proposes all that is accepted as one entry. The answer waits until
 * everything that it rests on, also the entry of a duplicate, is committed.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/format.h"
#include "drmqd/core/core.h"
#include "proto/table.h"

struct produce {
        struct waiter waiter;
        struct request *request;
        bool is_silent; /* acks none */
        unsigned n_results;
        struct produce_result results[];
};

/* What has come of each batch: what is committed counts for its partition. */
static void produce_count(const struct produce *p) {
        struct metrics *m = &p->request->broker->metrics;
        const struct produce_slice *rows = (const void *) p->request->frame.table.data;
        const uint8_t *batch = p->request->frame.body.data;

        for (unsigned i = 0; i < p->n_results; i++) {
                uint32_t code = le32_get(p->results[i].error),
                         n_bytes = le32_get(rows[i].batch_bytes);
                struct batch_view v;

                if (code == DRMQ_ERROR_NONE && batch_view_init(batch, n_bytes, &v) == 0)
                        metrics_add(m,
                                    le64_get(p->results[i].partition_id),
                                    &(struct traffic){ .n_produced = (uint64_t) v.n_records,
                                                       .produced_bytes = n_bytes });
                m->n_duplicates += code == DRMQ_ERROR_DUPLICATE;
                metrics_count_error(m, (enum drmq_error) code);
                batch += n_bytes;
        }
        histogram_add(&m->produce_usec,
                      usec_sub(io_now(p->request->broker->io), p->request->begun_usec));
}

static void produce_answer(struct produce *p) {
        Drmq__Proto__ProduceResponse answer = DRMQ__PROTO__PRODUCE_RESPONSE__INIT;

        produce_count(p);
        if (p->is_silent)
                request_drop(p->request);
        else
                request_answer(p->request,
                               &answer,
                               p->results,
                               p->n_results * sizeof(p->results[0]),
                               NULL,
                               0);
        mem_free(p);
}

/* Nothing of it is in the log: the request is refused in words. */
static void produce_refuse_for_space(struct produce *p) {
        const struct shard *s = p->request->broker->shards[SHARD_DATA];
        char free_text[FORMAT_MAX], reserve_text[FORMAT_MAX];
        struct shard_log_stats stats;

        shard_log_stats(s->log, &stats);
        if (stats.reserve_bytes > 0 && !stats.is_short_of_space)
                request_fail(
                        p->request,
                        DRMQ_ERROR_DISK_FULL,
                        "The disk is nearly full, no more messages are taken: %s is free in %s, "
                        "and the reserve is %s",
                        format_bytes(free_text, stats.free_bytes),
                        datadir_path(p->request->broker->datadir),
                        format_bytes(reserve_text, stats.reserve_bytes));
        else
                request_fail(p->request,
                             DRMQ_ERROR_DISK_FULL,
                             "The disk is full, no more messages are taken: %s is free in %s",
                             format_bytes(free_text, stats.free_bytes),
                             datadir_path(p->request->broker->datadir));
        mem_free(p);
}

/* Whether every batch was to be appended, or is a repetition of one that was. */
static bool produce_is_plain(const struct produce *p) {
        for (unsigned i = 0; i < p->n_results; i++) {
                uint32_t code = le32_get(p->results[i].error);

                if (code != DRMQ_ERROR_NONE && code != DRMQ_ERROR_DUPLICATE)
                        return false;
        }
        return true;
}

static void produce_on_done(struct waiter *w, int error) {
        struct produce *p = CONTAINER_OF(w, struct produce, waiter);

        if (error == -ENOSPC && !p->is_silent && produce_is_plain(p)) {
                produce_refuse_for_space(p);
                return;
        }
        if (error < 0)
                for (unsigned i = 0; i < p->n_results; i++) {
                        uint32_t code = le32_get(p->results[i].error);

                        if (code == DRMQ_ERROR_NONE || code == DRMQ_ERROR_DUPLICATE)
                                p->results[i].error = le32_of(drmq_error_from_errno(error));
                }
        produce_answer(p);
}

static enum drmq_error verify_error(int r) {
        switch (r) {
        case -EOPNOTSUPP:
                return DRMQ_ERROR_UNKNOWN_CODEC;
        case -EPROTO:
                return DRMQ_ERROR_MALFORMED;
        default:
                return DRMQ_ERROR_CORRUPT_BATCH;
        }
}

static enum drmq_error verdict_error(enum producer_verdict verdict) {
        switch (verdict) {
        case PRODUCER_NEXT:
                return DRMQ_ERROR_NONE;
        case PRODUCER_DUPLICATE:
                return DRMQ_ERROR_DUPLICATE;
        case PRODUCER_FENCED:
                return DRMQ_ERROR_FENCED;
        case PRODUCER_OUT_OF_SEQUENCE:
        default:
                return DRMQ_ERROR_OUT_OF_SEQUENCE;
        }
}

/* What a request says of one batch, checked as far as it can be without the state. */
struct judged {
        uint64_t partition_id;
        const uint8_t *batch;
        struct batch_view view;
        enum drmq_error error;
        struct producer_batch duplicate;
        uint64_t ticket; /* of the duplicate */
        uint64_t base_offset;
};

static enum drmq_error judge_batch(struct broker *b, struct judged *j, size_t n_bytes) {
        int r;

        if (broker_shard_of(b, j->partition_id) != b->shards[SHARD_DATA])
                return DRMQ_ERROR_UNKNOWN_PARTITION;
        if (n_bytes > b->batch_bytes_max)
                return DRMQ_ERROR_TOO_LARGE;

        r = batch_view_init(j->batch, n_bytes, &j->view);
        if (r != 0)
                return DRMQ_ERROR_CORRUPT_BATCH;
        r = batch_verify_produced(&j->view, 0);
        return r < 0 ? verify_error(r) : DRMQ_ERROR_NONE;
}

/* Against the head of the log. What is accepted is noted there at once, so that later batches of
 * this request see it. */
static enum drmq_error
judge_sequence(struct shard *s, struct judged *j, uint64_t ticket, int64_t time_ms) {
        enum producer_verdict verdict;

        verdict = head_judge(&s->head, j->partition_id, &j->view, &j->duplicate, &j->ticket);
        if (verdict != PRODUCER_NEXT)
                return verdict_error(verdict);

        j->base_offset = head_next_offset(&s->head, j->partition_id);
        if (j->base_offset + (uint64_t) j->view.last_offset_delta >= OFFSET_MAX)
                return DRMQ_ERROR_TOO_LARGE;
        if (head_add(&s->head, ticket, j->partition_id, &j->view, j->base_offset, time_ms) < 0)
                return DRMQ_ERROR_NO_MEMORY;
        return DRMQ_ERROR_NONE;
}

static int judged_pointer_compare(const void *a, const void *b) {
        const struct judged *x = *(struct judged *const *) a, *y = *(struct judged *const *) b;
        int r = CMP(x->partition_id, y->partition_id);

        return r != 0 ? r : CMP(x, y); /* of one array: the request's order */
}

/* One batch for each partition: refuses those that come second. */
static int refuse_repeated(struct judged *judged, unsigned n) {
        _cleanup_(mem_freep) struct judged **sorted = new (struct judged *, n);

        if (!sorted)
                return -ENOMEM;

        for (unsigned i = 0; i < n; i++)
                sorted[i] = judged + i;
        qsort(sorted, n, sizeof(sorted[0]), judged_pointer_compare);
        for (unsigned i = 1; i < n; i++)
                if (sorted[i - 1]->partition_id == sorted[i]->partition_id)
                        sorted[i]->error = DRMQ_ERROR_INVALID_ARGUMENT;
        return 0;
}

/* An atomic request is all or nothing: before anything is noted, is there a batch that would be
 * refused? Return: 1 there is none; 0 there is; -ENOMEM. */
static int judge_atomic(struct shard *s, struct judged *judged, unsigned n) {
        bool is_good = true;

        if (refuse_repeated(judged, n) < 0)
                return -ENOMEM;

        for (unsigned i = 0; i < n; i++) {
                enum producer_verdict verdict;

                if (judged[i].error != DRMQ_ERROR_NONE) {
                        is_good = false;
                        continue;
                }

                verdict = head_judge(&s->head,
                                     judged[i].partition_id,
                                     &judged[i].view,
                                     &judged[i].duplicate,
                                     &judged[i].ticket);
                judged[i].error = verdict_error(verdict);
                if (verdict != PRODUCER_NEXT)
                        is_good = false;
        }

        if (is_good)
                return 1;

        /* All of it there already is a retry of what succeeded; anything else is refused whole. */
        for (unsigned i = 0; i < n; i++)
                if (judged[i].error != DRMQ_ERROR_DUPLICATE) {
                        for (unsigned k = 0; k < n; k++)
                                if (judged[k].error == DRMQ_ERROR_NONE ||
                                    judged[k].error == DRMQ_ERROR_DUPLICATE)
                                        judged[k].error = DRMQ_ERROR_INVALID_ARGUMENT;
                        break;
                }
        return 0;
}

static struct proposal *make_proposal(struct request *r,
                                      const struct produce_slice *rows,
                                      const struct judged *judged,
                                      unsigned n,
                                      unsigned n_accepted) {
        struct proposal *p;
        unsigned k = 0;

        p = proposal_new(ENTRY_PRODUCE, n_accepted);
        if (!p)
                return NULL;

        for (unsigned i = 0; i < n; i++) {
                if (judged[i].error != DRMQ_ERROR_NONE)
                        continue;
                p->slices[k++] = (struct entry_slice){
                        .partition_id = judged[i].partition_id,
                        .base_offset = judged[i].base_offset,
                        .not_before_ms = (int64_t) le64_get(rows[i].not_before_ms),
                        .expires_at_ms = (int64_t) le64_get(rows[i].expires_at_ms),
                        .priority = rows[i].priority,
                        .batch = judged[i].batch,
                        .batch_bytes = (uint32_t) judged[i].view.size,
                };
        }
        assert(k == n_accepted);
        p->hold = slice_ref(r->frame.body);
        return p;
}

/* Takes the request: from here on there is an outcome for each batch. */
static void produce_judged(struct request *r,
                           const Drmq__Proto__ProduceRequest *q,
                           const struct produce_slice *rows,
                           struct judged *judged,
                           unsigned n) {
        struct shard *s = r->broker->shards[SHARD_DATA];
        uint64_t ticket = shard_next_ticket(s), rests_on = 0;
        int64_t time_ms = shard_append_time_ms(s);
        int verdict = q->atomic ? judge_atomic(s, judged, n) : 1;
        struct proposal *proposal = NULL;
        unsigned n_accepted = 0;
        struct produce *p = NULL;

        if (verdict >= 0)
                p = mem_alloc0(sizeof(struct produce) + n * sizeof(struct produce_result));
        if (!p) {
                request_fail(r, DRMQ_ERROR_NO_MEMORY, "The node is out of memory");
                return;
        }

        p->request = r;
        p->is_silent = q->acks == DRMQ__PROTO__ACKS__ACKS_NONE;
        p->n_results = n;
        for (unsigned i = 0; i < n; i++) {
                struct judged *j = judged + i;

                if (verdict > 0 && j->error == DRMQ_ERROR_NONE)
                        j->error = judge_sequence(s, j, ticket, time_ms);
                if (j->error == DRMQ_ERROR_DUPLICATE) {
                        rests_on = MAX(rests_on, j->ticket);
                        j->base_offset = j->duplicate.base_offset;
                }
                n_accepted += j->error == DRMQ_ERROR_NONE;
                p->results[i] = (struct produce_result){
                        .partition_id = le64_of(j->partition_id),
                        .base_offset = le64_of(j->base_offset),
                        .append_time_ms = le64_of((uint64_t) (j->error == DRMQ_ERROR_DUPLICATE
                                                                      ? j->duplicate.append_time_ms
                                                                      : time_ms)),
                        .error = le32_of(j->error),
                };
        }

        if (n_accepted == 0) {
                /* A duplicate of this very request's ticket cannot be: nothing of it was
                 * accepted. */
                shard_wait(s, &p->waiter, rests_on, produce_on_done);
                return;
        }

        /* Where memory was short for one of them, there is nothing of an atomic request. */
        if (!q->atomic || n_accepted == n)
                proposal = make_proposal(r, rows, judged, n, n_accepted);
        if (!proposal) {
                shard_forget_head(s);
                mem_free(p);
                request_fail(r, DRMQ_ERROR_NO_MEMORY, "The node is out of memory");
                return;
        }
        shard_propose(s, proposal, time_ms, &p->waiter, produce_on_done);
}

void handle_produce(struct request *r) {
        _cleanup_(message_freep) Drmq__Proto__ProduceRequest *q = NULL;
        _cleanup_(mem_freep) struct judged *judged = NULL;
        const struct produce_slice *rows = (const void *) r->frame.table.data;
        size_t n = r->frame.table.size / sizeof(struct produce_slice), pos = 0;
        enum drmq_error refusal;
        bool is_silent;

        if (message_unpack(
                    &drmq__proto__produce_request__descriptor, r->frame.header, (void **) &q) < 0 ||
            r->frame.table.size % sizeof(struct produce_slice) != 0 || n == 0 ||
            n > ENTRY_SLICES_MAX) {
                request_fail(r, DRMQ_ERROR_MALFORMED, "The produce request is malformed");
                return;
        }

        is_silent = q->acks == DRMQ__PROTO__ACKS__ACKS_NONE;
        refusal = broker_refusal(r->broker, r->broker->shards[SHARD_DATA]);
        if (refusal != DRMQ_ERROR_NONE) {
                if (is_silent)
                        request_drop(r);
                else
                        request_fail(r,
                                     refusal,
                                     "Cannot append to shard %u: %s",
                                     SHARD_DATA,
                                     drmq_error_text(refusal));
                return;
        }

        judged = new0(struct judged, n);
        if (!judged) {
                request_fail(r, DRMQ_ERROR_NO_MEMORY, "The node is out of memory");
                return;
        }

        for (size_t i = 0; i < n; i++) {
                uint32_t n_bytes = le32_get(rows[i].batch_bytes);

                if (n_bytes > r->frame.body.size - pos) {
                        request_fail(
                                r, DRMQ_ERROR_MALFORMED, "The batches are longer than the request");
                        return;
                }
                judged[i].partition_id = le64_get(rows[i].partition_id);
                judged[i].batch = r->frame.body.data + pos;
                judged[i].error = judge_batch(r->broker, judged + i, n_bytes);
                pos += n_bytes;
        }
        if (pos != r->frame.body.size) {
                request_fail(r, DRMQ_ERROR_MALFORMED, "The batches are shorter than the request");
                return;
        }

        produce_judged(r, q, rows, judged, (unsigned) n);
}
