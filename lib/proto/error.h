/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Errors on the wire: a stable code, a retriable flag, an errno for those who call the library, and
 * words. One table, both ways. Codes are never reused.
 */

#include "base/macro.h"

/* code, id, errno, retriable, text */
#define DRMQ_ERROR_TABLE(X)                                                                        \
        X(0, NONE, 0, false, "no error")                                                           \
        X(1, UNKNOWN_TYPE, EOPNOTSUPP, false, "this node does not know that request")              \
        X(2, MALFORMED, EPROTO, false, "the request is malformed")                                 \
        X(3, UNKNOWN_TOPIC, ENOENT, false, "there is no such topic")                               \
        X(4, UNKNOWN_PARTITION, ENXIO, false, "there is no such partition")                        \
        X(5, TOPIC_EXISTS, EEXIST, false, "a topic of that name exists")                           \
        X(6, INVALID_NAME, EINVAL, false, "not a valid name")                                      \
        X(7, INVALID_ARGUMENT, EINVAL, false, "an argument is out of range")                       \
        X(8, CORRUPT_BATCH, EBADMSG, false, "a batch fails its checksum or its format")            \
        X(9, TOO_LARGE, EMSGSIZE, false, "larger than the limit")                                  \
        X(10, UNKNOWN_CODEC, EOPNOTSUPP, false, "unknown compression codec")                       \
        X(11, OUT_OF_SEQUENCE, EILSEQ, false, "the producer's sequence has a gap")                 \
        X(12, FENCED, ESTALE, false, "a newer producer of that id has taken over")                 \
        X(13, DUPLICATE, EALREADY, false, "it had been appended already")                          \
        X(14, OFFSET_OUT_OF_RANGE, ERANGE, false, "the offset is outside of what is there")        \
        X(15, DAMAGED, EIO, false, "what is stored there is damaged")                              \
        X(16, NOT_LEADER, EAGAIN, true, "this node does not lead the shard")                       \
        X(17, BUSY, EAGAIN, true, "too much is under way; try again")                              \
        X(18, DISK_FULL, ENOSPC, true, "the disk is full")                                         \
        X(19, TIMED_OUT, ETIMEDOUT, true, "it was not done in time; it may still be")              \
        X(20, STOPPING, ECANCELED, true, "the node is stopping")                                   \
        X(21, NOT_WRITABLE, EROFS, false, "the log's end is damaged; see drmqctl status")          \
        X(22, NO_MEMORY, ENOMEM, true, "the node is out of memory")                                \
        X(23, INTERNAL, EIO, false, "the node failed")                                             \
        X(24, NOT_PERMITTED, EPERM, false, "not permitted")                                        \
        X(25, ACROSS_SHARDS, EXDEV, false, "an atomic request may not span shards")                \
        X(26, UNKNOWN_SNAPSHOT, ENOENT, false, "there is no such snapshot")                        \
        X(27, SNAPSHOT_EXISTS, EEXIST, false, "a snapshot of that name exists")                    \
        X(28, TOO_MANY_SNAPSHOTS, EMFILE, false, "as many snapshots are held as may be")           \
        X(29, TOO_MANY, ENOBUFS, false, "there are as many as the node may have")

enum drmq_error {
#define DRMQ_ERROR_ENUM(code, id, error, retriable, text) DRMQ_ERROR_##id = code,
        DRMQ_ERROR_TABLE(DRMQ_ERROR_ENUM)
#undef DRMQ_ERROR_ENUM
                _DRMQ_ERROR_MAX,
};

/* "OUT_OF_SEQUENCE"; "UNKNOWN" for a code that this build does not know. Never NULL. */
const char *drmq_error_name(uint32_t code);
/* The sentence of the table. Never NULL. */
const char *drmq_error_text(uint32_t code);
bool drmq_error_is_retriable(uint32_t code);
/* Negative errno; 0 for NONE; -EIO for an unknown code. */
int drmq_error_to_errno(uint32_t code);
/* The other way, for what the core's own calls return: where several codes have an errno, -EINVAL
 * is INVALID_ARGUMENT, -EAGAIN BUSY, -ESTALE NOT_LEADER, -EOPNOTSUPP UNKNOWN_CODEC, -EIO (and what
 * no code has) INTERNAL. @error: negative errno. */
enum drmq_error drmq_error_from_errno(int error);
