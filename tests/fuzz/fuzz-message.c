/* SPDX-License-Identifier: Apache-2.0 */

/* A frame's header as any of the messages: what unpacks also packs, and comes back the same. The
 * first byte says as which. */

#include "base/alloc.h"
#include "proto/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const ProtobufCMessageDescriptor *const descriptors[] = {
        &drmq__proto__error_response__descriptor,
        &drmq__proto__metadata_request__descriptor,
        &drmq__proto__metadata_response__descriptor,
        &drmq__proto__produce_request__descriptor,
        &drmq__proto__produce_response__descriptor,
        &drmq__proto__fetch_request__descriptor,
        &drmq__proto__fetch_response__descriptor,
        &drmq__proto__offsets_request__descriptor,
        &drmq__proto__offsets_response__descriptor,
        &drmq__proto__topic_create_request__descriptor,
        &drmq__proto__topic_create_response__descriptor,
        &drmq__proto__topic_alter_request__descriptor,
        &drmq__proto__topic_delete_request__descriptor,
        &drmq__proto__position_commit_request__descriptor,
        &drmq__proto__position_fetch_request__descriptor,
        &drmq__proto__partition_request__descriptor,
        &drmq__proto__partition_response__descriptor,
        &drmq__proto__status_request__descriptor,
        &drmq__proto__status_response__descriptor,
        &drmq__proto__config_request__descriptor,
        &drmq__proto__config_response__descriptor,
        &drmq__proto__snapshot_create_request__descriptor,
        &drmq__proto__snapshot_create_response__descriptor,
        &drmq__proto__snapshot_list_request__descriptor,
        &drmq__proto__snapshot_list_response__descriptor,
        &drmq__proto__snapshot_read_request__descriptor,
        &drmq__proto__snapshot_read_response__descriptor,
        &drmq__proto__snapshot_delete_request__descriptor,
        &drmq__proto__snapshot_delete_response__descriptor,
        &drmq__proto__metrics_request__descriptor,
        &drmq__proto__metrics_response__descriptor,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        const ProtobufCMessageDescriptor *d;
        struct byte_writer first, second;
        size_t before = mem_bytes();
        void *m = NULL, *again = NULL;
        int r;

        if (n < 1)
                return 0;
        d = descriptors[data[0] % ELEMENTSOF(descriptors)];

        byte_writer_init(&first, 0);
        byte_writer_init(&second, 0);
        if (message_unpack(d, (struct slice){ .data = data + 1, .size = n - 1 }, &m) < 0)
                goto end;

        /* Bounded memory, whatever the bytes. */
        assert(mem_bytes() - before <= 65536 + 64 * n + 4096);

        r = message_pack(m, &first);
        assert(r == 0);
        r = message_unpack(d, (struct slice){ .data = first.data, .size = first.size }, &again);
        if (r < 0)
                goto end; /* packed it is shorter, and so is what it may cost */
        r = message_pack(again, &second);
        assert(r == 0);
        assert(first.size == second.size);
        assert(first.size == 0 || memcmp(first.data, second.data, first.size) == 0);

end:
        byte_writer_done(&first);
        byte_writer_done(&second);
        message_free(m);
        message_free(again);
        assert(mem_bytes() == before);
        return 0;
}
