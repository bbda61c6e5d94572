/* SPDX-License-Identifier: Apache-2.0 */

/* A broker and raw clients, in a simulated world. */

#include "tests/lib/broker-fixture.h"

#include "base/alloc.h"
#include "base/logging.h"
#include "base/parse.h"
#include "log/shard-log.h"
#include "proto/message.h"
#include "tests/lib/test.h"

#define ADDRESS "broker:9092"

static const struct address address = { .host = (char *) "broker", .port = 9092 };

/* ---- The broker ---- */

static void on_log(void *userdata, const struct log_record *record) {
        struct broker_fixture *f = userdata;

        if (strstr(record->text, "damaged"))
                f->n_damaged++;
}

static void on_ready(void *userdata) {
        ((struct broker_fixture *) userdata)->n_ready++;
}

static void on_stopped(void *userdata) {
        ((struct broker_fixture *) userdata)->n_stopped++;
}

static void on_fatal(void *userdata, int error, const char *what) {
        struct broker_fixture *f = userdata;

        ASSERT_NOT_NULL(what);
        f->n_fatal++;
        f->fatal = error;
}

static void on_usage(void *userdata, struct broker_usage *ret) {
        (void) userdata;
        *ret = (struct broker_usage){
                .resident_bytes = 4096,
                .cpu_usec = 1500000,
                .n_files = 7,
                .n_files_max = 1024,
        };
}

static const struct broker_events events = {
        .on_ready = on_ready,
        .on_stopped = on_stopped,
        .on_fatal = on_fatal,
        .on_usage = on_usage,
};

static void on_accept(void *userdata, struct io_stream *s) {
        struct broker_fixture *f = userdata;

        f->accepted = broker_accept(f->broker, s);
}

void broker_fixture_init(struct broker_fixture *f, uint64_t seed) {
        *f = (struct broker_fixture){ .tracer = { .emit = on_log, .userdata = f } };
        sim_trace_init(&f->trace, /* is_printed= */ getenv("DRMQ_TEST_TRACE") != NULL);
        ASSERT_OK(sim_world_new(seed, &f->trace, &f->world));
        ASSERT_OK(sim_disk_new(seed + 1, &f->disk));
        sim_world_net(f->world)->config.break_per_million = 0;
        broker_config_init(&f->config);
        f->config.data_dir = BROKER_FIXTURE_DIR;
        f->config.segment_bytes = SEGMENT_BYTES_MIN;
        f->config.tracer = &f->tracer;
}

void broker_fixture_done(struct broker_fixture *f) {
        if (f->process)
                broker_fixture_end(f, /* power_cut= */ false);
        f->disk = sim_disk_free(f->disk);
        f->world = sim_world_free(f->world);
}

static void end_process(struct broker_fixture *f) {
        sim_process_kill(f->process, /* is_silent= */ false);
        f->broker = broker_free(f->broker);
        f->process = sim_process_free(f->process);
}

int broker_fixture_open(struct broker_fixture *f) {
        _cleanup_(mem_freep) char *what = NULL;
        int r;

        sim_disk_restart(f->disk);
        f->n_ready = f->n_stopped = f->n_fatal = f->n_damaged = 0;
        f->fatal = 0;
        ASSERT_OK(sim_process_new(f->world, "broker", f->disk, NULL, NULL, &f->process));
        f->config.started_usec = sim_world_now(f->world);
        r = broker_new(sim_process_io(f->process), &f->config, &events, f, &f->broker, &what);
        if (r < 0) {
                ASSERT_NULL(f->broker);
                end_process(f);
                sim_disk_kill(f->disk);
        }
        return r;
}

void broker_fixture_start(struct broker_fixture *f) {
        usec_t until = sim_world_now(f->world) + BROKER_FIXTURE_WAIT_USEC;

        ASSERT_OK(broker_fixture_open(f));
        sim_port_listen(sim_process_port(f->process), ADDRESS, on_accept, f);
        broker_start(f->broker);
        while (f->n_ready == 0 && sim_world_step(f->world, until))
                ;
        ASSERT_EQ(f->n_ready, 1);
}

