/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What clients and disks may do to a broker without hurting it: peers that speak garbage, half a
 * frame, or nothing; requests that lie; many that want much at once; some that are gone in the
 * middle; a disk that is full or lies.
 */

#include "base/crc32c.h"
#include "drmqd/core/core.h"
#include "proto/message.h"
#include "tests/lib/broker-fixture.h"
#include "tests/lib/test.h"

#define MIB (UINT64_C(1) << 20)

static void begin(struct broker_fixture *f, struct broker_client *c, uint64_t seed) {
        broker_fixture_init(f, seed);
        broker_fixture_start(f);
        broker_client_connect(c, f);
}

/* Nothing is left of clients that are gone, and the broker still works. */
static void check_is_well(struct broker_fixture *f) {
        struct broker_client c;
        uint64_t id;

        broker_fixture_run(f, 40 * USEC_PER_SEC);
        ASSERT_EQ(f->n_fatal, 0);
        ASSERT_EQ(f->broker->n_conns, 0);
        ASSERT_EQ(f->broker->requests.used_bytes, 0);
        ASSERT_EQ(f->broker->small_requests.used_bytes, 0);
        ASSERT_EQ(f->broker->fetches.used_bytes, 0);
        ASSERT_EQ(f->broker->polls.used_bytes, 0);
        ASSERT_EQ(f->broker->answers.used_bytes, 0);
        ASSERT_TRUE(list_is_empty(&f->broker->all_fetches));
        ASSERT_TRUE(list_is_empty(&f->broker->all_queries));
        ASSERT_TRUE(list_is_empty(&f->broker->topic_changes));
        ASSERT_FALSE(f->broker->topics_are_changing);

        broker_client_connect(&c, f);
        id = broker_client_topic(&c, "well", 1);
        ASSERT_EQ(broker_client_produce(&c, id, 3, 10), 0);
        ASSERT_EQ(broker_client_read(&c, id, 0), 3);
        ASSERT_EQ(broker_client_delete(&c, "well"), DRMQ_ERROR_NONE);
        broker_client_end(&c);
        broker_fixture_run(f, USEC_PER_SEC);
        ASSERT_EQ(f->broker->n_conns, 0);
}

/* ---- Greetings and silence ---- */

TEST(who_speaks_something_else_is_hung_up_on) {
        static const char *const greetings[] = { "EHLO example.org\r\n",
                                                 "DRMX\1\1\0\0",
                                                 "SSH-2.0-OpenSSH\r\n" };
        struct broker_fixture f;

        broker_fixture_init(&f, 1);
        broker_fixture_start(&f);
        for (size_t i = 0; i < ELEMENTSOF(greetings); i++) {
                struct broker_client c;

                broker_client_dial(&c, &f);
                broker_client_bytes(&c, greetings[i], i == 1 ? 8 : strlen(greetings[i]));
                ASSERT_TRUE(broker_client_wait_end(&c, USEC_PER_SEC));
                ASSERT_EQ(c.n_received, 0);
                broker_client_end(&c);
        }
        check_is_well(&f);
        broker_fixture_done(&f);
}

TEST(a_version_that_is_not_known_is_told_so) {
        struct broker_fixture f;
        struct broker_client c;
        uint8_t greeting[GREETING_BYTES];

        broker_fixture_init(&f, 1);
        broker_fixture_start(&f);
        greeting_encode_client(greeting);
        greeting[4] = PROTOCOL_VERSION + 1;
        greeting[5] = PROTOCOL_VERSION + 5;
        broker_client_dial(&c, &f);
        broker_client_bytes(&c, greeting, sizeof(greeting));
        ASSERT_TRUE(broker_client_wait_end(&c, USEC_PER_SEC));
        ASSERT_TRUE(c.is_greeted);
        ASSERT_ERROR(greeting_check(c.greeting), EPROTONOSUPPORT);
        broker_client_end(&c);
        check_is_well(&f);
        broker_fixture_done(&f);
}

TEST(who_says_nothing_is_hung_up_on_after_the_idle_time) {
        struct broker_fixture f;

        broker_fixture_init(&f, 1);
        broker_fixture_start(&f);
        for (size_t n = 0; n < GREETING_BYTES; n++) {
                struct broker_client c, other;
                uint8_t greeting[GREETING_BYTES];

                greeting_encode_client(greeting);
                broker_client_dial(&c, &f);
                broker_client_bytes(&c, greeting, n);
                ASSERT_FALSE(broker_client_wait_end(&c, f.config.idle_usec - USEC_PER_SEC));

                /* Half a greeting costs the others nothing, even if its bytes look like a
                 * length. */
                ASSERT_EQ(f.broker->requests.used_bytes, 0);
                broker_client_connect(&other, &f);
                broker_client_end(&other);
                ASSERT_TRUE(broker_client_wait_end(&c, 2 * USEC_PER_SEC));
                broker_client_end(&c);
        }
        check_is_well(&f);
        broker_fixture_done(&f);
}

TEST(silence_between_requests_is_allowed) {
        struct broker_fixture f;
        struct broker_client c;
        uint64_t id;

        begin(&f, &c, 1);
        id = broker_client_topic(&c, "a", 1);
        for (unsigned i = 0; i < 3; i++) {
                size_t bytes;

                ASSERT_FALSE(broker_client_wait_end(&c, 5 * f.config.idle_usec));
                ASSERT_EQ(broker_client_produce(&c, id, 1, 10), i);
                broker_fixture_run(&f, USEC_PER_SEC);
                bytes = mem_bytes();
                broker_fixture_run(&f, USEC_PER_SEC);
                ASSERT_EQ(mem_bytes(), bytes);
                ASSERT_EQ(frame_reader_held_bytes(
                                  &list_first(&f.broker->conns, struct conn, link)->in),
                          0);
        }
        broker_client_end(&c);
        broker_fixture_done(&f);
}

TEST(a_long_poll_is_no_silence) {
        struct broker_fixture f;
        struct broker_client c, other;
        _cleanup_(broker_reply_freep) struct broker_reply *r = NULL;
        uint64_t id, correlation;

        begin(&f, &c, 1);
        broker_client_connect(&other, &f);
        id = broker_client_topic(&c, "a", 1);
        correlation = broker_client_send_fetch(&c, id, 0, 600000, 0);
        ASSERT_FALSE(broker_client_wait_end(&c, 5 * f.config.idle_usec));
        ASSERT_NULL(broker_client_take(&c, correlation));
        (void) broker_client_produce(&other, id, 7, 10);
        r = broker_client_wait(&c, correlation);
        ASSERT_EQ(broker_reply_count(r, id, 0), 7);
        broker_client_end(&other);
        broker_client_end(&c);
        broker_fixture_done(&f);
}

TEST(half_a_frame_and_then_nothing_ends_the_connection) {
        static const size_t missing[] = { 1, 2000, 2031 };
        struct broker_fixture f;

        broker_fixture_init(&f, 1);
        broker_fixture_start(&f);
        for (size_t i = 0; i < ELEMENTSOF(missing); i++) {
                uint8_t *table = calloc(1, 2000);
                struct broker_client c;

                broker_client_connect(&c, &f);
                broker_client_send(&c, FRAME_STATUS, NULL, table, 2000, NULL, 0);
                ASSERT_EQ(c.n_bytes, 2032);
                broker_client_hold(&c, missing[i]);
                ASSERT_FALSE(broker_client_wait_end(&c, f.config.idle_usec - USEC_PER_SEC));
                ASSERT_TRUE(broker_client_wait_end(&c, 2 * USEC_PER_SEC));
                broker_client_end(&c);
                free(table);
        }
        check_is_well(&f);
        broker_fixture_done(&f);
}

TEST(a_frame_that_goes_on_is_waited_for) {
        const size_t n_table = 8 * MIB;
        struct broker_fixture f;
        struct broker_client c;
        _cleanup_(broker_reply_freep) struct broker_reply *r = NULL;
        uint8_t *table = calloc(1, n_table);

        begin(&f, &c, 1);
        broker_client_send(&c, FRAME_STATUS, NULL, table, n_table, NULL, 0);
        for (unsigned i = 10; i > 0; i--) {
                broker_client_hold(&c, (c.n_bytes - c.n_sent) / 2);
                ASSERT_FALSE(broker_client_wait_end(&c, f.config.idle_usec - USEC_PER_SEC));
                broker_client_release(&c);
        }
        r = broker_client_wait(&c, c.correlation);
        ASSERT_EQ(r->frame.type, FRAME_STATUS);
        free(table);
        broker_client_end(&c);
        check_is_well(&f);
        broker_fixture_done(&f);
}

/* A byte now and then is progress, and would hold the frame's budget for ever. */
TEST(a_frame_that_trickles_is_not_waited_for) {
        const size_t n_table = 64 * 1024;
        struct broker_fixture f;
        struct broker_client c;
        uint8_t *table = calloc(1, n_table);
        unsigned n_turns = 0;
        bool has_ended = false;

        begin(&f, &c, 1);
        broker_client_send(&c, FRAME_STATUS, NULL, table, n_table, NULL, 0);
        while (!has_ended && n_turns < 100) {
                broker_client_hold(&c, c.n_bytes - c.n_sent - 100);
                has_ended = broker_client_wait_end(&c, f.config.idle_usec / 4);
                broker_client_release(&c);
                n_turns++;
        }
        ASSERT_TRUE(has_ended);
        ASSERT_GE(n_turns, 4);
        ASSERT_LE(n_turns, 6); /* the idle time, and 4 s for its 64 KiB */
        ASSERT_EQ(f.broker->requests.used_bytes, 0);
        free(table);
        broker_client_end(&c);
        check_is_well(&f);
        broker_fixture_done(&f);
}

/* Each holds the begin of a small frame: neither charged, nor with a buffer of its own for long. */
TEST(many_halves_of_small_frames_hold_little_memory) {
        static struct broker_client clients[1000];
        uint8_t prelude[FRAME_PRELUDE_BYTES] = {};
        struct broker_fixture f;
        size_t before, held;

        broker_fixture_init(&f, 5);
        broker_fixture_start(&f);
        le32_store(prelude, 3000);
        le32_store(prelude + 4, 1000);
        before = mem_bytes();
        for (size_t i = 0; i < ELEMENTSOF(clients); i++) {
                broker_client_connect(&clients[i], &f);
                broker_client_bytes(&clients[i], prelude, 20);
                frame_reader_trim(&clients[i].in);
        }
        broker_fixture_run(&f, USEC_PER_SEC);
        ASSERT_EQ(f.broker->n_conns, ELEMENTSOF(clients));
        held = mem_bytes() - before;
        ASSERT_LT(held, 17 * MIB + ELEMENTSOF(clients) * 8192);

        /* Nobody is kept out meanwhile, and when they have gone nothing is left. */
        broker_client_end(&clients[0]);
        broker_client_connect(&clients[0], &f);
        ASSERT_NE(broker_client_topic(&clients[0], "a", 1), 0);
        for (size_t i = 0; i < ELEMENTSOF(clients); i++)
                broker_client_end(&clients[i]);
        check_is_well(&f);
        ASSERT_EQ(f.broker->held_bytes, 0);
        broker_fixture_done(&f);
}

