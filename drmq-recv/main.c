/* SPDX-License-Identifier: Apache-2.0 */

/* drmq-recv: messages out of topics. Options and subscriptions; the work is in receiver.c and
 * format.c. */

#include <stdio.h>

#include "base/alloc.h"
#include "base/logging.h"
#include "base/parse.h"
#include "cli/connect.h"
#include "cli/exit-code.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "drmq-recv/directory.h"
#include "drmq-recv/receiver.h"

enum {
        ARG_SINGLE = OPTION_LONG(0),
        ARG_FROM,
        ARG_PARTITION,
        ARG_IDLE,
        ARG_FAIL_IF_EMPTY,
        ARG_JSON,
        ARG_FRAMED,
        ARG_COMMIT_INTERVAL,
        ARG_PROGRESS,
        ARG_TIMEOUT,
        ARG_DIR,
        ARG_UNCOMMITTED,
};

#define PARTITIONS_MAX 1024u

static const struct option_spec options[] = {
        { 'g', "group", "GROUP", "go on at GROUP's position, and commit it", false },
        { ARG_SINGLE, "single", NULL, "read alone; needed with -g", false },
        { ARG_FROM,
          "from",
          "WHERE",
          "beginning (default), end, an offset, -N for the last N, or a time",
          false },
        { ARG_PARTITION, "partition", "N[,M...]", "only these partitions", false },
        { 'e', "exit-at-end", NULL, "exit at the end as it was when asked", false },
        { 'n', "count", "N", "exit after N messages", false },
        { ARG_IDLE, "idle", "TIME", "exit when nothing came for TIME", false },
        { ARG_FAIL_IF_EMPTY, "fail-if-empty", NULL, "exit with 3 when nothing came", false },
        { '0', "null", NULL, "end messages in NUL, not in a newline", false },
        { 'f',
          "format",
          "FORMAT",
          "print FORMAT: %t topic, %p partition, %o offset, %k key, %v value, %T timestamp, %h "
          "headers, %u uncommitted, %% percent, and C escapes",
          false },
        { ARG_JSON, "json", NULL, "print a JSON object a line", false },
        { ARG_FRAMED, "framed", NULL, "print each value's length before it, 4 bytes", false },
        { ARG_COMMIT_INTERVAL,
          "commit-interval",
          "TIME",
          "commit the position this often (default 1s), and at the end",
          false },
        { ARG_DIR,
          "dir",
          "DIR",
          "read a node's data directory itself, without its daemon, live or not",
          false },
        { ARG_UNCOMMITTED, "uncommitted", NULL, "with --dir: what is not committed too", false },
        { ARG_PROGRESS, "progress", NULL, "show rates and sums on stderr", false },
        { 'b', "brokers", "LIST", "where the brokers are: host:port,unix:/path,...", false },
        { ARG_TIMEOUT, "timeout", "TIME", "give up after TIME (default 30s)", false },
        OPTIONS_COMMON,
};

static const struct program program = {
        .name = "drmq-recv",
        .usage = "[OPTION]... TOPIC...",
        .summary = "Print the messages of topics, from the beginning, and wait for more.",
        .options = options,
        .n_options = ELEMENTSOF(options),
};

static const char *arg_brokers;
static char **arg_topics;
static size_t arg_n_topics;
static const char *arg_group;
static bool arg_single, arg_exit_at_end, arg_has_from;
static enum drmq_from arg_from = DRMQ_FROM_BEGINNING;
static int64_t arg_from_value;
static uint32_t arg_partitions[PARTITIONS_MAX];
static size_t arg_n_partitions;
static struct format arg_format = { .form = FORMAT_VALUE, .terminator = '\n' };
static usec_t arg_timeout_usec = CONNECT_TIMEOUT_USEC;
static struct receiver_config arg_config = {
        .format = &arg_format,
        .n_max = UINT64_MAX,
        .idle_usec = USEC_INFINITY,
        .commit_usec = USEC_PER_SEC,
};

static const char *arg_dir;
static bool arg_uncommitted;

/* What a signal interrupts. */
static drmq_client *client;

static void on_signal(unsigned n) {
        (void) n;
        if (client)
                drmq_client_interrupt(client);
}

