/* SPDX-License-Identifier: Apache-2.0 */
/* From a proposal to its outcome; invariants I1 to I5 are those of shard.h. What proposals mean,
 * and who may make them, is not here. */
#include "drmqd/core/shard.h"

#include <inttypes.h>

#include "base/alloc.h"
#include "base/messages.h"
#include "log/checkpoint.h"

#define ELECTION_TIMEOUT_USEC USEC_PER_SEC

/* Background: takes the last checkpoint, applies the log up to the mark, writes the next one. A
 * reader of the log like any other; while it runs it touches nothing of the shard's. */
struct checkpoint_job {
        struct io_job job;
        struct shard *shard;
        struct io *io;
        uint64_t number;
        uint64_t base_index; /* the checkpoint that it goes on from; 0: none */
        uint64_t index;
        uint64_t log_start_index; /* what it says of it; after a failure, what the last one does */
        char *dir;
        struct log_scan *scan;
        usec_t begun_usec;
};

struct watch_point {
        struct map_node by_id;
        uint64_t partition_id;
        struct list watches;
        bool is_waking;
};

static int watch_point_compare(const void *key, const struct map_node *n) {
        return CMP(*(const uint64_t *) key,
                   CONTAINER_OF(n, struct watch_point, by_id)->partition_id);
}

/* Proposals */

struct proposal *proposal_new(enum entry_kind kind, unsigned n_slices) {
        struct proposal *p;

        p = mem_alloc0(sizeof(struct proposal) + n_slices * sizeof(struct entry_slice));
        if (!p)
                return NULL;

        list_init(&p->link);
        p->entry.kind = kind;
        p->entry.n_slices = n_slices;
        p->entry.slices = n_slices > 0 ? p->slices : NULL;
        return p;
}

struct proposal *proposal_free(struct proposal *p) {
        if (!p)
                return NULL;

        list_remove(&p->link);
        slice_done(&p->hold);
        mem_free(p->body);
        return mem_free(p);
}

/* Waiters and watches */

static void shard_tell(struct shard *s, uint64_t from_ticket, uint64_t to_ticket, int error) {
        for (;;) {
                struct waiter *w = NULL;

                LIST_FOREACH(&s->waiters, i, struct waiter, link)
                        if (i->ticket >= from_ticket) {
                                w = i->ticket <= to_ticket ? i : NULL;
                                break;
                        }
                if (!w)
                        return;
                list_remove(&w->link);
                w->on_done(w, error);
        }
}

void shard_wait(struct shard *s,
                struct waiter *w,
                uint64_t ticket,
                void (*on_done)(struct waiter *w, int error)) {
        struct list *before;

        assert(s);
        assert(w);
        assert(ticket < s->next_ticket);

        list_init(&w->link);
        w->ticket = ticket;
        w->on_done = on_done;
        if (ticket <= s->applied_ticket) {
                on_done(w, 0);
                return;
        }

        /* Nearly always the last: look from the end. */
        for (before = s->waiters.prev; before != &s->waiters; before = before->prev)
                if (list_entry(before, struct waiter, link)->ticket <= ticket)
                        break;
        list_prepend(before, &w->link);
}

static void watch_point_free(struct shard *s, struct watch_point *point) {
        if (point->is_waking || !list_is_empty(&point->watches))
                return;

        map_remove(&s->watch_points, &point->by_id);
        mem_free(point);
}

int shard_watch(struct shard *s,
                struct watch *w,
                uint64_t partition_id,
                void (*on_change)(struct watch *w)) {
        struct map_node *n = map_find(&s->watch_points, &partition_id);
        struct watch_point *point;

        assert(!w->point);

        if (n)
                point = CONTAINER_OF(n, struct watch_point, by_id);
        else {
                point = new0(struct watch_point, 1);
                if (!point)
                        return -ENOMEM;
                point->partition_id = partition_id;
                list_init(&point->watches);
                /* looked above */
                (void) map_insert(&s->watch_points, &partition_id, &point->by_id, NULL);
        }

        w->point = point;
        w->on_change = on_change;
        list_append(&point->watches, &w->link);
        return 0;
}

void shard_watch_cancel(struct shard *s, struct watch *w) {
        struct watch_point *point = w->point;

        if (!point)
                return;

        w->point = NULL;
        list_remove(&w->link);
        watch_point_free(s, point);
}

