/* SPDX-License-Identifier: Apache-2.0 */

/* Building batches: the bytes of other clients, whatever is built is read back equal, limits hold,
 * failures change nothing. */

#include "batch/builder.h"

#include "base/random.h"
#include "tests/lib/test.h"
#include "tests/unit/test-batch-samples.h"

#define TIME_MS INT64_C(1700000000000)
#define DECOMPRESSED_MAX ((size_t) 64 << 20)

static void append(struct builder *b, const char *key, const char *value, int64_t timestamp_ms) {
        ASSERT_OK(builder_append(b,
                                 key,
                                 key ? strlen(key) : 0,
                                 value,
                                 value ? strlen(value) : 0,
                                 NULL,
                                 0,
                                 timestamp_ms));
}

/* What a producer made: passes its own check, with so many records. */
static void check(const struct slice *batch, enum codec codec, int32_t n_records) {
        struct batch_view v;

        ASSERT_EQ(batch_view_init(batch->data, batch->size, &v), 0);
        ASSERT_OK(batch_verify_produced(&v, BATCH_ALLOW_TRANSACTIONAL));
        ASSERT_EQ(batch_codec(&v), codec);
        ASSERT_EQ(v.n_records, n_records);
}

TEST(builds_the_bytes_of_other_clients) {
        _cleanup_(slice_done) struct slice batch = {};
        static const struct record_header header = { .key = (const uint8_t *) "h",
                                                     .key_size = 1,
                                                     .value = (const uint8_t *) "v",
                                                     .value_size = 1 };
        struct batch_seal seal = SEAL_INIT;
        struct builder b;

        builder_init(&b, 4096, 4096);
        ASSERT_OK(builder_append(&b, "k1", 2, "hello", 5, &header, 1, TIME_MS));
        append(&b, NULL, "world", TIME_MS + 1);
        ASSERT_EQ(builder_size(&b), sample_a.size);
        ASSERT_OK(builder_seal(&b, &seal, &batch));
        ASSERT_EQ(batch.size, sample_a.size);
        ASSERT_MEM(batch.data, sample_a.data, sample_a.size);
        slice_done(&batch);

        append(&b, "k", "", TIME_MS);
        append(&b, "k", NULL, TIME_MS + 5);
        seal.producer_id = 4242;
        seal.producer_epoch = 3;
        seal.base_sequence = 7;
        ASSERT_OK(builder_seal(&b, &seal, &batch));
        ASSERT_EQ(batch.size, sample_b.size);
        ASSERT_MEM(batch.data, sample_b.data, sample_b.size);
        builder_done(&b);
}

/* Another zlib may write other bytes that mean the same, so this one is compared by header and
 * content. */
TEST(builds_what_other_clients_compress) {
        static const char value[] = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
        _cleanup_(slice_done) struct slice batch = {}, ours = {}, theirs = {};
        struct batch_seal seal = {
                .codec = CODEC_GZIP,
                .producer_id = 4242,
                .producer_epoch = 3,
                .base_sequence = 9,
                .is_transactional = true,
        };
        struct batch_view v, w;
        struct builder b;

        builder_init(&b, 4096, 4096);
        for (int i = 0; i < 3; i++)
                append(&b, "key", value, TIME_MS + i);
        ASSERT_OK(builder_seal(&b, &seal, &batch));

        ASSERT_EQ(batch_view_init(batch.data, batch.size, &v), 0);
        ASSERT_OK(batch_verify_produced(&v, BATCH_ALLOW_TRANSACTIONAL));
        ASSERT_EQ(batch_view_init(sample_c.data, sample_c.size, &w), 0);
        ASSERT_MEM(batch.data + BATCH_CHECKED_FROM,
                   sample_c.data + BATCH_CHECKED_FROM,
                   BATCH_HEADER_BYTES - BATCH_CHECKED_FROM);

        ASSERT_OK(codec_decompress(NULL,
                                   CODEC_GZIP,
                                   batch.data + BATCH_HEADER_BYTES,
                                   batch.size - BATCH_HEADER_BYTES,
                                   4096,
                                   &ours));
        ASSERT_OK(codec_decompress(NULL,
                                   CODEC_GZIP,
                                   sample_c.data + BATCH_HEADER_BYTES,
                                   sample_c.size - BATCH_HEADER_BYTES,
                                   4096,
                                   &theirs));
        ASSERT_EQ(ours.size, theirs.size);
        ASSERT_MEM(ours.data, theirs.data, ours.size);
}

