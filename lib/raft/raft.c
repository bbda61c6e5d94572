/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Roles, terms and commitment of one Raft group. The invariants are those of raft.h; asserts cite
 * them. What concerns talking to other voters is not here.
 */
#include "raft/raft.h"

#include <inttypes.h>

#include "base/alloc.h"
#include "raft/quorum.h"

struct voter {
        uint64_t node_id;
        bool granted;         /* its vote for us in this term is on its disk */
        uint64_t match_index; /* it holds the log up to here, synced */
};

struct raft {
        uint64_t group;
        uint64_t node_id;
        usec_t election_timeout_usec;
        const struct tracer *tracer;

        enum raft_role role;
        uint64_t term;
        uint64_t vote;
        uint64_t leader;
        uint64_t last_index;
        uint64_t last_term;
        uint64_t commit_index;
        uint64_t term_start_index;
        bool is_saving; /* our vote is on its way to the disk */
        usec_t election_deadline_usec;

        struct voter *voters;
        unsigned n_voters;
        uint64_t *scratch; /* n_voters match indices */

        struct raft_actions actions;
};

static const char *const role_names[_RAFT_ROLE_MAX] = {
        [RAFT_FOLLOWER] = "follower",
        [RAFT_CANDIDATE] = "candidate",
        [RAFT_LEADER] = "leader",
};

static struct voter *raft_self(struct raft *r) {
        for (unsigned i = 0; i < r->n_voters; i++)
                if (r->voters[i].node_id == r->node_id)
                        return r->voters + i;

        return NULL;
}

static void raft_set_role(struct raft *r, enum raft_role role) {
        if (r->role == role)
                return;

        r->role = role;
        r->actions.role_changed = true;
        trace(r->tracer,
              LOG_DEBUG,
              NULL,
              FIELDS(FIELD_SHARD(r->group), FIELD_TERM(r->term)),
              "Node %" PRIu64 " is %s of shard %" PRIu64 " in term %" PRIu64,
              r->node_id,
              role_names[role],
              r->group,
              r->term);
}

/* Thesis 3.6.2: a leader counts replicas for entries of its own term only (I4). */
static void raft_advance_commit(struct raft *r) {
        uint64_t index;

        if (r->role != RAFT_LEADER)
                return;

        for (unsigned i = 0; i < r->n_voters; i++)
                r->scratch[i] = r->voters[i].match_index;
        index = quorum_index(r->scratch, r->n_voters);

        if (index < r->term_start_index || index <= r->commit_index)
                return;

        assert(index <= r->last_index); /* I3 */
        r->commit_index = index;
        r->actions.commit_index = index;
}

/* Thesis 3.4: a new leader; its first act is a no-op of its own term (6.4). */
static void raft_lead(struct raft *r) {
        assert(r->role == RAFT_CANDIDATE);

        raft_set_role(r, RAFT_LEADER);
        r->leader = r->node_id;
        r->election_deadline_usec = USEC_INFINITY;

        r->last_index++;
        r->last_term = r->term;
        r->term_start_index = r->last_index;
        r->actions.append_noop = true;
        r->actions.noop_index = r->last_index;
}

static void raft_count_votes(struct raft *r) {
        unsigned n_granted = 0;

        if (r->role != RAFT_CANDIDATE)
                return;

        for (unsigned i = 0; i < r->n_voters; i++)
                n_granted += r->voters[i].granted;
        if (n_granted >= quorum_size(r->n_voters))
                raft_lead(r);
}

/* Thesis 3.4: a new term, and our own vote, on disk before it counts (I1, I2). */
static void raft_campaign(struct raft *r, usec_t now_usec) {
        for (unsigned i = 0; i < r->n_voters; i++)
                r->voters[i].granted = false;

        r->term++;
        r->vote = r->node_id;
        r->leader = 0;
        r->is_saving = true;
        r->actions.save_hardstate = true;
        r->actions.term = r->term;
        r->actions.vote = r->vote;
        r->election_deadline_usec = usec_add(now_usec, r->election_timeout_usec);
        raft_set_role(r, RAFT_CANDIDATE);
}

