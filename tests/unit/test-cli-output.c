/* SPDX-License-Identifier: Apache-2.0 */

/* Tests cli/output.h, cli/writer.h and cli/progress.h: the three forms byte for byte, and what they
 * do with bad input. */

#include <sys/mman.h>
#include <unistd.h>

#include "base/fs.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/writer.h"
#include "tests/lib/test.h"

static const struct output_column columns[] = {
        { "NAME", "name", OUTPUT_TEXT },   { "SIZE", "bytes", OUTPUT_BYTES },
        { NULL, "hidden", OUTPUT_NUMBER }, { "TOOK", "took_usec", OUTPUT_DURATION },
        { "WELL", "well", OUTPUT_YES_NO }, { "WHEN", "when", OUTPUT_TIME },
};

static void add_rows(struct output *o) {
        output_text(o, "a");
        output_number(o, 1536);
        output_number(o, 7);
        output_number(o, 1234);
        output_number(o, true);
        output_time(o, 1763632800000);

        output_text(o, "longer\tname");
        output_number(o, 0);
        output_none(o);
        output_number(o, 90 * USEC_PER_SEC);
        output_number(o, false);
        output_time(o, 0);
}

/* What is printed, into @dest. */
static void print(const struct output *o, enum output_form form, char *dest, size_t n_dest) {
        _cleanup_(fd_closep) int fd = ASSERT_OK(memfd_create("output", MFD_CLOEXEC));
        ssize_t n;

        ASSERT_OK(output_print(o, form, fd));
        n = ASSERT_OK(fd_pread_full(fd, dest, n_dest - 1, 0));
        dest[n] = '\0';
}

TEST(rows_in_three_forms) {
        _cleanup_(output_freep) struct output *o = NULL;
        char text[4096];

        ASSERT_OK(output_new(columns, ELEMENTSOF(columns), OUTPUT_ROWS, &o));
        add_rows(o);

        print(o, OUTPUT_TABLE, text, sizeof(text));
        ASSERT_STREQ(text,
                     "NAME         SIZE      TOOK  WELL  WHEN\n"
                     "a            1.5K    1.23ms  yes   2025-11-20T10:00:00.000Z\n"
                     "longer name    0B  1min 30s  no    -\n" +
                             0);
}

TEST(plain_columns_have_tabs_and_raw_numbers) {
        _cleanup_(output_freep) struct output *o = NULL;
        char text[4096];

        ASSERT_OK(output_new(columns, ELEMENTSOF(columns), OUTPUT_ROWS, &o));
        add_rows(o);

        print(o, OUTPUT_AUTO, text, sizeof(text)); /* a file is no terminal */
        ASSERT_STREQ(text,
                     "a\t1536\t1234\tyes\t2025-11-20T10:00:00.000Z\n"
                     "longer name\t0\t90000000\tno\t-\n");
}

TEST(json_has_an_object_a_line) {
        _cleanup_(output_freep) struct output *o = NULL;
        char text[4096];

        ASSERT_OK(output_new(columns, ELEMENTSOF(columns), OUTPUT_ROWS, &o));
        add_rows(o);

        print(o, OUTPUT_JSON, text, sizeof(text));
        ASSERT_STREQ(
                text,
                "{\"name\":\"a\",\"bytes\":1536,\"hidden\":7,\"took_usec\":1234,\"well\":true,"
                "\"when\":\"2025-11-20T10:00:00.000Z\"}\n"
                "{\"name\":\"longer\\tname\",\"bytes\":0,\"hidden\":null,\"took_usec\":90000000,"
                "\"well\":false,\"when\":null}\n");
}

static const struct output_column record_columns[] = {
        { "Name", "name", OUTPUT_TEXT },
        { "Long title", "n", OUTPUT_NUMBER },
        { "List", "list", OUTPUT_LIST },
};

static const struct output_column list_columns[] = {
        { "X", "x", OUTPUT_NUMBER },
        { "Y", "y", OUTPUT_TEXT },
};

static struct output *new_record(void) {
        struct output *o, *list;

