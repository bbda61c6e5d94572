/* SPDX-License-Identifier: Apache-2.0 */

/* Reading batches: known ones give the known values, damaged and lying ones are refused. */

#include "batch/batch.h"

#include "base/crc32c.h"
#include "tests/lib/test.h"
#include "tests/unit/test-batch-samples.h"

#define DECOMPRESSED_MAX (UINT32_C(1) << 20)

/* A batch that a case may damage. */
struct bytes {
        uint8_t data[256];
        size_t size;
};

static struct bytes bytes_of(const struct sample *s) {
        struct bytes b = { .size = s->size };

        ASSERT_LE(s->size, sizeof(b.data));
        memcpy(b.data, s->data, s->size);
        return b;
}

static struct batch_header *header_of(struct bytes *b) {
        return (struct batch_header *) b->data;
}

/* Makes the crc right again, so that what is behind it is looked at. */
static void seal(struct bytes *b) {
        header_of(b)->crc =
                be32_of(crc32c(0, b->data + BATCH_CHECKED_FROM, b->size - BATCH_CHECKED_FROM));
}

static int verify(struct bytes *b) {
        struct batch_view v;

        seal(b);
        ASSERT_EQ(ASSERT_OK(batch_view_init(b->data, b->size, &v)), 0);
        return batch_verify(&v);
}

static int verify_produced(struct bytes *b, unsigned flags) {
        struct batch_view v;

        seal(b);
        ASSERT_EQ(ASSERT_OK(batch_view_init(b->data, b->size, &v)), 0);
        return batch_verify_produced(&v, flags);
}

/* All records of a batch with these record bytes; the last result. */
static int iterate(const uint8_t *records, size_t n, int32_t n_records, int32_t last_offset_delta) {
        struct bytes b = bytes_of(&sample_a);
        _cleanup_(batch_iterator_done) struct batch_iterator it = {};
        struct record record;
        struct batch_view v;
        int r;

        ASSERT_LE(BATCH_HEADER_BYTES + n, sizeof(b.data));
        memcpy(b.data + BATCH_HEADER_BYTES, records, n);
        b.size = BATCH_HEADER_BYTES + n;
        header_of(&b)->length = be32_of((uint32_t) (b.size - BATCH_LENGTH_FROM));
        header_of(&b)->n_records = be32_of((uint32_t) n_records);
        header_of(&b)->last_offset_delta = be32_of((uint32_t) last_offset_delta);
        seal(&b);

        ASSERT_EQ(ASSERT_OK(batch_view_init(b.data, b.size, &v)), 0);
        ASSERT_OK(batch_iterator_init(&it, &v, NULL, DECOMPRESSED_MAX));
        do
                r = batch_iterator_next(&it, &record);
        while (r > 0);
        if (r < 0)
                ASSERT_ERROR(batch_iterator_next(&it, &record), EBADMSG);
        return r;
}

#define ITERATE(n_records, last_offset_delta, ...)                                                 \
        iterate((const uint8_t[]){ __VA_ARGS__ },                                                  \
                sizeof((const uint8_t[]){ __VA_ARGS__ }),                                          \
                (n_records),                                                                       \
                (last_offset_delta))

TEST(view_gives_the_header_as_numbers) {
        struct batch_view v;

        ASSERT_EQ(batch_view_init(sample_b.data, sample_b.size, &v), 0);
        ASSERT_OK(batch_verify_produced(&v, 0));
        ASSERT_EQ(v.size, 77);
        ASSERT_EQ(v.base_offset, 0);
        ASSERT_EQ(v.leader_epoch, 0);
        ASSERT_EQ(v.crc, 0x50187f35);
        ASSERT_EQ(v.attributes, 0);
        ASSERT_EQ(v.last_offset_delta, 1);
        ASSERT_EQ(v.base_timestamp_ms, INT64_C(1700000000000));
        ASSERT_EQ(v.max_timestamp_ms, INT64_C(1700000000005));
        ASSERT_EQ(v.producer_id, 4242);
        ASSERT_EQ(v.producer_epoch, 3);
        ASSERT_EQ(v.base_sequence, 7);
        ASSERT_EQ(v.n_records, 2);
        ASSERT_EQ(batch_next_offset(&v), 2);
        ASSERT_EQ(batch_last_sequence(&v), 8);
        ASSERT_TRUE(batch_has_producer(&v));
        ASSERT_FALSE(batch_is_control(&v));
}

