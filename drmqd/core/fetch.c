/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fetch: batches as they are on disk, from an offset up to the high watermark, gathered by
 * reference; a long poll where there is nothing.
 *
 * A fetch goes: its connection's turn (one answer of a connection is on its way at a time) -> room
 * in the fetch budget -> reading, on the loop as long as the page cache has the bytes, else in a
 * job -> answer. Where nothing is there it parks, watches its partitions, and begins anew when one
 * of them moves or its time is up.
 *
 * One answer takes at most half of what is left of the budget, or FETCH_SHARE_BYTES_MIN: however
 * many readers take nothing of their answers, there is a share for the next one, and one so small
 * is in the socket, not here. A batch that is larger than the share is sent all the same, so jobs,
 * which may find such ones, are few at a time, and none begins while the budget is exceeded.
 *
 *  I1  A fetch is in exactly one stage; only FETCH_READING holds a charge of the budget.
 *  I2  What is handed out lies below the high watermark: it is applied, so committed.
 *  I3  What a fetch itself takes is charged to the requests, but to the polls while it is parked:
 *      who waits for messages, however many, keeps nobody's request out. Past that limit a fetch is
 *      answered with nothing instead of parked.
 */
#include <inttypes.h>

#include "base/alloc.h"
#include "drmqd/core/core.h"
#include "proto/table.h"

#define FETCH_WANTS_MAX 65536u
#define FETCH_BYTES_MAX REQUEST_BYTES_MAX
/* After so many reads of one fetch on the loop a job has the next one, and others their turn. */
#define READS_IN_TURN_MAX 64u
#define HINTS_PER_CONNECTION_MAX 1024u
/* What may be asked of the fetch budget also when it is full, up to an eighth above it. */
#define FETCH_SHARE_BYTES_MIN (UINT32_C(64) << 10)
/* The pool has fewer threads: the others are there when one is done. */
#define FETCH_JOBS_MAX 8u

enum fetch_stage {
        FETCH_WAITING_TURN,   /* in conn.fetches */
        FETCH_WAITING_BUDGET, /* in broker.waiting_fetches */
        FETCH_READING,
        FETCH_PARKED,
};

struct fetch_item {
        struct watch watch;
        struct fetch *fetch;
        uint64_t partition_id;
        uint64_t offset;
        size_t max_bytes;
        enum drmq_error error;
        uint64_t next_good_offset;
        struct log_read *read;
};

struct fetch {
        struct list all;
        struct list queue;
        struct request *request; /* NULL: the client is gone, a job still runs */
        struct broker *broker;
        enum fetch_stage stage;
        struct io_timer timeout;
        usec_t begun_usec; /* since when there is something to do for it: for metrics */
        bool is_due;       /* answer with what there is, even nothing */
        struct io_job job;
        size_t max_bytes;
        size_t share_bytes; /* of this reading: no more than max_bytes */
        size_t n_bytes;
        size_t charged_bytes;
        size_t memory_bytes; /* of this struct */
        bool waits_for_job;  /* queue is in broker.waiting_jobs */
        bool is_poll;        /* they are charged to the polls (I3) */
        size_t n_slices;
        size_t at;        /* the item that is read next */
        unsigned n_reads; /* on the loop, since others had their turn */
        size_t n_items;
        struct fetch_item items[];
};

struct hint {
        struct map_node by_partition;
        struct list by_age;
        uint64_t partition_id;
        struct log_position position;
};

static void fetch_try(struct fetch *f);
static void fetch_read(struct fetch *f);

/* Hints */

static int hint_compare(const void *key, const struct map_node *n) {
        return CMP(*(const uint64_t *) key,
                   CONTAINER_OF(n, struct hint, by_partition)->partition_id);
}

static void hint_free(struct conn *c, struct hint *h) {
        map_remove(&c->hints, &h->by_partition);
        list_remove(&h->by_age);
        mem_free(h);
}

static const struct log_position *hint_get(struct conn *c, uint64_t partition_id, uint64_t offset) {
        struct map_node *n = map_find(&c->hints, &partition_id);
        const struct hint *h = n ? CONTAINER_OF(n, struct hint, by_partition) : NULL;

        return h && h->position.offset == offset ? &h->position : NULL;
}

