/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What repeats per slice in a frame: tables of fixed layout, little-endian, as on disk. Each struct
 * is its row, byte for byte; drmq-protocol(7) gives the same tables.
 */

#include "base/bytes.h"

/* A slice to be appended. The batches follow the table, in its order. */
struct produce_slice {
        le64_t partition_id;
        le64_t not_before_ms; /* 0: at once */
        le64_t expires_at_ms; /* 0: never */
        le32_t batch_bytes;
        uint8_t priority;
        uint8_t zero[3];
};
static_assert(sizeof(struct produce_slice) == 32, "layout");

struct produce_result {
        le64_t partition_id;
        le64_t base_offset; /* of the batch's first message, where error is 0 */
        le64_t append_time_ms;
        /* enum drmq_error; DRMQ_ERROR_DUPLICATE is success: it had been there already */
        le32_t error;
        le32_t zero;
};
static_assert(sizeof(struct produce_result) == 32, "layout");

struct fetch_want {
        le64_t partition_id;
        le64_t offset;    /* first wanted */
        le32_t max_bytes; /* of this partition; 0: the request's */
        le32_t zero;
};
static_assert(sizeof(struct fetch_want) == 24, "layout");

/* A batch that is sent. Its base offset and term are in here, under the frame's checksum; the
 * batch's own first 21 bytes must agree. */
struct fetch_slice {
        le64_t partition_id;
        le64_t base_offset;
        le64_t term;
        le64_t append_time_ms;
        le64_t not_before_ms;
        le64_t expires_at_ms;
        le32_t batch_bytes;
        uint8_t priority;
        uint8_t zero[3];
};
static_assert(sizeof(struct fetch_slice) == 56, "layout");