TEST(view_without_a_producer_has_minus_one) {
        struct batch_view v;

        ASSERT_EQ(batch_view_init(sample_a.data, sample_a.size, &v), 0);
        ASSERT_OK(batch_verify_produced(&v, 0));
        ASSERT_EQ(v.producer_id, -1);
        ASSERT_EQ(v.producer_epoch, -1);
        ASSERT_EQ(v.base_sequence, -1);
        ASSERT_FALSE(batch_has_producer(&v));
}

TEST(view_of_a_run_takes_the_first_batch) {
        uint8_t run[512];
        struct batch_view v;

        memcpy(run, sample_a.data, sample_a.size);
        memcpy(run + sample_a.size, sample_b.data, sample_b.size);

        ASSERT_EQ(batch_view_init(run, sample_a.size + sample_b.size, &v), 1);
        ASSERT_EQ(v.size, sample_a.size);
        ASSERT_OK(batch_verify(&v));
        ASSERT_EQ(batch_view_init(run + v.size, sample_b.size, &v), 0);
        ASSERT_OK(batch_verify(&v));
        ASSERT_EQ(v.producer_id, 4242);
}

TEST(view_refuses_what_is_cut_short) {
        struct batch_view v;

        for (size_t n = 0; n < sample_a.size; n++) {
                _cleanup_(mem_freep) uint8_t *p = mem_dup(sample_a.data, n);

                ASSERT_ERROR(batch_view_init(p, n, &v), EBADMSG);
        }
}

TEST(view_refuses_lengths_and_offsets_that_cannot_be) {
        struct batch_view v;
        struct bytes b;

        b = bytes_of(&sample_a);
        header_of(&b)->length = be32_of(UINT32_MAX);
        ASSERT_ERROR(batch_view_init(b.data, b.size, &v), EBADMSG);
        header_of(&b)->length = be32_of(BATCH_HEADER_BYTES - BATCH_LENGTH_FROM - 1);
        ASSERT_ERROR(batch_view_init(b.data, b.size, &v), EBADMSG);

        b = bytes_of(&sample_a);
        header_of(&b)->magic = 1;
        ASSERT_ERROR(batch_view_init(b.data, b.size, &v), EBADMSG);

        b = bytes_of(&sample_a);
        header_of(&b)->base_offset = be64_of(UINT64_MAX);
        ASSERT_ERROR(batch_view_init(b.data, b.size, &v), EBADMSG);
        header_of(&b)->base_offset = be64_of(INT64_MAX - 1); /* the next offset would overflow */
        ASSERT_ERROR(batch_view_init(b.data, b.size, &v), EBADMSG);
        header_of(&b)->base_offset = be64_of(INT64_MAX - 2);
        ASSERT_OK(batch_view_init(b.data, b.size, &v));
        ASSERT_EQ(batch_next_offset(&v), INT64_MAX);

        b = bytes_of(&sample_a);
        header_of(&b)->last_offset_delta = be32_of(UINT32_MAX);
        ASSERT_ERROR(batch_view_init(b.data, b.size, &v), EBADMSG);
}

TEST(verify_finds_every_flipped_bit_behind_the_crc) {
        struct bytes b = bytes_of(&sample_c);

        for (size_t bit = offsetof(struct batch_header, crc) * 8; bit < b.size * 8; bit++) {
                struct batch_view v;

                b.data[bit / 8] ^= (uint8_t) (1u << bit % 8);
                if (batch_view_init(b.data, b.size, &v) >= 0)
                        ASSERT_ERROR(batch_verify(&v), EBADMSG);
                b.data[bit / 8] ^= (uint8_t) (1u << bit % 8);
        }
}

