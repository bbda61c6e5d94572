/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a node says of itself to those who watch it: metrics, as Prometheus reads them, and health in
 * one line. drmqd(8) lists every metric with its type and labels, and a test holds it to this.
 *
 * A family is there, with its HELP and TYPE, also where it has no sample yet. One report is one step
 * of the event loop: METRICS_PARTITIONS_MAX bounds it.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/format.h"
#include "drmqd/core/core.h"
#include "drmqd/core/exposition.h"

#define COUNTER "counter"
#define GAUGE "gauge"
#define HISTOGRAM "histogram"

/* Of a number in decimal, as a label's value. */
#define NUMBER_MAX 24u

/* A partition that has series of its own, and their labels. */
struct series {
        const struct traffic *traffic;
        size_t labels_pos, labels_bytes; /* in report.labels */
};

struct report {
        struct exposition e;
        struct broker *broker;
        struct shard_log_stats logs[N_SHARDS];
        struct label shard[N_SHARDS];
        struct series *series; /* mem_free() */
        size_t n_series;
        struct byte_writer labels; /* of all series */
};

static const char *const request_names[] = {
        "unknown",       "metadata",      "produce",         "fetch",           "offsets",
        "topic_create",  "topic_alter",   "topic_delete",    "position_commit", "position_fetch",
        "partition",     "status",        "config",          "metrics",         "snapshot_create",
        "snapshot_list", "snapshot_read", "snapshot_delete",
};
static_assert(ELEMENTSOF(request_names) >= _FRAME_TYPE_MAX, "every type has a name");

static void
single(struct report *r, const char *name, const char *type, const char *help, uint64_t value) {
        exposition_family(&r->e, name, type, help);
        exposition_number(&r->e, NULL, 0, value);
}

/* ---- Partitions ---- */

static int series_gather(struct report *r) {
        struct metrics *m = &r->broker->metrics;

        r->series = new (struct series, m->partitions.n_nodes + 1);
        if (!r->series)
                return -ENOMEM;

        MAP_FOREACH(&m->partitions, n) {
                const struct partition_traffic *p =
                        CONTAINER_OF(n, struct partition_traffic, by_id);
                const struct topic_partition *tp = state_topic_partition(
                        r->broker->shards[SHARD_METADATA]->state, p->partition_id);
                const size_t pos = r->labels.size;
                char number[NUMBER_MAX];

                if (!tp) {
                        /* something of it was under way when it was deleted */
                        metrics_forget(m, p->partition_id);
                        continue;
                }
                (void) snprintf(number, sizeof(number), "%" PRIu32, tp->number);
                exposition_labels(&r->labels,
                                  (const struct label[]){ { "topic", tp->topic->name },
                                                          { "partition", number } },
                                  2);
                r->series[r->n_series++] = (struct series){
                        .traffic = &p->traffic,
                        .labels_pos = pos,
                        .labels_bytes = r->labels.size - pos,
                };
        }
        return byte_writer_result(&r->labels);
}

static void report_family(struct report *r, const char *name, const char *help, size_t member) {
        const struct metrics *m = &r->broker->metrics;
        const struct label deleted = { "deleted", "yes" };

#define TRAFFIC_MEMBER(t) (*(const uint64_t *) ((const char *) (t) + member))
        exposition_family(&r->e, name, COUNTER, help);
        for (size_t i = 0; i < r->n_series; i++) {
                const struct series *series = r->series + i;

                exposition_number_of(&r->e,
                                     r->labels.data + series->labels_pos,
                                     series->labels_bytes,
                                     TRAFFIC_MEMBER(series->traffic));
        }
        exposition_number(&r->e, &deleted, 1, TRAFFIC_MEMBER(&m->deleted));
        exposition_number(&r->e, NULL, 0, TRAFFIC_MEMBER(&m->rest));
#undef TRAFFIC_MEMBER
}

