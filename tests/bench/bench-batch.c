/* SPDX-License-Identifier: Apache-2.0 */

/*
 * How fast batches are built, checked and read: one line a figure, the best of some rounds, on one
 * core. For people; nothing asserts a time.
 *
 *     build/bench/bench-batch [BYTES OF A VALUE]
 */

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/parse.h"
#include "base/random.h"
#include "base/time.h"
#include "batch/builder.h"
#include "batch/partitioner.h"

#define ROUNDS 7
#define BATCH_BYTES ((size_t) 1 << 20)
#define MESSAGES 2000000
#define VALUE_BYTES_MAX 100000u

struct bench {
        uint8_t *value; /* VALUE_BYTES_MAX */
        size_t value_size;
        struct codec_context *context;
        struct slice batch; /* of the codec at hand */
        uint64_t n_records; /* in it */
        uint64_t n_raw;     /* its size without codec */
        enum codec codec;
};

/* One round; returns how many (messages, bytes) it did. */
typedef uint64_t (*round_t)(struct bench *b);

static void fail(const char *what) {
        fprintf(stderr, "bench-batch: %s failed\n", what);
        exit(EXIT_FAILURE);
}

static void
report(struct bench *b, const char *what, double unit, const char *unit_name, round_t round) {
        double best = 0;

        for (unsigned i = 0; i < ROUNDS; i++) {
                usec_t begin = now_monotonic_usec();
                uint64_t n = round(b);
                usec_t took = now_monotonic_usec() - begin;

                best = MAX(best,
                           (double) n / unit / ((double) MAX(took, UINT64_C(1)) / USEC_PER_SEC));
        }
        printf("%-28s %10.2f %s\n", what, best, unit_name);
}

static bool fill(struct bench *b, struct builder *builder) {
        int r;

        r = builder_append(
                builder, NULL, 0, b->value, b->value_size, NULL, 0, INT64_C(1700000000000));
        if (r == -ENOBUFS)
                return false;
        if (r < 0)
                fail("builder_append");
        return true;
}

/* As a producer does it: with header and crc. */
static uint64_t append_and_seal(struct bench *b) {
        struct batch_seal seal = SEAL_INIT;
        struct builder builder;

        builder_init(&builder, BATCH_BYTES, BATCH_BYTES);
        for (uint64_t i = 0; i < MESSAGES; i++)
                while (!fill(b, &builder)) {
                        struct slice batch;

                        if (builder_seal(&builder, &seal, &batch) < 0)
                                fail("builder_seal");
                        slice_done(&batch);
                }
        builder_done(&builder);
        return MESSAGES;
}

static void make(struct bench *b) {
        struct batch_seal seal = SEAL_INIT;
        struct builder builder;

        slice_done(&b->batch);
        builder_init(&builder, BATCH_BYTES, BATCH_BYTES);
        while (fill(b, &builder))
                ;

        b->n_raw = builder_size(&builder);
        b->n_records = (uint64_t) builder_n_records(&builder);
        seal.codec = b->codec;
        seal.context = b->context;
        if (builder_seal(&builder, &seal, &b->batch) < 0)
                fail("builder_seal");
}

static uint64_t verify(struct bench *b) {
        struct batch_view v;

        for (unsigned i = 0; i < 200; i++)
                if (batch_view_init(b->batch.data, b->batch.size, &v) < 0 ||
                    batch_verify_produced(&v, 0) < 0)
                        fail("batch_verify_produced");
        return 200 * b->batch.size;
}

static uint64_t iterate(struct bench *b) {
        uint64_t n = 0, n_bytes = 0;

        while (n < MESSAGES) {
                _cleanup_(batch_iterator_done) struct batch_iterator it = {};
                struct record record;
                struct batch_view v;
                int r;

                if (batch_view_init(b->batch.data, b->batch.size, &v) < 0 ||
                    batch_iterator_init(&it, &v, b->context, BATCH_BYTES) < 0)
                        fail("batch_iterator_init");
                while ((r = batch_iterator_next(&it, &record)) > 0) {
                        n_bytes += record.value_size;
                        n++;
                }
                if (r < 0)
                        fail("batch_iterator_next");
        }
        if (n_bytes != n * b->value_size)
                fail("reading");
        return n;
}

static uint64_t compress(struct bench *b) {
        make(b);
        return b->n_raw;
}

static uint64_t decompress(struct bench *b) {
        struct batch_iterator it;
        struct batch_view v;

        if (batch_view_init(b->batch.data, b->batch.size, &v) < 0 ||
            batch_iterator_init(&it, &v, b->context, BATCH_BYTES) < 0)
                fail("batch_iterator_init");
        batch_iterator_done(&it);
        return b->n_raw;
}

static uint64_t pick(struct bench *b) {
        uint32_t sum = 0;

        for (uint32_t i = 0; i < 10000000; i++) {
                memcpy(b->value, &i, sizeof(i));
                sum += partitioner_pick(PARTITIONER_MURMUR2, b->value, 16, 12);
        }
        if (sum == 0)
                fail("partitioner_pick");
        return 10000000;
}

int main(int argc, char *argv[]) {
        struct bench b = { .value_size = 100 };
        struct random random;
        uint64_t n;

        if (argc > 1) {
                if (parse_uint64_range(argv[1], 16, VALUE_BYTES_MAX, &n) < 0) {
                        fprintf(stderr, "bench-batch: not a size: %s\n", argv[1]);
                        return 2;
                }
                b.value_size = (size_t) n;
        }

        b.value = mem_alloc(VALUE_BYTES_MAX);
        b.context = codec_context_new();
        if (!b.value || !b.context)
                fail("mem_alloc");
        random_init(&random, 1);
        random_bytes(&random, b.value, VALUE_BYTES_MAX);

        report(&b, "append and seal", 1e6, "million messages/s", append_and_seal);
        make(&b);
        report(&b, "verify", 1e9, "GB/s", verify);
        report(&b, "iterate", 1e6, "million messages/s", iterate);
        report(&b, "murmur2 of 16 bytes", 1e6, "million keys/s", pick);

        for (b.codec = CODEC_GZIP; b.codec < _CODEC_MAX; b.codec++) {
                char what[64];

                snprintf(what, sizeof(what), "compress %s", codec_name(b.codec));
                report(&b, what, 1e6, "MB/s", compress);
                snprintf(what, sizeof(what), "decompress %s", codec_name(b.codec));
                report(&b, what, 1e6, "MB/s", decompress);
        }

        slice_done(&b.batch);
        codec_context_free(b.context);
        mem_free(b.value);
        return EXIT_SUCCESS;
}
