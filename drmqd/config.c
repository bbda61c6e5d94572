/* SPDX-License-Identifier: Apache-2.0 */
/* The table of keys, and their values. */
#include "drmqd/config.h"

#include <inttypes.h>
#include <stdio.h>
#include <syslog.h>

#include "base/alloc.h"
#include "base/format.h"
#include "log/shard-log.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define TIB (UINT64_C(1) << 40)
#define MEMBER(m) offsetof(struct config, m)

/* One entry is one thought. */
/* clang-format off */
const struct config_key config_keys[] = {
        { "node.name", CONFIG_NAME, MEMBER(node_name), 1, TOPIC_NAME_MAX, "node1", false,
          "name of the node", {} },
        { "node.id", CONFIG_COUNT, MEMBER(broker.node_id), 1, INT32_MAX, "auto", false,
          "number of the node", { { "auto", 0 } } },
        { "node.data_dir", CONFIG_PATH, MEMBER(data_dir), 0, 0, "/var/lib/drmq/NAME", false,
          "where the log is", {} },
        { "node.listen", CONFIG_ADDRESSES, MEMBER(listen), 0, LISTEN_MAX, "127.0.0.1:9092", false,
          "addresses to listen on", {} },
        { "node.advertise", CONFIG_ADDRESS, MEMBER(advertise), 0, 0, "the first address", false,
          "what clients are told to connect to", {} },
        { "node.log_level", CONFIG_CHOICE, MEMBER(log_level), 0, 0, "info", true,
          "what is told to the journal or the terminal",
          { { "err", LOG_ERR }, { "warning", LOG_WARNING }, { "notice", LOG_NOTICE },
            { "info", LOG_INFO }, { "debug", LOG_DEBUG } } },

        { "topics.auto_create", CONFIG_BOOL, MEMBER(broker.auto_create), 0, 1, "yes", true,
          "a topic that is sent to is made when it does not exist", {} },
        { "topics.partitions", CONFIG_COUNT, MEMBER(broker.default_partitions), 1, 10000, "1", true,
          "partitions of a topic for which nobody says how many", {} },

        { "log.segment_size", CONFIG_SIZE, MEMBER(broker.segment_bytes),
          SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX, "64M", false,
          "size of the files of the log", {} },
        { "log.group_size", CONFIG_SIZE, MEMBER(broker.group_bytes), 4096, 32 * MIB, "1M", false,
          "a group write ends when it is so large", {} },
        { "log.sync", CONFIG_DURATION, MEMBER(broker.sync_usec), USEC_PER_MSEC, USEC_PER_HOUR, "group", true,
          "when messages are synced: before they are acknowledged (group), or at the latest so long after, or never",
          { { "group", 0 }, { "never", USEC_INFINITY } } },
        { "log.reserve", CONFIG_SIZE, MEMBER(broker.reserve_bytes), 0, TIB, "64M", true,
          "space of the file system that messages leave free", {} },
        { "log.checkpoint_size", CONFIG_SIZE, MEMBER(broker.checkpoint_bytes), MIB, TIB, "128M", true,
          "a checkpoint is written after so much of log", {} },
        { "log.max_bytes", CONFIG_SIZE, MEMBER(broker.log_max_bytes), MIB, 1024 * TIB, "off", true,
          "what is more than this goes, the oldest first", { { "off", 0 } } },
        { "log.max_age", CONFIG_DURATION, MEMBER(broker.log_max_age_usec),
          USEC_PER_SEC, 36500 * USEC_PER_DAY, "off", true,
          "what is older than this goes", { { "off", 0 } } },

        { "limits.request_bytes", CONFIG_SIZE, MEMBER(broker.request_budget_bytes),
          17 * MIB, TIB, "48M", true,
          "memory for what is being received and not yet answered", {} },
        { "limits.fetch_bytes", CONFIG_SIZE, MEMBER(broker.fetch_budget_bytes), MIB, TIB, "32M", true,
          "memory for what is being sent to readers", {} },
        { "limits.answer_bytes", CONFIG_SIZE, MEMBER(broker.answer_budget_bytes), MIB, TIB, "48M", true,
          "memory for other answers that wait to be sent", {} },
        { "limits.poll_bytes", CONFIG_SIZE, MEMBER(broker.poll_budget_bytes), MIB, TIB, "48M", true,
          "memory for readers that wait for messages", {} },
        { "limits.append_bytes", CONFIG_SIZE, MEMBER(broker.append_budget_bytes), MIB, GIB, "8M", false,
          "memory for messages that wait to be written", {} },
        { "limits.batch_size", CONFIG_SIZE, MEMBER(broker.batch_bytes_max), 1024, 16 * MIB, "16M", true,
          "the largest batch that is taken", {} },
        { "limits.requests", CONFIG_COUNT, MEMBER(broker.requests_per_connection), 1, 65536, "512", true,
          "requests of one connection that are under way", {} },
        { "limits.output_bytes", CONFIG_SIZE, MEMBER(broker.connection_out_bytes), 65536, GIB, "4M", true,
          "answers of one connection that wait to be sent", {} },
        { "limits.poll_time", CONFIG_DURATION, MEMBER(broker.poll_usec_max),
          USEC_PER_MSEC, USEC_PER_DAY, "10min", true,
          "how long a reader may wait for messages at a time", {} },
        { "limits.partitions", CONFIG_COUNT, MEMBER(broker.partitions_max), 1, 100000000, "1000000", true,
          "partitions that there may be, of all topics", {} },
        { "limits.positions", CONFIG_COUNT, MEMBER(broker.positions_max), 0, 100000000, "1000000", true,
          "positions that groups may commit", {} },
        { "limits.connections", CONFIG_COUNT, MEMBER(broker.connections_max), 1, 1000000, "10000", true,
          "connections that there may be", {} },
        { "limits.snapshots", CONFIG_COUNT, MEMBER(broker.snapshots_max), 0, 1000, "16", true,
          "snapshots that may be held", {} },
        { "limits.idle", CONFIG_DURATION, MEMBER(broker.idle_usec),
          100 * USEC_PER_MSEC, USEC_PER_DAY, "30s", true,
          "how long a connection may take for what it has begun", {} },

        { "metrics.partitions", CONFIG_COUNT, MEMBER(broker.metrics_partitions),
          0, METRICS_PARTITIONS_MAX, "1000", false,
          "partitions that have metrics of their own", {} },
};
/* clang-format on */
const size_t config_n_keys = ELEMENTSOF(config_keys);
static_assert(ELEMENTSOF(config_keys) <= CONFIG_KEYS_MAX, "each key has an origin");

