/* SPDX-License-Identifier: Apache-2.0 */

/* The broker as its clients see it: every request, through frames that arrive in any pieces; starts and stops. What
 * misbehaving clients and disks do to it is in test-broker-limits.c. */

#include "drmqd/core/broker.h"

#include "proto/message.h"
#include "tests/lib/broker-fixture.h"
#include "tests/lib/test.h"

TEST(what_is_produced_is_read_back) {
        struct broker_fixture f;
        struct broker_client c;
        uint64_t id;

        broker_fixture_init(&f, 1);
        broker_fixture_start(&f);
        broker_client_connect(&c, &f);
        id = broker_client_topic(&c, "a", 1);
        ASSERT_EQ(broker_client_produce(&c, id, 10, 100), 0);
        ASSERT_EQ(broker_client_produce(&c, id, 5, 100), 10);
        ASSERT_EQ(broker_client_read(&c, id, 0), 15);
        ASSERT_EQ(broker_client_read(&c, id, 12), 3);
        broker_client_end(&c);
        broker_fixture_done(&f);
}

TEST(it_stops_and_starts_without_replay) {
        struct broker_fixture f;
        struct broker_client c;
        struct broker_summary summary;
        uint64_t id;

        broker_fixture_init(&f, 1);
        broker_fixture_start(&f);
        broker_client_connect(&c, &f);
        id = broker_client_topic(&c, "a", 1);
        ASSERT_EQ(broker_client_produce(&c, id, 10, 100), 0);
        broker_fixture_stop(&f);
        ASSERT_TRUE(broker_client_wait_end(&c, USEC_PER_SEC));
        broker_client_end(&c);

        broker_fixture_start(&f);
        broker_summary(f.broker, &summary);
        ASSERT_EQ(summary.n_replayed, 0);
        ASSERT_EQ(summary.n_topics, 1);
        broker_client_connect(&c, &f);
        ASSERT_EQ(broker_client_read(&c, id, 0), 10);
        broker_client_end(&c);
        broker_fixture_done(&f);
}