/* Only a hint: without memory there is none. */
static void hint_set(struct conn *c, uint64_t partition_id, const struct log_position *position) {
        struct map_node *n = map_find(&c->hints, &partition_id);
        struct hint *h;

        if (n)
                h = CONTAINER_OF(n, struct hint, by_partition);
        else {
                h = new0(struct hint, 1);
                if (!h)
                        return;
                h->partition_id = partition_id;
                /* looked above */
                (void) map_insert(&c->hints, &partition_id, &h->by_partition, NULL);
                list_append(&c->hints_by_age, &h->by_age);
                if (c->hints.n_nodes > HINTS_PER_CONNECTION_MAX)
                        hint_free(c, list_first(&c->hints_by_age, struct hint, by_age));
        }
        h->position = *position;
}

void fetch_conn_init(struct conn *c) {
        list_init(&c->fetches);
        map_init(&c->hints, hint_compare);
        list_init(&c->hints_by_age);
}

void fetch_conn_done(struct conn *c) {
        assert(list_is_empty(&c->fetches)); /* on_gone() */

        LIST_FOREACH(&c->hints_by_age, h, struct hint, by_age)
                hint_free(c, h);
}

/* Life of a fetch */

static struct conn *fetch_conn(const struct fetch *f) {
        return f->request ? f->request->conn : NULL;
}

static void fetch_leave_queue(struct fetch *f) {
        if (f->waits_for_job)
                f->broker->waiting_job_bytes -= f->charged_bytes;
        f->waits_for_job = false;
        list_remove(&f->queue);
}

static void fetch_free(struct fetch *f) {
        struct shard *s = f->broker->shards[SHARD_DATA];

        assert(!io_job_is_pending(&f->job));

        io_timer_cancel(f->broker->io, &f->timeout);
        for (size_t i = 0; i < f->n_items; i++) {
                shard_watch_cancel(s, &f->items[i].watch);
                log_read_free(f->items[i].read);
        }
        fetch_leave_queue(f);
        list_remove(&f->all);
        budget_release(&f->broker->fetches, f->charged_bytes);
        if (f->is_poll)
                budget_release(&f->broker->polls, f->memory_bytes);
        mem_free(f);
}

/* The connection's next fetch may have its turn. */
static void fetch_end_turn(struct fetch *f) {
        struct conn *c = fetch_conn(f);

        if (f->stage == FETCH_READING && c) {
                c->is_fetching = false;
                conn_touch(c);
        }
}

static void fetch_on_gone(struct request *r) {
        struct fetch *f = r->userdata;

        f->request = NULL;
        if (!io_job_is_pending(&f->job))
                fetch_free(f);
        request_drop(r);
}

static void fetch_fill_header(const struct fetch *f,
                              Drmq__Proto__FetchPartition *partitions,
                              Drmq__Proto__FetchPartition **pointers,
                              Drmq__Proto__Error *errors,
                              size_t *ret_n) {
        size_t n = 0;

        for (size_t i = 0; i < f->n_items; i++) {
                const struct fetch_item *item = f->items + i;
                Drmq__Proto__FetchPartition *p = partitions + n;

                if (item->error == DRMQ_ERROR_NONE && !item->read && f->n_slices > 0)
                        continue;
                drmq__proto__fetch_partition__init(p);
                p->partition_id = item->partition_id;
                partition_bounds(
                        f->broker, item->partition_id, &p->first_offset, &p->high_watermark);
                p->next_good_offset = item->next_good_offset;
                if (item->error != DRMQ_ERROR_NONE) {
                        error_init(errors + n,
                                   f->broker,
                                   item->error,
                                   (char *) drmq_error_text(item->error));
                        p->error = errors + n;
                        metrics_count_error(&f->broker->metrics, item->error);
                }
                pointers[n++] = p;
        }

        *ret_n = n;
}

