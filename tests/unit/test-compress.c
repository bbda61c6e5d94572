/* SPDX-License-Identifier: Apache-2.0 */

/* Codecs: there and back, what others write, bombs, damage, and memory that runs out. */

#include "batch/compress.h"

#include <lz4frame.h>
#include <snappy-c.h>
#include <zstd.h>

#include "base/random.h"
#include "batch/batch-format.h"
#include "tests/lib/test.h"

#define MIB ((size_t) 1 << 20)

#define FOREACH_CODEC(c) for (enum codec c = CODEC_GZIP; c < _CODEC_MAX; c++)

/* Bytes with some repetition and some noise. Returns new. */
static uint8_t *text_new(size_t n, uint64_t seed) {
        struct random random;
        uint8_t *p = mem_alloc(n);

        ASSERT_NOT_NULL(p);
        random_init(&random, seed);
        for (size_t i = 0; i < n; i++)
                p[i] = i >= 64 && random_chance(&random, 15, 16) ? p[i - 64]
                                                                 : (uint8_t) random_u64(&random);
        return p;
}

/* Lines as a log has them. Returns new. */
static uint8_t *lines_new(size_t n) {
        struct random random;
        char *p = mem_alloc(n + 100);

        ASSERT_NOT_NULL(p);
        random_init(&random, 0);
        for (size_t i = 0; i < n;)
                i += (size_t) sprintf(p + i,
                                      "host%u process[%u]: request %u took %u us\n",
                                      (unsigned) random_below(&random, 10),
                                      (unsigned) random_below(&random, 30000),
                                      (unsigned) i,
                                      (unsigned) random_below(&random, 500));
        return (uint8_t *) p;
}

/* A blob with its own size. */
struct blob {
        struct buf *buf;
        size_t size;
};

static void blob_done(struct blob *b) {
        b->buf = buf_unref(b->buf);
}

static void compress(struct codec_context *c,
                     enum codec codec,
                     int level,
                     const void *p,
                     size_t n,
                     struct blob *ret) {
        ASSERT_OK(codec_compress(c, codec, level, p, n, 0, &ret->buf, &ret->size));
}

static void assert_decompresses(struct codec_context *c,
                                enum codec codec,
                                const uint8_t *blob,
                                size_t blob_n,
                                const uint8_t *p,
                                size_t n) {
        _cleanup_(slice_done) struct slice s = {};

        ASSERT_OK(codec_decompress(c, codec, blob, blob_n, n, &s));
        ASSERT_EQ(s.size, n);
        ASSERT_MEM(s.data, p, n);
}

TEST(codecs_have_names) {
        static const char *const names[_CODEC_MAX] = { "none", "gzip", "snappy", "lz4", "zstd" };

        for (unsigned i = 0; i < _CODEC_MAX; i++)
                ASSERT_STREQ(codec_name((enum codec) i), names[i]);
        ASSERT_NULL(codec_name((enum codec) 5));
        ASSERT_NULL(codec_name(_CODEC_INVALID));
}

TEST(what_is_compressed_comes_back) {
        static const size_t sizes[] = { 1, 2, 100, 32767, 32768, 32769, 65536, 100000, 1 << 20 };
        _cleanup_(codec_context_freep) struct codec_context *c = codec_context_new();

        ASSERT_NOT_NULL(c);
        FOREACH_CODEC(codec)
        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                _cleanup_(mem_freep) uint8_t *p = text_new(sizes[i], i);
                _cleanup_(blob_done) struct blob blob = {};

                compress(i % 2 ? c : NULL, codec, CODEC_LEVEL_DEFAULT, p, sizes[i], &blob);
                if (sizes[i] > 1000)
                        ASSERT_LT(blob.size, sizes[i]);
                assert_decompresses(
                        i % 2 ? NULL : c, codec, blob.buf->data, blob.size, p, sizes[i]);
        }
}

