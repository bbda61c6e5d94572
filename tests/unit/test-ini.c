/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ini.h"
#include "tests/lib/test.h"

/* Lines as text, "3 [log] size=1M", so that a case shows what it expects. */
struct transcript {
        char text[1024];
        size_t n;
        unsigned n_left; /* callbacks before one fails; 0: none fails */
};

static int on_line(void *userdata, const struct ini_line *line) {
        struct transcript *t = userdata;
        char *end = t->text + t->n;
        size_t room = sizeof(t->text) - t->n;

        switch (line->kind) {
        case INI_SECTION:
                (void) snprintf(end, room, "%u [%s]\n", line->number, line->section);
                break;
        case INI_ASSIGNMENT:
                (void) snprintf(end,
                                room,
                                "%u %s: '%s' '%s'\n",
                                line->number,
                                line->section ? line->section : "-",
                                line->key,
                                line->value);
                break;
        case INI_MALFORMED:
        default:
                (void) snprintf(end, room, "%u ! %s\n", line->number, line->why);
        }
        t->n += strlen(end);
        return t->n_left > 0 && --t->n_left == 0 ? -ESTALE : 0;
}

static void expect(const char *text, size_t n, const char *expected) {
        struct transcript t = { .text = "" };

        ASSERT_OK(ini_parse(text, n, on_line, &t));
        ASSERT_STREQ(t.text, expected);
}

#define EXPECT(text, expected) expect((text), sizeof(text) - 1, (expected))

TEST(sections_and_assignments) {
        EXPECT("[log]\nsize=1M\n\n[other]\n size = two words \n",
               "1 [log]\n2 log: 'size' '1M'\n4 [other]\n5 other: 'size' 'two words'\n");
}

TEST(nothing_is_nothing) {
        EXPECT("", "");
        EXPECT("\n\n  \n\t\r\n", "");
}

TEST(comments_stand_alone) {
        EXPECT("# a\n ; b\n[s]\nkey=value # no comment\nkey=a;b\n",
               "3 [s]\n4 s: 'key' 'value # no comment'\n5 s: 'key' 'a;b'\n");
}

TEST(before_a_section_there_is_none) {
        EXPECT("key=1\n", "1 -: 'key' '1'\n");
}

TEST(the_last_line_needs_no_newline) {
        EXPECT("[s]\na=b", "1 [s]\n2 s: 'a' 'b'\n");
        EXPECT("[s]", "1 [s]\n");
}

TEST(windows_line_ends_and_a_byte_order_mark) {
        EXPECT("\xef\xbb\xbf[s]\r\na=b\r\n", "1 [s]\n2 s: 'a' 'b'\n");
}

TEST(empty_values_are_values) {
        EXPECT("[s]\na=\nb = \nc==\n", "1 [s]\n2 s: 'a' ''\n3 s: 'b' ''\n4 s: 'c' '='\n");
}

TEST(a_backslash_goes_on) {
        EXPECT("[s]\na=one\\\n  two \\\n# between\nthree\nb=1\n",
               "1 [s]\n2 s: 'a' 'one two  three'\n6 s: 'b' '1'\n");
        EXPECT("[s]\na=ends\\", "1 [s]\n2 s: 'a' 'ends'\n");
        /* An escaped one does not. */
        EXPECT("[s]\na=b\\\\\nc=d\n", "1 [s]\n2 s: 'a' 'b\\\\'\n3 s: 'c' 'd'\n");
        EXPECT("\\\n[s]\n", "1 [s]\n");
        EXPECT("\\\n", "1 ! neither [section] nor key=value\n");
}

TEST(malformed_lines_are_named_and_the_rest_is_read) {
        EXPECT("[s\nnothing\n=value\n[]\n[s] x\n[t]\na=b\n",
               "1 ! not a section: [name]\n"
               "2 ! neither [section] nor key=value\n"
               "3 ! no key before the \"=\"\n"
               "4 ! not a section: [name]\n"
               "5 ! not a section: [name]\n"
               "6 [t]\n7 t: 'a' 'b'\n");
        EXPECT("[s]\na=b\0c\nd=e\n", "1 [s]\n2 ! a NUL byte\n3 s: 'd' 'e'\n");
}

TEST(indented_lines_are_lines) {
        EXPECT("[s]\na=1\n   b=2\n", "1 [s]\n2 s: 'a' '1'\n3 s: 'b' '2'\n");
}

TEST(a_long_line_is_one_line) {
        enum { N = 100000 };
        char *text = malloc(N + 8);
        struct transcript t = { .text = "" };

        ASSERT_NOT_NULL(text);
        memset(text, 'k', N);
        memcpy(text + N, "=1\n", 4);
        ASSERT_OK(ini_parse(text, N + 3, on_line, &t));
        ASSERT_TRUE(strncmp(t.text, "1 -: 'kkkk", 10) == 0);
        free(text);
}

TEST(a_callback_ends_the_reading) {
        struct transcript t = { .n_left = 2 };

        ASSERT_ERROR(ini_parse("[a]\n[b]\n[c]\n", 12, on_line, &t), ESTALE);
        ASSERT_STREQ(t.text, "1 [a]\n2 [b]\n");
}

TEST(no_memory) {
        FAULT_SWEEP {
                struct transcript t = { .text = "" };
                int r = ini_parse("[a]\n", 4, on_line, &t);

                if (r == -ENOMEM) {
                        ASSERT_EQ(t.n, 0);
                        continue;
                }
                ASSERT_OK(r);
        }
}
