/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * libdrmq: send to and receive from DRMQ. The same API that drmq-send, drmq-recv and drmqctl use.
 *
 * Functions return 0 or a count, or a negative errno; drmq_client_error() then says in words what,
 * where and why. A client and all that was made from it belong to one thread at a time; different
 * clients are independent. Calls block, up to the client's time limit, unless said otherwise. The
 * library prints nothing, never exits, and has no global state. Pointers that a call hands out are
 * borrowed until the next call on the same object, unless said otherwise. After fork(2) the child
 * makes clients of its own, and leaves those of its parent alone: it may not even free them.
 *
 * Errors that every call may give: -EINVAL an argument that cannot be; -ENOMEM; -ETIMEDOUT not done
 * within the time limit (it may still be); -ENOTCONN nobody reachable; -EAGAIN no leader; -EPROTO
 * the peer does not speak DRMQ; -ECANCELED drmq_client_interrupt() was called; -EPERM not
 * permitted; -EDEADLK called from within a delivery or partition callback.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct drmq_client drmq_client;
typedef struct drmq_producer drmq_producer;
typedef struct drmq_consumer drmq_consumer;
typedef struct drmq_message drmq_message;
struct sd_event; /* <systemd/sd-event.h> */

/* "Try again": called from drmq_client_dispatch(), or from the loop that the client is attached to.
 * It may call anything, and free what it wants. */
typedef void (*drmq_ready_callback)(void *userdata);

/* "0.2.0" */
const char *drmq_version(void);

/* ---- Client: where the brokers are ---- */

/**
 * drmq_client_new() - a client of a cluster
 * @brokers: "host:port,unix:/path,…"; tried in random order. NULL: $DRMQ_BROKERS; without it the
 *           only live socket in /run/drmq/, else the only one in $XDG_RUNTIME_DIR/drmq/, else
 *           127.0.0.1:9092
 *
 * Connects when it is first needed. Return: 0; -EINVAL @brokers is not a list of addresses;
 * -ENOTUNIQ there are several sockets: name one (drmq_client_error() is not available without a
 * client; drmq_default_brokers() tells them).
 */
int drmq_client_new(const char *brokers, drmq_client **ret);
/* Takes NULL, returns NULL. Producers and consumers of it may be freed before or after: until the
 * last one has gone they go on working. */
drmq_client *drmq_client_free(drmq_client *c);
/* What the last failed call of this client, or of what was made from it, has to say. Never NULL. */
const char *drmq_client_error(const drmq_client *c);
/* How long a blocking call waits in all, retries included. Default 30 s; UINT64_MAX: for ever. A
 * producer takes it over with its first message, a consumer with its first subscription. */
int drmq_client_set_timeout(drmq_client *c, uint64_t timeout_usec);
/* Makes the call that blocks, and those after it, return -ECANCELED soon; safe in a signal handler
 * and from any thread. */
void drmq_client_interrupt(drmq_client *c);
/* Takes that back. */
void drmq_client_resume(drmq_client *c);
/* The list that NULL stands for, as a new string (free()). -ENOTUNIQ: several sockets,
 * comma-separated in @ret all the same. */
int drmq_default_brokers(char **ret);

/*
 * On the caller's loop. A client that does not block waits for nothing in these:
 *
 *     drmq_producer_send()         -EAGAIN where the buffer is full, or the topic's partitions are
 *                                  being asked for; the ready callback says when to try again
 *     drmq_producer_flush()        sends all now; -EINPROGRESS as long as something is on its way
 *     drmq_consumer_subscribe()    0; what is wrong with the topic is told by drmq_consumer_poll()
 *     drmq_consumer_poll()         as with a time limit of 0
 *     drmq_consumer_commit(), drmq_consumer_commit_offset()
 *                                  begin; a failure is told by drmq_consumer_poll(); -EAGAIN the
 *                                  one before has not ended
 *
 * All others wait for their answer all the same. Either attach the client to an sd_event loop, or
 * wait by other means for drmq_client_fd() to become readable (POLLIN), for drmq_client_wait_usec()
 * at most, and then call drmq_client_dispatch().
 */
int drmq_client_set_nonblocking(drmq_client *c, bool on);
/* A descriptor to wait for, the same as long as the client lives; never read from it. */
int drmq_client_fd(drmq_client *c);
/* How long to wait for it at most; 0: dispatch at once; UINT64_MAX: for ever. Ask anew after each
 * call on the client, or on what was made from it. */