/* A message as the random case makes it, so that it can be made again to compare. */
struct sent {
        uint8_t bytes[4][512];
        size_t size[4]; /* key, value, header's key, header's value */
        bool is_missing[4];
        size_t n_headers;
        int64_t timestamp_ms;
};

static const uint8_t *part(const struct sent *s, unsigned i, size_t *ret_n) {
        *ret_n = s->is_missing[i] ? 0 : s->size[i];
        return s->is_missing[i] ? NULL : s->bytes[i];
}

static void sent_make(struct sent *s, struct random *random) {
        for (unsigned i = 0; i < 4; i++) {
                s->size[i] =
                        random_below(random, random_chance(random, 1, 2) ? 4 : sizeof(s->bytes[i]));
                s->is_missing[i] = i != 2 && random_chance(random, 1, 4);
                memset(s->bytes[i], (int) random_below(random, 256), s->size[i]);
        }
        s->n_headers = random_below(random, 3);
        s->timestamp_ms = TIME_MS + (int64_t) random_below(random, 1u << 20) - (1 << 19);
}

static int sent_append(const struct sent *s, struct builder *b) {
        struct record_header headers[2];
        const uint8_t *key, *value;
        size_t key_n, value_n;

        key = part(s, 0, &key_n);
        value = part(s, 1, &value_n);
        headers[0].key = part(s, 2, &headers[0].key_size);
        headers[0].value = part(s, 3, &headers[0].value_size);
        headers[1] = headers[0];
        return builder_append(
                b, key, key_n, value, value_n, headers, s->n_headers, s->timestamp_ms);
}

static void assert_bytes(const uint8_t *a, size_t a_n, const uint8_t *b, size_t b_n) {
        ASSERT_EQ(a == NULL, b == NULL);
        ASSERT_EQ(a_n, b_n);
        if (a)
                ASSERT_MEM(a, b, a_n);
}

static void sent_check(const struct sent *s, const struct record *record) {
        struct header_iterator it;
        struct record_header h;
        const uint8_t *p;
        size_t n;

        ASSERT_EQ(record->timestamp_ms, s->timestamp_ms);
        p = part(s, 0, &n);
        assert_bytes(record->key, record->key_size, p, n);
        p = part(s, 1, &n);
        assert_bytes(record->value, record->value_size, p, n);

        ASSERT_EQ(record->n_headers, s->n_headers);
        header_iterator_init(&it, record);
        while (header_iterator_next(&it, &h)) {
                p = part(s, 2, &n);
                assert_bytes(h.key, h.key_size, p, n);
                p = part(s, 3, &n);
                assert_bytes(h.value, h.value_size, p, n);
        }
}

TEST(what_is_built_is_read_back_equal_with_every_codec) {
        _cleanup_(codec_context_freep) struct codec_context *context = codec_context_new();
        static struct sent sent[500];
        struct random random;
        struct builder b;

        ASSERT_NOT_NULL(context);
        random_init(&random, 1);
        builder_init(&b, 1 << 20, 1 << 20);

        for (unsigned round = 0; round < 20; round++) {
                _cleanup_(batch_iterator_done) struct batch_iterator it = {};
                _cleanup_(slice_done) struct slice batch = {};
                struct batch_seal seal = SEAL_INIT;
                struct record record;
                struct batch_view v;
                size_t n = 100 + random_below(&random, ELEMENTSOF(sent) - 100);

                for (size_t i = 0; i < n; i++) {
                        sent_make(&sent[i], &random);
                        ASSERT_OK(sent_append(&sent[i], &b));
                }
                ASSERT_EQ(builder_n_records(&b), n);

                seal.codec = (enum codec)(round % _CODEC_MAX);
                seal.context = round < 10 ? context : NULL;
                ASSERT_OK(builder_seal(&b, &seal, &batch));
                check(&batch, seal.codec, (int32_t) n);

                ASSERT_EQ(batch_view_init(batch.data, batch.size, &v), 0);
                ASSERT_OK(batch_iterator_init(&it, &v, seal.context, DECOMPRESSED_MAX));
                for (size_t i = 0; i < n; i++) {
                        ASSERT_EQ(batch_iterator_next(&it, &record), 1);
                        ASSERT_EQ(record.offset, i);
                        sent_check(&sent[i], &record);
                }
                ASSERT_EQ(batch_iterator_next(&it, &record), 0);
        }
}

