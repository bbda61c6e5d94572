/* SPDX-License-Identifier: Apache-2.0 */

/* drmq-snapshot: back up a node and bring it back. The verbs and their options. */

#include "base/fs.h"
#include "base/logging.h"
#include "cli/connect.h"
#include "cli/exit-code.h"
#include "cli/interrupt.h"
#include "cli/verbs.h"
#include "drmq-snapshot/tool.h"

enum {
        ARG_JSON = OPTION_LONG(0),
        ARG_TO,
        ARG_DIR,
        ARG_NAME,
        ARG_DATA_DIR,
        ARG_LEVEL,
        ARG_PROGRESS,
        ARG_TIMEOUT,
};

#define LEVEL_MAX 19u

static const struct option_spec options[] = {
        { ARG_TO, "to", "FILE", "create: write an archive to FILE; - is stdout", true },
        { ARG_DIR, "dir", "DIR", "create: of the directory of a node that is stopped", true },
        { ARG_NAME, "name", "NAME", "create: the name of the snapshot", true },
        { ARG_LEVEL, "level", "N", "create: compress so hard, 1 (default) to 19", true },
        { ARG_DATA_DIR, "data-dir", "DIR", "restore: the directory to make", true },
        { ARG_PROGRESS, "progress", NULL, "create, restore, verify: show how far it is", true },
        { ARG_JSON, "json", NULL, "answer in JSON, an object a line", false },
        { 'b', "brokers", "LIST", "where the brokers are: host:port,unix:/path,...", false },
        { ARG_TIMEOUT, "timeout", "TIME", "give up after TIME (default 30s)", false },
        OPTIONS_COMMON,
};

static const int create_options[] = { ARG_TO, ARG_DIR, ARG_NAME, ARG_LEVEL, ARG_PROGRESS, 0 };
static const int verify_options[] = { ARG_PROGRESS, 0 };
static const int restore_options[] = { ARG_DATA_DIR, ARG_PROGRESS, 0 };

static const struct verb verbs[] = {
        { "create",
          "",
          0,
          0,
          create_options,
          "make a snapshot: held by the node, or with --to an archive",
          create_run },
        { "list", "", 0, 0, NULL, "the snapshots that the node holds", list_run },
        { "delete", "NAME...", 1, VERB_ANY, NULL, "give back what they hold", delete_run },
        { "inspect", "FILE", 1, 1, NULL, "what an archive holds", inspect_run },
        { "verify", "FILE", 1, 1, verify_options, "check all of an archive", verify_run },
        { "restore",
          "FILE",
          1,
          1,
          restore_options,
          "make a node's directory of an archive",
          restore_run },
};

static const struct program program = {
        .name = "drmq-snapshot",
        .usage = "[OPTION]... VERB [ARGUMENT]...",
        .summary = "Back up a node while it runs, and bring it back.",
        .options = options,
        .n_options = ELEMENTSOF(options),
        .verbs = verbs,
        .n_verbs = ELEMENTSOF(verbs),
};

static struct tool arg_tool = { .timeout_usec = CONNECT_TIMEOUT_USEC };
static const struct verb *arg_verb;
static char **arg_args;
static size_t arg_n_args;

static void on_signal(unsigned n) {
        (void) n;
        create_interrupt();
}

static int parse_option(struct options *o, int id, const char *value) {
        uint64_t v;
        int r;

        switch (id) {
        case ARG_TO:
                arg_tool.to = value;
                return 0;
        case ARG_DIR:
                arg_tool.dir = value;
                return 0;
        case ARG_NAME:
                arg_tool.name = value;
                return 0;
        case ARG_DATA_DIR:
                arg_tool.data_dir = value;
                return 0;
        case ARG_LEVEL:
                r = options_uint(o, value, 1, LEVEL_MAX, &v);
                if (r >= 0)
                        arg_tool.level = (int) v;
                return r;
        case ARG_PROGRESS:
                arg_tool.progress = true;
                return 0;
        case ARG_JSON:
                arg_tool.form = OUTPUT_JSON;
                return 0;
        case 'b':
                arg_tool.brokers = value;
                return 0;
        case ARG_TIMEOUT:
                return options_duration(o, value, &arg_tool.timeout_usec);
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
        r = verbs_find(&o, &arg_verb, &arg_args, &arg_n_args);
        if (r < 0)
                return r;

        if (arg_tool.dir && !arg_tool.to)
                return options_error(&o, "--dir needs --to: a stopped node holds no snapshots");
        if (arg_tool.level > 0 && !arg_tool.to)
                return options_error(&o, "--level needs --to: nothing else is compressed");
        r = options_exclude(&o, ARG_DIR, 'b');
        if (r < 0)
                return r;
        if (arg_verb->run == restore_run && !arg_tool.data_dir)
                return options_error(&o, "restore needs --data-dir");
        return 0;
}

int main(int argc, char **argv) {
        int r;

        log_setup("drmq-snapshot", LOG_INFO);
        (void) fd_hold_standard();
        r = interrupt_setup(on_signal);
        if (r < 0)
                return exit_code_of(log_error_errno(r, "Cannot watch for signals: %m"));

        r = parse_argv(argc, argv);
        if (r < 0)
                return options_exit_code(r);
        return exit_code_of(arg_verb->run(arg_args, arg_n_args, &arg_tool));
}
