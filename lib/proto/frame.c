/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Frames out of bytes and bytes out of frames. Knows nothing of what frames mean.
 *
 *  I1  No length of a prelude is used before it was held against max_bytes and against the others.
 *  I2  begin <= end <= capacity of buf; without a buf both are 0.
 *  I3  Bytes that a frame's slices share are never written again: the reader writes behind end, and
 *      moves bytes in a buf only where it alone holds it.
 *  I4  The queue's n_bytes is the sum of what its items still have to write; only the first item is
 *      begun.
 */

#include "proto/frame.h"

#include "base/alloc.h"
#include "base/bug.h"
#include "base/crc32c.h"

#define GREETING_MAGIC "DRMQ"
#define CRC_POS 28u

/* A buffer whose rest is smaller than this is not worth receiving into. */
#define SPACE_BYTES_MIN 512u

void frame_done(struct frame *f) {
        if (!f)
                return;

        slice_done(&f->header);
        slice_done(&f->table);
        slice_done(&f->body);
}

/* ---- Greeting ---- */

static void greeting_encode(uint8_t *p, uint8_t low, uint8_t high) {
        memcpy(p, GREETING_MAGIC, 4);
        p[4] = low;
        p[5] = high;
        p[6] = p[7] = 0;
}

static bool greeting_is_drmq(const uint8_t *p) {
        return memcmp(p, GREETING_MAGIC, 4) == 0 && p[6] == 0 && p[7] == 0;
}

void greeting_encode_client(uint8_t p[static GREETING_BYTES]) {
        greeting_encode(p, PROTOCOL_VERSION, PROTOCOL_VERSION);
}

int greeting_answer(const uint8_t p[static GREETING_BYTES], uint8_t reply[static GREETING_BYTES]) {
        bool fits = p[4] <= PROTOCOL_VERSION && p[5] >= PROTOCOL_VERSION;

        if (!greeting_is_drmq(p) || p[4] > p[5])
                return -EPROTO;

        if (!fits) {
                greeting_encode(reply, 0, 0);
                return -EPROTONOSUPPORT;
        }

        greeting_encode(reply, PROTOCOL_VERSION, PROTOCOL_VERSION);
        return PROTOCOL_VERSION;
}

int greeting_check(const uint8_t p[static GREETING_BYTES]) {
        if (!greeting_is_drmq(p) || p[4] != p[5])
                return -EPROTO;
        if (p[4] == 0)
                return -EPROTONOSUPPORT;
        return p[4] == PROTOCOL_VERSION ? (int) PROTOCOL_VERSION : -EPROTO;
}

/* ---- Reader ---- */

void frame_reader_init(struct frame_reader *r, size_t max_bytes, size_t chunk_bytes) {
        assert(r);
        assert(max_bytes >= FRAME_PRELUDE_BYTES);
        assert(chunk_bytes >= SPACE_BYTES_MIN);

        *r = (struct frame_reader){ .max_bytes = max_bytes, .chunk_bytes = chunk_bytes };
}

void frame_reader_done(struct frame_reader *r) {
        if (!r)
                return;

        r->buf = buf_unref(r->buf);
        r->begin = r->end = 0;
}

size_t frame_reader_wanted_bytes(const struct frame_reader *r) {
        return r->plain_bytes == 0 && r->end - r->begin >= sizeof(le32_t)
                       ? le32_load(r->buf->data + r->begin)
                       : 0;
}

size_t frame_reader_held_bytes(const struct frame_reader *r) {
        return r->buf ? r->buf->capacity : 0;
}

void frame_reader_trim(struct frame_reader *r) {
        if (r->begin == r->end)
                frame_reader_done(r);
}

void frame_reader_shrink(struct frame_reader *r) {
        size_t n_unread = r->end - r->begin, n_bytes;
        struct buf *b;

        if (!r->buf)
                return;
        n_bytes = MAX(n_unread + SPACE_BYTES_MIN, MIN(frame_reader_wanted_bytes(r), r->max_bytes));
        if (r->buf->capacity / 2 < n_bytes)
                return;

        b = buf_new(n_bytes);
        if (!b)
                return;
        if (n_unread > 0)
                memcpy(b->data, r->buf->data + r->begin, n_unread);
        buf_unref(r->buf);
        r->buf = b;
        r->begin = 0;
        r->end = n_unread;
}

/* Moves the unread bytes to a buffer that has room for @n_bytes from them on. */
static int reader_move(struct frame_reader *r, size_t n_bytes) {
        size_t n_unread = r->end - r->begin;
        struct buf *b;

        if (r->buf && r->buf->n_refs == 1 && r->buf->capacity >= n_bytes) { /* I3 */
                memmove(r->buf->data, r->buf->data + r->begin, n_unread);
                r->begin = 0;
                r->end = n_unread;
                return 0;
        }

        b = buf_new(MAX(n_bytes, r->chunk_bytes));
        if (!b)
                return -ENOMEM;

        if (n_unread > 0)
                memcpy(b->data, r->buf->data + r->begin, n_unread);
        buf_unref(r->buf);
        r->buf = b;
        r->begin = 0;
        r->end = n_unread;
        return 0;
}