/* What is sent, by the headers of its batches. */
static void fetch_count(const struct fetch *f, const struct fetch_item *item) {
        struct traffic t = {};
        const struct log_read_slice *slices;
        size_t n_slices;

        slices = log_read_slices(item->read, &n_slices);
        for (size_t k = 0; k < n_slices; k++) {
                struct batch_view v;

                if (batch_view_init(slices[k].batch.data, slices[k].batch.size, &v) < 0)
                        continue; /* it was verified when it was read */
                t.n_consumed += (uint64_t) v.n_records;
                t.consumed_bytes += slices[k].batch.size;
        }
        metrics_add(&f->broker->metrics, item->partition_id, &t);
}

static size_t
fetch_fill_slices(const struct fetch *f, struct fetch_slice *rows, struct slice *body) {
        size_t n = 0;

        for (size_t i = 0; i < f->n_items; i++) {
                const struct log_read_slice *slices;
                size_t n_slices;

                if (!f->items[i].read)
                        continue;
                fetch_count(f, f->items + i);
                slices = log_read_slices(f->items[i].read, &n_slices);
                for (size_t k = 0; k < n_slices; k++, n++) {
                        body[n] = slices[k].batch;
                        rows[n] = (struct fetch_slice){
                                .partition_id = le64_of(f->items[i].partition_id),
                                .base_offset = le64_of(slices[k].base_offset),
                                .term = le64_of(slices[k].term),
                                .append_time_ms = le64_of((uint64_t) slices[k].append_time_ms),
                                .not_before_ms = le64_of((uint64_t) slices[k].not_before_ms),
                                .expires_at_ms = le64_of((uint64_t) slices[k].expires_at_ms),
                                .batch_bytes = le32_of((uint32_t) slices[k].batch.size),
                                .priority = slices[k].priority,
                        };
                }
        }

        return n;
}

/* Answers and frees. */
static void fetch_answer(struct fetch *f) {
        _cleanup_(mem_freep) Drmq__Proto__FetchPartition *partitions =
                new (Drmq__Proto__FetchPartition, f->n_items);
        _cleanup_(mem_freep) Drmq__Proto__FetchPartition **pointers =
                new (Drmq__Proto__FetchPartition *, f->n_items);
        _cleanup_(mem_freep) Drmq__Proto__Error *errors = new (Drmq__Proto__Error, f->n_items);
        _cleanup_(mem_freep) struct fetch_slice *rows = new (struct fetch_slice, f->n_slices + 1);
        _cleanup_(mem_freep) struct slice *body = new (struct slice, f->n_slices + 1);
        Drmq__Proto__FetchResponse answer = DRMQ__PROTO__FETCH_RESPONSE__INIT;
        struct conn *c = fetch_conn(f);
        struct request *r;
        size_t n;

        assert(c); /* on_gone() frees it otherwise */

        fetch_end_turn(f);
        r = TAKE_PTR(f->request);
        r->on_gone = NULL;
        if (!partitions || !pointers || !errors || !rows || !body) {
                fetch_free(f);
                request_fail(r, DRMQ_ERROR_NO_MEMORY, "The node is out of memory");
                return;
        }

        fetch_fill_header(f, partitions, pointers, errors, &answer.n_partition);
        answer.partition = pointers;
        n = fetch_fill_slices(f, rows, body);
        assert(n == f->n_slices);

        assert(f->charged_bytes >= f->n_bytes);
        budget_release(&f->broker->fetches, f->charged_bytes - f->n_bytes);
        c->fetched_bytes += f->n_bytes; /* until it is sent */
        f->charged_bytes = 0;
        histogram_add(&f->broker->metrics.fetch_usec,
                      usec_sub(io_now(f->broker->io), f->begun_usec));
        request_answer(r, &answer, rows, n * sizeof(rows[0]), body, n);
        fetch_free(f);
}

static void fetch_on_change(struct watch *w) {
        struct fetch_item *item = CONTAINER_OF(w, struct fetch_item, watch);

        fetch_try(item->fetch);
}

static void fetch_on_timeout(struct io_timer *t, void *userdata) {
        struct fetch *f = userdata;
        struct broker *b = f->broker;

        (void) t;
        f->is_due = true;
        if (f->stage == FETCH_PARKED)
                fetch_try(f);
        broker_settle(b);
}

