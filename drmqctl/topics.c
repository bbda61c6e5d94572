/* SPDX-License-Identifier: Apache-2.0 */

/* drmqctl topics: list, create, describe, alter, delete. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/logging.h"
#include "base/parse.h"
#include "cli/connect.h"
#include "cli/exit-code.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "drmqctl/view.h"

/* Names in one request. */
#define CREATE_MAX 1000u

int topics_list(char **args, size_t n_args, void *userdata) {
        static const struct output_column columns[] = {
                { "TOPIC", "topic", OUTPUT_TEXT },
                { "PARTITIONS", "partitions", OUTPUT_NUMBER },
                { "CREATED", "created", OUTPUT_TIME },
        };
        _cleanup_(output_freep) struct output *o = NULL;
        const struct view *v = userdata;
        const struct drmq_topic_info *topics;
        size_t n;
        int r;

        (void) args;
        (void) n_args;

        r = drmq_topics_list(v->client, &topics, &n);
        if (r < 0)
                return connect_error(v->client, r, "Cannot list topics");
        r = output_new(columns, ELEMENTSOF(columns), OUTPUT_ROWS, &o);
        if (r < 0)
                return log_oom();

        for (size_t i = 0; i < n; i++) {
                output_text(o, topics[i].name);
                output_number(o, topics[i].n_partitions);
                output_time(o, topics[i].created_ms);
        }
        return view_show(v, o);
}

static struct output *partition_rows(const struct drmq_topic_info *t) {
        static const struct output_column columns[] = {
                { "PARTITION", "partition", OUTPUT_NUMBER },
                { "ID", "id", OUTPUT_NUMBER },
                { "SHARD", "shard", OUTPUT_NUMBER },
                { "LEADER", "leader", OUTPUT_NUMBER },
                { "FIRST", "first_offset", OUTPUT_NUMBER },
                { "NEXT", "next_offset", OUTPUT_NUMBER },
                { "BATCHES", "batches", OUTPUT_NUMBER },
                { "BYTES", "bytes", OUTPUT_BYTES },
                { NULL, "producers", OUTPUT_NUMBER },
                { "APPENDED", "last_append", OUTPUT_TIME },
        };
        struct output *o;

        if (output_new(columns, ELEMENTSOF(columns), OUTPUT_ROWS, &o) < 0)
                return NULL;

        for (size_t i = 0; i < t->n_partitions; i++) {
                const struct drmq_partition_info *p = &t->partitions[i];

                output_number(o, p->number);
                output_number(o, p->id);
                output_number(o, p->shard);
                if (p->leader > 0)
                        output_number(o, p->leader);
                else
                        output_none(o);
                output_number(o, p->first_offset);
                output_number(o, p->next_offset);
                output_number(o, p->n_batches);
                output_number(o, p->n_bytes);
                output_number(o, p->n_producers);
                output_time(o, p->last_append_ms);
        }
        return o;
}

int topics_describe(char **args, size_t n_args, void *userdata) {
        static const struct output_column columns[] = {
                { "Topic", "topic", OUTPUT_TEXT },           { "Created", "created", OUTPUT_TIME },
                { "Messages", "messages", OUTPUT_NUMBER },   { "Bytes", "bytes", OUTPUT_BYTES },
                { "Partitions", "partitions", OUTPUT_LIST },
        };
        _cleanup_(output_freep) struct output *o = NULL;
        const struct view *v = userdata;
        const struct drmq_topic_info *t;
        uint64_t n_messages = 0, n_bytes = 0;
        int r;

        (void) n_args;

        r = drmq_topic_describe(v->client, args[0], &t);
        if (r < 0)
                return connect_error(v->client, r, "Cannot describe %s", args[0]);
        r = output_new(columns, ELEMENTSOF(columns), OUTPUT_RECORD, &o);
        if (r < 0)
                return log_oom();

        for (size_t i = 0; i < t->n_partitions; i++) {
                n_messages += t->partitions[i].next_offset - t->partitions[i].first_offset;
                n_bytes += t->partitions[i].n_bytes;
        }
        output_text(o, t->name);
        output_time(o, t->created_ms);
        output_number(o, n_messages);
        output_number(o, n_bytes);
        output_list(o, partition_rows(t));
        return view_show(v, o);
}

/* The account of what was to be done with several topics. */
struct tally {
        uint64_t n_done, n_failed;
        int error; /* the first */
};

static void tally_add(struct tally *t, int r) {
        if (r >= 0) {
                t->n_done++;
                return;
        }
        t->n_failed++;
        if (t->error == 0)
                t->error = r;
}

static int tally_status(const struct tally *t, const char *done) {
        if (t->error == 0)
                return EXIT_DONE;
        if (t->n_done == 0)
                return exit_code_of(t->error);
        log_error("%" PRIu64 " of %" PRIu64 " topics were %s",
                  t->n_done,
                  t->n_done + t->n_failed,
                  done);
        return EXIT_PARTLY;
}

static void cannot_create(const char *name, int r) {
        if (r == -EEXIST)
                log_error("Cannot create %s: it exists already", name);
        else if (r == -EINVAL)
                log_error("Cannot create %s: the node refuses its name or number of partitions",
                          name);
        else if (r == -ENOBUFS)
                log_error("Cannot create %s: there are as many partitions as the node may have"
                          " (limits.partitions)",
                          name);
        else if (r == -EMSGSIZE)
                log_error("Cannot create %s: too many partitions for one request;"
                          " create fewer topics at a time",
                          name);
        else
                (void) log_error_errno(r, "Cannot create %s: %m", name);
}