/* ---- Frames that lie ---- */

static void seal_prelude(uint8_t p[static FRAME_PRELUDE_BYTES]) {
        le32_store(p + 28, crc32c(0, p, 28));
}

TEST(a_frame_that_breaks_the_rules_ends_its_connection_alone) {
        static const struct {
                uint32_t length, n_header, n_table;
                uint16_t flags;
                uint32_t zero;
                bool has_bad_checksum;
        } bad[] = {
                { .length = UINT32_MAX },
                { .length = REQUEST_BYTES_MAX + FRAME_PRELUDE_BYTES + 1 },
                { .length = 0 },
                { .length = FRAME_PRELUDE_BYTES - 1 },
                { .length = FRAME_PRELUDE_BYTES, .n_header = 1 },
                { .length = FRAME_PRELUDE_BYTES, .n_table = 1 },
                { .length = FRAME_PRELUDE_BYTES + 8, .n_header = 4, .n_table = UINT32_MAX },
                { .length = FRAME_PRELUDE_BYTES + 8, .n_header = UINT32_MAX, .n_table = 4 },
                { .length = FRAME_PRELUDE_BYTES, .flags = 2 },
                { .length = FRAME_PRELUDE_BYTES, .flags = FRAME_ANSWER },
                { .length = FRAME_PRELUDE_BYTES, .zero = 1 },
                { .length = FRAME_PRELUDE_BYTES, .has_bad_checksum = true },
        };
        struct broker_fixture f;
        struct broker_client other;
        uint64_t id;

        begin(&f, &other, 1);
        id = broker_client_topic(&other, "a", 1);
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                uint8_t p[FRAME_PRELUDE_BYTES] = {};
                struct broker_client c;

                le32_store(p, bad[i].length);
                le32_store(p + 4, bad[i].n_header);
                le32_store(p + 8, bad[i].n_table);
                le16_store(p + 12, FRAME_STATUS);
                le16_store(p + 14, bad[i].flags);
                le32_store(p + 24, bad[i].zero);
                seal_prelude(p);
                p[28] ^= bad[i].has_bad_checksum;
                broker_client_connect(&c, &f);
                broker_client_bytes(&c, p, sizeof(p));
                ASSERT_TRUE(broker_client_wait_end(&c, USEC_PER_SEC));
                ASSERT_EQ(f.broker->requests.used_bytes, 0);
                broker_client_end(&c);
                (void) broker_client_produce(&other, id, 1, 10);
        }
        ASSERT_LT(f.broker->requests.peak_bytes, 1000);
        broker_client_end(&other);
        check_is_well(&f);
        broker_fixture_done(&f);
}

TEST(an_unknown_type_is_answered_and_the_connection_goes_on) {
        static const uint16_t types[] = { FRAME_ERROR, _FRAME_TYPE_MAX, UINT16_MAX };
        struct broker_fixture f;
        struct broker_client c;

        begin(&f, &c, 1);
        for (size_t i = 0; i < ELEMENTSOF(types); i++) {
                struct broker_reply *r = broker_client_wait(
                        &c, broker_client_send(&c, types[i], NULL, NULL, 0, NULL, 0));

                ASSERT_EQ(broker_reply_error(r), DRMQ_ERROR_UNKNOWN_TYPE);
                broker_reply_free(r);
        }
        message_free(broker_client_status(&c));
        broker_client_end(&c);
        broker_fixture_done(&f);
}

/* Bytes that are no protobuf, to every type: an answer each, and nothing breaks. */
TEST(a_header_that_is_no_message_is_refused) {
        struct broker_fixture f;
        struct broker_client c;
        static const uint8_t garbage[] = { 0xff, 0xff, 0xff, 0xff, 0x0f, 0x01 };

        begin(&f, &c, 1);
        for (uint16_t type = FRAME_METADATA; type < FRAME_STATUS; type++) {
                uint8_t p[FRAME_PRELUDE_BYTES] = {};
                struct broker_reply *r;

                le32_store(p, sizeof(p) + sizeof(garbage));
                le32_store(p + 4, sizeof(garbage));
                le16_store(p + 12, type);
                le64_store(p + 16, ++c.correlation);
                le32_store(p + 28, crc32c(crc32c(0, p, 28), garbage, sizeof(garbage)));
                broker_client_bytes(&c, p, sizeof(p));
                broker_client_bytes(&c, garbage, sizeof(garbage));
                r = broker_client_wait(&c, c.correlation);
                ASSERT_EQ(broker_reply_error(r), DRMQ_ERROR_MALFORMED);
                broker_reply_free(r);
        }
        broker_client_end(&c);
        check_is_well(&f);
        broker_fixture_done(&f);
}

static enum drmq_error produce_raw(struct broker_client *c,
                                   const void *table,
                                   size_t table_bytes,
                                   const void *body,
                                   size_t body_bytes) {
        Drmq__Proto__ProduceRequest q = DRMQ__PROTO__PRODUCE_REQUEST__INIT;
        _cleanup_(broker_reply_freep) struct broker_reply *r = NULL;
        struct buf *b = buf_new(body_bytes);
        struct slice s;

        ASSERT_NOT_NULL(b);
        if (body_bytes > 0)
                memcpy(b->data, body, body_bytes);
        s = slice_of(b, b->data, body_bytes);
        r = broker_client_wait(
                c,
                broker_client_send(c, FRAME_PRODUCE, &q, table, table_bytes, &s, body_bytes > 0));
        slice_done(&s);
        buf_unref(b);
        return r->frame.type == FRAME_ERROR
                       ? broker_reply_error(r)
                       : (enum drmq_error) le32_get(broker_reply_result(r, 0)->error);
}

TEST(tables_that_do_not_fit_their_bodies_are_refused) {
        struct broker_fixture f;
        struct broker_client c;
        struct produce_slice rows[2] = {};
        struct slice batch = broker_batch(-1, -1, -1, 2, 50);
        uint8_t twice[1000];
        uint64_t id;

        begin(&f, &c, 1);
        id = broker_client_topic(&c, "a", 1);
        rows[0].partition_id = rows[1].partition_id = le64_of(id);
        memcpy(twice, batch.data, batch.size);
        memcpy(twice + batch.size, batch.data, batch.size);

        ASSERT_EQ(produce_raw(&c, NULL, 0, NULL, 0), DRMQ_ERROR_MALFORMED);
        ASSERT_EQ(produce_raw(&c, rows, sizeof(rows[0]) - 1, batch.data, batch.size),
                  DRMQ_ERROR_MALFORMED);
        ASSERT_EQ(produce_raw(&c, rows, sizeof(rows[0]) + 1, batch.data, batch.size),
                  DRMQ_ERROR_MALFORMED);
        rows[0].batch_bytes = le32_of((uint32_t) batch.size - 1);
        ASSERT_EQ(produce_raw(&c, rows, sizeof(rows[0]), batch.data, batch.size),
                  DRMQ_ERROR_MALFORMED);
        rows[0].batch_bytes = le32_of((uint32_t) batch.size + 1);
        ASSERT_EQ(produce_raw(&c, rows, sizeof(rows[0]), batch.data, batch.size),
                  DRMQ_ERROR_MALFORMED);
        rows[0].batch_bytes = le32_of(UINT32_MAX);
        ASSERT_EQ(produce_raw(&c, rows, sizeof(rows[0]), batch.data, batch.size),
                  DRMQ_ERROR_MALFORMED);
        /* two lengths that add up to the body, modulo 2^32 */
        rows[0].batch_bytes = le32_of((uint32_t) batch.size);
        rows[1].batch_bytes =
                le32_of(UINT32_MAX - (uint32_t) batch.size + 1 + (uint32_t) batch.size);
        ASSERT_EQ(produce_raw(&c, rows, sizeof(rows), batch.data, batch.size), DRMQ_ERROR_NONE);
        /* two batches in one row */
        rows[0].batch_bytes = le32_of((uint32_t) (2 * batch.size));
        ASSERT_EQ(produce_raw(&c, rows, sizeof(rows[0]), twice, 2 * batch.size),
                  DRMQ_ERROR_CORRUPT_BATCH);
        /* an empty one */
        rows[0].batch_bytes = le32_of(0);
        ASSERT_EQ(produce_raw(&c, rows, sizeof(rows[0]), NULL, 0), DRMQ_ERROR_CORRUPT_BATCH);

        ASSERT_EQ(broker_client_read(&c, id, 0), 2);
        slice_done(&batch);
        broker_client_end(&c);
        check_is_well(&f);
        broker_fixture_done(&f);
}

TEST(every_flipped_bit_of_a_batch_is_seen) {
        struct broker_fixture f;
        struct broker_client c;
        struct produce_slice row = {};
        struct slice batch = broker_batch(-1, -1, -1, 2, 10);
        uint64_t id, n_good = 0;

        begin(&f, &c, 1);
        id = broker_client_topic(&c, "a", 1);
        row.partition_id = le64_of(id);
        row.batch_bytes = le32_of((uint32_t) batch.size);
        for (size_t at = 0; at < batch.size; at++) {
                uint8_t copy[256];
                enum drmq_error e;

                memcpy(copy, batch.data, batch.size);
                copy[at] ^= (uint8_t) (1u << at % 8);
                e = produce_raw(&c, &row, sizeof(row), copy, batch.size);
                if (at < 8 || (at >= 12 && at < 16))
                        n_good += e ==
                                  /* base offset and epoch are the broker's to give */
                                  DRMQ_ERROR_NONE;
                else
                        ASSERT_NE(e, DRMQ_ERROR_NONE);
        }
        ASSERT_EQ(broker_client_read(&c, id, 0), 2 * n_good);
        slice_done(&batch);
        broker_client_end(&c);
        broker_fixture_done(&f);
}

