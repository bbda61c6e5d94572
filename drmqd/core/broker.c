/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A broker's life: directory, shards, connections; start and stop. What requests mean is in the
 * files that core.h lists.
 *
 *  I1  Connections are accepted while serving only: every shard that can lead leads, and has
 *      applied all that is committed.
 *  I2  A stop goes forward through its stages; each has its own end: quiet shards, checkpoints,
 *      written answers.
 */
#include "drmqd/core/broker.h"

#include <inttypes.h>

#include "base/alloc.h"
#include "base/messages.h"
#include "drmqd/core/core.h"

/* Answers that a client does not take at a stop are given up after this. */
#define GOODBYE_USEC (2 * USEC_PER_SEC)
/* A disk that is full never takes what is in flight; what it has not taken by then was never
 * acknowledged. */
#define DRAIN_USEC (20 * USEC_PER_SEC)

void broker_config_init(struct broker_config *c) {
        *c = (struct broker_config){
                .node_name = "node1",
                .advertise = "127.0.0.1:9092",
                .version = "0",
                .auto_create = true,
                .default_partitions = 1,
                .segment_bytes = SEGMENT_BYTES_DEFAULT,
                .checkpoint_bytes = CHECKPOINT_BYTES_DEFAULT,
                .sync_usec = 0,
                .reserve_bytes = RESERVE_BYTES_DEFAULT,
                .request_budget_bytes = REQUEST_BUDGET_BYTES_DEFAULT,
                .fetch_budget_bytes = FETCH_BUDGET_BYTES_DEFAULT,
                .answer_budget_bytes = ANSWER_BUDGET_BYTES_DEFAULT,
                .poll_budget_bytes = POLL_BUDGET_BYTES_DEFAULT,
                .group_bytes = GROUP_BYTES_DEFAULT,
                .append_budget_bytes = APPEND_BUDGET_BYTES_DEFAULT,
                .connections_max = CONNECTIONS_MAX_DEFAULT,
                .requests_per_connection = REQUESTS_PER_CONNECTION_DEFAULT,
                .connection_out_bytes = CONNECTION_OUT_BYTES_DEFAULT,
                .batch_bytes_max = REQUEST_BYTES_MAX,
                .poll_usec_max = POLL_USEC_MAX_DEFAULT,
                .partitions_max = PARTITIONS_MAX_DEFAULT,
                .positions_max = POSITIONS_MAX_DEFAULT,
                .snapshots_max = SNAPSHOTS_MAX_DEFAULT,
                .idle_usec = IDLE_USEC_DEFAULT,
                .metrics_partitions = METRICS_PARTITIONS_DEFAULT,
        };
}

void error_init(Drmq__Proto__Error *e,
                const struct broker *b,
                enum drmq_error code,
                const char *text) {
        drmq__proto__error__init(e);
        e->code = code;
        e->retriable = drmq_error_is_retriable(code);
        e->text = (char *) text;
        e->node_id = datadir_identity(b->datadir)->node_id;
        e->leader = code == DRMQ_ERROR_NOT_LEADER ? b->advertise : (char *) protobuf_c_empty_string;
}

struct shard *broker_shard_of(const struct broker *b, uint64_t partition_id) {
        return state_topic_partition(b->shards[SHARD_METADATA]->state, partition_id)
                       ? b->shards[SHARD_DATA]
                       : NULL;
}

enum drmq_error broker_refusal(const struct broker *b, const struct shard *s) {
        if (b->stage == BROKER_FAILED || s->has_failed)
                return DRMQ_ERROR_INTERNAL;
        if (b->stage != BROKER_SERVING)
                return DRMQ_ERROR_STOPPING;
        if (!s->raft)
                return DRMQ_ERROR_NOT_WRITABLE;
        return shard_is_writable(s) ? DRMQ_ERROR_NONE : DRMQ_ERROR_NOT_LEADER;
}

void partition_bounds(const struct broker *b,
                      uint64_t partition_id,
                      uint64_t *ret_first,
                      uint64_t *ret_next) {
        const struct partition *p = state_partition(b->shards[SHARD_DATA]->state, partition_id);

        *ret_first = p ? p->first_offset : 0;
        *ret_next = p ? p->next_offset : 0;
}

/* Stopping (I2) */

static void broker_close_conns(struct broker *b) {
        struct conn *c;

        while ((c = list_first(&b->conns, struct conn, link)))
                conn_free(c);
}

static bool broker_has_unwritten(const struct broker *b) {
        LIST_FOREACH((struct list *) &b->conns, c, struct conn, link)
                if (c->out.n_bytes > 0)
                        return true;
        return false;
}