uint64_t drmq_client_wait_usec(drmq_client *c);
/* Handles what is at hand, never waits: sends, takes answers, calls back. Return: 1; 0 there was
 * nothing; -EDEADLK; the loop's own failures. */
int drmq_client_dispatch(drmq_client *c);
/* The same done by @event (shares), with @priority; it does not block from then on. No thread is
 * needed. -EBUSY it is attached already. */
int drmq_client_attach_event(drmq_client *c, struct sd_event *event, int64_t priority);
/* It blocks again. Nothing happens where it is not attached. */
void drmq_client_detach_event(drmq_client *c);

/* ---- Producer ---- */

enum drmq_codec {
        DRMQ_CODEC_NONE,
        DRMQ_CODEC_GZIP,
        DRMQ_CODEC_SNAPPY,
        DRMQ_CODEC_LZ4,
        DRMQ_CODEC_ZSTD,
};

enum drmq_acks {
        DRMQ_ACKS_ALL,    /* on a majority of disks, synced */
        DRMQ_ACKS_LEADER, /* on the leader's disk, synced */
        DRMQ_ACKS_NONE,   /* handed to the socket */
};

enum drmq_partitioner {
        DRMQ_PARTITIONER_MURMUR2, /* Kafka's rule for keys; without a key whole batches in turn */
        DRMQ_PARTITIONER_CRC32,   /* librdkafka's rule for keys */
        DRMQ_PARTITIONER_ROUND_ROBIN, /* whole batches in turn, keys or not */
};

/* Gives the partition, 0..@n_partitions-1, for a message. @key may be NULL. */
typedef uint32_t (*drmq_partition_callback)(void *userdata,
                                            const void *key,
                                            size_t key_size,
                                            uint32_t n_partitions);

/* One delivered batch: messages @base_offset.. of that partition, or @error (negative errno; @text
 * says why). The messages are those sent to that partition in order, @n_messages of them. @tags are
 * what the caller gave with each message. */
struct drmq_delivery {
        const char *topic;
        uint32_t partition;
        uint64_t base_offset;
        uint32_t n_messages;
        uint64_t n_bytes;     /* of keys, values and headers */
        const uint64_t *tags; /* n_messages; NULL unless drmq_producer_set_tags() */
        int error;
        const char *text;
};
typedef void (*drmq_delivery_callback)(void *userdata, const struct drmq_delivery *d);

/* A node refused for now (negative errno: -ENOSPC its disk is full, -EAGAIN it does not lead, …): what
 * was sent is sent again until its time is up, so there is nothing to do. @text says why; borrowed
 * until return. May come often. */
typedef void (*drmq_refusal_callback)(void *userdata, int error, const char *text);

struct drmq_header {
        const char *name;
        const void *value; /* NULL: no value */
        size_t value_size;
};

int drmq_producer_new(drmq_client *c, drmq_producer **ret);
/* What is still unsent is dropped: drmq_producer_flush() before. Takes NULL, returns NULL. */
drmq_producer *drmq_producer_free(drmq_producer *p);

/* All of these before the first send: -EBUSY after it; -EINVAL out of range. */
int drmq_producer_set_acks(drmq_producer *p, enum drmq_acks acks);
/* @level 0: the codec's default. */
int drmq_producer_set_codec(drmq_producer *p, enum drmq_codec codec, int level);
/* How long a batch waits for more; default 5 ms. 0: a message goes at once, and what comes while it
 * is under way goes together. */
int drmq_producer_set_linger(drmq_producer *p, uint64_t usec);
/* Default 256 KiB; 1 KiB to 8 MiB. */
int drmq_producer_set_batch_bytes(drmq_producer *p, size_t n_bytes);
/* Of what is not acknowledged yet; default 32 MiB. */
int drmq_producer_set_buffer_bytes(drmq_producer *p, size_t n_bytes);
/* Default on; off with acks none. With it what is sent to a partition is there once and in the order
 * in which it was sent, whatever breaks; without it a retry may double messages. */
int drmq_producer_set_idempotence(drmq_producer *p, bool on);
int drmq_producer_set_partitioner(drmq_producer *p, enum drmq_partitioner which);
int drmq_producer_set_partition_callback(drmq_producer *p,
                                         drmq_partition_callback callback,
                                         void *userdata);