/* Any bytes at all, to a broker that has been greeted: it may hang up, no more. */
TEST(random_bytes_hurt_nobody) {
        struct broker_fixture f;
        struct random random;

        broker_fixture_init(&f, 1);
        broker_fixture_start(&f);
        random_init(&random, 99);
        for (unsigned i = 0; i < 200; i++) {
                struct broker_client c;
                uint8_t bytes[600];
                size_t n = random_between(&random, 1, sizeof(bytes)), at = 0;

                broker_client_connect(&c, &f);
                random_bytes(&random, bytes, sizeof(bytes));
                /* Half of them are good preludes at least. */
                while (i % 2 == 0 && at + FRAME_PRELUDE_BYTES + 32 < n) {
                        size_t k = random_between(&random, 0, 32),
                               n_table = random_between(&random, 0, k);

                        memset(bytes + at, 0, FRAME_PRELUDE_BYTES);
                        le32_store(bytes + at, (uint32_t) (FRAME_PRELUDE_BYTES + k));
                        le32_store(bytes + at + 4, (uint32_t) (k - n_table));
                        le32_store(bytes + at + 8, (uint32_t) n_table);
                        le16_store(bytes + at + 12,
                                   (uint16_t) random_between(&random, 0, _FRAME_TYPE_MAX));
                        le32_store(bytes + at + 28,
                                   crc32c(crc32c(0, bytes + at, 28),
                                          bytes + at + FRAME_PRELUDE_BYTES,
                                          k));
                        at += FRAME_PRELUDE_BYTES + k;
                }
                broker_client_bytes(&c, bytes, n);
                broker_fixture_run(&f, 100 * USEC_PER_MSEC);
                broker_client_end(&c);
        }
        check_is_well(&f);
        broker_fixture_done(&f);
}

/* ---- Budgets ---- */

TEST(many_large_requests_share_one_budget_and_all_finish) {
        static struct broker_client clients[24];
        struct broker_fixture f;
        size_t n_theirs = 0;
        uint64_t id, n = 0;

        broker_fixture_init(&f, 5);
        f.config.request_budget_bytes = 2 * MIB;
        broker_fixture_start(&f);
        broker_client_connect(&clients[0], &f);
        id = broker_client_topic(&clients[0], "a", 1);
        for (size_t i = 1; i < ELEMENTSOF(clients); i++)
                broker_client_connect(&clients[i], &f);

        /* All of them begin, and keep back the last bytes. */
        for (size_t i = 0; i < ELEMENTSOF(clients); i++) {
                struct slice batch = broker_batch(-1, -1, -1, 1, 300000 + i * 10000);

                broker_client_send_produce(
                        &clients[i], &(struct broker_produce){ id, batch }, 1, /* atomic= */ false);
                broker_client_hold(&clients[i], 10);
        }
        broker_fixture_run(&f, USEC_PER_SEC);
        ASSERT_GT(f.broker->requests.used_bytes, MIB);
        ASSERT_LE(f.broker->requests.peak_bytes, 2 * MIB);
        for (size_t i = 0; i < ELEMENTSOF(clients); i++)
                n_theirs += clients[i].n_allocated;
        ASSERT_LT(mem_bytes() - n_theirs, 6 * MIB);

        for (size_t i = 0; i < ELEMENTSOF(clients); i++)
                broker_client_release(&clients[i]);
        for (size_t i = 0; i < ELEMENTSOF(clients); i++) {
                struct broker_reply *r = broker_client_wait(&clients[i], clients[i].correlation);

                ASSERT_EQ(le32_get(broker_reply_result(r, 0)->error), DRMQ_ERROR_NONE);
                broker_reply_free(r);
                n++;
        }
        ASSERT_LE(f.broker->requests.peak_bytes, 2 * MIB);
        ASSERT_EQ(broker_client_read(&clients[0], id, 0), n);
        for (size_t i = 0; i < ELEMENTSOF(clients); i++)
                broker_client_end(&clients[i]);
        check_is_well(&f);
        broker_fixture_done(&f);
}

TEST(who_holds_the_budget_and_falls_silent_loses_it) {
        struct broker_client holders[3], honest;
        struct broker_fixture f;
        _cleanup_(broker_reply_freep) struct broker_reply *r = NULL;
        uint64_t id;

        broker_fixture_init(&f, 5);
        f.config.request_budget_bytes = 3 * MIB;
        broker_fixture_start(&f);
        broker_client_connect(&honest, &f);
        id = broker_client_topic(&honest, "a", 1);
        for (size_t i = 0; i < ELEMENTSOF(holders); i++) {
                broker_client_connect(&holders[i], &f);
                broker_client_send_produce(
                        &holders[i],
                        &(struct broker_produce){ id, broker_batch(-1, -1, -1, 1, MIB - 2000) },
                        1,
                        /* atomic= */ false);
                broker_client_hold(&holders[i], 10);
        }
        broker_fixture_run(&f, USEC_PER_SEC);
        ASSERT_GT(f.broker->requests.used_bytes, 3 * MIB - 10000);

        /* What is small has its answer all the same. */
        (void) broker_client_send(&honest, FRAME_STATUS, NULL, NULL, 0, NULL, 0);
        broker_reply_free(broker_client_wait(&honest, honest.correlation));
        ASSERT_EQ(broker_client_produce(&honest, id, 1, 100), 0);

        /* It has to wait longer than the idle time, and that is not its fault. */
        broker_client_send_produce(
                &honest,
                &(struct broker_produce){ id, broker_batch(-1, -1, -1, 1, MIB / 2) },
                1,
                /* atomic= */ false);
        broker_fixture_run(&f, 20 * USEC_PER_SEC);
        ASSERT_NULL(broker_client_take(&honest, honest.correlation));
        broker_fixture_run(&f, 12 * USEC_PER_SEC);
        for (size_t i = 0; i < ELEMENTSOF(holders); i++) {
                ASSERT_TRUE(holders[i].has_ended);
                broker_client_end(&holders[i]);
        }
        r = broker_client_take(&honest, honest.correlation);
        ASSERT_NOT_NULL(r);
        ASSERT_EQ(le32_get(broker_reply_result(r, 0)->error), DRMQ_ERROR_NONE);
        broker_client_end(&honest);
        check_is_well(&f);
        broker_fixture_done(&f);
}

/* Nothing else happens than that it is closed, and who waits goes on at once. */
TEST(the_last_one_to_lose_the_budget_wakes_who_waits) {
        struct broker_client holder, honest;
        struct broker_fixture f;
        struct broker_reply *r;
        uint64_t id;

        broker_fixture_init(&f, 5);
        f.config.request_budget_bytes = MIB;
        broker_fixture_start(&f);
        broker_client_connect(&honest, &f);
        id = broker_client_topic(&honest, "a", 1);
        broker_client_connect(&holder, &f);
        broker_client_send_produce(
                &holder,
                &(struct broker_produce){ id, broker_batch(-1, -1, -1, 1, MIB - 2000) },
                1,
                /* atomic= */ false);
        broker_client_hold(&holder, 10);
        broker_fixture_run(&f, 25 * USEC_PER_SEC);
        broker_client_send_produce(
                &honest,
                &(struct broker_produce){ id, broker_batch(-1, -1, -1, 1, MIB / 2) },
                1,
                /* atomic= */ false);
        ASSERT_TRUE(broker_client_wait_end(&holder, 10 * USEC_PER_SEC));
        ASSERT_NULL(broker_client_take(&honest, honest.correlation));
        broker_fixture_run(&f, 2 * USEC_PER_SEC);
        r = broker_client_take(&honest, honest.correlation);
        ASSERT_NOT_NULL(r);
        ASSERT_EQ(le32_get(broker_reply_result(r, 0)->error), DRMQ_ERROR_NONE);
        broker_reply_free(r);
        broker_client_end(&holder);
        broker_client_end(&honest);
        check_is_well(&f);
        broker_fixture_done(&f);
}

static uint64_t send_large(struct broker_client *c, uint64_t id, size_t n_bytes) {
        return broker_client_send_produce(
                c,
                &(struct broker_produce){ id, broker_batch(-1, -1, -1, 1, n_bytes) },
                1,
                /* atomic= */ false);
}

/* It came first, and needs nearly all of the budget: those that came later, of which there is always
 * one that would fit, wait behind it. */
TEST(a_large_request_is_not_overtaken_for_ever) {
        struct broker_client large, clients[2];
        struct broker_fixture f;
        struct broker_reply *r = NULL;
        uint64_t id, correlation;

        broker_fixture_init(&f, 5);
        f.config.request_budget_bytes = MIB;
        broker_fixture_start(&f);
        broker_client_connect(&large, &f);
        id = broker_client_topic(&large, "a", 1);
        for (size_t i = 0; i < ELEMENTSOF(clients); i++) {
                broker_client_connect(&clients[i], &f);
                (void) send_large(&clients[i], id, 400000);
                broker_client_hold(&clients[i], 10);
        }
        broker_fixture_run(&f, USEC_PER_SEC);
        correlation = send_large(&large, id, 900000);
        broker_fixture_run(&f, USEC_PER_SEC);
        ASSERT_FALSE(list_is_empty(&f.broker->paused_conns));

        /* In turns, so that one of them always is under way. */
        for (unsigned i = 0; i < 20 && !r; i++) {
                struct broker_client *c = &clients[i % 2];

                broker_client_release(c);
                broker_fixture_run(&f, 100 * USEC_PER_MSEC);
                r = broker_client_take(c, c->correlation);
                if (r) {
                        broker_reply_free(r);
                        (void) send_large(c, id, 400000);
                        broker_client_hold(c, 10);
                }
                broker_fixture_run(&f, 100 * USEC_PER_MSEC);
                r = broker_client_take(&large, correlation);
        }
        ASSERT_NOT_NULL(r);
        ASSERT_EQ(le32_get(broker_reply_result(r, 0)->error), DRMQ_ERROR_NONE);
        broker_reply_free(r);
        ASSERT_LE(f.broker->requests.peak_bytes, MIB);
        broker_client_end(&large);
        for (size_t i = 0; i < ELEMENTSOF(clients); i++)
                broker_client_end(&clients[i]);
        check_is_well(&f);
        broker_fixture_done(&f);
}

