/* SPDX-License-Identifier: Apache-2.0 */
/* drmqd: options, then shell_run(). Exit statuses as in sysexits(3). */
#include <inttypes.h>
#include <malloc.h>
#include <sysexits.h>

#include "base/alloc.h"
#include "base/bug.h"
#include "base/logging.h"
#include "cli/options.h"
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
};

static const struct option_spec option_specs[] = {
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
        .footer = "drmqd(8) lists the keys that --set takes.",
};

static struct config arg_config;

static int parse_address_option(const struct options *o,
                                const char *value,
                                bool is_port,
                                struct address *ret) {
        _cleanup_(mem_freep) char *local = NULL;
        uint64_t port;
        int r;

        if (is_port) {
                r = options_uint(o, value, 0, UINT16_MAX, &port);
                if (r < 0)
                        return r;
                local = mem_asprintf("127.0.0.1:%" PRIu64, port);
                if (!local)
                        return log_oom();
                value = local;
        }

        r = parse_address(value, DEFAULT_PORT, ret);
        if (r == -ENOMEM)
                return log_oom();
        return r < 0 ? options_error(o, "Not an address (HOST:PORT or unix:PATH): \"%s\"", value)
                     : 0;
}

static int add_listen(const struct options *o, const char *value, bool is_port) {
        struct config *c = &arg_config;
        int r;

        if (c->n_listen >= LISTEN_MAX)
                return options_error(o, "More than %u addresses to listen on", LISTEN_MAX);

        r = parse_address_option(o, value, is_port, &c->listen[c->n_listen]);
        if (r < 0)
                return r;
        c->n_listen++;
        return 0;
}

static int set_string(char **s, const char *value) {
        char *copy = mem_strdup(value);

        if (!copy)
                return log_oom();
        mem_free(*s);
        *s = copy;
        return 0;
}

static int set_key(const struct options *o, const char *value) {
        _cleanup_(mem_freep) char *why = NULL;
        int r;

        r = config_set(&arg_config, value, &why);
        if (r == -ENOMEM)
                return log_oom();
        return r < 0 ? options_error(o, "--set %s: %s", value, why ? why : "not a setting") : 0;
}

static int parse_option(const struct options *o, int id, const char *value) {
        struct config *c = &arg_config;
        struct address address = {};
        int r;

        switch (id) {
        case OPTION_NODE:
                if (!topic_name_is_valid(value))
                        return options_error(o, "Not a name for a node: \"%s\"", value);
                return set_string(&c->node_name, value);
        case OPTION_NODE_ID:
                return options_uint(o, value, 1, INT32_MAX, &c->broker.node_id);
        case OPTION_DATA_DIR:
                if (value[0] == '\0')
                        return options_error(o, "--data-dir needs a folder");
                return set_string(&c->data_dir, value);
        case OPTION_PORT:
        case OPTION_LISTEN:
                return add_listen(o, value, id == OPTION_PORT);
        case OPTION_ADVERTISE:
                r = parse_address_option(o, value, false, &address);
                if (r < 0)
                        return r;
                address_done(&address);
                return set_string(&c->advertise, value);
        case OPTION_SET:
                return set_key(o, value);
        case OPTION_DEBUG:
                c->log_level = LOG_DEBUG;
                return 0;
        case OPTION_PLANT:
                return bug_plant(value) < 0 ? options_error(o, "No such bug: \"%s\"", value) : 0;
        default:
                assert(false);
                return -EINVAL;
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
        struct config *c = &arg_config;
        int r;

        r = parse_argv(argc, argv);
        if (r < 0)
                return r == -ECANCELED ? EX_OK
                       : r == -EINVAL  ? EX_USAGE
                       : r == -EIO     ? EX_IOERR
                                       : EX_OSERR;

        log_set_max_level((int) c->log_level);
        if (!c->node_name)
                c->node_name = mem_asprintf("node%" PRIu64,
                                            c->broker.node_id == 0 ? 1 : c->broker.node_id);
        if (c->node_name && !c->data_dir)
                c->data_dir = mem_asprintf("/var/lib/drmq/%s", c->node_name);
        if (!c->node_name || !c->data_dir) {
                log_oom();
                return EX_OSERR;
        }

        return shell_run(c);
}

int main(int argc, char **argv) {
        int r;

        log_setup("drmqd", LOG_INFO);
        (void) journal_set_sink();
        /* The threads allocate little: one arena for all keeps an idle daemon small. */
        (void) mallopt(M_ARENA_MAX, 1);

        config_init(&arg_config);
        r = run(argc, argv);
        config_done(&arg_config);
        return r;
}
