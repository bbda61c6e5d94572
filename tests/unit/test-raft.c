/* SPDX-License-Identifier: Apache-2.0 */

/* What raft.h promises and a script cannot show: what is refused, what is asserted, and every run
 * of a random owner. */

#include "raft/raft.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/random.h"
#include "tests/lib/test.h"

static const uint64_t voter = 7;

static int make(const struct raft_durable *durable, struct raft **ret) {
        return raft_new(
                &(struct raft_config){
                        .group = 1,
                        .node_id = voter,
                        .voters = &voter,
                        .n_voters = 1,
                        .election_timeout_usec = USEC_PER_SEC,
                },
                durable,
                ret);
}

static struct raft *leader(void) {
        struct raft_actions a;
        struct raft *r;

        ASSERT_OK(make(&(struct raft_durable){}, &r));
        raft_tick(r, 0);
        raft_on_hardstate_saved(r);
        raft_take_actions(r, &a);
        ASSERT_EQ(raft_role(r), RAFT_LEADER);
        return r;
}

/* Whether @f ends its process by an assertion. */
static bool dies(void (*f)(struct raft *r), struct raft *r) {
        int status;
        pid_t pid = fork();

        if (pid == 0) {
                (void) close(STDERR_FILENO);
                f(r);
                _exit(0);
        }
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

TEST(groups_of_others_or_of_several_are_refused) {
        const uint64_t others[] = { 8 }, several[] = { voter, 8, 9 };
        struct raft_config c = { .node_id = voter, .voters = others, .n_voters = 1 };
        struct raft *r = NULL;

        ASSERT_ERROR(raft_new(&c, &(struct raft_durable){}, &r), EINVAL);
        c.voters = several;
        c.n_voters = 3;
        ASSERT_ERROR(raft_new(&c, &(struct raft_durable){}, &r), EOPNOTSUPP);
        c.n_voters = 0;
        ASSERT_ERROR(raft_new(&c, &(struct raft_durable){}, &r), EOPNOTSUPP);
        ASSERT_NULL(r);
}

TEST(a_new_one_frees_what_it_has_when_memory_ends) {
        FAULT_SWEEP {
                struct raft *r = NULL;
                int k = make(&(struct raft_durable){}, &r);

                if (k == -ENOMEM) {
                        ASSERT_NULL(r);
                        continue;
                }
                ASSERT_OK(k);
                r = raft_free(r);
                ASSERT_NULL(r);
        }
        ASSERT_NULL(raft_free(NULL));
}

TEST(what_cannot_be_on_disk_is_a_bug) {
        /* committed behind its end; a term in the log that was never in the hard state */
        const struct raft_durable wrong[] = {
                { .term = 1, .last_index = 3, .last_term = 1, .commit_index = 4 },
                { .term = 1, .last_index = 3, .last_term = 2 },
        };

        for (size_t i = 0; i < ELEMENTSOF(wrong); i++) {
                int status;
                pid_t pid = fork();

                if (pid == 0) {
                        struct raft *r;

                        (void) close(STDERR_FILENO);
                        _exit(make(wrong + i, &r) < 0);
                }
                ASSERT_EQ(waitpid(pid, &status, 0), pid);
                ASSERT_TRUE(WIFSIGNALED(status));
        }
}

static void persist_what_is_not_there(struct raft *r) {
        raft_on_persisted(r, 2);
}

static void withdraw_noop(struct raft *r) {
        raft_withdraw(r, 1);
}

static void withdraw_what_is_durable(struct raft *r) {
        uint64_t index, term;

        (void) raft_propose(r, &index, &term);
        raft_on_persisted(r, index);
        raft_withdraw(r, index);
}

static void withdraw_another(struct raft *r) {
        uint64_t index, term;

        (void) raft_propose(r, &index, &term);
        (void) raft_propose(r, &index, &term);
        raft_withdraw(r, index - 1);
}

static void save_twice(struct raft *r) {
        raft_on_hardstate_saved(r);
}

TEST(an_owner_that_lies_is_stopped) {
        void (*const lies[])(struct raft *) = {
                persist_what_is_not_there, withdraw_noop, withdraw_what_is_durable,
                withdraw_another,          save_twice,
        };
        struct raft *r = leader();

        for (size_t i = 0; i < ELEMENTSOF(lies); i++)
                ASSERT_TRUE(dies(lies[i], r));
        r = raft_free(r);
}

TEST(the_roles_have_names) {
        ASSERT_STREQ(raft_role_name(RAFT_FOLLOWER), "follower");
        ASSERT_STREQ(raft_role_name(RAFT_CANDIDATE), "candidate");
        ASSERT_STREQ(raft_role_name(RAFT_LEADER), "leader");
}

/* An owner that does what it may at any moment, dies, and starts again from what is on its disk. */
struct owner {
        struct raft *raft;
        struct raft_durable disk;
        uint64_t written_index; /* in the log, perhaps not synced */
        uint64_t written_term;
        uint64_t saving_term; /* 0: nothing is being saved */
        uint64_t applied_index;
        uint64_t promised_index; /* the highest commit index it was ever told */
};

static void owner_act(struct owner *o) {
        struct raft_actions a;

        raft_take_actions(o->raft, &a);
        if (a.save_hardstate) {
                ASSERT_EQ(o->saving_term, 0);
                ASSERT_GT(a.term, o->disk.term); /* I1 */
                ASSERT_EQ(a.vote, voter);
                o->saving_term = a.term;
        }
        if (a.append_noop) {
                ASSERT_EQ(o->saving_term, 0);
                ASSERT_EQ(o->disk.term, raft_term(o->raft));   /* I2: the vote is on disk */
                ASSERT_EQ(a.noop_index, o->written_index + 1); /* I5 */
                ASSERT_EQ(raft_term_start_index(o->raft), a.noop_index);
                o->written_index = a.noop_index;
                o->written_term = raft_term(o->raft);
        }
        ASSERT_GE(a.commit_index, o->applied_index); /* I3 */
        ASSERT_LE(a.commit_index, o->disk.last_index);
        ASSERT_EQ(a.commit_index, raft_commit_index(o->raft));
        if (a.commit_index > o->applied_index && o->applied_index >= o->disk.commit_index)
                ASSERT_EQ(raft_role(o->raft), RAFT_LEADER);
        if (raft_role(o->raft) == RAFT_LEADER && a.commit_index > o->promised_index)
                ASSERT_GE(a.commit_index, raft_term_start_index(o->raft)); /* I4 */
        o->applied_index = a.commit_index;
        o->promised_index = MAX(o->promised_index, a.commit_index);

        /* Nothing is left to be done twice. */
        raft_take_actions(o->raft, &a);
        ASSERT_FALSE(a.save_hardstate);
        ASSERT_FALSE(a.append_noop);
        ASSERT_FALSE(a.role_changed);
}

static void owner_start(struct owner *o) {
        ASSERT_OK(make(&o->disk, &o->raft));
        ASSERT_EQ(raft_role(o->raft), RAFT_FOLLOWER);
        ASSERT_EQ(raft_leader(o->raft), 0);
        ASSERT_EQ(raft_term_start_index(o->raft), 0);
        o->written_index = o->disk.last_index;
        o->written_term = o->disk.last_term;
        o->saving_term = 0;
        o->applied_index = o->disk.commit_index;
        owner_act(o);
}

TEST(whatever_the_owner_does_the_invariants_hold) {
        struct random random;
        unsigned n_led = 0, n_refused = 0, n_withdrawn = 0;

        random_init(&random, 42);
        for (unsigned run = 0; run < 300; run++) {
                struct owner o = {};
                usec_t now = 0;

                owner_start(&o);
                for (unsigned step = 0; step < 100; step++) {
                        uint64_t index, term;

                        switch (random_below(&random, 8)) {
                        case 0:
                                now += random_below(&random, 2 * USEC_PER_SEC);
                                raft_tick(o.raft, now);
                                break;
                        case 1:
                                if (o.saving_term == 0)
                                        break;
                                o.disk.term = o.saving_term;
                                o.disk.vote = voter;
                                o.saving_term = 0;
                                raft_on_hardstate_saved(o.raft);
                                break;
                        case 2:
                        case 3:
                                if (raft_propose(o.raft, &index, &term) < 0) {
                                        ASSERT_NE(raft_role(o.raft), RAFT_LEADER);
                                        n_refused++;
                                        break;
                                }
                                ASSERT_EQ(index, o.written_index + 1);
                                ASSERT_EQ(term, o.disk.term);
                                if (random_chance(&random, 1, 4)) {
                                        raft_withdraw(o.raft, index);
                                        n_withdrawn++;
                                        break;
                                }
                                o.written_index = index;
                                o.written_term = term;
                                break;
                        case 4:
                        case 5:
                                if (o.disk.last_index < o.written_index)
                                        o.disk.last_term = o.written_term;
                                o.disk.last_index =
                                        random_between(&random, o.disk.last_index, o.written_index);
                                raft_on_persisted(o.raft, o.disk.last_index);
                                break;
                        case 6: /* what a header says is committed */
                                o.disk.commit_index = random_between(
                                        &random, o.disk.commit_index, o.applied_index);
                                break;
                        default:
                                if (!random_chance(&random, 1, 4))
                                        break;
                                o.raft = raft_free(o.raft);
                                owner_start(&o);
                        }
                        owner_act(&o);
                        ASSERT_EQ(raft_deadline(o.raft) == USEC_INFINITY,
                                  raft_role(o.raft) == RAFT_LEADER || o.saving_term != 0);
                }
                n_led += raft_role(o.raft) == RAFT_LEADER;
                o.raft = raft_free(o.raft);
        }

        ASSERT_GT(n_led, 100);
        ASSERT_GT(n_refused, 100);
        ASSERT_GT(n_withdrawn, 100);
}