TEST(noise_comes_back_too) {
        _cleanup_(mem_freep) uint8_t *p = mem_alloc(200000);
        struct random random;

        ASSERT_NOT_NULL(p);
        random_init(&random, 3);
        random_bytes(&random, p, 200000);
        FOREACH_CODEC(codec) {
                _cleanup_(blob_done) struct blob blob = {};

                compress(NULL, codec, CODEC_LEVEL_DEFAULT, p, 200000, &blob);
                assert_decompresses(NULL, codec, blob.buf->data, blob.size, p, 200000);
        }
}

TEST(levels_trade_time_for_size) {
        static const struct {
                enum codec codec;
                int fast, best;
        } table[] = { { CODEC_GZIP, 1, 9 }, { CODEC_LZ4, 1, 12 }, { CODEC_ZSTD, 1, 22 } };
        _cleanup_(codec_context_freep) struct codec_context *c = codec_context_new();
        _cleanup_(mem_freep) uint8_t *p = lines_new(100000);

        ASSERT_NOT_NULL(c);
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_(blob_done) struct blob fast = {}, best = {};

                compress(c, table[i].codec, table[i].fast, p, 100000, &fast);
                compress(c, table[i].codec, table[i].best, p, 100000, &best);
                ASSERT_LT(best.size, fast.size);
                assert_decompresses(c, table[i].codec, fast.buf->data, fast.size, p, 100000);
                assert_decompresses(c, table[i].codec, best.buf->data, best.size, p, 100000);

                ASSERT_TRUE(codec_level_is_valid(table[i].codec, CODEC_LEVEL_DEFAULT));
                ASSERT_FALSE(codec_level_is_valid(table[i].codec, table[i].best + 1));
                ASSERT_FALSE(codec_level_is_valid(table[i].codec, -1));
        }
        ASSERT_FALSE(codec_level_is_valid(CODEC_SNAPPY, 1));
        ASSERT_FALSE(codec_level_is_valid(CODEC_NONE, 1));
}

TEST(room_before_the_blob_is_left) {
        _cleanup_(mem_freep) uint8_t *p = text_new(1000, 1);

        FOREACH_CODEC(codec) {
                _cleanup_(blob_done) struct blob blob = {}, with_head = {};

                compress(NULL, codec, CODEC_LEVEL_DEFAULT, p, 1000, &blob);
                ASSERT_OK(codec_compress(NULL,
                                         codec,
                                         CODEC_LEVEL_DEFAULT,
                                         p,
                                         1000,
                                         61,
                                         &with_head.buf,
                                         &with_head.size));
                ASSERT_EQ(with_head.size, blob.size);
                ASSERT_MEM(with_head.buf->data + 61, blob.buf->data, blob.size);
        }
}

TEST(what_is_no_codec_is_refused) {
        struct slice s;
        struct buf *buf;
        size_t n;

        ASSERT_ERROR(codec_compress(NULL, CODEC_NONE, 0, "x", 1, 0, &buf, &n), EINVAL);
        ASSERT_ERROR(codec_compress(NULL, (enum codec) 5, 0, "x", 1, 0, &buf, &n), EINVAL);
        ASSERT_ERROR(codec_compress(NULL, CODEC_ZSTD, 23, "x", 1, 0, &buf, &n), EINVAL);
        ASSERT_ERROR(codec_compress(NULL, CODEC_ZSTD, 0, "x", 0, 0, &buf, &n), EINVAL);
        ASSERT_ERROR(codec_decompress(NULL, CODEC_NONE, "x", 1, 100, &s), EOPNOTSUPP);
        ASSERT_ERROR(codec_decompress(NULL, (enum codec) 7, "x", 1, 100, &s), EOPNOTSUPP);
        FOREACH_CODEC(codec)
        ASSERT_ERROR(codec_decompress(NULL, codec, NULL, 0, 100, &s), EBADMSG);
}