/* They have an eighth beside the budget, which large ones hold here. */
TEST(small_requests_share_a_budget_of_their_own) {
        static struct broker_client clients[100];
        struct broker_client holder;
        struct broker_fixture f;
        uint64_t id;

        broker_fixture_init(&f, 5);
        f.config.request_budget_bytes = MIB;
        broker_fixture_start(&f);
        broker_client_connect(&holder, &f);
        id = broker_client_topic(&holder, "a", 1);
        (void) send_large(&holder, id, MIB - 2000);
        broker_client_hold(&holder, 10);
        for (size_t i = 0; i < ELEMENTSOF(clients); i++) {
                broker_client_connect(&clients[i], &f);
                for (unsigned k = 0; k < 10; k++)
                        (void) send_large(&clients[i], id, 3000);
        }
        for (size_t i = 0; i < ELEMENTSOF(clients); i++)
                for (unsigned k = 0; k < 10; k++) {
                        struct broker_reply *r =
                                broker_client_wait(&clients[i], clients[i].correlation - k);

                        ASSERT_EQ(le32_get(broker_reply_result(r, 0)->error), DRMQ_ERROR_NONE);
                        broker_reply_free(r);
                }
        ASSERT_GT(f.broker->requests.used_bytes, MIB - 2000);
        ASSERT_GE(f.broker->small_requests.peak_bytes, MIB / 8);
        ASSERT_LE(f.broker->small_requests.peak_bytes, MIB / 8 + 4096);
        broker_client_end(&holder);
        for (size_t i = 0; i < ELEMENTSOF(clients); i++)
                broker_client_end(&clients[i]);
        check_is_well(&f);
        broker_fixture_done(&f);
}

TEST(a_connection_has_so_many_requests_under_way_and_the_rest_follow) {
        struct broker_fixture f;
        struct broker_client c, other;
        uint64_t id, first, n = REQUESTS_PER_CONNECTION_DEFAULT + 100;

        begin(&f, &c, 3);
        broker_client_connect(&other, &f);
        id = broker_client_topic(&c, "a", 1);
        first = c.correlation + 1;
        for (uint64_t i = 0; i < n; i++)
                broker_client_send_fetch(&c, id, 0, 600000, 1000);
        broker_fixture_run(&f,
                           2 * f.config.idle_usec); /* it is the broker that does not take them */
        ASSERT_FALSE(c.has_ended);
        ASSERT_EQ(list_first(&f.broker->conns, struct conn, link)->n_requests,
                  REQUESTS_PER_CONNECTION_DEFAULT);

        (void) broker_client_produce(&other, id, 1, 10);
        for (uint64_t i = 0; i < n; i++) {
                struct broker_reply *r = broker_client_wait(&c, first + i);

                ASSERT_EQ(broker_reply_count(r, id, 0), 1);
                broker_reply_free(r);
        }

        /* And now it is idle, which is allowed. */
        broker_fixture_run(&f, 3 * f.config.idle_usec);
        ASSERT_FALSE(c.has_ended);
        ASSERT_EQ(broker_client_read(&c, id, 0), 1);
        broker_client_end(&c);
        broker_client_end(&other);
        check_is_well(&f);
        broker_fixture_done(&f);
}

TEST(a_large_answer_does_not_hide_the_request_behind_it) {
        struct broker_fixture f;
        struct broker_client c;
        struct broker_reply *r;
        uint64_t id, first;

        broker_fixture_init(&f, 3);
        sim_world_net(f.world)->config.window_bytes = 64 * MIB; /* all of it goes out at once */
        f.config.segment_bytes = 16 * MIB;
        broker_fixture_start(&f);
        broker_client_connect(&c, &f);
        id = broker_client_topic(&c, "a", 1);
        for (unsigned i = 0; i < 6; i++)
                (void) broker_client_produce(&c, id, 1, MIB);

        first = broker_client_send_fetch(&c, id, 0, 0, 0);
        (void) broker_client_send(&c, FRAME_STATUS, NULL, NULL, 0, NULL, 0);
        broker_fixture_run(&f, 5 * USEC_PER_SEC);
        r = broker_client_take(&c, first);
        ASSERT_NOT_NULL(r);
        ASSERT_GT(r->frame.body.size, CONNECTION_OUT_BYTES_DEFAULT);
        broker_reply_free(r);
        r = broker_client_take(&c, first + 1);
        ASSERT_NOT_NULL(r);
        broker_reply_free(r);
        broker_client_end(&c);
        check_is_well(&f);
        broker_fixture_done(&f);
}

TEST(long_polls_hold_next_to_no_memory) {
        static struct broker_client clients[200];
        struct broker_fixture f;
        size_t before;
        uint64_t id;

        broker_fixture_init(&f, 5);
        broker_fixture_start(&f);
        broker_client_connect(&clients[0], &f);
        id = broker_client_topic(&clients[0], "a", 1);
        broker_client_end(&clients[0]);
        broker_fixture_run(&f, USEC_PER_SEC);

        before = mem_bytes();
        for (size_t i = 0; i < ELEMENTSOF(clients); i++) {
                broker_client_connect(&clients[i], &f);
                broker_client_send_fetch(&clients[i], id, 0, 600000, 0);
        }
        broker_fixture_run(&f, USEC_PER_SEC);
        ASSERT_EQ(f.broker->n_conns, ELEMENTSOF(clients));
        ASSERT_EQ(f.broker->fetches.used_bytes, 0);
        for (size_t i = 0; i < ELEMENTSOF(clients); i++) { /* theirs is not the broker's */
                ASSERT_NULL(broker_client_take(&clients[i], clients[i].correlation));
                frame_reader_trim(&clients[i].in);
                clients[i].bytes = mem_free(clients[i].bytes);
                clients[i].n_allocated = clients[i].n_bytes = clients[i].n_sent = 0;
        }
        ASSERT_LT((mem_bytes() - before) / ELEMENTSOF(clients), 2500);
        for (size_t i = 0; i < ELEMENTSOF(clients); i++)
                broker_client_end(&clients[i]);
        check_is_well(&f);
        broker_fixture_done(&f);
}

/* Each names a thousand partitions; together they take many times the budget of requests. */
TEST(long_polls_past_their_limit_are_answered_and_keep_nobody_out) {
        static struct fetch_want wants[1000];
        struct broker_client poller, other;
        struct broker_fixture f;
        Drmq__Proto__FetchRequest fetch = DRMQ__PROTO__FETCH_REQUEST__INIT;
        Drmq__Proto__FetchResponse *answer;
        unsigned n_answered = 0;
        uint64_t id;

        broker_fixture_init(&f, 5);
        f.config.request_budget_bytes = f.config.poll_budget_bytes = MIB;
        broker_fixture_start(&f);
        broker_client_connect(&other, &f);
        id = broker_client_topic(&other, "a", 1);
        for (size_t i = 0; i < ELEMENTSOF(wants); i++)
                wants[i] = (struct fetch_want){ .partition_id = le64_of(id) };
        fetch.wait_ms = 600000;
        broker_client_connect(&poller, &f);
        for (unsigned i = 0; i < 100; i++)
                (void) broker_client_send(
                        &poller, FRAME_FETCH, &fetch, wants, sizeof(wants), NULL, 0);
        broker_fixture_run(&f, USEC_PER_SEC);
        ASSERT_EQ(f.broker->requests.used_bytes, 0);
        ASSERT_GT(f.broker->polls.used_bytes, MIB / 2);
        ASSERT_LE(f.broker->polls.used_bytes, MIB);

        for (uint64_t i = poller.correlation - 99; i <= poller.correlation; i++) {
                _cleanup_(broker_reply_freep) struct broker_reply *r =
                        broker_client_take(&poller, i);

                if (!r)
                        continue;
                answer = broker_reply_message(
                        r, FRAME_FETCH, &drmq__proto__fetch_response__descriptor);
                ASSERT_EQ(r->frame.body.size, 0);
                answer = message_free(answer);
                n_answered++;
        }
        ASSERT_GT(n_answered, 50);
        ASSERT_LT(n_answered, 100);

        /* What they wait for comes: all of them are answered, and nothing stays charged. */
        (void) broker_client_produce(&other, id, 1, 10);
        broker_fixture_run(&f, USEC_PER_SEC);
        for (uint64_t i = poller.correlation - 99; i <= poller.correlation; i++) {
                struct broker_reply *r = broker_client_take(&poller, i);

                if (r) {
                        n_answered++;
                        broker_reply_free(r);
                }
        }
        ASSERT_EQ(n_answered, 100);
        ASSERT_EQ(f.broker->polls.used_bytes, 0);

        /* Nor where who polls goes away. */
        (void) broker_client_send_fetch(&poller, id, 1, 600000, 0);
        broker_fixture_run(&f, USEC_PER_SEC);
        ASSERT_GT(f.broker->polls.used_bytes, 0);
        broker_client_end(&poller);
        broker_fixture_run(&f, USEC_PER_SEC);
        ASSERT_EQ(f.broker->polls.used_bytes, 0);
        broker_client_end(&other);
        check_is_well(&f);
        broker_fixture_done(&f);
}

/* Partitions that would take 60 GB: it is refused before that is asked for. */
TEST(metadata_that_would_not_fit_an_answer_takes_no_memory) {
        static char *names[100000];
        Drmq__Proto__MetadataRequest q = DRMQ__PROTO__METADATA_REQUEST__INIT;
        struct broker_client c;
        struct broker_fixture f;
        struct broker_reply *r;

        broker_fixture_init(&f, 5);
        broker_fixture_start(&f);
        broker_client_connect(&c, &f);
        (void) broker_client_topic(&c, "wide", 10000);
        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                names[i] = (char *) "wide";
        q.topic = names;
        q.n_topic = ELEMENTSOF(names);

        (void) broker_client_send(&c, FRAME_METADATA, &q, NULL, 0, NULL, 0);
        r = broker_client_wait(&c, c.correlation);
        ASSERT_EQ(broker_reply_error(r), DRMQ_ERROR_TOO_LARGE);
        broker_reply_free(r);
        broker_client_end(&c);
        check_is_well(&f);
        broker_fixture_done(&f);
}

TEST(a_reader_that_does_not_read_costs_one_answer) {
        struct broker_fixture f;
        struct broker_client deaf, other;
        uint64_t id;

        broker_fixture_init(&f, 3);
        f.config.fetch_budget_bytes = 8 * MIB;
        broker_fixture_start(&f);
        broker_client_connect(&deaf, &f);
        broker_client_connect(&other, &f);
        id = broker_client_topic(&other, "a", 1);
        for (unsigned i = 0; i < 20; i++)
                (void) broker_client_produce(&other, id, 1, MIB / 2);

        deaf.is_deaf = true;
        for (unsigned i = 0; i < 100; i++)
                broker_client_send_fetch(&deaf, id, 0, 0, 2 * MIB);
        broker_fixture_run(&f, 10 * USEC_PER_SEC);
        ASSERT_GT(f.broker->fetches.used_bytes, MIB); /* it is charged until it is sent */
        ASSERT_LE(f.broker->fetches.used_bytes, 4 * MIB);
        ASSERT_LT(mem_bytes(), 24 * MIB);
        ASSERT_EQ(broker_client_read(&other, id, 0), 20);
        message_free(broker_client_status(&other));

        broker_client_end(&deaf);
        broker_client_end(&other);
        check_is_well(&f);
        broker_fixture_done(&f);
}