static void watch_point_wake(struct shard *s, struct watch_point *point) {
        struct list woken;
        struct watch *w;

        /* Who watches again from within is not woken again. */
        list_init(&woken);
        while ((w = list_pop(&point->watches, struct watch, link)))
                list_append(&woken, &w->link);

        point->is_waking = true;
        while ((w = list_pop(&woken, struct watch, link))) {
                w->point = NULL;
                w->on_change(w);
        }
        point->is_waking = false;
        watch_point_free(s, point);
}

static void shard_wake(struct shard *s, uint64_t partition_id) {
        struct map_node *n = map_find(&s->watch_points, &partition_id);

        if (n)
                watch_point_wake(s, CONTAINER_OF(n, struct watch_point, by_id));
}

/* Partitions may be gone: whoever watches looks again. */
static void shard_wake_all(struct shard *s) {
        uint64_t id = 0;

        for (;;) {
                struct map_node *n = map_find_ge(&s->watch_points, &id);

                if (!n)
                        return;
                id = CONTAINER_OF(n, struct watch_point, by_id)->partition_id + 1;
                watch_point_wake(s, CONTAINER_OF(n, struct watch_point, by_id));
                if (id == 0)
                        return;
        }
}

/* Failing */

static void shard_fail(struct shard *s, int error, const char *what) {
        if (s->has_failed)
                return;

        s->has_failed = true; /* I5 */
        s->is_ready = false;
        io_timer_cancel(s->io, &s->flush);
        io_timer_cancel(s->io, &s->election);
        trace(s->tracer,
              LOG_ERR,
              DRMQ_MESSAGE_FATAL_DISK,
              FIELDS(FIELD_SHARD(s->number), FIELD_ERROR(error)),
              "Shard %" PRIu64 " cannot go on, the node stops: %s: %s",
              s->number,
              what,
              strerrordesc_np(-error));
        s->events->on_fatal(s->userdata, error, what);
}

static int shard_note_in_head(struct shard *s, const struct proposal *p) {
        int r;

        for (unsigned k = 0; k < p->entry.n_slices; k++) {
                const struct entry_slice *slice = p->entry.slices + k;
                struct batch_view v;

                r = batch_view_init(slice->batch, slice->batch_bytes, &v);
                assert(r == 0); /* it was judged */
                r = head_add(&s->head,
                             p->ticket,
                             slice->partition_id,
                             &v,
                             slice->base_offset,
                             p->entry.append_time_ms);
                if (r < 0)
                        return r;
        }

        return 0;
}

void shard_forget_head(struct shard *s) {
        struct list *const proposals[] = { &s->in_flight, &s->unappended };

        head_clear(&s->head);
        for (unsigned l = 0; l < ELEMENTSOF(proposals); l++)
                LIST_FOREACH(proposals[l], i, struct proposal, link)
                        if (shard_note_in_head(s, i) < 0) {
                                shard_fail(s, -ENOMEM, "out of memory");
                                return;
                        }
}

/* What waits for room will not be in the log: its waiters learn why, the head forgets it (I2: it is
 * all at the end). */
static void shard_refuse_unappended(struct shard *s, int error) {
        struct proposal *first = list_first(&s->unappended, struct proposal, link), *p;
        uint64_t from_ticket, to_ticket = s->next_ticket - 1;
        bool had_mark = false;

        if (!first)
                return;

        from_ticket = first->ticket;
        while ((p = list_pop(&s->unappended, struct proposal, link))) {
                had_mark = had_mark || p->entry.kind == ENTRY_CHECKPOINT_MARK;
                proposal_free(p);
        }

        shard_forget_head(s);
        shard_tell(s, from_ticket, to_ticket, error);
        if (had_mark) {
                s->mark_in_flight = false;
                retention_on_checkpoint_failed(s->retention);
                s->events->on_checkpoint(s->userdata, s, error);
        }
}

/* There is no room for messages, but there is for all else: only they will not be in the log. What
 * was judged after them rests on them, so all go that wait. */