TEST(more_than_the_bound_does_not_come_out) {
        static uint8_t zeroes[64 << 20];

        FOREACH_CODEC(codec) {
                _cleanup_(blob_done) struct blob blob = {};
                _cleanup_(slice_done) struct slice s = {};
                size_t bytes_before;

                compress(NULL, codec, CODEC_LEVEL_DEFAULT, zeroes, sizeof(zeroes), &blob);
                ASSERT_LT(blob.size, 4 * MIB);
                bytes_before = mem_bytes();
                ASSERT_ERROR(codec_decompress(NULL, codec, blob.buf->data, blob.size, MIB, &s),
                             EMSGSIZE);
                ASSERT_ERROR(
                        codec_decompress(
                                NULL, codec, blob.buf->data, blob.size, sizeof(zeroes) - 1, &s),
                        EMSGSIZE);
                ASSERT_EQ(mem_bytes(), bytes_before);
                ASSERT_OK(codec_decompress(
                        NULL, codec, blob.buf->data, blob.size, sizeof(zeroes), &s));
                ASSERT_EQ(s.size, sizeof(zeroes));
        }
}

TEST(what_is_cut_short_or_followed_by_something_is_refused) {
        _cleanup_(codec_context_freep) struct codec_context *c = codec_context_new();
        _cleanup_(mem_freep) uint8_t *p = text_new(3000, 2);

        ASSERT_NOT_NULL(c);
        FOREACH_CODEC(codec) {
                _cleanup_(blob_done) struct blob blob = {};
                _cleanup_(mem_freep) uint8_t *copy = NULL;
                struct slice s;

                compress(c, codec, CODEC_LEVEL_DEFAULT, p, 3000, &blob);
                for (size_t n = 0; n < blob.size; n++) {
                        /* Xerial's header alone says that nothing follows. */
                        if (codec == CODEC_SNAPPY && n == SNAPPY_XERIAL_HEADER_BYTES)
                                continue;
                        copy = mem_dup(blob.buf->data, n);
                        ASSERT_ERROR(codec_decompress(c, codec, copy, n, MIB, &s), EBADMSG);
                        copy = mem_free(copy);
                }

                copy = mem_alloc0(blob.size + 3);
                memcpy(copy, blob.buf->data, blob.size);
                ASSERT_ERROR(codec_decompress(c, codec, copy, blob.size + 3, MIB, &s), EBADMSG);

                /* The context has survived all that. */
                assert_decompresses(c, codec, blob.buf->data, blob.size, p, 3000);
        }
}

TEST(damage_gives_an_error_or_as_many_bytes) {
        _cleanup_(codec_context_freep) struct codec_context *c = codec_context_new();
        _cleanup_(mem_freep) uint8_t *p = text_new(3000, 4);
        struct random random;

        ASSERT_NOT_NULL(c);
        random_init(&random, 9);
        FOREACH_CODEC(codec) {
                _cleanup_(blob_done) struct blob blob = {};
                unsigned n_refused = 0;

                compress(c, codec, CODEC_LEVEL_DEFAULT, p, 3000, &blob);
                for (unsigned i = 0; i < 2000; i++) {
                        size_t bit = random_below(&random, blob.size * 8);
                        _cleanup_(slice_done) struct slice s = {};
                        int r;

                        blob.buf->data[bit / 8] ^= (uint8_t) (1u << bit % 8);
                        r = codec_decompress(c, codec, blob.buf->data, blob.size, MIB, &s);
                        if (r < 0) {
                                ASSERT_TRUE(r == -EBADMSG || r == -EMSGSIZE);
                                n_refused++;
                        } else
                                ASSERT_LE(s.size, MIB);
                        blob.buf->data[bit / 8] ^= (uint8_t) (1u << bit % 8);
                }
                ASSERT_GT(n_refused, 0);
                assert_decompresses(c, codec, blob.buf->data, blob.size, p, 3000);
        }
}

