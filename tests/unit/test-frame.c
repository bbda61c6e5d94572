/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/frame.h"

#include "base/crc32c.h"
#include "tests/lib/test.h"

#define CHUNK 512u

static struct slice body_of(const char *text) {
        struct buf *b = buf_new(strlen(text));
        struct slice s;

        ASSERT_NOT_NULL(b);
        memcpy(b->data, text, strlen(text));
        s = slice_of(b, b->data, strlen(text));
        buf_unref(b);
        return s;
}

/* What the queue holds as plain bytes, taken @step at a time; the caller frees. */
static uint8_t *drain(struct frame_queue *q, size_t step, size_t *ret_n) {
        size_t n = q->n_bytes, at = 0;
        uint8_t *bytes = malloc(n + 1);

        while (q->n_bytes > 0) {
                struct iovec iov[3];
                size_t n_iov = frame_queue_iovec(q, iov, ELEMENTSOF(iov)), taken = 0;

                ASSERT_GT(n_iov, 0);
                for (size_t i = 0; i < n_iov && taken < step; i++) {
                        size_t k = MIN(iov[i].iov_len, step - taken);

                        ASSERT_GT(k, 0);
                        memcpy(bytes + at + taken, iov[i].iov_base, k);
                        taken += k;
                }
                frame_queue_consume(q, taken);
                at += taken;
        }
        ASSERT_EQ(at, n);
        *ret_n = n;
        return bytes;
}

static int feed(struct frame_reader *r, const uint8_t *p, size_t n) {
        while (n > 0) {
                uint8_t *to;
                size_t room;
                int k = frame_reader_space(r, &to, &room);

                if (k < 0)
                        return k;
                ASSERT_GT(room, 0);
                room = MIN(room, n);
                memcpy(to, p, room);
                frame_reader_commit(r, room);
                p += room;
                n -= room;
        }
        return 0;
}

static int push_two(struct frame_queue *q, const struct slice *body, size_t n_body) {
        int r = frame_queue_push(
                q, FRAME_PRODUCE, 0, 0x1122334455667788, "head", 4, "table", 5, body, n_body);

        if (r < 0)
                return r;
        return frame_queue_push(q, FRAME_STATUS, FRAME_ANSWER, 7, NULL, 0, NULL, 0, NULL, 0);
}

static void assert_two(struct frame_reader *r, unsigned *at) {
        for (;;) {
                struct frame f;
                int k = frame_reader_next(r, &f);

                ASSERT_OK(k);
                if (k == 0)
                        return;
                if ((*at)++ == 0) {
                        ASSERT_EQ(f.type, FRAME_PRODUCE);
                        ASSERT_EQ(f.flags, 0);
                        ASSERT_EQ(f.correlation, 0x1122334455667788);
                        ASSERT_EQ(f.header.size, 4);
                        ASSERT_MEM(f.header.data, "head", 4);
                        ASSERT_EQ(f.table.size, 5);
                        ASSERT_MEM(f.table.data, "table", 5);
                        ASSERT_EQ(f.body.size, 11);
                        ASSERT_MEM(f.body.data, "firstsecond", 11);
                } else {
                        ASSERT_EQ(f.type, FRAME_STATUS);
                        ASSERT_EQ(f.flags, FRAME_ANSWER);
                        ASSERT_EQ(f.correlation, 7);
                        ASSERT_EQ(f.header.size, 0);
                        ASSERT_EQ(f.table.size, 0);
                        ASSERT_EQ(f.body.size, 0);
                }
                frame_done(&f);
        }
}

static uint8_t *two_frames(size_t step, size_t *ret_n) {
        struct slice body[] = { body_of("first"), body_of(""), body_of("second") };
        struct frame_queue q;
        uint8_t *bytes;

        frame_queue_init(&q);
        ASSERT_OK(push_two(&q, body, ELEMENTSOF(body)));
        for (size_t i = 0; i < ELEMENTSOF(body); i++)
                slice_done(&body[i]);
        bytes = drain(&q, step, ret_n);
        ASSERT_TRUE(list_is_empty(&q.items));
        frame_queue_done(&q);
        return bytes;
}