TEST(verify_refuses_impossible_counts) {
        struct bytes b;

        b = bytes_of(&sample_a);
        header_of(&b)->n_records = be32_of(UINT32_MAX);
        ASSERT_ERROR(verify(&b), EBADMSG);
        header_of(&b)->n_records = be32_of(3); /* offsets 0 and 1 only */
        ASSERT_ERROR(verify(&b), EBADMSG);
        header_of(&b)->last_offset_delta = be32_of(4); /* 30 bytes hold no five records */
        header_of(&b)->n_records = be32_of(5);
        ASSERT_ERROR(verify(&b), EBADMSG);
        header_of(&b)->n_records = be32_of(0); /* with bytes of records */
        ASSERT_ERROR(verify(&b), EBADMSG);
}

TEST(verify_takes_an_empty_batch_and_one_with_gaps) {
        struct bytes b;

        b = bytes_of(&sample_a);
        header_of(&b)->last_offset_delta = be32_of(9);
        ASSERT_OK(verify(&b));
        ASSERT_ERROR(verify_produced(&b, 0), EPROTO);

        b.size = BATCH_HEADER_BYTES;
        header_of(&b)->length = be32_of(BATCH_HEADER_BYTES - BATCH_LENGTH_FROM);
        header_of(&b)->n_records = be32_of(0);
        ASSERT_OK(verify(&b));
        ASSERT_ERROR(verify_produced(&b, 0), EPROTO);
}

TEST(assigning_keeps_the_crc_right) {
        struct bytes b = bytes_of(&sample_a);
        struct batch_view v;

        batch_assign(b.data, INT64_C(0x0102030405060708), 0x090a0b0c);
        ASSERT_OK(batch_view_init(b.data, b.size, &v));
        ASSERT_OK(batch_verify(&v));
        ASSERT_EQ(v.base_offset, INT64_C(0x0102030405060708));
        ASSERT_EQ(v.leader_epoch, 0x090a0b0c);
        ASSERT_MEM(b.data + 16, sample_a.data + 16, b.size - 16);
}

TEST(producers_may_not_set_what_is_the_brokers) {
        struct bytes b;

        for (unsigned bit = 3; bit < 16; bit++) {
                b = bytes_of(&sample_b);
                header_of(&b)->attributes = be16_of((uint16_t) (1u << bit));
                ASSERT_ERROR(verify_produced(&b, 0), EPROTO);
                ASSERT_OK(verify(&b));
        }

        b = bytes_of(&sample_b);
        header_of(&b)->attributes = be16_of(BATCH_TRANSACTIONAL);
        ASSERT_OK(verify_produced(&b, BATCH_ALLOW_TRANSACTIONAL));

        b = bytes_of(&sample_b);
        header_of(&b)->base_offset = be64_of(1);
        ASSERT_ERROR(verify_produced(&b, 0), EPROTO);

        b = bytes_of(&sample_b);
        header_of(&b)->max_timestamp_ms = be64_of(0);
        ASSERT_ERROR(verify_produced(&b, 0), EPROTO);
}

TEST(producers_may_not_use_an_unknown_codec) {
        struct bytes b = bytes_of(&sample_b);

        for (unsigned codec = _CODEC_MAX; codec <= BATCH_CODEC_MASK; codec++) {
                header_of(&b)->attributes = be16_of((uint16_t) codec);
                ASSERT_ERROR(verify_produced(&b, 0), EOPNOTSUPP);
                ASSERT_OK(verify(&b)); /* but it may be stored and read by others */
        }
}

