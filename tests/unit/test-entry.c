/* SPDX-License-Identifier: Apache-2.0 */
/* Entries as bytes and back: nothing that was changed passes, nothing behind the bytes is
 * touched. */
#include "base/alloc.h"
#include "base/crc32c.h"
#include "batch/batch-format.h"
#include "log/entry.h"
#include "tests/lib/log-fixture.h"
#include "tests/lib/test.h"

#define SALT UINT32_C(0x12345678)
#define N_SLICES_MAX 8u

static size_t encode(const struct entry *e, uint8_t **ret) {
        size_t n;

        ASSERT_OK(entry_size(e, &n));
        *ret = mem_alloc(n);
        memset(*ret, 0xa5, n);
        entry_encode(e, SALT, *ret);
        return n;
}

static int decode(const uint8_t *p, size_t n, uint32_t salt, struct entry *ret, size_t *ret_bytes) {
        static struct entry_slice slices[N_SLICES_MAX];

        return entry_decode(p, n, salt, ENTRY_VERIFY_BATCHES, slices, N_SLICES_MAX, ret, ret_bytes);
}

TEST(what_is_encoded_is_decoded) {
        for (uint64_t index = 1; index < 30; index++) {
                _cleanup_(mem_freep) uint8_t *p = NULL;
                struct entry want, e;
                size_t n, n_bytes;

                log_fixture_entry(index, 5, 0, &want);
                n = encode(&want, &p);
                ASSERT_EQ(n % 8, 0);
                ASSERT_OK(decode(p, n, SALT, &e, &n_bytes));
                ASSERT_EQ(n_bytes, n);
                ASSERT_EQ(e.index, index);
                ASSERT_EQ(e.term, 5);
                ASSERT_EQ(e.append_time_ms, want.append_time_ms);
                ASSERT_EQ(e.kind, want.kind);
                ASSERT_EQ(e.body_bytes, want.body_bytes);
                if (e.body_bytes > 0)
                        ASSERT_MEM(e.body, want.body, e.body_bytes);
                ASSERT_EQ(e.n_slices, want.n_slices);
                for (unsigned i = 0; i < e.n_slices; i++) {
                        ASSERT_EQ(e.slices[i].partition_id, want.slices[i].partition_id);
                        ASSERT_EQ(e.slices[i].base_offset, want.slices[i].base_offset);
                        ASSERT_EQ(e.slices[i].priority, want.slices[i].priority);
                        ASSERT_EQ(e.slices[i].not_before_ms, want.slices[i].not_before_ms);
                        ASSERT_EQ(e.slices[i].expires_at_ms, want.slices[i].expires_at_ms);
                        ASSERT_EQ(e.slices[i].batch_bytes, want.slices[i].batch_bytes);
                        ASSERT_MEM(e.slices[i].batch + 16,
                                   want.slices[i].batch + 16,
                                   e.slices[i].batch_bytes - 16);
                        /* The leader's own fields are filled in. */
                        ASSERT_EQ(be64_load(e.slices[i].batch), index * 10);
                        ASSERT_EQ(be32_load(e.slices[i].batch + 12), 5);
                }
        }
}

TEST(slices_keep_their_times) {
        _cleanup_(mem_freep) uint8_t *p = NULL;
        struct entry want, e;
        size_t n;

        log_fixture_entry(1, 1, 0, &want);
        want.slices[0].not_before_ms = -5;
        want.slices[0].expires_at_ms = INT64_MAX;
        want.slices[0].priority = 255;
        n = encode(&want, &p);
        ASSERT_OK(decode(p, n, SALT, &e, &n));
        ASSERT_EQ(e.slices[0].not_before_ms, -5);
        ASSERT_EQ(e.slices[0].expires_at_ms, INT64_MAX);
        ASSERT_EQ(e.slices[0].priority, 255);
}

/* I3: but for the padding there is no bit that may change. */
TEST(no_flipped_bit_passes) {
        for (uint64_t index = 1; index <= 3; index++) {
                _cleanup_(mem_freep) uint8_t *p = NULL;
                struct entry want, e;
                size_t n, n_bytes, length;

                log_fixture_entry(index, 5, 300, &want);
                n = encode(&want, &p);
                length = le32_load(p + 4);
                for (size_t bit = 0; bit < length * 8; bit++) {
                        p[bit / 8] ^= (uint8_t) (1 << bit % 8);
                        ASSERT_LT(decode(p, n, SALT, &e, &n_bytes), 0);
                        p[bit / 8] ^= (uint8_t) (1 << bit % 8);
                }
                ASSERT_OK(decode(p, n, SALT, &e, &n_bytes));
        }
}

TEST(another_salt_is_another_log) {
        _cleanup_(mem_freep) uint8_t *p = NULL;
        struct entry want, e;
        size_t n, n_bytes;

        log_fixture_entry(3, 5, 0, &want);
        n = encode(&want, &p);
        ASSERT_ERROR(decode(p, n, SALT + 1, &e, &n_bytes), EBADMSG);
        ASSERT_ERROR(decode(p, n, 0, &e, &n_bytes), EBADMSG);
}

