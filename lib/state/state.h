/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The state machine of a shard: what its log means. Shard 0 knows topics and which partitions they
 * have; the other shards know each partition's offsets, its producers and the positions that groups
 * committed. It changes by state_apply() alone, is the same on every replica after the same entry,
 * and is written as bytes at a checkpoint.
 *
 * Pure: no I/O, no clock (an entry's append time is the time). The checkpointer has a state of its
 * own and runs it in a job.
 *
 * Checkpoint body: sections one after the other, each a count and its items in the order of the
 * maps; integers as LEB128, but times, producer ids (8 bytes), sequences (4), epochs (2) and a
 * producer's count of batches (1), which are little-endian of their size; strings as length and
 * bytes. drmq-log(5) gives the same.
 *     version 2 | next partition id | log start index |
 *     topics: name, created ms, partition ids |
 *     partitions: id, first offset, next offset, batches, bytes, last append ms |
 *     producers, oldest first: partition id, producer id, epoch, last append ms, batches:
 *         base sequence, last sequence, base offset, append time |
 *     positions: partition id, group, offset
 * Version 1 has no log start index: it is 0. It is read for ever, and no longer written.
 *
 * Bodies of entries:
 *     ENTRY_ADMIN   operations one after the other: kind u8 (enum admin_op), then
 *                   create: name, number of partitions, first partition id   (ids are consecutive)
 *                   extend: name, new number of partitions, first new partition id
 *                   delete: name
 *                   drop: partition id   (on the partition's shard)
 *                   log start: last index that goes, number of partitions, for each its id and its
 *                           new first offset   (drmqd/core/retention.h)
 *                   loss: first index, last index   (a person accepted that they are lost)
 *     ENTRY_GROUP   positions one after the other: group, partition id, offset
 */

#include "base/bytes.h"
#include "base/list.h"
#include "base/map.h"
#include "batch/batch.h"
#include "log/entry.h"

#define PARTITIONS_PER_TOPIC_MAX 10000u
#define PRODUCER_BATCHES 5u
#define PRODUCERS_MAX_DEFAULT 100000u
#define PRODUCER_AGE_MS_MAX (INT64_C(24) * 60 * 60 * 1000)
/* No offset is given from here on; so that offsets, counts and sums of them cannot overflow. */
#define OFFSET_MAX (UINT64_C(1) << 62)

enum admin_op {
        ADMIN_TOPIC_CREATE = 1,
        ADMIN_TOPIC_EXTEND = 2,
        ADMIN_TOPIC_DELETE = 3,
        ADMIN_PARTITION_DROP = 4,
        ADMIN_LOG_START = 5,
        ADMIN_LOSS = 6,
};

struct topic {
        struct map_node by_name;
        char *name;
        int64_t created_ms;
        struct topic_partition **partitions; /* by number */
        uint32_t n_partitions;
        size_t n_allocated;
};

/* Shard 0's knowledge of a partition. */
struct topic_partition {
        struct map_node by_id;
        uint64_t id;
        uint32_t number;
        struct topic *topic;
};

/* A partition on its shard. */
struct partition {
        struct map_node by_id;
        uint64_t id;
        uint64_t first_offset; /* what is below is gone, or about to be */
        uint64_t next_offset;
        uint64_t n_batches; /* ever appended: what retention took is counted too */
        uint64_t n_bytes;   /* of them */
        uint64_t n_producers;
        int64_t last_append_ms;
};

/* The last batches of one producer in one partition, oldest first. */
struct producer_window {
        int16_t epoch;
        unsigned n_batches;
        struct producer_batch {
                int32_t base_sequence;
                int32_t last_sequence;
                uint64_t base_offset;
                int64_t append_time_ms;
        } batches[PRODUCER_BATCHES];
};

struct producer {
        struct map_node by_key; /* (partition id, producer id) */
        struct list by_age;     /* state.producers_by_age, the longest silent first */
        uint64_t partition_id;
        int64_t producer_id;
        int64_t last_append_ms;
        struct producer_window window;
};

struct position {
        struct map_node by_key; /* (partition id, group) */
        uint64_t partition_id;
        char *group;
        uint64_t offset;
};

struct state {
        uint64_t index; /* of the last entry applied */
        uint64_t term;
        int64_t time_ms; /* its append time */

        /* No replica needs the entries up to here any more, by a logged decision; 0: none was taken.
         * Each drops them when it likes. */
        uint64_t log_start_index;

        uint64_t next_partition_id;
        struct map topics;
        struct map topic_partitions;

        struct map partitions;
        struct map producers;
        struct list producers_by_age;
        struct map positions;
        size_t n_producers_max;
};

int state_new(struct state **ret);
struct state *state_free(struct state *s);
DEFINE_CLEANUP(struct state *, state_free)

/**
 * state_apply() - what an entry means
 * @e: its index is above the last one's (a gap is what damage left out)
 *
 * Of a batch only its header is looked at: one that is damaged otherwise keeps its place.
 *
 * Return: 0; -EBADMSG the entry's body is not of its form, or a batch does not say for sure which
 * offsets it takes: nothing more can be appended behind it; -ENOMEM: the state is unusable then,
 * the process stops.
 */
int state_apply(struct state *s, const struct entry *e);

/* Whether @e is the record of an accepted loss, and of which entries. */
bool entry_is_loss(const struct entry *e, uint64_t *ret_first_index, uint64_t *ret_last_index);

/* As if none had sent anything yet: any sequence is accepted. */
void state_forget_producers(struct state *s);

/* The state as bytes. Return: 0 or -ENOMEM. */
int state_encode(const struct state *s, struct byte_writer *w);
/* Into a fresh state. Return: 0; -EBADMSG; -EPROTONOSUPPORT; -ENOMEM. */
int state_decode(struct state *s, const uint8_t *p, size_t n);

struct topic *state_topic(const struct state *s, const char *name);
struct topic_partition *state_topic_partition(const struct state *s, uint64_t id);
struct partition *state_partition(const struct state *s, uint64_t id);
struct producer *state_producer(const struct state *s, uint64_t partition_id, int64_t producer_id);
/* 0 and true, or false where the group has none. */
bool state_position(const struct state *s,
                    const char *group,
                    uint64_t partition_id,
                    uint64_t *ret_offset);

/* What a batch of a producer is, after the batches of @w (record-batch rules of Kafka's idempotent
 * producer, KIP-98). */
enum producer_verdict {
        PRODUCER_NEXT,      /* append it */
        PRODUCER_DUPLICATE, /* there already, at *ret_base_offset */
        PRODUCER_OUT_OF_SEQUENCE,
        PRODUCER_FENCED,
};
/* @w: NULL, nothing is known of this producer: any sequence is accepted. */
enum producer_verdict producer_judge(const struct producer_window *w,
                                     const struct batch_view *v,
                                     struct producer_batch *ret_duplicate);
/* Notes an appended batch. */
void producer_window_add(struct producer_window *w,
                         const struct batch_view *v,
                         uint64_t base_offset,
                         int64_t append_time_ms);
