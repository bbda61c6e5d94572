/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Messages out of topics, single mode: resolves topics to partitions and where to begin to offsets,
 * keeps fetches under way for every partition that has room, verifies each batch, and hands
 * messages out in the order of each partition.
 *
 * A subscription goes through: metadata, then positions or offsets (where they are needed), then
 * its partitions are read. Partitions that are added to a topic later are picked up from their
 * beginning, where all were subscribed.
 *
 * What goes wrong with a partition is told once, by consumer_take(); the others go on. After damage
 * the partition goes on behind it where the node knows where that is; else, and after any other
 * error, it rests until consumer_seek().
 */

#include "batch/batch.h"
#include "client/call.h"

/* How long a fetch waits for something to come, so that who has nothing to read wakes up seldom. Of
 * the requests that may be under way the last one comes back sooner: what is subscribed to later,
 * or sought, waits for no longer than that. */
#define CONSUMER_WAIT_MS 5000u
#define CONSUMER_LAST_WAIT_MS 500u
#define CONSUMER_REQUESTS_MAX 8u
/* Topics are looked at again this often; the more there are the more seldom each. */
#define CONSUMER_METADATA_USEC (30 * USEC_PER_SEC)
#define CONSUMER_METADATA_MAX_USEC (5 * USEC_PER_MINUTE)
/* A topic that does not exist yet is asked for again this often; so here. */
#define CONSUMER_TOPIC_WAIT_USEC (1 * USEC_PER_SEC)
#define CONSUMER_TOPICS_AT_ONCE 256u
#define CONSUMER_COMMIT_USEC (5 * USEC_PER_SEC)
/* What one compressed batch may come to. */
#define CONSUMER_DECOMPRESSED_BYTES_MAX ((size_t) 64 << 20)

/*
 * Auto-commit: what a take has handed out counts as dealt with when the next one is called, never
 * before; then its positions are logged in the background, at most every commit_usec. An automatic
 * commit that fails is told by consumer_take(), and tried again after that time.
 */

struct consumer;

enum consumer_from {
        CONSUMER_FROM_BEGINNING,
        CONSUMER_FROM_END,
        CONSUMER_FROM_OFFSET,
        CONSUMER_FROM_LAST,
        CONSUMER_FROM_TIME,
        CONSUMER_FROM_POSITION,
};

/* What becomes of a partition whose offset is not there (any more). */
enum consumer_out_of_range {
        CONSUMER_OUT_OF_RANGE_ERROR, /* it is told, and rests */
        CONSUMER_OUT_OF_RANGE_BEGINNING,
        CONSUMER_OUT_OF_RANGE_END,
};

struct consumer_config {
        const char *group; /* NULL: none; copied */
        size_t fetch_bytes;
        size_t buffer_bytes;
        usec_t timeout_usec; /* of what is asked on the way: metadata, offsets */
        bool stop_at_end;
        bool wait_for_topic;
        enum consumer_out_of_range out_of_range;
        bool auto_commit;   /* where there is a group */
        usec_t commit_usec; /* at most this often */
};

#define CONSUMER_CONFIG_DEFAULT                                                                    \
        ((struct consumer_config){                                                                 \
                .fetch_bytes = 1 << 20,                                                            \
                .buffer_bytes = 8 << 20,                                                           \
                .timeout_usec = 30 * USEC_PER_SEC,                                                 \
                .wait_for_topic = true,                                                            \
                .commit_usec = CONSUMER_COMMIT_USEC,                                               \
        })

/* A message handed out; borrowed until the next consumer_take(). */
struct consumer_message {
        const char *topic;
        uint32_t partition;
        struct record record;
};

/* @s: borrows until consumer_free(). @config: borrows until return. Return: 0; -ENOMEM; -EINVAL out
 *         of range. */
int consumer_new(struct session *s, const struct consumer_config *config, struct consumer **ret);
struct consumer *consumer_free(struct consumer *k);
DEFINE_CLEANUP(struct consumer *, consumer_free)

