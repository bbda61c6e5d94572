/* SPDX-License-Identifier: Apache-2.0 */

/* Administration: topics, offsets, status, configuration. Each function is a call or two, whose
 * answers become structs of drmq.h. */

#include <inttypes.h>

#include "api/api.h"
#include "base/alloc.h"
#include "base/format.h"
#include "base/parse.h"

/* How many topics one request makes. */
#define TOPICS_PER_REQUEST 10000u

static int client_no_memory(drmq_client *c) {
        client_say(c, "out of memory");
        return -ENOMEM;
}

static int client_no_sense(drmq_client *c) {
        client_say(c, "the node's answer makes no sense");
        return -EPROTO;
}

/* Return: 0, or what the error comes to, said. */
static int client_check(drmq_client *c, const char *what, const Drmq__Proto__Error *e) {
        if (!e || e->code == DRMQ_ERROR_NONE)
                return 0;

        client_say(c, "%s: %s", what, e->text && e->text[0] ? e->text : drmq_error_text(e->code));
        return drmq_error_to_errno(e->code);
}

static int check_name(drmq_client *c, const char *name) {
        if (name && topic_name_is_valid(name))
                return 0;

        client_say(c, "\"%.249s\" is not a valid topic name", name ?: "");
        return -EINVAL;
}

/* ---- Making and removing ---- */

struct results {
        drmq_client *client;
        const char *const *names;
        size_t n;
        bool if_missing;
        int *results;
        int first; /* error */
};

static int take_results(struct results *rs, size_t n, Drmq__Proto__TopicResult *const *topics) {
        if (n != rs->n)
                return client_no_sense(rs->client);

        for (size_t i = 0; i < n; i++) {
                int r;

                if (!streq(topics[i]->name, rs->names[i]))
                        return client_no_sense(rs->client);
                r = topics[i]->error ? drmq_error_to_errno(topics[i]->error->code) : 0;
                if (r < 0 && rs->first == 0)
                        rs->first = client_check(rs->client, topics[i]->name, topics[i]->error);
                if (rs->results)
                        rs->results[i] = r;
        }
        return 0;
}

static int on_created(int r, const ProtobufCMessage *answer, void *userdata) {
        const Drmq__Proto__TopicCreateResponse *m = (const void *) answer;
        struct results *rs = userdata;

        if (r < 0 && m->n_topic != rs->n)
                return r;
        r = take_results(rs, m->n_topic, m->topic);
        return r < 0 ? r : 0;
}

static int create_some(struct results *rs, uint32_t n_partitions) {
        _cleanup_(mem_freep) Drmq__Proto__NewTopic *topics = new (Drmq__Proto__NewTopic, rs->n);
        _cleanup_(mem_freep) Drmq__Proto__NewTopic **pointers =
                new (Drmq__Proto__NewTopic *, rs->n);
        Drmq__Proto__TopicCreateRequest m = DRMQ__PROTO__TOPIC_CREATE_REQUEST__INIT;

        if (!topics || !pointers)
                return client_no_memory(rs->client);

        for (size_t i = 0; i < rs->n; i++) {
                drmq__proto__new_topic__init(&topics[i]);
                topics[i].name = (char *) rs->names[i];
                topics[i].partitions = n_partitions;
                topics[i].if_missing = rs->if_missing;
                pointers[i] = &topics[i];
        }
        m.topic = pointers;
        m.n_topic = rs->n;
        return client_call(rs->client,
                           FRAME_TOPIC_CREATE,
                           &m,
                           &drmq__proto__topic_create_response__descriptor,
                           on_created,
                           rs);
}

_public_ int drmq_topics_create(drmq_client *c,
                                const char *const *names,
                                size_t n,
                                uint32_t n_partitions,
                                bool if_missing,
                                int *ret_results) {
        int first = 0, r;

        assert_return(c, -EINVAL);
        assert_return(names || n == 0, -EINVAL);

        client_forget(c);
        for (size_t i = 0; i < n; i++) {
                r = check_name(c, names[i]);
                if (r < 0)
                        return r;
        }

        for (size_t i = 0; i < n; i += TOPICS_PER_REQUEST) {
                struct results rs = {
                        .client = c,
                        .names = names + i,
                        .n = MIN(n - i, (size_t) TOPICS_PER_REQUEST),
                        .if_missing = if_missing,
                        .results = ret_results ? ret_results + i : NULL,
                };

                r = create_some(&rs, n_partitions);
                if (r >= 0)
                        r = rs.first;
                else
                        for (size_t k = 0; ret_results && k < rs.n; k++)
                                ret_results[i + k] = r;
                if (r < 0 && first == 0)
                        first = r;
        }
        return first;
}