/* Everything between two flushes is one atomic request: all of it, for all its topics, or nothing.
 * Its size is bounded by the request limit (16 MiB): -EMSGSIZE from send past it. */
int drmq_producer_set_atomic(drmq_producer *p, bool on);
int drmq_producer_set_tags(drmq_producer *p, bool on);
/* Called from within calls on this producer, or on what else belongs to its client; never from
 * elsewhere. It must not call any of them. */
int drmq_producer_set_refusal_callback(drmq_producer *p,
                                       drmq_refusal_callback callback,
                                       void *userdata);
int drmq_producer_set_delivery_callback(drmq_producer *p,
                                        drmq_delivery_callback callback,
                                        void *userdata);

/* Called once after drmq_producer_send() said -EAGAIN on a client that does not block. NULL: not.
 * At any time. */
int drmq_producer_set_ready_callback(drmq_producer *p,
                                     drmq_ready_callback callback,
                                     void *userdata);

#define DRMQ_PARTITION_ANY UINT32_MAX

struct drmq_outgoing {
        const char *topic;
        uint32_t partition; /* DRMQ_PARTITION_ANY: by key */
        const void *key;    /* NULL: none */
        size_t key_size;
        const void *value; /* NULL: none (a tombstone) */
        size_t value_size;
        const struct drmq_header *headers;
        size_t n_headers;
        int64_t timestamp_ms; /* 0: now */
        uint64_t tag;
};

/**
 * drmq_producer_send() - put a message on its way
 * @m: borrows until return: all is copied
 *
 * Blocks only while the buffer is full, or while the topic's partitions are not known yet. Whether
 * it arrived says the delivery callback, or drmq_producer_flush().
 *
 * Return: 0; -EMSGSIZE larger than the message limit (8 MiB); -ENOENT no such topic; -ENXIO no such
 * partition; -EINVAL not a valid topic name; and the errors above.
 */
int drmq_producer_send(drmq_producer *p, const struct drmq_outgoing *m);
/**
 * drmq_producer_send_sync() - send a message and wait until it is there
 * @ret_offset: its offset in its partition; UINT64_MAX with acks none; may be NULL
 *
 * It does not linger. Calls of several threads' producers, or drmq_producer_send() with a callback,
 * are what brings throughput. After -ETIMEDOUT, -ECANCELED, -ENOTCONN and -EILSEQ it may be in the
 * log all the same, or come to be: sending it again may double it.
 *
 * Return: 0; what drmq_producer_send() may say; -EINVAL the producer is atomic; what the node says
 * against the message.
 */
int drmq_producer_send_sync(drmq_producer *p, const struct drmq_outgoing *m, uint64_t *ret_offset);
/* Moves things along without blocking: sends what has lingered, takes answers, calls back. */
int drmq_producer_poll(drmq_producer *p);
/* Sends all now and waits for every answer. Return: 0 all that was sent since the last flush is in
 * the log; otherwise the first error (but not of what drmq_producer_send_sync() told already). */
int drmq_producer_flush(drmq_producer *p);
/* The same, but it waits so long at most. -EINPROGRESS: not all has been answered; it goes on. */
int drmq_producer_flush_timeout(drmq_producer *p, uint64_t timeout_usec);
/* A descriptor that becomes readable when drmq_producer_poll() has something to do, and the time
 * until then (UINT64_MAX: none), for who waits for input at the same time. As drmq_client_fd() and
 * drmq_client_wait_usec(), but for ever where nothing is on its way. */
int drmq_producer_fd(drmq_producer *p);
uint64_t drmq_producer_wait_usec(drmq_producer *p);

struct drmq_producer_sums {
        uint64_t n_sent; /* messages given to drmq_producer_send() */
        uint64_t n_acknowledged;
        uint64_t n_failed;
        uint64_t n_bytes_acknowledged; /* keys, values, headers */
        uint64_t n_retries;            /* requests sent again */
};
void drmq_producer_sums(const drmq_producer *p, struct drmq_producer_sums *ret);

/* ---- Consumer: single mode ---- */

enum drmq_from {
        DRMQ_FROM_BEGINNING,
        DRMQ_FROM_END,
        DRMQ_FROM_OFFSET,   /* value: the offset */
        DRMQ_FROM_LAST,     /* value: so many from the end, in each partition */
        DRMQ_FROM_TIME,     /* value: ms since 1970; appended then or later */
        DRMQ_FROM_POSITION, /* the group's committed position; where there is none, the beginning */
};