TEST(the_header_holds_first_and_largest_time) {
        _cleanup_(slice_done) struct slice batch = {};
        struct batch_seal seal = SEAL_INIT;
        struct batch_view v;
        struct builder b;

        builder_init(&b, 4096, 4096);
        append(&b, NULL, "a", 100);
        append(&b, NULL, "b", 300);
        append(&b, NULL, "c", -1);
        ASSERT_OK(builder_seal(&b, &seal, &batch));
        ASSERT_EQ(batch_view_init(batch.data, batch.size, &v), 0);
        ASSERT_EQ(v.base_timestamp_ms, 100);
        ASSERT_EQ(v.max_timestamp_ms, 300);
}

TEST(a_full_batch_is_to_be_sealed_first) {
        static uint8_t value[900];
        struct batch_seal seal = SEAL_INIT;
        struct builder b;
        size_t size;

        builder_init(&b, 4096, 8192);
        for (int i = 0; i < 4; i++)
                ASSERT_OK(builder_append(&b, NULL, 0, value, sizeof(value), NULL, 0, TIME_MS));
        ASSERT_LE(builder_size(&b), 4096);

        for (int i = 0; i < 2; i++) {
                _cleanup_(slice_done) struct slice batch = {};

                size = builder_size(&b);
                ASSERT_ERROR(builder_append(&b, NULL, 0, value, sizeof(value), NULL, 0, TIME_MS),
                             ENOBUFS);
                ASSERT_EQ(builder_size(&b), size);
                ASSERT_EQ(builder_n_records(&b), 4);

                ASSERT_OK(builder_seal(&b, &seal, &batch));
                check(&batch, CODEC_NONE, 4);
                ASSERT_EQ(batch.size, size);
                ASSERT_EQ(builder_n_records(&b), 0);
                ASSERT_EQ(builder_size(&b), 0);
                for (int j = 0; j < 4; j++)
                        ASSERT_OK(builder_append(
                                &b, NULL, 0, value, sizeof(value), NULL, 0, TIME_MS));
        }
        builder_done(&b);
}

TEST(a_batch_fills_its_bytes_exactly) {
        static uint8_t value[512];
        struct builder b;
        size_t n;

        builder_init(&b, 512, 512);
        append(&b, NULL, "0123456789", TIME_MS);
        n = 512 - builder_size(&b) - 9; /* its length takes two bytes, and so does the value's */
        ASSERT_ERROR(builder_append(&b, NULL, 0, value, n + 1, NULL, 0, TIME_MS), ENOBUFS);
        ASSERT_OK(builder_append(&b, NULL, 0, value, n, NULL, 0, TIME_MS));
        ASSERT_EQ(builder_size(&b), 512);
        builder_done(&b);
}

TEST(a_large_message_goes_alone_and_no_larger_than_the_limit) {
        _cleanup_(slice_done) struct slice batch = {};
        static uint8_t value[8192];
        struct record_header header = { .key = value, .key_size = sizeof(value) };
        struct batch_seal seal = SEAL_INIT;
        struct builder b;
        size_t n = 8192 - BATCH_HEADER_BYTES - 2 - 6 - 1;

        builder_init(&b, 1024, 8192);
        ASSERT_ERROR(builder_append(&b, NULL, 0, value, n + 1, NULL, 0, TIME_MS), EMSGSIZE);
        ASSERT_ERROR(builder_append(&b, value, SIZE_MAX, NULL, 0, NULL, 0, TIME_MS), EMSGSIZE);
        ASSERT_ERROR(builder_append(&b, NULL, 0, NULL, 0, &header, SIZE_MAX, TIME_MS), EMSGSIZE);
        ASSERT_ERROR(builder_append(&b, NULL, 0, NULL, 0, &header, 1, TIME_MS), EMSGSIZE);
        ASSERT_EQ(builder_n_records(&b), 0);

        append(&b, NULL, "small", TIME_MS);
        ASSERT_ERROR(builder_append(&b, NULL, 0, value, n + 1, NULL, 0, TIME_MS), EMSGSIZE);
        ASSERT_ERROR(builder_append(&b, NULL, 0, value, n, NULL, 0, TIME_MS + 5000), ENOBUFS);
        ASSERT_OK(builder_seal(&b, &seal, &batch));
        slice_done(&batch);

        ASSERT_OK(builder_append(&b, NULL, 0, value, n, NULL, 0, TIME_MS + 5000));
        ASSERT_ERROR(builder_append(&b, NULL, 0, "x", 1, NULL, 0, TIME_MS), ENOBUFS);
        ASSERT_OK(builder_seal(&b, &seal, &batch));
        ASSERT_EQ(batch.size, 8192);
        check(&batch, CODEC_NONE, 1);
}

