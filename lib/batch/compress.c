/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One table of codecs, and for each the few lines that hold its library to the contract of
 * compress.h.
 *
 *  I1  Decompressing never holds more than max_bytes + 1 bytes of output: one more tells that there
 *      is more.
 *  I2  A context that a failed call left in the middle of something is reset before it is used
 *      again.
 */

#include "batch/compress.h"

#include <limits.h>
#include <lz4frame.h>
#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/alloc.h"
#include "batch/batch-format.h"

/* windowBits of zlib: 32 KiB and a gzip header. */
#define GZIP_WINDOW (15 + 16)
#define GZIP_MEMORY_LEVEL 8

#define OUTPUT_FIRST_BYTES 256u

struct codec_context {
        z_stream deflate;
        z_stream inflate;
        bool has_deflate;
        bool has_inflate;
        int deflate_level;
        LZ4F_dctx *lz4;
        ZSTD_CCtx *zstd_compress;
        ZSTD_DCtx *zstd_decompress;
};

/* What comes out of a decompression, so far. */
struct output {
        struct buf *buf;
        size_t size;
        size_t limit; /* max_bytes + 1: I1 */
};

struct codec_ops {
        const char *name;
        int level_max;
        size_t (*bound)(size_t n);
        /* Into `to`, which has bound() bytes. */
        int (*compress)(struct codec_context *c,
                        int level,
                        const uint8_t *p,
                        size_t n,
                        uint8_t *to,
                        size_t to_size,
                        size_t *ret_n);
        int (*decompress)(struct codec_context *c, const uint8_t *p, size_t n, struct output *o);
};

static void codec_context_clear(struct codec_context *c) {
        if (c->has_deflate)
                (void) deflateEnd(
                        &c->deflate); /* complains of unfinished work, which is thrown away here */
        if (c->has_inflate)
                (void) inflateEnd(&c->inflate);
        (void) LZ4F_freeDecompressionContext(c->lz4); /* returns the stage it was in */
        (void) ZSTD_freeCCtx(c->zstd_compress);
        (void) ZSTD_freeDCtx(c->zstd_decompress);
}

struct codec_context *codec_context_new(void) {
        return new0(struct codec_context, 1);
}

struct codec_context *codec_context_free(struct codec_context *c) {
        if (c)
                codec_context_clear(c);
        return mem_free(c);
}

/* Makes room for at least one more byte and, if that is more, for `hint` bytes in all; no more than
 * the limit. */
static int output_reserve(struct output *o, size_t hint) {
        size_t capacity = o->buf ? o->buf->capacity : 0;
        struct buf *buf;

        if (o->size >= o->limit)
                return -EMSGSIZE;
        if (o->size < capacity)
                return 0;

        capacity = MIN(MAX(MAX(capacity * 2, hint), (size_t) OUTPUT_FIRST_BYTES), o->limit);
        buf = buf_new(capacity);
        if (!buf)
                return -ENOMEM;

        if (o->buf)
                memcpy(buf->data, o->buf->data, o->size);
        buf_unref(o->buf);
        o->buf = buf;
        return 0;
}

/* --- gzip
 * ------------------------------------------------------------------------------------------------------- */

static void *gzip_alloc(_unused_ void *userdata, unsigned n, unsigned size) {
        return mem_alloc((size_t) n * size);
}

static void gzip_free(_unused_ void *userdata, void *p) {
        mem_free(p);
}

static size_t gzip_bound(size_t n) {
        return deflateBound(NULL, n) + 18; /* any settings; with the gzip header and trailer */
}

static int gzip_compress(struct codec_context *c,
                         int level,
                         const uint8_t *p,
                         size_t n,
                         uint8_t *to,
                         size_t to_size,
                         size_t *ret_n) {
        z_stream *z = &c->deflate;

        if (c->has_deflate && c->deflate_level != level) {
                (void) deflateEnd(z);
                c->has_deflate = false;
        }

        if (!c->has_deflate) {
                *z = (z_stream){ .zalloc = gzip_alloc, .zfree = gzip_free };
                if (deflateInit2(z,
                                 level == CODEC_LEVEL_DEFAULT ? Z_DEFAULT_COMPRESSION : level,
                                 Z_DEFLATED,
                                 GZIP_WINDOW,
                                 GZIP_MEMORY_LEVEL,
                                 Z_DEFAULT_STRATEGY) != Z_OK)
                        return -ENOMEM;
                c->has_deflate = true;
                c->deflate_level = level;
        } else
                (void) deflateReset(z);

        z->next_in = (uint8_t *) p;
        z->avail_in = (unsigned) n;
        z->next_out = to;
        z->avail_out = (unsigned) MIN(to_size, (size_t) UINT_MAX);
        if (deflate(z, Z_FINISH) != Z_STREAM_END)
                return -EINVAL;

        *ret_n = (size_t) (z->next_out - to);
        return 0;
}

