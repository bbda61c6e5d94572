/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Whether what an archive holds is a log: segments that are closed and good down to the checksum of
 * each batch, that follow each other without a gap, and checkpoints that belong to them. An archive
 * may be as it was made and its log damaged all the same: then the node's disk was.
 *
 * Takes the files as they come out of archive_in_read(); what it finds it logs.
 */

#include "log/entry.h"
#include "log/segment.h"
#include "snapshot/archive.h"

struct segments {
        const struct manifest *contents;
        /* The file at hand. */
        size_t file_i;
        uint64_t pos; /* of data[0] in it */
        uint8_t *data;
        size_t n_data, n_allocated;
        bool has_header;
        bool has_footer;
        struct segment_header header;
        uint64_t last_index; /* of a segment: the last entry that was good */
        uint64_t last_term;
        uint64_t n_entries;
        struct entry_room room;
        uint32_t body_crc; /* of a checkpoint */
        /* Of the shard at hand. */
        uint64_t shard;
        uint64_t shard_last_index; /* 0: no segment yet */
};

extern const struct archive_events segments_events; /* userdata: the struct segments */

/* After the last file. Return: 0; -EBADMSG a shard does not end where it should, logged. */
int segments_end(struct segments *s);
void segments_done(struct segments *s);