void broker_fixture_end(struct broker_fixture *f, bool power_cut) {
        end_process(f);
        if (power_cut)
                sim_disk_power_cut(f->disk);
        else
                sim_disk_kill(f->disk);
}

void broker_fixture_stop(struct broker_fixture *f) {
        usec_t until = sim_world_now(f->world) + 2 * BROKER_FIXTURE_WAIT_USEC;

        sim_port_unlisten(sim_process_port(f->process));
        broker_stop(f->broker);
        while (f->n_stopped == 0 && sim_world_step(f->world, until))
                ;
        ASSERT_EQ(f->n_stopped, 1);
        ASSERT_EQ(f->n_fatal, 0);
        broker_fixture_end(f, /* power_cut= */ true);
}

void broker_fixture_run(struct broker_fixture *f, usec_t usec) {
        sim_world_run_until(f->world, sim_world_now(f->world) + usec);
}

/* ---- A client ---- */

static void client_want(struct broker_client *c) {
        io_stream_want(c->stream,
                       (c->is_deaf ? 0 : IO_STREAM_READABLE) |
                               (c->n_sent < c->n_bytes ? IO_STREAM_WRITABLE : 0));
}

static void client_frames(struct broker_client *c) {
        if (!c->is_greeted && frame_reader_take(&c->in, c->greeting, sizeof(c->greeting)) > 0)
                c->is_greeted = true;

        while (c->is_greeted) {
                struct broker_reply *reply = new0(struct broker_reply, 1);

                ASSERT_NOT_NULL(reply);
                list_init(&reply->link);
                if (ASSERT_OK(frame_reader_next(&c->in, &reply->frame)) == 0) {
                        broker_reply_free(reply);
                        return;
                }
                ASSERT_EQ(reply->frame.flags, FRAME_ANSWER);
                list_append(&c->replies, &reply->link);
        }
}

static void client_on_stream(struct io_stream *s, unsigned e, void *userdata) {
        struct broker_client *c = userdata;

        if ((e & IO_STREAM_READABLE) && c->is_raw) {
                uint8_t bytes[4096];
                ssize_t n = io_stream_read(s, bytes, sizeof(bytes));

                if (n > 0) {
                        c->raw = realloc(c->raw, c->n_raw + (size_t) n);
                        memcpy(c->raw + c->n_raw, bytes, (size_t) n);
                        c->n_raw += (size_t) n;
                } else if (n != -EAGAIN) {
                        c->has_ended = true;
                        c->stream = io_stream_close(s);
                        return;
                }
        } else if (e & IO_STREAM_READABLE) {
                uint8_t *p;
                size_t room;
                ssize_t n;

                ASSERT_OK(frame_reader_space(&c->in, &p, &room));
                n = io_stream_read(s, p, room);
                if (n > 0) {
                        c->n_received += (size_t) n;
                        frame_reader_commit(&c->in, (size_t) n);
                        client_frames(c);
                } else if (n != -EAGAIN) {
                        c->has_ended = true;
                        c->stream = io_stream_close(s);
                        return;
                }
        }
        if ((e & IO_STREAM_WRITABLE) && c->n_sent < c->n_bytes) {
                const struct iovec iov = { c->bytes + c->n_sent, c->n_bytes - c->n_sent };
                ssize_t n = io_stream_writev(s, &iov, 1);

                if (n > 0)
                        c->n_sent += (size_t) n;
                else if (n != -EAGAIN) {
                        c->has_ended = true;
                        c->stream = io_stream_close(s);
                        return;
                }
        }
        client_want(c);
}