/* Life */

void config_init(struct config *c) {
        assert(c);

        *c = (struct config){ .log_level = LOG_INFO };
        broker_config_init(&c->broker);
}

static void listen_clear(struct config *c) {
        for (size_t i = 0; i < c->n_listen; i++)
                address_done(c->listen + i);
        c->n_listen = 0;
}

void config_done(struct config *c) {
        assert(c);

        listen_clear(c);
        c->node_name = mem_free(c->node_name);
        c->data_dir = mem_free(c->data_dir);
        c->advertise = mem_free(c->advertise);
        for (size_t i = 0; i < config_n_keys; i++) {
                c->origins[i].where = mem_free(c->origins[i].where);
                c->pending[i] = mem_free(c->pending[i]);
        }
}

/* Keys */

const struct config_key *config_key_find(const char *name, size_t n) {
        assert(name);

        for (size_t i = 0; i < config_n_keys; i++)
                if (strlen(config_keys[i].name) == n && memcmp(config_keys[i].name, name, n) == 0)
                        return config_keys + i;
        return NULL;
}

/* In the largest unit that leaves no rest. */
static char *format_size(char dest[static FORMAT_MAX], uint64_t n_bytes) {
        static const char units[] = "\0KMGTPE";
        unsigned i = 0;

        while (n_bytes > 0 && n_bytes % 1024 == 0 && i + 2 < sizeof(units)) {
                n_bytes /= 1024;
                i++;
        }
        (void) snprintf(dest, FORMAT_MAX, "%" PRIu64 "%.1s", n_bytes, units + i);
        return dest;
}

static char *
format_number(char dest[static FORMAT_MAX], const struct config_key *k, uint64_t value) {
        for (size_t i = 0; i < CONFIG_WORDS_MAX && k->words[i].text; i++)
                if (k->words[i].value == value) {
                        (void) snprintf(dest, FORMAT_MAX, "%s", k->words[i].text);
                        return dest;
                }

        if (k->type == CONFIG_SIZE)
                return format_size(dest, value);
        if (k->type == CONFIG_DURATION)
                return format_duration(dest, value);
        (void) snprintf(dest, FORMAT_MAX, "%" PRIu64, value);
        return dest;
}

