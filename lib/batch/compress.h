/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The codecs of record batches, by the libraries that are theirs:
 *
 *     gzip    RFC 1952; several members in a row are read as one
 *     snappy  written in xerial's framing; read in that or as one block (batch/batch-format.h)
 *     lz4     LZ4 frames, written with independent blocks
 *     zstd    frames, written with their content size
 *
 * The memory of what they produce, and zlib's own, comes from base/alloc.h; lz4 and zstd have no
 * stable way to be told so and allocate their contexts themselves.
 */

#include "base/buf.h"
#include "base/macro.h"

/* The numbers stand in batches. */
enum codec {
        CODEC_NONE = 0,
        CODEC_GZIP = 1,
        CODEC_SNAPPY = 2,
        CODEC_LZ4 = 3,
        CODEC_ZSTD = 4,
        _CODEC_MAX,
        _CODEC_INVALID = -EINVAL,
};

/* The codec's own choice of speed against size. */
#define CODEC_LEVEL_DEFAULT 0

bool codec_is_known(enum codec codec);
/* "none", "gzip", "snappy", "lz4", "zstd"; NULL for any other number. */
const char *codec_name(enum codec codec);
/* gzip 1 to 9, lz4 1 to 12, zstd 1 to 22; CODEC_LEVEL_DEFAULT always; no others. */
bool codec_level_is_valid(enum codec codec, int level);

/* What the codecs need besides input and output, made when first needed and kept: worth keeping
 * where batches come in numbers (zstd's are a megabyte and more). For one thread at a time. */
struct codec_context;

/* Returns new; NULL: no memory. */
struct codec_context *codec_context_new(void);
/* Takes NULL, returns NULL. */
struct codec_context *codec_context_free(struct codec_context *c);
DEFINE_CLEANUP(struct codec_context *, codec_context_free)

/**
 * codec_compress() - bytes into a blob
 * @c:      borrows; NULL: one is made for this call
 * @codec:  any but CODEC_NONE
 * @level:  a valid one
 * @p:      what to compress; borrows
 * @n:      bytes at @p, 1 to INT32_MAX
 * @n_head: bytes to leave free before the blob, in the same buf
 * @ret:    returns new; data[0..n_head) is the caller's to fill, the blob lies behind it
 * @ret_n:  bytes of the blob; may be more than @n
 *
 * Return: 0; -EINVAL no codec, level or size of these; -ENOMEM.
 */
int codec_compress(struct codec_context *c,
                   enum codec codec,
                   int level,
                   const void *p,
                   size_t n,
                   size_t n_head,
                   struct buf **ret,
                   size_t *ret_n);

/**
 * codec_decompress() - the bytes of a blob
 * @c:         borrows; NULL: one is made for this call
 * @codec:     any; CODEC_NONE is not one that can be undone (-EOPNOTSUPP)
 * @p:         the blob, from anywhere; borrows
 * @n:         bytes at @p
 * @max_bytes: the most that may come out, whatever the blob says of itself; also bounds the memory
 *             used (lz4 takes up to 8 MiB besides)
 * @ret:       returns new; slice_done()
 *
 * Return: 0; -EMSGSIZE more than @max_bytes would come out; -EBADMSG damaged, cut off or followed
 * by something else; -EOPNOTSUPP no such codec; -ENOMEM.
 */
int codec_decompress(struct codec_context *c,
                     enum codec codec,
                     const void *p,
                     size_t n,
                     size_t max_bytes,
                     struct slice *ret);