void broker_client_dial(struct broker_client *c, struct broker_fixture *f) {
        *c = (struct broker_client){ .fixture = f };
        list_init(&c->replies);
        frame_reader_init(&c->in, FRAME_BYTES_MAX, 4096);
        frame_reader_expect(&c->in, GREETING_BYTES);
        ASSERT_OK(sim_process_new(f->world, "client", NULL, NULL, NULL, &c->process));
        ASSERT_OK(
                io_connect(sim_process_io(c->process), &address, client_on_stream, c, &c->stream));
        client_want(c);
}

void broker_client_connect(struct broker_client *c, struct broker_fixture *f) {
        usec_t until = sim_world_now(f->world) + BROKER_FIXTURE_WAIT_USEC;
        uint8_t greeting[GREETING_BYTES];

        broker_client_dial(c, f);
        greeting_encode_client(greeting);
        broker_client_bytes(c, greeting, sizeof(greeting));
        while (!c->is_greeted && !c->has_ended && sim_world_step(f->world, until))
                ;
        ASSERT_TRUE(c->is_greeted);
        ASSERT_EQ(greeting_check(c->greeting), PROTOCOL_VERSION);
}

void broker_client_end(struct broker_client *c) {
        struct broker_reply *reply;

        if (!c->process)
                return;

        sim_process_kill(c->process, /* is_silent= */ false);
        c->stream = io_stream_close(c->stream);
        c->process = sim_process_free(c->process);
        while ((reply = list_pop(&c->replies, struct broker_reply, link)))
                broker_reply_free(reply);
        frame_reader_done(&c->in);
        free(c->raw);
        c->bytes = mem_free(c->bytes);
}

void broker_client_bytes(struct broker_client *c, const void *p, size_t n) {
        ASSERT_EQ(c->n_held, 0);
        if (c->n_sent == c->n_bytes)
                c->n_sent = c->n_bytes = 0;
        ASSERT_TRUE(grow(c->bytes, c->n_allocated, c->n_bytes + n));
        if (n > 0)
                memcpy(c->bytes + c->n_bytes, p, n);
        c->n_bytes += n;
        if (c->stream)
                client_want(c);
}

void broker_client_hold(struct broker_client *c, size_t n) {
        ASSERT_LE(n, c->n_bytes - c->n_sent);
        c->n_bytes -= n;
        c->n_held = n;
        client_want(c);
}

void broker_client_release(struct broker_client *c) {
        c->n_bytes += c->n_held;
        c->n_held = 0;
        if (c->stream)
                client_want(c);
}

void broker_client_cook(struct broker_client *c) {
        for (size_t at = 0; at < c->n_raw;) {
                uint8_t *p;
                size_t n;

                ASSERT_OK(frame_reader_space(&c->in, &p, &n));
                n = MIN(n, c->n_raw - at);
                memcpy(p, c->raw + at, n);
                frame_reader_commit(&c->in, n);
                client_frames(c);
                at += n;
        }
        free(c->raw);
        c->raw = NULL;
        c->n_raw = 0;
        c->is_raw = false;
}

uint64_t broker_client_send(struct broker_client *c,
                            uint16_t type,
                            const void *message,
                            const void *table,
                            size_t table_bytes,
                            const struct slice *body,
                            size_t n_body) {
        struct frame_queue q;
        struct byte_writer w;

        frame_queue_init(&q);
        byte_writer_init(&w, 0);
        if (message)
                ASSERT_OK(message_pack(message, &w));
        ASSERT_OK(frame_queue_push(
                &q, type, 0, ++c->correlation, w.data, w.size, table, table_bytes, body, n_body));
        while (q.n_bytes > 0) {
                struct iovec iov;

                ASSERT_EQ(frame_queue_iovec(&q, &iov, 1), 1);
                broker_client_bytes(c, iov.iov_base, iov.iov_len);
                frame_queue_consume(&q, iov.iov_len);
        }
        byte_writer_done(&w);
        frame_queue_done(&q);
        return c->correlation;
}