static void report_traffic(struct report *r) {
        const struct metrics *m = &r->broker->metrics;

        report_family(
                r,
                "drmq_messages_produced_total",
                "Messages that were committed, each once. Without labels: of partitions past metrics.partitions.",
                offsetof(struct traffic, n_produced));
        report_family(r,
                      "drmq_bytes_produced_total",
                      "Bytes of the batches that were committed.",
                      offsetof(struct traffic, produced_bytes));
        report_family(r,
                      "drmq_messages_consumed_total",
                      "Messages that were sent to readers, in whole batches.",
                      offsetof(struct traffic, n_consumed));
        report_family(r,
                      "drmq_bytes_consumed_total",
                      "Bytes of the batches that were sent to readers.",
                      offsetof(struct traffic, consumed_bytes));
        single(r,
               "drmq_duplicate_batches_total",
               COUNTER,
               "Batches that were sent again and were there already.",
               m->n_duplicates);
}

/* ---- Requests ---- */

static void report_requests(struct report *r) {
        const struct metrics *m = &r->broker->metrics;

        exposition_family(&r->e, "drmq_requests_total", COUNTER, "Requests, by type.");
        for (size_t i = 0; i < _FRAME_TYPE_MAX; i++)
                exposition_number(
                        &r->e, &(struct label){ "type", request_names[i] }, 1, m->n_requests[i]);

        exposition_family(
                &r->e, "drmq_errors_total", COUNTER, "Errors that clients were told, by code.");
        for (uint32_t i = DRMQ_ERROR_NONE + 1; i < _DRMQ_ERROR_MAX; i++)
                if (i != DRMQ_ERROR_DUPLICATE)
                        exposition_number(&r->e,
                                          &(struct label){ "code", drmq_error_name(i) },
                                          1,
                                          m->n_errors[i]);

        single(r,
               "drmq_http_requests_total",
               COUNTER,
               "HTTP requests that were answered, this one included.",
               m->n_http_requests);
        exposition_family(&r->e,
                          "drmq_produce_seconds",
                          HISTOGRAM,
                          "From a whole produce request to its answer, the sync included.");
        exposition_histogram(&r->e, NULL, 0, &m->produce_usec);
        exposition_family(
                &r->e,
                "drmq_fetch_seconds",
                HISTOGRAM,
                "From a whole fetch request to its answer, without its wait for messages.");
        exposition_histogram(&r->e, NULL, 0, &m->fetch_usec);
}

/* ---- Connections and queues ---- */

static void report_connections(struct report *r) {
        const struct metrics *m = &r->broker->metrics;

        single(r, "drmq_connections", GAUGE, "Connections that are open.", r->broker->n_conns);
        single(r,
               "drmq_connections_limit",
               GAUGE,
               "Connections that there may be (limits.connections).",
               r->broker->connections_max);
        single(r,
               "drmq_connections_accepted_total",
               COUNTER,
               "Connections that were let in.",
               m->n_accepted);
        single(r,
               "drmq_connections_refused_total",
               COUNTER,
               "Connections that were refused: too many, or the node did not serve.",
               m->n_refused);
        exposition_family(&r->e,
                          "drmq_connections_ended_total",
                          COUNTER,
                          "Connections that ended, by cause.");
        for (unsigned i = 0; i < _CONN_END_MAX; i++)
                exposition_number(
                        &r->e, &(struct label){ "cause", conn_end_name(i) }, 1, m->n_ended[i]);
}

static void report_budget(struct report *r,
                          const char *used_name,
                          const char *limit_name,
                          const char *used_help,
                          const char *limit_help,
                          const struct budget *b) {
        single(r, used_name, GAUGE, used_help, b->used_bytes);
        single(r, limit_name, GAUGE, limit_help, b->limit_bytes);
}

static void report_budgets(struct report *r) {
        const struct broker *b = r->broker;

        report_budget(r,
                      "drmq_requests_used_bytes",
                      "drmq_requests_limit_bytes",
                      "Requests that are being received or not yet answered, but small ones.",
                      "What they may take (limits.request_bytes).",
                      &b->requests);
        report_budget(r,
                      "drmq_small_requests_used_bytes",
                      "drmq_small_requests_limit_bytes",
                      "Small requests that are not yet answered.",
                      "What they may take: an eighth of limits.request_bytes, beside it.",
                      &b->small_requests);
        report_budget(
                r,
                "drmq_partial_requests_used_bytes",
                "drmq_partial_requests_limit_bytes",
                "Buffers that hold a part of a small request.",
                "Past this they shrink to what they hold.",
                &(struct budget){ .used_bytes = b->held_bytes, .limit_bytes = HELD_BYTES_MAX });
        report_budget(r,
                      "drmq_answers_used_bytes",
                      "drmq_answers_limit_bytes",
                      "Answers that wait to be sent, without what fetches brought.",
                      "What they may take (limits.answer_bytes).",
                      &b->answers);
        report_budget(r,
                      "drmq_polls_used_bytes",
                      "drmq_polls_limit_bytes",
                      "Fetches that wait for messages.",
                      "What they may take (limits.poll_bytes).",
                      &b->polls);
        report_budget(r,
                      "drmq_fetches_used_bytes",
                      "drmq_fetches_limit_bytes",
                      "What fetches brought and is being read or sent.",
                      "What it may take (limits.fetch_bytes).",
                      &b->fetches);
}