static int gzip_decompress(struct codec_context *c, const uint8_t *p, size_t n, struct output *o) {
        z_stream *z = &c->inflate;
        int r;

        if (!c->has_inflate) {
                *z = (z_stream){ .zalloc = gzip_alloc, .zfree = gzip_free };
                if (inflateInit2(z, GZIP_WINDOW) != Z_OK)
                        return -ENOMEM;
                c->has_inflate = true;
        } else
                (void) inflateReset(z); /* I2 */

        z->next_in = (uint8_t *) p;
        z->avail_in = (unsigned) n;
        for (;;) {
                r = output_reserve(o, n * 4);
                if (r < 0)
                        return r;

                z->next_out = o->buf->data + o->size;
                z->avail_out = (unsigned) MIN(o->buf->capacity - o->size, (size_t) UINT_MAX);
                r = inflate(z, Z_NO_FLUSH);
                o->size = (size_t) (z->next_out - o->buf->data);

                if (r == Z_STREAM_END) {
                        if (z->avail_in == 0)
                                return 0;
                        (void) inflateReset(
                                z); /* RFC 1952, 2.2: members simply follow each other */
                } else if (r == Z_MEM_ERROR)
                        return -ENOMEM;
                else if (r != Z_OK) /* Z_BUF_ERROR too: there is room, so the input is too short */
                        return -EBADMSG;
        }
}

/* --- snappy
 * ----------------------------------------------------------------------------------------------------- */

static size_t snappy_bound(size_t n) {
        size_t n_blocks = (n + SNAPPY_XERIAL_BLOCK_BYTES - 1) / SNAPPY_XERIAL_BLOCK_BYTES;

        return SNAPPY_XERIAL_HEADER_BYTES +
               n_blocks * (4 + snappy_max_compressed_length(SNAPPY_XERIAL_BLOCK_BYTES));
}

static int snappy_compress_xerial(_unused_ struct codec_context *c,
                                  _unused_ int level,
                                  const uint8_t *p,
                                  size_t n,
                                  uint8_t *to,
                                  size_t to_size,
                                  size_t *ret_n) {
        uint8_t *q = to;

        memcpy(q, SNAPPY_XERIAL_MAGIC, SNAPPY_XERIAL_MAGIC_BYTES);
        be32_store(q + 8, 1);
        be32_store(q + 12, 1);
        q += SNAPPY_XERIAL_HEADER_BYTES;

        while (n > 0) {
                size_t block = MIN(n, (size_t) SNAPPY_XERIAL_BLOCK_BYTES);
                size_t size = to_size - (size_t) (q - to) - 4;

                if (snappy_compress((const char *) p, block, (char *) q + 4, &size) != SNAPPY_OK)
                        return -EINVAL;
                be32_store(q, (uint32_t) size);
                q += 4 + size;
                p += block;
                n -= block;
        }

        *ret_n = (size_t) (q - to);
        return 0;
}

/* Appends what a block holds; with o->buf NULL only counts it. */
static int snappy_decompress_block(const uint8_t *p, size_t n, struct output *o) {
        size_t size;

        if (snappy_uncompressed_length((const char *) p, n, &size) != SNAPPY_OK)
                return -EBADMSG;
        if (size >= o->limit - o->size)
                return -EMSGSIZE;

        if (o->buf) {
                if (size > o->buf->capacity - o->size ||
                    snappy_uncompress(
                            (const char *) p, n, (char *) o->buf->data + o->size, &size) !=
                            SNAPPY_OK)
                        return -EBADMSG;
        }

        o->size += size;
        return 0;
}

static int snappy_decompress_blocks(const uint8_t *p, size_t n, struct output *o) {
        int r;

        o->size = 0;
        if (n < SNAPPY_XERIAL_HEADER_BYTES ||
            memcmp(p, SNAPPY_XERIAL_MAGIC, SNAPPY_XERIAL_MAGIC_BYTES) != 0)
                return snappy_decompress_block(p, n, o);

        if (be32_load(p + 8) < 1 || be32_load(p + 12) > 1)
                return -EBADMSG;
        p += SNAPPY_XERIAL_HEADER_BYTES;
        n -= SNAPPY_XERIAL_HEADER_BYTES;

        while (n > 0) {
                uint32_t block;

                if (n < 4)
                        return -EBADMSG;
                block = be32_load(p);
                p += 4;
                n -= 4;

                if (block > n)
                        return -EBADMSG;
                r = snappy_decompress_block(p, block, o);
                if (r < 0)
                        return r;
                p += block;
                n -= block;
        }

        return 0;
}

