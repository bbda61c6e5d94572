/* SPDX-License-Identifier: Apache-2.0 */

/* drmq-send: lines in, messages out. Options and what they exclude; the work is in sources.c and
 * sender.c. */

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/logging.h"
#include "base/parse.h"
#include "cli/connect.h"
#include "cli/exit-code.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/writer.h"
#include "drmq-send/sources.h"

enum {
        ARG_FILE = OPTION_LONG(0),
        ARG_JSON,
        ARG_FRAMED,
        ARG_PARTITION,
        ARG_PARTITIONER,
        ARG_ACKS,
        ARG_LINGER,
        ARG_BATCH,
        ARG_RATE,
        ARG_ATOMIC,
        ARG_OFFSETS,
        ARG_PROGRESS,
        ARG_TIMEOUT,
};

static const struct option_spec options[] = {
        { '0', "null", NULL, "messages end in NUL, not in a newline", false },
        { 'D', "delimiter", "STR", "messages end in STR; C escapes are understood", false },
        { ARG_FILE, "file", NULL, "the arguments are files, each a message", false },
        { ARG_JSON, "json", NULL, "each line is a JSON object", false },
        { ARG_FRAMED, "framed", NULL, "each message has its length before it, 4 bytes", false },
        { 'k', "key", "KEY", "key of all messages", false },
        { 'K', "key-separator", "SEP", "the key stands before SEP in each message", false },
        { 'H', "header", "NAME=VALUE", "add a header; may be repeated", false },
        { ARG_PARTITION, "partition", "N", "send to this partition", false },
        { ARG_PARTITIONER,
          "partitioner",
          "RULE",
          "how keys choose partitions: murmur2 (default), crc32 or round-robin",
          false },
        { 'z', "compress", "CODEC", "none (default), gzip, snappy, lz4 or zstd", false },
        { ARG_ACKS, "acks", "WHOSE", "wait for all (default), leader or none", false },
        { ARG_LINGER, "linger", "TIME", "wait so long to fill a batch (default 5ms)", false },
        { ARG_BATCH, "batch", "SIZE", "a batch is full at SIZE (default 256K)", false },
        { ARG_RATE, "rate", "N", "send at most N messages a second", false },
        { ARG_ATOMIC, "atomic", NULL, "all of the input or nothing, up to 16M", false },
        { ARG_OFFSETS,
          "offsets",
          NULL,
          "print topic, partition and offset of each message once it is in the log",
          false },
        { ARG_PROGRESS, "progress", NULL, "show rates and sums on stderr", false },
        { 'b', "brokers", "LIST", "where the brokers are: host:port,unix:/path,...", false },
        { ARG_TIMEOUT, "timeout", "TIME", "give up after TIME (default 30s)", false },
        OPTIONS_COMMON,
};

static const struct program program = {
        .name = "drmq-send",
        .usage = "[OPTION]... TOPIC [MESSAGE...]\n"
                 "--file [OPTION]... TOPIC FILE...",
        .summary =
                "Send messages to a topic: each MESSAGE, each FILE, or each line of stdin. Exit\n"
                "status 0 says that every one is in the log, once, synced.",
        .options = options,
        .n_options = ELEMENTSOF(options),
};

static const char *arg_brokers;
static const char *arg_topic;
static const char *arg_key;
static bool arg_file, arg_json, arg_null, arg_framed, arg_has_delimiter;
static char *arg_delimiter, *arg_key_separator;
static size_t arg_n_delimiter, arg_n_key_separator;
static struct drmq_header *arg_headers;
static size_t arg_n_headers, arg_n_headers_allocated;
static uint32_t arg_partition = DRMQ_PARTITION_ANY;
static usec_t arg_timeout_usec = CONNECT_TIMEOUT_USEC;
static struct sender_config arg_config = { .linger_usec = USEC_INFINITY };
static char **arg_messages;
static size_t arg_n_messages;

/* What the second signal interrupts. */
static drmq_client *client;

static void on_signal(unsigned n) {
        if (n > 1 && client)
                drmq_client_interrupt(client);
}

