/* SPDX-License-Identifier: Apache-2.0 */

/* drmqctl: ask and administer. The verbs and their options; each noun has a file. */

#include "base/logging.h"
#include "cli/connect.h"
#include "cli/exit-code.h"
#include "cli/interrupt.h"
#include "cli/verbs.h"
#include "drmqctl/view.h"

enum {
        ARG_JSON = OPTION_LONG(0),
        ARG_PARTITIONS,
        ARG_IF_NOT_EXISTS,
        ARG_YES,
        ARG_AT,
        ARG_TIMEOUT,
        ARG_SHARD,
        ARG_FROM,
        ARG_GROUPS,
        ARG_TO,
        ARG_PROGRESS,
};

/* As many as a node gives a topic. */
#define PARTITIONS_MAX 10000u

static const struct option_spec options[] = {
        { ARG_JSON, "json", NULL, "answer in JSON, an object a line", false },
        { ARG_PARTITIONS, "partitions", "N", "topics create, alter: so many partitions", true },
        { ARG_IF_NOT_EXISTS, "if-not-exists", NULL, "topics create: what exists is fine", true },
        { ARG_YES, "yes", NULL, "topics delete, log accept-loss: do not ask", true },
        { ARG_AT, "at", "WHEN", "offsets: beginning, end (default), or a time", true },
        { ARG_SHARD, "shard", "N", "log dump: only this shard", true },
        { ARG_FROM, "from", "INDEX", "log dump: from this entry on", true },
        { ARG_GROUPS, "groups", NULL, "log dump: group writes, headers and footers", true },
        { ARG_TO, "to", "DIR", "log salvage: the directory to make", true },
        { ARG_PROGRESS, "progress", NULL, "log verify, salvage: show how far it is", true },
        { 'b', "brokers", "LIST", "where the brokers are: host:port,unix:/path,...", false },
        { ARG_TIMEOUT, "timeout", "TIME", "give up after TIME (default 30s)", false },
        OPTIONS_COMMON,
};

static const int create_options[] = { ARG_PARTITIONS, ARG_IF_NOT_EXISTS, 0 };
static const int alter_options[] = { ARG_PARTITIONS, 0 };
static const int delete_options[] = { ARG_YES, 0 };
static const int offsets_options[] = { ARG_AT, 0 };
static const int dump_options[] = { ARG_SHARD, ARG_FROM, ARG_GROUPS, 0 };
static const int verify_options[] = { ARG_PROGRESS, 0 };
static const int salvage_options[] = { ARG_TO, ARG_PROGRESS, 0 };
static const int accept_loss_options[] = { ARG_YES, 0 };

static const struct verb verbs[] = {
        { "status",
          "",
          0,
          0,
          NULL,
          "how the node is; exit status 0 healthy, 1 degraded",
          status_show },
        { "leader", "[SHARD]", 0, 1, NULL, "who leads each shard, or this one", status_leader },
        { "metrics", "", 0, 0, NULL, "what the node counts, as Prometheus reads it", metrics_show },
        { "topics list", "", 0, 0, NULL, "all topics", topics_list },
        { "topics create",
          "NAME...|-",
          1,
          VERB_ANY,
          create_options,
          "create topics; - takes names from stdin",
          topics_create },
        { "topics describe", "NAME", 1, 1, NULL, "a topic and its partitions", topics_describe },
        { "topics alter",
          "NAME",
          1,
          1,
          alter_options,
          "give a topic more partitions",
          topics_alter },
        { "topics delete",
          "NAME...",
          1,
          VERB_ANY,
          delete_options,
          "delete topics and all of their messages",
          topics_delete },
        { "offsets",
          "TOPIC",
          1,
          1,
          offsets_options,
          "offsets of a topic's partitions",
          offsets_show },
        { "log dump", "DIR", 1, 1, dump_options, "the entries of a node's directory", log_dump },
        { "log verify",
          "DIR",
          1,
          1,
          verify_options,
          "read and check every byte; exit status 0 good, 1 damage",
          log_verify },
        { "log salvage",
          "DIR",
          1,
          1,
          salvage_options,
          "make a new directory of what is good",
          log_salvage },
        { "log accept-loss",
          "DIR",
          1,
          1,
          accept_loss_options,
          "let a stopped node take messages again behind what is lost",
          log_accept_loss },
        { "config show",
          "[KEY]...",
          0,
          VERB_ANY,
          NULL,
          "the node's configuration, and where it is from",
          config_show },
};

