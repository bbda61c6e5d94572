/* SPDX-License-Identifier: Apache-2.0 */

/* Tests base/budget.h: what is charged never passes the limit, except where it must. */

#include "base/budget.h"
#include "tests/lib/test.h"

TEST(charge_stops_at_limit) {
        struct budget b;

        budget_init(&b, 100, 50);
        ASSERT_OK(budget_charge(&b, 60));
        ASSERT_OK(budget_charge(&b, 40));
        ASSERT_TRUE(budget_is_full(&b));
        ASSERT_ERROR(budget_charge(&b, 1), EAGAIN);
        ASSERT_EQ(b.used_bytes, 100);
        budget_release(&b, 1);
        ASSERT_FALSE(budget_is_full(&b));
        ASSERT_ERROR(budget_charge(&b, 2), EAGAIN);
        ASSERT_ERROR(budget_charge(&b, SIZE_MAX), EAGAIN);
        ASSERT_EQ(b.used_bytes, 99);
        ASSERT_OK(budget_charge(&b, 1));
}

TEST(stopped_owner_goes_on_at_low_mark) {
        struct budget b;

        budget_init(&b, 100, 50);
        ASSERT_TRUE(budget_is_low(&b));
        ASSERT_OK(budget_charge(&b, 100));
        ASSERT_FALSE(budget_is_low(&b));
        budget_release(&b, 49);
        ASSERT_FALSE(budget_is_low(&b));
        budget_release(&b, 1);
        ASSERT_TRUE(budget_is_low(&b));
}

TEST(one_large_charge_is_let_in_when_empty) {
        struct budget b;

        budget_init(&b, 100, 50);
        ASSERT_OK(budget_charge(&b, 1000));
        ASSERT_ERROR(budget_charge(&b, 1), EAGAIN);
        ASSERT_ERROR(budget_charge(&b, 0), EAGAIN);
        budget_release(&b, 1000);
        ASSERT_OK(budget_charge(&b, 1));
        ASSERT_ERROR(budget_charge(&b, 1000), EAGAIN);
        ASSERT_EQ(b.peak_bytes, 1000);
}

TEST(forced_charge_counts_past_limit) {
        struct budget b;

        budget_init(&b, 100, 50);
        budget_charge_forced(&b, 90);
        budget_charge_forced(&b, 90);
        ASSERT_EQ(b.used_bytes, 180);
        ASSERT_TRUE(budget_is_full(&b));
        ASSERT_ERROR(budget_charge(&b, 1), EAGAIN);
        ASSERT_EQ(b.peak_bytes, 180);
}

TEST(another_limit_holds_from_now_on) {
        struct budget b;

        budget_init(&b, 100, 50);
        ASSERT_OK(budget_charge(&b, 80));
        budget_set_limit(&b, 40, 20);
        ASSERT_EQ(b.used_bytes, 80);
        ASSERT_TRUE(budget_is_full(&b));
        ASSERT_ERROR(budget_charge(&b, 1), EAGAIN);
        budget_release(&b, 60);
        ASSERT_TRUE(budget_is_low(&b));
        ASSERT_OK(budget_charge(&b, 20));
        ASSERT_ERROR(budget_charge(&b, 1), EAGAIN);
        budget_set_limit(&b, 200, 100);
        ASSERT_OK(budget_charge(&b, 160));
}