TEST(layout_is_as_documented) {
        size_t n;
        uint8_t *p = two_frames(SIZE_MAX, &n);

        ASSERT_EQ(n, 32 + 4 + 5 + 11 + 32);
        ASSERT_EQ(le32_load(p), 32 + 4 + 5 + 11);
        ASSERT_EQ(le32_load(p + 4), 4);
        ASSERT_EQ(le32_load(p + 8), 5);
        ASSERT_EQ(le16_load(p + 12), FRAME_PRODUCE);
        ASSERT_EQ(le16_load(p + 14), 0);
        ASSERT_EQ(le64_load(p + 16), 0x1122334455667788);
        ASSERT_EQ(le32_load(p + 24), 0);
        ASSERT_EQ(le32_load(p + 28), crc32c(crc32c(0, p, 28), p + 32, 9));
        ASSERT_MEM(p + 32, "headtablefirstsecond", 20);
        free(p);
}

TEST(frames_come_out_whatever_the_pieces) {
        size_t n;
        uint8_t *p = two_frames(SIZE_MAX, &n);

        for (size_t i = 0; i <= n; i++)
                for (size_t j = i; j <= n; j++) {
                        struct frame_reader r;
                        unsigned at = 0;

                        frame_reader_init(&r, FRAME_BYTES_MAX, CHUNK);
                        ASSERT_OK(feed(&r, p, i));
                        assert_two(&r, &at);
                        ASSERT_OK(feed(&r, p + i, j - i));
                        assert_two(&r, &at);
                        ASSERT_OK(feed(&r, p + j, n - j));
                        assert_two(&r, &at);
                        ASSERT_EQ(at, 2);
                        frame_reader_trim(&r);
                        ASSERT_EQ(frame_reader_held_bytes(&r), 0);
                }
        free(p);
}

TEST(queue_writes_the_same_bytes_whatever_the_socket_takes) {
        size_t n, m;
        uint8_t *p = two_frames(SIZE_MAX, &n), *q;

        for (size_t step = 1; step < n; step++) {
                q = two_frames(step, &m);
                ASSERT_EQ(m, n);
                ASSERT_MEM(q, p, n);
                free(q);
        }
        free(p);
}

TEST(queue_releases_what_is_written_and_what_is_left) {
        struct slice body[] = { body_of("first"), body_of("second") };
        struct frame_queue q;

        frame_queue_init(&q);
        ASSERT_OK(frame_queue_bytes(&q, "greeting", 8));
        ASSERT_OK(push_two(&q, body, 2));
        ASSERT_EQ(body[0].buf->n_refs, 2);
        frame_queue_consume(&q, 8 + 32 + 9 + 5);
        ASSERT_EQ(body[0].buf->n_refs, 1);
        ASSERT_EQ(body[1].buf->n_refs, 2);
        frame_queue_consume(&q, 3);
        frame_queue_done(&q);
        ASSERT_EQ(body[1].buf->n_refs, 1);
        slice_done(&body[0]);
        slice_done(&body[1]);
}

TEST(a_large_frame_is_received_in_one_buffer_of_its_size) {
        size_t n_body = 100000, n;
        struct buf *b = buf_new(n_body);
        struct frame_queue q;
        struct frame_reader r;
        struct frame f;
        struct slice s;
        uint8_t *p;

        memset(b->data, 'x', n_body);
        s = slice_of(b, b->data, n_body);
        frame_queue_init(&q);
        ASSERT_OK(frame_queue_push(&q, FRAME_FETCH, 0, 1, NULL, 0, NULL, 0, &s, 1));
        p = drain(&q, 4096, &n);

        frame_reader_init(&r, FRAME_BYTES_MAX, CHUNK);
        ASSERT_EQ(frame_reader_wanted_bytes(&r), 0);
        ASSERT_OK(feed(&r, p, 40));
        ASSERT_EQ(frame_reader_wanted_bytes(&r), n);
        ASSERT_EQ(frame_reader_next(&r, &f), 0);
        ASSERT_OK(feed(&r, p + 40, n - 40));
        ASSERT_EQ(r.buf->capacity, n);
        ASSERT_EQ(frame_reader_next(&r, &f), 1);
        ASSERT_EQ(f.body.size, n_body);
        ASSERT_TRUE(f.body.buf == r.buf);

        /* The reader goes on elsewhere: these bytes are the frame's now. */
        ASSERT_OK(feed(&r, p, 40));
        ASSERT_TRUE(f.body.buf != r.buf);
        ASSERT_MEM(f.body.data, b->data, n_body);

        frame_done(&f);
        frame_reader_done(&r);
        slice_done(&s);
        buf_unref(b);
        free(p);
}