static void broker_say_goodbye(struct broker *b) {
        b->stage = BROKER_CLOSING;
        /* It was set before: moving it needs no memory. */
        (void) io_timer_set(b->io, &b->stop_timer, usec_add(io_now(b->io), GOODBYE_USEC));
}

static void broker_on_stop_timer(struct io_timer *t, void *userdata) {
        struct broker *b = userdata;

        (void) t;
        if (b->stage == BROKER_FAILED)
                return;
        if (b->stage < BROKER_CLOSING) {
                broker_say_goodbye(b);
                broker_settle(b);
                return;
        }

        broker_close_conns(b);
        b->stage = BROKER_STOPPED;
        b->events->on_stopped(b->userdata);
}

static void broker_advance_stop(struct broker *b) {
        if (b->stage == BROKER_DRAINING) {
                for (size_t i = 0; i < N_SHARDS; i++)
                        if (!shard_is_quiet(b->shards[i]))
                                return;
                if (b->topics_are_changing || !list_is_empty(&b->all_fetches) ||
                    !list_is_empty(&b->all_queries))
                        return;

                b->stage = BROKER_CHECKPOINTING;
                b->checkpoints_due = 0;
                for (size_t i = 0; i < N_SHARDS; i++)
                        b->checkpoints_due |= 1u << i;
        }

        if (b->stage == BROKER_CHECKPOINTING) {
                for (size_t i = 0; i < N_SHARDS; i++) {
                        int r;

                        if (!(b->checkpoints_due & (1u << i)))
                                continue;
                        r = shard_checkpoint(b->shards[i]);
                        if (r == 1 || (r < 0 && r != -EBUSY))
                                b->checkpoints_due &= ~(1u << i);
                }
                if (b->checkpoints_due != 0)
                        return;
                for (size_t i = 0; i < N_SHARDS; i++)
                        if (!shard_is_synced(b->shards[i]))
                                return;

                broker_say_goodbye(b);
        }

        if (b->stage == BROKER_CLOSING && !broker_has_unwritten(b))
                (void) io_timer_set(b->io, &b->stop_timer, 0);
}

void broker_stop(struct broker *b) {
        assert(b);

        if (b->stage >= BROKER_DRAINING)
                return;

        trace(b->tracer,
              LOG_INFO,
              DRMQ_MESSAGE_STOPPING,
              /* fields= */ NULL,
              "Node %s stops",
              b->node_name);
        b->stage = BROKER_DRAINING;
        /* else: no limit */
        (void) io_timer_set(b->io, &b->stop_timer, usec_add(io_now(b->io), DRAIN_USEC));
        for (size_t i = 0; i < N_SHARDS; i++)
                shard_prepare_stop(b->shards[i]);
        fetch_stop(b);
        snapshots_stop(b);
        broker_settle(b);
}

/* Events */

/* Lets in who waits for room for a request: large ones in the order in which they came, so that
 * none is overtaken for ever. Return: whether there was one. */
static bool broker_resume_conns(struct broker *b) {
        bool has_resumed = false;
        struct conn *c;

        while ((c = list_first(&b->paused_conns, struct conn, paused)) && conn_resume(c))
                has_resumed = true;
        if (!budget_is_low(&b->small_requests))
                return has_resumed;

        while ((c = list_first(&b->paused_small_conns, struct conn, paused))) {
                conn_resume_small(c);
                has_resumed = true;
        }
        return has_resumed;
}

void broker_settle(struct broker *b) {
        struct conn *c;

        if (b->stage == BROKER_FAILED)
                return; /* nothing is answered any more */

        do {
                while ((c = list_pop(&b->dirty_conns, struct conn, dirty)))
                        conn_settle(c);
                fetch_resume(b);
                snapshots_resume(b);
                /* What was freed makes room: once more, as long as somebody has it. */
        } while (broker_resume_conns(b) || !list_is_empty(&b->dirty_conns));

        if (b->stage >= BROKER_DRAINING)
                broker_advance_stop(b);
}

static void on_shard_ready(void *userdata, struct shard *s) {
        struct broker *b = userdata;

        (void) s;
        if (b->stage != BROKER_STARTING)
                return;

        for (size_t i = 0; i < N_SHARDS; i++)
                if (b->shards[i]->raft && !b->shards[i]->is_ready)
                        return;

        (void) topics_reconcile(b); /* or the next start */
        b->stage = BROKER_SERVING;  /* I1 */
        b->ready_usec = io_now(b->io);
        b->events->on_ready(b->userdata);
}

static void on_shard_checkpoint(void *userdata, struct shard *s, int error) {
        struct broker *b = userdata;

        if (b->stage == BROKER_CHECKPOINTING && error < 0)
                b->checkpoints_due &= ~(1u << s->number); /* the next start reads the log instead */
}

