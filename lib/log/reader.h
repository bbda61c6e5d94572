/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Reading a shard's log while it grows. Both kinds of reader are made on the loop and are
 * self-contained from then on: they hold what they need (segments by reference, copies of the
 * points that are in memory only, the position up to which all is on disk), so that they run on the
 * loop as long as the page cache has the bytes, and in a job where it has not. They are freed on
 * the loop.
 *
 *     struct log_read   the batches of one partition from an offset on: a fetch
 *     struct log_scan   all entries from an index on: checkpoints, dumps, replay
 *
 * What is read from disk is verified before it is handed out: the entry's checksum and, for a
 * fetch, the batches'. A place that cannot be read counts as damaged.
 *
 * How a batch is found. Each segment has an index (log/index.h): per partition, points (offset,
 * append time, position). A batch without a point of its own begins less than INDEX_DISTANCE_BYTES
 * behind a point of the same partition. So a fetch reads on from a point for that distance, then
 * goes to the partition's next point: with one topic that is one long run, with ten thousand
 * interleaved it touches only what it needs. Who goes on where an earlier fetch ended needs no
 * index until it meets such a distance without a batch of its partition.
 *
 * Where an index is missing or bad, a fetch that may block builds it anew from the segment and goes
 * on.
 */

#include "base/buf.h"
#include "base/macro.h"
#include "io/io.h"
#include "log/entry.h"

struct shard_log;

/* Where a reader stands: a hint that saves the search; all zero: none. A hint that does not fit
 * (any more) costs time, never a message. */
struct log_position {
        uint64_t segment_first_index;
        uint64_t generation;
        uint64_t pos;
        uint64_t offset; /* the offset that comes next there */
};

struct log_read;

struct log_read_slice {
        uint64_t index;
        uint64_t term;
        uint64_t base_offset;
        int64_t append_time_ms;
        int64_t not_before_ms;
        int64_t expires_at_ms;
        uint8_t priority;
        struct slice batch; /* shares the read's buffer */
};

/**
 * shard_log_read() - prepare a fetch
 * @offset: the first message wanted; the first batch given holds it, or the next there is
 * @limit_offset: batches from here on are not given (the high watermark)
 * @max_bytes: stop once so much is gathered; the first batch is given however large it is
 * @hint: where an earlier fetch of this partition ended, or NULL; borrows until return
 *
 * What is appended later is not seen: it ends where the log on disk ends now.
 *
 * Return: 0; -ENOMEM.
 */
int shard_log_read(struct shard_log *l,
                   uint64_t partition_id,
                   uint64_t offset,
                   uint64_t limit_offset,
                   size_t max_bytes,
                   const struct log_position *hint,
                   struct log_read **ret);
struct log_read *log_read_free(struct log_read *r);
DEFINE_CLEANUP(struct log_read *, log_read_free)

/**
 * log_read_run() - read
 * @may_block: false on the loop: -EAGAIN where the page cache has not all, an index file must be
 *         searched, or it would
 * take long; run it again in a job then
 *
 * It may stop before @max_bytes are gathered, where going on would cost much: once half of them are
 * there, or on the loop. Damage that lies in other partitions is stepped over; whether it is in
 * others is known by the offsets of what follows.
 *
 * Return: 1 there are slices; 0 nothing from @offset on below the limit; -EAGAIN; -EBADMSG what
 * comes next is damaged and no good batch is before it (log_read_damage() tells where); -ENOMEM.
 * After an error it may be run again, from the start.
 */
int log_read_run(struct log_read *r, bool may_block);
/* After 1, in order of offsets; borrows until the next run or log_read_free(). Who keeps a batch
 * longer takes a slice_ref(). */
const struct log_read_slice *log_read_slices(const struct log_read *r, size_t *ret_n);
/* Where to go on; after 1. */
void log_read_position(const struct log_read *r, struct log_position *ret);
/* After -EBADMSG: the first index that is damaged (or, where only a gap in offsets tells of the
 * damage, the first behind it), and the first offset behind the damage that is good (0: there is
 * none yet). */
void log_read_damage(const struct log_read *r, uint64_t *ret_index, uint64_t *ret_next_good_offset);
/* Bytes of memory that its slices hold: at most about twice what was asked for, and one batch. */
size_t log_read_bytes(const struct log_read *r);
/* Bytes that the last run read from segments: what it cost. */
uint64_t log_read_bytes_read(const struct log_read *r);

/**
 * shard_log_find_time() - prepare the search for the first batch appended at or after a time
 * @time_ms: since 1970
 * @limit_offset: as above
 *
 * Run it as a log_read; its single slice is that batch (0: none). A batch that is damaged is passed
 * over for the next good one. Same returns.
 */
int shard_log_find_time(struct shard_log *l,
                        uint64_t partition_id,
                        int64_t time_ms,
                        uint64_t limit_offset,
                        struct log_read **ret);

struct log_scan;

/**
 * shard_log_scan() - prepare to read all entries
 * @from_index: the first; where the log begins later, that is a gap
 * @to_index: the last; not behind the written index
 * @verify: as entry_decode(): the entries alone, or their batches too
 *
 * Large sequential reads, of one segment after the other.
 *
 * Return: 0; -ENOMEM.
 */
int shard_log_scan(struct shard_log *l,
                   uint64_t from_index,
                   uint64_t to_index,
                   enum entry_verify verify,
                   struct log_scan **ret);
struct log_scan *log_scan_free(struct log_scan *s);
DEFINE_CLEANUP(struct log_scan *, log_scan_free)

/**
 * log_scan_next() - the next entry
 * @ret: borrows until the next call; index tells which one
 *
 * Blocks: for jobs and start-up.
 *
 * Return: 1; 0 the end; -EBADMSG the entries between the last one and the next are damaged or
 * missing (or with ENTRY_VERIFY_BATCHES one of the next one's batches is): said once for each such
 * gap, the next call goes on behind it; -ENOMEM.
 */
int log_scan_next(struct log_scan *s, struct entry *ret);
/* Bytes read so far: for progress, and to pace a job. */
uint64_t log_scan_bytes_read(const struct log_scan *s);
