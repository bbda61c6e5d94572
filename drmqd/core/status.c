/* SPDX-License-Identifier: Apache-2.0 */
/* What a node says of itself, its shards, its partitions and its configuration. */
#include "base/alloc.h"
#include "base/format.h"
#include "drmqd/core/core.h"

#define PARTITIONS_MAX 65536u

const char *broker_sync_text(const struct broker *b, char dest[static FORMAT_MAX]) {
        struct shard_log_stats stats;

        shard_log_stats(b->shards[SHARD_DATA]->log, &stats);
        return stats.sync_interval_usec == 0 ? "group"
               : stats.sync_interval_usec == USEC_INFINITY
                       ? "never"
                       : format_duration(dest, stats.sync_interval_usec);
}

static void fill_shard(const struct shard *s, Drmq__Proto__ShardStatus *a) {
        struct shard_log_stats stats;

        drmq__proto__shard_status__init(a);
        shard_log_stats(s->log, &stats);
        a->shard = s->number;
        a->role = (char *) raft_role_name(s->raft ? raft_role(s->raft) : RAFT_FOLLOWER);
        a->leader_node_id = s->raft ? raft_leader(s->raft) : 0;
        a->term = s->raft ? raft_term(s->raft) : shard_log_term(s->log);
        a->first_index = shard_log_first_index(s->log);
        a->last_index = shard_log_last_index(s->log);
        a->durable_index = shard_log_durable_index(s->log);
        a->commit_index = shard_log_commit_index(s->log);
        a->applied_index = s->state->index;
        a->checkpoint_index = s->checkpoint_index;
        a->n_segments = stats.n_segments;
        a->log_bytes = stats.n_bytes;
        a->n_groups = stats.n_groups;
        a->n_syncs = stats.n_syncs;
        a->n_damaged_regions = s->report.n_damaged_regions;
        a->n_replayed = s->n_replayed;
        a->is_short_of_space = stats.is_below_reserve;
        a->is_writable = shard_is_writable(s) && !a->is_short_of_space;
        a->log_start_index = s->state->log_start_index;
        a->last_sync_usec = stats.last_sync_usec;
        a->pending_bytes = stats.pending_bytes;
        a->n_producers = s->state->producers.n_nodes;
        a->n_positions = s->state->positions.n_nodes;
}

void handle_status(struct request *r) {
        struct broker *b = r->broker;
        const struct node_identity *id = datadir_identity(b->datadir);
        Drmq__Proto__StatusResponse answer = DRMQ__PROTO__STATUS_RESPONSE__INIT;
        Drmq__Proto__ShardStatus shards[N_SHARDS], *pointers[N_SHARDS];
        char sync[FORMAT_MAX];

        for (size_t i = 0; i < N_SHARDS; i++) {
                fill_shard(b->shards[i], shards + i);
                pointers[i] = shards + i;
        }
        answer.node_id = id->node_id;
        answer.node_name = b->node_name;
        answer.cluster_id.data = (uint8_t *) id->cluster_id;
        answer.cluster_id.len = sizeof(id->cluster_id);
        answer.incarnation.data = (uint8_t *) id->incarnation;
        answer.incarnation.len = sizeof(id->incarnation);
        answer.version = b->version;
        answer.uptime_usec = usec_sub(io_now(b->io), b->started_usec);
        answer.ready_usec = usec_sub(b->ready_usec, b->started_usec);
        answer.data_dir = (char *) datadir_path(b->datadir);
        /* 0: unknown */
        (void) io_space(b->io, answer.data_dir, &answer.disk_free_bytes, &answer.disk_total_bytes);
        answer.n_connections = b->n_conns;
        answer.n_topics = b->shards[SHARD_METADATA]->state->topics.n_nodes;
        answer.n_partitions = b->shards[SHARD_METADATA]->state->topic_partitions.n_nodes;
        answer.memory_bytes = mem_bytes();
        answer.sync = (char *) broker_sync_text(b, sync);
        answer.auto_create = b->auto_create;
        answer.request_bytes_used = b->requests.used_bytes + b->small_requests.used_bytes;
        answer.request_bytes_limit = b->requests.limit_bytes;
        answer.pid = b->pid;
        answer.n_snapshots = (uint32_t) snapshots_held(b, &answer.snapshot_bytes);
        answer.shard = pointers;
        answer.n_shard = N_SHARDS;
        request_answer(r, &answer, NULL, 0, NULL, 0);
}