/* Each holds what it may, and there is a share for the next one all the same. */
TEST(readers_that_do_not_read_leave_a_share_to_the_others) {
        struct broker_client deaf[12], other;
        struct broker_fixture f;
        uint64_t id;

        broker_fixture_init(&f, 3);
        f.config.fetch_budget_bytes = 4 * MIB;
        broker_fixture_start(&f);
        broker_client_connect(&other, &f);
        id = broker_client_topic(&other, "a", 1);
        for (unsigned i = 0; i < 80; i++)
                (void) broker_client_produce(&other, id, 1, 60000);
        for (size_t i = 0; i < ELEMENTSOF(deaf); i++) {
                broker_client_connect(&deaf[i], &f);
                deaf[i].is_deaf = true;
                for (unsigned k = 0; k < 4; k++)
                        broker_client_send_fetch(&deaf[i], id, 0, 0, 4 * MIB);
        }
        broker_fixture_run(&f, 2 * USEC_PER_SEC);
        ASSERT_GT(f.broker->fetches.used_bytes, 3 * MIB);
        ASSERT_LE(f.broker->fetches.peak_bytes, 5 * MIB);

        for (unsigned i = 0; i < 4; i++) {
                const uint64_t correlation = broker_client_send_fetch(&other, id, 0, 0, 4 * MIB);
                struct broker_reply *r;

                broker_fixture_run(&f, 100 * USEC_PER_MSEC);
                r = broker_client_take(&other, correlation);
                ASSERT_NOT_NULL(r);
                ASSERT_GE(broker_reply_count(r, id, 0), 1);
                broker_reply_free(r);
        }
        ASSERT_EQ(f.broker->n_conns, ELEMENTSOF(deaf) + 1);
        for (size_t i = 0; i < ELEMENTSOF(deaf); i++)
                broker_client_end(&deaf[i]);
        ASSERT_EQ(broker_client_read(&other, id, 0), 80);
        broker_client_end(&other);
        check_is_well(&f);
        broker_fixture_done(&f);
}

/* With batches that are larger than any share they hold all there is; but not for long, where others
 * wait, and as long as they like to, up to the idle time, where nobody does. */
TEST(readers_that_do_not_read_lose_what_others_wait_for) {
        struct broker_client deaf[12], other;
        struct broker_fixture f;
        struct broker_reply *r;
        uint64_t id, correlation;

        broker_fixture_init(&f, 3);
        f.config.fetch_budget_bytes = 4 * MIB;
        broker_fixture_start(&f);
        broker_client_connect(&other, &f);
        id = broker_client_topic(&other, "a", 1);
        for (unsigned i = 0; i < 10; i++)
                (void) broker_client_produce(&other, id, 1, MIB / 2);
        for (size_t i = 0; i < 6; i++) {
                broker_client_connect(&deaf[i], &f);
                deaf[i].is_deaf = true;
                broker_client_send_fetch(&deaf[i], id, 0, 0, MIB);
        }
        broker_fixture_run(&f, f.config.idle_usec - 2 * USEC_PER_SEC);
        ASSERT_GT(f.broker->fetches.used_bytes, 2 * MIB);
        ASSERT_EQ(f.broker->n_conns, 7);
        ASSERT_TRUE(list_is_empty(&f.broker->waiting_fetches));
        for (size_t i = 6; i < ELEMENTSOF(deaf); i++) {
                broker_client_connect(&deaf[i], &f);
                deaf[i].is_deaf = true;
                broker_client_send_fetch(&deaf[i], id, 0, 0, MIB);
        }
        correlation = broker_client_send_fetch(&other, id, 0, 0, MIB);
        broker_fixture_run(&f, 10 * USEC_PER_MSEC);
        ASSERT_FALSE(list_is_empty(&f.broker->waiting_fetches));
        ASSERT_LE(f.broker->fetches.peak_bytes, 9 * MIB); /* with eight jobs */

        broker_fixture_run(&f, f.config.idle_usec / 10 + USEC_PER_SEC);
        r = broker_client_take(&other, correlation);
        ASSERT_NOT_NULL(r);
        broker_reply_free(r);
        ASSERT_GT(f.broker->metrics.n_ended[CONN_END_UNREAD], 0);
        for (size_t i = 0; i < ELEMENTSOF(deaf); i++)
                broker_client_end(&deaf[i]);
        ASSERT_EQ(broker_client_read(&other, id, 0), 10);
        ASSERT_LE(f.broker->fetches.peak_bytes, 9 * MIB); /* with eight jobs */
        broker_client_end(&other);
        check_is_well(&f);
        broker_fixture_done(&f);
}

/* Who asks for one byte is given a whole batch: what is read at a time is bounded all the same, also
 * where the page cache has none of it. */
TEST(small_wishes_for_large_batches_are_read_few_at_a_time) {
        static struct broker_client clients[64];
        struct broker_fixture f;
        uint64_t id;

        broker_fixture_init(&f, 3);
        f.config.fetch_budget_bytes = 2 * MIB;
        broker_fixture_start(&f);
        broker_client_connect(&clients[0], &f);
        id = broker_client_topic(&clients[0], "a", 1);
        (void) broker_client_produce(&clients[0], id, 1, MIB);
        broker_client_end(&clients[0]);
        broker_fixture_stop(&f);
        sim_disk_set_faults(f.disk, &(struct sim_disk_faults){ .read_again = 1000000 });

        broker_fixture_start(&f);
        for (size_t i = 0; i < ELEMENTSOF(clients); i++)
                broker_client_connect(&clients[i], &f);
        for (size_t i = 0; i < ELEMENTSOF(clients); i++)
                broker_client_send_fetch(&clients[i], id, 0, 0, 1);
        for (size_t i = 0; i < ELEMENTSOF(clients); i++) {
                struct broker_reply *r = broker_client_wait(&clients[i], clients[i].correlation);

                ASSERT_EQ(broker_reply_count(r, id, 0), 1);
                broker_reply_free(r);
        }
        ASSERT_GT(f.broker->fetches.peak_bytes, 2 * MIB);
        ASSERT_LE(f.broker->fetches.peak_bytes, (2 + 8 + 2) * MIB);
        for (size_t i = 0; i < ELEMENTSOF(clients); i++)
                broker_client_end(&clients[i]);
        check_is_well(&f);
        broker_fixture_done(&f);
}

TEST(a_slow_reader_that_reads_is_not_hung_up_on) {
        struct broker_fixture f;
        struct broker_client c;
        struct broker_reply *r;
        uint64_t id;

        begin(&f, &c, 3);
        id = broker_client_topic(&c, "a", 1);
        for (unsigned i = 0; i < 6; i++)
                (void) broker_client_produce(&c, id, 1, MIB / 2);
        c.is_deaf = true;
        broker_client_send_fetch(&c, id, 0, 0, 4 * MIB);
        while (!(r = broker_client_take(&c, c.correlation))) {
                broker_fixture_run(&f, f.config.idle_usec - USEC_PER_SEC);
                ASSERT_FALSE(c.has_ended);
                c.is_deaf = false; /* a little, and no more */
                broker_client_bytes(&c, NULL, 0);
                broker_fixture_run(&f, 2 * USEC_PER_MSEC);
                c.is_deaf = true;
                broker_client_bytes(&c, NULL, 0);
        }
        ASSERT_GE(broker_reply_count(r, id, 0), 3);
        broker_reply_free(r);
        c.is_deaf = false;
        broker_client_bytes(&c, NULL, 0);
        broker_fixture_run(&f, 5 * f.config.idle_usec); /* idle again */
        ASSERT_FALSE(c.has_ended);
        ASSERT_EQ(broker_client_read(&c, id, 0), 6);
        broker_client_end(&c);
        check_is_well(&f);
        broker_fixture_done(&f);
}

TEST(answers_that_nobody_reads_end_the_reading_of_requests) {
        Drmq__Proto__MetadataRequest q = DRMQ__PROTO__METADATA_REQUEST__INIT;
        struct broker_fixture f;
        struct broker_client deaf;
        const struct conn *conn;

        begin(&f, &deaf, 3);
        (void) broker_client_topic(&deaf, "a", 10000);
        conn = list_first(&f.broker->conns, struct conn, link);
        deaf.is_deaf = true;
        q.all = true;
        for (unsigned i = 0; i < 400; i++)
                broker_client_send(&deaf, FRAME_METADATA, &q, NULL, 0, NULL, 0);
        broker_fixture_run(&f, 10 * USEC_PER_SEC);
        ASSERT_GE(conn->out.n_bytes, CONNECTION_OUT_BYTES_DEFAULT / 2);
        ASSERT_LT(conn->out.n_bytes, CONNECTION_OUT_BYTES_DEFAULT + MIB);

        /* It reads after all, and gets every one. */
        deaf.is_deaf = false;
        broker_client_bytes(&deaf, NULL, 0);
        broker_reply_free(broker_client_wait(&deaf, deaf.correlation));
        broker_client_end(&deaf);
        check_is_well(&f);
        broker_fixture_done(&f);
}

/* However many do not read: what they make the node hold is bounded, and who reads is served. */
TEST(answers_that_nobody_reads_share_one_budget) {
        static struct broker_client deaf[40];
        Drmq__Proto__MetadataRequest q = DRMQ__PROTO__METADATA_REQUEST__INIT;
        struct broker_client honest;
        struct broker_fixture f;
        struct broker_reply *r;
        uint64_t id;

        broker_fixture_init(&f, 3);
        f.config.request_budget_bytes = f.config.answer_budget_bytes = MIB;
        broker_fixture_start(&f);
        broker_client_connect(&honest, &f);
        id = broker_client_topic(&honest, "a", 1);
        (void) broker_client_topic(&honest, "wide", 10000);
        q.all = true;
        for (size_t i = 0; i < ELEMENTSOF(deaf); i++) {
                broker_client_connect(&deaf[i], &f);
                deaf[i].is_deaf = true;
                for (unsigned k = 0; k < 10; k++)
                        broker_client_send(&deaf[i], FRAME_METADATA, &q, NULL, 0, NULL, 0);
        }
        broker_fixture_run(&f, USEC_PER_SEC);
        ASSERT_GT(f.broker->answers.used_bytes, MIB / 2);
        ASSERT_LT(f.broker->answers.peak_bytes, MIB + 100000);

        ASSERT_EQ(broker_client_produce(&honest, id, 1, 100), 0);
        ASSERT_EQ(broker_client_read(&honest, id, 0), 1);
        r = broker_client_wait(&honest,
                               broker_client_send(&honest, FRAME_METADATA, &q, NULL, 0, NULL, 0));
        ASSERT_EQ(broker_reply_error(r), DRMQ_ERROR_NO_MEMORY);
        broker_reply_free(r);

        /* They are hung up on in the end. */
        broker_fixture_run(&f, 40 * USEC_PER_SEC);
        ASSERT_EQ(f.broker->answers.used_bytes, 0);
        r = broker_client_wait(&honest,
                               broker_client_send(&honest, FRAME_METADATA, &q, NULL, 0, NULL, 0));
        ASSERT_EQ(broker_reply_error(r), DRMQ_ERROR_NONE);
        broker_reply_free(r);
        for (size_t i = 0; i < ELEMENTSOF(deaf); i++)
                broker_client_end(&deaf[i]);
        broker_client_end(&honest);
        check_is_well(&f);
        broker_fixture_done(&f);
}

