/* SPDX-License-Identifier: Apache-2.0 */
/* drmqd: options, then shell_run(). Exit statuses as in sysexits(3). */
#include <inttypes.h>
#include <malloc.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/bug.h"
#include "base/logging.h"
#include "cli/options.h"
#include "drmqd/config-names.h"
#include "drmqd/shell.h"
#include "loop/journal.h"

enum {
        OPTION_NODE = OPTION_LONG(0),
        OPTION_NODE_ID = OPTION_LONG(1),
        OPTION_DATA_DIR = OPTION_LONG(2),
        OPTION_PORT = OPTION_LONG(3),
        OPTION_LISTEN = OPTION_LONG(4),
        OPTION_ADVERTISE = OPTION_LONG(5),
        OPTION_SET = OPTION_LONG(6),
        OPTION_DEBUG = OPTION_LONG(7),
        OPTION_PLANT = OPTION_LONG(8),
        OPTION_CONFIG = OPTION_LONG(9),
        OPTION_CHECK_CONFIG = OPTION_LONG(10),
};

static const struct option_spec option_specs[] = {
        { OPTION_CONFIG,
          "config",
          "FILE",
          "read FILE (default: drmq/NAME.conf in /etc, /run, /usr/local/lib or /usr/lib)",
          false },
        { OPTION_NODE, "node", "NAME", "name of the node (default: node1)", false },
        { OPTION_NODE_ID,
          "node-id",
          "N",
          "number of the node (default: what the directory says, or 1)",
          false },
        { OPTION_DATA_DIR,
          "data-dir",
          "DIR",
          "where the log is (default: /var/lib/drmq/NAME)",
          false },
        { OPTION_PORT,
          "port",
          "N",
          "listen on 127.0.0.1:N (default: 9092; 0 takes a free one)",
          false },
        { OPTION_LISTEN,
          "listen",
          "ADDRESS",
          "listen on HOST:PORT or unix:PATH; may be repeated",
          false },
        { OPTION_ADVERTISE, "advertise", "ADDRESS", "what clients are told to connect to", false },
        { OPTION_SET, "set", "KEY=VALUE", "set a configuration key; may be repeated", false },
        { OPTION_CHECK_CONFIG,
          "check-config",
          NULL,
          "say what is wrong with the configuration, and exit",
          false },
        { OPTION_DEBUG, "debug", NULL, "log debug messages too", false },
#ifdef DRMQ_PLANTED_BUGS
        { OPTION_PLANT, "plant", "BUG", "switch a planted bug on: this build is for tests", false },
#endif
        OPTIONS_COMMON,
};

static const struct program program = {
        .name = "drmqd",
        .usage = "[OPTION]...",
        .summary = "The daemon of DRMQ, a reliable message queue: one node.",
        .options = option_specs,
        .n_options = ELEMENTSOF(option_specs),
        .footer = "drmq.conf(5) lists the keys that --set and files take.",
};

static struct config_argument *arg_arguments;
static size_t arg_n_arguments, arg_n_allocated;
static const char *arg_file;
static bool arg_check;

/* The options that are keys. */
static const struct key_option {
        int id;
        const char *option;
        const char *key;
} key_options[] = {
        { OPTION_NODE, "--node", "node.name" },
        { OPTION_NODE_ID, "--node-id", "node.id" },
        { OPTION_DATA_DIR, "--data-dir", "node.data_dir" },
        { OPTION_PORT, "--port", "node.listen" },
        { OPTION_LISTEN, "--listen", "node.listen" },
        { OPTION_ADVERTISE, "--advertise", "node.advertise" },
        { OPTION_DEBUG, "--debug", "node.log_level" },
};

static int add_argument(const struct config_key *k, const char *value, const char *option) {
        _cleanup_(mem_freep) char *copy = mem_strdup(value);

        if (!copy || !grow(arg_arguments, arg_n_allocated, arg_n_arguments + 1))
                return log_oom();

        arg_arguments[arg_n_arguments++] =
                (struct config_argument){ .key = k, .value = TAKE_PTR(copy), .option = option };
        return 0;
}

/* Whether the value can be had, by itself: what is wrong with the command line is wrong usage. */
static int check_argument(const struct options *o,
                          const struct config_key *k,
                          const char *value,
                          const char *option) {
        _cleanup_(mem_freep) char *wanted = NULL;
        struct config scratch;
        int r;

        config_init(&scratch);
        r = config_assign(&scratch, k, value, CONFIG_COMMAND_LINE, option);
        config_done(&scratch);
        if (r >= 0)
                return 0;

        wanted = r == -ENOMEM ? NULL : config_key_describe(k);
        if (!wanted)
                return log_oom();
        return options_error(o,
                             "%s: \"%s\" is %s for %s: it takes %s",
                             option,
                             value,
                             r == -ERANGE ? "out of range" : "malformed",
                             k->name,
                             wanted);
}