/* Of the connection that has the most. */
static void report_per_connection(struct report *r) {
        const struct broker *b = r->broker;
        uint64_t n_requests = 0, n_bytes = 0;

        LIST_FOREACH(&b->conns, c, struct conn, link) {
                n_requests = MAX(n_requests, (uint64_t) c->n_requests);
                n_bytes = MAX(n_bytes, (uint64_t) c->out.n_bytes);
        }
        single(r,
               "drmq_connection_requests",
               GAUGE,
               "Requests under way of the connection that has the most.",
               n_requests);
        single(r,
               "drmq_connection_requests_limit",
               GAUGE,
               "How many there may be, before it is not read (limits.requests).",
               b->requests_per_connection);
        single(r,
               "drmq_connection_output_used_bytes",
               GAUGE,
               "Answers that wait to be sent, of the connection that has the most.",
               n_bytes);
        single(r,
               "drmq_connection_output_limit_bytes",
               GAUGE,
               "What they may be, before it is not read (limits.output_bytes).",
               b->connection_out_bytes);
        single(r,
               "drmq_batch_limit_bytes",
               GAUGE,
               "The largest batch that is taken (limits.batch_size).",
               b->batch_bytes_max);
        exposition_family(&r->e,
                          "drmq_poll_limit_seconds",
                          GAUGE,
                          "How long a fetch may wait for messages (limits.poll_time).");
        exposition_seconds(&r->e, NULL, 0, b->poll_usec_max);
        exposition_family(&r->e,
                          "drmq_idle_limit_seconds",
                          GAUGE,
                          "How long a connection may make no progress (limits.idle).");
        exposition_seconds(&r->e, NULL, 0, b->idle_usec);
}

/* ---- Shards ---- */

/* A family with one sample for each shard. */
#define PER_SHARD(r, name, type, help, value)                                                      \
        do {                                                                                       \
                exposition_family(&(r)->e, name, type, help);                                      \
                for (size_t i = 0; i < N_SHARDS; i++) {                                            \
                        const struct shard *s = (r)->broker->shards[i];                            \
                        const struct shard_log_stats *log = (r)->logs + i;                         \
                                                                                                   \
                        (void) s;                                                                  \
                        (void) log;                                                                \
                        exposition_number(&(r)->e, (r)->shard + i, 1, (value));                    \
                }                                                                                  \
        } while (0)

static void report_raft(struct report *r) {
        exposition_family(
                &r->e,
                "drmq_raft_state",
                GAUGE,
                "1 for the role that the node has in the shard's Raft group, 0 for the others.");
        for (size_t i = 0; i < N_SHARDS; i++) {
                const struct raft *raft = r->broker->shards[i]->raft;

                for (unsigned role = 0; role < _RAFT_ROLE_MAX; role++) {
                        const struct label labels[] = {
                                r->shard[i],
                                { "state", raft_role_name(role) },
                        };
                        bool is_it = role == (raft ? raft_role(raft) : RAFT_FOLLOWER);

                        exposition_number(&r->e, labels, ELEMENTSOF(labels), is_it);
                }
        }
        PER_SHARD(r,
                  "drmq_raft_term",
                  GAUGE,
                  "Term of the shard's Raft group.",
                  s->raft ? raft_term(s->raft) : shard_log_term(s->log));
        PER_SHARD(r,
                  "drmq_raft_leader",
                  GAUGE,
                  "Id of the node that leads the shard, 0: none.",
                  s->raft ? raft_leader(s->raft) : 0);
        PER_SHARD(r,
                  "drmq_raft_first_index",
                  GAUGE,
                  "First entry of the log.",
                  shard_log_first_index(s->log));
        PER_SHARD(r,
                  "drmq_raft_last_index",
                  GAUGE,
                  "Last entry of the log, perhaps not yet on disk.",
                  shard_log_last_index(s->log));
        PER_SHARD(r,
                  "drmq_raft_durable_index",
                  GAUGE,
                  "Last entry that is synced.",
                  shard_log_durable_index(s->log));
        PER_SHARD(r,
                  "drmq_raft_commit_index",
                  GAUGE,
                  "Last entry that is committed.",
                  shard_log_commit_index(s->log));
        PER_SHARD(r,
                  "drmq_raft_applied_index",
                  GAUGE,
                  "Last entry that is applied.",
                  s->state->index);
}