static void fetch_park(struct fetch *f) {
        struct shard *s = f->broker->shards[SHARD_DATA];

        budget_release(&f->broker->fetches, f->charged_bytes);
        f->charged_bytes = 0;
        fetch_end_turn(f);
        f->stage = FETCH_PARKED;
        if (budget_charge(&f->broker->polls, f->memory_bytes) < 0) {
                f->is_due = true;
                fetch_answer(f);
                return;
        }
        f->is_poll = true; /* I3 */
        request_recharge(f->request, 0);
        for (size_t i = 0; i < f->n_items; i++)
                if (shard_watch(s, &f->items[i].watch, f->items[i].partition_id, fetch_on_change) <
                    0) {
                        f->is_due = true; /* cannot watch: answer with nothing now */
                        fetch_answer(f);
                        return;
                }
}

/* Reading */

/* @n_bytes: so many of what is charged do not count. */
static bool is_exceeded(const struct budget *fetches, size_t n_bytes) {
        return fetches->used_bytes - n_bytes >= fetches->limit_bytes + fetches->limit_bytes / 8;
}

bool fetches_wait(const struct broker *b) {
        return !list_is_empty(&b->waiting_fetches) || !list_is_empty(&b->waiting_jobs);
}

bool fetch_charge(struct broker *b, size_t n_bytes) {
        if (budget_charge(&b->fetches, n_bytes) >= 0)
                return true;
        if (is_exceeded(&b->fetches, 0))
                return false;

        budget_charge_forced(&b->fetches, n_bytes);
        return true;
}

static size_t fetch_share(const struct fetch *f) {
        const struct budget *b = &f->broker->fetches;
        size_t left_bytes = b->limit_bytes - MIN(b->used_bytes, b->limit_bytes);

        return MIN(f->max_bytes, MAX(left_bytes / 2, (size_t) FETCH_SHARE_BYTES_MIN));
}

static void fetch_submit_jobs(struct broker *b) {
        struct fetch *f;

        /* Those that wait do not wait for each other. */
        while (b->n_fetch_jobs < FETCH_JOBS_MAX &&
               !is_exceeded(&b->fetches, b->waiting_job_bytes)) {
                f = list_first(&b->waiting_jobs, struct fetch, queue);
                if (!f)
                        return;
                fetch_leave_queue(f);
                b->n_fetch_jobs++;
                io_submit(b->io, IO_LANE_READ, &f->job);
        }
}

static int fetch_job_run(struct io_job *job) {
        struct fetch *f = CONTAINER_OF(job, struct fetch, job);

        return log_read_run(f->items[f->at].read, /* may_block= */ true);
}

/* What became of the item at hand. */
static void fetch_on_read(struct fetch *f, int r) {
        struct fetch_item *item = f->items + f->at;
        struct conn *c = fetch_conn(f);
        uint64_t index;

        if (r > 0) {
                struct log_position position;
                size_t n_slices, n_bytes = log_read_bytes(item->read);

                (void) log_read_slices(item->read, &n_slices);
                f->n_slices += n_slices;
                f->n_bytes += n_bytes;
                log_read_position(item->read, &position);
                hint_set(c, item->partition_id, &position);
                if (f->n_bytes > f->charged_bytes) {
                        budget_charge_forced(&f->broker->fetches, f->n_bytes - f->charged_bytes);
                        f->charged_bytes = f->n_bytes;
                }
        } else {
                if (r == -EBADMSG || r == -EIO) {
                        item->error = DRMQ_ERROR_DAMAGED;
                        log_read_damage(item->read, &index, &item->next_good_offset);
                } else if (r == 0)
                        /* I2: it was there once, and the log ends before it */
                        item->error = DRMQ_ERROR_DAMAGED;
                else if (r < 0)
                        item->error = drmq_error_from_errno(r);
                item->read = log_read_free(item->read);
        }
        f->at++;
}

