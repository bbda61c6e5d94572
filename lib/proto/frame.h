/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * How frames lie in the stream; drmq-protocol(7) gives the same tables in the same order.
 *
 * A connection begins with a greeting from each side, 8 bytes: the client's first, the node
 *   answers. off size  meaning
 *     0    4  "DRMQ"
 *     4    1  lowest version spoken (client); the version chosen (node)
 *     5    1  highest version spoken (client); the same again (node). No common version: 0, and the
 *     node closes
 *     6    2  zero
 *
 * Then frames, both ways. Integers are little-endian.
 *     0    4  length of the whole frame, this prelude included
 *     4    4  length of the header (protobuf, lib/proto/drmq.proto)
 *     8    4  length of the table (fixed layout, lib/proto/table.h)
 *    12    2  type (enum frame_type); an answer has the type of its request, or FRAME_ERROR
 *    14    2  flags: 1 this is an answer; the others are zero
 *    16    8  correlation: the answer carries its request's
 *    24    4  zero
 *    28    4  CRC-32C of bytes 0..27, the header and the table
 *    32    …  header, table, then the batches, byte for byte as they are on disk (their own CRC
 *    covers them)
 *
 * A frame that breaks these rules closes its connection; an unknown type is answered by
 * FRAME_ERROR.
 */

#include <sys/uio.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/list.h"
#include "base/macro.h"

#define GREETING_BYTES 8u
#define PROTOCOL_VERSION 1u
#define FRAME_PRELUDE_BYTES 32u
/* A request may be so large: 16 MiB; an answer may hold one batch of that size and its tables
 * besides. */
#define REQUEST_BYTES_MAX (UINT32_C(16) << 20)
#define FRAME_BYTES_MAX (UINT32_C(24) << 20)
#define FRAME_HEADER_BYTES_MAX (UINT32_C(8) << 20)
#define MESSAGE_BYTES_MAX (UINT32_C(8) << 20)

enum frame_type {
        FRAME_ERROR = 0,
        FRAME_METADATA = 1,
        FRAME_PRODUCE = 2,
        FRAME_FETCH = 3,
        FRAME_OFFSETS = 4,
        FRAME_TOPIC_CREATE = 5,
        FRAME_TOPIC_ALTER = 6,
        FRAME_TOPIC_DELETE = 7,
        FRAME_POSITION_COMMIT = 8,
        FRAME_POSITION_FETCH = 9,
        FRAME_PARTITION = 10,
        FRAME_STATUS = 11,
        FRAME_CONFIG = 12,
        FRAME_METRICS = 13,
        FRAME_SNAPSHOT_CREATE = 14,
        FRAME_SNAPSHOT_LIST = 15,
        FRAME_SNAPSHOT_READ = 16,
        FRAME_SNAPSHOT_DELETE = 17,
        _FRAME_TYPE_MAX,
};

enum frame_flags {
        FRAME_ANSWER = 1 << 0,
};

/* A received frame. Its slices share the receive buffer. */
struct frame {
        uint16_t type;
        uint16_t flags;
        uint64_t correlation;
        struct slice header;
        struct slice table;
        struct slice body; /* what follows the table */
};

void frame_done(struct frame *f);

void greeting_encode_client(uint8_t p[static GREETING_BYTES]);
/* The node's side. Return: the version chosen and the answer in @reply; -EPROTO not DRMQ;
 * -EPROTONOSUPPORT no common version (send @reply, then close). */
int greeting_answer(const uint8_t p[static GREETING_BYTES], uint8_t reply[static GREETING_BYTES]);
/* The client's side. Return: the version; -EPROTO; -EPROTONOSUPPORT. */
int greeting_check(const uint8_t p[static GREETING_BYTES]);

/*
 * Bytes in, frames out. The reader owns its buffer; the slices of a frame share it, so that a batch
 * moves from the socket to the log writer without a copy. A frame that does not fit the buffer at
 * hand gets one of its own size, so bytes are moved at most once, and then only the part of a frame
 * that had arrived.
 */