static void report_logs(struct report *r) {
        PER_SHARD(r,
                  "drmq_shard_writable",
                  GAUGE,
                  "Whether the shard takes entries.",
                  shard_is_writable(s) && !log->is_below_reserve);
        PER_SHARD(r, "drmq_log_size_bytes", GAUGE, "Size of the log's files.", log->n_bytes);
        PER_SHARD(r, "drmq_log_segments", GAUGE, "Files of the log.", log->n_segments);
        PER_SHARD(r,
                  "drmq_log_written_bytes_total",
                  COUNTER,
                  "Bytes of group writes.",
                  log->bytes_since_open);
        PER_SHARD(r,
                  "drmq_log_written_entries_total",
                  COUNTER,
                  "Entries in group writes.",
                  log->n_group_entries);
        PER_SHARD(r, "drmq_log_group_writes_total", COUNTER, "Group writes.", log->n_groups);
        PER_SHARD(r, "drmq_log_syncs_total", COUNTER, "Syncs of group writes.", log->n_syncs);
        PER_SHARD(r,
                  "drmq_log_append_used_bytes",
                  GAUGE,
                  "Entries that wait for the log writer.",
                  log->pending_bytes);
        PER_SHARD(r,
                  "drmq_log_append_limit_bytes",
                  GAUGE,
                  "What they may take (limits.append_bytes).",
                  log->append_budget_bytes);
        PER_SHARD(r,
                  "drmq_log_unsynced_bytes",
                  GAUGE,
                  "Group writes that are written and not yet synced.",
                  log->unsynced_bytes);
        PER_SHARD(r,
                  "drmq_log_reserve_bytes",
                  GAUGE,
                  "Free space of the file system that messages do not take.",
                  log->reserve_bytes);
        PER_SHARD(r,
                  "drmq_log_disk_full",
                  GAUGE,
                  "Whether new messages are refused for want of space.",
                  log->is_below_reserve);
        PER_SHARD(r,
                  "drmq_log_damaged_regions",
                  GAUGE,
                  "Damage that the start found, kept and never served.",
                  s->report.n_damaged_regions);
        PER_SHARD(r,
                  "drmq_log_replayed_entries",
                  GAUGE,
                  "Entries that the start read.",
                  s->n_replayed);

        exposition_family(&r->e,
                          "drmq_fsync_seconds",
                          HISTOGRAM,
                          "A group write, from its start until it is synced.");
        for (size_t i = 0; i < N_SHARDS; i++)
                exposition_histogram(&r->e, r->shard + i, 1, &r->logs[i].sync_usec);
}

static void report_states(struct report *r) {
        PER_SHARD(r,
                  "drmq_producers",
                  GAUGE,
                  "Producers whose sequences are known.",
                  s->state->producers.n_nodes);
        PER_SHARD(r,
                  "drmq_producers_limit",
                  GAUGE,
                  "How many may be, before the longest silent are forgotten.",
                  s->state->n_producers_max);
        PER_SHARD(r,
                  "drmq_positions",
                  GAUGE,
                  "Positions that groups committed.",
                  s->state->positions.n_nodes);
        single(r,
               "drmq_positions_limit",
               GAUGE,
               "How many may be, of one shard (limits.positions).",
               r->broker->positions_max);
        PER_SHARD(r,
                  "drmq_checkpoint_index",
                  GAUGE,
                  "Entry of the newest checkpoint, 0: there is none.",
                  s->checkpoint_index);
        PER_SHARD(r,
                  "drmq_checkpoint_failures_total",
                  COUNTER,
                  "Checkpoints that failed.",
                  s->n_checkpoint_failures);
        PER_SHARD(r,
                  "drmq_checkpoint_running",
                  GAUGE,
                  "Whether a checkpoint is being written.",
                  s->checkpoint_job != NULL);

        exposition_family(&r->e,
                          "drmq_checkpoint_seconds",
                          HISTOGRAM,
                          "Checkpoints that were written, from the mark's commit on.");
        for (size_t i = 0; i < N_SHARDS; i++)
                exposition_histogram(
                        &r->e, r->shard + i, 1, &r->broker->shards[i]->checkpoint_usec);
}