static const struct program program = {
        .name = "drmqctl",
        .usage = "[OPTION]... VERB [ARGUMENT]...",
        .summary = "Ask a node how it is, and administer its topics.",
        .options = options,
        .n_options = ELEMENTSOF(options),
        .verbs = verbs,
        .n_verbs = ELEMENTSOF(verbs),
};

static const char *arg_brokers;
static usec_t arg_timeout_usec = CONNECT_TIMEOUT_USEC;
static struct view arg_view;
static const struct verb *arg_verb;
static char **arg_args;
static size_t arg_n_args;

/* What a signal interrupts. */
static drmq_client *client;

static void on_signal(unsigned n) {
        (void) n;
        if (client)
                drmq_client_interrupt(client);
}

static int parse_option(struct options *o, int id, const char *value) {
        uint64_t v;
        int r;

        switch (id) {
        case ARG_JSON:
                arg_view.form = OUTPUT_JSON;
                return 0;
        case ARG_PARTITIONS:
                r = options_uint(o, value, 1, PARTITIONS_MAX, &v);
                if (r >= 0)
                        arg_view.n_partitions = (uint32_t) v;
                return r;
        case ARG_IF_NOT_EXISTS:
                arg_view.if_not_exists = true;
                return 0;
        case ARG_YES:
                arg_view.yes = true;
                return 0;
        case ARG_SHARD:
                arg_view.has_shard = true;
                return options_uint(o, value, 0, UINT64_MAX, &arg_view.shard);
        case ARG_FROM:
                return options_uint(o, value, 1, UINT64_MAX, &arg_view.from_index);
        case ARG_GROUPS:
                arg_view.groups = true;
                return 0;
        case ARG_TO:
                arg_view.to = value;
                return 0;
        case ARG_PROGRESS:
                arg_view.progress = true;
                return 0;
        case ARG_AT:
                arg_view.at = value;
                return 0;
        case 'b':
                arg_brokers = value;
                return 0;
        case ARG_TIMEOUT:
                return options_duration(o, value, &arg_timeout_usec);
        default:
                assert(false);
                return -EINVAL;
        }
}

static int parse_argv(int argc, char **argv) {
        struct options o;
        const char *value;
        int id, r;

        options_init(&o, &program, argc, argv);
        while ((id = options_next(&o, &value)) > 0) {
                r = parse_option(&o, id, value);
                if (r < 0)
                        return r;
        }
        if (id < 0)
                return id;
        return verbs_find(&o, &arg_verb, &arg_args, &arg_n_args);
}

static int run(void) {
        int r;

        if (strncmp(arg_verb->name, "log ", 4) == 0) /* files, no daemon */
                return arg_verb->run(arg_args, arg_n_args, &arg_view);

        r = connect_new(arg_brokers, arg_timeout_usec, &client);
        if (r < 0)
                return r == -EINVAL ? EXIT_USAGE : r;

        arg_view.client = client;
        return arg_verb->run(arg_args, arg_n_args, &arg_view);
}

int main(int argc, char **argv) {
        drmq_client *c;
        int r;

        log_setup("drmqctl", LOG_INFO);
        r = interrupt_setup(on_signal);
        if (r < 0)
                return exit_code_of(log_error_errno(r, "Cannot watch for signals: %m"));

        r = parse_argv(argc, argv);
        if (r >= 0)
                r = exit_code_of(run());
        else
                r = options_exit_code(r);

        c = TAKE_PTR(client);
        drmq_client_free(c);
        return r;
}