int raft_new(const struct raft_config *config,
             const struct raft_durable *durable,
             struct raft **ret) {
        _cleanup_(raft_freep) struct raft *r = NULL;

        assert(config);
        assert(durable);
        assert(durable->commit_index <= durable->last_index);
        assert(durable->last_term <= durable->term);
        assert(ret);

        if (config->n_voters != 1)
                return -EOPNOTSUPP;

        r = new0(struct raft, 1);
        if (!r)
                return -ENOMEM;

        r->voters = new0(struct voter, config->n_voters);
        r->scratch = new0(uint64_t, config->n_voters);
        if (!r->voters || !r->scratch)
                return -ENOMEM;

        for (unsigned i = 0; i < config->n_voters; i++)
                r->voters[i].node_id = config->voters[i];
        r->n_voters = config->n_voters;
        r->group = config->group;
        r->node_id = config->node_id;
        r->election_timeout_usec = config->election_timeout_usec;
        r->tracer = config->tracer;
        if (!raft_self(r))
                return -EINVAL;

        r->term = durable->term;
        r->vote = durable->vote;
        r->last_index = durable->last_index;
        r->last_term = durable->last_term;
        r->commit_index = durable->commit_index;
        r->actions.commit_index = durable->commit_index;
        raft_self(r)->match_index = durable->last_index;

        /* The only voter waits for nobody: no other can lead, so its first election is due at
         * once. */
        r->election_deadline_usec = 0;

        *ret = TAKE_PTR(r);
        return 0;
}

struct raft *raft_free(struct raft *r) {
        if (!r)
                return NULL;

        mem_free(r->voters);
        mem_free(r->scratch);
        return mem_free(r);
}

void raft_tick(struct raft *r, usec_t now_usec) {
        assert(r);

        if (r->role == RAFT_LEADER || r->is_saving || now_usec < r->election_deadline_usec)
                return;

        raft_campaign(r, now_usec);
}

usec_t raft_deadline(const struct raft *r) {
        return r->role == RAFT_LEADER || r->is_saving ? USEC_INFINITY : r->election_deadline_usec;
}

int raft_propose(struct raft *r, uint64_t *ret_index, uint64_t *ret_term) {
        assert(r);
        assert(ret_index);
        assert(ret_term);

        if (r->role != RAFT_LEADER)
                return -EAGAIN;

        r->last_index++;
        assert(r->last_index > r->term_start_index); /* I5 */
        r->last_term = r->term;
        *ret_index = r->last_index;
        *ret_term = r->term;
        return 0;
}

void raft_withdraw(struct raft *r, uint64_t index) {
        assert(r);
        assert(r->role == RAFT_LEADER);
        assert(index == r->last_index);
        assert(index > r->term_start_index);
        assert(raft_self(r)->match_index < index);

        r->last_index--;
}

void raft_on_hardstate_saved(struct raft *r) {
        assert(r);
        assert(r->is_saving);

        r->is_saving = false;
        if (r->role == RAFT_CANDIDATE && r->vote == r->node_id) {
                raft_self(r)->granted = true;
                raft_count_votes(r);
        }
}

void raft_on_persisted(struct raft *r, uint64_t index) {
        struct voter *self;

        assert(r);
        assert(index <= r->last_index);

        self = raft_self(r);
        if (index <= self->match_index)
                return;

        self->match_index = index;
        raft_advance_commit(r);
}

void raft_take_actions(struct raft *r, struct raft_actions *ret) {
        assert(r);
        assert(ret);

        *ret = r->actions;
        r->actions = (struct raft_actions){ .commit_index = r->commit_index };
}

enum raft_role raft_role(const struct raft *r) {
        return r->role;
}

const char *raft_role_name(enum raft_role role) {
        assert(role < _RAFT_ROLE_MAX);
        return role_names[role];
}

uint64_t raft_term(const struct raft *r) {
        return r->term;
}

uint64_t raft_leader(const struct raft *r) {
        return r->leader;
}

uint64_t raft_commit_index(const struct raft *r) {
        return r->commit_index;
}

uint64_t raft_term_start_index(const struct raft *r) {
        return r->role == RAFT_LEADER ? r->term_start_index : 0;
}
