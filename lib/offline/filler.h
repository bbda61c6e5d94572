/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Empty batches that stand for messages that are lost: offsets go on over them, readers find
 * nothing in them. Such a batch is a header that says "no records" and how many offsets it takes.
 */

#include "batch/batch-format.h"

/* The most that one can stand for. */
#define FILLER_MESSAGES_MAX ((uint64_t) INT32_MAX)

/* @n: 1 to FILLER_MESSAGES_MAX. */
void filler_make(uint8_t p[static BATCH_HEADER_BYTES], uint64_t n);
