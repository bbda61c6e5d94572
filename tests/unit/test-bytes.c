/* SPDX-License-Identifier: Apache-2.0 */

/* Tests base/bytes.h: byte orders, and that neither reader nor writer leaves its bounds. */

#include "base/bytes.h"
#include "base/random.h"
#include "tests/lib/test.h"

TEST(byte_orders) {
        struct {
                uint8_t odd;
                le16_t le16;
                le32_t le32;
                le64_t le64;
                be16_t be16;
                be32_t be32;
                be64_t be64;
        } s = { 0,
                le16_of(0x0102),
                le32_of(0x01020304),
                le64_of(0x0102030405060708),
                be16_of(0x0102),
                be32_of(0x01020304),
                be64_of(0x0102030405060708) };
        uint8_t p[8];

        ASSERT_EQ(sizeof(s), 29);
        ASSERT_MEM(&s, "\0\2\1\4\3\2\1\10\7\6\5\4\3\2\1\1\2\1\2\3\4\1\2\3\4\5\6\7\10", 29);
        ASSERT_EQ(le16_get(s.le16), 0x0102);
        ASSERT_EQ(le32_get(s.le32), 0x01020304);
        ASSERT_EQ(le64_get(s.le64), 0x0102030405060708);
        ASSERT_EQ(be16_get(s.be16), 0x0102);
        ASSERT_EQ(be32_get(s.be32), 0x01020304);
        ASSERT_EQ(be64_get(s.be64), 0x0102030405060708);
        be32_store(p, 0xfffefdfc);
        ASSERT_EQ(le32_load(p), 0xfcfdfeff);
        le64_store(p, 1);
        ASSERT_EQ(be64_load(p), UINT64_C(1) << 56);
}

TEST(what_is_written_is_read) {
        static const uint64_t numbers[] = { 0,         1,     127,        128,
                                            16383,     16384, UINT32_MAX, UINT64_MAX >> 1,
                                            UINT64_MAX };
        struct byte_writer w;
        struct byte_reader r;
        char *s;
        const uint8_t *blob;
        size_t n;

        byte_writer_init(&w, /* limit= */ 0);
        byte_writer_u8(&w, 0xab);
        byte_writer_le16(&w, 0xabcd);
        byte_writer_le32(&w, 0xabcdef01);
        byte_writer_le64(&w, 0xabcdef0123456789);
        for (size_t i = 0; i < ELEMENTSOF(numbers); i++)
                byte_writer_uleb(&w, numbers[i]);
        byte_writer_blob(&w, "a\0b", 3);
        byte_writer_blob(&w, NULL, 0);
        byte_writer_string(&w, "topic");
        byte_writer_bytes(&w, "xyz", 3);
        ASSERT_OK(byte_writer_result(&w));

        byte_reader_init(&r, w.data, w.size);
        ASSERT_EQ(byte_reader_left(&r), w.size);
        ASSERT_EQ(byte_reader_u8(&r), 0xab);
        ASSERT_EQ(byte_reader_le16(&r), 0xabcd);
        ASSERT_EQ(byte_reader_le32(&r), 0xabcdef01);
        ASSERT_EQ(byte_reader_le64(&r), 0xabcdef0123456789);
        for (size_t i = 0; i < ELEMENTSOF(numbers); i++)
                ASSERT_EQ(byte_reader_uleb(&r), numbers[i]);
        blob = byte_reader_blob(&r, &n);
        ASSERT_EQ(n, 3);
        ASSERT_MEM(blob, "a\0b", 3);
        ASSERT_NOT_NULL(byte_reader_blob(&r, &n));
        ASSERT_EQ(n, 0);
        s = byte_reader_string(&r, 5);
        ASSERT_STREQ(s, "topic");
        mem_free(s);
        ASSERT_MEM(byte_reader_take(&r, 3), "xyz", 3);
        ASSERT_OK(byte_reader_result(&r));
        ASSERT_EQ(byte_reader_left(&r), 0);
        byte_writer_done(&w);
}

TEST(read_past_end_fails_and_stays_failed) {
        struct byte_reader r;
        const uint8_t bytes[3] = { 1, 2, 3 };

        byte_reader_init(&r, bytes, sizeof(bytes));
        ASSERT_EQ(byte_reader_u8(&r), 1);
        ASSERT_EQ(byte_reader_le32(&r), 0);
        ASSERT_ERROR(byte_reader_result(&r), EBADMSG);
        ASSERT_EQ(byte_reader_left(&r), 0);
        ASSERT_EQ(byte_reader_u8(&r), 0); /* there is one, but nothing moves any more */
        ASSERT_NULL(byte_reader_take(&r, 0));
        ASSERT_EQ(r.p - bytes, 1);
}

TEST(reader_of_nothing) {
        struct byte_reader r;

        byte_reader_init(&r, NULL, 0);
        ASSERT_NOT_NULL(byte_reader_take(&r, 0));
        ASSERT_OK(byte_reader_result(&r));
        ASSERT_NULL(byte_reader_take(&r, 1));
        ASSERT_ERROR(byte_reader_result(&r), EBADMSG);
}

static int decode_uleb(const char *bytes, size_t n, uint64_t *ret) {
        struct byte_reader r;
        uint64_t v;

        byte_reader_init(&r, bytes, n);
        v = byte_reader_uleb(&r);
        if (byte_reader_result(&r) < 0) {
                ASSERT_EQ(v, 0);
                ASSERT_MEM(&r.p, &(const void *){ bytes }, sizeof(void *)); /* nothing moved */
                return byte_reader_result(&r);
        }
        ASSERT_EQ(byte_reader_left(&r), 0);
        *ret = v;
        return 0;
}

