/* SPDX-License-Identifier: Apache-2.0 */
/* The table of keys, and setting them. */
#include "drmqd/config.h"

#include <syslog.h>

#include "base/alloc.h"
#include "log/shard-log.h"

#define MIB (UINT64_C(1) << 20)
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
        { "log.checkpoint_size", CONFIG_SIZE, MEMBER(broker.checkpoint_bytes), MIB, TIB, "128M", false,
          "a checkpoint is written after so much of log", {} },

        { "limits.request_bytes", CONFIG_SIZE, MEMBER(broker.request_budget_bytes),
          17 * MIB, TIB, "48M", false,
          "memory for what is being received and not yet answered", {} },
        { "limits.fetch_bytes", CONFIG_SIZE, MEMBER(broker.fetch_budget_bytes), MIB, TIB, "32M", false,
          "memory for what is being sent to readers", {} },
        { "limits.connections", CONFIG_COUNT, MEMBER(broker.connections_max), 1, 1000000, "10000", false,
          "connections that there may be", {} },
        { "limits.idle", CONFIG_DURATION, MEMBER(broker.idle_usec),
          100 * USEC_PER_MSEC, USEC_PER_DAY, "30s", false,
          "how long a connection may take for what it has begun", {} },

        { "metrics.partitions", CONFIG_COUNT, MEMBER(broker.metrics_partitions),
          0, METRICS_PARTITIONS_MAX, "1000", false,
          "partitions that have metrics of their own", {} },
};
/* clang-format on */
const size_t config_n_keys = ELEMENTSOF(config_keys);

void config_init(struct config *c) {
        assert(c);

        *c = (struct config){ .log_level = LOG_INFO };
        broker_config_init(&c->broker);
}

void config_done(struct config *c) {
        assert(c);

        for (size_t i = 0; i < c->n_listen; i++)
                address_done(c->listen + i);
        c->n_listen = 0;
        c->node_name = mem_free(c->node_name);
        c->data_dir = mem_free(c->data_dir);
        c->advertise = mem_free(c->advertise);
}

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

static int add_addresses(struct config *c, const char *value) {
        struct address *list;
        size_t n;
        int r;

        r = parse_address_list(value, DEFAULT_PORT, &list, &n);
        if (r < 0)
                return r;
        if (n > LISTEN_MAX - c->n_listen) {
                address_array_free(list, n);
                return -ERANGE;
        }

        memcpy(c->listen + c->n_listen, list, n * sizeof(list[0]));
        c->n_listen += n;
        mem_free(list); /* without its strings, which have moved */
        return 0;
}

static int set_number(const struct config_key *k, uint64_t *member, const char *value) {
        uint64_t v;
        int r;

        for (size_t i = 0; i < CONFIG_WORDS_MAX && k->words[i].text; i++)
                if (strcmp(value, k->words[i].text) == 0) {
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

static int key_set(struct config *c, const struct config_key *k, const char *value) {
        void *member = (char *) c + k->member;

        switch (k->type) {
        case CONFIG_BOOL:
                return parse_bool(value, member);
        case CONFIG_COUNT:
        case CONFIG_SIZE:
        case CONFIG_DURATION:
        case CONFIG_CHOICE:
                return set_number(k, member, value);
        case CONFIG_NAME:
                return topic_name_is_valid(value) ? set_string(member, value) : -EINVAL;
        case CONFIG_PATH:
                return value[0] != '\0' ? set_string(member, value) : -EINVAL;
        case CONFIG_ADDRESS:
                return set_address(member, value);
        case CONFIG_ADDRESSES:
        default:
                return add_addresses(c, value);
        }
}

int config_set(struct config *c, const char *assignment, char **reterr_why) {
        const char *equals;
        int r;

        assert(c);
        assert(assignment);
        assert(reterr_why);

        equals = strchr(assignment, '=');
        if (!equals) {
                *reterr_why = mem_asprintf("--set takes section.key=value");
                return -EINVAL;
        }

        for (size_t i = 0; i < config_n_keys; i++) {
                const struct config_key *k = config_keys + i;

                if (strlen(k->name) != (size_t) (equals - assignment) ||
                    strncmp(k->name, assignment, (size_t) (equals - assignment)) != 0)
                        continue;
                r = key_set(c, k, equals + 1);
                if (r == -EINVAL || r == -ERANGE)
                        *reterr_why = mem_asprintf("The value is %s for %s (default %s)",
                                                   r == -ERANGE ? "out of range" : "malformed",
                                                   k->name,
                                                   k->default_text);
                return r == -ERANGE ? -EINVAL : r;
        }

        *reterr_why = mem_asprintf("There is no key %.*s", (int) (equals - assignment), assignment);
        return -EINVAL;
}
