/* SPDX-License-Identifier: Apache-2.0 */

/* Tests base/parse.h: what is accepted, what is refused, and that a refusal leaves the result
 * alone. */

#include "base/parse.h"
#include "tests/lib/test.h"

#define UNTOUCHED 0x5ca1ab1e

static void check_uint64(const char *s, uint64_t expected) {
        uint64_t v = UNTOUCHED;

        ASSERT_OK(parse_uint64(s, &v));
        ASSERT_EQ(v, expected);
}

static void refuse_uint64(const char *s, int error) {
        uint64_t v = UNTOUCHED;

        ASSERT_ERROR(parse_uint64(s, &v), error);
        ASSERT_EQ(v, UNTOUCHED);
}

TEST(uint64) {
        check_uint64("0", 0);
        check_uint64("42", 42);
        check_uint64("007", 7);
        check_uint64("18446744073709551615", UINT64_MAX);
        refuse_uint64("18446744073709551616", ERANGE);
        refuse_uint64("99999999999999999999999999", ERANGE);
        refuse_uint64("18446744073709551616x", EINVAL);
        refuse_uint64("", EINVAL);
        refuse_uint64("-1", EINVAL);
        refuse_uint64("+1", EINVAL);
        refuse_uint64(" 1", EINVAL);
        refuse_uint64("1 ", EINVAL);
        refuse_uint64("0x10", EINVAL);
        refuse_uint64("1.0", EINVAL);
}

TEST(int64) {
        int64_t v = UNTOUCHED;

        ASSERT_ERROR(parse_int64("9223372036854775808", &v), ERANGE);
        ASSERT_ERROR(parse_int64("-9223372036854775809", &v), ERANGE);
        ASSERT_ERROR(parse_int64("--1", &v), EINVAL);
        ASSERT_ERROR(parse_int64("-", &v), EINVAL);
        ASSERT_ERROR(parse_int64("+1", &v), EINVAL);
        ASSERT_ERROR(parse_int64("", &v), EINVAL);
        ASSERT_EQ(v, UNTOUCHED);
        ASSERT_OK(parse_int64("-10", &v));
        ASSERT_EQ(v, -10);
        ASSERT_OK(parse_int64("-9223372036854775808", &v));
        ASSERT_EQ(v, INT64_MIN);
        ASSERT_OK(parse_int64("9223372036854775807", &v));
        ASSERT_EQ(v, INT64_MAX);
}

TEST(range_includes_its_ends) {
        uint64_t v = UNTOUCHED;

        ASSERT_ERROR(parse_uint64_range("4", 5, 7, &v), ERANGE);
        ASSERT_ERROR(parse_uint64_range("8", 5, 7, &v), ERANGE);
        ASSERT_ERROR(parse_uint64_range("x", 5, 7, &v), EINVAL);
        ASSERT_EQ(v, UNTOUCHED);
        ASSERT_OK(parse_uint64_range("5", 5, 7, &v));
        ASSERT_EQ(v, 5);
        ASSERT_OK(parse_uint64_range("7", 5, 7, &v));
        ASSERT_EQ(v, 7);
}

TEST(booleans) {
        static const char *const yes[] = { "yes", "true", "on", "1", "Yes", "TRUE" };
        static const char *const no[] = { "no", "false", "off", "0", "No", "OFF" };
        static const char *const neither[] = { "", "y", "yess", "2", " yes", "nö" };

        for (size_t i = 0; i < ELEMENTSOF(yes); i++) {
                bool b = false;

                ASSERT_OK(parse_bool(yes[i], &b));
                ASSERT_TRUE(b);
                ASSERT_OK(parse_bool(no[i], &b));
                ASSERT_FALSE(b);
                ASSERT_ERROR(parse_bool(neither[i], &b), EINVAL);
                ASSERT_FALSE(b);
        }
}

static void check_size(const char *s, uint64_t expected) {
        uint64_t v = UNTOUCHED;

        ASSERT_OK(parse_size(s, &v));
        ASSERT_EQ(v, expected);
}

static void refuse_size(const char *s, int error) {
        uint64_t v = UNTOUCHED;

        ASSERT_ERROR(parse_size(s, &v), error);
        ASSERT_EQ(v, UNTOUCHED);
}

