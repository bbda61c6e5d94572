/* SPDX-License-Identifier: Apache-2.0 */
/* drmqd: options, then shell_run(). */
#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <sysexits.h>

#include "base/alloc.h"
#include "base/bug.h"
#include "base/logging.h"
#include "drmqd/shell.h"
#include "loop/journal.h"

static struct config arg_config;

static void help(void) {
        printf("drmqd [OPTION]...\n\n"
               "The daemon of DRMQ, a distributed, reliable message queue: one node.\n\n"
               "  -h, --help              Show this help\n"
               "      --version           Show the version\n"
               "      --node NAME         Name of the node (default: node1)\n"
               "      --node-id N         Number of the node (default: the directory's, or 1)\n"
               "      --data-dir DIR      Where the log is (default: /var/lib/drmq/NAME)\n"
               "      --port N            Listen on 127.0.0.1:N (default: 9092; 0: a free one)\n"
               "      --listen ADDRESS    Listen on HOST:PORT or unix:PATH; may be repeated\n"
               "      --advertise ADDRESS What clients are told to connect to\n"
               "      --set KEY=VALUE     Set a key; may be repeated\n"
               "      --debug             Log debug messages too\n"
#ifdef DRMQ_PLANTED_BUGS
               "      --plant BUG         Switch a planted bug on (this is a test build)\n"
#endif
               "\nKeys, with their defaults:\n");
        config_print_keys(stdout);
        printf("\nSee drmqd(8).\n");
}

static int usage_error(const char *what, const char *value) {
        log_error("%s: \"%s\"", what, value);
        fprintf(stderr, "Try 'drmqd --help'.\n");
        return -EX_USAGE;
}

static int add_listen(const char *text, bool is_port) {
        _cleanup_(mem_freep) char *full = NULL;
        struct config *c = &arg_config;
        uint64_t port;
        int r;

        if (c->n_listen >= LISTEN_MAX)
                return usage_error("Too many addresses to listen on", text);
        if (is_port) {
                r = parse_uint64_range(text, 0, UINT16_MAX, &port);
                if (r < 0)
                        return usage_error("Not a port", text);
                full = mem_asprintf("127.0.0.1:%s", text);
                if (!full)
                        return log_oom();
                text = full;
        }

        r = parse_address(text, 9092, &c->listen[c->n_listen]);
        if (r < 0)
                return usage_error("Not an address (HOST:PORT or unix:PATH)", text);
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

/* Return: 1 go on; 0 done; negative: an exit status. */
static int parse_argv(int argc, char **argv) {
        enum { OPT_VERSION = 0x100, OPT_NODE, OPT_NODE_ID, OPT_DATA_DIR, OPT_PORT, OPT_LISTEN, OPT_ADVERTISE, OPT_SET,
               OPT_DEBUG, OPT_PLANT };
        static const struct option options[] = {
                { "help", no_argument, NULL, 'h' },
                { "version", no_argument, NULL, OPT_VERSION },
                { "node", required_argument, NULL, OPT_NODE },
                { "node-id", required_argument, NULL, OPT_NODE_ID },
                { "data-dir", required_argument, NULL, OPT_DATA_DIR },
                { "port", required_argument, NULL, OPT_PORT },
                { "listen", required_argument, NULL, OPT_LISTEN },
                { "advertise", required_argument, NULL, OPT_ADVERTISE },
                { "set", required_argument, NULL, OPT_SET },
                { "debug", no_argument, NULL, OPT_DEBUG },
#ifdef DRMQ_PLANTED_BUGS
                { "plant", required_argument, NULL, OPT_PLANT },
#endif
                {},
        };
        struct config *c = &arg_config;
        int o, r = 0;

        while ((o = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
                _cleanup_(mem_freep) char *why = NULL;
                struct address advertised = {};

                switch (o) {
                case 'h':
                        help();
                        return 0;
                case OPT_VERSION:
                        puts("drmqd " DRMQ_VERSION);
                        return 0;
                case OPT_NODE:
                        if (!topic_name_is_valid(optarg))
                                return usage_error("Not a name for a node", optarg);
                        r = set_string(&c->node_name, optarg);
                        break;
                case OPT_NODE_ID:
                        if (parse_uint64_range(optarg, 1, INT32_MAX, &c->node_id) < 0)
                                return usage_error("Not a node's number (1 to 2147483647)", optarg);
                        break;
                case OPT_DATA_DIR:
                        if (optarg[0] == '\0')
                                return usage_error("Not a data directory", optarg);
                        r = set_string(&c->data_dir, optarg);
                        break;
                case OPT_PORT:
                case OPT_LISTEN:
                        r = add_listen(optarg, o == OPT_PORT);
                        break;
                case OPT_ADVERTISE:
                        r = parse_address(optarg, 9092, &advertised);
                        if (r < 0)
                                return usage_error("Not an address", optarg);
                        address_done(&advertised);
                        r = set_string(&c->advertise, optarg);
                        break;
                case OPT_SET:
                        r = config_set(c, optarg, &why);
                        if (r < 0)
                                return usage_error(why ? why : "out of memory", optarg);
                        break;
                case OPT_DEBUG:
                        log_setup("drmqd", LOG_DEBUG);
                        break;
                case OPT_PLANT:
                        if (bug_plant(optarg) < 0)
                                return usage_error("No such bug", optarg);
                        break;
                default:
                        fprintf(stderr, "Try 'drmqd --help'.\n");
                        return -EX_USAGE;
                }
                if (r < 0)
                        return r > -EX__BASE ? -EX_OSERR : r;
        }
        if (optind < argc)
                return usage_error("No arguments are expected", argv[optind]);

        return 1;
}

static int fill_names(void) {
        struct config *c = &arg_config;

        if (!c->node_name)
                c->node_name = mem_asprintf("node%" PRIu64, c->node_id == 0 ? 1 : c->node_id);
        if (c->node_name && !c->data_dir)
                c->data_dir = mem_asprintf("/var/lib/drmq/%s", c->node_name);
        return c->node_name && c->data_dir ? 0 : -ENOMEM;
}

int main(int argc, char **argv) {
        int r;

        log_setup("drmqd", LOG_INFO);
        (void) journal_set_sink();
        /* The threads allocate little: one arena for all keeps an idle daemon small. */
        (void) mallopt(M_ARENA_MAX, 1);

        config_init(&arg_config);
        r = parse_argv(argc, argv);
        if (r > 0)
                r = fill_names() < 0 ? EX_OSERR : shell_run(&arg_config);
        config_done(&arg_config);
        return r < 0 ? -r : r;
}