        ASSERT_OK(output_new(record_columns, ELEMENTSOF(record_columns), OUTPUT_RECORD, &o));
        ASSERT_OK(output_new(list_columns, ELEMENTSOF(list_columns), OUTPUT_ROWS, &list));
        output_text(o, "me");
        output_number(o, 3);
        output_number(list, 1);
        output_text(list, "one");
        output_number(list, 10);
        output_text(list, NULL);
        output_list(o, list);
        return o;
}

TEST(record_shows_its_list_below) {
        _cleanup_(output_freep) struct output *o = new_record();
        char text[4096];

        print(o, OUTPUT_TABLE, text, sizeof(text));
        ASSERT_STREQ(text, "      Name: me\nLong title: 3\n\n X  Y\n 1  one\n10  -\n");
        print(o, OUTPUT_PLAIN, text, sizeof(text));
        ASSERT_STREQ(text, "Name\tme\nLong title\t3\n\n1\tone\n10\t-\n");
        print(o, OUTPUT_JSON, text, sizeof(text));
        ASSERT_STREQ(
                text,
                "{\"name\":\"me\",\"n\":3,\"list\":[{\"x\":1,\"y\":\"one\"},{\"x\":10,\"y\":null}]}\n");
}

TEST(no_memory_is_told_when_it_is_printed) {
        _cleanup_(fd_closep) int fd = ASSERT_OK(memfd_create("output", MFD_CLOEXEC));

        FAULT_SWEEP {
                _cleanup_(output_freep) struct output *o = NULL;
                struct output *list = NULL;
                int r = output_new(record_columns, ELEMENTSOF(record_columns), OUTPUT_RECORD, &o);

                if (r == -ENOMEM) {
                        ASSERT_NULL(o);
                        continue;
                }
                output_text(o, "text");
                output_number(o, 1);
                (void) output_new(list_columns, ELEMENTSOF(list_columns), OUTPUT_ROWS, &list);
                if (list) {
                        output_number(list, 1);
                        output_text(list, "one");
                }
                output_list(o, list);

                r = output_print(o, OUTPUT_JSON, fd);
                ASSERT_TRUE(r == 0 || r == -ENOMEM);
        }
}

/* What a writer makes of it, by a function that takes bytes. */
static void put(void (*f)(struct writer *w, const void *p, size_t n),
                const char *s,
                size_t n,
                const char *expected) {
        _cleanup_(fd_closep) int fd = ASSERT_OK(memfd_create("writer", MFD_CLOEXEC));
        struct writer w;
        char text[256];
        ssize_t k;

        ASSERT_OK(writer_init(&w, fd, 64));
        f(&w, s, n);
        ASSERT_OK(writer_flush(&w));
        writer_done(&w);
        k = ASSERT_OK(fd_pread_full(fd, text, sizeof(text) - 1, 0));
        text[k] = '\0';
        ASSERT_STREQ(text, expected);
}

static void put_json(struct writer *w, const void *p, size_t n) {
        writer_put_json(w, p, n);
}

TEST(json_strings_are_escaped) {
        put(put_json, "", 0, "\"\"");
        put(put_json, "plain", 5, "\"plain\"");
        put(put_json, "a\"b\\c", 5, "\"a\\\"b\\\\c\"");
        put(put_json, "\n\r\t", 3, "\"\\n\\r\\t\"");
        put(put_json, "\0\x1f\x7f", 3, "\"\\u0000\\u001f\\u007f\"");
        put(put_json, "ä", 2, "\"ä\"");
}

TEST(base64_is_padded) {
        put(writer_put_base64, "", 0, "");
        put(writer_put_base64, "f", 1, "Zg==");
        put(writer_put_base64, "fo", 2, "Zm8=");
        put(writer_put_base64, "foo", 3, "Zm9v");
        put(writer_put_base64, "foobar", 6, "Zm9vYmFy");
        put(writer_put_base64, "\xff\xfe\xfd", 3, "//79");
}

TEST(numbers) {
        _cleanup_(fd_closep) int fd = ASSERT_OK(memfd_create("writer", MFD_CLOEXEC));
        struct writer w;
        char text[128];
        ssize_t k;

        ASSERT_OK(writer_init(&w, fd, 64));
        writer_put_uint(&w, 0);
        writer_put_byte(&w, ' ');
        writer_put_uint(&w, UINT64_MAX);
        writer_put_byte(&w, ' ');
        writer_put_int(&w, INT64_MIN);
        writer_put_byte(&w, ' ');
        writer_put_int(&w, 42);
        ASSERT_OK(writer_flush(&w));
        writer_done(&w);
        k = ASSERT_OK(fd_pread_full(fd, text, sizeof(text) - 1, 0));
        text[k] = '\0';
        ASSERT_STREQ(text, "0 18446744073709551615 -9223372036854775808 42");
}

