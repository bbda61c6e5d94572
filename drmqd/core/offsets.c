/* SPDX-License-Identifier: Apache-2.0 */
/* Offsets by position and by time. A search by time may have to read: on the loop as far as the
 * page cache goes, else in a job, one query after the other. */
#include "base/alloc.h"
#include "drmqd/core/core.h"

#define QUERIES_MAX 65536u
/* After so many searches of one request on the loop a job has the next one, and others their
 * turn. */
#define SEARCHES_IN_TURN_MAX 16u

struct query {
        struct list all;
        struct request *request; /* NULL: the client is gone, a job still runs */
        struct broker *broker;
        struct io_job job;
        struct log_read *read;
        Drmq__Proto__OffsetsRequest *asked; /* message_free() */
        Drmq__Proto__OffsetAnswer *answers;
        Drmq__Proto__Error *errors;
        size_t at;
        size_t n;
        unsigned n_searches; /* on the loop, since others had their turn */
};

static struct query *query_free(struct query *q) {
        if (!q)
                return NULL;

        assert(!io_job_is_pending(&q->job));
        list_remove(&q->all);
        log_read_free(q->read);
        message_free(q->asked);
        mem_free(q->answers);
        mem_free(q->errors);
        return mem_free(q);
}
DEFINE_CLEANUP(struct query *, query_free)

static void query_on_gone(struct request *r) {
        struct query *q = r->userdata;

        q->request = NULL;
        if (!io_job_is_pending(&q->job))
                query_free(q);
        request_drop(r);
}

static void query_refuse(struct query *q, enum drmq_error code) {
        Drmq__Proto__Error *e = q->errors + q->at;

        error_init(e, q->broker, code, (char *) drmq_error_text(code));
        metrics_count_error(&q->broker->metrics, code);
        q->answers[q->at].error = e;
}

static void query_answer(struct query *q) {
        _cleanup_(mem_freep) Drmq__Proto__OffsetAnswer **pointers =
                new (Drmq__Proto__OffsetAnswer *, q->n + 1);
        Drmq__Proto__OffsetsResponse answer = DRMQ__PROTO__OFFSETS_RESPONSE__INIT;
        struct request *r = TAKE_PTR(q->request);

        r->on_gone = NULL;
        if (!pointers)
                request_fail(r, DRMQ_ERROR_NO_MEMORY, "The node is out of memory");
        else {
                for (size_t i = 0; i < q->n; i++)
                        pointers[i] = q->answers + i;
                answer.answer = pointers;
                answer.n_answer = q->n;
                request_answer(r, &answer, NULL, 0, NULL, 0);
        }
        query_free(q);
}

static int query_job_run(struct io_job *job) {
        return log_read_run(CONTAINER_OF(job, struct query, job)->read, /* may_block= */ true);
}

static void query_on_read(struct query *q, int r) {
        Drmq__Proto__OffsetAnswer *a = q->answers + q->at;
        const struct log_read_slice *slices;
        uint64_t first, next;
        size_t n = 0;

        if (r < 0)
                query_refuse(q,
                             r == -EBADMSG || r == -EIO ? DRMQ_ERROR_DAMAGED
                                                        : drmq_error_from_errno(r));
        else if (r > 0) {
                slices = log_read_slices(q->read, &n);
                assert(n > 0);
                partition_bounds(q->broker, a->partition_id, &first, &next);
                a->offset = slices[0].base_offset;
                a->append_time_ms = slices[0].append_time_ms;
                if (a->offset < first) { /* it is about to go: nobody can fetch it any more */
                        a->offset = first;
                        a->append_time_ms = 0;
                }
        }
        q->read = log_read_free(q->read);
        q->at++;
}

/* Return: 1 the query at hand is answered; 0 it is in a job. */
static int query_step(struct query *q) {
        const Drmq__Proto__OffsetQuery *asked = q->asked->query[q->at];
        Drmq__Proto__OffsetAnswer *a = q->answers + q->at;
        struct shard *s = broker_shard_of(q->broker, asked->partition_id);
        const struct partition *p;
        uint64_t first, next;
        int r;

        drmq__proto__offset_answer__init(a);
        a->partition_id = asked->partition_id;
        if (!s) {
                query_refuse(q, DRMQ_ERROR_UNKNOWN_PARTITION);
                q->at++;
                return 1;
        }

        partition_bounds(q->broker, asked->partition_id, &first, &next);
        p = state_partition(s->state, asked->partition_id);
        a->offset = next;
        a->append_time_ms = p ? p->last_append_ms : 0;
        switch (asked->kind) {
        case DRMQ__PROTO__OFFSET_KIND__OFFSET_BEGINNING:
                a->offset = first;
                break;
        case DRMQ__PROTO__OFFSET_KIND__OFFSET_END:
                if (!shard_knows_its_end(s))
                        /* the offset says how far it can be read */
                        query_refuse(q, DRMQ_ERROR_DAMAGED);
                break;
        case DRMQ__PROTO__OFFSET_KIND__OFFSET_TIME:
                if (first == next || (p && p->last_append_ms < asked->time_ms))
                        break;
                r = shard_log_find_time(
                        s->log, asked->partition_id, asked->time_ms, next, &q->read);
                if (r >= 0)
                        r = q->n_searches++ < SEARCHES_IN_TURN_MAX
                                    ? log_read_run(q->read, /* may_block= */ false)
                                    : -EAGAIN;
                if (r == -EAGAIN) {
                        q->n_searches = 0;
                        io_submit(q->broker->io, IO_LANE_READ, &q->job);
                        return 0;
                }
                query_on_read(q, r);
                return 1;
        default:
                query_refuse(q, DRMQ_ERROR_INVALID_ARGUMENT);
        }

        q->at++;
        return 1;
}

static void query_go_on(struct query *q) {
        while (q->at < q->n)
                if (query_step(q) == 0)
                        return;
        query_answer(q);
}

static void query_job_done(struct io_job *job, int r) {
        struct query *q = CONTAINER_OF(job, struct query, job);
        struct broker *b = q->broker;

        if (!q->request)
                query_free(q);
        else {
                query_on_read(q, r);
                query_go_on(q);
        }
        broker_settle(b);
}

void offsets_free_all(struct broker *b) {
        LIST_FOREACH(&b->all_queries, q, struct query, all) {
                io_cancel(b->io, &q->job);
                query_free(q);
        }
}

void handle_offsets(struct request *r) {
        _cleanup_(query_freep) struct query *q = NULL;
        struct query *running;

        q = new0(struct query, 1);
        if (!q) {
                request_fail(r, DRMQ_ERROR_NO_MEMORY, "The node is out of memory");
                return;
        }

        list_init(&q->all);
        q->broker = r->broker;
        q->job.run = query_job_run;
        q->job.done = query_job_done;
        if (message_unpack(&drmq__proto__offsets_request__descriptor,
                           r->frame.header,
                           (void **) &q->asked) < 0 ||
            q->asked->n_query > QUERIES_MAX) {
                request_fail(r, DRMQ_ERROR_MALFORMED, "The offsets request is malformed");
                return;
        }

        q->n = q->asked->n_query;
        q->answers = new0(Drmq__Proto__OffsetAnswer, q->n + 1);
        q->errors = new0(Drmq__Proto__Error, q->n + 1);
        if (!q->answers || !q->errors) {
                request_fail(r, DRMQ_ERROR_NO_MEMORY, "The node is out of memory");
                return;
        }

        q->request = r;
        r->userdata = q;
        r->on_gone = query_on_gone;
        list_append(&r->broker->all_queries, &q->all);
        running = TAKE_PTR(q);
        query_go_on(running);
}