struct broker_reply *broker_client_take(struct broker_client *c, uint64_t correlation) {
        LIST_FOREACH(&c->replies, r, struct broker_reply, link)
                if (r->frame.correlation == correlation) {
                        list_remove(&r->link);
                        return r;
                }

        return NULL;
}

struct broker_reply *broker_client_wait(struct broker_client *c, uint64_t correlation) {
        usec_t until = sim_world_now(c->fixture->world) + BROKER_FIXTURE_WAIT_USEC;
        struct broker_reply *r;

        while (!(r = broker_client_take(c, correlation)) && !c->has_ended &&
               sim_world_step(c->fixture->world, until))
                ;
        if (!r)
                test_fail(__FILE__,
                          __LINE__,
                          "no answer to request %lu%s",
                          (unsigned long) correlation,
                          c->has_ended ? ", the connection has ended" : "");
        return r;
}

bool broker_client_wait_end(struct broker_client *c, usec_t usec) {
        usec_t until = sim_world_now(c->fixture->world) + usec;

        while (!c->has_ended && sim_world_step(c->fixture->world, until))
                ;
        return c->has_ended;
}

struct broker_reply *broker_reply_free(struct broker_reply *r) {
        if (!r)
                return NULL;

        list_remove(&r->link);
        frame_done(&r->frame);
        return mem_free(r);
}

enum drmq_error broker_reply_error(const struct broker_reply *r) {
        _cleanup_(message_freep) Drmq__Proto__ErrorResponse *m = NULL;

        if (r->frame.type != FRAME_ERROR)
                return DRMQ_ERROR_NONE;

        ASSERT_OK(message_unpack(
                &drmq__proto__error_response__descriptor, r->frame.header, (void **) &m));
        ASSERT_NOT_NULL(m->error);
        ASSERT_NE(m->error->code, DRMQ_ERROR_NONE);
        ASSERT_EQ(m->error->retriable, drmq_error_is_retriable(m->error->code));
        ASSERT_GT(strlen(m->error->text), 0);
        return (enum drmq_error) m->error->code;
}

void *broker_reply_message(const struct broker_reply *r,
                           uint16_t type,
                           const ProtobufCMessageDescriptor *descriptor) {
        void *m;

        ASSERT_EQ(broker_reply_error(r), DRMQ_ERROR_NONE);
        ASSERT_EQ(r->frame.type, type);
        ASSERT_OK(message_unpack(descriptor, r->frame.header, &m));
        return m;
}

/* ---- Requests ---- */

uint64_t broker_client_topic(struct broker_client *c, const char *name, uint32_t n_partitions) {
        Drmq__Proto__NewTopic topic = DRMQ__PROTO__NEW_TOPIC__INIT, *topics = &topic;
        Drmq__Proto__TopicCreateRequest create = DRMQ__PROTO__TOPIC_CREATE_REQUEST__INIT;
        Drmq__Proto__MetadataRequest metadata = DRMQ__PROTO__METADATA_REQUEST__INIT;
        _cleanup_(message_freep) Drmq__Proto__TopicCreateResponse *created = NULL;
        _cleanup_(message_freep) Drmq__Proto__MetadataResponse *told = NULL;
        _cleanup_(broker_reply_freep) struct broker_reply *first = NULL, *second = NULL;
        char *names = (char *) name;

        topic.name = names;
        topic.partitions = n_partitions;
        create.topic = &topics;
        create.n_topic = 1;
        first = broker_client_wait(
                c, broker_client_send(c, FRAME_TOPIC_CREATE, &create, NULL, 0, NULL, 0));
        created = broker_reply_message(
                first, FRAME_TOPIC_CREATE, &drmq__proto__topic_create_response__descriptor);
        ASSERT_EQ(created->n_topic, 1);
        ASSERT_NULL(created->topic[0]->error);

        metadata.topic = &names;
        metadata.n_topic = 1;
        second = broker_client_wait(
                c, broker_client_send(c, FRAME_METADATA, &metadata, NULL, 0, NULL, 0));
        told = broker_reply_message(
                second, FRAME_METADATA, &drmq__proto__metadata_response__descriptor);
        ASSERT_EQ(told->n_topic, 1);
        ASSERT_EQ(told->topic[0]->n_partition, n_partitions);
        for (uint32_t i = 0; i < n_partitions; i++)
                ASSERT_EQ(told->topic[0]->partition[i]->id, told->topic[0]->partition[0]->id + i);
        return told->topic[0]->partition[0]->id;
}

