/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the files of the broker's core share: struct broker, and the handlers that conn.c dispatches
 * to. Nobody outside of drmqd/core includes this; the face is broker.h.
 *
 * Each handler takes its request and answers it exactly once, now or later (request_answer(),
 * request_fail()).
 */

#include "base/budget.h"
#include "base/format.h"
#include "base/list.h"
#include "base/map.h"
#include "drmqd/core/broker.h"
#include "drmqd/core/conn.h"
#include "drmqd/core/metrics.h"
#include "drmqd/core/shard.h"
#include "log/datadir.h"
#include "proto/drmq.pb-c.h"
#include "proto/message.h"

#define SHARD_METADATA 0u
#define SHARD_DATA 1u
#define N_SHARDS 2u

enum broker_stage {
        BROKER_STARTING,
        BROKER_SERVING,
        BROKER_DRAINING, /* nothing new; what is in flight is answered */
        BROKER_CHECKPOINTING,
        BROKER_CLOSING, /* answers go out */
        BROKER_STOPPED,
        BROKER_FAILED,
};

struct broker {
        struct io *io;
        const struct tracer *tracer;
        const struct broker_events *events;
        void *userdata;

        char *node_name;
        char *advertise;
        char *version;
        uint64_t pid;
        usec_t started_usec;
        usec_t ready_usec;
        usec_t idle_usec;
        bool auto_create;
        uint32_t default_partitions;
        uint64_t connections_max;
        uint64_t requests_per_connection;
        uint64_t connection_out_bytes;
        uint64_t batch_bytes_max;
        usec_t poll_usec_max;
        uint64_t partitions_max;
        uint64_t positions_max;
        uint64_t snapshots_max;
        const struct broker_setting *settings;
        size_t n_settings;

        struct datadir *datadir;
        struct shard *shards[N_SHARDS];
        enum broker_stage stage;
        struct io_timer stop_timer;
        unsigned checkpoints_due; /* bit per shard, while stopping */

        struct list conns;
        size_t n_conns;
        struct list dirty_conns;
        /* Who waits for the budget of requests: in the order in which they are let in; and for the
         * one of small requests. */
        struct list paused_conns;
        struct list paused_small_conns;
        size_t held_bytes;      /* receive buffers that keep a part of a small frame */
        struct budget requests; /* whose length was charged before they were received */
        /* All others: an eighth of that beside it. So neither kind keeps the other out. */
        struct budget small_requests;
        struct budget fetches;
        struct budget answers;   /* that wait to be sent, without what fetches brought */
        struct budget polls;     /* fetches that wait for messages: they hold nothing of requests */
        struct list all_fetches; /* fetch.c */
        struct list waiting_fetches; /* for the fetch budget, oldest first */
        struct list waiting_jobs;    /* fetches that have their charge, and wait for a job */
        size_t waiting_job_bytes;    /* what they have charged */
        unsigned n_fetch_jobs;
        struct list all_queries; /* offsets.c */

        struct metrics metrics;
        struct snapshots *snapshots; /* snapshot.c */

        /* requests that change topics, one after the other (topics.c) */
        struct list topic_changes;
        bool topics_are_changing;
};

/* Called at the end of every event that reaches the core: writes what there is to write, frees what
 * is closed. */
void broker_settle(struct broker *b);
/* The shard that holds a partition; NULL: no such partition. */
struct shard *broker_shard_of(const struct broker *b, uint64_t partition_id);
/* Why nothing can be proposed to a shard now; DRMQ_ERROR_NONE: it can. */
enum drmq_error broker_refusal(const struct broker *b, const struct shard *s);
/* Where an asked offset lies (drmqd/core/fetch.c uses it too). */
void partition_bounds(const struct broker *b,
                      uint64_t partition_id,
                      uint64_t *ret_first,
                      uint64_t *ret_next);

/* Fills a protobuf Error; @text is the caller's. */
void error_init(Drmq__Proto__Error *e,
                const struct broker *b,
                enum drmq_error code,
                const char *text);

/* produce.c */
void handle_produce(struct request *r);

/* fetch.c */
void handle_fetch(struct request *r);
/* What was being sent to this client is out: its next fetch has its turn. */
void fetch_on_conn_drained(struct conn *c);
void fetch_conn_init(struct conn *c);
void fetch_conn_done(struct conn *c);
/* Charges the fetch budget, which may be exceeded by an eighth: by @n_bytes as small as the share
 * of one who comes when it is full. Return: whether it was. */
bool fetch_charge(struct broker *b, size_t n_bytes);
/* Whether fetches wait for what others hold of the budget. */
bool fetches_wait(const struct broker *b);
/* There may be room in the fetch budget again. */
void fetch_resume(struct broker *b);
/* Answers all that waits; what is being read is answered when it is read. */
void fetch_stop(struct broker *b);
void fetch_free_all(struct broker *b);

/* offsets.c */
void handle_offsets(struct request *r);
void offsets_free_all(struct broker *b);

/* topics.c */
void handle_metadata(struct request *r);
void handle_topic_create(struct request *r);
void handle_topic_alter(struct request *r);
void handle_topic_delete(struct request *r);
/* Drops, on the data shard, what shard 0 no longer knows: a delete that a crash interrupted. */
int topics_reconcile(struct broker *b);
void topics_free_all(struct broker *b);

/* positions.c */
void handle_position_commit(struct request *r);
void handle_position_fetch(struct request *r);

/* report.c */
void handle_metrics(struct request *r);
/* All metrics as text. Return: 0; -ENOMEM; -EMSGSIZE over the writer's limit. */
int broker_report(struct broker *b, struct byte_writer *w);
/* Whether clients are served in full, and one line of why not, or "ok" with what an operator should
 * look at. */
bool broker_health(const struct broker *b, char *dest, size_t n_dest);
/* snapshot.c */
/* Finds what is held. Blocks: start-up only. Return: 0; what the disk says. */
int snapshots_open(struct broker *b);
struct snapshots *snapshots_free(struct snapshots *s);
/* A shard has closed a segment. */
void snapshots_on_rolled(struct broker *b, struct shard *s, uint64_t last_index);
/* Reads that wait may have their turn now. */
void snapshots_resume(struct broker *b);
/* What is under way is answered: it may be asked for again at the next start. */
void snapshots_stop(struct broker *b);
/* How many are held, and how many bytes for them alone. */
size_t snapshots_held(const struct broker *b, uint64_t *ret_pinned_bytes);
void handle_snapshot_create(struct request *r);
void handle_snapshot_list(struct request *r);
void handle_snapshot_read(struct request *r);
void handle_snapshot_delete(struct request *r);

/* status.c */
/* How messages are synced before they are acknowledged: "group", "never", or after which time. */
const char *broker_sync_text(const struct broker *b, char dest[static FORMAT_MAX]);
void handle_status(struct request *r);
void handle_partition(struct request *r);
void handle_config(struct request *r);