TEST(a_frame_that_is_kept_is_never_overwritten) {
        size_t n;
        uint8_t *p = two_frames(SIZE_MAX, &n);
        struct frame kept[64];
        struct frame_reader r;

        frame_reader_init(&r, FRAME_BYTES_MAX, CHUNK);
        for (size_t i = 0; i < ELEMENTSOF(kept); i++) {
                struct frame f;

                ASSERT_OK(feed(&r, p, n));
                ASSERT_EQ(frame_reader_next(&r, &kept[i]), 1);
                ASSERT_EQ(frame_reader_next(&r, &f), 1);
                frame_done(&f);
        }
        for (size_t i = 0; i < ELEMENTSOF(kept); i++) {
                ASSERT_MEM(kept[i].body.data, "firstsecond", 11);
                frame_done(&kept[i]);
        }
        frame_reader_done(&r);
        free(p);
}

static int next_of(const uint8_t *p, size_t n, size_t max_bytes) {
        struct frame_reader r;
        struct frame f;
        int k;

        frame_reader_init(&r, max_bytes, CHUNK);
        ASSERT_OK(feed(&r, p, n));
        k = frame_reader_next(&r, &f);
        if (k > 0)
                frame_done(&f);
        frame_reader_done(&r);
        return k;
}

TEST(any_flipped_bit_in_front_of_the_batches_is_seen) {
        size_t n, n_covered = FRAME_PRELUDE_BYTES + 9;
        uint8_t *p = two_frames(SIZE_MAX, &n);

        for (size_t bit = 0; bit < n_covered * 8; bit++) {
                p[bit / 8] ^= (uint8_t) (1u << bit % 8);
                ASSERT_LE(next_of(p, n, FRAME_BYTES_MAX), 0);
                p[bit / 8] ^= (uint8_t) (1u << bit % 8);
        }
        ASSERT_EQ(next_of(p, n, FRAME_BYTES_MAX), 1);
        free(p);
}

TEST(lying_lengths_are_refused_before_anything_is_awaited) {
        size_t n;
        uint8_t *p = two_frames(SIZE_MAX, &n);

        ASSERT_ERROR(next_of((const uint8_t[]){ 0, 0, 0, 0 }, 4, FRAME_BYTES_MAX), EPROTO);
        ASSERT_ERROR(next_of((const uint8_t[]){ 31, 0, 0, 0 }, 4, FRAME_BYTES_MAX), EPROTO);
        ASSERT_ERROR(next_of((const uint8_t[]){ 255, 255, 255, 255 }, 4, FRAME_BYTES_MAX),
                     EMSGSIZE);
        ASSERT_ERROR(next_of((const uint8_t[]){ 1, 0, 0, 1 }, 4, REQUEST_BYTES_MAX), EMSGSIZE);
        ASSERT_EQ(next_of((const uint8_t[]){ 0, 0, 0, 1 }, 4, REQUEST_BYTES_MAX), 0);

        le32_store(p + 4, UINT32_MAX); /* header */
        ASSERT_ERROR(next_of(p, 32, FRAME_BYTES_MAX), EPROTO);
        le32_store(p + 4, 21);
        ASSERT_ERROR(next_of(p, 32, FRAME_BYTES_MAX), EPROTO);
        le32_store(p + 4, 4);
        le32_store(p + 8, UINT32_MAX); /* table: the sum with the header overflows 32 bits */
        ASSERT_ERROR(next_of(p, 32, FRAME_BYTES_MAX), EPROTO);
        le32_store(p + 8, 17);
        ASSERT_ERROR(next_of(p, 32, FRAME_BYTES_MAX), EPROTO);
        le32_store(p + 8, 5);
        ASSERT_EQ(next_of(p, n, FRAME_BYTES_MAX), 1);

        le32_store(p + 24, 1); /* reserved */
        ASSERT_ERROR(next_of(p, 32, FRAME_BYTES_MAX), EPROTO);
        le32_store(p + 24, 0);
        le16_store(p + 14, 2); /* unknown flag */
        ASSERT_ERROR(next_of(p, 32, FRAME_BYTES_MAX), EPROTO);
        le16_store(p + 14, 0);
        p[30] ^= 1;
        ASSERT_ERROR(next_of(p, n, FRAME_BYTES_MAX), EBADMSG);
        free(p);
}

TEST(queue_refuses_what_no_peer_would_take) {
        struct buf *b = buf_new(FRAME_BYTES_MAX);
        struct slice s[2] = { slice_of(b, b->data, FRAME_BYTES_MAX / 2),
                              slice_of(b, b->data, FRAME_BYTES_MAX / 2) };
        struct frame_queue q;

        frame_queue_init(&q);
        ASSERT_ERROR(frame_queue_push(&q, FRAME_FETCH, 0, 1, NULL, 0, NULL, 0, s, 2), EMSGSIZE);
        ASSERT_EQ(q.n_bytes, 0);
        s[1].size -= FRAME_PRELUDE_BYTES;
        ASSERT_OK(frame_queue_push(&q, FRAME_FETCH, 0, 1, NULL, 0, NULL, 0, s, 2));
        ASSERT_EQ(q.n_bytes, FRAME_BYTES_MAX);
        frame_queue_done(&q);
        slice_done(&s[0]);
        slice_done(&s[1]);
        buf_unref(b);
}

