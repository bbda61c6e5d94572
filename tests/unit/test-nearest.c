/* SPDX-License-Identifier: Apache-2.0 */
#include <limits.h>

#include "base/nearest.h"
#include "tests/lib/test.h"

TEST(the_same_is_at_no_distance) {
        ASSERT_EQ(nearest_distance("", ""), 0);
        ASSERT_EQ(nearest_distance("segment_size", "segment_size"), 0);
        ASSERT_EQ(nearest_distance("Segment.Size", "segment-size"), 0);
}

TEST(slips_of_the_hand_count_one) {
        ASSERT_EQ(nearest_distance("segmnt_size", "segment_size"), 1);
        ASSERT_EQ(nearest_distance("segmment_size", "segment_size"), 1);
        ASSERT_EQ(nearest_distance("segnent_size", "segment_size"), 1);
        ASSERT_EQ(nearest_distance("segment_szie", "segment_size"), 1);
        ASSERT_EQ(nearest_distance("esgment_size", "segment_size"), 1);
}

TEST(all_of_it_may_differ) {
        ASSERT_EQ(nearest_distance("abc", ""), 3);
        ASSERT_EQ(nearest_distance("", "abc"), 3);
        ASSERT_EQ(nearest_distance("abc", "xyz"), 3);
        ASSERT_EQ(nearest_distance("kitten", "sitting"), 3);
}

TEST(distance_is_the_same_both_ways) {
        static const char *const words[] = {
                "", "a", "ba", "partitions", "partition", "auto_create"
        };

        for (size_t i = 0; i < ELEMENTSOF(words); i++)
                for (size_t j = 0; j < ELEMENTSOF(words); j++)
                        ASSERT_EQ(nearest_distance(words[i], words[j]),
                                  nearest_distance(words[j], words[i]));
}

TEST(too_long_a_name_is_near_to_none) {
        char name[NEAREST_NAME_MAX + 2];

        memset(name, 'a', sizeof(name));
        name[NEAREST_NAME_MAX] = 0;
        ASSERT_EQ(nearest_distance(name, name), 0);
        name[NEAREST_NAME_MAX] = 'a';
        name[NEAREST_NAME_MAX + 1] = 0;
        ASSERT_EQ(nearest_distance(name, "a"), UINT_MAX);
        ASSERT_EQ(nearest_distance("a", name), UINT_MAX);
}

TEST(a_guess_is_for_a_third_of_what_was_typed) {
        ASSERT_EQ(nearest_distance_max("lgo"), 1);
        ASSERT_EQ(nearest_distance_max("segment_size"), 4);
        ASSERT_EQ(nearest_distance_max(""), 0);
}
