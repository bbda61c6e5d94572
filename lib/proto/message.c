/* SPDX-License-Identifier: Apache-2.0 */

/*
 * protobuf-c between two fences. Before it, a walk over the bytes by the descriptor, which refuses
 * what protobuf-c would take silently (a NUL in a string, and what is behind it is gone). Around
 * it, an allocator that counts.
 *
 * I1: an unpacked message has cost at most MESSAGE_COST_MAX bytes for each byte of it, and a
 * constant. I2: a string field holds all bytes that were sent for it.
 */

#include "proto/message.h"

#include "base/alloc.h"
#include "proto/frame.h"

/* An empty message takes two bytes to send and a struct and a pointer to hold; what peers send in
 * earnest stays far below. */
#define MESSAGE_COST_MAX 64u
#define MESSAGE_COST_BASE 65536u
#define ALLOCATION_OVERHEAD 16u

#define NESTED_MAX 8u

struct arena {
        size_t left_bytes;
        bool no_memory;
};

static void *arena_alloc(void *data, size_t n) {
        struct arena *a = data;
        size_t cost;
        void *p;

        if (__builtin_add_overflow(n, ALLOCATION_OVERHEAD, &cost) || cost > a->left_bytes) /* I1 */
                return NULL;

        p = mem_alloc(n > 0 ? n : 1);
        if (!p) {
                a->no_memory = true;
                return NULL;
        }

        a->left_bytes -= cost;
        return p;
}

static void arena_free(void *data, void *p) {
        (void) data;
        mem_free(p);
}

/* protobuf's varints may be longer than need be, so byte_reader_uleb() is too strict. */
static uint64_t varint_read(struct byte_reader *r) {
        uint64_t v = 0;

        for (unsigned shift = 0; shift < 70; shift += 7) {
                uint8_t b = byte_reader_u8(r);

                if (shift < 64)
                        v |= (uint64_t) (b & 0x7f) << shift;
                if (b < 0x80)
                        return v;
        }

        r->failed = true;
        return 0;
}

static bool
message_is_sound(const ProtobufCMessageDescriptor *d, const uint8_t *p, size_t n, unsigned depth) {
        struct byte_reader r;

        if (depth > NESTED_MAX)
                return false;

        byte_reader_init(&r, p, n);
        while (byte_reader_left(&r) > 0) {
                const ProtobufCFieldDescriptor *f;
                uint64_t tag, length;
                const uint8_t *q;

                tag = varint_read(&r);
                if (r.failed || tag >> 3 == 0 || tag >> 3 > INT32_MAX)
                        return false;

                switch (tag & 7) {
                case PROTOBUF_C_WIRE_TYPE_VARINT:
                        (void) varint_read(&r);
                        break;
                case PROTOBUF_C_WIRE_TYPE_64BIT:
                        (void) byte_reader_take(&r, 8);
                        break;
                case PROTOBUF_C_WIRE_TYPE_32BIT:
                        (void) byte_reader_take(&r, 4);
                        break;
                case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED:
                        length = varint_read(&r);
                        if (length > byte_reader_left(&r))
                                return false;
                        q = byte_reader_take(&r, (size_t) length);
                        f = protobuf_c_message_descriptor_get_field(d, (unsigned) (tag >> 3));
                        if (!q || !f)
                                break;
                        if (f->type == PROTOBUF_C_TYPE_STRING &&
                            memchr(q, 0, (size_t) length)) /* I2 */
                                return false;
                        if (f->type == PROTOBUF_C_TYPE_MESSAGE &&
                            !message_is_sound(f->descriptor, q, (size_t) length, depth + 1))
                                return false;
                        break;
                default:
                        return false;
                }
        }

        return byte_reader_result(&r) == 0;
}

int message_unpack(const ProtobufCMessageDescriptor *descriptor, struct slice header, void **ret) {
        struct arena arena = { 0 };
        ProtobufCAllocator allocator = {
                .alloc = arena_alloc,
                .free = arena_free,
                .allocator_data = &arena,
        };
        ProtobufCMessage *m;

        assert(descriptor);
        assert(ret);

        if (header.size > FRAME_HEADER_BYTES_MAX ||
            !message_is_sound(descriptor, header.data, header.size, /* depth= */ 0))
                return -EBADMSG;

        arena.left_bytes = MESSAGE_COST_BASE + MESSAGE_COST_MAX * header.size;
        m = protobuf_c_message_unpack(descriptor,
                                      &allocator,
                                      header.size,
                                      header.size > 0 ? header.data : (const uint8_t *) "");
        if (!m)
                return arena.no_memory ? -ENOMEM : -EBADMSG;

        *ret = m;
        return 0;
}

void *message_free(void *message) {
        ProtobufCAllocator allocator = { .alloc = arena_alloc, .free = arena_free };

        if (message)
                protobuf_c_message_free_unpacked(message, &allocator);
        return NULL;
}

int message_pack(const void *message, struct byte_writer *w) {
        size_t n, n_packed;
        uint8_t *p;

        assert(message);
        assert(w);

        n = protobuf_c_message_get_packed_size(message);
        if (n > FRAME_HEADER_BYTES_MAX)
                return -EMSGSIZE;
        if (n == 0)
                return byte_writer_result(w);

        p = byte_writer_put(w, n);
        if (!p)
                return byte_writer_result(w);

        n_packed = protobuf_c_message_pack(message, p);
        assert(n_packed == n);
        return 0;
}