TEST(sizes) {
        check_size("0", 0);
        check_size("4096", 4096);
        check_size("10B", 10);
        check_size("64K", 65536);
        check_size("64k", 65536);
        check_size("64KB", 65536);
        check_size("64KiB", 65536);
        check_size("64Ki", 65536);
        check_size("1M", 1 << 20);
        check_size("2G", UINT64_C(2) << 30);
        check_size("1T", UINT64_C(1) << 40);
        check_size("1P", UINT64_C(1) << 50);
        check_size("15E", UINT64_C(15) << 60);
        check_size("1.5M", 3 << 19);
        check_size("0.5K", 512);
        check_size("1.0001K", 1024);
        check_size("15.5E", UINT64_C(31) << 59);
        refuse_size("16E", ERANGE);
        refuse_size("18446744073709551616", ERANGE);
        refuse_size("99999999999999999999K", ERANGE);
        refuse_size("99999999999999999999Q", EINVAL);
        refuse_size("", EINVAL);
        refuse_size("K", EINVAL);
        refuse_size("1.5", EINVAL);
        refuse_size("1.5B", EINVAL);
        refuse_size("1.K", EINVAL);
        refuse_size(".5K", EINVAL);
        refuse_size("1 K", EINVAL);
        refuse_size("1KK", EINVAL);
        refuse_size("1Bi", EINVAL);
        refuse_size("-1K", EINVAL);
}

static void check_duration(const char *s, usec_t expected) {
        usec_t v = UNTOUCHED;

        ASSERT_OK(parse_duration(s, &v));
        ASSERT_EQ(v, expected);
}

static void refuse_duration(const char *s, int error) {
        usec_t v = UNTOUCHED;

        ASSERT_ERROR(parse_duration(s, &v), error);
        ASSERT_EQ(v, UNTOUCHED);
}

TEST(durations) {
        check_duration("30s", 30 * USEC_PER_SEC);
        check_duration("5min", 5 * USEC_PER_MINUTE);
        check_duration("5m", 5 * USEC_PER_MINUTE);
        check_duration("1h 30min", 90 * USEC_PER_MINUTE);
        check_duration("1h30min", 90 * USEC_PER_MINUTE);
        check_duration("2 hours  3 seconds", 2 * USEC_PER_HOUR + 3 * USEC_PER_SEC);
        check_duration("100ms", 100000);
        check_duration("20us", 20);
        check_duration("20µs", 20);
        check_duration("2d", 2 * USEC_PER_DAY);
        check_duration("1w", 7 * USEC_PER_DAY);
        check_duration("5", 5 * USEC_PER_SEC);
        check_duration("0", 0);
        check_duration("1.5s", 1500000);
        check_duration("0.25", 250000);
        check_duration("1.5us", 1);
        check_duration("18446744073709551614us", USEC_INFINITY - 1);
        refuse_duration("18446744073709551615us", ERANGE); /* USEC_INFINITY */
        refuse_duration("99999999w 99999999999w", ERANGE);
        refuse_duration("99999999999999999999s", ERANGE);
        refuse_duration("99999999999999999999s x", EINVAL);
        refuse_duration("", EINVAL);
        refuse_duration("s", EINVAL);
        refuse_duration("1x", EINVAL);
        refuse_duration("1ss", EINVAL);
        refuse_duration("-1s", EINVAL);
        refuse_duration(" 1s", EINVAL);
        refuse_duration("1s ", EINVAL);
        refuse_duration("1h 30", EINVAL);
        refuse_duration("1.s", EINVAL);
        refuse_duration("1e3s", EINVAL);
}

static void check_time(const char *s, int64_t expected) {
        int64_t v = UNTOUCHED;

        ASSERT_OK(parse_time_ms(s, INT64_C(1000000000), &v));
        ASSERT_EQ(v, expected);
}

static void refuse_time(const char *s, int error) {
        int64_t v = UNTOUCHED;

        ASSERT_ERROR(parse_time_ms(s, INT64_C(1000000000), &v), error);
        ASSERT_EQ(v, UNTOUCHED);
}