static void on_shard_fatal(void *userdata, int error, const char *what) {
        struct broker *b = userdata;

        if (b->stage == BROKER_FAILED)
                return;

        b->stage = BROKER_FAILED;
        b->events->on_fatal(b->userdata, error, what);
}

static void on_shard_event_done(void *userdata) {
        broker_settle(userdata);
}

static void on_shard_rolled(void *userdata, struct shard *s, uint64_t last_index) {
        snapshots_on_rolled(userdata, s, last_index);
}

static const struct shard_events shard_events = {
        .on_rolled = on_shard_rolled,
        .on_ready = on_shard_ready,
        .on_checkpoint = on_shard_checkpoint,
        .on_fatal = on_shard_fatal,
        .on_event_done = on_shard_event_done,
};

int broker_accept(struct broker *b, struct io_stream *s) {
        struct conn *c;
        int r;

        assert(b);
        assert(s);

        r = b->stage != BROKER_SERVING         ? -ECANCELED
            : b->n_conns >= b->connections_max ? -EMFILE
                                               : conn_new(b, s, &c);
        if (r < 0) {
                b->metrics.n_refused++;
                io_stream_close(s);
                return r;
        }

        b->metrics.n_accepted++;
        broker_settle(b);
        return 0;
}

/* Life */

/* Metadata is never dropped: its log is short. */
static struct retention_limits broker_retention(const struct broker_config *config,
                                                uint64_t number) {
        if (number == SHARD_METADATA)
                return (struct retention_limits){ 0 };
        return (struct retention_limits){
                .max_bytes = config->log_max_bytes,
                .max_age_usec = config->log_max_age_usec,
        };
}

static int broker_open_shard(struct broker *b,
                             const struct broker_config *config,
                             uint64_t number,
                             char **reterr_what) {
        _cleanup_(mem_freep) char *dir = NULL;
        int r;

        if (!datadir_has_shard(b->datadir, number)) {
                r = datadir_create_shard(b->datadir, number);
                if (r < 0) {
                        *reterr_what = mem_asprintf("cannot create shard %" PRIu64, number);
                        return r;
                }
        }

        dir = datadir_shard_path(b->datadir, number);
        if (!dir)
                return -ENOMEM;
        r = shard_new(b->io,
                      &(struct shard_config){
                              .number = number,
                              .node_id = datadir_identity(b->datadir)->node_id,
                              .dir = dir,
                              .segment_bytes = number == SHARD_METADATA ? SEGMENT_BYTES_METADATA
                                                                        : config->segment_bytes,
                              .group_bytes = (uint32_t) config->group_bytes,
                              .append_budget_bytes = (uint32_t) config->append_budget_bytes,
                              .checkpoint_bytes = config->checkpoint_bytes,
                              .sync_usec = number == SHARD_METADATA ? 0 : config->sync_usec,
                              .reserve_bytes = config->reserve_bytes,
                              .retention = broker_retention(config, number),
                              .tracer = b->tracer,
                      },
                      &shard_events,
                      b,
                      &b->shards[number]);
        if (r < 0)
                *reterr_what = mem_asprintf("cannot recover the log in %s", dir);
        return r;
}

static int broker_open(struct broker *b, const struct broker_config *config, char **reterr_what) {
        int r;

        r = datadir_open(
                b->io, config->data_dir, config->node_id, b->tracer, &b->datadir, reterr_what);
        if (r < 0)
                return r;

        for (uint64_t i = 0; i < N_SHARDS; i++) {
                r = broker_open_shard(b, config, i, reterr_what);
                if (r < 0)
                        return r;
        }

        r = snapshots_open(b);
        if (r < 0)
                *reterr_what = mem_asprintf("cannot look into %s/snapshots", config->data_dir);
        return r;
}

/* What holds at a start and can change later. */
static void broker_apply(struct broker *b, const struct broker_config *config) {
        uint64_t request_bytes = config->request_budget_bytes;
        uint64_t fetch_bytes = config->fetch_budget_bytes;

        b->idle_usec = config->idle_usec;
        b->auto_create = config->auto_create;
        b->default_partitions = (uint32_t) config->default_partitions;
        b->connections_max = config->connections_max;
        b->requests_per_connection = config->requests_per_connection;
        b->connection_out_bytes = config->connection_out_bytes;
        b->batch_bytes_max = config->batch_bytes_max;
        b->poll_usec_max = config->poll_usec_max;
        b->partitions_max = config->partitions_max;
        b->positions_max = config->positions_max;
        b->snapshots_max = config->snapshots_max;
        budget_set_limit(&b->requests, request_bytes, request_bytes / 2);
        budget_set_limit(&b->small_requests, request_bytes / 8, request_bytes / 16);
        budget_set_limit(&b->fetches, fetch_bytes, fetch_bytes / 2);
        budget_set_limit(&b->answers, config->answer_budget_bytes, config->answer_budget_bytes);
        budget_set_limit(&b->polls, config->poll_budget_bytes, config->poll_budget_bytes);
}

