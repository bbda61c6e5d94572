/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/error.h"

#include "tests/lib/test.h"

TEST(codes_are_what_they_were) {
        /* These numbers are on the wire for ever. */
        ASSERT_EQ(DRMQ_ERROR_UNKNOWN_TYPE, 1);
        ASSERT_EQ(DRMQ_ERROR_UNKNOWN_TOPIC, 3);
        ASSERT_EQ(DRMQ_ERROR_OUT_OF_SEQUENCE, 11);
        ASSERT_EQ(DRMQ_ERROR_DUPLICATE, 13);
        ASSERT_EQ(DRMQ_ERROR_NOT_LEADER, 16);
        ASSERT_EQ(DRMQ_ERROR_STOPPING, 20);
        ASSERT_EQ(DRMQ_ERROR_ACROSS_SHARDS, 25);
        ASSERT_EQ(DRMQ_ERROR_UNKNOWN_SNAPSHOT, 26);
        ASSERT_EQ(DRMQ_ERROR_SNAPSHOT_EXISTS, 27);
        ASSERT_EQ(DRMQ_ERROR_TOO_MANY_SNAPSHOTS, 28);
        ASSERT_EQ(DRMQ_ERROR_TOO_MANY, 29);
        ASSERT_EQ(_DRMQ_ERROR_MAX, 30);
}

TEST(each_code_has_name_words_and_errno) {
        for (uint32_t code = 0; code < _DRMQ_ERROR_MAX; code++) {
                ASSERT_GT(strlen(drmq_error_name(code)), 0);
                ASSERT_GT(strlen(drmq_error_text(code)), 0);
                if (code == DRMQ_ERROR_NONE)
                        ASSERT_EQ(drmq_error_to_errno(code), 0);
                else
                        ASSERT_LT(drmq_error_to_errno(code), 0);
        }
        ASSERT_STREQ(drmq_error_name(DRMQ_ERROR_OUT_OF_SEQUENCE), "OUT_OF_SEQUENCE");
        ASSERT_TRUE(drmq_error_is_retriable(DRMQ_ERROR_NOT_LEADER));
        ASSERT_FALSE(drmq_error_is_retriable(DRMQ_ERROR_UNKNOWN_TOPIC));
}

TEST(codes_of_the_future_are_errors_too) {
        ASSERT_STREQ(drmq_error_name(9999), "UNKNOWN");
        ASSERT_NOT_NULL(drmq_error_text(UINT32_MAX));
        ASSERT_ERROR(drmq_error_to_errno(_DRMQ_ERROR_MAX), EIO);
        ASSERT_FALSE(drmq_error_is_retriable(_DRMQ_ERROR_MAX));
}

TEST(errnos_go_out_and_come_back) {
        ASSERT_EQ(drmq_error_from_errno(0), DRMQ_ERROR_NONE);
        ASSERT_EQ(drmq_error_from_errno(-EAGAIN), DRMQ_ERROR_BUSY);
        ASSERT_EQ(drmq_error_from_errno(-ESTALE), DRMQ_ERROR_NOT_LEADER);
        ASSERT_EQ(drmq_error_from_errno(-EINVAL), DRMQ_ERROR_INVALID_ARGUMENT);
        ASSERT_EQ(drmq_error_from_errno(-EACCES), DRMQ_ERROR_NOT_PERMITTED);
        ASSERT_EQ(drmq_error_from_errno(-EPIPE), DRMQ_ERROR_INTERNAL);

        /* What came from one code gives an errno that is the same again. */
        for (uint32_t code = 0; code < _DRMQ_ERROR_MAX; code++) {
                int e = drmq_error_to_errno(code);

                if (e != -ESTALE) /* FENCED: only the leader itself says it, by its code */
                        ASSERT_EQ(drmq_error_to_errno(drmq_error_from_errno(e)), e);
        }
}
