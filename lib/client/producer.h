/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Messages to batches, batches to the log, in order and once.
 *
 * Each partition has one open batch. It is sealed when it is full, when it has lingered, or when
 * the producer is flushed; with no linger and nothing under way, at once. Sealed batches of any
 * number of partitions travel together in produce requests of about PRODUCER_REQUEST_BYTES, of
 * which a few are under way at a time; of one partition up to PRODUCER_IN_FLIGHT_MAX batches, each
 * in a request of its own.
 *
 * Once, in order: every batch has a producer id and a sequence, numbered on in its partition. What
 * is not answered, or answered by an error that may pass, is sent again as it is: all batches of
 * that partition that are under way come back first, then they go out again from the oldest on, so
 * that the order is kept; a node that has one already says so, and that is success. A batch that
 * fails for good leaves a gap, behind which its id is of no use: what follows goes under a new id,
 * as long as nothing of the old one may still come to be appended; what may have been appended
 * under the old one fails.
 *
 * Without idempotence one batch a partition is under way (so the order is kept), and a repetition
 * may double it.
 *
 * Atomic: everything between two flushes is one request: one entry of the log, or nothing.
 */

#include "batch/batch.h"
#include "batch/compress.h"
#include "batch/partitioner.h"
#include "client/call.h"

#define PRODUCER_REQUEST_BYTES ((size_t) 1 << 20)
#define PRODUCER_IN_FLIGHT_MAX 5u
/* Of the whole producer: requests, and batches in them, that are under way. Past either, batches
 * stay open and fill: so thousands of partitions are written to in larger batches the busier the
 * node is. */
#define PRODUCER_REQUESTS_MAX 5u
#define PRODUCER_BATCHES_MAX 1024u
/* Nodes forget a producer after 24 h: one idle for half of that takes a new id. */
#define PRODUCER_IDLE_USEC (12 * USEC_PER_HOUR)
/* Partitions may be added to a topic: asked for again this often, while it is written to. */
#define PRODUCER_METADATA_USEC (5 * USEC_PER_MINUTE)
#define PRODUCER_PARTITION_ANY UINT32_MAX

struct producer;

enum producer_acks {
        PRODUCER_ACKS_ALL,
        PRODUCER_ACKS_LEADER,
        PRODUCER_ACKS_NONE,
};

enum producer_partitioner {
        PRODUCER_MURMUR2,
        PRODUCER_CRC32,
        PRODUCER_ROUND_ROBIN,
        PRODUCER_CALLBACK,
};

/* What became of a batch; borrowed until return. */
struct producer_delivery {
        const char *topic;
        uint32_t partition;
        uint64_t base_offset; /* without acks: unknown, 0 */
        uint32_t n_messages;
        uint64_t n_bytes;     /* keys, values, headers */
        const uint64_t *tags; /* NULL: not wanted */
        int error;            /* 0, or negative errno */
        const char *text;
        bool is_watched; /* by producer_watch_last() */
};

/* What became of one message. */
struct producer_outcome {
        bool has_ended;
        int error;
        uint64_t offset; /* without acks: unknown, UINT64_MAX */
        char text[CALL_TEXT_MAX];
};

struct producer_config {
        enum producer_acks acks;
        enum codec codec;
        int level;
        usec_t linger_usec;
        size_t batch_bytes;
        size_t buffer_bytes; /* of messages that have not ended */
        usec_t timeout_usec; /* from the opening of a batch; USEC_INFINITY: none */
        bool is_idempotent;
        bool is_atomic;
        bool has_tags;
        enum producer_partitioner partitioner;
        uint32_t (*pick)(void *userdata, const void *key, size_t key_size, uint32_t n_partitions);
        void *pick_userdata;
        /* Called from the loop, and from producer_flush() where memory is short; never from
         * producer_free(). Must not call the producer. */
        void (*on_delivery)(const struct producer_delivery *d, void *userdata);
        /* A node refused a batch for now: it is sent again within its time. As on_delivery. */
        void (*on_refused)(int error, const char *text, void *userdata);
        void *userdata;
};

#define PRODUCER_CONFIG_DEFAULT                                                                    \
        ((struct producer_config){                                                                 \
                .linger_usec = 5 * USEC_PER_MSEC,                                                  \
                .batch_bytes = 256 * 1024,                                                         \
                .buffer_bytes = 32 << 20,                                                          \
                .timeout_usec = 30 * USEC_PER_SEC,                                                 \
                .is_idempotent = true,                                                             \
        })

/* A message; all is copied. */
struct producer_message {
        const char *topic;
        uint32_t partition; /* PRODUCER_PARTITION_ANY: by key, or in turn */
        const void *key;    /* NULL: none */
        size_t key_size;
        const void *value; /* NULL: none */
        size_t value_size;
        const struct record_header *headers;
        size_t n_headers;
        int64_t timestamp_ms;
        uint64_t tag;
};

struct producer_sums {
        uint64_t n_sent;
        uint64_t n_acknowledged;
        uint64_t n_failed;
        uint64_t n_bytes_acknowledged;
        uint64_t n_retries;
};

/* @s: borrows until producer_free(). @config: borrows until return. Return: 0; -ENOMEM; -EINVAL out
 *         of range. */
int producer_new(struct session *s, const struct producer_config *config, struct producer **ret);
/* What has not ended is dropped. Takes NULL, returns NULL. */
struct producer *producer_free(struct producer *p);
DEFINE_CLEANUP(struct producer *, producer_free)

/**
 * producer_append() - take a message
 * @m: borrows until return
 *
 * Return: 1 taken, and a batch was sealed by it (there is something to write or read: run the
 * loop); 0 taken; -EAGAIN the buffer is full, or the topic's partitions are being asked for: run
 * the loop and try again; -EMSGSIZE over MESSAGE_BYTES_MAX, or over what an atomic request holds
 * (which has failed then, up to the next flush, where the caller cannot do without the message);
 * -EINVAL no topic's name; -ENXIO no such partition; -ENOENT no such topic, and other answers of
 * the node: producer_error() says it in words; -ENOMEM.
 */
int producer_append(struct producer *p, const struct producer_message *m);
/**
 * producer_watch_last() - learn what becomes of the message that was just taken
 * @o: borrows until it has ended, or until producer_unwatch()
 *
 * To be called at once after producer_append(). The message does not linger. One at a time is
 * watched.
 */
void producer_watch_last(struct producer *p, struct producer_outcome *o);
void producer_unwatch(struct producer *p);
/* After producer_append() said -EAGAIN: whether it is worth trying again. Lets a part of the buffer
 * drain first. */
bool producer_is_ready(const struct producer *p);
/* Seals and sends all that is open. */
void producer_flush(struct producer *p);
/* Messages that have not ended: 0, a flush is complete. */
uint64_t producer_n_pending(const struct producer *p);
/* The words of the last failure. */
const char *producer_error(const struct producer *p);
/* When the oldest open batch has lingered; USEC_INFINITY: none is open. */
usec_t producer_linger_deadline(const struct producer *p);
const struct producer_sums *producer_sums(const struct producer *p);