static int parse_from(const struct options *o, const char *value) {
        int64_t v;
        int r;

        arg_has_from = true;
        arg_from_value = 0;
        if (streq(value, "beginning"))
                arg_from = DRMQ_FROM_BEGINNING;
        else if (streq(value, "end"))
                arg_from = DRMQ_FROM_END;
        else if (parse_int64(value, &v) >= 0) {
                arg_from = *value == '-' ? DRMQ_FROM_LAST : DRMQ_FROM_OFFSET;
                arg_from_value = v < 0 ? -v : v;
                if (v == INT64_MIN)
                        return options_error(o, "Option --from: '%s' is too much", value);
        } else {
                r = parse_time_ms(value, now_wall_ms(), &arg_from_value);
                if (r < 0)
                        return options_error(
                                o,
                                "Option --from: '%s' is none of beginning, end, an offset, -N, a time",
                                value);
                arg_from = DRMQ_FROM_TIME;
        }
        return 0;
}

static int parse_partitions(const struct options *o, const char *value) {
        const char *p = value;

        arg_n_partitions = 0;
        for (;;) {
                size_t n = strcspn(p, ",");
                char number[16];
                uint64_t v;

                (void) snprintf(number, sizeof(number), "%.*s", (int) MIN(n, sizeof(number)), p);
                if (n >= sizeof(number) ||
                    parse_uint64_range(number, 0, DRMQ_PARTITION_ANY - 1, &v) < 0)
                        return options_error(
                                o, "Option --partition: '%s' is not a list of numbers", value);
                if (arg_n_partitions == PARTITIONS_MAX)
                        return options_error(o, "Option --partition: more than %u", PARTITIONS_MAX);
                arg_partitions[arg_n_partitions++] = (uint32_t) v;
                if (!p[n])
                        return 0;
                p += n + 1;
        }
}

static int parse_format(const struct options *o, const char *value) {
        int r;

        r = format_parse(&arg_format, value);
        if (r == -ENOMEM)
                return log_oom();
        if (r < 0)
                return options_error(
                        o, "Option -f/--format: '%s' has an unknown %% or escape", value);
        return 0;
}