/* Up to CREATE_MAX topics in one request. Return: 0, also where some failed: @t says; negative
 * errno, logged: none of it is known to be done. */
static int create(const struct view *v, const char *const *names, size_t n, struct tally *t) {
        int results[CREATE_MAX], r;

        assert(n <= CREATE_MAX);

        for (size_t i = 0; i < n; i++)
                results[i] = 1; /* not answered */
        r = drmq_topics_create(
                v->client, names, n, v->n_partitions, /* if_missing= */ v->if_not_exists, results);
        for (size_t i = 0; i < n; i++) {
                if (r < 0 && results[i] == 1) {
                        tally_add(t, r);
                        return connect_error(v->client, r, "Cannot create %s", names[i]);
                }
                tally_add(t, results[i]);
                if (results[i] < 0)
                        cannot_create(names[i], results[i]);
        }
        return 0;
}

static int create_arguments(const struct view *v, char **args, size_t n_args, struct tally *t) {
        int r;

        for (size_t i = 0; i < n_args; i += CREATE_MAX) {
                r = create(
                        v, (const char *const *) args + i, MIN(n_args - i, (size_t) CREATE_MAX), t);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Reads up to CREATE_MAX lines of stdin. Return: how many; negative errno, logged. */
static ssize_t read_names(char **names, uint64_t *line_number) {
        size_t n = 0, n_allocated = 0;
        char *line = NULL;
        ssize_t k = 0;
        int r = 0;

        while (n < CREATE_MAX && (k = getline(&line, &n_allocated, stdin)) >= 0) {
                (*line_number)++;
                if (k > 0 && line[k - 1] == '\n')
                        line[--k] = '\0';
                if (k == 0)
                        continue;
                if (strlen(line) != (size_t) k || !topic_name_is_valid(line)) {
                        r = log_error_errno(-EINVAL,
                                            "Line %" PRIu64 ": '%s' is not a topic's name",
                                            *line_number,
                                            line);
                        break;
                }
                names[n] = mem_strdup(line);
                if (!names[n]) {
                        r = log_oom();
                        break;
                }
                n++;
        }
        if (k < 0 && ferror(stdin) && interrupt_count() == 0)
                r = log_error_errno(-EIO, "Cannot read names: %m");
        free(line);

        if (r < 0)
                while (n > 0)
                        mem_free(names[--n]);
        return r < 0 ? r : (ssize_t) n;
}

static int create_from_stdin(const struct view *v, struct tally *t) {
        struct progress_state s = { 0 };
        uint64_t line_number = 0;
        char *names[CREATE_MAX];
        struct progress p;
        ssize_t n;
        int r = 0;

        progress_init(&p, PROGRESS_ON_TERMINAL, "topics", /* total= */ 0);
        do {
                n = read_names(names, &line_number);
                if (n < 0)
                        r = (int) n;
                else if (n > 0)
                        r = create(v, (const char *const *) names, (size_t) n, t);
                for (ssize_t i = 0; i < n; i++)
                        mem_free(names[i]);
                s.n = t->n_done;
                progress_update(&p, &s);
        } while (r >= 0 && n == CREATE_MAX && interrupt_count() == 0);
        progress_finish(&p, &s);
        return r;
}

int topics_create(char **args, size_t n_args, void *userdata) {
        const struct view *v = userdata;
        struct tally t = { 0 };
        int r;

        if (n_args == 1 && streq(args[0], "-"))
                r = create_from_stdin(v, &t);
        else {
                for (size_t i = 0; i < n_args; i++)
                        if (!topic_name_is_valid(args[i])) {
                                log_error("'%s' is not a topic's name; see drmqctl --help",
                                          args[i]);
                                return EXIT_USAGE;
                        }
                r = create_arguments(v, args, n_args, &t);
        }

        if (r < 0 && t.error == 0)
                tally_add(&t, r);
        return tally_status(&t, "created");
}

int topics_alter(char **args, size_t n_args, void *userdata) {
        const struct view *v = userdata;
        int r;

        (void) n_args;

        if (v->n_partitions == 0) {
                log_error("'topics alter' needs --partitions; see drmqctl --help");
                return EXIT_USAGE;
        }
        r = drmq_topic_set_partitions(v->client, args[0], v->n_partitions);
        if (r < 0)
                return connect_error(v->client, r, "Cannot alter %s", args[0]);
        return EXIT_DONE;
}

/* Asks on a terminal. Return: 1 yes; 0 no. */
static int confirm(const char *name) {
        char *line = NULL;
        size_t n = 0;
        int r;

        fprintf(stderr, "Delete topic %s and all of its messages? [y/N] ", name);
        fflush(stderr);
        r = getline(&line, &n, stdin) > 0 && (line[0] == 'y' || line[0] == 'Y');
        free(line);
        return r;
}

int topics_delete(char **args, size_t n_args, void *userdata) {
        const struct view *v = userdata;
        struct tally t = { 0 };
        int r;

        if (!v->yes && !isatty(STDIN_FILENO)) {
                log_error("Deleting needs --yes, where nobody can be asked");
                return EXIT_USAGE;
        }

        for (size_t i = 0; i < n_args && interrupt_count() == 0; i++) {
                if (!v->yes && !confirm(args[i])) {
                        log_error("Topic %s is left as it is", args[i]);
                        tally_add(&t, -ECANCELED);
                        continue;
                }
                r = drmq_topic_delete(v->client, args[i]);
                tally_add(&t, r);
                if (r < 0)
                        (void) connect_error(v->client, r, "Cannot delete %s", args[i]);
        }
        return tally_status(&t, "deleted");
}
