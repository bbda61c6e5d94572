/* SPDX-License-Identifier: Apache-2.0 */
/* Retention. The invariants I1 to I4 are those of retention.h. What the entries mean is
 * state/state.h; unlinking is log/shard-log.h. */
#include "drmqd/core/retention.h"

#include <inttypes.h>

#include "base/alloc.h"
#include "base/bug.h"
#include "base/messages.h"
#include "drmqd/core/shard.h"
#include "log/ends.h"

/* Of one entry, so that applying it is a short step. */
#define PARTITIONS_PER_ENTRY 8192u

struct retention {
        struct shard *shard;
        struct retention_limits limits;
        struct io_timer timer;
        usec_t retry_usec; /* nothing is asked for before: what was asked for failed */

        /* The decision that is being made (I3). */
        uint64_t to_index; /* 0: none */
        struct io_job job;
        struct log_ends *ends;
        size_t at; /* the next of them to be logged */
        size_t n_proposed;
        struct waiter waiter;
        bool is_waiting;

        /* Wall clock less monotonic clock, at the last look (I4). */
        bool has_clock;
        int64_t clock_ms;
        usec_t doubt_usec; /* ends then */
};

uint64_t retention_decide(const struct retention_segment *segments,
                          size_t n,
                          uint64_t open_bytes,
                          const struct retention_limits *limits,
                          int64_t now_ms,
                          uint64_t checkpoint_index,
                          bool *ret_wants_checkpoint) {
        const int64_t max_age_ms =
                (int64_t) MIN(limits->max_age_usec / USEC_PER_MSEC, (usec_t) INT64_MAX);
        uint64_t n_bytes = open_bytes, to_index = 0;

        assert(segments || n == 0);
        assert(ret_wants_checkpoint);

        *ret_wants_checkpoint = false;
        for (size_t i = 0; i < n; i++)
                n_bytes += segments[i].n_bytes;

        for (size_t i = 0; i < n; i++) {
                const struct retention_segment *s = segments + i;
                bool is_too_much = limits->max_bytes > 0 && n_bytes > limits->max_bytes;
                bool is_too_old = max_age_ms > 0 && s->last_time_ms > 0 &&
                                  now_ms - s->last_time_ms > max_age_ms;

                if (!is_too_much && !is_too_old)
                        break;
                if (s->last_index > checkpoint_index) {
                        *ret_wants_checkpoint = true;
                        break;
                }
                to_index = s->last_index;
                n_bytes -= s->n_bytes;
        }

        return to_index;
}

/* At @deadline_usec, or before. Without memory: with the next segment. */
static void retention_set_timer(struct retention *r, usec_t deadline_usec) {
        (void) io_timer_set(r->shard->io, &r->timer, deadline_usec);
}

static void retention_give_up(struct retention *r) {
        r->ends = log_ends_free(r->ends);
        r->to_index = 0;
        r->at = 0;
}

/* In a while, from the beginning. */
static void retention_fail(struct retention *r, int error) {
        struct shard *s = r->shard;

        if (error != -ECANCELED)
                trace(s->tracer,
                      LOG_DEBUG,
                      /* message_id= */ NULL,
                      FIELDS(FIELD_SHARD(s->number), FIELD_INDEX(r->to_index), FIELD_ERROR(error)),
                      "The beginning of shard %" PRIu64 " cannot be dropped now: %s",
                      s->number,
                      strerrordesc_np(-error));
        retention_give_up(r);
        if (s->has_failed)
                return;

        r->retry_usec = usec_add(io_now(s->io), RETENTION_RETRY_USEC);
        retention_set_timer(r, r->retry_usec);
}

static bool retention_may_act(const struct retention *r) {
        return shard_is_writable(r->shard) && !r->shard->is_stopping;
}

static void retention_ask_checkpoint(struct retention *r) {
        struct shard *s = r->shard;

        if (io_now(s->io) < r->retry_usec)
                retention_set_timer(r, r->retry_usec);
        else if (shard_checkpoint(s) == -ENOMEM)
                retention_on_checkpoint_failed(r); /* -EBUSY: it will be told of */
}

/* ---- Logging ---- */

static void on_logged(struct waiter *w, int error);

static int
encode_log_start(const struct retention *r, size_t n, uint64_t index, struct byte_writer *w) {
        size_t n_ends;
        const struct log_end *ends = log_ends_all(r->ends, &n_ends);

        byte_writer_u8(w, ADMIN_LOG_START);
        if (BUG(DROP_SILENTLY))
                n = 0;
        byte_writer_uleb(w, index);
        byte_writer_uleb(w, n);
        for (size_t i = 0; i < n; i++) {
                byte_writer_uleb(w, ends[r->at + i].partition_id);
                byte_writer_uleb(w, ends[r->at + i].next_offset);
        }

        return w->failed ? -ENOMEM : 0;
}