char *config_key_describe(const struct config_key *k) {
        char min[FORMAT_MAX], max[FORMAT_MAX], words[256] = "";
        const char *what = NULL;
        size_t n = 0;

        assert(k);

        for (size_t i = 0; i < CONFIG_WORDS_MAX && k->words[i].text && n < sizeof(words); i++) {
                bool is_last = i + 1 == CONFIG_WORDS_MAX || !k->words[i + 1].text;

                n += (size_t) snprintf(words + n,
                                       sizeof(words) - n,
                                       "%s%s",
                                       k->type != CONFIG_CHOICE ? is_last ? ", or " : ", "
                                       : i == 0                 ? ""
                                       : is_last                ? " or "
                                                                : ", ",
                                       k->words[i].text);
        }

        switch (k->type) {
        case CONFIG_BOOL:
                return mem_strdup("yes or no");
        case CONFIG_CHOICE:
                return mem_strdup(words);
        case CONFIG_NAME:
                return mem_asprintf("a name of up to %" PRIu64
                                    " letters, digits, dots, dashes and underscores",
                                    k->max);
        case CONFIG_PATH:
                return mem_strdup("a folder");
        case CONFIG_ADDRESS:
                return mem_strdup("HOST:PORT or unix:PATH");
        case CONFIG_ADDRESSES:
                return mem_asprintf("HOST:PORT or unix:PATH, up to %" PRIu64 " of them", k->max);
        case CONFIG_COUNT:
                what = "a number";
                break;
        case CONFIG_SIZE:
                what = "a size";
                break;
        case CONFIG_DURATION:
        default:
                what = "a time";
        }

        return mem_asprintf("%s from %s to %s%s",
                            what,
                            format_number(min, k, k->min),
                            format_number(max, k, k->max),
                            words);
}

const char *config_source_name(enum config_source source) {
        static const char *const names[] = {
                [CONFIG_DEFAULT] = "default",
                [CONFIG_FILE] = "file",
                [CONFIG_ENVIRONMENT] = "environment",
                [CONFIG_COMMAND_LINE] = "command line",
        };

        return names[source];
}

/* Values */

static int set_string(char **s, const char *value) {
        char *copy = mem_strdup(value);

        if (!copy)
                return -ENOMEM;

        mem_free(*s);
        *s = copy;
        return 0;
}

static int set_address(char **s, const char *value) {
        struct address address;
        int r;

        r = parse_address(value, DEFAULT_PORT, &address);
        if (r < 0)
                return r;

        address_done(&address);
        return set_string(s, value);
}

static int add_addresses(struct config *c, const char *value, bool replaces) {
        _cleanup_(mem_freep) char *with_commas = NULL;
        struct address *list;
        size_t n = 0;
        int r;

        /* Blanks part as commas do. */
        with_commas = mem_alloc(strlen(value) + 1);
        if (!with_commas)
                return -ENOMEM;
        for (const char *p = value; *p; p++)
                if (*p != ' ' && *p != '\t')
                        with_commas[n++] = *p;
                else if (n > 0 && with_commas[n - 1] != ',' && p[1] != ',' && p[1] != ' ' &&
                         p[1] != '\t' && p[1] != 0)
                        with_commas[n++] = ',';
        with_commas[n] = 0;

        r = parse_address_list(with_commas, DEFAULT_PORT, &list, &n);
        if (r < 0)
                return r;
        if (n > LISTEN_MAX - (replaces ? 0 : c->n_listen)) {
                address_array_free(list, n);
                return -ERANGE;
        }

        if (replaces)
                listen_clear(c);
        memcpy(c->listen + c->n_listen, list, n * sizeof(list[0]));
        c->n_listen += n;
        mem_free(list); /* without its strings, which have moved */
        return 0;
}

static int set_number(const struct config_key *k, uint64_t *member, const char *value) {
        uint64_t v;
        int r;

        for (size_t i = 0; i < CONFIG_WORDS_MAX && k->words[i].text; i++)
                if (streq(value, k->words[i].text)) {
                        *member = k->words[i].value;
                        return 0;
                }

        r = k->type == CONFIG_COUNT      ? parse_uint64(value, &v)
            : k->type == CONFIG_SIZE     ? parse_size(value, &v)
            : k->type == CONFIG_DURATION ? parse_duration(value, &v)
                                         : -EINVAL;
        if (r < 0)
                return r;
        if (v < k->min || v > k->max)
                return -ERANGE;

        *member = v;
        return 0;
}

static void set_default(struct config *c, const struct config_key *k) {
        void *member = (char *) c + k->member;
        struct config defaults;

        config_init(&defaults); /* holds nothing that is to be freed */
        switch (k->type) {
        case CONFIG_BOOL:
                *(bool *) member = *(bool *) ((char *) &defaults + k->member);
                break;
        case CONFIG_COUNT:
        case CONFIG_SIZE:
        case CONFIG_DURATION:
        case CONFIG_CHOICE:
                *(uint64_t *) member = *(uint64_t *) ((char *) &defaults + k->member);
                break;
        case CONFIG_NAME:
        case CONFIG_PATH:
        case CONFIG_ADDRESS:
                *(char **) member = mem_free(*(char **) member);
                break;
        case CONFIG_ADDRESSES:
        default:
                listen_clear(c);
        }
}