void handle_partition(struct request *r) {
        _cleanup_(message_freep) Drmq__Proto__PartitionRequest *q = NULL;
        _cleanup_(mem_freep) Drmq__Proto__PartitionStatus *answers = NULL;
        _cleanup_(mem_freep) Drmq__Proto__PartitionStatus **pointers = NULL;
        Drmq__Proto__PartitionResponse answer = DRMQ__PROTO__PARTITION_RESPONSE__INIT;
        Drmq__Proto__Error unknown;

        if (message_unpack(&drmq__proto__partition_request__descriptor,
                           r->frame.header,
                           (void **) &q) < 0 ||
            q->n_partition_id > PARTITIONS_MAX) {
                request_fail(r, DRMQ_ERROR_MALFORMED, "The request is malformed");
                return;
        }

        answers = new (Drmq__Proto__PartitionStatus, q->n_partition_id + 1);
        pointers = new (Drmq__Proto__PartitionStatus *, q->n_partition_id + 1);
        if (!answers || !pointers) {
                request_fail(r, DRMQ_ERROR_NO_MEMORY, "The node is out of memory");
                return;
        }

        error_init(&unknown,
                   r->broker,
                   DRMQ_ERROR_UNKNOWN_PARTITION,
                   (char *) drmq_error_text(DRMQ_ERROR_UNKNOWN_PARTITION));
        for (size_t i = 0; i < q->n_partition_id; i++) {
                Drmq__Proto__PartitionStatus *a = answers + i;
                const struct shard *s = broker_shard_of(r->broker, q->partition_id[i]);
                const struct partition *p =
                        s ? state_partition(s->state, q->partition_id[i]) : NULL;

                drmq__proto__partition_status__init(a);
                a->partition_id = q->partition_id[i];
                if (!s) {
                        a->error = &unknown;
                        metrics_count_error(&r->broker->metrics, DRMQ_ERROR_UNKNOWN_PARTITION);
                }
                if (p) {
                        a->first_offset = p->first_offset;
                        a->next_offset = p->next_offset;
                        a->n_batches = p->n_batches;
                        a->n_bytes = p->n_bytes;
                        a->n_producers = p->n_producers;
                        a->last_append_ms = p->last_append_ms;
                }
                pointers[i] = a;
        }
        answer.partition = pointers;
        answer.n_partition = q->n_partition_id;
        request_answer(r, &answer, NULL, 0, NULL, 0);
}

void handle_config(struct request *r) {
        const struct broker *b = r->broker;
        Drmq__Proto__ConfigResponse answer = DRMQ__PROTO__CONFIG_RESPONSE__INIT;
        _cleanup_(mem_freep) Drmq__Proto__ConfigKey *keys = NULL;
        _cleanup_(mem_freep) Drmq__Proto__ConfigKey **pointers = NULL;

        keys = new (Drmq__Proto__ConfigKey, b->n_settings + 1);
        pointers = new (Drmq__Proto__ConfigKey *, b->n_settings + 1);
        if (!keys || !pointers) {
                request_fail(r, DRMQ_ERROR_NO_MEMORY, "The node is out of memory");
                return;
        }

        for (size_t i = 0; i < b->n_settings; i++) {
                const struct broker_setting *s = b->settings + i;

                drmq__proto__config_key__init(keys + i);
                keys[i].name = s->name;
                keys[i].value = s->value;
                keys[i].default_value = s->default_value;
                keys[i].source = s->source;
                keys[i].where = s->where;
                keys[i].can_reload = s->can_reload;
                keys[i].pending = s->pending;
                pointers[i] = keys + i;
        }
        answer.key = pointers;
        answer.n_key = b->n_settings;
        request_answer(r, &answer, NULL, 0, NULL, 0);
}
