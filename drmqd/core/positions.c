/* SPDX-License-Identifier: Apache-2.0 */
/* The positions that groups commit in single mode: group state, so it lives in the log of the
 * partition's shard, and is synced before it is acknowledged. */
#include <inttypes.h>

#include "base/alloc.h"
#include "base/parse.h"
#include "drmqd/core/core.h"

#define POSITIONS_MAX 65536u

struct commit {
        struct waiter waiter;
        struct request *request;
};

static void commit_on_done(struct waiter *w, int error) {
        struct commit *c = CONTAINER_OF(w, struct commit, waiter);
        Drmq__Proto__PositionCommitResponse answer = DRMQ__PROTO__POSITION_COMMIT_RESPONSE__INIT;

        if (error < 0)
                request_fail(c->request,
                             drmq_error_from_errno(error),
                             "The positions were not committed: %s",
                             drmq_error_text(drmq_error_from_errno(error)));
        else
                request_answer(c->request, &answer, NULL, 0, NULL, 0);
        mem_free(c);
}

/* All or nothing: a request names what it refuses, and commits nothing then. */
static bool commit_check(struct request *r, const Drmq__Proto__PositionCommitRequest *q) {
        enum drmq_error refusal = broker_refusal(r->broker, r->broker->shards[SHARD_DATA]);
        const struct state *state = r->broker->shards[SHARD_DATA]->state;
        size_t n_new = 0;

        if (refusal != DRMQ_ERROR_NONE) {
                request_fail(r, refusal, "Cannot commit positions: %s", drmq_error_text(refusal));
                return false;
        }
        if (!group_name_is_valid(q->group)) {
                request_fail(
                        r, DRMQ_ERROR_INVALID_NAME, "Not a valid group name: \"%.64s\"", q->group);
                return false;
        }

        for (size_t i = 0; i < q->n_position; i++) {
                uint64_t id = q->position[i]->partition_id, first, next, offset;

                if (!broker_shard_of(r->broker, id)) {
                        request_fail(r,
                                     DRMQ_ERROR_UNKNOWN_PARTITION,
                                     "There is no partition with id %" PRIu64,
                                     id);
                        return false;
                }
                partition_bounds(r->broker, id, &first, &next);
                if (q->position[i]->offset > next) {
                        request_fail(r,
                                     DRMQ_ERROR_OFFSET_OUT_OF_RANGE,
                                     "Position %" PRIu64
                                     " is behind the end of its partition, %" PRIu64,
                                     q->position[i]->offset,
                                     next);
                        return false;
                }
                n_new += !state_position(state, q->group, id, &offset);
        }

        if (n_new > 0 && state->positions.n_nodes + n_new > r->broker->positions_max) {
                request_fail(r,
                             DRMQ_ERROR_TOO_MANY,
                             "The node has %zu committed positions; it may have %" PRIu64
                             " (limits.positions)",
                             state->positions.n_nodes,
                             r->broker->positions_max);
                return false;
        }
        return true;
}

void handle_position_commit(struct request *r) {
        _cleanup_(message_freep) Drmq__Proto__PositionCommitRequest *q = NULL;
        _cleanup_(proposal_freep) struct proposal *p = NULL;
        struct shard *s = r->broker->shards[SHARD_DATA];
        struct byte_writer w;
        struct commit *c;

        if (message_unpack(&drmq__proto__position_commit_request__descriptor,
                           r->frame.header,
                           (void **) &q) < 0 ||
            q->n_position == 0 || q->n_position > POSITIONS_MAX) {
                request_fail(r, DRMQ_ERROR_MALFORMED, "The position commit is malformed");
                return;
        }
        if (!commit_check(r, q))
                return;

        p = proposal_new(ENTRY_GROUP, 0);
        c = new0(struct commit, 1);
        byte_writer_init(&w, ENTRY_BYTES_MAX / 2);
        for (size_t i = 0; i < q->n_position; i++) {
                byte_writer_string(&w, q->group);
                byte_writer_uleb(&w, q->position[i]->partition_id);
                byte_writer_uleb(&w, q->position[i]->offset);
        }
        if (!p || !c || w.failed) {
                byte_writer_done(&w);
                mem_free(c);
                request_fail(r, DRMQ_ERROR_NO_MEMORY, "The node is out of memory");
                return;
        }

        p->body = w.data; /* the proposal's from here on */
        p->entry.body = p->body;
        p->entry.body_bytes = (uint32_t) w.size;
        c->request = r;
        shard_propose(s, TAKE_PTR(p), shard_append_time_ms(s), &c->waiter, commit_on_done);
}

void handle_position_fetch(struct request *r) {
        _cleanup_(message_freep) Drmq__Proto__PositionFetchRequest *q = NULL;
        _cleanup_(mem_freep) Drmq__Proto__Position *positions = NULL;
        _cleanup_(mem_freep) Drmq__Proto__Position **pointers = NULL;
        Drmq__Proto__PositionFetchResponse answer = DRMQ__PROTO__POSITION_FETCH_RESPONSE__INIT;
        Drmq__Proto__Error unknown;

        if (message_unpack(&drmq__proto__position_fetch_request__descriptor,
                           r->frame.header,
                           (void **) &q) < 0 ||
            q->n_partition_id > POSITIONS_MAX) {
                request_fail(r, DRMQ_ERROR_MALFORMED, "The position request is malformed");
                return;
        }
        if (!group_name_is_valid(q->group)) {
                request_fail(
                        r, DRMQ_ERROR_INVALID_NAME, "Not a valid group name: \"%.64s\"", q->group);
                return;
        }

        positions = new (Drmq__Proto__Position, q->n_partition_id + 1);
        pointers = new (Drmq__Proto__Position *, q->n_partition_id + 1);
        if (!positions || !pointers) {
                request_fail(r, DRMQ_ERROR_NO_MEMORY, "The node is out of memory");
                return;
        }

        error_init(&unknown,
                   r->broker,
                   DRMQ_ERROR_UNKNOWN_PARTITION,
                   (char *) drmq_error_text(DRMQ_ERROR_UNKNOWN_PARTITION));
        for (size_t i = 0; i < q->n_partition_id; i++) {
                struct shard *s = broker_shard_of(r->broker, q->partition_id[i]);

                drmq__proto__position__init(positions + i);
                positions[i].partition_id = q->partition_id[i];
                if (s)
                        positions[i].is_set = state_position(
                                s->state, q->group, q->partition_id[i], &positions[i].offset);
                else {
                        positions[i].error = &unknown;
                        metrics_count_error(&r->broker->metrics, DRMQ_ERROR_UNKNOWN_PARTITION);
                }
                pointers[i] = positions + i;
        }
        answer.position = pointers;
        answer.n_position = q->n_partition_id;
        request_answer(r, &answer, NULL, 0, NULL, 0);
}