/**
 * consumer_subscribe() - add a topic
 * @partitions: @n of them; 0: all
 * @value:      offset, number or ms, as @from has it
 *
 * What the cluster has to say to it comes later: consumer_subscription_result().
 *
 * Return: 0; -EINVAL; -EEXIST; -ENOMEM.
 */
int consumer_subscribe(struct consumer *k,
                       const char *topic,
                       const uint32_t *partitions,
                       size_t n,
                       enum consumer_from from,
                       int64_t value);
/* Return: 1 its partitions are known and are being read; 0 it waits for a topic that does not
 * exist; -EAGAIN not known yet; -ENOENT no such topic; -ENXIO no such partition; another error. The
 * subscription is gone after an error but -EAGAIN. */
int consumer_subscription_result(struct consumer *k, const char *topic);
/* Its result is not going to be asked for: what goes wrong with it is told by consumer_take(). */
void consumer_subscription_tell(struct consumer *k, const char *topic);
/* What was handed out stays until the next take. Return: 0; -ENOENT not subscribed. */
int consumer_unsubscribe(struct consumer *k, const char *topic);
/* The first partition, from @from on, of a topic that is read. Return: 0; -ENOENT none. */
int consumer_next_partition(const struct consumer *k,
                            const char *topic,
                            uint32_t from,
                            uint32_t *ret_number,
                            uint64_t *ret_id);
/* Nothing more of it is handed out, and nothing more fetched than is on its way, until it is
 * resumed. Return: 0; -ENOENT not subscribed (yet). */
int consumer_pause(struct consumer *k, const char *topic, uint32_t partition, bool on);
/* Return: 0; -ENOENT not subscribed (yet). */
int consumer_seek(struct consumer *k, const char *topic, uint32_t partition, uint64_t offset);

/**
 * consumer_take() - hand messages out
 * @n_max: at most so many
 *
 * What the call before handed out is released.
 *
 * Return: how many; 0 none now: run the loop, unless consumer_is_at_end(); -EIO, -EBADMSG, -ERANGE,
 * -ENOENT, …: what is wrong with a partition, in words consumer_error(); the messages of others
 * come with the next call.
 */
int consumer_take(struct consumer *k, size_t n_max);
/* Whether consumer_take() has something to say: messages, an error, the end. It may turn out to be
 * nothing. */
bool consumer_is_ready(const struct consumer *k);
const struct consumer_message *consumer_message(const struct consumer *k, size_t i);
/* Whether the loop is to be looked after though the last take had something: it came to the end of a
 * batch, so that there is room to fetch more; or a position is to be committed. */
bool consumer_has_released(const struct consumer *k);
/* With stop_at_end: all partitions have been read up to their end. Without: all have failed, and
 * been told, and nothing can come any more. */
bool consumer_is_at_end(const struct consumer *k);
/* The next offset to be handed out. -ENOENT not subscribed. */
int consumer_position(const struct consumer *k,
                      const char *topic,
                      uint32_t partition,
                      uint64_t *ret);
const char *consumer_error(const struct consumer *k);

/**
 * consumer_commit() - begin to log the group's positions
 * @all: what the last take handed out too
 *
 * Return: 1 begun: consumer_commit_result(); 0 there is nothing new; -EINVAL no group; -EBUSY the
 * one before has not ended; -ENOMEM.
 */
int consumer_commit(struct consumer *k, bool all);
/* As consumer_commit(), one position, which is given. -ENOENT not subscribed. */
int consumer_commit_offset(struct consumer *k,
                           const char *topic,
                           uint32_t partition,
                           uint64_t offset);
/* Return: 0 done; -EAGAIN under way, an automatic one too; the error, in words consumer_error(). */
int consumer_commit_result(struct consumer *k);
/* Nobody waits for the one under way: how it ends is told by consumer_take(), if badly. */
void consumer_commit_tell(struct consumer *k);