TEST(times_too_far_apart_do_not_share_a_batch) {
        struct builder b;

        builder_init(&b, 4096, 4096);
        append(&b, NULL, "a", -2);
        ASSERT_ERROR(builder_append(&b, NULL, 0, "b", 1, NULL, 0, INT64_MAX), ERANGE);
        ASSERT_EQ(builder_n_records(&b), 1);
        append(&b, NULL, "b", INT64_MAX - 2);
        builder_done(&b);
}

TEST(what_does_not_shrink_stays_plain) {
        struct random random;
        uint8_t value[1000];
        struct builder b;

        random_init(&random, 7);
        random_bytes(&random, value, sizeof(value));
        builder_init(&b, 4096, 4096);

        for (enum codec codec = CODEC_GZIP; codec < _CODEC_MAX; codec++) {
                struct batch_seal seal = SEAL_INIT;
                _cleanup_(slice_done) struct slice batch = {};

                seal.codec = codec;
                ASSERT_OK(builder_append(&b, NULL, 0, value, sizeof(value), NULL, 0, TIME_MS));
                ASSERT_OK(builder_seal(&b, &seal, &batch));
                check(&batch, CODEC_NONE, 1);
        }
}

TEST(levels_outside_of_the_codecs_range_are_refused) {
        struct batch_seal seal = SEAL_INIT;
        struct slice batch;
        struct builder b;

        builder_init(&b, 4096, 4096);
        append(&b, NULL, "a", TIME_MS);
        seal.codec = CODEC_GZIP;
        seal.level = 10;
        ASSERT_ERROR(builder_seal(&b, &seal, &batch), EINVAL);
        seal.level = -1;
        ASSERT_ERROR(builder_seal(&b, &seal, &batch), EINVAL);
        seal.codec = (enum codec) 5;
        seal.level = CODEC_LEVEL_DEFAULT;
        ASSERT_ERROR(builder_seal(&b, &seal, &batch), EINVAL);
        ASSERT_EQ(builder_n_records(&b), 1);
        builder_done(&b);
}

TEST(a_failed_allocation_leaves_the_batch_as_it_was) {
        static const uint8_t value[500];

        for (enum codec codec = CODEC_NONE; codec < _CODEC_MAX; codec++)
                FAULT_SWEEP {
                        _cleanup_(builder_done) struct builder b;
                        _cleanup_(slice_done) struct slice batch = {};
                        struct batch_seal seal = SEAL_INIT;
                        int32_t n = 0;
                        int r = 0;

                        builder_init(&b, 64 * 1024, 64 * 1024);
                        for (; n < 100; n++) {
                                size_t size = builder_size(&b);

                                r = builder_append(
                                        &b, "key", 3, value, sizeof(value), NULL, 0, TIME_MS + n);
                                if (r >= 0)
                                        continue;
                                ASSERT_ERROR(r, ENOMEM);
                                ASSERT_EQ(builder_size(&b), size);
                                ASSERT_EQ(builder_n_records(&b), n);
                                ASSERT_OK(builder_append(
                                        &b, "key", 3, value, sizeof(value), NULL, 0, TIME_MS + n));
                        }

                        seal.codec = codec;
                        r = builder_seal(&b, &seal, &batch);
                        if (r < 0) {
                                ASSERT_ERROR(r, ENOMEM);
                                ASSERT_NULL(batch.buf);
                                ASSERT_OK(builder_seal(&b, &seal, &batch));
                        }
                        check(&batch, codec, 100);
                }
}