int config_assign(struct config *c,
                  const struct config_key *k,
                  const char *value,
                  enum config_source source,
                  const char *where) {
        _cleanup_(mem_freep) char *copy = NULL;
        struct config_origin *origin;
        void *member;
        int r;

        assert(c);
        assert(k);
        assert(value);
        assert(where);

        member = (char *) c + k->member;
        origin = c->origins + (k - config_keys);
        if (value[0] == '\0') {
                set_default(c, k);
                mem_free(origin->where);
                *origin = (struct config_origin){ .source = CONFIG_DEFAULT };
                return 0;
        }

        copy = mem_strdup(where);
        if (!copy)
                return -ENOMEM;

        switch (k->type) {
        case CONFIG_BOOL:
                r = parse_bool(value, member);
                break;
        case CONFIG_COUNT:
        case CONFIG_SIZE:
        case CONFIG_DURATION:
        case CONFIG_CHOICE:
                r = set_number(k, member, value);
                break;
        case CONFIG_NAME:
                r = topic_name_is_valid(value) ? set_string(member, value) : -EINVAL;
                break;
        case CONFIG_PATH:
                r = set_string(member, value);
                break;
        case CONFIG_ADDRESS:
                r = set_address(member, value);
                break;
        case CONFIG_ADDRESSES:
        default:
                r = add_addresses(c, value, /* replaces= */ origin->source != source);
        }
        if (r < 0)
                return r;

        mem_free(origin->where);
        *origin = (struct config_origin){ .source = source, .where = TAKE_PTR(copy) };
        return 0;
}

static char *format_addresses(const struct config *c) {
        char *text = NULL;

        for (size_t i = 0; i < c->n_listen; i++) {
                _cleanup_(mem_freep) char *one = format_address(c->listen + i), *before = text;

                text = one ? mem_asprintf("%s%s%s", before ? before : "", before ? " " : "", one)
                           : NULL;
                if (!text)
                        return NULL;
        }
        return text;
}

char *config_format(const struct config *c, const struct config_key *k) {
        const void *member;
        char number[FORMAT_MAX];

        assert(c);
        assert(k);

        member = (const char *) c + k->member;
        switch (k->type) {
        case CONFIG_BOOL:
                return mem_strdup(*(const bool *) member ? "yes" : "no");
        case CONFIG_COUNT:
        case CONFIG_SIZE:
        case CONFIG_DURATION:
        case CONFIG_CHOICE:
                return mem_strdup(format_number(number, k, *(const uint64_t *) member));
        case CONFIG_NAME:
        case CONFIG_PATH:
        case CONFIG_ADDRESS:
                return mem_strdup(*(char *const *) member ? *(char *const *) member
                                                          : k->default_text);
        case CONFIG_ADDRESSES:
        default:
                return c->n_listen > 0 ? format_addresses(c) : mem_strdup(k->default_text);
        }
}

/* For who asks */

struct broker_setting *config_settings_free(struct broker_setting *settings) {
        for (size_t i = 0; settings && i < config_n_keys; i++) {
                mem_free(settings[i].name);
                mem_free(settings[i].value);
                mem_free(settings[i].default_value);
                mem_free(settings[i].source);
                mem_free(settings[i].where);
                mem_free(settings[i].pending);
        }
        return mem_free(settings);
}

int config_settings_new(const struct config *c, struct broker_setting **ret) {
        _cleanup_(config_settings_freep) struct broker_setting *settings = NULL;

        assert(c);
        assert(ret);

        settings = new0(struct broker_setting, config_n_keys);
        if (!settings)
                return -ENOMEM;

        for (size_t i = 0; i < config_n_keys; i++) {
                const struct config_key *k = config_keys + i;
                const struct config_origin *origin = c->origins + i;
                struct broker_setting *s = settings + i;

                *s = (struct broker_setting){
                        .name = mem_strdup(k->name),
                        .value = config_format(c, k),
                        .default_value = mem_strdup(k->default_text),
                        .source = mem_strdup(config_source_name(origin->source)),
                        .where = mem_strdup(origin->where ? origin->where : ""),
                        .pending = mem_strdup(c->pending[i] ? c->pending[i] : ""),
                        .can_reload = k->can_reload,
                };
                if (!s->name || !s->value || !s->default_value || !s->source || !s->where ||
                    !s->pending)
                        return -ENOMEM;
        }

        *ret = TAKE_PTR(settings);
        return 0;
}