static void shard_refuse_messages(struct shard *s, int error) {
        struct list refused;
        struct proposal *p;

        list_init(&refused);
        LIST_FOREACH(&s->unappended, i, struct proposal, link)
                if (i->entry.kind == ENTRY_PRODUCE) {
                        list_remove(&i->link);
                        list_append(&refused, &i->link);
                }

        shard_forget_head(s);
        while ((p = list_pop(&refused, struct proposal, link))) {
                uint64_t ticket = p->ticket;

                proposal_free(p);
                shard_tell(s, ticket, ticket, error);
        }
}

/* Checkpoints */

static struct checkpoint_job *checkpoint_job_free(struct checkpoint_job *j) {
        if (!j)
                return NULL;

        log_scan_free(j->scan);
        mem_free(j->dir);
        return mem_free(j);
}
DEFINE_CLEANUP(struct checkpoint_job *, checkpoint_job_free)

static int checkpoint_job_run(struct io_job *job) {
        struct checkpoint_job *j = CONTAINER_OF(job, struct checkpoint_job, job);
        _cleanup_(checkpoint_done) struct checkpoint before = {};
        _cleanup_(state_freep) struct state *s = NULL;
        struct byte_writer w;
        struct entry e;
        unsigned n_bad;
        int r;

        r = state_new(&s);
        if (r < 0)
                return r;

        r = checkpoint_load(j->io, j->dir, j->number, &before, &n_bad);
        if (r < 0)
                return r;
        if (r > 0) {
                r = state_decode(s, before.body, before.body_bytes);
                if (r < 0)
                        return r;
                s->index = before.index;
                s->term = before.term;
                s->time_ms = before.append_time_ms;
        }
        j->log_start_index = s->log_start_index;
        if (s->index < j->base_index) {
                j->base_index = s->index; /* the newest went bad: next time from this one on */
                return -EBADMSG;
        }

        for (;;) {
                r = log_scan_next(j->scan, &e);
                if (r < 0)
                        return r; /* damaged: a state without it would be another one */
                if (r == 0)
                        break;
                if (e.index <= s->index)
                        continue;
                if (e.index != s->index + 1)
                        return -EBADMSG; /* the log begins behind the last checkpoint: the same */
                r = state_apply(s, &e);
                if (r < 0)
                        return r;
        }
        if (s->index != j->index)
                return -EBADMSG;

        byte_writer_init(&w, 0);
        r = state_encode(s, &w);
        if (r >= 0)
                r = checkpoint_write(j->io,
                                     j->dir,
                                     j->number,
                                     &(struct checkpoint){
                                             .index = s->index,
                                             .term = s->term,
                                             .append_time_ms = s->time_ms,
                                             .body = w.data,
                                             .body_bytes = w.size,
                                     });
        byte_writer_done(&w);
        if (r < 0)
                return r;

        j->log_start_index = s->log_start_index;
        return checkpoint_prune(j->io, j->dir);
}

static void checkpoint_job_done(struct io_job *job, int r) {
        struct checkpoint_job *j = CONTAINER_OF(job, struct checkpoint_job, job);
        struct shard *s = j->shard;

        if (r >= 0) {
                s->checkpoint_index = j->index;
                histogram_add(&s->checkpoint_usec, usec_sub(io_now(s->io), j->begun_usec));
                s->checkpoint_log_start_index = j->log_start_index;
                trace(s->tracer,
                      LOG_DEBUG,
                      NULL,
                      FIELDS(FIELD_SHARD(s->number), FIELD_INDEX(j->index)),
                      "Shard %" PRIu64 " has a checkpoint at index %" PRIu64,
                      s->number,
                      j->index);
        } else {
                s->checkpoint_index = MIN(s->checkpoint_index, j->base_index);
                s->n_checkpoint_failures++;
                s->checkpoint_log_start_index =
                        MIN(s->checkpoint_log_start_index, j->log_start_index);
                trace(s->tracer,
                      LOG_WARNING,
                      DRMQ_MESSAGE_CHECKPOINT_FAILED,
                      FIELDS(FIELD_SHARD(s->number), FIELD_INDEX(j->index), FIELD_ERROR(r)),
                      "Checkpoint of shard %" PRIu64 " at index %" PRIu64 " failed: %s",
                      s->number,
                      j->index,
                      strerrordesc_np(-r));
        }

        s->checkpoint_job = checkpoint_job_free(j);
        if (r >= 0)
                retention_check(s->retention);
        else
                retention_on_checkpoint_failed(s->retention);
        s->events->on_checkpoint(s->userdata, s, r);
        s->events->on_event_done(s->userdata);
}

