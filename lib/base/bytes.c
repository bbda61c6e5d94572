/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A reader and a writer that cannot leave their bounds.
 *
 * I1: p <= end, always; once .failed, neither p nor what is written moves.
 * I2: every number has one LEB128 form, the shortest: what was decoded and is encoded again is the
 * same bytes.
 */

#include "base/bytes.h"

#include "base/alloc.h"

#define ULEB_BYTES_MAX 10u

void byte_reader_init(struct byte_reader *r, const void *p, size_t n) {
        static const uint8_t nothing[1];

        assert(r);
        assert(p || n == 0);

        *r = (struct byte_reader){ .p = p ?: nothing };
        r->end = r->p + n;
}

size_t byte_reader_left(const struct byte_reader *r) {
        assert(r);

        return r->failed ? 0 : (size_t) (r->end - r->p);
}

int byte_reader_result(const struct byte_reader *r) {
        assert(r);

        return !r->failed ? 0 : r->no_memory ? -ENOMEM : -EBADMSG;
}

const uint8_t *byte_reader_take(struct byte_reader *r, size_t n) {
        const uint8_t *p;

        assert(r);

        if (r->failed)
                return NULL;
        if (n > (size_t) (r->end - r->p)) {
                r->failed = true;
                return NULL;
        }

        p = r->p;
        r->p += n;
        return p;
}

uint8_t byte_reader_u8(struct byte_reader *r) {
        const uint8_t *p = byte_reader_take(r, 1);

        return p ? *p : 0;
}

uint16_t byte_reader_le16(struct byte_reader *r) {
        const uint8_t *p = byte_reader_take(r, sizeof(uint16_t));

        return p ? le16_load(p) : 0;
}

uint32_t byte_reader_le32(struct byte_reader *r) {
        const uint8_t *p = byte_reader_take(r, sizeof(uint32_t));

        return p ? le32_load(p) : 0;
}

uint64_t byte_reader_le64(struct byte_reader *r) {
        const uint8_t *p = byte_reader_take(r, sizeof(uint64_t));

        return p ? le64_load(p) : 0;
}

uint64_t byte_reader_uleb(struct byte_reader *r) {
        const uint8_t *start = r->p;
        uint64_t v = 0;

        for (unsigned i = 0; i < ULEB_BYTES_MAX; i++) {
                uint8_t b = byte_reader_u8(r);

                if (r->failed)
                        break;
                if (i == ULEB_BYTES_MAX - 1 && b > 1) /* bits past the 64th, or an eleventh byte */
                        break;

                v |= (uint64_t) (b & 0x7f) << (7 * i);
                if (b & 0x80)
                        continue;
                if (b == 0 && i > 0) /* I2 */
                        break;
                return v;
        }

        r->p = start; /* I1 */
        r->failed = true;
        return 0;
}

const uint8_t *byte_reader_blob(struct byte_reader *r, size_t *ret_n) {
        const uint8_t *start = r->p, *p;
        uint64_t n;

        assert(ret_n);

        n = byte_reader_uleb(r);
        if (r->failed)
                return NULL;
        if (n > byte_reader_left(r)) {
                r->p = start; /* I1 */
                r->failed = true;
                return NULL;
        }

        p = byte_reader_take(r, (size_t) n);
        *ret_n = (size_t) n;
        return p;
}

char *byte_reader_string(struct byte_reader *r, size_t max) {
        const uint8_t *start = r->p, *p;
        size_t n;
        char *s;

        p = byte_reader_blob(r, &n);
        if (!p)
                return NULL;

        if (n <= max && !memchr(p, 0, n)) {
                s = mem_strndup((const char *) p, n);
                if (s)
                        return s;
                r->no_memory = true;
        }

        r->p = start; /* I1 */
        r->failed = true;
        return NULL;
}

void byte_writer_init(struct byte_writer *w, size_t limit) {
        assert(w);

        *w = (struct byte_writer){ .limit = limit };
}

void byte_writer_done(struct byte_writer *w) {
        assert(w);

        mem_free(w->data);
        *w = (struct byte_writer){ .limit = w->limit };
}

int byte_writer_result(const struct byte_writer *w) {
        assert(w);

        return !w->failed ? 0 : w->no_memory ? -ENOMEM : -EMSGSIZE;
}

uint8_t *byte_writer_put(struct byte_writer *w, size_t n) {
        uint8_t *p;
        size_t end;

        assert(w);

        if (w->failed)
                return NULL;

        if (__builtin_add_overflow(w->size, n, &end) || (w->limit > 0 && end > w->limit)) {
                w->failed = true;
                return NULL;
        }
        if (!grow(w->data, w->n_allocated, MAX(end, (size_t) 1))) {
                w->failed = w->no_memory = true;
                return NULL;
        }

        p = w->data + w->size;
        w->size = end;
        return p;
}

void byte_writer_bytes(struct byte_writer *w, const void *p, size_t n) {
        uint8_t *dest;

        assert(p || n == 0);

        dest = byte_writer_put(w, n);
        if (dest && n > 0)
                memcpy(dest, p, n);
}

void byte_writer_u8(struct byte_writer *w, uint8_t v) {
        uint8_t *p = byte_writer_put(w, sizeof(v));

        if (p)
                *p = v;
}

void byte_writer_le16(struct byte_writer *w, uint16_t v) {
        uint8_t *p = byte_writer_put(w, sizeof(v));

        if (p)
                le16_store(p, v);
}

void byte_writer_le32(struct byte_writer *w, uint32_t v) {
        uint8_t *p = byte_writer_put(w, sizeof(v));

        if (p)
                le32_store(p, v);
}

void byte_writer_le64(struct byte_writer *w, uint64_t v) {
        uint8_t *p = byte_writer_put(w, sizeof(v));

        if (p)
                le64_store(p, v);
}

void byte_writer_uleb(struct byte_writer *w, uint64_t v) {
        uint8_t bytes[ULEB_BYTES_MAX];
        size_t n = 0;

        for (; v >= 0x80; v >>= 7)
                bytes[n++] = (uint8_t) (v | 0x80);
        bytes[n++] = (uint8_t) v;

        byte_writer_bytes(w, bytes, n);
}

void byte_writer_blob(struct byte_writer *w, const void *p, size_t n) {
        byte_writer_uleb(w, n);
        byte_writer_bytes(w, p, n);
}

void byte_writer_string(struct byte_writer *w, const char *s) {
        assert(s);

        byte_writer_blob(w, s, strlen(s));
}
