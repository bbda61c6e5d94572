/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Raft as a pure state machine: events in (time, a proposal, "this is on disk"), actions out. No
 * I/O, no clock, no threads, no global state. A group of one voter takes the same path as any
 * other: it campaigns, its vote is on disk before it counts, its no-op is on disk before anything
 * is committed.
 *
 * TODO: messages to and from other voters (votes, appends, heartbeats) when a group may have more
 * than one; until then raft_new() refuses more voters.
 *
 * The owner's part: after every call, take the actions with raft_take_actions() and carry them out:
 *     save_hardstate   write term and vote, synced; then raft_on_hardstate_saved()
 *     append_noop      append an entry of kind no-op at that index and term, as if it had been
 *     proposed
 *     commit_index     apply up to there
 * and report what the log has synced with raft_on_persisted().
 *
 * Invariants
 *  I1  term never goes back, and changes only together with save_hardstate (thesis 3.8).
 *  I2  A vote counts only once it is on disk.
 *  I3  commit_index never goes back and never passes what is on a majority of disks.
 *  I4  Only an entry of the current term is committed by counting; what is before it, with it
 *      (thesis 3.6.2).
 *  I5  Proposals are taken by a leader only; a leader's first entry is its no-op (thesis 6.4).
 */

#include "base/macro.h"
#include "base/time.h"
#include "base/trace.h"

struct raft;

enum raft_role {
        RAFT_FOLLOWER,
        RAFT_CANDIDATE,
        RAFT_LEADER,
        _RAFT_ROLE_MAX,
};

struct raft_config {
        uint64_t group; /* the shard; for traces */
        uint64_t node_id;
        const uint64_t *voters; /* node ids; borrows until raft_new() returns */
        unsigned n_voters;
        usec_t election_timeout_usec;
        const struct tracer *tracer; /* borrows; may be NULL */
};

/* What a start finds on disk. */
struct raft_durable {
        uint64_t term;
        uint64_t vote;
        uint64_t last_index;
        uint64_t last_term;
        uint64_t commit_index;
};

struct raft_actions {
        bool save_hardstate;
        uint64_t term;
        uint64_t vote;
        bool append_noop;
        uint64_t noop_index;
        bool role_changed;
        uint64_t commit_index;
};

/* Return: 0; -ENOMEM; -EINVAL we are no voter; -EOPNOTSUPP more than one voter. */
int raft_new(const struct raft_config *config,
             const struct raft_durable *durable,
             struct raft **ret);
struct raft *raft_free(struct raft *r);
DEFINE_CLEANUP(struct raft *, raft_free)

/* Time passes. */
void raft_tick(struct raft *r, usec_t now_usec);
/* When raft_tick() next has something to do; USEC_INFINITY: never. */
usec_t raft_deadline(const struct raft *r);

/* Takes one proposal. Return: 0, and the index and term it gets; -EAGAIN this node does not
 * lead. */
int raft_propose(struct raft *r, uint64_t *ret_index, uint64_t *ret_term);
/* The last proposal was not appended after all (the log refused it). */
void raft_withdraw(struct raft *r, uint64_t index);

void raft_on_hardstate_saved(struct raft *r);
/* All up to @index is synced here. */
void raft_on_persisted(struct raft *r, uint64_t index);

void raft_take_actions(struct raft *r, struct raft_actions *ret);

enum raft_role raft_role(const struct raft *r);
const char *raft_role_name(enum raft_role role);
uint64_t raft_term(const struct raft *r);
uint64_t raft_leader(const struct raft *r); /* node id; 0: none known */
uint64_t raft_commit_index(const struct raft *r);
/* The index of this leader's no-op: once it is applied, requests may be taken. 0 where we do not
 * lead. */
uint64_t raft_term_start_index(const struct raft *r);