static int shard_begin_checkpoint(struct shard *s, uint64_t index) {
        _cleanup_(checkpoint_job_freep) struct checkpoint_job *j = NULL;
        int r;

        assert(!s->checkpoint_job);

        j = new0(struct checkpoint_job, 1);
        if (!j)
                return -ENOMEM;

        j->dir = mem_strdup(s->dir);
        if (!j->dir)
                return -ENOMEM;
        r = shard_log_scan(s->log,
                           MAX(s->checkpoint_index + 1, shard_log_first_index(s->log)),
                           index,
                           ENTRY_VERIFY_HEADER,
                           &j->scan);
        if (r < 0)
                return r;

        j->shard = s;
        j->io = s->io;
        j->number = s->number;
        j->base_index = s->checkpoint_index;
        j->index = index;
        j->begun_usec = io_now(s->io);
        j->job.run = checkpoint_job_run;
        j->job.done = checkpoint_job_done;
        s->checkpoint_job = TAKE_PTR(j);
        io_submit(s->io, IO_LANE_BACKGROUND, &s->checkpoint_job->job);
        return 0;
}

/* The mark has been applied; its checkpoint begins once it is synced (I4). */
static void shard_checkpoint_marked(struct shard *s) {
        const uint64_t index = s->mark_index;
        int r;

        if (index == 0 || s->has_failed)
                return;
        if (shard_log_durable_index(s->log) < index) {
                (void) shard_log_sync(s->log); /* on_log_durable(); or the log has failed */
                return;
        }

        s->mark_index = 0;
        s->mark_in_flight = false;
        r = s->checkpoint_job ? 0 : shard_begin_checkpoint(s, index);
        if (r < 0) {
                retention_on_checkpoint_failed(s->retention);
                s->events->on_checkpoint(s->userdata, s, r);
        }
}

int shard_checkpoint(struct shard *s) {
        struct shard_log_stats stats;
        struct proposal *p;

        assert(s);

        if (s->mark_in_flight || s->checkpoint_job)
                return -EBUSY;
        if (!s->is_ready || s->state->index == s->checkpoint_index)
                return 1;

        p = proposal_new(ENTRY_CHECKPOINT_MARK, 0);
        if (!p)
                return -ENOMEM;

        shard_log_stats(s->log, &stats);
        s->marked_bytes = stats.bytes_since_open;
        s->mark_in_flight = true;
        shard_propose(s, p, shard_append_time_ms(s), NULL, NULL);
        return 0;
}

static void shard_checkpoint_if_due(struct shard *s) {
        struct shard_log_stats stats;

        if (!s->is_ready || s->mark_in_flight || s->checkpoint_job)
                return;

        shard_log_stats(s->log, &stats);
        if (stats.bytes_since_open - s->marked_bytes >= s->checkpoint_bytes)
                (void) shard_checkpoint(s); /* next time, where memory was short */
}

/* Applying */

struct replay {
        struct shard *shard;
        uint64_t from_index, to_index;
};

static int shard_replay_one(void *userdata, const struct entry *e) {
        const struct replay *replay = userdata;
        struct shard *s = replay->shard;
        uint64_t first, last;
        int r;

        r = trace_progress(s->tracer,
                           s->number,
                           "applying entries",
                           e->index - replay->from_index,
                           replay->to_index - replay->from_index + 1);
        if (r < 0)
                return r;

        if (entry_is_loss(e, &first, &last))
                trace(s->tracer,
                      LOG_WARNING,
                      DRMQ_MESSAGE_LOSS_ACCEPTED,
                      FIELDS(FIELD_SHARD(s->number), FIELD_INDEX(first)),
                      "The loss of entries %" PRIu64 " to %" PRIu64 " of shard %" PRIu64
                      " was accepted",
                      first,
                      last,
                      s->number);

        s->n_replayed++;
        s->has_gap = s->has_gap || e->index != s->state->index + 1;
        r = state_apply(s->state, e); /* I1: asserted there */
        if (r == -EBADMSG && e->kind == ENTRY_PRODUCE) {
                s->has_gap = true; /* a batch does not even say which offsets it takes */
                return 0;
        }
        return r;
}

