/* SPDX-License-Identifier: Apache-2.0 */

/* Tests base/format.h: what people see, and that parse.h reads it back. */

#include <limits.h>

#include "base/format.h"
#include "base/parse.h"
#include "base/random.h"
#include "tests/lib/test.h"

TEST(bytes) {
        static const struct {
                uint64_t n_bytes;
                const char *text;
        } cases[] = {
                { 0, "0B" },
                { 1023, "1023B" },
                { 1024, "1K" },
                { 1536, "1.5K" },
                { 1000000, "976.6K" },
                { (1 << 20) - 1, "1M" },
                { 3 << 19, "1.5M" },
                { UINT64_C(64) << 20, "64M" },
                { UINT64_C(5) << 40, "5T" },
                { UINT64_MAX, "16E" },
        };
        char text[FORMAT_MAX];

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                ASSERT_STREQ(format_bytes(text, cases[i].n_bytes), cases[i].text);
}

TEST(bytes_are_read_back_within_rounding) {
        struct random random;
        char text[FORMAT_MAX];

        random_init(&random, 11);
        for (unsigned i = 0; i < 2000; i++) {
                uint64_t n_bytes = random_u64(&random) >> (1 + random_below(&random, 62)), back;

                ASSERT_OK(parse_size(format_bytes(text, n_bytes), &back));
                ASSERT_LE(back > n_bytes ? back - n_bytes : n_bytes - back, n_bytes / 20 + 1);
        }
}

TEST(durations) {
        static const struct {
                usec_t usec;
                const char *text;
        } cases[] = {
                { 0, "0s" },
                { 1, "1us" },
                { 94, "94us" },
                { 1000, "1ms" },
                { 1234, "1.234ms" },
                { 1200, "1.2ms" },
                { 1500000, "1.5s" },
                { 1000001, "1.000001s" },
                { 30 * USEC_PER_SEC, "30s" },
                { 90 * USEC_PER_MINUTE, "1h 30min" },
                { USEC_PER_MINUTE + 1, "1min 1us" },
                { 2 * USEC_PER_DAY, "2d" },
                { 15 * USEC_PER_DAY + USEC_PER_HOUR, "15d 1h" },
                { USEC_INFINITY - 1, "213503982d 8h 1min 49.551614s" },
                { USEC_INFINITY, "infinity" },
        };
        char text[FORMAT_MAX];

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                ASSERT_STREQ(format_duration(text, cases[i].usec), cases[i].text);
}

TEST(durations_are_read_back_exactly) {
        struct random random;
        char text[FORMAT_MAX];

        random_init(&random, 12);
        for (unsigned i = 0; i < 5000; i++) {
                usec_t usec = random_u64(&random) >> random_below(&random, 64), back;

                if (usec == USEC_INFINITY)
                        continue;
                ASSERT_OK(parse_duration(format_duration(text, usec), &back));
                ASSERT_EQ(back, usec);
        }
}

TEST(times) {
        char text[FORMAT_MAX];

        ASSERT_STREQ(format_time_ms(text, INT64_C(1795168800000)), "2026-11-20T10:00:00.000Z");
        ASSERT_STREQ(format_time_ms(text, 0), "1970-01-01T00:00:00.000Z");
        ASSERT_STREQ(format_time_ms(text, -1), "1969-12-31T23:59:59.999Z");
        ASSERT_STREQ(format_time_ms(text, INT64_C(1709164800001)), "2024-02-29T00:00:00.001Z");
        ASSERT_STREQ(format_time_ms(text, INT64_C(-62167219200000)), "0000-01-01T00:00:00.000Z");
        ASSERT_STREQ(format_time_ms(text, INT64_MAX), "292278994-08-17T07:12:55.807Z");
        ASSERT_STREQ(format_time_ms(text, INT64_MIN), "-292275055-05-16T16:47:04.192Z");
}