_public_ int
drmq_topic_create(drmq_client *c, const char *name, uint32_t n_partitions, bool if_missing) {
        return drmq_topics_create(c, &name, 1, n_partitions, if_missing, /* ret_results= */ NULL);
}

static int on_deleted(int r, const ProtobufCMessage *answer, void *userdata) {
        const Drmq__Proto__TopicDeleteResponse *m = (const void *) answer;
        struct results *rs = userdata;

        if (r < 0 && m->n_topic != rs->n)
                return r;
        r = take_results(rs, m->n_topic, m->topic);
        return r < 0 ? r : rs->first;
}

_public_ int drmq_topic_delete(drmq_client *c, const char *name) {
        Drmq__Proto__TopicDeleteRequest m = DRMQ__PROTO__TOPIC_DELETE_REQUEST__INIT;
        struct results rs = { .client = c, .names = &name, .n = 1 };
        char *names[] = { (char *) name };
        int r;

        assert_return(c, -EINVAL);

        client_forget(c);
        r = check_name(c, name);
        if (r < 0)
                return r;
        m.name = names;
        m.n_name = 1;
        return client_call(c,
                           FRAME_TOPIC_DELETE,
                           &m,
                           &drmq__proto__topic_delete_response__descriptor,
                           on_deleted,
                           &rs);
}

_public_ int drmq_topic_set_partitions(drmq_client *c, const char *name, uint32_t n_partitions) {
        Drmq__Proto__TopicAlterRequest m = DRMQ__PROTO__TOPIC_ALTER_REQUEST__INIT;
        int r;

        assert_return(c, -EINVAL);

        client_forget(c);
        r = check_name(c, name);
        if (r < 0)
                return r;
        m.name = (char *) name;
        m.partitions = n_partitions;
        return client_call(c,
                           FRAME_TOPIC_ALTER,
                           &m,
                           &drmq__proto__topic_alter_response__descriptor,
                           /* on_answer= */ NULL,
                           NULL);
}

/* ---- Looking ---- */

struct topics {
        drmq_client *client;
        struct drmq_topic_info *topics;
        size_t n;
};

static int take_topic(drmq_client *c, const Drmq__Proto__Topic *t, struct drmq_topic_info *ret) {
        struct drmq_partition_info *partitions;
        char *name;

        name = client_keep_string(c, t->name);
        partitions = client_keep(c, t->n_partition * sizeof(struct drmq_partition_info));
        if (!name || !partitions)
                return client_no_memory(c);

        for (size_t i = 0; i < t->n_partition; i++) {
                if (t->partition[i]->number != i)
                        return client_no_sense(c);
                partitions[i].number = t->partition[i]->number;
                partitions[i].id = t->partition[i]->id;
                partitions[i].shard = t->partition[i]->shard;
                partitions[i].leader = t->partition[i]->leader_node_id;
        }
        ret->name = name;
        ret->created_ms = (int64_t) t->created_ms;
        ret->n_partitions = t->n_partition;
        ret->partitions = partitions;
        return 0;
}

static int on_topics(int r, const ProtobufCMessage *answer, void *userdata) {
        const Drmq__Proto__MetadataResponse *m = (const void *) answer;
        struct topics *ts = userdata;

        if (r < 0)
                return r;

        ts->topics = client_keep(ts->client, m->n_topic * sizeof(struct drmq_topic_info));
        if (!ts->topics)
                return client_no_memory(ts->client);
        for (size_t i = 0; i < m->n_topic; i++) {
                r = client_check(ts->client, m->topic[i]->name, m->topic[i]->error);
                if (r >= 0)
                        r = take_topic(ts->client, m->topic[i], &ts->topics[i]);
                if (r < 0)
                        return r;
        }
        ts->n = m->n_topic;
        return 0;
}

_public_ int drmq_topics_list(drmq_client *c, const struct drmq_topic_info **ret, size_t *ret_n) {
        Drmq__Proto__MetadataRequest m = DRMQ__PROTO__METADATA_REQUEST__INIT;
        struct topics ts = { .client = c };
        int r;

        assert_return(c, -EINVAL);
        assert_return(ret && ret_n, -EINVAL);

        client_forget(c);
        m.all = true;
        r = client_call(
                c, FRAME_METADATA, &m, &drmq__proto__metadata_response__descriptor, on_topics, &ts);
        if (r < 0)
                return r;

        *ret = ts.topics;
        *ret_n = ts.n;
        return 0;
}