/* What has been committed of what was there before we led: it is on disk only. */
static int shard_apply_stored(struct shard *s, uint64_t to_index) {
        struct replay replay = {
                .shard = s,
                .from_index = MAX(s->state->index + 1, shard_log_first_index(s->log)),
                .to_index = to_index,
        };
        int r;

        if (s->state->index >= to_index)
                return 0;
        s->has_gap =
                s->has_gap || replay.from_index > s->state->index + 1; /* it begins behind that */
        if (replay.from_index > to_index)
                return 0;

        r = shard_log_replay(s->log, replay.from_index, to_index, shard_replay_one, &replay);
        s->has_gap = s->has_gap || s->state->index < to_index;
        return r;
}

static void shard_apply_one(struct shard *s, struct proposal *p) {
        uint64_t ticket = p->ticket, index = p->entry.index;
        int r;

        r = state_apply(s->state, &p->entry); /* I1: asserted there */
        if (r < 0) {
                shard_fail(s, r, "an entry cannot be applied");
                return;
        }

        s->applied_ticket = ticket;
        head_applied(&s->head, ticket);
        for (unsigned i = 0; i < p->entry.n_slices; i++)
                shard_wake(s, p->entry.slices[i].partition_id);
        if (p->entry.kind == ENTRY_ADMIN)
                shard_wake_all(s);

        if (p->entry.kind == ENTRY_CHECKPOINT_MARK) {
                s->mark_index = index;
                shard_checkpoint_marked(s);
        }

        proposal_free(p);
        shard_tell(s, ticket, ticket, 0);
}

static void shard_apply_committed(struct shard *s, uint64_t commit_index) {
        struct proposal *p = list_first(&s->in_flight, struct proposal, link);
        int r;

        shard_log_set_commit(s->log, commit_index);

        if (!p || p->entry.index > s->state->index + 1) {
                r = shard_apply_stored(s, p ? MIN(commit_index, p->entry.index - 1) : commit_index);
                if (r < 0) {
                        shard_fail(s, r, "the log cannot be applied");
                        return;
                }
        }

        while (!s->has_failed && (p = list_first(&s->in_flight, struct proposal, link)) &&
               p->entry.index <= commit_index)
                shard_apply_one(s, p);
}

/* Appending */

static int shard_append(struct shard *s, struct proposal *p) {
        int r;

        for (unsigned i = 0; i < p->entry.n_slices; i++) {
                struct entry_slice *slice = p->entry.slices + i;

                /* The receive buffer is ours: the first 21 bytes are the leader's to fill in. */
                batch_assign((void *) slice->batch,
                             (int64_t) slice->base_offset,
                             (int32_t) (p->entry.term & INT32_MAX));
        }

        r = shard_log_append(s->log, &p->entry);
        if (r < 0)
                return r;

        list_remove(&p->link);
        list_append(&s->in_flight, &p->link);
        if (io_timer_set(s->io, &s->flush, 0) < 0)
                shard_log_flush(s->log); /* without the others of this moment, then */
        return 0;
}

static void shard_append_waiting(struct shard *s) {
        struct proposal *p;
        int r;

        while (!s->has_failed && (p = list_first(&s->unappended, struct proposal, link))) {
                r = raft_propose(s->raft, &p->entry.index, &p->entry.term);
                if (r >= 0) {
                        r = shard_append(s, p);
                        if (r < 0)
                                raft_withdraw(s->raft, p->entry.index);
                }
                if (r == -EAGAIN)
                        return; /* on_drained() */
                if (r == -ENOSPC && p->entry.kind == ENTRY_PRODUCE)
                        shard_refuse_messages(s, r);
                else if (r < 0)
                        shard_refuse_unappended(s, r);
        }
}

static void shard_on_flush(struct io_timer *t, void *userdata) {
        struct shard *s = userdata;

        (void) t;
        shard_log_flush(s->log);
}

bool shard_is_writable(const struct shard *s) {
        return s->is_ready && !s->has_failed;
}

bool shard_knows_its_end(const struct shard *s) {
        return !s->has_gap && !s->report.tail_is_damaged;
}

uint64_t shard_next_ticket(const struct shard *s) {
        return s->next_ticket;
}

