/* SPDX-License-Identifier: Apache-2.0 */

/* Tests snapshot/archive.h and tar.h: an archive is read in pieces of any size, and only a whole one
 * is whole. */

#include "snapshot/archive.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/crc32c.h"
#include "tests/lib/test.h"

#define FILE_1 "shard-0/00000000000000000001.idx"
#define FILE_2 "shard-0/00000000000000000001.log"

static const uint8_t bytes_1[700] = { 1, 2, 3 };
static const uint8_t bytes_2[512] = { 9 };

static void put_member(struct byte_writer *w, const char *name, const void *p, size_t n) {
        struct tar_member m = { .n_bytes = n };
        uint8_t block[TAR_BLOCK_BYTES] = {};

        strcpy(m.name, name);
        tar_header_encode(&m, block);
        byte_writer_bytes(w, block, sizeof(block));
        byte_writer_bytes(w, p, n);
        memset(block, 0, sizeof(block));
        byte_writer_bytes(w, block, tar_padded_bytes(n) - n);
}

static void put_manifest(struct byte_writer *w, const struct manifest *m, const char *name) {
        struct byte_writer text;

        byte_writer_init(&text, 0);
        ASSERT_OK(manifest_format(m, &text));
        put_member(w, name, text.data, text.size);
        byte_writer_done(&text);
}

static void make_manifest(struct manifest *m) {
        *m = (struct manifest){ .name = "s", .node_id = 1, .node_name = "n", .version = "1" };
        ASSERT_OK(manifest_add_shard(
                m, &(struct manifest_shard){ .first_index = 1, .last_index = 1 }));
        ASSERT_OK(manifest_add_file(m, FILE_1, sizeof(bytes_1)));
        ASSERT_OK(manifest_add_file(m, FILE_2, sizeof(bytes_2)));
        m->files[0].crc = crc32c(0, bytes_1, sizeof(bytes_1));
        m->files[1].crc = crc32c(0, bytes_2, sizeof(bytes_2));
}

static void make_archive(struct byte_writer *w) {
        static const uint8_t zeroes[2 * TAR_BLOCK_BYTES];
        struct manifest m;

        byte_writer_init(w, 0);
        make_manifest(&m);
        put_manifest(w, &m, MANIFEST_CONTENTS_NAME);
        put_member(w, FILE_1, bytes_1, sizeof(bytes_1));
        put_member(w, FILE_2, bytes_2, sizeof(bytes_2));
        m.has_checksums = true;
        put_manifest(w, &m, MANIFEST_NAME);
        byte_writer_bytes(w, zeroes, sizeof(zeroes));
        ASSERT_OK(byte_writer_result(w));
        manifest_done(&m);
}

struct seen {
        unsigned n_begun, n_ended;
        uint8_t bytes[2][1024];
        size_t n[2];
};

static int on_file(void *userdata, size_t i) {
        struct seen *s = userdata;

        ASSERT_EQ(s->n_begun, i);
        s->n_begun++;
        return 0;
}

static int on_data(void *userdata, size_t i, const void *p, size_t n) {
        struct seen *s = userdata;

        memcpy(s->bytes[i] + s->n[i], p, n);
        s->n[i] += n;
        return 0;
}

static int on_file_end(void *userdata, size_t i) {
        struct seen *s = userdata;

        ASSERT_EQ(s->n_ended, i);
        s->n_ended++;
        return 0;
}

static const struct archive_events events = {
        .on_file = on_file,
        .on_data = on_data,
        .on_file_end = on_file_end,
};

/* Return: what the reader says of it. */
static int read_all(const uint8_t *p, size_t n, size_t piece, struct seen *seen) {
        static const struct archive_events nothing = {};
        struct archive_reader *a;
        int r = 0;

        ASSERT_OK(archive_reader_new(seen ? &events : &nothing, seen, &a));
        for (size_t i = 0; r >= 0 && i < n; i += piece)
                r = archive_reader_feed(a, p + i, MIN(piece, n - i));
        if (r >= 0)
                r = archive_reader_end(a);
        if (r >= 0)
                ASSERT_NOT_NULL(archive_reader_manifest(a));
        else
                ASSERT_GT(strlen(archive_reader_error(a)), 0);
        archive_reader_free(a);
        return r;
}

TEST(pieces_of_any_size_give_the_same) {
        static const size_t pieces[] = { 1, 7, 512, 513, 100000 };
        struct byte_writer w;

        make_archive(&w);
        for (size_t i = 0; i < ELEMENTSOF(pieces); i++) {
                struct seen seen = {};

                ASSERT_OK(read_all(w.data, w.size, pieces[i], &seen));
                ASSERT_EQ(seen.n_ended, 2);
                ASSERT_EQ(seen.n[0], sizeof(bytes_1));
                ASSERT_EQ(seen.n[1], sizeof(bytes_2));
                ASSERT_MEM(seen.bytes[0], bytes_1, sizeof(bytes_1));
                ASSERT_MEM(seen.bytes[1], bytes_2, sizeof(bytes_2));
        }
        byte_writer_done(&w);
}

TEST(no_bit_may_differ) {
        struct byte_writer w;
        size_t n_taken = 0;

        make_archive(&w);
        for (size_t i = 0; i < w.size; i++) {
                w.data[i] ^= 1;
                n_taken += read_all(w.data, w.size, w.size, NULL) >= 0;
                w.data[i] ^= 1;
        }
        ASSERT_EQ(n_taken, 0);
        byte_writer_done(&w);
}