TEST(greetings_find_a_version_or_say_so) {
        uint8_t p[GREETING_BYTES], reply[GREETING_BYTES];

        greeting_encode_client(p);
        ASSERT_EQ(greeting_answer(p, reply), PROTOCOL_VERSION);
        ASSERT_EQ(greeting_check(reply), PROTOCOL_VERSION);

        p[5] = 200; /* speaks newer ones too */
        ASSERT_EQ(greeting_answer(p, reply), PROTOCOL_VERSION);
        p[4] = 2; /* only newer ones */
        ASSERT_ERROR(greeting_answer(p, reply), EPROTONOSUPPORT);
        ASSERT_ERROR(greeting_check(reply), EPROTONOSUPPORT);
        p[5] = 1;
        ASSERT_ERROR(greeting_answer(p, reply), EPROTO);

        ASSERT_ERROR(greeting_answer((const uint8_t *) "GET / HT", reply), EPROTO);
        ASSERT_ERROR(greeting_check((const uint8_t *) "HTTP/1.1"), EPROTO);
        greeting_encode_client(p);
        p[7] = 1;
        ASSERT_ERROR(greeting_answer(p, reply), EPROTO);
}

TEST(plain_bytes_come_first) {
        struct frame_reader r;
        uint8_t p[8];

        frame_reader_init(&r, FRAME_BYTES_MAX, CHUNK);
        ASSERT_EQ(frame_reader_take(&r, p, 8), 0);
        ASSERT_OK(feed(&r, (const uint8_t *) "greet", 5));
        ASSERT_EQ(frame_reader_take(&r, p, 8), 0);
        ASSERT_OK(feed(&r, (const uint8_t *) "ing", 3));
        ASSERT_EQ(frame_reader_take(&r, p, 8), 1);
        ASSERT_MEM(p, "greeting", 8);
        frame_reader_done(&r);
}

TEST(plain_bytes_are_not_taken_for_a_length) {
        struct frame_reader r;
        uint8_t greeting[GREETING_BYTES];

        greeting_encode_client(greeting);
        frame_reader_init(&r, FRAME_BYTES_MAX, CHUNK);
        frame_reader_expect(&r, sizeof(greeting));
        for (size_t i = 0; i < sizeof(greeting); i++) {
                ASSERT_EQ(frame_reader_take(&r, greeting, sizeof(greeting)), 0);
                ASSERT_EQ(frame_reader_wanted_bytes(&r), 0);
                ASSERT_OK(feed(&r, greeting + i, 1));
                ASSERT_LE(frame_reader_held_bytes(&r), 2 * CHUNK);
        }
        ASSERT_EQ(frame_reader_take(&r, greeting, sizeof(greeting)), 1);

        /* From here on there are lengths. */
        ASSERT_OK(feed(&r, (const uint8_t[]){ 0, 1, 0, 0 }, 4));
        ASSERT_EQ(frame_reader_wanted_bytes(&r), 256);
        frame_reader_done(&r);
}

TEST(reader_and_queue_survive_lack_of_memory) {
        struct slice body[] = { body_of("first"), body_of("second") };

        FAULT_SWEEP {
                struct frame_queue q;
                struct frame_reader r;
                unsigned at = 0;
                uint8_t *p;
                size_t n, held;
                int k;

                frame_queue_init(&q);
                k = push_two(&q, body, 2);
                if (k < 0) {
                        ASSERT_ERROR(k, ENOMEM);
                        frame_queue_done(&q);
                        ASSERT_EQ(body[0].buf->n_refs, 1);
                        continue;
                }
                p = drain(&q, SIZE_MAX, &n);
                frame_reader_init(&r, FRAME_BYTES_MAX, CHUNK);
                k = feed(&r, p, n);
                held = frame_reader_held_bytes(&r);
                if (k < 0) {
                        ASSERT_ERROR(k, ENOMEM);
                        ASSERT_EQ(held, 0);
                } else
                        assert_two(&r, &at);
                frame_reader_done(&r);
                free(p);
        }
        slice_done(&body[0]);
        slice_done(&body[1]);
}