/* ---- The node ---- */

static void report_node(struct report *r) {
        const struct broker *b = r->broker;
        const struct node_identity *id = datadir_identity(b->datadir);
        const struct state *metadata = b->shards[SHARD_METADATA]->state;
        uint64_t free_bytes = 0, total_bytes = 0, n_snapshots, snapshot_bytes;
        char node_id[NUMBER_MAX], why[256], cluster[FORMAT_MAX], incarnation[FORMAT_MAX];
        char interval[FORMAT_MAX];
        const struct label build = { "version", b->version };
        const struct label node[] = {
                { "node", b->node_name },
                { "node_id", node_id },
                { "cluster_id", format_id128(cluster, id->cluster_id) },
                { "incarnation", format_id128(incarnation, id->incarnation) },
        };
        const struct label sync = { "mode", broker_sync_text(b, interval) };

        (void) snprintf(node_id, sizeof(node_id), "%" PRIu64, id->node_id);
        (void) io_space(
                b->io, datadir_path(b->datadir), &free_bytes, &total_bytes); /* 0: unknown */

        exposition_family(&r->e, "drmq_build_info", GAUGE, "1, with the version.");
        exposition_number(&r->e, &build, 1, 1);
        exposition_family(&r->e, "drmq_node_info", GAUGE, "1, with who the node is.");
        exposition_number(&r->e, node, ELEMENTSOF(node), 1);
        exposition_family(&r->e,
                          "drmq_sync_info",
                          GAUGE,
                          "1, with how what is acknowledged was synced (log.sync).");
        exposition_number(&r->e, &sync, 1, 1);
        single(r,
               "drmq_healthy",
               GAUGE,
               "Whether /health answers 200.",
               broker_health(b, why, sizeof(why)));
        exposition_family(&r->e, "drmq_uptime_seconds", GAUGE, "Since the process began.");
        exposition_seconds(&r->e, NULL, 0, usec_sub(io_now(b->io), b->started_usec));
        exposition_family(&r->e,
                          "drmq_ready_seconds",
                          GAUGE,
                          "From the beginning of the process until it served, 0: it has not yet.");
        exposition_seconds(&r->e, NULL, 0, usec_sub(b->ready_usec, b->started_usec));
        single(r, "drmq_topics", GAUGE, "Topics.", metadata->topics.n_nodes);
        single(r,
               "drmq_partitions",
               GAUGE,
               "Partitions of all topics.",
               metadata->topic_partitions.n_nodes);
        single(r,
               "drmq_partitions_limit",
               GAUGE,
               "How many there may be (limits.partitions).",
               b->partitions_max);
        single(r,
               "drmq_disk_free_bytes",
               GAUGE,
               "Free on the file system of the data, 0: unknown.",
               free_bytes);
        single(r,
               "drmq_disk_total_bytes",
               GAUGE,
               "Size of the file system of the data, 0: unknown.",
               total_bytes);
        n_snapshots = snapshots_held(b, &snapshot_bytes);
        single(r, "drmq_snapshots", GAUGE, "Snapshots that are held.", n_snapshots);
        single(r,
               "drmq_snapshots_limit",
               GAUGE,
               "How many may be (limits.snapshots).",
               b->snapshots_max);
        single(r,
               "drmq_snapshot_bytes",
               GAUGE,
               "Held for snapshots alone: the log has dropped it.",
               snapshot_bytes);
}