int64_t shard_append_time_ms(const struct shard *s) {
        const struct proposal *last = list_last(&s->unappended, struct proposal, link);
        int64_t time_ms = MAX(io_wall_ms(s->io), shard_log_last_time_ms(s->log));

        return last ? MAX(time_ms, last->entry.append_time_ms) : time_ms;
}

uint64_t shard_propose(struct shard *s,
                       struct proposal *p,
                       int64_t time_ms,
                       struct waiter *w,
                       void (*on_done)(struct waiter *w, int error)) {
        uint64_t ticket = s->next_ticket++;

        assert(s->raft);
        assert(!w || on_done);

        p->ticket = ticket;
        p->entry.append_time_ms = time_ms;
        list_append(&s->unappended, &p->link); /* I2 */
        if (w)
                shard_wait(s, w, ticket, on_done);
        shard_append_waiting(s);
        return ticket;
}

/* Raft */

static void shard_act(struct shard *s);

static int shard_append_noop(struct shard *s, uint64_t index, uint64_t term) {
        _cleanup_(proposal_freep) struct proposal *p = NULL;
        int r;

        assert(list_is_empty(&s->in_flight));
        assert(list_is_empty(&s->unappended));

        p = proposal_new(ENTRY_NOOP, 0);
        if (!p)
                return -ENOMEM;

        p->ticket = s->next_ticket++;
        p->entry.index = index;
        p->entry.term = term;
        p->entry.append_time_ms = shard_append_time_ms(s);
        r = shard_append(s, p);
        if (r >= 0)
                TAKE_PTR(p);
        return r;
}

static void trace_gap(const struct shard *s) {
        trace(s->tracer,
              LOG_ERR,
              DRMQ_MESSAGE_CORRUPTION_FOUND,
              FIELDS(FIELD_SHARD(s->number)),
              "Entries of shard %" PRIu64
              " are damaged, and with them what the next offsets are: nothing is appended",
              s->number);
}

static void shard_become_ready_if(struct shard *s) {
        if (s->is_ready || s->has_failed || raft_role(s->raft) != RAFT_LEADER ||
            s->state->index < raft_term_start_index(s->raft))
                return;

        if (s->has_gap) {
                trace_gap(s);
                s->raft = raft_free(s->raft);
                s->events->on_ready(s->userdata, s);
                return;
        }

        s->is_ready = true;
        trace(s->tracer,
              LOG_NOTICE,
              DRMQ_MESSAGE_LEADER_ELECTED,
              FIELDS(FIELD_SHARD(s->number), FIELD_TERM(raft_term(s->raft))),
              "Node %" PRIu64 " leads shard %" PRIu64 " in term %" PRIu64,
              raft_leader(s->raft),
              s->number,
              raft_term(s->raft));
        s->events->on_ready(s->userdata, s);
        retention_check(s->retention);
}

static void shard_act(struct shard *s) {
        struct raft_actions a;
        int r = 0;

        if (s->has_failed)
                return;

        raft_take_actions(s->raft, &a);
        if (a.save_hardstate)
                r = shard_log_save_hardstate(s->log, a.term, a.vote);
        if (r >= 0 && a.append_noop)
                r = shard_append_noop(s, a.noop_index, raft_term(s->raft));
        if (r < 0) {
                shard_fail(s, r, "cannot write the log");
                return;
        }

        if (a.commit_index > s->state->index)
                shard_apply_committed(s, a.commit_index);
        shard_become_ready_if(s);
        if (!s->raft)
                return;
        shard_checkpoint_if_due(s);
        if (!s->has_failed && raft_deadline(s->raft) != USEC_INFINITY &&
            io_timer_set(s->io, &s->election, raft_deadline(s->raft)) < 0)
                shard_fail(s, -ENOMEM, "out of memory");
}

static void shard_on_election(struct io_timer *t, void *userdata) {
        struct shard *s = userdata;

        (void) t;
        raft_tick(s->raft, io_now(s->io));
        shard_act(s);
        s->events->on_event_done(s->userdata);
}

static void on_log_synced(void *userdata, uint64_t index) {
        struct shard *s = userdata;

        if (s->has_failed || !s->raft)
                return;

        raft_on_persisted(s->raft, index);
        shard_act(s);
        s->events->on_event_done(s->userdata);
}