/* One topic by name, without the numbers of its partitions. */
static int client_find_topic(drmq_client *c, const char *name, struct drmq_topic_info **ret) {
        Drmq__Proto__MetadataRequest m = DRMQ__PROTO__METADATA_REQUEST__INIT;
        struct topics ts = { .client = c };
        char *names[] = { (char *) name };
        int r;

        r = check_name(c, name);
        if (r < 0)
                return r;
        m.topic = names;
        m.n_topic = 1;
        r = client_call(
                c, FRAME_METADATA, &m, &drmq__proto__metadata_response__descriptor, on_topics, &ts);
        if (r < 0)
                return r;
        if (ts.n != 1 || !streq(ts.topics[0].name, name))
                return client_no_sense(c);

        *ret = &ts.topics[0];
        return 0;
}

struct described {
        drmq_client *client;
        struct drmq_topic_info *topic;
};

static int on_described(int r, const ProtobufCMessage *answer, void *userdata) {
        const Drmq__Proto__PartitionResponse *m = (const void *) answer;
        struct described *d = userdata;
        struct drmq_partition_info *partitions =
                (void *) d->topic->partitions; /* ours, kept above */

        if (r < 0)
                return r;
        if (m->n_partition != d->topic->n_partitions)
                return client_no_sense(d->client);

        for (size_t i = 0; i < m->n_partition; i++) {
                const Drmq__Proto__PartitionStatus *s = m->partition[i];

                r = client_check(d->client, d->topic->name, s->error);
                if (r < 0)
                        return r;
                if (s->partition_id != partitions[i].id)
                        return client_no_sense(d->client);
                partitions[i].first_offset = s->first_offset;
                partitions[i].next_offset = s->next_offset;
                partitions[i].n_batches = s->n_batches;
                partitions[i].n_bytes = s->n_bytes;
                partitions[i].n_producers = s->n_producers;
                partitions[i].last_append_ms = s->last_append_ms;
        }
        return 0;
}

_public_ int
drmq_topic_describe(drmq_client *c, const char *name, const struct drmq_topic_info **ret) {
        Drmq__Proto__PartitionRequest m = DRMQ__PROTO__PARTITION_REQUEST__INIT;
        _cleanup_(mem_freep) uint64_t *ids = NULL;
        struct described d = { .client = c };
        int r;

        assert_return(c, -EINVAL);
        assert_return(ret, -EINVAL);

        client_forget(c);
        r = client_find_topic(c, name, &d.topic);
        if (r < 0)
                return r;

        ids = new (uint64_t, d.topic->n_partitions);
        if (!ids)
                return client_no_memory(c);
        for (size_t i = 0; i < d.topic->n_partitions; i++)
                ids[i] = d.topic->partitions[i].id;
        m.partition_id = ids;
        m.n_partition_id = d.topic->n_partitions;
        r = client_call(c,
                        FRAME_PARTITION,
                        &m,
                        &drmq__proto__partition_response__descriptor,
                        on_described,
                        &d);
        if (r < 0)
                return r;

        *ret = d.topic;
        return 0;
}

struct offsets {
        drmq_client *client;
        const struct drmq_topic_info *topic;
        struct drmq_offset_info *offsets;
};

static int on_offsets(int r, const ProtobufCMessage *answer, void *userdata) {
        const Drmq__Proto__OffsetsResponse *m = (const void *) answer;
        struct offsets *o = userdata;

        if (r < 0)
                return r;
        if (m->n_answer != o->topic->n_partitions)
                return client_no_sense(o->client);

        for (size_t i = 0; i < m->n_answer; i++) {
                r = client_check(o->client, o->topic->name, m->answer[i]->error);
                if (r < 0)
                        return r;
                if (m->answer[i]->partition_id != o->topic->partitions[i].id)
                        return client_no_sense(o->client);
                o->offsets[i] = (struct drmq_offset_info){
                        .partition = o->topic->partitions[i].number,
                        .offset = m->answer[i]->offset,
                        .append_time_ms = m->answer[i]->append_time_ms,
                };
        }
        return 0;
}

static int offset_kind(enum drmq_from from) {
        switch (from) {
        case DRMQ_FROM_BEGINNING:
                return DRMQ__PROTO__OFFSET_KIND__OFFSET_BEGINNING;
        case DRMQ_FROM_END:
                return DRMQ__PROTO__OFFSET_KIND__OFFSET_END;
        case DRMQ_FROM_TIME:
                return DRMQ__PROTO__OFFSET_KIND__OFFSET_TIME;
        default:
                return -EINVAL;
        }
}