/* What becomes of a partition whose offset is not there, for retention took it or it never was. */
enum drmq_out_of_range {
        DRMQ_OUT_OF_RANGE_ERROR,     /* drmq_consumer_poll() gives -ERANGE; it rests until a seek */
        DRMQ_OUT_OF_RANGE_BEGINNING, /* it goes on from the first there is */
        DRMQ_OUT_OF_RANGE_END,       /* it goes on from the end */
};

int drmq_consumer_new(drmq_client *c, drmq_consumer **ret);
/* Commits nothing. Takes NULL, returns NULL. */
drmq_consumer *drmq_consumer_free(drmq_consumer *k);
/* Frees, and before that, where commits are automatic, commits all that was handed out. It is gone
 * in any case but after -EDEADLK. Return: 0; why it could not be committed. */
int drmq_consumer_close(drmq_consumer *k);

/* Whose committed positions to use. Before the first subscribe. */
int drmq_consumer_set_group(drmq_consumer *k, const char *group);
/* Ends at the end as it was when asked: drmq_consumer_poll() gives 0 with drmq_consumer_is_at_end()
 * then. */
int drmq_consumer_set_stop_at_end(drmq_consumer *k, bool on);
/* How much a fetch asks for; default 1 MiB, 4 KiB to 16 MiB. */
int drmq_consumer_set_fetch_bytes(drmq_consumer *k, size_t n_bytes);
/* Memory for what was fetched and not yet polled; default 8 MiB. */
int drmq_consumer_set_buffer_bytes(drmq_consumer *k, size_t n_bytes);
/* Default true: wait for a topic that does not exist yet; false: -ENOENT. */
int drmq_consumer_set_wait_for_topic(drmq_consumer *k, bool on);
/* Default DRMQ_OUT_OF_RANGE_ERROR. */
int drmq_consumer_set_out_of_range(drmq_consumer *k, enum drmq_out_of_range what);
/* Default off. On: what a poll handed out counts as dealt with when the next poll is called, never
 * before, and is committed in the background then; at drmq_consumer_close() the rest. Needs a
 * group. A failure is told by drmq_consumer_poll(), and it is tried again. */
int drmq_consumer_set_auto_commit(drmq_consumer *k, bool on);
/* At most one automatic commit in so long; default 5 s; 0: as often as there is something new. */
int drmq_consumer_set_commit_interval(drmq_consumer *k, uint64_t usec);
/* Called when drmq_consumer_poll() has something to say (messages, an error, the end), once until
 * the next poll. NULL: not. At any time. */
int drmq_consumer_set_ready_callback(drmq_consumer *k,
                                     drmq_ready_callback callback,
                                     void *userdata);

/**
 * drmq_consumer_subscribe() - add a topic
 * @partitions: which of its partitions; @n_partitions 0: all
 * @from, @value: where to begin
 *
 * Return: 0; -ENOENT no such topic (unless it may wait for it: 0 then); -ENXIO no such partition;
 * -EINVAL; -EEXIST it is subscribed to already.
 */
int drmq_consumer_subscribe(drmq_consumer *k,
                            const char *topic,
                            const uint32_t *partitions,
                            size_t n_partitions,
                            enum drmq_from from,
                            int64_t value);
/* Messages that were handed out stay until the next poll. Where commits are automatic the topic's
 * positions are committed before; where that fails it stays subscribed. -ENOENT not subscribed. */
int drmq_consumer_unsubscribe(drmq_consumer *k, const char *topic);
/* Sets where to go on. -ENOENT not subscribed. Whether there is such an offset shows in the poll. */
int drmq_consumer_seek(drmq_consumer *k, const char *topic, uint32_t partition, uint64_t offset);
/* @partition: or DRMQ_PARTITION_ANY, all that are read. @from: DRMQ_FROM_BEGINNING, _END, _LAST or
 * _TIME, as it is now. -ENOENT not subscribed. */
int drmq_consumer_seek_to(drmq_consumer *k,
                          const char *topic,
                          uint32_t partition,
                          enum drmq_from from,
                          int64_t value);