static int
snappy_decompress(_unused_ struct codec_context *c, const uint8_t *p, size_t n, struct output *o) {
        int r;

        r = snappy_decompress_blocks(p, n, o);
        if (r < 0)
                return r;

        o->buf = buf_new(o->size);
        if (!o->buf)
                return -ENOMEM;

        return snappy_decompress_blocks(p, n, o);
}

/* --- lz4
 * -------------------------------------------------------------------------------------------------------- */

/* Blocks of 64 KiB as Kafka's clients write them; the checksums are the batch's. */
static LZ4F_preferences_t lz4_preferences(int level, size_t n) {
        return (LZ4F_preferences_t){
                .frameInfo = {
                        .blockSizeID = LZ4F_max64KB,
                        .blockMode = LZ4F_blockIndependent,
                        .contentSize = n,
                },
                .compressionLevel = level,
        };
}

static size_t lz4_bound(size_t n) {
        LZ4F_preferences_t preferences = lz4_preferences(CODEC_LEVEL_DEFAULT, n);

        return LZ4F_compressFrameBound(n, &preferences);
}

static int lz4_compress(_unused_ struct codec_context *c,
                        int level,
                        const uint8_t *p,
                        size_t n,
                        uint8_t *to,
                        size_t to_size,
                        size_t *ret_n) {
        LZ4F_preferences_t preferences = lz4_preferences(level, n);
        size_t size;

        size = LZ4F_compressFrame(to, to_size, p, n, &preferences);
        if (LZ4F_isError(size))
                return -ENOMEM; /* all else is right by construction */

        *ret_n = size;
        return 0;
}

static int lz4_error(size_t code) {
        /* The library has its codes by text only, unless it is linked statically. */
        return streq(LZ4F_getErrorName(code), "ERROR_allocation_failed") ? -ENOMEM : -EBADMSG;
}

static int lz4_decompress(struct codec_context *c, const uint8_t *p, size_t n, struct output *o) {
        LZ4F_frameInfo_t info;
        size_t consumed = n, hint;
        int r;

        if (!c->lz4) {
                if (LZ4F_isError(LZ4F_createDecompressionContext(&c->lz4, LZ4F_VERSION)))
                        return -ENOMEM;
        } else
                LZ4F_resetDecompressionContext(c->lz4); /* I2 */

        hint = LZ4F_getFrameInfo(c->lz4, &info, p, &consumed);
        if (LZ4F_isError(hint))
                return lz4_error(hint);
        if (info.contentSize >= o->limit)
                return -EMSGSIZE;

        for (;;) {
                size_t size;

                p += consumed;
                n -= consumed;

                r = output_reserve(o, info.contentSize > 0 ? info.contentSize : n * 4);
                if (r < 0)
                        return r;

                consumed = n;
                size = o->buf->capacity - o->size;
                hint = LZ4F_decompress(
                        c->lz4, o->buf->data + o->size, &size, p, &consumed, /* dOptPtr= */ NULL);
                if (LZ4F_isError(hint))
                        return lz4_error(hint);

                o->size += size;
                if (hint == 0 && consumed == n)
                        return 0;
                if (consumed == 0 && size == 0)
                        return -EBADMSG; /* it waits for more input */
        }
}

/* --- zstd
 * ------------------------------------------------------------------------------------------------------- */

static int zstd_compress(struct codec_context *c,
                         int level,
                         const uint8_t *p,
                         size_t n,
                         uint8_t *to,
                         size_t to_size,
                         size_t *ret_n) {
        size_t size;

        if (!c->zstd_compress)
                c->zstd_compress = ZSTD_createCCtx();
        if (!c->zstd_compress)
                return -ENOMEM;

        size = ZSTD_compressCCtx(c->zstd_compress, to, to_size, p, n, level);
        if (ZSTD_isError(size))
                return -ENOMEM; /* all else is right by construction */

        *ret_n = size;
        return 0;
}

/*
 * In one go into all of the room, and once more into more room where it was not enough: a streaming
 * decoder would keep a window beside the output, as large as the blob asks for.
 */