static void fetch_job_done(struct io_job *job, int r) {
        struct fetch *f = CONTAINER_OF(job, struct fetch, job);
        struct broker *b = f->broker;

        b->n_fetch_jobs--;
        if (!f->request)
                fetch_free(f);
        else {
                fetch_on_read(f, r);
                fetch_read(f);
        }
        broker_settle(b);
}

/* Return: whether the item has something to be read. */
static bool fetch_item_check(struct fetch *f, struct fetch_item *item, uint64_t *ret_limit) {
        uint64_t first, next;

        item->error = DRMQ_ERROR_NONE;
        if (broker_shard_of(f->broker, item->partition_id) != f->broker->shards[SHARD_DATA])
                item->error = DRMQ_ERROR_UNKNOWN_PARTITION;
        else {
                partition_bounds(f->broker, item->partition_id, &first, &next);
                if (item->offset >= next && item->offset >= first &&
                    !shard_knows_its_end(f->broker->shards[SHARD_DATA]))
                        item->error = DRMQ_ERROR_DAMAGED; /* it may have been, and will not come */
                else if (item->offset < first || item->offset > next)
                        item->error = DRMQ_ERROR_OFFSET_OUT_OF_RANGE;
                *ret_limit = next;
        }

        return item->error == DRMQ_ERROR_NONE && item->offset < *ret_limit;
}

/* Reads item after item until there is enough, then answers. May hand over to a job and return. */
static void fetch_read(struct fetch *f) {
        struct shard *s = f->broker->shards[SHARD_DATA];
        bool has_error = false;
        uint64_t limit = 0;
        int r;

        while (f->at < f->n_items && f->n_bytes < f->share_bytes) {
                struct fetch_item *item = f->items + f->at;
                size_t max_bytes = MIN(f->share_bytes - f->n_bytes, item->max_bytes);

                if (!fetch_item_check(f, item, &limit)) {
                        f->at++;
                        continue;
                }

                r = shard_log_read(s->log,
                                   item->partition_id,
                                   item->offset,
                                   limit,
                                   max_bytes,
                                   hint_get(fetch_conn(f), item->partition_id, item->offset),
                                   &item->read);
                if (r >= 0)
                        r = f->n_reads++ < READS_IN_TURN_MAX
                                    ? log_read_run(item->read, /* may_block= */ false)
                                    : -EAGAIN;
                if (r == -EAGAIN) {
                        f->n_reads = 0;
                        f->waits_for_job = true;
                        f->broker->waiting_job_bytes += f->charged_bytes;
                        list_append(&f->broker->waiting_jobs, &f->queue);
                        fetch_submit_jobs(f->broker);
                        return;
                }
                fetch_on_read(f, r);
        }

        for (size_t i = 0; i < f->n_items; i++)
                has_error = has_error || f->items[i].error != DRMQ_ERROR_NONE;
        if (f->n_slices > 0 || has_error || f->is_due)
                fetch_answer(f);
        else
                fetch_park(f);
}

/* From the beginning: the connection's turn, the budget, reading. */
static void fetch_try(struct fetch *f) {
        struct shard *s = f->broker->shards[SHARD_DATA];
        struct conn *c = fetch_conn(f);

        assert(c);

        for (size_t i = 0; i < f->n_items; i++)
                shard_watch_cancel(s, &f->items[i].watch);
        list_remove(&f->queue);
        if (f->stage == FETCH_PARKED)
                f->begun_usec = io_now(f->broker->io); /* that it waited was its wish */
        if (f->is_poll) {
                f->is_poll = false;
                budget_release(&f->broker->polls, f->memory_bytes);
                request_recharge(f->request, f->memory_bytes);
        }
        f->at = f->n_bytes = f->n_slices = 0;

        if (c->is_fetching || c->out.n_bytes > 0) {
                f->stage = FETCH_WAITING_TURN;
                list_append(&c->fetches, &f->queue);
                conn_touch(c);
                return;
        }
        f->share_bytes = fetch_share(f);
        if (!fetch_charge(f->broker, f->share_bytes)) {
                f->stage = FETCH_WAITING_BUDGET;
                list_append(&f->broker->waiting_fetches, &f->queue);
                return;
        }

        f->charged_bytes = f->share_bytes;
        f->stage = FETCH_READING;
        c->is_fetching = true;
        fetch_read(f);
}