TEST(snappy_is_written_in_xerials_framing) {
        static const uint8_t head[] = { 0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0,
                                        0,    0,   0,   1,   0,   0,   0,   1 };
        _cleanup_(mem_freep) uint8_t *p = text_new(40000, 6);
        _cleanup_(blob_done) struct blob blob = {};
        uint8_t block[32768];
        size_t n = sizeof(block), first;

        compress(NULL, CODEC_SNAPPY, CODEC_LEVEL_DEFAULT, p, 40000, &blob);
        ASSERT_MEM(blob.buf->data, head, sizeof(head));

        first = be32_load(blob.buf->data + sizeof(head));
        ASSERT_EQ(snappy_uncompress(
                          (char *) blob.buf->data + sizeof(head) + 4, first, (char *) block, &n),
                  SNAPPY_OK);
        ASSERT_EQ(n, 32768);
        ASSERT_MEM(block, p, 32768);

        n = be32_load(blob.buf->data + sizeof(head) + 4 + first);
        ASSERT_EQ(sizeof(head) + 4 + first + 4 + n, blob.size);
}

TEST(snappy_without_framing_is_read) {
        _cleanup_(mem_freep) uint8_t *p = text_new(100000, 6), *blob = NULL;
        size_t n = snappy_max_compressed_length(100000);
        struct slice s;

        blob = mem_alloc(n);
        ASSERT_NOT_NULL(blob);
        ASSERT_EQ(snappy_compress((const char *) p, 100000, (char *) blob, &n), SNAPPY_OK);
        assert_decompresses(NULL, CODEC_SNAPPY, blob, n, p, 100000);
        ASSERT_ERROR(codec_decompress(NULL, CODEC_SNAPPY, blob, n, 99999, &s), EMSGSIZE);
        ASSERT_ERROR(codec_decompress(NULL, CODEC_SNAPPY, blob, n - 1, MIB, &s), EBADMSG);
}

TEST(snappy_of_a_newer_framing_or_with_lying_blocks_is_refused) {
        _cleanup_(mem_freep) uint8_t *p = text_new(1000, 6);
        _cleanup_(blob_done) struct blob blob = {};
        struct slice s;

        compress(NULL, CODEC_SNAPPY, CODEC_LEVEL_DEFAULT, p, 1000, &blob);
        be32_store(blob.buf->data + 12, 2);
        ASSERT_ERROR(codec_decompress(NULL, CODEC_SNAPPY, blob.buf->data, blob.size, MIB, &s),
                     EBADMSG);
        be32_store(blob.buf->data + 12, 1);
        be32_store(blob.buf->data + 16, UINT32_MAX);
        ASSERT_ERROR(codec_decompress(NULL, CODEC_SNAPPY, blob.buf->data, blob.size, MIB, &s),
                     EBADMSG);
}

/* As streaming writers make them: linked blocks, checksums, no size in front. */
TEST(lz4_frames_of_others_are_read) {
        static const LZ4F_preferences_t preferences = {
                .frameInfo = {
                        .blockSizeID = LZ4F_max256KB,
                        .blockMode = LZ4F_blockLinked,
                        .contentChecksumFlag = LZ4F_contentChecksumEnabled,
                        .blockChecksumFlag = LZ4F_blockChecksumEnabled,
                },
        };
        _cleanup_(mem_freep) uint8_t *p = text_new(MIB, 8), *blob = NULL;
        size_t n = LZ4F_compressFrameBound(MIB, &preferences);
        struct slice s;

        blob = mem_alloc(n);
        ASSERT_NOT_NULL(blob);
        n = LZ4F_compressFrame(blob, n, p, MIB, &preferences);
        ASSERT_FALSE(LZ4F_isError(n));
        assert_decompresses(NULL, CODEC_LZ4, blob, n, p, MIB);
        ASSERT_ERROR(codec_decompress(NULL, CODEC_LZ4, blob, n, MIB - 1, &s), EMSGSIZE);
}

TEST(lz4_is_written_with_independent_blocks) {
        _cleanup_(mem_freep) uint8_t *p = text_new(200000, 8);
        _cleanup_(blob_done) struct blob blob = {};

        compress(NULL, CODEC_LZ4, CODEC_LEVEL_DEFAULT, p, 200000, &blob);
        ASSERT_EQ(le32_load(blob.buf->data), 0x184d2204); /* magic of the frame format */
        ASSERT_EQ(blob.buf->data[4] >> 6, 1);             /* FLG: version */
        ASSERT_TRUE(blob.buf->data[4] & 1 << 5);          /* FLG: blocks are independent */
}