static int parse_bytes(
        const struct options *o, const char *option, const char *value, char **ret, size_t *ret_n) {
        char *bytes;
        int r;

        r = parse_escapes(value, &bytes, ret_n);
        if (r == -ENOMEM)
                return log_oom();
        if (r < 0)
                return options_error(o, "Option %s: '%s' has an unknown escape", option, value);
        if (*ret_n == 0) {
                mem_free(bytes);
                return options_error(o, "Option %s must not be empty", option);
        }
        mem_free(*ret);
        *ret = bytes;
        return 0;
}

/* Names are texts; values may be any bytes that an argument can hold. */
static int parse_header(const struct options *o, const char *value) {
        const char *equals = strchr(value, '=');
        struct drmq_header h = { 0 };
        char *name;

        if (!equals || equals == value)
                return options_error(o, "Option -H/--header: '%s' is not NAME=VALUE", value);
        if (!utf8_is_valid(value, (size_t) (equals - value)))
                return options_error(o, "Option -H/--header: the name is not UTF-8");

        if (!grow(arg_headers, arg_n_headers_allocated, arg_n_headers + 1))
                return log_oom();
        name = mem_strndup(value, (size_t) (equals - value));
        if (!name)
                return log_oom();
        h.name = name;
        h.value = equals + 1;
        h.value_size = strlen(equals + 1);
        arg_headers[arg_n_headers++] = h;
        return 0;
}