void fetch_on_conn_drained(struct conn *c) {
        while (!c->is_fetching && c->out.n_bytes == 0) {
                struct fetch *f = list_pop(&c->fetches, struct fetch, queue);

                if (!f)
                        return;
                fetch_try(f);
        }
}

void fetch_resume(struct broker *b) {
        struct fetch *last = list_last(&b->waiting_fetches, struct fetch, queue), *f = NULL;

        /* Each is tried once: it may have to wait again. */
        while (last && f != last && !is_exceeded(&b->fetches, 0)) {
                f = list_pop(&b->waiting_fetches, struct fetch, queue);
                if (!f)
                        break;
                fetch_try(f);
        }
        fetch_submit_jobs(b);
}

void fetch_stop(struct broker *b) {
        LIST_FOREACH(&b->all_fetches, f, struct fetch, all) {
                struct request *r = f->request;

                if (f->stage == FETCH_READING) {
                        f->is_due = true; /* it parks no more */
                        continue;
                }
                r->on_gone = NULL;
                f->request = NULL;
                fetch_free(f);
                request_fail(r, DRMQ_ERROR_STOPPING, "The node is stopping");
        }
}

void fetch_free_all(struct broker *b) {
        LIST_FOREACH(&b->all_fetches, f, struct fetch, all) {
                io_cancel(b->io, &f->job);
                fetch_free(f);
        }
}

void handle_fetch(struct request *r) {
        _cleanup_(message_freep) Drmq__Proto__FetchRequest *q = NULL;
        const struct fetch_want *wants = (const void *) r->frame.table.data;
        size_t n = r->frame.table.size / sizeof(struct fetch_want);
        struct fetch *f;

        if (message_unpack(&drmq__proto__fetch_request__descriptor, r->frame.header, (void **) &q) <
                    0 ||
            r->frame.table.size % sizeof(struct fetch_want) != 0 || n == 0 || n > FETCH_WANTS_MAX ||
            r->frame.body.size > 0) {
                request_fail(r, DRMQ_ERROR_MALFORMED, "The fetch request is malformed");
                return;
        }

        f = mem_alloc0(sizeof(struct fetch) + n * sizeof(struct fetch_item));
        if (!f) {
                request_fail(r, DRMQ_ERROR_NO_MEMORY, "The node is out of memory");
                return;
        }

        f->request = r;
        f->broker = r->broker;
        f->begun_usec = r->begun_usec;
        f->max_bytes = q->max_bytes == 0 ? FETCH_BYTES_MAX : MIN(q->max_bytes, FETCH_BYTES_MAX);
        f->n_items = n;
        f->memory_bytes = sizeof(struct fetch) + n * sizeof(struct fetch_item);
        f->job.run = fetch_job_run;
        f->job.done = fetch_job_done;
        f->timeout = (struct io_timer){ .on_timer = fetch_on_timeout, .userdata = f };
        list_init(&f->queue);
        list_append(&r->broker->all_fetches, &f->all);
        for (size_t i = 0; i < n; i++) {
                f->items[i].fetch = f;
                f->items[i].partition_id = le64_get(wants[i].partition_id);
                f->items[i].offset = le64_get(wants[i].offset);
                f->items[i].max_bytes = le32_get(wants[i].max_bytes);
                if (f->items[i].max_bytes == 0)
                        f->items[i].max_bytes = f->max_bytes;
        }
        frame_done(&r->frame); /* a long poll keeps no memory of the connection's */
        request_recharge(r, f->memory_bytes);
        r->userdata = f;
        r->on_gone = fetch_on_gone;

        if (q->wait_ms == 0 ||
            io_timer_set(f->broker->io,
                         &f->timeout,
                         usec_add(io_now(f->broker->io),
                                  MIN(q->wait_ms * USEC_PER_MSEC, f->broker->poll_usec_max))) < 0)
                f->is_due = true;
        fetch_try(f);
}
