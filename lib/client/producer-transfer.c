/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Produce requests: which batches go together, and what an answer says of each. The invariants are
 * in producer-internal.h.
 */

#include "client/producer-internal.h"

#include <stdio.h>

#include "base/alloc.h"

#define TRANSFER_BATCHES_MAX 16384u
/* Batches up to this size are copied together, so that the socket is not given thousands of small
 * pieces. */
#define SMALL_BATCH_BYTES 4096u

static_assert((int) PRODUCER_ACKS_ALL == DRMQ__PROTO__ACKS__ACKS_ALL, "the same numbers");
static_assert((int) PRODUCER_ACKS_LEADER == DRMQ__PROTO__ACKS__ACKS_LEADER, "the same numbers");
static_assert((int) PRODUCER_ACKS_NONE == DRMQ__PROTO__ACKS__ACKS_NONE, "the same numbers");

static bool code_is_success(uint32_t code) {
        return code == DRMQ_ERROR_NONE || code == DRMQ_ERROR_DUPLICATE;
}

/* Whether a batch may come to be appended after an error that may pass. What is refused as a whole
 * was refused before anything was done; a row of its own has an outcome of the log. */
static bool code_leaves_doubt(uint32_t code, bool is_whole) {
        return code == DRMQ_ERROR_TIMED_OUT || (!is_whole && code != DRMQ_ERROR_BUSY);
}

/* It was refused, and would be again. What was refused is not in the log, unless an earlier attempt
 * put it there. */
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
static void batch_on_answer(struct pending_batch *b,
                            uint32_t code,
                            bool is_whole,
                            uint64_t base_offset,
                            const char *text) {
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
                text = code == DRMQ_ERROR_TOO_LARGE
                               ? "the batch is larger than the node takes (limits.batch_size)"
                               : drmq_error_text(code);

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
                if (p->config.on_refused)
                        p->config.on_refused(lane->error, text, p->config.userdata);
                if (code == DRMQ_ERROR_UNKNOWN_PARTITION)
                        (void) route_ask(lane->route,
                                         /* create= */ false); /* else after the next answer */
                return;
        }

        batch_on_refusal(b, code, text);
}

void transfer_free(struct transfer *t) {
        t->producer->n_transfers--;
        t->producer->n_out -= t->n;
        list_remove(&t->link);
        mem_free(t);
}

/* An atomic request that was refused says for most of its batches only that another one was the
 * cause. */
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
                        batch_on_answer(t->batches[i],
                                        code,
                                        /* is_whole= */ true,
                                        /* base_offset= */ 0,
                                        text);
}

static void
on_transfer_done(struct session_request *q, int r, const struct frame *answer, void *userdata) {
        struct transfer *t = userdata;
        struct producer *p = t->producer;
        size_t n_touched = 0;

        (void) q;
        /* While the transfer still names them. None of them goes meanwhile: only lane_dismiss()
         * ends a lane, and that is not called from here. */
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
                                     PRODUCER_BATCH_BYTES_MAX)
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

/* Fills p->rows and p->slices for the gathered batches; small ones are copied together, into
 * *ret_small, which the slices borrow. Return: how many slices; -ENOMEM. */
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
        assert(drmq__proto__produce_request__get_packed_size(&m) <= 16);
        *ret_n = drmq__proto__produce_request__pack(&m, dest);
}

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
void producer_pump(struct producer *p) {
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
