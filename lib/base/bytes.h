/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Integers of fixed byte order, and a reader and a writer over bytes that cannot leave their
 * bounds. Every decoder of DRMQ is written with these: a read past the end sets .failed and gives
 * zero, and one check at the end decides (-EBADMSG).
 */

#include <endian.h>

#include "base/macro.h"

/* le16_t, be64_t and so on: as arrays they have no alignment, so that structs of them are the
 * layout itself. _of() and _get() turn an integer into one and back; _load() and _store() do it at
 * any address. */
#define DEFINE_BYTE_ORDER(order, bits)                                                             \
        typedef struct {                                                                           \
                uint8_t b[bits / 8];                                                               \
        } order##bits##_t;                                                                         \
        static inline uint##bits##_t order##bits##_get(order##bits##_t v) {                        \
                uint##bits##_t x;                                                                  \
                memcpy(&x, v.b, sizeof(x));                                                        \
                return order##bits##toh(x);                                                        \
        }                                                                                          \
        static inline order##bits##_t order##bits##_of(uint##bits##_t x) {                         \
                order##bits##_t v;                                                                 \
                x = hto##order##bits(x);                                                           \
                memcpy(v.b, &x, sizeof(x));                                                        \
                return v;                                                                          \
        }                                                                                          \
        static inline uint##bits##_t order##bits##_load(const void *p) {                           \
                uint##bits##_t x;                                                                  \
                memcpy(&x, p, sizeof(x));                                                          \
                return order##bits##toh(x);                                                        \
        }                                                                                          \
        static inline void order##bits##_store(void *p, uint##bits##_t x) {                        \
                x = hto##order##bits(x);                                                           \
                memcpy(p, &x, sizeof(x));                                                          \
        }

DEFINE_BYTE_ORDER(le, 16)
DEFINE_BYTE_ORDER(le, 32)
DEFINE_BYTE_ORDER(le, 64)
DEFINE_BYTE_ORDER(be, 16)
DEFINE_BYTE_ORDER(be, 32)
DEFINE_BYTE_ORDER(be, 64)

/* Reads forward over borrowed bytes. After .failed everything reads as zero and nothing moves. */
struct byte_reader {
        const uint8_t *p;
        const uint8_t *end;
        bool failed;
        bool no_memory; /* failed for want of memory: says nothing about the bytes */
};

/* Borrows @n bytes at @p for as long as @r is used; @p may be NULL where @n is 0. */
void byte_reader_init(struct byte_reader *r, const void *p, size_t n);
/* Bytes not yet read; 0 once .failed. */
size_t byte_reader_left(const struct byte_reader *r);
/* Return: 0; -EBADMSG the bytes ended too early or are not of that form; -ENOMEM,
 * byte_reader_string() only: try again, the bytes may be good. Bytes left over are the caller's to
 * judge. */
int byte_reader_result(const struct byte_reader *r);

/* Borrows @n bytes in place and moves past them; NULL and .failed when there are fewer. Not NULL
 * for n == 0. */
const uint8_t *byte_reader_take(struct byte_reader *r, size_t n);
uint8_t byte_reader_u8(struct byte_reader *r);
uint16_t byte_reader_le16(struct byte_reader *r);
uint32_t byte_reader_le32(struct byte_reader *r);
uint64_t byte_reader_le64(struct byte_reader *r);
/* A number as LEB128: 7 bits a byte, lowest first, at most 10 bytes. Longer forms than needed are
 * refused, so that a value has one encoding. */
uint64_t byte_reader_uleb(struct byte_reader *r);
/* A length (LEB128) and that many bytes, which are borrowed in place. NULL and .failed, @ret_n
 * untouched, when there are fewer; not NULL for an empty one. */
const uint8_t *byte_reader_blob(struct byte_reader *r, size_t *ret_n);
/* As blob, as a new NUL-terminated string; fails on a NUL inside, on more than @max bytes, and
 * without memory. */
char *byte_reader_string(struct byte_reader *r, size_t max);

/* Writes forward into memory that grows. After .failed (no memory, or over .limit) nothing is
 * written. */
struct byte_writer {
        uint8_t *data; /* may be taken with TAKE_PTR when all is written; free with mem_free() */
        size_t size;
        size_t n_allocated;
        size_t limit; /* bytes it may not grow past; 0: none */
        bool failed;
        bool no_memory;
};

void byte_writer_init(struct byte_writer *w, size_t limit);
/* Frees what was written; @w is empty and usable again, with the same limit. */
void byte_writer_done(struct byte_writer *w);
/* Return: 0; -EMSGSIZE over the limit; -ENOMEM. */
int byte_writer_result(const struct byte_writer *w);

/* Room for @n bytes that the caller fills at once (the next call may move it); NULL and .failed
 * when there is none. */
uint8_t *byte_writer_put(struct byte_writer *w, size_t n);
void byte_writer_bytes(struct byte_writer *w, const void *p, size_t n);
void byte_writer_u8(struct byte_writer *w, uint8_t v);
void byte_writer_le16(struct byte_writer *w, uint16_t v);
void byte_writer_le32(struct byte_writer *w, uint32_t v);
void byte_writer_le64(struct byte_writer *w, uint64_t v);
/* What byte_reader_uleb(), _blob() and _string() read. */
void byte_writer_uleb(struct byte_writer *w, uint64_t v);
void byte_writer_blob(struct byte_writer *w, const void *p, size_t n);
void byte_writer_string(struct byte_writer *w, const char *s);