static void on_log_durable(void *userdata, uint64_t durable_index) {
        struct shard *s = userdata;

        (void) durable_index;
        shard_checkpoint_marked(s);
        s->events->on_event_done(s->userdata);
}

static void on_log_hardstate_saved(void *userdata) {
        struct shard *s = userdata;

        raft_on_hardstate_saved(s->raft);
        shard_act(s);
        s->events->on_event_done(s->userdata);
}

static void on_log_drained(void *userdata) {
        struct shard *s = userdata;

        if (!s->has_failed && s->raft)
                shard_append_waiting(s);
        s->events->on_event_done(s->userdata);
}

static void on_log_failed(void *userdata, int error, const char *what) {
        struct shard *s = userdata;

        shard_fail(s, error, what);
        s->events->on_event_done(s->userdata);
}

static void on_log_rolled(void *userdata, uint64_t last_index) {
        struct shard *s = userdata;

        if (s->events->on_rolled)
                s->events->on_rolled(s->userdata, s, last_index);
        if (!s->has_failed)
                retention_check(s->retention);
        s->events->on_event_done(s->userdata);
}

static const struct shard_log_events log_events = {
        .on_synced = on_log_synced,
        .on_durable = on_log_durable,
        .on_rolled = on_log_rolled,
        .on_hardstate_saved = on_log_hardstate_saved,
        .on_drained = on_log_drained,
        .on_failed = on_log_failed,
};

/* Life */

static int shard_load_checkpoint(struct shard *s) {
        _cleanup_(checkpoint_done) struct checkpoint c = {};
        unsigned n_bad = 0;
        int r;

        r = checkpoint_load(s->io, s->dir, s->number, &c, &n_bad);
        if (r < 0)
                return r;
        if (n_bad > 0)
                trace(s->tracer,
                      LOG_WARNING,
                      DRMQ_MESSAGE_CORRUPTION_FOUND,
                      FIELDS(FIELD_SHARD(s->number), FIELD_FILE(s->dir)),
                      "%u damaged checkpoint(s) of shard %" PRIu64 " passed over",
                      n_bad,
                      s->number);
        if (r == 0)
                return 0;

        r = state_decode(s->state, c.body, c.body_bytes);
        if (r < 0)
                return r;

        s->checkpoint_log_start_index = s->state->log_start_index;
        s->state->index = s->checkpoint_index = c.index;
        s->state->term = c.term;
        s->state->time_ms = c.append_time_ms;
        return 0;
}

/* Nothing is missing at the log's beginning but what was to go. What lies behind the checkpoint has
 * been noticed by the log itself. */
static void shard_check_start(struct shard *s) {
        const uint64_t from_index = s->state->log_start_index + 1;
        const uint64_t first_index = shard_log_first_index(s->log);

        if (first_index <= from_index || from_index > s->checkpoint_index)
                return;

        trace(s->tracer,
              LOG_ERR,
              DRMQ_MESSAGE_CORRUPTION_FOUND,
              FIELDS(FIELD_SHARD(s->number), FIELD_INDEX(from_index), FIELD_FILE(s->dir)),
              "The log of shard %" PRIu64 " begins at entry %" PRIu64 ", and should at %" PRIu64
              " at the latest: a file is missing",
              s->number,
              first_index,
              from_index);
        s->report.n_damaged_regions += first_index <= s->checkpoint_index + 1;
        s->report.first_damaged_index = from_index;
}

static int shard_make_raft(struct shard *s, uint64_t node_id) {
        if (s->has_gap)
                trace_gap(s);
        if (s->has_gap || s->report.tail_is_damaged)
                return 0; /* without it nothing is proposed; what is good is served */

        return raft_new(
                &(struct raft_config){
                        .group = s->number,
                        .node_id = node_id,
                        .voters = &node_id,
                        .n_voters = 1,
                        .election_timeout_usec = ELECTION_TIMEOUT_USEC,
                        .tracer = s->tracer,
                },
                &(struct raft_durable){
                        .term = MAX(shard_log_term(s->log), shard_log_last_term(s->log)),
                        .vote = shard_log_vote(s->log),
                        .last_index = shard_log_last_index(s->log),
                        .last_term = shard_log_last_term(s->log),
                        .commit_index = shard_log_commit_index(s->log),
                },
                &s->raft);
}

