/* SPDX-License-Identifier: Apache-2.0 */

/* drmqctl status, drmqctl leader: how the node is that answers. */

#include <inttypes.h>
#include <stdio.h>

#include "base/format.h"
#include "base/logging.h"
#include "base/parse.h"
#include "cli/connect.h"
#include "cli/exit-code.h"
#include "drmqctl/view.h"

static const struct output_column shard_columns[] = {
        { "SHARD", "shard", OUTPUT_NUMBER },
        { "ROLE", "role", OUTPUT_TEXT },
        { "LEADER", "leader", OUTPUT_NUMBER },
        { "TERM", "term", OUTPUT_NUMBER },
        { "WRITABLE", "writable", OUTPUT_YES_NO },
        { NULL, "first_index", OUTPUT_NUMBER },
        { "LAST", "last_index", OUTPUT_NUMBER },
        { "DURABLE", "durable_index", OUTPUT_NUMBER },
        { "COMMIT", "commit_index", OUTPUT_NUMBER },
        { NULL, "applied_index", OUTPUT_NUMBER },
        { NULL, "checkpoint_index", OUTPUT_NUMBER },
        { "SEGMENTS", "segments", OUTPUT_NUMBER },
        { "LOG", "log_bytes", OUTPUT_BYTES },
        { NULL, "group_writes", OUTPUT_NUMBER },
        { NULL, "syncs", OUTPUT_NUMBER },
        { "SYNC", "last_sync_usec", OUTPUT_DURATION },
        { "DAMAGED", "damaged_regions", OUTPUT_NUMBER },
        { NULL, "replayed_entries", OUTPUT_NUMBER },
        { NULL, "pending_bytes", OUTPUT_BYTES },
        { NULL, "producers", OUTPUT_NUMBER },
        { NULL, "positions", OUTPUT_NUMBER },
        { NULL, "log_start_index", OUTPUT_NUMBER },
        { NULL, "short_of_space", OUTPUT_YES_NO },
};

static const struct output_column node_columns[] = {
        { "State", "state", OUTPUT_TEXT },
        { "Node", "node", OUTPUT_TEXT },
        { "Node id", "node_id", OUTPUT_NUMBER },
        { "Address", "address", OUTPUT_TEXT },
        { "Version", "version", OUTPUT_TEXT },
        { "Cluster id", "cluster_id", OUTPUT_TEXT },
        { NULL, "incarnation", OUTPUT_TEXT },
        { "Process", "pid", OUTPUT_NUMBER },
        { "Up for", "uptime_usec", OUTPUT_DURATION },
        { "Ready after", "ready_usec", OUTPUT_DURATION },
        { "Data", "data_dir", OUTPUT_TEXT },
        { "Disk free", "disk_free_bytes", OUTPUT_BYTES },
        { "Disk size", "disk_total_bytes", OUTPUT_BYTES },
        { "Memory", "memory_bytes", OUTPUT_BYTES },
        { "Connections", "connections", OUTPUT_NUMBER },
        { NULL, "request_bytes_used", OUTPUT_BYTES },
        { NULL, "request_bytes_limit", OUTPUT_BYTES },
        { "Topics", "topics", OUTPUT_NUMBER },
        { "Partitions", "partitions", OUTPUT_NUMBER },
        { NULL, "sync", OUTPUT_TEXT },
        { "Durable", "durable", OUTPUT_TEXT },
        { "Auto-create", "auto_create", OUTPUT_YES_NO },
        { "Snapshots", "snapshots", OUTPUT_NUMBER },
        { "Held for them", "snapshot_bytes", OUTPUT_BYTES },
        { "Shards", "shards", OUTPUT_LIST },
};

/* What is wrong with a shard, in words; NULL: nothing. */
static const char *trouble(const struct drmq_shard_info *s) {
        if (s->leader == 0)
                return "has no leader";
        if (s->n_damaged_regions > 0)
                return "has damaged regions";
        if (s->is_short_of_space)
                return "takes no messages for want of disk space";
        if (!s->is_writable)
                return "takes no messages";
        return NULL;
}

/* What a power cut takes of what was acknowledged. */
static const char *describe_sync(const char *sync, char *dest, size_t n_dest) {
        if (streq(sync, "group"))
                (void) snprintf(dest, n_dest, "group: synced before it is acknowledged");
        else if (streq(sync, "never"))
                (void) snprintf(dest, n_dest, "never: a power cut may take what is not yet synced");
        else
                (void) snprintf(dest, n_dest, "%s: a power cut may take the last %s", sync, sync);
        return dest;
}

/* "healthy", or "degraded: shard 1 has no leader, …". Return: whether it is healthy. */
static bool describe_state(const struct drmq_node_info *n, char *dest, size_t n_dest) {
        size_t k = (size_t) snprintf(dest, n_dest, "degraded:");
        bool is_healthy = true;

        for (size_t i = 0; i < n->n_shards; i++) {
                const char *what = trouble(&n->shards[i]);

                if (!what || k >= n_dest)
                        continue;
                k += (size_t) snprintf(dest + k,
                                       n_dest - k,
                                       "%s shard %" PRIu64 " %s",
                                       is_healthy ? "" : ",",
                                       n->shards[i].shard,
                                       what);
                is_healthy = false;
        }
        if (is_healthy)
                (void) snprintf(dest, n_dest, "healthy");
        return is_healthy;
}