static int parse_option(struct options *o, int id, const char *value) {
        static const char *const codecs[] = { "none", "gzip", "snappy", "lz4", "zstd", NULL };
        static const char *const acks[] = { "all", "leader", "none", NULL };
        static const char *const partitioners[] = { "murmur2", "crc32", "round-robin", NULL };
        uint64_t v;
        unsigned which;
        int r;

        switch (id) {
        case '0':
                arg_null = true;
                return 0;
        case 'D':
                arg_has_delimiter = true;
                return parse_bytes(o, "-D/--delimiter", value, &arg_delimiter, &arg_n_delimiter);
        case ARG_FILE:
                arg_file = true;
                return 0;
        case ARG_JSON:
                arg_json = true;
                return 0;
        case ARG_FRAMED:
                arg_framed = true;
                return 0;
        case 'k':
                arg_key = value;
                return 0;
        case 'K':
                return parse_bytes(
                        o, "-K/--key-separator", value, &arg_key_separator, &arg_n_key_separator);
        case 'H':
                return parse_header(o, value);
        case ARG_PARTITION:
                r = options_uint(o, value, 0, DRMQ_PARTITION_ANY - 1, &v);
                if (r >= 0)
                        arg_partition = (uint32_t) v;
                return r;
        case ARG_PARTITIONER:
                r = options_choice(o, value, partitioners, &which);
                if (r >= 0)
                        arg_config.partitioner = (enum drmq_partitioner) which;
                return r;
        case 'z':
                r = options_choice(o, value, codecs, &which);
                if (r >= 0)
                        arg_config.codec = (enum drmq_codec) which;
                return r;
        case ARG_ACKS:
                r = options_choice(o, value, acks, &which);
                if (r >= 0)
                        arg_config.acks = (enum drmq_acks) which;
                return r;
        case ARG_LINGER:
                return options_duration(o, value, &arg_config.linger_usec);
        case ARG_BATCH:
                return options_size(o, value, 1 << 10, 8 << 20, &arg_config.batch_bytes);
        case ARG_RATE:
                return options_uint(o, value, 1, UINT32_MAX, &arg_config.rate);
        case ARG_ATOMIC:
                arg_config.is_atomic = true;
                return 0;
        case ARG_OFFSETS:
                arg_config.has_offsets = true;
                return 0;
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

/* What makes no sense together. */
static int check_options(const struct options *o) {
        static const int pairs[][2] = {
                { '0', 'D' },        { '0', ARG_FILE },        { '0', ARG_JSON },
                { '0', ARG_FRAMED }, { 'D', ARG_FILE },        { 'D', ARG_JSON },
                { 'D', ARG_FRAMED }, { ARG_FILE, ARG_JSON },   { ARG_FILE, ARG_FRAMED },
                { ARG_FILE, 'K' },   { ARG_JSON, ARG_FRAMED }, { ARG_JSON, 'K' },
                { 'k', 'K' },
        };
        int r;

        for (size_t i = 0; i < ELEMENTSOF(pairs); i++) {
                r = options_exclude(o, pairs[i][0], pairs[i][1]);
                if (r < 0)
                        return r;
        }

        if (arg_config.acks == DRMQ_ACKS_NONE && arg_config.has_offsets)
                return options_error(o, "--offsets needs acks: offsets come with them");
        if (arg_config.acks == DRMQ_ACKS_NONE && arg_config.is_atomic)
                return options_error(o, "--atomic needs acks");
        if (arg_n_messages > 0 && (arg_null || arg_has_delimiter || arg_json || arg_framed))
                return options_error(
                        o, "'%s': with this form messages come from stdin", arg_messages[0]);
        if (arg_file && arg_n_messages == 0)
                return options_error(o, "--file needs the names of files");
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
                return options_error(&o, "Name the topic");
        arg_topic = o.args[0];
        if (!topic_name_is_valid(arg_topic))
                return options_error(&o, "'%s' is not a topic's name", arg_topic);
        arg_messages = o.args + 1;
        arg_n_messages = o.n_args - 1;
        return check_options(&o);
}

/* What the bar goes up to: messages, files, or bytes of a file that is stdin; 0: nobody knows. */
static uint64_t total(void) {
        struct stat st;
        off_t pos;

        if (arg_n_messages > 0)
                return arg_n_messages;
        if (fstat(STDIN_FILENO, &st) < 0 || !S_ISREG(st.st_mode))
                return 0;
        pos = lseek(STDIN_FILENO, 0, SEEK_CUR);
        return pos >= 0 && pos < st.st_size ? (uint64_t) (st.st_size - pos) : 0;
}

static int send_all(struct sender *s) {
        struct source src = {
                .message = {
                        .topic = arg_topic,
                        .partition = arg_partition,
                        .key = arg_key,
                        .key_size = arg_key ? strlen(arg_key) : 0,
                        .headers = arg_headers,
                        .n_headers = arg_n_headers,
                },
                .delimiter = "\n",
                .n_delimiter = 1,
                .is_json = arg_json,
                .key_separator = arg_key_separator,
                .n_key_separator = arg_n_key_separator,
                .unit = "Line",
        };

        if (arg_file)
                return source_send_files(&src, s, arg_messages, arg_n_messages);
        if (arg_n_messages > 0)
                return source_send_arguments(&src, s, arg_messages, arg_n_messages);

        if (arg_null)
                src.delimiter = "";
        if (arg_has_delimiter) {
                src.delimiter = arg_delimiter;
                src.n_delimiter = arg_n_delimiter;
        }
        if (arg_framed)
                src.n_delimiter = 0;
        if (arg_null || arg_has_delimiter || arg_framed)
                src.unit = "Message";
        return source_send_stream(&src, s, STDIN_FILENO);
}

static int run(void) {
        struct sender s;
        int r;

        r = connect_new(arg_brokers, arg_timeout_usec, &client);
        if (r < 0)
                return r == -EINVAL ? EXIT_USAGE : r;

        arg_config.total = total();
        r = sender_init(&s, client, &arg_config);
        if (r >= 0)
                r = sender_finish(&s, send_all(&s));
        sender_done(&s);
        return r;
}

static void forget_arguments(void) {
        for (size_t i = 0; i < arg_n_headers; i++)
                mem_free((char *) arg_headers[i].name);
        arg_headers = mem_free(arg_headers);
        arg_delimiter = mem_free(arg_delimiter);
        arg_key_separator = mem_free(arg_key_separator);
}

int main(int argc, char **argv) {
        drmq_client *c;
        int r;

        log_setup("drmq-send", LOG_INFO);
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
        forget_arguments();
        return r;
}
