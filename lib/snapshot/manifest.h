/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a snapshot holds, as text. The same text in two states:
 *
 *     contents   file "drmq-snapshot" of a held snapshot, and first member of an archive: no
 *                checksums yet ("-")
 *     manifest   last member of an archive, "manifest": each file with its CRC-32C
 *
 *     drmq-snapshot 1
 *     name nightly
 *     created 1763640000000                    ms since 1970
 *     node 1 node1                             id, name
 *     cluster 5a0c…                            32 hex digits
 *     incarnation 77e1…
 *     version 0.1.0                            of the node that made it
 *     token 00c0ffee00c0ffee                   of the request that made it
 *     temporary no                             yes: the node deletes it when nobody reads it
 *     shard 0 1 17 12 3                        number, first and last index, checkpoint, term
 *     shard 1 1 4711 4000 3
 *     file 8192 - shard-0/00000000000000000001.log
 *     …
 *     end 5 10485760 1a2b3c4d                  files, their bytes, CRC-32C of all lines before
 *
 * Lines come in this order, end in a newline, and have one space between words; numbers are decimal
 * without leading zeroes. Paths are "shard-N/" and the name of a segment, index or checkpoint file,
 * of a shard that is listed; they ascend, so that none is there twice. So a path that was parsed is
 * safe to make below a folder of one's own.
 */

#include "base/bytes.h"
#include "base/macro.h"

#define MANIFEST_VERSION 1u
#define MANIFEST_NAME "manifest"
#define MANIFEST_CONTENTS_NAME "drmq-snapshot"
#define MANIFEST_BYTES_MAX (UINT32_C(64) << 20)
#define SNAPSHOT_NAME_MAX 64u
#define MANIFEST_WORD_MAX 255u
#define MANIFEST_SHARDS_MAX 1024u

enum manifest_kind {
        MANIFEST_SEGMENT,
        MANIFEST_INDEX,
        MANIFEST_CHECKPOINT,
};

struct manifest_shard {
        uint64_t shard;
        uint64_t first_index;      /* of the first segment */
        uint64_t last_index;       /* of the last segment */
        uint64_t checkpoint_index; /* of the newest checkpoint, 0: none; not above last_index */
        uint64_t term;             /* of the hard state, not below that of the last entry */
};

struct manifest_file {
        char *path;
        uint64_t n_bytes;
        uint32_t crc; /* where has_checksums */
        /* What the path says. */
        enum manifest_kind kind;
        uint64_t shard;
        uint64_t index; /* first index of a segment, index of a checkpoint */
};

struct manifest {
        char name[SNAPSHOT_NAME_MAX + 1];
        int64_t created_ms;
        uint64_t node_id;
        char node_name[MANIFEST_WORD_MAX + 1];
        uint8_t cluster_id[16];
        uint8_t incarnation[16];
        char version[MANIFEST_WORD_MAX + 1];
        uint64_t token;
        bool is_temporary;
        bool has_checksums;
        struct manifest_shard *shards; /* ascending */
        size_t n_shards, n_shards_allocated;
        struct manifest_file *files; /* ascending by path */
        size_t n_files, n_files_allocated;
        uint64_t n_bytes; /* of all files */
};

/* Frees what it holds; zero-initialised is empty. */
void manifest_done(struct manifest *m);
struct manifest *manifest_free(struct manifest *m);
DEFINE_CLEANUP(struct manifest *, manifest_free)

/* 1 to 64 of [a-zA-Z0-9._-], not beginning with a dot: safe as a file name. */
bool snapshot_name_is_valid(const char *s);

/**
 * manifest_parse() - text to struct, pure
 * @text: borrows until return
 * @reterr_line: which line is wrong, from 1; may be NULL
 *
 * Return: 0 and a new manifest (manifest_free()); -EBADMSG not of that form, or its checksum is
 * wrong; -EPROTONOSUPPORT a newer version; -EFBIG longer than MANIFEST_BYTES_MAX; -ENOMEM.
 */
int manifest_parse(const void *text, size_t n, struct manifest **ret, size_t *reterr_line);
/* Appends the text. What is not a word (names of nodes with spaces, …) has '?' for the characters
 * that do not fit. Return: 0; -ENOMEM. */
int manifest_format(const struct manifest *m, struct byte_writer *w);

/* Both append; files and shards must be given in ascending order. Return: 0; -EBADMSG not a path of
 * that form, not ascending, or of a shard that is not listed; -ENOMEM. */
int manifest_add_shard(struct manifest *m, const struct manifest_shard *s);
int manifest_add_file(struct manifest *m, const char *path, uint64_t n_bytes);
/* NULL: none of that number. */
const struct manifest_shard *manifest_find_shard(const struct manifest *m, uint64_t shard);
/* Whether two speak of the same snapshot, but for checksums. */
bool manifest_is_same(const struct manifest *a, const struct manifest *b);
