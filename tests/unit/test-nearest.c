/* SPDX-License-Identifier: Apache-2.0 */
#include <limits.h>

#include "base/nearest.h"
#include "tests/lib/test.h"

TEST(the_same_is_at_no_distance) {
        ASSERT_EQ(nearest_distance("", "", UINT_MAX), 0);
        ASSERT_EQ(nearest_distance("segment_size", "segment_size", UINT_MAX), 0);
        ASSERT_EQ(nearest_distance("Segment.Size", "segment-size", UINT_MAX), 0);
}

TEST(slips_of_the_hand_count_one) {
        ASSERT_EQ(nearest_distance("segmnt_size", "segment_size", UINT_MAX), 1);
        ASSERT_EQ(nearest_distance("segmment_size", "segment_size", UINT_MAX), 1);
        ASSERT_EQ(nearest_distance("segnent_size", "segment_size", UINT_MAX), 1);
        ASSERT_EQ(nearest_distance("segment_szie", "segment_size", UINT_MAX), 1);
        ASSERT_EQ(nearest_distance("esgment_size", "segment_size", UINT_MAX), 1);
}

TEST(all_of_it_may_differ) {
        ASSERT_EQ(nearest_distance("abc", "", UINT_MAX), 3);
        ASSERT_EQ(nearest_distance("", "abc", UINT_MAX), 3);
        ASSERT_EQ(nearest_distance("abc", "xyz", UINT_MAX), 3);
        ASSERT_EQ(nearest_distance("kitten", "sitting", UINT_MAX), 3);
}

TEST(distance_is_the_same_both_ways) {
        static const char *const words[] = {
                "", "a", "ba", "partitions", "partition", "auto_create"
        };

        for (size_t i = 0; i < ELEMENTSOF(words); i++)
                for (size_t j = 0; j < ELEMENTSOF(words); j++)
                        ASSERT_EQ(nearest_distance(words[i], words[j], UINT_MAX),
                                  nearest_distance(words[j], words[i], UINT_MAX));
}

TEST(too_long_a_name_is_near_to_none) {
        char name[NEAREST_NAME_MAX + 2];

        memset(name, 'a', sizeof(name));
        name[NEAREST_NAME_MAX] = 0;
        ASSERT_EQ(nearest_distance(name, name, UINT_MAX), 0);
        name[NEAREST_NAME_MAX] = 'a';
        name[NEAREST_NAME_MAX + 1] = 0;
        ASSERT_EQ(nearest_distance(name, "a", UINT_MAX), UINT_MAX);
        ASSERT_EQ(nearest_distance("a", name, UINT_MAX), UINT_MAX);
}

TEST(a_guess_is_for_a_third_of_what_was_typed) {
        ASSERT_EQ(nearest_distance_max("lgo"), 1);
        ASSERT_EQ(nearest_distance_max("segment_size"), 4);
        ASSERT_EQ(nearest_distance_max(""), 0);
}

TEST(what_is_further_than_asked_is_at_no_distance) {
        ASSERT_EQ(nearest_distance("abcd", "abxy", 2), 2);
        ASSERT_EQ(nearest_distance("abcd", "abxy", 1), UINT_MAX);
        ASSERT_EQ(nearest_distance("abcd", "a", 3), 3);
        ASSERT_EQ(nearest_distance("abcd", "a", 2), UINT_MAX);
}

TEST(the_same_but_for_capitals_and_signs) {
        ASSERT_TRUE(nearest_is_same("Segment.Bytes", "segment_bytes"));
        ASSERT_TRUE(nearest_is_same("", ""));
        ASSERT_FALSE(nearest_is_same("segment", "segment_bytes"));
        ASSERT_FALSE(nearest_is_same("segment_bytes", "segment"));
}
