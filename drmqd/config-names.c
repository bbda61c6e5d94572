/* SPDX-License-Identifier: Apache-2.0 */
/* What people who come from another broker look for, and slips of the hand. */
#include "drmqd/config-names.h"

#include <limits.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/nearest.h"

/* So much of a key is a guess. */
#define PREFIX_MIN 4u

const struct config_foreign_name config_foreign_names[] = {
        { "Kafka", "broker.id", "node.id" },
        { "Kafka", "log.dir", "node.data_dir" },
        { "Kafka", "log.dirs", "node.data_dir" },
        { "Kafka", "listeners", "node.listen" },
        { "Kafka", "advertised.listeners", "node.advertise" },
        { "Kafka", "auto.create.topics.enable", "topics.auto_create" },
        { "Kafka", "num.partitions", "topics.partitions" },
        { "Kafka", "segment.bytes", "log.segment_size" },
        { "Kafka", "log.segment.bytes", "log.segment_size" },
        { "Kafka", "queued.max.request.bytes", "limits.request_bytes" },
        { "Kafka", "fetch.max.bytes", "limits.fetch_bytes" },
        { "Kafka", "max.connections", "limits.connections" },
        { "Kafka", "message.max.bytes", "limits.batch_size" },
        { "Kafka", "max.message.bytes", "limits.batch_size" },
        { "Kafka", "queued.max.requests", "limits.requests" },
        { "Kafka", "fetch.max.wait.ms", "limits.poll_time" },
        { "Kafka", "connections.max.idle.ms", "limits.idle" },
        { "Kafka", "flush.ms", "log.sync" },
        { "Kafka", "log.flush.interval.ms", "log.sync" },
        { "Kafka", "flush.messages", "log.sync" },
        { "Kafka", "log.flush.interval.messages", "log.sync" },
        { "Kafka", "retention.bytes", "log.max_bytes" },
        { "Kafka", "log.retention.bytes", "log.max_bytes" },
        { "Kafka", "retention.ms", "log.max_age" },
        { "Kafka", "log.retention.ms", "log.max_age" },
        { "Kafka", "log.retention.minutes", "log.max_age" },
        { "Kafka", "log.retention.hours", "log.max_age" },
        { "Redpanda", "node_id", "node.id" },
        { "Redpanda", "data_directory", "node.data_dir" },
        { "Redpanda", "kafka_api", "node.listen" },
        { "Redpanda", "advertised_kafka_api", "node.advertise" },
        { "Redpanda", "auto_create_topics_enabled", "topics.auto_create" },
        { "Redpanda", "default_topic_partitions", "topics.partitions" },
        { "Redpanda", "log_segment_size", "log.segment_size" },
        { "Redpanda", "kafka_connections_max", "limits.connections" },
        { "Redpanda", "kafka_batch_max_bytes", "limits.batch_size" },
        { "Redpanda", "kafka_memory_share_for_fetch", "limits.fetch_bytes" },
        { "Redpanda", "write_caching_default", "log.sync" },
        { "Redpanda", "storage_min_free_bytes", "log.reserve" },
        { "Redpanda", "retention_bytes", "log.max_bytes" },
        { "Redpanda", "log_retention_ms", "log.max_age" },
        { "RabbitMQ", "nodename", "node.name" },
        { "RabbitMQ", "listeners.tcp.default", "node.listen" },
        { "RabbitMQ", "log.console.level", "node.log_level" },
        { "RabbitMQ", "log.file.level", "node.log_level" },
        { "RabbitMQ", "vm_memory_high_watermark", "limits.request_bytes" },
        { "RabbitMQ", "connection_max", "limits.connections" },
        { "RabbitMQ", "max_message_size", "limits.batch_size" },
        { "RabbitMQ", "handshake_timeout", "limits.idle" },
        { "RabbitMQ", "heartbeat", "limits.idle" },
        { "RabbitMQ", "disk_free_limit.absolute", "log.reserve" },
        { "RabbitMQ", "max-length-bytes", "log.max_bytes" },
        { "RabbitMQ", "max-age", "log.max_age" },
        { "RabbitMQ", "message-ttl", "log.max_age" },
        { "NATS", "server_name", "node.name" },
        { "NATS", "store_dir", "node.data_dir" },
        { "NATS", "client_advertise", "node.advertise" },
        { "NATS", "port", "node.listen" },
        { "NATS", "host", "node.listen" },
        { "NATS", "max_connections", "limits.connections" },
        { "NATS", "max_payload", "limits.batch_size" },
        { "NATS", "max_pending", "limits.fetch_bytes" },
        { "NATS", "auth_timeout", "limits.idle" },
        { "NATS", "write_deadline", "limits.idle" },
        { "NATS", "sync_interval", "log.sync" },
        { "NATS", "sync_always", "log.sync" },
        { "NATS", "max_file_store", "log.max_bytes" },
};
const size_t config_n_foreign_names = ELEMENTSOF(config_foreign_names);