TEST(uleb_has_one_form_of_64_bits) {
        uint64_t v = 0;

        ASSERT_OK(decode_uleb("\x7f", 1, &v));
        ASSERT_EQ(v, 127);
        ASSERT_OK(decode_uleb("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10, &v));
        ASSERT_EQ(v, UINT64_MAX);
        /* bit 65; an eleventh byte; zero, the long way; 127, the long way; cut */
        ASSERT_ERROR(decode_uleb("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10, &v), EBADMSG);
        ASSERT_ERROR(decode_uleb("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\x00", 11, &v), EBADMSG);
        ASSERT_ERROR(decode_uleb("\x80\x00", 2, &v), EBADMSG);
        ASSERT_ERROR(decode_uleb("\xff\x80\x00", 3, &v), EBADMSG);
        ASSERT_ERROR(decode_uleb("\x80", 1, &v), EBADMSG);
        ASSERT_ERROR(decode_uleb("", 0, &v), EBADMSG);
}

TEST(blob_longer_than_bytes_is_refused) {
        struct byte_reader r;
        size_t n = 42;

        byte_reader_init(&r, "\5abcd", 5);
        ASSERT_NULL(byte_reader_blob(&r, &n));
        ASSERT_EQ(n, 42);
        ASSERT_ERROR(byte_reader_result(&r), EBADMSG);
        byte_reader_init(&r, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10); /* 2^64 - 1 bytes */
        ASSERT_NULL(byte_reader_blob(&r, &n));
        ASSERT_ERROR(byte_reader_result(&r), EBADMSG);
}

TEST(string_refuses_nul_and_excess) {
        struct byte_reader r;

        byte_reader_init(&r, "\3a\0b", 4);
        ASSERT_NULL(byte_reader_string(&r, 10));
        ASSERT_ERROR(byte_reader_result(&r), EBADMSG);
        byte_reader_init(&r, "\3abc", 4);
        ASSERT_NULL(byte_reader_string(&r, 2));
        ASSERT_ERROR(byte_reader_result(&r), EBADMSG);
}

TEST(string_without_memory_is_not_bad_bytes) {
        FAULT_SWEEP {
                struct byte_reader r;
                _cleanup_(mem_freep) char *s = NULL;

                byte_reader_init(&r, "\3abc", 4);
                s = byte_reader_string(&r, 3);
                if (!s) {
                        ASSERT_ERROR(byte_reader_result(&r), ENOMEM);
                        continue;
                }
                ASSERT_STREQ(s, "abc");
        }
}

TEST(writer_keeps_its_limit) {
        struct byte_writer w;

        byte_writer_init(&w, /* limit= */ 10);
        byte_writer_le64(&w, 1);
        byte_writer_le32(&w, 2);
        ASSERT_ERROR(byte_writer_result(&w), EMSGSIZE);
        ASSERT_EQ(w.size, 8);
        byte_writer_u8(&w, 3); /* would fit, but it has failed */
        ASSERT_EQ(w.size, 8);
        byte_writer_done(&w);
        ASSERT_OK(byte_writer_result(&w));
        byte_writer_le64(&w, 1);
        byte_writer_le16(&w, 1);
        ASSERT_OK(byte_writer_result(&w));
        ASSERT_EQ(w.size, 10);
        byte_writer_done(&w);
}

TEST(put_gives_room_also_of_zero_bytes) {
        struct byte_writer w;
        uint8_t *p;

        byte_writer_init(&w, /* limit= */ 0);
        ASSERT_NOT_NULL(byte_writer_put(&w, 0));
        p = byte_writer_put(&w, 3);
        ASSERT_NOT_NULL(p);
        memcpy(p, "abc", 3);
        ASSERT_EQ(w.size, 3);
        ASSERT_MEM(w.data, "abc", 3);
        ASSERT_NULL(byte_writer_put(&w, SIZE_MAX));
        ASSERT_ERROR(byte_writer_result(&w), EMSGSIZE);
        byte_writer_done(&w);
}

TEST(writer_reports_no_memory) {
        FAULT_SWEEP {
                struct byte_writer w;

                byte_writer_init(&w, /* limit= */ 1 << 20);
                for (unsigned i = 0; i < 1000; i++)
                        byte_writer_le64(&w, i);
                if (byte_writer_result(&w) < 0) {
                        ASSERT_ERROR(byte_writer_result(&w), ENOMEM);
                        ASSERT_LT(w.size, 8000);
                } else
                        ASSERT_EQ(w.size, 8000);
                byte_writer_done(&w);
        }
}

TEST(garbage_is_read_inside_its_bounds) {
        struct random random;

        random_init(&random, 3);
        for (unsigned i = 0; i < 20000; i++) {
                size_t size = random_below(&random, 40), n;
                /* Of that very size, so that a sanitizer sees a byte too far. */
                _cleanup_(mem_freep) uint8_t *p = mem_alloc(size);
                struct byte_reader r;

                random_bytes(&random, p, size);
                byte_reader_init(&r, p, size);
                while (byte_reader_left(&r) > 0)
                        switch (random_below(&random, 5)) {
                        case 0:
                                (void) byte_reader_le64(&r);
                                break;
                        case 1:
                                (void) byte_reader_uleb(&r);
                                break;
                        case 2:
                                if (byte_reader_blob(&r, &n))
                                        ASSERT_LE(n, size);
                                break;
                        case 3:
                                mem_free(byte_reader_string(&r, 20));
                                break;
                        default:
                                (void) byte_reader_u8(&r);
                        }
                ASSERT_TRUE(r.p >= p && r.p <= r.end);
        }
}