TEST(producer_fields_are_there_together_or_not_at_all) {
        static const struct {
                int64_t id;
                int16_t epoch;
                int32_t sequence;
                uint16_t attributes;
                int result;
        } table[] = {
                { -1, -1, -1, 0, 0 },
                { 0, 0, 0, 0, 0 },
                { INT64_MAX, INT16_MAX, INT32_MAX, 0, 0 },
                { -1, 0, -1, 0, -EPROTO },
                { -1, -1, 0, 0, -EPROTO },
                { 1, -1, 0, 0, -EPROTO },
                { 1, 0, -1, 0, -EPROTO },
                { -2, 0, 0, 0, -EPROTO },
                { -1, -1, -1, BATCH_TRANSACTIONAL, -EPROTO },
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                struct bytes b = bytes_of(&sample_a);

                header_of(&b)->producer_id = be64_of((uint64_t) table[i].id);
                header_of(&b)->producer_epoch = be16_of((uint16_t) table[i].epoch);
                header_of(&b)->base_sequence = be32_of((uint32_t) table[i].sequence);
                header_of(&b)->attributes = be16_of(table[i].attributes);
                ASSERT_EQ(verify_produced(&b, BATCH_ALLOW_TRANSACTIONAL), table[i].result);
        }
}

TEST(sequences_go_on_from_zero_after_the_last) {
        ASSERT_EQ(sequence_add(5, 3), 8);
        ASSERT_EQ(sequence_add(INT32_MAX, 1), 0);
        ASSERT_EQ(sequence_add(INT32_MAX - 1, 4), 2);
        ASSERT_EQ(sequence_add(INT32_MAX, INT32_MAX), INT32_MAX - 1);
}

TEST(records_are_those_that_were_packed) {
        _cleanup_(batch_iterator_done) struct batch_iterator it = {};
        struct bytes b = bytes_of(&sample_a);
        struct header_iterator headers;
        struct record_header header;
        struct record record;
        struct batch_view v;

        batch_assign(b.data, 1000, 1);
        ASSERT_OK(batch_view_init(b.data, b.size, &v));
        ASSERT_OK(batch_iterator_init(&it, &v, NULL, 0));

        ASSERT_EQ(batch_iterator_next(&it, &record), 1);
        ASSERT_EQ(record.offset, 1000);
        ASSERT_EQ(record.timestamp_ms, INT64_C(1700000000000));
        ASSERT_EQ(record.key_size, 2);
        ASSERT_MEM(record.key, "k1", 2);
        ASSERT_EQ(record.value_size, 5);
        ASSERT_MEM(record.value, "hello", 5);
        ASSERT_EQ(record.n_headers, 1);
        header_iterator_init(&headers, &record);
        ASSERT_TRUE(header_iterator_next(&headers, &header));
        ASSERT_EQ(header.key_size, 1);
        ASSERT_MEM(header.key, "h", 1);
        ASSERT_EQ(header.value_size, 1);
        ASSERT_MEM(header.value, "v", 1);
        ASSERT_FALSE(header_iterator_next(&headers, &header));

        ASSERT_EQ(batch_iterator_next(&it, &record), 1);
        ASSERT_EQ(record.offset, 1001);
        ASSERT_EQ(record.timestamp_ms, INT64_C(1700000000001));
        ASSERT_NULL(record.key);
        ASSERT_MEM(record.value, "world", 5);
        ASSERT_EQ(record.n_headers, 0);
        header_iterator_init(&headers, &record);
        ASSERT_FALSE(header_iterator_next(&headers, &header));

        ASSERT_EQ(batch_iterator_next(&it, &record), 0);
        ASSERT_EQ(batch_iterator_next(&it, &record), 0);
}

TEST(an_empty_value_is_not_a_missing_one) {
        _cleanup_(batch_iterator_done) struct batch_iterator it = {};
        struct record record;
        struct batch_view v;

        ASSERT_OK(batch_view_init(sample_b.data, sample_b.size, &v));
        ASSERT_OK(batch_iterator_init(&it, &v, NULL, 0));

        ASSERT_EQ(batch_iterator_next(&it, &record), 1);
        ASSERT_NOT_NULL(record.value);
        ASSERT_EQ(record.value_size, 0);
        ASSERT_EQ(batch_iterator_next(&it, &record), 1);
        ASSERT_NULL(record.value);
        ASSERT_EQ(record.timestamp_ms, INT64_C(1700000000005));
        ASSERT_EQ(batch_iterator_next(&it, &record), 0);
}