/* What is set in a whole file elsewhere. */
static const char *const preset_names[] = { "preset", "profile", "mode", "tuning" };

static const char *foreign_find(const char *name) {
        for (size_t i = 0; i < config_n_foreign_names; i++)
                if (nearest_is_same(name, config_foreign_names[i].theirs))
                        return config_foreign_names[i].ours;
        return NULL;
}

/* The part behind "section.". */
static const char *short_name(const struct config_key *k) {
        return strchr(k->name, '.') + 1;
}

/* The key that is nearest to @name, or in any section to @key; NULL: none is near. */
static const struct config_key *nearest_key(const char *name, const char *key) {
        unsigned best_distance = UINT_MAX, max = nearest_distance_max(key);
        const struct config_key *best = NULL;

        for (size_t i = 0; i < config_n_keys; i++) {
                const struct config_key *k = config_keys + i;
                unsigned d = nearest_distance(name, k->name, max);
                unsigned d_short = nearest_distance(key, short_name(k), max / 2); /* elsewhere */

                if (strlen(key) >= PREFIX_MIN && strncasecmp(short_name(k), key, strlen(key)) == 0)
                        d_short = 0; /* it has only begun */
                if (MIN(d, d_short) < best_distance) {
                        best_distance = MIN(d, d_short);
                        best = k;
                }
                if (best_distance == 0)
                        break;
        }
        return best;
}

static char *say_key(const char *ours, const char *before, const char *after) {
        const char *dot = strchr(ours, '.');

        return mem_asprintf(
                "; %s \"%s\" in [%.*s]%s", before, dot + 1, (int) (dot - ours), ours, after);
}

char *config_suggest(const char *section, const char *key) {
        _cleanup_(mem_freep) char *name = NULL;
        const struct config_key *k;
        const char *ours;

        assert(key);

        name = section ? mem_asprintf("%s.%s", section, key) : mem_strdup(key);
        if (!name)
                return NULL;

        ours = foreign_find(name);
        if (!ours)
                ours = foreign_find(key);
        if (ours)
                return say_key(ours, "here it is", "");

        for (size_t i = 0; i < ELEMENTSOF(preset_names); i++)
                if (nearest_is_same(key, preset_names[i]))
                        return mem_strdup(
                                "; there are no presets, but samples: throughput.conf and latency.conf");

        k = nearest_key(name, key);
        return k ? say_key(k->name, "did you mean", "?") : mem_strdup("");
}

bool config_section_is_known(const char *section, size_t n) {
        assert(section);

        for (size_t i = 0; i < config_n_keys; i++)
                if (strncmp(config_keys[i].name, section, n) == 0 && config_keys[i].name[n] == '.')
                        return true;
        return false;
}

char *config_suggest_section(const char *section) {
        unsigned best_distance = UINT_MAX;
        const char *best = NULL;
        size_t best_n = 0;

        assert(section);

        for (size_t i = 0; i < config_n_keys; i++) {
                char name[NEAREST_NAME_MAX + 1];
                size_t n = strcspn(config_keys[i].name, ".");
                unsigned d;

                assert(n < sizeof(name));
                memcpy(name, config_keys[i].name, n);
                name[n] = 0;
                d = nearest_distance(section, name, nearest_distance_max(section));
                if (d < best_distance) {
                        best_distance = d;
                        best = config_keys[i].name;
                        best_n = n;
                }
        }

        return best ? mem_asprintf("; did you mean [%.*s]?", (int) best_n, best) : mem_strdup("");
}