/* Nothing of a partition, or with DRMQ_PARTITION_ANY of all that are read, is handed out, and what
 * is fetched ahead is kept, until it is resumed. -ENOENT not subscribed. */
int drmq_consumer_pause(drmq_consumer *k, const char *topic, uint32_t partition);
int drmq_consumer_resume(drmq_consumer *k, const char *topic, uint32_t partition);

/**
 * drmq_consumer_poll() - wait for messages
 * @n_max: at most so many
 * @timeout_usec: wait so long for the first; 0: do not wait
 *
 * Return: how many there are now, drmq_consumer_message(k, 0…); borrowed until the next poll. 0:
 * none in time, or the end (drmq_consumer_is_at_end()). -EIO what is stored there is damaged;
 * drmq_client_error() names topic, partition and offset, and the next poll goes on behind the
 * damage. -ERANGE the offset is not there.
 */
int drmq_consumer_poll(drmq_consumer *k, size_t n_max, uint64_t timeout_usec);
const drmq_message *drmq_consumer_message(const drmq_consumer *k, size_t i);
/* The end has been read, where it was asked for; or nothing can come any more, for all the rest is
 * damaged. */
bool drmq_consumer_is_at_end(const drmq_consumer *k);
/* Logs, for the group, that all handed out by polls before the last one, or with @all by the last
 * one too, has been dealt with; synced when it returns. -EINVAL no group. */
int drmq_consumer_commit(drmq_consumer *k, bool all);
/* The next offset of a partition to be polled; the group's committed position moves to it with
 * commit. */
int drmq_consumer_position(drmq_consumer *k,
                           const char *topic,
                           uint32_t partition,
                           uint64_t *ret_offset);
/* Commits that position explicitly. */
int drmq_consumer_commit_offset(drmq_consumer *k,
                                const char *topic,
                                uint32_t partition,
                                uint64_t offset);

/* What the group has committed, as it is logged. -ENODATA nothing; -EINVAL no group; -ENOENT not
 * subscribed. */
int drmq_consumer_committed(drmq_consumer *k,
                            const char *topic,
                            uint32_t partition,
                            uint64_t *ret_offset);

const char *drmq_message_topic(const drmq_message *m);
uint32_t drmq_message_partition(const drmq_message *m);
uint64_t drmq_message_offset(const drmq_message *m);
int64_t drmq_message_timestamp_ms(const drmq_message *m);
/* NULL: no key, no value. */
const void *drmq_message_key(const drmq_message *m, size_t *ret_size);
const void *drmq_message_value(const drmq_message *m, size_t *ret_size);
size_t drmq_message_n_headers(const drmq_message *m);
/* Borrows; the name is not NUL-terminated. -ENOENT past the last. */
int drmq_message_header(const drmq_message *m,
                        size_t i,
                        const char **ret_name,
                        size_t *ret_name_size,
                        const void **ret_value,
                        size_t *ret_value_size);

/* ---- Administration ---- */

/* -EEXIST (0 with @if_missing); -EINVAL. @n_partitions 0: the node's default. */
int drmq_topic_create(drmq_client *c, const char *name, uint32_t n_partitions, bool if_missing);
/* Many at once. @ret_results: an array of @n negative errnos or 0, the caller's. Return: 0; the
 * first error. */
int drmq_topics_create(drmq_client *c,
                       const char *const *names,
                       size_t n,
                       uint32_t n_partitions,
                       bool if_missing,
                       int *ret_results);
int drmq_topic_delete(drmq_client *c, const char *name);
/* Only more: -EINVAL. */
int drmq_topic_set_partitions(drmq_client *c, const char *name, uint32_t n_partitions);

/* Answers as trees of values, borrowed until the next call on the client: what drmqctl shows. */
struct drmq_partition_info {
        uint32_t number;
        uint64_t id;
        uint64_t shard;
        uint64_t leader;       /* node id; 0: none */
        uint64_t first_offset; /* these only from drmq_topic_describe() */
        uint64_t next_offset;
        uint64_t n_batches;
        uint64_t n_bytes;
        uint64_t n_producers;
        int64_t last_append_ms;
};
struct drmq_topic_info {
        const char *name;
        int64_t created_ms;
        size_t n_partitions;
        const struct drmq_partition_info *partitions;
};
int drmq_topics_list(drmq_client *c, const struct drmq_topic_info **ret, size_t *ret_n);
int drmq_topic_describe(drmq_client *c, const char *name, const struct drmq_topic_info **ret);