TEST(connections_past_the_limit_are_refused) {
        struct broker_client clients[4];
        struct broker_fixture f;

        broker_fixture_init(&f, 3);
        f.config.connections_max = 3;
        broker_fixture_start(&f);
        for (size_t i = 0; i < 3; i++)
                broker_client_connect(&clients[i], &f);
        broker_client_dial(&clients[3], &f);
        ASSERT_TRUE(broker_client_wait_end(&clients[3], USEC_PER_SEC));
        ASSERT_EQ(f.accepted, -EMFILE);
        broker_client_end(&clients[3]);

        broker_client_end(&clients[0]);
        broker_fixture_run(&f, USEC_PER_SEC);
        broker_client_connect(&clients[3], &f);
        for (size_t i = 1; i < 4; i++)
                broker_client_end(&clients[i]);
        check_is_well(&f);
        broker_fixture_done(&f);
}

/* ---- Clients that are gone ---- */

static void ask_half_a_greeting(struct broker_client *c, uint64_t id) {
        (void) c;
        (void) id;
}

static void ask_half_a_frame(struct broker_client *c, uint64_t id) {
        broker_client_send_produce(
                c,
                &(struct broker_produce){ id, broker_batch(-1, -1, -1, 1, 200000) },
                1,
                /* atomic= */ false);
        broker_client_hold(c, 100);
}

static void ask_produce(struct broker_client *c, uint64_t id) {
        for (int i = 0; i < 5; i++)
                broker_client_send_produce(
                        c,
                        &(struct broker_produce){ id, broker_batch(9, 0, i, 1, 1000) },
                        1,
                        /* atomic= */ false);
}

static void ask_duplicates(struct broker_client *c, uint64_t id) {
        for (int i = 0; i < 5; i++)
                broker_client_send_produce(
                        c,
                        &(struct broker_produce){ id, broker_batch(9, 0, 0, 1, 1000) },
                        1,
                        /* atomic= */ false);
}

static void ask_fetch(struct broker_client *c, uint64_t id) {
        for (int i = 0; i < 5; i++)
                broker_client_send_fetch(c, id, 0, 1000, 1 << 20);
}

static void ask_long_poll(struct broker_client *c, uint64_t id) {
        for (int i = 0; i < 5; i++)
                broker_client_send_fetch(c, id, 20, 600000, 1 << 20);
}

static void ask_offsets(struct broker_client *c, uint64_t id) {
        Drmq__Proto__OffsetQuery query = DRMQ__PROTO__OFFSET_QUERY__INIT,
                                 *queries[3] = { &query, &query, &query };
        Drmq__Proto__OffsetsRequest q = DRMQ__PROTO__OFFSETS_REQUEST__INIT;

        query.partition_id = id;
        query.kind = DRMQ__PROTO__OFFSET_KIND__OFFSET_TIME;
        query.time_ms = 1;
        q.query = queries;
        q.n_query = ELEMENTSOF(queries);
        broker_client_send(c, FRAME_OFFSETS, &q, NULL, 0, NULL, 0);
        broker_client_send(c, FRAME_OFFSETS, &q, NULL, 0, NULL, 0);
}

static void ask_topics(struct broker_client *c, uint64_t id) {
        Drmq__Proto__MetadataRequest q = DRMQ__PROTO__METADATA_REQUEST__INIT;

        (void) id;
        for (char name[] = "x0"; name[1] < '6'; name[1]++) {
                char *names = name;

                q.topic = &names;
                q.n_topic = 1;
                q.create = true;
                broker_client_send(c, FRAME_METADATA, &q, NULL, 0, NULL, 0);
        }
}

static void ask_deletes(struct broker_client *c, uint64_t id) {
        static const char *const doomed[] = { "doomed", "a" };
        Drmq__Proto__TopicDeleteRequest q = DRMQ__PROTO__TOPIC_DELETE_REQUEST__INIT;

        ask_long_poll(c, id);
        for (size_t i = 0; i < ELEMENTSOF(doomed); i++) {
                char *names = (char *) doomed[i];

                q.name = &names;
                q.n_name = 1;
                broker_client_send(c, FRAME_TOPIC_DELETE, &q, NULL, 0, NULL, 0);
        }
}

static void ask_commit(struct broker_client *c, uint64_t id) {
        Drmq__Proto__PositionCommitRequest q = DRMQ__PROTO__POSITION_COMMIT_REQUEST__INIT;
        Drmq__Proto__Position position = DRMQ__PROTO__POSITION__INIT, *positions = &position;

        position.partition_id = id;
        position.offset = 1;
        q.group = (char *) "g";
        q.position = &positions;
        q.n_position = 1;
        for (int i = 0; i < 3; i++)
                broker_client_send(c, FRAME_POSITION_COMMIT, &q, NULL, 0, NULL, 0);
}

static void ask_snapshots(struct broker_client *c, _unused_ uint64_t id) {
        Drmq__Proto__SnapshotCreateRequest create = DRMQ__PROTO__SNAPSHOT_CREATE_REQUEST__INIT;
        Drmq__Proto__SnapshotDeleteRequest delete = DRMQ__PROTO__SNAPSHOT_DELETE_REQUEST__INIT;
        Drmq__Proto__SnapshotReadRequest read = DRMQ__PROTO__SNAPSHOT_READ_REQUEST__INIT;

        create.name = delete.name = read.name = (char *) "s";
        broker_client_send(c, FRAME_SNAPSHOT_CREATE, &create, NULL, 0, NULL, 0);
        broker_client_send(c, FRAME_SNAPSHOT_CREATE, &create, NULL, 0, NULL, 0);
        for (int i = 0; i < 3; i++) {
                broker_client_send(c, FRAME_SNAPSHOT_LIST, NULL, NULL, 0, NULL, 0);
                broker_client_send(c, FRAME_SNAPSHOT_READ, &read, NULL, 0, NULL, 0);
                broker_client_send(c, FRAME_SNAPSHOT_DELETE, &delete, NULL, 0, NULL, 0);
        }
}

static void (*const asks[])(struct broker_client *c, uint64_t id) = {
        ask_half_a_greeting, ask_half_a_frame, ask_produce,   ask_duplicates,
        ask_fetch,           ask_long_poll,    ask_offsets,   ask_topics,
        ask_deletes,         ask_commit,       ask_snapshots,
};

/* A broker whose reads go to jobs, a topic of 20 messages, and a client that asks, and dies
 * @n_steps later. */
static void ask(struct broker_fixture *f, struct broker_client *c, size_t which, unsigned n_steps) {
        struct broker_client other;
        uint64_t id;

        broker_fixture_init(f, which * 1000 + n_steps);
        f->config.checkpoint_bytes = 16384;
        broker_fixture_start(f);
        broker_client_connect(&other, f);
        id = broker_client_topic(&other, "a", 1);
        (void) broker_client_topic(&other, "doomed", 3);
        for (unsigned i = 0; i < 20; i++)
                (void) broker_client_produce(&other, id, 1, 1000);
        broker_client_end(&other);
        broker_fixture_run(f, USEC_PER_SEC);

        sim_disk_set_faults(f->disk,
                            &(struct sim_disk_faults){ .read_again = n_steps % 2 ? 1000000 : 0 });
        sim_world_net(f->world)->config.crumbs_per_million = n_steps % 3 ? 0 : 100000;
        if (asks[which] == ask_half_a_greeting) {
                broker_client_dial(c, f);
                broker_client_bytes(c, "DRM", 3);
        } else
                broker_client_connect(c, f);
        asks[which](c, id);
        for (unsigned i = 0; i < n_steps; i++)
                (void) sim_world_step(f->world, sim_world_now(f->world) + USEC_PER_SEC);
}

TEST(a_client_may_go_away_at_any_moment) {
        for (size_t which = 0; which < ELEMENTSOF(asks); which++)
                for (unsigned n_steps = 0; n_steps < 60; n_steps += 1 + n_steps / 8) {
                        struct broker_fixture f;
                        struct broker_client c;

                        ask(&f, &c, which, n_steps);
                        broker_client_end(&c);
                        check_is_well(&f);
                        broker_fixture_done(&f);
                }
}

TEST(a_broker_may_be_killed_at_any_moment) {
        for (size_t which = 0; which < ELEMENTSOF(asks); which++)
                for (unsigned n_steps = 0; n_steps < 60; n_steps += 1 + n_steps / 8) {
                        struct broker_fixture f;
                        struct broker_client c;

                        ask(&f, &c, which, n_steps);
                        broker_fixture_end(&f, /* power_cut= */ n_steps % 4 == 0);
                        broker_client_end(&c);
                        sim_disk_set_faults(f.disk, &(struct sim_disk_faults){});
                        broker_fixture_start(&f);
                        ASSERT_EQ(f.n_damaged, 0);
                        check_is_well(&f);
                        broker_fixture_done(&f);
                }
}

TEST(a_stop_comes_to_its_end_from_any_state_and_leaves_nothing_to_replay) {
        for (size_t which = 0; which < ELEMENTSOF(asks); which++)
                for (unsigned n_steps = 0; n_steps < 60; n_steps += 1 + n_steps / 8) {
                        struct broker_fixture f;
                        struct broker_client c;
                        struct broker_summary summary;

                        ask(&f, &c, which, n_steps);
                        broker_fixture_stop(&f);
                        ASSERT_TRUE(broker_client_wait_end(&c, USEC_PER_SEC));
                        broker_client_end(&c);
                        sim_disk_set_faults(f.disk, &(struct sim_disk_faults){});
                        broker_fixture_start(&f);
                        broker_summary(f.broker, &summary);
                        ASSERT_EQ(summary.n_replayed, 0);
                        ASSERT_TRUE(summary.is_writable);
                        check_is_well(&f);
                        broker_fixture_done(&f);
                }
}