TEST(times) {
        /* date -u -d 2026-11-20T10:00:00Z +%s and so on */
        check_time("2026-11-20T10:00:00Z", INT64_C(1795168800000));
        check_time("2026-11-20 10:00:00Z", INT64_C(1795168800000));
        check_time("2026-11-20T10:00Z", INT64_C(1795168800000));
        check_time("2026-11-20T10:00:00.25Z", INT64_C(1795168800250));
        check_time("2026-11-20T10:00:00.123456789Z", INT64_C(1795168800123));
        check_time("2026-11-20T10:00:00+01:00", INT64_C(1795165200000));
        check_time("2026-11-20T10:00:00-0530", INT64_C(1795188600000));
        check_time("1970-01-01T00:00:00Z", 0);
        check_time("1969-12-31T23:59:59.5Z", -500);
        check_time("2024-02-29T00:00:00Z", INT64_C(1709164800000));
        check_time("2000-03-01T00:00:00Z", INT64_C(951868800000));
        check_time("0000-01-01T00:00:00Z", INT64_C(-62167219200000));
        check_time("9999-12-31T23:59:59Z", INT64_C(253402300799000));
        check_time("2016-12-31T23:59:60Z", INT64_C(1483228800000));
        check_time("@1700000000", INT64_C(1700000000000));
        check_time("@1700000000.125", INT64_C(1700000000125));
        check_time("now", 1000000000);
        check_time("-1h", 1000000000 - 3600000);
        check_time("-1h 30min", 1000000000 - 5400000);

        refuse_time("2026-13-20T10:00:00Z", ERANGE);
        refuse_time("2026-00-20T10:00:00Z", ERANGE);
        refuse_time("2026-02-29T10:00:00Z", ERANGE);
        refuse_time("1900-02-29T10:00:00Z", ERANGE);
        refuse_time("2026-11-20T24:00:00Z", ERANGE);
        refuse_time("2026-11-20T10:60:00Z", ERANGE);
        refuse_time("2026-11-20T10:00:00+24:00", ERANGE);
        refuse_time("2026-11-20T10:00:00Zx", EINVAL);
        refuse_time("2026-11-20T10:00:00.Z", EINVAL);
        refuse_time("2026-11-20T10", EINVAL);
        refuse_time("2026-11-20T", EINVAL);
        refuse_time("2026-11", EINVAL);
        refuse_time("2026-11-20T10:00:00 ", EINVAL);
        refuse_time("26-11-20", EINVAL);
        refuse_time("", EINVAL);
        refuse_time("-", EINVAL);
        refuse_time("@", EINVAL);
        refuse_time("@1x", EINVAL);
        refuse_time("@-1", EINVAL);
        refuse_time("@9223372036854776", ERANGE);
        refuse_time("yesterday", EINVAL);
}

TEST(time_without_zone_is_local) {
        setenv("TZ", "EST+5EDT,M3.2.0,M11.1.0", /* overwrite= */ 1);
        check_time("2026-11-20T10:00:00", INT64_C(1795186800000));
        check_time("2026-11-20", INT64_C(1795150800000));
        check_time("2026-07-01T12:00", INT64_C(1782921600000)); /* summer: four hours */
        check_time("1969-12-31T18:59:59", -1000); /* mktime(3)'s -1 that is no error */
}

static void check_address(const char *s, const char *path, const char *host, uint16_t port) {
        struct address a = { 0 };

        ASSERT_OK(parse_address(s, 9092, &a));
        ASSERT_STREQ(a.path, path);
        ASSERT_STREQ(a.host, host);
        ASSERT_EQ(a.port, port);
        address_done(&a);
        ASSERT_NULL(a.host);
        ASSERT_NULL(a.path);
}

static void refuse_address(const char *s, int error) {
        struct address a = { .port = 77 };

        ASSERT_ERROR(parse_address(s, 9092, &a), error);
        ASSERT_EQ(a.port, 77);
        ASSERT_NULL(a.host);
        ASSERT_NULL(a.path);
}

TEST(addresses) {
        char path[200] = "unix:/";

        check_address("host", NULL, "host", 9092);
        check_address("host:1", NULL, "host", 1);
        check_address("node-1.example.org:65535", NULL, "node-1.example.org", 65535);
        check_address("127.0.0.1:0", NULL, "127.0.0.1", 0);
        check_address("[::1]:9093", NULL, "::1", 9093);
        check_address("[::1]", NULL, "::1", 9092);
        check_address("[fe80::1%eth0]:1", NULL, "fe80::1%eth0", 1);
        check_address("unix:/run/drmq/node1.sock", "/run/drmq/node1.sock", NULL, 0);

        refuse_address("", EINVAL);
        refuse_address(":1", EINVAL);
        refuse_address("host:", EINVAL);
        refuse_address("host:x", EINVAL);
        refuse_address("host:65536", ERANGE);
        refuse_address("host:1:2", EINVAL);
        refuse_address("::1", EINVAL);
        refuse_address("[::1", EINVAL);
        refuse_address("[::1]x", EINVAL);
        refuse_address("[]", EINVAL);
        refuse_address("[host]", EINVAL);
        refuse_address("[::1%]", EINVAL);
        refuse_address("ho st", EINVAL);
        refuse_address("host/x", EINVAL);
        refuse_address("unix:", EINVAL);
        memset(path + 6, 'x', 107);
        refuse_address(path, ERANGE);
        path[5 + 107] = 0;
        check_address(path, path + 5, NULL, 0);
}