static int parse_option(struct options *o, int id, const char *value) {
        switch (id) {
        case 'g':
                if (!group_name_is_valid(value))
                        return options_error(
                                o, "Option -g/--group: '%s' is not a group's name", value);
                arg_group = value;
                return 0;
        case ARG_SINGLE:
                arg_single = true;
                return 0;
        case ARG_FROM:
                return parse_from(o, value);
        case ARG_PARTITION:
                return parse_partitions(o, value);
        case 'e':
                arg_exit_at_end = true;
                return 0;
        case 'n':
                return options_uint(o, value, 1, UINT64_MAX, &arg_config.n_max);
        case ARG_IDLE:
                return options_duration(o, value, &arg_config.idle_usec);
        case ARG_FAIL_IF_EMPTY:
                arg_config.fail_if_empty = true;
                return 0;
        case '0':
                arg_format.terminator = '\0';
                return 0;
        case 'f':
                return parse_format(o, value);
        case ARG_JSON:
                arg_format.form = FORMAT_JSON;
                return 0;
        case ARG_FRAMED:
                arg_format.form = FORMAT_FRAMED;
                return 0;
        case ARG_DIR:
                arg_dir = value;
                return 0;
        case ARG_UNCOMMITTED:
                arg_uncommitted = true;
                return 0;
        case ARG_COMMIT_INTERVAL:
                return options_duration(o, value, &arg_config.commit_usec);
        case ARG_PROGRESS:
                arg_config.progress = PROGRESS_ALWAYS;
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

static int check_options(const struct options *o) {
        static const int forms[] = { '0', 'f', ARG_JSON, ARG_FRAMED };
        int r;

        for (size_t i = 0; i < ELEMENTSOF(forms); i++)
                for (size_t j = i + 1; j < ELEMENTSOF(forms); j++) {
                        r = options_exclude(o, forms[i], forms[j]);
                        if (r < 0)
                                return r;
                }

        if (arg_dir) {
                static const int of_network[] = {
                        'g', ARG_SINGLE, ARG_COMMIT_INTERVAL, 'b', ARG_TIMEOUT
                };

                for (size_t i = 0; i < ELEMENTSOF(of_network); i++) {
                        r = options_exclude(o, ARG_DIR, of_network[i]);
                        if (r < 0)
                                return r;
                }
        } else if (arg_uncommitted)
                return options_error(o, "--uncommitted needs --dir");
        if (arg_group && !arg_single)
                return options_error(
                        o,
                        "-g shares messages in group mode, which is not in this version; use --single");
        if (!arg_group && options_has(o, ARG_COMMIT_INTERVAL))
                return options_error(o, "--commit-interval needs -g, whose position it commits");
        return 0;
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

        if (o.n_args == 0)
                return options_error(&o, "Name a topic");
        for (size_t i = 0; i < o.n_args; i++) {
                if (!topic_name_is_valid(o.args[i]))
                        return options_error(&o, "'%s' is not a topic's name", o.args[i]);
                for (size_t j = 0; j < i; j++)
                        if (streq(o.args[i], o.args[j]))
                                return options_error(&o, "Topic %s is named twice", o.args[i]);
        }
        arg_topics = o.args;
        arg_n_topics = o.n_args;
        return check_options(&o);
}

/* Who follows waits for a topic that is still to come; who reads to an end has misspelt it. */
static bool waits_for_topics(void) {
        return !arg_exit_at_end && arg_config.n_max == UINT64_MAX;
}

/* What has to be known of a topic before it is subscribed. Return: 0; EXIT_USAGE or a negative
 * errno, logged. */
static int look_at(const char *topic) {
        const struct drmq_topic_info *info;
        int r;

        r = drmq_topic_describe(client, topic, &info);
        if (r == -ENOENT && waits_for_topics()) {
                log_info("Topic %s does not exist; waiting for it", topic);
                return 0;
        }
        if (r == -ENOENT)
                return log_error_errno(r, "Topic %s does not exist", topic);
        if (r == -ECANCELED && interrupt_count() > 0)
                return r;
        if (r < 0)
                return connect_error(client, r, "Cannot receive from %s", topic);

        if (arg_from == DRMQ_FROM_OFFSET && arg_n_partitions == 0 && info->n_partitions > 1) {
                log_error(
                        "Topic %s has %zu partitions: an offset needs --partition; see drmq-recv --help",
                        topic,
                        info->n_partitions);
                return EXIT_USAGE;
        }
        return 0;
}

static int subscribe(drmq_consumer *k) {
        enum drmq_from from = arg_group && !arg_has_from ? DRMQ_FROM_POSITION : arg_from;
        int r;

        for (size_t i = 0; i < arg_n_topics; i++) {
                r = look_at(arg_topics[i]);
                if (r != 0)
                        return r;
                r = drmq_consumer_subscribe(
                        k, arg_topics[i], arg_partitions, arg_n_partitions, from, arg_from_value);
                if (r < 0)
                        return connect_error(client, r, "Cannot receive from %s", arg_topics[i]);
        }
        return 0;
}

static int configure(drmq_consumer *k) {
        int r = 0;

        if (arg_group)
                r = drmq_consumer_set_group(k, arg_group);
        if (r >= 0)
                r = drmq_consumer_set_stop_at_end(k, arg_exit_at_end);
        if (r >= 0)
                r = drmq_consumer_set_wait_for_topic(k, waits_for_topics());
        return r;
}

static int run_directory(void) {
        return directory_run(&(struct directory_config){
                .output = &arg_config,
                .dir = arg_dir,
                .topics = arg_topics,
                .n_topics = arg_n_topics,
                .partitions = arg_partitions,
                .n_partitions = arg_n_partitions,
                .from = arg_from,
                .from_value = arg_from_value,
                .exit_at_end = arg_exit_at_end,
                .waits_for_topics = waits_for_topics(),
                .uncommitted = arg_uncommitted,
        });
}

static int run(void) {
        drmq_consumer *k;
        int r;

        if (arg_dir)
                return run_directory();

        r = connect_new(arg_brokers, arg_timeout_usec, &client);
        if (r < 0)
                return r == -EINVAL ? EXIT_USAGE : r;
        r = drmq_consumer_new(client, &k);
        if (r < 0)
                return connect_error(client, r, "Cannot make a consumer");

        arg_config.group = arg_group;
        r = configure(k);
        if (r < 0)
                (void) connect_error(client, r, "Cannot set up the consumer");
        else
                r = subscribe(k);
        if (r == -ECANCELED && interrupt_count() > 0)
                r = EXIT_DONE;
        else if (r == 0)
                r = receiver_run(client, k, &arg_config);
        drmq_consumer_free(k);
        return r;
}

int main(int argc, char **argv) {
        drmq_client *c;
        int r;

        log_setup("drmq-recv", LOG_INFO);
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
        format_done(&arg_format);
        return r;
}