int frame_reader_space(struct frame_reader *r, uint8_t **ret, size_t *ret_n) {
        size_t n_unread, wanted, room;
        int q;

        assert(r);
        assert(ret);
        assert(ret_n);

        n_unread = r->end - r->begin;
        wanted = MIN(frame_reader_wanted_bytes(r), r->max_bytes); /* I1 */
        room = r->buf ? r->buf->capacity - r->begin : 0;

        /* The frame at hand must fit; where its length is not known, or it is all there and nobody
         * took it, anything beyond does. */
        if (room < wanted ||
            room - n_unread < (wanted > n_unread ? wanted - n_unread : SPACE_BYTES_MIN)) {
                q = reader_move(r, MAX(wanted, n_unread + SPACE_BYTES_MIN));
                if (q < 0)
                        return q;
        }

        *ret = r->buf->data + r->end;
        *ret_n = r->buf->capacity - r->end;
        return 0;
}

void frame_reader_commit(struct frame_reader *r, size_t n) {
        assert(r->buf);
        assert(n <= r->buf->capacity - r->end); /* I2 */

        r->end += n;
}

/* @n of the unread bytes are done with. */
static void reader_advance(struct frame_reader *r, size_t n) {
        r->begin += n;
        if (r->begin == r->end && r->buf->n_refs == 1) /* I3 */
                r->begin = r->end = 0;
}

void frame_reader_expect(struct frame_reader *r, size_t n) {
        assert(r);

        r->plain_bytes = n;
}

int frame_reader_take(struct frame_reader *r, void *p, size_t n) {
        assert(r);
        assert(p);
        assert(n > 0);

        if (r->end - r->begin < n)
                return 0;

        memcpy(p, r->buf->data + r->begin, n);
        frame_reader_skip(r, n);
        return 1;
}

const uint8_t *frame_reader_peek(const struct frame_reader *r, size_t *ret_n) {
        assert(r);
        assert(ret_n);

        *ret_n = r->end - r->begin;
        return r->buf ? r->buf->data + r->begin : NULL;
}

void frame_reader_skip(struct frame_reader *r, size_t n) {
        assert(r);
        assert(n <= r->end - r->begin);

        if (n == 0)
                return;
        reader_advance(r, n);
        r->plain_bytes -= MIN(n, r->plain_bytes);
}

int frame_reader_next(struct frame_reader *r, struct frame *ret) {
        size_t length, n_header, n_table, n_unread, rest;
        const uint8_t *p;
        uint16_t flags;
        uint32_t crc;

        assert(r);
        assert(ret);

        n_unread = r->end - r->begin;
        if (n_unread < sizeof(le32_t))
                return 0;

        /* As early as it can be seen, so that nobody waits for a frame that will not be let in. */
        length = frame_reader_wanted_bytes(r);
        if (length > r->max_bytes)
                return -EMSGSIZE;
        if (length < FRAME_PRELUDE_BYTES)
                return -EPROTO;
        if (n_unread < FRAME_PRELUDE_BYTES)
                return 0;

        p = r->buf->data + r->begin;
        rest = length - FRAME_PRELUDE_BYTES;
        n_header = le32_load(p + 4);
        n_table = le32_load(p + 8);
        flags = le16_load(p + 14);
        if (!BUG(FRAME_LENGTHS) && (n_header > FRAME_HEADER_BYTES_MAX || n_header > rest ||
                                    n_table > rest - n_header)) /* I1 */
                return -EPROTO;
        if (flags & ~FRAME_ANSWER || le32_load(p + 24) != 0)
                return -EPROTO;
        if (n_unread < length)
                return 0;

        crc = crc32c(0, p, CRC_POS);
        crc = crc32c(crc, p + FRAME_PRELUDE_BYTES, n_header + n_table);
        if (crc != le32_load(p + CRC_POS))
                return -EBADMSG;

        *ret = (struct frame){
                .type = le16_load(p + 12),
                .flags = flags,
                .correlation = le64_load(p + 16),
        };
        p += FRAME_PRELUDE_BYTES;
        if (n_header > 0)
                ret->header = slice_of(r->buf, p, n_header);
        if (n_table > 0)
                ret->table = slice_of(r->buf, p + n_header, n_table);
        if (rest > n_header + n_table)
                ret->body = slice_of(r->buf, p + n_header + n_table, rest - n_header - n_table);

        reader_advance(r, length);
        return 1;
}

/* ---- Queue ---- */

/* A frame, or plain bytes: what was copied, then the slices. */
struct queue_item {
        struct list in_queue;
        uint8_t *bytes; /* behind the slices, in the same piece of memory */
        size_t n_bytes;
        size_t n_slices;
        size_t at;      /* 0: in bytes; else slices[at - 1] */
        size_t at_byte; /* of that, so much is written */
        struct slice slices[];
};

void frame_queue_init(struct frame_queue *q) {
        assert(q);

        list_init(&q->items);
        q->n_bytes = 0;
}

static void item_free(struct queue_item *i) {
        list_remove(&i->in_queue);
        for (size_t k = i->at > 0 ? i->at - 1 : 0; k < i->n_slices; k++)
                slice_done(&i->slices[k]);
        mem_free(i);
}

