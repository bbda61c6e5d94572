/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/message.h"

#include "proto/frame.h"
#include "tests/lib/test.h"

static struct slice slice_of_bytes(const void *p, size_t n) {
        return (struct slice){ .data = p, .size = n };
}

static int unpack(const ProtobufCMessageDescriptor *d, const void *p, size_t n) {
        void *m = NULL;
        int r = message_unpack(d, slice_of_bytes(p, n), &m);

        if (r < 0)
                ASSERT_NULL(m);
        message_free(m);
        return r;
}

static int unpack_topics(const void *p, size_t n) {
        return unpack(&drmq__proto__metadata_request__descriptor, p, n);
}

static void write_metadata(struct byte_writer *w) {
        Drmq__Proto__Error error = DRMQ__PROTO__ERROR__INIT;
        Drmq__Proto__Partition partition = DRMQ__PROTO__PARTITION__INIT,
                               *partitions[] = { &partition };
        Drmq__Proto__Topic topic = DRMQ__PROTO__TOPIC__INIT, *topics[] = { &topic };
        Drmq__Proto__MetadataResponse m = DRMQ__PROTO__METADATA_RESPONSE__INIT;

        error.code = 3;
        error.text = (char *) "no such topic";
        partition.id = UINT64_MAX;
        topic.name = (char *) "numbers";
        topic.error = &error;
        topic.n_partition = 1;
        topic.partition = partitions;
        m.n_topic = 1;
        m.topic = topics;
        m.cluster_id.data = (uint8_t *) "0123456789abcdef";
        m.cluster_id.len = 16;

        byte_writer_init(w, 0);
        ASSERT_OK(message_pack(&m, w));
}

TEST(a_message_comes_back_as_it_went) {
        _cleanup_(message_freep) Drmq__Proto__MetadataResponse *m = NULL;
        struct byte_writer w;

        write_metadata(&w);
        ASSERT_OK(message_unpack(&drmq__proto__metadata_response__descriptor,
                                 slice_of_bytes(w.data, w.size),
                                 (void **) &m));
        ASSERT_EQ(m->n_topic, 1);
        ASSERT_STREQ(m->topic[0]->name, "numbers");
        ASSERT_STREQ(m->topic[0]->error->text, "no such topic");
        ASSERT_EQ(m->topic[0]->partition[0]->id, UINT64_MAX);
        ASSERT_EQ(m->cluster_id.len, 16);
        byte_writer_done(&w);
}

TEST(an_empty_header_is_an_empty_message) {
        _cleanup_(message_freep) Drmq__Proto__FetchRequest *m = NULL;
        Drmq__Proto__FetchRequest empty = DRMQ__PROTO__FETCH_REQUEST__INIT;
        struct byte_writer w;

        byte_writer_init(&w, 0);
        ASSERT_OK(message_pack(&empty, &w));
        ASSERT_EQ(w.size, 0);
        ASSERT_OK(message_unpack(
                &drmq__proto__fetch_request__descriptor, (struct slice){ 0 }, (void **) &m));
        ASSERT_EQ(m->wait_ms, 0);
        byte_writer_done(&w);
}

TEST(unknown_fields_are_ignored) {
        /* Field 100, all four wire types, around topic = "t". */
        static const uint8_t p[] = { 0xa0, 6,   5,    0xa1, 6, 1, 2, 3,    4, 5, 6, 7, 8, 0x0a,
                                     1,    't', 0xa2, 6,    2, 0, 0, 0xa5, 6, 1, 2, 3, 4 };
        _cleanup_(message_freep) Drmq__Proto__MetadataRequest *m = NULL;

        ASSERT_OK(message_unpack(&drmq__proto__metadata_request__descriptor,
                                 slice_of_bytes(p, sizeof(p)),
                                 (void **) &m));
        ASSERT_EQ(m->n_topic, 1);
        ASSERT_STREQ(m->topic[0], "t");
}

TEST(a_string_with_a_nul_is_refused_at_any_depth) {
        ASSERT_OK(unpack_topics("\x0a\x03"
                                "abc",
                                5));
        ASSERT_ERROR(unpack_topics("\x0a\x03"
                                   "a\0c",
                                   5),
                     EBADMSG);
        /* MetadataResponse.topic.error.text */
        ASSERT_OK(unpack(
                &drmq__proto__metadata_response__descriptor, "\x2a\x05\x12\x03\x1a\x01x", 7));
        ASSERT_ERROR(unpack(&drmq__proto__metadata_response__descriptor,
                            "\x2a\x05\x12\x03\x1a\x01\0",
                            7),
                     EBADMSG);
}