/* The next of the entries: all but the last leave the log's start where it is (I2). */
static int retention_log_next(struct retention *r) {
        _cleanup_(proposal_freep) struct proposal *p = NULL;
        struct shard *s = r->shard;
        struct byte_writer w;
        size_t n_ends, n;
        int k;

        (void) log_ends_all(r->ends, &n_ends);
        n = MIN(n_ends - r->at, (size_t) PARTITIONS_PER_ENTRY);

        p = proposal_new(ENTRY_ADMIN, 0);
        if (!p)
                return -ENOMEM;
        byte_writer_init(&w, 0);
        k = encode_log_start(
                r, n, r->at + n == n_ends ? r->to_index : s->state->log_start_index, &w);
        if (k < 0) {
                byte_writer_done(&w);
                return k;
        }

        p->body = w.data;
        p->entry.body = p->body;
        p->entry.body_bytes = (uint32_t) w.size;
        r->n_proposed = n;
        r->is_waiting = true;
        shard_propose(s, TAKE_PTR(p), shard_append_time_ms(s), &r->waiter, on_logged);
        return 0;
}

static void on_logged(struct waiter *w, int error) {
        struct retention *r = CONTAINER_OF(w, struct retention, waiter);
        struct shard *s = r->shard;
        size_t n_ends;

        r->is_waiting = false;
        if (error >= 0 && !retention_may_act(r))
                error = -ECANCELED;
        if (error >= 0) {
                (void) log_ends_all(r->ends, &n_ends);
                r->at += r->n_proposed;
                if (r->at == n_ends && s->state->log_start_index >= r->to_index) {
                        trace(s->tracer,
                              LOG_INFO,
                              DRMQ_MESSAGE_LOG_DROPPED,
                              FIELDS(FIELD_SHARD(s->number), FIELD_INDEX(r->to_index)),
                              "Shard %" PRIu64 " drops its entries up to %" PRIu64
                              ", with messages of %zu partitions",
                              s->number,
                              r->to_index,
                              n_ends);
                        retention_give_up(r); /* it is done */
                        retention_check(r);
                        return;
                }
                error = retention_log_next(r);
        }
        if (error < 0)
                retention_fail(r, error);
}

/* ---- Finding ---- */

static int find_run(struct io_job *job) {
        return log_ends_run(CONTAINER_OF(job, struct retention, job)->ends);
}

static void find_done(struct io_job *job, int k) {
        struct retention *r = CONTAINER_OF(job, struct retention, job);

        if (k >= 0)
                k = retention_may_act(r) ? retention_log_next(r) : -ECANCELED;
        if (k < 0)
                retention_fail(r, k);
        r->shard->events->on_event_done(r->shard->userdata);
}

static void retention_begin(struct retention *r, uint64_t to_index) {
        struct shard *s = r->shard;
        int k;

        k = shard_log_ends(s->log, to_index, &r->ends);
        if (k < 0) {
                retention_fail(r, k);
                return;
        }

        r->to_index = to_index;
        r->at = 0;
        io_submit(s->io, IO_LANE_BACKGROUND, &r->job);
}

/* ---- Deciding ---- */

/* I4 */
static bool clock_is_in_doubt(struct retention *r) {
        const usec_t now = io_now(r->shard->io);
        const int64_t clock_ms = io_wall_ms(r->shard->io) - (int64_t) (now / USEC_PER_MSEC);

        if (r->has_clock && (clock_ms - r->clock_ms > RETENTION_JUMP_MS_MAX ||
                             r->clock_ms - clock_ms > RETENTION_JUMP_MS_MAX))
                r->doubt_usec = usec_add(now, RETENTION_DOUBT_USEC);
        r->clock_ms = clock_ms;
        r->has_clock = true;
        return now < r->doubt_usec;
}

/* Return: 0; -ENOMEM. */
static int list_segments(const struct retention *r,
                         struct retention_segment **ret,
                         size_t *ret_n,
                         uint64_t *ret_open_bytes) {
        const struct shard *s = r->shard;
        const size_t n = shard_log_n_segments(s->log);
        struct retention_segment *segments;

        segments = new (struct retention_segment, MAX(n, (size_t) 1));
        if (!segments)
                return -ENOMEM;

        *ret_n = 0;
        *ret_open_bytes = 0;
        for (size_t i = 0; i < n; i++) {
                struct shard_log_segment g;

                shard_log_segment(s->log, i, &g);
                if (g.is_closed)
                        segments[(*ret_n)++] = (struct retention_segment){
                                .last_index = g.last_index,
                                .n_bytes = g.n_bytes,
                                .last_time_ms = g.last_time_ms,
                        };
                else
                        *ret_open_bytes += g.n_bytes;
        }

        *ret = segments;
        return 0;
}

