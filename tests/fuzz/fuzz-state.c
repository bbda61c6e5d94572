/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Whatever stands in the body of a checkpoint, or in the bodies of entries: the state that is made
 * of it can be written, and what was written gives the same state.
 *
 * The first byte of the input: 0 a checkpoint's body; 1 entries one after the other, each its kind
 * (1 byte), its length (2 bytes) and its body.
 */

#include "base/alloc.h"
#include "base/bytes.h"
#include "state/state.h"

#define ENTRIES 1u
/* A few bytes can ask for 10,000 partitions; more of them show nothing new. */
#define PARTITIONS_MAX 1000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(const struct state *s) {
        _cleanup_(state_freep) struct state *again = NULL;
        struct byte_writer w, v;
        int r;

        byte_writer_init(&w, 0);
        byte_writer_init(&v, 0);
        r = state_encode(s, &w);
        assert(r >= 0);
        r = state_new(&again);
        assert(r >= 0);
        r = state_decode(again, w.data, w.size);
        assert(r == 0);
        r = state_encode(again, &v);
        assert(r >= 0);
        assert(w.size == v.size && memcmp(w.data, v.data, w.size) == 0);
        byte_writer_done(&w);
        byte_writer_done(&v);

        MAP_FOREACH(&s->partitions, p) {
                const struct partition *partition = CONTAINER_OF(p, struct partition, by_id);

                assert(partition->first_offset <= partition->next_offset);
                assert(partition->next_offset <= OFFSET_MAX);
        }
}

static void apply(struct state *s, const uint8_t *p, size_t n) {
        struct entry e = { .term = 1 };

        while (n >= 3 && s->topic_partitions.n_nodes < PARTITIONS_MAX) {
                size_t n_body = MIN((size_t) le16_load(p + 1), n - 3);

                e.index++;
                e.append_time_ms++;
                e.kind = p[0] & 1 ? ENTRY_ADMIN : ENTRY_GROUP;
                e.body = p + 3;
                e.body_bytes = (uint32_t) n_body;
                if (state_apply(s, &e) < 0)
                        return; /* not of its form: the state is not used any more */
                p += 3 + n_body;
                n -= 3 + n_body;
        }
        check(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        _cleanup_(state_freep) struct state *s = NULL;
        int r;

        if (n < 1 || state_new(&s) < 0)
                return 0;

        if (data[0] & ENTRIES) {
                apply(s, data + 1, n - 1);
                return 0;
        }

        r = state_decode(s, data + 1, n - 1);
        assert(r == 0 || r == -EBADMSG || r == -EPROTONOSUPPORT);
        if (r == 0)
                check(s);
        return 0;
}