static struct output *shard_rows(const struct drmq_node_info *n) {
        struct output *o;

        if (output_new(shard_columns, ELEMENTSOF(shard_columns), OUTPUT_ROWS, &o) < 0)
                return NULL;

        for (size_t i = 0; i < n->n_shards; i++) {
                const struct drmq_shard_info *s = &n->shards[i];

                output_number(o, s->shard);
                output_text(o, s->role);
                if (s->leader > 0)
                        output_number(o, s->leader);
                else
                        output_none(o);
                output_number(o, s->term);
                output_number(o, s->is_writable);
                output_number(o, s->first_index);
                output_number(o, s->last_index);
                output_number(o, s->durable_index);
                output_number(o, s->commit_index);
                output_number(o, s->applied_index);
                output_number(o, s->checkpoint_index);
                output_number(o, s->n_segments);
                output_number(o, s->log_bytes);
                output_number(o, s->n_groups);
                output_number(o, s->n_syncs);
                output_number(o, s->last_sync_usec);
                output_number(o, s->n_damaged_regions);
                output_number(o, s->n_replayed);
                output_number(o, s->pending_bytes);
                output_number(o, s->n_producers);
                output_number(o, s->n_positions);
                output_number(o, s->log_start_index);
                output_number(o, s->is_short_of_space);
        }
        return o;
}

static void add_node(struct output *o, const struct drmq_node_info *n, const char *state) {
        char id[FORMAT_MAX], durable[128];

        output_text(o, state);
        output_text(o, n->name);
        output_number(o, n->node_id);
        output_text(o, n->address);
        output_text(o, n->version);
        output_text(o, format_id128(id, n->cluster_id));
        output_text(o, format_id128(id, n->incarnation));
        output_number(o, n->pid);
        output_number(o, n->uptime_usec);
        output_number(o, n->ready_usec);
        output_text(o, n->data_dir);
        output_number(o, n->disk_free_bytes);
        output_number(o, n->disk_total_bytes);
        output_number(o, n->memory_bytes);
        output_number(o, n->n_connections);
        output_number(o, n->request_bytes_used);
        output_number(o, n->request_bytes_limit);
        output_number(o, n->n_topics);
        output_number(o, n->n_partitions);
        output_text(o, n->sync);
        output_text(o, describe_sync(n->sync, durable, sizeof(durable)));
        output_number(o, n->auto_create);
        output_number(o, n->n_snapshots);
        output_number(o, n->snapshot_bytes);
        output_list(o, shard_rows(n));
}

int status_show(char **args, size_t n_args, void *userdata) {
        _cleanup_(output_freep) struct output *o = NULL;
        const struct view *v = userdata;
        const struct drmq_node_info *n;
        bool is_healthy;
        char state[256];
        int r;

        (void) args;
        (void) n_args;

        r = drmq_status(v->client, &n);
        if (r < 0)
                return connect_error(v->client, r, "Cannot ask for the status");
        r = output_new(node_columns, ELEMENTSOF(node_columns), OUTPUT_RECORD, &o);
        if (r < 0)
                return log_oom();

        is_healthy = describe_state(n, state, sizeof(state));
        add_node(o, n, state);
        r = view_show(v, o);
        if (r < 0)
                return r;
        return is_healthy ? EXIT_DONE : EXIT_FAILED;
}

int status_leader(char **args, size_t n_args, void *userdata) {
        static const struct output_column columns[] = {
                { "SHARD", "shard", OUTPUT_NUMBER },
                { "LEADER", "leader", OUTPUT_NUMBER },
                { "TERM", "term", OUTPUT_NUMBER },
        };
        _cleanup_(output_freep) struct output *o = NULL;
        const struct view *v = userdata;
        const struct drmq_node_info *n;
        size_t n_found = 0, n_led = 0;
        uint64_t shard = 0;
        int r;

        if (n_args > 0 && parse_uint64(args[0], &shard) < 0) {
                log_error("'%s' is not the number of a shard; see drmqctl --help", args[0]);
                return EXIT_USAGE;
        }

        r = drmq_status(v->client, &n);
        if (r < 0)
                return connect_error(v->client, r, "Cannot ask for the leader");
        r = output_new(columns, ELEMENTSOF(columns), OUTPUT_ROWS, &o);
        if (r < 0)
                return log_oom();

        for (size_t i = 0; i < n->n_shards; i++) {
                const struct drmq_shard_info *s = &n->shards[i];

                if (n_args > 0 && s->shard != shard)
                        continue;
                n_found++;
                n_led += s->leader > 0;
                output_number(o, s->shard);
                if (s->leader > 0)
                        output_number(o, s->leader);
                else
                        output_none(o);
                output_number(o, s->term);
        }
        if (n_found == 0) {
                log_error("There is no shard %" PRIu64, shard);
                return EXIT_FAILED;
        }

        r = view_show(v, o);
        if (r < 0)
                return r;
        return n_led == n_found ? EXIT_DONE : EXIT_UNREACHABLE;
}