TEST(compressed_records_are_read_the_same_way) {
        static const char value[] = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
        _cleanup_(batch_iterator_done) struct batch_iterator it = {};
        struct record record;
        struct batch_view v;

        ASSERT_OK(batch_view_init(sample_c.data, sample_c.size, &v));
        ASSERT_OK(batch_verify_produced(&v, BATCH_ALLOW_TRANSACTIONAL));
        ASSERT_EQ(batch_codec(&v), CODEC_GZIP);
        ASSERT_TRUE(batch_is_transactional(&v));
        ASSERT_OK(batch_iterator_init(&it, &v, NULL, DECOMPRESSED_MAX));

        for (int64_t i = 0; i < 3; i++) {
                ASSERT_EQ(batch_iterator_next(&it, &record), 1);
                ASSERT_EQ(record.offset, i);
                ASSERT_EQ(record.key_size, 3);
                ASSERT_MEM(record.key, "key", 3);
                ASSERT_EQ(record.value_size, 50);
                ASSERT_MEM(record.value, value, 50);
        }
        ASSERT_EQ(batch_iterator_next(&it, &record), 0);
}

TEST(compressed_records_are_bounded_by_the_reader) {
        struct batch_iterator it;
        struct batch_view v;

        ASSERT_OK(batch_view_init(sample_c.data, sample_c.size, &v));
        ASSERT_ERROR(batch_iterator_init(&it, &v, NULL, 100), EMSGSIZE);
}

TEST(append_time_is_every_records_time) {
        _cleanup_(batch_iterator_done) struct batch_iterator it = {};
        struct bytes b = bytes_of(&sample_b);
        struct record record;
        struct batch_view v;

        header_of(&b)->attributes = be16_of(BATCH_APPEND_TIME);
        ASSERT_OK(verify(&b));
        ASSERT_OK(batch_view_init(b.data, b.size, &v));
        ASSERT_OK(batch_iterator_init(&it, &v, NULL, 0));
        for (int i = 0; i < 2; i++) {
                ASSERT_EQ(batch_iterator_next(&it, &record), 1);
                ASSERT_EQ(record.timestamp_ms, INT64_C(1700000000005));
        }
}

/* Bytes of a record: length, attributes, time, offset, key length, value length, headers. 0x01 is
 * -1. */
TEST(gaps_between_offsets_are_allowed_and_ends_in_order_only) {
        ASSERT_OK(ITERATE(2, 9, 12, 0, 0, 4, 1, 1, 0, 12, 0, 0, 18, 1, 1, 0));
        ASSERT_ERROR(ITERATE(2, 9, 12, 0, 0, 4, 1, 1, 0, 12, 0, 0, 4, 1, 1, 0),
                     EBADMSG); /* the same again */
        ASSERT_ERROR(ITERATE(2, 9, 12, 0, 0, 4, 1, 1, 0, 12, 0, 0, 2, 1, 1, 0),
                     EBADMSG); /* backwards */
        ASSERT_ERROR(ITERATE(2, 9, 12, 0, 0, 4, 1, 1, 0, 12, 0, 0, 20, 1, 1, 0),
                     EBADMSG);                                      /* past the last */
        ASSERT_ERROR(ITERATE(1, 0, 12, 0, 0, 1, 1, 1, 0), EBADMSG); /* -1 */
}

TEST(records_must_be_as_many_as_the_header_says) {
        ASSERT_OK(ITERATE(1, 0, 12, 0, 0, 0, 1, 1, 0));
        ASSERT_ERROR(ITERATE(1, 0, 12, 0, 0, 0, 1, 1, 0, 0), EBADMSG); /* a byte more */
        ASSERT_ERROR(ITERATE(2, 1, 12, 0, 0, 0, 1, 1, 0), EBADMSG);    /* a record less */
}