TEST(zstd_frames_without_a_size_are_read) {
        _cleanup_(mem_freep) uint8_t *p = mem_alloc0(MIB), *blob = mem_alloc(MIB);
        ZSTD_CCtx *c = ZSTD_createCCtx();
        struct slice s;
        size_t n;

        ASSERT_NOT_NULL(p);
        ASSERT_NOT_NULL(blob);
        ASSERT_NOT_NULL(c);
        ASSERT_FALSE(ZSTD_isError(ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, 0)));
        ASSERT_FALSE(ZSTD_isError(ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, 27)));
        n = ZSTD_compress2(c, blob, MIB, p, MIB);
        ASSERT_FALSE(ZSTD_isError(n));
        ZSTD_freeCCtx(c);

        ASSERT_EQ(ZSTD_getFrameContentSize(blob, n), ZSTD_CONTENTSIZE_UNKNOWN);
        assert_decompresses(NULL, CODEC_ZSTD, blob, n, p, MIB);
        ASSERT_ERROR(codec_decompress(NULL, CODEC_ZSTD, blob, n, MIB - 1, &s), EMSGSIZE);
        ASSERT_ERROR(codec_decompress(NULL, CODEC_ZSTD, blob, n, 100, &s), EMSGSIZE);
}

TEST(frames_and_members_in_a_row_are_read_as_one) {
        static const enum codec codecs[] = { CODEC_GZIP, CODEC_LZ4, CODEC_ZSTD };
        _cleanup_(mem_freep) uint8_t *p = text_new(50000, 1);

        for (size_t i = 0; i < ELEMENTSOF(codecs); i++) {
                _cleanup_(blob_done) struct blob a = {}, b = {};
                _cleanup_(mem_freep) uint8_t *both = NULL;

                compress(NULL, codecs[i], CODEC_LEVEL_DEFAULT, p, 20000, &a);
                compress(NULL, codecs[i], CODEC_LEVEL_DEFAULT, p + 20000, 30000, &b);
                both = mem_alloc(a.size + b.size);
                ASSERT_NOT_NULL(both);
                memcpy(both, a.buf->data, a.size);
                memcpy(both + a.size, b.buf->data, b.size);
                assert_decompresses(NULL, codecs[i], both, a.size + b.size, p, 50000);
        }
}

TEST(nothing_is_left_behind_when_memory_runs_out) {
        _cleanup_(mem_freep) uint8_t *p = text_new(50000, 1);

        FOREACH_CODEC(codec) {
                _cleanup_(blob_done) struct blob blob = {};

                FAULT_SWEEP {
                        _cleanup_(codec_context_freep) struct codec_context *c =
                                codec_context_new();
                        _cleanup_(blob_done) struct blob b = {};
                        int r;

                        r = codec_compress(
                                c, codec, CODEC_LEVEL_DEFAULT, p, 50000, 0, &b.buf, &b.size);
                        if (r < 0) {
                                ASSERT_ERROR(r, ENOMEM);
                                ASSERT_NULL(b.buf);
                                /* The fault is over; the same context goes on. */
                                compress(c, codec, CODEC_LEVEL_DEFAULT, p, 50000, &b);
                                assert_decompresses(NULL, codec, b.buf->data, b.size, p, 50000);
                        }
                }

                compress(NULL, codec, CODEC_LEVEL_DEFAULT, p, 50000, &blob);
                FAULT_SWEEP {
                        _cleanup_(codec_context_freep) struct codec_context *c =
                                codec_context_new();
                        _cleanup_(slice_done) struct slice s = {};
                        int r;

                        r = codec_decompress(c, codec, blob.buf->data, blob.size, MIB, &s);
                        if (r < 0) {
                                ASSERT_ERROR(r, ENOMEM);
                                ASSERT_NULL(s.buf);
                                ASSERT_OK(codec_decompress(
                                        c, codec, blob.buf->data, blob.size, MIB, &s));
                        }
                        ASSERT_EQ(s.size, 50000);
                        ASSERT_MEM(s.data, p, 50000);
                }
        }
}