enum drmq_error broker_client_delete(struct broker_client *c, const char *name) {
        Drmq__Proto__TopicDeleteRequest q = DRMQ__PROTO__TOPIC_DELETE_REQUEST__INIT;
        _cleanup_(message_freep) Drmq__Proto__TopicDeleteResponse *m = NULL;
        _cleanup_(broker_reply_freep) struct broker_reply *r = NULL;
        char *names = (char *) name;

        q.name = &names;
        q.n_name = 1;
        r = broker_client_wait(c, broker_client_send(c, FRAME_TOPIC_DELETE, &q, NULL, 0, NULL, 0));
        if (r->frame.type == FRAME_ERROR)
                return broker_reply_error(r);
        m = broker_reply_message(
                r, FRAME_TOPIC_DELETE, &drmq__proto__topic_delete_response__descriptor);
        ASSERT_EQ(m->n_topic, 1);
        return m->topic[0]->error ? (enum drmq_error) m->topic[0]->error->code : DRMQ_ERROR_NONE;
}

struct slice broker_batch(int64_t producer_id,
                          int16_t epoch,
                          int32_t sequence,
                          unsigned n_records,
                          size_t value_bytes) {
        _cleanup_(mem_freep) uint8_t *value = new0(uint8_t, value_bytes + 1);
        struct batch_seal seal = SEAL_INIT;
        struct builder b;
        struct slice s;

        ASSERT_NOT_NULL(value);
        for (size_t i = 0; i < value_bytes; i++)
                value[i] = (uint8_t) ((size_t) sequence * 31 + i * 7 + i / 251);
        builder_init(&b, BATCH_BYTES_MAX, BATCH_BYTES_MAX);
        for (unsigned i = 0; i < n_records; i++)
                ASSERT_OK(builder_append(&b, NULL, 0, value, value_bytes, NULL, 0, 1700000000000));
        if (producer_id >= 0) {
                seal.producer_id = producer_id;
                seal.producer_epoch = epoch;
                seal.base_sequence = sequence;
        }
        ASSERT_OK(builder_seal(&b, &seal, &s));
        builder_done(&b);
        return s;
}

uint64_t broker_client_send_produce(struct broker_client *c,
                                    const struct broker_produce *p,
                                    size_t n,
                                    bool atomic) {
        Drmq__Proto__ProduceRequest q = DRMQ__PROTO__PRODUCE_REQUEST__INIT;
        struct produce_slice rows[64] = {};
        struct slice body[64] = {};
        uint64_t correlation;

        ASSERT_LE(n, ELEMENTSOF(rows));
        for (size_t i = 0; i < n; i++) {
                rows[i].partition_id = le64_of(p[i].partition_id);
                rows[i].batch_bytes = le32_of((uint32_t) p[i].batch.size);
                body[i] = p[i].batch;
        }
        q.atomic = atomic;
        correlation = broker_client_send(c, FRAME_PRODUCE, &q, rows, n * sizeof(rows[0]), body, n);
        for (size_t i = 0; i < n; i++)
                slice_done(&body[i]);
        return correlation;
}