TEST(address_lists) {
        struct address *a = NULL;
        size_t n = 0;

        ASSERT_OK(parse_address_list("one,two:2,unix:/x,[::1]:4", 9092, &a, &n));
        ASSERT_EQ(n, 4);
        ASSERT_STREQ(a[0].host, "one");
        ASSERT_EQ(a[0].port, 9092);
        ASSERT_EQ(a[1].port, 2);
        ASSERT_STREQ(a[2].path, "/x");
        ASSERT_STREQ(a[3].host, "::1");
        a = address_array_free(a, n);
        ASSERT_NULL(a);

        n = 77;
        ASSERT_ERROR(parse_address_list("", 9092, &a, &n), EINVAL);
        ASSERT_ERROR(parse_address_list("one,", 9092, &a, &n), EINVAL);
        ASSERT_ERROR(parse_address_list(",one", 9092, &a, &n), EINVAL);
        ASSERT_ERROR(parse_address_list("one,,two", 9092, &a, &n), EINVAL);
        ASSERT_ERROR(parse_address_list("one,two:99999", 9092, &a, &n), ERANGE);
        ASSERT_NULL(a);
        ASSERT_EQ(n, 77);
}

TEST(address_list_without_memory_leaves_nothing) {
        FAULT_SWEEP {
                struct address *a = NULL;
                size_t n = 0;
                int r = parse_address_list("one,two:2,unix:/x,four,five,six", 9092, &a, &n);

                if (r < 0) {
                        ASSERT_ERROR(r, ENOMEM);
                        ASSERT_NULL(a);
                        continue;
                }
                ASSERT_EQ(n, 6);
                address_array_free(a, n);
        }
}

static void check_escapes(const char *s, const char *expected, size_t n_expected) {
        _cleanup_(mem_freep) char *bytes = NULL;
        size_t n = 0;

        ASSERT_OK(parse_escapes(s, &bytes, &n));
        ASSERT_EQ(n, n_expected);
        ASSERT_MEM(bytes, expected, n + 1); /* with the NUL that follows */
}

static void refuse_escapes(const char *s, int error) {
        char *bytes = NULL;
        size_t n = 77;

        ASSERT_ERROR(parse_escapes(s, &bytes, &n), error);
        ASSERT_NULL(bytes);
        ASSERT_EQ(n, 77);
}

TEST(escapes) {
        check_escapes("", "", 0);
        check_escapes("plain %v", "plain %v", 8);
        check_escapes("%o\\t%v\\n", "%o\t%v\n", 6);
        check_escapes("\\0a\\0", "\0a\0", 3);
        check_escapes("\\r\\\\\\a\\e\\b\\f\\v\\\"\\'", "\r\\\a\033\b\f\v\"'", 9);
        check_escapes("\\x41\\xfF\\x00", "A\xff\0", 3);
        check_escapes("\\101\\377\\18", "A\xff\0018", 4);
        refuse_escapes("\\", EINVAL);
        refuse_escapes("\\q", EINVAL);
        refuse_escapes("\\x", EINVAL);
        refuse_escapes("\\x4", EINVAL);
        refuse_escapes("\\x4g", EINVAL);
        refuse_escapes("\\400", ERANGE);
        refuse_escapes("\\8", EINVAL);

        FAULT_SWEEP {
                _cleanup_(mem_freep) char *bytes = NULL;
                size_t n;
                int r = parse_escapes("\\n", &bytes, &n);

                ASSERT_EQ(r, _sweep.n == 1 ? -ENOMEM : 0);
        }
}

TEST(names_of_topics_and_groups) {
        char name[TOPIC_NAME_MAX + 2];

        ASSERT_TRUE(topic_name_is_valid("numbers"));
        ASSERT_TRUE(topic_name_is_valid("A.b_c-9"));
        ASSERT_TRUE(topic_name_is_valid("..."));
        ASSERT_FALSE(topic_name_is_valid(""));
        ASSERT_FALSE(topic_name_is_valid("."));
        ASSERT_FALSE(topic_name_is_valid(".."));
        ASSERT_FALSE(topic_name_is_valid("a b"));
        ASSERT_FALSE(topic_name_is_valid("a/b"));
        ASSERT_FALSE(topic_name_is_valid("ä"));
        ASSERT_FALSE(topic_name_is_valid("a\n"));
        ASSERT_TRUE(group_name_is_valid("workers_1-a"));
        ASSERT_FALSE(group_name_is_valid("a.b"));
        ASSERT_FALSE(group_name_is_valid(""));

        memset(name, 'x', sizeof(name));
        name[TOPIC_NAME_MAX + 1] = 0;
        ASSERT_FALSE(topic_name_is_valid(name));
        ASSERT_FALSE(group_name_is_valid(name));
        name[TOPIC_NAME_MAX] = 0;
        ASSERT_TRUE(topic_name_is_valid(name));
        ASSERT_TRUE(group_name_is_valid(name));
}