struct frame_reader {
        struct buf *buf;
        size_t begin; /* unread bytes: begin..end of buf */
        size_t end;
        size_t plain_bytes; /* what comes next is no frame: for frame_reader_take() */
        size_t max_bytes;   /* longest frame that is let in */
        size_t chunk_bytes; /* size of a fresh buffer */
};

void frame_reader_init(struct frame_reader *r, size_t max_bytes, size_t chunk_bytes);
void frame_reader_done(struct frame_reader *r);
/* Where to receive to: at least one byte of room. Return: 0; -ENOMEM. */
int frame_reader_space(struct frame_reader *r, uint8_t **ret, size_t *ret_n);
/* @n bytes have been put there. */
void frame_reader_commit(struct frame_reader *r, size_t n);
/* The next @n bytes are no frame (the greeting): until they are taken, no length is read out of
 * them. */
void frame_reader_expect(struct frame_reader *r, size_t n);
/* Takes @n plain bytes from the front. Return: 1; 0 fewer are there. */
int frame_reader_take(struct frame_reader *r, void *p, size_t n);
/* The plain bytes that are there, all that have arrived and nobody took; borrows until the next
 * call. */
const uint8_t *frame_reader_peek(const struct frame_reader *r, size_t *ret_n);
/* Drops @n of them from the front; @n is not more than there are. */
void frame_reader_skip(struct frame_reader *r, size_t n);
/* Return: 1 a frame (frame_done() it); 0 not whole yet; -EPROTO breaks the rules; -EMSGSIZE over
 * max_bytes; -EBADMSG its checksum is wrong; -ENOMEM. After an error the connection is closed. */
int frame_reader_next(struct frame_reader *r, struct frame *ret);
/* Memory of the buffer at hand: what the bytes that are not a whole frame yet hold, and what waits
 * for more. 0 after frame_reader_trim() of a reader without unread bytes. */
size_t frame_reader_held_bytes(const struct frame_reader *r);
/* How long the frame that is arriving will be, 0 where that is not known yet: for budgets. */
size_t frame_reader_wanted_bytes(const struct frame_reader *r);
/* Gives an empty buffer back (an idle connection holds nothing); nothing happens where there are
 * unread bytes. */
void frame_reader_trim(struct frame_reader *r);
/* Makes a buffer that is much larger than what it holds, and than the frame that is arriving, as
 * small as that. Without memory for the smaller one it stays. */
void frame_reader_shrink(struct frame_reader *r);

/*
 * Frames out: a queue of slices, gathered by writev(). Shares what it is given.
 */
struct frame_queue {
        struct list items;
        size_t n_bytes; /* not yet written */
};

void frame_queue_init(struct frame_queue *q);
void frame_queue_done(struct frame_queue *q);
/* Plain bytes (the greeting). Return: 0; -ENOMEM. */
int frame_queue_bytes(struct frame_queue *q, const void *p, size_t n);

/**
 * frame_queue_push() - put one frame at the end
 * @header: packed protobuf; copied; @table: copied
 * @body: slices that follow; shares
 *
 * Return: 0; -ENOMEM; -EMSGSIZE over FRAME_BYTES_MAX. Nothing is queued then.
 */
int frame_queue_push(struct frame_queue *q,
                     uint16_t type,
                     uint16_t flags,
                     uint64_t correlation,
                     const void *header,
                     size_t header_bytes,
                     const void *table,
                     size_t table_bytes,
                     const struct slice *body,
                     size_t n_body);
/* Fills up to @n_max vectors with what is to be written next; borrows until
 * frame_queue_consume(). */
size_t frame_queue_iovec(const struct frame_queue *q, struct iovec *iov, size_t n_max);
void frame_queue_consume(struct frame_queue *q, size_t n);