_public_ int drmq_topic_offsets(drmq_client *c,
                                const char *name,
                                enum drmq_from from,
                                int64_t value,
                                const struct drmq_offset_info **ret,
                                size_t *ret_n) {
        Drmq__Proto__OffsetsRequest m = DRMQ__PROTO__OFFSETS_REQUEST__INIT;
        _cleanup_(mem_freep) Drmq__Proto__OffsetQuery **pointers = NULL;
        _cleanup_(mem_freep) Drmq__Proto__OffsetQuery *queries = NULL;
        struct offsets o = { .client = c };
        struct drmq_topic_info *topic;
        int kind, r;

        assert_return(c, -EINVAL);
        assert_return(ret && ret_n, -EINVAL);
        kind = offset_kind(from);
        assert_return(kind >= 0, -EINVAL);

        client_forget(c);
        r = client_find_topic(c, name, &topic);
        if (r < 0)
                return r;

        o.topic = topic;
        o.offsets = client_keep(c, topic->n_partitions * sizeof(struct drmq_offset_info));
        queries = new (Drmq__Proto__OffsetQuery, topic->n_partitions);
        pointers = new (Drmq__Proto__OffsetQuery *, topic->n_partitions);
        if (!o.offsets || !queries || !pointers)
                return client_no_memory(c);
        for (size_t i = 0; i < topic->n_partitions; i++) {
                drmq__proto__offset_query__init(&queries[i]);
                queries[i].partition_id = topic->partitions[i].id;
                queries[i].kind = (Drmq__Proto__OffsetKind) kind;
                queries[i].time_ms = value;
                pointers[i] = &queries[i];
        }
        m.query = pointers;
        m.n_query = topic->n_partitions;
        r = client_call(
                c, FRAME_OFFSETS, &m, &drmq__proto__offsets_response__descriptor, on_offsets, &o);
        if (r < 0)
                return r;

        *ret = o.offsets;
        *ret_n = topic->n_partitions;
        return 0;
}

/* ---- Status ---- */

struct status {
        drmq_client *client;
        struct drmq_node_info *info;
};

static int
take_shards(drmq_client *c, const Drmq__Proto__StatusResponse *m, struct drmq_node_info *info) {
        struct drmq_shard_info *shards =
                client_keep(c, m->n_shard * sizeof(struct drmq_shard_info));

        if (!shards)
                return client_no_memory(c);

        for (size_t i = 0; i < m->n_shard; i++) {
                const Drmq__Proto__ShardStatus *s = m->shard[i];

                shards[i] = (struct drmq_shard_info){
                        .shard = s->shard,
                        .role = client_keep_string(c, s->role),
                        .leader = s->leader_node_id,
                        .term = s->term,
                        .first_index = s->first_index,
                        .last_index = s->last_index,
                        .durable_index = s->durable_index,
                        .commit_index = s->commit_index,
                        .applied_index = s->applied_index,
                        .checkpoint_index = s->checkpoint_index,
                        .n_segments = s->n_segments,
                        .log_bytes = s->log_bytes,
                        .n_groups = s->n_groups,
                        .n_syncs = s->n_syncs,
                        .n_damaged_regions = s->n_damaged_regions,
                        .n_replayed = s->n_replayed,
                        .last_sync_usec = s->last_sync_usec,
                        .pending_bytes = s->pending_bytes,
                        .n_producers = s->n_producers,
                        .n_positions = s->n_positions,
                        .log_start_index = s->log_start_index,
                        .is_writable = s->is_writable,
                        .is_short_of_space = s->is_short_of_space,
                };
                if (!shards[i].role)
                        return client_no_memory(c);
        }
        info->shards = shards;
        info->n_shards = m->n_shard;
        return 0;
}

static int on_status(int r, const ProtobufCMessage *answer, void *userdata) {
        const Drmq__Proto__StatusResponse *m = (const void *) answer;
        struct status *st = userdata;
        drmq_client *c = st->client;
        struct drmq_node_info *info;
        char *address;

        if (r < 0)
                return r;
        if (m->cluster_id.len != sizeof(info->cluster_id) ||
            m->incarnation.len != sizeof(info->incarnation))
                return client_no_sense(c);

        info = client_keep(c, sizeof(*info));
        address = format_address(session_address(c->session));
        if (!info || !address) {
                mem_free(address);
                return client_no_memory(c);
        }
        *info = (struct drmq_node_info){
                .node_id = m->node_id,
                .name = client_keep_string(c, m->node_name),
                .version = client_keep_string(c, m->version),
                .data_dir = client_keep_string(c, m->data_dir),
                .sync = client_keep_string(c, m->sync),
                .address = client_keep_string(c, address),
                .uptime_usec = m->uptime_usec,
                .ready_usec = m->ready_usec,
                .disk_free_bytes = m->disk_free_bytes,
                .disk_total_bytes = m->disk_total_bytes,
                .memory_bytes = m->memory_bytes,
                .n_connections = m->n_connections,
                .n_topics = m->n_topics,
                .n_partitions = m->n_partitions,
                .request_bytes_used = m->request_bytes_used,
                .request_bytes_limit = m->request_bytes_limit,
                .pid = m->pid,
                .auto_create = m->auto_create,
                .n_snapshots = m->n_snapshots,
                .snapshot_bytes = m->snapshot_bytes,
        };
        mem_free(address);
        if (!info->name || !info->version || !info->data_dir || !info->sync || !info->address)
                return client_no_memory(c);
        memcpy(info->cluster_id, m->cluster_id.data, sizeof(info->cluster_id));
        memcpy(info->incarnation, m->incarnation.data, sizeof(info->incarnation));

        st->info = info;
        return take_shards(c, m, info);
}

