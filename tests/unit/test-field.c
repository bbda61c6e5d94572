/* SPDX-License-Identifier: Apache-2.0 */
#include "base/field.h"

#include "tests/lib/test.h"

TEST(each_kind_is_written_as_it_is) {
        struct field_strings s;

        field_strings_make(&s,
                           FIELDS(FIELD_NODE("n"),
                                  FIELD_SHARD(UINT64_MAX),
                                  FIELD_TERM(0),
                                  FIELD_INDEX(7),
                                  FIELD_TOPIC("a=b"),
                                  FIELD_PARTITION(3),
                                  FIELD_GROUP(""),
                                  FIELD_PEER("[::1]:9092"),
                                  FIELD_FILE("/x y"),
                                  FIELD_ERROR(-ENOSPC)));
        ASSERT_STREQ(s.strings[0], "DRMQ_NODE=n");
        ASSERT_STREQ(s.strings[1], "DRMQ_SHARD=18446744073709551615");
        ASSERT_STREQ(s.strings[2], "DRMQ_TERM=0");
        ASSERT_STREQ(s.strings[3], "DRMQ_INDEX=7");
        ASSERT_STREQ(s.strings[4], "DRMQ_TOPIC=a=b");
        ASSERT_STREQ(s.strings[5], "DRMQ_PARTITION=3");
        ASSERT_STREQ(s.strings[6], "DRMQ_GROUP=");
        ASSERT_STREQ(s.strings[7], "DRMQ_PEER=[::1]:9092");
        ASSERT_STREQ(s.strings[8], "DRMQ_FILE=/x y");
        ASSERT_STREQ(s.strings[9], "DRMQ_ERROR=ENOSPC");
        ASSERT_NULL(s.strings[10]);
}

TEST(what_is_not_known_is_left_out) {
        struct field_strings s;

        field_strings_make(&s, NULL);
        ASSERT_NULL(s.strings[0]);

        field_strings_make(&s, FIELDS(FIELD_FILE(NULL), FIELD_ERROR(EIO), FIELD_ERROR(99999)));
        ASSERT_STREQ(s.strings[0], "DRMQ_ERROR=EIO");
        ASSERT_STREQ(s.strings[1], "DRMQ_ERROR=99999");
        ASSERT_NULL(s.strings[2]);
}

TEST(long_texts_and_lists_are_cut) {
        char text[FIELDS_BYTES_MAX + 10];
        struct field_strings s;

        memset(text, 'x', sizeof(text) - 1);
        text[sizeof(text) - 1] = '\0';
        field_strings_make(&s, FIELDS(FIELD_SHARD(1), FIELD_FILE(text), FIELD_TERM(2)));
        ASSERT_STREQ(s.strings[0], "DRMQ_SHARD=1");
        ASSERT_EQ(strlen(s.strings[1]), FIELDS_BYTES_MAX - strlen("DRMQ_SHARD=1") - 2);
        ASSERT_NULL(s.strings[2]);

        /* one that fills it to the last byte */
        text[FIELDS_BYTES_MAX - strlen("DRMQ_FILE=") - 1] = '\0';
        field_strings_make(&s, FIELDS(FIELD_FILE(text), FIELD_TERM(2)));
        ASSERT_EQ(strlen(s.strings[0]), FIELDS_BYTES_MAX - 1);
        ASSERT_NULL(s.strings[1]);

        field_strings_make(&s,
                           FIELDS(FIELD_SHARD(1),
                                  FIELD_SHARD(2),
                                  FIELD_SHARD(3),
                                  FIELD_SHARD(4),
                                  FIELD_SHARD(5),
                                  FIELD_SHARD(6),
                                  FIELD_SHARD(7),
                                  FIELD_SHARD(8),
                                  FIELD_SHARD(9),
                                  FIELD_SHARD(10),
                                  FIELD_SHARD(11)));
        ASSERT_STREQ(s.strings[FIELDS_MAX - 1], "DRMQ_SHARD=10");
        ASSERT_NULL(s.strings[FIELDS_MAX]);
}
