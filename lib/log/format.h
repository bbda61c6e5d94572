/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The log on disk, byte by byte; drmq-log(5) gives the same tables in the same order. All integers
 * are little-endian, but for what lies inside a record batch. "Checksum" is CRC-32C; "salted" means
 * seeded with the segment's salt, so that neither payload nor bytes of an older file can pass for
 * part of this one.
 *
 * A segment file:
 *
 *     header block | group write | group write | … | footer          (closed)
 *     header block | group write | … | zeroes, synced ahead of use   (open: the newest file only)
 *
 * Segment header block, 4096 bytes at 0
 *   off size  meaning                                               checked by
 *     0    4  checksum of bytes 4..4095                             segment_header_decode()
 *     4    4  magic "DRSG"                                          "
 *     8    4  format version, 1                                     " (-EPROTONOSUPPORT when newer)
 *    12    4  zero
 *    16    8  shard                                                 segment_open()
 *    24    8  first index                                           " (must be the file's name)
 *    32    8  generation: a rewritten file has a higher one         recovery
 *    40    4  salt, never 0
 *    44    4  zero
 *    48    8  created, ms since 1970
 *    56    8  term of the entry before first index (0: none)        recovery
 *    64 4032  zero
 *
 * Group write, on a 512-byte boundary, padded with zeroes to one
 *     0    4  salted checksum of bytes 4..63                        group_header_decode()
 *     4    4  magic "DRGW"                                          "
 *     8    8  first index; of an empty group: last index + 1        recovery (continues the log)
 *    16    8  last index                                            "
 *    24    8  term of the last index                                "
 *    32    4  length: this header and the entries, without padding  group_header_decode()
 *    36    4  how many of its sectors are all zero by content; bit  recovery
 *             31: reported before it was synced
 *    40    8  durable index known when this was written             recovery
 *    48    8  commit index known when this was written              "
 *    56    8  term of the durable index                             "
 *    64    …  entries, each on an 8-byte boundary
 *
 * Entry
 *     0    4  salted checksum of bytes 4..39, the slice headers, and of each batch its first 21
 *             bytes (what the batch's own checksum leaves out); of other kinds: of the whole body
 *     4    4  length: header, slice headers and batches (or body), without padding
 *     8    8  index
 *    16    8  term
 *    24    8  append time: the leader's wall clock, ms since 1970, never going back within a shard
 *    32    1  kind (enum entry_kind)
 *    33    1  flags, 0
 *    34    2  number of slices (kind produce), else 0
 *    36    4  zero
 *    40    …  slice headers, then the batches one behind the other; of other kinds: the body
 *
 * Slice header, 40 bytes
 *     0    8  partition id
 *     8    8  base offset (the batch's own bytes carry it too)
 *    16    8  not before, ms since 1970; 0: at once
 *    24    8  expires at, ms since 1970; 0: never
 *    32    4  length of the batch
 *    36    1  priority
 *    37    3  zero
 *
 * Footer of a closed segment, 512 bytes on a boundary, written once all that it names is synced;
 * the file ends behind it
 *     0    4  salted checksum of bytes 4..511
 *     4    4  magic "DRSF"
 *     8    8  last index
 *    16    8  term of the last index
 *    24    8  commit index known
 *    32    8  number of entries
 *    40    8  position of this footer in the file
 *    48    8  append time of the last entry
 *    56  456  zero
 *
 * Index file (.idx), rebuilt from the segment where missing or bad
 *     0    4  checksum of bytes 4..63
 *     4    4  magic "DRIX"
 *     8    4  format version, 1
 *    12    4  checksum of all that follows the header
 *    16    8  shard
 *    24    8  first index of the segment
 *    32    8  generation of the segment
 *    40    4  salt of the segment
 *    44    4  number of partitions
 *    48    8  number of points
 *    56    8  position in the segment up to which it speaks
 *    64    …  per partition, by id, 48 bytes: partition id 8, first point's number 8, number of
 *             points 4, zero 4, first offset 8, last offset 8, append time of the last batch 8
 *     …    …  per point, by partition and offset, 24 bytes: base offset 8, append time 8, position
 *     of its entry 8
 *
 * Hard state, file "hardstate": two copies, in the blocks at 0 and 4096, each 4096 bytes
 *     0    4  checksum of bytes 4..4095
 *     4    4  magic "DRHS"
 *     8    4  format version, 1
 *    12    4  zero
 *    16    8  sequence: the newer copy has the higher one
 *    24    8  term
 *    32    8  vote: node id, 0 none
 *    40    8  incarnation of the vote's node (first 8 bytes), 0 none
 *    48    4  intent under way: 0 none, 1 truncate, 2 install
 *    52    4  zero
 *    56    8  intent: the last index that stays (truncate), the snapshot's index (install)
 *    64    8  intent: its term
 *    72 4024  zero
 *
 * Node, file "node": two copies, in the blocks at 0 and 4096, each 4096 bytes
 *     0    4  checksum of bytes 4..4095
 *     4    4  magic "DRND"
 *     8    4  format version, 1
 *    12    4  number of shards
 *    16    8  sequence
 *    24    8  node id
 *    32   16  cluster id
 *    48   16  incarnation
 *    64    …  the shards' numbers, 8 bytes each, ascending
 *
 * Checkpoint, file "checkpoint-INDEX" (20 digits)
 *     0    4  checksum of bytes 4..63
 *     4    4  magic "DRCP"
 *     8    4  format version, 1
 *    12    4  checksum of the body
 *    16    8  shard
 *    24    8  index: the state after this entry
 *    32    8  its term
 *    40    8  its append time
 *    48    8  length of the body
 *    56    8  zero
 *    64    …  the body (state/state.h, as are the bodies of entries)
 */

#include "base/bytes.h"
#include "base/macro.h"

#define LOG_FORMAT_VERSION 1u
#define LOG_SECTOR_BYTES 512u
#define SEGMENT_HEADER_BYTES 4096u
#define GROUP_HEADER_BYTES 64u
#define ENTRY_HEADER_BYTES 40u
#define SLICE_HEADER_BYTES 40u
#define SEGMENT_FOOTER_BYTES 512u
#define HARDSTATE_COPY_BYTES 4096u
#define NODE_COPY_BYTES 4096u
#define CHECKPOINT_HEADER_BYTES 64u
#define INDEX_HEADER_BYTES 64u
#define INDEX_PARTITION_BYTES 48u
#define INDEX_POINT_BYTES 24u

/* An entry is no longer than this, and a group write no longer than its header and such an
 * entry. */
#define ENTRY_BYTES_MAX (UINT32_C(32) << 20)
#define GROUP_BYTES_MAX (GROUP_HEADER_BYTES + ENTRY_BYTES_MAX)
#define ENTRY_SLICES_MAX 65535u

enum entry_kind {
        ENTRY_NOOP = 1,
        ENTRY_MEMBERSHIP = 2,
        ENTRY_PRODUCE = 3,
        ENTRY_GROUP = 4,
        ENTRY_ADMIN = 5,
        ENTRY_CHECKPOINT_MARK = 6,
        _ENTRY_KIND_MAX,
        _ENTRY_KIND_INVALID = -EINVAL,
};

enum intent_kind {
        INTENT_NONE = 0,
        INTENT_TRUNCATE = 1,
        INTENT_INSTALL = 2,
};