static void report_process(struct report *r) {
        const struct broker *b = r->broker;
        struct broker_usage u = {};

        if (b->events->on_usage)
                b->events->on_usage(b->userdata, &u);
        single(r,
               "drmq_memory_allocated_bytes",
               GAUGE,
               "What the node has allocated itself.",
               mem_bytes());
        single(r,
               "drmq_process_resident_memory_bytes",
               GAUGE,
               "Memory of the process.",
               u.resident_bytes);
        exposition_family(&r->e,
                          "drmq_process_cpu_seconds_total",
                          COUNTER,
                          "Processor time of the process, user and system.");
        exposition_seconds(&r->e, NULL, 0, u.cpu_usec);
        single(r, "drmq_process_open_files", GAUGE, "Descriptors in use.", u.n_files);
        single(r,
               "drmq_process_files_limit",
               GAUGE,
               "Descriptors that there may be.",
               u.n_files_max);
}

static void report_all(struct report *r) {
        report_traffic(r);
        report_requests(r);
        report_connections(r);
        report_budgets(r);
        report_per_connection(r);
        report_raft(r);
        report_logs(r);
        report_states(r);
        report_node(r);
        report_process(r);
}

int broker_report(struct broker *b, struct byte_writer *w) {
        static const char *const numbers[N_SHARDS] = { "0", "1" };
        struct report r = { .e.w = w, .broker = b };
        int k;

        assert(b);
        assert(w);

        for (size_t i = 0; i < N_SHARDS; i++) {
                shard_log_stats(b->shards[i]->log, r.logs + i);
                r.shard[i] = (struct label){ "shard", numbers[i] };
        }
        byte_writer_init(&r.labels, 0);
        k = series_gather(&r);
        if (k >= 0) {
                report_all(&r);
                k = byte_writer_result(w);
        }
        byte_writer_done(&r.labels);
        mem_free(r.series);
        return k;
}

void handle_metrics(struct request *r) {
        Drmq__Proto__MetricsResponse answer = DRMQ__PROTO__METRICS_RESPONSE__INIT;
        struct byte_writer w;
        int k;

        byte_writer_init(&w, FRAME_HEADER_BYTES_MAX);
        k = broker_report(r->broker, &w);
        byte_writer_u8(&w, 0);
        if (k >= 0)
                k = byte_writer_result(&w);
        if (k < 0)
                request_fail(r,
                             drmq_error_from_errno(k),
                             "There is no report: %s",
                             drmq_error_text(drmq_error_from_errno(k)));
        else {
                answer.text = (char *) w.data;
                request_answer(r, &answer, NULL, 0, NULL, 0);
        }
        byte_writer_done(&w);
}

/* ---- Health ---- */

/* Why a shard does not serve in full; NULL: it does. */
static const char *shard_trouble(const struct shard *s) {
        struct shard_log_stats stats;

        if (s->has_failed)
                return "has failed";
        if (!s->raft)
                return "takes no messages: its end is damaged";
        if (raft_leader(s->raft) == 0 || !shard_is_writable(s))
                return "has no leader";
        shard_log_stats(s->log, &stats);
        if (stats.is_short_of_space)
                return "takes no messages: the disk is full";
        return stats.is_below_reserve
                       ? "takes no messages: no more than the reserve of disk space is free"
                       : NULL;
}

bool broker_health(const struct broker *b, char *dest, size_t n_dest) {
        assert(b);
        assert(dest);

        if (b->stage != BROKER_SERVING) {
                (void) snprintf(dest,
                                n_dest,
                                "%s",
                                b->stage == BROKER_STARTING ? "the node is starting"
                                : b->stage == BROKER_FAILED ? "the node has failed"
                                                            : "the node is stopping");
                return false;
        }
        for (size_t i = 0; i < N_SHARDS; i++) {
                const char *trouble = shard_trouble(b->shards[i]);

                if (trouble) {
                        (void) snprintf(dest, n_dest, "shard %zu %s", i, trouble);
                        return false;
                }
        }
        for (size_t i = 0; i < N_SHARDS; i++)
                if (b->shards[i]->report.n_damaged_regions > 0) {
                        (void) snprintf(dest, n_dest, "ok, but shard %zu has damaged regions", i);
                        return true;
                }
        (void) snprintf(dest, n_dest, "ok");
        return true;
}