const struct produce_result *broker_reply_result(const struct broker_reply *r, size_t i) {
        ASSERT_EQ(broker_reply_error(r), DRMQ_ERROR_NONE);
        ASSERT_EQ(r->frame.type, FRAME_PRODUCE);
        ASSERT_EQ(r->frame.table.size % sizeof(struct produce_result), 0);
        ASSERT_LT(i, r->frame.table.size / sizeof(struct produce_result));
        return (const struct produce_result *) (const void *) r->frame.table.data + i;
}

enum drmq_error broker_client_try(struct broker_client *c,
                                  uint64_t partition_id,
                                  struct slice batch,
                                  uint64_t *ret_offset) {
        _cleanup_(broker_reply_freep) struct broker_reply *r = broker_client_wait(
                c,
                broker_client_send_produce(c,
                                           &(struct broker_produce){ partition_id, batch },
                                           1,
                                           /* atomic= */ false));
        const struct produce_result *result;

        if (r->frame.type == FRAME_ERROR)
                return broker_reply_error(r);

        result = broker_reply_result(r, 0);
        ASSERT_EQ(le64_get(result->partition_id), partition_id);
        if (ret_offset)
                *ret_offset = le64_get(result->base_offset);
        return (enum drmq_error) le32_get(result->error);
}

uint64_t broker_client_produce(struct broker_client *c,
                               uint64_t partition_id,
                               unsigned n_records,
                               size_t value_bytes) {
        uint64_t offset;

        ASSERT_EQ(
                broker_client_try(
                        c, partition_id, broker_batch(-1, -1, -1, n_records, value_bytes), &offset),
                DRMQ_ERROR_NONE);
        return offset;
}

uint64_t broker_client_send_fetch(struct broker_client *c,
                                  uint64_t partition_id,
                                  uint64_t offset,
                                  uint32_t wait_ms,
                                  uint32_t max_bytes) {
        Drmq__Proto__FetchRequest q = DRMQ__PROTO__FETCH_REQUEST__INIT;
        const struct fetch_want want = { .partition_id = le64_of(partition_id),
                                         .offset = le64_of(offset) };

        q.wait_ms = wait_ms;
        q.max_bytes = max_bytes;
        return broker_client_send(c, FRAME_FETCH, &q, &want, sizeof(want), NULL, 0);
}

uint64_t broker_reply_count(const struct broker_reply *r, uint64_t partition_id, uint64_t offset) {
        const struct fetch_slice *rows = (const void *) r->frame.table.data;
        size_t n = r->frame.table.size / sizeof(rows[0]), pos = 0;
        uint64_t next = offset, n_messages = 0;

        ASSERT_EQ(broker_reply_error(r), DRMQ_ERROR_NONE);
        ASSERT_EQ(r->frame.type, FRAME_FETCH);
        ASSERT_EQ(r->frame.table.size % sizeof(rows[0]), 0);
        for (size_t i = 0; i < n; i++) {
                uint32_t n_bytes = le32_get(rows[i].batch_bytes);
                struct batch_view v;

                ASSERT_LE(n_bytes, r->frame.body.size - pos);
                ASSERT_OK(batch_view_init(r->frame.body.data + pos, n_bytes, &v));
                ASSERT_OK(batch_verify(&v));
                ASSERT_EQ(v.base_offset, le64_get(rows[i].base_offset));
                ASSERT_EQ(le64_get(rows[i].partition_id), partition_id);
                if (i == 0)
                        ASSERT_LE(v.base_offset, next);
                else
                        ASSERT_EQ(v.base_offset, next);
                next = (uint64_t) batch_next_offset(&v);
                ASSERT_GT(next, offset);
                pos += n_bytes;
        }
        ASSERT_EQ(pos, r->frame.body.size);
        n_messages = next - offset;
        return n_messages;
}

uint64_t broker_client_read(struct broker_client *c, uint64_t partition_id, uint64_t offset) {
        uint64_t n_messages = 0;

        for (;;) {
                _cleanup_(broker_reply_freep) struct broker_reply *r = broker_client_wait(
                        c,
                        broker_client_send_fetch(c, partition_id, offset + n_messages, 0, 1 << 20));
                uint64_t n = broker_reply_count(r, partition_id, offset + n_messages);

                if (n == 0)
                        return n_messages;
                n_messages += n;
        }
}