TEST(times_are_read_back_exactly) {
        struct random random;
        char text[FORMAT_MAX];

        random_init(&random, 13);
        /* The years 0000 to 9999, each day about as likely. */
        for (unsigned i = 0; i < 20000; i++) {
                int64_t ms = (int64_t) random_below(&random, UINT64_C(315569520000000)) -
                             INT64_C(62167219200000),
                        back;

                ASSERT_OK(parse_time_ms(format_time_ms(text, ms), /* now_ms= */ 0, &back));
                ASSERT_EQ(back, ms);
        }
}

TEST(ids) {
        static const uint8_t id[16] = { 0,    0x2b, 0x3e, 0xbb, 0x10, 0x97, 0x48, 0x41,
                                        0x8c, 0x97, 0x14, 0xca, 0x24, 0xf6, 0x57, 0xff };
        char text[FORMAT_MAX];

        ASSERT_STREQ(format_id128(text, id), "002b3ebb109748418c9714ca24f657ff");
}

TEST(addresses_are_read_back) {
        static const char *const texts[] = {
                "host:9092", "127.0.0.1:1", "[::1]:9092", "unix:/run/x.sock"
        };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                _cleanup_(mem_freep) char *text = NULL;
                struct address a;

                ASSERT_OK(parse_address(texts[i], 9092, &a));
                text = format_address(&a);
                ASSERT_STREQ(text, texts[i]);
                address_done(&a);
        }
}

TEST(base64_vectors_of_rfc_4648) {
        static const char *const plain[] = { "", "f", "fo", "foo", "foob", "fooba", "foobar" };
        static const char *const coded[] = { "",         "Zg==",     "Zm8=",    "Zm9v",
                                             "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy" };

        for (size_t i = 0; i < ELEMENTSOF(plain); i++) {
                _cleanup_(mem_freep) char *text = base64_encode(plain[i], strlen(plain[i]));
                _cleanup_(mem_freep) uint8_t *bytes = NULL;
                size_t n;

                ASSERT_STREQ(text, coded[i]);
                ASSERT_OK(base64_decode(text, strlen(text), &bytes, &n));
                ASSERT_EQ(n, strlen(plain[i]));
                ASSERT_MEM(bytes, plain[i], n + 1);
        }
}

TEST(base64_of_any_bytes_is_read_back) {
        uint8_t bytes[256];

        for (unsigned i = 0; i < 256; i++)
                bytes[i] = (uint8_t) (i * 167);
        for (size_t n = 0; n <= sizeof(bytes); n++) {
                _cleanup_(mem_freep) char *text = base64_encode(bytes, n);
                _cleanup_(mem_freep) uint8_t *back = NULL;
                size_t n_back;

                ASSERT_OK(base64_decode(text, strlen(text), &back, &n_back));
                ASSERT_EQ(n_back, n);
                ASSERT_MEM(back, bytes, n);
        }
}

TEST(base64_refuses_other_text) {
        static const char *const bad[] = { "Z",        "Zg",     "Zg=",  "Zg===", "Z===",
                                           "====",     "Zm9v\n", "Zm 9", "Zm9-",  "Zm_v",
                                           "Zg==Zm9v", "Zh==",   "Zm9=", "=m9v",  "Zm9vYg=a" };

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                uint8_t *bytes = NULL;
                size_t n = 77;

                ASSERT_ERROR(base64_decode(bad[i], strlen(bad[i]), &bytes, &n), EINVAL);
                ASSERT_NULL(bytes);
                ASSERT_EQ(n, 77);
        }
}

TEST(without_memory_nothing_is_returned) {
        FAULT_SWEEP {
                _cleanup_(mem_freep) char *text = base64_encode("abc", 3);
                _cleanup_(mem_freep) uint8_t *bytes = NULL;
                size_t n;
                int r;

                if (!text)
                        continue;
                r = base64_decode(text, 4, &bytes, &n);
                ASSERT_EQ(r, _sweep.n == 2 ? -ENOMEM : 0);
                ASSERT_EQ(bytes == NULL, r < 0);
        }
}