/* When the oldest segment is too old, or about then. */
static usec_t next_look_usec(const struct retention *r, const struct retention_segment *oldest) {
        const usec_t now = io_now(r->shard->io);
        const int64_t age_ms = io_wall_ms(r->shard->io) - oldest->last_time_ms;
        const usec_t age_usec = age_ms > 0 ? (usec_t) age_ms * USEC_PER_MSEC : 0;

        return usec_add(now,
                        MIN(MAX(usec_sub(r->limits.max_age_usec, age_usec), USEC_PER_SEC),
                            RETENTION_LOOK_USEC));
}

static void retention_look(struct retention *r) {
        _cleanup_(mem_freep) struct retention_segment *segments = NULL;
        struct retention_limits limits = r->limits;
        struct shard *s = r->shard;
        uint64_t open_bytes, to_index;
        bool wants_checkpoint;
        size_t n;

        if (limits.max_age_usec > 0 && clock_is_in_doubt(r))
                limits.max_age_usec = 0;
        if (list_segments(r, &segments, &n, &open_bytes) < 0) {
                retention_fail(r, -ENOMEM);
                return;
        }

        to_index = retention_decide(segments,
                                    n,
                                    open_bytes,
                                    &limits,
                                    io_wall_ms(s->io),
                                    BUG(DROP_EARLY) ? UINT64_MAX : s->checkpoint_index,
                                    &wants_checkpoint);
        if (r->limits.max_age_usec > 0 && n > 0)
                retention_set_timer(r, next_look_usec(r, segments));
        if (to_index > s->state->log_start_index && io_now(s->io) >= r->retry_usec)
                retention_begin(r, to_index);
        else if (to_index > s->state->log_start_index)
                retention_set_timer(r, r->retry_usec);
        else if (wants_checkpoint)
                retention_ask_checkpoint(r);
}

void retention_check(struct retention *r) {
        struct shard *s = r->shard;
        uint64_t drop_index;

        assert(r);

        if (!retention_may_act(r))
                return;

        /* I1 */
        drop_index = BUG(DROP_EARLY) ? s->state->log_start_index : s->checkpoint_log_start_index;
        if (drop_index >= shard_log_first_index(s->log)) {
                int k = shard_log_drop(s->log, drop_index);

                if (k < 0) {
                        retention_fail(r, k);
                        return;
                }
        }
        if (r->to_index != 0)
                return; /* I3 */

        if (s->state->log_start_index > s->checkpoint_log_start_index)
                retention_ask_checkpoint(r);
        else if (r->limits.max_bytes > 0 || r->limits.max_age_usec > 0)
                retention_look(r);
}

void retention_on_checkpoint_failed(struct retention *r) {
        assert(r);

        r->retry_usec = usec_add(io_now(r->shard->io), RETENTION_RETRY_USEC);
        retention_check(r);
}

static void retention_on_timer(struct io_timer *t, void *userdata) {
        struct retention *r = userdata;

        (void) t;
        retention_check(r);
        r->shard->events->on_event_done(r->shard->userdata);
}

void retention_set_limits(struct retention *r, const struct retention_limits *limits) {
        assert(r);
        assert(limits);

        r->limits = *limits;
        io_timer_cancel(r->shard->io, &r->timer);
        retention_check(r);
}

/* ---- Life ---- */

int retention_new(struct shard *s, const struct retention_limits *limits, struct retention **ret) {
        struct retention *r;

        assert(s);
        assert(limits);
        assert(ret);

        r = new0(struct retention, 1);
        if (!r)
                return -ENOMEM;

        r->shard = s;
        r->limits = *limits;
        r->timer = (struct io_timer){ .on_timer = retention_on_timer, .userdata = r };
        r->job = (struct io_job){ .run = find_run, .done = find_done };
        *ret = r;
        return 0;
}

struct retention *retention_free(struct retention *r) {
        if (!r)
                return NULL;

        assert(!r->is_waiting); /* it has been told */
        io_cancel(r->shard->io, &r->job);
        io_timer_cancel(r->shard->io, &r->timer);
        log_ends_free(r->ends);
        return mem_free(r);
}