TEST(what_does_not_fit_is_written_in_order) {
        _cleanup_(fd_closep) int fd = ASSERT_OK(memfd_create("writer", MFD_CLOEXEC));
        char large[200], text[512], expected[512];
        struct writer w;
        ssize_t k;

        memset(large, 'x', sizeof(large));
        ASSERT_OK(writer_init(&w, fd, 64));
        writer_put(&w, "begin ", 6);
        writer_put(&w, large, sizeof(large));
        writer_put(&w, " middle ", 8);
        writer_put(&w, large, 60);
        writer_put(&w, " end", 4);
        ASSERT_OK(writer_flush(&w));
        writer_done(&w);

        k = ASSERT_OK(fd_pread_full(fd, text, sizeof(text) - 1, 0));
        text[k] = '\0';
        (void) snprintf(expected, sizeof(expected), "begin %.200s middle %.60s end", large, large);
        ASSERT_STREQ(text, expected);
}

TEST(the_first_error_stays) {
        struct writer w;
        int fd = ASSERT_OK(memfd_create("writer", MFD_CLOEXEC | MFD_ALLOW_SEALING));

        ASSERT_OK(writer_init(&w, fd, 64));
        fd = fd_close(fd);
        writer_put(&w, "x", 1);
        ASSERT_ERROR(writer_flush(&w), EBADF);
        ASSERT_ERROR(writer_flush(&w), EBADF);
        writer_done(&w);
}

TEST(utf8) {
        ASSERT_TRUE(utf8_is_valid("", 0));
        ASSERT_TRUE(utf8_is_valid("plain ascii of some length", 26));
        ASSERT_TRUE(utf8_is_valid("\0", 1));
        ASSERT_TRUE(utf8_is_valid("\xc3\xa4", 2));
        ASSERT_TRUE(utf8_is_valid("12345678\xe2\x82\xac", 11));
        ASSERT_TRUE(utf8_is_valid("\xf4\x8f\xbf\xbf", 4));
        ASSERT_FALSE(utf8_is_valid("\x80", 1));
        ASSERT_FALSE(utf8_is_valid("\xc3", 1));             /* cut */
        ASSERT_FALSE(utf8_is_valid("\xc0\x80", 2));         /* overlong */
        ASSERT_FALSE(utf8_is_valid("\xe0\x80\x80", 3));     /* overlong */
        ASSERT_FALSE(utf8_is_valid("\xed\xa0\x80", 3));     /* surrogate */
        ASSERT_FALSE(utf8_is_valid("\xf4\x90\x80\x80", 4)); /* past U+10FFFF */
        ASSERT_FALSE(utf8_is_valid("\xe2\x82(", 3));
        ASSERT_FALSE(utf8_is_valid("\xff", 1));
}

TEST(progress_names_rates_and_sums) {
        char line[PROGRESS_WIDTH + 1];

        progress_format(line,
                        "messages",
                        /* total= */ 0,
                        &(struct progress_state){ .n = 3000000, .n_bytes = 3 << 20 },
                        /* elapsed_usec= */ 2 * USEC_PER_SEC);
        ASSERT_STREQ(line, "3000000 messages, 3M, 2.0s, 1.50M/s, 1.5M/s");

        progress_format(line,
                        "topics",
                        /* total= */ 200,
                        &(struct progress_state){ .n = 50, .done = 50 },
                        /* elapsed_usec= */ 0);
        ASSERT_STREQ(line, "[#####...............]  25% 50 topics, 0.0s, 0/s");

        progress_format(
                line,
                "messages",
                /* total= */ 1,
                &(struct progress_state){ .n = UINT64_MAX, .n_bytes = UINT64_MAX, .done = 9 },
                /* elapsed_usec= */ 1);
        ASSERT_LE(strlen(line), PROGRESS_WIDTH);
        ASSERT_NOT_NULL(strstr(line, "[####################] 100%"));
}