int shard_new(struct io *io,
              const struct shard_config *config,
              const struct shard_events *events,
              void *userdata,
              struct shard **ret) {
        _cleanup_(shard_freep) struct shard *s = NULL;
        int r;

        assert(io);
        assert(config);
        assert(events);
        assert(ret);

        s = new0(struct shard, 1);
        if (!s)
                return -ENOMEM;

        s->io = io;
        s->number = config->number;
        s->checkpoint_bytes = config->checkpoint_bytes;
        s->tracer = config->tracer;
        s->events = events;
        s->userdata = userdata;
        s->next_ticket = 1;
        list_init(&s->in_flight);
        list_init(&s->unappended);
        list_init(&s->waiters);
        map_init(&s->watch_points, watch_point_compare);
        s->flush = (struct io_timer){ .on_timer = shard_on_flush, .userdata = s };
        s->election = (struct io_timer){ .on_timer = shard_on_election, .userdata = s };

        r = state_new(&s->state);
        if (r < 0)
                return r;
        head_init(&s->head, s->state);
        r = retention_new(s, &config->retention, &s->retention);
        if (r < 0)
                return r;
        s->dir = mem_strdup(config->dir);
        if (!s->dir)
                return -ENOMEM;

        r = shard_load_checkpoint(s);
        if (r < 0)
                return r;
        r = shard_log_open(io,
                           &(struct shard_log_config){
                                   .dir = s->dir,
                                   .shard = s->number,
                                   .segment_bytes = config->segment_bytes,
                                   .group_bytes = config->group_bytes,
                                   .append_budget_bytes = config->append_budget_bytes,
                                   .sync_usec = config->sync_usec,
                                   .reserve_bytes = config->reserve_bytes,
                                   .tracer = s->tracer,
                           },
                           &log_events,
                           s,
                           &s->log,
                           &s->report);
        if (r < 0)
                return r;
        if (s->checkpoint_index > shard_log_last_index(s->log) && !s->report.tail_is_damaged)
                return -EBADMSG; /* a checkpoint is of what was on disk: the log has lost its end */

        r = shard_apply_stored(s, shard_log_commit_index(s->log));
        if (r < 0)
                return r;
        shard_check_start(s);
        r = shard_make_raft(s, config->node_id);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(s);
        return 0;
}

void shard_start(struct shard *s) {
        assert(s);

        if (s->raft)
                shard_act(s);
}

bool shard_is_synced(struct shard *s) {
        return shard_log_sync(s->log) != 0; /* or there is nothing to wait for: it has failed */
}

void shard_set_retention(struct shard *s, const struct retention_limits *limits) {
        assert(s);
        retention_set_limits(s->retention, limits);
}

void shard_prepare_stop(struct shard *s) {
        assert(s);
        s->is_stopping = true;
}

bool shard_is_quiet(const struct shard *s) {
        return list_is_empty(&s->in_flight) && list_is_empty(&s->unappended);
}

struct shard *shard_free(struct shard *s) {
        struct proposal *p;

        if (!s)
                return NULL;

        s->has_failed = true;                     /* nothing is proposed from here on */
        shard_tell(s, 0, UINT64_MAX, -ECANCELED); /* I3: who waits frees what is its own */
        if (s->checkpoint_job) {
                io_cancel(s->io, &s->checkpoint_job->job);
                checkpoint_job_free(s->checkpoint_job);
        }
        s->retention = retention_free(s->retention);
        io_timer_cancel(s->io, &s->flush);
        io_timer_cancel(s->io, &s->election);
        while ((p = list_pop(&s->in_flight, struct proposal, link)))
                proposal_free(p);
        while ((p = list_pop(&s->unappended, struct proposal, link)))
                proposal_free(p);
        MAP_FOREACH(&s->watch_points, n) {
                struct watch_point *point = CONTAINER_OF(n, struct watch_point, by_id);
                struct watch *w;

                while ((w = list_pop(&point->watches, struct watch, link)))
                        w->point = NULL;
                map_remove(&s->watch_points, n);
                mem_free(point);
        }

        s->log = shard_log_free(s->log);
        s->raft = raft_free(s->raft);
        if (s->state) {
                head_clear(&s->head);
                s->state = state_free(s->state);
        }
        mem_free(s->dir);
        return mem_free(s);
}
