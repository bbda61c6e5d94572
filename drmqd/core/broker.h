/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The broker: a node's directory, its shards, and its clients' connections, behind struct io alone.
 * The daemon's shell (drmqd/shell.h) and the simulator own one each, and hand it the streams that
 * they accept.
 *
 *     new (recovers; blocks) -> start -> on_ready -> accept … -> stop -> on_stopped -> free
 *
 * on_fatal may come at any time: the owner frees the broker from a callback of its own event loop
 * (not from within on_fatal) and ends the process: what is on disk is recovered at the next start.
 */

#include "base/macro.h"
#include "base/time.h"
#include "base/trace.h"
#include "io/io.h"

struct broker;

#define REQUEST_BUDGET_BYTES_DEFAULT (UINT64_C(48) << 20)
#define FETCH_BUDGET_BYTES_DEFAULT (UINT64_C(32) << 20)
#define RESERVE_BYTES_DEFAULT (UINT64_C(64) << 20)
#define CHECKPOINT_BYTES_DEFAULT (UINT64_C(128) << 20)
#define ANSWER_BUDGET_BYTES_DEFAULT (UINT64_C(48) << 20)
#define POLL_BUDGET_BYTES_DEFAULT (UINT64_C(48) << 20)
#define CONNECTIONS_MAX_DEFAULT 10000u
/* Of one connection: requests under way, and bytes of answers that are not written yet. Past either
 * it is not read. */
#define REQUESTS_PER_CONNECTION_DEFAULT 512u
#define CONNECTION_OUT_BYTES_DEFAULT (UINT64_C(4) << 20)
#define POLL_USEC_MAX_DEFAULT (10 * USEC_PER_MINUTE)
#define PARTITIONS_MAX_DEFAULT 1000000u
#define POSITIONS_MAX_DEFAULT 1000000u
#define SNAPSHOTS_MAX_DEFAULT 16u
#define IDLE_USEC_DEFAULT (30 * USEC_PER_SEC)
#define METRICS_PARTITIONS_DEFAULT 1000u
/* A report of so many is one step of the event loop, and one frame. */
#define METRICS_PARTITIONS_MAX 5000u

struct broker_config {
        const char *data_dir;
        const char *node_name;
        uint64_t node_id;      /* 0: whoever the directory says */
        const char *advertise; /* address that metadata gives out */
        const char *version;
        uint64_t pid;        /* for status */
        usec_t started_usec; /* io_now() when the process began: for status */
        bool auto_create;    /* a topic is made when it is first sent to */
        uint64_t default_partitions;
        uint64_t segment_bytes; /* of data shards */
        uint64_t checkpoint_bytes;
        usec_t sync_usec; /* of data shards: see struct shard_log_config */
        uint64_t reserve_bytes;
        /* of data shards: what is more, or older, goes, the oldest segments first; 0: off */
        uint64_t log_max_bytes;
        usec_t log_max_age_usec;
        /* half-received and unanswered requests of all connections */
        uint64_t request_budget_bytes;
        uint64_t fetch_budget_bytes;  /* answers to fetches that are being read or sent */
        uint64_t answer_budget_bytes; /* other answers that wait to be sent */
        uint64_t poll_budget_bytes;   /* long polls that wait */
        uint64_t group_bytes;         /* of data shards: see struct shard_log_config, … */
        uint64_t append_budget_bytes; /* … this too */
        uint64_t connections_max;
        uint64_t requests_per_connection;
        uint64_t connection_out_bytes;
        uint64_t batch_bytes_max; /* a larger one is refused */
        usec_t poll_usec_max;     /* a long poll is answered after so long */
        uint64_t partitions_max;  /* of all topics: none are made past it */
        uint64_t positions_max;   /* committed ones: no new ones are taken past it */
        uint64_t snapshots_max;   /* that may be held at a time */
        /* half a frame, no greeting, or answers not taken for so long end a connection */
        usec_t idle_usec;
        uint64_t metrics_partitions; /* so many partitions have series of their own */
        const struct tracer *tracer; /* borrows until broker_free(); may be NULL */
};

/* The defaults, but for data_dir. */
void broker_config_init(struct broker_config *c);

/* What only the process can know of itself. */
struct broker_usage {
        uint64_t resident_bytes;
        usec_t cpu_usec;  /* user and system */
        uint64_t n_files; /* descriptors in use */
        uint64_t n_files_max;
};

struct broker_events {
        void (*on_ready)(void *userdata);
        void (*on_stopped)(void *userdata);
        /* The disk lied, or memory for what must not fail is gone: the process must stop. @error:
         * negative errno. */
        void (*on_fatal)(void *userdata, int error, const char *what);
        /* For metrics: fills @ret in as far as it can; what it leaves is 0. NULL: nobody knows. */
        void (*on_usage)(void *userdata, struct broker_usage *ret);
};

/**
 * broker_new() - open the directory, recover every shard
 * @config: borrows until return, but for the tracer
 * @reterr_what: in words what failed, mem_free(); may be NULL after a failure
 *
 * Return: 0; the errors of datadir_open() and shard_log_open().
 */
int broker_new(struct io *io,
               const struct broker_config *config,
               const struct broker_events *events,
               void *userdata,
               struct broker **ret,
               char **reterr_what);
/* Drops connections and whatever is under way. NULL is fine. */
struct broker *broker_free(struct broker *b);
DEFINE_CLEANUP(struct broker *, broker_free)

void broker_start(struct broker *b);
/* Applies what of @config can change while it runs: auto_create, default_partitions, sync_usec,
 * reserve_bytes, checkpoint_bytes, log_max_bytes, log_max_age_usec, the budgets but
 * append_budget_bytes, what ends in _max, what is per connection, idle_usec. The rest is not looked
 * at. */
void broker_reconfigure(struct broker *b, const struct broker_config *config);
/* Takes an accepted stream; events go to the broker from now on. Return: 0; -EMFILE over
 * connections_max; -ENOMEM; the stream is closed then too. */
int broker_accept(struct broker *b, struct io_stream *s);
/* Refuses new work, answers what is in flight, writes checkpoints, says goodbye; then
 * on_stopped(). */
void broker_stop(struct broker *b);

/* One key of the configuration, for who asks the node for it (FRAME_CONFIG). */
struct broker_setting {
        char *name;
        char *value;
        char *default_value;
        char *source;  /* "default", "file", "environment", "command line" */
        char *where;   /* "FILE:LINE", a variable, an option; empty for the default */
        char *pending; /* what a restart would make of it; empty: the same */
        bool can_reload;
};
/* What it answers from now on; borrows until the next call, or broker_free(). */
void broker_set_settings(struct broker *b, const struct broker_setting *settings, size_t n);

/* For the shell's own words. */
struct broker_summary {
        uint64_t node_id;
        uint64_t n_topics;
        uint64_t n_replayed;
        uint64_t n_connections;
        const char *role; /* of the shard that holds messages, "leader"; borrows for ever */
        uint64_t term;    /* the same */
        uint64_t log_bytes;
        bool is_writable;
};
void broker_summary(const struct broker *b, struct broker_summary *ret);