TEST(the_header_alone_may_be_verified) {
        _cleanup_(mem_freep) uint8_t *p = NULL;
        struct entry_slice slices[N_SLICES_MAX];
        struct entry want, e;
        size_t n, n_bytes;

        log_fixture_entry(1, 5, 300, &want);
        n = encode(&want, &p);
        p[le32_load(p + 4) - 1] ^= 1; /* in the records of the last batch */
        ASSERT_OK(
                entry_decode(p, n, SALT, ENTRY_VERIFY_HEADER, slices, N_SLICES_MAX, &e, &n_bytes));
        ASSERT_ERROR(
                entry_decode(p, n, SALT, ENTRY_VERIFY_BATCHES, slices, N_SLICES_MAX, &e, &n_bytes),
                EBADMSG);

        /* What the batch's own checksum leaves out is the entry's. */
        p[le32_load(p + 4) - 1] ^= 1;
        p[ENTRY_HEADER_BYTES + 2 * SLICE_HEADER_BYTES + 3] ^= 1;
        ASSERT_ERROR(
                entry_decode(p, n, SALT, ENTRY_VERIFY_HEADER, slices, N_SLICES_MAX, &e, &n_bytes),
                EBADMSG);
}

/* A bad length reads nothing behind what is there: each length is tried with memory that ends
 * exactly there. */
TEST(cut_anywhere_it_is_refused) {
        for (uint64_t index = 1; index <= 3; index++) {
                _cleanup_(mem_freep) uint8_t *p = NULL;
                struct entry want, e;
                size_t n, n_bytes;

                log_fixture_entry(index, 5, 300, &want);
                n = encode(&want, &p);
                for (size_t i = 0; i < n; i++) {
                        _cleanup_(mem_freep) uint8_t *part = mem_dup(p, MAX(i, (size_t) 1));

                        ASSERT_ERROR(decode(part, i, SALT, &e, &n_bytes), EMSGSIZE);
                }
        }
}

TEST(lengths_that_lie_are_refused) {
        static const uint32_t lengths[] = {
                0,         1,         39, 40, 41, 119, 120, ENTRY_BYTES_MAX, ENTRY_BYTES_MAX + 1,
                INT32_MAX, UINT32_MAX
        };
        _cleanup_(mem_freep) uint8_t *p = NULL;
        struct entry want, e;
        size_t n, n_bytes;

        log_fixture_entry(1, 5, 300, &want);
        n = encode(&want, &p);
        for (size_t i = 0; i < ELEMENTSOF(lengths); i++) {
                uint32_t length = le32_load(p + 4), batch = le32_load(p + ENTRY_HEADER_BYTES + 32);

                le32_store(p + 4, lengths[i]);
                ASSERT_LT(decode(p, n, SALT, &e, &n_bytes), 0);
                le32_store(p + 4, length);
                le32_store(p + ENTRY_HEADER_BYTES + 32, lengths[i]);
                ASSERT_LT(decode(p, n, SALT, &e, &n_bytes), 0);
                le32_store(p + ENTRY_HEADER_BYTES + 32, batch);
        }
        le16_store(p + 34, UINT16_MAX);
        ASSERT_ERROR(decode(p, n, SALT, &e, &n_bytes), EBADMSG);
        le16_store(p + 34, 0);
        ASSERT_ERROR(decode(p, n, SALT, &e, &n_bytes), EBADMSG);
}

TEST(more_slices_than_there_is_room_for_is_said) {
        struct entry_slice slices[3], room[3];
        _cleanup_(mem_freep) uint8_t *p = NULL;
        struct entry want, e;
        size_t n, n_bytes;

        log_fixture_entry(1, 5, 0, &want);
        for (unsigned i = 0; i < 3; i++)
                slices[i] = want.slices[0];
        want.slices = slices;
        want.n_slices = 3;
        n = encode(&want, &p);
        ASSERT_ERROR(entry_decode(p, n, SALT, ENTRY_VERIFY_HEADER, room, 2, &e, &n_bytes), ENOBUFS);
        ASSERT_EQ(le16_load(p + 34), 3);
        ASSERT_OK(entry_decode(p, n, SALT, ENTRY_VERIFY_HEADER, room, 3, &e, &n_bytes));
        ASSERT_ERROR(entry_decode(p, n, SALT, ENTRY_VERIFY_HEADER, NULL, 0, &e, &n_bytes), ENOBUFS);
}

TEST(an_entry_over_the_limit_is_refused) {
        struct entry e = { .index = 1,
                           .kind = ENTRY_ADMIN,
                           .body_bytes = ENTRY_BYTES_MAX - ENTRY_HEADER_BYTES };
        size_t n;

        ASSERT_OK(entry_size(&e, &n));
        ASSERT_EQ(n, ENTRY_BYTES_MAX);
        e.body_bytes++;
        ASSERT_ERROR(entry_size(&e, &n), EMSGSIZE);
        e.body_bytes = UINT32_MAX;
        ASSERT_ERROR(entry_size(&e, &n), EMSGSIZE);
}

/* Kinds and flags of a later version are refused even where the checksum is right. */
TEST(what_is_not_of_this_format_is_refused) {
        static const struct {
                size_t at;
                uint8_t value;
        } changes[] = {
                { 32, 0 }, { 32, _ENTRY_KIND_MAX }, { 32, ENTRY_PRODUCE }, { 33, 1 }, { 36, 1 }
        };
        _cleanup_(mem_freep) uint8_t *p = NULL;
        struct entry want, e;
        size_t n, n_bytes;

        log_fixture_entry(3, 5, 100, &want);
        n = encode(&want, &p);
        for (size_t i = 0; i < ELEMENTSOF(changes); i++) {
                uint8_t before = p[changes[i].at];

                p[changes[i].at] = changes[i].value;
                le32_store(p, crc32c(SALT, p + 4, le32_load(p + 4) - 4));
                ASSERT_ERROR(decode(p, n, SALT, &e, &n_bytes), EBADMSG);
                p[changes[i].at] = before;
        }
        le32_store(p, crc32c(SALT, p + 4, le32_load(p + 4) - 4));
        ASSERT_OK(decode(p, n, SALT, &e, &n_bytes));
}