TEST(an_archive_that_is_cut_is_not_whole) {
        struct byte_writer w;

        make_archive(&w);
        for (size_t n = 0; n < w.size; n++)
                ASSERT_ERROR(read_all(w.data, n, MAX(n, (size_t) 1), NULL), EBADMSG);
        ASSERT_OK(read_all(w.data, w.size, w.size, NULL));
        byte_writer_done(&w);
}

TEST(what_follows_must_be_zeroes) {
        static const uint8_t more[10240];
        struct byte_writer w;

        make_archive(&w);
        byte_writer_bytes(&w, more, sizeof(more)); /* as tar pads */
        ASSERT_OK(read_all(w.data, w.size, 4096, NULL));
        byte_writer_u8(&w, 'x');
        ASSERT_ERROR(read_all(w.data, w.size, 4096, NULL), EBADMSG);
        byte_writer_done(&w);
}

enum plan {
        PLAN_GOOD,
        PLAN_SWAPPED,
        PLAN_DOUBLE,
        PLAN_MISSING,
        PLAN_EXTRA,
        PLAN_LONGER,
        PLAN_NO_MANIFEST,
        PLAN_MANIFEST_FIRST,
        PLAN_OTHER_MANIFEST,
        PLAN_OTHER_BYTES,
        PLAN_CONTENTS_AS_MANIFEST,
        PLAN_LINK,
        PLAN_ABSOLUTE,
        _PLAN_MAX,
};

static void make_planned(struct byte_writer *w, enum plan plan) {
        static const uint8_t zeroes[2 * TAR_BLOCK_BYTES];
        uint8_t other[sizeof(bytes_1)] = { 7 };
        struct manifest m;
        size_t begin;

        byte_writer_init(w, 0);
        make_manifest(&m);
        if (plan != PLAN_MANIFEST_FIRST)
                put_manifest(w, &m, MANIFEST_CONTENTS_NAME);
        if (plan == PLAN_SWAPPED)
                put_member(w, FILE_2, bytes_2, sizeof(bytes_2));
        begin = w->size;
        if (plan == PLAN_LONGER)
                put_member(w, FILE_1, bytes_1, sizeof(bytes_1) - 1);
        else if (plan == PLAN_OTHER_BYTES)
                put_member(w, FILE_1, other, sizeof(other));
        else if (plan == PLAN_ABSOLUTE)
                put_member(w, "/" FILE_1, bytes_1, sizeof(bytes_1));
        else
                put_member(w, FILE_1, bytes_1, sizeof(bytes_1));
        if (plan == PLAN_LINK) {
                uint64_t sum = 0;

                w->data[begin + 156] = '2';
                for (size_t i = 0; i < TAR_BLOCK_BYTES; i++)
                        sum += i >= 148 && i < 156 ? ' ' : w->data[begin + i];
                (void) snprintf((char *) w->data + begin + 148, 8, "%06o", (unsigned) sum);
        }
        if (plan == PLAN_DOUBLE)
                put_member(w, FILE_1, bytes_1, sizeof(bytes_1));
        if (plan == PLAN_EXTRA)
                put_member(w, "shard-0/00000000000000000001.lof", bytes_1, sizeof(bytes_1));
        if (plan != PLAN_MISSING && plan != PLAN_SWAPPED)
                put_member(w, FILE_2, bytes_2, sizeof(bytes_2));
        m.has_checksums = plan != PLAN_CONTENTS_AS_MANIFEST;
        if (plan == PLAN_OTHER_MANIFEST)
                m.token++;
        if (plan != PLAN_NO_MANIFEST)
                put_manifest(w, &m, MANIFEST_NAME);
        byte_writer_bytes(w, zeroes, sizeof(zeroes));
        ASSERT_OK(byte_writer_result(w));
        manifest_done(&m);
}

TEST(members_come_as_they_are_named) {
        for (enum plan plan = PLAN_GOOD; plan < _PLAN_MAX; plan++) {
                struct byte_writer w;

                make_planned(&w, plan);
                if (plan == PLAN_GOOD)
                        ASSERT_OK(read_all(w.data, w.size, w.size, NULL));
                else
                        ASSERT_ERROR(read_all(w.data, w.size, w.size, NULL), EBADMSG);
                byte_writer_done(&w);
        }
}

static int refuse(_unused_ void *userdata, _unused_ size_t i) {
        return -ENOSPC;
}

TEST(what_an_event_says_ends_the_reading) {
        static const struct archive_events refusing = { .on_file = refuse };
        struct archive_reader *a;
        struct byte_writer w;

        make_archive(&w);
        ASSERT_OK(archive_reader_new(&refusing, NULL, &a));
        ASSERT_ERROR(archive_reader_feed(a, w.data, w.size), ENOSPC);
        archive_reader_free(a);
        byte_writer_done(&w);
}

TEST(memory_may_be_short) {
        static const struct archive_events nothing = {};
        struct byte_writer w;

        make_archive(&w);
        FAULT_SWEEP {
                struct archive_reader *a = NULL;
                int r;

                r = archive_reader_new(&nothing, NULL, &a);
                if (r >= 0)
                        r = archive_reader_feed(a, w.data, w.size);
                ASSERT_TRUE(r == 0 || r == -ENOMEM);
                archive_reader_free(a);
        }
        byte_writer_done(&w);
}