int broker_new(struct io *io,
               const struct broker_config *config,
               const struct broker_events *events,
               void *userdata,
               struct broker **ret,
               char **reterr_what) {
        _cleanup_(broker_freep) struct broker *b = NULL;
        int r;

        assert(io);
        assert(config);
        assert(events);
        assert(ret);
        assert(reterr_what);

        *reterr_what = NULL;
        b = new0(struct broker, 1);
        if (!b)
                return -ENOMEM;

        b->io = io;
        b->tracer = config->tracer;
        b->events = events;
        b->userdata = userdata;
        b->pid = config->pid;
        b->started_usec = config->started_usec;
        b->stop_timer = (struct io_timer){ .on_timer = broker_on_stop_timer, .userdata = b };
        list_init(&b->conns);
        list_init(&b->dirty_conns);
        list_init(&b->paused_conns);
        list_init(&b->paused_small_conns);
        list_init(&b->all_fetches);
        list_init(&b->waiting_fetches);
        list_init(&b->waiting_jobs);
        list_init(&b->all_queries);
        list_init(&b->topic_changes);
        metrics_init(&b->metrics, (uint32_t) config->metrics_partitions);
        broker_apply(b, config);
        b->node_name = mem_strdup(config->node_name);
        b->advertise = mem_strdup(config->advertise);
        b->version = mem_strdup(config->version);
        if (!b->node_name || !b->advertise || !b->version)
                return -ENOMEM;

        r = broker_open(b, config, reterr_what);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(b);
        return 0;
}

void broker_start(struct broker *b) {
        assert(b);
        assert(b->stage == BROKER_STARTING);

        for (size_t i = 0; i < N_SHARDS; i++)
                shard_start(b->shards[i]);
        /* where none of them can lead: it serves what is good */
        on_shard_ready(b, b->shards[SHARD_METADATA]);
        broker_settle(b);
}

void broker_reconfigure(struct broker *b, const struct broker_config *config) {
        assert(b);
        assert(config);

        broker_apply(b, config);
        for (size_t i = 0; i < N_SHARDS; i++) {
                const struct retention_limits limits = broker_retention(config, i);

                b->shards[i]->checkpoint_bytes = config->checkpoint_bytes;
                shard_set_retention(b->shards[i], &limits);
                shard_log_set_reserve(b->shards[i]->log, config->reserve_bytes);
        }
        shard_log_set_sync(b->shards[SHARD_DATA]->log, config->sync_usec);
        broker_settle(b); /* there may be room now */
}

void broker_set_settings(struct broker *b, const struct broker_setting *settings, size_t n) {
        assert(b);
        assert(settings || n == 0);

        b->settings = settings;
        b->n_settings = n;
}

struct broker *broker_free(struct broker *b) {
        if (!b)
                return NULL;

        b->stage = BROKER_FAILED; /* nothing is answered from here on */
        io_timer_cancel(b->io, &b->stop_timer);
        broker_close_conns(b);
        if (b->shards[SHARD_DATA])
                fetch_free_all(b);
        offsets_free_all(b);
        topics_free_all(b);
        b->snapshots = snapshots_free(b->snapshots);
        for (size_t i = 0; i < N_SHARDS; i++)
                b->shards[i] = shard_free(b->shards[i]);
        b->datadir = datadir_free(b->datadir);
        metrics_done(&b->metrics);
        mem_free(b->node_name);
        mem_free(b->advertise);
        mem_free(b->version);
        return mem_free(b);
}

void broker_summary(const struct broker *b, struct broker_summary *ret) {
        const struct shard *data;

        assert(b);
        assert(ret);

        data = b->shards[SHARD_DATA];
        *ret = (struct broker_summary){
                .node_id = datadir_identity(b->datadir)->node_id,
                .n_topics = b->shards[SHARD_METADATA]->state->topics.n_nodes,
                .n_connections = b->n_conns,
                .role = raft_role_name(data->raft ? raft_role(data->raft) : RAFT_FOLLOWER),
                .term = data->raft ? raft_term(data->raft) : shard_log_term(data->log),
                .is_writable = true,
        };
        for (size_t i = 0; i < N_SHARDS; i++) {
                struct shard_log_stats stats;

                shard_log_stats(b->shards[i]->log, &stats);
                ret->log_bytes += stats.n_bytes;
                ret->n_replayed += b->shards[i]->n_replayed;
                ret->is_writable = ret->is_writable && shard_is_writable(b->shards[i]);
        }
}
