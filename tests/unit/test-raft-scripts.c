/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Runs the scripts tests/raft/WHAT.txt against lib/raft. A script is a list of blocks: comments and
 * commands, a line "----", and what they must print, up to an empty line. With REWRITE=1 in the
 * environment the scripts are written anew with what was printed; the diff is to be reviewed.
 *
 * One node, n1, which is the only voter; its disk is the script's:
 *     start                       from what is on disk
 *     disk term=T vote=V log=T,T,… commit=I
 *                                 puts that there: the log by the terms of its entries
 *     tick MS                     time passes
 *     propose                     one entry
 *     withdraw                    the log refused the last one
 *     hardstate                   the hard state that was asked for is on disk
 *     persist [I]                 the log is synced, up to I
 *     crash                       what is not on disk is gone
 *     state                       says it
 * What the node asks for, and each change of its state, is printed after each command.
 */

#include "raft/raft.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdarg.h>

#include "base/fs.h"
#include "base/logging.h"
#include "base/parse.h"
#include "tests/lib/test.h"

#define SCRIPTS "tests/raft"
#define LOG_MAX 64u
#define NODE 1u

struct node {
        struct raft *raft;
        struct tracer tracer;
        usec_t now;
        struct raft_durable disk;
        uint64_t log[LOG_MAX + 1]; /* terms, by index */
        uint64_t last_index;       /* in the log, perhaps not on disk */
        uint64_t saving_term, saving_vote;
        char *out;
        size_t n_out;
};

static _printf_(2, 3) void say(struct node *n, const char *format, ...) {
        char line[256];
        va_list ap;
        int k;

        va_start(ap, format);
        k = vsnprintf(line, sizeof(line), format, ap);
        va_end(ap);
        ASSERT_LT((size_t) k + 1, sizeof(line));

        n->out = realloc(n->out, n->n_out + (size_t) k + 2);
        memcpy(n->out + n->n_out, line, (size_t) k);
        n->n_out += (size_t) k;
        n->out[n->n_out++] = '\n';
        n->out[n->n_out] = 0;
}

static void on_trace(void *userdata, const struct log_record *record) {
        say(userdata, "n1 says: %s", record->text);
}

static void act(struct node *n, uint64_t commit_before) {
        struct raft_actions a;

        if (!n->raft)
                return;

        raft_take_actions(n->raft, &a);
        if (a.save_hardstate) {
                say(n, "n1 save hardstate term=%" PRIu64 " vote=%" PRIu64, a.term, a.vote);
                n->saving_term = a.term;
                n->saving_vote = a.vote;
        }
        if (a.append_noop) {
                say(n,
                    "n1 append noop index=%" PRIu64 " term=%" PRIu64,
                    a.noop_index,
                    raft_term(n->raft));
                n->last_index = a.noop_index;
                n->log[n->last_index] = raft_term(n->raft);
        }
        if (a.role_changed)
                say(n,
                    "n1 %s term=%" PRIu64,
                    raft_role_name(raft_role(n->raft)),
                    raft_term(n->raft));
        if (a.commit_index != commit_before)
                say(n, "n1 commit %" PRIu64, a.commit_index);
}

static uint64_t number(const char *text) {
        char *end;
        uint64_t v = strtoull(text, &end, 10);

        if (end == text)
                test_fail(__FILE__, __LINE__, "not a number: %s", text);
        return v;
}

static void put_on_disk(struct node *n, const char *arguments) {
        const char *log = strstr(arguments, "log="), *commit = strstr(arguments, "commit=");
        const char *term = strstr(arguments, "term="), *vote = strstr(arguments, "vote=");

        n->disk = (struct raft_durable){ .term = term ? number(term + 5) : 0,
                                         .vote = vote ? number(vote + 5) : 0 };
        for (const char *p = log ? log + 4 : NULL; p; p = *p == ',' ? p + 1 : NULL) {
                n->log[++n->disk.last_index] = n->disk.last_term = number(p);
                p += strcspn(p, ", ");
                if (!*p)
                        break;
        }
        n->disk.commit_index = commit ? number(commit + 7) : 0;
}

static void start(struct node *n) {
        const uint64_t voter = NODE;
        int r;

        n->last_index = n->disk.last_index;
        n->saving_term = 0;
        r = raft_new(
                &(struct raft_config){
                        .group = 1,
                        .node_id = NODE,
                        .voters = &voter,
                        .n_voters = 1,
                        .election_timeout_usec = USEC_PER_SEC,
                        .tracer = &n->tracer,
                },
                &n->disk,
                &n->raft);
        ASSERT_OK(r);
        say(n, "n1 %s term=%" PRIu64, raft_role_name(raft_role(n->raft)), raft_term(n->raft));
}

static void persist(struct node *n, uint64_t index) {
        n->disk.last_index = index;
        n->disk.last_term = n->log[index];
        raft_on_persisted(n->raft, index);
}