uint64_t broker_client_offset(struct broker_client *c,
                              uint64_t partition_id,
                              Drmq__Proto__OffsetKind kind,
                              int64_t time_ms,
                              enum drmq_error *ret_error) {
        Drmq__Proto__OffsetQuery query = DRMQ__PROTO__OFFSET_QUERY__INIT, *queries = &query;
        Drmq__Proto__OffsetsRequest q = DRMQ__PROTO__OFFSETS_REQUEST__INIT;
        _cleanup_(message_freep) Drmq__Proto__OffsetsResponse *m = NULL;
        _cleanup_(broker_reply_freep) struct broker_reply *r = NULL;

        query.partition_id = partition_id;
        query.kind = kind;
        query.time_ms = time_ms;
        q.query = &queries;
        q.n_query = 1;
        r = broker_client_wait(c, broker_client_send(c, FRAME_OFFSETS, &q, NULL, 0, NULL, 0));
        m = broker_reply_message(r, FRAME_OFFSETS, &drmq__proto__offsets_response__descriptor);
        ASSERT_EQ(m->n_answer, 1);
        ASSERT_EQ(m->answer[0]->partition_id, partition_id);
        *ret_error =
                m->answer[0]->error ? (enum drmq_error) m->answer[0]->error->code : DRMQ_ERROR_NONE;
        return *ret_error == DRMQ_ERROR_NONE ? m->answer[0]->offset : UINT64_MAX;
}

enum drmq_error broker_client_commit(struct broker_client *c,
                                     const char *group,
                                     uint64_t partition_id,
                                     uint64_t offset) {
        Drmq__Proto__PositionCommitRequest q = DRMQ__PROTO__POSITION_COMMIT_REQUEST__INIT;
        Drmq__Proto__Position position = DRMQ__PROTO__POSITION__INIT, *positions = &position;
        _cleanup_(broker_reply_freep) struct broker_reply *r = NULL;

        position.partition_id = partition_id;
        position.offset = offset;
        q.group = (char *) group;
        q.position = &positions;
        q.n_position = 1;
        r = broker_client_wait(c,
                               broker_client_send(c, FRAME_POSITION_COMMIT, &q, NULL, 0, NULL, 0));
        return broker_reply_error(r);
}

bool broker_client_position(struct broker_client *c,
                            const char *group,
                            uint64_t partition_id,
                            uint64_t *ret_offset) {
        Drmq__Proto__PositionFetchRequest q = DRMQ__PROTO__POSITION_FETCH_REQUEST__INIT;
        _cleanup_(message_freep) Drmq__Proto__PositionFetchResponse *m = NULL;
        _cleanup_(broker_reply_freep) struct broker_reply *r = NULL;

        q.group = (char *) group;
        q.partition_id = &partition_id;
        q.n_partition_id = 1;
        r = broker_client_wait(c,
                               broker_client_send(c, FRAME_POSITION_FETCH, &q, NULL, 0, NULL, 0));
        m = broker_reply_message(
                r, FRAME_POSITION_FETCH, &drmq__proto__position_fetch_response__descriptor);
        ASSERT_EQ(m->n_position, 1);
        ASSERT_EQ(m->position[0]->partition_id, partition_id);
        *ret_offset = m->position[0]->offset;
        return m->position[0]->is_set;
}

Drmq__Proto__StatusResponse *broker_client_status(struct broker_client *c) {
        _cleanup_(broker_reply_freep) struct broker_reply *r =
                broker_client_wait(c, broker_client_send(c, FRAME_STATUS, NULL, NULL, 0, NULL, 0));

        return broker_reply_message(r, FRAME_STATUS, &drmq__proto__status_response__descriptor);
}