static int set_key(const struct options *o, const char *assignment) {
        _cleanup_(mem_freep) char *name = NULL, *suggestion = NULL;
        const char *equals = strchr(assignment, '=');
        const struct config_key *k;
        int r;

        if (!equals)
                return options_error(o, "--set takes section.key=value: \"%s\"", assignment);

        k = config_key_find(assignment, (size_t) (equals - assignment));
        if (!k) {
                name = mem_strndup(assignment, (size_t) (equals - assignment));
                suggestion = name ? config_suggest(NULL, name) : NULL;
                if (!suggestion)
                        return log_oom();
                return options_error(o, "--set: there is no key \"%s\"%s", name, suggestion);
        }

        r = check_argument(o, k, equals + 1, "--set");
        return r < 0 ? r : add_argument(k, equals + 1, "--set");
}

static int set_option(const struct options *o, int id, const char *value) {
        _cleanup_(mem_freep) char *local = NULL;
        const struct key_option *k = key_options;
        const struct config_key *key;
        uint64_t port;
        int r;

        while (k->id != id)
                k++;
        assert(k < key_options + ELEMENTSOF(key_options));
        key = config_key_find(k->key, strlen(k->key));

        if (id == OPTION_PORT) {
                r = options_uint(o, value, 0, UINT16_MAX, &port);
                if (r < 0)
                        return r;
                local = mem_asprintf("127.0.0.1:%" PRIu64, port);
                if (!local)
                        return log_oom();
                value = local;
        } else if (id == OPTION_DEBUG)
                value = "debug";
        else if (value[0] == '\0')
                return options_error(o, "%s needs a value", k->option);

        r = check_argument(o, key, value, k->option);
        return r < 0 ? r : add_argument(key, value, k->option);
}

static int parse_option(const struct options *o, int id, const char *value) {
        switch (id) {
        case OPTION_SET:
                return set_key(o, value);
        case OPTION_CONFIG:
                arg_file = value;
                return 0;
        case OPTION_CHECK_CONFIG:
                arg_check = true;
                return 0;
        case OPTION_PLANT:
                return bug_plant(value) < 0 ? options_error(o, "No such bug: \"%s\"", value) : 0;
        default:
                return set_option(o, id, value);
        }
}

static int parse_argv(int argc, char **argv) {
        const char *value;
        struct options o;
        int id, r;

        options_init(&o, &program, argc, argv);
        while ((id = options_next(&o, &value)) > 0) {
                r = parse_option(&o, id, value);
                if (r < 0)
                        return r;
        }
        if (id < 0)
                return id;
        if (o.n_args > 0)
                return options_error(&o, "No arguments are expected: \"%s\"", o.args[0]);

        return 0;
}

static int run(int argc, char **argv) {
        _cleanup_(config_notes_done) struct config_notes notes = {};
        struct config_sources sources;
        struct config c;
        int r;

        r = parse_argv(argc, argv);
        if (r < 0)
                return r == -ECANCELED ? EX_OK
                       : r == -EINVAL  ? EX_USAGE
                       : r == -EIO     ? EX_IOERR
                                       : EX_OSERR;

        sources = (struct config_sources){
                .file = arg_file,
                .path = getenv("DRMQ_CONFIG_PATH"),
                .environment = environ,
                .arguments = arg_arguments,
                .n_arguments = arg_n_arguments,
        };
        r = config_load(&sources, &c, &notes);
        if (r >= 0 && !arg_check)
                log_set_max_level((int) c.log_level);
        shell_log_notes(&notes, arg_check ? LOG_WARNING : LOG_DEBUG);
        if (r == -ENOMEM)
                log_oom();
        if (r < 0)
                return r == -EINVAL ? EX_CONFIG : EX_OSERR;

        r = arg_check ? EX_OK : shell_run(&c, &sources);
        config_done(&c);
        return r;
}

static void arguments_done(void) {
        for (size_t i = 0; i < arg_n_arguments; i++)
                mem_free(arg_arguments[i].value);
        arg_arguments = mem_free(arg_arguments);
}

int main(int argc, char **argv) {
        int r;

        log_setup("drmqd", LOG_INFO);
        (void) journal_set_sink();
        /* The threads allocate little: one arena for all keeps an idle daemon small. */
        (void) mallopt(M_ARENA_MAX, 1);
        /* What was a peak goes back: large requests at once, others where so much is free. */
        (void) mallopt(M_MMAP_THRESHOLD, 4 << 20);
        (void) mallopt(M_TRIM_THRESHOLD, 16 << 20);

        r = run(argc, argv);
        arguments_done();
        return r;
}