/* Whichever request for memory fails: every request is answered, or its connection is closed, or
 * the process is to stop; and nothing is left behind. */
TEST(without_memory_nobody_waits_in_vain, .timeout_sec = 120) {
        unsigned n_fired = 0;

        for (size_t which = 1; which < ELEMENTSOF(asks); which++) {
                bool has_fired = true;

                if (asks[which] == ask_long_poll || asks[which] == ask_half_a_frame)
                        continue; /* nothing is due */
                for (uint64_t n = 1; has_fired; n += 1 + n / 100) {
                        struct broker_fixture f;
                        struct broker_client c;
                        uint64_t first;

                        ask(&f, &c, which, /* n_steps= */ 0);
                        first = asks[which] == ask_deletes ? 6 : 1;
                        c.is_raw = true;
                        (void) mem_fail_at(n);
                        broker_fixture_run(&f, 5 * USEC_PER_SEC);
                        has_fired = mem_fail_at(0);
                        n_fired += has_fired;

                        broker_client_cook(&c);
                        for (uint64_t i = first;
                             i <= c.correlation && !c.has_ended && f.n_fatal == 0;
                             i++) {
                                struct broker_reply *r = broker_client_take(&c, i);

                                if (!r)
                                        test_fail(__FILE__,
                                                  __LINE__,
                                                  "kind %zu, allocation %lu: no answer to %lu",
                                                  which,
                                                  (unsigned long) n,
                                                  (unsigned long) i);
                                broker_reply_free(r);
                        }
                        broker_client_end(&c);
                        if (f.n_fatal == 0)
                                check_is_well(&f);
                        broker_fixture_done(&f);
                }
        }
        ASSERT_GT(n_fired, 150);
}

/* ---- Disks ---- */

/* Sends batches until one is refused. What the log had taken before it knew waits for room. */
static uint64_t
fill_disk(struct broker_fixture *f, struct broker_client *c, uint64_t id, uint64_t *ret_waiting) {
        sim_disk_set_capacity(f->disk, sim_disk_used_bytes(f->disk) + 1);
        *ret_waiting = 0;
        for (uint64_t n = 0; n < 1000;) {
                _cleanup_(broker_reply_freep) struct broker_reply *r = NULL;
                uint64_t correlation = broker_client_send_produce(
                        c,
                        &(struct broker_produce){ id, broker_batch(-1, -1, -1, 1, 50000) },
                        1,
                        /* atomic= */ false);

                broker_fixture_run(f, 3 * USEC_PER_SEC);
                r = broker_client_take(c, correlation);
                if (!r) {
                        ASSERT_EQ(*ret_waiting, 0);
                        *ret_waiting = correlation;
                } else if (r->frame.type == FRAME_PRODUCE) {
                        ASSERT_EQ(le32_get(broker_reply_result(r, 0)->error), DRMQ_ERROR_NONE);
                        n++;
                } else {
                        _cleanup_(message_freep) Drmq__Proto__ErrorResponse *e = NULL;

                        ASSERT_OK(message_unpack(&drmq__proto__error_response__descriptor,
                                                 r->frame.header,
                                                 (void **) &e));
                        ASSERT_EQ(e->error->code, DRMQ_ERROR_DISK_FULL);
                        ASSERT_TRUE(e->error->retriable);
                        ASSERT_NOT_NULL(strstr(e->error->text, "free in " BROKER_FIXTURE_DIR));
                        return n;
                }
        }
        test_fail(__FILE__, __LINE__, "the disk is never full");
}

TEST(a_full_disk_refuses_what_is_new_and_serves_what_is_there) {
        struct broker_fixture f;
        struct broker_client c;
        uint64_t id, n, waiting, position;

        begin(&f, &c, 3);
        id = broker_client_topic(&c, "a", 1);
        (void) broker_client_produce(&c, id, 1, 1000);
        n = 1 + fill_disk(&f, &c, id, &waiting);
        ASSERT_TRUE(drmq_error_is_retriable(DRMQ_ERROR_DISK_FULL));
        ASSERT_EQ(broker_client_read(&c, id, 0), n);
        message_free(broker_client_status(&c));
        ASSERT_EQ(f.n_fatal, 0);

        /* There is room again. */
        sim_disk_set_capacity(f.disk, 0);
        broker_fixture_run(&f, 10 * USEC_PER_SEC);
        if (waiting > 0) {
                struct broker_reply *r = broker_client_take(&c, waiting);

                ASSERT_NOT_NULL(r);
                ASSERT_EQ(le32_get(broker_reply_result(r, 0)->error), DRMQ_ERROR_NONE);
                ASSERT_EQ(le64_get(broker_reply_result(r, 0)->base_offset), n++);
                broker_reply_free(r);
        }
        ASSERT_EQ(broker_client_produce(&c, id, 1, 50000), n++);
        ASSERT_EQ(broker_client_commit(&c, "g", id, n), DRMQ_ERROR_NONE);
        ASSERT_TRUE(broker_client_position(&c, "g", id, &position));
        ASSERT_EQ(position, n);
        broker_client_end(&c);
        broker_fixture_stop(&f);
        broker_fixture_done(&f);
}

/* What the log took before it knew, and what it refused. */
TEST(a_full_disk_does_not_keep_it_from_stopping) {
        struct broker_fixture f;
        struct broker_client c;
        uint64_t id, correlations[4], n = 0, n_waiting = 0;

        begin(&f, &c, 3);
        id = broker_client_topic(&c, "a", 1);
        broker_fixture_run(&f, USEC_PER_SEC);
        sim_disk_set_capacity(f.disk, sim_disk_used_bytes(f.disk) + 1);
        for (size_t i = 0; i < ELEMENTSOF(correlations); i++)
                correlations[i] = broker_client_send_produce(
                        &c,
                        &(struct broker_produce){ id, broker_batch(-1, -1, -1, 1, 600000) },
                        1,
                        /* atomic= */ false);
        broker_fixture_run(&f, 5 * USEC_PER_SEC);
        for (size_t i = 0; i < ELEMENTSOF(correlations); i++) {
                struct broker_reply *r = broker_client_take(&c, correlations[i]);

                n_waiting += !r;
                n += r && r->frame.type == FRAME_PRODUCE &&
                     le32_get(broker_reply_result(r, 0)->error) == DRMQ_ERROR_NONE;
                broker_reply_free(r);
        }
        ASSERT_GT(n_waiting, 0);
        broker_fixture_stop(&f);
        broker_client_end(&c);

        sim_disk_set_capacity(f.disk, 0);
        broker_fixture_start(&f);
        broker_client_connect(&c, &f);
        ASSERT_EQ(broker_client_read(&c, id, 0), n);
        broker_client_end(&c);
        broker_fixture_done(&f);
}

TEST(a_failed_sync_stops_it_and_nothing_is_answered_any_more) {
        static const char *const paths[] = { "shard-1", "shard-0" };

        for (size_t i = 0; i < ELEMENTSOF(paths); i++) {
                struct broker_fixture f;
                struct broker_client c;
                uint64_t id, correlations[4];

                begin(&f, &c, 3);
                id = broker_client_topic(&c, "a", 1);
                broker_fixture_run(&f, USEC_PER_SEC);
                sim_disk_fail(f.disk, SIM_DISK_SYNC, paths[i], 1, EIO);
                if (i == 1)
                        ask_topics(&c, id);
                else
                        ask_produce(&c, id);
                correlations[0] = c.correlation;
                broker_fixture_run(&f, USEC_PER_SEC);
                correlations[1] = broker_client_send_fetch(&c, id, 0, 0, 0);
                correlations[2] = broker_client_send(&c, FRAME_STATUS, NULL, NULL, 0, NULL, 0);
                correlations[3] = broker_client_send_produce(
                        &c,
                        &(struct broker_produce){ id, broker_batch(-1, -1, -1, 1, 10) },
                        1,
                        /* atomic= */ false);
                broker_fixture_run(&f, 10 * USEC_PER_SEC);
                ASSERT_EQ(f.n_fatal, 1);
                ASSERT_EQ(f.fatal, -EIO);
                for (size_t k = 0; k < ELEMENTSOF(correlations); k++)
                        ASSERT_NULL(broker_client_take(&c, correlations[k]));
                broker_fixture_end(&f, /* power_cut= */ true);
                broker_client_end(&c);

                broker_fixture_start(&f);
                check_is_well(&f);
                broker_fixture_done(&f);
        }
}

/* Flips a bit of the last entry with messages in it. */
static void damage(struct broker_fixture *f, const char *path, const void *needle, size_t n) {
        static uint8_t bytes[2 << 20];
        ssize_t size = ASSERT_OK(sim_disk_peek(f->disk, path, bytes, sizeof(bytes), 0));
        uint8_t *last = NULL;

        for (uint8_t *p = bytes; (p = memmem(p, (size_t) (bytes + size - p), needle, n)); p++)
                last = p;
        ASSERT_NOT_NULL(last);
        ASSERT_OK(sim_disk_flip_bit(f->disk, path, (uint64_t) (last - bytes), 3));
}

/* Makes a file what it was: as if its later writes had never been. */
static void put_back(struct broker_fixture *f, const char *path, const uint8_t *before, size_t n) {
        static uint8_t now[2 << 20];

        ASSERT_EQ(sim_disk_peek(f->disk, path, now, sizeof(now), 0), (ssize_t) n);
        for (size_t i = 0; i < n; i++)
                for (unsigned bit = 0; bit < 8; bit++)
                        if ((before[i] ^ now[i]) & (1u << bit))
                                ASSERT_OK(sim_disk_flip_bit(f->disk, path, i, bit));
}

/* The metadata's log ends cleanly, but before what it had said: no sign of damage is left. */
TEST(partitions_that_the_metadata_has_forgotten_are_kept_and_their_ids_never_given_again) {
        static const char path[] = "/data/shard-0/00000000000000000001.log";
        static uint8_t before[2 << 20];
        struct broker_fixture f;
        struct broker_client c;
        uint64_t id, other;
        ssize_t n;

        begin(&f, &c, 1);
        broker_fixture_run(&f, USEC_PER_SEC);
        n = ASSERT_OK(sim_disk_peek(f.disk, path, before, sizeof(before), 0));
        id = broker_client_topic(&c, "a", 1);
        for (unsigned i = 0; i < 10; i++)
                (void) broker_client_produce(&c, id, 1, 1000);
        broker_fixture_run(&f, USEC_PER_SEC);
        broker_fixture_end(&f, /* power_cut= */ false);
        broker_client_end(&c);
        put_back(&f, path, before, (size_t) n);

        broker_fixture_start(&f);
        broker_client_connect(&c, &f);
        other = broker_client_topic(&c, "b", 1);
        ASSERT_GT(other, id);
        ASSERT_EQ(broker_client_produce(&c, other, 1, 10), 0);
        ASSERT_NOT_NULL(state_partition(f.broker->shards[SHARD_DATA]->state, id));
        broker_fixture_stop(&f);
        broker_client_end(&c);
        broker_fixture_done(&f);
}

