/* SPDX-License-Identifier: Apache-2.0 */
/* The table of keys, and setting them. */
#include "drmqd/config.h"

#include "base/alloc.h"
#include "drmqd/core/broker.h"
#include "log/shard-log.h"

enum key_type {
        KEY_BOOL,
        KEY_COUNT,
        KEY_SIZE,
        KEY_DURATION,
};

struct key {
        const char *name;
        enum key_type type;
        size_t member;
        uint64_t min, max;
        const char *default_text;
};

#define MEMBER(m) offsetof(struct config, m)

static const struct key keys[] = {
        { "topics.auto_create", KEY_BOOL, MEMBER(auto_create), 0, 1, "yes" },
        { "topics.partitions", KEY_COUNT, MEMBER(default_partitions), 1, 10000, "1" },
        { "log.segment_size",
          KEY_SIZE,
          MEMBER(segment_bytes),
          SEGMENT_BYTES_MIN,
          SEGMENT_BYTES_MAX,
          "64M" },
        { "log.checkpoint_size",
          KEY_SIZE,
          MEMBER(checkpoint_bytes),
          UINT64_C(1) << 20,
          UINT64_C(1) << 40,
          "128M" },
        { "limits.request_bytes",
          KEY_SIZE,
          MEMBER(request_bytes),
          UINT64_C(17) << 20,
          UINT64_C(1) << 40,
          "48M" },
        { "limits.fetch_bytes",
          KEY_SIZE,
          MEMBER(fetch_bytes),
          UINT64_C(1) << 20,
          UINT64_C(1) << 40,
          "32M" },
        { "limits.connections", KEY_COUNT, MEMBER(connections), 1, 1000000, "10000" },
        { "limits.idle",
          KEY_DURATION,
          MEMBER(idle_usec),
          USEC_PER_MSEC * 100,
          USEC_PER_DAY,
          "30s" },
};

void config_init(struct config *c) {
        assert(c);

        *c = (struct config){
                .auto_create = true,
                .default_partitions = 1,
                .segment_bytes = SEGMENT_BYTES_DEFAULT,
                .checkpoint_bytes = CHECKPOINT_BYTES_DEFAULT,
                .request_bytes = REQUEST_BUDGET_BYTES_DEFAULT,
                .fetch_bytes = FETCH_BUDGET_BYTES_DEFAULT,
                .connections = CONNECTIONS_MAX_DEFAULT,
                .idle_usec = IDLE_USEC_DEFAULT,
        };
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

static int key_set(struct config *c, const struct key *k, const char *value) {
        void *member = (char *) c + k->member;
        uint64_t v = 0;
        int r;

        switch (k->type) {
        case KEY_BOOL:
                return parse_bool(value, member);
        case KEY_COUNT:
                r = parse_uint64(value, &v);
                break;
        case KEY_SIZE:
                r = parse_size(value, &v);
                break;
        case KEY_DURATION:
        default:
                r = parse_duration(value, &v);
        }
        if (r < 0)
                return r;
        if (v < k->min || v > k->max)
                return -ERANGE;

        *(uint64_t *) member = v;
        return 0;
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

        for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
                if (strlen(keys[i].name) != (size_t) (equals - assignment) ||
                    strncmp(keys[i].name, assignment, (size_t) (equals - assignment)) != 0)
                        continue;
                r = key_set(c, keys + i, equals + 1);
                if (r < 0)
                        *reterr_why = mem_asprintf("The value is %s for %s (default %s)",
                                                   r == -ERANGE ? "out of range" : "malformed",
                                                   keys[i].name,
                                                   keys[i].default_text);
                return r < 0 ? -EINVAL : 0;
        }

        *reterr_why = mem_asprintf("There is no key %.*s", (int) (equals - assignment), assignment);
        return -EINVAL;
}