void frame_queue_done(struct frame_queue *q) {
        if (!q || !q->items.next)
                return;

        LIST_FOREACH(&q->items, i, struct queue_item, in_queue)
                item_free(i);
        q->n_bytes = 0;
}

static struct queue_item *item_new(size_t n_bytes, size_t n_slices) {
        struct queue_item *i;
        size_t n;

        if (__builtin_mul_overflow(n_slices, sizeof(struct slice), &n) ||
            __builtin_add_overflow(n, sizeof(struct queue_item), &n))
                return NULL;

        i = mem_alloc(n + n_bytes);
        if (!i)
                return NULL;

        *i = (struct queue_item){
                .bytes = (uint8_t *) i + n,
                .n_bytes = n_bytes,
                .n_slices = n_slices,
        };
        return i;
}

int frame_queue_bytes(struct frame_queue *q, const void *p, size_t n) {
        struct queue_item *i;

        assert(q);
        assert(p);
        assert(n > 0);

        i = item_new(n, /* n_slices= */ 0);
        if (!i)
                return -ENOMEM;

        memcpy(i->bytes, p, n);
        list_append(&q->items, &i->in_queue);
        q->n_bytes += n;
        return 0;
}

int frame_queue_push(struct frame_queue *q,
                     uint16_t type,
                     uint16_t flags,
                     uint64_t correlation,
                     const void *header,
                     size_t header_bytes,
                     const void *table,
                     size_t table_bytes,
                     const struct slice *body,
                     size_t n_body) {
        struct queue_item *i;
        size_t length, n_full = 0;
        uint32_t crc;
        uint8_t *p;

        assert(q);
        assert(header || header_bytes == 0);
        assert(table || table_bytes == 0);
        assert(body || n_body == 0);

        if (header_bytes > FRAME_HEADER_BYTES_MAX || table_bytes > FRAME_BYTES_MAX)
                return -EMSGSIZE;
        length = FRAME_PRELUDE_BYTES + header_bytes + table_bytes;
        for (size_t k = 0; k < n_body; k++) {
                if (body[k].size > FRAME_BYTES_MAX)
                        return -EMSGSIZE;
                length += body[k].size;
                n_full += body[k].size > 0;
        }
        if (length > FRAME_BYTES_MAX)
                return -EMSGSIZE;

        i = item_new(FRAME_PRELUDE_BYTES + header_bytes + table_bytes, n_full);
        if (!i)
                return -ENOMEM;

        p = i->bytes;
        le32_store(p, (uint32_t) length);
        le32_store(p + 4, (uint32_t) header_bytes);
        le32_store(p + 8, (uint32_t) table_bytes);
        le16_store(p + 12, type);
        le16_store(p + 14, flags);
        le64_store(p + 16, correlation);
        le32_store(p + 24, 0);
        if (header_bytes > 0)
                memcpy(p + FRAME_PRELUDE_BYTES, header, header_bytes);
        if (table_bytes > 0)
                memcpy(p + FRAME_PRELUDE_BYTES + header_bytes, table, table_bytes);
        crc = crc32c(0, p, CRC_POS);
        crc = crc32c(crc, p + FRAME_PRELUDE_BYTES, header_bytes + table_bytes);
        le32_store(p + CRC_POS, crc);

        n_full = 0;
        for (size_t k = 0; k < n_body; k++)
                if (body[k].size > 0)
                        i->slices[n_full++] = slice_ref(body[k]);

        list_append(&q->items, &i->in_queue);
        q->n_bytes += length;
        return 0;
}

size_t frame_queue_iovec(const struct frame_queue *q, struct iovec *iov, size_t n_max) {
        size_t n = 0;

        assert(q);
        assert(iov || n_max == 0);

        LIST_FOREACH(&q->items, i, struct queue_item, in_queue) {
                size_t at_byte = i->at_byte;

                for (size_t k = i->at; k <= i->n_slices; k++) {
                        const uint8_t *p = k == 0 ? i->bytes : i->slices[k - 1].data;
                        size_t size = k == 0 ? i->n_bytes : i->slices[k - 1].size;

                        if (n == n_max)
                                return n;
                        iov[n++] = (struct iovec){
                                .iov_base = (uint8_t *) p + at_byte,
                                .iov_len = size - at_byte,
                        };
                        at_byte = 0;
                }
        }

        return n;
}

void frame_queue_consume(struct frame_queue *q, size_t n) {
        assert(q);
        assert(n <= q->n_bytes); /* I4 */

        q->n_bytes -= n;
        while (n > 0) {
                struct queue_item *i = list_first(&q->items, struct queue_item, in_queue);
                size_t left;

                assert(i);
                left = (i->at == 0 ? i->n_bytes : i->slices[i->at - 1].size) - i->at_byte;
                if (n < left) {
                        i->at_byte += n;
                        return;
                }

                n -= left;
                if (i->at > 0)
                        slice_done(&i->slices[i->at - 1]);
                i->at++;
                i->at_byte = 0;
                if (i->at > i->n_slices)
                        item_free(i);
        }
}
