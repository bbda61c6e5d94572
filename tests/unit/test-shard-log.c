/* SPDX-License-Identifier: Apache-2.0 */
/* The log writer: what is reported as synced is on disk, and every promise of log/shard-log.h. */
#include "tests/lib/log-fixture.h"
#include "tests/lib/test.h"

TEST(appended_and_synced_is_there_after_a_restart) {
        struct log_fixture f;

        log_fixture_init(&f, 1);
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_EQ(shard_log_first_index(f.log), 1);
        ASSERT_EQ(shard_log_last_index(f.log), 0);

        ASSERT_OK(log_fixture_write(&f, 100));
        ASSERT_EQ(f.synced_index, 100);
        log_fixture_check(&f, 1, 100, NULL);

        log_fixture_power_cut(&f);
        ASSERT_OK(log_fixture_open(&f));
        ASSERT_EQ(f.report.n_damaged_regions, 0);
        ASSERT_EQ(f.report.cut_index, 0);
        log_fixture_check(&f, 1, 100, NULL);
        log_fixture_done(&f);
}
