/* SPDX-License-Identifier: Apache-2.0 */

/* Tests drmqd/core/exposition.h: the text, to the byte. */

#include "drmqd/core/exposition.h"
#include "tests/lib/test.h"

static void expect(struct byte_writer *w, const char *text) {
        byte_writer_u8(w, 0);
        ASSERT_OK(byte_writer_result(w));
        ASSERT_STREQ((const char *) w->data, text);
        byte_writer_done(w);
}

TEST(a_family_has_help_type_and_samples) {
        const struct label labels[] = { { "topic", "a" }, { "partition", "0" } };
        struct byte_writer w;
        struct exposition e = { .w = &w };

        byte_writer_init(&w, 0);
        exposition_family(&e, "drmq_x_total", "counter", "What it is.");
        exposition_number(&e, labels, 2, 4711);
        exposition_number(&e, labels, 1, 0);
        exposition_number(&e, NULL, 0, UINT64_MAX);
        expect(&w,
               "# HELP drmq_x_total What it is.\n"
               "# TYPE drmq_x_total counter\n"
               "drmq_x_total{topic=\"a\",partition=\"0\"} 4711\n"
               "drmq_x_total{topic=\"a\"} 0\n"
               "drmq_x_total 18446744073709551615\n");
}

TEST(labels_that_were_made_ready_look_the_same) {
        const struct label labels[] = { { "topic", "a\"b" }, { "partition", "0" } };
        struct byte_writer w, ready, other;
        struct exposition e = { .w = &w, .family = "x" };

        byte_writer_init(&w, 0);
        byte_writer_init(&other, 0);
        byte_writer_init(&ready, 0);
        exposition_labels(&ready, labels, 2);
        exposition_number_of(&e, ready.data, ready.size, 4711);
        e.w = &other;
        exposition_number(&e, labels, 2, 4711);
        ASSERT_EQ(w.size, other.size);
        ASSERT_MEM(w.data, other.data, w.size);
        byte_writer_done(&w);
        byte_writer_done(&other);
        byte_writer_done(&ready);
}

TEST(what_would_end_a_label_or_a_line_is_escaped) {
        const struct label label = { "l", "a\"b\\c\nd\\" };
        struct byte_writer w;
        struct exposition e = { .w = &w };

        byte_writer_init(&w, 0);
        exposition_family(&e, "x", "gauge", "a \"quote\", a \\ and\na line");
        exposition_number(&e, &label, 1, 1);
        expect(&w,
               "# HELP x a \"quote\", a \\\\ and\\na line\n"
               "# TYPE x gauge\n"
               "x{l=\"a\\\"b\\\\c\\nd\\\\\"} 1\n");
}

TEST(seconds_have_what_digits_they_need) {
        static const struct {
                usec_t usec;
                const char *text;
        } cases[] = {
                { 0, "x 0\n" },
                { 1, "x 0.000001\n" },
                { 50, "x 0.00005\n" },
                { 250 * USEC_PER_MSEC, "x 0.25\n" },
                { USEC_PER_SEC, "x 1\n" },
                { 100 * USEC_PER_SEC, "x 100\n" },
                { 12 * USEC_PER_SEC + 345678, "x 12.345678\n" },
                { USEC_INFINITY, "x 18446744073709.551615\n" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                struct byte_writer w;
                struct exposition e = { .w = &w, .family = "x" };

                byte_writer_init(&w, 0);
                exposition_seconds(&e, NULL, 0, cases[i].usec);
                expect(&w, cases[i].text);
        }
}

TEST(buckets_are_cumulative) {
        const struct label label = { "shard", "1" };
        struct histogram h = {};
        struct byte_writer w;
        struct exposition e = { .w = &w };

        histogram_add(&h, 10);
        histogram_add(&h, 75);
        histogram_add(&h, 76);
        histogram_add(&h, 20 * USEC_PER_SEC);
        byte_writer_init(&w, 0);
        exposition_family(&e, "x", "histogram", "X.");
        exposition_histogram(&e, &label, 1, &h);
        expect(&w,
               "# HELP x X.\n"
               "# TYPE x histogram\n"
               "x_bucket{shard=\"1\",le=\"0.00005\"} 1\n"
               "x_bucket{shard=\"1\",le=\"0.0001\"} 3\n"
               "x_bucket{shard=\"1\",le=\"0.00025\"} 3\n"
               "x_bucket{shard=\"1\",le=\"0.0005\"} 3\n"
               "x_bucket{shard=\"1\",le=\"0.001\"} 3\n"
               "x_bucket{shard=\"1\",le=\"0.0025\"} 3\n"
               "x_bucket{shard=\"1\",le=\"0.005\"} 3\n"
               "x_bucket{shard=\"1\",le=\"0.01\"} 3\n"
               "x_bucket{shard=\"1\",le=\"0.025\"} 3\n"
               "x_bucket{shard=\"1\",le=\"0.05\"} 3\n"
               "x_bucket{shard=\"1\",le=\"0.1\"} 3\n"
               "x_bucket{shard=\"1\",le=\"0.25\"} 3\n"
               "x_bucket{shard=\"1\",le=\"0.5\"} 3\n"
               "x_bucket{shard=\"1\",le=\"1\"} 3\n"
               "x_bucket{shard=\"1\",le=\"2.5\"} 3\n"
               "x_bucket{shard=\"1\",le=\"5\"} 3\n"
               "x_bucket{shard=\"1\",le=\"10\"} 3\n"
               "x_bucket{shard=\"1\",le=\"+Inf\"} 4\n"
               "x_sum{shard=\"1\"} 20.000161\n"
               "x_count{shard=\"1\"} 4\n");

        byte_writer_init(&w, 0);
        h = (struct histogram){};
        exposition_histogram(&e, NULL, 0, &h);
        byte_writer_u8(&w, 0);
        ASSERT_NOT_NULL(
                strstr((const char *) w.data, "x_bucket{le=\"+Inf\"} 0\nx_sum 0\nx_count 0\n"));
        byte_writer_done(&w);
}

TEST(a_text_over_the_limit_is_told_by_the_writer) {
        struct byte_writer w;
        struct exposition e = { .w = &w };

        byte_writer_init(&w, 20);
        exposition_family(&e, "drmq_x_total", "counter", "What it is.");
        ASSERT_ERROR(byte_writer_result(&w), EMSGSIZE);
        byte_writer_done(&w);
}