TEST(lying_lengths_are_refused) {
        ASSERT_ERROR(unpack_topics("\x0a\x04"
                                   "abc",
                                   5),
                     EBADMSG);
        ASSERT_ERROR(unpack_topics("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
                                   "abc",
                                   14),
                     EBADMSG);
        ASSERT_ERROR(unpack_topics("\x0a", 1), EBADMSG);
        ASSERT_ERROR(unpack_topics("\x10", 1), EBADMSG);
        ASSERT_ERROR(unpack_topics("\x10\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 12),
                     EBADMSG);
        ASSERT_ERROR(unpack_topics("\x00\x01", 2), EBADMSG);     /* field 0 */
        ASSERT_ERROR(unpack_topics("\x0b\x0c", 2), EBADMSG);     /* a group */
        ASSERT_ERROR(unpack_topics("\x0d\x01\x02", 3), EBADMSG); /* 4 bytes that are 2 */
}

TEST(every_cut_of_a_message_is_refused_or_whole) {
        struct byte_writer w;

        write_metadata(&w);
        for (size_t n = 0; n < w.size; n++) {
                uint8_t *exact = malloc(n + 1);

                memcpy(exact, w.data, n);
                int r = unpack(&drmq__proto__metadata_response__descriptor, exact, n);
                if (r < 0)
                        ASSERT_ERROR(r, EBADMSG);
                free(exact);
        }
        byte_writer_done(&w);
}

TEST(a_small_message_cannot_make_us_allocate_without_end) {
        size_t n = 600000, before = mem_bytes();
        uint8_t *p = malloc(n);

        /* Three bytes for each ShardStatus of two hundred. */
        for (size_t i = 0; i < n; i += 3)
                memcpy(p + i, "\x8a\x01\x00", 3);
        ASSERT_ERROR(unpack(&drmq__proto__status_response__descriptor, p, n), EBADMSG);
        ASSERT_EQ(mem_bytes(), before);
        free(p);
}

TEST(many_topics_fit) {
        /* What a node with as many topics answers in earnest. */
        enum { N = 50000 };
        Drmq__Proto__Partition partition = DRMQ__PROTO__PARTITION__INIT,
                               *partitions[] = { &partition };
        Drmq__Proto__Topic *all = calloc(N, sizeof(*all)), **topics = calloc(N, sizeof(*topics));
        Drmq__Proto__MetadataResponse m = DRMQ__PROTO__METADATA_RESPONSE__INIT;
        struct byte_writer w;

        partition.id = 7;
        for (size_t i = 0; i < N; i++) {
                drmq__proto__topic__init(&all[i]);
                all[i].name = (char *) "t";
                all[i].n_partition = 1;
                all[i].partition = partitions;
                topics[i] = &all[i];
        }
        m.n_topic = N;
        m.topic = topics;
        byte_writer_init(&w, 0);
        ASSERT_OK(message_pack(&m, &w));
        ASSERT_OK(unpack(&drmq__proto__metadata_response__descriptor, w.data, w.size));
        byte_writer_done(&w);
        free(all);
        free(topics);
}

TEST(a_header_over_the_limit_is_not_packed) {
        Drmq__Proto__ErrorResponse m = DRMQ__PROTO__ERROR_RESPONSE__INIT;
        Drmq__Proto__Error error = DRMQ__PROTO__ERROR__INIT;
        char *text = malloc(FRAME_HEADER_BYTES_MAX + 1);
        struct byte_writer w;

        memset(text, 'x', FRAME_HEADER_BYTES_MAX);
        text[FRAME_HEADER_BYTES_MAX] = 0;
        error.text = text;
        m.error = &error;
        byte_writer_init(&w, 0);
        ASSERT_ERROR(message_pack(&m, &w), EMSGSIZE);
        ASSERT_EQ(w.size, 0);
        free(text);
}

TEST(lack_of_memory_is_told_from_bad_bytes) {
        struct byte_writer packed;

        write_metadata(&packed);
        FAULT_SWEEP {
                _cleanup_(message_freep) void *m = NULL;
                int r = message_unpack(&drmq__proto__metadata_response__descriptor,
                                       slice_of_bytes(packed.data, packed.size),
                                       &m);

                if (r < 0) {
                        ASSERT_ERROR(r, ENOMEM);
                        ASSERT_NULL(m);
                } else {
                        struct byte_writer w;

                        byte_writer_init(&w, 0);
                        r = message_pack(m, &w);
                        if (r < 0)
                                ASSERT_ERROR(r, ENOMEM);
                        else
                                ASSERT_MEM(w.data, packed.data, packed.size);
                        byte_writer_done(&w);
                }
        }
        byte_writer_done(&packed);
}