static uint64_t marked(struct broker_client *c, uint64_t id, const char *mark) {
        struct batch_seal seal = SEAL_INIT;
        struct slice batch;
        struct builder b;
        uint64_t offset;

        builder_init(&b, 1 << 20, 1 << 20);
        ASSERT_OK(builder_append(&b, NULL, 0, mark, strlen(mark), NULL, 0, 0));
        ASSERT_OK(builder_seal(&b, &seal, &batch));
        builder_done(&b);
        ASSERT_EQ(broker_client_try(c, id, batch, &offset), DRMQ_ERROR_NONE);
        return offset;
}

/* In a running node, and after a start. */
TEST(a_damaged_batch_is_refused_by_name_and_its_neighbours_are_served) {
        struct broker_fixture f;
        struct broker_client c;
        uint64_t id;

        begin(&f, &c, 3);
        id = broker_client_topic(&c, "a", 1);
        for (unsigned i = 0; i < 5; i++)
                (void) broker_client_produce(&c, id, 1, 1000);
        ASSERT_EQ(marked(&c, id, "what will be damaged"), 5);
        for (unsigned i = 0; i < 5; i++)
                ASSERT_EQ(broker_client_produce(&c, id, 1, 1000), 6 + i);
        damage(&f, "/data/shard-1/00000000000000000001.log", "what will be damaged", 20);

        for (unsigned i = 0; i < 2; i++) {
                _cleanup_(message_freep) Drmq__Proto__FetchResponse *m = NULL;
                _cleanup_(broker_reply_freep) struct broker_reply *before = NULL, *at = NULL;

                before = broker_client_wait(&c, broker_client_send_fetch(&c, id, 0, 0, 0));
                ASSERT_EQ(broker_reply_count(before, id, 0), 5);
                at = broker_client_wait(&c, broker_client_send_fetch(&c, id, 5, 60000, 0));
                m = broker_reply_message(at, FRAME_FETCH, &drmq__proto__fetch_response__descriptor);
                ASSERT_EQ(m->n_partition, 1);
                ASSERT_EQ(m->partition[0]->error->code, DRMQ_ERROR_DAMAGED);
                ASSERT_EQ(m->partition[0]->next_good_offset, 6);
                ASSERT_EQ(broker_client_read(&c, id, 6), 5 + i);
                /* The head of its entry is good: what it gave is known, so there is more to
                 * come. */
                ASSERT_EQ(broker_client_produce(&c, id, 1, 1000), 11 + i);

                broker_fixture_end(&f, /* power_cut= */ true);
                broker_client_end(&c);
                broker_fixture_start(&f);
                broker_client_connect(&c, &f);
        }
        broker_client_end(&c);
        broker_fixture_done(&f);
}

/* Flips bits in all group writes of shard 0 but the first, or flips them back. */
static void flip_metadata(struct broker_fixture *f, const uint8_t *bytes, size_t size) {
        static const char path[] = "/data/shard-0/00000000000000000001.log";
        const uint8_t *p = memmem(bytes, size, "DRGW", 4);

        ASSERT_NOT_NULL(p);
        while ((p = memmem(p + 4, (size_t) (bytes + size - p - 4), "DRGW", 4))) {
                uint64_t pos = (uint64_t) (p - bytes);

                ASSERT_OK(sim_disk_flip_bit(f->disk, path, pos, 3));
                pos -= pos % LOG_SECTOR_BYTES;
                ASSERT_OK(sim_disk_flip_bit(f->disk, path, pos + GROUP_HEADER_BYTES, 3));
        }
}

/* Topics that shard 0 does not name because it is damaged keep their messages. */
TEST(damaged_metadata_costs_no_message) {
        static const char path[] = "/data/shard-0/00000000000000000001.log";
        static uint8_t bytes[2 << 20];
        struct broker_fixture f;
        struct broker_client c;
        ssize_t size;
        uint64_t id;

        begin(&f, &c, 3);
        id = broker_client_topic(&c, "a", 1);
        ASSERT_EQ(broker_client_produce(&c, id, 5, 1000), 0);
        ASSERT_EQ(broker_client_commit(&c, "g", id, 3), DRMQ_ERROR_NONE);
        broker_fixture_run(&f, USEC_PER_SEC);
        broker_fixture_end(&f, /* power_cut= */ false);
        broker_client_end(&c);
        size = ASSERT_OK(sim_disk_peek(f.disk, path, bytes, sizeof(bytes), 0));
        flip_metadata(&f, bytes, (size_t) size);

        broker_fixture_start(&f);
        ASSERT_NULL(state_topic(f.broker->shards[0]->state, "a"));
        ASSERT_NULL(f.broker->shards[0]->raft);
        ASSERT_TRUE(shard_is_writable(f.broker->shards[1]));
        broker_fixture_run(&f, USEC_PER_SEC);
        broker_fixture_end(&f, /* power_cut= */ false);
        flip_metadata(&f, bytes, (size_t) size);

        broker_fixture_start(&f);
        broker_client_connect(&c, &f);
        ASSERT_EQ(broker_client_read(&c, id, 0), 5);
        ASSERT_EQ(broker_client_produce(&c, id, 1, 1000), 5);
        broker_client_end(&c);
        check_is_well(&f);
        broker_fixture_done(&f);
}

/* The checkpoint knows of messages that the log has lost with its end. */
TEST(messages_that_the_log_has_lost_are_refused_and_not_waited_for) {
        static const char path[] = "/data/shard-1/00000000000000000001.log";
        static uint8_t bytes[2 << 20];
        _cleanup_(message_freep) Drmq__Proto__FetchResponse *m = NULL;
        _cleanup_(broker_reply_freep) struct broker_reply *r = NULL;
        _cleanup_(io_file_unrefp) struct io_file *file = NULL;
        struct broker_fixture f;
        struct broker_client c;
        const uint8_t *lost;
        ssize_t size;
        uint64_t id;

        begin(&f, &c, 3);
        id = broker_client_topic(&c, "a", 1);
        ASSERT_EQ(broker_client_produce(&c, id, 5, 1000), 0);
        ASSERT_EQ(marked(&c, id, "what will be lost"), 5);
        ASSERT_EQ(broker_client_produce(&c, id, 1, 1000), 6);
        broker_fixture_stop(&f);
        broker_client_end(&c);

        size = ASSERT_OK(sim_disk_peek(f.disk, path, bytes, sizeof(bytes), 0));
        lost = memmem(bytes, (size_t) size, "what will be lost", 17);
        ASSERT_NOT_NULL(lost);
        sim_disk_restart(f.disk);
        ASSERT_OK(io_open(sim_disk_io(f.disk), path, IO_OPEN_WRITE, &file));
        ASSERT_OK(
                io_truncate(file, (uint64_t) (lost - bytes) / LOG_SECTOR_BYTES * LOG_SECTOR_BYTES));
        ASSERT_OK(io_fdatasync(file));
        file = io_file_unref(file);

        broker_fixture_start(&f);
        broker_client_connect(&c, &f);
        ASSERT_EQ(broker_client_try(&c, id, broker_batch(-1, -1, -1, 1, 10), NULL),
                  DRMQ_ERROR_NOT_WRITABLE);
        r = broker_client_wait(&c, broker_client_send_fetch(&c, id, 0, 0, 0));
        ASSERT_EQ(broker_reply_count(r, id, 0), 5);
        r = broker_reply_free(r);
        r = broker_client_wait(&c, broker_client_send_fetch(&c, id, 5, 600000, 0));
        m = broker_reply_message(r, FRAME_FETCH, &drmq__proto__fetch_response__descriptor);
        ASSERT_EQ(m->n_partition, 1);
        ASSERT_NOT_NULL(m->partition[0]->error);
        ASSERT_EQ(m->partition[0]->error->code, DRMQ_ERROR_DAMAGED);
        broker_fixture_stop(&f);
        broker_client_end(&c);
        broker_fixture_done(&f);
}

/* Killed or stopped in good order; what is lost is the body of a batch, or the head of its
 * entry. */
TEST(a_damaged_end_forbids_appends_and_the_rest_is_served) {
        for (unsigned is_stopped = 0; is_stopped < 2; is_stopped++) {
                struct broker_fixture f;
                struct broker_client c;
                enum drmq_error error;
                uint64_t id;

                begin(&f, &c, 3 + is_stopped);
                id = broker_client_topic(&c, "a", 1);
                for (unsigned i = 0; i < 10; i++)
                        (void) broker_client_produce(&c, id, 1, 1000);
                broker_fixture_run(&f, USEC_PER_SEC);
                ASSERT_EQ(marked(&c, id, "the last of all messages"), 10);
                broker_fixture_run(&f, USEC_PER_SEC);
                if (is_stopped)
                        broker_fixture_stop(&f);
                else
                        broker_fixture_end(&f, /* power_cut= */ false);
                broker_client_end(&c);
                /* The group that names what is durable: the last magic of a group write. */
                damage(&f, "/data/shard-1/00000000000000000001.log", "DRGW", 4);
                if (is_stopped) {
                        damage(&f, "/data/shard-1/00000000000000000001.log", "DRGW", 4);
                        damage(&f, "/data/shard-1/00000000000000000001.log", "DRGW", 4);
                }

                broker_fixture_start(&f);
                broker_client_connect(&c, &f);
                ASSERT_GT(f.n_damaged, 0);
                ASSERT_EQ(broker_client_try(&c, id, broker_batch(-1, -1, -1, 1, 10), NULL),
                          DRMQ_ERROR_NOT_WRITABLE);
                ASSERT_EQ(broker_client_commit(&c, "g", id, 1), DRMQ_ERROR_NOT_WRITABLE);
                ASSERT_GE(broker_client_read(&c, id, 0), 10);
                /* Nobody knows the end: who asks for it is told so. */
                (void) broker_client_offset(
                        &c, id, DRMQ__PROTO__OFFSET_KIND__OFFSET_END, 0, &error);
                ASSERT_EQ(error, DRMQ_ERROR_DAMAGED);
                broker_fixture_stop(&f);
                broker_client_end(&c);
                broker_fixture_done(&f);
        }
}
