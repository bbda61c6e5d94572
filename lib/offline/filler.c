/* SPDX-License-Identifier: Apache-2.0 */
#include "offline/filler.h"

#include "base/crc32c.h"

void filler_make(uint8_t p[static BATCH_HEADER_BYTES], uint64_t n) {
        struct batch_header *h = (struct batch_header *) p;

        assert(n > 0 && n <= FILLER_MESSAGES_MAX);

        *h = (struct batch_header){
                .length = be32_of(BATCH_HEADER_BYTES - BATCH_LENGTH_FROM),
                .magic = BATCH_MAGIC,
                .last_offset_delta = be32_of((uint32_t) (n - 1)),
                .base_timestamp_ms = be64_of(UINT64_MAX),
                .max_timestamp_ms = be64_of(UINT64_MAX),
                .producer_id = be64_of(UINT64_MAX),
                .producer_epoch = be16_of(UINT16_MAX),
                .base_sequence = be32_of(UINT32_MAX),
        };
        h->crc =
                be32_of(crc32c(0, p + BATCH_CHECKED_FROM, BATCH_HEADER_BYTES - BATCH_CHECKED_FROM));
}