TEST(lengths_inside_of_a_record_may_not_leave_it) {
        ASSERT_ERROR(ITERATE(1, 0, 14, 0, 0, 0, 1, 1, 0), EBADMSG);    /* record past the batch */
        ASSERT_ERROR(ITERATE(1, 0, 0), EBADMSG);                       /* nothing in it */
        ASSERT_ERROR(ITERATE(1, 0, 1), EBADMSG);                       /* length -1 */
        ASSERT_ERROR(ITERATE(1, 0, 10, 0, 0, 0, 1, 1, 0), EBADMSG);    /* headers' count outside */
        ASSERT_ERROR(ITERATE(1, 0, 14, 0, 0, 0, 1, 1, 0, 0), EBADMSG); /* a byte left over in it */
        ASSERT_ERROR(ITERATE(1, 0, 12, 0, 0, 0, 3, 1, 0), EBADMSG);    /* key length -2 */
        ASSERT_ERROR(ITERATE(1, 0, 12, 0, 0, 0, 6, 1, 0),
                     EBADMSG); /* key longer than what is left */
        ASSERT_ERROR(ITERATE(1, 0, 12, 0, 0, 0, 1, 4, 0),
                     EBADMSG); /* value longer than what is left */
        ASSERT_ERROR(ITERATE(1, 0, 12, 0, 0, 0, 1, 1, 1), EBADMSG); /* -1 headers */
        ASSERT_ERROR(ITERATE(1, 0, 12, 0, 0, 0, 1, 1, 2), EBADMSG); /* a header that is not there */
        ASSERT_ERROR(ITERATE(1, 0, 16, 0, 0, 0, 1, 1, 2, 1, 0),
                     EBADMSG);                                /* a header without a key */
        ASSERT_OK(ITERATE(1, 0, 16, 0, 0, 0, 1, 1, 2, 0, 1)); /* an empty key, no value */
}

TEST(varints_have_no_more_bits_than_they_may) {
        /* Offset delta 0 in five bytes, then with a bit past 32, then in six bytes. */
        ASSERT_OK(ITERATE(1, 0, 20, 0, 0, 0x80, 0x80, 0x80, 0x80, 0x00, 1, 1, 0));
        ASSERT_ERROR(ITERATE(1, 0, 20, 0, 0, 0x80, 0x80, 0x80, 0x80, 0x10, 1, 1, 0), EBADMSG);
        ASSERT_ERROR(ITERATE(1, 0, 22, 0, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00, 1, 1, 0), EBADMSG);

        /* Timestamp delta in ten bytes: 0, the smallest there is, and one bit too many. */
        ASSERT_OK(ITERATE(1,
                          0,
                          30,
                          0,
                          0x80,
                          0x80,
                          0x80,
                          0x80,
                          0x80,
                          0x80,
                          0x80,
                          0x80,
                          0x80,
                          0x00,
                          0,
                          1,
                          1,
                          0));
        ASSERT_OK(ITERATE(1,
                          0,
                          30,
                          0,
                          0xff,
                          0xff,
                          0xff,
                          0xff,
                          0xff,
                          0xff,
                          0xff,
                          0xff,
                          0xff,
                          0x01,
                          0,
                          1,
                          1,
                          0));
        ASSERT_ERROR(ITERATE(1,
                             0,
                             30,
                             0,
                             0x80,
                             0x80,
                             0x80,
                             0x80,
                             0x80,
                             0x80,
                             0x80,
                             0x80,
                             0x80,
                             0x02,
                             0,
                             1,
                             1,
                             0),
                     EBADMSG);
        /* The largest there is: added to the base it is no time any more. */
        ASSERT_ERROR(ITERATE(1,
                             0,
                             30,
                             0,
                             0xfe,
                             0xff,
                             0xff,
                             0xff,
                             0xff,
                             0xff,
                             0xff,
                             0xff,
                             0xff,
                             0x01,
                             0,
                             1,
                             1,
                             0),
                     EBADMSG);
}