static void say_state(struct node *n) {
        say(n,
            "n1 %s term=%" PRIu64 " leader=%" PRIu64 " commit=%" PRIu64 " term-start=%" PRIu64
            " deadline=%s",
            raft_role_name(raft_role(n->raft)),
            raft_term(n->raft),
            raft_leader(n->raft),
            raft_commit_index(n->raft),
            raft_term_start_index(n->raft),
            raft_deadline(n->raft) == USEC_INFINITY ? "never"
            : raft_deadline(n->raft) <= n->now      ? "due"
                                                    : "later");
}

static void run_command(struct node *n, char *line) {
        char *arguments = line + strcspn(line, " ");
        uint64_t commit_before, index, term;

        if (*arguments)
                *arguments++ = 0;
        commit_before = n->raft ? raft_commit_index(n->raft) : n->disk.commit_index;

        if (streq(line, "disk"))
                put_on_disk(n, arguments);
        else if (streq(line, "start"))
                start(n);
        else if (!n->raft)
                test_fail(__FILE__, __LINE__, "not started: %s", line);
        else if (streq(line, "tick")) {
                n->now += number(arguments) * USEC_PER_MSEC;
                raft_tick(n->raft, n->now);
        } else if (streq(line, "propose")) {
                if (raft_propose(n->raft, &index, &term) < 0)
                        say(n, "n1 refuses: not the leader");
                else {
                        say(n, "n1 takes index=%" PRIu64 " term=%" PRIu64, index, term);
                        n->last_index = index;
                        n->log[index] = term;
                }
        } else if (streq(line, "withdraw"))
                raft_withdraw(n->raft, n->last_index--);
        else if (streq(line, "hardstate")) {
                n->disk.term = n->saving_term;
                n->disk.vote = n->saving_vote;
                n->saving_term = 0;
                raft_on_hardstate_saved(n->raft);
        } else if (streq(line, "persist"))
                persist(n, *arguments ? number(arguments) : n->last_index);
        else if (streq(line, "crash"))
                n->raft = raft_free(n->raft);
        else if (streq(line, "state"))
                say_state(n);
        else
                test_fail(__FILE__, __LINE__, "unknown command: %s", line);
        act(n, commit_before);
}

static void append(char **text, size_t *n, const char *p, size_t k) {
        *text = realloc(*text, *n + k + 1);
        if (k > 0)
                memcpy(*text + *n, p, k);
        *n += k;
        (*text)[*n] = 0;
}

/* Return: the script with what its commands said in the place of what was expected; free(). */
static char *run_script(const char *path, char *text) {
        struct node n = { .tracer = { .emit = on_trace, .userdata = &n } };
        bool is_expected = false; /* between ---- and the empty line */
        char *whole = NULL, *line;
        size_t n_whole = 0;

        while ((line = strsep(&text, "\n")) && (text || *line)) {
                if (is_expected && *line)
                        continue;

                append(&whole, &n_whole, line, strlen(line));
                append(&whole, &n_whole, "\n", 1);
                is_expected = streq(line, "----");
                if (is_expected) {
                        append(&whole, &n_whole, n.out, n.n_out);
                        n.n_out = 0;
                } else if (*line && *line != '#')
                        run_command(&n, line);
        }

        if (n.n_out > 0)
                test_fail(__FILE__, __LINE__, "%s: commands without ---- at the end", path);
        free(n.out);
        n.raft = raft_free(n.raft);
        return whole;
}

static int is_script(const struct dirent *e) {
        size_t n = strlen(e->d_name);

        return n > 4 && streq(e->d_name + n - 4, ".txt");
}

TEST(every_script_says_what_it_should) {
        struct dirent **entries;
        int n = scandir(SCRIPTS, &entries, is_script, alphasort);
        bool is_rewriting = getenv("REWRITE") != NULL;

        if (n < 0)
                test_fail(__FILE__,
                          __LINE__,
                          "no folder %s: run it from the top of the tree",
                          SCRIPTS);
        ASSERT_GT(n, 0);

        for (int i = 0; i < n; i++) {
                char path[512];
                char *text, *copy, *whole;
                size_t size;

                (void) snprintf(path, sizeof(path), "%s/%s", SCRIPTS, entries[i]->d_name);
                ASSERT_OK(fs_read_file(path, 1 << 20, &text, &size));
                copy = mem_strdup(text);
                ASSERT_NOT_NULL(copy);
                whole = run_script(path, copy);
                if (is_rewriting) {
                        FILE *f = fopen(path, "we");

                        ASSERT_NOT_NULL(f);
                        ASSERT_EQ(fwrite(whole, 1, strlen(whole), f), strlen(whole));
                        ASSERT_EQ(fclose(f), 0);
                } else if (!streq(whole, text)) {
                        size_t at = 0, line = 1;

                        for (; whole[at] == text[at]; at++)
                                line += whole[at] == '\n';
                        test_fail(__FILE__,
                                  __LINE__,
                                  "%s:%zu differs; it says now:\n%s",
                                  path,
                                  line,
                                  whole);
                }
                free(whole);
                mem_free(copy);
                mem_free(text);
                free(entries[i]);
        }
        free(entries);
}
