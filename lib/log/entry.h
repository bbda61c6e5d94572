/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One entry of the log in memory: what Raft orders. A produce entry carries slices, each the batch
 * of one partition; other kinds carry a body that only lib/state understands.
 */

#include "base/macro.h"
#include "log/format.h"

struct entry_slice {
        uint64_t partition_id;
        uint64_t base_offset;
        int64_t not_before_ms; /* 0: at once */
        int64_t expires_at_ms; /* 0: never */
        uint8_t priority;
        const uint8_t *batch; /* borrows */
        uint32_t batch_bytes;
};

struct entry {
        uint64_t index;
        uint64_t term;
        int64_t append_time_ms;
        enum entry_kind kind;
        unsigned n_slices;          /* ENTRY_PRODUCE: at least 1; else 0 */
        struct entry_slice *slices; /* borrows */
        const uint8_t *body;        /* not ENTRY_PRODUCE; borrows */
        uint32_t body_bytes;
};

/* Bytes that @e takes in a group write, padding to 8 included. Return: 0; -EMSGSIZE past
 * ENTRY_BYTES_MAX. */
int entry_size(const struct entry *e, size_t *ret_bytes);

/* Writes @e, whose entry_size() bytes have room at @p, padding zeroed. Each batch is copied and the
 * copy given its base offset and the term (batch_assign()): what @e borrows is not written to. */
void entry_encode(const struct entry *e, uint32_t salt, uint8_t *p);

enum entry_verify {
        ENTRY_VERIFY_HEADER,  /* the entry's own checksum: all but the batches' bytes from 21 on */
        ENTRY_VERIFY_BATCHES, /* and each batch's checksum */
};

/**
 * entry_decode() - read the entry at @p
 * @n: bytes that may be touched
 * @slices: room for the slices; borrows. At least what entry_n_slices() says
 * @n_slices_max: elements of @slices
 * @ret: borrows @p and @slices
 * @ret_bytes: its size with padding
 *
 * Nothing of it is trusted before its checksum is right. With ENTRY_VERIFY_BATCHES a bad batch
 * makes the entry bad.
 *
 * Return: 0; -EBADMSG not an entry, or damaged; -ENOBUFS more slices than @n_slices_max (the count
 * in the header says how many; the checksum has not been looked at then); -EMSGSIZE it does not end
 * within @n.
 */
int entry_decode(const uint8_t *p,
                 size_t n,
                 uint32_t salt,
                 enum entry_verify verify,
                 struct entry_slice *slices,
                 unsigned n_slices_max,
                 struct entry *ret,
                 size_t *ret_bytes);

/* Room for slices that grows as it must; zero-initialised is empty. */
struct entry_room {
        struct entry_slice *slices;
        size_t n_allocated;
};

void entry_room_done(struct entry_room *room);
/* As entry_decode(), with as many slices as there are; @room keeps them. Return: as there, or
 * -ENOMEM, but not -ENOBUFS. */
int entry_decode_into(const uint8_t *p,
                      size_t n,
                      uint32_t salt,
                      enum entry_verify verify,
                      struct entry_room *room,
                      struct entry *ret,
                      size_t *ret_bytes);