struct drmq_offset_info {
        uint32_t partition;
        uint64_t offset;
        int64_t append_time_ms; /* 0: nothing there yet */
};
/* @from: DRMQ_FROM_BEGINNING, _END or _TIME, for each partition of the topic. */
int drmq_topic_offsets(drmq_client *c,
                       const char *name,
                       enum drmq_from from,
                       int64_t value,
                       const struct drmq_offset_info **ret,
                       size_t *ret_n);

struct drmq_shard_info {
        uint64_t shard;
        const char *role;
        uint64_t leader, term;
        uint64_t first_index, last_index, durable_index, commit_index, applied_index,
                checkpoint_index;
        uint64_t n_segments, log_bytes, n_groups, n_syncs, n_damaged_regions, n_replayed,
                last_sync_usec;
        uint64_t pending_bytes, n_producers, n_positions;
        uint64_t log_start_index; /* the entries up to here may go, by decision; 0: none */
        bool is_writable;
        bool is_short_of_space; /* messages are refused: no more than the reserve is free */
};
struct drmq_node_info {
        uint64_t node_id;
        const char *name, *version, *data_dir, *sync;
        const char *address; /* where we reached it */
        uint8_t cluster_id[16], incarnation[16];
        uint64_t uptime_usec, ready_usec, disk_free_bytes, disk_total_bytes, memory_bytes;
        uint64_t n_connections, n_topics, n_partitions, request_bytes_used, request_bytes_limit,
                pid;
        bool auto_create;
        uint64_t n_snapshots, snapshot_bytes; /* held; for them alone */
        size_t n_shards;
        const struct drmq_shard_info *shards;
};
int drmq_status(drmq_client *c, const struct drmq_node_info **ret);
/* What the node counts, in the text format of Prometheus; borrowed until the next call on @c. */
int drmq_metrics(drmq_client *c, const char **ret_text);

/* A key of the node's configuration, drmq.conf(5). */
struct drmq_config_key {
        const char *name, *value, *default_value;
        const char *source;  /* "default", "file", "environment", "command line" */
        const char *where;   /* "FILE:LINE", the variable, the option; empty for the default */
        const char *pending; /* its value after a restart; empty: the same */
        bool can_reload;
};
int drmq_config_list(drmq_client *c, const struct drmq_config_key **ret, size_t *ret_n);

/* ---- Snapshots ---- */

struct drmq_snapshot_info {
        const char *name;
        int64_t created_ms;
        uint64_t n_files; /* without the table of contents */
        uint64_t n_bytes;
        uint64_t pinned_bytes; /* of them, what the log itself no longer holds */
        bool is_temporary;
        bool is_damaged; /* it can only be deleted */
};

/**
 * drmq_snapshot_create() - let the node hold what is in its log now
 * @name: 1 to 64 of [a-zA-Z0-9._-], no dot first; NULL: the time and something random
 * @is_temporary: the node deletes it when it has not been read for 15 minutes
 *
 * Everything acknowledged before the call is in it. Made of hard links: no data is copied.
 *
 * Return: 0; -EEXIST there is one of that name; -EMFILE as many are held as may be; -EIO the end of
 * the log is damaged; -EINVAL not a name.
 */
int drmq_snapshot_create(drmq_client *c,
                         const char *name,
                         bool is_temporary,
                         const struct drmq_snapshot_info **ret);
/* By name, ascending. */
int drmq_snapshot_list(drmq_client *c, const struct drmq_snapshot_info **ret, size_t *ret_n);
/**
 * drmq_snapshot_read() - read of a file of a snapshot
 * @file: 0 is the table of contents, which names the others in order, from 1 on
 *        (drmq-snapshot(1), FORMAT)
 *
 * Return: 0, and how many bytes there are: fewer than @n only at the end of the file; -ENOENT no
 * such snapshot (any more); -EINVAL no such file; -EBADMSG it came damaged.
 */
int drmq_snapshot_read(drmq_client *c,
                       const char *name,
                       uint32_t file,
                       uint64_t position,
                       void *p,
                       size_t n,
                       size_t *ret_n);
/* Gives back what it holds. Return: 0; -ENOENT. */
int drmq_snapshot_delete(drmq_client *c, const char *name);

#ifdef __cplusplus
}
#endif