static int zstd_decompress(struct codec_context *c, const uint8_t *p, size_t n, struct output *o) {
        unsigned long long content;
        size_t hint, size;
        int r;

        if (!c->zstd_decompress)
                c->zstd_decompress = ZSTD_createDCtx();
        if (!c->zstd_decompress)
                return -ENOMEM;

        content = ZSTD_getFrameContentSize(p, n);
        if (content == ZSTD_CONTENTSIZE_ERROR)
                return -EBADMSG;
        if (content != ZSTD_CONTENTSIZE_UNKNOWN && content >= o->limit)
                return -EMSGSIZE;
        hint = content == ZSTD_CONTENTSIZE_UNKNOWN ? n * 8 : (size_t) content;

        for (;;) {
                r = output_reserve(o, hint);
                if (r < 0)
                        return r;

                size = ZSTD_decompressDCtx(
                        c->zstd_decompress, o->buf->data, o->buf->capacity, p, n);
                if (!ZSTD_isError(size)) {
                        o->size = size;
                        return 0;
                }

                if (ZSTD_getErrorCode(size) == ZSTD_error_memory_allocation)
                        return -ENOMEM;
                if (ZSTD_getErrorCode(size) != ZSTD_error_dstSize_tooSmall)
                        return -EBADMSG;

                if (o->buf->capacity >= o->limit)
                        return -EMSGSIZE;
                hint = o->buf->capacity * 4;
                o->buf = buf_unref(o->buf);
        }
}

/* --- the table
 * -------------------------------------------------------------------------------------------------- */

static const struct codec_ops codec_table[_CODEC_MAX] = {
        [CODEC_NONE] = { .name = "none" },
        [CODEC_GZIP] = {
                .name = "gzip",
                .level_max = Z_BEST_COMPRESSION,
                .bound = gzip_bound,
                .compress = gzip_compress,
                .decompress = gzip_decompress,
        },
        [CODEC_SNAPPY] = {
                .name = "snappy",
                .bound = snappy_bound,
                .compress = snappy_compress_xerial,
                .decompress = snappy_decompress,
        },
        [CODEC_LZ4] = {
                .name = "lz4",
                .level_max = 12,
                .bound = lz4_bound,
                .compress = lz4_compress,
                .decompress = lz4_decompress,
        },
        [CODEC_ZSTD] = {
                .name = "zstd",
                .level_max = 22,
                .bound = ZSTD_compressBound,
                .compress = zstd_compress,
                .decompress = zstd_decompress,
        },
};

bool codec_is_known(enum codec codec) {
        return (unsigned) codec < _CODEC_MAX;
}

const char *codec_name(enum codec codec) {
        return codec_is_known(codec) ? codec_table[codec].name : NULL;
}

bool codec_level_is_valid(enum codec codec, int level) {
        if (level == CODEC_LEVEL_DEFAULT)
                return true;
        return codec_is_known(codec) && level >= 1 && level <= codec_table[codec].level_max;
}

int codec_compress(struct codec_context *c,
                   enum codec codec,
                   int level,
                   const void *p,
                   size_t n,
                   size_t n_head,
                   struct buf **ret,
                   size_t *ret_n) {
        _cleanup_(codec_context_clear) struct codec_context once = {};
        _cleanup_(buf_unrefp) struct buf *buf = NULL;
        size_t bound, size;
        int r;

        assert(p);
        assert(ret);
        assert(ret_n);

        if (!codec_is_known(codec) || codec == CODEC_NONE || !codec_level_is_valid(codec, level))
                return -EINVAL;
        if (n == 0 || n > INT32_MAX || n_head > INT32_MAX)
                return -EINVAL;

        bound = codec_table[codec].bound(n);
        buf = buf_new(n_head + bound);
        if (!buf)
                return -ENOMEM;

        r = codec_table[codec].compress(c ?: &once, level, p, n, buf->data + n_head, bound, &size);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(buf);
        *ret_n = size;
        return 0;
}

int codec_decompress(struct codec_context *c,
                     enum codec codec,
                     const void *p,
                     size_t n,
                     size_t max_bytes,
                     struct slice *ret) {
        _cleanup_(codec_context_clear) struct codec_context once = {};
        struct output o = {};
        int r;

        assert(p || n == 0);
        assert(max_bytes < SIZE_MAX);
        assert(ret);

        if (!codec_is_known(codec) || codec == CODEC_NONE)
                return -EOPNOTSUPP;
        if (n == 0 || n > INT32_MAX)
                return -EBADMSG;

        o.limit = max_bytes + 1; /* I1 */
        r = codec_table[codec].decompress(c ?: &once, p, n, &o);
        if (r >= 0 && o.size > max_bytes)
                r = -EMSGSIZE;
        if (r < 0) {
                buf_unref(o.buf);
                return r;
        }

        if (o.size == 0)
                o.buf = buf_unref(o.buf);
        *ret = (struct slice){ .buf = o.buf, .data = o.buf ? o.buf->data : NULL, .size = o.size };
        return 0;
}