_public_ int drmq_status(drmq_client *c, const struct drmq_node_info **ret) {
        Drmq__Proto__StatusRequest m = DRMQ__PROTO__STATUS_REQUEST__INIT;
        struct status st = { .client = c };
        int r;

        assert_return(c, -EINVAL);
        assert_return(ret, -EINVAL);

        client_forget(c);
        r = client_call(
                c, FRAME_STATUS, &m, &drmq__proto__status_response__descriptor, on_status, &st);
        if (r < 0)
                return r;

        *ret = st.info;
        return 0;
}

/* ---- Metrics ---- */

struct metrics {
        drmq_client *client;
        const char *text;
};

static int on_metrics(int r, const ProtobufCMessage *answer, void *userdata) {
        const Drmq__Proto__MetricsResponse *m = (const void *) answer;
        struct metrics *ms = userdata;

        if (r < 0)
                return r;

        ms->text = client_keep_string(ms->client, m->text);
        return ms->text ? 0 : client_no_memory(ms->client);
}

_public_ int drmq_metrics(drmq_client *c, const char **ret_text) {
        Drmq__Proto__MetricsRequest m = DRMQ__PROTO__METRICS_REQUEST__INIT;
        struct metrics ms = { .client = c };
        int r;

        assert_return(c, -EINVAL);
        assert_return(ret_text, -EINVAL);

        client_forget(c);
        r = client_call(
                c, FRAME_METRICS, &m, &drmq__proto__metrics_response__descriptor, on_metrics, &ms);
        if (r < 0)
                return r;

        *ret_text = ms.text;
        return 0;
}

/* ---- Configuration ---- */

struct config_list {
        drmq_client *client;
        struct drmq_config_key *keys;
        size_t n;
};

static int on_config(int r, const ProtobufCMessage *answer, void *userdata) {
        const Drmq__Proto__ConfigResponse *m = (const void *) answer;
        struct config_list *l = userdata;
        drmq_client *c = l->client;

        if (r < 0)
                return r;

        l->keys = client_keep(c, (m->n_key + 1) * sizeof(l->keys[0]));
        if (!l->keys)
                return client_no_memory(c);
        for (size_t i = 0; i < m->n_key; i++) {
                const Drmq__Proto__ConfigKey *k = m->key[i];

                l->keys[i] = (struct drmq_config_key){
                        .name = client_keep_string(c, k->name),
                        .value = client_keep_string(c, k->value),
                        .default_value = client_keep_string(c, k->default_value),
                        .source = client_keep_string(c, k->source),
                        .where = client_keep_string(c, k->where),
                        .pending = client_keep_string(c, k->pending),
                        .can_reload = k->can_reload,
                };
                if (!l->keys[i].name || !l->keys[i].value || !l->keys[i].default_value ||
                    !l->keys[i].source || !l->keys[i].where || !l->keys[i].pending)
                        return client_no_memory(c);
        }
        l->n = m->n_key;
        return 0;
}

_public_ int drmq_config_list(drmq_client *c, const struct drmq_config_key **ret, size_t *ret_n) {
        Drmq__Proto__ConfigRequest m = DRMQ__PROTO__CONFIG_REQUEST__INIT;
        struct config_list l = { .client = c };
        int r;

        assert_return(c, -EINVAL);
        assert_return(ret, -EINVAL);
        assert_return(ret_n, -EINVAL);

        client_forget(c);
        r = client_call(
                c, FRAME_CONFIG, &m, &drmq__proto__config_response__descriptor, on_config, &l);
        if (r < 0)
                return r;

        *ret = l.keys;
        *ret_n = l.n;
        return 0;
}
